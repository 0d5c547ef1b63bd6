/*
 * sync.h - make a running PostgreSQL go by another synchronous_standby_names, and prove that it
 * does.
 *
 * One order at a time, in the steps of guard_sync.h: if need be the name that nobody bears first,
 * until no walsender has a place; the target; a *new* session that shows it; the barrier, if
 * backends may not have waited for anybody before; a commit of the guard's own, acknowledged; and
 * every walsender known to go by the target, with enough members that hold that commit. A commit
 * that is not acknowledged by its deadline is unknown: it is cancelled with the next look, and
 * nothing follows from it.
 *
 * An order without `proof` ends before the commit: what a standby needs before it is promoted.
 *
 * A setting that stands in another place and overrides ours is not fought with: that is the order's
 * end, with a complaint for a person.
 *
 * Loop:   `write` and `done` may be called from inside sync_begin(); else from the loop. After
 * sync_cancel() none arrives.
 * Memory: the parameters must outlive it; an order is copied.
 */
#ifndef FAILOVER_GUARD_SYNC_DRIVER_H
#define FAILOVER_GUARD_SYNC_DRIVER_H

#include "controller/base/loop.h"
#include "controller/base/pg.h"
#include "fence/guard/guard_core.h"

enum sync_outcome {
    SYNC_DONE,
    SYNC_UNKNOWN,    /* not known to be enforced: text says why */
    SYNC_OVERRIDDEN, /* another place than ours says what commits wait for */
};

enum sync_file { /* what the included file shall hold */
                 SYNC_FILE_TARGET,
                 SYNC_FILE_NOBODY, /* the name that nobody bears */
                 SYNC_FILE_BEFORE, /* what it held when the order began */
};

struct sync_params {
    struct pg_target target;
    const char *include_file;
    /* Answered by sync_written(), once PostgreSQL was told to read it. */
    void (*write)(void *arg, enum sync_file file);
    void (*done)(void *arg, enum sync_outcome outcome, const char *text);
    void (*complain)(void *arg, const char *text); /* "": nothing is to be mended */
    void *arg;
};

struct sync_order {
    struct guard_sync sync; /* without a target: the names are no more ours */
    bool by_nobody;         /* by way of the name that nobody bears */
    bool barrier;           /* backends are not known to wait for anybody */
    bool closed;            /* the names are the ones that nobody bears, whatever the target */
    bool proof;
};

struct sync;

struct sync *sync_new(struct loop *loop, const struct sync_params *params);
void sync_begin(struct sync *sync, const struct sync_order *order);
bool sync_is_running(const struct sync *sync);
void sync_written(struct sync *sync, bool written, const char *text);
void sync_cancel(struct sync *sync);
void sync_free(struct sync *sync);

#endif
