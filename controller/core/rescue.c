/*
 * rescue.c - see rescue.h. The happy path of a database: records -> who runs -> the checks -> the
 * permit and the record as they are to be written.
 */
#include "controller/core/rescue.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "controller/core/private.h"

struct view { /* of one database, while it is looked at */
    const struct definition *def;
    int db;
    const struct rescue_database *found;
    const struct rescue_records *records; /* the chosen source's */
    bool guarded;
    struct rescue_plan *plan;
    struct rescue_choice *choice;
};

static const char *node_name(const struct view *view, int i)
{
    return view->def->nodes[view->def->databases[view->db].instances[i].node].name;
}

static int instance_at(const struct view *view, const char *node)
{
    for (int i = 0; i < view->def->databases[view->db].instances_len; i++) {
        if (strcmp(node_name(view, i), node) == 0) {
            return i;
        }
    }
    return -1;
}

static void refuse(const struct view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void refuse(const struct view *view, const char *format, ...)
{
    struct rescue_plan *plan = view->plan;
    va_list args;
    view->choice->holder = -1;
    if (plan->reasons_len == RESCUE_REASONS_MAX) {
        plan->reasons_more++;
        return;
    }
    char *text = plan->reasons[plan->reasons_len++];
    text_format(text, REASON_SIZE, "%s: ", view->def->databases[view->db].name);
    size_t used = strnlen(text, REASON_SIZE);
    va_start(args, format);
    (void)vsnprintf(text + used, REASON_SIZE - used, format, args);
    va_end(args);
}

/* ---- the records ---- */

static struct epoch higher(struct epoch a, struct epoch b)
{
    return epoch_compare(a, b) >= 0 ? a : b;
}

/* The one whose permit is of the higher epoch; on a tie the copy, which was made while etcd lived.
 */
static enum rescue_source newer(const struct rescue_database *found)
{
    const struct rescue_records *store = &found->store, *copy = &found->copy;
    if (!copy->has_permit || !copy->has_record) {
        return RESCUE_STORE;
    }
    if (!store->has_permit || !store->has_record) {
        return RESCUE_COPY;
    }
    return epoch_compare(store->permit.epoch, copy->permit.epoch) > 0 ? RESCUE_STORE : RESCUE_COPY;
}

static bool look_at_records(struct view *view)
{
    const struct rescue_database *found = view->found;
    struct rescue_choice *choice = view->choice;
    choice->source = newer(found);
    view->records = choice->source == RESCUE_STORE ? &found->store : &found->copy;
    view->guarded = (found->store.has_permit && found->store.permit.boot[0] != '\0') ||
                    (found->copy.has_permit && found->copy.permit.boot[0] != '\0');
    for (int i = 0; i < view->def->databases[view->db].instances_len; i++) {
        const struct rescue_instance *instance = &found->instances[i];
        view->guarded =
            view->guarded || (instance->reported && instance->said.mode == GUARD_GUARDING);
        if (instance->reported) {
            choice->highest = higher(choice->highest, instance->said.epoch);
        }
    }
    if (found->store.has_permit) {
        choice->highest = higher(choice->highest, found->store.permit.epoch);
    }
    if (found->copy.has_permit) {
        choice->highest = higher(choice->highest, found->copy.permit.epoch);
    }
    bool there = view->records->has_permit && view->records->has_record &&
                 view->records->record.primary[0] != '\0';
    if (!there && (view->guarded || found->store.has_permit || found->copy.has_permit)) {
        refuse(view, "neither etcd nor the copy has both its permit and its record; give another "
                     "copy by --from");
    }
    return there;
}

/* ---- the world ---- */

static bool says_primary(const struct rescue_instance *instance)
{
    bool guard = instance->reported && instance->said.state == GUARD_RUNNING &&
                 instance->said.role == ROLE_PRIMARY;
    return guard ||
           (instance->asked && instance->fact.answered && instance->fact.role == ROLE_PRIMARY);
}

/* Why it is not known what runs there; "": it is. */
static void unknown(const struct view *view, int i, char *why, size_t size)
{
    const struct rescue_instance *instance = &view->found->instances[i];
    const struct guard_record *said = &instance->said;
    bool answered = instance->asked && instance->fact.answered;
    why[0] = '\0';
    if (instance->is_off || says_primary(instance)) {
        return;
    }
    if (!view->guarded && !instance->reported) {
        if (!answered) {
            text_format(why, size, "PostgreSQL on %s does not answer (%s)", node_name(view, i),
                        instance->asked ? cause_names[instance->fact.cause] : "not asked");
        }
    } else if (!instance->reported) {
        text_format(why, size, "the guard of %s does not answer%s", node_name(view, i),
                    answered ? ", though PostgreSQL there does, as a standby" : "");
    } else if (said->state != GUARD_STOPPED &&
               (said->state != GUARD_RUNNING || said->role == ROLE_UNKNOWN)) {
        text_format(why, size, "its instance on %s is %s; ask again when that is over",
                    node_name(view, i), guard_state_names[said->state]);
    }
}

static uint32_t timeline_of(const struct rescue_instance *instance)
{
    if (instance->asked && instance->fact.answered) {
        return instance->fact.timeline;
    }
    if (!instance->reported) {
        return 0;
    }
    return instance->said.state == GUARD_STOPPED ? instance->said.checkpoint_timeline
                                                 : instance->said.timeline;
}

static uint64_t system_id_of(const struct rescue_instance *instance)
{
    return instance->asked && instance->fact.answered ? instance->fact.system_id
           : instance->reported                       ? instance->said.system_id
                                                      : 0;
}

/* ---- who holds the permit ---- */

static int count_primaries(struct view *view)
{
    int len = 0;
    char names[128] = "";
    for (int i = 0; i < view->def->databases[view->db].instances_len; i++) {
        if (says_primary(&view->found->instances[i])) {
            size_t used = strnlen(names, sizeof names);
            text_format(names + used, sizeof names - used, "%s%s", len > 0 ? " and " : "",
                        node_name(view, i));
            view->choice->holder = i;
            len++;
        }
    }
    if (len > 1) {
        refuse(view, "%d instances run as primaries, on %s: stop all but one first", len, names);
    }
    return len;
}

static void take_running(struct view *view)
{
    struct rescue_choice *choice = view->choice;
    int i = choice->holder;
    const struct rescue_instance *instance = &view->found->instances[i];
    bool late = instance->reported && epoch_compare(instance->said.epoch, choice->highest) < 0;
    choice->running = true;
    text_format(choice->text, sizeof choice->text, "it runs as the primary, and goes on");
    if (view->found->named >= 0 && view->found->named != i) {
        refuse(view, "%s runs as the primary, and not %s", node_name(view, i),
               node_name(view, view->found->named));
    } else if (late && view->found->named != i) {
        refuse(view,
               "%s runs as the primary under epoch %" PRIu64 ".%" PRIu64 ", and %" PRIu64
               ".%" PRIu64 " was granted later: find out who has it, then --primary",
               node_name(view, i), instance->said.epoch.incarnation, instance->said.epoch.counter,
               choice->highest.incarnation, choice->highest.counter);
    }
}

/* A candidate that was asked to promote and is silent may have been a primary since. */
static bool candidate_is_unknown(const struct view *view)
{
    const struct rescue_records *records = view->records;
    int i = records->moving && records->move.phase >= PHASE_PROMOTE
                ? instance_at(view, records->move.candidate)
                : -1;
    return i >= 0 && !view->found->instances[i].reported &&
           !(view->found->instances[i].asked && view->found->instances[i].fact.answered);
}

static void take_recorded(struct view *view)
{
    struct rescue_choice *choice = view->choice;
    const struct rescue_records *records = view->records;
    int named = view->found->named;
    const char *node = records->record.primary;
    choice->holder = named >= 0 ? named : instance_at(view, node);
    if (choice->holder < 0) {
        refuse(view, "its recorded primary %s is not in the definition", node);
    } else if (named >= 0) {
        text_format(choice->text, sizeof choice->text, "named by a person; it does not run");
    } else if (epoch_compare(records->permit.epoch, choice->highest) < 0 ||
               candidate_is_unknown(view)) {
        refuse(view,
               "no primary runs, and after the record that names %s a permit may have been granted "
               "to another (epoch %" PRIu64 ".%" PRIu64
               "): find out who was the last, then --primary",
               node, choice->highest.incarnation, choice->highest.counter);
    } else {
        text_format(choice->text, sizeof choice->text, "the recorded primary; it does not run");
    }
}

/* One in recovery is no primary: the leader fails over to it, once the holder is fenced. */
static void check_stopped(struct view *view)
{
    int i = view->choice->holder;
    const struct rescue_instance *instance = &view->found->instances[i];
    bool standby = (instance->reported && instance->said.state == GUARD_RUNNING) ||
                   (instance->asked && instance->fact.answered);
    if (standby) {
        refuse(view,
               "%s is a standby: name the last primary, though it be lost (--primary with "
               "--without), and the leader fails over by its rules",
               node_name(view, i));
    }
}

static void check_history(struct view *view)
{
    int holder = view->choice->holder;
    const struct rescue_instance *instance = &view->found->instances[holder];
    const struct database_record *record = &view->records->record;
    uint32_t timeline = timeline_of(instance) != 0 ? timeline_of(instance) : record->timeline;
    uint64_t system_id = system_id_of(instance);
    view->choice->permit.timeline = timeline;
    view->choice->permit.system_id = system_id != 0 ? system_id : record->system_id;
    if (system_id != 0 && record->system_id != 0 && system_id != record->system_id) {
        refuse(view, "%s has the system id %" PRIu64 ", recorded is %" PRIu64,
               node_name(view, holder), system_id, record->system_id);
        return;
    }
    if (timeline < record->timeline) {
        refuse(view, "%s is on timeline %u, and the recorded history is on %u",
               node_name(view, holder), timeline, record->timeline);
        return;
    }
    for (int i = 0; i < view->def->databases[view->db].instances_len; i++) {
        const struct rescue_instance *other = &view->found->instances[i];
        if (i != holder && timeline_of(other) > timeline && system_id_of(other) == system_id) {
            refuse(view, "%s is on timeline %u, ahead of %u on %s: find out which history counts",
                   node_name(view, i), timeline_of(other), timeline, node_name(view, holder));
            return;
        }
    }
}

static bool is_listed(const char names[][NAME_SIZE], int len, const char *name)
{
    for (int i = 0; i < len; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void burn(struct database_record *record, const char *node)
{
    if (node[0] != '\0' && record->burnt_len < INSTANCES_MAX &&
        !is_listed(record->burnt, record->burnt_len, node)) {
        text_copy(record->burnt[record->burnt_len++], NAME_SIZE, node);
    }
}

/* ---- what is written ---- */

static void fill_roles(const struct view *view, struct database_record *record)
{
    const char *primary = node_name(view, view->choice->holder);
    memset(record->roles, 0, sizeof record->roles);
    record->roles_len = 0;
    for (int i = 0; view->guarded && i < view->def->databases[view->db].instances_len; i++) {
        struct role_record *role = &record->roles[record->roles_len++];
        text_copy(role->node, sizeof role->node, node_name(view, i));
        if (i == view->choice->holder) {
            role->role = DECLARED_PRIMARY;
        } else if (is_listed(record->burnt, record->burnt_len, role->node)) {
            role->role = DECLARED_DOWN;
        } else {
            role->role = DECLARED_STANDBY;
            text_copy(role->upstream, sizeof role->upstream, primary);
        }
    }
}

static void fill_record(const struct view *view)
{
    struct database_record *record = &view->choice->record;
    const struct rescue_records *records = view->records;
    const char *primary = node_name(view, view->choice->holder);
    *record = records->record;
    for (int i = 0; records->moving && i < records->move.burnt_len; i++) {
        burn(record, records->move.burnt[i]);
    }
    if (records->moving && records->move.phase >= PHASE_PROMOTE &&
        strcmp(records->move.candidate, primary) != 0) {
        burn(record, records->move.candidate);
    }
    text_copy(record->primary, sizeof record->primary, primary);
    record->system_id = view->choice->permit.system_id;
    record->timeline = view->choice->permit.timeline;
    record->sync_enforced = false; /* until it is seen again */
    fill_roles(view, record);
}

/*
 * The promisers are the leader's to list: until then no controller counts time against this permit,
 * and its guard goes on by itself.
 */
static void fill_permit(const struct view *view)
{
    struct permit_record *permit = &view->choice->permit;
    const struct rescue_instance *holder = &view->found->instances[view->choice->holder];
    const struct profile *profile = definition_profile(view->def);
    text_copy(permit->database, sizeof permit->database, view->def->databases[view->db].name);
    permit->state = PERMIT_GRANTED;
    permit->epoch = (struct epoch){view->plan->incarnation, view->choice->highest.counter + 1};
    text_copy(permit->node, sizeof permit->node, node_name(view, view->choice->holder));
    permit->d_ms = profile->permit_d_ms;
    permit->w_ms = profile->permit_w_ms;
    permit->k_ms = profile->permit_k_ms;
    if (view->guarded) {
        text_copy(permit->boot, sizeof permit->boot,
                  holder->reported ? holder->said.boot : view->records->permit.boot);
    }
    /* What the holder may be enforcing: of a dropped move, what its old primary's commits waited
     * for. */
    const struct rescue_records *records = view->records;
    bool old = records->moving && records->move.sync_len > 0 &&
               strcmp(records->move.candidate, permit->node) != 0;
    memcpy(permit->sync, old ? records->move.sync : records->permit.sync, sizeof permit->sync);
    permit->sync_len = old ? records->move.sync_len : records->permit.sync_len;
}

static void choose(struct view *view)
{
    char why[REASON_SIZE];
    int refused = view->plan->reasons_len + view->plan->reasons_more;
    for (int i = 0; i < view->def->databases[view->db].instances_len; i++) {
        unknown(view, i, why, sizeof why);
        if (why[0] != '\0') {
            refuse(view, "%.180s; if it is off, and stays so: --without %s", why,
                   node_name(view, i));
        }
    }
    int primaries = count_primaries(view);
    if (primaries == 1) {
        take_running(view);
    } else if (primaries == 0) {
        take_recorded(view);
        if (view->choice->holder >= 0) {
            check_stopped(view);
        }
    }
    if (view->choice->holder >= 0) {
        check_history(view);
    }
    if (view->choice->holder >= 0 &&
        is_listed(view->records->record.burnt, view->records->record.burnt_len,
                  node_name(view, view->choice->holder))) {
        refuse(view, "%s may bear a history that did not complete (it is recorded as burnt)",
               node_name(view, view->choice->holder));
    }
    if (refused != view->plan->reasons_len + view->plan->reasons_more) {
        view->choice->holder = -1;
        return;
    }
    fill_permit(view);
    fill_record(view);
}

void rescue_make(const struct definition *def, const struct rescue_database databases[],
                 uint64_t known, struct rescue_plan *ret_plan)
{
    struct view views[DATABASES_MAX];
    memset(ret_plan, 0, sizeof *ret_plan);
    ret_plan->incarnation = known;
    for (int db = 0; db < def->databases_len; db++) {
        struct rescue_choice *choice = &ret_plan->choices[db];
        choice->holder = -1;
        views[db] = (struct view){
            .def = def, .db = db, .found = &databases[db], .plan = ret_plan, .choice = choice};
        choice->adopted = look_at_records(&views[db]);
        if (choice->highest.incarnation > ret_plan->incarnation) {
            ret_plan->incarnation = choice->highest.incarnation;
        }
    }
    ret_plan->incarnation++;
    for (int db = 0; db < def->databases_len; db++) {
        if (ret_plan->choices[db].adopted) {
            choose(&views[db]);
        }
    }
}

void rescue_group(const struct definition *def, int group, const struct rescue_plan *plan,
                  struct group_record *record)
{
    text_copy(record->name, sizeof record->name, def->groups[group].name);
    record->moving = false;
    memset(&record->workflow, 0, sizeof record->workflow);
    record->databases_len = 0;
    memset(record->databases, 0, sizeof record->databases);
    for (int db = 0; db < def->databases_len; db++) {
        if (def->databases[db].group == group && plan->choices[db].adopted) {
            record->databases[record->databases_len++] = plan->choices[db].record;
        }
    }
}

/* ---- what was shown ---- */

static void mix(uint64_t *hash, const char *text)
{
    for (size_t i = 0; i <= strlen(text); i++) {
        *hash = (*hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
}

static void mix_number(uint64_t *hash, uint64_t number)
{
    char text[24];
    text_format(text, sizeof text, "%" PRIu64, number);
    mix(hash, text);
}

void rescue_hash(const struct definition *def, const struct rescue_plan *plan,
                 char ret_hash[PLAN_HASH_SIZE])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    mix(&hash, "rescue");
    mix_number(&hash, plan->incarnation);
    for (int db = 0; db < def->databases_len; db++) {
        const struct rescue_choice *choice = &plan->choices[db];
        mix(&hash, def->databases[db].name);
        mix_number(&hash, choice->adopted);
        mix(&hash, choice->permit.node);
        mix(&hash, choice->permit.boot);
        mix_number(&hash, choice->permit.epoch.counter);
        mix_number(&hash, choice->permit.timeline);
        mix_number(&hash, choice->running);
        mix_number(&hash, choice->source);
        for (int i = 0; i < choice->record.burnt_len; i++) {
            mix(&hash, choice->record.burnt[i]);
        }
    }
    text_format(ret_hash, PLAN_HASH_SIZE, "%016" PRIx64, hash);
}
