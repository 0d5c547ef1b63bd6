/* What would happen, told by the code that decides; and what people ask of a core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/core/private.h"
#include "tests/unit/shop_fixture.h"

static struct core *core;
static struct explanation told;
static uint64_t now_ms;
static int64_t revision;

/* ---- a leader, whose saves are accepted at once ---- */

static struct core_effects effects;
static int fences;

static void step(struct core_event event)
{
    event.now_ms = now_ms;
    event.wall_ms = SHOP_WALL_MS;
    core_step(core, &event, &effects);
    uint32_t ticket = 0;
    for (int i = 0; i < effects.len; i++) {
        fences += effects.items[i].type == EFFECT_FENCE ? 1 : 0;
        ticket = effects.items[i].type == EFFECT_SAVE ? effects.items[i].save.ticket : ticket;
    }
    if (ticket != 0) {
        step((struct core_event){.type = EV_SAVED,
                                 .save = {.ticket = ticket, .revision = ++revision}});
    }
}

static void see(int instance, struct instance_fact fact)
{
    step(
        (struct core_event){.type = EV_INSTANCE, .instance = {.instance = instance, .fact = fact}});
}

static void look(void)
{
    now_ms += 500;
    see(1, shop_standby_fact(now_ms, 0));
    see(0, shop_primary_fact(now_ms, true));
}

static int set_up(void **state)
{
    (void)state;
    struct group_record group = shop_group();
    core = shop_core();
    now_ms = SHOP_NOW_MS;
    revision = 100;
    fences = 0;
    step((struct core_event){.type = EV_LEADING, .leading = {.term = 50}});
    core_take_group(core, &group, 12, core->now_ms);
    shop_permit(core);
    step((struct core_event){.type = EV_LOADED});
    look();
    assert_int_equal(core->databases[0].state, DB_NORMAL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(core);
    return 0;
}

static const struct core_check *check(const char *name)
{
    for (int i = 0; i < told.checks_len; i++) {
        if (strcmp(told.checks[i].name, name) == 0) {
            return &told.checks[i];
        }
    }
    fail_msg("no check is named %s", name);
    return &told.checks[0];
}

/* The outcome of one request, as the record says it. */
static struct request_record ask(struct request_record request)
{
    static int asked;
    snprintf(request.id, sizeof request.id, "req-%08d", ++asked);
    snprintf(request.group, sizeof request.group, "shop");
    snprintf(request.who, sizeof request.who, "ann");
    snprintf(request.reason, sizeof request.reason, "as tested");
    assert_true(core_take_request(core, &request, 60));
    int slot = 0;
    while (!core->requests[slot].used || strcmp(core->requests[slot].record.id, request.id) != 0) {
        slot++;
    }
    step((struct core_event){.type = EV_REQUEST});
    return core->requests[slot].record; /* a slot that was given back keeps its words */
}

static void has(const char *text, const char *part)
{
    if (text == NULL || strstr(text, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", text != NULL ? text : "(nothing)", part);
    }
}

/* ---- explain ---- */

static void a_healthy_database_is_explained_with_every_check(void **state)
{
    (void)state;
    static const char *const names[] = {"leader",
                                        "state",
                                        "stall",
                                        "blind",
                                        "paused",
                                        "manual",
                                        "budget",
                                        "candidate",
                                        "neighbour",
                                        "loss",
                                        "sync",
                                        "fencing",
                                        "candidate pay-west",
                                        "witness ops2",
                                        "witness pay-west",
                                        "proxy front1 payments-db"};
    core_explain(core, 0, &told);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct core_check *found = check(names[i]);
        assert_true(found->value[0] != '\0' && found->text[0] != '\0');
    }
    assert_true(check("witness ops2")->passes);
    assert_int_equal(check("witness ops2")->age_ms, 0);
    assert_int_equal(told.target, 1);
    assert_true(told.loss_known);
    assert_int_equal(told.loss_bytes, 0); /* its sync entry is enforced */
    assert_true(told.loss_proven);
    assert_string_equal(check("loss")->value, "0 bytes, proven");
    assert_true(check("sync")->passes);
    assert_string_equal(check("sync")->limit, "FIRST 1 (pay_west)");
    assert_string_equal(check("sync")->text, "commits wait for it, and for nothing else");
    /* The shop's nodes are fenced by a person alone. */
    assert_false(told.automatic);
    assert_false(check("fencing")->passes);
    has(told.verdict, "would wait for confirm-fenced");
    assert_int_equal(told.times[LAP_FENCE].bound_ms, -1);
    assert_int_equal(told.total.bound_ms, -1);
    assert_int_equal(told.total.expected_ms, -1);
}

static void with_a_power_device_it_would_be_automatic_with_a_bound(void **state)
{
    (void)state;
    struct fence_level_def *level = &core->def.nodes[0].levels[0];
    level->method = FENCE_AGENT;
    level->deadline_ms = 10000;
    core_explain(core, 0, &told);
    assert_true(told.automatic);
    has(told.verdict, "pay-west would take over without a person");
    int64_t sum = 0;
    for (int lap = 0; lap < LAPS; lap++) {
        sum += told.times[lap].bound_ms;
    }
    assert_int_equal(told.total.bound_ms, sum);
    /* default profile: (2 - 1) * 0.5 s + 1.5 s, and the wait for the next probe */
    assert_int_equal(told.times[LAP_DETECT].bound_ms, 2500);
}

static void what_took_how_long_comes_from_the_last_complete_incident(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    static const int64_t ended_ms[LAPS] = {1000, 1100, 3100, 3200, 3250, 3500};
    memcpy(incident.ended_ms, ended_ms, sizeof ended_ms);
    incident.state = INCIDENT_RECOVERED;
    core_take_incident(core, &incident, 70, now_ms, SHOP_WALL_MS);
    core_explain(core, 0, &told);
    assert_string_equal(told.measured, incident.id);
    assert_int_equal(told.times[LAP_FENCE].expected_ms, 2000);
    assert_int_equal(told.total.expected_ms, 3500);
}

static void every_check_that_fails_is_named_not_only_the_first(void **state)
{
    (void)state;
    struct group_record *group = &core->groups[0].record;
    group->paused = true;
    snprintf(group->paused_by, NAME_SIZE, "bob");
    core->def.groups[0].automatic = false;
    group->completed_len = 2;
    group->completed_wall_ms[0] = group->completed_wall_ms[1] = SHOP_WALL_MS - 1000;
    now_ms += 60000; /* the standby was last heard long ago */
    see(0, shop_primary_fact(now_ms, true));
    core_explain(core, 0, &told);
    assert_false(check("paused")->passes);
    assert_false(check("manual")->passes);
    assert_false(check("budget")->passes);
    assert_string_equal(check("budget")->value, "2");
    assert_false(check("candidate")->passes);
    assert_false(check("candidate pay-west")->passes);
    has(check("candidate pay-west")->text, "last heard 60000 ms ago (limit ");
    assert_int_equal(check("candidate pay-west")->age_ms, 60000);
    assert_false(told.automatic);
}

static void when_it_is_down_the_explanation_is_the_decision(void **state)
{
    (void)state;
    char text[REASON_SIZE];
    core->groups[0].record.paused = true;
    for (int i = 0; i < 8; i++) {
        now_ms += 500;
        see(1, shop_standby_fact(now_ms, 0));
        see(0, shop_failure_fact(now_ms, CAUSE_TIMED_OUT));
    }
    assert_int_equal(core->databases[0].state, DB_HELD);
    core_explain(core, 0, &told);
    enum hold hold = hold_of(core, 0, text, sizeof text);
    assert_int_equal(hold, HOLD_PAUSED);
    assert_true(check("witness ops2")->passes);
    assert_string_equal(check("witness ops2")->value, "sees it down");
    assert_string_equal(check("paused")->text, text);
    has(told.verdict, text);
}

static void a_controller_that_disagrees_is_a_check_that_fails(void **state)
{
    (void)state;
    struct controller_record *view = calloc(1, sizeof *view);
    snprintf(view->id, NAME_SIZE, "ops1");
    view->config_revision = 41;
    core_take_peer(core, "ops1", view, now_ms);
    core_explain(core, 0, &told);
    assert_false(check("witness ops1")->passes);
    assert_string_equal(check("witness ops1")->value, "revision 41");
    view->config_revision = core->definition_revision;
    core_take_peer(core, "ops1", view, now_ms);
    core_explain(core, 0, &told);
    assert_false(check("witness ops1")->passes);
    assert_string_equal(check("witness ops1")->value, "no view");
    core_take_peer(core, "ops1", NULL, now_ms);
    now_ms += 4000;
    look();
    core_explain(core, 0, &told);
    assert_false(check("witness ops1")->passes);
    has(check("witness ops1")->limit, "gone and silent for 5000 ms");
    now_ms += 1000;
    look();
    core_explain(core, 0, &told);
    assert_true(check("witness ops1")->passes);
    free(view);
}

/* A view that is none, or is old, would convict nobody; nor would a start of a moment ago. */
static void a_view_that_is_none_or_old_is_a_check_that_fails(void **state)
{
    (void)state;
    struct health *own = &core->databases[0].instances[0].health;
    uint64_t looked_ms = own->latest_ms;
    core->now_ms += 60000;
    core_explain(core, 0, &told);
    assert_false(check("witness ops2")->passes);
    assert_int_equal(check("witness ops2")->age_ms, core->now_ms - looked_ms);
    own->latest_ms = 0;
    core_explain(core, 0, &told);
    assert_false(check("witness ops2")->passes);
    assert_int_equal(check("witness ops2")->age_ms, -1);
    core->started_ms = core->now_ms;
    core_explain(core, 0, &told);
    has(check("witness other controller")->text, "this one has just started");
    assert_false(check("witness other controller")->passes);
}

static void who_does_not_lead_says_so_and_tells_what_it_sees(void **state)
{
    (void)state;
    core->loaded = false;
    core_explain(core, 0, &told);
    assert_string_equal(check("leader")->value, "loading");
    core->leading = false;
    core_explain(core, 0, &told);
    assert_false(check("leader")->passes);
    assert_string_equal(check("leader")->value, "follows");
    has(check("leader")->text, "may differ");
    assert_int_equal(told.target, 1);
}

static void without_a_recorded_primary_there_is_nothing_to_fence(void **state)
{
    (void)state;
    core->groups[0].record.databases[0].primary[0] = '\0';
    core_explain(core, 0, &told);
    assert_int_equal(told.primary, -1);
    assert_false(check("state")->passes);
    has(check("state")->text, "not adopted");
    for (int i = 0; i < told.checks_len; i++) {
        assert_string_not_equal(told.checks[i].name, "fencing");
    }
    assert_int_equal(told.times[LAP_FENCE].bound_ms, -1);
    assert_false(told.automatic);
}

static void a_state_that_is_not_fit_is_told_in_its_own_words(void **state)
{
    (void)state;
    core->databases[0].state = DB_PARKED;
    core_explain(core, 0, &told);
    assert_false(check("state")->passes);
    assert_string_equal(check("state")->text, db_state_helps[DB_PARKED]);
    core->databases[0].state = DB_NORMAL;
    core->groups[0].record.moving = true;
    core->groups[0].record.workflow.moves_len = 1;
    snprintf(core->groups[0].record.workflow.moves[0].database, NAME_SIZE, "payments");
    core_explain(core, 0, &told);
    assert_false(check("state")->passes);
}

static void a_loss_is_proven_estimated_or_unknown_and_never_more_than_that(void **state)
{
    (void)state;
    core->def.databases[0].durability = DURABILITY_ASYNC;
    core->def.databases[0].sync_len = 0;
    core->databases[0].permit.sync_len = 0;
    core->groups[0].record.databases[0].sync_enforced = false;
    core->def.databases[0].max_lag_bytes = 1 << 20;
    core_explain(core, 0, &told);
    assert_false(told.loss_proven);
    assert_true(check("loss")->passes);
    has(check("loss")->value, "bytes, estimated");
    has(check("sync")->text, "declares no standbys");
    core->def.databases[0].max_lag_bytes = 0;
    see(1, shop_standby_fact(now_ms, 64u << 20));
    core_explain(core, 0, &told);
    assert_false(check("loss")->passes);
    core->def.databases[0].max_lag_bytes = 1 << 20;
    see(1, shop_standby_fact(now_ms, 0));
    core->databases[0].primary_lsn_ms = 0;
    core_explain(core, 0, &told);
    assert_false(check("loss")->passes);
    assert_int_equal(check("loss")->age_ms, -1);
    assert_string_equal(check("loss")->value, "unknown");
}

static void what_commits_wait_for_is_told_as_far_as_it_is_known(void **state)
{
    (void)state;
    struct permit_record *permit = &core->databases[0].permit;
    core->groups[0].record.databases[0].sync_enforced = false;
    core_explain(core, 0, &told);
    assert_false(check("sync")->passes);
    has(check("sync")->text, "not seen to be enforced");
    core->groups[0].record.databases[0].sync_enforced = true;
    permit->sync_len = 2;
    permit->sync[1] = (struct sync_entry_record){.k = 0};
    core_explain(core, 0, &told);
    has(check("sync")->text, "not proven yet");
    permit->sync_len = 1;
    permit->sync[0] = (struct sync_entry_record){.k = 0};
    snprintf(permit->boot, sizeof permit->boot, "b-1");
    core_explain(core, 0, &told);
    has(check("sync")->text, "fewer are waited for");
    core->databases[0].instances[1].fact.answered = false;
    core_explain(core, 0, &told);
    assert_int_equal(check("candidate pay-west")->age_ms, -1);
    assert_int_equal(told.target, -1);
    has(check("loss")->text, "without a candidate");
    assert_string_equal(check("loss")->value, "unknown");
}

static void a_proxy_agrees_is_silent_or_was_not_read_yet(void **state)
{
    (void)state;
    static const char name[] = "proxy front1 payments-db";
    core_explain(core, 0, &told);
    assert_string_equal(check(name)->value, "unknown");
    core->proxies[0].routes[0].confirmed_ms = core->now_ms - 40;
    core_explain(core, 0, &told);
    assert_true(check(name)->passes);
    assert_int_equal(check(name)->age_ms, 40);
    core->proxies[0].silent_since_ms = core->now_ms - 1000;
    core_explain(core, 0, &told);
    assert_false(check(name)->passes);
    assert_string_equal(check(name)->value, "silent");
    assert_true(check(name)->informs);
}

static void levels_that_need_no_person_are_counted(void **state)
{
    (void)state;
    struct node_def *node = &core->def.nodes[0];
    static const enum fence_method methods[] = {FENCE_GUARD, FENCE_PERMIT, FENCE_REPLICATION,
                                                FENCE_OPERATOR};
    node->levels_len = 4;
    for (int i = 0; i < 4; i++) {
        snprintf(node->levels[i].name, NAME_SIZE, "%s", fence_method_names[methods[i]]);
        node->levels[i].method = methods[i];
        node->levels[i].deadline_ms = 0;
    }
    core_explain(core, 0, &told);
    assert_string_equal(check("fencing")->value, "2 levels");
    assert_string_equal(check("level permit")->limit, "11310 ms"); /* (8 + 2 + 1) * 1.01 + 0.2 */
    assert_true(told.automatic);
}

static void an_incident_measures_only_what_it_has_ended(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    incident.state = INCIDENT_RECOVERED; /* but three laps have no end */
    core_take_incident(core, &incident, 70, now_ms, SHOP_WALL_MS);
    core_explain(core, 0, &told);
    assert_string_equal(told.measured, "");
    static const int64_t ended_ms[LAPS] = {1000, 900, 3100, 3100, 3250, 3500};
    memcpy(core->groups[0].incident.ended_ms, ended_ms, sizeof ended_ms);
    struct core_time times[LAPS];
    char measured[ID_SIZE];
    core_times(core, 0, true, times, measured);
    assert_int_equal(times[LAP_DETECT].expected_ms, 0); /* a person has seen it */
    assert_int_equal(times[LAP_DETECT].bound_ms, 0);
    assert_int_equal(times[LAP_CONFIRM].expected_ms, 0); /* for the last database it came before */
    assert_int_equal(times[LAP_FENCE].expected_ms, 2200);
    core->groups[0].incident.state = INCIDENT_OPEN;
    core_times(core, 0, false, times, measured);
    assert_int_equal(times[LAP_FENCE].expected_ms, -1);
}

/* ---- plan ---- */

static void what_was_shown_is_what_runs(void **state)
{
    (void)state;
    struct plan plan;
    struct request_record request = {.kind = REQUEST_FAILOVER, .group = "shop"};
    core_plan(core, &request, &plan);
    assert_string_equal(plan.refused, "");
    assert_int_equal(plan.steps_len, 4);
    assert_int_equal(plan.targets[0], 1);
    look(); /* time passes, and WAL: the same plan */
    snprintf(request.plan, sizeof request.plan, "%s", plan.hash);
    core_plan(core, &request, &plan);
    assert_string_equal(plan.hash, request.plan);
    core->databases[0].permit.epoch.counter++; /* somebody else moved it meanwhile */
    struct request_record outcome = ask(request);
    assert_int_equal(outcome.state, REQUEST_REFUSED);
    has(outcome.outcome, "what would be done has changed");
    assert_int_equal(core->databases[0].state, DB_NORMAL);
    core->databases[0].permit.epoch.counter--;
    assert_int_equal(ask(request).state, REQUEST_RUNNING);
}

static void a_plan_that_would_be_refused_says_why(void **state)
{
    (void)state;
    struct plan plan;
    struct request_record request = {.kind = REQUEST_FAILOVER, .group = "shop"};
    now_ms += 60000;
    see(0, shop_primary_fact(now_ms, true));
    core_plan(core, &request, &plan);
    has(plan.refused, "payments: no candidate");
    has(plan.refused, "pay-west: last heard");
    assert_int_equal(plan.steps_len, 0);
}

static const char *planned(const struct plan *plan, enum lap lap)
{
    for (int i = 0; i < plan->steps_len; i++) {
        if (plan->steps[i].lap == lap) {
            return plan->steps[i].text;
        }
    }
    return NULL;
}

static void a_plan_names_levels_routes_and_neighbours(void **state)
{
    (void)state;
    struct plan plan;
    struct request_record request = {.kind = REQUEST_FAILOVER, .group = "shop"};
    struct node_def *node = &core->def.nodes[0];
    core_plan(core, &request, &plan);
    has(planned(&plan, LAP_FENCE), "fence pay-east: person (operator)");
    has(planned(&plan, LAP_REDIRECT), "lead payments-db (1 proxy) there");
    node->levels_len = 2;
    node->levels[1] = (struct fence_level_def){.name = "power", .method = FENCE_AGENT};
    core->def.routes[1] = core->def.routes[0];
    snprintf(core->def.routes[1].name, NAME_SIZE, "reports");
    core->def.routes[1].proxies_len = 2;
    core->def.routes_len = 2;
    core_plan(core, &request, &plan);
    has(planned(&plan, LAP_FENCE), "person (operator), then power (agent)");
    has(planned(&plan, LAP_REDIRECT), "payments-db (1 proxy), reports (2 proxies) there");
    node->levels_len = 0;
    core->def.routes_len = 0;
    core_plan(core, &request, &plan);
    has(planned(&plan, LAP_FENCE), "a person must confirm it");
    has(planned(&plan, LAP_REDIRECT), "lead nothing: it has no routes");
    core->groups[0].record.databases[0].primary[0] = '\0';
    core->databases[0].state = DB_UNADOPTED;
    core_plan(core, &request, &plan);
    assert_int_equal(plan.steps_len, 0);
    has(plan.refused, db_state_names[DB_UNADOPTED]);
}

/* As the first database is, on the same node. */
static void add_orders(struct group_record *group)
{
    core->def.databases[1] = core->def.databases[0];
    snprintf(core->def.databases[1].name, NAME_SIZE, "orders");
    core->def.databases_len = 2;
    core->databases[1] = core->databases[0];
    group->databases[1] = group->databases[0];
    snprintf(group->databases[1].database, NAME_SIZE, "orders");
    group->databases_len = 2;
}

/* The fence of its node stops both; only what is asked for is planned. */
static void a_plan_says_whom_else_its_fence_moves(void **state)
{
    (void)state;
    struct plan plan;
    struct request_record request = {
        .kind = REQUEST_FAILOVER, .group = "shop", .database = "payments"};
    struct group_record *group = &core->groups[0].record;
    add_orders(group);
    core_plan(core, &request, &plan);
    has(planned(&plan, LAP_FENCE), "; moves orders too");
    assert_int_equal(plan.steps_len, 4);
    assert_int_equal(plan.targets[1], -1);
    /* The same as a group of its own, which is paused. */
    core->def.groups[1] = core->def.groups[0];
    snprintf(core->def.groups[1].name, NAME_SIZE, "bank");
    core->def.groups_len = 2;
    core->def.databases[1].group = 1;
    group->databases_len = 1;
    core->groups[1] = core->groups[0];
    core->groups[1].record.databases[0] = group->databases[1];
    core->groups[1].record.paused = true;
    core_plan(core, &request, &plan);
    has(planned(&plan, LAP_FENCE), "; moves orders too (automation would not: ");
}

/* A second database that lives on another node, with a route of its own. */
static void a_plan_leaves_out_what_lives_elsewhere(void **state)
{
    (void)state;
    struct plan plan;
    struct request_record request = {
        .kind = REQUEST_FAILOVER, .group = "shop", .database = "payments"};
    struct group_record *group = &core->groups[0].record;
    add_orders(group);
    snprintf(group->databases[1].primary, NAME_SIZE, "pay-west");
    core->def.routes[1] = core->def.routes[0];
    snprintf(core->def.routes[1].name, NAME_SIZE, "orders-db");
    core->def.routes[1].database = 1;
    core->def.routes_len = 2;
    core_plan(core, &request, &plan);
    assert_null(strstr(planned(&plan, LAP_FENCE), "orders"));
    has(planned(&plan, LAP_REDIRECT), "lead payments-db (1 proxy) there");
    core_explain(core, 0, &told);
    for (int i = 0; i < told.checks_len; i++) {
        assert_null(strstr(told.checks[i].name, "orders-db"));
    }
}

static void an_accepted_loss_fences_nobody_without_a_candidate(void **state)
{
    (void)state;
    struct request_record request = {.kind = REQUEST_FAILOVER, .accept_loss_bytes = 1u << 30};
    now_ms += 60000; /* the only standby is gone */
    see(0, shop_primary_fact(now_ms, true));
    struct request_record outcome = ask(request);
    assert_int_equal(outcome.state, REQUEST_REFUSED);
    has(outcome.outcome, "no candidate");
    assert_int_equal(core->databases[0].state, DB_NORMAL);
    assert_int_equal(fences, 0);
}

static void an_accepted_loss_lets_a_lagging_standby_take_over(void **state)
{
    (void)state;
    struct request_record request = {.kind = REQUEST_FAILOVER};
    core->groups[0].record.databases[0].sync_enforced = false;
    struct instance_fact primary = shop_primary_fact(now_ms, true);
    primary.sync_names[0] = '\0';
    see(0, primary);
    see(1, shop_standby_fact(now_ms, 64u << 20));
    struct request_record outcome = ask(request);
    assert_int_equal(outcome.state, REQUEST_REFUSED);
    has(outcome.outcome, "would lose an estimated 67108864 bytes (limit ");
    request.accept_loss_bytes = 65u << 20;
    outcome = ask(request);
    assert_int_equal(outcome.state, REQUEST_RUNNING);
    const struct move_record *move = core_move_of(core, 0);
    assert_non_null(move);
    assert_int_equal(move->accept_loss_bytes, 65u << 20);
    assert_string_equal(move->planned, "pay-west");
}

/* ---- alarms ---- */

static void an_acknowledged_alarm_stays_with_who_and_why(void **state)
{
    (void)state;
    struct group_record *group = &core->groups[0].record;
    struct request_record request = {.kind = REQUEST_ALARM_ACK};
    snprintf(request.alarm, sizeof request.alarm, "paused");
    struct request_record outcome = ask(request);
    assert_int_equal(outcome.state, REQUEST_REFUSED);
    has(outcome.outcome, "has no alarm paused; it has none");
    assert_int_equal(ask((struct request_record){.kind = REQUEST_PAUSE}).state, REQUEST_DONE);
    assert_int_equal(ask(request).state, REQUEST_DONE);
    assert_int_equal(group->alarms_len, 1);
    assert_string_equal(group->alarms[0].acked_by, "ann");
    assert_string_equal(group->alarms[0].acked_reason, "as tested");
    assert_int_equal(ask((struct request_record){.kind = REQUEST_RESUME}).state, REQUEST_DONE);
    assert_int_equal(group->alarms_len, 0);
}

/* ---- steering ---- */

static void what_nobody_may_do_in_a_state_names_the_state_and_what_is_allowed(void **state)
{
    (void)state;
    static const enum request_kind kinds[] = {REQUEST_WORKFLOW_RETRY, REQUEST_WORKFLOW_SKIP,
                                              REQUEST_WORKFLOW_ABANDON};
    for (size_t i = 0; i < 3; i++) {
        struct request_record request = {.kind = kinds[i]};
        assert_int_equal(ask(request).state, REQUEST_REFUSED);
        snprintf(request.database, NAME_SIZE, "payments");
        struct request_record outcome = ask(request);
        assert_int_equal(outcome.state, REQUEST_REFUSED);
        has(outcome.outcome, "payments: state is normal (allowed: ");
    }
    assert_int_equal(core->databases[0].state, DB_NORMAL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_healthy_database_is_explained_with_every_check),
        TEST(with_a_power_device_it_would_be_automatic_with_a_bound),
        TEST(what_took_how_long_comes_from_the_last_complete_incident),
        TEST(every_check_that_fails_is_named_not_only_the_first),
        TEST(when_it_is_down_the_explanation_is_the_decision),
        TEST(a_controller_that_disagrees_is_a_check_that_fails),
        TEST(what_was_shown_is_what_runs),
        TEST(a_view_that_is_none_or_old_is_a_check_that_fails),
        TEST(who_does_not_lead_says_so_and_tells_what_it_sees),
        TEST(without_a_recorded_primary_there_is_nothing_to_fence),
        TEST(a_state_that_is_not_fit_is_told_in_its_own_words),
        TEST(a_loss_is_proven_estimated_or_unknown_and_never_more_than_that),
        TEST(what_commits_wait_for_is_told_as_far_as_it_is_known),
        TEST(a_proxy_agrees_is_silent_or_was_not_read_yet),
        TEST(levels_that_need_no_person_are_counted),
        TEST(an_incident_measures_only_what_it_has_ended),
        TEST(a_plan_names_levels_routes_and_neighbours),
        TEST(a_plan_says_whom_else_its_fence_moves),
        TEST(a_plan_that_would_be_refused_says_why),
        TEST(a_plan_leaves_out_what_lives_elsewhere),
        TEST(an_accepted_loss_fences_nobody_without_a_candidate),
        TEST(an_accepted_loss_lets_a_lagging_standby_take_over),
        TEST(an_acknowledged_alarm_stays_with_who_and_why),
        TEST(what_nobody_may_do_in_a_state_names_the_state_and_what_is_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
