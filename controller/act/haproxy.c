/*
 * haproxy.c - rounds of "change what differs, then read everything", each in one connection.
 *
 * Happy path with nothing to do: one round that only reads. With a move: read; close and read; open
 * and read. A round is one command line: first the changes, each route's in order, then `show
 * servers state` for each route and one `show stat`. HAProxy answers in that order and closes the
 * connection.
 *
 * What can go wrong, and what happens:
 * - no connection, a cut answer, garbage, silence: the operation ends with an error; what it had
 * sent is unknown;
 * - a changing command is answered with a text: that round confirms nothing for its route; the next
 * one looks again;
 * - the backend or the server to open is not there: that route is not confirmed; the others go on;
 * - sessions do not end (their data waits for a host that does not answer, until HAProxy's own
 * timeouts): they are shut again, with pauses, LINGER_ROUNDS times; then the closed server counts
 * as closed, the route goes on, and what is left is said. They lead to a server that was fenced
 * before anything is opened (design §7), so they can do nothing but wait;
 * - a state that does not take (a tracked server, a second controller): tried STUCK_ROUNDS times,
 * then reported, so that one bad route does not hold the others' news until the deadline.
 */
#include "controller/act/haproxy.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/act/haproxy_answer.h"
#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"

#define COMMANDS_SIZE                                                                              \
    15000                    /* HAProxy takes a line up to tune.bufsize (16 KiB) less its reserve  \
                              */
#define CHANGES_SIZE   10000 /* of it; what does not fit waits for the next round */
#define ANSWER_MAX     (1u << 20)
#define ANSWER_FIRST   65536
#define READ_SIZE      16384
#define STUCK_ROUNDS   6
#define LINGER_ROUNDS  2 /* the clients of the route wait meanwhile; fewer than STUCK_ROUNDS */
#define PAUSE_FIRST_MS 10
#define PAUSE_MAX_MS   500

struct target { /* a route, and how far we are with it */
    struct haproxy_route want;
    struct haproxy_seen seen;
    struct haproxy_backend backend; /* as last read */
    bool known;                     /* backend was read in the last round */
    int changes;                    /* commands sent in this round */
    int lingering;        /* rounds in which nothing but sessions was left of the old side */
    int rounds_changed;   /* rounds in a row with changes of one kind */
    bool opening;         /* that kind: opening, or still closing */
    struct err complaint; /* HAProxy's answer to one of them */
};

struct haproxy {
    struct loop *loop;
    char name[NAME_SIZE];
    char runtime[112];

    bool busy;
    struct target targets[ROUTES_MAX];
    int targets_len;
    haproxy_may_act_fn may_act;
    haproxy_done_fn done;
    void *arg;
    uint64_t started_ms;
    uint64_t pause_ms;
    uint32_t rounds;
    bool acted;
    struct timer *deadline;
    struct timer *wake; /* the next round */

    int fd;
    struct fd_watch *watch;
    char commands[COMMANDS_SIZE];
    size_t commands_len;
    size_t commands_sent;
    char *answer;
    size_t answer_len;
    size_t answer_size;
};

static void hang_up(struct haproxy *proxy)
{
    fd_watch_free(proxy->watch);
    proxy->watch = NULL;
    if (proxy->fd >= 0) {
        close(proxy->fd);
        proxy->fd = -1;
    }
}

/* ---- endings ---- */

static void stop(struct haproxy *proxy)
{
    hang_up(proxy);
    timer_stop(proxy->deadline);
    timer_stop(proxy->wake);
    free(proxy->answer);
    proxy->answer = NULL;
    proxy->answer_len = 0;
    proxy->answer_size = 0;
    proxy->busy = false;
}

static void finish(struct haproxy *proxy, const struct err *err)
{
    struct haproxy_seen seen[ROUTES_MAX];
    struct haproxy_report report = {
        .confirmed = true,
        .acted = proxy->acted,
        .routes = seen,
        .routes_len = proxy->targets_len,
        .took_ms = clock_now_ms() - proxy->started_ms,
    };
    haproxy_done_fn done = proxy->done;
    void *arg = proxy->arg;

    for (int i = 0; i < proxy->targets_len; i++) {
        seen[i] = proxy->targets[i].seen;
        report.confirmed = report.confirmed && seen[i].confirmed;
    }
    if (err != NULL) {
        report.err = *err;
        report.confirmed = false;
    }
    stop(proxy);
    done(arg, &report); /* may start the next operation, or free the proxy */
}

/* The round did not come to its end: of a route that it changed, or that was never read, nothing is
 * known. */
static void fail(struct haproxy *proxy, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct haproxy *proxy, enum err_code code, const char *format, ...)
{
    struct err err;
    char text[ERR_TEXT_MAX];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(&err, code, "proxy %s (%s): %.300s", proxy->name, proxy->runtime, text);
    for (int i = 0; i < proxy->targets_len; i++) {
        struct target *target = &proxy->targets[i];

        if (target->known && target->changes == 0) {
            continue;
        }
        target->seen = (struct haproxy_seen){.open_seen = HAPROXY_OPEN_UNKNOWN, .err = err};
    }
    finish(proxy, &err);
}

static void on_deadline(void *arg)
{
    struct haproxy *proxy = arg;

    if (proxy->fd < 0 && proxy->rounds > 0) { /* between two rounds: what was seen is complete */
        finish(proxy, NULL);
        return;
    }
    fail(proxy, ERR_TIMEOUT, "no complete answer after %llu ms",
         (unsigned long long)(clock_now_ms() - proxy->started_ms));
}

/* ---- what is so, and what is to be done ---- */

static const struct haproxy_server *find(const struct target *target, int index)
{
    if (index < 0) {
        return NULL;
    }
    for (int i = 0; i < target->backend.servers_len; i++) {
        if (strcmp(target->backend.servers[i].name, target->want.servers[index]) == 0) {
            return &target->backend.servers[i];
        }
    }
    return NULL;
}

static int index_of(const struct target *target, const struct haproxy_server *server)
{
    for (int i = 0; i < target->want.servers_len; i++) {
        if (strcmp(server->name, target->want.servers[i]) == 0) {
            return i;
        }
    }
    return HAPROXY_OPEN_UNKNOWN; /* not ours, but in our backend */
}

static void complain(struct target *target, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first complaint about a route stays. */
static void complain(struct target *target, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    if (target->seen.err.code != ERR_NONE) {
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(&target->seen.err, ERR_REFUSED, "%s: %.400s", target->want.backend, text);
}

static void look_at_others(struct target *target, const struct haproxy_server *wanted)
{
    struct haproxy_seen *seen = &target->seen;

    for (int i = 0; i < target->backend.servers_len; i++) {
        const struct haproxy_server *server = &target->backend.servers[i];

        if (!haproxy_server_closed(server)) {
            bool first = seen->open_seen == HAPROXY_OPEN_NONE && haproxy_server_open(server);

            seen->open_seen = first ? index_of(target, server) : HAPROXY_OPEN_UNKNOWN;
        }
        if (server == wanted) {
            continue;
        }
        seen->sessions_elsewhere += server->sessions;
        if (!haproxy_server_closed(server)) {
            complain(target, "server %s is open and should be closed", server->name);
        } else if (server->sessions > 0 && target->lingering < LINGER_ROUNDS) {
            complain(target, "%u sessions are left on server %s", server->sessions, server->name);
        }
    }
}

/* From the last read to what is seen of the route. */
static void look(struct target *target)
{
    const struct haproxy_server *wanted = find(target, target->want.open);
    struct haproxy_seen *seen = &target->seen;

    *seen = (struct haproxy_seen){.open_seen = HAPROXY_OPEN_NONE};
    look_at_others(target, wanted);
    if (wanted != NULL) {
        seen->sessions = wanted->sessions;
        seen->serving = haproxy_server_open(wanted) && wanted->op != 0;
        if (!haproxy_server_open(wanted)) {
            complain(target, "server %s is closed and should be open (srv_admin_state %u)",
                     wanted->name, wanted->admin);
        }
    } else if (target->want.open >= 0) {
        complain(target, "there is no server %s, which should be open",
                 target->want.servers[target->want.open]);
    }
    if (target->complaint.code != ERR_NONE) { /* HAProxy's own words are worth more */
        seen->err = target->complaint;
    }
    seen->confirmed = seen->err.code == ERR_NONE;
    if (seen->sessions_elsewhere > 0) {
        complain(target, "%u sessions to closed servers do not end", seen->sessions_elsewhere);
    }
    for (int i = 0; i < target->want.servers_len; i++) {
        if (find(target, i) == NULL) {
            complain(target, "there is no server %s", target->want.servers[i]);
        }
    }
}

/* ---- commands ---- */

static bool put(struct haproxy *proxy, size_t limit, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool put(struct haproxy *proxy, size_t limit, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len =
        vsnprintf(proxy->commands + proxy->commands_len, limit - proxy->commands_len, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= limit - proxy->commands_len) {
        return false;
    }
    proxy->commands_len += (size_t)len;
    return true;
}

static bool put_change(struct haproxy *proxy, struct target *target, const char *format,
                       const char *server)
{
    char command[256];

    snprintf(command, sizeof command, format, target->want.backend, server);
    if (!put(proxy, CHANGES_SIZE, "%s;", command)) {
        return false;
    }
    target->changes++;
    return true;
}

/* Returns false when the line is full; the next round goes on. */
static bool put_closing(struct haproxy *proxy, struct target *target,
                        const struct haproxy_server *server)
{
    if (!haproxy_server_closed(server) &&
        !put_change(proxy, target, "set server %s/%s state maint", server->name)) {
        return false;
    }
    return put_change(proxy, target, "shutdown sessions server %s/%s", server->name);
}

static void put_changes(struct haproxy *proxy, struct target *target)
{
    const struct haproxy_server *wanted = find(target, target->want.open);
    bool closing = false;
    bool only_sessions = true;

    for (int i = 0; i < target->backend.servers_len; i++) {
        const struct haproxy_server *server = &target->backend.servers[i];

        if (server == wanted || (haproxy_server_closed(server) && server->sessions == 0)) {
            continue;
        }
        only_sessions = only_sessions && haproxy_server_closed(server);
        closing = closing || !haproxy_server_closed(server) || target->lingering < LINGER_ROUNDS;
        if (!put_closing(proxy, target, server)) {
            return;
        }
    }
    target->lingering = closing && only_sessions ? target->lingering + 1 : target->lingering;
    /* Never the new one before the old ones: this is the order that keeps traffic on one side (H2).
     */
    if (!closing && wanted != NULL && !haproxy_server_open(wanted)) {
        put_change(proxy, target, "set server %s/%s state ready", wanted->name);
    }
    if (target->opening == closing) {
        target->rounds_changed = 0;
        target->opening = !closing;
    }
}

static bool put_all_changes(struct haproxy *proxy)
{
    bool any = false;

    for (int i = 0; i < proxy->targets_len; i++) {
        struct target *target = &proxy->targets[i];

        target->changes = 0;
        if (target->known && target->rounds_changed < STUCK_ROUNDS) {
            put_changes(proxy, target);
        }
        any = any || target->changes > 0;
    }
    return any;
}

static void put_reads(struct haproxy *proxy)
{
    bool fits = true;

    for (int i = 0; i < proxy->targets_len; i++) {
        const char *backend = proxy->targets[i].want.backend;

        fits = fits && put(proxy, sizeof proxy->commands, "show servers state %s;", backend);
    }
    /* Of all servers at once: by a name it would answer about a frontend that is named alike. */
    fits = fits && put(proxy, sizeof proxy->commands, "show stat -1 4 -1\n");
    static_assert(ROUTES_MAX * (40 + 2 * NAME_SIZE) < COMMANDS_SIZE - CHANGES_SIZE,
                  "the reads of all routes fit");
    assert(fits);
}

/* ---- answers ---- */

/* Returns -1 when an answer is missing. */
static int take_change_answers(struct target *target, const char **text, size_t *len)
{
    target->complaint.code = ERR_NONE;
    for (int i = 0; i < target->changes; i++) {
        const char *answer;
        size_t answer_len;

        if (!haproxy_next_answer(text, len, &answer, &answer_len)) {
            return -1;
        }
        if (answer_len > 0 && target->complaint.code == ERR_NONE) {
            int shown = (int)strcspn(answer, "\n");

            err_set(&target->complaint, ERR_REFUSED, "%s: HAProxy says: %.*s", target->want.backend,
                    shown < 200 ? shown : 200, answer);
        }
    }
    return 0;
}

struct answer {
    const char *text;
    size_t len;
};

static void read_target(struct target *target, struct answer state, struct answer stat)
{
    const char *backend = target->want.backend;
    struct err err;

    target->known =
        haproxy_read_state(state.text, state.len, backend, &target->backend, &err) == 0 &&
        haproxy_read_stat(stat.text, stat.len, backend, &target->backend, &err) == 0;
    if (target->known) {
        look(target);
    } else {
        err_prefix(&err, "%s", backend);
        target->seen = (struct haproxy_seen){.open_seen = HAPROXY_OPEN_UNKNOWN, .err = err};
    }
}

/* The states of all routes, then the sessions of all servers; -1 when an answer is missing. */
static int take_read_answers(struct haproxy *proxy, const char *text, size_t len)
{
    struct answer states[ROUTES_MAX];
    struct answer stat;

    for (int i = 0; i < proxy->targets_len; i++) {
        if (!haproxy_next_answer(&text, &len, &states[i].text, &states[i].len)) {
            return -1;
        }
    }
    if (!haproxy_next_answer(&text, &len, &stat.text, &stat.len)) {
        return -1;
    }
    for (int i = 0; i < proxy->targets_len; i++) {
        read_target(&proxy->targets[i], states[i], stat);
    }
    return 0;
}

static void next_round(struct haproxy *proxy);

/* All is read: is there more to be done? */
static void round_ended(struct haproxy *proxy)
{
    const char *text = proxy->answer;
    size_t len = proxy->answer_len;
    int missing = 0;
    bool again = false;

    hang_up(proxy);
    for (int i = 0; i < proxy->targets_len && missing == 0; i++) {
        missing = take_change_answers(&proxy->targets[i], &text, &len);
    }
    if (missing != 0 || take_read_answers(proxy, text, len) != 0) {
        /* Until it is read, a route that was changed is unknown. */
        for (int i = 0; i < proxy->targets_len; i++) {
            proxy->targets[i].known = false;
        }
        fail(proxy, ERR_UNREACHABLE, "its answer is cut or of an unknown form after %zu bytes",
             proxy->answer_len);
        return;
    }
    for (int i = 0; i < proxy->targets_len; i++) {
        struct target *target = &proxy->targets[i];

        target->rounds_changed += target->changes > 0;
        target->changes = 0;
        again =
            again ||
            (target->known && !target->seen.confirmed && target->rounds_changed < STUCK_ROUNDS &&
             (target->want.open < 0 || find(target, target->want.open) != NULL ||
              target->seen.open_seen != HAPROXY_OPEN_NONE || target->seen.sessions_elsewhere > 0));
    }
    if (again && proxy->may_act != NULL) {
        next_round(proxy);
    } else {
        finish(proxy, NULL);
    }
}

/* ---- the connection ---- */

static int parse_runtime(const char *runtime, struct sockaddr_storage *ret_address,
                         socklen_t *ret_len, struct err *ret_err)
{
    struct sockaddr_un *local = (struct sockaddr_un *)ret_address;
    const char *colon = strrchr(runtime, ':');
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char host[112];
    size_t host_len;

    if (runtime[0] == '/') {
        if (strlen(runtime) >= sizeof local->sun_path) {
            return err_set(ret_err, ERR_INVALID, "the socket's path is longer than %zu bytes",
                           sizeof local->sun_path - 1);
        }
        *local = (struct sockaddr_un){.sun_family = AF_UNIX};
        memcpy(local->sun_path, runtime, strlen(runtime));
        *ret_len = sizeof *local;
        return 0;
    }
    host_len = colon == NULL ? 0 : (size_t)(colon - runtime);
    if (host_len > 2 && runtime[0] == '[' && runtime[host_len - 1] == ']') {
        runtime++;
        host_len -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)host_len, runtime);
    if (host_len == 0 || getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        return err_set(ret_err, ERR_INVALID,
                       "not address:port, [v6 address]:port or the path of a socket");
    }
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static bool grow_answer(struct haproxy *proxy)
{
    if (proxy->answer_size - proxy->answer_len >= READ_SIZE) {
        return true;
    }
    if (proxy->answer_len >= ANSWER_MAX) {
        return false;
    }
    proxy->answer_size = proxy->answer_size == 0 ? ANSWER_FIRST : 2 * proxy->answer_size;
    proxy->answer = realloc(proxy->answer, proxy->answer_size);
    assert(proxy->answer != NULL);
    return true;
}

/* Returns true when the whole line was sent. False: not yet, or the operation has ended. */
static bool send_more(struct haproxy *proxy)
{
    ssize_t n = send(proxy->fd, proxy->commands + proxy->commands_sent,
                     proxy->commands_len - proxy->commands_sent, MSG_NOSIGNAL);

    if (n < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) {
        return false;
    }
    if (n < 0) {
        fail(proxy, ERR_UNREACHABLE, "%s", strerror(errno));
        return false;
    }
    proxy->commands_sent += (size_t)n;
    if (proxy->commands_sent < proxy->commands_len) {
        return false;
    }
    fd_watch_want(proxy->watch, FD_READABLE);
    return true;
}

static void receive(struct haproxy *proxy)
{
    for (;;) {
        ssize_t n;

        if (!grow_answer(proxy)) {
            fail(proxy, ERR_LIMIT, "its answer is longer than %u bytes", ANSWER_MAX);
            return;
        }
        n = recv(proxy->fd, proxy->answer + proxy->answer_len, READ_SIZE, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n < 0) {
            fail(proxy, ERR_UNREACHABLE, "%s", strerror(errno));
            return;
        }
        if (n == 0) {
            round_ended(proxy);
            return;
        }
        proxy->answer_len += (size_t)n;
    }
}

static void on_ready(void *arg, int ready)
{
    struct haproxy *proxy = arg;

    (void)ready; /* the calls below meet an error themselves */
    if (proxy->commands_sent < proxy->commands_len && !send_more(proxy)) {
        return;
    }
    receive(proxy);
}

static void dial(struct haproxy *proxy)
{
    struct sockaddr_storage address = {0};
    socklen_t address_len = 0;
    struct err err = {0};
    int one = 1;

    if (parse_runtime(proxy->runtime, &address, &address_len, &err) < 0) {
        fail(proxy, err.code, "%s", err.text);
        return;
    }
    proxy->fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (proxy->fd < 0) {
        fail(proxy, ERR_SYSTEM, "no socket: %s", strerror(errno));
        return;
    }
    if (address.ss_family != AF_UNIX) {
        setsockopt(proxy->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    if (connect(proxy->fd, (struct sockaddr *)&address, address_len) < 0 && errno != EINPROGRESS) {
        fail(proxy, ERR_UNREACHABLE, "%s", strerror(errno));
        return;
    }
    proxy->watch = fd_watch_new(proxy->loop, proxy->fd, on_ready, proxy);
    fd_watch_want(proxy->watch, FD_READABLE | FD_WRITABLE);
}

/* ---- rounds ---- */

static void run_round(void *arg)
{
    struct haproxy *proxy = arg;
    bool changes;

    proxy->rounds++;
    proxy->commands_len = 0;
    proxy->commands_sent = 0;
    proxy->answer_len = 0;
    changes = proxy->may_act != NULL && put_all_changes(proxy);
    /* The leader's deadline is looked at right before what can hurt (design §5). */
    if (changes && !proxy->may_act(proxy->arg)) {
        finish(proxy, NULL);
        return;
    }
    proxy->acted = proxy->acted || changes;
    put_reads(proxy);
    dial(proxy);
}

static void next_round(struct haproxy *proxy)
{
    bool repeated = proxy->rounds >= 3; /* read, close, open: no round of a smooth move waits */

    for (int i = 0; i < proxy->targets_len; i++) {
        repeated = repeated || proxy->targets[i].rounds_changed > 1;
    }
    if (!repeated) {
        timer_start(proxy->wake, 0);
        return;
    }
    timer_start(proxy->wake, proxy->pause_ms);
    proxy->pause_ms = 2 * proxy->pause_ms < PAUSE_MAX_MS ? 2 * proxy->pause_ms : PAUSE_MAX_MS;
}

/* ---- the door ---- */

struct haproxy *haproxy_new(struct loop *loop, const struct proxy_def *def)
{
    struct haproxy *proxy = calloc(1, sizeof *proxy);

    assert(proxy != NULL);
    proxy->loop = loop;
    proxy->fd = -1;
    snprintf(proxy->name, sizeof proxy->name, "%s", def->name);
    snprintf(proxy->runtime, sizeof proxy->runtime, "%s", def->runtime);
    proxy->deadline = timer_new(loop, on_deadline, proxy);
    proxy->wake = timer_new(loop, run_round, proxy);
    return proxy;
}

void haproxy_free(struct haproxy *proxy)
{
    if (proxy == NULL) {
        return;
    }
    stop(proxy);
    timer_free(proxy->deadline);
    timer_free(proxy->wake);
    free(proxy);
}

bool haproxy_busy(const struct haproxy *proxy)
{
    return proxy->busy;
}

void haproxy_cancel(struct haproxy *proxy)
{
    stop(proxy);
}

void haproxy_apply(struct haproxy *proxy, const struct haproxy_route routes[], int routes_len,
                   uint64_t within_ms, haproxy_may_act_fn may_act, haproxy_done_fn done, void *arg)
{
    assert(!proxy->busy);
    assert(routes_len >= 0 && routes_len <= ROUTES_MAX);
    assert(done != NULL);
    for (int i = 0; i < routes_len; i++) {
        const struct haproxy_route *route = &routes[i];

        /* What goes into a command was checked when the definition was read. */
        assert(haproxy_name_ok(route->backend, strlen(route->backend)));
        assert(route->servers_len >= 0 && route->servers_len <= INSTANCES_MAX);
        assert(route->open >= HAPROXY_OPEN_NONE && route->open < route->servers_len);
        proxy->targets[i] = (struct target){
            .want = *route,
            .seen = {.open_seen = HAPROXY_OPEN_UNKNOWN},
        };
    }
    proxy->targets_len = routes_len;
    proxy->may_act = may_act;
    proxy->done = done;
    proxy->arg = arg;
    proxy->started_ms = clock_now_ms();
    proxy->pause_ms = PAUSE_FIRST_MS;
    proxy->rounds = 0;
    proxy->acted = false;
    proxy->busy = true;
    timer_start(proxy->deadline, within_ms);
    timer_start(proxy->wake, 0);
}

void haproxy_read(struct haproxy *proxy, const struct haproxy_route routes[], int routes_len,
                  uint64_t within_ms, haproxy_done_fn done, void *arg)
{
    haproxy_apply(proxy, routes, routes_len, within_ms, NULL, done, arg);
}
