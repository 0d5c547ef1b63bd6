/*
 * facts.h - what a probe can find, in the field's words. Pure.
 *
 * A fact is one probe's finding, not an opinion: opinions (up, down) are the core's
 * (core/health.c).
 */
#ifndef FAILOVER_CLUSTER_FACTS_H
#define FAILOVER_CLUSTER_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/cluster/definition.h"

/* design §6: told apart, since only some of them are a failure of the target. */
#define CAUSE_LIST(X)                                                                              \
    X(CAUSE_OK, "ok")                                                                              \
    X(CAUSE_NEVER_PROBED, "never probed")                                                          \
    X(CAUSE_REFUSED, "refused")                                                                    \
    X(CAUSE_TIMED_OUT, "timed out")  /* no answer to a connection attempt */                       \
    X(CAUSE_CUT, "connection cut")   /* reset or closed in the middle */                           \
    X(CAUSE_HUNG, "hung")            /* accepts, or answers reads, but does not finish */          \
    X(CAUSE_STARTING, "starting up") /* with progress */                                           \
    X(CAUSE_STOPPING, "shutting down")                                                             \
    X(CAUSE_READ_ONLY, "read-only")     /* 25006 without recovery */                               \
    X(CAUSE_IN_RECOVERY, "in recovery") /* a primary was expected, a standby answers */            \
    X(CAUSE_TOO_MANY, "too many connections")                                                      \
    X(CAUSE_NO_SPACE, "out of space")                                                              \
    X(CAUSE_WRONG_SYSTEM, "wrong system id")                                                       \
    X(CAUSE_CREDENTIALS, "credentials")                                                            \
    X(CAUSE_CERTIFICATE, "certificate")                                                            \
    X(CAUSE_SYNC_STALL, "sync stall") /* the commit waits for a synchronous standby */             \
    X(CAUSE_LOCKED, "locked")         /* the heartbeat row or table is locked by others */         \
    X(CAUSE_SETUP, "setup missing")   /* role, schema or grants are not as setup-sql makes */      \
    X(CAUSE_BAD_ANSWER, "bad answer") /* HTTP status or body, or a form we do not know */          \
    X(CAUSE_PROBER, "prober")         /* our own failure: no descriptors, no memory */

enum cause {
#define X(id, text) id,
    CAUSE_LIST(X)
#undef X
        CAUSES
};
extern const char *const cause_names[];

/* Classes of design §6; every cause has one. */
enum fault_class {
    FAULT_NONE,
    FAULT_HARDWARE,
    FAULT_SOFTWARE,
    FAULT_NETWORK,
    FAULT_DATA,
    FAULT_BUSINESS,
    FAULT_SECURITY
};
extern const char *const fault_class_names[];
enum fault_class cause_class(enum cause cause);
/*
 * True for the causes that can mean that a primary no longer serves: refused, timed out, cut, hung,
 * stopping, starting. How long each must last is the core's (core/health.c). In recovery and out of
 * space are alarms that freeze (a person decides, failures.md E5, E13); overload, credentials,
 * locks, sync stall, read-only by configuration, setup and a broken prober are alarms, never
 * failovers (design §6, failures.md E7-E12).
 */
bool cause_is_failure(enum cause cause);

enum role { ROLE_UNKNOWN, ROLE_PRIMARY, ROLE_STANDBY };
extern const char *const role_names[];

#define FACT_STANDBYS_MAX                                                                          \
    16 /* others than ours may receive too: none of ours must be left out for one */

struct standby_fact { /* a row of the primary's pg_stat_replication */
    char name[NAME_SIZE];
    bool streaming;
    bool sync; /* sync_state is sync or quorum */
    int32_t sync_priority;
    uint64_t flush_lsn;
    uint64_t replay_lsn;
};

/* One finding about one PostgreSQL instance. LSNs are byte positions; 0 is unknown. */
struct instance_fact {
    uint64_t asked_ms;    /* CLOCK_BOOTTIME of this controller, when the probe was sent */
    uint64_t answered_ms; /* when its end was known */
    enum cause cause;     /* CAUSE_OK: a primary took the heartbeat write, or a standby answered */
    char detail[TEXT_SIZE]; /* the server's or system's own words, one line */
    bool answered;          /* the role, ids and LSNs below are from this probe */
    enum role role;
    bool wrote;         /* the heartbeat write was acknowledged */
    uint32_t write_ms;  /* how long it took */
    uint64_t system_id; /* 0: unknown */
    uint32_t timeline;
    int64_t life; /* pg_postmaster_start_time() in microseconds: another one is another life; 0:
                     unknown */
    uint64_t write_lsn;   /* primary: pg_current_wal_lsn (written, not only inserted) */
    uint64_t receive_lsn; /* standby: the greater of received and replayed */
    uint64_t replay_lsn;  /* standby */
    bool receiving;       /* standby: a WAL receiver is streaming */
    bool replay_paused;
    bool replay_idle; /* standby: replay has reached the end of what was received */
    /* The primary's own words on durability. */
    char sync_names[SYNC_NAMES_SIZE]; /* synchronous_standby_names */
    bool sync_commit_on; /* synchronous_commit is on, remote_apply (or remote_write: no) */
    struct standby_fact standbys[FACT_STANDBYS_MAX];
    int standbys_len;
};

/*
 * Living evidence against a fence (design §7): a PostgreSQL that runs there, and is not a standby,
 * took the write or gave an answer that only a running one gives, however unwell ("too many
 * connections", a sync stall, "shutting down"). A port that refuses or accepts and says nothing
 * shows a machine at most; another cluster's answer shows nothing.
 */
bool fact_shows_life(const struct instance_fact *fact);

/* One finding about one instance of a service (HTTP), or about a TCP port. */
struct service_fact {
    uint64_t asked_ms;
    uint64_t answered_ms;
    enum cause cause;
    char detail[TEXT_SIZE];
    int status;
    uint32_t latency_ms;
};

#endif
