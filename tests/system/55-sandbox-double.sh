#!/bin/bash
# Both primaries and the leading controller die at the same moment: the other controller leads, and fails them over.
. "$(dirname "$0")/sandbox.bash"
check_scenario double guards '^guard '
check "the leading controller did not live" grep -qE 'STRIKE.*leading controller on ops[12]' "$TMP/output"
finish
