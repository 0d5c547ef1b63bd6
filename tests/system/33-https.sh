#!/bin/bash
# The API over HTTPS: an operator on another host reads, pauses and fails over with a certificate; certificates are
# renewed by SIGHUP; and whoever floods the port takes nothing from the unix socket, nor from other hosts.
# shellcheck disable=SC2317
. "$(dirname "$0")/world.bash"
PORT=8443
declare -A URL

# --- certificates ----------------------------------------------------------------------------------------------

make_ca() { # NAME
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=$1" \
        -keyout "$TLS/$1.key" -out "$TLS/$1.pem" 2>>"$TLS/openssl.log"
}

make_certificate() { # FILE CA NAME DAYS [ADDRESS]: for a client, or for the server at that address
    local file=$TLS/$1 ca=$TLS/$2 use=clientAuth
    [[ -z ${5:-} ]] || use=$'serverAuth\nsubjectAltName=IP:'$5
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/O=Shop/CN=$3" \
        -keyout "$file.key" -out "$file.csr" 2>>"$TLS/openssl.log" &&
        openssl x509 -req -in "$file.csr" -CA "$ca.pem" -CAkey "$ca.key" -CAcreateserial -days "$4" \
            -extfile <(echo "extendedKeyUsage=$use") -out "$file.pem" 2>>"$TLS/openssl.log"
}

make_certificates() {
    mkdir "$TLS" && make_ca ca && make_ca next && make_certificate ops1 ca ops1 90 "${HOST_ADDRESS[ops1]}" &&
        make_certificate ops2 ca ops2 90 "${HOST_ADDRESS[ops2]}" && make_certificate ann ca ann 90 &&
        make_certificate grafana ca grafana 90 && make_certificate eve ca eve 90 && make_certificate late next ann 90 &&
        cp "$TLS/ca.pem" "$TLS/clients.pem"
}

# --- the controllers -------------------------------------------------------------------------------------------

switch_on() { # HOST
    cat >>"$WORLD/$1/local.yaml" <<-END
	api:
	  listen: ${HOST_ADDRESS[$1]}:$PORT
	  cert: $TLS/$1.pem
	  key: $TLS/$1.key
	  client_ca: $TLS/clients.pem
	  allow: { ann: operate, grafana: read }
	END
}

switch_off() { # HOST
    sed -i '/^api:/,$d' "$WORLD/$1/local.yaml"
}

reload() {
    local host
    for host in ops1 ops2; do
        kill -HUP "$(host_pid "$host" failoverd)" || return 1
    done
}

publishes() { # HOST ADDRESS
    etcd_value "controllers/$1" | jq -e --arg a "$2" '.api == $a'
}

logs() { # HOST WORDS
    grep -qE -- "$2" "$WORLD/$1/failoverd.log"
}

served_serial() { # HOST
    host_exec client openssl s_client -connect "${HOST_ADDRESS[$1]}:$PORT" -cert "$TLS/ann.pem" -key "$TLS/ann.key" \
        </dev/null 2>/dev/null | openssl x509 -noout -serial
}

serves_another() { # HOST SERIAL
    local serial
    serial=$(served_serial "$1") && [[ -n $serial && $serial != "$2" ]]
}

pids() {
    cat "$WORLD"/ops?/failoverd.pid
}

# --- operators on other hosts ------------------------------------------------------------------------------------

as() { # NAME HOST ARGUMENTS...: failoverctl there, with that certificate, by HTTPS alone
    host_exec "$2" "$BUILD/failoverctl" --url "${URL[ops1]}" --url "${URL[ops2]}" --ca "$TLS/both.pem" \
        --cert "$TLS/$1.pem" --key "$TLS/$1.key" "${@:3}"
}

exits() { # STATUS WORDS COMMAND...
    local wanted=$1 words=$2 said status
    shift 2
    said=$("$@" 2>&1 </dev/null)
    status=$?
    printf '%s\n' "$said" "status $status"
    ((status == wanted)) && grep -qE -- "$words" <<<"$said"
}

paused_by() {
    status_shows ".groups[0].paused.by == \"$1\""
}

is_resumed() {
    status_shows '.groups[0].paused == null'
}

no_answer_to() { # curl ARGUMENTS...: not by any HTTP status
    ! host_exec client curl -sS -m 5 -o /dev/null "$@"
}

# Asks without an end; each answer that does not come is counted.
ask_on() {
    while [[ -d $WORLD && ! -e $WORLD/enough ]]; do
        as ann client status >/dev/null 2>>"$WORLD/ask.log" || echo "failed" >>"$WORLD/ask.failed"
        echo >>"$WORLD/ask.asked"
        sleep 0.1 # an operator's pace, below the limit for one address
    done
}

asked_more() { # COUNT
    (($(wc -l <"$WORLD/ask.asked") > $1))
}

# As many connections as it gets, held without a word, and again.
FLOOD='while :; do (for i in {1..150}; do exec {fd}<>"/dev/tcp/$1/$2"; done; sleep 1); done'

end_flood() { # each is a process group of its own
    kill -KILL -- "-$(host_pid client flood-ops1)" "-$(host_pid client flood-ops2)"
}

unix_socket_answers() {
    local host
    for host in ops1 ops2; do
        status_of "$host" '.schema == 1' || return 1
    done
}

leads_still() {
    [[ $(leader_of) == "$LEADER" ]]
}

world_begin
TLS=$WORLD/tls
for host in ops1 ops2; do
    URL[$host]=https://${HOST_ADDRESS[$host]}:$PORT
done
check "certificates are made by openssl" make_certificates
cat "$TLS/ca.pem" "$TLS/next.pem" >"$TLS/both.pem"
LEADER=$(leader_of) pids=$(pids)

# --- off, and on ---------------------------------------------------------------------------------------------------

check "without api in local.yaml nobody listens: status 4" exits 4 'nobody listens there' as ann client status
check "the record names the socket" publishes ops1 "$WORLD/ops1/failoverd.sock"
for host in ops1 ops2; do
    switch_on "$host"
done
check "both are told by SIGHUP" reload
check_soon "ops1 serves HTTPS" 10 logs ops1 'the API is served over HTTPS'
check_soon "ops2 serves HTTPS" 10 logs ops2 'the API is served over HTTPS'
check_soon "the record names the URL" 10 publishes ops1 "${URL[ops1]}"

# --- who may what --------------------------------------------------------------------------------------------------

check "an operator on another host sees the status" exits 0 'payments' as ann client status
check "and whose word it is" exits 0 "as $LEADER sees it" as ann client status
check "without a certificate there is no answer" no_answer_to --cacert "$TLS/ca.pem" "${URL[ops1]}/v1/status"
check "with one of another CA there is none" no_answer_to --cacert "$TLS/ca.pem" --cert "$TLS/late.pem" --key "$TLS/late.key" \
    "${URL[ops1]}/v1/status"
check_soon "and the log says why" 5 logs ops1 'the API has refused somebody.*NOT trusted'
check "plain HTTP has no answer" no_answer_to "http://${HOST_ADDRESS[ops1]}:$PORT/v1/status"
check "a good certificate whose name is not allowed is refused" exits 1 'eve.*is not in this controller.s api.allow' \
    as eve client status
check "who may read does" exits 0 'payments' as grafana client status
check "but orders nothing: status 1" exits 1 'not for the role' as grafana client pause shop --reason 'try'
check "nothing was changed by it" is_resumed
check "an operator pauses" exits 0 'paused' as ann client pause shop --reason 'from afar'
check_soon "the pause has the certificate's name" 10 paused_by cert:ann
check "and resumes" exits 0 'resumed' as ann client resume shop --reason 'done'
check_soon "the group is resumed" 10 is_resumed

# --- certificates are renewed -----------------------------------------------------------------------------------------

ask_on &
asking=$!
check_soon "an operator asks again and again" 20 asked_more 5
serial=$(served_serial ops1)
cat "$TLS/ca.pem" "$TLS/next.pem" >"$TLS/clients.pem" # both CAs, for a while
check "new certificates are made, of the next CA" eval "make_certificate ops1 next ops1 90 ${HOST_ADDRESS[ops1]} &&
    make_certificate ops2 next ops2 90 ${HOST_ADDRESS[ops2]}"
check "and read by SIGHUP" reload
check_soon "ops1 serves the new one" 10 serves_another ops1 "$serial"
check "the next CA's clients are let in" exits 0 'payments' as late client status
check_soon "it was asked all the time" 20 asked_more $(($(wc -l <"$WORLD/ask.asked") + 5))
touch "$WORLD/enough"
wait "$asking"
check "and answered each time" test ! -e "$WORLD/ask.failed"
cp "$TLS/next.pem" "$TLS/clients.pem"
check "then the old CA is taken out" reload
check_soon "its clients are not let in any more" 10 exits 4 'not taken' as ann client status
check "the others are" exits 0 'payments' as late client status
echo nonsense >"$TLS/ops1.key"
check "a key is damaged" reload
check_soon "it is not taken" 10 logs ops1 "the API's certificates cannot be taken; the old ones go on"
check "the old one goes on" exits 0 'payments' as late client status
check "and the status says so" status_of ops1 '.controller.warnings | any(test("cannot be taken"))'
check "a certificate with five days left is put there" make_certificate ops1 next ops1 5 "${HOST_ADDRESS[ops1]}"
check "it is read by SIGHUP" reload
check_soon "its end is near, the status says" 10 status_of ops1 '.controller.warnings | any(test("the API.s certificate.* ends at"))'
check "and the log" logs ops1 "warn.*the API's certificate.* ends at"
check "all of it without a restart" test "$(pids)" = "$pids"

# --- a flood ----------------------------------------------------------------------------------------------------------

for host in ops1 ops2; do
    world_spawn client "flood-$host" bash -c "$FLOOD" _ "${HOST_ADDRESS[$host]}" "$PORT"
done
check_soon "a flood of connections is refused" 20 logs ops1 'refused somebody.*(handshake|under way)'
check_for "both unix sockets answer all the time" 6 unix_socket_answers
check "another host's operator gets in" exits 0 'payments' as late pay-west status
check "who leads has not changed" leads_still
check_soon "all is healthy" 10 is_healthy

# --- a failover, in the flood ------------------------------------------------------------------------------------------

check "an operator on another host moves payments" exits 0 'done' as late pay-west failover --database payments --yes \
    --reason 'the disk of pay-east is dying'
check_soon "payments are on pay-west" 30 has_moved payments pay-west
check "the incident has the certificate's name" exits 0 'by cert:ann' as late pay-west incident show
check "the flood ends" end_flood

# --- and off ------------------------------------------------------------------------------------------------------------

for host in ops1 ops2; do
    switch_off "$host"
done
check "both are told by SIGHUP" reload
check_soon "nobody listens there any more" 10 exits 4 'nobody listens there' as late client status
check_soon "the record names the socket again" 10 publishes ops1 "$WORLD/ops1/failoverd.sock"
check_soon "the load goes on" 15 load_runs
stop_load_and_audit
world_finish
finish
