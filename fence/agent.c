/*
 * agent.c - fence by a ClusterLabs fence agent: ask it for `off`, then for `status` until that says
 * off.
 *
 * The options go to its standard input, so that no secret stands in an argument or in the
 * environment (failures.md J12). The agents' own words (fencing.py): `off` exits with 0 when it
 * believes that it worked; `status` exits with 0 and "Status: ON", or with 2 and "Status: OFF". The
 * exit status 2 alone is no proof: a shell's syntax error and a Python program that cannot read its
 * own file end with 2 as well.
 *
 * Happy path: off -> status says off -> proven. What can go wrong, and what happens:
 * - `off` succeeds and status says on: the device may be slow, so status is asked until the
 * deadline, and then the level has refused: off succeeded, status still says on (G2).
 * - `off` fails: `off` is asked once more (twice is harmless, G7); then the level ends early, for
 * the next one's sake: refused when status says on, else unknown. A status that says off proves
 * nothing without an `off` that succeeded before it: a machine in the middle of a power cycle, or
 * without mains, says so too, and comes back (tests/model, -DSTATUS_ALONE). The repeated `off` of a
 * machine that is off succeeds, so a lost answer costs one more question.
 * - `off` hangs: its group is killed after three quarters of the time; in the rest, status is
 * asked, and `off` again if that says off. An `on` then proves nothing, since the device may still
 * act.
 * - status hangs or fails: asked again; with no answer by the deadline, unknown: "unreachable" is
 * not "off" (G5).
 * - the agent is not there: refused; nothing was started.
 */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/clock.h"
#include "fence/op.h"

#define OFFS_MAX          2 /* how often `off` is asked when it fails */
#define STATUSES_PER_FAIL 3 /* and status after each of them */
#define PAUSE_FIRST_MS    100
#define PAUSE_MAX_MS      1000
#define STATUS_LEAST_MS   1000 /* no status gets less time than this while there is as much left */

static void run_step(struct fence_op *op, enum agent_step step);

static const char *value_of(const struct fence_op *op, int i)
{
    return op->secrets[i] != NULL ? op->secrets[i] : op->level.options[i].value;
}

/* The agents strip blanks around a line and one pair of quotes around a value: such values need
 * quotes. */
static bool needs_quotes(const char *value)
{
    size_t len = strlen(value);

    return len > 0 &&
           (value[0] == ' ' || value[len - 1] == ' ' || (value[0] == '"' && value[len - 1] == '"'));
}

/* Returns the agent's whole input; NULL when a secret is missing or cannot be passed on. */
static char *make_input(const struct fence_op *op, const char *action, size_t *ret_len)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_len);

    assert(out != NULL);
    fprintf(out, "action=%s\n", action);
    for (int i = 0; i < op->level.options_len; i++) {
        const char *value = value_of(op, i);
        const char *quote = needs_quotes(value) ? "\"" : "";

        fprintf(out, "%s=%s%s%s\n", op->level.options[i].name, quote, value, quote);
    }
    fclose(out);
    assert(text != NULL);
    return text;
}

static const struct fence_option *unusable_secret(const struct fence_op *op)
{
    for (int i = 0; i < op->level.options_len; i++) {
        if (!op->level.options[i].secret) {
            continue;
        }
        if (op->secrets[i] == NULL || strpbrk(op->secrets[i], "\r\n") != NULL) {
            return &op->level.options[i];
        }
    }
    return NULL;
}

/* ---- what the agent said ---- */

static bool says_power(const struct child_result *result, const char *word)
{
    char wanted[32];
    size_t wanted_len = (size_t)snprintf(wanted, sizeof wanted, "Status: %s", word);
    const char *at = result->output;
    const char *end = result->output + result->output_len;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline == NULL ? end : newline) - at);

        while (len > 0 && (unsigned char)at[len - 1] <= ' ') {
            len--;
        }
        if (len == wanted_len && strncasecmp(at, wanted, len) == 0) {
            return true;
        }
        at = newline == NULL ? end : newline + 1;
    }
    return false;
}

static enum agent_power read_power(const struct child_result *result)
{
    bool on = says_power(result, "on");
    bool off = says_power(result, "off");

    if (result->err.code != ERR_NONE || on == off) {
        return POWER_UNKNOWN;
    }
    if (result->exit_status == 2 && off) {
        return POWER_OFF;
    }
    return result->exit_status == 0 && on ? POWER_ON : POWER_UNKNOWN;
}

/* How one run ended, in words: "exited with 1: Failed: ...". */
static void describe(const struct fence_op *op, const struct child_result *result,
                     char ret_said[FENCE_DETAIL_SIZE])
{
    char line[FENCE_DETAIL_SIZE];

    fence_op_line(op, result, true, line);
    if (result->err.code == ERR_TIMEOUT) {
        snprintf(ret_said, FENCE_DETAIL_SIZE, "gave no answer within %llu ms and was killed",
                 (unsigned long long)result->took_ms);
    } else if (result->err.code != ERR_NONE) {
        snprintf(ret_said, FENCE_DETAIL_SIZE, "%.160s", result->err.text);
    } else if (result->exit_status < 0) {
        snprintf(ret_said, FENCE_DETAIL_SIZE, "was ended by signal %d", result->signal);
    } else {
        snprintf(ret_said, FENCE_DETAIL_SIZE, "exited with %d%s%.140s", result->exit_status,
                 line[0] != '\0' ? ": " : " and said nothing", line);
    }
}

/* ---- endings ---- */

static void finish_without_off(struct fence_op *op)
{
    struct agent *agent = &op->agent;
    const char *program = op->level.program;

    if (agent->off == OFF_DONE && agent->power == POWER_ON) {
        fence_op_finish(op, FENCE_REFUSED, "%s: off succeeded, status still says on after %llu ms",
                        program, (unsigned long long)(clock_now_ms() - op->started_ms));
    } else if (agent->off == OFF_DONE) {
        fence_op_finish(op, FENCE_UNKNOWN, "%s: off succeeded, but status %.*s", program, 150,
                        agent->status_said[0] != '\0' ? agent->status_said
                                                      : "was not asked in time");
    } else if (agent->power == POWER_ON) {
        fence_op_finish(op, agent->off == OFF_FAILED ? FENCE_REFUSED : FENCE_UNKNOWN,
                        "%s: status says on; off %.150s", program, agent->off_said);
    } else {
        fence_op_finish(op, FENCE_UNKNOWN, "%s: off %.100s; status %.90s", program, agent->off_said,
                        agent->status_said[0] != '\0' ? agent->status_said
                                                      : "was not asked in time");
    }
}

/* ---- the steps ---- */

static void ask_status(void *arg)
{
    struct fence_op *op = arg;

    run_step(op, AGENT_STATUS);
}

static void ask_status_later(struct fence_op *op)
{
    struct agent *agent = &op->agent;
    uint64_t left_ms = fence_op_left_ms(op);

    /* One more must have a fair chance to end. */
    if (left_ms <= agent->pause_ms + agent->status_took_ms) {
        finish_without_off(op);
        return;
    }
    timer_free(op->timer);
    op->timer = timer_new(op->loop, ask_status, op);
    timer_start(op->timer, agent->pause_ms);
    agent->pause_ms = agent->pause_ms * 2 < PAUSE_MAX_MS ? agent->pause_ms * 2 : PAUSE_MAX_MS;
}

static void off_ended(struct fence_op *op, const struct child_result *result)
{
    struct agent *agent = &op->agent;

    describe(op, result, agent->off_said);
    if (result->err.code == ERR_SYSTEM) {
        op->result.acted = agent->offs > 1;
        fence_op_finish(op, agent->offs > 1 ? FENCE_UNKNOWN : FENCE_REFUSED, "%s: off %.200s",
                        op->level.program, agent->off_said);
        return;
    }
    if (result->err.code != ERR_NONE) {
        agent->off = OFF_SILENT;
    } else {
        agent->off = result->exit_status == 0 ? OFF_DONE : OFF_FAILED;
    }
    agent->statuses = 0;
    agent->pause_ms = PAUSE_FIRST_MS;
    run_step(op, AGENT_STATUS);
}

static void status_ended(struct fence_op *op, const struct child_result *result)
{
    struct agent *agent = &op->agent;
    enum agent_power power = read_power(result);

    agent->statuses++;
    /* An answer's words outlast what is cut short by the deadline: that tells less. */
    if (result->err.code == ERR_NONE || !agent->answered) {
        describe(op, result, agent->status_said);
    }
    if (result->err.code == ERR_NONE) {
        agent->answered = true;
        agent->status_took_ms =
            result->took_ms > agent->status_took_ms ? result->took_ms : agent->status_took_ms;
    }
    if (op->status_done != NULL) {
        agent->power = power;
        fence_op_finish(op, FENCE_UNKNOWN, "%s: status %.200s", op->level.program,
                        power == POWER_ON    ? "says on"
                        : power == POWER_OFF ? "says off"
                                             : agent->status_said);
        return;
    }
    if (power == POWER_OFF && agent->off == OFF_DONE) {
        fence_op_finish(op, FENCE_PROVEN,
                        "%s: off succeeded, then status says off; %u runs took %llu ms",
                        op->level.program, op->result.runs, (unsigned long long)op->result.ran_ms);
        return;
    }
    if (power == POWER_OFF) {
        agent->power = POWER_OFF;
        if (agent->offs < OFFS_MAX) {
            run_step(op, AGENT_OFF);
        } else {
            fence_op_finish(
                op, FENCE_UNKNOWN,
                "%s: status says off, but no off succeeded, so it may come back: off %.120s",
                op->level.program, agent->off_said);
        }
        return;
    }
    /* An answer is not forgotten because the next one did not come. */
    if (power == POWER_ON || agent->power != POWER_ON) {
        agent->power = power;
    }
    if (agent->off == OFF_FAILED && agent->statuses >= STATUSES_PER_FAIL) {
        if (agent->offs < OFFS_MAX) {
            run_step(op, AGENT_OFF);
        } else {
            finish_without_off(op);
        }
        return;
    }
    ask_status_later(op);
}

static void ended(void *arg, const struct child_result *result)
{
    struct fence_op *op = arg;

    op->child = NULL;
    op->result.ran_ms += result->took_ms;
    if (op->agent.step == AGENT_OFF) {
        off_ended(op, result);
    } else {
        status_ended(op, result);
    }
}

/* `off` leaves a quarter of what is left to status; a status leaves half to the next one. */
static uint64_t step_deadline_ms(const struct fence_op *op, enum agent_step step)
{
    uint64_t left_ms = fence_op_left_ms(op);

    if (step == AGENT_OFF) {
        return left_ms - left_ms / 4;
    }
    if (op->status_done != NULL) {
        return left_ms;
    }
    if (left_ms / 2 <= STATUS_LEAST_MS) {
        return left_ms;
    }
    return left_ms / 2;
}

static void run_step(struct fence_op *op, enum agent_step step)
{
    struct child_request request = {
        .args = {op->program},
        .output_limit = FENCE_OUTPUT_LIMIT,
        .deadline_ms = step_deadline_ms(op, step),
        .end_strays = true,
    };
    char *input;

    if (request.deadline_ms == 0) {
        if (op->agent.off == OFF_NOT_ASKED) {
            fence_op_finish(op, FENCE_REFUSED, "not started: its deadline had passed");
        } else {
            finish_without_off(op);
        }
        return;
    }
    if (step == AGENT_OFF) {
        if (!fence_op_allowed(op)) {
            return;
        }
        op->agent.offs++;
    }
    op->agent.step = step;
    op->result.runs++;
    input = make_input(op, step == AGENT_OFF ? "off" : "status", &request.input_len);
    request.input = input;
    op->child = child_start(op->loop, &request, ended, op);
    explicit_bzero(input, request.input_len);
    free(input);
}

void agent_begin(struct fence_op *op)
{
    const struct fence_option *option = unusable_secret(op);

    if (option != NULL) {
        fence_op_finish(op, FENCE_REFUSED,
                        "not started: the secret '%s' for option '%s' is missing, or is more than "
                        "one line",
                        option->value, option->name);
        return;
    }
    run_step(op, op->status_done != NULL ? AGENT_STATUS : AGENT_OFF);
}
