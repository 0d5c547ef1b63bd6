/*
 * sim.h - a cluster in virtual time, fast enough for millions of bad days.
 *
 * Two controllers run the object files of controller/core and three guards those of fence/guard's
 * pure part; what stands around them is modelled: etcd, the network, clocks, processes, PostgreSQL
 * with its lines of history, watchdogs, power devices, proxies, clients with a ledger of what was
 * acknowledged to them. One seed decides everything, or a list of faults that a seed has made.
 *
 * Nothing is allocated after the start. The whole world stands in `w`; a world that has been
 * adopted and is at rest is copied aside, and each schedule begins from that copy.
 *
 * Time. `w.now` is the true time in microseconds, which nobody in the world can read. Each machine
 * has a clock of its own: it goes faster or slower within the bound that the design allows, and its
 * wall clock jumps. Whoever asks for an event at a time of his own clock gets it when that shows
 * it.
 *
 * Points. Each effect that a core has asked for, each write that etcd accepts and each act of
 * PostgreSQL is a *point*; faults are attached to the n-th point of a kind, so that they strike
 * where it matters, and still do when the code around changes.
 *
 *   queue.c       the queue, random numbers, clocks, links, what messages carry, points, the trace
 *   store.c       etcd
 *   controller.c  what failoverd's driver does
 *   guard.c       what failover-guard's driver does
 *   postgres.c    instances, replication, what commits wait for
 *   traffic.c     power devices, proxies, clients
 *   faults.c      kinds of faults, the plan of a seed, lists of faults as text
 *   triples.c     which kind has struck whom at which step
 *   check.c       oracles: on the truth, never by asking who is tested
 *   rights.c      more of them: who may do what, and when
 *   live.c        what must have happened by when, once the core is healthy
 *   truth.c       what statuses and records say, against what was so when that was found
 *   world.c       the cluster, its warm copy, a schedule's phases
 *   sim.c         the command
 */
#ifndef FAILOVER_TESTS_SIM_H
#define FAILOVER_TESTS_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/core/core.h"
#include "fence/guard/guard_core.h"
#include "probes/schedule.h"

#define CTLS    2
#define NODES   3
#define PROXIES 2
#define CLIENTS 4
#define NOBODY  (-1)

/* Ends of links; controllers and guards are processes by the same numbers. */
enum {
    E_CTL = 0,
    E_NODE = CTLS,
    E_ETCD = CTLS + NODES,
    E_PROXY,
    E_CLIENT = E_PROXY + PROXIES,
    ENDS
};
#define PROCS (CTLS + NODES)

#define MS  UINT64_C(1000)
#define SEC (1000 * MS)

/* ---- events ---- */

#define EVENT_LIST(X)                                                                              \
    X(EV_CTL_START, ctl_on_start)                                                                  \
    X(EV_CTL_TICK, ctl_on_tick)                                                                    \
    X(EV_CTL_BOOTED, ctl_on_booted)                                                                \
    X(EV_CTL_SESSION, ctl_on_session)                                                              \
    X(EV_CTL_ALIVE, ctl_on_alive)                                                                  \
    X(EV_CTL_LAPSE, ctl_on_lapse)                                                                  \
    X(EV_CTL_ELECTED, ctl_on_elected)                                                              \
    X(EV_CTL_HEARTBEAT, ctl_on_heartbeat)                                                          \
    X(EV_CTL_NEWS, ctl_on_news)                                                                    \
    X(EV_CTL_WATCH, ctl_on_watch)                                                                  \
    X(EV_CTL_LOADED, ctl_on_loaded)                                                                \
    X(EV_CTL_SAVED, ctl_on_saved)                                                                  \
    X(EV_CTL_SAVE_LATE, ctl_on_save_late)                                                          \
    X(EV_CTL_PROBE_DUE, ctl_on_probe_due)                                                          \
    X(EV_CTL_PROBED, ctl_on_probed)                                                                \
    X(EV_CTL_PROBE_LATE, ctl_on_probe_late)                                                        \
    X(EV_CTL_LOST, ctl_on_lost)                                                                    \
    X(EV_CTL_FENCED, ctl_on_fenced)                                                                \
    X(EV_CTL_ROUTED, ctl_on_routed)                                                                \
    X(EV_ST_KEEPALIVE, store_on_keepalive)                                                         \
    X(EV_ST_CAMPAIGN, store_on_campaign)                                                           \
    X(EV_ST_RESIGN, store_on_resign)                                                               \
    X(EV_ST_VIEW, store_on_view)                                                                   \
    X(EV_ST_SAVE, store_on_save)                                                                   \
    X(EV_ST_READ, store_on_read)                                                                   \
    X(EV_ST_RENEW, store_on_renew)                                                                 \
    X(EV_ST_REPORT, store_on_report)                                                               \
    X(EV_ST_GREAD, store_on_guard_read)                                                            \
    X(EV_ST_LEASE, store_on_lease)                                                                 \
    X(EV_ST_UP, store_on_up)                                                                       \
    X(EV_G_START, guard_on_start)                                                                  \
    X(EV_G_TICK, guard_on_tick)                                                                    \
    X(EV_G_NEWS, guard_on_news)                                                                    \
    X(EV_G_WATCH, guard_on_watch)                                                                  \
    X(EV_G_READ, guard_on_read)                                                                    \
    X(EV_G_RENEWED, guard_on_renewed)                                                              \
    X(EV_G_RENEW_LATE, guard_on_renew_late)                                                        \
    X(EV_G_REPORTED, guard_on_reported)                                                            \
    X(EV_G_REPORT_LATE, guard_on_report_late)                                                      \
    X(EV_G_SAVED, guard_on_saved)                                                                  \
    X(EV_G_ASKED, guard_on_asked)                                                                  \
    X(EV_G_PROMISED, guard_on_promised)                                                            \
    X(EV_G_LOOK, guard_on_look)                                                                    \
    X(EV_G_SEEN, guard_on_seen)                                                                    \
    X(EV_G_LOOK_LATE, guard_on_look_late)                                                          \
    X(EV_G_ENDED, guard_on_ended)                                                                  \
    X(EV_G_CONTROL, guard_on_control)                                                              \
    X(EV_G_LADDER, guard_on_ladder)                                                                \
    X(EV_G_JOB, guard_on_job)                                                                      \
    X(EV_G_FOLLOW, guard_on_follow)                                                                \
    X(EV_G_SYNC, guard_on_sync)                                                                    \
    X(EV_G_COMMITTED, guard_on_committed)                                                          \
    X(EV_G_PROMOTED, guard_on_promoted)                                                            \
    X(EV_PG_UP, pg_on_up)                                                                          \
    X(EV_PG_ENDS, pg_on_ends)                                                                      \
    X(EV_PG_RELOAD, pg_on_reload)                                                                  \
    X(EV_PG_WALSENDER, pg_on_walsender)                                                            \
    X(EV_PG_CONNECT, pg_on_connect)                                                                \
    X(EV_PG_STREAM, pg_on_stream)                                                                  \
    X(EV_PG_WAL, pg_on_wal)                                                                        \
    X(EV_PG_FLUSHED, pg_on_flushed)                                                                \
    X(EV_PG_PROMOTE, pg_on_promote)                                                                \
    X(EV_PG_PROBE, pg_on_probe)                                                                    \
    X(EV_PG_WRITE, pg_on_write)                                                                    \
    X(EV_NODE_OFF, node_on_off)                                                                    \
    X(EV_NODE_ON, node_on_on)                                                                      \
    X(EV_NODE_WATCHDOG, node_on_watchdog)                                                          \
    X(EV_PROXY_SET, proxy_on_set)                                                                  \
    X(EV_PROXY_WRITE, proxy_on_write)                                                              \
    X(EV_CLIENT_WRITE, client_on_write)                                                            \
    X(EV_CLIENT_ACK, client_on_ack)                                                                \
    X(EV_CLIENT_LATE, client_on_late)                                                              \
    X(EV_FAULT, fault_on_due)                                                                      \
    X(EV_FAULT_ENDS, fault_on_ends)

struct ev {
    uint64_t at;
    uint32_t seq;
    uint16_t kind;
    int16_t proc; /* NOBODY: none; else of that process, in the life below, and not while paused */
    int8_t from, to; /* a message of that link; NOBODY: none */
    int8_t tries;
    uint32_t life;
    int32_t a, b;
    uint64_t n, m;
    int32_t load; /* what it carries; 0: nothing */
};
typedef void (*ev_fn)(const struct ev *ev);

enum ev_kind {
#define X(id, fn) id,
    EVENT_LIST(X)
#undef X
        EV_KINDS
};
#define X(id, fn) void fn(const struct ev *ev);
EVENT_LIST(X)
#undef X

/* ---- points ---- */

#define POINT_LIST(X)                                                                              \
    X(POINT_SAVE, "save")         /* a controller sends a save */                                  \
    X(POINT_SAVED, "saved")       /* etcd accepts it */                                            \
    X(POINT_ANSWERED, "answered") /* its answer is taken */                                        \
    X(POINT_LEADING, "leading")                                                                    \
    X(POINT_LOADED, "loaded")                                                                      \
    X(POINT_FENCE, "fence")                                                                        \
    X(POINT_ROUTES, "routes")                                                                      \
    X(POINT_CANCEL, "cancel")                                                                      \
    X(POINT_RENEW, "renew")     /* a guard sends a renewal */                                      \
    X(POINT_RENEWED, "renewed") /* etcd accepts it */                                              \
    X(POINT_ASK, "ask")         /* a guard asks for promises */                                    \
    X(POINT_PROMISE, "promise") /* a controller promises */                                        \
    X(POINT_STORE, "store")     /* a guard begins to store its state */                            \
    X(POINT_STORED, "stored")                                                                      \
    X(POINT_KEEP, "keep")                                                                          \
    X(POINT_START, "start")                                                                        \
    X(POINT_PROMOTE, "promote")                                                                    \
    X(POINT_PROMOTED, "promoted") /* PostgreSQL is a primary */                                    \
    X(POINT_STOP, "stop")                                                                          \
    X(POINT_GONE, "gone") /* nothing of it is left */                                              \
    X(POINT_REST, "rest")                                                                          \
    X(POINT_FOLLOW, "follow")                                                                      \
    X(POINT_ENFORCE, "enforce")                                                                    \
    X(POINT_REPORT, "report")                                                                      \
    X(POINT_REPORTED, "reported")                                                                  \
    X(POINT_ROUTED, "routed") /* a proxy has changed */

enum point {
#define X(id, name) id,
    POINT_LIST(X)
#undef X
        POINTS
};
extern const char *const point_names[];

/* ---- machines ---- */

struct clock {
    int32_t ppm; /* how much faster than the true time */
    uint64_t true_us, local_us;
    int64_t wall_ms; /* what the wall clock is off */
};

struct proc {
    bool up;
    uint32_t life;
    uint64_t paused_until; /* true time */
};

struct node {
    bool on;
    uint32_t boots;
    bool armed; /* the watchdog */
    uint32_t period_ms;
    uint64_t fed;                         /* true time */
    uint32_t arming;                      /* the latest timer */
    uint64_t dog_lost_until, dog_lost_at; /* its device fails */
    int agent;                            /* enum agent */
    uint64_t slow_disk_until;
    bool no_dog; /* its device cannot be opened */
};
enum agent { AGENT_WORKS, AGENT_REFUSES, AGENT_HANGS, AGENT_DOUBTS, AGENT_LIES };

/* What commits wait for, in numbers: `order` holds instances; one that nobody bears is NODES. */
struct names {
    bool said; /* else synchronous_standby_names is empty */
    bool first;
    int8_t k, len;
    int8_t order[INSTANCES_MAX];
};

enum waiter_kind { WAIT_PROBE, WAIT_TRY, WAIT_LOOK, WAIT_PROOF, WAIT_CLIENT, WAIT_NOBODY };
struct waiter { /* a commit that waits */
    uint64_t lsn;
    enum waiter_kind kind;
    int who;
    uint32_t life; /* of the one who waits */
    uint64_t n, m;
    int load;
};
#define WAITERS_MAX 64

struct walsender {
    bool there, stuck; /* stuck: it stands still */
    bool told;         /* of a new setting, and has not read it yet */
    uint32_t conn;
    struct names by; /* it goes by these */
    uint64_t flush;
};

enum pg_state { PG_DOWN, PG_STARTING, PG_UP, PG_STOPPING };
struct pg {
    enum pg_state state;
    uint32_t life;
    uint64_t started;    /* true time: its life, for probes */
    uint64_t hung_until; /* SIGSTOP */
    bool stuck;          /* a process that no signal ends is left, or would be */
    bool left;           /* ... is left, though the postmaster has gone */
    bool as_primary;     /* it was started so */
    bool primary;
    /* on disk */
    bool signal; /* standby.signal */
    uint32_t line;
    uint64_t lsn; /* written and flushed */
    uint32_t tli;
    enum guard_control control;
    uint64_t checkpoint;
    int file_upstream;
    struct names file_names;
    /* in memory */
    int upstream;
    struct names shown; /* to a new session */
    bool waits;         /* backends wait: the checkpointer knows that somebody is named */
    uint64_t released;  /* up to there nobody waits */
    struct walsender senders[NODES];
    struct waiter waiters[WAITERS_MAX];
    int waiters_len;
    /* a standby */
    int from; /* streams from; NOBODY */
    uint32_t conn;
    uint64_t heard; /* true time: of the latest from upstream */
    uint64_t wal_moved;
    uint64_t lag_until;    /* it receives and does not write until then */
    uint64_t replay_until; /* paused */
    uint64_t replayed;
    bool promoting;
};

#define LINES_MAX 64
struct line { /* of history */
    uint32_t parent;
    uint64_t fork;
    uint32_t tli;
    bool by_hand;      /* a person has begun it */
    uint64_t released; /* the highest that no backend waits for any more */
    uint64_t acked;    /* the highest that a client was told is committed ... */
    uint64_t waited;   /* ... after standbys had confirmed it: what is below is as safe */
};

/* ---- etcd ---- */

struct kv {
    int64_t create, mod; /* create 0: absent */
};
#define INCIDENTS_KEPT 8
#define REQUESTS_KEPT  16
#define PERMITS_KEPT   8
#define ROLES_KEPT     8
struct roles_load { /* of a group, for one node */
    struct guard_declared declared[NODES];
    bool has[NODES];
};
struct store {
    int64_t revision;
    bool down;
    struct kv leader;
    int leader_of;
    uint32_t leader_life;
    uint64_t leader_until;      /* true time: of the lease that it stands on */
    uint64_t lease_until[CTLS]; /* 0: none */
    uint32_t lease_life[CTLS];
    int64_t term_highest;
    int lose_answer[PROCS]; /* answers to lose from now on */
    bool full;
    struct kv permit_kv, renewal_kv, group_kv, guard_kv[NODES], view_kv[CTLS];
    struct permit_record permit;
    struct renewal_record renewal;
    struct guard_record guards[NODES];
    struct controller_record views[CTLS];
    struct group_record group;
    struct {
        struct kv kv;
        struct incident_record value;
    } incidents[INCIDENTS_KEPT];
    struct {
        struct kv kv;
        struct request_record value;
    } requests[REQUESTS_KEPT];
    struct epoch epoch_highest;
    bool epoch_revoked;
    bool held[NODES]; /* has had the permit, and is not proven off since */
    int64_t revoked_at[NODES];
    struct accepted { /* a node's latest renewal */
        int64_t permit_revision;
        struct epoch epoch;
        char boot[BOOT_ID_SIZE];
        bool armed;
    } accepted[NODES];
    int permits_len, roles_len; /* what was written, oldest first */
    struct {
        struct permit_record value;
        int64_t mod;
    } permits[PERMITS_KEPT];
    struct {
        struct roles_load value;
        int64_t mod;
    } roles[ROLES_KEPT];
};

/* ---- controllers ---- */

struct target {
    struct probe_schedule schedule;
    uint64_t armed;
    uint32_t probe; /* the latest */
    bool running;
    uint64_t asked_ms;
    enum role expected;
    uint64_t expected_system;
};

#define CANCELLED_MAX 16
struct ctl {
    struct core core;
    bool booted, watching, reloading, lost;
    int64_t term;
    uint64_t act_until_ms, passive_until_ms, pumped_ms, tick_ms;
    uint32_t ticket_sent;
    struct target targets[NODES];
    uint32_t tries; /* EFFECT_TRY_WRITE */
    uint32_t cancelled_below, cancelled[CANCELLED_MAX];
    int cancelled_len;
    uint64_t watch_at; /* of its stream: in order */
    int64_t defined_revision;
    uint64_t called;  /* people */
    uint64_t saw_lsn; /* this life of it, of the primary that holds the permit */
};

/* ---- guards ---- */

enum sync_step {
    SYNC_IDLE,
    SYNC_CLOSING,
    SYNC_EMPTYING,
    SYNC_RESTING,
    SYNC_WRITING,
    SYNC_SHOWING,
    SYNC_BARRIER,
    SYNC_COMMITTING,
    SYNC_PROVING
};
enum sync_for { SYNC_FOR_PROOF, SYNC_FOR_STANDBY, SYNC_FOR_PROMOTION };

struct conf { /* the included file */
    int upstream;
    struct names names;
    bool says_names;
};

struct sguard {
    struct guard_core core;
    struct guard_durable disk;
    struct guard_boot_state kept; /* of this boot */
    bool adopted_kept;
    struct epoch told_epoch, lapsed; /* the highest that it was told; whose time it let end */
    int64_t told_revision, obeyed;
    bool told_granted;
    char boot[BOOT_ID_SIZE];
    bool watching, defined;
    uint64_t watch_at;
    uint64_t tick_ms;
    bool knows[CTLS]; /* a controller's address */
    /* storing */
    bool saving;
    uint64_t saving_version, save_wanted;
    struct guard_durable saving_value;
    /* renewals and reports */
    uint32_t renewal;
    bool renewal_out, renewal_repeated, renewal_armed;
    int64_t renewal_revision, heartbeat;
    uint64_t renewals, renewed_ms;
    uint32_t report;
    bool report_out, report_again;
    int64_t report_kv;
    uint64_t reported_ms, reports;
    struct guard_record reported;
    /* the watchdog */
    bool dog; /* this life of the guard holds it open */
    bool told_armed;
    uint64_t arm_again_ms;
    /* the instance */
    struct guard_seen seen;
    struct instance_fact fact;
    uint64_t wrote_ms;
    uint32_t pg_life; /* of the process it watches; 0: none */
    uint32_t look, probe;
    bool probing;
    uint64_t look_ms, look_at_ms, probe_asked_ms;
    uint32_t control; /* the latest reading of the control file */
    int control_then; /* 0: none is read; 1: then SEEN; 2: then GONE */
    bool stopping, proving, quit;
    uint64_t quit_at_ms, kill_at_ms, killed_ms;
    uint32_t ladder;
    /* files */
    bool job, rest_wanted, conf_wanted, start_wanted, start_primary, follow_wanted;
    bool job_rest, job_sync, waits, written;
    struct conf conf, job_conf;
    bool following, checking, follow_out;
    uint32_t follow;
    uint64_t follow_by_ms;
    int cut_looks;
    /* what commits wait for */
    enum sync_step sync_step;
    enum sync_for sync_for;
    uint32_t sync, sync_round;
    uint64_t sync_by_ms, sync_lsn, sync_commit;
    struct guard_sync sync_order;
    bool sync_barrier, sync_proof, sync_ours, sync_restoring, sync_file_wanted;
    struct names sync_names, sync_file, sync_before, proven;
    bool proven_known;
    uint64_t act_by_ms, proven_ms;
    uint32_t order; /* of a promotion */
    struct guard_permit promote_permit;
};

/* ---- traffic ---- */

struct proxy {
    bool silent;
    int open; /* instance; -1: none */
};

struct client {
    bool direct; /* knows addresses, and keeps to the one that answered */
    int on;      /* the instance its session leads to; NOBODY */
    uint32_t pg_life;
    int proxy;
    uint32_t write; /* the latest */
    bool waiting;
};

/* ---- faults ---- */

#define FAULT_LIST(X)                                                                              \
    X(FAULT_PG_CRASH, "pg-crash") /* a: instance */                                                \
    X(FAULT_PG_HANG, "pg-hang")                                                                    \
    X(FAULT_PG_STUCK, "pg-stuck")       /* SIGKILL does not end it */                              \
    X(FAULT_PG_SHUTDOWN, "pg-shutdown") /* by a person */                                          \
    X(FAULT_PG_PROMOTE, "pg-promote")   /* by a person */                                          \
    X(FAULT_PG_START, "pg-start")       /* by a person */                                          \
    X(FAULT_NODE_OFF, "node-off")                                                                  \
    X(FAULT_NODE_RESET, "node-reset") /* off and on */                                             \
    X(FAULT_GUARD_CRASH, "guard-crash")                                                            \
    X(FAULT_GUARD_PAUSE, "guard-pause")                                                            \
    X(FAULT_CTL_CRASH, "ctl-crash")                                                                \
    X(FAULT_CTL_PAUSE, "ctl-pause")                                                                \
    X(FAULT_LEADER_CRASH, "leader-crash")                                                          \
    X(FAULT_LEADER_PAUSE, "leader-pause")                                                          \
    X(FAULT_CUT, "cut")     /* a to b, one way */                                                  \
    X(FAULT_PART, "part")   /* a from all, both ways */                                            \
    X(FAULT_SPLIT, "split") /* a: bits of ends on one side */                                      \
    X(FAULT_SLOW, "slow")   /* a: end; its messages take longer */                                 \
    X(FAULT_STORE_DOWN, "store-down")                                                              \
    X(FAULT_STORE_LOSES, "store-loses")     /* a: process; the next answers */                     \
    X(FAULT_LEASE_EARLY, "lease-early")     /* a: controller */                                    \
    X(FAULT_STORE_RESTART, "store-restart") /* a new etcd leader: leases begin anew */             \
    X(FAULT_AGENT, "agent")                 /* a: node, b: enum agent */                           \
    X(FAULT_PROXY_FORGETS, "proxy-forgets")                                                        \
    X(FAULT_PROXY_SILENT, "proxy-silent")                                                          \
    X(FAULT_LAG, "lag") /* a standby writes nothing */                                             \
    X(FAULT_REPLAY, "replay-paused")                                                               \
    X(FAULT_SLOW_DISK, "slow-disk")       /* of a guard's state */                                 \
    X(FAULT_WALSENDER, "walsender-stuck") /* a: primary's for b */                                 \
    X(FAULT_WALL, "wall-jump")            /* a: machine, b: seconds */                             \
    X(FAULT_WATCH, "watch-stalls")        /* a: process */                                         \
    X(FAULT_REQUEST, "request")           /* a: kind, b: node */                                   \
    /* Directed lists only: no seed draws these, so what a seed means stays. */                    \
    X(FAULT_BUSY, "pg-busy")            /* too many connections: it lets nobody else in */         \
    X(FAULT_NAMES, "names-by-hand")     /* somebody takes away what commits wait for */            \
    X(FAULT_DOG, "no-watchdog")         /* its device cannot be opened any more */                 \
    X(FAULT_BURST, "burst")             /* a primary writes b megabytes */                         \
    X(FAULT_STALE, "stale")             /* a: node; its member tells the permit of b writes ago */ \
    X(FAULT_STALE_ROLES, "stale-roles") /* ... and the roles */                                    \
    X(FAULT_DOG_LOST, "dog-lost")       /* a: node; its watchdog's device fails */

enum fault_kind {
#define X(id, name) id,
    FAULT_LIST(X)
#undef X
        FAULTS
};
extern const char *const fault_names[];
#define FAULTS_DRAWN (FAULT_REQUEST + 1)

#define FAULTS_MAX 24
struct fault {
    enum fault_kind kind;
    int point;   /* -1: at a time */
    int nth;     /* of those points, from the first on */
    uint64_t at; /* since the faults began, or since that point */
    int a, b;
    uint64_t dur; /* 0: it has no end, or the kind knows none */
    bool done;
};

struct schedule {
    int variant;
    int64_t seed;
    int32_t ppm[PROCS];
    uint64_t faults_us; /* the phase's length */
    int core;           /* the controller of the core that is healed */
    unsigned loss_percent;
    int len;
    struct fault faults[FAULTS_MAX];
};

/* ---- since the core is healthy ---- */

struct live {
    uint64_t since; /* 0: it is not */
    uint64_t lead_by, resume_by;
    bool etcd_was_down; /* and nothing else kept its leader from acting */
    bool led, resumed;
};

/* ---- the past ---- */

#define PAST_MAX 64
struct past { /* what was so of a thing, by its latest changes */
    uint32_t len;
    struct past_change {
        uint64_t since;
        int is;
    } changes[PAST_MAX];
};

#define SAID_MAX 16
struct said { /* by a record, at that revision of etcd */
    int64_t revision;
    int node;
    bool granted;
    uint64_t epoch;
};

/* ---- the world ---- */

#define QUEUE_MAX 8192
#define LOADS_0   512 /* 256 bytes each */
#define LOADS_1   512 /* 2.3 kB */
#define LOADS_2   128 /* 7.4 kB */
#define LOADS_3   24  /* 100 kB */

enum phase { PHASE_WARM, PHASE_FAULTS, PHASE_CORE, PHASE_ALL };

/* What the oracles of rights.c know of a controller; true time. */
struct rights {
    uint64_t well_since;  /* it has seen a primary that takes writes, since then */
    uint64_t reached;     /* some node */
    uint64_t hears_since; /* the primary's guard tells it of writes, since then */
    uint64_t stood_since, went_on;
    uint64_t moves_since; /* a standby that it reaches receives, since then */
    uint64_t started;
    uint64_t told;  /* etcd had its view */
    bool dismissed; /* it knows that it does not lead */
};
#define MOVED_MAX 16

struct world {
    uint64_t now;
    uint32_t seq;
    uint64_t events;
    uint64_t hash;
    uint64_t rng[4];
    enum phase sim_phase;
    uint64_t phase_since;
    int variant;
    bool async;
    struct clock clocks[PROCS];
    struct proc procs[PROCS];
    struct node nodes[NODES];
    struct pg pgs[NODES];
    struct line lines[LINES_MAX];
    int lines_len;
    uint32_t conns;
    int8_t cut[ENDS][ENDS]; /* how many faults cut it */
    uint64_t slow_until[ENDS];
    uint64_t stall_until[PROCS]; /* of its watch */
    struct proxy proxies[PROXIES];
    struct client clients[CLIENTS];
    uint32_t writes;
    uint32_t acked_all;
    uint64_t last_ack, last_routed_ack; /* true time */
    uint32_t recorded_line;             /* of the recorded primary */
    int promotions;
    uint64_t promoted_epoch; /* the latest under which a guard did it */
    unsigned loss_percent;
    bool loss_accepted, by_hand, lease_early, wall_jumped, faults_over;
    bool paused_by_person;
    int requests;
    uint64_t point_count[POINTS];
    uint64_t points_all;
    uint64_t struck;     /* bits of kinds */
    uint64_t calm_since; /* nothing has begun, ended or been healed since */
    uint64_t revoked_since, look_again;
    struct live live;
    /* truth.c */
    struct past past[NODES], past_open[PROXIES], past_leader;
    struct said said_primary[SAID_MAX], said_permit[SAID_MAX];
    uint32_t said_primary_len, said_permit_len;
    uint64_t wrote[CTLS][NODES]; /* when a controller's write was acknowledged last */
    uint64_t reported[NODES];    /* when a guard's report was accepted last */
    uint64_t watched[CTLS];      /* since when a controller's watch has told it everything */
    unsigned to_ask;             /* controllers whose status is read after this event, as bits */
    int victim;                  /* that the healed core goes on without; NOBODY */
    uint64_t back_us;            /* how long the healed core took */
    /* rights.c */
    struct rights rights[CTLS];
    bool told_paused;             /* a person */
    uint64_t moved_at[MOVED_MAX]; /* automatic failovers that were completed */
    int moved_len;
    char last_forced[ID_SIZE];
    uint64_t proxy_away[PROXIES];   /* it was last silent, or cut off from a controller */
    bool told_skip;                 /* a person: that a step is skipped */
    bool proxies_by_hand;           /* somebody has set one */
    bool own_history[NODES];        /* it has begun one, and none is recorded */
    uint32_t promote_orders[NODES]; /* the life that has one to carry out; 0: none */
    uint64_t busy_since[NODES], busy_until[NODES];
    uint64_t names_by_hand[NODES]; /* since when */
    char ending[96];               /* how the schedule ended, in words */
    char broken[512];
    int queue_len;
    int used[4];
};

/* What a copy restores, besides the queue and the loads in use. */
extern struct world w;
extern struct store st;
extern struct ctl ctls[CTLS];
extern struct sguard guards[NODES];
extern struct ev queue[QUEUE_MAX];
extern struct schedule plan;
extern struct definition def;
extern bool tracing;

enum rng_of { RNG_NET, RNG_PLAN, RNG_WORK, RNG_MODEL };

/* queue.c */
void queue_reset(uint64_t seed);
void push(const struct ev *ev);
/* What waits for that moment, since its process stands still until then, is due now. */
void queue_hurry(uint64_t until);
bool run_one(uint64_t until); /* false: nothing is due until then, or the world is broken */
/* In that time of the true clock, or at a time of a process's own clock; of its present life. */
void after(int proc, enum ev_kind kind, uint64_t us, const struct ev *ev);
void at_local(int proc, enum ev_kind kind, uint64_t local_ms, const struct ev *ev);
/* A message; to a process (of the life that it has when it arrives) or to a thing. */
void post(int from, int to, enum ev_kind kind, uint64_t us, const struct ev *ev);
uint64_t rnd(enum rng_of of);
uint64_t rnd_in(enum rng_of of, uint64_t from, uint64_t to); /* to is not reached */
bool chance(enum rng_of of, unsigned percent);
uint64_t local_ms(int proc);
int64_t wall_ms(int proc);
void clock_rate(int proc, int32_t ppm);
bool linked(int a, int b); /* that way */
bool linked_both(int a, int b);
void link_cut(int a, int b, int by);
int load_new(size_t size);
void *load_at(int load);
void load_keep(int load);
void load_drop(int load);
void point(enum point of, int proc);
bool is_paused(int proc);
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
void trace_hash(uint64_t value);
void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
void world_save_copy(int variant);
void world_load_copy(int variant);

/* store.c */
void store_save(int c, const struct effect *effect);
void store_ask(enum request_kind kind, int node, const char *why);
void store_tells_old(int node, bool roles, int back); /* a member that lags */
void store_leader_gone(void);
void store_notify_all(int proc); /* a watch is resumed */
void store_down(bool down);
void store_leases_anew(void);
bool store_has_leader(int c);
const struct move_record *store_move(void);

/* What messages to and from etcd carry. */
struct renew_load {
    struct renewal_record record;
    int64_t permit_revision, heartbeat;
    uint32_t id;
    uint64_t sent_ms;
};
struct report_load {
    struct guard_record record;
    int64_t kv;
    uint32_t id;
};
struct guard_reply { /* to either */
    uint32_t id;
    bool accepted;
    int64_t revision, own, permit_revision; /* permit_revision 0: there is none */
    uint64_t sent_ms;
    struct permit_record permit;
};

/* What a watch tells: a of EV_CTL_NEWS and EV_G_NEWS, b which, n its mod revision, m etcd's. The
 * big records, a group's and an incident's, are taken as they stand when the news arrives. */
enum watched {
    WATCH_PERMIT,
    WATCH_GROUP,
    WATCH_INCIDENT,
    WATCH_REQUEST,
    WATCH_VIEW,
    WATCH_GUARD,
    WATCH_RENEWAL,
    WATCH_LEADER,
    WATCH_API /* a controller's address */
};
void guard_roles(const struct group_record *group, int64_t revision, struct roles_load *ret);

/* controller.c */
void ctl_start(int c);
void ctl_crash(int c);
bool ctl_may_act(int c);
int ctl_leading(void);
void ctl_resign(int c);
/* With the present time. False: it has ended meanwhile. */
bool ctl_pump(int c, struct core_event *event);
void ctl_news_of(int node); /* a held connection to its instance ended */

/* guard.c */
void guard_start(int node);
void guard_crash(int node);
void guard_dog_lost(int node, uint64_t us);
bool guard_of_this_boot(int node, char ret_boot[BOOT_ID_SIZE]);

/* postgres.c */
void pg_start(int i, bool primary);
void pg_signal_int(int i);
void pg_signal_quit(int i);
void pg_signal_kill(int i);
void pg_set_file(int i, const struct conf *conf);
void pg_reload(int i);
bool pg_runs(int i); /* some process of it exists */
bool pg_works(int i);
bool pg_can_ack(int i); /* on the truth: a commit begun now could be acknowledged */
uint64_t pg_append(int i, uint64_t bytes);
/* Waits as commits do; false: there is no room. */
bool pg_wait(int i, const struct waiter *waiter);
/* Who waits has gone: what he waited for stays, and nobody is told. */
void pg_give_up(int i, enum waiter_kind kind, int who, uint64_t id);
void pg_fill_fact(int i, struct instance_fact *fact);
int64_t pg_life(int i);
bool pg_has(int i, uint32_t line, uint64_t lsn);
bool line_descends(uint32_t line, uint32_t from);
bool line_has(uint32_t line, uint32_t of, uint64_t lsn);
int pg_sync_rows(int i, struct guard_sync_row *rows);
void names_of_entry(const struct sync_entry_record *entry, struct names *ret);
int names_place(const struct names *names, int who); /* sync_priority; 0: none */
bool names_same(const struct names *a, const struct names *b);
extern const struct names names_nobody;
const char *node_name(int node);

/* traffic.c */
void node_power(int node, bool on);
void ctl_fence(int c, const struct effect *effect);
void ctl_routes(int c, const struct effect *effect);
void proxy_set_by_hand(int p, int open);
void traffic_start(void);

/* faults.c */
void plan_of_seed(uint64_t seed);
void faults_start(void);
void faults_point(enum point of, int proc);
void faults_heal_core(void);
void faults_heal_all(void);
void plan_print(const struct schedule *of, char *ret_text, size_t size);
bool plan_read(const char *text, struct schedule *ret);
/* The points of the phase that has just been run, in their order. */
#define POINTS_SEEN_MAX 4096
struct point_seen {
    int point, nth;
    int step;    /* of the workflow (triples_step) */
    uint64_t at; /* since the faults began */
};
extern struct point_seen points_seen[POINTS_SEEN_MAX];
extern int points_seen_len;

/* triples.c */
#define STEPS (MOVE_PHASES + 1)
int triples_step(void); /* 0: nothing moves */
const char *triples_step_name(int step);
int triples_targets(enum fault_kind kind);
/* Before it strikes; a and b: nodes, processes or ends, as its kind has them. */
void triples_count(enum fault_kind kind, int a, int b);
void triples_print(void);

/* check.c */
void check_event(void);
/* Nothing has happened for so long that what is well must have done its part. */
void check_converged(void);
void check_watchdog(int node);
void check_release(int i, uint64_t lsn);
void check_ack(uint32_t line, uint64_t lsn, bool waited);
void check_promoted(int i, uint32_t old_line, bool by_hand);
void check_grant(int i);
/* It is about to start as a primary, or to promote itself; to renew; it has taken something in. */
void check_begins(int n, bool promotes);
void check_renewal(int n, bool armed);
void check_tokens(int n);
void check_next_life(int n);
void check_fence(int c, const struct effect *effect);
void check_wishes(int c, const struct effect *effect);
void check_permit_write(const struct permit_record *value);
void check_group_write(const struct group_record *before, const struct group_record *after);
void check_report(int node, const struct guard_record *said);
void check_proxy(int proxy, int before);

/* live.c */
void live_begin(void); /* right before the core is healed */
void live_event(void);

/* rights.c */
void rights_event(void);
void rights_group(const struct group_record *before, const struct group_record *after);
void rights_answer(const struct request_record *said);
void rights_granted(int i);
void rights_follows(int i, bool starts, const char *upstream);
void rights_starts_primary(int i);
void rights_stops(int i);
void rights_ordered(int i);
void rights_order_taken(int i);
void rights_effect(int c, const struct effect *effect);
void rights_report(int node, const struct guard_record *said);
void rights_renewal(int node, const struct renewal_record *said);
/* truth.c */
extern bool claims_always; /* each schedule's statuses are read, not those of a share */
void truth_ask(int c);     /* its status is to be read when this event is over */
void truth_event(void);
void truth_remember(void);
void truth_group_write(const struct group_record *before, const struct group_record *now);
void truth_permit_write(const struct permit_record *value);

/* rule_off.c, in the program of the mutants */
void rule_off_set(const char *id);
extern bool rule_off_counted; /* it would have counted, and was left out */

/* world.c */
#define VARIANTS 6
extern const char *const variant_names[];
void world_warm_all(void);
bool world_run(void); /* the plan; false: an oracle was broken */

#endif
