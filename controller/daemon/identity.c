/*
 * identity.c - is it the right etcd? (failures.md D20, D21, I21)
 *
 * The key `installation` says which installation's store this is, and which etcd cluster it was
 * founded in. The first one that a process sees is pinned for its life, with the cluster's id
 * (which the client compares with every answer). Whatever differs from then on, another id, no id,
 * the records of another etcd, is a store that this controller does not lead in: it gives its
 * session back and looks again every two seconds, until the right one is there. Nothing is written
 * to mend it; what somebody deleted by hand, somebody puts back.
 *
 * Before an installation is known an empty store is a new one, to be founded by the first `apply`;
 * and if then another cluster answers, that one counts: the first may have been the wrong one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/store_keys.h"
#include "controller/daemon/daemon.h"
#include "controller/etcd/compactor.h"

struct identity {
    char id[ID_SIZE];
    uint64_t cluster_id;
};

static int read_identity(const struct etcd_kv *kv, struct identity *ret, struct err *ret_err)
{
    struct json_in in;
    json_t *root = json_parse(kv->value, kv->value_len, 4096, ret_err);
    if (root == NULL) {
        return -1;
    }
    memset(ret, 0, sizeof *ret);
    json_in_init(&in, "installation");
    json_text(&in, root, "id", ret->id, sizeof ret->id);
    ret->cluster_id = json_u64(&in, root, "etcd_cluster_id");
    if (json_in_ok(&in) && ret->id[0] == '\0') {
        json_in_fail(&in, "id", "is empty");
    }
    json_decref(root);
    return json_in_done(&in, ret_err);
}

/* What speaks against this store; "": nothing. */
static void judge(struct daemon *d, const struct etcd_kv *kv, bool has_config, char *text,
                  size_t size)
{
    struct identity identity;
    struct err err = {0};
    uint64_t here = etcd_health(d->etcd).cluster_id;
    text[0] = '\0';
    if (kv == NULL && d->installation[0] != '\0') {
        snprintf(text, size,
                 "the key %s" STORE_INSTALLATION
                 " is gone; this is installation %s: put {\"schema\":1,\"id\":\"%s\","
                 "\"etcd_cluster_id\":\"%" PRIu64 "\"} there",
                 d->prefix, d->installation, d->installation, here);
    } else if (kv == NULL && has_config) {
        snprintf(text, size,
                 "there is a definition, but no key %s" STORE_INSTALLATION
                 ": somebody has deleted it; put it back, as in the journal of an earlier day",
                 d->prefix);
    } else if (kv == NULL) {
        return; /* a new store */
    } else if (read_identity(kv, &identity, &err) < 0) {
        snprintf(text, size, "the key %s cannot be used: %.120s", kv->key, err.text);
    } else if (d->installation[0] != '\0' && strcmp(identity.id, d->installation) != 0) {
        snprintf(text, size, "the store is installation %s's, and this controller is of %s",
                 identity.id, d->installation);
    } else if (identity.cluster_id != 0 && identity.cluster_id != here) {
        snprintf(text, size,
                 "installation %s was founded in etcd cluster %" PRIu64 ", and this is %" PRIu64
                 ": a copy, or the wrong endpoints",
                 identity.id, identity.cluster_id, here);
    } else if (d->installation[0] == '\0') {
        char cluster[24];
        snprintf(cluster, sizeof cluster, "%" PRIu64, here);
        snprintf(d->installation, sizeof d->installation, "%s", identity.id);
        log_line(LOG_LEVEL_INFO, "this is the installation's store", "installation",
                 d->installation, "etcd_cluster_id", cluster, NULL);
    }
}

void identity_look(struct daemon *d, const struct etcd_kv *kv, bool has_config)
{
    char text[PROBLEM_SIZE];
    judge(d, kv, has_config, text, sizeof text);
    if (strcmp(text, d->identity_problem) == 0) {
        return;
    }
    memcpy(d->identity_problem, text, sizeof text);
    if (text[0] == '\0') {
        log_line(LOG_LEVEL_INFO, "it is the right etcd again", "installation", d->installation,
                 NULL);
        reading_all(d); /* stands for election when it is through */
        return;
    }
    log_line(LOG_LEVEL_ERROR, "this is not our store: this controller does not lead here", "detail",
             text, NULL);
    daemon_stand_down(d);
    timer_start(d->store_retry, 1000);
}

void identity_lost(struct daemon *d)
{
    if (d->installation[0] == '\0') {
        etcd_pin(d->etcd, 0);
        compactor_forget(d->compactor);
    }
}
