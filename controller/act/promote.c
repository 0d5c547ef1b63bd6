/*
 * The happy path: the session is opened and rehearses the statement, so that it is parsed, planned
 * and its catalogs are read when it counts; promote_go() reads the server's clock; the caller says
 * it may act; the conditional statement goes out and answers "promoted"; heartbeat writes are
 * refused as read-only until one is accepted; timeline, system id and LSN are read back; done.
 *
 * What can go wrong: before the statement is sent (no session, no clock, too late, no longer
 * leader) nothing was asked for: REFUSED. The statement answers which condition failed: REFUSED, or
 * ALREADY. After it was sent, a lost connection, an error that may follow its effect, or silence is
 * UNKNOWN. All endings pass through finish().
 */
#include "controller/act/promote.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/cluster/lsn.h"
#include "probes/postgres_words.h"

#define OPEN_WITHIN_MS     2000
#define OPEN_AGAIN_MS      100
#define REHEARSE_WITHIN_MS 1000
#define LOCK_TIMEOUT_MS    500
#define POLL_PAUSE_MS      5 /* with the write's own round trip below PROMOTE_POLL_MS */

const char *const promote_outcome_names[] = {"done", "already", "refused", "unknown", NULL};

enum promote_state {
    PROMOTE_NO_ORDER,
    PROMOTE_WAITING, /* for the session */
    PROMOTE_CLOCK,   /* reading the server's */
    PROMOTE_ASKED,   /* the statement is out: from here on, silence is "unknown" */
    PROMOTE_WRITING, /* until a write is accepted */
    PROMOTE_READING, /* what it became */
};

struct promote {
    struct loop *loop;
    struct pg_target target;
    char *controller;
    struct pg_session *session;
    struct timer *open_timer;
    struct timer *deadline_timer;
    struct timer *poll_timer;
    char last_text[ERR_TEXT_MAX]; /* why there is no session, or why the latest write failed */
    enum promote_state state;
    bool rehearsing; /* the session is busy with that */
    bool already;
    struct promote_order order;
    uint64_t began_ms;
};

static const char clock_sql[] = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/*
 * CASE stops at the first condition that holds, and the clock is looked at last. $1 system id, $2
 * timeline, $3 the server's clock, in microseconds, from which on the order is void, $4 its life.
 */
static const char promote_sql[] =
    "SELECT (SELECT system_identifier FROM pg_control_system())," POSTGRES_STANDBY_TIMELINE ","
    " CASE"
    " WHEN NOT pg_is_in_recovery() THEN 'already'"
    " WHEN (SELECT system_identifier FROM pg_control_system()) <> $1::bigint THEN 'system'"
    " WHEN " POSTGRES_STANDBY_TIMELINE " <> $2::bigint THEN 'timeline'"
    " WHEN $4::bigint <> 0 AND " POSTGRES_LIFE " <> $4::bigint THEN 'life'"
    " WHEN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint >= $3::bigint THEN 'late'"
    " WHEN pg_promote(false) THEN 'promoted'"
    " ELSE 'failed' END";

static const struct pg_statement promote_statement = {"failover_promote", promote_sql};

static const char became_sql[] =
    "SELECT (SELECT system_identifier FROM pg_control_system())," POSTGRES_PRIMARY_TIMELINE
    ", pg_current_wal_lsn()";

static void finish_with(struct promote *promote, struct promote_result *result)
{
    assert(promote->state != PROMOTE_NO_ORDER);
    timer_stop(promote->deadline_timer);
    timer_stop(promote->poll_timer);
    promote->state = PROMOTE_NO_ORDER;
    result->took_ms = clock_now_ms() - promote->began_ms;
    promote->order.done(promote->order.arg, result);
}

/* Every ending but success. The callback may free the promote: it comes last. */
static void __attribute__((format(printf, 3, 4)))
finish(struct promote *promote, enum promote_outcome outcome, const char *format, ...)
{
    struct promote_result result = {.outcome = outcome};
    va_list args;
    va_start(args, format);
    vsnprintf(result.text, sizeof result.text, format, args);
    va_end(args);
    finish_with(promote, &result);
}

static void drop_session(struct promote *promote, const char *text)
{
    snprintf(promote->last_text, sizeof promote->last_text, "%s", text);
    pg_close(promote->session);
    promote->session = NULL;
    promote->rehearsing = false;
    timer_start(promote->open_timer, OPEN_AGAIN_MS);
}

/* The session ended; what that means depends on whether the statement was out. */
static void session_failed(struct promote *promote, const char *text)
{
    enum promote_state state = promote->state;
    drop_session(promote, text);
    if (state >= PROMOTE_ASKED) {
        finish(promote, PROMOTE_UNKNOWN, "after the order was sent: %s", promote->last_text);
    } else if (state != PROMOTE_NO_ORDER) {
        promote->state = PROMOTE_WAITING;
    }
}

static void on_lost(void *arg, const char *text)
{
    session_failed(arg, text);
}

static bool broken(const struct pg_reply *reply)
{
    return reply->outcome != PG_DONE && reply->outcome != PG_FAILED;
}

static bool has_row(const struct pg_reply *reply, int fields)
{
    return reply->outcome == PG_DONE && reply->results_len == 1 &&
           PQntuples(reply->results[0]) == 1 && PQnfields(reply->results[0]) == fields;
}

static uint64_t left_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = clock_now_ms();
    return deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

/* Statements wait as long as the order does, and a little longer: the order's own timer speaks
 * first. */
static uint64_t within_ms(const struct promote *promote)
{
    return left_ms(promote->order.deadline_ms) + 100;
}

static void on_became(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    if (broken(reply)) {
        session_failed(promote, reply->text);
        return;
    }
    if (!has_row(reply, 3)) {
        finish(promote, PROMOTE_UNKNOWN, "a write was accepted, but what it became is unknown: %s",
               reply->text);
        return;
    }
    const PGresult *row = reply->results[0];
    struct promote_result result = {
        .outcome = promote->already ? PROMOTE_ALREADY : PROMOTE_DONE,
        .system_id = strtoull(PQgetvalue(row, 0, 0), NULL, 10),
        .timeline = (uint32_t)strtoul(PQgetvalue(row, 0, 1), NULL, 10),
    };
    lsn_parse(PQgetvalue(row, 0, 2), &result.lsn);
    snprintf(result.text, sizeof result.text, "%s, timeline %" PRIu32 " at %s",
             promote->already ? "was a primary already" : "promoted, a write was accepted",
             result.timeline, PQgetvalue(row, 0, 2));
    finish_with(promote, &result);
}

static void on_written(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    if (broken(reply)) {
        session_failed(promote, reply->text);
        return;
    }
    /* With a warning it was committed here, but the wait for a standby was cancelled: not accepted.
     */
    if (reply->outcome == PG_DONE && reply->warning[0] == '\0') {
        promote->state = PROMOTE_READING;
        pg_query(promote->session, became_sql, within_ms(promote), on_became, promote);
        return;
    }
    snprintf(promote->last_text, sizeof promote->last_text, "%s",
             reply->outcome == PG_DONE ? reply->warning : reply->text);
    timer_start(promote->poll_timer, POLL_PAUSE_MS);
}

static void on_poll(void *arg)
{
    struct promote *promote = arg;
    const char *params[] = {promote->controller};
    struct pg_call call = {&postgres_write, params, 1};
    pg_call(promote->session, &call, 1, within_ms(promote), on_written, promote);
}

static void judge(struct promote *promote, const PGresult *row)
{
    const char *system_id = PQgetvalue(row, 0, 0);
    const char *timeline = PQgetvalue(row, 0, 1);
    const char *verdict = PQgetvalue(row, 0, 2);
    promote->already = strcmp(verdict, "already") == 0;
    if (promote->already || strcmp(verdict, "promoted") == 0) {
        promote->state = PROMOTE_WRITING;
        on_poll(promote);
    } else if (strcmp(verdict, "system") == 0) {
        finish(promote, PROMOTE_REFUSED, "its system id is %" PRIu64 ", recorded is %" PRIu64,
               (uint64_t)strtoull(system_id, NULL, 10), promote->order.system_id);
    } else if (strcmp(verdict, "timeline") == 0) {
        finish(promote, PROMOTE_REFUSED, "it follows timeline %s, recorded is %" PRIu32, timeline,
               promote->order.timeline);
    } else if (strcmp(verdict, "life") == 0) {
        finish(promote, PROMOTE_REFUSED, "it has restarted since the permit was granted to it");
    } else if (strcmp(verdict, "late") == 0) {
        finish(promote, PROMOTE_REFUSED,
               "the order arrived after its deadline on the server's clock");
    } else {
        finish(promote, PROMOTE_REFUSED, "pg_promote() could not signal its postmaster");
    }
}

static void on_answer(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    if (broken(reply)) {
        session_failed(promote, reply->text);
    } else if (has_row(reply, 3)) {
        judge(promote, reply->results[0]);
    } else if (strncmp(reply->sqlstate, "42", 2) == 0) {
        /* No such function, no privilege: said before anything was run. */
        finish(promote, PROMOTE_REFUSED, "%s (see failoverctl setup-sql)", reply->text);
    } else {
        finish(promote, PROMOTE_UNKNOWN, "the order failed in the middle: %s", reply->text);
    }
}

static void send_order(struct promote *promote, uint64_t server_us)
{
    struct promote_order *order = &promote->order;
    uint64_t by_ms = order->act_by_ms < order->deadline_ms ? order->act_by_ms : order->deadline_ms;
    /*
     * The server read its clock before now, so its clock plus what we have left from now is a
     * moment that comes before our deadline, whatever the two clocks say.
     */
    uint64_t valid_ms = left_ms(by_ms);
    if (valid_ms == 0) {
        finish(promote, PROMOTE_REFUSED,
               "too late: the right to act ends before the order is sent");
        return;
    }
    if (order->may_act != NULL && !order->may_act(order->arg)) {
        finish(promote, PROMOTE_REFUSED, "no longer leader");
        return;
    }
    valid_ms = valid_ms < PROMOTE_VALID_MAX_MS ? valid_ms : PROMOTE_VALID_MAX_MS;
    char system_id[24];
    char timeline[16];
    char until_us[24];
    char life[24];
    /* The server knows the id as a signed number. */
    snprintf(system_id, sizeof system_id, "%" PRId64, (int64_t)order->system_id);
    snprintf(timeline, sizeof timeline, "%" PRIu32, order->timeline);
    snprintf(until_us, sizeof until_us, "%" PRIu64, server_us + valid_ms * 1000);
    snprintf(life, sizeof life, "%" PRId64, order->life);
    const char *params[] = {system_id, timeline, until_us, life};
    promote->state = PROMOTE_ASKED;
    timer_start(promote->deadline_timer, left_ms(order->deadline_ms));
    struct pg_call call = {&promote_statement, params, 4};
    pg_call(promote->session, &call, 1, within_ms(promote), on_answer, promote);
}

static void on_clock(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    if (broken(reply)) {
        session_failed(promote, reply->text);
    } else if (!has_row(reply, 1)) {
        finish(promote, PROMOTE_REFUSED, "the server's clock cannot be read: %s", reply->text);
    } else {
        send_order(promote, strtoull(PQgetvalue(reply->results[0], 0, 0), NULL, 10));
    }
}

static void read_clock(struct promote *promote)
{
    promote->state = PROMOTE_CLOCK;
    pg_query(promote->session, clock_sql, within_ms(promote), on_clock, promote);
}

/* A statement that is still out makes the session useless for the next order. */
static void on_deadline(void *arg)
{
    struct promote *promote = arg;
    enum promote_state state = promote->state;
    char why[ERR_TEXT_MAX];
    snprintf(why, sizeof why, "%s",
             promote->last_text[0] != '\0' ? promote->last_text : "the server does not answer");
    if (state == PROMOTE_WRITING && pg_busy(promote->session)) {
        snprintf(why, sizeof why, "the write is not answered (does it wait for a standby?)");
    }
    if (state >= PROMOTE_CLOCK && pg_busy(promote->session)) {
        drop_session(promote, "dropped with an unanswered statement");
    }
    if (state >= PROMOTE_ASKED) {
        finish(promote, PROMOTE_UNKNOWN, "no accepted write by the deadline: %s", why);
    } else {
        finish(promote, PROMOTE_REFUSED, "not sent by the deadline: %s", why);
    }
}

/* Whatever it said: an order that came meanwhile goes on. */
static void on_rehearsed(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    promote->rehearsing = false;
    if (broken(reply)) {
        drop_session(promote, reply->text);
    } else if (promote->state == PROMOTE_WAITING) {
        read_clock(promote);
    }
}

/* A standby refuses the write. To a primary none is sent: it may wait for ever for a standby. */
static void on_order_rehearsed(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    if (!has_row(reply, 3) || strcmp(PQgetvalue(reply->results[0], 0, 2), "already") == 0) {
        on_rehearsed(promote, reply);
        return;
    }
    const char *params[] = {promote->controller};
    struct pg_call call = {&postgres_write, params, 1};
    pg_call(promote->session, &call, 1, REHEARSE_WITHIN_MS, on_rehearsed, promote);
}

/* The order for a system that is none (0), at a time that is over (1970): it promotes nothing. */
static void rehearse(struct promote *promote)
{
    const char *params[] = {"0", "0", "0", "0"};
    struct pg_call call = {&promote_statement, params, 4};
    promote->rehearsing = true;
    pg_call(promote->session, &call, 1, REHEARSE_WITHIN_MS, on_order_rehearsed, promote);
}

static void on_opened(void *arg, const struct pg_reply *reply)
{
    struct promote *promote = arg;
    if (reply->outcome != PG_DONE) {
        drop_session(promote, reply->text);
        return;
    }
    promote->last_text[0] = '\0';
    rehearse(promote);
}

static void open_session(void *arg)
{
    struct promote *promote = arg;
    promote->session =
        pg_open(promote->loop, &promote->target, OPEN_WITHIN_MS, on_opened, on_lost, promote);
}

static char *copy(const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    char *copied = strdup(text);
    assert(copied != NULL);
    return copied;
}

struct promote *promote_new(struct loop *loop, const struct pg_target *target,
                            const char *controller)
{
    struct promote *promote = calloc(1, sizeof *promote);
    assert(promote != NULL);
    promote->loop = loop;
    /* Asked is whether it became a primary, not whether sessions are read-only by configuration:
     * that the probe tells. */
    char *options = postgres_options(LOCK_TIMEOUT_MS, "-c default_transaction_read_only=off");
    promote->target = (struct pg_target){
        .hostaddr = copy(target->hostaddr),
        .port = target->port,
        .dbname = copy(target->dbname),
        .user = copy(target->user),
        .password = copy(target->password),
        .sslmode = copy(target->sslmode),
        .sslrootcert = copy(target->sslrootcert),
        .application_name = copy(target->application_name),
        .options = options,
        .peer_uid = target->peer_uid,
    };
    /* A row of its own: the probe's may be locked by a write of its that hangs. */
    int len = asprintf(&promote->controller, "%s/promote", controller);
    assert(len > 0);
    (void)len;
    promote->open_timer = timer_new(loop, open_session, promote);
    promote->deadline_timer = timer_new(loop, on_deadline, promote);
    promote->poll_timer = timer_new(loop, on_poll, promote);
    open_session(promote);
    return promote;
}

bool promote_ready(const struct promote *promote)
{
    return promote->session != NULL && pg_usable(promote->session) && !promote->rehearsing;
}

void promote_go(struct promote *promote, const struct promote_order *order)
{
    assert(promote->state == PROMOTE_NO_ORDER);
    assert(order->system_id != 0 && order->timeline != 0 && order->done != NULL);
    promote->order = *order;
    promote->began_ms = clock_now_ms();
    promote->already = false;
    uint64_t by_ms = order->act_by_ms < order->deadline_ms ? order->act_by_ms : order->deadline_ms;
    timer_start(promote->deadline_timer, left_ms(by_ms));
    if (promote_ready(promote)) {
        read_clock(promote);
    } else {
        promote->state = PROMOTE_WAITING;
    }
}

void promote_free(struct promote *promote)
{
    if (promote == NULL) {
        return;
    }
    pg_close(promote->session);
    timer_free(promote->open_timer);
    timer_free(promote->deadline_timer);
    timer_free(promote->poll_timer);
    free((char *)promote->target.hostaddr);
    free((char *)promote->target.dbname);
    free((char *)promote->target.user);
    free((char *)promote->target.password);
    free((char *)promote->target.sslmode);
    free((char *)promote->target.sslrootcert);
    free((char *)promote->target.application_name);
    free((char *)promote->target.options);
    free(promote->controller);
    free(promote);
}
