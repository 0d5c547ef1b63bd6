#!/bin/bash
# The kill matrix of 40-kill-matrix.sh in the sandbox's whole shop: two databases that fail together, their services,
# two proxies, three etcd members.
# shellcheck disable=SC2034
. "$(dirname "$0")/../kill_matrix.bash"
KINDS=(payment order) MEMBERS=(etcd1 etcd2 etcd3) PROXIES=(proxy1 proxy2) SERVICES=yes WORKERS=2
kill_matrix "$0" "$@"
