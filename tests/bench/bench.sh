#!/bin/sh
# Builds sabench when needed and runs the comparison:
#   bench.sh --a 'CMD_A server --port {port}' --b 'CMD_B ...' [options]
# See README.md; `bench.sh --list` names the scenarios. SABENCH says where the binary is kept.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
bin=${SABENCH:-$here/../../build/bench/sabench}
if [ ! -x "$bin" ] || [ "$here/sabench.c" -nt "$bin" ]; then
    mkdir -p "$(dirname -- "$bin")"
    ${CC:-cc} -O2 -o "$bin" "$here/sabench.c"
fi
exec "$bin" bench "$@"
