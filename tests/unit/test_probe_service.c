/* probes/http.c and probes/tcp.c against a real listener that answers well, badly, slowly or not at
 * all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "controller/base/http.h"
#include "controller/base/loop.h"
#include "probes/http.h"
#include "probes/tcp.h"

#define DEADLINE_MS 5000
#define SILENT_MS   300
#define TEST_MS     20000

enum manner { ANSWER, DRIP, HOLD, CUT };

static pid_t child;
static uint16_t port;
static char url[64];
static struct loop *loop;
static struct http *http;
static struct probe_http *probe_of_http;
static struct probe_tcp *probe_of_tcp;
static struct service_fact fact;
static bool answered;

/* In the child: one connection after the other, for ever. */
static void serve_on(int listener, enum manner manner, const char *answer)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        char request[4096];
        if (fd < 0 || (manner != CUT && recv(fd, request, sizeof request, 0) <= 0)) {
            close(fd);
            continue;
        }
        ssize_t sent = -1;
        if (manner == ANSWER || manner == DRIP) {
            sent = send(fd, answer, strlen(answer), 0);
        }
        while (manner == DRIP && sent >= 0) {
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
            sent = send(fd, ".", 1, 0);
        }
        if (manner == HOLD) {
            pause(); /* for ever: only SIGKILL comes */
        }
        close(fd);
    }
}

static void start(enum manner manner, const char *answer)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(listener, 16), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &len), 0);
    port = ntohs(any.sin_port);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/health", port);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        serve_on(listener, manner, answer);
    }
    close(listener);
}

static void stop(void)
{
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        child = 0;
    }
}

static void on_fact(void *arg, const struct service_fact *found)
{
    (void)arg;
    assert_false(answered);
    answered = true;
    fact = *found;
}

static int setup(void **state)
{
    (void)state;
    loop = loop_new();
    http = http_new(loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    probe_http_free(probe_of_http);
    probe_of_http = NULL;
    probe_tcp_free(probe_of_tcp);
    probe_of_tcp = NULL;
    http_free(http);
    loop_free(loop);
    stop();
    return 0;
}

static void watch_http(const char *body, uint32_t deadline_ms)
{
    probe_http_free(probe_of_http);
    probe_of_http = probe_http_new(
        http,
        &(struct probe_http_params){
            .url = url, .status = 200, .body = body, .deadline_ms = deadline_ms, .done = on_fact});
}

static void watch_tcp(const char *address, uint32_t deadline_ms)
{
    probe_tcp_free(probe_of_tcp);
    probe_of_tcp = probe_tcp_new(
        loop, &(struct probe_tcp_params){
                  .address = address, .port = port, .deadline_ms = deadline_ms, .done = on_fact});
}

static const char *cause_of_http(void)
{
    answered = false;
    probe_http_ask(probe_of_http);
    assert_true(probe_http_busy(probe_of_http));
    assert_false(answered);
    assert_true(loop_run_until(loop, &answered, TEST_MS));
    assert_false(probe_http_busy(probe_of_http));
    return cause_names[fact.cause];
}

static const char *cause_of_tcp(void)
{
    answered = false;
    probe_tcp_ask(probe_of_tcp);
    assert_true(probe_tcp_busy(probe_of_tcp));
    assert_false(answered);
    assert_true(loop_run_until(loop, &answered, TEST_MS));
    assert_false(probe_tcp_busy(probe_of_tcp));
    return cause_names[fact.cause];
}

#define GOOD "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n{\"status\":\"ok\"}\n"

static void a_health_page_with_the_wanted_text_is_ok(void **state)
{
    (void)state;
    start(ANSWER, GOOD);
    watch_http("\"ok\"", DEADLINE_MS);
    assert_string_equal(cause_of_http(), "ok");
    assert_int_equal(fact.status, 200);
    assert_string_equal(cause_of_http(), "ok");
    watch_http(NULL, DEADLINE_MS);
    assert_string_equal(cause_of_http(), "ok");
}

static void a_good_status_over_a_bad_body_is_a_bad_answer(void **state)
{
    (void)state;
    start(ANSWER, GOOD);
    watch_http("ready", DEADLINE_MS);
    assert_string_equal(cause_of_http(), "bad answer");
    assert_string_equal(fact.detail, "the body does not hold \"ready\"");
}

static void another_status_is_a_bad_answer_a_redirect_too(void **state)
{
    (void)state;
    start(ANSWER, "HTTP/1.1 302 Found\r\nLocation: /health\r\nContent-Length: 0\r\n\r\n");
    watch_http(NULL, DEADLINE_MS);
    assert_string_equal(cause_of_http(), "bad answer");
    assert_int_equal(fact.status, 302);
    assert_string_equal(fact.detail, "status 302, wanted 200");
}

static void a_body_that_drips_does_not_outlive_the_total_deadline(void **state)
{
    (void)state;
    start(DRIP, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    watch_http(NULL, SILENT_MS);
    assert_string_equal(cause_of_http(), "timed out");
}

static void a_service_that_never_answers_has_timed_out(void **state)
{
    (void)state;
    start(HOLD, "");
    watch_http(NULL, SILENT_MS);
    assert_string_equal(cause_of_http(), "timed out");
}

static void a_service_that_hangs_up_has_cut_the_connection(void **state)
{
    (void)state;
    start(CUT, "");
    watch_http(NULL, DEADLINE_MS);
    assert_string_equal(cause_of_http(), "connection cut");
}

static void a_service_that_is_not_there_refuses(void **state)
{
    (void)state;
    start(ANSWER, GOOD);
    stop();
    watch_http(NULL, DEADLINE_MS);
    assert_string_equal(cause_of_http(), "refused");
    watch_tcp("127.0.0.1", DEADLINE_MS);
    assert_string_equal(cause_of_tcp(), "refused");
}

static void an_open_port_is_ok_whoever_hangs_behind_it(void **state)
{
    (void)state;
    start(HOLD, "");
    watch_tcp("127.0.0.1", DEADLINE_MS);
    assert_string_equal(cause_of_tcp(), "ok");
    assert_string_equal(cause_of_tcp(), "ok");
}

static void a_port_that_drops_packets_has_timed_out(void **state)
{
    (void)state;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &len), 0);
    port = ntohs(any.sin_port);
    int fillers[4]; /* a full queue drops those that come after */
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&any, sizeof any);
    }
    watch_tcp("127.0.0.1", SILENT_MS);
    assert_string_equal(cause_of_tcp(), "timed out");
    for (int i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(listener);
}

static void what_we_cannot_even_try_is_our_own_fault(void **state)
{
    (void)state;
    port = 1;
    watch_tcp("localhost", DEADLINE_MS); /* no names: no DNS */
    assert_string_equal(cause_of_tcp(), "prober");
    watch_tcp("127.0.0.1", DEADLINE_MS);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    const char *cause = cause_of_tcp();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_string_equal(cause, "prober");
}

static void probes_can_be_freed_while_they_work(void **state)
{
    (void)state;
    start(HOLD, "");
    watch_http(NULL, DEADLINE_MS);
    watch_tcp("127.0.0.1", DEADLINE_MS);
    answered = false;
    probe_http_ask(probe_of_http);
    probe_tcp_ask(probe_of_tcp);
    probe_http_free(probe_of_http);
    probe_of_http = NULL;
    probe_tcp_free(probe_of_tcp);
    probe_of_tcp = NULL;
    bool never = false;
    loop_run_until(loop, &never, 50);
    assert_false(answered);
}

#define service_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        service_test(a_health_page_with_the_wanted_text_is_ok),
        service_test(a_good_status_over_a_bad_body_is_a_bad_answer),
        service_test(another_status_is_a_bad_answer_a_redirect_too),
        service_test(a_body_that_drips_does_not_outlive_the_total_deadline),
        service_test(a_service_that_never_answers_has_timed_out),
        service_test(a_service_that_hangs_up_has_cut_the_connection),
        service_test(a_service_that_is_not_there_refuses),
        service_test(an_open_port_is_ok_whoever_hangs_behind_it),
        service_test(a_port_that_drops_packets_has_timed_out),
        service_test(what_we_cannot_even_try_is_our_own_fault),
        service_test(probes_can_be_freed_while_they_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
