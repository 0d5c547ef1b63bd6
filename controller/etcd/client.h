/*
 * client.h - etcd over its v3 JSON gateway: range, write, lease, compact.
 *
 * Endpoints. One is used until it fails (no connection, no answer within an attempt, no leader,
 * another cluster); then the next. An attempt takes at most ETCD_ATTEMPT_MS, within the call's own
 * deadline. Reads and keepalives are repeated on the next endpoint until the deadline. A write is
 * sent *once*: repeated only when it surely was not done (no connection was made; the member said
 * that it has no leader; the token was refused). A write whose answer was lost is ETCD_UNKNOWN:
 * read back what it would have left (design §4, failures.md D8).
 *
 * Who answers. Every answer's cluster id must be the pinned one (the first one seen, where the
 * configuration has none), else ETCD_REFUSED with ETCD_WRONG_CLUSTER; a member that has not been
 * heard since its last failure is asked who it is before the first write goes to it.
 *
 * Users. With a user, a token is had by the first call, and a new one when the old is refused: once
 * per call, after a small random delay (the call was refused, so repeating it is safe). A wrong
 * password is remembered for a growing while, during which calls are refused at once with
 * ETCD_AUTH_FAILED: no endless log-ins.
 *
 * Every request carries `Grpc-Metadata-hasleader: true`: a member without a leader says so at once.
 *
 * Loop:   each call ends exactly once through `done`, from the loop, never from inside the call
 * that started it, and not at all after etcd_cancel() or etcd_free(). `done` may start, cancel and
 * free whatever it likes. Memory: what is given is copied (encoded) before a call returns. The
 * reply lives during `done` only. Time:   milliseconds from now; sent_ms is CLOCK_BOOTTIME.
 */
#ifndef FAILOVER_ETCD_CLIENT_H
#define FAILOVER_ETCD_CLIENT_H

#include <stdint.h>

#include "controller/base/http.h"
#include "controller/base/loop.h"
#include "controller/etcd/codec.h"

#define ETCD_ENDPOINTS_MAX 8
#define ETCD_ENDPOINT_SIZE 256
#define ETCD_PATH_SIZE     256
#define ETCD_USER_SIZE     128
#define ETCD_ATTEMPT_MS    1000

struct etcd_config {
    char endpoints[ETCD_ENDPOINTS_MAX][ETCD_ENDPOINT_SIZE]; /* "https://10.0.0.1:2379" */
    int endpoints_len;                                      /* at least 1 */
    char ca_file[ETCD_PATH_SIZE];                           /* "": not set */
    char cert_file[ETCD_PATH_SIZE];
    char key_file[ETCD_PATH_SIZE];
    char user[ETCD_USER_SIZE]; /* "": no users */
    char password[ETCD_USER_SIZE];
    uint64_t cluster_id; /* pinned; 0: pin the first one seen */
};

struct etcd;
struct etcd_call;

typedef void (*etcd_done_fn)(void *arg, const struct etcd_reply *reply);

/* The config is copied; http must live longer. */
struct etcd *etcd_new(struct loop *loop, struct http *http, const struct etcd_config *config);
void etcd_free(
    struct etcd *etcd); /* NULL is nothing; its watches and elections must have been freed before */

/* The cluster that must answer from now on; 0: the next one that does. */
void etcd_pin(struct etcd *etcd, uint64_t cluster_id);
/*
 * Other endpoints, another user: from the next attempt on. What is under way at an endpoint goes on
 * to its end, and so does a watch's stream. A new password ends the refusal of the old one at once.
 */
void etcd_set_endpoints(struct etcd *etcd, const char endpoints[][ETCD_ENDPOINT_SIZE], int len);
void etcd_set_user(struct etcd *etcd, const char *user, const char *password);

struct etcd_call *etcd_range(struct etcd *etcd, const struct etcd_range *range, uint64_t within_ms,
                             etcd_done_fn done, void *arg);
struct etcd_call *etcd_txn(struct etcd *etcd, const struct etcd_txn *txn, uint64_t within_ms,
                           etcd_done_fn done, void *arg);
struct etcd_call *etcd_put(struct etcd *etcd, const char *key, const char *value, size_t value_len,
                           int64_t lease, uint64_t within_ms, etcd_done_fn done, void *arg);
struct etcd_call *etcd_delete(struct etcd *etcd, const char *key, bool prefix, uint64_t within_ms,
                              etcd_done_fn done, void *arg);
struct etcd_call *etcd_lease_grant(struct etcd *etcd, int64_t ttl_s, uint64_t within_ms,
                                   etcd_done_fn done, void *arg);
/* One request each (etcd #8237). ETCD_OK with ttl_s 0: the lease is gone. */
struct etcd_call *etcd_lease_keepalive(struct etcd *etcd, int64_t lease, uint64_t within_ms,
                                       etcd_done_fn done, void *arg);
struct etcd_call *etcd_lease_revoke(struct etcd *etcd, int64_t lease, uint64_t within_ms,
                                    etcd_done_fn done, void *arg);
/* Forgets history before `revision`. ETCD_COMPACTED: already done. */
struct etcd_call *etcd_compact(struct etcd *etcd, int64_t revision, uint64_t within_ms,
                               etcd_done_fn done, void *arg);
/* Of the member in use: size of its database, alarms (NOSPACE, CORRUPT), version. */
struct etcd_call *etcd_status(struct etcd *etcd, uint64_t within_ms, etcd_done_fn done, void *arg);
void etcd_cancel(struct etcd_call *call);

/* What the client knows, for status and alarms. */
struct etcd_health {
    char endpoint[ETCD_ENDPOINT_SIZE]; /* in use */
    uint64_t cluster_id;               /* pinned; 0: none yet */
    int64_t revision;                  /* the highest that an answer named */
    uint64_t answered_ms; /* CLOCK_BOOTTIME of the last answer that made sense; 0: never */
    uint64_t failovers;   /* from one endpoint to another */
    uint64_t logins;
    char last_failure[ERR_TEXT_MAX]; /* "" when the last call went well */
};
struct etcd_health etcd_health(const struct etcd *etcd);

#endif
