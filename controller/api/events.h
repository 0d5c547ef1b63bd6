/*
 * events.h - the latest notes of this controller, in a ring in memory: what `failoverctl events`
 * and the end of `failoverctl status` show.
 *
 * The program feeds it with every EFFECT_NOTE and with its own changes of state. The ring holds the
 * latest EVENTS_MAX; older ones are in the journal. Sequence numbers begin at 1 and never repeat in
 * one life of the process; a reader who asks for more than what is kept is told from which number
 * on the answer is complete.
 *
 * Memory: events_new/events_free; everything is copied in.
 */
#ifndef FAILOVER_API_EVENTS_H
#define FAILOVER_API_EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include "controller/cluster/records.h"

#define EVENTS_MAX 2048

struct events;

struct event_note {
    uint64_t seq;    /* given by events_add */
    int64_t wall_ms; /* when, for people */
    int level;       /* 0 error, 1 warn, 2 info, 3 debug: enum log_level's order */
    char rule[16];   /* "R-F1", or "" */
    char group[NAME_SIZE];
    char database[NAME_SIZE];
    char from[24], to[24]; /* names of states, or "" */
    char text[REASON_SIZE];
};

struct events *events_new(void);
void events_free(struct events *events);
/* Stores a copy under the next number, which is returned. */
uint64_t events_add(struct events *events, const struct event_note *note);
/* The number of the latest note; 0: none yet. */
uint64_t events_last(const struct events *events);
/*
 * {"schema":1,"first":N,"last":N,"missed":N,"events":[{seq,at,level,rule,group,database,from,to,
 * text}]}: the notes after `since`, oldest first, at most `limit` (the oldest of them; ask again
 * from the last one's number). `first` is the oldest kept; `missed` counts the notes after `since`
 * that the ring has already dropped. The caller owns the result.
 */
json_t *events_json(const struct events *events, uint64_t since, int limit);

#endif
