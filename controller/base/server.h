/*
 * server.h - the HTTP server side (libmicrohttpd on the loop): a unix socket now, HTTPS later.
 *
 * A handler gets the whole request (bounded) and must answer at once by server_reply(): it renders
 * a snapshot or posts an event, it never waits (style §4). One that returns without a reply is
 * answered for with 500. server_free() must not be called from inside a handler.
 *
 * Bounds (failures.md J1): over connections_max, callers wait in the kernel's queue; a head over 16
 * KiB gets an error status, a body over body_limit 413; a request that has not come whole and been
 * answered within request_ms has its connection shut, as has one that is idle for so long.
 *
 * Who may call is decided by the socket's permissions, so by the kernel, before a byte is read.
 */
#ifndef FAILOVER_BASE_SERVER_H
#define FAILOVER_BASE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

#define SERVER_REQUEST_MS_DEFAULT 10000

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
    const char *unix_path;  /* a stale socket there is replaced, one that is served is not */
    const char *unix_group; /* those who may call (mode 0660); NULL: only this user (mode 0600) */
    size_t body_limit;
    unsigned connections_max;
    uint64_t request_ms; /* 0: SERVER_REQUEST_MS_DEFAULT */
    server_fn handler;
    void *arg;
};

/* Errors: ERR_INVALID (path, group), ERR_CONFLICT (another process serves it), ERR_SYSTEM. */
struct server *server_new(struct loop *loop, const struct server_options *options,
                          struct err *ret_err);
void server_free(struct server *server);

const char *server_query(struct server_call *call, const char *name); /* of the URL, or NULL */
struct server_peer server_peer(struct server_call *call);
/* Once per call. The body is copied. content_type NULL: application/json. */
void server_reply(struct server_call *call, int status, const char *content_type, const char *body,
                  size_t body_len);

#endif
