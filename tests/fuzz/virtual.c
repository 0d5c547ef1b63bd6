#include "tests/fuzz/virtual.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>

#include "controller/base/loop.h"

/* The linker puts these in the place of the functions without __wrap_. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
uint64_t __wrap_clock_now_ms(void);
int64_t __wrap_clock_wall_ms(void);
struct timer *__wrap_timer_new(struct loop *loop, timer_fn fn, void *arg);
void __wrap_timer_start(struct timer *timer, uint64_t in_ms);
void __wrap_timer_stop(struct timer *timer);
void __wrap_timer_free(struct timer *timer);

#define BEGIN_MS UINT64_C(1000000)
#define WALL_MS  INT64_C(1790000000000)

struct timer {
    struct timer *next;
    timer_fn fn;
    void *arg;
    bool runs;
    uint64_t at_ms;
};

static uint64_t now_ms = BEGIN_MS;
static struct timer *timers;

uint64_t __wrap_clock_now_ms(void)
{
    return now_ms;
}

int64_t __wrap_clock_wall_ms(void)
{
    return WALL_MS + (int64_t)(now_ms - BEGIN_MS);
}

struct timer *__wrap_timer_new(struct loop *loop, timer_fn fn, void *arg)
{
    (void)loop;
    struct timer *timer = calloc(1, sizeof *timer);
    assert(timer != NULL);
    *timer = (struct timer){.next = timers, .fn = fn, .arg = arg};
    timers = timer;
    return timer;
}

void __wrap_timer_start(struct timer *timer, uint64_t in_ms)
{
    timer->runs = true;
    timer->at_ms = now_ms + in_ms;
}

void __wrap_timer_stop(struct timer *timer)
{
    timer->runs = false;
}

void __wrap_timer_free(struct timer *timer)
{
    for (struct timer **at = &timers; timer != NULL && *at != NULL; at = &(*at)->next) {
        if (*at == timer) {
            *at = timer->next;
            break;
        }
    }
    free(timer);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

void virtual_reset(void)
{
    assert(timers == NULL);
    now_ms = BEGIN_MS;
}

void virtual_pass(uint64_t ms)
{
    now_ms += ms;
}

bool virtual_ring(void)
{
    struct timer *first = NULL;
    for (struct timer *timer = timers; timer != NULL; timer = timer->next) {
        if (timer->runs && (first == NULL || timer->at_ms < first->at_ms)) {
            first = timer;
        }
    }
    if (first == NULL) {
        return false;
    }
    now_ms = first->at_ms > now_ms ? first->at_ms : now_ms;
    first->runs = false;
    first->fn(first->arg);
    return true;
}
