/*
 * child.h - run a program with a deadline that ends its whole process group.
 *
 * The child gets its own process group and session, SIGKILL as parent-death signal (failures.md
 * A15; the parent is the thread that called child_start(), so let that be the loop's), "/" as
 * directory, standard input from memory, default signals, an empty environment but for PATH,
 * LANG=C, a mark (stray.h) and what `env` names, and no descriptor but 0-2. Its output is kept up
 * to a limit; more is read, counted and thrown away (failures.md H10).
 *
 * At the deadline the group gets SIGKILL; so does what is left of it when the program has ended, so
 * that nothing in it outlives `done`. What moved into another session is found by its mark, and
 * ended as well where `end_strays` says so: a fence must not act later, while a command that calls
 * a person may well leave its sender behind.
 *
 * `done` is called once, from the loop: when the child was reaped and its pipes are closed, or 100
 * ms after it ended, whichever is first; and 1 s after the deadline even where SIGKILL does not end
 * it (it waits for a dead disk).
 */
#ifndef FAILOVER_BASE_CHILD_H
#define FAILOVER_BASE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

#define CHILD_ARGS_MAX 32

struct child;

struct child_request {
    const char *args[CHILD_ARGS_MAX]; /* args[0]: an absolute path; NULL ends */
    const char *env[8];               /* "NAME=value"; NULL ends */
    const char *input;                /* copied */
    size_t input_len;
    size_t output_limit; /* 0: 64 KiB */
    uint64_t deadline_ms;
    bool end_strays;
};

struct child_result {
    struct err err;  /* ERR_NONE: it ran and exited by itself; ERR_TIMEOUT: killed; ERR_SYSTEM: not
                        started */
    int exit_status; /* -1 when it did not exit by itself */
    int signal;      /* that ended it, or 0 */
    const char *output; /* stdout and stderr together, NUL-terminated, cut at the limit */
    size_t output_len;
    bool output_cut;
    uint64_t took_ms;
};

typedef void (*child_done_fn)(void *arg, const struct child_result *result);

/* Never fails by itself: a program that cannot be started is reported through `done`. */
struct child *child_start(struct loop *loop, const struct child_request *request,
                          child_done_fn done, void *arg);
/* Kills the group; no callback arrives. loop_free() waits until it was reaped. */
void child_cancel(struct child *child);

#endif
