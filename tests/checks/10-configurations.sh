# The documented one-line builds of the two files alone, in a folder with nothing else, each give a
# server that answers: with and without TLS and SQLite, with gcc and with clang; and with the inspector,
# which is a third file.
. tests/checks/common

cp sandbox_agent.c sandbox_agent.h "$work"
sh ui/embed.sh lite "$work/page"
export work NODE
{
    echo "all $CC -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto"
    echo "all-clang $CLANG -lsqlite3 -lmbedtls -lmbedx509 -lmbedcrypto"
    echo "no-tls $CC -DSBX_NO_TLS -lsqlite3"
    echo "no-sqlite $CC -DSBX_NO_SQLITE -lmbedtls -lmbedx509 -lmbedcrypto"
    echo "no-library $CC -DSBX_NO_TLS -DSBX_NO_SQLITE"
    echo "inspector $CC -DSBX_NO_TLS -DSBX_NO_SQLITE -DSBX_UI_ASSETS=\"page/assets.h\""
} | sed "s/.*/'&'/" >"$work/builds"
# shellcheck disable=SC2016 # for the inner shell
parallel '
set -e
set -- $0
name=$1
compiler=$2
shift 2
echo "$name: $compiler -O2 sandbox_agent.c $*"
(cd "$work" && $compiler -O2 sandbox_agent.c "$@" -o "$name")
page=
[ "$name" != inspector ] || page=--page
"$NODE" tests/checks/smoke.mjs $page "$work/$name"
' <"$work/builds" || bad=1

finish
