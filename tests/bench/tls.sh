#!/bin/sh
# tls.sh - what TLS costs the agent, beside two limits: tls_limit.c, which is mbedTLS and nothing
# else, and `openssl s_server -WWW`, a server with assembly for everything.
#
#   tests/bench/tls.sh [SECONDS [MB]]
#
# For a P-256 and an RSA certificate: full and resumed handshakes, one after the other by
# `openssl s_time`, and one download of MB megabytes by curl (of the agent: the raw log of a process).
# All by TLS 1.2 with AES128-GCM, which is in every library. Beside the rate on the clock, which has
# the client's share in it, stands the rate per second of processor time that the server took; on a
# machine with other work that one alone is worth comparing.
set -eu
cd "$(dirname -- "$0")/../.."
seconds=${1:-4}
mb=${2:-256}
agent=${BENCH_SERVER:-build/sandbox-agent}
ticks=$(getconf CLK_TCK)
work=$(mktemp -d)
server=

finish()
{
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' HUP INT TERM

die()
{
    printf 'tls.sh: %s\n' "$*" >&2
    exit 1
}

for tool in openssl curl; do
    command -v $tool >/dev/null || die "$tool is missing"
done
[ -x "$agent" ] || die "there is no $agent; ./build.sh makes it"
${CC:-cc} -O2 -o "$work/tls_limit" tests/bench/tls_limit.c -lmbedtls -lmbedx509 -lmbedcrypto

certificate()
{
    openssl req -x509 -newkey "$2" ${3:+-pkeyopt "$3"} -nodes -subj /CN=localhost -days 9 \
        -keyout "$work/$1.key" -out "$work/$1.pem" 2>/dev/null
}
certificate ec ec ec_paramgen_curve:P-256
certificate rsa rsa:2048 ''
dd if=/dev/zero of="$work/zeroes" bs=1000000 count="$mb" 2>/dev/null

free_port()
{
    port=$((20000 + $$ % 10000))
    while openssl s_client -connect "127.0.0.1:$port" </dev/null 2>&1 | grep -q CONNECTED; do
        port=$((port + 1))
    done
}

# begin COMMAND...: in the background, until something answers at $port.
begin()
{
    "$@" >"$work/log" 2>&1 &
    server=$!
    tries=0
    until curl -sko /dev/null "$scheme://127.0.0.1:$port/zeroes0" || [ $tries -gt 100 ]; do
        kill -0 "$server" 2>/dev/null || die "it did not start: $* $(cat "$work/log")"
        tries=$((tries + 1))
        sleep 0.1
    done
}

end()
{
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
}

used()
{
    sed 's/.*) //' "/proc/$server/stat" | awk '{ print $12 + $13 }'
}

# handshakes -new|-reuse
handshakes()
{
    before=$(used)
    count=$(openssl s_time -connect "127.0.0.1:$port" "$1" -time "$seconds" -tls1_2 -cipher "$suite" 2>/dev/null |
        sed -n 's/^\([0-9][0-9]*\) connections in \([0-9]*\) real seconds.*/\1/p')
    after=$(used)
    echo "${count:-0} $before $after" | awk -v s="$seconds" -v t="$ticks" '{
        c = ($3 - $2) / t
        printf "%d/s (%s per processor second)", $1 / s, (c > 0 ? sprintf("%d", $1 / c) : "?")
    }'
}

# download PATH
download()
{
    before=$(used)
    got=$(curl -sk -o /dev/null -w '%{size_download} %{time_total}' --tls-max 1.2 \
        --ciphers "$suite" "$scheme://127.0.0.1:$port$1")
    echo "$got $before $(used)" | awk -v t="$ticks" -v want=$((mb * 1000000)) '{
        c = ($4 - $3) / t
        if ($1 < want) { printf "only %d bytes", $1; exit }
        printf "%d MB/s (%s per processor second)", $1 / $2 / 1e6, (c > 0 ? sprintf("%d", $1 / c / 1e6) : "?")
    }'
}

row()
{
    printf '| %s | %s | %s | %s | %s |\n' "$@"
}

# call PATH [OPTION...]: the answer of the agent.
call()
{
    path=$1
    shift
    curl -skS -H 'Content-Type: application/json' "$@" "$scheme://127.0.0.1:$port$path" || die "no answer from $path"
}

# agent_with FLAG...: measured as $name.
agent_with()
{
    free_port
    begin "$agent" server --no-token --no-keeper --port "$port" --data-dir "$work/data-$port" "$@"
    limits=$(call /v1/processes/config)
    call /v1/processes/config -d "$(printf '%s' "$limits" |
        sed "s/\"maxLogBytesPerProcess\":[0-9]*/\"maxLogBytesPerProcess\":$((mb * 2000000))/")" >/dev/null
    call /v1/processes -d "{\"command\":\"head\",\"args\":[\"-c\",\"${mb}000000\",\"/dev/zero\"]}" >/dev/null
    until call /v1/processes/proc_1 | grep -q '"exited"'; do
        sleep 0.2
    done
    log='/v1/processes/proc_1/logs?format=raw&stream=stdout'
    download "$log" >/dev/null
    if [ "$scheme" = http ]; then
        row "$name" plain - - "$(download "$log")"
    else
        row "$name" "$key" "$(handshakes -new)" "$(handshakes -reuse)" "$(download "$log")"
    fi
    end
    rm -rf "$work/data-$port"
}

row server certificate 'full handshakes' 'resumed handshakes' "$mb MB"
row --- --- --- --- ---
scheme=http
suite=ECDHE-RSA-AES128-GCM-SHA256
name='agent without TLS'
agent_with
scheme=https
for key in ec rsa; do
    case $key in
    ec) suite=ECDHE-ECDSA-AES128-GCM-SHA256 ;;
    rsa) suite=ECDHE-RSA-AES128-GCM-SHA256 ;;
    esac
    name=agent
    agent_with --tls-cert "$work/$key.pem" --tls-key "$work/$key.key"
    free_port
    begin "$work/tls_limit" "$port" "$work/$key.pem" "$work/$key.key"
    row 'mbedTLS alone' "$key" "$(handshakes -new)" - "$(download "/${mb}000000")"
    end
    free_port
    cd "$work"
    begin openssl s_server -quiet -accept "$port" -cert "$key.pem" -key "$key.key" -WWW
    row 'openssl s_server -WWW' "$key" "$(handshakes -new)" "$(handshakes -reuse)" "$(download /zeroes)"
    end
    cd "$OLDPWD"
done
