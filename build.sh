#!/bin/sh
# build.sh - builds, runs and tests the agent; `./build.sh help` lists what it can do.
#
# Needs a C compiler and nothing else to start from: what a command lacks is installed through the
# system's package manager, after saying so. Every probe is a tiny compile or run of the thing
# itself, so nothing is fetched, and no network is needed, where nothing is missing.
#
# The release binary is built from sandbox_agent.c, the one file that ./amalgamate writes; the one
# with sanitizers is built from the separate modules. The tests run against both.
set -eu
cd "$(dirname -- "$0")"

CC=${CC:-gcc}
CLANG=${CLANG:-clang}
NODE=${NODE:-node}
UI=${UI:-full}
build=build
jobs=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

standard='-std=c11 -D_GNU_SOURCE -Isrc'
warnings='-Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes'
# Without warnings: gcc sees through less with sanitizers on and then warns of what is right. The
# checks compile everything with warnings and without sanitizers.
sanitize='-g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
# The second line is for the day on which somebody finds a fault: smashed frames and copies past the
# end of an object end the program, and addresses are not known beforehand.
release='-std=c11 -O2 -fno-plt -ffunction-sections -fdata-sections
    -fPIE -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2'
export CC CLANG NODE UI jobs build standard warnings

usage()
{
    cat <<'USAGE'
./build.sh                        build build/sandbox-agent (static, stripped)
./build.sh run [ARGUMENT...]      build it and start its server
./build.sh test [--only REGEX]    build and run every test; ends with "N passed, N failed, N skipped"
./build.sh check [--only REGEX]   the checks of the sources and of the release binary alone
./build.sh bench [ARGUMENT...]    build it and run the benchmark beside the reference server
./build.sh fuzz SECONDS [TARGET]  run the fuzzers, or one, for that long each; finds go to build/fuzz;
                                  with --together all of them at once
./build.sh ui                     only get and build the inspector page: ui/vendor and build/ui
./build.sh clean                  remove what was built
UI=full builds in the whole inspector page, which needs npm and zopfli; UI=lite builds it in without its terminal,
and UI=none leaves it out: these two take nothing from elsewhere. UI=full is the default.
CC, CLANG, NODE and SBX_CFLAGS from the environment are used where set.
USAGE
}

say()
{
    printf '%s\n' "$*"
}

die()
{
    printf 'build.sh: %s\n' "$*" >&2
    exit 1
}

show()
{
    say "+ $*"
    "$@"
}

# --- what is there, and how to get what is not ----------------------------------------------------

# try COMPILER SOURCE [FLAG...]: does it compile and link?
try()
{
    compiler=$1
    printf '%s\n' "$2" >"$build/probe/probe.c"
    shift 2
    ("$compiler" -o "$build/probe/probe" "$build/probe/probe.c" "$@") >"$build/probe/log" 2>&1
}

probe()
{
    case $1 in
    cc) try "$CC" '#include <stdio.h>
int main(void) { return puts("ok") < 0; }' -static ;;
    nm) command -v nm >/dev/null && command -v strip >/dev/null ;;
    static-pie) try "$CC" 'int main(void) { return 0; }' -fPIE -static-pie && "$build/probe/probe" ;;
    asan) try "$CC" 'int main(void) { return 0; }' -fsanitize=address,undefined ;;
    sqlite) try "$CC" '#include <sqlite3.h>
int main(void) { return sqlite3_libversion_number() < 3000000; }' -lsqlite3 ;;
    sqlite3-shell) [ "$(sqlite3 -json :memory: 'select 1 as n' 2>/dev/null)" = '[{"n":1}]' ] ;;
    mbedtls) try "$CC" '#include <mbedtls/ssl.h>
#include <mbedtls/x509_crt.h>
int main(void) { mbedtls_ssl_context c; mbedtls_ssl_init(&c); return 0; }' -lmbedtls -lmbedx509 -lmbedcrypto ;;
    cmocka) try "$CC" '#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
int main(void) { return cmocka_run_group_tests_name("none", (const struct CMUnitTest *)0, 0, 0) * 0; }' -lcmocka ;;
    clang) try "$CLANG" 'int main(void) { return 0; }' ;;
    fuzzer) try "$CLANG" '#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n);
int LLVMFuzzerTestOneInput(const unsigned char *p, size_t n) { return p == NULL && n > 0; }' \
        -fsanitize=fuzzer,address,undefined ;;
    # The test client needs fetch() and web streams, which came with version 18.
    node) [ "$("$NODE" -p 'parseInt(process.versions.node) >= 18' 2>/dev/null)" = true ] ;;
    npm) npm --version >/dev/null 2>&1 ;;
    zopfli)
        printf x >"$build/probe/text"
        [ "$(zopfli -c "$build/probe/text" 2>/dev/null | gzip -dc 2>/dev/null)" = x ]
        ;;
    openssl) openssl version >/dev/null 2>&1 ;;
    # The browser that the tests drive; $CHROMIUM names another one.
    chromium)
        for program in "${CHROMIUM-}" chromium chromium-browser google-chrome google-chrome-stable; do
            [ -z "$program" ] || ! "$program" --version >/dev/null 2>&1 || return 0
        done
        return 1
        ;;
    *) die "no probe for $1" ;;
    esac
}

# package MANAGER CAPABILITY: the packages that bring it, by that manager's names.
package()
{
    case $1:$2 in
    apt:cc) echo gcc libc6-dev ;;
    apt:nm) echo binutils ;;
    apt:asan) echo gcc libc6-dev ;;
    apt:sqlite) echo libsqlite3-dev ;;
    apt:sqlite3-shell | dnf:sqlite3-shell | pkg:sqlite3-shell) echo sqlite3 ;;
    apk:sqlite3-shell | brew:sqlite3-shell) echo sqlite ;;
    apt:mbedtls) echo libmbedtls-dev ;;
    apt:cmocka) echo libcmocka-dev ;;
    apt:clang) echo clang ;;
    apt:fuzzer) echo clang libclang-rt-dev ;;
    apt:node) echo nodejs ;;
    apt:chromium) echo chromium fonts-liberation ;;
    apt:npm) echo npm ;;
    apk:cc) echo gcc musl-dev ;;
    apk:nm | dnf:nm | brew:nm | pkg:nm) echo binutils ;;
    apk:asan) echo gcc ;;
    apk:sqlite) echo sqlite-dev sqlite-static ;;
    apk:mbedtls) echo mbedtls-dev mbedtls-static ;;
    apk:cmocka) echo cmocka-dev ;;
    apk:clang) echo clang ;;
    apk:fuzzer) echo clang compiler-rt ;;
    apk:node | dnf:node) echo nodejs ;;
    dnf:cc) echo gcc glibc-devel glibc-static ;;
    dnf:asan) echo libasan libubsan ;;
    dnf:sqlite) echo sqlite-devel ;;
    dnf:mbedtls) echo mbedtls-devel ;;
    dnf:cmocka) echo libcmocka-devel ;;
    dnf:clang) echo clang ;;
    dnf:fuzzer) echo clang compiler-rt ;;
    brew:cc | brew:asan | pkg:cc | pkg:asan) echo gcc ;;
    brew:clang | brew:fuzzer | pkg:clang | pkg:fuzzer) echo llvm ;;
    brew:sqlite) echo sqlite ;;
    pkg:sqlite) echo sqlite3 ;;
    brew:mbedtls | pkg:mbedtls) echo mbedtls ;;
    brew:cmocka | pkg:cmocka) echo cmocka ;;
    brew:node | pkg:node) echo node ;;
    *:npm) echo npm ;;
    *) echo "$2" ;;
    esac
}

manager()
{
    for m in apt-get apk dnf brew pkg; do
        if command -v "$m" >/dev/null; then
            echo "${m%-get}"
            return
        fi
    done
    echo none
}

as_root()
{
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "as root, run: $*"
    fi
}

apt()
{
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >>"$build/apt.log" 2>&1
}

apt_install()
{
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null || die "as root, run: apt-get install $*"
    say "installing with apt-get: $*"
    : >"$build/apt.log"
    # Without a network the lists may still be good enough.
    apt update || true
    apt install -y --no-install-recommends "$@" || {
        cat "$build/apt.log" >&2
        die "apt-get could not install: $*"
    }
}

# need CAPABILITY...: all of them, installed if they have to be.
need()
{
    mkdir -p "$build/probe"
    missing=
    packages=
    system=$(manager)
    for capability in "$@"; do
        probe "$capability" && continue
        missing="$missing $capability"
        packages="$packages $(package "$system" "$capability")"
    done
    [ -n "$missing" ] || return 0
    say "missing:$missing"
    # shellcheck disable=SC2086 # a list of words
    packages=$(printf '%s\n' $packages | sort -u | tr '\n' ' ')
    # shellcheck disable=SC2086 # a list of words
    case $system in
    apt) apt_install $packages ;;
    none) die "no package manager is known here; please install what brings:$missing" ;;
    *) die "please install these packages with $system: $packages" ;;
    esac
    for capability in $missing; do
        probe "$capability" || {
            cat "$build/probe/log" >&2
            die "$capability still does not work (above: the output of its probe)"
        }
    done
}

# Libraries that the sources ask for, as capabilities and as linker arguments.
uses()
{
    grep -q "^#include <$1" sandbox_agent.c
}

library_needs()
{
    ! uses sqlite3.h || echo sqlite
    ! uses mbedtls/ || echo mbedtls
}

library_flags()
{
    ! uses mbedtls/ || echo -lmbedtls -lmbedx509 -lmbedcrypto
    ! uses sqlite3.h || echo -lsqlite3 -lm -lpthread -ldl
}

# --- building ---------------------------------------------------------------------------------------

# The modules of a build without special defines: sources whose condition is none or "!NAME".
module_sources()
{
    ./amalgamate --list | while read -r path condition; do
        case $path in *.c) ;; *) continue ;; esac
        case $condition in
        generated) echo "$build/gen/${path##*/}" ;;
        '' | !*) echo "$path" ;;
        esac
    done
}

object_of()
{
    printf '%s\n' "$1" | sed 's,^src/,,; s,^build/,,; s,/,_,g; s,c$,o,'
}

# stale OUTPUT INPUT...: is it missing or older than one of them?
stale()
{
    [ -f "$1" ] || return 0
    output=$1
    shift
    [ -n "$(find "$@" -newer "$output" 2>/dev/null)" ]
}

# compile DIR COMMAND...: runs `COMMAND -c -o OBJECT SOURCE` for each stale source on stdin, as many
# at a time as there are processors. A changed header or command makes all of them stale.
compile()
{
    dir=$1
    shift
    mkdir -p "$dir"
    printf '%s\n' "$*" >"$dir/command.new"
    cmp -s "$dir/command.new" "$dir/command" || rm -f "$dir"/*.o
    mv "$dir/command.new" "$dir/command"
    find src tests/unit tests/fuzz -name '*.h' >"$dir/headers"
    : >"$dir/todo"
    : >"$dir/objects"
    while read -r source; do
        object=$dir/$(object_of "$source")
        printf '%s\n' "$object" >>"$dir/objects"
        # shellcheck disable=SC2046 # a list of paths without blanks
        stale "$object" "$source" $(cat "$dir/headers") || continue
        printf '%s\n%s\n' "$object" "$source" >>"$dir/todo"
    done
    [ -s "$dir/todo" ] || return 0
    say "+ $* -c   ($(($(wc -l <"$dir/todo") / 2)) files, $jobs at a time)"
    # An object of a failed or interrupted run must not look fresh.
    COMMAND="$*" xargs -P "$jobs" -n 2 sh -c '$COMMAND -c -o "$0.tmp" "$1" && mv "$0.tmp" "$0"' <"$dir/todo" ||
        die 'it does not compile; see above'
}

# archive DIR: what was last compiled there but for main(), for programs that bring their own.
archive()
{
    grep -v '/app_main\.o$' "$1/objects" >"$1/members.new"
    # shellcheck disable=SC2046 # a list of paths without blanks
    if ! cmp -s "$1/members.new" "$1/members" || stale "$1/agent.a" $(cat "$1/members.new"); then
        rm -f "$1/agent.a"
        xargs ar rcs "$1/agent.a" <"$1/members.new"
        mv "$1/members.new" "$1/members"
    fi
}

amalgamated()
{
    ./amalgamate || die 'the sources could not be put together'
    ./amalgamate --generate "$build/gen"
}

# npm_ci DIR WHAT: the packages of its lock file, unless they are there.
npm_ci()
{
    stamp=$1/node_modules/.installed
    wanted=$(cat "$1/package.json" "$1/package-lock.json" "$1/.npmrc" | cksum)
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    need npm
    # From inside the folder, since only there npm reads the settings of its .npmrc.
    say "+ cd $1 && npm ci"
    (cd "$1" && npm ci --ignore-scripts --no-progress --loglevel=error) || die "npm could not install $2"
    printf '%s\n' "$wanted" >"$stamp"
}

# The inspector page as $build/ui/assets.h, and in $ui the flags that take it into the program. The
# program without a part of it is somebody's choice, and never what becomes of a failure.
build_ui()
{
    ui=
    case $UI in
    full)
        (need node zopfli && npm_ci ui 'what the inspector is made of') ||
            die 'UI=full needs npm, its registry and zopfli. UI=lite builds the inspector without its
terminal, UI=none builds the server without the inspector; both need nothing.'
        ;;
    lite) ;;
    none) return 0 ;;
    *) die "UI is full, lite or none, and not \"$UI\"" ;;
    esac
    sh ui/embed.sh "$UI" "$build/ui" || die 'the inspector could not be put together; see above'
    ui="-I. -DSBX_UI_ASSETS=\"$build/ui/assets.h\""
}

build_release()
{
    need cc nm
    amalgamated
    build_ui
    # shellcheck disable=SC2046 # a list of words
    need $(library_needs)
    pie=-static-pie
    probe static-pie || {
        say 'static-pie does not work here: the binary is static, at addresses that are always the same'
        pie=-static
    }
    # shellcheck disable=SC2086 # lists of words
    set -- $CC $release ${SBX_CFLAGS-} $ui
    link="$pie -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack -s"
    if stale "$build/sandbox-agent" sandbox_agent.c sandbox_agent.h ${ui:+"$build/ui/assets.h"} ||
        [ "$* $link" != "$(cat "$build/release.command" 2>/dev/null)" ]; then
        # In two steps, since the object shows a check what the stripped binary does not.
        show "$@" -c -o "$build/sandbox_agent.o" sandbox_agent.c
        # shellcheck disable=SC2046,SC2086 # lists of words
        show "$@" $link -o "$build/sandbox-agent" "$build/sandbox_agent.o" $(library_flags)
        printf '%s\n' "$* $link" >"$build/release.command"
    fi
}

build_sanitized()
{
    # It has the page, too. One object alone takes it in.
    object=$build/san/api_ui_assets.o
    [ -z "$ui" ] || ! stale "$object" "$build/ui/assets.h" || rm -f "$object"
    # shellcheck disable=SC2086 # lists of words
    module_sources | compile "$build/san" $CC $standard $sanitize $ui
    archive "$build/san"
    # shellcheck disable=SC2046,SC2086 # lists of words
    if stale "$build/san/sandbox-agent" "$build/san/app_main.o" "$build/san/agent.a"; then
        show $CC $sanitize -o "$build/san/sandbox-agent" "$build/san/app_main.o" "$build/san/agent.a" $(library_flags)
    fi
}

size_of()
{
    wc -c <"$1" | tr -d ' '
}

# --- counting ---------------------------------------------------------------------------------------

passed=0
failed=0
skipped=0

count()
{
    passed=$((passed + $1))
    failed=$((failed + $2))
    skipped=$((skipped + $3))
}

# The closing line of a run, and its exit status. A run that ran nothing is a failure.
summary()
{
    if [ $((passed + failed)) -eq 0 ]; then
        say 'FAIL no test was run'
        failed=1
    fi
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
}

selected()
{
    [ -z "$only" ] || printf '%s\n' "$1" | grep -Eq -e "$only"
}

parse_only()
{
    only=
    case $# in
    0) ;;
    2) [ "$1" = --only ] && only=$2 || die "unknown argument $1" ;;
    *) die "usage: ./build.sh test [--only REGEX]" ;;
    esac
}

# limited SECONDS COMMAND...: in our own process group where that can be chosen, or an interrupt
# from the keyboard would end this script and leave the command. Ten seconds after its time a program
# that catches SIGTERM is killed.
limited()
{
    if timeout --foreground -k 10 1 true 2>/dev/null; then
        timeout --foreground -k 10 "$@"
    elif command -v timeout >/dev/null; then
        timeout "$@"
    else
        shift
        "$@"
    fi
}

# --- unit tests -------------------------------------------------------------------------------------

unit_programs()
{
    for source in tests/unit/test_*.c; do
        [ -f "$source" ] && selected "unit/$(basename "$source" .c)" && echo "$source"
    done
    return 0
}

unit_support()
{
    find tests/unit -name '*.c' ! -name 'test_*' | sort
}

build_units()
{
    # shellcheck disable=SC2086 # lists of words
    { unit_programs; unit_support; } |
        compile "$build/unit" $CC $standard -Itests/unit $sanitize
    support=$(unit_support | while read -r source; do echo "$build/unit/$(object_of "$source")"; done)
    unit_programs | while read -r source; do
        program=$build/unit/$(basename "$source" .c)
        object=$build/unit/$(object_of "$source")
        # shellcheck disable=SC2046,SC2086 # lists of words
        stale "$program" "$object" $support "$build/san/agent.a" || continue
        # shellcheck disable=SC2046,SC2086 # lists of words
        $CC $sanitize -o "$program" "$object" $support "$build/san/agent.a" $(library_flags) -lcmocka || exit 1
    done
}

# A cmocka program speaks TAP here. One that dies half way has failed in each test it did not reach,
# and one that fails at its very end (a leak, for instance) has failed once.
run_unit()
{
    log=$1.log
    status=0
    CMOCKA_MESSAGE_OUTPUT=TAP limited 300 "$1" >"$log" 2>&1 </dev/null || status=$?
    plan=$(sed -n 's/^1\.\.\([0-9][0-9]*\).*/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    skip=$(grep -cE '^(not )?ok [0-9].*# SKIP' "$log" || true) # cmocka says "not ok" of them
    ok=$(grep '^ok [0-9]' "$log" | grep -cv '# SKIP' || true)
    bad=$((plan - ok - skip))
    if [ $bad -le 0 ]; then
        bad=0
        if [ $status -ne 0 ] || [ $((ok + skip)) -eq 0 ]; then bad=1; fi
    fi
    if [ $bad -gt 0 ]; then
        say "FAIL unit/$(basename "$1"): $bad of $plan (exit status $status)"
        sed 's/^/    /' "$log"
    else
        say "PASS unit/$(basename "$1"): $ok"
    fi
    count $ok $bad "$skip"
}

unit_tests()
{
    for source in $(unit_programs); do
        run_unit "$build/unit/$(basename "$source" .c)"
    done
}

# --- fuzzing ----------------------------------------------------------------------------------------

fuzz_targets()
{
    for source in tests/fuzz/fuzz_*.c; do
        [ -f "$source" ] && basename "$source" .c | sed 's/^fuzz_//'
    done
    return 0
}

# What the fuzzers found once stays found: every stored input, with gcc and without a fuzzer.
replay_tests()
{
    targets=$(fuzz_targets | while read -r t; do ! selected "fuzz/$t" || echo "$t"; done)
    [ -n "$targets" ] || return 0
    # shellcheck disable=SC2086 # lists of words
    { for t in $targets; do echo "tests/fuzz/fuzz_$t.c"; done; echo tests/fuzz/replay.c; } |
        compile "$build/replay" $CC $standard -Itests/fuzz $sanitize
    for t in $targets; do
        program=$build/replay/$t
        set -- "$build/replay/tests_fuzz_fuzz_$t.o" "$build/replay/tests_fuzz_replay.o" "$build/san/agent.a"
        if stale "$program" "$@"; then
            # shellcheck disable=SC2046,SC2086 # lists of words
            $CC $sanitize -o "$program" "$@" $(library_flags)
        fi
        find "tests/fuzz/corpus/$t" -type f -print0 2>/dev/null | sort -z >"$program.inputs"
        if limited 300 xargs -0 "$program" <"$program.inputs" >"$program.log" 2>&1; then
            say "PASS fuzz/$t: $(tail -n 1 "$program.log")"
            count 1 0 0
        else
            say "FAIL fuzz/$t: an input of its corpus"
            sed 's/^/    /' "$program.log"
            count 0 1 0
        fi
    done
}

# The modules once, and one program each, as many at a time as there are processors.
build_fuzzers()
{
    need cc nm fuzzer
    amalgamated
    # shellcheck disable=SC2046 # a list of words
    need $(library_needs)
    checks='-g -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all'
    # shellcheck disable=SC2086 # lists of words
    module_sources | compile "$build/fuzz/modules" $CLANG $standard $checks -fsanitize=fuzzer-no-link,address,undefined
    archive "$build/fuzz/modules"
    for t in $targets; do
        [ -f "tests/fuzz/fuzz_$t.c" ] || die "there is no tests/fuzz/fuzz_$t.c"
        say "$t"
    done >"$build/fuzz/todo"
    LINK="$CLANG $standard -Itests/fuzz $checks -fsanitize=fuzzer,address,undefined" DIR="$build/fuzz" \
        LIBRARIES="$(library_flags)" xargs -P "$jobs" -n 1 sh -c '
            $LINK -o "$DIR/$0" "tests/fuzz/fuzz_$0.c" "$DIR/modules/agent.a" $LIBRARIES' <"$build/fuzz/todo" ||
        die 'the fuzzers cannot be built; see above'
}

# fuzz_one TARGET: its output and its exit status into files.
fuzz_one()
{
    mkdir -p "$build/fuzz/corpus/$1" "$build/fuzz/found"
    dictionary=
    [ ! -f "tests/fuzz/$1.dict" ] || dictionary=-dict=tests/fuzz/$1.dict
    stored=
    [ ! -d "tests/fuzz/corpus/$1" ] || stored=tests/fuzz/corpus/$1
    status=0
    # shellcheck disable=SC2086 # words that may be empty
    "$build/fuzz/$1" -max_total_time="$seconds" -artifact_prefix="$build/fuzz/found/$1-" -print_final_stats=1 \
        $dictionary "$build/fuzz/corpus/$1" $stored >"$build/fuzz/$1.log" 2>&1 </dev/null || status=$?
    echo $status >"$build/fuzz/$1.status"
}

fuzz_report()
{
    if [ "$(cat "$build/fuzz/$1.status")" = 0 ]; then
        say "PASS fuzz/$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz/$1.log") inputs"
        count 1 0 0
    else
        say "FAIL fuzz/$1: the input is in $build/fuzz/found"
        tail -n 60 "$build/fuzz/$1.log" | sed 's/^/    /'
        count 0 1 0
    fi
}

fuzz()
{
    seconds=${1-}
    case $seconds in '' | *[!0-9]*) die 'usage: ./build.sh fuzz SECONDS [TARGET | --together]' ;; esac
    targets=${2-$(fuzz_targets)}
    [ "$targets" != --together ] || targets=$(fuzz_targets)
    [ -n "$targets" ] || die 'there is no fuzz target'
    build_fuzzers
    if [ "${2-}" = --together ]; then
        # shellcheck disable=SC2086 # a list of words
        say "fuzzing for $seconds s, all at once:" $targets
        for t in $targets; do
            fuzz_one "$t" &
        done
        wait
    fi
    for t in $targets; do
        if [ "${2-}" != --together ]; then
            say "fuzzing $t for $seconds s"
            fuzz_one "$t"
        fi
        fuzz_report "$t"
    done
    summary
}

# --- conformance lists ------------------------------------------------------------------------------

# Lists that others made, and their verdicts: see tests/conformance/README.md.
conformance_tests()
{
    selected conformance || return 0
    dir=$build/conformance
    log=$build/conformance.log
    mkdir -p "$dir"
    status=0
    sanitize="$sanitize" LIBRARIES="$(library_flags)" sh tests/conformance/build.sh "$dir" >"$log" 2>&1 || status=$?
    if [ $status -eq 77 ]; then
        say "note: conformance/http is left out: $(tail -n 1 "$log")"
    elif [ $status -ne 0 ]; then
        say 'FAIL conformance: it could not be built'
        sed 's/^/    /' "$log"
        count 0 1 0
        return 0
    fi
    limited 300 "$NODE" tests/conformance/run.mjs "$dir" "$dir/table.md" >"$log" 2>&1 </dev/null || true
    grep -vE '^[0-9]+ passed' "$log" || true
    counts=$(grep -xE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log" | sed 's/[^0-9][^0-9]*/ /g; s/ $//')
    # shellcheck disable=SC2086 # three numbers
    if [ -n "$counts" ]; then
        count $counts
    else
        say 'FAIL conformance: it ended without its counts'
        count 0 1 0
    fi
}

# --- black-box tests --------------------------------------------------------------------------------

# suite NAME LOG SECONDS COMMAND...: it prints its own lines and closes with its own counts.
suite()
{
    name=$1
    log=$2
    seconds=$3
    shift 3
    {
        status=0
        limited "$seconds" "$@" || status=$?
        echo $status >"$log.status"
    } 2>&1 </dev/null | tee "$log"
    counts=$(grep -xE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped' "$log" | tail -n 1 |
        sed 's/[^0-9][^0-9]*/ /g; s/ $//')
    # shellcheck disable=SC2086 # three numbers
    case $counts in
    '')
        say "FAIL $name: the suite ended without its counts (exit status $(cat "$log.status"))"
        count 0 1 0
        ;;
    '0 0 '*)
        # A pattern may select other tests than these; without one, nothing is a failure.
        if [ -z "$only" ]; then
            say "FAIL $name: no test was run"
            count 0 1 0
        fi
        ;;
    *' 0 '*)
        if [ "$(cat "$log.status")" -ne 0 ]; then
            say "FAIL $name: no test failed, but the suite ended with status $(cat "$log.status")"
            count 0 1 0
        fi
        count $counts
        ;;
    *) count $counts ;;
    esac
}

# api_tests LABEL BINARY
api_tests()
{
    say "api tests against $2"
    suite "api/$1" "$build/api-$1.log" 1200 \
        "$NODE" tests/api/run.mjs --bin "$2" ${only:+--only "$only"}
}

# --- the page in a browser ---------------------------------------------------------------------------

# install_browser: succeeds when there is one, if need be after installing it. What went wrong is in $build/browser.log.
install_browser()
{
    probe chromium && return 0
    (need chromium) >"$build/browser.log" 2>&1 || true
    probe chromium
}

# browser_tests BINARY: the page in a browser, and its modules without one. Where there is no browser
# that is said, and counts as skipped.
browser_tests()
{
    if [ "$UI" != full ]; then
        say "SKIP browser: the page was built with UI=$UI"
        count 0 0 1
        return 0
    fi
    if ! install_browser; then
        say "SKIP browser: there is no Chromium here and it could not be installed: $(tail -n 1 "$build/browser.log")"
        count 0 0 1
        return 0
    fi
    say "browser tests against $1"
    suite browser "$build/browser-tests.log" 1800 \
        "$NODE" tests/browser/run.mjs --bin "$1" ${only:+--only "$only"}
}

# pure_tests: the parts of the page that need no browser, each file of tests/browser/pure with the test
# runner of node. It speaks TAP here.
pure_tests()
{
    selected browser/pure || return 0
    set -- tests/browser/pure/*.mjs
    [ -f "$1" ] || return 0
    log=$build/browser-pure.log
    status=0
    limited 120 "$NODE" --test --test-reporter=tap "$@" >"$log" 2>&1 </dev/null || status=$?
    counts=
    for word in pass fail skipped; do
        counts="$counts $(sed -n "s/^# $word \([0-9][0-9]*\)$/\1/p" "$log" | tail -n 1)"
    done
    # shellcheck disable=SC2086 # three numbers, or fewer where it broke off
    set -- $counts
    if [ $# -ne 3 ] || [ $status -ne 0 ] || [ "$1" -eq 0 ]; then
        say "FAIL browser/pure: exit status $status"
        sed 's/^/    /' "$log"
        [ $# -eq 3 ] && [ "$2" -gt 0 ] || set -- "${1:-0}" 1 "${3:-0}"
    else
        say "PASS browser/pure: $1"
    fi
    count "$1" "$2" "$3"
}

# --- checks of sources and binary -------------------------------------------------------------------

# One number for everything a check looks at, the tools included.
fingerprint()
{
    {
        find . \( -name .git -o -name node_modules -o -path "./$build" \) -prune -o -type f -print | sort |
            tr '\n' '\0' | xargs -0 cksum
        "$CC" --version
        "$CLANG" --version
        cksum "$build/sandbox-agent"
    } 2>&1 | cksum
}

# checks [reuse]: each script in tests/checks. With `reuse` one that passed on exactly this tree
# before is not run again, so that a full run after `check` does not pay twice.
checks()
{
    mkdir -p "$build/checks"
    now=$(fingerprint)
    for script in tests/checks/*.sh; do
        name=$(basename "$script" .sh)
        selected "check/$name" || continue
        log=$build/checks/$name.log
        if [ "${1-}" = reuse ] && [ "$(cat "$build/checks/$name.passed" 2>/dev/null)" = "$now" ]; then
            say "PASS check/$name (as before; nothing changed since)"
            count 1 0 0
            continue
        fi
        status=0
        rm -f "$build/checks/$name.passed"
        sh "$script" >"$log" 2>&1 </dev/null || status=$?
        case $status in
        0)
            say "PASS check/$name"
            printf '%s\n' "$now" >"$build/checks/$name.passed"
            count 1 0 0
            ;;
        77)
            say "SKIP check/$name: $(tail -n 1 "$log")"
            count 0 0 1
            ;;
        *)
            say "FAIL check/$name"
            sed 's/^/    /' "$log"
            count 0 1 0
            ;;
        esac
    done
}

# --- commands ---------------------------------------------------------------------------------------

run_checks()
{
    parse_only "$@"
    need cc nm asan cmocka clang sqlite mbedtls node
    build_release
    checks
    summary
}

run_tests()
{
    parse_only "$@"
    need cc nm asan cmocka clang sqlite sqlite3-shell mbedtls openssl node
    npm_ci tests 'what the tests need'
    build_release
    build_sanitized
    build_units
    export ASAN_OPTIONS="${ASAN_OPTIONS-detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1}"
    export UBSAN_OPTIONS="${UBSAN_OPTIONS-print_stacktrace=1}"
    unit_tests
    replay_tests
    conformance_tests
    api_tests sanitized "$build/san/sandbox-agent"
    api_tests release "$build/sandbox-agent"
    pure_tests
    browser_tests "$build/sandbox-agent"
    checks reuse
    summary
}

command=${1-build}
[ $# -eq 0 ] || shift
case $command in
build)
    build_release
    say "$build/sandbox-agent, $(size_of "$build/sandbox-agent") bytes"
    ;;
run)
    build_release
    exec "$build/sandbox-agent" server "$@"
    ;;
test) run_tests "$@" ;;
check) run_checks "$@" ;;
bench)
    need cc nm node npm
    build_release
    exec sh tests/bench/run.sh "$@"
    ;;
fuzz) fuzz "$@" ;;
ui)
    build_ui
    if [ "$UI" = none ]; then
        die 'UI=none: there is nothing to build'
    fi
    say "$build/ui: $(find "$build/ui/site" -name '*.gz' -exec cat {} + | wc -c) bytes as gzip, in $(
        find "$build/ui/site" -name '*.gz' | wc -l) files"
    ;;
clean) rm -rf "$build" ui/vendor ;;
help | --help | -h) usage ;;
*)
    usage >&2
    die "unknown command $command"
    ;;
esac
