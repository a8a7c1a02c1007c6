# The amalgamated object exports the public names and nothing else, of whatever symbol class.
. tests/checks/common

# exported DEFINES: the names that an object so compiled defines for others.
exported()
{
    # shellcheck disable=SC2086 # a list of words
    $CC -O1 $1 -c -o "$work/agent.o" sandbox_agent.c
    nm -g --defined-only "$work/agent.o" | awk '{ print $NF }'
}

exported '' | grep -v -e '^sandbox_agent_' -e '^main$' >"$work/foreign" || true
complain_of 'exported, but not public:' "$work/foreign"
exported -DSBX_NO_MAIN | grep -v '^sandbox_agent_' >"$work/foreign" || true
complain_of 'exported with -DSBX_NO_MAIN, but not public:' "$work/foreign"

# And all that the public header promises is there.
exported '' | sort >"$work/exported"
sed -n 's/^[a-z].*[ *]\(sandbox_agent_[a-z0-9_]*\)(.*/\1/p' sandbox_agent.h | sort -u >"$work/promised"
[ -s "$work/promised" ] || complain 'sandbox_agent.h declares no function'
comm -13 "$work/exported" "$work/promised" >"$work/missing"
complain_of 'declared in sandbox_agent.h, but not exported:' "$work/missing"

finish
