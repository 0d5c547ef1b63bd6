/*
 * The happy path: libmicrohttpd's epoll descriptor is watched; when it is readable the daemon runs,
 * collects a body piece by piece, and the handler answers the whole request at once. On HTTPS we
 * accept ourselves, ask the gate, and hand the descriptor over; the handshake runs in the daemon.
 *
 * Failures: a body over its limit is answered with 413 from its announced length, or else read to
 * its end and thrown away; libmicrohttpd's timeout begins again with each byte, so each connection
 * has a timer of ours that shuts it; the listening socket of a server that died is replaced; with
 * no descriptor left, accepting waits a moment instead of spinning.
 */
#include "controller/base/server.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"
#include "controller/base/gate.h"
#include "controller/base/listen.h"
#include "controller/base/tls.h"

#define HEAD_MAX_BYTES 16384
#define ACCEPTS_A_TURN 8
#define NO_PLACE_MS    100 /* accepting waits for so long when the process has no descriptor left */
#define ADDRESS_SIZE   64

struct connection {
    struct server *server;
    struct timer *timer;
    int fd;
    bool shut;
    struct tls_keys *keys; /* NULL on a unix socket; the rest is of HTTPS */
    void *session;
    struct tls_peer peer;
    int place; /* in the gate */
    char from[ADDRESS_SIZE];
    TAILQ_ENTRY(connection) link;
};

struct server {
    struct MHD_Daemon *daemon;
    struct fd_watch *watch;
    struct timer *timer;
    struct loop *loop;
    server_fn handler;
    void *arg;
    size_t body_limit;
    uint64_t request_ms;
    bool running;                         /* inside MHD_run() */
    bool place_free;                      /* a connection closed in this run */
    TAILQ_HEAD(, connection) connections; /* the oldest first */
    struct tls_keys *keys;                /* NULL: a unix socket; the rest is of HTTPS */
    struct tls_keys *leaving[2 * GATE_ADDRESSES_MAX]; /* of connections that end in this run */
    int leaving_len;
    uint64_t handshake_ms;
    server_refused_fn refused;
    struct gate gate;
    unsigned unproven;
    int listen_fd;
    struct fd_watch *listening;
    struct timer *pause;       /* of accepting */
    struct listen_place place; /* of a unix socket */
};

struct server_call {
    struct server *server;
    struct MHD_Connection *mhd;
    char *body;
    size_t body_len;
    size_t body_size;
    bool over_limit;
    bool replied;
};

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* ---- requests ---- */

static void reply(struct server_call *call, int status, const char *content_type, const char *body,
                  size_t body_len)
{
    /* libmicrohttpd does not write to it: the mode says that it makes its own copy. */
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body_len, (void *)body, MHD_RESPMEM_MUST_COPY);
    assert(response != NULL);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (connection_of(call->mhd)->keys != call->server->keys) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close"); /* renewed */
    }
    MHD_queue_response(call->mhd, (unsigned)status, response);
    MHD_destroy_response(response);
    call->replied = true;
}

void server_reply(struct server_call *call, int status, const char *content_type, const char *body,
                  size_t body_len)
{
    assert(!call->replied && status >= 200 && status <= 599);
    reply(call, status, content_type != NULL ? content_type : "application/json",
          body != NULL ? body : "", body_len);
}

static void reply_error(struct server_call *call, int status, const char *body)
{
    reply(call, status, "application/json", body, strlen(body));
}

const char *server_query(struct server_call *call, const char *name)
{
    return MHD_lookup_connection_value(call->mhd, MHD_GET_ARGUMENT_KIND, name);
}

static int descriptor_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

struct server_peer server_peer(struct server_call *call)
{
    struct server_peer peer = {.known = false, .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1};
    struct ucred ucred;
    socklen_t ucred_len = sizeof ucred;
    int domain;
    socklen_t domain_len = sizeof domain;
    struct connection *connection = connection_of(call->mhd);
    if (connection->keys != NULL) {
        peer.known = connection->peer.proven;
        (void)snprintf(peer.name, sizeof peer.name, "%s", connection->peer.name);
        return peer;
    }
    int fd = descriptor_of(call->mhd);
    /* On TCP the second question succeeds as well, with nobody as its answer. */
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_len) == 0 && domain == AF_UNIX &&
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ucred, &ucred_len) == 0) {
        peer = (struct server_peer){
            .known = true, .pid = ucred.pid, .uid = ucred.uid, .gid = ucred.gid};
    }
    return peer;
}

static bool announced_too_long(struct server_call *call)
{
    const char *length =
        MHD_lookup_connection_value(call->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return length != NULL && strtoull(length, NULL, 10) > call->server->body_limit;
}

static void keep_body(struct server_call *call, const char *data, size_t len)
{
    if (call->over_limit || len > call->server->body_limit - call->body_len) {
        call->over_limit = true;
        return;
    }
    if (call->body_len + len + 1 > call->body_size) {
        size_t size = 2 * (call->body_len + len + 1);
        char *bigger = realloc(call->body, size);
        assert(bigger != NULL);
        call->body = bigger;
        call->body_size = size;
    }
    memcpy(call->body + call->body_len, data, len);
    call->body_len += len;
    call->body[call->body_len] = '\0';
}

/* On HTTPS: a certificate may have ended since the handshake. */
static bool is_proven(struct server_call *call)
{
    struct connection *connection = connection_of(call->mhd);
    return connection->keys == NULL || tls_check(connection->session, &connection->peer);
}

static void answer(struct server_call *call, const char *method, const char *path)
{
    struct server *server = call->server;
    if (call->over_limit) {
        reply_error(call, MHD_HTTP_CONTENT_TOO_LARGE, "{\"error\":\"the body is too large\"}");
        return;
    }
    server->handler(server->arg, call, method, path, call->body != NULL ? call->body : "",
                    call->body_len);
    if (!call->replied) {
        reply_error(call, MHD_HTTP_INTERNAL_SERVER_ERROR, "{\"error\":\"no reply was made\"}");
    }
}

/* Called with the head, then with each piece of the body, then once with nothing more. */
static enum MHD_Result on_part(void *arg, struct MHD_Connection *mhd, const char *path,
                               const char *method, const char *version, const char *data,
                               size_t *data_len, void **ret_call)
{
    (void)version;
    struct server_call *call = *ret_call;
    if (call == NULL) {
        call = calloc(1, sizeof *call);
        if (call == NULL) {
            return MHD_NO;
        }
        call->server = arg;
        call->mhd = mhd;
        *ret_call = call;
        if (!is_proven(call)) {
            return MHD_NO; /* closes the connection */
        }
        if (announced_too_long(call)) {
            call->over_limit = true;
            answer(call, method, path);
        }
    } else if (*data_len > 0) {
        keep_body(call, data, *data_len);
        *data_len = 0;
    } else if (!call->replied) {
        answer(call, method, path);
    }
    return MHD_YES;
}

/* ---- connections ---- */

static void shut(void *arg)
{
    struct connection *connection = arg;
    /* libmicrohttpd owns the descriptor: it meets the end of it and closes. */
    connection->shut = true;
    shutdown(connection->fd, SHUT_RDWR);
}

static void on_proven(void *arg)
{
    struct connection *connection = arg;
    connection->server->unproven--;
    if (!connection->shut) {
        timer_start(connection->timer, connection->server->request_ms);
    }
}

/* Too many knock: the oldest of them has had the most time. */
static void bound_unproven(struct server *server)
{
    struct connection *connection;
    unsigned going = 0;
    TAILQ_FOREACH(connection, &server->connections, link)
    {
        going += connection->shut && !connection->peer.proven ? 1 : 0;
    }
    TAILQ_FOREACH(connection, &server->connections, link)
    {
        if (server->unproven - going <= SERVER_UNPROVEN_MAX) {
            return;
        }
        if (!connection->peer.proven && !connection->shut) {
            (void)snprintf(connection->peer.why, sizeof connection->peer.why,
                           "too many handshakes are under way");
            shut(connection);
            going++;
        }
    }
}

static void demand_certificate(struct connection *connection, struct MHD_Connection *mhd)
{
    struct server *server = connection->server;
    const struct sockaddr *from =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    connection->keys = tls_keys_hold(server->keys);
    connection->session =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
    connection->peer.done = on_proven;
    connection->peer.arg = connection;
    connection->place = gate_enter(&server->gate, from, clock_now_ms());
    if (getnameinfo(from,
                    from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                : sizeof(struct sockaddr_in),
                    connection->from, sizeof connection->from, NULL, 0, NI_NUMERICHOST) != 0) {
        connection->from[0] = '\0';
    }
    tls_demand(server->keys, connection->session, &connection->peer);
    server->unproven++;
    timer_start(connection->timer, server->handshake_ms);
    bound_unproven(server);
}

static void take_leave(struct connection *connection)
{
    struct server *server = connection->server;
    gate_leave(&server->gate, connection->place);
    if (!connection->peer.proven) {
        server->unproven--;
        if (server->refused != NULL) {
            server->refused(server->arg, connection->from,
                            connection->peer.why[0] != '\0'
                                ? connection->peer.why
                                : "no TLS handshake with a client's certificate");
        }
    }
    /* Its session still points at them until this run of the daemon is over. */
    assert(server->leaving_len < (int)(sizeof server->leaving / sizeof server->leaving[0]));
    server->leaving[server->leaving_len++] = connection->keys;
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **ret_connection,
                          enum MHD_ConnectionNotificationCode code)
{
    struct server *server = arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct connection *connection = calloc(1, sizeof *connection);
        assert(connection != NULL);
        connection->server = server;
        connection->fd = descriptor_of(mhd);
        connection->timer = timer_new(server->loop, shut, connection);
        timer_start(connection->timer, server->request_ms);
        TAILQ_INSERT_TAIL(&server->connections, connection, link);
        *ret_connection = connection;
        if (server->keys != NULL) {
            demand_certificate(connection, mhd);
        }
    } else if (*ret_connection != NULL) {
        struct connection *connection = *ret_connection;
        *ret_connection = NULL;
        server->place_free = true;
        if (connection->keys != NULL) {
            take_leave(connection);
        }
        timer_free(connection->timer);
        TAILQ_REMOVE(&server->connections, connection, link);
        free(connection);
    }
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **ret_call,
                         enum MHD_RequestTerminationCode code)
{
    (void)code;
    struct server *server = arg;
    struct server_call *call = *ret_call;
    if (call != NULL) {
        free(call->body);
        free(call);
        *ret_call = NULL;
    }
    /* The next request on this connection has its own time. */
    struct connection *connection = connection_of(mhd);
    if (connection != NULL) {
        timer_start(connection->timer, server->request_ms);
    }
}

/* ---- the daemon on the loop ---- */

static void drive(struct server *server)
{
    assert(!server->running);
    server->running = true;
    server->place_free = false;
    MHD_run(server->daemon);
    server->running = false;
    while (server->leaving_len > 0) {
        tls_keys_free(server->leaving[--server->leaving_len]);
    }
    MHD_UNSIGNED_LONG_LONG in_ms;
    if (server->place_free) {
        /* At its limit libmicrohttpd stops accepting, and begins again only when it is run. */
        timer_start(server->timer, 0);
    } else if (MHD_get_timeout(server->daemon, &in_ms) == MHD_YES) {
        timer_start(server->timer, in_ms);
    } else {
        timer_stop(server->timer);
    }
}

static void on_ready(void *arg, int ready)
{
    (void)ready;
    drive(arg);
}

static void on_timer(void *arg)
{
    drive(arg);
}

/* ---- accepting, on HTTPS ---- */

static void pause_accepting(struct server *server, uint64_t for_ms)
{
    fd_watch_want(server->listening, 0);
    timer_start(server->pause, for_ms);
}

static void on_pause_over(void *arg)
{
    struct server *server = arg;
    fd_watch_want(server->listening, FD_READABLE);
}

/* True: look for another one. */
static bool accept_one(struct server *server)
{
    union {
        struct sockaddr any;
        struct sockaddr_storage room;
    } from;
    socklen_t len = sizeof from;
    int fd = accept4(server->listen_fd, &from.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(server, NO_PLACE_MS);
        }
        return false;
    }
    if (!gate_ask(&server->gate, &from.any, clock_now_ms())) {
        close(fd);
        return true;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)MHD_add_connection(server->daemon, fd, &from.any, len); /* closes it when it cannot */
    /* Now, so that the next one finds this one counted. */
    drive(server);
    return true;
}

static void on_knock(void *arg, int ready)
{
    (void)ready;
    struct server *server = arg;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        uint64_t wait_ms = gate_wait_ms(&server->gate, clock_now_ms());
        if (wait_ms > 0) {
            pause_accepting(server, wait_ms);
            return;
        }
        if (!accept_one(server)) {
            return;
        }
    }
}

/* ---- start and end ---- */

static struct MHD_Daemon *make_daemon(struct server *server, int fd, unsigned connections_max)
{
    const struct MHD_OptionItem on_socket[] = {{MHD_OPTION_LISTEN_SOCKET, fd, NULL},
                                               {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem on_https[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, tls_no_source()},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL}};
    bool tls = server->keys != NULL;
    return MHD_start_daemon(MHD_USE_EPOLL | (tls ? MHD_USE_TLS | MHD_USE_NO_LISTEN_SOCKET : 0), 0,
                            NULL, NULL, on_part, server, MHD_OPTION_CONNECTION_LIMIT,
                            connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            (size_t)HEAD_MAX_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed,
                            server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
                            MHD_OPTION_ARRAY, tls ? on_https : on_socket, MHD_OPTION_END);
}

static int start_daemon(struct server *server, int fd, unsigned connections_max,
                        struct err *ret_err)
{
    server->daemon = make_daemon(server, fd, connections_max);
    if (server->daemon == NULL) {
        return err_set(ret_err, ERR_SYSTEM, "the HTTP server cannot be started: %s",
                       strerror(errno));
    }
    int epoll_fd = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    server->watch = fd_watch_new(server->loop, epoll_fd, on_ready, server);
    fd_watch_want(server->watch, FD_READABLE);
    server->timer = timer_new(server->loop, on_timer, server);
    timer_start(server->timer, 0);
    return 0;
}

/* The daemon has a place for each that the gate lets in. */
static void start_accepting(struct server *server, int fd, unsigned connections_max)
{
    const struct gate_limits limits = {.open_max = connections_max,
                                       .address_max = SERVER_ADDRESS_MAX,
                                       .per_second = SERVER_PER_SECOND,
                                       .address_per_second = SERVER_ADDRESS_PER_SECOND};
    gate_init(&server->gate, &limits, clock_now_ms());
    server->listen_fd = fd;
    server->listening = fd_watch_new(server->loop, fd, on_knock, server);
    fd_watch_want(server->listening, FD_READABLE);
    server->pause = timer_new(server->loop, on_pause_over, server);
}

struct server *server_new(struct loop *loop, const struct server_options *options,
                          struct err *ret_err)
{
    assert(options->handler != NULL && options->connections_max > 0);
    assert((options->listen != NULL) == (options->keys != NULL));
    struct server *server = calloc(1, sizeof *server);
    assert(server != NULL);
    server->loop = loop;
    server->handler = options->handler;
    server->refused = options->refused;
    server->arg = options->arg;
    server->body_limit = options->body_limit;
    server->request_ms = options->request_ms != 0 ? options->request_ms : SERVER_REQUEST_MS_DEFAULT;
    server->handshake_ms =
        options->handshake_ms != 0 ? options->handshake_ms : SERVER_HANDSHAKE_MS_DEFAULT;
    TAILQ_INIT(&server->connections);
    bool tls = options->listen != NULL;
    int fd = tls ? listen_tcp(options->listen, ret_err)
                 : listen_unix(options->unix_path, options->unix_group, &server->place, ret_err);
    if (fd < 0) {
        free(server);
        return NULL;
    }
    server->keys = tls ? tls_keys_hold(options->keys) : NULL;
    if (start_daemon(server, fd, options->connections_max, ret_err) < 0) {
        close(fd);
        listen_remove(&server->place);
        tls_keys_free(server->keys);
        free(server);
        return NULL;
    }
    if (tls) {
        start_accepting(server, fd, options->connections_max);
    }
    return server;
}

void server_renew(struct server *server, struct tls_keys *keys)
{
    assert(server->keys != NULL);
    struct tls_keys *before = server->keys;
    server->keys = tls_keys_hold(keys);
    tls_keys_free(before);
}

void server_free(struct server *server)
{
    if (server == NULL) {
        return;
    }
    assert(!server->running);
    /* First, since libmicrohttpd closes the descriptor that is watched. */
    fd_watch_free(server->watch);
    timer_free(server->timer);
    if (server->keys != NULL) {
        fd_watch_free(server->listening);
        timer_free(server->pause);
        close(server->listen_fd);
    }
    listen_remove(&server->place);
    server->refused = NULL; /* who was still knocking was not refused */
    MHD_stop_daemon(server->daemon);
    assert(TAILQ_EMPTY(&server->connections));
    while (server->leaving_len > 0) {
        tls_keys_free(server->leaving[--server->leaving_len]);
    }
    tls_keys_free(server->keys);
    free(server);
}
