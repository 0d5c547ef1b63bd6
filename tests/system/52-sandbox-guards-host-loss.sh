#!/bin/bash
# The nodes of both primaries are lost with their guards: cut standbys, the power device or time prove the fence, whichever
# comes first (failures.md C1).
. "$(dirname "$0")/sandbox.bash"
check_scenario host-loss guards '^(replication|agent|permit) '
finish
