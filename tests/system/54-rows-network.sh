#!/bin/bash
# Partitions, with guards: the primary cut off from the controllers and etcd while its clients still reach it; from the
# controllers alone; one-way; the leader from etcd, or from all but etcd; a whole site for longer than every deadline;
# and the network that heals in the middle of a promotion (failures.md C1, C2, C3, C5, C6, C9, C16).
# shellcheck disable=SC2034,SC2317
. "$(dirname "$0")/rows.bash"
ROWS=("C2" "C3" "C5" "C6" "C1 C16" "C9")

# The standby and the guard see the primary, and say so.
held_by_witnesses() {
    shows_alarm held.payments "$OLD|testif|guard|standby"
}

row_C2() {
    cut_off "$OLD" ops1 ops2
    check_soon "C2: no controller reaches the primary: it is held, and said who sees it" 15 held_by_witnesses
    check_for "C2: a primary that its guard and its standby see is not moved" 5 nothing_moved
    check_writes_go_on
    heal_all
    well_again
}

one_way() { # CHAIN ADDRESS-WORD: connections are made, and nothing comes of them
    host_exec "$OLD" nft -f - <<-END
	table inet part {
	    chain c { type filter hook $1 priority 0; ip $2 $(addresses_of ops1 ops2) tcp flags & (syn | ack) == ack drop; }
	}
	END
}

row_C3() {
    one_way output daddr
    check_soon "C3: answers that do not come back hold it, and it is said" 15 held_by_witnesses
    check_for "C3: and move nothing" 4 nothing_moved
    heal_all
    check_soon "C3: all is well in between" 30 is_well
    one_way input saddr
    check_soon "C3: questions that do not arrive hold it, and it is said" 15 held_by_witnesses
    check_for "C3: and move nothing either" 4 nothing_moved
    heal_all
    well_again
}

row_C5() {
    local leader other
    leader=$(leader_of)
    other=$(other_than "$leader")
    cut_off "$leader" "${MEMBERS[@]}"
    check_soon "C5: the leader that is cut off from etcd leads no more, by its own clock" 10 leads_not "$leader"
    check_soon "C5: the other one leads" 15 status_of "$other" .controller.leading
    check_for "C5: the cut one goes on probing, and both lead at no time" 3 never_both
    check "C5: it still sees the primary" status_of "$leader" \
        "[$(db payments) | .instances[] | select(.node == \"$OLD\") | .opinion] == [\"up\"]"
    heal_all
    well_again
}

row_C6() {
    local leader other
    leader=$(leader_of)
    other=$(other_than "$leader")
    cut_off "$leader" "$OLD" "$NEW" proxy1
    check_soon "C6: a leader that reaches etcd and nothing else yields to the one that sees" 20 status_of "$other" .controller.leading
    check_for "C6: and not again and again" 4 status_of "$other" .controller.leading
    heal_all
    well_again
}

row_C1_C16() {
    MOVED=yes
    pg_signal "$NEW" STOP startup # its promotion cannot end before this goes on
    cut_off "$OLD" "${CONTROLLERS[@]}" "${MEMBERS[@]}"
    check_soon "C1: a primary that only its clients and its standby reach stops by itself, in time" 5 runs_nothing "$OLD"
    check "C1: its watchdog had no need to fire" eval '! watchdog_fired "$OLD"'
    check_soon "C1: only then the other one is granted the permit" 20 phase_is promote
    heal_all
    check_soon "C16: the network heals in the middle of the promotion: the old primary's guard reports" 15 \
        report_shows "$OLD" '.state == "stopped"'
    check_for "C16: it finds no permit, and nothing is started" 2 runs_nothing "$OLD"
    pg_signal "$NEW" CONT startup
    check_soon "C16: the promotion goes on under its epoch" 20 has_moved
    check "C1: with one new permit" eval 'etcd_value permits/payments | jq -e ".epoch.counter == $GRANTED + 1"'
    check_soon "C16: the old one stays stopped" 10 stays_down "$OLD"
}

row_C9() {
    local site=(pay-east ops1 etcd1) host
    for host in "${site[@]}"; do
        cut_off "$host" etcd2 etcd3 ops2 "$NEW" proxy1 client
    done
    sleep 0.5 # the length of a cut that is no failure yet is the row itself
    heal_all
    check_soon "C9: a short cut of a whole site passes" 30 is_well
    MOVED=yes
    for host in "${site[@]}"; do
        cut_off "$host" etcd2 etcd3 ops2 "$NEW" proxy1 client
    done
    check_soon "C9: a site that is cut off for longer than every deadline: its primary stops" 15 runs_nothing "$OLD"
    check_soon "C9: and a complete, fenced failover follows" 30 status_of ops2 \
        "[$(db payments) | .primary == \"$NEW\" and .state == \"normal\" and .writable] == [true]"
    heal_all
    check_soon "C9: healed, both controllers agree" 20 eval 'status_of ops1 "[$(db payments) | .primary] == [\"$NEW\"]" && has_moved'
    check_soon "C9: the old primary stays stopped" 10 stays_down "$OLD"
}

rows_run "$@"
