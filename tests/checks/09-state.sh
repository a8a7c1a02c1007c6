# No mutable state at file scope, and none in static locals: the agent's state hangs off one object.
# Excepted are the gates of the tests and what a signal handler must reach.
. tests/checks/common

allowed='base_mem: mem_gate(_ctx)?|proc_db_sql: db_gate(_ctx)?|proc_keep: keep_gate(_ctx)?|os_sig: sig_.*'

module_objects

for object in "$objects"/*.o; do
    module=$(basename "$object" .o)
    nm "$object" | awk -v module="$module" '$(NF - 1) ~ /^[bBdDCgGsS]$/ { print module ": " $NF }'
done | grep -v -E "^($allowed)\$" >"$work/state" || true
complain_of 'mutable at file scope:' "$work/state"

finish
