/*
 * HTTP requests to a controller's API, operators' and guards', one after another, as they come out
 * of the server: each is answered once, with a status of the API's own and JSON that can be shown.
 * Nothing is handed on for storing but by somebody who may, and what is handed on can be stored and
 * read.
 *
 * The input: requests, "\nEND\n" between them; each who asks and how, then the path and query on a
 * line, then the body.
 */
#include "controller/api/api.h"

#include <jansson.h>

#include "controller/base/server.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/shop_fixture.h"

#define REQUESTS_MAX 8

struct server_call {
    struct server_peer peer;
    char *query; /* behind the ?, or NULL */
    char values[8][256];
    int values_len;
    int replies;
    int status;
    json_t *body;
};

static struct {
    server_fn handler;
    void *arg;
    struct core *core;
    struct events *events;
    struct server_call *call;
    bool may_operate, may_promise;
    int stored; /* by this request */
    int refused;
} world;

/* ---- the server ---- */

/* The linker puts these in the place of server.c's. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
struct server *__wrap_server_new(struct loop *loop, const struct server_options *options,
                                 struct err *ret_err);
void __wrap_server_free(struct server *server);
void __wrap_server_renew(struct server *server, struct tls_keys *keys);
const char *__wrap_server_query(struct server_call *call, const char *name);
struct server_peer __wrap_server_peer(struct server_call *call);
void __wrap_server_reply(struct server_call *call, int status, const char *content_type,
                         const char *body, size_t body_len);

struct server *__wrap_server_new(struct loop *loop, const struct server_options *options,
                                 struct err *ret_err)
{
    (void)loop;
    (void)ret_err;
    world.handler = options->handler;
    world.arg = options->arg;
    return (struct server *)&world;
}

void __wrap_server_free(struct server *server)
{
    (void)server;
}

void __wrap_server_renew(struct server *server, struct tls_keys *keys)
{
    (void)server;
    (void)keys;
}

const char *__wrap_server_query(struct server_call *call, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = call->query; at != NULL && *at != '\0';) {
        size_t part = strcspn(at, "&");
        if (strncmp(at, name, len) == 0 && at[len] == '=' && call->values_len < 8) {
            char *value = call->values[call->values_len++];
            snprintf(value, sizeof call->values[0], "%.*s", (int)(part - len - 1), at + len + 1);
            return value;
        }
        at += part + (at[part] == '&' ? 1 : 0);
    }
    return NULL;
}

struct server_peer __wrap_server_peer(struct server_call *call)
{
    return call->peer;
}

void __wrap_server_reply(struct server_call *call, int status, const char *content_type,
                         const char *body, size_t body_len)
{
    json_error_t error;
    assert(content_type == NULL && body_len > 0);
    call->replies++;
    call->status = status;
    json_decref(call->body);
    call->body = json_loadb(body, body_len, JSON_REJECT_DUPLICATES, &error);
    assert(json_is_object(call->body));
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* ---- the controller behind it ---- */

static const struct core *give_core(void *arg)
{
    (void)arg;
    return world.core;
}

static void give_extra(void *arg, struct status_extra *ret_extra)
{
    (void)arg;
    *ret_extra = (struct status_extra){.now_ms = SHOP_NOW_MS,
                                       .wall_ms = SHOP_WALL_MS,
                                       .id = "ops2",
                                       .version = "1.2.3",
                                       .events = world.events};
}

static void put_request(void *arg, const struct request_record *request)
{
    static struct request_record again;
    size_t len;
    (void)arg;
    assert(world.may_operate);
    world.stored++;
    assert(request->state == REQUEST_NEW && request->who[0] != '\0');
    assert(utf8_is_line(request->reason) && request->reason[0] != '\0');
    char *text = request_record_encode(request, &len);
    assert(text != NULL && request_record_decode(text, len, &again, NULL) == 0);
    assert(strcmp(request->id, again.id) == 0 && strcmp(request->who, again.who) == 0);
    assert(strcmp(request->reason, again.reason) == 0 && request->kind == again.kind);
    free(text);
}

static void put_config(void *arg, const char *id, const struct api_config *config)
{
    static struct definition def;
    static struct complaints complaints;
    (void)arg;
    assert(world.may_operate && id[0] != '\0' && config->who[0] != '\0');
    world.stored++;
    assert(definition_read(config->yaml, config->yaml_len, &def, &complaints) == 0);
}

static bool promise(void *arg, const struct promise_question *question, char *ret_reason,
                    size_t size)
{
    (void)arg;
    assert(world.may_promise && question->boot[0] != '\0');
    snprintf(ret_reason, size, "it is revoked");
    return question->epoch.counter == 7;
}

static bool allowed(void *arg, const char *name, enum api_role *ret_role)
{
    (void)arg;
    *ret_role = strcmp(name, "ann") == 0       ? ROLE_OPERATE
                : strcmp(name, "grafana") == 0 ? ROLE_READ
                                               : ROLE_GUARD;
    return strcmp(name, "mallory") != 0;
}

static void refused(void *arg, const char *who, const char *why)
{
    (void)arg;
    world.refused++;
    assert(strncmp(who, "cert:", 5) == 0 && why[0] != '\0');
}

/* ---- one request ---- */

static struct server_peer peer_of(unsigned who)
{
    static const char *const names[] = {"", "ann", "grafana", "pay-east", "mallory"};
    struct server_peer peer = {.known = who < 5};
    snprintf(peer.name, sizeof peer.name, "%s", who < 5 ? names[who] : "");
    world.may_operate = who < 2;
    world.may_promise = who == 3;
    return peer;
}

static void expect_answer(const struct server_call *call)
{
    static const int statuses[] = {200, 202, 400, 403, 404, 405, 409, 413, 503};
    bool known = false;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        known = known || call->status == statuses[i];
    }
    assert(known && call->replies == 1);
    const char *error = json_string_value(json_object_get(call->body, "error"));
    assert((call->status >= 400) == (error != NULL));
    assert(error == NULL || utf8_is_line(error));
    assert(world.stored == 0 || (world.stored == 1 && call->status == 202));
    assert(world.refused == 0 || call->status == 403);
}

static void ask(const char *request, size_t len)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "DELETE"};
    struct fuzz fuzz = {(const uint8_t *)request, len};
    struct server_call call = {0};
    unsigned how = fuzz_byte(&fuzz);
    call.peer = peer_of(how % 6);
    const char *method = methods[how / 6 % 4];
    char *path = fuzz_text(&fuzz, "\n");
    size_t body_len;
    char *body = fuzz_rest(&fuzz, &body_len);
    char *query = strchr(path, '?');
    if (query != NULL) {
        *query = '\0';
        call.query = query + 1;
    }
    world.call = &call;
    world.stored = world.refused = 0;
    world.handler(world.arg, &call, method, path, body, body_len);
    expect_answer(&call);
    /* Again it stores nothing more under the same id. */
    if (world.stored == 1 && memmem(body, body_len, "\"id\"", 4) != NULL) {
        world.stored = 0;
        call.replies = 0;
        call.values_len = 0;
        world.handler(world.arg, &call, method, path, body, body_len);
        expect_answer(&call);
        assert(world.stored == 0 && call.status == 202);
    }
    json_decref(call.body);
    free(body);
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct api_options options = {.socket = "/nowhere",
                                               .backend = {.core = give_core,
                                                           .extra = give_extra,
                                                           .put_request = put_request,
                                                           .put_config = put_config,
                                                           .promise = promise,
                                                           .allowed = allowed,
                                                           .refused = refused}};
    struct fuzz fuzz = {data, size};
    if (world.core == NULL) {
        world.core = shop_core();
        world.events = events_new();
    }
    struct err err;
    struct api *api = api_new(NULL, &options, &err);
    assert(api != NULL);
    struct incident_record incident = shop_incident();
    api_take_incident(api, &incident);
    struct api_config config = {.yaml = shop_yaml, .yaml_len = strlen(shop_yaml), .revision = 9};
    api_take_config(api, &config);
    for (int i = 0; i < REQUESTS_MAX && fuzz.len > 0; i++) {
        size_t len;
        char *request = fuzz_piece(&fuzz, "\nEND\n", &len);
        ask(request, len);
        free(request);
    }
    api_free(api);
    return 0;
}
