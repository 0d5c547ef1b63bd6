/*
 * shop_service.c - take payments or orders over HTTP, commit them to PostgreSQL, say so.
 *
 * A request: take an idle connection, or make one, or wait for one; insert; answer. All of it
 * happens within one deadline. There are at most CONNECTIONS_MAX, and at most LOGINS_MAX are made
 * at a time: a busy database is not made busier by logins, and of many that begin at one moment on
 * a machine that is short of time none would be done in its own. A connection that broke takes
 * every idle one with it, as most likely all have; one that was merely too slow is dropped alone.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <jansson.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shop.h"

#define CONNECTIONS_MAX  16
#define LOGINS_MAX       2
#define BODY_MAX         4096
#define CONNECT_US       400000 /* one attempt */
#define REQUEST_US       900000 /* the whole request; the load gives up after a second */
#define STATEMENT_MIN_US 50000  /* with less time left a statement is not begun */
#define HEALTH_US        500000
#define HEALTH_FRESH_US  1000000 /* an acknowledged commit this recent is health enough */

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* waits by CLOCK_MONOTONIC */
    PGconn *idle[CONNECTIONS_MAX];
    int idle_len;
    int open;            /* idle, in use, or being made */
    int logins;          /* of these, being made */
    unsigned generation; /* grows when a connection broke; older ones are not taken back */
};

struct service {
    const struct shop_options *options;
    struct pool pool;
    atomic_ullong counts[3]; /* by enum shop_outcome */
    atomic_ullong last_commit_us;
};

struct lease { /* a connection in use */
    PGconn *conn;
    unsigned generation;
};

struct upload { /* a request's body as it arrives */
    size_t len;
    bool too_long;
    char body[BODY_MAX];
};

static void pool_init(struct pool *pool)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* An idle connection, or the right to make one (conn NULL); false when neither came free in time.
 */
static bool take_turn(struct pool *pool, uint64_t deadline_us, struct lease *ret_lease)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_us / 1000000U),
                             .tv_nsec = (long)(deadline_us % 1000000U) * 1000};
    bool in_time = true;
    pthread_mutex_lock(&pool->lock);
    while (in_time && pool->idle_len == 0 &&
           (pool->open == CONNECTIONS_MAX || pool->logins == LOGINS_MAX)) {
        in_time = pthread_cond_timedwait(&pool->changed, &pool->lock, &until) == 0;
    }
    if (in_time) {
        ret_lease->conn = NULL;
        ret_lease->generation = pool->generation;
        if (pool->idle_len > 0) {
            ret_lease->conn = pool->idle[--pool->idle_len];
        } else {
            pool->open++;
            pool->logins++;
        }
    }
    pthread_mutex_unlock(&pool->lock);
    return in_time;
}

static void end_login(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->logins--;
    assert(pool->logins >= 0);
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

static void drop_one(struct pool *pool, struct lease lease)
{
    pthread_mutex_lock(&pool->lock);
    pool->open--;
    assert(pool->open >= 0);
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    PQfinish(lease.conn);
}

static void give_back(struct pool *pool, struct lease lease)
{
    pthread_mutex_lock(&pool->lock);
    bool fresh = lease.generation == pool->generation;
    if (fresh) {
        assert(pool->idle_len < CONNECTIONS_MAX);
        pool->idle[pool->idle_len++] = lease.conn;
        pthread_cond_signal(&pool->changed);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!fresh) {
        drop_one(pool, lease);
    }
}

static void drop_all(struct pool *pool, struct lease broken)
{
    PGconn *dropped[CONNECTIONS_MAX];
    int len = 0;
    pthread_mutex_lock(&pool->lock);
    if (broken.generation == pool->generation) {
        pool->generation++;
        while (pool->idle_len > 0) {
            dropped[len++] = pool->idle[--pool->idle_len];
        }
    }
    pool->open -= len;
    pthread_cond_broadcast(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    drop_one(pool, broken);
    for (int i = 0; i < len; i++) {
        PQfinish(dropped[i]);
    }
}

/*
 * A new connection has its own time, whatever is left of the request's: if one that got its turn
 * late gave its connection up half made, and the next one too, a service that was overwhelmed once
 * would never have a connection again. What comes too late for this request is there for the next.
 */
static bool make_connection(struct service *service, struct lease *ret_lease,
                            char ret_text[SHOP_TEXT_SIZE])
{
    uint64_t until_us = shop_now_us() + CONNECT_US * (uint64_t)service->options->databases_len;
    ret_lease->conn = shop_db_connect(service->options, CONNECT_US, until_us, ret_text);
    end_login(&service->pool);
    if (!ret_lease->conn) {
        drop_one(&service->pool, *ret_lease);
    }
    return ret_lease->conn != NULL;
}

/* An idle connection that has been closed by the other side says so before it is used. */
static bool take_connection(struct service *service, uint64_t deadline_us, struct lease *ret_lease,
                            char ret_text[SHOP_TEXT_SIZE])
{
    while (take_turn(&service->pool, deadline_us, ret_lease)) {
        if (!ret_lease->conn) {
            return make_connection(service, ret_lease, ret_text);
        }
        if (PQconsumeInput(ret_lease->conn) && PQstatus(ret_lease->conn) == CONNECTION_OK) {
            return true;
        }
        drop_all(&service->pool, *ret_lease);
    }
    snprintf(ret_text, SHOP_TEXT_SIZE, "no connection came free in time");
    return false;
}

static enum shop_outcome run_statement(struct service *service, const char *sql, int params_len,
                                       const char *const *params, uint64_t within_us,
                                       char ret_sqlstate[6], char ret_text[SHOP_TEXT_SIZE])
{
    uint64_t deadline_us = shop_now_us() + within_us;
    struct lease lease;
    bool conn_ok;
    ret_sqlstate[0] = '\0';
    if (!take_connection(service, deadline_us, &lease, ret_text)) {
        return SHOP_FAILED;
    }
    if (shop_now_us() + STATEMENT_MIN_US > deadline_us) { /* it would only cost a good connection */
        give_back(&service->pool, lease);
        snprintf(ret_text, SHOP_TEXT_SIZE, "the connection came too late for this request");
        return SHOP_FAILED;
    }
    enum shop_outcome outcome = shop_db_run(lease.conn, sql, params_len, params, deadline_us,
                                            &conn_ok, ret_sqlstate, ret_text);
    if (conn_ok) {
        give_back(&service->pool, lease);
    } else if (PQstatus(lease.conn) == CONNECTION_BAD) {
        drop_all(&service->pool, lease);
    } else {
        drop_one(&service->pool, lease);
    }
    return outcome;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              const char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
    if (!response) {
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result queued = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

static enum MHD_Result answer_state(struct MHD_Connection *connection, unsigned status,
                                    const char *state, const char *text)
{
    json_t *body = json_pack("{s:s, s:s+}", "state", state, "text", text, "");
    char *dump = body ? json_dumps(body, JSON_COMPACT) : NULL;
    enum MHD_Result queued = answer(connection, status, "application/json",
                                    dump ? dump : "{\"state\":\"failed\",\"text\":\"\"}");
    free(dump);
    json_decref(body);
    return queued;
}

/* The fields of a transaction; false if the body holds anything else. */
static bool read_transaction(const struct upload *upload, char ret_id[SHOP_ID_SIZE],
                             char ret_amount[24])
{
    json_t *body = json_loadb(upload->body, upload->len, 0, NULL);
    const char *id = NULL;
    json_int_t amount = 0;
    bool good = body && json_unpack(body, "{s:s, s:I}", "id", &id, "amount_cents", &amount) == 0 &&
                *id && strlen(id) < SHOP_ID_SIZE && amount > 0;
    if (good) {
        snprintf(ret_id, SHOP_ID_SIZE, "%s", id);
        snprintf(ret_amount, 24, "%lld", (long long)amount);
    }
    json_decref(body);
    return good;
}

static enum MHD_Result commit(struct service *service, struct MHD_Connection *connection,
                              const struct upload *upload)
{
    char id[SHOP_ID_SIZE], amount[24], sqlstate[6], text[SHOP_TEXT_SIZE];
    if (upload->too_long || !read_transaction(upload, id, amount)) {
        return answer_state(connection, MHD_HTTP_BAD_REQUEST, "failed",
                            "wanted: {\"id\": TEXT, \"amount_cents\": more than 0}");
    }
    const char *params[] = {id, amount};
    enum shop_outcome outcome = run_statement(service, service->options->kind->insert, 2, params,
                                              REQUEST_US, sqlstate, text);
    atomic_fetch_add(&service->counts[outcome], 1);
    if (outcome == SHOP_ACKED) {
        atomic_store(&service->last_commit_us, shop_now_us());
        return answer_state(connection, MHD_HTTP_OK, "committed", "");
    }
    if (strcmp(sqlstate, "23505") == 0) { /* unique_violation: somebody else's, or sent twice */
        return answer_state(connection, MHD_HTTP_CONFLICT, "failed", text);
    }
    return answer_state(connection, MHD_HTTP_SERVICE_UNAVAILABLE, shop_outcome_names[outcome],
                        text);
}

static enum MHD_Result health(struct service *service, struct MHD_Connection *connection)
{
    char sqlstate[6], text[SHOP_TEXT_SIZE], line[SHOP_TEXT_SIZE + 16];
    uint64_t last = atomic_load(&service->last_commit_us);
    if ((last && shop_now_us() - last < HEALTH_FRESH_US) ||
        run_statement(service, "SELECT 1", 0, NULL, HEALTH_US, sqlstate, text) == SHOP_ACKED) {
        return answer(connection, MHD_HTTP_OK, "text/plain", "ok\n");
    }
    snprintf(line, sizeof line, "database: %s\n", text);
    return answer(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain", line);
}

static enum MHD_Result metrics(struct service *service, struct MHD_Connection *connection)
{
    char text[1024];
    int len = snprintf(text, sizeof text,
                       "# HELP shop_transactions_total Transactions by what became of them.\n"
                       "# TYPE shop_transactions_total counter\n");
    for (int i = 0; shop_outcome_names[i]; i++) {
        len += snprintf(text + len, sizeof text - (size_t)len,
                        "shop_transactions_total{kind=\"%s\",outcome=\"%s\"} %llu\n",
                        service->options->kind->name, shop_outcome_names[i],
                        (unsigned long long)atomic_load(&service->counts[i]));
    }
    assert((size_t)len < sizeof text);
    return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4", text);
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *data_len, void **request)
{
    struct service *service = arg;
    struct upload *upload = *request;
    (void)version;
    if (!upload) { /* headers only, so far */
        *request = calloc(1, sizeof *upload);
        return *request ? MHD_YES : MHD_NO;
    }
    if (*data_len) {
        if (upload->len + *data_len > sizeof upload->body) {
            upload->too_long = true;
        } else {
            memcpy(upload->body + upload->len, data, *data_len);
            upload->len += *data_len;
        }
        *data_len = 0;
        return MHD_YES;
    }
    if (strcmp(method, "POST") == 0 && strcmp(url, service->options->kind->path) == 0) {
        return commit(service, connection, upload);
    }
    if (strcmp(method, "GET") == 0 && strcmp(url, "/health") == 0) {
        return health(service, connection);
    }
    if (strcmp(method, "GET") == 0 && strcmp(url, "/metrics") == 0) {
        return metrics(service, connection);
    }
    return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", "not found\n");
}

static void end_request(void *arg, struct MHD_Connection *connection, void **request,
                        enum MHD_RequestTerminationCode code)
{
    (void)arg, (void)connection, (void)code;
    free(*request);
    *request = NULL;
}

static bool read_address(const char *text, struct sockaddr_in *ret_address)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host) {
        return false;
    }
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return *end == '\0' && port > 0 && port < 65536 &&
           inet_pton(AF_INET, host, &ret_address->sin_addr) == 1;
}

int shop_service(const struct shop_options *options)
{
    struct service service = {.options = options};
    struct sockaddr_in address;
    if (!read_address(options->listen, &address)) {
        fprintf(stderr, "shop: --listen \"%s\": wanted a numeric ADDRESS:PORT\n", options->listen);
        return 2;
    }
    pool_init(&service.pool);
    /* A thread a connection: while the database is away every request waits, and none may wait for
     * another. */
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL, 0, NULL,
        NULL, handle, &service, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_CONNECTION_LIMIT, 512U, MHD_OPTION_CONNECTION_TIMEOUT, 60U,
        MHD_OPTION_LISTENING_ADDRESS_REUSE, 1U, MHD_OPTION_NOTIFY_COMPLETED, end_request, NULL,
        MHD_OPTION_END);
    if (!daemon) {
        fprintf(stderr, "shop: cannot listen on %s\n", options->listen);
        return 1;
    }
    sigset_t ends;
    int got = 0;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigwait(&ends, &got);
    MHD_stop_daemon(daemon);
    for (int i = 0; i < service.pool.idle_len; i++) {
        PQfinish(service.pool.idle[i]);
    }
    return 0;
}
