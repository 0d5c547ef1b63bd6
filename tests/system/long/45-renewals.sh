#!/bin/bash
# An hour of renewals at ten times the fast profile's rate: one every 50 ms for each database. The leader keeps the
# history small, so that the size of etcd is flat.
#
# MINUTES=2 tries it: below half an hour the leader keeps one minute of history instead of ten.
# deadline: 5400 s
# shellcheck disable=SC2317
MINUTES=${MINUTES:-60}
SHOP_GUARDS=yes SHOP_PROFILE=fast
. "$(dirname "$0")/../world.bash"
GUARD=$BUILD/tests/failover-guard-hurried
HISTORY_S=600
((MINUTES >= 30)) || FAILOVERD=${FAILOVERD:-$BUILD/tests/failoverd-short-history} HISTORY_S=60
SETTLED_S=$((HISTORY_S * 12 / 10)) # the history is full, and what was before it has been compacted away
SAMPLES=20

# The largest member's file, and what of it is in use; the revision; the renewals of both databases so far.
sample() {
    local host
    {
        for host in etcd1 etcd2 etcd3; do
            etcd_ctl "$host" endpoint status -w json || return 1
        done
        for host in payments orders; do
            etcd_ctl etcd1 get "/failover/shop/renewals/$host" -w json || return 1
        done
    } | jq -cs --argjson at $((($(now_ms) - BEGUN) / 1000)) '{
        at_s: $at, size: ([.[][0]?.Status.dbSize // 0] | max), in_use: ([.[][0]?.Status.dbSizeInUse // 0] | max),
        revision: .[0][0].Status.header.revision, renewals: ([.[] | objects | .kvs[0].version] | add)}'
}

take_samples() {
    local i next
    for ((i = 1; i <= SAMPLES; i++)); do
        next=$((BEGUN + MINUTES * 60000 * i / SAMPLES))
        while (($(now_ms) < next)); do
            sleep 0.5
        done
        sample >>"$TMP/samples" || return 1
        tail -n 1 "$TMP/samples" | jq -r '"    \(.at_s) s: \(.size / 1024 | round) KiB, \(.in_use / 1024 | round) KiB of it in use, revision \(.revision), \(.renewals) renewals"'
    done
}

# Of the samples since the history was full, the last quarter holds no more than a fifth above the first quarter.
is_flat() { # size | in_use
    jq -se --argjson settled "$SETTLED_S" --arg what "$1" '
        [.[] | select(.at_s >= $settled) | .[$what]] | (length / 4 | ceil) as $n
        | {samples: length, first: (.[:$n] | add / length), last: (.[-$n:] | add / length)}
        | ., (.samples >= 4 and .last <= .first * 1.2)' "$TMP/samples"
}

# At least half of what ten times the rate is, on however busy a machine; the ordinary rate is a tenth.
renewals_came() {
    jq -se '(.[-1].renewals - .[0].renewals) / (.[-1].at_s - .[0].at_s) | "\(.) renewals a second", . >= 20' "$TMP/samples"
}

nothing_moved() {
    status_shows "[.groups[].databases[] | select(.state == \"normal\" and .tier == \"strict\")] | length == 2" &&
        [[ $(primaries_of payment) == "${SHOP_HOME[payment]}" && $(primaries_of order) == "${SHOP_HOME[order]}" ]]
}

world_begin
BEGUN=$(now_ms)
sample >"$TMP/samples"
check "etcd tells its size" test -s "$TMP/samples"
if take_samples; then
    ok "for $MINUTES minutes"
else
    failed "for $MINUTES minutes"
fi
jq -sr '"    \((.[-1].renewals - .[0].renewals) / (.[-1].at_s - .[0].at_s) | round) renewals a second, of two databases"' "$TMP/samples"
check "the renewals came ten times as fast as ordinary ones" renewals_came
check "the size of etcd is flat" is_flat size
check "and so is what it uses of it" is_flat in_use
check "no alarm about etcd is raised" status_shows '[.groups[].alarms[] | select(.key | startswith("etcd."))] | length == 0'
check "nothing has moved, and every permit is renewed" nothing_moved
stop_load_and_audit
world_finish
finish
