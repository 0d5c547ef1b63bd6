#!/bin/bash
# Without guards: every PostgreSQL process of both primaries stands still, to the end; the kernel goes on accepting
# connections, nothing answers, and the controllers fail them over (failures.md E2).
. "$(dirname "$0")/sandbox.bash"
check_scenario hang
finish
