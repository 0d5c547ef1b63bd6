#!/bin/bash
# Two standbys, with guards: equal ones, one that dies in its promotion, one that forked, one that nobody has heard, and
# what may be lost without synchronous ones (failures.md F5, F7, F8, F10, F12, F13).
# shellcheck disable=SC2034,SC2317
FURTHER=pay-north
. "$(dirname "$0")/rows.bash"
ROWS=("F5" "F8" "F7" "F10" "F12" "F13")

row_settings() { # ROWS
    DURABILITY=sync ENTRY='any 2' NEW=pay-west
    case $1 in
    F8 | F10) ENTRY='any 1' NEW=$FURTHER ;;
    F12) DURABILITY=async MAX_LAG=1MiB ;;
    F13) DURABILITY=async MAX_LAG=16MiB ;;
    esac
}

candidate_is() { # HOST NODE, by what that controller says
    status_of "$1" "[$(db payments) | .candidate.node] == [\"$2\"]"
}

wal_end() { # NODE
    pg_sql "$1" postgres "SELECT greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
}

# What was granted and revoked since the row began, in this order and nothing else.
permits_were() { # "STATE COUNTER NODE"...
    local seen
    seen=$(history | jq -r 'select(.key == "permits/payments" and .value != null) | .value |
        "\(.state) \(.epoch.counter) \(.node)"' | uniq | awk -v first="granted $GRANTED $OLD" '
        $0 == first { all = ""; next } { all = all $0 "\n" } END { printf "%s", all }')
    printf '%s\n' "$seen"
    [[ $seen == "$(printf '%s\n' "$@")" ]]
}

# A promotion of it takes as long as it takes. Stopped while it replays, it would not be at rest, and the other chosen.
stop_its_startup() { # NODE
    pg_signal "$1" STOP startup
    [[ $(pg_sql "$1" postgres "SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'") == RecoveryWalStream ]] && return
    pg_signal "$1" CONT startup
    return 1
}

# The other one's answer comes only when this one is chosen: with `any 2` one of them is enough, whichever is heard first.
row_F5() {
    MOVED=yes
    check_soon "F5: its startup process stands still, waiting for WAL" 10 stop_its_startup "$FURTHER"
    pg_signal "$NEW" STOP failoverd
    pg_kill "$OLD"
    check_soon "F5: it is asked to promote, and has no outcome" 20 phase_is promote
    pg_signal "$NEW" CONT failoverd
    check "F5: it is the one that was chosen" record_shows "[.workflow.moves[0].candidate] == [\"$FURTHER\"]"
    pg_kill "$FURTHER"
    check_soon "F5: it dies: the other one is promoted" 30 has_moved
    check "F5: not before the permit of the one that died was revoked" permits_were "revoked $GRANTED $OLD" \
        "granted $((GRANTED + 1)) $FURTHER" "revoked $((GRANTED + 1)) $FURTHER" "granted $((GRANTED + 2)) $NEW"
    check "F5: it is recorded as burnt" record_shows "[.databases[0].burnt] == [[\"$FURTHER\"]]"
    check_soon "F5: and held down, until it is rebuilt" 10 report_shows "$FURTHER" '.state == "stopped" and (.held | test("rebuilt"))'
    check "F5: nothing of it runs" runs_nothing "$FURTHER"
}

# With `any 1` both must be heard before either is chosen.
row_F8() {
    local other=pay-west
    MOVED=yes
    check_soon "F8: of two standbys that have the same WAL both controllers name the one of higher priority" 15 \
        eval 'candidate_is ops1 "$NEW" && candidate_is ops2 "$NEW"'
    check_soon "F8: its startup process stands still, waiting for WAL" 10 stop_its_startup "$NEW"
    pg_kill "$OLD"
    check_soon "F8: it is asked to promote, and has no outcome" 20 phase_is promote
    check "F8: it is the one that was chosen" record_shows "[.workflow.moves[0].candidate] == [\"$NEW\"]"
    check "F8: and both have the same WAL" eval '[[ $(wal_end "$NEW") == "$(wal_end "$other")" ]]'
    pg_signal "$NEW" CONT startup
    check_soon "F8: it is promoted" 30 has_moved
    check "F8: and nobody else" permits_were "revoked $GRANTED $OLD" "granted $((GRANTED + 1)) $NEW"
}

# Alone, promoted by hand and written to; then a standby as before, with a higher timeline than anybody's.
fork_aside() { # NODE
    local data=$WORLD/$1/data
    host_kill "$1" && host_cut "$1" && pg_start "$1" && wait_for "it is up" 20 is_standby "$1" || return 1
    as_postgres "$PG_BIN/pg_ctl" -D "$data" promote -w -t 20 >/dev/null || return 1
    pg_sql "$1" postgres "SELECT pg_logical_emit_message(false, 'test', repeat('x', 100000)), pg_switch_wal()" || return 1
    as_postgres "$PG_BIN/pg_ctl" -D "$data" stop -m fast -w -t 20 >/dev/null || return 1
    as_postgres touch "$data/standby.signal" && pg_start "$1" && wait_for "it is up again" 20 is_standby "$1" || return 1
    host_join "$1" && guard_start "$1"
}


row_F7() {
    MOVED=yes
    check "F7: a standby is promoted aside, and comes back as one" fork_aside "$FURTHER"
    check_soon "F7: its guard has it" 15 report_shows "$FURTHER" '.state == "running" and .role == "standby"'
    check_soon "F7: though it has the most WAL, it is no candidate: it is on a timeline of its own" 15 status_shows "[$(db payments) |
        .candidate.verdicts[] | select(.node == \"$FURTHER\" and (.passes | not)) | .reason | test(\"on timeline 2\")] == [true]"
    check_soon "F7: both controllers name the other one" 15 eval 'candidate_is ops1 "$NEW" && candidate_is ops2 "$NEW"'
    pg_kill "$OLD"
    check_soon "F7: the one with the recorded history is promoted" 30 has_moved
    check "F7: and nobody else" permits_were "revoked $GRANTED $OLD" "granted $((GRANTED + 1)) $NEW"
    check "F7: the forked one is not followed" status_shows \
        "[$(db payments) | .instances[] | select(.node == \"$FURTHER\") | .role] != [\"primary\"]"
}

# The only standby that has everything is away when the primary dies.
row_F10() {
    local other=pay-west
    MOVED=yes
    cut_off "$other" "$OLD"
    check_writes_go_on
    check_soon "F10: one standby is behind, and the other one confirms" 10 eval \
        '[[ $(pg_sql "$OLD" postgres "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '"'$(wal_end "$other")'"') > 1000") == t ]]'
    host_kill "$NEW"
    host_kill "$OLD" # the whole node: a crashed one alone would be started again in its place
    # A host without power sends nothing any more. Its kernel lives on here, and would send the other standby what its
    # server had written before the end: as much as this one has, or more.
    host_cut "$OLD"
    heal_all
    check_soon "F10: with too few of its sync entry heard nobody is chosen, and a person is told" 20 \
        shows_alarm held.payments "1 of sync entry 1's 2 standbys heard, 2 needed"
    check_for "F10: nobody is fenced or promoted" 3 nothing_is_granted
    pg_start "$NEW"
    guard_start "$NEW"
    check_soon "F10: the other one is heard: the one with the most WAL is promoted" 30 has_moved
    check "F10: with one new permit" permits_were "revoked $GRANTED $OLD" "granted $((GRANTED + 1)) $NEW"
    host_join "$OLD"
}

nothing_is_granted() {
    etcd_value permits/payments | jq -e ".state == \"granted\" and .node == \"$OLD\" and .epoch.counter == $GRANTED" &&
        record_shows '.workflow == null'
}

row_F12() {
    MOVED=yes
    LOSES=$EPOCHREALTIME
    cut_off "$OLD" "${SHOP_NODES[@]:1}"
    pg_sql "$OLD" payments "SELECT pg_logical_emit_message(false, 'test', repeat('x', 4 * 1024 * 1024))" >/dev/null
    check_soon "F12: standbys behind by more than the limit are no candidates, and what would be lost is shown" 15 \
        status_shows "[$(db payments) | .candidate.node == null and .loss_now == \"estimated\" and .loss_now_bytes > 4000000] == [true]"
    host_kill "$OLD"
    check_soon "F12: the primary is lost: a person is told by how much" 20 shows_alarm held.payments "would lose an estimated [0-9]+ bytes .limit 1048576."
    check_for "F12: nobody is fenced or promoted" 3 nothing_is_granted
    check "F12: a failover that accepts less is refused" eval \
        '! ctl failover shop --database payments --accept-loss 2M --yes --reason "to see" >"$TMP/refused" 2>&1 && grep -q "would lose" "$TMP/refused"'
    check "F12: nothing was changed by it" nothing_is_granted
    check "F12: a person accepts the loss, in bytes" eval 'ctl failover shop --database payments --accept-loss 100M --yes --no-wait \
        --reason "the node is gone" >"$TMP/accepted" 2>&1; (($? == 3)) || { cat "$TMP/accepted"; false; }'
    check_soon "F12: then it is failed over" 30 has_moved_to_a_standby
    check "F12: the incident has the loss" status_shows '[.groups[0].incident.databases[].estimated_loss_bytes > 4000000] == [true]'
    heal_all
}

# Either may have the most WAL.
has_moved_to_a_standby() {
    local node
    for node in "${SHOP_NODES[@]:1}"; do
        NEW=$node
        has_moved && return
    done
    return 1
}

row_F13() {
    MOVED=yes
    LOSES=$EPOCHREALTIME
    host_cut "$OLD"
    check_soon "F13: a primary is lost whose standbys are within the limit: it is failed over" 30 has_moved_to_a_standby
    check "F13: the estimate goes on from the last sample to the fence, and is recorded" \
        status_shows '[.groups[0].incident.databases[].estimated_loss_bytes | . > 0 and . < 16777216] == [true]'
    host_join "$OLD"
    check_soon "F13: the old primary stays stopped" 15 stays_down "$OLD"
}

rows_run "$@"
