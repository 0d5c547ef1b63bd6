/*
 * guard_sync.h - sync entries in PostgreSQL's words, and what proves that one is enforced. Pure.
 *
 * PostgreSQL takes a new synchronous_standby_names up process by process. Three things follow, and
 * the drivers and the core rest on them:
 *
 *   1. Nobody to somebody. Backends begin to wait when the *checkpointer* has taken the setting up,
 *      however soon a new session shows it. A checkpoint that was asked for twice after the setting
 *      was shown is the barrier: the second one begins in a turn that began by reading it.
 *   2. Somebody to somebody. A commit is acknowledged by a walsender, by its own idea of k and the
 *      places that all walsenders have given themselves. While one goes by the old entry and others
 *      by the new one, it may count members of both together, and so acknowledge what satisfies
 *      neither: a copy on b alone, on the way from ANY 1 (a) to ANY 2 (a, b). Two entries of one
 *      copy each, or of the same members, do not mix. All others are changed by way of a name that
 *      nobody bears: every walsender gives up its place, that is seen, and then the new entry
 *      comes.
 *   3. A walsender reads its setting before it hears its standby. So one whose standby confirms WAL
 *      that was written after the reload has read it, as has one that shows a place that it could
 *      not have otherwise; and one without a place, or that does not stream, acknowledges nothing.
 *
 * The proof's other half is a commit begun after that, acknowledged, and held by k of the entry's
 * members: then they hold all that any entry before has acknowledged.
 */
#ifndef FAILOVER_GUARD_SYNC_H
#define FAILOVER_GUARD_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/cluster/records.h"

/* A name that no instance bears. It stands in the file of every standby whose permit has sync
 * entries: one that becomes a primary by another hand than its guard's acknowledges nothing. */
#define GUARD_SYNC_NOBODY       "failover_guard_nobody"
#define GUARD_SYNC_NOBODY_NAMES "FIRST 1 (\"" GUARD_SYNC_NOBODY "\")"

#define GUARD_SYNC_ROWS_MAX 32
#define GUARD_SYNC_WHY_SIZE 160
#define GUARD_SLOT_SIZE     64

struct guard_sync { /* of a permit; the last entry is the target */
    int64_t revision;
    struct sync_entry_record entries[SYNC_ENTRIES_MAX];
    int len;
};

struct guard_sync_row { /* of pg_stat_replication */
    char name[NAME_SIZE];
    bool releases; /* streaming, or stopping: others acknowledge nothing */
    int32_t place; /* sync_priority */
    uint64_t flush_lsn;
};

/* NULL: nothing is said. */
const struct sync_entry_record *guard_sync_target(const struct guard_sync *sync);
bool guard_sync_same_target(const struct guard_sync *a, const struct guard_sync *b);
/* Whether a change among these entries has to go by way of nobody. */
bool guard_sync_mixes(const struct guard_sync *sync);
/* The value of synchronous_standby_names; "" for an entry that waits for nobody. */
void guard_sync_names(const struct sync_entry_record *entry, char ret_names[SYNC_NAMES_SIZE]);
/* The sync_priority that a walsender gives itself under it; 0: none. */
int guard_sync_place(const struct sync_entry_record *entry, const char *name);

/* No walsender goes by an earlier entry any more, now that nobody is named. */
bool guard_sync_is_closed(const struct guard_sync_row *rows, int len,
                          char ret_why[GUARD_SYNC_WHY_SIZE]);
/* Every walsender goes by the target, and k of its members hold lsn. */
bool guard_sync_is_proven(const struct guard_sync *sync, const struct guard_sync_row *rows, int len,
                          uint64_t lsn, char ret_why[GUARD_SYNC_WHY_SIZE]);

/* The physical slot of the standby with that application_name: different for different names. */
void guard_slot_name(const char *name, char ret_slot[GUARD_SLOT_SIZE]);
#define GUARD_SLOT_PREFIX "failover_"

#endif
