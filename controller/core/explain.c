/*
 * explain.c - what would happen if a primary failed now: each check with its value, limit and age.
 *
 * The questions are the decision's own (hold_check, witness_votes, candidate_choose), asked as if
 * the primary failed at this moment; when it is down already, as things stand. Nothing is changed.
 */
#include "controller/core/private.h"

#include <string.h>

static struct core_check *next_check(struct explanation *out)
{
    /* The last one is written again rather than anything beyond it. */
    if (out->checks_len < EXPLAIN_CHECKS_MAX) {
        out->checks_len++;
    }
    return &out->checks[out->checks_len - 1];
}

static void explain_leader(const struct core *core, struct explanation *out)
{
    struct core_check *check = next_check(out);
    bool leads = core->leading && core->loaded;
    check_set(check, "leader", leads, -1,
              leads ? "this controller leads, and its records are loaded"
                    : "this controller does not lead: what it sees may differ from what the "
                      "leader would decide by");
    check_value(check, leads ? "leads" : core->leading ? "loading" : "follows");
    check_limit(check, "leads");
}

static void explain_state(const struct core *core, int db, struct explanation *out)
{
    const struct database_state *d = &core->databases[db];
    const uint64_t fit = BIT(DB_NORMAL) | BIT(DB_SUSPECT) | BIT(DB_HELD) | BIT(DB_OBSERVING);
    bool passes = (fit & BIT(d->state)) != 0 && !is_moving(core, db) && out->primary >= 0;
    struct core_check *check = next_check(out);
    check_set(check, "state", passes, (int64_t)(core->now_ms - d->since_ms), "%s",
              out->primary < 0 ? "no primary is recorded: it was not adopted"
              : passes         ? "its primary is recorded, and nothing is under way"
                               : db_state_helps[d->state]);
    check_value(check, "%s", db_state_names[d->state]);
    check_limit(check, "normal, suspect or held");
}

static void explain_witnesses(const struct core *core, int db, struct explanation *out)
{
    struct core_check votes[WITNESSES_MAX];
    bool down =
        out->primary >= 0 && core->databases[db].instances[out->primary].health.is == OPINION_DOWN;
    int len = witness_votes(core, db, !down, votes);
    for (int i = 0; i < len; i++) {
        struct core_check *check = next_check(out);
        *check = votes[i];
        text_format(check->name, sizeof check->name, "witness %.50s", votes[i].name);
    }
}

static void explain_candidates(const struct core *core, int db, struct explanation *out)
{
    struct choice choice;
    candidate_choose(core, db, false, &choice);
    out->target = choice.chosen;
    out->loss_known = choice.loss_known;
    out->loss_proven = choice.loss_proven;
    out->in_place = choice.in_place;
    out->loss_bytes = choice.loss_bytes;
    out->loss_limit = core->def.databases[db].max_lag_bytes;
    for (int i = 0; i < choice.verdicts_len; i++) {
        const struct candidate_verdict *verdict = &choice.verdicts[i];
        const struct instance_fact *fact = &core->databases[db].instances[verdict->instance].fact;
        struct core_check *check = next_check(out);
        char name[NAME_SIZE];
        text_format(name, sizeof name, "candidate %.50s",
                    instance_node(core, db, verdict->instance));
        check_set(check, name, verdict->passes,
                  fact->answered ? (int64_t)(core->now_ms - fact->answered_ms) : -1, "%s",
                  verdict->reason);
        check_value(check, "%s",
                    verdict->instance == choice.chosen ? "chosen"
                    : verdict->passes                  ? "fit"
                                                       : "not fit");
        check_limit(check, "at most %llu ms old", (unsigned long long)fresh_limit_ms(core));
        check->informs = true;
    }
}

static void explain_loss(const struct core *core, int db, struct explanation *out)
{
    struct core_check *check = next_check(out);
    bool proven = out->loss_proven;
    bool within =
        out->target >= 0 && out->loss_known && (proven || out->loss_bytes <= out->loss_limit);
    uint64_t seen = core->databases[db].primary_lsn_ms;
    check_set(check, "loss", within, seen == 0 ? -1 : (int64_t)(core->now_ms - seen), "%s",
              out->target < 0 ? "without a candidate there is nothing to estimate"
              : out->in_place ? "the old primary starts again, with all that it ever acknowledged"
              : proven        ? "its sync entry is enforced: nothing acknowledged would be lost"
              : out->loss_known
                  ? "asynchronous, or its sync entry is not seen to be enforced: an estimate"
                  : "this controller has never seen the primary's position");
    if (out->target < 0 || !out->loss_known) {
        check_value(check, "unknown");
    } else {
        check_value(check, "%llu bytes, %s", (unsigned long long)out->loss_bytes,
                    proven ? "proven" : "estimated");
    }
    check_limit(check, "%llu bytes", (unsigned long long)out->loss_limit);
    check->informs = true; /* the candidate's check holds it back */
}

static void explain_sync(const struct core *core, int db, struct explanation *out)
{
    struct core_check *check = next_check(out);
    struct sync_view sync;
    core_sync(core, db, &sync);
    bool async = core->def.databases[db].durability == DURABILITY_ASYNC;
    bool fit = async || (sync.enforced && !sync.degraded && sync.entries == 1);
    check_set(check, "sync", fit, -1, "%s",
              async              ? "the definition declares no standbys that commits wait for"
              : sync.entries > 1 ? "a change is not proven yet: each entry in the permit counts"
              : sync.degraded    ? "a standby is missing: fewer are waited for"
              : !sync.enforced   ? "not seen to be enforced: it counts as asynchronous"
                                 : "commits wait for it, and for nothing else");
    check_value(check, "%.60s", sync.target);
    check_limit(check, "%.60s", sync.declared);
    check->informs = true; /* what it means for a failover is the candidate's check */
}

static const char *const fencing_words[FENCE_METHODS] = {
    [FENCE_AGENT] = "asked only when needed; `failoverctl check --live` asks for the status of %s",
    [FENCE_COMMAND] = "run only when needed, against %s",
    [FENCE_OPERATOR] = "a person confirms that %s cannot write",
    [FENCE_GUARD] = "the failover-guard of %s stops the instance when its permit is revoked",
    [FENCE_PERMIT] = "when %s is silent, its permit's time proves that it has stopped",
    [FENCE_REPLICATION] = "when enough standbys no longer receive from %s, it acknowledges nothing",
};

static void explain_fencing(const struct core *core, int db, struct explanation *out)
{
    int machine = 0;
    if (out->primary < 0) {
        return;
    }
    const struct node_def *node =
        &core->def.nodes[core->def.databases[db].instances[out->primary].node];
    for (int i = 0; i < node->levels_len; i++) {
        const struct fence_level_def *level = &node->levels[i];
        struct core_check *check = next_check(out);
        char name[NAME_SIZE];
        const struct profile *profile = definition_profile(&core->def);
        machine += level->method == FENCE_OPERATOR || level->method == FENCE_REPLICATION ? 0 : 1;
        text_format(name, sizeof name, "level %.50s", level->name);
        check_set(check, name, true, -1, fencing_words[level->method], node->name);
        check_value(check, "%s %.40s", fence_method_names[level->method], level->program);
        if (level->method == FENCE_PERMIT) {
            check_limit(
                check, "%u ms",
                permit_sum_ms(profile->permit_d_ms, profile->permit_w_ms, profile->permit_k_ms));
        } else if (level->deadline_ms > 0) {
            check_limit(check, "%u ms", level->deadline_ms);
        }
        check->informs = true;
    }
    struct core_check *check = next_check(out);
    check_set(check, "fencing", machine > 0, -1,
              machine > 0 ? "%s can be fenced without a person"
                          : "%s has no level but a person: the failover would wait for "
                            "confirm-fenced",
              node->name);
    check_value(check, "%d level%s", machine, machine == 1 ? "" : "s");
    check_limit(check, "at least 1 that needs no person");
}

static void explain_proxy(const struct core *core, int route, int proxy, struct explanation *out)
{
    const struct proxy_state *state = &core->proxies[proxy];
    const struct proxy_route_state *at = &state->routes[route];
    struct core_check *check = next_check(out);
    char name[NAME_SIZE];
    bool silent = state->silent_since_ms != 0;
    bool known = at->confirmed_ms != 0;
    text_format(name, sizeof name, "proxy %.25s %.25s", core->def.proxies[proxy].name,
                core->def.routes[route].name);
    check_set(check, name, !silent && known,
              known ? (int64_t)(core->now_ms - at->confirmed_ms) : -1,
              silent  ? "it does not answer: it would be mended when it returns; %.120s"
              : known ? "it answers and was read back%.0s"
                      : "it has not been read back yet; %.120s",
              at->error);
    check_value(check, silent ? "silent" : known ? "agrees" : "unknown");
    check_limit(check, "answers");
    check->informs = true;
}

static void explain_routes(const struct core *core, int db, struct explanation *out)
{
    for (int r = 0; r < core->def.routes_len; r++) {
        const struct route_def *route = &core->def.routes[r];
        for (int i = 0; i < route->proxies_len && route_belongs(core, r, db); i++) {
            explain_proxy(core, r, route->proxies[i], out);
        }
    }
}

static void conclude(const struct core *core, int db, struct explanation *out)
{
    const struct core_check *first = NULL;
    for (int i = 0; i < out->checks_len && first == NULL; i++) {
        first = out->checks[i].passes || out->checks[i].informs ? NULL : &out->checks[i];
    }
    out->automatic = first == NULL;
    if (first != NULL) {
        text_format(out->verdict, sizeof out->verdict,
                    "if the primary of %s failed now, a person would be needed: %s",
                    core->def.databases[db].name, first->text);
    } else if (out->in_place) {
        text_format(out->verdict, sizeof out->verdict,
                    "the primary of %s on %s is stopped, and would start again in its place",
                    core->def.databases[db].name, instance_node(core, db, out->primary));
    } else {
        text_format(out->verdict, sizeof out->verdict,
                    "if the primary of %s on %s failed now, %s would take over without a person",
                    core->def.databases[db].name, instance_node(core, db, out->primary),
                    instance_node(core, db, out->target));
    }
}

void core_explain(const struct core *core, int db, struct explanation *out)
{
    static const enum hold holds[] = {HOLD_STALL,  HOLD_BLIND,  HOLD_PAUSED,
                                      HOLD_MANUAL, HOLD_BUDGET, HOLD_CANDIDATE};
    memset(out, 0, sizeof *out);
    out->primary = core_primary(core, db);
    explain_leader(core, out);
    explain_state(core, db, out);
    for (size_t i = 0; i < sizeof holds / sizeof *holds; i++) {
        hold_check(core, db, holds[i], next_check(out));
        if (holds[i] == HOLD_BLIND) {
            explain_witnesses(core, db, out); /* in the order of the decision */
        }
    }
    explain_candidates(core, db, out);
    explain_sync(core, db, out);
    explain_loss(core, db, out);
    hold_check(core, db, HOLD_NEIGHBOUR, next_check(out));
    explain_fencing(core, db, out);
    explain_routes(core, db, out);
    core_times(core, db, false, out->times, out->measured);
    for (int lap = 0; lap < LAPS; lap++) {
        times_add(&out->total, &out->times[lap]);
    }
    conclude(core, db, out);
}
