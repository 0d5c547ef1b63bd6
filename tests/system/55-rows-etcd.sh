#!/bin/bash
# etcd on bad days, with guards: its leader dies, its leader stands still and goes on, all of it is gone for longer than a
# permit lasts, its majority is lost between the fence and the promotion, and a leader's key is not the leader's
# (failures.md A10, D2, D3, D4, D7). Each member's loss, leases, passwords and full stores: 25 to 27.
# shellcheck disable=SC2034,SC2317
FAIL_POINTS=yes
. "$(dirname "$0")/rows.bash"
ROWS=("D2" "D7" "D3" "A10" "D4")

# The member that leads, as the members say.
etcd_leader() {
    local member
    for member in "${MEMBERS[@]}"; do
        etcd_ctl "$member" endpoint status -w json 2>/dev/null |
            jq -e '.[0].Status | .leader == .header.member_id' >/dev/null && echo "$member" && return
    done
    return 1
}

nothing_failed() { # neither client was told of any failure
    ! grep -m 3 . "$WORLD"/client/writer-*.log
}

postmaster() {
    head -n 1 "$WORLD/$OLD/data/postmaster.pid"
}

remember() {
    : >"$WORLD/client/writer-proxy.log"
    : >"$WORLD/client/writer-straight.log"
    POSTMASTER=$(postmaster)
}

payments_went_on() {
    check "$ROW: no transaction has failed" nothing_failed
    check "$ROW: the primary was not restarted" test "$(postmaster)" = "$POSTMASTER"
    echo "    the longest time without an acknowledgement, of either client: $(longest_gap_ms proxy), $(longest_gap_ms straight) ms"
}

row_D2() {
    local member
    remember
    member=$(etcd_leader)
    check "D2: etcd has a leader" test -n "$member"
    host_kill "$member"
    check_for "D2: etcd's leader dies: nothing moves, and two controllers lead at no time" 5 never_both
    check "D2: and etcd is in quorum without it" etcd_value permits/payments
    etcd_member "$member"
    well_again
    payments_went_on
}

row_D7() {
    local member
    remember
    member=$(etcd_leader)
    kill -STOP "$(host_pid "$member" etcd)"
    check_for "D7: etcd's leader stands still for longer than a permit lasts: two controllers lead at no time" 6 never_both
    kill -CONT "$(host_pid "$member" etcd)"
    check_for "D7: nor when it goes on, with what it believed" 3 never_both
    well_again
    payments_went_on
}

row_D3() {
    local member
    remember
    for member in "${MEMBERS[@]}"; do
        host_cut "$member"
    done
    check_soon "D3: without etcd nobody leads" 15 eval 'leads_not ops1 && leads_not ops2'
    check_for "D3: for twice as long as a permit lasts, and the primary goes on by promise" 8 pg_sql "$OLD" postgres \
        "SELECT 1 WHERE NOT pg_is_in_recovery()"
    check "D3: nobody was promoted" is_standby "$NEW"
    for member in "${MEMBERS[@]}"; do
        host_join "$member"
    done
    check_soon "D3: etcd is back: somebody leads by himself" 15 status_shows '.leader.id != null and .etcd.reachable'
    well_again
    payments_went_on
}

# As from a snapshot: the key names the leader, but it is another one than it created. Both stand still meanwhile, so that
# nobody comes in between.
row_A10() {
    local leader term host
    remember
    leader=$(leader_of)
    term=$(ctl status --json | jq .leader.term)
    for host in "${CONTROLLERS[@]}"; do
        kill -STOP "$(host_pid "$host" failoverd)"
    done
    etcd_value leader >"$TMP/leader"
    etcd_ctl etcd1 del /failover/shop/leader >/dev/null
    etcd_ctl etcd1 put /failover/shop/leader <"$TMP/leader" >/dev/null
    for host in "${CONTROLLERS[@]}"; do
        kill -CONT "$(host_pid "$host" failoverd)"
    done
    check_soon "A10: a leader whose key is not the one that it created leads no more" 10 leads_not "$leader"
    check_for "A10: nor does anybody, whomever the key names" 4 eval 'leads_not ops1 && leads_not ops2'
    check "A10: nothing was written meanwhile" nothing_moved
    etcd_ctl etcd1 del /failover/shop/leader >/dev/null
    check_soon "A10: without it somebody leads, in a later term" 15 status_shows ".leader.term != null and .leader.term > $term"
    well_again
    payments_went_on
}

row_D4() {
    local leader
    MOVED=yes
    leader=$(leader_of)
    echo stop >"$WORLD/fail/armed/save.after payments:proving"
    pg_kill "$OLD"
    check_soon "D4: the evidence is recorded, and nothing follows yet" 15 test -e "$WORLD/fail/hit/save.after payments:proving"
    host_cut etcd2
    host_cut etcd3
    kill -CONT "$(host_pid "$leader" failoverd)"
    check_soon "D4: without a quorum nobody leads" 15 eval 'leads_not ops1 && leads_not ops2'
    check_for "D4: and nobody is promoted without a record" 4 is_standby "$NEW"
    host_join etcd2
    host_join etcd3
    check_soon "D4: etcd is back: the failover is finished" 30 has_moved
    check "D4: with one new permit" eval 'etcd_value permits/payments | jq -e ".epoch.counter == $GRANTED + 1"'
    check_soon "D4: the old primary stays stopped" 10 stays_down "$OLD"
}

rows_run "$@"
