#!/bin/bash
# The link between primary and standby is cut, in one direction and then in the other: commits that wait for the standby go on
# soon after it, since both ends have given the connection up by then and make it anew; and a short cut costs no connection
# (failures.md C7). Real processes, permits by hand.
# shellcheck disable=SC2317
. "$(dirname "$0")/guard.bash"

# PostgreSQL's own limits for a silent peer (wal_sender_timeout, wal_receiver_timeout) are a minute; TCP's is a quarter of an
# hour. What has ended within this time was ended by what the guard wrote.
GIVEN_UP_S=25

commits() { # a commit is acknowledged
    timeout -s KILL 3 setpriv --reuid=postgres --regid=postgres --init-groups -- psql -h "$WORLD/db1/socket" -U postgres \
        -d postgres -XAtq -v ON_ERROR_STOP=1 -c "SELECT pg_logical_emit_message(true, 'test', '')" 2>/dev/null
}

proven() {
    report_shows db1 ".sync_for == $1"
}

# The session that the standby streams over: its walsender, and when it began.
walsender() {
    pg_sql db1 postgres "SELECT pid || ' ' || backend_start FROM pg_stat_replication WHERE application_name = 'db2'"
}

receives() {
    [[ $(pg_sql db2 postgres "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == 1 ]]
}

receives_not() {
    [[ $(pg_sql db2 postgres "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == 0 ]]
}

walsender_is_gone() { # its "PID BEGIN"
    local seen
    seen=$(walsender) && [[ $seen != *"$1"* ]]
}

streams_anew() { # since the "PID BEGIN" of before
    local seen
    seen=$(walsender) && [[ -n $seen && $seen != *"$1"* ]] && receives
}

cut_way() { # FROM TO: what the one sends to the other is dropped
    host_exec "$1" nft -f - <<-END
	table inet one_way {
	    chain out { type filter hook output priority 0; ip daddr ${HOST_ADDRESS[$2]} drop; }
	}
	END
}

heal_way() { # FROM
    host_exec "$1" nft delete table inet one_way
}

write_unwaited() { # something to send, that nobody waits for
    pg_sql db1 postgres "SET synchronous_commit = local; SELECT pg_logical_emit_message(true, 'test', '')" >/dev/null
}

one_way() { # FROM TO
    local before
    before=$(walsender)
    cut_way "$1" "$2"
    check "C7: cut from $1 to $2: commits wait" not commits
    check_soon "C7: the primary's end is given up while the cut lasts" "$GIVEN_UP_S" walsender_is_gone "$before"
    check_soon "C7: and the standby's end" "$GIVEN_UP_S" receives_not
    heal_way "$1"
    check_soon "C7: the cut from $1 to $2 is over: the standby streams, over a connection of its own" 15 streams_anew "$before"
    check_soon "C7: and commits go on" 15 commits
}

# A cut that took longer, for whatever reason of this machine, says nothing, and is tried again.
short_cut() { # FROM TO: less than a second; false: none was that short
    local begun try
    for try in 1 2 3 4 5; do
        walsender >"$TMP/before"
        begun=$(now_ms)
        cut_way "$1" "$2"
        write_unwaited
        sleep 0.3
        heal_way "$1"
        (($(now_ms) - begun < 1000)) && return
        echo "    try $try: the cut lasted for $(($(now_ms) - begun)) ms"
        wait_for "the standby streams" 30 receives || return 1
    done
    return 1
}

guard_world
touch "$WORLD/db1/data/standby.signal"
guard_start db1
SYNC="[$(entry first 1 db2)]"
declare_roles db1 db2
grant db1
check_soon "a primary starts under a permit with a sync entry" 20 is_primary db1
pg_start db2
guard_start db2
check_soon "the standby streams" 20 receives
check_soon "its file has the guard's own connection" 20 grep -q "primary_conninfo = .*tcp_user_timeout=2000" "$WORLD/db2/data/failover.conf"
check "the database is set up" setup_database db1
check_soon "what commits wait for is proven" 20 proven "$REVISION"
check_soon "the standby uses the connection that the guard wrote" 20 eval \
    '[[ $(pg_sql db2 postgres "SELECT conninfo LIKE '"'%tcp_user_timeout=2000%'"' FROM pg_stat_wal_receiver") == t ]]'
first=$(postmaster db1)

for way in "db1 db2" "db2 db1"; do
    # shellcheck disable=SC2086 # its two words
    check "a cut of less than a second, from ${way% *} to ${way#* }" short_cut $way
    check_soon "C7: commits go on after it" 10 commits
    check "C7: over the same connection" eval '[[ -s $TMP/before && $(walsender) == "$(<"$TMP/before")" ]]'
done
one_way db1 db2
one_way db2 db1
check "C7: the primary was not restarted" test "$(postmaster db1)" = "$first"

guard_world_finish
finish
