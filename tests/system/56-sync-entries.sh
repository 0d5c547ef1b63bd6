#!/bin/bash
# What commits wait for, by the record, the guard and PostgreSQL together: a standby that is cut off stops commits for
# degrade_after at most, and they wait for it again when it is back (failures.md C7, E12, F11).
# shellcheck disable=SC2317
export SHOP_GUARDS=yes
. "$(dirname "$0")/world.bash"
PRIMARY=${SHOP_HOME[payment]} STANDBY=${SHOP_AWAY[payment]}
DECLARED="FIRST 1 ($(pg_name "$STANDBY"))"

nothing_moved() {
    etcd_value permits/payments | jq -e --arg node "$PRIMARY" '.state == "granted" and .node == $node' && record_shows '.workflow == null'
}

# The permit's entries, and nothing else, as "k member,member".
permit_lists() { # ENTRY...
    local listed
    listed=$(etcd_value permits/payments | jq -r '.sync[] | "\(.k) \(.members | join(","))"') || return 1
    [[ $listed == "$(printf '%s\n' "$@")" ]] || { echo "$listed" && return 1; }
}

# A new session shows an entry with these names.
postgresql_waits_for() { # NAMES, without the quotes
    local shown
    shown=$(pg_sql "$PRIMARY" postgres 'SHOW synchronous_standby_names') || return 1
    [[ ${shown//\"/} == "$1" ]] || { echo "$shown" && return 1; }
}

shows_sync() { # FILTER of the database's status
    status_shows "[$(db payments) | $1] == [true]"
}

# In etcd's history the entries only grow, or shrink to their last one: none is changed for another in one step.
changes_are_recorded_first() {
    history | jq -se '[.[] | select(.key == "permits/payments" and .value != null) | .value.sync] as $all |
        [range(1; $all | length) | {before: $all[. - 1], after: $all[.]} | select(.before != .after)] as $changes |
        ($changes | length >= 4) and all($changes[]; (.before - .after == []) or .after == [.before[-1]])'
}

world_begin
check_soon "at rest the permit lists what is declared, alone" 20 permit_lists "1 $(pg_name "$STANDBY")"
check_soon "PostgreSQL waits for it" 10 postgresql_waits_for "$DECLARED"

cut_from "$STANDBY" "${HOST_ADDRESS[$PRIMARY]}"
check_soon "E12: the standby's link is silent: commits stand still, and that is called a sync stall" 20 shows_alarm primary.payments "sync stall.*no failover"
check_soon "C7: after degrade_after it is said that commits wait for nobody" 30 shows_alarm degraded.payments "wait for nobody"
check_soon "F11: the guard has proven it, and the older entry is dropped" 30 permit_lists "0 "
check "PostgreSQL waits for nobody" postgresql_waits_for ""
check "it is shown as asynchronous" shows_sync '.durability == "degraded to asynchronous" and .loss_now != "proven"'
check_soon "commits go on" 15 load_runs
check "nothing was moved for it" nothing_moved

heal "$STANDBY"
check_soon "the standby is back: commits wait for it again" 60 permit_lists "1 $(pg_name "$STANDBY")"
check_soon "PostgreSQL waits for it again" 10 postgresql_waits_for "$DECLARED"
check_soon "all is well again, without an alarm" 30 is_well
check "a loss is proven to be none" shows_sync '.loss_now == "proven" and .loss_now_bytes == 0'
check_soon "the load runs" 15 load_runs
check "nothing was moved" nothing_moved
check "in etcd's history each change stands with the old entry beside the new one first" changes_are_recorded_first
stop_load_and_audit
world_finish
finish
