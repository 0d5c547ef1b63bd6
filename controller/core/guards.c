/*
 * guards.c - what holds an automatic failover back (design §6, §8, §10 S11, S12).
 *
 * One ordered list of reasons: who doubts the failure first, then what policy says. It is the same
 * code for the decision, for `status` and for `explain`.
 */
#include "controller/core/private.h"

#include <string.h>

const char *const hold_names[] = {"",       "stall",  "blind",     "witness",   "paused",
                                  "manual", "budget", "candidate", "neighbour", NULL};

static bool budget_spent(const struct core *core, int group, char *text, size_t size)
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
    if (recent < policy->budget_failovers) {
        return false;
    }
    text_format(
        text, size,
        "%u automatic failovers completed in the last %llu min (limit %u): a person must decide",
        recent, (unsigned long long)(policy->budget_per_ms / 60000), policy->budget_failovers);
    return true;
}

/* A fence names every instance on its node: each other primary there must have a candidate too. */
static bool neighbour_holds(const struct core *core, int db, char *text, size_t size)
{
    int primary = core_primary(core, db);
    int node = core->def.databases[db].instances[primary].node;
    for (int other = 0; other < core->def.databases_len; other++) {
        int there = core_primary(core, other);
        if (other == db || there < 0 || core->def.databases[other].instances[there].node != node ||
            is_moving(core, other)) {
            continue;
        }
        struct choice choice;
        candidate_choose(core, other, false, &choice);
        if (choice.chosen < 0) {
            text_format(text, size,
                        "fencing its node would stop %s too, which has no candidate: %.120s",
                        core->def.databases[other].name, choice.reason);
            return true;
        }
    }
    return false;
}

enum hold hold_of(const struct core *core, int db, char *text, size_t size)
{
    int g = db_group(core, db);
    const struct group_record *group = &core->groups[g].record;
    struct witness_verdict verdict;
    struct choice choice;
    text[0] = '\0';
    if (core->now_ms < core->observe_until_ms) {
        text_format(text, size,
                    "this controller stood still for a while; it observes for another %llu ms",
                    (unsigned long long)(core->observe_until_ms - core->now_ms));
        return HOLD_STALL;
    }
    if (core->blind) {
        text_copy(text, size, "every target fails for this controller at once: it doubts itself");
        return HOLD_BLIND;
    }
    witness_ask(core, db, &verdict);
    if (!verdict.agree) {
        text_copy(text, size, verdict.text);
        return HOLD_WITNESS;
    }
    if (group->paused) {
        text_format(text, size, "group %s is paused by %s: %.120s", group->name, group->paused_by,
                    group->paused_reason);
        return HOLD_PAUSED;
    }
    if (!core->def.groups[g].automatic) {
        text_format(text, size, "automatic failover is off for group %s", group->name);
        return HOLD_MANUAL;
    }
    if (budget_spent(core, g, text, size)) {
        return HOLD_BUDGET;
    }
    candidate_choose(core, db, false, &choice);
    if (choice.chosen < 0) {
        text_format(text, size, "no candidate: %.220s", choice.reason);
        return HOLD_CANDIDATE;
    }
    return neighbour_holds(core, db, text, size) ? HOLD_NEIGHBOUR : HOLD_NONE;
}
