#!/bin/bash
# The home site is cut off from etcd, the controllers and the other site, while clients beside it and the proxies still
# reach its PostgreSQL: the guards stop it when its time ends, the other site takes over, and after the healing the old
# primaries are held down (failures.md C1, C16).
. "$(dirname "$0")/sandbox.bash"
check_scenario partition guards '^(replication|permit) ' --profile fast
check "clients beside the old primaries were served before the cut, and lost nothing" jq -e '.near.acked > 0 and .near.lost == 0' "$TMP/out.json"
check "each old primary was stopped by its own guard" jq -e '.partition | length == 2 and all(.stopped_itself_ms > 0)' "$TMP/out.json"
check "and is held down after the healing" jq -e '.partition | all(.held_down)' "$TMP/out.json"
check "no power device could be asked" test ! -s "$TMP/world/power.log"
finish
