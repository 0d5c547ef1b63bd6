/*
 * live.h - `check --live`: reach everything that a definition names, and change nothing that
 * counts.
 *
 * PostgreSQL: login, rights, and on a primary one committed heartbeat row (its key is this
 * program's name); services over HTTP; proxies' runtime API, with the backends and servers that the
 * routes name; every fence agent's `status`. All at once, each with its own deadline.
 */
#ifndef FAILOVER_CTL_LIVE_H
#define FAILOVER_CTL_LIVE_H

#include "controller/cluster/local.h"
#include "controller/ctl/ctl.h"

/* Prints a table. CTL_DONE, or CTL_REFUSED when anything failed. */
enum ctl_exit live_check(const struct definition *def, const struct local_config *local);

#endif
