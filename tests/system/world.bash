# shellcheck shell=bash
# world.bash - the sandbox's shop as a test's world: sourced by tests that break it in ways that `run` does not.
#
#     world_begin                    all parts and both controllers, healthy, with a steady load; with SHOP_GUARDS=yes
#                                    a guard and a watchdog on each data node, and every permit renewed
#     world_finish                   ends it, with the checks that every world must pass
#     check_soon SENTENCE SECONDS COMMAND...    the command succeeds within that time
#     status_shows FILTER, shows_alarm KEY WORDS, leader_of, record_shows FILTER, history PREFIX ...
#
# Nothing here sleeps and hopes: each wait is for a condition, and ends in vain at its deadline.
SHOP_RATE=${SHOP_RATE:-20} # enough to lose something by; the machine is for what is tested
. "$(dirname "${BASH_SOURCE[0]}")/sandbox.bash"
. "$HERE/deploy/sandbox/lib.sh"
. "$HERE/deploy/sandbox/shop.sh"
trap 'exit 143' TERM INT HUP

# --- its beginning and its end ---------------------------------------------------------------------------------

world_begin() {
    FAILED_BEFORE=$failures
    world_open
    trap world_close EXIT
    shop_build_world || give_up "the world's parts start"
    shop_definition
    controller_start ops1
    controller_start ops2
    [[ -z $SHOP_GUARDS ]] || guards_start || give_up "the guards start"
    wait_for "a controller answers" 30 ctl status || give_up "a controller answers"
    ctl apply --yes --reason "the test's definition" "$WORLD/cluster.yaml" >"$WORLD/apply.log" 2>&1 ||
        give_up "the definition is applied"
    wait_for "the shop is healthy" 40 is_healthy || give_up "the shop is healthy"
    [[ -z $SHOP_GUARDS ]] || {
        wait_for "the guards are asked to guard" 30 guards_adopt || give_up "the guards are asked to guard"
        wait_for "each database is in the strict tier" 30 guards_hold || give_up "each database is in the strict tier"
    }
    load_start
    wait_for "the load runs" 20 load_runs || give_up "the load runs"
}

# Nothing can be tried in a world that does not start.
give_up() {
    failed "$1"
    show_logs
    finish
}

show_logs() {
    local host
    for host in ops1 ops2; do
        echo "    --- $host"
        grep -vE ' debug ' "$WORLD/$host/failoverd.log" | tail -n 60 | cut -c1-400 | sed 's/^/    /'
    done
    [[ ! -s $WORLD/apply.log ]] || sed 's/^/    apply: /' "$WORLD/apply.log"
}

world_finish() {
    local dir=$WORLD id=$WORLD_ID keep=''
    check "the controllers end in good order" controllers_stop
    check "no sanitizer complained" no_sanitizer_complained "$WORLD"
    [[ -z ${RULE_OFF:-} ]] || rules_that_counted
    if ((failures > FAILED_BEFORE)); then
        show_logs
        keep=${FAILOVER_TEST_KEEP:+keep-logs}
    fi
    world_close "$keep" # in this shell: its reaper is a child of it
    trap - EXIT
    check "nothing is left of the world" nothing_is_left "$dir" "$id"
}

# --- waiting ---------------------------------------------------------------------------------------------------

check_soon() { # SENTENCE SECONDS COMMAND...
    local sentence=$1 seconds=$2 begun
    shift 2
    begun=$(now_ms)
    if wait_for "$sentence" "$seconds" "$@" 2>/dev/null; then
        ok "$sentence ($(($(now_ms) - begun)) ms)"
    else
        failed "$sentence"
        printf '    waited %s s in vain\n' "$seconds"
        ctl status 2>&1 | cut -c1-300 | sed 's/^/    /'
    fi
}

# check_for SENTENCE SECONDS COMMAND...: the command succeeds again and again, for so long.
check_for() {
    local sentence=$1 seconds=$2 until
    shift 2
    until=$(($(now_ms) + seconds * 1000))
    while (($(now_ms) < until)); do
        if ! "$@" >/dev/null 2>&1; then
            failed "$sentence"
            ctl status 2>&1 | cut -c1-300 | sed 's/^/    /'
            return 1
        fi
        sleep 0.2
    done
    ok "$sentence"
}

not() {
    ! "$@"
}

# --- what the controllers say ----------------------------------------------------------------------------------

status_shows() { # FILTER: true of `failoverctl status --json`, by whichever controller answers
    local status
    status=$(ctl status --json) && jq -e "$1" <<<"$status"
}

status_of() { # HOST FILTER: by that one
    "$BUILD/failoverctl" --socket "$WORLD/$1/failoverd.sock" status --json >"$TMP/status.$1" && jq -e "$2" "$TMP/status.$1"
}

# What is about NAME in the answer: a filter's beginning.
db() { # DATABASE
    printf '.groups[].databases[] | select(.name == "%s")' "$1"
}

HEALTHY='.leader.id != null and ([.controllers[] | select(.present)] | length == 2) and (.groups | length == 1) and
    all(.groups[].databases[]; .state == "normal" and .writable and .permit == "granted" and .durability == "sync") and
    all(.groups[].routes[].proxies[]; .state == "agrees")'

is_healthy() {
    status_shows "$HEALTHY"
}

# Healthy, and nobody has anything to complain of.
is_well() {
    status_shows "$HEALTHY"' and ([.groups[].alarms[]] | length == 0)'
}

shows_alarm() { # KEY [WORDS]: an alarm whose text has these words (an extended expression)
    status_shows "[.groups[].alarms[] | select(.key == \"$1\" and (.text | test(\"${2:-.}\")) and .command != \"\")] | length == 1"
}

leader_of() {
    ctl status --json | jq -er .leader.id
}

never_both() { # lead
    ! { status_of ops1 .controller.leading && status_of ops2 .controller.leading; }
}

# Without words: payments, to the node that rows.bash calls NEW.
has_moved() { # [DATABASE NODE]
    status_shows "[$(db "${1:-payments}") | .primary == \"${2:-${NEW:-}}\" and .state == \"normal\" and .writable] == [true]"
}

other_than() { # ops1 | ops2
    [[ $1 == ops1 ]] && echo ops2 || echo ops1
}

# --- what etcd holds -------------------------------------------------------------------------------------------

etcd_value() { # KEY below /failover/shop/
    local host
    for host in etcd1 etcd2 etcd3; do
        etcd_ctl "$host" get "/failover/shop/$1" --print-value-only 2>/dev/null && return
    done
    return 1
}

record_shows() { # FILTER: true of the group's record
    local record
    record=$(etcd_value groups/shop) && jq -e "$1" <<<"$record"
}

# history: all that etcd still knows below /failover/shop/, oldest first: {rev, key, value}, value null when deleted.
history() {
    local stream pid line end=/failover/shop/test-end
    exec {stream}< <(ETCDCTL_API=3 exec nsenter --net="/run/netns/$WORLD_ID-etcd1" -- etcdctl \
        --endpoints "http://${HOST_ADDRESS[etcd1]}:2379" watch --rev 1 --prefix /failover/shop/ -w json 2>/dev/null)
    pid=$!
    etcd_ctl etcd1 put "$end" end >/dev/null
    while IFS= read -r -t 10 -u "$stream" line; do
        printf '%s\n' "$line"
        [[ $line == *"$(base64 -w0 <<<"$end" | cut -c1-28)"* ]] && break
    done | jq -c '.Events[] | {
        rev: .kv.mod_revision,
        key: (.kv.key | @base64d | ltrimstr("/failover/shop/")),
        value: (if .kv.value == null then null else .kv.value | @base64d | (fromjson? // .) end)}'
    kill "$pid" 2>/dev/null
    exec {stream}<&-
    etcd_ctl etcd1 del "$end" >/dev/null
}

# --- the network -----------------------------------------------------------------------------------------------

# HOST drops what comes from and goes to that ADDRESS, silently. heal undoes it.
cut_from() { # HOST ADDRESS
    host_exec "$1" nft -f - <<-END
	table inet part {
	    chain in { type filter hook input priority 0; ip saddr $2 drop; }
	    chain out { type filter hook output priority 0; ip daddr $2 drop; }
	}
	END
}

heal() { # HOST
    host_exec "$1" nft delete table inet part
}

# --- PostgreSQL and the load -----------------------------------------------------------------------------------

# pg_signal HOST SIGNAL [TITLE]: to every PostgreSQL process of a host, or to those whose title has that word.
pg_signal() {
    local top pid parent title
    top=$(host_pid "$1" postgres)
    [[ -n ${3:-} ]] || kill "-$2" "$top"
    while read -r pid parent title; do
        [[ $parent == "$top" && $title == *"${3:-}"* ]] && kill "-$2" "$pid"
    done < <(ps -e -o pid=,ppid=,args=)
    return 0
}

is_standby() { # NODE
    [[ $(pg_sql "$1" postgres 'SELECT pg_is_in_recovery()') == t ]]
}

# Lines of PID and its descriptors, of the controllers and guards.
descriptors() {
    local host name pid
    for host in ops1:failoverd ops2:failoverd "${SHOP_NODES[@]/%/:guard}"; do
        name=${host#*:} host=${host%:*}
        pid=$(host_pid "$host" "$name")
        [[ -d /proc/$pid/fd ]] && echo "$pid $(find "/proc/$pid/fd" -mindepth 1 2>/dev/null | wc -l)"
    done
    return 0
}

# Of those that live since TMP/descriptors was written none has many more: a few connections come and go.
no_descriptor_leaked() {
    descriptors | join <(sort "$TMP/descriptors") <(sort -) |
        awk '$3 > $2 + 10 { print "pid " $1 " had " $2 " descriptors, has " $3; bad = 1 } END { exit bad }'
}

kill_primaries() {
    local kind
    for kind in "${SHOP_KINDS[@]}"; do
        pg_kill "${SHOP_HOME[$kind]}"
    done
}

load_runs() {
    local kind
    for kind in "${SHOP_KINDS[@]}"; do
        load_line "$kind"
        ((ACKED > 20 && SILENT_MS < 500)) || return 1 # enough for the audit, whenever it comes
    done
}

# Everything acknowledged is in the database that serves now, and only one serves.
nothing_is_lost() {
    local kind nodes audit status=0
    for kind in "${SHOP_KINDS[@]}"; do
        mapfile -t nodes < <(primaries_of "$kind")
        if ((${#nodes[@]} != 1)); then
            echo "$kind: ${#nodes[@]} primaries: ${nodes[*]}"
            return 1
        fi
        audit=$(shop_audit "$kind" "${nodes[0]}") || status=1
        echo "$audit"
        jq -e '.lost == 0 and .acked > 20' <<<"$audit" >/dev/null || status=1
    done
    return "$status"
}

stop_load_and_audit() {
    check "the load ends" load_stop
    check "no acknowledged transaction is lost, and each database has one primary" nothing_is_lost
}
