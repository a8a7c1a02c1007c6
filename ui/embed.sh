#!/bin/sh
# embed.sh - makes of ui/ what the server has in it: files with hashed names, and a C table of them.
#
#   ui/embed.sh full OUT   the whole page; needs ui/node_modules (cd ui && npm ci)
#   ui/embed.sh lite OUT   without the terminal, and so without anything of others
#   ui/embed.sh vendor     only fills ui/vendor, for --ui-dir ui
#
# Writes OUT/site, the files as they are served, each with its .gz, and OUT/assets.h, for the compiler:
# -DSBX_UI_ASSETS='"OUT/assets.h"'. The output depends on the files and the version of the program
# only: no date, no path.
#
# UI=full is minified by terser, from npm like the terminal, and compressed by zopfli, whose gzip is
# smaller than that of gzip. lite needs neither, and stays readable.
#
# There is no bundler. The modules of ui/app are put one after the other, in the order in which a
# browser would run them, with their imports left out, since all of them are in one scope then: app.js.
# A module that is loaded by import() when it is needed begins a file of its own. What this relies on is
# checked, and a complaint names file and line. Comments and indentation go.
set -eu
LC_ALL=C
export LC_ALL
case ${2-} in
/* | '') ;;
*) set -- "$1" "$PWD/$2" ;;
esac
cd "$(dirname -- "$0")/.."

app=ui/app
modules=ui/node_modules
vendor=ui/vendor

die()
{
    echo "embed.sh: $*" >&2
    exit 1
}

# What is taken from others: package, its file, and the name it gets.
vendored()
{
    cat <<'FILES'
@xterm/xterm           lib/xterm.mjs            xterm.mjs
@xterm/xterm           css/xterm.css            xterm.css
@xterm/addon-fit       lib/addon-fit.mjs        addon-fit.mjs
@xterm/addon-unicode11 lib/addon-unicode11.mjs  addon-unicode11.mjs
@xterm/addon-web-links lib/addon-web-links.mjs  addon-web-links.mjs
FILES
}

sha256()
{
    if command -v sha256sum >/dev/null; then
        sha256sum
    elif command -v shasum >/dev/null; then
        shasum -a 256
    elif command -v sha256 >/dev/null; then
        sha256 -q
    else
        openssl dgst -sha256 -r
    fi | cut -c 1-64
}

# hash_of FILE...: one for all of them, names included.
hash_of()
{
    for file in "$@"; do
        echo "${file##*/}"
        cat "$file"
    done | sha256 | cut -c 1-12
}

# minify FILE [OPTION...]: in place.
minify()
{
    minified=$1
    shift
    "${NODE:-node}" "$modules/terser/bin/terser" --module --ecma 2020 --compress passes=3,inline=1,unsafe_arrows \
        --mangle "$@" --comments false --output "$work/minified" -- "$minified" || die "$minified cannot be minified"
    mv "$work/minified" "$minified"
}

# compress FILE: as gzip, on stdout.
compress()
{
    if [ "$mode" = full ]; then
        zopfli -c "$1" || die "$1 cannot be compressed: is zopfli there?"
    else
        gzip -n -9 -c <"$1"
    fi
}

fill_vendor()
{
    [ -f "$modules/terser/bin/terser" ] ||
        die 'ui/node_modules is not that of ui/package-lock.json: cd ui && npm ci (UI=lite and UI=none need none)'
    rm -rf "$vendor"
    mkdir -p "$vendor"
    vendored | while read -r package file name; do
        # The source map that the last line names is not served.
        sed '/^\/\/# sourceMappingURL=/d' "$modules/$package/$file" >"$vendor/$name" ||
            die "$package has no $file; is ui/node_modules that of ui/package-lock.json?"
    done
}

# --- our own files ----------------------------------------------------------------------------------

# Arguments: all of ui/app/*.js. A module that is named by import() begins a file of its own, a part;
# what main.js imports, directly or not, and what several parts do, is app.js. Output: "PART MODULE" in
# the order in which a browser would run them, main.js last in app.js; before that for each other part
# "PART import { ... } from './app.js';".
AWK_ORDER='
function fail(text) { complain(FILENAME ":" FNR ": " text) }
function complain(text) { print text > "/dev/stderr"; failures++ }
function base(path) { sub(/^.*\//, "", path); return path }
function take_import(line,    from, names, n, i, list) {
    from = line
    sub(/^.* from \047/, "", from); sub(/\047;$/, "", from)
    if (from ~ /^\.\.\/vendor\/[a-z0-9.-]+$/ && file == "terminal.js") return
    if (from !~ /^\.\/[a-z0-9_]+\.js$/) { fail("imported from elsewhere: " from); return }
    from = substr(from, 3)
    needs[file] = needs[file] " " from
    names = line
    sub(/^import \{ /, "", names); sub(/ \} from .*$/, "", names)
    n = split(names, list, /, /)
    for (i = 1; i <= n; i++) {
        if (list[i] !~ /^[A-Za-z_$][A-Za-z0-9_$]*$/) fail("imported as something else: " list[i])
        wants++
        want_by[wants] = file; want_from[wants] = from; want_name[wants] = list[i]; want_at[wants] = FILENAME ":" FNR
    }
}
function take_part(line,    from) {
    while (match(line, /import\(/)) {
        line = substr(line, RSTART + 7)
        if (match(line, /^\047\.\/[a-z0-9_]+\.js\047\)/)) {
            from = substr(line, 4, RLENGTH - 5)
            if (!(from in is_part)) { is_part[from] = 1; part[++parts] = from }
        } else if (file != "terminal.js" || line !~ /^\047\.\.\/vendor\/[a-z0-9.-]+\047\)/) {
            fail("import() takes \047./x.js\047, and in terminal.js what is in ../vendor/")
        }
    }
}
FNR == 1 { file = base(FILENAME); known[file] = 1; needs[file] = "" }
/^import([^A-Za-z0-9_$(]|$)/ {
    if ($0 ~ /^import \{ [^}]+ \} from \047[^\047]+\047;$/) take_import($0)
    else fail("an import is one line: import { a, b } from \047./x.js\047;")
    next
}
/import\(/ && $0 !~ /^[ \t]*\/\// { take_part($0) }
/^export([^A-Za-z0-9_$]|$)/ && $0 !~ /^export ((async )?function\*? ?|const |let |class )[A-Za-z_$]/ {
    fail("what is exported is exported where it is declared, by its name")
}
/^(export )?(const|let|var) / && ($0 !~ /^(export )?(const|let) [A-Za-z_$][A-Za-z0-9_$]*( =|;)/ ||
        $0 ~ /^(export )?(const|let) [A-Za-z0-9_$]+ = [A-Za-z0-9_$.]+, /) {
    fail("at top level a declaration declares one name")
}
/^(export )?((async )?function\*? ?|const |let |class )[A-Za-z_$]/ {
    name = $0
    sub(/^(export )?((async )?function\*? ?|const |let |class )/, "", name)
    sub(/[^A-Za-z0-9_$].*$/, "", name)
    declared[file] = declared[file] " " name
    if ($0 ~ /^export /) exports[file, name] = 1
}
# An odd number of marks: a text over several lines, of which indentation would be part. Those in
# brackets are characters of regular expressions.
/`/ && $0 !~ /^[ \t]*\/\// {
    text = $0
    gsub(/\[[^] ]*`[^]$ ]*\]/, "", text)
    if (gsub(/`/, "", text) % 2 == 1) fail("a template literal ends in the line it begins in")
}
# What a module needs, itself included, as reached[root, module].
function reach(root, module,    list, n, i) {
    if ((root, module) in reached) return
    reached[root, module] = 1
    if (!(module in known)) { complain("ui/app/" module " is imported, but not there"); known[module] = 1; return }
    n = split(needs[module], list, " ")
    for (i = 1; i <= n; i++) reach(root, list[i])
}
function place(module,    i, in_part, count) {
    if (("main.js", module) in reached) return "app.js"
    count = 0
    for (i = 1; i <= parts; i++) if ((part[i], module) in reached) { in_part = part[i]; count++ }
    return count > 1 ? "app.js" : in_part
}
function emit(into, module,    list, n, i) {
    if ((module in emitted) || home[module] != into) return
    emitted[module] = 1
    n = split(needs[module], list, " ")
    for (i = 1; i <= n; i++) emit(into, list[i])
    if (module == "main.js")
        for (i = 1; i <= shared; i++) emit(into, share[i])
    output[++outputs] = into " " module
}
# Names that meet in one scope: what its modules declare, and what they import from app.js.
function declare(into, module,    list, n, i) {
    n = split(declared[module], list, " ")
    for (i = 1; i <= n; i++) {
        if ((into, list[i]) in owner)
            complain("ui/app/" module ": " list[i] " is declared in " owner[into, list[i]] " too; both are in " into)
        owner[into, list[i]] = module
    }
}
function check_want(i,    into, from) {
    into = home[want_by[i]]; from = want_from[i]
    if (!((from, want_name[i]) in exports)) complain(want_at[i] ": " from " does not export " want_name[i])
    if (home[from] == into || (into, want_name[i]) in taken) return
    taken[into, want_name[i]] = 1
    imports[into] = imports[into] (imports[into] == "" ? "" : ", ") want_name[i]
    if ((into, want_name[i]) in owner)
        complain(want_at[i] ": " want_name[i] " is declared in " owner[into, want_name[i]] " too; both are in " into)
}
END {
    reach("main.js", "main.js")
    for (i = 1; i <= parts; i++) {
        reach(part[i], part[i])
        if (("main.js", part[i]) in reached) complain("ui/app/" part[i] " is loaded by import() and imported as well")
    }
    for (i = 1; i < ARGC; i++) {
        module = base(ARGV[i])
        home[module] = place(module)
        if (home[module] == "") complain("ui/app/" module " is imported by nobody")
        if (home[module] == "app.js" && !(("main.js", module) in reached)) share[++shared] = module
        declare(home[module], module)
    }
    emit("app.js", "main.js")
    for (i = 1; i <= parts; i++) emit(part[i], part[i])
    for (i = 1; i <= wants; i++) check_want(i)
    for (i = 1; i <= parts; i++)
        if (imports[part[i]] != "") print part[i] " import { " imports[part[i]] " } from \047./app.js\047;"
    for (i = 1; i <= outputs; i++) print output[i]
    exit failures > 0
}
'

# A comment behind code goes where it has no quote: then it is no part of a string either.
strip_js()
{
    sed -e 's/^[ ]*//' -e '/^\/\//d' -e "s, // [^'\"\`]*\$,," -e 's/[ ]*$//' -e '/^$/d'
}

# In pieces, since a comment may begin and end in the midst of lines, and more than once.
AWK_CSS='
{
    line = $0
    out = ""
    while (line != "") {
        if (comment) {
            at = index(line, "*/")
            if (at == 0) break
            line = substr(line, at + 2)
            comment = 0
        } else {
            at = index(line, "/*")
            if (at == 0) { out = out line; break }
            out = out substr(line, 1, at - 1)
            line = substr(line, at + 2)
            comment = 1
        }
    }
    gsub(/^[ \t]+|[ \t]+$/, "", out)
    # A blank behind a colon is between a property and its value, never in a selector.
    gsub(/: /, ":", out); gsub(/, /, ",", out); gsub(/; */, ";", out)
    gsub(/ *\{ */, "{", out); gsub(/ *\} */, "}", out)
    # The last ";" of a rule may be in the line before.
    out = last out
    gsub(/;\}/, "}", out)
    last = sub(/;$/, "", out) ? ";" : ""
    printf "%s", out
}
END { printf "%s", last }
'

# Blanks in quotes are not for AWK_CSS to take away.
AWK_QUOTED='
{
    for (line = $0; match(line, /"[^"]*"|\047[^\047]*\047/); line = substr(line, RSTART + RLENGTH))
        if (substr(line, RSTART, RLENGTH) ~ /: |, |; |[{}]|\/\*/) {
            printf "%s:%d: %s\n", FILENAME, FNR, substr(line, RSTART, RLENGTH) > "/dev/stderr"
            bad = 1
        }
}
END { exit bad }
'

# The style sheets that the page links are one file; those that a module loads stay apart.
linked_styles()
{
    sed -n 's/.*href="\(app\/[a-z_]*\.css\)".*/ui\/\1/p' ui/index.html
}

# What other parts import from app.js is exported at its end, by a list: an exported declaration would
# keep its long name in all of app.js when that is minified.
make_part()
{
    part=$1
    {
        sed -n "s/^$part \(import .*\)/\1/p" "$work/order"
        sed -n "s/^$part \([a-z0-9_]*\.js\)\$/\1/p" "$work/order" | while read -r module; do
            sed "/^import .*'\.\//d" "$app/$module"
        done | sed "s,\.\./vendor/,../$vendor_hash/,g" | strip_js
    } >"$work/own/$part"
    [ "$part" = app.js ] || return 0
    sed 's/^export //' "$work/own/$part" >"$work/app.js"
    {
        cat "$work/app.js"
        sed -n "s/^.* import { \(.*\) } from '\.\/app\.js';\$/\1/p" "$work/order" | sed 's/, /,/g' | tr ',' '\n' |
            sort -u | sed '1s/^/export {/; s/$/,/; $s/,$/};/'
    } >"$work/own/$part"
}

make_own()
{
    for file in index.html app/main.js app/terminal.js app/style.css; do
        [ -f "ui/$file" ] || die "there is no ui/$file"
    done
    awk "$AWK_ORDER" "$app"/*.js >"$work/order" || die 'the modules cannot be put together; see above'
    mkdir "$work/own"
    cut -d ' ' -f 1 "$work/order" | sort -u >"$work/parts"
    while read -r part; do
        [ "$mode:$part" = lite:terminal.js ] || make_part "$part"
    done <"$work/parts"
    linked_styles >"$work/linked"
    [ "$(grep -c 'href="app/[^"]*\.css"' ui/index.html)" -eq "$(grep -c . "$work/linked")" ] ||
        die 'ui/index.html links a style sheet in a way that is not understood here'
    while read -r file; do
        [ -f "$file" ] || die "ui/index.html links $file, which is not there"
    done <"$work/linked"
    awk "$AWK_QUOTED" "$app"/*.css || die 'a quoted text would come out otherwise; see above'
    xargs cat <"$work/linked" | awk "$AWK_CSS" >"$work/own/style.css"
    for file in "$app"/*.css; do
        if grep -qxF "$file" "$work/linked"; then
            continue
        elif grep -qF "./${file##*/}" "$work"/own/*.js; then
            awk "$AWK_CSS" "$file" >"$work/own/${file##*/}"
        elif [ "$mode" = full ]; then
            die "$file is neither linked by ui/index.html nor loaded by a module"
        fi
    done
    cat "$work"/own/*.js | grep -o "'\./[a-z_]*\.css'" | tr -d "'" | while read -r file; do
        [ -f "$work/own/$file" ] || die "a module loads $file, which is not there or linked already"
    done
}

# The page names what it is made of by hash.
make_page()
{
    version=$(sed -n 's/^#define SANDBOX_AGENT_VERSION "\(.*\)"/\1/p' src/app/sandbox_agent.h)
    [ -n "$version" ] || die 'src/app/sandbox_agent.h names no version'
    terminal=$mode
    [ "$mode" = full ] || terminal=none
    sed -e '/href="app\/style\.css"/!{/href="app\/[^"]*\.css"/d;}' \
        -e "s,\"app/style\.css\",\"assets/$own_hash/style.css\",; s,\"app/main\.js\",\"assets/$own_hash/app.js\"," \
        -e "s,<meta name=\"version\" content=\"[^\"]*\",<meta name=\"version\" content=\"$version\"," \
        -e "s,<meta name=\"terminal\" content=\"[^\"]*\",<meta name=\"terminal\" content=\"$terminal\"," \
        ui/index.html >"$work/index.html"
    for text in "\"assets/$own_hash/style.css\"" "\"assets/$own_hash/app.js\"" "name=\"version\" content=\"$version\"" \
        "name=\"terminal\" content=\"$terminal\""; do
        grep -qF "$text" "$work/index.html" || die "ui/index.html has no place for $text"
    done
    ! grep -n '"app/' "$work/index.html" || die 'ui/index.html names something else of ui/app'
}

make_licenses()
{
    echo "The inspector of sandbox-agent $version"
    echo 'Licensed under the Apache License, Version 2.0: https://www.apache.org/licenses/LICENSE-2.0'
    [ "$mode" = full ] || return 0
    vendored | cut -d ' ' -f 1 | sort -u | while read -r package; do
        found=$(sed -n 's/^  *"version": *"\(.*\)".*/\1/p' "$modules/$package/package.json" | head -n 1)
        printf '\n%s\n%s %s\n\n' '----' "$package" "$found"
        cat "$modules/$package/LICENSE" || die "$package has no LICENSE"
    done
}

# --- the table --------------------------------------------------------------------------------------

# bytes NAME FILE: as a C array, in octal, which no following digit can change.
bytes()
{
    echo "static const unsigned char $1[] ="
    od -An -v -to1 "$2" | sed 's/ *$//; s/ *\([0-7][0-7][0-7]\)/\\\1/g; s/^/    "/; s/$/"/'
    echo '    ;'
}

size_of()
{
    wc -c <"$1" | tr -d ' '
}

# add FILE PATH TYPE IMMUTABLE PLAIN: to the site, to the arrays and to the table.
number=0
add()
{
    number=$((number + 1))
    name=${2:-index.html}
    mkdir -p "$work/site/$(dirname "$name")"
    cp "$1" "$work/site/$name"
    compress "$1" >"$work/site/$name.gz"
    tag=$(sha256 <"$work/site/$name.gz" | cut -c 1-24)
    bytes "ui_assets_gzip_$number" "$work/site/$name.gz" >>"$work/arrays"
    plain='NULL, 0'
    if [ "$5" = plain ]; then
        bytes "ui_assets_plain_$number" "$1" >>"$work/arrays"
        plain="ui_assets_plain_$number, $(size_of "$1")"
    fi
    printf '    {"%s", "%s", "%s",\n     ui_assets_gzip_%s, %s, %s, %s},\n' "$2" "$3" "$tag" "$number" \
        "$(size_of "$work/site/$name.gz")" "$plain" "$4" >>"$work/rows"
}

javascript='text/javascript; charset=utf-8'
css='text/css; charset=utf-8'

make_site()
{
    add "$work/index.html" '' 'text/html; charset=utf-8' false plain
    add "$work/licenses.txt" licenses.txt 'text/plain; charset=utf-8' false plain
    for file in "$work"/own/*; do
        case $file in *.css) type=$css ;; *) type=$javascript ;; esac
        add "$file" "assets/$own_hash/${file##*/}" "$type" true plain
    done
    [ "$mode" = full ] || return 0
    # As gzip alone: a client that cannot take that does not run them either.
    for file in "$work"/vendor/*; do
        case $file in *.css) type=$css ;; *) type=$javascript ;; esac
        add "$file" "assets/$vendor_hash/${file##*/}" "$type" true gzip
    done
}

make_table()
{
    echo "/* assets.h - the inspector page ($mode), generated by ui/embed.sh; edit in ui/. */"
    cat "$work/arrays"
    echo 'static const struct sbx_ui_asset ui_assets_table[] = {'
    cat "$work/rows"
    echo '    {NULL, NULL, NULL, NULL, 0, NULL, 0, false},'
    echo '};'
}

# All that the output depends on, as one number.
fingerprint()
{
    {
        echo "$mode"
        find ui/embed.sh ui/index.html ui/package-lock.json src/app/sandbox_agent.h "$app" "$modules" \
            -type f 2>/dev/null |
            sort | tr '\n' '\0' | xargs -0 cksum
    } | cksum
}

is_whole()
{
    [ -f "$1/assets.h" ] && [ -d "$1/site" ] && { [ "$mode" != full ] || [ -d "$vendor" ]; }
}

embed()
{
    out=$1
    now=$(fingerprint)
    # Minifying takes seconds.
    [ "$now" != "$(cat "$out/made-of" 2>/dev/null)" ] || ! is_whole "$out" || return 0
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    vendor_hash=
    if [ "$mode" = full ]; then
        fill_vendor
        cp -R "$vendor" "$work/vendor"
        for file in "$work"/vendor/*.mjs; do
            # Names that begin with "_" are of one file each, but for two that addon-fit reads of xterm.
            minify "$file" --mangle-props 'regex=/^_/,reserved=[_core,_renderService]'
        done
        awk "$AWK_CSS" "$vendor/xterm.css" >"$work/vendor/xterm.css"
        vendor_hash=$(hash_of "$work"/vendor/*)
    fi
    make_own
    if [ "$mode" = full ]; then
        for file in "$work"/own/*.js; do
            minify "$file"
        done
    fi
    own_hash=$(hash_of "$work"/own/*)
    make_page
    make_licenses >"$work/licenses.txt"
    make_site
    make_table >"$work/assets.h"
    mkdir -p "$out"
    # What is interrupted from here on is done again.
    rm -rf "$out/made-of" "$out/site"
    cp -R "$work/site" "$out/site"
    # An unchanged table keeps its time, so that nothing is compiled again.
    cmp -s "$work/assets.h" "$out/assets.h" || {
        cp "$work/assets.h" "$out/assets.h.new"
        mv "$out/assets.h.new" "$out/assets.h"
    }
    echo "$now" >"$out/made-of"
}

mode=${1-}
case $mode:$# in
full:2 | lite:2) embed "$2" ;;
vendor:1) fill_vendor ;;
*) die 'usage: ui/embed.sh full|lite OUT, or ui/embed.sh vendor' ;;
esac
