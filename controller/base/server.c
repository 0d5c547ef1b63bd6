/*
 * The happy path: libmicrohttpd's epoll descriptor is watched; when it is readable the daemon runs,
 * collects a body piece by piece, and the handler answers the whole request at once.
 *
 * Failures: a body over its limit is answered with 413 from its announced length, or else read to
 * its end and thrown away; libmicrohttpd's timeout begins again with each byte, so each connection
 * has a timer of ours that shuts it; the listening socket of a server that died is replaced.
 */
#include "controller/base/server.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/base/fd_watch.h"

#define BACKLOG        64
#define HEAD_MAX_BYTES 16384

struct connection {
    struct server *server;
    struct timer *timer;
    int fd;
    LIST_ENTRY(connection) link;
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
    bool running;    /* inside MHD_run() */
    bool place_free; /* a connection closed in this run */
    LIST_HEAD(, connection) connections;
    char unix_path[sizeof((struct sockaddr_un){0}).sun_path];
    dev_t socket_dev; /* of our socket: another one there is not ours to remove */
    ino_t socket_ino;
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
    shutdown(connection->fd, SHUT_RDWR);
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
        LIST_INSERT_HEAD(&server->connections, connection, link);
        *ret_connection = connection;
    } else if (*ret_connection != NULL) {
        struct connection *connection = *ret_connection;
        *ret_connection = NULL;
        server->place_free = true;
        timer_free(connection->timer);
        LIST_REMOVE(connection, link);
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
    struct connection *connection =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
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

/* ---- the listening socket ---- */

static int clear_path(const struct sockaddr_un *address, struct err *ret_err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0) {
        return errno == ENOENT
                   ? 0
                   : err_set(ret_err, ERR_SYSTEM, "%s: %s", address->sun_path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(ret_err, ERR_INVALID, "%s is there and is no socket: not replaced",
                       address->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "socket: %s", strerror(errno));
    }
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int why = errno;
    close(fd);
    if (rc == 0 || why != ECONNREFUSED) {
        return err_set(ret_err, ERR_CONFLICT, "%s is served by another process", address->sun_path);
    }
    if (unlink(address->sun_path) < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", address->sun_path, strerror(errno));
    }
    return 0;
}

static int find_group(const char *name, gid_t *ret_gid, struct err *ret_err)
{
    errno = 0;
    const struct group *group = getgrnam(name);
    if (group == NULL) {
        return err_set(ret_err, ERR_INVALID,
                       "there is no group \"%s\"%s%s; create it with groupadd", name,
                       errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    }
    *ret_gid = group->gr_gid;
    return 0;
}

/* Nobody can connect before listen(), so that the permissions are right from the first caller on.
 */
static int bind_and_listen(struct server *server, int fd, const struct sockaddr_un *address,
                           const char *group, struct err *ret_err)
{
    const char *path = address->sun_path;
    gid_t gid = (gid_t)-1;
    if (group != NULL && find_group(group, &gid, ret_err) < 0) {
        return -1;
    }
    mode_t before = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int why = errno;
    umask(before);
    if (rc < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(why));
    }
    struct stat st;
    if ((group != NULL && (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0)) ||
        lstat(path, &st) < 0 || listen(fd, BACKLOG) < 0) {
        err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
        unlink(path);
        return -1;
    }
    server->socket_dev = st.st_dev;
    server->socket_ino = st.st_ino;
    return 0;
}

static int open_socket(struct server *server, const struct server_options *options,
                       struct err *ret_err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(options->unix_path);
    if (len == 0 || len >= sizeof address.sun_path) {
        return err_set(ret_err, ERR_INVALID, "the socket's path has %zu bytes, must have 1 to %zu",
                       len, sizeof address.sun_path - 1);
    }
    memcpy(address.sun_path, options->unix_path, len + 1);
    memcpy(server->unix_path, options->unix_path, len + 1);
    if (clear_path(&address, ret_err) < 0) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "socket: %s", strerror(errno));
    }
    if (bind_and_listen(server, fd, &address, options->unix_group, ret_err) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void remove_socket(struct server *server)
{
    struct stat st;
    if (lstat(server->unix_path, &st) == 0 && st.st_dev == server->socket_dev &&
        st.st_ino == server->socket_ino) {
        unlink(server->unix_path);
    }
}

/* ---- start and end ---- */

static int start_daemon(struct server *server, int fd, unsigned connections_max,
                        struct err *ret_err)
{
    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, on_part, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_CONNECTION_LIMIT, connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HEAD_MAX_BYTES, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
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

struct server *server_new(struct loop *loop, const struct server_options *options,
                          struct err *ret_err)
{
    assert(options->handler != NULL && options->connections_max > 0);
    struct server *server = calloc(1, sizeof *server);
    assert(server != NULL);
    server->loop = loop;
    server->handler = options->handler;
    server->arg = options->arg;
    server->body_limit = options->body_limit;
    server->request_ms = options->request_ms != 0 ? options->request_ms : SERVER_REQUEST_MS_DEFAULT;
    LIST_INIT(&server->connections);
    int fd = open_socket(server, options, ret_err);
    if (fd < 0) {
        free(server);
        return NULL;
    }
    if (start_daemon(server, fd, options->connections_max, ret_err) < 0) {
        close(fd);
        remove_socket(server);
        free(server);
        return NULL;
    }
    return server;
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
    remove_socket(server);
    MHD_stop_daemon(server->daemon);
    assert(LIST_EMPTY(&server->connections));
    free(server);
}
