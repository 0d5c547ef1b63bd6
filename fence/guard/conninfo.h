/*
 * conninfo.h - how a standby's receiver reaches its upstream: the text of primary_conninfo.
 *
 * A connection that is cut must be given up at both ends before it can be made anew: while the old
 * walsender lives its slot is taken. Left to TCP that takes as long as its back-off, which doubles
 * and outlasts the cut, or a minute of silence; commits that wait for the standby stand still for
 * as long. So each end gives up data that is not taken, or a peer that does not answer, after
 * profile_stall_ms(): what is silent for longer is gone by the permit's clocks too, and a network
 * that is slower or stalls for less costs no connection. An end that has nothing to send asks once
 * each second, so that one whose peer gave up first hears of it soon after the cut.
 *
 * The upstream's end is told in `options`, which the standby may set for its own session: sessions
 * of other clients keep what the operator set.
 *
 * Pure.
 */
#ifndef FAILOVER_GUARD_CONNINFO_H
#define FAILOVER_GUARD_CONNINFO_H

#include "controller/cluster/definition.h"

#define CONNINFO_SIZE 768

/* replication: what local.yaml adds; it comes last, and wins. */
void conninfo_of_upstream(const struct profile *profile, const char *address, uint16_t port,
                          const char *name, const char *replication, char ret_text[CONNINFO_SIZE]);

#endif
