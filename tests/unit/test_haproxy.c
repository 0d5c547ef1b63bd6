/*
 * test_haproxy.c - a route in a real HAProxy, and answers that no HAProxy should give.
 *
 * The real one has two backends of two servers each, both `disabled` in its file; behind each
 * server listens a socket of the test, so that a session's far end is the test itself. The false
 * ones are threads that answer as told.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/act/haproxy.h"
#include "controller/act/haproxy_answer.h"
#include "controller/base/clock.h"

#define PATIENCE_MS 10000ull

enum { EAST, WEST, SITES };

struct world {
    struct loop *loop;
    char dir[64];
    struct proxy_def def;
    struct haproxy *proxy;
    pid_t pid;          /* HAProxy's, or 0 */
    int servers[SITES]; /* listening */
    uint16_t server_ports[SITES];
    uint16_t front_port;
    uint16_t runtime_port;
    struct haproxy_route routes[2];
    bool allowed;
    int asked_to_act;
    bool done;
    struct haproxy_report report;
    struct haproxy_seen seen[ROUTES_MAX];
};

/* ---- sockets ---- */

/*
 * A loopback address that no other process on the machine has, so that tests can run side by side:
 * HAProxy shares its ports with whoever wants them (SO_REUSEPORT).
 */
static struct in_addr own_address(void)
{
    return (struct in_addr){htonl(0x7f400000u | ((uint32_t)getpid() & 0x3fffffu))};
}

static const char *own_host(void)
{
    static char text[INET_ADDRSTRLEN];
    struct in_addr address = own_address();

    return inet_ntop(AF_INET, &address, text, sizeof text);
}

static int listen_on_loopback(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr = own_address();
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static uint16_t free_port(void)
{
    uint16_t port;

    close(listen_on_loopback(&port));
    return port;
}

static int dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr = own_address();
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool readable(int fd, int within_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, within_ms) == 1;
}

/* A client of the route, and the far end of its session at that site; both ends have been heard. */
static int open_session(struct world *world, int site, int *ret_far)
{
    int client = dial(world->front_port);
    char c = 0;

    assert_true(client >= 0);
    assert_int_equal(write(client, "x", 1), 1);
    assert_true(readable(world->servers[site], PATIENCE_MS));
    *ret_far = accept4(world->servers[site], NULL, NULL, SOCK_CLOEXEC);
    assert_true(*ret_far >= 0);
    assert_int_equal(read(*ret_far, &c, 1), 1);
    assert_int_equal(write(*ret_far, "y", 1), 1);
    assert_int_equal(read(client, &c, 1), 1);
    return client;
}

static void expect_closed(int fd)
{
    char c;

    assert_true(readable(fd, PATIENCE_MS));
    assert_true(read(fd, &c, 1) <= 0);
    close(fd);
}

/* ---- the real HAProxy ---- */

static void write_configuration(const struct world *world)
{
    const char *host = own_host();
    char path[128];
    FILE *out;

    snprintf(path, sizeof path, "%s/haproxy.cfg", world->dir);
    out = fopen(path, "we");
    assert_non_null(out);
    fprintf(out,
            "global\n"
            "  stats socket %s mode 600 level admin\n"
            "  stats socket ipv4@%s:%u level admin\n"
            "  stats socket %s.user mode 600 level operator\n"
            "defaults\n"
            "  mode tcp\n"
            "  timeout connect 1s\n"
            "  timeout client 1h\n"
            "  timeout server 1h\n"
            "frontend front\n"
            "  bind %s:%u\n"
            "  default_backend payments_db\n"
            "backend payments_db\n"
            "  server pay-east %s:%u disabled\n"
            "  server pay-west %s:%u disabled\n"
            "backend payment_http\n"
            "  server east %s:%u check disabled\n"
            "  server west %s:%u check disabled\n"
            "backend strange\n"
            "  server pay-east %s:%u disabled\n"
            "  server pay-west %s:%u track payment_http/west\n"
            "  server nobody-named-me %s:%u\n",
            world->def.runtime, host, world->runtime_port, world->def.runtime, host,
            world->front_port, host, world->server_ports[EAST], host, world->server_ports[WEST],
            host, world->server_ports[EAST], host, world->server_ports[WEST], host,
            world->server_ports[EAST], host, world->server_ports[WEST], host,
            world->server_ports[EAST]);
    fclose(out);
}

static void become_haproxy(const struct world *world, pid_t parent) __attribute__((noreturn));

static void become_haproxy(const struct world *world, pid_t parent)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(world->dir) < 0 || null < 0) {
        _exit(127);
    }
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    execlp("haproxy", "haproxy", "-db", "-f", "haproxy.cfg", (char *)NULL);
    execl("/usr/sbin/haproxy", "haproxy", "-db", "-f", "haproxy.cfg", (char *)NULL);
    _exit(127);
}

/* Says a command line to it, as another person would; returns whether it has answered. */
static bool tell(const struct world *world, const char *commands)
{
    int fd = dial(world->runtime_port);
    char answer[4096];
    size_t len = 0;
    ssize_t n;

    if (fd < 0) {
        return false;
    }
    if (send(fd, commands, strlen(commands), MSG_NOSIGNAL) > 0 &&
        send(fd, "\n", 1, MSG_NOSIGNAL) > 0) {
        while ((n = read(fd, answer, sizeof answer)) > 0) {
            len += (size_t)n;
        }
    }
    close(fd);
    return len > 0;
}

/* Its sockets are there before it answers; that it answers means that all of them are in their
 * place. */
static void start_haproxy(struct world *world)
{
    uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
    pid_t parent = getpid();

    world->pid = fork();
    if (world->pid == 0) {
        become_haproxy(world, parent);
    }
    assert_true(world->pid > 0);
    while (!tell(world, "show info") && clock_now_ms() < until_ms) {
        usleep(2000);
    }
    assert_true(tell(world, "show info"));
}

static void stop_haproxy(struct world *world)
{
    if (world->pid > 0) {
        kill(world->pid, SIGKILL);
        waitpid(world->pid, NULL, 0);
        world->pid = 0;
    }
}

static void set_route(struct haproxy_route *route, const char *backend, const char *east,
                      const char *west)
{
    *route = (struct haproxy_route){.servers_len = SITES, .open = HAPROXY_OPEN_NONE};
    snprintf(route->backend, sizeof route->backend, "%s", backend);
    snprintf(route->servers[EAST], NAME_SIZE, "%s", east);
    snprintf(route->servers[WEST], NAME_SIZE, "%s", west);
}

static int setup_world(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    snprintf(world->dir, sizeof world->dir, "/tmp/failover-hap.XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world->loop = loop_new();
    world->allowed = true;
    snprintf(world->def.name, sizeof world->def.name, "front1");
    snprintf(world->def.runtime, sizeof world->def.runtime, "%s/runtime", world->dir);
    set_route(&world->routes[0], "payments_db", "pay-east", "pay-west");
    set_route(&world->routes[1], "payment_http", "east", "west");
    for (int i = 0; i < SITES; i++) {
        world->servers[i] = listen_on_loopback(&world->server_ports[i]);
    }
    *state = world;
    return 0;
}

static int setup(void **state)
{
    struct world *world;

    setup_world(state);
    world = *state;
    world->front_port = free_port();
    world->runtime_port = free_port();
    write_configuration(world);
    start_haproxy(world);
    world->proxy = haproxy_new(world->loop, &world->def);
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    char command[128];

    haproxy_free(world->proxy);
    loop_free(world->loop);
    stop_haproxy(world);
    for (int i = 0; i < SITES; i++) {
        close(world->servers[i]);
    }
    snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

/* ---- operations ---- */

static void on_done(void *arg, const struct haproxy_report *report)
{
    struct world *world = arg;

    assert_false(world->done);
    assert_false(haproxy_busy(world->proxy));
    world->report = *report;
    memcpy(world->seen, report->routes, (size_t)report->routes_len * sizeof world->seen[0]);
    world->done = true;
}

static bool may_act(void *arg)
{
    struct world *world = arg;

    world->asked_to_act++;
    return world->allowed;
}

static void wait_done(struct world *world)
{
    assert_false(world->done); /* never from inside */
    assert_true(haproxy_busy(world->proxy));
    assert_true(loop_run_until(world->loop, &world->done, 2 * PATIENCE_MS));
}

static void apply_within(struct world *world, int routes_len, uint64_t within_ms)
{
    world->done = false;
    haproxy_apply(world->proxy, world->routes, routes_len, within_ms, may_act, on_done, world);
    wait_done(world);
}

static void apply(struct world *world, int open)
{
    world->routes[0].open = open;
    world->routes[1].open = open;
    apply_within(world, 2, PATIENCE_MS);
}

static void look(struct world *world)
{
    world->done = false;
    haproxy_read(world->proxy, world->routes, 2, PATIENCE_MS, on_done, world);
    wait_done(world);
}

static void expect_all_confirmed(const struct world *world, int open)
{
    for (int i = 0; i < 2; i++) {
        if (!world->seen[i].confirmed) {
            fail_msg("route %d: %s", i, world->seen[i].err.text);
        }
        assert_int_equal(world->seen[i].open_seen, open);
        assert_int_equal(world->seen[i].sessions_elsewhere, 0);
    }
    assert_int_equal(world->report.err.code, ERR_NONE);
    assert_true(world->report.confirmed);
}

/* ---- the real one ---- */

static void the_permitted_server_is_opened_and_the_same_again_changes_nothing(void **state)
{
    struct world *world = *state;

    apply(world, EAST);
    expect_all_confirmed(world, EAST);
    assert_true(world->report.acted);
    assert_true(world->seen[0].serving);
    apply(world, EAST);
    expect_all_confirmed(world, EAST);
    assert_false(world->report.acted);
    assert_int_equal(world->asked_to_act, 1);
}

static void a_long_session_ends_when_its_side_closes(void **state)
{
    struct world *world = *state;
    int client;
    int far;

    apply(world, EAST);
    client = open_session(world, EAST, &far);
    apply(world, WEST);
    expect_all_confirmed(world, WEST);
    expect_closed(client);
    expect_closed(far);
    client = open_session(world, WEST, &far);
    close(client);
    close(far);
}

static void many_sessions_end_before_the_other_side_opens(void **state)
{
    struct world *world = *state;
    int clients[16];
    int fars[16];

    apply(world, EAST);
    for (int i = 0; i < 16; i++) {
        clients[i] = open_session(world, EAST, &fars[i]);
    }
    look(world);
    assert_int_equal(world->seen[0].sessions, 16);
    apply(world, WEST);
    expect_all_confirmed(world, WEST);
    for (int i = 0; i < 16; i++) {
        expect_closed(clients[i]);
        expect_closed(fars[i]);
    }
}

static void all_sides_can_be_closed(void **state)
{
    struct world *world = *state;
    int client;
    int far;

    apply(world, WEST);
    client = open_session(world, WEST, &far);
    apply(world, HAPROXY_OPEN_NONE);
    expect_all_confirmed(world, HAPROXY_OPEN_NONE);
    expect_closed(client);
    expect_closed(far);
}

static void a_restart_that_forgot_everything_is_mended(void **state)
{
    struct world *world = *state;

    apply(world, WEST);
    stop_haproxy(world);
    start_haproxy(world);
    look(world);
    assert_false(world->report.confirmed);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_NONE);
    assert_non_null(strstr(world->seen[0].err.text, "pay-west is closed and should be open"));
    apply(world, WEST);
    expect_all_confirmed(world, WEST);
}

static void a_side_that_somebody_opened_is_closed_again(void **state)
{
    struct world *world = *state;

    apply(world, WEST);
    assert_true(tell(world, "set server payments_db/pay-east state ready"));
    look(world);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_UNKNOWN);
    assert_false(world->seen[0].confirmed);
    assert_true(world->seen[1].confirmed);
    assert_true(tell(world, "set server payment_http/west state drain"));
    look(world);
    assert_int_equal(world->seen[1].open_seen, HAPROXY_OPEN_UNKNOWN);
    apply(world, WEST);
    expect_all_confirmed(world, WEST);
}

static void looking_changes_nothing(void **state)
{
    struct world *world = *state;

    apply(world, EAST);
    world->routes[0].open = WEST;
    look(world);
    assert_false(world->report.acted);
    assert_false(world->report.confirmed);
    assert_int_equal(world->seen[0].open_seen, EAST);
    assert_int_equal(world->seen[1].open_seen, EAST);
    look(world);
    assert_int_equal(world->seen[0].open_seen, EAST);
}

static void without_leave_nothing_is_changed(void **state)
{
    struct world *world = *state;

    world->allowed = false;
    apply(world, EAST);
    assert_int_equal(world->asked_to_act, 1);
    assert_false(world->report.acted);
    assert_false(world->report.confirmed);
    assert_int_equal(world->report.err.code, ERR_NONE);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_NONE);
}

static void an_unknown_backend_does_not_hold_the_others_up(void **state)
{
    struct world *world = *state;

    set_route(&world->routes[0], "nowhere", "a", "b");
    apply(world, EAST);
    assert_false(world->report.confirmed);
    assert_int_equal(world->report.err.code, ERR_NONE);
    assert_false(world->seen[0].confirmed);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_UNKNOWN);
    assert_non_null(strstr(world->seen[0].err.text, "nowhere: Can't find backend"));
    assert_true(world->seen[1].confirmed);
    assert_int_equal(world->seen[1].open_seen, EAST);
}

static void a_server_that_is_not_there_cannot_be_opened(void **state)
{
    struct world *world = *state;

    apply(world, EAST);
    snprintf(world->routes[0].servers[WEST], NAME_SIZE, "typo");
    apply(world, WEST);
    assert_false(world->seen[0].confirmed);
    assert_int_equal(world->seen[0].open_seen,
                     HAPROXY_OPEN_NONE); /* the old side is closed all the same */
    assert_non_null(strstr(world->seen[0].err.text, "there is no server typo"));
    assert_true(world->seen[1].confirmed);
}

static void a_stranger_in_our_backend_is_closed_and_a_tracked_server_is_no_success(void **state)
{
    struct world *world = *state;

    set_route(&world->routes[1], "strange", "pay-east", "pay-west");
    world->routes[0].open = EAST;
    world->routes[1].open = EAST;
    apply_within(world, 2, PATIENCE_MS);
    expect_all_confirmed(world, EAST);
    /* It follows payment_http/west, which stays in maintenance. */
    world->routes[1].open = WEST;
    apply_within(world, 2, PATIENCE_MS);
    assert_false(world->seen[1].confirmed);
    assert_non_null(strstr(world->seen[1].err.text, "pay-west is closed and should be open"));
    assert_true(world->seen[0].confirmed);
}

static void a_socket_without_the_right_to_change_is_reported_in_its_words(void **state)
{
    struct world *world = *state;
    struct proxy_def def = world->def;

    haproxy_free(world->proxy);
    strncat(def.runtime, ".user", sizeof def.runtime - strlen(def.runtime) - 1);
    world->proxy = haproxy_new(world->loop, &def);
    apply(world, EAST);
    assert_false(world->report.confirmed);
    assert_int_equal(world->report.err.code, ERR_NONE);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_NONE);
    assert_non_null(strstr(world->seen[0].err.text, "HAProxy says: Permission denied"));
}

static void the_runtime_api_is_reached_over_tcp_too(void **state)
{
    struct world *world = *state;
    struct proxy_def def = world->def;

    haproxy_free(world->proxy);
    snprintf(def.runtime, sizeof def.runtime, "%s:%u", own_host(), world->runtime_port);
    world->proxy = haproxy_new(world->loop, &def);
    apply(world, WEST);
    expect_all_confirmed(world, WEST);
}

static void a_proxy_that_is_gone_is_unreachable_and_mended_when_it_returns(void **state)
{
    struct world *world = *state;

    stop_haproxy(world);
    apply(world, EAST);
    assert_int_equal(world->report.err.code, ERR_UNREACHABLE);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_UNKNOWN);
    assert_false(world->report.confirmed);
    assert_non_null(strstr(world->seen[1].err.text, "front1"));
    start_haproxy(world);
    apply(world, EAST);
    expect_all_confirmed(world, EAST);
}

static void a_proxy_that_stands_still_ends_with_the_deadline(void **state)
{
    struct world *world = *state;

    apply(world, EAST);
    kill(world->pid, SIGSTOP);
    assert_int_equal(waitpid(world->pid, NULL, WUNTRACED), world->pid); /* now it stands */
    world->routes[0].open = WEST;
    apply_within(world, 2, 300);
    kill(world->pid, SIGCONT);
    assert_int_equal(world->report.err.code, ERR_TIMEOUT);
    assert_false(world->seen[1].confirmed);
    apply(world, WEST);
    expect_all_confirmed(world, WEST);
}

static void a_cancelled_operation_stays_silent_and_another_can_start(void **state)
{
    struct world *world = *state;

    haproxy_apply(world->proxy, world->routes, 2, PATIENCE_MS, may_act, on_done, world);
    haproxy_cancel(world->proxy);
    assert_false(haproxy_busy(world->proxy));
    apply(world, EAST);
    expect_all_confirmed(world, EAST);
}

/* ---- false ones ---- */

struct liar {
    int fd;
    const char *answers[8]; /* one a connection; the last one again and again */
    bool hold;              /* does not hang up */
    char heard[65536];      /* all command lines */
    pthread_t thread;
    int stop[2];
};

static void answer_one(struct liar *liar, int fd, const char *answer)
{
    size_t len = strlen(liar->heard);

    while (len < sizeof liar->heard - 1) {
        ssize_t n = read(fd, liar->heard + len, sizeof liar->heard - 1 - len);

        len += n > 0 ? (size_t)n : 0;
        if (n <= 0 || liar->heard[len - 1] == '\n') {
            break;
        }
    }
    liar->heard[len] = '\0';
    for (size_t sent = 0; sent < strlen(answer);) {
        ssize_t n = send(fd, answer + sent, strlen(answer) - sent, MSG_NOSIGNAL);

        if (n <= 0) {
            break;
        }
        sent += (size_t)n;
    }
    if (liar->hold) {
        readable(liar->stop[0], -1);
    }
    close(fd);
}

static void *lie(void *arg)
{
    struct liar *liar = arg;
    int next = 0;

    for (;;) {
        struct pollfd fds[2] = {{.fd = liar->fd, .events = POLLIN},
                                {.fd = liar->stop[0], .events = POLLIN}};
        int fd;

        poll(fds, 2, -1);
        if (fds[1].revents != 0) {
            return NULL;
        }
        fd = accept4(liar->fd, NULL, NULL, SOCK_CLOEXEC);
        answer_one(liar, fd, liar->answers[next]);
        next += liar->answers[next + 1] != NULL;
    }
}

#define STATE_HEADER "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n"
#define STAT_HEADER  "# pxname,svname,qcur,qmax,scur,smax\n"
#define EAST_OPEN                                                                                  \
    STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 0\n"                                        \
                 "3 payments_db 2 pay-west 127.0.0.1 0 1\n\n" STAT_HEADER                          \
                 "payments_db,pay-east,0,0,0,0\npayments_db,pay-west,0,0,0,0\n\n"

/* Looks at payments_db, which should be open in the east, through a liar. */
static void hear(struct world *world, struct liar *liar, bool act, uint64_t within_ms)
{
    uint16_t port;

    liar->fd = listen_on_loopback(&port);
    assert_int_equal(pipe(liar->stop), 0);
    snprintf(world->def.runtime, sizeof world->def.runtime, "%s:%u", own_host(), port);
    world->proxy = haproxy_new(world->loop, &world->def);
    world->routes[0].open = EAST;
    assert_int_equal(pthread_create(&liar->thread, NULL, lie, liar), 0);
    world->done = false;
    haproxy_apply(world->proxy, world->routes, 1, within_ms, act ? may_act : NULL, on_done, world);
    wait_done(world);
    assert_int_equal(write(liar->stop[1], "x", 1), 1);
    pthread_join(liar->thread, NULL);
    close(liar->stop[0]);
    close(liar->stop[1]);
    close(liar->fd);
    haproxy_free(world->proxy);
    world->proxy = NULL;
}

static void expect_no_belief(struct world *world, const char *answer, const char *why)
{
    struct liar liar = {.answers = {answer}};
    const struct err *err = &world->seen[0].err;

    hear(world, &liar, false, PATIENCE_MS);
    assert_false(world->seen[0].confirmed);
    assert_false(world->report.confirmed);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_UNKNOWN);
    if (err->code == ERR_NONE || strstr(err->text, why) == NULL) {
        fail_msg("expected '%s', got '%s'", why, err->text);
    }
}

static void the_false_proxy_is_believed_when_it_speaks_well(void **state)
{
    struct world *world = *state;
    struct liar liar = {.answers = {EAST_OPEN}};

    hear(world, &liar, true, PATIENCE_MS);
    assert_true(world->seen[0].confirmed);
    assert_int_equal(world->seen[0].open_seen, EAST);
    assert_string_equal(liar.heard, "show servers state payments_db;show stat -1 4 -1\n");
}

static void an_answer_cut_anywhere_confirms_nothing(void **state)
{
    struct world *world = *state;
    char cut[sizeof EAST_OPEN];

    for (size_t len = 0; len < strlen(EAST_OPEN); len += 7) {
        snprintf(cut, sizeof cut, "%.*s", (int)len, EAST_OPEN);
        expect_no_belief(world, cut, "");
    }
    snprintf(cut, sizeof cut, "%.*s", (int)strlen(EAST_OPEN) - 1, EAST_OPEN);
    expect_no_belief(world, cut, "cut or of an unknown form");
}

static void answers_that_no_haproxy_gives_confirm_nothing(void **state)
{
    struct world *world = *state;

    expect_no_belief(world, "", "cut or of an unknown form after 0 bytes");
    expect_no_belief(world, "\n\n", "no answer to `show servers state`");
    expect_no_belief(world, "HTTP/1.0 400 Bad request\n\nx\n\n", "HTTP/1.0 400 Bad request");
    expect_no_belief(world, "2\n# be_name\n\nx\n\n", "payments_db: 2");
    expect_no_belief(world, "1\nno header\n\nx\n\n", "no header");
    expect_no_belief(world, "1\n# be_id be_name srv_name\n\nx\n\n", "no column 'srv_op_state'");
    expect_no_belief(world, STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2\n\nx\n\n",
                     "a row of its table is cut");
    expect_no_belief(world, STATE_HEADER "3 orders_db 1 pay-east 127.0.0.1 2 0\n\nx\n\n",
                     "about the backend 'orders_db'");
    expect_no_belief(world, STATE_HEADER "3 payments_db 1 a;b 127.0.0.1 2 0\n\nx\n\n",
                     "the server's name 'a;b'");
    expect_no_belief(world, STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 -1\n\nx\n\n",
                     "is no number");
    expect_no_belief(world,
                     STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 99999999999\n\nx\n\n",
                     "is no number");
    expect_no_belief(world,
                     STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 0\n"
                                  "3 payments_db 1 pay-east 127.0.0.1 2 0\n\nx\n\n",
                     "twice");
    expect_no_belief(world,
                     STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 0\n\n" STAT_HEADER "\n",
                     "not in its statistics");
    expect_no_belief(world,
                     STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 0\n\n" STAT_HEADER
                                  "payments_db,pay-east,0,0,,0\n\n",
                     "is unclear");
    expect_no_belief(world,
                     STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 0\n\n" STAT_HEADER
                                  "payments_db,x,0,0,0,0\n\n",
                     "but not in its state");
    expect_no_belief(world, STATE_HEADER "\n# svname,pxname\n\n", "no column 'scur'");
    expect_no_belief(world, "1\n\033[2J\n\n\n\n", "no header");
}

static void too_many_servers_confirm_nothing(void **state)
{
    struct world *world = *state;
    static char answer[64 * 1024];
    size_t len = (size_t)snprintf(answer, sizeof answer, STATE_HEADER);

    for (int i = 0; i < HAPROXY_SERVERS_MAX + 1; i++) {
        len += (size_t)snprintf(answer + len, sizeof answer - len,
                                "3 payments_db %d s%d 127.0.0.1 2 0\n", i, i);
    }
    snprintf(answer + len, sizeof answer - len, "\nx\n\n");
    expect_no_belief(world, answer, "more than 32 servers");
}

static void an_endless_answer_is_cut_off(void **state)
{
    struct world *world = *state;
    size_t size = 4u << 20;
    char *answer = malloc(size);

    assert_non_null(answer);
    memset(answer, 'x', size - 1);
    answer[size - 1] = '\0';
    expect_no_belief(world, answer, "longer than");
    free(answer);
}

static void a_whole_answer_without_its_end_is_waited_for_in_vain(void **state)
{
    struct world *world = *state;
    struct liar liar = {.answers = {EAST_OPEN}, .hold = true};

    hear(world, &liar, false, 300);
    assert_int_equal(world->report.err.code, ERR_TIMEOUT);
    assert_false(world->seen[0].confirmed);
}

#define WEST_OPEN                                                                                  \
    STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 0 1\n"                                        \
                 "3 payments_db 2 pay-west 127.0.0.1 2 0\n\n" STAT_HEADER                          \
                 "payments_db,pay-east,0,0,0,0\npayments_db,pay-west,0,0,7,0\n\n"
#define ALL_CLOSED_WITH_SESSIONS                                                                   \
    STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 0 1\n"                                        \
                 "3 payments_db 2 pay-west 127.0.0.1 0 1\n\n" STAT_HEADER                          \
                 "payments_db,pay-east,0,0,0,0\npayments_db,pay-west,0,0,7,0\n\n"

#define EAST_OPEN_WEST_SESSIONS                                                                    \
    STATE_HEADER "3 payments_db 1 pay-east 127.0.0.1 2 0\n"                                        \
                 "3 payments_db 2 pay-west 127.0.0.1 0 1\n\n" STAT_HEADER                          \
                 "payments_db,pay-east,0,0,0,0\npayments_db,pay-west,0,0,7,0\n\n"

static void commands_that_are_accepted_without_effect_are_no_success(void **state)
{
    struct world *world = *state;
    struct liar liar = {.answers = {WEST_OPEN, "\n\n" WEST_OPEN}};

    hear(world, &liar, true, PATIENCE_MS);
    assert_int_equal(world->report.err.code, ERR_NONE);
    assert_false(world->seen[0].confirmed);
    assert_int_equal(world->seen[0].open_seen, WEST);
    assert_int_equal(world->seen[0].sessions_elsewhere, 7);
    assert_non_null(strstr(world->seen[0].err.text, "pay-west is open and should be closed"));
}

/* Their host went silent: they are asked to end several times, and then left behind, and said. */
static void sessions_that_never_end_delay_the_other_side_but_do_not_keep_it_closed(void **state)
{
    struct world *world = *state;
    static const char again[] = "\n" ALL_CLOSED_WITH_SESSIONS;
    struct liar liar = {.answers = {WEST_OPEN, "\n\n" ALL_CLOSED_WITH_SESSIONS, again, again,
                                    "\n\n" EAST_OPEN_WEST_SESSIONS}};
    static const char shut[] = "shutdown sessions server payments_db/pay-west;";
    int asked = 0;

    hear(world, &liar, true, PATIENCE_MS);
    const char *ready = strstr(liar.heard, "set server payments_db/pay-east state ready");
    assert_non_null(ready);
    for (const char *at = liar.heard; (at = strstr(at, shut)) != NULL && at < ready; at++) {
        asked++;
    }
    assert_true(asked >= 4);
    assert_true(world->seen[0].confirmed);
    assert_int_equal(world->seen[0].open_seen, EAST);
    assert_int_equal(world->seen[0].sessions_elsewhere, 7);
    assert_non_null(strstr(world->seen[0].err.text, "7 sessions to closed servers do not end"));
}

static void an_unexpected_word_delays_the_belief_until_it_is_read_again(void **state)
{
    struct world *world = *state;
    struct liar liar = {.answers = {WEST_OPEN, "[3]: hm\n\n\n" EAST_OPEN, EAST_OPEN}};

    hear(world, &liar, true, PATIENCE_MS);
    assert_true(world->seen[0].confirmed);
    assert_int_equal(world->asked_to_act, 1);
}

static void a_round_that_breaks_after_a_change_leaves_the_route_unknown(void **state)
{
    struct world *world = *state;
    struct liar liar = {.answers = {WEST_OPEN, "\n"}};

    hear(world, &liar, true, PATIENCE_MS);
    assert_int_equal(world->report.err.code, ERR_UNREACHABLE);
    assert_true(world->report.acted);
    assert_int_equal(world->seen[0].open_seen, HAPROXY_OPEN_UNKNOWN);
}

static void an_address_of_no_known_form_is_refused(void **state)
{
    struct world *world = *state;
    static const char *const runtimes[] = {
        "", "localhost", "example.invalid:99", "127.0.0.1:", "[::1]", ":9999", "127.0.0.1:http"};

    for (size_t i = 0; i < sizeof runtimes / sizeof runtimes[0]; i++) {
        snprintf(world->def.runtime, sizeof world->def.runtime, "%s", runtimes[i]);
        world->proxy = haproxy_new(world->loop, &world->def);
        look(world);
        if (world->report.err.code == ERR_NONE) {
            fail_msg("'%s' was taken", runtimes[i]);
        }
        haproxy_free(world->proxy);
        world->proxy = NULL;
    }
}

int main(void)
{
#define REAL(name)  cmocka_unit_test_setup_teardown(name, setup, teardown)
#define LYING(name) cmocka_unit_test_setup_teardown(name, setup_world, teardown)
    const struct CMUnitTest tests[] = {
        REAL(the_permitted_server_is_opened_and_the_same_again_changes_nothing),
        REAL(a_long_session_ends_when_its_side_closes),
        REAL(many_sessions_end_before_the_other_side_opens),
        REAL(all_sides_can_be_closed),
        REAL(a_restart_that_forgot_everything_is_mended),
        REAL(a_side_that_somebody_opened_is_closed_again),
        REAL(looking_changes_nothing),
        REAL(without_leave_nothing_is_changed),
        REAL(an_unknown_backend_does_not_hold_the_others_up),
        REAL(a_server_that_is_not_there_cannot_be_opened),
        REAL(a_stranger_in_our_backend_is_closed_and_a_tracked_server_is_no_success),
        REAL(a_socket_without_the_right_to_change_is_reported_in_its_words),
        REAL(the_runtime_api_is_reached_over_tcp_too),
        REAL(a_proxy_that_is_gone_is_unreachable_and_mended_when_it_returns),
        REAL(a_proxy_that_stands_still_ends_with_the_deadline),
        REAL(a_cancelled_operation_stays_silent_and_another_can_start),
        LYING(the_false_proxy_is_believed_when_it_speaks_well),
        LYING(an_answer_cut_anywhere_confirms_nothing),
        LYING(answers_that_no_haproxy_gives_confirm_nothing),
        LYING(too_many_servers_confirm_nothing),
        LYING(an_endless_answer_is_cut_off),
        LYING(a_whole_answer_without_its_end_is_waited_for_in_vain),
        LYING(commands_that_are_accepted_without_effect_are_no_success),
        LYING(sessions_that_never_end_delay_the_other_side_but_do_not_keep_it_closed),
        LYING(an_unexpected_word_delays_the_belief_until_it_is_read_again),
        LYING(a_round_that_breaks_after_a_change_leaves_the_route_unknown),
        LYING(an_address_of_no_known_form_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
