/*
 * server.h - the HTTP server side (libmicrohttpd on the loop): a unix socket now, HTTPS later.
 *
 * A handler gets the whole request (bounded) and must answer at once by server_reply(): it renders a
 * snapshot or posts an event, it never waits (style §4). Bounds: connections, header and body sizes, and a
 * total time for a request to arrive (failures.md J1); over them the connection is refused or closed.
 */
#ifndef FAILOVER_BASE_SERVER_H
#define FAILOVER_BASE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

struct server;
struct server_call;

struct server_peer { /* of a unix socket (SO_PEERCRED) */
    bool known;
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

typedef void (*server_fn)(void *arg, struct server_call *call, const char *method, const char *path,
                          const char *body, size_t body_len);

struct server_options {
    const char *unix_path;  /* made with mode 0660; a stale socket there is replaced */
    const char *unix_group; /* group of the socket and of those who may call; NULL: root only */
    size_t body_limit;
    unsigned connections_max;
    server_fn handler;
    void *arg;
};

struct server *server_new(struct loop *loop, const struct server_options *options, struct err *ret_err);
void server_free(struct server *server);

const char *server_query(struct server_call *call, const char *name); /* of the URL, or NULL */
struct server_peer server_peer(struct server_call *call);
/* Once per call. The body is copied. content_type NULL: application/json. */
void server_reply(struct server_call *call, int status, const char *content_type, const char *body,
                  size_t body_len);

#endif
