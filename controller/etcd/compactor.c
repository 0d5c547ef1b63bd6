#include "controller/etcd/compactor.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COMPACT_MS 3000 /* for one answer */

struct compactor {
    struct etcd *etcd;
    struct compactor_config config;
    struct timer *timer;
    struct etcd_call *call;
    int64_t ring[COMPACTOR_KEPT]; /* revisions, one an interval; 0: not yet */
    int at;
};

static void on_compacted(void *arg, const struct etcd_reply *reply)
{
    struct compactor *compactor = arg;

    compactor->call = NULL;
    if (reply->outcome != ETCD_OK && reply->reason != ETCD_COMPACTED) {
        compactor->config.failed(compactor->config.arg, reply->text);
    }
}

static void on_due(void *arg)
{
    struct compactor *compactor = arg;
    int64_t oldest = compactor->ring[compactor->at];

    compactor->ring[compactor->at] = etcd_health(compactor->etcd).revision;
    compactor->at = (compactor->at + 1) % COMPACTOR_KEPT;
    if (oldest > 0 && !compactor->call && compactor->config.may(compactor->config.arg)) {
        compactor->call =
            etcd_compact(compactor->etcd, oldest, COMPACT_MS, on_compacted, compactor);
    }
    timer_start(compactor->timer, compactor->config.every_ms);
}

struct compactor *compactor_new(struct loop *loop, struct etcd *etcd,
                                const struct compactor_config *config)
{
    struct compactor *compactor = calloc(1, sizeof *compactor);

    assert(compactor && config->every_ms > 0 && config->may && config->failed);
    compactor->etcd = etcd;
    compactor->config = *config;
    compactor->timer = timer_new(loop, on_due, compactor);
    timer_start(compactor->timer, config->every_ms);
    return compactor;
}

void compactor_free(struct compactor *compactor)
{
    if (compactor) {
        etcd_cancel(compactor->call);
        timer_free(compactor->timer);
        free(compactor);
    }
}

void compactor_forget(struct compactor *compactor)
{
    memset(compactor->ring, 0, sizeof compactor->ring);
}
