/*
 * fail_point.h - where a test may kill this process: around every record and every effect.
 *
 * In the programs that are shipped nothing of this exists: the macros below are empty. The tests
 * build failoverd once more with FAILOVER_FAIL_POINTS, and tests/system/fail_point.c; see there for
 * how a point is armed. Its points:
 *
 *     save.before     right before the transaction that records something is sent
 *     save.after      etcd has answered, the core has not heard it
 *     effect.before   right before a fence, a promotion or a change of routes is begun
 *     effect.begun    it has been begun
 *     effect.after    its outcome is known, the core has not heard it
 */
#ifndef FAILOVER_DAEMON_FAIL_POINT_H
#define FAILOVER_DAEMON_FAIL_POINT_H

#ifdef FAILOVER_FAIL_POINTS

#include <stdint.h>

struct daemon;
struct effect;

/* `when`: "before" or "after". */
void fail_point_save(const struct daemon *d, const char *when, uint32_t ticket);
/* `when`: "before" or "begun". FENCE, PROMOTE or ROUTES. */
void fail_point_effect(const struct daemon *d, const char *when, const struct effect *effect);
/* effect.after, of the effect with that step. */
void fail_point_outcome(const struct daemon *d, uint32_t step);

#define FAIL_POINT_SAVE(d, when, ticket)   fail_point_save(d, when, ticket)
#define FAIL_POINT_EFFECT(d, when, effect) fail_point_effect(d, when, effect)
#define FAIL_POINT_OUTCOME(d, step)        fail_point_outcome(d, step)

#else

#define FAIL_POINT_SAVE(d, when, ticket)   ((void)0)
#define FAIL_POINT_EFFECT(d, when, effect) ((void)0)
#define FAIL_POINT_OUTCOME(d, step)        ((void)0)

#endif

#endif
