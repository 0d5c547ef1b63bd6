/*
 * intruder.c - a fence lasts (design §7): an instance that takes writes without being the recorded
 * primary.
 *
 * It has no routes (routes.c opens the recorded primary only); it is fenced again, at most
 * REFENCES_MAX times an hour, and an alarm counts the primaries. The count is recorded before the
 * fence begins, so that no change of leader starts it anew. A node that holds a permit for another
 * database is not fenced for this: a person decides (S9).
 *
 * Each controller's finding counts: one that only the follower can reach takes clients' writes just
 * as well. Findings from before the present state count for nothing: until the fence the old
 * primary rightly took writes.
 */
#include "controller/core/private.h"

#include <string.h>

#define REFENCES_MAX    3
#define REFENCES_PER_MS INT64_C(3600000)
#define AGAIN_MS        10000 /* after a proven fence it may take that long until probes agree */
#define OVERDUE_MS      2000

bool takes_writes(const struct core *core, int db, int i)
{
    const struct database_state *d = &core->databases[db];
    const struct instance_state *state = &d->instances[i];
    return state->health.cause == CAUSE_OK && state->fact.role == ROLE_PRIMARY &&
           state->fact.wrote && d->permit_known && state->fact.system_id == d->permit.system_id;
}

/* The id of a controller that lately saw it take a write, this one before any other; NULL: none. */
static const char *seen_by(const struct core *core, int db, int i, uint64_t since_ms)
{
    const struct instance_fact *fact = &core->databases[db].instances[i].fact;
    bool lately =
        fact->asked_ms > since_ms && core->now_ms - fact->answered_ms <= fresh_limit_ms(core);
    return lately && takes_writes(core, db, i) ? core->id
                                               : witness_of_writes(core, db, i, since_ms);
}

static int find_intruder(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    if (primary < 0 || !d->permit_known || d->permit.state != PERMIT_GRANTED) {
        return -1;
    }
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        if (i != primary && seen_by(core, db, i, d->since_ms) != NULL) {
            return i;
        }
    }
    return -1;
}

int core_primaries_seen(const struct core *core, int db)
{
    int primary = core_primary(core, db);
    int seen = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        uint64_t since = i == primary ? 0 : core->databases[db].since_ms;
        seen += seen_by(core, db, i, since) != NULL ? 1 : 0;
    }
    return seen;
}

static void alarm_key(const struct core *core, int db, char *ret_key, size_t size)
{
    text_format(ret_key, size, "primaries_seen.%s", core->def.databases[db].name);
}

static const struct node_def *intruder_node(const struct core *core, int db)
{
    int i = core->databases[db].intruder - 1;
    return &core->def.nodes[core->def.databases[db].instances[i].node];
}

static bool node_is_needed(const struct core *core, const struct node_def *node)
{
    for (int db = 0; db < core->def.databases_len; db++) {
        const struct permit_record *permit = &core->databases[db].permit;
        if (core->databases[db].permit_known && permit->state == PERMIT_GRANTED &&
            strcmp(permit->node, node->name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- guards ---- */

bool an_intruder_writes(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    bool again = d->intruder_over && core->now_ms >= d->intruder_again_ms;
    return (d->intruder == 0 || again) && find_intruder(core, db) >= 0;
}

/* Never the last one that takes writes (failures.md I9, I15): then a person decides. */
static bool primary_is_well(const struct core *core, int db)
{
    int primary = core_primary(core, db);
    return primary >= 0 && core->databases[db].instances[primary].health.is == OPINION_UP;
}

bool an_intruder_may_be_fenced(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct database_record *record = db_record_of(core, db);
    return d->intruder != 0 && !d->intruder_over && d->intruder_step == 0 &&
           core->ticket_saved >= d->intruder_ticket && record != NULL &&
           record->refences <= REFENCES_MAX && !core->groups[db_group(core, db)].record.paused &&
           primary_is_well(core, db) && !node_is_needed(core, intruder_node(core, db)) &&
           d->intruder_level < intruder_node(core, db)->levels_len;
}

bool a_refence_runs_late(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return d->intruder_step != 0 && core->now_ms >= d->intruder_deadline_ms + OVERDUE_MS;
}

/*
 * The alarm may be an earlier leader's. Findings count anew from each state on, so none is seen at
 * first: that does not mean that it is gone.
 */
bool the_intruder_is_gone(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    char key[NAME_SIZE * 2];
    alarm_key(core, db, key, sizeof key);
    bool known = d->intruder != 0 || alarm_stands(core, db_group(core, db), key);
    return known && d->intruder_step == 0 && find_intruder(core, db) < 0 &&
           core->now_ms >= d->since_ms + witness_settles_ms(core);
}

/* ---- actions ---- */

void say_intruder(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    struct database_record *record = db_record(core, db);
    int g = db_group(core, db);
    char key[NAME_SIZE * 2];
    char command[REASON_SIZE];
    char text[REASON_SIZE];
    char seer[NAME_SIZE + 32] = "";
    d->intruder = find_intruder(core, db) + 1;
    d->intruder_level = 0;
    d->intruder_over = false;
    if (core->wall_ms - record->refence_wall_ms >= REFENCES_PER_MS) {
        record->refences = 0;
    }
    if (record->refences == 0) {
        record->refence_wall_ms = core->wall_ms;
    }
    record->refences++;
    d->intruder_ticket = dirty_group(core, g);
    const char *node = intruder_node(core, db)->name;
    const char *by = seen_by(core, db, d->intruder - 1, d->since_ms);
    const char *limit =
        record->refences > REFENCES_MAX ? "; it was fenced as often as is allowed" : "";
    if (strcmp(by, core->id) != 0) {
        text_format(seer, sizeof seer, " (seen by controller %s)", by);
    }
    alarm_key(core, db, key, sizeof key);
    text_format(command, sizeof command,
                primary_is_well(core, db)
                    ? "stop PostgreSQL on %s; do not start it again before it is rebuilt"
                    : "nothing is fenced, since %s takes writes and the recorded primary does not: "
                      "decide which of them is the primary, and stop the other",
                node);
    text_format(text, sizeof text,
                "%s: %d primaries seen: %s takes writes%s, the recorded primary is %s%s",
                core->def.databases[db].name, core_primaries_seen(core, db), node, seer,
                record->primary, limit);
    alarm_renew(core, g, key, command, text);
}

void fence_intruder(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    const struct node_def *node = intruder_node(core, db);
    const struct fence_level_def *level = &node->levels[d->intruder_level];
    if (!fence_method_is_run(level->method)) {
        d->intruder_level++; /* the alarm calls for a person already; a guard holds it down unasked
                              */
        return;
    }
    struct effect *effect = effect_add(core, EFFECT_FENCE);
    effect->step = ++core->next_step;
    effect->deadline_ms = core->now_ms + level->deadline_ms;
    effect->fence.database = db;
    effect->fence.node = (int)(node - core->def.nodes);
    effect->fence.level = d->intruder_level;
    d->intruder_step = effect->step;
    d->intruder_deadline_ms = effect->deadline_ms;
}

void intruder_fenced(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    note(core, NOTE_INFO, "R-I4", db, -1, -1, "%s: %.200s", intruder_node(core, db)->name,
         core->event->fence.detail);
    d->intruder_step = 0;
    d->intruder_over = true;
    d->intruder_again_ms = core->now_ms + AGAIN_MS;
}

void next_refence(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    if (core->event->type != EV_FENCE_DONE || core->event->fence.step != d->intruder_step) {
        struct effect *effect = effect_add(core, EFFECT_CANCEL);
        effect->step = d->intruder_step;
    }
    d->intruder_step = 0;
    d->intruder_level++;
    if (d->intruder_level >= intruder_node(core, db)->levels_len) {
        d->intruder_over = true;
        d->intruder_again_ms = core->now_ms + AGAIN_MS;
    }
}

void forget_intruder(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    char key[NAME_SIZE * 2];
    alarm_key(core, db, key, sizeof key);
    alarm_clear(core, db_group(core, db), key);
    d->intruder = 0;
    d->intruder_over = false;
}

/* A move begins, or leading ends: what ran is not waited for. */
void drop_intruder(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    if (d->intruder_step != 0) {
        struct effect *effect = effect_add(core, EFFECT_CANCEL);
        effect->step = d->intruder_step;
    }
    d->intruder = 0;
    d->intruder_step = 0;
    d->intruder_over = false;
}
