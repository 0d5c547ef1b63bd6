/*
 * reading.c - everything that etcd holds for this cluster, as one picture.
 *
 * The happy path: the keys come in pages, all of one revision; when the last page is there, the
 * picture is taken up at once, and the watch goes on from the revision behind it, so that nothing
 * is missed and nothing half known.
 *
 * A follower reads as of now. A leader first writes, under its term, and reads as of that write: a
 * member that is behind says so instead of answering with what was (design §4, "never decide on a
 * read alone").
 *
 * A cluster that has lived long has many requests and incidents that are over. They are shown to
 * the API as they come, and not kept for the picture: how long the past is must not decide
 * whether a leader can take over.
 *
 *   no answer, a compacted revision, another cluster    the whole reading again, a little later
 *   the term is another's                               resign
 *   leadership ends meanwhile                           what was read confirms nothing: dropped
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/keep.h"
#include "controller/cluster/store_keys.h"
#include "controller/core/retention.h"
#include "controller/daemon/daemon.h"
#include "controller/etcd/pager.h"

#define READ_MS       3000 /* for each page */
#define RETRY_MS      200
#define IDENTITY_MS   2000 /* between looks whether the right store is back */
#define WATCH_IDLE_MS 4000
#define BEHIND_MAX    3 /* readings in a row below what a write has shown: it is the store itself */
#define PICTURE_MAX   4096 /* keys: far more than a definition can name */

struct kept_key {
    struct etcd_kv kv; /* its texts are this picture's */
    char group[NAME_SIZE];
    char id[ID_SIZE];
    bool ended; /* an incident that is over: only the latest of its group is kept */
};

struct reading {
    struct daemon *daemon;
    bool confirmed; /* a leader's: by the write that comes first */
    struct etcd_call *confirm;
    struct etcd_pager *pager;
    int64_t floor; /* of etcd's revision, when it began */
    int64_t revision;
    struct kept_key *keys;
    int len, size;
};

/* ---- the picture ---- */

static void forget_key(struct kept_key *key)
{
    free((char *)key->kv.key);
    free((char *)key->kv.value);
}

static void reading_free(struct reading *reading)
{
    if (reading == NULL) {
        return;
    }
    etcd_cancel(reading->confirm);
    etcd_pager_free(reading->pager);
    for (int i = 0; i < reading->len; i++) {
        forget_key(&reading->keys[i]);
    }
    free(reading->keys);
    free(reading);
}

static struct kept_key *keep(struct reading *reading, const struct etcd_kv *kv)
{
    if (reading->len == reading->size) {
        reading->size = reading->size > 0 ? 2 * reading->size : 32;
        reading->keys = realloc(reading->keys, (size_t)reading->size * sizeof *reading->keys);
        if (reading->keys == NULL) {
            abort();
        }
    }
    struct kept_key *key = &reading->keys[reading->len++];
    memset(key, 0, sizeof *key);
    key->kv = *kv;
    key->kv.key = keep_text(kv->key, kv->key_len);
    key->kv.value = keep_text(kv->value, kv->value_len);
    return key;
}

static void keep_request(struct reading *reading, const struct etcd_kv *kv)
{
    struct request_record request;
    struct err err = {0};
    if (request_record_decode(kv->value, kv->value_len, &request, &err) < 0) {
        store_complain(reading->daemon, kv->key, &err);
        return;
    }
    api_take_request(reading->daemon->api, &request);
    if (retention_request_is_open(&request)) {
        keep(reading, kv);
    }
}

/* The place of the one ended incident of this group that is kept, or NULL. */
static struct kept_key *ended_of(struct reading *reading, const char *group)
{
    for (int i = 0; i < reading->len; i++) {
        if (reading->keys[i].ended && strcmp(reading->keys[i].group, group) == 0) {
            return &reading->keys[i];
        }
    }
    return NULL;
}

static void keep_incident(struct reading *reading, const struct etcd_kv *kv)
{
    struct incident_record *incident = calloc(1, sizeof *incident);
    struct err err = {0};
    if (incident == NULL) {
        abort();
    }
    if (incident_record_decode(kv->value, kv->value_len, incident, &err) < 0) {
        store_complain(reading->daemon, kv->key, &err);
        free(incident);
        return;
    }
    api_take_incident(reading->daemon->api, incident);
    bool ended = incident->state != INCIDENT_OPEN;
    struct kept_key *before = ended ? ended_of(reading, incident->group) : NULL;
    if (before != NULL && strcmp(before->id, incident->id) < 0) {
        forget_key(before);
        *before = reading->keys[--reading->len];
        before = NULL;
    }
    if (before == NULL) {
        struct kept_key *key = keep(reading, kv);
        key->ended = ended;
        snprintf(key->group, sizeof key->group, "%s", incident->group);
        snprintf(key->id, sizeof key->id, "%s", incident->id);
    }
    free(incident);
}

static void keep_key(struct reading *reading, const struct etcd_kv *kv)
{
    const char *name = kv->key + strlen(reading->daemon->prefix);
    if (strncmp(name, STORE_REQUESTS, strlen(STORE_REQUESTS)) == 0) {
        keep_request(reading, kv);
    } else if (strncmp(name, STORE_INCIDENTS, strlen(STORE_INCIDENTS)) == 0) {
        keep_incident(reading, kv);
    } else {
        keep(reading, kv);
    }
}

static const struct etcd_kv *find(const struct reading *reading, const char *name)
{
    size_t prefix = strlen(reading->daemon->prefix);
    for (int i = 0; i < reading->len; i++) {
        if (strcmp(reading->keys[i].kv.key + prefix, name) == 0) {
            return &reading->keys[i].kv;
        }
    }
    return NULL;
}

static void take_absent_peers(struct daemon *d, const struct reading *reading)
{
    for (int p = 0; p < PEERS_MAX; p++) {
        const struct peer_state *peer = &d->core->peers[p];
        char name[NAME_SIZE + sizeof STORE_CONTROLLERS];
        snprintf(name, sizeof name, STORE_CONTROLLERS "%s", peer->view.id);
        if (peer->used && peer->present && find(reading, name) == NULL) {
            core_take_peer(d->core, peer->view.id, NULL, clock_now_ms());
        }
    }
}

static void take_absent_renewals(struct daemon *d, const struct reading *reading)
{
    for (int db = 0; db < d->core->def.databases_len; db++) {
        char name[NAME_SIZE + sizeof STORE_RENEWALS];
        snprintf(name, sizeof name, STORE_RENEWALS "%s", d->core->def.databases[db].name);
        if (find(reading, name) == NULL) {
            core_lose_renewal(d->core, d->core->def.databases[db].name);
        }
    }
}

static void take_up(struct daemon *d, const struct reading *reading)
{
    /* The definition first: records are filed by its names. */
    const struct etcd_kv *config = find(reading, STORE_CONFIG);
    if (config == NULL) {
        store_lose_config(d);
    } else if (config->mod_revision != d->config_revision) {
        store_take_key(d, config);
    }
    if (d->next_def != NULL && core_take_definition(d->core, d->next_def, d->next_def_revision)) {
        free(d->next_def);
        d->next_def = NULL;
        probing_rebuild(d);
        acting_rebuild(d);
    }
    core_forget_records(d->core);
    for (int i = 0; i < reading->len; i++) {
        if (&reading->keys[i].kv != config) {
            store_take_key(d, &reading->keys[i].kv);
        }
    }
    take_absent_peers(d, reading);
    take_absent_renewals(d, reading);
}

/* ---- one reading ---- */

static void retry_later(struct daemon *d)
{
    if (!d->stopping) {
        timer_start(d->store_retry, d->identity_problem[0] != '\0' ? IDENTITY_MS : RETRY_MS);
    }
}

static void end(struct daemon *d)
{
    reading_free(d->reading);
    d->reading = NULL;
}

static void fail(struct reading *reading, enum etcd_reason reason, const char *text)
{
    struct daemon *d = reading->daemon;
    if (reading->confirmed) {
        log_line(LOG_LEVEL_WARN, "the records cannot be confirmed yet; nothing is done", "detail",
                 text, NULL);
    } else if (!d->store_read) {
        log_line(LOG_LEVEL_WARN, "etcd cannot be read yet", "detail", text, NULL);
    }
    if (reason == ETCD_WRONG_CLUSTER) {
        identity_lost(d);
    }
    d->store_tried = true;
    end(d);
    retry_later(d);
}

static void follow_from(struct daemon *d, int64_t revision)
{
    d->watch_lost = false;
    if (d->watch == NULL) {
        d->watch = etcd_watch_new(d->etcd, d->prefix, true, revision + 1, WATCH_IDLE_MS,
                                  store_on_watch, d);
    } else {
        etcd_watch_restart(d->watch, revision + 1);
    }
}

static uint32_t wanted_ttl(const struct daemon *d)
{
    return d->core->defined ? definition_profile(&d->core->def)->lease_ms
                            : profiles[PROFILE_DEFAULT].lease_ms;
}

static void finish_follower(struct daemon *d, const struct reading *reading)
{
    take_up(d, reading);
    core_saw(d->core, reading->revision);
    follow_from(d, reading->revision);
    d->store_read = true;
    if (d->identity_problem[0] == '\0') {
        daemon_start_election(d, wanted_ttl(d));
        daemon_renew_election(d, wanted_ttl(d));
    } else {
        retry_later(d);
    }
    struct core_event tick = daemon_event(EV_TICK);
    daemon_post(d, &tick);
}

static void finish_leader(struct daemon *d, const struct reading *reading)
{
    if (d->identity_problem[0] != '\0') {
        return; /* it has stood down, and leads no more */
    }
    take_up(d, reading);
    core_saw(d->core, reading->revision);
    follow_from(d, reading->revision);
    struct core_event event = daemon_event(EV_LOADED);
    event.loaded.revision = reading->revision;
    daemon_post(d, &event);
}

static void compare_epochs(struct daemon *d, const struct reading *reading)
{
    d->lower_epoch[0] = '\0';
    for (int i = 0; i < reading->len; i++) {
        const char *name = reading->keys[i].kv.key + strlen(d->prefix);
        if (strncmp(name, STORE_PERMITS, strlen(STORE_PERMITS)) == 0) {
            identity_compare(d, &reading->keys[i].kv);
        }
    }
}

static void finish(struct reading *reading)
{
    struct daemon *d = reading->daemon;
    d->store_tried = true;
    if (!reading->confirmed && reading->revision < reading->floor && d->behind++ < BEHIND_MAX) {
        fail(reading, ETCD_STALE, "a member answers from its memory");
        return;
    }
    d->behind = 0;
    d->reading = NULL;
    d->reloading = false;
    compare_epochs(d, reading);
    struct identity_seen seen = {.kv = find(reading, STORE_INSTALLATION),
                                 .has_config = find(reading, STORE_CONFIG) != NULL,
                                 .revision = reading->revision,
                                 .floor = reading->floor};
    identity_look(d, &seen);
    if (identity_is_foreign(d)) {
        retry_later(d);
    } else if (reading->confirmed && d->core->leading) {
        finish_leader(d, reading);
    } else if (!reading->confirmed && !d->core->leading) {
        finish_follower(d, reading);
    }
    reading_free(reading);
}

static void on_page(void *arg, const struct etcd_page *page)
{
    struct reading *reading = arg;
    if (page->outcome != ETCD_OK) {
        fail(reading, page->reason, page->text);
        return;
    }
    reading->revision = page->revision;
    for (int i = 0; i < page->kvs_len; i++) {
        keep_key(reading, &page->kvs[i]);
    }
    if (reading->len > PICTURE_MAX) {
        fail(reading, ETCD_NO_REASON,
             "there are more keys below the cluster's prefix than a definition can name");
    } else if (page->last) {
        finish(reading);
    }
}

static void read_pages(struct reading *reading, int64_t revision)
{
    struct daemon *d = reading->daemon;
    reading->pager = etcd_pager_new(d->etcd, d->prefix, revision, READ_MS, on_page, reading);
}

static void on_confirmed(void *arg, const struct etcd_reply *reply)
{
    struct reading *reading = arg;
    struct daemon *d = reading->daemon;
    reading->confirm = NULL;
    if (reply->outcome != ETCD_OK) {
        fail(reading, reply->reason, reply->text);
    } else if (!reply->succeeded) {
        log_line(LOG_LEVEL_WARN, "the term is not this controller's any more", NULL);
        d->reloading = false;
        end(d);
        daemon_resign(d, "the term is another's");
    } else {
        identity_wrote(d, reply->revision, reading->floor);
        if (d->reading == reading) { /* it has not stood down meanwhile */
            read_pages(reading, reply->revision);
        }
    }
}

static void confirm(struct reading *reading)
{
    struct daemon *d = reading->daemon;
    char leader[STORE_KEY_SIZE];
    char own[STORE_KEY_SIZE];
    size_t len;
    char *view = store_encode_view(d, &len);
    struct etcd_txn *txn = calloc(1, sizeof *txn);
    if (txn == NULL || view == NULL) {
        abort();
    }
    snprintf(leader, sizeof leader, "%s" STORE_LEADER, d->prefix);
    snprintf(own, sizeof own, "%s" STORE_CONTROLLERS "%s", d->prefix, d->local->id);
    etcd_txn_if_create(txn, leader, election_term(d->election));
    etcd_txn_then_put(txn, own, view, len, election_lease_id(d->election));
    reading->confirm = etcd_txn(d->etcd, txn, READ_MS, on_confirmed, reading);
    free(view);
    free(txn);
}

static void begin(struct daemon *d, bool confirmed)
{
    end(d);
    d->reading = calloc(1, sizeof *d->reading);
    if (d->reading == NULL) {
        abort();
    }
    d->reading->daemon = d;
    d->reading->confirmed = confirmed;
    d->reading->floor = d->revision_floor;
    if (confirmed) {
        confirm(d->reading);
    } else {
        read_pages(d->reading, 0);
    }
}

/* ---- requests that found no place ---- */

static void on_requests(void *arg, const struct etcd_page *page)
{
    struct daemon *d = arg;
    /* What this leader has answered since must not be taken for new: then everything again. */
    bool stale = page->revision < d->saved_revision;
    bool good = page->outcome == ETCD_OK && d->core->leading && d->core->loaded && !stale;
    d->requests_waiting = !good;
    for (int i = 0; i < page->kvs_len && good && !d->requests_waiting; i++) {
        store_take_key(d, &page->kvs[i]); /* sets requests_waiting when the core has no room */
    }
    if (page->last || d->requests_waiting) {
        etcd_pager_free(d->requests);
        d->requests = NULL;
        if (stale && page->outcome == ETCD_OK) {
            reading_requests(d);
        }
    }
}

void reading_requests(struct daemon *d)
{
    if (d->requests != NULL || d->stopping) {
        return;
    }
    char prefix[STORE_KEY_SIZE];
    snprintf(prefix, sizeof prefix, "%s" STORE_REQUESTS, d->prefix);
    d->requests = etcd_pager_new(d->etcd, prefix, 0, READ_MS, on_requests, d);
}

/* ---- from outside ---- */

void reading_all(struct daemon *d)
{
    if (!d->stopping && !(d->reading != NULL && d->reading->confirmed)) {
        begin(d, false);
    }
}

static void reload(struct daemon *d)
{
    if (d->election == NULL || election_term(d->election) == 0) {
        d->reloading = false;
        return;
    }
    begin(d, true);
}

void reading_reload(struct daemon *d)
{
    if (!d->reloading && !d->stopping) {
        d->reloading = true;
        reload(d);
    }
}

void reading_drop_reload(struct daemon *d)
{
    d->reloading = false;
    if (d->reading != NULL && d->reading->confirmed) {
        end(d);
    }
    if (d->watch_lost) {
        retry_later(d); /* the leader's reading would have found its place again */
    }
}

static void on_retry(void *arg)
{
    struct daemon *d = arg;
    if (d->reading != NULL) {
        return;
    }
    if (d->reloading && d->core->leading) {
        reload(d);
    } else if (!d->core->leading) {
        reading_all(d);
    }
}

void reading_start(struct daemon *d)
{
    d->store_retry = timer_new(d->loop, on_retry, d);
    reading_all(d);
}

void reading_stop(struct daemon *d)
{
    d->reloading = false;
    end(d);
    etcd_pager_free(d->requests);
    d->requests = NULL;
    etcd_watch_free(d->watch);
    d->watch = NULL;
    timer_free(d->store_retry);
    d->store_retry = NULL;
}
