/*
 * decode.c - answers of etcd's JSON gateway (codec.h).
 *
 * One table holds every answer that we take for definite. What is not in it, or does not have the
 * form it must have, is ETCD_UNKNOWN.
 */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/json.h"
#include "controller/base/utf8.h"
#include "controller/etcd/base64.h"
#include "controller/etcd/codec.h"

static const char *const reason_names[] = {
    [ETCD_NO_REASON] = "none",
    [ETCD_LEASE_NOT_FOUND] = "lease_not_found",
    [ETCD_LEASE_EXISTS] = "lease_exists",
    [ETCD_COMPACTED] = "compacted",
    [ETCD_FUTURE_REVISION] = "future_revision",
    [ETCD_NO_SPACE] = "no_space",
    [ETCD_CORRUPT] = "corrupt",
    [ETCD_PERMISSION_DENIED] = "permission_denied",
    [ETCD_AUTH_FAILED] = "auth_failed",
    [ETCD_AUTH_DISABLED] = "auth_disabled",
    [ETCD_TOKEN_REFUSED] = "token_refused",
    [ETCD_WRONG_CLUSTER] = "wrong_cluster",
    [ETCD_BAD_REQUEST] = "bad_request",
    [ETCD_STALE] = "stale",
    [ETCD_NO_LEADER] = "no_leader",
    [ETCD_TOO_LARGE] = "too_large",
};
_Static_assert(sizeof reason_names / sizeof *reason_names == ETCD_REASONS,
               "a name for each reason");

const char *etcd_reason_name(enum etcd_reason reason)
{
    return reason_names[reason];
}

const char *etcd_kind_path(enum etcd_kind kind)
{
    static const char *const paths[] = {
        [ETCD_KIND_RANGE] = "/v3/kv/range",
        [ETCD_KIND_PUT] = "/v3/kv/put",
        [ETCD_KIND_DELETE] = "/v3/kv/deleterange",
        [ETCD_KIND_TXN] = "/v3/kv/txn",
        [ETCD_KIND_GRANT] = "/v3/lease/grant",
        [ETCD_KIND_KEEPALIVE] = "/v3/lease/keepalive",
        [ETCD_KIND_REVOKE] = "/v3/lease/revoke",
        [ETCD_KIND_COMPACT] = "/v3/kv/compaction",
        [ETCD_KIND_STATUS] = "/v3/maintenance/status",
    };

    return paths[kind];
}

/* ---- What etcd says no with ---- */

/* Codes of gRPC (google.golang.org/grpc/codes); texts of etcd's rpctypes, without "etcdserver: ".
 */
enum { GRPC_INVALID = 3, GRPC_NOT_FOUND = 5, GRPC_DENIED = 7, GRPC_EXHAUSTED = 8 };
enum { GRPC_PRECONDITION = 9, GRPC_RANGE = 11, GRPC_UNAVAILABLE = 14, GRPC_DATA_LOSS = 15 };
enum { GRPC_UNAUTHENTICATED = 16 };

struct known {
    const char *text;
    int code;
    enum etcd_outcome outcome;
    enum etcd_reason reason;
    enum etcd_hint hint;
};

/* clang-format off */
static const struct known known[] = {
    { "requested lease not found",                          GRPC_NOT_FOUND,       ETCD_REFUSED, ETCD_LEASE_NOT_FOUND,   ETCD_HINT_NONE },
    { "lease already exists",                               GRPC_PRECONDITION,    ETCD_REFUSED, ETCD_LEASE_EXISTS,      ETCD_HINT_NONE },
    { "mvcc: required revision has been compacted",         GRPC_RANGE,           ETCD_REFUSED, ETCD_COMPACTED,         ETCD_HINT_NONE },
    { "mvcc: required revision is a future revision",       GRPC_RANGE,           ETCD_REFUSED, ETCD_FUTURE_REVISION,   ETCD_HINT_NONE },
    { "mvcc: database space exceeded",                      GRPC_EXHAUSTED,       ETCD_REFUSED, ETCD_NO_SPACE,          ETCD_HINT_NONE },
    { "corrupt cluster",                                    GRPC_DATA_LOSS,       ETCD_REFUSED, ETCD_CORRUPT,           ETCD_HINT_NONE },
    { "permission denied",                                  GRPC_DENIED,          ETCD_REFUSED, ETCD_PERMISSION_DENIED, ETCD_HINT_NONE },
    { "authentication failed, invalid user ID or password", GRPC_INVALID,         ETCD_REFUSED, ETCD_AUTH_FAILED,       ETCD_HINT_NONE },
    { "authentication is not enabled",                      GRPC_PRECONDITION,    ETCD_REFUSED, ETCD_AUTH_DISABLED,     ETCD_HINT_NONE },
    { "invalid auth token",                                 GRPC_UNAUTHENTICATED, ETCD_REFUSED, ETCD_TOKEN_REFUSED,     ETCD_HINT_AUTHENTICATE },
    { "user name is empty",                                 GRPC_INVALID,         ETCD_REFUSED, ETCD_TOKEN_REFUSED,     ETCD_HINT_AUTHENTICATE },
    { "revision of auth store is old",                      GRPC_INVALID,         ETCD_REFUSED, ETCD_TOKEN_REFUSED,     ETCD_HINT_AUTHENTICATE },
    { "key is not provided",                                GRPC_INVALID,         ETCD_REFUSED, ETCD_BAD_REQUEST,       ETCD_HINT_NONE },
    { "duplicate key given in txn request",                 GRPC_INVALID,         ETCD_REFUSED, ETCD_BAD_REQUEST,       ETCD_HINT_NONE },
    { "too many operations in txn request",                 GRPC_INVALID,         ETCD_REFUSED, ETCD_BAD_REQUEST,       ETCD_HINT_NONE },
    { "request is too large",                               GRPC_INVALID,         ETCD_REFUSED, ETCD_BAD_REQUEST,       ETCD_HINT_NONE },
    { "too large lease TTL",                                GRPC_RANGE,           ETCD_REFUSED, ETCD_BAD_REQUEST,       ETCD_HINT_NONE },
    /* Said before the request was proposed to anybody (the header `hasleader`; a learner; a queue that is full). */
    { "no leader",                                          GRPC_UNAVAILABLE,     ETCD_UNKNOWN, ETCD_NO_LEADER,         ETCD_HINT_ELSEWHERE },
    { "rpc not supported for learner",                      GRPC_UNAVAILABLE,     ETCD_UNKNOWN, ETCD_NO_REASON,         ETCD_HINT_ELSEWHERE },
    { "too many requests",                                  GRPC_EXHAUSTED,       ETCD_UNKNOWN, ETCD_NO_REASON,         ETCD_HINT_ELSEWHERE },
};
/* clang-format on */
#define KNOWN_LEN    (sizeof known / sizeof *known)
#define KNOWN_PREFIX "etcdserver: "

static const struct known *find_known(int64_t code, const char *text)
{
    if (strncmp(text, KNOWN_PREFIX, strlen(KNOWN_PREFIX)) != 0) {
        return NULL;
    }
    text += strlen(KNOWN_PREFIX);
    for (size_t i = 0; i < KNOWN_LEN; i++) {
        if (known[i].code == code && strcmp(known[i].text, text) == 0) {
            return &known[i];
        }
    }
    return NULL;
}

/* A canceled watch has a text alone: "rpc error: code = PermissionDenied desc = etcdserver:
 * permission denied". */
static const struct known *find_known_reason(const char *text)
{
    const char *start = strstr(text, KNOWN_PREFIX);

    for (size_t i = 0; start && i < KNOWN_LEN; i++) {
        if (strcmp(known[i].text, start + strlen(KNOWN_PREFIX)) == 0) {
            return &known[i];
        }
    }
    return NULL;
}

static const char *text_or(const json_t *object, const char *key, const char *absent)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : absent;
}

/*
 * The three forms of an error. Unary, 3.4 and 3.5: {"error":M,"message":M,"code":C}; unary, 3.6:
 * {"code":C,"message":M,"details":[]}; in a stream: {"error":{"grpc_code":C,"message":M,...}}, 3.6
 * {"error":{"code":C,"message":M}}. Returns the text, or NULL when this is no error.
 */
static const char *error_text(const json_t *root, int64_t *ret_code)
{
    const json_t *error = json_object_get(root, "error");
    const json_t *code;

    if (json_is_object(error)) {
        code = json_object_get(error, "grpc_code");
        *ret_code = json_integer_value(code ? code : json_object_get(error, "code"));
        return text_or(error, "message", "an error without a message");
    }
    if (!error && !json_object_get(root, "code")) {
        return NULL;
    }
    *ret_code = json_integer_value(json_object_get(root, "code"));
    return text_or(root, "message", text_or(root, "error", "an error without a message"));
}

static void tell_error(char ret_text[ERR_TEXT_MAX], const char *text, int64_t code)
{
    snprintf(ret_text, ERR_TEXT_MAX, "%.300s (code %" PRId64 ")", text, code);
    utf8_show(ret_text);
}

static enum etcd_hint set_error(struct etcd_reply *reply, int64_t code, const char *text)
{
    const struct known *found = find_known(code, text);

    reply->outcome = found ? found->outcome : ETCD_UNKNOWN;
    reply->reason = found ? found->reason : ETCD_NO_REASON;
    tell_error(reply->text, text, code);
    return found ? found->hint : ETCD_HINT_NONE;
}

/* ---- Keys and values ---- */

/*
 * All decoded strings of one answer. Their bytes and NULs together are fewer than the answer's,
 * since base64 grows by a third and each string has at least its quotes around it.
 */
struct arena {
    char *data;
    size_t len, size;
};

static void arena_init(struct arena *arena, size_t body_len)
{
    arena->size = body_len + 1;
    arena->len = 0;
    arena->data = malloc(arena->size);
    if (!arena->data) {
        abort();
    }
}

static const char *read_bytes(struct json_in *in, const json_t *object, const char *key,
                              struct arena *arena, size_t *ret_len)
{
    const json_t *value = json_object_get(object, key);
    char *start = arena->data + arena->len;

    *ret_len = 0;
    if (!value || !json_in_ok(in)) {
        return "";
    }
    if (!json_is_string(value)) {
        json_in_fail(in, key, "is not a string in base64");
        return "";
    }
    assert(arena->size - arena->len > json_string_length(value));
    if (base64_decode(json_string_value(value), json_string_length(value), start, ret_len) < 0) {
        json_in_fail(in, key, "is no base64: %.40s", json_string_value(value));
        *ret_len = 0;
        return "";
    }
    start[*ret_len] = '\0';
    arena->len += *ret_len + 1;
    return start;
}

static void read_kv(struct json_in *in, const json_t *object, struct arena *arena,
                    struct etcd_kv *ret_kv)
{
    ret_kv->key = read_bytes(in, object, "key", arena, &ret_kv->key_len);
    ret_kv->value = read_bytes(in, object, "value", arena, &ret_kv->value_len);
    ret_kv->create_revision = json_i64_or(in, object, "create_revision", 0, INT64_MAX, 0);
    ret_kv->mod_revision = json_i64_or(in, object, "mod_revision", 0, INT64_MAX, 0);
    ret_kv->version = json_i64_or(in, object, "version", 0, INT64_MAX, 0);
    ret_kv->lease = json_i64_or(in, object, "lease", INT64_MIN, INT64_MAX, 0);
}

/* What a reply points to. */
struct reply_memory {
    struct arena arena;
    struct etcd_kv *kvs;
    int kvs_len, kvs_size;
};

static struct etcd_kv *add_kvs(struct reply_memory *memory, size_t more)
{
    size_t needed = (size_t)memory->kvs_len + more;

    if (needed > (size_t)memory->kvs_size) {
        memory->kvs_size = (int)(needed + needed / 2);
        memory->kvs = realloc(memory->kvs, (size_t)memory->kvs_size * sizeof *memory->kvs);
        if (!memory->kvs) {
            abort();
        }
    }
    return memory->kvs + memory->kvs_len;
}

static void read_kvs(struct json_in *in, const json_t *object, struct reply_memory *memory)
{
    const json_t *array;
    struct etcd_kv *kvs;

    if (!json_has(object, "kvs")) {
        return;
    }
    array = json_array_at(in, object, "kvs", (size_t)(ETCD_KVS_MAX - memory->kvs_len));
    if (!array || json_array_size(array) == 0) {
        return;
    }
    kvs = add_kvs(memory, json_array_size(array));
    json_enter(in, "kvs");
    for (size_t i = 0; i < json_array_size(array) && json_in_ok(in); i++) {
        json_enter_index(in, i);
        read_kv(in, json_array_get(array, i), &memory->arena, &kvs[i]);
        json_leave(in);
    }
    json_leave(in);
    if (json_in_ok(in)) {
        memory->kvs_len += (int)json_array_size(array);
    }
}

/* ---- One reader for each kind ---- */

static void read_header(struct json_in *in, const json_t *object, uint64_t *ret_cluster_id,
                        uint64_t *ret_member_id, int64_t *ret_revision, uint64_t *ret_raft_term)
{
    const json_t *header = json_object_at(in, object, "header");

    if (!header) {
        return;
    }
    json_enter(in, "header");
    *ret_cluster_id = json_u64(in, header, "cluster_id");
    *ret_member_id = json_u64_or(in, header, "member_id", 0);
    *ret_revision = json_i64_or(in, header, "revision", 0, INT64_MAX, 0);
    *ret_raft_term = json_u64_or(in, header, "raft_term", 0);
    json_leave(in);
}

static void read_range(struct json_in *in, const json_t *object, struct reply_memory *memory,
                       struct etcd_reply *reply)
{
    read_kvs(in, object, memory);
    reply->count = json_i64_or(in, object, "count", 0, INT64_MAX, 0);
    reply->more = json_bool_or(in, object, "more", false);
}

static void read_response(struct json_in *in, const json_t *object, struct reply_memory *memory,
                          struct etcd_response *response)
{
    const json_t *inner;

    response->kvs_first = memory->kvs_len;
    if (json_has(object, "response_range")) {
        response->kind = ETCD_RANGE;
        inner = json_object_at(in, object, "response_range");
        json_enter(in, "response_range");
        read_kvs(in, inner, memory);
        response->count = json_i64_or(in, inner, "count", 0, INT64_MAX, 0);
        json_leave(in);
    } else if (json_has(object, "response_delete_range")) {
        response->kind = ETCD_DELETE;
        inner = json_object_at(in, object, "response_delete_range");
        json_enter(in, "response_delete_range");
        response->count = json_i64_or(in, inner, "deleted", 0, INT64_MAX, 0);
        json_leave(in);
    } else {
        response->kind = ETCD_PUT;
        json_object_at(in, object, "response_put");
    }
    response->kvs_len = memory->kvs_len - response->kvs_first;
}

static void read_txn(struct json_in *in, const json_t *object, struct reply_memory *memory,
                     struct etcd_reply *reply)
{
    const json_t *array;

    reply->succeeded = json_bool_or(in, object, "succeeded", false);
    if (!json_has(object, "responses")) {
        return;
    }
    array = json_array_at(in, object, "responses", ETCD_OPS_MAX);
    json_enter(in, "responses");
    for (size_t i = 0; i < json_array_size(array) && json_in_ok(in); i++) {
        json_enter_index(in, i);
        read_response(in, json_array_get(array, i), memory, &reply->responses[i]);
        json_leave(in);
    }
    json_leave(in);
    reply->responses_len = (int)json_array_size(array);
}

static void read_status(struct json_in *in, const json_t *object, struct etcd_reply *reply)
{
    const json_t *errors = json_object_get(object, "errors");

    json_text_or(in, object, "version", reply->version, sizeof reply->version, "");
    reply->db_size = json_i64_or(in, object, "dbSize", 0, INT64_MAX, 0);
    reply->db_size_in_use = json_i64_or(in, object, "dbSizeInUse", 0, INT64_MAX, 0);
    reply->db_quota = json_i64_or(in, object, "dbSizeQuota", 0, INT64_MAX, 0);
    reply->leader = json_u64_or(in, object, "leader", 0);
    reply->is_learner = json_bool_or(in, object, "isLearner", false);
    for (size_t i = 0; i < json_array_size(errors); i++) {
        const char *text = json_string_value(json_array_get(errors, i));

        reply->alarm_no_space |= text && strstr(text, "NOSPACE");
        reply->alarm_corrupt |= text && strstr(text, "CORRUPT");
    }
}

/* Keepalives come as a stream of one: {"result":{...}}. */
static const json_t *body_of(struct json_in *in, enum etcd_kind kind, const json_t *root)
{
    if (kind != ETCD_KIND_KEEPALIVE) {
        return root;
    }
    root = json_object_at(in, root, "result");
    json_enter(in, "result");
    return root;
}

static void read_success(struct json_in *in, enum etcd_kind kind, const json_t *root,
                         struct reply_memory *memory, struct etcd_reply *reply)
{
    root = body_of(in, kind, root);
    read_header(in, root, &reply->cluster_id, &reply->member_id, &reply->revision,
                &reply->raft_term);
    switch (kind) {
    case ETCD_KIND_RANGE: read_range(in, root, memory, reply); break;
    case ETCD_KIND_DELETE: reply->count = json_i64_or(in, root, "deleted", 0, INT64_MAX, 0); break;
    case ETCD_KIND_TXN: read_txn(in, root, memory, reply); break;
    case ETCD_KIND_GRANT:
        reply->lease = json_i64(in, root, "ID", INT64_MIN, INT64_MAX);
        reply->ttl_s = json_i64(in, root, "TTL", 1, INT64_MAX);
        break;
    case ETCD_KIND_KEEPALIVE:
        reply->lease = json_i64(in, root, "ID", INT64_MIN, INT64_MAX);
        reply->ttl_s = json_i64_or(in, root, "TTL", INT64_MIN, INT64_MAX, 0);
        break;
    case ETCD_KIND_STATUS: read_status(in, root, reply); break;
    case ETCD_KIND_PUT:
    case ETCD_KIND_REVOKE:
    case ETCD_KIND_COMPACT:
    case ETCD_KINDS: break;
    }
}

/* Only who and what was asked stays; the fields of a half-read answer are nobody's business. */
static enum etcd_hint set_unknown(struct etcd_reply *reply, const char *text)
{
    struct etcd_reply kept = {.outcome = ETCD_UNKNOWN,
                              .sent = reply->sent,
                              .sent_ms = reply->sent_ms,
                              .endpoint = reply->endpoint};

    snprintf(kept.text, sizeof kept.text, "an answer that makes no sense: %.400s", text);
    utf8_show(kept.text);
    *reply = kept;
    return ETCD_HINT_NONE;
}

static void memory_free(struct reply_memory *memory)
{
    if (memory) {
        free(memory->arena.data);
        free(memory->kvs);
        free(memory);
    }
}

static enum etcd_hint decode_success(enum etcd_kind kind, const json_t *root, size_t len,
                                     struct etcd_reply *reply)
{
    struct reply_memory *memory = calloc(1, sizeof *memory);
    struct json_in in;
    struct err err;

    if (!memory) {
        abort();
    }
    arena_init(&memory->arena, len);
    json_in_init(&in, "etcd's answer");
    read_success(&in, kind, root, memory, reply);
    if (json_in_done(&in, &err) < 0) {
        memory_free(memory);
        return set_unknown(reply, err.text);
    }
    reply->outcome = ETCD_OK;
    reply->kvs = memory->kvs;
    reply->kvs_len = memory->kvs_len;
    reply->memory = memory;
    return ETCD_HINT_NONE;
}

static bool is_success(int status)
{
    return status >= 200 && status < 300;
}

/* The gateway's own words, before it asks etcd: with users it takes no certificate that names one.
 */
static bool is_about_common_name(const char *body, size_t len)
{
    static const char begin[] = "CommonName of client";

    return len >= sizeof begin - 1 && memcmp(body, begin, sizeof begin - 1) == 0;
}

enum etcd_hint etcd_decode_reply(enum etcd_kind kind, int status, const char *body, size_t len,
                                 struct etcd_reply *ret_reply)
{
    struct err err;
    json_t *root = json_parse(body, len, ETCD_RANGE_BODY_MAX, &err);
    int64_t code = 0;
    const char *text;
    enum etcd_hint hint;

    if (!root && is_about_common_name(body, len)) {
        snprintf(ret_reply->text, sizeof ret_reply->text,
                 "HTTP status %d: etcd's gateway takes no client certificate with a CommonName "
                 "where there are users; use one without",
                 status);
        ret_reply->outcome = ETCD_UNKNOWN;
        return ETCD_HINT_NONE;
    }
    if (!root) {
        snprintf(ret_reply->text, sizeof ret_reply->text, "HTTP status %d, and %.300s", status,
                 err.text);
        utf8_show(ret_reply->text);
        ret_reply->outcome = ETCD_UNKNOWN;
        return ETCD_HINT_NONE;
    }
    text = error_text(root, &code);
    if (text) {
        hint = set_error(ret_reply, code, text);
    } else if (is_success(status)) {
        hint = decode_success(kind, root, len, ret_reply);
    } else {
        snprintf(ret_reply->text, sizeof ret_reply->text,
                 "HTTP status %d without an error of etcd's", status);
        ret_reply->outcome = ETCD_UNKNOWN;
        hint = ETCD_HINT_NONE;
    }
    json_decref(root);
    return hint;
}

void etcd_reply_done(struct etcd_reply *reply)
{
    memory_free(reply->memory);
    reply->memory = NULL;
    reply->kvs = NULL;
    reply->kvs_len = 0;
}

/* A token goes into a header line: it must not be able to begin another one. */
static bool is_header_value(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text <= ' ' || (unsigned char)*text >= 0x7f) {
            return false;
        }
    }
    return true;
}

enum etcd_hint etcd_decode_auth(int status, const char *body, size_t len,
                                struct etcd_reply *ret_reply, char ret_token[ETCD_TOKEN_SIZE])
{
    struct err err;
    json_t *root = NULL;
    struct json_in in;
    char token[ETCD_TOKEN_SIZE] = "";
    enum etcd_hint hint = etcd_decode_reply(ETCD_KIND_PUT, status, body, len, ret_reply);

    if (ret_reply->outcome != ETCD_OK) {
        return hint;
    }
    root = json_parse(body, len, ETCD_BODY_MAX, &err);
    if (!root) {
        etcd_reply_done(ret_reply);
        return set_unknown(ret_reply, err.text);
    }
    json_in_init(&in, "etcd's answer");
    json_text(&in, root, "token", token, sizeof token);
    if (json_in_ok(&in) && (token[0] == '\0' || !is_header_value(token))) {
        json_in_fail(&in, "token", "cannot stand in a header");
    }
    json_decref(root);
    if (json_in_done(&in, &err) < 0) {
        etcd_reply_done(ret_reply);
        return set_unknown(ret_reply, err.text);
    }
    memcpy(ret_token, token, sizeof token);
    return ETCD_HINT_NONE;
}

/* ---- A watch's notices ---- */

struct notice_memory {
    struct arena arena;
    struct etcd_event *events;
};

static void notice_memory_free(struct notice_memory *memory)
{
    if (memory) {
        free(memory->arena.data);
        free(memory->events);
        free(memory);
    }
}

void etcd_notice_done(struct etcd_notice *notice)
{
    notice_memory_free(notice->memory);
    notice->memory = NULL;
    notice->events = NULL;
    notice->events_len = 0;
}

static void read_event(struct json_in *in, const json_t *object, struct arena *arena,
                       struct etcd_event *ret_event)
{
    static const char *const kinds[] = {"PUT", "DELETE", NULL};
    const json_t *kv = json_object_at(in, object, "kv");

    ret_event->kind = ETCD_EVENT_PUT;
    if (json_has(object, "type")) {
        ret_event->kind =
            json_enum(in, object, "type", kinds) == 1 ? ETCD_EVENT_DELETE : ETCD_EVENT_PUT;
    }
    json_enter(in, "kv");
    read_kv(in, kv, arena, &ret_event->kv);
    if (json_in_ok(in) && (ret_event->kv.mod_revision <= 0 || ret_event->kv.key_len == 0)) {
        json_in_fail(in, NULL, "has no key or no mod_revision");
    }
    json_leave(in);
}

static void read_events(struct json_in *in, const json_t *result, struct notice_memory *memory,
                        struct etcd_notice *notice)
{
    const json_t *array;
    size_t len;

    if (!json_has(result, "events")) {
        return;
    }
    array = json_array_at(in, result, "events", ETCD_KVS_MAX);
    len = json_array_size(array);
    memory->events = calloc(len + 1, sizeof *memory->events);
    if (!memory->events) {
        abort();
    }
    json_enter(in, "events");
    for (size_t i = 0; i < len && json_in_ok(in); i++) {
        json_enter_index(in, i);
        read_event(in, json_array_get(array, i), &memory->arena, &memory->events[i]);
        json_leave(in);
    }
    json_leave(in);
    notice->events = memory->events;
    notice->events_len = (int)len;
}

static void read_canceled(const json_t *result, struct etcd_notice *notice)
{
    const char *text = text_or(result, "cancel_reason", "canceled without a reason");
    const struct known *found = find_known_reason(text);

    if (notice->compact_revision > 0) {
        notice->reason = ETCD_COMPACTED;
        return;
    }
    notice->is_error = true;
    notice->reason = found ? found->reason : ETCD_NO_REASON;
    notice->hint = found ? found->hint : ETCD_HINT_NONE;
    snprintf(notice->text, sizeof notice->text, "%.400s", text);
    utf8_show(notice->text);
}

static void read_notice(struct json_in *in, const json_t *root, struct notice_memory *memory,
                        struct etcd_notice *notice)
{
    const json_t *result = json_object_at(in, root, "result");
    uint64_t raft_term;

    json_enter(in, "result");
    read_header(in, result, &notice->cluster_id, &notice->member_id, &notice->revision, &raft_term);
    notice->created = json_bool_or(in, result, "created", false);
    notice->canceled = json_bool_or(in, result, "canceled", false);
    notice->fragment = json_bool_or(in, result, "fragment", false);
    notice->compact_revision = json_i64_or(in, result, "compact_revision", 0, INT64_MAX, 0);
    read_events(in, result, memory, notice);
    json_leave(in);
    if (notice->canceled) {
        read_canceled(result, notice);
    }
}

static void read_stream_error(const char *text, int64_t code, struct etcd_notice *notice)
{
    const struct known *found = find_known(code, text);

    notice->is_error = true;
    notice->reason = found ? found->reason : ETCD_NO_REASON;
    notice->hint = found ? found->hint : ETCD_HINT_NONE;
    tell_error(notice->text, text, code);
}

int etcd_decode_notice(const char *text, size_t len, struct etcd_notice *ret_notice,
                       struct err *ret_err)
{
    json_t *root = json_parse(text, len, ETCD_OBJECT_MAX, ret_err);
    struct etcd_notice notice = {0};
    struct notice_memory *memory;
    struct json_in in;
    int64_t code = 0;
    const char *error;

    if (!root) {
        return -1;
    }
    memory = calloc(1, sizeof *memory);
    if (!memory) {
        abort();
    }
    arena_init(&memory->arena, len);
    json_in_init(&in, "a watch's notice");
    error = error_text(root, &code);
    if (error) {
        read_stream_error(error, code, &notice);
    } else {
        read_notice(&in, root, memory, &notice);
    }
    json_decref(root);
    if (json_in_done(&in, ret_err) < 0) {
        notice_memory_free(memory);
        return -1;
    }
    notice.memory = memory;
    *ret_notice = notice;
    return 0;
}
