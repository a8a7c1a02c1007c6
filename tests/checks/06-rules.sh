# ./amalgamate refuses what breaks in one file or breaks the layers: for each rule a tree that
# breaks it, and what the complaint must say.
. tests/checks/common

# A copy to break; the real one stays as it is.
fresh()
{
    rm -rf "$work/tree"
    mkdir -p "$work/tree"
    cp -R amalgamate openapi.json src "$work/tree"
}

# refused PATTERN: the broken tree must be, with a line that matches.
refused()
{
    if (cd "$work/tree" && ./amalgamate) >"$work/log" 2>&1; then
        complain "accepted, but should have been refused: $1"
    elif ! grep -q -e "$1" "$work/log"; then
        complain "refused without saying: $1"
        cat "$work/log"
    fi
    [ ! -f "$work/tree/sandbox_agent.c" ] || complain "written although refused: $1"
}

# with FILE: appends stdin to a file of the copy.
with()
{
    fresh
    cat >>"$work/tree/src/$1"
}

fresh
(cd "$work/tree" && ./amalgamate) || complain 'the tree itself is refused'

with base/str.c <<'C'
#define LAYERS_TWICE 1
C
echo '#define LAYERS_TWICE 2' >>"$work/tree/src/base/buf.c"
refused 'buf.c:[0-9]*: macro LAYERS_TWICE is defined in src/base/str.c too'

with base/str.c <<'C'
static int rules_twice(int a)
{
    return a;
}
C
printf 'static int\n    rules_twice(int a, int b)\n{\n    return a + b;\n}\n' >>"$work/tree/src/base/buf.c"
refused 'buf.c:[0-9]*: static rules_twice is defined in src/base/str.c too'

with base/str.c <<'C'
static const char *const rules_table[] = {"a", "b"};
C
echo 'static const int rules_table[2] = {1, 2};' >>"$work/tree/src/base/buf.c"
refused 'static rules_table is defined'

with base/str.c <<'C'
struct rules_tag {
    int a;
};
C
echo 'enum rules_tag { RULES_TAG };' >>"$work/tree/src/base/buf.c"
refused 'buf.c:[0-9]*: tag rules_tag is defined in src/base/str.c too'

with base/str.c <<'C'
#include "proto/url.h"
C
refused 'str.c:[0-9]*: forbidden include: base/ must not know proto/'

net_header=$(cd src && find net -name '*.h' | sort | head -n 1)
proc_source=$(cd src && find proc -name '*.c' | sort | head -n 1)
if [ -n "$net_header" ] && [ -n "$proc_source" ]; then
    echo "#include \"$net_header\"" | with "$proc_source"
    refused 'forbidden include: proc/ knows no sockets'
fi

with base/str.c <<'C'
#if defined(RULES)
#include "base/buf.h"
#endif
C
refused 'a local include inside #if'

with base/str.c <<'C'
#include "base/nowhere.h"
C
refused 'no such header: "base/nowhere.h"'

with base/str.c <<'C'
#include "str.h"
C
refused 'write #include "layer/module.h"'

with base/str.c <<'C'
#define _XOPEN_SOURCE 700
C
refused 'feature macros are'

with base/str.h <<'C'
int rules_defined_here(void)
{
    return 1;
}
C
refused 'a function in a header is static inline: rules_defined_here'

with base/str.h <<'C'
int rules_object;
C
refused 'a header declares objects extern: rules_object'

fresh
sed 's/^#ifndef SBX_BASE_STR_H/#ifndef RULES_H/' src/base/str.h >"$work/tree/src/base/str.h"
refused 'str.h:[0-9]*: the include guard should be SBX_BASE_STR_H'

with base/rules_unlisted.c <<'C'
C
refused 'src/base/rules_unlisted.c is not in the module list'

fresh
rm "$work/tree/src/base/str.c" "$work/tree/src/base/str.h"
refused 'there is no src/base/str.h or src/base/str.c'

# A condition in the list: the source is enclosed, what it includes is not.
with base/rules_off.c <<'C'
#include "base/rules_header.h"
int rules_conditional(void)
{
    return 1;
}
C
cat >"$work/tree/src/base/rules_header.h" <<'C'
#ifndef SBX_BASE_RULES_HEADER_H
#define SBX_BASE_RULES_HEADER_H
int rules_conditional(void);
#endif
C
sed 's,^base/err$,&\nbase/rules_off !RULES_OFF\nbase/rules_header,' amalgamate >"$work/tree/amalgamate"
(cd "$work/tree" && ./amalgamate) || complain 'a conditional module was refused'
sed -n '/begin base\/rules_header.h/,/end base\/rules_off.c/p' "$work/tree/sandbox_agent.c" |
    grep -E '^(#ifndef RULES_OFF|SBX_PRIVATE int rules)' | tr '\n' ' ' >"$work/shape"
declared='SBX_PRIVATE int rules_conditional(void)'
[ "$(cat "$work/shape")" = "$declared; #ifndef RULES_OFF $declared " ] ||
    complain "a conditional module came out as: $(cat "$work/shape")"

# A comment or a string is no code: nothing of this is refused.
with base/str.c <<'C'
/* #include "net/nothing.h"
#define RULES_COMMENT
static int rules_comment(void) { */
static const char *const rules_strings[] = {"static int rules_comment(void) {", "\"/*", "}"};
const char *rules_public(void);
const char *rules_public(void)
{
    return rules_strings[0] + ('"' == '{');
}
C
printf '#define RULES_COMMENT\nstatic int rules_comment(void)\n{\n    return 0;\n}\n' >>"$work/tree/src/base/buf.c"
(cd "$work/tree" && ./amalgamate) || complain 'a comment or a string was taken for code'
grep -q '^SBX_PRIVATE const char \*rules_public(void)$' "$work/tree/sandbox_agent.c" ||
    complain 'a function behind such strings was not found'

finish
