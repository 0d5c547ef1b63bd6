/* probes/postgres_words.c: what libpq's and PostgreSQL's words mean, where no server can easily be
 * made to say them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "probes/postgres_words.h"

static struct pg_reply reply(enum pg_outcome outcome, const char *sqlstate, const char *text)
{
    struct pg_reply made = {.outcome = outcome};
    snprintf(made.sqlstate, sizeof made.sqlstate, "%s", sqlstate);
    snprintf(made.text, sizeof made.text, "%s", text);
    return made;
}

static void assert_open(enum pg_outcome outcome, const char *sqlstate, const char *text,
                        enum cause wanted)
{
    struct pg_reply made = reply(outcome, sqlstate, text);
    enum cause found = postgres_open_cause(&made);
    if (found != wanted) {
        fail_msg("%s %s: %s, wanted %s", sqlstate, text, cause_names[found], cause_names[wanted]);
    }
}

static void a_connection_that_the_system_refuses_us_is_told_by_its_errno(void **state)
{
    (void)state;
    static const struct {
        int error;
        enum cause cause;
    } rows[] = {{EHOSTUNREACH, CAUSE_TIMED_OUT}, {ENETUNREACH, CAUSE_TIMED_OUT},
                {ETIMEDOUT, CAUSE_TIMED_OUT},    {EMFILE, CAUSE_PROBER},
                {ENOBUFS, CAUSE_PROBER},         {EPERM, CAUSE_PROBER},
                {EADDRNOTAVAIL, CAUSE_PROBER},   {ECONNRESET, CAUSE_CUT}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "connection to server at \"192.0.2.1\", port 5432 failed: %s",
                 strerror(rows[i].error));
        assert_open(PG_LOST, "", text, rows[i].cause);
    }
}

static void a_connection_that_tls_refuses_is_a_certificate(void **state)
{
    (void)state;
    assert_open(PG_LOST, "", "SSL error: certificate verify failed", CAUSE_CERTIFICATE);
    assert_open(PG_LOST, "", "server certificate for \"a\" does not match host name \"b\"",
                CAUSE_CERTIFICATE);
    assert_open(PG_LOST, "", "server does not support SSL, but SSL was required",
                CAUSE_CERTIFICATE);
    assert_open(PG_FAILED, "28000", "connection requires a valid client certificate",
                CAUSE_CERTIFICATE);
    assert_open(PG_LOST, "", "SSL SYSCALL error: EOF detected", CAUSE_CUT);
    assert_open(PG_LOST, "",
                "server closed the connection unexpectedly This probably means the server "
                "terminated abnormally before or while processing the request.",
                CAUSE_CUT);
}

static void a_server_that_cannot_connect_now_starts_unless_it_says_that_it_stops(void **state)
{
    (void)state;
    assert_open(PG_FAILED, "57P03", "the database system is starting up", CAUSE_STARTING);
    assert_open(PG_FAILED, "57P03", "the database system is in recovery mode", CAUSE_STARTING);
    assert_open(PG_FAILED, "57P03", "das Datenbanksystem startet", CAUSE_STARTING);
    assert_open(PG_FAILED, "57P03", "the database system is shutting down", CAUSE_STOPPING);
}

static void what_a_server_says_no_with_has_its_cause(void **state)
{
    (void)state;
    assert_open(PG_FAILED, "53300", "sorry, too many clients already", CAUSE_TOO_MANY);
    assert_open(PG_FAILED, "28000", "no pg_hba.conf entry for host", CAUSE_CREDENTIALS);
    assert_open(PG_FAILED, "42501", "permission denied for database", CAUSE_SETUP);
    assert_open(PG_REFUSED, "", "Connection refused", CAUSE_REFUSED);
    assert_open(PG_FAILED, "XX000", "something new", CAUSE_BAD_ANSWER);
    assert_open(PG_LOST, "57P01", "terminating connection", CAUSE_STOPPING);
}

static void what_we_do_not_know_is_never_a_failure_of_the_server(void **state)
{
    (void)state;
    struct pg_reply made = reply(PG_FAILED, "ZZ999", "unheard of");
    assert_false(cause_is_failure(postgres_statement_cause(&made)));
    made = reply(PG_FAILED, "57014", "canceling statement due to user request");
    assert_false(cause_is_failure(postgres_statement_cause(&made)));
}

static void a_wait_is_told_by_its_event(void **state)
{
    (void)state;
    assert_int_equal(postgres_wait_cause("IPC SyncRep"), CAUSE_SYNC_STALL);
    assert_int_equal(postgres_wait_cause("Lock relation"), CAUSE_LOCKED);
    assert_int_equal(postgres_wait_cause("LWLock WALWrite"), CAUSE_HUNG);
    assert_int_equal(postgres_wait_cause("IO WALSync"), CAUSE_HUNG);
    assert_int_equal(postgres_wait_cause(""), CAUSE_HUNG);
}

static void an_answer_of_another_form_is_not_read(void **state)
{
    (void)state;
    struct pg_reply made = reply(PG_DONE, "", "");
    struct instance_fact fact = {.asked_ms = 1};
    char wait[POSTGRES_WAIT_MAX];
    assert_false(postgres_read(&made, &fact, wait));
    PGresult *results[2] = {PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK),
                            PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK)};
    made.results = results;
    made.results_len = 2;
    assert_false(postgres_read(&made, &fact, wait));
    assert_false(fact.answered);
    assert_false(postgres_look(&made, wait));
    PQclear(results[0]);
    PQclear(results[1]);
}

static void the_question_is_larger_than_a_packet(void **state)
{
    (void)state;
    struct postgres_question question;
    postgres_ask(&question, 12345);
    assert_int_equal(strlen(question.calls[0].params[1]), POSTGRES_PAD);
    assert_string_equal(question.calls[0].params[0], "12345");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_that_the_system_refuses_us_is_told_by_its_errno),
        cmocka_unit_test(a_connection_that_tls_refuses_is_a_certificate),
        cmocka_unit_test(a_server_that_cannot_connect_now_starts_unless_it_says_that_it_stops),
        cmocka_unit_test(what_a_server_says_no_with_has_its_cause),
        cmocka_unit_test(what_we_do_not_know_is_never_a_failure_of_the_server),
        cmocka_unit_test(a_wait_is_told_by_its_event),
        cmocka_unit_test(an_answer_of_another_form_is_not_read),
        cmocka_unit_test(the_question_is_larger_than_a_packet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
