/*
 * processes.h - all processes of one PostgreSQL instance: where they are, how they are killed, and
 * the proof that none is left (recipes §3, §4).
 *
 * Killing the postmaster is not a stop: a backend in a loop of commits goes on without it. So an
 * instance runs in a cgroup of its own, below the guard's, and is killed as a whole: by cgroup.kill
 * where the kernel has it, else frozen, sent SIGKILL, and thawed, so that no fork escapes. On
 * version 2 as well as on version 1's freezer; where neither can be written, by /proc alone, again
 * and again until nothing is left.
 *
 * Proof: no process in the cgroup; no process anywhere whose program is `postgres` and whose
 * working directory is the data directory; nobody attached to the shared memory that postmaster.pid
 * names. Needs root. Nothing here waits for longer than some milliseconds.
 */
#ifndef FAILOVER_GUARD_PROCESSES_H
#define FAILOVER_GUARD_PROCESSES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "controller/base/err.h"

#define CGROUP_PATH_SIZE 512

struct processes {
    char data_dir[256];
    char cgroup[CGROUP_PATH_SIZE]; /* "": there is none */
    bool unified;                  /* version 2 */
};

/* Makes the cgroup `name` below this process's own. Without one: ERR_SYSTEM, and /proc alone
 * serves. */
int processes_init(struct processes *processes, const char *data_dir, const char *name,
                   struct err *ret_err);
/* Descriptor of its cgroup.procs, for a child that enters it before it executes; -1: none. */
int processes_open_cgroup(const struct processes *processes);
/* The postmaster that runs in the data directory, by postmaster.pid and /proc; 0: none. */
pid_t processes_postmaster(const struct processes *processes);
/* Every process of the instance into its cgroup, until none is outside. */
int processes_take_over(const struct processes *processes, struct err *ret_err);
void processes_kill(const struct processes *processes);
/* The proof; what is left is said in ret_text. Zombies of the instance that are ours are reaped. */
bool processes_are_gone(const struct processes *processes, char *ret_text, size_t size);

#endif
