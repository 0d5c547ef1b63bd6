#!/bin/bash
# Every bad day's test can fail: each is run once more with the rules that it rests on left out (tests/system/rows.txt), and
# its sentences must fail.
# deadline: 10800 s
#
#     50-rules-off.sh [ROW...]    these rows alone
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

# The scripts that have their rows' names as arguments try that row alone.
run_without() { # FILE ROW RULES
    local arguments=()
    ! grep -q rows_run "$HERE/$1" || arguments=("$2")
    RULE_OFF=$3 timeout -k 15 900 bash "$HERE/$1" "${arguments[@]}" </dev/null >"$TMP/log" 2>&1 &
    child=$!
    wait "$child"
    child=''
}

while IFS='|' read -r row file rules; do
    row=${row// /} file=${file// /} rules=${rules# }
    [[ $row =~ ^[A-J][0-9]+$ && $file == tests/system/*.sh && $rules != -* ]] || continue
    (($# == 0)) || [[ " $* " == *" $row "* ]] || continue
    name=$file,$rules,
    grep -q rows_run "$HERE/$file" && name+=$(sed -nE "s/^ROWS=.*\"(([^\"]* )?$row( [^\"]*)?)\".*/\1/p" "$HERE/$file")
    name=${name//[^A-Za-z0-9-]/_}
    if [[ ! -e $TMP/$name ]]; then # rows that share a run are looked for in one log
        run_without "$file" "$row" "$rules"
        mv "$TMP/log" "$TMP/$name"
    fi
    if grep -qE "^FAILED ([A-Z][0-9]+, )*$row[:,]" "$TMP/$name" && ! grep -q 'world is healthy' "$TMP/$name"; then
        ok "$row fails without $rules (${file##*/}): $(grep -cE '^FAILED' "$TMP/$name") sentences, first: $(grep -E "^FAILED ([A-Z][0-9]+, )*$row[:,]" "$TMP/$name" | head -n 1 | cut -d' ' -f2-)"
    else
        failed "$row fails without $rules (${file##*/})"
        grep -E '^(FAILED|    rule)' "$TMP/$name" | head -n 20 | sed 's/^/    /'
    fi
done <"$HERE/tests/system/rows.txt"
exit $((failures > 0))
