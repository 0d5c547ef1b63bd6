/* The HTTP server on a unix socket, asked by the HTTP client and by callers that misbehave. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"
#include "controller/base/http.h"
#include "controller/base/server.h"

#define WITHIN_MS  UINT64_C(20000)
#define BODY_LIMIT 100000

static struct loop *loop;
static struct http *http;
static struct server *server;
static char dir[32];
static char path[64];

/* ---- the handler: says what it got ---- */

static int calls;
static struct server_peer last_peer;
static size_t last_body_len;

static void handle(void *arg, struct server_call *call, const char *method, const char *url_path,
                   const char *body, size_t body_len)
{
    (void)arg;
    calls++;
    last_peer = server_peer(call);
    last_body_len = body_len;
    assert_int_equal(strlen(body), body_len);
    if (strcmp(url_path, "/silent") == 0) {
        return;
    }
    if (strcmp(url_path, "/echo") != 0) {
        server_reply(call, 404, NULL, "{\"error\":\"no such page\"}", 24);
        return;
    }
    const char *name = server_query(call, "name");
    char text[512];
    int len = snprintf(text, sizeof text, "%s %s name=%s body=%.100s", method, url_path,
                       name != NULL ? name : "(none)", body);
    server_reply(call, 200, "text/plain", text, (size_t)len);
}

static struct server_options options(void)
{
    return (struct server_options){.unix_path = path,
                                   .body_limit = BODY_LIMIT,
                                   .connections_max = 16,
                                   .request_ms = WITHIN_MS,
                                   .handler = handle};
}

static void serve(struct server_options with)
{
    struct err err = {0};
    server = server_new(loop, &with, &err);
    if (server == NULL) {
        fail_msg("%s", err.text);
    }
}

static int set_up(void **state)
{
    (void)state;
    calls = 0;
    loop = loop_new();
    http = http_new(loop);
    server = NULL;
    snprintf(dir, sizeof dir, "/tmp/test_server.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_free(http);
    server_free(server);
    loop_free(loop);
    assert_int_equal(access(path, F_OK), -1); /* no test leaves its socket */
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* ---- a caller by the book ---- */

struct outcome {
    bool done;
    enum err_code code;
    int status;
    char body[1024];
};

static void keep(void *arg, const struct http_answer *answer)
{
    struct outcome *outcome = arg;
    outcome->done = true;
    outcome->code = answer->err.code;
    outcome->status = answer->status;
    snprintf(outcome->body, sizeof outcome->body, "%s", answer->body);
}

static void start(struct outcome *outcome, struct http_request request)
{
    request.unix_socket = path;
    request.deadline_ms = WITHIN_MS;
    request.done = keep;
    request.arg = outcome;
    http_start(http, &request);
}

static struct outcome ask(struct http_request request)
{
    struct outcome outcome = {0};
    start(&outcome, request);
    assert_true(loop_run_until(loop, &outcome.done, 2 * WITHIN_MS));
    return outcome;
}

/* ---- a caller that does as it likes ---- */

struct raw {
    int fd;
    struct fd_watch *watch;
    bool ended;
    char answer[65536];
    size_t len;
};

static void on_raw(void *arg, int ready)
{
    (void)ready;
    struct raw *raw = arg;
    ssize_t n = recv(raw->fd, raw->answer + raw->len, sizeof raw->answer - 1 - raw->len, 0);
    if (n > 0) {
        raw->len += (size_t)n;
        raw->answer[raw->len] = '\0';
    } else if (n == 0 || errno != EAGAIN) {
        raw->ended = true;
        fd_watch_want(raw->watch, 0);
    }
}

static int connect_to(const char *to)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", to);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static struct raw *raw_new(void)
{
    struct raw *raw = calloc(1, sizeof *raw);
    raw->fd = connect_to(path);
    assert_true(raw->fd >= 0);
    raw->watch = fd_watch_new(loop, raw->fd, on_raw, raw);
    fd_watch_want(raw->watch, FD_READABLE);
    return raw;
}

static void raw_free(struct raw *raw)
{
    fd_watch_free(raw->watch);
    close(raw->fd);
    free(raw);
}

static void say(struct raw *raw, const char *text)
{
    assert_int_equal(send(raw->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void wait_for_text(struct raw *raw, const char *text)
{
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    bool never = false;
    while (strstr(raw->answer, text) == NULL && clock_now_ms() < until_ms) {
        loop_run_until(loop, &never, 2);
    }
    assert_non_null(strstr(raw->answer, text));
}

/* ---- tests ---- */

static void a_request_reaches_the_handler_and_its_reply_the_caller(void **state)
{
    (void)state;
    serve(options());
    struct outcome outcome = ask((struct http_request){.url = "http://local/echo?name=a%20b"});
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.status, 200);
    assert_string_equal(outcome.body, "GET /echo name=a b body=");
    outcome = ask((struct http_request){
        .method = "PUT", .url = "http://local/echo", .body = "hello", .body_len = 5});
    assert_string_equal(outcome.body, "PUT /echo name=(none) body=hello");
}

static void an_unknown_path_is_the_handlers_to_answer(void **state)
{
    (void)state;
    serve(options());
    struct outcome outcome = ask((struct http_request){.url = "http://local/nothing/here"});
    assert_int_equal(outcome.status, 404);
    assert_string_equal(outcome.body, "{\"error\":\"no such page\"}");
    assert_int_equal(calls, 1);
}

static void a_handler_without_a_reply_is_answered_for(void **state)
{
    (void)state;
    serve(options());
    assert_int_equal(ask((struct http_request){.url = "http://local/silent"}).status, 500);
}

static void the_caller_is_known_by_its_socket(void **state)
{
    (void)state;
    serve(options());
    ask((struct http_request){.url = "http://local/echo"});
    assert_true(last_peer.known);
    assert_int_equal(last_peer.pid, getpid());
    assert_int_equal(last_peer.uid, geteuid());
    assert_int_equal(last_peer.gid, getegid());
}

static void a_body_at_the_limit_is_taken_and_one_above_is_not(void **state)
{
    (void)state;
    serve(options());
    char *body = malloc(BODY_LIMIT + 1);
    memset(body, 'x', BODY_LIMIT + 1);
    struct http_request request = {
        .url = "http://local/echo", .body = body, .body_len = BODY_LIMIT};
    struct outcome outcome = ask(request);
    assert_int_equal(outcome.status, 200);
    assert_int_equal(last_body_len, BODY_LIMIT);
    request.body_len = BODY_LIMIT + 1;
    outcome = ask(request);
    assert_int_equal(outcome.status, 413);
    assert_int_equal(calls, 1);
    free(body);
}

static void a_body_whose_length_is_not_announced_is_limited_too(void **state)
{
    (void)state;
    struct server_options with = options();
    with.body_limit = 8;
    serve(with);
    struct raw *raw = raw_new();
    say(raw, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
             "8\r\n12345678\r\n0\r\n\r\n");
    wait_for_text(raw, "body=12345678");
    raw->len = 0;
    say(raw, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
             "8\r\n12345678\r\n1\r\n9\r\n0\r\n\r\n");
    wait_for_text(raw, "HTTP/1.1 413 ");
    assert_int_equal(calls, 1);
    raw_free(raw);
}

static void a_body_announced_as_too_long_is_refused_before_it_comes(void **state)
{
    (void)state;
    serve(options());
    struct raw *raw = raw_new();
    say(raw, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n");
    wait_for_text(raw, "HTTP/1.1 413 ");
    assert_int_equal(calls, 0);
    raw_free(raw);
}

static void requests_that_follow_each_other_closely_are_all_answered(void **state)
{
    (void)state;
    serve(options());
    struct raw *raw = raw_new();
    say(raw, "GET /echo?name=1 HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET /echo?name=2 HTTP/1.1\r\nHost: a\r\n\r\n"
             "GET /echo?name=3 HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_for_text(raw, "name=1");
    wait_for_text(raw, "name=2");
    wait_for_text(raw, "name=3");
    raw_free(raw);
}

static void a_caller_too_slow_is_shut_out_while_others_are_served(void **state)
{
    (void)state;
    struct server_options with = options();
    with.request_ms = 500;
    serve(with);
    struct raw *silent = raw_new();
    struct raw *dripping = raw_new();
    say(dripping, "GET /echo HTTP/1.1\r\nX: ");
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    int served = 0;
    bool never = false;
    while (!(dripping->ended && silent->ended) && clock_now_ms() < until_ms) {
        /* Each byte comes long before the time is over: it is the whole that takes too long. */
        (void)!send(dripping->fd, "x", 1, MSG_NOSIGNAL);
        served += ask((struct http_request){.url = "http://local/echo"}).status == 200;
        loop_run_until(loop, &never, 10);
    }
    assert_true(silent->ended);
    assert_true(dripping->ended);
    assert_null(strstr(dripping->answer, " 200 "));
    assert_true(served > 0);
    raw_free(silent);
    raw_free(dripping);
}

static void a_caller_that_reads_no_reply_is_shut_out(void **state)
{
    (void)state;
    struct server_options with = options();
    with.request_ms = 200;
    serve(with);
    struct raw *raw = raw_new();
    fd_watch_want(raw->watch, 0);
    /* Ask until neither side's buffer has room. */
    static const char request[] = "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n";
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    bool never = false;
    while (send(raw->fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0 ||
           errno == EAGAIN) {
        assert_true(clock_now_ms() < until_ms);
        loop_run_until(loop, &never, errno == EAGAIN ? 5 : 0);
        errno = 0;
    }
    assert_true(errno == EPIPE || errno == ECONNRESET);
    raw_free(raw);
}

static void a_kept_connection_has_its_time_anew_for_each_request(void **state)
{
    (void)state;
    struct server_options with = options();
    with.request_ms = 1500;
    serve(with);
    struct raw *raw = raw_new();
    uint64_t until_ms = clock_now_ms() + 2000;
    while (clock_now_ms() < until_ms) {
        raw->len = 0;
        raw->answer[0] = '\0';
        say(raw, "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n");
        wait_for_text(raw, "body=");
    }
    assert_false(raw->ended);
    assert_true(loop_run_until(loop, &raw->ended, WITHIN_MS)); /* then it idles too long */
    raw_free(raw);
}

static void callers_over_the_limit_wait_for_a_place(void **state)
{
    (void)state;
    struct server_options with = options();
    with.connections_max = 2;
    with.request_ms = 600000; /* so that it is the freed place which helps */
    serve(with);
    struct raw *first = raw_new();
    struct raw *second = raw_new();
    say(first, "GET /echo HTTP/1.1\r\n");
    say(second, "GET /echo HTTP/1.1\r\n");
    bool never = false;
    loop_run_until(loop, &never, 50);
    struct outcome outcome = {0};
    start(&outcome, (struct http_request){.url = "http://local/echo"});
    loop_run_until(loop, &never, 100);
    assert_false(outcome.done);
    raw_free(first);
    assert_true(loop_run_until(loop, &outcome.done, WITHIN_MS));
    assert_int_equal(outcome.status, 200);
    raw_free(second);
}

static void garbage_and_endless_heads_are_answered_with_an_error_or_shut(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\r\n\r\n\r\n\x01\x02\x03\r\n\r\n",
        "GET\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    struct server_options with = options();
    with.request_ms = 300;
    serve(with);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct raw *raw = raw_new();
        say(raw, bad[i]);
        assert_true(loop_run_until(loop, &raw->ended, WITHIN_MS));
        assert_null(strstr(raw->answer, " 200 "));
        raw_free(raw);
    }
    struct raw *raw = raw_new();
    say(raw, "GET /echo HTTP/1.1\r\n");
    bool never = false;
    char line[1024];
    snprintf(line, sizeof line, "X: %01000d\r\n", 0);
    for (int i = 0; i < 100 && !raw->ended; i++) {
        (void)!send(raw->fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
        loop_run_until(loop, &never, 1);
    }
    assert_true(loop_run_until(loop, &raw->ended, WITHIN_MS));
    raw_free(raw);
    assert_int_equal(calls, 0);
    assert_int_equal(ask((struct http_request){.url = "http://local/echo"}).status, 200);
}

static void callers_that_leave_in_the_middle_leave_nothing_behind(void **state)
{
    (void)state;
    serve(options());
    for (int i = 0; i < 50; i++) {
        struct raw *raw = raw_new();
        say(raw, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nhalf");
        bool never = false;
        loop_run_until(loop, &never, 1);
        raw_free(raw);
    }
    assert_int_equal(calls, 0);
    assert_int_equal(ask((struct http_request){.url = "http://local/echo"}).status, 200);
    /* One more is left open: server_free() in tear_down closes it. */
    int fd = connect_to(path);
    assert_true(fd >= 0);
    assert_int_equal(ask((struct http_request){.url = "http://local/echo"}).status, 200);
    close(fd);
}

static mode_t mode_of(const char *of)
{
    struct stat st;
    assert_int_equal(stat(of, &st), 0);
    return st.st_mode & 07777;
}

/* Whether nobody's process, with that one more group, may connect. */
static bool nobody_connects(gid_t group)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (setgroups(group != 0 ? 1 : 0, &group) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0) {
            _exit(2);
        }
        _exit(connect_to(path) >= 0 ? 0 : errno == EACCES ? 1 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

static void only_the_group_may_call(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    const struct group *group = getgrnam("daemon");
    assert_non_null(group);
    gid_t gid = group->gr_gid;
    assert_int_equal(chmod(dir, 0755), 0);
    struct server_options with = options();
    with.unix_group = "daemon";
    serve(with);
    assert_int_equal(mode_of(path), 0660);
    assert_true(nobody_connects(gid));
    assert_false(nobody_connects(0));
    server_free(server);
    with.unix_group = NULL;
    serve(with);
    assert_int_equal(mode_of(path), 0600);
    assert_false(nobody_connects(gid));
}

static void a_group_that_does_not_exist_is_named_in_the_error(void **state)
{
    (void)state;
    struct server_options with = options();
    with.unix_group = "no-such-group-here";
    struct err err = {0};
    assert_null(server_new(loop, &with, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "no-such-group-here"));
}

static void the_socket_of_a_dead_server_is_replaced(void **state)
{
    (void)state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 1), 0);
    close(fd);
    serve(options());
    assert_int_equal(ask((struct http_request){.url = "http://local/echo"}).status, 200);
}

static void the_socket_of_a_living_server_is_not(void **state)
{
    (void)state;
    serve(options());
    struct server_options with = options();
    struct err err = {0};
    assert_null(server_new(loop, &with, &err));
    assert_int_equal(err.code, ERR_CONFLICT);
    assert_int_equal(ask((struct http_request){.url = "http://local/echo"}).status, 200);
}

static void a_file_that_is_no_socket_is_not_replaced(void **state)
{
    (void)state;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    struct server_options with = options();
    struct err err = {0};
    assert_null(server_new(loop, &with, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_int_equal(unlink(path), 0);
}

static void a_path_too_long_for_a_socket_is_an_error(void **state)
{
    (void)state;
    char longer[200];
    memset(longer, 'x', sizeof longer - 1);
    longer[0] = '/';
    longer[sizeof longer - 1] = '\0';
    struct server_options with = options();
    with.unix_path = longer;
    struct err err = {0};
    assert_null(server_new(loop, &with, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "199"));
}

static void a_socket_that_a_successor_made_is_not_removed(void **state)
{
    (void)state;
    serve(options());
    assert_int_equal(unlink(path), 0);
    struct server *old = server;
    serve(options());
    server_free(old);
    assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_request_reaches_the_handler_and_its_reply_the_caller),
        TEST(an_unknown_path_is_the_handlers_to_answer),
        TEST(a_handler_without_a_reply_is_answered_for),
        TEST(the_caller_is_known_by_its_socket),
        TEST(a_body_at_the_limit_is_taken_and_one_above_is_not),
        TEST(a_body_whose_length_is_not_announced_is_limited_too),
        TEST(a_body_announced_as_too_long_is_refused_before_it_comes),
        TEST(requests_that_follow_each_other_closely_are_all_answered),
        TEST(a_caller_too_slow_is_shut_out_while_others_are_served),
        TEST(a_caller_that_reads_no_reply_is_shut_out),
        TEST(a_kept_connection_has_its_time_anew_for_each_request),
        TEST(callers_over_the_limit_wait_for_a_place),
        TEST(garbage_and_endless_heads_are_answered_with_an_error_or_shut),
        TEST(callers_that_leave_in_the_middle_leave_nothing_behind),
        TEST(only_the_group_may_call),
        TEST(a_group_that_does_not_exist_is_named_in_the_error),
        TEST(the_socket_of_a_dead_server_is_replaced),
        TEST(the_socket_of_a_living_server_is_not),
        TEST(a_file_that_is_no_socket_is_not_replaced),
        TEST(a_path_too_long_for_a_socket_is_an_error),
        TEST(a_socket_that_a_successor_made_is_not_removed),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
