#!/bin/bash
# What is in etcd, and whether it is the right one: years of old records, garbage, keys deleted and rewritten by hand, a
# store that is full, another store at the same addresses. Nothing is decided that should not be, nothing crashes, and
# nothing needs a restart.
# deadline: 900 s
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
. "$(dirname "$0")/etcd.bash"
OLD_REQUESTS=4000
OLD_INCIDENTS=2000

# --- old records -----------------------------------------------------------------------------------------------------

# etcd's JSON gateway, from a host: POST PATH with stdin.
gateway() { # HOST PATH
    host_exec "$1" curl -sS --max-time 20 --data-binary @- "http://${HOST_ADDRESS[$1]}:2379/v3/$2"
}

# put_many: lines "KEY<TAB>VALUE" below /failover/shop/, a hundred in one transaction.
put_many() {
    jq -cRn '[inputs | split("\t") | {request_put: {key: ("/failover/shop/" + .[0] | @base64), value: (.[1] | @base64)}}]
        | _nwise(100) | {success: .}' | while IFS= read -r txn; do
        gateway etcd1 kv/txn <<<"$txn" | jq -e '.succeeded' >/dev/null || return 1
    done
}

# A real request and a real incident of this world, multiplied: ended, and of two years ago.
old_requests() {
    local one
    one=$(etcd_ctl etcd1 get --prefix /failover/shop/requests/ --print-value-only | jq -c 'select(.state == "done")' | head -n 1)
    [[ -n $one ]] && jq -cr --argjson n "$OLD_REQUESTS" \
        '. as $one | range($n) | . as $i | ("old-" + ("0000000" + tostring)[-7:]) as $id |
            "requests/\($id)\t\($one + {id: $id, asked_wall_ms: 1700000000000} | tojson)"' <<<"$one" | put_many
}

old_incidents() {
    local one
    one=$(etcd_ctl etcd1 get --prefix /failover/shop/incidents/ --print-value-only | head -n 1)
    [[ -n $one ]] && jq -cr --argjson n "$OLD_INCIDENTS" \
        '. as $one | range($n) | . as $i | ("20240101-000000-" + ("0000000" + tostring)[-7:]) as $id |
            "incidents/\($id)\t\($one + {id: $id, state: "closed", opened_wall_ms: 1700000000000} | tojson)"' <<<"$one" | put_many
}

count() { # PREFIX
    etcd_ctl etcd1 --command-timeout 10s get --prefix --keys-only "/failover/shop/$1" | grep -c .
}

at_most() { # PREFIX COUNT
    local n
    n=$(count "$1") && ((n <= $2))
}

# New requests by hand, more at once than the leader takes up at once.
flood() {
    local one
    one=$(etcd_ctl etcd1 get --prefix /failover/shop/requests/ --print-value-only | head -n 1)
    [[ -n $one ]] && jq -cr '. as $one | range(60) | ("flood-" + ("0" + tostring)[-2:]) as $id |
        "requests/\($id)\t\($one + {id: $id, kind: "resume", state: "new", outcome: "", asked_wall_ms: (now * 1000 | floor)} |
            tojson)"' <<<"$one" | put_many
}

flood_is_answered() {
    etcd_ctl etcd1 get --prefix /failover/shop/requests/flood- --print-value-only |
        jq -es '[.[] | select(.state == "done")] | length == 60'
}

alarm_is() { # KEY in etcd's own list, or nothing
    [[ $(etcd_ctl etcd1 alarm list) == *"$1"* ]]
}

ETCD_OPTIONS=(--quota-backend-bytes $((64 << 20)))
world_begin
remember_pids
check_soon "all is well" 20 is_well

# --- a long life ------------------------------------------------------------------------------------------------------

check "a request of today is answered" ctl pause shop --reason "to have one"
check "and another" ctl resume shop --reason "to have two"
check "a failover leaves an incident" ctl failover shop --database payments --reason "to have one"
check_soon "it is over" 60 status_shows "[$(db payments) | .primary == \"pay-west\" and .state == \"normal\" and .writable] == [true]"
incident=$(etcd_ctl etcd1 get --prefix /failover/shop/incidents/ --keys-only | grep . | head -n 1)
host_kill ops1
host_kill ops2
check "there are $OLD_REQUESTS old requests" old_requests
check "and $OLD_INCIDENTS old incidents" old_incidents
requests=$(count requests/) incidents=$(count incidents/)
check "they are there" test "${requests:-0}" -ge "$OLD_REQUESTS" -a "${incidents:-0}" -ge "$OLD_INCIDENTS"
start_controllers
check_soon "controllers that are started now take up what is there" 20 goes_on
before=$(term)
check "the leader's lease is revoked" revoke_leader_lease
check_soon "a new term begins" 15 leads_newly "$before"
check_soon "old requests are deleted" 60 at_most requests/ 300
check_soon "old incidents are deleted" 60 at_most incidents/ 200
check "the newest incident is still there" test -n "$(etcd_ctl etcd1 get "$incident" --print-value-only)"
check_soon "sixty new requests at once" 10 flood
check_soon "are all answered" 20 flood_is_answered
check "the leader says so" somebody_says 'old records are deleted'
check "requests of today can be asked for" ctl request show flood-07
check_for "and nobody has lost the term over it" 3 goes_on

# --- garbage ----------------------------------------------------------------------------------------------------------

garbage() {
    local i value values=('' '{' '[]' '{"schema":1}' '"text"' '{"schema":1,"id":7,"state":{}}' 'null' '{"schema":99}')
    for ((i = 0; i < 400; i++)); do
        value=${values[i % ${#values[@]}]}
        printf '%s\t%s\n' "requests/bad-$i" "$value" "incidents/bad-$i" "$value" "controllers/bad-$i" "$value" \
            "permits/bad-$i" "$value" "groups/bad-$i" "$value" "nonsense-$i" "$value"
    done | put_many
}

mark
check "four hundred of each kind are written by hand" garbage
check_for "all goes on" 5 goes_on
before=$(term)
check "the leader's lease is revoked again" revoke_leader_lease
check_soon "a new term begins in spite of them" 20 leads_newly "$before"
check "both controllers live" both_live
check "they complain" both_say 'a record in etcd cannot be used'
check "but not of each" test "$(tail -qn "+${MARK[ops1]}" "$WORLD/ops1/failoverd.log" | grep -c 'cannot be used')" -lt 100
etcd_ctl etcd1 del --prefix /failover/shop/nonsense >/dev/null
for kind in requests incidents controllers permits groups; do
    etcd_ctl etcd1 del --prefix "/failover/shop/$kind/bad-" >/dev/null
done

# --- keys of ours ------------------------------------------------------------------------------------------------------

config=$(etcd_value config) installation=$(etcd_value installation) group=$(etcd_value groups/shop)
mark
etcd_ctl etcd1 put /failover/shop/config '{"schema":1,"nonsense":true}' >/dev/null
check_soon "a definition of nonsense is complained of" 10 both_say 'config.*|cannot be used'
check_for "and the one in use is kept" 3 goes_on
etcd_ctl etcd1 del /failover/shop/config >/dev/null
check_soon "a deleted definition is an error in the log" 10 both_say 'somebody has deleted the definition'
check_for "and the one in use is kept (2)" 3 goes_on
check "it is stored again by apply" ctl apply --yes --reason "it was deleted" "$WORLD/cluster.yaml"
check_soon "all goes on" 15 goes_on
check "the installation is the same" test "$(etcd_value installation)" == "$installation"

etcd_ctl etcd1 put /failover/shop/groups/shop '{"schema":1,"name":[]}' >/dev/null
check_soon "a group's record of nonsense parks what it says nothing of" 15 not goes_on
check "and is not written over" test "$(etcd_value groups/shop)" == '{"schema":1,"name":[]}'
check "both controllers live (2)" both_live
etcd_ctl etcd1 put /failover/shop/groups/shop "$group" >/dev/null
check_soon "put back, all goes on" 20 goes_on

mark
etcd_ctl etcd1 del /failover/shop/installation >/dev/null
check_soon "without the installation's key nobody leads, and status says why" 15 both_show_problem 'installation is gone'
check "the log says what to put back" both_say 'put \{.*etcd_cluster_id'
check "status says it in its first lines" bash -c "'$BUILD/failoverctl' --socket '$WORLD/ops1/failoverd.sock' status | head -n 3 | grep -q 'ETCD CANNOT BE USED'"
check "nothing has been written in its place" test -z "$(etcd_value installation)"
etcd_ctl etcd1 put /failover/shop/installation '{"schema":1,"id":"0123456789abcdef0123456789abcdef","etcd_cluster_id":"1"}' >/dev/null
check_soon "another installation's key is refused by name" 10 both_show_problem "0123456789abcdef0123456789abcdef's"
etcd_ctl etcd1 put /failover/shop/installation 'nonsense' >/dev/null
check_soon "one of nonsense is refused" 10 both_show_problem 'cannot be used'
check_for "and nobody leads" 3 nobody_leads
etcd_ctl etcd1 put /failover/shop/installation "$installation" >/dev/null
check_soon "put back, somebody leads again" 15 goes_on
check "both controllers live (3)" both_live

# --- a full store -----------------------------------------------------------------------------------------------------

filled=0
fill() { # MIB
    local i
    head -c 1000000 /dev/zero | tr '\0' x >"$TMP/value"
    for ((i = 0; i < $1; i++)); do
        etcd_ctl etcd1 put "/filler/$((filled++))" <"$TMP/value" >/dev/null || return 0
    done
}

for host in ops1 ops2; do
    sed -i 's|^etcd:|etcd:\n  quota: 64MiB|' "$WORLD/$host/local.yaml"
    kill -HUP "$(host_pid "$host" failoverd)"
done
# The file grows in leaps, and on a slow machine by larger ones: it is looked at after each MiB.
fill_to() { # BYTES
    local i
    for ((i = 0; i < 64; i++)); do
        (($(etcd_ctl etcd1 endpoint status -w json | jq '.[0].Status.dbSize') < $1)) || return 0
        fill 1
    done
    return 1
}
check "the store is filled to 63 % of its quota" fill_to $((40 << 20))
check_soon "at 60 % of the quota there is an alarm" 20 shows_alarm etcd.size 'of its quota of 64 MiB'
mark
fill 60
check "D15: the store is full" alarm_is NOSPACE
check_soon "D15: then nobody leads, and status says why" 30 both_show_problem 'quota is used up'
check_soon "the load goes on" 15 load_runs
check_for "and nobody leads (2)" 8 nobody_leads
make_room() {
    local host revision
    etcd_ctl etcd1 del --prefix /filler/ >/dev/null &&
        revision=$(etcd_ctl etcd1 endpoint status -w json | jq -r '.[0].Status.header.revision') &&
        etcd_ctl etcd1 compact --physical "$revision" >/dev/null || return 1
    for host in etcd1 etcd2 etcd3; do
        etcd_ctl "$host" --command-timeout 20s defrag >/dev/null || return 1
    done
    etcd_ctl etcd1 alarm disarm >/dev/null
}
check "space is made, and the alarm is disarmed" make_room
check_soon "somebody leads again, without a restart" 30 goes_on
check_soon "the problem is over" 15 status_shows '.etcd.problem == null'
check_soon "and so is the alarm" 20 status_shows '[.groups[].alarms[] | select(.key | startswith("etcd."))] | length == 0'
check "both controllers have lived through all of it" both_live

# --- another store ----------------------------------------------------------------------------------------------------

# All members gone; at their addresses an empty cluster answers.
swap_etcd() { # DIRECTORY SUFFIX of the members' data from now on; TOKEN
    local host
    for host in etcd1 etcd2 etcd3; do
        host_kill "$host"
        mv "$WORLD/$host/data" "$WORLD/$host/data.$1"
        [[ ! -d $WORLD/$host/data.$2 ]] || mv "$WORLD/$host/data.$2" "$WORLD/$host/data"
    done
    ETCD_TOKEN=$2
    for host in etcd1 etcd2 etcd3; do
        etcd_member "$host"
    done
}

mark
swap_etcd right wrong
check_soon "an empty etcd answers at the same addresses" 20 etcd_ready etcd1
check_soon "nobody leads there, and status says why" 20 both_show_problem 'another etcd cluster'
check_for "and it stays so" 8 nobody_leads
check "nothing is written there" test -z "$(etcd_ctl etcd1 get --prefix /failover/ --keys-only)"
check_soon "the load goes on (2)" 15 load_runs
swap_etcd wrong right
check_soon "the right one is back" 20 etcd_ready etcd1
check_soon "and somebody leads, without a restart" 30 goes_on
check "both controllers have lived through all of it (2)" both_live
stop_load_and_audit
world_finish
finish
