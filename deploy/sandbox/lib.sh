# shellcheck shell=bash
# lib.sh - a world on one machine: hosts in network namespaces, with real etcd, PostgreSQL, HAProxy and power.
#
# Source it, then:
#
#     world_open [DIR]                 a directory, a cgroup, a network of its own, and a reaper
#     world_host NAME ADDRESS...       a host: a namespace on the world's bridge, and a cgroup
#     world_spawn HOST NAME COMMAND... a process of that host, its output in DIR/HOST/NAME.log
#     host_exec HOST COMMAND...        a command in the host's network, waited for
#     etcd_start, pg_pair, proxy_start, power_start ...   the real parts, see below
#     host_kill, host_cut, pg_kill     how they fail
#     world_mount PATH SIZE            a small file system of its own there, which can be filled
#     wait_for "what" SECONDS COMMAND  until the command succeeds
#     world_close                      end all of it, and look that nothing is left
#
# Every process of a world lives in the world's cgroup, which is its record: what is in there is ended, and
# nothing else, never by a name. Namespaces are recorded in DIR/namespaces. When the shell that opened a world
# dies, however it dies, its reaper sees the end of a pipe and does what world_close does. Several worlds can live
# side by side: names carry the world's id, and addresses (10.77.0.0/16) are inside its own namespaces only.
#
# After world_open: WORLD (directory), WORLD_ID. Needs root. bash 5.

SANDBOX_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SANDBOX_REGISTRY=/run/failover-sandbox
PG_BIN=${PG_BIN:-/usr/lib/postgresql/15/bin}
declare -A HOST_ADDRESS=()
WORLD='' WORLD_ID='' WORLD_CGROUP='' WORLD_ALIVE='' WORLD_REAPER=''

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

now_ms() {
    local now=${EPOCHREALTIME/[.,]/}
    printf '%s' "${now%???}"
}

# wait_for "what is waited for" SECONDS COMMAND...: the command is tried every 50 ms.
wait_for() {
    local what=$1 until=$(($(now_ms) + $2 * 1000)) seconds=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        if (($(now_ms) > until)); then
            printf '%s: waited %s s in vain: %s\n' "${0##*/}" "$seconds" "$what" >&2
            return 1
        fi
        sleep 0.05
    done
}

# --- cgroups: version 2 where it is (also as "unified"), else version 1's freezer -------------------------

cgroup_root() {
    local mount
    while read -r _ mount _; do
        if [[ -w $mount/cgroup.procs ]]; then
            printf '%s' "$mount"
            return
        fi
    done < <(grep ' cgroup2 ' /proc/mounts; grep -E ' cgroup [^ ]*\bfreezer\b' /proc/mounts)
    die "no writable cgroup hierarchy (version 2, or version 1's freezer): are you root, in a privileged place?"
}

# The processes of a cgroup and of those in it. A zombie is none: it is in no list.
cgroup_pids() {
    find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null
}

cgroup_is_empty() {
    if [[ -e $1/cgroup.events ]]; then
        ! grep -qs '^populated 1' "$1/cgroup.events"
    else
        [[ -z $(cgroup_pids "$1") ]]
    fi
}

# Kill everything in a cgroup, and wait until it is gone: no fork escapes.
cgroup_kill() {
    local group=$1 try pids state
    [[ -d $group ]] || return 0
    if [[ -e $group/cgroup.kill ]]; then
        echo 1 >"$group/cgroup.kill"
    else
        echo FROZEN >"$group/freezer.state"
        for ((try = 0; try < 100; try++)); do
            [[ $(<"$group/freezer.state") == FROZEN ]] && break
            sleep 0.01
        done
        mapfile -t pids < <(cgroup_pids "$group")
        ((${#pids[@]})) && kill -KILL "${pids[@]}" 2>/dev/null
        while read -r state; do # a host that was frozen by itself stays so when the world goes on
            echo THAWED >"$state"
        done < <(find "$group" -name freezer.state)
    fi
    for ((try = 0; try < 300; try++)); do
        cgroup_is_empty "$group" && return 0
        sleep 0.01
    done
    return 1
}

cgroup_remove() {
    local group=$1 try
    for ((try = 0; try < 100; try++)); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [[ -d $group ]] || return 0
        sleep 0.02
    done
    return 1
}

# --- the world -----------------------------------------------------------------------------------------------

# The start time of a process, so that a recorded process id is never taken for its successor.
process_birth() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    stat=${stat##*) }
    cut -d' ' -f20 <<<"$stat"
}

world_open() {
    ((EUID == 0)) || die "must run as root: it makes network namespaces and cgroups"
    local dir=${1:-} root
    if [[ -n $dir ]]; then
        mkdir -p "$dir" || die "$dir: cannot be made"
        [[ -z $(ls -A "$dir") ]] || die "$dir: is not empty; name a new directory, or stop what runs there"
        WORLD=$(cd "$dir" && pwd)
        WORLD_ID=fo-$(mktemp -u XXXXXX)
    else
        WORLD=$(mktemp -d /var/tmp/failover-sandbox.XXXXXX)
        WORLD_ID=fo-${WORLD##*.}
    fi
    chmod 755 "$WORLD"
    # PostgreSQL's user must get there, and a unix socket's path may have 107 bytes.
    as_postgres test -x "$WORLD" || die "$WORLD: the user postgres cannot enter it; name another directory"
    ((${#WORLD} <= 70)) || die "$WORLD: more than 70 bytes; name a shorter directory"
    root=$(cgroup_root) || exit 1
    WORLD_CGROUP=$root/$WORLD_ID
    mkdir "$WORLD_CGROUP" || die "$WORLD_CGROUP: cannot be made"
    {
        printf 'WORLD_ID=%q\nWORLD_CGROUP=%q\n' "$WORLD_ID" "$WORLD_CGROUP"
        printf 'WORLD_OWNER=%q\nWORLD_OWNER_BIRTH=%q\n' "$$" "$(process_birth $$)"
        printf 'WORLD_GIVEN=%q\n' "$dir"
    } >"$WORLD/world"
    : >"$WORLD/namespaces"
    mkdir -p "$SANDBOX_REGISTRY"
    ln -sfn "$WORLD" "$SANDBOX_REGISTRY/$WORLD_ID"
    mkfifo "$WORLD/alive"
    exec {WORLD_ALIVE}<>"$WORLD/alive"
    # In a session of its own, so that Ctrl-C is not for it.
    setsid bash "$SANDBOX_HOME/reaper" "$WORLD" <"$WORLD/alive" {WORLD_ALIVE}>&- &
    WORLD_REAPER=$!
    world_bridge
}

world_bridge() {
    local net=$WORLD_ID-net
    echo "$net" >>"$WORLD/namespaces"
    ip netns add "$net"
    ip -n "$net" -batch - <<-END
	link set lo up
	link add br0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0
	link set br0 up
	END
}

# world_host NAME ADDRESS...: the first address is the host's own; more are for virtual ones.
world_host() {
    local name=$1 net=$WORLD_ID-net space=$WORLD_ID-$1 address
    HOST_ADDRESS[$name]=$2
    shift
    echo "$space" >>"$WORLD/namespaces"
    mkdir -p "$WORLD/$name" "$WORLD_CGROUP/$name"
    ip netns add "$space"
    {
        echo "link add to-$name type veth peer name eth0 netns $space"
        echo "link set to-$name master br0"
        echo "link set to-$name up"
    } | ip -n "$net" -batch -
    {
        echo "link set lo up"
        for address; do
            echo "address add $address/16 dev eth0"
        done
        echo "link set eth0 up"
    } | ip -n "$space" -batch -
}

host_exec() {
    local host=$1
    shift
    nsenter --net="/run/netns/$WORLD_ID-$host" -- "$@"
}

# world_spawn HOST NAME [-u USER] COMMAND...: sets WORLD_PID.
world_spawn() {
    local host=$1 name=$2 as=()
    shift 2
    if [[ $1 == -u ]]; then
        as=(setpriv --reuid="$2" --regid="$2" --init-groups --)
        shift 2
    fi
    if [[ -e $WORLD/$host/power-off ]]; then
        printf '%s: %s is switched off, so %s does not start\n' "${0##*/}" "$host" "$name" >&2
        return 1
    fi
    (
        [[ -z $WORLD_ALIVE ]] || exec {WORLD_ALIVE}>&-
        echo "$BASHPID" >"$WORLD_CGROUP/$host/cgroup.procs"
        exec setsid nsenter --net="/run/netns/$WORLD_ID-$host" -- "${as[@]}" "$@" \
            >>"$WORLD/$host/$name.log" 2>&1 </dev/null
    ) &
    WORLD_PID=$!
    disown "$WORLD_PID"
    echo "$WORLD_PID" >"$WORLD/$host/$name.pid"
    printf '%s %s %s %s\n' "$WORLD_PID" "$(process_birth "$WORLD_PID")" "$host" "$name" >>"$WORLD/pids"
}

host_pid() { # HOST NAME: the process id of what world_spawn started under that name
    cat "$WORLD/$1/$2.pid"
}

# All processes of a host die at once.
host_kill() {
    cgroup_kill "$WORLD_CGROUP/$1"
}

# The host's link goes silent in both directions: nobody is told. host_join undoes it.
host_cut() {
    host_exec "$1" nft -f - <<-'END'
	table inet cut {
	    chain in { type filter hook input priority 0; policy drop; iif lo accept; }
	    chain out { type filter hook output priority 0; policy drop; oif lo accept; }
	}
	END
}

host_join() {
    host_exec "$1" nft delete table inet cut
}

# world_mount PATH SIZE: PATH, below WORLD, is a file system of that size from now on. The world's end unmounts it.
world_mount() {
    mkdir -p "$1" && mount -t tmpfs -o "size=$2" failover-sandbox "$1"
}

world_unmount() { # DIR of the world
    local mount
    while read -r mount; do
        umount "$mount" || umount --lazy "$mount"
    done < <(awk -v dir="$1/" 'index($2, dir) == 1 { print $2 }' /proc/self/mounts | sort -r)
}

# Leave the world running: its reaper goes, and only `stop` ends it.
world_keep() {
    echo keep >&"$WORLD_ALIVE"
    wait "$WORLD_REAPER"
    exec {WORLD_ALIVE}>&-
    WORLD=''
}

# End the world; its reaper does it, so that this road is the one that is always used. It is told so: the pipe's end
# would not come while a shell in the background, begun since, holds it too.
world_close() { # [keep-logs]
    [[ -n $WORLD ]] || return 0
    local status=0
    echo "${1:-end}" >&"$WORLD_ALIVE"
    exec {WORLD_ALIVE}>&-
    wait "$WORLD_REAPER" || status=$?
    WORLD=''
    return "$status"
}

# What is left of a world, one line each; nothing is the good answer.
world_leftovers() {
    local dir=$1 id=$2 group=$3 space
    if [[ -d $group ]]; then
        echo "cgroup $group, with processes: $(cgroup_pids "$group" | tr '\n' ' ')"
    fi
    for space in /run/netns/"$id"-*; do
        [[ -e $space ]] && echo "network namespace ${space##*/}"
    done
    grep -F -e " $dir/" -e "/run/netns/$id-" /proc/self/mounts
    return 0
}

# world_remove DIR [keep-logs]: end what runs in DIR, whoever started it. Status 1 if something is left.
world_remove() (
    dir=$1 keep=${2:-} left=''
    [[ -r $dir/world ]] || die "$dir: no sandbox is there"
    # shellcheck disable=SC1091
    . "$dir/world"
    exec 9>"$dir/removing"
    flock 9 # two who remove one world: the second finds nothing to do
    [[ -d $dir ]] || exit 0
    cgroup_kill "$WORLD_CGROUP" || echo "sandbox $WORLD_ID: processes outlive SIGKILL" >&2
    while read -r space; do
        [[ -e /run/netns/$space ]] && ip netns del "$space"
    done < <(sort -u "$dir/namespaces")
    [[ -d $WORLD_CGROUP ]] && cgroup_remove "$WORLD_CGROUP"
    for data in "$dir"/*/data; do
        pg_forget "$data"
    done
    world_unmount "$dir"
    rm -f "$SANDBOX_REGISTRY/$WORLD_ID"
    rmdir "$SANDBOX_REGISTRY" 2>/dev/null
    left=$(world_leftovers "$dir" "$WORLD_ID" "$WORLD_CGROUP")
    if [[ -n $left ]]; then
        printf 'sandbox %s: left behind:\n%s\n' "$WORLD_ID" "$left" >&2
        exit 1
    fi
    rm -rf "$dir"/*/data "$dir"/secrets "$dir"/world "$dir"/alive "$dir"/removing
    [[ $keep == keep-logs || -n $WORLD_GIVEN ]] || rm -rf "$dir"
    exit 0
)

# --- etcd ----------------------------------------------------------------------------------------------------

# etcd_start HOST...: one cluster of these members. With ETCD_TLS=yes they speak TLS and ask for certificates (etcd_tls);
# with ETCD_USER set they know users, that one and root, with world_secret's passwords (etcd_users).
# ETCD_OPTIONS: more arguments for each member. ETCD_TOKEN: a cluster of another token is another cluster.
ETCD_TLS='' ETCD_USER='' ETCD_TOKEN=''
ETCD_OPTIONS=()

etcd_start() {
    local host initial=''
    for host; do
        initial+=,$host=http://${HOST_ADDRESS[$host]}:2380
    done
    ETCD_INITIAL=${initial#,}
    [[ -z $ETCD_TLS ]] || etcd_tls "$@" || die "the certificates could not be made: see $WORLD/tls/log"
    for host; do
        etcd_member "$host"
    done
    [[ -z $ETCD_USER ]] || etcd_users "$1"
}

# etcd_member HOST: one member of it; also to start one again that died.
etcd_member() {
    local host=$1 address=${HOST_ADDRESS[$1]} tls=()
    install -d -m 700 "$WORLD/$host/data"
    [[ -z $ETCD_TLS ]] || tls=(--cert-file "$WORLD/tls/$host.pem" --key-file "$WORLD/tls/$host.key"
        --client-cert-auth --trusted-ca-file "$WORLD/tls/ca.pem")
    world_spawn "$host" etcd etcd --name "$host" --data-dir "$WORLD/$host/data" \
        --listen-peer-urls "http://$address:2380" --initial-advertise-peer-urls "http://$address:2380" \
        --listen-client-urls "$(etcd_url "$host")" --advertise-client-urls "$(etcd_url "$host")" \
        --initial-cluster "$ETCD_INITIAL" --initial-cluster-token "$WORLD_ID$ETCD_TOKEN" \
        --heartbeat-interval 50 --election-timeout 500 "${tls[@]}" "${ETCD_OPTIONS[@]}"
}

etcd_url() { # HOST
    printf 'http%s://%s:2379' "${ETCD_TLS:+s}" "${HOST_ADDRESS[$1]}"
}

# etcd_ctl HOST ARGUMENTS...: as root, where there are users.
etcd_ctl() {
    local host=$1 options=()
    shift
    [[ -z $ETCD_TLS ]] || options+=(--cacert "$WORLD/tls/ca.pem" --cert "$WORLD/tls/client.pem" --key "$WORLD/tls/client.key")
    [[ ! -e $WORLD/secrets/etcd-root ]] || options+=(--user "root:$(world_secret etcd-root)")
    ETCDCTL_API=3 host_exec "$host" etcdctl --endpoints "$(etcd_url "$host")" --command-timeout 2s "${options[@]}" "$@"
}

etcd_ready() { # HOST: it is, once it has committed a write
    etcd_ctl "$1" put "/$WORLD_ID/ready" yes
}

# Where there are users, the gateway refuses a client's certificate that has a CommonName; it is its own client.
etcd_tls() { # HOST...
    world_tls "$@" client
}

# The user of the controllers may touch their keys and nothing else.
etcd_users() { # HOST
    local host=$1 root
    wait_for "etcd commits" 20 etcd_ready "$host" || return 1
    etcd_ctl "$host" role add "$ETCD_USER" &&
        etcd_ctl "$host" role grant-permission "$ETCD_USER" --prefix=true readwrite /failover/shop/ &&
        etcd_ctl "$host" user add "$ETCD_USER:$(world_secret etcd)" &&
        etcd_ctl "$host" user grant-role "$ETCD_USER" "$ETCD_USER" || return 1
    root=$(head -c 9 /dev/urandom | base64 | tr '+/' 'xy') # its file makes etcd_ctl use it
    etcd_ctl "$host" user add "root:$root" && etcd_ctl "$host" user grant-role root root &&
        etcd_ctl "$host" auth enable || return 1
    (umask 077 && echo "$root" >"$WORLD/secrets/etcd-root")
} >>"$WORLD/etcd-users.log" 2>&1

# --- certificates --------------------------------------------------------------------------------------------

# world_tls NAME...: WORLD/tls/NAME.pem and .key, for both ends of a connection, signed by one authority (ca.pem) that is
# made with the first. A host's bears its address; "client" has no CommonName.
world_tls() {
    local name subject dir=$WORLD/tls
    (umask 077 && mkdir -p "$dir")
    [[ -e $dir/ca.pem ]] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
        -subj "/CN=$WORLD_ID" -keyout "$dir/ca.key" -out "$dir/ca.pem" >>"$dir/log" 2>&1 || return 1
    for name; do
        [[ ! -e $dir/$name.pem ]] || continue
        subject=/CN=$name
        [[ $name != client ]] || subject=/O=sandbox
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$subject" \
            -keyout "$dir/$name.key" -out "$dir/$name.csr" >>"$dir/log" 2>&1 || return 1
        openssl x509 -req -in "$dir/$name.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -CAcreateserial -days 2 \
            -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=IP:%s\n' \
                "${HOST_ADDRESS[$name]:-127.0.0.1}") -out "$dir/$name.pem" >>"$dir/log" 2>&1 || return 1
    done
}

# --- PostgreSQL ----------------------------------------------------------------------------------------------

as_postgres() {
    setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
}

# world_secret NAME: a random word, made when first asked for, in a file that only root can read.
world_secret() {
    local file=$WORLD/secrets/$1
    if [[ ! -e $file ]]; then
        (
            umask 077
            mkdir -p "$WORLD/secrets"
            draft=$(mktemp "$file.XXXXXX")
            head -c 9 /dev/urandom | base64 | tr '+/' 'xy' >"$draft"
            ln "$draft" "$file" 2>/dev/null # of two who ask first, one makes it
            rm "$draft"
        )
    fi
    cat "$file"
}

pg_name() { # HOST: the instance's name as a standby
    printf '%s' "${1//-/_}"
}

# What both sides of a pair have in common. The standbys' own configuration has no synchronous names, so
# that a promoted one serves alone.
pg_configure() {
    local host=$1 peer=$2 data=$WORLD/$1/data
    cat >>"$data/postgresql.conf" <<-END
	listen_addresses = '${HOST_ADDRESS[$host]}'
	unix_socket_directories = '$WORLD/$host/socket'
	cluster_name = '$(pg_name "$host")'
	shared_buffers = 16MB
	dynamic_shared_memory_type = mmap
	max_connections = 100
	wal_log_hints = on
	wal_keep_size = 256MB
	max_wal_senders = 10
	hot_standby = on
	wal_retrieve_retry_interval = 500ms
	restart_after_crash = off
	log_line_prefix = '%m [%p] '
	primary_conninfo = 'host=${HOST_ADDRESS[$peer]} port=5432 user=replicator password=$(world_secret replicator) application_name=$(pg_name "$host") connect_timeout=2'
	include_if_exists = 'primary.conf'
	END
    cat >"$data/pg_hba.conf" <<-'END'
	local all         postgres                trust
	host  all         all        10.77.0.0/16 scram-sha-256
	host  replication replicator 10.77.0.0/16 scram-sha-256
	END
}

# pg_init PRIMARY STANDBY [sync|async]: two data directories with one history. No server is needed for it: the
# standby's is a copy of the primary's, taken before either ran.
pg_init() {
    local primary=$1 standby=$2 mode=${3:-sync} host
    for host in "$primary" "$standby"; do
        install -d -o postgres -g postgres -m 755 "$WORLD/$host"
        install -d -o postgres -g postgres -m 700 "$WORLD/$host/data"
        install -d -o postgres -g postgres -m 755 "$WORLD/$host/socket"
    done
    # A promotion copies the last segment whole: 4 MiB instead of 16 make it some 60 ms shorter.
    as_postgres "$PG_BIN/initdb" -D "$WORLD/$primary/data" -N --wal-segsize=4 -E UTF8 --locale C -A trust >"$WORLD/$primary/initdb.log" 2>&1 ||
        die "initdb failed: see $WORLD/$primary/initdb.log"
    echo "CREATE ROLE replicator LOGIN REPLICATION PASSWORD '$(world_secret replicator)'" |
        as_postgres "$PG_BIN/postgres" --single -D "$WORLD/$primary/data" postgres >>"$WORLD/$primary/initdb.log" 2>&1 ||
        die "the replication role could not be made: see $WORLD/$primary/initdb.log"
    cp -a "$WORLD/$primary/data/." "$WORLD/$standby/data/"
    pg_configure "$primary" "$standby"
    pg_configure "$standby" "$primary"
    if [[ $mode == sync ]]; then
        echo "synchronous_standby_names = 'FIRST 1 ($(pg_name "$standby"))'" >"$WORLD/$primary/data/primary.conf"
    fi
    touch "$WORLD/$standby/data/standby.signal"
    chown -R postgres:postgres "$WORLD/$primary/data" "$WORLD/$standby/data"
}

# What a killed postmaster leaves behind, in a data directory where nothing runs any more: its file, and a block of
# shared memory (the file's line 7: key and id), of which the kernel has room for 4096; and the lock of its socket, which
# blocks the next start once its process id is somebody else's.
pg_forget() { # DATA
    local key block
    read -r key block < <(sed -n 7p "$1/postmaster.pid" 2>/dev/null) &&
        awk -v key="$key" -v block="$block" '$1 == key && $2 == block && $7 == 0 { found = 1 } END { exit !found }' \
            /proc/sysvipc/shm && ipcrm -m "$block" 2>/dev/null
    rm -f "$1/postmaster.pid" "${1%/data}"/socket/.s.PGSQL.*.lock
}

pg_start() {
    pg_forget "$WORLD/$1/data" # nothing of this host runs (world_spawn's cgroup)
    world_spawn "$1" postgres -u postgres "$PG_BIN/postgres" -D "$WORLD/$1/data"
}

# pg_sql HOST DATABASE SQL: as superuser, over the unix socket; the answer's rows, bare.
pg_sql() {
    PGCONNECT_TIMEOUT=2 PGOPTIONS='-c statement_timeout=5s' \
        as_postgres psql -h "$WORLD/$1/socket" -U postgres -d "$2" -XAtq -v ON_ERROR_STOP=1 -c "$3"
}

pg_ready() {
    pg_sql "$1" postgres 'SELECT 1'
}

# The primary's synchronous standby streams, and the primary counts on it.
pg_is_synchronous() {
    [[ $(pg_sql "$1" postgres "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1 ]]
}

# kill -9 of every PostgreSQL process of a host: the postmaster and all that descends from it.
pg_kill() {
    local all parent pid
    all=("$(host_pid "$1" postgres)")
    kill -STOP "${all[0]}" 2>/dev/null # it starts no more
    while read -r pid parent; do
        [[ $parent == "${all[0]}" ]] && all+=("$pid")
    done < <(ps -e -o pid=,ppid=)
    kill -KILL "${all[@]}" 2>/dev/null
}

# pg_freeze HOST: every PostgreSQL process there stands still; its sockets stay open, and the kernel goes on
# accepting connections for it.
pg_freeze() {
    local all parent pid
    all=("$(host_pid "$1" postgres)")
    kill -STOP "${all[0]}"
    while read -r pid parent; do
        [[ $parent == "${all[0]}" ]] && all+=("$pid")
    done < <(ps -e -o pid=,ppid=)
    kill -STOP "${all[@]}" 2>/dev/null
}

# --- HAProxy -------------------------------------------------------------------------------------------------

# proxy_start HOST ROUTE...: a route is MODE:BACKEND:PORT:SERVER=ADDRESS:PORT[,SERVER=...], MODE tcp or http.
# Every server starts disabled, and HAProxy checks none: who leads the traffic is the controller's decision.
proxy_start() {
    local host=$1 address=${HOST_ADDRESS[$1]} file=$WORLD/$1/haproxy.cfg route mode backend port servers server
    shift
    {
        cat <<-END
		global
		    stats socket ipv4@$address:9999 level admin
		    stats timeout 1h
		    maxconn 2000
		defaults
		    timeout connect 500ms
		    timeout queue 100ms
		    # "shutdown sessions" leaves alone what the client has already half closed; to a silent server that would last
		    # as long as timeout server.
		    timeout client-fin 1s
		    timeout server-fin 1s
		    retries 0
		END
        for route; do
            IFS=: read -r mode backend port servers <<<"$route"
            printf 'frontend %s\n    bind %s:%s\n    mode %s\n' "$backend" "$address" "$port" "$mode"
            if [[ $mode == tcp ]]; then
                printf '    timeout client 1h\n    default_backend %s\nbackend %s\n    mode tcp\n    timeout server 1h\n' "$backend" "$backend"
            else
                printf '    timeout client 60s\n    default_backend %s\nbackend %s\n    mode http\n    timeout server 2s\n' "$backend" "$backend"
            fi
            for server in ${servers//,/ }; do
                printf '    server %s %s disabled\n' "${server%%=*}" "${server#*=}"
            done
        done
    } >"$file"
    haproxy -c -q -f "$file" || die "$file: HAProxy does not take it"
    world_spawn "$host" haproxy haproxy -db -f "$file"
}

# proxy_ask HOST COMMAND: HAProxy's runtime API.
proxy_ask() {
    # shellcheck disable=SC2016
    host_exec "$1" bash -c 'exec 3<>"/dev/tcp/$1/9999" && echo "$2" >&3 && timeout 2 cat <&3' _ "${HOST_ADDRESS[$1]}" "$2"
}

# --- power ---------------------------------------------------------------------------------------------------

# power_start HOST NODE=ADDRESS...: a power device per node, each a management controller with its own address on
# that host. Its chassis control is the program `power`: off ends all processes of the node, and holds.
power_start() {
    local host=$1 device node address dir
    shift
    for device; do
        node=${device%%=*} address=${device#*=} dir=$WORLD/$host/$node
        mkdir -p "$dir/state"
        cat >"$dir/lan.conf" <<-END
		name "$node"
		set_working_mc 0x20
		  startlan 1
		    addr $address 623
		    priv_limit admin
		    allowed_auths_callback none md2 md5 straight
		    allowed_auths_user none md2 md5 straight
		    allowed_auths_operator none md2 md5 straight
		    allowed_auths_admin none md2 md5 straight
		    guid a123456789abcdefa123456789abcdef
		    lan_config_program "/bin/true"
		  endlan
		  chassis_control "$SANDBOX_HOME/power $WORLD $node"
		  user 1 true "" "test" user 10 none md2 md5 straight
		  user 2 true "admin" "$(world_secret ipmi)" admin 10 none md2 md5 straight
		END
        cat >"$dir/emu" <<-'END'
		mc_setbmc 0x20
		mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
		mc_enable 0x20
		END
        world_spawn "$host" "ipmi-$node" ipmi_sim -n -c "$dir/lan.conf" -f "$dir/emu" -s "$dir/state"
    done
}
