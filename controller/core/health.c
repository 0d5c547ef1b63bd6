/*
 * health.c - from findings to an opinion, by the profile's fall and rise (design §6, §7).
 *
 * Refusals count by time (`refused_for_ms`), since they come fast and a quick restart is no
 * failure; everything else that counts as failure counts by number (`fall`). "Starting up" and
 * "shutting down" are no refusals: they get a budget of their own, because a server that makes
 * progress is better waited for than replaced. Causes that are no failure of the target
 * (credentials, overload, locks ...) leave the opinion where it was.
 */
#include "controller/core/private.h"

#include <string.h>

#define STARTING_BUDGET_MS UINT64_C(60000)

void health_init(struct health *health, uint64_t now_ms)
{
    memset(health, 0, sizeof *health);
    health->cause = CAUSE_NEVER_PROBED;
    health->since_ms = now_ms;
}

static void set_opinion(struct health *health, enum opinion is, uint64_t now_ms)
{
    if (health->is != is) {
        health->is = is;
        health->since_ms = now_ms;
    }
}

static void take_good(struct health *health, const struct profile *profile, uint64_t now_ms)
{
    health->fails = 0;
    health->first_bad_ms = 0;
    health->refused_since_ms = 0;
    health->starting_since_ms = 0;
    health->last_good_ms = now_ms;
    health->goods++;
    /* What was never down needs one good finding only; what was down must prove itself. But one
     * good finding ends the conviction: nobody is fenced while it answers. */
    if (health->is == OPINION_UNKNOWN || health->goods >= profile->rise) {
        set_opinion(health, OPINION_UP, now_ms);
    } else if (health->is == OPINION_DOWN) {
        set_opinion(health, OPINION_UNKNOWN, now_ms);
    }
}

static bool is_down(const struct health *health, const struct profile *profile, uint64_t now_ms)
{
    if (health->fails >= profile->fall) {
        return true;
    }
    if (health->refused_since_ms != 0 &&
        now_ms - health->refused_since_ms >= profile->refused_for_ms) {
        return true;
    }
    return health->starting_since_ms != 0 &&
           now_ms - health->starting_since_ms >= STARTING_BUDGET_MS;
}

static void take_failure(struct health *health, const struct profile *profile, enum cause cause,
                         uint64_t asked_ms, uint64_t now_ms)
{
    health->goods = 0;
    if (health->first_bad_ms == 0) {
        health->first_bad_ms = asked_ms;
    }
    if (cause == CAUSE_REFUSED) {
        if (health->refused_since_ms == 0) {
            health->refused_since_ms = asked_ms;
        }
        health->starting_since_ms = 0;
    } else if (cause == CAUSE_STARTING || cause == CAUSE_STOPPING) {
        health->refused_since_ms = 0;
        health->fails = 0;
        if (health->starting_since_ms == 0) {
            health->starting_since_ms = asked_ms;
        }
    } else {
        health->starting_since_ms = 0;
        health->fails++;
    }
    if (is_down(health, profile, now_ms)) {
        set_opinion(health, OPINION_DOWN, now_ms);
    }
}

bool health_take(struct health *health, const struct profile *profile, enum cause cause,
                 uint64_t asked_ms, uint64_t answered_ms)
{
    enum opinion before = health->is;
    health->latest_ms = answered_ms;
    health->cause = cause;
    if (cause == CAUSE_OK) {
        take_good(health, profile, answered_ms);
    } else if (cause_is_failure(cause)) {
        take_failure(health, profile, cause, asked_ms, answered_ms);
    } else {
        /* It answers, so it does not fail to serve in the sense of a failover: the row is broken
         * off. */
        health->goods = 0;
        health->fails = 0;
        health->refused_since_ms = 0;
        health->starting_since_ms = 0;
        health->first_bad_ms = 0;
        if (health->is == OPINION_DOWN) {
            set_opinion(health, OPINION_UNKNOWN, answered_ms);
        }
    }
    return health->is != before;
}

void health_forget_failures(struct health *health)
{
    health->fails = 0;
    health->first_bad_ms = 0;
    health->refused_since_ms = 0;
    health->starting_since_ms = 0;
    if (health->is == OPINION_DOWN) {
        health->is = OPINION_UNKNOWN;
    }
}

uint64_t fresh_limit_ms(const struct core *core)
{
    const struct profile *profile = definition_profile(&core->def);
    return 2u * profile->probe_interval_ms + profile->probe_deadline_ms + 500;
}

static void take_standby_wal(struct database_state *d, struct instance_state *state,
                             const struct instance_fact *fact)
{
    bool known = state->fact.role == ROLE_STANDBY;
    if (known && fact->receive_lsn > state->fact.receive_lsn) {
        state->receive_moved_ms = fact->answered_ms;
    }
    if (d->proven_ms == 0 || fact->asked_ms < d->proven_ms) {
        state->still_findings = 0;
    } else if (known && state->still_findings > 0 && state->fact.asked_ms >= d->proven_ms &&
               fact->receive_lsn == state->fact.receive_lsn) {
        state->still_findings++;
    } else {
        state->still_findings = 1;
    }
}

static void take_primary_wal(struct database_state *d, const struct instance_fact *fact)
{
    if (fact->write_lsn == 0) {
        return;
    }
    if (d->primary_lsn_ms != 0 && fact->write_lsn >= d->primary_lsn &&
        fact->answered_ms > d->primary_lsn_ms + 100) {
        uint64_t rate =
            (fact->write_lsn - d->primary_lsn) * 1000 / (fact->answered_ms - d->primary_lsn_ms);
        /* Rises at once and falls slowly: an estimate of loss must rather be too high. */
        d->bytes_per_s = rate > d->bytes_per_s ? rate : (d->bytes_per_s * 15 + rate) / 16;
    }
    d->primary_lsn = fact->write_lsn;
    d->primary_lsn_ms = fact->answered_ms;
}

void life_take(struct core *core, int db, int instance, const struct instance_fact *fact)
{
    struct instance_state *state = &core->databases[db].instances[instance];
    const struct group_state *group = &core->groups[db_group(core, db)];
    const struct move_record *move = proven_move(core, db);
    if (!fact_shows_life(fact) || fact->asked_ms < state->lived_ms) {
        return;
    }
    state->lived_ms = fact->asked_ms;
    state->lived_as = fact->cause;
    if (!core->leading && move != NULL && was_fenced(move, instance_node(core, db, instance)) &&
        fact->asked_ms >= group->seen_ms && state->lived_after != group->revision) {
        state->lived_after = group->revision;
        effect_add(core, EFFECT_PUBLISH);
    }
}

void instance_take(struct core *core, int db, int instance, const struct instance_fact *fact)
{
    struct database_state *d = &core->databases[db];
    struct instance_state *state = &d->instances[instance];
    enum cause cause = fact->cause;
    bool changed = health_take(&state->health, definition_profile(&core->def), cause,
                               fact->asked_ms, fact->answered_ms);
    text_copy(state->detail, sizeof state->detail, fact->detail);
    life_take(core, db, instance, fact);
    if (fact->answered) {
        if (fact->role == ROLE_STANDBY) {
            take_standby_wal(d, state, fact);
        } else if (instance == core_primary(core, db)) {
            take_primary_wal(d, fact);
        }
        state->fact = *fact;
    }
    if (changed) {
        effect_add(core, EFFECT_PUBLISH);
    }
}

/* Everything fails at once: the prober is suspect (design §6, failures.md H12). */
bool core_is_blind(const struct core *core)
{
    int targets = 0;
    for (int db = 0; db < core->def.databases_len; db++) {
        for (int i = 0; i < core->def.databases[db].instances_len; i++) {
            const struct health *health = &core->databases[db].instances[i].health;
            if (health->first_bad_ms == 0) {
                return false;
            }
            targets++;
        }
    }
    for (int s = 0; s < core->def.services_len; s++) {
        for (int i = 0; i < core->def.services[s].instances_len; i++) {
            if (core->services[s][i].health.first_bad_ms == 0) {
                return false;
            }
            targets++;
        }
    }
    return targets >= 2;
}
