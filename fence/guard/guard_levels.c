#include "fence/guard/guard_private.h"

#include <string.h>

#include "controller/base/rule_off.h"

/* Renewals in a permit's time D, so every 1 s or 0.5 s in the profiles. A long test's have more. */
#ifndef GUARD_RENEWALS
#define GUARD_RENEWALS 8
#endif

bool guard_epoch_is(struct epoch a, struct epoch b)
{
    return epoch_compare(a, b) == 0;
}

bool guard_is_saved(const struct guard_core *core)
{
    return core->saved_version >= core->version;
}

bool guard_is_mine(const struct guard_core *core)
{
    return core->permit.known && strcmp(core->permit.node, core->node) == 0;
}

bool guard_holds(const struct guard_core *core)
{
    return guard_is_mine(core) && core->permit.granted &&
           strcmp(core->permit.boot, core->boot) == 0 && core->boot[0] != '\0' &&
           epoch_compare(core->permit.epoch, core->durable.epoch) >= 0 &&
           epoch_compare(core->permit.epoch, core->durable.spent) > 0;
}

/* D, W and K that its time was counted with; before the first renewal, the known permit's. */
const struct guard_permit *guard_terms(const struct guard_core *core)
{
    return core->kept.known ? &core->kept.permit : &core->permit;
}

static uint64_t reserve_ms(const struct guard_core *core)
{
    return (uint64_t)guard_terms(core)->w_ms + guard_terms(core)->k_ms;
}

static bool has_time_at(const struct guard_core *core, uint64_t now_ms)
{
    return core->kept.known && now_ms + reserve_ms(core) < core->kept.valid_until_ms;
}

bool guard_has_time(const struct guard_core *core)
{
    return has_time_at(core, core->now_ms);
}

/* `continue` was chosen in words, and no renewal has made time an evidence meanwhile. */
static bool goes_on_blind(const struct guard_core *core)
{
    return core->policy.when_blind_continue && core->kept.known && !core->kept.armed &&
           guard_holds(core) && guard_is_blind(core);
}

bool guard_time_is_over(const struct guard_core *core)
{
    return core->counts && !guard_has_time(core) && !goes_on_blind(core);
}

bool guard_is_blind(const struct guard_core *core)
{
    return core->unanswered_ms != 0 &&
           core->now_ms >= core->unanswered_ms + guard_patience_ms(core);
}

bool guard_may_be_primary(const struct guard_core *core)
{
    return core->counts && guard_holds(core) && (guard_has_time(core) || goes_on_blind(core));
}

bool guard_must_stop(const struct guard_core *core)
{
    if (!core->durable.guarding || !core->counts) {
        return false;
    }
    return (core->permit.known && !guard_holds(core)) || guard_time_is_over(core);
}

bool guard_may_extend(const struct guard_core *core)
{
    return core->counts && core->state != DUTY_STOPPING && guard_holds(core) &&
           (guard_has_time(core) || goes_on_blind(core));
}

/* ---- at rest ---- */

bool guard_is_former_primary(const struct guard_core *core)
{
    return core->seen.control == GUARD_CONTROL_PRIMARY_CLEAN ||
           core->seen.control == GUARD_CONTROL_PRIMARY_CRASH;
}

/*
 * A clean end is in the control file; after a crash nobody knows how far its WAL goes. It says that
 * nothing was written after the shutdown checkpoint, not that anybody received it. Where the
 * checkpoint begins is what it tells, so a fork right there has left it out: the record lies
 * beyond.
 */
bool guard_is_at_or_below_fork(const struct guard_core *core)
{
    return core->seen.control == GUARD_CONTROL_PRIMARY_CLEAN && core->declared.fork_lsn != 0 &&
           core->seen.checkpoint_lsn != 0 && core->seen.checkpoint_lsn < core->declared.fork_lsn;
}

/* It ended by itself under the permit that it still holds. */
static bool crash_forbids(const struct guard_core *core)
{
    if (core->crash[0] == '\0' || !guard_epoch_is(core->crash_epoch, core->permit.epoch)) {
        return false;
    }
    return !core->policy.restart || core->crashes >= GUARD_CRASHES ||
           core->now_ms >= core->crash_ms + core->policy.restart_deadline_ms;
}

static bool continues_the_record(const struct guard_core *core)
{
    return core->permit.timeline != 0 && core->seen.checkpoint_timeline == core->permit.timeline &&
           core->seen.system_id == core->permit.system_id;
}

static bool is_held_down(const struct guard_core *core)
{
    return core->durable.burnt || core->durable.declared_down ||
           core->seen.control == GUARD_CONTROL_UNKNOWN;
}

bool guard_watchdog_is_settled(const struct guard_core *core)
{
    return !core->policy.watchdog_configured || core->watchdog_tried;
}

bool guard_says_armed(const struct guard_core *core)
{
    return core->watchdog_armed && core->watchdog_period_ms == core->permit.w_ms &&
           !core->policy.when_blind_continue;
}

/* It could be started as a primary if only a renewal were accepted. */
static bool could_start_primary(const struct guard_core *core)
{
    return core->state == DUTY_DOWN && guard_holds(core) && !is_held_down(core) &&
           guard_is_former_primary(core) && continues_the_record(core) && !crash_forbids(core);
}

static bool could_promote(const struct guard_core *core)
{
    const struct guard_permit *permit = &core->permit;
    return core->state == DUTY_STANDBY && guard_holds(core) && !core->durable.burnt &&
           core->seen.role == ROLE_STANDBY && core->seen.system_id == permit->system_id &&
           core->seen.life != 0 && (permit->life == 0 || permit->life == core->seen.life);
}

/*
 * A promotion that was begun and did not complete may have written a history of its own, which no
 * look at its files can tell from another (failures.md F6). One that was never asked for has not.
 */
bool guard_may_bear_a_fork(const struct guard_core *core)
{
    return core->durable.begun.counter != 0 && !(core->begun_here && !core->promotion_asked) &&
           !rule_is_off("standby-begun");
}

/* Before the renewal under which it is asked: what is stored says that it may have begun. */
bool guard_promotion_must_be_stored(const struct guard_core *core)
{
    return could_promote(core) && !guard_epoch_is(core->durable.begun, core->permit.epoch);
}

bool guard_wants_permit(const struct guard_core *core)
{
    if (!guard_holds(core) || core->state == DUTY_OBSERVING || core->state == DUTY_STOPPING) {
        return false;
    }
    return core->counts || could_start_primary(core) || could_promote(core);
}

bool guard_was_renewed(const struct guard_core *core)
{
    return guard_holds(core) && core->renewed_revision != 0 &&
           core->renewed_revision == core->permit.revision && guard_has_time(core) &&
           guard_is_saved(core) && guard_watchdog_is_settled(core) &&
           (!core->said_armed || guard_says_armed(core));
}

bool guard_may_start_primary(const struct guard_core *core)
{
    return could_start_primary(core) && guard_was_renewed(core);
}

bool guard_may_promote(const struct guard_core *core)
{
    return could_promote(core) && !guard_promotion_must_be_stored(core) && guard_was_renewed(core);
}

bool guard_may_start_standby(const struct guard_core *core)
{
    if (core->state != DUTY_DOWN || core->durable.declared != ROLE_STANDBY || is_held_down(core) ||
        !guard_is_saved(core) || could_start_primary(core) || guard_may_bear_a_fork(core)) {
        return false;
    }
    if (guard_is_mine(core) && !core->permit.granted) {
        return false; /* that nothing runs is the proof that is waited for */
    }
    if (core->crash[0] != '\0' && core->now_ms < core->crash_ms + GUARD_LOOK_MS) {
        return false; /* one that dies at once is not started as fast as it dies */
    }
    return core->seen.control == GUARD_CONTROL_STANDBY ||
           (guard_is_former_primary(core) &&
            (guard_is_at_or_below_fork(core) || rule_is_off("standby-fork")));
}

const char *guard_held(const struct guard_core *core)
{
    if (core->state != DUTY_DOWN || could_start_primary(core) || guard_may_start_standby(core)) {
        return "";
    }
    if (core->durable.burnt) {
        return "it may bear a history that did not complete: it must be rebuilt by copy";
    }
    if (guard_may_bear_a_fork(core) && core->seen.control == GUARD_CONTROL_STANDBY) {
        return "it ended in a promotion that did not complete, and may bear a history of its own: "
               "it must be rebuilt by copy";
    }
    if (core->durable.declared_down) {
        return "declared down";
    }
    if (core->seen.control == GUARD_CONTROL_UNKNOWN) {
        return "its control file is not read yet, or cannot be read";
    }
    if (guard_is_mine(core) && !core->permit.granted) {
        return "its permit is revoked";
    }
    if (guard_holds(core) && crash_forbids(core)) {
        return "it ended by itself under the permit it has";
    }
    if (guard_is_former_primary(core) && guard_holds(core) && !continues_the_record(core)) {
        return "the permit continues another history than its data directory has";
    }
    if (guard_is_former_primary(core) && core->durable.declared == ROLE_STANDBY) {
        return "it was a primary, and its WAL is not known to end at or below the recorded fork: "
               "it must be rejoined";
    }
    if (guard_is_former_primary(core)) {
        return "it was a primary, and no permit is granted to this boot";
    }
    return core->durable.declared == ROLE_STANDBY ? "it is about to be started again"
                                                  : "no role is declared for it";
}

/* ---- reports ---- */

enum guard_state guard_proven_state(const struct guard_core *core)
{
    switch (core->state) {
    case DUTY_DOWN: return GUARD_STOPPED;
    case DUTY_STOPPING: return GUARD_STOPPING;
    case DUTY_STARTING:
    case DUTY_LAUNCHING: return GUARD_STARTING;
    default: break;
    }
    return core->seen.process == GUARD_PROCESS_RUNNING ? GUARD_RUNNING
           : core->seen.process == GUARD_PROCESS_NONE  ? GUARD_STOPPED
                                                       : GUARD_UNKNOWN;
}

const char *guard_ended(const struct guard_core *core)
{
    return guard_epoch_is(core->crash_epoch, core->durable.epoch) ? core->crash : "";
}

int64_t guard_stopped_for(const struct guard_core *core)
{
    bool dropped = epoch_compare(core->durable.spent, core->permit.epoch) >= 0;
    return core->state == DUTY_DOWN && guard_is_mine(core) && !core->permit.granted && dropped &&
                   core->saved_version >= core->spent_version
               ? core->permit.revision
               : 0;
}

int64_t guard_cut_for(const struct guard_core *core)
{
    bool stored = core->saved_version >= core->cut_version;
    return stored && guard_upstream(core)[0] == '\0' ? core->durable.cut_for : 0;
}

int64_t guard_obeyed_revision(const struct guard_core *core)
{
    return core->obeyed_saved;
}

bool guard_sync_is_up(const struct guard_core *core)
{
    return core->proven_life != 0 && core->proven_life == core->seen.life;
}

int64_t guard_sync_for(const struct guard_core *core)
{
    const struct guard_sync *accepted = &core->kept.sync;
    return core->state == DUTY_PRIMARY && core->kept.known && accepted->len > 0 &&
                   guard_sync_is_up(core) && guard_sync_same_target(&core->told, accepted)
               ? accepted->revision
               : 0;
}

bool guard_asks_start(const struct guard_core *core)
{
    return core->durable.guarding && core->state == DUTY_DOWN && guard_is_former_primary(core) &&
           !is_held_down(core) && !could_start_primary(core);
}

/* ---- standbys ---- */

/*
 * A cut lasts until a later permit is granted, and roles of after the revocation are obeyed, which
 * name its holder as the upstream. The write that grants it still names the old primary: a standby
 * that went back there would acknowledge for it what the new one never gets (failures.md F18). The
 * permit is written again whenever its lists change, the roles are not: their order says nothing.
 */
static bool is_cut(const struct guard_core *core)
{
    int64_t since = core->cut_out > core->durable.cut_for ? core->cut_out : core->durable.cut_for;
    if (since == 0) {
        return false;
    }
    return !(core->permit.known && core->permit.granted && core->permit.revision > since &&
             core->durable.obeyed_revision > since &&
             strcmp(core->durable.upstream, core->permit.node) == 0);
}

const char *guard_upstream(const struct guard_core *core)
{
    bool itself = strcmp(core->durable.upstream, core->node) == 0;
    return is_cut(core) || itself ? "" : core->durable.upstream;
}

bool guard_closes(const struct guard_core *core)
{
    return core->permit.known && core->permit.sync.len > 0;
}

/* ---- times ---- */

uint32_t guard_renewal_ms(const struct guard_core *core)
{
    uint32_t interval_ms = core->permit.d_ms / GUARD_RENEWALS;
    return interval_ms > 50 ? interval_ms : 50;
}

uint32_t guard_patience_ms(const struct guard_core *core)
{
    const struct guard_permit *terms = guard_terms(core);
    return terms->d_ms > terms->w_ms ? (terms->d_ms - terms->w_ms) / 4 : 0;
}

/* ---- the node's watchdog ---- */

static bool prepares(const struct guard_core *core)
{
    return !core->counts && guard_wants_permit(core);
}

struct guard_watchdog_wish guard_watchdog(const struct guard_core *cores, int len, uint64_t now_ms)
{
    struct guard_watchdog_wish wish = {.feed = true, .feed_until_ms = GUARD_NEVER};
    for (int i = 0; i < len; i++) {
        const struct guard_core *core = &cores[i];
        bool counts = core->durable.guarding && core->counts;
        if (counts) {
            uint64_t w_ms = guard_terms(core)->w_ms;
            uint64_t end_ms = core->kept.known && core->kept.valid_until_ms > w_ms
                                  ? core->kept.valid_until_ms - w_ms
                                  : 0;
            /* Not by the time of its last step: while something is left of it, none may come. */
            bool blind = goes_on_blind(core) && !has_time_at(core, now_ms);
            if (!blind && end_ms < wish.feed_until_ms) {
                wish.feed_until_ms = end_ms;
            }
        }
        /* One that is not known to have any time is no reason to begin; it is one not to end. */
        bool begins = (counts && has_time_at(core, now_ms)) || prepares(core);
        bool wanted =
            !core->policy.when_blind_continue && (begins || (counts && core->watchdog_armed));
        uint32_t period_ms = core->permit.known ? core->permit.w_ms : guard_terms(core)->w_ms;
        if (wanted && period_ms != 0 && (wish.period_ms == 0 || period_ms < wish.period_ms)) {
            wish.period_ms = period_ms;
        }
        wish.armed = wish.armed || wanted;
    }
    wish.feed = now_ms < wish.feed_until_ms;
    return wish;
}
