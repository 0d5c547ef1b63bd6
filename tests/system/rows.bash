# shellcheck shell=bash
# rows.bash - the world in which rows of failures.md are tried: sourced by the scripts that hold them.
#
# One database on two nodes with guards and watchdogs (strict tier, synchronous), three etcd members, both controllers,
# one proxy, the fast profile; one client writes through the proxy, another straight to the old primary's address, and
# each notes what was acknowledged, by which server, and when.
#
#     ROWS=("C2" "C1 C16")    rows that are tried in one go; row_C1_C16 does it, each sentence begins with its row
#     rows_run "$@"           all of them, or those that are named; what must hold after each is looked at here
#
# A script may say before, or in a function row_settings that is called for each row before its world is made (see below):
# FURTHER, DURABILITY, ENTRY, DEGRADE_AFTER, MAX_LAG. A row whose database was moved in full knowledge of a loss sets LOSES
# to the moment ($EPOCHREALTIME) since when it may lose.
#
# A row after which the database has moved sets MOVED=yes: the next one gets the world as it was. Where a row ends waiting for a
# person, it sets WAITS to the alarm that says so.
#
# rows.txt says for each row which rules it rests on. With RULE_OFF (sandbox.bash) these are left out from the moment on
# when the world is healthy.
SHOP_RATE=20
# shellcheck source=tests/system/world.bash
. "$(dirname "${BASH_SOURCE[0]}")/world.bash"
SHOP_PROFILE=fast
SHOP_GUARDS=yes
SHOP_KINDS=(payment)
FURTHER=${FURTHER:-} # a third node, with another standby
SHOP_NODES=(pay-east pay-west ${FURTHER:+"$FURTHER"})
SHOP_FURTHER=([payment]=$FURTHER)
OLD=pay-east NEW=pay-west
DURABILITY=${DURABILITY:-sync}        # sync | async
ENTRY=${ENTRY:-first 1}               # of all standbys
DEGRADE_AFTER=${DEGRADE_AFTER:-1m}    # with sync
MAX_LAG=${MAX_LAG:-16MiB}             # with async
MEMBERS=(etcd1 etcd2 etcd3)
CONTROLLERS=(ops1 ops2)
HOSTS=("${MEMBERS[@]}" "${CONTROLLERS[@]}" "${SHOP_NODES[@]}" proxy1 client watchdogs)
FAIL_POINTS=${FAIL_POINTS:-} # yes: the controllers have fail points
ROW='' MOVED='' WAITS='' LOSES=''

# --- the world ---------------------------------------------------------------------------------------------------

rows_build() {
    local number=0 host
    unset FAILOVER_TEST_RULE_OFF # until the world is healthy
    [[ -z $FAIL_POINTS || -n ${RULE_OFF:-} ]] || with_programs "$BUILD/tests/failoverd-fail-points" "$BUILD/failover-guard"
    world_open
    trap world_close EXIT
    for host in "${MEMBERS[@]}"; do
        number=$((number + 1))
        world_host "$host" "10.77.0.$number"
    done
    world_host ops1 10.77.0.11
    world_host ops2 10.77.0.12
    world_host pay-east 10.77.1.1
    world_host pay-west 10.77.2.1
    [[ -z $FURTHER ]] || world_host "$FURTHER" 10.77.2.2
    world_host proxy1 10.77.3.1
    world_host client 10.77.4.1
    world_host watchdogs 10.77.6.1
    export FAILOVER_FAIL_DIR=$WORLD/fail
    etcd_start "${MEMBERS[@]}"
    local node servers=''
    for node in "${SHOP_NODES[@]}"; do
        servers+=,$node=${HOST_ADDRESS[$node]}:5432
    done
    proxy_start proxy1 "tcp:payments_db:5432:${servers#,}"
    rows_databases || give_up "the databases are made"
    wait_for "etcd commits" 20 etcd_ready etcd1 || give_up "etcd commits"
}

# Made once, stopped in good order, and copied from then on.
rows_databases() {
    local node
    pg_init "$OLD" "$NEW" sync || return 1
    [[ -z $FURTHER ]] || further_standby
    for node in "${SHOP_NODES[@]}"; do
        printf '%s\n' "include_if_exists = 'failover.conf'" "min_wal_size = 32MB" >>"$WORLD/$node/data/postgresql.conf"
        pg_start "$node"
    done
    wait_for "the primary takes connections" 20 pg_ready "$OLD" || return 1
    wait_for "the standby streams" 20 pg_is_synchronous "$OLD" || return 1
    shop_setup payment || return 1
    for node in "${SHOP_NODES[@]}"; do
        as_postgres "$PG_BIN/pg_ctl" stop -D "$WORLD/$node/data" -m fast -w -t 20 >/dev/null || return 1
        cp -a "$WORLD/$node/data" "$WORLD/$node/template"
    done
}

# As the other standby's: with the same history, before anything ran.
further_standby() {
    install -d -o postgres -g postgres -m 755 "$WORLD/$FURTHER" "$WORLD/$FURTHER/socket"
    cp -a "$WORLD/$NEW/data" "$WORLD/$FURTHER/data"
    sed -i "s|${HOST_ADDRESS[$NEW]}|${HOST_ADDRESS[$FURTHER]}|; s|/$NEW/|/$FURTHER/|g; s|$(pg_name "$NEW")|$(pg_name "$FURTHER")|g" \
        "$WORLD/$FURTHER/data/postgresql.conf"
}

# What commits wait for, in PostgreSQL's words and in the definition's.
standbys() { # COMMAND: what it says of each
    local node list=''
    for node in "${SHOP_NODES[@]:1}"; do
        list+=", $("$@" "$node")"
    done
    printf '%s' "${list#, }"
}

names_in_force() {
    [[ $DURABILITY == async ]] || printf '%s (%s)' "${ENTRY^^}" "$(standbys pg_name)"
}

definition_durability() {
    echo "    durability: $DURABILITY"
    if [[ $DURABILITY == async ]]; then
        echo "    max_lag: $MAX_LAG"
    else
        echo "    sync: { ${ENTRY% *}: ${ENTRY#* }, standbys: [$(standbys echo)] }"
        echo "    degrade_after: $DEGRADE_AFTER"
    fi
}

definition_instances() { # the further standby is preferred to an equal one
    local node
    for node in "${SHOP_NODES[@]}"; do
        echo "      $node: { port: 5432, name: $(pg_name "$node"), priority: $([[ $node == "$FURTHER" ]] && echo 200 || echo 100) }"
    done
}

# The sandbox's levels, but for the power device.
definition_node() { # NODE SITE
    local level
    printf '  %s:\n    site: %s\n    address: %s\n    fencing:\n' "$1" "$2" "${HOST_ADDRESS[$1]}"
    for level in guard permit replication; do
        definition_level "$1" "$level"
    done
    printf '      - { name: person, method: operator }\n'
}

definition_nodes() {
    local node
    definition_node "${SHOP_NODES[0]}" east
    for node in "${SHOP_NODES[@]:1}"; do
        definition_node "$node" west
    done
}

rows_definition() {
    cat >"$WORLD/cluster.yaml" <<-END
	cluster: shop
	profile: $SHOP_PROFILE
	sites: { east: {}, west: {} }
	nodes:
	$(definition_nodes)
	databases:
	  payments:
	    dbname: payments
	    user: failoverd
	    password: postgres
	    sslmode: disable
	$(definition_durability)
	    instances:
	$(definition_instances)
	proxies:
	  proxy1: { type: haproxy, runtime: "${HOST_ADDRESS[proxy1]}:9999" }
	routes:
	  payments-db: { database: payments, proxies: [proxy1], backend: payments_db }
	groups:
	  shop: { home: east, databases: [payments], move: apart, automatic: yes }
	objectives: { switched: 1h, normal: 2h, back: 24h }
	policy: { budget: { failovers: 2, per: 1h }, cut_off_after: 10s, call: oncall }
	END
}

# The copies of another row's store, whose installation and epochs would be missed in this one.
rows_forget_copies() {
    rm -rf "$WORLD"/ops*/copies/*
}

# A definition is applied once, and put back from then on.
rows_put_definition() {
    local key print
    rows_definition
    rows_forget_copies
    print=$(cksum <"$WORLD/cluster.yaml" | cut -d' ' -f1)
    if [[ ! -s $WORLD/config.$print.json ]]; then
        controller_start ops1
        wait_for "a controller answers" 20 ctl status || return 1
        ctl apply --yes --reason "the test's definition" "$WORLD/cluster.yaml" >"$WORLD/apply.log" 2>&1 || return 1
        for key in config installation; do
            etcd_value "$key" >"$WORLD/$key.$print.json"
        done
        host_kill ops1
        etcd_ctl etcd1 del --prefix /failover/ >/dev/null || return 1
    fi
    rows_forget_copies
    for key in config installation; do
        etcd_ctl etcd1 put "/failover/shop/$key" <"$WORLD/$key.$print.json" >/dev/null || return 1
    done
}

rows_data() { # NODE: as it was
    pg_forget "$WORLD/$1/data"
    rm -rf "${WORLD:?}/$1"/{data,state,run,watchdog.sock,postgres.log,guard.log}
    cp -a --reflink=auto "$WORLD/$1/template" "$WORLD/$1/data"
}

# A healthy cluster under load, whatever was before.
rows_reset() {
    local host
    for host in "${CONTROLLERS[@]}" "${SHOP_NODES[@]}" client watchdogs; do
        host_kill "$host" || return 1
    done
    rm -rf "$WORLD/fail" "$WORLD"/*/failoverd.log "$WORLD/calls.log" "$WORLD"/client/* "$WORLD"/watchdogs/*
    mkdir -p "$WORLD/fail/armed" "$WORLD/fail/hit"
    etcd_ctl etcd1 del --prefix /failover/ >/dev/null || return 1
    for host in "${SHOP_NODES[@]}"; do
        rows_data "$host"
        [[ $host != "$OLD" ]] || echo "synchronous_standby_names = '$(names_in_force)'" >"$WORLD/$OLD/data/primary.conf"
        pg_start "$host"
    done
    rows_put_definition || return 1
    wait_for "each standby streams" 20 standbys_stream || return 1
    for host in "${CONTROLLERS[@]}"; do
        controller_start "$host"
    done
    guards_start || return 1
    wait_for "the cluster is healthy" 30 rows_healthy || return 1
    wait_for "each guard has reported, and is asked to guard" 20 guards_adopt || return 1
    wait_for "the database is in its tier" 20 rows_hold || return 1
    writer_start proxy "${HOST_ADDRESS[proxy1]}"
    writer_start straight "${HOST_ADDRESS[$OLD]}"
    wait_for "clients write" 10 have_written 5 || return 1
    GRANTED=$(etcd_value permits/payments | jq .epoch.counter)
}

rows_healthy() {
    status_shows "${HEALTHY/\"sync\"/\"$DURABILITY\"}"
}

standbys_stream() {
    [[ $(pg_sql "$OLD" postgres "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "$((${#SHOP_NODES[@]} - 1))" ]]
}

rows_hold() { # in the tier that this durability allows, and renewed
    status_shows "$(db payments) | .tier == \"$([[ $DURABILITY == async ]] && echo fenced || echo strict)\" and (.renewed_age_ms // 3000) < 3000"
}

is_well() { # in its tier, and nobody has anything to complain of
    rows_healthy && rows_hold && status_shows '[.groups[].alarms[]] | length == 0'
}

# From now on rules are left out, if this is such a run.
rows_switch_off() {
    local host
    [[ -n ${RULE_OFF:-} ]] || return 0
    export FAILOVER_TEST_RULE_OFF=$RULE_OFF
    for host in "${SHOP_NODES[@]}"; do
        kill -9 "$(host_pid "$host" guard)"
        guard_again "$host"
    done
    controllers_stop || return 1
    for host in "${CONTROLLERS[@]}"; do
        controller_start "$host"
    done
    unset FAILOVER_TEST_RULE_OFF
    wait_for "all is well" 30 is_well
}

show_logs() {
    local log
    for log in "$WORLD"/ops*/failoverd.log "$WORLD"/pay-*/guard.log; do
        echo "    --- ${log#"$WORLD"/}"
        grep -vE ' debug ' "$log" | tail -n 45 | cut -c1-300 | sed 's/^/    /'
    done 2>/dev/null
    [[ ! -s $WORLD/apply.log ]] || sed 's/^/    apply: /' "$WORLD/apply.log"
}

# --- clients -------------------------------------------------------------------------------------------------------

# Lines of WORLD/client/NAME.acked: id, server, and when the client had its answer (seconds).
# shellcheck disable=SC2016
writer_start() { # NAME ADDRESS
    PGPASSWORD=$(world_secret shop) world_spawn client "writer-$1" bash -c '
        while :; do
            while sleep 0.1 && echo "INSERT INTO payments (id, amount_cents) VALUES ('"'"'$1-$EPOCHREALTIME'"'"', 1)
                RETURNING id, host(inet_server_addr());"; do :; done |
                psql -XAtq -F " " "$2" | while read -r id server; do echo "$id $server $EPOCHREALTIME"; done >>"$3"
            sleep 0.1
        done' _ "$1" "$(shop_conninfo payment "$2" 5432) connect_timeout=2" "$WORLD/client/$1.acked"
}

acked() { # NAME
    wc -l 2>/dev/null <"$WORLD/client/$1.acked" || echo 0
}

have_written() { # LEAST
    (($(acked proxy) >= $1 && $(acked straight) >= $1))
}

writes_go_on() { # through the proxy, since LEAST
    (($(acked proxy) > $1))
}

check_writes_go_on() {
    check_soon "$ROW: clients write through the proxy" 30 writes_go_on "$(acked proxy)"
}

# The longest time without an acknowledgement of that writer, in milliseconds.
longest_gap_ms() { # NAME
    awk 'NR > 1 && $3 - at > most { most = $3 - at } { at = $3 } END { printf "%d", most * 1000 }' "$WORLD/client/$1.acked"
}

# --- what must hold after each row ---------------------------------------------------------------------------------

primary_node() {
    mapfile -t NODES < <(primaries_of payment)
    printf '%s' "${NODES[*]}"
    ((${#NODES[@]} == 1))
}

nothing_lost() {
    local node lost
    node=$(primary_node) || return 1
    cat "$WORLD"/client/*.acked | awk -v until="$LOSES" 'until == "" || $3 < until { print $1 }' | sort >"$TMP/acked"
    pg_sql "$node" payments 'SELECT id FROM payments' | sort >"$TMP/rows" || return 1
    lost=$(comm -23 "$TMP/acked" "$TMP/rows")
    printf '%s' "${lost:+acknowledged and not on $node: $(wc -l <<<"$lost"), the first $(head -n 1 <<<"$lost")}"
    [[ -z $lost && $(wc -l <"$TMP/acked") -gt 10 ]]
}

# Not one acknowledgement of the one server after the first one of the other.
old_before_new() {
    cat "$WORLD"/client/*.acked | awk -v old="${HOST_ADDRESS[$OLD]}" -v new="${HOST_ADDRESS[$NEW]}" '
        $2 == old && $3 > last { last = $3 }
        $2 == new && (first == 0 || $3 < first) { first = $3 }
        END { printf "the old one last at %s, the new one first at %s\n", last, first; exit first > 0 && last > first }'
}

# Only what belongs there runs on these hosts, and each controller has ended its children.
no_process_leaked() {
    local host pid status=0
    for host in "${SHOP_NODES[@]}"; do
        for pid in $(cgroup_pids "$WORLD_CGROUP/$host"); do
            [[ $(cat "/proc/$pid/comm" 2>/dev/null) =~ ^(failover-guard.*|postgres|)$ ]] ||
                { tr '\0' ' ' <"/proc/$pid/cmdline" && status=1; }
        done
    done
    for host in "${CONTROLLERS[@]}"; do
        (($(cgroup_pids "$WORLD_CGROUP/$host" | wc -l) == 1)) || { echo "$host has children" && status=1; }
    done
    return "$status"
}

no_rule_leaked() {
    local host
    for host in "${HOSTS[@]}"; do
        [[ -z $(host_exec "$host" nft list ruleset) ]] || { echo "nft rules on $host" && return 1; }
    done
}

after_row() {
    if [[ -n $WAITS ]]; then
        check_soon "$ROW: it says whose word it waits for" 10 shows_alarm "$WAITS"
    else
        check_writes_go_on
        check "$ROW: no acknowledged transaction is lost, and there is one primary" nothing_lost
    fi
    check "$ROW: no two servers acknowledged side by side" old_before_new
    check_soon "$ROW: no process is left" 10 no_process_leaked
    check "$ROW: no nft rule is left" no_rule_leaked
    check_soon "$ROW: no descriptor is left" 10 no_descriptor_leaked
    check "$ROW: no sanitizer complained" no_sanitizer_complained "$WORLD"
    [[ -z ${RULE_OFF:-} ]] || rules_that_counted
}

rows_run() { # [ROW...]
    local entry wanted fresh='' before dir id keep=''
    FAILED_BEFORE=$failures
    rows_build
    for entry in "${ROWS[@]}"; do
        wanted=$((! $#))
        for id; do
            [[ " $entry " != *" $id "* ]] || wanted=1
        done
        ((wanted)) || continue
        before=$failures MOVED='' WAITS='' LOSES='' ROW=${entry// /, }
        ! declare -F row_settings >/dev/null || row_settings "$entry"
        if [[ -z $fresh ]]; then
            rows_reset || give_up "$ROW: the world is healthy"
        fi
        rows_switch_off || give_up "$ROW: the world is healthy with rules left out"
        descriptors >"$TMP/descriptors"
        "row_${entry// /_}"
        after_row
        fresh=yes
        [[ -z $MOVED && $failures == "$before" ]] || fresh=''
        if ((failures > before)); then
            show_logs
        fi
    done
    dir=$WORLD id=$WORLD_ID
    ((failures == FAILED_BEFORE)) || keep=${FAILOVER_TEST_KEEP:+keep-logs}
    world_close "$keep"
    trap - EXIT
    check "nothing is left of the world" nothing_is_left "$dir" "$id"
    finish
}

# --- what rows do and see ------------------------------------------------------------------------------------------

addresses_of() { # HOST...: as nft writes a set
    local host list=''
    for host; do
        list+=", ${HOST_ADDRESS[$host]}"
    done
    printf '{ %s }' "${list#, }"
}

# HOST drops what comes from and goes to the others, silently. heal undoes it.
cut_off() { # HOST OTHER...
    local host=$1
    shift
    host_exec "$host" nft -f - <<-END
	table inet part {
	    chain in { type filter hook input priority 0; ip saddr $(addresses_of "$@") drop; }
	    chain out { type filter hook output priority 0; ip daddr $(addresses_of "$@") drop; }
	}
	END
}

heal_all() {
    local host
    for host in "${HOSTS[@]}"; do
        host_exec "$host" nft delete table inet part 2>/dev/null
    done
    return 0
}

nothing_moved() {
    etcd_value permits/payments | jq -e ".state == \"granted\" and .node == \"$OLD\" and .epoch.counter == $GRANTED" &&
        record_shows '.workflow == null'
}

phase_is() { # PHASE of the move
    record_shows "[.workflow.moves[]? | .phase] == [\"$1\"]"
}

report_shows() { # NODE FILTER
    etcd_value "guards/$1/payments" | jq -e "$2"
}

well_again() {
    check_soon "$ROW: then all is well again" 30 is_well
    check "$ROW: nothing has moved" nothing_moved
}

runs_nothing() { # NODE: of PostgreSQL
    [[ -z $(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$WORLD/$1/data" 2>/dev/null) ]]
}

stays_down() { # NODE: what its guard says of it
    report_shows "$1" '.state == "stopped" and .held != ""' && runs_nothing "$1"
}

watchdog_fired() { # NODE
    grep -q 'not fed' "$WORLD/watchdogs/watchdog-$1.log"
}

log_of() { # HOST WORDS: an extended expression
    grep -qE "$2" "$WORLD/$1"/{failoverd,guard}.log 2>/dev/null
}

leads_not() { # HOST
    status_of "$1" '.controller.leading | not'
}
