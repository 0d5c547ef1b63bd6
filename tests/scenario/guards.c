/*
 * guards.c - failover-guards as the controllers see them: they renew, obey, report and ask for
 * promises, each in time (fence/guard has the real one, and its own tests).
 *
 * A guard reads etcd after DELAY_STORE_MS, stops its instance in STOP_MS and promotes in
 * PROMOTE_MS. It changes what commits wait for under an accepted renewal: for RELOAD_MS backends go
 * by the old entry or the new one; the proof is a commit after that, acknowledged by the new one.
 * Commands break one: `silent` (cut off from etcd and from the controllers), `stuck` (it reports,
 * and cannot stop PostgreSQL), `unsure` (it changes PostgreSQL, and cannot prove it), `speaks`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/world.h"

#define STOP_MS    5
#define PROMOTE_MS 30
#define REPORT_MS  10000
#define RELOAD_MS  20
#define RESTART_MS 3000 /* with the recovery that it has to do */

static const char *node_of(const struct world *world, int db, int i)
{
    return world->def.nodes[world->def.databases[db].instances[i].node].name;
}

static void boot_of(const struct world *world, int db, int i, char boot[BOOT_ID_SIZE])
{
    snprintf(boot, BOOT_ID_SIZE, "%.30s-%u", node_of(world, db, i),
             world->machines[world->def.databases[db].instances[i].node].boots);
}

static bool lives(const struct world *world, int db, int i)
{
    return world->guards_run && world->machines[world->def.databases[db].instances[i].node].on;
}

static bool reaches_store(const struct world *world, int db, int i)
{
    return !world->store.down && world->guards[db][i].mode != GUARD_MODE_SILENT;
}

static bool is_holder(const struct world *world, int db, int i)
{
    const struct stored_permit *permit = &world->store.permits[db];
    char boot[BOOT_ID_SIZE];
    boot_of(world, db, i, boot);
    return permit->key.create_revision != 0 && permit->value.state == PERMIT_GRANTED &&
           strcmp(permit->value.node, node_of(world, db, i)) == 0 &&
           strcmp(permit->value.boot, boot) == 0;
}

/* ---- what it writes ---- */

static void report(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    const struct postgres *pg = &world->pg[db][i];
    struct stored_guard *stored = &world->store.guards[db][i];
    if (!lives(world, db, i) || !reaches_store(world, db, i)) {
        return;
    }
    struct guard_record *said = &stored->value;
    char boot[BOOT_ID_SIZE];
    bool up = postgres_up(world, db, i);
    memset(said, 0, sizeof *said);
    memcpy(said->node, node_of(world, db, i), NAME_SIZE);
    memcpy(said->database, world->def.databases[db].name, NAME_SIZE);
    snprintf(said->version, sizeof said->version, "scenario");
    boot_of(world, db, i, boot);
    memcpy(said->boot, boot, sizeof boot);
    said->mode = guard->guarding ? GUARD_GUARDING : GUARD_OBSERVING;
    said->state = up ? GUARD_RUNNING : GUARD_STOPPED;
    said->role = up ? pg->role : ROLE_UNKNOWN;
    if (up && postgres_can_ack(world, db, i)) {
        guard->wrote_line = pg->line;
    }
    said->wrote = up && pg->role == ROLE_PRIMARY && !pg->hung && guard->wrote_line == pg->line;
    said->timeline = pg->timeline;
    said->system_id = pg->system_id;
    said->life = pg->life;
    said->receive_lsn = pg->lsn;
    said->epoch = guard->epoch;
    said->stopped_for = guard->stopped_for;
    said->cut_for = guard->cut_for;
    said->sync_for = up && guard->sync_life == pg->life ? guard->sync_for : 0;
    said->down_ms = up || guard->crashed_ms == 0 ? 0 : world->now_ms - guard->crashed_ms;
    snprintf(said->crash, sizeof said->crash, "%s",
             up || guard->crashed_ms == 0 ? "" : "ended by signal 9");
    said->asks_start = guard->guarding && !up && pg->role == ROLE_PRIMARY;
    said->clean = !up && pg->role == ROLE_PRIMARY && guard->crashed_ms == 0;
    said->checkpoint_timeline = pg->timeline;
    said->checkpoint_lsn = said->clean ? pg->lsn : 0;
    said->watchdog = WATCHDOG_TEST;
    said->armed = guard->deadline_ms != 0;
    store_guard_written(world, db, i);
}

static void renew(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    const struct stored_permit *permit = &world->store.permits[db];
    struct renewal_record *said = &world->store.renewals[db].value;
    memset(said, 0, sizeof *said);
    said->epoch = permit->value.epoch;
    said->permit_revision = permit->key.mod_revision;
    char boot[BOOT_ID_SIZE];
    boot_of(world, db, i, boot);
    memcpy(said->boot, boot, sizeof boot);
    said->armed = true;
    said->wrote = postgres_up(world, db, i) && !world->pg[db][i].hung &&
                  world->pg[db][i].role == ROLE_PRIMARY;
    guard->epoch = permit->value.epoch;
    guard->held = permit->value; /* the lists that it asks are of this one */
    guard->deadline_ms = world->now_ms + permit->value.d_ms;
    store_renewal_written(world, db);
}

/* ---- what commits wait for ---- */

static const struct sync_entry_record *target_of(const struct permit_record *permit)
{
    return permit->sync_len > 0 ? &permit->sync[permit->sync_len - 1] : NULL;
}

/* The names stand in the file before PostgreSQL starts or is promoted. */
static void write_names(struct world *world, int db, int i)
{
    const struct sync_entry_record *target = target_of(&world->store.permits[db].value);
    if (target != NULL) {
        postgres_set_names(world, db, i, target, true);
    }
}

static bool shows(const struct postgres *pg, const struct sync_entry_record *entry)
{
    const struct sync_entry_record *names =
        pg->in_force_len > 0 ? &pg->in_force[pg->in_force_len - 1] : NULL;
    bool same = names != NULL && names->k == entry->k && names->first == entry->first &&
                names->members_len == entry->members_len;
    for (int m = 0; same && m < entry->members_len; m++) {
        same = strcmp(names->members[m], entry->members[m]) == 0;
    }
    return same;
}

static void on_prove(struct world *world, const struct args *args)
{
    int db = args->a;
    int i = args->b;
    struct guard *guard = &world->guards[db][i];
    struct postgres *pg = &world->pg[db][i];
    const struct stored_permit *permit = &world->store.permits[db];
    const struct sync_entry_record *target = target_of(&permit->value);
    if (guard->sync_permit != (int64_t)args->n || permit->key.mod_revision != (int64_t)args->n ||
        !is_holder(world, db, i) || !postgres_up(world, db, i) ||
        guard->mode == GUARD_MODE_UNSURE || !reaches_store(world, db, i)) {
        guard->sync_permit = 0; /* begun anew, should it still be wanted */
        return;
    }
    postgres_set_names(world, db, i, target, true);
    if (guard->sync_lsn == 0) {
        guard->sync_lsn = pg->lsn += 64;
    }
    postgres_settle(world);
    if (postgres_confirmed(world, db, i, target) < guard->sync_lsn) {
        world_at(world, world->now_ms + RELOAD_MS, on_prove, args);
        return;
    }
    guard->sync_for = permit->key.mod_revision;
    guard->sync_life = pg->life;
    report(world, db, i);
    world_point(world, "proven %s", node_of(world, db, i));
}

/* After an accepted renewal under the permit as it stands. */
static void obey_entries(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    const struct postgres *pg = &world->pg[db][i];
    const struct stored_permit *permit = &world->store.permits[db];
    const struct sync_entry_record *target = target_of(&permit->value);
    int64_t revision = permit->key.mod_revision;
    if (target == NULL || pg->role != ROLE_PRIMARY || guard->sync_permit == revision) {
        return;
    }
    bool proven = guard->sync_for != 0 && guard->sync_life == pg->life && pg->in_force_len == 1 &&
                  shows(pg, target);
    guard->sync_permit = revision;
    if (proven) {
        guard->sync_for = revision;
        report(world, db, i);
        return;
    }
    if (!shows(pg, target)) {
        postgres_set_names(world, db, i, target, false);
    }
    guard->sync_lsn = 0;
    world_at(world, world->now_ms + RELOAD_MS, on_prove,
             &(struct args){.a = db, .b = i, .n = (uint64_t)revision});
}

/* ---- what it does ---- */

static void stop(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    if (guard->mode == GUARD_MODE_STUCK) {
        return;
    }
    guard->deadline_ms = 0;
    if (postgres_up(world, db, i)) {
        world_print(world, "the guard of %s stops %s", node_of(world, db, i),
                    world->def.databases[db].name);
        postgres_crash(world, db, i);
        world_point(world, "stopped %s", node_of(world, db, i));
    }
}

static void on_promote(struct world *world, const struct args *args)
{
    int db = args->a;
    int i = args->b;
    struct postgres *pg = &world->pg[db][i];
    if (!lives(world, db, i) || !is_holder(world, db, i) || pg->role != ROLE_STANDBY) {
        return;
    }
    check_guard_promotes(world, db, i);
    write_names(world, db, i);
    if (postgres_promote(world, db, i, pg->timeline, pg->system_id)) {
        world_print(world, "%s is a primary of %s, on timeline %u, by its guard",
                    node_of(world, db, i), world->def.databases[db].name, pg->timeline);
        report(world, db, i);
        world_point(world, "promoted %s", node_of(world, db, i));
    }
}

static void obey_grant(struct world *world, int db, int i)
{
    struct postgres *pg = &world->pg[db][i];
    renew(world, db, i);
    world->guards[db][i].stopped_for = 0;
    if (postgres_up(world, db, i) && pg->role == ROLE_STANDBY) {
        world_at(world, world->now_ms + PROMOTE_MS, on_promote, &(struct args){.a = db, .b = i});
    } else if (!postgres_up(world, db, i)) {
        world->guards[db][i].crashed_ms = 0;
        write_names(world, db, i);
        postgres_start(world, db, i); /* given back: it goes on where it was stopped */
        world_print(world, "the guard of %s starts %s again, in its place", node_of(world, db, i),
                    world->def.databases[db].name);
        report(world, db, i);
    }
}

static void on_stopped(struct world *world, const struct args *args)
{
    int db = args->a;
    int i = args->b;
    const struct stored_permit *permit = &world->store.permits[db];
    if (!lives(world, db, i) || permit->value.state != PERMIT_REVOKED) {
        return;
    }
    stop(world, db, i);
    if (!postgres_up(world, db, i)) {
        world->guards[db][i].stopped_for = permit->key.mod_revision;
        report(world, db, i);
    }
}

static void obey_revocation(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    const struct stored_permit *permit = &world->store.permits[db];
    const struct node_def *node = &world->def.nodes[world->def.databases[db].instances[i].node];
    if (guard->stopped_for == permit->key.mod_revision ||
        guard->cut_for == permit->key.mod_revision) {
        return;
    }
    if (strcmp(permit->value.node, node->name) == 0 || world->pg[db][i].role == ROLE_PRIMARY) {
        world_at(world, world->now_ms + STOP_MS, on_stopped, &(struct args){.a = db, .b = i});
    } else if (node_has_method(node, FENCE_REPLICATION)) {
        world->pg[db][i].unlinked = true;
        guard->cut_for = permit->key.mod_revision;
        report(world, db, i);
    }
}

/* Asks each promiser, directly; all must promise. */
static bool all_promise(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    struct promise_question question = {.epoch = guard->held.epoch};
    char reason[REASON_SIZE];
    snprintf(question.database, NAME_SIZE, "%s", world->def.databases[db].name);
    snprintf(question.node, NAME_SIZE, "%s", node_of(world, db, i));
    boot_of(world, db, i, question.boot);
    for (int list = 0; list < 2; list++) {
        int len = list == 0 ? guard->held.promisers_len : guard->held.before_len;
        for (int p = 0; p < len; p++) {
            const char *id = list == 0 ? guard->held.promisers[p] : guard->held.before[p];
            bool promised = false;
            for (int c = 0; c < world->controllers_len; c++) {
                struct controller *controller = &world->controllers[c];
                if (strcmp(controller->id, id) == 0 && controller->running && !controller->frozen &&
                    guard->mode != GUARD_MODE_SILENT) {
                    promised = core_promise(controller->core, &question, world->now_ms, reason,
                                            sizeof reason);
                }
            }
            if (!promised) {
                return false;
            }
        }
    }
    return true;
}

static void without_store(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    if (guard->deadline_ms == 0) {
        return;
    }
    if (all_promise(world, db, i)) {
        guard->deadline_ms = world->now_ms + guard->held.d_ms;
    } else if (world->now_ms + guard->held.w_ms + guard->held.k_ms >= guard->deadline_ms) {
        stop(world, db, i);
    }
}

static void look(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    const struct stored_permit *permit = &world->store.permits[db];
    if (!lives(world, db, i)) {
        guard->deadline_ms = 0;
        guard->reported_ms = 0; /* it reports as soon as it is booted again */
        return;
    }
    if (!reaches_store(world, db, i)) {
        guard->reported_ms = 0; /* it reports as soon as it is back */
        without_store(world, db, i);
        return;
    }
    if (!guard->guarding && permit->value.boot[0] != '\0') {
        guard->guarding = true;
        report(world, db, i);
    }
    if (!guard->guarding) {
        return;
    }
    if (permit->value.state == PERMIT_REVOKED) {
        obey_revocation(world, db, i);
    } else if (is_holder(world, db, i) && epoch_compare(guard->epoch, permit->value.epoch) != 0) {
        obey_grant(world, db, i);
    } else if (is_holder(world, db, i) && postgres_up(world, db, i)) {
        renew(world, db, i);
        obey_entries(world, db, i);
    }
}

/* ---- when ---- */

static void on_look(struct world *world, const struct args *args)
{
    look(world, args->a, args->b);
}

void guards_permit_written(struct world *world, int db)
{
    for (int i = 0; i < world->def.databases[db].instances_len && world->guards_run; i++) {
        world_at(world, world->now_ms + DELAY_STORE_MS, on_look, &(struct args){.a = db, .b = i});
    }
}

/* In its place, under the permit that it still holds; a stuck one does not come back. */
static void on_restart(struct world *world, const struct args *args)
{
    int db = args->a;
    int i = args->b;
    struct guard *guard = &world->guards[db][i];
    if (lives(world, db, i) && is_holder(world, db, i) && guard->mode != GUARD_MODE_STUCK &&
        reaches_store(world, db, i)) {
        renew(world, db, i);
        write_names(world, db, i);
        postgres_start(world, db, i);
        guard->crashed_ms = 0;
        world_print(world, "the guard of %s has restarted %s", node_of(world, db, i),
                    world->def.databases[db].name);
        report(world, db, i);
    }
}

void guard_sees_crash(struct world *world, int db, int i)
{
    struct guard *guard = &world->guards[db][i];
    if (lives(world, db, i) && guard->guarding && guard->deadline_ms != 0) {
        guard->crashed_ms = world->now_ms;
        guard->deadline_ms = 0;
        report(world, db, i);
        if (world->def.databases[db].on_crash == CRASH_RESTART) {
            world_at(world, world->now_ms + RESTART_MS, on_restart,
                     &(struct args){.a = db, .b = i});
        }
    }
}

static void on_tick(struct world *world, const struct args *args)
{
    int db = args->a;
    int i = args->b;
    look(world, db, i);
    if (reaches_store(world, db, i) &&
        (world->now_ms >= world->guards[db][i].reported_ms + REPORT_MS ||
         world->guards[db][i].reported_ms == 0)) {
        world->guards[db][i].reported_ms = world->now_ms;
        report(world, db, i);
    }
    world_at(world, world->now_ms + definition_profile(&world->def)->renewal_ms, on_tick, args);
}

void guards_start(struct world *world)
{
    world->guards_run = true;
    for (int db = 0; db < world->def.databases_len; db++) {
        for (int i = 0; i < world->def.databases[db].instances_len; i++) {
            world_at(world, world->now_ms + 100, on_tick, &(struct args){.a = db, .b = i});
        }
    }
}

void guard_set(struct world *world, int db, int i, enum guard_mode_of mode)
{
    world->guards[db][i].mode = mode;
    if (mode == GUARD_MODE_SPEAKS) {
        report(world, db, i);
    }
}
