/* acts.c - power devices, promotions and proxies: what takes effect, and what is reported of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/world.h"

static const char *node_name(const struct world *world, int node)
{
    return world->def.nodes[node].name;
}

static bool listens(const struct world *world, const struct args *args)
{
    const struct controller *controller = &world->controllers[args->controller];
    return controller->running && controller->life == args->life &&
           !act_cancelled(controller, (uint32_t)args->n);
}

static bool put_off(struct world *world, event_fn run, const struct args *args)
{
    if (!world->controllers[args->controller].frozen) {
        return false;
    }
    world_at(world, world->now_ms + 10, run, args);
    return true;
}

/* ---- machines ---- */

void machine_off(struct world *world, int node, bool by_fence)
{
    struct machine *machine = &world->machines[node];
    bool was = machine->on;
    machine->on = false;
    machine->powered_off_at_ms = world->now_ms;
    machine->offs += by_fence ? 1 : 0;
    for (int db = 0; db < world->def.databases_len; db++) {
        for (int i = 0; i < world->def.databases[db].instances_len; i++) {
            if (world->def.databases[db].instances[i].node == node) {
                world->pg[db][i].running = false;
                world->pg[db][i].hung = false;
                world->pg[db][i].life++;
            }
        }
    }
    if (was) {
        world_print(world, "%s is off", node_name(world, node));
        world_point(world, "off %s", node_name(world, node));
    }
}

void machine_on(struct world *world, int node)
{
    world->machines[node].on = true;
    world->machines[node].boots++;
    world_print(world, "%s is on", node_name(world, node));
}

/* ---- fencing ---- */

static void on_off(struct world *world, const struct args *args)
{
    /* The command is a child of the controller: it ends with it. */
    if (listens(world, args)) {
        machine_off(world, args->a, true);
    }
}

static void on_fence_report(struct world *world, const struct args *args)
{
    static const char *const words[] = {"off was asked for, and its status says off",
                                        "the device says no",
                                        "no end by the deadline; its processes were killed",
                                        "off was asked for, and its status says off"};
    if (!listens(world, args) || put_off(world, on_fence_report, args)) {
        return;
    }
    enum agent agent = (enum agent)args->b;
    struct core_event event = controller_event(world, args->controller, EV_FENCE_DONE);
    event.fence.step = (uint32_t)args->n;
    event.fence.outcome = agent == AGENT_REFUSES ? FENCED_REFUSED
                          : agent == AGENT_HANGS ? FENCED_UNKNOWN
                                                 : FENCED_PROVEN;
    event.fence.evidence = (enum evidence_kind)args->c;
    snprintf(event.fence.detail, sizeof event.fence.detail, "%s", words[agent]);
    controller_post(world, args->controller, &event);
}

void act_fence(struct world *world, int c, const struct effect *effect)
{
    int node = effect->fence.node;
    int level = effect->fence.level;
    const struct fence_level_def *def = &world->controllers[c].core->def.nodes[node].levels[level];
    struct machine *machine = &world->machines[node];
    enum agent agent = machine->agents[level];
    uint64_t after = machine->agent_after_ms[level];
    uint64_t at = world->now_ms + after;
    struct args args = {.controller = c,
                        .life = world->controllers[c].life,
                        .a = node,
                        .b = (int)agent,
                        .c = def->method == FENCE_COMMAND ? EVIDENCE_COMMAND : EVIDENCE_AGENT,
                        .n = effect->step};
    if (!controller_may_act(world, c)) {
        args.b = AGENT_REFUSES;
        world_at(world, world->now_ms + 1, on_fence_report, &args);
        return;
    }
    check_fence(world, c, effect);
    world->fences++;
    machine->asked[level]++;
    world_print(world, "%s fences %s by its level %s", world->controllers[c].id,
                node_name(world, node), def->name);
    if (agent == AGENT_HANGS || at > effect->deadline_ms) {
        args.b = AGENT_HANGS;
        at = effect->deadline_ms;
    }
    if (agent == AGENT_WORKS) {
        world_at(world, world->now_ms + after / 2, on_off, &args);
    }
    if (agent != AGENT_SILENT) { /* else the driver owes an outcome for ever */
        world_at(world, at, on_fence_report, &args);
    }
}

/* ---- promotion ---- */

static void on_promoted(struct world *world, const struct args *args)
{
    if (!listens(world, args) || put_off(world, on_promoted, args)) {
        return;
    }
    struct core_event event = controller_event(world, args->controller, EV_PROMOTION_DONE);
    memcpy(&event.promote, args->memory, sizeof event.promote);
    controller_post(world, args->controller, &event);
}

static void report(struct world *world, const struct args *args, uint64_t in_ms,
                   enum promotion outcome, const char *text)
{
    const struct postgres *pg = &world->pg[args->a][args->b];
    struct core_event event = {.type = EV_PROMOTION_DONE};
    struct args later = *args;
    event.promote.step = (uint32_t)args->n;
    event.promote.outcome = outcome;
    if (outcome == PROMOTION_DONE || outcome == PROMOTION_ALREADY) {
        event.promote.timeline = pg->timeline;
        event.promote.system_id = pg->system_id;
    }
    snprintf(event.promote.detail, sizeof event.promote.detail, "%s", text);
    later.memory = malloc(sizeof event.promote);
    if (later.memory == NULL) {
        abort();
    }
    memcpy(later.memory, &event.promote, sizeof event.promote);
    world_at(world, world->now_ms + in_ms, on_promoted, &later);
}

/* The statement arrives: it was sent, so it takes effect whatever becomes of the sender. */
static void on_statement(struct world *world, const struct args *args)
{
    int db = args->a;
    int i = args->b;
    struct postgres *pg = &world->pg[db][i];
    int node = world->def.databases[db].instances[i].node;
    const char *name = node_name(world, node);
    uint64_t half = DELAY_PROMOTE_MS / 2;
    if (!postgres_up(world, db, i) || pg->hung || world->cut_node[args->controller][node]) {
        report(world, args, 1000, PROMOTION_UNKNOWN, "unknown: the connection is gone");
        return;
    }
    if (pg->promotion == PROMOTION_SILENT) {
        return;
    }
    if (pg->promotion == PROMOTION_LOSES_REQUEST || pg->promotion == PROMOTION_REFUSES) {
        bool refused = pg->promotion == PROMOTION_REFUSES;
        pg->promotion = refused ? PROMOTION_REFUSES : PROMOTION_WORKS;
        report(world, args, half, refused ? PROMOTION_REFUSED : PROMOTION_UNKNOWN,
               refused ? "refused: a condition does not hold" : "unknown: the connection is gone");
        return;
    }
    if (pg->role == ROLE_PRIMARY && pg->timeline == (uint32_t)args->m + 1) {
        report(world, args, half, PROMOTION_ALREADY, "already: it is a primary");
        return;
    }
    bool lost = pg->promotion == PROMOTION_LOSES_ANSWER;
    if (!postgres_promote(world, db, i, (uint32_t)args->m, pg->system_id)) {
        report(world, args, half, PROMOTION_REFUSED, "refused: a condition does not hold");
        return;
    }
    world_print(world, "%s is a primary of %s, on timeline %u", name, world->def.databases[db].name,
                pg->timeline);
    report(world, args, half, lost ? PROMOTION_UNKNOWN : PROMOTION_DONE,
           lost ? "unknown: the connection is gone" : "done: it took a write");
    world_point(world, "promoted %s", name);
}

void act_promote(struct world *world, int c, const struct effect *effect)
{
    int db = effect->promote.database;
    int i = effect->promote.instance;
    struct args args = {.controller = c,
                        .life = world->controllers[c].life,
                        .a = db,
                        .b = i,
                        .n = effect->step,
                        .m = effect->promote.timeline};
    if (!controller_may_act(world, c)) {
        report(world, &args, 1, PROMOTION_REFUSED, "refused: this controller may not act now");
        return;
    }
    check_promote(world, c, effect);
    world->promotes++;
    world_print(world, "%s promotes %s for %s", world->controllers[c].id,
                node_name(world, world->def.databases[db].instances[i].node),
                world->def.databases[db].name);
    uint64_t delay = world->pg[db][i].promotion == PROMOTION_SLOW ? 5000 : DELAY_PROMOTE_MS / 2;
    world_at(world, world->now_ms + delay, on_statement, &args);
}

/* ---- proxies ---- */

static int route_width(const struct world *world, int route)
{
    const struct route_def *def = &world->def.routes[route];
    return def->database >= 0 ? world->def.databases[def->database].instances_len
                              : world->def.services[def->service].instances_len;
}

int proxy_open(const struct world *world, int proxy, int route)
{
    int open = -1;
    for (int i = 0; i < route_width(world, route); i++) {
        if (world->proxies[proxy].open[route][i]) {
            open = open == -1 ? i : -2;
        }
    }
    return open;
}

static void set_route(struct world *world, int proxy, const struct route_wish *wish)
{
    const struct route_def *route = &world->def.routes[wish->route];
    int before = proxy_open(world, proxy, wish->route);
    for (int i = 0; i < route_width(world, wish->route); i++) {
        if (i != wish->open) {
            world->proxies[proxy].open[wish->route][i] = false;
        }
    }
    check_proxy(world, proxy);
    if (wish->open >= 0) {
        world->proxies[proxy].open[wish->route][wish->open] = true;
    }
    check_proxy(world, proxy);
    if (before != wish->open) {
        world_print(world, "%s sends %s %s%s", world->def.proxies[proxy].name, route->name,
                    wish->open >= 0 ? "to " : "nowhere",
                    wish->open >= 0 ? route->servers[wish->open] : "");
    }
}

struct routing {
    int len;
    struct route_wish wishes[ROUTES_MAX];
};

static void on_routes(struct world *world, const struct args *args)
{
    const struct routing *routing = args->memory;
    if (!listens(world, args)) {
        return;
    }
    if (world->controllers[args->controller].frozen) {
        struct args later = *args;
        struct routing *copy = malloc(sizeof *copy);
        if (copy == NULL) {
            abort();
        }
        *copy = *routing;
        later.memory = copy;
        world_at(world, world->now_ms + 10, on_routes, &later);
        return;
    }
    bool may_act = controller_may_act(world, args->controller);
    struct core_event event = controller_event(world, args->controller, EV_ROUTES_DONE);
    event.routes.step = (uint32_t)args->n;
    event.routes.proxy = args->a;
    event.routes.answered = world->proxies[args->a].mode == PROXY_ANSWERS;
    event.routes.results_len = routing->len;
    for (int w = 0; w < routing->len; w++) {
        if (event.routes.answered && may_act) {
            set_route(world, args->a, &routing->wishes[w]);
        }
        int open = proxy_open(world, args->a, routing->wishes[w].route);
        event.routes.results[w].route = routing->wishes[w].route;
        event.routes.results[w].open_seen = open;
        event.routes.results[w].confirmed =
            event.routes.answered && open == routing->wishes[w].open;
        snprintf(event.routes.results[w].error, sizeof event.routes.results[w].error, "%s",
                 event.routes.answered ? "" : "no connection");
    }
    controller_post(world, args->controller, &event);
}

void act_routes(struct world *world, int c, const struct effect *effect)
{
    struct routing *routing = malloc(sizeof *routing);
    if (routing == NULL) {
        abort();
    }
    check_wishes(world, c, effect);
    routing->len = effect->routes.wishes_len;
    memcpy(routing->wishes, effect->routes.wishes, sizeof routing->wishes);
    bool answers = world->proxies[effect->routes.proxy].mode == PROXY_ANSWERS;
    world_at(world, answers ? world->now_ms + DELAY_PROXY_MS : effect->deadline_ms, on_routes,
             &(struct args){.controller = c,
                            .life = world->controllers[c].life,
                            .a = effect->routes.proxy,
                            .n = effect->step,
                            .memory = routing});
}

/* A reload: back to what the file says, which is where the cluster began (failures.md H3). */
void proxy_forget(struct world *world, int proxy)
{
    for (int r = 0; r < world->def.routes_len; r++) {
        for (int i = 0; i < route_width(world, r); i++) {
            world->proxies[proxy].open[r][i] = i == 0;
        }
    }
    world_print(world, "%s has forgotten its runtime state", world->def.proxies[proxy].name);
}
