/*
 * check.c - safety on the truth (design §10), after every event and at every act.
 *
 * What a controller believes is not asked. A violation ends the scenario at once.
 */
#include <stdio.h>
#include <string.h>

#include "tests/scenario/world.h"

static const char *node_of(const struct world *world, int db, int i)
{
    return world->def.nodes[world->def.databases[db].instances[i].node].name;
}

/* S1: never two that could both acknowledge. */
static void one_acking_primary(struct world *world, int db)
{
    int acking = -1;
    if (world->truth[db].split_by_hand) {
        return;
    }
    for (int i = 0; i < world->def.databases[db].instances_len; i++) {
        if (!postgres_can_ack(world, db, i)) {
            continue;
        }
        if (acking >= 0) {
            world_break(world, "S1: %s and %s can both acknowledge commits of %s",
                        node_of(world, db, acking), node_of(world, db, i),
                        world->def.databases[db].name);
        }
        acking = i;
    }
}

void check_every_event(struct world *world)
{
    for (int db = 0; db < world->def.databases_len; db++) {
        one_acking_primary(world, db);
    }
}

/* S11: whoever acts must be the one whom the store calls leader. */
static void acts_by_right(struct world *world, int c, const char *what)
{
    const struct store *store = &world->store;
    if (store->leader.create_revision == 0 || store->leader_id != c ||
        store->leader.create_revision != world->controllers[c].term) {
        world_break(world, "S11: %s begins to %s without being the leader",
                    world->controllers[c].id, what);
    }
}

/* A fence lasts (design §7): what takes writes again is named by a recorded alarm. */
static bool is_recorded_intruder(const struct world *world, int db, const char *node)
{
    const struct group_record *group = &world->store.groups[world->def.databases[db].group].value;
    char key[2 * NAME_SIZE];
    snprintf(key, sizeof key, "primaries_seen.%s", world->def.databases[db].name);
    for (int a = 0; a < group->alarms_len; a++) {
        if (strcmp(group->alarms[a].key, key) == 0 && strstr(group->alarms[a].text, node) != NULL) {
            return true;
        }
    }
    return false;
}

/* S2, S9: the recorded node only, after the recorded revocation of every permit that it takes. */
void check_fence(struct world *world, int c, const struct effect *effect)
{
    int node = effect->fence.node;
    const char *name = world->def.nodes[node].name;
    const struct move_record *move = store_move(world, effect->fence.database);
    acts_by_right(world, c, "fence");
    bool named = move != NULL && strcmp(move->fence_node, name) == 0;
    if (!named && !is_recorded_intruder(world, effect->fence.database, name)) {
        world_break(world, "S9: %s is fenced, and no record names it", name);
    }
    for (int db = 0; db < world->def.databases_len; db++) {
        const struct stored_permit *permit = &world->store.permits[db];
        if (permit->key.create_revision != 0 && strcmp(permit->value.node, name) == 0 &&
            permit->value.state != PERMIT_REVOKED) {
            world_break(world, "S2: %s is fenced while it holds the permit of %s", name,
                        world->def.databases[db].name);
        }
    }
}

static bool proven_off(const struct stored_permit *permit, const struct move_record *move,
                       const char *node, int i)
{
    for (int e = 0; e < move->evidence_len; e++) {
        if (strcmp(move->evidence[e].node, node) == 0 &&
            move->evidence[e].revocation_revision >= (uint64_t)permit->revoked_at[i]) {
            return true;
        }
    }
    return false;
}

/* S2, S6: whoever else has held the permit is proven off, by evidence later than its revocation. */
static void may_be_promoted(struct world *world, int db, int candidate)
{
    const char *name = world->def.databases[db].name;
    const char *node = node_of(world, db, candidate);
    struct stored_permit *permit = &world->store.permits[db];
    const struct move_record *move = store_move(world, db);
    if (permit->key.create_revision == 0 || permit->value.state != PERMIT_GRANTED ||
        strcmp(permit->value.node, node) != 0) {
        world_break(world, "S2: %s is promoted for %s without a recorded permit", node, name);
    }
    if (move == NULL || strcmp(move->candidate, node) != 0) {
        world_break(world, "S9: %s is promoted for %s, and no record names it", node, name);
        return;
    }
    for (int i = 0; i < world->def.databases[db].instances_len; i++) {
        if (i == candidate || !permit->held[i]) {
            continue;
        }
        if (!proven_off(permit, move, node_of(world, db, i), i)) {
            world_break(world,
                        "S2: %s is promoted for %s, and nothing later than the revocation proves "
                        "that %s cannot write",
                        node, name, node_of(world, db, i));
        }
        permit->held[i] = false;
    }
}

void check_promote(struct world *world, int c, const struct effect *effect)
{
    acts_by_right(world, c, "promote");
    may_be_promoted(world, effect->promote.database, effect->promote.instance);
}

/* A guard needs no leader for it: the permit is the order. */
void check_guard_promotes(struct world *world, int db, int i)
{
    may_be_promoted(world, db, i);
}

/* S3, S4, S7: right before a promotion takes effect. */
void check_promoted(struct world *world, int db, int i)
{
    const struct postgres *pg = &world->pg[db][i];
    const struct db_truth *truth = &world->truth[db];
    const struct move_record *move = store_move(world, db);
    if (pg->line != truth->recorded_line) {
        world_break(world, "S7: %s does not descend from the recorded history of %s",
                    node_of(world, db, i), world->def.databases[db].name);
    }
    uint64_t lost = truth->acked_lsn > pg->lsn ? truth->acked_lsn - pg->lsn : 0;
    bool sync = world->def.databases[db].durability != DURABILITY_ASYNC && !truth->loss_accepted &&
                !truth->unwaited;
    uint64_t limit = world->def.databases[db].max_lag_bytes;
    if (move != NULL && move->accept_loss_bytes > limit) {
        limit = move->accept_loss_bytes;
    }
    if (lost > 0 && (sync || lost > limit)) {
        world_break(world, "%s: the promotion of %s loses %llu acknowledged bytes",
                    sync ? "S3" : "S4", node_of(world, db, i), (unsigned long long)lost);
    }
}

/* S10: a database's traffic goes where the recorded permit says, or nowhere. */
void check_wishes(struct world *world, int c, const struct effect *effect)
{
    if (!controller_may_act(world, c)) {
        return; /* its driver will change nothing */
    }
    for (int w = 0; w < effect->routes.wishes_len; w++) {
        const struct route_wish *wish = &effect->routes.wishes[w];
        int db = world->def.routes[wish->route].database;
        if (db < 0 || wish->open < 0) {
            continue;
        }
        const struct stored_permit *permit = &world->store.permits[db];
        if (permit->key.create_revision == 0 || permit->value.state != PERMIT_GRANTED ||
            strcmp(permit->value.node, node_of(world, db, wish->open)) != 0) {
            world_break(world, "S10: %s is sent to %s, which has no permit",
                        world->def.routes[wish->route].name, node_of(world, db, wish->open));
        }
    }
}

void check_proxy(struct world *world, int proxy)
{
    for (int r = 0; r < world->def.routes_len; r++) {
        if (proxy_open(world, proxy, r) == -2) {
            world_break(world, "S10: two servers of %s are open on %s", world->def.routes[r].name,
                        world->def.proxies[proxy].name);
        }
    }
}

/* S5: epochs only grow, and a revoked one is never granted again. */
void check_permit_write(struct world *world, int db, const struct permit_record *value)
{
    struct stored_permit *permit = &world->store.permits[db];
    int order = epoch_compare(value->epoch, permit->highest);
    if (order < 0 || (order == 0 && permit->highest_revoked && value->state == PERMIT_GRANTED)) {
        world_break(world, "S5: epoch %llu of %s is granted again",
                    (unsigned long long)value->epoch.counter, value->database);
    }
    permit->highest = value->epoch;
    permit->highest_revoked = value->state == PERMIT_REVOKED;
    int i =
        definition_instance(&world->def.databases[db], definition_node(&world->def, value->node));
    if (i >= 0 && value->state == PERMIT_REVOKED) {
        permit->revoked_at[i] = world->store.revision;
    } else if (i >= 0) {
        permit->held[i] = true;
    }
}
