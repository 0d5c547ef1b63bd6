#!/bin/bash
# Both primaries are killed, and so is the leading controller once the fence is recorded: its successor finishes what it
# began (failures.md A2, A3).
. "$(dirname "$0")/sandbox.bash"
check_scenario controller-crash guards '^guard '
check "the run says which controller was killed in the middle" grep -qE '(ops1|ops2).*kill|kill.*(ops1|ops2)' "$TMP/output"
check "its successor took the recorded work up" grep -qE 'rule=R-L[3-7]' "$TMP/world/ops1/failoverd.log" "$TMP/world/ops2/failoverd.log"
finish
