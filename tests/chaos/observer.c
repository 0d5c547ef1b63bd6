/*
 * observer - which PostgreSQL acknowledges, asked from outside of everything that is tested.
 *
 *   observer DIRECTORY TABLE INSTANCE=CONNINFO... [-- TABLE INSTANCE=CONNINFO...]...
 *
 * TABLE (id, amount_cents) lies in each instance of one database. Every 50 ms each instance is
 * asked whether it is in recovery, over a connection of its own; one that is not shall commit a
 * row, under synchronous_commit = on. What it acknowledged is a line in DIRECTORY/TABLE.record, as
 * `shop load` writes them, so that `shop audit` finds what was lost; DIRECTORY/TABLE.acks has for
 * each its times (milliseconds since 1970: sent, acknowledged), the instance and its timeline.
 *
 * Two instances are both able to acknowledge when
 *   - a commit was sent after another instance had acknowledged one on a higher timeline, and is
 *     acknowledged on a lower one; or
 *   - two instances acknowledge on one timeline.
 * A switch of primaries is neither: whoever is promoted begins a timeline that nobody had before.
 * Each such pair is a line on standard output that begins with TWO.
 *
 * A commit that waits stays open for WAIT_MS: it may wait for a standby, or its server may stand
 * still and go on later; an answer that comes late still counts. A wait that was cancelled reports
 * success with a warning, and is no acknowledgement. SIGTERM ends it.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EACH_MS       50
#define WAIT_MS       20000
#define AGAIN_MS      200 /* after a connection that was not made */
#define DATABASES_MAX 4
#define INSTANCES_MAX 16
#define TIMELINES_MAX 4096

struct line { /* a timeline, and who acknowledged on it first */
    int instance;
    int64_t first_ms;
};

struct database {
    const char *table;
    FILE *record, *acks;
    struct line lines[TIMELINES_MAX]; /* instance -1: nobody has acknowledged on it */
    int newest;
};

enum state { CLOSED, CONNECTING, IDLE, ASKING, COMMITTING };

struct instance {
    struct database *database;
    const char *name, *conninfo;
    PGconn *conn;
    enum state state;
    PostgresPollingStatusType wants;
    int64_t next_ms, deadline_ms, sent_ms;
    uint64_t number;
    bool warned, in_recovery, acked;
    unsigned timeline;
    char id[64];
};

static struct database databases[DATABASES_MAX];
static struct instance instances[INSTANCES_MAX];
static int databases_len, instances_len;
static int64_t begun_ms;
static volatile sig_atomic_t told_to_end;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void end(int signal)
{
    (void)signal;
    told_to_end = 1;
}

/* ---- what was acknowledged ---- */

static void say_two(const struct instance *one, const char *how, int timeline)
{
    const struct line *line = &one->database->lines[timeline];
    printf("TWO %s: %s acknowledged %s on timeline %u, sent %lld ms after %s had on timeline %d\n",
           one->database->table, one->name, one->id, one->timeline,
           (long long)(one->sent_ms - line->first_ms), instances[line->instance].name, timeline);
    printf("    %s\n", how);
    (void)fflush(stdout);
}

static void note_ack(struct instance *one, int64_t at_ms)
{
    struct database *database = one->database;
    int self = (int)(one - instances);
    fprintf(database->record, "%s\t%lld\tacked\t%lld\n", one->id,
            (long long)(one->sent_ms - begun_ms) * 1000, (long long)(at_ms - one->sent_ms) * 1000);
    fprintf(database->acks, "%lld %lld %s %u %s\n", (long long)one->sent_ms, (long long)at_ms,
            one->name, one->timeline, one->id);
    (void)fflush(database->record);
    (void)fflush(database->acks);
    if (one->timeline == 0 || one->timeline >= TIMELINES_MAX) {
        printf("TWO %s: %s is on timeline %u\n", database->table, one->name, one->timeline);
        return;
    }
    struct line *own = &database->lines[one->timeline];
    if (own->instance < 0) {
        *own = (struct line){.instance = self, .first_ms = at_ms};
    } else if (own->instance != self) {
        say_two(one, "two instances on one timeline", (int)one->timeline);
    }
    if ((int)one->timeline > database->newest) {
        database->newest = (int)one->timeline;
    } else if ((int)one->timeline < database->newest &&
               one->sent_ms > database->lines[database->newest].first_ms) {
        say_two(one, "an older timeline after a newer one", database->newest);
    }
}

/* ---- one connection ---- */

static void take_notice(void *arg, const PGresult *notice)
{
    struct instance *one = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity != NULL && strcmp(severity, "WARNING") == 0) {
        one->warned = true;
    }
}

static void give_up(struct instance *one, int64_t now)
{
    PQfinish(one->conn);
    one->conn = NULL;
    one->state = CLOSED;
    one->next_ms = now + AGAIN_MS;
}

static void begin_connect(struct instance *one, int64_t now)
{
    one->conn = PQconnectStart(one->conninfo);
    if (one->conn == NULL || PQstatus(one->conn) == CONNECTION_BAD) {
        give_up(one, now);
        return;
    }
    one->state = CONNECTING;
    one->wants = PGRES_POLLING_WRITING;
    one->deadline_ms = now + WAIT_MS;
}

static void go_on_connecting(struct instance *one, int64_t now)
{
    one->wants = PQconnectPoll(one->conn);
    if (one->wants == PGRES_POLLING_FAILED) {
        give_up(one, now);
    } else if (one->wants == PGRES_POLLING_OK) {
        PQsetNoticeReceiver(one->conn, take_notice, one);
        one->state = IDLE;
        one->next_ms = now;
    }
}

static void ask(struct instance *one, int64_t now)
{
    one->in_recovery = true;
    one->deadline_ms = now + WAIT_MS;
    one->state = ASKING;
    if (PQsendQuery(one->conn, "SELECT pg_is_in_recovery()") == 0) {
        give_up(one, now);
    }
}

static void commit(struct instance *one, int64_t now)
{
    char sql[256];
    snprintf(one->id, sizeof one->id, "observer-%s-%lld-%llu", one->name, (long long)begun_ms,
             (unsigned long long)one->number++);
    snprintf(sql, sizeof sql,
             "INSERT INTO %s (id, amount_cents) VALUES ('%s', 1)"
             " RETURNING substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)",
             one->database->table, one->id);
    one->warned = one->acked = false;
    one->timeline = 0;
    one->sent_ms = now;
    one->deadline_ms = now + WAIT_MS;
    one->state = COMMITTING;
    if (PQsendQuery(one->conn, sql) == 0) {
        give_up(one, now);
    }
}

static void take_result(struct instance *one, const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        return;
    }
    const char *value = PQgetvalue(result, 0, 0);
    if (one->state == ASKING) {
        one->in_recovery = strcmp(value, "f") != 0;
    } else {
        one->timeline = (unsigned)strtoul(value, NULL, 16);
        one->acked = true;
    }
}

/* All that has arrived; true once the statement has ended. */
static bool take_results(struct instance *one)
{
    while (PQisBusy(one->conn) == 0) {
        PGresult *result = PQgetResult(one->conn);
        if (result == NULL) {
            return true;
        }
        take_result(one, result);
        PQclear(result);
    }
    return false;
}

static void go_on(struct instance *one, int64_t now)
{
    bool alive = PQconsumeInput(one->conn) != 0;
    bool ended = alive && take_results(one);
    if (!alive || PQstatus(one->conn) != CONNECTION_OK) {
        give_up(one, now); /* what was sent is of unknown outcome */
    } else if (ended && one->state == ASKING && !one->in_recovery) {
        commit(one, now);
    } else if (ended) {
        if (one->state == COMMITTING && one->acked && !one->warned) {
            note_ack(one, now);
        }
        one->state = IDLE;
    }
}

static void look(struct instance *one, bool ready, int64_t now)
{
    if (one->state == CLOSED || one->state == IDLE) {
        if (ready && one->state == IDLE && PQconsumeInput(one->conn) == 0) {
            give_up(one, now);
        } else if (now >= one->next_ms) {
            one->next_ms = now + EACH_MS;
            one->state == CLOSED ? begin_connect(one, now) : ask(one, now);
        }
    } else if (ready) {
        one->state == CONNECTING ? go_on_connecting(one, now) : go_on(one, now);
    } else if (now >= one->deadline_ms) {
        give_up(one, now);
    }
}

/* ---- all of them ---- */

static int64_t wakes_at(const struct instance *one)
{
    return one->state == CLOSED || one->state == IDLE ? one->next_ms : one->deadline_ms;
}

static void wait_and_look(void)
{
    struct pollfd polled[INSTANCES_MAX];
    int64_t now = now_ms();
    int64_t until = now + 1000;
    for (int i = 0; i < instances_len; i++) {
        const struct instance *one = &instances[i];
        bool writes = one->state == CONNECTING && one->wants == PGRES_POLLING_WRITING;
        polled[i] = (struct pollfd){.fd = one->conn != NULL ? PQsocket(one->conn) : -1,
                                    .events = writes ? POLLOUT : POLLIN};
        until = wakes_at(one) < until ? wakes_at(one) : until;
    }
    int ready = poll(polled, (nfds_t)instances_len, until > now ? (int)(until - now) : 0);
    now = now_ms();
    for (int i = 0; i < instances_len; i++) {
        look(&instances[i], ready > 0 && polled[i].revents != 0, now);
    }
}

static FILE *open_file(const char *directory, const char *table, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s", directory, table, name);
    FILE *file = fopen(path, "we");
    if (file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    return file;
}

static bool read_arguments(int argc, char **argv)
{
    struct database *database = NULL;
    for (int i = 2; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (database == NULL) {
            if (databases_len == DATABASES_MAX || equals != NULL) {
                return false;
            }
            database = &databases[databases_len++];
            database->table = argv[i];
            database->record = open_file(argv[1], argv[i], "record");
            database->acks = open_file(argv[1], argv[i], "acks");
            for (int line = 0; line < TIMELINES_MAX; line++) {
                database->lines[line].instance = -1;
            }
        } else if (strcmp(argv[i], "--") == 0) {
            database = NULL;
        } else if (equals == NULL || instances_len == INSTANCES_MAX) {
            return false;
        } else {
            *equals = '\0';
            instances[instances_len++] =
                (struct instance){.database = database, .name = argv[i], .conninfo = equals + 1};
        }
    }
    return instances_len > 0;
}

int main(int argc, char **argv)
{
    if (argc < 4 || !read_arguments(argc, argv)) {
        (void)fprintf(stderr, "usage: observer DIRECTORY TABLE INSTANCE=CONNINFO... "
                              "[-- TABLE INSTANCE=CONNINFO...]...\n");
        return 2;
    }
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    begun_ms = now_ms();
    while (told_to_end == 0) {
        wait_and_look();
    }
    for (int i = 0; i < instances_len; i++) {
        PQfinish(instances[i].conn);
    }
    bool good = true;
    for (int i = 0; i < databases_len; i++) {
        good = fclose(databases[i].record) == 0 && good;
        good = fclose(databases[i].acks) == 0 && good;
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
