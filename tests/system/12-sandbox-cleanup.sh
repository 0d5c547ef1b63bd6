#!/bin/bash
# However a sandbox's run ends, nothing of it stays: after Ctrl-C, after kill -9, after --keep and stop; nor of a test's
# world that ends while a shell of that test's is still at work.
# shellcheck disable=SC2317
. "$(dirname "$0")/sandbox.bash"
# A run in a process group of its own, that takes Ctrl-C as on a terminal: scripts' other background jobs ignore it.
set -m

# Start a run in DIR, and wait until its parts work (the load has acknowledged a transaction). Sets RUN_PID, ID.
start_run() {
    local dir=$1 until=$((SECONDS + 60))
    shift
    "$RUN" --build-dir "$BUILD" --dir "$dir" "$@" >"$TMP/output" 2>&1 &
    RUN_PID=$!
    until grep -qs 'acked [1-9]' "$dir/client/load-payment.log"; do
        if ((SECONDS > until)) || [[ ! -d /proc/$RUN_PID ]]; then
            sed 's/^/    /' "$TMP/output"
            return 1
        fi
        sleep 0.1
    done
    ID=$(world_id "$dir")
}

# The reaper works after its run has died; it has 20 s.
wait_for_the_end() {
    local until=$((SECONDS + 20))
    while [[ -e $1/world ]] && ((SECONDS < until)); do
        sleep 0.1
    done
    [[ ! -e $1/world ]]
}

case_of() { # NAME SIGNAL-COMMAND...
    local name=$1 dir=$TMP/$1
    shift
    if ! start_run "$dir"; then
        failed "a sandbox starts (to be ended by $name)"
        return
    fi
    check "a sandbox runs, with its namespaces and its cgroup ($name)" test -e "/run/netns/$ID-client"
    "$@"
    wait "$RUN_PID" 2>/dev/null
    check "its end begins by itself ($name)" wait_for_the_end "$dir"
    check "nothing is left of it ($name)" nothing_is_left "$dir" "$ID"
}

# A world with nothing in it, and a process in the background that holds the pipe which its reaper listens to.
close_beside_another() { # DIR
    # shellcheck disable=SC2016
    timeout -k 5 20 bash -c '. "$1" && world_open "$2" && echo "$WORLD_ID" >"$2.id" || exit
        sleep 60 &
        trap "kill $!" EXIT
        world_close' _ "$HERE/deploy/sandbox/lib.sh" "$1"
}

interrupt() { kill -INT -- "-$RUN_PID"; }
terminate() { kill -TERM "$RUN_PID"; }
slay() { kill -KILL "$RUN_PID"; }

case_of ctrl-c interrupt
case_of sigterm terminate
case_of sigkill slay

dir=$TMP/beside
check "a world ends when it is told to, whoever else holds its pipe" close_beside_another "$dir"
check "nothing is left of it (beside another)" nothing_is_left "$dir" "$(<"$dir.id")"

dir=$TMP/keep
if start_run "$dir" --keep && wait "$RUN_PID"; then
    ok "a sandbox that shall be kept ends its scenario well"
    check "it goes on running" "$BUILD/failoverctl" --socket "$dir/ops1/failoverd.sock" status
    check "stop ends it" "$HERE/deploy/sandbox/stop" "$dir"
    check "nothing is left of it (keep)" nothing_is_left "$dir" "$ID"
else
    sed 's/^/    /' "$TMP/output"
    failed "a sandbox that shall be kept ends its scenario well"
    "$HERE/deploy/sandbox/stop" "$dir"
fi
finish
