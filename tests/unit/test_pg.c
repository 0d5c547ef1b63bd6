/* controller/base/pg.c against a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controller/base/loop.h"
#include "controller/base/pg.h"
#include "tests/unit/postgres_fixture.h"

#define WITHIN_MS 10000ull

struct client {
    struct loop *loop;
    struct pg_session *session;
    bool replied;
    bool lost;
    struct pg_reply reply;
    char value[64]; /* the first value of the last result */
    bool close_in_callback;
};

static struct server server;

static void on_reply(void *arg, const struct pg_reply *reply)
{
    struct client *client = arg;
    assert_false(client->replied);
    client->replied = true;
    client->reply = *reply;
    client->value[0] = '\0';
    if (reply->results_len > 0) {
        const PGresult *last = reply->results[reply->results_len - 1];
        snprintf(client->value, sizeof client->value, "%s",
                 PQntuples(last) > 0 ? PQgetvalue(last, 0, 0) : "");
    }
    if (client->close_in_callback) {
        pg_close(client->session);
        client->session = NULL;
    }
}

static void on_lost(void *arg, const char *text)
{
    struct client *client = arg;
    client->lost = true;
    snprintf(client->reply.text, sizeof client->reply.text, "%s", text);
}

static struct pg_target target(void)
{
    return (struct pg_target){.hostaddr = "127.0.0.1",
                              .port = server.port,
                              .dbname = "postgres",
                              .user = "failoverd",
                              .password = FIXTURE_PASSWORD};
}

static void await_reply(struct client *client)
{
    assert_true(loop_run_until(client->loop, &client->replied, 2 * WITHIN_MS));
}

static void open_with(struct client *client, const struct pg_target *to, uint64_t within_ms)
{
    client->replied = false;
    client->session = pg_open(client->loop, to, within_ms, on_reply, on_lost, client);
    assert_false(client->replied); /* never from inside */
    await_reply(client);
}

static void open_session(struct client *client)
{
    struct pg_target to = target();
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_true(pg_usable(client->session));
}

static void ask(struct client *client, const char *statement, uint64_t within_ms)
{
    client->replied = false;
    pg_query(client->session, statement, within_ms, on_reply, client);
    assert_false(client->replied);
}

static int setup(void **state)
{
    static struct client client;
    client = (struct client){.loop = loop_new()};
    primary_start(&server, "primary", NULL);
    *state = &client;
    return 0;
}

static int teardown(void **state)
{
    struct client *client = *state;
    pg_close(client->session);
    loop_free(client->loop);
    server_remove(&server);
    return 0;
}

static void a_batch_of_statements_is_answered_in_one_reply(void **state)
{
    struct client *client = *state;
    open_session(client);
    ask(client, "SELECT 1; SELECT 2; SELECT 'three'", WITHIN_MS);
    assert_true(pg_busy(client->session));
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_int_equal(client->reply.results_len, 3);
    assert_string_equal(client->value, "three");
    assert_false(pg_busy(client->session));
}

static void parameters_are_sent_as_text_and_a_large_answer_comes_whole(void **state)
{
    struct client *client = *state;
    open_session(client);
    const char *params[] = {"400000"};
    client->replied = false;
    pg_query_params(client->session, "SELECT length(repeat('x', $1::int)), repeat('x', $1::int)", 1,
                    params, WITHIN_MS, on_reply, client);
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_string_equal(client->value, "400000");
}

static void a_request_larger_than_the_socket_buffers_is_sent_whole(void **state)
{
    struct client *client = *state;
    open_session(client);
    size_t len = 8u << 20;
    char *big = malloc(len + 1);
    memset(big, 'y', len);
    big[len] = '\0';
    const char *params[] = {big};
    client->replied = false;
    pg_query_params(client->session, "SELECT length($1::text)", 1, params, WITHIN_MS, on_reply,
                    client);
    await_reply(client);
    free(big);
    assert_string_equal(client->value, "8388608");
}

static void a_failed_statement_tells_its_sqlstate_and_leaves_the_session_usable(void **state)
{
    struct client *client = *state;
    open_session(client);
    ask(client, "SELECT 1; SELECT * FROM no_such_table; SELECT 3", WITHIN_MS);
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_FAILED);
    assert_string_equal(client->reply.sqlstate, "42P01");
    assert_string_equal(client->reply.text, "relation \"no_such_table\" does not exist");
    ask(client, "SELECT 4", WITHIN_MS);
    await_reply(client);
    assert_string_equal(client->value, "4");
}

static const struct pg_statement add_one = {"add_one", "SELECT $1::int + 1"};
static const struct pg_statement add_two = {"add_two", "SELECT $1::int + 2"};
static const struct pg_statement of_no_table = {"of_no_table", "SELECT * FROM made_later"};

static void call(struct client *client, const struct pg_statement *first, const char *param,
                 const struct pg_statement *second)
{
    const char *params[] = {param};
    struct pg_call calls[] = {{first, params, param != NULL ? 1 : 0}, {second, params, 1}};
    client->replied = false;
    pg_call(client->session, calls, second != NULL ? 2 : 1, WITHIN_MS, on_reply, client);
    await_reply(client);
}

static void statements_are_prepared_once_and_answered_in_one_reply(void **state)
{
    struct client *client = *state;
    open_session(client);
    for (int i = 0; i < 3; i++) {
        call(client, &add_one, "41", &add_two);
        assert_int_equal(client->reply.outcome, PG_DONE);
        assert_int_equal(client->reply.results_len, 2);
        assert_string_equal(client->value, "43");
    }
    ask(client, "SELECT string_agg(name, ' ' ORDER BY name) FROM pg_prepared_statements",
        WITHIN_MS);
    await_reply(client);
    assert_string_equal(client->value, "add_one add_two");
}

static void a_call_that_fails_keeps_the_session_and_what_was_prepared(void **state)
{
    struct client *client = *state;
    open_session(client);
    call(client, &add_one, "one", &add_two); /* fails in the first, after its preparation */
    assert_int_equal(client->reply.outcome, PG_FAILED);
    assert_string_equal(client->reply.sqlstate, "22P02");
    call(client, &add_one, "1", &add_two);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_string_equal(client->value, "3");
    call(client, &of_no_table, NULL, NULL); /* fails in its preparation */
    assert_int_equal(client->reply.outcome, PG_FAILED);
    assert_string_equal(client->reply.sqlstate, "42P01");
    ask(client, "CREATE TEMPORARY TABLE made_later (n) AS SELECT 7", WITHIN_MS);
    await_reply(client);
    call(client, &of_no_table, NULL, NULL);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_string_equal(client->value, "7");
}

static void a_server_that_ends_in_the_middle_of_a_call_is_lost_with_its_reason(void **state)
{
    static const struct pg_statement suicide = {
        "suicide", "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep($1::int)"};
    struct client *client = *state;
    open_session(client);
    call(client, &suicide, "60", NULL);
    assert_int_equal(client->reply.outcome, PG_LOST);
    assert_non_null(strstr(client->reply.text, "terminating connection"));
    assert_false(pg_usable(client->session));
}

static void copy_is_answered_by_a_lost_session_and_not_for_ever(void **state)
{
    struct client *client = *state;
    open_session(client);
    ask(client, "COPY (SELECT 1) TO STDOUT", WITHIN_MS);
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_LOST);
    assert_false(pg_usable(client->session));
}

static void nobody_listening_is_refused(void **state)
{
    struct client *client = *state;
    struct pg_target to = target();
    to.port = free_port();
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_REFUSED);
    assert_non_null(strstr(client->reply.text, "Connection refused"));
    pg_close(client->session);
    to.hostaddr = server.sockets; /* a directory without that port's socket */
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_REFUSED);
}

static void a_name_instead_of_an_address_is_not_looked_up(void **state)
{
    struct client *client = *state;
    struct pg_target to = target();
    to.hostaddr = "localhost";
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_LOST);
    assert_non_null(strstr(client->reply.text, "could not parse network address"));
}

static void a_refused_password_tells_the_servers_sqlstate(void **state)
{
    struct client *client = *state;
    struct pg_target to = target();
    to.password = "wrong";
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_FAILED);
    assert_string_equal(client->reply.sqlstate, "28P01");
    assert_string_equal(client->reply.text,
                        "password authentication failed for user \"failoverd\"");
}

static void the_sqlstate_of_a_failed_open_is_not_taken_from_its_text(void **state)
{
    struct client *client = *state;
    struct pg_target to = target();
    to.dbname = "no_such_database";
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_FAILED);
    assert_string_equal(client->reply.sqlstate, "3D000");
    pg_close(client->session);
    to.dbname = "x:  28P01: y";
    open_with(client, &to, WITHIN_MS);
    assert_int_equal(client->reply.outcome, PG_FAILED);
    assert_string_equal(client->reply.sqlstate, "3D000");
    assert_string_equal(client->reply.text, "database \"x: 28P01: y\" does not exist");
}

static void a_server_that_dies_is_news_at_once(void **state)
{
    struct client *client = *state;
    open_session(client);
    kill(server.pid, SIGKILL);
    assert_true(loop_run_until(client->loop, &client->lost, WITHIN_MS));
    assert_false(pg_usable(client->session));
}

static void the_reason_of_an_ended_session_is_the_servers(void **state)
{
    struct client *client = *state;
    open_session(client);
    char statement[80];
    snprintf(statement, sizeof statement, "SELECT pg_terminate_backend(%d)",
             pg_backend_pid(client->session));
    sql(&server, statement);
    assert_true(loop_run_until(client->loop, &client->lost, WITHIN_MS));
    assert_non_null(strstr(client->reply.text, "administrator command"));
}

static void a_session_that_ends_in_a_statement_is_told_by_its_reply_only(void **state)
{
    struct client *client = *state;
    open_session(client);
    ask(client, "SELECT pg_sleep(60)", WITHIN_MS);
    await_sql(&server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1");
    sql(&server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE wait_event = 'PgSleep'");
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_LOST);
    assert_string_equal(client->reply.sqlstate, "57P01");
    assert_false(client->lost);
    assert_false(pg_usable(client->session));
}

static void silence_is_a_timeout_and_the_server_had_the_question(void **state)
{
    struct client *client = *state;
    open_session(client);
    ask(client, "SELECT pg_sleep(60)", 200);
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_TIMEOUT);
    assert_true(pg_delivered(client->session));
    pg_close(client->session);
    client->session = NULL;
}

static void a_stopped_server_accepts_and_does_not_answer(void **state)
{
    struct client *client = *state;
    struct pg_target to = target();
    signal_all(&server, SIGSTOP);
    open_with(client, &to, 200);
    assert_int_equal(client->reply.outcome, PG_TIMEOUT);
    assert_true(pg_delivered(client->session));
    assert_non_null(strstr(client->reply.text, "the server does not answer"));
}

static void an_answer_that_has_arrived_is_no_timeout_however_late_we_look(void **state)
{
    struct client *client = *state;
    open_session(client);
    ask(client, "SELECT 'in time'", 1);
    nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL); /* we stall, the server does not */
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_string_equal(client->value, "in time");
}

static void a_cancelled_wait_for_a_standby_is_a_warning_beside_success(void **state)
{
    struct client *client = *state;
    sql(&server, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql(&server, "SELECT pg_reload_conf()");
    await_sql(&server, "SHOW synchronous_standby_names", "nobody");
    sql(&server, "CHECKPOINT"); /* the checkpointer has taken it up */
    open_session(client);
    const char *params[] = {"me"};
    client->replied = false;
    pg_query_params(client->session,
                    "INSERT INTO failover.heartbeat VALUES ($1, 1, clock_timestamp())", 1, params,
                    WITHIN_MS, on_reply, client);
    await_sql(&server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", "1");
    sql(&server,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    await_reply(client);
    assert_int_equal(client->reply.outcome, PG_DONE);
    assert_non_null(strstr(client->reply.warning, "canceling wait for synchronous replication"));
}

static void a_session_can_be_closed_in_its_own_callback_and_while_it_works(void **state)
{
    struct client *client = *state;
    open_session(client);
    client->close_in_callback = true;
    ask(client, "SELECT 1", WITHIN_MS);
    await_reply(client);
    assert_null(client->session);
    client->close_in_callback = false;
    open_session(client);
    ask(client, "SELECT pg_sleep(60)", WITHIN_MS);
    await_sql(&server, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", "1");
    pg_close(client->session);
    client->session = NULL;
    assert_false(client->replied);
    struct pg_target to = target();
    client->session = pg_open(client->loop, &to, WITHIN_MS, on_reply, on_lost, client);
    pg_close(client->session);
    client->session = NULL;
    assert_false(client->replied);
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(a_batch_of_statements_is_answered_in_one_reply),
        server_test(parameters_are_sent_as_text_and_a_large_answer_comes_whole),
        server_test(a_request_larger_than_the_socket_buffers_is_sent_whole),
        server_test(a_failed_statement_tells_its_sqlstate_and_leaves_the_session_usable),
        server_test(statements_are_prepared_once_and_answered_in_one_reply),
        server_test(a_call_that_fails_keeps_the_session_and_what_was_prepared),
        server_test(a_server_that_ends_in_the_middle_of_a_call_is_lost_with_its_reason),
        server_test(copy_is_answered_by_a_lost_session_and_not_for_ever),
        server_test(nobody_listening_is_refused),
        server_test(a_name_instead_of_an_address_is_not_looked_up),
        server_test(a_refused_password_tells_the_servers_sqlstate),
        server_test(the_sqlstate_of_a_failed_open_is_not_taken_from_its_text),
        server_test(a_server_that_dies_is_news_at_once),
        server_test(the_reason_of_an_ended_session_is_the_servers),
        server_test(a_session_that_ends_in_a_statement_is_told_by_its_reply_only),
        server_test(silence_is_a_timeout_and_the_server_had_the_question),
        server_test(a_stopped_server_accepts_and_does_not_answer),
        server_test(an_answer_that_has_arrived_is_no_timeout_however_late_we_look),
        server_test(a_cancelled_wait_for_a_standby_is_a_warning_beside_success),
        server_test(a_session_can_be_closed_in_its_own_callback_and_while_it_works),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
