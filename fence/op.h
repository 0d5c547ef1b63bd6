/*
 * op.h - one running fencing level; private to fence/.
 *
 * level.c owns its life: it makes the copy of the request, and every ending passes
 * fence_op_finish(). agent.c and command.c are the two ways to run it, each an x_begin() called
 * once from the loop.
 */
#ifndef FAILOVER_FENCE_OP_H
#define FAILOVER_FENCE_OP_H

#include <limits.h>

#include "controller/base/child.h"
#include "fence/level.h"

#define FENCE_OUTPUT_LIMIT 16384

enum agent_step { AGENT_OFF, AGENT_STATUS };
enum agent_off { OFF_NOT_ASKED, OFF_DONE, OFF_FAILED, OFF_SILENT };
enum agent_power { POWER_NOT_ASKED, POWER_ON, POWER_OFF, POWER_UNKNOWN };

struct agent { /* agent.c */
    enum agent_step step;
    enum agent_off off;      /* how the last `off` ended */
    enum agent_power power;  /* the last answer of `status` */
    uint32_t offs;           /* asked so far */
    uint32_t statuses;       /* answers since the last `off` */
    uint64_t pause_ms;       /* before the next status */
    uint64_t status_took_ms; /* the longest so far */
    bool answered;           /* a status ended by itself: status_said is the last that did */
    char off_said[FENCE_DETAIL_SIZE];
    char status_said[FENCE_DETAIL_SIZE];
};

struct fence_op {
    struct loop *loop;
    struct fence_level_def level;
    char *secrets[OPTIONS_MAX];
    char *args[FENCE_ARGS_MAX + 1];
    char *context; /* JSON text */
    char program[PATH_MAX];
    bool (*may_act)(void *arg);
    void *may_act_arg;
    fence_done_fn done;
    fence_status_fn status_done; /* only its status is asked; then `done` is NULL */
    void *arg;

    uint64_t started_ms;
    uint64_t ends_ms;
    struct timer *timer; /* the next thing to do */
    struct child *child; /* that runs now, or NULL */
    struct agent agent;
    struct fence_result result;
};

uint64_t fence_op_left_ms(const struct fence_op *op);
/* Asks may_act. False: the operation has ended; return at once. */
bool fence_op_allowed(struct fence_op *op);
/* Ends the operation and frees it; the detail is formatted first, so it may come from the
 * operation. */
void fence_op_finish(struct fence_op *op, enum fence_end end, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/*
 * One line of what a program said, safe to print and to store: the first that is not blank, or the
 * last (where a fence agent and a Python traceback put the reason). Printable ASCII only, secrets
 * replaced by ***.
 */
void fence_op_line(const struct fence_op *op, const struct child_result *result, bool last,
                   char ret_line[FENCE_DETAIL_SIZE]);

void agent_begin(struct fence_op *op);
void command_begin(struct fence_op *op);

#endif
