/*
 * witness.c - who sees what of a primary (design §6).
 *
 * A primary is down when this controller says so, and every other controller says so or has itself
 * been gone for longer than its lease, and no standby testifies for it. A standby testifies when
 * the WAL that it has received moved after the first evidence of failure; an open replication link
 * alone is none. One that answers convicts by its silence only once it could have spoken: when two
 * findings, half an interval apart, were asked for since; one that does not answer has no voice.
 * Each vote has an age: an old one convicts nobody. A controller that holds its lease but whose
 * view is old, that sees nothing at all, or that looks at the targets of another definition does
 * not protect the primary either, but it forbids acting on one viewpoint (S11), so it holds the
 * failover back until its lease ends.
 *
 * The age of another controller's view is bounded by our own clock: it echoes the latest view of
 * ours that had arrived there, so it was made after that one (records.h, view_echo).
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

/*
 * One that has no view now: it counts until its lease has certainly ended. etcd may end a lease
 * early, so the time is counted by us, from the last sign of life.
 */
static void absent_vote(const struct core *core, const struct peer_state *peer,
                        struct core_check *check)
{
    uint32_t limit = definition_profile(&core->def)->lease_ms;
    uint64_t silent_for = core->now_ms - peer->heard_ms;
    if (silent_for >= limit) {
        check_set(check, peer->view.id, true, (int64_t)silent_for,
                  "controller %s is gone, last heard %llu ms ago; it has no vote", peer->view.id,
                  (unsigned long long)silent_for);
    } else {
        check_set(check, peer->view.id, false, (int64_t)silent_for,
                  "controller %s is gone, last heard %llu ms ago; its view counts until %u ms",
                  peer->view.id, (unsigned long long)silent_for, limit);
    }
    check_value(check, "gone, silent for %llu ms", (unsigned long long)silent_for);
    check_limit(check, "agrees, or gone and silent for %u ms", limit);
}

/* How old a finding of another controller may be by now, at the most; UINT64_MAX: unknown. */
static uint64_t view_age_ms(const struct core *core, const struct peer_state *peer,
                            const struct target_view *target)
{
    return peer->after_ms == 0 ? UINT64_MAX : core->now_ms - peer->after_ms + target->age_ms;
}

/*
 * Views travel through etcd, and each side repeats its own each second: the view that is echoed may
 * be a second old, and so may be the one that echoes it.
 */
static uint64_t view_limit_ms(const struct core *core)
{
    return fresh_limit_ms(core) + 2000;
}

static void peer_vote(const struct core *core, const struct peer_state *peer, int db,
                      const char *node, bool if_it_failed, struct core_check *check)
{
    const struct target_view *target = peer_target(peer, core->def.databases[db].name, node);
    const char *id = peer->view.id;
    uint64_t limit = view_limit_ms(core);
    if (!peer->present) {
        absent_vote(core, peer, check);
        return;
    }
    uint64_t age = target == NULL ? UINT64_MAX : view_age_ms(core, peer, target);
    if (peer->view.config_revision != core->definition_revision) {
        check_set(check, id, false, -1,
                  "controller %s runs revision %lld of the definition, this one %lld: it may look "
                  "elsewhere, and nothing is done on one viewpoint",
                  id, (long long)peer->view.config_revision, (long long)core->definition_revision);
        check_value(check, "revision %lld", (long long)peer->view.config_revision);
    } else if (target == NULL) {
        check_set(check, id, false, -1, "controller %s has no view of %s", id, node);
        check_value(check, "no view");
    } else if (age == UINT64_MAX) {
        check_set(check, id, false, -1,
                  "controller %s holds its lease, but how old its view of %s is, is not known: it "
                  "answers no view of this controller's",
                  id, node);
        check_value(check, "of unknown age");
    } else if (age > limit) {
        check_set(check, id, false, (int64_t)age,
                  "controller %s holds its lease, but its view of %s may be %llu ms old (limit "
                  "%llu)",
                  id, node, (unsigned long long)age, (unsigned long long)limit);
        check_value(check, "%llu ms old", (unsigned long long)age);
    } else if (peer->view.blind) {
        check_set(check, id, false, (int64_t)age,
                  "controller %s sees nothing at all: its word counts neither way, and nothing is "
                  "done on one viewpoint",
                  id);
        check_value(check, "sees nothing");
    } else {
        check_set(check, id, if_it_failed || target->opinion == OPINION_DOWN, (int64_t)age,
                  "controller %s sees %s %s (%s)", id, node, opinion_names[target->opinion],
                  cause_names[target->cause]);
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

/* By now it would have shown WAL that moved: a first finding since the failure, and a later one. */
static bool could_have_spoken(const struct core *core, int db, int i)
{
    const struct database_state *d = &core->databases[db];
    uint32_t apart = definition_profile(&core->def)->probe_interval_ms / 2;
    return d->suspect_asked_ms[i] != 0 &&
           d->instances[i].fact.asked_ms >= d->suspect_asked_ms[i] + apart;
}

static void standby_vote(const struct core *core, int db, int i, bool if_it_failed,
                         struct core_check *check)
{
    const struct database_state *d = &core->databases[db];
    const struct instance_state *standby = &d->instances[i];
    const char *node = instance_node(core, db, i);
    uint64_t limit = fresh_limit_ms(core);
    uint64_t age = core->now_ms - standby->receive_moved_ms;
    bool answers = standby->fact.answered && core->now_ms - standby->fact.answered_ms <= limit;
    int64_t moved_age = standby->receive_moved_ms == 0 ? -1 : (int64_t)age;
    if (d->suspect_lsn[i] != 0 && standby->fact.receive_lsn > d->suspect_lsn[i] && age <= limit) {
        check_set(check, node, false, moved_age, "standby %s received WAL from it %llu ms ago",
                  node, (unsigned long long)age);
        check_value(check, "received WAL");
    } else if (answers && !if_it_failed && !could_have_spoken(core, db, i)) {
        check_set(check, node, false, moved_age,
                  "standby %s has not been heard twice since the first sign of a failure", node);
        check_value(check, "not heard twice");
    } else {
        check_set(check, node, true, moved_age,
                  "standby %s has received no WAL since the first sign of a failure", node);
        check_value(check, "no testimony");
    }
    check_limit(check, "no WAL since the failure");
}

static int standby_votes(const struct core *core, int db, int primary, bool if_it_failed,
                         struct core_check *checks)
{
    int len = 0;
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        if (i != primary && core->databases[db].instances[i].fact.role == ROLE_STANDBY) {
            standby_vote(core, db, i, if_it_failed, &checks[len++]);
        }
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
    if (is_guarded(core, db)) {
        guard_vote(core, db, primary, if_it_failed, &checks[len++]);
    }
    len += peer_votes(core, db, node, if_it_failed, &checks[len]);
    len += standby_votes(core, db, primary, if_it_failed, &checks[len]);
    return len;
}

void witness_ask(const struct core *core, int db, struct witness_verdict *ret)
{
    if (guard_says_down(core, db)) {
        *ret = (struct witness_verdict){.agree = true};
        text_format(ret->text, sizeof ret->text,
                    "the guard of %s says that PostgreSQL is gone and held down: that needs no "
                    "second witness",
                    instance_node(core, db, core_primary(core, db)));
        return;
    }
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

const char *witness_of_life(const struct core *core, int db, const char *node, int64_t revision)
{
    for (int p = 0; p < PEERS_MAX && revision > 0; p++) {
        const struct peer_state *peer = &core->peers[p];
        const struct target_view *target =
            peer->used ? peer_target(peer, core->def.databases[db].name, node) : NULL;
        if (target != NULL && target->lives_after >= revision) {
            return peer->view.id;
        }
    }
    return NULL;
}

/* Asked for after since_ms by our own clock: a probe ends by its deadline, and the view is younger
 * than the one of ours that it echoes. */
static bool saw_it_write(const struct core *core, const struct peer_state *peer, int db, int i,
                         uint64_t since_ms)
{
    if (!peer->used || !peer->present || peer->view.config_revision != core->definition_revision) {
        return false;
    }
    const struct target_view *target =
        peer_target(peer, core->def.databases[db].name, instance_node(core, db, i));
    if (target == NULL || !target->writable) {
        return false;
    }
    uint64_t age = view_age_ms(core, peer, target);
    return age <= view_limit_ms(core) &&
           core->now_ms >= since_ms + definition_profile(&core->def)->probe_deadline_ms + age;
}

/* Anything but silence comes from its host, also a refusal. */
static bool comes_from_its_host(enum cause cause)
{
    return cause != CAUSE_TIMED_OUT && cause != CAUSE_NEVER_PROBED && cause != CAUSE_PROBER;
}

bool witness_reaches(const struct core *core, int db, int instance)
{
    const struct health *own = &core->databases[db].instances[instance].health;
    if (comes_from_its_host(own->cause)) {
        return true;
    }
    for (int p = 0; p < PEERS_MAX; p++) {
        const struct peer_state *peer = &core->peers[p];
        const struct target_view *target = !peer->used || !peer->present
                                               ? NULL
                                               : peer_target(peer, core->def.databases[db].name,
                                                             instance_node(core, db, instance));
        if (target != NULL && peer->view.config_revision == core->definition_revision &&
            comes_from_its_host(target->cause) &&
            view_age_ms(core, peer, target) <= view_limit_ms(core)) {
            return true;
        }
    }
    return false;
}

const char *witness_of_writes(const struct core *core, int db, int instance, uint64_t since_ms)
{
    for (int p = 0; p < PEERS_MAX; p++) {
        if (saw_it_write(core, &core->peers[p], db, instance, since_ms)) {
            return core->peers[p].view.id;
        }
    }
    return NULL;
}

uint64_t witness_settles_ms(const struct core *core)
{
    return view_limit_ms(core) + definition_profile(&core->def)->probe_deadline_ms;
}

bool witness_peers_agree(const struct core *core, int db, int instance, char *text, size_t size)
{
    struct core_check checks[PEERS_MAX];
    int len = peer_votes(core, db, instance_node(core, db, instance), false, checks);
    for (int i = 0; i < len; i++) {
        if (!checks[i].passes) {
            text_copy(text, size, checks[i].text);
            return false;
        }
    }
    return true;
}
