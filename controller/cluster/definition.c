#include "controller/cluster/definition.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

const char *const fence_method_names[] = {"agent",  "command",     "operator", "guard",
                                          "permit", "replication", NULL};
const char *const on_crash_names[] = {"failover", "restart", NULL};
const char *const when_blind_names[] = {"stop", "continue", NULL};
const char *const durability_names[] = {"sync", "strict", "async", NULL};
const char *const move_mode_names[] = {"apart", "together", NULL};
const char *const profile_names[] = {"default", "fast", NULL};

/* design §7, "Time as evidence". */
const struct profile profiles[] = {
    [PROFILE_DEFAULT] = {.probe_interval_ms = 500,
                         .probe_deadline_ms = 1500,
                         .fall = 2,
                         .rise = 2,
                         .refused_for_ms = 1000,
                         .lease_ms = 5000,
                         .permit_d_ms = 8000,
                         .permit_w_ms = 2000,
                         .permit_k_ms = 1000,
                         .renewal_ms = 1000},
    [PROFILE_FAST] = {.probe_interval_ms = 200,
                      .probe_deadline_ms = 500,
                      .fall = 2,
                      .rise = 2,
                      .refused_for_ms = 300,
                      .lease_ms = 3000,
                      .permit_d_ms = 4000,
                      .permit_w_ms = 1000,
                      .permit_k_ms = 500,
                      .renewal_ms = 500},
};

/* All that bears a name begins with it. */
_Static_assert(offsetof(struct site_def, name) == 0 && offsetof(struct node_def, name) == 0 &&
                   offsetof(struct database_def, name) == 0 &&
                   offsetof(struct group_def, name) == 0,
               "find_name() looks there");

static int find_name(const void *items, size_t size, int len, const char *name)
{
    const char *item = items;
    for (int i = 0; i < len; i++, item += size) {
        if (strcmp(item, name) == 0) {
            return i;
        }
    }
    return -1;
}

#define FIND(def, items, name)                                                                     \
    find_name((def)->items, sizeof *(def)->items, (def)->items##_len, name)

int definition_site(const struct definition *def, const char *name)
{
    return FIND(def, sites, name);
}

int definition_node(const struct definition *def, const char *name)
{
    return FIND(def, nodes, name);
}

int definition_database(const struct definition *def, const char *name)
{
    return FIND(def, databases, name);
}

int definition_group(const struct definition *def, const char *name)
{
    return FIND(def, groups, name);
}

int definition_instance(const struct database_def *db, int node)
{
    for (int i = 0; i < db->instances_len; i++) {
        if (db->instances[i].node == node) {
            return i;
        }
    }
    return -1;
}

const struct profile *definition_profile(const struct definition *def)
{
    assert(def->profile == PROFILE_DEFAULT || def->profile == PROFILE_FAST);
    return &profiles[def->profile];
}

uint32_t profile_stall_ms(const struct profile *profile)
{
    return profile->permit_d_ms - profile->permit_w_ms - profile->permit_k_ms - profile->renewal_ms;
}

bool fence_method_is_run(enum fence_method method)
{
    return method == FENCE_AGENT || method == FENCE_COMMAND;
}

bool node_has_method(const struct node_def *node, enum fence_method method)
{
    for (int i = 0; i < node->levels_len; i++) {
        if (node->levels[i].method == method) {
            return true;
        }
    }
    return false;
}

uint32_t permit_sum_ms(uint32_t d_ms, uint32_t w_ms, uint32_t k_ms)
{
    const uint64_t sum = (uint64_t)d_ms + w_ms + k_ms;
    return (uint32_t)(sum + (sum + 99) / 100 + 200); /* rho 1 %, epsilon 0.2 s */
}

uint32_t node_fence_ms(const struct node_def *node, const struct profile *profile)
{
    uint32_t run = 0;
    for (int i = 0; i < node->levels_len; i++) {
        run += fence_method_is_run(node->levels[i].method) ? node->levels[i].deadline_ms : 0;
    }
    if (!node_has_method(node, FENCE_PERMIT)) {
        return run;
    }
    uint32_t time = permit_sum_ms(profile->permit_d_ms, profile->permit_w_ms, profile->permit_k_ms);
    return run == 0 || time < run ? time : run; /* it runs beside them, and the first one wins */
}
