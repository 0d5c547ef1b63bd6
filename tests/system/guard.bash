# shellcheck shell=bash
# guard.bash - a world of two data nodes with guards, one etcd, two promisers, and no controller: sourced by tests of
# failover-guard, which write permits and roles by hand as a leader would.
#
#     guard_world                    all of it; db1 holds a primary that runs unguarded, db2 its standby
#     guard_start HOST [OPTION...]   its guard; `watchdog=yes` gives it a test device
#     grant NODE, revoke, declare    what the leader writes; each adds to REVISION, EPOCH
#     guard_world_finish             ends it, with the checks that every world must pass
. "$(dirname "${BASH_SOURCE[0]}")/sandbox.bash"
. "$HERE/deploy/sandbox/lib.sh"
trap 'exit 143' TERM INT HUP

D_MS=${D_MS:-4000} W_MS=${W_MS:-1000} K_MS=${K_MS:-500} # the fast profile
EPOCH=0
SYNC='[]' # the permit's sync entries
[[ ${#DATA[@]} -gt 0 ]] || DATA=(db1 db2) # data nodes; a test may have one more
declare -A BOOT=([db1]=boot-1 [db2]=boot-2 [db3]=boot-3)

# --- the world -------------------------------------------------------------------------------------------------

guard_world() {
    FAILED_BEFORE=$failures
    world_open
    trap world_close EXIT
    world_host etcd1 10.77.0.1
    world_host ops1 10.77.0.11
    world_host ops2 10.77.0.12
    world_host db1 10.77.1.1
    world_host db2 10.77.2.1
    [[ " ${DATA[*]} " != *" db3 "* ]] || world_host db3 10.77.3.1
    world_host outside 10.77.4.1 # where the watchdogs run
    etcd_start etcd1
    guard_certificates
    promiser_start ops1
    promiser_start ops2
    pg_init db1 db2 async
    local host
    [[ " ${DATA[*]} " != *" db3 "* ]] || third_standby
    for host in "${DATA[@]}"; do
        echo "include_if_exists = 'failover.conf'" >>"$WORLD/$host/data/postgresql.conf"
        install -d -m 700 "$WORLD/$host/state" "$WORLD/$host/run"
    done
    wait_for "etcd answers" 20 etcd_ready etcd1 || give_up "etcd answers"
    put_config
}

# As db2's: with the same history, before anything ran.
third_standby() {
    install -d -o postgres -g postgres -m 755 "$WORLD/db3" "$WORLD/db3/socket"
    cp -a "$WORLD/db2/data" "$WORLD/db3/data"
    sed -i "s|${HOST_ADDRESS[db2]}|${HOST_ADDRESS[db3]}|; s|/db2/|/db3/|g; s|=db2 |=db3 |; s|'db2'|'db3'|" \
        "$WORLD/db3/data/postgresql.conf"
}

give_up() {
    failed "$1"
    show_logs
    finish
}

show_logs() {
    local log
    for log in "$WORLD"/*/guard.log "$WORLD"/*/watchdog.log; do
        [[ -s $log ]] || continue
        echo "    --- $log"
        grep -vE ' debug ' "$log" | tail -n "${1:-40}" | cut -c1-300 | sed 's/^/    /'
    done
}

guard_world_finish() {
    local dir=$WORLD id=$WORLD_ID keep='' host
    for host in "${DATA[@]}"; do
        guard_stop "$host"
    done
    check "no sanitizer complained" no_sanitizer_complained "$WORLD"
    [[ -z ${RULE_OFF:-} ]] || rules_that_counted
    if ((failures > FAILED_BEFORE)); then
        show_logs 80
        keep=${FAILOVER_TEST_KEEP:+keep-logs}
    fi
    world_close "$keep"
    trap - EXIT
    check "nothing is left of the world" nothing_is_left "$dir" "$id"
}

guard_certificates() {
    local name dir=$WORLD/tls
    mkdir -p "$dir"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca \
        -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null || give_up "a certificate authority is made"
    for name in ops1 ops2 guard; do
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
            -keyout "$dir/$name.key" -out "$dir/$name.csr" 2>/dev/null
        openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
            -extfile <(echo "subjectAltName=IP:${HOST_ADDRESS[$name]:-127.0.0.1}") -out "$dir/$name.pem" 2>/dev/null
    done
}

promiser_start() { # HOST: promises until told otherwise by `promise HOST yes|no|silent|other`
    promise "$1" yes
    world_spawn "$1" promiser "$BUILD/tests/promiser" 8443 "${HOST_ADDRESS[$1]}" "$WORLD/tls/$1.pem" \
        "$WORLD/tls/$1.key" "$WORLD/tls/ca.pem" "$WORLD/$1/mode"
}

promise() { # HOST ANSWER
    echo "$2" >"$WORLD/$1/mode.new"
    mv "$WORLD/$1/mode.new" "$WORLD/$1/mode"
}

# --- guards ----------------------------------------------------------------------------------------------------

guard_start() { # HOST [watchdog=yes]
    local host=$1 watchdog=''
    [[ " $* " != *" watchdog=yes "* ]] || watchdog="watchdog: $WORLD/$host/watchdog.sock"
    [[ -e $WORLD/$host/boot ]] || echo "${BOOT[$host]}" >"$WORLD/$host/boot"
    cat >"$WORLD/$host/local.yaml" <<-END
	id: guard-$host
	cluster: shop
	etcd: { endpoints: ["http://${HOST_ADDRESS[etcd1]}:2379"] }
	guard:
	  node: $host
	  state_dir: $WORLD/$host/state
	  run_dir: $WORLD/$host/run
	  boot_id: $WORLD/$host/boot
	  ca: $WORLD/tls/ca.pem
	  cert: $WORLD/tls/guard.pem
	  key: $WORLD/tls/guard.key
	  replication: user=replicator password=$(world_secret replicator)
	  $watchdog
	  instances:
	    payments: { data_dir: $WORLD/$host/data, bin_dir: $PG_BIN, socket_dir: $WORLD/$host/socket }
	END
    guard_again "$host"
}

# With the configuration that it has.
guard_again() { # HOST
    world_spawn "$1" guard "${GUARD:-$BUILD/failover-guard}" --debug --config "$WORLD/$1/local.yaml"
}

guard_pid() {
    host_pid "$1" guard
}

guard_stop() { # HOST: politely, and in good order
    local pid
    pid=$(guard_pid "$1" 2>/dev/null) && kill -TERM "$pid" 2>/dev/null || return 0
    wait_for "the guard of $1 ends" 10 is_gone "$pid" || failed "the guard of $1 ends in good order"
}

is_gone() { # PID
    ! kill -0 "$1" 2>/dev/null
}

# A watchdog outside of the node that it watches.
watchdog_start() { # HOST
    rm -f "$WORLD/$1/watchdog.sock" "$WORLD/outside/watchdog-$1.log"
    world_spawn outside "watchdog-$1" "$BUILD/sandbox-watchdog" "$WORLD/$1/watchdog.sock" "$WORLD_CGROUP/$1"
    wait_for "the watchdog of $1 listens" 5 test -S "$WORLD/$1/watchdog.sock" || give_up "a watchdog listens"
}

watchdog_fired() { # HOST
    grep -q 'not fed' "$WORLD/outside/watchdog-$1.log"
}

# A reboot of the node: all its processes die, its watchdog is as new, and its boot id is another one.
reboot() { # HOST
    kill -9 "$(host_pid outside "watchdog-$1")" 2>/dev/null
    host_kill "$1"
    echo "$(<"$WORLD/$1/boot")x" >"$WORLD/$1/boot"
    rm -rf "${WORLD:?}/$1/run"
    install -d -m 700 "$WORLD/$1/run"
}

boot_of() {
    cat "$WORLD/$1/boot" 2>/dev/null || echo "${BOOT[$1]}"
}

# --- what a leader writes --------------------------------------------------------------------------------------

system_id() {
    "$PG_BIN/pg_controldata" -D "$WORLD/db1/data" | sed -n 's/^Database system identifier: *//p'
}

permit_text() { # STATE NODE BOOT LIFE TIMELINE
    jq -nc --arg state "$1" --arg node "$2" --arg boot "$3" --argjson life "${4:-0}" --argjson timeline "${5:-1}" \
        --arg id "$(system_id)" --argjson epoch "$EPOCH" --argjson d "$D_MS" --argjson w "$W_MS" --argjson k "$K_MS" \
        --argjson sync "$SYNC" '
        {schema: 1, database: "payments", state: $state, epoch: {incarnation: 1, counter: $epoch}, node: $node,
         system_id: "ID", timeline: $timeline, boot: $boot, life: $life, d_ms: $d, w_ms: $w, k_ms: $k,
         promisers: ["ops1", "ops2"], before: [], sync: $sync}' | sed "s/\"ID\"/$(system_id)/"
}

put() { # KEY VALUE: sets REVISION
    REVISION=$(etcd_ctl etcd1 put "/failover/shop/$1" "$2" -w json | jq .header.revision)
    [[ -n $REVISION ]]
}

grant() { # NODE [LIFE [TIMELINE]]
    EPOCH=$((EPOCH + 1))
    put permits/payments "$(permit_text granted "$1" "$(boot_of "$1")" "${2:-0}" "${3:-1}")"
}

change_permit() { # FILTER: the same epoch, another document
    local text
    text=$(etcd_get permits/payments | jq -c --argjson sync "$SYNC" "$1" | sed "s/\"system_id\":[0-9]*/\"system_id\":$(system_id)/")
    put permits/payments "$text"
}

revoke() {
    change_permit '.state = "revoked"'
}

entry() { # first|any K [MEMBER...]: one sync entry; `entry none`
    if [[ $1 == none ]]; then
        echo '{"k": 0, "members": []}'
    else
        jq -nc --arg word "$1" --argjson k "$2" '{k: $k, first: ($word == "first"), members: $ARGS.positional}' --args "${@:3}"
    fi
}

list_sync() { # ENTRY...: the permit lists these from now on; the last is the target
    SYNC="[$(IFS=,; echo "$*")]"
    change_permit '.sync = $sync'
}

etcd_get() { # KEY
    etcd_ctl etcd1 get "/failover/shop/$1" --print-value-only
}

declare_roles() { # PRIMARY STANDBY [BURNT [STANDBY]]
    put groups/shop "$(jq -nc --arg p "$1" --arg s "$2" --arg burnt "${3:-}" --arg more "${4:-}" '
        {schema: 1, name: "shop", paused: false, databases: [{database: "payments", primary: $p, system_id: "ID", timeline: 1,
         sync_enforced: false, burnt: ([$burnt] | map(select(. != ""))),
         roles: ([{node: $p, role: "primary"}] + ([$s, $more] | map(select(. != "")) | map({node: ., role: "standby", upstream: $p})))}],
         completed_wall_ms: [], alarms: []}' | sed "s/\"ID\"/$(system_id)/")"
}

# 64 bits of FNV-1a, as the record of the definition has it.
fnv() {
    local LC_ALL=C text=$1 hash=$((0xcbf29ce484222325)) i char
    for ((i = 0; i < ${#text}; i++)); do
        printf -v char %d "'${text:i:1}"
        hash=$(((hash ^ char) * 0x100000001b3))
    done
    printf '%016x' "$hash"
}

put_config() { # [MORE LINES of the database]
    local text
    text="cluster: shop
profile: fast
sites: { east: {}, west: {} }
nodes:
  db1: { site: east, address: ${HOST_ADDRESS[db1]}, fencing: [{ name: guard, method: guard }, { name: person, method: operator }] }
  db2: { site: west, address: ${HOST_ADDRESS[db2]}, fencing: [{ name: guard, method: guard }, { name: person, method: operator }] }
  db3: { site: west, address: ${HOST_ADDRESS[db3]:-10.77.3.1}, fencing: [{ name: guard, method: guard }, { name: person, method: operator }] }
databases:
  payments:
    dbname: postgres
    user: failoverd
    sslmode: disable
    durability: async
    max_lag: 16MiB
${1:-}
    instances:
      db1: { port: 5432, name: db1 }
      db2: { port: 5432, name: db2 }
      db3: { port: 5432, name: db3 }
groups:
  shop: { home: east, databases: [payments] }
"
    put config "$(jq -nc --arg text "$text" --arg hash "$(fnv "$text")" \
        '{schema: 1, text: $text, applied_by: "test", reason: "test", at: 1, hash: $hash, history: []}')"
    local host
    for host in ops1 ops2; do
        put "controllers/$host" "$(jq -nc --arg id "$host" --arg api "${HOST_ADDRESS[$host]}:8443" \
            '{schema: 1, id: $id, version: "test", api: $api, started_wall_ms: 1, sequence: 1, echoes: [], config_revision: 0, blind: false, targets: []}')"
    done
}

# --- what is seen ----------------------------------------------------------------------------------------------

report_shows() { # HOST FILTER
    etcd_get "guards/$1/payments" | jq -e "$2"
}

report_of() { # HOST FILTER
    etcd_get "guards/$1/payments" | jq -r "$2"
}

check_soon() { # SENTENCE SECONDS COMMAND...
    local sentence=$1 seconds=$2 begun
    shift 2
    begun=$(now_ms)
    if wait_for "$sentence" "$seconds" "$@" >/dev/null 2>&1; then
        ok "$sentence ($(($(now_ms) - begun)) ms)"
    else
        failed "$sentence"
        printf '    waited %s s in vain\n' "$seconds"
        local host
        for host in "${DATA[@]}"; do
            etcd_get "guards/$host/payments" 2>/dev/null | jq -c 'del(.version)' | sed 's/^/    /'
        done
    fi
}

not() {
    ! "$@"
}

postgres_of() { # HOST: every process of its instance
    find /proc/[0-9]*/cwd -maxdepth 0 -lname "$WORLD/$1/data" 2>/dev/null | cut -d/ -f3
}

nothing_runs() { # HOST
    [[ -z $(postgres_of "$1") ]]
}

is_primary() { # HOST
    [[ $(pg_sql "$1" postgres 'SELECT pg_is_in_recovery()') == f ]]
}

is_standby() { # HOST
    [[ $(pg_sql "$1" postgres 'SELECT pg_is_in_recovery()') == t ]]
}

is_at_rest() { # HOST
    [[ -e $WORLD/$1/data/standby.signal ]]
}

streams_from() { # HOST UPSTREAM
    [[ $(pg_sql "$2" postgres "SELECT count(*) FROM pg_stat_replication WHERE application_name = '$1'") == 1 ]]
}

write_one() { # HOST
    pg_sql "$1" postgres 'INSERT INTO test_writes DEFAULT VALUES'
}

# A client that writes and writes, straight to the server; each failed statement is a line of its log.
load_begin() { # HOST
    world_spawn outside load -u postgres bash -c "while :; do
        psql -h '$WORLD/$1/socket' -U postgres -d postgres -XAtq -v ON_ERROR_STOP=1 -c 'INSERT INTO test_writes DEFAULT VALUES' ||
            echo failed; done"
}

load_end() {
    kill "$(host_pid outside load)"
    wait_for "the load ends" 5 is_gone "$(host_pid outside load)"
    mv "$WORLD/outside/load.log" "$TMP/load.log"
}

nothing_failed() {
    ! grep -m 3 -i failed "$TMP/load.log"
}

postmaster() { # HOST
    head -n 1 "$WORLD/$1/data/postmaster.pid"
}

log_shows() { # HOST WORDS: but for what rule_off.c says of a rule that is left out
    grep -v '^TEST: ' "$WORLD/$1/guard.log" | grep -E "$2" >/dev/null
}

# The milliseconds between a moment and the first line of the guard's log after it with these words.
logged_after_ms() { # HOST WORDS SINCE_MS
    local line
    line=$(grep -E "$2" "$WORLD/$1/guard.log" | tail -n 1) || return 1
    echo $(($(date -d "${line%% *}" +%s%3N) - $3))
}

setup_database() { # HOST
    { "$BUILD/failoverctl" setup-sql postgres && echo 'CREATE TABLE IF NOT EXISTS test_writes (n bigserial PRIMARY KEY);'; } |
        as_postgres timeout -s KILL 30 psql -h "$WORLD/$1/socket" -U postgres -d postgres -Xq -v ON_ERROR_STOP=1
}
