/*
 * postgres.c - instances, replication and acknowledged commits, as far as a controller's decisions
 * depend on them.
 *
 * WAL grows at a database's rate while its primary can acknowledge. Each promotion starts a line of
 * history; unlike timelines, lines are unique, so the truth can tell two forks of one number apart.
 */
#include <stdio.h>
#include <string.h>

#include "tests/scenario/world.h"

#define HEARTBEAT_BYTES 64

bool postgres_up(const struct world *world, int db, int i)
{
    int node = world->def.databases[db].instances[i].node;
    return world->machines[node].on && world->pg[db][i].running;
}

static bool works(const struct world *world, int db, int i)
{
    const struct postgres *pg = &world->pg[db][i];
    return postgres_up(world, db, i) && !pg->hung && pg->cause != CAUSE_STARTING &&
           pg->cause != CAUSE_STOPPING;
}

int postgres_upstream(const struct world *world, int db, int i)
{
    const struct postgres *standby = &world->pg[db][i];
    if (!works(world, db, i) || standby->role != ROLE_STANDBY || standby->unlinked) {
        return -1;
    }
    for (int p = 0; p < world->def.databases[db].instances_len; p++) {
        const struct postgres *primary = &world->pg[db][p];
        if (works(world, db, p) && primary->role == ROLE_PRIMARY &&
            primary->line == standby->line) {
            return p;
        }
    }
    return -1;
}

static bool is_member(const struct world *world, int db, const struct sync_entry_record *entry,
                      int i)
{
    for (int m = 0; m < entry->members_len; m++) {
        if (strcmp(entry->members[m], world->def.databases[db].instances[i].name) == 0) {
            return true;
        }
    }
    return false;
}

uint64_t postgres_confirmed(const struct world *world, int db, int p,
                            const struct sync_entry_record *entry)
{
    if (entry->k == 0) {
        return world->pg[db][p].lsn;
    }
    for (int a = 0; a < world->def.databases[db].instances_len; a++) {
        int ahead = 0;
        if (postgres_upstream(world, db, a) != p || !is_member(world, db, entry, a)) {
            continue;
        }
        for (int b = 0; b < world->def.databases[db].instances_len; b++) {
            bool further = world->pg[db][b].lsn > world->pg[db][a].lsn ||
                           (world->pg[db][b].lsn == world->pg[db][a].lsn && b <= a);
            if (postgres_upstream(world, db, b) == p && is_member(world, db, entry, b) && further) {
                ahead++;
            }
        }
        if (ahead == entry->k) {
            return world->pg[db][a].lsn;
        }
    }
    return 0;
}

/* By whichever of the entries in force a backend goes. */
static uint64_t acknowledged_lsn(const struct world *world, int db, int p)
{
    const struct postgres *pg = &world->pg[db][p];
    uint64_t most = pg->in_force_len == 0 ? pg->lsn : 0;
    for (int e = 0; e < pg->in_force_len; e++) {
        uint64_t confirmed = postgres_confirmed(world, db, p, &pg->in_force[e]);
        most = confirmed > most ? confirmed : most;
    }
    return most;
}

static bool waits(const struct postgres *pg)
{
    bool all = pg->in_force_len > 0;
    for (int e = 0; e < pg->in_force_len; e++) {
        all = all && pg->in_force[e].k > 0;
    }
    return all;
}

static void declared_entry(const struct world *world, int db, int i, struct sync_entry_record *ret)
{
    const struct database_def *def = &world->def.databases[db];
    const struct sync_entry_def *declared = &def->sync[0];
    *ret = (struct sync_entry_record){.k = declared->k, .first = declared->first};
    for (int m = 0; m < declared->members_len; m++) {
        if (declared->members[m] != i) {
            snprintf(ret->members[ret->members_len++], NAME_SIZE, "%s",
                     def->instances[declared->members[m]].name);
        }
    }
    ret->k = ret->k < ret->members_len ? ret->k : ret->members_len;
}

void postgres_set_names(struct world *world, int db, int i, const struct sync_entry_record *entry,
                        bool alone)
{
    struct postgres *pg = &world->pg[db][i];
    struct sync_entry_record declared;
    if (entry == NULL) {
        declared_entry(world, db, i, &declared);
        entry = &declared;
    }
    if (pg->in_force_len == 0 && !alone) {
        pg->in_force[pg->in_force_len++] = (struct sync_entry_record){.k = 0};
    }
    if (alone || pg->in_force_len > SYNC_ENTRIES_MAX) {
        pg->in_force_len = 0;
    }
    pg->in_force[pg->in_force_len++] = *entry;
}

bool postgres_can_ack(const struct world *world, int db, int i)
{
    const struct postgres *pg = &world->pg[db][i];
    if (!works(world, db, i) || pg->role != ROLE_PRIMARY || pg->cause == CAUSE_NO_SPACE ||
        pg->cause == CAUSE_READ_ONLY) {
        return false;
    }
    return acknowledged_lsn(world, db, i) > 0;
}

static void follow(struct world *world, int db)
{
    for (int i = 0; i < world->def.databases[db].instances_len; i++) {
        int p = postgres_upstream(world, db, i);
        struct postgres *standby = &world->pg[db][i];
        if (p >= 0 && world->pg[db][p].lsn > standby->lsn + standby->lag_bytes) {
            standby->lsn = world->pg[db][p].lsn - standby->lag_bytes;
        }
    }
}

static void settle(struct world *world, int db)
{
    struct db_truth *truth = &world->truth[db];
    uint64_t passed_ms = world->now_ms - truth->settled_ms;
    truth->settled_ms = world->now_ms;
    for (int i = 0; i < world->def.databases[db].instances_len; i++) {
        struct postgres *pg = &world->pg[db][i];
        if (!postgres_can_ack(world, db, i)) {
            continue;
        }
        pg->lsn += truth->rate_bytes_per_s * passed_ms / 1000;
        follow(world, db);
        if (pg->line != truth->newest_line && passed_ms > 0 && !truth->split_by_hand) {
            world_break(world, "S1: %s on %s acknowledges on a line that another has left",
                        world->def.databases[db].name,
                        world->def.nodes[world->def.databases[db].instances[i].node].name);
        }
        if (pg->line != truth->recorded_line) {
            continue; /* no route leads there: nobody waits for its commits */
        }
        uint64_t acked = acknowledged_lsn(world, db, i);
        bool all_wait = waits(pg);
        if (all_wait && pg->in_force_len == 1 &&
            postgres_confirmed(world, db, i, &pg->in_force[0]) >= truth->acked_lsn) {
            truth->unwaited = false;
        }
        if (acked > truth->acked_lsn) {
            truth->acked_lsn = acked;
            truth->unwaited = truth->unwaited || !all_wait;
        }
    }
}

void postgres_settle(struct world *world)
{
    for (int db = 0; db < world->def.databases_len; db++) {
        settle(world, db);
    }
}

/* ---- what a probe finds ---- */

static void tell_primary(struct world *world, int db, int i, struct instance_fact *fact)
{
    const struct database_def *def = &world->def.databases[db];
    struct postgres *pg = &world->pg[db][i];
    fact->sync_commit_on = true;
    const struct sync_entry_record *names =
        pg->in_force_len > 0 ? &pg->in_force[pg->in_force_len - 1] : NULL;
    if (names != NULL && names->k > 0) {
        int len = snprintf(fact->sync_names, sizeof fact->sync_names, "%s %d (",
                           names->first ? "FIRST" : "ANY", names->k);
        for (int m = 0; m < names->members_len; m++) {
            len += snprintf(fact->sync_names + len, sizeof fact->sync_names - (size_t)len, "%s%s",
                            m > 0 ? ", " : "", names->members[m]);
        }
        snprintf(fact->sync_names + len, sizeof fact->sync_names - (size_t)len, ")");
    }
    for (int s = 0; s < def->instances_len; s++) {
        bool muted = world->pg[db][s].muted && world->pg[db][s].role == ROLE_STANDBY &&
                     world->pg[db][s].line == pg->line;
        if (postgres_upstream(world, db, s) == i || muted) {
            struct standby_fact *standby = &fact->standbys[fact->standbys_len++];
            snprintf(standby->name, sizeof standby->name, "%s", def->instances[s].name);
            standby->streaming = true;
            standby->sync = names != NULL && is_member(world, db, names, s);
            standby->flush_lsn = world->pg[db][s].lsn;
            standby->replay_lsn = world->pg[db][s].lsn;
        }
    }
    if (fact->cause == CAUSE_OK && !postgres_can_ack(world, db, i)) {
        fact->cause = CAUSE_SYNC_STALL;
        pg->lsn += HEARTBEAT_BYTES; /* written, and not acknowledged */
    } else if (fact->cause == CAUSE_OK) {
        pg->lsn += HEARTBEAT_BYTES;
        follow(world, db);
        fact->wrote = true;
    }
    fact->write_lsn = pg->lsn;
}

static bool hides_all(enum cause cause)
{
    return cause == CAUSE_CREDENTIALS || cause == CAUSE_TOO_MANY || cause == CAUSE_CERTIFICATE ||
           cause == CAUSE_STARTING || cause == CAUSE_STOPPING || cause == CAUSE_PROBER ||
           cause == CAUSE_BAD_ANSWER;
}

void postgres_probe(struct world *world, int c, int db, int i, struct instance_fact *fact)
{
    int node = world->def.databases[db].instances[i].node;
    const struct postgres *pg = &world->pg[db][i];
    if (world->cut_node[c][node] || !world->machines[node].on) {
        fact->cause = CAUSE_TIMED_OUT;
        return;
    }
    if (!pg->running) {
        fact->cause = CAUSE_REFUSED;
        return;
    }
    fact->cause = pg->hung ? CAUSE_HUNG : pg->cause;
    if (pg->hung || hides_all(pg->cause)) {
        return;
    }
    fact->answered = true;
    fact->role = pg->role;
    fact->system_id = pg->system_id;
    fact->timeline = pg->timeline;
    if (pg->role == ROLE_PRIMARY) {
        tell_primary(world, db, i, fact);
    } else {
        fact->receive_lsn = pg->lsn;
        fact->replay_lsn = pg->lsn;
        fact->receiving = postgres_upstream(world, db, i) >= 0;
        fact->replay_idle = true;
    }
}

/* ---- what happens to it ---- */

void postgres_crash(struct world *world, int db, int i)
{
    struct postgres *pg = &world->pg[db][i];
    bool was = postgres_up(world, db, i);
    pg->running = false;
    pg->hung = false;
    pg->life++;
    if (was) {
        controller_news(world, db, i);
        guard_sees_crash(world, db, i);
    }
}

void postgres_start(struct world *world, int db, int i)
{
    struct postgres *pg = &world->pg[db][i];
    pg->running = true;
    pg->life++;
}

bool postgres_promote(struct world *world, int db, int i, uint32_t timeline, uint64_t system_id)
{
    struct postgres *pg = &world->pg[db][i];
    if (!works(world, db, i) || pg->role != ROLE_STANDBY || pg->timeline != timeline ||
        pg->system_id != system_id) {
        return false;
    }
    check_promoted(world, db, i);
    pg->role = ROLE_PRIMARY;
    pg->timeline += pg->promotion == PROMOTION_SKIPS ? 2 : 1;
    pg->line = world->next_line++;
    if (!world->guards[db][i].guarding) {
        pg->in_force_len = 0;
    }
    pg->promotions++;
    world->truth[db].newest_line = pg->line;
    world->truth[db].promoted = i;
    return true;
}

void postgres_recorded(struct world *world, int db, const char *node)
{
    struct db_truth *truth = &world->truth[db];
    int i = definition_instance(&world->def.databases[db], definition_node(&world->def, node));
    if (i >= 0 && world->pg[db][i].role == ROLE_PRIMARY &&
        world->pg[db][i].line != truth->recorded_line) {
        truth->recorded_line = world->pg[db][i].line;
        truth->acked_lsn = world->pg[db][i].lsn;
        truth->unwaited = false;
    }
}
