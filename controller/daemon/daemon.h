/*
 * daemon.h - failoverd's wiring: one core, the drivers around it, and the pump between them.
 *
 * Callbacks of drivers put one event each into a bounded inbox. The pump (uv_prepare and uv_check)
 * drains it, steps the core, carries the effects out in their order, and re-arms one timer (style
 * §4). There is no policy here.
 *
 *   daemon.c   the inbox, the pump, leadership, start and end
 *   store.c    records to and from etcd: the watch, saves, this controller's heartbeat
 *   reading.c  everything at once: at the start, and for a new leader
 *   identity.c is it the right etcd?
 *   copying.c  a copy of the store in a file
 *   keeping.c  what keeps etcd small, and whether it takes writes
 *   probing.c  probes of instances and services, on their schedules
 *   acting.c   fencing levels, promotions, routes, calls
 *   serving.c  the API's backend
 *   https.c    the API over HTTPS: keys, and what ends soon
 *   notify.c   what systemd is told
 *   reload.c   the local file, read again
 */
#ifndef FAILOVER_DAEMON_DAEMON_H
#define FAILOVER_DAEMON_DAEMON_H

#include "controller/act/haproxy.h"
#include "controller/act/promote.h"
#include "controller/api/api.h"
#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/base/json.h"
#include "controller/base/log.h"
#include "controller/base/loop.h"
#include "controller/cluster/installation.h"
#include "controller/cluster/local.h"
#include "controller/cluster/records_json.h"
#include "controller/core/core.h"
#include "controller/daemon/notify.h"
#include "controller/etcd/client.h"
#include "controller/etcd/election.h"
#include "controller/etcd/scout.h"
#include "controller/etcd/watch.h"
#include "controller/notify/call.h"
#include "fence/level.h"
#include "probes/http.h"
#include "probes/postgres.h"
#include "probes/schedule.h"

#define INBOX_MAX     128
#define INBOX_RESERVE 32 /* of those, for outcomes: findings are dropped first */
#define FENCES_MAX    (2 * DATABASES_MAX)
#define HEARTBEAT_MS  1000
#define PROBLEM_SIZE  768
#define STORE_KINDS   5 /* of keys of which there are many */

struct daemon;

struct target { /* of a probe */
    struct daemon *daemon;
    int database, service, instance; /* database or service is -1 */
    struct probe_pg *pg;
    struct probe_http *http;
    struct probe_schedule schedule;
    struct timer *timer;
};

struct try_run { /* a write that is tried once, on a connection of its own */
    struct daemon *daemon;
    int database, instance;
    struct probe_pg *pg; /* NULL: free */
};

struct fence_run {
    struct daemon *daemon;
    struct fence_op *op; /* NULL: free */
    uint32_t step;
};

struct promotion_run { /* of one database */
    struct daemon *daemon;
    struct promote *promote; /* NULL: none is prepared */
    int instance;
    uint32_t step; /* 0: none asked */
    bool finished; /* to be freed by the pump */
};

struct proxy_run {
    struct daemon *daemon;
    struct haproxy *haproxy;
    uint32_t step; /* 0: none runs */
    struct route_wish wishes[ROUTES_MAX];
    int wishes_len;
};

struct ending {     /* of a certificate */
    int said;       /* how near its end was when it was last looked at */
    char text[256]; /* "": far */
};
enum { ENDINGS = 4 };

struct https {
    struct timer *timer;
    char listening[LOCAL_LISTEN_SIZE]; /* "": it is not served */
    char trouble[320];                 /* "": none; else it is tried again */
    struct ending endings[ENDINGS];
    uint64_t refused_ms;   /* up to when the log has had its lines about who was refused */
    unsigned refused_more; /* without a line since the latest */
};

struct seen_epoch { /* the highest that etcd was seen to hold for a database */
    char database[NAME_SIZE];
    struct epoch epoch;
};

struct daemon {
    struct local_config *local;  /* the main's; daemon_reload() changes it */
    char prefix[NAME_SIZE + 16]; /* "/failover/<cluster>/" */
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
    struct election *election;
    struct etcd_watch *watch;
    struct api *api;
    struct https https;
    struct events *events;
    struct core *core;
    struct core_effects *effects;
    int64_t started_wall_ms;

    /* the pump */
    struct core_event inbox[INBOX_MAX];
    int inbox_len;
    uint64_t inbox_dropped;
    uv_prepare_t prepare;
    uv_check_t check;
    struct timer *tick;
    uint64_t pumped_ms; /* when the pump last ran, to notice that this process stood still */
    bool stopping;
    bool stopped;
    struct notify notify;

    /* the store */
    struct timer *store_retry;
    bool store_tried;            /* the first full read was answered, or failed */
    bool store_read;             /* the first full read is done */
    bool reloading;              /* a leader's confirmed read is under way or due */
    struct reading *reading;     /* of everything, while it is under way */
    struct etcd_pager *requests; /* reads them once more, since some found no place */
    bool requests_waiting;
    int64_t saved_revision;      /* of this process's last save */
    bool watch_lost;             /* it stands still until everything has been read */
    int complaints[STORE_KINDS]; /* about records of each kind, since complained_ms */
    uint64_t complained_ms[STORE_KINDS];
    struct definition *next_def; /* read, and waiting for the core to take it up */
    int64_t next_def_revision;
    struct config_record *config; /* as stored */
    int64_t config_revision;
    uint32_t election_ttl_ms;
    struct election *returning;    /* gives its session back, for another lease */
    enum etcd_reason trouble_said; /* the election's, as last logged */
    uint64_t trouble_said_ms;      /* 0: not yet */
    uint32_t trouble_more;         /* since then, and not logged */
    struct timer *heartbeat;
    bool heartbeat_running;
    bool heartbeat_again;
    struct installation installation; /* pinned when first seen; id "": none yet */
    int64_t revision_floor; /* of its etcd: the highest that a write, or a copy, has named */
    bool went_back;         /* below it, so only a rescue makes it ours again */
    char went_back_text[256];
    char lower_epoch[256]; /* of the latest reading: a permit older than was seen; "": none */
    struct seen_epoch epochs[DATABASES_MAX];
    int epochs_len;
    int behind;              /* readings in a row that were below it */
    int64_t heartbeat_floor; /* the same when the heartbeat under way was sent */
    char
        identity_problem[PROBLEM_SIZE]; /* not "": this is not our store, and we never lead there */
    struct etcd_scout *scout;           /* looks whether what answers was rescued */
    struct copying *copying;            /* of the store, into a file */

    /* what keeps it small */
    struct compactor *compactor;
    struct timer *pruner;
    struct prune *prune; /* one round, while it is under way */
    struct timer *looker;
    struct etcd_call *look;
    int64_t store_bytes;  /* of the member in use; -1: not known yet */
    uint64_t store_quota; /* as the member tells (3.6), else as the local file has it */
    bool store_full;      /* etcd has raised NOSPACE */
    enum etcd_reason trouble;
    char trouble_text[REASON_SIZE]; /* why etcd takes no writes of ours; "": it does */

    /* probes */
    struct target *targets;
    int targets_len;
    struct try_run tries[DATABASES_MAX * INSTANCES_MAX];
    bool probes_stale; /* made with secrets that have been read again since */

    /* acts */
    struct fence_run fences[FENCES_MAX];
    struct promotion_run promotions[DATABASES_MAX];
    struct proxy_run proxies[PROXIES_MAX];
    struct call *call;
};

/* daemon.c */
struct core_event daemon_event(enum core_event_type type);
/* Copies the event into the inbox. */
void daemon_post(struct daemon *d, const struct core_event *event);
bool daemon_may_act(void *daemon);
void daemon_start_election(struct daemon *d, uint32_t ttl_ms);

/* With the user of the local file, and the password as it is in its file now. */
void daemon_log_in(struct daemon *d);

/* reload.c: probes that are stale, once nothing moves */
void daemon_renew_probes(struct daemon *d);
void daemon_resign(struct daemon *d, const char *why);
/* The profile's lease has changed: give the session back, and stand again with the new one. */
void daemon_renew_election(struct daemon *d, uint32_t ttl_ms);
/* Lead no more, and stand for no election, until daemon_start_election(). */
void daemon_stand_down(struct daemon *d);

/* store.c */
#define STORE_KEY_SIZE 256
void store_start(struct daemon *d);
void store_stop(struct daemon *d);
void store_save(struct daemon *d, const struct effect *effect);
void store_heartbeat(struct daemon *d);
void store_on_watch(void *daemon, const struct etcd_watch_news *news);
void store_take_key(struct daemon *d, const struct etcd_kv *kv);
void store_lose_config(struct daemon *d); /* it is not there (any more) */
char *store_encode_view(struct daemon *d, size_t *ret_len);
void store_complain(struct daemon *d, const char *key, const struct err *err);
void store_put_request(void *arg, const struct request_record *request);
void store_put_config(void *arg, const char *id, const struct api_config *config);
/* Offers a waiting definition to the core. */
void store_offer_definition(struct daemon *d);

/* reading.c */
void reading_start(struct daemon *d);
void reading_stop(struct daemon *d);
void reading_all(struct daemon *d);
void reading_reload(struct daemon *d); /* a leader's, confirmed by a write */
/* Leadership ended: what was read under its term confirms nothing for the next one. */
void reading_drop_reload(struct daemon *d);
void reading_requests(struct daemon *d);

/* identity.c. What a reading, or the watch, shows of whose store it is. */
struct identity_seen {
    const struct etcd_kv *kv; /* the key `installation`; NULL: it is not there */
    bool has_config;          /* a definition is */
    int64_t revision;         /* of the reading; 0: the watch's news */
    int64_t floor;            /* of etcd's revision, when the reading was begun */
};
void identity_look(struct daemon *d, const struct identity_seen *seen);
void identity_lost(struct daemon *d); /* another cluster answers than the pinned one */
/* A write was answered with that revision; floor: what was known when it was sent. */
void identity_wrote(struct daemon *d, int64_t revision, int64_t floor);
/* A permit of that epoch is, or was, in our store. */
void identity_saw_epoch(struct daemon *d, const char *database, struct epoch epoch);
/* Of a reading: permits of a lower epoch than was seen. Before identity_look(). */
void identity_compare(struct daemon *d, const struct etcd_kv *permit);
/* What is read belongs to a store that is not ours: what is known of ours is kept. */
bool identity_is_foreign(const struct daemon *d);
void identity_remember(struct daemon *d); /* from the copy of an earlier life */
void identity_stop(struct daemon *d);

/* copying.c */
void copying_start(struct daemon *d);
void copying_stop(struct daemon *d);
void copying_due(struct daemon *d); /* something that is copied has changed */

/* daemon.c: the local file's etcd, with its password; to be wiped. */
int daemon_etcd_config(const struct daemon *d, struct etcd_config *ret_config, struct err *ret_err);

/* keeping.c */
void keeping_start(struct daemon *d);
void keeping_stop(struct daemon *d);
/* What a write's answer says of etcd; a leader that may not write resigns (failures.md D15). */
void keeping_judge(struct daemon *d, const struct etcd_reply *reply);
void keeping_trouble(struct daemon *d, enum etcd_reason reason, const char *text);

/* probing.c */
void probing_rebuild(struct daemon *d); /* for the core's definition */
void probing_stop(struct daemon *d);
void probing_now(struct daemon *d, int database, int instance);
void probing_try(struct daemon *d, const struct effect *effect);
void probing_expect(struct daemon *d); /* after a step: what the records now say of each target */

/* acting.c */
void acting_rebuild(struct daemon *d);
void acting_stop(struct daemon *d);
void acting_fence(struct daemon *d, const struct effect *effect);
void acting_prepare(struct daemon *d, const struct effect *effect);
void acting_promote(struct daemon *d, const struct effect *effect);
void acting_routes(struct daemon *d, const struct effect *effect);
void acting_call(struct daemon *d, const struct effect *effect);
void acting_cancel(struct daemon *d, uint32_t step);
void acting_cancel_all(struct daemon *d);
void acting_tidy(struct daemon *d); /* frees what ended, outside of its own callback */

/* serving.c */
int serving_start(struct daemon *d, struct err *ret_err);
void serving_stop(struct daemon *d);

/* https.c */
void https_start(struct daemon *d); /* also: read everything again */
void https_stop(struct daemon *d);
bool https_allowed(void *daemon, const char *name, enum api_role *ret_role);
void https_refused(void *daemon, const char *who, const char *why);
void https_warnings(struct daemon *d, const char *ret_warnings[STATUS_WARNINGS_MAX]);

/* The target of a database's instance; `secret` receives the password and must outlive the target's
 * use. */
bool daemon_pg_target(struct daemon *d, int database, int instance, char secret[SECRET_SIZE],
                      struct pg_target *ret_target);

#endif
