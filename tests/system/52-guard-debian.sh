#!/bin/bash
# failover-guard beside Debian's own way to run PostgreSQL: configuration in /etc, peer authentication, started by
# pg_ctlcluster. It sees all, and touches nothing before the first permit.
# shellcheck disable=SC2317
. "$(dirname "$0")/guard.bash"
CLUSTER=guard$$

created() {
    pg_createcluster 15 "$CLUSTER" -p 5439 -d "$WORLD/db1/debian" -s "$WORLD/db1/socket" -l "$WORLD/db1/debian.log" \
        -- --auth-local=peer
}

digest() {
    { find "$WORLD/db1/debian" -maxdepth 1 -type f -printf '%f\n' | grep -vE '^postmaster' | sort
      cat "/etc/postgresql/15/$CLUSTER/postgresql.conf"; } | sha256sum
}

guard_world
trap 'pg_dropcluster 15 "$CLUSTER" --stop 2>/dev/null; world_close' EXIT
check "Debian makes a cluster of its own" created
check "pg_ctlcluster starts it" pg_ctlcluster 15 "$CLUSTER" start
before=$(digest) first=$(head -n 1 "$WORLD/db1/debian/postmaster.pid")
guard_start db1
guard_stop db1
sed -i "s|payments: {.*|payments: { data_dir: $WORLD/db1/debian, bin_dir: $PG_BIN, socket_dir: $WORLD/db1/socket, port: 5439, config_file: /etc/postgresql/15/$CLUSTER/postgresql.conf }|" "$WORLD/db1/local.yaml"
guard_again db1
check_soon "the guard sees a primary, by peer authentication as its user" 10 report_shows db1 '.mode == "observing" and .state == "running" and .role == "primary" and .timeline == 1'
check "it has touched nothing" test "$(digest)" = "$before"
check "and PostgreSQL runs where it ran" eval '! grep -q postgres-payments "/proc/$first/cgroup"'
check "pg_ctlcluster stops it" pg_ctlcluster 15 "$CLUSTER" stop
check_soon "which is seen, and nothing more" 10 report_shows db1 '.state == "stopped" and .clean'
check "it has touched nothing" test "$(digest)" = "$before"
check "Debian removes it" pg_dropcluster 15 "$CLUSTER"
trap world_close EXIT
guard_world_finish
finish
