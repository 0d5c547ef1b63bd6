#!/bin/bash
# etcd with TLS, client certificates and users: tokens that expire, users that are changed, a password that is taken away
# and given back, endpoints that move. A failover runs under all of it.
# deadline: 900 s
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
. "$(dirname "$0")/etcd.bash"

# Nobody without a certificate of ours is heard, and nobody without a user writes.
answers_without_certificate() {
    host_exec ops1 curl -sS --max-time 5 --cacert "$WORLD/tls/ca.pem" -d '{}' "$(etcd_url etcd1)/v3/maintenance/status"
}

write_without_user() { # prints the gateway's answer
    host_exec ops1 curl -sS --max-time 5 --cacert "$WORLD/tls/ca.pem" --cert "$WORLD/tls/client.pem" --key "$WORLD/tls/client.key" \
        -d '{"key":"YQ==","value":"YQ=="}' "$(etcd_url etcd1)/v3/kv/put"
}

reload() { # HOST...
    local host
    for host; do
        kill -HUP "$(host_pid "$host" failoverd)" || return 1
    done
}

# How often etcd was asked for a token with a password that it did not take.
refused_logins() {
    cat "$WORLD"/etcd?/etcd.log | grep -cE 'invalid user ID or password|authentication failed|Unmatched|auth.*fail'
}

ETCD_TLS=yes ETCD_USER=failover
ETCD_OPTIONS=(--auth-token simple --auth-token-ttl 5)
world_begin
remember_pids
check_soon "all is well, with certificates and a user" 20 is_well
check "without a client certificate nobody is answered" not answers_without_certificate
check "without a user nothing is written" bash -c "[[ \$1 == *'user name is empty'* ]]" _ "$(write_without_user)"

# --- tokens and users --------------------------------------------------------------------------------------------------

before=$(term)
check_for "D17: for longer than a token's life the term is the same" 8 term_is "$before"
leader=$(leader_of) member=$(member_in_use "$leader")
check "the leader uses one member" test -n "$member"
host_kill "$member"
check_soon "another member, which knows its token no more, is used" 10 term_is "$before"
check_for "and the term is the same" 7 term_is "$before"
etcd_member "$member"
check_soon "the member is back" 15 etcd_ctl "$member" get /failover/shop/leader
check "a user is added by hand" etcd_ctl etcd1 user add "somebody:else"
check "and may read all" etcd_ctl etcd1 user grant-role somebody failover
check_for "D17: the term is the same after a change of users" 7 term_is "$before"
check_soon "all is well" 15 is_well

# --- a failover --------------------------------------------------------------------------------------------------------

pg_kill pay-east
check_soon "a primary that dies is replaced" 40 has_moved payments pay-west
check_soon "the load goes on" 15 load_runs

# --- the password --------------------------------------------------------------------------------------------------------

set_password() { # WORD
    etcd_ctl etcd1 user passwd failover --interactive=false <<<"$1"
}

mark
logins_before=$(refused_logins)
check "the password is changed in etcd" set_password "another-one"
check_soon "nobody leads, and status says why" 20 both_show_problem 'refuses this controller.s user or password'
check "the log says so" both_say 'error etcd refuses this controller.s user or password'
pg_kill ord-east
check_for "a primary that dies meanwhile is not replaced" 10 is_standby ord-west
logins=$(($(refused_logins) - logins_before))
echo "    $logins lines about refused log-ins in etcd's logs, of two controllers, in some 15 s"
check "there was no storm of log-ins" test "$logins" -lt 60
check "both controllers live" both_live
(umask 077 && echo "another-one" >"$WORLD/secrets/etcd")
check "the secret's file is changed, and both are told" reload ops1 ops2
check_soon "somebody leads again, and fails over what waited" 40 has_moved orders ord-west
check_soon "nothing is wrong with etcd any more" 10 status_shows '.etcd.problem == null'

# --- other endpoints ---------------------------------------------------------------------------------------------------

# The first two are nobody's, or in another order; the third is the one that stays.
endpoints() { # HOST URL...
    local host=$1 url lines=''
    shift
    for url; do
        lines+="    - \"$url\"\\n"
    done
    sed -i -e '/^    - "http/d' -e "s|^  endpoints:|  endpoints:\\n${lines%\\n}|" "$WORLD/$host/local.yaml"
}

check_soon "before that all goes on" 20 goes_on
before=$(term)
for host in ops1 ops2; do
    endpoints "$host" "$(etcd_url etcd3)" "https://10.77.0.99:2379" "$(etcd_url etcd2)"
done
mark
check "other endpoints are told to both" reload ops1 ops2
check_soon "they say so" 10 both_say "etcd's endpoints of the local file count now"
check_for "the term is the same" 5 term_is "$before"
host_kill etcd1
check_for "and stays so without the member that is no endpoint any more" 8 term_is "$before"
etcd_member etcd1
check_soon "all goes on" 20 goes_on
check "both controllers have lived through all of it" both_live
stop_load_and_audit
world_finish
finish
