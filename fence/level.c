/*
 * level.c - the life of one level's operation, and the check whether a level can give proof at all.
 */
#include <assert.h>
#include <jansson.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "fence/op.h"

#ifndef FENCE_AGENTS_DIR
#define FENCE_AGENTS_DIR "/usr/sbin"
#endif

/* Of one line of a program's output: long enough that a secret cut at the end is cut away later. */
#define LINE_MAX_BYTES 4096

const char *const fence_end_names[] = {"proven", "refused", "unknown", NULL};

static void wipe_text(char *text)
{
    if (text != NULL) {
        explicit_bzero(text, strlen(text));
        free(text);
    }
}

static char *copy_text(const char *text)
{
    char *copy = strdup(text);

    assert(copy != NULL); /* out of memory: the process ends, the other controller leads */
    return copy;
}

static void free_op(struct fence_op *op)
{
    for (int i = 0; i < OPTIONS_MAX; i++) {
        wipe_text(op->secrets[i]);
    }
    for (int i = 0; i < FENCE_ARGS_MAX; i++) {
        free(op->args[i]);
    }
    free(op->context);
    timer_free(op->timer);
    free(op);
}

uint64_t fence_op_left_ms(const struct fence_op *op)
{
    uint64_t now_ms = clock_now_ms();

    return now_ms < op->ends_ms ? op->ends_ms - now_ms : 0;
}

bool fence_op_allowed(struct fence_op *op)
{
    if (op->may_act == NULL || op->may_act(op->may_act_arg)) {
        op->result.acted = true;
        return true;
    }
    /* What was asked before may still have its effect. */
    fence_op_finish(op, op->result.acted ? FENCE_UNKNOWN : FENCE_REFUSED,
                    "not started: this controller may not act any more");
    return false;
}

void fence_op_finish(struct fence_op *op, enum fence_end end, const char *format, ...)
{
    struct fence_result result = op->result;
    fence_done_fn done = op->done;
    fence_status_fn status_done = op->status_done;
    enum agent_power power = op->agent.power;
    void *arg = op->arg;
    va_list args;

    assert(op->child == NULL);
    va_start(args, format);
    vsnprintf(result.detail, sizeof result.detail, format, args);
    va_end(args);
    result.end = end;
    result.evidence = op->level.method;
    result.took_ms = clock_now_ms() - op->started_ms;
    free_op(op);
    if (status_done != NULL) {
        struct fence_status status = {.answered = power == POWER_ON || power == POWER_OFF,
                                      .on = power == POWER_ON,
                                      .took_ms = result.took_ms};
        snprintf(status.detail, sizeof status.detail, "%s", result.detail);
        status_done(arg, &status);
        return;
    }
    done(arg, &result);
}

/* Replaces each occurrence of the secret in place; the line only gets shorter or stays. */
static void redact(char *line, const char *secret)
{
    size_t len = strlen(secret);
    char *at = line;

    if (len == 0) {
        return;
    }
    while ((at = strstr(at, secret)) != NULL) {
        size_t stars = len < 3 ? len : 3;

        memset(at, '*', stars);
        memmove(at + stars, at + len, strlen(at + len) + 1);
        at += stars;
    }
}

/* The bounds of the wanted line, without the blanks around it; an empty one if there is none. */
static void find_line(const char *text, size_t len, bool last, size_t *ret_start, size_t *ret_len)
{
    *ret_start = 0;
    *ret_len = 0;
    for (size_t start = 0; start < len;) {
        const char *newline = memchr(text + start, '\n', len - start);
        size_t end = newline == NULL ? len : (size_t)(newline - text);
        size_t from = start;
        size_t to = end;

        while (from < to && (unsigned char)text[from] <= ' ') {
            from++;
        }
        while (to > from && (unsigned char)text[to - 1] <= ' ') {
            to--;
        }
        if (to > from) {
            *ret_start = from;
            *ret_len = to - from;
            if (!last) {
                return;
            }
        }
        start = end + 1;
    }
}

void fence_op_line(const struct fence_op *op, const struct child_result *result, bool last,
                   char ret_line[FENCE_DETAIL_SIZE])
{
    char line[LINE_MAX_BYTES + 1];
    size_t start;
    size_t len;

    find_line(result->output, result->output_len, last, &start, &len);
    if (len > LINE_MAX_BYTES) {
        len = LINE_MAX_BYTES;
    }
    for (size_t i = 0; i < len; i++) {
        line[i] = result->output[start + i];
        if (line[i] == '\0') {
            line[i] = ' '; /* so that what stands behind is searched as well */
        }
    }
    line[len] = '\0';
    for (int i = 0; i < OPTIONS_MAX; i++) {
        if (op->secrets[i] != NULL) {
            redact(line, op->secrets[i]);
        }
    }
    for (char *c = line; *c != '\0'; c++) {
        if (*c < ' ' || *c > '~') {
            *c = '?';
        }
    }
    /* Half of the room, so that the sentence around it fits too. */
    snprintf(ret_line, FENCE_DETAIL_SIZE, "%.*s", FENCE_DETAIL_SIZE / 2, line);
}

static json_t *text_or_null(const char *text)
{
    json_t *value = text == NULL ? NULL : json_string(text);

    return value == NULL ? json_null() : value; /* not UTF-8: better left out than not fenced */
}

static char *context_text(const struct fence_context *context, const char *level)
{
    json_t *root = json_object();
    json_t *databases = json_array();
    json_t *permit = json_object();
    char *text;

    for (int i = 0; i < context->databases_len; i++) {
        json_array_append_new(databases, text_or_null(context->databases[i]));
    }
    json_object_set_new(permit, "epoch", json_integer((json_int_t)context->epoch));
    json_object_set_new(permit, "revision", json_integer((json_int_t)context->revision));
    json_object_set_new(root, "schema", json_integer(1));
    json_object_set_new(root, "action", json_string("fence"));
    json_object_set_new(root, "cluster", text_or_null(context->cluster));
    json_object_set_new(root, "group", text_or_null(context->group));
    json_object_set_new(root, "databases", databases);
    json_object_set_new(root, "node", text_or_null(context->node));
    json_object_set_new(root, "address", text_or_null(context->address));
    json_object_set_new(root, "level", text_or_null(level));
    json_object_set_new(root, "reason", text_or_null(context->reason));
    json_object_set_new(root, "incident", text_or_null(context->incident));
    json_object_set_new(root, "permit", permit);
    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    assert(text != NULL);
    return text;
}

static void begin(void *arg)
{
    struct fence_op *op = arg;
    struct err err;

    /* `check` refused it long ago; but the definition came over the network since then. */
    if (fence_level_check(&op->level, &err) < 0) {
        fence_op_finish(op, FENCE_REFUSED, "not started: %.*s", FENCE_DETAIL_SIZE - 20, err.text);
        return;
    }
    if (op->level.method == FENCE_AGENT) {
        agent_begin(op);
    } else {
        command_begin(op);
    }
}

static void copy_request(struct fence_op *op, const struct fence_request *request)
{
    const char *dir = request->agents_dir != NULL ? request->agents_dir : FENCE_AGENTS_DIR;

    op->level = *request->level;
    assert(op->level.options_len >= 0 && op->level.options_len <= OPTIONS_MAX);
    snprintf(op->program, sizeof op->program, "%s/%s", dir, op->level.program);
    for (int i = 0; i < op->level.options_len; i++) {
        if (request->secrets[i] != NULL) {
            op->secrets[i] = copy_text(request->secrets[i]);
        }
    }
    for (int i = 0; i < FENCE_ARGS_MAX && request->args[i] != NULL; i++) {
        op->args[i] = copy_text(request->args[i]);
    }
    op->context = context_text(&request->context, op->level.name);
    op->may_act = request->may_act;
    op->may_act_arg = request->may_act_arg;
}

static struct fence_op *op_new(struct loop *loop, const struct fence_request *request, void *arg)
{
    struct fence_op *op = calloc(1, sizeof *op);

    assert(op != NULL);
    copy_request(op, request);
    op->loop = loop;
    op->arg = arg;
    op->started_ms = clock_now_ms();
    op->ends_ms = op->started_ms +
                  (request->deadline_ms != 0 ? request->deadline_ms : request->level->deadline_ms);
    op->timer = timer_new(loop, begin, op);
    timer_start(op->timer, 0);
    return op;
}

struct fence_op *fence_start(struct loop *loop, const struct fence_request *request,
                             fence_done_fn done, void *arg)
{
    assert(done != NULL);
    assert(request->level->method == FENCE_AGENT || request->level->method == FENCE_COMMAND);
    struct fence_op *op = op_new(loop, request, arg);
    op->done = done;
    return op;
}

struct fence_op *fence_status_start(struct loop *loop, const struct fence_request *request,
                                    fence_status_fn done, void *arg)
{
    assert(done != NULL);
    assert(request->level->method == FENCE_AGENT);
    struct fence_op *op = op_new(loop, request, arg);
    op->status_done = done;
    return op;
}

void fence_cancel(struct fence_op *op)
{
    if (op->child != NULL) {
        child_cancel(op->child);
        op->child = NULL;
    }
    free_op(op);
}

/* ---- the check ---- */

struct refused_option {
    const char *name; /* with _ for -; a leading or a trailing * stands for anything */
    const char *why;
};

/* clang-format off */
static const struct refused_option refused_options[] = {
    {"action",         "the driver asks for off and status itself"},
    {"option",         "the driver asks for off and status itself"},
    {"method",         "only off proves anything: a node that cycles comes back"},
    {"missing_as_off", "a plug that is not found is not a node that is off"},
    {"force_on",       "the driver never switches a node on"},
    {"delay",          "an agent that sleeps may act after the deadline; order the levels instead"},
    {"debug*",         "it writes passwords to a file"},
    {"help",           "it answers without acting"},
    {"version",        "it answers without acting"},
    {"*_path",         "the definition may not choose programs; local.yaml does that"},
    {"*_script",       "the definition may not choose programs; local.yaml does that"},
    {"use_sudo",       "the definition may not choose programs; local.yaml does that"},
    {"sudo",           "the definition may not choose programs; local.yaml does that"},
    {"ssh_options",    "ssh's options can name programs, and the definition may not choose those"},
};
static const char *const secret_words[] = {"passw", "secret", "token", "hexadecimal_kg"};
/* clang-format on */

static bool matches(const char *pattern, const char *name)
{
    size_t pattern_len = strlen(pattern);
    size_t name_len = strlen(name);

    if (pattern[0] == '*') {
        return name_len >= pattern_len - 1 &&
               strcmp(name + name_len - (pattern_len - 1), pattern + 1) == 0;
    }
    if (pattern[pattern_len - 1] == '*') {
        return strncmp(name, pattern, pattern_len - 1) == 0;
    }
    return strcmp(name, pattern) == 0;
}

static int check_option(const struct fence_option *option, struct err *ret_err)
{
    char name[NAME_SIZE];

    snprintf(name, sizeof name, "%s", option->name);
    if (name[0] == '\0' || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(name)) {
        return err_set(ret_err, ERR_INVALID,
                       "option '%s': a fence agent's option is made of a-z, 0-9, _ and -", name);
    }
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '-') {
            *c = '_'; /* agents take both */
        }
    }
    for (size_t i = 0; i < sizeof refused_options / sizeof refused_options[0]; i++) {
        if (matches(refused_options[i].name, name)) {
            return err_set(ret_err, ERR_INVALID, "option '%s' is not allowed: %s", option->name,
                           refused_options[i].why);
        }
    }
    for (size_t i = 0; !option->secret && i < sizeof secret_words / sizeof secret_words[0]; i++) {
        if (strstr(name, secret_words[i]) != NULL) {
            return err_set(ret_err, ERR_INVALID,
                           "option '%s' looks like a secret: put it under `secrets` with the name "
                           "of a secret in local.yaml",
                           option->name);
        }
    }
    for (const char *c = option->value; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == '\x7f') {
            return err_set(ret_err, ERR_INVALID,
                           "option '%s': its value has a control character, byte %d; options are "
                           "single lines of text",
                           option->name, (int)(c - option->value));
        }
    }
    return 0;
}

static int check_agent(const struct fence_level_def *level, struct err *ret_err)
{
    const char *program = level->program;

    if (strncmp(program, "fence_", 6) != 0 ||
        strspn(program, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(program)) {
        return err_set(ret_err, ERR_INVALID,
                       "agent '%s': a fence agent's name is fence_ and then a-z, 0-9 and _, "
                       "without a path; see `ls %s/fence_*`",
                       program, FENCE_AGENTS_DIR);
    }
    for (int i = 0; i < level->options_len; i++) {
        if (check_option(&level->options[i], ret_err) < 0) {
            return -1;
        }
        for (int j = 0; j < i; j++) {
            if (strcmp(level->options[i].name, level->options[j].name) == 0) {
                return err_set(ret_err, ERR_INVALID, "option '%s' is given twice",
                               level->options[i].name);
            }
        }
    }
    return 0;
}

int fence_level_check(const struct fence_level_def *level, struct err *ret_err)
{
    if (level->method == FENCE_AGENT) {
        if (check_agent(level, ret_err) < 0) {
            return -1;
        }
    } else if (level->options_len > 0) {
        return err_set(ret_err, ERR_INVALID, "method %s takes no options; only a fence agent does",
                       fence_method_names[level->method]);
    }
    if (level->method == FENCE_COMMAND && level->program[0] == '\0') {
        return err_set(ret_err, ERR_INVALID,
                       "method command needs the name of a command in local.yaml");
    }
    if (fence_method_is_run(level->method) && level->deadline_ms == 0) {
        return err_set(ret_err, ERR_INVALID, "method %s needs a deadline",
                       fence_method_names[level->method]);
    }
    return 0;
}
