/*
 * tcp.h - whether a TCP port accepts a connection.
 *
 * The weakest of the probes: the kernel accepts for a program that hangs (failures.md E2). It
 * serves targets that speak nothing better, and tells "the host answers" from "the host is gone".
 *
 * Time:   CLOCK_BOOTTIME milliseconds; latency is the time to the connection.
 * Loop:   `done` runs once for each probe_tcp_ask(), from the loop, never from inside a function of
 * this page.
 */
#ifndef FAILOVER_PROBES_TCP_H
#define FAILOVER_PROBES_TCP_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/loop.h"
#include "controller/cluster/facts.h"

struct probe_tcp;

typedef void (*probe_tcp_fn)(void *arg, const struct service_fact *fact);

struct probe_tcp_params {
    const char *address; /* numeric IPv4 or IPv6; another form is CAUSE_PROBER */
    uint16_t port;
    uint32_t deadline_ms;
    probe_tcp_fn done;
    void *arg;
};

struct probe_tcp *probe_tcp_new(struct loop *loop, const struct probe_tcp_params *params);
void probe_tcp_ask(struct probe_tcp *probe); /* one at a time: asserted */
bool probe_tcp_busy(const struct probe_tcp *probe);
void probe_tcp_free(struct probe_tcp *probe); /* drops a running probe without a callback */

#endif
