/*
 * The happy path: [nobody is written; looks until no walsender has a place;] the target is written;
 * a session that was opened after that looks until it shows it; [two checkpoints;] a commit is
 * acknowledged at an LSN; looks until each walsender goes by the target and enough standbys hold
 * that LSN; done.
 *
 * Failures: the file cannot be written; a session cannot be opened, or breaks (looked again, until
 * the step's time is over); another place overrides the setting; a walsender keeps its place though
 * nobody is named (then what was there before is written again, and after a pause it is tried anew:
 * commits must not stand still for a walsender that does); the commit is not acknowledged in time;
 * a walsender is not known to go by the target. All pass through finish().
 */
#include "fence/guard/sync.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/cluster/lsn.h"
#include "probes/postgres_words.h"

#define LOOK_WITHIN_MS 1000
#define LOOK_AGAIN_MS  10
#define SHOWN_MS       3000
#define CLOSED_MS      500
#define REST_MS        10000 /* after a walsender that kept its place */
#define BARRIER_MS     600000
#define COMMIT_MS      10000
#define PROVEN_MS      3000

#define PROOF_NAME                                                                                 \
    "failover-guard proof" /* application_name: no other session's commit is cancelled */

enum sync_step {
    SYNC_IDLE,
    SYNC_CLOSING,   /* nobody is being written */
    SYNC_EMPTYING,  /* until no walsender has a place */
    SYNC_RESTORING, /* in vain */
    SYNC_RESTING,
    SYNC_WRITING,
    SYNC_SHOWING,    /* until a new session shows the target */
    SYNC_CHECKPOINT, /* the barrier */
    SYNC_COMMITTING,
    SYNC_PROVING,
};

struct sync {
    struct loop *loop;
    struct sync_params params;
    struct pg_target target;
    char *options;
    struct timer *timer;
    enum sync_step step;
    struct sync_order order;
    char names[SYNC_NAMES_SIZE]; /* that the target is shown as */
    uint64_t until_ms;           /* of the step */
    int checkpoints;
    bool overridden;
    uint64_t lsn;
    char why[ERR_TEXT_MAX]; /* the step's end was not seen at the last look */
    struct pg_session *session;
};

/* One row for each walsender, or one. */
enum look_field {
    LOOK_NAMES,
    LOOK_INCLUDED, /* our file is read */
    LOOK_PLACE,    /* where the setting in force stands, if that is not our file; else "" */
    LOOK_CANCELLED,
    LOOK_WALSENDER,
    LOOK_RELEASES,
    LOOK_PRIORITY,
    LOOK_FLUSH,
    LOOK_FIELDS
};

/* $1 the included file's name, $2 the name of proofs: one that still waits is of an earlier order.
 */
static const char look_sql[] =
    "SELECT s.*, r.application_name, (r.state IN ('streaming', 'stopping'))::int, r.sync_priority,"
    " r.flush_lsn "
    "FROM (SELECT current_setting('synchronous_standby_names'),"
    "  (SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%/' || $1),"
    "  (SELECT coalesce(sourcefile || ', line ' || sourceline, source) FROM pg_settings"
    "    WHERE name = 'synchronous_standby_names' AND sourcefile NOT LIKE '%/' || $1"
    "      OR name = 'synchronous_standby_names' AND source = 'command line'),"
    "  (SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
    "    WHERE application_name = $2 AND wait_event = 'SyncRep')) s"
    " LEFT JOIN (SELECT * FROM pg_stat_replication LIMIT 33) r ON true";

/* No table, no lock, no right but the guard's own: only the commit is wanted. */
static const char commit_sql[] =
    "SELECT pg_logical_emit_message(true, 'failover-guard', 'what commits wait for')";

static void look(struct sync *sync);

static void drop_session(struct sync *sync)
{
    pg_close(sync->session);
    sync->session = NULL;
}

/* Every ending passes here. */
static void finish(struct sync *sync, enum sync_outcome outcome, const char *text)
{
    char kept[ERR_TEXT_MAX];
    snprintf(kept, sizeof kept, "%s", text);
    drop_session(sync);
    timer_stop(sync->timer);
    sync->step = SYNC_IDLE;
    sync->params.done(sync->params.arg, outcome, kept);
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static void go(struct sync *sync, enum sync_step step, uint64_t within_ms)
{
    sync->step = step;
    sync->until_ms = clock_now_ms() + within_ms;
    snprintf(sync->why, sizeof sync->why, "PostgreSQL does not answer");
}

/* Ends the session, which may show what it read before. */
static void write_file(struct sync *sync, enum sync_step step, enum sync_file file)
{
    drop_session(sync);
    sync->step = step;
    sync->params.write(sync->params.arg, file);
}

/* ---- what a look has found ---- */

static void look_again(struct sync *sync)
{
    if (sync->session != NULL && !pg_usable(sync->session)) {
        drop_session(sync);
    }
    if (clock_now_ms() < sync->until_ms) {
        timer_start(sync->timer, LOOK_AGAIN_MS);
    } else if (sync->step == SYNC_EMPTYING) {
        write_file(sync, SYNC_RESTORING, SYNC_FILE_BEFORE);
    } else {
        finish(sync, sync->overridden ? SYNC_OVERRIDDEN : SYNC_UNKNOWN, sync->why);
    }
}

static void on_committed(void *arg, const struct pg_reply *reply)
{
    struct sync *sync = arg;
    if (reply->outcome == PG_TIMEOUT) {
        finish(sync, SYNC_UNKNOWN, "a commit of the guard's own is not acknowledged: unknown");
    } else if (reply->outcome != PG_DONE || reply->warning[0] != '\0') {
        finish(sync, SYNC_UNKNOWN, reply->outcome != PG_DONE ? reply->text : reply->warning);
    } else if (reply->results_len != 1 || PQntuples(reply->results[0]) != 1 ||
               !lsn_parse(PQgetvalue(reply->results[0], 0, 0), &sync->lsn)) {
        finish(sync, SYNC_UNKNOWN, "the commit's answer has not the form that was asked for");
    } else {
        go(sync, SYNC_PROVING, PROVEN_MS);
        look(sync);
    }
}

static void on_checkpoint(void *arg, const struct pg_reply *reply);

static void checkpoint(struct sync *sync)
{
    pg_query(sync->session, "CHECKPOINT", BARRIER_MS, on_checkpoint, sync);
}

static void begin_commit(struct sync *sync)
{
    sync->step = SYNC_COMMITTING;
    pg_query(sync->session, commit_sql, COMMIT_MS, on_committed, sync);
}

static void on_checkpoint(void *arg, const struct pg_reply *reply)
{
    struct sync *sync = arg;
    if (reply->outcome != PG_DONE) {
        finish(sync, SYNC_UNKNOWN, reply->text);
    } else if (++sync->checkpoints < 2) {
        checkpoint(sync); /* the first may have begun before the setting came */
    } else if (sync->order.proof) {
        begin_commit(sync);
    } else {
        finish(sync, SYNC_DONE, "");
    }
}

/* The target is shown. */
static void go_on(struct sync *sync)
{
    bool somebody = sync->names[0] != '\0';
    sync->order.barrier = sync->order.barrier && somebody;
    if (!sync->order.barrier && !sync->order.proof) {
        finish(sync, SYNC_DONE, "");
    } else if (sync->order.barrier) {
        sync->step = SYNC_CHECKPOINT;
        sync->checkpoints = 0;
        checkpoint(sync);
    } else {
        begin_commit(sync);
    }
}

/* Something else is shown. Nobody else's setting is fought with. */
static void judge_other_names(struct sync *sync, bool included, const char *place)
{
    if (!included) {
        snprintf(sync->why, sizeof sync->why,
                 "add to the end of postgresql.conf: include_if_exists = '%s'",
                 sync->params.include_file);
    } else if (place[0] != '\0') {
        snprintf(sync->why, sizeof sync->why,
                 "synchronous_standby_names is set elsewhere (%s): it must be taken away there",
                 place);
    } else {
        snprintf(sync->why, sizeof sync->why, "PostgreSQL has not taken the setting up yet");
        look_again(sync);
        return;
    }
    sync->params.complain(sync->params.arg, sync->why);
    sync->overridden = true;
    sync->until_ms = 0;
    look_again(sync);
}

static int read_rows(const PGresult *result, struct guard_sync_row *rows)
{
    int len = 0;
    for (int i = 0; i < PQntuples(result) && len < GUARD_SYNC_ROWS_MAX; i++) {
        if (PQgetisnull(result, i, LOOK_WALSENDER)) {
            continue;
        }
        struct guard_sync_row *row = &rows[len++];
        snprintf(row->name, sizeof row->name, "%s", PQgetvalue(result, i, LOOK_WALSENDER));
        row->releases = strcmp(PQgetvalue(result, i, LOOK_RELEASES), "1") == 0;
        row->place = (int32_t)strtol(PQgetvalue(result, i, LOOK_PRIORITY), NULL, 10);
        if (!lsn_parse(PQgetvalue(result, i, LOOK_FLUSH), &row->flush_lsn)) {
            row->flush_lsn = 0;
        }
    }
    return len;
}

/* The names are as wanted: what the step waits for beside them. */
static void judge_rows(struct sync *sync, const PGresult *result)
{
    static struct guard_sync_row rows[GUARD_SYNC_ROWS_MAX];
    char why[GUARD_SYNC_WHY_SIZE] = "";
    int len = read_rows(result, rows);
    bool all = PQntuples(result) <= GUARD_SYNC_ROWS_MAX;
    bool good = true;
    if (!all) {
        snprintf(why, sizeof why, "there are more than %d walsenders", GUARD_SYNC_ROWS_MAX);
        good = false;
    } else if (sync->step == SYNC_EMPTYING) {
        good = guard_sync_is_closed(rows, len, why);
    } else if (sync->step == SYNC_PROVING && sync->names[0] != '\0') {
        good = guard_sync_is_proven(&sync->order.sync, rows, len, sync->lsn, why);
    }
    if (!good) {
        snprintf(sync->why, sizeof sync->why, "%s", why);
        look_again(sync);
    } else if (sync->step == SYNC_EMPTYING) {
        write_file(sync, SYNC_WRITING, SYNC_FILE_TARGET);
    } else if (sync->step == SYNC_SHOWING) {
        sync->params.complain(sync->params.arg, "");
        go_on(sync);
    } else {
        finish(sync, SYNC_DONE, "");
    }
}

static void on_look(void *arg, const struct pg_reply *reply)
{
    struct sync *sync = arg;
    bool good = reply->outcome == PG_DONE && reply->results_len == 1 &&
                PQntuples(reply->results[0]) > 0 && PQnfields(reply->results[0]) == LOOK_FIELDS;
    if (!good) {
        snprintf(sync->why, sizeof sync->why, "%s", reply->text);
        look_again(sync);
        return;
    }
    const PGresult *result = reply->results[0];
    const char *names = PQgetvalue(result, 0, LOOK_NAMES);
    const char *wanted = sync->step == SYNC_EMPTYING ? GUARD_SYNC_NOBODY_NAMES : sync->names;
    if (strcmp(names, wanted) == 0) {
        judge_rows(sync, result);
    } else {
        bool included = strcmp(PQgetvalue(result, 0, LOOK_INCLUDED), "0") != 0;
        judge_other_names(sync, included, PQgetvalue(result, 0, LOOK_PLACE));
    }
}

static void ask(struct sync *sync)
{
    static const struct pg_statement statement = {"failover_look", look_sql};
    const char *params[] = {base_of(sync->params.include_file), PROOF_NAME};
    struct pg_call call = {&statement, params, 2};
    pg_call(sync->session, &call, 1, LOOK_WITHIN_MS, on_look, sync);
}

static void on_opened(void *arg, const struct pg_reply *reply)
{
    struct sync *sync = arg;
    if (reply->outcome != PG_DONE) {
        snprintf(sync->why, sizeof sync->why, "%s", reply->text);
        look_again(sync);
        return;
    }
    ask(sync);
}

/* While it was idle: the next look opens another. */
static void on_lost(void *arg, const char *text)
{
    struct sync *sync = arg;
    snprintf(sync->why, sizeof sync->why, "%s", text);
    drop_session(sync);
}

/*
 * A session is opened after the file was written and the postmaster told, and is kept as long as
 * that file is: the postmaster passes a SIGHUP on only when it has read the file itself, so what
 * such a session shows is what every new one gets. An older one takes a setting up when it pleases.
 */
static void look(struct sync *sync)
{
    if (sync->session != NULL) {
        ask(sync);
    } else {
        sync->session =
            pg_open(sync->loop, &sync->target, LOOK_WITHIN_MS, on_opened, on_lost, sync);
    }
}

static void on_timer(void *arg)
{
    struct sync *sync = arg;
    if (sync->step == SYNC_RESTING) {
        finish(sync, SYNC_UNKNOWN, sync->why);
    } else {
        look(sync);
    }
}

/* ---- orders ---- */

void sync_begin(struct sync *sync, const struct sync_order *order)
{
    sync_cancel(sync);
    sync->order = *order;
    sync->overridden = false;
    const struct sync_entry_record *target = guard_sync_target(&order->sync);
    sync->names[0] = '\0';
    if (order->closed) {
        snprintf(sync->names, sizeof sync->names, "%s", GUARD_SYNC_NOBODY_NAMES);
    } else if (target != NULL) {
        guard_sync_names(target, sync->names);
    }
    write_file(sync, order->by_nobody ? SYNC_CLOSING : SYNC_WRITING,
               order->by_nobody ? SYNC_FILE_NOBODY : SYNC_FILE_TARGET);
}

bool sync_is_running(const struct sync *sync)
{
    return sync->step != SYNC_IDLE;
}

void sync_written(struct sync *sync, bool written, const char *text)
{
    bool ours = sync->order.closed || sync->order.sync.len > 0;
    bool open = sync->names[0] == '\0' && !sync->order.proof; /* late, it only costs time */
    if (!written) {
        finish(sync, SYNC_UNKNOWN, text);
    } else if (sync->step == SYNC_CLOSING) {
        go(sync, SYNC_EMPTYING, CLOSED_MS);
        look(sync);
    } else if (sync->step == SYNC_RESTORING) {
        sync->step = SYNC_RESTING;
        timer_start(sync->timer, REST_MS);
    } else if (!ours || open) {
        sync->params.complain(sync->params.arg, "");
        finish(sync, SYNC_DONE, ""); /* whatever is shown now is the operator's, or nothing */
    } else {
        go(sync, SYNC_SHOWING, SHOWN_MS);
        look(sync);
    }
}

void sync_cancel(struct sync *sync)
{
    drop_session(sync);
    timer_stop(sync->timer);
    sync->step = SYNC_IDLE;
}

struct sync *sync_new(struct loop *loop, const struct sync_params *params)
{
    struct sync *sync = calloc(1, sizeof *sync);
    if (sync == NULL) {
        abort(); /* a guard that is gone feeds no watchdog */
    }
    sync->loop = loop;
    sync->params = *params;
    sync->target = params->target;
    sync->options = postgres_options(1000, "-c synchronous_commit=on");
    sync->target.options = sync->options;
    sync->target.application_name = PROOF_NAME;
    sync->timer = timer_new(loop, on_timer, sync);
    return sync;
}

void sync_free(struct sync *sync)
{
    if (sync == NULL) {
        return;
    }
    sync_cancel(sync);
    timer_free(sync->timer);
    free(sync->options);
    free(sync);
}
