#!/bin/bash
# What an operator does: check and apply a definition, pause and resume, fail over by hand, look, and be refused.
# shellcheck disable=SC2317
SHOP_SOCKET_GROUP=postgres # root needs no group; of the others only its members may ask
. "$(dirname "$0")/world.bash"

# exits STATUS WORDS COMMAND...: the command ends with that status, and says these words (an extended expression).
exits() {
    local wanted=$1 words=$2 said status
    shift 2
    said=$("$@" 2>&1 </dev/null)
    status=$?
    printf '%s\n' "$said" "status $status"
    ((status == wanted)) && grep -qE -- "$words" <<<"$said"
}

bad_definition() {
    sed -e 's/^profile: .*/profile: fastest/' -e 's/durability: sync/durabilty: sync/' \
        -e 's/deadline: 15s/deadline: 15 parsecs/' "$WORLD/cluster.yaml"
}

reports_every_error() {
    local said
    said=$("$BUILD/failoverctl" check "$WORLD/bad.yaml" 2>&1)
    printf '%s\n' "$said"
    grep -qE 'bad.yaml:3:.*profile.*fastest.*default.*fast' <<<"$said" && grep -qE 'durabilty.*durability' <<<"$said" &&
        grep -qE 'parsecs' <<<"$said" && [[ $(grep -c 'parsecs' <<<"$said") == 4 ]]
}

setup_twice() {
    local time
    for time in first second; do
        "$BUILD/failoverctl" setup-sql payments | as_postgres psql -h "$WORLD/pay-east/socket" -U postgres -d payments -Xq \
            -v ON_ERROR_STOP=1 || {
            echo "the $time time"
            return 1
        }
    done
}

as_user() { # USER COMMAND...
    runuser -u "$1" -- "${@:2}"
}

epoch_is() { # DATABASE COUNTER NODE
    etcd_value "permits/$1" | jq -e ".state == \"granted\" and .epoch.counter == $2 and .node == \"$3\""
}

both_run() { # REVISION
    status_shows "[.controllers[] | select(.present) | .config_revision] == [$1, $1]"
}

config_revision() {
    etcd_ctl etcd1 get /failover/shop/config -w json | jq .kvs[0].mod_revision
}

pids() {
    cat "$WORLD"/ops?/failoverd.pid
}

# events_tell FILTER: in whichever order the controllers are asked, so whoever of them leads.
events_tell() {
    local first second
    for first in ops1 ops2; do
        second=$(other_than "$first")
        "$BUILD/failoverctl" --socket "$WORLD/$first/failoverd.sock" --socket "$WORLD/$second/failoverd.sock" events --json |
            jq -e -s "any(.[]; $1)" || return 1
    done
}

status_has_its_shape() {
    # shellcheck disable=SC2016
    status_shows '.schema == 1 and .cluster == "shop" and (.at | test("^2[0-9]{3}-.*Z$")) and (.leader | has("id") and has("term"))
        and .etcd.reachable and (.controllers | length == 2 and all(has("id") and has("present") and has("age_ms") and has("config_revision")))
        and (.groups[0] | .name == "shop" and .home == "east" and .active == "east" and .paused == null
            and (.databases | length == 2) and (.services | length == 2) and (.routes | length == 4) and (.alarms | type == "array"))
        and all(.groups[].databases[]; (.instances | length == 2 and all(.age_ms < 10000 and (.role == "primary" or .role == "standby")))
            and .redundancy == 1 and .timeline == 1 and .epoch == "1.1" and (.candidate.node | type == "string"))'
}

world_begin

# --- without a controller: check and setup-sql -----------------------------------------------------------------------

check "check finds nothing wrong with a good definition" exits 0 'good: cluster shop' "$BUILD/failoverctl" check "$WORLD/cluster.yaml"
bad_definition >"$WORLD/bad.yaml"
check "check refuses a bad definition with status 2" exits 2 'errors' "$BUILD/failoverctl" check "$WORLD/bad.yaml"
check "check tells every error at once, with its line and what is meant" reports_every_error
check "check of a file that is not there has status 2" exits 2 'No such file' "$BUILD/failoverctl" check "$WORLD/nowhere.yaml"
check "setup-sql can be piped to psql twice" setup_twice

# --- looking -------------------------------------------------------------------------------------------------------------

check "status --json has its shape" status_has_its_shape
check "status says what is served where" exits 0 'payments.*pay-east' ctl status
check "nobody listens on another socket: status 4" exits 4 'nowhere.sock' "$BUILD/failoverctl" --socket "$WORLD/nowhere.sock" status
check "there is no incident yet" exits 0 '' ctl incident list

# --- who may ask -----------------------------------------------------------------------------------------------------------

install -m 755 "$BUILD/failoverctl" "$WORLD/failoverctl"
socket=$WORLD/ops1/failoverd.sock
check "a user outside the socket's group is refused" exits 4 'not allowed; only root and the socket.s group' \
    as_user nobody "$WORLD/failoverctl" --socket "$socket" status
check "a user of the socket's group is admitted" exits 0 'payments' as_user postgres "$WORLD/failoverctl" --socket "$socket" status

# --- a new definition ----------------------------------------------------------------------------------------------------

before=$(config_revision) pids=$(pids)
check "a bad definition is not applied: status 2" exits 2 'error' ctl apply --yes "$WORLD/bad.yaml"
check "and nothing has changed by it" test "$(config_revision)" = "$before"
sed 's/switched: 1h/switched: 30m/' "$WORLD/cluster.yaml" >"$WORLD/next.yaml"
check "a changed objective is applied, and the difference shown" exits 0 'objectives.switched.*(1h|30m)' \
    ctl apply --yes --reason 'half an hour' "$WORLD/next.yaml"
check "it has a new revision" test "$(config_revision)" -gt "$before"
check_soon "both controllers run it" 10 both_run "$(config_revision)"
check "without a restart" test "$(pids)" = "$pids"
check_soon "and all is healthy under it" 15 is_healthy

# --- refusals --------------------------------------------------------------------------------------------------------------

pg_kill pay-west
no_candidate="[$(db payments) | .candidate.node] == [null]"
check_soon "without its standby payments have no candidate" 15 status_shows "$no_candidate"
check "a failover without a candidate is refused with the reason: status 1" exits 1 'no candidate.*pay-west' \
    ctl failover --database payments --yes --reason 'try'
check "a refused failover changes nothing" epoch_is payments 1 pay-east
check "an unknown database is an input's error: status 2" exits 2 'ledger' ctl failover --database ledger --yes --reason 'try'
check "confirm-fenced without a fence is refused: status 1" exits 1 'no fence of node pay-east' \
    ctl confirm-fenced pay-east --yes --reason 'try'
pg_start pay-west
check_soon "its standby is back" 30 is_well

# --- pause and resume --------------------------------------------------------------------------------------------------------

check "a pause needs a reason" exits 2 'reason' ctl pause shop
check "the group is paused" exits 0 'paused' ctl pause shop --reason 'network maintenance'
check_soon "a pause lasts in status, with the next command" 10 shows_alarm paused 'network maintenance'
pg_kill pay-east
check_soon "a primary that dies while paused raises an alarm that says so" 20 shows_alarm held.payments 'paused'
check_for "and nothing is done" 4 epoch_is payments 1 pay-east
check "nobody was switched off" test ! -e "$WORLD/power.log"
check_soon "a person was called" 10 grep -q 'held.payments' "$WORLD/calls.log"
check "the group is resumed" exits 0 'resumed' ctl resume shop --reason 'maintenance is over'
check_soon "then payments fail over" 40 has_moved payments pay-west
check "orders stay where they are" epoch_is orders 1 ord-east
check_soon "the alarms of the pause are over" 10 status_shows '[.groups[].alarms[].key | select(. == "paused" or . == "held.payments")] == []'

# --- incidents and events -------------------------------------------------------------------------------------------------

check "the incident is in the list" exits 0 'payments: primary on pay-east' ctl incident list
check "the incident shows its laps" exits 0 'detect' ctl incident show
check "the incident has the new objective" status_shows '.groups[0].incident.objectives[] | select(.name == "switched") | .limit_s == 1800'
check "the events tell the rules that decided" events_tell '.rule == "R-F3" and .database == "payments"'
check "the events tell who paused and why" events_tell '.text | test("pause.*network maintenance")'

# --- a failover by hand ---------------------------------------------------------------------------------------------------

check "a person moves orders" exits 0 'done' ctl failover --database orders --yes --reason 'the disk of ord-east is dying'
check_soon "orders are on ord-west" 20 has_moved orders ord-west
check "payments were not touched by it" epoch_is payments 2 pay-west
check "the incident has the person's reason" exits 0 'the disk of ord-east is dying' ctl incident show latest
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
