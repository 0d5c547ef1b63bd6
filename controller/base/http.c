/*
 * The happy path: http_start() hands an easy handle to curl; curl's callbacks arm descriptors and
 * one timer; each turn of the loop feeds what happened back to curl, collects the transfers that
 * ended, and delivers from a queue of operations with something to say.
 *
 * Failures: the total deadline or the silence of a stream is counted by timers of our own, since a
 * library's timeout alone is not trusted; an answer over its limit ends the transfer; a transfer
 * that cannot even be begun ends from a timer of zero; a multi handle that reports an error is
 * thrown away with its connections, its transfers end as unreachable, and a new one takes its
 * place.
 */
#include "controller/base/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"

#define CONNECT_MS           10000 /* of a stream without a deadline */
#define IDLE_CONNECTIONS_MAX 64

struct http_socket {
    struct http *http;
    struct fd_watch *watch;
    curl_socket_t fd;
    LIST_ENTRY(http_socket) link;
};

struct http_op {
    struct http *http;
    CURL *easy;
    struct curl_slist *headers;
    http_data_fn on_data;
    http_done_fn done;
    void *arg;
    struct timer *deadline;
    struct timer *silence;
    uint64_t deadline_ms;
    uint64_t idle_ms;
    uint64_t started_ms;
    char *body; /* of a stream: what was not delivered yet */
    size_t body_len;
    size_t body_size;
    size_t body_limit;
    char curl_text[CURL_ERROR_SIZE];
    struct http_answer answer;
    bool over_limit;
    bool once;
    bool in_multi;
    bool ended;    /* the answer stands; `done` follows */
    bool canceled; /* from inside its own callback */
    bool queued;
    uint64_t order; /* of queueing */
    TAILQ_ENTRY(http_op) ready_link;
    LIST_ENTRY(http_op) link;
};

struct http {
    struct loop *loop;
    CURLM *multi;
    struct timer *curl_timer;
    struct timer *deliver_timer;
    LIST_HEAD(, http_op) ops;
    LIST_HEAD(, http_socket) sockets;
    TAILQ_HEAD(, http_op) ready; /* with data or an answer to deliver */
    uint64_t next_order;
    struct http_op *delivering;
    bool freed; /* from inside a callback */
};

static void multi_new(struct http *http);

/* ---- ends ---- */

static void queue(struct http_op *op)
{
    if (!op->queued) {
        op->queued = true;
        op->order = op->http->next_order++;
        TAILQ_INSERT_TAIL(&op->http->ready, op, ready_link);
    }
}

static void detach(struct http_op *op)
{
    if (op->in_multi) {
        op->in_multi = false;
        curl_multi_remove_handle(op->http->multi, op->easy);
    }
    if (op->queued) {
        op->queued = false;
        TAILQ_REMOVE(&op->http->ready, op, ready_link);
    }
    timer_stop(op->deadline);
    timer_stop(op->silence);
}

static void release(struct http_op *op)
{
    detach(op);
    LIST_REMOVE(op, link);
    timer_free(op->deadline);
    timer_free(op->silence);
    if (op->easy != NULL) {
        curl_easy_cleanup(op->easy);
    }
    curl_slist_free_all(op->headers);
    free(op->body);
    free(op);
}

/* Every ending that will be reported passes here; the error, if any, is in op->answer already. */
static void end(struct http_op *op)
{
    assert(!op->ended);
    detach(op);
    op->ended = true;
    if (op->easy != NULL) {
        long status = 0;
        curl_easy_getinfo(op->easy, CURLINFO_RESPONSE_CODE, &status);
        op->answer.status = (int)status;
    }
    op->answer.took_ms = clock_now_ms() - op->started_ms;
    queue(op);
}

static void translate(struct http_op *op, CURLcode code)
{
    struct err *err = &op->answer.err;
    const char *text = op->curl_text[0] != '\0' ? op->curl_text : curl_easy_strerror(code);
    if (op->over_limit) {
        err_set(err, ERR_LIMIT, "the answer's body has over %zu bytes", op->body_limit);
    } else if (code == CURLE_ABORTED_BY_CALLBACK) {
        err_set(err, ERR_UNREACHABLE, "the connection broke before an answer came");
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        err_set(err, ERR_TIMEOUT, "%s", text);
    } else if (code == CURLE_URL_MALFORMAT) {
        err_set(err, ERR_INVALID, "%s", text);
    } else if (code != CURLE_OK) {
        long os_errno = 0;
        curl_easy_getinfo(op->easy, CURLINFO_OS_ERRNO, &os_errno);
        op->answer.refused = code == CURLE_COULDNT_CONNECT && os_errno == ECONNREFUSED;
        err_set(err, ERR_UNREACHABLE, "%s", text);
    }
}

static void collect_ended(struct http *http)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(http->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        /* The message dies with the handle's removal. */
        CURLcode code = message->data.result;
        struct http_op *op = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&op);
        assert(op != NULL && op->in_multi);
        translate(op, code);
        end(op);
    }
}

/* ---- delivery ---- */

static void deliver_data(struct http_op *op)
{
    size_t len = op->body_len;
    op->body_len = 0;
    if (op->idle_ms != 0 && !op->ended) {
        timer_start(op->silence, op->idle_ms);
    }
    if (!op->on_data(op->arg, op->body, len) && !op->canceled) {
        err_set(&op->answer.err, ERR_CANCELED, "ended by the reader");
        if (!op->ended) {
            end(op);
        }
    }
}

static void deliver_done(struct http_op *op)
{
    bool stream = op->on_data != NULL;
    op->answer.body = stream || op->body == NULL ? "" : op->body;
    op->answer.body_len = stream ? 0 : op->body_len;
    op->done(op->arg, &op->answer);
}

static void deliver(struct http_op *op)
{
    struct http *http = op->http;
    http->delivering = op;
    if (op->on_data != NULL && op->body_len > 0) {
        deliver_data(op);
    }
    bool over = op->ended;
    if (over && !op->canceled) {
        deliver_done(op);
    }
    http->delivering = NULL;
    if (over || op->canceled) {
        release(op);
    }
}

static void destroy(struct http *http);

/* What is queued while this runs (a request that failed at once) waits for the next turn. */
static void deliver_all(struct http *http)
{
    assert(http->delivering == NULL);
    uint64_t first_new = http->next_order;
    struct http_op *op;
    /* The analyzer does not see that what is freed has left the queue. */
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    while (!http->freed && (op = TAILQ_FIRST(&http->ready)) != NULL && op->order < first_new) {
        op->queued = false;
        TAILQ_REMOVE(&http->ready, op, ready_link);
        deliver(op);
    }
    if (http->freed) {
        destroy(http);
    } else if (!TAILQ_EMPTY(&http->ready)) {
        timer_start(http->deliver_timer, 0);
    }
}

/* ---- curl's side: its callbacks only arm ---- */

static void turn(struct http *http, curl_socket_t fd, int what);

static void on_socket_ready(void *arg, int ready)
{
    struct http_socket *sock = arg;
    int what =
        (ready & FD_READABLE ? CURL_CSELECT_IN : 0) | (ready & FD_WRITABLE ? CURL_CSELECT_OUT : 0);
    turn(sock->http, sock->fd, what);
}

static void socket_free(struct http_socket *sock)
{
    fd_watch_free(sock->watch);
    LIST_REMOVE(sock, link);
    free(sock);
}

static void free_sockets(struct http *http)
{
    struct http_socket *next;
    for (struct http_socket *sock = LIST_FIRST(&http->sockets); sock != NULL; sock = next) {
        next = LIST_NEXT(sock, link);
        socket_free(sock);
    }
}

static int arm_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    (void)easy;
    struct http *http = arg;
    struct http_socket *sock = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (sock != NULL) {
            curl_multi_assign(http->multi, fd, NULL);
            socket_free(sock);
        }
        return 0;
    }
    if (sock == NULL) {
        sock = calloc(1, sizeof *sock);
        assert(sock != NULL);
        sock->http = http;
        sock->fd = fd;
        sock->watch = fd_watch_new(http->loop, fd, on_socket_ready, sock);
        LIST_INSERT_HEAD(&http->sockets, sock, link);
        curl_multi_assign(http->multi, fd, sock);
    }
    fd_watch_want(sock->watch, (what & CURL_POLL_IN ? FD_READABLE : 0) |
                                   (what & CURL_POLL_OUT ? FD_WRITABLE : 0));
    return 0;
}

static int arm_timer(CURLM *multi, long in_ms, void *arg)
{
    (void)multi;
    struct http *http = arg;
    if (in_ms < 0) {
        timer_stop(http->curl_timer);
    } else {
        timer_start(http->curl_timer, (uint64_t)in_ms);
    }
    return 0;
}

static size_t keep_body(char *data, size_t size, size_t count, void *arg)
{
    struct http_op *op = arg;
    size_t len = size * count;
    if (len > op->body_limit - op->body_len) {
        op->over_limit = true;
        return CURL_WRITEFUNC_ERROR;
    }
    if (op->body_len + len + 1 > op->body_size) {
        size_t new_size = 2 * (op->body_len + len + 1);
        char *bigger = realloc(op->body, new_size);
        assert(bigger != NULL);
        op->body = bigger;
        op->body_size = new_size;
    }
    memcpy(op->body + op->body_len, data, len);
    op->body_len += len;
    op->body[op->body_len] = '\0';
    if (op->on_data != NULL) {
        queue(op);
    }
    return len;
}

/* A handle that reported an error is not used again. */
static void rebuild(struct http *http, CURLMcode code)
{
    struct http_op *op;
    LIST_FOREACH(op, &http->ops, link)
    {
        if (op->in_multi) {
            err_set(&op->answer.err, ERR_UNREACHABLE, "the HTTP client was restarted: %s",
                    curl_multi_strerror(code));
            end(op);
        }
    }
    curl_multi_cleanup(http->multi);
    free_sockets(http);
    timer_stop(http->curl_timer);
    multi_new(http);
}

static void turn(struct http *http, curl_socket_t fd, int what)
{
    int running;
    CURLMcode code = curl_multi_socket_action(http->multi, fd, what, &running);
    /* Also when nothing runs any more: the last completion waits there. */
    collect_ended(http);
    if (code != CURLM_OK) {
        rebuild(http, code);
    }
    deliver_all(http);
}

static void on_curl_timer(void *arg)
{
    turn(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_deliver_timer(void *arg)
{
    deliver_all(arg);
}

static void multi_new(struct http *http)
{
    http->multi = curl_multi_init();
    assert(http->multi != NULL);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, arm_socket);
    curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, arm_timer);
    curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
    /* Left alone, curl keeps four for each request that runs, and closes the idle ones beyond:
     * those that are kept warm for a bad day first. */
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX);
}

/* ---- requests ---- */

static void on_deadline(void *arg)
{
    struct http_op *op = arg;
    err_set(&op->answer.err, ERR_TIMEOUT, "no whole answer within %llu ms",
            (unsigned long long)op->deadline_ms);
    end(op);
    deliver_all(op->http);
}

static void on_silence(void *arg)
{
    struct http_op *op = arg;
    err_set(&op->answer.err, ERR_TIMEOUT, "nothing came for %llu ms",
            (unsigned long long)op->idle_ms);
    end(op);
    deliver_all(op->http);
}

/* An option that this libcurl does not have is found by the first request ever made. */
#define SET(easy, option, value)                                                                   \
    do {                                                                                           \
        CURLcode code_ = curl_easy_setopt(easy, option, value);                                    \
        assert(code_ == CURLE_OK);                                                                 \
        (void)code_;                                                                               \
    } while (0)

/* A connection stands and the request goes out now; for the second time, if curl repeats it. */
static int on_sending(void *arg, char *primary_ip, char *local_ip, int primary_port, int local_port)
{
    (void)primary_ip;
    (void)local_ip;
    (void)primary_port;
    (void)local_port;
    struct http_op *op = arg;
    if (op->answer.sent && op->once) {
        return CURL_PREREQFUNC_ABORT;
    }
    op->answer.sent = true;
    return CURL_PREREQFUNC_OK;
}

static void set_transport(struct http_op *op, const struct http_request *request)
{
    CURL *easy = op->easy;
    uint64_t within_ms = request->deadline_ms != 0 ? request->deadline_ms : CONNECT_MS;
    SET(easy, CURLOPT_NOSIGNAL, 1L);
    SET(easy, CURLOPT_PREREQFUNCTION, on_sending);
    SET(easy, CURLOPT_PREREQDATA, op);
    SET(easy, CURLOPT_TIMEOUT_MS, (long)request->deadline_ms);
    SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)within_ms);
    SET(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(easy, CURLOPT_FOLLOWLOCATION, 0L);
    SET(easy, CURLOPT_NOPROXY, "*");
    SET(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    SET(easy, CURLOPT_TCP_KEEPIDLE, 5L);
    SET(easy, CURLOPT_TCP_KEEPINTVL, 2L);
    /* Without it, giving up a request waits for its name lookup to end. */
    SET(easy, CURLOPT_QUICK_EXIT, 1L);
    if (request->fresh) {
        SET(easy, CURLOPT_FRESH_CONNECT, 1L);
        SET(easy, CURLOPT_FORBID_REUSE, 1L);
    }
    if (request->unix_socket != NULL) {
        SET(easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket);
    }
    SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (request->tls != NULL && request->tls->ca_file != NULL) {
        SET(easy, CURLOPT_CAINFO, request->tls->ca_file);
        SET(easy, CURLOPT_CAPATH, NULL);
    }
    if (request->tls != NULL && request->tls->cert_file != NULL) {
        SET(easy, CURLOPT_SSLCERT, request->tls->cert_file);
    }
    if (request->tls != NULL && request->tls->key_file != NULL) {
        SET(easy, CURLOPT_SSLKEY, request->tls->key_file);
    }
}

static void add_header(struct http_op *op, const char *header)
{
    struct curl_slist *longer = curl_slist_append(op->headers, header);
    assert(longer != NULL);
    op->headers = longer;
}

static void set_message(struct http_op *op, const struct http_request *request)
{
    CURL *easy = op->easy;
    const char *method = request->method;
    bool has_type = false;
    for (int i = 0; i < HTTP_HEADERS_MAX && request->headers[i] != NULL; i++) {
        add_header(op, request->headers[i]);
        has_type |= strncasecmp(request->headers[i], "Content-Type:", 13) == 0;
    }
    /* curl would wait a second for "100 Continue", and call every body a form. */
    add_header(op, "Expect:");
    if (!has_type) {
        add_header(op, "Content-Type:");
    }
    SET(easy, CURLOPT_HTTPHEADER, op->headers);
    SET(easy, CURLOPT_USERAGENT, "failover/" FAILOVER_VERSION);
    if (request->body != NULL || (method != NULL && strcmp(method, "POST") == 0)) {
        SET(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
        SET(easy, CURLOPT_COPYPOSTFIELDS, request->body != NULL ? request->body : "");
    }
    if (method != NULL && strcmp(method, "HEAD") == 0) {
        SET(easy, CURLOPT_NOBODY, 1L);
    } else if (method != NULL) {
        SET(easy, CURLOPT_CUSTOMREQUEST, method);
    }
    SET(easy, CURLOPT_URL, request->url);
    SET(easy, CURLOPT_WRITEFUNCTION, keep_body);
    SET(easy, CURLOPT_WRITEDATA, op);
    SET(easy, CURLOPT_ERRORBUFFER, op->curl_text);
    SET(easy, CURLOPT_PRIVATE, op);
}

static void start_clocks(struct http_op *op)
{
    op->started_ms = clock_now_ms();
    op->deadline = timer_new(op->http->loop, on_deadline, op);
    op->silence = timer_new(op->http->loop, on_silence, op);
    if (op->deadline_ms != 0) {
        timer_start(op->deadline, op->deadline_ms);
    }
    if (op->idle_ms != 0) {
        timer_start(op->silence, op->idle_ms);
    }
}

struct http_op *http_start(struct http *http, const struct http_request *request)
{
    assert(!http->freed && request->url != NULL && request->done != NULL);
    assert(request->deadline_ms > 0 || request->on_data != NULL);
    struct http_op *op = calloc(1, sizeof *op);
    assert(op != NULL);
    op->http = http;
    op->on_data = request->on_data;
    op->done = request->done;
    op->arg = request->arg;
    op->deadline_ms = request->deadline_ms;
    op->once = request->once;
    op->idle_ms = request->on_data != NULL ? request->idle_ms : 0;
    op->body_limit = request->body_limit != 0 && request->on_data == NULL ? request->body_limit
                                                                          : HTTP_BODY_LIMIT_DEFAULT;
    LIST_INSERT_HEAD(&http->ops, op, link);
    start_clocks(op);
    op->easy = curl_easy_init();
    assert(op->easy != NULL);
    set_transport(op, request);
    set_message(op, request);
    CURLMcode code = curl_multi_add_handle(http->multi, op->easy);
    if (code == CURLM_OK) {
        op->in_multi = true;
    } else {
        err_set(&op->answer.err, ERR_UNREACHABLE, "%s", curl_multi_strerror(code));
        end(op);
        timer_start(http->deliver_timer, 0);
    }
    return op;
}

void http_cancel(struct http_op *op)
{
    if (op == NULL) {
        return;
    }
    if (op == op->http->delivering) {
        detach(op);
        op->canceled = true;
    } else {
        release(op);
    }
}

/* ---- the client ---- */

struct http *http_new(struct loop *loop)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    assert(code == CURLE_OK);
    (void)code;
    struct http *http = calloc(1, sizeof *http);
    assert(http != NULL);
    http->loop = loop;
    LIST_INIT(&http->ops);
    LIST_INIT(&http->sockets);
    TAILQ_INIT(&http->ready);
    http->curl_timer = timer_new(loop, on_curl_timer, http);
    http->deliver_timer = timer_new(loop, on_deliver_timer, http);
    multi_new(http);
    return http;
}

static void destroy(struct http *http)
{
    struct http_op *next;
    for (struct http_op *op = LIST_FIRST(&http->ops); op != NULL; op = next) {
        next = LIST_NEXT(op, link);
        release(op);
    }
    curl_multi_cleanup(http->multi);
    free_sockets(http);
    timer_free(http->curl_timer);
    timer_free(http->deliver_timer);
    free(http);
    curl_global_cleanup();
}

void http_free(struct http *http)
{
    if (http == NULL) {
        return;
    }
    if (http->delivering != NULL) {
        http->delivering->canceled = true;
        http->freed = true;
    } else {
        destroy(http);
    }
}
