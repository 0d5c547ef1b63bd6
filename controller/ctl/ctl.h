/*
 * ctl.h - failoverctl: one table of commands, each with its arguments, its help and its function.
 *
 * Every command ends with one of the exit codes below, from 0 on, which the help repeats.
 *
 * Results go to standard output, everything else to standard error. Colours only on a terminal and
 * without NO_COLOR; whatever a colour says, a word says too.
 */
#ifndef FAILOVER_CTL_CTL_H
#define FAILOVER_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CTL_EXIT_LIST(X)                                                                           \
    X(CTL_DONE, "done")                                                                            \
    X(CTL_REFUSED, "refused: nothing was changed, and every reason was printed")                   \
    X(CTL_USAGE, "the command line or the input is wrong: nothing was asked of anybody")           \
    X(CTL_RUNNING, "still running, or unknown: printed with the id to ask again "                  \
                   "(failoverctl request ID)")                                                     \
    X(CTL_UNREACHABLE, "no controller could be reached")

enum ctl_exit {
#define X(id, help) id,
    CTL_EXIT_LIST(X)
#undef X
};

#define CTL_DEFAULT_SOCKET "/run/failover/failoverd.sock"
#define CTL_LOCAL_FILE     "/etc/failover/local.yaml"

/* The whole program: parses, runs one command, returns its exit code. */
int ctl_main(int argc, char **argv);

#endif
