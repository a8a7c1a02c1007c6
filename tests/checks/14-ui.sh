# The inspector: small enough, of our own and of the lock file alone, the same bytes each time, and put
# together by rules that are enforced; and UI=lite has nothing of others.
. tests/checks/common

page_max=24576      # gzip of what is loaded before a terminal is opened
all_max=133120      # and with the terminal
here=$(pwd)

bytes_of()
{
    cat "$@" | wc -c | tr -d ' '
}

for source in ui/app/*.js; do
    "$NODE" --check "$source" || bad=1
done

# Comments and names of formats may look like addresses; nothing of them is fetched.
grep -rnE '(https?:)?//[a-z0-9-]+\.[a-z]' ui/index.html ui/app |
    grep -vE "xmlns='http://www\.w3\.org/2000/svg'|http://127\.0\.0\.1:2468/" >"$work/foreign" || true
complain_of 'addresses of others:' "$work/foreign"

grep -rnE 'innerHTML|outerHTML|insertAdjacentHTML|document\.write|new Function|[^A-Za-z]eval\(' \
    ui/app >"$work/unsafe" || true
complain_of 'text that would be taken for markup or code:' "$work/unsafe"

"$NODE" -e '
const { dependencies, devDependencies } = require("./ui/package.json");
const { packages } = require("./ui/package-lock.json");
const named = Object.keys(dependencies).map((name) => `node_modules/${name}`);
for (const version of Object.values({ ...dependencies, ...devDependencies })) {
  if (!/^\d+\.\d+\.\d+$/.test(version)) console.log(`not an exact version: ${version}`);
}
for (const [path, { integrity, hasInstallScript, dev }] of Object.entries(packages)) {
  if (path === "") continue;
  if (!dev && !named.includes(path)) console.log(`not asked for: ${path}`);
  if (!/^sha512-/.test(integrity)) console.log(`no integrity: ${path}`);
  if (hasInstallScript) console.log(`runs something when it is installed: ${path}`);
}
if (Object.keys(devDependencies).join() !== "terser") console.log("something else than terser makes the page");
' >"$work/packages"
complain_of 'ui/package.json and its lock file:' "$work/packages"

# --- what is embedded -------------------------------------------------------------------------------

sh ui/embed.sh lite "$work/lite" || bad=1
sh ui/embed.sh lite "$work/again" || bad=1
diff -r "$work/lite" "$work/again" >/dev/null || complain 'UI=lite comes out otherwise each time'
find "$work/lite/site" -type f | grep -E 'terminal\.js|xterm|addon' >"$work/more" || true
complain_of 'UI=lite has files of the terminal:' "$work/more"
grep -l 'xterm' "$work/lite/site/licenses.txt" >"$work/more" || true
complain_of 'UI=lite tells of what it does not have:' "$work/more"
grep -q '<meta name="terminal" content="none">' "$work/lite/site/index.html" || complain 'UI=lite does not say so'

if [ -d ui/node_modules ]; then
    sh ui/embed.sh full "$work/full" || bad=1
    (umask 077 && TZ=Asia/Tokyo LC_ALL=C.UTF-8 bash ui/embed.sh full "$here/$work/again") || bad=1
    diff -r "$work/full" "$work/again" >/dev/null || complain 'UI=full comes out otherwise each time'
    site=$work/full/site
    for file in "$site"/assets/*/*.js; do
        cp "$file" "$work/checked.mjs"
        "$NODE" --check "$work/checked.mjs" || complain "$file does not parse"
    done
    page=$(bytes_of "$site/index.html.gz" "$site"/assets/*/app.js.gz "$site"/assets/*/style.css.gz)
    all=$(find "$site" -name '*.gz' ! -name licenses.txt.gz -exec cat {} + | wc -c | tr -d ' ')
    echo "gzip: $page bytes before a terminal is opened, $all with it"
    [ "$page" -le $page_max ] || complain "the page has $page bytes, allowed are $page_max"
    [ "$all" -le $all_max ] || complain "with the terminal it has $all bytes, allowed are $all_max"
    sed -n 's/.*@xterm/@xterm/p' "$site/licenses.txt" | grep -c . >"$work/licences"
    [ "$(cat "$work/licences")" -ge 4 ] || complain 'licenses.txt does not name all packages'
elif [ "${UI:-full}" = full ]; then
    complain 'without ui/node_modules nothing is known of the sizes'
fi

# --- the rules for its modules ----------------------------------------------------------------------

# change FILE: takes its new lines from stdin, in a fresh copy of what embed.sh reads.
change()
{
    rm -rf "$work/tree"
    mkdir -p "$work/tree/ui" "$work/tree/src/app"
    cp -R ui/app ui/index.html ui/embed.sh "$work/tree/ui"
    cp src/app/sandbox_agent.h "$work/tree/src/app"
    cat >>"$work/tree/ui/app/$1"
}

refused()
{
    if sh "$work/tree/ui/embed.sh" lite "$here/$work/refused" >"$work/said" 2>&1; then
        complain "not refused: $1"
    elif ! grep -qE -e "$1" "$work/said"; then
        complain "refused otherwise than by \"$1\":"
        cat "$work/said"
    fi
}

change main.js </dev/null
sh "$work/tree/ui/embed.sh" lite "$here/$work/refused" || complain 'an unchanged copy is refused'

echo 'function twiceDeclared() {}' | change main.js
echo 'export async function twiceDeclared() {}' >>"$work/tree/ui/app/api.js"
refused 'twiceDeclared is declared in [a-z_]+\.js too'
echo "import { h as other } from './dom.js';" | change main.js
refused 'imported as something else: h as other'
printf 'import {\n  h,\n} from %s;\n' "'./dom.js'" | change main.js
refused 'an import is one line'
echo "import * as all from './dom.js';" | change main.js
refused 'an import is one line'
echo "import './dom.js';" | change main.js
refused 'an import is one line'
echo "import { x } from 'left-pad';" | change main.js
refused 'imported from elsewhere: left-pad'
echo "import { x } from 'https://cdn.example/x.js';" | change main.js
refused 'imported from elsewhere'
echo "import { Terminal } from '../vendor/xterm.mjs';" | change main.js
refused 'imported from elsewhere'
echo "import { x } from './nowhere.js';" | change main.js
refused 'nowhere.js is imported, but not there'
echo "import { noSuchName } from './dom.js';" | change main.js
refused 'dom.js does not export noSuchName'
echo "import { createTerminal } from './terminal.js';" | change main.js
refused 'terminal.js is loaded by import'
echo "const part = await import('./dom.js');" | change main.js
refused 'dom.js is loaded by import\(\) and imported as well'
echo "const part = await import('https://cdn.example/x.js');" | change main.js
refused 'import\(\) takes'
echo "const part = await import('../vendor/xterm.mjs');" | change main.js
refused 'import\(\) takes'
echo 'export default 1;' | change main.js
refused 'exported where it is declared'
echo 'export { h };' | change main.js
refused 'exported where it is declared'
echo 'const { first, second } = window;' | change main.js
refused 'declares one name'
echo 'let first = 1, second = 2;' | change main.js
refused 'declares one name'
# shellcheck disable=SC2016 # JavaScript
printf 'const text = `one\n  // two`;\n' | change main.js
refused 'a template literal ends'
echo 'export const unused = 1;' | change unused.js
refused 'unused.js is imported by nobody'
echo "addStyle('./nowhere.css');" | change main.js
refused 'a module loads ./nowhere.css'
change main.js </dev/null
sed 's,app/log.css,app/no-such.css,' ui/index.html >"$work/tree/ui/index.html"
refused 'links a style sheet in a way'
sed 's,app/log.css,app/nosuch.css,' ui/index.html >"$work/tree/ui/index.html"
refused 'links ui/app/nosuch.css, which is not there'
echo '.a { content: "b: c"; }' | change log.css
refused 'a quoted text would come out otherwise'
change main.js </dev/null
sed 's,app/main.js,app/other.js,' ui/index.html >"$work/tree/ui/index.html"
refused 'has no place for'

finish
