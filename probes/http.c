#include "probes/http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"

struct probe_http {
    struct http *http;
    struct http_op *op; /* NULL: none runs */
    char *url;
    int status;
    char *body;
    uint32_t deadline_ms;
    const struct http_tls *tls;
    probe_service_fn done;
    void *arg;
    uint64_t asked_ms;
};

static bool about_certificates(const char *text)
{
    return strcasestr(text, "certificate") != NULL || strcasestr(text, "SSL") != NULL;
}

static enum cause failure_cause(const struct http_answer *answer)
{
    switch (answer->err.code) {
    case ERR_TIMEOUT: return CAUSE_TIMED_OUT;
    case ERR_LIMIT: return CAUSE_BAD_ANSWER;
    case ERR_SYSTEM: return CAUSE_PROBER;
    default: break;
    }
    if (answer->refused) {
        return CAUSE_REFUSED;
    }
    return about_certificates(answer->err.text) ? CAUSE_CERTIFICATE : CAUSE_CUT;
}

/* An answer came: is it the wanted one? */
static void judge(const struct probe_http *probe, const struct http_answer *answer,
                  struct service_fact *fact)
{
    fact->status = answer->status;
    if (answer->status != probe->status) {
        fact->cause = CAUSE_BAD_ANSWER;
        snprintf(fact->detail, sizeof fact->detail, "status %d, wanted %d", answer->status,
                 probe->status);
    } else if (probe->body[0] != '\0' &&
               memmem(answer->body, answer->body_len, probe->body, strlen(probe->body)) == NULL) {
        fact->cause = CAUSE_BAD_ANSWER;
        snprintf(fact->detail, sizeof fact->detail, "the body does not hold \"%.100s\"",
                 probe->body);
    } else {
        fact->cause = CAUSE_OK;
    }
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct probe_http *probe = arg;
    probe->op = NULL;
    struct service_fact fact = {.asked_ms = probe->asked_ms, .answered_ms = clock_now_ms()};
    fact.latency_ms = (uint32_t)(fact.answered_ms - fact.asked_ms);
    if (answer->err.code == ERR_NONE) {
        judge(probe, answer, &fact);
    } else {
        fact.cause = failure_cause(answer);
        snprintf(fact.detail, sizeof fact.detail, "%.*s", TEXT_SIZE - 1, answer->err.text);
    }
    probe->done(probe->arg, &fact);
}

static char *copy(const char *text)
{
    char *copied = strdup(text != NULL ? text : "");
    assert(copied != NULL);
    return copied;
}

struct probe_http *probe_http_new(struct http *http, const struct probe_http_params *params)
{
    assert(params->done != NULL && params->deadline_ms > 0);
    struct probe_http *probe = calloc(1, sizeof *probe);
    assert(probe != NULL);
    *probe = (struct probe_http){
        .http = http,
        .url = copy(params->url),
        .status = params->status,
        .body = copy(params->body),
        .deadline_ms = params->deadline_ms,
        .tls = params->tls,
        .done = params->done,
        .arg = params->arg,
    };
    return probe;
}

void probe_http_ask(struct probe_http *probe)
{
    assert(probe->op == NULL);
    probe->asked_ms = clock_now_ms();
    probe->op = http_start(probe->http, &(struct http_request){
                                            .url = probe->url,
                                            .body_limit = PROBE_HTTP_BODY_LIMIT,
                                            .deadline_ms = probe->deadline_ms,
                                            .tls = probe->tls,
                                            .done = on_answer,
                                            .arg = probe,
                                        });
}

bool probe_http_busy(const struct probe_http *probe)
{
    return probe->op != NULL;
}

void probe_http_free(struct probe_http *probe)
{
    if (probe == NULL) {
        return;
    }
    if (probe->op != NULL) {
        http_cancel(probe->op);
    }
    free(probe->url);
    free(probe->body);
    free(probe);
}
