/*
 * real_postgres.c - scripts on real PostgreSQL servers.
 *
 * Node X reaches node Y at 127.0.X.Y, so that a packet filter can cut one pair. Each script begins
 * with no server; one that it starts is a copy of one template, and so of one cluster.
 */
#include <poll.h>

#include "tests/conformance/conformance.h"
#include "tests/unit/postgres_fixture.h"

#define NODES       SCRIPT_NODES
#define FIRST_PORT  5431
#define LONG_MS     10000 /* until something has happened */
#define NOT_MS      5000  /* so long without it: it does not happen */
#define WAITS_MS    1500  /* a commit that has waited so long waits */
#define AWAITED_MS  7000  /* one that shall be looked at again */
#define STEADY      10    /* looks, one after the other */
#define SETTLE_MS   300
#define COMMITS_MAX 32

struct real_write {
    char name[32];
    int at;
    PGconn *conn;
    bool ended, acked, refused, warned;
    char lsn[32];
};

static struct server servers[NODES];
static bool is_standby[NODES];
static int upstream[NODES];
static struct wanted_names wanted[NODES];
static pid_t stalled[NODES];
static pid_t held[NODES][NODES];
static char start_times[NODES][64];
static int life_counts[NODES];
static struct real_write commits[COMMITS_MAX];
static int commits_len;

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* ---- questions ---- */

/* A superuser's connection, or NULL; a server that is silent is not waited for. */
static PGconn *reach(int i, bool *ret_silent)
{
    char info[256];
    snprintf(info, sizeof info,
             "host=%s port=%u dbname=postgres user=postgres connect_timeout=2 "
             "application_name=script",
             servers[i].sockets, servers[i].port);
    PGconn *conn = servers[i].dir[0] != '\0' ? PQconnectdb(info) : NULL;
    if (ret_silent != NULL) {
        *ret_silent = conn != NULL && strstr(PQerrorMessage(conn), "timeout") != NULL;
    }
    if (conn != NULL && PQstatus(conn) != CONNECTION_OK) {
        PQfinish(conn);
        conn = NULL;
    }
    return conn;
}

/* The first value of the answer, until the next call; "" if there is none, or no server. */
static const char *ask(int i, const char *statement)
{
    static char value[1024];
    PGconn *conn = reach(i, NULL);
    value[0] = '\0';
    if (conn == NULL) {
        return value;
    }
    PGresult *result = PQexec(conn, statement);
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) > 0) {
        snprintf(value, sizeof value, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    PQfinish(conn);
    return value;
}

static bool becomes(int i, const char *statement, const char *value, int within_ms)
{
    uint64_t until_ms = clock_now_ms() + (uint64_t)within_ms;
    for (;;) {
        if (strcmp(ask(i, statement), value) == 0) {
            return true;
        }
        if (clock_now_ms() > until_ms) {
            return false;
        }
        pause_ms(20);
    }
}

static bool recovers(int i)
{
    return strcmp(ask(i, "SELECT pg_is_in_recovery()"), "t") == 0;
}

/* ---- a statement that may wait for a standby ---- */

enum settled { SETTLED_DONE, SETTLED_WAITS, SETTLED_LOST };

static bool waits_for_standby(int i, int pid)
{
    char statement[128];
    snprintf(statement, sizeof statement, "SELECT wait_event FROM pg_stat_activity WHERE pid = %d",
             pid);
    return strcmp(ask(i, statement), "SyncRep") == 0;
}

static enum settled settle(int i, PGconn *conn, int waits_ms, PGresult **ret_result)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t until_ms = now_ms + LONG_MS;
    uint64_t since_ms = 0;
    for (; now_ms < until_ms; now_ms = clock_now_ms()) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        poll(&fd, 1, 30);
        if (PQconsumeInput(conn) == 0) {
            return SETTLED_LOST;
        }
        if (PQisBusy(conn) == 0) {
            *ret_result = PQgetResult(conn);
            return SETTLED_DONE;
        }
        if (!waits_for_standby(i, PQbackendPID(conn))) {
            since_ms = 0;
        } else if (since_ms == 0) {
            since_ms = clock_now_ms();
        } else if (clock_now_ms() > since_ms + (uint64_t)waits_ms) {
            return SETTLED_WAITS;
        }
    }
    return SETTLED_WAITS;
}

static void note_warning(void *arg, const char *message)
{
    struct real_write *of = arg;
    of->warned = of->warned || strstr(message, "canceling wait for synchronous replication");
}

static void end_write(struct real_write *of, PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    of->ended = true;
    of->acked = PQresultStatus(result) == PGRES_COMMAND_OK && !of->warned;
    of->refused = state != NULL && strcmp(state, "25006") == 0;
    PQclear(result);
}

static void look_at(struct real_write *of, int waits_ms, struct says *ret_says)
{
    PGresult *result = NULL;
    enum settled settled = SETTLED_DONE;
    if (!of->ended) {
        settled = settle(of->at, of->conn, waits_ms, &result);
        if (settled == SETTLED_DONE) {
            end_write(of, result);
        } else if (settled == SETTLED_LOST) {
            of->ended = true;
        }
    }
    if (of->lsn[0] == '\0' && (of->acked || settled == SETTLED_WAITS)) {
        snprintf(of->lsn, sizeof of->lsn, "%.31s",
                 ask(of->at, "SELECT pg_current_wal_flush_lsn()"));
    }
    if (ret_says != NULL) {
        say(ret_says, "%s %s", of->name,
            settled == SETTLED_WAITS ? "waits"
            : of->acked              ? "is acknowledged"
            : of->refused            ? "is refused"
                                     : "is not answered");
    }
}

static void commit(int i, const char *name, struct says *ret_says)
{
    struct real_write *new = &commits[commits_len++];
    char statement[128];
    assert(commits_len < COMMITS_MAX);
    *new = (struct real_write){.at = i};
    snprintf(new->name, sizeof new->name, "%s", name);
    new->conn = reach(i, NULL);
    if (new->conn == NULL) {
        new->ended = new->refused = true;
        say(ret_says, "%s is refused", name);
        return;
    }
    PQsetNoticeProcessor(new->conn, note_warning, new);
    snprintf(statement, sizeof statement, "INSERT INTO script VALUES ('%s')", name);
    PQsendQuery(new->conn, statement);
    look_at(new, WAITS_MS, ret_says);
}

static struct real_write *write_of(const struct words *words, int i)
{
    for (int n = commits_len - 1; n >= 0; n--) {
        if (i < words->len && strcmp(commits[n].name, words->at[i]) == 0) {
            return &commits[n];
        }
    }
    fprintf(stderr, "conformance: \"%s\": there is no such write\n", words->line);
    exit(2);
}

static bool has_row(int i, const char *name)
{
    char statement[128];
    snprintf(statement, sizeof statement, "SELECT count(*) FROM script WHERE name = '%s'", name);
    return strcmp(ask(i, statement), "1") == 0;
}

static void give_up(struct real_write *of, struct says *ret_says)
{
    char error[256];
    PGcancel *cancel = PQgetCancel(of->conn);
    PQcancel(cancel, error, sizeof error);
    PQfreeCancel(cancel);
    look_at(of, AWAITED_MS, NULL);
    say(ret_says, "%s %s", of->name,
        of->warned && has_row(of->at, of->name) ? "stays, with a warning" : "did not wait");
}

static void probe(int i, struct says *ret_says)
{
    bool silent;
    PGresult *result = NULL;
    PGconn *conn = reach(i, &silent);
    if (conn == NULL) {
        say(ret_says, silent ? "a%d is silent" : "a%d refuses", i + 1);
        return;
    }
    const char *as = recovers(i) ? "in recovery" : "primary";
    PQsendQuery(conn, "INSERT INTO script VALUES ('a probe')");
    if (settle(i, conn, WAITS_MS, &result) == SETTLED_DONE) {
        say(ret_says, "a%d is %s, and %s", i + 1, as,
            PQresultStatus(result) == PGRES_COMMAND_OK ? "writes" : "cannot write");
    } else {
        char error[256];
        PGcancel *cancel = PQgetCancel(conn);
        say(ret_says, "a%d is %s, and its write waits", i + 1, as);
        PQcancel(cancel, error, sizeof error);
        PQfreeCancel(cancel);
    }
    PQclear(result);
    PQfinish(conn);
}

/* ---- servers ---- */

static void write_file(int i)
{
    char path[PATH_MAX];
    char text[1024];
    snprintf(path, sizeof path, "%s/script.conf", servers[i].dir);
    unlink(path);
    snprintf(text, sizeof text, "synchronous_standby_names = '%s'\n", wanted[i].text);
    append_file(servers[i].dir, "script.conf", text);
    if (upstream[i] >= 0) {
        snprintf(text, sizeof text,
                 "primary_conninfo = 'host=127.0.%d.%d port=%u user=postgres application_name=a%d "
                 "connect_timeout=2'\n",
                 i + 1, upstream[i] + 1, (unsigned)(FIRST_PORT + upstream[i]), i + 1);
        append_file(servers[i].dir, "script.conf", text);
    }
}

static void make(int i)
{
    char template[96];
    char name[8];
    char more[512];
    snprintf(template, sizeof template, "%s/template", fixture_dir);
    snprintf(name, sizeof name, "a%d", i + 1);
    name_server(&servers[i], name);
    servers[i].port = (uint16_t)(FIRST_PORT + i);
    const char *copy[] = {"/bin/cp", "-a", template, servers[i].dir, NULL};
    run(copy, -1);
    snprintf(
        more, sizeof more,
        "listen_addresses = '*'\nwal_receiver_timeout = 2s\nwal_receiver_status_interval = 1s\n"
        "wal_retrieve_retry_interval = 100ms\nhot_standby = on\nwal_keep_size = 32MB\n"
        "cluster_name = '%s'\nautovacuum = off\ninclude 'script.conf'",
        name);
    configure(&servers[i], more);
    append_file(servers[i].dir, "pg_hba.conf", "host replication postgres 127.0.0.0/8 trust\n");
}

static bool ended(int i)
{
    if (servers[i].pid != 0 && waitpid(servers[i].pid, NULL, WNOHANG) == servers[i].pid) {
        servers[i].pid = 0;
    }
    return servers[i].pid == 0;
}

static void start(const struct words *words, int i, struct says *ret_says)
{
    char path[PATH_MAX];
    uint64_t until_ms = clock_now_ms() + LONG_MS;
    if (servers[i].dir[0] == '\0') {
        make(i);
    }
    if (!ended(i)) {
        say(ret_says, "a%d runs", i + 1);
        return;
    }
    if (words->len > 3) {
        is_standby[i] = word_is(words, 3, "standby");
    }
    if (words->len > 5) {
        upstream[i] = word_number(words, 5, 'a');
    }
    write_file(i);
    snprintf(path, sizeof path, "%s/standby.signal", servers[i].dir);
    unlink(path);
    if (is_standby[i]) {
        append_file(servers[i].dir, "standby.signal", "");
    }
    snprintf(path, sizeof path, "%s/postmaster.pid", servers[i].dir);
    unlink(path);
    server_spawn(&servers[i]);
    const char *up = "";
    while (up[0] == '\0' && !ended(i) && clock_now_ms() < until_ms) {
        up = ask(i, "SELECT CASE WHEN pg_is_in_recovery() THEN 'a standby' ELSE 'a primary' END");
        pause_ms(20);
    }
    say(ret_says, "a%d is %s", i + 1, up[0] != '\0' ? up : "not up");
}

static void crash(int i)
{
    while (servers[i].dir[0] != '\0' && signal_all(&servers[i], SIGKILL) > 0) {
        ended(i);
        pause_ms(2);
    }
    ended(i);
}

static void stop(int i, struct says *ret_says)
{
    uint64_t until_ms = clock_now_ms() + 3000;
    if (servers[i].pid != 0) {
        kill(servers[i].pid, SIGINT);
    }
    while (!ended(i) && clock_now_ms() < until_ms) {
        pause_ms(10);
    }
    say(ret_says, "a%d %s", i + 1, ended(i) ? "has ended" : "still runs");
}

static void reload(int i)
{
    write_file(i);
    if (!ended(i)) {
        kill(servers[i].pid, SIGHUP);
    }
}

static void set_names(int i, const char *text, struct says *ret_says)
{
    names_read(text, &wanted[i]);
    reload(i);
    if (ended(i)) {
        return;
    }
    becomes(i, "SHOW synchronous_standby_names", wanted[i].text, NOT_MS);
    for (int s = 0; s < NODES; s++) {
        char statement[256];
        snprintf(statement, sizeof statement,
                 "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'a%d' AND "
                 "sync_priority <> %d",
                 s + 1, names_place_of(&wanted[i], s));
        becomes(i, statement, "0", 1000); /* a walsender that is held does not read it */
    }
    pause_ms(SETTLE_MS);
    say(ret_says, "a%d shows '%s'", i + 1, ask(i, "SHOW synchronous_standby_names"));
}

static const char *timeline(int i)
{
    return ask(i, recovers(i) ? "SELECT coalesce((SELECT received_tli FROM pg_stat_wal_receiver "
                                "WHERE status = 'streaming'), (SELECT min_recovery_end_timeline "
                                "FROM pg_control_recovery() WHERE min_recovery_end_timeline > 0), "
                                "(SELECT timeline_id FROM pg_control_checkpoint()))"
                              : "SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, "
                                "8))::bit(32)::int");
}

static void promote(int i, struct says *ret_says)
{
    if (!recovers(i)) {
        const char *answer = ask(i, "SELECT pg_promote(true, 10)"); /* an error */
        say(ret_says, "a%d is %s", i + 1, answer[0] == '\0' ? "not promoted" : "promoted");
        return;
    }
    ask(i, "SELECT pg_promote(true, 10)");
    if (!becomes(i, "SELECT pg_is_in_recovery()", "f", LONG_MS)) {
        say(ret_says, "a%d is not promoted", i + 1);
        return;
    }
    say(ret_says, "a%d is a primary on timeline %s", i + 1, timeline(i));
}

/* ---- links ---- */

static void filter(int i, const char *verb)
{
    char command[256];
    char addresses[128] = "";
    for (int n = 0; n < NODES; n++) {
        size_t len = strlen(addresses);
        if (n != i) {
            snprintf(addresses + len, sizeof addresses - len, "%s127.0.%d.%d, 127.0.%d.%d",
                     len > 0 ? ", " : "", i + 1, n + 1, n + 1, i + 1);
        }
    }
    snprintf(command, sizeof command, "nft %s element inet script cut '{ %s }'", verb, addresses);
    if (system(command) != 0) { /* NOLINT(cert-env33-c): nothing of it is from outside */
        fprintf(stderr, "conformance: %s failed\n", command);
    }
}

static pid_t pid_of(int i, const char *statement)
{
    becomes(i, "SELECT 1", "1", NOT_MS);
    return (pid_t)strtol(ask(i, statement), NULL, 10);
}

static void signal_held(const struct words *words, int i)
{
    int to = word_number(words, 3, 'a');
    char statement[128];
    if (word_is(words, 1, "hold")) {
        snprintf(statement, sizeof statement,
                 "SELECT pid FROM pg_stat_replication WHERE application_name = 'a%d'", to + 1);
        held[i][to] = pid_of(i, statement);
    }
    if (held[i][to] > 0) {
        kill(held[i][to], word_is(words, 1, "hold") ? SIGSTOP : SIGCONT);
    }
}

static void signal_receiver(int i, bool stall)
{
    if (stall) {
        stalled[i] = pid_of(i, "SELECT pid FROM pg_stat_wal_receiver");
    }
    if (stalled[i] > 0) {
        kill(stalled[i], stall ? SIGSTOP : SIGCONT);
    }
}

/* ---- what there is to see ---- */

/* One that has more than the fork is let in again and again: what it asks for begins with a
 * segment, before the fork. Its receiver streams for a moment each time. */
static void say_receives(int i, struct says *ret_says)
{
    char statement[512];
    char began[64];
    snprintf(began, sizeof began, "%s", ask(i, "SELECT now()"));
    snprintf(statement, sizeof statement,
             "SELECT split_part(sender_host, '.', 4) FROM pg_stat_wal_receiver WHERE status = "
             "'streaming' AND last_msg_receipt_time > '%s'",
             began);
    int steady = 0;
    for (uint64_t until_ms = clock_now_ms() + NOT_MS; clock_now_ms() < until_ms; pause_ms(20)) {
        const char *from = ask(i, statement);
        steady = from[0] != '\0' ? steady + 1 : 0;
        if (steady == STEADY) {
            say(ret_says, "a%d receives from a%s", i + 1, from);
            return;
        }
    }
    say(ret_says, "a%d does not receive", i + 1);
}

static void say_standbys(int i, struct says *ret_says)
{
    pause_ms(SETTLE_MS);
    PGconn *conn = reach(i, NULL);
    PGresult *result = PQexec(conn, "SELECT application_name, sync_priority FROM "
                                    "pg_stat_replication WHERE state = 'streaming' ORDER BY 1");
    for (int n = 0; n < PQntuples(result); n++) {
        say(ret_says, "%s streams from a%d, place %s", PQgetvalue(result, n, 0), i + 1,
            PQgetvalue(result, n, 1));
    }
    if (PQntuples(result) == 0) {
        say(ret_says, "nobody streams from a%d", i + 1);
    }
    PQclear(result);
    PQfinish(conn);
}

static void say_control(int i, struct says *ret_says)
{
    char command[256];
    char line[256];
    char state[128] = "";
    snprintf(command, sizeof command, "LC_ALL=C " FIXTURE_BIN "pg_controldata %s", servers[i].dir);
    FILE *file = popen(command, "re"); /* NOLINT(cert-env33-c) */
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "Database cluster state: %127[^\n]", state);
    }
    if (file != NULL) {
        pclose(file);
    }
    say(ret_says, "a%d's control file says: %s", i + 1,
        strstr(state, "recovery") != NULL     ? "in recovery"
        : strcmp(state, "shut down") == 0     ? "a primary, shut down"
        : strcmp(state, "in production") == 0 ? "a primary, in production"
                                              : state);
}

static void say_life(int i, struct says *ret_says)
{
    const char *now = ask(i, "SELECT pg_postmaster_start_time()");
    if (strcmp(now, start_times[i]) != 0) {
        snprintf(start_times[i], sizeof start_times[i], "%.63s", now);
        life_counts[i]++;
    }
    say(ret_says, "a%d is in life %d", i + 1, life_counts[i]);
}

/* A standby has what it has replayed, or received while its replay is paused. */
static void say_has(int i, const struct real_write *of, bool sees, struct says *ret_says)
{
    char statement[256];
    bool has = false;
    snprintf(statement, sizeof statement,
             "SELECT pg_is_wal_replay_paused() AND pg_last_wal_receive_lsn() >= '%s'", of->lsn);
    for (uint64_t until_ms = clock_now_ms() + 1200; !has && clock_now_ms() < until_ms;
         pause_ms(20)) {
        has = has_row(i, of->name) ||
              (!sees && of->lsn[0] != '\0' && strcmp(ask(i, statement), "t") == 0);
    }
    if (sees) {
        say(ret_says, "a%d %s %s", i + 1, has ? "sees" : "does not see", of->name);
    } else {
        say(ret_says, "a%d %s %s", i + 1, has ? "has" : "has not", of->name);
    }
}

static void look(const struct words *words, int i, struct says *ret_says)
{
    if (word_is(words, 1, "has") || word_is(words, 1, "sees")) {
        say_has(i, write_of(words, 3), word_is(words, 1, "sees"), ret_says);
    } else if (word_is(words, 1, "receives")) {
        say_receives(i, ret_says);
    } else if (word_is(words, 1, "standbys")) {
        say_standbys(i, ret_says);
    } else if (word_is(words, 1, "timeline")) {
        say(ret_says, "a%d is on timeline %s", i + 1, timeline(i));
    } else if (word_is(words, 1, "control")) {
        say_control(i, ret_says);
    } else if (word_is(words, 1, "life")) {
        say_life(i, ret_says);
    } else if (word_is(words, 1, "sql")) {
        say(ret_says, "%s", ask(i, words_from(words, 3)));
    } else {
        say(ret_says, "? there is no \"%s\"", words->line);
    }
}

static bool handle(const struct words *words, int i)
{
    if (word_is(words, 1, "crash")) {
        crash(i);
    } else if (word_is(words, 1, "freeze")) {
        signal_all(&servers[i], SIGSTOP);
    } else if (word_is(words, 1, "thaw")) {
        signal_all(&servers[i], SIGCONT);
    } else if (word_is(words, 1, "cut")) {
        filter(i, "add");
    } else if (word_is(words, 1, "heal")) {
        filter(i, "delete");
    } else if (word_is(words, 1, "stall") || word_is(words, 1, "unstall")) {
        signal_receiver(i, word_is(words, 1, "stall"));
    } else if (word_is(words, 1, "patient")) {
        ask(i, "ALTER SYSTEM SET wal_receiver_timeout = '60s'");
        reload(i);
    } else if (word_is(words, 1, "pause")) {
        ask(i, "SELECT pg_wal_replay_pause()");
        becomes(i, "SELECT pg_get_wal_replay_pause_state()", "paused", LONG_MS);
    } else if (word_is(words, 1, "resume")) {
        ask(i, "SELECT pg_wal_replay_resume()");
    } else if (word_is(words, 1, "hold") || word_is(words, 1, "release")) {
        signal_held(words, i);
    } else if (word_is(words, 1, "follow")) {
        upstream[i] = word_number(words, 3, 'a');
        reload(i);
        pause_ms(SETTLE_MS);
    } else {
        return false;
    }
    return true;
}

static const struct pg_hands pg_hands = {
    .start = start,
    .set_names = set_names,
    .commit = commit,
    .probe = probe,
    .promote = promote,
    .stop = stop,
    .handle = handle,
    .look = look,
};

void real_pg(const struct words *words, struct says *ret_says)
{
    if (word_is(words, 1, "await")) {
        look_at(write_of(words, 2), AWAITED_MS, ret_says);
        return;
    }
    if (word_is(words, 1, "cancel")) {
        give_up(write_of(words, 2), ret_says);
        return;
    }
    pg_by_hand(&pg_hands, words, ret_says);
}

/* ---- the whole of it ---- */

void real_pg_open(void)
{
    struct server template;
    int rc = fixture_start(NULL);
    assert(rc == 0);
    (void)rc;
    name_server(&template, "template");
    append_file(template.dir, "postgresql.conf", "listen_addresses = ''\n");
    const struct server as_made = {.port = template.port};
    char text[64];
    snprintf(text, sizeof text, "port = %u\n", (unsigned)as_made.port);
    append_file(template.dir, "postgresql.conf", text);
    server_start(&template);
    sql(&template, "CREATE TABLE script (name text)");
    server_stop(&template);
}

void real_pg_begin(void)
{
    memset(servers, 0, sizeof servers);
    memset(is_standby, 0, sizeof is_standby);
    memset(wanted, 0, sizeof wanted);
    memset(stalled, 0, sizeof stalled);
    memset(held, 0, sizeof held);
    memset(start_times, 0, sizeof start_times);
    memset(life_counts, 0, sizeof life_counts);
    commits_len = 0;
    for (int i = 0; i < NODES; i++) {
        upstream[i] = -1;
    }
}

void real_pg_end(void)
{
    for (int n = 0; n < commits_len; n++) {
        PQfinish(commits[n].conn);
    }
    commits_len = 0;
    for (int i = 0; i < NODES; i++) {
        crash(i);
        server_remove(&servers[i]);
    }
}

void real_pg_close(void)
{
    real_pg_end();
    fixture_end(NULL);
}
