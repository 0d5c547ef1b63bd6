# shellcheck shell=bash
# shop.sh - the sandbox's shop, on top of lib.sh: an east and a west site with payments and orders, two proxies,
# power devices, two controllers. Source it after lib.sh; BUILD names the directory of the built programs.
#
#     shop_build_world     hosts, etcd, databases, proxies, power devices, services; ready when it returns
#     shop_definition      DIR/cluster.yaml, as deploy/example has it
#     controller_start HOST, ctl ARGUMENTS...
#     guards_start, guards_adopt   with SHOP_GUARDS=yes: before and after the definition is applied
#     load_start, load_stop, load_line KIND, shop_audit
#     near_start           with SHOP_NEAR=yes, before load_start: writers beside the home site's databases
#     site_cut, site_join, etcd_kill, etcd_again   how it fails as a whole

SHOP_PROFILE=${SHOP_PROFILE:-default}
SHOP_RATE=${SHOP_RATE:-50}
SHOP_GUARDS=${SHOP_GUARDS:-} # yes: a failover-guard and a watchdog for each data node
SHOP_LEVELS=${SHOP_LEVELS:-} # fencing levels of each node, of guard, permit, replication, power; a person always
SHOP_NEAR=${SHOP_NEAR:-}     # yes: a host of clients that go straight to the home site's databases
SHOP_NODES=(pay-east pay-west ord-east ord-west)
SHOP_KINDS=(payment order)
declare -A SHOP_BMC=([pay-east]=10.77.5.1 [pay-west]=10.77.5.2 [ord-east]=10.77.5.3 [ord-west]=10.77.5.4)
declare -A SHOP_DATABASE=([payment]=payments [order]=orders)
declare -A SHOP_DB_PORT=([payment]=5432 [order]=5433)
declare -A SHOP_HTTP_PORT=([payment]=8001 [order]=8002)
declare -A SHOP_HOME=([payment]=pay-east [order]=ord-east)
declare -A SHOP_AWAY=([payment]=pay-west [order]=ord-west)
declare -A SHOP_FURTHER=() # more standbys' nodes, of a world that has them

shop_hosts() {
    local node
    world_host etcd1 10.77.0.1
    world_host etcd2 10.77.0.2
    world_host etcd3 10.77.0.3
    world_host ops1 10.77.0.11
    world_host ops2 10.77.0.12
    world_host pay-east 10.77.1.1
    world_host ord-east 10.77.1.2
    world_host pay-west 10.77.2.1
    world_host ord-west 10.77.2.2
    world_host proxy1 10.77.3.1
    world_host proxy2 10.77.3.2
    world_host client 10.77.4.1
    world_host bmc "${SHOP_BMC[@]}"
    [[ -z $SHOP_GUARDS ]] || world_host watchdogs 10.77.6.1 # outside of the nodes that they watch
    [[ -z $SHOP_NEAR ]] || world_host near 10.77.4.2
    for node in "${SHOP_NODES[@]}"; do
        SHOP_DEVICES+=("$node=${SHOP_BMC[$node]}")
    done
}

# What the shop itself needs in its database, and what failoverd needs there.
shop_setup_sql() {
    local kind=$1 database=${SHOP_DATABASE[$1]}
    cat <<-END
	CREATE ROLE shop LOGIN PASSWORD '$(world_secret shop)';
	CREATE DATABASE $database;
	\\connect $database
	CREATE TABLE $database (
	    id text PRIMARY KEY,
	    amount_cents bigint NOT NULL CHECK (amount_cents > 0),
	    at timestamptz NOT NULL DEFAULT clock_timestamp());
	GRANT SELECT, INSERT ON $database TO shop;
	END
    "$BUILD/failoverctl" setup-sql "$database" || die "failoverctl setup-sql failed"
    echo "ALTER ROLE failoverd PASSWORD '$(world_secret postgres)';"
}

shop_setup() {
    local kind=$1 home=${SHOP_HOME[$1]}
    (umask 077 && shop_setup_sql "$kind" >"$WORLD/secrets/$home.sql") || return 1
    as_postgres psql -h "$WORLD/$home/socket" -U postgres -d postgres -Xq -v ON_ERROR_STOP=1 \
        <"$WORLD/secrets/$home.sql" >"$WORLD/$home/setup.log" 2>&1 || die "the setup of $home failed: see $WORLD/$home/setup.log"
}

shop_databases() {
    local kind jobs=()
    world_secret replicator >/dev/null
    for kind in "${SHOP_KINDS[@]}"; do
        pg_init "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}" sync {WORLD_ALIVE}>&- &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do
        wait "$job" || return 1
    done
    for kind in "${SHOP_KINDS[@]}"; do
        pg_start "${SHOP_HOME[$kind]}"
        pg_start "${SHOP_AWAY[$kind]}"
    done
    for kind in "${SHOP_KINDS[@]}"; do
        wait_for "the $kind primary takes connections" 20 pg_ready "${SHOP_HOME[$kind]}" || return 1
        wait_for "the $kind standby streams" 20 pg_is_synchronous "${SHOP_HOME[$kind]}" || return 1
        shop_setup "$kind" || return 1
    done
}

shop_proxies() {
    local proxy kind routes=() home away from to
    for kind in "${SHOP_KINDS[@]}"; do
        home=${SHOP_HOME[$kind]} away=${SHOP_AWAY[$kind]}
        from=${HOST_ADDRESS[$home]} to=${HOST_ADDRESS[$away]}
        routes+=("tcp:${SHOP_DATABASE[$kind]}_db:${SHOP_DB_PORT[$kind]}:$home=$from:5432,$away=$to:5432")
        routes+=("http:${kind}_http:${SHOP_HTTP_PORT[$kind]}:east=$from:${SHOP_HTTP_PORT[$kind]},west=$to:${SHOP_HTTP_PORT[$kind]}")
    done
    for proxy in proxy1 proxy2; do
        proxy_start "$proxy" "${routes[@]}"
    done
}

# shop_conninfo KIND ADDRESS PORT
shop_conninfo() {
    printf 'hostaddr=%s port=%s dbname=%s user=shop application_name=%s sslmode=disable gssencmode=disable tcp_user_timeout=1000 keepalives_idle=2 keepalives_interval=1 keepalives_count=2' \
        "$2" "$3" "${SHOP_DATABASE[$1]}" "$1"
}

shop_services() {
    local kind node
    for kind in "${SHOP_KINDS[@]}"; do
        for node in "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}"; do
            shop_service "$kind" "$node"
        done
    done
}

shop_service() { # KIND NODE: also to start one again that died
    local kind=$1 node=$2 port=${SHOP_DB_PORT[$1]}
    PGPASSWORD=$(world_secret shop) world_spawn "$node" service "$BUILD/shop" service --kind "$kind" \
        --listen "${HOST_ADDRESS[$node]}:${SHOP_HTTP_PORT[$kind]}" \
        --database "$(shop_conninfo "$kind" "${HOST_ADDRESS[proxy1]}" "$port")" \
        --database "$(shop_conninfo "$kind" "${HOST_ADDRESS[proxy2]}" "$port")"
}

shop_build_world() {
    SHOP_DEVICES=()
    shop_hosts
    etcd_start etcd1 etcd2 etcd3
    power_start bmc "${SHOP_DEVICES[@]}"
    shop_proxies
    shop_databases || return 1
    shop_services
    wait_for "etcd commits" 20 etcd_ready etcd1
}

# --- the controllers -----------------------------------------------------------------------------------------

shop_levels() {
    if [[ -n $SHOP_LEVELS ]]; then
        printf '%s' "${SHOP_LEVELS//,/ }"
    else
        printf '%s' "${SHOP_GUARDS:+guard permit replication }power"
    fi
}

definition_level() { # NODE METHOD
    case $2 in
    power)
        cat <<-END
	      - name: power
	        method: agent
	        agent: fence_ipmilan
	        options:
	          ip: ${SHOP_BMC[$1]}
	          username: admin
	          lanplus: "1"
	          cipher: "3"
	          power_wait: "0"
	          login_timeout: "3"
	          shell_timeout: "3"
	          power_timeout: "3"
	        secrets: { password: ipmi }
	        deadline: 15s
	END
        ;;
    guard) echo '      - { name: guard, method: guard }' ;;
    permit) echo '      - { name: time, method: permit }' ;;
    replication) echo '      - { name: replicas, method: replication }' ;;
    esac
}

definition_node() { # NODE SITE
    local level
    printf '  %s:\n    site: %s\n    address: %s\n    fencing:\n' "$1" "$2" "${HOST_ADDRESS[$1]}"
    for level in $(shop_levels); do
        definition_level "$1" "$level"
    done
    printf '      - name: person\n        method: operator\n'
}

definition_database() { # KIND
    local home=${SHOP_HOME[$1]} away=${SHOP_AWAY[$1]}
    cat <<-END
	  ${SHOP_DATABASE[$1]}:
	    dbname: ${SHOP_DATABASE[$1]}
	    user: failoverd
	    password: postgres
	    sslmode: disable
	    durability: sync
	    sync: { first: 1, standbys: [$home, $away] }
	    instances:
	      $home: { port: 5432, name: $(pg_name "$home") }
	      $away: { port: 5432, name: $(pg_name "$away") }
	END
}

definition_service() { # KIND
    local node
    printf '  %s:\n    database: %s\n    instances:\n' "$1" "${SHOP_DATABASE[$1]}"
    for node in "${SHOP_HOME[$1]}" "${SHOP_AWAY[$1]}"; do
        printf '      %s: { url: "http://%s:%s/health", status: 200, body: "ok" }\n' \
            "$node" "${HOST_ADDRESS[$node]}" "${SHOP_HTTP_PORT[$1]}"
    done
}

definition_routes() { # KIND
    cat <<-END
	  ${SHOP_DATABASE[$1]}-db:
	    database: ${SHOP_DATABASE[$1]}
	    proxies: [proxy1, proxy2]
	    backend: ${SHOP_DATABASE[$1]}_db
	  $1-http:
	    service: $1
	    proxies: [proxy1, proxy2]
	    backend: $1_http
	    servers: { ${SHOP_HOME[$1]}: east, ${SHOP_AWAY[$1]}: west }
	END
}

shop_definition() {
    {
        cat <<-END
		# The sandbox's shop. deploy/example/cluster.yaml explains the form.
		cluster: shop
		profile: $SHOP_PROFILE
		sites: { east: {}, west: {} }
		nodes:
		END
        definition_node pay-east east
        definition_node pay-west west
        definition_node ord-east east
        definition_node ord-west west
        echo "databases:"
        definition_database payment
        definition_database order
        echo "services:"
        definition_service payment
        definition_service order
        cat <<-END
		proxies:
		  proxy1: { type: haproxy, runtime: "${HOST_ADDRESS[proxy1]}:9999" }
		  proxy2: { type: haproxy, runtime: "${HOST_ADDRESS[proxy2]}:9999" }
		routes:
		END
        definition_routes payment
        definition_routes order
        cat <<-END
		groups:
		  shop:
		    home: east
		    databases: [payments, orders]
		    services: [payment, order]
		    move: apart
		    automatic: yes
		objectives: { switched: 1h, normal: 2h, back: 24h }
		policy:
		  budget: { failovers: 2, per: 1h }
		  cut_off_after: 10s
		  call: oncall
		END
    } >"$WORLD/cluster.yaml"
}

# controller_start HOST: a failoverd there, with a local file of its own.
controller_start() {
    local host=$1 tls='' user='' api=''
    [[ -z $SHOP_GUARDS ]] || {
        world_tls "$host" || return 1
        api="
	api:
	  listen: ${HOST_ADDRESS[$host]}:8443
	  cert: $WORLD/tls/$host.pem
	  key: $WORLD/tls/$host.key
	  client_ca: $WORLD/tls/ca.pem
	  allow: { guard: guard }"
    }
    [[ -z $ETCD_TLS ]] || tls="
	  ca: $WORLD/tls/ca.pem
	  cert: $WORLD/tls/client.pem
	  key: $WORLD/tls/client.key"
    [[ -z $ETCD_USER ]] || user="
	  user: $ETCD_USER
	  password: etcd"
    install -d -m 700 "$WORLD/$host/copies"
    world_secret etcd >/dev/null
    world_secret postgres >/dev/null
    world_secret ipmi >/dev/null
    cat >"$WORLD/$host/local.yaml" <<-END
	id: $host
	cluster: shop
	etcd:
	  endpoints:
	    - "$(etcd_url etcd1)"
	    - "$(etcd_url etcd2)"
	    - "$(etcd_url etcd3)"${tls//$'\t'/}${user//$'\t'/}
	secrets:
	  etcd: $WORLD/secrets/etcd
	  postgres: $WORLD/secrets/postgres
	  ipmi: $WORLD/secrets/ipmi
	commands:
	  oncall: [$SANDBOX_HOME/call, $WORLD/calls.log]
	copy: { dir: $WORLD/$host/copies, every: 1s }
	listen:
	  socket: $WORLD/$host/failoverd.sock
	  group: ${SHOP_SOCKET_GROUP:-root}${api//$'\t'/}
	END
    world_spawn "$host" failoverd "${FAILOVERD:-$BUILD/failoverd}" --config "$WORLD/$host/local.yaml"
}

# guard_start NODE: a failover-guard there, and the watchdog that ends all of the node when it is not fed. A file
# WORLD/NODE/boot, if there is one, holds the node's boot id: with another one it has been booted again.
guard_start() {
    local node=$1 kind database='' boot=''
    [[ ! -e $WORLD/$node/boot ]] || boot="boot_id: $WORLD/$node/boot"
    world_tls guard || return 1
    for kind in "${SHOP_KINDS[@]}"; do
        [[ " ${SHOP_HOME[$kind]} ${SHOP_AWAY[$kind]} ${SHOP_FURTHER[$kind]:-} " != *" $node "* ]] ||
            database=${SHOP_DATABASE[$kind]}
    done
    grep -qs failover.conf "$WORLD/$node/data/postgresql.conf" ||
        echo "include_if_exists = 'failover.conf'" >>"$WORLD/$node/data/postgresql.conf"
    install -d -m 700 "$WORLD/$node/state" "$WORLD/$node/run"
    watchdog_start "$node" || return 1
    cat >"$WORLD/$node/local.yaml" <<-END
	id: guard-$node
	cluster: shop
	etcd: { endpoints: ["$(etcd_url etcd1)", "$(etcd_url etcd2)", "$(etcd_url etcd3)"] }
	guard:
	  node: $node
	  state_dir: $WORLD/$node/state
	  run_dir: $WORLD/$node/run
	  $boot
	  watchdog: $WORLD/$node/watchdog.sock
	  ca: $WORLD/tls/ca.pem
	  cert: $WORLD/tls/guard.pem
	  key: $WORLD/tls/guard.key
	  replication: user=replicator password=$(world_secret replicator) connect_timeout=2
	  instances:
	    $database: { data_dir: $WORLD/$node/data, bin_dir: $PG_BIN, socket_dir: $WORLD/$node/socket }
	END
    guard_again "$node"
}

watchdog_start() { # NODE
    rm -f "$WORLD/$1/watchdog.sock"
    world_spawn watchdogs "watchdog-$1" "$BUILD/sandbox-watchdog" "$WORLD/$1/watchdog.sock" "$WORLD_CGROUP/$1"
    wait_for "the watchdog of $1 listens" 5 test -S "$WORLD/$1/watchdog.sock"
}

# guard_again NODE: with the configuration that it has; also to start one again that died. GUARD: another program.
guard_again() {
    world_spawn "$1" guard "${GUARD:-$BUILD/failover-guard}" --config "$WORLD/$1/local.yaml"
}

guards_start() {
    local node
    for node in "${SHOP_NODES[@]}"; do
        guard_start "$node" || return 1
    done
}

# The guards only observe until they are asked to guard; that needs each one's report.
guards_adopt() {
    ctl adopt shop --yes --reason 'every node has its guard'
}

guards_hold() {
    ctl status --json | jq -e 'all(.groups[].databases[]; .tier == "strict" and .renewed_age_ms < 5000)'
}

# controllers_stop: both end in good order, as systemd would end them.
controllers_stop() {
    local host
    for host in ops1 ops2; do
        kill -TERM "$(host_pid "$host" failoverd)" 2>/dev/null
    done
    wait_for "the controllers have ended" 10 controllers_are_gone
}

controllers_are_gone() {
    cgroup_is_empty "$WORLD_CGROUP/ops1" && cgroup_is_empty "$WORLD_CGROUP/ops2"
}

# ctl ARGUMENTS...: failoverctl, with whichever controller answers.
ctl() {
    "$BUILD/failoverctl" --socket "$WORLD/ops1/failoverd.sock" --socket "$WORLD/ops2/failoverd.sock" "$@"
}

# --- how it fails as a whole ---------------------------------------------------------------------------------

# The home site is cut off: what its nodes exchange with etcd, the controllers and the other site is dropped in silence,
# and so is what anybody asks its power devices. The proxies, the clients and its own nodes still reach it.
site_cut() {
    local host far='' devices='' kind
    for host in etcd1 etcd2 etcd3 ops1 ops2 "${SHOP_AWAY[@]}"; do
        far+=", ${HOST_ADDRESS[$host]}"
    done
    for kind in "${SHOP_KINDS[@]}"; do
        devices+=", ${SHOP_BMC[${SHOP_HOME[$kind]}]}"
        site_drop "${SHOP_HOME[$kind]}" "ip saddr { ${far#, } } drop" "ip daddr { ${far#, } } drop" || return 1
    done
    site_drop bmc "ip daddr { ${devices#, } } drop" "ip saddr { ${devices#, } } drop"
}

site_drop() { # HOST RULE-IN RULE-OUT
    host_exec "$1" nft -f - <<-END
	table inet site {
	    chain in { type filter hook input priority 0; $2; }
	    chain out { type filter hook output priority 0; $3; }
	}
	END
}

site_join() {
    local host
    for host in "${SHOP_HOME[@]}" bmc; do
        host_exec "$host" nft delete table inet site || return 1
    done
}

SHOP_ETCD=(etcd1 etcd2 etcd3)

# Every member of etcd dies; their data stay, and etcd_again starts them on it.
etcd_kill() {
    local host
    for host in "${SHOP_ETCD[@]}"; do
        host_kill "$host"
    done
}

etcd_again() {
    local host
    for host in "${SHOP_ETCD[@]}"; do
        etcd_member "$host"
    done
}

# --- the load ------------------------------------------------------------------------------------------------

# Clients in the home site itself, with a service of their own that asks its PostgreSQL, and no proxy. Their load is a
# fifth of the others'.
near_start() {
    local kind
    PGPASSWORD=$(world_secret shop)
    export PGPASSWORD
    for kind in "${SHOP_KINDS[@]}"; do
        world_spawn near "service-$kind" "$BUILD/shop" service --kind "$kind" \
            --listen "${HOST_ADDRESS[near]}:${SHOP_HTTP_PORT[$kind]}" \
            --database "$(shop_conninfo "$kind" "${HOST_ADDRESS[${SHOP_HOME[$kind]}]}" 5432)"
    done
    unset PGPASSWORD
    for kind in "${SHOP_KINDS[@]}"; do
        wait_for "the $kind service beside its database answers" 20 host_exec near curl -sf --noproxy '*' -m 1 -o /dev/null \
            "http://${HOST_ADDRESS[near]}:${SHOP_HTTP_PORT[$kind]}/health" || return 1
    done
}

load_from() { # HOST KIND RATE PROXY-OR-SERVICE...
    local host=$1 kind=$2 rate=$3 to=() one
    shift 3
    for one; do
        to+=(--url "http://${HOST_ADDRESS[$one]}:${SHOP_HTTP_PORT[$kind]}")
    done
    rm -f "$WORLD/$host/$kind.json"
    world_spawn "$host" "load-$kind" "$BUILD/shop" load --kind "$kind" --rate "$rate" "${to[@]}" \
        --record "$WORLD/$host/$kind.record" --summary "$WORLD/$host/$kind.json"
}

load_start() {
    local kind
    for kind in "${SHOP_KINDS[@]}"; do
        load_from client "$kind" "$SHOP_RATE" proxy1 proxy2
        [[ -z $SHOP_NEAR ]] || load_from near "$kind" $(((SHOP_RATE + 4) / 5)) near
    done
}

# load_line KIND: sets ACKED FAILED UNKNOWN SILENT_MS from the load's latest line of progress.
load_line() {
    ACKED=0 FAILED=0 UNKNOWN=0 SILENT_MS=0
    local line
    line=$(tail -n 1 "$WORLD/client/load-$1.log" 2>/dev/null)
    # shellcheck disable=SC2034
    [[ $line == acked\ * ]] && read -r _ ACKED _ FAILED _ UNKNOWN _ SILENT_MS <<<"$line"
    return 0
}

# Each load has had an answer within the last MS.
load_goes_through() { # MS
    local kind
    for kind in "${SHOP_KINDS[@]}"; do
        load_line "$kind"
        ((SILENT_MS < $1)) || return 1
    done
}

# The nodes whose PostgreSQL takes writes for this kind of business, one a line.
primaries_of() { # KIND
    local node
    for node in "${SHOP_HOME[$1]}" "${SHOP_AWAY[$1]}" ${SHOP_FURTHER[$1]:-}; do
        [[ $(pg_sql "$node" postgres 'SELECT pg_is_in_recovery()' 2>/dev/null) != f ]] || echo "$node"
    done
}

load_ended() {
    local host
    for host in client ${SHOP_NEAR:+near}; do
        [[ -s $WORLD/$host/payment.json && -s $WORLD/$host/order.json ]] || return 1
    done
}

load_stop() {
    local kind host
    for kind in "${SHOP_KINDS[@]}"; do
        for host in client ${SHOP_NEAR:+near}; do
            kill -TERM "$(host_pid "$host" "load-$kind")"
        done
    done
    wait_for "the load has written its summary" 10 load_ended
}

# shop_audit KIND NODE [HOST of the load]: is what was acknowledged in the database on that node? JSON.
shop_audit() {
    local database
    database=$(shop_conninfo "$1" "${HOST_ADDRESS[$2]}" 5432)
    PGPASSWORD=$(world_secret shop) host_exec client "$BUILD/shop" audit --kind "$1" \
        --record "$WORLD/${3:-client}/$1.record" --database "$database"
}
