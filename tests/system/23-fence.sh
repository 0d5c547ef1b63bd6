#!/bin/bash
# A power device that refuses proves nothing: nothing is promoted, a person is called once with the next command, and
# the person's word lets the failover go on.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"

waits_for_a_person() {
    status_shows "[$(db payments) | .state] == [\"fence-wait\"]"
}

# The alarm's next command names the node; what it says to run is run below.
alarm_has_command() {
    status_shows '[.groups[].alarms[] | select(.key == "fence.payments") | .command | test("confirm-fenced pay-east --reason")] == [true]'
}

not_promoted() {
    etcd_value permits/payments | jq -e '.state == "revoked" and .epoch.counter == 1' &&
        [[ $(pg_sql pay-west postgres 'SELECT pg_is_in_recovery()') == t ]]
}

calls_for() { # ALARM
    grep -c "$1" "$WORLD/calls.log"
}

called_once() {
    [[ $(calls_for fence.payments) == 1 ]] || ! cat "$WORLD/calls.log"
}

confirm() {
    ctl confirm-fenced pay-east --yes --reason 'pulled both power cords, rack 7'
}

world_begin
printf 'not-the-password' >"$WORLD/secrets/ipmi"
check_soon "all is well although the power device's password is wrong" 10 is_well
pg_kill pay-east
check_soon "a power device that refuses leaves the failover waiting for a person" 60 waits_for_a_person
check_soon "the alarm says that nothing is promoted without proof" 10 shows_alarm fence.payments 'no proof that pay-east cannot write'
check "with the next command" alarm_has_command
check_soon "the configured command was run" 10 calls_for fence.payments
check "what it was given names the alarm's words" grep -q 'no proof that pay-east' "$WORLD/calls.log"
leader=$(leader_of)
kill -KILL "$(host_pid "$leader" failoverd)"
successor=$(other_than "$leader")
check_soon "a new leader waits for the person as well" 60 status_of "$successor" \
    ".leader.id == \"$successor\" and [$(db payments) | .state] == [\"fence-wait\"]"
controller_start "$leader"
check_for "nothing is promoted while no proof is there" 5 not_promoted
check "a person was called exactly once, whoever led" called_once
check "the wrong node's confirmation is refused" not ctl confirm-fenced ord-east --yes --reason 'the wrong one'
check "and promotes nothing" not_promoted
check "the person confirms" confirm
check_soon "then payments fail over" 20 has_moved payments pay-west
check "the evidence is the person's word" status_shows '.groups[0].incident.databases[0].evidence | test("operator.*pulled both power cords")'
check "the time of waiting is told apart" status_shows '.groups[0].incident | .people_ms > 3000 and .people_ms < .total_ms
    and .machine_ms + .people_ms == .total_ms'
check_soon "the alarm is over" 10 status_shows '[.groups[].alarms[].key | select(. == "fence.payments")] == []'
check "a person was called exactly once, to the end" called_once
check "nobody was switched off" test ! -e "$WORLD/power.log"
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
