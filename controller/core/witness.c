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

/* One that has no view now: it counts until its lease has ended. */
static void absent_vote(const struct core *core, const struct peer_state *peer,
                        struct core_check *check)
{
    uint32_t limit = definition_profile(&core->def)->lease_ms;
    uint64_t gone_for = core->now_ms - peer->gone_ms;
    if (gone_for >= limit) {
        check_set(check, peer->view.id, true, (int64_t)gone_for,
                  "controller %s left %llu ms ago; it has no vote", peer->view.id,
                  (unsigned long long)gone_for);
    } else {
        check_set(check, peer->view.id, false, (int64_t)gone_for,
                  "controller %s left %llu ms ago; its view counts until %u ms", peer->view.id,
                  (unsigned long long)gone_for, limit);
    }
    check_value(check, "absent for %llu ms", (unsigned long long)gone_for);
    check_limit(check, "agrees, or absent for %u ms", limit);
}

static void peer_vote(const struct core *core, const struct peer_state *peer, int db,
                      const char *node, bool if_it_failed, struct core_check *check)
{
    const struct target_view *target = peer_target(peer, core->def.databases[db].name, node);
    /* A view travels through etcd, and is repeated each second. */
    uint64_t limit = fresh_limit_ms(core) + 1000;
    uint64_t age = core->now_ms - peer->heard_ms + (target == NULL ? 0 : target->age_ms);
    if (!peer->present) {
        absent_vote(core, peer, check);
        return;
    }
    if (target == NULL) {
        check_set(check, peer->view.id, false, -1, "controller %s has no view of %s", peer->view.id,
                  node);
        check_value(check, "no view");
    } else if (age > limit) {
        check_set(check, peer->view.id, false, (int64_t)age,
                  "controller %s holds its lease, but its view of %s is %llu ms old (limit %llu)",
                  peer->view.id, node, (unsigned long long)age, (unsigned long long)limit);
        check_value(check, "%llu ms old", (unsigned long long)age);
    } else {
        check_set(check, peer->view.id, if_it_failed || target->opinion == OPINION_DOWN,
                  (int64_t)age, "controller %s sees %s %s (%s)", peer->view.id, node,
                  opinion_names[target->opinion], cause_names[target->cause]);
        check_value(check, "sees it %s", opinion_names[target->opinion]);
    }
    check_limit(check, if_it_failed ? "a view of at most %llu ms" : "down, at most %llu ms old",
                (unsigned long long)limit);
}

static int peer_votes(const struct core *core, int db, const char *node, bool if_it_failed,
                      struct core_check *checks)
{
    int len = 0;
    for (int p = 0; p < PEERS_MAX; p++) {
        if (core->peers[p].used) {
            peer_vote(core, &core->peers[p], db, node, if_it_failed, &checks[len++]);
        }
    }
    if (len > 0) {
        return len;
    }
    uint64_t age = core->now_ms - core->started_ms;
    uint32_t limit = definition_profile(&core->def)->lease_ms;
    check_set(&checks[0], "other controller", age >= limit, (int64_t)age,
              age >= limit
                  ? "no other controller has been heard of: there is nobody else to ask"
                  : "no other controller has been heard of, and this one has just started");
    check_value(&checks[0], "none for %llu ms", (unsigned long long)age);
    check_limit(&checks[0], "agrees, or none for %u ms", limit);
    return 1;
}

static int standby_votes(const struct core *core, int db, int primary, struct core_check *checks)
{
    const struct database_state *d = &core->databases[db];
    uint64_t limit = fresh_limit_ms(core);
    int len = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct instance_state *standby = &d->instances[i];
        if (i == primary || standby->fact.role != ROLE_STANDBY) {
            continue;
        }
        struct core_check *check = &checks[len++];
        const char *node = instance_node(core, db, i);
        uint64_t age = core->now_ms - standby->receive_moved_ms;
        bool testifies =
            d->suspect_lsn[i] != 0 && standby->fact.receive_lsn > d->suspect_lsn[i] && age <= limit;
        if (testifies) {
            check_set(check, node, false, (int64_t)age,
                      "standby %s received WAL from it %llu ms ago", node, (unsigned long long)age);
        } else {
            check_set(check, node, true, standby->receive_moved_ms == 0 ? -1 : (int64_t)age,
                      "standby %s has received no WAL since the first sign of a failure", node);
        }
        check_value(check, testifies ? "received WAL" : "no testimony");
        check_limit(check, "no WAL since the failure");
    }
    return len;
}

static void own_vote(const struct core *core, int db, int primary, bool if_it_failed,
                     struct core_check *check)
{
    const struct health *own = &core->databases[db].instances[primary].health;
    const char *node = instance_node(core, db, primary);
    uint64_t limit = fresh_limit_ms(core);
    uint64_t age = core->now_ms - own->latest_ms;
    bool looks = own->latest_ms != 0 && age <= limit;
    check_set(check, core->id, if_it_failed ? looks : own->is == OPINION_DOWN,
              own->latest_ms == 0 ? -1 : (int64_t)age, "this controller sees %s %s (%s)", node,
              opinion_names[own->is], cause_names[own->cause]);
    check_value(check, "sees it %s", opinion_names[own->is]);
    check_limit(check, if_it_failed ? "looks every %llu ms" : "down", (unsigned long long)limit);
}

int witness_votes(const struct core *core, int db, bool if_it_failed,
                  struct core_check checks[WITNESSES_MAX])
{
    int primary = core_primary(core, db);
    if (primary < 0) {
        check_set(&checks[0], core->id, false, -1, "no primary is recorded");
        check_value(&checks[0], "no primary");
        check_limit(&checks[0], "one");
        return 1;
    }
    const char *node = instance_node(core, db, primary);
    int len = 1;
    own_vote(core, db, primary, if_it_failed, &checks[0]);
    len += peer_votes(core, db, node, if_it_failed, &checks[len]);
    len += standby_votes(core, db, primary, &checks[len]);
    return len;
}

void witness_ask(const struct core *core, int db, struct witness_verdict *ret)
{
    struct core_check checks[WITNESSES_MAX];
    int len = witness_votes(core, db, false, checks);
    memset(ret, 0, sizeof *ret);
    for (int i = 0; i < len; i++) {
        if (!checks[i].passes) {
            text_copy(ret->text, sizeof ret->text, checks[i].text);
            return;
        }
    }
    int primary = core_primary(core, db);
    ret->agree = true;
    text_format(ret->text, sizeof ret->text, "%s is down (%s) for every witness",
                instance_node(core, db, primary),
                cause_names[core->databases[db].instances[primary].health.cause]);
}
