/*
 * The happy path: a non-blocking connect, the socket becomes writable without an error, close,
 * done. A connect that fails or succeeds at once is told by the timer, from the loop like all
 * others.
 */
#include "probes/tcp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"

struct probe_tcp {
    struct loop *loop;
    struct sockaddr_storage peer;
    socklen_t peer_len; /* 0: the address is not numeric */
    uint32_t deadline_ms;
    probe_tcp_fn done;
    void *arg;
    struct timer *timer;
    struct fd_watch *watch;
    int fd;
    bool running;
    int told_late; /* errno of a connect that ended at once, -1: none */
    uint64_t asked_ms;
};

static enum cause errno_cause(int error)
{
    switch (error) {
    case 0: return CAUSE_OK;
    case ECONNREFUSED: return CAUSE_REFUSED;
    case ECONNRESET: return CAUSE_CUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ETIMEDOUT: return CAUSE_TIMED_OUT;
    default: return CAUSE_PROBER; /* no descriptors, no memory, no right: ours */
    }
}

static void stop(struct probe_tcp *probe)
{
    timer_stop(probe->timer);
    fd_watch_free(probe->watch);
    probe->watch = NULL;
    if (probe->fd >= 0) {
        close(probe->fd);
    }
    probe->fd = -1;
    probe->running = false;
}

/* Every probe ends here; the callback may free the probe. */
static void finish(struct probe_tcp *probe, int error)
{
    stop(probe);
    struct service_fact fact = {.asked_ms = probe->asked_ms, .answered_ms = clock_now_ms()};
    fact.cause = errno_cause(error);
    fact.latency_ms = (uint32_t)(fact.answered_ms - fact.asked_ms);
    if (error != 0) {
        snprintf(fact.detail, sizeof fact.detail, "connect: %s", strerror(error));
    }
    probe->done(probe->arg, &fact);
}

/* What the socket says about its connection: an errno, 0, or EINPROGRESS while it is on its way. */
static int connection_error(const struct probe_tcp *probe)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        return errno;
    }
    struct sockaddr_storage peer;
    len = sizeof peer;
    if (error == 0 && getpeername(probe->fd, (struct sockaddr *)&peer, &len) != 0) {
        return errno == ENOTCONN ? EINPROGRESS : errno;
    }
    return error;
}

static void on_ready(void *arg, int ready)
{
    (void)ready;
    struct probe_tcp *probe = arg;
    int error = connection_error(probe);
    if (error != EINPROGRESS) {
        finish(probe, error);
    }
}

static void on_timer(void *arg)
{
    struct probe_tcp *probe = arg;
    if (probe->told_late >= 0) {
        finish(probe, probe->told_late);
        return;
    }
    /* After a stall of ours the connection may stand already. */
    int error = connection_error(probe);
    finish(probe, error == EINPROGRESS ? ETIMEDOUT : error);
}

static void set_peer(struct probe_tcp *probe, const char *address, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&probe->peer;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&probe->peer;
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        probe->peer_len = sizeof *v4;
    } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        probe->peer_len = sizeof *v6;
    }
}

struct probe_tcp *probe_tcp_new(struct loop *loop, const struct probe_tcp_params *params)
{
    assert(params->done != NULL && params->deadline_ms > 0);
    struct probe_tcp *probe = calloc(1, sizeof *probe);
    assert(probe != NULL);
    *probe = (struct probe_tcp){
        .loop = loop,
        .deadline_ms = params->deadline_ms,
        .done = params->done,
        .arg = params->arg,
        .fd = -1,
    };
    set_peer(probe, params->address, params->port);
    probe->timer = timer_new(loop, on_timer, probe);
    return probe;
}

/* Starts connecting; returns what connect() says: 0, EINPROGRESS, or why not. */
static int start_connect(struct probe_tcp *probe)
{
    if (probe->peer_len == 0) {
        return EINVAL;
    }
    probe->fd = socket(probe->peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe->fd < 0) {
        return errno;
    }
    int rc = connect(probe->fd, (struct sockaddr *)&probe->peer, probe->peer_len);
    return rc == 0 ? 0 : errno;
}

void probe_tcp_ask(struct probe_tcp *probe)
{
    assert(!probe->running);
    probe->running = true;
    probe->asked_ms = clock_now_ms();
    int error = start_connect(probe);
    if (error != EINPROGRESS) {
        probe->told_late = error;
        timer_start(probe->timer, 0);
        return;
    }
    probe->told_late = -1;
    probe->watch = fd_watch_new(probe->loop, probe->fd, on_ready, probe);
    fd_watch_want(probe->watch, FD_WRITABLE);
    timer_start(probe->timer, probe->deadline_ms);
}

bool probe_tcp_busy(const struct probe_tcp *probe)
{
    return probe->running;
}

void probe_tcp_free(struct probe_tcp *probe)
{
    if (probe == NULL) {
        return;
    }
    stop(probe);
    timer_free(probe->timer);
    free(probe);
}
