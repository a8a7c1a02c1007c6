# Each source compiles by itself, without a warning and with a prototype for all it exports; each
# header compiles by itself, so it includes what it uses. The C of the tests is held to the same.
. tests/checks/common

export CC CLANG standard warnings
# shellcheck disable=SC2016 # for the inner shell
sources | parallel '$CC $standard $warnings -Werror -O2 -S -o /dev/null "$0"' || bad=1
# shellcheck disable=SC2016 # for the inner shell
sources | parallel '$CLANG $standard $warnings -Werror -fsyntax-only "$0"' || bad=1
# shellcheck disable=SC2016 # for the inner shell
find src -name '*.h' | sort | parallel '$CC $standard $warnings -Werror -fsyntax-only -x c "$0"' || bad=1

# shellcheck disable=SC2016 # for the inner shell
find tests/unit tests/fuzz -name '*.c' | sort |
    parallel '$CC $standard -Itests/unit -Itests/fuzz $warnings -Werror -O2 -S -o /dev/null "$0"' || bad=1

finish
