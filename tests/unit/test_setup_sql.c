/* controller/ctl/setup_sql.c, run by the real psql (the fixture runs it twice for its template). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/postgres_fixture.h"

static struct server server;

static int setup(void **state)
{
    (void)state;
    primary_start(&server, "primary", NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_remove(&server);
    return 0;
}

static void psql(const char *dbname, const char *text)
{
    char path[96];
    char port[8];
    snprintf(path, sizeof path, "%s/input.sql", fixture_dir);
    snprintf(port, sizeof port, "%u", server.port);
    unlink(path);
    append_file(fixture_dir, "input.sql", text);
    int input = open(path, O_RDONLY);
    assert_true(input >= 0);
    const char *argv[] = {
        FIXTURE_BIN "psql", "-X", "-q", "-h", server.sockets, "-p", port, "-d", dbname, "-U",
        "postgres",         NULL};
    run(argv, input);
    close(input);
}

static void the_role_may_watch_and_promote_and_nothing_else(void **state)
{
    (void)state;
    assert_string_equal(sql(&server, "SELECT rolcanlogin AND NOT rolsuper AND NOT rolcreatedb "
                                     "FROM pg_roles WHERE rolname = 'failoverd'"),
                        "t");
    assert_string_equal(sql(&server, "SELECT pg_has_role('failoverd', 'pg_monitor', 'member')"),
                        "t");
    assert_string_equal(sql(&server, "SELECT has_function_privilege('failoverd', "
                                     "'pg_promote(boolean, integer)', 'execute')"),
                        "t");
    assert_string_equal(sql(&server, "SELECT has_table_privilege('failoverd', "
                                     "'failover.heartbeat', 'delete')"),
                        "f");
    assert_string_equal(sql(&server, "SELECT has_schema_privilege('failoverd', 'failover', "
                                     "'create')"),
                        "f");
}

static void names_that_need_quotes_are_quoted(void **state)
{
    (void)state;
    sql(&server, "CREATE DATABASE \"my-db\"");
    char *text = setup_sql_text("o'neil \"the\" watcher", "my-db");
    psql("my-db", text);
    psql("my-db", text);
    free(text);
    assert_string_equal(
        sql(&server, "SELECT count(*) FROM pg_roles WHERE rolname = 'o''neil \"the\" watcher'"),
        "1");
    assert_string_equal(sql(&server, "SELECT has_database_privilege('o''neil \"the\" watcher', "
                                     "'my-db', 'connect')"),
                        "t");
}

static void running_it_again_keeps_the_rows_and_the_password(void **state)
{
    (void)state;
    sql(&server, "INSERT INTO failover.heartbeat VALUES ('ops1', 7, now())");
    char before[1024]; /* as long as what sql() keeps */
    snprintf(before, sizeof before, "%s",
             sql(&server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'failoverd'"));
    char *text = setup_sql_text(NULL, "postgres");
    psql("postgres", text);
    free(text);
    assert_string_equal(sql(&server, "SELECT counter FROM failover.heartbeat"), "7");
    assert_string_equal(
        sql(&server, "SELECT rolpassword FROM pg_authid WHERE rolname = 'failoverd'"), before);
}

#define server_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        server_test(the_role_may_watch_and_promote_and_nothing_else),
        server_test(names_that_need_quotes_are_quoted),
        server_test(running_it_again_keeps_the_rows_and_the_password),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
