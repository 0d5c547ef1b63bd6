#!/bin/bash
# Both primaries' hosts go silent and die under load, and the controllers fail them over.
. "$(dirname "$0")/sandbox.bash"
check_scenario host-loss
finish
