#!/bin/bash
# Both primaries are killed with kill -9 on living nodes: their guards say so, and no power is cut (failures.md E1).
. "$(dirname "$0")/sandbox.bash"
check_scenario crash guards '^guard '
finish
