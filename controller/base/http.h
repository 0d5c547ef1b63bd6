/*
 * http.h - the one HTTP client: etcd, probes and webhooks (curl multi on the loop).
 *
 * A request ends exactly once through `done`, from the loop, never from inside http_start() or
 * http_cancel(). Its deadline is total: name, connect, TLS, headers and body (failures.md H11). A
 * streaming request (on_data set) has no total deadline unless one is given; it ends when the
 * server closes, the caller cancels, or nothing has come for idle_ms.
 *
 * Memory: everything in struct http_request is copied by http_start(). The answer lives during
 * `done` only. Errors (answer->err): ERR_UNREACHABLE (no connection, connection cut, TLS),
 * ERR_TIMEOUT, ERR_LIMIT (body over limit), ERR_INVALID (the URL is none), ERR_CANCELED only for a
 * stream that on_data ended (after http_cancel no callback arrives). `refused` tells a refused
 * connection from the rest.
 *
 * Connections are kept and used again. When a kept one turns out to be dead before any byte of the
 * answer came, curl sends the request once more on a new one; where that must not happen, set
 * `once` (then it ends with ERR_UNREACHABLE) or `fresh`. Redirects are not followed, proxies of the
 * environment not used. http_free() and http_cancel() may be called from inside `done` and on_data.
 */
#ifndef FAILOVER_BASE_HTTP_H
#define FAILOVER_BASE_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

#define HTTP_HEADERS_MAX        8
#define HTTP_BODY_LIMIT_DEFAULT (4u << 20)

struct http; /* the multi handle with its connection cache */
struct http_op;

struct http_tls { /* paths; NULL where not set */
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
};

struct http_answer {
    struct err err; /* ERR_NONE: an HTTP answer came, whatever its status */
    bool refused;   /* ECONNREFUSED */
    bool sent;      /* false: no connection was made, so certainly nothing of the request left */
    int status;
    const char *body; /* NUL-terminated; "" for a stream */
    size_t body_len;
    uint64_t took_ms;
};

typedef void (*http_done_fn)(void *arg, const struct http_answer *answer);
/* Return false to end the stream (done follows with ERR_CANCELED). */
typedef bool (*http_data_fn)(void *arg, const char *data, size_t len);

struct http_request {
    const char *method; /* NULL: GET, or POST when there is a body */
    const char *url;
    const char *unix_socket;               /* connect here instead of the URL's host, or NULL */
    const char *headers[HTTP_HEADERS_MAX]; /* "Name: value"; NULL ends */
    const char *body;
    size_t body_len;
    size_t body_limit;    /* of the answer; 0: HTTP_BODY_LIMIT_DEFAULT; not for streams */
    uint64_t deadline_ms; /* from now, total; 0 only for streams */
    uint64_t idle_ms;     /* streams: end with ERR_TIMEOUT after that much silence; 0: never */
    bool fresh;           /* on a new connection, closed afterwards */
    bool once;            /* never sent a second time, whatever curl thinks */
    const struct http_tls *tls;
    http_data_fn on_data; /* set: a stream */
    http_done_fn done;
    void *arg;
};

struct http *http_new(struct loop *loop);
void http_free(struct http *http); /* cancels what runs, without callbacks */
struct http_op *http_start(struct http *http, const struct http_request *request);
void http_cancel(struct http_op *op);

#endif
