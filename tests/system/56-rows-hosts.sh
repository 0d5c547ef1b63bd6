#!/bin/bash
# Hosts, instances and controllers on bad days, with guards: controllers that end, stand still and wake up in the middle of
# a failover; a primary that dies, hangs, cannot be killed, waits for its standby; a node that is suspended; a standby that
# is gone, paused, or another cluster's; a node without a watchdog (failures.md A6, A7, A14, B5,
# B7, E1, E2, E3, E12, E14, E15, F1, F2, F3, F4, F9, F18, G13).
# shellcheck disable=SC2034,SC2317
FAIL_POINTS=yes
. "$(dirname "$0")/rows.bash"
ROWS=("A6 A7 A14 F3 F4" "E1 E12 E15 F1 F2" "E14 F9" "B5 B7 F18" "E2 E3" "G13")

promoted_once() {
    grep -c 'selected new timeline' "$WORLD/$NEW/postgres.log"
    [[ $(grep -c 'selected new timeline ID: 2$' "$WORLD/$NEW/postgres.log") == 1 &&
        $(grep -c 'selected new timeline' "$WORLD/$NEW/postgres.log") == 1 ]]
}

one_new_permit() {
    etcd_value permits/payments | jq -e ".state == \"granted\" and .node == \"$NEW\" and .epoch.counter == $GRANTED + 1"
}

routes_agree() {
    status_shows 'all(.groups[].routes[].proxies[]; .state == "agrees")'
}

evidence_is() { # WORDS: an extended expression
    status_shows "[.groups[0].incident.databases[].evidence | test(\"$1\")] == [true]"
}

freeze() { # NODE 1|0: all of its processes
    if [[ -e $WORLD_CGROUP/$1/cgroup.freeze ]]; then
        echo "$2" >"$WORLD_CGROUP/$1/cgroup.freeze"
    else
        (($2)) && echo FROZEN >"$WORLD_CGROUP/$1/freezer.state" || echo THAWED >"$WORLD_CGROUP/$1/freezer.state"
    fi
}

old_stays_down() {
    check_soon "$1: the old primary stays stopped, and is held down" 15 stays_down "$OLD"
    echo "    $OLD: $(etcd_value "guards/$OLD/payments" | jq -c '[.state, .held]')"
}

# One failover, and whoever leads it is taken away again and again.
row_A6_A7_A14_F3_F4() {
    local first second point="effect.before routes proxy1 payments-db=$NEW"
    MOVED=yes
    first=$(leader_of)
    second=$(other_than "$first")
    pg_signal "$NEW" STOP startup # a promotion that takes as long as it takes
    pg_kill "$OLD"
    check_soon "F3: the promotion is asked for, and has no outcome" 20 phase_is promote
    kill -TERM "$(host_pid "$first" failoverd)"
    check_soon "A14: a leader that is told to end in the middle of it ends in good order" 10 cgroup_is_empty "$WORLD_CGROUP/$first"
    check_soon "A14: and the other one takes it up" 10 status_of "$second" .controller.leading
    controller_start "$first"
    check_soon "A14: it is back, and follows" 10 leads_not "$first"
    kill -STOP "$(host_pid "$second" failoverd)"
    check_soon "A6: a leader that stands still is replaced" 15 status_of "$first" .controller.leading
    check_for "F3: nobody else is promoted, nothing is started" 2 eval 'phase_is promote && runs_nothing "$OLD"'
    echo stop >"$WORLD/fail/armed/$point"
    pg_signal "$NEW" CONT startup
    check_soon "F4: whoever asked for it is gone, and it is promoted all the same" 15 eval '! is_standby "$NEW" >/dev/null && pg_ready "$NEW"'
    check_soon "A7: the next leader stands still between its last look and the effect" 20 test -e "$WORLD/fail/hit/$point"
    kill -CONT "$(host_pid "$second" failoverd)"
    check_soon "A6: the one that wakes up leads again in a term of its own, and finishes" 30 status_of "$second" \
        "[$(db payments) | .primary == \"$NEW\" and .state == \"normal\" and .writable] == [true]"
    kill -CONT "$(host_pid "$first" failoverd)"
    check_soon "A7: the other one that wakes up leads no more" 10 leads_not "$first"
    check_for "A7: and what it still sends changes no route" 3 eval 'routes_agree && never_both'
    check "A6: one new permit, whoever led" one_new_permit
    check "F4: promoted once" promoted_once
    old_stays_down A6
}

row_E1_E12_E15_F1_F2() {
    MOVED=yes
    pg_sql "$NEW" postgres 'SELECT pg_wal_replay_pause()' >/dev/null
    check_soon "F1: what is received is not replayed" 10 eval \
        '[[ $(pg_sql "$NEW" postgres "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()") == t ]]'
    check_writes_go_on
    cut_off "$NEW" "$OLD"
    check_soon "E12: commits that wait for a standby are called a sync stall" 20 \
        status_shows "[$(db payments) | .instances[] | select(.node == \"$OLD\") | .cause] == [\"sync stall\"]"
    check_for "E12: and move nothing" 3 nothing_moved
    pg_sql "$OLD" payments "INSERT INTO payments (id, amount_cents) VALUES ('cancelled', 1)" >"$TMP/cancelled" 2>&1 &
    check_soon "E15: a client's commit waits" 5 eval \
        '[[ $(pg_sql "$OLD" postgres "SELECT count(*) FROM pg_stat_activity WHERE query ~ '"'cancelled'"' AND wait_event = '"'SyncRep'"' AND pid <> pg_backend_pid()") == 1 ]]'
    pg_sql "$OLD" postgres "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ 'cancelled' AND wait_event = 'SyncRep'" >/dev/null
    check_soon "E15: its wait is cancelled: it is committed here alone" 5 eval \
        '[[ $(pg_sql "$OLD" payments "SELECT count(*) FROM payments WHERE id = '"'cancelled'"'") == 1 ]]'
    pg_kill "$OLD"
    check_soon "E1: the primary dies: it is failed over" 30 has_moved
    check "E1: by its guard's word" evidence_is '^guard '
    heal_all
    check "F1: the backlog was replayed, and the pause ended with the promotion" pg_sql "$NEW" postgres \
        "SELECT 1 / (NOT pg_is_in_recovery())::int"
    check "F2: promoted once, though replay was paused" promoted_once
    check "E15: what nobody had acknowledged is not there" test \
        "$(pg_sql "$NEW" payments "SELECT count(*) FROM payments WHERE id = 'cancelled'")" = 0
    old_stays_down E15
    check "E15: its directory is kept as it was" test -s "$WORLD/$OLD/data/PG_VERSION"
}

impostor_start() { # another cluster at the standby's address
    local node=$WORLD/$NEW/other
    install -d -o postgres -g postgres -m 700 "$node"
    as_postgres "$PG_BIN/initdb" -D "$node" -N -E UTF8 --locale C -A trust >"$WORLD/$NEW/initdb.log" 2>&1 || return 1
    cat >>"$node/postgresql.conf" <<-END
	listen_addresses = '${HOST_ADDRESS[$NEW]}'
	unix_socket_directories = '$node'
	shared_buffers = 16MB
	dynamic_shared_memory_type = mmap
	END
    echo 'host all all 10.77.0.0/16 trust' >>"$node/pg_hba.conf"
    world_spawn "$NEW" impostor -u postgres "$PG_BIN/postgres" -D "$node"
    wait_for "the other cluster answers" 20 as_postgres psql -h "$node" -U postgres -d postgres -XAtqc 'CREATE DATABASE payments' &&
        "$BUILD/failoverctl" setup-sql payments | as_postgres psql -h "$node" -U postgres -d payments -Xq -v ON_ERROR_STOP=1
}

row_E14_F9() {
    MOVED=yes
    host_kill "$NEW"
    check_soon "F9: the only synchronous standby is gone: nobody could take over, and it is said" 20 \
        status_shows "[$(db payments) | .candidate.node] == [null]"
    host_kill "$OLD" # the whole node: a crashed one alone would be started again in its place
    check_soon "F9: then the primary's node is lost as well: a person is told what holds it" 20 shows_alarm held.payments
    check "F9: and called" grep -q held.payments "$WORLD/calls.log"
    check_for "F9: nobody is fenced or promoted" 3 nothing_moved
    check "E14: another cluster answers at the standby's address" impostor_start
    check_soon "E14: it is told by its system id" 20 status_shows \
        "[$(db payments) | .instances[] | select(.node == \"$NEW\") | .cause] == [\"wrong system id\"]"
    check_for "E14: it is neither adopted nor promoted, and nobody is fenced for it" 3 nothing_moved
    host_kill "$NEW"
    rm -rf "${WORLD:?}/$NEW/other"
    pg_start "$NEW"
    guard_start "$NEW"
    check_soon "F9: the standby is back: the failover goes on by itself" 30 has_moved
    check "E14: with one new permit" one_new_permit
}

# As a machine is suspended: with all that is in it, its watchdog too.
row_B5_B7_F18() {
    local written
    MOVED=yes
    kill -STOP "$(host_pid watchdogs "watchdog-$OLD")"
    freeze "$OLD" 1
    check_soon "B5: a node that is suspended, with its watchdog, is failed over" 30 has_moved
    check "F18: its standby had stopped receiving from it before it was chosen" evidence_is '^replication .*stopped receiving'
    check_writes_go_on
    written=$(acked straight)
    freeze "$OLD" 0
    check_soon "B5: it wakes up: its guard finds its time over, and stops it" 10 runs_nothing "$OLD"
    check "B7: no commit that was under way was acknowledged after the thaw" test "$(acked straight)" -eq "$written"
    old_stays_down B7
    kill -CONT "$(host_pid watchdogs "watchdog-$OLD")"
}

# A process that outlives SIGKILL: version 1's freezer holds it, beside whatever cgroup it is in.
hold_process() { # PID | none
    local freezer try
    freezer=$(grep -E ' cgroup [^ ]*\bfreezer\b' /proc/mounts | cut -d' ' -f2)
    [[ -n $freezer ]] || return 1
    HELD=$freezer/$WORLD_ID-held
    trap 'let_go; world_close' EXIT
    mkdir -p "$HELD" && echo "$1" >"$HELD/cgroup.procs" && echo FROZEN >"$HELD/freezer.state" || return 1
    for ((try = 0; try < 100; try++)); do
        [[ $(<"$HELD/freezer.state") == FROZEN ]] && return
        sleep 0.01
    done
    return 1
}

let_go() {
    echo THAWED >"$HELD/freezer.state"
    trap world_close EXIT
    wait_for "the held one is gone" 5 rmdir "$HELD"
}

row_E2_E3() {
    local backend
    MOVED=yes HELD=''
    backend=$(pg_sql "$OLD" postgres "SELECT pid FROM pg_stat_activity WHERE application_name = 'payment' LIMIT 1")
    hold_process "$backend" || echo "    without a version 1 freezer no process here outlives SIGKILL: E3 is left to its scenario"
    pg_freeze "$OLD"
    check_soon "E2: a primary that stands still is failed over" 40 has_moved
    if [[ -n $HELD ]]; then
        check "E3: a backend outlives SIGKILL, and its guard does not call it stopped" eval \
            '[[ -d /proc/$backend ]] && ! report_shows "$OLD" ".state == \"stopped\"" >/dev/null'
        check "E3: what counts is other evidence" evidence_is '^(permit|replication) '
        let_go
    fi
    check_soon "E2: nothing of the old primary is left" 10 runs_nothing "$OLD"
    check "E2: with one new permit" one_new_permit
}

row_G13() {
    MOVED=yes
    kill -9 "$(host_pid watchdogs "watchdog-$OLD")" "$(host_pid "$OLD" guard)"
    sed -i '/watchdog:/d' "$WORLD/$OLD/local.yaml"
    guard_again "$OLD"
    check_soon "G13: without a watchdog the tier is shown as what it is" 15 status_shows "[$(db payments) | .tier] == [\"fenced\"]"
    host_cut "$OLD"
    check_soon "G13: cut off, its time is no evidence: a person is called" 40 shows_alarm fence.payments
    check_for "G13: for longer than its permit's whole time nobody is promoted" 8 is_standby "$NEW"
    host_kill "$OLD"
    check "G13: a person vouches for it" ctl confirm-fenced "$OLD" --yes --reason 'it is switched off'
    check_soon "G13: then it is failed over" 30 has_moved
    host_join "$OLD"
}

rows_run "$@"
