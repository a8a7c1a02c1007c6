# The documents speak of the program that is here: the options of README.md are those of --help, with
# the same defaults; links lead somewhere; the lists of modules and of checks are complete.
. tests/checks/common
LC_ALL=C
export LC_ALL

# "-p --port PORT 2468" for each option, from the help and from the table.
"$build/sandbox-agent" --help | sed -n '/^options of server:/,/^$/p' | awk '
/^ / {
    value = ""
    if (match($0, /\([^()]*\)$/)) value = substr($0, RSTART + 1, RLENGTH - 2)
    text = substr($0, 3)
    sub(/^    /, "", text) # no short form
    sub(/  .*/, "", text)
    gsub(/[ ,]+/, " ", text)
    gsub(/^ | $/, "", text)
    print text " " value
}' | sort >"$work/helped"
awk -F'|' '
/^\|/ && $2 ~ /`--/ {
    text = $2
    value = $4
    gsub(/[ ,`]+/, " ", text)
    gsub(/^ | $/, "", text)
    gsub(/[ `]/, "", value)
    print text " " value
}' README.md | sort >"$work/tabled"
[ -s "$work/helped" ] || complain 'the help lists no option'
comm -23 "$work/helped" "$work/tabled" >"$work/undocumented"
complain_of 'an option of --help that README.md does not have like this:' "$work/undocumented"
comm -13 "$work/helped" "$work/tabled" >"$work/unknown"
complain_of 'an option of README.md that --help does not have like this:' "$work/unknown"

find . \( -name .git -o -name node_modules -o -path "./$build" \) -prune -o -name '*.md' -print |
    sort >"$work/documents"

# The anchors of a document: its headings in lower case, blanks as dashes, other marks left out.
anchors()
{
    awk '/^```/ { code = !code } !code && /^#+ / { sub(/^#+ /, ""); print tolower($0) }' "$1" |
        sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

while read -r document; do
    awk '/^```/ { code = !code } !code' "$document" | grep -oE '\]\([^)]+\)' |
        sed 's/^](//; s/)$//' | sort -u |
        while read -r link; do
            case $link in http://* | https://*) continue ;; esac
            file=${link%%#*}
            target=$document
            [ -z "$file" ] || target=$(dirname "$document")/$file
            if [ ! -e "$target" ]; then
                echo "$document: $link"
            elif [ "$link" != "$file" ] && ! anchors "$target" | grep -qxF -e "${link#*#}"; then
                echo "$document: $link (no such heading)"
            fi
        done
done <"$work/documents" >"$work/dangling"
complain_of 'links that lead nowhere:' "$work/dangling"

sed -n '/^## The tree/,/^## How/p' docs/architecture.md | tr -cs 'a-z0-9_' '\n' | sort -u >"$work/drawn"
./amalgamate --list | sed 's/ .*//; s,.*/,,; s/\.[ch]$//' | sort -u | comm -23 - "$work/drawn" >"$work/undrawn"
complain_of 'modules that docs/architecture.md does not show:' "$work/undrawn"

for script in tests/checks/*.sh; do
    name=$(basename "$script" .sh)
    grep -qF "| $name |" docs/testing.md || echo "$name"
done >"$work/unlisted"
complain_of 'checks that docs/testing.md does not list:' "$work/unlisted"

finish
