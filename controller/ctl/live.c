#include "controller/ctl/live.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/act/haproxy.h"
#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/base/utf8.h"
#include "controller/ctl/show.h"
#include "fence/level.h"
#include "probes/http.h"
#include "probes/postgres.h"

#define PG_DEADLINE_MS    5000
#define HTTP_DEADLINE_MS  5000
#define PROXY_DEADLINE_MS 5000
#define PROBER            "failoverctl" /* the key of its heartbeat row */
#define ROWS_MAX                                                                                   \
    (2 * DATABASES_MAX * INSTANCES_MAX + SERVICES_MAX * INSTANCES_MAX + PROXIES_MAX * ROUTES_MAX + \
     PROXIES_MAX + NODES_MAX * LEVELS_MAX)

/* What one target came to. */
struct row {
    char target[2 * NAME_SIZE];
    const char *what;
    bool done, good;
    uint64_t began_ms, took_ms;
    char detail[320];
};

struct live;

/* One thing under way; freed when all are over. */
struct job {
    struct live *live;
    struct row *row;
    struct probe_pg *pg;
    struct probe_http *http;
    struct pg_session *session; /* that asks for the rights */
    struct haproxy *proxy;
    struct haproxy_route routes[ROUTES_MAX];
    struct row *route_rows[ROUTES_MAX];
    int routes_len;
    bool read_once;
    char names[NAME_SIZE]; /* of the database's role */
};

struct live {
    const struct definition *def;
    const struct local_config *local;
    struct loop *loop;
    struct http *http;
    struct row rows[ROWS_MAX];
    int rows_len;
    struct job jobs[ROWS_MAX];
    int jobs_len;
    int pending;
    bool over;
};

static struct row *row_new(struct live *live, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static struct row *row_new(struct live *live, const char *what, const char *format, ...)
{
    va_list args;
    assert(live->rows_len < ROWS_MAX);
    struct row *row = &live->rows[live->rows_len++];
    row->what = what;
    row->began_ms = clock_now_ms();
    va_start(args, format);
    (void)vsnprintf(row->target, sizeof row->target, format, args);
    va_end(args);
    return row;
}

static void row_end(struct row *row, bool good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void row_end(struct row *row, bool good, const char *format, ...)
{
    va_list args;
    row->done = true;
    row->good = good;
    row->took_ms = clock_now_ms() - row->began_ms;
    va_start(args, format);
    (void)vsnprintf(row->detail, sizeof row->detail, format, args);
    va_end(args);
    utf8_show(row->detail); /* a server's words */
}

static struct job *job_new(struct live *live, struct row *row)
{
    assert(live->jobs_len < ROWS_MAX);
    struct job *job = &live->jobs[live->jobs_len++];
    job->live = live;
    job->row = row;
    live->pending++;
    return job;
}

static void job_over(struct job *job)
{
    job->live->pending--;
    job->live->over = job->live->pending == 0;
}

/* ---- PostgreSQL ---- */

static void on_pg(void *arg, const struct instance_fact *fact)
{
    struct job *job = arg;
    bool good = fact->cause == CAUSE_OK;
    if (!good) {
        row_end(job->row, false, "%s: %s", cause_names[fact->cause], fact->detail);
    } else if (fact->role == ROLE_PRIMARY) {
        row_end(job->row, fact->wrote,
                "primary on timeline %u, a write took %u ms, "
                "synchronous_standby_names '%s'",
                fact->timeline, fact->write_ms, fact->sync_names);
    } else {
        row_end(job->row, true, "standby on timeline %u, %s", fact->timeline,
                fact->receiving ? "receiving WAL" : "NOT receiving WAL");
    }
    job_over(job);
}

/* NULL where a right is there, else its name; all in one row. */
static const char rights_sql[] =
    "SELECT concat_ws(', ',"
    " CASE WHEN NOT pg_has_role(current_user, 'pg_monitor', 'USAGE') THEN 'pg_monitor' END,"
    " CASE WHEN NOT has_function_privilege('pg_catalog.pg_promote(boolean,integer)', 'EXECUTE')"
    "  THEN 'EXECUTE on pg_promote' END,"
    " CASE WHEN to_regclass('failover.heartbeat') IS NULL THEN 'the table failover.heartbeat'"
    "  WHEN NOT (has_table_privilege('failover.heartbeat', 'SELECT')"
    "   AND has_table_privilege('failover.heartbeat', 'INSERT')"
    "   AND has_table_privilege('failover.heartbeat', 'UPDATE'))"
    "  THEN 'SELECT, INSERT, UPDATE on failover.heartbeat' END)";

static void on_rights(void *arg, const struct pg_reply *reply)
{
    struct job *job = arg;
    if (reply->outcome != PG_DONE || reply->results_len != 1 || PQntuples(reply->results[0]) != 1) {
        row_end(job->row, false, "%s",
                reply->text[0] != '\0' ? reply->text : "no answer that can be read");
    } else {
        const char *missing = PQgetvalue(reply->results[0], 0, 0);
        bool good = missing[0] == '\0';
        row_end(job->row, good,
                good ? "%spg_monitor, pg_promote, the heartbeat table"
                     : "missing: %s; run: failoverctl setup-sql",
                good ? "" : missing);
    }
    job_over(job);
}

static void on_login(void *arg, const struct pg_reply *reply)
{
    struct job *job = arg;
    if (reply->outcome != PG_DONE) {
        row_end(job->row, false, "no login as %s: %s", job->names, reply->text);
        job_over(job);
        return;
    }
    pg_query(job->session, rights_sql, PG_DEADLINE_MS, on_rights, job);
}

/* Lost between two statements: the next reply says so. */
static void on_lost(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

static void start_instance(struct live *live, int db, int i)
{
    const struct database_def *def = &live->def->databases[db];
    const struct node_def *node = &live->def->nodes[def->instances[i].node];
    struct row *row = row_new(live, "PostgreSQL", "%s on %s", def->name, node->name);
    struct row *rights = row_new(live, "rights", "%s on %s", def->name, node->name);
    char secret[SECRET_SIZE] = "";
    struct err err = {0};
    if (def->password[0] != '\0' && local_secret(live->local, def->password, secret, &err) < 0) {
        row_end(row, false, "%s", err.text);
        row_end(rights, false, "%s", err.text);
        return;
    }
    struct pg_target target = {.hostaddr = node->address,
                               .port = def->instances[i].port,
                               .dbname = def->dbname,
                               .user = def->user,
                               .password = secret[0] != '\0' ? secret : NULL,
                               .sslmode = def->sslmode[0] != '\0' ? def->sslmode : NULL,
                               .application_name = PROBER};
    struct job *job = job_new(live, row);
    struct probe_pg_params params = {.target = target,
                                     .controller = PROBER,
                                     .deadline_ms = PG_DEADLINE_MS,
                                     .done = on_pg,
                                     .arg = job};
    job->pg = probe_pg_new(live->loop, &params);
    probe_pg_ask(job->pg);
    job = job_new(live, rights);
    (void)snprintf(job->names, sizeof job->names, "%s", def->user);
    job->session = pg_open(live->loop, &target, PG_DEADLINE_MS, on_login, on_lost, job);
    explicit_bzero(secret, sizeof secret);
}

/* ---- services ---- */

static void on_http(void *arg, const struct service_fact *fact)
{
    struct job *job = arg;
    bool good = fact->cause == CAUSE_OK;
    row_end(job->row, good, "%s%s%s", good ? "status " : cause_names[fact->cause],
            good ? "as wanted" : ": ", good ? "" : fact->detail);
    job_over(job);
}

static void start_service(struct live *live, int service, int i)
{
    const struct service_instance_def *def = &live->def->services[service].instances[i];
    struct job *job =
        job_new(live, row_new(live, "HTTP", "%s on %s", live->def->services[service].name,
                              live->def->nodes[def->node].name));
    struct probe_http_params params = {.url = def->url,
                                       .status = def->status,
                                       .body = def->body,
                                       .deadline_ms = HTTP_DEADLINE_MS,
                                       .done = on_http,
                                       .arg = job};
    job->http = probe_http_new(live->http, &params);
    probe_http_ask(job->http);
}

/* ---- proxies ---- */

static void end_route(const struct job *job, int r, const struct haproxy_seen *seen)
{
    const struct haproxy_route *route = &job->routes[r];
    if (seen->err.code != ERR_NONE) {
        row_end(job->route_rows[r], false, "%s", seen->err.text);
    } else if (seen->open_seen >= 0) {
        row_end(job->route_rows[r], true, "backend %s: %s is open, %u sessions", route->backend,
                route->servers[seen->open_seen], seen->sessions);
    } else {
        row_end(job->route_rows[r], true, "backend %s: every server is closed", route->backend);
    }
}

/*
 * Read twice: the first time to learn which server is open; the second time with that as the wish,
 * so that what is left to complain about is what does not exist.
 */
static void on_proxy(void *arg, const struct haproxy_report *report)
{
    struct job *job = arg;
    bool good = report->err.code == ERR_NONE;
    if (good && !job->read_once) {
        job->read_once = true;
        for (int r = 0; r < report->routes_len; r++) {
            int open = report->routes[r].open_seen;
            job->routes[r].open = open >= 0 ? open : HAPROXY_OPEN_NONE;
        }
        haproxy_read(job->proxy, job->routes, job->routes_len, PROXY_DEADLINE_MS, on_proxy, job);
        return;
    }
    row_end(job->row, good, "%s", good ? "it answers" : report->err.text);
    for (int r = 0; r < job->routes_len; r++) {
        if (good) {
            end_route(job, r, &report->routes[r]);
        } else {
            row_end(job->route_rows[r], false, "its proxy does not answer");
        }
    }
    job_over(job);
}

static void add_route(struct live *live, struct job *job, const struct route_def *route,
                      const char *proxy)
{
    struct haproxy_route *wanted = &job->routes[job->routes_len];
    int len = route->database >= 0 ? live->def->databases[route->database].instances_len
                                   : live->def->services[route->service].instances_len;
    (void)snprintf(wanted->backend, sizeof wanted->backend, "%s", route->backend);
    memcpy(wanted->servers, route->servers, sizeof wanted->servers);
    wanted->servers_len = len;
    wanted->open = HAPROXY_OPEN_NONE;
    job->route_rows[job->routes_len++] = row_new(live, "route", "%s on %s", route->name, proxy);
}

static void start_proxy(struct live *live, int proxy)
{
    const struct proxy_def *def = &live->def->proxies[proxy];
    struct job *job = job_new(live, row_new(live, "runtime API", "%s", def->name));
    for (int r = 0; r < live->def->routes_len; r++) {
        const struct route_def *route = &live->def->routes[r];
        for (int p = 0; p < route->proxies_len; p++) {
            if (route->proxies[p] == proxy) {
                add_route(live, job, route, def->name);
            }
        }
    }
    job->proxy = haproxy_new(live->loop, def);
    haproxy_read(job->proxy, job->routes, job->routes_len, PROXY_DEADLINE_MS, on_proxy, job);
}

/* ---- fencing ---- */

static void on_status(void *arg, const struct fence_status *status)
{
    struct job *job = arg;
    row_end(job->row, status->answered, "%s", status->detail);
    job_over(job);
}

static void start_agent(struct live *live, const struct fence_level_def *level, struct row *row)
{
    struct fence_request request = {.level = level};
    char(*secrets)[SECRET_SIZE] = calloc(OPTIONS_MAX, SECRET_SIZE);
    struct err err = {0};
    if (secrets == NULL) {
        abort();
    }
    for (int i = 0; i < level->options_len && err.code == ERR_NONE; i++) {
        if (level->options[i].secret &&
            local_secret(live->local, level->options[i].value, secrets[i], &err) == 0) {
            request.secrets[i] = secrets[i];
        }
    }
    if (err.code != ERR_NONE) {
        row_end(row, false, "%s", err.text);
    } else {
        (void)fence_status_start(live->loop, &request, on_status, job_new(live, row));
    }
    explicit_bzero(secrets, (size_t)OPTIONS_MAX * SECRET_SIZE);
    free(secrets);
}

static void start_level(struct live *live, int node, int i)
{
    const struct node_def *def = &live->def->nodes[node];
    const struct fence_level_def *level = &def->levels[i];
    if (!fence_method_is_run(level->method)) {
        return;
    }
    struct row *row =
        row_new(live, fence_method_names[level->method], "%s level %s", def->name, level->name);
    if (level->method == FENCE_AGENT) {
        start_agent(live, level, row);
        return;
    }
    /* A command cannot be asked without being run: only that it is there. */
    const struct local_command_def *command = local_command(live->local, level->program);
    if (command == NULL || command->args_len == 0) {
        row_end(row, false, "the local file has no command \"%s\"", level->program);
    } else {
        bool there = access(command->args[0], X_OK) == 0;
        row_end(row, there,
                there ? "%s is there; it is not run to ask" : "%s is not there, or may not be run",
                command->args[0]);
    }
}

/* ---- all of it ---- */

static void start_all(struct live *live)
{
    const struct definition *def = live->def;
    for (int db = 0; db < def->databases_len; db++) {
        for (int i = 0; i < def->databases[db].instances_len; i++) {
            start_instance(live, db, i);
        }
    }
    for (int s = 0; s < def->services_len; s++) {
        for (int i = 0; i < def->services[s].instances_len; i++) {
            start_service(live, s, i);
        }
    }
    for (int p = 0; p < def->proxies_len; p++) {
        start_proxy(live, p);
    }
    for (int n = 0; n < def->nodes_len; n++) {
        for (int i = 0; i < def->nodes[n].levels_len; i++) {
            start_level(live, n, i);
        }
    }
    live->over = live->pending == 0;
}

/* Beyond every single deadline: each job ends by its own. */
static uint64_t all_within_ms(const struct definition *def)
{
    uint64_t longest = 2 * PG_DEADLINE_MS + HTTP_DEADLINE_MS;
    for (int n = 0; n < def->nodes_len; n++) {
        for (int i = 0; i < def->nodes[n].levels_len; i++) {
            uint64_t deadline = def->nodes[n].levels[i].deadline_ms;
            longest = deadline > longest ? deadline : longest;
        }
    }
    return longest + 5000;
}

static void end_all(struct live *live)
{
    for (int i = 0; i < live->jobs_len; i++) {
        struct job *job = &live->jobs[i];
        if (job->pg != NULL) {
            probe_pg_free(job->pg);
        }
        if (job->http != NULL) {
            probe_http_free(job->http);
        }
        if (job->session != NULL) {
            pg_close(job->session);
        }
        haproxy_free(job->proxy);
    }
    http_free(live->http);
    loop_free(live->loop);
}

static int print_rows(const struct live *live)
{
    static const char *const columns[] = {"TARGET", "WHAT", "RESULT", "-TOOK", "+DETAIL", NULL};
    struct page page = page_stdout();
    struct sheet *sheet = sheet_new(&page, columns);
    int failed = 0;
    for (int i = 0; i < live->rows_len; i++) {
        const struct row *row = &live->rows[i];
        failed += row->good ? 0 : 1;
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", row->target);
        sheet_cell(sheet, TONE_PLAIN, "%s", row->what);
        sheet_cell(sheet, row->good ? TONE_GOOD : TONE_BAD, "%s",
                   row->good   ? "good"
                   : row->done ? "FAILED"
                               : "UNKNOWN");
        sheet_cell(sheet, TONE_PLAIN, "%llu ms", (unsigned long long)row->took_ms);
        sheet_cell(sheet, TONE_PLAIN, "%s", row->detail);
    }
    sheet_end(sheet);
    return failed;
}

enum ctl_exit live_check(const struct definition *def, const struct local_config *local)
{
    struct live *live = calloc(1, sizeof *live);
    if (live == NULL) {
        abort();
    }
    live->def = def;
    live->local = local;
    live->loop = loop_new();
    live->http = http_new(live->loop);
    start_all(live);
    (void)loop_run_until(live->loop, &live->over, all_within_ms(def));
    int failed = print_rows(live);
    if (failed > 0) {
        (void)printf("%d of %d failed\n", failed, live->rows_len);
    } else {
        (void)printf("all %d are good\n", live->rows_len);
    }
    end_all(live);
    free(live);
    return failed > 0 ? CTL_REFUSED : CTL_DONE;
}
