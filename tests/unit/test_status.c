/* What is shown is what was seen, with its age; what is not known is null. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/api/events.h"
#include "controller/api/status.h"
#include "tests/unit/shop_fixture.h"

static struct core *core;
static json_t *status;

static struct status_extra extra(void)
{
    return (struct status_extra){.now_ms = SHOP_NOW_MS,
                                 .wall_ms = SHOP_WALL_MS,
                                 .id = "ops2",
                                 .version = "1.2.3",
                                 .started_wall_ms = SHOP_WALL_MS - 60000,
                                 .leader = "ops1",
                                 .leader_term = 9,
                                 .etcd_reachable = true,
                                 .etcd_seen_ms = SHOP_NOW_MS - 20,
                                 .etcd_bytes = 1000000,
                                 .etcd_quota_bytes = 2000000,
                                 .config_revision = 42};
}

static int set_up(void **state)
{
    (void)state;
    core = shop_core();
    status = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(status);
    status = NULL;
    free(core);
    return 0;
}

static void render(void)
{
    struct status_extra with = extra();
    json_decref(status);
    status = status_json(core, &with);
    assert_non_null(status);
}

/* "groups.0.databases.0.primary" */
static const json_t *at(const char *path)
{
    const json_t *value = status;
    char step[64];
    while (*path != '\0') {
        size_t len = strcspn(path, ".");
        snprintf(step, sizeof step, "%.*s", (int)len, path);
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(step))
                                     : json_object_get(value, step);
        path += len + (path[len] == '.' ? 1 : 0);
    }
    return value;
}

static void is_text(const char *path, const char *expected)
{
    const char *text = json_string_value(at(path));
    if (text == NULL) {
        fail_msg("%s is no text", path);
    }
    assert_string_equal(text, expected);
}

static void is_number(const char *path, long long expected)
{
    assert_true(json_is_integer(at(path)));
    assert_int_equal(json_integer_value(at(path)), expected);
}

#define DB "groups.0.databases.0."

static void a_healthy_database_is_shown_writable_with_the_ages_of_what_was_seen(void **state)
{
    (void)state;
    render();
    is_number("schema", 1);
    is_text("leader.id", "ops1");
    is_number("leader.term", 9);
    is_number("etcd.age_ms", 20);
    is_number("etcd.bytes", 1000000);
    is_number("etcd.quota_bytes", 2000000);
    assert_true(json_is_null(at("etcd.problem")));
    is_text("groups.0.name", "shop");
    is_text("groups.0.home", "east");
    is_text("groups.0.active", "east");
    assert_true(json_is_null(at("groups.0.paused")));
    assert_true(json_is_null(at("groups.0.incident")));
    is_text(DB "primary", "pay-east");
    is_text(DB "site", "east");
    assert_true(json_is_true(at(DB "writable")));
    is_number(DB "timeline", 1);
    is_text(DB "epoch", "1.7");
    is_text(DB "permit", "granted");
    is_text(DB "durability", "sync");
    is_number(DB "redundancy", 1);
    is_text(DB "words", "");
    assert_true(json_is_null(at(DB "move")));
    is_text(DB "instances.0.role", "primary");
    is_text(DB "instances.0.opinion", "up");
    is_number(DB "instances.0.age_ms", 300);
    is_text(DB "instances.0.lsn", "16/B374D848");
    assert_true(json_is_null(at(DB "instances.0.lag_bytes")));
    is_text(DB "instances.1.role", "standby");
    is_number(DB "instances.1.age_ms", 400);
    is_number(DB "instances.1.lag_bytes", 4096);
}

static void a_follower_says_that_it_only_observes(void **state)
{
    (void)state;
    render();
    assert_true(json_is_false(at("controller.leading")));
    is_text(DB "state", "observing");
    is_text(DB "state_help", db_state_helps[DB_OBSERVING]);
}

static void a_write_that_is_too_old_proves_nothing(void **state)
{
    (void)state;
    struct status_extra with = extra();
    with.now_ms = SHOP_NOW_MS + 60000;
    status = status_json(core, &with);
    assert_true(json_is_false(at(DB "writable")));
    is_text(DB "instances.0.role", "unknown");
    is_text(DB "instances.0.last_role", "primary");
    is_number(DB "instances.0.age_ms", 60300);
    assert_true(json_is_null(at(DB "redundancy")));
    is_text(DB "words", "redundancy unknown");
}

static void a_primary_whose_latest_probe_failed_is_not_called_writable(void **state)
{
    (void)state;
    shop_see(core, 0, shop_failure_fact(SHOP_NOW_MS - 10, CAUSE_TIMED_OUT));
    render();
    assert_true(json_is_false(at(DB "writable")));
    is_text(DB "instances.0.opinion", "up"); /* one failure is no fall */
    is_text(DB "instances.0.cause", "timed out");
    is_number(DB "instances.0.age_ms", 10);
    is_text(DB "instances.0.detail", "connection to 192.0.2.11 failed");
    shop_see(core, 0, shop_failure_fact(SHOP_NOW_MS - 5, CAUSE_TIMED_OUT));
    render();
    is_text(DB "instances.0.opinion", "down");
}

static void a_primary_without_a_standby_has_no_redundancy(void **state)
{
    (void)state;
    shop_see(core, 0, shop_primary_fact(SHOP_NOW_MS - 10, false));
    render();
    is_number(DB "redundancy", 0);
    is_text(DB "words", "no redundancy");
}

static void sync_that_postgresql_does_not_enforce_is_said_so(void **state)
{
    (void)state;
    struct group_record group = shop_group();
    group.databases[0].sync_enforced = false;
    core_take_group(core, &group, 13, core->now_ms);
    render();
    is_text(DB "durability", "sync declared, not enforced");
    is_text(DB "loss_now", "estimated");
    group.databases[0].sync_enforced = true;
    core_take_group(core, &group, 14, core->now_ms);
    render();
    is_text(DB "loss_now", "proven");
    is_number(DB "loss_now_bytes", 0);
}

static void what_a_save_on_its_way_says_is_not_said_before_it_is_recorded(void **state)
{
    (void)state;
    core->databases[0].permit.state = PERMIT_REVOKED;
    snprintf(core->groups[0].record.databases[0].primary, NAME_SIZE, "pay-west");
    render();
    is_text(DB "permit", "granted");
    is_text(DB "permit_node", "pay-east");
    is_text(DB "primary", "pay-east");
    is_text("groups.0.active", "east");
    struct permit_record revoked = core->databases[0].permit;
    struct group_record group = core->groups[0].record;
    core_take_permit(core, &revoked, 20);
    core_take_group(core, &group, 21, core->now_ms);
    render();
    is_text(DB "permit", "revoked");
    is_text(DB "primary", "pay-west");
}

static void an_answer_that_waited_for_its_controller_is_as_old_as_its_question(void **state)
{
    (void)state;
    struct instance_fact *fact = &core->databases[0].instances[0].fact;
    fact->asked_ms = SHOP_NOW_MS - 7000;
    fact->answered_ms = SHOP_NOW_MS;
    render();
    assert_true(json_is_false(at(DB "writable")));
    is_text(DB "instances.0.role", "unknown");
}

static void a_renewal_before_the_permit_says_nothing_of_its_holder(void **state)
{
    (void)state;
    struct renewal_record renewal = {.epoch = core->databases[0].permit.epoch, .armed = true};
    core_take_renewal(core, "payments", &renewal, 30, SHOP_NOW_MS - 100);
    render();
    assert_true(json_is_true(at(DB "watchdog_armed")));
    is_number(DB "renewed_age_ms", 100);
    struct permit_record next = core->databases[0].permit;
    next.epoch.counter++;
    core_take_permit(core, &next, 31);
    render();
    assert_true(json_is_false(at(DB "watchdog_armed")));
    assert_true(json_is_null(at(DB "renewed_age_ms")));
}

static void who_may_not_act_any_more_does_not_say_that_it_leads(void **state)
{
    (void)state;
    struct status_extra with = extra();
    core->leading = true;
    status = status_json(core, &with);
    assert_true(json_is_true(at("controller.leading")));
    json_decref(status);
    with.deposed = true;
    status = status_json(core, &with);
    assert_true(json_is_false(at("controller.leading")));
    assert_true(json_is_false(at("controllers.0.leading")));
}

static void what_commits_wait_for_is_shown_with_every_entry_that_may_be_in_force(void **state)
{
    (void)state;
    struct permit_record *permit = &core->databases[0].permit;
    render();
    is_text(DB "sync.target", "ANY 1 (pay_west)");
    is_number(DB "sync.in_force_at_most", 1);
    strcpy(permit->boot, "boot-1");
    permit->sync[permit->sync_len++] = (struct sync_entry_record){.k = 0};
    render();
    is_text(DB "sync.declared", "FIRST 1 (pay_west)");
    is_text(DB "sync.target", "nobody");
    is_number(DB "sync.in_force_at_most", 2);
    is_text(DB "durability", "degraded to asynchronous");
    is_text(DB "loss_now", "unknown"); /* no guard reports: nobody could be granted a permit */
}

static void the_candidate_is_the_one_that_the_core_would_choose(void **state)
{
    (void)state;
    struct choice choice;
    render();
    candidate_choose(core, 0, false, &choice);
    if (choice.chosen >= 0) {
        is_text(DB "candidate.node", choice.chosen == 1 ? "pay-west" : "pay-east");
    } else {
        assert_true(json_is_null(at(DB "candidate.node")));
        is_text(DB "candidate.reason", choice.reason);
    }
    assert_int_equal(json_array_size(at(DB "candidate.verdicts")), choice.verdicts_len);
    assert_true(choice.verdicts_len > 0);
}

static void a_move_is_shown_with_its_phase_and_evidence(void **state)
{
    (void)state;
    struct group_record group = shop_group();
    group.moving = true;
    group.workflow.moves_len = 1;
    snprintf(group.workflow.id, ID_SIZE, "20260921-141220-shop");
    struct move_record *move = &group.workflow.moves[0];
    snprintf(move->database, NAME_SIZE, "payments");
    move->phase = PHASE_CHOOSE;
    snprintf(move->from, NAME_SIZE, "pay-east");
    snprintf(move->fence_node, NAME_SIZE, "pay-east");
    move->evidence_len = 1;
    move->evidence[0].kind = EVIDENCE_OPERATOR;
    snprintf(move->evidence[0].node, NAME_SIZE, "pay-east");
    snprintf(move->evidence[0].detail, REASON_SIZE, "ab: pulled the cords");
    core_take_group(core, &group, 13, core->now_ms);
    render();
    is_text(DB "move.phase", move_phase_names[PHASE_CHOOSE]);
    is_text(DB "move.from", "pay-east");
    assert_true(json_is_null(at(DB "move.candidate")));
    is_text(DB "move.evidence.0.kind", evidence_kind_names[EVIDENCE_OPERATOR]);
    is_text(DB "move.evidence.0.detail", "ab: pulled the cords");
}

static void a_pause_and_an_alarm_are_shown_with_who_why_and_since_when(void **state)
{
    (void)state;
    struct group_record group = shop_group();
    group.paused = true;
    snprintf(group.paused_by, NAME_SIZE, "ab");
    snprintf(group.paused_reason, REASON_SIZE, "maintenance");
    group.paused_wall_ms = SHOP_WALL_MS;
    group.alarms_len = 1;
    snprintf(group.alarms[0].key, sizeof group.alarms[0].key, "fence.pay-east");
    snprintf(group.alarms[0].text, REASON_SIZE, "no proof that pay-east is off");
    snprintf(group.alarms[0].command, REASON_SIZE, "failoverctl confirm-fenced pay-east");
    group.alarms[0].since_wall_ms = SHOP_WALL_MS - 90500;
    group.alarms[0].wakes = true;
    core_take_group(core, &group, 13, core->now_ms);
    render();
    is_text("groups.0.paused.by", "ab");
    is_text("groups.0.paused.reason", "maintenance");
    is_text("groups.0.paused.since", "2026-09-21T14:13:20.000Z");
    is_text("groups.0.alarms.0.key", "fence.pay-east");
    is_number("groups.0.alarms.0.age_s", 90);
    assert_true(json_is_true(at("groups.0.alarms.0.wakes")));
}

static void a_service_is_active_where_its_database_is(void **state)
{
    (void)state;
    render();
    is_text("groups.0.services.0.active", "pay-east");
    is_text("groups.0.services.0.instances.0.opinion", "up");
    is_number("groups.0.services.0.instances.0.latency_ms", 7);
    is_number("groups.0.services.0.instances.0.age_ms", 100);
    is_text("groups.0.services.0.instances.1.cause", "never probed");
    assert_true(json_is_null(at("groups.0.services.0.instances.1.age_ms")));
    assert_true(json_is_null(at("groups.0.services.0.instances.1.latency_ms")));
}

static void a_route_that_nobody_has_read_back_is_unknown_and_a_silent_proxy_is_silent(void **state)
{
    (void)state;
    core->databases[0].state = DB_NORMAL;
    render();
    is_text("groups.0.routes.0.target", "pay-east");
    is_text("groups.0.routes.0.wish", "open");
    is_text("groups.0.routes.0.proxies.0.state", "unknown");
    assert_true(json_is_null(at("groups.0.routes.0.proxies.0.age_ms")));
    core->proxies[0].routes[0].confirmed = 1;
    core->proxies[0].routes[0].confirmed_ms = SHOP_NOW_MS - 50;
    render();
    is_text("groups.0.routes.0.proxies.0.state", "differs");
    is_text("groups.0.routes.0.proxies.0.seen", "pay-west");
    is_number("groups.0.routes.0.proxies.0.age_ms", 50);
    core->proxies[0].routes[0].confirmed = 0;
    render();
    is_text("groups.0.routes.0.proxies.0.state", "agrees");
    core->proxies[0].silent_since_ms = SHOP_NOW_MS - 5;
    render();
    is_text("groups.0.routes.0.proxies.0.state", "silent");
    core->databases[0].state = DB_FENCING;
    render();
    assert_true(json_is_null(at("groups.0.routes.0.target")));
    is_text("groups.0.routes.0.wish", "closed");
}

static void an_absent_controller_stays_in_the_list_with_when_it_was_heard(void **state)
{
    (void)state;
    struct controller_record view = {.config_revision = 41};
    snprintf(view.id, sizeof view.id, "ops1");
    snprintf(view.version, sizeof view.version, "1.2.2");
    core_take_peer(core, "ops1", &view, SHOP_NOW_MS - 3000);
    core_take_peer(core, "ops1", NULL, SHOP_NOW_MS - 1000);
    render();
    is_text("controllers.0.id", "ops2");
    is_number("controllers.0.config_revision", 42);
    is_text("controllers.1.id", "ops1");
    assert_true(json_is_false(at("controllers.1.present")));
    is_number("controllers.1.age_ms", 3000);
    is_text("controllers.1.version", "1.2.2");
}

static void without_a_definition_there_are_no_groups_and_nothing_is_invented(void **state)
{
    (void)state;
    struct status_extra with = extra();
    with.leader = NULL;
    with.etcd_seen_ms = 0;
    with.etcd_reachable = false;
    with.etcd_bytes = -1;
    with.etcd_problem = "etcd refuses this controller's user or password";
    with.config_revision = 0;
    core_init(core, "ops2", SHOP_NOW_MS);
    status = status_json(core, &with);
    assert_int_equal(json_array_size(at("groups")), 0);
    assert_true(json_is_null(at("leader.id")));
    assert_true(json_is_null(at("leader.term")));
    assert_true(json_is_null(at("etcd.age_ms")));
    assert_true(json_is_null(at("etcd.bytes")));
    is_text("etcd.problem", "etcd refuses this controller's user or password");
    is_number("controllers.0.config_revision", 0);
}

static void bytes_that_are_no_utf8_do_not_hide_the_message(void **state)
{
    (void)state;
    struct instance_fact fact = shop_failure_fact(SHOP_NOW_MS - 5, CAUSE_CUT);
    snprintf(fact.detail, sizeof fact.detail, "gone \xff\xfe away");
    shop_see(core, 0, fact);
    render();
    is_text(DB "instances.0.detail", "gone ?? away");
}

/* ---- incidents ---- */

static void laps_are_the_differences_of_their_ends_and_null_until_they_ended(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    status = incident_json(&incident, 60000);
    is_number("laps_ms.detect", 1200);
    is_number("laps_ms.confirm", 300);
    is_number("laps_ms.fence", 2500);
    assert_true(json_is_null(at("laps_ms.promote")));
    assert_true(json_is_null(at("laps_ms.verify")));
    is_number("total_ms", 60000);
    is_number("people_ms", 1000);
    is_number("machine_ms", 59000);
    is_text("state", "open");
    is_text("databases.0.evidence", "agent power: off");
    is_text("notes.0.rule", "R-F3");
}

static void the_total_is_the_sum_of_the_laps_once_all_have_ended(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    long long sum = 0;
    for (int i = 0; i < LAPS; i++) {
        incident.ended_ms[i] = 1000 + 700 * i;
    }
    status = incident_json(&incident, 999999);
    for (int i = 0; i < LAPS; i++) {
        sum += json_integer_value(json_object_get(at("laps_ms"), lap_names[i]));
    }
    assert_int_equal(sum, 1000 + 700 * (LAPS - 1));
    is_number("total_ms", sum);
}

static void an_objective_is_met_missed_or_open_and_missed_as_soon_as_its_time_is_over(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    status = incident_json(&incident, 60000);
    is_text("objectives.0.name", "switched");
    is_text("objectives.0.state", "met");
    is_number("objectives.0.limit_s", 3600);
    assert_true(json_real_value(at("objectives.0.actual_s")) > 12.3);
    assert_true(json_real_value(at("objectives.0.actual_s")) < 12.4);
    is_text("objectives.1.state", "missed"); /* 30 s, and it is 60 s old */
    assert_true(json_is_null(at("objectives.1.actual_s")));
    is_text("objectives.2.state", "open");
}

static void an_incident_ages_on_from_its_anchor(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    assert_int_equal(incident_age_ms(&incident, SHOP_WALL_MS), 60000);
    /* A clock that was set back makes nothing younger than the record. */
    assert_int_equal(incident_age_ms(&incident, SHOP_WALL_MS - 3600000), 50000);
}

/* ---- events ---- */

static void the_ring_keeps_the_latest_and_says_what_it_has_dropped(void **state)
{
    (void)state;
    struct events *events = events_new();
    status = events_json(events, 0, 10);
    is_number("last", 0);
    assert_int_equal(json_array_size(at("events")), 0);
    json_decref(status);
    struct event_note note = {.level = 2, .rule = "R-F1"};
    for (int i = 1; i <= EVENTS_MAX + 5; i++) {
        snprintf(note.text, sizeof note.text, "note %d", i);
        assert_int_equal(events_add(events, &note), i);
    }
    status = events_json(events, 0, EVENTS_MAX);
    is_number("first", 6);
    is_number("missed", 5);
    assert_int_equal(json_array_size(at("events")), EVENTS_MAX);
    is_text("events.0.text", "note 6");
    is_text("events.0.level", "info");
    json_decref(status);
    status = events_json(events, EVENTS_MAX + 3, 1);
    is_number("missed", 0);
    assert_int_equal(json_array_size(at("events")), 1);
    is_number("events.0.seq", EVENTS_MAX + 4);
    json_decref(status);
    status = events_json(events, UINT64_MAX, 10);
    assert_int_equal(json_array_size(at("events")), 0);
    is_number("missed", 0);
    events_free(events);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_healthy_database_is_shown_writable_with_the_ages_of_what_was_seen),
        TEST(a_follower_says_that_it_only_observes),
        TEST(a_write_that_is_too_old_proves_nothing),
        TEST(a_primary_whose_latest_probe_failed_is_not_called_writable),
        TEST(a_primary_without_a_standby_has_no_redundancy),
        TEST(sync_that_postgresql_does_not_enforce_is_said_so),
        TEST(what_a_save_on_its_way_says_is_not_said_before_it_is_recorded),
        TEST(an_answer_that_waited_for_its_controller_is_as_old_as_its_question),
        TEST(a_renewal_before_the_permit_says_nothing_of_its_holder),
        TEST(who_may_not_act_any_more_does_not_say_that_it_leads),
        TEST(what_commits_wait_for_is_shown_with_every_entry_that_may_be_in_force),
        TEST(the_candidate_is_the_one_that_the_core_would_choose),
        TEST(a_move_is_shown_with_its_phase_and_evidence),
        TEST(a_pause_and_an_alarm_are_shown_with_who_why_and_since_when),
        TEST(a_service_is_active_where_its_database_is),
        TEST(a_route_that_nobody_has_read_back_is_unknown_and_a_silent_proxy_is_silent),
        TEST(an_absent_controller_stays_in_the_list_with_when_it_was_heard),
        TEST(without_a_definition_there_are_no_groups_and_nothing_is_invented),
        TEST(bytes_that_are_no_utf8_do_not_hide_the_message),
        TEST(laps_are_the_differences_of_their_ends_and_null_until_they_ended),
        TEST(the_total_is_the_sum_of_the_laps_once_all_have_ended),
        TEST(an_objective_is_met_missed_or_open_and_missed_as_soon_as_its_time_is_over),
        TEST(an_incident_ages_on_from_its_anchor),
        TEST(the_ring_keeps_the_latest_and_says_what_it_has_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
