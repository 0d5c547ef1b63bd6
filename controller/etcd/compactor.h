/*
 * compactor.h - history in etcd is kept for a while and no longer (design §4).
 *
 * Every interval the store's revision is noted; who may, then has etcd forget what is older than
 * the revision that was noted COMPACTOR_KEPT intervals ago. Everybody notes, so that a new leader
 * needs no time of its own before its first compaction.
 *
 * Only history goes: the latest value of every key stays. A watch that is further behind is told
 * so, and its owner reads everything again (watch.h).
 *
 * Loop:   callbacks come from the loop; none after compactor_free().
 */
#ifndef FAILOVER_ETCD_COMPACTOR_H
#define FAILOVER_ETCD_COMPACTOR_H

#include "controller/etcd/client.h"

#define COMPACTOR_KEPT 10 /* intervals: with one a minute, ten minutes back */

struct compactor;

struct compactor_config {
    uint64_t every_ms;
    bool (*may)(void *arg);                      /* now? */
    void (*failed)(void *arg, const char *text); /* it was not done; tried again next time */
    void *arg;
};

struct compactor *compactor_new(struct loop *loop, struct etcd *etcd,
                                const struct compactor_config *config);
void compactor_free(struct compactor *compactor); /* NULL is nothing */
/* Another store answers from now on: revisions noted of the former say nothing about it. */
void compactor_forget(struct compactor *compactor);

#endif
