# shellcheck shell=bash
# etcd.bash - what the tests that break etcd have in common. Sourced after world.bash.
#
#     goes_on, nobody_leads, both_live, both_show_problem WORDS
#     term, term_is TERM, member_in_use HOST, permits_are COUNTER COUNTER, revoke_leader_lease
#     mark, both_say WORDS, somebody_says WORDS      of the controllers' logs since the mark
declare -A MARK=()
PIDS=()

remember_pids() {
    PIDS=("$(host_pid ops1 failoverd)" "$(host_pid ops2 failoverd)")
}

# After its failover payments has no redundancy here: everything else is well.
goes_on() {
    status_shows '.leader.id != null and .etcd.reachable and .etcd.problem == null and
        ([.controllers[] | select(.present and (.id | startswith("ops")))] | length == 2) and
        all(.groups[].databases[]; .state == "normal" and .writable and .permit == "granted") and
        all(.groups[].routes[].proxies[]; .state == "agrees")'
}

leads_newly() { # TERM of before
    goes_on && status_shows ".leader.term > $1"
}

term() {
    ctl status --json | jq -er .leader.term
}

term_is() { # TERM
    status_shows ".leader.term == $1 and .etcd.reachable"
}

permits_are() { # COUNTER of payments, COUNTER of orders
    local database
    for database in payments orders; do
        etcd_value "permits/$database" | jq -e ".state == \"granted\" and .epoch.counter == $1" || return 1
        shift
    done
}

# The member that this controller talks to: the address with most of its connections.
member_in_use() { # HOST
    local address host
    address=$(host_exec "$1" ss -Htn state established dport = 2379 | awk '{ print $4 }' | sed 's/:2379$//' | sort | uniq -c |
        sort -rn | awk 'NR == 1 { print $2 }')
    for host in etcd1 etcd2 etcd3; do
        [[ ${HOST_ADDRESS[$host]} == "$address" ]] && echo "$host" && return
    done
    return 1
}

both_say() { # WORDS (extended expression), since the mark
    local host
    for host in ops1 ops2; do
        tail -n "+${MARK[$host]:-1}" "$WORLD/$host/failoverd.log" | grep -qE -- "$1" || return 1
    done
}

somebody_says() {
    tail -qn "+1" "$WORLD"/ops?/failoverd.log | grep -qE -- "$1"
}

mark() {
    local host
    for host in ops1 ops2; do
        MARK[$host]=$(($(wc -l <"$WORLD/$host/failoverd.log") + 1))
    done
}

both_live() {
    kill -0 "${PIDS[@]}" && [[ "${PIDS[*]}" == "$(host_pid ops1 failoverd) $(host_pid ops2 failoverd)" ]]
}

nobody_leads() {
    local host
    for host in ops1 ops2; do
        status_of "$host" '.controller.leading | not' || return 1
    done
}

both_show_problem() { # WORDS
    local host
    for host in ops1 ops2; do
        status_of "$host" "(.controller.leading | not) and (.etcd.problem // \"\" | test(\"$1\"))" || return 1
    done
}

revoke_leader_lease() {
    local lease
    # Not by jq, whose numbers are not that long.
    lease=$(etcd_ctl etcd1 get /failover/shop/leader -w fields | sed -n 's/^"Lease" : //p') && [[ -n $lease ]] &&
        etcd_ctl etcd1 lease revoke "$(printf '%x' "$lease")"
}

start_controllers() {
    controller_start ops1
    controller_start ops2
    remember_pids
}
