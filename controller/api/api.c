#include "controller/api/api.h"

#include <assert.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "controller/api/ask.h"
#include "controller/api/explain.h"
#include "controller/api/kept.h"
#include "controller/api/status_parts.h"
#include "controller/api/words.h"
#include "controller/base/json.h"
#include "controller/base/server.h"
#include "controller/base/utf8.h"
#include "controller/cluster/definition_read.h"

const char *const api_write_state_names[] = {"pending", "stored", "failed", "unknown", NULL};

struct api {
    struct loop *loop;
    struct api_backend backend;
    struct server *server;
    struct server *https; /* or NULL */
    struct kept kept;
    struct api_config config; /* yaml: owned copy, or NULL: none stored */
    char *yaml;
};

/* One request on its way through a handler. */
struct visit {
    struct api *api;
    struct server_call *call;
    const char *method;
    const char *path;
    const char *rest; /* the path after the route's prefix */
    const char *body;
    size_t body_len;
    struct server_peer peer;
    enum api_role role;
};

/* ---- answers ---- */

static void answer(struct visit *visit, int status, json_t *value)
{
    char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT);
    json_decref(value);
    if (text == NULL) {
        static const char sorry[] = "{\"error\":\"out of memory\"}";
        server_reply(visit->call, 503, NULL, sorry, sizeof sorry - 1);
        return;
    }
    server_reply(visit->call, status, NULL, text, strlen(text));
    free(text);
}

static void refuse(struct visit *visit, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void refuse(struct visit *visit, int status, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    utf8_show(text); /* what was asked stands in it */
    json_t *out = json_object();
    json_object_set_new(out, "error", words_text(text));
    answer(visit, status, out);
}

/* ---- who asks ---- */

/*
 * The peer's name from /etc/passwd, not through the name service: that may ask a directory over the
 * network, and this runs on the loop that decides.
 */
static void name_user(uid_t uid, char ret_name[NAME_SIZE])
{
    (void)snprintf(ret_name, NAME_SIZE, "uid %lu", (unsigned long)uid);
    FILE *file = fopen("/etc/passwd", "re");
    if (file == NULL) {
        return;
    }
    struct passwd entry;
    struct passwd *found = NULL;
    char buffer[4096];
    while (fgetpwent_r(file, &entry, buffer, sizeof buffer, &found) == 0) {
        if (entry.pw_uid == uid && strlen(entry.pw_name) < NAME_SIZE) {
            (void)snprintf(ret_name, NAME_SIZE, "%s", entry.pw_name);
            break;
        }
    }
    (void)fclose(file);
}

#define WHO_SIZE (sizeof "cert:" + SERVER_NAME_SIZE)
static void name_peer(const struct visit *visit, char ret_who[WHO_SIZE])
{
    if (visit->peer.name[0] != '\0') {
        (void)snprintf(ret_who, WHO_SIZE, "cert:%s", visit->peer.name);
        return;
    }
    char name[NAME_SIZE];
    name_user(visit->peer.uid, name);
    (void)snprintf(ret_who, WHO_SIZE, "%s", name);
}

/* Refused for who it is, and told to the backend, so that somebody can see who tries what. */
static void forbid(struct visit *visit, const char *why)
{
    const struct api_backend *backend = &visit->api->backend;
    char who[WHO_SIZE];
    if (backend->refused != NULL) {
        name_peer(visit, who);
        backend->refused(backend->arg, who, why);
    }
    refuse(visit, 403, "%s", why);
}

static bool may_come_in(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    char why[ERR_TEXT_MAX];
    visit->peer = server_peer(visit->call);
    visit->role = ROLE_OPERATE; /* the kernel let it in */
    if (!visit->peer.known) {
        refuse(visit, 403, "the kernel does not say who asks; use the controller's unix socket");
        return false;
    }
    if (visit->peer.name[0] != '\0' &&
        !backend->allowed(backend->arg, visit->peer.name, &visit->role)) {
        (void)snprintf(why, sizeof why,
                       "the certificate's name \"%s\" is not in this controller's api.allow",
                       visit->peer.name);
        forbid(visit, why);
        return false;
    }
    return true;
}

static void new_id(const char *prefix, char ret_id[ID_SIZE])
{
    unsigned char random[8];
    /* Eight bytes come whole or the kernel has no random source yet, long before this runs. */
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        abort();
    }
    int len = snprintf(ret_id, ID_SIZE, "%s-", prefix);
    for (size_t i = 0; i < sizeof random; i++) {
        len += snprintf(ret_id + len, ID_SIZE - (size_t)len, "%02x", random[i]);
    }
}

/* ---- reading ---- */

static void get_me(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    struct status_extra extra = {0};
    char who[WHO_SIZE];
    backend->extra(backend->arg, &extra);
    name_peer(visit, who);
    json_t *out = json_object();
    json_object_set_new(out, "who", words_text(who));
    json_object_set_new(out, "role", json_string(api_role_names[visit->role]));
    json_object_set_new(out, "controller",
                        status_controller(&extra, backend->core(backend->arg)->leading));
    json_object_set_new(out, "leader", status_leader(&extra));
    answer(visit, 200, out);
}

static void get_status(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    answer(visit, 200, status_json(backend->core(backend->arg), &extra));
}

/* The leader's own clock where the core holds it, else the record's anchor. */
static uint64_t age_of(const struct core *core, const struct status_extra *extra,
                       const struct incident_record *incident)
{
    for (int i = 0; i < GROUPS_MAX; i++) {
        const struct group_state *group = &core->groups[i];
        if (group->incident_known && strcmp(group->incident.id, incident->id) == 0 &&
            group->incident_opened_ms != 0 && extra->now_ms >= group->incident_opened_ms) {
            return extra->now_ms - group->incident_opened_ms;
        }
    }
    return incident_age_ms(incident, extra->wall_ms);
}

static void get_incidents(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    const struct kept *kept = &visit->api->kept;
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    const struct core *core = backend->core(backend->arg);
    json_t *list = json_array();
    for (int i = 0; i < kept->incidents_len; i++) {
        /* Without the notes: all of them at once would hold up the loop that decides. */
        struct incident_record brief = *kept->incidents[i];
        brief.notes_len = 0;
        json_array_append_new(list, incident_json(&brief, age_of(core, &extra, &brief)));
    }
    json_t *out = json_object();
    json_object_set_new(out, "schema", json_integer(1));
    json_object_set_new(out, "incidents", list);
    json_object_set_new(out, "kept_at_most", json_integer(API_INCIDENTS_MAX));
    answer(visit, 200, out);
}

static void get_incident(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    const struct incident_record *incident = kept_incident(&visit->api->kept, visit->rest);
    if (incident == NULL) {
        refuse(visit, 404, "no incident \"%.60s\" is kept; GET /v1/incidents lists all",
               visit->rest);
        return;
    }
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    const struct core *core = backend->core(backend->arg);
    answer(visit, 200, incident_json(incident, age_of(core, &extra, incident)));
}

/* A query's number; absent gives `absent`. False: answered with 400. */
static bool query_number(struct visit *visit, const char *name, uint64_t min, uint64_t max,
                         uint64_t absent, uint64_t *ret_number)
{
    const char *text = server_query(visit->call, name);
    *ret_number = absent;
    if (text == NULL) {
        return true;
    }
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || strlen(text) > 19 || number < min ||
        number > max) {
        refuse(visit, 400, "%s: found \"%.40s\", must be an integer from %" PRIu64 " to %" PRIu64,
               name, text, min, max);
        return false;
    }
    *ret_number = number;
    return true;
}

static void get_events(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    uint64_t since, limit;
    if (!query_number(visit, "since", 0, INT64_MAX, 0, &since) ||
        !query_number(visit, "limit", 1, EVENTS_MAX, EVENTS_MAX, &limit)) {
        return;
    }
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    if (extra.events == NULL) {
        refuse(visit, 404, "this controller keeps no events");
        return;
    }
    json_t *out = events_json(extra.events, since, (int)limit);
    json_object_set_new(out, "controller",
                        status_controller(&extra, backend->core(backend->arg)->leading));
    json_object_set_new(out, "leader", status_leader(&extra));
    answer(visit, 200, out);
}

static json_t *write_json(const struct kept_write *write)
{
    json_t *out = json_object();
    json_object_set_new(out, "id", json_string(write->id));
    json_object_set_new(out, "state", json_string(api_write_state_names[write->state]));
    json_object_set_new(out, "revision", json_integer(write->revision));
    json_object_set_new(out, "text", words_text(write->text));
    return out;
}

static void get_write(struct visit *visit)
{
    const struct kept_write *write = kept_write(&visit->api->kept, visit->rest);
    if (write == NULL) {
        refuse(visit, 404, "this controller knows no write \"%.60s\"", visit->rest);
        return;
    }
    answer(visit, 200, write_json(write));
}

static json_t *request_json(const struct request_record *request)
{
    json_t *out = json_object();
    json_object_set_new(out, "id", words_text(request->id));
    json_object_set_new(out, "state", json_string(request_state_names[request->state]));
    json_object_set_new(out, "kind", json_string(request_kind_names[request->kind]));
    json_object_set_new(out, "group", words_text(request->group));
    json_object_set_new(out, "database", words_text(request->database));
    json_object_set_new(out, "node", words_text(request->node));
    json_object_set_new(out, "who", words_text(request->who));
    json_object_set_new(out, "reason", words_text(request->reason));
    json_object_set_new(out, "accept_loss_bytes", words_u64(request->accept_loss_bytes));
    json_object_set_new(out, "asked", words_wall(request->asked_wall_ms));
    json_object_set_new(out, "outcome", words_text(request->outcome));
    json_object_set_new(out, "workflow", words_text_or_null(request->workflow));
    return out;
}

/* Not seen in the store yet: what is known is how the write went. Never called failed for it. */
static void get_request(struct visit *visit)
{
    const struct request_record *request = kept_request(&visit->api->kept, visit->rest);
    const struct kept_write *write = kept_write(&visit->api->kept, visit->rest);
    if (request != NULL) {
        answer(visit, 200, request_json(request));
        return;
    }
    if (write == NULL || write->config) {
        refuse(visit, 404, "this controller knows no request \"%.60s\"", visit->rest);
        return;
    }
    json_t *out = json_object();
    json_object_set_new(out, "id", json_string(write->id));
    json_object_set_new(out, "state", json_string("unknown-yet"));
    json_object_set_new(out, "write", json_string(api_write_state_names[write->state]));
    json_object_set_new(out, "outcome", words_text(write->text));
    answer(visit, 200, out);
}

static void get_config(struct visit *visit)
{
    const struct api *api = visit->api;
    json_t *out = json_object();
    json_object_set_new(out, "schema", json_integer(1));
    json_object_set_new(out, "revision",
                        json_integer(api->yaml == NULL ? 0 : api->config.revision));
    json_object_set_new(out, "yaml", words_text(api->yaml));
    json_object_set_new(out, "who", words_text(api->config.who));
    json_object_set_new(out, "reason", words_text(api->config.reason));
    json_object_set_new(out, "at", words_wall(api->config.wall_ms));
    answer(visit, 200, out);
}

/* The versions before the stored one; 1 is the latest of them. NULL: answered with 404. */
static const struct config_record *stored_config(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    const struct config_record *config =
        backend->config == NULL ? NULL : backend->config(backend->arg);
    if (config == NULL || config->current.text == NULL) {
        refuse(visit, 404, "no definition is stored yet");
        return NULL;
    }
    return config;
}

static json_t *version_json(const struct config_version *version, int back, bool with_text)
{
    json_t *out = json_object();
    json_object_set_new(out, "version", json_integer(back));
    json_object_set_new(out, "who", words_text(version->applied_by));
    json_object_set_new(out, "reason", words_text(version->reason));
    json_object_set_new(out, "at", words_wall(version->at_wall_ms));
    json_object_set_new(out, "hash", words_text(version->hash));
    if (with_text) {
        json_object_set_new(out, "yaml", words_text(version->text));
    }
    return out;
}

static void get_history(struct visit *visit)
{
    const struct config_record *config = stored_config(visit);
    if (config == NULL) {
        return;
    }
    json_t *out = json_object();
    json_t *list = json_array();
    json_array_append_new(list, version_json(&config->current, 0, false));
    for (int i = 0; i < config->history_len; i++) {
        json_array_append_new(list, version_json(&config->history[i], i + 1, false));
    }
    json_object_set_new(out, "schema", json_integer(1));
    json_object_set_new(out, "revision", json_integer(visit->api->config.revision));
    json_object_set_new(out, "versions", list);
    json_object_set_new(out, "kept_at_most", json_integer(CONFIG_HISTORY_MAX));
    answer(visit, 200, out);
}

static void get_version(struct visit *visit)
{
    const struct config_record *config = stored_config(visit);
    if (config == NULL) {
        return;
    }
    char *end = NULL;
    long back = strtol(visit->rest, &end, 10);
    if (visit->rest[0] < '0' || visit->rest[0] > '9' || *end != '\0' || back < 0 ||
        back > config->history_len) {
        refuse(visit, 404, "found version \"%.20s\"; kept are 0 (the stored one) to %d",
               visit->rest, config->history_len);
        return;
    }
    const struct config_version *version =
        back == 0 ? &config->current : &config->history[back - 1];
    answer(visit, 200, version_json(version, (int)back, true));
}

/* ---- what would happen ---- */

/* The group, database and node of a question; false: answered. */
static bool read_names(struct visit *visit, struct request_record *ret_request)
{
    const struct core *core = visit->api->backend.core(visit->api->backend.arg);
    struct err err;
    if (ask_names(core->defined ? &core->def : NULL, server_query(visit->call, "group"),
                  server_query(visit->call, "database"), server_query(visit->call, "to"),
                  ret_request, &err) < 0) {
        refuse(visit, 400, "%s", err.text);
        return false;
    }
    return true;
}

static void get_explain(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    struct request_record names;
    if (!read_names(visit, &names)) {
        return;
    }
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    const struct core *core = backend->core(backend->arg);
    answer(visit, 200,
           explain_json(core, &extra, definition_group(&core->def, names.group),
                        definition_database(&core->def, names.database)));
}

static void get_plan(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    struct request_record request;
    uint64_t accepted;
    if (!read_names(visit, &request) ||
        !query_number(visit, "accept_loss_bytes", 0, INT64_MAX, 0, &accepted)) {
        return;
    }
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    request.accept_loss_bytes = accepted;
    answer(visit, 200, plan_json(backend->core(backend->arg), &extra, &request));
}

/* ---- writing ---- */

/* As it is recorded. Only names that fit are allowed in (local.h). */
static void asker(const struct visit *visit, char ret_who[NAME_SIZE])
{
    char who[WHO_SIZE];
    name_peer(visit, who);
    (void)snprintf(ret_who, NAME_SIZE, "%.*s", NAME_SIZE - 1, who);
}

static json_t *read_body(struct visit *visit, size_t limit)
{
    struct err err;
    json_t *body = json_parse(visit->body, visit->body_len, limit, &err);
    if (body == NULL) {
        refuse(visit, err.code == ERR_LIMIT ? 413 : 400, "%s", err.text);
    }
    return body;
}

static void accepted(struct visit *visit, const char *id, const char *at)
{
    char path[sizeof "/v1/requests/" + ID_SIZE];
    (void)snprintf(path, sizeof path, "%s%s", at, id);
    json_t *out = json_object();
    json_object_set_new(out, "id", json_string(id));
    json_object_set_new(out, "state", json_string("unknown-yet"));
    json_object_set_new(out, "ask", json_string(path));
    answer(visit, 202, out);
}

/* FNV-1a over the text and its end; not against malice: whoever may ask, may ask anything. */
static uint64_t print_text(uint64_t print, const char *text)
{
    do {
        print = (print ^ (unsigned char)*text) * UINT64_C(1099511628211);
    } while (*text++ != '\0');
    return print;
}

static uint64_t print_request(const struct request_record *request)
{
    uint64_t print = UINT64_C(14695981039346656037) + request->accept_loss_bytes;
    print = print_text(print, request_kind_names[request->kind]);
    print = print_text(print, request->group);
    print = print_text(print, request->database);
    print = print_text(print, request->node);
    print = print_text(print, request->plan);
    print = print_text(print, request->alarm);
    return print_text(print, request->reason);
}

/* Room for a write under a new id; or answered: asked before (repeating is harmless), or full. */
static struct kept_write *new_write(struct visit *visit, const char *id, bool config,
                                    uint64_t print, const char *ask_at)
{
    struct kept_write *before = kept_write(&visit->api->kept, id);
    if (before != NULL && (before->config != config || before->print != print)) {
        refuse(visit, 409, "the id \"%s\" is in use for something else", id);
        return NULL;
    }
    bool again =
        before != NULL && (before->state == API_WRITE_FAILED || before->state == API_WRITE_UNKNOWN);
    if (before != NULL && !again) {
        accepted(visit, id, ask_at);
        return NULL;
    }
    /* Tried again under its id: the store refuses to write it twice. */
    struct kept_write *write = again ? before : kept_write_new(&visit->api->kept, id);
    if (write == NULL) {
        refuse(visit, 503, "%d writes are waiting for etcd already; nothing was changed",
               API_WRITES_MAX);
        return NULL;
    }
    write->state = API_WRITE_PENDING;
    write->config = config;
    write->print = print;
    return write;
}

static void post_request(struct visit *visit)
{
    static const char ask_at[] = "/v1/requests/";
    const struct api_backend *backend = &visit->api->backend;
    const struct core *core = backend->core(backend->arg);
    struct request_record request;
    struct err err;
    char who[NAME_SIZE];
    asker(visit, who);
    json_t *body = read_body(visit, API_BODY_SMALL_MAX);
    if (body == NULL) {
        return;
    }
    int read = ask_request(body, core->defined ? &core->def : NULL, &request, &err);
    json_decref(body);
    if (read < 0) {
        refuse(visit, 400, "%s", err.text);
        return;
    }
    struct status_extra extra = {0};
    backend->extra(backend->arg, &extra);
    memcpy(request.who, who, sizeof request.who);
    request.asked_wall_ms = extra.wall_ms;
    if (request.id[0] == '\0') {
        new_id("req", request.id);
    }
    const struct request_record *before = kept_request(&visit->api->kept, request.id);
    if (before != NULL && print_request(before) != print_request(&request)) {
        refuse(visit, 409, "the id \"%s\" is in use for something else", request.id);
    } else if (before != NULL) {
        accepted(visit, request.id, ask_at);
    } else if (new_write(visit, request.id, false, print_request(&request), ask_at) != NULL) {
        backend->put_request(backend->arg, &request);
        accepted(visit, request.id, ask_at);
    }
}

static void refuse_definition(struct visit *visit, const struct complaints *complaints)
{
    json_t *list = json_array();
    for (int i = 0; i < complaints->len; i++) {
        const struct complaint *complaint = &complaints->items[i];
        json_t *item = json_object();
        json_object_set_new(item, "level",
                            json_string(complaint->level == COMPLAINT_ERROR ? "error" : "warning"));
        json_object_set_new(item, "line", json_integer(complaint->line));
        json_object_set_new(item, "column", json_integer(complaint->column));
        json_object_set_new(item, "path", words_text(complaint->path));
        json_object_set_new(item, "text", words_text(complaint->text));
        json_array_append_new(list, item);
    }
    char text[80];
    (void)snprintf(text, sizeof text, "the definition has %d errors; nothing was changed",
                   complaints->errors);
    json_t *out = json_object();
    json_object_set_new(out, "error", json_string(text));
    json_object_set_new(out, "complaints", list);
    answer(visit, 400, out);
}

/* The whole definition is checked here too: what is stored has passed, whoever sent it. */
static bool definition_passes(struct visit *visit, const struct ask_config *ask)
{
    struct definition *def = calloc(1, sizeof *def);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    bool passes = false;
    if (def == NULL || complaints == NULL) {
        refuse(visit, 503, "out of memory; nothing was changed");
    } else if (definition_read(ask->yaml, ask->yaml_len, def, complaints) < 0) {
        refuse_definition(visit, complaints);
    } else {
        passes = true;
    }
    free(def);
    free(complaints);
    return passes;
}

static void store_config(struct visit *visit, struct ask_config *ask, const char *who)
{
    static const char ask_at[] = "/v1/writes/";
    struct api *api = visit->api;
    int64_t known = api->yaml == NULL ? 0 : api->config.revision;
    if (ask->expected_revision >= 0 && ask->expected_revision != known) {
        refuse(visit, 409,
               "the stored definition is at revision %" PRId64 ", not %" PRId64
               "; somebody else has changed it, nothing was changed now",
               known, ask->expected_revision);
        return;
    }
    if (ask->id[0] == '\0') {
        new_id("cfg", ask->id);
    }
    if (new_write(visit, ask->id, true, print_text(0, ask->yaml), ask_at) == NULL) {
        return;
    }
    struct status_extra extra = {0};
    api->backend.extra(api->backend.arg, &extra);
    struct api_config config = {
        .yaml = ask->yaml, .yaml_len = ask->yaml_len, .wall_ms = extra.wall_ms, .revision = known};
    (void)snprintf(config.who, sizeof config.who, "%s", who);
    (void)snprintf(config.reason, sizeof config.reason, "%s", ask->reason);
    api->backend.put_config(api->backend.arg, ask->id, &config);
    accepted(visit, ask->id, ask_at);
}

static void post_config(struct visit *visit)
{
    char who[NAME_SIZE];
    struct ask_config ask;
    struct err err;
    asker(visit, who);
    json_t *body = read_body(visit, API_BODY_MAX);
    if (body == NULL) {
        return;
    }
    if (ask_config(body, &ask, &err) < 0) {
        refuse(visit, 400, "%s", err.text);
    } else if (definition_passes(visit, &ask)) {
        store_config(visit, &ask, who);
    }
    json_decref(body);
}

/* ---- promises ---- */

/* What was asked comes back, so that nothing but the answer to this question can be taken for it
 * (failures.md G14). */
static void post_promise(struct visit *visit)
{
    const struct api_backend *backend = &visit->api->backend;
    struct ask_promise ask;
    struct err err;
    char reason[REASON_SIZE] = "this program gives no promises";
    json_t *body = read_body(visit, API_BODY_SMALL_MAX);
    if (body == NULL) {
        return;
    }
    int read = ask_promise(body, &ask, &err);
    json_decref(body);
    if (read < 0) {
        refuse(visit, 400, "%s", err.text);
        return;
    }
    bool promised = backend->promise != NULL &&
                    backend->promise(backend->arg, &ask.question, reason, sizeof reason);
    json_t *epoch = json_object();
    json_object_set_new(epoch, "incarnation", json_count(ask.question.epoch.incarnation));
    json_object_set_new(epoch, "counter", json_count(ask.question.epoch.counter));
    json_t *out = json_object();
    json_object_set_new(out, "promised", json_boolean(promised));
    json_object_set_new(out, "database", json_string(ask.question.database));
    json_object_set_new(out, "node", json_string(ask.question.node));
    json_object_set_new(out, "epoch", epoch);
    json_object_set_new(out, "boot", json_string(ask.question.boot));
    json_object_set_new(out, "nonce", json_string(ask.nonce));
    json_object_set_new(out, "reason", words_text(promised ? "" : reason));
    answer(visit, 200, out);
}

/* ---- routes ---- */

#define MAY(role) (1u << (role))
#define OPERATORS MAY(ROLE_OPERATE)
#define READERS   (MAY(ROLE_READ) | OPERATORS)
#define EVERYBODY (MAY(ROLE_GUARD) | READERS)

/* clang-format off */
static const struct route {
    const char *method;
    const char *path; /* with a "/" at its end: an id follows */
    unsigned roles;   /* who may: MAY() bits */
    size_t body_max;
    void (*handle)(struct visit *visit);
} routes[] = {
    {"GET",  "/v1/me",         EVERYBODY, 0,                  get_me},
    {"GET",  "/v1/status",     READERS,   0,                  get_status},
    {"GET",  "/v1/incidents",  READERS,   0,                  get_incidents},
    {"GET",  "/v1/incidents/", READERS,   0,                  get_incident},
    {"GET",  "/v1/events",     READERS,   0,                  get_events},
    {"GET",  "/v1/requests/",  READERS,   0,                  get_request},
    {"POST", "/v1/requests",   OPERATORS, API_BODY_SMALL_MAX, post_request},
    {"GET",  "/v1/explain",    READERS,   0,                  get_explain},
    {"GET",  "/v1/plan",       READERS,   0,                  get_plan},
    {"GET",  "/v1/config",     READERS,   0,                  get_config},
    {"GET",  "/v1/history",    READERS,   0,                  get_history},
    {"GET",  "/v1/history/",   READERS,   0,                  get_version},
    {"POST", "/v1/config",     OPERATORS, API_BODY_MAX,       post_config},
    {"PUT",  "/v1/config",     OPERATORS, API_BODY_MAX,       post_config},
    {"GET",  "/v1/writes/",    READERS,   0,                  get_write},
    {"POST", "/v1/promise",    MAY(ROLE_GUARD), API_BODY_SMALL_MAX, post_promise},
};
/* clang-format on */
enum { ROUTES_LEN = sizeof routes / sizeof *routes };

static bool path_matches(const struct route *route, struct visit *visit)
{
    size_t len = strlen(route->path);
    if (route->path[len - 1] != '/') {
        return strcmp(visit->path, route->path) == 0;
    }
    visit->rest = visit->path + len;
    return strncmp(visit->path, route->path, len) == 0 && visit->rest[0] != '\0' &&
           strchr(visit->rest, '/') == NULL;
}

static bool role_may(struct visit *visit, const struct route *route)
{
    if ((route->roles & MAY(visit->role)) != 0) {
        return true;
    }
    char why[ERR_TEXT_MAX];
    (void)snprintf(why, sizeof why, "%s %s is not for the role \"%s\" of the certificate \"%s\"",
                   route->method, route->path, api_role_names[visit->role], visit->peer.name);
    forbid(visit, why);
    return false;
}

static void dispatch(struct visit *visit)
{
    char allowed[64] = "";
    for (int i = 0; i < ROUTES_LEN; i++) {
        if (!path_matches(&routes[i], visit)) {
            continue;
        }
        if (strcmp(visit->method, routes[i].method) == 0) {
            if (!role_may(visit, &routes[i])) {
                return;
            }
            if (visit->body_len > routes[i].body_max) {
                refuse(visit, 413, "a body of %zu bytes, at most %zu are allowed here",
                       visit->body_len, routes[i].body_max);
                return;
            }
            routes[i].handle(visit);
            return;
        }
        size_t len = strlen(allowed);
        (void)snprintf(allowed + len, sizeof allowed - len, "%s%s", len > 0 ? ", " : "",
                       routes[i].method);
    }
    if (allowed[0] != '\0') {
        refuse(visit, 405, "%.20s is not allowed on %.80s; allowed: %s", visit->method, visit->path,
               allowed);
        return;
    }
    refuse(visit, 404, "no such path: %.80s", visit->path);
}

static void on_request(void *arg, struct server_call *call, const char *method, const char *path,
                       const char *body, size_t body_len)
{
    struct visit visit = {.api = arg,
                          .call = call,
                          .method = method,
                          .path = path,
                          .body = body,
                          .body_len = body_len};
    if (may_come_in(&visit)) {
        dispatch(&visit);
    }
}

static void on_refused(void *arg, const char *from, const char *why)
{
    struct api *api = arg;
    if (api->backend.refused != NULL) {
        api->backend.refused(api->backend.arg, from, why);
    }
}

/* ---- life ---- */

struct api *api_new(struct loop *loop, const struct api_options *options, struct err *ret_err)
{
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        err_set(ret_err, ERR_SYSTEM, "out of memory");
        return NULL;
    }
    api->loop = loop;
    api->backend = options->backend;
    struct server_options server = {.unix_path = options->socket,
                                    .unix_group = options->socket_group,
                                    .body_limit = API_BODY_MAX,
                                    .connections_max = API_CONNECTIONS_MAX,
                                    .handler = on_request,
                                    .arg = api};
    api->server = server_new(loop, &server, ret_err);
    if (api->server == NULL) {
        free(api);
        return NULL;
    }
    return api;
}

int api_https(struct api *api, const char *listen, struct tls_keys *keys, struct err *ret_err)
{
    assert(listen == NULL || api->backend.allowed != NULL);
    server_free(api->https);
    api->https = NULL;
    if (listen == NULL) {
        return 0;
    }
    struct server_options server = {.listen = listen,
                                    .keys = keys,
                                    .body_limit = API_BODY_MAX,
                                    .connections_max = API_HTTPS_MAX,
                                    .handler = on_request,
                                    .refused = on_refused,
                                    .arg = api};
    api->https = server_new(api->loop, &server, ret_err);
    return api->https == NULL ? -1 : 0;
}

void api_renew(struct api *api, struct tls_keys *keys)
{
    assert(api->https != NULL);
    server_renew(api->https, keys);
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    server_free(api->https);
    server_free(api->server);
    kept_done(&api->kept);
    free(api->yaml);
    free(api);
}

void api_take_request(struct api *api, const struct request_record *request)
{
    kept_take_request(&api->kept, request);
}

void api_take_incident(struct api *api, const struct incident_record *incident)
{
    kept_take_incident(&api->kept, incident);
}

void api_take_config(struct api *api, const struct api_config *config)
{
    char *yaml = config == NULL ? NULL : strndup(config->yaml, config->yaml_len);
    free(api->yaml);
    api->yaml = yaml;
    api->config = config == NULL ? (struct api_config){0} : *config;
    api->config.yaml = yaml;
}

void api_write_done(struct api *api, const char *id, enum api_write_state state, int64_t revision,
                    const char *text)
{
    struct kept_write *write = kept_write(&api->kept, id);
    if (write == NULL) {
        return;
    }
    write->state = state;
    write->revision = revision;
    (void)snprintf(write->text, sizeof write->text, "%s", text == NULL ? "" : text);
}
