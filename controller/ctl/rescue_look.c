#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/ctl/rescue.h"
#include "controller/etcd/pager.h"
#include "probes/postgres.h"

#define REPORT_WAIT_MS 13000 /* a guard reports every ten seconds */
#define READ_AGAIN_MS  500
#define PG_MS          4000
#define PROBER         "failoverctl" /* the key of its heartbeat row */

static void *need(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* ---- the local file, the copy, the client ---- */

static bool open_local(struct rescue_look *look, const struct ctl *ctl)
{
    const char *path = ctl_given(ctl, OPT_LOCAL) ? ctl->values[OPT_LOCAL] : CTL_LOCAL_FILE;
    struct local_config *local = need(calloc(1, sizeof *local));
    struct complaints *complaints = need(calloc(1, sizeof *complaints));
    struct err err = {0};
    bool good = local_read_file(path, local, complaints, &err) == 0;
    if (!good) {
        complaints_print(stderr, path, complaints);
        ctl_complain("%s: %s; --local names another one", path,
                     err.code != ERR_NONE ? err.text : "it has errors");
    }
    free(complaints);
    look->local = local;
    return good;
}

static bool open_copy(struct rescue_look *look, const struct ctl *ctl)
{
    struct err err = {0};
    if (ctl_given(ctl, OPT_FROM)) {
        snprintf(look->copy_path, sizeof look->copy_path, "%s", ctl->values[OPT_FROM]);
    } else {
        snprintf(look->copy_path, sizeof look->copy_path, "%s/" STORE_COPY_NAME,
                 look->local->copy_dir);
        if (access(look->copy_path, F_OK) != 0) {
            return true; /* what etcd holds may be enough; the plan says that there is none */
        }
    }
    if (store_copy_read(look->copy_path, &look->copy, &err) < 0) {
        ctl_complain("%s", err.text);
        return false;
    }
    look->has_copy = true;
    if (strcmp(look->copy.cluster, look->local->cluster) != 0) {
        ctl_complain("%s is a copy of cluster %s, and the local file is of %s", look->copy_path,
                     look->copy.cluster, look->local->cluster);
        return false;
    }
    return true;
}

static bool open_etcd(struct rescue_look *look)
{
    const struct local_config *local = look->local;
    struct etcd_config config = {.endpoints_len = local->endpoints_len};
    struct err err = {0};
    char secret[SECRET_SIZE] = "";
    memcpy(config.endpoints, local->endpoints, sizeof config.endpoints);
    snprintf(config.ca_file, sizeof config.ca_file, "%s", local->etcd_ca);
    snprintf(config.cert_file, sizeof config.cert_file, "%s", local->etcd_cert);
    snprintf(config.key_file, sizeof config.key_file, "%s", local->etcd_key);
    snprintf(config.user, sizeof config.user, "%s", local->etcd_user);
    if (local->etcd_user[0] != '\0' &&
        local_secret(local, local->etcd_password, secret, &err) < 0) {
        ctl_complain("etcd's password: %s", err.text);
        return false;
    }
    snprintf(config.password, sizeof config.password, "%.*s", (int)sizeof config.password - 1,
             secret);
    look->etcd = etcd_new(look->loop, look->http, &config);
    explicit_bzero(secret, sizeof secret);
    explicit_bzero(config.password, sizeof config.password);
    return true;
}

bool rescue_open(struct rescue_look *look, const struct ctl *ctl, enum ctl_exit *ret_exit)
{
    *ret_exit = CTL_USAGE;
    look->loop = loop_new();
    look->http = http_new(look->loop);
    if (!open_local(look, ctl) || !open_copy(look, ctl)) {
        return false;
    }
    snprintf(look->prefix, sizeof look->prefix, "/failover/%s/", look->local->cluster);
    return open_etcd(look);
}

static void forget_keys(struct rescue_look *look)
{
    for (int i = 0; i < look->keys_len; i++) {
        free(look->keys[i].name);
        free(look->keys[i].value);
    }
    look->keys_len = 0;
}

void rescue_close(struct rescue_look *look)
{
    forget_keys(look);
    free(look->keys);
    free(look->def);
    store_copy_done(&look->copy);
    etcd_free(look->etcd);
    http_free(look->http);
    loop_free(look->loop);
    free((void *)look->local);
}

/* ---- etcd ---- */

struct page_job {
    struct rescue_look *look;
    bool done;
    char why[ERR_TEXT_MAX];
};

static void add_key(struct rescue_look *look, const struct etcd_kv *kv)
{
    if (look->keys_len == look->keys_size) {
        look->keys_size = look->keys_size > 0 ? 2 * look->keys_size : 64;
        look->keys = need(realloc(look->keys, (size_t)look->keys_size * sizeof *look->keys));
    }
    look->keys[look->keys_len++] =
        (struct rescue_key){.name = need(strdup(kv->key + strlen(look->prefix))),
                            .value = need(strdup(kv->value)),
                            .create_revision = kv->create_revision,
                            .mod_revision = kv->mod_revision};
}

static void on_page(void *arg, const struct etcd_page *page)
{
    struct page_job *job = arg;
    for (int i = 0; i < page->kvs_len && job->look->keys_len < RESCUE_KEYS_MAX; i++) {
        add_key(job->look, &page->kvs[i]);
    }
    job->look->revision = page->revision;
    if (page->outcome != ETCD_OK) {
        snprintf(job->why, sizeof job->why, "%s", page->text);
    }
    job->done = page->outcome != ETCD_OK || page->last;
}

static bool read_store(struct rescue_look *look)
{
    struct page_job job = {.look = look};
    forget_keys(look);
    struct etcd_pager *pager =
        etcd_pager_new(look->etcd, look->prefix, 0, RESCUE_CALL_MS, on_page, &job);
    bool ended = loop_run_until(look->loop, &job.done, 3 * RESCUE_CALL_MS);
    etcd_pager_free(pager);
    if (!ended || job.why[0] != '\0') {
        ctl_complain("etcd cannot be read: %s", ended ? job.why : "no answer in time");
        return false;
    }
    look->cluster_id = etcd_health(look->etcd).cluster_id;
    return true;
}

const struct rescue_key *rescue_key(const struct rescue_look *look, const char *name)
{
    for (int i = 0; i < look->keys_len; i++) {
        if (strcmp(look->keys[i].name, name) == 0) {
            return &look->keys[i];
        }
    }
    return NULL;
}

const char *rescue_value(const struct rescue_look *look, enum rescue_source source,
                         const char *name)
{
    if (source == RESCUE_COPY) {
        return look->has_copy ? store_copy_find(&look->copy, name) : NULL;
    }
    const struct rescue_key *key = rescue_key(look, name);
    return key != NULL ? key->value : NULL;
}

struct write_job {
    bool done, accepted;
    char why[ERR_TEXT_MAX];
};

static void on_written(void *arg, const struct etcd_reply *reply)
{
    struct write_job *job = arg;
    job->done = true;
    job->accepted = reply->outcome == ETCD_OK && reply->succeeded;
    snprintf(job->why, sizeof job->why, "%s",
             reply->outcome == ETCD_OK ? "somebody has changed it meanwhile" : reply->text);
}

bool rescue_write(struct rescue_look *look, const struct etcd_txn *txn, char *ret_why, size_t size)
{
    struct write_job job = {0};
    struct etcd_call *call = etcd_txn(look->etcd, txn, RESCUE_CALL_MS, on_written, &job);
    if (!loop_run_until(look->loop, &job.done, 2 * RESCUE_CALL_MS)) {
        etcd_cancel(call);
        snprintf(job.why, sizeof job.why, "no answer in time");
    }
    snprintf(ret_why, size, "%s", job.why);
    return job.accepted;
}

/* ---- what both sources hold ---- */

static bool read_installation(struct rescue_look *look)
{
    const struct rescue_key *key = rescue_key(look, STORE_INSTALLATION);
    struct err err = {0};
    memset(&look->installation, 0, sizeof look->installation);
    if (key != NULL &&
        installation_decode(key->value, strlen(key->value), &look->installation, &err) < 0) {
        ctl_complain("the key " STORE_INSTALLATION " in etcd: %s", err.text);
        return false;
    }
    const char *here = look->installation.id, *copied = look->copy.installation.id;
    if (look->has_copy && here[0] != '\0' && strcmp(here, copied) != 0) {
        ctl_complain("etcd holds installation %s, and the copy is of %s: one of them is not yours",
                     here, copied);
        return false;
    }
    snprintf(look->id, sizeof look->id, "%s", look->has_copy ? copied : here);
    if (look->id[0] == '\0') {
        ctl_complain("etcd holds no installation, and there is no copy at %s: --from names one",
                     look->copy_path);
        return false;
    }
    look->known = look->installation.incarnation;
    if (look->has_copy && look->copy.installation.incarnation > look->known) {
        look->known = look->copy.installation.incarnation;
    }
    return true;
}

/* The definition that was applied last. */
static bool read_definition(struct rescue_look *look)
{
    struct config_record records[2] = {0};
    int64_t at[2] = {-1, -1};
    struct err err = {0};
    for (int s = RESCUE_STORE; s <= RESCUE_COPY; s++) {
        const char *text = rescue_value(look, (enum rescue_source)s, STORE_CONFIG);
        if (text != NULL && config_record_decode(text, strlen(text), &records[s], &err) == 0) {
            at[s] = records[s].current.at_wall_ms;
        }
    }
    look->config_source = at[RESCUE_COPY] > at[RESCUE_STORE] ? RESCUE_COPY : RESCUE_STORE;
    const char *text = records[look->config_source].current.text;
    free(look->def);
    look->def = NULL;
    if (text == NULL) {
        ctl_complain("neither etcd nor the copy holds a definition%s%s",
                     err.text[0] != '\0' ? ": " : "", err.text);
    } else {
        look->def = ctl_read_definition("the stored definition", text, strlen(text));
    }
    config_record_done(&records[0]);
    config_record_done(&records[1]);
    return look->def != NULL;
}

static bool complain_record(const char *name, const struct err *err)
{
    ctl_complain("%s: %s", name, err->text);
    return false;
}

static bool read_permit(const struct rescue_look *look, enum rescue_source source,
                        const char *database, struct rescue_records *records)
{
    char name[2 * NAME_SIZE];
    struct err err = {0};
    snprintf(name, sizeof name, STORE_PERMITS "%s", database);
    const char *text = rescue_value(look, source, name);
    if (text == NULL) {
        return true;
    }
    records->has_permit = permit_record_decode(text, strlen(text), &records->permit, &err) == 0;
    return records->has_permit || complain_record(name, &err);
}

static void take_group(const struct group_record *group, const char *database,
                       struct rescue_records *records)
{
    for (int i = 0; i < group->databases_len; i++) {
        if (strcmp(group->databases[i].database, database) == 0) {
            records->has_record = true;
            records->record = group->databases[i];
        }
    }
    for (int m = 0; group->moving && m < group->workflow.moves_len; m++) {
        if (strcmp(group->workflow.moves[m].database, database) == 0) {
            records->moving = true;
            records->move = group->workflow.moves[m];
        }
    }
}

static bool read_group(const struct rescue_look *look, enum rescue_source source, int db,
                       struct rescue_records *records)
{
    const struct definition *def = look->def;
    struct group_record *group = need(calloc(1, sizeof *group));
    char name[2 * NAME_SIZE];
    struct err err = {0};
    snprintf(name, sizeof name, STORE_GROUPS "%s", def->groups[def->databases[db].group].name);
    const char *text = rescue_value(look, source, name);
    bool good = text == NULL || group_record_decode(text, strlen(text), group, &err) == 0;
    if (text != NULL && good) {
        take_group(group, def->databases[db].name, records);
    }
    free(group);
    return good || complain_record(name, &err);
}

static bool read_records(struct rescue_look *look)
{
    bool good = true;
    for (int db = 0; db < look->def->databases_len; db++) {
        const char *name = look->def->databases[db].name;
        struct rescue_database *found = &look->databases[db];
        memset(&found->store, 0, sizeof found->store);
        memset(&found->copy, 0, sizeof found->copy);
        good = read_permit(look, RESCUE_STORE, name, &found->store) &&
               read_permit(look, RESCUE_COPY, name, &found->copy) &&
               read_group(look, RESCUE_STORE, db, &found->store) &&
               read_group(look, RESCUE_COPY, db, &found->copy) && good;
    }
    return good;
}

/* ---- what a person says ---- */

static bool take_off(struct rescue_look *look, const char *node)
{
    int n = definition_node(look->def, node);
    if (n < 0) {
        ctl_complain("--without: the definition has no node %s", node);
        return false;
    }
    for (int db = 0; db < look->def->databases_len; db++) {
        int i = definition_instance(&look->def->databases[db], n);
        if (i >= 0) {
            look->databases[db].instances[i].is_off = true;
        }
    }
    return true;
}

static bool take_primary(struct rescue_look *look, const char *text)
{
    char database[NAME_SIZE];
    const char *equals = strchr(text, '=');
    size_t len = equals != NULL ? (size_t)(equals - text) : 0;
    int db = -1, i = -1;
    if (len > 0 && len < sizeof database) {
        memcpy(database, text, len);
        database[len] = '\0';
        db = definition_database(look->def, database);
        i = db < 0 ? -1
                   : definition_instance(&look->def->databases[db],
                                         definition_node(look->def, equals + 1));
    }
    if (i < 0) {
        ctl_complain("--primary takes DATABASE=NODE of the definition, found \"%.80s\"", text);
        return false;
    }
    look->databases[db].named = i;
    return true;
}

/* A list with commas. */
static bool each_word(struct rescue_look *look, const char *list,
                      bool (*take)(struct rescue_look *, const char *))
{
    char word[2 * NAME_SIZE];
    while (list != NULL && *list != '\0') {
        size_t len = strcspn(list, ",");
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), list);
        if (!take(look, word)) {
            return false;
        }
        list += len + (list[len] != '\0' ? 1 : 0);
    }
    return true;
}

static bool take_words(struct rescue_look *look, const struct ctl *ctl)
{
    for (int db = 0; db < look->def->databases_len; db++) {
        look->databases[db].named = -1;
    }
    return each_word(look, ctl->values[OPT_WITHOUT], take_off) &&
           each_word(look, ctl->values[OPT_PRIMARY], take_primary);
}

/* ---- PostgreSQL ---- */

struct pg_job {
    struct rescue_instance *instance;
    struct probe_pg *pg;
    int *pending;
    bool *done;
};

static void on_pg(void *arg, const struct instance_fact *fact)
{
    struct pg_job *job = arg;
    job->instance->asked = true;
    job->instance->fact = *fact;
    *job->done = --*job->pending == 0;
}

static void start_pg(const struct rescue_look *look, int db, int i, struct pg_job *job)
{
    const struct database_def *def = &look->def->databases[db];
    char secret[SECRET_SIZE] = "";
    struct err err = {0};
    if (def->password[0] != '\0' && local_secret(look->local, def->password, secret, &err) < 0) {
        ctl_complain("the password of %s: %s", def->name, err.text);
    }
    struct probe_pg_params params = {
        .target = {.hostaddr = look->def->nodes[def->instances[i].node].address,
                   .port = def->instances[i].port,
                   .dbname = def->dbname,
                   .user = def->user,
                   .password = secret[0] != '\0' ? secret : NULL,
                   .sslmode = def->sslmode[0] != '\0' ? def->sslmode : NULL,
                   .application_name = PROBER},
        .controller = PROBER,
        .deadline_ms = PG_MS,
        .done = on_pg,
        .arg = job};
    job->pg = probe_pg_new(look->loop, &params);
    probe_pg_ask(job->pg);
    explicit_bzero(secret, sizeof secret);
}

static void ask_postgres(struct rescue_look *look)
{
    struct pg_job *jobs = need(calloc(DATABASES_MAX * INSTANCES_MAX, sizeof *jobs));
    int len = 0, pending = 0;
    bool done = false;
    for (int db = 0; db < look->def->databases_len; db++) {
        for (int i = 0; i < look->def->databases[db].instances_len; i++) {
            jobs[len] = (struct pg_job){
                .instance = &look->databases[db].instances[i], .pending = &pending, .done = &done};
            pending++;
            start_pg(look, db, i, &jobs[len++]);
        }
    }
    loop_run_until(look->loop, &done, 2 * PG_MS);
    for (int j = 0; j < len; j++) {
        probe_pg_free(jobs[j].pg);
    }
    free(jobs);
}

/* ---- guards ---- */

static int64_t report_revision(const struct rescue_look *look, int db, int i)
{
    const struct database_def *def = &look->def->databases[db];
    char name[3 * NAME_SIZE];
    snprintf(name, sizeof name, STORE_GUARDS "%s/%s", look->def->nodes[def->instances[i].node].name,
             def->name);
    const struct rescue_key *key = rescue_key(look, name);
    return key != NULL ? key->mod_revision : 0;
}

static void take_report(struct rescue_look *look, int db, int i)
{
    const struct database_def *def = &look->def->databases[db];
    struct rescue_instance *instance = &look->databases[db].instances[i];
    char name[3 * NAME_SIZE];
    struct err err = {0};
    snprintf(name, sizeof name, STORE_GUARDS "%s/%s", look->def->nodes[def->instances[i].node].name,
             def->name);
    const struct rescue_key *key = rescue_key(look, name);
    instance->reported = key != NULL && guard_record_decode(key->value, strlen(key->value),
                                                            &instance->said, &err) == 0;
}

/* Whose report is waited for, of those that have not come; takes those that have. */
static int take_reports(struct rescue_look *look, int64_t since)
{
    int missing = 0;
    for (int db = 0; db < look->def->databases_len; db++) {
        for (int i = 0; i < look->def->databases[db].instances_len; i++) {
            const struct rescue_instance *instance = &look->databases[db].instances[i];
            int node = look->def->databases[db].instances[i].node;
            if (report_revision(look, db, i) > since) {
                take_report(look, db, i);
            } else if (node_has_method(&look->def->nodes[node], FENCE_GUARD) && !instance->is_off) {
                missing++;
            }
        }
    }
    return missing;
}

/* Only what was written after the question counts: a restored store has reports of before. */
static bool wait_for_guards(struct rescue_look *look)
{
    int64_t since = look->revision;
    uint64_t begun_ms = clock_now_ms();
    if (take_reports(look, since) > 0) {
        (void)fputs("waiting for the guards' reports ...\n", stderr);
    }
    while (take_reports(look, since) > 0 && clock_now_ms() - begun_ms < REPORT_WAIT_MS) {
        bool never = false;
        loop_run_until(look->loop, &never, READ_AGAIN_MS);
        if (!read_store(look)) {
            return false;
        }
    }
    return true;
}

bool rescue_look(struct rescue_look *look, const struct ctl *ctl, enum ctl_exit *ret_exit)
{
    *ret_exit = CTL_REFUSED;
    if (!read_store(look) || !read_installation(look) || !read_definition(look) ||
        !take_words(look, ctl)) {
        return false;
    }
    if (!wait_for_guards(look)) {
        return false;
    }
    ask_postgres(look);
    /* What was read last is what the writes compare with. */
    return read_store(look) && read_installation(look) && read_records(look);
}
