# The amalgamated file compiles without a warning with gcc and clang in all its configurations. Static
# names that clash, which each module alone cannot show, fail here.
. tests/checks/common

# Functions that only tests call. Everything else that nothing calls is dead and goes.
hooks='sbx_mem_set_gate|sbx_db_set_gate|sbx_keep_set_gate|sbx_json_raw|sbx_problem_kind'

sh ui/embed.sh lite "$work/page"
for defines in '' '-DSBX_NO_TLS' '-DSBX_NO_SQLITE' '-DSBX_NO_TLS -DSBX_NO_SQLITE' '-DSBX_NO_MAIN' \
    "-DSBX_UI_ASSETS=\"$work/page/assets.h\""; do
    echo "$defines"
done >"$work/configurations"

# Optimised, since only then does gcc follow values; without -std, as a user compiles it.
strict='-O2 -Wall -Wextra -Wshadow -Wconversion -Werror -Wno-unused-function'
export CC CLANG strict
# shellcheck disable=SC2016 # for the inner shell
sed "s/.*/'&'/" "$work/configurations" | parallel '$CC $strict $0 -S -o /dev/null sandbox_agent.c' || bad=1
# shellcheck disable=SC2016 # for the inner shell
sed "s/.*/'&'/" "$work/configurations" | parallel '$CLANG $strict $0 -fsyntax-only sandbox_agent.c' || bad=1

# In one file with internal linkage the compiler sees what is never used or never defined.
LC_ALL=C $CC -Wall -fsyntax-only sandbox_agent.c 2>"$work/unused" || bad=1
LC_ALL=C $CC -Wall -O1 -S -o /dev/null sandbox_agent.c 2>>"$work/unused" || bad=1
grep -E 'defined but not used|but never defined' "$work/unused" |
    sed "s/.*warning: .\([A-Za-z0-9_]*\)[^A-Za-z0-9_]*/\1: /; s/ *\[-W.*//" |
    sort -u | grep -v -E "^($hooks): " >"$work/dead" || true
complain_of 'dead or missing functions and objects:' "$work/dead"

finish
