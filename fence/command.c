/*
 * command.c - fence by a command of the operator's own; its exit status is the evidence.
 *
 * Happy path: the command reads the context, cuts the node off, exits with 0. What can go wrong:
 * it exits with another status (refused); it does not end by the deadline, or is killed (unknown:
 * it may have done its work); it is not there (refused, nothing was started); it leaves something
 * behind that would act later (ended, as long as it has kept its environment).
 */
#include <assert.h>
#include <limits.h>
#include <string.h>

#include "fence/op.h"

static void ended(void *arg, const struct child_result *result)
{
    struct fence_op *op = arg;
    char said[FENCE_DETAIL_SIZE];

    op->child = NULL;
    op->result.ran_ms = result->took_ms;
    fence_op_line(op, result, false, said);
    if (result->err.code == ERR_SYSTEM) {
        op->result.acted = false;
        fence_op_finish(op, FENCE_REFUSED, "command %s %.150s", op->level.program,
                        result->err.text);
    } else if (result->err.code != ERR_NONE) {
        fence_op_finish(op, FENCE_UNKNOWN, "command %s was killed at its deadline%s%s",
                        op->level.program, said[0] != '\0' ? "; it said: " : "", said);
    } else if (result->exit_status < 0) {
        fence_op_finish(op, FENCE_UNKNOWN, "command %s was ended by signal %d", op->level.program,
                        result->signal);
    } else if (result->exit_status == 0) {
        fence_op_finish(op, FENCE_PROVEN, "command %s exited with 0%s%s", op->level.program,
                        said[0] != '\0' ? ": " : "", said);
    } else {
        fence_op_finish(op, FENCE_REFUSED, "command %s exited with %d%s%s", op->level.program,
                        result->exit_status, said[0] != '\0' ? ": " : "", said);
    }
}

void command_begin(struct fence_op *op)
{
    struct child_request request = {
        .input = op->context,
        .input_len = strlen(op->context),
        .output_limit = FENCE_OUTPUT_LIMIT,
        .deadline_ms = fence_op_left_ms(op),
        .end_strays = true,
    };

    static_assert(FENCE_ARGS_MAX < CHILD_ARGS_MAX, "the command's arguments fit");
    if (op->args[0] == NULL || op->args[0][0] != '/') {
        fence_op_finish(op, FENCE_REFUSED,
                        "not started: local.yaml has no command %s with an absolute path",
                        op->level.program);
        return;
    }
    if (request.deadline_ms == 0) {
        fence_op_finish(op, FENCE_REFUSED, "not started: its deadline had passed");
        return;
    }
    for (int i = 0; op->args[i] != NULL; i++) {
        request.args[i] = op->args[i];
    }
    if (!fence_op_allowed(op)) {
        return;
    }
    op->result.runs++;
    op->child = child_start(op->loop, &request, ended, op);
}
