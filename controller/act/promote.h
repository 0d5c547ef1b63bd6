/*
 * promote.h - make a standby the primary without a guard's help: one conditional statement over
 * libpq (design §8).
 *
 * The session is opened beforehand (promote_new(), while the fence is still running) and held, so
 * that the order itself costs one round trip for that server's clock and one for the statement. The
 * statement promotes only if, at the moment of its execution, the server is in recovery, its system
 * id, timeline and start time are the recorded ones, and its own clock is before a deadline
 * computed from the clock read just before in the same session; so an order that lies in a queue or
 * in a stopped process is void when it arrives late. Right before it is sent the caller is asked
 * once more whether it may act.
 *
 * Then a heartbeat row is written every few milliseconds in the same session until the write is
 * accepted: only that is "promoted". The new timeline, system id and LSN are read back after it.
 *
 * Time:   CLOCK_BOOTTIME milliseconds for ours; the server's clock is compared with itself only.
 * Memory: the target's strings are copied; the order too. The result lives during `done` only.
 * Loop:   `done` runs once for each promote_go(), from the loop, never from inside promote_go();
 * after promote_free() none arrives. An order that was sent and then freed is of unknown outcome.
 */
#ifndef FAILOVER_ACT_PROMOTE_H
#define FAILOVER_ACT_PROMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"
#include "controller/base/pg.h"

#define PROMOTE_POLL_MS      10
#define PROMOTE_VALID_MAX_MS 2000 /* how long a sent order may stay valid at most */

enum promote_outcome {
    PROMOTE_DONE, /* we asked, and a write was accepted afterwards; timeline and lsn are read back
                   */
    PROMOTE_ALREADY, /* it was a primary before we asked, and took a write; the caller compares
                        timeline and system id */
    PROMOTE_REFUSED, /* nothing was asked for, and nothing of this order will happen later: text
                        says which condition failed */
    PROMOTE_UNKNOWN, /* the statement may have run: connection lost, or no accepted write by the
                        deadline */
    PROMOTE_OUTCOMES
};
extern const char *const promote_outcome_names[];

struct promote_result {
    enum promote_outcome outcome;
    char text[ERR_TEXT_MAX];
    uint32_t timeline;  /* DONE, ALREADY; 0 otherwise */
    uint64_t system_id; /* DONE, ALREADY; 0 otherwise */
    uint64_t lsn;       /* pg_current_wal_lsn() after the accepted write */
    uint64_t took_ms;   /* since promote_go() */
};

struct promote_order {
    uint64_t system_id; /* as recorded; never 0 (asserted) */
    uint32_t timeline;  /* as recorded: the one that the standby follows now; never 0 (asserted) */
    int64_t
        life; /* as the grant names it (instance_fact.life): a server that has restarted since is
               * another one, which may have been fenced in between; 0: not known, not compared */
    uint64_t act_by_ms;   /* the statement must not run after this (the leadership's deadline) */
    uint64_t deadline_ms; /* of the whole order, until the accepted write */
    bool (*may_act)(
        void *arg); /* asked once, right before sending; false: REFUSED "no longer leader" */
    void (*done)(void *arg, const struct promote_result *result);
    void *arg;
};

struct promote;

/* `controller` names the heartbeat row. Opens the session at once and, should it be lost, again,
 * until freed. */
struct promote *promote_new(struct loop *loop, const struct pg_target *target,
                            const char *controller);
bool promote_ready(const struct promote *promote); /* the session is open */
/* Waits for the session if need be, within the order's deadlines. One at a time: asserted. */
void promote_go(struct promote *promote, const struct promote_order *order);
void promote_free(struct promote *promote);

#endif
