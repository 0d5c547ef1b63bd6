/*
 * A fence agent's or a command's runs, as the input plays them: how each ended, how long it took,
 * and what it said. Only an `off` that succeeded and then a `status` that says off, by itself, is
 * proof; only an exit status 0 is a command's. Nothing else is ever asked, no line is slipped into
 * what the agent reads, and no secret comes out.
 *
 * The input: how it is asked, the level's program and options (a line each), an empty line, the
 * runs.
 */
#include <strings.h>

#include "controller/base/child.h"
#include "controller/base/loop.h"
#include "fence/level.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/virtual.h"

#define SECRET      "Hunter2, and more"
#define DEADLINE_MS 20000
#define RUNS_MAX    64

enum asked { ASKED_OFF, ASKED_STATUS, ASKED_COMMAND };

static struct {
    struct fuzz fuzz; /* what is left of the script */
    struct fence_level_def level;
    child_done_fn done;
    void *arg;
    uint64_t deadline_ms;
    bool running;
    int runs;
    enum asked asked;      /* by the run that goes on, or by the last */
    bool off_done;         /* the last `off` succeeded */
    bool says_off;         /* the last run was a status that said so, by itself */
    bool command_done;     /* the last run ended with 0 */
    bool refused_to_start; /* the last run did not start */
    bool ended;
} world;

/* ---- what the agent would read ---- */

static const char *after_line(const char *text, const char *expected)
{
    size_t len = strlen(expected);
    assert(strncmp(text, expected, len) == 0 && text[len] == '\n');
    return text + len + 1;
}

static void read_input(const struct child_request *request)
{
    if (world.level.method == FENCE_COMMAND) {
        world.asked = ASKED_COMMAND;
        return;
    }
    char *input = strndup(request->input, request->input_len);
    assert(input != NULL && strlen(input) == request->input_len);
    world.asked = strncmp(input, "action=off\n", 11) == 0 ? ASKED_OFF : ASKED_STATUS;
    const char *at = after_line(input, world.asked == ASKED_OFF ? "action=off" : "action=status");
    for (int i = 0; i < world.level.options_len; i++) {
        const struct fence_option *option = &world.level.options[i];
        const char *value = option->secret ? SECRET : option->value;
        char line[NAME_SIZE + TEXT_SIZE + 8];
        size_t len = strcspn(at, "\n");
        bool quoted = len > strlen(option->name) + 1 && at[len - 1] == '"' &&
                      len == strlen(option->name) + 3 + strlen(value);
        snprintf(line, sizeof line, quoted ? "%s=\"%s\"" : "%s=%s", option->name, value);
        at = after_line(at, line);
    }
    assert(*at == '\0');
    free(input);
}

/* ---- one run ---- */

static bool has_line(const char *output, size_t len, const char *wanted)
{
    while (len > 0) {
        const char *newline = memchr(output, '\n', len);
        size_t line = newline != NULL ? (size_t)(newline - output) : len;
        size_t shown = line;
        while (shown > 0 && (unsigned char)output[shown - 1] <= ' ') {
            shown--;
        }
        if (shown == strlen(wanted) && strncasecmp(output, wanted, shown) == 0) {
            return true;
        }
        output += newline != NULL ? line + 1 : line;
        len -= newline != NULL ? line + 1 : line;
    }
    return false;
}

static void remember(const struct child_result *result)
{
    bool exited = result->err.code == ERR_NONE && result->exit_status >= 0;
    bool off = has_line(result->output, result->output_len, "status: off");
    bool on = has_line(result->output, result->output_len, "status: on");
    world.refused_to_start = result->err.code == ERR_SYSTEM;
    if (world.asked == ASKED_OFF) {
        world.off_done = exited && result->exit_status == 0;
    }
    world.says_off =
        world.asked == ASKED_STATUS && exited && result->exit_status == 2 && off && !on;
    world.command_done = world.asked == ASKED_COMMAND && exited && result->exit_status == 0;
}

/* How the run ends: a byte, the time it takes, its words up to "\nEND\n". Behind the script's end
 * nothing answers. */
static void end_run(void)
{
    size_t len;
    bool silent = world.fuzz.len == 0;
    unsigned how = fuzz_byte(&world.fuzz);
    uint64_t took_ms = (uint64_t)fuzz_byte(&world.fuzz) * 40;
    char *said = fuzz_piece(&world.fuzz, "\nEND\n", &len);
    char *output = calloc(1, len + 1);
    assert(output != NULL);
    memcpy(output, said, len);
    free(said);
    struct child_result result = {.exit_status = (int)(how % 4), .output = output};
    if (silent || took_ms > world.deadline_ms || how % 16 == 4) {
        took_ms = world.deadline_ms;
        result.exit_status = -1;
        result.signal = 9;
        err_set(&result.err, ERR_TIMEOUT, "no answer within the deadline");
    } else if (how % 16 == 5) {
        result.exit_status = -1;
        err_set(&result.err, ERR_SYSTEM, "no such file");
        len = 0;
        output[0] = '\0';
    } else if (how % 16 == 6) {
        result.exit_status = -1;
        result.signal = 11;
    }
    result.output_len = len;
    result.took_ms = took_ms;
    virtual_pass(took_ms);
    world.running = false;
    remember(&result);
    world.done(world.arg, &result);
    free(output);
}

/* The linker puts these in the place of child.c's. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
struct child *__wrap_child_start(struct loop *loop, const struct child_request *request,
                                 child_done_fn done, void *arg);
void __wrap_child_cancel(struct child *child);

struct child *__wrap_child_start(struct loop *loop, const struct child_request *request,
                                 child_done_fn done, void *arg)
{
    (void)loop;
    assert(!world.running && !world.ended && request->deadline_ms > 0);
    assert(request->args[0][0] == '/' && request->deadline_ms <= DEADLINE_MS);
    assert(++world.runs < RUNS_MAX);
    read_input(request);
    world.running = true;
    world.deadline_ms = request->deadline_ms;
    world.done = done;
    world.arg = arg;
    return (struct child *)&world;
}

void __wrap_child_cancel(struct child *child)
{
    (void)child;
    world.running = false;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* ---- the end ---- */

static void expect_detail(const char *detail)
{
    bool secret = false; /* only a fence agent is given any, once its options have passed */
    for (int i = 0; i < world.level.options_len; i++) {
        secret = secret || (world.runs > 0 && world.level.options[i].secret);
    }
    fuzz_expect_words(detail);
    assert(!secret || strstr(detail, SECRET) == NULL);
}

static void on_done(void *arg, const struct fence_result *result)
{
    (void)arg;
    assert(!world.ended && !world.running);
    world.ended = true;
    expect_detail(result->detail);
    assert(result->runs == (uint32_t)world.runs && result->evidence == world.level.method);
    if (result->end == FENCE_PROVEN) {
        assert(result->acted);
        assert(world.level.method == FENCE_AGENT ? world.off_done && world.says_off
                                                 : world.command_done);
    }
    /* What may have acted is never called refused, unless the device or the command said no. */
    if (world.level.method == FENCE_COMMAND && result->end == FENCE_REFUSED && world.runs > 0) {
        assert(!world.command_done);
    }
    assert(world.runs > 0 || (result->end == FENCE_REFUSED && !result->acted));
}

static void on_status(void *arg, const struct fence_status *status)
{
    (void)arg;
    assert(!world.ended && !world.running && !world.off_done);
    world.ended = true;
    expect_detail(status->detail);
    assert(!status->answered || world.runs == 1);
    assert(!status->on || status->answered);
    assert((status->answered && !status->on) == world.says_off);
}

/* ---- the level ---- */

static void copy_line(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)(size - 1), from);
}

/* "name=value", or "!name=value" for a secret. */
static void add_option(const char *line)
{
    struct fence_level_def *level = &world.level;
    struct fence_option *option = &level->options[level->options_len++];
    option->secret = line[0] == '!';
    line += option->secret ? 1 : 0;
    const char *value = strchr(line, '=');
    copy_line(option->value, sizeof option->value, value != NULL ? value + 1 : "");
    copy_line(option->name, sizeof option->name, line);
    option->name[strcspn(option->name, "=")] = '\0';
}

static void read_level(bool command)
{
    struct fence_level_def *level = &world.level;
    *level = (struct fence_level_def){.method = command ? FENCE_COMMAND : FENCE_AGENT,
                                      .deadline_ms = DEADLINE_MS};
    copy_line(level->name, sizeof level->name, "power");
    char *text = fuzz_text(&world.fuzz, "\n");
    copy_line(level->program, sizeof level->program, text);
    /* The definition lets no other names through. */
    for (char *c = level->program; *c != '\0'; c++) {
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789_-.", *c) == NULL) {
            *c = 'x';
        }
    }
    while (text[0] != '\0') {
        free(text);
        text = fuzz_text(&world.fuzz, "\n");
        if (text[0] != '\0' && level->options_len < OPTIONS_MAX) {
            add_option(text);
        }
    }
    free(text);
}

/* What passes the check can be given to an agent; what does not is said. */
static void expect_check(void)
{
    struct err err = {0};
    if (fence_level_check(&world.level, &err) < 0) {
        fuzz_expect_err(&err);
        return;
    }
    assert(world.level.method == FENCE_COMMAND || strncmp(world.level.program, "fence_", 6) == 0);
    for (int i = 0; i < world.level.options_len; i++) {
        const struct fence_option *option = &world.level.options[i];
        assert(strcmp(option->name, "action") != 0 && strcmp(option->name, "method") != 0);
        assert(strpbrk(option->name, "=\n\" ") == NULL && strpbrk(option->value, "\r\n") == NULL);
    }
}

static bool may_act(void *arg)
{
    const unsigned *refuse_at = arg;
    return (unsigned)world.runs + 1 != *refuse_at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    virtual_reset();
    memset(&world, 0, sizeof world);
    world.fuzz = (struct fuzz){data, size};
    unsigned how = fuzz_byte(&world.fuzz);
    unsigned refuse_at = how >> 4;
    read_level(how % 4 == 1);
    expect_check();
    struct fence_request request = {.level = &world.level,
                                    .args = {"/usr/local/bin/fence-it", "--now"},
                                    .context = {.cluster = "shop",
                                                .group = "shop",
                                                .databases = {"payments"},
                                                .databases_len = 1,
                                                .node = "pay-east",
                                                .address = "192.0.2.11",
                                                .reason = "primary lost",
                                                .incident = "inc-1",
                                                .epoch = 7,
                                                .revision = 41},
                                    .may_act = may_act,
                                    .may_act_arg = &refuse_at};
    for (int i = 0; i < world.level.options_len; i++) {
        request.secrets[i] = world.level.options[i].secret ? SECRET : NULL;
    }
    if (how % 4 == 2) {
        fence_status_start(NULL, &request, on_status, NULL);
    } else {
        fence_start(NULL, &request, on_done, NULL);
    }
    while (!world.ended) {
        if (world.running) {
            end_run();
        } else {
            assert(virtual_ring());
        }
    }
    assert(!virtual_ring());
    return 0;
}
