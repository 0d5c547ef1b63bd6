#!/bin/bash
# Without guards: both primaries are killed with kill -9 under load, their power is cut, and they are failed over.
. "$(dirname "$0")/sandbox.bash"
check_scenario crash
finish
