#include "controller/base/loop.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"

/* How long loop_free() waits for what still ends by itself: cancelled children, name lookups. */
#define LOOP_DRY_MS 5000

/*
 * libuv's own timers count CLOCK_MONOTONIC, which stands still while a machine is suspended. So all
 * timers of a loop share one timerfd on CLOCK_BOOTTIME, armed for the earliest; they wait in a
 * binary heap by due time, and by order of arming where the times are equal.
 */
struct loop {
    uv_loop_t uv;
    int timer_fd;
    struct fd_watch *timer_watch;
    uv_prepare_t prepare; /* right before it waits the timerfd is set, to the first that is due */
    uv_check_t check;
    uv_idle_t idle;    /* active: one is due already, and the wait is none */
    bool waiting;      /* from on_prepare() to the first callback */
    uint64_t armed_ms; /* what the timerfd is set to; UINT64_MAX: to nothing */
    uint64_t next_order;
    struct timer **heap;
    size_t heap_len;
    size_t heap_size;
    size_t timers; /* that exist, armed or not: the heap has room for all */
};

#define NOT_ARMED SIZE_MAX

struct timer {
    struct loop *loop;
    timer_fn fn;
    void *arg;
    uint64_t due_ms;
    uint64_t order;
    size_t at; /* in the heap, or NOT_ARMED */
};

static bool earlier(const struct timer *a, const struct timer *b)
{
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : a->order < b->order;
}

static void place(struct loop *loop, struct timer *timer, size_t at)
{
    loop->heap[at] = timer;
    timer->at = at;
}

static void sift_up(struct loop *loop, struct timer *timer, size_t at)
{
    while (at > 0 && earlier(timer, loop->heap[(at - 1) / 2])) {
        place(loop, loop->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    place(loop, timer, at);
}

static void sift_down(struct loop *loop, struct timer *timer, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < loop->heap_len && earlier(loop->heap[child + 1], loop->heap[child])) {
            child++;
        }
        if (child >= loop->heap_len || !earlier(loop->heap[child], timer)) {
            break;
        }
        place(loop, loop->heap[child], at);
        at = child;
    }
    place(loop, timer, at);
}

static void heap_remove(struct loop *loop, struct timer *timer)
{
    size_t at = timer->at;
    assert(at < loop->heap_len && loop->heap[at] == timer);
    timer->at = NOT_ARMED;
    struct timer *last = loop->heap[--loop->heap_len];
    if (last == timer) {
        return;
    }
    sift_up(loop, last, at);
    sift_down(loop, last, last->at);
}

static uint64_t first_due_ms(const struct loop *loop)
{
    return loop->heap_len > 0 ? loop->heap[0]->due_ms : UINT64_MAX;
}

/* For none at all it stays as it is: one idle wake-up. */
static void arm(struct loop *loop)
{
    uint64_t due_ms = first_due_ms(loop);
    if (due_ms == UINT64_MAX || due_ms == loop->armed_ms) {
        return;
    }
    loop->armed_ms = due_ms;
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(due_ms / 1000),
                                         .tv_nsec = (long)(due_ms % 1000) * 1000000}};
    int rc = timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
    assert(rc == 0);
    (void)rc;
}

/* libuv does not wait while there is one. */
static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

static void on_prepare(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;
    loop->waiting = true;
    if (first_due_ms(loop) <= clock_now_ms()) { /* setting the timerfd costs more than a turn */
        uv_idle_start(&loop->idle, on_idle);
    } else {
        arm(loop);
    }
}

static void run_due(struct loop *loop)
{
    /* What a callback arms for "now" waits for the next round, so that descriptors get their turn.
     */
    uint64_t now_ms = clock_now_ms();
    uint64_t first_new = loop->next_order;
    while (loop->heap_len > 0 && loop->heap[0]->due_ms <= now_ms &&
           loop->heap[0]->order < first_new) {
        struct timer *timer = loop->heap[0];
        heap_remove(loop, timer);
        timer->fn(timer->arg);
    }
}

static void on_check(uv_check_t *handle)
{
    struct loop *loop = handle->data;
    loop_awake(loop);
    if (uv_is_active((uv_handle_t *)&loop->idle)) {
        uv_idle_stop(&loop->idle);
        run_due(loop);
    }
}

static void fire(void *arg, int ready)
{
    (void)ready;
    struct loop *loop = arg;
    uint64_t expirations;
    ssize_t n = read(loop->timer_fd, &expirations, sizeof expirations);
    if (n < 0) {
        assert(errno == EAGAIN || errno == EINTR);
        return;
    }
    loop->armed_ms = UINT64_MAX;
    run_due(loop);
}

void loop_awake(struct loop *loop)
{
    loop->waiting = false;
}

struct timer *timer_new(struct loop *loop, timer_fn fn, void *arg)
{
    assert(fn != NULL);
    struct timer *timer = calloc(1, sizeof *timer);
    assert(timer != NULL);
    *timer = (struct timer){.loop = loop, .fn = fn, .arg = arg, .at = NOT_ARMED};
    if (++loop->timers > loop->heap_size) {
        loop->heap_size = loop->heap_size == 0 ? 16 : 2 * loop->heap_size;
        loop->heap = reallocarray(loop->heap, loop->heap_size, sizeof(struct timer *));
        assert(loop->heap != NULL);
    }
    return timer;
}

void timer_start(struct timer *timer, uint64_t in_ms)
{
    struct loop *loop = timer->loop;
    timer_stop(timer);
    uint64_t now_ms = clock_now_ms();
    /* A century is for ever, and keeps the sum and the kernel's seconds in range. */
    const uint64_t most_ms = 100ull * 365 * 86400 * 1000;
    timer->due_ms = now_ms + (in_ms < most_ms ? in_ms : most_ms);
    timer->order = loop->next_order++;
    sift_up(loop, timer, loop->heap_len++);
    if (loop->waiting) { /* by a callback that is not ours, after on_prepare() */
        arm(loop);
    }
}

void timer_stop(struct timer *timer)
{
    if (timer->at != NOT_ARMED) {
        heap_remove(timer->loop, timer);
    }
}

void timer_free(struct timer *timer)
{
    if (timer == NULL) {
        return;
    }
    timer_stop(timer);
    timer->loop->timers--;
    free(timer);
}

struct loop *loop_new(void)
{
    /* A peer that hangs up is an error of the write, never a signal. */
    signal(SIGPIPE, SIG_IGN);
    struct loop *loop = calloc(1, sizeof *loop);
    assert(loop != NULL);
    int rc = uv_loop_init(&loop->uv);
    assert(rc == 0);
    (void)rc;
    loop->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    assert(loop->timer_fd >= 0);
    loop->armed_ms = UINT64_MAX;
    loop->timer_watch = fd_watch_new(loop, loop->timer_fd, fire, loop);
    fd_watch_want(loop->timer_watch, FD_READABLE);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    loop->prepare.data = loop->check.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->idle);
    return loop;
}

void loop_free(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    assert(loop->timers == 0);
    fd_watch_free(loop->timer_watch);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uint64_t until_ms = clock_now_ms() + LOOP_DRY_MS;
    while (uv_run(&loop->uv, UV_RUN_NOWAIT) != 0 && clock_now_ms() < until_ms) {
        struct pollfd backend = {.fd = uv_backend_fd(&loop->uv), .events = POLLIN};
        poll(&backend, 1, 10);
    }
    int rc = uv_loop_close(&loop->uv);
    if (rc != 0) {
        uv_print_all_handles(&loop->uv, stderr);
    }
    assert(rc == 0);
    close(loop->timer_fd);
    free(loop->heap);
    free(loop);
}

uv_loop_t *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

_Bool loop_run_until(struct loop *loop, const _Bool *done, uint64_t within_ms)
{
    bool late = false;
    struct timer *timer = timer_new(loop, set_true, &late);
    timer_start(timer, within_ms);
    while (!*done && !late) {
        uv_run(&loop->uv, UV_RUN_ONCE);
    }
    timer_free(timer);
    return *done;
}
