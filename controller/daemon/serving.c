/*
 * serving.c - the API's backend: what it shows and what it wants written.
 */
#include <string.h>

#include "controller/daemon/daemon.h"

#define REACHABLE_MS 5000 /* without an answer for that long, etcd counts as unreachable */

static const struct core *backend_core(void *arg)
{
    struct daemon *d = arg;
    return d->core;
}

/* The most definite word first. */
static const char *etcd_problem(const struct daemon *d)
{
    if (d->identity_problem[0] != '\0') {
        return d->identity_problem;
    }
    if (d->trouble_text[0] != '\0') {
        return d->trouble_text;
    }
    return d->store_full ? "etcd has raised its alarm NOSPACE: make space, then etcdctl alarm "
                           "disarm"
                         : NULL;
}

static void backend_extra(void *arg, struct status_extra *ret_extra)
{
    struct daemon *d = arg;
    struct etcd_health health = etcd_health(d->etcd);
    const char *leader = d->election != NULL ? election_leader_id(d->election) : "";
    *ret_extra = (struct status_extra){
        .now_ms = clock_now_ms(),
        .wall_ms = clock_wall_ms(),
        .id = d->local->id,
        .version = FAILOVER_VERSION,
        .started_wall_ms = d->started_wall_ms,
        .leader = leader[0] != '\0' ? leader : NULL,
        .leader_term = d->core->term,
        .deposed = d->core->leading && !daemon_may_act(d),
        .etcd_seen_ms = health.answered_ms,
        .config_revision = d->config_revision,
        .events = d->events,
    };
    https_warnings(d, ret_extra->warnings);
    ret_extra->etcd_reachable =
        health.answered_ms != 0 && ret_extra->now_ms - health.answered_ms < REACHABLE_MS;
    ret_extra->etcd_bytes = d->store_bytes;
    ret_extra->etcd_quota_bytes = d->store_quota;
    ret_extra->etcd_problem = etcd_problem(d);
}

static const struct config_record *backend_config(void *arg)
{
    struct daemon *d = arg;
    return d->config;
}

static bool backend_promise(void *arg, const struct promise_question *question, char *ret_reason,
                            size_t size)
{
    struct daemon *d = arg;
    return core_promise(d->core, question, clock_now_ms(), ret_reason, size);
}

int serving_start(struct daemon *d, struct err *ret_err)
{
    struct api_options options = {
        .socket = d->local->socket,
        .socket_group = d->local->socket_group[0] != '\0' ? d->local->socket_group : NULL,
        .backend = {.arg = d,
                    .core = backend_core,
                    .extra = backend_extra,
                    .config = backend_config,
                    .put_request = store_put_request,
                    .put_config = store_put_config,
                    .promise = backend_promise,
                    .allowed = https_allowed,
                    .refused = https_refused},
    };
    d->api = api_new(d->loop, &options, ret_err);
    if (d->api == NULL) {
        return -1;
    }
    https_start(d);
    return 0;
}

void serving_stop(struct daemon *d)
{
    https_stop(d);
    if (d->api != NULL) {
        api_free(d->api);
        d->api = NULL;
    }
}
