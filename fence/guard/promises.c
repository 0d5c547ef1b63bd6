#include "fence/guard/promises.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/json.h"
#include "controller/base/server.h"
#include "controller/base/utf8.h"
#include "fence/guard/files.h"

#define CONTROLLERS_MAX 8
#define API_SIZE        160
#define NONCE_SIZE      33
#define WARM_MS         (SERVER_REQUEST_MS_DEFAULT * 2 / 3) /* an idle one is shut after it */
#define BODY_MAX        4096
#define LOCAL_PATH_MAX  300

struct question {
    struct promises *promises;
    struct question *next;
    struct http_op *op;
    promises_fn answered;
    void *arg;
    char database[NAME_SIZE];
    struct epoch epoch;
    char nonce[NONCE_SIZE];
    uint32_t round;
    int index;
    uint64_t sent_ms;
};

struct controller {
    char id[NAME_SIZE];
    char api[API_SIZE];
    struct http_op *warming;
};

struct promises {
    struct loop *loop;
    struct http *http;
    char node[NAME_SIZE], boot[BOOT_ID_SIZE];
    char path[LOCAL_PATH_MAX];
    char ca[LOCAL_PATH_MAX], cert[LOCAL_PATH_MAX], key[LOCAL_PATH_MAX];
    struct http_tls tls;
    struct controller controllers[CONTROLLERS_MAX];
    int controllers_len;
    struct question *questions;
    struct timer *warm;
};

/* ---- addresses ---- */

static struct controller *find(struct promises *promises, const char *id)
{
    for (int i = 0; i < promises->controllers_len; i++) {
        if (strcmp(promises->controllers[i].id, id) == 0) {
            return &promises->controllers[i];
        }
    }
    return NULL;
}

static struct controller *add(struct promises *promises, const char *id)
{
    if (promises->controllers_len == CONTROLLERS_MAX) {
        return NULL;
    }
    struct controller *controller = &promises->controllers[promises->controllers_len++];
    snprintf(controller->id, sizeof controller->id, "%s", id);
    return controller;
}

/* Lost, they are learned again while etcd works: so without a sync, and without an error. */
static void keep_addresses(const struct promises *promises)
{
    json_t *object = json_object();
    for (int i = 0; i < promises->controllers_len; i++) {
        json_object_set_new(object, promises->controllers[i].id,
                            json_string(promises->controllers[i].api));
    }
    char *text = json_dumps(object, JSON_INDENT(1));
    json_decref(object);
    if (text != NULL) {
        files_write(promises->path, text, 0600, false, NULL);
    }
    free(text);
}

static void read_addresses(struct promises *promises)
{
    char *text = malloc(FILES_TEXT_MAX);
    bool missing;
    ssize_t len =
        text != NULL ? files_read(promises->path, text, FILES_TEXT_MAX, &missing, NULL) : -1;
    json_t *object = len > 0 ? json_parse(text, (size_t)len, FILES_TEXT_MAX, NULL) : NULL;
    const char *id;
    json_t *api;
    json_object_foreach(object, id, api)
    {
        struct controller *controller =
            json_is_string(api) && strlen(id) < NAME_SIZE ? add(promises, id) : NULL;
        if (controller != NULL) {
            snprintf(controller->api, sizeof controller->api, "%s", json_string_value(api));
        }
    }
    json_decref(object);
    free(text);
}

void promises_learn(struct promises *promises, const char *id, const char *api)
{
    if (api[0] == '\0' || strlen(api) >= API_SIZE) {
        return;
    }
    struct controller *controller = find(promises, id);
    if (controller == NULL) {
        controller = add(promises, id);
    }
    if (controller != NULL && strcmp(controller->api, api) != 0) {
        snprintf(controller->api, sizeof controller->api, "%s", api);
        keep_addresses(promises);
        timer_start(promises->warm, 0);
    }
}

static void url_of(const struct controller *controller, char ret_url[API_SIZE + 32])
{
    bool whole = strncmp(controller->api, "https://", 8) == 0;
    snprintf(ret_url, API_SIZE + 32, "%s%s/v1/promise", whole ? "" : "https://", controller->api);
}

/* ---- warmth ---- */

static void on_warm(void *arg, const struct http_answer *answer)
{
    (void)answer; /* any answer was heard over the connection that is meant */
    struct controller *controller = arg;
    controller->warming = NULL;
}

static void warm(void *arg)
{
    struct promises *promises = arg;
    for (int i = 0; i < promises->controllers_len; i++) {
        struct controller *controller = &promises->controllers[i];
        char url[API_SIZE + 32];
        url_of(controller, url);
        struct http_request request = {.method = "GET",
                                       .url = url,
                                       .body_limit = BODY_MAX,
                                       .deadline_ms = WARM_MS / 3,
                                       .tls = &promises->tls,
                                       .done = on_warm,
                                       .arg = controller};
        if (controller->warming == NULL) {
            controller->warming = http_start(promises->http, &request);
        }
    }
    timer_start(promises->warm, WARM_MS);
}

/* ---- questions ---- */

static void finish(struct question *question, bool promised, const char *text)
{
    struct promises *promises = question->promises;
    for (struct question **at = &promises->questions; *at != NULL; at = &(*at)->next) {
        if (*at == question) {
            *at = question->next;
            break;
        }
    }
    struct promise_answer answer = {.promised = promised,
                                    .round = question->round,
                                    .promiser = question->index,
                                    .sent_ms = question->sent_ms};
    snprintf(answer.text, sizeof answer.text, "%s", text);
    question->answered(question->arg, &answer);
    free(question);
}

static bool says(const json_t *root, const char *key, const char *text)
{
    const json_t *value = json_object_get(root, key);
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool same_number(const json_t *object, const char *key, uint64_t number)
{
    struct json_in in;
    json_in_init(&in, "promise");
    uint64_t found = json_u64(&in, object, key);
    return json_in_ok(&in) && found == number;
}

static bool is_promise(const struct question *question, const json_t *root)
{
    const struct promises *promises = question->promises;
    const json_t *epoch = json_object_get(root, "epoch");
    return json_is_true(json_object_get(root, "promised")) &&
           says(root, "database", question->database) && says(root, "node", promises->node) &&
           says(root, "boot", promises->boot) && says(root, "nonce", question->nonce) &&
           json_is_object(epoch) &&
           same_number(epoch, "incarnation", question->epoch.incarnation) &&
           same_number(epoch, "counter", question->epoch.counter);
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct question *question = arg;
    question->op = NULL;
    char text[GUARD_TEXT_SIZE] = "";
    if (answer->err.code != ERR_NONE || answer->status != 200) {
        snprintf(text, sizeof text, "status %d %.200s", answer->status,
                 answer->err.code != ERR_NONE ? answer->err.text : "");
        finish(question, false, text);
        return;
    }
    json_t *root = json_parse(answer->body, answer->body_len, BODY_MAX, NULL);
    bool promised = root != NULL && is_promise(question, root);
    const char *reason = json_string_value(json_object_get(root, "reason"));
    bool said = reason != NULL && reason[0] != '\0';
    snprintf(text, sizeof text, "%.200s",
             promised ? ""
             : said   ? reason
                      : "the answer is not to this question");
    utf8_show(text); /* another program's words, and maybe cut inside a character */
    json_decref(root);
    finish(question, promised, text);
}

static void make_nonce(char ret_nonce[NONCE_SIZE])
{
    uint64_t random[2];
    if (uv_random(NULL, NULL, random, sizeof random, 0, NULL) != 0) {
        abort(); /* a guard that is gone feeds no watchdog */
    }
    snprintf(ret_nonce, NONCE_SIZE, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

void promises_ask(struct promises *promises, const char *database, struct epoch epoch,
                  uint32_t round, int index, const char *id, uint64_t within_ms,
                  promises_fn answered, void *arg)
{
    const struct controller *controller = find(promises, id);
    struct question *question = calloc(1, sizeof *question);
    assert(question != NULL);
    *question = (struct question){.promises = promises,
                                  .next = promises->questions,
                                  .answered = answered,
                                  .arg = arg,
                                  .epoch = epoch,
                                  .round = round,
                                  .index = index};
    promises->questions = question;
    snprintf(question->database, sizeof question->database, "%s", database);
    make_nonce(question->nonce);
    char url[API_SIZE + 32] = "https://0.0.0.0:1/"; /* of one that nobody knows: it is refused */
    if (controller != NULL) {
        url_of(controller, url);
    }
    json_t *body =
        json_pack("{s:s, s:s, s:{s:o, s:o}, s:s, s:s}", "database", database, "node",
                  promises->node, "epoch", "incarnation", json_count(epoch.incarnation), "counter",
                  json_count(epoch.counter), "boot", promises->boot, "nonce", question->nonce);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    assert(text != NULL);
    struct http_request request = {.method = "POST",
                                   .url = url,
                                   .headers = {"Content-Type: application/json"},
                                   .body = text,
                                   .body_len = strlen(text),
                                   .body_limit = BODY_MAX,
                                   .deadline_ms = within_ms,
                                   .tls = &promises->tls,
                                   .done = on_answer,
                                   .arg = question};
    question->sent_ms = clock_now_ms();
    question->op = http_start(promises->http, &request);
    free(text);
}

/* ---- its life ---- */

static const char *path_or_none(char to[LOCAL_PATH_MAX], const char *path)
{
    if (path == NULL || path[0] == '\0') {
        return NULL;
    }
    snprintf(to, LOCAL_PATH_MAX, "%s", path);
    return to;
}

struct promises *promises_new(struct loop *loop, struct http *http,
                              const struct promises_params *params)
{
    struct promises *promises = calloc(1, sizeof *promises);
    assert(promises != NULL);
    promises->loop = loop;
    promises->http = http;
    snprintf(promises->node, sizeof promises->node, "%s", params->node);
    snprintf(promises->boot, sizeof promises->boot, "%s", params->boot);
    snprintf(promises->path, sizeof promises->path, "%s", params->path);
    promises->tls.ca_file = path_or_none(promises->ca, params->tls.ca_file);
    promises->tls.cert_file = path_or_none(promises->cert, params->tls.cert_file);
    promises->tls.key_file = path_or_none(promises->key, params->tls.key_file);
    read_addresses(promises);
    promises->warm = timer_new(loop, warm, promises);
    timer_start(promises->warm, 0);
    return promises;
}

void promises_free(struct promises *promises)
{
    if (promises == NULL) {
        return;
    }
    while (promises->questions != NULL) {
        struct question *question = promises->questions;
        promises->questions = question->next;
        if (question->op != NULL) {
            http_cancel(question->op);
        }
        free(question);
    }
    for (int i = 0; i < promises->controllers_len; i++) {
        if (promises->controllers[i].warming != NULL) {
            http_cancel(promises->controllers[i].warming);
        }
    }
    timer_free(promises->warm);
    free(promises);
}
