/*
 * rights.c - who may do what, and when, on the truth (design §10: S6, S7, S11, S12, S13).
 *
 * What a controller is told is not asked: the world knows how long each of them has had a primary
 * before its eyes that takes writes, when each stood still, when etcd last had its view, what a
 * person was told is done, which instance has been asked to begin a history of its own.
 *
 * Where the design gives a time by a process's own clock, the oracle leaves the slowest clock and
 * one interval of looking its due.
 */
#include <string.h>

#include "tests/sim/sim.h"

#define SEEN_WELL   (8 * SEC) /* a view may be two seconds old, and so may what it echoes */
#define SEES_NOBODY (5 * SEC)
#define STOOD_STILL (3500 * MS) /* noticed at the next tick, a second apart at the most */

static uint64_t nearly(uint64_t ms)
{
    return ms * MS - ms * MS / 50;
}

static int holder(void)
{
    int n = st.permit_kv.create != 0 ? st.permit.node[1] - '1' : NOBODY;
    return n >= 0 && n < NODES ? n : NOBODY;
}

/* It has a primary before its eyes that takes writes, and etcd hears of it. */
static bool sees_it_well(int c, int i)
{
    return w.procs[c].up && !is_paused(c) && ctls[c].booted && !st.down &&
           w.slow_until[c] <= w.now && w.slow_until[E_ETCD] <= w.now &&
           w.slow_until[E_NODE + i] <= w.now && linked_both(c, E_ETCD) &&
           linked_both(c, E_NODE + i) && pg_works(i) && w.pgs[i].primary &&
           st.permit.state == PERMIT_GRANTED && w.busy_until[i] <= w.now;
}

/* Its guard writes by itself, says so, and is heard; and its clients reach it. */
static bool hears_it_write(int c, int i)
{
    int guard = E_NODE + i;
    return w.procs[guard].up && !is_paused(guard) && !st.down && linked_both(guard, E_ETCD) &&
           w.slow_until[guard] <= w.now && w.slow_until[E_ETCD] <= w.now &&
           w.slow_until[c] <= w.now && linked_both(c, E_ETCD) && w.stall_until[c] <= w.now &&
           st.permit.state == PERMIT_GRANTED && pg_can_ack(i) && linked_both(E_PROXY, guard);
}

/* A standby that it reaches receives what its clients write. */
static bool sees_wal_move(int c, int i)
{
    bool moves = false;
    for (int s = 0; s < NODES; s++) {
        moves = moves || (w.pgs[s].from == i && pg_works(s) && linked_both(c, E_NODE + s) &&
                          linked_both(E_NODE + i, E_NODE + s) && w.busy_until[s] <= w.now &&
                          w.slow_until[E_NODE + s] <= w.now && w.now < w.pgs[s].wal_moved + SEC);
    }
    return moves && pg_works(i) && w.pgs[i].primary && st.permit.state == PERMIT_GRANTED &&
           w.slow_until[c] <= w.now && linked_both(E_PROXY, E_NODE + i);
}

static void look_at_controller(int c, int i)
{
    struct rights *r = &w.rights[c];
    if (i < 0 || !sees_it_well(c, i)) {
        r->well_since = w.now;
    }
    if (i < 0 || !hears_it_write(c, i)) {
        r->hears_since = w.now;
    }
    if (i < 0 || !sees_wal_move(c, i)) {
        r->moves_since = w.now;
    }
    for (int n = 0; n < NODES; n++) {
        if (w.nodes[n].on && linked_both(c, E_NODE + n)) {
            r->reached = w.now;
        }
    }
    if (is_paused(c) && w.procs[c].up) {
        r->stood_since = r->stood_since != 0 ? r->stood_since : w.now;
    } else if (r->stood_since != 0) {
        r->went_on = w.procs[c].up && w.now > r->stood_since + STOOD_STILL ? w.now : r->went_on;
        r->stood_since = 0;
    }
}

void rights_event(void)
{
    int i = holder();
    for (int c = 0; c < CTLS; c++) {
        look_at_controller(c, i);
    }
    for (int p = 0; p < PROXIES; p++) {
        bool slow =
            w.slow_until[0] > w.now || w.slow_until[1] > w.now || w.slow_until[E_PROXY + p] > w.now;
        bool reached = !w.proxies[p].silent && !slow && linked_both(0, E_PROXY + p) &&
                       linked_both(1, E_PROXY + p);
        w.proxy_away[p] = reached ? w.proxy_away[p] : w.now;
    }
}

/* S11: not on one viewpoint, not blind, not right after it stood still. */
static void check_viewpoints(int leader, int i)
{
    const struct profile *profile = definition_profile(&def);
    for (int c = 0; c < CTLS && !w.by_hand && !w.lease_early; c++) {
        const struct rights *r = &w.rights[c];
        if (w.now > r->well_since + SEEN_WELL) {
            broken("S11: a failover begins while c%d has seen the primary take writes for %.0f s",
                   c + 1, (double)(w.now - r->well_since) / 1e6);
        }
        if (c == leader && w.now > r->hears_since + SEEN_WELL) {
            broken("L7: a failover begins while the guard of %s has told its own writes for %.0f s",
                   node_name(i), (double)(w.now - r->hears_since) / 1e6);
        }
        if (c == leader && w.now > r->moves_since + SEEN_WELL) {
            broken("L7: a failover begins while a standby of %s has received for %.0f s",
                   node_name(i), (double)(w.now - r->moves_since) / 1e6);
        }
        if (c != leader && st.view_kv[c].create != 0 && w.now > r->reached + SEES_NOBODY &&
            w.procs[c].up && pg_works(i) && w.pgs[i].primary) {
            broken("S11: a failover begins on one viewpoint: c%d reaches nobody", c + 1);
        }
        if (c != leader && st.view_kv[c].create == 0 && pg_runs(i) &&
            w.now < w.rights[leader].started + nearly(profile->lease_ms)) {
            broken("S11: a failover begins %.1f s after c%d was started, alone",
                   (double)(w.now - w.rights[leader].started) / 1e6, leader + 1);
        }
        if (c != leader && st.view_kv[c].create == 0 && pg_runs(i) && r->told != 0 &&
            w.now < r->told + nearly(profile->lease_ms)) {
            broken("S11: a failover begins %.1f s after the last word of c%d",
                   (double)(w.now - r->told) / 1e6, c + 1);
        }
    }
    const struct rights *own = &w.rights[leader];
    if (w.now > own->reached + SEES_NOBODY && pg_runs(i) && !w.by_hand) {
        broken("S11: a failover begins, and c%d reaches nobody", leader + 1);
    }
    if (own->went_on != 0 && w.now < own->went_on + nearly(profile->probe_deadline_ms +
                                                           2u * profile->probe_interval_ms)) {
        broken("S11: a failover begins %.1f s after c%d stood still",
               (double)(w.now - own->went_on) / 1e6, leader + 1);
    }
}

/* S12: a person was told that it is paused; and each that is completed counts, whoever forgets it.
 * Nobody is replaced who answers that he has too many guests. */
static void check_bounds(int i)
{
    int lately = 0;
    for (int m = 0; m < w.moved_len; m++) {
        lately += w.moved_at[m] + nearly(def.policy.budget_per_ms) > w.now ? 1 : 0;
    }
    if (w.told_paused) {
        broken("S12: a failover begins, and a person was told that the group is paused");
    }
    if (!w.wall_jumped && lately >= (int)def.policy.budget_failovers) {
        broken("S12: a failover begins after %d completed ones", lately);
    }
    if (w.busy_until[i] > w.now && w.now > w.busy_since[i] + SEC && pg_works(i) &&
        w.now > w.pgs[i].started + SEEN_WELL && !w.by_hand) {
        bool reached = true; /* by both, all the while: each knows why it is refused */
        for (int c = 0; c < CTLS; c++) {
            reached = reached && w.procs[c].up && !is_paused(c) && linked_both(c, E_NODE + i);
        }
        if (reached && w.calm_since < w.now - SEC) {
            broken("S12: a failover begins from %s, which has too many connections", node_name(i));
        }
    }
}

static const struct move_record *move_of(const struct group_record *group)
{
    return group->workflow.moves_len > 0 ? &group->workflow.moves[0] : NULL;
}

static int node_named(const char *name)
{
    for (int n = 0; n < NODES; n++) {
        if (strcmp(node_name(n), name) == 0) {
            return n;
        }
    }
    return NOBODY;
}

/* S10: what is called switched is; S13: what is parked for another timeline has one. */
static void check_phase(const struct move_record *before, const struct move_record *now)
{
    int to = now != NULL ? node_named(now->candidate) : NOBODY;
    if (before == NULL || to < 0) {
        return;
    }
    bool switched = before->phase == PHASE_REDIRECT && now->phase == PHASE_VERIFY && !w.told_skip;
    for (int p = 0; p < PROXIES && switched; p++) {
        int open = w.proxies[p].open;
        if (open != to && !w.proxies_by_hand && w.now > w.proxy_away[p] + SEEN_WELL) {
            broken("S10: the switch to %s is recorded, and %s sends traffic to %s", node_name(to),
                   def.proxies[p].name, open >= 0 ? node_name(open) : "nobody");
        }
    }
    if (before->parked[0] == '\0' && strstr(now->parked, "another timeline") != NULL &&
        !w.own_history[to] && !w.pgs[to].primary && !w.by_hand) {
        broken("S13: parked since %s is on another timeline, and it never began one",
               node_name(to));
    }
}

void rights_group(const struct group_record *before, const struct group_record *after_)
{
    const struct move_record *begun = after_->moving && !before->moving ? move_of(after_) : NULL;
    const struct move_record *ended = !after_->moving && before->moving ? move_of(before) : NULL;
    int i = holder();
    if (begun != NULL && !begun->forced && i >= 0) {
        check_viewpoints(st.leader_of, i);
        check_bounds(i);
    }
    if (ended != NULL && !ended->forced && ended->candidate[0] != '\0' && w.moved_len < MOVED_MAX) {
        w.moved_at[w.moved_len++] = w.now;
    }
    check_phase(before->moving ? move_of(before) : NULL, after_->moving ? move_of(after_) : NULL);
    /* S6: one wish of a person is carried out once. */
    if (begun != NULL && begun->forced) {
        if (after_->workflow.request[0] != '\0' &&
            strcmp(after_->workflow.request, w.last_forced) == 0) {
            broken("S6: the request %s begins a second failover", w.last_forced);
        }
        memcpy(w.last_forced, after_->workflow.request, sizeof w.last_forced - 1);
    }
    for (int n = 0; n < NODES && after_->databases_len > 0; n++) {
        if (strcmp(after_->databases[0].primary, node_name(n)) == 0) {
            w.own_history[n] = false;
        }
    }
}

/* S13: what a person is told is done is done, in the same write. */
void rights_answer(const struct request_record *said)
{
    bool pauses = said->kind == REQUEST_PAUSE;
    const struct workflow_record *workflow = &st.group.workflow;
    bool runs = st.group.moving && said->kind == REQUEST_FAILOVER &&
                strcmp(workflow->request, said->id) == 0;
    if (runs && said->state != REQUEST_RUNNING) {
        broken("S13: a person is told that the failover is %s, and it is under way",
               request_state_names[said->state]);
    }
    w.told_skip = w.told_skip || said->kind == REQUEST_WORKFLOW_SKIP;
    if (said->state != REQUEST_DONE || (!pauses && said->kind != REQUEST_RESUME)) {
        return;
    }
    w.told_paused = pauses;
    if (st.group.paused != pauses) {
        broken("S13: a person is told that the group is %s, and it is not",
               pauses ? "paused" : "resumed");
    }
}

/* S7: whoever may bear a history of its own that nobody recorded is not chosen ... */
void rights_granted(int i)
{
    if (w.own_history[i]) {
        broken("S7: %s is chosen, whose promotion was begun and never recorded", node_name(i));
    }
}

/* ... and follows nobody; neither does a former primary whose WAL goes beyond the recorded one's.
 */
void rights_follows(int i, bool starts, const char *upstream)
{
    const struct pg *pg = &w.pgs[i];
    bool former =
        pg->control == GUARD_CONTROL_PRIMARY_CRASH || pg->control == GUARD_CONTROL_PRIMARY_CLEAN;
    if (w.own_history[i] && (starts || upstream[0] != '\0')) {
        broken("S7: %s is to follow, and its promotion was begun and never recorded", node_name(i));
    }
    if (starts && former && !line_has(w.recorded_line, pg->line, pg->lsn)) {
        broken("S7: %s is to follow, and was a primary beyond the recorded history", node_name(i));
    }
}

/* S7: what only received its history does not go on with it as if it were the primary. */
void rights_starts_primary(int i)
{
    if (w.pgs[i].control == GUARD_CONTROL_STANDBY && !w.by_hand) {
        broken("S7: %s is started as a primary, and was a standby", node_name(i));
    }
}

/* S9: a guard ends what the permit names, or what nobody permitted, or what it cannot trust. */
void rights_stops(int i)
{
    const struct pg *pg = &w.pgs[i];
    bool named = strcmp(st.permit.node, node_name(i)) == 0 ||
                 strcmp(guards[i].core.permit.node, node_name(i)) == 0;
    bool doubtful = w.own_history[i] || guards[i].disk.begun.counter != 0 ||
                    guards[i].core.durable.begun.counter != 0 || guards[i].core.durable.burnt;
    if (pg_works(i) && !pg->primary && !pg->promoting && !named && !doubtful && !w.by_hand &&
        !pg->stuck && pg->life == guards[i].pg_life) {
        broken("S9: the guard of %s stops it, and neither permit nor record names it",
               node_name(i));
    }
}

/* S6: an order that has not come to its end is not given once more. */
void rights_ordered(int i)
{
    if (w.promote_orders[i] == w.pgs[i].life) {
        broken("S6: %s is asked to promote itself while it does", node_name(i));
    }
    w.promote_orders[i] = w.pgs[i].life;
}

void rights_order_taken(int i)
{
    w.promote_orders[i] = 0;
}

/* S11: who knows that he does not lead orders nothing. */
void rights_effect(int c, const struct effect *effect)
{
    bool disrupts = effect->type == EFFECT_SAVE || effect->type == EFFECT_FENCE ||
                    effect->type == EFFECT_ROUTES || effect->type == EFFECT_PROMOTE;
    if (disrupts && w.rights[c].dismissed) {
        broken("S11: %s knows that it does not lead, and gives orders", ctls[c].core.id);
    }
}

/* S13: the guard's word is no better than what its next life would find stored, and the watchdog
 * stands armed when a renewal says so. */
void rights_report(int node, const struct guard_record *said)
{
    if (said->obeyed_revision > guards[node].disk.obeyed_revision) {
        broken("S13: the guard of %s reports roles as obeyed that are not stored", node_name(node));
    }
}

void rights_renewal(int node, const struct renewal_record *said)
{
    /* One that is repeated after nothing counts any more is late, and gives time to nobody. */
    if (said->armed && !w.nodes[node].armed && guards[node].core.counts) {
        broken("S13: the guard of %s renews with an armed watchdog, and there is none",
               node_name(node));
    }
}
