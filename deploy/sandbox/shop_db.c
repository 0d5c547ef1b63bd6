/*
 * shop_db.c - PostgreSQL with a deadline on every step: libpq without its blocking calls.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "shop.h"

/* True when the socket is ready (or broken: libpq then says how); false when the time is over. */
static bool wait_for_socket(PGconn *conn, short events, uint64_t deadline_us)
{
    for (;;) {
        uint64_t now = shop_now_us();
        if (now >= deadline_us) {
            return false;
        }
        struct pollfd watch = {.fd = PQsocket(conn), .events = events};
        int left_ms = (int)((deadline_us - now + 999) / 1000);
        int ready = poll(&watch, 1, left_ms);
        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return true;
        }
    }
}

static void copy_text(char to[SHOP_TEXT_SIZE], const char *from)
{
    snprintf(to, SHOP_TEXT_SIZE, "%s", from);
    to[strcspn(to, "\n")] = '\0';
}

/* A success that carries a warning is no success here (shop.h); the flag is read after each
 * statement. */
static void note_warning(void *arg, const PGresult *notice)
{
    bool *warned = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    if (severity && strcmp(severity, "WARNING") == 0) {
        *warned = true;
    }
}

static PGconn *connect_one(const char *conninfo, uint64_t deadline_us,
                           char ret_text[SHOP_TEXT_SIZE])
{
    PGconn *conn = PQconnectStart(conninfo);
    if (!conn) {
        copy_text(ret_text, "no memory");
        return NULL;
    }
    PostgresPollingStatusType wants = PGRES_POLLING_WRITING;
    while (PQstatus(conn) != CONNECTION_BAD && wants != PGRES_POLLING_OK &&
           wants != PGRES_POLLING_FAILED) {
        if (!wait_for_socket(conn, wants == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                             deadline_us)) {
            copy_text(ret_text, "no connection within its deadline");
            PQfinish(conn);
            return NULL;
        }
        wants = PQconnectPoll(conn);
    }
    if (PQstatus(conn) != CONNECTION_OK || PQsetnonblocking(conn, 1) != 0) {
        copy_text(ret_text, PQerrorMessage(conn));
        PQfinish(conn);
        return NULL;
    }
    return conn;
}

PGconn *shop_db_connect(const struct shop_options *options, uint64_t each_us, uint64_t deadline_us,
                        char ret_text[SHOP_TEXT_SIZE])
{
    copy_text(ret_text, "no time left to connect");
    for (int i = 0; i < options->databases_len; i++) {
        uint64_t until_us = shop_now_us() + each_us;
        PGconn *conn = connect_one(options->databases[i],
                                   until_us < deadline_us ? until_us : deadline_us, ret_text);
        if (conn) {
            return conn;
        }
    }
    return NULL;
}

static bool send_all(PGconn *conn, uint64_t deadline_us)
{
    int left;
    while ((left = PQflush(conn)) == 1) {
        if (!wait_for_socket(conn, POLLIN | POLLOUT, deadline_us) || !PQconsumeInput(conn)) {
            return false;
        }
    }
    return left == 0;
}

static bool wait_for_result(PGconn *conn, uint64_t deadline_us)
{
    while (PQisBusy(conn)) {
        if (!wait_for_socket(conn, POLLIN, deadline_us) || !PQconsumeInput(conn)) {
            return false;
        }
    }
    return true;
}

/*
 * What one result says. A FATAL error comes from a backend that is going away: the server may have
 * committed before it was told to leave, so that alone leaves the outcome unknown.
 */
static enum shop_outcome judge_result(const PGresult *result, char ret_sqlstate[6],
                                      char ret_text[SHOP_TEXT_SIZE])
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        return SHOP_ACKED;
    }
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    copy_text(ret_text, PQresultErrorMessage(result));
    if (sqlstate) {
        snprintf(ret_sqlstate, 6, "%s", sqlstate);
    }
    return sqlstate && severity && strcmp(severity, "ERROR") == 0 ? SHOP_FAILED : SHOP_UNKNOWN;
}

enum shop_outcome shop_db_run(PGconn *conn, const char *sql, int params_len,
                              const char *const *params, uint64_t deadline_us, bool *ret_conn_ok,
                              char ret_sqlstate[6], char ret_text[SHOP_TEXT_SIZE])
{
    bool warned = false;
    enum shop_outcome outcome = SHOP_UNKNOWN;
    *ret_conn_ok = false;
    ret_sqlstate[0] = '\0';
    ret_text[0] = '\0';
    PQsetNoticeReceiver(conn, note_warning, &warned);
    if (!PQsendQueryParams(conn, sql, params_len, NULL, params, NULL, NULL, 0)) {
        copy_text(ret_text, PQerrorMessage(conn));
        return SHOP_FAILED;
    }
    if (!send_all(conn, deadline_us)) {
        copy_text(ret_text, "the connection broke or stalled while the statement was sent");
        return SHOP_UNKNOWN;
    }
    PGresult *result;
    while (wait_for_result(conn, deadline_us)) {
        result = PQgetResult(conn);
        if (!result) {
            *ret_conn_ok = PQstatus(conn) == CONNECTION_OK;
            if (outcome == SHOP_ACKED && warned) {
                copy_text(ret_text, "the commit came with a warning");
                return SHOP_UNKNOWN;
            }
            return outcome;
        }
        outcome = judge_result(result, ret_sqlstate, ret_text);
        PQclear(result);
    }
    copy_text(ret_text, "no answer within the deadline");
    return SHOP_UNKNOWN;
}
