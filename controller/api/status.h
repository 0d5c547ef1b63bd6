/*
 * status.h - what this controller knows, as the JSON that failoverctl and scripts read.
 *
 * A rendering of the core's state and of a few facts that only the program has; it decides nothing
 * and waits for nothing. Every observation stands with its age, and what is not known is null or
 * "unknown", never a guess (design S13).
 *
 * Times: *_ms members are durations in milliseconds (`age_ms` since the observation, `since_ms` how
 * long a state has lasted); `at`, `since` and `started` are texts in UTC for people. The shape,
 * `schema` 1, only ever grows:
 *
 *   controller {id, version, leading, started, warnings [text]}   leader {id|null, term}
 *   etcd {reachable, age_ms|null, bytes|null, quota_bytes, problem|null}   config {revision}
 *   controllers [{id, present, age_ms, version, config_revision, leading, blind}]
 *   groups [{name, home, active, automatic, paused {by, reason, since}|null, databases [...],
 *            services [...], routes [...], incident|null, alarms [...]}]
 *   events [...] the latest few
 *
 * Primary, site, active, epoch and permit are as they are recorded, not as a save that is on its
 * way has them. A group's `active` is the site of all its primaries, "mixed", or null while none is
 * recorded.
 *
 * A database: name, state, state_help, since_ms, primary (node)|null, site|null, writable (the
 * recorded primary took a write within the probes' freshness), timeline, epoch ("1.7": the store's
 * incarnation, the counter), permit (granted, revoked, none), tier, renewed_age_ms|null (since this
 * controller heard of a renewal under that epoch) and watchdog_armed (as it said), durability
 * (sync, strict, async; "sync declared, not enforced"; of a guarded primary that waits for fewer:
 * "sync, degraded", "strict, degraded", "degraded to asynchronous"), sync {declared, target (as
 * synchronous_standby_names says it, or "nobody"), in_force_at_most (entries; more than one while a
 * change is not proven), enforced}, redundancy (standbys that stream now)|null, words ("no
 * redundancy", "redundancy unknown" or ""), loss_now_bytes|null and loss_now (proven, estimated,
 * unknown): what a failover now would lose, held (why nothing is done, or ""), instances [{node,
 * site, role, last_role, opinion, cause, age_ms|null, since_ms|null, lsn|null, lag_bytes|null,
 * detail}], candidate {node|null, reason, verdicts [{node, passes, reason}]}, move|null {phase,
 * from, fence_node, planned, candidate, forced, parked, estimated_loss_bytes, started, evidence
 * [{kind, node, level, detail, at, after_ms, revocation_revision}]}.
 */
#ifndef FAILOVER_API_STATUS_H
#define FAILOVER_API_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/api/events.h"
#include "controller/core/core.h"

#define STATUS_WARNINGS_MAX 8

struct status_extra {
    uint64_t now_ms; /* CLOCK_BOOTTIME */
    int64_t wall_ms;
    const char *id; /* this controller */
    const char *version;
    int64_t started_wall_ms;
    const char *leader; /* known from the store; NULL: none, or not known */
    int64_t leader_term;
    bool deposed;          /* the lease that its core still leads on may be over: it may not act */
    bool etcd_reachable;   /* the latest operation was answered */
    uint64_t etcd_seen_ms; /* when it last answered (boot time); 0: never */
    int64_t etcd_bytes;    /* of its database; -1: not known */
    uint64_t etcd_quota_bytes;                 /* beyond it etcd takes no writes */
    const char *etcd_problem;                  /* why nothing can be recorded there; NULL: it can */
    int64_t config_revision;                   /* of the definition in the store; 0: none */
    const struct events *events;               /* or NULL */
    const char *warnings[STATUS_WARNINGS_MAX]; /* about this controller; NULL ends */
};

/* The caller owns the result. */
json_t *status_json(const struct core *core, const struct status_extra *extra);

/*
 * One incident. age_ms: how old it is now (the leader's clock, or status_incident_age).
 *
 *   id, group, state, fault_class, reason, opened_by, opened, age_ms, laps_ms {detect, confirm,
 *   fence, promote, redirect, verify} (each the difference of two consecutive ends; null while it
 *   has not ended), total_ms (to the last lap's end, or so far), machine_ms, people_ms,
 *   objectives [{name, limit_s, actual_s|null, state: met, missed or open}],
 *   databases [{name, from, to, evidence, estimated_loss_bytes}], notes [{at_ms, rule, text}],
 *   notes_dropped
 *
 * An objective whose clock still runs past its limit is "missed" already.
 */
json_t *incident_json(const struct incident_record *incident, uint64_t age_ms);
/* The age by the record's anchor, for an incident that the core does not hold. Never negative. */
uint64_t incident_age_ms(const struct incident_record *incident, int64_t wall_ms);

#endif
