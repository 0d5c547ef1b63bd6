/*
 * candidate.c - which standby may become the primary, and what that would lose (design §8,
 * "Choosing").
 *
 * Asked twice with one code: before the fence (who would pass now; with nobody, nothing is fenced)
 * and after the evidence (standbys heard since then: we know where their WAL ends). Then the most
 * WAL wins, then priority, then the order of the definition, so that every controller chooses alike
 * from the same facts.
 *
 * Sync: when the primary enforced nothing but the permit's entries, of each entry n - k + 1 members
 * must have been heard, and only members are candidates: then no acknowledged commit is missing on
 * the one with the most WAL. FIRST counts as ANY. In a move these are the entries of the primary
 * that is replaced, also when a candidate has held the permit since. Otherwise the database counts
 * as asynchronous: the estimated loss, with the sample's age counted, must stay within max_lag or
 * within what a person accepted.
 *
 * The old primary itself (design §6): stopped, its data directory intact, and its guard asks for a
 * permit. It has everything that it ever acknowledged, so it is chosen where no standby may be; and
 * before one that would lose something, if it had been shut down cleanly before it was fenced (its
 * permit had lapsed). One that crashed, hung or was cut off may do so again, and a loss within
 * max_lag is what the policy prefers. Not when a person moves it, and not once anybody was granted
 * the permit since its revocation: another history may have begun. Nor where no controller reaches
 * its node, although they reach others: it would start for nobody.
 */
#include "controller/core/private.h"

#include <string.h>

#include "controller/base/rule_off.h"

#define HEARING_MS 3000 /* for a standby, before the old primary starts again instead */
#define HEARD_FINDINGS                                                                             \
    2 /* in a row that show the same end of WAL, while a receiver is still connected */

static void refuse(struct candidate_verdict *verdict, const char *text)
{
    text_copy(verdict->reason, sizeof verdict->reason, text);
}

static bool listed(const char names[][NAME_SIZE], int len, const char *name)
{
    for (int i = 0; i < len; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool role_excludes(const struct core *core, int db, int i, struct candidate_verdict *verdict)
{
    const struct move_record *move = core_move_of(core, db);
    const struct database_record *record = db_record_of(core, db);
    const char *node = instance_node(core, db, i);
    if (move == NULL && i == core_primary(core, db)) {
        refuse(verdict, "it is the primary");
    } else if (move != NULL && strcmp(move->from, node) == 0) {
        refuse(verdict, "it is the primary that is being replaced");
    } else if (move != NULL && strcmp(move->fence_node, node) == 0) {
        refuse(verdict, "it is being fenced");
    } else if ((move != NULL && listed(move->burnt, move->burnt_len, node)) ||
               (record != NULL && listed(record->burnt, record->burnt_len, node))) {
        refuse(verdict, "it may bear a timeline that did not complete; it must be rebuilt by copy");
    } else {
        return false;
    }
    return true;
}

static bool facts_exclude(const struct core *core, int db, int i, struct candidate_verdict *verdict)
{
    const struct database_state *d = &core->databases[db];
    const struct instance_state *state = &d->instances[i];
    const struct instance_fact *fact = &state->fact;
    uint64_t limit = fresh_limit_ms(core);
    char *to = verdict->reason;
    size_t size = sizeof verdict->reason;
    if (!fact->answered) {
        text_format(to, size, "it has not answered yet (%s)", cause_names[state->health.cause]);
    } else if (core->now_ms - fact->answered_ms > limit) {
        text_format(to, size, "last heard %llu ms ago (limit %llu ms): %s",
                    (unsigned long long)(core->now_ms - fact->answered_ms),
                    (unsigned long long)limit, cause_names[state->health.cause]);
    } else if (fact->role != ROLE_STANDBY) {
        text_format(to, size, "its role is %s, not standby", role_names[fact->role]);
    } else if (state->health.cause != CAUSE_OK) {
        text_format(to, size, "%s", cause_names[state->health.cause]);
    } else if (fact->system_id != d->permit.system_id) {
        text_format(to, size, "its system id is %llu, the permit's %llu",
                    (unsigned long long)fact->system_id, (unsigned long long)d->permit.system_id);
    } else if (fact->timeline != d->permit.timeline && !rule_is_off("candidate-timeline")) {
        text_format(to, size, "it is on timeline %u, the recorded history is on %u", fact->timeline,
                    d->permit.timeline);
    } else if (fact->receive_lsn == 0) {
        refuse(verdict, "where its WAL ends is not known");
    } else {
        return guard_excludes(core, db, i, to, size);
    }
    return true;
}

/* "Heard": we know where its WAL ends, by findings asked for after the evidence. */
static bool is_unheard(const struct core *core, int db, int i, struct candidate_verdict *verdict)
{
    const struct database_state *d = &core->databases[db];
    const struct instance_state *state = &d->instances[i];
    if (state->fact.asked_ms < d->proven_ms) {
        refuse(verdict, "not heard since the fence was proven");
        return true;
    }
    /* Nothing is received any more, and replay waits at the end of all that is there: one look is
     * enough. Else the end must be seen twice. */
    bool at_rest = !state->fact.receiving && state->fact.replay_idle;
    if (!at_rest && state->still_findings < HEARD_FINDINGS) {
        refuse(verdict, "its WAL has not been seen at rest since the fence was proven");
        return true;
    }
    return false;
}

static bool is_member(const struct sync_entry_record *entry, const char *name)
{
    return listed(entry->members, entry->members_len, name);
}

/* Of each entry, n - k + 1 members must be among those who pass. */
static bool entries_heard(const struct core *core, int db, const struct choice *choice, char *text,
                          size_t size)
{
    int len;
    const struct sync_entry_record *entries = sync_counted(core, db, &len);
    for (int e = 0; e < len; e++) {
        int heard = 0;
        for (int v = 0; v < choice->verdicts_len; v++) {
            int i = choice->verdicts[v].instance;
            if (choice->verdicts[v].passes &&
                is_member(&entries[e], core->def.databases[db].instances[i].name)) {
                heard++;
            }
        }
        int needed = entries[e].members_len - entries[e].k + 1;
        if (heard < needed && !rule_is_off("candidate-entries")) {
            text_format(
                text, size,
                "%d of sync entry %d's %d standbys heard, %d needed: an acknowledged commit could be missing",
                heard, e + 1, entries[e].members_len, needed);
            return false;
        }
    }
    return true;
}

static bool member_of_any(const struct core *core, int db, int i)
{
    int len;
    const struct sync_entry_record *entries = sync_counted(core, db, &len);
    for (int e = 0; e < len; e++) {
        if (is_member(&entries[e], core->def.databases[db].instances[i].name)) {
            return true;
        }
    }
    return false;
}

/* More WAL, then the plan's own choice, then priority, then the definition's order. */
static bool is_better(const struct core *core, int db, int a, int b)
{
    const struct instance_state *states = core->databases[db].instances;
    const struct instance_def *defs = core->def.databases[db].instances;
    const struct move_record *move = core_move_of(core, db);
    if (states[a].fact.receive_lsn != states[b].fact.receive_lsn) {
        return states[a].fact.receive_lsn > states[b].fact.receive_lsn;
    }
    if (move != NULL && move->planned[0] != '\0') {
        bool planned_a = strcmp(move->planned, instance_node(core, db, a)) == 0;
        bool planned_b = strcmp(move->planned, instance_node(core, db, b)) == 0;
        if (planned_a != planned_b) {
            return planned_a;
        }
    }
    return defs[a].priority > defs[b].priority;
}

static void pick(const struct core *core, int db, bool proven, struct choice *choice)
{
    for (int v = 0; v < choice->verdicts_len; v++) {
        struct candidate_verdict *verdict = &choice->verdicts[v];
        if (!verdict->passes) {
            continue;
        }
        if (proven && !member_of_any(core, db, verdict->instance)) {
            continue; /* heard, but commits were not acknowledged by waiting for it */
        }
        if (choice->chosen < 0 || is_better(core, db, verdict->instance, choice->chosen)) {
            choice->chosen = verdict->instance;
        }
    }
}

/* Design §8 and failures.md F12, F13: the last known write position, moved on at its rate until the
 * failure. */
static void estimate_loss(const struct core *core, int db, struct choice *choice)
{
    const struct database_state *d = &core->databases[db];
    if (d->primary_lsn_ms == 0) {
        return;
    }
    int primary = core_primary(core, db);
    const struct health *health = primary >= 0 ? &d->instances[primary].health : NULL;
    uint64_t until = core->now_ms;
    if (health != NULL && health->first_bad_ms != 0 && health->cause == CAUSE_REFUSED) {
        until = health->first_bad_ms;
    } else if (d->proven_ms != 0 && d->proven_ms < until) {
        until = d->proven_ms;
    }
    uint64_t age = until > d->primary_lsn_ms ? until - d->primary_lsn_ms : 0;
    uint64_t end = d->primary_lsn + d->bytes_per_s * age / 1000;
    uint64_t has = d->instances[choice->chosen].fact.receive_lsn;
    choice->loss_known = true;
    choice->loss_bytes = end > has ? end - has : 0;
}

static void check_loss(const struct core *core, int db, uint64_t accepted, struct choice *choice)
{
    /* Nothing proves that what is lost is nothing, and `strict` goes by no estimate: after a second
     * failure, before the new primary's entry was proven, its only copy may be the one that failed
     * (failures.md F9). A person may accept that. */
    bool strict = core->def.databases[db].durability == DURABILITY_STRICT;
    uint64_t limit = strict ? 0 : core->def.databases[db].max_lag_bytes;
    if (accepted > limit) {
        limit = accepted;
    }
    estimate_loss(core, db, choice);
    bool allowed = choice->loss_known && choice->loss_bytes <= limit && (!strict || accepted > 0);
    if (allowed || rule_is_off("candidate-loss")) {
        return;
    }
    if (!choice->loss_known && accepted > 0) {
        return; /* a person accepted a loss, knowing that it cannot be estimated */
    }
    if (strict && choice->loss_known && choice->loss_bytes <= limit) {
        text_format(choice->reason, sizeof choice->reason,
                    "%s may lack acknowledged commits: durability is strict, and no sync entry is "
                    "proven that it is a member of",
                    instance_node(core, db, choice->chosen));
    } else if (choice->loss_known) {
        text_format(
            choice->reason, sizeof choice->reason,
            "%s would lose an estimated %llu bytes (limit %llu): asynchronous, or not seen to enforce its sync entry",
            instance_node(core, db, choice->chosen), (unsigned long long)choice->loss_bytes,
            (unsigned long long)limit);
    } else {
        text_format(
            choice->reason, sizeof choice->reason,
            "the loss with %s cannot be estimated: this controller never saw the primary's position",
            instance_node(core, db, choice->chosen));
    }
    choice->chosen = -1;
}

static void judge(const struct core *core, int db, int i, bool after_fence, struct choice *choice)
{
    struct candidate_verdict *verdict = &choice->verdicts[choice->verdicts_len++];
    memset(verdict, 0, sizeof *verdict);
    verdict->instance = i;
    if (role_excludes(core, db, i, verdict) || facts_exclude(core, db, i, verdict) ||
        (after_fence && is_unheard(core, db, i, verdict))) {
        return;
    }
    verdict->passes = true;
    text_copy(verdict->reason, sizeof verdict->reason, "passes");
}

static void say_why_nobody(const struct core *core, int db, struct choice *choice)
{
    size_t used = 0;
    for (int v = 0; v < choice->verdicts_len && used + 8 < sizeof choice->reason; v++) {
        text_format(choice->reason + used, sizeof choice->reason - used, "%s%s: %s",
                    used > 0 ? "; " : "", instance_node(core, db, choice->verdicts[v].instance),
                    choice->verdicts[v].reason);
        used = strnlen(choice->reason, sizeof choice->reason);
    }
}

/* ---- the old primary, in its place ---- */

bool guard_asks_to_start(const struct core *core, int db, int i)
{
    const struct guard_record *said = guard_of(core, db, i);
    return said != NULL && is_guarded(core, db) && guard_is_heard(core, db, i) &&
           said->state == GUARD_STOPPED && said->asks_start;
}

static int old_primary(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    return move == NULL ? core_primary(core, db) : node_instance(core, db, move->from);
}

/* "" or why it may not start again, once its guard says that it is stopped. */
static void restart_refused(const struct core *core, int db, int i, bool after_fence, char *text,
                            size_t size)
{
    const struct database_state *d = &core->databases[db];
    const struct move_record *move = core_move_of(core, db);
    const struct guard_record *said = &d->instances[i].guard.said;
    text[0] = '\0';
    if (move != NULL && (move->candidate[0] != '\0' || move->burnt_len > 0)) {
        text_copy(text, size, "another was granted the permit since");
    } else if (move != NULL && move->forced) {
        text_copy(text, size, "a person moves it (workflow abandon gives it back)");
    } else if (!core->blind && !witness_reaches(core, db, i)) {
        text_copy(text, size,
                  "no controller gets an answer from its node, so clients may not either");
    } else if (!said->asks_start) {
        text_format(text, size, "its guard does not ask to start it: %.120s",
                    said->held[0] != '\0' ? said->held : "no reason is given");
    } else if (said->system_id != d->permit.system_id) {
        text_format(text, size, "its system id is %llu, the permit's %llu",
                    (unsigned long long)said->system_id, (unsigned long long)d->permit.system_id);
    } else if (said->checkpoint_timeline != d->permit.timeline) {
        text_format(text, size, "it ended on timeline %u, the recorded history is on %u",
                    said->checkpoint_timeline, d->permit.timeline);
    } else if (after_fence && (said->stopped_for == 0 || said->stopped_for != d->permit_revision)) {
        text_copy(text, size, "its guard has not reported since the revocation");
    }
}

static bool may_restart(const struct core *core, int db, int i, bool after_fence,
                        struct candidate_verdict *verdict)
{
    char text[REASON_SIZE];
    const struct guard_record *said = i < 0 ? NULL : guard_of(core, db, i);
    if (said == NULL || !is_guarded(core, db) || !guard_is_heard(core, db, i) ||
        said->state != GUARD_STOPPED) {
        return false;
    }
    restart_refused(core, db, i, after_fence, text, sizeof text);
    if (text[0] != '\0') {
        text_format(verdict->reason, sizeof verdict->reason,
                    "it is the old primary, stopped, and may not start again: %.180s", text);
        return false;
    }
    text_format(
        verdict->reason, sizeof verdict->reason,
        "it is the old primary, stopped %s: it may start again in its place, and loses nothing",
        said->clean ? "cleanly" : "by a crash");
    return true;
}

/* It was the choice before the fence as well, or is now that one begins. */
static bool restart_was_planned(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    return move == NULL || strcmp(move->planned, move->from) == 0;
}

/* A standby that would have passed before the fence is given the time to be heard after it. */
static bool standbys_had_their_time(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return restart_was_planned(core, db) || d->state == DB_CHOICE_WAIT ||
           (d->proven_ms != 0 && core->now_ms - d->proven_ms >= HEARING_MS);
}

/* An estimate of nothing is none: by its sync entries, or by where the old one's WAL ends. */
static bool loses_nothing(const struct core *core, int db, int old, const struct choice *choice)
{
    const struct instance_state *instances = core->databases[db].instances;
    const struct guard_record *said = old < 0 ? NULL : guard_of(core, db, old);
    if (choice->chosen < 0 || !choice->loss_known || choice->loss_bytes != 0) {
        return false;
    }
    return choice->loss_proven ||
           (said != NULL && said->clean && said->checkpoint_lsn != 0 &&
            instances[choice->chosen].fact.receive_lsn > said->checkpoint_lsn);
}

static void consider_restart(const struct core *core, int db, bool after_fence, struct choice *ret)
{
    int i = old_primary(core, db);
    bool lossless = loses_nothing(core, db, i, ret);
    for (int v = 0; v < ret->verdicts_len && !lossless; v++) {
        struct candidate_verdict *verdict = &ret->verdicts[v];
        if (verdict->instance != i || !may_restart(core, db, i, after_fence, verdict)) {
            continue;
        }
        bool preferred =
            core->databases[db].instances[i].guard.said.clean && restart_was_planned(core, db);
        if (ret->chosen >= 0 ? !preferred : !standbys_had_their_time(core, db)) {
            continue;
        }
        verdict->passes = true;
        ret->chosen = i;
        ret->in_place = true;
        ret->loss_known = true;
        ret->loss_proven = true;
        ret->loss_bytes = 0;
        ret->reason[0] = '\0';
    }
}

static void choose_standby(const struct core *core, int db, bool after_fence, uint64_t accepted,
                           struct choice *ret)
{
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        judge(core, db, i, after_fence, ret);
    }
    bool proven = sync_proves(core, db);
    if (proven && !entries_heard(core, db, ret, ret->reason, sizeof ret->reason)) {
        if (accepted == 0) {
            size_t used = strnlen(ret->reason, sizeof ret->reason);
            if (used + 4 < sizeof ret->reason) {
                struct choice words = *ret;
                say_why_nobody(core, db, &words);
                text_format(ret->reason + used, sizeof ret->reason - used, " (%s)", words.reason);
            }
            return;
        }
        proven = false; /* a person accepted a loss: as asynchronous */
    }
    pick(core, db, proven, ret);
    if (ret->chosen < 0) {
        say_why_nobody(core, db, ret);
    } else if (proven) {
        ret->loss_known = true;
        ret->loss_proven = true;
    } else {
        check_loss(core, db, accepted, ret);
    }
}

void candidate_choose_with(const struct core *core, int db, bool after_fence, uint64_t accepted,
                           struct choice *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->chosen = -1;
    choose_standby(core, db, after_fence, accepted, ret);
    consider_restart(core, db, after_fence, ret);
}

void candidate_choose(const struct core *core, int db, bool after_fence, struct choice *ret)
{
    const struct move_record *move = core_move_of(core, db);
    uint64_t accepted =
        move != NULL ? move->accept_loss_bytes : core->databases[db].accept_loss_bytes;
    candidate_choose_with(core, db, after_fence, accepted, ret);
}
