# C fits in 100 columns, scripts and the page in 120 (but for imports, which are one line each, and
# pictures in addresses). Lines end where their text ends; no tabs; a file ends with
# one newline. (The benchmark client came as it is, with a width of its own.)
. tests/checks/common

find amalgamate build.sh src tests ui \( -name node_modules -o -path ui/vendor \) -prune -o \
    \( -name '*.[ch]' -o -name '*.sh' -o -name '*.mjs' -o -name amalgamate -o \
    -path 'ui/app/*' -o -path ui/index.html \) -type f -print | sort |
    while read -r file; do
        case $file in
        tests/bench/*.c | *.mjs) width=9999 ;;
        *.[ch]) width=100 ;;
        *) width=120 ;;
        esac
        LC_ALL=C awk -v file="$file" -v width=$width '
            { text = $0; gsub(/[\200-\277]/, "", text) } # bytes that continue a character
            length(text) > width && text !~ /^import |data:image/ { print file ":" NR ": " length(text) " columns" }
            /\t/ { print file ":" NR ": a tab" }
            /[ \r]$/ { print file ":" NR ": a blank at the end" }
            END { if (NR > 0 && $0 == "") print file ":" NR ": an empty line at the end" }
        ' "$file"
        [ -z "$(tail -c 1 "$file")" ] || echo "$file: no newline at the end"
    done >"$work/ugly"
complain_of 'format:' "$work/ugly"

finish
