/*
 * run.h - failoverd's life, for its main: make, stop politely, free.
 *
 * daemon_new() never waits: etcd may be down when it returns, and comes when it comes. After
 * daemon_stop() the loop is stopped once the lease was given back (or could not be, within a TTL).
 */
#ifndef FAILOVER_DAEMON_RUN_H
#define FAILOVER_DAEMON_RUN_H

#include "controller/base/err.h"
#include "controller/base/loop.h"
#include "controller/cluster/local.h"

struct daemon;

/* `local` must outlive it. NULL with *ret_err when the socket or a secret cannot be had. */
struct daemon *daemon_new(struct loop *loop, struct local_config *local, struct err *ret_err);
/* Reads the local file again; a file with errors changes nothing. What waits for a restart is said.
 */
void daemon_reload(struct daemon *d, const char *path);
void daemon_stop(struct daemon *d);
void daemon_free(struct daemon *d);

#endif
