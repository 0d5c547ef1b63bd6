/*
 * ctl.h - failoverctl: one table of commands, each with its arguments, its help and its function.
 *
 * Every command ends with one of these exit codes, which the help repeats:
 *
 *   0  done
 *   1  refused: nothing was changed, and every reason was printed
 *   2  the command line or the input is wrong: nothing was asked of anybody
 *   3  still running, or unknown: printed with the id to ask again
 *   4  no controller could be reached
 *
 * Results go to standard output, everything else to standard error. Colours only on a terminal and
 * without NO_COLOR; whatever a colour says, a word says too.
 */
#ifndef FAILOVER_CTL_CTL_H
#define FAILOVER_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum ctl_exit { CTL_DONE, CTL_REFUSED, CTL_USAGE, CTL_RUNNING, CTL_UNREACHABLE };

#define CTL_DEFAULT_SOCKET "/run/failover/failoverd.sock"
#define CTL_LOCAL_FILE     "/etc/failover/local.yaml"

/* The whole program: parses, runs one command, returns its exit code. */
int ctl_main(int argc, char **argv);

#endif
