#include "probes/schedule.h"

#include <assert.h>

static uint64_t later(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

/* The finalizer of splitmix64: small, good enough to spread, and the same everywhere. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* The n-th point in time that all schedules of this seed share: an interval after the one before,
 * within a tenth. */
static uint64_t point_ms(const struct probe_schedule *schedule, uint64_t n)
{
    uint64_t tenth = schedule->interval_ms / 10;
    return n * schedule->interval_ms + mix(schedule->seed) % schedule->interval_ms +
           mix(schedule->seed ^ mix(n)) % (tenth + 1);
}

static uint64_t first_point_ms(const struct probe_schedule *schedule, uint64_t from_ms)
{
    uint64_t n = from_ms / schedule->interval_ms;
    for (n = n > 2 ? n - 2 : 0; point_ms(schedule, n) < from_ms; n++) {
    }
    return point_ms(schedule, n);
}

static uint64_t suspect_interval_ms(const struct probe_schedule *schedule)
{
    uint64_t ms =
        schedule->refused_for_ms != 0 ? schedule->refused_for_ms / 4 : schedule->interval_ms / 2;
    return ms < schedule->interval_ms ? ms : schedule->interval_ms;
}

/* When the next probe is due after the latest start; never closer to it than the gap. */
static uint64_t next_due_ms(const struct probe_schedule *schedule)
{
    uint64_t from_ms = schedule->started_ms;
    if (!schedule->news && !(schedule->suspect && schedule->failed)) {
        uint64_t half_ms = later(schedule->interval_ms / 2, PROBE_SCHEDULE_GAP_MS);
        return first_point_ms(schedule, from_ms + half_ms);
    }
    uint64_t in_ms = schedule->news ? 0 : suspect_interval_ms(schedule);
    return from_ms + later(in_ms, PROBE_SCHEDULE_GAP_MS);
}

void probe_schedule_init(struct probe_schedule *schedule, uint32_t interval_ms,
                         uint32_t deadline_ms, uint32_t refused_for_ms, uint64_t seed,
                         uint64_t now_ms)
{
    assert(interval_ms >= PROBE_SCHEDULE_GAP_MS && deadline_ms > 0);
    *schedule = (struct probe_schedule){
        .interval_ms = interval_ms,
        .deadline_ms = deadline_ms,
        .refused_for_ms = refused_for_ms,
        .seed = seed,
    };
    schedule->due_ms = first_point_ms(schedule, now_ms);
}

uint64_t probe_schedule_due_ms(const struct probe_schedule *schedule)
{
    return schedule->running ? PROBE_SCHEDULE_NEVER : schedule->due_ms;
}

void probe_schedule_started(struct probe_schedule *schedule, uint64_t now_ms)
{
    assert(!schedule->running);
    schedule->running = true;
    schedule->news = false;
    schedule->after_stall = now_ms > schedule->due_ms + 2ull * schedule->interval_ms;
    schedule->started_ms = now_ms;
}

bool probe_schedule_ended(struct probe_schedule *schedule, bool failed, uint64_t now_ms)
{
    assert(schedule->running && now_ms >= schedule->started_ms);
    schedule->running = false;
    schedule->failed = failed;
    schedule->due_ms = later(next_due_ms(schedule), now_ms);
    schedule->news = false;
    uint64_t late_ms = schedule->started_ms + schedule->deadline_ms + 2ull * schedule->interval_ms;
    return schedule->after_stall || now_ms > late_ms;
}

void probe_schedule_news(struct probe_schedule *schedule, uint64_t now_ms)
{
    schedule->news = true;
    if (!schedule->running) {
        uint64_t earliest_ms =
            schedule->started_ms == 0 ? now_ms : schedule->started_ms + PROBE_SCHEDULE_GAP_MS;
        uint64_t due_ms = later(now_ms, earliest_ms);
        schedule->due_ms = due_ms < schedule->due_ms ? due_ms : schedule->due_ms;
    }
}

void probe_schedule_suspect(struct probe_schedule *schedule, bool suspect, uint64_t now_ms)
{
    bool begins = suspect && !schedule->suspect;
    schedule->suspect = suspect;
    if (begins && schedule->failed && !schedule->running) {
        uint64_t due_ms = later(next_due_ms(schedule), now_ms);
        schedule->due_ms = due_ms < schedule->due_ms ? due_ms : schedule->due_ms;
    }
}
