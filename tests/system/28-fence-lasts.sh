#!/bin/bash
# A fence lasts (design §7): fenced nodes are powered on again and their PostgreSQL is started by hand as a primary, as
# often as somebody cares to. They never get a route, an alarm counts the primaries and calls a person, they are fenced
# again, three times an hour at most, and nothing that the new primary acknowledged is lost (failures.md G6, I9;
# lessons.md A1, A13). Once only the follower can reach the node: its word is enough.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
REFENCES=3 # an hour

# By the device itself, as a person would, not by way of a controller.
power() { # NODE on|off
    host_exec bmc ipmitool -I lanplus -C 3 -H "${SHOP_BMC[$1]}" -U admin -P "$(world_secret ipmi)" chassis power "$2"
}

offs_of() { # NODE: how often its device was told to switch it off
    grep -cE " $1 0$" "$WORLD/power.log"
}

is_off() { # NODE
    [[ -e $WORLD/$1/power-off ]] && cgroup_is_empty "$WORLD_CGROUP/$1"
}

# As a primary, since nothing tells it otherwise: no standby.signal is there.
start_as_primary() { # NODE
    power "$1" on || return 1
    [[ ! -e $WORLD/$1/data/standby.signal ]] || return 1
    rm -f "$WORLD/$1/data/primary.conf" # nobody follows it, and it shall take writes all the same
    pg_start "$1" && wait_for "it has taken writes, or is off again" 20 has_been_up "$1" && return
    tail -n 20 "$WORLD/$1/postgres.log"
    return 1
}

has_been_up() { # NODE
    takes_writes "$1" || is_off "$1"
}

takes_writes() { # NODE
    [[ $(pg_sql "$1" postgres 'SELECT pg_is_in_recovery()') == f ]]
}

# The servers of a backend that this proxy would send traffic to, in one line.
open_servers() { # PROXY BACKEND
    local stat
    stat=$(proxy_ask "$1" 'show stat') || return 1
    awk -F, -v b="$2" '$1 == b && $2 != "BACKEND" && $2 != "FRONTEND" && $18 !~ /^MAINT/ { printf "%s ", $2 }' <<<"$stat"
}

# Looks at both proxies again and again, and writes down whatever leads to the fenced node. It does not outlive the test,
# wherever that ends.
watch_routes() {
    local proxy
    while [[ -d /proc/$$ ]]; do
        for proxy in proxy1 proxy2; do
            [[ $(open_servers "$proxy" payments_db) != *pay-east* ]] || echo "$proxy leads to pay-east"
            [[ $(open_servers "$proxy" payment_http) != *east* ]] || echo "$proxy leads to the service of pay-east"
        done
        sleep 0.1
    done >"$WORLD/strays.log"
}

no_primaries_alarm() {
    status_shows '[.groups[].alarms[].key | select(startswith("primaries_seen"))] == []'
}

calls_for() { # ALARM
    grep -c "$1" "$WORLD/calls.log"
}

# The alarm itself may be over before it is looked for; whom it called stays.
was_called_for() { # WORDS TIMES
    (($(calls_for "$1") >= $2))
}

has_refences() { # COUNT: recorded, so that no change of leader begins it anew
    record_shows "[.databases[] | select(.database == \"payments\") | .refences] == [$1]"
}

load_goes_on() {
    local before
    load_line payment
    before=$ACKED
    sleep 1
    load_line payment
    ((ACKED > before))
}

world_begin
pg_kill pay-east
check_soon "payments fail over" 40 has_moved payments pay-west
check_soon "pay-east is off" 5 is_off pay-east
check_soon "the load goes on" 15 load_runs
watch_routes &
watcher=$!
for ((turn = 1; turn <= REFENCES; turn++)); do
    offs=$(offs_of pay-east)
    if ((turn == 2)); then
        leader=$(leader_of)
        cut_from "$leader" "${HOST_ADDRESS[pay-east]}"
    fi
    check "pay-east is powered on and its PostgreSQL started as a primary by hand ($turn)" start_as_primary pay-east
    check_soon "an alarm counts the primaries, and calls a person ($turn)" 20 was_called_for \
        '2 primaries seen: pay-east takes writes.*, the recorded primary is pay-west' "$turn"
    check_soon "G6: it is switched off again ($turn)" 20 is_off pay-east
    check "G6: by its power device ($turn)" test "$(offs_of pay-east)" -gt "$offs"
    check_soon "and the alarm is over ($turn)" 20 no_primaries_alarm
    check "the attempt is recorded ($turn)" has_refences "$turn"
    if ((turn == 2)); then
        heal "$leader"
        check "it was the follower that saw it" was_called_for "pay-east takes writes (seen by controller $(other_than "$leader"))" 1
    fi
done
offs=$(offs_of pay-east)
check "pay-east comes back once more than is allowed" start_as_primary pay-east
check_soon "the alarm says that it was fenced as often as is allowed" 20 shows_alarm primaries_seen.payments 'as often as is allowed'
check "with what a person has to do" status_shows '[.groups[].alarms[] | select(.key == "primaries_seen.payments") | .command
    | test("stop PostgreSQL on pay-east")] == [true]'
leader=$(leader_of)
kill -KILL "$(host_pid "$leader" failoverd)"
successor=$(other_than "$leader")
check_soon "a new leader says so as well" 40 status_of "$successor" ".leader.id == \"$successor\" and
    ([.groups[].alarms[] | select(.key == \"primaries_seen.payments\")] | length == 1)"
controller_start "$leader"
check_for "and does not fence it either" 5 takes_writes pay-east
check "nobody has told its device anything" test "$(offs_of pay-east)" -eq "$offs"
check "the load goes on meanwhile" load_goes_on
check "a person switches it off" power pay-east off
check_soon "then the alarm is over" 20 no_primaries_alarm
kill "$watcher"
wait "$watcher" 2>/dev/null
check "G6: not once did a route lead to it" bash -c '! [[ -s $1 ]] || { sort "$1" | uniq -c; exit 1; }' _ "$WORLD/strays.log"
check "payments stay where they are" has_moved payments pay-west
check "orders were never touched" status_shows "[$(db orders) | .primary == \"ord-east\" and .state == \"normal\"] == [true]"
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
