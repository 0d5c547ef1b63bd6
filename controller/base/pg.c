/*
 * The happy path: PQconnectStart, PQconnectPoll as the socket becomes ready, `opened`; then for
 * each statement PQsendQuery, PQflush, PQconsumeInput, PQgetResult until NULL, `done`.
 *
 * What can go wrong: no memory or a target that libpq does not accept (told from the loop, by the
 * timer at once); nobody listens; silence until the deadline; a FATAL from the server while
 * opening; an error of the statement; the connection's end in the middle of a statement, or while
 * idle. All pass through finish() or lose().
 */
#include "controller/base/pg.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"

#define RESULTS_MAX 16 /* statements of one batch; a longer batch is a mistake of its author */

/*
 * An idle connection whose peer has vanished is found by keepalives within about 2 + 3 * 1 s,
 * unacknowledged data by TCP_USER_TIMEOUT within 5 s. Operations have their own, shorter deadlines.
 */
#define KEEPALIVE_IDLE_S     "2"
#define KEEPALIVE_INTERVAL_S "1"
#define KEEPALIVE_COUNT      "3"
#define USER_TIMEOUT_MS      "5000"

enum session_state { OPENING, IDLE, BUSY, DEAD };

struct pg_session {
    struct loop *loop;
    PGconn *conn;
    struct fd_watch *watch;
    struct timer *timer; /* the deadline of what runs; at once: to tell a failure from the loop */
    enum session_state state;
    bool told_late; /* libpq failed inside our caller's call: `reply` is ready, the timer will
                       deliver it */
    uint64_t began_ms;
    uint64_t deadline_ms;
    int wanted; /* readiness that PQconnectPoll waits for */
    pg_reply_fn done;
    void *done_arg;
    pg_lost_fn on_lost;
    void *lost_arg;
    struct pg_reply reply;
    PGresult *results[RESULTS_MAX];
    const struct pg_statement *prepared[PG_STATEMENTS_MAX]; /* the server has them */
    int prepared_len;
    /* A pipeline's parts whose results are still to come: a statement that is being prepared, or
     * NULL for a call. */
    bool pipeline;
    const struct pg_statement *parts[2 * PG_STATEMENTS_MAX];
    int parts_len, parts_at;
    char last_words[ERR_TEXT_MAX]; /* what the server said while nobody asked: why it closes */
};

/* One line: runs of white space become one blank, none at the end. */
static void set_line(char ret_text[ERR_TEXT_MAX], const char *text)
{
    size_t len = 0;
    for (; *text != '\0' && len < ERR_TEXT_MAX - 1; text++) {
        if (!isspace((unsigned char)*text)) {
            ret_text[len++] = *text;
        } else if (len > 0 && ret_text[len - 1] != ' ') {
            ret_text[len++] = ' ';
        }
    }
    while (len > 0 && ret_text[len - 1] == ' ') {
        len--;
    }
    ret_text[len] = '\0';
}

static void notice(void *arg, const PGresult *result)
{
    struct pg_session *session = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (severity == NULL || primary == NULL) {
        return;
    }
    if (session->state == BUSY && strcmp(severity, "WARNING") == 0) {
        set_line(session->reply.warning, primary);
    } else if (session->state == IDLE && strcmp(severity, "FATAL") == 0) {
        set_line(session->last_words, primary);
    }
}

/*
 * libpq 15 has no call for the SQLSTATE of a failed connection, but with PQERRORS_VERBOSE it writes
 * the server's message as "SEVERITY:  SQLSTATE: text", whatever the language, in a line that says
 * to whom it spoke. The last such line counts: an attempt with TLS may have been followed by one
 * without.
 */
static const char *find_sqlstate(const char *message, char ret_sqlstate[6])
{
    const char *found = NULL;
    for (const char *line = message; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        const char *code = strstr(line, ":  ");
        if (strncmp(line, "connection to server", 20) != 0 || code == NULL) {
            continue;
        }
        code += 3;
        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':') {
            memcpy(ret_sqlstate, code, 5);
            ret_sqlstate[5] = '\0';
            found = code + 6 + strspn(code + 6, " ");
        }
    }
    return found;
}

static bool says(const char *message, int error)
{
    return strstr(message, strerror(error)) != NULL;
}

/* The words of a connection that failed. Only text tells, but libpq writes strerror()'s, in our own
 * locale. */
static void describe_open_failure(struct pg_session *session)
{
    struct pg_reply *reply = &session->reply;
    const char *message = PQerrorMessage(session->conn);
    const char *text = find_sqlstate(message, reply->sqlstate);
    if (text != NULL) {
        char first_line[ERR_TEXT_MAX];
        snprintf(first_line, sizeof first_line, "%.*s", (int)strcspn(text, "\n"), text);
        set_line(reply->text, first_line);
        reply->outcome = PG_FAILED;
        return;
    }
    set_line(reply->text, message);
    char *advice = strstr(reply->text, " Is the server running");
    if (advice != NULL) {
        *advice = '\0';
    }
    const char *host = PQhost(session->conn);
    bool local = host != NULL && host[0] == '/';
    reply->outcome =
        says(message, ECONNREFUSED) || (local && says(message, ENOENT)) ? PG_REFUSED : PG_LOST;
}

static void clear_results(struct pg_session *session)
{
    for (int i = 0; i < session->reply.results_len; i++) {
        PQclear(session->results[i]);
    }
    session->reply.results_len = 0;
}

static void drop_watch(struct pg_session *session)
{
    fd_watch_free(session->watch);
    session->watch = NULL;
}

/*
 * Every ending of an operation passes here. The callback may close the session, so it comes last,
 * and the results live on our stack while it runs.
 */
static void finish(struct pg_session *session)
{
    enum pg_outcome outcome = session->reply.outcome;
    assert(session->state == OPENING || session->state == BUSY);
    timer_stop(session->timer);
    session->told_late = false;
    bool usable = outcome == PG_DONE || (outcome == PG_FAILED && session->state == BUSY);
    session->state = usable ? IDLE : DEAD;
    if (usable) {
        fd_watch_want(session->watch, FD_READABLE);
    } else {
        drop_watch(session);
    }
    struct pg_reply reply = session->reply;
    PGresult *results[RESULTS_MAX];
    memcpy(results, session->results, sizeof results);
    reply.results = results;
    reply.took_ms = clock_now_ms() - session->began_ms;
    session->reply.results_len = 0;
    session->done(session->done_arg, &reply);
    for (int i = 0; i < reply.results_len; i++) {
        PQclear(results[i]);
    }
}

static void finish_with(struct pg_session *session, enum pg_outcome outcome, const char *text)
{
    session->reply.outcome = outcome;
    set_line(session->reply.text, text);
    finish(session);
}

/* The connection ended. What the server said first, if it said anything, is the better reason. */
static void lose(struct pg_session *session)
{
    char text[ERR_TEXT_MAX];
    set_line(text,
             session->last_words[0] != '\0' ? session->last_words : PQerrorMessage(session->conn));
    if (session->state == BUSY) {
        session->reply.outcome = PG_LOST;
        if (session->reply.text[0] == '\0') {
            set_line(session->reply.text, text);
        }
        finish(session);
        return;
    }
    session->state = DEAD;
    drop_watch(session);
    if (session->on_lost != NULL) {
        session->on_lost(session->lost_arg, text);
    }
}

/* Keeps a result; the first error of a batch is the one that counts. */
static void keep(struct pg_session *session, PGresult *result)
{
    struct pg_reply *reply = &session->reply;
    ExecStatusType status = PQresultStatus(result);
    bool good =
        status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY;
    if (!good && reply->outcome == PG_DONE) {
        reply->outcome = PG_FAILED;
        const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        snprintf(reply->sqlstate, sizeof reply->sqlstate, "%s", sqlstate != NULL ? sqlstate : "");
        set_line(reply->text, primary != NULL ? primary : PQresultErrorMessage(result));
    }
    if (reply->results_len < RESULTS_MAX) {
        session->results[reply->results_len++] = result;
    } else {
        PQclear(result);
    }
}

static bool is_copy(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

enum taken { TAKEN_ONE, TAKEN_ALL, TAKEN_COPY };

/* Takes one result that is there, or the end of one part's. */
static enum taken take(struct pg_session *session)
{
    PGresult *result = PQgetResult(session->conn);
    if (result == NULL) {
        session->parts_at += session->pipeline && session->parts_at < session->parts_len ? 1 : 0;
        return session->pipeline && PQstatus(session->conn) != CONNECTION_BAD ? TAKEN_ONE
                                                                              : TAKEN_ALL;
    }
    const struct pg_statement *preparing =
        session->parts_at < session->parts_len ? session->parts[session->parts_at] : NULL;
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        PQclear(result);
        session->pipeline = PQexitPipelineMode(session->conn) != 1;
        return TAKEN_ALL;
    }
    if (preparing != NULL && PQresultStatus(result) == PGRES_COMMAND_OK) {
        PQclear(result);
        session->parts[session->parts_at] = NULL; /* once, however often a server says so */
        session->prepared[session->prepared_len++] = preparing;
        return TAKEN_ONE;
    }
    keep(session, result);
    return is_copy(result) ? TAKEN_COPY : TAKEN_ONE;
}

/* Reads on; returns false when the operation, or the session, has ended (and may be freed). */
static bool read_on(struct pg_session *session)
{
    if (PQconsumeInput(session->conn) == 0) {
        /* What came before the end is read first: a FATAL with its reason often did. */
        while (session->state == BUSY && !PQisBusy(session->conn) && take(session) == TAKEN_ONE) {
        }
        lose(session);
        return false;
    }
    int unsent = PQflush(session->conn);
    if (unsent < 0) {
        lose(session);
        return false;
    }
    while (!PQisBusy(session->conn) && session->state == BUSY) {
        enum taken taken = take(session);
        if (taken == TAKEN_COPY) {
            /* Would be answered for ever; nothing here speaks COPY. */
            finish_with(session, PG_LOST, "COPY is not supported");
            return false;
        }
        if (taken == TAKEN_ALL) {
            if (PQstatus(session->conn) == CONNECTION_BAD) {
                lose(session);
            } else {
                finish(session);
            }
            return false;
        }
    }
    if (PQstatus(session->conn) == CONNECTION_BAD) {
        lose(session);
        return false;
    }
    for (PGnotify *word; (word = PQnotifies(session->conn)) != NULL;) {
        PQfreemem(word);
    }
    fd_watch_want(session->watch, unsent != 0 ? FD_READABLE | FD_WRITABLE : FD_READABLE);
    return true;
}

static void on_ready(void *arg, int ready);

static void watch_socket(struct pg_session *session, int wanted)
{
    session->watch = fd_watch_new(session->loop, PQsocket(session->conn), on_ready, session);
    session->wanted = wanted;
    fd_watch_want(session->watch, wanted);
}

/* Returns false when the opening has ended. The socket may change inside PQconnectPoll: no watch
 * stands on it then. */
static bool open_on(struct pg_session *session)
{
    drop_watch(session);
    switch (PQconnectPoll(session->conn)) {
    case PGRES_POLLING_READING: watch_socket(session, FD_READABLE); return true;
    case PGRES_POLLING_WRITING: watch_socket(session, FD_WRITABLE); return true;
    case PGRES_POLLING_OK:
        PQsetnonblocking(session->conn, 1);
        PQsetErrorVerbosity(session->conn, PQERRORS_DEFAULT);
        watch_socket(session, FD_READABLE);
        session->reply.outcome = PG_DONE;
        finish(session);
        return false;
    default:
        describe_open_failure(session);
        finish(session);
        return false;
    }
}

static void on_ready(void *arg, int ready)
{
    (void)ready;
    struct pg_session *session = arg;
    if (session->told_late) {
        fd_watch_want(session->watch, 0);
    } else if (session->state == OPENING) {
        open_on(session);
    } else {
        read_on(session);
    }
}

static bool socket_is_ready(const struct pg_session *session)
{
    short events = session->wanted & FD_WRITABLE ? POLLOUT : POLLIN;
    struct pollfd fd = {.fd = PQsocket(session->conn), .events = events};
    return fd.fd >= 0 && poll(&fd, 1, 0) > 0;
}

/*
 * After a stall of ours the deadline and the answer are found in the same turn, in any order. So
 * the socket is looked at once more before silence is declared.
 */
static void on_timer(void *arg)
{
    struct pg_session *session = arg;
    if (session->told_late) {
        finish(session);
        return;
    }
    if (session->state == OPENING) {
        while (socket_is_ready(session)) {
            if (!open_on(session)) {
                return;
            }
        }
    } else if (!read_on(session)) {
        return;
    }
    clear_results(session);
    session->reply.sqlstate[0] = '\0';
    const char *what = session->state != OPENING ? "no answer to the statement"
                       : pg_delivered(session)   ? "connected, but the server does not answer"
                                                 : "no answer to the connection attempt";
    char text[ERR_TEXT_MAX];
    snprintf(text, sizeof text, "%s within %llu ms", what,
             (unsigned long long)(session->deadline_ms - session->began_ms));
    finish_with(session, PG_TIMEOUT, text);
}

static void begin(struct pg_session *session, uint64_t within_ms, pg_reply_fn done, void *arg)
{
    session->began_ms = clock_now_ms();
    session->deadline_ms = session->began_ms + within_ms;
    session->done = done;
    session->done_arg = arg;
    session->reply = (struct pg_reply){.outcome = PG_DONE};
    timer_start(session->timer, within_ms);
}

/* libpq failed while our caller is on the stack: the callback comes from the loop. */
static void tell_late(struct pg_session *session, enum pg_outcome outcome, const char *text)
{
    session->reply.outcome = outcome;
    set_line(session->reply.text, text);
    session->told_late = true;
    timer_start(session->timer, 0);
}

struct parameters {
    const char *keys[24];
    const char *values[24];
    int len;
};

static void add(struct parameters *parameters, const char *key, const char *value)
{
    if (value != NULL) {
        assert(parameters->len < 23);
        parameters->keys[parameters->len] = key;
        parameters->values[parameters->len++] = value;
    }
}

static PGconn *start_connection(const struct pg_target *target)
{
    char port[8];
    snprintf(port, sizeof port, "%u", target->port);
    struct parameters p = {.len = 0};
    bool whole = target->conninfo != NULL;
    add(&p, target->hostaddr[0] == '/' ? "host" : "hostaddr", target->hostaddr);
    add(&p, "port", port);
    add(&p, "dbname", whole ? target->conninfo : target->dbname);
    if (!whole) {
        add(&p, "user", target->user);
        add(&p, "password", target->password);
        /* Secrets come from our own file only, and no other file is read in the loop. */
        add(&p, "passfile", "/nonexistent");
        add(&p, "sslmode", target->sslmode != NULL ? target->sslmode : "prefer");
        add(&p, "sslrootcert", target->sslrootcert);
    }
    add(&p, "gssencmode", "disable");
    add(&p, "application_name",
        target->application_name != NULL ? target->application_name : "failoverd");
    add(&p, "options", target->options);
    add(&p, "client_encoding", "UTF8");
    add(&p, "keepalives", "1");
    add(&p, "keepalives_idle", KEEPALIVE_IDLE_S);
    add(&p, "keepalives_interval", KEEPALIVE_INTERVAL_S);
    add(&p, "keepalives_count", KEEPALIVE_COUNT);
    add(&p, "tcp_user_timeout", USER_TIMEOUT_MS);
    /* The kernel notes who connects when it does, and to a unix socket that is in this call. Of
     * this thread alone: glibc's own function would change them all. */
    bool other = target->peer_uid != 0 && target->hostaddr[0] == '/' && geteuid() == 0 &&
                 syscall(SYS_setresuid, -1, target->peer_uid, -1) == 0;
    PGconn *connection = PQconnectStartParams(p.keys, p.values, whole ? 1 : 0);
    if (other && syscall(SYS_setresuid, -1, 0, -1) != 0) {
        abort(); /* we could not go on as what we are */
    }
    return connection;
}

struct pg_session *pg_open(struct loop *loop, const struct pg_target *target, uint64_t within_ms,
                           pg_reply_fn opened, pg_lost_fn on_lost, void *arg)
{
    assert(opened != NULL && target->hostaddr != NULL);
    struct pg_session *session = calloc(1, sizeof *session);
    assert(session != NULL);
    session->loop = loop;
    session->timer = timer_new(loop, on_timer, session);
    session->on_lost = on_lost;
    session->lost_arg = arg;
    session->state = OPENING;
    begin(session, within_ms, opened, arg);
    session->conn = start_connection(target);
    if (session->conn == NULL) {
        tell_late(session, PG_LOST, strerror(ENOMEM));
        return session;
    }
    PQsetNoticeReceiver(session->conn, notice, session);
    PQsetErrorVerbosity(session->conn, PQERRORS_VERBOSE);
    if (PQstatus(session->conn) == CONNECTION_BAD) {
        /* A unix socket answers at once, a mistake in the parameters too. */
        describe_open_failure(session);
        session->told_late = true;
        timer_start(session->timer, 0);
        return session;
    }
    watch_socket(session, FD_WRITABLE);
    return session;
}

static void sent(struct pg_session *session, int ok)
{
    session->state = BUSY;
    int unsent = ok ? PQflush(session->conn) : -1;
    if (unsent < 0) {
        tell_late(session, PG_LOST, PQerrorMessage(session->conn));
        return;
    }
    fd_watch_want(session->watch, unsent != 0 ? FD_READABLE | FD_WRITABLE : FD_READABLE);
}

void pg_query(struct pg_session *session, const char *sql, uint64_t within_ms, pg_reply_fn done,
              void *arg)
{
    assert(session->state == IDLE && done != NULL);
    begin(session, within_ms, done, arg);
    sent(session, PQsendQuery(session->conn, sql));
}

void pg_query_params(struct pg_session *session, const char *sql, int params_len,
                     const char *const *params, uint64_t within_ms, pg_reply_fn done, void *arg)
{
    assert(session->state == IDLE && done != NULL);
    begin(session, within_ms, done, arg);
    sent(session, PQsendQueryParams(session->conn, sql, params_len, NULL, params, NULL, NULL, 0));
}

static bool is_prepared(const struct pg_session *session, const struct pg_statement *statement)
{
    for (int i = 0; i < session->prepared_len; i++) {
        if (session->prepared[i] == statement) {
            return true;
        }
    }
    for (int i = 0; i < session->parts_len; i++) {
        if (session->parts[i] == statement) {
            return true;
        }
    }
    return false;
}

static bool send_call(struct pg_session *session, const struct pg_call *call)
{
    const struct pg_statement *statement = call->statement;
    if (!is_prepared(session, statement)) {
        assert(session->prepared_len < PG_STATEMENTS_MAX);
        session->parts[session->parts_len++] = statement;
        if (PQsendPrepare(session->conn, statement->name, statement->sql, 0, NULL) != 1) {
            return false;
        }
    }
    session->parts[session->parts_len++] = NULL;
    return PQsendQueryPrepared(session->conn, statement->name, call->params_len, call->params, NULL,
                               NULL, 0) == 1;
}

void pg_call(struct pg_session *session, const struct pg_call *calls, int len, uint64_t within_ms,
             pg_reply_fn done, void *arg)
{
    assert(session->state == IDLE && done != NULL && len > 0 && len <= PG_STATEMENTS_MAX);
    begin(session, within_ms, done, arg);
    session->parts_len = session->parts_at = 0;
    session->pipeline = PQenterPipelineMode(session->conn) == 1;
    bool ok = session->pipeline;
    for (int i = 0; ok && i < len; i++) {
        ok = send_call(session, &calls[i]);
    }
    sent(session, ok && PQpipelineSync(session->conn) == 1);
}

bool pg_busy(const struct pg_session *session)
{
    return session->state == OPENING || session->state == BUSY;
}

bool pg_usable(const struct pg_session *session)
{
    return session->state == IDLE || session->state == BUSY;
}

bool pg_delivered(const struct pg_session *session)
{
    int fd = session->conn != NULL ? PQsocket(session->conn) : -1;
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof peer;
    if (fd < 0 || getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
        return false;
    }
    int unconfirmed = 0; /* bytes that the peer has not acknowledged, sent or not */
    return peer.ss_family == AF_UNIX ||
           (ioctl(fd, SIOCOUTQ, &unconfirmed) == 0 && unconfirmed == 0);
}

int pg_backend_pid(const struct pg_session *session)
{
    return session->conn != NULL ? PQbackendPID(session->conn) : 0;
}

void pg_close(struct pg_session *session)
{
    if (session == NULL) {
        return;
    }
    drop_watch(session);
    timer_free(session->timer);
    clear_results(session);
    if (session->conn != NULL) {
        int fd = PQsocket(session->conn);
        if (session->state != IDLE && fd >= 0) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        PQfinish(session->conn);
    }
    free(session);
}
