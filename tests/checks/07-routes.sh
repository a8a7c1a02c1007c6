# What the server routes is what openapi.json describes: methods, paths and operation ids, in both
# directions.
. tests/checks/common

"$build/sandbox-agent" routes | sort >"$work/served"
"$NODE" -e '
const api = JSON.parse(require("fs").readFileSync("openapi.json", "utf8"));
const methods = ["get", "put", "post", "delete", "patch", "head", "options", "trace"];
for (const [path, item] of Object.entries(api.paths))
  for (const method of methods)
    if (item[method]) console.log(method.toUpperCase(), path, item[method].operationId);
' | LC_ALL=C sort >"$work/described"
LC_ALL=C sort -o "$work/served" "$work/served"
[ -s "$work/served" ] || complain 'the binary prints no route'
uniq -d "$work/served" >"$work/twice"
complain_of 'routed twice:' "$work/twice"
LC_ALL=C comm -23 "$work/served" "$work/described" >"$work/undescribed"
complain_of 'served, but not in openapi.json:' "$work/undescribed"
LC_ALL=C comm -13 "$work/served" "$work/described" >"$work/unserved"
complain_of 'in openapi.json, but not served:' "$work/unserved"

finish
