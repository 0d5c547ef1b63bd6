/*
 * acting.c - effects to operations, outcomes to events: fencing levels, promotions, routes, calls.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/daemon/daemon.h"
#include "controller/daemon/fail_point.h"

/* ---- fencing ---- */

static void fence_outcome(struct daemon *d, uint32_t step, enum fence_outcome outcome,
                          enum evidence_kind evidence, const char *detail)
{
    struct core_event event = daemon_event(EV_FENCE_DONE);
    event.fence.step = step;
    event.fence.outcome = outcome;
    event.fence.evidence = evidence;
    snprintf(event.fence.detail, sizeof event.fence.detail, "%.255s", detail);
    FAIL_POINT_OUTCOME(d, step);
    daemon_post(d, &event);
}

static void on_fence(void *arg, const struct fence_result *result)
{
    struct fence_run *run = arg;
    static const enum fence_outcome outcomes[] = {[FENCE_PROVEN] = FENCED_PROVEN,
                                                  [FENCE_REFUSED] = FENCED_REFUSED,
                                                  [FENCE_UNKNOWN] = FENCED_UNKNOWN};
    enum evidence_kind kind = result->evidence == FENCE_COMMAND ? EVIDENCE_COMMAND : EVIDENCE_AGENT;
    run->op = NULL;
    fence_outcome(run->daemon, run->step, outcomes[result->end], kind, result->detail);
}

static void fill_context(struct daemon *d, const struct effect *effect,
                         struct fence_context *context)
{
    const struct core *core = d->core;
    int db = effect->fence.database;
    int node = effect->fence.node;
    int group = core->def.databases[db].group;
    *context = (struct fence_context){
        .cluster = core->def.cluster,
        .group = core->def.groups[group].name,
        .node = core->def.nodes[node].name,
        .address = core->def.nodes[node].address,
        .reason = core->groups[group].incident.reason,
        .incident = core->groups[group].incident.id,
        .epoch = core->databases[db].permit.epoch.counter,
        .revision = (uint64_t)core->databases[db].permit_revision,
    };
    for (int other = 0; other < core->def.databases_len; other++) {
        if (definition_instance(&core->def.databases[other], node) >= 0) {
            context->databases[context->databases_len++] = core->def.databases[other].name;
        }
    }
}

/* Every secret of the level, or false with the reason. */
static bool fill_secrets(struct daemon *d, const struct fence_level_def *level,
                         char (*secrets)[SECRET_SIZE], struct fence_request *request,
                         struct err *err)
{
    for (int i = 0; i < level->options_len; i++) {
        if (!level->options[i].secret) {
            continue;
        }
        if (local_secret(d->local, level->options[i].value, secrets[i], err) < 0) {
            return false;
        }
        request->secrets[i] = secrets[i];
    }
    return true;
}

static bool fill_command(struct daemon *d, const char *name, const char **args, int size,
                         struct err *err)
{
    const struct local_command_def *command = local_command(d->local, name);
    if (command == NULL) {
        err_set(err, ERR_INVALID, "the command '%s' is not in this controller's local file", name);
        return false;
    }
    for (int i = 0; i < command->args_len && i < size; i++) {
        args[i] = command->args[i];
    }
    return true;
}

void acting_fence(struct daemon *d, const struct effect *effect)
{
    struct fence_run *run = NULL;
    const struct fence_level_def *level =
        &d->core->def.nodes[effect->fence.node].levels[effect->fence.level];
    struct fence_request request = {.level = level, .may_act = daemon_may_act, .may_act_arg = d};
    char(*secrets)[SECRET_SIZE] = calloc(OPTIONS_MAX, SECRET_SIZE);
    struct err err = {0};
    for (int i = 0; i < FENCES_MAX && run == NULL; i++) {
        run = d->fences[i].op == NULL ? &d->fences[i] : NULL;
    }
    uint64_t now = clock_now_ms();
    request.deadline_ms = effect->deadline_ms > now ? effect->deadline_ms - now : 1;
    fill_context(d, effect, &request.context);
    if (secrets == NULL || run == NULL) {
        err_set(&err, ERR_LIMIT, "no room for one more fence");
    } else if (fill_secrets(d, level, secrets, &request, &err) &&
               (level->method != FENCE_COMMAND ||
                fill_command(d, level->program, request.args, FENCE_ARGS_MAX, &err))) {
        run->daemon = d;
        run->step = effect->step;
        FAIL_POINT_EFFECT(d, "before", effect);
        run->op = fence_start(d->loop, &request, on_fence, run);
        FAIL_POINT_EFFECT(d, "begun", effect);
    }
    if (err.code != ERR_NONE) {
        fence_outcome(d, effect->step, FENCED_REFUSED, EVIDENCE_AGENT, err.text);
    }
    if (secrets != NULL) {
        explicit_bzero(secrets, (size_t)OPTIONS_MAX * SECRET_SIZE);
        free(secrets);
    }
}

/* ---- promotion ---- */

static void promote_outcome(struct daemon *d, uint32_t step, const struct promote_result *result)
{
    static const enum promotion outcomes[] = {[PROMOTE_DONE] = PROMOTION_DONE,
                                              [PROMOTE_ALREADY] = PROMOTION_ALREADY,
                                              [PROMOTE_REFUSED] = PROMOTION_REFUSED,
                                              [PROMOTE_UNKNOWN] = PROMOTION_UNKNOWN};
    struct core_event event = daemon_event(EV_PROMOTION_DONE);
    event.promote.step = step;
    event.promote.outcome = outcomes[result->outcome];
    event.promote.timeline = result->timeline;
    event.promote.system_id = result->system_id;
    snprintf(event.promote.detail, sizeof event.promote.detail, "%s: %.200s",
             promote_outcome_names[result->outcome], result->text);
    FAIL_POINT_OUTCOME(d, step);
    daemon_post(d, &event);
}

static void on_promote(void *arg, const struct promote_result *result)
{
    struct promotion_run *run = arg;
    uint32_t step = run->step;
    run->step = 0;
    run->finished = true;
    promote_outcome(run->daemon, step, result);
}

static bool promotion_may_act(void *arg)
{
    const struct promotion_run *run = arg;
    return daemon_may_act(run->daemon);
}

static void drop_promotion(struct promotion_run *run)
{
    if (run->promote != NULL) {
        promote_free(run->promote);
    }
    run->promote = NULL;
    run->step = 0;
    run->finished = false;
}

static void prepare(struct daemon *d, int db, int instance)
{
    struct promotion_run *run = &d->promotions[db];
    char secret[SECRET_SIZE];
    struct pg_target target;
    if (run->promote != NULL && run->instance == instance && !run->finished) {
        return;
    }
    drop_promotion(run);
    daemon_pg_target(d, db, instance, secret, &target);
    run->daemon = d;
    run->instance = instance;
    run->promote = promote_new(d->loop, &target, d->local->id);
    explicit_bzero(secret, sizeof secret);
}

void acting_prepare(struct daemon *d, const struct effect *effect)
{
    prepare(d, effect->promote.database, effect->promote.instance);
}

void acting_promote(struct daemon *d, const struct effect *effect)
{
    int db = effect->promote.database;
    struct promotion_run *run = &d->promotions[db];
    if (run->step != 0) {
        drop_promotion(run); /* an order that the core has given up: one runs at a time */
    }
    prepare(d, db, effect->promote.instance);
    run->step = effect->step;
    uint64_t act_by = d->election != NULL ? election_deadline_ms(d->election) : 0;
    struct promote_order order = {
        .system_id = effect->promote.system_id,
        .timeline = effect->promote.timeline,
        .life = effect->promote.life,
        .act_by_ms = act_by,
        .deadline_ms = effect->deadline_ms,
        .may_act = promotion_may_act,
        .done = on_promote,
        .arg = run,
    };
    FAIL_POINT_EFFECT(d, "before", effect);
    promote_go(run->promote, &order);
    FAIL_POINT_EFFECT(d, "begun", effect);
}

/* ---- routes ---- */

static void on_routes(void *arg, const struct haproxy_report *report)
{
    struct proxy_run *run = arg;
    struct daemon *d = run->daemon;
    struct core_event event = daemon_event(EV_ROUTES_DONE);
    event.routes.step = run->step;
    event.routes.proxy = (int)(run - d->proxies);
    event.routes.answered = report->err.code == ERR_NONE;
    for (int i = 0; i < run->wishes_len; i++) {
        int at = event.routes.results_len++;
        bool told = i < report->routes_len;
        event.routes.results[at].route = run->wishes[i].route;
        event.routes.results[at].confirmed =
            told && report->err.code == ERR_NONE && report->routes[i].confirmed;
        event.routes.results[at].open_seen =
            told ? report->routes[i].open_seen : HAPROXY_OPEN_UNKNOWN;
        const char *text = report->err.code != ERR_NONE ? report->err.text
                           : told                       ? report->routes[i].err.text
                                                        : "";
        snprintf(event.routes.results[at].error, sizeof event.routes.results[at].error, "%.150s",
                 text);
    }
    FAIL_POINT_OUTCOME(d, run->step);
    run->step = 0;
    daemon_post(d, &event);
}

static bool routes_may_act(void *arg)
{
    const struct proxy_run *run = arg;
    return daemon_may_act(run->daemon);
}

static void fill_route(const struct core *core, const struct route_wish *wish,
                       struct haproxy_route *route)
{
    const struct route_def *def = &core->def.routes[wish->route];
    memset(route, 0, sizeof *route);
    snprintf(route->backend, sizeof route->backend, "%s", def->backend);
    route->servers_len = def->database >= 0 ? core->def.databases[def->database].instances_len
                                            : core->def.services[def->service].instances_len;
    for (int i = 0; i < route->servers_len; i++) {
        snprintf(route->servers[i], sizeof route->servers[i], "%s", def->servers[i]);
    }
    route->open = wish->open;
}

void acting_routes(struct daemon *d, const struct effect *effect)
{
    struct proxy_run *run = &d->proxies[effect->routes.proxy];
    struct haproxy_route routes[ROUTES_MAX];
    if (run->haproxy == NULL) {
        return;
    }
    haproxy_cancel(run->haproxy); /* the core asks again only when it has given the last one up */
    run->daemon = d;
    run->step = effect->step;
    run->wishes_len = effect->routes.wishes_len;
    memcpy(run->wishes, effect->routes.wishes, sizeof run->wishes);
    for (int i = 0; i < run->wishes_len; i++) {
        fill_route(d->core, &run->wishes[i], &routes[i]);
    }
    uint64_t now = clock_now_ms();
    uint64_t within = effect->deadline_ms > now ? effect->deadline_ms - now : 1;
    FAIL_POINT_EFFECT(d, "before", effect);
    haproxy_apply(run->haproxy, routes, run->wishes_len, within, routes_may_act, on_routes, run);
    FAIL_POINT_EFFECT(d, "begun", effect);
}

/* ---- calls ---- */

static void on_called(void *arg, const struct call_result *result)
{
    (void)arg;
    if (result->err.code == ERR_NONE) {
        log_line(LOG_LEVEL_INFO, "a person was called", "alarm", result->id, NULL);
    } else {
        log_line(LOG_LEVEL_ERROR, "the command that calls a person failed", "alarm", result->id,
                 "detail", result->err.text, NULL);
    }
}

void acting_call(struct daemon *d, const struct effect *effect)
{
    const struct alarm_record *alarm = &effect->call.alarm;
    const struct group_state *group = &d->core->groups[effect->call.group];
    struct call_alarm call = {
        .id = alarm->key,
        .cluster = d->core->def.cluster,
        .controller = d->local->id,
        .subject = alarm->key,
        .text = alarm->text,
        .hint = alarm->command,
        .incident = group->record.moving ? group->incident.id : NULL,
        .since_wall_ms = alarm->since_wall_ms,
    };
    if (d->call == NULL) {
        log_line(LOG_LEVEL_ERROR,
                 "a person should be called, but no command is configured (policy.call)", "alarm",
                 alarm->key, "text", alarm->text, NULL);
    } else if (!call_alarm(d->call, &call)) {
        log_line(LOG_LEVEL_ERROR, "too many calls wait; this one was dropped", "alarm", alarm->key,
                 NULL);
    }
}

/* ---- cancelling and rebuilding ---- */

void acting_cancel(struct daemon *d, uint32_t step)
{
    if (step == 0) {
        return;
    }
    for (int i = 0; i < FENCES_MAX; i++) {
        if (d->fences[i].op != NULL && d->fences[i].step == step) {
            fence_cancel(d->fences[i].op);
            d->fences[i].op = NULL;
        }
    }
    for (int db = 0; db < DATABASES_MAX; db++) {
        if (d->promotions[db].step == step) {
            drop_promotion(&d->promotions[db]);
        }
    }
}

void acting_cancel_all(struct daemon *d)
{
    for (int i = 0; i < FENCES_MAX; i++) {
        if (d->fences[i].op != NULL) {
            fence_cancel(d->fences[i].op);
            d->fences[i].op = NULL;
        }
    }
    for (int db = 0; db < DATABASES_MAX; db++) {
        drop_promotion(&d->promotions[db]);
    }
    for (int p = 0; p < PROXIES_MAX; p++) {
        if (d->proxies[p].haproxy != NULL) {
            haproxy_cancel(d->proxies[p].haproxy);
            d->proxies[p].step = 0;
        }
    }
}

void acting_tidy(struct daemon *d)
{
    for (int db = 0; db < DATABASES_MAX; db++) {
        struct promotion_run *run = &d->promotions[db];
        bool over = db >= d->core->def.databases_len || core_move_of(d->core, db) == NULL;
        if (run->promote != NULL && run->step == 0 && (run->finished || over)) {
            drop_promotion(run);
        }
    }
}

void acting_stop(struct daemon *d)
{
    for (int p = 0; p < PROXIES_MAX; p++) {
        haproxy_free(d->proxies[p].haproxy);
        d->proxies[p] = (struct proxy_run){.daemon = d};
    }
    call_free(d->call);
    d->call = NULL;
}

void acting_rebuild(struct daemon *d)
{
    const struct definition *def = &d->core->def;
    const char *args[CALL_ARGS_MAX + 1] = {NULL};
    struct err err = {0};
    acting_cancel_all(d);
    acting_stop(d);
    for (int p = 0; p < def->proxies_len; p++) {
        d->proxies[p].haproxy = haproxy_new(d->loop, &def->proxies[p]);
    }
    if (def->policy.call[0] == '\0') {
        return;
    }
    if (fill_command(d, def->policy.call, args, CALL_ARGS_MAX, &err)) {
        d->call = call_new(d->loop, args, on_called, d);
    } else {
        log_line(LOG_LEVEL_ERROR, "nobody can be called", "detail", err.text, NULL);
    }
}
