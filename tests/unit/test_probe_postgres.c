/* probes/postgres.c against real servers, each brought into one of the states that a probe must
 * tell apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "controller/base/loop.h"
#include "probes/postgres.h"
#include "tests/unit/postgres_fixture.h"

#define DEADLINE_MS 5000 /* where an answer comes */
#define SILENT_MS   600  /* where none comes */
#define TEST_MS     20000

struct watcher {
    struct loop *loop;
    struct probe_pg *probe;
    struct instance_fact fact;
    bool answered;
    bool news;
};

static struct server server;
static struct server west;
static bool own_network; /* we have a network namespace of our own, and may drop packets in it */

static void on_fact(void *arg, const struct instance_fact *fact)
{
    struct watcher *watcher = arg;
    assert_false(watcher->answered);
    watcher->answered = true;
    watcher->fact = *fact;
}

static void on_news(void *arg)
{
    struct watcher *watcher = arg;
    assert_false(probe_pg_busy(watcher->probe));
    watcher->news = true;
}

static void watch_target(struct watcher *watcher, const struct pg_target *target,
                         uint32_t deadline_ms)
{
    probe_pg_free(watcher->probe);
    struct probe_pg_params params = {
        .target = *target,
        .controller = "ops1",
        .deadline_ms = deadline_ms,
        .done = on_fact,
        .on_news = on_news,
        .arg = watcher,
    };
    watcher->probe = probe_pg_new(watcher->loop, &params);
}

static struct pg_target target_of(const struct server *of)
{
    return (struct pg_target){.hostaddr = "127.0.0.1",
                              .port = of->port,
                              .dbname = "postgres",
                              .user = "failoverd",
                              .password = FIXTURE_PASSWORD};
}

static void watch(struct watcher *watcher, const struct server *of, uint32_t deadline_ms)
{
    struct pg_target target = target_of(of);
    watch_target(watcher, &target, deadline_ms);
}

static enum cause ask(struct watcher *watcher)
{
    watcher->answered = false;
    watcher->news = false;
    probe_pg_ask(watcher->probe);
    assert_false(watcher->answered); /* never from inside */
    assert_true(loop_run_until(watcher->loop, &watcher->answered, TEST_MS));
    assert_true(watcher->fact.answered_ms >= watcher->fact.asked_ms);
    return watcher->fact.cause;
}

#define assert_cause(watcher, wanted)                                                              \
    do {                                                                                           \
        enum cause found = ask(watcher);                                                           \
        if (found != (wanted)) {                                                                   \
            fail_msg("%s: %s, wanted %s", cause_names[found], (watcher)->fact.detail,              \
                     cause_names[wanted]);                                                         \
        }                                                                                          \
    } while (0)

static void await_news(struct watcher *watcher)
{
    assert_true(loop_run_until(watcher->loop, &watcher->news, TEST_MS));
}

static int backends(void)
{
    return atoi(sql(&server, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'failoverd'"));
}

static int setup(void **state)
{
    static struct watcher watcher;
    watcher = (struct watcher){.loop = loop_new()};
    primary_start(&server, "east", NULL);
    west = (struct server){0};
    *state = &watcher;
    return 0;
}

static int teardown(void **state)
{
    struct watcher *watcher = *state;
    probe_pg_free(watcher->probe);
    loop_free(watcher->loop);
    server_remove(&server);
    server_remove(&west);
    return 0;
}

static void a_primary_takes_the_heartbeat_and_tells_its_state(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    uint64_t system_id =
        strtoull(sql(&server, "SELECT system_identifier FROM pg_control_system()"), NULL, 10);
    probe_pg_expect(watcher->probe, ROLE_PRIMARY, system_id);
    assert_cause(watcher, CAUSE_OK);
    assert_true(watcher->fact.answered && watcher->fact.wrote);
    assert_int_equal(watcher->fact.role, ROLE_PRIMARY);
    assert_int_equal(watcher->fact.system_id, system_id);
    assert_int_equal(watcher->fact.timeline, 1);
    assert_true(watcher->fact.write_lsn > 0);
    assert_true(watcher->fact.sync_commit_on);
    assert_string_equal(watcher->fact.sync_names, "");
    assert_int_equal(watcher->fact.standbys_len, 0);
    uint64_t before = watcher->fact.write_lsn;
    assert_cause(watcher, CAUSE_OK);
    assert_true(watcher->fact.write_lsn > before);
    assert_string_equal(sql(&server, "SELECT controller || ' ' || counter FROM failover.heartbeat"),
                        "ops1 2");
    assert_int_equal(backends(), 1); /* one session, held */
}

static void a_standby_tells_how_far_it_is(void **state)
{
    struct watcher *watcher = *state;
    standby_start(&west, "west", &server, NULL);
    watch(watcher, &west, DEADLINE_MS);
    probe_pg_expect(watcher->probe, ROLE_STANDBY, 0);
    assert_cause(watcher, CAUSE_OK);
    assert_int_equal(watcher->fact.role, ROLE_STANDBY);
    assert_false(watcher->fact.wrote);
    assert_true(watcher->fact.receiving);
    assert_false(watcher->fact.replay_paused);
    assert_int_equal(watcher->fact.timeline, 1);
    uint64_t before = watcher->fact.receive_lsn;
    assert_true(before > 0);
    sql(&server, "CREATE TABLE grown AS SELECT generate_series(1, 1000)");
    bool grown = false;
    for (uint64_t until_ms = clock_now_ms() + TEST_MS; !grown && clock_now_ms() < until_ms;) {
        assert_cause(watcher, CAUSE_OK);
        grown = watcher->fact.receive_lsn > before && watcher->fact.replay_idle &&
                watcher->fact.replay_lsn == watcher->fact.receive_lsn;
    }
    assert_true(grown);
}

static void a_primary_tells_who_follows_it(void **state)
{
    struct watcher *watcher = *state;
    sql(&server, "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (west)'");
    standby_start(&west, "west", &server, NULL);
    sql(&server, "SELECT pg_reload_conf()");
    await_sql(&server, "SELECT sync_state FROM pg_stat_replication", "sync");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    assert_string_equal(watcher->fact.sync_names, "FIRST 1 (west)");
    assert_int_equal(watcher->fact.standbys_len, 1);
    assert_string_equal(watcher->fact.standbys[0].name, "west");
    assert_true(watcher->fact.standbys[0].streaming && watcher->fact.standbys[0].sync);
    assert_int_equal(watcher->fact.standbys[0].sync_priority, 1);
    assert_true(watcher->fact.standbys[0].flush_lsn > 0);
}

static void a_standby_that_lost_its_primary_is_heard_to_its_end(void **state)
{
    struct watcher *watcher = *state;
    standby_start(&west, "west", &server, NULL);
    sql(&server, "CREATE TABLE grown AS SELECT generate_series(1, 1000)");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    server_end(&server);
    server_stop(&west);
    server_start(&west); /* its receive position is empty now; its disk is not */
    watch(watcher, &west, DEADLINE_MS);
    bool idle = false;
    for (uint64_t until_ms = clock_now_ms() + TEST_MS; !idle && clock_now_ms() < until_ms;) {
        assert_cause(watcher, CAUSE_OK);
        idle = watcher->fact.replay_idle;
    }
    assert_true(idle);
    assert_false(watcher->fact.receiving);
    assert_true(watcher->fact.receive_lsn > 0);
    assert_int_equal(watcher->fact.timeline, 1);
}

static void a_paused_replay_is_seen(void **state)
{
    struct watcher *watcher = *state;
    standby_start(&west, "west", &server, NULL);
    sql(&west, "SELECT pg_wal_replay_pause()");
    sql(&server, "CREATE TABLE grown AS SELECT generate_series(1, 1000)");
    await_sql(&west, "SELECT pg_get_wal_replay_pause_state()", "paused");
    await_sql(&west, "SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()", "t");
    watch(watcher, &west, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    assert_true(watcher->fact.replay_paused);
    assert_false(watcher->fact.replay_idle);
    assert_true(watcher->fact.receive_lsn > watcher->fact.replay_lsn);
}

static void a_standby_in_the_primarys_place_is_in_recovery(void **state)
{
    struct watcher *watcher = *state;
    standby_start(&west, "west", &server, NULL);
    watch(watcher, &west, DEADLINE_MS);
    probe_pg_expect(watcher->probe, ROLE_PRIMARY, 0);
    assert_cause(watcher, CAUSE_IN_RECOVERY);
    assert_true(watcher->fact.answered);
    assert_int_equal(watcher->fact.role, ROLE_STANDBY);
}

static void a_killed_postmaster_is_news_and_then_refused(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    kill(server.pid, SIGKILL);
    await_news(watcher);
    assert_cause(watcher, CAUSE_REFUSED);
    assert_false(watcher->fact.answered);
    reap(&server);
    server_start(&server);
    assert_cause(watcher, CAUSE_OK);
}

static void a_terminated_session_is_news_and_nothing_more(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    sql(&server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE usename = 'failoverd'");
    await_news(watcher);
    assert_cause(watcher, CAUSE_OK);
}

static void a_connection_that_broke_unseen_is_tried_anew_in_the_same_probe(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    sql(&server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE usename = 'failoverd'");
    await_sql(&server, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'failoverd'", "0");
    assert_cause(watcher, CAUSE_OK); /* the loop did not run in between */
    assert_true(watcher->fact.wrote);
}

static void a_stopped_server_is_hung_and_collects_no_sessions(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, SILENT_MS);
    assert_cause(watcher, CAUSE_OK);
    int before = signal_all(&server, SIGSTOP);
    for (int i = 0; i < 4; i++) {
        assert_cause(watcher, CAUSE_HUNG);
        assert_false(watcher->fact.answered);
    }
    watcher->news = false;
    signal_all(&server, SIGCONT);
    await_news(watcher);
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    assert_true(signal_all(&server, 0) <= before + 2);
}

static void an_address_that_answers_nothing_has_timed_out(void **state)
{
    struct watcher *watcher = *state;
    /* A listener whose queue is full drops the packets that ask for a connection. */
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof any;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&any, len), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&any, &len), 0);
    int fillers[4];
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fillers[i], (struct sockaddr *)&any, sizeof any);
    }
    struct pg_target target = target_of(&server);
    target.port = ntohs(any.sin_port);
    watch_target(watcher, &target, SILENT_MS);
    assert_cause(watcher, CAUSE_TIMED_OUT);
    assert_cause(watcher, CAUSE_TIMED_OUT);
    for (int i = 0; i < 4; i++) {
        close(fillers[i]);
    }
    close(listener);
}

static void nft(const char *rules)
{
    char path[96];
    snprintf(path, sizeof path, "%s/rules.nft", fixture_dir);
    unlink(path);
    append_file(fixture_dir, "rules.nft", rules);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/usr/sbin/nft", "nft", "-f", path, NULL);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void a_path_that_loses_large_packets_has_timed_out(void **state)
{
    struct watcher *watcher = *state;
    if (!own_network) {
        skip();
    }
    watch(watcher, &server, SILENT_MS);
    assert_cause(watcher, CAUSE_OK);
    nft("table ip hole { chain out { type filter hook output priority 0;"
        " meta length > 1500 drop; }; }\n");
    assert_cause(watcher, CAUSE_TIMED_OUT);
    assert_cause(watcher, CAUSE_TIMED_OUT);
    nft("delete table ip hole\n");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
}

static void a_held_connection_that_goes_silent_has_timed_out(void **state)
{
    struct watcher *watcher = *state;
    if (!own_network) {
        skip();
    }
    watch(watcher, &server, SILENT_MS);
    assert_cause(watcher, CAUSE_OK);
    char rules[160];
    snprintf(rules, sizeof rules,
             "table ip cut { chain out { type filter hook output priority 0;"
             " tcp dport %u drop; tcp sport %u drop; }; }\n",
             server.port, server.port);
    nft(rules);
    assert_cause(watcher, CAUSE_TIMED_OUT); /* the held connection */
    assert_cause(watcher, CAUSE_TIMED_OUT); /* a new one */
    nft("delete table ip cut\n");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
}

static void a_write_that_waits_for_a_standby_is_a_sync_stall(void **state)
{
    struct watcher *watcher = *state;
    standby_start(&west, "west", &server, NULL);
    server_stop(&west);
    sql(&server, "ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (west)'");
    sql(&server, "SELECT pg_reload_conf()");
    await_sql(&server, "SHOW synchronous_standby_names", "FIRST 1 (west)");
    sql(&server, "CHECKPOINT"); /* the checkpointer has taken it up */
    watch(watcher, &server, 1500);
    for (int i = 0; i < 3; i++) {
        assert_cause(watcher, CAUSE_SYNC_STALL);
        assert_true(watcher->fact.answered);
        assert_false(watcher->fact.wrote);
    }
    assert_int_equal(backends(), 2); /* the one that waits, and the one that looks */
    watcher->news = false;
    server_start(&west);
    await_news(watcher); /* the write was acknowledged at last */
    assert_cause(watcher, CAUSE_OK);
    assert_true(watcher->fact.wrote);
    await_sql(&server, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'failoverd'", "1");
}

static int heartbeats(void)
{
    return atoi(sql(&server, "SELECT coalesce(sum(counter), 0) FROM failover.heartbeat"));
}

/* Each session that is cut off would leave a backend behind, until no connections are left. What
 * was cancelled is committed here, and acknowledged by nobody. */
static void e12_a_write_that_stalls_for_long_is_cancelled_and_leaves_no_backend(void **state)
{
    struct watcher *watcher = *state;
    int before = heartbeats();
    sql(&server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql(&server, "SELECT pg_reload_conf()");
    await_sql(&server, "SHOW synchronous_standby_names", "nobody");
    sql(&server, "CHECKPOINT");
    watch(watcher, &server, 1500);
    uint64_t end_ms = clock_now_ms() + 3 * (uint64_t)TEST_MS;
    while (heartbeats() < before + 2) { /* two of them were cancelled */
        assert_true(clock_now_ms() < end_ms);
        assert_cause(watcher, CAUSE_SYNC_STALL);
        assert_false(watcher->fact.wrote);
        assert_true(backends() <= 2);
    }
}

static void a_cancelled_wait_for_a_standby_is_no_acknowledgement(void **state)
{
    struct watcher *watcher = *state;
    sql(&server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql(&server, "SELECT pg_reload_conf()");
    await_sql(&server, "SHOW synchronous_standby_names", "nobody");
    sql(&server, "CHECKPOINT");
    watch(watcher, &server, DEADLINE_MS);
    watcher->answered = false;
    probe_pg_ask(watcher->probe);
    PGconn *conn = connect_to(&server);
    for (uint64_t until_ms = clock_now_ms() + TEST_MS;
         !watcher->answered && clock_now_ms() < until_ms;) {
        uv_run(loop_uv(watcher->loop), UV_RUN_NOWAIT);
        PQclear(PQexec(conn, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity "
                             "WHERE wait_event = 'SyncRep'"));
    }
    PQfinish(conn);
    assert_int_equal(watcher->fact.cause, CAUSE_SYNC_STALL);
    assert_false(watcher->fact.wrote);
    assert_non_null(strstr(watcher->fact.detail, "canceling wait"));
}

static void a_locked_heartbeat_table_is_locked(void **state)
{
    struct watcher *watcher = *state;
    PGconn *conn = connect_to(&server);
    PQclear(PQexec(conn, "BEGIN; LOCK TABLE failover.heartbeat IN ACCESS EXCLUSIVE MODE"));
    watch(watcher, &server, 1500);
    assert_cause(watcher, CAUSE_LOCKED);
    assert_true(watcher->fact.answered);
    PQclear(PQexec(conn, "COMMIT"));
    PQfinish(conn);
    assert_cause(watcher, CAUSE_OK);
}

/* What a disk that hangs looks like from outside: reads are answered, the write is not. */
static void a_write_that_does_not_end_is_hung(void **state)
{
    struct watcher *watcher = *state;
    sql(&server, "CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS "
                 "$$ BEGIN PERFORM pg_sleep(600); RETURN NEW; END $$");
    sql(&server, "CREATE TRIGGER hang BEFORE INSERT ON failover.heartbeat "
                 "FOR EACH ROW EXECUTE FUNCTION hang()");
    watch(watcher, &server, 1500);
    for (int i = 0; i < 2; i++) {
        assert_cause(watcher, CAUSE_HUNG);
        assert_true(watcher->fact.answered);
        assert_int_equal(watcher->fact.role, ROLE_PRIMARY);
        assert_non_null(strstr(watcher->fact.detail, "PgSleep"));
    }
    assert_int_equal(backends(), 2);
}

static void a_full_disk_is_out_of_space(void **state)
{
    struct watcher *watcher = *state;
    sql(&server,
        "CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$");
    sql(&server, "CREATE TRIGGER full_disk BEFORE INSERT ON failover.heartbeat "
                 "FOR EACH ROW EXECUTE FUNCTION full()");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_NO_SPACE);
}

static void a_primary_that_is_read_only_by_configuration_is_read_only(void **state)
{
    struct watcher *watcher = *state;
    sql(&server, "ALTER SYSTEM SET default_transaction_read_only = on");
    sql(&server, "SELECT pg_reload_conf()");
    await_sql(&server, "SHOW default_transaction_read_only", "on");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_READ_ONLY);
    assert_int_equal(watcher->fact.role, ROLE_PRIMARY);
}

static void a_full_house_is_no_failure_for_one_who_is_inside(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    PGconn *guests[20] = {NULL};
    for (int i = 0; i < 20; i++) {
        guests[i] = try_connect(&server);
    }
    assert_cause(watcher, CAUSE_OK); /* the held session needs no new place */
    watch(watcher, &server, DEADLINE_MS);
    guests[19] = guests[19] != NULL ? guests[19] : try_connect(&server);
    assert_cause(watcher, CAUSE_TOO_MANY);
    for (int i = 0; i < 20; i++) {
        PQfinish(guests[i]);
    }
}

static void another_cluster_is_not_written_to(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    probe_pg_expect(watcher->probe, ROLE_PRIMARY, 12345);
    assert_cause(watcher, CAUSE_WRONG_SYSTEM);
    assert_string_equal(sql(&server, "SELECT count(*) FROM failover.heartbeat"), "0");
}

static void what_setup_sql_makes_is_missed(void **state)
{
    struct watcher *watcher = *state;
    sql(&server, "DROP SCHEMA failover CASCADE");
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_SETUP);
    struct pg_target target = target_of(&server);
    target.dbname = "nothing";
    watch_target(watcher, &target, DEADLINE_MS);
    assert_cause(watcher, CAUSE_SETUP);
}

static void a_wrong_password_is_a_fault_of_credentials(void **state)
{
    struct watcher *watcher = *state;
    struct pg_target target = target_of(&server);
    target.password = "wrong";
    watch_target(watcher, &target, DEADLINE_MS);
    assert_cause(watcher, CAUSE_CREDENTIALS);
    target.password = NULL;
    watch_target(watcher, &target, DEADLINE_MS);
    assert_cause(watcher, CAUSE_CREDENTIALS);
    target.password = FIXTURE_PASSWORD;
    target.sslmode = "require"; /* the server has no certificate */
    watch_target(watcher, &target, DEADLINE_MS);
    assert_cause(watcher, CAUSE_CERTIFICATE);
}

static void a_prober_without_descriptors_blames_itself(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    close(next);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum cause cause = ask(watcher);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_string_equal(cause_names[cause], cause_names[CAUSE_PROBER]);
    assert_cause(watcher, CAUSE_OK);
}

static void a_server_that_shuts_down_says_so(void **state)
{
    struct watcher *watcher = *state;
    PGconn *guest = connect_to(&server);
    kill(server.pid, SIGTERM); /* smart: it waits for its guest and lets nobody in */
    watch(watcher, &server, DEADLINE_MS);
    for (uint64_t until_ms = clock_now_ms() + TEST_MS;
         ask(watcher) == CAUSE_OK && clock_now_ms() < until_ms;) {
        watch(watcher, &server, DEADLINE_MS);
    }
    assert_string_equal(cause_names[watcher->fact.cause], cause_names[CAUSE_STOPPING]);
    PQfinish(guest);
}

static void a_server_that_starts_up_says_so(void **state)
{
    struct watcher *watcher = *state;
    server_stop(&server);
    append_file(server.dir, "postgresql.conf", "hot_standby = off\n");
    append_file(server.dir, "standby.signal", "");
    server_spawn(&server);
    watch(watcher, &server, DEADLINE_MS);
    for (uint64_t until_ms = clock_now_ms() + TEST_MS;
         ask(watcher) == CAUSE_REFUSED && clock_now_ms() < until_ms;) {
        fixture_pause();
    }
    assert_string_equal(cause_names[watcher->fact.cause], cause_names[CAUSE_STARTING]);
}

static void a_stall_of_ours_is_not_the_servers(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, SILENT_MS);
    assert_cause(watcher, CAUSE_OK);
    watcher->answered = false;
    probe_pg_ask(watcher->probe);
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* past the deadline; the loop does not run */
    assert_true(loop_run_until(watcher->loop, &watcher->answered, TEST_MS));
    assert_string_equal(cause_names[watcher->fact.cause], cause_names[CAUSE_OK]);
    assert_true(watcher->fact.wrote);
}

static void a_probe_can_be_freed_while_it_works(void **state)
{
    struct watcher *watcher = *state;
    watch(watcher, &server, DEADLINE_MS);
    watcher->answered = false;
    probe_pg_ask(watcher->probe);
    assert_true(probe_pg_busy(watcher->probe));
    probe_pg_free(watcher->probe);
    watcher->probe = NULL;
    watch(watcher, &server, DEADLINE_MS);
    assert_cause(watcher, CAUSE_OK);
    watcher->answered = false;
    probe_pg_ask(watcher->probe);
    probe_pg_free(watcher->probe);
    watcher->probe = NULL;
    assert_false(watcher->answered);
}

/* Root gets a network of its own, in which packets may be dropped. Before any thread or server
 * exists. */
static void take_a_network(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (geteuid() == 0 && unshare(CLONE_NEWNET) == 0) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        own_network = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
        assert(own_network);
        close(fd);
    }
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    take_a_network();
    const struct CMUnitTest tests[] = {
        server_test(a_primary_takes_the_heartbeat_and_tells_its_state),
        server_test(a_standby_tells_how_far_it_is),
        server_test(a_primary_tells_who_follows_it),
        server_test(a_standby_that_lost_its_primary_is_heard_to_its_end),
        server_test(a_paused_replay_is_seen),
        server_test(a_standby_in_the_primarys_place_is_in_recovery),
        server_test(a_killed_postmaster_is_news_and_then_refused),
        server_test(a_terminated_session_is_news_and_nothing_more),
        server_test(a_connection_that_broke_unseen_is_tried_anew_in_the_same_probe),
        server_test(a_stopped_server_is_hung_and_collects_no_sessions),
        server_test(an_address_that_answers_nothing_has_timed_out),
        server_test(a_path_that_loses_large_packets_has_timed_out),
        server_test(a_held_connection_that_goes_silent_has_timed_out),
        server_test(a_write_that_waits_for_a_standby_is_a_sync_stall),
        server_test(e12_a_write_that_stalls_for_long_is_cancelled_and_leaves_no_backend),
        server_test(a_cancelled_wait_for_a_standby_is_no_acknowledgement),
        server_test(a_locked_heartbeat_table_is_locked),
        server_test(a_write_that_does_not_end_is_hung),
        server_test(a_full_disk_is_out_of_space),
        server_test(a_primary_that_is_read_only_by_configuration_is_read_only),
        server_test(a_full_house_is_no_failure_for_one_who_is_inside),
        server_test(another_cluster_is_not_written_to),
        server_test(what_setup_sql_makes_is_missed),
        server_test(a_wrong_password_is_a_fault_of_credentials),
        server_test(a_prober_without_descriptors_blames_itself),
        server_test(a_server_that_shuts_down_says_so),
        server_test(a_server_that_starts_up_says_so),
        server_test(a_stall_of_ours_is_not_the_servers),
        server_test(a_probe_can_be_freed_while_it_works),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
