/*
 * schedule.h - when to probe a target next. Pure.
 *
 * The caller keeps one schedule per target, sleeps until probe_schedule_due_ms(), and tells of
 * every start, end and piece of news. Between the starts of two probes lies the interval, spread by
 * ±10 % so that two controllers do not march in step. The schedules of one controller do: they
 * share their points in time (by `seed`), and a round of probes wakes the process once, not once
 * for each target. One that left the step (news, a slow answer) is back in it within an interval
 * and a half. A target that is suspect and failed again is asked sooner, so that "refused for that
 * long" is seen by several probes. News makes a probe due at once. Probes of one target never
 * overlap, and their starts are never closer than PROBE_SCHEDULE_GAP_MS, whatever comes.
 *
 * Time: milliseconds of one monotonic clock, supplied by the caller. Memory: in place, no
 * references.
 */
#ifndef FAILOVER_PROBES_SCHEDULE_H
#define FAILOVER_PROBES_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define PROBE_SCHEDULE_GAP_MS 50
#define PROBE_SCHEDULE_NEVER  UINT64_MAX

struct probe_schedule {
    uint32_t interval_ms;
    uint32_t deadline_ms;
    uint32_t refused_for_ms;
    uint64_t seed;
    uint64_t started_ms; /* the latest start; 0 before the first */
    uint64_t due_ms;
    bool running;
    bool suspect;
    bool failed;      /* the latest probe did */
    bool news;        /* came while a probe ran: due again at its end */
    bool after_stall; /* of the running probe */
};

/*
 * The first probe is due within 1.1 intervals of now. Schedules with the same seed and interval are
 * due together. refused_for_ms: of the profile; 0 where it has no meaning (services).
 */
void probe_schedule_init(struct probe_schedule *schedule, uint32_t interval_ms,
                         uint32_t deadline_ms, uint32_t refused_for_ms, uint64_t seed,
                         uint64_t now_ms);

/* When to start the next probe; PROBE_SCHEDULE_NEVER while one runs. */
uint64_t probe_schedule_due_ms(const struct probe_schedule *schedule);

/* A probe starts now. */
void probe_schedule_started(struct probe_schedule *schedule, uint64_t now_ms);

/*
 * The probe ended. Returns true when the sample is "after a stall": we woke more than two intervals
 * late for its start, or heard of its end more than two intervals after its deadline. Such a sample
 * tells about us, not about the target: after a stall one observes before one acts (design §5).
 */
bool probe_schedule_ended(struct probe_schedule *schedule, bool failed, uint64_t now_ms);

/* Something happened at the target (its held connection ended): probe it now. */
void probe_schedule_news(struct probe_schedule *schedule, uint64_t now_ms);

/* The core suspects the target: after a failed probe ask again at min(interval, refused_for / 4, or
 * interval / 2). */
void probe_schedule_suspect(struct probe_schedule *schedule, bool suspect, uint64_t now_ms);

#endif
