/*
 * watch.h - every change of a key or a prefix, in order, exactly once.
 *
 * A watch begins at a revision and delivers batches of events; whatever breaks its stream (a cut,
 * an error object, a stall, a member without a leader), it goes on from the revision after the last
 * delivered one, on the next endpoint, after a growing delay with jitter (up to 1.1 s). Only
 * compaction stops it: the owner is told, reads everything again, and calls etcd_watch_restart()
 * with the revision after that read's (failures.md D10).
 *
 * Silence. Progress notices of etcd 3.4 are unreliable, so a stream on which nothing came for
 * idle_ms counts as stalled: it is ended and resumed. Let something write under the prefix more
 * often than that (design §4), and use etcd_watch_age_ms() to see how old the view is.
 *
 * Loop:   news come from the loop, never from inside a call. After etcd_watch_free() none comes;
 * the callback may free or restart. Memory: what news points to lives during the callback.
 */
#ifndef FAILOVER_ETCD_WATCH_H
#define FAILOVER_ETCD_WATCH_H

#include "controller/etcd/client.h"

struct etcd_watch;

enum etcd_watch_kind {
    ETCD_WATCH_STARTED, /* the stream is open (again); revision: the store's, by that member */
    ETCD_WATCH_EVENTS,  /* events[], in order; revision: of the last one */
    ETCD_WATCH_BROKEN, /* it will be resumed; text says what happened, reason where etcd gave one */
    ETCD_WATCH_COMPACTED, /* stopped; revision: history is gone up to here */
};

struct etcd_watch_news {
    enum etcd_watch_kind kind;
    int64_t revision;
    const struct etcd_event *events;
    int events_len;
    enum etcd_reason reason;
    const char *text;
};

typedef void (*etcd_watch_fn)(void *arg, const struct etcd_watch_news *news);

/* from_revision: the first one wanted, at least 1 (a range's reply->revision + 1). idle_ms 0: never
 * stalled. */
struct etcd_watch *etcd_watch_new(struct etcd *etcd, const char *key, bool prefix,
                                  int64_t from_revision, uint64_t idle_ms, etcd_watch_fn fn,
                                  void *arg);
/* Go on from there instead, with a new stream, at once. */
void etcd_watch_restart(struct etcd_watch *watch, int64_t from_revision);
void etcd_watch_free(struct etcd_watch *watch); /* NULL is nothing */

/* Since something last came on an open stream, or since the watch was made. */
uint64_t etcd_watch_age_ms(const struct etcd_watch *watch);
bool etcd_watch_open(const struct etcd_watch *watch); /* created, and not broken since */

#endif
