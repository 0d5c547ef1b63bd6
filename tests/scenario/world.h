/*
 * world.h - a whole cluster in virtual time, around real cores.
 *
 * Two controllers run the object files of production: controller/core, and probes/schedule for when
 * to look. Everything else is a small model of what it does to them: etcd as one line of compared
 * writes, leases, PostgreSQL with its lines of history, power devices, proxies, services, people.
 * Time passes only from event to event, so that a scenario gives the same transcript each time.
 *
 * The truth is kept beside what the controllers believe. check.c holds every event against it: what
 * a scenario's author did not think of fails as loudly as what he did.
 *
 *   world.c     the queue of events, the transcript, what breaks between machines
 *   driver.c    what failoverd's own driver does: the pump, effects out, outcomes in, probes
 *   store.c     etcd: records, leases, the watch
 *   postgres.c  instances, replication, acknowledged commits
 *   acts.c      power devices, promotions, proxies
 *   guards.c    failover-guards
 *   check.c     safety, on the truth
 *   cluster.c   a compact line to a definition
 *   script.c    commands and expectations
 */
#ifndef FAILOVER_TESTS_SCENARIO_WORLD_H
#define FAILOVER_TESTS_SCENARIO_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/core/core.h"
#include "probes/schedule.h"

#define CONTROLLERS_MAX  3
#define STORE_INCIDENTS  32
#define STORE_REQUESTS   32
#define TRIGGERS_MAX     16
#define LINE_SIZE        1024
#define DELAY_STORE_MS   2 /* one way */
#define DELAY_PROBE_MS   3
#define DELAY_PROMOTE_MS 40
#define DELAY_PROXY_MS   4
#define START_MS         UINT64_C(1000000)      /* so that no time is near 0 by accident */
#define START_WALL_MS    INT64_C(1767225600000) /* 2026-01-01 00:00:00 UTC */
#define WARM_UP_MS       12000

struct world;

/* ---- the queue ---- */

struct args { /* of an event: what its function wants of it */
    int controller;
    uint32_t life; /* of that controller when it was made */
    int a, b, c;
    uint64_t n, m;
    void *memory; /* freed with the event */
};
typedef void (*event_fn)(struct world *world, const struct args *args);

struct queued {
    uint64_t at_ms;
    uint64_t order;
    event_fn run;
    struct args args;
};

/* ---- etcd ---- */

struct stored {              /* one key's life */
    int64_t create_revision; /* 0: absent */
    int64_t mod_revision;
};

struct stored_permit {
    struct stored key;
    struct permit_record value;
    struct epoch highest; /* ever written, for S5 */
    bool highest_revoked;
    bool held[INSTANCES_MAX];          /* had it, and is not proven off since */
    int64_t revoked_at[INSTANCES_MAX]; /* revision of the latest write that revoked it there */
};
struct stored_group {
    struct stored key;
    struct group_record value;
};
struct stored_incident {
    struct stored key;
    struct incident_record value;
};
struct stored_request {
    struct stored key;
    struct request_record value;
};
struct stored_view {
    struct stored key;
    struct controller_record value;
};
struct stored_guard {
    struct stored key;
    struct guard_record value;
};
struct stored_renewal {
    struct stored key;
    struct renewal_record value;
};

enum next_answer { ANSWER_GIVEN, ANSWER_LOST, ANSWER_REFUSED };

struct store {
    int64_t revision;
    bool down;
    enum next_answer next_answer; /* of the next save */
    uint64_t next_delay_ms;       /* and how late it arrives */
    struct stored leader;
    int leader_id;        /* controller index */
    uint32_t leader_life; /* of that process */
    uint64_t leader_until_ms;
    int64_t highest_term;
    uint64_t lease_until_ms[CONTROLLERS_MAX]; /* 0: no lease */
    struct definition *def;
    int64_t def_revision;
    struct stored_permit permits[DATABASES_MAX];
    struct stored_group groups[GROUPS_MAX];
    struct stored_incident incidents[STORE_INCIDENTS];
    struct stored_request requests[STORE_REQUESTS];
    struct stored_view views[CONTROLLERS_MAX];
    struct stored_guard guards[DATABASES_MAX][INSTANCES_MAX];
    struct stored_renewal renewals[DATABASES_MAX];
};

/* ---- machines ---- */

enum agent { AGENT_WORKS, AGENT_REFUSES, AGENT_HANGS, AGENT_LIES, AGENT_SILENT };

enum guard_mode_of { GUARD_MODE_SPEAKS, GUARD_MODE_SILENT, GUARD_MODE_STUCK, GUARD_MODE_UNSURE };

struct guard { /* of one instance */
    enum guard_mode_of mode;
    bool guarding;
    uint64_t deadline_ms; /* until then its instance may be a primary; 0: it may not */
    uint64_t crashed_ms;  /* when PostgreSQL ended by itself; 0: it did not */
    uint64_t reported_ms;
    struct epoch epoch;        /* the latest that it renewed under */
    struct permit_record held; /* as it stood then */
    int64_t stopped_for, cut_for;
    uint32_t wrote_line; /* of history, on which a write of its own was acknowledged */
    int64_t sync_permit; /* the permit whose target it is changing PostgreSQL to, or has */
    uint64_t sync_lsn;   /* of the commit that proves it; 0: not made yet */
    int64_t sync_for;    /* proven, in that life of PostgreSQL: */
    uint32_t sync_life;
};

struct machine {
    bool on;
    uint32_t boots;
    uint64_t powered_off_at_ms;
    int offs; /* `off` that took effect */
    enum agent agents[LEVELS_MAX];
    uint64_t agent_after_ms[LEVELS_MAX];
    int asked[LEVELS_MAX];
};

enum promotion_mode {
    PROMOTION_WORKS,
    PROMOTION_LOSES_ANSWER, /* it takes effect, the answer is lost */
    PROMOTION_LOSES_REQUEST,
    PROMOTION_REFUSES,
    PROMOTION_SKIPS,  /* yields another timeline than expected */
    PROMOTION_SILENT, /* the driver owes an outcome for ever */
    PROMOTION_SLOW    /* 5 s */
};

struct postgres { /* one instance */
    bool running;
    bool hung;
    enum cause cause; /* forced on probes of it; CAUSE_OK: none */
    enum role role;
    uint32_t timeline;
    uint32_t line; /* of history: unique, unlike timelines */
    uint64_t lsn;  /* written, or received */
    uint64_t system_id;
    /* What its backends may go by; the last is what synchronous_standby_names shows. Empty, or k =
     * 0: a commit waits for nobody. */
    struct sync_entry_record in_force[SYNC_ENTRIES_MAX + 1];
    int in_force_len;
    uint64_t lag_bytes; /* a standby stays so far behind */
    bool unlinked;      /* does not receive from the primary */
    bool muted;         /* and the primary does not know: its walsender still streams */
    uint32_t life;
    enum promotion_mode promotion;
    int promotions; /* that took effect */
};

struct db_truth {
    uint32_t newest_line;
    uint32_t recorded_line; /* of the recorded primary: what a successor must descend from */
    uint64_t acked_lsn;
    bool unwaited; /* some of it was acknowledged without waiting: S4 binds its loss, not S3 */
    uint64_t rate_bytes_per_s;
    uint64_t settled_ms;
    bool split_by_hand; /* a person made a second primary: S1 is given up for this database */
    bool loss_accepted; /* by a person, so S3 is given up for this database */
    int promoted;       /* the instance that was last made a primary */
};

enum proxy_mode { PROXY_ANSWERS, PROXY_SILENT };

struct proxy {
    enum proxy_mode mode;
    bool open[ROUTES_MAX][INSTANCES_MAX];
};

/* ---- a controller ---- */

struct target {
    int database, service, instance;
    struct probe_schedule schedule;
    uint64_t armed; /* the latest timer; older ones are stale */
};

struct fence_op {
    uint32_t step;
    bool used;
};

struct controller {
    char id[NAME_SIZE];
    bool running;
    bool frozen;
    uint32_t life;
    int64_t wall_skew_ms;
    struct core *core;
    uint64_t pumped_ms;
    uint64_t tick_ms;
    bool stepping;
    bool doomed; /* a trigger has killed or frozen it in the middle of a step */
    /* election */
    int64_t term;
    uint64_t act_until_ms;
    uint64_t passive_until_ms;
    bool reloading;
    /* store */
    struct definition *next_def;
    int64_t next_def_revision;
    /* probes */
    struct target targets[DATABASES_MAX * INSTANCES_MAX + SERVICES_MAX * INSTANCES_MAX];
    int targets_len;
    uint32_t targets_life; /* of the list: probes of an older one are stale */
    /* acts that run, by step */
    uint32_t cancelled_below; /* steps at or below are cancelled */
    uint32_t cancelled[16];
    int cancelled_len;
};

struct trigger {
    bool armed;
    char point[LINE_SIZE];
    char command[LINE_SIZE];
};

struct world {
    uint64_t now_ms;
    uint64_t shown_from_ms; /* the transcript's zero */
    bool silent;
    struct queued *queue;
    size_t queue_len, queue_size;
    uint64_t order;
    struct definition def; /* the world's own; nodes, databases and routes do not change */
    struct store store;
    struct controller controllers[CONTROLLERS_MAX];
    int controllers_len;
    struct machine machines[NODES_MAX];
    struct postgres pg[DATABASES_MAX][INSTANCES_MAX];
    struct guard guards[DATABASES_MAX][INSTANCES_MAX];
    bool guards_run;
    struct db_truth truth[DATABASES_MAX];
    bool service_fails[SERVICES_MAX][INSTANCES_MAX];
    struct proxy proxies[PROXIES_MAX];
    bool cut_node[CONTROLLERS_MAX][NODES_MAX]; /* of a controller from a node */
    bool cut_store[CONTROLLERS_MAX];
    uint32_t next_line;
    int calls;
    int fences, promotes; /* effects carried out */
    struct trigger triggers[TRIGGERS_MAX];
    struct core_effects *effects;
    char *out; /* the transcript */
    size_t out_len, out_size;
    char broken[LINE_SIZE]; /* the first violation, or what the script could not do */
};

/* world.c */
struct world *world_new(void);
void world_free(struct world *world);
void world_at(struct world *world, uint64_t at_ms, event_fn run, const struct args *args);
void world_run_until(struct world *world, uint64_t at_ms);
void world_print(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* one line, with its time */
void world_break(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* the first one counts */
/* A point of the story has been reached: commands that wait for it run now. */
void world_point(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* cluster.c: false with `world->broken` */
bool cluster_build(struct world *world, char *line);
bool cluster_set_sync(struct definition *def, char *value); /* "payments:1(a2,a3)" */

/* driver.c */
void controller_start(struct world *world, int c);
void controller_kill(struct world *world, int c);
void controller_freeze(struct world *world, int c);
void controller_thaw(struct world *world, int c);
struct core_event controller_event(const struct world *world, int c, enum core_event_type type);
/* Steps the core and carries its effects out. */
void controller_post(struct world *world, int c, const struct core_event *event);
bool controller_may_act(const struct world *world, int c);
void controller_rebuild(struct world *world, int c);             /* for a new definition */
void controller_news(struct world *world, int db, int instance); /* a held connection ended */
int controller_leading(const struct world *world);               /* by itself; or -1 */

/* store.c */
void store_boot(struct world *world, int c);
void store_save(struct world *world, int c, const struct effect *effect);
void store_reload(struct world *world, int c);
void store_publish(struct world *world, int c);
void store_resign(struct world *world, int c);
void store_ask(struct world *world, const struct request_record *request);
void store_apply(struct world *world, const struct definition *def);
void store_touch(struct world *world, int db, bool delete_it, const char *node); /* by hand */
void store_cut(struct world *world, int c, bool cut);
void store_down(struct world *world, bool down);
void store_offer_definition(struct world *world, int c);
void store_guard_written(struct world *world, int db, int i); /* a guard's report */
void store_renewal_written(struct world *world, int db);
const struct stored_request *store_request(const struct world *world, const char *id);
const struct stored_incident *store_last_incident(const struct world *world, const char *group);
const struct move_record *store_move(const struct world *world, int db);

/* postgres.c */
void postgres_settle(struct world *world); /* replication and commits up to now */
bool postgres_can_ack(const struct world *world, int db, int i);
/* Every commit up to there is acknowledged by this entry, or would be; 0: none is. */
uint64_t postgres_confirmed(const struct world *world, int db, int i,
                            const struct sync_entry_record *entry);
/* NULL: it waits for the declared standbys. `alone`: every backend goes by it. */
void postgres_set_names(struct world *world, int db, int i, const struct sync_entry_record *entry,
                        bool alone);
bool postgres_up(const struct world *world, int db,
                 int i); /* its process, on a machine that is on */
int postgres_upstream(const struct world *world, int db, int i); /* streaming from it now; or -1 */
void postgres_probe(struct world *world, int c, int db, int i, struct instance_fact *ret);
void postgres_crash(struct world *world, int db, int i);
void postgres_start(struct world *world, int db, int i);
/* True if it took effect. */
bool postgres_promote(struct world *world, int db, int i, uint32_t timeline, uint64_t system_id);

/* The store has recorded the primary: its line is the history from now on. */
void postgres_recorded(struct world *world, int db, const char *node);

/* acts.c */
void act_fence(struct world *world, int c, const struct effect *effect);
void act_promote(struct world *world, int c, const struct effect *effect);
void act_routes(struct world *world, int c, const struct effect *effect);
bool act_cancelled(const struct controller *controller, uint32_t step);
void machine_off(struct world *world, int node, bool by_fence);
void machine_on(struct world *world, int node);
void proxy_forget(struct world *world, int proxy);
int proxy_open(const struct world *world, int proxy, int route); /* index, -1 none, -2 several */

/* guards.c */
void guards_start(struct world *world);
void guards_permit_written(struct world *world, int db);
void guard_sees_crash(struct world *world, int db, int i);
void guard_set(struct world *world, int db, int i, enum guard_mode_of mode);

/* check.c */
void check_guard_promotes(struct world *world, int db, int i);
void check_every_event(struct world *world);
void check_fence(struct world *world, int c, const struct effect *effect);
void check_promote(struct world *world, int c, const struct effect *effect);
void check_promoted(struct world *world, int db, int i);
void check_wishes(struct world *world, int c, const struct effect *effect);
void check_proxy(struct world *world, int proxy);
void check_permit_write(struct world *world, int db, const struct permit_record *value);

/* script.c */
bool script_line(struct world *world, const char *line);    /* a command */
void script_expect(struct world *world, const char *terms); /* prints what does not hold */

#endif
