# The release binary is static and stripped, and runs in a root with nothing but itself and /tmp,
# as root and as somebody else.
. tests/checks/common

binary=$build/sandbox-agent
if ldd "$binary" >"$work/ldd" 2>&1; then
    complain 'ldd finds libraries:'
    cat "$work/ldd"
fi
if command -v readelf >/dev/null; then
    readelf -lW "$binary" | grep -E 'INTERP|DYNAMIC' >"$work/dynamic" || true
    complain_of 'not static:' "$work/dynamic"
fi
nm "$binary" >"$work/symbols" 2>/dev/null || true
[ ! -s "$work/symbols" ] || complain "not stripped: $(wc -l <"$work/symbols") symbols"

"$NODE" tests/checks/smoke.mjs "$binary" || complain 'it does not serve'

if [ "$(id -u)" -eq 0 ] && command -v chroot >/dev/null; then
    root=$work/root
    mkdir -p "$root/tmp"
    chmod 1777 "$root/tmp"
    cp "$binary" "$root/sandbox-agent"
    "$NODE" tests/checks/smoke.mjs --bare chroot "$root" /sandbox-agent || complain 'it does not serve in an empty root'
    "$NODE" tests/checks/smoke.mjs --bare chroot --userspec=65534:65534 "$root" /sandbox-agent ||
        complain 'it does not serve in an empty root as another user'
fi

finish
