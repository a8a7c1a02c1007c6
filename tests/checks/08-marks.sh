# Nothing unfinished, nothing switched off, and nothing of the machine it was written on. (The
# brackets keep these patterns from finding themselves.)
. tests/checks/common

find . \( -name .git -o -name node_modules -o -path ./ui/vendor -o -path "./$build" \) -prune -o \
    -type f -print | sort >"$work/files"

# search HEADING GREP-ARGUMENT...: over all text files.
search()
{
    heading=$1
    shift
    tr '\n' '\0' <"$work/files" | xargs -0 grep -nI "$@" /dev/null >"$work/hits" || true
    complain_of "$heading" "$work/hits"
}

search 'unfinished:' -wE 'T[O]DO|F[I]XME|X[X]X|H[A]CK'
search 'left over from a merge:' -E '^(<{7}|>{7}|\|{7}) '
search 'paths of a machine:' -E '/h[o]me/[a-z]+/|/U[s]ers/[a-z]+/'

# This very checkout, where its path is long enough to mean something.
here=$(pwd)
case $here in
/*/*) search 'path of this checkout:' -F "$here" ;;
esac

grep -E '\.[ch]$' "$work/files" | grep -v '/sandbox_agent\.[ch]$' >"$work/c"
mv "$work/c" "$work/files"
search 'switched off:' -E '^[[:space:]]*#[[:space:]]*if[[:space:]]+0'
open='^[[:space:]]*(//|/\*)[[:space:]]*'
close=';[[:space:]]*(\*/)?$'
search 'commented out:' -E "$open"'[a-z_][][A-Za-z0-9_>.-]*( ?[-+|&]?=.*|\(.*\)|[+-]{2})'"$close"

# Lock files pin contents by their hash; where to fetch from is the setting of whoever installs.
find . \( -name node_modules -o -path "./$build" \) -prune -o -name package-lock.json -print | while read -r lock; do
    grep -Hn '"resolved"' "$lock" || true
done >"$work/resolved"
complain_of 'a lock file names a download host:' "$work/resolved"

finish
