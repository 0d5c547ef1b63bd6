#!/bin/bash
# kill -9 of the follower, and of both controllers at once, at every point of a failover that 40-kill-matrix.sh kills the leader
# at: before and after every record and around every effect. The leader finishes alone; of both the first one that returns
# takes the work up (failures.md A1, A2, A3, A4, A8, A9, A15).
# deadline: 5400 s
# shellcheck disable=SC2034
. "$(dirname "$0")/../kill_matrix.bash"
KINDS=(payment) MEMBERS=(etcd1) PROXIES=(proxy1) SERVICES=no WORKERS=3 ROLES=(follower both)
kill_matrix "$0" "$@"
