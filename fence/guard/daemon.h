/*
 * daemon.h - failover-guard's wiring: one core and one driver for each instance, and the pump
 * between.
 *
 * Callbacks of drivers put one event each into a bounded inbox. The pump (uv_prepare and uv_check)
 * drains it, steps the core that it is for, carries the effects out in their order, looks after the
 * watchdog, and re-arms one timer (style §4). There is no policy here.
 *
 *   daemon.c   the inbox, the pump, effects, the watchdog, files of state, start and end
 *   store.c    permits, roles, the definition and controllers from etcd; renewals
 *   identity.c is it the etcd that this guard knows?
 *   report.c   guards/<node>/<database>
 */
#ifndef FAILOVER_GUARD_DAEMON_H
#define FAILOVER_GUARD_DAEMON_H

#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/base/log.h"
#include "controller/base/loop.h"
#include "controller/cluster/definition_read.h"
#include "controller/cluster/installation.h"
#include "controller/cluster/local.h"
#include "controller/cluster/records_json.h"
#include "controller/cluster/store_keys.h"
#include "controller/etcd/client.h"
#include "controller/etcd/scout.h"
#include "controller/etcd/watch.h"
#include "fence/guard/files.h"
#include "fence/guard/guard_core.h"
#include "fence/guard/instance.h"
#include "fence/guard/promises.h"
#include "fence/guard/watchdog.h"

#define GUARD_INBOX_MAX 64
#define GUARD_REPORT_MS 10000
#define GUARD_KEY_SIZE  (4 * NAME_SIZE)

struct guard_daemon;

struct save_job { /* of a worker thread */
    uv_work_t work;
    struct guard_run *run; /* NULL: freed meanwhile */
    char path[LOCAL_PATH_SIZE + NAME_SIZE];
    struct guard_durable durable;
    uint64_t version;
    struct err err;
    bool failed;
};

struct guard_run { /* of one instance */
    struct guard_daemon *daemon;
    int index; /* of its core */
    const struct local_instance_def *def;
    struct instance *instance;
    char permit_key[GUARD_KEY_SIZE], renewal_key[GUARD_KEY_SIZE], report_key[GUARD_KEY_SIZE];
    char durable_path[LOCAL_PATH_SIZE + NAME_SIZE], kept_path[LOCAL_PATH_SIZE + NAME_SIZE];
    char complaint[TEXT_SIZE];

    struct save_job *save;
    uint64_t save_version; /* that is wanted on disk */
    struct timer *save_again;

    struct etcd_call *renewal;
    int64_t renewal_revision;
    int64_t heartbeat_revision; /* of the heartbeat's key, as last known; 0: there is none */
    struct etcd_call *look;     /* at the heartbeat, before the first renewal */
    int64_t looked_revision;    /* of the permit, then */
    uint64_t looked_renewals;
    bool renewal_armed, renewal_repeated;
    uint64_t renewals;   /* sequence of this life */
    uint64_t renewed_ms; /* when the last one was sent */
    bool blind_said;

    char group_key[GUARD_KEY_SIZE]; /* "": not known yet */
    struct etcd_call *report;
    int64_t report_revision; /* of the report's key, as last known; 0: there is none */
    bool report_again, report_repeated;
    int64_t report_floor; /* of etcd's revision, when it was sent */
    uint64_t reported_ms; /* the next one GUARD_REPORT_MS later */
    uint64_t reports;
    struct guard_record reported; /* but for what changes by itself */
    struct guard_record urgent;   /* ... and for what nobody waits for */
};

struct guard_inbox {
    int index; /* of the run; -1: all */
    struct guard_event event;
};

struct guard_daemon {
    const struct local_config *local;
    char prefix[NAME_SIZE + 16];
    char boot[BOOT_ID_SIZE];
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
    struct promises *promises;
    int lock_fd;
    int64_t started_wall_ms;
    uint64_t first_sequence;

    struct guard_core *cores; /* beside each other: guard_watchdog() looks at all */
    struct guard_run runs[DATABASES_MAX];
    int runs_len;
    struct guard_effects effects;

    struct guard_inbox inbox[GUARD_INBOX_MAX];
    int inbox_len;
    uv_prepare_t prepare;
    uv_check_t check;
    struct timer *tick;
    bool pump_running, stopping, ticked;

    struct watchdog watchdog;
    bool watchdog_said;
    uint64_t arm_again_ms, fed_ms;
    uint64_t notify_ms, notified_ms; /* systemd's watchdog */

    struct definition *def; /* NULL: not known */
    struct etcd_call *reading;
    struct timer *read_again;
    struct etcd_watch *watches[4];

    struct installation installation; /* whose store it is; id "": not known */
    int64_t revision_floor;           /* the highest that a write has shown */
    struct etcd_scout *scout;         /* while another cluster answers */
    char foreign[TEXT_SIZE];          /* "" or why what answers is not obeyed */
};

struct guard_daemon *guard_daemon_new(struct loop *loop, const struct local_config *local,
                                      struct err *ret_err);
void guard_daemon_free(struct guard_daemon *d);

/* daemon.c, for its other files */
void guard_post(struct guard_daemon *d, int index, const struct guard_event *event);
struct guard_event guard_event_of(enum guard_event_type type);
/* The local file's etcd, with its password as it is now; to be wiped. -1: a secret cannot be had.
 */
int guard_etcd_config(const struct local_config *local, struct etcd_config *ret_config,
                      struct err *ret_err);

/* store.c */
void guard_store_start(struct guard_daemon *d);
void guard_store_stop(struct guard_daemon *d);
void guard_store_renew(struct guard_run *run, bool armed);
/* The permit is revoked, so nobody renews now, and this instance may be the next to: which revision
 * its first renewal compares the heartbeat's with is asked beforehand. */
void guard_store_look(struct guard_run *run);
/* One kv of a range that came with something else. */
void guard_store_take(struct guard_daemon *d, const char *key, const char *value, size_t len,
                      int64_t revision);

/* identity.c. kv NULL: the key is not there. False: nothing of that store is to be taken. */
bool guard_identity_fits(struct guard_daemon *d, const struct etcd_kv *kv, uint64_t cluster_id);
void guard_identity_lost(struct guard_daemon *d); /* another cluster answers than the pinned one */
/* A write was answered with that revision; floor: what was known when it was sent. */
void guard_identity_wrote(struct guard_daemon *d, int64_t revision, int64_t floor);
void guard_identity_stop(struct guard_daemon *d);

/* report.c */
char *guard_report_text(struct guard_run *run, size_t *ret_len); /* a new one, to be freed */
void guard_report(struct guard_run *run);
/* Makes the next one due soon; others are taken along. */
void guard_report_wanted(struct guard_run *run);
/* ... at once if it would say something new that is waited for. */
void guard_report_changes(struct guard_run *run);

#endif
