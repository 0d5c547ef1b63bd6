/*
 * level.h - try one fencing level on one node: make sure that it can no longer write.
 *
 * A fence ends in one of three ways: proof, refusal or silence. Only proof allows promotion. Which
 * level comes next, and whether the evidence still counts, is the core's business; a level is asked
 * only after the permits of the node's instances were revoked (design §7), so whatever is proven
 * here came after that.
 *
 * Time:   milliseconds from fence_start(); the whole level, every process of it, ends within
 * deadline_ms and a moment for reaping. Memory: the request and all it points to is copied; the
 * operation frees itself after `done`, so the pointer is dead once `done` was entered. Copies of
 * secrets are wiped. Loop:   `done` runs once, from the loop, never from inside fence_start() or
 * fence_cancel().
 */
#ifndef FAILOVER_FENCE_LEVEL_H
#define FAILOVER_FENCE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"
#include "controller/cluster/definition.h"

#define FENCE_ARGS_MAX    16
#define FENCE_DETAIL_SIZE 256

enum fence_end {
    FENCE_PROVEN,  /* by evidence of the level's own method */
    FENCE_REFUSED, /* it did not happen: the agent or command said no, or was not started at all */
    FENCE_UNKNOWN, /* no answer we can use by the deadline: it may have happened */
};
extern const char *const fence_end_names[];

/* What a command is told; a JSON document with `schema` 1 and these members on its standard input.
 */
struct fence_context {
    const char *cluster;
    const char *group;
    const char *databases[DATABASES_MAX]; /* of every instance on the node (design §7) */
    int databases_len;
    const char *node;
    const char *address;
    const char *reason;
    const char *incident; /* its id */
    uint64_t epoch; /* of the revoked permit: its counter, and the revision of the revocation */
    uint64_t revision;
};

struct fence_request {
    const struct fence_level_def *level; /* method agent or command; asserted */
    /* Values of the level's secret options, by the option's index; NULL where it is no secret. */
    const char *secrets[OPTIONS_MAX];
    /* Method command: the program and its arguments from local.yaml; NULL ends. */
    const char *args[FENCE_ARGS_MAX + 1];
    struct fence_context context;
    uint64_t deadline_ms; /* 0: the level's own */
    /* Asked right before each start of something that can hurt: still the leader (design §5)? */
    bool (*may_act)(void *arg);
    void *may_act_arg;
    const char *agents_dir; /* NULL: where Debian puts fence agents */
};

struct fence_result {
    enum fence_end end;
    enum fence_method evidence;     /* kind of it, when proven: agent or command */
    bool acted;                     /* something that can hurt was started, whatever came of it */
    char detail[FENCE_DETAIL_SIZE]; /* one plain line: what was observed, or the reason. No secrets
                                     */
    uint64_t took_ms;
    uint64_t ran_ms; /* of it, the program's own runs: what is left is ours */
    uint32_t runs;   /* processes started */
};

typedef void (*fence_done_fn)(void *arg, const struct fence_result *result);

struct fence_op;

struct fence_op *fence_start(struct loop *loop, const struct fence_request *request,
                             fence_done_fn done, void *arg);
/* Kills what runs. No callback arrives. What was asked of the device may still take effect. */
void fence_cancel(struct fence_op *op);

/*
 * Ask a level's fence agent for `status` once, and nothing else: is the device reached, and does it
 * know the plug? Method agent only (asserted). Nothing is switched, and the answer is no evidence:
 * for `failoverctl check --live`.
 */
struct fence_status {
    bool answered; /* it said on or off */
    bool on;
    char detail[FENCE_DETAIL_SIZE];
    uint64_t took_ms;
};
typedef void (*fence_status_fn)(void *arg, const struct fence_status *status);
struct fence_op *fence_status_start(struct loop *loop, const struct fence_request *request,
                                    fence_status_fn done, void *arg);

/*
 * Can this level ever give proof? Refuses (ERR_INVALID) what would turn off into something else or
 * a missing plug into "off" (failures.md G6, G9), options that the driver itself sets, forms that
 * cannot be passed on safely, and passwords in clear. For `failoverctl check`, and again before
 * each use.
 */
int fence_level_check(const struct fence_level_def *level, struct err *ret_err);

#endif
