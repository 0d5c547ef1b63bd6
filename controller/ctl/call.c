#include "controller/ctl/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/http.h"
#include "controller/base/json.h"
#include "controller/base/loop.h"
#include "controller/base/utf8.h"

#define ANSWER_MAX (16u << 20)

struct caller {
    struct loop *loop;
    struct http *http;
    int first;        /* the address that answered last */
    unsigned greeted; /* bits: those that have answered over HTTPS */
    bool done;
    struct call_answer *answer;
};

struct caller *caller_new(void)
{
    struct caller *caller = calloc(1, sizeof *caller);
    if (caller == NULL) {
        abort();
    }
    caller->loop = loop_new();
    caller->http = http_new(caller->loop);
    return caller;
}

void caller_free(struct caller *caller)
{
    if (caller == NULL) {
        return;
    }
    http_free(caller->http);
    loop_free(caller->loop);
    free(caller);
}

/* ---- one request ---- */

static void clean(json_t *value)
{
    const char *key;
    json_t *item;
    size_t index;
    if (json_is_array(value)) {
        json_array_foreach(value, index, item)
        {
            clean(item);
        }
    } else if (json_is_object(value)) {
        json_object_foreach(value, key, item)
        {
            if (strcmp(key, "yaml") != 0) {
                clean(item);
            }
        }
    } else if (json_is_string(value)) {
        char *copy = strdup(json_string_value(value));
        if (copy != NULL) {
            utf8_show(copy);
            (void)json_string_set_nocheck(value, copy);
            free(copy);
        }
    }
}

/* What the operator can do about it, rather than what the HTTP client tried. */
static const char *hint_at_socket(const char *path, const struct http_answer *http)
{
    if (!http->sent && access(path, F_OK) != 0) {
        return "there is no such socket; is failoverd running here?";
    }
    if (!http->sent && access(path, R_OK | W_OK) != 0) {
        return "not allowed; only root and the socket's group may ask";
    }
    return http->refused ? "nobody listens there; failoverd has ended without removing it"
                         : http->err.text;
}

static void say_why(struct call_answer *answer, const struct http_answer *http)
{
    if (!ctl_is_url(answer->address)) {
        (void)snprintf(answer->text, sizeof answer->text, "%s",
                       hint_at_socket(answer->address, http));
    } else if (http->refused) {
        (void)snprintf(answer->text, sizeof answer->text,
                       "nobody listens there; is api.listen set in that controller's local.yaml?");
    } else {
        /* A reset, a TLS alert or an end: how much of it the client hears is chance. */
        bool cut = http->err.code == ERR_UNREACHABLE;
        (void)snprintf(answer->text, sizeof answer->text, "%s%.300s",
                       cut ? "not reached, or not taken (its log says why): " : "", http->err.text);
    }
}

static void on_done(void *arg, const struct http_answer *http)
{
    struct caller *caller = arg;
    struct call_answer *answer = caller->answer;
    caller->done = true;
    answer->reached = http->err.code == ERR_NONE;
    answer->maybe_sent = !answer->reached && http->sent;
    if (!answer->reached) {
        say_why(answer, http);
        return;
    }
    answer->status = http->status;
    answer->raw = strndup(http->body, http->body_len);
    answer->body = json_parse(http->body, http->body_len, ANSWER_MAX, NULL);
    clean(answer->body);
    if (http->status >= 400) {
        (void)snprintf(answer->text, sizeof answer->text, "%s",
                       member_text(answer->body, "error", "the controller did not say why"));
    }
}

static void ask(struct ctl *ctl, int address, const char *method, const char *path,
                const json_t *body, struct call_answer *ret_answer)
{
    struct caller *caller = ctl->caller;
    const char *at = ctl->addresses[address];
    char url[1024];
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    struct http_tls tls = {.ca_file = ctl->ca, .cert_file = ctl->cert, .key_file = ctl->key};
    memset(ret_answer, 0, sizeof *ret_answer);
    ret_answer->address = at;
    if (ctl_is_url(at)) {
        ctl_certificate(ctl, ret_answer->text, sizeof ret_answer->text);
        if (ret_answer->text[0] != '\0') {
            free(text);
            return;
        }
    }
    (void)snprintf(url, sizeof url, "%s%s", ctl_is_url(at) ? at : "http://failoverd", path);
    struct http_request request = {.method = method,
                                   .url = url,
                                   .unix_socket = ctl_is_url(at) ? NULL : at,
                                   .tls = ctl_is_url(at) ? &tls : NULL,
                                   .headers = {"Content-Type: application/json"},
                                   .body = text,
                                   .body_len = text == NULL ? 0 : strlen(text),
                                   .body_limit = ANSWER_MAX,
                                   .deadline_ms = CALL_DEADLINE_MS,
                                   .done = on_done,
                                   .arg = caller};
    caller->answer = ret_answer;
    caller->done = false;
    struct http_op *op = http_start(caller->http, &request);
    if (!loop_run_until(caller->loop, &caller->done, CALL_DEADLINE_MS + 1000)) {
        http_cancel(op);
        ret_answer->maybe_sent = true;
        (void)snprintf(ret_answer->text, sizeof ret_answer->text, "no answer");
    }
    free(text);
}

void call_one(struct ctl *ctl, int address, const char *method, const char *path,
              const json_t *body, struct call_answer *ret_answer)
{
    bool greeted = (ctl->caller->greeted & 1u << address) != 0;
    if (ctl_is_url(ctl->addresses[address]) && strcmp(method, "GET") != 0 && !greeted) {
        ask(ctl, address, "GET", "/v1/me", NULL, ret_answer);
        if (!ret_answer->reached) {
            ret_answer->maybe_sent = false;
            return;
        }
        call_done(ret_answer);
    }
    ask(ctl, address, method, path, body, ret_answer);
    if (ret_answer->reached) {
        ctl->caller->greeted |= 1u << address;
    }
}

void call_done(struct call_answer *answer)
{
    json_decref(answer->body);
    free(answer->raw);
    answer->body = NULL;
    answer->raw = NULL;
}

/* ---- whichever answers ---- */

/* "ADDRESS: why; ADDRESS: why" */
void call_list(char *text, size_t size, const struct call_answer *answer)
{
    size_t len = strlen(text);
    (void)snprintf(text + len, size - len, "%s%s: %.120s", len > 0 ? "; " : "", answer->address,
                   answer->text);
}

void call(struct ctl *ctl, const char *method, const char *path, const json_t *body,
          struct call_answer *ret_answer)
{
    struct caller *caller = ctl->caller;
    char text[sizeof ret_answer->text] = "";
    bool maybe_sent = false;
    for (int i = 0; i < ctl->addresses_len; i++) {
        int address = (caller->first + i) % ctl->addresses_len;
        call_one(ctl, address, method, path, body, ret_answer);
        if (ret_answer->reached) {
            caller->first = address;
            return;
        }
        maybe_sent = maybe_sent || ret_answer->maybe_sent;
        call_list(text, sizeof text, ret_answer);
        if (i < ctl->addresses_len - 1) {
            call_done(ret_answer);
        }
    }
    ret_answer->maybe_sent = maybe_sent;
    (void)snprintf(ret_answer->text, sizeof ret_answer->text, "%s", text);
}

bool call_good(const struct call_answer *answer, enum ctl_exit *ret_exit)
{
    if (!answer->reached) {
        ctl_complain("no controller can be reached: %s", answer->text);
        *ret_exit = CTL_UNREACHABLE;
        return false;
    }
    if (answer->status != 200 || answer->body == NULL) {
        ctl_complain("the controller at %s answered %d: %s", answer->address, answer->status,
                     answer->status >= 400 ? answer->text : "not the answer that was expected");
        *ret_exit = answer->status >= 500 ? CTL_RUNNING : CTL_REFUSED;
        return false;
    }
    return true;
}

bool call_get(struct ctl *ctl, const char *path, struct call_answer *ret_answer,
              enum ctl_exit *ret_exit)
{
    call(ctl, "GET", path, NULL, ret_answer);
    return call_good(ret_answer, ret_exit);
}

static int rank(const struct call_answer *answer)
{
    if (!answer->reached || answer->status != 200 || answer->body == NULL) {
        return 0;
    }
    if (member_true(json_object_get(answer->body, "controller"), "leading")) {
        return 3;
    }
    return member_true(json_object_get(answer->body, "etcd"), "reachable") ? 2 : 1;
}

bool call_status(struct ctl *ctl, struct call_answer *ret_answer, enum ctl_exit *ret_exit)
{
    struct call_answer best = {0};
    char text[sizeof best.text] = "";
    for (int i = 0; i < ctl->addresses_len && rank(&best) < 3; i++) {
        struct call_answer answer;
        call_one(ctl, (ctl->caller->first + i) % ctl->addresses_len, "GET", "/v1/status", NULL,
                 &answer);
        if (!answer.reached) {
            call_list(text, sizeof text, &answer);
        }
        if (i == 0 || rank(&answer) > rank(&best)) {
            call_done(&best);
            best = answer;
        } else {
            call_done(&answer);
        }
    }
    if (!best.reached) {
        (void)snprintf(best.text, sizeof best.text, "%s", text);
    }
    *ret_answer = best;
    return call_good(ret_answer, ret_exit);
}

/* The index of the leader's address; 0 when none of them is. */
static int leader_address(struct ctl *ctl)
{
    for (int i = 0; i < ctl->addresses_len && ctl->addresses_len > 1; i++) {
        struct call_answer answer;
        int address = (ctl->caller->first + i) % ctl->addresses_len;
        call_one(ctl, address, "GET", "/v1/status", NULL, &answer);
        bool leads = rank(&answer) == 3;
        call_done(&answer);
        if (leads) {
            return address;
        }
    }
    return ctl->caller->first;
}

bool call_leader(struct ctl *ctl, const char *path, struct call_answer *ret_answer,
                 enum ctl_exit *ret_exit)
{
    ctl->caller->first = leader_address(ctl);
    call(ctl, "GET", path, NULL, ret_answer);
    if (ret_answer->reached && ret_answer->status == 400) {
        ctl_complain("%s", ret_answer->text);
        *ret_exit = CTL_USAGE;
        return false;
    }
    return call_good(ret_answer, ret_exit);
}

bool call_name(const struct ctl *ctl, const char *what, const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len >= NAME_SIZE ||
        strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != len) {
        (void)ctl_usage(ctl, "\"%.80s\" is no name of a %s; failoverctl status lists them", name,
                        what);
        return false;
    }
    return true;
}

/* ---- members ---- */

const char *member_text(const json_t *object, const char *key, const char *absent)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? absent : text;
}

long long member_number(const json_t *object, const char *key, long long absent)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_real(value)) {
        return (long long)json_real_value(value);
    }
    return json_is_integer(value) ? json_integer_value(value) : absent;
}

bool member_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

bool member_null(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value == NULL || json_is_null(value);
}
