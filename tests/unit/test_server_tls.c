/* The HTTPS server: who gets in, who does not, and what those who do not can do to the others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/gate.h"
#include "controller/base/http.h"
#include "controller/base/server.h"
#include "tests/unit/tls_fixture.h"

#define WITHIN_MS  UINT64_C(20000)
#define BODY_LIMIT 1000

static struct loop *loop;
static struct http *http;
static struct server *server;
static struct server *unix_server;
static char unix_path[64];
static char url[64];
static int port;

static int calls;
static struct server_peer last_peer;
static int refusals;
static char last_refusal[256];

static void handle(void *arg, struct server_call *call, const char *method, const char *path,
                   const char *body, size_t body_len)
{
    (void)arg, (void)method, (void)path, (void)body, (void)body_len;
    calls++;
    last_peer = server_peer(call);
    server_reply(call, 200, "text/plain", "well", 4);
}

static void refused(void *arg, const char *from, const char *why)
{
    (void)arg;
    refusals++;
    snprintf(last_refusal, sizeof last_refusal, "%s: %s", from, why);
}

static void serve(struct server_options with)
{
    char listen[32];
    struct err err = {0};
    struct tls_keys *ours = tls_keys_of("server", "ca.pem");
    port = tls_free_port();
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/page", port);
    with.listen = listen;
    with.keys = ours;
    with.body_limit = BODY_LIMIT;
    with.connections_max = 32;
    with.handler = handle;
    with.refused = refused;
    server = server_new(loop, &with, &err);
    tls_keys_free(ours);
    if (server == NULL) {
        fail_msg("%s", err.text);
    }
}

static int make_certificates(void **state)
{
    (void)state;
    tls_begin();
    tls_make_ca("ca");
    tls_make_ca("other");
    tls_make("server", "ca", "/O=Shop/CN=ops1", "serverAuth", 90);
    tls_make("server2", "ca", "/O=Shop/CN=ops1", "serverAuth", 90);
    tls_make("ann", "ca", "/O=Shop/CN=ann", "clientAuth", 90);
    tls_make("bob", "other", "/O=Shop/CN=bob", "clientAuth", 90);
    tls_make("expired", "ca", "/O=Shop/CN=ann", "clientAuth", -1);
    tls_make("machine", "ca", "/O=Shop/CN=machine", "serverAuth", 90);
    tls_make("nobody", "ca", "/O=Shop", "clientAuth", 90);
    tls_make("both", "ca", "/CN=ann/CN=bob", "clientAuth", 90);
    tls_make("blank", "ca", "/CN=ann bob", "clientAuth", 90);
    tls_make("forged", "other", "/O=Shop/CN=ann", "clientAuth", 90);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    tls_end();
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    calls = refusals = 0;
    last_refusal[0] = '\0';
    memset(&last_peer, 0, sizeof last_peer);
    loop = loop_new();
    http = http_new(loop);
    server = unix_server = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_free(http);
    server_free(server);
    server_free(unix_server);
    loop_free(loop);
    return 0;
}

/* ---- callers ---- */

struct outcome {
    bool done;
    enum err_code code;
    int status;
    char text[512];
};

static void keep(void *arg, const struct http_answer *answer)
{
    struct outcome *outcome = arg;
    outcome->done = true;
    outcome->code = answer->err.code;
    outcome->status = answer->status;
    snprintf(outcome->text, sizeof outcome->text, "%s", answer->err.text);
}

static void start(struct outcome *outcome, const char *name, bool fresh)
{
    char cert[40];
    char key[40];
    snprintf(cert, sizeof cert, "%s.pem", name != NULL ? name : "");
    snprintf(key, sizeof key, "%s.key", name != NULL ? name : "");
    struct http_tls tls = {.ca_file = tls_path("ca.pem"),
                           .cert_file = name != NULL ? tls_path(cert) : NULL,
                           .key_file = name != NULL ? tls_path(key) : NULL};
    struct http_request request = {.url = url,
                                   .tls = &tls,
                                   .fresh = fresh,
                                   .deadline_ms = WITHIN_MS,
                                   .done = keep,
                                   .arg = outcome};
    http_start(http, &request);
}

static struct outcome ask(const char *name)
{
    struct outcome outcome = {0};
    start(&outcome, name, true);
    assert_true(loop_run_until(loop, &outcome.done, 2 * WITHIN_MS));
    return outcome;
}

static int connect_from(uint32_t source)
{
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(source)};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    assert_true(connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ||
                errno == EINPROGRESS);
    return fd;
}

static int connect_plain(void)
{
    return connect_from(INADDR_LOOPBACK);
}

static void run_a_moment(void)
{
    bool never = false;
    loop_run_until(loop, &never, 2);
}

/* Until the server has closed: then nothing of an answer may have come but TLS's own words. */
static bool is_closed(int fd)
{
    char rest[4096];
    ssize_t got = recv(fd, rest, sizeof rest, MSG_DONTWAIT);
    if (got > 0) {
        assert_null(memmem(rest, (size_t)got, "HTTP/1.1 200", 12));
    }
    return got == 0 || (got < 0 && errno != EAGAIN);
}

static void wait_until_closed(int fd)
{
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    while (!is_closed(fd)) {
        assert_true(clock_now_ms() < until_ms);
        run_a_moment();
    }
}

/* A client that has shaken hands with ann's certificate, and then does as it likes. */
struct secure {
    int fd;
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
};

static struct secure secure_new(const char *priorities)
{
    struct secure secure = {.fd = connect_plain()};
    gnutls_certificate_allocate_credentials(&secure.credentials);
    assert_int_equal(gnutls_certificate_set_x509_key_file(secure.credentials, tls_path("ann.pem"),
                                                          tls_path("ann.key"), GNUTLS_X509_FMT_PEM),
                     0);
    gnutls_init(&secure.session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
    assert_int_equal(gnutls_priority_set_direct(secure.session, priorities, NULL), 0);
    gnutls_credentials_set(secure.session, GNUTLS_CRD_CERTIFICATE, secure.credentials);
    gnutls_transport_set_int(secure.session, secure.fd);
    return secure;
}

static int secure_handshake(struct secure *secure)
{
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    int rc;
    while ((rc = gnutls_handshake(secure->session)) < 0 && gnutls_error_is_fatal(rc) == 0) {
        assert_true(clock_now_ms() < until_ms);
        run_a_moment();
    }
    return rc;
}

static void secure_free(struct secure *secure)
{
    gnutls_deinit(secure->session);
    gnutls_certificate_free_credentials(secure->credentials);
    close(secure->fd);
}

/* How many bytes went before the server closed; at most `limit`. */
static size_t secure_pour(struct secure *secure, const char *text, size_t limit)
{
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    size_t sent = 0;
    while (sent < limit) {
        assert_true(clock_now_ms() < until_ms);
        ssize_t rc = gnutls_record_send(secure->session, text, strlen(text));
        if (rc > 0) {
            sent += (size_t)rc;
            continue;
        }
        if (gnutls_error_is_fatal((int)rc) != 0) {
            break;
        }
        run_a_moment();
    }
    return sent;
}

/* What comes, until the text is in it or the server has closed. */
static bool secure_hears(struct secure *secure, const char *text)
{
    static char heard[65536];
    size_t len = 0;
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    heard[0] = '\0';
    while (strstr(heard, text) == NULL && len < sizeof heard - 1) {
        assert_true(clock_now_ms() < until_ms);
        ssize_t rc = gnutls_record_recv(secure->session, heard + len, sizeof heard - 1 - len);
        if (rc > 0) {
            len += (size_t)rc;
            heard[len] = '\0';
        } else if (rc == 0 || gnutls_error_is_fatal((int)rc) != 0) {
            break;
        }
        run_a_moment();
    }
    return strstr(heard, text) != NULL;
}

/* ---- who gets in ---- */

static void a_client_is_known_by_the_name_of_its_certificate(void **state)
{
    (void)state;
    serve((struct server_options){0});
    struct outcome outcome = ask("ann");
    assert_int_equal(outcome.status, 200);
    assert_true(last_peer.known);
    assert_string_equal(last_peer.name, "ann");
    assert_int_equal(last_peer.uid, (uid_t)-1);
    assert_int_equal(refusals, 0);
}

static void without_a_good_certificate_no_request_reaches_the_handler(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *why;
    } bad[] = {
        {NULL, "no TLS handshake with a client's certificate"},
        {"bob", "NOT trusted"},
        {"forged", "NOT trusted"},
        {"expired", "expired"},
        {"machine", "purpose"},
        {"nobody", "not one common name"},
        {"both", "not one common name"},
        {"blank", "not one common name"},
    };
    serve((struct server_options){0});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct outcome outcome = ask(bad[i].name);
        assert_int_equal(outcome.status, 0);
        assert_int_equal(outcome.code, ERR_UNREACHABLE);
        uint64_t until_ms = clock_now_ms() + WITHIN_MS;
        while (refusals < (int)i + 1 && clock_now_ms() < until_ms) {
            run_a_moment();
        }
        if (strstr(last_refusal, bad[i].why) == NULL ||
            strncmp(last_refusal, "127.0.0.1: ", 11) != 0) {
            fail_msg("\"%s\" is not in: %s", bad[i].why, last_refusal);
        }
    }
    assert_int_equal(calls, 0);
    assert_int_equal(ask("ann").status, 200);
}

static void plain_http_and_old_tls_are_refused(void **state)
{
    (void)state;
    serve((struct server_options){0});
    static const char *const words[] = {
        "GET /page HTTP/1.1\r\nHost: a\r\n\r\n",
        "\x16\x03\x01\xff\xff\x01garbage garbage garbage garbage",
        "\x80\x2e\x01\x03\x01",
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        int fd = connect_plain();
        run_a_moment();
        (void)!send(fd, words[i], strlen(words[i]), MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        wait_until_closed(fd);
        close(fd);
    }
    struct secure old = secure_new("NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT");
    assert_true(secure_handshake(&old) < 0);
    secure_free(&old);
    struct secure good = secure_new("NORMAL:-VERS-ALL:+VERS-TLS1.2");
    assert_int_equal(secure_handshake(&good), 0);
    assert_true(secure_pour(&good, "GET /page HTTP/1.1\r\nHost: a\r\n\r\n", 1) > 0);
    assert_true(secure_hears(&good, "well"));
    secure_free(&good);
    assert_int_equal(calls, 1);
}

/* ---- what those inside, and those at the door, can do to the others ---- */

static void a_slow_handshake_is_ended_while_others_are_served(void **state)
{
    (void)state;
    serve((struct server_options){.handshake_ms = 300});
    int silent = connect_plain();
    int dripping = connect_plain();
    bool silent_ended = false;
    bool dripping_ended = false;
    int served = 0;
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    /* A record that is announced and never whole. */
    run_a_moment();
    (void)!send(dripping, "\x16\x03\x01\x40\x00", 5, MSG_NOSIGNAL);
    while (!(silent_ended && dripping_ended)) {
        assert_true(clock_now_ms() < until_ms);
        (void)!send(dripping, "x", 1, MSG_NOSIGNAL);
        silent_ended = silent_ended || is_closed(silent);
        dripping_ended = dripping_ended || is_closed(dripping);
        served += served < 5 && ask("ann").status == 200 ? 1 : 0;
        run_a_moment();
    }
    assert_true(served > 0);
    close(silent);
    close(dripping);
}

static void handshakes_in_great_number_leave_places_to_clients_and_to_the_unix_socket(void **state)
{
    (void)state;
    enum { CROWD = 200 };
    int crowd[CROWD];
    struct err err = {0};
    snprintf(unix_path, sizeof unix_path, "%s/socket", tls_dir);
    unix_server = server_new(loop,
                             &(struct server_options){.unix_path = unix_path,
                                                      .body_limit = BODY_LIMIT,
                                                      .connections_max = 4,
                                                      .handler = handle},
                             &err);
    assert_non_null(unix_server);
    serve((struct server_options){.handshake_ms = 60000});
    struct secure kept = secure_new("NORMAL");
    assert_int_equal(secure_handshake(&kept), 0);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = connect_plain();
        run_a_moment();
    }
    /* From one address only so many are let in, and they wait; the rest is closed. */
    int open = 0;
    for (int i = 0; i < CROWD; i++) {
        open += is_closed(crowd[i]) ? 0 : 1;
    }
    assert_true(open < SERVER_ADDRESS_MAX);
    assert_true(secure_pour(&kept, "GET /page HTTP/1.1\r\nHost: a\r\n\r\n", 1) > 0);
    assert_true(secure_hears(&kept, "well")); /* who is inside stays inside */
    for (int i = 0; i < 10; i++) {
        struct outcome outcome = {0};
        struct http_request request = {.url = "http://local/page",
                                       .unix_socket = unix_path,
                                       .deadline_ms = WITHIN_MS,
                                       .done = keep,
                                       .arg = &outcome};
        http_start(http, &request);
        assert_true(loop_run_until(loop, &outcome.done, WITHIN_MS));
        assert_int_equal(outcome.status, 200);
    }
    for (int i = 0; i < CROWD; i++) {
        close(crowd[i]);
    }
    secure_free(&kept);
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    while (ask("ann").status != 200) { /* once the address's allowance has grown again */
        assert_true(clock_now_ms() < until_ms);
        run_a_moment();
    }
}

static void of_many_at_the_door_the_oldest_makes_place_for_a_new_one(void **state)
{
    (void)state;
    enum { ADDRESSES = 6, EACH = 7 };
    int crowd[ADDRESSES * EACH];
    int len = 0;
    serve((struct server_options){.handshake_ms = 60000});
    for (uint32_t address = 0; address < ADDRESSES; address++) {
        for (int i = 0; i < EACH; i++) {
            crowd[len] = connect_from(INADDR_LOOPBACK + 1 + address);
            len++;
            run_a_moment();
        }
    }
    assert_int_equal(ask("ann").status, 200);
    int open = 0;
    for (int i = 0; i < len; i++) {
        open += is_closed(crowd[i]) ? 0 : 1;
    }
    assert_in_range(open, SERVER_UNPROVEN_MAX - 1, SERVER_UNPROVEN_MAX);
    assert_true(is_closed(crowd[0]));
    assert_false(is_closed(crowd[len - 1]));
    assert_string_equal(last_refusal, "127.0.0.5: too many handshakes are under way");
    for (int i = 0; i < len; i++) {
        close(crowd[i]);
    }
}

static void a_head_of_a_gigabyte_and_pipelined_garbage_end_the_connection(void **state)
{
    (void)state;
    serve((struct server_options){.request_ms = 2000});
    struct secure big = secure_new("NORMAL");
    assert_int_equal(secure_handshake(&big), 0);
    char line[1024];
    snprintf(line, sizeof line, "X: %01000d\r\n", 0);
    secure_pour(&big, "GET /page HTTP/1.1\r\n", 1);
    assert_true(secure_pour(&big, line, (size_t)1 << 30) < (size_t)64 << 20);
    secure_free(&big);
    assert_int_equal(calls, 0);
    struct secure garbage = secure_new("NORMAL");
    assert_int_equal(secure_handshake(&garbage), 0);
    secure_pour(&garbage,
                "GET /page HTTP/1.1\r\nHost: a\r\n\r\n\x01\x02\x03\r\n\r\nGET\r\n\r\n"
                "POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                1);
    assert_true(secure_hears(&garbage, "well")); /* the first one was a request */
    assert_false(secure_hears(&garbage, "no such text"));
    wait_until_closed(garbage.fd);
    assert_int_equal(calls, 1);
    secure_free(&garbage);
    assert_int_equal(ask("ann").status, 200);
}

static void without_a_descriptor_left_it_waits_and_then_goes_on(void **state)
{
    (void)state;
    struct rlimit before, none;
    serve((struct server_options){0});
    assert_int_equal(ask("ann").status, 200);
    int fd = connect_plain();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = (rlim_t)fd, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 20; i++) {
        run_a_moment();
    }
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(fd);
    assert_int_equal(ask("ann").status, 200);
}

/* ---- other keys ---- */

static void renewed_keys_count_at_once_and_no_request_is_dropped(void **state)
{
    (void)state;
    serve((struct server_options){0});
    struct secure half = secure_new("NORMAL");
    assert_int_equal(secure_handshake(&half), 0);
    secure_pour(&half, "GET /page HTTP/1.1\r\nHost: a\r\n", 1); /* begun under the old keys */
    run_a_moment();
    struct tls_keys *renewed = tls_keys_of("server2", "other.pem");
    server_renew(server, renewed);
    tls_keys_free(renewed);
    assert_int_equal(ask("ann").status, 0);
    assert_int_equal(ask("bob").status, 200);
    assert_string_equal(last_peer.name, "bob");
    secure_pour(&half, "\r\n", 1);
    assert_true(secure_hears(&half, "Connection: close"));
    assert_string_equal(last_peer.name, "ann");
    wait_until_closed(half.fd);
    secure_free(&half);
    char *old = tls_text("server.pem");
    char *key = tls_text("server2.key");
    char *ca = tls_text("ca.pem");
    struct err err = {0};
    assert_null(tls_keys_new(old, key, ca, &err)); /* of two pairs */
    assert_non_null(strstr(err.text, "the certificate and its key do not go together"));
    assert_null(tls_keys_new(old, key, "nothing", &err));
    assert_non_null(strstr(err.text, "the clients' CA"));
    free(old);
    free(key);
    free(ca);
}

static void the_end_of_a_certificate_is_read(void **state)
{
    (void)state;
    int64_t ends = 0;
    struct err err = {0};
    char *text = tls_text("ann.pem");
    assert_int_equal(tls_ends(text, &ends, &err), 0);
    int64_t days = (ends - clock_wall_ms()) / 86400000;
    assert_in_range(days, 88, 90);
    free(text);
    text = tls_text("expired.pem");
    assert_int_equal(tls_ends(text, &ends, &err), 0);
    assert_true(ends < clock_wall_ms());
    free(text);
    assert_int_equal(tls_ends("-----BEGIN CERTIFICATE-----\n", &ends, &err), -1);
    assert_int_equal(tls_ends("", &ends, &err), -1);
}

/* ---- the gate ---- */

static struct sockaddr_in v4(uint32_t host)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
}

static bool may(struct gate *gate, uint32_t host, uint64_t now_ms)
{
    struct sockaddr_in from = v4(host);
    return gate_wait_ms(gate, now_ms) == 0 && gate_ask(gate, (struct sockaddr *)&from, now_ms);
}

static int enter(struct gate *gate, uint32_t host, uint64_t now_ms)
{
    struct sockaddr_in from = v4(host);
    return gate_enter(gate, (struct sockaddr *)&from, now_ms);
}

static void the_gate_bounds_places_and_pace_over_all_and_for_each_address(void **state)
{
    (void)state;
    static struct gate gate;
    const struct gate_limits limits = {
        .open_max = 6, .address_max = 3, .per_second = 10, .address_per_second = 5};
    gate_init(&gate, &limits, 1000);
    int first[3];
    for (int i = 0; i < 3; i++) {
        assert_true(may(&gate, 1, 1000));
        first[i] = enter(&gate, 1, 1000);
    }
    assert_false(may(&gate, 1, 1000)); /* its three places are taken */
    assert_true(may(&gate, 2, 1000));
    gate_leave(&gate, first[0]);
    assert_true(may(&gate, 1, 1000)); /* its fourth in this second */
    assert_true(may(&gate, 1, 1000));
    assert_false(may(&gate, 1, 1000)); /* five a second */
    for (uint32_t host = 10; may(&gate, host, 1000); host++) {
        assert_true(host < 20);
    }
    assert_in_range(gate_wait_ms(&gate, 1000), 1, 101); /* ten a second, over all */
    assert_true(may(&gate, 9, 1101));
    assert_false(may(&gate, 9, 1101));
    assert_true(may(&gate, 9, 900000));
    for (uint32_t host = 30; host < 34; host++) {
        assert_true(may(&gate, host, 900000 + 1000 * host));
        enter(&gate, host, 900000 + 1000 * host);
    }
    assert_false(may(&gate, 40, 2000000)); /* all six places are taken */
}

static void the_gate_counts_ipv6_by_its_network_and_forgets_who_is_quiet(void **state)
{
    (void)state;
    static struct gate gate;
    const struct gate_limits limits = {
        .open_max = 100, .address_max = 2, .per_second = 1000, .address_per_second = 1000};
    gate_init(&gate, &limits, 1000);
    struct sockaddr_in6 a = {.sin6_family = AF_INET6};
    a.sin6_addr.s6_addr[0] = 0x20;
    struct sockaddr_in6 b = a, c = a;
    b.sin6_addr.s6_addr[15] = 9; /* the same network's */
    c.sin6_addr.s6_addr[7] = 9;  /* another one's */
    gate_enter(&gate, (struct sockaddr *)&a, 1000);
    gate_enter(&gate, (struct sockaddr *)&b, 1000);
    assert_false(gate_ask(&gate, (struct sockaddr *)&b, 1000));
    assert_true(gate_ask(&gate, (struct sockaddr *)&c, 1000));
    for (uint32_t host = 0; host < 100000; host++) { /* far more than are remembered */
        (void)may(&gate, host, 2000 + host);
    }
    assert_false(gate_ask(&gate, (struct sockaddr *)&a, 200000)); /* who is in is not forgotten */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_client_is_known_by_the_name_of_its_certificate),
        TEST(without_a_good_certificate_no_request_reaches_the_handler),
        TEST(plain_http_and_old_tls_are_refused),
        TEST(a_slow_handshake_is_ended_while_others_are_served),
        TEST(handshakes_in_great_number_leave_places_to_clients_and_to_the_unix_socket),
        TEST(of_many_at_the_door_the_oldest_makes_place_for_a_new_one),
        TEST(a_head_of_a_gigabyte_and_pipelined_garbage_end_the_connection),
        TEST(without_a_descriptor_left_it_waits_and_then_goes_on),
        TEST(renewed_keys_count_at_once_and_no_request_is_dropped),
        TEST(the_end_of_a_certificate_is_read),
        cmocka_unit_test(the_gate_bounds_places_and_pace_over_all_and_for_each_address),
        cmocka_unit_test(the_gate_counts_ipv6_by_its_network_and_forgets_who_is_quiet),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
