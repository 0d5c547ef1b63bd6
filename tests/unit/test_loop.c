/* The loop, its timers, watched descriptors, and the errors and clocks below them. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/clock.h"
#include "controller/base/err.h"
#include "controller/base/fd_watch.h"
#include "controller/base/loop.h"

#define WITHIN_MS UINT64_C(20000)

static struct loop *loop;
static char trace[256];

static int set_up(void **state)
{
    (void)state;
    loop = loop_new();
    trace[0] = '\0';
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    return 0;
}

static void note(const char *name)
{
    size_t len = strlen(trace);
    snprintf(trace + len, sizeof trace - len, "%s", name);
}

struct mark {
    const char *name;
    struct timer *timer;
    struct timer *other;
    uint64_t due_ms;
    int left;
    bool done;
};

static void fire(void *arg)
{
    struct mark *mark = arg;
    note(mark->name);
    mark->done = true;
}

static void timers_fire_in_the_order_of_their_times_then_of_their_arming(void **state)
{
    (void)state;
    struct mark marks[] = {{.name = "d"}, {.name = "a"}, {.name = "b"}, {.name = "c"}};
    static const uint64_t in_ms[] = {60, 0, 30, 30};
    for (int i = 0; i < 4; i++) {
        marks[i].timer = timer_new(loop, fire, &marks[i]);
    }
    for (int i = 0; i < 4; i++) {
        timer_start(marks[i].timer, in_ms[i]);
    }
    assert_true(loop_run_until(loop, &marks[0].done, WITHIN_MS));
    assert_string_equal(trace, "abcd");
    for (int i = 0; i < 4; i++) {
        timer_free(marks[i].timer);
    }
}

static void a_timer_is_never_early_on_the_boot_clock(void **state)
{
    (void)state;
    struct mark mark = {.name = "x"};
    mark.timer = timer_new(loop, fire, &mark);
    for (uint64_t in_ms = 0; in_ms < 12; in_ms++) {
        mark.done = false;
        uint64_t from_ms = clock_now_ms();
        timer_start(mark.timer, in_ms);
        assert_true(loop_run_until(loop, &mark.done, WITHIN_MS));
        assert_true(clock_now_ms() - from_ms >= in_ms);
    }
    timer_free(mark.timer);
}

static void a_timer_started_again_fires_once_at_its_new_time(void **state)
{
    (void)state;
    struct mark first = {.name = "1"};
    struct mark last = {.name = "2"};
    first.timer = timer_new(loop, fire, &first);
    last.timer = timer_new(loop, fire, &last);
    timer_start(first.timer, 0);
    timer_start(last.timer, 40);
    timer_start(first.timer, 20);
    assert_true(loop_run_until(loop, &last.done, WITHIN_MS));
    assert_string_equal(trace, "12");
    timer_free(first.timer);
    timer_free(last.timer);
}

static void a_stopped_timer_does_not_fire(void **state)
{
    (void)state;
    struct mark stopped = {.name = "1"};
    struct mark last = {.name = "2"};
    stopped.timer = timer_new(loop, fire, &stopped);
    last.timer = timer_new(loop, fire, &last);
    timer_start(stopped.timer, 5);
    timer_start(last.timer, 30);
    timer_stop(stopped.timer);
    timer_stop(stopped.timer);
    assert_true(loop_run_until(loop, &last.done, WITHIN_MS));
    assert_string_equal(trace, "2");
    timer_free(stopped.timer);
    timer_free(last.timer);
}

static void free_both(void *arg)
{
    struct mark *mark = arg;
    note(mark->name);
    timer_free(mark->other);
    timer_free(mark->timer);
    mark->done = true;
}

static void a_timer_may_free_itself_and_one_that_is_due_with_it(void **state)
{
    (void)state;
    struct mark mark = {.name = "1"};
    struct mark other = {.name = "2"};
    mark.timer = timer_new(loop, free_both, &mark);
    mark.other = timer_new(loop, fire, &other);
    timer_start(mark.timer, 0);
    timer_start(mark.other, 0);
    assert_true(loop_run_until(loop, &mark.done, WITHIN_MS));
    bool never = false;
    loop_run_until(loop, &never, 10);
    assert_string_equal(trace, "1");
}

static void start_again(void *arg)
{
    struct mark *mark = arg;
    timer_start(mark->timer, 0);
    mark->done = --mark->left == 0;
}

static void count_ready(void *arg, int ready)
{
    int *seen = arg;
    *seen |= ready;
}

static void a_timer_that_starts_itself_for_now_lets_descriptors_have_their_turn(void **state)
{
    (void)state;
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(write(pipe_fds[1], "x", 1), 1);
    int seen = 0;
    struct fd_watch *watch = fd_watch_new(loop, pipe_fds[0], count_ready, &seen);
    fd_watch_want(watch, FD_READABLE);
    struct mark mark = {.left = 10};
    mark.timer = timer_new(loop, start_again, &mark);
    timer_start(mark.timer, 0);
    assert_true(loop_run_until(loop, &mark.done, WITHIN_MS));
    assert_int_equal(seen, FD_READABLE);
    timer_free(mark.timer);
    fd_watch_free(watch);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

/* The same in each run (xorshift), so that a failure can be seen again. */
static uint64_t some_number(uint64_t below)
{
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % below;
}

static uint64_t last_due_ms;

static void fire_in_order(void *arg)
{
    struct mark *mark = arg;
    assert_true(mark->due_ms >= last_due_ms);
    last_due_ms = mark->due_ms;
    mark->done = true;
}

/* Again until the clock stood still meanwhile, so that the due time is known to the millisecond. */
static void start_at_known_time(struct mark *mark, uint64_t in_ms)
{
    do {
        mark->due_ms = clock_now_ms() + in_ms;
        timer_start(mark->timer, in_ms);
    } while (clock_now_ms() + in_ms != mark->due_ms);
}

static void many_timers_fire_in_order_whatever_was_stopped_and_started(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static struct mark marks[MANY];
    memset(marks, 0, sizeof marks);
    last_due_ms = 0;
    int expected = 0;
    for (int i = 0; i < MANY; i++) {
        marks[i].name = "";
        marks[i].timer = timer_new(loop, fire_in_order, &marks[i]);
        start_at_known_time(&marks[i], some_number(50));
    }
    for (int i = 0; i < MANY; i++) {
        struct mark *mark = &marks[some_number(MANY)];
        if (some_number(2) == 0) {
            timer_stop(mark->timer);
            mark->left = -1;
        } else {
            start_at_known_time(mark, some_number(50));
            mark->left = 0;
        }
    }
    for (int i = 0; i < MANY; i++) {
        expected += marks[i].left == 0;
    }
    assert_true(expected > 0 && expected < MANY);
    struct mark last = {.name = ""};
    last.timer = timer_new(loop, fire, &last);
    timer_start(last.timer, 60);
    assert_true(loop_run_until(loop, &last.done, WITHIN_MS));
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(marks[i].done, marks[i].left == 0);
        timer_free(marks[i].timer);
    }
    timer_free(last.timer);
}

static struct timer *of_a_hook;

static void start_late(uv_prepare_t *handle)
{
    uv_prepare_stop(handle);
    timer_start(of_a_hook, 5);
}

static void a_timer_that_is_started_right_before_the_wait_is_not_slept_through(void **state)
{
    (void)state;
    struct mark mark = {.name = "a"};
    uv_prepare_t hook;
    of_a_hook = timer_new(loop, fire, &mark);
    uv_prepare_init(loop_uv(loop), &hook);
    uv_prepare_start(&hook, start_late);
    while (!mark.done) {
        uv_run(loop_uv(loop), UV_RUN_ONCE); /* sleeps for ever unless the timer is armed */
    }
    timer_free(of_a_hook);
    uv_close((uv_handle_t *)&hook, NULL);
    uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

static void waiting_ends_when_its_time_is_over(void **state)
{
    (void)state;
    bool never = false;
    uint64_t from_ms = clock_now_ms();
    assert_false(loop_run_until(loop, &never, 20));
    assert_true(clock_now_ms() - from_ms >= 20);
}

static void stop(void *arg)
{
    (void)arg;
    note("s");
    loop_stop(loop);
}

static void a_loop_runs_until_it_is_stopped(void **state)
{
    (void)state;
    struct timer *timer = timer_new(loop, stop, NULL);
    timer_start(timer, 1);
    loop_run(loop);
    assert_string_equal(trace, "s");
    timer_free(timer);
}

struct meeting {
    struct fd_watch *watch;
    int fd;
    int ready;
    bool done;
};

static void meet(void *arg, int ready)
{
    struct meeting *meeting = arg;
    meeting->ready = ready;
    meeting->done = true;
    fd_watch_free(meeting->watch);
    close(meeting->fd);
}

static void a_watch_may_free_itself_and_its_descriptor_be_closed_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) { /* the number comes back, and is watched anew */
        int fds[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        struct meeting meeting = {.fd = fds[0]};
        meeting.watch = fd_watch_new(loop, fds[0], meet, &meeting);
        fd_watch_want(meeting.watch, FD_READABLE | FD_WRITABLE);
        assert_true(loop_run_until(loop, &meeting.done, WITHIN_MS));
        assert_int_equal(meeting.ready, FD_WRITABLE);
        close(fds[1]);
    }
}

static void an_error_is_reported_as_readable_and_writable(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]); /* nobody can read: poll reports an error on the writing end */
    struct meeting meeting = {.fd = fds[1]};
    meeting.watch = fd_watch_new(loop, fds[1], meet, &meeting);
    fd_watch_want(meeting.watch, FD_READABLE);
    assert_true(loop_run_until(loop, &meeting.done, WITHIN_MS));
    assert_int_equal(meeting.ready, FD_READABLE | FD_WRITABLE);
}

struct twice {
    int left;
    bool done;
};

static void look_away(void *arg, int ready)
{
    (void)ready;
    struct twice *twice = arg;
    twice->done = --twice->left == 0;
}

static void an_error_that_is_not_looked_at_is_reported_again(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    struct twice twice = {.left = 3};
    struct fd_watch *watch = fd_watch_new(loop, fds[1], look_away, &twice);
    fd_watch_want(watch, FD_WRITABLE);
    assert_true(loop_run_until(loop, &twice.done, WITHIN_MS));
    fd_watch_free(watch);
    close(fds[1]);
}

static void a_watch_that_wants_nothing_is_not_called(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    int seen = 0;
    struct fd_watch *watch = fd_watch_new(loop, fds[0], count_ready, &seen);
    bool never = false;
    fd_watch_want(watch, FD_READABLE);
    fd_watch_want(watch, 0);
    loop_run_until(loop, &never, 10);
    assert_int_equal(seen, 0);
    fd_watch_want(watch, FD_READABLE);
    loop_run_until(loop, &never, 10);
    assert_int_equal(seen, FD_READABLE);
    fd_watch_free(watch);
    close(fds[0]);
    close(fds[1]);
}

static void a_broken_pipe_is_an_error_and_no_signal(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    assert_int_equal(write(fds[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    close(fds[1]);
}

static void an_error_keeps_its_code_and_is_prefixed_on_the_way_up(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_REFUSED, "answer %d", 7), -1);
    assert_int_equal(err_prefix(&err, "node %s", "db1"), -1);
    assert_int_equal(err.code, ERR_REFUSED);
    assert_string_equal(err.text, "node db1: answer 7");
    err_set(&err, ERR_LIMIT, "again: %s", err.text); /* may name itself */
    assert_string_equal(err.text, "again: node db1: answer 7");
    assert_int_equal(err_set(NULL, ERR_LIMIT, "nobody asks"), -1);
    assert_int_equal(err_prefix(NULL, "nobody asks"), -1);
    assert_string_equal(err_code_name(ERR_UNREACHABLE), "unreachable");
}

static void an_error_too_long_is_cut_and_ended(void **state)
{
    (void)state;
    char text[2 * ERR_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct err err = {0};
    err_set(&err, ERR_LIMIT, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_set(&err, ERR_LIMIT, "%.500s", text);
    err_prefix(&err, "%.508s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void wall_time_is_shown_in_utc_with_its_milliseconds(void **state)
{
    (void)state;
    char text[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(1795316645678, text);
    assert_string_equal(text, "2026-11-22T03:04:05.678Z");
    clock_wall_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_wall_text(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    clock_wall_text(INT64_MAX, text);
    assert_string_equal(text, "unknown");
    clock_wall_text(INT64_MIN, text);
    assert_string_equal(text, "unknown");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(timers_fire_in_the_order_of_their_times_then_of_their_arming),
        TEST(a_timer_is_never_early_on_the_boot_clock),
        TEST(a_timer_started_again_fires_once_at_its_new_time),
        TEST(a_stopped_timer_does_not_fire),
        TEST(a_timer_may_free_itself_and_one_that_is_due_with_it),
        TEST(a_timer_that_starts_itself_for_now_lets_descriptors_have_their_turn),
        TEST(many_timers_fire_in_order_whatever_was_stopped_and_started),
        TEST(a_timer_that_is_started_right_before_the_wait_is_not_slept_through),
        TEST(waiting_ends_when_its_time_is_over),
        TEST(a_loop_runs_until_it_is_stopped),
        TEST(a_watch_may_free_itself_and_its_descriptor_be_closed_at_once),
        TEST(an_error_is_reported_as_readable_and_writable),
        TEST(an_error_that_is_not_looked_at_is_reported_again),
        TEST(a_watch_that_wants_nothing_is_not_called),
        TEST(a_broken_pipe_is_an_error_and_no_signal),
        TEST(an_error_keeps_its_code_and_is_prefixed_on_the_way_up),
        TEST(an_error_too_long_is_cut_and_ended),
        TEST(wall_time_is_shown_in_utc_with_its_milliseconds),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
