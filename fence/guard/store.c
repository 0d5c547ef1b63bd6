#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fence/guard/daemon.h"

#define READ_MS          2000
#define READ_AGAIN_MS    500
#define RENEW_MIN_MS     200
#define LOOK_MS          1000
#define FOREIGN_AGAIN_MS 2000
#define IDLE_MS          5000 /* of the controllers' views, one of which is written each second */

static void read_all(void *arg);

/* ---- what the keys hold ---- */

static struct guard_run *run_of_permit(struct guard_daemon *d, const char *key)
{
    for (int i = 0; i < d->runs_len; i++) {
        if (strcmp(d->runs[i].permit_key, key) == 0) {
            return &d->runs[i];
        }
    }
    return NULL;
}

static void take_permit(struct guard_run *run, const char *value, size_t len, int64_t revision)
{
    struct guard_event event = guard_event_of(GUARD_EV_PERMIT);
    struct permit_record record;
    struct err err = {0};
    if (value != NULL && permit_record_decode(value, len, &record, &err) < 0) {
        log_line(LOG_LEVEL_ERROR, "a permit makes no sense, and is not obeyed", "key",
                 run->permit_key, "detail", err.text, NULL);
        return;
    }
    if (value != NULL) {
        files_permit_of_record(&record, revision, &event.permit);
    }
    guard_post(run->daemon, run->index, &event);
}

static const struct role_record *role_of(const struct database_record *db, const char *node)
{
    for (int i = 0; i < db->roles_len; i++) {
        if (strcmp(db->roles[i].node, node) == 0) {
            return &db->roles[i];
        }
    }
    return NULL;
}

/* The nodes that receive from this one. */
static void take_standbys(const struct database_record *db, const char *node,
                          struct guard_declared *declared)
{
    for (int i = 0; i < db->roles_len && declared->standbys_len < INSTANCES_MAX; i++) {
        const struct role_record *role = &db->roles[i];
        if (role->role == DECLARED_STANDBY && strcmp(role->upstream, node) == 0) {
            memcpy(declared->standbys[declared->standbys_len++], role->node, NAME_SIZE);
        }
    }
}

static bool is_burnt(const struct group_record *group, const struct database_record *db,
                     const char *node)
{
    for (int i = 0; i < db->burnt_len; i++) {
        if (strcmp(db->burnt[i], node) == 0) {
            return true;
        }
    }
    for (int m = 0; group->moving && m < group->workflow.moves_len; m++) {
        const struct move_record *move = &group->workflow.moves[m];
        for (int i = 0; strcmp(move->database, db->database) == 0 && i < move->burnt_len; i++) {
            if (strcmp(move->burnt[i], node) == 0) {
                return true;
            }
        }
    }
    return false;
}

static void take_roles(struct guard_run *run, const struct group_record *group,
                       const struct database_record *db, int64_t revision)
{
    const char *node = run->daemon->local->guard.node;
    const struct role_record *role = role_of(db, node);
    struct guard_event event = guard_event_of(GUARD_EV_DECLARED);
    event.declared.revision = revision;
    event.declared.burnt = is_burnt(group, db, node);
    take_standbys(db, node, &event.declared);
    if (role == NULL && !event.declared.burnt) {
        return; /* nothing is declared for it */
    }
    if (role != NULL) {
        event.declared.role = role->role == DECLARED_PRIMARY   ? ROLE_PRIMARY
                              : role->role == DECLARED_STANDBY ? ROLE_STANDBY
                                                               : ROLE_UNKNOWN;
        event.declared.down = role->role == DECLARED_DOWN;
        memcpy(event.declared.upstream, role->upstream, sizeof event.declared.upstream);
    }
    guard_post(run->daemon, run->index, &event);
}

static void take_group(struct guard_daemon *d, const char *key, const char *value, size_t len,
                       int64_t revision)
{
    struct group_record *group = calloc(1, sizeof *group);
    struct err err = {0};
    if (group == NULL || group_record_decode(value, len, group, &err) < 0) {
        log_line(LOG_LEVEL_ERROR, "a group's record makes no sense, and is not obeyed", "key", key,
                 "detail", err.text, NULL);
        free(group);
        return;
    }
    for (int i = 0; i < d->runs_len; i++) {
        for (int db = 0; db < group->databases_len; db++) {
            if (strcmp(group->databases[db].database, d->runs[i].def->database) == 0) {
                snprintf(d->runs[i].group_key, sizeof d->runs[i].group_key, "%s", key);
                take_roles(&d->runs[i], group, &group->databases[db], revision);
            }
        }
    }
    free(group);
}

static void apply_policy(struct guard_daemon *d)
{
    for (int i = 0; i < d->runs_len; i++) {
        struct guard_event event = guard_event_of(GUARD_EV_POLICY);
        int db = d->def != NULL ? definition_database(d->def, d->runs[i].def->database) : -1;
        event.policy.watchdog_configured = d->watchdog.kind != WATCHDOG_NONE;
        if (db >= 0) {
            event.policy.restart = d->def->databases[db].on_crash == CRASH_RESTART;
            event.policy.restart_deadline_ms = d->def->databases[db].restart_deadline_ms;
            event.policy.when_blind_continue = d->def->policy.when_blind == BLIND_CONTINUE;
            instance_set_dbname(d->runs[i].instance, d->def->databases[db].dbname);
        }
        guard_post(d, i, &event);
    }
}

static void take_config(struct guard_daemon *d, const char *value, size_t len)
{
    struct config_record record = {0};
    struct err err = {0};
    struct definition *def = calloc(1, sizeof *def);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    assert(def != NULL && complaints != NULL);
    bool good =
        config_record_decode(value, len, &record, &err) == 0 &&
        definition_read(record.current.text, strlen(record.current.text), def, complaints) == 0;
    if (good) {
        free(d->def);
        d->def = def;
        apply_policy(d);
    } else {
        log_line(LOG_LEVEL_ERROR, "the definition makes no sense; the one before it stays",
                 "detail", err.text, NULL);
        free(def);
    }
    free(complaints);
    config_record_done(&record);
}

static void take_controller(struct guard_daemon *d, const char *value, size_t len)
{
    struct controller_record *record = calloc(1, sizeof *record);
    if (record != NULL && controller_record_decode(value, len, record, NULL) == 0 &&
        record->api[0] != '/') {
        promises_learn(d->promises, record->id, record->api);
    }
    free(record);
}

/* What stands behind the prefix of the cluster; NULL: it is not of it. */
static const char *kind_of(const struct guard_daemon *d, const char *key)
{
    size_t len = strlen(d->prefix);
    return strncmp(key, d->prefix, len) == 0 ? key + len : NULL;
}

static bool is_kind(const char *kind, const char *prefix)
{
    return strncmp(kind, prefix, strlen(prefix)) == 0;
}

void guard_store_take(struct guard_daemon *d, const char *key, const char *value, size_t len,
                      int64_t revision)
{
    const char *kind = kind_of(d, key);
    if (kind == NULL) {
        return;
    }
    struct guard_run *run = run_of_permit(d, key);
    if (run != NULL) {
        take_permit(run, value, len, revision);
    } else if (value == NULL) {
        return; /* what is deleted ends nothing */
    } else if (is_kind(kind, STORE_GROUPS)) {
        take_group(d, key, value, len, revision);
    } else if (strcmp(kind, STORE_CONFIG) == 0) {
        take_config(d, value, len);
    } else if (is_kind(kind, STORE_CONTROLLERS)) {
        take_controller(d, value, len);
    }
}

/* ---- reading and watching ---- */

static const char *const watched[4] = {STORE_PERMITS, STORE_GROUPS, STORE_CONFIG,
                                       STORE_CONTROLLERS};

static void on_news(void *arg, const struct etcd_watch_news *news)
{
    struct guard_daemon *d = arg;
    if (news->kind == ETCD_WATCH_COMPACTED) {
        timer_start(d->read_again, 0);
    }
    for (int i = 0; news->kind == ETCD_WATCH_EVENTS && i < news->events_len; i++) {
        const struct etcd_event *event = &news->events[i];
        bool put = event->kind == ETCD_EVENT_PUT;
        guard_store_take(d, event->kv.key, put ? event->kv.value : NULL, event->kv.value_len,
                         event->kv.mod_revision);
    }
}

static void watch_from(struct guard_daemon *d, int64_t revision)
{
    for (int i = 0; i < 4; i++) {
        char key[GUARD_KEY_SIZE];
        bool prefix = strcmp(watched[i], STORE_CONFIG) != 0;
        snprintf(key, sizeof key, "%s%s", d->prefix, watched[i]);
        if (d->watches[i] != NULL) {
            etcd_watch_restart(d->watches[i], revision);
        } else {
            uint64_t idle_ms = strcmp(watched[i], STORE_CONTROLLERS) == 0 ? IDLE_MS : 0;
            d->watches[i] = etcd_watch_new(d->etcd, key, prefix, revision, idle_ms, on_news, d);
        }
    }
}

static const struct etcd_kv *find_key(const struct etcd_reply *reply, const char *key)
{
    for (int i = 0; i < reply->kvs_len; i++) {
        if (strcmp(reply->kvs[i].key, key) == 0) {
            return &reply->kvs[i];
        }
    }
    return NULL;
}

static void on_read(void *arg, const struct etcd_reply *reply)
{
    struct guard_daemon *d = arg;
    d->reading = NULL;
    if (reply->outcome != ETCD_OK || !reply->succeeded) {
        log_line(LOG_LEVEL_DEBUG, "etcd cannot be read yet", "detail", reply->text, NULL);
        if (reply->reason == ETCD_WRONG_CLUSTER) {
            guard_identity_lost(d);
        }
        timer_start(d->read_again, READ_AGAIN_MS);
        return;
    }
    char installation[GUARD_KEY_SIZE];
    snprintf(installation, sizeof installation, "%s" STORE_INSTALLATION, d->prefix);
    if (!guard_identity_fits(d, find_key(reply, installation), reply->cluster_id)) {
        timer_start(d->read_again, FOREIGN_AGAIN_MS);
        return;
    }
    /* The definition first: what follows is understood with it. */
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < reply->kvs_len; i++) {
            const struct etcd_kv *kv = &reply->kvs[i];
            const char *kind = kind_of(d, kv->key);
            bool config = kind != NULL && strcmp(kind, STORE_CONFIG) == 0;
            if (config == (pass == 0)) {
                guard_store_take(d, kv->key, kv->value, kv->value_len, kv->mod_revision);
            }
        }
    }
    for (int i = 0; i < d->runs_len; i++) {
        if (find_key(reply, d->runs[i].permit_key) == NULL) {
            take_permit(&d->runs[i], NULL, 0, 0);
        }
    }
    watch_from(d, reply->revision + 1);
}

/* A transaction's ranges, unlike others, are never a paused member's stale ones. */
static void read_all(void *arg)
{
    struct guard_daemon *d = arg;
    static struct etcd_txn txn;
    char keys[4][GUARD_KEY_SIZE], installation[GUARD_KEY_SIZE];
    memset(&txn, 0, sizeof txn);
    for (int i = 0; i < 4; i++) {
        snprintf(keys[i], sizeof keys[i], "%s%s", d->prefix, watched[i]);
        etcd_txn_then_range(&txn, keys[i], strcmp(watched[i], STORE_CONFIG) != 0);
    }
    snprintf(installation, sizeof installation, "%s" STORE_INSTALLATION, d->prefix);
    etcd_txn_then_range(&txn, installation, false);
    if (d->reading == NULL) {
        d->reading = etcd_txn(d->etcd, &txn, READ_MS, on_read, d);
    }
}

void guard_store_start(struct guard_daemon *d)
{
    d->read_again = timer_new(d->loop, read_all, d);
    apply_policy(d);
    read_all(d);
}

void guard_store_stop(struct guard_daemon *d)
{
    guard_identity_stop(d);
    if (d->reading != NULL) {
        etcd_cancel(d->reading);
        d->reading = NULL;
    }
    timer_free(d->read_again);
    d->read_again = NULL;
    for (int i = 0; i < 4; i++) {
        etcd_watch_free(d->watches[i]);
        d->watches[i] = NULL;
    }
}

/* ---- renewals ---- */

static void send_renewal(struct guard_run *run);

/* The one key of a transaction's range; NULL: it is not there. */
static const struct etcd_kv *kv_of(const struct etcd_reply *reply, int response)
{
    bool there = response < reply->responses_len && reply->responses[response].kvs_len == 1;
    return there ? &reply->kvs[reply->responses[response].kvs_first] : NULL;
}

/* The document is another one: here it is. Or the heartbeat is: then this one is sent once more. */
static bool take_conflict(struct guard_run *run, const struct etcd_reply *reply)
{
    const struct etcd_kv *permit = kv_of(reply, 0), *heartbeat = kv_of(reply, 1);
    run->heartbeat_revision = heartbeat != NULL ? heartbeat->mod_revision : 0;
    if (permit != NULL && permit->mod_revision == run->renewal_revision && !run->renewal_repeated) {
        run->renewal_repeated = true;
        send_renewal(run);
        return true;
    }
    take_permit(run, permit != NULL ? permit->value : NULL, permit != NULL ? permit->value_len : 0,
                permit != NULL ? permit->mod_revision : 0);
    return false;
}

static void on_renewed(void *arg, const struct etcd_reply *reply)
{
    struct guard_run *run = arg;
    run->renewal = NULL;
    bool answered = reply->outcome == ETCD_OK;
    if (answered && !reply->succeeded && take_conflict(run, reply)) {
        return;
    }
    if (answered && reply->succeeded) {
        run->heartbeat_revision = reply->revision;
    }
    bool accepted = answered && reply->succeeded;
    struct guard_event event = guard_event_of(accepted ? GUARD_EV_RENEWED : GUARD_EV_UNRENEWED);
    event.sent_ms = reply->sent_ms;
    event.revision = run->renewal_revision;
    snprintf(event.text, sizeof event.text, "%.200s", reply->text);
    guard_post(run->daemon, run->index, &event);
    if (reply->reason == ETCD_WRONG_CLUSTER) {
        guard_identity_lost(run->daemon);
    }
    if (!answered) {
        log_line(LOG_LEVEL_DEBUG, "a renewal has no answer", "database", run->def->database,
                 "detail", reply->text, NULL);
    }
    if (accepted && run->blind_said) {
        run->blind_said = false;
        log_line(LOG_LEVEL_INFO, "renewals are accepted again", "database", run->def->database,
                 NULL);
    }
}

/*
 * It compares the heartbeat as well: an older renewal that was given up may still be on its way,
 * and must not be committed after this one, since the last one committed is the one that says
 * "armed".
 */
static void send_renewal(struct guard_run *run)
{
    struct guard_daemon *d = run->daemon;
    const struct guard_permit *permit = &d->cores[run->index].renewal_out_permit;
    struct renewal_record record = {.epoch = permit->epoch,
                                    .permit_revision = permit->revision,
                                    .sequence = d->first_sequence + ++run->renewals,
                                    .armed = run->renewal_armed,
                                    .wrote = instance_wrote_ms(run->instance) > run->renewed_ms};
    memcpy(record.boot, d->boot, sizeof record.boot);
    size_t len = 0;
    char *text = renewal_record_encode(&record, &len);
    assert(text != NULL);
    static struct etcd_txn txn;
    memset(&txn, 0, sizeof txn);
    etcd_txn_if_mod(&txn, run->permit_key, permit->revision);
    etcd_txn_if_mod(&txn, run->renewal_key, run->heartbeat_revision);
    etcd_txn_then_put(&txn, run->renewal_key, text, len, 0);
    etcd_txn_else_range(&txn, run->permit_key, false);
    etcd_txn_else_range(&txn, run->renewal_key, false);
    run->renewal_revision = permit->revision;
    uint64_t within_ms = permit->d_ms > permit->w_ms ? (permit->d_ms - permit->w_ms) / 4 : 0;
    run->renewal = etcd_txn(d->etcd, &txn, within_ms > RENEW_MIN_MS ? within_ms : RENEW_MIN_MS,
                            on_renewed, run);
    free(text);
}

static void on_looked(void *arg, const struct etcd_reply *reply)
{
    struct guard_run *run = arg;
    run->look = NULL;
    if (reply->outcome == ETCD_OK && run->renewals == run->looked_renewals) {
        run->heartbeat_revision = reply->kvs_len > 0 ? reply->kvs[0].mod_revision : 0;
    }
}

void guard_store_look(struct guard_run *run)
{
    int64_t revision = run->daemon->cores[run->index].permit.revision;
    if (run->look != NULL || run->looked_revision == revision) {
        return;
    }
    struct etcd_range range = {.key = run->renewal_key, .min_revision = revision};
    run->looked_revision = revision;
    run->looked_renewals = run->renewals;
    run->look = etcd_range(run->daemon->etcd, &range, LOOK_MS, on_looked, run);
}

void guard_store_renew(struct guard_run *run, bool armed)
{
    if (run->renewal != NULL) {
        etcd_cancel(run->renewal);
    }
    run->renewal_armed = armed;
    run->renewal_repeated = false;
    send_renewal(run);
    run->renewed_ms = clock_now_ms();
}
