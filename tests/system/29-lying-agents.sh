#!/bin/bash
# Fence agents that fork away, hang, flood, are missing, and lie: each gives no proof and is told in plain words, the next
# level is tried, nothing is promoted before one of them proves it, and nothing that they began is left running. The worst
# of them says "off" while the node lives: whoever finds it alive cancels its word, also when only the follower can
# reach the node (failures.md G1, G2, G3, G11, A15).
#
# The agents lie where failoverd looks for them, in a mount namespace of each controller's own.
# shellcheck disable=SC2016,SC2317
. "$(dirname "$0")/world.bash"
MARK=fence-agent-$$ # in the arguments of whatever they start

# --- the agents --------------------------------------------------------------------------------------------------

mkdir "$TMP/agents" "$TMP/build"
cp /usr/sbin/fence_ipmilan "$TMP/agents/"

agent() { # NAME < what it does with $action
    {
        printf '#!/bin/bash\n# %s\n' "$MARK"
        printf 'while read -r line; do [[ $line != action=* ]] || action=${line#action=}; done\n'
        printf 'echo "$action" >>%q\n' "$TMP/asked.$1"
        cat
    } >"$TMP/agents/$1"
    chmod 755 "$TMP/agents/$1"
}

agent fence_forks <<END
[[ \$action == off ]] || { echo "Status: ON"; exit 0; }
bash -c 'trap "" HUP TERM; while :; do sleep 1; done' $MARK & # it keeps our output open
setsid bash -c 'while :; do sleep 1; done' $MARK </dev/null >/dev/null 2>&1 & # and this one is in no group of ours
exit 0
END
agent fence_hangs <<END
[[ \$action == off ]] || { echo "Status: ON"; exit 0; }
trap '' TERM INT HUP
bash -c 'trap "" TERM; while :; do sleep 1; done' $MARK &
while :; do wait; done
END
agent fence_floods <<END
[[ \$action == off ]] || { echo "Status: ON"; exit 0; }
exec yes "the device says so much that nobody can keep it all $MARK"
END
agent fence_lies <<END
[[ \$action == off ]] && echo "Success: Powered OFF" || echo "Status: ON"
exit 0
END
agent fence_believed <<END # it takes its time, until the test has seen to what follows
[[ \$action == off ]] || { echo "Status: OFF"; exit 2; }
until [[ -e $TMP/go-on ]]; do sleep 0.05; done
echo "Success: Powered OFF"
exit 0
END

cat >"$TMP/build/failoverd" <<END
#!/bin/bash
exec unshare --mount bash -c 'mount --bind "\$1" /usr/sbin && shift && exec "\$@"' _ $TMP/agents $BUILD/failoverd "\$@"
END
chmod 755 "$TMP/build/failoverd"
ln -s "$BUILD/failoverctl" "$BUILD/shop" "$TMP/build/"
BUILD=$TMP/build

level() { # NAME AGENT [DEADLINE]
    printf '      - name: %s\n        method: agent\n        agent: %s\n        options: { ip: 192.0.2.1 }\n        deadline: %s\n' \
        "$1" "$2" "${3:-4s}"
}

eval "$(declare -f definition_node | sed '1s/definition_node/plain_node/')"
definition_node() { # NODE SITE
    local levels
    case $1 in
    pay-east) levels=$(level forks fence_forks && level hangs fence_hangs && level floods fence_floods) ;;
    ord-east) levels=$(level missing fence_missing && level lies fence_lies && level believed fence_believed 60s) ;;
    *) levels='' ;;
    esac
    if [[ $1 == pay-east ]]; then
        plain_node "$@" | awk -v levels="$levels" '/name: person/ { exit } { print } /fencing:/ { print levels }'
    elif [[ $1 == ord-east ]]; then
        plain_node "$@" | awk -v levels="$levels" '/fencing:/ { print; print levels; skip = 1; next } /name: person/ { skip = 0 } !skip'
    else
        plain_node "$@"
    fi
}

# --- what is asked of them ---------------------------------------------------------------------------------------

nothing_of_theirs_runs() {
    local process arguments status=0
    for process in /proc/[0-9]*; do
        arguments=$(tr '\0' ' ' 2>/dev/null <"$process/cmdline")
        if [[ $arguments == *"$MARK"* || $arguments =~ fence_(forks|hangs|floods|lies|believed) ]]; then
            echo "${process#/proc/}: $arguments"
            status=1
        fi
    done
    return "$status"
}

# The incident tells of a level that gave no proof, in these words.
incident_tells() { # LEVEL WORDS
    ctl incident show --json >"$TMP/incident.json" && jq -er '.. | strings' "$TMP/incident.json" |
        grep -E "fencing level $1 of .* gave no proof: .*$2"
}

promoted() { # NODE
    grep -c 'received promote request' "$WORLD/$1/postgres.log"
}

never_promoted() { # NODE
    [[ $(promoted "$1") == 0 && $(pg_sql "$1" postgres 'SELECT pg_is_in_recovery()') == t ]]
}

promoted_after_power() { # NODE: once, and only when its old primary's device had been told to switch it off
    local at off_ms
    at=$(grep 'received promote request' "$WORLD/$1/postgres.log" | cut -d ' ' -f 1-3)
    off_ms=$(awk '$2 == "pay-east" && $3 == 0 { print $1; exit }' "$WORLD/power.log")
    [[ $(promoted "$1") == 1 && -e $WORLD/pay-east/power-off ]] && (($(date -d "$at" +%s%3N) > off_ms))
}

waits_for_a_person() {
    status_shows "[$(db orders) | .state] == [\"fence-wait\"]"
}

# The standby's sessions, and whatever would begin one, stand still: it answers no controller, so that it cannot be chosen,
# however long the follower's word takes. Its WAL receiver goes on, and with it the old primary's commits.
hold_standby() { # STOP | CONT
    kill "-$1" "$(host_pid ord-west postgres)" && pg_signal ord-west "$1" failoverd
}

is_under_way() { # COMMAND...: its exit status says that it still runs
    "$@"
    (($? == 3))
}

is_asked_off() { # AGENT
    grep -qx off "$TMP/asked.$1"
}

world_begin
pg_kill pay-east
check_soon "G2: an agent that forks away proves nothing, and it is said" 40 incident_tells forks 'off succeeded, status still says on'
check "nobody is promoted for it" never_promoted pay-west
check_soon "G1: an agent that hangs is ended at its deadline, and it is said" 30 incident_tells hangs 'off'
check_soon "an agent that floods its output proves nothing, and it is said" 30 incident_tells floods 'off'
check_soon "the last level, a power device, proves it: payments fail over" 40 has_moved payments pay-west
check "the promotion was the only one, after the power was off" promoted_after_power pay-west
check "the evidence is the power device's" status_shows '[.groups[0].incident.databases[] | select(.name == "payments") | .evidence | test("agent.*power")] == [true]'
check "each agent was asked to switch off" bash -c "cd '$TMP' && grep -qx off asked.fence_forks && grep -qx off asked.fence_hangs && grep -qx off asked.fence_floods"
check_soon "G1: nothing that they began is left running" 5 nothing_of_theirs_runs
check_soon "the load goes on" 20 load_runs

# The node lives and takes writes, but the leader cannot reach it, and an agent says that it is off.
leader=$(leader_of)
follower=$(other_than "$leader")
cut_from "$leader" "${HOST_ADDRESS[ord-east]}"
check "a person wills a failover of orders" is_under_way ctl failover --database orders --yes --no-wait --reason 'to see who lies'
check_soon "an agent that is missing is said to be" 30 incident_tells missing 'not|No such'
check_soon "G2: an agent whose status contradicts it is told" 30 incident_tells lies 'off succeeded, status still says on'
check_soon "and the next one is asked" 10 is_asked_off fence_believed
check "nobody is promoted for them" never_promoted ord-west
check "the standby stands still" hold_standby STOP
touch "$TMP/go-on"
check_soon "G3: the follower finds alive what was believed to be off" 30 \
    grep -q "ord-east was found alive by controller $follower after it was proven fenced" "$WORLD/$leader/failoverd.log"
check "the standby goes on" hold_standby CONT
check_soon "G3: a person is told why" 10 shows_alarm fence.orders "fence of ord-east lied.*found alive by controller $follower"
check_soon "G3: no level is left: a person must look" 40 waits_for_a_person
check_for "G3: nobody is promoted while the old primary lives" 4 never_promoted ord-west
check "the one that was believed is not asked again" test "$(grep -cx off "$TMP/asked.fence_believed")" -eq 1
check "the old primary lives, and takes writes" pg_sql ord-east postgres "SELECT pg_logical_emit_message(true, 'test', 'it lives')"
heal "$leader"
check "its node is switched off by hand" host_exec bmc ipmitool -I lanplus -C 3 -H "${SHOP_BMC[ord-east]}" -U admin \
    -P "$(world_secret ipmi)" chassis power off
check "a person vouches for it" ctl confirm-fenced ord-east --yes --reason 'switched off by hand'
check_soon "then orders fail over" 30 has_moved orders ord-west
check "promoted once" test "$(promoted ord-west)" -eq 1
check_soon "nothing that they began is left running (2)" 5 nothing_of_theirs_runs
check_soon "the load goes on" 20 load_runs
stop_load_and_audit
world_finish
finish
