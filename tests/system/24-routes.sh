#!/bin/bash
# Traffic follows the permit, whatever happens to the proxies: what one has forgotten, missed, or been told by hand is
# put right, and none waits for another (failures.md H1, H2, H3).
#
# How soon is printed. That it is within 2 s is the product's promise, not the machine's: it is held to it in virtual time
# (tests/scenario, the stories of proxies).
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"

# The servers of a backend that this proxy would send traffic to, in one line.
open_servers() { # PROXY BACKEND
    local stat
    stat=$(proxy_ask "$1" 'show stat') || return 1
    awk -F, -v b="$2" '$1 == b && $2 != "BACKEND" && $2 != "FRONTEND" && $18 !~ /^MAINT/ { printf "%s ", $2 }' <<<"$stat"
}

leads_to() { # PROXY BACKEND SERVER
    [[ $(open_servers "$1" "$2") == "$3 " ]]
}

# All four routes of a proxy as they stand before any failover.
leads_home() { # PROXY
    leads_to "$1" payments_db pay-east && leads_to "$1" payment_http east &&
        leads_to "$1" orders_db ord-east && leads_to "$1" order_http east
}

haproxy_start() { # PROXY [OPTIONS of haproxy]
    local proxy=$1
    shift
    world_spawn "$proxy" haproxy haproxy -db -f "$WORLD/$proxy/haproxy.cfg" "$@"
}

haproxy_answers() { # PROXY PID: this very process
    proxy_ask "$1" 'show info' | grep -qx "Pid: $2"
}

restart() {
    host_kill proxy1
    haproxy_start proxy1
}

reload() {
    haproxy_start proxy1 -sf "$(host_pid proxy1 haproxy)"
    wait_for "the new process answers" 10 haproxy_answers proxy1 "$WORLD_PID"
}

open_by_hand() { # PROXY BACKEND SERVER
    [[ -z $(proxy_ask "$1" "set server $2/$3 state ready" | tr -d '\n') ]]
}

incident_is_told() {
    ctl incident show latest --json >"$TMP/incident.json" && jq -e 'all(.laps_ms[]; . != null)' "$TMP/incident.json"
}

world_begin
check_soon "both proxies lead home" 10 leads_home proxy1
check "both proxies lead home (2)" leads_home proxy2

restart
check_soon "a restarted proxy, which has forgotten all, is put right" 20 leads_home proxy1
check "a proxy reloads" reload
check_soon "a reloaded proxy is put right" 20 leads_home proxy1
check "the other proxy was not touched" leads_home proxy2

check "a standby is opened by hand" open_by_hand proxy2 payments_db pay-west
check_soon "a server opened by hand is closed again" 20 leads_home proxy2
check "and by no failover" record_shows '.workflow == null'

host_kill proxy1
check_soon "a proxy that is down raises an alarm" 15 shows_alarm proxy.proxy1 'does not answer'
pg_kill pay-east
KILLED_AT=$(now_ms)
check_soon "with one proxy down, the other is switched" 30 leads_to proxy2 payments_db pay-west
SWITCHED_MS=$(($(now_ms) - KILLED_AT))
check_soon "and its service as well" 20 leads_to proxy2 payment_http west
check_soon "the failover is complete without the proxy that is down" 20 has_moved payments pay-west
check "its incident tells what each part took" incident_is_told
echo "    $SWITCHED_MS ms from the kill to the switch of proxy2; laps: $(jq -c .laps_ms "$TMP/incident.json")"
check "orders stay at home" leads_to proxy2 orders_db ord-east
haproxy_start proxy1
check_soon "the proxy that comes back is switched" 20 leads_to proxy1 payments_db pay-west
check_soon "and its service as well" 20 leads_to proxy1 payment_http west
check_soon "its alarm is over" 10 status_shows '[.groups[].alarms[].key | select(. == "proxy.proxy1")] == []'

check "the old side is opened by hand" open_by_hand proxy1 payments_db pay-east
check_soon "the old side is closed again" 20 leads_to proxy1 payments_db pay-west
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
