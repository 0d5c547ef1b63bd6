/*
 * From findings to an opinion: fall, rise, the time of refusals, the budget of a start (design §6,
 * §7), each at its boundary; and what is kept of a primary's and a standby's WAL.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "controller/core/private.h"

#define T0 UINT64_C(100000)

static const struct profile *normal(void)
{
    return &profiles[PROFILE_DEFAULT]; /* fall 2, rise 2, refused for 1000 ms */
}

static struct health well(void)
{
    struct health health;
    health_init(&health, T0);
    health_take(&health, normal(), CAUSE_OK, T0, T0 + 3);
    assert_int_equal(health.is, OPINION_UP);
    return health;
}

/* `took_ms` after it was asked. */
static void take(struct health *health, enum cause cause, uint64_t asked_ms, uint64_t took_ms)
{
    health_take(health, normal(), cause, asked_ms, asked_ms + took_ms);
}

static struct health down(void)
{
    struct health health = well();
    take(&health, CAUSE_TIMED_OUT, T0 + 500, 1500);
    take(&health, CAUSE_TIMED_OUT, T0 + 2000, 1500);
    assert_int_equal(health.is, OPINION_DOWN);
    return health;
}

static void the_first_good_finding_of_all_is_enough(void **state)
{
    (void)state;
    struct health health;
    health_init(&health, T0);
    assert_int_equal(health.is, OPINION_UNKNOWN);
    assert_true(health_take(&health, normal(), CAUSE_OK, T0, T0 + 3));
    assert_int_equal(health.is, OPINION_UP);
    assert_int_equal(health.last_good_ms, T0 + 3);
}

static void one_silent_probe_convicts_nobody_and_two_in_a_row_do(void **state)
{
    (void)state;
    static const enum cause silences[] = {CAUSE_TIMED_OUT, CAUSE_CUT, CAUSE_HUNG};
    for (size_t i = 0; i < sizeof silences / sizeof silences[0]; i++) {
        struct health health = well();
        take(&health, silences[i], T0 + 500, 1500);
        assert_int_equal(health.is, OPINION_UP);
        assert_int_equal(health.first_bad_ms, T0 + 500);
        take(&health, silences[i], T0 + 2000, 1500);
        assert_int_equal(health.is, OPINION_DOWN);
        assert_int_equal(health.first_bad_ms, T0 + 500); /* when the first one was asked */
        assert_int_equal(health.since_ms, T0 + 3500);
    }
}

static void a_good_finding_between_two_silent_ones_breaks_the_row(void **state)
{
    (void)state;
    struct health health = well();
    take(&health, CAUSE_TIMED_OUT, T0 + 500, 1500);
    take(&health, CAUSE_OK, T0 + 2000, 3);
    assert_int_equal(health.first_bad_ms, 0);
    take(&health, CAUSE_TIMED_OUT, T0 + 2500, 1500);
    assert_int_equal(health.is, OPINION_UP);
}

static void refusals_count_by_their_time_and_not_by_their_number(void **state)
{
    (void)state;
    struct health health = well();
    uint64_t first = T0 + 500;
    uint64_t last = first + normal()->refused_for_ms;
    for (uint64_t at = first; at < last - 1; at += 50) {
        take(&health, CAUSE_REFUSED, at, 0);
        assert_int_equal(health.is, OPINION_UP);
    }
    take(&health, CAUSE_REFUSED, last - 1, 0);
    assert_int_equal(health.is, OPINION_UP);
    take(&health, CAUSE_REFUSED, last, 0);
    assert_int_equal(health.is, OPINION_DOWN);
    assert_int_equal(health.first_bad_ms, first);
}

static void a_restart_within_the_time_of_refusals_is_no_failure(void **state)
{
    (void)state;
    struct health health = well();
    take(&health, CAUSE_REFUSED, T0 + 500, 0);
    take(&health, CAUSE_REFUSED, T0 + 1400, 0);
    take(&health, CAUSE_STARTING, T0 + 1450, 2);
    assert_int_equal(health.refused_since_ms, 0);
    take(&health, CAUSE_REFUSED, T0 + 1600, 0); /* the row begins anew */
    take(&health, CAUSE_REFUSED, T0 + 2599, 0);
    assert_int_equal(health.is, OPINION_UP);
    assert_int_equal(health.first_bad_ms, T0 + 500); /* but the impact began here */
    take(&health, CAUSE_OK, T0 + 2600, 3);
    assert_int_equal(health.first_bad_ms, 0);
}

static void starting_up_has_a_budget_of_a_minute(void **state)
{
    (void)state;
    static const enum cause starts[] = {CAUSE_STARTING, CAUSE_STOPPING};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct health health = well();
        for (uint64_t at = T0 + 500; at < T0 + 60500; at += 500) {
            take(&health, starts[i], at, 0);
            assert_int_equal(health.is, OPINION_UP);
        }
        take(&health, starts[i], T0 + 60499, 0);
        assert_int_equal(health.is, OPINION_UP);
        take(&health, starts[i], T0 + 60500, 0);
        assert_int_equal(health.is, OPINION_DOWN);
    }
}

static void a_start_between_silences_breaks_their_row(void **state)
{
    (void)state;
    struct health health = well();
    take(&health, CAUSE_TIMED_OUT, T0 + 500, 1500);
    take(&health, CAUSE_STARTING, T0 + 2000, 3);
    take(&health, CAUSE_TIMED_OUT, T0 + 2500, 1500);
    assert_int_equal(health.is, OPINION_UP);
}

static void what_is_no_failure_of_the_target_never_makes_it_down(void **state)
{
    (void)state;
    for (int cause = 0; cause < CAUSES; cause++) {
        if (cause_is_failure((enum cause)cause)) {
            continue;
        }
        struct health health = well();
        for (uint64_t at = T0 + 500; at < T0 + 200000; at += 500) {
            take(&health, (enum cause)cause, at, 3);
            assert_int_equal(health.is, OPINION_UP);
        }
        assert_int_equal(health.first_bad_ms, 0);
        assert_int_equal(health.cause, cause);
    }
}

static void the_first_good_answer_ends_a_conviction_and_the_second_makes_it_up(void **state)
{
    (void)state;
    struct health health = down();
    take(&health, CAUSE_OK, T0 + 4000, 3);
    assert_int_equal(health.is, OPINION_UNKNOWN);
    take(&health, CAUSE_OK, T0 + 4500, 3);
    assert_int_equal(health.is, OPINION_UP);
}

static void an_answer_that_is_no_failure_ends_a_conviction_too(void **state)
{
    (void)state;
    struct health health = down();
    take(&health, CAUSE_CREDENTIALS, T0 + 4000, 3);
    assert_int_equal(health.is, OPINION_UNKNOWN);
    assert_int_equal(health.first_bad_ms, 0);
}

static void a_stall_of_ours_forgets_what_it_may_have_caused(void **state)
{
    (void)state;
    struct health health = down();
    health_forget_failures(&health);
    assert_int_equal(health.is, OPINION_UNKNOWN);
    assert_int_equal(health.fails, 0);
    assert_int_equal(health.first_bad_ms, 0);
    take(&health, CAUSE_TIMED_OUT, T0 + 8000, 1500);
    assert_int_equal(health.is, OPINION_UNKNOWN);
    take(&health, CAUSE_TIMED_OUT, T0 + 9500, 1500);
    assert_int_equal(health.is, OPINION_DOWN);
}

/* ---- WAL ---- */

static struct core *one_database(void)
{
    struct core *core = calloc(1, sizeof *core);
    struct definition *def = calloc(1, sizeof *def);
    struct group_record *group = calloc(1, sizeof *group);
    assert_non_null(core);
    assert_non_null(def);
    assert_non_null(group);
    strcpy(def->groups[0].name, "shop");
    def->groups_len = 1;
    strcpy(def->databases[0].name, "payments");
    def->databases_len = 1;
    def->databases[0].instances_len = 2;
    for (int i = 0; i < 2; i++) {
        def->nodes[i].name[0] = (char)('a' + i);
        def->databases[0].instances[i].node = i;
    }
    def->nodes_len = 2;
    core_init(core, "c1", T0);
    assert_true(core_take_definition(core, def, 1));
    strcpy(group->name, "shop");
    strcpy(group->databases[0].database, "payments");
    strcpy(group->databases[0].primary, "a");
    group->databases_len = 1;
    assert_true(core_take_group(core, group, 2, core->now_ms));
    free(group);
    free(def);
    return core;
}

static void find(struct core *core, int instance, uint64_t at_ms, uint64_t lsn)
{
    struct core_effects *effects = calloc(1, sizeof *effects);
    struct core_event *event = calloc(1, sizeof *event);
    assert_non_null(effects);
    assert_non_null(event);
    event->type = EV_INSTANCE;
    event->now_ms = at_ms + 3;
    event->instance.instance = instance;
    event->instance.fact =
        (struct instance_fact){.asked_ms = at_ms,
                               .answered_ms = at_ms + 3,
                               .cause = CAUSE_OK,
                               .answered = true,
                               .role = instance == 0 ? ROLE_PRIMARY : ROLE_STANDBY};
    if (instance == 0) {
        event->instance.fact.write_lsn = lsn;
    } else {
        event->instance.fact.receive_lsn = lsn;
    }
    core_step(core, event, effects);
    free(event);
    free(effects);
}

static void the_rate_of_wal_rises_at_once_and_falls_slowly(void **state)
{
    (void)state;
    struct core *core = one_database();
    const struct database_state *d = &core->databases[0];
    find(core, 0, T0, 1000);
    find(core, 0, T0 + 1000, 1001000);
    assert_int_equal(d->bytes_per_s, 1000000);
    find(core, 0, T0 + 2000, 1001000);
    assert_int_equal(d->bytes_per_s, 1000000 * 15 / 16);
    assert_int_equal(d->primary_lsn, 1001000);
    assert_int_equal(d->primary_lsn_ms, T0 + 2003);
    free(core);
}

static void a_standby_is_at_rest_by_two_findings_asked_for_since_the_proof(void **state)
{
    (void)state;
    struct core *core = one_database();
    struct database_state *d = &core->databases[0];
    d->proven_ms = T0 + 1000;
    find(core, 1, T0 + 999, 500); /* asked for before the proof */
    assert_int_equal(d->instances[1].still_findings, 0);
    find(core, 1, T0 + 1000, 500);
    assert_int_equal(d->instances[1].still_findings, 1);
    find(core, 1, T0 + 1100, 500);
    assert_int_equal(d->instances[1].still_findings, 2);
    find(core, 1, T0 + 1200, 600); /* it still receives */
    assert_int_equal(d->instances[1].still_findings, 1);
    d->proven_ms = T0 + 1500; /* another proof: what was seen before counts no more */
    find(core, 1, T0 + 1600, 600);
    assert_int_equal(d->instances[1].still_findings, 1);
    free(core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_good_finding_of_all_is_enough),
        cmocka_unit_test(one_silent_probe_convicts_nobody_and_two_in_a_row_do),
        cmocka_unit_test(a_good_finding_between_two_silent_ones_breaks_the_row),
        cmocka_unit_test(refusals_count_by_their_time_and_not_by_their_number),
        cmocka_unit_test(a_restart_within_the_time_of_refusals_is_no_failure),
        cmocka_unit_test(starting_up_has_a_budget_of_a_minute),
        cmocka_unit_test(a_start_between_silences_breaks_their_row),
        cmocka_unit_test(what_is_no_failure_of_the_target_never_makes_it_down),
        cmocka_unit_test(the_first_good_answer_ends_a_conviction_and_the_second_makes_it_up),
        cmocka_unit_test(an_answer_that_is_no_failure_ends_a_conviction_too),
        cmocka_unit_test(a_stall_of_ours_forgets_what_it_may_have_caused),
        cmocka_unit_test(the_rate_of_wal_rises_at_once_and_falls_slowly),
        cmocka_unit_test(a_standby_is_at_rest_by_two_findings_asked_for_since_the_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
