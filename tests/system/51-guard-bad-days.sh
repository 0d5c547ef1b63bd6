#!/bin/bash
# failover-guard on bad days: PostgreSQL dies, hangs, is started by another hand; etcd is away; a promiser is silent; the
# guard or the whole node is frozen; the node reboots; records are old or gone. Real processes, permits by hand.
# shellcheck disable=SC2317
. "$(dirname "$0")/guard.bash"

starts_again() { # SENTENCE: under a new permit, from wherever it was held down
    grant db1
    check_soon "$1" 20 is_primary db1
    check_soon "... and says so" 5 report_shows db1 ".role == \"primary\" and .epoch.counter == $EPOCH"
}

stopped_by_itself() {
    report_shows db1 '.state == "stopped" and .crash != ""'
}

signal_all() { # HOST SIGNAL
    local pids
    mapfile -t pids < <(postgres_of "$1")
    kill "-$2" "${pids[@]}"
}

asked() { # HOST: questions that it was asked
    grep -c "$2" "$WORLD/$1/promiser.log"
}

since() {
    echo "    $1: $(($(now_ms) - begun)) ms"
}

guard_world
watchdog_start db1
touch "$WORLD/db1/data/standby.signal"
guard_start db1 watchdog=yes
check_soon "an instance at rest is reported, and left alone" 10 report_shows db1 '.mode == "observing" and .state == "stopped"'

# --- from rest -----------------------------------------------------------------------------------------------------

declare_roles db1 db2
begun=$(now_ms)
starts_again "a stopped instance starts as a primary under a permit of this boot"
since "from the grant to the report"
check "its directory carries standby.signal" is_at_rest db1
check "the watchdog is armed, and its period was read back as W" report_shows db1 ".watchdog == \"test\" and .armed and .watchdog_ms == $W_MS"
check "the database is set up" setup_database db1
check_soon "a renewal says that the watchdog is armed and that a write succeeded" 5 eval 'etcd_get renewals/payments | jq -e ".armed and .wrote"'
check "a renewal has less than 200 bytes" test "$(etcd_get renewals/payments | wc -c)" -lt 200

# --- E1: the postmaster is killed ----------------------------------------------------------------------------------

begun=$(now_ms)
kill -9 "$(postmaster db1)"
check_soon "E1: its death is reported at once, as proven" 5 stopped_by_itself
since "from the kill to the report in etcd"
check "E1: the report has the signal" report_shows db1 '.crash | test("signal 9")'
check "E1: no process is left" nothing_runs db1
check_soon "E1: it is held down, and asks for a permit" 5 report_shows db1 '(.held | test("by itself")) and .asks_start'
starts_again "E1: it starts again under a new permit"

put_config "    on_crash: restart
    restart_deadline: 10s"
check_soon "the policy is taken up" 5 log_shows db1 'seen|renew' # any step after the definition's event
epoch=$EPOCH first=$(postmaster db1)
begun=$(now_ms)
kill -9 "$first"
check_soon "E1: with on_crash: restart it is restarted under the permit that it holds" 15 eval 'is_primary db1 && (($(postmaster db1) != first))'
since "from the kill to the first answer"
check_soon "E1: under the same epoch" 5 report_shows db1 ".role == \"primary\" and .epoch.counter == $epoch and (.crash // \"\") == \"\""
put_config

# --- E2: PostgreSQL stands still -----------------------------------------------------------------------------------

signal_all db1 STOP
begun=$(now_ms)
revoke
check_soon "E2: a PostgreSQL that does not answer is killed within K and proven gone" 5 report_shows db1 ".stopped_for == $REVISION"
since "from the revocation to the report"
check "E2: no process is left" nothing_runs db1
starts_again "E2: it starts again under a new permit"

# --- E13: the disk is slow while it is told to follow nobody, and then to start --------------------------------------

conf=$WORLD/db1/data/failover.conf
strace -f -qq -o "$TMP/strace" -e trace=rename -P "$conf.new" -e inject=rename:delay_enter=2000000 -p "$(host_pid db1 guard)" &
tracer=$!
check_soon "E13: each rename of its configuration takes two seconds" 10 eval '[[ $(awk "/TracerPid/ { print \$2 }" "/proc/$(host_pid db1 guard)/status") == "$tracer" ]]'
kill -9 "$(postmaster db1)"
check_soon "E13: its end is reported" 10 stopped_by_itself
grant db2
revoke
check_soon "E13: another's permit is revoked: it writes that it follows nobody" 10 test -e "$conf.new"
starts_again "E13: told to start before that is written, it starts once both are"
kill "$tracer"
wait "$tracer"

# --- etcd is away --------------------------------------------------------------------------------------------------

load_begin db1
first=$(postmaster db1)
before=$(asked ops1 yes)
host_cut etcd1
sleep $((D_MS * 3 / 1000)) # as long as it is away, no more: it must go on for longer than D
check "D3: with etcd away for three times D the primary goes on by promise" is_primary db1
host_join etcd1
check "D3: both promisers were asked" test "$(asked ops1 yes)" -gt "$before"
check_soon "D3: and is renewed again when etcd is back" 10 log_shows db1 'renewals are accepted again'
load_end
check "D3: no transaction has failed, and it was not restarted" eval 'nothing_failed && (($(postmaster db1) == first))'

for answer in silent other; do
    promise ops2 "$answer"
    host_cut etcd1
    begun=$(now_ms)
    check_soon "one promiser that is $answer: it stops in time" $((D_MS / 1000 + 1)) nothing_runs db1
    check "the watchdog had no need to fire" not watchdog_fired db1
    host_join etcd1
    promise ops2 yes
    check_soon "it is reported when etcd is back, and asks for a permit" 10 report_shows db1 '.state == "stopped" and .asks_start'
    echo "    from the cut to the proof, by the guard's log: $(logged_after_ms db1 'R-G18' "$begun") ms (D is $D_MS ms)"
    starts_again "a lapse is final: it starts again under a new permit alone"
done

# --- D5, D20: records that are old or gone -------------------------------------------------------------------------

etcd_ctl etcd1 del /failover/shop/permits/payments >/dev/null
check_soon "D20: a permit's key that is gone is complained of" 5 report_shows db1 '.complaint | test("missing")'
sleep $((D_MS * 2 / 1000)) # for longer than D
check "D20: the primary goes on by promise" is_primary db1
EPOCH=$((EPOCH - 2))
grant db2
check_soon "D5: a permit of a lower epoch is refused, and complained of" 5 report_shows db1 '.complaint | test("lower epoch")'
check "D5: the primary goes on" is_primary db1
EPOCH=$((EPOCH + 2))
grant db1
check_soon "D5: a higher epoch is obeyed" 5 report_shows db1 ".epoch.counter == $EPOCH and (.complaint // \"\") == \"\""
check "D5: without a restart" is_primary db1

# --- B6: the guard stands still ------------------------------------------------------------------------------------

begun=$(now_ms)
kill -STOP "$(guard_pid db1)"
check_soon "B6: a guard that stands still feeds not: the watchdog kills the node's processes" 5 watchdog_fired db1
since "from the freeze to the fire (W is $W_MS ms)"
check_soon "B6: no process of the instance is left" 2 nothing_runs db1

# --- G6: the node reboots ------------------------------------------------------------------------------------------

reboot db1
watchdog_start db1
guard_again db1
check_soon "G6: after a reboot it does not start under the permit of the last boot" 5 report_shows db1 '.state == "stopped" and .asks_start and (.held | test("this boot"))'
check "G6: its directory is at rest" is_at_rest db1
rm "$WORLD/db1/data/standby.signal"
rm -f "$WORLD/db1/socket"/.s.PGSQL.* # the dead one's number may be another process's by now
pg_start db1
check_soon "G6: one that another hand starts as a primary is stopped" 10 log_shows db1 'R-G33'
check_soon "G6: until nothing runs" 5 nothing_runs db1
check_soon "G6: and is at rest again" 5 is_at_rest db1
starts_again "G6: it starts under a permit of this boot"

# --- B7: the whole node stands still -------------------------------------------------------------------------------

freeze() { # 1 | 0
    if [[ -e $WORLD_CGROUP/db1/cgroup.freeze ]]; then
        echo "$1" >"$WORLD_CGROUP/db1/cgroup.freeze"
    else
        ((${1})) && echo FROZEN >"$WORLD_CGROUP/db1/freezer.state" || echo THAWED >"$WORLD_CGROUP/db1/freezer.state"
    fi
}
freeze 1
check_soon "B7: a node that stands still is killed by its watchdog" 5 watchdog_fired db1
freeze 0
check_soon "B7: nothing of it runs after the thaw" 2 nothing_runs db1
reboot db1
watchdog_start db1
guard_again db1
starts_again "B7: it starts under a permit of the next boot"

# --- a request that was given up arrives later ---------------------------------------------------------------------

through_proxy() { # its guard reaches etcd through a proxy
    echo pass >"$WORLD/db1/weather"
    world_spawn db1 weather "$BUILD/tests/fault_proxy" 127.0.0.1:2379 "${HOST_ADDRESS[etcd1]}:2379" "$WORLD/db1/weather"
    sed -i "s|^etcd: .*|etcd: { endpoints: [\"http://127.0.0.1:2379\"] }|" "$WORLD/db1/local.yaml"
    guard_stop db1
    guard_again db1
}

said() { # LINE [TIMES]: by the proxy
    (($(grep -c "^$1" "$WORLD/db1/weather.log") >= ${2:-1}))
}

all_answered() {
    said 'late answered' "$(grep -c '^late kept' "$WORLD/db1/weather.log")"
}

through_proxy
check_soon "a guard whose etcd is behind a proxy takes its instance over" 10 report_shows db1 '.role == "primary" and .armed'
echo late 3000 >"$WORLD/db1/weather"
check_soon "the weather changes" 5 said 'late 3000'
declare_roles db1 db2 # a change, to be reported: it stays on its way
check_soon "a report is given up" 5 log_shows db1 'a report has no answer'
echo pass >"$WORLD/db1/weather"
check_soon "and the weather again" 5 said pass 2
kill -9 "$(postmaster db1)"
check_soon "A6: what comes after it is reported" 5 stopped_by_itself
check_soon "A6: what was given up before arrives now" 10 all_answered
check "A6: a late report does not stand over a newer one" stopped_by_itself
starts_again "A6: it starts again under a new permit"

# --- the standby's side --------------------------------------------------------------------------------------------

copy_standby() {
    rm -rf "${WORLD:?}/db2/data"
    PGPASSWORD=$(world_secret replicator) host_exec db2 setpriv --reuid=postgres --regid=postgres --init-groups -- \
        "$PG_BIN/pg_basebackup" -h "${HOST_ADDRESS[db1]}" -U replicator -D "$WORLD/db2/data" -c fast || return 1
    sed -i "s|^listen_addresses.*|listen_addresses = '${HOST_ADDRESS[db2]}'|; s|/db1/|/db2/|g" "$WORLD/db2/data/postgresql.conf"
}
check "the standby is made by pg_basebackup" copy_standby
guard_start db2
check_soon "a standby at rest is started by its guard, as declared" 15 is_standby db2
check_soon "and follows its upstream" 15 streams_from db2 db1
as_postgres "$PG_BIN/pg_ctl" -D "$WORLD/db2/data" promote -W >/dev/null
check_soon "I9: a standby that a hand promotes is stopped" 10 nothing_runs db2
check_soon "I9: and held down, for it has left the recorded history" 5 report_shows db2 '.state == "stopped" and .held != ""'
check "I9: the primary goes on" is_primary db1
declare_roles db1 db2 db2
check_soon "a burnt instance is held down, and says what it needs" 5 report_shows db2 '.held | test("rebuilt")'
guard_stop db2
check "the standby is copied anew" copy_standby
guard_again db2
check_soon "a burnt one is not started, whatever its directory holds" 5 report_shows db2 '.state == "stopped" and (.held | test("rebuilt"))'
declare_roles db1 db2
check_soon "and is started once the record says that it was rebuilt" 15 streams_from db2 db1

# --- F6: a candidate dies in its promotion -------------------------------------------------------------------------

startup_of() { # HOST: the process that replays WAL
    ps -o pid=,args= -p "$(postgres_of "$1" | paste -sd,)" | awk '/startup/ { print $1 }'
}

revoke
check_soon "the primary's permit is revoked, and it stops" 5 report_shows db1 ".stopped_for == $REVISION"
kill -STOP "$(startup_of db2)" # it cannot complete
grant db2
check_soon "F6: its guard asks it to promote" 10 log_shows db2 'R-G52'
kill -9 "$(postmaster db2)"
check_soon "F6: one that dies in its promotion may bear a history of its own" 5 report_shows db2 '.state == "stopped" and (.held | test("did not complete"))'
revoke
check_soon "F6: it is proven stopped" 5 report_shows db2 ".stopped_for == $REVISION"
starts_again "F6: the one before is granted a permit, and starts again"
declare_roles db1 db2
check_soon "F6: it is declared a standby" 5 report_shows db2 ".obeyed_revision == $REVISION"
sleep 3 # for longer than one that has died waits before it is started again
check "F6: and follows nobody, for another history may lie in its directory" nothing_runs db2
check "F6: it says what it needs" report_shows db2 '.held | test("rebuilt")'
guard_stop db2
check "the standby is copied anew" copy_standby
guard_again db2
check_soon "F6: a new copy is started, and follows" 15 streams_from db2 db1

guard_world_finish
finish
