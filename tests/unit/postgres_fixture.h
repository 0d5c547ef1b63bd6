/*
 * postgres_fixture.h - real PostgreSQL servers for the tests that need them.
 *
 * One template per program (initdb and setup-sql, about two seconds); each test copies it for as
 * many servers as it wants, a primary or a standby of another one, on loopback and on a unix socket
 * in the same directory. The postmaster is our child and is ended by its pid; whatever runs with
 * the data directory as its own is ended with it.
 */
#ifndef TESTS_UNIT_POSTGRES_FIXTURE_H
#define TESTS_UNIT_POSTGRES_FIXTURE_H

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/ctl/setup_sql.h"

#define FIXTURE_BIN      "/usr/lib/postgresql/15/bin/"
#define FIXTURE_PASSWORD "a secret of the tests"
#define FIXTURE_WAIT_MS  20000

struct server {
    char dir[96]; /* the data directory */
    char sockets[64];
    uint16_t port;
    pid_t pid; /* of the postmaster; 0: not running */
};

static char fixture_dir[64];

static inline void fixture_pause(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* In a child, before exec: PostgreSQL refuses to be run by root. */
static inline void become_postgres(void)
{
    if (geteuid() == 0) {
        const struct passwd *user = getpwnam("postgres");
        if (user == NULL || setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 ||
            setuid(user->pw_uid) != 0) {
            _exit(126);
        }
    }
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
}

/* Starts argv as postgres with its output in the fixture's log; `input` becomes its standard input.
 */
static inline pid_t spawn(const char *const *argv, int input)
{
    char log[96];
    snprintf(log, sizeof log, "%s/log", fixture_dir);
    pid_t pid = fork();
    assert(pid >= 0);
    if (pid == 0) {
        become_postgres();
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        int in = input >= 0 ? input : open("/dev/null", O_RDONLY);
        if (out < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0) {
            _exit(125);
        }
        setenv("LC_ALL", "C", 1);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid;
}

static inline void run(const char *const *argv, int input)
{
    pid_t pid = spawn(argv, input);
    int status = 0;
    pid_t ended = waitpid(pid, &status, 0);
    if (ended != pid || status != 0) {
        fprintf(stderr, "%s: status %d, see %s/log\n", argv[0], status, fixture_dir);
        abort();
    }
}

static inline uint16_t free_port(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = bind(fd, (struct sockaddr *)&any, len);
    rc |= getsockname(fd, (struct sockaddr *)&any, &len);
    assert(rc == 0);
    (void)rc;
    close(fd);
    return ntohs(any.sin_port);
}

static inline void append_file(const char *dir, const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "a");
    assert(file != NULL);
    fputs(text, file);
    fclose(file);
    const struct passwd *user = getpwnam("postgres");
    if (geteuid() == 0) {
        int rc = chown(path, user->pw_uid, user->pw_gid);
        assert(rc == 0);
        (void)rc;
    }
}

/* A superuser's connection over the unix socket, or NULL. */
static inline PGconn *try_connect(const struct server *server)
{
    char info[256];
    snprintf(info, sizeof info, "host=%s port=%u dbname=postgres user=postgres", server->sockets,
             server->port);
    PGconn *conn = PQconnectdb(info);
    if (PQstatus(conn) == CONNECTION_OK) {
        return conn;
    }
    PQfinish(conn);
    return NULL;
}

static inline PGconn *connect_to(const struct server *server)
{
    PGconn *conn = NULL;
    for (uint64_t until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
         (conn = try_connect(server)) == NULL && clock_now_ms() < until_ms;) {
        fixture_pause();
    }
    assert(conn != NULL);
    return conn;
}

/* Runs a statement as superuser; the first value of the answer, "" if there is none, until the next
 * call. */
static inline const char *sql(const struct server *server, const char *statement)
{
    static char value[1024];
    PGconn *conn = connect_to(server);
    PGresult *result = PQexec(conn, statement);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fprintf(stderr, "%s: %s", statement, PQresultErrorMessage(result));
        abort();
    }
    snprintf(value, sizeof value, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(conn);
    return value;
}

/* Until the statement's first value is the wanted one. */
static inline void await_sql(const struct server *server, const char *statement, const char *wanted)
{
    uint64_t until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
    while (strcmp(sql(server, statement), wanted) != 0) {
        if (clock_now_ms() > until_ms) {
            fprintf(stderr, "%s: never became %s\n", statement, wanted);
            abort();
        }
        fixture_pause();
    }
}

static inline void server_spawn(struct server *server)
{
    const char *argv[] = {FIXTURE_BIN "postgres", "-D", server->dir, NULL};
    server->pid = spawn(argv, -1);
}

/* Starts the postmaster and waits until it takes connections. */
static inline void server_start(struct server *server)
{
    server_spawn(server);
    PQfinish(connect_to(server));
}

/* A signal to every process whose working directory is the data directory; returns how many there
 * were. */
static inline int signal_all(const struct server *server, int number)
{
    int count = 0;
    DIR *proc = opendir("/proc");
    assert(proc != NULL);
    for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        char path[PATH_MAX];
        char cwd[PATH_MAX];
        snprintf(path, sizeof path, "/proc/%s/cwd", entry->d_name);
        ssize_t len = atoi(entry->d_name) > 0 ? readlink(path, cwd, sizeof cwd - 1) : -1;
        if (len > 0) {
            cwd[len] = '\0';
            if (strcmp(cwd, server->dir) == 0) {
                kill(atoi(entry->d_name), number);
                count++;
            }
        }
    }
    closedir(proc);
    return count;
}

static inline void reap(struct server *server)
{
    if (server->pid != 0) {
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
    for (uint64_t until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
         signal_all(server, 0) > 0 && clock_now_ms() < until_ms;) {
        fixture_pause();
    }
}

/* A clean, fast shutdown. */
static inline void server_stop(struct server *server)
{
    kill(server->pid, SIGINT);
    reap(server);
}

/* What a killed postmaster leaves behind: a block of shared memory (line 7 of its file: key and
 * id), of which the kernel has room for 4096. */
static inline void forget_block(const struct server *server)
{
    char path[PATH_MAX];
    char line[256] = "";
    snprintf(path, sizeof path, "%s/postmaster.pid", server->dir);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return;
    }
    int number = 0;
    while (number < 7 && fgets(line, sizeof line, file) != NULL) {
        number++;
    }
    fclose(file);
    char *rest = NULL;
    key_t key = (key_t)strtoull(line, &rest, 10);
    int id = (int)strtoull(rest, NULL, 10);
    struct shmid_ds about;
    if (number == 7 && shmctl(id, IPC_STAT, &about) == 0 && about.shm_perm.__key == key &&
        about.shm_nattch == 0) {
        shmctl(id, IPC_RMID, NULL);
    }
}

/* Whatever state it is in. */
static inline void server_end(struct server *server)
{
    if (server->dir[0] != '\0') {
        signal_all(server, SIGKILL);
        reap(server);
        forget_block(server);
    }
}

/* Ends it and removes its files. */
static inline void server_remove(struct server *server)
{
    if (server->dir[0] != '\0') {
        server_end(server);
        const char *argv[] = {"/bin/rm", "-rf", server->dir, NULL};
        run(argv, -1);
        server->dir[0] = '\0';
    }
}

static inline void configure(const struct server *server, const char *more)
{
    char text[1024];
    snprintf(text, sizeof text,
             "port = %u\nunix_socket_directories = '%s'\nlisten_addresses = '127.0.0.1'\n%s\n",
             server->port, server->sockets, more != NULL ? more : "");
    append_file(server->dir, "postgresql.conf", text);
}

static inline void name_server(struct server *server, const char *name)
{
    *server = (struct server){.port = free_port()};
    snprintf(server->sockets, sizeof server->sockets, "%.40s", fixture_dir);
    snprintf(server->dir, sizeof server->dir, "%.40s/%.32s", fixture_dir, name);
}

/* A copy of the template, as a primary; `more` are lines for postgresql.conf, or NULL. */
static inline void primary_start(struct server *server, const char *name, const char *more)
{
    char template[96];
    snprintf(template, sizeof template, "%s/template", fixture_dir);
    name_server(server, name);
    const char *copy[] = {"/bin/cp", "-a", template, server->dir, NULL};
    run(copy, -1);
    configure(server, more);
    server_start(server);
}

/* A copy of the template, as a standby that streams from `primary` under the name `name`. */
static inline void standby_start(struct server *server, const char *name,
                                 const struct server *primary, const char *more)
{
    char template[96];
    char text[512];
    snprintf(template, sizeof template, "%s/template", fixture_dir);
    name_server(server, name);
    const char *copy[] = {"/bin/cp", "-a", template, server->dir, NULL};
    run(copy, -1);
    snprintf(text, sizeof text,
             "primary_conninfo = 'host=%s port=%u user=postgres application_name=%s'\n%s",
             primary->sockets, primary->port, name, more != NULL ? more : "");
    configure(server, text);
    append_file(server->dir, "standby.signal", "");
    server_start(server);
    await_sql(server, "SELECT status FROM pg_stat_wal_receiver", "streaming");
}

static inline void run_setup_sql(const struct server *server)
{
    char path[96];
    char port[8];
    snprintf(path, sizeof path, "%s/setup.sql", fixture_dir);
    snprintf(port, sizeof port, "%u", server->port);
    char *text = setup_sql_text(NULL, "postgres");
    unlink(path);
    append_file(fixture_dir, "setup.sql", text);
    free(text);
    int input = open(path, O_RDONLY);
    assert(input >= 0);
    const char *argv[] = {FIXTURE_BIN "psql", "-X",       "-q", "-h",
                          server->sockets,    "-p",       port, "-U",
                          "postgres",         "postgres", NULL};
    run(argv, input);
    close(input);
}

/* Makes the template: one data directory with the role, the heartbeat table and a password. */
static inline int fixture_start(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    /* In memory where there is such a place: a data directory is a thousand small files. */
    snprintf(fixture_dir, sizeof fixture_dir, "%s/failover-test-pg-XXXXXX",
             access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp");
    char *made = mkdtemp(fixture_dir);
    assert(made != NULL);
    const struct passwd *user = getpwnam("postgres");
    if (geteuid() == 0 && (user == NULL || chown(made, user->pw_uid, user->pw_gid) != 0)) {
        return -1;
    }
    struct server server;
    name_server(&server, "template");
    const char *initdb[] = {FIXTURE_BIN "initdb",
                            "-N",
                            "--wal-segsize=1",
                            "-D",
                            server.dir,
                            "-A",
                            "trust",
                            "-U",
                            "postgres",
                            "--locale=C",
                            "-E",
                            "UTF8",
                            NULL};
    run(initdb, -1);
    char hba[PATH_MAX];
    snprintf(hba, sizeof hba, "%s/pg_hba.conf", server.dir);
    unlink(hba);
    append_file(server.dir, "pg_hba.conf",
                "local all postgres trust\nlocal replication postgres trust\n"
                "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n");
    append_file(server.dir, "postgresql.conf",
                "fsync = off\nshared_buffers = 16MB\nmax_connections = 20\n"
                "restart_after_crash = off\nmax_wal_size = 64MB\nmin_wal_size = 2MB\n"
                "dynamic_shared_memory_type = mmap\n"); /* in the directory: removed with it */
    configure(&server, "");
    server_start(&server);
    run_setup_sql(&server);
    run_setup_sql(&server); /* it can be run again */
    sql(&server, "ALTER ROLE failoverd PASSWORD '" FIXTURE_PASSWORD "'");
    server_stop(&server);
    return 0;
}

static inline int fixture_end(void **state)
{
    (void)state;
    const char *argv[] = {"/bin/rm", "-rf", fixture_dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

#endif
