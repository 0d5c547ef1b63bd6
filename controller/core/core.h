/*
 * core.h - the door of the pure core: everything that decides, nothing that acts (design §3).
 *
 * Events go in, an ordered list of effects comes out; the order is the contract. No I/O, no clock,
 * no heap, no globals. `core_step` cannot fail: "it did not work" is an event. The driver carries
 * effects out in their order, after core_step has returned, and turns each outcome into one event.
 *
 * Record, then act: a step that can hurt is emitted only after EV_SAVED for the save that wrote it
 * down. One save is in flight at a time; the driver encodes the named records from the core's state
 * when it meets the effect, in one transaction that compares the term and each record's mod
 * revision. Whatever a save's answer was but "accepted", the core's memory is worthless: it asks
 * for EFFECT_RELOAD, and goes on from what is really recorded, as a successor does (design §8).
 *
 * Policy is the table in rules.c. A database is in one of the states below; the state of a database
 * is assigned in one place (core_rules_run). On a follower every database is OBSERVING; its facts
 * and records are kept all the same, for status and for the view it publishes.
 *
 * Time: CLOCK_BOOTTIME milliseconds in every event; wall_ms is for records that people read.
 */
#ifndef FAILOVER_CORE_CORE_H
#define FAILOVER_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/cluster/definition.h"
#include "controller/cluster/facts.h"
#include "controller/cluster/records.h"

#define PEERS_MAX    ECHOES_MAX
#define VIEWS_MAX    64 /* of this controller's own, whose echo is still recognised */
#define REQUESTS_MAX 8
#define EFFECTS_MAX  256 /* each of eight databases may suspect, fence and say so in one event */
#define NEVER        UINT64_MAX

/* ---- states ---- */

#define DB_STATE_LIST(X)                                                                           \
    X(DB_OBSERVING, "observing", "not leading, or the records are not loaded yet")                 \
    X(DB_UNADOPTED, "unadopted", "no permit yet: waiting to see exactly one primary")              \
    X(DB_ADOPTING, "adopting", "the first permit is being recorded")                               \
    X(DB_NORMAL, "normal", "the recorded primary holds the permit")                                \
    X(DB_SUSPECT, "suspect", "this controller sees the primary fail and asks the witnesses")       \
    X(DB_HELD, "held", "down, nothing touched: a rule holds the failover back")                    \
    X(DB_REVOKING, "revoking", "the revocation is being recorded")                                 \
    X(DB_FENCING, "fencing", "a fencing level is running")                                         \
    X(DB_FENCE_WAIT, "fence-wait", "no level proved it: a person must confirm, or a retry")        \
    X(DB_PROVING, "proving", "the evidence is being recorded")                                     \
    X(DB_CHOOSING, "choosing", "the standbys are heard")                                           \
    X(DB_CHOICE_WAIT, "choice-wait", "no candidate passes: waiting for one, or for a person")      \
    X(DB_GRANTING, "granting", "the permit for the candidate is being recorded")                   \
    X(DB_PROMOTING, "promoting", "the candidate is being promoted")                                \
    X(DB_PROMOTE_WAIT, "promote-wait", "the promotion did not complete: it is observed")           \
    X(DB_RECORDING, "recording", "the new primary is being recorded")                              \
    X(DB_REDIRECTING, "redirecting", "routes are being moved")                                     \
    X(DB_VERIFYING, "verifying", "waiting to see writes and services work")                        \
    X(DB_CLOSING, "closing", "the end of the move is being recorded")                              \
    X(DB_PARKED, "parked", "a step waits for a person")

enum db_state {
#define X(id, name, help) id,
    DB_STATE_LIST(X)
#undef X
        DB_STATES
};
extern const char *const db_state_names[];
extern const char *const db_state_helps[];

/* ---- opinions (health.c) ---- */

struct health {
    enum opinion is;
    enum cause cause;           /* of the latest finding */
    uint32_t fails;             /* in a row, that count as failure and are no refusals */
    uint32_t goods;             /* in a row */
    uint64_t first_bad_ms;      /* when the first probe of this row of failures was sent; 0: none */
    uint64_t refused_since_ms;  /* 0: the latest was no refusal */
    uint64_t starting_since_ms; /* starting up or shutting down; 0: not */
    uint64_t last_good_ms;      /* 0: never */
    uint64_t since_ms;          /* of the opinion */
    uint64_t latest_ms;         /* when the latest finding was complete; 0: never */
};

struct guard_view { /* what the failover-guard of a node last said of an instance */
    bool known;
    struct guard_record said;
    int64_t revision;
    uint64_t heard_ms;
};

struct renewal_view { /* of a database's permit, by its holder's guard */
    bool known;
    struct renewal_record said;
    int64_t revision;
    uint64_t heard_ms;
};

struct instance_state {
    struct guard_view guard;
    struct health health;
    struct instance_fact fact; /* the latest that answered; else zeroed */
    char detail[TEXT_SIZE];    /* of the latest */
    uint64_t receive_moved_ms; /* standby: when its received WAL was last seen to advance */
    uint64_t lived_ms;         /* when the latest finding that shows it alive, and no standby, was
                                  asked for; 0: never (facts.h, fact_shows_life) */
    int64_t lived_after;       /* follower: target_view.lives_after */
    enum cause lived_as;       /* of that finding; CAUSE_OK: it took a write */
    uint32_t still_findings;   /* standby: in a row, all asked for after the fence was proven, with
                                  one WAL end */
};

struct service_state {
    struct health health;
    struct service_fact fact;
};

struct proxy_route_state {
    int wished;    /* what was last asked for; -3: nothing yet */
    int confirmed; /* index of the instance whose server was read back as the only open one; -1:
                      none; -2: unknown */
    uint64_t confirmed_ms;
    char error[TEXT_SIZE];
};

struct proxy_state {
    bool busy;                /* an EFFECT_ROUTES runs */
    uint64_t next_ms;         /* when to look again */
    uint64_t silent_since_ms; /* 0: it answers */
    struct proxy_route_state routes[ROUTES_MAX];
};

struct peer_state {
    bool used;
    bool present;      /* its key is there */
    uint64_t heard_ms; /* when its latest view arrived */
    uint64_t after_ms; /* ... which was made after this, since it echoes a view of ours made then;
                          0: it echoes none that we know */
    uint64_t gone_ms;  /* since when it is absent */
    struct controller_record view;
};

/* ---- a database ---- */

struct permit_word { /* what a permit's record says to people */
    enum permit_state state;
    struct epoch epoch;
    char node[NAME_SIZE];
};

struct database_state {
    enum db_state state;
    uint64_t since_ms; /* of the state */
    uint32_t awaits;   /* the save it waits for; 0: none */
    struct permit_record permit;
    bool permit_known;
    int64_t permit_revision;
    bool permit_dirty;
    /* With the save that is in flight, and as recorded: what decides is what is to be recorded
     * next, and a lost lease may leave that so for a while. */
    struct permit_word permit_sent, permit_says;
    char primary_sent[NAME_SIZE], primary_says[NAME_SIZE];
    struct renewal_view renewal;
    uint64_t
        promised_ms; /* this controller's last promise about this permit; 0: none in this life */
    struct instance_state instances[INSTANCES_MAX];

    /* the failure that is being looked at */
    uint64_t failure_ms;                 /* the first evidence of it; 0: none */
    uint64_t down_ms;                    /* when this controller's own opinion became "down" */
    uint64_t suspect_lsn[INSTANCES_MAX]; /* each standby's WAL end, first heard after failure_ms; 0:
                                            not yet */
    uint64_t suspect_asked_ms[INSTANCES_MAX]; /* and when that finding was asked for */
    bool forced;                              /* a person asked; witnesses and budget are not */
    uint64_t accept_loss_bytes; /* that this person accepted; 0: none beyond max_lag */
    bool late_noted;            /* the state has lasted longer than it should, and that was said */
    char held[REASON_SIZE];     /* what holds a failover back, in words */
    int held_by;                /* enum hold (guards.c); 0: nothing */
    int held_noted;             /* the one that was last said */

    /* the step that runs; whose outcome is awaited under `step` */
    uint32_t step;
    uint64_t step_started_ms;
    uint64_t step_deadline_ms; /* by when the driver must have reported */
    int64_t counted_term;      /* the term that is counted among the running move's lives */
    int level;                 /* of the fence_node's levels: running or to run next */
    uint32_t lying_levels; /* bits: proved a death that was none; not asked again in this move */
    int fence_round;
    uint64_t retry_ms;   /* the next attempt of what failed; 0: none */
    uint64_t revoked_ms; /* when this life's revoking write was acknowledged or confirmed */
    int64_t revoked_revision;
    int64_t
        proven_revision; /* of the record that held it first, as far as this life knows; 0: none */
    int64_t tried_wall_ms; /* of the evidence whose fenced node was last tried (EFFECT_TRY_WRITE) */
    uint32_t tried_after_ms;
    uint64_t proven_ms; /* when evidence was recorded (or loaded): standbys are heard after it */
    int promote_tries;

    /* an instance that takes writes without being the recorded primary (intruder.c) */
    int intruder; /* index + 1; 0: none */
    int intruder_level;
    bool intruder_over; /* fenced again, or nothing more to try; looked at anew at intruder_again_ms
                         */
    uint32_t intruder_ticket; /* the save that recorded this attempt */
    uint32_t intruder_step;
    uint64_t intruder_deadline_ms;
    uint64_t intruder_again_ms;

    /* who streams from the recorded primary, in its own words (sync.c) */
    int watched;                         /* the primary whose words these are: index + 1 */
    uint64_t watched_ms;                 /* of its latest */
    uint64_t flushed_lsn[INSTANCES_MAX]; /* as it last showed them; 0: does not stream */
    uint64_t follows_ms[INSTANCES_MAX];  /* confirms, with nearly all WAL, since then; 0: not now */
    uint64_t gone_ms[INSTANCES_MAX];     /* confirms nothing, since then; 0: it does, or unknown */
    uint64_t entries_ms; /* when this life last changed the permit's entries; 0: not */

    /* async: the loss that a failover now would mean */
    uint64_t primary_lsn;    /* latest write position seen ... */
    uint64_t primary_lsn_ms; /* ... and when */
    uint64_t bytes_per_s;    /* how fast it has been growing */
};

struct group_state {
    struct group_record record;
    bool known;
    int64_t revision;
    uint64_t seen_ms; /* when this revision of the record was taken from the store */
    bool dirty;
    struct incident_record incident; /* the latest one */
    bool incident_known;
    int64_t incident_revision;
    bool incident_dirty;
    uint64_t incident_due_ms;          /* changed, but nobody waits for it: saved by then; 0: not */
    uint64_t incident_opened_ms;       /* its zero on this machine's clock */
    uint64_t people_since_ms;          /* waiting for a person since then; 0: not */
    uint32_t warn_pending[OBJECTIVES]; /* marked in the record, told once it is saved */
    uint32_t call_pending;             /* bits of record.alarms: called once the mark is saved */
    uint32_t tell_ticket;              /* the save that both wait for */
};

struct request_slot {
    bool used;
    int64_t revision;
    bool dirty;
    struct request_record record;
};

/* ---- effects ---- */

enum effect_type {
    EFFECT_SAVE,    /* write the named records in one transaction; EV_SAVED or EV_SAVE_FAILED with
                       `ticket` */
    EFFECT_RELOAD,  /* read all records again, confirmed by a write; core_take_* and EV_LOADED */
    EFFECT_FENCE,   /* run one level: EV_FENCE_DONE */
    EFFECT_PREPARE, /* open a session to the instance for a promotion that may come; no outcome */
    EFFECT_PROMOTE, /* EV_PROMOTION_DONE */
    EFFECT_ROUTES,  /* make a proxy's routes so: EV_ROUTES_DONE */
    EFFECT_CANCEL,  /* the step with this id, if it still runs; no outcome will be listened to */
    EFFECT_CANCEL_ALL, /* every fence, promotion and route operation */
    EFFECT_PROBE_NOW,  /* probe this instance now, without waiting for its interval */
    EFFECT_TRY_WRITE, /* try a write to this instance now, beside its probes and within deadline_ms:
                         EV_WRITE_TRIED */
    EFFECT_PUBLISH,   /* publish core_view() now: an opinion changed */
    EFFECT_CALL,      /* run the one configured command for this alarm, once */
    EFFECT_RESIGN,    /* give up leadership (blind while another sees) */
    EFFECT_NOTE,      /* a line for the log, the events and whoever asks why */
};

#define SAVE_ITEMS_MAX (2 * GROUPS_MAX + DATABASES_MAX + REQUESTS_MAX)
enum save_kind { SAVE_GROUP, SAVE_INCIDENT, SAVE_PERMIT, SAVE_REQUEST };
struct save_item {
    enum save_kind kind;
    int index;        /* of the group, group, database, request slot */
    int64_t revision; /* compared: the mod revision that the core knows; 0: must not exist */
};

struct route_wish {
    int route;
    int open; /* index of the route's instance that shall be open; -1: all closed */
};

struct effect {
    enum effect_type type;
    uint32_t step;        /* FENCE, PROMOTE, ROUTES, CANCEL: its id, given back with the outcome */
    uint64_t deadline_ms; /* FENCE, PROMOTE, ROUTES, TRY_WRITE: by then it must have ended */
    union {
        struct {
            uint32_t ticket;
            int items_len;
            struct save_item items[SAVE_ITEMS_MAX];
        } save;
        struct {
            int database, node, level;
        } fence;
        struct {
            int database, instance;
            uint32_t timeline; /* the standby must be on it */
            uint64_t system_id;
            int64_t life; /* of the candidate, when the permit was granted; 0: unknown */
        } promote;        /* and PREPARE */
        struct {
            int proxy;
            int wishes_len;
            struct route_wish wishes[ROUTES_MAX];
        } routes;
        struct {
            int database, instance;
        } probe; /* and TRY_WRITE */
        struct {
            int group;
            struct alarm_record alarm;
        } call;
        struct {
            char rule[16];
            int level; /* enum log_level's order: 0 error, 1 warn, 2 info, 3 debug */
            char group[NAME_SIZE];
            char database[NAME_SIZE];
            int from, to; /* enum db_state, or -1 */
            char text[REASON_SIZE];
        } note;
    };
};

struct core_effects {
    int len;
    struct effect items[EFFECTS_MAX];
};

/* ---- events ---- */

enum core_event_type {
    EV_TICK,
    EV_LEADING, /* elected; the driver then loads every record */
    EV_LOADED,  /* core_take_* has been called for every record that exists, confirmed by a write */
    EV_NOT_LEADING, /* lost, or may no longer act */
    EV_STALL,       /* this process did not run for a while: observe before acting */
    EV_INSTANCE,
    EV_WRITE_TRIED, /* as EV_INSTANCE; only life that it shows counts */
    EV_SERVICE,
    EV_PEER, /* core_take_peer was called */
    EV_SAVED,
    EV_SAVE_FAILED, /* refused, conflicting or unknown: the core reloads */
    EV_FENCE_DONE,
    EV_PROMOTION_DONE,
    EV_ROUTES_DONE,
    EV_REQUEST, /* core_take_request was called */
    EV_STORE,   /* how full the store is */
};

enum fence_outcome { FENCED_PROVEN, FENCED_REFUSED, FENCED_UNKNOWN };
enum promotion { PROMOTION_DONE, PROMOTION_ALREADY, PROMOTION_REFUSED, PROMOTION_UNKNOWN };

struct core_event {
    enum core_event_type type;
    uint64_t now_ms;
    int64_t wall_ms;
    union {
        struct {
            int64_t term;
            int64_t revision; /* of the write that made it so */
        } leading;
        struct {
            int64_t revision; /* of the confirming write */
        } loaded;
        struct {
            int database, instance;
            struct instance_fact fact;
        } instance;
        struct {
            int service, instance;
            struct service_fact fact;
        } service;
        struct {
            uint32_t ticket;
            int64_t revision;
            char text[TEXT_SIZE];
        } save;
        struct {
            uint32_t step;
            enum fence_outcome outcome;
            enum evidence_kind evidence;
            char detail[REASON_SIZE];
        } fence;
        struct {
            uint32_t step;
            enum promotion outcome;
            uint32_t timeline;
            uint64_t system_id;
            char detail[REASON_SIZE];
        } promote;
        struct {
            uint64_t bytes;       /* its database's, on the member in use */
            uint64_t quota_bytes; /* beyond it etcd takes no writes */
        } store;
        struct {
            uint32_t step;
            int proxy;
            bool answered;
            int results_len;
            struct {
                int route;
                int open_seen;  /* as proxy_route_state.confirmed */
                bool confirmed; /* exactly the wish holds, read back, and no session is left
                                   elsewhere */
                char error[TEXT_SIZE];
            } results[ROUTES_MAX];
        } routes;
    };
};

/* ---- the core ---- */

struct core {
    char id[NAME_SIZE];
    uint64_t started_ms;
    uint64_t now_ms;
    int64_t wall_ms;
    bool leading;
    bool loaded;
    int64_t term;
    uint64_t incarnation;      /* of the store, for new epochs */
    uint64_t observe_until_ms; /* after a stall: no verdict before */
    bool defined;
    int64_t definition_revision;
    struct definition def;
    struct database_state databases[DATABASES_MAX];
    struct service_state services[SERVICES_MAX][INSTANCES_MAX];
    struct proxy_state proxies[PROXIES_MAX];
    uint32_t proxy_steps[PROXIES_MAX];
    struct group_state groups[GROUPS_MAX];
    struct peer_state peers[PEERS_MAX];
    struct request_slot requests[REQUESTS_MAX];
    uint64_t store_bytes; /* as last told; 0: not yet */
    uint64_t store_quota_bytes;
    int64_t seen_revision; /* every change of the store up to it was taken: the watch is in order */
    bool promises; /* guards can ask this controller: its API listens. The driver's to set */
    bool blind;    /* every target fails at once: the prober is suspect */
    uint64_t blind_since_ms;
    uint32_t next_step;
    uint32_t next_ticket;
    uint32_t ticket_in_flight; /* 0: none */
    uint32_t ticket_saved;
    struct {
        int len;
        struct save_item items[SAVE_ITEMS_MAX];
    } in_flight;
    uint64_t view_sequence; /* of the latest of our views; the driver begins a life at random */
    struct {
        uint64_t sequence, made_ms;
    } views[VIEWS_MAX]; /* sequence n is at n % VIEWS_MAX */
    uint64_t resigned_ms;
    struct core_effects *effects; /* both are set during core_step only */
    const struct core_event *event;
};

void core_init(struct core *core, const char *id, uint64_t now_ms);
void core_step(struct core *core, const struct core_event *event, struct core_effects *ret_effects);
/* When it wants EV_TICK; NEVER if nothing waits. */
uint64_t core_deadline_ms(const struct core *core);

/*
 * What was read from the store. To be called before the event that it belongs to; records of
 * another cluster or of names that the definition does not know are kept out and reported false.
 * core_take_definition: false while a workflow runs (the newer one waits for its end, failures.md
 * I19).
 */
bool core_take_definition(struct core *core, const struct definition *def, int64_t revision);
/* Forget all records (before a reload). */
void core_forget_records(struct core *core);
bool core_take_permit(struct core *core, const struct permit_record *permit, int64_t mod_revision);
bool core_take_group(struct core *core, const struct group_record *group, int64_t mod_revision,
                     uint64_t now_ms);
bool core_take_incident(struct core *core, const struct incident_record *incident,
                        int64_t mod_revision, uint64_t now_ms, int64_t wall_ms);
/* False: every slot is taken; offer it again after the next step. */
bool core_take_request(struct core *core, const struct request_record *request,
                       int64_t mod_revision);
/* One more would be taken. */
bool core_has_request_room(const struct core *core);
/* view NULL: its key is gone. */
void core_take_peer(struct core *core, const char *id, const struct controller_record *view,
                    uint64_t now_ms);

/* The watch, or a reading, has delivered everything up to this revision. */
void core_saw(struct core *core, int64_t revision);
/* The store was rescued: its revisions begin anew, and what guards said in the old one is of the
 * past. Not while leading. */
void core_forget_store(struct core *core);

/* From guards; older than what is known: ignored. False: the definition has no such instance. */
bool core_take_guard(struct core *core, const struct guard_record *said, int64_t mod_revision,
                     uint64_t now_ms);
bool core_take_renewal(struct core *core, const char *database,
                       const struct renewal_record *renewal, int64_t mod_revision, uint64_t now_ms);
/* Its key is gone, or says what cannot be read: whether anybody has renewed is not known. */
void core_lose_renewal(struct core *core, const char *database);

/*
 * A guard asks, since etcd does not answer it (design §7): "I hold, and know of, no revocation of
 * this epoch; any wait of mine starts again now." False: no promise, and why.
 */
struct promise_question {
    char database[NAME_SIZE];
    char node[NAME_SIZE];
    struct epoch epoch;
    char boot[BOOT_ID_SIZE];
};
bool core_promise(struct core *core, const struct promise_question *question, uint64_t now_ms,
                  char *ret_reason, size_t size);

/* What this controller sees, to be published in controllers/<id>, with the next sequence. Fills all
 * but version, api, started. */
void core_view(struct core *core, uint64_t now_ms, struct controller_record *ret_view);

/*
 * Read-only questions, for status and explain. The same code that decides (design §8).
 */
struct candidate_verdict {
    int instance;
    bool passes;
    char reason[REASON_SIZE]; /* why not, with value and limit; or what speaks for it */
};
struct choice {
    int chosen;    /* instance index, or -1 */
    bool in_place; /* it is the old primary, to be started again where it was stopped */
    uint64_t
        loss_bytes; /* estimated; 0 when sync entries prove that nothing acknowledged is lost */
    bool loss_known;
    bool loss_proven;         /* known to be 0, not by an estimate */
    char reason[REASON_SIZE]; /* why nobody, when chosen is -1 */
    int verdicts_len;
    struct candidate_verdict verdicts[INSTANCES_MAX];
};
/* after_fence: standbys must have been heard since the evidence; else: who would pass now. */
void candidate_choose(const struct core *core, int database, bool after_fence,
                      struct choice *ret_choice);
/* Instance index of the recorded primary, or -1. */
int core_primary(const struct core *core, int database);
/* As the store has it; core_primary is ahead of it while a save is on its way. */
int core_recorded_primary(const struct core *core, int database);
/* The instance that a route must lead to now; -1: closed; -2: not to be touched now. */
int core_route_target(const struct core *core, int route);
bool core_route_agrees(const struct core *core, int route, int proxy);
struct move_record *core_move(struct core *core, int database);
const struct move_record *core_move_of(const struct core *core, int database);
/*
 * One thing that was looked at, so that a refusal (and `explain`) can name each with what was found
 * and what is allowed.
 */
struct core_check {
    char name[NAME_SIZE];
    bool passes;
    bool informs;          /* only that: nothing is held back by it */
    char value[NAME_SIZE]; /* as found */
    char limit[NAME_SIZE]; /* what is allowed; "" where there is no number to it */
    int64_t age_ms;        /* of the observation; -1: it is not one, or there is none yet */
    char text[REASON_SIZE];
};
/* Standbys that stream from the recorded primary now. */
int core_redundancy(const struct core *core, int database);
/* Each entry that may be in force waits for somebody, and nothing else is in force. */
bool core_sync_enforced(const struct core *core, int database);
/* What commits wait for, in the words of synchronous_standby_names; "nobody". */
struct sync_view {
    char declared[SYNC_NAMES_SIZE]; /* for the present holder of the permit */
    char target[SYNC_NAMES_SIZE];
    int entries;       /* that may be in force; more than one: a change is not proven yet */
    bool enforced;     /* as core_sync_enforced */
    bool degraded;     /* a guarded primary waits for fewer than declared */
    int k, members;    /* declared: copies, and standbys that may have them ... */
    int confirming;    /* ... and of those now confirm WAL */
    uint64_t since_ms; /* of the entries, as far as this life knows */
};
void core_sync(const struct core *core, int database, struct sync_view *ret_view);
/* What a failover rests on (design §1), as it is now: "strict" (guards, an armed watchdog and
 * enforced sync entries), "fenced" (a guard or a device that proves it) or "best effort". */
const char *core_tier(const struct core *core, int database);
/* Instances that were just seen to take writes; more than one is an alarm (lessons A13). */
int core_primaries_seen(const struct core *core, int database);

/*
 * What would happen if the recorded primary failed now (explain.c), and what a failover by a person
 * would do (plan.c). Pure, and from the code that decides; every check is listed, not only the
 * first that fails.
 */
#define EXPLAIN_CHECKS_MAX 57
#define PLAN_STEPS_MAX     (DATABASES_MAX * 4)

struct core_time {       /* of a lap, in milliseconds */
    int64_t expected_ms; /* what it took in the group's last complete incident; -1: not known */
    int64_t bound_ms;    /* from the profile and the declared deadlines; -1: a person is needed */
};

struct explanation {
    int primary;    /* instance, or -1 */
    bool automatic; /* it would be handled without a person */
    char verdict[REASON_SIZE * 2];
    int target;                   /* instance, or -1 */
    bool loss_known, loss_proven; /* as in a choice */
    bool in_place;
    uint64_t loss_bytes, loss_limit;
    struct core_time times[LAPS];
    struct core_time total;
    char measured[ID_SIZE]; /* the incident that `expected` comes from, or "" */
    int checks_len;
    struct core_check checks[EXPLAIN_CHECKS_MAX];
};
void core_explain(const struct core *core, int database, struct explanation *ret_explanation);

struct plan_step {
    int database;
    enum lap lap;
    char text[REASON_SIZE]; /* for a person */
    struct core_time time;
};
struct plan {
    char hash[PLAN_HASH_SIZE]; /* of what would be done: primaries, epochs, targets, levels, loss */
    char refused[1024];        /* every reason; "" when it would run */
    int targets[DATABASES_MAX]; /* by database; -1: none, or not part of it */
    bool loss_known[DATABASES_MAX];
    uint64_t loss_bytes[DATABASES_MAX];
    struct core_time total;
    char measured[ID_SIZE];
    int steps_len;
    struct plan_step steps[PLAN_STEPS_MAX];
};
/* request: group, database, node and accept_loss_bytes of a failover. */
void core_plan(const struct core *core, const struct request_record *request,
               struct plan *ret_plan);
/* Laps of a failover of this database; forced: a person began it. */
void core_times(const struct core *core, int database, bool forced,
                struct core_time ret_times[LAPS], char ret_measured[ID_SIZE]);

/* ---- the table of rules ---- */

struct rule_info {
    const char *id;
    uint64_t from; /* bits of enum db_state */
    const char *on;
    const char *when;
    int to; /* enum db_state, or -1: stays */
    const char *act;
    const char *why;
};
int core_rules_len(void);
struct rule_info core_rule(int index);

#endif
