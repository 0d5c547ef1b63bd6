/*
 * The happy path: a call is encoded, sent to the endpoint in use, its answer decoded and handed on.
 *
 * Every call is a small machine: advance() decides what it needs next (a token; to know who answers
 * at this endpoint; to be sent), and waits for that. What can go wrong, and where it goes:
 *
 *   no connection, no answer in time, a stream of nonsense   attempt_failed(): next endpoint, or
 * the end a member without leader, a learner                       the same, but a write may be
 * repeated: it was not done another cluster                                          the same; the
 * end when all endpoints are such a refused token                                          log in,
 * once per call, and advance() again a refused password                                       the
 * end, and no log-ins for a growing while the call's deadline the end: ETCD_UNKNOWN
 *
 * Every ending passes finish().
 */
#include "controller/etcd/client.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/etcd/internal.h"

#define ROUND_PAUSE_MS  100 /* after all endpoints were tried in vain; the same again as jitter */
#define LOGIN_JITTER_MS 50  /* many clients lose their tokens at the same moment */
#define DENIED_FIRST_MS 1000
#define DENIED_LAST_MS  60000

enum call_step {
    CALL_WAITING, /* for its timer: to begin, or for the next round */
    CALL_LOGIN,   /* for a token */
    CALL_ASKING,  /* who answers at this endpoint? */
    CALL_SENT,
};

struct etcd_call {
    struct etcd *etcd;
    LIST_ENTRY(etcd_call) link;
    enum etcd_kind kind;
    enum call_step step;
    char *body; /* NULL: it could not be encoded, and `last` says why */
    int64_t min_revision;
    uint64_t deadline_ms;
    struct timer *timer;
    struct http_op *op;
    int endpoint;          /* asked last: its number */
    unsigned tried;        /* endpoints of this round, one bit each */
    unsigned foreign;      /* those that were another cluster */
    unsigned stale;        /* those that were older than min_revision */
    bool token_renewed;    /* a second refusal is final */
    uint64_t token_serial; /* of the token that was sent */
    bool sent;             /* a request that could have had an effect left */
    uint64_t sent_ms;
    enum etcd_reason reason; /* of the last failure */
    char failure[ERR_TEXT_MAX];
    etcd_done_fn done;
    void *arg;
};

enum token_state {
    TOKEN_NEEDED,
    TOKEN_ASKED,  /* the log-in runs, or waits for its jitter */
    TOKEN_HELD,   /* also where there are no users: then it is empty */
    TOKEN_DENIED, /* until denied_until_ms */
};

struct etcd {
    struct loop *loop;
    struct http *http;
    struct etcd_config config;
    struct http_tls tls;
    LIST_HEAD(, etcd_call) calls;
    int endpoint;                   /* in use */
    int endpoints_round;            /* how often the list was exchanged */
    bool heard[ETCD_ENDPOINTS_MAX]; /* the right cluster answered there, and nothing failed since */
    uint64_t cluster_id;
    int64_t revision;
    uint64_t answered_ms;
    uint64_t failovers;
    uint64_t logins;
    char last_failure[ERR_TEXT_MAX];

    enum token_state token_state;
    char token[ETCD_TOKEN_SIZE];
    uint64_t token_serial;
    struct http_op *login_op;
    struct timer *login_timer;
    int login_endpoint;
    uint64_t denied_until_ms;
    uint64_t denied_for_ms;
    char denied[ERR_TEXT_MAX];

    uint32_t random;
};

static void advance(struct etcd_call *call);
static void send_login(void *arg);

/* ---- Small parts ---- */

uint64_t etcd_jitter_ms(struct etcd *etcd, uint64_t below_ms)
{
    etcd->random ^= etcd->random << 13;
    etcd->random ^= etcd->random >> 17;
    etcd->random ^= etcd->random << 5;
    return below_ms > 0 ? etcd->random % below_ms : 0;
}

struct loop *etcd_loop(const struct etcd *etcd)
{
    return etcd->loop;
}

/*
 * Endpoints are handed out by numbers that are not used again, so that what is still under way at
 * one that was taken off the list says nothing about the one in its place.
 */
static int number_of(const struct etcd *etcd, int index)
{
    return etcd->endpoints_round * ETCD_ENDPOINTS_MAX + index;
}

/* Its place in the list of now; -1: it is not in it any more. */
static int index_of(const struct etcd *etcd, int number)
{
    int index = number - number_of(etcd, 0);

    return index >= 0 && index < etcd->config.endpoints_len ? index : -1;
}

static unsigned bit_of(const struct etcd *etcd, int number)
{
    int index = index_of(etcd, number);

    return index >= 0 ? 1u << index : 0;
}

const char *etcd_endpoint_name(const struct etcd *etcd, int number)
{
    int index = index_of(etcd, number);

    return index >= 0 ? etcd->config.endpoints[index] : "an endpoint of before";
}

/* What leaves something that a second one would meet. */
static bool is_write(enum etcd_kind kind)
{
    return kind != ETCD_KIND_RANGE && kind != ETCD_KIND_KEEPALIVE && kind != ETCD_KIND_STATUS;
}

static void note_failure(struct etcd *etcd, int number, const char *text)
{
    snprintf(etcd->last_failure, sizeof etcd->last_failure, "%s: %.240s",
             etcd_endpoint_name(etcd, number), text);
}

static void set_heard(struct etcd *etcd, int number, bool heard)
{
    int index = index_of(etcd, number);

    if (index >= 0) {
        etcd->heard[index] = heard;
    }
}

void etcd_endpoint_failed(struct etcd *etcd, int number, const char *text)
{
    int index = index_of(etcd, number);

    set_heard(etcd, number, false);
    note_failure(etcd, number, text);
    if (etcd->endpoint == index && etcd->config.endpoints_len > 1) {
        etcd->endpoint = (index + 1) % etcd->config.endpoints_len;
        etcd->failovers++;
    }
}

bool etcd_cluster_known(struct etcd *etcd, int number, uint64_t cluster_id)
{
    if (etcd->cluster_id == 0) {
        etcd->cluster_id = cluster_id;
    }
    if (cluster_id == etcd->cluster_id) {
        set_heard(etcd, number, true);
        etcd->answered_ms = clock_now_ms();
        return true;
    }
    return false;
}

static void tell_foreign(const struct etcd *etcd, uint64_t cluster_id, char ret_text[ERR_TEXT_MAX])
{
    snprintf(ret_text, ERR_TEXT_MAX,
             "another cluster answers there: its id is %" PRIu64 ", ours is %" PRIu64, cluster_id,
             etcd->cluster_id);
}

/* Fills everything but what is for the answer; url and token_header are the caller's room. */
#define URL_MAX    (ETCD_ENDPOINT_SIZE + 64)
#define HEADER_MAX (ETCD_TOKEN_SIZE + 32)

struct request_room {
    char url[URL_MAX];
    char token_header[HEADER_MAX];
};

static struct http_request make_request(struct etcd *etcd, int endpoint, const char *path,
                                        const char *body, struct request_room *room)
{
    struct http_request request = {
        .method = "POST",
        .url = room->url,
        .headers = {"Content-Type: application/json", "Grpc-Metadata-hasleader: true"},
        .body = body,
        .body_len = strlen(body),
        .tls = &etcd->tls,
    };

    snprintf(room->url, sizeof room->url, "%s%s", etcd->config.endpoints[endpoint], path);
    if (etcd->token[0] != '\0') {
        snprintf(room->token_header, sizeof room->token_header, "Authorization: %s", etcd->token);
        request.headers[2] = room->token_header;
    }
    return request;
}

struct http_op *etcd_stream_start(struct etcd *etcd, const char *path, const char *body,
                                  uint64_t idle_ms, http_data_fn on_data, http_done_fn done,
                                  void *arg, int *ret_endpoint)
{
    struct request_room room;
    struct http_request request = make_request(etcd, etcd->endpoint, path, body, &room);

    *ret_endpoint = number_of(etcd, etcd->endpoint);
    request.idle_ms = idle_ms;
    request.on_data = on_data;
    request.done = done;
    request.arg = arg;
    return http_start(etcd->http, &request);
}

/* ---- Endings ---- */

static void call_free(struct etcd_call *call)
{
    LIST_REMOVE(call, link);
    if (call->op) {
        http_cancel(call->op);
    }
    timer_free(call->timer);
    free(call->body);
    free(call);
}

/* The one way out. `done` may free the client, so nothing is touched after it. */
static void finish(struct etcd_call *call, struct etcd_reply *reply)
{
    char endpoint[ETCD_ENDPOINT_SIZE];
    etcd_done_fn done = call->done;
    void *arg = call->arg;

    snprintf(endpoint, sizeof endpoint, "%s", etcd_endpoint_name(call->etcd, call->endpoint));
    reply->endpoint = endpoint;
    call_free(call);
    done(arg, reply);
    etcd_reply_done(reply);
}

static void finish_with(struct etcd_call *call, enum etcd_outcome outcome, enum etcd_reason reason,
                        const char *text)
{
    struct etcd_reply reply = {
        .outcome = outcome, .reason = reason, .sent = call->sent, .sent_ms = call->sent_ms};

    snprintf(reply.text, sizeof reply.text, "%s", text);
    finish(call, &reply);
}

static void finish_late(struct etcd_call *call)
{
    char text[ERR_TEXT_MAX];

    if (call->failure[0] != '\0') {
        snprintf(text, sizeof text, "%s", call->failure);
    } else if (call->step == CALL_LOGIN) {
        snprintf(text, sizeof text, "no token from etcd in time: %.400s", call->etcd->last_failure);
    } else {
        snprintf(text, sizeof text, "no answer from etcd in time");
    }
    finish_with(call, ETCD_UNKNOWN, call->reason, text);
}

/* ---- Logging in ---- */

/* Everyone who waits looks again, each from a timer of its own: a `done` may free anything. */
static void wake_waiting(struct etcd *etcd)
{
    struct etcd_call *call;

    LIST_FOREACH(call, &etcd->calls, link)
    {
        if (call->step == CALL_LOGIN) {
            call->step = CALL_WAITING;
            timer_start(call->timer, 0);
        }
    }
}

static bool anyone_waits(const struct etcd *etcd)
{
    const struct etcd_call *call;

    LIST_FOREACH(call, &etcd->calls, link)
    {
        if (call->step == CALL_LOGIN) {
            return true;
        }
    }
    return false;
}

static void hold_token(struct etcd *etcd, const char *token)
{
    snprintf(etcd->token, sizeof etcd->token, "%s", token);
    etcd->token_state = TOKEN_HELD;
    etcd->token_serial++;
    etcd->denied_for_ms = 0;
    wake_waiting(etcd);
}

static void deny_token(struct etcd *etcd, const char *text)
{
    uint64_t longer_ms = etcd->denied_for_ms * 2;

    etcd->denied_for_ms = longer_ms == 0               ? DENIED_FIRST_MS
                          : longer_ms < DENIED_LAST_MS ? longer_ms
                                                       : DENIED_LAST_MS;
    etcd->denied_until_ms = clock_now_ms() + etcd->denied_for_ms;
    etcd->token_state = TOKEN_DENIED;
    etcd->token[0] = '\0';
    snprintf(etcd->denied, sizeof etcd->denied, "etcd refuses user %s: %.200s", etcd->config.user,
             text);
    wake_waiting(etcd);
}

static void login_failed(struct etcd *etcd, const char *text)
{
    etcd_endpoint_failed(etcd, etcd->login_endpoint, text);
    if (anyone_waits(etcd)) {
        timer_start(etcd->login_timer, ROUND_PAUSE_MS + etcd_jitter_ms(etcd, ROUND_PAUSE_MS));
    } else {
        etcd->token_state = TOKEN_NEEDED;
    }
}

static void on_login(void *arg, const struct http_answer *answer)
{
    struct etcd *etcd = arg;
    struct etcd_reply reply = {0};
    char token[ETCD_TOKEN_SIZE];
    char text[ERR_TEXT_MAX];

    etcd->login_op = NULL;
    if (answer->err.code != ERR_NONE) {
        login_failed(etcd, answer->err.text);
        return;
    }
    etcd_decode_auth(answer->status, answer->body, answer->body_len, &reply, token);
    if (reply.outcome == ETCD_OK &&
        !etcd_cluster_known(etcd, etcd->login_endpoint, reply.cluster_id)) {
        tell_foreign(etcd, reply.cluster_id, text);
        login_failed(etcd, text);
    } else if (reply.outcome == ETCD_OK) {
        etcd->logins++;
        hold_token(etcd, token);
    } else if (reply.outcome == ETCD_REFUSED && reply.reason == ETCD_AUTH_DISABLED) {
        hold_token(etcd, "");
    } else if (reply.outcome == ETCD_REFUSED && reply.reason != ETCD_TOKEN_REFUSED) {
        deny_token(etcd, reply.text);
    } else {
        login_failed(etcd, reply.text);
    }
    etcd_reply_done(&reply);
}

static void send_login(void *arg)
{
    struct etcd *etcd = arg;
    struct request_room room;
    struct http_request request;
    struct err err;
    char *body;

    assert(etcd->token_state == TOKEN_ASKED && !etcd->login_op);
    body = etcd_encode_auth(etcd->config.user, etcd->config.password, &err);
    if (!body) {
        deny_token(etcd, err.text);
        return;
    }
    etcd->token[0] = '\0';
    etcd->login_endpoint = number_of(etcd, etcd->endpoint);
    request = make_request(etcd, etcd->endpoint, "/v3/auth/authenticate", body, &room);
    request.body_limit = ETCD_BODY_MAX;
    request.deadline_ms = ETCD_ATTEMPT_MS;
    request.done = on_login;
    request.arg = etcd;
    etcd->login_op = http_start(etcd->http, &request);
    explicit_bzero(body, strlen(body));
    free(body);
}

static void log_in(struct etcd *etcd)
{
    uint64_t in_ms = etcd->token_serial == 0 ? 0 : etcd_jitter_ms(etcd, LOGIN_JITTER_MS);

    etcd->token_state = TOKEN_ASKED;
    timer_start(etcd->login_timer, in_ms);
}

static uint64_t left_ms(const struct etcd_call *call)
{
    uint64_t now_ms = clock_now_ms();

    return call->deadline_ms > now_ms ? call->deadline_ms - now_ms : 0;
}

static void await_token(struct etcd_call *call)
{
    if (call->etcd->token_state != TOKEN_ASKED) {
        log_in(call->etcd);
    }
    call->step = CALL_LOGIN;
    timer_start(call->timer, left_ms(call));
}

/* ---- Attempts ---- */

/* Another endpoint, if the call may be repeated; after a whole round in vain a pause comes first.
 */
static void attempt_failed(struct etcd_call *call, bool was_not_done, enum etcd_reason reason,
                           const char *text)
{
    struct etcd *etcd = call->etcd;
    unsigned all = (1u << etcd->config.endpoints_len) - 1;

    etcd_endpoint_failed(etcd, call->endpoint, text);
    snprintf(call->failure, sizeof call->failure, "%s", etcd->last_failure);
    call->reason = reason;
    if (was_not_done) {
        call->sent = false;
    } else if (is_write(call->kind)) {
        finish_with(call, ETCD_UNKNOWN, reason, call->failure);
        return;
    }
    call->tried |= bit_of(etcd, call->endpoint);
    if (call->foreign == all) {
        finish_with(call, ETCD_REFUSED, ETCD_WRONG_CLUSTER, call->failure);
    } else if ((call->foreign | call->stale) == all) {
        finish_with(call, ETCD_UNKNOWN, ETCD_STALE, call->failure);
    } else if (call->tried != all) {
        advance(call);
    } else {
        call->tried = 0;
        call->step = CALL_WAITING;
        timer_start(call->timer, ROUND_PAUSE_MS + etcd_jitter_ms(etcd, ROUND_PAUSE_MS));
    }
}

static bool is_foreign(struct etcd_call *call, const struct etcd_reply *reply)
{
    char text[ERR_TEXT_MAX];

    if (reply->outcome != ETCD_OK ||
        etcd_cluster_known(call->etcd, call->endpoint, reply->cluster_id)) {
        return false;
    }
    tell_foreign(call->etcd, reply->cluster_id, text);
    call->foreign |= bit_of(call->etcd, call->endpoint);
    attempt_failed(call, true, ETCD_WRONG_CLUSTER, text);
    return true;
}

static void token_refused(struct etcd_call *call, struct etcd_reply *reply)
{
    struct etcd *etcd = call->etcd;

    if (call->token_renewed || etcd->config.user[0] == '\0') {
        finish(call, reply);
        return;
    }
    call->token_renewed = true;
    call->sent = false;
    /* Another call may have renewed it meanwhile. */
    if (call->token_serial == etcd->token_serial && etcd->token_state == TOKEN_HELD) {
        etcd->token_state = TOKEN_NEEDED;
    }
    advance(call);
}

static void take_reply(struct etcd_call *call, enum etcd_hint hint, struct etcd_reply *reply)
{
    struct etcd *etcd = call->etcd;

    if (is_foreign(call, reply)) {
        return;
    }
    if (hint == ETCD_HINT_AUTHENTICATE) {
        token_refused(call, reply);
        return;
    }
    if (reply->outcome == ETCD_UNKNOWN) {
        attempt_failed(call, hint == ETCD_HINT_ELSEWHERE, reply->reason, reply->text);
        return;
    }
    if (reply->revision > etcd->revision) {
        etcd->revision = reply->revision;
    }
    if (reply->outcome == ETCD_OK && reply->revision < call->min_revision) {
        snprintf(reply->text, sizeof reply->text,
                 "its revision is %" PRId64 ", and %" PRId64 " was seen before", reply->revision,
                 call->min_revision);
        call->stale |= bit_of(etcd, call->endpoint);
        attempt_failed(call, false, ETCD_STALE, reply->text);
        return;
    }
    if (reply->outcome == ETCD_OK) {
        etcd->last_failure[0] = '\0';
    } else {
        etcd->answered_ms = clock_now_ms();
        note_failure(etcd, call->endpoint, reply->text);
        snprintf(reply->text, sizeof reply->text, "%s", etcd->last_failure);
    }
    finish(call, reply);
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct etcd_call *call = arg;
    struct etcd_reply reply = {.sent = true, .sent_ms = call->sent_ms, .endpoint = ""};
    enum etcd_hint hint;

    call->op = NULL;
    if (answer->err.code == ERR_LIMIT) {
        finish_with(call, ETCD_UNKNOWN, ETCD_TOO_LARGE, answer->err.text); /* the same elsewhere */
        return;
    }
    if (answer->err.code != ERR_NONE) {
        attempt_failed(call, !answer->sent, ETCD_NO_REASON, answer->err.text);
        return;
    }
    hint = etcd_decode_reply(call->kind, answer->status, answer->body, answer->body_len, &reply);
    take_reply(call, hint, &reply);
    /* finish() has emptied it, unless the call goes on. */
    etcd_reply_done(&reply);
}

static void on_who(void *arg, const struct http_answer *answer)
{
    struct etcd_call *call = arg;
    struct etcd_reply reply = {0};
    enum etcd_hint hint;

    call->op = NULL;
    if (answer->err.code != ERR_NONE) {
        attempt_failed(call, true, ETCD_NO_REASON, answer->err.text);
        return;
    }
    hint =
        etcd_decode_reply(ETCD_KIND_STATUS, answer->status, answer->body, answer->body_len, &reply);
    if (hint == ETCD_HINT_AUTHENTICATE) {
        token_refused(call, &reply);
    } else if (reply.outcome == ETCD_UNKNOWN) {
        attempt_failed(call, true, reply.reason, reply.text);
    } else if (!is_foreign(call, &reply)) {
        /* A user who may not ask for the status is told who it was by the answer to his write. */
        set_heard(call->etcd, call->endpoint, true);
        advance(call);
    }
    etcd_reply_done(&reply);
}

static void send_request(struct etcd_call *call, const char *path, const char *body,
                         http_done_fn done)
{
    struct etcd *etcd = call->etcd;
    struct request_room room;
    struct http_request request = make_request(etcd, etcd->endpoint, path, body, &room);
    uint64_t left = left_ms(call);
    bool has_kvs = call->kind == ETCD_KIND_RANGE || call->kind == ETCD_KIND_TXN;

    call->endpoint = number_of(etcd, etcd->endpoint);
    call->token_serial = etcd->token_serial;
    timer_stop(call->timer); /* the attempt's deadline is http's now, and ends no later */
    request.body_limit = has_kvs ? ETCD_RANGE_BODY_MAX : ETCD_BODY_MAX;
    request.deadline_ms = left < ETCD_ATTEMPT_MS ? left : ETCD_ATTEMPT_MS;
    request.once = is_write(call->kind);
    request.done = done;
    request.arg = call;
    call->op = http_start(etcd->http, &request);
}

/* What the call needs next. It may finish it. */
static void advance(struct etcd_call *call)
{
    struct etcd *etcd = call->etcd;

    if (!call->body) {
        finish_with(call, ETCD_REFUSED, ETCD_BAD_REQUEST, call->failure);
        return;
    }
    if (left_ms(call) == 0) {
        finish_late(call);
        return;
    }
    if (etcd->token_state == TOKEN_DENIED && clock_now_ms() < etcd->denied_until_ms) {
        finish_with(call, ETCD_REFUSED, ETCD_AUTH_FAILED, etcd->denied);
        return;
    }
    if (etcd->token_state != TOKEN_HELD) {
        await_token(call);
        return;
    }
    if (is_write(call->kind) && !etcd->heard[etcd->endpoint]) {
        call->step = CALL_ASKING;
        send_request(call, etcd_kind_path(ETCD_KIND_STATUS), "{}", on_who);
        return;
    }
    call->step = CALL_SENT;
    call->sent = true;
    call->sent_ms = clock_now_ms();
    send_request(call, etcd_kind_path(call->kind), call->body, on_answer);
}

static void on_call_timer(void *arg)
{
    struct etcd_call *call = arg;

    if (call->step == CALL_LOGIN) {
        finish_late(call);
    } else {
        advance(call);
    }
}

/* Takes body; with NULL, err says why there is none. */
static struct etcd_call *start(struct etcd *etcd, enum etcd_kind kind, char *body,
                               const struct err *err, uint64_t within_ms, etcd_done_fn done,
                               void *arg)
{
    struct etcd_call *call = calloc(1, sizeof *call);

    assert(call && within_ms > 0 && done);
    call->etcd = etcd;
    call->kind = kind;
    call->body = body;
    call->endpoint = number_of(etcd, etcd->endpoint);
    call->deadline_ms = clock_now_ms() + within_ms;
    call->done = done;
    call->arg = arg;
    call->timer = timer_new(etcd->loop, on_call_timer, call);
    LIST_INSERT_HEAD(&etcd->calls, call, link);
    if (!body) {
        snprintf(call->failure, sizeof call->failure, "%s", err->text);
    }
    /* advance() may end the call, and `done` never runs inside the call that began it. */
    call->step = CALL_WAITING;
    timer_start(call->timer, 0);
    return call;
}

/* ---- The calls ---- */

struct etcd_call *etcd_range(struct etcd *etcd, const struct etcd_range *range, uint64_t within_ms,
                             etcd_done_fn done, void *arg)
{
    struct err err;
    char *body = etcd_encode_range(range, &err);
    struct etcd_call *call = start(etcd, ETCD_KIND_RANGE, body, &err, within_ms, done, arg);

    call->min_revision = range->min_revision;
    return call;
}

struct etcd_call *etcd_txn(struct etcd *etcd, const struct etcd_txn *txn, uint64_t within_ms,
                           etcd_done_fn done, void *arg)
{
    struct err err;
    char *body = etcd_encode_txn(txn, &err);

    return start(etcd, ETCD_KIND_TXN, body, &err, within_ms, done, arg);
}

struct etcd_call *etcd_put(struct etcd *etcd, const char *key, const char *value, size_t value_len,
                           int64_t lease, uint64_t within_ms, etcd_done_fn done, void *arg)
{
    struct err err;
    char *body = etcd_encode_put(key, value, value_len, lease, &err);

    return start(etcd, ETCD_KIND_PUT, body, &err, within_ms, done, arg);
}

struct etcd_call *etcd_delete(struct etcd *etcd, const char *key, bool prefix, uint64_t within_ms,
                              etcd_done_fn done, void *arg)
{
    struct err err;
    char *body = etcd_encode_delete(key, prefix, &err);

    return start(etcd, ETCD_KIND_DELETE, body, &err, within_ms, done, arg);
}

struct etcd_call *etcd_lease_grant(struct etcd *etcd, int64_t ttl_s, uint64_t within_ms,
                                   etcd_done_fn done, void *arg)
{
    return start(etcd, ETCD_KIND_GRANT, etcd_encode_lease_grant(ttl_s, 0), NULL, within_ms, done,
                 arg);
}

struct etcd_call *etcd_lease_keepalive(struct etcd *etcd, int64_t lease, uint64_t within_ms,
                                       etcd_done_fn done, void *arg)
{
    return start(etcd, ETCD_KIND_KEEPALIVE, etcd_encode_lease(lease), NULL, within_ms, done, arg);
}

struct etcd_call *etcd_lease_revoke(struct etcd *etcd, int64_t lease, uint64_t within_ms,
                                    etcd_done_fn done, void *arg)
{
    return start(etcd, ETCD_KIND_REVOKE, etcd_encode_lease(lease), NULL, within_ms, done, arg);
}

struct etcd_call *etcd_compact(struct etcd *etcd, int64_t revision, uint64_t within_ms,
                               etcd_done_fn done, void *arg)
{
    return start(etcd, ETCD_KIND_COMPACT, etcd_encode_compact(revision), NULL, within_ms, done,
                 arg);
}

struct etcd_call *etcd_status(struct etcd *etcd, uint64_t within_ms, etcd_done_fn done, void *arg)
{
    char *body = strdup("{}");

    assert(body);
    return start(etcd, ETCD_KIND_STATUS, body, NULL, within_ms, done, arg);
}

void etcd_cancel(struct etcd_call *call)
{
    if (call) {
        call_free(call);
    }
}

/* ---- The client ---- */

static void strip_slash(char *endpoint)
{
    size_t len = strlen(endpoint);

    while (len > 0 && endpoint[len - 1] == '/') {
        endpoint[--len] = '\0';
    }
}

static const char *path_or_null(const char *path)
{
    return path[0] != '\0' ? path : NULL;
}

struct etcd *etcd_new(struct loop *loop, struct http *http, const struct etcd_config *config)
{
    struct etcd *etcd = calloc(1, sizeof *etcd);

    assert(etcd);
    assert(config->endpoints_len > 0 && config->endpoints_len <= ETCD_ENDPOINTS_MAX);
    etcd->loop = loop;
    etcd->http = http;
    etcd->config = *config;
    for (int i = 0; i < config->endpoints_len; i++) {
        strip_slash(etcd->config.endpoints[i]);
    }
    etcd->tls.ca_file = path_or_null(etcd->config.ca_file);
    etcd->tls.cert_file = path_or_null(etcd->config.cert_file);
    etcd->tls.key_file = path_or_null(etcd->config.key_file);
    etcd->cluster_id = config->cluster_id;
    etcd->token_state = config->user[0] != '\0' ? TOKEN_NEEDED : TOKEN_HELD;
    etcd->login_timer = timer_new(loop, send_login, etcd);
    etcd->random = (uint32_t)clock_now_ms() ^ (uint32_t)getpid() << 16 ^ (uint32_t)(uintptr_t)etcd;
    etcd->random |= 1;
    LIST_INIT(&etcd->calls);
    return etcd;
}

void etcd_free(struct etcd *etcd)
{
    struct etcd_call *call;

    if (!etcd) {
        return;
    }
    while ((call = LIST_FIRST(&etcd->calls)) != NULL) {
        /* The analyser does not see that call_free() takes the call off the list. */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        call_free(call);
    }
    if (etcd->login_op) {
        http_cancel(etcd->login_op);
    }
    timer_free(etcd->login_timer);
    explicit_bzero(etcd->config.password, sizeof etcd->config.password);
    explicit_bzero(etcd->token, sizeof etcd->token);
    free(etcd);
}

void etcd_pin(struct etcd *etcd, uint64_t cluster_id)
{
    if (cluster_id != etcd->cluster_id) {
        memset(etcd->heard, 0, sizeof etcd->heard);
        etcd->cluster_id = cluster_id;
        etcd->revision = 0;
    }
}

/* The endpoint in use stays in use if it is still in the list. */
void etcd_set_endpoints(struct etcd *etcd, const char endpoints[][ETCD_ENDPOINT_SIZE], int len)
{
    struct etcd_config *config = &etcd->config;
    char in_use[ETCD_ENDPOINT_SIZE];
    struct etcd_call *call;

    assert(len > 0 && len <= ETCD_ENDPOINTS_MAX);
    memcpy(in_use, config->endpoints[etcd->endpoint], sizeof in_use);
    memset(etcd->heard, 0, sizeof etcd->heard);
    etcd->endpoints_round++;
    etcd->endpoint = 0;
    config->endpoints_len = len;
    for (int i = 0; i < len; i++) {
        snprintf(config->endpoints[i], ETCD_ENDPOINT_SIZE, "%s", endpoints[i]);
        strip_slash(config->endpoints[i]);
        if (strcmp(config->endpoints[i], in_use) == 0) {
            etcd->endpoint = i;
        }
    }
    LIST_FOREACH(call, &etcd->calls, link)
    {
        call->tried = call->foreign = call->stale = 0;
    }
}

void etcd_set_user(struct etcd *etcd, const char *user, const char *password)
{
    if (strcmp(user, etcd->config.user) == 0 && strcmp(password, etcd->config.password) == 0 &&
        etcd->token_state != TOKEN_DENIED) {
        return; /* the token that is held is as good as a new one */
    }
    if (etcd->login_op) {
        http_cancel(etcd->login_op);
        etcd->login_op = NULL;
    }
    timer_stop(etcd->login_timer);
    explicit_bzero(etcd->config.password, sizeof etcd->config.password);
    explicit_bzero(etcd->token, sizeof etcd->token);
    snprintf(etcd->config.user, sizeof etcd->config.user, "%s", user);
    snprintf(etcd->config.password, sizeof etcd->config.password, "%s", password);
    etcd->denied_for_ms = 0;
    etcd->token_serial++;
    etcd->token_state = user[0] != '\0' ? TOKEN_NEEDED : TOKEN_HELD;
    wake_waiting(etcd);
}

struct etcd_health etcd_health(const struct etcd *etcd)
{
    struct etcd_health health = {.cluster_id = etcd->cluster_id,
                                 .revision = etcd->revision,
                                 .answered_ms = etcd->answered_ms,
                                 .failovers = etcd->failovers,
                                 .logins = etcd->logins};

    snprintf(health.endpoint, sizeof health.endpoint, "%s", etcd->config.endpoints[etcd->endpoint]);
    snprintf(health.last_failure, sizeof health.last_failure, "%s", etcd->last_failure);
    return health;
}
