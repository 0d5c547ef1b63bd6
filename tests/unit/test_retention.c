/*
 * Which records are kept in etcd: what is open, the newest, the young, and never more than a bound.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "controller/core/retention.h"

#define NOW_MS INT64_C(1767225600000)
#define MANY   5000

static struct retained items[MANY];
static int goes[MANY];

/* All ended, newest first, each a minute older than the one before it. */
static void fill(int len)
{
    for (int i = 0; i < len; i++) {
        items[i] = (struct retained){.revision = 2 * (int64_t)(len - i),
                                     .wall_ms = NOW_MS - 60000 * (int64_t)i};
    }
}

static int choose(int least, int most, int64_t age_ms, int len)
{
    struct retention limits = {.least = least, .most = most, .age_ms = age_ms};
    return retention_choose(&limits, items, len, NOW_MS, goes, MANY);
}

static void the_newest_stay_however_old_they_are(void **state)
{
    (void)state;
    fill(100);
    assert_int_equal(choose(100, 200, 0, 100), 0);
    assert_int_equal(choose(99, 200, 0, 100), 1);
    assert_int_equal(goes[0], 99);
    assert_int_equal(choose(10, 200, 0, 100), 90);
    for (int i = 0; i < 90; i++) {
        assert_int_equal(goes[i], 99 - i); /* the oldest first */
    }
}

static void older_ones_stay_for_their_age(void **state)
{
    (void)state;
    fill(100);
    assert_int_equal(choose(10, 200, 60000 * INT64_C(98), 100), 1); /* the one of 99 minutes */
    assert_int_equal(choose(10, 200, 60000 * INT64_C(99), 100), 0); /* at its age, not over it */
}

static void no_more_than_a_bound_stay_however_young_they_are(void **state)
{
    (void)state;
    fill(MANY);
    assert_int_equal(choose(10, 2048, INT64_MAX, MANY), MANY - 2048);
    for (int i = 0; i < MANY - 2048; i++) {
        assert_true(goes[i] >= 2048);
    }
}

static void what_is_open_stays_and_takes_nobodys_place(void **state)
{
    (void)state;
    fill(100);
    for (int i = 0; i < 100; i += 2) {
        items[i].open = true;
    }
    int len = choose(20, 30, 0, 100);
    assert_int_equal(len, 30); /* of fifty that have ended */
    for (int i = 0; i < len; i++) {
        assert_false(items[goes[i]].open);
    }
}

static void a_wrong_wall_clock_never_touches_the_newest(void **state)
{
    (void)state;
    fill(100);
    for (int i = 0; i < 100; i++) {
        items[i].wall_ms = i % 2 == 0 ? NOW_MS + RETENTION_DAY_MS * 3650 : 0;
    }
    int len = choose(20, 200, RETENTION_DAY_MS, 100);
    assert_int_equal(len, 40);
    for (int i = 0; i < len; i++) {
        assert_true(goes[i] >= 20 && goes[i] % 2 == 1); /* those of the future are not old */
    }
}

static void only_as_many_are_chosen_as_there_is_room_for(void **state)
{
    struct retention limits = {.least = 1, .most = 1, .age_ms = 0};
    (void)state;
    fill(100);
    assert_int_equal(retention_choose(&limits, items, 100, NOW_MS, goes, 7), 7);
    assert_int_equal(goes[0], 99);
    assert_int_equal(goes[6], 93);
    assert_int_equal(retention_choose(&limits, items, 0, NOW_MS, goes, 7), 0);
}

static void an_incident_that_the_core_still_needs_counts_as_open(void **state)
{
    struct core *core = calloc(1, sizeof *core);
    struct incident_record *incident = calloc(1, sizeof *incident);
    (void)state;
    if (core == NULL || incident == NULL) {
        abort();
    }
    core->def.groups_len = 1;
    snprintf(incident->id, sizeof incident->id, "i1");
    incident->state = INCIDENT_OPEN;
    assert_true(retention_incident_is_open(core, incident));
    incident->state = INCIDENT_CLOSED;
    assert_false(retention_incident_is_open(core, incident));
    core->groups[0].record.moving = true;
    snprintf(core->groups[0].record.workflow.id, ID_SIZE, "i1");
    assert_true(retention_incident_is_open(core, incident));
    snprintf(core->groups[0].record.workflow.id, ID_SIZE, "i2");
    assert_false(retention_incident_is_open(core, incident)); /* another one runs */
    core->groups[0].record.moving = false;
    core->groups[0].incident_known = true;
    core->groups[0].incident = *incident;
    assert_true(retention_incident_is_open(core, incident));
    snprintf(core->groups[0].incident.id, ID_SIZE, "i2");
    assert_false(retention_incident_is_open(core, incident)); /* a later one is the latest */
    core->groups[0].incident_known = false;
    assert_false(retention_incident_is_open(core, incident));
    free(core);
    free(incident);
}

static void a_request_is_open_until_it_is_answered(void **state)
{
    static const bool open[] = {true, true, false, false};
    struct request_record request = {0};
    (void)state;
    for (int i = REQUEST_NEW; i <= REQUEST_REFUSED; i++) {
        request.state = (enum request_state)i;
        assert_int_equal(retention_request_is_open(&request), open[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_stay_however_old_they_are),
        cmocka_unit_test(older_ones_stay_for_their_age),
        cmocka_unit_test(no_more_than_a_bound_stay_however_young_they_are),
        cmocka_unit_test(what_is_open_stays_and_takes_nobodys_place),
        cmocka_unit_test(a_wrong_wall_clock_never_touches_the_newest),
        cmocka_unit_test(only_as_many_are_chosen_as_there_is_room_for),
        cmocka_unit_test(an_incident_that_the_core_still_needs_counts_as_open),
        cmocka_unit_test(a_request_is_open_until_it_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
