# shellcheck shell=bash
# scenarios.bash - figures of the sandbox's scenarios: crash, guard-crash, guard-host-loss. Sourced by run.

# run_scenarios NAME PARTS OPTION...: `runs` runs of the sandbox, each one's figures to WORK/NAME.N.json by PARTS DIR.
run_scenarios() {
    local name=$1 parts=$2 turn dir
    shift 2
    for ((turn = 1; turn <= runs; turn++)); do
        dir=$WORK/$name.$turn
        mkdir "$dir" && chmod 755 "$dir"
        if "$SOURCE/deploy/sandbox/run" "$@" --quiet --build-dir "$BUILD" --dir "$dir" >"$WORK/$name.out" 2>&1 &&
            "$parts" "$dir" >"$WORK/$name.$turn.json"; then
            printf '%s, run %2d of %d: outage %d ms\n' "$name" "$turn" "$runs" "$(jq .outage_ms "$WORK/$name.$turn.json")"
        else
            printf '%s, run %2d of %d: NOT OK\n' "$name" "$turn" "$runs"
            sed 's/^/    | /' "$WORK/$name.out"
            rm -f "$WORK/$name.$turn.json"
            failed=1
        fi
        rm -rf "$dir"
    done
}

# --- crash -----------------------------------------------------------------------------------------------------

# One run's incident as the parts of each database's way. A part is null where the way was another one.
# "Less": the agent's own run time is in its evidence; PostgreSQL's promotion is from the order to the write it took.
crash_parts() { # DIR
    jq -n --slurpfile incident "$1/incident.json" --slurpfile result "$1/result.json" '
        $incident[0] as $i
        | def at($db; $from; $to):
            first($i.notes[] | select(.text | startswith("\($db): \($from) -> \($to): ")) | .at_ms) // null;
          def span($a; $b): if $a == null or $b == null then null else $b - $a end;
        {
            ok: $result[0].ok, outage_ms: $result[0].outage_ms, laps_ms: $i.laps_ms,
            moves: [$i.databases[] | .name as $db | (.evidence | capture("runs took (?<ms>[0-9]+) ms").ms | tonumber) as $agent
                | at($db; "suspect"; "revoking") as $verdict | at($db; "revoking"; "fencing") as $revoked
                | at($db; "fencing"; "proving") as $proven | at($db; "proving"; "choosing") as $heard
                | at($db; "choosing"; "granting") as $chosen | at($db; "granting"; "promoting") as $granted
                | at($db; "promoting"; "recording") as $promoted | at($db; "recording"; "redirecting") as $recorded
                | at($db; "redirecting"; "verifying") as $switched | at($db; "verifying"; "closing") as $works
                | {
                    database: $db, verdict: $verdict, agent: $agent, promotion: span($granted; $promoted),
                    revoke: span($verdict; $revoked), around: (span($revoked; $proven) | if . == null then null else . - $agent end),
                    evidence: span($proven; $heard), hear: span($heard; $chosen), grant: span($chosen; $granted),
                    record: span($promoted; $recorded), redirect: span($recorded; $switched), verify: span($switched; $works),
                    own: (span($verdict; $works) as $all | span($granted; $promoted) as $p
                        | if $all == null or $p == null then null else $all - $agent - $p end)
                }]
        }'
}

bench_crash() {
    noise_begin
    run_scenarios crash crash_parts --scenario crash --guards no
    noise_end crash
    cat "$WORK"/crash.[0-9]*.json 2>/dev/null | jq -s --slurpfile noise "$WORK/crash.noise" "$JQ_WORDS"'
        [.[].moves[]] as $m | {
            runs: length, noise: $noise[0], outage_ms: (map(.outage_ms) | figure),
            parts_ms: (["verdict", "agent", "promotion", "own", "revoke", "around", "evidence", "hear", "grant", "record",
                "redirect", "verify"] | map({(.): (. as $part | [$m[][$part]] | figure)}) | add),
            moves: $m
        }' >"$WORK/crash.json"
    jq -r "$JQ_WORDS"'
        "", "crash, default profile: \(.runs) runs, two databases each                median        least .. most", "",
        (.outage_ms | row("outage, as the clients saw it"; "ms"; 0) + against(3000; "ms")),
        (.parts_ms | (
            (.verdict | row("first evidence to the verdict"; "ms"; 0)),
            (.agent | row("the fence agent runs"; "ms"; 0)),
            (.promotion | row("PostgreSQL is promoted (order to first write)"; "ms"; 0)),
            (.own | row("the controllers’ own share after the verdict"; "ms"; 0) + against(300; "ms")),
            (.revoke | row("    record the revocation"; "ms"; 0)),
            (.around | row("    start the agent, take its answers"; "ms"; 0)),
            (.evidence | row("    record the evidence"; "ms"; 0)),
            (.hear | row("    hear the standbys"; "ms"; 0)),
            (.grant | row("    record the grant"; "ms"; 0)),
            (.record | row("    record the new primary"; "ms"; 0)),
            (.redirect | row("    switch the proxies and read them back"; "ms"; 0)),
            (.verify | row("    see it work, services too"; "ms"; 0)))),
        (.noise | noise)' "$WORK/crash.json"
}

# --- with guards -----------------------------------------------------------------------------------------------

# What a run's result and incident say, without words.
result_parts() { # DIR
    jq -n --slurpfile incident "$1/incident.json" --slurpfile result "$1/result.json" '{
        ok: $result[0].ok, outage_ms: $result[0].outage_ms, laps_ms: $result[0].laps_ms,
        evidence: [$incident[0].databases[].evidence | split(" ")[0]]
    }'
}

# summed NAME: of the runs of that name, a figure for the outage and for each lap.
summed() {
    cat "$WORK/$1".[0-9]*.json 2>/dev/null | jq -s "$JQ_WORDS"'{
        runs: length, outage_ms: (map(.outage_ms) | figure),
        laps_ms: (["detect", "confirm", "fence", "promote", "redirect", "verify"] as $laps | . as $all
            | [$laps[] as $lap | {($lap): ([$all[].laps_ms[$lap]] | figure)}] | add),
        evidence: ([.[].evidence[]] | group_by(.) | map({(.[0]): length}) | add)
    }'
}

JQ_LAPS='
    def laps: .laps_ms | to_entries[] | .key as $name | .value | select(.median != null) | row("    \($name)"; "ms"; 0);
    def fenced: "    fenced by " + (.evidence // {} | to_entries | map("\(.key) \(.value) times") | join(", "));
'

bench_guard_crash() {
    noise_begin
    run_scenarios guard-crash.one result_parts --scenario crash --profile fast --only payment
    run_scenarios guard-crash.both result_parts --scenario crash --profile fast
    noise_end guard-crash
    jq -n --slurpfile noise "$WORK/guard-crash.noise" --argjson one "$(summed guard-crash.one)" \
        --argjson both "$(summed guard-crash.both)" '{noise: $noise[0], one: $one, both: $both}' >"$WORK/guard-crash.json"
    jq -r "$JQ_WORDS$JQ_LAPS"'
        "", "PostgreSQL killed, guards, fast profile: \(.one.runs) and \(.both.runs) runs          median        least .. most", "",
        (.one | (.outage_ms | row("outage, as the clients saw it"; "ms"; 0) + against(250; "ms")), laps, fenced), "",
        (.both | (.outage_ms | row("outage, both databases at one moment"; "ms"; 0)), laps, fenced),
        (.noise | noise)' "$WORK/guard-crash.json"
}

# The permit's sum, as failoverctl check prints it for the profile; in milliseconds.
permit_sum_ms() { # PROFILE
    sed "s/^profile: .*/profile: $1/" "$SOURCE/deploy/example/cluster.yaml" >"$WORK/profile.yaml"
    "$BUILD/failoverctl" check "$WORK/profile.yaml" 2>/dev/null |
        sed -nE "s/.*a permit alone proves the end of writing after ([0-9]+)\.([0-9]{3}) s.*/\1\2/p"
}

bench_guard_host_loss() {
    local sum_ms
    sum_ms=$(permit_sum_ms fast) && [[ -n $sum_ms ]] || { bench_failed guard-host-loss && return; }
    noise_begin
    run_scenarios guard-host-loss.replication result_parts --scenario host-loss --profile fast --only payment \
        --levels guard,permit,replication
    run_scenarios guard-host-loss.permit result_parts --scenario host-loss --profile fast --only payment \
        --levels guard,permit
    noise_end guard-host-loss
    jq -n --slurpfile noise "$WORK/guard-host-loss.noise" --argjson sum "$sum_ms" \
        --argjson replication "$(summed guard-host-loss.replication)" --argjson permit "$(summed guard-host-loss.permit)" \
        '{noise: $noise[0], permit_sum_ms: $sum, replication: $replication, permit: $permit}' >"$WORK/guard-host-loss.json"
    jq -r "$JQ_WORDS$JQ_LAPS"'
        "", "a primary\u2019s host is lost, guards, fast profile                        median        least .. most", "",
        (.replication | (.outage_ms | row("outage, `replication` beside `permit`"; "ms"; 0) + against(1500; "ms")), laps, fenced), "",
        "the permit\u2019s sum, as failoverctl check prints it: \(.permit_sum_ms) ms",
        (.permit_sum_ms as $sum | .permit | (.outage_ms | row("outage, `permit` alone"; "ms"; 0) + against($sum + 1500; "ms")), laps, fenced),
        (.noise | noise)' "$WORK/guard-host-loss.json"
}
