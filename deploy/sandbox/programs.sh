# shellcheck shell=bash
# programs.sh - what the sandbox needs on this machine, installed and built. Source it after lib.sh.
#
#     install_missing          the Debian packages that are not there
#     build_programs [DIR]     sets BUILD: DIR, or this tree's preset "release", built
#
# `say` tells how far it is; define it first.

# A program or header, and the Debian package that brings it.
NEEDED='
gcc gcc
/usr/include/stdio.h libc6-dev
cmake cmake
ninja ninja-build
pkg-config pkg-config
/usr/include/curl/curl.h|/usr/include/x86_64-linux-gnu/curl/curl.h|/usr/include/aarch64-linux-gnu/curl/curl.h libcurl4-openssl-dev
/usr/include/uv.h libuv1-dev
/usr/include/postgresql/libpq-fe.h libpq-dev
/usr/include/jansson.h libjansson-dev
/usr/include/systemd/sd-daemon.h libsystemd-dev
/usr/include/microhttpd.h libmicrohttpd-dev
/usr/include/yaml.h libyaml-dev
/usr/include/libsmartcols/libsmartcols.h libsmartcols-dev
/usr/include/cmocka.h libcmocka-dev
etcd etcd-server
etcdctl etcd-client
haproxy haproxy
/usr/lib/postgresql/15/bin/postgres postgresql-15
psql postgresql-client-15
ipmi_sim openipmi
ipmitool ipmitool
fence_ipmilan fence-agents
nft nftables
ip iproute2
ps procps
curl curl
jq jq
openssl openssl
'

is_there() {
    local one
    IFS='|' read -ra any <<<"$1"
    for one in "${any[@]}"; do
        if [[ $one == /* ]]; then
            [[ -e $one ]] && return
        else
            command -v "$one" >/dev/null && return
        fi
    done
    return 1
}

install_missing() {
    local what package missing=()
    while read -r what package; do
        [[ -z $what ]] || is_there "$what" || missing+=("$package")
    done <<<"$NEEDED"
    ((${#missing[@]})) || return 0
    say "installing what is missing: ${missing[*]}"
    # No server shall be started by its package, now or at the next boot: the sandbox starts its own.
    local policy=/usr/sbin/policy-rc.d clusters=/etc/postgresql-common/createcluster.d status=0
    local ours=$clusters/failover-sandbox.conf
    [[ -e $policy ]] && policy=''
    [[ -z $policy ]] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"; }
    mkdir -p "$clusters" && echo 'create_main_cluster = false' >"$ours"
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y \
        --no-install-recommends "${missing[@]}"; } </dev/null >/dev/null || status=1
    rm -f "$ours" ${policy:+"$policy"}
    ((status == 0)) || die "these packages could not be installed: ${missing[*]}"
}

build_programs() {
    local source log
    [[ -z ${1:-} ]] || {
        BUILD=$(cd "$1" && pwd) || die "--build-dir $1: no such directory"
        return
    }
    source=$(cd "$SANDBOX_HOME/../.." && pwd)
    BUILD=$source/build/release
    say "building"
    log=$(mktemp) || exit 1
    (cd "$source" && cmake --preset release &&
        cmake --build "$BUILD" --target failoverd failoverctl failover-guard shop sandbox-watchdog) >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        rm -f "$log"
        die "the programs do not build"
    }
    rm -f "$log"
}
