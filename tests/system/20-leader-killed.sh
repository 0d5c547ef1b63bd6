#!/bin/bash
# The leader dies by kill -9 in the middle of a failover, in each phase that its record can be in, and the other
# controller finishes the same workflow, each effect once.
#
# So that the kill does not depend on luck, what the phase waits for is held back meanwhile: a standby that stands
# still is not chosen, and one whose startup process stands still does not finish its promotion. That the leader died
# in that phase is then read from etcd's history; a world in which it did not counts for nothing, and is repeated.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"

both_moves_are_in() { # PHASE
    record_shows "(.workflow.moves // [] | length == 2 and all(.phase == \"$1\"))"
}

away_nodes() {
    printf '%s\n' "${SHOP_AWAY[@]}"
}

on_standbys() { # SIGNAL [TITLE]
    local node
    for node in "${SHOP_AWAY[@]}"; do
        pg_signal "$node" "$1" "${2:-}"
    done
}

kill_leader() {
    KILLED=$(leader_of) || return 1
    KILLED_AT=$(now_ms)
    kill -KILL "$(host_pid "$KILLED" failoverd)"
    SUCCESSOR=$(other_than "$KILLED")
}

successor_leads() {
    status_of "$SUCCESSOR" ".leader.id == \"$SUCCESSOR\""
}

# --- where the leader dies: each returns 1 if it could not be brought there -----------------------------------------

die_in_fence() {
    kill_primaries
    wait_for "both permits are revoked" 30 both_moves_are_in fence && kill_leader
}

die_in_choose() {
    kill_primaries
    wait_for "both permits are revoked" 30 both_moves_are_in fence || return 1
    on_standbys STOP
    wait_for "the evidence is recorded" 30 both_moves_are_in choose && kill_leader
    local status=$?
    on_standbys CONT
    return "$status"
}

# One standby goes on at once, so that the successor meets a primary; the other only under the successor, so that it
# meets a standby that was asked already.
die_in_promote() {
    kill_primaries
    wait_for "both permits are revoked" 30 both_moves_are_in fence || return 1
    on_standbys STOP startup
    wait_for "both candidates have their permit" 30 both_moves_are_in promote && kill_leader
    local status=$?
    pg_signal "${SHOP_AWAY[payment]}" CONT startup
    ((status)) || wait_for "the successor leads" 30 successor_leads || status=1
    pg_signal "${SHOP_AWAY[order]}" CONT startup
    return "$status"
}

# --- what must hold afterwards -----------------------------------------------------------------------------------

# From etcd's history: $h all of it, $t the successor's term (the create revision of its leader key).
# shellcheck disable=SC2016
HISTORY='. as $h
    | [$h[] | select(.key == "leader" and .value != null)] as $terms
    | $terms[-1].rev as $t
    | [$h[] | select(.key == "groups/shop" and .value.workflow != null)] as $moving'

of_history() { # FILTER [jq arguments]
    local filter=$1
    shift
    jq -e -s "$@" "$HISTORY | $filter" "$TMP/history"
}

# The last record of the old term.
died_in() { # PHASE
    # shellcheck disable=SC2016
    of_history '([$moving[] | select(.rev < $t)][-1].value.workflow.moves | length == 2 and all(.phase == $phase))
        and ([$moving[] | select(.rev > $t)] | length > 0)' --arg phase "$1"
}

one_workflow() {
    # shellcheck disable=SC2016
    of_history '([$moving[].value.workflow.id] | unique) as $ids
        | ([$h[] | select(.key | startswith("incidents/")) | .value.id] | unique) == $ids and ($ids | length == 1)'
}

# After a database's first revocation: one new epoch, greater than the revoked one, and never the revoked one again.
one_epoch() { # DATABASE
    # shellcheck disable=SC2016
    of_history '[$h[] | select(.key == "permits/\($db)")] as $p
        | [$p[] | select(.value.state == "revoked")] as $revoked
        | ([$p[] | select(.value.state == "granted" and .rev > $revoked[0].rev) | .value.epoch] | unique) as $granted
        | ($revoked | length > 0) and ([$revoked[].value.epoch] | unique | length == 1)
          and ($granted | length == 1) and $granted[0].counter > $revoked[0].value.epoch.counter' --arg db "$1"
}

# S2: evidence of this very revocation stands in the record before the grant does.
evidence_before_grant() { # DATABASE
    # shellcheck disable=SC2016
    of_history '[$h[] | select(.key == "permits/\($db)")] as $p
        | [$p[] | select(.value.state == "revoked")][0].rev as $revoked
        | [$p[] | select(.value.state == "granted" and .rev > $revoked)][0].rev as $granted
        | [$moving[] | {rev, e: [.value.workflow.moves[] | select(.database == $db) | .evidence[]]} | select(.e | length > 0)][0]
        | .rev > $revoked and .rev < $granted and all(.e[]; .revocation_revision >= $revoked and .revocation_revision < $granted)' \
        --arg db "$1"
}

promoted_once() { # NODE
    local log=$WORLD/$1/postgres.log
    grep -E 'promote request|selected new timeline|ready to accept connections' "$log"
    [[ $(grep -c 'received promote request' "$log") == 1 && $(grep -c 'selected new timeline ID: 2$' "$log") == 1 &&
        $(grep -c 'selected new timeline' "$log") == 1 ]]
}

# Whoever asked, and however often: only the old primaries were switched off, and nobody was switched on.
only_old_primaries_were_off() {
    cat "$WORLD/power.log"
    awk -v a="${SHOP_HOME[payment]}" -v b="${SHOP_HOME[order]}" \
        '($2 != a && $2 != b) || $3 != 0 { bad = 1 } { seen[$2] = 1 } END { exit bad || !seen[a] || !seen[b] }' "$WORLD/power.log"
}

is_recovered() {
    "$BUILD/failoverctl" --socket "$WORLD/$SUCCESSOR/failoverd.sock" incident show latest --json >"$TMP/incident" &&
        jq -e '.state != "open" and (.databases | length == 2) and all(.laps_ms[]; . != null)' "$TMP/incident" &&
        load_runs
}

moved_away() {
    status_shows "([$(db payments) | .primary] == [\"pay-west\"]) and ([$(db orders) | .primary] == [\"ord-west\"]) and
        all(.groups[].databases[]; .state == \"normal\" and .writable and .epoch == \"1.2\") and
        all(.groups[].routes[].proxies[]; .state == \"agrees\")"
}

laps_sum_up() {
    cat "$TMP/incident"
    jq -e '([.laps_ms[]] | add) - .total_ms | fabs <= 100' "$TMP/incident"
}

check_the_end() { # PHASE
    local kind
    check_soon "[$1] the other controller finishes the failover" 60 is_recovered
    echo "    $(($(now_ms) - KILLED_AT)) ms after the kill"
    check_soon "[$1] traffic follows the new primaries" 10 moved_away
    history >"$TMP/history"
    check "[$1] it is the same workflow, told in one incident" one_workflow
    check "[$1] the incident's laps sum up to its total" laps_sum_up
    for kind in "${SHOP_KINDS[@]}"; do
        check "[$1] ${SHOP_DATABASE[$kind]} got one new epoch" one_epoch "${SHOP_DATABASE[$kind]}"
        check "[$1] ${SHOP_DATABASE[$kind]} was granted only after recorded evidence" evidence_before_grant "${SHOP_DATABASE[$kind]}"
        check "[$1] ${SHOP_AWAY[$kind]} was promoted once" promoted_once "${SHOP_AWAY[$kind]}"
    done
    check "[$1] only the old primaries were switched off" only_old_primaries_were_off
    controller_start "$KILLED"
    check_soon "[$1] the killed controller comes back and follows" 20 status_of "$KILLED" \
        ".leader.id == \"$SUCCESSOR\" and ([.controllers[] | select(.present)] | length == 2)"
    stop_load_and_audit
}

(($#)) || set -- fence choose promote
for phase; do
    for try in 1 2 3; do
        world_begin
        if "die_in_$phase" && wait_for "the successor leads" 30 successor_leads && history >"$TMP/history" &&
            died_in "$phase" >/dev/null; then
            ok "the leader died in phase $phase of both moves, by the record (try $try)"
            check_the_end "$phase"
            world_finish
            continue 2
        fi
        echo "    try $try: the leader did not die in phase $phase"
        FAILED_BEFORE=-1 world_finish
    done
    failed "the leader died in phase $phase of both moves, by the record"
done
finish
