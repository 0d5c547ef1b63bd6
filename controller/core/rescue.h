/*
 * rescue.h - what `failoverctl store rescue` would write, and every reason why not (design §4).
 * Pure.
 *
 * etcd was restored from a backup, or lost for good and begun anew. What it holds now, and what a
 * controller's copy of it holds (store_copy.h), may both be older than what has happened; what runs
 * is not. So the world decides who holds the permit, and the records only what the world cannot
 * say:
 *
 *   one primary runs                it holds the permit, and goes on without a restart
 *   none runs                       the recorded primary, if no permit was granted after the record
 *                                   that names it; else the one that a person names
 *   two run                         refused: one must be stopped first
 *
 * Every guard must have answered after the question, since a primary may run by promise where
 * nobody reaches it; a person may name the nodes that are known to be off. A permit is granted
 * under an epoch above every one that anybody reports, in a new incarnation of the store, so that
 * whoever still has an older one does not obey it.
 *
 * A workflow that the records have begun is dropped: its evidence names revisions of another store.
 * Its candidate, unless it is the primary that runs, may bear a history that did not complete, and
 * is burnt (design §8). The leader goes on from there, by its ordinary rules.
 */
#ifndef FAILOVER_CORE_RESCUE_H
#define FAILOVER_CORE_RESCUE_H

#include "controller/cluster/records.h"

#define RESCUE_REASONS_MAX 24

struct rescue_instance {
    bool reported; /* its guard did, after the question */
    struct guard_record said;
    bool asked; /* PostgreSQL was, and `fact` is what came */
    struct instance_fact fact;
    bool is_off; /* a person says that nothing runs there, or that its guard is not to be waited for
                  */
};

struct rescue_records { /* one source: etcd as it is, or the copy */
    bool has_permit, has_record;
    struct permit_record permit;
    struct database_record record;
    bool moving; /* the record's group moves this database */
    struct move_record move;
};

struct rescue_database {
    struct rescue_records store, copy;
    struct rescue_instance instances[INSTANCES_MAX]; /* as in the definition */
    int named; /* the instance that a person says is the primary; -1: none */
};

enum rescue_source { RESCUE_STORE, RESCUE_COPY };

struct rescue_choice {         /* of one database */
    bool adopted;              /* false: no record has it, so there is nothing to write */
    enum rescue_source source; /* whose record and sync entries are taken */
    struct epoch highest;      /* that anybody reports */
    int holder;                /* instance; -1: refused */
    bool running;
    struct permit_record permit;   /* to be written */
    struct database_record record; /* to be written */
    char text[TEXT_SIZE];          /* why this one */
};

struct rescue_plan {
    uint64_t incarnation; /* the new one */
    struct rescue_choice choices[DATABASES_MAX];
    char reasons[RESCUE_REASONS_MAX][REASON_SIZE]; /* why it is refused */
    int reasons_len;
    int reasons_more; /* that found no room */
};

/* known: the highest incarnation that etcd or the copy names. */
void rescue_make(const struct definition *def, const struct rescue_database databases[],
                 uint64_t known, struct rescue_plan *ret_plan);
/* The group's record with its databases as the plan has them, no workflow, and the rest as it was.
 */
void rescue_group(const struct definition *def, int group, const struct rescue_plan *plan,
                  struct group_record *record);
/* Of what would be done. */
void rescue_hash(const struct definition *def, const struct rescue_plan *plan,
                 char ret_hash[PLAN_HASH_SIZE]);

#endif
