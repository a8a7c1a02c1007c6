# The release binary is static, hardened and stripped, and runs in a root with nothing but itself and
# /tmp, as root and as somebody else. Hardened: at addresses of no fixed place, with what the start-up
# code relocates read-only afterwards, no executable stack, canaries in frames, and checked copies.
. tests/checks/common

binary=$build/sandbox-agent
object=$build/sandbox_agent.o
page=
! grep -q SBX_UI_ASSETS "$build/release.command" || page=--page

# has WHAT PATTERN FILE: a line of the file matches.
has()
{
    grep -qE -e "$2" "$3" || complain "$1: no line like \"$2\" in $3"
}

# ldd knows of static-pie and then calls it that; else it fails.
if LC_ALL=C ldd "$binary" >"$work/ldd" 2>&1 && ! grep -q 'statically linked' "$work/ldd"; then
    complain 'ldd finds libraries:'
    cat "$work/ldd"
fi
if command -v readelf >/dev/null; then
    LC_ALL=C readelf -hW "$binary" >"$work/header"
    LC_ALL=C readelf -lW "$binary" >"$work/segments"
    LC_ALL=C readelf -dW "$binary" >"$work/dynamic"
    grep -E 'INTERP' "$work/segments" >"$work/interpreted" || true
    complain_of 'not static:' "$work/interpreted"
    grep -E '\((NEEDED|TEXTREL)\)' "$work/dynamic" >"$work/needed" || true
    complain_of 'it needs a library, or code that is writable at start:' "$work/needed"
    has 'read-only after relocation' 'GNU_RELRO' "$work/segments"
    has 'a stack that is not executable' 'GNU_STACK .* RW +0x[0-9a-f]+$' "$work/segments"
    grep -E 'LOAD .* (RWE|WE)' "$work/segments" >"$work/writable" || true
    complain_of 'memory that can be written and executed:' "$work/writable"
    case $(cat "$build/release.command") in
    *-static-pie*)
        has 'position-independent' 'Type: +DYN' "$work/header"
        has 'position-independent' 'FLAGS_1.* PIE' "$work/dynamic"
        has 'bound at start' 'BIND_NOW|FLAGS_1.* NOW' "$work/dynamic"
        ;;
    *) echo 'not position-independent: static-pie does not work with this compiler' ;;
    esac
fi
nm "$binary" >"$work/symbols" 2>/dev/null || true
[ ! -s "$work/symbols" ] || complain "not stripped: $(wc -l <"$work/symbols") symbols"

# What it was linked from tells what our own code calls; the libraries have calls like these as well.
nm -u "$object" >"$work/called"
has 'canaries' ' __stack_chk_(fail|guard)' "$work/called"
# Checked forms of functions are glibc's; other C libraries have them in headers, without a name.
if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    has 'checked calls' ' __[a-z]+_chk$' "$work/called"
fi

"$NODE" tests/checks/smoke.mjs $page "$binary" || complain 'it does not serve'

if [ "$(id -u)" -eq 0 ] && command -v chroot >/dev/null; then
    root=$work/root
    mkdir -p "$root/tmp"
    chmod 1777 "$root/tmp"
    cp "$binary" "$root/sandbox-agent"
    "$NODE" tests/checks/smoke.mjs --bare $page chroot "$root" /sandbox-agent ||
        complain 'it does not serve in an empty root'
    "$NODE" tests/checks/smoke.mjs --bare $page chroot --userspec=65534:65534 "$root" /sandbox-agent ||
        complain 'it does not serve in an empty root as another user'
fi

finish
