/*
 * election.h - one leader among the controllers (design §5).
 *
 * A session is one lease per process, granted at the start, kept alive by one request every third
 * of its TTL. The owner puts `controllers/<id>` on it (election_lease_id()), and the election puts
 * `<prefix>leader` on it, by a create-if-absent transaction. The leader key's create revision is
 * the *term*. The key is watched; when it goes, everybody campaigns at once.
 *
 * Safety rests on compared writes with the term, never on the lease. What the election adds is
 * modesty: a leader's right to act ends at its *own* deadline, the sending time (CLOCK_BOOTTIME) of
 * the last acknowledged keepalive plus the TTL less a margin. Past it `lost` is reported at once,
 * by a timer, and election_may_act() says no even before the timer fires (after a stall, say). A
 * lapse is final: the term is given up even if etcd still holds the key.
 *
 * Keepalives are sent only if election_feed() was called since the last one: call it from the
 * decision loop each time round, so that a stuck loop loses the lease (failures.md A11).
 *
 * Loop:   callbacks come from the loop, never from inside a call. After election_free() none comes.
 *         `lost` follows each `gained` exactly once (unless freed). They may call anything here but
 * election_free(). Unknown answers change nothing but the deadline's approach (D1): they are asked
 * again.
 */
#ifndef FAILOVER_ETCD_ELECTION_H
#define FAILOVER_ETCD_ELECTION_H

#include "controller/etcd/client.h"

#define ELECTION_ID_SIZE 64

enum election_loss {
    ELECTION_LOST_DEADLINE, /* no keepalive was acknowledged in time (or the loop stood still) */
    ELECTION_LOST_LEASE,    /* etcd says that the lease is gone */
    ELECTION_LOST_KEY,      /* the leader key was deleted or rewritten by someone else */
    ELECTION_LOST_RESIGNED, /* election_resign() */
    ELECTION_LOST_STOPPED,  /* election_stop() */
    ELECTION_LOSSES
};
const char *election_loss_name(enum election_loss loss);

struct election_callbacks {
    /* The session's lease is new: put what shall live as long as this process on it. */
    void (*session)(void *arg, int64_t lease);
    void (*gained)(void *arg, int64_t term);
    void (*lost)(void *arg, enum election_loss loss, const char *text);
    /* Another one leads ("" : nobody does). Each change once. */
    void (*seen)(void *arg, const char *leader_id, int64_t term);
    /* Something does not work, for the log; each new text once. */
    void (*trouble)(void *arg, enum etcd_reason reason, const char *text);
};

struct election_config {
    const char *prefix;  /* "/failover/<cluster>/"; the key is <prefix>leader */
    const char *id;      /* of this controller */
    uint32_t ttl_ms;     /* design §7: 5 s or 3 s; rounded up to etcd's whole seconds */
    uint32_t margin_ms;  /* 0: a tenth of the TTL */
    uint32_t passive_ms; /* no candidate for so long after election_resign(); 0: twice the TTL */
    struct election_callbacks callbacks;
    void *arg;
};

struct election;

/* Starts at once; strings are copied. */
struct election *election_new(struct loop *loop, struct etcd *etcd,
                              const struct election_config *config);
void election_free(
    struct election *election); /* drops everything without a word; NULL is nothing */

/* The decision loop lives. */
void election_feed(struct election *election);
/* Whether a direct act may be started now. */
bool election_may_act(const struct election *election);
int64_t election_term(const struct election *election);         /* 0: not leading */
uint64_t election_deadline_ms(const struct election *election); /* CLOCK_BOOTTIME; 0: not leading */
int64_t election_lease_id(const struct election *election);     /* 0: no session */
const char *election_leader_id(
    const struct election *election); /* last seen, maybe oneself; "": none */

/*
 * Give up leading ("cannot write": no space, no quorum, revoked password; design §5) and stay
 * passive for a while. `lost` follows, if it led; the session goes on where etcd lets the key be
 * deleted, else it is revoked.
 */
void election_resign(struct election *election, const char *why);
/*
 * The end: revoke the lease, so that the other leads at once; then `done`, after at most a TTL
 * (then etcd ends the lease by itself). Only election_free() is allowed afterwards.
 */
void election_stop(struct election *election, void (*done)(void *arg), void *arg);

#endif
