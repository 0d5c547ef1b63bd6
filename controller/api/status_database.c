#include <stdio.h>
#include <string.h>

#include "controller/api/status_parts.h"
#include "controller/api/words.h"
#include "controller/cluster/lsn.h"

uint64_t status_fresh_ms(const struct core *core)
{
    const struct profile *profile = definition_profile(&core->def);
    return 2ull * (profile->probe_interval_ms + profile->probe_deadline_ms) +
           profile->probe_interval_ms;
}

/* An answer tells of a moment after the question, and may have waited for a controller that stood
 * still: it is as old as that. */
static bool fresh(const struct core *core, const struct status_extra *extra,
                  const struct instance_state *instance)
{
    const struct instance_fact *fact = &instance->fact;
    return fact->answered && fact->asked_ms != 0 &&
           extra->now_ms <= fact->asked_ms + status_fresh_ms(core);
}

/* Verified by a write, not by a word: "in recovery: no" is said by primaries that take no write. */
static bool writable(const struct core *core, const struct status_extra *extra,
                     const struct instance_state *instance)
{
    return fresh(core, extra, instance) && instance->fact.wrote &&
           instance->fact.role == ROLE_PRIMARY && instance->health.cause == CAUSE_OK;
}

static uint64_t wal_end(const struct instance_fact *fact)
{
    return fact->role == ROLE_PRIMARY ? fact->write_lsn : fact->receive_lsn;
}

/* Behind the latest position that the recorded primary was seen to have written. */
static json_t *lag_json(const struct database_state *db, const struct instance_fact *fact)
{
    uint64_t end = wal_end(fact);
    if (fact->role != ROLE_STANDBY || end == 0 || db->primary_lsn == 0) {
        return json_null();
    }
    return words_u64(db->primary_lsn > end ? db->primary_lsn - end : 0);
}

static json_t *lsn_json(const struct instance_fact *fact)
{
    char text[LSN_TEXT_SIZE];
    if (wal_end(fact) == 0) {
        return json_null();
    }
    lsn_text(wal_end(fact), text);
    return json_string(text);
}

/* What its guard says; null where the definition has none for the node. */
static json_t *guard_json(const struct core *core, const struct status_extra *extra, int database,
                          int index)
{
    const struct node_def *node =
        &core->def.nodes[core->def.databases[database].instances[index].node];
    const struct guard_view *guard = &core->databases[database].instances[index].guard;
    if (!node_has_method(node, FENCE_GUARD)) {
        return json_null();
    }
    json_t *out = json_object();
    json_object_set_new(out, "reported", json_boolean(guard->known));
    if (guard->known) {
        const struct guard_record *said = &guard->said;
        json_object_set_new(out, "mode", json_string(guard_mode_names[said->mode]));
        json_object_set_new(out, "state", json_string(guard_state_names[said->state]));
        json_object_set_new(out, "role", json_string(role_names[said->role]));
        json_object_set_new(out, "held", words_text_or_null(said->held));
        json_object_set_new(out, "crash", words_text_or_null(said->crash));
        json_object_set_new(out, "watchdog", json_string(watchdog_kind_names[said->watchdog]));
        json_object_set_new(out, "armed", json_boolean(said->armed));
        json_object_set_new(out, "version", words_text(said->version));
        json_object_set_new(out, "age_ms", words_age(extra->now_ms, guard->heard_ms));
    }
    return out;
}

static json_t *instance_json(const struct core *core, const struct status_extra *extra,
                             int database, int index)
{
    const struct database_state *db = &core->databases[database];
    const struct instance_def *def = &core->def.databases[database].instances[index];
    const struct node_def *node = &core->def.nodes[def->node];
    const struct instance_state *instance = &db->instances[index];
    const struct health *health = &instance->health;
    enum role role = fresh(core, extra, instance) ? instance->fact.role : ROLE_UNKNOWN;
    json_t *out = json_object();
    json_object_set_new(out, "node", words_text(node->name));
    json_object_set_new(out, "site", words_text(core->def.sites[node->site].name));
    json_object_set_new(out, "role", json_string(role_names[role]));
    json_object_set_new(out, "last_role", json_string(role_names[instance->fact.role]));
    json_object_set_new(out, "opinion", json_string(opinion_names[health->is]));
    json_object_set_new(
        out, "cause",
        json_string(cause_names[health->latest_ms == 0 ? CAUSE_NEVER_PROBED : health->cause]));
    json_object_set_new(out, "age_ms", words_age(extra->now_ms, health->latest_ms));
    json_object_set_new(out, "since_ms", words_age(extra->now_ms, health->since_ms));
    json_object_set_new(out, "lsn", lsn_json(&instance->fact));
    json_object_set_new(out, "lag_bytes", lag_json(db, &instance->fact));
    json_object_set_new(out, "detail", words_text(instance->detail));
    json_object_set_new(out, "guard", guard_json(core, extra, database, index));
    return out;
}

/* The tier (design §1), the holder's last renewal, and whose promises would carry it without etcd.
 */
static void set_tier(json_t *out, const struct core *core, const struct status_extra *extra,
                     int database)
{
    const struct database_state *db = &core->databases[database];
    json_t *promisers = json_array();
    json_object_set_new(out, "tier", json_string(core_tier(core, database)));
    /* One before this epoch was another holder's, or in another life of it. */
    bool renewed =
        db->renewal.known && epoch_compare(db->renewal.said.epoch, db->permit_says.epoch) == 0;
    json_object_set_new(out, "renewed_age_ms",
                        renewed ? words_age(extra->now_ms, db->renewal.heard_ms) : json_null());
    json_object_set_new(out, "watchdog_armed", json_boolean(renewed && db->renewal.said.armed));
    for (int i = 0; db->permit_known && i < db->permit.promisers_len; i++) {
        json_array_append_new(promisers, words_text(db->permit.promisers[i]));
    }
    json_object_set_new(out, "promisers", promisers);
}

/* "If the primary died now": asked of the code that would decide. */
static json_t *candidate_json(const struct core *core, int database, const struct choice *choice)
{
    const struct database_def *def = &core->def.databases[database];
    json_t *out = json_object();
    json_t *verdicts = json_array();
    const char *node = NULL;
    const char *reason = choice->reason;
    for (int i = 0; i < choice->verdicts_len; i++) {
        const struct candidate_verdict *verdict = &choice->verdicts[i];
        if (verdict->instance < 0 || verdict->instance >= def->instances_len) {
            continue;
        }
        const char *name = core->def.nodes[def->instances[verdict->instance].node].name;
        if (verdict->instance == choice->chosen) {
            node = name;
            reason = choice->reason[0] != '\0' ? choice->reason : verdict->reason;
        }
        json_t *item = json_object();
        json_object_set_new(item, "node", words_text(name));
        json_object_set_new(item, "passes", json_boolean(verdict->passes));
        json_object_set_new(item, "reason", words_text(verdict->reason));
        json_array_append_new(verdicts, item);
    }
    if (node == NULL && choice->chosen >= 0 && choice->chosen < def->instances_len) {
        node = core->def.nodes[def->instances[choice->chosen].node].name;
    }
    json_object_set_new(out, "node", words_text(node));
    json_object_set_new(out, "reason", words_text(reason));
    json_object_set_new(out, "verdicts", verdicts);
    return out;
}

static json_t *evidence_json(const struct move_record *move)
{
    json_t *list = json_array();
    for (int i = 0; i < move->evidence_len; i++) {
        const struct evidence_record *evidence = &move->evidence[i];
        json_t *item = json_object();
        json_object_set_new(item, "kind", json_string(evidence_kind_names[evidence->kind]));
        json_object_set_new(item, "node", words_text(evidence->node));
        json_object_set_new(item, "level", words_text(evidence->level));
        json_object_set_new(item, "detail", words_text(evidence->detail));
        json_object_set_new(item, "at", words_wall(evidence->wall_ms));
        json_object_set_new(item, "after_ms", json_integer(evidence->after_ms));
        json_object_set_new(item, "revocation_revision",
                            json_integer((json_int_t)evidence->revocation_revision));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *move_json(const struct core *core, int database)
{
    const struct move_record *move = core_move_of(core, database);
    if (move == NULL) {
        return json_null();
    }
    const struct workflow_record *workflow =
        &core->groups[core->def.databases[database].group].record.workflow;
    json_t *out = json_object();
    json_object_set_new(out, "workflow", words_text(workflow->id));
    json_object_set_new(out, "request", words_text_or_null(workflow->request));
    json_object_set_new(out, "started", words_wall(workflow->started_wall_ms));
    json_object_set_new(out, "phase", json_string(move_phase_names[move->phase]));
    json_object_set_new(out, "from", words_text(move->from));
    json_object_set_new(out, "fence_node", words_text(move->fence_node));
    json_object_set_new(out, "planned", words_text_or_null(move->planned));
    json_object_set_new(out, "candidate", words_text_or_null(move->candidate));
    json_object_set_new(out, "forced", json_boolean(move->forced));
    json_object_set_new(out, "parked", words_text(move->parked));
    json_object_set_new(out, "estimated_loss_bytes", words_u64(move->estimated_loss_bytes));
    json_object_set_new(out, "new_timeline",
                        move->new_timeline == 0 ? json_null() : json_integer(move->new_timeline));
    json_object_set_new(out, "evidence", evidence_json(move));
    return out;
}

static const struct database_record *record_of(const struct core *core, int database)
{
    const struct database_def *def = &core->def.databases[database];
    const struct group_record *group = &core->groups[def->group].record;
    for (int i = 0; i < group->databases_len; i++) {
        if (strcmp(group->databases[i].database, def->name) == 0) {
            return &group->databases[i];
        }
    }
    return NULL;
}

/* As it is recorded: what a save that is on its way says may never be accepted. */
static void set_permit(json_t *out, const struct database_state *db)
{
    char epoch[48] = "";
    const struct permit_word *says = &db->permit_says;
    if (db->permit_known) {
        (void)snprintf(epoch, sizeof epoch, "%llu.%llu",
                       (unsigned long long)says->epoch.incarnation,
                       (unsigned long long)says->epoch.counter);
    }
    json_object_set_new(out, "epoch", words_text_or_null(epoch));
    json_object_set_new(out, "permit",
                        json_string(db->permit_known ? permit_state_names[says->state] : "none"));
    json_object_set_new(out, "permit_node", words_text_or_null(db->permit_known ? says->node : ""));
}

static void set_durability(json_t *out, const struct core *core, const struct status_extra *extra,
                           int database, int primary)
{
    const struct database_def *def = &core->def.databases[database];
    const char *durability = durability_names[def->durability];
    const char *words = "";
    struct sync_view sync;
    core_sync(core, database, &sync);
    if (def->durability != DURABILITY_ASYNC && !sync.enforced) {
        durability = sync.degraded ? "degraded to asynchronous" : "sync declared, not enforced";
    } else if (sync.degraded) {
        durability = def->durability == DURABILITY_STRICT ? "strict, degraded" : "sync, degraded";
    }
    json_object_set_new(out, "durability", json_string(durability));
    json_t *entries = json_object();
    json_object_set_new(entries, "declared", words_text(sync.declared));
    json_object_set_new(entries, "target", words_text(sync.target));
    json_object_set_new(entries, "in_force_at_most", json_integer(sync.entries));
    json_object_set_new(entries, "enforced", json_boolean(sync.enforced));
    json_object_set_new(out, "sync", entries);
    /* Only the primary knows who streams, and a dead one's last word is no redundancy. */
    bool known = primary >= 0 && primary == core_primary(core, database) &&
                 fresh(core, extra, &core->databases[database].instances[primary]);
    int streaming = core_redundancy(core, database);
    if (primary >= 0) {
        words = !known ? "redundancy unknown" : streaming <= 0 ? "no redundancy" : "";
    }
    json_object_set_new(out, "redundancy", known ? json_integer(streaming) : json_null());
    json_object_set_new(out, "words", json_string(words));
}

static json_t *instances_json(const struct core *core, const struct status_extra *extra,
                              int database)
{
    json_t *list = json_array();
    for (int i = 0; i < core->def.databases[database].instances_len; i++) {
        json_array_append_new(list, instance_json(core, extra, database, i));
    }
    return list;
}

json_t *status_database(const struct core *core, const struct status_extra *extra, int database)
{
    const struct database_def *def = &core->def.databases[database];
    const struct database_state *db = &core->databases[database];
    const struct database_record *record = record_of(core, database);
    const struct node_def *node = NULL;
    int primary = core_recorded_primary(core, database);
    struct choice choice;
    candidate_choose(core, database, false, &choice);
    if (primary >= 0) {
        node = &core->def.nodes[def->instances[primary].node];
    }
    json_t *out = json_object();
    json_object_set_new(out, "name", words_text(def->name));
    json_object_set_new(out, "state", json_string(db_state_names[db->state]));
    json_object_set_new(out, "state_help", json_string(db_state_helps[db->state]));
    json_object_set_new(out, "since_ms", words_age(extra->now_ms, db->since_ms));
    json_object_set_new(out, "primary", words_text(node == NULL ? NULL : node->name));
    json_object_set_new(out, "site",
                        words_text(node == NULL ? NULL : core->def.sites[node->site].name));
    json_object_set_new(
        out, "writable",
        json_boolean(primary >= 0 && writable(core, extra, &db->instances[primary])));
    json_object_set_new(out, "timeline",
                        record == NULL || record->timeline == 0 ? json_null()
                                                                : json_integer(record->timeline));
    set_permit(out, db);
    set_tier(out, core, extra, database);
    set_durability(out, core, extra, database, primary);
    json_object_set_new(out, "loss_now_bytes",
                        choice.loss_known ? words_u64(choice.loss_bytes) : json_null());
    json_object_set_new(out, "loss_now",
                        json_string(!choice.loss_known   ? "unknown"
                                    : choice.loss_proven ? "proven"
                                                         : "estimated"));
    json_object_set_new(out, "held", words_text(db->held));
    json_object_set_new(out, "instances", instances_json(core, extra, database));
    json_object_set_new(out, "candidate", candidate_json(core, database, &choice));
    json_object_set_new(out, "move", move_json(core, database));
    return out;
}
