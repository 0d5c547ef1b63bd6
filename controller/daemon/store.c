/*
 * store.c - records to and from etcd, one by one.
 *
 * Every process reads everything once (reading.c), then follows by a watch from that revision. A
 * leader's memory is the truth of its term: its saves are transactions that compare the term and
 * each record's mod revision, and a change that it did not make (somebody's hand, a restored store)
 * makes it read everything again.
 *
 * The heartbeat writes controllers/<id> once a second on this process's lease: presence, view, and
 * the sign of life under the watched prefix that tells a stalled watch from a quiet one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/cluster/store_copy.h"
#include "controller/cluster/store_keys.h"
#include "controller/daemon/daemon.h"
#include "controller/daemon/fail_point.h"

#define SAVE_MS      3000
#define KEY_SIZE     STORE_KEY_SIZE
#define COMPLAINTS   4     /* lines about unusable records of one kind ... */
#define COMPLAINT_MS 10000 /* ... in that time */

/* ---- one key's news ---- */

static bool cut(const char *key, const char *prefix, const char *kind, const char **ret_rest)
{
    size_t prefix_len = strlen(prefix);
    size_t kind_len = strlen(kind);
    if (strncmp(key, prefix, prefix_len) != 0 || strncmp(key + prefix_len, kind, kind_len) != 0) {
        return false;
    }
    *ret_rest = key + prefix_len + kind_len;
    return true;
}

/* Which of the kinds that have many keys; STORE_KINDS: a key of its own. */
static int kind_of(const struct daemon *d, const char *key)
{
    static const char *const kinds[STORE_KINDS] = {STORE_CONTROLLERS, STORE_PERMITS, STORE_GROUPS,
                                                   STORE_REQUESTS, STORE_INCIDENTS};
    const char *rest;
    int kind = 0;
    while (kind < STORE_KINDS && !cut(key, d->prefix, kinds[kind], &rest)) {
        kind++;
    }
    return kind;
}

/* True: enough has been said of its kind for now; thousands of them must not fill the log (S15). */
static bool is_one_of_many(struct daemon *d, const char *key)
{
    int kind = kind_of(d, key);
    uint64_t now = clock_now_ms();
    if (kind == STORE_KINDS) {
        return false;
    }
    if (d->complained_ms[kind] == 0 || now - d->complained_ms[kind] >= COMPLAINT_MS) {
        d->complained_ms[kind] = now;
        d->complaints[kind] = 0;
    }
    return ++d->complaints[kind] > COMPLAINTS;
}

void store_complain(struct daemon *d, const char *key, const struct err *err)
{
    if (!is_one_of_many(d, key)) {
        log_line(LOG_LEVEL_ERROR, "a record in etcd cannot be used; it is left alone", "key", key,
                 "detail", err->text, NULL);
    }
}

static void take_config(struct daemon *d, const struct etcd_kv *kv)
{
    struct err err = {0};
    struct config_record *config = calloc(1, sizeof *config);
    struct definition *def = calloc(1, sizeof *def);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    if (config == NULL || def == NULL || complaints == NULL) {
        abort(); /* safe: the other controller goes on */
    }
    if (config_record_decode(kv->value, kv->value_len, config, &err) < 0) {
        store_complain(d, kv->key, &err);
        free(config);
        free(def);
    } else if (definition_read(config->current.text, strlen(config->current.text), def,
                               complaints) < 0) {
        err_set(&err, ERR_INVALID, "%d errors; the first: line %d: %s: %.200s", complaints->errors,
                complaints->items[0].line, complaints->items[0].path, complaints->items[0].text);
        store_complain(d, kv->key, &err);
        config_record_done(config);
        free(config);
        free(def);
    } else if (strcmp(def->cluster, d->local->cluster) != 0) {
        err_set(&err, ERR_INVALID, "it defines cluster '%s', this controller is of '%s'",
                def->cluster, d->local->cluster);
        store_complain(d, kv->key, &err);
        config_record_done(config);
        free(config);
        free(def);
    } else {
        if (d->config != NULL) {
            config_record_done(d->config);
            free(d->config);
        }
        free(d->next_def);
        d->config = config;
        d->config_revision = kv->mod_revision;
        d->next_def = def;
        d->next_def_revision = kv->mod_revision;
        const struct config_version *current = &config->current;
        struct api_config shown = {.yaml = current->text,
                                   .yaml_len = strlen(current->text),
                                   .wall_ms = current->at_wall_ms,
                                   .revision = kv->mod_revision};
        snprintf(shown.who, sizeof shown.who, "%s", current->applied_by);
        snprintf(shown.reason, sizeof shown.reason, "%s", current->reason);
        api_take_config(d->api, &shown);
    }
    free(complaints);
}

static void take_controller(struct daemon *d, const char *id, const struct etcd_kv *kv)
{
    struct controller_record *view = calloc(1, sizeof *view);
    struct err err = {0};
    if (view == NULL) {
        abort();
    }
    if (kv == NULL) {
        core_take_peer(d->core, id, NULL, clock_now_ms());
    } else if (controller_record_decode(kv->value, kv->value_len, view, &err) < 0) {
        store_complain(d, kv->key, &err);
        /* It is there and holds its lease, so nothing is done on our viewpoint alone (S11): it
         * counts as one that sees nothing. */
        memset(view, 0, sizeof *view);
        snprintf(view->id, sizeof view->id, "%s", id);
        core_take_peer(d->core, id, view, clock_now_ms());
    } else {
        core_take_peer(d->core, id, view, clock_now_ms());
    }
    free(view);
}

static void take_request(struct daemon *d, const struct etcd_kv *kv)
{
    struct request_record request;
    struct err err = {0};
    if (request_record_decode(kv->value, kv->value_len, &request, &err) < 0) {
        store_complain(d, kv->key, &err);
        return;
    }
    api_take_request(d->api, &request);
    if (d->core->leading && !core_take_request(d->core, &request, kv->mod_revision) &&
        !d->requests_waiting) {
        d->requests_waiting = true; /* until a save has made room for them */
        log_line(LOG_LEVEL_WARN, "many requests at once; they wait for those before them",
                 "request", request.id, NULL);
    }
}

static void take_incident(struct daemon *d, const struct etcd_kv *kv)
{
    struct incident_record *incident = calloc(1, sizeof *incident);
    struct err err = {0};
    if (incident == NULL) {
        abort();
    }
    if (incident_record_decode(kv->value, kv->value_len, incident, &err) < 0) {
        store_complain(d, kv->key, &err);
    } else {
        api_take_incident(d->api, incident);
        if (!d->core->leading || !d->core->loaded) {
            core_take_incident(d->core, incident, kv->mod_revision, clock_now_ms(),
                               clock_wall_ms());
        }
    }
    free(incident);
}

static void take_permit(struct daemon *d, const struct etcd_kv *kv)
{
    struct permit_record permit;
    struct err err = {0};
    if (permit_record_decode(kv->value, kv->value_len, &permit, &err) < 0) {
        store_complain(d, kv->key, &err);
    } else {
        identity_saw_epoch(d, permit.database, permit.epoch);
        core_take_permit(d->core, &permit, kv->mod_revision);
    }
}

static void take_group(struct daemon *d, const struct etcd_kv *kv)
{
    struct group_record *group = calloc(1, sizeof *group);
    struct err err = {0};
    if (group == NULL) {
        abort();
    }
    if (group_record_decode(kv->value, kv->value_len, group, &err) < 0) {
        store_complain(d, kv->key, &err);
    } else {
        core_take_group(d->core, group, kv->mod_revision, clock_now_ms());
    }
    free(group);
}

/* Nobody of ours deletes it. The definition in use is kept; what is applied next is stored anew. */
void store_lose_config(struct daemon *d)
{
    if (d->config_revision == 0) {
        return;
    }
    log_line(LOG_LEVEL_ERROR,
             "somebody has deleted the definition in etcd; the one in use is kept until a restart; "
             "store it again: failoverctl apply",
             NULL);
    d->config_revision = 0;
    api_take_config(d->api, NULL);
}

static void take_guard(struct daemon *d, const struct etcd_kv *kv)
{
    struct guard_record said;
    struct err err = {0};
    if (guard_record_decode(kv->value, kv->value_len, &said, &err) < 0) {
        store_complain(d, kv->key, &err);
    } else {
        core_take_guard(d->core, &said, kv->mod_revision, clock_now_ms());
    }
}

static void take_renewal(struct daemon *d, const char *database, const struct etcd_kv *kv)
{
    struct renewal_record renewal;
    struct err err = {0};
    if (renewal_record_decode(kv->value, kv->value_len, &renewal, &err) < 0) {
        core_lose_renewal(d->core, database);
        store_complain(d, kv->key, &err);
    } else {
        core_take_renewal(d->core, database, &renewal, kv->mod_revision, clock_now_ms());
    }
}

void store_take_key(struct daemon *d, const struct etcd_kv *kv)
{
    const char *rest;
    if (strncmp(kv->key, d->prefix, strlen(d->prefix)) != 0) {
        return;
    }
    const char *name = kv->key + strlen(d->prefix);
    if (strcmp(name, STORE_CONFIG) == 0) {
        take_config(d, kv);
    } else if (cut(kv->key, d->prefix, STORE_CONTROLLERS, &rest)) {
        take_controller(d, rest, kv);
    } else if (cut(kv->key, d->prefix, STORE_REQUESTS, &rest)) {
        take_request(d, kv);
    } else if (cut(kv->key, d->prefix, STORE_INCIDENTS, &rest)) {
        take_incident(d, kv);
    } else if (cut(kv->key, d->prefix, STORE_PERMITS, &rest)) {
        take_permit(d, kv);
    } else if (cut(kv->key, d->prefix, STORE_GROUPS, &rest)) {
        take_group(d, kv);
    } else if (cut(kv->key, d->prefix, STORE_GUARDS, &rest)) {
        take_guard(d, kv);
    } else if (cut(kv->key, d->prefix, STORE_RENEWALS, &rest)) {
        take_renewal(d, rest, kv);
    }
}

/* ---- a leader's records, changed by somebody else ---- */

static bool known_revision(const struct daemon *d, const char *key, int64_t *ret_revision,
                           struct save_item *ret_item)
{
    const char *rest;
    const struct core *core = d->core;
    if (cut(key, d->prefix, STORE_PERMITS, &rest)) {
        int db = definition_database(&core->def, rest);
        if (db < 0) {
            return false;
        }
        *ret_revision = core->databases[db].permit_revision;
        *ret_item = (struct save_item){.kind = SAVE_PERMIT, .index = db};
        return true;
    }
    if (cut(key, d->prefix, STORE_GROUPS, &rest)) {
        int g = definition_group(&core->def, rest);
        if (g < 0) {
            return false;
        }
        *ret_revision = core->groups[g].revision;
        *ret_item = (struct save_item){.kind = SAVE_GROUP, .index = g};
        return true;
    }
    return false;
}

static bool in_flight(const struct core *core, const struct save_item *item)
{
    for (int i = 0; i < core->in_flight.len && core->ticket_in_flight != 0; i++) {
        if (core->in_flight.items[i].kind == item->kind &&
            core->in_flight.items[i].index == item->index) {
            return true;
        }
    }
    return false;
}

/* True when the leader's records must be read again: a change that is not its own (failures.md
 * D20). */
static bool is_foreign(const struct daemon *d, const struct etcd_event *event)
{
    int64_t known;
    struct save_item item;
    if (!known_revision(d, event->kv.key, &known, &item) || in_flight(d->core, &item)) {
        return false; /* a save in flight meets a foreign change by its own compares */
    }
    return event->kv.mod_revision > known;
}

static void take_event(struct daemon *d, const struct etcd_event *event)
{
    const char *rest;
    bool deleted = event->kind == ETCD_EVENT_DELETE;
    bool installation = cut(event->kv.key, d->prefix, STORE_INSTALLATION, &rest) && *rest == '\0';
    if (identity_is_foreign(d) && !installation) {
        return; /* another life of the store: what is known of ours is kept, as for promises */
    }
    if (store_copy_wants(event->kv.key + strlen(d->prefix)) || installation) {
        copying_due(d);
    }
    bool record = cut(event->kv.key, d->prefix, STORE_PERMITS, &rest) ||
                  cut(event->kv.key, d->prefix, STORE_GROUPS, &rest);
    if (record && d->core->leading) {
        if (d->core->loaded && is_foreign(d, event)) {
            struct core_event told = daemon_event(EV_SAVE_FAILED);
            snprintf(told.save.text, sizeof told.save.text, "%.80s was %s by somebody else",
                     event->kv.key, deleted ? "deleted" : "written");
            daemon_post(d, &told);
        }
        return;
    }
    if (installation) {
        struct identity_seen seen = {.kv = deleted ? NULL : &event->kv, .has_config = true};
        identity_look(d, &seen);
    } else if (!deleted) {
        store_take_key(d, &event->kv);
    } else if (cut(event->kv.key, d->prefix, STORE_CONTROLLERS, &rest)) {
        take_controller(d, rest, NULL);
    } else if (cut(event->kv.key, d->prefix, STORE_RENEWALS, &rest)) {
        core_lose_renewal(d->core, rest);
    } else if (cut(event->kv.key, d->prefix, STORE_CONFIG, &rest) && *rest == '\0') {
        store_lose_config(d);
    }
}

/* A leader's own reading finds it again. */
static void lose_place(struct daemon *d)
{
    d->watch_lost = true;
    if (!d->core->leading) {
        reading_all(d);
        return;
    }
    struct core_event event = daemon_event(EV_SAVE_FAILED);
    snprintf(event.save.text, sizeof event.save.text, "the watch had lost its place");
    daemon_post(d, &event);
}

void store_on_watch(void *arg, const struct etcd_watch_news *news)
{
    struct daemon *d = arg;
    switch (news->kind) {
    case ETCD_WATCH_STARTED: break;
    case ETCD_WATCH_EVENTS:
        for (int i = 0; i < news->events_len; i++) {
            take_event(d, &news->events[i]);
            core_saw(d->core, news->events[i].kv.mod_revision);
        }
        struct core_event event = daemon_event(EV_PEER);
        daemon_post(d, &event);
        break;
    case ETCD_WATCH_BROKEN:
        log_line(LOG_LEVEL_WARN, "the watch on etcd broke; it will be resumed", "detail",
                 news->text, NULL);
        break;
    case ETCD_WATCH_COMPACTED:
        log_line(LOG_LEVEL_WARN,
                 "etcd's history is gone before this watch; reading everything again", NULL);
        lose_place(d);
        break;
    }
}

void store_offer_definition(struct daemon *d)
{
    if (d->next_def == NULL || d->stopping) {
        return;
    }
    if (!core_take_definition(d->core, d->next_def, d->next_def_revision)) {
        return; /* a workflow runs; it is offered again after the next step */
    }
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)d->next_def_revision);
    log_line(LOG_LEVEL_INFO, "definition taken up", "revision", text, NULL);
    free(d->next_def);
    d->next_def = NULL;
    acting_rebuild(d);
    probing_rebuild(d);
    daemon_renew_election(d, definition_profile(&d->core->def)->lease_ms);
    if (d->core->leading) {
        reading_reload(d);
    } else {
        reading_all(d);
    }
}

/* ---- saving ---- */

struct save {
    struct daemon *daemon;
    uint32_t ticket;
    struct seen_epoch epochs[DATABASES_MAX]; /* of the permits in it */
    int epochs_len;
};

static void on_saved(void *arg, const struct etcd_reply *reply)
{
    struct save *save = arg;
    struct daemon *d = save->daemon;
    bool accepted = reply->outcome == ETCD_OK && reply->succeeded;
    struct core_event event = daemon_event(accepted ? EV_SAVED : EV_SAVE_FAILED);
    event.save.ticket = save->ticket;
    event.save.revision = reply->revision;
    if (!accepted) {
        snprintf(event.save.text, sizeof event.save.text, "%.150s",
                 reply->outcome == ETCD_OK
                     ? "a compare failed: the term or a record is not what it was"
                     : reply->text);
    }
    FAIL_POINT_SAVE(d, "after", save->ticket);
    daemon_post(d, &event);
    if (accepted) {
        d->saved_revision = reply->revision;
        for (int i = 0; i < save->epochs_len; i++) {
            identity_saw_epoch(d, save->epochs[i].database, save->epochs[i].epoch);
        }
        copying_due(d);
    }
    free(save);
    keeping_judge(d, reply);
}

static char *encode_item(struct daemon *d, const struct save_item *item, char key[KEY_SIZE],
                         size_t *ret_len)
{
    struct core *core = d->core;
    const struct group_state *group = &core->groups[item->index];
    switch (item->kind) {
    case SAVE_GROUP:
        snprintf(key, KEY_SIZE, "%s" STORE_GROUPS "%s", d->prefix, group->record.name);
        return group_record_encode(&group->record, ret_len);
    case SAVE_INCIDENT:
        snprintf(key, KEY_SIZE, "%s" STORE_INCIDENTS "%s", d->prefix, group->incident.id);
        return incident_record_encode(&group->incident, ret_len);
    case SAVE_PERMIT:
        snprintf(key, KEY_SIZE, "%s" STORE_PERMITS "%s", d->prefix,
                 core->databases[item->index].permit.database);
        return permit_record_encode(&core->databases[item->index].permit, ret_len);
    case SAVE_REQUEST:
        snprintf(key, KEY_SIZE, "%s" STORE_REQUESTS "%s", d->prefix,
                 core->requests[item->index].record.id);
        return request_record_encode(&core->requests[item->index].record, ret_len);
    }
    abort();
}

void store_save(struct daemon *d, const struct effect *effect)
{
    struct etcd_txn *txn = calloc(1, sizeof *txn);
    struct save *save = calloc(1, sizeof *save);
    char(*keys)[KEY_SIZE] = calloc(SAVE_ITEMS_MAX + 1, KEY_SIZE);
    char *values[SAVE_ITEMS_MAX];
    if (txn == NULL || save == NULL || keys == NULL) {
        abort();
    }
    *save = (struct save){.daemon = d, .ticket = effect->save.ticket};
    snprintf(keys[SAVE_ITEMS_MAX], KEY_SIZE, "%s" STORE_LEADER, d->prefix);
    etcd_txn_if_create(txn, keys[SAVE_ITEMS_MAX], d->core->term);
    for (int i = 0; i < effect->save.items_len; i++) {
        size_t len = 0;
        values[i] = encode_item(d, &effect->save.items[i], keys[i], &len);
        if (values[i] == NULL) {
            abort();
        }
        etcd_txn_if_mod(txn, keys[i], effect->save.items[i].revision);
        etcd_txn_then_put(txn, keys[i], values[i], len, 0);
        if (effect->save.items[i].kind == SAVE_PERMIT && save->epochs_len < DATABASES_MAX) {
            const struct permit_record *permit =
                &d->core->databases[effect->save.items[i].index].permit;
            struct seen_epoch *seen = &save->epochs[save->epochs_len++];
            memcpy(seen->database, permit->database, sizeof seen->database);
            seen->epoch = permit->epoch;
        }
    }
    FAIL_POINT_SAVE(d, "before", save->ticket);
    etcd_txn(d->etcd, txn, SAVE_MS, on_saved, save);
    for (int i = 0; i < effect->save.items_len; i++) {
        free(values[i]);
    }
    free(keys);
    free(txn);
}

/* ---- presence ---- */

char *store_encode_view(struct daemon *d, size_t *ret_len)
{
    struct controller_record *view = calloc(1, sizeof *view);
    if (view == NULL) {
        abort();
    }
    d->core->promises = d->https.listening[0] != '\0';
    core_view(d->core, clock_now_ms(), view);
    view->started_wall_ms = (uint64_t)d->started_wall_ms;
    snprintf(view->version, sizeof view->version, "%s", FAILOVER_VERSION);
    /* Where others reach it: over HTTPS; without that, only who is on the same machine does. */
    if (d->https.listening[0] != '\0') {
        snprintf(view->api, sizeof view->api, "https://%.100s", d->https.listening);
    } else {
        snprintf(view->api, sizeof view->api, "%s", d->local->socket);
    }
    char *text = controller_record_encode(view, ret_len);
    free(view);
    return text;
}

static void on_heartbeat(void *arg, const struct etcd_reply *reply)
{
    struct daemon *d = arg;
    if (reply->outcome == ETCD_OK) {
        identity_wrote(d, reply->revision, d->heartbeat_floor);
    }
    /* An unknown one is repeated within a second; the lease's fate is the election's. */
    d->heartbeat_running = false;
    keeping_judge(d, reply);
    if (d->heartbeat_again) {
        store_heartbeat(d);
    }
}

void store_heartbeat(struct daemon *d)
{
    if (d->election == NULL || d->stopping || election_lease_id(d->election) == 0) {
        return;
    }
    if (d->heartbeat_running) {
        d->heartbeat_again = true;
        return;
    }
    char key[KEY_SIZE];
    size_t len;
    char *view = store_encode_view(d, &len);
    if (view == NULL) {
        abort();
    }
    snprintf(key, sizeof key, "%s" STORE_CONTROLLERS "%s", d->prefix, d->local->id);
    d->heartbeat_again = false;
    d->heartbeat_running = true;
    d->heartbeat_floor = d->revision_floor;
    etcd_put(d->etcd, key, view, len, election_lease_id(d->election), HEARTBEAT_MS, on_heartbeat,
             d);
    free(view);
    timer_start(d->heartbeat, HEARTBEAT_MS);
}

static void on_heartbeat_due(void *arg)
{
    struct daemon *d = arg;
    store_heartbeat(d);
    timer_start(d->heartbeat, HEARTBEAT_MS);
}

/* ---- what the API writes ---- */

struct put {
    struct daemon *daemon;
    char id[ID_SIZE];
};

static struct put *put_new(struct daemon *d, const char *id)
{
    struct put *put = calloc(1, sizeof *put);
    if (put == NULL) {
        abort();
    }
    put->daemon = d;
    snprintf(put->id, sizeof put->id, "%s", id);
    return put;
}

static void on_put(void *arg, const struct etcd_reply *reply)
{
    struct put *put = arg;
    enum api_write_state state = API_WRITE_UNKNOWN;
    const char *text = reply->text;
    if (reply->outcome == ETCD_OK) {
        state = reply->succeeded ? API_WRITE_STORED : API_WRITE_FAILED;
        text =
            reply->succeeded ? "" : "somebody else has written it in the meantime; nothing changed";
    } else if (reply->outcome == ETCD_REFUSED || !reply->sent) {
        state = API_WRITE_FAILED;
    }
    api_write_done(put->daemon->api, put->id, state, reply->revision, text);
    free(put);
}

void store_put_request(void *arg, const struct request_record *request)
{
    struct daemon *d = arg;
    char key[KEY_SIZE];
    size_t len;
    char *text = request_record_encode(request, &len);
    struct etcd_txn *txn = calloc(1, sizeof *txn);
    if (text == NULL || txn == NULL) {
        abort();
    }
    snprintf(key, sizeof key, "%s" STORE_REQUESTS "%s", d->prefix, request->id);
    etcd_txn_if_create(txn, key, 0);
    etcd_txn_then_put(txn, key, text, len, 0);
    etcd_txn(d->etcd, txn, SAVE_MS, on_put, put_new(d, request->id));
    free(text);
    free(txn);
}

static char *new_installation(struct daemon *d, size_t *ret_len)
{
    unsigned char random[16];
    struct installation installation = {.cluster_id = etcd_health(d->etcd).cluster_id,
                                        .incarnation = 1};
    if (uv_random(NULL, NULL, random, sizeof random, 0, NULL) != 0) {
        abort();
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(installation.id + 2 * i, 3, "%02x", random[i]);
    }
    char *text = installation_encode(&installation, ret_len);
    if (text == NULL) {
        abort();
    }
    return text;
}

/* The stored record with its history, and the new text in front of it. */
static int next_config(const struct config_record *stored, const struct api_config *config,
                       struct config_record *ret_next, struct err *ret_err)
{
    size_t len;
    char *copy = stored != NULL ? config_record_encode(stored, &len) : NULL;
    char *text = strndup(config->yaml, config->yaml_len);
    int result = -1;
    if (text == NULL || (stored != NULL && copy == NULL)) {
        abort();
    }
    memset(ret_next, 0, sizeof *ret_next);
    if (stored == NULL || config_record_decode(copy, len, ret_next, ret_err) == 0) {
        result = config_record_apply(ret_next, text, config->who, config->reason, config->wall_ms);
    }
    free(text);
    free(copy);
    return result;
}

struct config_put {
    struct put *put;
    char *text; /* the record */
    size_t len;
    int64_t revision; /* that it must still have; 0: there is none */
};

static void send_config(struct daemon *d, struct config_put *config)
{
    char key[KEY_SIZE];
    char installation_key[KEY_SIZE];
    char *installation = NULL;
    struct etcd_txn *txn = calloc(1, sizeof *txn);
    if (txn == NULL) {
        abort();
    }
    snprintf(key, sizeof key, "%s" STORE_CONFIG, d->prefix);
    snprintf(installation_key, sizeof installation_key, "%s" STORE_INSTALLATION, d->prefix);
    etcd_txn_if_mod(txn, key, config->revision);
    etcd_txn_then_put(txn, key, config->text, config->len, 0);
    if (config->revision == 0 && d->installation.id[0] == '\0') { /* the first one founds it */
        size_t len = 0;
        installation = new_installation(d, &len);
        etcd_txn_if_create(txn, installation_key, 0);
        etcd_txn_then_put(txn, installation_key, installation, len, 0);
    }
    etcd_txn(d->etcd, txn, SAVE_MS, on_put, config->put);
    free(installation);
    free(txn);
    free(config->text);
    free(config);
}

/* Whose store it is is known now: an installation is not founded in a cluster without an id. */
static void on_acquainted(void *arg, const struct etcd_reply *reply)
{
    struct config_put *config = arg;
    struct daemon *d = config->put->daemon;
    if (reply->outcome == ETCD_OK && d->identity_problem[0] == '\0') {
        send_config(d, config);
        return;
    }
    api_write_done(d->api, config->put->id, API_WRITE_FAILED, 0,
                   reply->outcome == ETCD_OK ? d->identity_problem : reply->text);
    free(config->put);
    free(config->text);
    free(config);
}

void store_put_config(void *arg, const char *id, const struct api_config *config)
{
    struct daemon *d = arg;
    char key[KEY_SIZE];
    struct config_record next;
    struct err err = {0};
    struct config_put *put = calloc(1, sizeof *put);
    if (put == NULL) {
        abort();
    }
    if (next_config(d->config, config, &next, &err) < 0) {
        api_write_done(d->api, id, API_WRITE_FAILED, 0, err.text);
        free(put);
        return;
    }
    *put = (struct config_put){.put = put_new(d, id), .revision = config->revision};
    put->text = config_record_encode(&next, &put->len);
    config_record_done(&next);
    if (put->text == NULL) {
        abort();
    }
    snprintf(key, sizeof key, "%s" STORE_INSTALLATION, d->prefix);
    struct etcd_range range = {.key = key, .keys_only = true};
    etcd_range(d->etcd, &range, SAVE_MS, on_acquainted, put);
}

/* ---- start and end ---- */

void store_start(struct daemon *d)
{
    d->heartbeat = timer_new(d->loop, on_heartbeat_due, d);
    timer_start(d->heartbeat, HEARTBEAT_MS);
    keeping_start(d);
    reading_start(d);
}

void store_stop(struct daemon *d)
{
    reading_stop(d);
    keeping_stop(d);
    timer_free(d->heartbeat);
    d->heartbeat = NULL;
}
