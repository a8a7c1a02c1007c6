#!/bin/sh
# debian13.sh - builds and tests what speaks TLS where mbedTLS is 3.6: in a Debian 13 root.
#
#   tests/debian13.sh [--only REGEX] [ROOT]
#
# Makes the root with debootstrap from the mirror that apt uses here, installs what a build needs in
# it, copies this tree into it and runs `./build.sh test --only REGEX` there, by default for all tests
# with "tls" in their names. ROOT is kept and taken as it is when it is there; without it the root is
# a temporary one. Needs root, debootstrap and, for a new root, a network: about a minute for the
# root, and the time of the tests. The exit status is that of the tests.
set -eu
cd "$(dirname -- "$0")/.."

suite=trixie
packages='gcc libc6-dev binutils libsqlite3-dev libmbedtls-dev libcmocka-dev sqlite3 openssl curl nodejs'
only=tls
root=
temporary=

die()
{
    printf 'debian13.sh: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --only)
        [ $# -gt 1 ] || die '--only needs a pattern'
        only=$2
        shift
        ;;
    -*) die "unknown option $1" ;;
    *) root=$1 ;;
    esac
    shift
done

[ "$(id -u)" -eq 0 ] || die 'this has to be run as root: it makes a file system and runs programs in it'
command -v debootstrap >/dev/null || die 'debootstrap is missing; it is in the package of that name'

cleanup()
{
    [ -z "$temporary" ] || rm -rf --one-file-system "$temporary"
}
trap cleanup EXIT
trap 'exit 130' HUP INT TERM

if [ -z "$root" ]; then
    temporary=$(mktemp -d)
    root=$temporary/$suite
fi

# The one that the packages of the running system come from. Of several archives of Debian those with
# security fixes and the like have a label of their own.
mirror()
{
    # shellcheck disable=SC2016 # names of fields
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        sed -n 's/^Debian //p' | sort | uniq -c | sort -rn | awk 'NR == 1 { print $2 }'
}

# inside COMMAND...: in the root, with mounts and processes that end with the command.
inside()
{
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --pid --fork --kill-child sh -ec '
        root=$1
        shift
        mount --make-rprivate /
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
            DEBIAN_FRONTEND=noninteractive SLOW="${SLOW-1}" \
            ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} "$@"
    ' inside "$root" "$@"
}

if [ ! -e "$root/etc/debian_version" ]; then
    from=$(mirror)
    [ -n "$from" ] || die 'apt names no Debian mirror here (apt-get update comes first)'
    mkdir -p "$root"
    echo "+ debootstrap --variant=minbase $suite $root"
    debootstrap --variant=minbase "$suite" "$root" "$from" >"$root.log" 2>&1 || {
        tail -n 30 "$root.log" >&2
        die 'debootstrap failed'
    }
    rm -f "$root.log"
fi

# shellcheck disable=SC2086 # a list of words
if ! inside dpkg-query -W $packages >/dev/null 2>&1; then
    [ -d tests/node_modules ] || packages="$packages npm"
    echo "+ apt-get install $packages"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    inside apt-get -qq update
    inside apt-get -qq install -y --no-install-recommends $packages >/dev/null
fi

rm -rf --one-file-system "$root/work"
mkdir "$root/work"
tar -cf - --exclude=./.git --exclude=./build . | tar -xf - -C "$root/work"

inside dpkg-query -W -f '${Package} ${Version}\n' gcc libmbedtls-dev nodejs
# No selected test compares compilers or looks at the inspector, so that clang and its packages need not
# be there.
inside sh -c 'cd /work && CLANG=gcc UI=none exec ./build.sh test --only "$1"' sh "$only"
