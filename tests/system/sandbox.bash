# shellcheck shell=bash
# sandbox.bash - what the tests of deploy/sandbox have in common. Sourced; FAILOVER_BUILD names the programs'
# directory (build/sanitize of this tree by default).
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RUN=$HERE/deploy/sandbox/run
BUILD=$(cd "${FAILOVER_BUILD:-$HERE/build/sanitize}" && pwd) || exit 1
TMP=$(mktemp -d)
chmod 755 "$TMP" # PostgreSQL's user must be able to enter it
failures=0

# with_programs CONTROLLER GUARD: from now on these are failoverd and failover-guard.
with_programs() {
    local build
    build=$(mktemp -d "$TMP/build.XXXXXX")
    chmod 755 "$build"
    ln -s "$1" "$build/failoverd"
    ln -s "$2" "$build/failover-guard"
    ln -s "$BUILD/failoverctl" "$BUILD/shop" "$BUILD/sandbox-watchdog" "$BUILD/tests" "$build/"
    BUILD=$build
}

# RULE_OFF: ids of rules (tests/system/rule_off.c) that are left out; tests/system/long/50-rules-off.sh sets it, and in
# RULE_OFF_ROWS whose sentences shall fail then: once one of each has failed the test has shown what it had to, and ends.
if [[ -n ${RULE_OFF:-} ]]; then
    with_programs "$BUILD/tests/failoverd-rules-off" "$BUILD/tests/failover-guard-rules-off"
    export FAILOVER_TEST_RULE_OFF=$RULE_OFF
fi

ok() {
    printf 'ok %s\n' "$1"
}

failed() {
    printf 'FAILED %s\n' "$1"
    failures=$((failures + 1))
    [[ -z ${RULE_OFF_ROWS:-} ]] || row_has_failed "$1"
}

row_has_failed() { # SENTENCE
    local row=${1%%:*}
    RULE_OFF_ROWS=" $RULE_OFF_ROWS "
    RULE_OFF_ROWS=${RULE_OFF_ROWS/ $row / }
    if [[ -z ${RULE_OFF_ROWS// /} ]]; then
        rules_that_counted
        finish
    fi
}

# Of the rules that are left out, those that would have counted.
rules_that_counted() {
    sed -nE 's/^TEST: (.*was left out).*/    \1/p' "$WORLD"/*/{failoverd,guard}.log 2>/dev/null | sort -u
}

check() { # SENTENCE COMMAND...: what the command says is shown if it fails
    local sentence=$1 said
    shift
    if said=$("$@" 2>&1); then
        ok "$sentence"
    else
        failed "$sentence"
        printf '%s\n' "$said" | sed 's/^/    /'
    fi
}

finish() {
    rm -rf "$TMP"
    exit $((failures > 0))
}

# What is left of a sandbox in DIR with that id, whoever else has one on this machine: nothing, if it ended well.
nothing_is_left() { # DIR ID
    local dir=$1 id=$2 left
    left=$({
        find /run/netns -name "$id-*" 2>/dev/null
        find /sys/fs/cgroup -type d -name "$id" 2>/dev/null
        grep -F -e "$dir" -e "$id" /proc/self/mounts
        [[ -L /run/failover-sandbox/$id ]] && echo "/run/failover-sandbox/$id"
        processes_in "$dir"
        [[ -e $dir/world ]] && echo "$dir/world"
    })
    printf '%s' "$left"
    [[ -z $left ]]
}

# Processes that name the directory in their arguments, or stand in it; not those of this test.
processes_in() {
    local process arguments
    for process in /proc/[0-9]*; do
        [[ ${process#/proc/} == "$$" ]] && continue
        arguments=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline")
        if [[ $arguments == *"$1"/* || $(readlink "$process/cwd") == "$1"/* ]]; then
            printf '%s %s\n' "${process#/proc/}" "$arguments"
        fi
    done
}

world_id() { # DIR: while it lives
    sed -n 's/^WORLD_ID=//p' "$1/world"
}

# run_scenario SCENARIO OPTION...: to its end. Its result is in TMP/out.json, its files in TMP/world, what it printed in
# TMP/output; SCENARIO_ID is the world's.
run_scenario() {
    local scenario=$1 dir=$TMP/world run status=0
    shift
    SCENARIO_ID=''
    printf '    %s\n' "$RUN --scenario $scenario $* --build-dir $BUILD"
    "$RUN" --scenario "$scenario" "$@" --build-dir "$BUILD" --dir "$dir" --json "$TMP/out.json" >"$TMP/output" 2>&1 &
    run=$!
    while [[ -z $SCENARIO_ID && -d /proc/$run ]]; do
        [[ -r $dir/world ]] && SCENARIO_ID=$(world_id "$dir")
        sleep 0.1
    done
    wait "$run" || status=$?
    if ((status)); then
        sed 's/^/    /' "$TMP/output"
        tail -n 30 "$dir"/ops*/failoverd.log "$dir"/*/guard.log 2>/dev/null | sed 's/^/    /'
    fi
    check "the run of $scenario succeeds" test "$status" -eq 0
}

# What holds of every run at its end.
check_end() {
    check "no sanitizer complained" no_sanitizer_complained "$TMP/world"
    check "nothing is left of it but the logs" nothing_is_left "$TMP/world" "$SCENARIO_ID"
}

# shellcheck disable=SC2016
# One scenario, whole: what is promised of the result. With `guards`: a failover-guard on each data node, and the
# evidence is what those levels give; else by power alone.
check_scenario() { # SCENARIO [guards EVIDENCE [OPTION...]]
    local scenario=$1 json=$TMP/out.json dir=$TMP/world options=(--guards no)
    local evidence='agent.*power' words='by its power device' least_ms=100 # the power device alone takes longer
    if [[ ${2:-} == guards ]]; then
        least_ms=20 evidence=$3 words="as its guards let it be ($3)" options=("${@:4}")
    fi
    run_scenario "$scenario" "${options[@]}"
    check "the result names its scenario and is ok" jq -e --arg s "$scenario" '.scenario == $s and .ok and .not_ok == []' "$json"
    check "no acknowledged transaction is lost" jq -e '.lost == 0 and .acked > 100' "$json"
    check "every lap has been measured" jq -e '.laps_ms | [.detect, .confirm, .fence, .promote, .redirect, .verify] | all(type == "number" and . >= 0)' "$json"
    check "the laps' sum is the incident's total" jq -e --slurpfile i "$dir/incident.json" '([.laps_ms[]] | add) - $i[0].total_ms | fabs <= 100' "$json"
    check "the clients' outage is measured, and longer than a lap" jq -e --argjson least "$least_ms" \
        '.outage_ms > $least and .outage_ms < 60000' "$json"
    check "each objective has a limit and a state" jq -e '.objectives | length == 3 and all(.limit_s > 0 and (.state == "met" or .state == "open"))' "$json"
    check "each database was fenced $words" jq -e --arg e "$evidence" '.databases | length == 2 and all(.evidence | test($e))' \
        "$dir/incident.json"
    check "nobody had to be called" test ! -s "$dir/calls.log"
    check_end
}

no_sanitizer_complained() {
    ! grep -l -E 'Sanitizer|runtime error:' "$1"/*/*.log
}
