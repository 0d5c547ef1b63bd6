/*
 * `failoverctl store rescue`: an etcd that was restored from a backup, or begun anew, becomes the
 * installation's store again (design §4; failures.md D5, D20).
 *
 * The happy path: look (rescue_look.c) -> plan (core/rescue.c, pure) -> show -> open requests are
 * deleted -> one transaction: it compares every key that it writes, and who leads, with what was
 * looked at, and writes the installation under a higher incarnation with the definition, groups and
 * permits -> the copy's incidents are put back where they are missing.
 *
 *   a controller leads in this store           refused: it is in use
 *   a reason in the plan                       refused, with all of them
 *   somebody has written meanwhile             refused: nothing was changed; look again
 *   no answer to the transaction               unknown: said, with how to find out
 */
#include "controller/ctl/rescue.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/core/retention.h"

#define DELETE_AT_ONCE   30
#define INCIDENT_AT_ONCE 8
#define KEY_SIZE         512

struct draft { /* of one transaction: its texts live until it was sent */
    struct etcd_txn txn;
    char keys[ETCD_OPS_MAX][KEY_SIZE];
    char *values[ETCD_OPS_MAX];
    int len;
};

static void draft_done(struct draft *draft)
{
    for (int i = 0; i < draft->len; i++) {
        free(draft->values[i]);
    }
    free(draft);
}

static struct draft *draft_new(void)
{
    struct draft *draft = calloc(1, sizeof *draft);
    if (draft == NULL) {
        abort();
    }
    return draft;
}

/* If it is still as it was looked at. value NULL: compared, and left alone. */
static void draft_put(const struct rescue_look *look, struct draft *draft, const char *name,
                      char *value)
{
    const struct rescue_key *key = rescue_key(look, name);
    char *full = draft->keys[draft->len];
    snprintf(full, KEY_SIZE, "%s%s", look->prefix, name);
    draft->values[draft->len++] = value;
    if (key != NULL) {
        etcd_txn_if_mod(&draft->txn, full, key->mod_revision);
    } else {
        etcd_txn_if_create(&draft->txn, full, 0);
    }
    if (value != NULL) {
        etcd_txn_then_put(&draft->txn, full, value, strlen(value), 0);
    }
}

/* Nobody may begin to lead meanwhile, nor another one. */
static void draft_same_leader(const struct rescue_look *look, struct draft *draft)
{
    const struct rescue_key *key = rescue_key(look, STORE_LEADER);
    char *full = draft->keys[draft->len];
    snprintf(full, KEY_SIZE, "%s" STORE_LEADER, look->prefix);
    draft->values[draft->len++] = NULL;
    etcd_txn_if_create(&draft->txn, full, key != NULL ? key->create_revision : 0);
}

/* ---- orders are not carried out twice ---- */

static bool is_open_request(const struct rescue_key *key)
{
    struct request_record request;
    return strncmp(key->name, STORE_REQUESTS, strlen(STORE_REQUESTS)) == 0 &&
           (request_record_decode(key->value, strlen(key->value), &request, NULL) < 0 ||
            retention_request_is_open(&request));
}

static bool delete_requests(struct rescue_look *look, char *ret_why, size_t size)
{
    for (int i = 0; i < look->keys_len;) {
        struct draft *draft = draft_new();
        for (; i < look->keys_len && draft->len < DELETE_AT_ONCE; i++) {
            if (is_open_request(&look->keys[i])) {
                draft_put(look, draft, look->keys[i].name, NULL);
                etcd_txn_then_delete(&draft->txn, draft->keys[draft->len - 1], false);
            }
        }
        draft_same_leader(look, draft);
        bool good = draft->len == 1 || rescue_write(look, &draft->txn, ret_why, size);
        draft_done(draft);
        if (!good) {
            return false;
        }
    }
    return true;
}

/* ---- the one transaction ---- */

static void draft_installation(const struct rescue_look *look, const struct rescue_plan *plan,
                               const char *reason, struct draft *draft)
{
    struct installation next = {.cluster_id = look->cluster_id,
                                .incarnation = plan->incarnation,
                                .rescued_wall_ms = clock_wall_ms()};
    const struct passwd *user = getpwuid(getuid());
    size_t len = 0;
    snprintf(next.id, sizeof next.id, "%s", look->id);
    snprintf(next.rescued_by, sizeof next.rescued_by, "%.60s",
             user != NULL ? user->pw_name : "failoverctl");
    snprintf(next.reason, sizeof next.reason, "%s", reason);
    draft_put(look, draft, STORE_INSTALLATION, installation_encode(&next, &len));
}

static void draft_config(const struct rescue_look *look, struct draft *draft)
{
    const char *text = rescue_value(look, look->config_source, STORE_CONFIG);
    bool there = look->config_source == RESCUE_STORE;
    draft_put(look, draft, STORE_CONFIG, there || text == NULL ? NULL : strdup(text));
}

/* The record of the source that its first database is taken from. */
static void draft_group(const struct rescue_look *look, const struct rescue_plan *plan, int g,
                        struct draft *draft)
{
    char name[2 * NAME_SIZE];
    size_t len = 0;
    const char *text = NULL;
    snprintf(name, sizeof name, STORE_GROUPS "%s", look->def->groups[g].name);
    for (int db = 0; db < look->def->databases_len && text == NULL; db++) {
        if (look->def->databases[db].group == g && plan->choices[db].adopted) {
            text = rescue_value(look, plan->choices[db].source, name);
        }
    }
    if (text == NULL) {
        return; /* nothing of it was ever adopted */
    }
    struct group_record *record = calloc(1, sizeof *record);
    if (record == NULL || group_record_decode(text, strlen(text), record, NULL) < 0) {
        abort(); /* the look has read it */
    }
    rescue_group(look->def, g, plan, record);
    draft_put(look, draft, name, group_record_encode(record, &len));
    free(record);
}

static struct draft *draft_rescue(const struct rescue_look *look, const struct rescue_plan *plan,
                                  const char *reason)
{
    struct draft *draft = draft_new();
    size_t len = 0;
    draft_same_leader(look, draft);
    draft_installation(look, plan, reason, draft);
    draft_config(look, draft);
    for (int g = 0; g < look->def->groups_len; g++) {
        draft_group(look, plan, g, draft);
    }
    for (int db = 0; db < look->def->databases_len; db++) {
        if (plan->choices[db].adopted) {
            char name[2 * NAME_SIZE];
            snprintf(name, sizeof name, STORE_PERMITS "%s", look->def->databases[db].name);
            draft_put(look, draft, name, permit_record_encode(&plan->choices[db].permit, &len));
        }
    }
    return draft;
}

/* ---- what was, for the record ---- */

static int restore_incidents(struct rescue_look *look)
{
    char why[ERR_TEXT_MAX];
    int restored = 0;
    for (int i = 0; look->has_copy && i < look->copy.keys_len;) {
        struct draft *draft = draft_new();
        for (; i < look->copy.keys_len && draft->len < INCIDENT_AT_ONCE; i++) {
            const struct store_copy_key *key = &look->copy.keys[i];
            if (strncmp(key->name, STORE_INCIDENTS, strlen(STORE_INCIDENTS)) == 0 &&
                rescue_key(look, key->name) == NULL) {
                draft_put(look, draft, key->name, strdup(key->value));
            }
        }
        if (draft->len > 0 && rescue_write(look, &draft->txn, why, sizeof why)) {
            restored += draft->len;
        }
        draft_done(draft);
    }
    return restored;
}

/* ---- the command ---- */

/* A leader of this very store: what would be written over is in use. */
static bool somebody_leads(const struct rescue_look *look)
{
    const struct rescue_key *leader = rescue_key(look, STORE_LEADER);
    if (leader == NULL || rescue_key(look, STORE_CONFIG) == NULL) {
        return false; /* one that leads in an empty store decides nothing */
    }
    ctl_complain("a controller leads in this store (%.60s): nothing is to be rescued while it does."
                 " If it is of before a restoration: systemctl stop failoverd on both hosts, then "
                 "again",
                 leader->value);
    return true;
}

static bool refuse(const struct rescue_plan *plan)
{
    for (int i = 0; i < plan->reasons_len; i++) {
        ctl_complain("refused: %s", plan->reasons[i]);
    }
    if (plan->reasons_more > 0) {
        ctl_complain("refused: and for %d more reasons", plan->reasons_more);
    }
    return plan->reasons_len > 0;
}

static enum ctl_exit carry_out(struct rescue_look *look, const struct rescue_plan *plan,
                               const char *reason)
{
    char why[ERR_TEXT_MAX];
    if (!delete_requests(look, why, sizeof why)) {
        ctl_complain("refused: an open request could not be dropped (%s); look again", why);
        return CTL_REFUSED;
    }
    struct draft *draft = draft_rescue(look, plan, reason);
    bool written = rescue_write(look, &draft->txn, why, sizeof why);
    draft_done(draft);
    if (!written && strcmp(why, "somebody has changed it meanwhile") == 0) {
        ctl_complain("refused, nothing was changed: %s; run it again", why);
        return CTL_REFUSED;
    }
    if (!written) {
        ctl_complain("unknown: %s; run it again without --yes: it was done if etcd then shows "
                     "incarnation %" PRIu64,
                     why, plan->incarnation);
        return CTL_RUNNING;
    }
    int incidents = restore_incidents(look);
    (void)printf("Done: this is incarnation %" PRIu64 " of installation %s", plan->incarnation,
                 look->id);
    if (incidents > 0) {
        (void)printf(", with %d incidents of the copy", incidents);
    }
    (void)puts(".\nControllers and guards go over to it by themselves within seconds: failoverctl "
               "status --watch");
    return CTL_DONE;
}

static enum ctl_exit decide(struct rescue_look *look, const struct ctl *ctl, const char *reason)
{
    struct rescue_plan *plan = calloc(1, sizeof *plan);
    char hash[PLAN_HASH_SIZE];
    enum ctl_exit result = CTL_REFUSED;
    if (plan == NULL) {
        abort();
    }
    rescue_make(look->def, look->databases, look->known, plan);
    rescue_hash(look->def, plan, hash);
    rescue_show(look, plan);
    (void)printf("Plan %s.\n", hash);
    (void)fflush(stdout);
    bool refused = refuse(plan);
    refused = somebody_leads(look) || refused;
    bool hashed = ctl_given(ctl, OPT_PLAN);
    if (hashed && strcmp(ctl->values[OPT_PLAN], hash) != 0) {
        ctl_complain("refused: the plan is %s now, not %s", hash, ctl->values[OPT_PLAN]);
        refused = true;
    }
    if (!refused && reason == NULL) {
        (void)printf("Nothing was changed. To do it: the same with --reason TEXT --plan %s\n",
                     hash);
        result = CTL_DONE;
    } else if (!refused) {
        result = carry_out(look, plan, reason);
    }
    free(plan);
    return result;
}

enum ctl_exit ctl_store(struct ctl *ctl)
{
    const char *reason = NULL;
    enum ctl_exit result;
    if (strcmp(ctl->words[0], "rescue") != 0) {
        return ctl_usage(ctl, "\"%s\" is nothing that can be done with the store", ctl->words[0]);
    }
    bool act = ctl_given(ctl, OPT_YES) || ctl_given(ctl, OPT_PLAN);
    if (act && !ctl_reason(ctl, &reason)) {
        return CTL_USAGE;
    }
    struct rescue_look *look = calloc(1, sizeof *look);
    if (look == NULL) {
        abort();
    }
    if (rescue_open(look, ctl, &result) && rescue_look(look, ctl, &result)) {
        result = decide(look, ctl, reason);
    }
    rescue_close(look);
    free(look);
    return result;
}
