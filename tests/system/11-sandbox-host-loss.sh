#!/bin/bash
# Without guards: both primaries' hosts go silent and die under load, their power is cut, and they are failed over.
. "$(dirname "$0")/sandbox.bash"
check_scenario host-loss
finish
