/* The HTTP client against a raw server on the same loop that can misbehave byte by byte. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <curl/curl.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"
#include "controller/base/http.h"

#define WITHIN_MS UINT64_C(20000)

/* ---- the server ---- */

struct peer {
    int fd;
    struct fd_watch *watch;
    struct timer *timer;
    char request[8192]; /* the last one's head and what followed */
    size_t request_len;
    int requests;
    LIST_ENTRY(peer) link;
};

static struct loop *loop;
static struct http *http;
static int listener = -1;
static struct fd_watch *listener_watch;
static char url[64];
static int accepted;
static LIST_HEAD(, peer) peers;
static void (*serve)(struct peer *peer); /* called once a whole request is there */

static void peer_free(struct peer *peer)
{
    LIST_REMOVE(peer, link);
    timer_free(peer->timer);
    fd_watch_free(peer->watch);
    close(peer->fd);
    free(peer);
}

static void say(struct peer *peer, const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(peer->fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

static bool whole(const struct peer *peer)
{
    const char *end = strstr(peer->request, "\r\n\r\n");
    if (end == NULL) {
        return false;
    }
    const char *length = strcasestr(peer->request, "Content-Length: ");
    size_t body = length != NULL ? (size_t)atol(length + 16) : 0;
    return strlen(end + 4) >= body;
}

static void on_request(void *arg, int ready)
{
    (void)ready;
    struct peer *peer = arg;
    ssize_t n = recv(peer->fd, peer->request + peer->request_len,
                     sizeof peer->request - 1 - peer->request_len, 0);
    if (n <= 0) {
        peer_free(peer);
        return;
    }
    peer->request_len += (size_t)n;
    peer->request[peer->request_len] = '\0';
    if (whole(peer)) {
        peer->requests++;
        peer->request_len = 0; /* the next one overwrites it */
        serve(peer);
    }
}

static void drip(void *arg)
{
    struct peer *peer = arg;
    if (send(peer->fd, "1\r\nx\r\n", 6, MSG_NOSIGNAL) == 6) {
        timer_start(peer->timer, 10);
    }
}

static void on_connection(void *arg, int ready)
{
    (void)arg;
    (void)ready;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    accepted++;
    struct peer *peer = calloc(1, sizeof *peer);
    peer->fd = fd;
    peer->watch = fd_watch_new(loop, fd, on_request, peer);
    peer->timer = timer_new(loop, drip, peer);
    fd_watch_want(peer->watch, FD_READABLE);
    LIST_INSERT_HEAD(&peers, peer, link);
}

static void listen_on(int fd, const struct sockaddr *address, socklen_t len)
{
    assert_int_equal(bind(fd, address, len), 0);
    assert_int_equal(listen(fd, 100), 0);
    listener = fd;
    listener_watch = fd_watch_new(loop, fd, on_connection, NULL);
    fd_watch_want(listener_watch, FD_READABLE);
}

static void stop_listening(void)
{
    fd_watch_free(listener_watch);
    close(listener);
    listener = -1;
}

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    http = http_new(loop);
    accepted = 0;
    LIST_INIT(&peers);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    listen_on(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
              (struct sockaddr *)&address, len);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", ntohs(address.sin_port));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_free(http);
    while (!LIST_EMPTY(&peers)) {
        peer_free(LIST_FIRST(&peers));
    }
    if (listener >= 0) {
        stop_listening();
    }
    loop_free(loop);
    return 0;
}

/* ---- the client's side ---- */

struct outcome {
    char text[ERR_TEXT_MAX];
    char body[4096];
    char data[4096]; /* of a stream */
    size_t data_len;
    size_t body_len;
    uint64_t took_ms;
    struct http_op *cancel_at_data;
    enum err_code code;
    int calls;
    int status;
    int chunks;
    bool done;
    bool refused;
    bool stop_at_data;
};

static void keep(void *arg, const struct http_answer *answer)
{
    struct outcome *outcome = arg;
    outcome->done = true;
    outcome->calls++;
    outcome->code = answer->err.code;
    memcpy(outcome->text, answer->err.text, sizeof outcome->text);
    outcome->refused = answer->refused;
    outcome->status = answer->status;
    outcome->body_len = answer->body_len;
    assert_int_equal(strlen(answer->body), answer->body_len);
    strncpy(outcome->body, answer->body, sizeof outcome->body - 1);
    outcome->took_ms = answer->took_ms;
}

static bool keep_data(void *arg, const char *data, size_t len)
{
    struct outcome *outcome = arg;
    assert_true(outcome->data_len + len < sizeof outcome->data);
    memcpy(outcome->data + outcome->data_len, data, len);
    outcome->data_len += len;
    outcome->chunks++;
    if (outcome->cancel_at_data != NULL) {
        http_cancel(outcome->cancel_at_data);
        outcome->cancel_at_data = NULL;
    }
    return !outcome->stop_at_data;
}

static bool drop_data(void *arg, const char *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
    return true;
}

static struct http_op *start(struct outcome *outcome, struct http_request request)
{
    request.url = request.url != NULL ? request.url : url;
    request.done = keep;
    request.arg = outcome;
    if (request.deadline_ms == 0 && request.on_data == NULL) {
        request.deadline_ms = WITHIN_MS;
    }
    struct http_op *op = http_start(http, &request);
    assert_false(outcome->done); /* never from inside http_start() */
    return op;
}

static void wait_for(struct outcome *outcome)
{
    assert_true(loop_run_until(loop, &outcome->done, 2 * WITHIN_MS));
    assert_int_equal(outcome->calls, 1);
}

static struct outcome fetch(struct http_request request)
{
    struct outcome outcome = {0};
    start(&outcome, request);
    wait_for(&outcome);
    return outcome;
}

/* Whatever is still due from the loop has come after this. */
static void settle(void)
{
    bool never = false;
    loop_run_until(loop, &never, 50);
}

/* ---- ways to serve ---- */

static void serve_hello(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
}

static void serve_nothing(struct peer *peer)
{
    (void)peer;
}

static void serve_missing(struct peer *peer)
{
    say(peer, "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone");
}

static void serve_drip(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    timer_start(peer->timer, 0);
}

static void serve_cut(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    peer_free(peer);
}

static void serve_cut_chunks(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    peer_free(peer);
}

static void serve_hang_up(struct peer *peer)
{
    peer_free(peer);
}

static void serve_garbage(struct peer *peer)
{
    say(peer, "SSH-2.0-OpenSSH_9.2\r\n");
    peer_free(peer);
}

static void serve_redirect(struct peer *peer)
{
    say(peer, "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
}

static void serve_two_objects(struct peer *peer)
{
    say(peer, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
              "10\r\n{\"a\":1}\n{\"b\":2}\n\r\n");
}

static void serve_two_objects_and_end(struct peer *peer)
{
    serve_two_objects(peer);
    say(peer, "0\r\n\r\n");
}

/* The first request of a connection is answered, then it dies with the second unanswered. */
static void serve_once_a_connection(struct peer *peer)
{
    if (peer->requests == 1) {
        serve_hello(peer);
    } else {
        peer_free(peer);
    }
}

static char seen[8192];

static void serve_and_remember(struct peer *peer)
{
    memcpy(seen, peer->request, sizeof seen);
    serve_hello(peer);
}

static void serve_hello_unless_slow(struct peer *peer)
{
    if (strstr(peer->request, "/slow ") == NULL) {
        serve_hello(peer);
    }
}

/* ---- tests ---- */

static void an_answer_arrives_with_its_status_and_body(void **state)
{
    (void)state;
    serve = serve_hello;
    struct outcome outcome = fetch((struct http_request){0});
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.status, 200);
    assert_string_equal(outcome.body, "hello");
}

static void a_status_of_404_is_an_answer_not_an_error(void **state)
{
    (void)state;
    serve = serve_missing;
    struct outcome outcome = fetch((struct http_request){0});
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.status, 404);
    assert_string_equal(outcome.body, "gone");
}

static void a_server_that_says_nothing_is_a_timeout(void **state)
{
    (void)state;
    serve = serve_nothing;
    struct outcome outcome = fetch((struct http_request){.deadline_ms = 100});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    assert_false(outcome.refused);
    assert_true(outcome.took_ms >= 100);
}

static void a_body_that_drips_past_the_total_deadline_is_a_timeout(void **state)
{
    (void)state;
    serve = serve_drip;
    struct outcome outcome = fetch((struct http_request){.deadline_ms = 200});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    assert_true(outcome.took_ms >= 200);
}

static void a_body_that_is_cut_in_its_middle_is_no_answer(void **state)
{
    (void)state;
    serve = serve_cut;
    assert_int_equal(fetch((struct http_request){0}).code, ERR_UNREACHABLE);
    serve = serve_cut_chunks;
    assert_int_equal(fetch((struct http_request){0}).code, ERR_UNREACHABLE);
}

static void a_server_that_hangs_up_or_talks_something_else_is_no_answer(void **state)
{
    (void)state;
    serve = serve_hang_up;
    struct outcome outcome = fetch((struct http_request){0});
    assert_int_equal(outcome.code, ERR_UNREACHABLE);
    assert_false(outcome.refused);
    serve = serve_garbage;
    assert_int_equal(fetch((struct http_request){0}).code, ERR_UNREACHABLE);
}

static void a_body_over_its_limit_is_refused_and_one_at_it_is_not(void **state)
{
    (void)state;
    serve = serve_hello;
    assert_int_equal(fetch((struct http_request){.body_limit = 4}).code, ERR_LIMIT);
    assert_int_equal(fetch((struct http_request){.body_limit = 5}).code, ERR_NONE);
}

static void a_refused_connection_is_told_from_the_rest(void **state)
{
    (void)state;
    stop_listening();
    struct outcome outcome = fetch((struct http_request){0});
    assert_int_equal(outcome.code, ERR_UNREACHABLE);
    assert_true(outcome.refused);
}

static void a_redirect_is_an_answer_and_is_not_followed(void **state)
{
    (void)state;
    serve = serve_redirect;
    struct outcome outcome = fetch((struct http_request){0});
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.status, 302);
    assert_int_equal(accepted, 1);
    assert_int_equal(LIST_FIRST(&peers)->requests, 1);
}

static void only_http_is_spoken(void **state)
{
    (void)state;
    assert_int_equal(fetch((struct http_request){.url = "file:///etc/hostname"}).code,
                     ERR_UNREACHABLE);
    assert_int_equal(fetch((struct http_request){.url = "http://a b/"}).code, ERR_INVALID);
}

static void the_request_goes_out_as_it_was_given(void **state)
{
    (void)state;
    serve = serve_and_remember;
    fetch((struct http_request){.method = "PUT",
                                .headers = {"X-A: 1", "Content-Type: application/json"},
                                .body = "{\"a\":1}",
                                .body_len = 7});
    assert_ptr_equal(strstr(seen, "PUT /x HTTP/1.1\r\n"), seen);
    assert_non_null(strstr(seen, "\r\nX-A: 1\r\n"));
    assert_non_null(strstr(seen, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(seen, "\r\nContent-Length: 7\r\n"));
    assert_string_equal(strstr(seen, "\r\n\r\n"), "\r\n\r\n{\"a\":1}");
    assert_null(strcasestr(seen, "Accept-Encoding"));
    fetch((struct http_request){.body = "q", .body_len = 1});
    assert_ptr_equal(strstr(seen, "POST /x HTTP/1.1\r\n"), seen);
    assert_null(strcasestr(seen, "Content-Type"));
    fetch((struct http_request){.method = "POST"});
    assert_non_null(strstr(seen, "\r\nContent-Length: 0\r\n"));
    fetch((struct http_request){0});
    assert_ptr_equal(strstr(seen, "GET /x HTTP/1.1\r\n"), seen);
}

static void what_was_handed_over_may_change_at_once(void **state)
{
    (void)state;
    serve = serve_and_remember;
    char address[64];
    char header[] = "X-A: kept";
    char body[] = "kept";
    snprintf(address, sizeof address, "%s", url);
    struct outcome outcome = {0};
    start(&outcome,
          (struct http_request){.url = address, .headers = {header}, .body = body, .body_len = 4});
    memset(address, 'z', sizeof address - 1);
    memset(header, 'z', sizeof header - 1);
    memset(body, 'z', sizeof body - 1);
    wait_for(&outcome);
    assert_int_equal(outcome.code, ERR_NONE);
    assert_non_null(strstr(seen, "X-A: kept\r\n"));
    assert_non_null(strstr(seen, "\r\n\r\nkept"));
}

static void connections_are_kept_unless_a_fresh_one_is_asked_for(void **state)
{
    (void)state;
    serve = serve_hello;
    fetch((struct http_request){0});
    fetch((struct http_request){0});
    assert_int_equal(accepted, 1);
    fetch((struct http_request){.fresh = true});
    assert_int_equal(accepted, 2);
    fetch((struct http_request){0});
    assert_int_equal(accepted, 2);
}

static void idle_connections_are_kept_however_few_requests_run(void **state)
{
    (void)state;
    enum { MANY = 12 };
    serve = serve_hello;
    static struct outcome outcomes[MANY];
    for (int round = 0; round < 2; round++) {
        memset(outcomes, 0, sizeof outcomes);
        for (int i = 0; i < MANY; i++) {
            start(&outcomes[i], (struct http_request){0});
        }
        for (int i = 0; i < MANY; i++) {
            wait_for(&outcomes[i]);
        }
        fetch((struct http_request){0}); /* alone */
        assert_int_equal(accepted, MANY);
    }
}

static void a_kept_connection_that_died_is_replaced(void **state)
{
    (void)state;
    serve = serve_once_a_connection;
    assert_int_equal(fetch((struct http_request){0}).code, ERR_NONE);
    assert_int_equal(fetch((struct http_request){0}).code, ERR_NONE);
    assert_int_equal(accepted, 2);
}

static void a_proxy_of_the_environment_is_not_used(void **state)
{
    (void)state;
    serve = serve_hello;
    setenv("http_proxy", "http://127.0.0.1:1/", 1);
    struct outcome outcome = fetch((struct http_request){0});
    unsetenv("http_proxy");
    assert_int_equal(outcome.code, ERR_NONE);
}

static void a_name_is_looked_up(void **state)
{
    (void)state;
    serve = serve_hello;
    char named[64];
    snprintf(named, sizeof named, "http://localhost%s", strchr(url + 7, ':'));
    assert_int_equal(fetch((struct http_request){.url = named}).code, ERR_NONE);
}

static void a_unix_socket_stands_in_for_the_host(void **state)
{
    (void)state;
    stop_listening();
    char dir[] = "/tmp/test_http.XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", dir);
    listen_on(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
              (struct sockaddr *)&address, sizeof address);
    serve = serve_and_remember;
    struct outcome outcome =
        fetch((struct http_request){.url = "http://local/y", .unix_socket = address.sun_path});
    assert_int_equal(unlink(address.sun_path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(outcome.code, ERR_NONE);
    assert_ptr_equal(strstr(seen, "GET /y HTTP/1.1\r\nHost: local\r\n"), seen);
}

static void a_stream_passes_on_two_objects_that_came_as_one_chunk(void **state)
{
    (void)state;
    serve = serve_two_objects_and_end;
    struct outcome outcome = fetch((struct http_request){.on_data = keep_data});
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.status, 200);
    assert_int_equal(outcome.body_len, 0);
    assert_string_equal(outcome.data, "{\"a\":1}\n{\"b\":2}\n");
}

static void a_stream_that_falls_silent_is_a_timeout(void **state)
{
    (void)state;
    serve = serve_two_objects;
    struct outcome outcome = fetch((struct http_request){.on_data = keep_data, .idle_ms = 150});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    assert_int_equal(outcome.data_len, 16);
    serve = serve_nothing;
    outcome = fetch((struct http_request){.on_data = keep_data, .idle_ms = 50});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
}

static void a_stream_that_drips_is_not_silent(void **state)
{
    (void)state;
    serve = serve_drip; /* every 10 ms */
    struct outcome outcome = {0};
    struct http_op *op =
        start(&outcome, (struct http_request){.on_data = drop_data, .idle_ms = 1000});
    assert_false(loop_run_until(loop, &outcome.done, 1500));
    http_cancel(op);
}

static void a_stream_with_a_deadline_ends_at_it(void **state)
{
    (void)state;
    serve = serve_drip;
    struct outcome outcome = fetch((struct http_request){.on_data = keep_data, .deadline_ms = 150});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
}

static void a_stream_that_is_cut_ends_unreachable_after_its_data(void **state)
{
    (void)state;
    serve = serve_cut_chunks;
    struct outcome outcome = fetch((struct http_request){.on_data = keep_data});
    assert_int_equal(outcome.code, ERR_UNREACHABLE);
    assert_string_equal(outcome.data, "hello");
}

static void a_reader_that_has_enough_ends_the_stream(void **state)
{
    (void)state;
    serve = serve_drip;
    struct outcome outcome = {.stop_at_data = true};
    start(&outcome, (struct http_request){.on_data = keep_data});
    wait_for(&outcome);
    assert_int_equal(outcome.code, ERR_CANCELED);
    assert_int_equal(outcome.chunks, 1);
    settle();
    assert_int_equal(outcome.chunks, 1);
}

static void a_stream_canceled_from_inside_its_reader_calls_nobody(void **state)
{
    (void)state;
    for (int ended = 0; ended < 2; ended++) {
        serve = ended ? serve_two_objects_and_end : serve_drip;
        struct outcome outcome = {0};
        outcome.cancel_at_data = start(&outcome, (struct http_request){.on_data = keep_data});
        uint64_t until_ms = clock_now_ms() + WITHIN_MS;
        bool never = false;
        while (outcome.chunks == 0 && clock_now_ms() < until_ms) {
            loop_run_until(loop, &never, 5);
        }
        settle();
        assert_int_equal(outcome.chunks, 1);
        assert_int_equal(outcome.calls, 0);
    }
}

static void a_canceled_request_calls_nobody(void **state)
{
    (void)state;
    serve = serve_hello;
    struct outcome outcome = {0};
    http_cancel(start(&outcome, (struct http_request){0}));
    http_cancel(start(&outcome, (struct http_request){.url = "nonsense://"}));
    http_cancel(start(&outcome, (struct http_request){.url = "http://localhost:1/"}));
    settle();
    assert_int_equal(outcome.calls, 0);
}

static struct http_op *other;
static struct outcome other_outcome;

static void cancel_other(void *arg, const struct http_answer *answer)
{
    http_cancel(other);
    keep(arg, answer);
}

static void one_request_may_be_canceled_from_the_end_of_another(void **state)
{
    (void)state;
    serve = serve_hello;
    struct outcome outcome = {0};
    other_outcome = (struct outcome){0};
    struct http_request request = {
        .url = url, .deadline_ms = WITHIN_MS, .done = cancel_other, .arg = &outcome};
    http_start(http, &request);
    other = start(&other_outcome, (struct http_request){.on_data = keep_data});
    wait_for(&outcome);
    settle();
    assert_int_equal(other_outcome.calls, 0);
}

static void start_again(void *arg, const struct http_answer *answer)
{
    struct outcome *outcome = arg;
    if (++outcome->chunks < 3) {
        struct http_request request = {
            .url = answer->err.code == ERR_NONE ? url : "http://a b/",
            .deadline_ms = WITHIN_MS,
            .done = start_again,
            .arg = arg,
        };
        http_start(http, &request);
        return;
    }
    keep(arg, answer);
}

static void a_request_may_be_started_from_the_end_of_another(void **state)
{
    (void)state;
    serve = serve_hello;
    const char *const urls[] = {url, "http://a b/"};
    for (int i = 0; i < 2; i++) {
        struct outcome outcome = {0};
        struct http_request request = {
            .url = urls[i], .deadline_ms = WITHIN_MS, .done = start_again, .arg = &outcome};
        http_start(http, &request);
        wait_for(&outcome);
        assert_int_equal(outcome.chunks, 3);
    }
}

static void free_client(void *arg, const struct http_answer *answer)
{
    http_free(http);
    http = NULL;
    keep(arg, answer);
}

static void the_client_may_be_freed_from_inside_and_what_runs_calls_nobody(void **state)
{
    (void)state;
    serve = serve_hello_unless_slow;
    char slow_url[80];
    snprintf(slow_url, sizeof slow_url, "%s/slow", url);
    struct outcome outcome = {0};
    struct outcome stream = {0};
    struct outcome failed = {0};
    struct http_request request = {
        .url = url, .deadline_ms = WITHIN_MS, .done = free_client, .arg = &outcome};
    http_start(http, &request);
    start(&stream, (struct http_request){.url = slow_url, .on_data = keep_data});
    wait_for(&outcome);
    settle();
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(stream.calls, 0);
    http = http_new(loop);
    start(&failed, (struct http_request){0});
    http_free(http);
    http = NULL;
    settle();
    assert_int_equal(failed.calls, 0);
}

static void many_requests_at_once_all_end(void **state)
{
    (void)state;
    enum { MANY = 60 };
    serve = serve_hello;
    static struct outcome outcomes[MANY];
    memset(outcomes, 0, sizeof outcomes);
    for (int i = 0; i < MANY; i++) {
        start(&outcomes[i], (struct http_request){0});
    }
    for (int i = 0; i < MANY; i++) {
        wait_for(&outcomes[i]);
        assert_int_equal(outcomes[i].code, ERR_NONE);
    }
}

/* ---- TLS: a server of the openssl program that wants a certificate of its callers ---- */

struct secure {
    char dir[32];
    char cert[64];
    char key[64];
    char url[64];
    pid_t pid;
};

static pid_t spawn(const char *const args[], int output)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(output >= 0 ? output : null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(args[0], (char *const *)args);
        _exit(127);
    }
    return pid;
}

static void make_certificate(struct secure *secure)
{
    snprintf(secure->dir, sizeof secure->dir, "/tmp/test_http.XXXXXX");
    assert_non_null(mkdtemp(secure->dir));
    snprintf(secure->cert, sizeof secure->cert, "%s/cert", secure->dir);
    snprintf(secure->key, sizeof secure->key, "%s/key", secure->dir);
    const char *const args[] = {"openssl",
                                "req",
                                "-x509",
                                "-newkey",
                                "ec",
                                "-pkeyopt",
                                "ec_paramgen_curve:prime256v1",
                                "-nodes",
                                "-days",
                                "2",
                                "-subj",
                                "/CN=127.0.0.1",
                                "-addext",
                                "subjectAltName=IP:127.0.0.1",
                                "-keyout",
                                secure->key,
                                "-out",
                                secure->cert,
                                NULL};
    int status;
    pid_t pid = spawn(args, -1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* It says "ACCEPT 127.0.0.1:PORT" once it listens. */
static void start_secure(struct secure *secure)
{
    make_certificate(secure);
    const char *const args[] = {"openssl",
                                "s_server",
                                "-accept",
                                "127.0.0.1:0",
                                "-cert",
                                secure->cert,
                                "-key",
                                secure->key,
                                "-CAfile",
                                secure->cert,
                                "-Verify",
                                "2",
                                "-verify_return_error",
                                "-www",
                                NULL};
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    secure->pid = spawn(args, fds[1]);
    close(fds[1]);
    char said[4096] = "";
    size_t len = 0;
    int port = 0;
    while (port == 0 && len < sizeof said - 1) {
        ssize_t n = read(fds[0], said + len, sizeof said - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
        const char *accept = strstr(said, "ACCEPT 127.0.0.1:");
        if (accept != NULL && strchr(accept, '\n') != NULL) {
            port = (int)strtol(accept + 17, NULL, 10);
        }
    }
    close(fds[0]);
    snprintf(secure->url, sizeof secure->url, "https://127.0.0.1:%d/", port);
}

static void stop_secure(struct secure *secure)
{
    assert_int_equal(kill(secure->pid, SIGKILL), 0);
    assert_int_equal(waitpid(secure->pid, NULL, 0), secure->pid);
    unlink(secure->cert);
    unlink(secure->key);
    assert_int_equal(rmdir(secure->dir), 0);
}

static void a_certificate_is_checked_and_shown(void **state)
{
    (void)state;
    struct secure secure;
    start_secure(&secure);
    struct http_tls both = {
        .ca_file = secure.cert, .cert_file = secure.cert, .key_file = secure.key};
    struct http_tls no_authority = {.cert_file = secure.cert, .key_file = secure.key};
    struct http_tls no_certificate = {.ca_file = secure.cert};
    struct outcome outcome = fetch((struct http_request){.url = secure.url, .tls = &both});
    struct outcome unknown = fetch((struct http_request){.url = secure.url, .tls = &no_authority});
    struct outcome nobody = fetch((struct http_request){.url = secure.url, .tls = &no_certificate});
    struct outcome again = fetch((struct http_request){.url = secure.url, .tls = &both});
    stop_secure(&secure);
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.status, 200);
    assert_int_equal(unknown.code, ERR_UNREACHABLE);
    assert_int_equal(nobody.code, ERR_UNREACHABLE);
    assert_int_equal(again.code, ERR_NONE);
}

static void tls_with_one_who_speaks_none_is_no_answer(void **state)
{
    (void)state;
    serve = serve_hello;
    char secure_url[80];
    snprintf(secure_url, sizeof secure_url, "https%s", url + 4);
    /* It waits for the end of a head, and gets a handshake. */
    struct outcome outcome = fetch((struct http_request){.url = secure_url, .deadline_ms = 100});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
}

/* Stands before libcurl's own, so that an error of the multi handle can be caused. */
static bool fail_next_action;
CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int what, int *running);

CURLMcode curl_multi_socket_action(CURLM *multi, curl_socket_t fd, int what, int *running)
{
    static CURLMcode (*real)(CURLM *, curl_socket_t, int, int *);
    if (real == NULL) {
        *(void **)&real = dlsym(RTLD_NEXT, "curl_multi_socket_action");
    }
    if (fail_next_action) {
        fail_next_action = false;
        return CURLM_INTERNAL_ERROR;
    }
    return real(multi, fd, what, running);
}

static void a_multi_handle_that_failed_is_replaced(void **state)
{
    (void)state;
    serve = serve_drip;
    struct outcome stream = {0};
    struct outcome outcome = {0};
    start(&stream, (struct http_request){.on_data = keep_data});
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    bool never = false;
    while (stream.chunks == 0 && clock_now_ms() < until_ms) {
        loop_run_until(loop, &never, 5);
    }
    serve = serve_hello;
    start(&outcome, (struct http_request){0});
    fail_next_action = true;
    wait_for(&stream);
    wait_for(&outcome);
    assert_int_equal(stream.code, ERR_UNREACHABLE);
    assert_int_equal(outcome.code, ERR_UNREACHABLE);
    assert_int_equal(fetch((struct http_request){0}).code, ERR_NONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_arrives_with_its_status_and_body),
        TEST(a_status_of_404_is_an_answer_not_an_error),
        TEST(a_server_that_says_nothing_is_a_timeout),
        TEST(a_body_that_drips_past_the_total_deadline_is_a_timeout),
        TEST(a_body_that_is_cut_in_its_middle_is_no_answer),
        TEST(a_server_that_hangs_up_or_talks_something_else_is_no_answer),
        TEST(a_body_over_its_limit_is_refused_and_one_at_it_is_not),
        TEST(a_refused_connection_is_told_from_the_rest),
        TEST(a_redirect_is_an_answer_and_is_not_followed),
        TEST(only_http_is_spoken),
        TEST(the_request_goes_out_as_it_was_given),
        TEST(what_was_handed_over_may_change_at_once),
        TEST(connections_are_kept_unless_a_fresh_one_is_asked_for),
        TEST(idle_connections_are_kept_however_few_requests_run),
        TEST(a_kept_connection_that_died_is_replaced),
        TEST(a_proxy_of_the_environment_is_not_used),
        TEST(a_name_is_looked_up),
        TEST(a_unix_socket_stands_in_for_the_host),
        TEST(a_stream_passes_on_two_objects_that_came_as_one_chunk),
        TEST(a_stream_that_falls_silent_is_a_timeout),
        TEST(a_stream_that_drips_is_not_silent),
        TEST(a_stream_with_a_deadline_ends_at_it),
        TEST(a_stream_that_is_cut_ends_unreachable_after_its_data),
        TEST(a_reader_that_has_enough_ends_the_stream),
        TEST(a_stream_canceled_from_inside_its_reader_calls_nobody),
        TEST(a_canceled_request_calls_nobody),
        TEST(one_request_may_be_canceled_from_the_end_of_another),
        TEST(a_request_may_be_started_from_the_end_of_another),
        TEST(the_client_may_be_freed_from_inside_and_what_runs_calls_nobody),
        TEST(many_requests_at_once_all_end),
        TEST(a_certificate_is_checked_and_shown),
        TEST(tls_with_one_who_speaks_none_is_no_answer),
        TEST(a_multi_handle_that_failed_is_replaced),
    };
    return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
