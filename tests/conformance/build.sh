#!/bin/sh
# build.sh DIR: builds the programs of the conformance lists into DIR. CC, build, standard and
# sanitize come from the environment, and the libraries as LIBRARIES. Exit status 77 and a reason
# when one list has to be left out.
# shellcheck disable=SC2086,SC2154 # lists of words, from the caller
set -eu
cd "$(dirname -- "$0")/../.."
dir=$1
mkdir -p "$dir"
for list in json ws; do
    $CC $standard $sanitize -o "$dir/${list}_cases" "tests/conformance/${list}_cases.c" "$build/san/agent.a" $LIBRARIES
done
rm -f "$dir/http_cases"
sh tests/conformance/fetch.sh "$dir"
theirs=$dir/http-parser-2.9.4
# What runs their parser is renamed: functions of the same names are ours.
names=test_simple_type
for name in test_message test_message_pause test_message_connect test_message_count_body \
    test_multiple3 test_scan test_no_overflow_long_body; do
    names="$names|$name"
done
sed -E "s/^($names) \\((const|int|enum)/theirs_\\1 (\\2/" "$theirs/test.c" >"$dir/cases.c"
# No warnings: it is their file.
$CC $standard $sanitize -w "-I$theirs" "-DCASES_FILE=\"$(cd "$dir" && pwd)/cases.c\"" -o "$dir/http_cases" \
    tests/conformance/http_cases.c "$theirs/http_parser.c" "$build/san/agent.a" $LIBRARIES
