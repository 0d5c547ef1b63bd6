/*
 * Making PostgreSQL go by another sync entry, and proving it: real servers, whose walsenders and
 * standbys are stopped and go on again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fence/guard/slots.h"
#include "fence/guard/sync.h"
#include "tests/unit/postgres_fixture.h"

#define TEST_MS 40000

static struct server east, west, south;

struct guard { /* what the instance does around it: the file, and the signal to read it */
    struct loop *loop;
    struct sync *sync;
    struct slots *slots;
    char file[160];
    char before[512], written[512];
    struct guard_sync wanted;
    bool ended;
    enum sync_outcome outcome;
    char text[ERR_TEXT_MAX], complaint[ERR_TEXT_MAX], word[ERR_TEXT_MAX];
    bool said, answered;
    int by_nobody, restored;
    enum slots_answer answer;
};
static struct guard guard;

static void put_names(const char *names)
{
    snprintf(guard.written, sizeof guard.written, "synchronous_standby_names = '%s'\n", names);
}

static void write_file(void *arg, enum sync_file file)
{
    (void)arg;
    char names[SYNC_NAMES_SIZE];
    if (file == SYNC_FILE_BEFORE) {
        memcpy(guard.written, guard.before, sizeof guard.written);
        guard.restored++;
    } else if (file == SYNC_FILE_NOBODY) {
        put_names(GUARD_SYNC_NOBODY_NAMES);
        guard.by_nobody++;
    } else {
        guard_sync_names(guard_sync_target(&guard.wanted), names);
        put_names(names);
    }
    unlink(guard.file);
    append_file(east.dir, "failover.conf", guard.written);
    kill(east.pid, SIGHUP);
    sync_written(guard.sync, true, "");
}

static void on_done(void *arg, enum sync_outcome outcome, const char *text)
{
    (void)arg;
    guard.ended = true;
    guard.outcome = outcome;
    snprintf(guard.text, sizeof guard.text, "%s", text);
}

static void on_complaint(void *arg, const char *text)
{
    (void)arg;
    snprintf(guard.complaint, sizeof guard.complaint, "%s", text);
}

static void on_word(void *arg, const char *text)
{
    (void)arg;
    guard.said = true;
    snprintf(guard.word, sizeof guard.word, "%s", text);
}

static void on_answer(void *arg, enum slots_answer answer)
{
    (void)arg;
    guard.answered = true;
    guard.answer = answer;
}

static int setup(void **state)
{
    (void)state;
    memset(&guard, 0, sizeof guard);
    guard.loop = loop_new();
    primary_start(&east, "east", "include_if_exists = 'failover.conf'\nmax_wal_senders = 10");
    west = (struct server){0};
    south = (struct server){0};
    snprintf(guard.file, sizeof guard.file, "%s/failover.conf", east.dir);
    struct pg_target target = {.hostaddr = east.sockets,
                               .port = east.port,
                               .dbname = "postgres",
                               .user = "postgres",
                               .sslmode = "disable"};
    struct sync_params params = {.target = target,
                                 .include_file = guard.file,
                                 .write = write_file,
                                 .done = on_done,
                                 .complain = on_complaint};
    struct slots_params slots = {.target = target, .on_word = on_word, .answered = on_answer};
    guard.sync = sync_new(guard.loop, &params);
    guard.slots = slots_new(guard.loop, &slots);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sync_free(guard.sync);
    slots_free(guard.slots);
    loop_free(guard.loop);
    server_remove(&south);
    server_remove(&west);
    server_remove(&east);
    return 0;
}

static struct sync_entry_record an_entry(bool first, int k, const char *one, const char *other)
{
    struct sync_entry_record entry = {.first = first, .k = k};
    const char *members[] = {one, other};
    for (int i = 0; i < 2 && members[i] != NULL; i++) {
        snprintf(entry.members[entry.members_len++], NAME_SIZE, "%s", members[i]);
    }
    return entry;
}

/* Begins an order to the last of the entries, of which there are `len`. */
static void begin(const struct sync_entry_record *entries, int len, bool barrier)
{
    struct sync_order order = {.sync = {.revision = 1, .len = len}, .proof = true};
    memcpy(order.sync.entries, entries, (size_t)len * sizeof entries[0]);
    order.by_nobody = guard_sync_mixes(&order.sync);
    order.barrier = barrier;
    memcpy(guard.before, guard.written, sizeof guard.before);
    guard.wanted = order.sync;
    guard.ended = false;
    guard.by_nobody = 0;
    guard.restored = 0;
    sync_begin(guard.sync, &order);
}

static enum sync_outcome change(const struct sync_entry_record *entries, int len, bool barrier)
{
    begin(entries, len, barrier);
    assert_true(loop_run_until(guard.loop, &guard.ended, TEST_MS));
    return guard.outcome;
}

/* Lets the loop turn until the statement's value is as wanted. */
static void await(const char *statement, const char *wanted)
{
    uint64_t until_ms = clock_now_ms() + TEST_MS;
    while (strcmp(sql(&east, statement), wanted) != 0) {
        assert_true(clock_now_ms() < until_ms);
        uv_run(loop_uv(guard.loop), UV_RUN_NOWAIT);
        fixture_pause();
    }
}

static int number(const char *statement)
{
    return atoi(sql(&east, statement));
}

static pid_t walsender_of(const char *name)
{
    char statement[160];
    snprintf(statement, sizeof statement,
             "SELECT pid FROM pg_stat_replication WHERE application_name = '%s'", name);
    return number(statement);
}

static const char waiting_sql[] =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";

static void from_nobody_to_somebody_goes_behind_two_checkpoints(void **state)
{
    (void)state;
    struct sync_entry_record entries[] = {{.k = 0}, an_entry(true, 1, "west", NULL)};
    standby_start(&west, "west", &east, NULL);
    int before = number("SELECT checkpoints_req FROM pg_stat_bgwriter");
    assert_int_equal(change(entries, 2, true), SYNC_DONE);
    assert_int_equal(guard.by_nobody, 0);
    assert_string_equal(sql(&east, "SHOW synchronous_standby_names"), "FIRST 1 (\"west\")");
    assert_true(number("SELECT checkpoints_req FROM pg_stat_bgwriter") >= before + 2);
    assert_int_equal(change(entries + 1, 1, false), SYNC_DONE);
}

static void e12_a_commit_that_nobody_confirms_is_unknown_and_is_cancelled_at_the_next_try(
    void **state)
{
    (void)state;
    struct sync_entry_record entry = an_entry(true, 1, "west", NULL);
    assert_int_equal(change(&entry, 1, true), SYNC_UNKNOWN);
    assert_non_null(strstr(guard.text, "unknown"));
    await(waiting_sql, "1"); /* it still waits, in its backend */
    begin(&entry, 1, false);
    await("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
          " AND application_name = 'failover-guard proof'",
          "1"); /* the new one, and not the one before */
    standby_start(&west, "west", &east, NULL);
    assert_true(loop_run_until(guard.loop, &guard.ended, TEST_MS));
    assert_int_equal(guard.outcome, SYNC_DONE);
}

/* Its client would see success. */
static void e15_a_cancelled_wait_is_no_proof(void **state)
{
    (void)state;
    struct sync_entry_record entry = an_entry(true, 1, "west", NULL);
    begin(&entry, 1, true);
    await(waiting_sql, "1");
    sql(&east, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    assert_true(loop_run_until(guard.loop, &guard.ended, TEST_MS));
    assert_int_equal(guard.outcome, SYNC_UNKNOWN);
    assert_non_null(strstr(guard.text, "canceling wait"));
}

static void f11_a_walsender_that_has_not_taken_the_new_entry_up_ends_the_proof(void **state)
{
    (void)state;
    struct sync_entry_record entries[] = {an_entry(false, 1, "west", NULL),
                                          an_entry(false, 1, "south", NULL)};
    standby_start(&west, "west", &east, NULL);
    standby_start(&south, "south", &east, NULL);
    assert_int_equal(change(entries, 1, true), SYNC_DONE);
    pid_t stopped = walsender_of("west");
    kill(stopped, SIGSTOP);
    assert_int_equal(change(entries, 2, false),
                     SYNC_UNKNOWN); /* south holds it, west's may release */
    assert_non_null(strstr(guard.text, "west"));
    kill(stopped, SIGCONT);
    assert_int_equal(change(entries, 2, false), SYNC_DONE);
}

static void s3_entries_that_could_mix_go_by_way_of_nobody(void **state)
{
    (void)state;
    struct sync_entry_record entries[] = {an_entry(false, 2, "west", "south"),
                                          an_entry(true, 1, "south", NULL)};
    standby_start(&west, "west", &east, NULL);
    standby_start(&south, "south", &east, NULL);
    assert_int_equal(change(entries, 1, true), SYNC_DONE);
    assert_int_equal(guard.by_nobody, 0);
    assert_int_equal(change(entries, 2, false), SYNC_DONE);
    assert_int_equal(guard.by_nobody, 1);
    assert_int_equal(guard.restored, 0);
}

static void s3_a_walsender_that_keeps_its_place_brings_the_entry_before_back(void **state)
{
    (void)state;
    struct sync_entry_record entries[] = {an_entry(false, 1, "west", "south"),
                                          an_entry(false, 2, "west", "south"),
                                          an_entry(true, 1, "south", NULL)};
    standby_start(&west, "west", &east, NULL);
    standby_start(&south, "south", &east, NULL);
    assert_int_equal(change(entries, 1, true), SYNC_DONE);
    pid_t stopped = walsender_of("west");
    kill(stopped, SIGSTOP);
    begin(entries, 3, false);
    await("SHOW synchronous_standby_names", GUARD_SYNC_NOBODY_NAMES);
    await("SHOW synchronous_standby_names", "ANY 1 (\"west\", \"south\")");
    await(waiting_sql, "0"); /* commits go on with south alone */
    assert_false(guard.ended);
    kill(stopped, SIGCONT);
    assert_true(loop_run_until(guard.loop, &guard.ended, TEST_MS));
    assert_int_equal(guard.outcome, SYNC_UNKNOWN);
    assert_int_equal(guard.restored, 1);
    assert_int_equal(change(entries, 3, false), SYNC_DONE);
}

static void to_nobody_commits_go_on_and_those_that_wait_end(void **state)
{
    (void)state;
    struct sync_entry_record entries[] = {an_entry(true, 1, "west", NULL), {.k = 0}};
    begin(entries, 1, true);
    await(waiting_sql, "1");
    assert_int_equal(change(entries, 2, false), SYNC_DONE); /* the one under way is given up */
    assert_string_equal(sql(&east, "SHOW synchronous_standby_names"), "");
    assert_int_equal(number(waiting_sql), 0);
}

static void what_another_place_says_is_complained_of_and_left(void **state)
{
    (void)state;
    struct sync_entry_record entry = an_entry(true, 1, "west", NULL);
    standby_start(&west, "west", &east, NULL);
    sql(&east, "ALTER SYSTEM SET synchronous_standby_names = 'west, elsewhere'");
    sql(&east, "SELECT pg_reload_conf()");
    assert_int_equal(change(&entry, 1, true), SYNC_OVERRIDDEN);
    assert_non_null(strstr(guard.complaint, "postgresql.auto.conf"));
    assert_string_equal(sql(&east, "SHOW synchronous_standby_names"), "west, elsewhere");
    sql(&east, "ALTER SYSTEM RESET synchronous_standby_names");
    sql(&east, "SELECT pg_reload_conf()");
    assert_int_equal(change(&entry, 1, true), SYNC_DONE);
    assert_string_equal(guard.complaint, "");
}

static void a_file_that_is_not_included_is_complained_of(void **state)
{
    (void)state;
    struct sync_entry_record entry = an_entry(true, 1, "west", NULL);
    char other[] = "elsewhere.conf";
    struct sync_params params = {.target = {.hostaddr = east.sockets,
                                            .port = east.port,
                                            .dbname = "postgres",
                                            .user = "postgres",
                                            .sslmode = "disable"},
                                 .include_file = other,
                                 .write = write_file,
                                 .done = on_done,
                                 .complain = on_complaint};
    sync_free(guard.sync);
    guard.sync = sync_new(guard.loop, &params);
    sql(&east, "ALTER SYSTEM SET synchronous_standby_names = 'other'");
    sql(&east, "SELECT pg_reload_conf()");
    assert_int_equal(change(&entry, 1, false), SYNC_OVERRIDDEN);
    assert_non_null(strstr(guard.complaint, "include_if_exists = 'elsewhere.conf'"));
}

/* ---- a standby whose file names nobody that there is ---- */

static void write_nobody(void *arg, enum sync_file file)
{
    (void)arg;
    (void)file;
    append_file(west.dir, "failover.conf",
                "synchronous_standby_names = '" GUARD_SYNC_NOBODY_NAMES "'\n");
    kill(west.pid, SIGHUP);
    sync_written(guard.sync, true, "");
}

/* It became a primary by another hand: its commits wait. */
static void expect_nothing_acknowledged(void)
{
    sql(&west, "SELECT pg_promote()");
    PGconn *conn = connect_to(&west);
    assert_int_equal(PQsendQuery(conn, "SELECT pg_logical_emit_message(true, 'test', '')"), 1);
    await_sql(&west, waiting_sql, "1");
    assert_int_equal(PQconsumeInput(conn), 1);
    assert_true(PQisBusy(conn));
    PQfinish(conn);
}

static void i9_a_standby_started_closed_acknowledges_nothing_when_it_is_promoted(void **state)
{
    (void)state;
    standby_start(&west, "west", &east,
                  "synchronous_standby_names = '" GUARD_SYNC_NOBODY_NAMES "'\n");
    expect_nothing_acknowledged();
}

static void i9_a_standby_closed_while_it_runs_acknowledges_nothing_when_it_is_promoted(void **state)
{
    (void)state;
    standby_start(&west, "west", &east, "include_if_exists = 'failover.conf'\n");
    struct sync_params params = {.target = {.hostaddr = west.sockets,
                                            .port = west.port,
                                            .dbname = "postgres",
                                            .user = "postgres",
                                            .sslmode = "disable"},
                                 .include_file = "failover.conf",
                                 .write = write_nobody,
                                 .done = on_done,
                                 .complain = on_complaint};
    struct sync_order order = {.closed = true, .barrier = true};
    sync_free(guard.sync);
    guard.sync = sync_new(guard.loop, &params);
    sync_begin(guard.sync, &order);
    assert_true(loop_run_until(guard.loop, &guard.ended, TEST_MS));
    assert_int_equal(guard.outcome, SYNC_DONE);
    expect_nothing_acknowledged();
}

/* ---- slots ---- */

static void keep(const char *one, const char *other)
{
    char names[2][NAME_SIZE] = {{0}};
    snprintf(names[0], NAME_SIZE, "%s", one != NULL ? one : "");
    snprintf(names[1], NAME_SIZE, "%s", other != NULL ? other : "");
    guard.said = false;
    slots_keep(guard.slots, (const char(*)[NAME_SIZE])names,
               (one != NULL ? 1 : 0) + (other != NULL ? 1 : 0));
    assert_true(loop_run_until(guard.loop, &guard.said, TEST_MS));
}

static enum slots_answer ask(const char *slot)
{
    char conninfo[160];
    snprintf(conninfo, sizeof conninfo, "host=%s port=%u user=postgres", east.sockets, east.port);
    guard.answered = false;
    slots_ask(guard.slots, east.sockets, east.port, conninfo, slot);
    assert_true(loop_run_until(guard.loop, &guard.answered, TEST_MS));
    return guard.answer;
}

static const char slots_sql[] =
    "SELECT string_agg(slot_name, ' ' ORDER BY slot_name) FROM pg_replication_slots";

static void f17_slots_are_made_and_dropped_as_declared_and_others_are_left(void **state)
{
    (void)state;
    sql(&east, "SELECT pg_create_physical_replication_slot('an_operators')");
    keep("west", "pay-south");
    assert_non_null(strstr(guard.word, "made failover_west"));
    char south_slot[GUARD_SLOT_SIZE], all[200];
    guard_slot_name("pay-south", south_slot);
    snprintf(all, sizeof all, "an_operators %s failover_west", south_slot);
    assert_string_equal(sql(&east, slots_sql), all);
    assert_string_equal(sql(&east, "SELECT restart_lsn IS NOT NULL FROM pg_replication_slots"
                                   " WHERE slot_name = 'failover_west'"),
                        "t");
    keep("west", NULL);
    assert_string_equal(sql(&east, slots_sql), "an_operators failover_west");
    keep(NULL, NULL);
    assert_string_equal(sql(&east, slots_sql), "an_operators");
}

static void f17_a_slot_in_use_is_left_until_it_is_not(void **state)
{
    (void)state;
    keep("west", NULL);
    standby_start(&west, "west", &east, "primary_slot_name = 'failover_west'\n");
    keep("south", NULL);
    assert_string_equal(sql(&east, slots_sql), "failover_south failover_west");
    server_end(&west);
    await("SELECT count(*) FROM pg_replication_slots WHERE active", "0");
    keep("south", NULL);
    assert_string_equal(sql(&east, slots_sql), "failover_south");
}

static void f17_a_standby_asks_its_upstream_for_the_slot(void **state)
{
    (void)state;
    assert_int_equal(ask("failover_west"), SLOTS_MISSING);
    keep("west", NULL);
    assert_int_equal(ask("failover_west"), SLOTS_THERE);
    server_stop(&east);
    assert_int_equal(ask("failover_west"), SLOTS_UNKNOWN);
}

/* Its WAL is gone: naming it would only keep the standby from connecting. */
static void f17_a_slot_that_lost_its_wal_is_missing_and_is_made_anew(void **state)
{
    (void)state;
    keep("west", NULL);
    sql(&east, "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
    sql(&east, "ALTER SYSTEM SET max_wal_size = '32MB'");
    sql(&east, "SELECT pg_reload_conf()");
    sql(&east, "CREATE TABLE filler (t text)");
    for (int i = 0; i < 12 && number("SELECT count(*) FROM pg_replication_slots"
                                     " WHERE wal_status = 'lost'") == 0;
         i++) {
        sql(&east, "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 20000)");
        sql(&east, "SELECT pg_switch_wal()");
        sql(&east, "CHECKPOINT");
    }
    assert_int_equal(ask("failover_west"), SLOTS_MISSING);
    keep("west", NULL);
    assert_non_null(strstr(guard.word, "dropped failover_west"));
    assert_non_null(strstr(guard.word, "made failover_west"));
    assert_int_equal(ask("failover_west"), SLOTS_THERE);
}

#define real(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        real(from_nobody_to_somebody_goes_behind_two_checkpoints),
        real(e12_a_commit_that_nobody_confirms_is_unknown_and_is_cancelled_at_the_next_try),
        real(e15_a_cancelled_wait_is_no_proof),
        real(f11_a_walsender_that_has_not_taken_the_new_entry_up_ends_the_proof),
        real(s3_entries_that_could_mix_go_by_way_of_nobody),
        real(s3_a_walsender_that_keeps_its_place_brings_the_entry_before_back),
        real(to_nobody_commits_go_on_and_those_that_wait_end),
        real(what_another_place_says_is_complained_of_and_left),
        real(a_file_that_is_not_included_is_complained_of),
        real(i9_a_standby_started_closed_acknowledges_nothing_when_it_is_promoted),
        real(i9_a_standby_closed_while_it_runs_acknowledges_nothing_when_it_is_promoted),
        real(f17_slots_are_made_and_dropped_as_declared_and_others_are_left),
        real(f17_a_slot_in_use_is_left_until_it_is_not),
        real(f17_a_standby_asks_its_upstream_for_the_slot),
        real(f17_a_slot_that_lost_its_wal_is_missing_and_is_made_anew),
    };
    return cmocka_run_group_tests_name("sync", tests, fixture_start, fixture_end);
}
