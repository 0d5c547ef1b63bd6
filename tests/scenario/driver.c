/*
 * driver.c - what failoverd's own driver does (controller/daemon): the pump, effects out, outcomes
 * in, probes by the schedule of production.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/world.h"

#define STALL_MS 2000

static void on_tick(struct world *world, const struct args *args);

static bool alive(const struct world *world, const struct args *args)
{
    const struct controller *controller = &world->controllers[args->controller];
    return controller->running && controller->life == args->life;
}

/* A process that does not run takes its events when it runs again. */
static bool put_off(struct world *world, event_fn run, const struct args *args)
{
    if (!world->controllers[args->controller].frozen) {
        return false;
    }
    struct args later = *args;
    world_at(world, world->now_ms + 10, run, &later);
    return true;
}

struct core_event controller_event(const struct world *world, int c, enum core_event_type type)
{
    int64_t wall = START_WALL_MS + (int64_t)(world->now_ms - START_MS);
    return (struct core_event){.type = type,
                               .now_ms = world->now_ms,
                               .wall_ms = wall + world->controllers[c].wall_skew_ms};
}

bool controller_may_act(const struct world *world, int c)
{
    const struct controller *controller = &world->controllers[c];
    return controller->term != 0 && controller->core->leading &&
           world->now_ms < controller->act_until_ms;
}

int controller_leading(const struct world *world)
{
    for (int c = 0; c < world->controllers_len; c++) {
        if (world->controllers[c].running && world->controllers[c].core->leading) {
            return c;
        }
    }
    return -1;
}

/* ---- effects ---- */

static void take_note(struct world *world, int c, const struct effect *effect)
{
    const char *id = world->controllers[c].id;
    static const char *const marks[] = {"! ", "* ", "", ""};
    if (effect->note.level > 2) {
        return;
    }
    const char *about =
        effect->note.database[0] != '\0' ? effect->note.database : effect->note.group;
    if (effect->note.from >= 0 && effect->note.to >= 0 && effect->note.from != effect->note.to) {
        char from[32];
        char to[32];
        snprintf(from, sizeof from, "%s", db_state_names[effect->note.from]);
        snprintf(to, sizeof to, "%s", db_state_names[effect->note.to]);
        for (char *p = from; *p != '\0'; p++) {
            *p = (char)toupper((unsigned char)*p);
        }
        for (char *p = to; *p != '\0'; p++) {
            *p = (char)toupper((unsigned char)*p);
        }
        world_print(world, "%s %s %s -> %s %s  %s%s", id, effect->note.rule, from, to, about,
                    marks[effect->note.level], effect->note.text);
        world_point(world, "%s %s", effect->note.database, db_state_names[effect->note.to]);
    } else {
        world_print(world, "%s %s %s  %s%s", id, effect->note.rule, about,
                    marks[effect->note.level], effect->note.text);
    }
    world_point(world, "%s", effect->note.rule);
}

static void take_call(struct world *world, int c, const struct effect *effect)
{
    world->calls++;
    world_print(world, "%s calls a person: %s; next: %s", world->controllers[c].id,
                effect->call.alarm.text, effect->call.alarm.command);
}

static void cancel(struct controller *controller, uint32_t step)
{
    int len = (int)(sizeof controller->cancelled / sizeof controller->cancelled[0]);
    controller->cancelled[controller->cancelled_len++ % len] = step;
}

static void probe_now(struct world *world, int c, int db, int instance);
static void try_write(struct world *world, int c, const struct effect *effect);

static void carry_out(struct world *world, int c, const struct effect *effect)
{
    struct controller *controller = &world->controllers[c];
    switch (effect->type) {
    case EFFECT_SAVE: store_save(world, c, effect); break;
    case EFFECT_RELOAD: store_reload(world, c); break;
    case EFFECT_FENCE: act_fence(world, c, effect); break;
    case EFFECT_PREPARE: break; /* a session opened early changes nothing but the time it takes */
    case EFFECT_PROMOTE: act_promote(world, c, effect); break;
    case EFFECT_ROUTES: act_routes(world, c, effect); break;
    case EFFECT_CANCEL: cancel(controller, effect->step); break;
    case EFFECT_CANCEL_ALL: controller->cancelled_below = controller->core->next_step; break;
    case EFFECT_PROBE_NOW:
        probe_now(world, c, effect->probe.database, effect->probe.instance);
        break;
    case EFFECT_TRY_WRITE: try_write(world, c, effect); break;
    case EFFECT_PUBLISH: store_publish(world, c); break;
    case EFFECT_CALL: take_call(world, c, effect); break;
    case EFFECT_RESIGN:
        world_print(world, "%s resigns", controller->id);
        store_resign(world, c);
        break;
    case EFFECT_NOTE: take_note(world, c, effect); break;
    }
}

bool act_cancelled(const struct controller *controller, uint32_t step)
{
    if (step <= controller->cancelled_below) {
        return true;
    }
    for (size_t i = 0; i < sizeof controller->cancelled / sizeof controller->cancelled[0]; i++) {
        if (controller->cancelled[i] == step) {
            return true;
        }
    }
    return false;
}

static void arm_tick(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    uint64_t at = core_deadline_ms(controller->core);
    uint64_t latest = world->now_ms + 1000;
    at = at <= world->now_ms ? world->now_ms + 1 : at < latest ? at : latest;
    controller->tick_ms = at;
    world_at(world, at, on_tick,
             &(struct args){.controller = c, .life = controller->life, .n = at});
}

/* A trigger may end the process between two effects of one step: the rest is never carried out. */
static void step(struct world *world, int c, const struct core_event *event)
{
    struct controller *controller = &world->controllers[c];
    uint32_t life = controller->life;
    struct core_effects *effects = calloc(1, sizeof *effects);
    if (effects == NULL) {
        abort();
    }
    core_step(controller->core, event, effects);
    for (int i = 0; i < effects->len && controller->running && controller->life == life; i++) {
        carry_out(world, c, &effects->items[i]);
    }
    free(effects);
}

void controller_post(struct world *world, int c, const struct core_event *event)
{
    struct controller *controller = &world->controllers[c];
    uint32_t life = controller->life;
    assert(controller->running && !controller->frozen);
    if (controller->pumped_ms != 0 && world->now_ms - controller->pumped_ms > STALL_MS) {
        world_print(world, "%s stood still for %llu ms", controller->id,
                    (unsigned long long)(world->now_ms - controller->pumped_ms));
        struct core_event stall = controller_event(world, c, EV_STALL);
        controller->pumped_ms = world->now_ms;
        step(world, c, &stall);
    }
    controller->pumped_ms = world->now_ms;
    step(world, c, event);
    if (controller->running && controller->life == life) {
        store_offer_definition(world, c);
        arm_tick(world, c);
    }
}

static void on_tick(struct world *world, const struct args *args)
{
    struct controller *controller = &world->controllers[args->controller];
    if (!alive(world, args) || put_off(world, on_tick, args) || args->n != controller->tick_ms) {
        return;
    }
    struct core_event event = controller_event(world, args->controller, EV_TICK);
    controller_post(world, args->controller, &event);
}

/* ---- probes ---- */

static void arm_probe(struct world *world, int c, int t);

static const struct health *health_of(const struct controller *controller,
                                      const struct target *target)
{
    return target->database >= 0
               ? &controller->core->databases[target->database].instances[target->instance].health
               : &controller->core->services[target->service][target->instance].health;
}

struct probing { /* one probe under way */
    uint64_t asked_ms;
    enum role expected;
    uint64_t expected_system;
    uint32_t pg_life;
};

static void on_probe_ended(struct world *world, const struct args *args);

static bool stale(const struct world *world, const struct args *args)
{
    return !alive(world, args) ||
           world->controllers[args->controller].targets_life != (uint32_t)args->m;
}

/* What would be found now; CAUSE_TIMED_OUT and other silences are known at the deadline only. */
static void look(struct world *world, const struct args *args, const struct target *target,
                 struct core_event *event)
{
    const struct probing *probing = args->memory;
    if (target->database < 0) {
        struct service_fact *fact = &event->service.fact;
        int node = world->def.services[target->service].instances[target->instance].node;
        event->service.service = target->service;
        event->service.instance = target->instance;
        fact->asked_ms = probing->asked_ms;
        fact->cause = world->cut_node[args->controller][node] || !world->machines[node].on
                          ? CAUSE_TIMED_OUT
                      : world->service_fails[target->service][target->instance] ? CAUSE_BAD_ANSWER
                                                                                : CAUSE_OK;
        return;
    }
    struct instance_fact *fact = &event->instance.fact;
    event->instance.database = target->database;
    event->instance.instance = target->instance;
    fact->asked_ms = probing->asked_ms;
    postgres_probe(world, args->controller, target->database, target->instance, fact);
    if (fact->answered && probing->pg_life != world->pg[target->database][target->instance].life) {
        *fact = (struct instance_fact){.asked_ms = probing->asked_ms, .cause = CAUSE_CUT};
    }
    if (fact->answered && probing->expected_system != 0 &&
        fact->system_id != probing->expected_system) {
        fact->cause = CAUSE_WRONG_SYSTEM;
        fact->wrote = false;
    } else if (fact->answered && fact->cause == CAUSE_OK && fact->role == ROLE_STANDBY &&
               probing->expected == ROLE_PRIMARY) {
        fact->cause = CAUSE_IN_RECOVERY;
    }
}

static bool waits_for_deadline(const struct core_event *event)
{
    enum cause cause =
        event->type == EV_INSTANCE ? event->instance.fact.cause : event->service.fact.cause;
    return cause == CAUSE_TIMED_OUT || cause == CAUSE_HUNG || cause == CAUSE_SYNC_STALL;
}

static void on_probe_ended(struct world *world, const struct args *args)
{
    struct controller *controller = &world->controllers[args->controller];
    if (stale(world, args)) {
        return;
    }
    const struct probing *probing = args->memory;
    struct probing copy = *probing;
    struct args later = *args;
    if (controller->frozen) {
        later.memory = calloc(1, sizeof copy);
        memcpy(later.memory, &copy, sizeof copy);
        world_at(world, world->now_ms + 10, on_probe_ended, &later);
        return;
    }
    struct target *target = &controller->targets[args->a];
    enum core_event_type type = target->database >= 0 ? EV_INSTANCE : EV_SERVICE;
    struct core_event event = controller_event(world, args->controller, type);
    look(world, args, target, &event);
    uint64_t deadline =
        copy.asked_ms + definition_profile(&controller->core->def)->probe_deadline_ms;
    if (waits_for_deadline(&event) && world->now_ms < deadline) {
        later.memory = calloc(1, sizeof copy);
        memcpy(later.memory, &copy, sizeof copy);
        world_at(world, deadline, on_probe_ended, &later);
        return;
    }
    bool failed;
    if (type == EV_INSTANCE) {
        event.instance.fact.answered_ms = world->now_ms;
        snprintf(event.instance.fact.detail, sizeof event.instance.fact.detail,
                 "as the model says");
        failed = event.instance.fact.cause != CAUSE_OK;
    } else {
        event.service.fact.answered_ms = world->now_ms;
        failed = event.service.fact.cause != CAUSE_OK;
    }
    uint32_t life = controller->life;
    if (probe_schedule_ended(&target->schedule, failed, world->now_ms)) {
        struct core_event stall = controller_event(world, args->controller, EV_STALL);
        controller_post(world, args->controller, &stall);
    }
    probe_schedule_suspect(&target->schedule,
                           failed || health_of(controller, target)->first_bad_ms != 0,
                           world->now_ms);
    arm_probe(world, args->controller, args->a);
    if (controller->running && controller->life == life && !controller->frozen) {
        controller_post(world, args->controller, &event);
    }
}

/* As probing_expect() in the daemon. */
static void expect(const struct controller *controller, const struct target *target,
                   struct probing *probing)
{
    const struct core *core = controller->core;
    probing->expected = ROLE_UNKNOWN;
    if (target->database < 0) {
        return;
    }
    const struct database_state *db = &core->databases[target->database];
    bool settled =
        !core->leading || db->state == DB_NORMAL || db->state == DB_SUSPECT || db->state == DB_HELD;
    if (settled && core_move_of(core, target->database) == NULL &&
        core_primary(core, target->database) == target->instance) {
        probing->expected = ROLE_PRIMARY;
    }
    probing->expected_system = db->permit_known ? db->permit.system_id : 0;
}

static void on_probe_due(struct world *world, const struct args *args)
{
    struct controller *controller = &world->controllers[args->controller];
    if (stale(world, args)) {
        return;
    }
    struct target *target = &controller->targets[args->a];
    if (target->armed != args->n || put_off(world, on_probe_due, args)) {
        return;
    }
    struct probing *probing = calloc(1, sizeof *probing);
    if (probing == NULL) {
        abort();
    }
    probe_schedule_started(&target->schedule, world->now_ms);
    probing->asked_ms = world->now_ms;
    expect(controller, target, probing);
    if (target->database >= 0) {
        probing->pg_life = world->pg[target->database][target->instance].life;
    }
    world_at(world, world->now_ms + DELAY_PROBE_MS, on_probe_ended,
             &(struct args){.controller = args->controller,
                            .life = controller->life,
                            .a = args->a,
                            .m = controller->targets_life,
                            .memory = probing});
}

static void arm_probe(struct world *world, int c, int t)
{
    struct controller *controller = &world->controllers[c];
    struct target *target = &controller->targets[t];
    uint64_t due = probe_schedule_due_ms(&target->schedule);
    if (due == PROBE_SCHEDULE_NEVER) {
        return;
    }
    due = due > world->now_ms ? due : world->now_ms;
    target->armed++;
    world_at(world, due, on_probe_due,
             &(struct args){.controller = c,
                            .life = controller->life,
                            .a = t,
                            .n = target->armed,
                            .m = controller->targets_life});
}

static void probe_now(struct world *world, int c, int db, int instance)
{
    struct controller *controller = &world->controllers[c];
    for (int t = 0; t < controller->targets_len; t++) {
        struct target *target = &controller->targets[t];
        if (target->database == db && target->instance == instance) {
            probe_schedule_news(&target->schedule, world->now_ms);
            arm_probe(world, c, t);
        }
    }
}

/* A write on a connection of its own, with its own deadline: no schedule knows of it. */
static void on_tried(struct world *world, const struct args *args)
{
    if (!alive(world, args) || put_off(world, on_tried, args)) {
        return;
    }
    struct probing probing = {.asked_ms = args->n,
                              .expected_system = 7000 + (uint64_t)args->a,
                              .pg_life = world->pg[args->a][args->b].life};
    struct target target = {.database = args->a, .service = -1, .instance = args->b};
    struct args looked = *args;
    struct core_event event = controller_event(world, args->controller, EV_WRITE_TRIED);
    looked.memory = &probing;
    look(world, &looked, &target, &event);
    enum cause cause = event.instance.fact.cause;
    bool silent = cause == CAUSE_TIMED_OUT || cause == CAUSE_HUNG || cause == CAUSE_SYNC_STALL;
    if (silent && world->now_ms < args->m) {
        world_at(world, args->m, on_tried, args);
        return;
    }
    event.instance.fact.answered_ms = world->now_ms;
    controller_post(world, args->controller, &event);
}

static void try_write(struct world *world, int c, const struct effect *effect)
{
    world_at(world, world->now_ms + DELAY_PROBE_MS, on_tried,
             &(struct args){.controller = c,
                            .life = world->controllers[c].life,
                            .a = effect->probe.database,
                            .b = effect->probe.instance,
                            .n = world->now_ms,
                            .m = effect->deadline_ms});
}

void controller_news(struct world *world, int db, int instance)
{
    int node = world->def.databases[db].instances[instance].node;
    for (int c = 0; c < world->controllers_len; c++) {
        const struct controller *controller = &world->controllers[c];
        if (controller->running && !controller->frozen && !world->cut_node[c][node]) {
            probe_now(world, c, db, instance);
        }
    }
}

static void add_target(struct world *world, int c, int db, int service, int instance,
                       uint32_t refused_for_ms)
{
    struct controller *controller = &world->controllers[c];
    const struct profile *profile = definition_profile(&controller->core->def);
    struct target *target = &controller->targets[controller->targets_len++];
    *target = (struct target){.database = db, .service = service, .instance = instance};
    probe_schedule_init(
        &target->schedule, profile->probe_interval_ms, profile->probe_deadline_ms, refused_for_ms,
        (uint64_t)(c + 1) * 1000 + (uint64_t)controller->targets_len, world->now_ms);
}

void controller_rebuild(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    const struct definition *def = &controller->core->def;
    const struct profile *profile = definition_profile(def);
    controller->targets_len = 0;
    controller->targets_life++;
    for (int db = 0; db < def->databases_len; db++) {
        for (int i = 0; i < def->databases[db].instances_len; i++) {
            add_target(world, c, db, -1, i, profile->refused_for_ms);
        }
    }
    for (int s = 0; s < def->services_len; s++) {
        for (int i = 0; i < def->services[s].instances_len; i++) {
            add_target(world, c, -1, s, i, 0);
        }
    }
    for (int t = 0; t < controller->targets_len; t++) {
        arm_probe(world, c, t);
    }
}

/* ---- the life of the process ---- */

void controller_start(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    if (controller->running) {
        return;
    }
    controller->life++;
    controller->running = true;
    controller->frozen = false;
    if (controller->core == NULL) {
        controller->core = malloc(sizeof *controller->core);
    }
    if (controller->core == NULL) {
        abort();
    }
    core_init(controller->core, controller->id, world->now_ms);
    controller->core->promises = world->guards_run;
    controller->core->view_sequence = (uint64_t)controller->life
                                      << 32; /* echoes tell lives apart */
    controller->pumped_ms = 0;
    controller->term = 0;
    controller->passive_until_ms = 0;
    controller->reloading = false;
    controller->cancelled_below = 0;
    memset(controller->cancelled, 0, sizeof controller->cancelled);
    free(controller->next_def);
    controller->next_def = NULL;
    controller->targets_len = 0;
    store_boot(world, c);
    arm_tick(world, c);
}

void controller_kill(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    controller->running = false;
    controller->frozen = false;
    controller->term = 0;
    controller->life++;
}

void controller_freeze(struct world *world, int c)
{
    world->controllers[c].frozen = true;
}

void controller_thaw(struct world *world, int c)
{
    world->controllers[c].frozen = false;
}
