/*
 * server.h - the HTTP server side (libmicrohttpd on the loop): on a unix socket, or HTTPS for
 * clients with certificates. Each is a server of its own, so that neither can take the other's
 * places.
 *
 * A handler gets the whole request (bounded) and must answer at once by server_reply(): it renders
 * a snapshot or posts an event, it never waits (style §4). One that returns without a reply is
 * answered for with 500. server_free() must not be called from inside a handler.
 *
 * Bounds (failures.md J1): over connections_max, callers wait in the kernel's queue; a head over 16
 * KiB gets an error status, a body over body_limit 413; a request that has not come whole and been
 * answered within request_ms has its connection shut, as has one that is idle for so long.
 *
 * Who may call on a unix socket is decided by its permissions, so by the kernel, before a byte is
 * read. On HTTPS nobody gets through the handshake (TLS 1.2 or later) without the key of a
 * certificate that one of our clients' CAs made for clients and that is valid now; the certificate
 * is checked again at each request, so the handler never sees one that is not proven. Plain HTTP
 * and garbage meet the end of the connection. Handshakes never block: each has handshake_ms, at
 * most SERVER_UNPROVEN_MAX are under way (a new one ends the oldest), and gate.h bounds their rate,
 * over all and for each address; who is over that is closed, not queued.
 *
 * server_renew() takes new keys for connections from then on; those that are open are answered with
 * what they have begun, told to close, and come back under the new ones.
 */
#ifndef FAILOVER_BASE_SERVER_H
#define FAILOVER_BASE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

#define SERVER_REQUEST_MS_DEFAULT   10000
#define SERVER_HANDSHAKE_MS_DEFAULT 5000
#define SERVER_UNPROVEN_MAX         16
#define SERVER_ADDRESS_MAX          8  /* HTTPS connections from one address */
#define SERVER_PER_SECOND           50 /* handshakes: a tenth of the loop's time, with RSA keys */
#define SERVER_ADDRESS_PER_SECOND   20
#define SERVER_NAME_SIZE            64

struct server;
struct server_call;

struct tls_keys; /* tls.h */

struct server_peer {
    bool known;                  /* by the kernel (SO_PEERCRED), or by its certificate */
    char name[SERVER_NAME_SIZE]; /* the certificate's common name; "" on a unix socket */
    pid_t pid;                   /* of a unix socket */
    uid_t uid;
    gid_t gid;
};

typedef void (*server_fn)(void *arg, struct server_call *call, const char *method, const char *path,
                          const char *body, size_t body_len);
/* A connection that was not let in: from which address, and what was found. */
typedef void (*server_refused_fn)(void *arg, const char *from, const char *why);

struct server_options {
    const char *unix_path;  /* a stale socket there is replaced, one that is served is not */
    const char *unix_group; /* those who may call (mode 0660); NULL: only this user (mode 0600) */
    const char *listen;     /* instead of unix_path: "192.0.2.1:8443" or "[2001:db8::1]:8443" */
    struct tls_keys *keys;  /* with listen; held */
    size_t body_limit;
    unsigned connections_max;
    uint64_t request_ms;   /* 0: SERVER_REQUEST_MS_DEFAULT */
    uint64_t handshake_ms; /* 0: SERVER_HANDSHAKE_MS_DEFAULT */
    server_fn handler;
    server_refused_fn refused; /* HTTPS; may be NULL */
    void *arg;
};

/* Errors: ERR_INVALID (path, group, address), ERR_CONFLICT (another process serves it), ERR_SYSTEM.
 */
struct server *server_new(struct loop *loop, const struct server_options *options,
                          struct err *ret_err);
void server_free(struct server *server);
/* Of an HTTPS server: other keys from now on; held. */
void server_renew(struct server *server, struct tls_keys *keys);

const char *server_query(struct server_call *call, const char *name); /* of the URL, or NULL */
struct server_peer server_peer(struct server_call *call);
/* Once per call. The body is copied. content_type NULL: application/json. */
void server_reply(struct server_call *call, int status, const char *content_type, const char *body,
                  size_t body_len);

#endif
