/* What `store rescue` would write, and why not (design §4; failures.md D5, D20). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "controller/core/rescue.h"

#define SYSTEM_ID UINT64_C(7300000000000000001)

static struct definition def;
static struct rescue_database found[DATABASES_MAX];
static struct rescue_plan plan;

static struct rescue_records records_of(const char *primary, uint64_t counter, uint32_t timeline)
{
    struct rescue_records records = {.has_permit = true, .has_record = true};
    snprintf(records.permit.node, sizeof records.permit.node, "%s", primary);
    snprintf(records.permit.boot, sizeof records.permit.boot, "boot-%s", primary);
    records.permit.epoch = (struct epoch){1, counter};
    records.permit.system_id = SYSTEM_ID;
    records.permit.timeline = timeline;
    records.permit.sync_len = 1;
    records.permit.sync[0] =
        (struct sync_entry_record){.k = 1, .members = {"db2"}, .members_len = 1};
    snprintf(records.record.database, sizeof records.record.database, "payments");
    snprintf(records.record.primary, sizeof records.record.primary, "%s", primary);
    records.record.system_id = SYSTEM_ID;
    records.record.timeline = timeline;
    records.record.sync_enforced = true;
    return records;
}

static void guard_says(int i, enum guard_state state, enum role role, uint64_t counter,
                       uint32_t timeline)
{
    struct rescue_instance *instance = &found[0].instances[i];
    instance->reported = true;
    snprintf(instance->said.boot, sizeof instance->said.boot, "boot-db%d", i + 1);
    instance->said.mode = GUARD_GUARDING;
    instance->said.state = state;
    instance->said.role = role;
    instance->said.epoch = (struct epoch){1, counter};
    instance->said.system_id = SYSTEM_ID;
    instance->said.timeline = timeline;
    instance->said.checkpoint_timeline = timeline;
}

static int setup(void **unused)
{
    (void)unused;
    memset(&def, 0, sizeof def);
    memset(found, 0, sizeof found);
    def.databases_len = 1;
    def.nodes_len = 3;
    def.groups_len = 1;
    snprintf(def.groups[0].name, NAME_SIZE, "shop");
    snprintf(def.databases[0].name, NAME_SIZE, "payments");
    def.databases[0].instances_len = 3;
    for (int i = 0; i < 3; i++) {
        snprintf(def.nodes[i].name, NAME_SIZE, "db%d", i + 1);
        def.databases[0].instances[i].node = i;
    }
    found[0].named = -1;
    found[0].store = records_of("db1", 5, 1);
    guard_says(0, GUARD_RUNNING, ROLE_PRIMARY, 5, 1);
    guard_says(1, GUARD_RUNNING, ROLE_STANDBY, 5, 1);
    guard_says(2, GUARD_RUNNING, ROLE_STANDBY, 5, 1);
    return 0;
}

static const struct rescue_choice *make(void)
{
    rescue_make(&def, found, 1, &plan);
    return &plan.choices[0];
}

static void assert_refused(const char *words)
{
    assert_int_equal(make()->holder, -1);
    for (int i = 0; i < plan.reasons_len; i++) {
        if (strstr(plan.reasons[i], words) != NULL) {
            return;
        }
    }
    for (int i = 0; i < plan.reasons_len; i++) {
        print_error("    %s\n", plan.reasons[i]);
    }
    fail_msg("it is not refused with the words: %s", words);
}

static void the_running_primary_holds_a_permit_above_every_epoch(void **unused)
{
    (void)unused;
    found[0].copy = records_of("db1", 9, 1);
    guard_says(0, GUARD_RUNNING, ROLE_PRIMARY, 12, 1);
    guard_says(2, GUARD_RUNNING, ROLE_STANDBY, 12, 1);
    const struct rescue_choice *choice = make();
    assert_int_equal(plan.reasons_len, 0);
    assert_int_equal(choice->holder, 0);
    assert_true(choice->running);
    assert_int_equal(plan.incarnation, 2);
    assert_true(choice->permit.epoch.incarnation == 2 && choice->permit.epoch.counter == 13);
    assert_string_equal(choice->permit.boot, "boot-db1");
    assert_int_equal(choice->permit.state, PERMIT_GRANTED);
    assert_int_equal(choice->permit.promisers_len, 0);
    assert_int_equal(choice->permit.sync_len, 1);
    assert_true(choice->permit.d_ms > 0);
    assert_false(choice->record.sync_enforced);
    assert_int_equal(choice->record.roles_len, 3);
    assert_int_equal(choice->record.roles[0].role, DECLARED_PRIMARY);
    assert_string_equal(choice->record.roles[1].upstream, "db1");
}

static void the_incarnation_grows_above_what_any_guard_has_seen(void **unused)
{
    (void)unused;
    found[0].instances[0].said.epoch.incarnation = 4;
    found[0].instances[1].said.epoch.incarnation = 4;
    found[0].instances[2].said.epoch.incarnation = 4;
    make();
    assert_int_equal(plan.incarnation, 5);
}

static void what_runs_outranks_what_is_recorded(void **unused)
{
    (void)unused;
    found[0].store = records_of("db1", 5, 1); /* a snapshot of before a failover */
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 6, 1);
    guard_says(1, GUARD_RUNNING, ROLE_PRIMARY, 6, 2);
    guard_says(2, GUARD_RUNNING, ROLE_STANDBY, 6, 2);
    const struct rescue_choice *choice = make();
    assert_int_equal(choice->holder, 1);
    assert_int_equal(choice->permit.timeline, 2);
    assert_int_equal(choice->record.timeline, 2);
    assert_string_equal(choice->record.primary, "db2");
    assert_string_equal(choice->permit.boot, "boot-db2");
}

static void two_primaries_are_refused_by_name(void **unused)
{
    (void)unused;
    guard_says(1, GUARD_RUNNING, ROLE_PRIMARY, 5, 2);
    assert_refused("2 instances run as primaries, on db1 and db2");
    found[0].named = 0;
    found[0].instances[1].is_off = true; /* a person's word is not put above what is seen */
    assert_refused("2 instances run as primaries");
}

static void one_that_only_postgresql_itself_shows_counts(void **unused)
{
    (void)unused;
    found[0].instances[1].reported = false;
    found[0].instances[1].is_off = true;
    found[0].instances[1].asked = true;
    found[0].instances[1].fact =
        (struct instance_fact){.answered = true, .role = ROLE_PRIMARY, .system_id = SYSTEM_ID};
    assert_refused("2 instances run as primaries");
}

static void a_silent_guard_is_refused_until_a_person_says_that_it_is_off(void **unused)
{
    (void)unused;
    found[0].instances[2].reported = false;
    assert_refused("the guard of db3 does not answer; if it is off, and stays so: --without db3");
    found[0].instances[2].is_off = true;
    assert_int_equal(make()->holder, 0);
}

static void an_instance_between_two_states_is_waited_for(void **unused)
{
    (void)unused;
    guard_says(2, GUARD_STOPPING, ROLE_UNKNOWN, 5, 1);
    assert_refused("its instance on db3 is stopping");
}

static void a_primary_below_an_epoch_that_was_granted_since_is_refused(void **unused)
{
    (void)unused;
    guard_says(1, GUARD_STOPPED, ROLE_UNKNOWN, 7, 1);
    assert_refused("under epoch 1.5, and 1.7 was granted later");
    found[0].named = 0;
    assert_int_equal(make()->holder, 0);
    assert_int_equal(plan.choices[0].permit.epoch.counter, 8);
}

static void with_none_running_the_recorded_one_is_taken_if_nothing_was_granted_since(void **unused)
{
    (void)unused;
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    const struct rescue_choice *choice = make();
    assert_int_equal(choice->holder, 0);
    assert_false(choice->running);
    assert_string_equal(choice->permit.boot, "boot-db1"); /* its guard starts it again */
    guard_says(1, GUARD_RUNNING, ROLE_STANDBY, 6, 1);
    assert_refused("find out who was the last, then --primary");
    found[0].named = 0;
    assert_int_equal(make()->holder, 0);
}

static void a_standby_is_not_named_the_primary(void **unused)
{
    (void)unused;
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    found[0].named = 1;
    assert_refused("db2 is a standby");
}

static void a_primary_that_is_lost_may_be_named(void **unused)
{
    (void)unused;
    found[0].instances[0].reported = false;
    found[0].instances[0].is_off = true;
    found[0].named = 0;
    const struct rescue_choice *choice = make();
    assert_int_equal(choice->holder, 0);
    assert_string_equal(choice->permit.boot,
                        "boot-db1"); /* of its last permit: guarded all the same */
}

static void another_history_is_refused(void **unused)
{
    (void)unused;
    guard_says(1, GUARD_STOPPED, ROLE_UNKNOWN, 5, 2);
    assert_refused("db2 is on timeline 2, ahead of 1 on db1");
    setup(NULL);
    found[0].store = records_of("db1", 5, 3);
    assert_refused("db1 is on timeline 1, and the recorded history is on 3");
    setup(NULL);
    found[0].instances[0].said.system_id = 9;
    assert_refused("system id");
}

static void a_candidate_of_a_dropped_workflow_is_burnt(void **unused)
{
    (void)unused;
    found[0].store.moving = true;
    found[0].store.move.phase = PHASE_PROMOTE;
    snprintf(found[0].store.move.candidate, NAME_SIZE, "db2");
    const struct rescue_choice *choice = make();
    assert_int_equal(choice->holder, 0);
    assert_int_equal(choice->record.burnt_len, 1);
    assert_string_equal(choice->record.burnt[0], "db2");
    assert_int_equal(choice->record.roles[1].role, DECLARED_DOWN);
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    guard_says(1, GUARD_RUNNING, ROLE_PRIMARY, 5, 2); /* it has become one meanwhile */
    choice = make();
    assert_int_equal(choice->holder, 1);
    assert_int_equal(choice->record.burnt_len, 0);
}

static void a_silent_candidate_may_have_been_a_primary_since(void **unused)
{
    (void)unused;
    found[0].store.moving = true;
    found[0].store.move.phase = PHASE_PROMOTE;
    snprintf(found[0].store.move.candidate, NAME_SIZE, "db2");
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    found[0].instances[1].reported = false;
    found[0].instances[1].is_off = true;
    assert_refused("find out who was the last");
}

static void a_burnt_instance_holds_nothing(void **unused)
{
    (void)unused;
    found[0].store.record.burnt_len = 1;
    snprintf(found[0].store.record.burnt[0], NAME_SIZE, "db1");
    assert_refused("may bear a history that did not complete");
}

static void without_guards_postgresql_must_answer(void **unused)
{
    (void)unused;
    for (int i = 0; i < 3; i++) {
        struct rescue_instance *instance = &found[0].instances[i];
        *instance = (struct rescue_instance){.asked = true};
        instance->fact = (struct instance_fact){.answered = true,
                                                .role = i == 0 ? ROLE_PRIMARY : ROLE_STANDBY,
                                                .system_id = SYSTEM_ID,
                                                .timeline = 1};
    }
    found[0].store.permit.boot[0] = '\0';
    const struct rescue_choice *choice = make();
    assert_int_equal(choice->holder, 0);
    assert_string_equal(choice->permit.boot, "");
    assert_int_equal(choice->record.roles_len, 0);
    found[0].instances[2].fact = (struct instance_fact){.cause = CAUSE_TIMED_OUT};
    assert_refused("PostgreSQL on db3 does not answer");
}

static void an_empty_etcd_and_no_copy_of_it_is_refused(void **unused)
{
    (void)unused;
    memset(&found[0].store, 0, sizeof found[0].store);
    rescue_make(&def, found, 1, &plan);
    assert_false(plan.choices[0].adopted);
    assert_int_equal(plan.reasons_len, 1);
    assert_non_null(strstr(plan.reasons[0], "--from"));
}

static void one_that_was_never_adopted_is_left_alone(void **unused)
{
    (void)unused;
    memset(found, 0, sizeof found);
    rescue_make(&def, found, 1, &plan);
    assert_false(plan.choices[0].adopted);
    assert_int_equal(plan.reasons_len, 0);
}

static void the_copy_is_taken_where_it_is_not_older(void **unused)
{
    (void)unused;
    found[0].copy = records_of("db1", 5, 1);
    assert_int_equal(make()->source, RESCUE_COPY);
    found[0].copy = records_of("db1", 4, 1);
    assert_int_equal(make()->source, RESCUE_STORE);
}

static void a_groups_workflow_is_dropped_and_its_pause_kept(void **unused)
{
    (void)unused;
    struct group_record group = {.moving = true, .paused = true, .databases_len = 2};
    group.workflow.moves_len = 1;
    make();
    rescue_group(&def, 0, &plan, &group);
    assert_string_equal(group.name, "shop");
    assert_false(group.moving);
    assert_int_equal(group.workflow.moves_len, 0);
    assert_true(group.paused);
    assert_int_equal(group.databases_len, 1);
    assert_string_equal(group.databases[0].primary, "db1");
}

static void the_hash_stands_for_who_gets_what(void **unused)
{
    (void)unused;
    char first[PLAN_HASH_SIZE], second[PLAN_HASH_SIZE];
    make();
    rescue_hash(&def, &plan, first);
    make();
    rescue_hash(&def, &plan, second);
    assert_string_equal(first, second);
    guard_says(2, GUARD_RUNNING, ROLE_STANDBY, 5, 1);
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1); /* it has died meanwhile */
    make();
    rescue_hash(&def, &plan, second);
    assert_string_not_equal(first, second);
}

static void a_source_without_its_permit_or_record_gives_way(void **unused)
{
    (void)unused;
    found[0].copy = records_of("db1", 4, 1);
    found[0].store.has_permit = false;
    assert_int_equal(make()->source, RESCUE_COPY);
    found[0].store = records_of("db1", 5, 1);
    found[0].store.has_record = false;
    assert_int_equal(make()->source, RESCUE_COPY);
    found[0].store = records_of("db1", 3, 1);
    found[0].copy.has_record = false;
    assert_int_equal(make()->source, RESCUE_STORE);
}

/* A permit without its record, wherever it stands, and whether it had guards or not. */
static void half_a_source_is_refused(void **unused)
{
    (void)unused;
    memset(found[0].instances, 0, sizeof found[0].instances);
    found[0].copy = records_of("db1", 5, 1);
    found[0].copy.has_record = false;
    memset(&found[0].store, 0, sizeof found[0].store);
    assert_refused("give another copy by --from");
    found[0].copy.permit.boot[0] = '\0';
    assert_refused("give another copy by --from");
    found[0].store = found[0].copy;
    memset(&found[0].copy, 0, sizeof found[0].copy);
    assert_refused("give another copy by --from");
    found[0].store = records_of("db1", 5, 1);
    found[0].store.record.primary[0] = '\0';
    assert_refused("give another copy by --from");
}

static void guards_that_only_observe_leave_it_to_postgresql(void **unused)
{
    (void)unused;
    found[0].store.permit.boot[0] = '\0';
    for (int i = 0; i < 3; i++) {
        found[0].instances[i].said.mode = GUARD_OBSERVING;
    }
    found[0].instances[2].reported = false;
    assert_refused("PostgreSQL on db3 does not answer (not asked)");
    found[0].instances[2].asked = true;
    found[0].instances[2].fact.cause = CAUSE_REFUSED;
    assert_refused("PostgreSQL on db3 does not answer (refused)");
    guard_says(2, GUARD_RUNNING, ROLE_STANDBY, 5, 1);
    found[0].instances[2].said.mode = GUARD_OBSERVING;
    assert_int_equal(make()->holder, 0);
    assert_string_equal(plan.choices[0].permit.boot, "");
}

static void a_standby_that_answers_does_not_stand_for_its_guard(void **unused)
{
    (void)unused;
    found[0].instances[2].reported = false;
    found[0].instances[2].asked = true;
    found[0].instances[2].fact =
        (struct instance_fact){.answered = true, .role = ROLE_STANDBY, .timeline = 1};
    assert_refused("though PostgreSQL there does, as a standby");
    found[0].instances[2].fact.answered = false;
    assert_refused("the guard of db3 does not answer;");
}

static void a_guard_that_does_not_know_its_role_yet_is_waited_for(void **unused)
{
    (void)unused;
    guard_says(2, GUARD_RUNNING, ROLE_UNKNOWN, 5, 1);
    assert_refused("ask again when that is over");
}

static void the_running_primary_may_be_named_and_no_other(void **unused)
{
    (void)unused;
    found[0].named = 0;
    assert_int_equal(make()->holder, 0);
    found[0].named = 1;
    assert_refused("db1 runs as the primary, and not db2");
}

static void a_candidate_that_answers_is_known(void **unused)
{
    (void)unused;
    found[0].store.moving = true;
    found[0].store.move.phase = PHASE_PROMOTE;
    snprintf(found[0].store.move.candidate, NAME_SIZE, "db2");
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    assert_int_equal(make()->holder, 0); /* its guard says that it is a standby */
    found[0].instances[1] = (struct rescue_instance){.is_off = true, .asked = true};
    assert_refused("find out who was the last");
    found[0].instances[1].fact = (struct instance_fact){
        .answered = true, .role = ROLE_STANDBY, .system_id = SYSTEM_ID, .timeline = 1};
    assert_int_equal(make()->holder, 0);
    found[0].store.move.phase = PHASE_CHOOSE; /* nobody was asked yet */
    found[0].instances[1].asked = false;
    assert_int_equal(make()->holder, 0);
    assert_int_equal(plan.choices[0].record.burnt_len, 0);
    found[0].store.move.phase = PHASE_PROMOTE; /* of no instance of the definition */
    snprintf(found[0].store.move.candidate, NAME_SIZE, "db9");
    assert_int_equal(make()->holder, 0);
}

static void a_recorded_primary_outside_the_definition_is_refused(void **unused)
{
    (void)unused;
    found[0].store = records_of("db9", 5, 1);
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    assert_refused("its recorded primary db9 is not in the definition");
}

static void a_recorded_primary_that_answers_as_a_standby_is_refused(void **unused)
{
    (void)unused;
    guard_says(0, GUARD_STOPPED, ROLE_UNKNOWN, 5, 1);
    found[0].instances[0].asked = true;
    assert_int_equal(make()->holder, 0);
    found[0].instances[0].fact = (struct instance_fact){
        .answered = true, .role = ROLE_STANDBY, .system_id = SYSTEM_ID, .timeline = 1};
    assert_refused("db1 is a standby");
}

static void a_record_without_a_system_id_takes_the_running_one(void **unused)
{
    (void)unused;
    found[0].store.record.system_id = 0;
    assert_int_equal(make()->holder, 0);
    assert_true(plan.choices[0].record.system_id == SYSTEM_ID);
}

static void a_higher_timeline_of_another_system_says_nothing(void **unused)
{
    (void)unused;
    guard_says(2, GUARD_RUNNING, ROLE_STANDBY, 5, 7);
    assert_refused("ahead of 1 on db1");
    found[0].instances[2].said.system_id = 1;
    assert_int_equal(make()->holder, 0);
}

/* Of a dropped move each burnt one is kept, once; what its old primary waited for stays declared.
 */
static void a_dropped_move_leaves_its_burnt_and_its_entries(void **unused)
{
    (void)unused;
    struct rescue_records *store = &found[0].store;
    char first[PLAN_HASH_SIZE], second[PLAN_HASH_SIZE];
    make();
    rescue_hash(&def, &plan, first);
    store->moving = true;
    store->move.phase = PHASE_PROMOTE;
    store->move.burnt_len = 1;
    snprintf(store->move.burnt[0], NAME_SIZE, "db3");
    store->record.burnt_len = 1;
    snprintf(store->record.burnt[0], NAME_SIZE, "db3");
    store->move.sync_len = 1;
    store->move.sync[0] = (struct sync_entry_record){.k = 1, .members = {"db3"}, .members_len = 1};
    const struct rescue_choice *choice = make(); /* without a candidate yet */
    assert_int_equal(choice->record.burnt_len, 1);
    assert_string_equal(choice->permit.sync[0].members[0], "db3");
    rescue_hash(&def, &plan, second);
    assert_string_not_equal(first, second);
    snprintf(store->move.candidate, NAME_SIZE, "db1"); /* it was promoted with its own entries */
    assert_string_equal(make()->permit.sync[0].members[0], "db2");
    snprintf(store->move.candidate, NAME_SIZE, "db2");
    store->record.burnt_len = INSTANCES_MAX;
    for (int i = 1; i < INSTANCES_MAX; i++) {
        snprintf(store->record.burnt[i], NAME_SIZE, "gone%d", i);
    }
    assert_int_equal(make()->record.burnt_len, INSTANCES_MAX);
}

static void a_group_holds_its_own_adopted_databases_alone(void **unused)
{
    (void)unused;
    struct group_record group = {.databases_len = 0};
    def.databases_len = 3;
    def.groups_len = 2;
    for (int db = 1; db < 3; db++) {
        def.databases[db] = def.databases[0];
        snprintf(def.databases[db].name, NAME_SIZE, "other%d", db);
        found[db].named = -1;
    }
    def.databases[1].group = 1;
    found[1] = found[0]; /* of another group; the third was never adopted */
    rescue_make(&def, found, 1, &plan);
    rescue_group(&def, 0, &plan, &group);
    assert_int_equal(group.databases_len, 1);
}

static void more_reasons_than_there_is_room_for_are_counted(void **unused)
{
    (void)unused;
    def.databases_len = DATABASES_MAX;
    def.databases[0].instances_len = INSTANCES_MAX;
    def.nodes_len = INSTANCES_MAX;
    for (int i = 0; i < INSTANCES_MAX; i++) {
        snprintf(def.nodes[i].name, NAME_SIZE, "db%d", i + 1);
        def.databases[0].instances[i].node = i;
    }
    memset(found[0].instances, 0, sizeof found[0].instances);
    for (int db = 1; db < DATABASES_MAX; db++) {
        def.databases[db] = def.databases[0];
        found[db] = found[0];
    }
    rescue_make(&def, found, 1, &plan);
    assert_int_equal(plan.reasons_len, RESCUE_REASONS_MAX);
    assert_true(plan.reasons_more >= DATABASES_MAX * INSTANCES_MAX - RESCUE_REASONS_MAX);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_running_primary_holds_a_permit_above_every_epoch),
        TEST(the_incarnation_grows_above_what_any_guard_has_seen),
        TEST(what_runs_outranks_what_is_recorded),
        TEST(two_primaries_are_refused_by_name),
        TEST(one_that_only_postgresql_itself_shows_counts),
        TEST(a_silent_guard_is_refused_until_a_person_says_that_it_is_off),
        TEST(an_instance_between_two_states_is_waited_for),
        TEST(a_primary_below_an_epoch_that_was_granted_since_is_refused),
        TEST(with_none_running_the_recorded_one_is_taken_if_nothing_was_granted_since),
        TEST(a_standby_is_not_named_the_primary),
        TEST(a_primary_that_is_lost_may_be_named),
        TEST(another_history_is_refused),
        TEST(a_candidate_of_a_dropped_workflow_is_burnt),
        TEST(a_silent_candidate_may_have_been_a_primary_since),
        TEST(a_burnt_instance_holds_nothing),
        TEST(without_guards_postgresql_must_answer),
        TEST(an_empty_etcd_and_no_copy_of_it_is_refused),
        TEST(one_that_was_never_adopted_is_left_alone),
        TEST(the_copy_is_taken_where_it_is_not_older),
        TEST(a_groups_workflow_is_dropped_and_its_pause_kept),
        TEST(the_hash_stands_for_who_gets_what),
        TEST(a_source_without_its_permit_or_record_gives_way),
        TEST(half_a_source_is_refused),
        TEST(guards_that_only_observe_leave_it_to_postgresql),
        TEST(a_standby_that_answers_does_not_stand_for_its_guard),
        TEST(a_guard_that_does_not_know_its_role_yet_is_waited_for),
        TEST(the_running_primary_may_be_named_and_no_other),
        TEST(a_candidate_that_answers_is_known),
        TEST(a_recorded_primary_outside_the_definition_is_refused),
        TEST(a_recorded_primary_that_answers_as_a_standby_is_refused),
        TEST(a_record_without_a_system_id_takes_the_running_one),
        TEST(a_higher_timeline_of_another_system_says_nothing),
        TEST(a_dropped_move_leaves_its_burnt_and_its_entries),
        TEST(a_group_holds_its_own_adopted_databases_alone),
        TEST(more_reasons_than_there_is_room_for_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
