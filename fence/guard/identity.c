/*
 * identity.c - is it the etcd that this guard knows? (failures.md D5, D20, D21)
 *
 * The client holds fast to the first cluster that answered. When another one answers, permits and
 * roles are not taken from there and no renewal counts: the instance goes on by promise. What is
 * there may be the same store restored or begun anew, so the guard still reports into it, for
 * `failoverctl store rescue` to see; and goes over once that has written the installation's key
 * there, with a higher incarnation. A lower epoch than was stored is not obeyed there either.
 *
 * The same cluster with a revision below one that a write has shown was restored as well:
 * everything is read anew, and the watches begin anew.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fence/guard/daemon.h"

#define SCOUT_MS  2000
#define REPORT_MS 2000

/* What is known, by this life or by the epochs that are stored. */
static struct installation known(const struct guard_daemon *d)
{
    struct installation known = d->installation;
    for (int i = 0; i < d->runs_len; i++) {
        uint64_t incarnation = d->cores[i].durable.epoch.incarnation;
        known.incarnation = incarnation > known.incarnation ? incarnation : known.incarnation;
    }
    return known;
}

static void know(struct guard_daemon *d, const struct installation *seen)
{
    char incarnation[24];
    if (strcmp(seen->id, d->installation.id) == 0 &&
        seen->incarnation == d->installation.incarnation) {
        return;
    }
    d->installation = *seen;
    snprintf(incarnation, sizeof incarnation, "%" PRIu64, seen->incarnation);
    log_line(LOG_LEVEL_INFO, "this is the installation's store", "installation", seen->id,
             "incarnation", incarnation, NULL);
}

bool guard_identity_fits(struct guard_daemon *d, const struct etcd_kv *kv, uint64_t cluster_id)
{
    struct installation seen;
    struct err err = {0};
    const char *why = NULL;
    if (kv == NULL) {
        return true; /* founded by the first definition: there is nothing to obey before that */
    }
    if (installation_decode(kv->value, kv->value_len, &seen, &err) < 0) {
        why = err.text;
    } else if (d->installation.id[0] != '\0' && strcmp(seen.id, d->installation.id) != 0) {
        why = "it is another installation's";
    } else if (seen.cluster_id != 0 && seen.cluster_id != cluster_id) {
        why = "it is a copy: its installation lives in another etcd cluster";
    }
    if (why == NULL) {
        know(d, &seen);
        guard_identity_stop(d);
        d->foreign[0] = '\0';
        return true;
    }
    if (strcmp(d->foreign, why) != 0) {
        log_line(LOG_LEVEL_ERROR, "this is not our store: nothing of it is obeyed", "detail", why,
                 NULL);
        snprintf(d->foreign, sizeof d->foreign, "%.*s", (int)sizeof d->foreign - 1, why);
    }
    if (d->installation.id[0] == '\0') {
        etcd_pin(d->etcd, 0); /* the first one may have been the wrong one */
    }
    return false;
}

/* ---- another cluster answers ---- */

static void on_reported_there(void *arg, const struct etcd_reply *reply)
{
    (void)arg;
    (void)reply; /* it is repeated at the next look */
}

static void report_there(struct guard_daemon *d)
{
    for (int i = 0; i < d->runs_len; i++) {
        size_t len = 0;
        char *text = guard_report_text(&d->runs[i], &len);
        etcd_put(etcd_scout_client(d->scout), d->runs[i].report_key, text, len, 0, REPORT_MS,
                 on_reported_there, d);
        free(text);
    }
}

static void on_scouted(void *arg, const struct etcd_scout_news *news)
{
    struct guard_daemon *d = arg;
    struct installation seen, mine = known(d);
    bool readable = news->kv != NULL &&
                    installation_decode(news->kv->value, news->kv->value_len, &seen, NULL) == 0;
    if (news->cluster_id == etcd_health(d->etcd).cluster_id) {
        timer_start(d->read_again, 0); /* ours answers again */
        return;
    }
    if (readable && installation_is_rescued(&mine, &seen, news->cluster_id)) {
        etcd_pin(d->etcd, news->cluster_id);
        d->revision_floor = 0;
        know(d, &seen);
        guard_identity_stop(d);
        d->foreign[0] = '\0';
        timer_start(d->read_again, 0);
        return;
    }
    snprintf(d->foreign, sizeof d->foreign,
             "another etcd cluster answers than the one it knows: it goes on by promise alone "
             "(wrong endpoints, or failoverctl store rescue)");
    if (news->kv == NULL || (readable && (mine.id[0] == '\0' || strcmp(mine.id, seen.id) == 0))) {
        report_there(d);
    }
}

void guard_identity_lost(struct guard_daemon *d)
{
    char key[GUARD_KEY_SIZE];
    struct etcd_config config;
    if (d->scout != NULL || d->stopping) {
        return;
    }
    log_line(LOG_LEVEL_WARN, "another etcd cluster answers than the one that is known", NULL);
    if (guard_etcd_config(d->local, &config, NULL) < 0) {
        return;
    }
    snprintf(key, sizeof key, "%s" STORE_INSTALLATION, d->prefix);
    d->scout = etcd_scout_new(d->loop, d->http, &config, key, SCOUT_MS, on_scouted, d);
    explicit_bzero(config.password, sizeof config.password);
}

void guard_identity_wrote(struct guard_daemon *d, int64_t revision, int64_t floor)
{
    if (revision < floor) {
        log_line(LOG_LEVEL_WARN,
                 "etcd's revision went back: it was restored; everything is read anew", NULL);
        d->revision_floor = revision;
        timer_start(d->read_again, 0);
    } else if (revision > d->revision_floor) {
        d->revision_floor = revision;
    }
}

void guard_identity_stop(struct guard_daemon *d)
{
    etcd_scout_free(d->scout);
    d->scout = NULL;
}
