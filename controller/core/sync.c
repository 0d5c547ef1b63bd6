/*
 * sync.c - what commits wait for: the entries of the permit, and how they change (design §8, "Sync
 * entries"; what tests/model/sync.pml taught).
 *
 * The permit lists every entry that PostgreSQL may be enforcing; the last is the target. A change
 * of a guarded primary: the next target is listed behind those in force (R-S5 to R-S7); its guard
 * takes the permit over with an accepted renewal, changes PostgreSQL and proves it; it reports the
 * permit's revision; only then the others are dropped (R-S4). Nothing here waits: whoever leads
 * next finds all of it in the store.
 *
 *  - Each listed entry counts for a failover until it is dropped after a proof, and one that waits
 *    for nobody makes the database asynchronous from the moment it is listed.
 *  - Going back is a change of its own: what was recorded may be acted upon later. It takes the
 *    older entry to the end of the list, so the same set gets another target.
 *  - One place is kept for the entry that always can be enforced (none, or the declared one under
 *    `strict`), so that a chain of targets that nobody can prove does not stop commits for good.
 *  - What is wanted follows what the primary shows of its standbys, in its own words. Who has
 *    confirmed nothing for degrade_after is waited for no more, and is again once it has nearly all
 *    WAL and goes on confirming. `strict` never waits for fewer copies than declared: then commits
 * wait, and a person is called (alarms.c).
 *
 * Without a guard synchronous_standby_names is the operator's: the permit follows the definition
 * while nothing is seen to be enforced (R-S2), and what is seen decides what a failover proves
 * (R-S1).
 */
#include "controller/core/private.h"

#include <string.h>

#define JOIN_MS         1000                 /* streams for so long, to be waited for again */
#define CAUGHT_UP_BYTES (UINT64_C(16) << 20) /* a segment: commits would not wait long for it */

/* ---- entries ---- */

static bool lists_member(const struct sync_entry_record *entry, const char *name)
{
    for (int m = 0; m < entry->members_len; m++) {
        if (strcmp(entry->members[m], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_entry(const struct sync_entry_record *a, const struct sync_entry_record *b)
{
    if (a->k != b->k || a->members_len != b->members_len || (a->k > 0 && a->first != b->first)) {
        return false;
    }
    for (int m = 0; m < a->members_len; m++) {
        if (strcmp(a->members[m], b->members[m]) != 0) {
            return false;
        }
    }
    return true;
}

/* Would `a` be that one with standbys left out? */
static bool is_within(const struct sync_entry_record *a, const struct sync_entry_record *b)
{
    for (int m = 0; m < a->members_len; m++) {
        if (!lists_member(b, a->members[m])) {
            return false;
        }
    }
    return a->k == 0 || (a->k <= b->k && a->first == b->first);
}

static void add_member(struct sync_entry_record *entry, const char *name)
{
    text_copy(entry->members[entry->members_len++], NAME_SIZE, name);
}

/*
 * What the definition declares, for this holder: a primary is no standby of itself, so it waits for
 * as many of the others as are left. k = 0: for nobody.
 */
static void declared_entry(const struct core *core, int db, const char *holder,
                           struct sync_entry_record *ret)
{
    const struct database_def *def = &core->def.databases[db];
    const struct sync_entry_def *declared = &def->sync[0];
    int primary = node_instance(core, db, holder);
    memset(ret, 0, sizeof *ret);
    if (def->durability == DURABILITY_ASYNC || def->sync_len == 0) {
        return;
    }
    for (int m = 0; m < declared->members_len; m++) {
        if (declared->members[m] != primary) {
            add_member(ret, def->instances[declared->members[m]].name);
        }
    }
    ret->k = declared->k < ret->members_len ? declared->k : ret->members_len;
    ret->first = ret->k > 0 && declared->first;
}

const struct sync_entry_record *sync_target(const struct permit_record *permit)
{
    return permit->sync_len > 0 ? &permit->sync[permit->sync_len - 1] : NULL;
}

/* As synchronous_standby_names says it. */
void sync_entry_words(const struct sync_entry_record *entry, char *text, size_t size)
{
    if (entry == NULL || entry->k == 0) {
        text_copy(text, size, "nobody");
        return;
    }
    text_format(text, size, "%s %d (", entry->first ? "FIRST" : "ANY", entry->k);
    for (int m = 0; m <= entry->members_len; m++) {
        size_t used = strnlen(text, size);
        text_format(text + used, size - used, "%s%s", m > 0 && m < entry->members_len ? ", " : "",
                    m < entry->members_len ? entry->members[m] : ")");
    }
}

static int listed_at(const struct permit_record *permit, const struct sync_entry_record *entry)
{
    for (int e = 0; e < permit->sync_len; e++) {
        if (same_entry(&permit->sync[e], entry)) {
            return e;
        }
    }
    return -1;
}

/* To the end of the list, once; there is room. */
static void list_last(struct permit_record *permit, const struct sync_entry_record *entry)
{
    struct sync_entry_record last = *entry;
    int at = listed_at(permit, entry);
    if (at >= 0) {
        memmove(&permit->sync[at], &permit->sync[at + 1],
                sizeof permit->sync[0] * (size_t)(permit->sync_len - at - 1));
        permit->sync_len--;
    }
    permit->sync[permit->sync_len++] = last;
}

static void list_alone(struct permit_record *permit, const struct sync_entry_record *entry)
{
    struct sync_entry_record only = *entry;
    memset(permit->sync, 0, sizeof permit->sync);
    permit->sync[0] = only;
    permit->sync_len = 1;
}

/* ---- what counts for a failover ---- */

bool core_sync_enforced(const struct core *core, int db)
{
    const struct database_record *record = db_record_of(core, db);
    const struct permit_record *permit = &core->databases[db].permit;
    for (int e = 0; e < permit->sync_len; e++) {
        if (permit->sync[e].k == 0) {
            return false; /* it may be in force: nothing is waited for then */
        }
    }
    return record != NULL && record->sync_enforced && permit->sync_len > 0;
}

/*
 * Of each of these entries n - k + 1 members must be heard. In a move they are those of the primary
 * that is replaced, whoever has held the permit since; none: asynchronous.
 */
const struct sync_entry_record *sync_counted(const struct core *core, int db, int *ret_len)
{
    const struct move_record *move = core_move_of(core, db);
    const struct permit_record *permit = &core->databases[db].permit;
    if (move != NULL && move->phase < PHASE_REDIRECT && move->sync_len > 0) {
        *ret_len = move->sync_len;
        return move->sync;
    }
    *ret_len = core_sync_enforced(core, db) ? permit->sync_len : 0;
    return permit->sync;
}

bool sync_proves(const struct core *core, int db)
{
    int len;
    (void)sync_counted(core, db, &len);
    return len > 0;
}

/* Into the record of a move that begins: its candidate's permit will list other entries. */
void sync_keep(const struct core *core, int db, struct move_record *move)
{
    const struct permit_record *permit = &core->databases[db].permit;
    move->sync_len = core_sync_enforced(core, db) ? permit->sync_len : 0;
    memcpy(move->sync, permit->sync, sizeof move->sync[0] * (size_t)move->sync_len);
}

/* Its guarded holder may have to wait for standbys that do not follow yet, with its first write
 * too. */
bool sync_may_wait(const struct core *core, int db)
{
    const struct sync_entry_record *target = sync_target(&core->databases[db].permit);
    return is_guarded(core, db) && target != NULL && target->k > 0;
}

/* ---- what a permit begins with ---- */

/*
 * A guard writes the names before PostgreSQL starts or is promoted under the permit. Nobody follows
 * a new primary yet, so under `sync` it begins with none, which is seen ("degraded"), and waits for
 * standbys once they follow. One that only goes on has the standbys that it had.
 */
void sync_at_grant(struct core *core, int db)
{
    struct permit_record *permit = &core->databases[db].permit;
    struct database_record *record = db_record(core, db);
    struct sync_entry_record declared;
    struct sync_entry_record none = {0};
    declared_entry(core, db, permit->node, &declared);
    memset(permit->sync, 0, sizeof permit->sync);
    permit->sync_len = 0;
    if (permit->boot[0] == '\0') {
        if (declared.k > 0) {
            list_alone(permit, &declared);
        }
        return;
    }
    bool strict = core->def.databases[db].durability == DURABILITY_STRICT;
    bool goes_on = strcmp(record->primary, permit->node) == 0;
    record->sync_enforced = false; /* until its guard has proven it */
    if (core->def.databases[db].durability != DURABILITY_ASYNC) {
        list_alone(permit, strict || goes_on ? &declared : &none);
    }
}

static bool wanted_entry(const struct core *core, int db, struct sync_entry_record *ret);

/*
 * The first permit of a running primary whose guard begins to guard. What it enforced until now may
 * be in force; where that was not seen to be the permit's own, it may be anything: none.
 */
void sync_at_adoption(struct core *core, int db, const struct permit_record *before, bool enforced)
{
    struct permit_record *permit = &core->databases[db].permit;
    struct sync_entry_record none = {0};
    struct sync_entry_record wanted;
    if (core->def.databases[db].durability == DURABILITY_ASYNC && !enforced) {
        return;
    }
    list_alone(permit, &none);
    if (enforced) {
        memcpy(permit->sync, before->sync, sizeof permit->sync);
        permit->sync_len = before->sync_len;
    }
    db_record(core, db)->sync_enforced = enforced;
    (void)wanted_entry(core, db, &wanted);
    if (permit->sync_len < SYNC_ENTRIES_MAX && !same_entry(sync_target(permit), &wanted)) {
        list_last(permit, &wanted);
    }
}

/* ---- who streams ---- */

static const struct standby_fact *row_of(const struct instance_fact *fact, const char *name)
{
    for (int s = 0; s < fact->standbys_len; s++) {
        if (strcmp(fact->standbys[s].name, name) == 0) {
            return &fact->standbys[s];
        }
    }
    return NULL;
}

/*
 * Since when each standby confirms what the recorded primary writes, or does not, in the primary's
 * words. That it streams is not enough: a walsender outlives a silent link by wal_sender_timeout,
 * while commits wait. A follower counts too. What was not looked at for a while begins anew.
 */
void sync_watch(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    const struct instance_fact *fact = primary < 0 ? NULL : &d->instances[primary].fact;
    if (fact == NULL || !fact->answered || fact->role != ROLE_PRIMARY ||
        (d->watched == primary + 1 && d->watched_ms == fact->answered_ms)) {
        return;
    }
    bool anew =
        d->watched != primary + 1 || fact->answered_ms - d->watched_ms > fresh_limit_ms(core);
    d->watched = primary + 1;
    d->watched_ms = fact->answered_ms;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct standby_fact *row = row_of(fact, core->def.databases[db].instances[i].name);
        uint64_t flushed = row != NULL && row->streaming ? row->flush_lsn : 0;
        bool confirms =
            flushed > 0 && (anew || flushed > d->flushed_lsn[i] || flushed >= fact->write_lsn);
        bool near = confirms && flushed + CAUGHT_UP_BYTES >= fact->write_lsn;
        d->flushed_lsn[i] = flushed;
        if (!near) {
            d->follows_ms[i] = 0;
        } else if (anew || d->follows_ms[i] == 0) {
            d->follows_ms[i] = fact->answered_ms;
        }
        if (confirms) {
            d->gone_ms[i] = 0;
        } else if (anew || d->gone_ms[i] == 0) {
            d->gone_ms[i] = fact->answered_ms;
        }
    }
}

/* ---- what is wanted ---- */

static bool is_waited_for(const struct core *core, int db, int i)
{
    const struct database_state *d = &core->databases[db];
    const struct database_def *def = &core->def.databases[db];
    const struct sync_entry_record *target = sync_target(&d->permit);
    if (target != NULL && lists_member(target, def->instances[i].name)) {
        return d->gone_ms[i] == 0 || core->now_ms - d->gone_ms[i] < def->degrade_after_ms;
    }
    return d->follows_ms[i] != 0 && core->now_ms - d->follows_ms[i] >= JOIN_MS;
}

/* True: it is all that is declared for its holder. */
static bool wanted_entry(const struct core *core, int db, struct sync_entry_record *ret)
{
    const struct database_def *def = &core->def.databases[db];
    struct sync_entry_record kept = {0};
    declared_entry(core, db, core->databases[db].permit.node, ret);
    for (int m = 0; m < def->sync[0].members_len && ret->k > 0; m++) {
        const char *name = def->instances[def->sync[0].members[m]].name;
        if (lists_member(ret, name) && is_waited_for(core, db, def->sync[0].members[m])) {
            add_member(&kept, name);
        }
    }
    kept.k = ret->k < kept.members_len ? ret->k : kept.members_len;
    kept.first = kept.k > 0 && ret->first;
    bool enough = kept.k == ret->k;
    if (def->durability != DURABILITY_STRICT || enough) {
        *ret = kept;
    }
    return enough;
}

/* As many of its members as it waits for are there, or have been until lately. */
static bool is_served(const struct core *core, int db, const struct sync_entry_record *entry)
{
    int there = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        there += lists_member(entry, core->def.databases[db].instances[i].name) &&
                         is_waited_for(core, db, i)
                     ? 1
                     : 0;
    }
    return there >= entry->k;
}

/* A recent word of the recorded primary that this permit is for, and nothing is being written. */
static bool may_change(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    const struct instance_fact *fact = primary < 0 ? NULL : &d->instances[primary].fact;
    return fact != NULL && is_guarded(core, db) && d->permit.state == PERMIT_GRANTED &&
           strcmp(d->permit.node, instance_node(core, db, primary)) == 0 && d->awaits == 0 &&
           !d->permit_dirty && core->ticket_in_flight == 0 && fact->answered &&
           fact->role == ROLE_PRIMARY && core->now_ms - fact->answered_ms <= fresh_limit_ms(core);
}

/* The last place is for what can always be enforced. */
static bool has_room(const struct core *core, int db, const struct sync_entry_record *entry)
{
    const struct permit_record *permit = &core->databases[db].permit;
    struct sync_entry_record last = {0};
    if (core->def.databases[db].durability == DURABILITY_STRICT) {
        declared_entry(core, db, permit->node, &last);
    }
    bool kept = same_entry(entry, &last) || listed_at(permit, &last) >= 0;
    return listed_at(permit, entry) >= 0 ||
           permit->sync_len < (kept ? SYNC_ENTRIES_MAX : SYNC_ENTRIES_MAX - 1);
}

enum change { CHANGE_NONE, CHANGE_FEWER, CHANGE_MORE, CHANGE_DECLARED };

static enum change change_of(const struct core *core, int db, struct sync_entry_record *ret_wanted)
{
    const struct sync_entry_record none = {0};
    const struct sync_entry_record *target = sync_target(&core->databases[db].permit);
    struct sync_entry_record declared;
    if (!may_change(core, db)) {
        return CHANGE_NONE;
    }
    target = target == NULL ? &none : target;
    bool enough = wanted_entry(core, db, ret_wanted);
    declared_entry(core, db, core->databases[db].permit.node, &declared);
    if (same_entry(target, ret_wanted) || !has_room(core, db, ret_wanted)) {
        return CHANGE_NONE;
    } else if (!is_within(target, &declared)) {
        /* Not before the new standbys are there, while the old ones are. */
        return enough || !is_served(core, db, target) ? CHANGE_DECLARED : CHANGE_NONE;
    }
    return is_within(ret_wanted, target) ? CHANGE_FEWER : CHANGE_MORE;
}

/* ---- guards and actions of the table ---- */

bool standbys_are_missing(const struct core *core, int db)
{
    struct sync_entry_record wanted;
    return change_of(core, db, &wanted) == CHANGE_FEWER;
}

bool standbys_are_back(const struct core *core, int db)
{
    struct sync_entry_record wanted;
    return change_of(core, db, &wanted) == CHANGE_MORE;
}

bool another_entry_is_declared(const struct core *core, int db)
{
    struct sync_entry_record wanted;
    return change_of(core, db, &wanted) == CHANGE_DECLARED;
}

void list_entry(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    static const char *const rules[] = {"", "R-S5", "R-S6", "R-S7"}; /* by enum change */
    struct sync_entry_record none = {0};
    struct sync_entry_record wanted;
    char from[SYNC_NAMES_SIZE];
    char to[SYNC_NAMES_SIZE];
    const char *rule = rules[change_of(core, db, &wanted)];
    sync_entry_words(sync_target(&d->permit), from, sizeof from);
    sync_entry_words(&wanted, to, sizeof to);
    if (d->permit.sync_len == 0) {
        list_alone(&d->permit, &none); /* nothing was said: anything may be in force */
    }
    list_last(&d->permit, &wanted);
    d->entries_ms = core->now_ms;
    dirty_permit(core, db);
    note(core, NOTE_INFO, rule, db, -1, -1,
         "commits shall wait for %.100s, no more for %.100s; %d entries may be in force", to, from,
         d->permit.sync_len);
}

/* Its guard names the permit as it stands: the target is enforced, alone, in this life of it. */
static bool guard_has_proven(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    const struct guard_record *said = primary < 0 ? NULL : guard_of(core, db, primary);
    return said != NULL && said->sync_for != 0 && said->sync_for == d->permit_revision &&
           said->state == GUARD_RUNNING && said->role == ROLE_PRIMARY &&
           strcmp(said->boot, d->permit.boot) == 0 &&
           epoch_compare(said->epoch, d->permit.epoch) == 0;
}

bool the_entry_is_proven(const struct core *core, int db)
{
    return may_change(core, db) && core->databases[db].permit.sync_len > 1 &&
           guard_has_proven(core, db);
}

void drop_entries(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    struct sync_entry_record target = *sync_target(&d->permit);
    char words[SYNC_NAMES_SIZE];
    sync_entry_words(&target, words, sizeof words);
    note(core, NOTE_INFO, "R-S4", db, -1, -1,
         "commits wait for %.150s, and its guard has proven it", words);
    list_alone(&d->permit, &target);
    d->entries_ms = core->now_ms;
    db_record(core, db)->sync_enforced = target.k > 0;
    dirty_permit(core, db);
    dirty_group(core, db_group(core, db));
}

/* ---- what is seen ---- */

static void set_enforced(struct core *core, int db, bool enforced, const char *words)
{
    const struct instance_fact *fact = &core->databases[db].instances[core_primary(core, db)].fact;
    db_record(core, db)->sync_enforced = enforced;
    dirty_group(core, db_group(core, db));
    note(core, NOTE_INFO, "R-S1", db, -1, -1, "synchronous_standby_names is '%.150s': %s",
         fact->sync_names, words);
}

/* Somebody may have changed by hand what the guard had proven. */
static void review_guarded(struct core *core, int db, const struct instance_fact *fact)
{
    const struct database_state *d = &core->databases[db];
    const struct sync_entry_record *target = sync_target(&d->permit);
    bool enforced = db_record_of(core, db)->sync_enforced;
    bool seen = fact->sync_commit_on && sync_names_match(fact->sync_names, &d->permit);
    bool blocked = fact->sync_commit_on && sync_names_block(core, db, fact);
    if (fact->asked_ms < d->entries_ms || fact->asked_ms < d->since_ms || target == NULL) {
        return;
    }
    if (enforced && !seen && !blocked) {
        set_enforced(core, db, false,
                     fact->sync_commit_on
                         ? "it is none of the permit's entries; counts as asynchronous"
                         : "but synchronous_commit is off; counts as asynchronous");
    } else if (!enforced && seen && d->permit.sync_len == 1 && target->k > 0 &&
               may_change(core, db) && guard_has_proven(core, db)) {
        set_enforced(core, db, true, "the permit's entry is enforced");
    }
}

static bool permit_redeclare(struct core *core, int db)
{
    struct permit_record *permit = &core->databases[db].permit;
    struct sync_entry_record declared;
    declared_entry(core, db, permit->node, &declared);
    bool same = declared.k == 0 ? permit->sync_len == 0
                                : permit->sync_len == 1 && same_entry(&permit->sync[0], &declared);
    if (same) {
        return false;
    }
    memset(permit->sync, 0, sizeof permit->sync);
    permit->sync_len = 0;
    if (declared.k > 0) {
        list_alone(permit, &declared);
    }
    dirty_permit(core, db);
    return true;
}

/*
 * The entries that a definition declares anew are listed once the primary is not seen to enforce
 * the old ones: what counts as asynchronous loses nothing by it, and the new entry counts when it
 * is seen enforced.
 */
static void review_unguarded(struct core *core, int db, const struct instance_fact *fact)
{
    const struct permit_record *permit = &core->databases[db].permit;
    bool before = db_record_of(core, db)->sync_enforced;
    bool enforced =
        fact->sync_commit_on && permit->sync_len == 1 && sync_names_match(fact->sync_names, permit);
    if (!enforced && !before && permit_redeclare(core, db)) {
        note(core, NOTE_INFO, "R-S2", db, -1, -1,
             "the permit lists the sync entry that the definition declares now");
        return;
    }
    int in_sync = 0;
    for (int i = 0; i < fact->standbys_len; i++) {
        in_sync += fact->standbys[i].sync ? 1 : 0;
    }
    /* Coming from nothing, the setting may show before commits wait (recipes: the checkpointer's
     * reload). */
    if (enforced != before && (before || in_sync >= permit->sync[0].k)) {
        set_enforced(core, db, enforced,
                     enforced ? "the permit's entry is enforced"
                              : "it is not the permit's entry; counts as asynchronous");
    }
}

void durability_review(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    if (primary < 0 || d->state != DB_NORMAL || db_record_of(core, db) == NULL) {
        return;
    }
    const struct instance_fact *fact = &d->instances[primary].fact;
    if (!fact->answered || fact->role != ROLE_PRIMARY ||
        core->now_ms - fact->answered_ms > fresh_limit_ms(core)) {
        return;
    }
    if (is_guarded(core, db)) {
        review_guarded(core, db, fact);
    } else {
        review_unguarded(core, db, fact);
    }
}

/* ---- for status and alarms ---- */

void core_sync(const struct core *core, int db, struct sync_view *ret)
{
    const struct database_state *d = &core->databases[db];
    const struct permit_record *permit = &d->permit;
    const struct sync_entry_record *target = sync_target(permit);
    const struct sync_entry_record none = {0};
    struct sync_entry_record declared;
    memset(ret, 0, sizeof *ret);
    declared_entry(core, db, permit->node, &declared);
    sync_entry_words(&declared, ret->declared, sizeof ret->declared);
    sync_entry_words(target, ret->target, sizeof ret->target);
    ret->entries = permit->sync_len;
    ret->enforced = core_sync_enforced(core, db);
    target = target == NULL ? &none : target;
    ret->degraded =
        is_guarded(core, db) && core->def.databases[db].durability != DURABILITY_ASYNC &&
        (declared.k == 0 || (!same_entry(target, &declared) && is_within(target, &declared)));
    ret->since_ms = d->entries_ms > d->since_ms ? d->entries_ms : d->since_ms;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        bool member = lists_member(&declared, core->def.databases[db].instances[i].name);
        ret->confirming += member && d->watched != 0 && d->gone_ms[i] == 0 ? 1 : 0;
    }
    ret->k = declared.k;
    ret->members = declared.members_len;
}
