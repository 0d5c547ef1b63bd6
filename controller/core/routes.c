/*
 * routes.c - traffic follows the permit, and is reconciled (design §8, S10).
 *
 * What a route should be is a function of the records; what it is was read back from each proxy.
 * The leader compares them at each review, asks a proxy to differ no more when they do, and looks
 * at every proxy once a second even when they agree, since a reload forgets runtime state
 * (failures.md H3). Proxies do not wait for each other.
 */
#include "controller/core/private.h"

#include <string.h>

#define LOOK_MS  1000 /* between looks at a proxy that agrees */
#define AGAIN_MS 200  /* after one that did not */
#define SILENT_MS                                                                                  \
    3000 /* a proxy that has not answered for that long is silent: it blocks nobody                \
          */

static int service_target(const struct core *core, int service)
{
    const struct service_def *def = &core->def.services[service];
    const struct database_state *d = &core->databases[def->database];
    int primary = core_primary(core, def->database);
    if (primary < 0 || (d->state >= DB_REVOKING && d->state <= DB_RECORDING)) {
        return -2; /* while the database moves, its service stays where it was */
    }
    int node = core->def.databases[def->database].instances[primary].node;
    int same_site = -2;
    for (int i = 0; i < def->instances_len; i++) {
        if (def->instances[i].node == node) {
            return i;
        }
        if (same_site < 0 &&
            core->def.nodes[def->instances[i].node].site == core->def.nodes[node].site) {
            same_site = i;
        }
    }
    return same_site;
}

static int database_target(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    switch (d->state) {
    case DB_NORMAL:
    case DB_SUSPECT:
    case DB_HELD:
    case DB_REDIRECTING:
    case DB_VERIFYING:
        return d->permit_known && d->permit.state == PERMIT_GRANTED ? core_primary(core, db) : -2;
    case DB_FENCING:
    case DB_FENCE_WAIT:
    case DB_PROVING:
    case DB_CHOOSING:
    case DB_CHOICE_WAIT:
    case DB_GRANTING:
    case DB_PROMOTING:
    case DB_PROMOTE_WAIT:
    case DB_RECORDING: return -1;
    default: return -2; /* closing, too: a permit given back counts only once it is recorded */
    }
}

int core_route_target(const struct core *core, int route)
{
    const struct route_def *def = &core->def.routes[route];
    return def->database >= 0 ? database_target(core, def->database)
                              : service_target(core, def->service);
}

static int proxy_in_route(const struct core *core, int route, int proxy)
{
    const struct route_def *def = &core->def.routes[route];
    for (int i = 0; i < def->proxies_len; i++) {
        if (def->proxies[i] == proxy) {
            return i;
        }
    }
    return -1;
}

bool core_route_agrees(const struct core *core, int route, int proxy)
{
    const struct proxy_route_state *state = &core->proxies[proxy].routes[route];
    int target = core_route_target(core, route);
    return target == -2 || (state->confirmed == target && state->confirmed_ms != 0);
}

bool route_belongs(const struct core *core, int route, int db)
{
    const struct route_def *def = &core->def.routes[route];
    return def->database == db ||
           (def->service >= 0 && core->def.services[def->service].database == db);
}

static bool proxy_is_silent(const struct core *core, int proxy)
{
    const struct proxy_state *state = &core->proxies[proxy];
    return state->silent_since_ms != 0 && core->now_ms - state->silent_since_ms >= SILENT_MS;
}

bool routes_settled(const struct core *core, int db)
{
    for (int r = 0; r < core->def.routes_len; r++) {
        if (!route_belongs(core, r, db)) {
            continue;
        }
        const struct route_def *def = &core->def.routes[r];
        int agreeing = 0;
        for (int i = 0; i < def->proxies_len; i++) {
            if (core_route_agrees(core, r, def->proxies[i])) {
                agreeing++;
            } else if (!proxy_is_silent(core, def->proxies[i])) {
                return false;
            }
        }
        if (agreeing == 0 && def->proxies_len > 0) {
            return false;
        }
    }
    return true;
}

static int collect_wishes(const struct core *core, int proxy, struct route_wish *ret_wishes,
                          bool *ret_new)
{
    int len = 0;
    *ret_new = false;
    for (int r = 0; r < core->def.routes_len; r++) {
        int target = core_route_target(core, r);
        if (target == -2 || proxy_in_route(core, r, proxy) < 0) {
            continue;
        }
        ret_wishes[len++] = (struct route_wish){.route = r, .open = target};
        if (core->proxies[proxy].routes[r].wished != target) {
            *ret_new = true;
        }
    }
    return len;
}

static void ask_proxy(struct core *core, int proxy)
{
    struct proxy_state *state = &core->proxies[proxy];
    struct route_wish wishes[ROUTES_MAX];
    bool is_new;
    int len = collect_wishes(core, proxy, wishes, &is_new);
    if (len == 0 && !state->busy) {
        state->next_ms = core->now_ms + LOOK_MS; /* nothing is wished for: no reason to be woken */
    }
    if (len == 0 || state->busy || (!is_new && core->now_ms < state->next_ms)) {
        return;
    }
    struct effect *effect = effect_add(core, EFFECT_ROUTES);
    effect->step = ++core->next_step;
    effect->deadline_ms = core->now_ms + ROUTES_MS;
    effect->routes.proxy = proxy;
    effect->routes.wishes_len = len;
    memcpy(effect->routes.wishes, wishes, sizeof wishes[0] * (size_t)len);
    for (int i = 0; i < len; i++) {
        state->routes[wishes[i].route].wished = wishes[i].open;
    }
    core->proxy_steps[proxy] = effect->step;
    state->busy = true;
    state->next_ms = core->now_ms + ROUTES_MS + LOOK_MS; /* if no outcome ever comes */
}

void routes_review(struct core *core)
{
    if (!core->leading || !core->loaded) {
        return;
    }
    for (int p = 0; p < core->def.proxies_len; p++) {
        if (core->proxies[p].busy && core->now_ms >= core->proxies[p].next_ms) {
            core->proxies[p].busy = false; /* the driver owed an outcome; ask anew */
        }
        ask_proxy(core, p);
    }
}

void routes_done(struct core *core, const struct core_event *event)
{
    int p = event->routes.proxy;
    if (p < 0 || p >= core->def.proxies_len || core->proxy_steps[p] != event->routes.step) {
        return;
    }
    struct proxy_state *state = &core->proxies[p];
    bool all = event->routes.answered;
    state->busy = false;
    if (event->routes.answered) {
        state->silent_since_ms = 0;
    } else if (state->silent_since_ms == 0) {
        state->silent_since_ms = core->now_ms;
    }
    for (int i = 0; i < event->routes.results_len; i++) {
        int r = event->routes.results[i].route;
        if (r < 0 || r >= core->def.routes_len) {
            continue;
        }
        struct proxy_route_state *route = &state->routes[r];
        bool confirmed = event->routes.results[i].confirmed;
        route->confirmed = confirmed ? route->wished : -2;
        route->confirmed_ms = confirmed ? core->now_ms : 0;
        text_copy(route->error, sizeof route->error, event->routes.results[i].error);
        all = all && confirmed;
    }
    state->next_ms = core->now_ms + (all ? LOOK_MS : AGAIN_MS);
}

void routes_reset(struct core *core)
{
    for (int p = 0; p < PROXIES_MAX; p++) {
        struct proxy_state *state = &core->proxies[p];
        memset(state, 0, sizeof *state);
        core->proxy_steps[p] = 0;
        for (int r = 0; r < ROUTES_MAX; r++) {
            state->routes[r].wished = -3;
            state->routes[r].confirmed = -2;
        }
    }
}
