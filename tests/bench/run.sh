#!/bin/sh
# run.sh - what ./build.sh bench does once build/sandbox-agent is there: compares it with the
# reference server, and with nginx where HTTP alone is measured.
#
#   ./build.sh bench [--report] [--no-nginx] [sabench options]
#
# --report also measures the reference without its request log and writes the tables into
# docs/benchmarks.md. Everything else goes to sabench (README.md): --quick, --only a,b, --runs N ...
# BENCH_SERVER in the environment names another binary than build/sandbox-agent.
# Results stay in build/bench/*.json. A comparison whose other side cannot be had is left out, and
# the output says so.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
top=$(CDPATH= cd -- "$here/../.." && pwd)
dir=$top/build/bench
# The package with the native binary: the one that `sandbox-agent` from npm starts is a script.
reference=$dir/node_modules/@sandbox-agent/cli-linux-x64/bin/sandbox-agent
reference_name='sandbox-agent 0.4.2'
server=${BENCH_SERVER:-$top/build/sandbox-agent}
SABENCH=$dir/sabench
export SABENCH

report=no nginx_wanted=yes only='' skip=''

say()
{
    printf '%s\n' "$@"
}

die()
{
    printf 'bench: %s\n' "$*" >&2
    exit 2
}

# Those of the scenarios in $1 that the caller's --only and --skip leave, with commas.
chosen()
{
    for s in $1; do
        case ",${only:-$s}," in *",$s,"*) ;; *) continue ;; esac
        case ",$skip," in *",$s,"*) continue ;; esac
        printf '%s,' "$s"
    done | sed 's/,$//'
}

get_reference()
{
    if [ -x "$reference" ] && cmp -s "$here/package-lock.json" "$dir/package-lock.json"; then
        return 0
    fi
    [ "$(uname -s) $(uname -m)" = 'Linux x86_64' ] || return 1
    say "installing $reference_name with npm into build/bench"
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$dir/"
    (cd "$dir" && npm ci --silent) && chmod +x "$reference"
}

as_root()
{
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# The packages are unpacked, not installed: an installed one would start its own server on port 80.
# Older Debians have the program in nginx-light, newer ones in nginx.
fetch_nginx()
{
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
    mkdir -p "$dir/nginx"
    cd "$dir/nginx"
    rm -f ./*.deb
    apt-get -qq download nginx-light nginx || {
        as_root apt-get -qq update && apt-get -qq download nginx-light nginx
    } || return 1
    for package in ./*.deb; do
        dpkg-deb -x "$package" .
    done
}

get_nginx()
{
    for NGINX in "$(command -v nginx || :)" /usr/sbin/nginx "$dir/nginx/usr/sbin/nginx"; do
        if [ -x "$NGINX" ]; then
            export NGINX
            return 0
        fi
    done
    say 'fetching nginx-light with apt-get into build/bench'
    (fetch_nginx) >"$dir/nginx.log" 2>&1 && "$NGINX" -v >>"$dir/nginx.log" 2>&1 && export NGINX
}

# compare NAME TITLE [sabench option]...: ours as A in one run, its result in build/bench/NAME.json.
compare()
{
    name=$1
    say '' "== $2"
    shift 2
    rc=0
    "$here/bench.sh" --a "HOME={dir} '$server' server --no-token --port {port} --data-dir {dir}/data" --label-a ours \
        --json "$dir/$name.json" "$@" || rc=$?
    [ "$rc" -ne 130 ] || exit 130
    [ "$rc" -eq 0 ] || failed=$rc
}

# What picks scenarios is kept apart from the other options: not every comparison has them all.
count=$#
while [ "$count" -gt 0 ]; do
    arg=$1
    shift
    count=$((count - 1))
    case $arg in
    --report) report=yes ;;
    --no-nginx) nginx_wanted=no ;;
    --list) exec "$here/bench.sh" --list ;;
    --a | --b | --label-a | --label-b | --json) die "$arg is set here; use tests/bench/bench.sh" ;;
    --only | --skip)
        [ "$count" -gt 0 ] || die "$arg needs a list of scenarios"
        if [ "$arg" = --only ]; then only=$1; else skip=$1; fi
        shift
        count=$((count - 1))
        ;;
    *) set -- "$@" "$arg" ;;
    esac
done

[ -x "$server" ] || die "no server at $server; ./build.sh builds it"
mkdir -p "$dir"
rm -f "$dir/reference.json" "$dir/unlogged.json" "$dir/nginx.json"
failed=0
health=$(chosen 'health health-new conns')
pick="${only:+--only $only} ${skip:+--skip $skip}"
beside="HOME={dir} '$reference' server --no-token --port {port} --no-telemetry"

# $pick is split on purpose: scenario names have no blanks.
if get_reference; then
    compare reference "ours beside $reference_name" --b "$beside" --label-b "$reference_name" $pick "$@"
    if [ "$report" = yes ] && [ -n "$health" ]; then
        compare unlogged "ours beside $reference_name with RUST_LOG=off" --b "RUST_LOG=off $beside" \
            --label-b "$reference_name, RUST_LOG=off" --only "$health" "$@"
    fi
else
    say "$reference_name could not be installed here: it is left out of the comparison"
    compare reference 'ours alone' $pick "$@"
fi

if [ "$nginx_wanted" = yes ] && [ -n "$health" ]; then
    if get_nginx; then
        compare nginx 'ours beside nginx with a file of 15 bytes' --label-b nginx \
            --b "'$here/nginx-ref.sh' {port} {dir}" --only "$health" "$@"
    else
        say 'nginx is not here and could not be fetched (build/bench/nginx.log): it is left out'
    fi
fi

if [ "$report" = yes ]; then
    "${NODE:-node}" "$here/report.mjs" "$dir" "$top/docs/benchmarks.md"
fi
exit "$failed"
