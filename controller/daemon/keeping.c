/*
 * keeping.c - what keeps etcd small (S15), and whether it takes writes.
 *
 *   history    the leader compacts to ten minutes back
 *   records    the leader deletes requests and incidents that core/retention.h lets go, each by a
 *              write that compares its term and the record's revision
 *   size       every controller looks at its member's size and alarms, and shows them
 *   writes     a refused write is no accident of one call: a leader that cannot write resigns
 *              (failures.md D15, D18), and the first write that is accepted ends the trouble
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/store_keys.h"
#include "controller/core/retention.h"
#include "controller/daemon/daemon.h"
#include "controller/etcd/compactor.h"
#include "controller/etcd/pager.h"

#define LOOK_EVERY_MS   5000
#define LOOK_MS         3000
#define PRUNE_EVERY_MS  600000
#define PRUNE_FIRST_MS  10000 /* a successor's way is not to be crossed in its first seconds */
#define PRUNE_MS        3000  /* for one page, one write */
#define PRUNE_ITEMS_MAX 65536 /* looked at in one round; the rest in the next */
#define PRUNE_AT_ONCE   30    /* deleted by one write */

#ifndef COMPACT_EVERY_MS /* the build of a test that has no ten minutes to spare has less */
#define COMPACT_EVERY_MS 60000
#endif

/* ---- history ---- */

static bool may_compact(void *arg)
{
    return daemon_may_act(arg);
}

static void on_compact_failed(void *arg, const char *text)
{
    (void)arg;
    log_line(LOG_LEVEL_WARN, "etcd's history was not compacted", "detail", text, NULL);
}

/* ---- records ---- */

struct prune_key {
    struct retained item;
    char id[ID_SIZE];
};

struct prune {
    struct daemon *daemon;
    const char *kind; /* STORE_REQUESTS, then STORE_INCIDENTS */
    struct etcd_pager *pager;
    struct etcd_call *call;
    struct prune_key *keys;
    int len, size;
    int *goes;
    int goes_len;
    int deleted;
};

static void prune_free(struct prune *prune)
{
    if (prune != NULL) {
        etcd_pager_free(prune->pager);
        etcd_cancel(prune->call);
        free(prune->keys);
        free(prune->goes);
        free(prune);
    }
}

static void prune_kind(struct prune *prune, const char *kind);

/* The one end of a round. */
static void prune_end(struct prune *prune, const char *trouble)
{
    struct daemon *d = prune->daemon;
    bool more = prune->len == PRUNE_ITEMS_MAX;
    char text[16];
    snprintf(text, sizeof text, "%d", prune->deleted);
    if (trouble != NULL) {
        log_line(LOG_LEVEL_WARN, "old records were not deleted; tried again later", "kind",
                 prune->kind, "detail", trouble, NULL);
    } else if (prune->deleted > 0) {
        log_line(LOG_LEVEL_INFO, "old records are deleted", "kind", prune->kind, "records", text,
                 NULL);
    }
    if (trouble == NULL && strcmp(prune->kind, STORE_REQUESTS) == 0) {
        prune_kind(prune, STORE_INCIDENTS);
        return;
    }
    d->prune = NULL;
    prune_free(prune);
    timer_start(d->pruner, more ? PRUNE_FIRST_MS : PRUNE_EVERY_MS);
}

static void prune_next(struct prune *prune);

static void on_pruned(void *arg, const struct etcd_reply *reply)
{
    struct prune *prune = arg;
    prune->call = NULL;
    if (reply->outcome != ETCD_OK) {
        prune_end(prune, reply->text);
    } else if (!reply->succeeded) {
        prune_end(prune, "the term or a record is not what it was");
    } else {
        prune->deleted += reply->responses_len;
        prune_next(prune);
    }
}

static void prune_next(struct prune *prune)
{
    struct daemon *d = prune->daemon;
    char keys[PRUNE_AT_ONCE + 1][STORE_KEY_SIZE];
    if (prune->goes_len == 0 || !daemon_may_act(d)) {
        prune_end(prune, NULL);
        return;
    }
    struct etcd_txn *txn = calloc(1, sizeof *txn);
    if (txn == NULL) {
        abort(); /* safe: the other controller goes on */
    }
    snprintf(keys[PRUNE_AT_ONCE], STORE_KEY_SIZE, "%s" STORE_LEADER, d->prefix);
    etcd_txn_if_create(txn, keys[PRUNE_AT_ONCE], d->core->term);
    for (int i = 0; i < PRUNE_AT_ONCE && prune->goes_len > 0; i++) {
        const struct prune_key *key = &prune->keys[prune->goes[--prune->goes_len]];
        snprintf(keys[i], STORE_KEY_SIZE, "%s%s%s", d->prefix, prune->kind, key->id);
        etcd_txn_if_mod(txn, keys[i], key->item.revision);
        etcd_txn_then_delete(txn, keys[i], false);
    }
    prune->call = etcd_txn(d->etcd, txn, PRUNE_MS, on_pruned, prune);
    free(txn);
}

static int newest_first(const void *a, const void *b)
{
    const struct prune_key *left = a;
    const struct prune_key *right = b;
    return left->item.revision < right->item.revision   ? 1
           : left->item.revision > right->item.revision ? -1
                                                        : 0;
}

static void choose(struct prune *prune)
{
    bool requests = strcmp(prune->kind, STORE_REQUESTS) == 0;
    struct retention limits = requests ? RETENTION_REQUESTS : RETENTION_INCIDENTS;
    struct retained *items = calloc((size_t)prune->len + 1, sizeof *items);
    prune->goes = calloc((size_t)prune->len + 1, sizeof *prune->goes);
    if (items == NULL || prune->goes == NULL) {
        abort();
    }
    if (prune->len > 0) {
        qsort(prune->keys, (size_t)prune->len, sizeof *prune->keys, newest_first);
    }
    for (int i = 0; i < prune->len; i++) {
        items[i] = prune->keys[i].item;
    }
    prune->goes_len =
        retention_choose(&limits, items, prune->len, clock_wall_ms(), prune->goes, prune->len);
    free(items);
}

/* What cannot be read is nobody's to delete: it is left alone, and complained about elsewhere. */
static bool read_item(struct prune *prune, const struct etcd_kv *kv, struct prune_key *ret)
{
    struct err err = {0};
    bool good;
    const char *id = kv->key + strlen(prune->daemon->prefix) + strlen(prune->kind);
    if (strlen(id) >= sizeof ret->id) {
        return false;
    }
    memset(ret, 0, sizeof *ret);
    snprintf(ret->id, sizeof ret->id, "%s", id);
    ret->item.revision = kv->mod_revision;
    if (strcmp(prune->kind, STORE_REQUESTS) == 0) {
        struct request_record request;
        good = request_record_decode(kv->value, kv->value_len, &request, &err) == 0;
        if (good) {
            ret->item.wall_ms = request.asked_wall_ms;
            ret->item.open = retention_request_is_open(&request);
        }
        return good;
    }
    struct incident_record *incident = calloc(1, sizeof *incident);
    if (incident == NULL) {
        abort();
    }
    good = incident_record_decode(kv->value, kv->value_len, incident, &err) == 0;
    if (good) {
        ret->item.wall_ms = incident->opened_wall_ms;
        ret->item.open = retention_incident_is_open(prune->daemon->core, incident);
    }
    free(incident);
    return good;
}

static void add_item(struct prune *prune, const struct prune_key *key)
{
    if (prune->len == prune->size) {
        prune->size = prune->size > 0 ? 2 * prune->size : 256;
        prune->keys = realloc(prune->keys, (size_t)prune->size * sizeof *prune->keys);
        if (prune->keys == NULL) {
            abort();
        }
    }
    prune->keys[prune->len++] = *key;
}

static void on_prune_page(void *arg, const struct etcd_page *page)
{
    struct prune *prune = arg;
    bool full = false;
    for (int i = 0; i < page->kvs_len && !full; i++) {
        struct prune_key key;
        if (read_item(prune, &page->kvs[i], &key)) {
            add_item(prune, &key);
        }
        full = prune->len == PRUNE_ITEMS_MAX;
    }
    if (page->outcome != ETCD_OK) {
        prune_end(prune, page->text);
    } else if (page->last || full) {
        etcd_pager_free(prune->pager);
        prune->pager = NULL;
        choose(prune);
        prune_next(prune);
    }
}

static void on_counted(void *arg, const struct etcd_reply *reply)
{
    struct prune *prune = arg;
    struct daemon *d = prune->daemon;
    bool requests = strcmp(prune->kind, STORE_REQUESTS) == 0;
    int least = requests ? RETENTION_REQUESTS.least : RETENTION_INCIDENTS.least;
    char prefix[STORE_KEY_SIZE];
    prune->call = NULL;
    if (reply->outcome != ETCD_OK) {
        prune_end(prune, reply->text);
    } else if (reply->count <= least) {
        prune_end(prune, NULL);
    } else {
        snprintf(prefix, sizeof prefix, "%s%s", d->prefix, prune->kind);
        prune->pager = etcd_pager_new(d->etcd, prefix, 0, PRUNE_MS, on_prune_page, prune);
    }
}

/* How many there are costs little to ask; only when they are many is each of them read. */
static void prune_kind(struct prune *prune, const char *kind)
{
    struct daemon *d = prune->daemon;
    char prefix[STORE_KEY_SIZE];
    snprintf(prefix, sizeof prefix, "%s%s", d->prefix, kind);
    struct etcd_range range = {.key = prefix, .prefix = true, .limit = 1, .keys_only = true};
    free(prune->goes);
    prune->goes = NULL;
    prune->kind = kind;
    prune->len = 0;
    prune->goes_len = 0;
    prune->deleted = 0;
    prune->call = etcd_range(d->etcd, &range, PRUNE_MS, on_counted, prune);
}

static void on_prune_due(void *arg)
{
    struct daemon *d = arg;
    if (!d->core->leading || !d->core->loaded || d->prune != NULL) {
        timer_start(d->pruner, PRUNE_FIRST_MS);
        return;
    }
    d->prune = calloc(1, sizeof *d->prune);
    if (d->prune == NULL) {
        abort();
    }
    d->prune->daemon = d;
    prune_kind(d->prune, STORE_REQUESTS);
}

/* ---- size ---- */

static void on_looked(void *arg, const struct etcd_reply *reply)
{
    struct daemon *d = arg;
    d->look = NULL;
    if (reply->outcome != ETCD_OK) {
        return; /* that etcd does not answer is seen elsewhere; a user may lack the right to ask */
    }
    d->store_bytes = reply->db_size;
    d->store_full = reply->alarm_no_space;
    d->store_quota = reply->db_quota > 0 ? (uint64_t)reply->db_quota : d->local->etcd_quota;
    struct core_event event = daemon_event(EV_STORE);
    event.store.bytes = reply->db_size > 0 ? (uint64_t)reply->db_size : 0;
    event.store.quota_bytes = d->store_quota;
    daemon_post(d, &event);
}

static void on_look_due(void *arg)
{
    struct daemon *d = arg;
    if (d->look == NULL) {
        d->look = etcd_status(d->etcd, LOOK_MS, on_looked, d);
    }
    timer_start(d->looker, LOOK_EVERY_MS);
}

/* ---- writes ---- */

/* Definite words that we may not write; anything else is for the next attempt (failures.md D1). */
static const char *trouble_words(enum etcd_reason reason)
{
    switch (reason) {
    case ETCD_NO_SPACE:
        return "etcd's quota is used up, so nothing can be recorded and nothing is decided: "
               "make space, then etcdctl alarm disarm";
    case ETCD_CORRUPT:
        return "etcd's members disagree about the data: nothing is decided until that is mended";
    case ETCD_AUTH_FAILED: return "etcd refuses this controller's user or password";
    case ETCD_TOKEN_REFUSED: return "etcd refuses this controller's token";
    case ETCD_PERMISSION_DENIED: return "etcd's user may not do what a controller must";
    case ETCD_WRONG_CLUSTER: return "another etcd cluster answers than this installation's";
    default: return NULL;
    }
}

void keeping_trouble(struct daemon *d, enum etcd_reason reason, const char *text)
{
    const char *words = trouble_words(reason);
    if (reason == ETCD_WRONG_CLUSTER && d->installation.id[0] != '\0') {
        identity_lost(d);
    }
    if (words == NULL || (d->trouble == reason && d->trouble_text[0] != '\0')) {
        return;
    }
    d->trouble = reason;
    snprintf(d->trouble_text, sizeof d->trouble_text, "%s", words);
    log_line(LOG_LEVEL_ERROR, words, "reason", etcd_reason_name(reason), "detail", text, NULL);
}

void keeping_judge(struct daemon *d, const struct etcd_reply *reply)
{
    if (reply->outcome == ETCD_OK) {
        if (d->trouble_text[0] != '\0') {
            log_line(LOG_LEVEL_INFO, "etcd takes this controller's writes again", NULL);
        }
        d->trouble_text[0] = '\0';
        d->trouble = ETCD_NO_REASON;
        return;
    }
    if (reply->outcome != ETCD_REFUSED || trouble_words(reply->reason) == NULL) {
        return;
    }
    keeping_trouble(d, reply->reason, reply->text);
    if (reply->reason == ETCD_WRONG_CLUSTER && d->installation.id[0] == '\0') {
        identity_lost(d);
        reading_all(d);
    }
    if (d->election != NULL && election_term(d->election) != 0) {
        daemon_resign(d, "cannot write");
    }
}

/* ---- start and end ---- */

void keeping_start(struct daemon *d)
{
    struct compactor_config config = {
        .every_ms = COMPACT_EVERY_MS, .may = may_compact, .failed = on_compact_failed, .arg = d};
    d->compactor = compactor_new(d->loop, d->etcd, &config);
    d->pruner = timer_new(d->loop, on_prune_due, d);
    d->looker = timer_new(d->loop, on_look_due, d);
    d->store_bytes = -1;
    d->store_quota = d->local->etcd_quota;
    timer_start(d->pruner, PRUNE_FIRST_MS);
    timer_start(d->looker, 1000);
}

void keeping_stop(struct daemon *d)
{
    compactor_free(d->compactor);
    d->compactor = NULL;
    prune_free(d->prune);
    d->prune = NULL;
    etcd_cancel(d->look);
    d->look = NULL;
    timer_free(d->pruner);
    timer_free(d->looker);
    d->pruner = NULL;
    d->looker = NULL;
}
