#!/bin/bash
# etcd is restored from an old backup, and lost for good and begun empty, under load, with guards: the primaries go on
# without a restart, nobody obeys what is old, and `failoverctl store rescue` makes it the installation's store again
# (failures.md D5, D20; design §4). The commands are those of deploy/doc/etcd.md.
# shellcheck disable=SC2317,SC2120
export SHOP_GUARDS=yes
. "$(dirname "$0")/world.bash"
. "$(dirname "$0")/etcd.bash"

rescue() { # ARGUMENTS...: on ops1, as root there would
    host_exec ops1 "$BUILD/failoverctl" store rescue --local "$WORLD/ops1/local.yaml" "$@" >"$TMP/rescue.out" 2>"$TMP/rescue.err"
    local status=$?
    sed 's/^/    rescue: /' "$TMP/rescue.out" "$TMP/rescue.err"
    return "$status"
}

plan_of() {
    sed -n 's/^Plan \(.*\)\.$/\1/p' "$TMP/rescue.out"
}

shows() { # WORDS: the last rescue did, on standard output
    grep -qE -- "$1" "$TMP/rescue.out"
}

refuses() { # WORDS
    grep -qE -- "refused: .*$1" "$TMP/rescue.err"
}

etcd_lose() {
    local host
    for host in etcd1 etcd2 etcd3; do
        host_kill "$host"
    done
    rm -rf "$WORLD"/etcd?/data
}

etcd_restore() { # SNAPSHOT
    local host
    for host in etcd1 etcd2 etcd3; do
        ETCDCTL_API=3 etcdctl snapshot restore "$1" --name "$host" --data-dir "$WORLD/$host/data" \
            --initial-cluster "$ETCD_INITIAL" --initial-cluster-token "$WORLD_ID$ETCD_TOKEN" \
            --initial-advertise-peer-urls "http://${HOST_ADDRESS[$host]}:2380" >>"$TMP/restore.log" 2>&1 || return 1
        etcd_member "$host"
    done
}

postmaster() { # NODE
    head -n 1 "$WORLD/$1/data/postmaster.pid"
}

remember() { # the postmasters, and what the load has lost so far
    PAY=$(postmaster "$1") ORD=$(postmaster "$2")
    local kind
    LOST=()
    for kind in "${SHOP_KINDS[@]}"; do
        load_line "$kind"
        LOST+=("$FAILED.$UNKNOWN")
    done
}

same_primaries() { # of payments, of orders
    [[ $(postmaster "$1") == "$PAY" && $(postmaster "$2") == "$ORD" ]] && kill -0 "$PAY" "$ORD"
}

nothing_failed() {
    local kind i=0
    for kind in "${SHOP_KINDS[@]}"; do
        load_line "$kind"
        [[ $FAILED.$UNKNOWN == "${LOST[i]}" && $SILENT_MS -lt 1000 ]] || return 1
        i=$((i + 1))
    done
}

nothing_runs() { # NODE
    [[ -z $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$WORLD/$1/data" 2>/dev/null) ]]
}

guard_says() { # NODE DATABASE FILTER
    etcd_value "guards/$1/$2" | jq -e "$3"
}

permit_shows() { # DATABASE FILTER
    etcd_value "permits/$1" | jq -e "$2"
}

copies_are_new() { # both controllers' copies hold payments' permit of that epoch
    local host
    for host in ops1 ops2; do
        jq -e ".keys[\"permits/payments\"] | fromjson | [.epoch.incarnation, .epoch.counter] == [$1, $2]" \
            "$WORLD/$host/copies/store.json" || return 1
    done
}

guarded() { # TIERS: all databases serve, and obey permits
    status_shows '.leader.id != null and .etcd.problem == null and
        all(.groups[].databases[]; .state == "normal" and .writable and .permit == "granted" and (.renewed_age_ms // 5000) < 5000)'
}

world_begin
remember_pids
check_soon "both controllers have copied the store into a file" 20 copies_are_new 1 2

# --- restored from a backup that is older than a failover ------------------------------------------------------------

check "a snapshot is taken" etcd_ctl etcd1 snapshot save "$TMP/snapshot"
pg_kill pay-east
check_soon "after that payments fails over" 40 has_moved payments pay-west
check_soon "and the copies know it" 20 copies_are_new 1 3
check "the same store is not rescued while a controller leads" not rescue
check "which is said" grep -q "a controller leads" "$TMP/rescue.err"
remember pay-west ord-east
etcd_lose
check "D5: etcd is restored from the snapshot, as the cluster that it was" etcd_restore "$TMP/snapshot"
check_soon "D5: etcd commits" 20 etcd_ready etcd1
check_soon "D5: both controllers see that it went back, and nobody leads" 20 both_show_problem 'store rescue'
check_soon "D5: a guard refuses the permit of a lower epoch that names it" 20 guard_says pay-east payments '.complaint | test("lower epoch")'
check_for "D5: nothing runs there, nobody leads, and no primary is restarted, for longer than D + W" 12 \
    eval 'nothing_runs pay-east && nobody_leads && same_primaries pay-west ord-east'
check "D5: no transaction has failed" nothing_failed

check "D5: the rescue shows its plan" rescue
check "D5: payments stays where it runs, whatever the snapshot says" shows 'payments: granted to pay-west, epoch 2\.4'
check "D5: orders too" shows 'orders: granted to ord-east, epoch 2\.3'
check "D5: and changes nothing" permit_shows payments '.epoch.incarnation == 1 and .node == "pay-east"'
check "D5: without a reason it is not done" not rescue --plan "$(plan_of)"
rescue
check "D5: another plan is not carried out" not rescue --plan 0123456789abcdef --reason "the test"
rescue
check "D5: the one that was shown is" rescue --plan "$(plan_of)" --reason "etcd restored from a snapshot"
check_soon "D5: somebody leads, and both databases obey their permits" 30 guarded
check "D5: under epochs above every one that was seen" eval 'permit_shows payments ".epoch == {incarnation: 2, counter: 4}" &&
    permit_shows orders ".epoch == {incarnation: 2, counter: 3}"'
check_soon "D5: each guard has it" 15 guard_says pay-west payments '.epoch.incarnation == 2 and .role == "primary"'
check_soon "D5: the fenced one too, and is held down" 15 guard_says pay-east payments '.epoch.incarnation == 2 and .state == "stopped"'
check "D5: no primary was restarted" same_primaries pay-west ord-east
check "D5: no transaction has failed" nothing_failed
check "both controllers have lived through it" both_live
check_soon "the copies are of the new incarnation" 20 copies_are_new 2 4

# --- lost for good, and begun empty ----------------------------------------------------------------------------------

remember pay-west ord-east
etcd_lose
check_for "D5: with etcd lost for good the primaries go on by promise, for longer than D + W" 12 same_primaries pay-west ord-east
ETCD_TOKEN=-anew
etcd_start etcd1 etcd2 etcd3
check_soon "D5: an empty etcd commits" 20 etcd_ready etcd1
check_soon "D5: both controllers see another cluster, and nobody leads" 30 both_show_problem 'store rescue'
check_soon "D5: the guards report there" 20 guard_says ord-east orders '.complaint | test("store rescue")'
kill -TERM "$(host_pid pay-east guard)"
check "D5: a guard that does not answer refuses it" not rescue
check "D5: and is named" refuses 'the guard of pay-east does not answer.*--without pay-east'
check "D5: unless a person says that nothing runs there" rescue --without pay-east
check "D5: the copy says what is to be written" shows 'The definition is the copy'
check "D5: it is done" rescue --without pay-east --plan "$(plan_of)" --reason "etcd lost for good"
check_soon "D5: somebody leads, and both databases obey their permits" 30 guarded
check "D5: in another incarnation" permit_shows payments '.epoch == {incarnation: 3, counter: 5} and .node == "pay-west"'
check "D5: no primary was restarted" same_primaries pay-west ord-east
check "D5: no transaction has failed" nothing_failed
check "both controllers have lived through it" both_live
check "the incident of before is known" eval 'ctl incident list | grep -q payments'

# --- and it works as before ------------------------------------------------------------------------------------------

pg_kill ord-east
check_soon "afterwards orders fails over" 40 has_moved orders ord-west
check "under an epoch of the new incarnation" permit_shows orders '.epoch.incarnation == 3 and .node == "ord-west"'
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
