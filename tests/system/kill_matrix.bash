# shellcheck shell=bash
# kill_matrix.bash - kill -9 of a controller at every point of a failover, with real processes (failures.md A1 to A5, A8).
#
# The failoverd used here is built with fail points (controller/daemon/fail_point.h): before and after every record,
# and around every effect. One clean failover tells which points there are; those that ordinary operation passes as
# well are left out. Then each is armed in a world of its own: both primaries' PostgreSQL is killed, the leader kills
# itself at the point, the other controller must finish. Points that only a successor passes, while it takes the work
# up, are found on the way and get their turn: there the leader dies at the one point, its successor at the other, and
# after 3 s the first returns alone. The matrix is complete when every point that anybody ever passed was hit.
#
# ROLES says who dies: leader, as above; follower: the other controller, at the moment when the leader passes the point, and
# the leader must finish alone; both: both at that moment, and after 3 s one of them returns alone, the former leader for
# one point and the former follower for the next. Of points that only a successor passes there are no such: by then
# one of the two is dead anyway.
#
# A worker keeps one world, and puts it back for each point: data directories from a copy, no key in etcd but the
# definition, controllers new. Several workers share the list. Needs KINDS (of SHOP_KINDS), MEMBERS (of etcd), PROXIES,
# SERVICES (yes or no), WORKERS, ROLES (leader alone).
# shellcheck source=tests/system/sandbox.bash
. "$(dirname "${BASH_SOURCE[0]}")/sandbox.bash"
. "$HERE/deploy/sandbox/lib.sh"
. "$HERE/deploy/sandbox/shop.sh"

SHOP_PROFILE=fast
RETURNS_AFTER_S=3
TRIES=5 # for a point that a run happened not to pass: two databases' records come in many orders
CONTROLLERS=(ops1 ops2)
[[ -n ${ROLES[*]:-} ]] || ROLES=(leader)
CHAIN_OF_DEATHS=(revoking proving granting recording verifying closing)

# --- the list, shared by the workers: a directory ---------------------------------------------------------------------

# MATRIX/known/<point>, MATRIX/covered/<role>/<point>, MATRIX/order and MATRIX/first (lines: all points, and those that the
# first leader passes), MATRIX/ways/<point> (lines: the deaths before it, of points that only a successor passes),
# MATRIX/todo/<number> (try, role, points, a line each)

# Put a chain of points on the list: the first is hit by the leader, each next one by the successor.
enqueue() { # TRY ROLE POINT...
    local file
    file=$(mktemp "$MATRIX/new.XXXXXX")
    printf '%s\n' "$@" >"$file"
    mv "$file" "$MATRIX/todo/$(date +%s%N)"
}

learn() { # POINT [CHAIN BEFORE IT...]: true if it was not known
    local point=$1 role
    mkdir "$MATRIX/known/$point" 2>/dev/null || return 1
    shift
    echo "$point" >>"$MATRIX/order"
    (($#)) || echo "$point" >>"$MATRIX/first"
    for role in "${ROLES[@]}"; do
        [[ $role != leader ]] && (($#)) || enqueue 1 "$role" "$@" "$point"
    done
}

# Once more, for a point that was not passed. One that only a successor passes depends on how far each database was when
# the leader died: it is tried by each way that is known, after the deaths that somebody else passed it after.
try_again() { # CHAIN...
    local point=${*: -1} ways deaths
    mapfile -t ways < <(awk '!seen[$0]++' "$MATRIX/ways/$point" 2>/dev/null)
    if ((${#ways[@]} > 1)); then
        IFS=$'\t' read -ra deaths <<<"${ways[TRY % ${#ways[@]}]}"
        set -- "${deaths[@]}" "$point"
    fi
    enqueue $((TRY + 1)) "$ROLE" "$@"
}

# Take the next chain from the list: TRY, ROLE and CHAIN. False when all is done; waits while others may still add some.
take_next() {
    local file
    while :; do
        for file in "$MATRIX"/todo/*; do
            if mv "$file" "$MATRIX/busy/$WORKER" 2>/dev/null; then
                mapfile -t CHAIN <"$MATRIX/busy/$WORKER"
                TRY=${CHAIN[0]} ROLE=${CHAIN[1]}
                CHAIN=("${CHAIN[@]:2}")
                return 0
            fi
        done
        [[ -e $MATRIX/enumerated && -z $(find "$MATRIX/busy" "$MATRIX/todo" -type f) ]] && return 1
        [[ -e $MATRIX/given-up ]] && return 1
        sleep 0.2
    done
}

# --- a world ------------------------------------------------------------------------------------------------------------

nodes() { # home and away of every kind
    local kind
    for kind in "${KINDS[@]}"; do
        printf '%s\n' "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}"
    done
}

build_hosts() {
    local node proxy number=0
    for node in "${MEMBERS[@]}"; do
        number=$((number + 1))
        world_host "$node" "10.77.0.$number"
    done
    world_host ops1 10.77.0.11
    world_host ops2 10.77.0.12
    world_host client 10.77.4.1
    number=0
    for proxy in "${PROXIES[@]}"; do
        number=$((number + 1))
        world_host "$proxy" "10.77.3.$number"
    done
    number=0
    for node in $(nodes); do
        number=$((number + 1))
        world_host "$node" "10.77.1.$number"
        BMCS+=("${SHOP_BMC[$node]}")
        DEVICES+=("$node=${SHOP_BMC[$node]}")
    done
    world_host bmc "${BMCS[@]}"
}

build_proxies() {
    local kind proxy routes=() home away port
    for kind in "${KINDS[@]}"; do
        home=${SHOP_HOME[$kind]} away=${SHOP_AWAY[$kind]}
        routes+=("tcp:${SHOP_DATABASE[$kind]}_db:${SHOP_DB_PORT[$kind]}:$home=${HOST_ADDRESS[$home]}:5432,$away=${HOST_ADDRESS[$away]}:5432")
        port=${SHOP_HTTP_PORT[$kind]}
        routes+=("http:${kind}_http:$port:east=${HOST_ADDRESS[$home]}:$port,west=${HOST_ADDRESS[$away]}:$port")
    done
    for proxy in "${PROXIES[@]}"; do
        proxy_start "$proxy" "${routes[@]}"
    done
}

# The databases are made once, stopped in good order, and copied from then on.
build_databases() {
    local kind node
    for kind in "${KINDS[@]}"; do
        pg_init "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}" sync || return 1
    done
    for node in $(nodes); do
        # A standby that comes a little too early shall not wait 5 s for its next attempt.
        printf '%s\n' "wal_retrieve_retry_interval = 200ms" "min_wal_size = 32MB" >>"$WORLD/$node/data/postgresql.conf"
        pg_start "$node"
    done
    for kind in "${KINDS[@]}"; do
        wait_for "the $kind standby streams" 20 pg_is_synchronous "${SHOP_HOME[$kind]}" || return 1
        shop_setup "$kind" || return 1
    done
    for node in $(nodes); do # home first: its standby has all of it then
        as_postgres "$PG_BIN/pg_ctl" stop -D "$WORLD/$node/data" -m fast -w -t 20 >/dev/null || return 1
        cp -a "$WORLD/$node/data" "$WORLD/$node/template"
    done
}

write_definition() {
    local kind databases=() services=() proxies list number=0 proxy
    printf -v proxies '%s, ' "${PROXIES[@]}"
    proxies="[${proxies%, }]"
    {
        printf 'cluster: shop\nprofile: %s\nsites: { east: {}, west: {} }\nnodes:\n' "$SHOP_PROFILE"
        for kind in "${KINDS[@]}"; do
            definition_node "${SHOP_HOME[$kind]}" east
            definition_node "${SHOP_AWAY[$kind]}" west
            databases+=("${SHOP_DATABASE[$kind]}")
            services+=("$kind")
        done
        echo "databases:"
        for kind in "${KINDS[@]}"; do
            definition_database "$kind"
        done
        if [[ $SERVICES == yes ]]; then
            echo "services:"
            for kind in "${KINDS[@]}"; do
                definition_service "$kind"
            done
        fi
        echo "proxies:"
        for proxy in "${PROXIES[@]}"; do
            printf '  %s: { type: haproxy, runtime: "%s:9999" }\n' "$proxy" "${HOST_ADDRESS[$proxy]}"
        done
        echo "routes:"
        for kind in "${KINDS[@]}"; do
            printf '  %s-db: { database: %s, proxies: %s, backend: %s_db }\n' "${SHOP_DATABASE[$kind]}" \
                "${SHOP_DATABASE[$kind]}" "$proxies" "${SHOP_DATABASE[$kind]}"
            [[ $SERVICES != yes ]] || printf '  %s-http: { service: %s, proxies: %s, backend: %s_http, servers: { %s: east, %s: west } }\n' \
                "$kind" "$kind" "$proxies" "$kind" "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}"
        done
        printf -v list '%s, ' "${databases[@]}"
        printf 'groups:\n  shop:\n    home: east\n    databases: [%s]\n' "${list%, }"
        printf -v list '%s, ' "${services[@]}"
        [[ $SERVICES != yes ]] || printf '    services: [%s]\n' "${list%, }"
        printf '    move: apart\n    automatic: yes\n'
        printf 'objectives: { switched: 1h, normal: 2h, back: 24h }\n'
        printf 'policy:\n  budget: { failovers: 2, per: 1h }\n  cut_off_after: 10s\n  call: oncall\n'
    } >"$WORLD/cluster.yaml"
}

start_controller() { # HOST
    local host=$1 member endpoints=''
    for member in "${MEMBERS[@]}"; do
        endpoints+=", \"http://${HOST_ADDRESS[$member]}:2379\""
    done
    cat >"$WORLD/$host/local.yaml" <<-YAML
	id: $host
	cluster: shop
	etcd:
	  endpoints: [ ${endpoints#, } ]
	secrets:
	  postgres: $WORLD/secrets/postgres
	  ipmi: $WORLD/secrets/ipmi
	commands:
	  oncall: [$SANDBOX_HOME/call, $WORLD/calls.log]
	copy: { dir: $WORLD/$host/copies, every: 1s }
	listen:
	  socket: $WORLD/$host/failoverd.sock
	  group: root
	YAML
    install -d -m 700 "$WORLD/$host/copies" # it outlives a controller, and not a case
    rm -f "$WORLD/$host/failoverd.sock"
    world_spawn "$host" failoverd env FAILOVER_FAIL_DIR="$WORLD/fail" \
        "$BUILD/tests/failoverd-fail-points" --config "$WORLD/$host/local.yaml"
}

is_dead() { # CONTROLLER, and all of its children
    cgroup_is_empty "$WORLD_CGROUP/$1"
}

start_services() {
    local kind node proxy databases
    [[ $SERVICES == yes ]] || return 0
    PGPASSWORD=$(world_secret shop)
    export PGPASSWORD
    for kind in "${KINDS[@]}"; do
        databases=()
        for proxy in "${PROXIES[@]}"; do
            databases+=(--database "$(shop_conninfo "$kind" "${HOST_ADDRESS[$proxy]}" "${SHOP_DB_PORT[$kind]}")")
        done
        for node in "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}"; do
            world_spawn "$node" service "$BUILD/shop" service --kind "$kind" \
                --listen "${HOST_ADDRESS[$node]}:${SHOP_HTTP_PORT[$kind]}" "${databases[@]}"
        done
    done
    unset PGPASSWORD
}

# A client writes through the proxy, and notes each row that was acknowledged, in client/KIND.acked.
# shellcheck disable=SC2016
start_writers() {
    local kind
    PGPASSWORD=$(world_secret shop)
    export PGPASSWORD
    for kind in "${KINDS[@]}"; do
        world_spawn client "writer-$kind" bash -c '
            while :; do
                while sleep 0.1 && echo "INSERT INTO $2 (id, amount_cents) VALUES ('"'\$EPOCHREALTIME'"', 1) RETURNING id;"; do :; done |
                    psql -XAtq "$1" >>"$3"
                sleep 0.1
            done' _ "$(shop_conninfo "$kind" "${HOST_ADDRESS[${PROXIES[0]}]}" "${SHOP_DB_PORT[$kind]}") connect_timeout=2" \
            "${SHOP_DATABASE[$kind]}" "$WORLD/client/$kind.acked"
    done
    unset PGPASSWORD
}

acked() { # KIND: how many
    wc -l <"$WORLD/client/$1.acked"
}

writer_writes() { # KIND LEAST
    (($(acked "$1") >= $2))
}

writers_write() { # LEAST
    local kind
    for kind in "${KINDS[@]}"; do
        writer_writes "$kind" "$1" || return 1
    done
}

is_well() { # both controllers are there, one leads, every database is writable under its permit; FILTER besides
    ctl status --json >"$WORLD/status.json" 2>/dev/null || return 1
    jq -e "(.leader.id != null) and ([.controllers[] | select(.present)] | length == 2)
        and all(.groups[].databases[]; .writable and .permit == \"granted\") and ${1:-true}" "$WORLD/status.json" >/dev/null
}

build_world() {
    local key
    BMCS=() DEVICES=()
    world_open "$1"
    trap 'trap "" INT TERM HUP; world_close' EXIT # a second signal shall not end the cleaning
    build_hosts
    world_secret postgres >/dev/null
    world_secret ipmi >/dev/null
    etcd_start "${MEMBERS[@]}"
    power_start bmc "${DEVICES[@]}"
    build_proxies
    build_databases || return 1
    wait_for "etcd commits" 20 etcd_ready etcd1 || return 1
    write_definition
    mkdir "$WORLD/fail"
    start_controller ops1
    wait_for "a controller answers" 20 ctl status || return 1
    ctl apply --yes --reason "the first definition" "$WORLD/cluster.yaml" >"$WORLD/apply.log" 2>&1 || {
        cat "$WORLD/apply.log" >&2
        return 1
    }
    for key in config installation; do
        etcd_ctl etcd1 get --print-value-only "/failover/shop/$key" >"$WORLD/$key.json" || return 1
        [[ -s $WORLD/$key.json ]] || return 1
    done
}

# The world as it was before the first failover: a healthy cluster under load.
reset_world() {
    local host node key kind
    for host in "${CONTROLLERS[@]}" client $(nodes); do
        host_kill "$host" || return 1
    done
    rm -rf "$WORLD/fail" "$WORLD"/ops*/copies "$WORLD"/*/failoverd.log "$WORLD/power.log" "$WORLD/calls.log" "$WORLD"/client/*
    mkdir -p "$WORLD/fail/armed" "$WORLD/fail/hit"
    etcd_ctl etcd1 del --prefix /failover/ >/dev/null || return 1
    for key in config installation; do
        etcd_ctl etcd1 put "/failover/shop/$key" <"$WORLD/$key.json" >/dev/null || return 1
    done
    for node in $(nodes); do
        rm -rf "$WORLD/$node/power-off" "$WORLD/$node/postgres.log" "$WORLD/$node/service.log"
        pg_forget "$WORLD/$node/data"
        rm -rf "$WORLD/$node/data"
        cp -a --reflink=auto "$WORLD/$node/template" "$WORLD/$node/data"
        pg_start "$node"
    done
    start_services
    for kind in "${KINDS[@]}"; do
        : >"$WORLD/client/$kind.acked"
        wait_for "the $kind standby streams" 20 pg_is_synchronous "${SHOP_HOME[$kind]}" || return 1
    done
    for host in "${CONTROLLERS[@]}"; do
        start_controller "$host"
    done
    start_writers
    wait_for "the cluster is healthy" 30 is_well 'all(.groups[].databases[]; .durability == "sync")' || return 1
    wait_for "clients write" 10 writers_write 3
}

# --- one failover -------------------------------------------------------------------------------------------------------

strike() {
    local kind
    wc -l <"$WORLD/fail/passed" >"$WORLD/fail/struck" # what was passed until here is ordinary operation
    for kind in "${KINDS[@]}"; do
        host_kill "${SHOP_HOME[$kind]}"
    done
}

# The record says that every database has moved and that nothing is under way, and the incident has recovered.
is_complete() {
    local kind filter='.workflow == null'
    etcd_ctl etcd1 get --print-value-only /failover/shop/groups/shop >"$WORLD/group.json" || return 1
    for kind in "${KINDS[@]}"; do
        filter+=" and any(.databases[]; .database == \"${SHOP_DATABASE[$kind]}\" and .primary == \"${SHOP_AWAY[$kind]}\")"
    done
    jq -e "$filter" "$WORLD/group.json" >/dev/null
}

was_hit() {
    [[ -e "$WORLD/fail/hit/$1" ]]
}

# Milliseconds from the last death, or from the strike, to the first thing that a survivor did.
resumed_ms() { # POINT
    awk -v point="$1" '
        { ms = $1; id = $2; name = $0; sub(/^[^ ]+ [^ ]+ /, "", name) }
        died && id != died { print ms - at; exit }
        !died && name == point { died = id; at = ms }' "$WORLD/fail/passed"
}

# What an armed point does: nothing said is the death of who passes it.
what_happens() { # ROLE
    [[ $1 == leader ]] || printf '%s %s %s' "$1" "$(host_pid ops1 failoverd)" "$(host_pid ops2 failoverd)"
}

# Those that are dead by now, besides those that are known to be; a follower or both at once.
find_victims() {
    local host
    for host in "${CONTROLLERS[@]}"; do
        [[ " ${VICTIMS[*]} " == *" $host "* ]] && continue
        wait_for "the end of $host's children" 1 is_dead "$host" 2>/dev/null && VICTIMS+=("$host")
    done
}

# Of two that died one returns; whoever died first, or, when they died together, one for one point, one for the next.
one_returns() { # POINT
    if [[ $ROLE == both ]] && (($(cksum <<<"$1" | cut -d' ' -f1) % 2)); then
        VICTIMS=("${VICTIMS[1]}" "${VICTIMS[0]}")
    fi
    sleep "$RETURNS_AFTER_S"
    start_controller "${VICTIMS[0]}"
    RETURNED=${VICTIMS[0]}
    VICTIMS=("${VICTIMS[@]:1}")
}

# Arm the chain, strike, and see that what is left of the controllers completes the failover. Sets VICTIMS, and
# MISSED to the point that was not passed. False when the failover did not complete.
one_failover() { # ROLE POINT...
    local point waited look role=$1
    shift
    VICTIMS=() MISSED='' RETURNED=''
    for point; do
        what_happens "$role" >"$WORLD/fail/armed/$point"
    done
    strike
    for point; do
        waited=$(($(now_ms) + 20000)) look=$(($(now_ms) + 1500))
        until was_hit "$point"; do
            (($(now_ms) < waited)) || break
            sleep 0.05
            (($(now_ms) < look)) && continue
            look=$(($(now_ms) + 1000))
            is_complete && sleep 1.5 && break # routes are looked at once a second: then it was not passed
        done
        if ! was_hit "$point"; then
            MISSED=$point
            rm -f "$WORLD"/fail/armed/*
            break
        fi
        find_victims
        ((${#VICTIMS[@]} < ${#CONTROLLERS[@]})) || one_returns "$point"
    done
    wait_for "the failover is complete" 40 is_complete
}

# --- what must hold afterwards: each prints what is wrong, and nothing if all is well ------------------------------------

# One promotion, onto timeline 2; the old primary is off, and no power was ever taken from the new one.
look_at_nodes() { # KIND
    local home=${SHOP_HOME[$1]} away=${SHOP_AWAY[$1]} asked forked timeline
    asked=$(grep -c 'received promote request' "$WORLD/$away/postgres.log")
    forked=$(grep 'selected new timeline ID' "$WORLD/$away/postgres.log")
    [[ $asked == 1 ]] || echo "$away was asked to promote $asked times"
    [[ $forked == *"selected new timeline ID: 2" && $(wc -l <<<"$forked") == 1 ]] || echo "$away: $forked"
    timeline=$(pg_sql "$away" postgres 'SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)')
    [[ $timeline == 00000002 ]] || echo "$away writes timeline '$timeline'"
    [[ -e $WORLD/$home/power-off ]] || echo "$home was never switched off"
    cgroup_is_empty "$WORLD_CGROUP/$home" || echo "something runs on $home"
    [[ ! -e $WORLD/$away/power-off ]] || echo "$away was switched off"
    ! grep -E " $away( 0|: set power 0)" "$WORLD/power.log" || echo "off was asked of the new primary $away"
    ! grep -hE ' 1$|set power 1' "$WORLD/power.log" || echo "power was given back"
}

# Every version of the permit, the latest first.
permit_history() { # DATABASE
    local at=()
    while etcd_ctl etcd1 get "/failover/shop/permits/$1" "${at[@]}" -w json >"$WORLD/permit.json"; do
        jq -r '.kvs[0].value' "$WORLD/permit.json" | base64 -d
        echo
        [[ $(jq '.kvs[0].version' "$WORLD/permit.json") == 1 ]] && return 0
        at=("--rev=$(jq '.kvs[0].mod_revision - 1' "$WORLD/permit.json")")
    done
    return 1
}

# Granted at home once, revoked once, granted away once; epochs only grow.
look_at_permit() { # KIND
    permit_history "${SHOP_DATABASE[$1]}" >"$WORLD/permits.json" || echo "the permit's history cannot be read"
    jq -s -c 'reverse | map("\(.state) \(.epoch.counter) \(.node)") | reduce .[] as $x ([]; if last == $x then . else . + [$x] end)' \
        "$WORLD/permits.json" >"$WORLD/permits.short"
    [[ $(<"$WORLD/permits.short") == "[\"granted 1 ${SHOP_HOME[$1]}\",\"revoked 1 ${SHOP_HOME[$1]}\",\"granted 2 ${SHOP_AWAY[$1]}\"]" ]] ||
        echo "the permit's history: $(<"$WORLD/permits.short")"
}

# Every acknowledged row is there, and the client has gone on through the proxy.
look_at_ledger() { # KIND
    local lost
    pg_sql "${SHOP_AWAY[$1]}" "${SHOP_DATABASE[$1]}" "SELECT id FROM ${SHOP_DATABASE[$1]}" | sort >"$WORLD/client/$1.rows"
    lost=$(sort "$WORLD/client/$1.acked" | comm -23 - "$WORLD/client/$1.rows")
    [[ -z $lost ]] || echo "acknowledged and lost: $(wc -l <<<"$lost") rows, the first $(head -n 1 <<<"$lost")"
}

# Each database moved in one incident, which has recovered; the budget counts each incident once. Databases that fail
# together share one, unless the leader died between their revocations.
look_at_records() {
    local wanted kind
    wanted=$(for kind in "${KINDS[@]}"; do echo "${SHOP_DATABASE[$kind]}"; done | jq -R . | jq -s -c sort)
    etcd_ctl etcd1 get --prefix /failover/shop/incidents/ --print-value-only >"$WORLD/incidents.json"
    jq -s -e --argjson wanted "$wanted" 'all(.[]; .state == "recovered") and ([.[].databases[].name] | sort) == $wanted' \
        "$WORLD/incidents.json" >/dev/null || echo "incidents: $(jq -c '[.id, .state, .databases]' "$WORLD/incidents.json")"
    [[ $(jq '.completed_wall_ms | length' "$WORLD/group.json") == "$(jq -s length "$WORLD/incidents.json")" ]] ||
        echo "completed failovers in the budget: $(jq -c .completed_wall_ms "$WORLD/group.json"), incidents: $(jq -s length "$WORLD/incidents.json")"
}

runs_alone() { # CONTROLLER: it is one process, its children have ended
    (($(cgroup_pids "$WORLD_CGROUP/$1" | wc -l) == 1))
}

look_at_all() {
    local kind host
    for kind in "${KINDS[@]}"; do
        look_at_nodes "$kind"
        look_at_permit "$kind"
        look_at_ledger "$kind"
    done
    look_at_records
    for host in "${CONTROLLERS[@]}"; do
        wait_for "$host runs alone" 5 runs_alone "$host" 2>&1
        "$BUILD/failoverctl" --socket "$WORLD/$host/failoverd.sock" status --json >/dev/null 2>&1 ||
            echo "$host does not answer"
    done
    grep -l -E 'Sanitizer|runtime error:|Assertion' "$WORLD"/ops*/failoverd.log
    [[ ! -s $WORLD/calls.log ]] || echo "a person was called: $(head -c 300 "$WORLD/calls.log")"
}

# The whole of one run after one_failover: the dead return, and nothing is wrong. Prints what is.
look_afterwards() {
    local host kind
    local -A written=() # each by its own: one database may have been back long before the other
    for kind in "${KINDS[@]}"; do
        written[$kind]=$(acked "$kind")
    done
    for host in "${VICTIMS[@]}"; do
        start_controller "$host"
    done
    wait_for "both controllers are well" 20 is_well 2>&1
    for kind in "${KINDS[@]}"; do
        wait_for "the $kind client writes again" 10 writer_writes "$kind" $((written[$kind] + 1)) 2>&1
    done
    host_kill client
    look_at_all 2>&1
}

tell_trouble() { # WHAT IS WRONG
    printf '%s\n' "$1" | sed 's/^/    /'
    printf '    passed: %s\n' "$(tail -n +"$(($(<"$WORLD/fail/struck") + 1))" "$WORLD/fail/passed" | cut -d' ' -f2- | uniq | tr '\n' ';')"
    local log
    for log in "$WORLD"/ops*/failoverd.log; do
        echo "    ${log#"$WORLD/"}:"
        tail -n 25 "$log" | sed 's/^/        /'
    done
}

# --- the worker ---------------------------------------------------------------------------------------------------------

points_passed() { # FROM-LINE: the names, once each, in their order
    tail -n +"$1" "$WORLD/fail/passed" | cut -d' ' -f3- | awk '!seen[$0]++'
}

enumerate() {
    local wrong point
    reset_world || return 1
    one_failover leader || return 1
    wrong=$(look_afterwards)
    [[ -z $wrong ]] || {
        failed "a failover of which nobody dies"
        tell_trouble "$wrong"
        return 1
    }
    ok "a failover of which nobody dies"
    head -n "$(<"$WORLD/fail/struck")" "$WORLD/fail/passed" | cut -d' ' -f3- | sort -u >"$MATRIX/ordinary"
    # What it took, and nothing after it: the controllers were one until VICTIMS (none) returned.
    while read -r point; do
        learn "$point"
    done < <(points_passed "$(($(<"$WORLD/fail/struck") + 1))" | grep -vxFf "$MATRIX/ordinary")
    echo "a failover passes $(wc -l <"$MATRIX/order") points"
    # Down the chain (A5): each record of a move costs the life of whoever wrote it.
    [[ " ${ROLES[*]} " != *" leader "* ]] || enqueue 1 leader "${CHAIN_OF_DEATHS[@]/#/save.after ${SHOP_DATABASE[${KINDS[0]}]}:}"
}

# The points that were passed after the last death, and that nobody knew; and by which way, of those that no first leader
# passes.
learn_more() { # CHAIN...
    local line point deaths
    line=$(grep -n -F " ${*: -1}" "$WORLD/fail/passed" | tail -n 1 | cut -d: -f1)
    printf -v deaths '%s\t' "$@"
    while read -r point; do
        [[ $'\t'$deaths == *$'\t'"$point"$'\t'* ]] || grep -qxF "$point" "$MATRIX/first" ||
            echo "${deaths%$'\t'}" >>"$MATRIX/ways/$point"
        learn "$point" "$@" && echo "a successor passes another point: $point"
    done < <(points_passed "$((line + 1))" | grep -vxFf "$MATRIX/ordinary")
}

# Who must die of a point: the leader that passes it lives on when it is its follower's.
as_many_died() {
    case $ROLE in
    follower) ((${#VICTIMS[@]} == 1)) && ! is_dead "$(leader_that_passed "${CHAIN[0]}")" ;;
    both) ((${#VICTIMS[@]} == 1)) && [[ -n $RETURNED ]] ;;
    *) ((${#VICTIMS[@]} > 0)) ;;
    esac
}

leader_that_passed() { # POINT
    awk -v point="$1" '{ id = $2; name = $0; sub(/^[^ ]+ [^ ]+ /, "", name) } name == point { print id; exit }' "$WORLD/fail/passed"
}

one_chain() { # CHAIN...
    local last=${*: -1} wrong='' sentence='' resumed began
    case $ROLE in
    leader) sentence="killed at $1" ;;
    follower) sentence="its follower killed at $1" ;;
    both) sentence="both killed at $1" ;;
    esac
    (($# == 1)) || sentence+=$(printf ', then at %s' "${@:2}")
    reset_world || {
        failed "$sentence: the world could not be put back"
        : >"$MATRIX/given-up"
        return
    }
    began=$(now_ms)
    if ! one_failover "$ROLE" "$@"; then
        failed "$sentence"
        tell_trouble "the failover did not complete: $(head -c 1500 "$WORLD/group.json")"
        return
    fi
    if [[ -n $MISSED ]]; then
        echo "not passed this time: $MISSED ($sentence, try $TRY)"
        if ((TRY < TRIES)); then
            try_again "$@"
        else
            failed "$sentence: not passed in $TRIES tries"
        fi
        return
    fi
    took=$(($(now_ms) - began))
    as_many_died || wrong="dead: ${VICTIMS[*]:-nobody}"
    [[ $ROLE != leader ]] || learn_more "$@"
    [[ -n $wrong ]] || wrong=$(look_afterwards)
    if [[ -n $wrong ]]; then
        failed "$sentence"
        tell_trouble "$wrong"
    else
        resumed=$(resumed_ms "$last") # nothing, if nobody else went on
        ok "$sentence (${resumed:+resumed $resumed ms after it, }all complete $took ms after the strike)"
    fi
    mkdir -p "$MATRIX/covered/$ROLE/$last"
}

worker() {
    local dir=$1
    if ! build_world "$dir"; then
        failed "a world can be built"
        : >"$MATRIX/given-up"
        exit 1
    fi
    if [[ $WORKER == 1 ]]; then
        if enumerate; then
            : >"$MATRIX/enumerated"
        else
            failed "a clean run tells the points"
            : >"$MATRIX/given-up"
        fi
    fi
    while take_next; do
        one_chain "${CHAIN[@]}"
        rm -f "$MATRIX/busy/$WORKER"
    done
    world_close || failed "nothing is left of the world"
    trap - EXIT
    rm -rf "$dir"
    exit $((failures > 0))
}

# --- all of it ----------------------------------------------------------------------------------------------------------

# In memory if there is room: data directories are copied for each point.
matrix_home() {
    local free
    free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
    if ((${free:-0} > 2000000)); then
        mktemp -d /dev/shm/failover-kill.XXXXXX
    else
        mktemp -d /var/tmp/failover-kill.XXXXXX
    fi
}

programs_differ() {
    grep -q FAILOVER_FAIL_DIR "$BUILD/tests/failoverd-fail-points" && ! grep -q -e FAILOVER_FAIL_DIR -e 'effect\.begun' "$BUILD/failoverd"
}

# What a run passes is learned by running; that this is all of it, failoverd's own table tells: every state that waits
# for its record has points around that record, and each kind of effect has its three.
nothing_is_forgotten() { # ORDER ORDINARY
    local state when kind status=0
    while read -r state; do
        for when in before after; do
            grep -hqE "^save\.$when [a-z]+:$state( taken-up)?$" "$@" || { echo "nobody records $state (save.$when)" && status=1; }
        done
    done < <("$BUILD/failoverctl" rules --format json | jq -r '[.. | objects | select(.on? == "saved") | .from[]] | unique[]')
    for kind in fence promote routes; do
        for when in before begun after; do
            grep -hqE "^effect\.$when $kind " "$@" || { echo "nobody passes effect.$when $kind" && status=1; }
        done
    done
    return "$status"
}

count_role() { # DIRECTORY ROLE
    local point known=0 covered=0 list=$1/first
    [[ $2 != leader ]] || list=$1/order
    while read -r point; do
        known=$((known + 1))
        if [[ -d "$1/covered/$2/$point" ]]; then
            covered=$((covered + 1))
            echo "    covered    $2: $point"
        else
            echo "    NOT COVERED $2: $point"
        fi
    done <"$list"
    echo "$2: covered $covered of $known points, $((known ? covered * 100 / known : 0)) %"
    check "$2: every point that was ever passed is covered, and there are at least 20" test "$covered" -eq "$known" -a "$known" -ge 20
}

kill_matrix() { # SCRIPT [--worker DIRECTORY NUMBER]
    local script=$1 number role workers=() home
    if [[ ${2:-} == --worker ]]; then
        rm -rf "$TMP" # the parent's is used
        MATRIX=$3 WORKER=$4
        worker "$MATRIX/world$WORKER"
    fi
    check "the program that is shipped has no fail points, the other one has" programs_differ
    home=$(matrix_home)
    chmod 755 "$home"
    mkdir "$home"/{known,covered,ways,todo,busy}
    : >"$home/order" && : >"$home/first"
    # shellcheck disable=SC2064
    trap "trap '' INT TERM HUP; kill \$(jobs -p) 2>/dev/null; wait; rm -rf '$home' '$TMP'" EXIT
    for ((number = 1; number <= WORKERS; number++)); do
        bash "$script" --worker "$home" "$number" &
        workers+=($!)
    done
    for number in "${workers[@]}"; do
        wait "$number" || failures=$((failures + 1))
    done
    touch "$home/ordinary"
    check "every state that waits for a record, and every kind of effect, has its points" nothing_is_forgotten "$home/order" "$home/ordinary"
    for role in "${ROLES[@]}"; do
        count_role "$home" "$role"
    done
    exit $((failures > 0))
}
