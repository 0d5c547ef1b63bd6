/* controller/act/promote.c against a real primary and its real standbys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controller/act/promote.h"
#include "controller/base/loop.h"
#include "tests/unit/postgres_fixture.h"

#define LONG_MS 20000ull

struct commander {
    struct loop *loop;
    struct promote *promote;
    struct promote_result result;
    bool done;
    int asked; /* how often may_act was */
    bool may_act;
    void (*in_may_act)(void);
};

static struct server east;
static struct server west;
static struct server south;
static uint64_t system_id;

static bool may_act(void *arg)
{
    struct commander *commander = arg;
    commander->asked++;
    if (commander->in_may_act != NULL) {
        commander->in_may_act();
    }
    return commander->may_act;
}

static void on_done(void *arg, const struct promote_result *result)
{
    struct commander *commander = arg;
    assert_false(commander->done);
    commander->done = true;
    commander->result = *result;
}

static struct pg_target target_of(const struct server *of)
{
    return (struct pg_target){.hostaddr = "127.0.0.1",
                              .port = of->port,
                              .dbname = "postgres",
                              .user = "failoverd",
                              .password = FIXTURE_PASSWORD};
}

static void prepare(struct commander *commander, const struct server *of)
{
    promote_free(commander->promote);
    struct pg_target target = target_of(of);
    commander->promote = promote_new(commander->loop, &target, "ops1");
}

static bool await_ready(struct commander *commander)
{
    for (uint64_t until_ms = clock_now_ms() + LONG_MS;
         !promote_ready(commander->promote) && clock_now_ms() < until_ms;) {
        uv_run(loop_uv(commander->loop), UV_RUN_ONCE);
    }
    return promote_ready(commander->promote);
}

static struct promote_order order_of(struct commander *commander, uint32_t timeline,
                                     uint64_t act_in_ms, uint64_t within_ms)
{
    return (struct promote_order){
        .system_id = system_id,
        .timeline = timeline,
        .act_by_ms = clock_now_ms() + act_in_ms,
        .deadline_ms = clock_now_ms() + within_ms,
        .may_act = may_act,
        .done = on_done,
        .arg = commander,
    };
}

static enum promote_outcome go(struct commander *commander, const struct promote_order *order)
{
    commander->done = false;
    commander->asked = 0;
    promote_go(commander->promote, order);
    assert_false(commander->done); /* never from inside */
    assert_true(loop_run_until(commander->loop, &commander->done, 2 * LONG_MS));
    return commander->result.outcome;
}

#define assert_outcome(commander, order, wanted)                                                   \
    do {                                                                                           \
        enum promote_outcome found = go(commander, order);                                         \
        if (found != (wanted)) {                                                                   \
            fail_msg("%s: %s, wanted %s", promote_outcome_names[found], (commander)->result.text,  \
                     promote_outcome_names[wanted]);                                               \
        }                                                                                          \
    } while (0)

static int setup(void **state)
{
    static struct commander commander;
    commander = (struct commander){.loop = loop_new(), .may_act = true};
    primary_start(&east, "east", NULL);
    standby_start(&west, "west", &east, NULL);
    south = (struct server){0};
    system_id = strtoull(sql(&east, "SELECT system_identifier FROM pg_control_system()"), NULL, 10);
    prepare(&commander, &west);
    *state = &commander;
    return 0;
}

static int teardown(void **state)
{
    struct commander *commander = *state;
    promote_free(commander->promote);
    loop_free(commander->loop);
    server_remove(&east);
    server_remove(&west);
    server_remove(&south);
    return 0;
}

static void assert_still_a_standby(void)
{
    assert_string_equal(sql(&west, "SELECT pg_is_in_recovery()"), "t");
    assert_string_equal(sql(&west, "SELECT count(*) FROM pg_ls_dir('.') AS f WHERE f = 'promote'"),
                        "0");
}

static void a_standby_is_promoted_and_takes_a_write(void **state)
{
    struct commander *commander = *state;
    assert_true(await_ready(commander));
    server_end(&east);
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_DONE);
    assert_int_equal(commander->asked, 1);
    assert_int_equal(commander->result.timeline, 2);
    assert_int_equal(commander->result.system_id, system_id);
    assert_true(commander->result.lsn > 0);
    assert_string_equal(sql(&west, "SELECT pg_is_in_recovery()"), "f");
    assert_string_equal(sql(&west, "SELECT controller FROM failover.heartbeat"), "ops1/promote");
}

static void a_second_promotion_finds_it_done_already(void **state)
{
    struct commander *commander = *state;
    server_end(&east);
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_DONE);
    order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_ALREADY);
    assert_int_equal(commander->result.timeline, 2);
    assert_int_equal(commander->result.system_id, system_id);
    prepare(commander, &west); /* by another controller's session as well */
    order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_ALREADY);
}

/* tests/model, lesson 4: an order for an earlier life of the server is void. */
static void a_server_that_restarted_since_the_grant_is_not_promoted(void **state)
{
    struct commander *commander = *state;
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    int64_t life = strtoll(
        sql(&west, "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"),
        NULL, 10);
    order.life = life - 1;
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_string_equal(commander->result.text,
                        "it has restarted since the permit was granted to it");
    assert_string_equal(sql(&west, "SELECT pg_is_in_recovery()"), "t");
    order.life = life;
    server_end(&east);
    assert_outcome(commander, &order, PROMOTE_DONE);
}

static void another_timeline_than_the_recorded_is_not_promoted(void **state)
{
    struct commander *commander = *state;
    struct promote_order order = order_of(commander, 2, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_string_equal(commander->result.text, "it follows timeline 1, recorded is 2");
    assert_still_a_standby();
    order = order_of(commander, 1, LONG_MS, LONG_MS); /* the session is good for the next order */
    assert_outcome(commander, &order, PROMOTE_DONE);
}

static void another_system_than_the_recorded_is_not_promoted(void **state)
{
    struct commander *commander = *state;
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    order.system_id = 12345;
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_non_null(strstr(commander->result.text, "recorded is 12345"));
    assert_still_a_standby();
}

static void an_order_after_its_deadline_is_not_sent(void **state)
{
    struct commander *commander = *state;
    assert_true(await_ready(commander));
    struct promote_order order = order_of(commander, LONG_MS, LONG_MS, LONG_MS);
    order.timeline = 1;
    order.act_by_ms = clock_now_ms() - 1;
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_int_equal(commander->asked, 0);
    assert_still_a_standby();
}

static void one_who_lost_the_lead_while_preparing_does_not_send(void **state)
{
    struct commander *commander = *state;
    commander->may_act = false;
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_string_equal(commander->result.text, "no longer leader");
    assert_int_equal(commander->asked, 1);
    assert_still_a_standby();
}

static void stop_west(void)
{
    signal_all(&west, SIGSTOP);
}

static void wake_west(void *arg)
{
    (void)arg;
    signal_all(&west, SIGCONT);
}

static void an_order_that_arrives_late_is_void(void **state)
{
    struct commander *commander = *state;
    assert_true(await_ready(commander));
    commander->in_may_act = stop_west; /* the statement is sent to a server that sleeps */
    struct timer *timer = timer_new(commander->loop, wake_west, NULL);
    timer_start(timer, 1500);
    struct promote_order order = order_of(commander, 1, 500, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    timer_free(timer);
    assert_int_equal(commander->asked, 1);
    assert_string_equal(commander->result.text,
                        "the order arrived after its deadline on the server's clock");
    assert_still_a_standby();
}

static void silence_after_the_order_is_unknown_and_the_order_dies_with_its_time(void **state)
{
    struct commander *commander = *state;
    assert_true(await_ready(commander));
    commander->in_may_act = stop_west;
    struct promote_order order = order_of(commander, 1, 500, 800);
    assert_outcome(commander, &order, PROMOTE_UNKNOWN);
    wake_west(NULL);
    await_sql(&west,
              "SELECT count(*) FROM pg_stat_activity WHERE usename = 'failoverd' "
              "AND state = 'active'",
              "0");
    assert_still_a_standby();
}

static void kill_west(void)
{
    signal_all(&west, SIGKILL);
}

static void a_connection_lost_after_the_order_is_unknown(void **state)
{
    struct commander *commander = *state;
    assert_true(await_ready(commander));
    commander->in_may_act = kill_west;
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_UNKNOWN);
    assert_non_null(strstr(commander->result.text, "after the order was sent"));
}

static void a_server_that_is_not_there_was_not_asked(void **state)
{
    struct commander *commander = *state;
    server_end(&west);
    prepare(commander, &west);
    struct promote_order order = order_of(commander, 1, 500, 500);
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_int_equal(commander->asked, 0);
    assert_non_null(strstr(commander->result.text, "Connection refused"));
}

static void a_lost_session_is_opened_again_before_the_order(void **state)
{
    struct commander *commander = *state;
    assert_true(await_ready(commander));
    sql(&west, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
               "WHERE usename = 'failoverd'");
    await_sql(&west, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'failoverd'", "0");
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_DONE);
}

static void a_role_that_may_not_promote_is_told_where_to_look(void **state)
{
    struct commander *commander = *state;
    sql(&east, "REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM failoverd");
    await_sql(&west,
              "SELECT has_function_privilege('failoverd', 'pg_promote(boolean, integer)', "
              "'execute')",
              "f");
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    assert_non_null(strstr(commander->result.text, "setup-sql"));
    assert_still_a_standby();
}

/*
 * The control file of a standby that has just followed its primary onto a new timeline still names
 * the old one. Such a standby is on the new one all the same, also when its primary is gone.
 */
static void a_standby_that_followed_a_promotion_is_on_the_new_timeline(void **state)
{
    struct commander *commander = *state;
    standby_start(&south, "south", &east, NULL);
    server_end(&east);
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_DONE);
    char statement[256];
    snprintf(statement, sizeof statement,
             "ALTER SYSTEM SET primary_conninfo = 'host=%s port=%u user=postgres'", west.sockets,
             west.port);
    sql(&south, statement);
    sql(&south, "SELECT pg_reload_conf()");
    await_sql(&south, "SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming'",
              "2");
    sql(&west, "CREATE TABLE after_promotion AS SELECT 1 AS n");
    await_sql(&south, "SELECT count(*) FROM pg_tables WHERE tablename = 'after_promotion'", "1");
    server_end(&west);
    await_sql(&south, "SELECT count(*) FROM pg_stat_wal_receiver", "0");
    prepare(commander, &south);
    order = order_of(commander, 1, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_REFUSED);
    order = order_of(commander, 2, LONG_MS, LONG_MS);
    assert_outcome(commander, &order, PROMOTE_DONE);
    assert_int_equal(commander->result.timeline, 3);
}

static void a_promotion_can_be_freed_at_any_step(void **state)
{
    struct commander *commander = *state;
    struct promote_order order = order_of(commander, 1, LONG_MS, LONG_MS);
    promote_go(commander->promote, &order); /* waits for its session */
    prepare(commander, &west);
    assert_true(await_ready(commander));
    promote_go(commander->promote, &order); /* reads the clock */
    prepare(commander, &west);
    assert_true(await_ready(commander));
    commander->asked = 0;
    promote_go(commander->promote, &order);
    while (commander->asked == 0) {
        uv_run(loop_uv(commander->loop), UV_RUN_ONCE);
    }
    promote_free(commander->promote); /* the order is out */
    commander->promote = NULL;
    assert_false(commander->done);
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(a_standby_is_promoted_and_takes_a_write),
        server_test(a_second_promotion_finds_it_done_already),
        server_test(a_server_that_restarted_since_the_grant_is_not_promoted),
        server_test(another_timeline_than_the_recorded_is_not_promoted),
        server_test(another_system_than_the_recorded_is_not_promoted),
        server_test(an_order_after_its_deadline_is_not_sent),
        server_test(one_who_lost_the_lead_while_preparing_does_not_send),
        server_test(an_order_that_arrives_late_is_void),
        server_test(silence_after_the_order_is_unknown_and_the_order_dies_with_its_time),
        server_test(a_connection_lost_after_the_order_is_unknown),
        server_test(a_server_that_is_not_there_was_not_asked),
        server_test(a_lost_session_is_opened_again_before_the_order),
        server_test(a_role_that_may_not_promote_is_told_where_to_look),
        server_test(a_standby_that_followed_a_promotion_is_on_the_new_timeline),
        server_test(a_promotion_can_be_freed_at_any_step),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
