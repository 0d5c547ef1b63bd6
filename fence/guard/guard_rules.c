/*
 * The guard's policy, as one table. Conditions are levels: they look at what is known, not at what
 * has just changed; so a rule that stays in its state makes its own condition false.
 */
#include "fence/guard/guard_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/rule_off.h"

#define K_DEFAULT_MS 1000 /* of an instance that nobody ever permitted: the default profile's */

/* ---- conditions ---- */

static bool always(const struct guard_core *core)
{
    (void)core;
    return true;
}

/* A permit without a boot is granted to an instance without a guard, and obliges none. */
static bool a_guard_is_asked_for(const struct guard_core *core)
{
    return core->permit.known && core->permit.boot[0] != '\0';
}

static bool was_guarding(const struct guard_core *core)
{
    return core->durable.guarding;
}

static bool epoch_is_new(const struct guard_core *core)
{
    return core->durable.guarding && core->permit.known &&
           epoch_compare(core->permit.epoch, core->durable.epoch) > 0;
}

static bool own_revocation_is_new(const struct guard_core *core)
{
    return core->durable.guarding && guard_is_mine(core) && !core->permit.granted &&
           epoch_compare(core->permit.epoch, core->durable.spent) > 0;
}

static bool roles_are_new(const struct guard_core *core)
{
    return core->durable.guarding && core->declared.revision > core->durable.obeyed_revision;
}

static bool nothing_runs(const struct guard_core *core)
{
    return core->seen.process == GUARD_PROCESS_NONE;
}

static bool something_runs(const struct guard_core *core)
{
    return core->seen.process == GUARD_PROCESS_RUNNING;
}

static bool says_primary(const struct guard_core *core)
{
    return something_runs(core) && core->seen.role == ROLE_PRIMARY;
}

/* It does not answer, and its control file says that it is a primary, or nothing. */
static bool may_be_a_primary(const struct guard_core *core)
{
    return says_primary(core) || (something_runs(core) && core->seen.role == ROLE_UNKNOWN &&
                                  core->seen.control != GUARD_CONTROL_STANDBY);
}

static bool runs_as_permitted(const struct guard_core *core)
{
    return may_be_a_primary(core) && guard_holds(core) && (guard_has_time(core) || core->adopting);
}

static bool runs_as_standby(const struct guard_core *core)
{
    return something_runs(core) && core->seen.role == ROLE_STANDBY && !core->durable.burnt;
}

static bool runs_unpermitted(const struct guard_core *core)
{
    if (!may_be_a_primary(core)) {
        return false;
    }
    bool refused = core->permit.known && !guard_holds(core);
    return refused || core->now_ms >= core->state_since_ms + GUARD_LOOK_MS;
}

static bool is_burnt(const struct guard_core *core)
{
    return core->durable.burnt && something_runs(core);
}

/* In the promotion that is under way it may go on. */
static bool may_bear_a_fork(const struct guard_core *core)
{
    bool under_way = guard_holds(core) && guard_epoch_is(core->durable.begun, core->permit.epoch);
    return something_runs(core) && core->seen.role == ROLE_STANDBY && core->permit.known &&
           !under_way && guard_may_bear_a_fork(core);
}

static bool promotion_must_be_stored(const struct guard_core *core)
{
    return guard_promotion_must_be_stored(core);
}

static bool a_new_copy_lies_there(const struct guard_core *core)
{
    return nothing_runs(core) && core->seen.copied && core->durable.begun.counter != 0;
}

static bool own_permit_was_revoked(const struct guard_core *core)
{
    return guard_is_mine(core) && !core->permit.granted;
}

static bool permit_has_ended(const struct guard_core *core)
{
    return guard_must_stop(core) && core->permit.known && !guard_holds(core);
}

static bool time_is_over(const struct guard_core *core)
{
    return guard_must_stop(core) && guard_time_is_over(core);
}

static bool nobody_permitted_it(const struct guard_core *core)
{
    return says_primary(core) && !(guard_holds(core) && guard_has_time(core));
}

static bool a_person_promoted_the_candidate(const struct guard_core *core)
{
    return says_primary(core) && guard_holds(core) && guard_has_time(core);
}

static bool is_up_as_primary(const struct guard_core *core)
{
    return says_primary(core);
}

static bool is_up_as_standby(const struct guard_core *core)
{
    return something_runs(core) && core->seen.role == ROLE_STANDBY;
}

static bool may_start_as_primary(const struct guard_core *core)
{
    return guard_may_start_primary(core) && nothing_runs(core);
}

static bool may_start_as_standby(const struct guard_core *core)
{
    return guard_may_start_standby(core) && nothing_runs(core);
}

static bool may_promote(const struct guard_core *core)
{
    return guard_may_promote(core);
}

static bool promotion_may_be_asked_again(const struct guard_core *core)
{
    const struct guard_permit *permit = &core->permit;
    return !core->promote_out && core->now_ms >= core->promote_again_ms &&
           core->seen.role == ROLE_STANDBY && guard_was_renewed(core) &&
           (permit->life == 0 || permit->life == core->seen.life);
}

static bool renewal_is_due(const struct guard_core *core)
{
    if (!guard_wants_permit(core) || core->renewal_out || !guard_is_saved(core) ||
        !guard_watchdog_is_settled(core)) {
        return false;
    }
    return core->renewal_sent_ms == 0 ||
           core->renewal_out_permit.revision != core->permit.revision ||
           core->now_ms >= core->renewal_sent_ms + guard_renewal_ms(core);
}

static bool promises_are_due(const struct guard_core *core)
{
    return guard_may_extend(core) && guard_is_blind(core) && core->kept.permit.promisers_len > 0 &&
           (core->round == 0 || core->now_ms >= core->round_ms + guard_renewal_ms(core));
}

/* No controller may count time against the permit, so none has to promise that it does not. */
static bool nobody_counts_time(const struct guard_core *core)
{
    return guard_may_extend(core) && guard_is_blind(core) && core->kept.permit.promisers_len == 0 &&
           (core->round == 0 || core->now_ms >= core->round_ms + guard_renewal_ms(core));
}

static bool renewal_counts(const struct guard_core *core)
{
    return core->renewal_out && core->event->revision == core->renewal_out_permit.revision &&
           guard_holds(core) &&
           guard_epoch_is(core->renewal_out_permit.epoch, core->permit.epoch) &&
           core->state != DUTY_STOPPING && !guard_must_stop(core);
}

static bool all_have_promised(const struct guard_core *core)
{
    uint32_t all = (UINT32_C(1) << core->asked_len) - 1;
    /* Under another document others may be needed: the round is none any more. */
    return core->event->round == core->round && core->asked_len > 0 && core->promised == all &&
           core->round_revision == core->kept.permit.revision && guard_may_extend(core);
}

static bool revocation_of_the_primary_is_new(const struct guard_core *core)
{
    return core->durable.guarding && core->permit.known && !core->permit.granted &&
           !guard_is_mine(core) && core->permit.revision > core->durable.cut_for &&
           core->permit.revision > core->cut_out && !core->follow_out;
}

static bool cut_must_be_repeated(const struct guard_core *core)
{
    return core->cut_out > core->durable.cut_for && !core->follow_out &&
           core->now_ms >= core->follow_again_ms;
}

static bool upstream_differs(const struct guard_core *core)
{
    return core->durable.guarding && !core->follow_out && guard_is_saved(core) &&
           core->now_ms >= core->follow_again_ms && core->cut_out <= core->durable.cut_for &&
           core->durable.declared == ROLE_STANDBY &&
           (!core->applied_known || core->applied_closed != guard_closes(core) ||
            strcmp(core->applied, guard_upstream(core)) != 0);
}

static bool the_cut_is_done(const struct guard_core *core)
{
    return core->event->upstream[0] == '\0' && core->cut_out > core->durable.cut_for;
}

/* A new target ends the proof of the one before it: nobody waits for a standby that is given up. */
static bool target_must_be_proven(const struct guard_core *core)
{
    if (!says_primary(core) || core->seen.life == 0 || !core->kept.known ||
        core->kept.sync.revision == 0) {
        return false;
    }
    if (!guard_sync_same_target(&core->told, &core->kept.sync)) {
        return true;
    }
    return core->told.revision != 0 && !core->sync_out && !guard_sync_is_up(core) &&
           core->now_ms >= core->sync_again_ms;
}

static bool proof_is_of_the_target(const struct guard_core *core)
{
    return core->sync_out && core->event->round == core->sync_round;
}

static bool slots_are_due(const struct guard_core *core)
{
    return something_runs(core) && core->seen.role != ROLE_UNKNOWN &&
           core->declared.revision != 0 && core->obeyed_saved >= core->declared.revision &&
           (core->slots_revision != core->declared.revision ||
            core->now_ms >= core->slots_again_ms);
}

/* ---- acts ---- */

static void nothing(struct guard_core *core)
{
    (void)core;
}

static void report(struct guard_core *core)
{
    guard_effect(core, GUARD_DO_REPORT);
}

static void save(struct guard_core *core)
{
    core->version++;
    guard_effect(core, GUARD_DO_SAVE)->version = core->version;
}

static void begin_guarding(struct guard_core *core)
{
    core->durable.guarding = true;
    core->adopting = true;
    save(core);
    report(core);
}

static void store_epoch(struct guard_core *core)
{
    struct guard_durable *durable = &core->durable;
    if (core->permit.epoch.incarnation > durable->epoch.incarnation) {
        durable->obeyed_revision = 0; /* another store, whose revisions begin anew */
        durable->cut_for = 0;
        core->cut_out = 0;
        memset(&core->declared, 0, sizeof core->declared);
    }
    durable->epoch = core->permit.epoch;
    core->said_armed =
        false; /* what was said under another document cannot be committed any more */
    save(core);
}

static void spend_epoch(struct guard_core *core)
{
    if (core->permit.known && epoch_compare(core->permit.epoch, core->durable.spent) > 0) {
        core->durable.spent = core->permit.epoch;
        save(core);
        core->spent_version = core->version;
        report(core);
    }
}

static void obey(struct guard_core *core)
{
    const struct guard_declared *declared = &core->declared;
    struct guard_durable *durable = &core->durable;
    bool same = durable->declared == declared->role && durable->declared_down == declared->down &&
                durable->burnt == declared->burnt &&
                strcmp(durable->upstream, declared->upstream) == 0;
    durable->obeyed_revision = declared->revision;
    durable->declared = declared->role;
    durable->declared_down = declared->down;
    durable->burnt = declared->burnt;
    if (declared->burnt) {
        durable->begun = (struct epoch){0, 0}; /* the record knows, and says when it was rebuilt */
    }
    memcpy(durable->upstream, declared->upstream, sizeof durable->upstream);
    save(core);
    if (!same) {
        report(core);
    }
}

/*
 * Its time ends with it: whatever is still on its way is forgotten, and nothing starts again on a
 * deadline that was stored for what has ended.
 */
static void rest(struct guard_core *core)
{
    core->counts = false;
    core->adopting = false;
    core->promote_out = false;
    core->renewal_out = false;
    core->renewal_sent_ms = 0;
    core->unanswered_ms = 0;
    core->told.revision = 0;
    core->told.len = 0;
    core->sync_out = false;
    core->proven_life = 0;
    core->slots_revision = 0;
    if (core->kept.known) {
        core->kept.known = false;
        core->kept.sync.revision = 0;
        core->kept.sync.len = 0;
        core->kept.waiting_life = 0;
        guard_effect(core, GUARD_DO_KEEP);
    }
    guard_effect(core, GUARD_DO_REST);
    report(core);
}

static void stop_at(struct guard_core *core, uint64_t kill_at_ms)
{
    guard_effect(core, GUARD_DO_STOP)->kill_at_ms = kill_at_ms;
    report(core);
}

/* The last quarter of K is for the proof that nothing is left. */
static void stop_within_k(struct guard_core *core)
{
    uint32_t k_ms = guard_terms(core)->k_ms != 0 ? guard_terms(core)->k_ms : K_DEFAULT_MS;
    stop_at(core, core->now_ms + k_ms - k_ms / 4);
}

static void stop_unpermitted(struct guard_core *core)
{
    core->counts = core->counts || may_be_a_primary(core);
    guard_effect(core,
                 GUARD_DO_TAKE_OVER); /* only what is in the cgroup can be killed as a whole */
    stop_within_k(core);
}

static void stop_for_time(struct guard_core *core)
{
    const struct guard_permit *terms = guard_terms(core);
    uint64_t end_ms = core->kept.known ? core->kept.valid_until_ms : 0;
    uint64_t back_ms = (uint64_t)terms->w_ms + terms->k_ms / 4;
    stop_at(core,
            end_ms > back_ms && end_ms - back_ms > core->now_ms ? end_ms - back_ms : core->now_ms);
    spend_epoch(core);
}

static void clear_away(struct guard_core *core)
{
    if (!guard_epoch_is(core->crash_epoch, core->permit.epoch)) {
        core->crashes = 0;
    }
    core->crash_epoch = core->permit.epoch;
    core->crashes++;
    core->crash_ms = core->now_ms;
    snprintf(core->crash, sizeof core->crash, "%.*s", (int)sizeof core->crash - 1,
             core->event->text[0] != '\0' ? core->event->text : "it ended by itself");
    stop_at(core, core->now_ms);
}

/* It was to be started as a primary, and another hand was faster: it has standby.signal in it, and
 * its own history could not be gone on with from there. Said as an end, so that nobody waits. */
static void give_way(struct guard_core *core)
{
    core->crash_epoch = core->permit.epoch;
    core->crashes = GUARD_CRASHES;
    core->crash_ms = core->now_ms;
    snprintf(core->crash, sizeof core->crash, "somebody else started it, as a standby");
    stop_unpermitted(core);
}

static void keep_time(struct guard_core *core, const struct guard_permit *permit, bool armed,
                      uint64_t valid_until_ms)
{
    core->kept.known = true;
    core->kept.permit = *permit;
    core->kept.armed = armed;
    core->kept.valid_until_ms = valid_until_ms;
    guard_effect(core, GUARD_DO_KEEP);
}

/* What was legal a moment ago gets one D to have its first renewal accepted. */
static void take_over_primary(struct guard_core *core)
{
    core->counts = true;
    if (core->adopting && !core->kept.known) {
        keep_time(core, &core->permit, false, core->now_ms + core->permit.d_ms);
    }
    core->adopting = false;
    guard_effect(core, GUARD_DO_TAKE_OVER);
    guard_effect(core, GUARD_DO_REST);
    report(core);
}

static void take_over_standby(struct guard_core *core)
{
    core->adopting = false;
    guard_effect(core, GUARD_DO_TAKE_OVER);
    guard_effect(core, GUARD_DO_REST);
    report(core);
}

static void start_primary(struct guard_core *core)
{
    core->counts = true;
    core->applied_known = false;
    guard_effect(core, GUARD_DO_START_PRIMARY);
    report(core);
}

static void start_standby(struct guard_core *core)
{
    struct guard_effect *effect = guard_effect(core, GUARD_DO_START_STANDBY);
    snprintf(effect->upstream, sizeof effect->upstream, "%s", guard_upstream(core));
    snprintf(core->applied, sizeof core->applied, "%s", guard_upstream(core));
    effect->closed = guard_closes(core);
    core->applied_closed = effect->closed;
    core->applied_known = true;
    report(core);
}

static void store_begun(struct guard_core *core)
{
    core->durable.begun = core->permit.epoch;
    core->begun_here = true;
    core->promotion_asked = false;
    save(core);
}

static void forget_begun(struct guard_core *core)
{
    core->durable.begun = (struct epoch){0, 0};
    core->begun_here = false;
    save(core);
}

static void promote(struct guard_core *core)
{
    const struct guard_permit *terms = guard_terms(core);
    core->counts = true;
    core->promote_out = true;
    core->promotion_asked = true;
    guard_effect(core, GUARD_DO_PROMOTE)->act_by_ms =
        core->kept.valid_until_ms - terms->w_ms - terms->k_ms;
    report(core);
}

static void be_primary(struct guard_core *core)
{
    core->counts = true;
    core->promote_out = false;
    if (core->durable.begun.counter != 0) {
        forget_begun(core);
    }
    core->crash[0] = '\0';
    core->applied_known = false;
    if (core->applied_closed) {
        core->told.revision = GUARD_TOLD_NOBODY; /* also where the permit says nothing of it */
    }
    guard_effect(core, GUARD_DO_REST);
    report(core);
}

static void be_standby(struct guard_core *core)
{
    core->crash[0] = '\0';
    report(core);
}

static void wait_and_look(struct guard_core *core)
{
    core->promote_out = false;
    core->promote_again_ms = core->now_ms + GUARD_AGAIN_MS;
}

/*
 * The first renewal under a document may be committed without an answer: what it takes away (a
 * shorter D, other promisers) is obeyed and kept before it is sent, what it gives only from its
 * answer.
 */
static void obey_terms(struct guard_core *core)
{
    struct guard_boot_state *kept = &core->kept;
    if (!kept->known || kept->permit.revision == core->permit.revision) {
        return;
    }
    uint32_t before_ms = kept->permit.d_ms;
    uint64_t until_ms = kept->valid_until_ms;
    struct guard_permit permit = core->permit;
    if (permit.d_ms < before_ms) {
        until_ms -= before_ms - permit.d_ms;
    } else {
        permit.d_ms = before_ms;
    }
    keep_time(core, &permit, kept->armed, until_ms);
}

static void renew(struct guard_core *core)
{
    obey_terms(core);
    struct guard_effect *effect = guard_effect(core, GUARD_DO_RENEW);
    effect->armed = guard_says_armed(core);
    core->said_armed = core->said_armed || effect->armed;
    core->renewal_out = true;
    core->renewal_out_armed = effect->armed;
    core->renewal_out_permit = core->permit;
    core->renewal_sent_ms = core->now_ms;
    if (core->unanswered_ms == 0) {
        core->unanswered_ms = core->now_ms;
    }
}

/* What is accepted counts from before it was sent, under the document that it was compared with. */
static void take_time(struct guard_core *core)
{
    bool first = core->renewed_revision != core->renewal_out_permit.revision;
    core->kept.sync = core->renewal_out_permit.sync;
    uint64_t until_ms = core->event->sent_ms + core->renewal_out_permit.d_ms;
    bool same = core->kept.known && core->kept.permit.revision == core->permit.revision;
    if (same && core->kept.valid_until_ms > until_ms) {
        until_ms = core->kept.valid_until_ms; /* a promise given meanwhile reaches further */
    }
    keep_time(core, &core->renewal_out_permit, core->renewal_out_armed, until_ms);
    core->renewed_revision = core->renewal_out_permit.revision;
    core->renewal_out = false;
    core->unanswered_ms = 0;
    if (first) {
        report(core);
    }
}

static void drop_renewal(struct guard_core *core)
{
    core->renewal_out = false;
}

static void ask_promises(struct guard_core *core)
{
    core->round++;
    core->round_ms = core->now_ms;
    core->round_sent_ms = GUARD_NEVER;
    core->round_revision = core->kept.permit.revision;
    core->promised = 0;
    memcpy(core->asked, core->kept.permit.promisers, sizeof core->asked);
    core->asked_len = core->kept.permit.promisers_len;
    guard_effect(core, GUARD_DO_ASK)->round = core->round;
}

/* Each counts from the sending of its question: the earliest is the one that holds. */
static void prolong(struct guard_core *core)
{
    uint64_t until_ms = core->round_sent_ms + core->kept.permit.d_ms;
    if (until_ms > core->kept.valid_until_ms) {
        struct guard_permit permit = core->kept.permit;
        keep_time(core, &permit, core->kept.armed, until_ms);
    }
}

static void prolong_alone(struct guard_core *core)
{
    struct guard_permit permit = core->kept.permit;
    core->round++;
    core->round_ms = core->now_ms;
    keep_time(core, &permit, core->kept.armed, core->now_ms + permit.d_ms);
}

static void follow(struct guard_core *core, const char *upstream)
{
    struct guard_effect *effect = guard_effect(core, GUARD_DO_FOLLOW);
    snprintf(effect->upstream, sizeof effect->upstream, "%s", upstream);
    effect->closed = guard_closes(core);
    core->follow_out = true;
    core->follow_again_ms = core->now_ms + GUARD_AGAIN_MS;
}

static void cut(struct guard_core *core)
{
    if (core->permit.revision > core->cut_out && !core->permit.granted) {
        core->cut_out = core->permit.revision;
    }
    follow(core, "");
}

static void follow_declared(struct guard_core *core)
{
    follow(core, guard_upstream(core));
}

static void record_cut(struct guard_core *core)
{
    core->durable.cut_for = core->cut_out;
    core->cut_version = core->version + 1; /* of the save that follows */
    save(core);
    report(core);
}

static void enforce(struct guard_core *core)
{
    core->told = core->kept.sync;
    core->proven_life = 0;
    core->sync_out = true;
    core->sync_round++;
    struct guard_effect *effect = guard_effect(core, GUARD_DO_SYNC);
    effect->round = core->sync_round;
    effect->waits = core->kept.waiting_life == core->seen.life;
    report(core);
}

/* So that a guard that returns need not ask for a checkpoint. */
static void keep_waiting(struct guard_core *core, int64_t life)
{
    if (core->kept.waiting_life != life) {
        core->kept.waiting_life = life;
        guard_effect(core, GUARD_DO_KEEP);
    }
}

static void take_proof(struct guard_core *core)
{
    const struct sync_entry_record *target = guard_sync_target(&core->told);
    core->sync_out = false;
    core->proven_life = core->seen.life;
    keep_waiting(core, target != NULL && target->k > 0 ? core->seen.life : 0);
    report(core);
}

static void drop_proof(struct guard_core *core)
{
    bool of_this_round = core->event->round == core->sync_round;
    if (!of_this_round && (core->sync_out || core->event->round != 0)) {
        return; /* the proof under way finds out by itself */
    }
    if (!of_this_round) {
        keep_waiting(core, 0); /* something else was shown */
    }
    core->sync_out = false;
    core->proven_life = 0;
    core->sync_again_ms = core->now_ms + GUARD_PROVE_MS;
    report(core);
}

static void keep_slots(struct guard_core *core)
{
    core->slots_revision = core->declared.revision;
    core->slots_again_ms = core->now_ms + GUARD_SLOTS_MS;
    guard_effect(core, GUARD_DO_SLOTS);
}

/* ---- the table ---- */

#define WHEN(f)  f, #f
#define ACT(f)   f, #f
#define NOW      GUARD_EV_TICK
#define COUNTED  (GUARD_BIT(DUTY_LAUNCHING) | GUARD_BIT(DUTY_PROMOTING) | GUARD_BIT(DUTY_PRIMARY))
#define STANDING (GUARD_BIT(DUTY_STARTING) | GUARD_BIT(DUTY_STANDBY))
#define RUNNING  (COUNTED | STANDING)
#define GUARDED  (GUARD_ANY & ~GUARD_BIT(DUTY_OBSERVING))
#define IN(s)    GUARD_BIT(DUTY_##s)

/* clang-format off */
static const struct guard_rule rules[] = {
  /* id     from               on                    when                                to               act                        why */
  /* what is stored before anything else is done */
  { "R-G1",  IN(OBSERVING),     NOW,                  WHEN(was_guarding),                 DUTY_LOOKING,   ACT(nothing),              "what was once guarded is guarded for ever" },
  { "R-G2",  IN(OBSERVING),     NOW,                  WHEN(a_guard_is_asked_for),         DUTY_LOOKING,   ACT(begin_guarding),       "the first permit for a guard is written: from now on the instance obeys permits" },
  /* ends: they come before everything that begins something */
  { "R-G10", COUNTED,           NOW,                  WHEN(permit_has_ended),             DUTY_STOPPING,  ACT(stop_within_k),        "a revoked permit, or one of another instance or boot, ends a primary" },
  { "R-G11", COUNTED,           NOW,                  WHEN(time_is_over),                 DUTY_STOPPING,  ACT(stop_for_time),        "neither renewed nor promised in time: a lapse is final" },
  { "R-G12", STANDING,          NOW,                  WHEN(a_person_promoted_the_candidate), DUTY_PRIMARY, ACT(be_primary),           "the permit's holder has become a primary by another hand" },
  { "R-G13", STANDING,          NOW,                  WHEN(nobody_permitted_it),          DUTY_STOPPING,  ACT(stop_unpermitted),     "a primary that nobody permitted is stopped" },
  { "R-G14", STANDING,          NOW,                  WHEN(own_permit_was_revoked),       DUTY_STOPPING,  ACT(stop_within_k),        "the holder of a revoked permit stops, whatever it is: the proof is that nothing runs" },
  { "R-G15", STANDING|IN(LOOKING), NOW,               WHEN(is_burnt),                     DUTY_STOPPING,  ACT(stop_unpermitted),     "an instance that may bear a burnt timeline runs as nothing" },
  { "R-G16", STANDING|IN(LOOKING), NOW,               WHEN(may_bear_a_fork),              DUTY_STOPPING,  ACT(stop_unpermitted),     "a promotion of it was begun and did not complete: it follows nobody" },
  { "R-G17", RUNNING,           GUARD_EV_DIED,        WHEN(always),                       DUTY_STOPPING,  ACT(clear_away),           "it ended by itself: what is left of it is killed, and it is reported at once" },
  { "R-G18", IN(STOPPING)|RUNNING|IN(LOOKING), GUARD_EV_GONE, WHEN(always),               DUTY_DOWN,      ACT(rest),                 "no process of it is left: its directory is put to rest" },
  /* what is stored, in every state, also while it stops */
  { "R-G20", GUARDED,           NOW,                  WHEN(epoch_is_new),                 GUARD_STAY,      ACT(store_epoch),          "a higher epoch is stored before it is used" },
  { "R-G21", GUARDED,           NOW,                  WHEN(own_revocation_is_new),        GUARD_STAY,      ACT(spend_epoch),          "a revoked epoch is dropped for ever, and that is stored" },
  { "R-G22", GUARDED,           NOW,                  WHEN(roles_are_new),                GUARD_STAY,      ACT(obey),                 "newer declared roles are stored before they are obeyed; older ones are never obeyed" },
  /* what is there */
  { "R-G30", IN(LOOKING),       NOW,                  WHEN(nothing_runs),                 DUTY_DOWN,      ACT(rest),                 "nothing runs: its directory is put to rest" },
  { "R-G31", IN(LOOKING),       NOW,                  WHEN(runs_as_permitted),            DUTY_PRIMARY,   ACT(take_over_primary),    "a running primary whose permit is valid goes on" },
  { "R-G32", IN(LOOKING),       NOW,                  WHEN(runs_as_standby),              DUTY_STANDBY,   ACT(take_over_standby),    "a running standby is taken over" },
  { "R-G33", IN(LOOKING),       NOW,                  WHEN(runs_unpermitted),             DUTY_STOPPING,  ACT(stop_unpermitted),     "a primary that nobody permitted is stopped" },
  { "R-G34", IN(DOWN),          NOW,                  WHEN(something_runs),               DUTY_LOOKING,   ACT(report),               "somebody else started it" },
  { "R-G35", IN(STARTING),      NOW,                  WHEN(is_up_as_standby),             DUTY_STANDBY,   ACT(be_standby),           "it runs as a standby" },
  { "R-G36", IN(LAUNCHING)|IN(PROMOTING), NOW,        WHEN(is_up_as_primary),             DUTY_PRIMARY,   ACT(be_primary),           "it is a primary, and its directory carries standby.signal again" },
  { "R-G39", IN(LAUNCHING),     NOW,                  WHEN(is_up_as_standby),             DUTY_STOPPING,  ACT(give_way),             "somebody else started it as a standby before it could be started as the primary: it is stopped, and that is said" },
  { "R-G37", IN(PROMOTING),     GUARD_EV_PROMOTED,    WHEN(always),                       DUTY_PRIMARY,   ACT(be_primary),           "it has taken a write" },
  { "R-G38", IN(PROMOTING),     GUARD_EV_UNPROMOTED,  WHEN(always),                       GUARD_STAY,      ACT(wait_and_look),        "unknown is not failed: it counts as a primary until it is proven stopped" },
  /* time */
  { "R-G40", GUARDED,           GUARD_EV_RENEWED,     WHEN(renewal_counts),               GUARD_STAY,      ACT(take_time),            "an accepted renewal counts from before it was sent" },
  { "R-G41", GUARDED,           GUARD_EV_RENEWED,     WHEN(always),                       GUARD_STAY,      ACT(drop_renewal),         "an answer after the end, or for another permit, is not used" },
  { "R-G42", GUARDED,           GUARD_EV_UNRENEWED,   WHEN(always),                       GUARD_STAY,      ACT(drop_renewal),         "no answer is neither yes nor no" },
  { "R-G43", GUARDED,           GUARD_EV_PROMISED,    WHEN(all_have_promised),            GUARD_STAY,      ACT(prolong),              "every promiser has promised: it goes on, counted from the first question" },
  { "R-G44", GUARDED,           NOW,                  WHEN(renewal_is_due),               GUARD_STAY,      ACT(renew),                "the permit is renewed by a write that compares it" },
  { "R-G45", COUNTED,           NOW,                  WHEN(promises_are_due),             GUARD_STAY,      ACT(ask_promises),         "renewals have no answer: the promisers are asked" },
  { "R-G46", COUNTED,           NOW,                  WHEN(nobody_counts_time),           GUARD_STAY,      ACT(prolong_alone),        "renewals have no answer, and no controller may count time against the permit" },
  /* beginnings */
  { "R-G50", IN(DOWN),          NOW,                  WHEN(may_start_as_primary),         DUTY_LAUNCHING, ACT(start_primary),        "a permit of this boot was renewed, its epoch is stored, and the directory continues the recorded history" },
  { "R-G51", IN(DOWN),          NOW,                  WHEN(may_start_as_standby),         DUTY_STARTING,  ACT(start_standby),        "it is declared a standby, and was one or ended at or below the fork" },
  { "R-G52", IN(STANDBY),       NOW,                  WHEN(may_promote),                  DUTY_PROMOTING, ACT(promote),              "the permit names this life of it, and was renewed" },
  { "R-G53", IN(PROMOTING),     NOW,                  WHEN(promotion_may_be_asked_again), GUARD_STAY,      ACT(promote),              "it is still in recovery, in the life that the permit names: asking twice is safe" },
  { "R-G54", IN(STANDBY),       NOW,                  WHEN(promotion_must_be_stored),     GUARD_STAY,      ACT(store_begun),          "that a promotion may begin is stored before the renewal under which it is asked" },
  { "R-G55", IN(DOWN),          NOW,                  WHEN(a_new_copy_lies_there),        GUARD_STAY,      ACT(forget_begun),         "a copy that was never started bears no history of its own" },
  /* a standby's upstream */
  { "R-G60", STANDING|IN(DOWN), GUARD_EV_FOLLOWED,    WHEN(the_cut_is_done),              GUARD_STAY,      ACT(record_cut),           "it has durably stopped receiving: that is stored, then reported" },
  { "R-G61", STANDING|IN(DOWN), NOW,                  WHEN(revocation_of_the_primary_is_new), GUARD_STAY,  ACT(cut),                  "its primary's permit is revoked: it stops receiving from it" },
  { "R-G62", STANDING|IN(DOWN), NOW,                  WHEN(cut_must_be_repeated),         GUARD_STAY,      ACT(cut),                  "the cut has not been proven yet" },
  { "R-G63", IN(STANDBY),       NOW,                  WHEN(upstream_differs),             GUARD_STAY,      ACT(follow_declared),      "it follows the upstream that is declared" },
  /* what commits wait for */
  { "R-G64", IN(PRIMARY),       GUARD_EV_SYNCED,      WHEN(proof_is_of_the_target),       GUARD_STAY,      ACT(take_proof),           "what commits wait for is proven: it is reported for the permit that says it" },
  { "R-G65", IN(PRIMARY),       GUARD_EV_SYNCED,      WHEN(always),                       GUARD_STAY,      ACT(nothing),              "a proof of what was wanted before is not used" },
  { "R-G66", IN(PRIMARY),       GUARD_EV_UNSYNCED,    WHEN(always),                       GUARD_STAY,      ACT(drop_proof),           "unknown is no proof: it is tried again, and nothing is given up meanwhile" },
  { "R-G67", IN(PRIMARY),       NOW,                  WHEN(target_must_be_proven),        GUARD_STAY,      ACT(enforce),              "commits wait for what the permit says, from an accepted renewal on" },
  { "R-G68", IN(PRIMARY)|IN(STANDBY), NOW,                  WHEN(slots_are_due),                GUARD_STAY,      ACT(keep_slots),           "each declared standby has a slot, and nobody else has one of ours" },
};
/* clang-format on */

#define RULES_LEN ((int)(sizeof rules / sizeof rules[0]))

const struct guard_rule *guard_find_rule(const struct guard_core *core, enum guard_event_type on)
{
    for (int i = 0; i < RULES_LEN; i++) {
        const struct guard_rule *rule = &rules[i];
        if ((rule->from & GUARD_BIT(core->state)) != 0 && rule->on == on && rule->when(core) &&
            !rule_is_off(rule->id)) {
            return rule;
        }
    }
    return NULL;
}

int guard_rules_len(void)
{
    return RULES_LEN;
}

struct guard_rule_info guard_rule(int index)
{
    assert(index >= 0 && index < RULES_LEN);
    const struct guard_rule *rule = &rules[index];
    return (struct guard_rule_info){.id = rule->id,
                                    .from = rule->from,
                                    .on = guard_event_names[rule->on],
                                    .when = rule->when_name,
                                    .to = rule->to,
                                    .act = rule->act_name,
                                    .why = rule->why};
}

const char *guard_ignored(enum duty state, enum guard_event_type on)
{
    switch (on) {
    case GUARD_EV_SEEN:
    case GUARD_EV_PERMIT:
    case GUARD_EV_DECLARED:
    case GUARD_EV_WATCHDOG:
    case GUARD_EV_SAVED:
    case GUARD_EV_POLICY: return "it changes what is known; the review that follows looks at it";
    case GUARD_EV_UNFOLLOWED: return "it is tried again after a while";
    case GUARD_EV_UNPROMISED: return "a refusal is a silence, and is noted";
    case GUARD_EV_DIED:
        return (RUNNING & GUARD_BIT(state)) != 0 ? NULL
                                                 : "it is not this guard's, or is being stopped";
    case GUARD_EV_GONE:
        return state == DUTY_OBSERVING || state == DUTY_DOWN ? "nothing runs, or nothing is done"
                                                             : NULL;
    case GUARD_EV_PROMOTED:
    case GUARD_EV_UNPROMOTED: return state == DUTY_PROMOTING ? NULL : "no promotion is under way";
    case GUARD_EV_SYNCED:
    case GUARD_EV_UNSYNCED: return state == DUTY_PRIMARY ? NULL : "it is no primary any more";
    case GUARD_EV_FOLLOWED:
        return state == DUTY_STANDBY || state == DUTY_STARTING || state == DUTY_DOWN
                   ? NULL
                   : "it is no standby any more";
    case GUARD_EV_RENEWED:
    case GUARD_EV_UNRENEWED:
    case GUARD_EV_PROMISED:
        return state == DUTY_OBSERVING ? "nothing is renewed while observing" : NULL;
    default: return NULL;
    }
}
