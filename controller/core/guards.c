/*
 * guards.c - what holds an automatic failover back (design §6, §8, §10 S11, S12).
 *
 * One ordered list of reasons: who doubts the failure first, then what policy says. It is the same
 * code for the decision, for `status` and for `explain`: the decision takes the first that does not
 * pass, `explain` shows them all.
 */
#include "controller/core/private.h"

#include <assert.h>
#include <string.h>

#include "controller/base/rule_off.h"

const char *const hold_names[] = {"",       "stall",  "blind",     "witness",   "paused",
                                  "manual", "budget", "candidate", "neighbour", NULL};

static void check_stall(const struct core *core, struct core_check *check)
{
    uint64_t left =
        core->now_ms < core->observe_until_ms ? core->observe_until_ms - core->now_ms : 0;
    if (left > 0) {
        check_set(check, "stall", false, -1,
                  "this controller stood still for a while; it observes for another %llu ms",
                  (unsigned long long)left);
    } else {
        check_set(check, "stall", true, -1, "this controller has not stood still lately");
    }
    check_value(check, "observes for %llu ms", (unsigned long long)left);
    check_limit(check, "0 ms");
}

/* It does not rest on what this controller sees where the guard has said it. */
static void check_blind(const struct core *core, int db, struct core_check *check)
{
    bool told = core->blind && guard_says_down(core, db);
    check_set(check, "blind", !core->blind || told, -1,
              told ? "every target fails for this controller at once, and the primary's guard says "
                     "that nothing of it runs"
              : core->blind ? "every target fails for this controller at once: it doubts itself"
                            : "this controller sees some target");
    check_value(check, core->blind ? "every target fails" : "sees some target");
    check_limit(check, "not every target at once");
}

static void check_witness(const struct core *core, int db, struct core_check *check)
{
    struct witness_verdict verdict;
    witness_ask(core, db, &verdict);
    check_set(check, "witness", verdict.agree, -1, "%s", verdict.text);
    check_value(check, verdict.agree ? "all agree" : "not all agree");
    check_limit(check, "all agree that it is down");
}

static void check_paused(const struct core *core, int g, struct core_check *check)
{
    const struct group_record *group = &core->groups[g].record;
    if (group->paused) {
        check_set(check, "paused", false, core->wall_ms - group->paused_wall_ms,
                  "group %s is paused by %s: %.120s", group->name, group->paused_by,
                  group->paused_reason);
    } else {
        check_set(check, "paused", true, -1, "group %s is not paused", group->name);
    }
    check_value(check, group->paused ? "paused" : "not paused");
    check_limit(check, "not paused");
}

static void check_manual(const struct core *core, int g, struct core_check *check)
{
    const struct group_def *def = &core->def.groups[g];
    check_set(check, "manual", def->automatic, -1, "automatic failover is %s for group %s",
              def->automatic ? "on" : "off", def->name);
    check_value(check, def->automatic ? "on" : "off");
    check_limit(check, "on");
}

static void check_budget(const struct core *core, int group, struct core_check *check)
{
    const struct policy_def *policy = &core->def.policy;
    const struct group_record *record = &core->groups[group].record;
    uint32_t recent = 0;
    for (int i = 0; i < record->completed_len; i++) {
        /* People's clocks only, and only to hold back: a skewed one can delay automation, never
         * start it early by more than the skew. */
        int64_t age = core->wall_ms - record->completed_wall_ms[i];
        if (age < (int64_t)policy->budget_per_ms) {
            recent++;
        }
    }
    bool spent = recent >= policy->budget_failovers;
    check_set(check, "budget", !spent, -1,
              "%u automatic failovers completed in the last %llu min (limit %u)%s", recent,
              (unsigned long long)(policy->budget_per_ms / 60000), policy->budget_failovers,
              spent ? ": a person must decide" : "");
    check_value(check, "%u", recent);
    check_limit(check, "fewer than %u in %llu min", policy->budget_failovers,
                (unsigned long long)(policy->budget_per_ms / 60000));
}

static void check_candidate(const struct core *core, int db, struct core_check *check)
{
    struct choice choice;
    candidate_choose(core, db, false, &choice);
    if (choice.chosen < 0) {
        check_set(check, "candidate", false, -1, "no candidate: %.220s", choice.reason);
        check_value(check, "nobody");
    } else {
        const struct instance_fact *fact = &core->databases[db].instances[choice.chosen].fact;
        const char *node = instance_node(core, db, choice.chosen);
        uint64_t seen_ms = choice.in_place
                               ? core->databases[db].instances[choice.chosen].guard.heard_ms
                               : fact->answered_ms;
        check_set(check, "candidate", true, (int64_t)(core->now_ms - seen_ms),
                  choice.in_place ? "%s would be started again in its place" : "%s would take over",
                  node);
        check_value(check, "%s", node);
    }
    check_limit(check, "at least one");
}

/* Why a fence of this node would take away what `other` cannot do without; "" if it would not. */
static void needs_node(const struct core *core, int other, int node, char *text, size_t size)
{
    const struct database_state *d = &core->databases[other];
    const struct move_record *move = core_move_of(core, other);
    const char *name = core->def.databases[other].name;
    int there = definition_instance(&core->def.databases[other], node);
    text[0] = '\0';
    if (there < 0) {
        return;
    }
    if (move != NULL) {
        /* A recorded candidate counts as a primary (design §8), so it may not be cut down unseen.
         */
        if (strcmp(move->candidate, instance_node(core, other, there)) == 0 &&
            d->instances[there].health.is != OPINION_DOWN) {
            text_format(text, size,
                        "fencing its node would stop %s too, which is being moved to it", name);
        }
    } else if (core_primary(core, other) == there) {
        struct choice choice;
        candidate_choose(core, other, false, &choice);
        if (choice.chosen < 0) {
            text_format(text, size,
                        "fencing its node would stop %s too, which has no candidate: %.120s", name,
                        choice.reason);
        }
    }
}

int node_needed_by(const struct core *core, int db, int node, char *text, size_t size)
{
    for (int other = 0; other < core->def.databases_len; other++) {
        if (other != db) {
            needs_node(core, other, node, text, size);
            if (text[0] != '\0') {
                return other;
            }
        }
    }
    return -1;
}

/*
 * A fence moves every primary on its node, and automation moves none of a group that is paused,
 * that only people move, or whose budget is spent (S12).
 */
int node_held_by(const struct core *core, int db, int node, char *text, size_t size)
{
    static const enum hold policies[] = {HOLD_PAUSED, HOLD_MANUAL, HOLD_BUDGET};
    for (int other = 0; other < core->def.databases_len; other++) {
        int there = core_primary(core, other);
        if (db_group(core, other) == db_group(core, db) || there < 0 || is_moving(core, other) ||
            core->def.databases[other].instances[there].node != node) {
            continue;
        }
        for (size_t p = 0; p < sizeof policies / sizeof policies[0]; p++) {
            struct core_check check;
            hold_check(core, other, policies[p], &check);
            if (!check.passes) {
                text_format(text, size, "fencing its node would move %s too: %.160s",
                            core->def.databases[other].name, check.text);
                return other;
            }
        }
    }
    return -1;
}

/* A fence names every instance on its node: each other primary there must have a candidate too, and
 * be one that automation may move. */
static void check_neighbours(const struct core *core, int db, struct core_check *check)
{
    int primary = core_primary(core, db);
    int node = primary < 0 ? -1 : core->def.databases[db].instances[primary].node;
    char text[REASON_SIZE];
    int neighbours = 0;
    for (int other = 0; other < core->def.databases_len && node >= 0; other++) {
        int there = core_primary(core, other);
        neighbours += other != db && there >= 0 && !is_moving(core, other) &&
                              core->def.databases[other].instances[there].node == node
                          ? 1
                          : 0;
    }
    int other = node < 0 ? -1 : node_needed_by(core, db, node, text, sizeof text);
    if (other >= 0) {
        check_set(check, "neighbour", false, -1, "%s", text);
        check_value(check, "%s needs it", core->def.databases[other].name);
        check_limit(check, "nobody needs it");
        return;
    }
    other = node < 0 ? -1 : node_held_by(core, db, node, text, sizeof text);
    if (other >= 0) {
        check_set(check, "neighbour", false, -1, "%s", text);
        check_value(check, "%s may not move", core->def.databases[other].name);
        check_limit(check, "each may be moved");
        return;
    }
    check_set(check, "neighbour", true, -1,
              neighbours == 0 ? "no other primary is on its node"
                              : "every other primary on its node has a candidate, and moves too");
    check_value(check, "%d on its node", neighbours);
    check_limit(check, "each has a candidate");
}

void hold_check(const struct core *core, int db, enum hold hold, struct core_check *check)
{
    int g = db_group(core, db);
    switch (hold) {
    case HOLD_STALL: check_stall(core, check); break;
    case HOLD_BLIND: check_blind(core, db, check); break;
    case HOLD_WITNESS: check_witness(core, db, check); break;
    case HOLD_PAUSED: check_paused(core, g, check); break;
    case HOLD_MANUAL: check_manual(core, g, check); break;
    case HOLD_BUDGET: check_budget(core, g, check); break;
    case HOLD_CANDIDATE: check_candidate(core, db, check); break;
    case HOLD_NEIGHBOUR: check_neighbours(core, db, check); break;
    case HOLD_NONE:
    case HOLDS: assert(false); break;
    }
}

enum hold hold_of(const struct core *core, int db, char *text, size_t size)
{
    text[0] = '\0';
    for (int hold = HOLD_NONE + 1; hold < HOLDS; hold++) {
        struct core_check check;
        hold_check(core, db, (enum hold)hold, &check);
        if (!check.passes && !rule_is_off(hold_names[hold])) {
            text_copy(text, size, check.text);
            return (enum hold)hold;
        }
    }
    return HOLD_NONE;
}
