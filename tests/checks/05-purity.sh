# base and proto are pure: bytes in, bytes out. What their objects ask of the system is on a short
# list; no reading, writing, opening, clock or environment. And the heap has one door, base/mem.
. tests/checks/common

module_objects

heap='malloc|calloc|realloc|free'
text='mem(cpy|move|set|cmp|chr|rchr|mem)|str(len|nlen|cmp|ncmp|chr|rchr|str|spn|cspn|error)'
# What the compiler may ask its own library for: which instructions this processor has.
processor='__cpu_model|__cpu_features2|__cpu_indicator_init'
language='__assert_fail|__errno_location|vsnprintf|snprintf|_GLOBAL_OFFSET_TABLE_'

undefined()
{
    nm -u "$1" | awk '{ print $NF }'
}

for layer in base proto; do
    for object in "$objects/$layer"_*.o; do
        nm --defined-only -g "$object" | awk '{ print $NF }'
    done >>"$work/defined" # proto may use base; base is looked at before proto has been added
    sort -u -o "$work/defined" "$work/defined"
    for object in "$objects/$layer"_*.o; do
        undefined "$object" | sort | comm -23 - "$work/defined" |
            grep -v -x -E "$heap|$text|$language|$processor" |
            sed "s,^,$(basename "$object" .o): ," >>"$work/impure" || true
    done
done
complain_of 'not allowed in base and proto:' "$work/impure"

copies='strdup|strndup|reallocarray|aligned_alloc|posix_memalign|asprintf|vasprintf'
for object in "$objects"/*.o; do
    case $object in */base_mem.o) continue ;; esac
    undefined "$object" | grep -x -E "$heap|$copies" |
        sed "s,^,$(basename "$object" .o): ," >>"$work/heap" || true
done
complain_of 'allocation that does not go through base/mem.h:' "$work/heap"

finish
