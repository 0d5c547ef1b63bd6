/*
 * loop.h - the one event loop of a program, and the timers on it.
 *
 * Ownership: loop_free() runs the loop dry and asserts uv_loop_close() == 0; everything made on the
 * loop must have been freed before. After x_free() no callback of x arrives; handles' memory goes
 * back in libuv's close callback (style §4).
 */
#ifndef FAILOVER_BASE_LOOP_H
#define FAILOVER_BASE_LOOP_H

#include <stdint.h>
#include <uv.h>

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *loop);
uv_loop_t *loop_uv(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_stop() */
void loop_stop(struct loop *loop);
/* Runs the loop until *done is true or deadline_ms from now has passed; returns *done. For tests
 * and the CLI. */
_Bool loop_run_until(struct loop *loop, const _Bool *done, uint64_t within_ms);

/* For fd_watch: a callback runs, so what it starts need not be armed before the next wait. */
void loop_awake(struct loop *loop);

/* A one-shot timer on CLOCK_BOOTTIME's millisecond grid; re-armed by timer_start. */
struct timer;
typedef void (*timer_fn)(void *arg);
struct timer *timer_new(struct loop *loop, timer_fn fn, void *arg);
void timer_start(struct timer *timer, uint64_t in_ms);
void timer_stop(struct timer *timer);
void timer_free(struct timer *timer);

#endif
