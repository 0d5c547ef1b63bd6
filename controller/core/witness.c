/*
 * witness.c - who sees what of a primary (design §6).
 *
 * A primary is down when this controller says so, and every other controller says so or has itself
 * been gone for longer than its lease, and no standby testifies for it. A standby testifies when
 * the WAL that it has received moved after the first evidence of failure; an open replication link
 * alone is none. Each vote has an age: an old one convicts nobody. A controller that holds its
 * lease but whose view is old does not protect the primary either, but it forbids acting on one
 * viewpoint (S11), so it holds the failover back until its lease ends.
 */
#include "controller/core/private.h"

#include <string.h>

static const struct target_view *peer_target(const struct peer_state *peer, const char *database,
                                             const char *node)
{
    for (int i = 0; i < peer->view.targets_len; i++) {
        const struct target_view *target = &peer->view.targets[i];
        if (strcmp(target->database, database) == 0 && strcmp(target->node, node) == 0) {
            return target;
        }
    }
    return NULL;
}

/* False when this peer holds the verdict back; `text` says why. */
static bool peer_lets(const struct core *core, const struct peer_state *peer, int db,
                      const char *node, char *text, size_t size)
{
    const struct profile *profile = definition_profile(&core->def);
    if (!peer->present) {
        uint64_t gone_for = core->now_ms - peer->gone_ms;
        if (gone_for >= profile->lease_ms) {
            return true;
        }
        text_format(text, size, "controller %s left %llu ms ago; its view counts until %u ms",
                    peer->view.id, (unsigned long long)gone_for, profile->lease_ms);
        return false;
    }
    const struct target_view *target = peer_target(peer, core->def.databases[db].name, node);
    if (target == NULL) {
        text_format(text, size, "controller %s has no view of %s", peer->view.id, node);
        return false;
    }
    uint64_t age = target->age_ms + (core->now_ms - peer->heard_ms);
    uint64_t limit =
        fresh_limit_ms(core) + 1000; /* a view travels through etcd, and is repeated each second */
    if (age > limit) {
        text_format(text, size,
                    "controller %s holds its lease, but its view of %s is %llu ms old (limit %llu)",
                    peer->view.id, node, (unsigned long long)age, (unsigned long long)limit);
        return false;
    }
    if (target->opinion != OPINION_DOWN) {
        text_format(text, size, "controller %s sees %s %s (%s)", peer->view.id, node,
                    opinion_names[target->opinion], cause_names[target->cause]);
        return false;
    }
    return true;
}

static bool peers_let(const struct core *core, int db, const char *node, char *text, size_t size)
{
    bool heard_any = false;
    for (int p = 0; p < PEERS_MAX; p++) {
        if (!core->peers[p].used) {
            continue;
        }
        heard_any = true;
        if (!peer_lets(core, &core->peers[p], db, node, text, size)) {
            return false;
        }
    }
    if (!heard_any && core->now_ms - core->started_ms < definition_profile(&core->def)->lease_ms) {
        text_copy(text, size,
                  "no other controller has been heard of, and this one has just started");
        return false;
    }
    return true;
}

static bool standby_testifies(const struct core *core, int db, int primary, char *text, size_t size)
{
    const struct database_state *d = &core->databases[db];
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct instance_state *standby = &d->instances[i];
        if (i == primary || standby->fact.role != ROLE_STANDBY || d->suspect_lsn[i] == 0) {
            continue;
        }
        uint64_t age = core->now_ms - standby->receive_moved_ms;
        if (standby->fact.receive_lsn > d->suspect_lsn[i] && age <= fresh_limit_ms(core)) {
            text_format(text, size, "standby %s received WAL from it %llu ms ago",
                        instance_node(core, db, i), (unsigned long long)age);
            return true;
        }
    }
    return false;
}

void witness_ask(const struct core *core, int db, struct witness_verdict *ret)
{
    memset(ret, 0, sizeof *ret);
    int primary = core_primary(core, db);
    if (primary < 0) {
        text_copy(ret->text, sizeof ret->text, "no primary is recorded");
        return;
    }
    const struct health *own = &core->databases[db].instances[primary].health;
    const char *node = instance_node(core, db, primary);
    if (own->is != OPINION_DOWN) {
        text_format(ret->text, sizeof ret->text, "this controller sees %s %s (%s)", node,
                    opinion_names[own->is], cause_names[own->cause]);
        return;
    }
    if (!peers_let(core, db, node, ret->text, sizeof ret->text) ||
        standby_testifies(core, db, primary, ret->text, sizeof ret->text)) {
        return;
    }
    ret->agree = true;
    text_format(ret->text, sizeof ret->text, "%s is down (%s) for every witness", node,
                cause_names[own->cause]);
}
