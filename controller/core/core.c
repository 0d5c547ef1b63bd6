/*
 * core.c - the door: events to facts, then one review of everything.
 */
#include "controller/core/core.h"

#include <assert.h>
#include <string.h>

#include "controller/base/rule_off.h"
#include "controller/core/private.h"

#define REVIEW_ROUNDS_MAX 8
#define RESIGN_AFTER_MS   3000
#define RESIGN_AGAIN_MS   60000

void core_init(struct core *core, const char *id, uint64_t now_ms)
{
    memset(core, 0, sizeof *core);
    text_copy(core->id, sizeof core->id, id);
    core->started_ms = now_ms;
    core->now_ms = now_ms;
    core->incarnation = 1;
    core->next_ticket = 1;
    routes_reset(core);
    core_forget_records(core);
}

/* ---- what is read from the store ---- */

void core_forget_records(struct core *core)
{
    save_reset(core);
    for (int g = 0; g < GROUPS_MAX; g++) {
        struct group_state *group = &core->groups[g];
        memset(group, 0, sizeof *group);
        if (g < core->def.groups_len) {
            text_copy(group->record.name, sizeof group->record.name, core->def.groups[g].name);
        }
    }
    for (int db = 0; db < DATABASES_MAX; db++) {
        struct database_state *d = &core->databases[db];
        memset(&d->permit, 0, sizeof d->permit);
        d->permit_known = false;
        d->permit_revision = 0;
        d->primary_says[0] = '\0';
    }
    memset(core->requests, 0, sizeof core->requests);
}

bool core_take_permit(struct core *core, const struct permit_record *permit, int64_t mod_revision)
{
    int db = definition_database(&core->def, permit->database);
    if (db < 0) {
        return false;
    }
    struct database_state *d = &core->databases[db];
    d->permit = *permit;
    d->permit_says = permit_word(permit);
    d->permit_known = true;
    d->permit_revision = mod_revision;
    return true;
}

bool core_take_group(struct core *core, const struct group_record *group, int64_t mod_revision,
                     uint64_t now_ms)
{
    int g = definition_group(&core->def, group->name);
    if (g < 0) {
        return false;
    }
    core->groups[g].record = *group;
    core->groups[g].known = true;
    core->groups[g].revision = mod_revision;
    core->groups[g].seen_ms = now_ms;
    for (int db = 0; db < core->def.databases_len; db++) {
        if (db_group(core, db) == g) {
            primary_word(core, db, core->databases[db].primary_says);
        }
    }
    return true;
}

static bool is_running(const struct group_state *group, const char *incident)
{
    return group->record.moving && strcmp(group->record.workflow.id, incident) == 0;
}

bool core_take_incident(struct core *core, const struct incident_record *incident,
                        int64_t mod_revision, uint64_t now_ms, int64_t wall_ms)
{
    int g = definition_group(&core->def, incident->group);
    if (g < 0) {
        return false;
    }
    struct group_state *group = &core->groups[g];
    if (group->incident_known && strcmp(group->incident.id, incident->id) > 0 &&
        !is_running(group, incident->id)) {
        return false; /* the latest one only; ids begin with their time */
    }
    if (group->incident_known && is_running(group, group->incident.id) &&
        !is_running(group, incident->id)) {
        return false; /* the running one, whatever a wall clock that jumped has named the others */
    }
    group->incident = *incident;
    group->incident_known = true;
    group->incident_revision = mod_revision;
    int64_t since_anchor = wall_ms - incident->anchor_wall_ms;
    uint64_t age = incident->anchor_ms + (since_anchor > 0 ? (uint64_t)since_anchor : 0);
    group->incident_opened_ms = now_ms > age ? now_ms - age : 0;
    return true;
}

bool core_take_request(struct core *core, const struct request_record *request,
                       int64_t mod_revision)
{
    struct request_slot *empty = NULL;
    bool over = request->state == REQUEST_DONE || request->state == REQUEST_REFUSED;
    for (int i = 0; i < REQUESTS_MAX; i++) {
        struct request_slot *slot = &core->requests[i];
        if (slot->used && strcmp(slot->record.id, request->id) == 0) {
            return true; /* known; its newest form is ours */
        }
        if (!slot->used && empty == NULL) {
            empty = slot;
        }
    }
    if (over) {
        return true;
    }
    if (empty == NULL) {
        return false;
    }
    *empty = (struct request_slot){.used = true, .revision = mod_revision, .record = *request};
    return true;
}

/* `tells`: it has published a view, while a key that somebody wrote by hand tells nothing. */
bool core_has_request_room(const struct core *core)
{
    for (int i = 0; i < REQUESTS_MAX; i++) {
        if (!core->requests[i].used) {
            return true;
        }
    }
    return false;
}

static struct peer_state *peer_slot(struct core *core, const char *id, bool tells)
{
    struct peer_state *empty = NULL;
    struct peer_state *mute = NULL;
    for (int p = 0; p < PEERS_MAX; p++) {
        struct peer_state *peer = &core->peers[p];
        if (peer->used && strcmp(peer->view.id, id) == 0) {
            return peer;
        }
        /* A free place, else that of the one which has been gone for longest: a new controller's
         * vote must not be lost because others have been replaced. */
        bool freer = !peer->present && empty != NULL && empty->used &&
                     (!peer->used || peer->gone_ms < empty->gone_ms);
        if ((empty == NULL && !peer->present) || freer) {
            empty = peer;
        }
        if (tells && peer->present && peer->view.sequence == 0) {
            mute = peer;
        }
    }
    if (empty == NULL) {
        empty = mute;
    }
    if (empty != NULL) {
        memset(empty, 0, sizeof *empty);
        empty->used = true;
        text_copy(empty->view.id, sizeof empty->view.id, id);
    }
    return empty;
}

/* When the view of ours was made that this one echoes; 0: none that we know. */
static uint64_t echoed_ms(const struct core *core, const struct controller_record *view)
{
    for (int i = 0; i < view->echoes_len; i++) {
        const struct view_echo *echo = &view->echoes[i];
        if (strcmp(echo->id, core->id) == 0 && echo->sequence != 0 &&
            core->views[echo->sequence % VIEWS_MAX].sequence == echo->sequence) {
            return core->views[echo->sequence % VIEWS_MAX].made_ms;
        }
    }
    return 0;
}

void core_take_peer(struct core *core, const char *id, const struct controller_record *view,
                    uint64_t now_ms)
{
    if (strcmp(id, core->id) == 0 || strlen(id) >= NAME_SIZE) {
        return;
    }
    /* The news may be younger than the next event, which waits in the driver's inbox: time does not
     * go back for it, or "gone just now" would count as "gone for ever". */
    core->now_ms = now_ms > core->now_ms ? now_ms : core->now_ms;
    struct peer_state *peer = peer_slot(core, id, view != NULL && view->sequence > 0);
    if (peer == NULL) {
        return; /* more controllers than a pair and its spares: their view is not needed for safety
                 */
    }
    if (view == NULL) {
        peer->present = false;
        peer->gone_ms = now_ms;
        return;
    }
    peer->present = true;
    peer->heard_ms = now_ms;
    peer->after_ms = echoed_ms(core, view);
    peer->view = *view;
}

static void carry_over(struct core *core, const struct database_state *old,
                       const struct definition *old_def, int old_db, int db)
{
    struct database_state *d = &core->databases[db];
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct instance_def *now = &core->def.databases[db].instances[i];
        const struct node_def *node = &core->def.nodes[now->node];
        for (int j = 0; j < old_def->databases[old_db].instances_len; j++) {
            const struct instance_def *then = &old_def->databases[old_db].instances[j];
            const struct node_def *there = &old_def->nodes[then->node];
            /* What was found at another address is no finding about this one. */
            if (strcmp(there->name, node->name) == 0 &&
                strcmp(there->address, node->address) == 0 && then->port == now->port) {
                d->instances[i] = old[old_db].instances[j];
            }
        }
    }
}

bool core_take_definition(struct core *core, const struct definition *def, int64_t revision)
{
    if (core->ticket_in_flight != 0) {
        return false; /* the end of a workflow may be on its way */
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        if (is_moving(core, db) || core->databases[db].state == DB_ADOPTING) {
            return false;
        }
    }
    struct database_state old[DATABASES_MAX];
    struct definition old_def = core->def;
    memcpy(old, core->databases, sizeof old);
    core->def = *def;
    core->defined = true;
    core->definition_revision = revision;
    core->loaded = false;
    memset(core->databases, 0, sizeof core->databases);
    memset(core->services, 0, sizeof core->services);
    for (int db = 0; db < def->databases_len; db++) {
        core->databases[db].since_ms = core->now_ms;
        for (int i = 0; i < INSTANCES_MAX; i++) {
            health_init(&core->databases[db].instances[i].health, core->now_ms);
        }
        int before = definition_database(&old_def, def->databases[db].name);
        if (before >= 0) {
            carry_over(core, old, &old_def, before, db);
        }
    }
    for (int s = 0; s < SERVICES_MAX; s++) {
        for (int i = 0; i < INSTANCES_MAX; i++) {
            health_init(&core->services[s][i].health, core->now_ms);
        }
    }
    core_forget_records(core);
    routes_reset(core);
    return true;
}

/* ---- reviewing ---- */

static void review_suspicion(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    if (primary < 0 || (d->state >= DB_REVOKING && d->state <= DB_RECORDING)) {
        return;
    }
    d->failure_ms = d->instances[primary].health.first_bad_ms;
    if (guard_says_gone(core, db)) {
        uint64_t gone_ms = guard_gone_ms(core, db);
        d->failure_ms = d->failure_ms == 0 ? gone_ms : earlier(d->failure_ms, gone_ms);
    }
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct instance_fact *fact = &d->instances[i].fact;
        if (d->failure_ms == 0) {
            d->suspect_lsn[i] = 0;
            d->suspect_asked_ms[i] = 0;
        } else if (i != primary && d->suspect_asked_ms[i] == 0 && fact->answered &&
                   fact->asked_ms > d->failure_ms) {
            d->suspect_lsn[i] = fact->receive_lsn;
            d->suspect_asked_ms[i] = fact->asked_ms;
        }
    }
}

static void review_hold(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    if (d->state == DB_SUSPECT || d->state == DB_HELD) {
        d->held_by = (int)hold_of(core, db, d->held, sizeof d->held);
    }
}

static void review_database(struct core *core, int db)
{
    for (int round = 0; round < REVIEW_ROUNDS_MAX; round++) {
        review_hold(core, db);
        enum db_state before = core->databases[db].state;
        if (!core_rules_run(core, db, ON_REVIEW) || core->databases[db].state == before) {
            return;
        }
    }
}

static bool peer_sees_something(const struct core *core)
{
    for (int p = 0; p < PEERS_MAX; p++) {
        const struct peer_state *peer = &core->peers[p];
        if (peer->used && peer->present && !peer->view.blind &&
            core->now_ms - peer->heard_ms <= fresh_limit_ms(core)) {
            for (int t = 0; t < peer->view.targets_len; t++) {
                if (peer->view.targets[t].opinion == OPINION_UP) {
                    return true;
                }
            }
        }
    }
    return false;
}

static void review_blindness(struct core *core)
{
    bool blind = core->defined && core_is_blind(core);
    if (blind && !core->blind) {
        core->blind_since_ms = core->now_ms;
        effect_add(core, EFFECT_PUBLISH);
    }
    core->blind = blind;
    bool again = core->resigned_ms == 0 || core->now_ms - core->resigned_ms >= RESIGN_AGAIN_MS;
    if (blind && core->leading && again && core->now_ms - core->blind_since_ms >= RESIGN_AFTER_MS &&
        peer_sees_something(core) && !rule_is_off("resign")) {
        core->resigned_ms = core->now_ms;
        effect_add(core, EFFECT_RESIGN);
    }
}

/*
 * A fence was proven, and the record says so: every controller tries a write to what was fenced, at
 * once and beside the next steps (design §7). Once for each proof, and again by whoever takes over.
 */
static void review_proof(struct core *core, int db)
{
    const uint64_t proven = BIT(DB_CHOOSING) | BIT(DB_CHOICE_WAIT) | BIT(DB_GRANTING) |
                            BIT(DB_PROMOTING) | BIT(DB_PROMOTE_WAIT);
    struct database_state *d = &core->databases[db];
    const struct move_record *move = proven_move(core, db);
    if (move == NULL || (core->leading && (proven & BIT(d->state)) == 0)) {
        return;
    }
    const struct evidence_record *last = &move->evidence[move->evidence_len - 1];
    if (d->tried_wall_ms == last->wall_ms && d->tried_after_ms == last->after_ms) {
        return;
    }
    d->tried_wall_ms = last->wall_ms;
    d->tried_after_ms = last->after_ms;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        if (was_fenced(move, instance_node(core, db, i))) {
            struct effect *effect = effect_add(core, EFFECT_TRY_WRITE);
            effect->deadline_ms = core->now_ms + TRY_WRITE_MS;
            effect->probe.database = db;
            effect->probe.instance = i;
        }
    }
}

static void review(struct core *core)
{
    review_blindness(core);
    /* A follower too: once it leads, its standbys must have been testifying all the while. */
    for (int db = 0; db < core->def.databases_len; db++) {
        review_suspicion(core, db);
        sync_watch(core, db);
    }
    if (core->leading && core->loaded) {
        for (int db = 0; db < core->def.databases_len; db++) {
            durability_review(core, db);
            promisers_review(core, db);
            review_database(core, db);
        }
        requests_review(core);
        clocks_review(core);
        alarms_review(core);
        routes_review(core);
        save_flush(core);
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        review_proof(core, db);
    }
}

/* ---- events ---- */

static void stop_leading(struct core *core)
{
    for (int db = 0; db < core->def.databases_len; db++) {
        core_rules_run(core, db, ON_NOT_LEADING);
    }
    save_reset(core);
    routes_reset(core);
    effect_add(core, EFFECT_CANCEL_ALL);
    core->loaded = false;
}

static void start_leading(struct core *core)
{
    core->loaded = true;
    for (int g = 0; g < core->def.groups_len; g++) {
        struct group_state *group = &core->groups[g];
        if (group->record.moving && !is_running(group, group->incident.id)) {
            group->incident_known =
                false; /* its own is missing: another's clocks are not its own */
        }
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        core_rules_run(core, db, ON_LOADED);
    }
}

static void take_fence_outcome(struct core *core, const struct core_event *event)
{
    bool proven = event->fence.outcome == FENCED_PROVEN;
    for (int db = 0; db < core->def.databases_len; db++) {
        struct database_state *d = &core->databases[db];
        if (d->state == DB_FENCING && d->step != 0 && d->step == event->fence.step) {
            core_rules_run(core, db, proven ? ON_FENCE_PROVEN : ON_FENCE_FAILED);
        } else if (d->intruder_step != 0 && d->intruder_step == event->fence.step) {
            core_rules_run(core, db, proven ? ON_FENCE_PROVEN : ON_FENCE_FAILED);
        }
    }
}

static void take_promote_outcome(struct core *core, const struct core_event *event)
{
    bool promoted =
        event->promote.outcome == PROMOTION_DONE || event->promote.outcome == PROMOTION_ALREADY;
    for (int db = 0; db < core->def.databases_len; db++) {
        struct database_state *d = &core->databases[db];
        if (d->state == DB_PROMOTING && d->step != 0 && d->step == event->promote.step) {
            core_rules_run(core, db, promoted ? ON_PROMOTED : ON_PROMOTE_FAILED);
        }
    }
}

static void probe_again(struct core *core, int db, int instance)
{
    if (db < 0 || db >= core->def.databases_len || instance < 0 ||
        instance >= core->def.databases[db].instances_len) {
        return;
    }
    const struct database_state *d = &core->databases[db];
    if ((d->state == DB_CHOOSING || d->state == DB_VERIFYING) &&
        d->instances[instance].health.cause == CAUSE_OK) {
        struct effect *effect = effect_add(core, EFFECT_PROBE_NOW);
        effect->probe.database = db;
        effect->probe.instance = instance;
    }
}

static void take_instance(struct core *core, const struct core_event *event)
{
    int db = event->instance.database;
    int i = event->instance.instance;
    if (db >= 0 && db < core->def.databases_len && i >= 0 &&
        i < core->def.databases[db].instances_len) {
        instance_take(core, db, i, &event->instance.fact);
    }
}

static void take_tried(struct core *core, const struct core_event *event)
{
    int db = event->instance.database;
    int i = event->instance.instance;
    if (db >= 0 && db < core->def.databases_len && i >= 0 &&
        i < core->def.databases[db].instances_len) {
        life_take(core, db, i, &event->instance.fact);
    }
}

static void take_service(struct core *core, const struct core_event *event)
{
    int s = event->service.service;
    int i = event->service.instance;
    if (s >= 0 && s < core->def.services_len && i >= 0 && i < core->def.services[s].instances_len) {
        const struct service_fact *fact = &event->service.fact;
        struct service_state *state = &core->services[s][i];
        state->fact = *fact;
        health_take(&state->health, definition_profile(&core->def), fact->cause, fact->asked_ms,
                    fact->answered_ms);
    }
}

static void take_stall(struct core *core)
{
    const struct profile *profile = definition_profile(&core->def);
    core->observe_until_ms =
        core->now_ms + profile->probe_deadline_ms + 2u * profile->probe_interval_ms;
    for (int db = 0; db < core->def.databases_len; db++) {
        for (int i = 0; i < core->def.databases[db].instances_len; i++) {
            health_forget_failures(&core->databases[db].instances[i].health);
        }
    }
}

static void fail_save(struct core *core, const struct core_event *event)
{
    if (!core->leading) {
        return;
    }
    note_group(core, NOTE_WARN, "R-L0", 0,
               "a record was not written as expected: %s; reading all records again",
               event->save.text);
    stop_leading(core);
    effect_add(core, EFFECT_RELOAD);
}

static void handle(struct core *core, const struct core_event *event)
{
    switch (event->type) {
    case EV_TICK:
    case EV_PEER:
    case EV_REQUEST: break;
    case EV_LEADING:
        core->leading = true;
        core->term = event->leading.term;
        core->loaded = false;
        save_reset(core);
        routes_reset(core);
        effect_add(core, EFFECT_RELOAD);
        break;
    case EV_LOADED:
        if (core->leading && core->defined) {
            start_leading(core);
        }
        break;
    case EV_NOT_LEADING:
        stop_leading(core);
        core->leading = false;
        core->term = 0;
        break;
    case EV_STALL: take_stall(core); break;
    case EV_INSTANCE: take_instance(core, event); break;
    case EV_WRITE_TRIED: take_tried(core, event); break;
    case EV_SERVICE: take_service(core, event); break;
    case EV_SAVED:
        if (core->leading && event->save.ticket == core->ticket_in_flight &&
            core->ticket_in_flight != 0) {
            save_accepted(core, event->save.ticket, event->save.revision);
        }
        break;
    case EV_SAVE_FAILED: fail_save(core, event); break;
    case EV_FENCE_DONE: take_fence_outcome(core, event); break;
    case EV_PROMOTION_DONE: take_promote_outcome(core, event); break;
    case EV_ROUTES_DONE: routes_done(core, event); break;
    case EV_STORE:
        core->store_bytes = event->store.bytes;
        core->store_quota_bytes = event->store.quota_bytes;
        break;
    }
}

void core_step(struct core *core, const struct core_event *event, struct core_effects *ret_effects)
{
    ret_effects->len = 0;
    core->effects = ret_effects;
    core->event = event;
    core->now_ms = event->now_ms > core->now_ms ? event->now_ms : core->now_ms;
    core->wall_ms = event->wall_ms;
    handle(core, event);
    review(core); /* once, and last: what it saves is encoded as it stands when core_step returns */
    if (event->type == EV_INSTANCE) {
        probe_again(core, event->instance.database, event->instance.instance);
    }
    core->effects = NULL;
    core->event = NULL;
}

/* ---- when to be woken ---- */

static uint64_t database_deadline(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    uint64_t at = NEVER;
    if (d->state == DB_OBSERVING || d->state == DB_NORMAL || d->state == DB_UNADOPTED ||
        d->state == DB_PARKED) {
        return at;
    }
    at = core->now_ms +
         250; /* ages and patience are looked at that often while something is going on */
    if (d->retry_ms > core->now_ms) {
        at = earlier(at, d->retry_ms);
    }
    if (permit_ends_ms(core, db) > core->now_ms) {
        at = earlier(at, permit_ends_ms(core, db));
    }
    return at;
}

uint64_t core_deadline_ms(const struct core *core)
{
    uint64_t at = core->now_ms + 1000;
    if (!core->leading || !core->loaded) {
        return at;
    }
    for (int p = 0; p < core->def.proxies_len; p++) {
        at = earlier(at, core->proxies[p].next_ms > core->now_ms ? core->proxies[p].next_ms
                                                                 : core->now_ms + 10);
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        at = earlier(at, database_deadline(core, db));
    }
    for (int g = 0; g < core->def.groups_len; g++) {
        if (core->groups[g].incident_due_ms != 0 && core->ticket_in_flight == 0) {
            at = earlier(at, core->groups[g].incident_due_ms);
        }
    }
    return at;
}

/* ---- this controller's view ---- */

static void echo_peers(const struct core *core, struct controller_record *view)
{
    for (int p = 0; p < PEERS_MAX; p++) {
        const struct peer_state *peer = &core->peers[p];
        if (peer->used && peer->present && peer->view.sequence != 0) {
            struct view_echo *echo = &view->echoes[view->echoes_len++];
            text_copy(echo->id, sizeof echo->id, peer->view.id);
            echo->sequence = peer->view.sequence;
        }
    }
}

void core_view(struct core *core, uint64_t now_ms, struct controller_record *ret)
{
    memset(ret, 0, sizeof *ret);
    text_copy(ret->id, sizeof ret->id, core->id);
    ret->sequence = ++core->view_sequence;
    core->views[ret->sequence % VIEWS_MAX].sequence = ret->sequence;
    core->views[ret->sequence % VIEWS_MAX].made_ms = now_ms;
    echo_peers(core, ret);
    ret->config_revision = core->definition_revision;
    ret->blind = core->blind;
    for (int db = 0; db < core->def.databases_len; db++) {
        for (int i = 0; i < core->def.databases[db].instances_len; i++) {
            const struct health *health = &core->databases[db].instances[i].health;
            struct target_view *target = &ret->targets[ret->targets_len++];
            text_copy(target->database, sizeof target->database, core->def.databases[db].name);
            text_copy(target->node, sizeof target->node, instance_node(core, db, i));
            target->opinion = health->is;
            target->cause = health->cause;
            target->age_ms = health->latest_ms == 0 ? UINT32_MAX : now_ms - health->latest_ms;
            target->since_ms = now_ms - health->since_ms;
            target->writable = takes_writes(core, db, i);
            target->lives_after = core->databases[db].instances[i].lived_after;
        }
    }
}
