/*
 * http.h - what one controller finds out about one instance of a service over HTTP.
 *
 * A probe is one GET with one total deadline, from the first packet to the last byte of the body (a
 * body that drips is a timeout, failures.md H11). It is good when the status is the wanted one and
 * the body holds the wanted text; a redirect is not followed, it is a status like any other.
 * Connections are reused by the client below.
 *
 * Time:   CLOCK_BOOTTIME milliseconds.
 * Memory: the strings of the parameters are copied. The fact lives during `done` only.
 * Loop:   `done` runs once for each probe_http_ask(), from the loop, never from inside a function
 * of this page.
 */
#ifndef FAILOVER_PROBES_HTTP_H
#define FAILOVER_PROBES_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/http.h"
#include "controller/cluster/facts.h"

#define PROBE_HTTP_BODY_LIMIT (64u << 10) /* a health page; a larger one is CAUSE_BAD_ANSWER */

struct probe_http;

typedef void (*probe_service_fn)(void *arg, const struct service_fact *fact);

struct probe_http_params {
    const char *url;  /* with a numeric host: no DNS */
    int status;       /* wanted */
    const char *body; /* must occur in the answer's body; NULL or "" for any */
    uint32_t deadline_ms;
    const struct http_tls *tls; /* or NULL; must outlive the probe */
    probe_service_fn done;
    void *arg;
};

struct probe_http *probe_http_new(struct http *http, const struct probe_http_params *params);
void probe_http_ask(struct probe_http *probe); /* one at a time: asserted */
bool probe_http_busy(const struct probe_http *probe);
void probe_http_free(struct probe_http *probe); /* drops a running probe without a callback */

#endif
