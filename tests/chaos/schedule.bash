# shellcheck shell=bash
# schedule.bash - which faults a seed means: sourced by run.
#
#     schedule SEED FROM CASES      prints the faults of so many cases, a line each; the same for the same seed, always
#
# A line has seven fields:
#
#     CASE AT_MS VERB WHAT TARGET MORE FOR_MS
#
# At AT_MS of that case VERB (kill, freeze, cut, fill) is done to WHAT of TARGET, and undone FOR_MS later: what was killed
# is started again, what was frozen thawed, cut healed, filled emptied. TARGET is a role, found when the case begins:
#
#     primary:KIND standby:KIND     a data node, KIND being payment or order
#     leader follower both          of the controllers
#     etcd1 etcd2 etcd3 all         members of etcd
#     proxy1 proxy2
#
# WHAT is postgres, guard, host (all processes of that node), device (its power device), controller, etcd, proxy; of a cut
# it is from whom: etcd, controllers, peer (the other node of the pair), proxies, everybody, and MORE says which way: in,
# out, both. Of fill it is the file system: data, state (the guard's), home (a controller's, with its log), member.
#
# The budget: a case disturbs at most one data node of each database, so that one copy of everything acknowledged is
# left: commits may wait for nobody before it ends. It disturbs one member of etcd, or all of it.

SPLITMIX=0

# The next number of the sequence (splitmix64), in RANDOM_BITS: 31 of its bits.
next_random() {
    local z
    SPLITMIX=$((SPLITMIX + 0x9E3779B97F4A7C15))
    z=$SPLITMIX
    z=$(((z ^ ((z >> 30) & 0x3FFFFFFFF)) * 0xBF58476D1CE4E5B9))
    z=$(((z ^ ((z >> 27) & 0x1FFFFFFFFF)) * 0x94D049BB133111EB))
    z=$((z ^ ((z >> 31) & 0x1FFFFFFFF)))
    RANDOM_BITS=$(((z >> 33) & 0x7FFFFFFF))
}

below() { # NUMBER: sets DRAWN, from 0 on
    next_random
    DRAWN=$((RANDOM_BITS % $1))
}

between() { # LEAST MOST: sets DRAWN
    below $(($2 - $1 + 1))
    DRAWN=$((DRAWN + $1))
}

one_of() { # WORD...: sets DRAWN
    below $#
    shift "$DRAWN"
    DRAWN=$1
}

# Each kind of fault as often as it stands here: VERB WHAT CLASS LEAST_MS MOST_MS. CLASS says whom it can meet.
FAULTS=(
    "kill postgres primary 0 0" "kill postgres primary 0 0" "kill postgres primary 0 0" "kill postgres standby 0 0"
    "kill guard data 50 700" "kill guard data 1500 6000"
    "kill host data 500 8000"
    "kill device data 1000 10000"
    "kill controller leader 100 8000" "kill controller leader 100 1000" "kill controller follower 100 8000" "kill controller both 100 6000"
    "kill etcd member 200 10000" "kill etcd member 200 2000" "kill etcd all 1000 15000"
    "kill proxy proxy 200 6000"
    "freeze postgres primary 300 12000" "freeze postgres standby 300 12000"
    "freeze guard data 300 6000"
    "freeze host data 300 8000"
    "freeze controller leader 300 8000" "freeze controller follower 300 8000" "freeze controller both 300 6000"
    "freeze etcd member 300 8000" "freeze etcd all 1000 8000"
    "freeze proxy proxy 300 5000"
    "cut etcd data 500 12000" "cut controllers data 500 12000" "cut peer data 500 15000" "cut proxies data 500 12000"
    "cut everybody data 500 15000" "cut everybody data 500 15000"
    "cut etcd leader 500 10000" "cut etcd follower 500 10000" "cut everybody leader 500 10000" "cut controllers leader 500 10000"
    "cut everybody member 500 10000" "cut etcd member 500 10000"
    "cut controllers proxy 500 8000"
    "fill data data 1000 6000" "fill state data 1000 6000" "fill home leader 1000 6000" "fill home follower 1000 6000"
    "fill member member 1000 6000"
)

# Sets TARGET for a class.
draw_target() { # CLASS
    local role=$1
    case $1 in
    primary | standby | data)
        [[ $role != data ]] || { one_of primary standby && role=$DRAWN; }
        one_of payment order
        TARGET=$role:$DRAWN
        ;;
    member) one_of etcd1 etcd2 etcd3 && TARGET=$DRAWN ;;
    proxy) one_of proxy1 proxy2 && TARGET=$DRAWN ;;
    *) TARGET=$1 ;;
    esac
}

# Whether the budget allows it, after those of this case in TAKEN. It takes what it returns true for.
fits() { # VERB WHAT TARGET
    local kind=${3#*:} need='' one
    case $3 in
    primary:* | standby:*) need="node:$kind" ;;
    leader | follower) need="$3" ;;
    both) need="leader follower" ;;
    etcd*) need="etcd" ;;
    all) need="etcd" ;;
    *) need=$3 ;;
    esac
    for one in $need; do
        [[ " $TAKEN " != *" $one "* ]] || return 1
    done
    TAKEN+=" $need"
}

draw_case() { # SEED CASE
    local wanted tries=0 verb what class least most at more for_ms
    SPLITMIX=$(($1 * 1000003 + $2 * 0x5851F42D4C957F2D))
    next_random
    below 20
    wanted=$((DRAWN < 8 ? 1 : DRAWN < 15 ? 2 : 3))
    TAKEN=''
    while ((wanted > 0 && tries++ < 50)); do
        one_of "${FAULTS[@]}"
        read -r verb what class least most <<<"$DRAWN"
        draw_target "$class"
        # One in three begins with the case, one in three right after it, when the first effects are under way.
        below 3
        case $DRAWN in
        0) at=0 ;;
        1) between 20 600 && at=$DRAWN ;;
        2) between 600 4000 && at=$DRAWN ;;
        esac
        between "$least" "$most"
        for_ms=$DRAWN
        one_of in out both both
        more=-
        [[ $verb != cut ]] || more=$DRAWN
        fits "$verb" "$what" "$TARGET" || continue
        printf '%d %d %s %s %s %s %d\n' "$2" "$at" "$verb" "$what" "$TARGET" "$more" "$for_ms"
        wanted=$((wanted - 1))
    done
}

schedule() { # SEED FROM CASES
    local case
    for ((case = $2; case < $2 + $3; case++)); do
        draw_case "$1" "$case"
    done
}
