#!/bin/sh
# valgrind.sh - the API suite with the server under valgrind's memcheck: what is used after it was
# freed, beyond its end or before it was set, and what is lost.
#
#   sh tests/valgrind.sh [--only REGEX] [--jobs N]
#
# The program is a build of its own: sanitizers and memcheck exclude each other. Keeper and server are
# traced, since they fork without executing anything; the programs that they start are not. Each
# traced process writes a log. An error, or a block definitely lost, in any of them fails the run,
# also where the suite was content. Of a server that was killed its errors are known, not its leaks.
set -eu
cd "$(dirname -- "$0")/.."
CC=${CC:-gcc}
NODE=${NODE:-node}
build=${build:-build}
work=$build/valgrind
top=$(pwd)

usage()
{
    echo 'usage: valgrind.sh [--only REGEX] [--jobs N]' >&2
    exit 2
}

# What cannot hold under valgrind, by reason. Patterns of group/id.
# It looks at a program before it executes it: what the kernel would refuse is refused otherwise, or
# ends the process that asked.
except='errors/argument-list-too-long|problems/spawn-failure'
# The limit of descriptors is also valgrind's, which keeps some for itself; and children get its log.
except="$except|http-limits/emfile-.*|attack/descriptor-limit|robustness/no-leaked-.*|keeper/children-see-nothing"
# An upgraded server is executed anew, and so not traced.
except="$except|upgrade/.*"
# They count on a server that is not thirty times slower than its processes and their readers.
except="$except|sse/deleted-while-followed|regress-process/(slow-reader-of-an-ended-process|small-caps-lose-nothing)"
except="$except|store_sql/questions|restart/crashed-at-random|tls/many"
except="$except|keeper/(output-complete|database-is-whole|again-and-again)"

only="^(?!($except)\$)"
lanes=2
while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || usage
    case $1 in
    --only) only=$2 ;;
    --jobs) lanes=$2 ;;
    *) usage ;;
    esac
    shift 2
done

command -v valgrind >/dev/null || {
    echo 'valgrind.sh: valgrind is missing' >&2
    exit 1
}
rm -rf "$work"
mkdir -p "$work/logs"

./amalgamate --generate "$build/gen"
./amalgamate --list | while read -r path condition; do
    case $path in *.c) ;; *) continue ;; esac
    case $condition in
    generated) echo "$build/gen/${path##*/}" ;;
    '' | !*) echo "$path" ;;
    esac
done >"$work/sources"
libraries='-lsqlite3 -lm -lpthread -ldl'
if xargs grep -q '^#include <mbedtls/' <"$work/sources"; then
    libraries="-lmbedtls -lmbedx509 -lmbedcrypto $libraries"
fi
# shellcheck disable=SC2046,SC2086 # lists of words
$CC -std=c11 -D_GNU_SOURCE -Isrc -O1 -g -fno-omit-frame-pointer -o "$work/program" $(cat "$work/sources") $libraries

cat >"$work/sandbox-agent" <<EOS
#!/bin/sh
exec valgrind --quiet --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \\
    --error-exitcode=99 --trace-children=no --num-callers=40 --vgdb=no \\
    --log-file='$top/$work/logs/%p.log' '$top/$work/program' "\$@"
EOS
chmod +x "$work/sandbox-agent"

# What the system shows a traced process to run, so that the suite knows one when it sees it.
SBX_TEST_PROGRAM=$(valgrind -d -q true 2>&1 | sed -n 's/.*launching //p' | head -n 1)
SLOW=${SLOW:-6}
export SBX_TEST_PROGRAM SLOW
status=0
"$NODE" tests/api/run.mjs --bin "$work/sandbox-agent" --jobs "$lanes" --only "$only" || status=$?

# Frames are in errors only; what memcheck does not know about a system call is a line without any.
find "$work/logs" -type f | sort >"$work/traced"
xargs grep -lE '^==[0-9]+== +(at|by) 0x' <"$work/traced" >"$work/found" || true
if [ -s "$work/found" ]; then
    echo 'FAIL valgrind: errors or leaks:'
    xargs cat <"$work/found"
    status=1
fi
echo "valgrind: $(wc -l <"$work/found") of $(wc -l <"$work/traced") processes have errors or leaks"
exit "$status"
