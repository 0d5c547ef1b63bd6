/*
 * evidence.c - what proves a fence without being run: the guard's report, the permit's time, and
 * standbys that no longer receive (design §7); and the promises that keep that time honest.
 *
 * Each is looked at beside the levels that run, from the moment the revocation is recorded; the
 * first sufficient one wins. What tests/model/permit.pml taught, and what holds here for it:
 *
 *  - A report counts when it names the recorded revocation's revision: one made before it would be
 *    true of a guard that starts the instance again under the same permit.
 *  - Time is counted from the answer of this life's own confirming write, or from this process's
 * own last promise, whichever is later, and always the whole sum: a predecessor may have promised.
 *  - Only a controller counts that the holder would have to ask: it stands in the permit's list,
 * and in the list before, until the holder is seen to have renewed under the new one.
 *  - The holder's last renewal must have said that its watchdog is armed: without one its stop is a
 *    wish. It is known to be the last when the watch has passed the revocation: none is accepted
 *    after that.
 *  - A candidate that was never seen to renew never was a primary; a renewal that cannot be read,
 * or is gone, is no such proof.
 *  - A promise is given by who knows of no revocation, and starts this process's own wait again.
 */
#include "controller/core/private.h"

#include <string.h>

/* Guards report every ten seconds: one that is silent for longer is gone. */
#define REPORT_MS 15000

/* ---- what guards say ---- */

bool is_guarded(const struct core *core, int db)
{
    return core->databases[db].permit_known && core->databases[db].permit.boot[0] != '\0';
}

static const struct node_def *node_of(const struct core *core, int db, int i)
{
    return &core->def.nodes[core->def.databases[db].instances[i].node];
}

/* The latest report of an instance's guard, if it is there and guards. */
const struct guard_record *guard_of(const struct core *core, int db, int i)
{
    const struct guard_view *guard = &core->databases[db].instances[i].guard;
    return guard->known && guard->said.mode == GUARD_GUARDING &&
                   node_has_method(node_of(core, db, i), FENCE_GUARD)
               ? &guard->said
               : NULL;
}

void core_saw(struct core *core, int64_t revision)
{
    core->seen_revision = revision > core->seen_revision ? revision : core->seen_revision;
}

void core_forget_store(struct core *core)
{
    core->seen_revision = 0;
    for (int db = 0; db < DATABASES_MAX; db++) {
        memset(&core->databases[db].renewal, 0, sizeof core->databases[db].renewal);
        for (int i = 0; i < INSTANCES_MAX; i++) {
            struct instance_state *state = &core->databases[db].instances[i];
            memset(&state->guard, 0, sizeof state->guard);
        }
    }
}

bool core_take_guard(struct core *core, const struct guard_record *said, int64_t mod_revision,
                     uint64_t now_ms)
{
    int db = definition_database(&core->def, said->database);
    int i = db < 0 ? -1 : node_instance(core, db, said->node);
    if (i < 0) {
        return false;
    }
    core->now_ms = now_ms > core->now_ms ? now_ms : core->now_ms; /* as in core_take_peer */
    struct guard_view *guard = &core->databases[db].instances[i].guard;
    if (guard->known && mod_revision <= guard->revision) {
        return true; /* read twice */
    }
    *guard = (struct guard_view){
        .known = true, .said = *said, .revision = mod_revision, .heard_ms = core->now_ms};
    return true;
}

bool core_take_renewal(struct core *core, const char *database,
                       const struct renewal_record *renewal, int64_t mod_revision, uint64_t now_ms)
{
    int db = definition_database(&core->def, database);
    if (db < 0) {
        return false;
    }
    core->now_ms = now_ms > core->now_ms ? now_ms : core->now_ms;
    struct renewal_view *state = &core->databases[db].renewal;
    if (state->known && mod_revision <= state->revision) {
        return true;
    }
    *state = (struct renewal_view){
        .known = true, .said = *renewal, .revision = mod_revision, .heard_ms = core->now_ms};
    return true;
}

void core_lose_renewal(struct core *core, const char *database)
{
    int db = definition_database(&core->def, database);
    if (db >= 0) {
        core->databases[db].renewal.known = false;
    }
}

/* How long ago PostgreSQL ended by itself, as the recorded primary's guard says under the permit
 * that it holds, and is not back; -1: it says no such thing. */
static int64_t ended_for_ms(const struct core *core, int db, enum guard_state *ret_state)
{
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    const struct guard_record *said = primary < 0 ? NULL : guard_of(core, db, primary);
    if (said == NULL || !is_guarded(core, db) || d->permit.state != PERMIT_GRANTED ||
        strcmp(said->boot, d->permit.boot) != 0 ||
        epoch_compare(said->epoch, d->permit.epoch) != 0 || said->crash[0] == '\0' ||
        said->state == GUARD_RUNNING) {
        return -1;
    }
    *ret_state = said->state;
    return (int64_t)(said->down_ms + (core->now_ms - d->instances[primary].guard.heard_ms));
}

/* It took a write when asked after that end: restarted, and its guard's report has not come through
 * (failures.md E1, D3). */
static bool is_back_unreported(const struct core *core, int db, uint64_t ended_ms)
{
    int primary = core_primary(core, db);
    const struct instance_fact *fact = &core->databases[db].instances[primary].fact;
    return takes_writes(core, db, primary) && fact->asked_ms > ended_ms &&
           core->now_ms - fact->answered_ms <= fresh_limit_ms(core);
}

/*
 * PostgreSQL ended by itself and is held down: that needs no second witness, and no fall (design
 * §6, §7). A restart in its place is tried first where the policy says so; when that took too long,
 * its word is as old as the end.
 */
bool guard_says_gone(const struct core *core, int db)
{
    const struct database_def *def = &core->def.databases[db];
    enum guard_state state = GUARD_UNKNOWN;
    int64_t ended = ended_for_ms(core, db, &state);
    return ended >= 0 && state == GUARD_STOPPED &&
           (def->on_crash == CRASH_FAILOVER ||
            (ended >= (int64_t)def->restart_deadline_ms &&
             !is_back_unreported(core, db, guard_gone_ms(core, db))));
}

/* Its time ended under the permit that it holds, and only under a new one is it started. */
static bool guard_says_lapsed(const struct core *core, int db)
{
    const struct permit_record *permit = &core->databases[db].permit;
    int primary = core_primary(core, db);
    const struct guard_record *said = primary < 0 ? NULL : guard_of(core, db, primary);
    return said != NULL && permit->state == PERMIT_GRANTED &&
           strcmp(said->boot, permit->boot) == 0 &&
           epoch_compare(said->epoch, permit->epoch) == 0 && said->crash[0] == '\0' &&
           guard_asks_to_start(core, db, primary);
}

/*
 * Nothing of the recorded primary runs, as its guard says, and it is held down. That came by way of
 * the store, however little this controller sees.
 */
bool guard_says_down(const struct core *core, int db)
{
    return guard_says_gone(core, db) || guard_says_lapsed(core, db);
}

static bool guard_restarts_it(const struct core *core, int db, int64_t *ret_for_ms)
{
    const struct database_def *def = &core->def.databases[db];
    enum guard_state state = GUARD_UNKNOWN;
    *ret_for_ms = ended_for_ms(core, db, &state);
    return def->on_crash == CRASH_RESTART && *ret_for_ms >= 0 &&
           *ret_for_ms < (int64_t)def->restart_deadline_ms;
}

/* Living evidence newer than the proof cancels it (design §7; failures.md G3). */
bool guard_says_alive(const struct core *core, int db, int i)
{
    const struct database_state *d = &core->databases[db];
    const struct guard_record *said = guard_of(core, db, i);
    return said != NULL && said->state == GUARD_RUNNING && said->role == ROLE_PRIMARY &&
           d->proven_revision != 0 && d->instances[i].guard.revision > d->proven_revision;
}

/* When it ended, by this controller's clock; only where its guard says that it did. */
uint64_t guard_gone_ms(const struct core *core, int db)
{
    const struct guard_view *guard = &core->databases[db].instances[core_primary(core, db)].guard;
    return guard->heard_ms > guard->said.down_ms ? guard->heard_ms - guard->said.down_ms : 1;
}

/* By a renewal, or by a report, whichever is younger, under the permit's epoch; UINT64_MAX: never.
 */
static uint64_t guard_wrote_ms_ago(const struct core *core, int db, int primary)
{
    const struct database_state *d = &core->databases[db];
    const struct renewal_view *renewal = &d->renewal;
    const struct guard_view *guard = &d->instances[primary].guard;
    uint64_t age = UINT64_MAX;
    if (renewal->known && renewal->said.wrote &&
        epoch_compare(renewal->said.epoch, d->permit.epoch) == 0) {
        age = core->now_ms - renewal->heard_ms;
    }
    if (guard_of(core, db, primary) != NULL && guard->said.wrote &&
        guard->said.role == ROLE_PRIMARY &&
        epoch_compare(guard->said.epoch, d->permit.epoch) == 0) {
        age = earlier(age, core->now_ms - guard->heard_ms + guard->said.wrote_age_ms);
    }
    return age;
}

/*
 * The guard's own heartbeat write succeeded: it testifies for its primary. Its age counts from the
 * arrival: a renewal that a stalled watch delivers late may protect for a moment, never convict.
 */
void guard_vote(const struct core *core, int db, int primary, bool if_it_failed,
                struct core_check *check)
{
    const struct database_state *d = &core->databases[db];
    const char *node = instance_node(core, db, primary);
    /* One renewal, and what it may be late by: an old vote does not protect (design §6). */
    uint32_t renewal_ms = definition_profile(&core->def)->renewal_ms;
    uint64_t limit = renewal_ms + renewal_ms / 2 + 200;
    uint64_t age = guard_wrote_ms_ago(core, db, primary);
    int64_t restarts_for;
    if (guard_restarts_it(core, db, &restarts_for)) {
        check_set(check, "guard", if_it_failed, restarts_for,
                  "the guard of %s restarts it in its place, for %lld ms by now (limit %u ms)",
                  node, (long long)restarts_for, core->def.databases[db].restart_deadline_ms);
        check_value(check, "restarts it");
    } else if (age <= limit) {
        check_set(check, "guard", if_it_failed, (int64_t)age,
                  "the guard of %s wrote by itself, %llu ms ago: it lives", node,
                  (unsigned long long)age);
        check_value(check, "wrote");
    } else if (guard_says_gone(core, db)) {
        check_set(check, "guard", true,
                  (int64_t)(core->now_ms - d->instances[primary].guard.heard_ms),
                  "the guard of %s says that PostgreSQL is gone and held down", node);
        check_value(check, "gone, held down");
    } else {
        check_set(check, "guard", true, age == UINT64_MAX ? -1 : (int64_t)age,
                  "the guard of %s does not testify for it", node);
        check_value(check, "no testimony");
    }
    check_limit(check, "no own write within %llu ms", (unsigned long long)limit);
}

bool guard_is_at_hand(const struct core *core, int db, int i)
{
    const struct database_state *d = &core->databases[db];
    const struct guard_view *guard = &d->instances[i].guard;
    uint64_t limit = 2u * definition_profile(&core->def)->renewal_ms + 500;
    bool holder = strcmp(d->permit.node, instance_node(core, db, i)) == 0;
    uint64_t heard = holder && d->renewal.known && d->renewal.heard_ms > guard->heard_ms
                         ? d->renewal.heard_ms
                         : guard->heard_ms;
    return guard_of(core, db, i) != NULL && core->now_ms - heard <= limit;
}

bool guard_is_heard(const struct core *core, int db, int i)
{
    return guard_of(core, db, i) != NULL &&
           core->now_ms - core->databases[db].instances[i].guard.heard_ms <= REPORT_MS;
}

bool guard_excludes(const struct core *core, int db, int i, char *text, size_t size)
{
    const struct guard_view *guard = &core->databases[db].instances[i].guard;
    uint64_t age = core->now_ms - guard->heard_ms;
    text[0] = '\0';
    if (!is_guarded(core, db)) {
        return false;
    } else if (guard_of(core, db, i) == NULL) {
        text_format(text, size, "no failover-guard guards it: it could not be granted a permit");
    } else if (age > REPORT_MS) {
        text_format(text, size, "its guard was last heard %llu ms ago (limit %d ms)",
                    (unsigned long long)age, REPORT_MS);
    } else if (guard->said.held[0] != '\0') {
        text_format(text, size, "its guard holds it down: %.120s", guard->said.held);
    } else if (guard->said.state != GUARD_RUNNING) {
        text_format(text, size, "its guard says that it is %s",
                    guard_state_names[guard->said.state]);
    } else if (guard->said.life != core->databases[db].instances[i].fact.life) {
        /* After a boot that it has not told yet a permit would be for the boot before. */
        text_format(text, size, "its guard has not reported yet since it was started again");
    }
    return text[0] != '\0';
}

/* What the candidate's guard says once it has seen the permit that was granted to it. */
static const struct guard_record *candidate_said(const struct core *core, int db)
{
    const struct permit_record *permit = &core->databases[db].permit;
    const struct move_record *move = core_move_of(core, db);
    int i = move == NULL ? -1 : node_instance(core, db, move->candidate);
    const struct guard_record *said = i < 0 || !is_guarded(core, db) ? NULL : guard_of(core, db, i);
    return said != NULL && strcmp(said->boot, permit->boot) == 0 &&
                   epoch_compare(said->epoch, permit->epoch) == 0
               ? said
               : NULL;
}

/* Nothing of it is left: it does not promote any more. */
bool the_guard_lost_it(const struct core *core, int db)
{
    const struct guard_record *said = candidate_said(core, db);
    return said != NULL && said->state == GUARD_STOPPED && said->crash[0] != '\0';
}

/* The permit is for the boot of an earlier report: the latest one is of another. */
bool the_guard_was_rebooted(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    int i = move == NULL ? -1 : node_instance(core, db, move->candidate);
    const struct guard_record *said = i < 0 || !is_guarded(core, db) ? NULL : guard_of(core, db, i);
    return said != NULL && strcmp(said->boot, core->databases[db].permit.boot) != 0;
}

/* Counted from when it was asked, or this controller took that up; its renewals are words, too. */
bool the_guard_is_silent(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct move_record *move = core_move_of(core, db);
    int i = move == NULL ? -1 : node_instance(core, db, move->candidate);
    if (i < 0 || !is_guarded(core, db)) {
        return false;
    }
    uint64_t heard = d->instances[i].guard.heard_ms;
    if (d->renewal.known && epoch_compare(d->renewal.said.epoch, d->permit.epoch) == 0 &&
        d->renewal.heard_ms > heard) {
        heard = d->renewal.heard_ms;
    }
    heard = d->step_started_ms > heard ? d->step_started_ms : heard;
    return core->now_ms - heard > REPORT_MS;
}

static const struct guard_record *candidate_said_primary(const struct core *core, int db)
{
    const struct guard_record *said = candidate_said(core, db);
    return said != NULL && said->role == ROLE_PRIMARY && said->state == GUARD_RUNNING ? said : NULL;
}

bool the_guard_promoted(const struct core *core, int db)
{
    const struct guard_record *said = candidate_said_primary(core, db);
    return said != NULL && said->wrote;
}

/* Standbys follow it only once it is the recorded primary: its first write may wait for that. */
bool the_guard_promoted_and_waits(const struct core *core, int db)
{
    const struct guard_record *said = candidate_said_primary(core, db);
    return said != NULL && !said->wrote && sync_may_wait(core, db);
}

bool the_guard_forked(const struct core *core, int db)
{
    const struct guard_record *said = candidate_said_primary(core, db);
    const struct move_record *move = core_move_of(core, db);
    return said != NULL &&
           (said->timeline != move_timeline(move) || said->system_id != move->system_id);
}

/* ---- guards begin to guard, and what each instance shall be ---- */

void declare_roles(struct core *core, int db, const char *primary)
{
    struct database_record *record = db_record(core, db);
    const struct move_record *move = core_move_of(core, db);
    record->roles_len = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const char *node = instance_node(core, db, i);
        struct role_record *role = &record->roles[record->roles_len++];
        memset(role, 0, sizeof *role);
        text_copy(role->node, sizeof role->node, node);
        bool fenced = move != NULL && was_fenced(move, node);
        bool burnt = false;
        for (int b = 0; b < record->burnt_len; b++) {
            burnt = burnt || strcmp(record->burnt[b], node) == 0;
        }
        if (strcmp(node, primary) == 0) {
            role->role = DECLARED_PRIMARY;
        } else if (fenced || burnt) {
            role->role = DECLARED_DOWN; /* until it is rejoined or rebuilt */
        } else {
            role->role = DECLARED_STANDBY;
            text_copy(role->upstream, sizeof role->upstream, primary);
        }
    }
}

static void adoption_refuses(const struct core *core, int db, int i, char *why, size_t size)
{
    const struct database_state *d = &core->databases[db];
    const struct guard_view *guard = &d->instances[i].guard;
    enum role role = i == core_primary(core, db) ? ROLE_PRIMARY : ROLE_STANDBY;
    why[0] = '\0';
    if (!node_has_method(node_of(core, db, i), FENCE_GUARD)) {
        text_format(why, size, "the definition has no level with method: guard for it");
    } else if (!guard->known || core->now_ms - guard->heard_ms > REPORT_MS) {
        text_format(why, size, "its guard has not reported within %d s", REPORT_MS / 1000);
    } else if (guard->said.state != GUARD_RUNNING || guard->said.role != role) {
        text_format(why, size, "its guard says %s, %s; needed is running, %s",
                    guard_state_names[guard->said.state], role_names[guard->said.role],
                    role_names[role]);
    } else if (guard->said.system_id != d->permit.system_id) {
        text_format(why, size, "its guard says system id %llu, the permit's is %llu",
                    (unsigned long long)guard->said.system_id,
                    (unsigned long long)d->permit.system_id);
    }
}

bool adopt_refused(const struct core *core, int db, char *text, size_t size)
{
    const struct database_state *d = &core->databases[db];
    text[0] = '\0';
    if (d->state != DB_NORMAL || core_primary(core, db) < 0) {
        text_format(text, size, "it is %s; needed is normal", db_state_names[d->state]);
        return true;
    }
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        char why[TEXT_SIZE];
        size_t used = strnlen(text, size);
        adoption_refuses(core, db, i, why, sizeof why);
        if (why[0] != '\0' && used + 8 < size) {
            text_format(text + used, size - used, "%s%s: %s", used > 0 ? "; " : "",
                        instance_node(core, db, i), why);
        }
    }
    return text[0] != '\0';
}

/*
 * A new epoch that names the holder's boot: from its first accepted renewal on the guards guard
 * (design §4). Done again, it declares the roles anew, and no epoch is spent.
 */
void adopt_guards(struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    if (!is_guarded(core, db)) {
        struct permit_record before = d->permit;
        bool enforced = core_sync_enforced(core, db);
        permit_grant(core, db, instance_node(core, db, primary), d->permit.system_id,
                     d->permit.timeline, d->instances[primary].guard.said.boot, 0);
        sync_at_adoption(core, db, &before, enforced);
    }
    declare_roles(core, db, instance_node(core, db, primary));
    dirty_group(core, db_group(core, db));
}

/* ---- evidence that is seen ---- */

static const struct fence_level_def *level_of(const struct node_def *node, enum fence_method method)
{
    for (int i = 0; i < node->levels_len; i++) {
        if (node->levels[i].method == method) {
            return &node->levels[i];
        }
    }
    return NULL;
}

/* The instance that is being fenced, when its revocation is recorded and nothing is being saved. */
static int fenced_instance(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct move_record *move = core_move_of(core, db);
    return move == NULL || d->awaits != 0 || d->permit.state != PERMIT_REVOKED || d->revoked_ms == 0
               ? -1
               : node_instance(core, db, move->fence_node);
}

bool the_guard_reports_it_gone(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    int i = fenced_instance(core, db);
    const struct guard_record *said = i < 0 ? NULL : guard_of(core, db, i);
    return said != NULL && said->state == GUARD_STOPPED && said->stopped_for != 0 &&
           said->stopped_for == d->permit_revision;
}

static bool in_list(const char names[][NAME_SIZE], int len, const char *name)
{
    for (int i = 0; i < len; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool may_count_time(const struct core *core, const struct permit_record *permit)
{
    return in_list(permit->promisers, permit->promisers_len, core->id) &&
           (!permit->changing || in_list(permit->before, permit->before_len, core->id));
}

uint64_t permit_ends_ms(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct permit_record *permit = &d->permit;
    int i = fenced_instance(core, db);
    bool counts = i >= 0 && node_has_method(node_of(core, db, i), FENCE_PERMIT) &&
                  permit->boot[0] != '\0' &&
                  strcmp(permit->node, instance_node(core, db, i)) == 0 &&
                  core->def.policy.when_blind == BLIND_STOP && may_count_time(core, permit) &&
                  core->seen_revision >= d->permit_revision && d->renewal.known &&
                  d->renewal.said.armed && strcmp(d->renewal.said.boot, permit->boot) == 0 &&
                  epoch_compare(d->renewal.said.epoch, permit->epoch) == 0;
    if (!counts) {
        return NEVER;
    }
    uint64_t from = d->promised_ms > d->revoked_ms ? d->promised_ms : d->revoked_ms;
    return from + permit_sum_ms(permit->d_ms, permit->w_ms, permit->k_ms);
}

bool the_permits_time_has_passed(const struct core *core, int db)
{
    return core->now_ms >= permit_ends_ms(core, db);
}

/*
 * A candidate was a standby, and is promoted by its guard alone, after an accepted renewal under
 * the very document that grants. None was accepted when the watch has passed the revocation and
 * has brought no renewal of that epoch; and none is after that. Not so for a primary that runs
 * already when it is granted a permit.
 */
bool the_permit_was_never_taken_up(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct permit_record *permit = &d->permit;
    const struct move_record *move = core_move_of(core, db);
    int i = fenced_instance(core, db);
    if (i < 0 || !node_has_method(node_of(core, db, i), FENCE_PERMIT) || permit->boot[0] == '\0' ||
        strcmp(permit->node, instance_node(core, db, i)) != 0 ||
        strcmp(move->from, permit->node) == 0) {
        return false;
    }
    const struct instance_fact *fact = &d->instances[i].fact;
    return core->seen_revision >= d->permit_revision && d->renewal.known &&
           epoch_compare(d->renewal.said.epoch, permit->epoch) < 0 &&
           !(fact->answered && fact->role == ROLE_PRIMARY);
}

static int standbys_cut(const struct core *core, int db, const struct sync_entry_record *entry)
{
    const struct database_state *d = &core->databases[db];
    int cut = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct guard_record *said = guard_of(core, db, i);
        if (said != NULL && said->cut_for != 0 && said->cut_for == d->permit_revision &&
            in_list(entry->members, entry->members_len,
                    core->def.databases[db].instances[i].name)) {
            cut++;
        }
    }
    return cut;
}

/*
 * Of each entry n - k + 1 standbys have stopped receiving: any k that could acknowledge a commit
 * would need one of them. It only shortens a fence that runs already (design §7).
 */
bool enough_standbys_are_cut(const struct core *core, int db)
{
    int i = fenced_instance(core, db);
    const struct move_record *move = core_move_of(core, db);
    int len = 0;
    const struct sync_entry_record *entries = i < 0 ? NULL : sync_counted(core, db, &len);
    /* They are the replaced primary's: of a candidate that failed nothing was proven. */
    if (len == 0 || strcmp(move->fence_node, move->from) != 0) {
        return false;
    }
    const struct node_def *node = node_of(core, db, i);
    bool beside = permit_ends_ms(core, db) != NEVER || node_has_method(node, FENCE_AGENT);
    if (!beside || !node_has_method(node, FENCE_REPLICATION)) {
        return false;
    }
    for (int e = 0; e < len; e++) {
        if (standbys_cut(core, db, &entries[e]) < entries[e].members_len - entries[e].k + 1) {
            return false;
        }
    }
    return true;
}

static void record_seen(struct core *core, int db, enum fence_method method,
                        enum evidence_kind kind, const char *words)
{
    struct move_record *move = core_move(core, db);
    int i = node_instance(core, db, move->fence_node);
    const struct fence_level_def *level = level_of(node_of(core, db, i), method);
    if (move->evidence_len == EVIDENCE_MAX) {
        move->evidence_len--; /* the latest is the one that counts */
    }
    struct evidence_record *evidence = &move->evidence[move->evidence_len++];
    memset(evidence, 0, sizeof *evidence);
    evidence->kind = kind;
    text_copy(evidence->node, sizeof evidence->node, move->fence_node);
    text_copy(evidence->level, sizeof evidence->level, level == NULL ? "" : level->name);
    text_copy(evidence->detail, sizeof evidence->detail, words);
    record_evidence(core, db);
}

/*
 * The guard had its time, or is silent: now the levels run. They may take the whole node, so every
 * other primary there is revoked and moved first (design §7), and that is recorded before they
 * start.
 */
void fence_the_node(struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    core->databases[db].retry_ms = 0;
    join_neighbours(core, db, definition_node(&core->def, move->fence_node));
    await_save(core, db, dirty_group(core, db_group(core, db)));
}

void record_guard(struct core *core, int db)
{
    record_seen(core, db, FENCE_GUARD, EVIDENCE_GUARD,
                "no process with that data directory exists, and the permit is dropped");
}

void record_time(struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    char words[REASON_SIZE];
    text_format(words, sizeof words,
                "(%u + %u + %u) ms, 1 %% and 200 ms have passed since %s; its watchdog was armed",
                d->permit.d_ms, d->permit.w_ms, d->permit.k_ms,
                d->promised_ms > d->revoked_ms ? "this controller's last promise"
                                               : "the revocation was confirmed");
    record_seen(core, db, FENCE_PERMIT, EVIDENCE_PERMIT, words);
}

void record_unused(struct core *core, int db)
{
    record_seen(core, db, FENCE_PERMIT, EVIDENCE_PERMIT,
                "no renewal under its permit was accepted before the revocation: it was never "
                "promoted under it");
}

void record_cut(struct core *core, int db)
{
    record_seen(core, db, FENCE_REPLICATION, EVIDENCE_REPLICATION,
                "of each sync entry enough standbys have durably stopped receiving from it");
}

/* ---- the tier ---- */

const char *core_tier(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    int guards = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        guards += guard_is_heard(core, db, i) ? 1 : 0;
    }
    bool guarded = is_guarded(core, db) && primary >= 0 && guard_is_heard(core, db, primary);
    bool armed = d->renewal.known && d->renewal.said.armed &&
                 epoch_compare(d->renewal.said.epoch, d->permit.epoch) == 0;
    if (guarded && armed && guards == core->def.databases[db].instances_len &&
        core_sync_enforced(core, db)) {
        return "strict";
    }
    bool proven =
        guarded || (primary >= 0 && (node_has_method(node_of(core, db, primary), FENCE_AGENT) ||
                                     node_has_method(node_of(core, db, primary), FENCE_COMMAND)));
    return proven ? "fenced" : "best effort";
}

/* ---- promises ---- */

bool core_promise(struct core *core, const struct promise_question *question, uint64_t now_ms,
                  char *ret_reason, size_t size)
{
    int db = definition_database(&core->def, question->database);
    struct database_state *d = db < 0 ? NULL : &core->databases[db];
    core->now_ms = now_ms > core->now_ms ? now_ms : core->now_ms;
    if (d == NULL) {
        text_format(ret_reason, size, "there is no database %s", question->database);
    } else if (!d->permit_known) {
        text_format(ret_reason, size, "this controller does not know the permit of %s now",
                    question->database);
    } else if (d->permit.state != PERMIT_GRANTED) {
        text_format(ret_reason, size, "the permit of %s is revoked", question->database);
    } else if (epoch_compare(d->permit.epoch, question->epoch) != 0) {
        text_format(ret_reason, size, "the permit of %s is of epoch %llu.%llu, asked was %llu.%llu",
                    question->database, (unsigned long long)d->permit.epoch.incarnation,
                    (unsigned long long)d->permit.epoch.counter,
                    (unsigned long long)question->epoch.incarnation,
                    (unsigned long long)question->epoch.counter);
    } else if (strcmp(d->permit.node, question->node) != 0 ||
               strcmp(d->permit.boot, question->boot) != 0) {
        text_format(ret_reason, size, "the permit of %s is for %s, in another life of it",
                    question->database, d->permit.node);
    } else {
        d->promised_ms = core->now_ms;
        ret_reason[0] = '\0';
        return true;
    }
    return false;
}

/* The controllers that can be asked now, in the order of their names: each writes the same list. */
static int wanted_promisers(const struct core *core, char ret[PROMISERS_MAX][NAME_SIZE])
{
    int len = 0;
    if (core->promises) {
        text_copy(ret[len++], NAME_SIZE, core->id);
    }
    for (int p = 0; p < PEERS_MAX && len < PROMISERS_MAX; p++) {
        const struct peer_state *peer = &core->peers[p];
        if (peer->used && peer->present && strncmp(peer->view.api, "https://", 8) == 0) {
            text_copy(ret[len++], NAME_SIZE, peer->view.id);
        }
    }
    for (int i = 1; i < len; i++) {
        for (int j = i; j > 0 && strcmp(ret[j], ret[j - 1]) < 0; j--) {
            char name[NAME_SIZE];
            memcpy(name, ret[j], NAME_SIZE);
            memcpy(ret[j], ret[j - 1], NAME_SIZE);
            memcpy(ret[j - 1], name, NAME_SIZE);
        }
    }
    return len;
}

void fill_promisers(const struct core *core, struct permit_record *permit)
{
    memset(permit->promisers, 0, sizeof permit->promisers);
    memset(permit->before, 0, sizeof permit->before);
    permit->before_len = 0;
    permit->changing = false;
    permit->promisers_len = wanted_promisers(core, permit->promisers);
}

static bool same_list(const char a[][NAME_SIZE], int a_len, const char b[][NAME_SIZE], int b_len)
{
    for (int i = 0; i < a_len && a_len == b_len; i++) {
        if (strcmp(a[i], b[i]) != 0) {
            return false;
        }
    }
    return a_len == b_len;
}

/*
 * The list follows who can be asked. One change at a time: the list before counts as well, until
 * the holder is seen to have renewed under the new one (design §7).
 */
void promisers_review(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    struct permit_record *permit = &d->permit;
    char wanted[PROMISERS_MAX][NAME_SIZE] = {{0}};
    /* Not while a save is under way: the revision that we know must be of the list that we know. */
    if (d->state != DB_NORMAL || !is_guarded(core, db) || d->permit_dirty ||
        permit->state != PERMIT_GRANTED || core->ticket_in_flight != 0) {
        return;
    }
    if (permit->changing) {
        bool renewed = d->renewal.known && d->renewal.said.permit_revision == d->permit_revision &&
                       epoch_compare(d->renewal.said.epoch, permit->epoch) == 0;
        if (renewed) {
            memset(permit->before, 0, sizeof permit->before);
            permit->before_len = 0;
            permit->changing = false;
            dirty_permit(core, db);
        }
        return;
    }
    int len = wanted_promisers(core, wanted);
    if (same_list(permit->promisers, permit->promisers_len, wanted, len)) {
        return;
    }
    note(core, NOTE_INFO, "R-S3", db, -1, -1, "promises are now asked of %d controllers, not of %d",
         len, permit->promisers_len);
    memcpy(permit->before, permit->promisers, sizeof permit->before);
    permit->before_len = permit->promisers_len;
    permit->changing = true;
    memcpy(permit->promisers, wanted, sizeof permit->promisers);
    permit->promisers_len = len;
    dirty_permit(core, db);
}
