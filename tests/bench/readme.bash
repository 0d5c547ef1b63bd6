# shellcheck shell=bash
# readme.bash - the figures as README.md's table. Sourced by run.

FIGURES_BEGIN='<!-- figures: written by `./tests/bench/run readme --write` -->'
FIGURES_END='<!-- end of figures -->'

# readme_table FILE [write]: of what `run --json` wrote, all of its figures.
readme_table() {
    local table
    table=$(jq -er "$JQ_WORDS$JQ_TABLE" "$1") || {
        echo "run: $1 has not all figures" >&2
        return 1
    }
    printf '%s\n' "$table"
    [[ -z ${2:-} ]] || readme_write "$table"
}

JQ_TABLE='
    def need($name): .[$name] // error("no figure \($name)");
    def ms: "\(.median | number(0)) ms | \(.least | number(0)) to \(.most | number(0)) ms";
    def size: "\(.median | number(2)) MiB | \(.least | number(2)) to \(.most | number(2)) MiB";
    def line($what): "| \($what) | \(.) |";
    def wait: "\(.failed) failed, \(.unknown) unknown of \(.attempts) | longest wait \(.longest_gap_ms) ms";
    def takes($who): (.rest.private_mib | size | line("\($who): private memory")),
        (.rest.resident_mib | size | line("\($who): resident, shared pages too")),
        ("\(.rest.cpu_percent.mean | number(2)) %, under load \(.load.cpu_percent.mean | number(2)) % | \(.rest.cpu_percent.least | number(2)) to \(.rest.cpu_percent.most | number(2)) % at rest"
            | line("\($who): of one core"));
    need("crash") as $crash | need("guard-crash") as $guard | need("guard-host-loss") as $lost
    | need("outages") as $outages | need("footprint") as $takes | need("guard-footprint") as $guard_takes
    | "| clients’ outage | median of \($guard.one.runs) runs | least to most |", "|---|---|---|",
    ($guard.one.outage_ms | ms | line("PostgreSQL killed, node alive; guards, fast profile")),
    ($guard.both.outage_ms | ms | line("the same, two databases at one moment")),
    ($lost.replication.outage_ms | ms | line("host lost; guards, fast profile; fenced by its cut standby (`replication`)")),
    ($lost.permit.outage_ms | ms | line("the same, by the permit’s time alone: \($lost.permit_sum_ms) ms of it are its sum")),
    ($crash.outage_ms | ms | line("PostgreSQL killed twice at one moment; no guards, default profile, power cut")),
    "", "| transactions while a part is gone; guards, fast profile | not acknowledged | |", "|---|---|---|",
    ($outages.phases[] | (if .times > 1 then "\(.name), \(.times) times" else .name end) as $what | wait | line($what)),
    "", "| what the programs take | median | least to most |", "|---|---|---|",
    ($takes.leader | takes("failoverd, leading, default profile")),
    ($guard_takes.primary | takes("failover-guard of a primary, fast profile")),
    "", "Release build at \(.machine.commit), all of the sandbox on one machine: \(.machine.cpu), \(.machine.cores) cores, \([$crash, $guard, $lost, $outages, $takes, $guard_takes | .noise.busy_percent] | "\(min) to \(max)") % busy."
'

readme_write() { # TABLE
    local readme=$SOURCE/README.md
    if ! grep -qxF "$FIGURES_BEGIN" "$readme" || ! grep -qxF "$FIGURES_END" "$readme"; then
        echo "run: README.md has no lines '$FIGURES_BEGIN' and '$FIGURES_END'" >&2
        return 1
    fi
    BEGIN=$FIGURES_BEGIN END=$FIGURES_END TABLE=$1 awk '
        $0 == ENVIRON["BEGIN"] { print; print ""; print ENVIRON["TABLE"]; print ""; skip = 1 }
        $0 == ENVIRON["END"] { skip = 0 }
        !skip' "$readme" >"$readme.new" && cat "$readme.new" >"$readme" && rm "$readme.new"
    echo "written to README.md"
}
