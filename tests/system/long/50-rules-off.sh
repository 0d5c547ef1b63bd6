#!/bin/bash
# Every bad day's test can fail: each is run once more with the rules that it rests on left out (tests/system/rows.txt), and
# a sentence of its own must fail, after a rule that was left out would have counted. A run ends there.
# deadline: 10800 s
#
# At the end the rows' outcomes are printed as a table, which tests/run shows.
#
#     50-rules-off.sh [ROW | ROW:FILE]...    these rows alone; FILE as in 56-rows-hosts.sh
set -u
HERE=$(cd "$(dirname "$0")/../../.." && pwd)
FAILOVER_BUILD=$(cd "${FAILOVER_BUILD:-$HERE/build/sanitize}" && pwd) || exit 1
export FAILOVER_BUILD
TMP=$(mktemp -d)
failures=0
child=''
trap '[[ -z $child ]] || { kill -TERM "$child" && wait "$child"; }; rm -rf "$TMP"' EXIT
trap 'exit 143' TERM INT HUP

ok() {
    printf 'ok %s\n' "$1"
}

failed() {
    printf 'FAILED %s\n' "$1"
    failures=$((failures + 1))
}

lines() { # of the table that have rules: ROW FILE RULES
    sed -nE 's/^([A-J][0-9]+) \| (tests\/system\/[^ ]+\.sh) \| ([^-].*)$/\1 \2 \3/p' "$HERE/tests/system/rows.txt"
}

is_wanted() { # ROW FILE [WANTED...]
    local row=$1 file=${2##*/} one
    shift 2
    (($#)) || return 0
    for one; do
        [[ $one == "$row" || $one == "$row:$file" ]] && return
    done
    return 1
}

# Of a script that has its rows' names as arguments: those that are tried in one go with this one.
group_of() { # ROW FILE
    grep -q rows_run "$HERE/$2" && sed -nE "s/^ROWS=.*\"(([^\"]* )?$1( [^\"]*)?)\".*/\1/p" "$HERE/$2"
}

run_without() { # FILE RULES ROW...: all these in one run
    local file=$1 rules=$2 arguments=()
    shift 2
    ! grep -q rows_run "$HERE/$file" || arguments=("$1")
    RULE_OFF=$rules RULE_OFF_ROWS=$* timeout -k 15 900 bash "$HERE/$file" "${arguments[@]}" </dev/null >"$TMP/log" 2>&1 &
    child=$!
    wait "$child"
    child=''
}

# A line of the table: a run's seconds are those of each of its rows.
tell() { # ROW FILE RULES SECONDS WHAT
    printf '| %-4s %-24s %-24s %5s s  %s\n' "$@" >>"$TMP/table"
}

judge() { # FILE RULES ROW SECONDS
    local file=${1##*/} first
    first=$(grep -m 1 -E "^FAILED $3:" "$TMP/log" | cut -d' ' -f2-)
    if [[ -n $first && $first != *'world is healthy'* ]] && grep -qE '^    rule .* was left out' "$TMP/log"; then
        ok "$3 fails without $2 ($file): $first"
        tell "$3" "$file" "$2" "$4" "fails: $first"
    else
        tell "$3" "$file" "$2" "$4" "DOES NOT FAIL AS IT MUST"
        failed "$3 fails without $2 ($file)"
        grep -E '^(ok|FAILED|    rule)' "$TMP/log" | tail -n 60 | sed 's/^/    /'
    fi
}

run_all() { # [WANTED...]
    local row file rules group other begin
    local -A tried=()
    while read -r row file rules; do
        group=$(group_of "$row" "$file")
        [[ -z ${tried[$row $file $rules]:-} ]] && is_wanted "$row" "$file" "$@" || continue
        group=$(lines | while read -r other of without; do # rows that share a run
            [[ "$of $without" == "$file $rules" && "$(group_of "$other" "$of")" == "$group" ]] &&
                is_wanted "$other" "$of" "$@" && printf '%s ' "$other"
        done)
        begin=$SECONDS
        # shellcheck disable=SC2086 # names
        run_without "$file" "$rules" $group
        for other in $group; do
            tried[$other $file $rules]=yes
            judge "$file" "$rules" "$other" $((SECONDS - begin))
        done
    done < <(lines)
}

run_all "$@"
if [[ -s $TMP/table ]]; then
    cat "$TMP/table"
else
    failed "a row of that name has rules: $*"
fi
exit $((failures > 0))
