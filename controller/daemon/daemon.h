/*
 * daemon.h - failoverd's wiring: one core, the drivers around it, and the pump between them.
 *
 * Callbacks of drivers put one event each into a bounded inbox. The pump (uv_prepare and uv_check)
 * drains it, steps the core, carries the effects out in their order, and re-arms one timer (style
 * §4). There is no policy here.
 *
 *   daemon.c   the inbox, the pump, leadership, start and end
 *   store.c    records to and from etcd, saves, reloads, the watch, this controller's heartbeat
 *   probing.c  probes of instances and services, on their schedules
 *   acting.c   fencing levels, promotions, routes, calls
 *   serving.c  the API's backend
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
#include "controller/cluster/local.h"
#include "controller/cluster/records_json.h"
#include "controller/core/core.h"
#include "controller/daemon/notify.h"
#include "controller/etcd/client.h"
#include "controller/etcd/election.h"
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

struct daemon {
    struct local_config *local;  /* the main's; daemon_reload() changes it */
    char prefix[NAME_SIZE + 16]; /* "/failover/<cluster>/" */
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
    struct election *election;
    struct etcd_watch *watch;
    struct api *api;
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
    struct etcd_call *reload;    /* that read, while it is under way; of this term only */
    struct definition *next_def; /* read, and waiting for the core to take it up */
    int64_t next_def_revision;
    struct config_record *config; /* as stored */
    int64_t config_revision;
    uint32_t election_ttl_ms;
    struct election *returning; /* gives its session back, for another lease */
    struct timer *heartbeat;
    bool heartbeat_running;
    bool heartbeat_again;
    char installation[ID_SIZE];
    uint64_t foreign_cluster; /* the installation's pinned etcd is another one: never lead */
    int64_t compact_ring[10];
    int compact_at;
    struct timer *compactor;

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

/* reload.c: probes that are stale, once nothing moves */
void daemon_renew_probes(struct daemon *d);
void daemon_resign(struct daemon *d, const char *why);
/* The profile's lease has changed: give the session back, and stand again with the new one. */
void daemon_renew_election(struct daemon *d, uint32_t ttl_ms);

/* store.c */
void store_start(struct daemon *d);
void store_stop(struct daemon *d);
void store_save(struct daemon *d, const struct effect *effect);
void store_reload(struct daemon *d);
/* Leadership ended: what was read under its term confirms nothing for the next one. */
void store_drop_reload(struct daemon *d);
void store_heartbeat(struct daemon *d);
void store_put_request(void *arg, const struct request_record *request);
void store_put_config(void *arg, const char *id, const struct api_config *config);
/* Offers a waiting definition to the core. */
void store_offer_definition(struct daemon *d);

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

/* The target of a database's instance; `secret` receives the password and must outlive the target's
 * use. */
bool daemon_pg_target(struct daemon *d, int database, int instance, char secret[SECRET_SIZE],
                      struct pg_target *ret_target);

#endif
