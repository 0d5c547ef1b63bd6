/*
 * etcd_fixture.h - real etcd members on loopback, a TCP proxy with faults, and a server that says
 * what it is told.
 *
 * Members live in a directory of their own under /tmp and are ended by their process ids; a member
 * whose test died is ended by the kernel (parent-death signal). The proxy and the scripted server
 * run on the test's own loop.
 */
#ifndef FAILOVER_TESTS_ETCD_FIXTURE_H
#define FAILOVER_TESTS_ETCD_FIXTURE_H

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/base/loop.h"
#include "controller/etcd/client.h"

#define FIXTURE_MEMBERS_MAX 3
#define FIXTURE_WAIT_MS     15000

struct etcd_fixture {
    char directory[64];
    int members;
    pid_t pids[FIXTURE_MEMBERS_MAX];
    int ports[FIXTURE_MEMBERS_MAX];
    char urls[FIXTURE_MEMBERS_MAX][64];
    char initial[256];
    char extra[4][64]; /* more arguments */
    int extra_len;
};

/* A port that was free a moment ago. */
static inline int fixture_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline int fixture_remove_one(const char *path, const struct stat *info, int type,
                                     struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void fixture_exec(const char *const arguments[], const char *log_path)
{
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(log, 1);
    dup2(log, 2);
    execvp(arguments[0], (char *const *)arguments);
    _exit(127);
}

static inline void fixture_start_member(struct etcd_fixture *fixture, int i)
{
    char name[16], data[96], peer[64], log_path[96];
    const char *arguments[32] = {"etcd",
                                 "--name",
                                 name,
                                 "--data-dir",
                                 data,
                                 "--listen-client-urls",
                                 fixture->urls[i],
                                 "--advertise-client-urls",
                                 fixture->urls[i],
                                 "--listen-peer-urls",
                                 peer,
                                 "--initial-advertise-peer-urls",
                                 peer,
                                 "--initial-cluster",
                                 fixture->initial,
                                 "--heartbeat-interval",
                                 "50",
                                 "--election-timeout",
                                 "500"};
    int len = 19;

    for (int k = 0; k < fixture->extra_len; k++) {
        arguments[len++] = fixture->extra[k];
    }
    snprintf(name, sizeof name, "m%d", i);
    snprintf(data, sizeof data, "%s/m%d", fixture->directory, i);
    snprintf(log_path, sizeof log_path, "%s/m%d.log", fixture->directory, i);
    sscanf(strstr(fixture->initial, name), "%*[^=]=%63[^,]", peer);
    fixture->pids[i] = fork();
    assert_true(fixture->pids[i] >= 0);
    if (fixture->pids[i] == 0) {
        fixture_exec(arguments, log_path);
    }
}

static inline void fixture_end_member(struct etcd_fixture *fixture, int i)
{
    if (fixture->pids[i] > 0) {
        kill(fixture->pids[i], SIGKILL);
        waitpid(fixture->pids[i], NULL, 0);
        fixture->pids[i] = 0;
    }
}

/* Runs `etcdctl ARGUMENTS...` against the first member; returns its exit status. */
static inline int fixture_ctl(struct etcd_fixture *fixture, const char *const arguments[])
{
    char log_path[96];
    const char *all[16] = {"etcdctl", "--endpoints", fixture->urls[0]};
    int len = 3, status = -1;
    pid_t pid;

    for (int i = 0; arguments[i]; i++) {
        all[len++] = arguments[i];
    }
    snprintf(log_path, sizeof log_path, "%s/ctl.log", fixture->directory);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fixture_exec(all, log_path);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define CTL(fixture, ...) fixture_ctl(fixture, (const char *const[]){__VA_ARGS__, NULL})

/* fixture->extra may be set before. Returns once all members answer. */
static inline void fixture_start(struct etcd_fixture *fixture, int members)
{
    uint64_t until_ms = clock_now_ms() + FIXTURE_WAIT_MS;

    strcpy(fixture->directory, "/tmp/etcd-test-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->members = members;
    fixture->initial[0] = '\0';
    for (int i = 0; i < members; i++) {
        size_t len = strlen(fixture->initial);

        fixture->ports[i] = fixture_port();
        snprintf(fixture->urls[i], sizeof fixture->urls[i], "http://127.0.0.1:%d",
                 fixture->ports[i]);
        snprintf(fixture->initial + len, sizeof fixture->initial - len, "%sm%d=http://127.0.0.1:%d",
                 i > 0 ? "," : "", i, fixture_port());
    }
    for (int i = 0; i < members; i++) {
        fixture_start_member(fixture, i);
    }
    while (CTL(fixture, "--command-timeout=1s", "endpoint", "health", "--cluster") != 0) {
        assert_true(clock_now_ms() < until_ms);
        usleep(20000);
    }
}

/* May be called twice: by the test, and by the group's teardown in case the test failed. */
static inline void fixture_end(struct etcd_fixture *fixture)
{
    for (int i = 0; i < fixture->members; i++) {
        fixture_end_member(fixture, i);
    }
    if (fixture->members > 0) {
        nftw(fixture->directory, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        fixture->members = 0;
    }
}

static inline struct etcd_config fixture_config(const struct etcd_fixture *fixture)
{
    struct etcd_config config = {.endpoints_len = fixture->members};

    for (int i = 0; i < fixture->members; i++) {
        snprintf(config.endpoints[i], sizeof config.endpoints[i], "%s", fixture->urls[i]);
    }
    return config;
}

/* ---- A proxy ---- */

enum proxy_mode {
    PROXY_PASS,
    PROXY_STALL,   /* nothing goes back to the client any more */
    PROXY_SWALLOW, /* the request goes through; instead of the answer the connection is closed */
    PROXY_CUT,     /* closed after cut_after more bytes of answers; then PROXY_PASS */
};

struct proxy_link {
    uv_tcp_t client, server;
    struct proxy *proxy;
    bool closing;
    int closed;
    struct proxy_link *next;
};

struct proxy {
    uv_tcp_t listener;
    bool listener_closed;
    int port, target_port;
    enum proxy_mode mode;
    size_t cut_after;

    int cuts;
    struct proxy_link *links;
};

static inline void proxy_on_closed(uv_handle_t *handle)
{
    struct proxy_link *link = handle->data;

    link->closed++;
}

static inline void proxy_close(struct proxy_link *link)
{
    if (!link->closing) {
        link->closing = true;
        uv_close((uv_handle_t *)&link->client, proxy_on_closed);
        uv_close((uv_handle_t *)&link->server, proxy_on_closed);
    }
}

static inline void proxy_on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *ret_buf)
{
    (void)handle;
    *ret_buf = uv_buf_init(malloc(size), (unsigned)size);
}

static inline void proxy_on_written(uv_write_t *request, int status)
{
    (void)status;
    free(request->data);
    free(request);
}

static inline void proxy_write(uv_tcp_t *to, const char *data, size_t len)
{
    uv_write_t *request = malloc(sizeof *request);
    uv_buf_t buf = uv_buf_init(malloc(len + 1), (unsigned)len);

    memcpy(buf.base, data, len);
    request->data = buf.base;
    if (uv_write(request, (uv_stream_t *)to, &buf, 1, proxy_on_written) < 0) {
        proxy_on_written(request, 0);
    }
}

static inline void proxy_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct proxy_link *link = stream->data;
    struct proxy *proxy = link->proxy;
    bool from_server = stream == (uv_stream_t *)&link->server;

    if (len < 0) {
        proxy_close(link);
    } else if (!from_server) {
        proxy_write(&link->server, buf->base, (size_t)len);
    } else if (proxy->mode == PROXY_SWALLOW) {
        proxy->cuts++;
        proxy_close(link);
    } else if (proxy->mode == PROXY_CUT && (size_t)len >= proxy->cut_after) {
        uv_buf_t part = uv_buf_init(buf->base, (unsigned)proxy->cut_after);

        proxy->mode = PROXY_PASS;
        proxy->cuts++;
        uv_try_write((uv_stream_t *)&link->client, &part, 1);
        proxy_close(link);
    } else if (proxy->mode != PROXY_STALL) {
        proxy->cut_after -= proxy->mode == PROXY_CUT ? (size_t)len : 0;
        proxy_write(&link->client, buf->base, (size_t)len);
    }
    free(buf->base);
}

static inline void proxy_on_connected(uv_connect_t *request, int status)
{
    struct proxy_link *link = request->data;

    free(request);
    if (status < 0 || link->closing) {
        proxy_close(link);
        return;
    }
    uv_read_start((uv_stream_t *)&link->server, proxy_on_alloc, proxy_on_read);
    uv_read_start((uv_stream_t *)&link->client, proxy_on_alloc, proxy_on_read);
}

static inline void proxy_on_client(uv_stream_t *listener, int status)
{
    struct proxy *proxy = listener->data;
    struct proxy_link *link = calloc(1, sizeof *link);
    uv_connect_t *request = calloc(1, sizeof *request);
    struct sockaddr_in address;

    assert_int_equal(status, 0);
    uv_tcp_init(listener->loop, &link->client);
    uv_tcp_init(listener->loop, &link->server);
    link->proxy = proxy;
    link->client.data = link->server.data = request->data = link;
    link->next = proxy->links;
    proxy->links = link;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&link->client), 0);
    uv_ip4_addr("127.0.0.1", proxy->target_port, &address);
    uv_tcp_connect(request, &link->server, (struct sockaddr *)&address, proxy_on_connected);
}

static inline void proxy_start(struct proxy *proxy, struct loop *loop, int target_port)
{
    struct sockaddr_in address;
    int len = sizeof address;

    *proxy = (struct proxy){.target_port = target_port};
    uv_tcp_init(loop_uv(loop), &proxy->listener);
    proxy->listener.data = proxy;
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&proxy->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&proxy->listener, 16, proxy_on_client), 0);
    uv_tcp_getsockname(&proxy->listener, (struct sockaddr *)&address, &len);
    proxy->port = ntohs(address.sin_port);
}

static inline void proxy_cut_all(struct proxy *proxy)
{
    for (struct proxy_link *link = proxy->links; link; link = link->next) {
        proxy_close(link);
    }
}

static inline void proxy_on_listener_closed(uv_handle_t *handle)
{
    ((struct proxy *)handle->data)->listener_closed = true;
}

static inline void proxy_end(struct proxy *proxy, struct loop *loop)
{
    bool never = false;

    uv_close((uv_handle_t *)&proxy->listener, proxy_on_listener_closed);
    proxy_cut_all(proxy);
    while (!proxy->listener_closed) {
        loop_run_until(loop, &never, 1);
    }
    while (proxy->links) {
        struct proxy_link *link = proxy->links;

        if (link->closed < 2) {
            loop_run_until(loop, &never, 1);
            continue;
        }
        proxy->links = link->next;
        free(link);
    }
}

static inline void proxy_url(const struct proxy *proxy, char ret_url[ETCD_ENDPOINT_SIZE])
{
    snprintf(ret_url, ETCD_ENDPOINT_SIZE, "http://127.0.0.1:%d", proxy->port);
}

/* ---- A server that says what it is told ---- */

/*
 * What no etcd can be made to send at will. Each connection gets one answer and is closed by the
 * client or the end: requests to /v3/watch the next stream, all others `answer`. NULL: nothing,
 * ever.
 */
struct scripted {
    uv_tcp_t listener;
    bool listener_closed;
    int port;
    const char *answer;         /* the whole HTTP answer */
    const char *const *streams; /* NULL ends; then nothing more is said */
    int streams_used;
    struct scripted_link *links;
};

struct scripted_link {
    uv_tcp_t client;
    struct scripted *server;
    char request[2048];
    size_t len;
    bool closing, closed;
    struct scripted_link *next;
};

static inline void scripted_on_closed(uv_handle_t *handle)
{
    ((struct scripted_link *)handle->data)->closed = true;
}

static inline void scripted_close(struct scripted_link *link)
{
    if (!link->closing) {
        link->closing = true;
        uv_close((uv_handle_t *)&link->client, scripted_on_closed);
    }
}

static inline const char *scripted_choose(struct scripted *server, const char *request)
{
    if (strncmp(request, "POST /v3/watch ", 15) != 0) {
        return server->answer;
    }
    return server->streams[server->streams_used] ? server->streams[server->streams_used++] : NULL;
}

static inline void scripted_on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf)
{
    struct scripted_link *link = stream->data;
    const char *text, *body, *length;

    if (len > 0) {
        assert_true(link->len + (size_t)len < sizeof link->request);
        memcpy(link->request + link->len, buf->base, (size_t)len);
        link->len += (size_t)len;
    }
    free(buf->base);
    if (len < 0) {
        scripted_close(link);
        return;
    }
    body = strstr(link->request, "\r\n\r\n");
    length = strstr(link->request, "Content-Length: ");
    if (!body || !length || strlen(body + 4) < strtoul(length + 16, NULL, 10)) {
        return;
    }
    text = scripted_choose(link->server, link->request);
    link->len = 0;
    if (text) {
        proxy_write(&link->client, text, strlen(text));
    }
}

static inline void scripted_on_client(uv_stream_t *listener, int status)
{
    struct scripted *server = listener->data;
    struct scripted_link *link = calloc(1, sizeof *link);

    assert_int_equal(status, 0);
    uv_tcp_init(listener->loop, &link->client);
    link->server = server;
    link->client.data = link;
    link->next = server->links;
    server->links = link;
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&link->client), 0);
    uv_read_start((uv_stream_t *)&link->client, proxy_on_alloc, scripted_on_read);
}

static inline void scripted_start(struct scripted *server, struct loop *loop)
{
    struct sockaddr_in address;
    int len = sizeof address;

    *server = (struct scripted){0};
    uv_tcp_init(loop_uv(loop), &server->listener);
    server->listener.data = server;
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&server->listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&server->listener, 16, scripted_on_client), 0);
    uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &len);
    server->port = ntohs(address.sin_port);
}

static inline void scripted_on_listener_closed(uv_handle_t *handle)
{
    ((struct scripted *)handle->data)->listener_closed = true;
}

static inline void scripted_end(struct scripted *server, struct loop *loop)
{
    bool never = false;

    uv_close((uv_handle_t *)&server->listener, scripted_on_listener_closed);
    while (!server->listener_closed) {
        loop_run_until(loop, &never, 1);
    }
    while (server->links) {
        struct scripted_link *link = server->links;

        scripted_close(link);
        if (!link->closed) {
            loop_run_until(loop, &never, 1);
            continue;
        }
        server->links = link->next;
        free(link);
    }
}

#endif
