/*
 * postgres_words.h - PostgreSQL's side of a probe: what is asked, and what the answers mean.
 *
 * Internal to probes/ (and its tests). No state and no I/O: statements are texts, answers are
 * facts.
 */
#ifndef FAILOVER_PROBES_POSTGRES_WORDS_H
#define FAILOVER_PROBES_POSTGRES_WORDS_H

#include <stdbool.h>

#include "controller/base/pg.h"
#include "controller/cluster/facts.h"

#define POSTGRES_PAD      2048 /* bytes, each way: more than one packet (failures.md C12) */
#define POSTGRES_LOOK_MAX 128
#define POSTGRES_WAIT_MAX 128

/* When this server process began, in microseconds: what was asked of an earlier life is void. */
#define POSTGRES_LIFE "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"

/*
 * An expression: the timeline that a standby follows. The control file's is that of the last
 * restart point and may be old; a running receiver knows better; without one, the greatest number
 * among the files of pg_wal stands in for it. All of them together can only be too high, which
 * keeps a standby from being promoted, never too low, which could let one be promoted from a fork.
 */
#define POSTGRES_STANDBY_TIMELINE                                                                  \
    "greatest((SELECT timeline_id FROM pg_control_checkpoint()),"                                  \
    " (SELECT min_recovery_end_timeline FROM pg_control_recovery()),"                              \
    " coalesce((SELECT received_tli FROM pg_stat_wal_receiver),"                                   \
    "  (SELECT max(('x' || substr(name, 1, 8))::bit(32)::bigint) FROM pg_ls_waldir()"              \
    "   WHERE name ~ '^[0-9A-F]{8}')))"

/* An expression: the timeline that a primary writes. */
#define POSTGRES_PRIMARY_TIMELINE                                                                  \
    "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"

/*
 * Session settings for libpq's "options", to be freed: what a role or a database may have set must
 * not end our own statements. `more` is appended; NULL for none.
 */
char *postgres_options(uint32_t lock_timeout_ms, const char *more);

/* The read part of a probe: two calls, one round trip. Lives until they are sent. */
struct postgres_question {
    struct pg_call calls[2];
    const char *params[3];
    char pid[16], most[16];
    char pad[POSTGRES_PAD + 1];
};
/* stuck_pid: a backend of ours to look at, or 0. */
void postgres_ask(struct postgres_question *ret_question, int stuck_pid);

/*
 * Fills role, ids, LSNs and replication state; `ret_wait` tells what the stuck backend waits for
 * ("" if it does not, or does not exist). false: the answer does not have the form that was asked
 * for.
 */
bool postgres_read(const struct pg_reply *reply, struct instance_fact *fact,
                   char ret_wait[POSTGRES_WAIT_MAX]);

/* The heartbeat write; its one parameter is the controller's id. */
extern const struct pg_statement postgres_write;

/* What one of our backends waits for, alone. */
void postgres_look_sql(char ret_sql[POSTGRES_LOOK_MAX], int stuck_pid);
bool postgres_look(const struct pg_reply *reply, char ret_wait[POSTGRES_WAIT_MAX]);

/* The cause behind a heartbeat write that does not end: "IPC SyncRep", "Lock relation", "IO
 * WALSync" … */
enum cause postgres_wait_cause(const char *wait);

/* The cause behind an attempt to open that ended with anything but PG_DONE. */
enum cause postgres_open_cause(const struct pg_reply *reply);

/* The cause behind a statement that ended with anything but PG_DONE. */
enum cause postgres_statement_cause(const struct pg_reply *reply);

#endif
