/*
 * scout.h - a look, again and again, at one key of whatever etcd answers.
 *
 * A client holds fast to the cluster that it has seen first (client.h). When another one answers,
 * it may be the wrong one, or the same store restored or begun anew: a scout, which pins none,
 * finds out which, and whether it has been rescued. What it sees decides nothing by itself: whoever
 * goes over there confirms by writes.
 *
 * Loop:   `fn` is called from the loop, at each answer; it may free the scout.
 * Memory: the config and the key are copied. http must live longer.
 */
#ifndef FAILOVER_ETCD_SCOUT_H
#define FAILOVER_ETCD_SCOUT_H

#include "controller/etcd/client.h"

struct etcd_scout;

struct etcd_scout_news {
    uint64_t cluster_id; /* that answered */
    int64_t revision;
    const struct etcd_kv *kv; /* NULL: the key is not there. Lives during the call */
};

typedef void (*etcd_scout_fn)(void *arg, const struct etcd_scout_news *news);

struct etcd_scout *etcd_scout_new(struct loop *loop, struct http *http,
                                  const struct etcd_config *config, const char *key,
                                  uint64_t every_ms, etcd_scout_fn fn, void *arg);
/* For what is to be written where it looks. Its calls end with the scout. */
struct etcd *etcd_scout_client(struct etcd_scout *scout);
void etcd_scout_free(struct etcd_scout *scout); /* NULL is nothing */

#endif
