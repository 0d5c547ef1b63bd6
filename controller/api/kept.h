/*
 * kept.h - what the API keeps to answer from: requests, incidents and writes, each within a bound.
 *
 * Each list drops its oldest ended entry for a new one. A write that has not ended is never dropped
 * (somebody will ask for it), so there may be no room: the caller refuses the new one.
 */
#ifndef FAILOVER_API_KEPT_H
#define FAILOVER_API_KEPT_H

#include "controller/api/api.h"

struct kept_write {
    char id[ID_SIZE]; /* "": free */
    enum api_write_state state;
    int64_t revision;
    char text[REASON_SIZE];
    uint64_t print; /* of what is written, to tell a repetition from another thing */
    bool config;    /* else of a request */
    uint64_t order; /* of its start */
};

struct kept {
    struct kept_write writes[API_WRITES_MAX];
    struct request_record *requests[API_REQUESTS_MAX]; /* oldest first */
    int requests_len;
    struct incident_record *incidents[API_INCIDENTS_MAX]; /* newest first, by their opening */
    int incidents_len;
    uint64_t order;
};

void kept_done(struct kept *kept); /* frees what the lists hold */
struct kept_write *kept_write(struct kept *kept, const char *id);
/* NULL: all that are kept are still running. */
struct kept_write *kept_write_new(struct kept *kept, const char *id);
void kept_take_request(struct kept *kept, const struct request_record *request);
const struct request_record *kept_request(const struct kept *kept, const char *id);
void kept_take_incident(struct kept *kept, const struct incident_record *incident);
/* "latest" is the newest. */
const struct incident_record *kept_incident(const struct kept *kept, const char *id);

#endif
