#!/bin/bash
# failover-guard takes a running pair over, keeps its primary under the permit, stops it at the revocation, and
# promotes the standby under the next one: real PostgreSQL, real etcd, permits written as a leader would.
# shellcheck disable=SC2317
. "$(dirname "$0")/guard.bash"

guards_say() { # FILTER: of both
    report_shows db1 "$1" && report_shows db2 "$1"
}

renewed_since() { # REVISION
    (($(etcd_ctl etcd1 get /failover/shop/renewals/payments -w json | jq '.kvs[0].mod_revision') > $1))
}

in_cgroup() { # HOST: all of its PostgreSQL
    local pid
    for pid in $(postgres_of "$1"); do
        grep -q "/postgres-payments$" "/proc/$pid/cgroup" || return 1
    done
}

guard_world
pg_start db1
pg_start db2
wait_for "the primary is up" 20 pg_ready db1 || give_up "the primary is up"
check "the database is set up" setup_database db1
check_soon "the standby streams" 20 streams_from db2 db1

# --- a boot id that no record may hold ---------------------------------------------------------------------------

echo 'Boot 1+' >"$WORLD/db1/boot"
guard_start db1
check_soon "a guard does not start on a boot id that would make its reports unreadable" 10 is_gone "$(guard_pid db1)"
check "and says which file holds it" log_shows db1 "$WORLD/db1/boot: holds no boot id"
rm "$WORLD/db1/boot"

# --- before the first permit it only observes ------------------------------------------------------------------

rm -f "$WORLD/db1/data/standby.signal"
guard_start db1
guard_start db2
check_soon "both guards report what they see, and only observe" 10 guards_say '.mode == "observing" and .state == "running"'
check "nothing was put into a cgroup or a directory" not is_at_rest db1
first=$(postmaster db1)

# --- adoption without a restart ----------------------------------------------------------------------------------

load_begin db1
declare_roles db1 db2
grant db1
check_soon "the first permit makes both guard" 10 guards_say '.mode == "guarding"'
check_soon "the primary is renewed" 10 renewed_since "$REVISION"
check "and was not restarted" test "$(postmaster db1)" = "$first"
check_soon "its processes are in a cgroup of their own" 5 in_cgroup db1
check_soon "its directory carries standby.signal" 5 is_at_rest db1
check_soon "the report says that it writes" 5 report_shows db1 '.role == "primary" and .wrote and .timeline == 1 and .epoch.counter == 1'
check_soon "the standby follows what is declared" 10 report_shows db2 '.role == "standby" and .upstream == "db1" and .receiving'
check_soon "by the configuration that the guard writes" 5 grep -q 'application_name=db2' "$WORLD/db2/data/failover.conf"

# --- G12: the guard is killed and returns ------------------------------------------------------------------------

kill -9 "$(guard_pid db1)"
guard_again db1
check_soon "G12: a guard that was killed takes the running primary over" 5 log_shows db1 'R-G31.*'
check_soon "G12: and renews its permit" 5 renewed_since "$(etcd_ctl etcd1 get / -w json | jq .header.revision)"
check "G12: the primary was not restarted" test "$(postmaster db1)" = "$first"
load_end
check "G12: no transaction has failed" nothing_failed

# --- a revocation ------------------------------------------------------------------------------------------------

begun=$(now_ms)
revoke
check_soon "C1: the report proves that nothing is left, and names the revocation" 5 report_shows db1 ".state == \"stopped\" and .stopped_for == $REVISION"
echo "    from the revocation to the report: at most $(($(now_ms) - begun)) ms (K is $K_MS ms)"
check "C1: no process is left" nothing_runs db1
check "its directory is at rest" is_at_rest db1
check_soon "the standby was cut, and says for which revocation" 5 report_shows db2 ".cut_for == $REVISION and (.receiving | not)"
check "and its configuration on disk names nobody" grep -q "primary_conninfo = ''" "$WORLD/db2/data/failover.conf"
check "D20: the revoked epoch is not granted again" eval 'put permits/payments "$(etcd_get permits/payments | jq -c ".state = \"granted\"" | sed "s/\"system_id\":[0-9]*/\"system_id\":$(system_id)/")"'
sleep 2 # as long as a start takes
check "D20: it stays down" report_shows db1 '.state == "stopped" and .held != ""'
check "D20: nothing of it runs" nothing_runs db1

# --- the standby is promoted in the life that the permit names --------------------------------------------------

life=$(report_of db2 .life)
grant db2 "$((life - 1))"
check_soon "a permit for another life of it is seen" 5 report_shows db2 ".epoch.counter == $EPOCH"
check "and it is not promoted" is_standby db2
begun=$(now_ms)
grant db2 "$life"
declare_roles db2 db1
check_soon "the standby is promoted under its permit" 10 is_primary db2
check_soon "and says so: a primary that has written, on the next timeline" 5 report_shows db2 '.role == "primary" and .wrote and .timeline == 2'
echo "    from the grant to the report: at most $(($(now_ms) - begun)) ms; $(grep -o 'promoted: .*ms from' "$WORLD/db2/guard.log" | tail -n 1)"
check "its directory carries standby.signal again" is_at_rest db2
check_soon "E15: the old primary is held down until it is rejoined" 5 report_shows db1 '.state == "stopped" and (.held | test("rejoin"))'
check "E15: and was not started" nothing_runs db1

guard_world_finish
finish
