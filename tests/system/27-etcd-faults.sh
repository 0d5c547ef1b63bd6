#!/bin/bash
# Between each controller and etcd stands a network that delays, stalls, cuts, swallows, repeats, refuses and talks nonsense
# (tests/system/fault_proxy.c). Nobody acts without leadership, nothing is done twice, and all goes on when it ends.
# deadline: 900 s
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
. "$(dirname "$0")/etcd.bash"
FIRST_PORT=12379

# Each controller reaches the three members by way of a host of its own, whose proxies share their weather.
proxies_start() { # HOST ADDRESS
    local host=$1 member port=$FIRST_PORT
    world_host "net-$host" "$2"
    echo pass >"$WORLD/$host/weather"
    for member in etcd1 etcd2 etcd3; do
        world_spawn "net-$host" "fault-$member" "$BUILD/tests/fault_proxy" "$2:$port" \
            "${HOST_ADDRESS[$member]}:2379" "$WORLD/$host/weather"
        port=$((port + 1))
    done
}

through_proxies() { # HOST: its local file, and tell it
    local host=$1 port=$FIRST_PORT member
    for member in etcd1 etcd2 etcd3; do
        sed -i "s|http://${HOST_ADDRESS[$member]}:2379|http://${HOST_ADDRESS[net-$host]}:$port|" "$WORLD/$host/local.yaml"
        port=$((port + 1))
    done
    kill -HUP "$(host_pid "$host" failoverd)"
}

# weather HOST... -- WORDS: taken up by each proxy before it returns.
weather() {
    local hosts=() host member
    while [[ $1 != -- ]]; do
        hosts+=("$1")
        shift
    done
    shift
    for host in "${hosts[@]}"; do
        echo "$*" >"$WORLD/$host/weather.new"
        mv "$WORLD/$host/weather.new" "$WORLD/$host/weather"
    done
    for host in "${hosts[@]}"; do
        for member in etcd1 etcd2 etcd3; do
            wait_for "the weather changes" 5 weather_is "$WORLD/net-$host/fault-$member.log" "$*"
        done
    done
}

weather_is() { # LOG WORDS
    [[ $(tail -n 1 "$1") == "$2"* ]]
}

leads_elsewhere() { # HOST that leads no more
    status_of "$(other_than "$1")" ".controller.leading" && status_of "$1" '.controller.leading | not'
}

descriptors_of() { # HOST
    find "/proc/$(host_pid "$1" failoverd)/fd" -mindepth 1 | wc -l
}

incidents_are() { # COUNT
    local incidents
    incidents=$(etcd_ctl etcd1 get --prefix --keys-only /failover/shop/incidents/ | grep -c .)
    ((incidents == $1))
}

world_begin
remember_pids
proxies_start ops1 10.77.0.21
proxies_start ops2 10.77.0.22
for host in ops1 ops2; do
    weather "$host" -- pass
    through_proxies "$host"
done
check_soon "both controllers reach etcd by way of the proxies" 20 both_say "etcd's endpoints of the local file count now"
# What they had open to the members ends with the members' connections; from here on only the proxies are used.
for member in etcd1 etcd2 etcd3; do
    host_kill "$member"
    etcd_member "$member"
    check_soon "$member is back" 20 etcd_ready "$member"
done
check_soon "all is well" 30 is_well

# --- slow ------------------------------------------------------------------------------------------------------------

leader=$(leader_of) before=$(term)
weather ops1 ops2 -- delay 150
check_for "answers that come 150 ms late change nothing" 10 term_is "$before"
weather ops1 ops2 -- pass

# --- never, for the leader alone (D8, D11) ------------------------------------------------------------------------------

weather "$leader" -- stall
check_soon "a leader whose answers are stalled is replaced" 20 leads_elsewhere "$leader"
check_for "and both lead at no time" 3 never_both
weather "$leader" -- pass
check_soon "all is well" 20 is_well
leader=$(leader_of)
weather "$leader" -- swallow
check_soon "a leader whose answers are lost is replaced" 20 leads_elsewhere "$leader"
weather "$leader" -- pass
check_soon "all is well (2)" 20 is_well
check "no permit was written anew" permits_are 1 1

# --- cut, refused, nonsense: for both ------------------------------------------------------------------------------------

nonsense() { # NAME: an answer as a file; prints its path
    local file=$TMP/$1 body=''
    case $1 in
    short) printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"header":{"clus' >"$file" ;;
    types) body='{"header":{"cluster_id":7,"revision":{}},"kvs":"none","succeeded":"yes","result":[],"ID":[],"TTL":"soon"}' ;;
    empty) body='' ;;
    html) body='<html><body>Bad Gateway</body></html>' ;;
    null) body='null' ;;
    deep) body=$(printf '[%.0s' {1..5000}) ;;
    large)
        { printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000014\r\n\r\n{"header":"' &&
            head -c 10000000 /dev/zero | tr '\0' x && printf '"}'; } >"$file"
        ;;
    endless) { printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n' && head -c 12000000 /dev/zero | tr '\0' '{'; } >"$file" ;;
    esac
    [[ -e $file ]] || printf 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' "${#body}" "$body" >"$file"
    printf '%s' "$file"
}

bad_weather() { # SENTENCE WORDS...
    local sentence=$1
    shift
    weather ops1 ops2 -- "$@"
    check_soon "with $sentence nobody leads" 20 nobody_leads
    check_for "and it stays so ($sentence)" 2 nobody_leads
    check "both controllers live ($sentence)" both_live
    weather ops1 ops2 -- pass
    check_soon "when it is over all is well ($sentence)" 25 is_well
}

bad_weather "answers cut after 150 bytes" cut 150
descriptors_before=$(descriptors_of ops1)
bad_weather "connections refused" refuse
descriptors_after=$(descriptors_of ops1)
check "no descriptors were left ($descriptors_before, then $descriptors_after)" test "$descriptors_after" -le $((descriptors_before + 8))
for name in short types empty html null deep large endless; do
    bad_weather "answers that are $name" answer "$(nonsense "$name")"
done
check "no permit was written anew (2)" permits_are 1 1
check_soon "the load goes on" 15 load_runs

# --- in the middle of a failover -------------------------------------------------------------------------------------------

pg_kill pay-east
check_soon "a fence runs" 20 record_shows '[.workflow.moves[]? | select(.database == "payments") | .phase] == ["fence"]'
weather ops1 ops2 -- swallow
check_soon "D8: answers are lost in the middle of it: nobody leads" 20 nobody_leads
check_for "and nothing is promoted that is not recorded" 3 is_standby pay-west
weather ops1 ops2 -- pass
check_soon "D8: when it is over the failover is finished" 60 has_moved payments pay-west
check "D8: with one new permit" permits_are 2 1

# --- each request twice (D9) ---------------------------------------------------------------------------------------------

# A record that is written twice is read again, and until then nothing is decided: so nothing is left to be recorded.
check_soon "what the failover has left is said" 20 status_shows '[.groups[].alarms[].key] | (index("redundancy.payments") != null and index("durability.payments") != null)'
weather ops1 ops2 -- replay
check_for "a network that repeats every request changes nothing" 5 goes_on
check "what is asked for is done once" ctl pause shop --reason "asked twice"
check "and undone once" ctl resume shop --reason "asked twice"
pg_kill ord-east
check_soon "a failover runs in it" 60 has_moved orders ord-west
check "with one new permit (2)" permits_are 2 2
check "and one incident" incidents_are 2
weather ops1 ops2 -- pass
check_soon "all goes on" 20 goes_on
check "both controllers have lived through all of it" both_live
stop_load_and_audit
world_finish
finish
