#!/bin/bash
# A database's password is changed, in PostgreSQL and in the secret's file: SIGHUP is all that the controllers need.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
PRIMARY=${SHOP_HOME[payment]}

all_credentials_work() {
    status_shows '[.groups[].databases[].instances[].cause] | all(. == "ok")'
}

credentials_fail() {
    status_shows '[.groups[].databases[].instances[].cause] | any(. == "credentials")'
}

change_password() {
    local kind new=changed-in-the-test
    for kind in "${SHOP_KINDS[@]}"; do
        pg_sql "${SHOP_HOME[$kind]}" postgres "ALTER ROLE failoverd PASSWORD '$new'" || return 1
        pg_sql "${SHOP_HOME[$kind]}" postgres \
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'failoverd'" || return 1
    done
    (umask 077 && echo "$new" >"$WORLD/secrets/postgres")
}

reload() {
    local host
    for host in ops1 ops2; do
        kill -HUP "$(host_pid "$host" failoverd)" || return 1
    done
}

said_by_both() { # WORDS
    grep -q -- "$1" "$WORLD/ops1/failoverd.log" && grep -q -- "$1" "$WORLD/ops2/failoverd.log"
}

nothing_moved() {
    etcd_value permits/payments | jq -e --arg n "$PRIMARY" '.state == "granted" and .node == $n and .epoch.counter == 1'
}

world_begin
check_soon "all is well before anything happens" 20 all_credentials_work
pids="$(host_pid ops1 failoverd) $(host_pid ops2 failoverd)"
check "the password is changed" change_password
check_soon "the old password does not work any more" 20 credentials_fail
check "both controllers are told by SIGHUP" reload
check_soon "both say what they have read again" 10 said_by_both "its commands and secrets count now"
check_soon "the new password works" 20 all_credentials_work
check "it is the same two processes" test -d "/proc/${pids% *}" -a -d "/proc/${pids#* }"
check "nothing has moved" nothing_moved
printf 'nonsense\n' >>"$WORLD/ops1/local.yaml"
check "a local file is damaged" reload
check_soon "it is not taken" 10 grep -q "the old one still counts" "$WORLD/ops1/failoverd.log"
check_soon "all goes on with the old one" 10 all_credentials_work
world_finish
finish
