/*
 * The core driven by hand, one event after another: the corners that a story in virtual time
 * (tests/scenario) reaches only by luck. Times are CLOCK_BOOTTIME milliseconds from 1,000,000 on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/core/core.h"
#include "controller/core/private.h"

#define SYSTEM_ID 7000000000000000001
#define WALL_MS   INT64_C(1767225600000)

struct driven {
    struct core core;
    struct core_effects effects;
    struct definition def;
    uint64_t now_ms;
    int64_t revision;
};

/* ---- definitions ---- */

static void name_it(char *to, const char *what, int number)
{
    snprintf(to, NAME_SIZE, "%s%d", what, number);
}

/* Nodes n0, n1 ...; each has two levels, an agent's and a command's. */
static void define_nodes(struct definition *def, int len)
{
    def->nodes_len = len;
    for (int n = 0; n < len; n++) {
        struct node_def *node = &def->nodes[n];
        name_it(node->name, "n", n);
        snprintf(node->address, sizeof node->address, "10.0.0.%d", n + 1);
        node->levels_len = 2;
        node->levels[0] = (struct fence_level_def){.name = "power", .deadline_ms = 5000};
        node->levels[1] = (struct fence_level_def){
            .name = "switch", .method = FENCE_COMMAND, .deadline_ms = 5000};
    }
}

/* Database d<db> with instances on nodes first, first + 1 ... */
static void define_database(struct definition *def, int group, int first, int instances)
{
    struct database_def *db = &def->databases[def->databases_len];
    name_it(db->name, "d", def->databases_len);
    db->durability = DURABILITY_ASYNC;
    db->max_lag_bytes = 1 << 20;
    db->group = group;
    db->instances_len = instances;
    for (int i = 0; i < instances; i++) {
        db->instances[i].node = first + i;
        db->instances[i].port = (uint16_t)(5432 + def->databases_len);
        name_it(db->instances[i].name, "i", i);
    }
    def->databases_len++;
}

static struct definition one_database(int instances)
{
    struct definition def = {.cluster = "test", .sites_len = 1, .groups_len = 1};
    snprintf(def.sites[0].name, NAME_SIZE, "east");
    snprintf(def.groups[0].name, NAME_SIZE, "shop");
    def.groups[0].automatic = true;
    def.policy = (struct policy_def){.budget_failovers = 2, .budget_per_ms = 3600000};
    def.objectives = (struct objective_def){3600000, 7200000, 86400000};
    define_nodes(&def, 6);
    define_database(&def, 0, 0, instances);
    return def;
}

/* ---- events ---- */

static struct core_event event_of(const struct driven *t, enum core_event_type type)
{
    return (struct core_event){.type = type, .now_ms = t->now_ms, .wall_ms = WALL_MS};
}

static void step(struct driven *t, const struct core_event *event)
{
    core_step(&t->core, event, &t->effects);
}

static void tick(struct driven *t)
{
    struct core_event event = event_of(t, EV_TICK);
    step(t, &event);
}

static const struct effect *find_effect(const struct driven *t, enum effect_type type)
{
    for (int i = 0; i < t->effects.len; i++) {
        if (t->effects.items[i].type == type) {
            return &t->effects.items[i];
        }
    }
    return NULL;
}

static int count_effects(const struct driven *t, enum effect_type type)
{
    int len = 0;
    for (int i = 0; i < t->effects.len; i++) {
        len += t->effects.items[i].type == type ? 1 : 0;
    }
    return len;
}

/* The save in flight is accepted; what comes of it is in t->effects. */
static void accept_save(struct driven *t)
{
    assert_int_not_equal(t->core.ticket_in_flight, 0);
    struct core_event event = event_of(t, EV_SAVED);
    event.save.ticket = t->core.ticket_in_flight;
    event.save.revision = ++t->revision;
    step(t, &event);
}

static void accept_saves(struct driven *t)
{
    while (t->core.ticket_in_flight != 0) {
        accept_save(t);
    }
}

static void find_cause(struct driven *t, int db, int i, enum cause cause)
{
    struct core_event event = event_of(t, EV_INSTANCE);
    event.instance.database = db;
    event.instance.instance = i;
    event.instance.fact.asked_ms = t->now_ms - 5;
    event.instance.fact.answered_ms = t->now_ms;
    event.instance.fact.cause = cause;
    step(t, &event);
}

static struct core_event found(struct driven *t, int db, int i, enum role role, uint64_t lsn)
{
    struct core_event event = event_of(t, EV_INSTANCE);
    struct instance_fact *fact = &event.instance.fact;
    event.instance.database = db;
    event.instance.instance = i;
    *fact = (struct instance_fact){.asked_ms = t->now_ms - 5,
                                   .answered_ms = t->now_ms,
                                   .answered = true,
                                   .role = role,
                                   .system_id = SYSTEM_ID,
                                   .timeline = 1};
    if (role == ROLE_PRIMARY) {
        fact->wrote = true;
        fact->write_lsn = lsn;
    } else {
        fact->receive_lsn = lsn;
        fact->receiving = true;
    }
    return event;
}

static void find_role(struct driven *t, int db, int i, enum role role, uint64_t lsn)
{
    struct core_event event = found(t, db, i, role, lsn);
    step(t, &event);
}

/* ---- records ---- */

static void take_permit(struct driven *t, int db, enum permit_state state, const char *node)
{
    struct permit_record permit = {.state = state,
                                   .epoch = {1, 5},
                                   .system_id = SYSTEM_ID,
                                   .timeline = 1,
                                   .d_ms = 8000,
                                   .w_ms = 2000,
                                   .k_ms = 1000};
    snprintf(permit.database, NAME_SIZE, "%s", t->def.databases[db].name);
    snprintf(permit.node, NAME_SIZE, "%s", node);
    assert_true(core_take_permit(&t->core, &permit, ++t->revision));
}

static struct group_record *group_with(const struct driven *t, int g)
{
    struct group_record *group = calloc(1, sizeof *group);
    assert_non_null(group);
    snprintf(group->name, NAME_SIZE, "%s", t->def.groups[g].name);
    for (int db = 0; db < t->def.databases_len; db++) {
        if (t->def.databases[db].group == g) {
            struct database_record *record = &group->databases[group->databases_len++];
            snprintf(record->database, NAME_SIZE, "%s", t->def.databases[db].name);
            snprintf(record->primary, NAME_SIZE, "%s",
                     t->def.nodes[t->def.databases[db].instances[0].node].name);
            record->system_id = SYSTEM_ID;
            record->timeline = 1;
        }
    }
    return group;
}

/* A workflow of its own: database 0 in that phase, fencing n0. */
static struct move_record *moving_with(struct group_record *group, enum move_phase phase)
{
    struct move_record *move = &group->workflow.moves[0];
    group->moving = true;
    snprintf(group->workflow.id, ID_SIZE, "20260101-000000-shop");
    group->workflow.moves_len = 1;
    snprintf(move->database, NAME_SIZE, "d0");
    snprintf(move->from, NAME_SIZE, "n0");
    snprintf(move->fence_node, NAME_SIZE, "n0");
    move->phase = phase;
    move->from_timeline = 1;
    move->system_id = SYSTEM_ID;
    if (phase > PHASE_FENCE) {
        move->evidence_len = 1;
        snprintf(move->evidence[0].node, NAME_SIZE, "n0");
        snprintf(move->evidence[0].level, NAME_SIZE, "power");
    }
    return move;
}

static void take_group(struct driven *t, struct group_record *group)
{
    assert_true(core_take_group(&t->core, group, ++t->revision, t->now_ms));
    free(group);
}

static void take_steady_records(struct driven *t)
{
    for (int g = 0; g < t->def.groups_len; g++) {
        take_group(t, group_with(t, g));
    }
    for (int db = 0; db < t->def.databases_len; db++) {
        take_permit(t, db, PERMIT_GRANTED,
                    t->def.nodes[t->def.databases[db].instances[0].node].name);
    }
}

static void lead(struct driven *t)
{
    struct core_event event = event_of(t, EV_LEADING);
    event.leading.term = ++t->revision;
    step(t, &event);
    assert_non_null(find_effect(t, EFFECT_RELOAD));
}

static void loaded(struct driven *t)
{
    struct core_event event = event_of(t, EV_LOADED);
    event.loaded.revision = ++t->revision;
    step(t, &event);
}

static struct driven *driven_with(struct definition def)
{
    struct driven *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->def = def;
    t->now_ms = 1000000;
    core_init(&t->core, "ops1", t->now_ms);
    assert_true(core_take_definition(&t->core, &t->def, 1));
    t->revision = 100;
    return t;
}

/* Leads since long ago, with every primary and standby seen well just now. */
static struct driven *settled_with(struct definition def)
{
    struct driven *t = driven_with(def);
    take_steady_records(t);
    t->now_ms += 60000;
    lead(t);
    take_steady_records(t);
    loaded(t);
    for (int db = 0; db < def.databases_len; db++) {
        for (int i = 0; i < def.databases[db].instances_len; i++) {
            find_role(t, db, i, i == 0 ? ROLE_PRIMARY : ROLE_STANDBY, 5000);
        }
    }
    accept_saves(t);
    return t;
}

static const struct database_state *state(const struct driven *t, int db)
{
    return &t->core.databases[db];
}

/* Refusals for longer than the profile waits; the standbys answer all the while. */
static void refuse_primary(struct driven *t, int db, int rounds)
{
    for (int round = 0; round < rounds; round++) {
        t->now_ms += 300;
        for (int i = 1; i < t->def.databases[db].instances_len; i++) {
            find_role(t, db, i, ROLE_STANDBY, 5000);
        }
        find_cause(t, db, 0, CAUSE_REFUSED);
    }
}

static void report_fence(struct driven *t, uint32_t of_step, enum fence_outcome outcome,
                         const char *detail)
{
    struct core_event event = event_of(t, EV_FENCE_DONE);
    event.fence.step = of_step;
    event.fence.outcome = outcome;
    event.fence.evidence = EVIDENCE_AGENT;
    snprintf(event.fence.detail, sizeof event.fence.detail, "%s", detail);
    step(t, &event);
}

static struct request_record asked(enum request_kind kind, const char *id)
{
    struct request_record request = {.kind = kind, .state = REQUEST_NEW};
    snprintf(request.id, ID_SIZE, "%s", id);
    snprintf(request.group, NAME_SIZE, "shop");
    snprintf(request.who, NAME_SIZE, "ann");
    snprintf(request.reason, REASON_SIZE, "seen with my own eyes");
    return request;
}

/* ---- the permit's time, and promises ---- */

/* d0 is guarded: its permit names the boot of n0 and is promised by ops1 and ops2. */
static struct driven *guarded(void)
{
    struct definition def = one_database(2);
    for (int n = 0; n < def.nodes_len; n++) {
        def.nodes[n].levels[0] = (struct fence_level_def){.name = "guard", .method = FENCE_GUARD};
        def.nodes[n].levels[1] = (struct fence_level_def){.name = "time", .method = FENCE_PERMIT};
    }
    struct driven *t = settled_with(def);
    struct permit_record *permit = &t->core.databases[0].permit;
    snprintf(permit->boot, sizeof permit->boot, "boot-1");
    permit->promisers_len = 2;
    snprintf(permit->promisers[0], NAME_SIZE, "ops1");
    snprintf(permit->promisers[1], NAME_SIZE, "ops2");
    struct renewal_record renewal = {.epoch = permit->epoch,
                                     .permit_revision = t->core.databases[0].permit_revision,
                                     .armed = true};
    snprintf(renewal.boot, sizeof renewal.boot, "boot-1");
    assert_true(core_take_renewal(&t->core, "d0", &renewal, ++t->revision, t->now_ms));
    return t;
}

/* Its revocation is recorded, and n0 is being fenced. */
static struct driven *fencing_guarded(void)
{
    struct driven *t = guarded();
    struct database_state *d = &t->core.databases[0];
    struct group_record *group = group_with(t, 0);
    moving_with(group, PHASE_FENCE);
    t->core.groups[0].record = *group;
    free(group);
    d->permit.state = PERMIT_REVOKED;
    d->state = DB_FENCING;
    d->revoked_ms = t->now_ms;
    core_saw(&t->core, d->permit_revision);
    return t;
}

static struct promise_question question_of(const struct driven *t)
{
    struct promise_question question = {.epoch = state(t, 0)->permit.epoch};
    snprintf(question.database, NAME_SIZE, "d0");
    snprintf(question.node, NAME_SIZE, "n0");
    snprintf(question.boot, sizeof question.boot, "boot-1");
    return question;
}

static bool promised(struct driven *t, const struct promise_question *question, const char *words)
{
    char reason[REASON_SIZE];
    bool given = core_promise(&t->core, question, t->now_ms, reason, sizeof reason);
    assert_int_equal(given, reason[0] == '\0');
    assert_true(given || strstr(reason, words) != NULL);
    return given;
}

static void a_promise_is_given_for_exactly_the_permit_that_is_known(void **unused)
{
    (void)unused;
    struct driven *t = guarded();
    struct promise_question question = question_of(t);
    assert_true(promised(t, &question, ""));
    assert_int_equal(state(t, 0)->promised_ms, t->now_ms);
    struct promise_question other = question;
    other.epoch.counter++;
    assert_false(promised(t, &other, "is of epoch 1.5, asked was 1.6"));
    other = question;
    snprintf(other.boot, sizeof other.boot, "boot-2");
    assert_false(promised(t, &other, "in another life"));
    other = question;
    snprintf(other.node, sizeof other.node, "n1");
    assert_false(promised(t, &other, "is for n0"));
    other = question;
    snprintf(other.database, sizeof other.database, "d7");
    assert_false(promised(t, &other, "no database"));
    t->core.databases[0].permit_known = false;
    assert_false(promised(t, &question, "does not know"));
    free(t);
}

/* In memory already, before the write is answered: an unknown save may be recorded. */
static void who_has_begun_to_revoke_promises_nothing(void **unused)
{
    (void)unused;
    struct driven *t = guarded();
    struct promise_question question = question_of(t);
    t->core.databases[0].permit.state = PERMIT_REVOKED;
    assert_false(promised(t, &question, "is revoked"));
    free(t);
}

static void time_counts_the_whole_sum_from_the_later_of_revocation_and_promise(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    struct database_state *d = &t->core.databases[0];
    assert_int_equal(permit_ends_ms(&t->core, 0), t->now_ms + 11310);
    d->promised_ms = t->now_ms + 700;
    assert_int_equal(permit_ends_ms(&t->core, 0), t->now_ms + 700 + 11310);
    t->core.now_ms = t->now_ms + 700 + 11309;
    assert_false(the_permits_time_has_passed(&t->core, 0));
    t->core.now_ms++;
    assert_true(the_permits_time_has_passed(&t->core, 0));
    free(t);
}

static void time_is_no_evidence_for_who_would_not_have_been_asked(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    struct permit_record *permit = &t->core.databases[0].permit;
    permit->changing = true; /* nobody was listed before */
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    permit->before_len = 1;
    snprintf(permit->before[0], NAME_SIZE, "ops2");
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    snprintf(permit->before[0], NAME_SIZE, "ops1");
    assert_true(permit_ends_ms(&t->core, 0) != NEVER);
    permit->changing = false;
    snprintf(permit->promisers[0], NAME_SIZE, "ops3");
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    free(t);
}

static void a_candidate_that_never_renewed_never_was_a_primary(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    struct database_state *d = &t->core.databases[0];
    struct move_record *move = &t->core.groups[0].record.workflow.moves[0];
    assert_false(the_permit_was_never_taken_up(&t->core, 0)); /* it renewed, and is replaced */
    d->permit.epoch.counter++;
    assert_false(the_permit_was_never_taken_up(&t->core, 0)); /* it may have run before the grant */
    snprintf(move->fence_node, NAME_SIZE, "n1");
    assert_false(the_permit_was_never_taken_up(&t->core, 0)); /* the permit is another's */
    snprintf(d->permit.node, NAME_SIZE, "n1");
    assert_true(the_permit_was_never_taken_up(&t->core, 0));
    d->renewal.said.epoch = d->permit.epoch;
    assert_false(the_permit_was_never_taken_up(&t->core, 0));
    d->renewal.said.epoch.counter--;
    d->permit_revision = t->core.seen_revision + 1; /* a renewal may be on its way */
    assert_false(the_permit_was_never_taken_up(&t->core, 0));
    core_saw(&t->core, d->permit_revision);
    assert_true(the_permit_was_never_taken_up(&t->core, 0));
    d->instances[1].fact.answered = true;
    d->instances[1].fact.role = ROLE_PRIMARY; /* by whatever hand */
    assert_false(the_permit_was_never_taken_up(&t->core, 0));
    d->instances[1].fact.role = ROLE_STANDBY;
    assert_true(the_permit_was_never_taken_up(&t->core, 0));
    t->core.def.nodes[1].levels[1].method = FENCE_AGENT;
    assert_false(the_permit_was_never_taken_up(&t->core, 0));
    t->core.def.nodes[1].levels[1].method = FENCE_PERMIT;
    core_lose_renewal(&t->core, "d7");
    assert_true(the_permit_was_never_taken_up(&t->core, 0));
    core_lose_renewal(&t->core, "d0"); /* what it said cannot be read */
    assert_false(the_permit_was_never_taken_up(&t->core, 0));
    free(t);
}

static void time_is_no_evidence_without_an_armed_watchdog_or_where_guards_go_on_blind(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    struct database_state *d = &t->core.databases[0];
    d->renewal.said.armed = false;
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    d->renewal.said.armed = true;
    d->renewal.said.epoch.counter--; /* of an earlier permit */
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    d->renewal.said.epoch.counter++;
    snprintf(d->renewal.said.boot, sizeof d->renewal.said.boot, "boot-0");
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    snprintf(d->renewal.said.boot, sizeof d->renewal.said.boot, "boot-1");
    t->core.def.policy.when_blind = BLIND_CONTINUE;
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    t->core.def.policy.when_blind = BLIND_STOP;
    t->core.def.nodes[0].levels_len = 1;
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    t->core.def.nodes[0].levels_len = 2;
    t->core.seen_revision = d->permit_revision - 1; /* a later renewal may be on its way */
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    core_saw(&t->core, d->permit_revision);
    assert_true(permit_ends_ms(&t->core, 0) != NEVER);
    d->revoked_ms = 0; /* not confirmed in this life */
    assert_true(permit_ends_ms(&t->core, 0) == NEVER);
    free(t);
}

static void a_guards_report_of_life_after_the_proof_voids_it(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    struct database_state *d = &t->core.databases[0];
    struct guard_record said = {
        .mode = GUARD_GUARDING, .state = GUARD_RUNNING, .role = ROLE_PRIMARY};
    snprintf(said.node, NAME_SIZE, "n0");
    snprintf(said.database, NAME_SIZE, "d0");
    d->proven_ms = t->now_ms;
    d->proven_revision = t->revision + 2;
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_false(the_old_primary_lives(&t->core, 0)); /* from before it */
    t->revision = d->proven_revision;
    said.role = ROLE_STANDBY;
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_false(the_old_primary_lives(&t->core, 0)); /* it can acknowledge nothing */
    said.role = ROLE_PRIMARY;
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_true(the_old_primary_lives(&t->core, 0));
    said.state = GUARD_STOPPED;
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_false(the_old_primary_lives(&t->core, 0));
    free(t);
}

static void a_guards_report_counts_for_the_revocation_that_it_names(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    struct guard_record said = {.mode = GUARD_GUARDING, .state = GUARD_STOPPED};
    snprintf(said.node, NAME_SIZE, "n0");
    snprintf(said.database, NAME_SIZE, "d0");
    snprintf(said.boot, sizeof said.boot, "boot-1");
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_false(the_guard_reports_it_gone(&t->core, 0)); /* of no revocation */
    said.stopped_for = state(t, 0)->permit_revision - 1;
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_false(the_guard_reports_it_gone(&t->core, 0)); /* of an earlier one */
    said.stopped_for = state(t, 0)->permit_revision;
    assert_true(core_take_guard(&t->core, &said, t->revision - 1, t->now_ms));
    assert_false(the_guard_reports_it_gone(&t->core, 0)); /* an older report, read again */
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_true(the_guard_reports_it_gone(&t->core, 0));
    said.state = GUARD_STOPPING;
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    assert_false(the_guard_reports_it_gone(&t->core, 0));
    snprintf(said.node, NAME_SIZE, "n9");
    assert_false(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
    free(t);
}

/* ---- fencing ---- */

static struct definition two_on_one_node(void)
{
    struct definition def = one_database(2);
    define_database(&def, 0, 0, 2);
    return def;
}

static void a_level_that_fails_for_two_databases_gives_way_to_the_next_one(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(two_on_one_node());
    refuse_primary(t, 1, 1);
    refuse_primary(t, 0, 5);
    assert_int_equal(state(t, 0)->state, DB_REVOKING);
    assert_int_equal(state(t, 1)->state, DB_REVOKING);
    accept_save(t);
    const struct effect *fence = find_effect(t, EFFECT_FENCE);
    assert_non_null(fence);
    assert_int_equal(count_effects(t, EFFECT_FENCE), 1);
    assert_int_equal(fence->fence.level, 0);
    report_fence(t, fence->step, FENCED_REFUSED, "it says no");
    fence = find_effect(t, EFFECT_FENCE);
    assert_non_null(fence);
    assert_int_equal(count_effects(t, EFFECT_FENCE), 1);
    assert_int_equal(fence->fence.level, 1);
    assert_int_equal(state(t, 1)->step, fence->step);
    report_fence(t, fence->step, FENCED_REFUSED, "it says no as well");
    assert_int_equal(state(t, 0)->state, DB_FENCE_WAIT);
    assert_int_equal(state(t, 1)->state, DB_FENCE_WAIT);
    free(t);
}

static void a_level_that_never_reports_gives_way_for_all_who_share_it(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(two_on_one_node());
    refuse_primary(t, 0, 5);
    accept_save(t);
    t->now_ms += 7001;
    tick(t);
    const struct effect *fence = find_effect(t, EFFECT_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->fence.level, 1);
    assert_int_equal(count_effects(t, EFFECT_FENCE), 1);
    assert_int_equal(state(t, 0)->step, state(t, 1)->step);
    free(t);
}

/* d0 waits for a person; d1's fence runs elsewhere. */
static struct driven *one_waits_one_fences(uint32_t *ret_step)
{
    struct definition def = one_database(2);
    define_database(&def, 0, 2, 2);
    struct driven *t = settled_with(def);
    refuse_primary(t, 0, 5);
    accept_save(t);
    for (int level = 0; level < 2; level++) {
        report_fence(t, state(t, 0)->step, FENCED_UNKNOWN, "silence");
    }
    assert_int_equal(state(t, 0)->state, DB_FENCE_WAIT);
    accept_saves(t);
    refuse_primary(t, 1, 5);
    accept_saves(t);
    assert_int_equal(state(t, 1)->state, DB_FENCING);
    *ret_step = state(t, 1)->step;
    assert_int_not_equal(*ret_step, 0);
    return t;
}

static void a_persons_word_is_recorded_as_his_whatever_event_it_came_with(void **unused)
{
    (void)unused;
    uint32_t running;
    struct driven *t = one_waits_one_fences(&running);
    struct request_record request = asked(REQUEST_CONFIRM_FENCED, "r1");
    snprintf(request.node, NAME_SIZE, "n0");
    assert_true(core_take_request(&t->core, &request, ++t->revision));
    report_fence(t, running, FENCED_UNKNOWN, "the agent of another node gave no answer");
    assert_int_equal(state(t, 0)->state, DB_PROVING);
    const struct move_record *move = core_move_of(&t->core, 0);
    assert_int_equal(move->evidence_len, 1);
    assert_int_equal(move->evidence[0].kind, EVIDENCE_OPERATOR);
    assert_string_equal(move->evidence[0].detail, "ann: seen with my own eyes");
    free(t);
}

static void a_word_that_is_older_than_the_revocation_proves_nothing(void **unused)
{
    (void)unused;
    uint32_t running;
    struct driven *t = one_waits_one_fences(&running);
    struct request_record request = asked(REQUEST_CONFIRM_FENCED, "r1");
    snprintf(request.node, NAME_SIZE, "n0");
    assert_true(core_take_request(&t->core, &request, 101));
    tick(t);
    assert_int_equal(state(t, 0)->state, DB_FENCE_WAIT);
    assert_int_equal(t->core.requests[0].record.state, REQUEST_REFUSED);
    free(t);
}

/* ---- believing ---- */

static void a_new_leader_remembers_what_the_standby_said_while_it_followed(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    take_steady_records(t);
    t->now_ms += 60000;
    find_role(t, 0, 0, ROLE_PRIMARY, 5000);
    /* Cut off from both controllers; clients write on, and the standby receives it. */
    for (uint64_t lsn = 5000; lsn < 15000; lsn += 1000) {
        t->now_ms += 300;
        find_role(t, 0, 1, ROLE_STANDBY, lsn);
        find_cause(t, 0, 0, CAUSE_REFUSED);
    }
    assert_int_equal(state(t, 0)->instances[0].health.is, OPINION_DOWN);
    lead(t);
    take_steady_records(t);
    loaded(t);
    assert_int_equal(state(t, 0)->state, DB_SUSPECT);
    assert_string_equal(hold_names[state(t, 0)->held_by], "witness");
    free(t);
}

/* ops2's view, as it is published once it has heard this controller's latest. */
static struct controller_record *peer_sees(struct driven *t, enum opinion opinion)
{
    struct controller_record *view = calloc(1, sizeof *view);
    struct controller_record *own = calloc(1, sizeof *own);
    assert_non_null(view);
    assert_non_null(own);
    core_view(&t->core, t->now_ms, own);
    snprintf(view->id, NAME_SIZE, "ops2");
    view->sequence = 7;
    view->config_revision = t->core.definition_revision;
    view->echoes_len = 1;
    snprintf(view->echoes[0].id, NAME_SIZE, "ops1");
    view->echoes[0].sequence = own->sequence;
    view->targets_len = 1;
    snprintf(view->targets[0].database, NAME_SIZE, "d0");
    snprintf(view->targets[0].node, NAME_SIZE, "n0");
    view->targets[0].opinion = opinion;
    free(own);
    return view;
}

/* The primary is down for this controller; ops2's view arrives, and what the witnesses say of it.
 */
static void hear_peer(struct driven *t, const struct controller_record *view, bool convicts,
                      const char *words)
{
    struct witness_verdict verdict;
    core_take_peer(&t->core, "ops2", view, t->now_ms);
    refuse_primary(t, 0, 5);
    witness_ask(&t->core, 0, &verdict);
    assert_int_equal(state(t, 0)->state, convicts ? DB_REVOKING : DB_SUSPECT);
    if (!convicts) {
        assert_non_null(strstr(verdict.text, words));
    }
}

static void a_controller_that_agrees_in_an_answer_to_ours_convicts(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = peer_sees(t, OPINION_DOWN);
    hear_peer(t, view, true, "");
    free(view);
    free(t);
}

static void a_view_that_a_stalled_watch_delivers_late_convicts_nobody(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = peer_sees(t, OPINION_DOWN);
    t->now_ms += 30000;
    hear_peer(t, view, false, "ms old (limit");
    free(view);
    free(t);
}

static void a_view_that_echoes_an_earlier_life_convicts_nobody(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = peer_sees(t, OPINION_DOWN);
    view->echoes[0].sequence += UINT64_C(1) << 32;
    hear_peer(t, view, false, "how old its view of n0 is, is not known");
    view->echoes_len = 0;
    hear_peer(t, view, false, "how old its view of n0 is, is not known");
    free(view);
    free(t);
}

static void a_controller_of_another_definition_convicts_nobody(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = peer_sees(t, OPINION_DOWN);
    view->config_revision++;
    hear_peer(t, view, false, "revision 2 of the definition, this one 1");
    free(view);
    free(t);
}

static void a_controller_that_sees_nothing_convicts_nobody(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = peer_sees(t, OPINION_DOWN);
    view->blind = true;
    hear_peer(t, view, false, "sees nothing at all");
    free(view);
    free(t);
}

static void a_view_echoes_the_latest_of_each_controller_that_is_there(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *own = calloc(1, sizeof *own);
    struct controller_record *view = peer_sees(t, OPINION_UP);
    assert_non_null(own);
    core_take_peer(&t->core, "ops2", view, t->now_ms);
    core_view(&t->core, t->now_ms, own);
    assert_int_equal(own->echoes_len, 1);
    assert_string_equal(own->echoes[0].id, "ops2");
    assert_int_equal(own->echoes[0].sequence, 7);
    uint64_t sequence = own->sequence;
    core_take_peer(&t->core, "ops2", NULL, t->now_ms);
    core_view(&t->core, t->now_ms, own);
    assert_int_equal(own->echoes_len, 0);
    assert_int_equal(own->sequence, sequence + 1);
    free(own);
    free(view);
    free(t);
}

static void a_controller_that_left_a_moment_ago_counts_until_its_lease_ends(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = calloc(1, sizeof *view);
    assert_non_null(view);
    snprintf(view->id, NAME_SIZE, "ops2");
    core_take_peer(&t->core, "ops2", view, t->now_ms);
    refuse_primary(t, 0, 5);
    assert_int_equal(state(t, 0)->state, DB_SUSPECT);
    /* The watch is heard after the finding was made, and before it is looked at. */
    t->now_ms += 300;
    struct core_event standby = found(t, 0, 1, ROLE_STANDBY, 5000);
    core_take_peer(&t->core, "ops2", NULL, t->now_ms + 2);
    step(t, &standby);
    assert_int_equal(state(t, 0)->state, DB_SUSPECT);
    free(view);
    free(t);
}

static void a_fifth_controller_is_heard_when_others_have_gone(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record *view = calloc(1, sizeof *view);
    assert_non_null(view);
    for (int p = 0; p < PEERS_MAX; p++) {
        char id[NAME_SIZE];
        name_it(id, "old", p);
        snprintf(view->id, NAME_SIZE, "%s", id);
        core_take_peer(&t->core, id, view, t->now_ms);
        core_take_peer(&t->core, id, NULL, t->now_ms + (p == 2 ? 0 : 10));
    }
    snprintf(view->id, NAME_SIZE, "ops9");
    core_take_peer(&t->core, "ops9", view, t->now_ms + 20);
    assert_string_equal(t->core.peers[2].view.id, "ops9");
    assert_true(t->core.peers[2].present);
    free(view);
    free(t);
}

static void findings_about_another_address_are_not_carried_over(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    refuse_primary(t, 0, 2);
    snprintf(t->def.nodes[0].address, sizeof t->def.nodes[0].address, "10.0.9.1");
    assert_true(core_take_definition(&t->core, &t->def, 2));
    assert_int_equal(state(t, 0)->instances[0].health.latest_ms, 0);
    assert_int_not_equal(state(t, 0)->instances[1].health.latest_ms, 0);
    free(t);
}

/* The permit of a promoted primary lists what the definition declared then; a new declaration
 * replaces it, but never an entry that is in force. */
static void a_new_declaration_of_sync_is_listed_when_the_old_one_is_not_in_force(void **unused)
{
    (void)unused;
    struct definition def = one_database(2);
    def.databases[0].durability = DURABILITY_SYNC;
    def.databases[0].sync_len = 1;
    def.databases[0].sync[0] = (struct sync_entry_def){.k = 1, .members = {1}, .members_len = 1};
    struct driven *t = settled_with(def);
    assert_int_equal(state(t, 0)->permit.sync_len, 1);
    assert_string_equal(state(t, 0)->permit.sync[0].members[0], "i1");
    assert_false(core_sync_enforced(&t->core, 0));
    struct core_event event = found(t, 0, 0, ROLE_PRIMARY, 6000);
    snprintf(event.instance.fact.sync_names, TEXT_SIZE, "FIRST 1 (i1)");
    event.instance.fact.sync_commit_on = true;
    event.instance.fact.standbys_len = 1;
    event.instance.fact.standbys[0].sync = true;
    step(t, &event);
    accept_saves(t);
    assert_true(core_sync_enforced(&t->core, 0));
    t->core.def.databases[0].sync_len = 0;
    t->core.def.databases[0].durability = DURABILITY_ASYNC;
    step(t, &event);
    assert_int_equal(state(t, 0)->permit.sync_len, 1);
    free(t);
}

static void a_name_that_stands_twice_in_the_sync_list_is_not_two(void **unused)
{
    (void)unused;
    struct permit_record permit = {.sync_len = 1,
                                   .sync = {{.k = 1, .members = {"a", "b"}, .members_len = 2}}};
    assert_true(sync_names_match("FIRST 1 (a, b)", &permit));
    assert_true(sync_names_match("ANY 1 (b,\"a\")", &permit));
    assert_true(sync_names_match("a, b", &permit));
    assert_false(sync_names_match("FIRST 1 (a, a)", &permit));
    assert_false(sync_names_match("FIRST 1 (a)", &permit));
    assert_false(sync_names_match("FIRST 2 (a, b)", &permit));
    assert_false(sync_names_match("FIRST 1 (a, *)", &permit));
    assert_false(sync_names_match("", &permit));
}

static void a_list_that_no_entry_can_say_is_none(void **unused)
{
    (void)unused;
    struct permit_record permit = {.sync_len = 1,
                                   .sync = {{.k = 1, .members = {"a", "{b"}, .members_len = 2}}};
    char longest[4 * NAME_SIZE];
    assert_true(sync_names_match("\tFIRST 1\t(\ta,\t{b )\t", &permit));
    assert_false(sync_names_match("FIRST 1 (\"a\", \"{b)", &permit));
    assert_false(sync_names_match("{IRST 1 (a, {b)", &permit));
    assert_false(sync_names_match("99999999999 (a, {b)", &permit));
    assert_false(sync_names_match("FIRST 1 (a, b, c, d, e, f)", &permit));
    snprintf(longest, sizeof longest, "FIRST 1 (a, %0*d)", NAME_SIZE, 1);
    assert_false(sync_names_match(longest, &permit));
}

/* ---- records ---- */

/* Every save with a group that moves in PHASE_FENCE has its permit's revocation beside it. */
static void a_resumed_group_is_not_recorded_as_moving_before_its_permit_is_revoked(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct group_record *group = group_with(t, 0);
    group->paused = true;
    t->core.groups[0].record = *group;
    free(group);
    refuse_primary(t, 0, 5);
    assert_int_equal(state(t, 0)->state, DB_HELD);
    accept_saves(t);
    struct request_record request = asked(REQUEST_RESUME, "r1");
    assert_true(core_take_request(&t->core, &request, ++t->revision));
    t->now_ms += 300;
    find_role(t, 0, 1, ROLE_STANDBY, 5000);
    const struct effect *save = find_effect(t, EFFECT_SAVE);
    assert_non_null(save);
    bool permit = false;
    for (int i = 0; i < save->save.items_len; i++) {
        permit = permit || save->save.items[i].kind == SAVE_PERMIT;
    }
    assert_int_equal(t->core.groups[0].record.moving, permit);
    free(t);
}

static void reading_the_records_again_is_not_another_leaders_life(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    uint32_t lives = 0;
    t->now_ms += 60000;
    lead(t);
    for (int round = 0; round < 8; round++) {
        struct group_record *group = group_with(t, 0);
        moving_with(group, PHASE_FENCE)->lives = lives;
        core_forget_records(&t->core);
        take_group(t, group);
        take_permit(t, 0, PERMIT_REVOKED, "n0");
        loaded(t);
        assert_int_equal(state(t, 0)->state, DB_FENCING);
        lives = core_move_of(&t->core, 0)->lives;
        struct core_event failed = event_of(t, EV_SAVE_FAILED);
        step(t, &failed);
        assert_non_null(find_effect(t, EFFECT_RELOAD));
    }
    assert_int_equal(lives, 1);
    free(t);
}

static void what_is_burnt_stays_burnt_over_the_next_failover(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(4));
    struct group_record *group = group_with(t, 0);
    struct move_record *move = moving_with(group, PHASE_PROMOTE);
    snprintf(group->databases[0].burnt[0], NAME_SIZE, "n3");
    group->databases[0].burnt_len = 1;
    snprintf(move->candidate, NAME_SIZE, "n1");
    snprintf(move->burnt[0], NAME_SIZE, "n2");
    move->burnt_len = 1;
    t->now_ms += 60000;
    lead(t);
    take_group(t, group);
    take_permit(t, 0, PERMIT_GRANTED, "n1");
    loaded(t);
    accept_saves(t);
    t->now_ms += 100;
    struct core_event event = found(t, 0, 1, ROLE_PRIMARY, 6000);
    event.instance.fact.timeline = 2;
    step(t, &event);
    assert_int_equal(state(t, 0)->state, DB_RECORDING);
    const struct database_record *record = db_record_of(&t->core, 0);
    assert_string_equal(record->primary, "n1");
    assert_int_equal(record->burnt_len, 2);
    assert_string_equal(record->burnt[0], "n3");
    assert_string_equal(record->burnt[1], "n2");
    free(t);
}

static void databases_that_were_renamed_leave_room_for_new_ones(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    struct group_record *group = group_with(t, 0);
    group->databases_len = DATABASES_MAX;
    for (int i = 0; i < DATABASES_MAX; i++) {
        name_it(group->databases[i].database, "former", i);
        snprintf(group->databases[i].primary, NAME_SIZE, "n0");
    }
    t->now_ms += 60000;
    lead(t);
    take_group(t, group);
    loaded(t);
    assert_int_equal(state(t, 0)->state, DB_UNADOPTED);
    find_role(t, 0, 0, ROLE_PRIMARY, 5000);
    find_role(t, 0, 1, ROLE_STANDBY, 5000);
    assert_int_equal(state(t, 0)->state, DB_ADOPTING);
    assert_string_equal(db_record_of(&t->core, 0)->primary, "n0");
    free(t);
}

static void records_that_could_not_be_acted_on_are_parked(void **unused)
{
    (void)unused;
    for (int wrong = 0; wrong < 4; wrong++) {
        struct driven *t = driven_with(one_database(2));
        struct group_record *group = group_with(t, 0);
        struct move_record *move = moving_with(group, wrong == 3 ? PHASE_REDIRECT : PHASE_PROMOTE);
        snprintf(move->candidate, NAME_SIZE, "n1");
        if (wrong == 0) {
            move->system_id = 0;
        } else if (wrong == 1) {
            move->from_timeline = 0;
        } else if (wrong == 2) {
            snprintf(move->fence_node, NAME_SIZE, "n5"); /* no instance of d0 is there */
        }
        t->now_ms += 60000;
        lead(t);
        take_group(t, group);
        take_permit(t, 0, PERMIT_GRANTED, "n1");
        loaded(t);
        assert_int_equal(state(t, 0)->state, DB_PARKED);
        free(t);
    }
}

static void the_running_workflows_incident_is_kept_though_a_clock_jumped_back(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    struct group_record *group = group_with(t, 0);
    moving_with(group, PHASE_FENCE);
    take_group(t, group);
    struct incident_record *incident = calloc(1, sizeof *incident);
    assert_non_null(incident);
    snprintf(incident->group, NAME_SIZE, "shop");
    static const char *const ids[] = {"20260101-000000-shop", "20260101-013000-shop"};
    for (int i = 0; i < 2; i++) {
        snprintf(incident->id, ID_SIZE, "%s", ids[i]);
        core_take_incident(&t->core, incident, ++t->revision, t->now_ms, WALL_MS);
    }
    assert_string_equal(t->core.groups[0].incident.id, ids[0]);
    core_forget_records(&t->core);
    group = group_with(t, 0);
    moving_with(group, PHASE_FENCE);
    take_group(t, group);
    for (int i = 1; i >= 0; i--) {
        snprintf(incident->id, ID_SIZE, "%s", ids[i]);
        core_take_incident(&t->core, incident, ++t->revision, t->now_ms, WALL_MS);
    }
    assert_string_equal(t->core.groups[0].incident.id, ids[0]);
    free(incident);
    free(t);
}

/* ---- taking over ---- */

static struct driven *evidence_of_another_life(void)
{
    struct driven *t = driven_with(one_database(2));
    struct group_record *group = group_with(t, 0);
    moving_with(group, PHASE_CHOOSE)->accept_loss_bytes = 1;
    t->now_ms += 60000;
    lead(t);
    take_group(t, group);
    take_permit(t, 0, PERMIT_REVOKED, "n0");
    loaded(t);
    accept_saves(t);
    for (int round = 0; round < 3; round++) {
        t->now_ms += 10;
        find_role(t, 0, 1, ROLE_STANDBY, 5000);
    }
    return t;
}

static void aged_evidence_waits_for_a_look_at_the_old_primary(void **unused)
{
    (void)unused;
    struct driven *t = evidence_of_another_life();
    assert_int_equal(state(t, 0)->state, DB_CHOOSING);
    find_cause(t, 0, 0, CAUSE_REFUSED);
    assert_int_equal(state(t, 0)->state, DB_GRANTING);
    free(t);
}

static void an_old_primary_that_was_switched_on_again_voids_aged_evidence(void **unused)
{
    (void)unused;
    struct driven *t = evidence_of_another_life();
    find_role(t, 0, 0, ROLE_PRIMARY, 6000);
    assert_int_equal(state(t, 0)->state, DB_FENCE_WAIT);
    assert_int_equal(core_move_of(&t->core, 0)->evidence_len, 0);
    free(t);
}

static void no_order_goes_out_when_the_old_primary_writes_while_the_grant_is_recorded(void **unused)
{
    (void)unused;
    struct driven *t = evidence_of_another_life();
    find_cause(t, 0, 0, CAUSE_REFUSED);
    assert_int_equal(state(t, 0)->state, DB_GRANTING);
    t->now_ms += 10;
    find_role(t, 0, 0, ROLE_PRIMARY, 6000);
    accept_save(t);
    assert_int_equal(state(t, 0)->state, DB_PARKED);
    assert_null(find_effect(t, EFFECT_PROMOTE));
    free(t);
}

/* ---- a write is tried after the proof ---- */

/* Fails, is fenced, and the proof is recorded; the effects of that are in t->effects. */
static void prove(struct driven *t)
{
    refuse_primary(t, 0, 6);
    assert_int_equal(state(t, 0)->state, DB_REVOKING);
    accept_saves(t);
    assert_int_equal(state(t, 0)->state, DB_FENCING);
    t->now_ms += 300;
    report_fence(t, state(t, 0)->step, FENCED_PROVEN, "off");
    assert_null(find_effect(t, EFFECT_TRY_WRITE)); /* not before it is recorded */
    t->now_ms += 3;
    accept_save(t);
    assert_int_equal(state(t, 0)->state, DB_CHOOSING);
}

static void take_view_of(struct driven *t, const char *node, int64_t lives_after)
{
    struct controller_record *view = calloc(1, sizeof *view);
    assert_non_null(view);
    snprintf(view->id, NAME_SIZE, "ops2");
    view->config_revision = 1;
    view->targets_len = 1;
    snprintf(view->targets[0].database, NAME_SIZE, "d0");
    snprintf(view->targets[0].node, NAME_SIZE, "%s", node);
    view->targets[0].lives_after = lives_after;
    core_take_peer(&t->core, "ops2", view, t->now_ms);
    free(view);
    struct core_event event = event_of(t, EV_PEER);
    step(t, &event);
}

static void the_leader_tries_a_write_as_soon_as_the_proof_is_recorded(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    prove(t);
    const struct effect *effect = find_effect(t, EFFECT_TRY_WRITE);
    assert_non_null(effect);
    assert_int_equal(count_effects(t, EFFECT_TRY_WRITE), 1);
    assert_int_equal(effect->probe.instance, 0);
    assert_int_equal(effect->deadline_ms, t->now_ms + 300);
    tick(t);
    assert_null(find_effect(t, EFFECT_TRY_WRITE)); /* once for each proof */
    struct core_event tried = found(t, 0, 0, ROLE_PRIMARY, 6000);
    tried.type = EV_WRITE_TRIED;
    tried.instance.fact.asked_ms = t->now_ms;
    step(t, &tried);
    assert_int_equal(state(t, 0)->state, DB_FENCE_WAIT);
    free(t);
}

static void a_try_that_fails_changes_no_opinion(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    prove(t);
    struct health before = state(t, 0)->instances[0].health;
    struct core_event tried = event_of(t, EV_WRITE_TRIED);
    tried.instance.fact.asked_ms = t->now_ms;
    tried.instance.fact.answered_ms = t->now_ms + 300;
    tried.instance.fact.cause = CAUSE_TIMED_OUT;
    step(t, &tried);
    assert_memory_equal(&before, &state(t, 0)->instances[0].health, sizeof before);
    assert_int_equal(state(t, 0)->state, DB_CHOOSING);
    free(t);
}

static void another_controllers_finding_counts_when_it_had_seen_the_record_of_the_proof(
    void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    prove(t);
    int64_t proven = t->core.groups[0].revision;
    take_view_of(t, "n0", 0);
    take_view_of(t, "n0", proven - 1);
    take_view_of(t, "n1", proven); /* the candidate lives: good */
    assert_int_equal(state(t, 0)->state, DB_CHOOSING);
    take_view_of(t, "n0", proven);
    assert_int_equal(state(t, 0)->state, DB_FENCE_WAIT);
    assert_int_equal(core_move_of(&t->core, 0)->evidence_len, 0);
    free(t);
}

static void a_follower_tries_a_write_when_it_reads_of_the_proof_and_says_what_it_found(
    void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    struct controller_record *view = calloc(1, sizeof *view);
    struct group_record *group = group_with(t, 0);
    assert_non_null(view);
    take_permit(t, 0, PERMIT_REVOKED, "n0");
    struct move_record *move = moving_with(group, PHASE_CHOOSE);
    move->evidence[0].wall_ms = WALL_MS;
    t->now_ms += 1000;
    find_role(t, 0, 0, ROLE_PRIMARY, 5000); /* asked for before: it says nothing about the proof */
    take_group(t, group);
    tick(t);
    const struct effect *effect = find_effect(t, EFFECT_TRY_WRITE);
    assert_non_null(effect);
    assert_int_equal(effect->probe.instance, 0);
    core_view(&t->core, t->now_ms, view);
    assert_int_equal(view->targets[0].lives_after, 0);
    struct core_event tried = found(t, 0, 0, ROLE_PRIMARY, 6000);
    tried.type = EV_WRITE_TRIED;
    tried.instance.fact.asked_ms = t->now_ms;
    step(t, &tried);
    assert_non_null(find_effect(t, EFFECT_PUBLISH));
    core_view(&t->core, t->now_ms, view);
    assert_int_equal(view->targets[0].lives_after, t->core.groups[0].revision);
    assert_int_equal(view->targets[1].lives_after, 0);
    free(view);
    free(t);
}

/* ---- two primaries ---- */

/* The leader has looked for two seconds, and does not reach n1; ops2 sees it take writes. */
static struct driven *without_n1(struct controller_record **ret_view)
{
    struct driven *t = settled_with(one_database(2));
    for (int round = 0; round < 4; round++) {
        t->now_ms += 500;
        find_role(t, 0, 0, ROLE_PRIMARY, 5000);
        find_cause(t, 0, 1, CAUSE_TIMED_OUT);
    }
    struct controller_record *view = peer_sees(t, OPINION_UP);
    snprintf(view->targets[0].node, NAME_SIZE, "n1");
    view->targets[0].writable = true;
    view->targets[0].age_ms = 100;
    t->now_ms += 300;
    *ret_view = view;
    return t;
}

static void hear(struct driven *t, const struct controller_record *view)
{
    core_take_peer(&t->core, "ops2", view, t->now_ms);
    struct core_event event = event_of(t, EV_PEER);
    step(t, &event);
}

static const struct alarm_record *alarm_of(const struct driven *t, const char *key)
{
    const struct group_record *record = &t->core.groups[0].record;
    for (int a = 0; a < record->alarms_len; a++) {
        if (strcmp(record->alarms[a].key, key) == 0) {
            return &record->alarms[a];
        }
    }
    return NULL;
}

static void a_second_primary_that_only_the_follower_sees_is_counted_and_fenced(void **unused)
{
    (void)unused;
    struct controller_record *view;
    struct driven *t = without_n1(&view);
    assert_int_equal(core_primaries_seen(&t->core, 0), 1);
    hear(t, view);
    assert_int_equal(core_primaries_seen(&t->core, 0), 2);
    const struct alarm_record *alarm = alarm_of(t, "primaries_seen.d0");
    assert_non_null(alarm);
    assert_non_null(strstr(alarm->text, "2 primaries seen: n1 takes writes (seen by controller "
                                        "ops2), the recorded primary is n0"));
    assert_null(find_effect(t, EFFECT_FENCE)); /* not before it is recorded */
    accept_save(t);
    const struct effect *fence = find_effect(t, EFFECT_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->fence.node, 1);
    free(view);
    free(t);
}

static void hear_no_intruder(struct driven *t, const struct controller_record *view)
{
    hear(t, view);
    assert_int_equal(core_primaries_seen(&t->core, 0), 1);
    assert_null(alarm_of(t, "primaries_seen.d0"));
}

static void a_word_of_two_primaries_counts_only_when_it_is_known_to_be_new(void **unused)
{
    (void)unused;
    struct controller_record *view;
    struct driven *t = without_n1(&view);
    struct controller_record other = *view;
    other.echoes_len = 0; /* it may be of any age */
    hear_no_intruder(t, &other);
    other = *view;
    other.echoes[0].sequence += UINT64_C(1) << 32; /* an answer to an earlier life */
    hear_no_intruder(t, &other);
    other = *view;
    other.config_revision = 2; /* it may look elsewhere */
    hear_no_intruder(t, &other);
    other = *view;
    other.targets[0].writable = false;
    hear_no_intruder(t, &other);
    other = *view;
    other.targets[0].age_ms = 60000;
    hear_no_intruder(t, &other);
    /* The probe was sent before the present state, when n1 may rightly have been the primary. */
    other.targets[0].age_ms = 600;
    hear_no_intruder(t, &other);
    t->now_ms += 30000; /* a stalled watch */
    find_role(t, 0, 0, ROLE_PRIMARY, 5000);
    hear_no_intruder(t, view);
    free(view);
    free(t);
}

static void who_has_left_sees_no_primaries(void **unused)
{
    (void)unused;
    struct controller_record *view;
    struct driven *t = without_n1(&view);
    core_take_peer(&t->core, "ops2", view, t->now_ms);
    hear_no_intruder(t, NULL);
    free(view);
    free(t);
}

static void a_view_calls_writable_only_what_is_of_the_permits_system(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    struct controller_record *view = calloc(1, sizeof *view);
    assert_non_null(view);
    find_role(t, 0, 0, ROLE_PRIMARY, 5000);
    core_view(&t->core, t->now_ms, view);
    assert_false(view->targets[0].writable); /* of no permit that this controller knows */
    take_steady_records(t);
    core_view(&t->core, t->now_ms, view);
    assert_true(view->targets[0].writable);
    struct core_event event = found(t, 0, 0, ROLE_PRIMARY, 5000);
    event.instance.fact.system_id = SYSTEM_ID + 1;
    step(t, &event);
    core_view(&t->core, t->now_ms, view);
    assert_false(view->targets[0].writable);
    find_role(t, 0, 1, ROLE_STANDBY, 5000);
    core_view(&t->core, t->now_ms, view);
    assert_false(view->targets[1].writable);
    free(view);
    free(t);
}

/* ---- believing a failure ---- */

static void a_standby_heard_once_since_the_failure_does_not_convict_by_its_silence(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    for (int round = 0; round < 5; round++) {
        t->now_ms += 300;
        find_cause(t, 0, 0, CAUSE_REFUSED);
    }
    assert_int_equal(state(t, 0)->state, DB_SUSPECT);
    find_role(t, 0, 1, ROLE_STANDBY, 5000);
    tick(t);
    assert_int_equal(state(t, 0)->held_by, HOLD_WITNESS);
    assert_non_null(strstr(state(t, 0)->held, "not been heard twice"));
    t->now_ms += 100; /* too soon after the first to have shown anything */
    find_role(t, 0, 1, ROLE_STANDBY, 5000);
    assert_int_equal(state(t, 0)->held_by, HOLD_WITNESS);
    t->now_ms += 150;
    find_role(t, 0, 1, ROLE_STANDBY, 5000);
    assert_int_equal(state(t, 0)->state, DB_REVOKING);
    free(t);
}

static void a_standby_that_does_not_answer_has_no_voice(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(3));
    struct core_check checks[WITNESSES_MAX];
    t->now_ms += 4000; /* nothing is heard of it any more */
    for (int round = 0; round < 5; round++) {
        t->now_ms += 300;
        find_role(t, 0, 1, ROLE_STANDBY, 5000);
        find_cause(t, 0, 2, CAUSE_TIMED_OUT);
        find_cause(t, 0, 0, CAUSE_REFUSED);
    }
    int len = witness_votes(&t->core, 0, false, checks);
    assert_int_equal(len, 4);
    for (int i = 0; i < len; i++) {
        assert_true(checks[i].passes);
    }
    free(t);
}

/* ---- neighbours ---- */

/* d0 moves from n0 to n1, in that phase; d1's primary is on n1, with a standby on n2. */
static struct driven *moving_beside_another(enum move_phase phase)
{
    struct definition def = one_database(3);
    define_database(&def, 0, 1, 2);
    def.proxies_len = 1; /* which never answers, so that the move does not end */
    def.routes_len = 1;
    def.routes[0] = (struct route_def){.database = 0, .service = -1, .proxies_len = 1};
    struct driven *t = driven_with(def);
    struct group_record *group = group_with(t, 0);
    snprintf(moving_with(group, phase)->candidate, NAME_SIZE, "n1");
    if (phase >= PHASE_REDIRECT) {
        snprintf(group->databases[0].primary, NAME_SIZE, "n1");
    }
    t->now_ms += 60000;
    lead(t);
    take_group(t, group);
    take_permit(t, 0, PERMIT_GRANTED, "n1");
    take_permit(t, 1, PERMIT_GRANTED, "n1");
    loaded(t);
    accept_saves(t);
    find_role(t, 1, 0, ROLE_PRIMARY, 5000);
    find_role(t, 1, 1, ROLE_STANDBY, 5000);
    return t;
}

static void a_node_that_a_move_ends_on_is_not_fenced_for_its_neighbour(void **unused)
{
    (void)unused;
    struct driven *t = moving_beside_another(PHASE_REDIRECT);
    for (int round = 0; round < 6; round++) {
        t->now_ms += 300;
        struct core_event well = found(t, 0, 1, ROLE_PRIMARY, 6000);
        well.instance.fact.timeline = 2;
        step(t, &well);
        find_role(t, 1, 1, ROLE_STANDBY, 5000);
        find_cause(t, 1, 0, CAUSE_REFUSED);
    }
    assert_int_equal(state(t, 1)->held_by, HOLD_NEIGHBOUR);
    assert_non_null(strstr(state(t, 1)->held, "being moved to it"));
    free(t);
}

static void a_lost_candidates_fence_revokes_its_neighbours_permit(void **unused)
{
    (void)unused;
    struct driven *t = moving_beside_another(PHASE_PROMOTE);
    struct core_event lsn = found(t, 0, 2, ROLE_STANDBY, 5000);
    t->core.groups[0].record.workflow.moves[0].accept_loss_bytes = 1;
    for (int round = 0; round < 6; round++) {
        t->now_ms += 300;
        find_role(t, 1, 0, ROLE_PRIMARY, 5000);
        find_role(t, 1, 1, ROLE_STANDBY, 5000);
        lsn = found(t, 0, 2, ROLE_STANDBY, 5000);
        step(t, &lsn);
        find_cause(t, 0, 1, CAUSE_REFUSED);
    }
    assert_int_equal(state(t, 0)->state, DB_REVOKING);
    assert_int_equal(state(t, 1)->state, DB_REVOKING);
    assert_int_equal(state(t, 1)->permit.state, PERMIT_REVOKED);
    free(t);
}

/* ---- alarms ---- */

static void a_person_is_called_once_while_the_hold_changes_its_reason(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    t->core.groups[0].record.paused = true;
    refuse_primary(t, 0, 5);
    assert_int_equal(state(t, 0)->state, DB_HELD);
    accept_save(t);
    assert_int_equal(count_effects(t, EFFECT_CALL), 1);
    accept_saves(t);
    t->core.groups[0].record.paused = false;
    t->core.def.groups[0].automatic = false;
    t->now_ms += 100;
    tick(t);
    assert_non_null(strstr(alarm_of(t, "held.d0")->text, "automatic failover is off"));
    accept_save(t);
    assert_int_equal(count_effects(t, EFFECT_CALL), 0);
    free(t);
}

static void store_has(struct driven *t, uint64_t mib)
{
    struct core_event event = event_of(t, EV_STORE);
    event.store.bytes = mib << 20;
    event.store.quota_bytes = UINT64_C(1000) << 20;
    step(t, &event);
}

static void a_store_that_fills_up_is_an_alarm_and_calls_a_person_before_it_is_full(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    store_has(t, 599);
    assert_null(alarm_of(t, "etcd.size"));
    store_has(t, 601);
    accept_saves(t);
    assert_non_null(strstr(alarm_of(t, "etcd.size")->text, "601 MiB of its quota of 1000 MiB"));
    assert_non_null(strstr(alarm_of(t, "etcd.size")->command, "etcdctl defrag"));
    assert_false(alarm_of(t, "etcd.size")->wakes);
    assert_null(alarm_of(t, "etcd.full"));

    store_has(t, 851);
    assert_true(alarm_of(t, "etcd.full")->wakes);
    assert_null(find_effect(t, EFFECT_CALL)); /* recorded before anybody is called */
    accept_save(t);
    assert_int_equal(count_effects(t, EFFECT_CALL), 1);
    accept_saves(t);

    store_has(t, 550); /* swings back, not far enough */
    assert_non_null(alarm_of(t, "etcd.size"));
    assert_non_null(alarm_of(t, "etcd.full"));
    store_has(t, 860);
    accept_saves(t);
    assert_int_equal(count_effects(t, EFFECT_CALL), 0);
    store_has(t, 499);
    assert_null(alarm_of(t, "etcd.size"));
    assert_null(alarm_of(t, "etcd.full"));
    free(t);
}

static void a_controller_that_tells_finds_a_place_among_keys_that_tell_nothing(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct controller_record view = {.sequence = 0};
    for (int i = 0; i < 2 * PEERS_MAX; i++) {
        snprintf(view.id, sizeof view.id, "bad-%d", i);
        core_take_peer(&t->core, view.id, &view, t->now_ms);
    }
    view.sequence = 1;
    bool found = false;
    snprintf(view.id, sizeof view.id, "ops9");
    core_take_peer(&t->core, "ops9", &view, t->now_ms);
    for (int p = 0; p < PEERS_MAX; p++) {
        found = found || (t->core.peers[p].present && t->core.peers[p].view.sequence == 1);
    }
    assert_true(found);
    view.sequence = 0; /* and is not driven out again */
    for (int i = 0; i < 2 * PEERS_MAX; i++) {
        snprintf(view.id, sizeof view.id, "worse-%d", i);
        core_take_peer(&t->core, view.id, &view, t->now_ms);
    }
    found = false;
    for (int p = 0; p < PEERS_MAX; p++) {
        found = found || strcmp(t->core.peers[p].view.id, "ops9") == 0;
    }
    assert_true(found);
    free(t);
}

static void alarms_of_a_former_leader_end_when_all_is_well(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(one_database(2));
    struct group_record *group = group_with(t, 0);
    static const char *const keys[] = {"held.d0", "parked.d0"};
    for (int i = 0; i < 2; i++) {
        snprintf(group->alarms[i].key, sizeof group->alarms[i].key, "%s", keys[i]);
        group->alarms[i].wakes = true;
        group->alarms[i].called = true;
    }
    group->alarms_len = 2;
    t->now_ms += 60000;
    lead(t);
    take_steady_records(t);
    take_group(t, group);
    loaded(t);
    assert_non_null(alarm_of(t, "held.d0")); /* not before the primary was seen */
    find_role(t, 0, 0, ROLE_PRIMARY, 5000);
    assert_null(alarm_of(t, "held.d0"));
    assert_null(alarm_of(t, "parked.d0"));
    free(t);
}

static void an_alarm_that_calls_finds_room_among_those_that_do_not(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct group_record *group = &t->core.groups[0].record;
    group->alarms_len = ALARMS_MAX;
    for (int i = 0; i < ALARMS_MAX; i++) {
        name_it(group->alarms[i].key, "proxy.p", i);
    }
    group->paused = true;
    refuse_primary(t, 0, 5);
    assert_non_null(alarm_of(t, "held.d0"));
    assert_int_equal(group->alarms_len, ALARMS_MAX);
    free(t);
}

static void a_primary_that_became_a_standby_by_itself_calls_a_person(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    for (int round = 0; round < 20; round++) {
        t->now_ms += 500;
        find_cause(t, 0, 0, CAUSE_IN_RECOVERY);
    }
    assert_int_equal(state(t, 0)->state, DB_NORMAL);
    assert_non_null(alarm_of(t, "primary.d0"));
    assert_true(alarm_of(t, "primary.d0")->wakes);
    free(t);
}

/* ---- bounds ---- */

static struct definition largest(void)
{
    struct definition def = one_database(INSTANCES_MAX);
    def.groups_len = GROUPS_MAX;
    for (int g = 0; g < GROUPS_MAX; g++) {
        def.groups[g] = def.groups[0];
        name_it(def.groups[g].name, "g", g);
    }
    while (def.databases_len < DATABASES_MAX) {
        define_database(&def, def.databases_len, 0, INSTANCES_MAX);
    }
    def.proxies_len = PROXIES_MAX;
    def.routes_len = DATABASES_MAX;
    for (int p = 0; p < PROXIES_MAX; p++) {
        name_it(def.proxies[p].name, "p", p);
    }
    for (int r = 0; r < def.routes_len; r++) {
        def.routes[r] = (struct route_def){.database = r, .service = -1};
        for (int p = 0; p < PROXIES_MAX; p++) {
            def.routes[r].proxies[def.routes[r].proxies_len++] = p;
        }
    }
    return def;
}

/* The worst step: the takeover of a leader that finds every primary dead, and its saves. */
static void the_largest_definition_failing_at_once_fits_into_the_effects(void **unused)
{
    (void)unused;
    struct driven *t = driven_with(largest());
    take_steady_records(t);
    t->now_ms += 60000;
    for (int round = 0; round < 6; round++) {
        t->now_ms += 300;
        for (int db = 0; db < DATABASES_MAX; db++) {
            refuse_primary(t, db, 1);
        }
    }
    lead(t);
    take_steady_records(t);
    loaded(t);
    assert_in_range(t->effects.len, 40, EFFECTS_MAX);
    for (int db = 0; db < DATABASES_MAX; db++) {
        assert_in_range(state(t, db)->state, DB_SUSPECT, DB_FENCING);
    }
    accept_saves(t);
    assert_int_equal(count_effects(t, EFFECT_PROMOTE), 0);
    free(t);
}

static void a_proxy_without_a_wish_does_not_keep_the_core_awake(void **unused)
{
    (void)unused;
    struct definition def = one_database(2);
    def.proxies_len = 1;
    name_it(def.proxies[0].name, "p", 0);
    struct driven *t = settled_with(def);
    tick(t);
    assert_true(core_deadline_ms(&t->core) >= t->now_ms + 250);
    free(t);
}

/* The driver's answer to every look that was asked for: as wished, 20 ms later. */
static void answer_looks(struct driven *t)
{
    struct core_effects asked = t->effects;
    t->now_ms += 20;
    for (int i = 0; i < asked.len; i++) {
        if (asked.items[i].type == EFFECT_ROUTES) {
            struct core_event event = event_of(t, EV_ROUTES_DONE);
            event.routes.step = asked.items[i].step;
            event.routes.proxy = asked.items[i].routes.proxy;
            event.routes.answered = true;
            event.routes.results_len = 1;
            event.routes.results[0].confirmed = true;
            step(t, &event);
        }
    }
}

/* What a reload forgot is mended at the next look: that is how long it takes (failures.md H3). */
static void a_proxy_that_agrees_is_looked_at_every_second_all_the_same(void **unused)
{
    (void)unused;
    struct definition def = one_database(2);
    def.proxies_len = 1;
    name_it(def.proxies[0].name, "p", 0);
    def.routes_len = 1;
    def.routes[0] = (struct route_def){.database = 0, .service = -1, .proxies_len = 1};
    struct driven *t = settled_with(def);
    t->now_ms += 5000; /* the look that nobody answered while the records were loaded is given up */
    tick(t);
    uint64_t looked_ms = t->now_ms;
    int looks = 0;
    for (int round = 0; round < 200; round++) {
        if (find_effect(t, EFFECT_ROUTES) == NULL) {
            t->now_ms = core_deadline_ms(&t->core);
            find_role(t, 0, 0, ROLE_PRIMARY, 5000);
        }
        if (find_effect(t, EFFECT_ROUTES) != NULL) {
            assert_in_range(t->now_ms - looked_ms, 0, 1100);
            looked_ms = t->now_ms;
            looks++;
            answer_looks(t);
        }
    }
    assert_in_range(looks, 50, 200);
    free(t);
}

/* ---- what the definition does not know ---- */

static void records_of_names_that_the_definition_does_not_know_are_kept_out(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct core *before = malloc(sizeof *before);
    struct group_record *group = group_with(t, 0);
    struct incident_record *incident = calloc(1, sizeof *incident);
    struct permit_record permit = {.state = PERMIT_REVOKED, .epoch = {1, 9}};
    assert_true(before != NULL && incident != NULL);
    *before = t->core;
    snprintf(permit.database, NAME_SIZE, "d7");
    assert_false(core_take_permit(&t->core, &permit, ++t->revision));
    snprintf(group->name, NAME_SIZE, "bank");
    assert_false(core_take_group(&t->core, group, ++t->revision, t->now_ms));
    snprintf(incident->group, NAME_SIZE, "bank");
    assert_false(core_take_incident(&t->core, incident, ++t->revision, t->now_ms, WALL_MS));
    assert_memory_equal(&t->core.databases, &before->databases, sizeof before->databases);
    assert_memory_equal(&t->core.groups, &before->groups, sizeof before->groups);
    free(incident);
    free(group);
    free(before);
    free(t);
}

/* A probe that was under way when the definition changed. */
static void a_finding_about_a_target_that_is_no_more_is_none(void **unused)
{
    (void)unused;
    static const int no_more[][2] = {{-1, 0}, {1, 0}, {0, -1}, {0, 2}, {DATABASES_MAX, 0}};
    static const enum core_event_type types[] = {EV_INSTANCE, EV_WRITE_TRIED};
    struct driven *t = settled_with(one_database(2));
    struct core *before = malloc(sizeof *before);
    assert_non_null(before);
    *before = t->core;
    for (size_t i = 0; i < sizeof no_more / sizeof *no_more; i++) {
        for (size_t k = 0; k < 2; k++) {
            struct core_event event = found(t, no_more[i][0], no_more[i][1], ROLE_PRIMARY, 9000);
            event.type = types[k];
            step(t, &event);
            assert_null(find_effect(t, EFFECT_SAVE));
        }
        struct core_event event = event_of(t, EV_SERVICE);
        event.service.service = no_more[i][0];
        event.service.instance = no_more[i][1];
        step(t, &event);
        assert_null(find_effect(t, EFFECT_NOTE));
    }
    assert_memory_equal(&t->core.databases, &before->databases, sizeof before->databases);
    assert_memory_equal(&t->core.services, &before->services, sizeof before->services);
    free(before);
    free(t);
}

static void requests_find_room_while_there_is_some_and_wait_then(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    char id[ID_SIZE];
    struct request_record request;
    for (int i = 0; i < REQUESTS_MAX; i++) {
        assert_true(core_has_request_room(&t->core));
        snprintf(id, sizeof id, "req-0000000%d", i);
        request = asked(REQUEST_PAUSE, id);
        assert_true(core_take_request(&t->core, &request, ++t->revision));
        assert_true(core_take_request(&t->core, &request, ++t->revision)); /* known */
    }
    assert_false(core_has_request_room(&t->core));
    request = asked(REQUEST_PAUSE, "req-one-too-many");
    assert_false(core_take_request(&t->core, &request, ++t->revision));
    request.state = REQUEST_DONE;
    assert_true(core_take_request(&t->core, &request, ++t->revision)); /* it needs none */
    request = asked(REQUEST_PAUSE, "req-00000003");
    assert_true(core_take_request(&t->core, &request, ++t->revision));
    free(t);
}

/* A fence of n0 stops d1's primary too, and d1 has nobody else. */
static void a_person_cannot_stop_a_neighbour_that_nobody_takes_over_from(void **unused)
{
    (void)unused;
    for (int neighbour_works = 0; neighbour_works < 2; neighbour_works++) {
        struct definition def = one_database(2);
        define_database(&def, 0, 0, 1);
        struct driven *t = settled_with(def);
        for (int round = 0; round < 8 && neighbour_works == 0; round++) {
            t->now_ms += 500;
            find_role(t, 0, 0, ROLE_PRIMARY, 5000);
            find_role(t, 0, 1, ROLE_STANDBY, 5000);
            find_cause(t, 1, 0, CAUSE_REFUSED);
            accept_saves(t);
        }
        struct request_record request = asked(REQUEST_FAILOVER, "req-12345678");
        snprintf(request.database, NAME_SIZE, "d0");
        assert_true(core_take_request(&t->core, &request, ++t->revision));
        struct core_event event = event_of(t, EV_REQUEST);
        step(t, &event);
        const struct request_record *answered = &t->core.requests[0].record;
        if (neighbour_works) {
            assert_int_equal(answered->state, REQUEST_REFUSED);
            assert_non_null(strstr(answered->outcome, "d1"));
            assert_false(t->core.groups[0].record.moving);
        } else {
            assert_int_equal(answered->state, REQUEST_RUNNING);
            assert_true(t->core.groups[0].record.moving);
        }
        free(t);
    }
}

/* ---- what guards say, and what it is worth ---- */

static void says(struct driven *t, const char *node, enum guard_state is, enum role role,
                 uint64_t system_id)
{
    struct guard_record said = {
        .mode = GUARD_GUARDING, .state = is, .role = role, .system_id = system_id, .timeline = 1};
    snprintf(said.database, NAME_SIZE, "d0");
    snprintf(said.node, NAME_SIZE, "%s", node);
    snprintf(said.boot, sizeof said.boot, "boot-1");
    assert_true(core_take_guard(&t->core, &said, ++t->revision, t->now_ms));
}

static void expect_adoption(const struct driven *t, const char *refusal)
{
    char text[REASON_SIZE];
    bool refused = adopt_refused(&t->core, 0, text, sizeof text);
    assert_int_equal(refused, refusal[0] != '\0');
    if (strstr(text, refusal) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", text, refusal);
    }
}

static void an_adoption_is_refused_for_each_guard_that_is_not_in_its_role(void **unused)
{
    (void)unused;
    struct driven *t = guarded();
    struct fence_level_def *level = &t->core.def.nodes[1].levels[0];
    expect_adoption(t,
                    "n0: its guard has not reported within 15 s; n1: its guard has not reported");
    says(t, "n0", GUARD_RUNNING, ROLE_PRIMARY, SYSTEM_ID);
    says(t, "n1", GUARD_RUNNING, ROLE_PRIMARY, SYSTEM_ID);
    expect_adoption(t, "n1: its guard says running, primary; needed is running, standby");
    says(t, "n1", GUARD_STOPPED, ROLE_STANDBY, SYSTEM_ID);
    expect_adoption(t, "n1: its guard says stopped");
    says(t, "n1", GUARD_RUNNING, ROLE_STANDBY, 5);
    expect_adoption(t, "n1: its guard says system id 5");
    says(t, "n1", GUARD_RUNNING, ROLE_STANDBY, SYSTEM_ID);
    expect_adoption(t, "");
    level->method = FENCE_AGENT;
    expect_adoption(t, "n1: the definition has no level with method: guard for it");
    level->method = FENCE_GUARD;
    t->core.databases[0].state = DB_SUSPECT;
    expect_adoption(t, "it is suspect; needed is normal");
    t->core.databases[0].state = DB_NORMAL;
    t->now_ms += 15001;
    tick(t);
    expect_adoption(t, "has not reported within 15 s");
    free(t);
}

static void what_guards_said_in_another_store_is_forgotten(void **unused)
{
    (void)unused;
    struct driven *t = guarded();
    struct guard_record stranger = {.state = GUARD_RUNNING};
    struct renewal_record renewal = {.permit_revision = 1};
    says(t, "n0", GUARD_RUNNING, ROLE_PRIMARY, SYSTEM_ID);
    assert_true(guard_is_heard(&t->core, 0, 0));
    core_forget_store(&t->core);
    assert_false(guard_is_heard(&t->core, 0, 0));
    assert_false(state(t, 0)->renewal.known);
    t->revision = 1; /* of the store that was begun anew */
    says(t, "n0", GUARD_RUNNING, ROLE_PRIMARY, SYSTEM_ID);
    assert_true(guard_is_heard(&t->core, 0, 0));
    snprintf(stranger.database, NAME_SIZE, "d7");
    assert_false(core_take_guard(&t->core, &stranger, 3, t->now_ms));
    snprintf(stranger.database, NAME_SIZE, "d0");
    snprintf(stranger.node, NAME_SIZE, "n5");
    assert_false(core_take_guard(&t->core, &stranger, 3, t->now_ms));
    assert_false(core_take_renewal(&t->core, "d7", &renewal, 3, t->now_ms));
    free(t);
}

static void expect_tier(const struct driven *t, const char *tier)
{
    assert_string_equal(core_tier(&t->core, 0), tier);
}

static void the_tier_is_what_a_failover_could_rest_on(void **unused)
{
    (void)unused;
    struct driven *t = settled_with(one_database(2));
    struct node_def *node = &t->core.def.nodes[0];
    expect_tier(t, "fenced"); /* by an agent, or a command */
    node->levels[0].method = FENCE_OPERATOR;
    expect_tier(t, "fenced");
    node->levels[1].method = FENCE_OPERATOR;
    expect_tier(t, "best effort");
    free(t);

    t = guarded();
    struct database_state *d = &t->core.databases[0];
    expect_tier(t, "best effort"); /* its guard is not heard */
    says(t, "n0", GUARD_RUNNING, ROLE_PRIMARY, SYSTEM_ID);
    expect_tier(t, "fenced");
    says(t, "n1", GUARD_RUNNING, ROLE_STANDBY, SYSTEM_ID);
    expect_tier(t, "fenced"); /* commits wait for nobody */
    d->permit.sync_len = 1;
    d->permit.sync[0] = (struct sync_entry_record){.k = 1, .members = {"i1"}, .members_len = 1};
    t->core.groups[0].record.databases[0].sync_enforced = true;
    expect_tier(t, "strict");
    d->renewal.said.armed = false;
    expect_tier(t, "fenced");
    d->renewal.said.armed = true;
    d->renewal.said.epoch.counter--;
    expect_tier(t, "fenced");
    d->renewal.said.epoch.counter++;
    t->core.groups[0].record.databases[0].primary[0] = '\0';
    expect_tier(t, "best effort");
    free(t);
}

/* ---- giving the old primary its permit back ---- */

static const struct core_check *abandoning(const struct driven *t, const char *name)
{
    static struct core_check checks[STEER_CHECKS_MAX];
    int len = steer_checks(&t->core, 0, REQUEST_WORKFLOW_ABANDON, checks);
    for (int i = 0; i < len; i++) {
        if (strcmp(checks[i].name, name) == 0) {
            return &checks[i];
        }
    }
    fail_msg("no check is named %s", name);
    return &checks[0];
}

static void an_old_primary_gets_its_permit_back_only_on_the_records_own_history(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    t->core.databases[0].state = DB_FENCE_WAIT;
    struct instance_fact *fact = &t->core.databases[0].instances[0].fact;
    *fact = found(t, 0, 0, ROLE_PRIMARY, 5000).instance.fact;
    assert_true(abandoning(t, "old primary")->passes);
    assert_string_equal(abandoning(t, "old primary")->value, "takes writes");
    fact->timeline = 2;
    assert_false(abandoning(t, "old primary")->passes);
    assert_non_null(strstr(abandoning(t, "old primary")->text, "another history"));
    assert_string_equal(abandoning(t, "old primary")->value, "timeline 2");
    fact->timeline = 1;
    fact->system_id++;
    assert_false(abandoning(t, "old primary")->passes);
    fact->system_id--;
    fact->wrote = false;
    assert_false(abandoning(t, "old primary")->passes);
    fact->wrote = true;
    fact->role = ROLE_STANDBY;
    assert_string_equal(abandoning(t, "old primary")->value, "silent");
    fact->role = ROLE_PRIMARY;
    fact->answered_ms -= 60000; /* long ago */
    assert_false(abandoning(t, "old primary")->passes);
    t->core.groups[0].record.paused = true;
    assert_true(abandoning(t, "old primary")->passes); /* then nothing follows */
    assert_string_equal(abandoning(t, "old primary")->value, "silent, paused");
    snprintf(t->core.groups[0].record.workflow.moves[0].from, NAME_SIZE, "n5");
    assert_false(abandoning(t, "old primary")->passes);
    assert_non_null(strstr(abandoning(t, "old primary")->text, "no instance on n5"));
    assert_false(abandoning(t, "old primary's guard")->passes);
    free(t);
}

static void it_gets_it_back_only_from_a_guard_that_will_start_it_and_beside_no_other(void **unused)
{
    (void)unused;
    struct driven *t = fencing_guarded();
    t->core.databases[0].state = DB_FENCE_WAIT;
    assert_false(abandoning(t, "old primary's guard")->passes);
    says(t, "n0", GUARD_RUNNING, ROLE_PRIMARY, SYSTEM_ID);
    assert_true(abandoning(t, "old primary's guard")->passes);
    t->core.databases[0].permit.boot[0] = '\0';
    assert_string_equal(abandoning(t, "old primary's guard")->text, "the database has no guards");
    assert_true(abandoning(t, "other primary")->passes);
    t->core.databases[0].instances[1].fact = found(t, 0, 1, ROLE_PRIMARY, 6000).instance.fact;
    assert_false(abandoning(t, "other primary")->passes);
    assert_string_equal(abandoning(t, "other primary")->value, "n1");
    struct move_record *move = &t->core.groups[0].record.workflow.moves[0];
    move->evidence_len = 1; /* fenced since */
    snprintf(move->evidence[0].node, NAME_SIZE, "n1");
    assert_true(abandoning(t, "other primary")->passes);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adoption_is_refused_for_each_guard_that_is_not_in_its_role),
        cmocka_unit_test(what_guards_said_in_another_store_is_forgotten),
        cmocka_unit_test(the_tier_is_what_a_failover_could_rest_on),
        cmocka_unit_test(an_old_primary_gets_its_permit_back_only_on_the_records_own_history),
        cmocka_unit_test(it_gets_it_back_only_from_a_guard_that_will_start_it_and_beside_no_other),
        cmocka_unit_test(a_list_that_no_entry_can_say_is_none),
        cmocka_unit_test(records_of_names_that_the_definition_does_not_know_are_kept_out),
        cmocka_unit_test(a_finding_about_a_target_that_is_no_more_is_none),
        cmocka_unit_test(requests_find_room_while_there_is_some_and_wait_then),
        cmocka_unit_test(a_person_cannot_stop_a_neighbour_that_nobody_takes_over_from),
        cmocka_unit_test(a_promise_is_given_for_exactly_the_permit_that_is_known),
        cmocka_unit_test(who_has_begun_to_revoke_promises_nothing),
        cmocka_unit_test(time_counts_the_whole_sum_from_the_later_of_revocation_and_promise),
        cmocka_unit_test(time_is_no_evidence_for_who_would_not_have_been_asked),
        cmocka_unit_test(a_candidate_that_never_renewed_never_was_a_primary),
        cmocka_unit_test(time_is_no_evidence_without_an_armed_watchdog_or_where_guards_go_on_blind),
        cmocka_unit_test(a_guards_report_of_life_after_the_proof_voids_it),
        cmocka_unit_test(a_guards_report_counts_for_the_revocation_that_it_names),
        cmocka_unit_test(a_level_that_fails_for_two_databases_gives_way_to_the_next_one),
        cmocka_unit_test(a_level_that_never_reports_gives_way_for_all_who_share_it),
        cmocka_unit_test(a_persons_word_is_recorded_as_his_whatever_event_it_came_with),
        cmocka_unit_test(a_word_that_is_older_than_the_revocation_proves_nothing),
        cmocka_unit_test(a_new_leader_remembers_what_the_standby_said_while_it_followed),
        cmocka_unit_test(a_controller_that_agrees_in_an_answer_to_ours_convicts),
        cmocka_unit_test(a_view_that_a_stalled_watch_delivers_late_convicts_nobody),
        cmocka_unit_test(a_view_that_echoes_an_earlier_life_convicts_nobody),
        cmocka_unit_test(a_controller_of_another_definition_convicts_nobody),
        cmocka_unit_test(a_controller_that_sees_nothing_convicts_nobody),
        cmocka_unit_test(a_view_echoes_the_latest_of_each_controller_that_is_there),
        cmocka_unit_test(a_controller_that_left_a_moment_ago_counts_until_its_lease_ends),
        cmocka_unit_test(a_fifth_controller_is_heard_when_others_have_gone),
        cmocka_unit_test(findings_about_another_address_are_not_carried_over),
        cmocka_unit_test(a_new_declaration_of_sync_is_listed_when_the_old_one_is_not_in_force),
        cmocka_unit_test(a_name_that_stands_twice_in_the_sync_list_is_not_two),
        cmocka_unit_test(a_resumed_group_is_not_recorded_as_moving_before_its_permit_is_revoked),
        cmocka_unit_test(reading_the_records_again_is_not_another_leaders_life),
        cmocka_unit_test(what_is_burnt_stays_burnt_over_the_next_failover),
        cmocka_unit_test(databases_that_were_renamed_leave_room_for_new_ones),
        cmocka_unit_test(records_that_could_not_be_acted_on_are_parked),
        cmocka_unit_test(the_running_workflows_incident_is_kept_though_a_clock_jumped_back),
        cmocka_unit_test(aged_evidence_waits_for_a_look_at_the_old_primary),
        cmocka_unit_test(an_old_primary_that_was_switched_on_again_voids_aged_evidence),
        cmocka_unit_test(no_order_goes_out_when_the_old_primary_writes_while_the_grant_is_recorded),
        cmocka_unit_test(the_leader_tries_a_write_as_soon_as_the_proof_is_recorded),
        cmocka_unit_test(a_try_that_fails_changes_no_opinion),
        cmocka_unit_test(
            another_controllers_finding_counts_when_it_had_seen_the_record_of_the_proof),
        cmocka_unit_test(
            a_follower_tries_a_write_when_it_reads_of_the_proof_and_says_what_it_found),
        cmocka_unit_test(a_second_primary_that_only_the_follower_sees_is_counted_and_fenced),
        cmocka_unit_test(a_word_of_two_primaries_counts_only_when_it_is_known_to_be_new),
        cmocka_unit_test(who_has_left_sees_no_primaries),
        cmocka_unit_test(a_view_calls_writable_only_what_is_of_the_permits_system),
        cmocka_unit_test(a_standby_heard_once_since_the_failure_does_not_convict_by_its_silence),
        cmocka_unit_test(a_standby_that_does_not_answer_has_no_voice),
        cmocka_unit_test(a_node_that_a_move_ends_on_is_not_fenced_for_its_neighbour),
        cmocka_unit_test(a_lost_candidates_fence_revokes_its_neighbours_permit),
        cmocka_unit_test(a_person_is_called_once_while_the_hold_changes_its_reason),
        cmocka_unit_test(a_store_that_fills_up_is_an_alarm_and_calls_a_person_before_it_is_full),
        cmocka_unit_test(a_controller_that_tells_finds_a_place_among_keys_that_tell_nothing),
        cmocka_unit_test(alarms_of_a_former_leader_end_when_all_is_well),
        cmocka_unit_test(an_alarm_that_calls_finds_room_among_those_that_do_not),
        cmocka_unit_test(a_primary_that_became_a_standby_by_itself_calls_a_person),
        cmocka_unit_test(the_largest_definition_failing_at_once_fits_into_the_effects),
        cmocka_unit_test(a_proxy_without_a_wish_does_not_keep_the_core_awake),
        cmocka_unit_test(a_proxy_that_agrees_is_looked_at_every_second_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
