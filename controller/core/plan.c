/*
 * plan.c - what a failover by a person would do now, step by step, without doing it.
 *
 * The hash stands for what would be done, not for how things look this second: it changes with the
 * primary, its epoch and timeline, who is fit, the fencing levels and the accepted loss. A request
 * that carries it is refused when it has changed: what was shown is what runs (design §8).
 */
#include "controller/core/private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void mix(uint64_t *hash, const char *text)
{
    do {
        *hash = (*hash ^ (unsigned char)*text) * UINT64_C(1099511628211); /* FNV-1a, with the end */
    } while (*text++ != '\0');
}

static void mix_number(uint64_t *hash, uint64_t number)
{
    char text[24];
    text_format(text, sizeof text, "%" PRIu64, number);
    mix(hash, text);
}

static struct plan_step *add_step(struct plan *plan, int db, enum lap lap,
                                  const struct core_time *times)
{
    struct plan_step *step = &plan->steps[plan->steps_len++];
    step->database = db;
    step->lap = lap;
    step->time = times[lap];
    return step;
}

static void describe_fence(const struct core *core, int node, char *text, size_t size)
{
    const struct node_def *def = &core->def.nodes[node];
    size_t used = 0;
    text_format(text, size, "revoke its permit, then fence %s:", def->name);
    for (int i = 0; i < def->levels_len; i++) {
        used = strnlen(text, size);
        text_format(text + used, size - used, "%s %s (%s)", i > 0 ? ", then" : "",
                    def->levels[i].name, fence_method_names[def->levels[i].method]);
    }
    if (def->levels_len == 0) {
        used = strnlen(text, size);
        text_format(text + used, size - used, " a person must confirm it");
    }
}

/* A fence moves every primary on its node (design §7): those that the request does not name, and
 * what holds automation back from them. */
static void describe_neighbours(const struct core *core, const struct request_record *request,
                                int db, int node, char *text, size_t size, uint64_t *hash)
{
    char why[REASON_SIZE];
    for (int other = 0; other < core->def.databases_len; other++) {
        int there = core_primary(core, other);
        if (there >= 0 && core->def.databases[other].instances[there].node == node &&
            !request_means(core, request, other)) {
            size_t used = strnlen(text, size);
            text_format(text + used, size - used, "; moves %s too",
                        core->def.databases[other].name);
            mix(hash, core->def.databases[other].name);
        }
    }
    if (node_held_by(core, db, node, why, sizeof why) >= 0) {
        size_t used = strnlen(text, size);
        text_format(text + used, size - used, " (automation would not: %.150s)", why);
        mix(hash, why);
    }
}

static void describe_routes(const struct core *core, int db, char *text, size_t size)
{
    int len = 0;
    text_format(text, size, "lead");
    for (int r = 0; r < core->def.routes_len; r++) {
        if (route_belongs(core, r, db)) {
            size_t used = strnlen(text, size);
            text_format(text + used, size - used, "%s %s (%d prox%s)", len++ > 0 ? "," : "",
                        core->def.routes[r].name, core->def.routes[r].proxies_len,
                        core->def.routes[r].proxies_len == 1 ? "y" : "ies");
        }
    }
    size_t used = strnlen(text, size);
    text_format(text + used, size - used, len > 0 ? " there" : " nothing: it has no routes");
}

static void plan_database(const struct core *core, const struct request_record *request, int db,
                          struct plan *plan, uint64_t *hash)
{
    struct choice choice;
    struct core_time times[LAPS];
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    candidate_choose_with(core, db, false, request->accept_loss_bytes, &choice);
    plan->targets[db] = choice.chosen;
    plan->loss_known[db] = choice.loss_known;
    plan->loss_bytes[db] = choice.loss_bytes;
    mix(hash, core->def.databases[db].name);
    mix_number(hash, d->permit.epoch.incarnation);
    mix_number(hash, d->permit.epoch.counter);
    mix_number(hash, d->permit.timeline);
    mix(hash, primary < 0 ? "" : instance_node(core, db, primary));
    /* Which of the fit ones has the most WAL changes from second to second; who is fit does not. */
    for (int i = 0; i < choice.verdicts_len; i++) {
        if (choice.verdicts[i].passes) {
            mix(hash, instance_node(core, db, choice.verdicts[i].instance));
        }
    }
    if (primary < 0 || choice.chosen < 0) {
        return;
    }
    int node = core->def.databases[db].instances[primary].node;
    for (int i = 0; i < core->def.nodes[node].levels_len; i++) {
        mix(hash, core->def.nodes[node].levels[i].name);
    }
    core_times(core, db, true, times, plan->measured);
    struct plan_step *step = add_step(plan, db, LAP_FENCE, times);
    describe_fence(core, node, step->text, sizeof step->text);
    describe_neighbours(core, request, db, node, step->text, sizeof step->text, hash);
    times_add(&plan->total, &step->time);
    step = add_step(plan, db, LAP_PROMOTE, times);
    if (choice.in_place) {
        text_format(
            step->text, sizeof step->text,
            "grant the permit to %s again, whose guard starts it in its place on timeline %u",
            instance_node(core, db, choice.chosen), d->permit.timeline);
    } else {
        text_format(step->text, sizeof step->text,
                    "hear the standbys, grant the permit to %s and promote it to timeline %u",
                    instance_node(core, db, choice.chosen), d->permit.timeline + 1);
    }
    times_add(&plan->total, &step->time);
    step = add_step(plan, db, LAP_REDIRECT, times);
    describe_routes(core, db, step->text, sizeof step->text);
    times_add(&plan->total, &step->time);
    step = add_step(plan, db, LAP_VERIFY, times);
    text_format(step->text, sizeof step->text, "see writes on %s and its services work",
                instance_node(core, db, choice.chosen));
    times_add(&plan->total, &step->time);
}

void core_plan(const struct core *core, const struct request_record *request, struct plan *plan)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    memset(plan, 0, sizeof *plan);
    mix(&hash, request_kind_names[REQUEST_FAILOVER]);
    mix(&hash, request->node);
    mix_number(&hash, request->accept_loss_bytes);
    for (int db = 0; db < core->def.databases_len; db++) {
        plan->targets[db] = -1;
        if (request_means(core, request, db)) {
            plan_database(core, request, db, plan, &hash);
            (void)failover_refused(core, request, db, plan->refused, sizeof plan->refused);
        }
    }
    text_format(plan->hash, sizeof plan->hash, "%016" PRIx64, hash);
}
