#!/bin/bash
# With no standby left the old primary starts again in its place, by itself: after a crash, and after its permit lapsed while
# its node was cut off (failures.md C1, E1; design §6, "the fenced old primary is a candidate too").
# shellcheck disable=SC2034,SC2317
DEGRADE_AFTER=3s
. "$(dirname "$0")/rows.bash"
ROWS=("E1 C1")

epoch() {
    etcd_value permits/payments | jq .epoch.counter
}

serves_again() { # EPOCH of before: where it was, on the timeline of the beginning
    status_shows "[$(db payments) | .primary == \"$OLD\" and .state == \"normal\" and .writable and .timeline == 1] == [true]" &&
        etcd_value permits/payments | jq -e ".state == \"granted\" and .node == \"$OLD\" and .epoch.counter > $1"
}

row_E1_C1() {
    local before
    MOVED=yes
    host_kill "$NEW"
    check_soon "E1: the only standby is lost: commits wait for nobody after a while" 30 status_shows \
        "[$(db payments) | .durability == \"degraded to asynchronous\" and .writable] == [true]"
    check_writes_go_on

    before=$(epoch)
    pg_kill "$OLD"
    check_soon "E1: the crashed primary is granted a new permit, and starts again in its place" 30 serves_again "$before"
    check_writes_go_on
    check_soon "E1: its directory is at rest" 10 test -e "$WORLD/$OLD/data/standby.signal"

    before=$(epoch)
    host_cut "$OLD"
    check_soon "C1: cut off from everybody it is stopped before its permit ends" 10 runs_nothing "$OLD"
    check "C1: its watchdog had no need to fire" eval '! watchdog_fired "$OLD"'
    check_soon "C1: nobody could take over: a person is told" 20 shows_alarm held.payments
    host_join "$OLD"
    check_soon "C1: the cut is over: it starts again under a new permit, without a person" 30 serves_again "$before"
    check_soon "C1: nobody is waited for" 10 status_shows '[.groups[].alarms[] | select(.key | test("^(held|choice|fence|parked)"))] == []'
    check "C1: nobody was ever promoted" eval '! grep -q "selected new timeline" "$WORLD"/*/postgres.log'
}

rows_run "$@"
