/*
 * call.c - a short queue of alarms, and the few commands that run for them.
 */
#include "controller/notify/call.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/child.h"
#include "controller/base/clock.h"

#define OUTPUT_LIMIT 4096

struct waiting {
    char id[CALL_ID_SIZE];
    char *document;
};

struct running {
    struct call *call;
    struct child *child; /* NULL: this place is free */
    char id[CALL_ID_SIZE];
};

struct call {
    struct loop *loop;
    char *args[CALL_ARGS_MAX + 1];
    call_done_fn done;
    void *arg;
    struct waiting waiting[CALLS_WAITING_MAX]; /* the first is the oldest */
    int waiting_len;
    struct running running[CALLS_RUNNING_MAX];
    struct timer *kick; /* so that nothing is started from inside call_alarm() */
    uint64_t dropped;
};

static void set_text(json_t *root, const char *key, const char *text)
{
    json_t *value = text == NULL ? NULL : json_string(text); /* NULL too when it is not UTF-8 */

    if (value != NULL) {
        json_object_set_new(root, key, value);
    }
}

static char *make_document(const struct call_alarm *alarm)
{
    json_t *root = json_object();
    char since[CLOCK_WALL_TEXT_MAX];
    char *text;

    clock_wall_text(alarm->since_wall_ms, since);
    json_object_set_new(root, "schema", json_integer(1));
    set_text(root, "alarm", alarm->id);
    set_text(root, "cluster", alarm->cluster);
    set_text(root, "controller", alarm->controller);
    set_text(root, "subject", alarm->subject);
    set_text(root, "text", alarm->text);
    set_text(root, "hint", alarm->hint);
    set_text(root, "incident", alarm->incident);
    set_text(root, "since", since);
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    assert(text != NULL);
    return text;
}

static void judge(const struct child_result *result, struct err *ret_err)
{
    int line = (int)strcspn(result->output, "\n");

    line = line < 200 ? line : 200;
    ret_err->code = ERR_NONE;
    ret_err->text[0] = '\0';
    if (result->err.code != ERR_NONE) {
        *ret_err = result->err;
    } else if (result->exit_status < 0) {
        err_set(ret_err, ERR_REFUSED, "ended by signal %d", result->signal);
    } else if (result->exit_status != 0) {
        err_set(ret_err, ERR_REFUSED, "exited with %d%s%.*s", result->exit_status,
                line > 0 ? ": " : "", line, result->output);
    }
}

static void ended(void *arg, const struct child_result *result)
{
    struct running *running = arg;
    struct call *call = running->call;
    struct call_result report = {.id = running->id, .took_ms = result->took_ms};
    char id[CALL_ID_SIZE];

    judge(result, &report.err);
    snprintf(id, sizeof id, "%s", running->id);
    report.id = id;
    running->child = NULL;
    timer_start(call->kick, 0);
    if (call->done != NULL) {
        call->done(call->arg, &report); /* may free the call */
    }
}

static void start(struct running *running, const struct waiting *waiting)
{
    struct call *call = running->call;
    struct child_request request = {
        .input = waiting->document,
        .input_len = strlen(waiting->document),
        .output_limit = OUTPUT_LIMIT,
        .deadline_ms = CALL_DEADLINE_MS,
    };

    static_assert(CALL_ARGS_MAX < CHILD_ARGS_MAX, "the command's arguments fit");
    for (int i = 0; call->args[i] != NULL; i++) {
        request.args[i] = call->args[i];
    }
    snprintf(running->id, sizeof running->id, "%s", waiting->id);
    running->child = child_start(call->loop, &request, ended, running);
}

static void start_waiting(void *arg)
{
    struct call *call = arg;

    for (int i = 0; i < CALLS_RUNNING_MAX && call->waiting_len > 0; i++) {
        if (call->running[i].child != NULL) {
            continue;
        }
        start(&call->running[i], &call->waiting[0]);
        free(call->waiting[0].document);
        call->waiting_len--;
        memmove(call->waiting, call->waiting + 1,
                (size_t)call->waiting_len * sizeof call->waiting[0]);
    }
}

struct call *call_new(struct loop *loop, const char *const args[], call_done_fn done, void *arg)
{
    struct call *call = calloc(1, sizeof *call);

    assert(call != NULL);
    assert(args[0] != NULL);
    call->loop = loop;
    call->done = done;
    call->arg = arg;
    for (int i = 0; i < CALL_ARGS_MAX && args[i] != NULL; i++) {
        call->args[i] = strdup(args[i]);
        assert(call->args[i] != NULL);
    }
    for (int i = 0; i < CALLS_RUNNING_MAX; i++) {
        call->running[i].call = call;
    }
    call->kick = timer_new(loop, start_waiting, call);
    return call;
}

void call_free(struct call *call)
{
    if (call == NULL) {
        return;
    }
    for (int i = 0; i < CALLS_RUNNING_MAX; i++) {
        if (call->running[i].child != NULL) {
            child_cancel(call->running[i].child);
        }
    }
    for (int i = 0; i < call->waiting_len; i++) {
        free(call->waiting[i].document);
    }
    for (int i = 0; i < CALL_ARGS_MAX; i++) {
        free(call->args[i]);
    }
    timer_free(call->kick);
    free(call);
}

bool call_alarm(struct call *call, const struct call_alarm *alarm)
{
    struct waiting *waiting;

    if (call->waiting_len == CALLS_WAITING_MAX) {
        call->dropped++;
        return false;
    }
    waiting = &call->waiting[call->waiting_len++];
    snprintf(waiting->id, sizeof waiting->id, "%s", alarm->id);
    waiting->document = make_document(alarm);
    timer_start(call->kick, 0);
    return true;
}

uint64_t call_dropped(const struct call *call)
{
    return call->dropped;
}
