#include "controller/etcd/scout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 2000

struct etcd_scout {
    struct etcd *etcd;
    struct timer *timer;
    struct etcd_call *call;
    char key[ETCD_KEY_MAX];
    uint64_t every_ms;
    etcd_scout_fn fn;
    void *arg;
};

static void on_answer(void *arg, const struct etcd_reply *reply)
{
    struct etcd_scout *scout = arg;
    scout->call = NULL;
    timer_start(scout->timer, scout->every_ms);
    if (reply->outcome == ETCD_OK) {
        struct etcd_scout_news news = {.cluster_id = reply->cluster_id,
                                       .revision = reply->revision,
                                       .kv = reply->kvs_len == 1 ? &reply->kvs[0] : NULL};
        scout->fn(scout->arg, &news); /* it may have freed the scout */
    }
}

static void look(void *arg)
{
    struct etcd_scout *scout = arg;
    struct etcd_range range = {.key = scout->key};
    if (scout->call == NULL) {
        etcd_pin(scout->etcd, 0); /* whoever answers this time */
        scout->call = etcd_range(scout->etcd, &range, LOOK_MS, on_answer, scout);
    }
}

struct etcd_scout *etcd_scout_new(struct loop *loop, struct http *http,
                                  const struct etcd_config *config, const char *key,
                                  uint64_t every_ms, etcd_scout_fn fn, void *arg)
{
    struct etcd_scout *scout = calloc(1, sizeof *scout);
    if (scout == NULL) {
        abort();
    }
    scout->etcd = etcd_new(loop, http, config);
    scout->timer = timer_new(loop, look, scout);
    scout->every_ms = every_ms;
    scout->fn = fn;
    scout->arg = arg;
    snprintf(scout->key, sizeof scout->key, "%s", key);
    timer_start(scout->timer, 1);
    return scout;
}

struct etcd *etcd_scout_client(struct etcd_scout *scout)
{
    return scout->etcd;
}

void etcd_scout_free(struct etcd_scout *scout)
{
    if (scout != NULL) {
        etcd_free(scout->etcd);
        timer_free(scout->timer);
        free(scout);
    }
}
