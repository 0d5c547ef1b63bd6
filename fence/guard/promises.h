/*
 * promises.h - ask the promisers, over each controller's HTTPS API (design §7).
 *
 * A promise counts only if every member of the answer is what was asked for: database, node, epoch,
 * boot and this question's own nonce. Anything else is no promise: a silence, an error, another's
 * answer, one that comes late. The time that counts is that before the sending of the question.
 *
 * Addresses are learned while etcd works, and kept on disk, since they are needed when it does not.
 * Connections are kept warm: each known controller is asked for nothing now and then.
 *
 * Loop:   `answered` runs once for each question, from the loop. Memory: what is given is copied.
 */
#ifndef FAILOVER_GUARD_PROMISES_H
#define FAILOVER_GUARD_PROMISES_H

#include "controller/base/http.h"
#include "fence/guard/guard_core.h"

struct promises;

struct promises_params {
    const char *node, *boot;
    const char *path; /* the file that keeps the addresses */
    struct http_tls tls;
};

struct promise_answer {
    bool promised;
    uint32_t round;
    int promiser; /* index into what was asked */
    uint64_t sent_ms;
    char text[GUARD_TEXT_SIZE]; /* why not */
};

typedef void (*promises_fn)(void *arg, const struct promise_answer *answer);

struct promises *promises_new(struct loop *loop, struct http *http,
                              const struct promises_params *params);
void promises_free(struct promises *promises);
/* A controller's API: "address:port" or "https://...". "" forgets nothing. */
void promises_learn(struct promises *promises, const char *id, const char *api);
void promises_ask(struct promises *promises, const char *database, struct epoch epoch,
                  uint32_t round, int index, const char *id, uint64_t within_ms,
                  promises_fn answered, void *arg);

#endif
