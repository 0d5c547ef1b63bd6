/*
 * haproxy.h - let one HAProxy send a route's traffic to the permitted server, and to no other.
 *
 * Through HAProxy's runtime API. haproxy_apply() reads the state of all routes in one connection
 * and acts only on what differs, so that the same call is the redirect step, the reconciler and the
 * repair after a reload that forgot everything (failures.md H1-H3). Per backend every other server
 * is closed first: put into maintenance, its sessions shut, both read back until none is left (H4);
 * only then the one is opened, and read back too. A backend belongs to its route: a server in it
 * that the route does not name is closed as well (design §10 S10). An answer that we do not know
 * confirms nothing (H5, H6).
 *
 * One operation at a time per proxy; proxies do not wait for each other.
 *
 * Time:   `within_ms` bounds the whole operation.
 * Memory: routes are copied. haproxy_free() cancels. The report is valid inside `done` only.
 * Loop:   `done` runs once, from the loop; it may start the next operation or free the proxy.
 */
#ifndef FAILOVER_ACT_HAPROXY_H
#define FAILOVER_ACT_HAPROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"
#include "controller/cluster/definition.h"

enum { HAPROXY_OPEN_NONE = -1, HAPROXY_OPEN_UNKNOWN = -2 };

struct haproxy_route { /* what is wanted */
    char backend[NAME_SIZE];
    char servers[INSTANCES_MAX][NAME_SIZE];
    int servers_len;
    int open; /* index of the server that shall be open, or HAPROXY_OPEN_NONE */
};

struct haproxy_seen { /* what is so, by the last read; parallel to the routes */
    bool confirmed;   /* exactly the wanted server is open, and no session is left on another one */
    int open_seen;    /* index, HAPROXY_OPEN_NONE, or HAPROXY_OPEN_UNKNOWN (also: several) */
    bool serving;     /* the open server also passes HAProxy's own check, if it has one */
    uint32_t sessions;           /* on the wanted server */
    uint32_t sessions_elsewhere; /* on all other servers of the backend */
    /* Why it is not confirmed; of a confirmed one: a server that the route names does not exist. */
    struct err err;
};

struct haproxy_report {
    struct err err; /* of the connection: ERR_UNREACHABLE, ERR_TIMEOUT; ERR_NONE although a route
                       may have failed */
    bool confirmed; /* all routes */
    bool acted;     /* at least one changing command was sent */
    const struct haproxy_seen *routes;
    int routes_len;
    uint64_t took_ms;
};

typedef void (*haproxy_done_fn)(void *arg, const struct haproxy_report *report);
typedef bool (*haproxy_may_act_fn)(void *arg); /* asked right before each changing command line */

struct haproxy;

struct haproxy *haproxy_new(struct loop *loop, const struct proxy_def *def);
void haproxy_free(struct haproxy *proxy); /* NULL is allowed */
bool haproxy_busy(const struct haproxy *proxy);
void haproxy_cancel(struct haproxy *proxy); /* no callback arrives; what was sent may take effect */

/* Must not be busy (asserted). may_act NULL: as haproxy_read. */
void haproxy_apply(struct haproxy *proxy, const struct haproxy_route routes[], int routes_len,
                   uint64_t within_ms, haproxy_may_act_fn may_act, haproxy_done_fn done, void *arg);
/* Looks, changes nothing: for a follower. */
void haproxy_read(struct haproxy *proxy, const struct haproxy_route routes[], int routes_len,
                  uint64_t within_ms, haproxy_done_fn done, void *arg);

#endif
