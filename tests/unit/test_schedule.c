/* probes/schedule.c: pure, in made-up time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "probes/schedule.h"

#define INTERVAL_MS       500ull
#define PROBE_DEADLINE_MS 1500ull
#define REFUSED_FOR_MS    1000ull

static void init(struct probe_schedule *schedule, uint64_t seed, uint64_t now_ms)
{
    probe_schedule_init(schedule, INTERVAL_MS, PROBE_DEADLINE_MS, REFUSED_FOR_MS, seed, now_ms);
}

/* Starts when due, ends after took_ms; returns the start. */
static uint64_t probe_once(struct probe_schedule *schedule, bool failed, uint64_t took_ms)
{
    uint64_t at_ms = probe_schedule_due_ms(schedule);
    assert_true(at_ms != PROBE_SCHEDULE_NEVER);
    probe_schedule_started(schedule, at_ms);
    assert_true(probe_schedule_due_ms(schedule) == PROBE_SCHEDULE_NEVER);
    assert_false(probe_schedule_ended(schedule, failed, at_ms + took_ms));
    return at_ms;
}

static void starts_lie_an_interval_apart_within_a_tenth(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 7, 1000);
    uint64_t last_ms = probe_once(&schedule, false, 3);
    assert_in_range(last_ms, 1000, 1000 + INTERVAL_MS * 11 / 10);
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t at_ms = probe_once(&schedule, false, 3);
        uint64_t gap_ms = at_ms - last_ms;
        least = gap_ms < least ? gap_ms : least;
        most = gap_ms > most ? gap_ms : most;
        last_ms = at_ms;
    }
    assert_in_range(least, INTERVAL_MS * 9 / 10, INTERVAL_MS * 92 / 100);
    assert_in_range(most, INTERVAL_MS * 108 / 100, INTERVAL_MS * 11 / 10);
}

static void equal_seeds_march_in_step_and_different_ones_do_not(void **state)
{
    (void)state;
    struct probe_schedule a;
    struct probe_schedule b;
    struct probe_schedule c;
    init(&a, 1, 0);
    init(&b, 1, 0);
    init(&c, 2, 0);
    int together = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t at_ms = probe_once(&a, false, 1);
        assert_int_equal(at_ms, probe_once(&b, false, 1));
        together += at_ms == probe_once(&c, false, 1);
    }
    assert_true(together < 10);
}

static void one_that_left_the_step_is_back_in_it_soon(void **state)
{
    (void)state;
    struct probe_schedule calm;
    struct probe_schedule stirred;
    init(&calm, 5, 77);
    init(&stirred, 5, 77);
    for (int i = 0; i < 1000; i++) {
        uint64_t at_ms = probe_once(&calm, false, 1);
        assert_int_equal(at_ms, probe_once(&stirred, false, 1));
        uint64_t news_ms = at_ms + (uint64_t)i % (INTERVAL_MS * 8 / 10);
        probe_schedule_news(&stirred, news_ms);
        uint64_t off_ms = probe_once(&stirred, false, 1);
        assert_true(off_ms >= news_ms && off_ms >= at_ms + PROBE_SCHEDULE_GAP_MS);
        while (probe_schedule_due_ms(&calm) < probe_schedule_due_ms(&stirred)) {
            probe_once(&calm, false, 1);
        }
        assert_int_equal(probe_schedule_due_ms(&calm), probe_schedule_due_ms(&stirred));
        assert_in_range(probe_schedule_due_ms(&stirred) - off_ms, INTERVAL_MS / 2,
                        INTERVAL_MS * 16 / 10);
    }
}

static void a_slow_probe_is_followed_at_its_end_and_never_overlapped(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t first_ms = probe_once(&schedule, true, PROBE_DEADLINE_MS);
    assert_int_equal(probe_schedule_due_ms(&schedule), first_ms + PROBE_DEADLINE_MS);
}

static void a_suspect_that_failed_is_asked_at_a_quarter_of_its_refusal(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    probe_schedule_suspect(&schedule, true, 0);
    uint64_t first_ms = probe_once(&schedule, true, 1);
    assert_int_equal(probe_schedule_due_ms(&schedule), first_ms + REFUSED_FOR_MS / 4);
    uint64_t second_ms = probe_once(&schedule, false, 1);
    assert_true(probe_schedule_due_ms(&schedule) >= second_ms + INTERVAL_MS / 2);
}

static void a_suspect_without_a_refusal_time_is_asked_at_half_the_interval(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    probe_schedule_init(&schedule, INTERVAL_MS, PROBE_DEADLINE_MS, 0, 3, 0);
    probe_schedule_suspect(&schedule, true, 0);
    uint64_t first_ms = probe_once(&schedule, true, 1);
    assert_int_equal(probe_schedule_due_ms(&schedule), first_ms + INTERVAL_MS / 2);
}

static void suspicion_that_comes_after_the_failure_hurries_the_next_probe(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t first_ms = probe_once(&schedule, true, 1);
    probe_schedule_suspect(&schedule, true, first_ms + 2);
    assert_int_equal(probe_schedule_due_ms(&schedule), first_ms + REFUSED_FOR_MS / 4);
    probe_schedule_suspect(&schedule, true, first_ms + 300); /* said again: no change */
    assert_int_equal(probe_schedule_due_ms(&schedule), first_ms + REFUSED_FOR_MS / 4);
}

static void news_makes_a_probe_due_at_once(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t first_ms = probe_once(&schedule, false, 1);
    probe_schedule_news(&schedule, first_ms + 200);
    assert_int_equal(probe_schedule_due_ms(&schedule), first_ms + 200);
}

static void news_before_the_first_probe_starts_it(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 1000);
    probe_schedule_news(&schedule, 1000);
    assert_int_equal(probe_schedule_due_ms(&schedule), 1000);
}

static void news_without_end_makes_no_busy_loop(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t last_ms = probe_once(&schedule, true, 0);
    for (int i = 0; i < 100; i++) {
        probe_schedule_news(&schedule, last_ms);
        uint64_t at_ms = probe_once(&schedule, true, 0);
        assert_int_equal(at_ms - last_ms, PROBE_SCHEDULE_GAP_MS);
        last_ms = at_ms;
    }
}

static void news_while_a_probe_runs_is_asked_after_it(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t at_ms = probe_schedule_due_ms(&schedule);
    probe_schedule_started(&schedule, at_ms);
    probe_schedule_news(&schedule, at_ms + 5);
    assert_true(probe_schedule_due_ms(&schedule) == PROBE_SCHEDULE_NEVER);
    probe_schedule_ended(&schedule, false, at_ms + 80);
    assert_int_equal(probe_schedule_due_ms(&schedule), at_ms + 80);
    uint64_t second_ms = probe_once(&schedule, false, 1); /* and only once */
    assert_true(probe_schedule_due_ms(&schedule) >= second_ms + INTERVAL_MS / 2);
}

static void a_late_start_is_a_sample_after_a_stall(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t due_ms = probe_schedule_due_ms(&schedule);
    probe_schedule_started(&schedule, due_ms + 2 * INTERVAL_MS);
    assert_false(probe_schedule_ended(&schedule, false, due_ms + 2 * INTERVAL_MS + 1));
    due_ms = probe_schedule_due_ms(&schedule);
    probe_schedule_started(&schedule, due_ms + 2 * INTERVAL_MS + 1);
    assert_true(probe_schedule_ended(&schedule, false, due_ms + 2 * INTERVAL_MS + 2));
    probe_once(&schedule, false, 1); /* the next is ordinary again */
}

static void a_stall_in_the_middle_of_a_probe_is_seen_at_its_end(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t due_ms = probe_schedule_due_ms(&schedule);
    uint64_t limit_ms = due_ms + PROBE_DEADLINE_MS + 2 * INTERVAL_MS;
    probe_schedule_started(&schedule, due_ms);
    assert_false(probe_schedule_ended(&schedule, true, limit_ms));
    due_ms = probe_schedule_due_ms(&schedule);
    limit_ms = due_ms + PROBE_DEADLINE_MS + 2 * INTERVAL_MS;
    probe_schedule_started(&schedule, due_ms);
    assert_true(probe_schedule_ended(&schedule, true, limit_ms + 1));
}

static void a_long_stall_is_not_caught_up_by_a_burst(void **state)
{
    (void)state;
    struct probe_schedule schedule;
    init(&schedule, 3, 0);
    uint64_t at_ms = probe_schedule_due_ms(&schedule) + 3600000;
    probe_schedule_started(&schedule, at_ms);
    assert_true(probe_schedule_ended(&schedule, false, at_ms + 1));
    assert_true(probe_schedule_due_ms(&schedule) >= at_ms + INTERVAL_MS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_lie_an_interval_apart_within_a_tenth),
        cmocka_unit_test(equal_seeds_march_in_step_and_different_ones_do_not),
        cmocka_unit_test(one_that_left_the_step_is_back_in_it_soon),
        cmocka_unit_test(a_slow_probe_is_followed_at_its_end_and_never_overlapped),
        cmocka_unit_test(a_suspect_that_failed_is_asked_at_a_quarter_of_its_refusal),
        cmocka_unit_test(a_suspect_without_a_refusal_time_is_asked_at_half_the_interval),
        cmocka_unit_test(suspicion_that_comes_after_the_failure_hurries_the_next_probe),
        cmocka_unit_test(news_makes_a_probe_due_at_once),
        cmocka_unit_test(news_before_the_first_probe_starts_it),
        cmocka_unit_test(news_without_end_makes_no_busy_loop),
        cmocka_unit_test(news_while_a_probe_runs_is_asked_after_it),
        cmocka_unit_test(a_late_start_is_a_sample_after_a_stall),
        cmocka_unit_test(a_stall_in_the_middle_of_a_probe_is_seen_at_its_end),
        cmocka_unit_test(a_long_stall_is_not_caught_up_by_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
