# shellcheck shell=bash
# footprint.bash - figures of what the programs take in the sandbox: footprint, guard-footprint. Sourced by run.

# utime and stime in ticks, and voluntary switches: what it used, and how often it woke.
process_used() { # PID
    local stat switches
    stat=$(<"/proc/$1/stat") && stat=${stat##*) } || return 1
    switches=$(awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$1/status")
    awk -v switches="$switches" '{ print $12 + $13, switches }' <<<"$stat"
}

# KiB: private, resident.
process_memory() { # PID
    awk '/^Private_(Clean|Dirty):/ { private += $2 } /^Rss:/ { rss = $2 } END { print private, rss }' "/proc/$1/smaps_rollup"
}

# footprint_phase PROGRAM NAME HOST...: samples of what world_spawn started there under that name, to
# WORK/PROGRAM.NAME.HOST, a line each: private, resident, CPU %, wakeups/s.
footprint_phase() {
    local program=$1 phase=$2 host i ticks switches was_ticks was_switches memory from each=$((seconds * 1000 / FOOTPRINT_SAMPLES))
    local -A before=() since=()
    shift 2
    for host; do
        before[$host]=$(process_used "$(host_pid "$host" "$program")") since[$host]=$(now_ms)
    done
    for ((i = 0; i < FOOTPRINT_SAMPLES; i++)); do
        sleep "$(printf '%d.%03d' $((each / 1000)) $((each % 1000)))"
        for host; do
            read -r ticks switches < <(process_used "$(host_pid "$host" "$program")") || return 1
            read -r was_ticks was_switches <<<"${before[$host]}"
            from=${since[$host]} before[$host]="$ticks $switches" since[$host]=$(now_ms)
            memory=$(process_memory "$(host_pid "$host" "$program")")
            awk -v memory="$memory" -v ticks=$((ticks - was_ticks)) -v switches=$((switches - was_switches)) \
                -v ms=$((${since[$host]} - from)) -v hz="$(getconf CLK_TCK)" \
                'BEGIN { print memory, ticks / hz * 100000 / ms, switches * 1000 / ms }' >>"$WORK/$program.$phase.$host"
        done
    done
}
FOOTPRINT_SAMPLES=10

# A shop that has settled, with its load not yet begun. With SHOP_GUARDS its guards guard.
shop_begin() {
    shop_build_world || return 1
    shop_definition
    controller_start ops1
    controller_start ops2
    [[ -z $SHOP_GUARDS ]] || guards_start || return 1
    wait_for "a controller answers" 20 ctl status || return 1
    ctl apply --yes --reason "the bench's definition" "$WORLD/cluster.yaml" >"$WORLD/apply.log" 2>&1 || return 1
    wait_for "every database has its permit" 30 shop_is_settled || return 1
    [[ -z $SHOP_GUARDS ]] || {
        wait_for "each guard has reported, and is asked to guard" 15 guards_adopt &&
            wait_for "each database is in the strict tier" 15 guards_hold || return 1
    }
    leader=$(jq -r .leader.id "$WORLD/status.json")
    follower=$([[ $leader == ops1 ]] && echo ops2 || echo ops1)
}

shop_is_settled() {
    ctl status --json >"$WORLD/status.json" 2>/dev/null || return 1
    jq -e '.leader.id != null and all(.groups[].databases[]; .writable and .permit == "granted")' "$WORLD/status.json"
}

# in_world NAME COMMAND...: in a world of its own, in this shell.
in_world() {
    local name=$1 status=0
    shift
    world_open ''
    trap 'world_close; rm -rf "$WORK"' EXIT
    "$@" || status=1
    world_close || status=1
    trap 'rm -rf "$WORK"' EXIT
    ((status == 0)) || bench_failed "$name"
    return "$status"
}

# footprint_world PROGRAM: WORK/PROGRAM.WHO.rest and .load, WHO being leader and follower, or primary and standby.
footprint_world() {
    local program=$1 leader follower of=() who i phase
    shop_begin || return 1
    if [[ $program == guard ]]; then
        of=("${SHOP_HOME[payment]}" "${SHOP_AWAY[payment]}") who=(primary standby)
    else
        of=("$leader" "$follower") who=(leader follower)
    fi
    sleep 5 # what happens once is over
    footprint_phase "$program" rest "${of[@]}" || return 1
    load_start
    sleep 2
    footprint_phase "$program" load "${of[@]}" || return 1
    load_stop || return 1
    controllers_stop || return 1
    for i in 0 1; do
        for phase in rest load; do
            mv "$WORK/$program.$phase.${of[i]}" "$WORK/$program.${who[i]}.$phase"
        done
    done
}

# footprint_sum NAME PROGRAM WHO...: the samples as figures, to WORK/NAME.json.
footprint_sum() {
    local name=$1 program=$2 who phase
    shift 2
    for who; do
        for phase in rest load; do
            jq -Rn --arg who "$who" --arg phase "$phase" "$JQ_WORDS"'
                [inputs | split(" ") | map(tonumber)] | {($who): {($phase): {
                    private_mib: (map(.[0] / 1024) | figure), resident_mib: (map(.[1] / 1024) | figure),
                    cpu_percent: (map(.[2]) | figure | .mean = (.samples | add / length)), wakeups_s: (map(.[3]) | figure)
                }}}' "$WORK/$program.$who.$phase"
        done
    done | jq -s --slurpfile noise "$WORK/$name.noise" --argjson seconds "$seconds" \
        'reduce .[] as $one ({seconds: $seconds, noise: $noise[0]}; . * $one)' >"$WORK/$name.json"
}

footprint_show() { # NAME TITLE MOST-MIB WHO...
    jq -r --arg title "$2" --argjson most "$3" "$JQ_WORDS"'
        "", ("\($title): \(.seconds) s of each, 10 samples" | pad(70)) + "    median        least .. most",
        ($ARGS.positional[] as $who | ["rest", "load"][] as $phase | .[$who][$phase] | (
            "",
            (.private_mib | row("\($who), \(if $phase == "rest" then "at rest" else "under load" end): private memory"; "MiB"; 2) + against($most; "MiB")),
            (.resident_mib | row("    resident memory, shared pages too"; "MiB"; 2)),
            (.cpu_percent | .median = .mean | row("    CPU, of one core, over the whole time"; "%"; 2) + against(1; "%")),
            (.wakeups_s | row("    wakeups a second"; ""; 0)))),
        "", (.noise | noise)' "$WORK/$1.json" --args "${@:4}"
}

bench_footprint() {
    local SHOP_GUARDS=yes
    noise_begin
    in_world footprint footprint_world failoverd || return
    noise_end footprint
    footprint_sum footprint failoverd leader follower
    footprint_show footprint "failoverd in the sandbox" 6 leader follower
}

bench_guard_footprint() {
    local SHOP_GUARDS=yes SHOP_PROFILE=fast
    noise_begin
    in_world guard-footprint footprint_world guard || return
    noise_end guard-footprint
    footprint_sum guard-footprint guard primary standby
    footprint_show guard-footprint "failover-guard in the sandbox, fast profile" 4 primary standby
}
