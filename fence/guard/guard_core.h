/*
 * guard_core.h - what a guard decides about one PostgreSQL instance (design §7). Pure.
 *
 * No I/O, no clock, no heap, no globals: events carry their time (CLOCK_BOOTTIME milliseconds),
 * effects are an ordered list, and the order is the contract. One core stands for one instance; a
 * node with several has several, and one watchdog, which guard_watchdog() decides about.
 *
 * What it holds to:
 *
 *   1. From before a promotion or a start as primary until it is proven that no process of the
 *      instance is left, the instance *counts* as a primary.
 *   2. It may count as one only until t_send + D: t_send is the time before the sending of a
 * renewal that was accepted, or of a question to which every promiser answered with a promise. The
 * stop begins K + W earlier, and the watchdog is not fed after t_send + D - W. A lapse is final: no
 *      later answer is used, and the epoch is spent.
 *   3. Nothing starts or promotes without an accepted renewal under the very permit document that
 * is known, of an epoch that was stored on disk before. Promises only prolong.
 *   4. A revocation is a value. A permit that is missing or older than what was seen ends nothing
 *      and begins nothing.
 *   5. What is stored is stored before it is acted upon or reported: the highest epoch, the highest
 *      revision of the declared roles, a spent epoch, a standby's cut.
 *   6. What commits wait for is changed only to the target of a permit under which a renewal was
 *      accepted. It counts as proven for one life of PostgreSQL, and until anything differs.
 */
#ifndef FAILOVER_GUARD_CORE_H
#define FAILOVER_GUARD_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/cluster/facts.h"
#include "controller/cluster/records.h"
#include "fence/guard/guard_sync.h"

#define GUARD_PROMISERS_MAX (2 * PROMISERS_MAX)
#define GUARD_EFFECTS_MAX   64
#define GUARD_TEXT_SIZE     256
#define GUARD_NEVER         UINT64_MAX

#define DUTY_LIST(X)                                                                               \
    X(DUTY_OBSERVING, "observing", "no permit was ever written for the database: nothing is done") \
    X(DUTY_LOOKING, "looking", "what runs is not known yet, or not yet taken over")                \
    X(DUTY_DOWN, "down", "no process of the instance exists, and its directory is at rest")        \
    X(DUTY_STARTING, "starting", "started as a standby, and not seen yet")                         \
    X(DUTY_STANDBY, "standby", "runs in recovery")                                                 \
    X(DUTY_LAUNCHING, "launching", "started as a primary under a permit, and not seen yet")        \
    X(DUTY_PROMOTING, "promoting", "asked to end its recovery, under a permit")                    \
    X(DUTY_PRIMARY, "primary", "a primary under a permit")                                         \
    X(DUTY_STOPPING, "stopping", "being stopped, until it is proven that no process is left")

enum duty {
#define X(id, name, help) id,
    DUTY_LIST(X)
#undef X
        DUTIES
};
extern const char *const duty_names[];
extern const char *const duty_helps[];

/* The permit as the guard needs it: permit_record without what only the leader looks at. */
struct guard_permit {
    bool known;       /* a value was seen; false: missing, or never read */
    int64_t revision; /* mod revision of the document */
    bool granted;     /* else revoked */
    struct epoch epoch;
    char node[NAME_SIZE];
    char boot[BOOT_ID_SIZE];
    int64_t life; /* 0: not named */
    uint64_t system_id;
    uint32_t timeline;
    uint32_t d_ms, w_ms, k_ms;
    char promisers[GUARD_PROMISERS_MAX][NAME_SIZE]; /* of both lists, each once: all are needed */
    int promisers_len;
    struct guard_sync sync; /* its entries; their revision is the document's */
};

/* On disk, written before what it says is acted upon. */
struct guard_durable {
    bool guarding;           /* once true, for ever */
    struct epoch epoch;      /* the highest that was held or seen */
    struct epoch spent;      /* lapsed or revoked here: never held again */
    int64_t obeyed_revision; /* of the declared roles */
    enum role declared;      /* ROLE_UNKNOWN: down, or nothing declared yet */
    bool declared_down;
    bool burnt;         /* may bear a history that did not complete: never started */
    struct epoch begun; /* a promotion may have been asked for under it, and is not known to have
                           completed; counter 0: none */
    char upstream[NAME_SIZE];
    int64_t cut_for; /* the revocation for which this standby durably stopped receiving; 0: none */
};

/* Of this boot only, on a file system that a reboot empties. */
struct guard_boot_state {
    bool known;
    struct guard_permit permit; /* last renewed under */
    uint64_t valid_until_ms;    /* t_send + D */
    bool armed;                 /* the last accepted renewal said so */
    struct guard_sync sync;     /* of the last accepted renewal's document; revision 0: none yet */
    int64_t waiting_life;       /* in which every commit is proven to wait for somebody; 0: none */
};

enum guard_process { GUARD_PROCESS_UNKNOWN, GUARD_PROCESS_NONE, GUARD_PROCESS_RUNNING };

/* What the control file says of the last life, when nothing runs. */
enum guard_control {
    GUARD_CONTROL_UNKNOWN,
    GUARD_CONTROL_STANDBY,       /* it was in recovery, cleanly ended or not */
    GUARD_CONTROL_PRIMARY_CLEAN, /* a primary that was shut down: its WAL ends with the checkpoint
                                    of that, which is written before it is sent to anybody */
    GUARD_CONTROL_PRIMARY_CRASH, /* a primary that was not */
};

struct guard_seen { /* the drivers' latest observation; levels, not edges */
    enum guard_process process;
    enum guard_control control;
    enum role role; /* by its own word, while it runs; ROLE_UNKNOWN: it has not answered yet */
    uint64_t system_id;
    uint32_t timeline;
    int64_t life;
    uint64_t checkpoint_lsn; /* of the control file, when nothing runs */
    uint32_t checkpoint_timeline;
    bool copied; /* nothing runs: the directory is a base backup that was never started */
    bool receiving;
};

#define GUARD_EVENT_LIST(X)                                                                        \
    X(GUARD_EV_TICK, "review")       /* time has passed; rules on it run after every event */      \
    X(GUARD_EV_SEEN, "seen")         /* seen */                                                    \
    X(GUARD_EV_DIED, "died")         /* the postmaster ended: text */                              \
    X(GUARD_EV_GONE, "gone")         /* proven: no process with that data directory exists */      \
    X(GUARD_EV_PROMOTED, "promoted") /* it took a write: seen */                                   \
    X(GUARD_EV_UNPROMOTED, "not promoted") /* refused or unknown: text */                          \
    X(GUARD_EV_PERMIT, "permit")           /* permit; known false: the key is missing */           \
    X(GUARD_EV_DECLARED, "declared")       /* declared */                                          \
    X(GUARD_EV_RENEWED, "renewed")         /* accepted: sent_ms, revision */                       \
    X(GUARD_EV_UNRENEWED, "not renewed")   /* no answer, or one that says nothing */               \
    X(GUARD_EV_PROMISED, "promised")       /* one promiser: round, promiser, sent_ms */            \
    X(GUARD_EV_UNPROMISED, "not promised") /* one promiser said no: text */                        \
    X(GUARD_EV_WATCHDOG, "watchdog")       /* armed, period_ms */                                  \
    X(GUARD_EV_SAVED, "saved")             /* version */                                           \
    X(GUARD_EV_FOLLOWED, "followed") /* the upstream was set and taken up: upstream; for "" the    \
                                        receiver is gone */                                        \
    X(GUARD_EV_UNFOLLOWED, "not followed") /* it could not be set, also for a start, or is not     \
                                              proven: text */                                      \
    X(GUARD_EV_SYNCED, "enforced") /* round: the target is proven to be enforced, in seen.life */  \
    X(GUARD_EV_UNSYNCED, "not enforced") /* round, or 0: what was proven is no more: text */       \
    X(GUARD_EV_POLICY, "policy")         /* policy */

enum guard_event_type {
#define X(id, name) id,
    GUARD_EVENT_LIST(X)
#undef X
        GUARD_EVENTS
};
extern const char *const guard_event_names[];

struct guard_policy {
    bool restart;                 /* on_crash */
    uint32_t restart_deadline_ms; /* from the crash */
    bool when_blind_continue;
    bool watchdog_configured; /* there is one: nothing starts before it was tried to be armed */
};

struct guard_declared {
    int64_t revision; /* mod revision of the group document */
    enum role role;
    bool down;
    bool burnt;
    char upstream[NAME_SIZE];
    uint64_t
        fork_lsn; /* where the recorded history left the timeline of this instance; 0: unknown */
    char standbys[INSTANCES_MAX][NAME_SIZE]; /* the nodes that are to receive from this one */
    int standbys_len;
};

struct guard_event {
    enum guard_event_type type;
    uint64_t now_ms;
    uint64_t sent_ms;
    int64_t revision;
    uint64_t version;
    uint32_t round;
    uint32_t period_ms;
    bool armed;
    int promiser; /* index into the core's asked list */
    struct guard_seen seen;
    struct guard_permit permit;
    struct guard_declared declared;
    struct guard_policy policy;
    char upstream[NAME_SIZE];
    bool closed; /* FOLLOWED: with the name that nobody bears */
    char text[GUARD_TEXT_SIZE];
};

#define GUARD_EFFECT_LIST(X)                                                                       \
    X(GUARD_DO_SAVE, "save")            /* core->durable, as version */                            \
    X(GUARD_DO_KEEP, "keep")            /* core->kept: this boot's deadline, before it is used */  \
    X(GUARD_DO_RENEW, "renew")          /* core->permit; armed */                                  \
    X(GUARD_DO_ASK, "ask for promises") /* core->asked, round */                                   \
    X(GUARD_DO_TAKE_OVER, "take over")  /* the running processes into the instance's cgroup */     \
    X(GUARD_DO_START_PRIMARY, "start as primary")                                                  \
    X(GUARD_DO_START_STANDBY, "start as standby") /* following upstream */                         \
    X(GUARD_DO_PROMOTE, "promote")                /* as the permit says, before act_by_ms */       \
    X(GUARD_DO_STOP, "stop")                      /* SIGKILL to the whole cgroup at kill_at_ms */  \
    X(GUARD_DO_REST, "put standby.signal back")                                                    \
    X(GUARD_DO_FOLLOW, "follow") /* upstream; "": nobody; closed */                                \
    X(GUARD_DO_SYNC, "enforce")  /* core->told, and prove it as round; waits */                    \
    X(GUARD_DO_SLOTS, "slots")   /* core->declared.standbys */                                     \
    X(GUARD_DO_REPORT, "report")                                                                   \
    X(GUARD_DO_NOTE, "note") /* rule, from, to, text */

enum guard_effect_type {
#define X(id, name) id,
    GUARD_EFFECT_LIST(X)
#undef X
        GUARD_EFFECT_TYPES
};
extern const char *const guard_effect_names[];

struct guard_effect {
    enum guard_effect_type type;
    uint64_t version;
    uint32_t round;
    bool armed;
    uint64_t kill_at_ms;
    uint64_t act_by_ms;
    char upstream[NAME_SIZE];
    bool closed;      /* with the name that nobody bears, so that it cannot acknowledge anything */
    bool waits;       /* commits are known to wait for somebody already */
    const char *rule; /* its id and its sentence */
    const char *why;
    enum duty from, to;
    char text[GUARD_TEXT_SIZE];
};

struct guard_effects {
    int len;
    struct guard_effect items[GUARD_EFFECTS_MAX];
};

struct guard_core {
    char node[NAME_SIZE];
    char boot[BOOT_ID_SIZE];
    enum duty state;
    uint64_t now_ms;
    uint64_t state_since_ms;

    struct guard_durable durable;
    uint64_t version, saved_version;     /* of durable: what is wanted, what is on disk */
    uint64_t spent_version, cut_version; /* the first that had the latest spent epoch, the cut */
    int64_t obeyed_saved;                /* durable.obeyed_revision, as it is on disk */
    struct guard_boot_state kept;

    struct guard_permit permit; /* the latest value that is not older than what was seen */
    bool permit_missing;        /* its key was seen to be absent after a value was known */
    bool permit_refused;        /* a lower epoch or an older document was seen */
    struct guard_declared declared;
    struct guard_policy policy;
    struct guard_seen seen;

    bool counts;              /* as a primary */
    bool said_armed;          /* a renewal that may be the last one committed said so */
    bool adopting;            /* guarding began in this life: what runs was legal before it */
    int64_t renewed_revision; /* the document of this life's last accepted renewal; 0: none yet */
    bool renewal_out, renewal_out_armed;
    struct guard_permit renewal_out_permit; /* that it was sent under */
    uint64_t renewal_sent_ms;               /* when the last one was asked for */
    uint64_t unanswered_ms; /* since when renewals have had no answer; 0: they have */
    uint32_t round;         /* of promises */
    int64_t round_revision; /* of the document whose promisers are asked */
    uint64_t round_ms, round_sent_ms;
    uint32_t promised; /* bits of asked */
    char asked[GUARD_PROMISERS_MAX][NAME_SIZE];
    int asked_len;

    bool watchdog_tried, watchdog_armed;
    uint32_t watchdog_period_ms;

    char crash[GUARD_TEXT_SIZE]; /* how it ended by itself; "": it did not */
    uint64_t crash_ms;
    struct epoch crash_epoch;
    int crashes; /* under crash_epoch */

    bool promote_out;
    bool begun_here;      /* durable.begun was stored in this life of the guard ... */
    bool promotion_asked; /* ... and PostgreSQL was asked since */
    uint64_t promote_again_ms;
    char applied[NAME_SIZE]; /* the upstream that its configuration names */
    bool applied_closed;     /* and whether it names nobody to wait for */
    bool applied_known, follow_out;
    uint64_t follow_again_ms;
    int64_t cut_out; /* the revocation for which a cut is under way */

    struct guard_sync told; /* what PostgreSQL was told to enforce; revision 0: nothing yet */
    bool sync_out;
    uint32_t sync_round;
    uint64_t sync_again_ms;
    int64_t proven_life;    /* in which told is proven; 0: it is not */
    int64_t slots_revision; /* of the roles that slots were made for */
    uint64_t slots_again_ms;

    struct guard_effects *effects; /* during guard_step only, as is the event */
    const struct guard_event *event;
};

/* durable and kept: what was read from disk (kept.known false: nothing of this boot). */
void guard_init(struct guard_core *core, const char *node, const char *boot,
                const struct guard_durable *durable, const struct guard_boot_state *kept,
                uint64_t now_ms);
void guard_step(struct guard_core *core, const struct guard_event *event,
                struct guard_effects *ret_effects);
/* When it wants GUARD_EV_TICK; GUARD_NEVER if nothing waits. */
uint64_t guard_deadline_ms(const struct guard_core *core);

/* ---- read-only questions: the predicates that the rules are made of ---- */

/* The permit names this node and this boot, is granted, and its epoch is neither refused nor spent.
 */
bool guard_holds(const struct guard_core *core);
/* Counted, and still within its time less the reserve for the stop. */
bool guard_may_be_primary(const struct guard_core *core);
bool guard_may_start_primary(const struct guard_core *core);
bool guard_may_start_standby(const struct guard_core *core);
bool guard_may_promote(const struct guard_core *core);
/* What it counts as a primary for has ended: revoked, lent to another, lapsed, or never permitted.
 */
bool guard_must_stop(const struct guard_core *core);
/* An answer to the present round would still be used. */
bool guard_may_extend(const struct guard_core *core);
/* For the report: what PostgreSQL is, as far as it is proven ... */
enum guard_state guard_proven_state(const struct guard_core *core);
/* How it ended by itself under the epoch that is reported beside it; "": it did not. An end under
 * an earlier one says nothing of a start under this. */
const char *guard_ended(const struct guard_core *core);
/* ... and the rest. */
int64_t guard_stopped_for(const struct guard_core *core);     /* 0: none */
int64_t guard_cut_for(const struct guard_core *core);         /* 0: none */
int64_t guard_obeyed_revision(const struct guard_core *core); /* that is stored */
bool guard_asks_start(const struct guard_core *core);
int64_t guard_sync_for(const struct guard_core *core); /* 0: none */
/* Why a stopped instance is not started, in words; "" when it is not held. */
const char *guard_held(const struct guard_core *core);

/*
 * The node's one watchdog. It is armed while any guarded instance counts as a primary or is about
 * to, with the smallest period among their permits, and fed only while every instance that counts
 * is before its t_send + D - W.
 */
struct guard_watchdog_wish {
    bool armed;
    uint32_t period_ms;
    bool feed;
    uint64_t feed_until_ms; /* no feeding at or after this; GUARD_NEVER: nothing counts */
};
struct guard_watchdog_wish guard_watchdog(const struct guard_core *cores, int len, uint64_t now_ms);

/* ---- the table of rules ---- */

struct guard_rule_info {
    const char *id;
    uint64_t from; /* bits of enum duty */
    const char *on;
    const char *when;
    int to; /* enum duty, or -1: stays */
    const char *act;
    const char *why;
};
int guard_rules_len(void);
struct guard_rule_info guard_rule(int index);

#endif
