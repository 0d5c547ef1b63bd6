# shellcheck shell=bash
# chaos.bash - the world that run breaks, how it is broken and mended, and what must hold: sourced by run.
SHOP_GUARDS=yes SHOP_PROFILE=$PROFILE SHOP_RATE=$RATE
# shellcheck source=tests/system/world.bash
. "$CHAOS/../system/world.bash"
MEMBERS=(etcd1 etcd2 etcd3)
CONTROLLERS=(ops1 ops2)
PROXIES=(proxy1 proxy2)
WRITABLE_S=45
WELL_S=180
QUIET_MS=2500 # clients may not be without an answer for longer when only controllers, or only etcd, are broken
PATIENCE_S=25 # so long it may take by itself before a word is given that it asks for
declare -A PEER=([pay-east]=pay-west [pay-west]=pay-east [ord-east]=ord-west [ord-west]=ord-east)
declare -A KIND_OF=([pay-east]=payment [pay-west]=payment [ord-east]=order [ord-west]=order)
declare -A ACTS=()
CASES_OK=0 CASES_BAD=0 FAILOVERS=0 BOOTS=0 OUTAGES=()

# --- the world -------------------------------------------------------------------------------------------------

# A failover a minute is nothing here.
chaos_definition() {
    shop_definition
    sed -i 's/budget: .*/budget: { failovers: 8, per: 1m }/' "$WORLD/cluster.yaml"
    grep -q 'failovers: 8' "$WORLD/cluster.yaml"
}

# What can be filled is a file system of its own.
chaos_mounts() {
    local node
    for node in "${SHOP_NODES[@]}"; do
        world_mount "$WORLD/$node/data" 700m && world_mount "$WORLD/$node/state" 16m || return 1
        echo "boot-$node-0" >"$WORLD/$node/boot"
    done
    for node in "${CONTROLLERS[@]}"; do
        world_mount "$WORLD/$node" 64m || return 1
    done
    for node in "${MEMBERS[@]}"; do
        world_mount "$WORLD/$node/data" 300m || return 1
    done
}

chaos_build() {
    SHOP_DEVICES=()
    shop_hosts
    chaos_mounts || return 1
    etcd_start "${MEMBERS[@]}"
    power_start bmc "${SHOP_DEVICES[@]}"
    shop_proxies
    shop_databases || return 1
    shop_services
    wait_for "etcd commits" 20 etcd_ready etcd1 || return 1
    chaos_definition || return 1
    controller_start ops1
    controller_start ops2
    guards_start || return 1
    wait_for "a controller answers" 30 ctl status || return 1
    ctl apply --yes --reason "the first definition" "$WORLD/cluster.yaml" >"$WORLD/apply.log" 2>&1 || return 1
    wait_for "the shop is healthy" 60 is_healthy || return 1
    wait_for "the guards are asked to guard" 30 guards_adopt || return 1
    observer_start
    load_start
    wait_for "all is well" 60 all_is_well || return 1
    wait_for "the load runs" 20 load_runs
}

observer_start() {
    local kind node words=()
    for kind in "${SHOP_KINDS[@]}"; do
        ((${#words[@]} == 0)) || words+=(--)
        words+=("${SHOP_DATABASE[$kind]}")
        for node in "${SHOP_HOME[$kind]}" "${SHOP_AWAY[$kind]}"; do
            words+=("$node=host=$WORLD/$node/socket user=postgres dbname=${SHOP_DATABASE[$kind]} application_name=observer")
        done
    done
    mkdir -p "$WORLD/observed"
    world_spawn client observer "$BUILD/tests/observer" "$WORLD/observed" "${words[@]}"
}

world_new() {
    world_open
    trap 'trap "" INT TERM HUP; world_close keep-logs; exit' EXIT
    chaos_build && return
    printf 'FAILED a world that nobody has touched becomes well\n'
    CASES_BAD=$((CASES_BAD + 1))
    keep_logs start
    return 1
}

# --- programs --------------------------------------------------------------------------------------------------

program_lives() { # HOST NAME
    local pid birth
    pid=$(host_pid "$1" "$2" 2>/dev/null) || return 1
    birth=$(awk -v pid="$pid" -v host="$1" -v name="$2" '$1 == pid && $3 == host && $4 == name { birth = $2 } END { print birth }' "$WORLD/pids")
    [[ -n $birth && $(process_birth "$pid") == "$birth" && $(process_state "$pid") != Z ]]
}

process_state() { # PID
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) }
    printf '%s' "${stat%% *}"
}

program_kill() { # HOST NAME
    program_lives "$1" "$2" && kill -KILL "$(host_pid "$1" "$2")" 2>/dev/null
    return 0
}

program_start() { # HOST NAME: again, with the configuration that it has
    case $2 in
    failoverd) world_spawn "$1" failoverd "${FAILOVERD:-$BUILD/failoverd}" --config "$WORLD/$1/local.yaml" ;;
    guard) guard_again "$1" ;;
    service) shop_service "${KIND_OF[$1]}" "$1" ;;
    etcd) etcd_member "$1" ;;
    haproxy) world_spawn "$1" haproxy haproxy -db -f "$WORLD/$1/haproxy.cfg" ;;
    ipmi-*)
        local dir=$WORLD/$1/${2#ipmi-}
        world_spawn "$1" "$2" ipmi_sim -n -c "$dir/lan.conf" -f "$dir/emu" -s "$dir/state"
        ;;
    esac
}

postgres_of() { # NODE: every process of its instance
    find /proc/[0-9]*/cwd -maxdepth 0 -lname "$WORLD/$1/data" 2>/dev/null | cut -d/ -f3
}

signal_postgres() { # NODE SIGNAL: until no process is left that did not get it
    local pids before='' try
    for ((try = 0; try < 5; try++)); do
        pids=$(postgres_of "$1" | tr '\n' ' ')
        [[ -n $pids && $pids != "$before" ]] || return 0
        before=$pids
        # shellcheck disable=SC2086 # a list
        kill "-$2" $pids 2>/dev/null
    done
}

host_freeze() { # HOST 1|0
    local group=$WORLD_CGROUP/$1
    if [[ -e $group/cgroup.freeze ]]; then
        echo "$2" >"$group/cgroup.freeze"
    else
        (($2)) && echo FROZEN >"$group/freezer.state" || echo THAWED >"$group/freezer.state"
    fi
}

# The node boots: nothing of before runs, its watchdog is as new, and its boot id is another one.
node_boot() { # NODE
    host_kill "$1"
    program_kill watchdogs "watchdog-$1"
    BOOTS=$((BOOTS + 1))
    echo "boot-$1-$BOOTS" >"$WORLD/$1/boot"
    rm -rf "${WORLD:?}/$1/run"
    install -d -m 700 "$WORLD/$1/run"
    watchdog_start "$1" || return 1
    program_start "$1" guard
    program_start "$1" service
}

# --- faults: begin and end -------------------------------------------------------------------------------------

hosts_of() { # WHAT TARGET
    local kind=${2#*:} primary leader
    case $2 in
    primary:* | standby:*)
        primary=$(primaries_of "$kind" | head -n 1)
        [[ -n $primary ]] || return 1
        [[ $2 == primary:* ]] && echo "$primary" || echo "${PEER[$primary]}"
        ;;
    leader | follower)
        leader=$(leader_of) || return 1
        [[ $2 == leader ]] && echo "$leader" || other_than "$leader"
        ;;
    both) echo "${CONTROLLERS[*]}" ;;
    all) echo "${MEMBERS[*]}" ;;
    *) echo "$2" ;;
    esac
}

addresses_but() { # HOST FROM: whom it is cut from, as nft writes a set
    local host list=''
    local -A from=([etcd]="${MEMBERS[*]}" [controllers]="${CONTROLLERS[*]}" [proxies]="${PROXIES[*]}" [peer]="${PEER[$1]:-}")
    for host in ${from[$2]}; do
        [[ $host == "$1" ]] || list+=", ${HOST_ADDRESS[$host]}"
    done
    printf '{ %s }' "${list#, }"
}

cut_host() { # TABLE HOST FROM in|out|both
    local in='' out=''
    if [[ $3 == everybody ]]; then
        in='iif != lo drop;' out='oif != lo drop;'
    else
        in="ip saddr $(addresses_but "$2" "$3") drop;" out="ip daddr $(addresses_but "$2" "$3") drop;"
    fi
    [[ $4 != in ]] || out=''
    [[ $4 != out ]] || in=''
    host_exec "$2" nft -f - <<-END
	table inet $1 {
	    chain in { type filter hook input priority 0; $in }
	    chain out { type filter hook output priority 0; $out }
	}
	END
}

fill_path() { # WHAT HOST
    case $1 in
    data | member) echo "$WORLD/$2/data" ;;
    state) echo "$WORLD/$2/state" ;;
    home) echo "$WORLD/$2" ;;
    esac
}

fill() { # DIRECTORY
    local free
    free=$(df --output=avail -B 1 "$1" | tail -n 1)
    ((free < 8192)) || fallocate -l $((free - 4096)) "$1/chaos-fill"
    dd if=/dev/zero of="$1/chaos-fill" oflag=append conv=notrunc bs=512 count=64 status=none 2>/dev/null
    return 0
}

fault_begin() { # NUMBER: of FAULT_...
    local n=$1 host what=${FAULT_WHAT[$1]}
    for host in ${FAULT_HOSTS[n]}; do
        case ${FAULT_VERB[n]}:$what in
        kill:postgres)
            KILLED+=" $host:postgres"
            kill -STOP "$(head -n 1 "$WORLD/$host/data/postmaster.pid" 2>/dev/null)" 2>/dev/null # it starts no more
            signal_postgres "$host" KILL
            ;;
        kill:guard) KILLED+=" $host:guard" && program_kill "$host" guard ;;
        kill:device) program_kill bmc "ipmi-$host" ;;
        kill:controller) KILLED+=" $host:failoverd" && program_kill "$host" failoverd ;;
        kill:*) KILLED+=" $host:guard" && host_kill "$host" ;;
        freeze:postgres) signal_postgres "$host" STOP ;;
        freeze:guard) program_lives "$host" guard && kill -STOP "$(host_pid "$host" guard)" ;;
        freeze:*) host_freeze "$host" 1 ;;
        cut:*) cut_host "chaos_$n" "$host" "$what" "${FAULT_MORE[n]}" ;;
        fill:*) fill "$(fill_path "$what" "$host")" ;;
        esac
    done
}

fault_end() { # NUMBER
    local n=$1 host what=${FAULT_WHAT[$1]}
    for host in ${FAULT_HOSTS[n]}; do
        case ${FAULT_VERB[n]}:$what in
        kill:postgres) ;;
        kill:guard) program_lives "$host" guard || [[ -e $WORLD/$host/power-off ]] || program_start "$host" guard ;;
        kill:host) [[ -e $WORLD/$host/power-off ]] || node_boot "$host" ;;
        kill:device) program_start bmc "ipmi-$host" ;;
        kill:controller) program_start "$host" failoverd ;;
        kill:etcd) program_start "$host" etcd ;;
        kill:proxy) program_start "$host" haproxy ;;
        freeze:postgres) signal_postgres "$host" CONT ;;
        freeze:guard) program_lives "$host" guard && kill -CONT "$(host_pid "$host" guard)" ;;
        freeze:*) host_freeze "$host" 0 ;;
        cut:*) host_exec "$host" nft delete table inet "chaos_$n" ;;
        fill:*) rm -f "$(fill_path "$what" "$host")/chaos-fill" ;;
        esac
    done
}

# --- mending: what systemd and the people at the machines would do ----------------------------------------------

act() { # WORD: one of an operator's
    ACTS[$1]=$((${ACTS[$1]:-0} + 1))
    CASE_ACTS+="${CASE_ACTS:+, }$1"
    printf '%s case %s: %s\n' "$(date +%T.%3N)" "$CASE" "$1" >>"$OUT/acts.log"
}

died() { # HOST PROGRAM: nobody killed it, it was not told to
    [[ " $KILLED " == *" $1:$2 "* ]] || TROUBLE+="; $2 of $1 ended by itself"
}

mend_programs() {
    local host node
    for host in "${CONTROLLERS[@]}"; do
        program_lives "$host" failoverd && continue
        died "$host" failoverd
        program_start "$host" failoverd
    done
    for host in "${MEMBERS[@]}"; do
        program_lives "$host" etcd || program_start "$host" etcd
    done
    for host in "${PROXIES[@]}"; do
        program_lives "$host" haproxy || program_start "$host" haproxy
    done
    for node in "${SHOP_NODES[@]}"; do
        program_lives bmc "ipmi-$node" || program_start bmc "ipmi-$node"
        mend_node "$node"
    done
}

mend_node() { # NODE
    if [[ -e $WORLD/$1/power-off ]]; then
        status_is '[.groups[].databases[] | select(.move != null)] == []' || return 0 # whoever switched it off is not done
        rm -f "$WORLD/$1/power-off"
        act "power on $1"
        KILLED+=" $1:guard"
        node_boot "$1"
    elif ! program_lives watchdogs "watchdog-$1"; then
        KILLED+=" $1:guard" # it was not fed: the node has been reset
        node_boot "$1"
    else
        program_lives "$1" service || program_start "$1" service
        program_lives "$1" guard && return
        died "$1" guard
        program_start "$1" guard
    fi
}

# STATUS is the latest answer of the controllers; empty: none.
look() {
    STATUS=$(ctl status --json 2>/dev/null) || STATUS=''
}

status_is() { # FILTER
    [[ -n $STATUS ]] && jq -e "$1" <<<"$STATUS" >/dev/null 2>&1
}

WELL="$HEALTHY"' and all(.groups[].databases[]; .tier == "strict" and .renewed_age_ms < 3000) and ([.groups[].alarms[]] | length == 0)'

all_is_well() {
    look
    status_is "$WELL"
}

# The nodes whose PostgreSQL is held down for good beside a primary that works.
held_nodes() {
    jq -r '.groups[].databases[] | select(.writable and .state == "normal") | .primary as $primary
        | .instances[] | select(.node != $primary and .guard.state == "stopped" and .guard.held != null) | .node' <<<"$STATUS"
}

held_because() { # NODE
    jq -r --arg node "$1" '.groups[].databases[].instances[] | select(.node == $node) | .guard.held // ""' <<<"$STATUS"
}

# The old primary comes back as a standby, by a copy, as operations.md says. One that may bear another history is
# known again by its guard, when that starts beside the copy.
rebuild() { # NODE
    local node=$1 primary=${PEER[$1]} data=$WORLD/$1/data kept=$WORLD/$1/kept burnt=''
    [[ $(primaries_of "${KIND_OF[$node]}") == "$primary" && -z $(postgres_of "$node") ]] || return 0
    [[ $(held_because "$node") != *"did not complete"* ]] || burnt=yes
    [[ $CASE_ACTS != *"rebuild $node"* ]] || TROUBLE+="; $node had to be rebuilt twice"
    act "rebuild $node"
    [[ -z $burnt ]] || guard_ends "$node" || return 1
    [[ -d $kept ]] || { mkdir "$kept" && cp -a "$data"/{postgresql.conf,pg_hba.conf} "$kept/"; }
    find "$data" -mindepth 1 -delete
    PGPASSWORD=$(world_secret replicator) timeout 60 nsenter --net="/run/netns/$WORLD_ID-$node" -- setpriv --reuid=postgres \
        --regid=postgres --init-groups -- "$PG_BIN/pg_basebackup" -h "${HOST_ADDRESS[$primary]}" -U replicator -D "$data" -c fast \
        -X stream >"$WORLD/$node/copy.log" 2>&1 || return 1
    rm -f "$data/failover.conf" "$data/primary.conf"
    cp -a "$kept"/*.conf "$data/"
    install -o postgres -g postgres -m 600 /dev/null "$data/standby.signal"
    REBUILT=yes
    if [[ -n $burnt ]]; then
        program_start "$node" guard
    else
        pg_start "$node"
    fi
}

guard_ends() { # NODE: in good order
    KILLED+=" $1:guard"
    kill -TERM "$(host_pid "$1" guard)" 2>/dev/null
    wait_for "the guard of $1 ends" 10 eval "! program_lives $1 guard" 2>/dev/null
}

# After a rebuild: refused until the guard has reported the copy.
adopt() {
    guards_adopt >>"$WORLD/words.log" 2>&1 && act adopt && REBUILT=''
}

# Words that the product asks for, once it has had time to do without.
answer_alarms() {
    local key database node
    while read -r key; do
        database=${key#*.}
        case $key in
        fence.*)
            node=$(jq -r --arg db "$database" '.groups[].databases[] | select(.name == $db) | .primary' <<<"$STATUS")
            touch "$WORLD/$node/power-off"
            host_kill "$node" || continue
            act "confirm-fenced $node"
            ctl confirm-fenced "$node" --yes --reason "chaos: it was switched off by hand" >>"$WORLD/words.log" 2>&1
            ;;
        parked.* | promotion.* | choice.*)
            act "workflow retry $database"
            ctl workflow retry shop --database "$database" --yes --reason "chaos: nothing is broken any more" >>"$WORLD/words.log" 2>&1
            ;;
        held.*)
            act "failover $database"
            ctl failover --database "$database" --yes --reason "chaos: it is down" --timeout 5 >>"$WORLD/words.log" 2>&1
            ;;
        esac
    done < <(jq -r '.groups[].alarms[].key' <<<"$STATUS")
}

# --- one case --------------------------------------------------------------------------------------------------

# Reads the faults of CASE from the schedule. False if there are none.
read_case() {
    local case at verb what target more for_ms
    FAULT_AT=() FAULT_VERB=() FAULT_WHAT=() FAULT_TARGET=() FAULT_MORE=() FAULT_FOR=() FAULT_HOSTS=()
    while read -r case at verb what target more for_ms; do
        [[ $case == "$CASE" ]] || continue
        FAULT_AT+=("$at") FAULT_VERB+=("$verb") FAULT_WHAT+=("$what") FAULT_TARGET+=("$target") FAULT_MORE+=("$more")
        FAULT_FOR+=("$for_ms")
    done <"$OUT/schedule"
    ((${#FAULT_AT[@]} > 0))
}

resolve_hosts() {
    local n hosts
    for n in "${!FAULT_AT[@]}"; do
        hosts=$(hosts_of "${FAULT_WHAT[n]}" "${FAULT_TARGET[n]}") || return 1
        FAULT_HOSTS[n]=$hosts
    done
}

describe_case() {
    local n text=''
    for n in "${!FAULT_AT[@]}"; do
        text+="${text:+; }+${FAULT_AT[n]} ms ${FAULT_VERB[n]} ${FAULT_WHAT[n]} of ${FAULT_TARGET[n]}"
        [[ ${FAULT_MORE[n]} == - ]] || text+=" ${FAULT_MORE[n]}"
        [[ ${FAULT_HOSTS[n]} == "${FAULT_TARGET[n]}" ]] || text+=" (${FAULT_HOSTS[n]})"
        ((FAULT_FOR[n] == 0)) || text+=" for ${FAULT_FOR[n]} ms"
    done
    printf '%s' "$text"
}

# All faults, each at its time and undone at its time.
strike_all() {
    local begun n at what now
    begun=$(now_ms)
    while read -r at what n; do
        now=$(($(now_ms) - begun))
        ((at <= now)) || sleep "$(printf '%d.%03d' $(((at - now) / 1000)) $(((at - now) % 1000)))"
        printf '%s case %s: %s %s %s %s on %s\n' "$(date +%T.%3N)" "$CASE" "$what" "${FAULT_VERB[n]}" "${FAULT_WHAT[n]}" \
            "${FAULT_MORE[n]}" "${FAULT_HOSTS[n]}" >>"$OUT/acts.log"
        "fault_$what" "$n" 2>>"$OUT/acts.log"
    done < <(for n in "${!FAULT_AT[@]}"; do
        echo "${FAULT_AT[n]} begin $n"
        echo "$((FAULT_AT[n] + FAULT_FOR[n])) end $n"
    done | sort -n -s)
}

# All faults have ended. Until all is well: mend, rebuild, say the words that are asked for.
settle() {
    local from since_ms mended=0 adopted=0 answered=0 node
    from=$(now_ms) WRITABLE_MS='' WELL_MS=''
    while :; do
        since_ms=$(($(now_ms) - from))
        look
        [[ -n $WRITABLE_MS ]] || { load_goes_through 700 && WRITABLE_MS=$since_ms; }
        if ((since_ms - mended >= 1000)); then
            mended=$since_ms
            mend_programs
        fi
        status_is "$WELL" && [[ -n $WRITABLE_MS ]] && WELL_MS=$since_ms && return 0
        ((since_ms < WELL_S * 1000)) || return 1
        if ((since_ms > 2000)) && [[ -n $STATUS ]]; then
            for node in $(held_nodes); do
                rebuild "$node" || { TROUBLE+="; $node could not be rebuilt: $(tail -n 1 "$WORLD/$node/copy.log")" && return 1; }
            done
            if [[ -n $REBUILT ]] && ((since_ms - adopted >= 2000)); then
                adopted=$since_ms
                adopt
            fi
            if ((since_ms > PATIENCE_S * 1000 && since_ms - answered >= 10000)); then
                answered=$since_ms
                answer_alarms
            fi
        fi
        sleep 0.2
    done
}

# --- what must hold afterwards: each adds to TROUBLE ------------------------------------------------------------

whole_lines() { # FILE: a copy of it without the line that is being written, in TMP/record
    head -c "$(($(wc -c <"$1") - $(tail -n 1 "$1" | wc -c) * $(ends_open "$1")))" "$1" >"$TMP/record"
}

ends_open() { # FILE: 1 if its last line has no end yet
    [[ -z $(tail -c 1 "$1") ]] && echo 0 || echo 1
}

audit_record() { # KIND NODE FILE
    whole_lines "$3"
    PGPASSWORD=$(world_secret shop) host_exec client "$BUILD/shop" audit --kind "$1" --record "$TMP/record" \
        --database "$(shop_conninfo "$1" "${HOST_ADDRESS[$2]}" 5432)" 2>&1
}

look_at_ledger() {
    local kind nodes file said lost
    for kind in "${SHOP_KINDS[@]}"; do
        mapfile -t nodes < <(primaries_of "$kind")
        if ((${#nodes[@]} != 1)); then
            TROUBLE+="; $kind has ${#nodes[@]} primaries: ${nodes[*]}"
            continue
        fi
        for file in "$WORLD/client/$kind.record" "$WORLD/observed/${SHOP_DATABASE[$kind]}.record"; do
            said=$(audit_record "$kind" "${nodes[0]}" "$file")
            lost=$(jq -r .lost <<<"$said" 2>/dev/null)
            [[ $lost == 0 ]] || TROUBLE+="; of ${file##*/} of $kind lost: ${lost:-no audit}: $(tr '\n' ' ' <<<"$said" | head -c 400)"
        done
    done
}

look_at_observer() {
    local two
    program_lives client observer || TROUBLE+="; the observer has ended"
    two=$(tail -n +$((OBSERVED + 1)) "$WORLD/client/observer.log")
    [[ -z $two ]] || TROUBLE+="; two acknowledged: $(head -n 1 <<<"$two") ($(grep -c ^TWO <<<"$two") times)"
}

only_what_belongs() {
    local host pid
    for host in "${SHOP_NODES[@]}"; do
        for pid in $(cgroup_pids "$WORLD_CGROUP/$host"); do
            [[ $(cat "/proc/$pid/comm" 2>/dev/null) =~ ^(failover-guard|postgres|shop|)$ ]] || {
                tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null
                return 1
            }
        done
    done
    for host in "${CONTROLLERS[@]}"; do
        (($(cgroup_pids "$WORLD_CGROUP/$host" | wc -l) == 1)) || { echo "$host has children" && return 1; }
    done
}

look_at_rest() {
    local host said
    wait_for "nothing runs that does not belong" 10 only_what_belongs 2>/dev/null || TROUBLE+="; a process is left: $(only_what_belongs)"
    wait_for "no descriptor is left" 10 no_descriptor_leaked 2>/dev/null || TROUBLE+="; $(no_descriptor_leaked)"
    for host in "${MEMBERS[@]}" "${CONTROLLERS[@]}" "${SHOP_NODES[@]}" "${PROXIES[@]}" bmc client; do
        [[ -z $(host_exec "$host" nft list ruleset) ]] || TROUBLE+="; nft rules are left on $host"
    done
    said=$(grep -l -E 'Sanitizer|runtime error:|Assertion' "$WORLD"/*/*.log)
    [[ -z $said ]] || TROUBLE+="; ${said//$'\n'/, } has a sanitizer's or an assertion's words"
}

# The longest time without an acknowledgement of that kind since LINE of the record, in milliseconds.
outage_ms() { # KIND LINE
    tail -n +"$2" "$WORLD/client/$1.record" | awk '
        $3 == "acked" { at = $2 + $4; if (last && at - last > most) most = at - last; if (at > last) last = at }
        END { printf "%d", most / 1000 }'
}

epochs() { # the sum of all permits' counters: each grant is one more
    local kind sum=0
    for kind in "${SHOP_KINDS[@]}"; do
        sum=$((sum + $(etcd_value "permits/${SHOP_DATABASE[$kind]}" | jq .epoch.counter || echo 0)))
    done
    echo "$sum"
}

one_case() {
    local kind epoch text outage='' ms longest=0 begun
    declare -A line=()
    CASE_ACTS='' KILLED='' TROUBLE='' REBUILT='' begun=$(now_ms)
    for kind in "${SHOP_KINDS[@]}"; do
        line[$kind]=$(wc -l <"$WORLD/client/$kind.record")
    done
    OBSERVED=$(wc -l <"$WORLD/client/observer.log")
    epoch=$(epochs)
    descriptors >"$TMP/descriptors"
    resolve_hosts || TROUBLE+="; nobody has the role that a fault names"
    text=$(describe_case)
    printf '%s case %s: %s\n' "$(date +%T.%3N)" "$CASE" "$text" >>"$OUT/acts.log"
    [[ -n $TROUBLE ]] || strike_all
    settle || TROUBLE+="; not all is well after $WELL_S s: $(what_is_wrong)"
    if [[ -z $WRITABLE_MS ]] || ((WRITABLE_MS > WRITABLE_S * 1000)); then
        TROUBLE+="; clients could not write for ${WRITABLE_MS:-more than $WELL_S s of} ms after the last fault's end"
    fi
    look_at_ledger
    look_at_observer
    look_at_rest
    for kind in "${SHOP_KINDS[@]}"; do
        ms=$(outage_ms "$kind" "${line[$kind]}")
        outage+="${outage:+, }$kind $ms ms"
        ((ms <= longest)) || longest=$ms
        OUTAGES+=("$ms")
    done
    epoch=$(($(epochs) - epoch))
    if nobody_needs_these && ((epoch > 0 || longest > QUIET_MS)); then
        TROUBLE+="; clients and permits need not mind what was broken"
    fi
    FAILOVERS=$((FAILOVERS + epoch))
    text+=" | outage $outage | $epoch grants, ${CASE_ACTS:-no word} | well after ${WELL_MS:-no} ms, $((($(now_ms) - begun) / 1000)) s in all"
    tell_case "$text"
}

# All faults are of controllers, or all are of etcd: databases and routes do without either.
nobody_needs_these() {
    local n kinds=''
    for n in "${!FAULT_AT[@]}"; do
        case ${FAULT_TARGET[n]} in
        leader | follower | both) kinds+=c ;;
        etcd* | all) kinds+=e ;;
        *) return 1 ;;
        esac
    done
    [[ $kinds =~ ^(c+|e+)$ ]]
}

what_is_wrong() {
    [[ -n $STATUS ]] || { echo "no controller answers" && return; }
    jq -r '[.groups[].alarms[] | .key + ": " + .text] + [.groups[].databases[] | "\(.name) \(.state) writable \(.writable) \(.durability) \(.tier)"]
        | join(", ")' <<<"$STATUS"
}

tell_case() { # TEXT
    local whose="case $CASE of seed $SEED"
    [[ -z $SCHEDULE ]] || whose="case $CASE of ${SCHEDULE##*/}"
    if [[ -z $TROUBLE ]]; then
        CASES_OK=$((CASES_OK + 1))
        printf 'ok %s: %s\n' "$whose" "$1" | tee -a "$OUT/cases"
        return
    fi
    CASES_BAD=$((CASES_BAD + 1))
    printf 'FAILED %s: %s\n    %s\n' "$whose" "$1" "${TROUBLE#; }" | tee -a "$OUT/cases"
    keep_logs "$CASE"
    printf '    replay: tests/run chaos --schedule %s --profile %s\n' "$OUT/failed-$CASE/schedule" "$PROFILE" | tee -a "$OUT/cases"
}

keep_logs() { # NAME
    local dir=$OUT/failed-$1 log
    mkdir -p "$dir"
    grep "^$CASE " "$OUT/schedule" >"$dir/schedule"
    for log in "$WORLD"/*/*.log "$WORLD"/*/state/*.log "$WORLD"/observed/*.acks "$WORLD"/*.log; do
        [[ ! -s $log ]] || cp "$log" "$dir/$(tr / - <<<"${log#"$WORLD"/}")"
    done
    ctl status --json >"$dir/status.json" 2>/dev/null
    etcd_ctl etcd1 get --prefix /failover/shop/ >"$dir/etcd" 2>/dev/null
    cp "$OUT/acts.log" "$dir/"
}

# --- all of it -------------------------------------------------------------------------------------------------

sum_up() {
    local word median=0 longest=0
    if ((${#OUTAGES[@]})); then
        median=$(printf '%s\n' "${OUTAGES[@]}" | sort -n | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }')
        longest=$(printf '%s\n' "${OUTAGES[@]}" | sort -n | tail -n 1)
    fi
    {
        printf '\n%d cases: %d ok, %d failed; %d permits granted anew; longest outage %d ms, median %d ms\n' $((CASES_OK + CASES_BAD)) "$CASES_OK" \
            "$CASES_BAD" "$FAILOVERS" "$longest" "$median"
        for word in "${!ACTS[@]}"; do
            echo "    ${ACTS[$word]} x $word"
        done | sort -k 3
    } | tee -a "$OUT/cases"
}

chaos_ends() { # STATUS
    trap '' INT TERM HUP
    [[ -z $WORLD ]] || { world_close || CASES_BAD=$((CASES_BAD + 1)); }
    sum_up
    rm -rf "$TMP"
    trap - EXIT
    exit "$1"
}

chaos() {
    local until
    ((EUID == 0)) || die "must run as root: it makes network namespaces and cgroups"
    OUT=${OUT:-$HERE/build/chaos}
    mkdir -p "$OUT"
    OUT=$(cd "$OUT" && pwd)
    [[ -z $SCHEDULE ]] || cp "$SCHEDULE" "$TMP/schedule" # it may be one of those that are removed
    rm -rf "$OUT"/{schedule,cases,acts.log,failed-*}
    if [[ -n $SCHEDULE ]]; then
        cp "$TMP/schedule" "$OUT/schedule"
        FROM=$(awk 'NF == 7 { print $1; exit }' "$OUT/schedule")
        CASES=$(($(awk 'NF == 7 { last = $1 } END { print last }' "$OUT/schedule") - FROM + 1))
    else
        schedule "$SEED" "$FROM" $((CASES < 2000 ? CASES : MINUTES * 12 + 1)) >"$OUT/schedule"
    fi
    echo "chaos: seed $SEED, profile $PROFILE, the schedule is in $OUT/schedule; it begins:"
    head -n 12 "$OUT/schedule" | sed 's/^/    /'
    trap 'echo; echo "chaos: told to end in case $CASE"; chaos_ends 130' INT TERM HUP
    until=$(($(now_ms) + MINUTES * 60000))
    for ((CASE = FROM; CASE < FROM + CASES; CASE++)); do
        (($(now_ms) < until)) || [[ -n $SCHEDULE ]] || break
        read_case || { [[ -n $SCHEDULE ]] && continue || break; }
        if [[ -z $WORLD ]]; then
            world_new || break
        fi
        one_case
        if [[ -n $TROUBLE ]]; then
            world_close
            WORLD=''
            [[ $KEEP_GOING == yes ]] || break
        fi
    done
    chaos_ends $((CASES_BAD > 0 || CASES_OK == 0))
}
