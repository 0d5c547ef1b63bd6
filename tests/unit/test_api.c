/* The controller's API over its real socket, asked by the real HTTP client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pwd.h>
#include <unistd.h>

#include "controller/api/api.h"
#include "controller/api/ask.h"
#include "controller/base/http.h"
#include "controller/base/json.h"
#include "tests/unit/shop_fixture.h"
#include "tests/unit/tls_fixture.h"

#define WITHIN_MS UINT64_C(20000)

static struct loop *loop;
static struct http *http;
static struct api *api;
static struct core *core;
static struct events *events;
static char dir[32];
static char path[64];

/* ---- the program's side of the seam: what it is asked to write is kept for the test ---- */

static struct {
    int requests;
    struct request_record request;
    int configs;
    char config_id[ID_SIZE];
    char yaml[4096];
    char who[NAME_SIZE];
    char reason[REASON_SIZE];
    int64_t revision;
} asked;

static const struct core *give_core(void *arg)
{
    (void)arg;
    return core;
}

static void give_extra(void *arg, struct status_extra *ret_extra)
{
    (void)arg;
    *ret_extra = (struct status_extra){.now_ms = SHOP_NOW_MS,
                                       .wall_ms = SHOP_WALL_MS,
                                       .id = "ops2",
                                       .version = "1.2.3",
                                       .events = events};
}

static void put_request(void *arg, const struct request_record *request)
{
    (void)arg;
    asked.requests++;
    asked.request = *request;
}

static void put_config(void *arg, const char *id, const struct api_config *config)
{
    (void)arg;
    asked.configs++;
    snprintf(asked.config_id, sizeof asked.config_id, "%s", id);
    snprintf(asked.yaml, sizeof asked.yaml, "%.*s", (int)config->yaml_len, config->yaml);
    snprintf(asked.who, sizeof asked.who, "%s", config->who);
    snprintf(asked.reason, sizeof asked.reason, "%s", config->reason);
    asked.revision = config->revision;
}

/* Over HTTPS: with this certificate; NULL: at the socket. */
static const char *as;
static char https[32];
static char last_refusal[512];

static bool allowed(void *arg, const char *name, enum api_role *ret_role)
{
    (void)arg;
    static const struct {
        const char *name;
        enum api_role role;
    } names[] = {{"ann", ROLE_OPERATE}, {"grafana", ROLE_READ}, {"pay-east", ROLE_GUARD}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i].name) == 0) {
            *ret_role = names[i].role;
            return true;
        }
    }
    return false;
}

static bool promises;
static struct promise_question promised_to;

static bool promise(void *arg, const struct promise_question *question, char *ret_reason,
                    size_t size)
{
    (void)arg;
    promised_to = *question;
    snprintf(ret_reason, size, "it is revoked");
    return promises;
}

static void refused(void *arg, const char *who, const char *why)
{
    (void)arg;
    snprintf(last_refusal, sizeof last_refusal, "%s: %s", who, why);
}

static int make_certificates(void **state)
{
    (void)state;
    tls_begin();
    tls_make_ca("ca");
    tls_make("server", "ca", "/O=Shop/CN=ops2", "serverAuth", 90);
    tls_make("ann", "ca", "/O=Shop/CN=ann", "clientAuth", 90);
    tls_make("grafana", "ca", "/O=Shop/CN=grafana", "clientAuth", 90);
    tls_make("pay-east", "ca", "/O=Shop/CN=pay-east", "clientAuth", 90);
    tls_make("eve", "ca", "/O=Shop/CN=eve", "clientAuth", 90);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    tls_end();
    return 0;
}

static void serve_https(void)
{
    struct err err = {0};
    struct tls_keys *keys = tls_keys_of("server", "ca.pem");
    snprintf(https, sizeof https, "127.0.0.1:%d", tls_free_port());
    if (api_https(api, https, keys, &err) < 0) {
        fail_msg("%s", err.text);
    }
    tls_keys_free(keys);
}

static int set_up(void **state)
{
    struct err err = {0};
    (void)state;
    memset(&asked, 0, sizeof asked);
    core = shop_core();
    events = events_new();
    loop = loop_new();
    http = http_new(loop);
    snprintf(dir, sizeof dir, "/tmp/test_api.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/socket", dir);
    struct api_options options = {.socket = path,
                                  .backend = {.core = give_core,
                                              .extra = give_extra,
                                              .put_request = put_request,
                                              .put_config = put_config,
                                              .promise = promise,
                                              .allowed = allowed,
                                              .refused = refused}};
    as = NULL;
    last_refusal[0] = '\0';
    api = api_new(loop, &options, &err);
    if (api == NULL) {
        fail_msg("%s", err.text);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    http_free(http);
    api_free(api);
    loop_free(loop);
    events_free(events);
    free(core);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* ---- asking ---- */

struct answer {
    bool done;
    int status;
    json_t *body;
};

static void keep(void *arg, const struct http_answer *from)
{
    struct answer *answer = arg;
    answer->done = true;
    answer->status = from->err.code == ERR_NONE ? from->status : -1;
    answer->body = json_parse(from->body, from->body_len, 16u << 20, NULL);
}

/* The status; the body stays until the next request. */
static struct answer latest;

static int ask_bytes(const char *method, const char *url_path, const char *body, size_t body_len)
{
    char url[256];
    json_decref(latest.body);
    latest = (struct answer){0};
    char cert[40];
    char key[40];
    snprintf(cert, sizeof cert, "%s.pem", as != NULL ? as : "");
    snprintf(key, sizeof key, "%s.key", as != NULL ? as : "");
    struct http_tls tls = {
        .ca_file = tls_path("ca.pem"), .cert_file = tls_path(cert), .key_file = tls_path(key)};
    snprintf(url, sizeof url, "%s%s%s", as != NULL ? "https://" : "http://",
             as != NULL ? https : "failoverd", url_path);
    struct http_request request = {.method = method,
                                   .url = url,
                                   .unix_socket = as != NULL ? NULL : path,
                                   .tls = as != NULL ? &tls : NULL,
                                   .fresh = as != NULL, /* each name has its own connection */
                                   .body = body,
                                   .body_len = body_len,
                                   .deadline_ms = WITHIN_MS,
                                   .done = keep,
                                   .arg = &latest};
    http_start(http, &request);
    assert_true(loop_run_until(loop, &latest.done, WITHIN_MS));
    return latest.status;
}

static int ask(const char *method, const char *url_path, const char *body)
{
    return ask_bytes(method, url_path, body, body == NULL ? 0 : strlen(body));
}

static int get(const char *url_path)
{
    return ask("GET", url_path, NULL);
}

static int post(const char *url_path, const char *body)
{
    return ask("POST", url_path, body);
}

static const char *text(const char *key)
{
    const char *found = json_string_value(json_object_get(latest.body, key));
    return found == NULL ? "(absent)" : found;
}

static void says(const char *part)
{
    if (strstr(text("error"), part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", text("error"), part);
    }
}

static int forget(void **state)
{
    json_decref(latest.body);
    latest = (struct answer){0};
    return tear_down(state);
}

/* ---- reading ---- */

static void status_is_the_core_as_it_is_now(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/status"), 200);
    assert_int_equal(json_array_size(json_object_get(latest.body, "groups")), 1);
    const json_t *controller = json_object_get(latest.body, "controller");
    assert_string_equal(json_string_value(json_object_get(controller, "id")), "ops2");
}

static void a_path_or_method_that_is_not_there_is_refused_with_what_is(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/stauts"), 404);
    assert_int_equal(get("/"), 404);
    assert_int_equal(get("/v1/incidents/a/b"), 404);
    assert_int_equal(post("/v1/status", "{}"), 405);
    says("GET");
    assert_int_equal(ask("DELETE", "/v1/config", NULL), 405);
    says("GET, POST, PUT");
    assert_int_equal(get("/v1/requests"), 405);
}

static void incidents_are_listed_newest_first_and_found_by_id_or_as_latest(void **state)
{
    (void)state;
    struct incident_record incident = shop_incident();
    assert_int_equal(get("/v1/incidents/latest"), 404);
    for (int i = 0; i < API_INCIDENTS_MAX + 3; i++) {
        snprintf(incident.id, sizeof incident.id, "incident-%03d", i);
        incident.opened_wall_ms = SHOP_WALL_MS + i;
        api_take_incident(api, &incident);
    }
    incident.people_ms = 2222; /* the newest one once more */
    api_take_incident(api, &incident);
    assert_int_equal(get("/v1/incidents"), 200);
    const json_t *list = json_object_get(latest.body, "incidents");
    assert_int_equal(json_array_size(list), API_INCIDENTS_MAX);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "id")),
                        "incident-130");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "people_ms")),
                     2222);
    assert_int_equal(get("/v1/incidents/latest"), 200);
    assert_string_equal(text("id"), "incident-130");
    assert_int_equal(get("/v1/incidents/incident-003"), 200);
    assert_int_equal(get("/v1/incidents/incident-002"), 404); /* the oldest went */
}

static void events_come_after_the_number_asked_for(void **state)
{
    (void)state;
    struct event_note note = {.text = "one"};
    events_add(events, &note);
    snprintf(note.text, sizeof note.text, "two");
    events_add(events, &note);
    assert_int_equal(get("/v1/events?since=1"), 200);
    const json_t *list = json_object_get(latest.body, "events");
    const json_t *teller = json_object_get(latest.body, "controller");
    assert_string_equal(json_string_value(json_object_get(teller, "id")), "ops2");
    assert_true(json_is_boolean(json_object_get(teller, "leading")));
    assert_true(json_is_object(json_object_get(latest.body, "leader")));
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "text")), "two");
    static const char *const bad[] = {
        "/v1/events?since=-1", "/v1/events?since=x",
        "/v1/events?since=",   "/v1/events?since=99999999999999999999",
        "/v1/events?limit=0",  "/v1/events?limit=4000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(get(bad[i]), 400);
        says("must be an integer from");
    }
}

/* ---- requests ---- */

#define FAILOVER_BODY                                                                              \
    "{\"kind\":\"failover\",\"database\":\"payments\",\"reason\":\"disk dying\","                  \
    "\"id\":\"req-00000001\"}"

static void a_request_is_handed_on_with_the_name_that_the_kernel_gives(void **state)
{
    (void)state;
    const struct passwd *self = getpwuid(getuid());
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    assert_string_equal(text("id"), "req-00000001");
    assert_int_equal(asked.requests, 1);
    assert_int_equal(asked.request.kind, REQUEST_FAILOVER);
    assert_int_equal(asked.request.state, REQUEST_NEW);
    assert_string_equal(asked.request.database, "payments");
    assert_string_equal(asked.request.group, "shop");
    assert_string_equal(asked.request.reason, "disk dying");
    assert_int_equal(asked.request.asked_wall_ms, SHOP_WALL_MS);
    if (self != NULL) {
        assert_string_equal(asked.request.who, self->pw_name);
    }
}

static void a_request_without_an_id_gets_one(void **state)
{
    (void)state;
    assert_int_equal(
        post("/v1/requests", "{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"works\"}"), 202);
    assert_true(ask_id_valid(text("id")));
    assert_string_equal(asked.request.id, text("id"));
}

static void a_request_is_unknown_yet_until_the_store_shows_it(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/requests/req-00000001"), 404);
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    assert_int_equal(get("/v1/requests/req-00000001"), 200);
    assert_string_equal(text("state"), "unknown-yet");
    assert_string_equal(text("write"), "pending");
    api_write_done(api, "req-00000001", API_WRITE_STORED, 77, "");
    assert_int_equal(get("/v1/requests/req-00000001"), 200);
    assert_string_equal(text("state"), "unknown-yet");
    assert_string_equal(text("write"), "stored");
    asked.request.state = REQUEST_REFUSED;
    snprintf(asked.request.outcome, sizeof asked.request.outcome, "no candidate");
    api_take_request(api, &asked.request);
    assert_int_equal(get("/v1/requests/req-00000001"), 200);
    assert_string_equal(text("state"), "refused");
    assert_string_equal(text("outcome"), "no candidate");
}

static void the_same_request_sent_again_is_written_once(void **state)
{
    (void)state;
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    assert_int_equal(asked.requests, 1);
    assert_int_equal(post("/v1/requests", "{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"x\","
                                          "\"id\":\"req-00000001\"}"),
                     409);
    api_take_request(api, &asked.request);
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    assert_int_equal(asked.requests, 1);
    assert_int_equal(post("/v1/requests", "{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"x\","
                                          "\"id\":\"req-00000001\"}"),
                     409);
    assert_int_equal(asked.requests, 1);
}

static void a_write_whose_end_is_unknown_may_be_tried_again(void **state)
{
    (void)state;
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    api_write_done(api, "req-00000001", API_WRITE_UNKNOWN, 0, "no answer from etcd");
    assert_int_equal(get("/v1/writes/req-00000001"), 200);
    assert_string_equal(text("state"), "unknown");
    assert_string_equal(text("text"), "no answer from etcd");
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 202);
    assert_int_equal(asked.requests, 2);
    assert_int_equal(get("/v1/writes/req-00000001"), 200);
    assert_string_equal(text("state"), "pending");
}

static void what_is_not_well_asked_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *says;
    } bad[] = {
        {"", "not JSON"},
        {"{", "not JSON"},
        {"[]", "must be an object"},
        {"\"pause\"", "not JSON"},
        {"{\"kind\":\"pause\",\"kind\":\"pause\"}", "duplicate"},
        {"{\"kind\":\"pauze\",\"group\":\"shop\",\"reason\":\"x\"}", "the nearest is \"pause\""},
        {"{\"kind\":\"pause\",\"group\":\"shop\"}", "request.reason"},
        {"{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"  \"}", "blank"},
        {"{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"a\\nb\"}", "one line"},
        {"{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":7}", "request.reason"},
        {"{\"kind\":\"pause\",\"group\":\"shp\",\"reason\":\"x\"}", "no group is named \"shp\""},
        {"{\"kind\":\"pause\",\"reason\":\"x\"}", "pause needs it"},
        {"{\"kind\":\"pause\",\"group\":\"shop\",\"node\":\"pay-east\",\"reason\":\"x\"}",
         "pause takes none"},
        {"{\"kind\":\"failover\",\"reason\":\"x\"}", "needs \"group\" or \"database\""},
        {"{\"kind\":\"failover\",\"database\":\"orders\",\"reason\":\"x\"}", "no database"},
        {"{\"kind\":\"failover\",\"database\":\"payments\",\"node\":\"nowhere\",\"reason\":\"x\"}",
         "no node"},
        {"{\"kind\":\"failover\",\"database\":\"payments\",\"acept_loss_bytes\":1,\"reason\":\"x\"}",
         "unknown member \"acept_loss_bytes\""},
        {"{\"kind\":\"failover\",\"database\":\"payments\",\"accept_loss_bytes\":-1,"
         "\"reason\":\"x\"}",
         "accept_loss_bytes"},
        {"{\"kind\":\"confirm-fenced\",\"reason\":\"x\"}", "confirm-fenced needs it"},
        {"{\"kind\":\"resume\",\"group\":\"shop\",\"reason\":\"x\",\"id\":\"A b\"}", "request.id"},
        {"{\"kind\":\"resume\",\"group\":\"shop\",\"reason\":\"x\",\"who\":\"root\"}",
         "unknown member \"who\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(post("/v1/requests", bad[i].body), 400);
        says(bad[i].says);
    }
    assert_int_equal(asked.requests, 0);
}

static void without_a_definition_a_request_is_refused_with_what_to_do(void **state)
{
    (void)state;
    core_init(core, "ops2", SHOP_NOW_MS);
    assert_int_equal(post("/v1/requests", FAILOVER_BODY), 400);
    says("failoverctl apply");
}

static void what_would_happen_is_asked_by_group_or_database(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/explain?group=shop"), 200);
    assert_string_equal(text("group"), "shop");
    assert_int_equal(get("/v1/explain?database=payments"), 200);
    assert_string_equal(text("group"), "shop");
    assert_int_equal(get("/v1/explain"), 400);
    assert_int_equal(get("/v1/explain?group=shp"), 400);
    says("no group is named \"shp\"");
    assert_int_equal(get("/v1/plan?group=shop&to=pay-west&accept_loss_bytes=4096"), 200);
    assert_int_equal(strlen(text("hash")), PLAN_HASH_SIZE - 1);
    char hash[PLAN_HASH_SIZE];
    snprintf(hash, sizeof hash, "%s", text("hash"));
    assert_int_equal(get("/v1/plan?group=shop"), 200);
    assert_string_not_equal(text("hash"), hash); /* another loss, another plan */
    assert_int_equal(get("/v1/plan?group=shop&accept_loss_bytes=all"), 400);
    core->defined = false;
    assert_int_equal(get("/v1/explain?group=shop"), 400);
    says("failoverctl apply");
}

static void what_steers_a_workflow_is_checked_for_its_members(void **state)
{
    (void)state;
    assert_int_equal(post("/v1/requests", "{\"kind\":\"workflow-retry\",\"reason\":\"r\"}"), 400);
    says("needs \"group\" or \"database\"");
    assert_int_equal(post("/v1/requests", "{\"kind\":\"workflow-skip\",\"group\":\"shop\","
                                          "\"node\":\"pay-east\",\"reason\":\"r\"}"),
                     400);
    assert_int_equal(
        post("/v1/requests", "{\"kind\":\"alarm-ack\",\"group\":\"shop\",\"reason\":\"r\"}"), 400);
    says("alarm");
    assert_int_equal(post("/v1/requests", "{\"kind\":\"pause\",\"group\":\"shop\","
                                          "\"plan\":\"0123456789abcdef\",\"reason\":\"r\"}"),
                     400);
    assert_int_equal(post("/v1/requests", "{\"kind\":\"failover\",\"group\":\"shop\","
                                          "\"plan\":\"latest\",\"reason\":\"r\"}"),
                     400);
    assert_int_equal(asked.requests, 0);
    assert_int_equal(post("/v1/requests", "{\"kind\":\"workflow-abandon\","
                                          "\"database\":\"payments\",\"reason\":\"r\"}"),
                     202);
    assert_int_equal(asked.request.kind, REQUEST_WORKFLOW_ABANDON);
    assert_string_equal(asked.request.group, "shop");
    assert_int_equal(post("/v1/requests", "{\"kind\":\"alarm-ack\",\"group\":\"shop\","
                                          "\"alarm\":\"fence.payments\",\"reason\":\"r\"}"),
                     202);
    assert_string_equal(asked.request.alarm, "fence.payments");
}

static void what_was_asked_is_repeated_so_that_it_can_be_shown(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/%1b%5b2J%c2%9b%ff"), 404);
    assert_string_equal(text("error"), "no such path: /v1/?[2J??");
}

static void without_a_history_there_is_none_to_show(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/history"), 404);
    assert_int_equal(get("/v1/history/1"), 404);
}

static void bodies_are_bounded(void **state)
{
    (void)state;
    size_t len = API_BODY_MAX + 1;
    char *body = malloc(len);
    memset(body, ' ', len);
    assert_int_equal(ask_bytes("POST", "/v1/requests", body, API_BODY_SMALL_MAX + 1), 413);
    assert_int_equal(ask_bytes("POST", "/v1/requests", body, API_BODY_SMALL_MAX), 400);
    assert_int_equal(ask_bytes("POST", "/v1/config", body, API_BODY_MAX), 400);
    assert_int_equal(ask_bytes("POST", "/v1/config", body, len), 413);
    assert_int_equal(asked.requests + asked.configs, 0);
    free(body);
    assert_int_equal(get("/v1/status"), 200);
}

static void when_too_many_writes_wait_the_next_is_refused_and_none_is_forgotten(void **state)
{
    (void)state;
    char body[256];
    for (int i = 0; i < API_WRITES_MAX; i++) {
        snprintf(body, sizeof body,
                 "{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"x\",\"id\":\"req-%08d\"}", i);
        assert_int_equal(post("/v1/requests", body), 202);
    }
    assert_int_equal(asked.requests, API_WRITES_MAX);
    snprintf(body, sizeof body,
             "{\"kind\":\"pause\",\"group\":\"shop\",\"reason\":\"x\",\"id\":\"req-99999999\"}");
    assert_int_equal(post("/v1/requests", body), 503);
    says("nothing was changed");
    assert_int_equal(get("/v1/writes/req-00000000"), 200);
    api_write_done(api, "req-00000005", API_WRITE_STORED, 9, "");
    assert_int_equal(post("/v1/requests", body), 202);
    assert_int_equal(get("/v1/writes/req-00000005"), 404);
}

/* ---- the definition ---- */

static int post_config(const char *yaml, const char *reason, int64_t expected)
{
    json_t *body = json_object();
    json_object_set_new(body, "yaml", json_string(yaml));
    json_object_set_new(body, "reason", json_string(reason));
    json_object_set_new(body, "id", json_string("cfg-00000001"));
    if (expected >= 0) {
        json_object_set_new(body, "expected_revision", json_integer(expected));
    }
    char *dumped = json_dumps(body, 0);
    json_decref(body);
    int status = post("/v1/config", dumped);
    free(dumped);
    return status;
}

static void before_the_first_apply_the_revision_is_zero(void **state)
{
    (void)state;
    assert_int_equal(get("/v1/config"), 200);
    assert_int_equal(json_integer_value(json_object_get(latest.body, "revision")), 0);
    assert_true(json_is_null(json_object_get(latest.body, "yaml")));
    assert_int_equal(post_config(shop_yaml, "first", 0), 202);
    assert_int_equal(asked.configs, 1);
    assert_int_equal(asked.revision, 0);
    assert_string_equal(asked.yaml, shop_yaml);
    assert_string_equal(asked.reason, "first");
    api_write_done(api, "cfg-00000001", API_WRITE_STORED, 50, "");
    assert_int_equal(get("/v1/writes/cfg-00000001"), 200);
    assert_string_equal(text("state"), "stored");
    assert_int_equal(json_integer_value(json_object_get(latest.body, "revision")), 50);
}

static void the_stored_definition_is_shown_as_it_was_taken(void **state)
{
    (void)state;
    struct api_config config = {.yaml = shop_yaml,
                                .yaml_len = strlen(shop_yaml),
                                .who = "ab",
                                .reason = "first",
                                .wall_ms = SHOP_WALL_MS,
                                .revision = 50};
    api_take_config(api, &config);
    assert_int_equal(get("/v1/config"), 200);
    assert_string_equal(text("yaml"), shop_yaml);
    assert_string_equal(text("who"), "ab");
    assert_int_equal(post_config(shop_yaml, "again", 49), 409);
    says("somebody else has changed it");
    assert_int_equal(asked.configs, 0);
    assert_int_equal(post_config(shop_yaml, "again", 50), 202);
    assert_int_equal(asked.revision, 50);
    api_take_config(api, NULL);
    assert_int_equal(get("/v1/config"), 200);
    assert_int_equal(json_integer_value(json_object_get(latest.body, "revision")), 0);
}

static void a_definition_with_errors_is_refused_with_every_complaint(void **state)
{
    (void)state;
    assert_int_equal(post_config("cluster: shop\nsites: { east: {} }\nnodez: {}\n", "x", 0), 400);
    says("nothing was changed");
    const json_t *complaints = json_object_get(latest.body, "complaints");
    assert_true(json_array_size(complaints) >= 2);
    const json_t *first = json_array_get(complaints, 0);
    assert_true(json_is_integer(json_object_get(first, "line")));
    assert_true(json_is_string(json_object_get(first, "path")));
    assert_int_equal(asked.configs, 0);
}

static void a_definition_needs_a_reason_and_a_text(void **state)
{
    (void)state;
    assert_int_equal(post("/v1/config", "{\"yaml\":\"cluster: x\"}"), 400);
    says("config.reason");
    assert_int_equal(post("/v1/config", "{\"reason\":\"x\"}"), 400);
    says("config.yaml");
    assert_int_equal(post("/v1/config", "{\"reason\":\"x\",\"yaml\":7}"), 400);
    says("config.yaml");
    assert_int_equal(ask("PUT", "/v1/config", "{\"reason\":\"x\",\"yaml\":7}"), 400);
    assert_int_equal(asked.configs, 0);
}

/* ---- over HTTPS ---- */

static void a_certificate_that_may_operate_is_recorded_by_its_name(void **state)
{
    (void)state;
    serve_https();
    as = "ann";
    assert_int_equal(get("/v1/status"), 200);
    assert_int_equal(get("/v1/me"), 200);
    assert_string_equal(text("who"), "cert:ann");
    assert_string_equal(text("role"), "operate");
    assert_int_equal(post("/v1/requests", "{\"kind\":\"pause\",\"group\":\"shop\","
                                          "\"reason\":\"works\"}"),
                     202);
    assert_string_equal(asked.request.who, "cert:ann");
    as = NULL; /* the socket is served beside it */
    assert_int_equal(get("/v1/me"), 200);
    assert_string_equal(text("role"), "operate");
}

static void a_certificate_that_may_read_cannot_order(void **state)
{
    (void)state;
    serve_https();
    as = "grafana";
    assert_int_equal(get("/v1/status"), 200);
    assert_int_equal(get("/v1/events"), 200);
    assert_int_equal(post("/v1/requests", "{\"kind\":\"pause\",\"group\":\"shop\","
                                          "\"reason\":\"works\"}"),
                     403);
    says("POST /v1/requests is not for the role \"read\"");
    assert_int_equal(post("/v1/config", "{}"), 403);
    assert_int_equal(ask("PUT", "/v1/config", "{}"), 403);
    assert_int_equal(asked.requests + asked.configs, 0);
    assert_non_null(strstr(last_refusal, "cert:grafana: PUT /v1/config"));
}

static void a_guard_is_told_nothing_of_operators(void **state)
{
    (void)state;
    static const char *const paths[] = {"/v1/status",
                                        "/v1/incidents",
                                        "/v1/incidents/latest",
                                        "/v1/events",
                                        "/v1/requests/req-0000000000000000",
                                        "/v1/explain?group=shop",
                                        "/v1/plan?group=shop",
                                        "/v1/config",
                                        "/v1/history",
                                        "/v1/history/0",
                                        "/v1/writes/req-0000000000000000"};
    serve_https();
    as = "pay-east";
    assert_int_equal(get("/v1/me"), 200);
    assert_string_equal(text("role"), "guard");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        if (get(paths[i]) != 403) {
            fail_msg("a guard may ask %s", paths[i]);
        }
    }
    assert_int_equal(post("/v1/requests", "{}"), 403);
    assert_int_equal(post("/v1/config", "{}"), 403);
}

static const char *promise_body(const char *boot)
{
    static char body[512];
    snprintf(body, sizeof body,
             "{\"database\":\"payments\",\"node\":\"pay-east\",\"boot\":\"%s\",\"nonce\":\"n-1\","
             "\"epoch\":{\"incarnation\":1,\"counter\":7}}",
             boot);
    return body;
}

static void a_guard_is_promised_what_the_core_promises(void **state)
{
    (void)state;
    serve_https();
    as = "pay-east";
    promises = true;
    assert_int_equal(post("/v1/promise", promise_body("b-1")), 200);
    assert_true(json_is_true(json_object_get(latest.body, "promised")));
    assert_string_equal(text("nonce"), "n-1");
    assert_string_equal(text("boot"), "b-1");
    assert_string_equal(promised_to.node, "pay-east");
    assert_int_equal(promised_to.epoch.counter, 7);
    promises = false;
    assert_int_equal(post("/v1/promise", promise_body("b-1")), 200);
    assert_true(json_is_false(json_object_get(latest.body, "promised")));
    assert_string_equal(text("reason"), "it is revoked");
    assert_int_equal(post("/v1/promise", promise_body("")), 400);
    assert_int_equal(post("/v1/promise", "{\"database\":\"payments\"}"), 400);
    assert_int_equal(get("/v1/promise"), 405);
    as = "ann";
    assert_int_equal(post("/v1/promise", promise_body("b-1")), 403);
}

static void a_name_that_is_not_allowed_reaches_nothing(void **state)
{
    (void)state;
    serve_https();
    as = "eve";
    assert_int_equal(get("/v1/me"), 403);
    says("\"eve\" is not in this controller's api.allow");
    assert_string_equal(last_refusal,
                        "cert:eve: the certificate's name \"eve\" is not in this controller's "
                        "api.allow");
    assert_int_equal(get("/v1/status"), 403);
    assert_int_equal(get("/v1/nothing"), 403);
    assert_int_equal(post("/v1/requests", "{}"), 403);
    assert_int_equal(asked.requests, 0);
}

static void https_can_be_ended_and_begun_again(void **state)
{
    (void)state;
    serve_https();
    as = "ann";
    assert_int_equal(get("/v1/me"), 200);
    assert_int_equal(api_https(api, NULL, NULL, NULL), 0);
    assert_int_equal(get("/v1/me"), -1);
    serve_https();
    assert_int_equal(get("/v1/me"), 200);
    struct err err = {0};
    struct tls_keys *keys = tls_keys_of("server", "ca.pem");
    assert_int_equal(api_https(api, "192.0.2.1:8443", keys, &err), -1); /* not of this machine */
    assert_int_equal(err.code, ERR_SYSTEM);
    tls_keys_free(keys);
    as = NULL;
    assert_int_equal(get("/v1/me"), 200);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(status_is_the_core_as_it_is_now),
        TEST(a_path_or_method_that_is_not_there_is_refused_with_what_is),
        TEST(incidents_are_listed_newest_first_and_found_by_id_or_as_latest),
        TEST(events_come_after_the_number_asked_for),
        TEST(a_request_is_handed_on_with_the_name_that_the_kernel_gives),
        TEST(a_request_without_an_id_gets_one),
        TEST(a_request_is_unknown_yet_until_the_store_shows_it),
        TEST(the_same_request_sent_again_is_written_once),
        TEST(a_write_whose_end_is_unknown_may_be_tried_again),
        TEST(what_is_not_well_asked_is_refused_with_the_reason),
        TEST(without_a_definition_a_request_is_refused_with_what_to_do),
        TEST(what_would_happen_is_asked_by_group_or_database),
        TEST(what_steers_a_workflow_is_checked_for_its_members),
        TEST(what_was_asked_is_repeated_so_that_it_can_be_shown),
        TEST(without_a_history_there_is_none_to_show),
        TEST(bodies_are_bounded),
        TEST(when_too_many_writes_wait_the_next_is_refused_and_none_is_forgotten),
        TEST(before_the_first_apply_the_revision_is_zero),
        TEST(the_stored_definition_is_shown_as_it_was_taken),
        TEST(a_definition_with_errors_is_refused_with_every_complaint),
        TEST(a_definition_needs_a_reason_and_a_text),
        TEST(a_certificate_that_may_operate_is_recorded_by_its_name),
        TEST(a_certificate_that_may_read_cannot_order),
        TEST(a_guard_is_told_nothing_of_operators),
        TEST(a_guard_is_promised_what_the_core_promises),
        TEST(a_name_that_is_not_allowed_reaches_nothing),
        TEST(https_can_be_ended_and_begun_again),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
