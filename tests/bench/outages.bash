# shellcheck shell=bash
# outages.bash - what customers notice when a part of the failover machinery is gone: outages. Sourced by run.
#
# A world with guards, the fast profile, and a load for each kind of outage; each attempt that was not acknowledged
# counts. Nothing moves: the primaries must be the same at the end.

# outage_phase NAME TIMES COMMAND...: the command, TIMES times, each followed by a while that shows that all is well
# again. A line of JSON to WORK/outages.
outage_phase() {
    local name=$1 times=$2 i kind
    shift 2
    load_start
    wait_for "the load runs" 20 outage_load_runs || return 1
    for ((i = 0; i < times; i++)); do
        "$@" || return 1
        wait_for "all is well again after $name" 60 outage_is_over || return 1
        sleep 1
    done
    load_stop || return 1
    jq -cs --arg name "$name" --argjson times "$times" '{
        name: $name, times: $times, attempts: (map(.attempts) | add), failed: (map(.failed) | add),
        unknown: (map(.unknown) | add), longest_gap_ms: (map(.longest_gap_ms) | max)
    }' "$WORLD"/client/{payment,order}.json >>"$WORK/outages"
    printf 'outages: %s, %d times: %s\n' "$name" "$times" \
        "$(tail -n 1 "$WORK/outages" | jq -r '"\(.failed) failed, \(.unknown) unknown of \(.attempts)"')"
}

outage_load_runs() {
    local kind
    for kind in "${SHOP_KINDS[@]}"; do
        load_line "$kind"
        ((ACKED > 50 && SILENT_MS < 500)) || return 1
    done
}

# Both controllers are there, one leads, and every permit is renewed under an armed watchdog.
outage_is_over() {
    ctl status --json | jq -e '.leader.id != null and ([.controllers[] | select(.present)] | length == 2) and
        all(.groups[].databases[]; .state == "normal" and .writable and .tier == "strict" and .renewed_age_ms < 2000)'
}

etcd_is_gone() {
    etcd_kill
    sleep "$seconds"
    etcd_again
}

# The one that leads, or the other one, is killed; it is started again when somebody leads without it.
controller_is_gone() { # leader | follower
    local leader killed
    leader=$(ctl status --json | jq -er .leader.id) || return 1
    killed=$leader
    [[ $1 == leader ]] || killed=$([[ $leader == ops1 ]] && echo ops2 || echo ops1)
    kill -KILL "$(host_pid "$killed" failoverd)"
    wait_for "somebody else leads" 30 other_leads "$killed" || return 1
    controller_start "$killed"
}

other_leads() { # KILLED
    ctl status --json | jq -e --arg killed "$1" '.leader.id != null and .leader.id != $killed'
}

# Started again at once, as its unit does; it must take the running instance over, and renew.
guard_is_gone() { # NODE
    local before
    before=$(grep -c 'rule=R-G31 ' "$WORLD/$1/guard.log")
    kill -KILL "$(host_pid "$1" guard)"
    guard_again "$1"
    wait_for "the guard has taken its instance over" 10 guard_took_over "$1" "$before"
}

guard_took_over() { # NODE TIMES-BEFORE
    (($(grep -c 'rule=R-G31 ' "$WORLD/$1/guard.log") > $2))
}

nothing_moved() {
    local kind
    for kind in "${SHOP_KINDS[@]}"; do
        [[ $(pg_sql "${SHOP_HOME[$kind]}" postgres 'SELECT pg_is_in_recovery()') == f ]] || return 1
    done
}

outages_world() {
    local leader follower
    shop_begin || return 1
    : >"$WORK/outages"
    outage_phase "all of etcd gone for $seconds s" 1 etcd_is_gone || return 1
    outage_phase "the leading controller killed" "$runs" controller_is_gone leader || return 1
    outage_phase "the other controller killed" "$runs" controller_is_gone follower || return 1
    outage_phase "a primary's guard killed and started again" "$runs" guard_is_gone "${SHOP_HOME[payment]}" || return 1
    nothing_moved || return 1
    controllers_stop
}

bench_outages() {
    local SHOP_GUARDS=yes SHOP_PROFILE=fast
    noise_begin
    in_world outages outages_world || return
    noise_end outages
    jq -s --slurpfile noise "$WORK/outages.noise" '{noise: $noise[0], phases: .}' "$WORK/outages" >"$WORK/outages.json"
    jq -r "$JQ_WORDS"'
        "", "guards, fast profile: transactions while a part is gone   times  attempts  failed  unknown  longest wait", "",
        (.phases[] | "\(.name | pad(56))\(.times | left(7))\(.attempts | left(10))\(.failed | left(8))\(.unknown | left(9))\(.longest_gap_ms | left(11)) ms"
            + (if .failed + .unknown == 0 then "   target: none, met" else "   target: none, MISSED" end)),
        "", (.noise | noise)' "$WORK/outages.json"
}
