#!/bin/bash
# What is wrong with a primary and is no reason to replace it: nothing is fenced, no permit is touched, the words say
# what it is, and when it is over nobody complains any more.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
PRIMARY=${SHOP_HOME[payment]} STANDBY=${SHOP_AWAY[payment]}

nothing_moved() {
    etcd_value permits/payments | jq -e '.state == "granted" and .node == "pay-east" and .epoch.counter == 1' &&
        record_shows '.workflow == null'
}

# The cause that the leader reports of the payments' primary.
primary_cause() { # CAUSE
    status_shows "[$(db payments) | .instances[] | select(.node == \"$PRIMARY\") | .cause] == [\"$1\"]"
}

well_again() { # WHAT
    check_soon "after $1 all is well again, without an alarm" 30 is_well
    check "$1 moved nothing" nothing_moved
    check_soon "after $1 the load runs" 15 load_runs
}

# The probe's session is ended, so that it has to come in anew.
end_probe_sessions() {
    pg_sql "$PRIMARY" postgres "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'failoverd'"
}

sql() {
    pg_sql "$PRIMARY" payments "$1"
}

restart_primary() { # [COMMAND while it is down...]
    local pid
    pid=$(host_pid "$PRIMARY" postgres)
    kill -INT "$pid" # as pg_ctl -m fast
    wait_for "PostgreSQL has stopped" 10 not test -d "/proc/$pid" || return 1
    "${@:-true}"
    pg_start "$PRIMARY"
    wait_for "PostgreSQL takes connections" 10 pg_ready "$PRIMARY"
}

# Both controllers stand still meanwhile: however slow this machine is, what the command takes is no outage to them.
unseen() { # COMMAND...
    local host status
    for host in ops1 ops2; do
        kill -STOP "$(host_pid "$host" failoverd)"
    done
    "$@"
    status=$?
    for host in ops1 ops2; do
        kill -CONT "$(host_pid "$host" failoverd)"
    done
    return "$status"
}

children_of() { # PID
    cat "/proc/$1/task/$1/children" 2>/dev/null
}

# It crashes, is started at once, and its recovery stands still. What is left of the former life would forbid the start.
start_slowly() {
    local top pid all until
    top=$(host_pid "$PRIMARY" postgres)
    read -ra all <<<"$top $(children_of "$top")"
    pg_kill "$PRIMARY"
    for pid in "${all[@]}"; do
        while [[ -d /proc/$pid ]]; do :; done
    done
    pg_start "$PRIMARY"
    until=$(($(now_ms) + 5000))
    while (($(now_ms) < until)); do
        for pid in $(children_of "$WORLD_PID"); do
            if [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *startup* ]]; then
                kill -STOP "$pid" && return
            fi
        done
    done
    return 1
}

reject_probes() { # by the first line of pg_hba.conf
    sed -i '1i host all failoverd all reject' "$WORLD/$PRIMARY/data/pg_hba.conf" &&
        pg_sql "$PRIMARY" postgres 'SELECT pg_reload_conf()' && end_probe_sessions
}

admit_probes() {
    sed -i 1d "$WORLD/$PRIMARY/data/pg_hba.conf" && pg_sql "$PRIMARY" postgres 'SELECT pg_reload_conf()'
}

read_only() { # on | off
    pg_sql "$PRIMARY" postgres "ALTER SYSTEM SET default_transaction_read_only = $1" &&
        pg_sql "$PRIMARY" postgres 'SELECT pg_reload_conf()'
}

world_begin
check_soon "all is well before anything happens" 20 is_well

leader=$(leader_of)
follower=$(other_than "$leader")
cut_from "$leader" "${HOST_ADDRESS[$PRIMARY]}"
check_soon "C2: a leader cut off from the primary says who sees it up" 15 \
    shows_alarm held.payments "controller $follower sees $PRIMARY up"
check_soon "the load goes on meanwhile" 15 load_runs
check_for "C2: a leader cut off from the primary moves nothing" 3 nothing_moved
heal "$leader"
well_again "C2, the leader's cut,"
check "the leader is the same" status_shows ".leader.id == \"$leader\""

cut_from "$follower" "${HOST_ADDRESS[$PRIMARY]}"
check_soon "C2: a follower cut off from the primary says so" 15 status_of "$follower" \
    "[$(db payments) | .instances[] | select(.node == \"$PRIMARY\") | .opinion] == [\"down\"]"
check "the leader goes on seeing the primary up" status_of "$leader" \
    "[$(db payments) | .instances[] | select(.node == \"$PRIMARY\") | .opinion] == [\"up\"]"
check_for "C2: a follower cut off from the primary moves nothing" 3 nothing_moved
heal "$follower"
well_again "C2, the follower's cut,"

check "E1: the primary restarts" restart_primary
well_again "E1, a restart,"

sql 'ALTER ROLE failoverd CONNECTION LIMIT 0' && end_probe_sessions >/dev/null
check_soon "E7: too many connections is called that" 15 primary_cause "too many connections"
check_soon "E7: too many connections raise an alarm" 15 shows_alarm primary.payments "too many connections.*no failover"
check_soon "the load goes on meanwhile" 15 load_runs
sql 'ALTER ROLE failoverd CONNECTION LIMIT -1'
well_again "E7, too many connections,"

sql "ALTER ROLE failoverd PASSWORD 'another'" && end_probe_sessions >/dev/null
check_soon "E8: a changed password is called credentials" 15 primary_cause credentials
check_soon "E8: a changed password raises an alarm" 15 shows_alarm primary.payments "credentials.*no failover"
sql "ALTER ROLE failoverd PASSWORD '$(world_secret postgres)'"
well_again "E8, a changed password,"

check "E8: pg_hba.conf is edited" reject_probes
check_soon "E8: a rejection by pg_hba.conf is called credentials" 15 primary_cause credentials
check_soon "E8: a rejection by pg_hba.conf raises an alarm" 15 shows_alarm primary.payments "credentials.*no failover"
check "E8: pg_hba.conf is as it was" admit_probes
well_again "E8, an edited pg_hba.conf,"

check "E9: the primary crashes, is started again, and its recovery takes long" unseen start_slowly
check_soon "E9: it is called starting up" 15 primary_cause "starting up"
check_for "E9: while it starts up nothing is moved" 8 nothing_moved
check "E9: its recovery goes on" pg_signal "$PRIMARY" CONT startup
well_again "E9, a long recovery,"

check "E10: the primary becomes read-only" read_only on
check_soon "E10: read-only is called that" 15 primary_cause read-only
check_soon "E10: read-only raises an alarm" 15 shows_alarm primary.payments "read-only.*no failover"
check "E10: the primary takes writes again" read_only off
well_again "E10, read-only,"

sql 'BEGIN; LOCK TABLE failover.heartbeat IN ACCESS EXCLUSIVE MODE; SET LOCAL statement_timeout = 0; SELECT pg_sleep(60)' \
    >/dev/null 2>&1 &
locker=$!
check_soon "E11: a locked heartbeat table is called locked" 15 primary_cause locked
check_soon "E11: a locked heartbeat table raises an alarm" 15 shows_alarm primary.payments "locked.*no failover"
sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()" >/dev/null
wait "$locker"
well_again "E11, a locked heartbeat table,"

cut_from "$STANDBY" "${HOST_ADDRESS[$PRIMARY]}"
check_soon "E12: a standby's cut link is called a sync stall" 20 primary_cause "sync stall"
check_soon "E12: a sync stall raises an alarm" 15 shows_alarm primary.payments "sync stall.*no failover"
heal "$STANDBY"
well_again "E12, a sync stall,"

check "E13: the primary is restarted as a standby" unseen restart_primary touch "$WORLD/$PRIMARY/data/standby.signal"
check_soon "E13: that is called in recovery" 15 primary_cause "in recovery"
check_soon "E13: it raises an alarm" 15 shows_alarm primary.payments "in recovery.*no failover"
check_soon "E13: and a person is called" 10 grep -q primary.payments "$WORLD/calls.log"
check_for "E13: nothing is moved" 4 nothing_moved
check "E13: it is restarted as what it was" unseen restart_primary rm "$WORLD/$PRIMARY/data/standby.signal"
well_again "E13, a restart as a standby,"

history >"$TMP/history"
check "no permit was ever revoked" jq -e -s 'all(.[]; (.key | startswith("permits/") | not) or .value.state == "granted")' "$TMP/history"
check "no incident was opened" jq -e -s 'all(.[]; .key | startswith("incidents/") | not)' "$TMP/history"
check "nobody was switched off" test ! -e "$WORLD/power.log"
stop_load_and_audit
world_finish
finish
