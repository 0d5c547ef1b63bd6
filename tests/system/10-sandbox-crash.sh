#!/bin/bash
# Both primaries are killed with kill -9 under load, and the controllers fail them over.
. "$(dirname "$0")/sandbox.bash"
check_scenario crash
finish
