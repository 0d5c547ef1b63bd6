/*
 * actions.c - the guards and actions that the table of rules names.
 *
 * Happy path of a move: revoke -> (saved) start_levels -> record_evidence -> (saved) begin_choice
 * -> grant -> (saved) promote -> record_primary -> (saved) begin_redirect -> begin_verify ->
 * close_move -> (saved) finish_move. Each action that can hurt comes from a row on ON_SAVED, or
 * from one whose record is the permit itself.
 */
#include "controller/core/private.h"

#include <assert.h>
#include <string.h>

#define PATIENCE_MS       1000 /* beyond a lease, by whose end every witness has spoken or is gone */
#define FENCE_RETRY_MS    30000 /* between rounds of all levels, while a person is called */
#define OVERDUE_MS        2000  /* beyond a step's own deadline: the driver owed an outcome */
#define CHOICE_LATE_MS    10000 /* nobody passes for that long */
#define PROMOTE_RETRY_MS  1000
#define PROMOTE_TRIES_MAX 5
#define GUARD_TRIES_MAX   1    /* a guard that sees its permit tries again by itself */
#define GUARD_MS          1000 /* beyond K: a guard that is at hand has stopped its instance */
#define PROMOTE_STUCK_MS  15000
#define SWITCH_LATE_MS    30000
#define LIVES_MAX         5 /* leaders that one step may kill before it is parked (failures.md A12) */
#define PROTEST_MS        10000

static struct database_state *state_of(struct core *core, int db)
{
    return &core->databases[db];
}

static const struct instance_state *primary_state(const struct core *core, int db)
{
    int primary = core_primary(core, db);
    return primary < 0 ? NULL : &core->databases[db].instances[primary];
}

static const struct instance_state *candidate_state(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    int i = move == NULL ? -1 : node_instance(core, db, move->candidate);
    return i < 0 ? NULL : &core->databases[db].instances[i];
}

static void alarm_key(char *key, const char *what, const char *name)
{
    text_format(key, NAME_SIZE * 2, "%s.%s", what, name);
}

/* ---- guards: leadership and records ---- */

bool always(const struct core *core, int db)
{
    (void)core;
    (void)db;
    return true;
}

bool record_is_parked(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    return move != NULL && (move->parked[0] != '\0' || move->lives >= LIVES_MAX);
}

static bool move_contradicts(const struct core *core, int db, const struct move_record *move)
{
    const struct permit_record *permit = &core->databases[db].permit;
    const struct database_record *record = db_record_of(core, db);
    if (!core->databases[db].permit_known || record == NULL || record->primary[0] == '\0' ||
        node_instance(core, db, move->fence_node) < 0 || move->system_id == 0 ||
        move->from_timeline == 0) {
        return true;
    }
    switch (move->phase) {
    case PHASE_FENCE: return permit->state != PERMIT_REVOKED;
    case PHASE_CHOOSE: return permit->state != PERMIT_REVOKED || move->evidence_len == 0;
    case PHASE_REDIRECT:
    case PHASE_VERIFY:
        if (strcmp(record->primary, move->candidate) != 0) {
            return true;
        }
        __attribute__((fallthrough));
    case PHASE_PROMOTE:
        return permit->state != PERMIT_GRANTED || move->evidence_len == 0 ||
               strcmp(permit->node, move->candidate) != 0 ||
               node_instance(core, db, move->candidate) < 0;
    default: return true;
    }
}

bool record_contradicts(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct move_record *move = core_move_of(core, db);
    const struct database_record *record = db_record_of(core, db);
    bool adopted = record != NULL && record->primary[0] != '\0';
    if (move != NULL) {
        return move_contradicts(core, db, move);
    }
    if (!adopted && !d->permit_known) {
        return false;
    }
    return !adopted || !d->permit_known || d->permit.state != PERMIT_GRANTED ||
           strcmp(d->permit.node, record->primary) != 0 || core_primary(core, db) < 0;
}

static bool recorded_phase(const struct core *core, int db, enum move_phase phase)
{
    const struct move_record *move = core_move_of(core, db);
    return move != NULL && move->phase == phase;
}

bool record_says_fence(const struct core *core, int db)
{
    return recorded_phase(core, db, PHASE_FENCE);
}

bool record_says_choose(const struct core *core, int db)
{
    return recorded_phase(core, db, PHASE_CHOOSE);
}

bool record_says_promote(const struct core *core, int db)
{
    return recorded_phase(core, db, PHASE_PROMOTE);
}

bool record_says_redirect(const struct core *core, int db)
{
    return recorded_phase(core, db, PHASE_REDIRECT);
}

bool record_says_verify(const struct core *core, int db)
{
    return recorded_phase(core, db, PHASE_VERIFY);
}

bool never_adopted(const struct core *core, int db)
{
    return core_primary(core, db) < 0;
}

/* ---- guards: adoption ---- */

static int count_primaries(const struct core *core, int db, int *ret_which, bool *ret_all_known)
{
    int primaries = 0;
    *ret_all_known = true;
    *ret_which = -1;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct instance_state *state = &core->databases[db].instances[i];
        bool fresh = state->fact.answered && state->health.cause == CAUSE_OK &&
                     core->now_ms - state->fact.answered_ms <= fresh_limit_ms(core);
        if (!fresh || state->fact.role == ROLE_UNKNOWN) {
            *ret_all_known = false;
        } else if (state->fact.role == ROLE_PRIMARY) {
            primaries++;
            *ret_which = i;
        }
    }
    return primaries;
}

bool exactly_one_primary(const struct core *core, int db)
{
    int which;
    bool all_known;
    if (count_primaries(core, db, &which, &all_known) != 1 || !all_known) {
        return false;
    }
    const struct instance_state *instances = core->databases[db].instances;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        if (instances[i].fact.system_id != instances[which].fact.system_id) {
            return false;
        }
    }
    return instances[which].fact.wrote;
}

bool several_protest(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return !d->late_noted && core->now_ms - d->since_ms >= PROTEST_MS;
}

/* ---- guards: believing a failure ---- */

bool primary_seems_down(const struct core *core, int db)
{
    const struct instance_state *primary = primary_state(core, db);
    return primary != NULL && (primary->health.is == OPINION_DOWN || guard_says_gone(core, db));
}

bool primary_is_back(const struct core *core, int db)
{
    return !primary_seems_down(core, db);
}

bool nothing_holds(const struct core *core, int db)
{
    return core->databases[db].held_by == HOLD_NONE;
}

bool a_rule_holds_it_back(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    uint64_t patience_ms = definition_profile(&core->def)->lease_ms + PATIENCE_MS;
    return d->held_by >= HOLD_PAUSED ||
           (d->held_by != HOLD_NONE && core->now_ms - d->since_ms >= patience_ms);
}

bool the_hold_changed(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return d->held_by != HOLD_NONE && d->held_by != d->held_noted;
}

/* ---- guards: fencing ---- */

bool a_level_runs_late(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return d->awaits == 0 && d->step != 0 && core->now_ms >= d->step_deadline_ms + OVERDUE_MS;
}

bool no_level_is_left(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    /* Something runs, the guard is given its time, or the permit's own time runs out by itself. */
    return d->awaits == 0 && d->step == 0 && d->retry_ms == 0 && permit_ends_ms(core, db) == NEVER;
}

bool retry_is_due(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return d->awaits == 0 && d->retry_ms != 0 && core->now_ms >= d->retry_ms;
}

/*
 * Who showed life when asked after the proof: the fenced instance, or the primary that was fenced
 * before it (design §7, failures.md G3); `text`, unless NULL, gets how. NULL: nobody. This
 * controller's own findings are later by its clock; another's are when it had seen the record of
 * the proof before it asked, by etcd's order.
 */
static const char *living_node(const struct core *core, int db, char *text, size_t size)
{
    const struct move_record *move = core_move_of(core, db);
    const struct database_state *d = &core->databases[db];
    for (int i = 0; move != NULL && i < core->def.databases[db].instances_len; i++) {
        const struct instance_state *state = &d->instances[i];
        const char *node = instance_node(core, db, i);
        bool own = state->lived_ms > d->proven_ms;
        const char *by = own ? NULL : witness_of_life(core, db, node, d->proven_revision);
        bool guarded = guard_says_alive(core, db, i);
        if (!was_fenced(move, node) || (!own && by == NULL && !guarded)) {
            continue;
        }
        if (text != NULL && guarded) {
            text_copy(text, size, "runs as a primary, its guard reports");
        } else if (text != NULL && by != NULL) {
            text_format(text, size, "was found alive by controller %s", by);
        } else if (text != NULL && state->lived_as == CAUSE_OK) {
            text_copy(text, size, "accepted a write");
        } else if (text != NULL) {
            text_format(text, size, "answered (%s)", cause_names[state->lived_as]);
        }
        return node;
    }
    return NULL;
}

bool the_old_primary_lives(const struct core *core, int db)
{
    return living_node(core, db, NULL, 0) != NULL;
}

/*
 * Evidence that another leader's life recorded has aged: what was off may be on again (failures.md
 * A8). So the old primary is looked at once before anything is built on it. One's own evidence is
 * as young as the fence.
 */
static bool old_primary_was_looked_at(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct move_record *move = core_move_of(core, db);
    int i = move == NULL ? -1 : node_instance(core, db, move->fence_node);
    if (d->revoked_ms != 0 || i < 0) {
        return true;
    }
    const struct instance_state *state = &d->instances[i];
    return state->health.latest_ms >= d->proven_ms &&
           (state->health.cause != CAUSE_OK || state->fact.asked_ms >= d->proven_ms);
}

/* ---- guards: choosing and promoting ---- */

bool a_candidate_passes(const struct core *core, int db)
{
    struct choice choice;
    candidate_choose(core, db, true, &choice);
    return core->databases[db].awaits == 0 && choice.chosen >= 0 &&
           old_primary_was_looked_at(core, db);
}

bool choice_is_late(const struct core *core, int db)
{
    return core->now_ms - core->databases[db].since_ms >= CHOICE_LATE_MS;
}

bool timeline_is_unexpected(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    return core->event->promote.timeline != move_timeline(move) ||
           core->event->promote.system_id != move->system_id;
}

/* What was found of the candidate since this state began; older findings say nothing. */
static const struct instance_fact *candidate_news(const struct core *core, int db)
{
    const struct instance_state *state = candidate_state(core, db);
    return state != NULL && state->fact.answered &&
                   state->fact.asked_ms >= core->databases[db].since_ms
               ? &state->fact
               : NULL;
}

bool candidate_is_primary(const struct core *core, int db)
{
    const struct instance_fact *fact = candidate_news(core, db);
    /* Under entries that it was promoted with it may wait for standbys, which follow it only when
     * it is the recorded primary. */
    bool waits = fact != NULL && fact->cause == CAUSE_SYNC_STALL && sync_may_wait(core, db);
    return fact != NULL && fact->role == ROLE_PRIMARY && (fact->wrote || waits);
}

bool candidate_forked(const struct core *core, int db)
{
    const struct instance_fact *fact = candidate_news(core, db);
    const struct move_record *move = core_move_of(core, db);
    return fact != NULL && fact->role == ROLE_PRIMARY &&
           (fact->timeline != move_timeline(move) || fact->system_id != move->system_id);
}

/*
 * In recovery, but not in the life that the grant names: it may have been fenced and switched on
 * again in between, or have begun its promotion and died (tests/model, lesson 4). It has failed.
 */
static bool candidate_restarted(const struct core *core, int db)
{
    const struct instance_fact *fact = candidate_news(core, db);
    const struct move_record *move = core_move_of(core, db);
    return fact != NULL && fact->role == ROLE_STANDBY && move->candidate_life != 0 &&
           fact->life != 0 && fact->life != move->candidate_life;
}

/* What its guard says, or that it says nothing, is not one controller's view of it. */
static bool candidate_is_known_lost(const struct core *core, int db)
{
    return candidate_restarted(core, db) || the_guard_lost_it(core, db) ||
           the_guard_was_rebooted(core, db);
}

static bool candidate_is_down(const struct core *core, int db)
{
    const struct instance_state *state = candidate_state(core, db);
    return state != NULL && state->health.is == OPINION_DOWN;
}

/* The old primary that starts again in its place is down to begin with. */
bool the_candidate_failed(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    bool seen = move != NULL && strcmp(move->candidate, move->from) != 0 && !core->blind &&
                candidate_is_down(core, db);
    return seen || candidate_is_known_lost(core, db) || the_guard_is_silent(core, db);
}

bool candidate_can_be_asked_again(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct instance_fact *fact = candidate_news(core, db);
    int tries_max = is_guarded(core, db) ? GUARD_TRIES_MAX : PROMOTE_TRIES_MAX;
    return fact != NULL && fact->role == ROLE_STANDBY && !the_candidate_failed(core, db) &&
           d->promote_tries < tries_max && retry_is_due(core, db) &&
           old_primary_was_looked_at(core, db);
}

/*
 * May automation give this candidate up? Not on one viewpoint (S11): every other controller must
 * see it down too, as for a primary; but to have seen it in another life is a fact of its own, and
 * its guard's word that it has ended, or comes from another boot. A guard's silence is not seen by
 * the network at all, but in etcd; without it nobody promotes, whoever reaches PostgreSQL.
 * Somebody else must be able to take over, and its fence must take nothing from others (S12).
 */
static bool may_be_replaced(const struct core *core, int db, char *text, size_t size)
{
    const struct move_record *move = core_move_of(core, db);
    int i = node_instance(core, db, move->candidate);
    int node = definition_node(&core->def, move->candidate);
    struct choice choice;
    candidate_choose(core, db, false, &choice);
    if (choice.chosen < 0 || choice.chosen == i) {
        text_copy(text, size, "nobody else may take over");
        return false;
    }
    bool known = candidate_is_known_lost(core, db);
    if (!known && (core->now_ms < core->observe_until_ms || core->blind)) {
        text_copy(text, size, "this controller cannot trust what it sees");
        return false;
    }
    return (known || the_guard_is_silent(core, db) ||
            witness_peers_agree(core, db, i, text, size)) &&
           node_needed_by(core, db, node, text, size) < 0 &&
           (move->forced || node_held_by(core, db, node, text, size) < 0);
}

bool candidate_is_lost(const struct core *core, int db)
{
    char text[REASON_SIZE];
    bool lost = candidate_is_down(core, db) || the_candidate_failed(core, db);
    return lost && core->databases[db].awaits == 0 && may_be_replaced(core, db, text, sizeof text);
}

bool promotion_runs_late(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return d->awaits == 0 && core->now_ms >= d->step_deadline_ms + OVERDUE_MS;
}

bool promotion_is_stuck(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return !d->late_noted && core->now_ms - d->since_ms >= PROMOTE_STUCK_MS;
}

/* ---- guards: the end ---- */

bool routes_agree(const struct core *core, int db)
{
    return core->databases[db].awaits == 0 && routes_settled(core, db);
}

static bool service_works(const struct core *core, int service, int node, uint64_t since_ms)
{
    const struct service_def *def = &core->def.services[service];
    int same_site = -1;
    for (int i = 0; i < def->instances_len; i++) {
        if (def->instances[i].node == node) {
            same_site = i;
        } else if (same_site < 0 &&
                   core->def.nodes[def->instances[i].node].site == core->def.nodes[node].site) {
            same_site = i;
        }
    }
    if (same_site < 0) {
        return true; /* the definition has none there; `check` warned of it */
    }
    const struct health *health = &core->services[service][same_site].health;
    return health->cause == CAUSE_OK &&
           core->services[service][same_site].fact.asked_ms >= since_ms;
}

bool business_works(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct instance_state *primary = primary_state(core, db);
    if (primary == NULL || primary->health.cause != CAUSE_OK || !primary->fact.wrote ||
        primary->fact.role != ROLE_PRIMARY || primary->fact.asked_ms < d->since_ms ||
        !routes_settled(core, db)) {
        return false;
    }
    int node = core->def.databases[db].instances[core_primary(core, db)].node;
    for (int s = 0; s < core->def.services_len; s++) {
        if (core->def.services[s].database == db && !service_works(core, s, node, d->since_ms)) {
            return false;
        }
    }
    return true;
}

bool it_takes_long(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return !d->late_noted && core->now_ms - d->since_ms >= SWITCH_LATE_MS;
}

bool new_primary_fails(const struct core *core, int db)
{
    const struct instance_state *primary = primary_state(core, db);
    struct witness_verdict verdict;
    if (core->databases[db].awaits != 0 || primary == NULL || primary->health.is != OPINION_DOWN) {
        return false;
    }
    witness_ask(core, db, &verdict);
    return verdict.agree;
}

/* ---- actions ---- */

void nothing(struct core *core, int db)
{
    (void)core;
    (void)db;
}

static void forget_plan(struct database_state *d)
{
    d->awaits = 0;
    d->step = 0;
    d->step_deadline_ms = 0;
    d->level = 0;
    d->fence_round = 0;
    d->retry_ms = 0;
    d->revoked_ms = 0;
    d->revoked_revision = 0;
    d->proven_ms = 0;
    d->proven_revision = 0;
    d->tried_wall_ms = 0;
    d->tried_after_ms = 0;
    d->promote_tries = 0;
    d->forced = false;
    d->accept_loss_bytes = 0;
    d->held_by = HOLD_NONE;
    d->held_noted = HOLD_NONE;
    d->held[0] = '\0';
}

void drop_plans(struct core *core, int db)
{
    drop_intruder(core, db);
    forget_plan(state_of(core, db));
}

void probe_all(struct core *core, int db)
{
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        struct effect *effect = effect_add(core, EFFECT_PROBE_NOW);
        effect->probe.database = db;
        effect->probe.instance = i;
    }
}

/* A new epoch for this holder; the only place that grants. */
void permit_grant(struct core *core, int db, const char *node, uint64_t system_id,
                  uint32_t timeline, const char *boot, int64_t life)
{
    struct database_state *d = state_of(core, db);
    const struct profile *profile = definition_profile(&core->def);
    struct epoch epoch = d->permit.epoch;
    epoch.incarnation =
        epoch.incarnation > core->incarnation ? epoch.incarnation : core->incarnation;
    epoch.counter++;
    assert(epoch_compare(epoch, d->permit.epoch) > 0);
    memset(&d->permit, 0, sizeof d->permit);
    text_copy(d->permit.database, sizeof d->permit.database, core->def.databases[db].name);
    text_copy(d->permit.node, sizeof d->permit.node, node);
    d->permit.state = PERMIT_GRANTED;
    d->permit.epoch = epoch;
    d->permit.system_id = system_id;
    d->permit.timeline = timeline;
    d->permit.d_ms = profile->permit_d_ms;
    d->permit.w_ms = profile->permit_w_ms;
    d->permit.k_ms = profile->permit_k_ms;
    d->promised_ms = 0;
    if (boot[0] != '\0') {
        text_copy(d->permit.boot, sizeof d->permit.boot, boot);
        d->permit.life = life;
        fill_promisers(core, &d->permit);
    }
    sync_at_grant(core, db);
    dirty_permit(core, db);
}

void adopt(struct core *core, int db)
{
    int which;
    bool all_known;
    count_primaries(core, db, &which, &all_known);
    const struct instance_fact *fact = &core->databases[db].instances[which].fact;
    struct database_record *record = db_record(core, db);
    const char *node = instance_node(core, db, which);
    permit_grant(core, db, node, fact->system_id, fact->timeline, "", 0);
    text_copy(record->primary, sizeof record->primary, node);
    record->system_id = fact->system_id;
    record->timeline = fact->timeline;
    char key[NAME_SIZE * 2];
    alarm_key(key, "adopt", core->def.databases[db].name);
    alarm_clear(core, db_group(core, db), key);
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

void say_protest(struct core *core, int db)
{
    int which;
    bool all_known;
    char key[NAME_SIZE * 2];
    int primaries = count_primaries(core, db, &which, &all_known);
    state_of(core, db)->late_noted = true;
    alarm_key(key, "adopt", core->def.databases[db].name);
    alarm_set(
        core, db_group(core, db), primaries > 1, key, "failoverctl status",
        "%s is not adopted: %d writable primaries seen%s; exactly one is needed, and every other instance answering as its standby",
        core->def.databases[db].name, primaries,
        all_known ? "" : ", and not every instance answers");
}

void suspect(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct instance_state *primary = primary_state(core, db);
    d->down_ms = core->now_ms;
    if (guard_says_gone(core, db)) {
        note(core, NOTE_WARN, "R-F1", db, -1, -1, "primary on %s: its guard says that it ended: %s",
             instance_node(core, db, core_primary(core, db)), primary->guard.said.crash);
    } else {
        note(core, NOTE_WARN, "R-F1", db, -1, -1, "primary on %s: %s: %s",
             instance_node(core, db, core_primary(core, db)), cause_names[primary->health.cause],
             primary->detail);
    }
    effect_add(core, EFFECT_PUBLISH);
    probe_all(core, db);
}

static void clear_alarms(struct core *core, int db)
{
    static const char *const whats[] = {"held", "fence", "choice", "promotion", "switch"};
    for (int i = 0; i < 5; i++) {
        char key[NAME_SIZE * 2];
        alarm_key(key, whats[i], core->def.databases[db].name);
        alarm_clear(core, db_group(core, db), key);
    }
}

void let_go(struct core *core, int db)
{
    clear_alarms(core, db);
    forget_plan(state_of(core, db));
}

void say_held(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    char key[NAME_SIZE * 2];
    char command[REASON_SIZE];
    char text[REASON_SIZE];
    const char *name = core->def.databases[db].name;
    const char *group = core->def.groups[db_group(core, db)].name;
    alarm_key(key, "held", name);
    if (d->held_by == HOLD_PAUSED) {
        text_format(command, sizeof command, "failoverctl resume %s --reason TEXT", group);
    } else {
        text_format(command, sizeof command, "failoverctl failover %s --database %s --reason TEXT",
                    group, name);
    }
    text_format(text, sizeof text, "%s is down, and nothing is done: %.180s", name, d->held);
    alarm_renew(core, db_group(core, db), key, command, text);
    d->held_noted = d->held_by;
}

static void begin_move(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct database_record *record = db_record(core, db);
    bool forced = d->forced;
    uint64_t accept_loss_bytes = d->accept_loss_bytes;
    struct choice choice;
    candidate_choose(core, db, false, &choice);
    clear_alarms(core, db);
    drop_intruder(core, db);
    struct move_record *move = move_start(core, db);
    forget_plan(d);
    d->forced = forced;
    move->phase = PHASE_FENCE;
    move->forced = forced;
    move->accept_loss_bytes = accept_loss_bytes;
    text_copy(move->from, sizeof move->from, record->primary);
    text_copy(move->fence_node, sizeof move->fence_node, record->primary);
    if (choice.chosen >= 0) {
        text_copy(move->planned, sizeof move->planned, instance_node(core, db, choice.chosen));
        if (!is_guarded(core, db)) {
            struct effect *effect = effect_add(core, EFFECT_PREPARE);
            effect->promote.database = db;
            effect->promote.instance = choice.chosen;
        }
    }
    move->from_timeline = d->permit.timeline;
    move->system_id = d->permit.system_id;
    sync_keep(core, db, move);
    d->permit.state = PERMIT_REVOKED;
    d->lying_levels = 0;
    d->counted_term = core->term; /* it is this leader's own */
    dirty_permit(core, db);
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

void join(struct core *core, int db)
{
    begin_move(core, db);
}

/* A fence names every instance on its node, and revokes and moves all their permits (design §7). */
void join_neighbours(struct core *core, int db, int node)
{
    for (int other = 0; other < core->def.databases_len; other++) {
        int there = core_primary(core, other);
        if (other != db && there >= 0 && core->def.databases[other].instances[there].node == node) {
            core_rules_run(core, other, ON_JOINED);
        }
    }
}

/* Revoke first (design §7): this database's permit, and those of every other primary on the node.
 */
void revoke(struct core *core, int db)
{
    int primary = core_primary(core, db);
    begin_move(core, db);
    if (!guard_is_at_hand(core, db, primary)) {
        join_neighbours(core, db, core->def.databases[db].instances[primary].node);
    } /* else: fence_the_node(), should the guard not stop it in time */
}

void start_levels(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct move_record *move = core_move_of(core, db);
    d->level = 0;
    d->retry_ms = 0;
    if (d->fence_round++ == 0 &&
        guard_is_at_hand(core, db, node_instance(core, db, move->fence_node))) {
        d->retry_ms = core->now_ms + d->permit.k_ms + GUARD_MS;
        return;
    }
    start_level(core, db);
}

/* One fence of a node serves every database that waits for it, if it began after their revocations,
 * and at no level that has given this one no proof already. */
static bool share_fence(struct core *core, int db, const struct move_record *move)
{
    struct database_state *d = state_of(core, db);
    for (int other = 0; other < core->def.databases_len; other++) {
        const struct database_state *o = &core->databases[other];
        const struct move_record *theirs = core_move_of(core, other);
        if (other != db && theirs != NULL && o->state == DB_FENCING && o->step != 0 &&
            strcmp(theirs->fence_node, move->fence_node) == 0 && o->level >= d->level &&
            o->step_started_ms >= d->revoked_ms) {
            d->step = o->step;
            d->level = o->level;
            d->step_started_ms = o->step_started_ms;
            d->step_deadline_ms = o->step_deadline_ms;
            return true;
        }
    }
    return false;
}

void start_level(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct move_record *move = core_move_of(core, db);
    int node = definition_node(&core->def, move->fence_node);
    const struct node_def *def = &core->def.nodes[node];
    d->step = 0;
    if (share_fence(core, db, move)) {
        return;
    }
    while (d->level < def->levels_len && (!fence_method_is_run(def->levels[d->level].method) ||
                                          (d->lying_levels & (1u << d->level)) != 0)) {
        d->level++;
    }
    if (d->level >= def->levels_len) {
        return; /* R-V6 */
    }
    struct effect *effect = effect_add(core, EFFECT_FENCE);
    effect->step = ++core->next_step;
    effect->deadline_ms = core->now_ms + def->levels[d->level].deadline_ms;
    effect->fence.database = db;
    effect->fence.node = node;
    effect->fence.level = d->level;
    d->step = effect->step;
    d->step_started_ms = core->now_ms;
    d->step_deadline_ms = effect->deadline_ms;
}

/* Is the event at hand the outcome of this database's step? It may be another's: reviews follow
 * every event. */
static bool step_reported(const struct core *core, const struct database_state *d)
{
    const struct core_event *event = core->event;
    return d->step != 0 && ((event->type == EV_FENCE_DONE && event->fence.step == d->step) ||
                            (event->type == EV_PROMOTION_DONE && event->promote.step == d->step));
}

void next_level(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct move_record *move = core_move_of(core, db);
    const struct node_def *node = &core->def.nodes[definition_node(&core->def, move->fence_node)];
    bool reported = step_reported(core, d);
    const char *words = reported ? core->event->fence.detail : "no report by its deadline";
    note(core, NOTE_WARN, "R-V4", db, -1, -1, "fencing level %s of %s gave no proof: %.160s",
         d->level < node->levels_len ? node->levels[d->level].name : "?", node->name, words);
    if (!reported) {
        struct effect *effect = effect_add(core, EFFECT_CANCEL);
        effect->step = d->step;
    }
    d->step = 0;
    d->level++;
    start_level(core, db);
}

void call_for_fence(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct move_record *move = core_move_of(core, db);
    char key[NAME_SIZE * 2];
    char command[REASON_SIZE];
    d->retry_ms = core->now_ms + FENCE_RETRY_MS;
    alarm_key(key, "fence", core->def.databases[db].name);
    text_format(command, sizeof command,
                "make sure that %s is off, then: failoverctl confirm-fenced %s --reason TEXT",
                move->fence_node, move->fence_node);
    alarm_set(core, db_group(core, db), true, key, command,
              "%s: no proof that %s cannot write, so nothing is promoted; waiting for a person",
              core->def.databases[db].name, move->fence_node);
}

static void add_evidence(struct core *core, int db, struct move_record *move)
{
    struct database_state *d = state_of(core, db);
    struct evidence_record *evidence = &move->evidence[EVIDENCE_MAX - 1];
    if (!step_reported(core, d)) {
        evidence = &move->evidence[move->evidence_len - 1]; /* requests.c wrote who and why */
    } else {
        if (move->evidence_len < EVIDENCE_MAX) {
            evidence = &move->evidence[move->evidence_len++];
        }
        const struct node_def *node =
            &core->def.nodes[definition_node(&core->def, move->fence_node)];
        memset(evidence, 0, sizeof *evidence);
        evidence->kind = core->event->fence.evidence;
        text_copy(evidence->node, sizeof evidence->node, move->fence_node);
        text_copy(evidence->level, sizeof evidence->level, node->levels[d->level].name);
        text_copy(evidence->detail, sizeof evidence->detail, core->event->fence.detail);
    }
    evidence->revocation_revision = (uint64_t)d->revoked_revision;
    evidence->after_ms = (uint32_t)(core->now_ms - d->revoked_ms);
    evidence->wall_ms = core->wall_ms;
}

void record_evidence(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    struct move_record *move = core_move(core, db);
    char key[NAME_SIZE * 2];
    if (d->step != 0 && !step_reported(core, d)) {
        struct effect *effect = effect_add(core, EFFECT_CANCEL);
        effect->step = d->step;
    }
    add_evidence(core, db, move);
    const struct evidence_record *evidence = &move->evidence[move->evidence_len - 1];
    note(core, NOTE_INFO, "R-V3", db, -1, -1,
         "evidence: %s %s: %.160s, %u ms after the revocation (revision %llu)",
         evidence_kind_names[evidence->kind], evidence->level, evidence->detail, evidence->after_ms,
         (unsigned long long)evidence->revocation_revision);
    move->phase = PHASE_CHOOSE;
    move->lives = 0;
    d->step = 0;
    d->retry_ms = 0;
    d->proven_ms = core->now_ms;
    alarm_key(key, "fence", core->def.databases[db].name);
    alarm_clear(core, db_group(core, db), key);
    probe_all(core, db); /* later than the proof; they answer while it is being saved */
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

/* They were asked when the proof came: again only if that has not settled it. */
void begin_choice(struct core *core, int db)
{
    if (!a_candidate_passes(core, db)) {
        probe_all(core, db);
    }
}

/* Its next proof would be worth as little, and each one is a chance to promote beside a living
 * primary. */
static void distrust_level(struct core *core, int db, const struct move_record *move)
{
    const struct node_def *node = &core->def.nodes[definition_node(&core->def, move->fence_node)];
    const struct evidence_record *last = &move->evidence[move->evidence_len - 1];
    for (int level = 0; level < node->levels_len; level++) {
        if (strcmp(node->levels[level].name, last->level) == 0) {
            state_of(core, db)->lying_levels |= 1u << level;
        }
    }
}

void cancel_evidence(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    struct move_record *move = core_move(core, db);
    char key[NAME_SIZE * 2];
    char text[REASON_SIZE];
    char how[TEXT_SIZE];
    const char *living = living_node(core, db, how, sizeof how);
    /* What was proven in another life may have been true, and the node switched on again since. */
    bool lied = d->revoked_ms != 0 && strcmp(living, move->fence_node) == 0;
    if (strcmp(living, move->fence_node) != 0) {
        text_copy(move->fence_node, sizeof move->fence_node, living);
    }
    note(core, NOTE_ERROR, "R-V10", db, -1, -1,
         "%s %s after it was proven fenced: the proof is void", move->fence_node, how);
    if (lied) {
        distrust_level(core, db, move);
    }
    move->phase = PHASE_FENCE;
    move->evidence_len = 0;
    d->proven_ms = 0;
    d->proven_revision = 0;
    d->level = 0;
    d->revoked_ms = d->revoked_ms != 0 ? d->revoked_ms : core->now_ms; /* as in take_up_fence */
    d->retry_ms = core->now_ms + PROMOTE_RETRY_MS;
    alarm_key(key, "fence", core->def.databases[db].name);
    text_format(text, sizeof text, "%s: the fence of %s %s: it %s afterwards",
                core->def.databases[db].name, move->fence_node, lied ? "lied" : "did not last",
                how);
    alarm_renew(core, db_group(core, db), key,
                "cut its power by hand, then: failoverctl confirm-fenced", text);
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

void grant(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    struct move_record *move = core_move(core, db);
    struct choice choice;
    char key[NAME_SIZE * 2];
    char evidence[REASON_SIZE];
    char lsn[32];
    candidate_choose(core, db, true, &choice);
    const struct instance_fact *fact = &d->instances[choice.chosen].fact;
    const char *node = instance_node(core, db, choice.chosen);
    const struct evidence_record *last = &move->evidence[move->evidence_len - 1];
    int64_t life = choice.in_place ? 0 : fact->life; /* it is stopped: its next life is meant */
    permit_grant(core, db, node, move->system_id, move->from_timeline,
                 is_guarded(core, db) ? d->instances[choice.chosen].guard.said.boot : "", life);
    text_copy(move->candidate, sizeof move->candidate, node);
    move->candidate_life = life;
    move->phase = PHASE_PROMOTE;
    move->lives = 0;
    move->estimated_loss_bytes = choice.loss_known ? choice.loss_bytes : UINT64_MAX;
    text_format(lsn, sizeof lsn, "%X/%X", (unsigned)(fact->receive_lsn >> 32),
                (unsigned)fact->receive_lsn);
    if (choice.in_place) {
        note(core, NOTE_INFO, "R-C1", db, -1, -1,
             "%s is chosen, to be started again in its place: it has all that it ever acknowledged",
             node);
    } else {
        note(core, NOTE_INFO, "R-C1", db, -1, -1, "%s is chosen: timeline %u, WAL to %s, %s", node,
             fact->timeline, lsn,
             choice.loss_proven ? "its sync entry proves that nothing acknowledged is lost"
                                : "asynchronous: a loss is possible");
    }
    text_format(evidence, sizeof evidence, "%s %s: %.180s", evidence_kind_names[last->kind],
                last->level, last->detail);
    incident_moved(core, db, node, evidence, choice.loss_bytes);
    alarm_key(key, "choice", core->def.databases[db].name);
    alarm_clear(core, db_group(core, db), key);
    d->promote_tries = 0;
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

void call_for_candidate(struct core *core, int db)
{
    struct choice choice;
    char key[NAME_SIZE * 2];
    char command[REASON_SIZE];
    candidate_choose(core, db, true, &choice);
    alarm_key(key, "choice", core->def.databases[db].name);
    text_format(command, sizeof command,
                "failoverctl failover %s --database %s --accept-loss BYTES --reason TEXT",
                core->def.groups[db_group(core, db)].name, core->def.databases[db].name);
    alarm_set(core, db_group(core, db), true, key, command,
              "%s is fenced, but nobody may take over: %.200s", core->def.databases[db].name,
              choice.reason);
}

void accept_loss(struct core *core, int db)
{
    /* The bytes are the request's; requests.c puts them into the move. */
    note(core, NOTE_WARN, "R-C3", db, -1, -1, "a person accepts a loss");
    dirty_group(core, db_group(core, db));
}

void promote(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    const struct move_record *move = core_move_of(core, db);
    d->promote_tries++;
    if (is_guarded(core, db)) { /* the permit itself is the order: its guard promotes under it */
        d->step = 0;
        d->step_started_ms = core->now_ms;
        d->step_deadline_ms = core->now_ms + PROMOTE_MS;
        return;
    }
    struct effect *effect = effect_add(core, EFFECT_PROMOTE);
    effect->step = ++core->next_step;
    effect->deadline_ms = core->now_ms + PROMOTE_MS;
    effect->promote.database = db;
    effect->promote.instance = node_instance(core, db, move->candidate);
    effect->promote.timeline = move->from_timeline;
    effect->promote.system_id = move->system_id;
    effect->promote.life = move->candidate_life;
    d->step = effect->step;
    d->step_started_ms = core->now_ms;
    d->step_deadline_ms = effect->deadline_ms;
}

/* Why no outcome is waited for, in words. */
static const char *promotion_words(const struct core *core, int db)
{
    if (step_reported(core, &core->databases[db])) {
        return core->event->promote.detail;
    }
    return the_guard_lost_it(core, db)        ? "its guard says that it has ended"
           : the_guard_was_rebooted(core, db) ? "its node was booted again since it was chosen"
           : candidate_restarted(core, db)    ? "it was started again since it was chosen"
           : the_guard_is_silent(core, db)    ? "its guard is silent"
           : the_candidate_failed(core, db)   ? "it is seen down"
                                              : "no outcome by the deadline";
}

void observe_candidate(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    bool reported = step_reported(core, d);
    const char *words = promotion_words(core, db);
    note(core, NOTE_WARN, "R-P4", db, -1, -1, "promotion: %.200s", words);
    if (!reported && d->step != 0) {
        struct effect *effect = effect_add(core, EFFECT_CANCEL);
        effect->step = d->step;
    }
    d->step = 0;
    d->retry_ms = core->now_ms + PROMOTE_RETRY_MS;
    probe_all(core, db);
}

/* Burnt stays burnt, over every later move: only a rebuild by copy ends it (S7, failures.md F6). */
void record_burnt(const struct core *core, int db, struct database_record *record, const char *node)
{
    int at = record->burnt_len;
    for (int i = record->burnt_len - 1; i >= 0; i--) {
        if (strcmp(record->burnt[i], node) == 0) {
            return;
        }
        if (node_instance(core, db, record->burnt[i]) < 0) {
            at = i; /* no instance of this database any more */
        }
    }
    if (at == INSTANCES_MAX) {
        return; /* not reached: the instances are as many as the names */
    }
    text_copy(record->burnt[at], NAME_SIZE, node);
    record->burnt_len += at == record->burnt_len ? 1 : 0;
}

void record_primary(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    struct move_record *move = core_move(core, db);
    struct database_record *record = db_record(core, db);
    char key[NAME_SIZE * 2];
    text_copy(record->primary, sizeof record->primary, move->candidate);
    record->system_id = move->system_id;
    record->timeline = move_timeline(move);
    record->sync_enforced = false;
    for (int i = 0; i < move->burnt_len; i++) {
        record_burnt(core, db, record, move->burnt[i]);
    }
    move->new_timeline = record->timeline;
    move->phase = PHASE_REDIRECT;
    move->lives = 0;
    d->permit.timeline = record->timeline;
    if (is_guarded(core, db)) {
        declare_roles(core, db, record->primary);
    }
    d->step = 0;
    d->failure_ms = 0;
    memset(d->suspect_lsn, 0, sizeof d->suspect_lsn); /* they were about another primary */
    memset(d->suspect_asked_ms, 0, sizeof d->suspect_asked_ms);
    d->primary_lsn_ms = 0;
    d->bytes_per_s = 0;
    alarm_key(key, "promotion", core->def.databases[db].name);
    alarm_clear(core, db_group(core, db), key);
    note(core, NOTE_INFO, "R-P3", db, -1, -1, "%s is primary on timeline %u", move->candidate,
         record->timeline);
    dirty_permit(core, db);
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

/* The candidate's promotion may have begun: it is burnt, and fenced before another is chosen
 * (design §8). */
void refence(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    struct move_record *move = core_move(core, db);
    if (move->burnt_len < INSTANCES_MAX) {
        text_copy(move->burnt[move->burnt_len++], NAME_SIZE, move->candidate);
    }
    text_copy(move->fence_node, sizeof move->fence_node, move->candidate);
    move->candidate[0] = '\0';
    move->phase = PHASE_FENCE;
    move->lives = 0;
    d->permit.state = PERMIT_REVOKED;
    d->lying_levels = 0;
    d->proven_ms = 0;
    d->proven_revision = 0;
    d->step = 0;
    d->fence_round = 0; /* another node: its own guard is given its time */
    dirty_permit(core, db);
    await_save(core, db, dirty_group(core, db_group(core, db)));
    if (!guard_is_at_hand(core, db, node_instance(core, db, move->fence_node))) {
        join_neighbours(core, db, definition_node(&core->def, move->fence_node));
    }
}

void call_for_promotion(struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    const struct instance_state *state = candidate_state(core, db);
    char key[NAME_SIZE * 2];
    char why[REASON_SIZE];
    if (may_be_replaced(core, db, why, sizeof why)) {
        text_copy(why, sizeof why, "this controller does not see it down");
    }
    state_of(core, db)->late_noted = true;
    alarm_key(key, "promotion", core->def.databases[db].name);
    alarm_set(
        core, db_group(core, db), true, key, "failoverctl status",
        "%s: the promotion of %s does not complete (%s: %.60s), and it is not given up: %.120s",
        core->def.databases[db].name, move->candidate, cause_names[state->health.cause],
        state->detail, why);
}

void begin_redirect(struct core *core, int db)
{
    probe_all(core, db);
}

static void probe_services(struct core *core, int db)
{
    probe_all(core, db);
    effect_add(core, EFFECT_PUBLISH);
}

void begin_verify(struct core *core, int db)
{
    struct move_record *move = core_move(core, db);
    move->phase = PHASE_VERIFY;
    move->lives = 0;
    dirty_group(core, db_group(core, db));
    probe_services(core, db);
}

static bool all_done(const struct workflow_record *workflow)
{
    for (int i = 0; i < workflow->moves_len; i++) {
        if (workflow->moves[i].phase != PHASE_DONE) {
            return false;
        }
    }
    return true;
}

static void count_completed(struct core *core, struct group_record *group)
{
    bool automatic = false;
    for (int i = 0; i < group->workflow.moves_len; i++) {
        const struct move_record *move = &group->workflow.moves[i];
        automatic = automatic || (!move->forced && move->candidate[0] != '\0');
    }
    if (!automatic) {
        return;
    }
    if (group->completed_len == BUDGET_MAX) {
        memmove(&group->completed_wall_ms[0], &group->completed_wall_ms[1],
                sizeof group->completed_wall_ms[0] * (BUDGET_MAX - 1));
        group->completed_len--;
    }
    group->completed_wall_ms[group->completed_len++] = core->wall_ms;
}

void move_end(struct core *core, int db, const char *given_up)
{
    int g = db_group(core, db);
    struct group_record *group = &core->groups[g].record;
    struct move_record *move = core_move(core, db);
    clear_alarms(core, db);
    move->phase = PHASE_DONE;
    if (all_done(&group->workflow)) {
        if (given_up == NULL) {
            incident_end(core, g);
        } else {
            incident_give_up(core, g, given_up);
        }
        count_completed(core, group);
        group->moving = false;
    }
    await_save(core, db, dirty_group(core, g));
}

void close_move(struct core *core, int db)
{
    move_end(core, db, NULL);
}

void abandon_move(struct core *core, int db)
{
    move_end(core, db, "the new primary failed before the switch was verified");
}

void finish_move(struct core *core, int db)
{
    forget_plan(state_of(core, db));
}

void say_late(struct core *core, int db)
{
    char key[NAME_SIZE * 2];
    state_of(core, db)->late_noted = true;
    alarm_key(key, "switch", core->def.databases[db].name);
    alarm_set(core, db_group(core, db), true, key, "failoverctl status",
              "%s: promoted, but not yet %s", core->def.databases[db].name,
              state_of(core, db)->state == DB_REDIRECTING ? "reachable through every route"
                                                          : "seen to work with its services");
}

void park(struct core *core, int db)
{
    char key[NAME_SIZE * 2];
    char why[REASON_SIZE];
    char how[TEXT_SIZE];
    struct move_record *move = core_move(core, db);
    struct database_state *d = state_of(core, db);
    const char *living = move == NULL ? NULL : living_node(core, db, how, sizeof how);
    if (move != NULL && move->parked[0] != '\0') {
        text_copy(why, sizeof why, move->parked);
    } else if (move != NULL && core->event->type == EV_LOADED && move->lives >= LIVES_MAX) {
        text_format(why, sizeof why, "step %s has ended %u leaders", move_phase_names[move->phase],
                    move->lives);
    } else if (core->event->type != EV_LOADED && living != NULL) {
        text_format(why, sizeof why,
                    "%s %s after it was proven fenced, and %s may be promoted: two "
                    "primaries could live",
                    living, how, move->candidate);
    } else if (core->event->type == EV_LOADED) {
        text_copy(why, sizeof why,
                  "its permit and its group's record contradict each other, or one is missing");
    } else {
        text_format(why, sizeof why, "%s is on another timeline than %u, which the record expects",
                    move != NULL ? move->candidate : "the candidate",
                    move != NULL ? move_timeline(move) : 0);
    }
    if (move != NULL && move->parked[0] == '\0') {
        text_copy(move->parked, sizeof move->parked, why);
        dirty_group(core, db_group(core, db));
    }
    d->step = 0;
    alarm_key(key, "parked", core->def.databases[db].name);
    alarm_set(core, db_group(core, db), true, key, "failoverctl status --json",
              "%s is parked: %.200s", core->def.databases[db].name, why);
}

/* ---- taking over: the record says what may be under way; the world is looked at again ---- */

/* A leader that reads its records again, since a save's answer was lost, has not died. */
static uint32_t one_more_life(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    if (d->counted_term != core->term) {
        d->counted_term = core->term;
        core_move(core, db)->lives++;
    }
    return dirty_group(core, db_group(core, db));
}

void take_up_fence(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    /* The revocation was confirmed by the write that made this process leader and by the next save.
     */
    d->revoked_ms = core->now_ms;
    d->revoked_revision = d->permit_revision;
    await_save(core, db, one_more_life(core, db));
}

void take_up_choice(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    one_more_life(core, db);
    d->revoked_revision = d->permit_revision;
    d->revoked_ms = 0;           /* the evidence is of another life: old_primary_was_looked_at() */
    d->proven_ms = core->now_ms; /* later than the recorded evidence: standbys are heard anew */
    d->proven_revision = core->groups[db_group(core, db)].revision;
    probe_all(core, db);
}

void take_up_promotion(struct core *core, int db)
{
    struct database_state *d = state_of(core, db);
    await_save(core, db, 0);
    one_more_life(core, db);
    d->revoked_ms = 0;
    d->proven_ms = core->now_ms;
    d->proven_revision = core->groups[db_group(core, db)].revision;
    d->retry_ms = core->now_ms;
    d->step_started_ms = core->now_ms; /* from now on its guard's silence counts */
    probe_all(core, db);
}

void take_up_redirect(struct core *core, int db)
{
    one_more_life(core, db);
    probe_all(core, db);
}

void take_up_verify(struct core *core, int db)
{
    one_more_life(core, db);
    probe_all(core, db);
}
