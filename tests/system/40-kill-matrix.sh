#!/bin/bash
# kill -9 of the leader before and after every record and around every effect of a failover of one database, and of
# its successor at every step of taking the work up; what is left of the controllers finishes it, each effect once; what the
# dead one had begun ends with it, and off is asked again where it may not have been (failures.md A1, A2, A3, A4, A5, A8, A15, G7).
# shellcheck disable=SC2034
. "$(dirname "$0")/kill_matrix.bash"
KINDS=(payment) MEMBERS=(etcd1) PROXIES=(proxy1) SERVICES=no WORKERS=3
kill_matrix "$0" "$@"
