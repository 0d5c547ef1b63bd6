#!/bin/bash
# What commits wait for, under guards: the names stand before the first commit, a change is proven before it is reported,
# standbys that are gone stop commits and nothing else, and slots follow the declared roles. Real processes, permits by hand.
# shellcheck disable=SC2317
DATA=(db1 db2 db3)
. "$(dirname "$0")/guard.bash"

commits() { # HOST: a commit is acknowledged
    timeout -s KILL 3 setpriv --reuid=postgres --regid=postgres --init-groups -- psql -h "$WORLD/$1/socket" -U postgres \
        -d postgres -XAtq -v ON_ERROR_STOP=1 -c "SELECT pg_logical_emit_message(true, 'test', '')" 2>/dev/null
}

proven() { # REVISION [NAMES]: reported for this permit, and these are in force
    report_shows db1 ".sync_for == $1" && { [[ -z ${2:-} ]] || [[ $(shown db1) == "$2" ]]; }
}

shown() { # HOST
    pg_sql "$1" postgres "SHOW synchronous_standby_names"
}

renewed_since() { # REVISION
    (($(etcd_ctl etcd1 get /failover/shop/renewals/payments -w json | jq '.kvs[0].mod_revision') > $1))
}

revision_now() {
    etcd_ctl etcd1 get / -w json | jq .header.revision
}

# Alive and well, as its guard sees it, for longer than the permit lasts without a renewal.
lives_on() { # SENTENCE POSTMASTER
    local revision
    sleep $((D_MS * 3 / 2000)) # for longer than D: what is judged dead would be stopped by then
    revision=$(revision_now)
    check "$1: it runs, and was not restarted" test "$(postmaster db1)" = "$2"
    check "$1: it is reported as a running primary" report_shows db1 '.state == "running" and .role == "primary"'
    check_soon "$1: and is renewed" 5 renewed_since "$revision"
}

walsender() { # STANDBY: its walsender's process on db1
    pg_sql db1 postgres "SELECT pid FROM pg_stat_replication WHERE application_name = '$1' AND state = 'streaming'"
}

slots() { # those of the guard's making, and who uses them
    pg_sql db1 postgres "SELECT string_agg(slot_name || CASE WHEN active THEN '+' ELSE '' END, ' ' ORDER BY slot_name)
        FROM pg_replication_slots WHERE slot_name LIKE 'failover%'"
}

slots_are() {
    [[ $(slots) == "$1" ]]
}

checkpoints() {
    pg_sql db1 postgres "SELECT checkpoints_req FROM pg_stat_bgwriter"
}

guard_world
FIRST=$(entry first 1 db2 db3) ANY=$(entry any 1 db2 db3) BOTH=$(entry any 2 db2 db3)
ONE2=$(entry first 1 db2) ONE3=$(entry first 1 db3) NONE=$(entry none)

# --- from the start --------------------------------------------------------------------------------------------------

touch "$WORLD/db1/data/standby.signal"
guard_start db1
SYNC="[$FIRST]"
declare_roles db1 db2 '' db3
grant db1
first_permit=$REVISION
check_soon "a primary starts under a permit with a sync entry" 20 is_primary db1
check "the names stand before it starts" test "$(shown db1)" = 'FIRST 1 ("db2", "db3")'
check "its first commit waits for a standby that never came" not commits db1
first=$(postmaster db1)
lives_on "E12: while commits wait" "$first"
check "nothing is proven while no standby confirms" report_shows db1 '(.sync_for // 0) == 0'

for host in db2 db3; do # their copies are a primary's that was shut down: a hand starts them once as standbys
    pg_start "$host"
    guard_start "$host"
done
check_soon "the first standby comes" 20 streams_from db2 db1
check_soon "the second standby comes" 20 streams_from db3 db1
check "commits go on" commits db1
check "the database is set up" setup_database db1
check_soon "what commits wait for is proven, for the permit that says it" 15 proven "$first_permit"
check_soon "the report shows the names in force" 5 report_shows db1 '.sync_names == "FIRST 1 (\"db2\", \"db3\")"'
check_soon "F17: each declared standby has a slot, and uses it" 20 slots_are 'failover_db2+ failover_db3+'
check "F17: what a slot holds back is limited" test "$(pg_sql db1 postgres 'SHOW max_slot_wal_keep_size')" = 16GB
check "a standby's file names nobody that there is" test "$(shown db2)" = 'FIRST 1 ("failover_guard_nobody")'

# --- changes, under load -----------------------------------------------------------------------------------------------

load_begin db1
list_sync "$FIRST" "$ANY"
check_soon "F11: a change from FIRST to ANY is proven" 10 proven "$REVISION" 'ANY 1 ("db2", "db3")'
list_sync "$ANY"
check_soon "F11: once proven it holds for the permit that lists it alone" 5 proven "$REVISION"
list_sync "$ANY" "$BOTH"
check_soon "F11: one copy more is proven" 10 proven "$REVISION" 'ANY 2 ("db2", "db3")'
list_sync "$ANY" "$BOTH" "$ONE2"
check_soon "F11: and two less" 10 proven "$REVISION" 'FIRST 1 ("db2")'
check "F11: entries that could mix are changed by way of nobody" \
    grep -q 'changed to "FIRST 1 ("failover_guard_nobody")"' "$WORLD/db1/state/postgres-payments.log"
load_end
check "F11: no transaction has failed" nothing_failed

# --- a standby is gone -------------------------------------------------------------------------------------------------

list_sync "$ONE2"
check_soon "the entry stands alone" 5 proven "$REVISION"
host_cut db2
check "E12: commits wait for a standby that is gone" not commits db1
lives_on "E12: with its standby gone" "$first"
list_sync "$ONE2" "$BOTH"
revision=$REVISION
check_soon "F11: the guard enforces what cannot be proven" 5 eval '[[ $(shown db1) == "ANY 2 (\"db2\", \"db3\")" ]]'
check "E12: commits wait for it" not commits db1
lives_on "E12: with one copy too few" "$first"
check "F11: and nothing is proven" not report_shows db1 ".sync_for == $revision"
list_sync "$ONE2" "$BOTH" "$NONE"
check_soon "E12: with nobody declared commits go on" 10 commits db1
check_soon "E12: which is proven as well" 10 proven "$REVISION" ''
list_sync "$NONE"
host_join db2
check_soon "the standby is back" 20 streams_from db2 db1

# --- from nobody to somebody -------------------------------------------------------------------------------------------

before=$(checkpoints)
list_sync "$NONE" "$FIRST"
check_soon "F11: from nobody to somebody is proven" 15 proven "$REVISION" 'FIRST 1 ("db2", "db3")'
check "F11: behind two checkpoints, since the checkpointer must have taken it up" test $(($(checkpoints) - before)) -ge 2
list_sync "$FIRST"
check_soon "F11: and stands alone" 5 proven "$REVISION"

# --- the guard is killed in the middle -----------------------------------------------------------------------------------

host_cut db3
list_sync "$FIRST" "$ONE3"
revision=$REVISION
check_soon "G12: a change to a standby that is cut off is begun" 5 eval '[[ $(shown db1) == "FIRST 1 (\"db3\")" ]]'
kill -9 "$(guard_pid db1)"
guard_again db1
check_soon "G12: a guard that was killed in the middle takes over" 5 report_shows db1 '.role == "primary" and (.sync_for // 0) == 0'
lives_on "G12: with the change unproven" "$first"
before=$(checkpoints)
host_join db3
check_soon "G12: and proves it when the standby is back" 30 proven "$revision" 'FIRST 1 ("db3")'
check "G12: without a checkpoint, since commits were known to wait" test "$(checkpoints)" = "$before"

# A walsender that does not take its setting up: nobody is named for half a second, no longer.
list_sync "$ONE3"
check_soon "the entry stands alone" 5 proven "$REVISION"
stopped=$(walsender db2)
list_sync "$ONE3" "$FIRST"
check_soon "both are named" 10 proven "$REVISION"
kill -STOP "$stopped"
list_sync "$ONE3" "$FIRST" "$BOTH"
revision=$REVISION
check_soon "F11: nobody is named first" 5 grep -c 'failover_guard_nobody' "$WORLD/db1/data/failover.conf"
check_soon "F11: a walsender keeps its place: the entry before comes back" 5 \
    eval '[[ $(shown db1) == "FIRST 1 (\"db2\", \"db3\")" ]] && not grep -q nobody "$WORLD/db1/data/failover.conf"'
check "F11: and nothing is proven" not report_shows db1 ".sync_for == $revision"
kill -CONT "$stopped"
check_soon "F11: once it goes on the change is proven" 25 proven "$revision" 'ANY 2 ("db2", "db3")'

# --- another hand --------------------------------------------------------------------------------------------------------

pg_sql db1 postgres "ALTER SYSTEM SET synchronous_standby_names = 'db2'" && pg_sql db1 postgres 'SELECT pg_reload_conf()' >/dev/null
check_soon "what another place says is complained of, with the place" 10 report_shows db1 '.complaint | test("postgresql.auto.conf")'
check "F11: and ends the proof" report_shows db1 '(.sync_for // 0) == 0'
sleep 3 # for as long as it would be fought with
check "and is left as it is" test "$(shown db1)" = db2
pg_sql db1 postgres 'ALTER SYSTEM RESET synchronous_standby_names' && pg_sql db1 postgres 'SELECT pg_reload_conf()' >/dev/null
check_soon "taken away, ours is proven again" 15 proven "$revision" 'ANY 2 ("db2", "db3")'
check_soon "and the complaint is over" 5 report_shows db1 '(.complaint // "") == ""'

# --- slots ---------------------------------------------------------------------------------------------------------------

pg_sql db1 postgres "SELECT pg_create_physical_replication_slot('mine')" >/dev/null
list_sync "$BOTH" "$ONE2"
check_soon "one standby is waited for" 20 proven "$REVISION" 'FIRST 1 ("db2")'
declare_roles db1 db2
guard_stop db3
as_postgres "$PG_BIN/pg_ctl" -D "$WORLD/db3/data" promote >/dev/null
check_soon "I9: a standby whose guard is gone is promoted by hand" 10 is_primary db3
check "I9: and acknowledges nothing" not commits db3
as_postgres "$PG_BIN/pg_ctl" -D "$WORLD/db3/data" stop -m immediate >/dev/null
check_soon "F17: the slot of one that is declared no more is dropped" 25 slots_are 'failover_db2+'
check "F17: an operator's is not" test "$(pg_sql db1 postgres "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'mine'")" = 1
pg_sql db1 postgres "SELECT pg_drop_replication_slot('mine')" >/dev/null

# --- a promotion -----------------------------------------------------------------------------------------------------------

world_spawn outside hammer -u postgres bash -c "while :; do
    psql -h '$WORLD/db2/socket' -U postgres -d postgres -XAtq -c \"INSERT INTO test_writes DEFAULT VALUES RETURNING 'acknowledged'\"; done"
life=$(report_of db2 .life)
revoke
check_soon "the primary is gone" 5 report_shows db1 ".stopped_for == $REVISION"
check_soon "the standby is cut" 5 report_shows db2 ".cut_for == $REVISION"
SYNC="[$(entry first 1 db1)]"
begun=$(now_ms)
grant db2 "$life"
check_soon "the standby is promoted under a permit with a sync entry" 10 is_primary db2
echo "    from the grant to the promotion: at most $(($(now_ms) - begun)) ms"
check "with the names in place" test "$(shown db2)" = 'FIRST 1 ("db1")'
sleep 2 # as long as its clients may try
check "S3: not one of its commits is acknowledged without the standby that they wait for" not grep -q acknowledged "$WORLD/outside/hammer.log"
check_soon "and it is reported as a primary" 5 report_shows db2 '.role == "primary" and .state == "running" and .timeline == 2'
list_sync "$(entry first 1 db1)" "$NONE"
check_soon "with nobody declared its commits go on" 10 grep -q acknowledged "$WORLD/outside/hammer.log"
check_soon "which is proven" 5 report_shows db2 ".sync_for == $REVISION"

guard_world_finish
finish
