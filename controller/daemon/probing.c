/*
 * probing.c - probes of instances and services, on their schedules.
 */
#include <stdlib.h>
#include <string.h>

#include "controller/daemon/daemon.h"

static void arm(struct target *target)
{
    uint64_t due = probe_schedule_due_ms(&target->schedule);
    uint64_t now = clock_now_ms();
    if (due == PROBE_SCHEDULE_NEVER) {
        timer_stop(target->timer);
    } else {
        timer_start(target->timer, due > now ? due - now : 0);
    }
}

static const struct health *health_of(const struct target *target)
{
    const struct core *core = target->daemon->core;
    return target->database >= 0
               ? &core->databases[target->database].instances[target->instance].health
               : &core->services[target->service][target->instance].health;
}

static void ended(struct target *target, bool failed)
{
    uint64_t now = clock_now_ms();
    if (probe_schedule_ended(&target->schedule, failed, now)) {
        struct core_event event = daemon_event(EV_STALL);
        daemon_post(target->daemon, &event);
    }
    probe_schedule_suspect(&target->schedule, failed || health_of(target)->first_bad_ms != 0, now);
    arm(target);
}

static void on_instance(void *arg, const struct instance_fact *fact)
{
    struct target *target = arg;
    ended(target, fact->cause != CAUSE_OK);
    struct core_event event = daemon_event(EV_INSTANCE);
    event.instance.database = target->database;
    event.instance.instance = target->instance;
    event.instance.fact = *fact;
    daemon_post(target->daemon, &event);
}

static void on_service(void *arg, const struct service_fact *fact)
{
    struct target *target = arg;
    ended(target, fact->cause != CAUSE_OK);
    struct core_event event = daemon_event(EV_SERVICE);
    event.service.service = target->service;
    event.service.instance = target->instance;
    event.service.fact = *fact;
    daemon_post(target->daemon, &event);
}

static void on_news(void *arg)
{
    struct target *target = arg;
    probe_schedule_news(&target->schedule, clock_now_ms());
    arm(target);
}

static void on_due(void *arg)
{
    struct target *target = arg;
    uint64_t now = clock_now_ms();
    bool busy = target->pg != NULL ? probe_pg_busy(target->pg) : probe_http_busy(target->http);
    if (busy || probe_schedule_due_ms(&target->schedule) > now) {
        arm(target);
        return;
    }
    probe_schedule_started(&target->schedule, now);
    if (target->pg != NULL) {
        probe_pg_ask(target->pg);
    } else {
        probe_http_ask(target->http);
    }
    arm(target);
}

/* Equal for all of one controller, so that they are due together; not for both controllers. */
static uint64_t seed_of(const char *controller)
{
    uint64_t hash = 0xcbf29ce484222325ull; /* FNV-1a */
    for (; *controller != '\0'; controller++) {
        hash = (hash ^ (unsigned char)*controller) * 0x100000001b3ull;
    }
    return hash;
}

static struct target *add(struct daemon *d, uint32_t refused_for_ms)
{
    struct target *target = &d->targets[d->targets_len];
    const struct profile *profile = definition_profile(&d->core->def);
    *target = (struct target){.daemon = d, .database = -1, .service = -1};
    probe_schedule_init(&target->schedule, profile->probe_interval_ms, profile->probe_deadline_ms,
                        refused_for_ms, seed_of(d->local->id), clock_now_ms());
    d->targets_len++;
    return target;
}

static void add_instance(struct daemon *d, int database, int instance)
{
    const struct profile *profile = definition_profile(&d->core->def);
    struct target *target = add(d, profile->refused_for_ms);
    char secret[SECRET_SIZE];
    struct probe_pg_params params = {.controller = d->local->id,
                                     .deadline_ms = profile->probe_deadline_ms,
                                     .done = on_instance,
                                     .on_news = on_news,
                                     .arg = target};
    target->database = database;
    target->instance = instance;
    daemon_pg_target(d, database, instance, secret, &params.target);
    target->pg = probe_pg_new(d->loop, &params);
    explicit_bzero(secret, sizeof secret);
}

static void add_service(struct daemon *d, int service, int instance)
{
    const struct profile *profile = definition_profile(&d->core->def);
    const struct service_instance_def *def = &d->core->def.services[service].instances[instance];
    struct target *target = add(d, 0);
    struct probe_http_params params = {.url = def->url,
                                       .status = def->status,
                                       .body = def->body,
                                       .deadline_ms = profile->probe_deadline_ms,
                                       .done = on_service,
                                       .arg = target};
    target->service = service;
    target->instance = instance;
    target->http = probe_http_new(d->http, &params);
}

/* ---- a write that is tried once ---- */

static void drop_try(struct try_run *run)
{
    if (run->pg != NULL) {
        probe_pg_free(run->pg);
        run->pg = NULL;
    }
}

static void on_tried(void *arg, const struct instance_fact *fact)
{
    struct try_run *run = arg;
    struct core_event event = daemon_event(EV_WRITE_TRIED);
    event.instance.database = run->database;
    event.instance.instance = run->instance;
    event.instance.fact = *fact;
    struct daemon *d = run->daemon;
    drop_try(run); /* and the fact with it */
    daemon_post(d, &event);
}

void probing_try(struct daemon *d, const struct effect *effect)
{
    int db = effect->probe.database;
    int instance = effect->probe.instance;
    struct try_run *run = &d->tries[db * INSTANCES_MAX + instance];
    uint64_t now = clock_now_ms();
    uint64_t left = effect->deadline_ms > now ? effect->deadline_ms - now : 0;
    char secret[SECRET_SIZE];
    struct probe_pg_params params = {
        .controller = d->local->id,
        .deadline_ms = left > PROBE_PG_DEADLINE_MIN_MS ? (uint32_t)left : PROBE_PG_DEADLINE_MIN_MS,
        .done = on_tried,
        .arg = run};
    drop_try(run);
    *run = (struct try_run){.daemon = d, .database = db, .instance = instance};
    daemon_pg_target(d, db, instance, secret, &params.target);
    run->pg = probe_pg_new(d->loop, &params);
    explicit_bzero(secret, sizeof secret);
    const struct database_state *state = &d->core->databases[db];
    probe_pg_expect(run->pg, ROLE_UNKNOWN, state->permit_known ? state->permit.system_id : 0);
    probe_pg_ask(run->pg);
}

/* ---- all of them ---- */

static int count_targets(const struct definition *def)
{
    int len = 0;
    for (int db = 0; db < def->databases_len; db++) {
        len += def->databases[db].instances_len;
    }
    for (int s = 0; s < def->services_len; s++) {
        len += def->services[s].instances_len;
    }
    return len;
}

void probing_rebuild(struct daemon *d)
{
    const struct definition *def = &d->core->def;
    probing_stop(d);
    int len = count_targets(def);
    d->targets = calloc((size_t)len + 1, sizeof d->targets[0]);
    if (d->targets == NULL) {
        abort(); /* without probes we must not lead; the other controller goes on */
    }
    for (int db = 0; db < def->databases_len; db++) {
        for (int i = 0; i < def->databases[db].instances_len; i++) {
            add_instance(d, db, i);
        }
    }
    for (int s = 0; s < def->services_len; s++) {
        for (int i = 0; i < def->services[s].instances_len; i++) {
            add_service(d, s, i);
        }
    }
    for (int t = 0; t < d->targets_len; t++) {
        d->targets[t].timer = timer_new(d->loop, on_due, &d->targets[t]);
        arm(&d->targets[t]);
    }
}

void probing_stop(struct daemon *d)
{
    for (int t = 0; t < d->targets_len; t++) {
        struct target *target = &d->targets[t];
        if (target->pg != NULL) {
            probe_pg_free(target->pg);
        }
        if (target->http != NULL) {
            probe_http_free(target->http);
        }
        timer_free(target->timer);
    }
    for (int i = 0; i < DATABASES_MAX * INSTANCES_MAX; i++) {
        drop_try(&d->tries[i]);
    }
    free(d->targets);
    d->targets = NULL;
    d->targets_len = 0;
}

void probing_now(struct daemon *d, int database, int instance)
{
    for (int t = 0; t < d->targets_len; t++) {
        if (d->targets[t].database == database && d->targets[t].instance == instance) {
            on_news(&d->targets[t]);
        }
    }
}

void probing_expect(struct daemon *d)
{
    for (int t = 0; t < d->targets_len; t++) {
        struct target *target = &d->targets[t];
        if (target->pg == NULL || target->database >= d->core->def.databases_len) {
            continue;
        }
        const struct database_state *db = &d->core->databases[target->database];
        /* A follower knows the records too, but only the leader's states say that nothing is being
         * moved. */
        bool settled = !d->core->leading || db->state == DB_NORMAL || db->state == DB_SUSPECT ||
                       db->state == DB_HELD;
        bool primary = settled && core_move_of(d->core, target->database) == NULL &&
                       core_primary(d->core, target->database) == target->instance;
        probe_pg_expect(target->pg, primary ? ROLE_PRIMARY : ROLE_UNKNOWN,
                        db->permit_known ? db->permit.system_id : 0);
    }
}
