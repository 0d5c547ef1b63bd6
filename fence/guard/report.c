#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fence/guard/daemon.h"

#define REPORT_MS      2000
#define REPORT_SOON_MS 500 /* after one without an answer */
#define REPORT_WAIT_MS 250 /* what nobody waits for: perhaps another report takes it along */

static void fill_seen(const struct guard_run *run, const struct guard_core *core, uint64_t now_ms,
                      struct guard_record *record)
{
    const struct instance_fact *fact = instance_fact(run->instance);
    uint64_t wrote_ms = instance_wrote_ms(run->instance);
    bool running = core->seen.process == GUARD_PROCESS_RUNNING;
    record->role = running ? core->seen.role : ROLE_UNKNOWN;
    record->wrote = running && core->seen.role == ROLE_PRIMARY && wrote_ms != 0;
    record->wrote_age_ms = record->wrote && now_ms > wrote_ms ? now_ms - wrote_ms : 0;
    record->life = running ? core->seen.life : 0;
    record->system_id = core->seen.system_id;
    record->timeline = running ? core->seen.timeline : core->seen.checkpoint_timeline;
    if (running && fact->answered) {
        record->write_lsn = fact->write_lsn;
        record->receive_lsn = fact->receive_lsn;
        record->replay_lsn = fact->replay_lsn;
        record->receiving = fact->receiving;
        snprintf(record->sync_names, sizeof record->sync_names, "%s", fact->sync_names);
    }
    if (core->applied_known) {
        memcpy(record->upstream, core->applied, sizeof record->upstream);
    }
    record->clean = !running && core->seen.control == GUARD_CONTROL_PRIMARY_CLEAN;
    record->checkpoint_lsn = core->seen.checkpoint_lsn;
    record->checkpoint_timeline = core->seen.checkpoint_timeline;
}

/* All but what changes by itself: positions, ages, free space. */
static void fill(const struct guard_run *run, uint64_t now_ms, struct guard_record *record)
{
    const struct guard_daemon *d = run->daemon;
    const struct guard_core *core = &d->cores[run->index];
    memset(record, 0, sizeof *record);
    snprintf(record->node, sizeof record->node, "%s", d->local->guard.node);
    snprintf(record->database, sizeof record->database, "%s", run->def->database);
    snprintf(record->version, sizeof record->version, "%s", FAILOVER_VERSION);
    memcpy(record->boot, d->boot, sizeof record->boot);
    record->started_wall_ms = (uint64_t)d->started_wall_ms;
    record->sequence = d->first_sequence + run->reports;
    record->mode = core->durable.guarding ? GUARD_GUARDING : GUARD_OBSERVING;
    record->state = guard_proven_state(core);
    snprintf(record->held, sizeof record->held, "%s",
             core->durable.guarding ? guard_held(core) : "");
    snprintf(record->complaint, sizeof record->complaint, "%s",
             run->daemon->foreign[0] != '\0' ? run->daemon->foreign
             : core->permit_refused ? "etcd holds a permit of a lower epoch than was seen: it may "
                                      "have been restored from a backup (store rescue)"
             : core->permit_missing ? "the permit's key is missing: it goes on by promise alone"
                                    : run->complaint);
    fill_seen(run, core, now_ms, record);
    record->obeyed_revision = guard_obeyed_revision(core);
    record->epoch = core->durable.epoch;
    record->stopped_for = guard_stopped_for(core);
    record->cut_for = guard_cut_for(core);
    record->asks_start = guard_asks_start(core);
    record->sync_for = guard_sync_for(core);
    if (guard_ended(core)[0] != '\0') {
        snprintf(record->crash, sizeof record->crash, "%.*s", TEXT_SIZE - 1, guard_ended(core));
        record->down_ms = now_ms > core->crash_ms ? now_ms - core->crash_ms : 0;
    }
    record->watchdog = d->watchdog.kind;
    record->armed = watchdog_is_armed(&d->watchdog);
    record->watchdog_ms = d->watchdog.period_ms;
}

/* Both were zeroed whole before they were filled. */
static bool differ(const struct guard_record *a, const struct guard_record *b)
{
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c)
    return memcmp(a, b, sizeof *a) != 0;
}

/* Shown to people, or looked at by rules that have time: each report is a commit of etcd's, and in
 * a failover several wait for theirs. Each save of the group's record changes what all its guards
 * obey. */
static void take_away_what_can_wait(struct guard_record *record)
{
    memset(record->held, 0, sizeof record->held);
    memset(record->complaint, 0, sizeof record->complaint);
    memset(record->upstream, 0, sizeof record->upstream);
    memset(record->sync_names, 0, sizeof record->sync_names);
    record->epoch = (struct epoch){0};
    record->obeyed_revision = 0;
    record->receiving = false;
    record->clean = false;
    record->checkpoint_lsn = 0;
    record->checkpoint_timeline = 0;
    record->watchdog_ms = 0;
}

void guard_report_wanted(struct guard_run *run)
{
    uint64_t due_ms = clock_now_ms() + REPORT_WAIT_MS;
    if (due_ms < GUARD_REPORT_MS + run->reported_ms) {
        run->reported_ms = due_ms > GUARD_REPORT_MS ? due_ms - GUARD_REPORT_MS : 0;
    }
}

void guard_report_changes(struct guard_run *run)
{
    static struct guard_record record;
    fill(run, clock_now_ms(), &record);
    record.sequence = 0;
    record.wrote_age_ms = 0;
    record.down_ms = 0;
    record.write_lsn = 0;
    record.receive_lsn = 0;
    record.replay_lsn = 0;
    if (!differ(&record, &run->reported)) {
        return;
    }
    run->reported = record;
    guard_report_wanted(run);
    take_away_what_can_wait(&record);
    if (differ(&record, &run->urgent)) {
        run->urgent = record;
        run->reported_ms = 0;
    }
}

/* The next one soon, but not at once. */
static void report_soon(struct guard_run *run)
{
    run->reported_ms = clock_now_ms() + REPORT_SOON_MS - GUARD_REPORT_MS;
}

/* Its key holds another than the one that was last heard of. */
static void take_report_conflict(struct guard_run *run, const struct etcd_reply *reply)
{
    run->report_revision = 0;
    for (int i = 0; i < reply->kvs_len; i++) {
        if (strcmp(reply->kvs[i].key, run->report_key) == 0) {
            run->report_revision = reply->kvs[i].mod_revision;
        }
    }
    if (run->report_repeated) {
        log_line(LOG_LEVEL_WARN,
                 "another writes this instance's reports: does a second guard run for it?",
                 "database", run->def->database, NULL);
        report_soon(run);
        return;
    }
    run->report_again = true;
}

static void on_reported(void *arg, const struct etcd_reply *reply)
{
    struct guard_run *run = arg;
    run->report = NULL;
    bool answered = reply->outcome == ETCD_OK;
    if (!answered) {
        log_line(LOG_LEVEL_DEBUG, "a report has no answer", "database", run->def->database,
                 "detail", reply->text, NULL);
        report_soon(run);
        if (reply->reason == ETCD_WRONG_CLUSTER) {
            guard_identity_lost(run->daemon);
        }
    } else if (reply->succeeded) {
        run->report_revision = reply->revision;
    } else {
        take_report_conflict(run, reply);
    }
    if (answered) {
        guard_identity_wrote(run->daemon, reply->revision, run->report_floor);
    }
    run->report_repeated = answered && !reply->succeeded;
    for (int i = 0; i < reply->kvs_len; i++) {
        const struct etcd_kv *kv = &reply->kvs[i];
        guard_store_take(run->daemon, kv->key, kv->value, kv->value_len, kv->mod_revision);
    }
    if (run->report_again) {
        guard_report(run);
    }
}

char *guard_report_text(struct guard_run *run, size_t *ret_len)
{
    struct guard_record *record = malloc(sizeof *record);
    if (record == NULL) {
        abort(); /* a guard that is gone feeds no watchdog */
    }
    run->reports++;
    fill(run, clock_now_ms(), record);
    record->free_bytes = instance_free_bytes(run->instance);
    char *text = guard_record_encode(record, ret_len);
    free(record);
    if (text == NULL) {
        abort();
    }
    return text;
}

/*
 * It compares its own key: a report that was given up may still be on its way (the kernel sends on
 * what a closed socket holds), and must not be stored over this one. The answer brings the permit
 * and the roles along: a watch that stalls in silence is of no harm.
 */
void guard_report(struct guard_run *run)
{
    run->report_again = run->report != NULL;
    if (run->report_again) {
        run->reported_ms = clock_now_ms(); /* the answer sends it, not the tick */
        return;
    }
    size_t len = 0;
    char *text = guard_report_text(run, &len);
    run->reported_ms = clock_now_ms();
    run->report_floor = run->daemon->revision_floor;
    static struct etcd_txn txn;
    memset(&txn, 0, sizeof txn);
    etcd_txn_if_mod(&txn, run->report_key, run->report_revision);
    etcd_txn_then_put(&txn, run->report_key, text, len, 0);
    etcd_txn_else_range(&txn, run->report_key, false);
    etcd_txn_then_range(&txn, run->permit_key, false);
    if (run->group_key[0] != '\0') {
        etcd_txn_then_range(&txn, run->group_key, false);
    }
    run->report = etcd_txn(run->daemon->etcd, &txn, REPORT_MS, on_reported, run);
    free(text);
}
