/*
 * retention.h - which requests and incidents are kept in etcd, and which may go (S15).
 *
 * What is open always stays. Of what has ended the newest `least` stay however old they are, since
 * somebody may still want to read them; older ones stay for `age_ms`; and however young, no more
 * than `most` of them, so that a script that asks in a loop cannot fill the store.
 *
 * "Newest" is by etcd's own order. Only the age is by wall clocks, of the controller that wrote the
 * record and of the one that leads now: a wrong one makes records go early or late, and never
 * touches the `least` newest. Nothing is decided by what goes: every record that a decision needs
 * is open (design §5).
 *
 * Pure.
 */
#ifndef FAILOVER_CORE_RETENTION_H
#define FAILOVER_CORE_RETENTION_H

#include "controller/core/core.h"

struct retention {
    int least, most;
    int64_t age_ms;
};

/*
 * Requests: the API holds 256 to answer from; a day is longer than anybody asks again for an id.
 * Incidents: the API shows 128; the statistics of a year are read from them, and a cluster that
 * fails over more than a thousand times in it has other worries. Each is about a kilobyte.
 */
#define RETENTION_DAY_MS INT64_C(86400000)
#define RETENTION_REQUESTS                                                                         \
    ((struct retention){.least = 256, .most = 2048, .age_ms = RETENTION_DAY_MS})
#define RETENTION_INCIDENTS                                                                        \
    ((struct retention){.least = 128, .most = 1024, .age_ms = 400 * RETENTION_DAY_MS})

struct retained {
    int64_t revision; /* etcd's, of its last change */
    int64_t wall_ms;  /* when it was asked, or opened */
    bool open;
};

bool retention_request_is_open(const struct request_record *request);
/* Also when it has ended, but the core still shows it or keeps its clocks. */
bool retention_incident_is_open(const struct core *core, const struct incident_record *incident);

/* Items newest first. The indexes of those that may go, oldest first, at most goes_max; how many
 * there are. */
int retention_choose(const struct retention *limits, const struct retained *items, int len,
                     int64_t now_wall_ms, int *ret_goes, int goes_max);

#endif
