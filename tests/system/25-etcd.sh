#!/bin/bash
# etcd loses a member, its quorum, a lease and a record: the databases go on, nothing is decided without it, and what
# was begun is finished when it is back.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
. "$(dirname "$0")/etcd.bash"

lose_quorum() {
    host_kill etcd2
    host_kill etcd3
}

regain_quorum() {
    REGAINED_AT=$(now_ms)
    etcd_member etcd2
    etcd_member etcd3
}

# Both controllers live, and neither pretends to lead or to know better.
both_wait() {
    local host
    for host in ops1 ops2; do
        status_of "$host" '(.etcd.reachable | not) and (.controller.leading | not)' || return 1
    done
}

world_begin
remember_pids
check_soon "all is well" 20 is_well

# --- one member ------------------------------------------------------------------------------------------------------

leader=$(leader_of) term=$(term)
member=$(member_in_use "$leader")
check "the leader uses one member" test -n "$member"
host_kill "$member"
check_soon "D1: without the member in use etcd is reachable again" 10 term_is "$term"
check_for "D1: and nobody else has led, for longer than a lease" 7 term_is "$term"
check_soon "the load went on" 15 load_runs
etcd_member "$member"
check_soon "the member is back" 15 etcd_ctl "$member" endpoint health
check_soon "and all is well" 10 is_well

# --- a lease and a record, by hand --------------------------------------------------------------------------------

check "D19: the leader's lease is revoked by hand" revoke_leader_lease
check_soon "D19: somebody leads in a new term" 10 status_shows ".leader.term != null and .leader.term > $term"
check_soon "D19: exactly one does, and all is well" 15 is_well
check "its permits are the same" permits_are 1 1

permit=$(etcd_value permits/payments)
check "a permit is deleted by hand" etcd_ctl etcd1 del /failover/shop/permits/payments
check_soon "its database is parked, and nothing is written over it" 10 status_shows "[$(db payments) | .state] == [\"parked\"]"
check_soon "an alarm says so" 10 shows_alarm parked.payments 'one is missing'
check "both controllers live" both_live
check "the permit is still missing" test -z "$(etcd_value permits/payments)"
check_soon "the load goes on" 15 load_runs
etcd_ctl etcd1 put /failover/shop/permits/payments "$permit" >/dev/null
check_soon "with the permit put back all is well, without an alarm" 20 is_well

# --- the quorum, in peace ----------------------------------------------------------------------------------------

lose_quorum
check_soon "D3: without a quorum nobody leads" 20 both_wait
check_for "D3: and it stays so" 8 both_wait
check_soon "the load goes on" 15 load_runs
check "both controllers live" both_live
regain_quorum
check_soon "etcd commits again" 20 etcd_ready etcd1
check_soon "D3: then somebody leads within L4" 5 status_shows '.leader.id != null and .etcd.reachable'
check_soon "and all is well again" 20 is_well
echo "    $(($(now_ms) - REGAINED_AT)) ms after the members were started"
check "its permits are the same" permits_are 1 1

# --- the quorum, and a primary -------------------------------------------------------------------------------------

lose_quorum
check_soon "without a quorum nobody leads (2)" 20 both_wait
pg_kill pay-east
check_for "a primary that dies meanwhile is not replaced" 8 is_standby pay-west
check "and nobody is switched off" test ! -e "$WORLD/power.log"
regain_quorum
check_soon "when etcd is back it is failed over" 40 has_moved payments pay-west
echo "    $(($(now_ms) - REGAINED_AT)) ms after the members were started"
check "once, and orders not at all" permits_are 2 1

# --- the quorum, in the middle of a failover ------------------------------------------------------------------------

pg_kill ord-east
check_soon "a fence runs" 20 record_shows '[.workflow.moves[]? | select(.database == "orders") | .phase] == ["fence"]'
lose_quorum
check_soon "nobody leads in the middle of a failover" 20 both_wait
check_for "and nothing is promoted" 4 is_standby ord-west
regain_quorum
check_soon "when etcd is back the failover is finished" 40 has_moved orders ord-west
check "with one new permit" permits_are 2 2

check "both controllers have lived through all of it" both_live
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
