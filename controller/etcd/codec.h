/*
 * codec.h - the words of etcd's v3 JSON gateway, as values.
 *
 * Pure: no I/O, no clock, no state; every decoder takes bytes from outside and bounds them, so each
 * can be fuzzed by itself. The gateway's habits (recipes, tried with 3.4.23): 64-bit integers are
 * strings, zero and false members are absent, keys and values are base64, unknown members may come
 * and are ignored.
 *
 * The rule for answers (failures.md D1, patroni #3572): only what stands in an allow-list of
 * definite answers is ETCD_REFUSED. Everything else that is not a success is ETCD_UNKNOWN: never
 * "lost", never "granted".
 *
 * Memory: requests are text from malloc(), the caller frees it. A reply owns what it points to
 * until etcd_reply_done().
 */
#ifndef FAILOVER_ETCD_CODEC_H
#define FAILOVER_ETCD_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"

#define ETCD_KEY_MAX      1024       /* bytes of a key that we write or ask for */
#define ETCD_VALUE_MAX    (1u << 20) /* bytes of a value that we write */
#define ETCD_COMPARES_MAX 64         /* of one transaction */
#define ETCD_OPS_MAX      64         /* of one branch of a transaction */
#define ETCD_BODY_MAX     (1u << 20) /* of an answer other than a range's */
#define ETCD_RANGE_BODY_MAX                                                                        \
    (8u << 20)                     /* of a range's answer, and of a transaction's that has ranges */
#define ETCD_KVS_MAX    65536      /* keys in one answer */
#define ETCD_OBJECT_MAX (4u << 20) /* bytes of one object of a watch's stream */

/* ---- What is asked ---- */

enum etcd_compare_target {
    ETCD_COMPARE_CREATE, /* create revision; 0 compares with "there is no such key" */
    ETCD_COMPARE_MOD,    /* mod revision; 0 as above */
    ETCD_COMPARE_VERSION,
    ETCD_COMPARE_VALUE,
};
enum etcd_compare_result { ETCD_EQUAL, ETCD_LESS, ETCD_GREATER };

struct etcd_compare {
    const char *key;
    enum etcd_compare_target target;
    enum etcd_compare_result result;
    int64_t number;    /* create, mod, version */
    const char *value; /* ETCD_COMPARE_VALUE */
    size_t value_len;
};

enum etcd_op_kind { ETCD_PUT, ETCD_DELETE, ETCD_RANGE };

struct etcd_op {
    enum etcd_op_kind kind;
    const char *key;
    bool prefix;       /* delete and range: every key that begins with `key` */
    const char *value; /* put */
    size_t value_len;
    int64_t lease; /* put; 0: none */
    int64_t limit; /* range; 0: none */
};

/* If all compares hold, `success` is done, else `failure`; at once, in one revision. */
struct etcd_txn {
    struct etcd_compare compares[ETCD_COMPARES_MAX];
    int compares_len;
    struct etcd_op success[ETCD_OPS_MAX];
    int success_len;
    struct etcd_op failure[ETCD_OPS_MAX];
    int failure_len;
};

/* Builders; they keep the pointers (the request is encoded inside etcd_txn()), and assert on room.
 */
void etcd_txn_if_create(struct etcd_txn *txn, const char *key, int64_t create_revision);
void etcd_txn_if_mod(struct etcd_txn *txn, const char *key, int64_t mod_revision);
void etcd_txn_then_put(struct etcd_txn *txn, const char *key, const char *value, size_t value_len,
                       int64_t lease);
void etcd_txn_then_delete(struct etcd_txn *txn, const char *key, bool prefix);
void etcd_txn_then_range(struct etcd_txn *txn, const char *key, bool prefix);
void etcd_txn_else_range(struct etcd_txn *txn, const char *key, bool prefix);

struct etcd_range {
    const char *key;
    bool prefix;
    int64_t
        limit; /* keys; 0: no limit but ETCD_RANGE_BODY_MAX (then ask in pages: limit and `more`) */
    int64_t revision; /* read as of then; 0: now */
    /* An answer from an older store than this is stale (design §4: members lag, backups forget):
     * the next endpoint is asked, and with no better one the outcome is ETCD_UNKNOWN with
     * ETCD_STALE. 0: any. */
    int64_t min_revision;
    bool keys_only;
    const char *after; /* only keys behind this one; NULL: all. For the next page */
};

/* ---- What is answered ---- */

enum etcd_outcome {
    ETCD_OK,
    ETCD_REFUSED, /* a definite answer: nothing was done, and `reason` says why */
    ETCD_UNKNOWN, /* anything else: it may or may not have happened (not at all, where `sent` is
                     false) */
};

enum etcd_reason {
    ETCD_NO_REASON,
    ETCD_LEASE_NOT_FOUND,
    ETCD_LEASE_EXISTS,
    ETCD_COMPACTED,
    ETCD_FUTURE_REVISION,
    ETCD_NO_SPACE,          /* the quota is used up: ranges, deletes and keepalives still work */
    ETCD_CORRUPT,           /* the members disagree about the data */
    ETCD_PERMISSION_DENIED, /* the user may not do this */
    ETCD_AUTH_FAILED,       /* user or password are wrong */
    ETCD_AUTH_DISABLED,     /* asked for a token where there are no users */
    ETCD_TOKEN_REFUSED,     /* still refused right after a new token was had */
    ETCD_WRONG_CLUSTER,     /* another cluster answers there than the pinned one */
    ETCD_BAD_REQUEST,       /* etcd or our own bounds say that the request makes no sense */
    ETCD_STALE,             /* with ETCD_UNKNOWN: the answer was older than min_revision */
    ETCD_NO_LEADER, /* with ETCD_UNKNOWN: the member has no leader; nothing was done there */
    ETCD_TOO_LARGE, /* with ETCD_UNKNOWN: the answer was over its bound; ask for less */
    ETCD_REASONS
};
const char *etcd_reason_name(enum etcd_reason reason);

struct etcd_kv {
    const char *key; /* NUL-terminated, as is value */
    size_t key_len;
    const char *value;
    size_t value_len;
    int64_t create_revision;
    int64_t mod_revision; /* of an ETCD_EVENT_DELETE: the deletion's */
    int64_t version;
    int64_t lease; /* 0: none */
};

/* One per operation of the branch that a transaction took. */
struct etcd_response {
    enum etcd_op_kind kind;
    int kvs_first, kvs_len; /* range: where in reply->kvs */
    int64_t count;          /* range: keys there are; delete: keys deleted */
};

struct etcd_reply {
    enum etcd_outcome outcome;
    enum etcd_reason reason;
    char text[ERR_TEXT_MAX]; /* for people, with the endpoint; "" with ETCD_OK */
    bool sent;               /* false: nothing left this machine, so nothing happened */
    uint64_t sent_ms;        /* CLOCK_BOOTTIME right before the answered request was sent */
    const char *endpoint;    /* that was asked last, or "" */

    uint64_t cluster_id, member_id; /* from the header; 0 where there is none */
    int64_t revision;
    uint64_t raft_term;

    struct etcd_kv *kvs; /* of a range, or of all ranges of a transaction, in order */
    int kvs_len;
    int64_t count; /* range: all keys in it; delete: keys deleted */
    bool more;     /* range: the limit cut it */

    bool succeeded; /* transaction: which branch */
    struct etcd_response responses[ETCD_OPS_MAX];
    int responses_len;

    int64_t lease; /* grant, keepalive */
    int64_t ttl_s; /* 0: the lease is gone (keepalive answers so, with success) */

    char version[32]; /* status: etcd's */
    int64_t db_size, db_size_in_use;
    int64_t db_quota; /* from 3.6 on; 0: not told */
    uint64_t leader;  /* status: member id of etcd's leader; 0: none */
    bool is_learner, alarm_no_space, alarm_corrupt;

    void *memory; /* private to the codec */
};

void etcd_reply_done(struct etcd_reply *reply);

/* ---- Requests: NUL-terminated JSON from malloc(), or NULL with ERR_LIMIT / ERR_INVALID ---- */

char *etcd_encode_range(const struct etcd_range *range, struct err *ret_err);
char *etcd_encode_txn(const struct etcd_txn *txn, struct err *ret_err);
char *etcd_encode_put(const char *key, const char *value, size_t value_len, int64_t lease,
                      struct err *ret_err);
char *etcd_encode_delete(const char *key, bool prefix, struct err *ret_err);
char *etcd_encode_lease_grant(int64_t ttl_s, int64_t lease); /* lease 0: etcd chooses */
char *etcd_encode_lease(int64_t lease);                      /* keepalive and revoke */
char *etcd_encode_compact(int64_t revision);
char *etcd_encode_auth(const char *user, const char *password, struct err *ret_err);
char *etcd_encode_watch(const char *key, bool prefix, int64_t start_revision, struct err *ret_err);

/* ---- Answers ---- */

enum etcd_kind {
    ETCD_KIND_RANGE,
    ETCD_KIND_PUT,
    ETCD_KIND_DELETE,
    ETCD_KIND_TXN,
    ETCD_KIND_GRANT,
    ETCD_KIND_KEEPALIVE,
    ETCD_KIND_REVOKE,
    ETCD_KIND_COMPACT,
    ETCD_KIND_STATUS,
    ETCD_KINDS
};
const char *etcd_kind_path(enum etcd_kind kind); /* "/v3/kv/range" ... */

/* What the client should do about an answer, beside telling its caller. */
enum etcd_hint {
    ETCD_HINT_NONE,
    ETCD_HINT_ELSEWHERE,    /* refused before it was tried; ask another member (a write too) */
    ETCD_HINT_AUTHENTICATE, /* refused for its token; get a new one and repeat */
};

/*
 * Decodes an HTTP answer into *ret_reply (which the caller has zeroed but for sent, sent_ms and
 * endpoint, and frees by etcd_reply_done()). Never fails: what makes no sense is ETCD_UNKNOWN, with
 * the reason in text.
 */
enum etcd_hint etcd_decode_reply(enum etcd_kind kind, int status, const char *body, size_t len,
                                 struct etcd_reply *ret_reply);

/* The token of /v3/auth/authenticate; outcome, reason and text as above, cluster_id from the
 * header. */
#define ETCD_TOKEN_SIZE 1024
enum etcd_hint etcd_decode_auth(int status, const char *body, size_t len,
                                struct etcd_reply *ret_reply, char ret_token[ETCD_TOKEN_SIZE]);

/* ---- A watch's stream ---- */

enum etcd_event_kind { ETCD_EVENT_PUT, ETCD_EVENT_DELETE };

struct etcd_event {
    enum etcd_event_kind kind;
    struct etcd_kv kv;
};

/* One object of the stream. */
struct etcd_notice {
    uint64_t cluster_id, member_id;
    int64_t revision; /* the store's when this was sent; may be later than the events' */
    bool created, canceled, fragment;
    int64_t compact_revision; /* with canceled: what was asked for is gone up to here */
    bool is_error; /* an error object, or canceled for another reason: see the next three */
    enum etcd_reason reason;
    enum etcd_hint hint;
    char text[ERR_TEXT_MAX];
    struct etcd_event *events;
    int events_len;
    void *memory;
};

/* 0, or -1 with ERR_INVALID / ERR_LIMIT and nothing to free. */
int etcd_decode_notice(const char *text, size_t len, struct etcd_notice *ret_notice,
                       struct err *ret_err);
void etcd_notice_done(struct etcd_notice *notice);

/*
 * Cuts a stream of bytes into JSON objects: several in one chunk, one over many chunks, with or
 * without the newlines between (an error object in mid-stream has none). It looks at braces and
 * strings only; what it hands on is still to be parsed. Bounded by ETCD_OBJECT_MAX bytes and a
 * depth of 32.
 */
struct etcd_splitter {
    char *data;
    size_t len, size, limit;
    int depth;
    bool in_string, escaped;
};
/* Return false to stop; what was not yet looked at is dropped. */
typedef bool (*etcd_object_fn)(void *arg, const char *text, size_t len);

void etcd_splitter_init(struct etcd_splitter *splitter, size_t limit); /* 0: ETCD_OBJECT_MAX */
/* -1 with ERR_INVALID (not JSON objects) or ERR_LIMIT; the splitter is then good for done() only.
 */
int etcd_splitter_feed(struct etcd_splitter *splitter, const char *data, size_t len,
                       etcd_object_fn fn, void *arg, struct err *ret_err);
void etcd_splitter_done(struct etcd_splitter *splitter);

#endif
