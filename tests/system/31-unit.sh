#!/bin/bash
# What `cmake --install` puts there is a service that systemd takes, and that has few rights.
# shellcheck disable=SC2317
. "$(dirname "$0")/sandbox.bash"

DESTDIR=$TMP/tree cmake --install "$BUILD" >"$TMP/install.log" 2>&1 || cat "$TMP/install.log"
unit=$(find "$TMP/tree" -name failoverd.service)
guard_unit=$(find "$TMP/tree" -name failover-guard.service)

installed() { # NAME...: each is there once
    local name
    for name; do
        [[ $(find "$TMP/tree" -path "*/$name" | wc -l) -eq 1 ]] || { echo "$name is not installed" && return 1; }
    done
}

# systemd looks for what the unit names below the tree: the other units, kill(1) and our program must be there.
complete_tree() {
    mkdir -p "$TMP/tree/usr/lib/systemd/system" "$TMP/tree/usr/bin"
    cp -an /lib/systemd/system/. "$TMP/tree/usr/lib/systemd/system/"
    cp /bin/kill "$TMP/tree/usr/bin/"
    ln -s usr/bin usr/lib "$TMP/tree/"
}

verify() { # NAME
    local said
    said=$(systemd-analyze verify --man=no --root="$TMP/tree" "$1.service" 2>&1)
    # Of other units' faults it speaks too.
    ! grep "$1" <<<"$said"
}

names_what_is_installed() { # UNIT
    local program
    program=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$1")
    [[ -x $TMP/tree/$program ]] || { echo "ExecStart names $program, which is not installed" && return 1; }
}

# 0.0 is no exposure at all, 10.0 everything. What is left: the network, which is its work.
score() {
    systemd-analyze security --no-pager --offline=yes --threshold=20 "$unit" >"$TMP/score" 2>&1
    local status=$?
    tail -n 1 "$TMP/score"
    return "$status"
}

wrong_key_is_found() { # so that a silent verify means something
    cp "$unit" "$TMP/good"
    sed -i 's/^WatchdogSec=.*/WatchdogSec=often/' "$unit"
    ! verify failoverd
    local status=$?
    cp "$TMP/good" "$unit"
    return "$status"
}

check "the programs, the unit, its user, its directories, the examples and the documents are installed" \
    installed sbin/failoverd sbin/failover-guard bin/failoverctl system/failoverd.service system/failover-guard.service sysusers.d/failover.conf \
    tmpfiles.d/failover.conf examples/cluster.yaml examples/local.yaml README.md LICENSE operations.md guards.md
complete_tree
check "the unit starts the program that was installed" names_what_is_installed "$unit"
check "and so does the guard's" names_what_is_installed "$guard_unit"
check "systemd finds no fault in the unit" verify failoverd
check "nor in the guard's" verify failover-guard
check "systemd finds a fault that was made in it" wrong_key_is_found
check "its exposure is at most 2.0 of 10" score
printf '    %s\n' "$(tail -n 1 "$TMP/score")"
check "the installed example is good" "$BUILD/failoverctl" check "$(find "$TMP/tree" -name cluster.yaml)"
check "its user and directories can be made" systemd-sysusers --dry-run "$(find "$TMP/tree" -path '*sysusers.d/failover.conf')"
finish
