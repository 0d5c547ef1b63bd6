#!/bin/bash
# All of etcd dies for three times D of the fast profile: the primaries go on by promise, no transaction fails, nothing
# moves, and when etcd is back somebody leads again (failures.md D3).
# shellcheck disable=SC2317
. "$(dirname "$0")/sandbox.bash"

went_on_by_promise() {
    local node
    for node in pay-east ord-east; do
        grep 'the promisers are asked' "$TMP/world/$node/guard.log" && ! grep 'rule=R-G11 ' "$TMP/world/$node/guard.log" || return 1
    done
}

run_scenario etcd-outage --profile fast --for 12
check "the result names its scenario and is ok" jq -e '.scenario == "etcd-outage" and .ok and .not_ok == []' "$TMP/out.json"
check "no transaction failed, and of none is the outcome unknown" jq -e '.failed == 0 and .unknown == 0 and .acked > 500' "$TMP/out.json"
check "no acknowledged transaction is lost" jq -e '.lost == 0' "$TMP/out.json"
check "nobody waited for longer than an attempt may last" jq -e '.outage_ms < 1000' "$TMP/out.json"
check "no failover was begun" jq -e '. == null' "$TMP/world/incident.json"
check "the primaries went on by promise, for longer than their time" went_on_by_promise
check "nobody had to be called" test ! -s "$TMP/world/calls.log"
check_end
finish
