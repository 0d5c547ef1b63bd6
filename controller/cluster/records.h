/*
 * records.h - what is written down about a cluster in etcd (design §4), as values. Pure.
 *
 * Names stand by value, so that a record is still readable when the definition has changed. Times
 * named wall_ms are for people (and to re-anchor a clock at a takeover), never compared between
 * machines for a decision. The JSON forms are records_json.h's; every one carries `schema`
 * RECORD_SCHEMA.
 */
#ifndef FAILOVER_CLUSTER_RECORDS_H
#define FAILOVER_CLUSTER_RECORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/cluster/definition.h"
#include "controller/cluster/facts.h"

#define RECORD_SCHEMA      1
#define BOOT_ID_SIZE       40 /* /proc/sys/kernel/random/boot_id */
#define PROMISERS_MAX      (ECHOES_MAX + 1)
#define ID_SIZE            48  /* of requests, incidents, workflows: [a-z0-9-]+ */
#define REASON_SIZE        256 /* free text from a person, or built for one */
#define EVIDENCE_MAX       6
#define ALARMS_MAX         16 /* of a group */
#define BUDGET_MAX         8
#define INCIDENT_NOTES_MAX 48
#define PLAN_HASH_SIZE     17
#define ECHOES_MAX         4 /* other controllers: a pair and its spares */
#define PEER_TARGETS_MAX   (DATABASES_MAX * INSTANCES_MAX)

/* permits/<database>: who may be the primary. Only the leader writes it, by compared writes. */
enum permit_state { PERMIT_GRANTED, PERMIT_REVOKED };
extern const char *const permit_state_names[];

struct epoch {            /* only grows; a revoked one is never granted again (design §7) */
    uint64_t incarnation; /* of the store: 1, one more after each restore from a backup */
    uint64_t counter;
};
/* <0, 0, >0 */
int epoch_compare(struct epoch a, struct epoch b);

/*
 * One (k, members) that PostgreSQL may be enforcing, members by application_name. k = 0 with no
 * members: it waits for nobody, and the database counts as asynchronous.
 */
struct sync_entry_record {
    int k;
    bool first; /* written as FIRST k, else as ANY k; both count alike (design §8) */
    char members[INSTANCES_MAX][NAME_SIZE];
    int members_len;
};

struct permit_record {
    char database[NAME_SIZE];
    enum permit_state state;
    struct epoch epoch;
    char node[NAME_SIZE];
    uint64_t system_id;
    uint32_t timeline; /* the history that the holder continues: recorded, not the highest seen */
    char boot[BOOT_ID_SIZE]; /* of the holder's node; "": it has no guard, and obeys nothing */
    int64_t
        life; /* of the instance that it was granted to (instance_fact.life); 0: any of this boot */
    uint32_t d_ms, w_ms, k_ms;
    /*
     * The controllers that may count time against this permit, so that all of them must promise
     * before its holder goes on without etcd (design §7). `before`: the list until the last change,
     * while the holder is not known to have renewed under the new one. A promise needs every name
     * of both lists; a controller counts time only if it is in `promisers`, and in `before` as well
     * while the list is `changing`. With nobody listed nobody counts, and nothing has to be asked.
     */
    bool changing;
    char promisers[PROMISERS_MAX][NAME_SIZE];
    int promisers_len;
    char before[PROMISERS_MAX][NAME_SIZE];
    int before_len;
    /*
     * The last is the target: what the holder's guard is to make PostgreSQL enforce, and to prove.
     * Those before it may still be in force. With none the permit says nothing of it, and the guard
     * leaves synchronous_standby_names alone.
     */
    struct sync_entry_record sync[SYNC_ENTRIES_MAX];
    int sync_len;
};

/*
 * renewals/<database>: the holder's heartbeat, under 200 bytes. Its guard puts it in a transaction
 * that compares the permit's mod revision: that it was accepted is the renewal.
 */
struct renewal_record {
    struct epoch epoch;
    int64_t permit_revision;
    char boot[BOOT_ID_SIZE];
    uint64_t sequence;
    bool armed; /* the watchdog is armed, and its period was read back as W */
    bool wrote; /* the guard's own heartbeat write has succeeded since the last renewal was sent */
};

/* guards/<node>/<database>: what a guard says of its instance, on change and every ten seconds. */
enum guard_mode { GUARD_OBSERVING, GUARD_GUARDING }; /* observing: no permit was ever written */
extern const char *const guard_mode_names[];
enum guard_state {
    GUARD_UNKNOWN,
    GUARD_STOPPED, /* proven: no process with that data directory exists */
    GUARD_STARTING,
    GUARD_RUNNING,
    GUARD_STOPPING
};
extern const char *const guard_state_names[];
enum watchdog_kind { WATCHDOG_NONE, WATCHDOG_KERNEL, WATCHDOG_TEST };
extern const char *const watchdog_kind_names[];

struct guard_record {
    char node[NAME_SIZE];
    char database[NAME_SIZE];
    char version[32];
    char boot[BOOT_ID_SIZE];
    uint64_t started_wall_ms;
    uint64_t sequence; /* as a controller_record's */
    enum guard_mode mode;
    enum guard_state state;
    char held[TEXT_SIZE];      /* "" or why it is held down */
    char complaint[TEXT_SIZE]; /* "" or what a person must mend */
    enum role role;
    bool wrote;            /* primary: the guard's own heartbeat write was acknowledged ... */
    uint64_t wrote_age_ms; /* ... so long before this was made */
    int64_t life;          /* as instance_fact's, and so the next ones */
    uint64_t system_id;
    uint32_t timeline;
    uint64_t write_lsn, receive_lsn, replay_lsn;
    bool receiving;
    char upstream[NAME_SIZE]; /* the node that its configuration points to */
    bool clean;               /* stopped: by a clean shutdown, as pg_controldata says ... */
    uint64_t checkpoint_lsn;  /* ... with its last checkpoint there */
    uint32_t checkpoint_timeline;
    int64_t obeyed_revision; /* the highest of groups/<group>, stored before it was obeyed */
    struct epoch epoch;      /* the highest that it ever saw */
    int64_t stopped_for;     /* evidence `guard`: the revocation's revision; 0: none */
    int64_t cut_for;         /* evidence `replication`: the revocation's revision; 0: none */
    bool asks_start;         /* stopped, and may start as the primary if it gets a permit */
    char crash[TEXT_SIZE];   /* "" or how PostgreSQL ended by itself ... */
    uint64_t down_ms;        /* ... so long before this was made */
    enum watchdog_kind watchdog;
    bool armed;
    uint32_t watchdog_ms; /* its period, as read back */
    uint64_t free_bytes;  /* of the data directory's file system */
    /* The permit's mod revision under which the last of its sync entries is proven to be enforced,
     * alone, in this life of PostgreSQL; 0: none. */
    int64_t sync_for;
    char sync_names[SYNC_NAMES_SIZE]; /* synchronous_standby_names, as a new session shows it */
};

/* A database's move to another instance: one workflow holds one for each database that it moves. */
enum move_phase { /* what the record allows to be under way; the work itself is observed, not
                     assumed */
                  PHASE_FENCE,   /* the permit is revoked; the levels of fence_node run */
                  PHASE_CHOOSE,  /* evidence is recorded */
                  PHASE_PROMOTE, /* the candidate has the permit; it may be a primary from now on */
                  PHASE_REDIRECT, /* the candidate is the recorded primary */
                  PHASE_VERIFY,   /* routes agree */
                  PHASE_DONE,
                  MOVE_PHASES
};
extern const char *const move_phase_names[];

enum evidence_kind {
    EVIDENCE_AGENT,
    EVIDENCE_COMMAND,
    EVIDENCE_OPERATOR,
    EVIDENCE_GUARD,
    EVIDENCE_PERMIT,
    EVIDENCE_REPLICATION
};
extern const char *const evidence_kind_names[];

struct evidence_record {
    enum evidence_kind kind;
    char node[NAME_SIZE];
    char level[NAME_SIZE];        /* of the node's fencing levels */
    char detail[REASON_SIZE];     /* the agent's last words, or who confirmed and why */
    uint64_t revocation_revision; /* etcd's, of the write that this evidence came after */
    uint32_t after_ms;            /* from that write to the evidence, by the leader's clock */
    int64_t wall_ms;
};

struct move_record {
    char database[NAME_SIZE];
    enum move_phase phase;
    char from[NAME_SIZE];       /* the node of the primary that is replaced */
    char fence_node[NAME_SIZE]; /* being fenced: `from`, or a candidate whose promotion did not
                                   complete */
    char planned[NAME_SIZE];    /* would have passed when the fence began */
    char candidate[NAME_SIZE];  /* "" until the permit names it; counts as a primary from then on */
    int64_t candidate_life;     /* the one that the permit was granted to (instance_fact.life); 0:
                                   unknown */
    uint32_t from_timeline;
    uint32_t new_timeline; /* 0 until promoted */
    uint64_t system_id;
    bool forced;                   /* by a person */
    uint64_t accept_loss_bytes;    /* that a person accepted; 0: none beyond the policy's */
    uint64_t estimated_loss_bytes; /* when the candidate was chosen; 0 with sync entries proven */
    uint32_t lives; /* leaders that have taken this phase up, to park a step that kills them */
    char parked[REASON_SIZE]; /* not "": the step waits for a person, and why */
    char burnt[INSTANCES_MAX]
              [NAME_SIZE]; /* nodes that may bear a history that did not complete (design §8) */
    int burnt_len;
    /* What the replaced primary's commits may have waited for: of each entry n - k + 1 members must
     * be heard, whoever is granted a permit in between. None: asynchronous. */
    struct sync_entry_record sync[SYNC_ENTRIES_MAX];
    int sync_len;
    struct evidence_record evidence[EVIDENCE_MAX];
    int evidence_len;
};

struct workflow_record {
    char id[ID_SIZE]; /* also the incident's */
    char request[ID_SIZE];
    int64_t started_wall_ms;
    struct move_record moves[DATABASES_MAX];
    int moves_len;
};

/* groups/<name> */
enum declared_role { DECLARED_STANDBY, DECLARED_PRIMARY, DECLARED_DOWN };
extern const char *const declared_role_names[];

/* What a guarded instance shall be: declared, not ordered (design §4). */
struct role_record {
    char node[NAME_SIZE];
    enum declared_role role;
    char upstream[NAME_SIZE]; /* standby: the node that it receives from, or "" */
};

struct database_record {
    char database[NAME_SIZE];
    char primary[NAME_SIZE]; /* node; "" until adopted */
    uint64_t system_id;
    uint32_t timeline;
    bool sync_enforced; /* the primary was seen to enforce the permit's entries */
    char burnt[INSTANCES_MAX][NAME_SIZE];
    int burnt_len;
    struct role_record roles[INSTANCES_MAX];
    int roles_len;
    /* Fences of instances that took writes without being the recorded primary (design §7, "A fence
     * lasts"): how many in the row that began then. */
    uint32_t refences;
    int64_t refence_wall_ms;
};

struct alarm_record {        /* lasts until its cause is gone; a person is called once */
    char key[NAME_SIZE * 2]; /* "fence.pay-east" */
    char text[REASON_SIZE];
    char command[REASON_SIZE]; /* what to run next */
    int64_t since_wall_ms;
    bool wakes;               /* a person is called */
    bool called;              /* recorded before the command runs: at most once */
    char acked_by[NAME_SIZE]; /* "": nobody yet. An acknowledged alarm stays until its cause is gone
                               */
    char acked_reason[REASON_SIZE];
    int64_t acked_wall_ms;
};

struct group_record {
    char name[NAME_SIZE];
    bool paused;
    char paused_by[NAME_SIZE];
    char paused_reason[REASON_SIZE];
    int64_t paused_wall_ms;
    struct database_record databases[DATABASES_MAX];
    int databases_len;
    bool moving; /* `workflow` holds one */
    struct workflow_record workflow;
    int64_t completed_wall_ms[BUDGET_MAX]; /* of automatic failovers, oldest first */
    int completed_len;
    struct alarm_record alarms[ALARMS_MAX];
    int alarms_len;
};

/* incidents/<id>: the clocks of design §9, in milliseconds since the first evidence of impact. */
enum lap { LAP_DETECT, LAP_CONFIRM, LAP_FENCE, LAP_PROMOTE, LAP_REDIRECT, LAP_VERIFY, LAPS };
extern const char *const lap_names[];
enum objective { OBJECTIVE_SWITCHED, OBJECTIVE_NORMAL, OBJECTIVE_BACK };
extern const char *const objective_names[]; /* switched, normal, back */
enum incident_state { INCIDENT_OPEN, INCIDENT_RECOVERED, INCIDENT_CLOSED };
extern const char *const incident_state_names[];

struct objective_record {
    uint64_t limit_ms;
    int64_t actual_ms; /* -1: the clock still runs */
    uint32_t warned;   /* bits: 1 at 50 %, 2 at 80 %, 4 at 100 % */
};

struct incident_note {
    uint64_t at_ms; /* since opened */
    char rule[16];
    char text[TEXT_SIZE + 64];
};

struct incident_database {
    char name[NAME_SIZE];
    char from[NAME_SIZE];
    char to[NAME_SIZE];
    char evidence[REASON_SIZE]; /* "agent power: ..." */
    uint64_t estimated_loss_bytes;
};

struct incident_record {
    char id[ID_SIZE];
    char group[NAME_SIZE];
    enum incident_state state;
    enum fault_class fault_class;
    char reason[REASON_SIZE];  /* what opened it */
    char opened_by[NAME_SIZE]; /* a controller, or a person */
    int64_t opened_wall_ms;
    uint64_t anchor_ms;     /* the incident's age when the record was last written ... */
    int64_t anchor_wall_ms; /* ... and that writer's wall clock: a successor goes on from there */
    int64_t
        ended_ms[LAPS]; /* since opened, when each lap ended for the last database; -1: not yet */
    uint64_t people_ms; /* of the total: waiting for a person */
    struct objective_record objectives[OBJECTIVES];
    struct incident_database databases[DATABASES_MAX];
    int databases_len;
    struct incident_note notes[INCIDENT_NOTES_MAX];
    int notes_len;
    int notes_dropped;
};

/* requests/<id>: what a person or program asked; then the outcome. */
enum request_kind {
    REQUEST_FAILOVER,
    REQUEST_PAUSE,
    REQUEST_RESUME,
    REQUEST_CONFIRM_FENCED,
    REQUEST_WORKFLOW_RETRY,   /* the step that waits or is parked is taken up again */
    REQUEST_WORKFLOW_SKIP,    /* only steps that cannot hurt: redirect, verify */
    REQUEST_WORKFLOW_ABANDON, /* the old primary gets its permit back */
    REQUEST_ALARM_ACK,
    REQUEST_ADOPT, /* guards begin to guard: a first permit that names boots */
    REQUEST_KINDS
};
extern const char *const request_kind_names[];
enum request_state { REQUEST_NEW, REQUEST_RUNNING, REQUEST_DONE, REQUEST_REFUSED };
extern const char *const request_state_names[];

struct request_record {
    char id[ID_SIZE];
    enum request_kind kind;
    char group[NAME_SIZE];    /* or "" */
    char database[NAME_SIZE]; /* or "": all of the group's */
    char node[NAME_SIZE];     /* confirm-fenced: which; failover: to which, or "" */
    char who[NAME_SIZE];      /* as the API server saw it: uid name over the socket */
    char reason[REASON_SIZE];
    uint64_t accept_loss_bytes;
    char plan[PLAN_HASH_SIZE]; /* failover: of the plan that was shown, or ""; another now: refused
                                */
    char alarm[NAME_SIZE * 2]; /* alarm-ack: its key */
    int64_t asked_wall_ms;
    enum request_state state;
    char outcome[1024]; /* for a person: what was done, or each check that refused, with value and
                           limit */
    char workflow[ID_SIZE];
};

/* controllers/<id>: a controller's presence and its view, on its lease. */
enum opinion { OPINION_UNKNOWN, OPINION_UP, OPINION_DOWN };
extern const char *const opinion_names[];

struct target_view {
    char database[NAME_SIZE];
    char node[NAME_SIZE];
    enum opinion opinion;
    enum cause cause;
    uint64_t age_ms;     /* of the last finding, when this was written */
    uint64_t since_ms;   /* how long the opinion had been held then */
    bool writable;       /* the latest finding was a primary of the permit's system that took a
                            write: the leader counts it among the primaries (core/intruder.c) */
    int64_t lives_after; /* revision of the group's record that said this instance was proven
                            fenced: this controller had seen it before it asked, and found the
                            instance alive; 0: not so. No clock is compared */
};

/*
 * The latest view of another controller that had arrived when this one was made. Who finds its own
 * here knows, by its own clock alone, that this view was made after that one: a bound on its age
 * that neither a stalled watch, nor a writer that stood still, nor two wall clocks can falsify.
 */
struct view_echo {
    char id[NAME_SIZE];
    uint64_t sequence;
};

struct controller_record {
    char id[NAME_SIZE];
    char version[32];
    char api[112];
    uint64_t started_wall_ms;
    uint64_t sequence; /* of this view; a heartbeat under the watched prefix. A life begins with a
                          random one, so that an echo of an earlier life matches none */
    struct view_echo echoes[ECHOES_MAX];
    int echoes_len;
    int64_t config_revision; /* of the definition it runs; 0: none */
    bool blind;              /* every target fails for it at once */
    struct target_view targets[PEER_TARGETS_MAX];
    int targets_len;
};

#endif
