#include "fence/guard/guard_core.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "fence/guard/guard_private.h"

#define REVIEWS_MAX 24 /* rules that one event can set off: each makes its own condition false */

#define X(id, name, help) name,
const char *const duty_names[] = {DUTY_LIST(X) NULL};
#undef X
#define X(id, name, help) help,
const char *const duty_helps[] = {DUTY_LIST(X) NULL};
#undef X
#define X(id, name) name,
const char *const guard_event_names[] = {GUARD_EVENT_LIST(X) NULL};
const char *const guard_effect_names[] = {GUARD_EFFECT_LIST(X) NULL};
#undef X

struct guard_effect *guard_effect(struct guard_core *core, enum guard_effect_type type)
{
    assert(core->effects->len < GUARD_EFFECTS_MAX);
    struct guard_effect *effect = &core->effects->items[core->effects->len++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void guard_init(struct guard_core *core, const char *node, const char *boot,
                const struct guard_durable *durable, const struct guard_boot_state *kept,
                uint64_t now_ms)
{
    memset(core, 0, sizeof *core);
    snprintf(core->node, sizeof core->node, "%s", node);
    snprintf(core->boot, sizeof core->boot, "%s", boot);
    core->durable = *durable;
    core->obeyed_saved = durable->obeyed_revision;
    core->now_ms = now_ms;
    core->state_since_ms = now_ms;
    core->state = durable->guarding ? DUTY_LOOKING : DUTY_OBSERVING;
    if (kept->known) {
        core->kept = *kept;
        core->said_armed = kept->armed;
        core->permit = kept->permit; /* until the store answers, and if it never does */
    }
}

/* ---- what an event changes before any rule looks ---- */

/*
 * Members lag, and backups forget: a document is news only if its epoch is higher, or it is a later
 * one of the same epoch. A lower epoch, or an earlier document, is refused and said; what was known
 * stays.
 */
static void take_permit(struct guard_core *core, const struct guard_permit *permit)
{
    if (!permit->known) {
        core->permit_missing = core->permit.known;
        return;
    }
    core->permit_missing = false;
    int higher = epoch_compare(permit->epoch, core->permit.epoch);
    bool stored_is_higher = epoch_compare(core->durable.epoch, permit->epoch) > 0;
    core->permit_refused = stored_is_higher || (core->permit.known && higher < 0);
    bool later = !core->permit.known || higher > 0 ||
                 (higher == 0 && permit->revision > core->permit.revision);
    if (!core->permit_refused && later) {
        core->permit = *permit;
    }
}

static void take_seen(struct guard_core *core, const struct guard_seen *seen)
{
    core->seen = *seen;
    bool primary = seen->process == GUARD_PROCESS_RUNNING && seen->role == ROLE_PRIMARY;
    core->counts = core->counts || (primary && core->durable.guarding);
}

static void take_promise(struct guard_core *core, const struct guard_event *event)
{
    if (event->round != core->round || event->promiser < 0 || event->promiser >= core->asked_len) {
        return;
    }
    core->promised |= UINT32_C(1) << event->promiser;
    if (event->sent_ms < core->round_sent_ms) {
        core->round_sent_ms = event->sent_ms;
    }
}

static void take_event(struct guard_core *core, const struct guard_event *event)
{
    switch (event->type) {
    case GUARD_EV_SEEN: take_seen(core, &event->seen); break;
    case GUARD_EV_GONE:
    case GUARD_EV_PROMOTED: core->seen = event->seen; break;
    case GUARD_EV_DIED:
        /* The role it had says nothing any more; that something may be left of it does. */
        core->seen.role = ROLE_UNKNOWN;
        core->seen.life = 0;
        break;
    case GUARD_EV_PERMIT: take_permit(core, &event->permit); break;
    case GUARD_EV_DECLARED:
        if (event->declared.revision > core->declared.revision) {
            core->declared = event->declared;
        }
        break;
    case GUARD_EV_PROMISED: take_promise(core, event); break;
    case GUARD_EV_WATCHDOG:
        core->watchdog_tried = true;
        if (core->watchdog_armed && !event->armed) {
            core->renewed_revision = 0; /* what was accepted said, or may have said, "armed" */
        }
        core->watchdog_armed = event->armed;
        core->watchdog_period_ms = event->period_ms;
        break;
    case GUARD_EV_SAVED:
        if (event->version > core->saved_version) {
            core->saved_version = event->version;
            core->obeyed_saved = event->version >= core->version ? core->durable.obeyed_revision
                                                                 : core->obeyed_saved;
            guard_effect(core, GUARD_DO_REPORT);
        }
        break;
    case GUARD_EV_FOLLOWED:
        core->follow_out = false;
        core->applied_known = true;
        core->applied_closed = event->closed;
        snprintf(core->applied, sizeof core->applied, "%s", event->upstream);
        break;
    case GUARD_EV_UNFOLLOWED:
        /* With none under way it is the start's: it runs by the file as it was found. */
        core->applied_known = core->applied_known && core->follow_out;
        core->follow_out = false;
        break;
    case GUARD_EV_POLICY: core->policy = event->policy; break;
    default: break;
    }
}

/* ---- rules ---- */

static void check_invariants(const struct guard_core *core)
{
    bool must_count = core->state == DUTY_LAUNCHING || core->state == DUTY_PROMOTING ||
                      core->state == DUTY_PRIMARY;
    assert(!must_count || core->counts);
    assert(core->state != DUTY_DOWN || !core->counts);
    assert(core->state == DUTY_OBSERVING || core->durable.guarding);
    assert(core->saved_version <= core->version);
    assert(core->durable.cut_for <= core->permit.revision || core->cut_out == 0 ||
           core->durable.cut_for <= core->cut_out);
}

/* The only place that assigns the state. */
static bool run_rule(struct guard_core *core, enum guard_event_type on)
{
    const struct guard_rule *rule = guard_find_rule(core, on);
    if (rule == NULL) {
        return false;
    }
    enum duty from = core->state;
    if (rule->to != GUARD_STAY) {
        core->state = (enum duty)rule->to;
        core->state_since_ms = core->now_ms;
    }
    struct guard_effect *note = guard_effect(core, GUARD_DO_NOTE);
    note->rule = rule->id;
    note->why = rule->why;
    note->from = from;
    note->to = core->state;
    memcpy(note->text, core->event->text, sizeof note->text);
    rule->act(core);
    check_invariants(core);
    return true;
}

void guard_step(struct guard_core *core, const struct guard_event *event,
                struct guard_effects *ret_effects)
{
    ret_effects->len = 0;
    core->effects = ret_effects;
    core->event = event;
    if (event->now_ms > core->now_ms) {
        core->now_ms = event->now_ms;
    }
    take_event(core, event);
    if (event->type != GUARD_EV_TICK) {
        run_rule(core, event->type);
    }
    for (int i = 0; run_rule(core, GUARD_EV_TICK); i++) {
        assert(i < REVIEWS_MAX);
    }
    core->effects = NULL;
    core->event = NULL;
}

/* ---- when it wants to be woken ---- */

static void earlier(uint64_t *deadline_ms, uint64_t at_ms)
{
    if (at_ms < *deadline_ms) {
        *deadline_ms = at_ms;
    }
}

static uint64_t stop_begins_ms(const struct guard_core *core)
{
    const struct guard_permit *terms = guard_terms(core);
    uint64_t reserve_ms = (uint64_t)terms->w_ms + terms->k_ms;
    return core->kept.known && core->kept.valid_until_ms > reserve_ms
               ? core->kept.valid_until_ms - reserve_ms
               : 0;
}

uint64_t guard_deadline_ms(const struct guard_core *core)
{
    uint64_t deadline_ms = GUARD_NEVER;
    if (!core->durable.guarding) {
        return deadline_ms;
    }
    bool may_renew =
        guard_is_saved(core) && guard_watchdog_is_settled(core); /* else an event says */
    if (guard_wants_permit(core) && !core->renewal_out && may_renew) {
        earlier(&deadline_ms, core->renewal_sent_ms + guard_renewal_ms(core));
    }
    if (core->counts && core->state != DUTY_STOPPING) {
        earlier(&deadline_ms, stop_begins_ms(core));
        if (core->unanswered_ms != 0) {
            uint64_t blind_ms = core->unanswered_ms + guard_patience_ms(core);
            uint64_t again_ms = core->round_ms + guard_renewal_ms(core);
            earlier(&deadline_ms, blind_ms > again_ms ? blind_ms : again_ms);
        }
    }
    if (core->state == DUTY_LOOKING) {
        earlier(&deadline_ms, core->state_since_ms + GUARD_LOOK_MS);
    }
    if (core->state == DUTY_PROMOTING && !core->promote_out) {
        earlier(&deadline_ms, core->promote_again_ms);
    }
    if (core->follow_again_ms > core->now_ms) {
        earlier(&deadline_ms, core->follow_again_ms);
    }
    if (core->state == DUTY_PRIMARY) {
        bool waits = core->told.revision != 0 && !core->sync_out && !guard_sync_is_up(core);
        earlier(&deadline_ms, waits ? core->sync_again_ms : GUARD_NEVER);
    }
    if (core->state == DUTY_PRIMARY || core->state == DUTY_STANDBY) {
        earlier(&deadline_ms,
                core->slots_again_ms > core->now_ms ? core->slots_again_ms : GUARD_NEVER);
    }
    if (core->state == DUTY_DOWN && core->crash[0] != '\0') {
        uint64_t again_ms = core->crash_ms + GUARD_LOOK_MS;
        uint64_t end_ms = core->crash_ms + core->policy.restart_deadline_ms;
        earlier(&deadline_ms, again_ms > core->now_ms ? again_ms : GUARD_NEVER);
        earlier(&deadline_ms, end_ms > core->now_ms ? end_ms : GUARD_NEVER);
    }
    return deadline_ms > core->now_ms ? deadline_ms : core->now_ms + 1;
}
