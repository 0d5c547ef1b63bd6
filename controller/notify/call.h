/*
 * call.h - "a person is called": run the one configured command for an alarm.
 *
 * The command gets the alarm as a JSON document (`schema` 1) on its standard input, has 30 s, and
 * is run once: whether it worked is reported, never retried, since the alarm also stands in
 * `status` and in the log. A hanging or missing command delays nothing: at most CALLS_RUNNING_MAX
 * run side by side, CALLS_WAITING_MAX wait, and what comes on top is dropped and counted
 * (failures.md H10, J11).
 *
 * Memory: everything is copied. call_free() kills what runs.
 * Loop:   `done` runs from the loop, never from inside call_alarm(), except that it is not called
 * for a dropped alarm.
 */
#ifndef FAILOVER_NOTIFY_CALL_H
#define FAILOVER_NOTIFY_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

#define CALL_DEADLINE_MS  30000
#define CALL_ARGS_MAX     16
#define CALLS_RUNNING_MAX 4
#define CALLS_WAITING_MAX 32
#define CALL_ID_SIZE      128

struct call_alarm { /* NULL texts are left out of the document */
    const char *id; /* which alarm; comes back in call_result */
    const char *cluster;
    const char *controller;
    const char *subject; /* the database, node, proxy... it is about */
    const char *text;    /* one sentence */
    const char *hint;    /* the next command for a person */
    const char *incident;
    int64_t since_wall_ms; /* since when it lasts */
};

struct call_result {
    const char *id;
    struct err
        err; /* ERR_NONE: exit status 0; ERR_REFUSED: another one, with its first line of output */
    uint64_t took_ms;
};

typedef void (*call_done_fn)(void *arg, const struct call_result *result);

struct call;

/* args: the command from local.yaml, NULL-terminated; done may be NULL. */
struct call *call_new(struct loop *loop, const char *const args[], call_done_fn done, void *arg);
void call_free(struct call *call); /* NULL is allowed */
/* False: dropped, too many are waiting. */
bool call_alarm(struct call *call, const struct call_alarm *alarm);
uint64_t call_dropped(const struct call *call);

#endif
