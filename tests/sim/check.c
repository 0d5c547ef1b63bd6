/*
 * check.c - safety on the truth (design §10), after every event and at every act.
 *
 * What a controller or a guard believes is not asked. A violation ends the schedule at once.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

static int node_of(const char *name)
{
    for (int n = 0; n < NODES; n++) {
        if (strcmp(node_name(n), name) == 0) {
            return n;
        }
    }
    return NOBODY;
}

static bool split_by_hand(void)
{
    return w.async && w.by_hand; /* nothing keeps one that a person promotes from acknowledging */
}

/* Its guard lives, is told, and can act. */
static bool guard_is_well(int n)
{
    int proc = E_NODE + n;
    return w.nodes[n].on && w.procs[proc].up && !is_paused(proc) && guards[n].watching &&
           !st.down && linked_both(proc, E_ETCD) && w.slow_until[proc] <= w.now &&
           w.slow_until[E_ETCD] <= w.now && w.nodes[n].slow_disk_until <= w.now &&
           w.pgs[n].hung_until <= w.now && !w.pgs[n].stuck && !w.pgs[n].left &&
           st.lose_answer[proc] == 0;
}

#define PROMPTLY (4 * SEC)

/* What a guard that is well has done by now: a revoked primary is stopped, and one that nobody
 * permitted (design §7). */
static void guards_are_prompt(void)
{
    uint64_t since = w.calm_since > w.revoked_since ? w.calm_since : w.revoked_since;
    if (w.now < since + PROMPTLY || st.permit_kv.create == 0 || w.now < w.look_again) {
        return;
    }
    w.look_again = w.now + 100 * MS;
    for (int n = 0; n < NODES; n++) {
        bool holds = strcmp(st.permit.node, node_name(n)) == 0;
        bool permitted = holds && st.permit.state == PERMIT_GRANTED;
        if (!pg_works(n) || !w.pgs[n].primary || permitted || !guard_is_well(n) ||
            w.now < w.pgs[n].started + PROMPTLY) {
            continue;
        }
        broken("L1: %s runs on as a primary %s, and its guard is well", node_name(n),
               holds ? "whose permit is revoked" : "that nobody permitted");
    }
}

/* Its guard runs, and can end its instance, whomever else it reaches. */
static bool guard_can_stop_it(int n)
{
    int proc = E_NODE + n;
    return w.nodes[n].on && w.procs[proc].up && !is_paused(proc) && !w.pgs[n].stuck &&
           !w.pgs[n].left && w.nodes[n].slow_disk_until <= w.now;
}

/* A watchdog is for a guard that does not run, or that cannot end a process: what ends for its time
 * has ended before. */
void check_watchdog(int n)
{
    if (guard_can_stop_it(n) && w.now > w.calm_since + PROMPTLY) {
        broken("L8: the watchdog resets %s, whose guard runs and can end its instance",
               node_name(n));
    }
}

/* L5, as far as it goes without rejoining: standbys follow, proxies agree. */
void check_converged(void)
{
    int holder = node_of(st.permit.node);
    for (int n = 0; n < NODES && holder >= 0 && !w.by_hand; n++) {
        bool follows = guards[n].core.state == DUTY_STANDBY && pg_works(n) &&
                       strcmp(guards[n].core.durable.upstream, node_name(holder)) == 0;
        bool could = pg_has(holder, w.pgs[n].line, w.pgs[n].lsn);
        if (n != holder && follows && could && w.pgs[n].from != holder &&
            w.now > w.pgs[n].started + PROMPTLY) {
            broken("L5: %s is well, and does not follow %s", node_name(n), node_name(holder));
        }
    }
    for (int p = 0; p < PROXIES && st.permit.state == PERMIT_GRANTED; p++) {
        if (w.proxies[p].open != holder) {
            broken("L5: %s sends traffic to another than the permit's holder", def.proxies[p].name);
        }
    }
}

/* S1: never two that could both acknowledge. */
void check_event(void)
{
    int first = NOBODY;
    truth_event();
    live_event();
    guards_are_prompt();
    rights_event();
    for (int i = 0; i < NODES; i++) {
        if (!w.pgs[i].primary || w.pgs[i].state != PG_UP) {
            continue;
        }
        if (first >= 0 && !split_by_hand() && pg_can_ack(i) && pg_can_ack(first)) {
            broken("S1: %s and %s can both acknowledge commits", node_name(first), node_name(i));
        }
        first = i;
    }
}

/* The line that has left this one before that place; one that a person has begun counts once
 * something was acknowledged on it. */
static uint32_t left_by(uint32_t line, uint64_t lsn)
{
    for (uint32_t l = 1; l < (uint32_t)w.lines_len; l++) {
        bool counts = !w.lines[l].by_hand || w.lines[l].released > 0;
        if (w.lines[l].parent == line && l != line && w.lines[l].fork < lsn && counts) {
            return l;
        }
    }
    return 0;
}

/* S1: a commit is acknowledged on a line, beyond the place where another has left it. */
void check_release(int i, uint64_t lsn)
{
    struct line *line = &w.lines[w.pgs[i].line];
    line->released = lsn > line->released ? lsn : line->released;
    if (!split_by_hand() && left_by(w.pgs[i].line, lsn) != 0) {
        broken("S1: %s acknowledges %llu on a line that another has left", node_name(i),
               (unsigned long long)lsn);
    }
}

void check_ack(uint32_t line, uint64_t lsn, bool waited)
{
    struct line *at = &w.lines[line];
    at->acked = lsn > at->acked ? lsn : at->acked;
    if (waited) {
        at->waited = lsn > at->waited ? lsn : at->waited;
    }
    uint32_t by = waited ? left_by(line, lsn) : 0;
    if (by != 0 && !w.loss_accepted && !split_by_hand()) {
        broken("S3: what a client is told is committed is not on the line of the new primary");
    }
}

/* S6, S7, S3 and S2 on the truth, when an instance has become a primary. */
void check_promoted(int i, uint32_t old_line, bool by_hand)
{
    if (by_hand) {
        return;
    }
    uint64_t epoch = guards[i].core.permit.epoch.counter;
    if (epoch <= w.promoted_epoch) {
        broken("S6: a second promotion under epoch %llu", (unsigned long long)epoch);
    }
    w.promoted_epoch = epoch;
    if (old_line != w.recorded_line) {
        broken("S7: %s does not continue the recorded history", node_name(i));
    }
    for (uint32_t l = 1; l < (uint32_t)w.lines_len && !w.loss_accepted; l++) {
        if (w.lines[l].waited > 0 && !pg_has(i, l, w.lines[l].waited)) {
            broken("S3: the promotion of %s loses what was acknowledged, up to %llu", node_name(i),
                   (unsigned long long)w.lines[l].waited);
        }
    }
    for (int j = 0; j < NODES; j++) {
        if (j != i && w.pgs[j].primary && pg_can_ack(j) && !split_by_hand()) {
            broken("S2: %s is promoted while %s can acknowledge", node_name(i), node_name(j));
        }
    }
}

/* S9: it acts on what the permit names. */
void check_grant(int i)
{
    const struct guard_permit *permit = &guards[i].core.permit;
    if (strcmp(permit->node, node_name(i)) != 0 || !permit->granted) {
        broken("S9: %s promotes itself, and the permit does not name it", node_name(i));
    }
}

/* S5, S1, S9: the epoch is on its disk and was never dropped, and a renewal under the very document
 * was accepted, of this boot. S7: that it may promote is on its disk. */
void check_begins(int n, bool promotes)
{
    const struct sguard *g = &guards[n];
    const struct guard_permit *permit = &g->core.permit;
    const struct accepted *accepted = &st.accepted[n];
    const char *what = promotes ? "promotes itself" : "is started as a primary";
    if (epoch_compare(g->disk.epoch, permit->epoch) != 0) {
        broken("S5: %s %s under an epoch that it has not stored", node_name(n), what);
    }
    if (epoch_compare(g->disk.spent, permit->epoch) >= 0) {
        broken("S5: %s %s under an epoch that it has dropped", node_name(n), what);
    }
    if (strcmp(permit->boot, g->boot) != 0) {
        broken("S9: %s %s under the permit of another boot", node_name(n), what);
    }
    if (accepted->permit_revision != permit->revision || strcmp(accepted->boot, g->boot) != 0) {
        broken("S1: %s %s under a permit that it has not renewed", node_name(n), what);
    }
    if (accepted->armed && !w.nodes[n].armed && !g->told_armed) {
        broken("S1: %s %s on its word that its watchdog is armed", node_name(n), what);
    }
    if (promotes && epoch_compare(g->disk.begun, permit->epoch) != 0) {
        broken("S7: %s promotes itself, and its disk does not say so", node_name(n));
    }
}

/* S5: it goes by an epoch that it has stored, and has not let end. S13: what it says of its
 * watchdog. */
void check_renewal(int n, bool armed)
{
    const struct sguard *g = &guards[n];
    const struct guard_permit *permit = &g->core.renewal_out_permit;
    if (epoch_compare(g->disk.epoch, permit->epoch) > 0) {
        broken("S5: %s renews under an epoch that it is past", node_name(n));
    }
    if (epoch_compare(g->disk.spent, permit->epoch) >= 0 ||
        epoch_compare(g->lapsed, permit->epoch) == 0) {
        broken("S5: %s renews under an epoch that it has let end", node_name(n));
    }
    if (armed && !w.nodes[n].armed && !g->told_armed) {
        broken("S13: %s renews with a watchdog that is not armed", node_name(n));
    }
}

/* S5: a life of a guard knows what the one before it was renewed under. */
void check_next_life(int n)
{
    if (epoch_compare(st.accepted[n].epoch, guards[n].disk.epoch) > 0) {
        broken("S5: %s has forgotten the epoch %llu, which it renewed", node_name(n),
               (unsigned long long)st.accepted[n].epoch.counter);
    }
}

/* S5: what an actuator goes by only grows: no lower epoch, no revocation taken back, no older
 * roles. */
void check_tokens(int n)
{
    struct sguard *g = &guards[n];
    const struct guard_permit *permit = &g->core.permit;
    int order = permit->known ? epoch_compare(permit->epoch, g->told_epoch) : 0;
    bool back = order == 0 && permit->known && permit->revision < g->told_revision &&
                permit->granted && !g->told_granted;
    if (order < 0 || back) {
        broken("S5: %s goes back to an earlier permit, of epoch %llu", node_name(n),
               (unsigned long long)permit->epoch.counter);
    }
    if (g->core.durable.obeyed_revision < g->obeyed) {
        broken("S5: %s goes back to earlier roles", node_name(n));
    }
    if (permit->known) {
        g->told_epoch = permit->epoch;
        g->told_revision = permit->revision;
        g->told_granted = permit->granted;
    }
    g->obeyed = g->core.durable.obeyed_revision;
}

/* S11: whoever acts must be the one whom the store calls leader; if no lease ended early. */
static void acts_by_right(int c, const char *what)
{
    if (!store_has_leader(c) && !w.lease_early) {
        broken("S11: %s begins to %s without being the leader", ctls[c].core.id, what);
    }
}

/* A fence lasts (design §7): what takes writes again is named by a recorded alarm. */
static bool is_recorded_intruder(const char *node)
{
    for (int a = 0; a < st.group.alarms_len; a++) {
        const struct alarm_record *alarm = &st.group.alarms[a];
        if (strncmp(alarm->key, "primaries_seen.", 15) == 0 && strstr(alarm->text, node) != NULL) {
            return true;
        }
    }
    return false;
}

/* S2, S9: the recorded node only, after the recorded revocation. */
void check_fence(int c, const struct effect *effect)
{
    const char *name = node_name(effect->fence.node);
    const struct move_record *move = store_move();
    acts_by_right(c, "fence");
    if (!(move != NULL && strcmp(move->fence_node, name) == 0) && !is_recorded_intruder(name)) {
        broken("S9: %s is fenced, and no record names it", name);
    }
    if (st.permit_kv.create != 0 && strcmp(st.permit.node, name) == 0 &&
        st.permit.state != PERMIT_REVOKED) {
        broken("S2: %s is fenced while it holds the permit", name);
    }
}

/* S10: traffic goes where the recorded permit says, or nowhere. */
void check_wishes(int c, const struct effect *effect)
{
    for (int i = 0; i < effect->routes.wishes_len && ctl_may_act(c); i++) {
        int open = effect->routes.wishes[i].open;
        bool right = open < 0 || (st.permit_kv.create != 0 && st.permit.state == PERMIT_GRANTED &&
                                  strcmp(st.permit.node, node_name(open)) == 0);
        bool recorded = open < 0 || (st.group.databases_len > 0 &&
                                     strcmp(st.group.databases[0].primary, node_name(open)) == 0);
        if (!recorded && store_has_leader(c)) {
            broken("S10: traffic is sent to %s, which no record names", node_name(open));
        }
        if (!right && store_has_leader(c)) {
            broken("S10: traffic is sent to %s, which has no permit", node_name(open));
        }
    }
}

void check_proxy(int proxy, int before)
{
    if (before >= 0 && w.proxies[proxy].open >= 0) {
        broken("S10: two servers are open on %s", def.proxies[proxy].name);
    }
}

static bool is_proven_off(const struct move_record *move, int i)
{
    for (int e = 0; move != NULL && e < move->evidence_len; e++) {
        if (strcmp(move->evidence[e].node, node_name(i)) == 0 &&
            move->evidence[e].revocation_revision >= (uint64_t)st.revoked_at[i]) {
            return true;
        }
    }
    return false;
}

/* S4: what the leader has seen acknowledged, and its choice has not, is within the bound, or a
 * person accepts it; and it has seen something. */
static void check_loss(int to, const struct move_record *move)
{
    int from = move == NULL ? NOBODY : node_of(move->from);
    if (from < 0 || from == to || def.databases[0].durability == DURABILITY_STRICT || w.by_hand) {
        return;
    }
    const struct pg *old = &w.pgs[from], *new = &w.pgs[to];
    uint64_t limit = def.databases[0].max_lag_bytes;
    limit = move->accept_loss_bytes > limit ? move->accept_loss_bytes : limit;
    uint64_t saw = ctls[st.leader_of].saw_lsn;
    uint64_t acked = w.lines[old->line].released;
    if (old->line != new->line || acked <= new->lsn + limit) {
        return;
    }
    if (saw == 0 && move->accept_loss_bytes == 0) {
        broken("S4: the permit is granted to %s, and what that loses cannot be known",
               node_name(to));
    }
    if (saw > new->lsn + limit) {
        broken("S4: the permit is granted to %s, which lacks %llu bytes that were acknowledged",
               node_name(to), (unsigned long long)(acked - new->lsn));
    }
}

/* S2: whoever else has held the permit is proven off, by recorded evidence later than its
 * revocation. S4: what a failover is estimated to lose is allowed. */
static void check_granted(int to)
{
    const struct move_record *move = store_move();
    for (int i = 0; i < NODES; i++) {
        if (i == to || !st.held[i]) {
            continue;
        }
        if (!is_proven_off(move, i)) {
            broken("S2: the permit is granted to %s, and nothing later than the revocation proves "
                   "that %s cannot write",
                   node_name(to), node_name(i));
        }
        st.held[i] = false;
    }
    check_loss(to, move);
    ctls[0].saw_lsn = 0;
    ctls[1].saw_lsn = 0;
    uint64_t limit = def.databases[0].max_lag_bytes;
    if (move != NULL && move->estimated_loss_bytes > limit &&
        move->estimated_loss_bytes > move->accept_loss_bytes) {
        broken("S4: a loss of %llu bytes is estimated, and nobody accepted it",
               (unsigned long long)move->estimated_loss_bytes);
    }
}

/* S5: epochs only grow, and a revoked one is never granted again. */
void check_permit_write(const struct permit_record *value)
{
    int order = epoch_compare(value->epoch, st.epoch_highest);
    if (order < 0 || (order == 0 && st.epoch_revoked && value->state == PERMIT_GRANTED)) {
        broken("S5: epoch %llu is granted again", (unsigned long long)value->epoch.counter);
    }
    st.epoch_highest = value->epoch;
    st.epoch_revoked = value->state == PERMIT_REVOKED;
    truth_permit_write(value);
    int i = node_of(value->node);
    if (i >= 0 && value->state == PERMIT_REVOKED) {
        st.revoked_at[i] = st.revision;
        w.revoked_since = w.now;
    } else if (i >= 0) {
        check_granted(i);
        if (order > 0) {
            rights_granted(i);
        }
        st.held[i] = true;
    }
}

/* S2: what is recorded as evidence is so. A person's word and a device's are theirs. */
static void check_evidence(const struct group_record *before, const struct group_record *after_)
{
    if (!after_->moving || after_->workflow.moves_len == 0 || w.by_hand) {
        return;
    }
    const struct move_record *was = &before->workflow.moves[0], *is = &after_->workflow.moves[0];
    bool same = before->moving && strcmp(before->workflow.id, after_->workflow.id) == 0;
    for (int e = same ? was->evidence_len : 0; e < is->evidence_len; e++) {
        const struct evidence_record *evidence = &is->evidence[e];
        int n = node_of(evidence->node);
        if (n < 0 || evidence->kind == EVIDENCE_OPERATOR || evidence->kind == EVIDENCE_AGENT) {
            continue;
        }
        if (w.pgs[n].primary && pg_can_ack(n)) {
            broken("S2: it is recorded that %s cannot write, and it can acknowledge", node_name(n));
        }
        bool time = evidence->kind == EVIDENCE_PERMIT && strcmp(evidence->node, is->from) == 0 &&
                    w.nodes[n].dog_lost_at == 0; /* what no signal ends is the watchdog's */
        if (time && (w.pgs[n].left || (w.pgs[n].state != PG_DOWN && w.pgs[n].as_primary))) {
            broken("S2: time is recorded as evidence, and something of %s runs", node_name(n));
        }
    }
}

static int completed_lately(const struct group_record *group)
{
    int lately = 0;
    int64_t now = wall_ms(st.leader_of);
    for (int i = 0; i < group->completed_len; i++) {
        lately += group->completed_wall_ms[i] > now - (int64_t)def.policy.budget_per_ms ? 1 : 0;
    }
    return lately;
}

/* S12: nothing begins by itself while a person has paused it, or beyond the budget. */
void check_group_write(const struct group_record *before, const struct group_record *after_)
{
    rights_group(before, after_);
    truth_group_write(before, after_);
    bool begins = after_->moving && !before->moving && after_->workflow.moves_len > 0 &&
                  !after_->workflow.moves[0].forced;
    check_evidence(before, after_);
    if (begins && before->paused) {
        broken("S12: a failover begins while the group is paused");
    }
    if (begins && !w.wall_jumped && completed_lately(before) >= (int)def.policy.budget_failovers) {
        broken("S12: a failover begins beyond the budget");
    }
    const char *primary = after_->databases_len > 0 ? after_->databases[0].primary : "";
    const char *was = before->databases_len > 0 ? before->databases[0].primary : "";
    int i = node_of(primary);
    if (i >= 0 && strcmp(primary, was) != 0) {
        w.recorded_line = w.pgs[i].line;
        if (!w.pgs[i].primary && w.pgs[i].state == PG_UP && !w.async && w.sim_phase != PHASE_WARM) {
            broken("S13: %s is recorded as the primary, and is none", node_name(i));
        }
    }
}

/* S13: what a guard says of its instance is so, when it says it. */
void check_report(int node, const struct guard_record *said)
{
    const struct pg *pg = &w.pgs[node];
    rights_report(node, said);
    if (said->stopped_for != 0 && pg_runs(node) && !w.by_hand) {
        broken("S13: the guard of %s reports it stopped, and something of it runs",
               node_name(node));
    }
    if (said->state == GUARD_STOPPED && pg_runs(node) && pg->life == guards[node].pg_life &&
        !w.by_hand) {
        broken("S13: the guard of %s says stopped of what it watches", node_name(node));
    }
    /* That of the revocation before stands there until this one's is proven. */
    const struct guard_permit *revoked = &guards[node].core.permit;
    if (said->cut_for != 0 && pg->from >= 0 && pg->state == PG_UP && !revoked->granted &&
        said->cut_for == revoked->revision) {
        broken("S13: the guard of %s reports it cut, and it receives", node_name(node));
    }
    if (said->armed && !w.nodes[node].armed) {
        broken("S13: the guard of %s reports an armed watchdog, and there is none",
               node_name(node));
    }
    /* The names that are shown are looked at once a second. */
    bool not_seen_yet = w.names_by_hand[node] != 0 && w.now < w.names_by_hand[node] + PROMPTLY;
    if (said->sync_for == 0 || pg->state != PG_UP || !pg->primary || w.by_hand || not_seen_yet) {
        return;
    }
    struct names target;
    names_of_entry(guard_sync_target(&guards[node].core.told), &target);
    if (target.said && !pg->waits) {
        broken("S13: the guard of %s reports that commits wait, and they do not", node_name(node));
    }
    for (int s = 0; s < NODES && target.said; s++) { /* one without a place acknowledges nothing */
        const struct walsender *sender = &pg->senders[s];
        if (sender->there && !names_same(&sender->by, &target) &&
            names_place(&sender->by, s) != 0 && sender->flush != 0) {
            broken("S13: the guard of %s reports an entry that a walsender does not go by",
                   node_name(node));
        }
    }
}
