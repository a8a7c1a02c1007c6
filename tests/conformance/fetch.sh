#!/bin/sh
# fetch.sh DIR: puts the tests of http-parser into DIR/http-parser-2.9.4, from the source package of
# the system. Exit status 77 where that cannot be had.
set -eu

version=2.9.4
sum=467b9e30fd0979ee301065e70f637d525c28193449e1b13fbcb1b1fab3ad224f
dir=$1
archive=http-parser_$version.orig.tar.gz

skip()
{
    echo "$1"
    exit 77
}

[ ! -f "$dir/http-parser-$version/test.c" ] || exit 0
command -v apt-get >/dev/null || skip 'http-parser is had from apt-get, which is not there'
mkdir -p "$dir/apt/lists/partial"
# A list of our own with the sources of where packages come from here, so that the system's is left
# as it is.
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    sort -u | sed 's/^/deb-src /' >"$dir/apt/sources.list"
[ -s "$dir/apt/sources.list" ] || skip 'it is not known where packages come from here'
lists=$(cd "$dir/apt" && pwd)
own()
{
    apt-get -qq -o "Dir::Etc::SourceList=$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$lists/lists" -o "Dir::Cache=$lists" -o APT::Sandbox::User=root "$@" >"$lists/log" 2>&1
}
own update || skip 'the lists of source packages could not be fetched'
(cd "$lists" && own source --download-only http-parser) || skip 'the source package http-parser could not be fetched'
[ -f "$lists/$archive" ] || skip "the source package http-parser is not of version $version"
echo "$sum  $lists/$archive" | sha256sum -c - >/dev/null
tar -xzf "$lists/$archive" -C "$dir"
rm -rf "$lists"
