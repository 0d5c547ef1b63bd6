/*
 * identity.c - is it the right etcd? (failures.md D5, D20, D21, I21)
 *
 * The key `installation` says which installation's store this is, and which etcd cluster it lives
 * in. The first one that a process sees is pinned for its life, with the cluster's id (which the
 * client compares with every answer); a process that starts remembers what its copy of the store
 * says (copying.c). Whatever differs from then on, another id, no id, the records of another etcd,
 * a revision below one that was seen, is a store that this controller does not lead in: it gives
 * its session back and looks again every two seconds, until the right one is there. Nothing is
 * written to mend it; what somebody deleted by hand, somebody puts back. Nor is anything of it
 * taken up: what is known of ours is kept, and so are the promises that keep a primary running.
 *
 * The same installation in an etcd that was restored, or begun anew, is the right one again once
 * `failoverctl store rescue` has written its key there with a higher incarnation. Where another
 * cluster answers than the pinned one, a scout looks for that.
 *
 * Before an installation is known an empty store is a new one, to be founded by the first `apply`;
 * and if then another cluster answers, that one counts: the first may have been the wrong one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/store_copy.h"
#include "controller/cluster/store_keys.h"
#include "controller/daemon/daemon.h"
#include "controller/etcd/compactor.h"

#define SCOUT_MS    2000
#define RESCUE_WORD "failoverctl store rescue"

static void log_installation(const struct daemon *d, const char *words)
{
    char cluster[24], incarnation[24];
    snprintf(cluster, sizeof cluster, "%" PRIu64, d->installation.cluster_id);
    snprintf(incarnation, sizeof incarnation, "%" PRIu64, d->installation.incarnation);
    log_line(LOG_LEVEL_INFO, words, "installation", d->installation.id, "etcd_cluster_id", cluster,
             "incarnation", incarnation, d->installation.rescued_wall_ms != 0 ? "rescued_by" : NULL,
             d->installation.rescued_by, "reason", d->installation.reason, NULL);
}

static void know(struct daemon *d, const struct installation *seen, uint64_t cluster_id)
{
    d->installation = *seen;
    d->installation.cluster_id = cluster_id;
    if (seen->incarnation > d->core->incarnation) {
        d->core->incarnation = seen->incarnation;
    }
}

/* A rescued store is another life: what its etcd counted before says nothing there. */
static void take_rescued(struct daemon *d, const struct installation *seen, uint64_t cluster_id,
                         int64_t revision)
{
    know(d, seen, cluster_id);
    d->revision_floor = revision;
    d->went_back = false;
    d->lower_epoch[0] = '\0';
    d->saved_revision = 0;
    d->config_revision = 0;
    core_forget_store(d->core);
    compactor_forget(d->compactor);
    log_installation(d, "the store was rescued: this is the installation's store now");
    copying_due(d);
}

/* For good: guards still write into it, and its revision will pass the one that was seen. */
static void say_went_back(struct daemon *d, int64_t revision, int64_t floor, char *text,
                          size_t size)
{
    if (!d->went_back) {
        snprintf(d->went_back_text, sizeof d->went_back_text,
                 "etcd went back to revision %" PRId64 ", and %" PRId64
                 " was seen: it was restored from a backup; run " RESCUE_WORD,
                 revision, floor);
    }
    d->went_back = true;
    snprintf(text, size, "%s", d->went_back_text);
}

/* Our own writes go on while it is read: what counts is what was known when that was begun. */
static bool is_behind(const struct daemon *d, const struct identity_seen *shown)
{
    return d->went_back || (shown->revision != 0 && shown->revision < shown->floor);
}

/* What speaks against the key as it is; "": nothing. */
static void judge_key(struct daemon *d, const struct identity_seen *shown, char *text, size_t size)
{
    const struct etcd_kv *kv = shown->kv;
    struct installation seen;
    struct err err = {0};
    uint64_t here = etcd_health(d->etcd).cluster_id;
    struct installation *known = &d->installation;
    if (installation_decode(kv->value, kv->value_len, &seen, &err) < 0) {
        snprintf(text, size, "the key %s cannot be used: %.120s", kv->key, err.text);
    } else if (known->id[0] != '\0' && strcmp(seen.id, known->id) != 0) {
        snprintf(text, size, "the store is installation %s's, and this controller is of %s",
                 seen.id, known->id);
    } else if (seen.cluster_id != 0 && seen.cluster_id != here) {
        snprintf(text, size,
                 "installation %s was founded in etcd cluster %" PRIu64 ", and this is %" PRIu64
                 ": a copy, or the wrong endpoints",
                 seen.id, seen.cluster_id, here);
    } else if (known->id[0] == '\0') {
        know(d, &seen, here);
        log_installation(d, "this is the installation's store");
    } else if (installation_is_rescued(known, &seen, here)) {
        take_rescued(d, &seen, here, shown->revision != 0 ? shown->revision : kv->mod_revision);
        if (shown->revision == 0) { /* the watch's news: the rest of it is not known yet */
            reading_all(d);
        }
    } else if (seen.incarnation < known->incarnation) {
        snprintf(text, size,
                 "the store is incarnation %" PRIu64 " of installation %s, and %" PRIu64
                 " was seen: etcd was restored from an old backup; run " RESCUE_WORD,
                 seen.incarnation, seen.id, known->incarnation);
    } else if (is_behind(d, shown)) {
        say_went_back(d, shown->revision, shown->floor, text, size);
    } else if (d->lower_epoch[0] != '\0') {
        snprintf(text, size, "%s: etcd was restored from a backup; run " RESCUE_WORD,
                 d->lower_epoch);
    }
}

/* What speaks against this store; "": nothing. */
static void judge(struct daemon *d, const struct identity_seen *shown, char *text, size_t size)
{
    uint64_t here = etcd_health(d->etcd).cluster_id;
    const char *id = d->installation.id;
    text[0] = '\0';
    if (shown->kv != NULL) {
        judge_key(d, shown, text, size);
    } else if (id[0] != '\0' && (!shown->has_config || is_behind(d, shown))) {
        snprintf(text, size,
                 "etcd has forgotten installation %s: it was begun anew; run " RESCUE_WORD, id);
    } else if (id[0] != '\0') {
        snprintf(text, size,
                 "the key %s" STORE_INSTALLATION
                 " is gone; this is installation %s: put {\"schema\":1,\"id\":\"%s\","
                 "\"etcd_cluster_id\":\"%" PRIu64 "\",\"incarnation\":%" PRIu64 "} there",
                 d->prefix, id, id, here, d->installation.incarnation);
    } else if (shown->has_config) {
        snprintf(text, size,
                 "there is a definition, but no key %s" STORE_INSTALLATION
                 ": somebody has deleted it; put it back, as in the journal of an earlier day",
                 d->prefix);
    } /* else: a new store */
}

static void set_problem(struct daemon *d, const char text[PROBLEM_SIZE])
{
    if (strcmp(text, d->identity_problem) == 0) {
        return;
    }
    memcpy(d->identity_problem, text, PROBLEM_SIZE);
    if (text[0] == '\0') {
        log_line(LOG_LEVEL_INFO, "it is the right etcd again", "installation", d->installation.id,
                 NULL);
        reading_all(d); /* stands for election when it is through */
        return;
    }
    log_line(LOG_LEVEL_ERROR, "this is not our store: this controller does not lead here", "detail",
             text, NULL);
    daemon_stand_down(d);
    timer_start(d->store_retry, 1000);
}

void identity_look(struct daemon *d, const struct identity_seen *seen)
{
    char text[PROBLEM_SIZE] = "";
    judge(d, seen, text, sizeof text);
    if (text[0] == '\0' && seen->revision != 0) {
        identity_stop(d); /* the pinned one answers, and it is ours */
    }
    set_problem(d, text);
}

bool identity_is_foreign(const struct daemon *d)
{
    return d->identity_problem[0] != '\0' && d->installation.id[0] != '\0';
}

void identity_wrote(struct daemon *d, int64_t revision, int64_t floor)
{
    if (revision > d->revision_floor) {
        d->revision_floor = revision;
    }
    if (revision >= floor || d->installation.id[0] == '\0' || d->identity_problem[0] != '\0') {
        return;
    }
    char text[PROBLEM_SIZE] = "";
    say_went_back(d, revision, floor, text, sizeof text);
    set_problem(d, text);
}

/* ---- epochs only grow ---- */

static struct seen_epoch *seen_epoch(struct daemon *d, const char *database)
{
    for (int i = 0; i < d->epochs_len; i++) {
        if (strcmp(d->epochs[i].database, database) == 0) {
            return &d->epochs[i];
        }
    }
    return NULL;
}

void identity_saw_epoch(struct daemon *d, const char *database, struct epoch epoch)
{
    struct seen_epoch *seen = seen_epoch(d, database);
    if (seen == NULL && d->epochs_len < DATABASES_MAX) {
        seen = &d->epochs[d->epochs_len++];
        snprintf(seen->database, sizeof seen->database, "%s", database);
        seen->epoch = epoch;
    }
    if (seen != NULL && epoch_compare(epoch, seen->epoch) > 0) {
        seen->epoch = epoch;
    }
}

void identity_compare(struct daemon *d, const struct etcd_kv *kv)
{
    struct permit_record permit;
    if (permit_record_decode(kv->value, kv->value_len, &permit, NULL) < 0) {
        return; /* complained about where it is taken up */
    }
    const struct seen_epoch *seen = seen_epoch(d, permit.database);
    if (seen != NULL && epoch_compare(permit.epoch, seen->epoch) < 0) {
        snprintf(d->lower_epoch, sizeof d->lower_epoch,
                 "the permit of %s is of epoch %" PRIu64 ".%" PRIu64 ", and %" PRIu64 ".%" PRIu64
                 " was seen",
                 permit.database, permit.epoch.incarnation, permit.epoch.counter,
                 seen->epoch.incarnation, seen->epoch.counter);
    }
}

/* ---- another cluster answers ---- */

static void describe(const struct daemon *d, const struct etcd_scout_news *news, char *text,
                     size_t size)
{
    struct installation seen;
    const struct installation *known = &d->installation;
    if (news->kv == NULL) {
        snprintf(text, size,
                 "another etcd cluster answers, %" PRIu64
                 ", which knows no installation; %s lives in cluster %" PRIu64
                 ": set the endpoints right, or, if that one is lost for good, run " RESCUE_WORD,
                 news->cluster_id, known->id, known->cluster_id);
    } else if (installation_decode(news->kv->value, news->kv->value_len, &seen, NULL) == 0 &&
               strcmp(seen.id, known->id) == 0) {
        snprintf(text, size,
                 "another etcd cluster answers with a copy of installation %s, %" PRIu64
                 " and not %" PRIu64
                 ": set the endpoints right, or, if that one is lost for good, run " RESCUE_WORD,
                 known->id, news->cluster_id, known->cluster_id);
    } else {
        snprintf(text, size,
                 "another etcd cluster answers, %" PRIu64
                 ", which is another installation's; %s lives in cluster %" PRIu64
                 ": set the endpoints right",
                 news->cluster_id, known->id, known->cluster_id);
    }
}

static void on_scouted(void *arg, const struct etcd_scout_news *news)
{
    struct daemon *d = arg;
    struct installation seen;
    bool readable = news->kv != NULL &&
                    installation_decode(news->kv->value, news->kv->value_len, &seen, NULL) == 0;
    if (news->cluster_id == d->installation.cluster_id) {
        identity_stop(d); /* ours answers again: the reading says more */
        return;
    }
    if (readable && installation_is_rescued(&d->installation, &seen, news->cluster_id)) {
        daemon_stand_down(d); /* its session is of the lost one */
        etcd_pin(d->etcd, news->cluster_id);
        take_rescued(d, &seen, news->cluster_id, news->revision);
        d->identity_problem[0] = '\0';
        identity_stop(d);
        reading_all(d);
        return;
    }
    char text[PROBLEM_SIZE] = "";
    describe(d, news, text, sizeof text);
    set_problem(d, text);
}

void identity_lost(struct daemon *d)
{
    if (d->installation.id[0] == '\0') {
        etcd_pin(d->etcd, 0);
        compactor_forget(d->compactor);
        return;
    }
    char key[STORE_KEY_SIZE];
    struct etcd_config config;
    if (d->scout == NULL && !d->stopping && daemon_etcd_config(d, &config, NULL) == 0) {
        snprintf(key, sizeof key, "%s" STORE_INSTALLATION, d->prefix);
        d->scout = etcd_scout_new(d->loop, d->http, &config, key, SCOUT_MS, on_scouted, d);
        explicit_bzero(config.password, sizeof config.password);
    }
}

/* ---- its beginning and its end ---- */

static void remember_epochs(struct daemon *d, const struct store_copy *copy)
{
    for (int i = 0; i < copy->keys_len; i++) {
        struct permit_record permit;
        const struct store_copy_key *key = &copy->keys[i];
        if (strncmp(key->name, STORE_PERMITS, strlen(STORE_PERMITS)) == 0 &&
            permit_record_decode(key->value, strlen(key->value), &permit, NULL) == 0) {
            identity_saw_epoch(d, permit.database, permit.epoch);
        }
    }
}

void identity_remember(struct daemon *d)
{
    char path[LOCAL_PATH_SIZE + sizeof STORE_COPY_NAME + 1];
    struct store_copy copy;
    struct err err = {0};
    snprintf(path, sizeof path, "%s/" STORE_COPY_NAME, d->local->copy_dir);
    if (store_copy_read(path, &copy, &err) < 0) {
        if (err.code != ERR_SYSTEM) { /* there is none yet, say */
            log_line(LOG_LEVEL_ERROR, "the copy of the store cannot be used", "detail", err.text,
                     NULL);
        }
        return;
    }
    if (strcmp(copy.cluster, d->local->cluster) == 0) {
        know(d, &copy.installation, copy.installation.cluster_id);
        d->revision_floor = copy.revision;
        remember_epochs(d, &copy);
        log_installation(d, "this installation's store was copied in an earlier life");
    } else {
        log_line(LOG_LEVEL_ERROR, "the copy of the store is of another cluster; it is left alone",
                 "file", path, "cluster", copy.cluster, NULL);
    }
    store_copy_done(&copy);
}

void identity_stop(struct daemon *d)
{
    etcd_scout_free(d->scout);
    d->scout = NULL;
}
