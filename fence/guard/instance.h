/*
 * instance.h - one PostgreSQL instance on this node, as the guard's driver: what it is, and the
 * acts.
 *
 * It carries out what the guard core wants and reports what happens as the core's events. There is
 * no policy here.
 *
 * Looking. The postmaster is found by postmaster.pid and /proc and watched by a pidfd, so that its
 * death is news at once, whoever started it. A probe over the unix socket (probes/postgres.h) tells
 * the role and positions, and on a primary writes the guard's own heartbeat row. With nothing
 * running, pg_controldata tells what the last life was.
 *
 * Starting. `postgres` itself is executed, by a child that enters the instance's cgroup, puts
 * standby.signal there or takes it away (and waits for the disk to have it), and becomes the
 * instance's user. Stopping. A ladder: SIGINT (fast), after two thirds of the time SIGQUIT
 * (immediate), at its end SIGKILL to the whole cgroup, again each second; it ends by the proof of
 * processes.h and never by hope.
 *
 * What commits wait for. The included file says it before PostgreSQL starts or is promoted; a
 * running primary is changed, and the change proven, as sync.h says. A standby's file names nobody
 * that there is, so that one which becomes a primary by another hand acknowledges nothing.
 *
 * Loop:   events come from the loop, never from inside a function of this page. Files in the data
 * directory are written by worker threads, one job after the other. Memory: instance_free() closes
 * everything; PostgreSQL is left as it is.
 */
#ifndef FAILOVER_GUARD_INSTANCE_H
#define FAILOVER_GUARD_INSTANCE_H

#include "controller/base/loop.h"
#include "controller/cluster/facts.h"
#include "controller/cluster/local.h"
#include "fence/guard/conninfo.h"
#include "fence/guard/guard_core.h"

struct instance;

/* What the included file shall hold. */
struct instance_conf {
    char upstream[NAME_SIZE];
    char conninfo[CONNINFO_SIZE]; /* "": it receives from nobody */
    char address[ADDRESS_SIZE];   /* where that leads to ... */
    uint16_t port;
    char slot[GUARD_SLOT_SIZE]; /* ... and its slot there, named once it is there */
    uint64_t slot_limit;
    bool says_names; /* else synchronous_standby_names is not said */
    char names[SYNC_NAMES_SIZE];
};

typedef void (*instance_event_fn)(void *arg, const struct guard_event *event);

struct instance_params {
    const struct local_instance_def *def; /* must outlive the instance */
    const char *node;
    const char *state_dir;
    instance_event_fn on_event;
    /* A line for the log, and what a person must mend ("" when it is mended). */
    void (*on_word)(void *arg, const char *text);
    void (*on_complaint)(void *arg, const char *text);
    bool (*may_be_primary)(void *arg); /* asked right before a start as one, or a promotion */
    void *arg;
};

struct instance *instance_new(struct loop *loop, const struct instance_params *params,
                              struct err *ret_err);
void instance_free(struct instance *instance);

void instance_set_dbname(struct instance *instance, const char *dbname);
/* How often a running instance is looked at, its heartbeat write included. */
void instance_look_every(struct instance *instance, uint64_t ms);

/* conf NULL: the file stays as it is. */
void instance_start(struct instance *instance, bool primary, const struct instance_conf *conf);
void instance_stop(struct instance *instance, uint64_t kill_at_ms);
void instance_rest(struct instance *instance);
void instance_take_over(struct instance *instance, const struct instance_conf *conf);
/* Without a conninfo it is FOLLOWED when no receiver is left. */
void instance_follow(struct instance *instance, const struct instance_conf *conf);
/* SYNCED or UNSYNCED, with the round. waits: commits are known to wait for somebody already. */
void instance_sync(struct instance *instance, const struct instance_conf *conf,
                   const struct guard_sync *sync, uint32_t round, bool waits);
/* Standbys by application_name. */
void instance_keep_slots(struct instance *instance, const char (*standbys)[NAME_SIZE], int len);
/* Opens the session that a promotion will need. */
void instance_prepare(struct instance *instance, bool wanted);
void instance_promote(struct instance *instance, const struct guard_permit *permit,
                      const struct instance_conf *conf, uint64_t act_by_ms);

/* For reports. */
const struct instance_fact *instance_fact(const struct instance *instance);
uint64_t instance_wrote_ms(const struct instance *instance); /* 0: never */
bool instance_has_cgroup(const struct instance *instance);
uint64_t instance_free_bytes(const struct instance *instance);
const struct guard_seen *instance_seen(const struct instance *instance);

#endif
