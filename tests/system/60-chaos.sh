#!/bin/bash
# tests/chaos is fit to judge: its schedule is a function of the seed and keeps its budget, its observer sees two instances that
# acknowledge, and four cases of it run from a file: a leading controller and a primary that are killed, one after the
# other and together; clients need not mind a leader's death, also when each node was a standby at a fence before.
# shellcheck disable=SC2317
. "$(dirname "$0")/sandbox.bash"
. "$HERE/deploy/sandbox/lib.sh"
CHAOS=$HERE/tests/chaos
trap 'exit 143' TERM INT HUP

# --- the schedule ----------------------------------------------------------------------------------------------

printed() { # SEED FROM CASES
    "$CHAOS/run" --print --seed "$1" --from "$2" --cases "$3"
}

same_again() {
    printed 7 1 200 >"$TMP/one" && printed 7 1 200 >"$TMP/again" && [[ -s $TMP/one ]] && cmp "$TMP/one" "$TMP/again"
}

another_seed() {
    printed 8 1 200 >"$TMP/other" && ! cmp -s "$TMP/one" "$TMP/other"
}

case_by_itself() {
    printed 7 100 1 | cmp - <(grep '^100 ' "$TMP/one")
}

# In one case no two faults meet both nodes of a pair, nor two members of etcd, nor one host twice.
keeps_budget() {
    cat "$TMP/one" "$TMP/other" | awk '
        $1 != last { split("", taken); last = $1 }
        {
            what = $5
            if (what ~ /:/) { sub(/.*:/, "node of ", what) } else if (what ~ /^(etcd.|all)$/) what = "etcd"
            n = split(what == "both" ? "leader follower" : what, names, / (of )?/)
            key = what ~ /^node/ ? what : ""
            if (key != "") { if (key in taken) bad = bad "case " $1 ": " key "\n"; taken[key] }
            else for (i = 1; i <= n; i++) { if (names[i] in taken) bad = bad "case " $1 ": " names[i] "\n"; taken[names[i]] }
        }
        END { printf "%s", bad; exit bad != "" || NR < 300 }'
}

every_kind_comes() { # each fault and each way of a cut, in 400 cases
    cat "$TMP/one" "$TMP/other" | cut -d' ' -f3,4 | sort -u | wc -l >"$TMP/kinds"
    (($(<"$TMP/kinds") >= 20)) && [[ $(cat "$TMP/one" "$TMP/other" | awk '$3 == "cut" { print $6 }' | sort -u | wc -l) == 3 ]]
}

check "the same seed gives the same schedule" same_again
check "another seed gives another one" another_seed
check "a case of a seed is the same by itself" case_by_itself
check "no case disturbs both nodes of a pair, two members of etcd, or one host twice" keeps_budget
check "every kind of fault comes, and cuts of each direction" every_kind_comes

# --- the observer ----------------------------------------------------------------------------------------------

acks_of() { # NODE: how many, at least
    (($(grep -c " $1 " "$WORLD/observed/payments.acks") >= $2))
}

says_two() {
    grep -q '^TWO payments' "$WORLD/db1/observer.log"
}

two_servers() {
    local host
    pg_init db1 db2 async
    pg_start db1 && pg_start db2
    wait_for "the primary takes connections" 20 pg_ready db1 && wait_for "the standby takes connections" 20 pg_ready db2 &&
        pg_sql db1 postgres 'CREATE TABLE payments (id text PRIMARY KEY, amount_cents bigint NOT NULL)'
}

world_open
trap world_close EXIT
world_host db1 10.77.1.1
world_host db2 10.77.2.1
check "two servers run" two_servers
mkdir "$WORLD/observed"
world_spawn db1 observer "$BUILD/tests/observer" "$WORLD/observed" payments "db1=host=$WORLD/db1/socket user=postgres dbname=postgres" \
    "db2=host=$WORLD/db2/socket user=postgres dbname=postgres"
check "the observer notes what the primary acknowledges" wait_for "some acknowledgements" 20 acks_of db1 20
check "and nothing of the standby" test "$(grep -c ' db2 ' "$WORLD/observed/payments.acks")" = 0
check "of one primary it says nothing" eval '! says_two'
pg_sql db2 postgres 'SELECT pg_promote(true)' >/dev/null
check "of a second primary beside it the observer says TWO" wait_for "TWO" 20 says_two
grep -m 2 '^TWO' "$WORLD/db1/observer.log" | sed 's/^/    /'
world_close
trap - EXIT

# --- a run -----------------------------------------------------------------------------------------------------

cat >"$TMP/schedule" <<-END
	1 0 kill controller leader - 1500
	2 0 kill postgres primary:payment - 0
	2 100 kill controller leader - 2000
	3 0 kill postgres primary:payment - 0
	4 0 kill controller leader - 1500
END
status=0
"$CHAOS/run" --schedule "$TMP/schedule" --out "$TMP/chaos" --build-dir "$BUILD" </dev/null >"$TMP/output" 2>&1 || status=$?
sed 's/^/    /' "$TMP/output"
check "F18: four cases run from a file, and all are ok" test "$status" -eq 0
check "each has its line" test "$(grep -c '^ok case' "$TMP/output")" = 4
check "the second moved one database, and the old primary was rebuilt" grep -qE '^ok case 2 .* 1 grants, rebuild (pay-east|pay-west)' "$TMP/output"
# --- told to end -----------------------------------------------------------------------------------------------

spaces() {
    find /run/netns -mindepth 1 -name 'fo-*' 2>/dev/null | sort
}

a_case_has_ended() {
    grep -q '^ok case' "$TMP/output"
}

has_ended() { # PID
    [[ ! -d /proc/$1 ]]
}

spaces >"$TMP/before"
"$CHAOS/run" --seed 5 --minutes 5 --out "$TMP/chaos" --build-dir "$BUILD" </dev/null >"$TMP/output" 2>&1 &
run=$!
disown
wait_for "a case has ended" 120 a_case_has_ended
kill -TERM "$run"
check "a run that is told to end does so" wait_for "its end" 30 has_ended "$run"
check "it says how far it came" grep -qE '^[0-9]+ cases: [0-9]+ ok, 0 failed' "$TMP/output"
check "and leaves no namespace" test -z "$(spaces | comm -13 "$TMP/before" -)"
sed 's/^/    /' "$TMP/output"
finish
