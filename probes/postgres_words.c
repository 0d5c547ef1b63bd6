#include "probes/postgres_words.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/lsn.h"

char *postgres_options(uint32_t lock_timeout_ms, const char *more)
{
    char *options = NULL;
    int len = asprintf(&options,
                       "-c lock_timeout=%u -c statement_timeout=0 -c idle_session_timeout=0 "
                       "-c idle_in_transaction_session_timeout=0 "
                       "-c plan_cache_mode=force_generic_plan %s",
                       lock_timeout_ms, more != NULL ? more : "");
    assert(len > 0);
    (void)len;
    return options;
}

/*
 * One row of READ_FIELDS columns.
 *
 * A standby's replay is at the end when it replayed all that was received, or waits for more: the
 * last record may have come in half. What arrives in the instant before it wakes is counted by the
 * received position, which is read first; nothing on its disk lies beyond the greater of the two.
 */
enum read_field {
    READ_RECOVERY,
    READ_SYSTEM_ID,
    READ_TIMELINE,
    READ_WRITE_LSN,
    READ_RECEIVE_LSN,
    READ_RECEIVING,
    READ_PAUSED,
    READ_IDLE,
    READ_REPLAY_LSN,
    READ_SYNC_NAMES,
    READ_SYNC_COMMIT,
    READ_STUCK_WAIT,
    READ_LIFE,
    READ_PAD,
    READ_FIELDS
};

static const char read_sql[] = /* $1 a backend of ours to look at, $2 comes back */
    "WITH me AS MATERIALIZED (SELECT pg_is_in_recovery() AS standby) "
    "SELECT standby::int,"
    " (SELECT system_identifier FROM pg_control_system()),"
    " CASE WHEN standby THEN " POSTGRES_STANDBY_TIMELINE " ELSE " POSTGRES_PRIMARY_TIMELINE " END,"
    " CASE WHEN NOT standby THEN pg_current_wal_lsn() END,"
    " CASE WHEN standby THEN pg_last_wal_receive_lsn() END,"
    " CASE WHEN standby THEN (SELECT (status = 'streaming')::int FROM pg_stat_wal_receiver) END,"
    " CASE WHEN standby THEN pg_is_wal_replay_paused()::int END,"
    " CASE WHEN standby THEN"
    "  (coalesce(pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn(), false)"
    "   OR EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'startup'"
    "    AND wait_event IN ('RecoveryWalStream', 'RecoveryRetrieveRetryInterval')))::int END,"
    " CASE WHEN standby THEN pg_last_wal_replay_lsn() END,"
    " current_setting('synchronous_standby_names'),"
    " current_setting('synchronous_commit'),"
    " (SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE pid = $1::int),"
    " " POSTGRES_LIFE ","
    " $2::text "
    "FROM me";

static const char standbys_sql[] =
    "SELECT application_name, (state = 'streaming')::int, (sync_state IN ('sync', 'quorum'))::int,"
    " sync_priority, flush_lsn, replay_lsn "
    "FROM pg_stat_replication WHERE NOT pg_is_in_recovery() "
    "ORDER BY sync_priority = 0, state <> 'streaming', sync_priority, application_name "
    "LIMIT $1::int";

enum { ROW_NAME, ROW_STREAMING, ROW_SYNC, ROW_PRIORITY, ROW_FLUSH, ROW_REPLAY, ROW_FIELDS };

static const char write_sql[] =
    "INSERT INTO failover.heartbeat AS h (controller, counter, written_at) "
    "VALUES ($1, 1, clock_timestamp()) "
    "ON CONFLICT (controller) DO UPDATE SET counter = h.counter + 1, written_at = clock_timestamp()";
const struct pg_statement postgres_write = {"failover_write", write_sql};

void postgres_ask(struct postgres_question *ret_question, int stuck_pid)
{
    static const struct pg_statement read = {"failover_read", read_sql};
    static const struct pg_statement standbys = {"failover_standbys", standbys_sql};
    *ret_question = (struct postgres_question){0};
    snprintf(ret_question->pid, sizeof ret_question->pid, "%d", stuck_pid);
    snprintf(ret_question->most, sizeof ret_question->most, "%d", FACT_STANDBYS_MAX);
    memset(ret_question->pad, '.', POSTGRES_PAD);
    ret_question->params[0] = ret_question->pid;
    ret_question->params[1] = ret_question->pad;
    ret_question->calls[0] = (struct pg_call){&read, ret_question->params, 2};
    ret_question->params[2] = ret_question->most;
    ret_question->calls[1] = (struct pg_call){&standbys, ret_question->params + 2, 1};
}

static uint64_t number_at(const PGresult *result, int row, int field)
{
    return strtoull(PQgetvalue(result, row, field), NULL, 10);
}

static bool flag_at(const PGresult *result, int row, int field)
{
    return strcmp(PQgetvalue(result, row, field), "1") == 0;
}

/* NULL is an empty text, and an unknown position. */
static uint64_t lsn_at(const PGresult *result, int row, int field)
{
    uint64_t lsn = 0;
    return lsn_parse(PQgetvalue(result, row, field), &lsn) ? lsn : 0;
}

static void read_standbys(const PGresult *result, struct instance_fact *fact)
{
    int rows = PQntuples(result);
    fact->standbys_len = rows < FACT_STANDBYS_MAX ? rows : FACT_STANDBYS_MAX;
    for (int i = 0; i < fact->standbys_len; i++) {
        struct standby_fact *standby = &fact->standbys[i];
        snprintf(standby->name, sizeof standby->name, "%s", PQgetvalue(result, i, ROW_NAME));
        standby->streaming = flag_at(result, i, ROW_STREAMING);
        standby->sync = flag_at(result, i, ROW_SYNC);
        standby->sync_priority = (int32_t)number_at(result, i, ROW_PRIORITY);
        standby->flush_lsn = lsn_at(result, i, ROW_FLUSH);
        standby->replay_lsn = lsn_at(result, i, ROW_REPLAY);
    }
}

bool postgres_read(const struct pg_reply *reply, struct instance_fact *fact,
                   char ret_wait[POSTGRES_WAIT_MAX])
{
    ret_wait[0] = '\0';
    if (reply->results_len != 2 || PQntuples(reply->results[0]) != 1 ||
        PQnfields(reply->results[0]) != READ_FIELDS || PQnfields(reply->results[1]) != ROW_FIELDS) {
        return false;
    }
    const PGresult *row = reply->results[0];
    fact->answered = true;
    fact->role = flag_at(row, 0, READ_RECOVERY) ? ROLE_STANDBY : ROLE_PRIMARY;
    /* A bigint: the server shows ids above 2^63 as negative numbers, which strtoull() turns back.
     */
    fact->system_id = number_at(row, 0, READ_SYSTEM_ID);
    fact->timeline = (uint32_t)number_at(row, 0, READ_TIMELINE);
    fact->life = (int64_t)number_at(row, 0, READ_LIFE);
    fact->write_lsn = lsn_at(row, 0, READ_WRITE_LSN);
    fact->replay_lsn = lsn_at(row, 0, READ_REPLAY_LSN);
    /* The receiver's position is empty after a restart, and starts anew at a segment's beginning.
     */
    uint64_t received_lsn = lsn_at(row, 0, READ_RECEIVE_LSN);
    fact->receive_lsn = received_lsn > fact->replay_lsn ? received_lsn : fact->replay_lsn;
    fact->receiving = flag_at(row, 0, READ_RECEIVING);
    fact->replay_paused = flag_at(row, 0, READ_PAUSED);
    fact->replay_idle = flag_at(row, 0, READ_IDLE);
    snprintf(fact->sync_names, sizeof fact->sync_names, "%s", PQgetvalue(row, 0, READ_SYNC_NAMES));
    const char *commit = PQgetvalue(row, 0, READ_SYNC_COMMIT);
    fact->sync_commit_on = strcmp(commit, "on") == 0 || strcmp(commit, "remote_apply") == 0;
    snprintf(ret_wait, POSTGRES_WAIT_MAX, "%s", PQgetvalue(row, 0, READ_STUCK_WAIT));
    read_standbys(reply->results[1], fact);
    return true;
}

void postgres_look_sql(char ret_sql[POSTGRES_LOOK_MAX], int stuck_pid)
{
    snprintf(ret_sql, POSTGRES_LOOK_MAX,
             "SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity WHERE pid = %d",
             stuck_pid);
}

bool postgres_look(const struct pg_reply *reply, char ret_wait[POSTGRES_WAIT_MAX])
{
    if (reply->outcome != PG_DONE || reply->results_len != 1 || PQntuples(reply->results[0]) != 1 ||
        PQnfields(reply->results[0]) != 1) {
        return false;
    }
    snprintf(ret_wait, POSTGRES_WAIT_MAX, "%s", PQgetvalue(reply->results[0], 0, 0));
    return true;
}

enum cause postgres_wait_cause(const char *wait)
{
    if (strcmp(wait, "IPC SyncRep") == 0) {
        return CAUSE_SYNC_STALL;
    }
    return strncmp(wait, "Lock ", 5) == 0 ? CAUSE_LOCKED : CAUSE_HUNG;
}

/* By SQLSTATE: the first row whose code is a prefix of it. */
static const struct {
    const char *sqlstate;
    enum cause cause;
} by_sqlstate[] = {
    {"25006", CAUSE_READ_ONLY}, /* read_only_sql_transaction */
    {"28", CAUSE_CREDENTIALS},  /* invalid authorization */
    {"3D000", CAUSE_SETUP},     /* no such database */
    {"3F000", CAUSE_SETUP},     /* no such schema */
    {"40", CAUSE_LOCKED},       /* deadlock, serialization: others hold the row */
    {"42", CAUSE_SETUP},        /* no such table, no privilege, no such function */
    {"53100", CAUSE_NO_SPACE},  /* disk_full */
    {"53", CAUSE_TOO_MANY},     /* connections, memory, configured limits: overload */
    {"55P03", CAUSE_LOCKED},    /* lock_not_available */
    {"57P01", CAUSE_STOPPING},  /* admin_shutdown */
    {"57P02", CAUSE_STOPPING},  /* crash_shutdown */
    {"57P03", CAUSE_STARTING},  /* cannot_connect_now; shutting down is told by its text below */
    {"57P04", CAUSE_SETUP},     /* database_dropped */
    {"57P05", CAUSE_SETUP},     /* idle_session_timeout, which our options switch off */
    {"58", CAUSE_HUNG}, /* system_error: the operating system's I/O failed below the server */
};

static bool says(const struct pg_reply *reply, const char *words)
{
    return strcasestr(reply->text, words) != NULL;
}

static enum cause sqlstate_cause(const struct pg_reply *reply)
{
    for (size_t i = 0; i < sizeof by_sqlstate / sizeof by_sqlstate[0]; i++) {
        const char *prefix = by_sqlstate[i].sqlstate;
        if (strncmp(reply->sqlstate, prefix, strlen(prefix)) != 0) {
            continue;
        }
        enum cause cause = by_sqlstate[i].cause;
        if (cause == CAUSE_STARTING && says(reply, "shutting down")) {
            return CAUSE_STOPPING; /* in another language it counts as starting: no refusal either
                                    */
        }
        if (cause == CAUSE_CREDENTIALS && says(reply, "certificate")) {
            return CAUSE_CERTIFICATE;
        }
        return cause;
    }
    return CAUSE_BAD_ANSWER;
}

/* By errno, whose text libpq quotes: it did not get as far as the server, so there is no SQLSTATE.
 */
static const struct {
    int error;
    enum cause cause;
} by_errno[] = {
    {EHOSTUNREACH, CAUSE_TIMED_OUT}, {ENETUNREACH, CAUSE_TIMED_OUT}, {ETIMEDOUT, CAUSE_TIMED_OUT},
    {EHOSTDOWN, CAUSE_TIMED_OUT},    {EAGAIN, CAUSE_HUNG}, /* a unix socket's full backlog */
    {EMFILE, CAUSE_PROBER},          {ENFILE, CAUSE_PROBER},         {ENOMEM, CAUSE_PROBER},
    {ENOBUFS, CAUSE_PROBER},         {EADDRNOTAVAIL, CAUSE_PROBER},  {EACCES, CAUSE_PROBER},
    {EPERM, CAUSE_PROBER},           {EAFNOSUPPORT, CAUSE_PROBER},
};

/* By libpq's own words, which are not translated in the C locale. First match wins. */
static const struct {
    const char *words;
    enum cause cause;
} by_words[] = {
    {"closed the connection unexpectedly", CAUSE_CUT},
    {"SSL SYSCALL error", CAUSE_CUT},
    {"SSL connection has been closed", CAUSE_CUT},
    {"certificate", CAUSE_CERTIFICATE},
    {"SSL", CAUSE_CERTIFICATE},
    {"no password supplied", CAUSE_CREDENTIALS},
    {"authentication", CAUSE_CREDENTIALS},
    {"SCRAM", CAUSE_CREDENTIALS},
    {"out of memory", CAUSE_PROBER},
    {"could not parse network address", CAUSE_PROBER},
    {"could not create socket", CAUSE_PROBER},
    {"invalid ",
     CAUSE_PROBER}, /* "invalid sslmode value", "invalid port number": our own parameters */
    {"received", CAUSE_BAD_ANSWER},
};

static enum cause text_cause(const struct pg_reply *reply)
{
    for (size_t i = 0; i < sizeof by_errno / sizeof by_errno[0]; i++) {
        if (says(reply, strerror(by_errno[i].error))) {
            return by_errno[i].cause;
        }
    }
    for (size_t i = 0; i < sizeof by_words / sizeof by_words[0]; i++) {
        if (says(reply, by_words[i].words)) {
            return by_words[i].cause;
        }
    }
    return CAUSE_CUT;
}

enum cause postgres_open_cause(const struct pg_reply *reply)
{
    switch (reply->outcome) {
    case PG_REFUSED: return CAUSE_REFUSED;
    case PG_TIMEOUT: return CAUSE_TIMED_OUT;
    case PG_FAILED: return sqlstate_cause(reply);
    default: return reply->sqlstate[0] != '\0' ? sqlstate_cause(reply) : text_cause(reply);
    }
}

enum cause postgres_statement_cause(const struct pg_reply *reply)
{
    if (reply->outcome == PG_TIMEOUT) {
        return CAUSE_HUNG;
    }
    if (reply->sqlstate[0] != '\0') {
        return sqlstate_cause(reply);
    }
    return CAUSE_CUT;
}
