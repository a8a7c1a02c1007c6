# What is committed as sandbox_agent.[ch] is what ./amalgamate makes of the tree, whatever shell,
# awk and locale it runs with, and the #line marks of a development build tell the truth.
. tests/checks/common

./amalgamate --check || bad=1

# A build writes the files anew, which would hide stale ones: where the sources are as committed,
# the result must be as committed too.
inputs='src openapi.json amalgamate'
# shellcheck disable=SC2086 # a list of paths
if git rev-parse -q --verify HEAD >"$work/git" 2>&1 && [ -z "$(git status --porcelain -- $inputs)" ] &&
    [ -n "$(git status --porcelain -- sandbox_agent.c sandbox_agent.h)" ]; then
    complain 'the sources are committed, sandbox_agent.[ch] of the same state are not; commit them'
fi

# again NAME COMMAND...: the same bytes once more.
again()
{
    name=$1
    shift
    "$@" --lines "$work/$name" || bad=1
    cmp "$work/$name/sandbox_agent.c" "$work/lines/sandbox_agent.c" || complain "other output with $name"
}
./amalgamate --lines "$work/lines"
for shell in dash bash; do
    ! command -v $shell >/dev/null || again $shell $shell ./amalgamate
done
for awk in mawk gawk 'busybox awk'; do
    ! $awk 'BEGIN { exit 0 }' 2>/dev/null || again "$(echo "$awk" | tr ' ' -)" env SBX_AWK="$awk" ./amalgamate
done
again settings env LC_ALL=C.UTF-8 LANG=de_DE TZ=Asia/Tokyo sh -c 'umask 077; exec ./amalgamate "$@"' sh

# Each line of the marked text is the line of the file that the mark names, but for SBX_PRIVATE.
awk '
/^#line / { n = $2; file = $3; gsub(/"/, "", file); next }
file == "" || file !~ /^src\// { next }
/^\/\* ==== (begin|back in|end) / { file = ""; next }
{
    if (!(file in loaded)) {
        loaded[file] = 1
        for (i = 1; (getline line < file) > 0; i++) text[file, i] = line
    }
    want = text[file, n]
    got = $0
    if (sub(/^SBX_PRIVATE /, "", got)) sub(/^extern /, "", want)
    if (got != want) { printf "%s:%d: the mark is wrong: %s\n", file, n, got; bad = 1; exit }
    n++
    compared++
}
END { if (compared < 100) { print "only " compared + 0 " lines compared"; bad = 1 } exit bad }
' "$work/lines/sandbox_agent.c" || bad=1

finish
