/*
 * What a guard decides about one instance: the table of rules, truth tables of each permission, and
 * long random lives whose every step is held against an independent account of the rules of time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fence/guard/guard_private.h"

#define D  8000
#define W  2000
#define K  1000
#define T0 100000

static struct guard_core core;
static struct guard_effects effects;
static uint64_t now_ms;

/* ---- one instance, step by step ---- */

static struct guard_event event_of(enum guard_event_type type)
{
    return (struct guard_event){.type = type, .now_ms = now_ms};
}

static void step(struct guard_event event)
{
    event.now_ms = now_ms;
    guard_step(&core, &event, &effects);
}

static void tick(uint64_t forward_ms)
{
    now_ms += forward_ms;
    step(event_of(GUARD_EV_TICK));
}

static const struct guard_effect *did(enum guard_effect_type type)
{
    for (int i = 0; i < effects.len; i++) {
        if (effects.items[i].type == type) {
            return &effects.items[i];
        }
    }
    return NULL;
}

static bool noted(const char *rule)
{
    for (int i = 0; i < effects.len; i++) {
        if (effects.items[i].type == GUARD_DO_NOTE && strcmp(effects.items[i].rule, rule) == 0) {
            return true;
        }
    }
    return false;
}

static struct guard_permit a_permit(int64_t revision, uint64_t counter, const char *node)
{
    struct guard_permit permit = {.known = true,
                                  .revision = revision,
                                  .granted = true,
                                  .epoch = {1, counter},
                                  .system_id = 7,
                                  .timeline = 1,
                                  .d_ms = D,
                                  .w_ms = W,
                                  .k_ms = K,
                                  .sync = {.revision = revision},
                                  .promisers_len = 2};
    snprintf(permit.node, sizeof permit.node, "%s", node);
    snprintf(permit.boot, sizeof permit.boot, "boot-1");
    snprintf(permit.promisers[0], sizeof permit.promisers[0], "ops1");
    snprintf(permit.promisers[1], sizeof permit.promisers[1], "ops2");
    return permit;
}

static void give_permit(struct guard_permit permit)
{
    struct guard_event event = event_of(GUARD_EV_PERMIT);
    event.permit = permit;
    step(event);
}

static void revoke(int64_t revision)
{
    struct guard_permit permit = core.permit;
    permit.granted = false;
    permit.revision = revision;
    give_permit(permit);
}

static void declare(int64_t revision, enum role role, const char *upstream)
{
    struct guard_event event = event_of(GUARD_EV_DECLARED);
    event.declared.revision = revision;
    event.declared.role = role;
    snprintf(event.declared.upstream, sizeof event.declared.upstream, "%s", upstream);
    step(event);
}

static struct guard_seen seen_running(enum role role)
{
    return (struct guard_seen){.process = GUARD_PROCESS_RUNNING,
                               .role = role,
                               .system_id = 7,
                               .timeline = 1,
                               .life = 77,
                               .control = role == ROLE_STANDBY ? GUARD_CONTROL_STANDBY
                                                               : GUARD_CONTROL_PRIMARY_CRASH};
}

static struct guard_seen seen_stopped(enum guard_control control)
{
    return (struct guard_seen){.process = GUARD_PROCESS_NONE,
                               .control = control,
                               .system_id = 7,
                               .checkpoint_lsn = 1000,
                               .checkpoint_timeline = 1};
}

static void see(struct guard_seen seen)
{
    struct guard_event event = event_of(GUARD_EV_SEEN);
    event.seen = seen;
    step(event);
}

static void gone(enum guard_control control)
{
    struct guard_event event = event_of(GUARD_EV_GONE);
    event.seen = seen_stopped(control);
    step(event);
}

static void died(const char *text)
{
    struct guard_event event = event_of(GUARD_EV_DIED);
    snprintf(event.text, sizeof event.text, "%s", text);
    step(event);
}

static void saved(void)
{
    struct guard_event event = event_of(GUARD_EV_SAVED);
    event.version = core.version;
    step(event);
}

static void accept_renewal(uint64_t sent_ms)
{
    struct guard_event event = event_of(GUARD_EV_RENEWED);
    event.sent_ms = sent_ms;
    event.revision = core.renewal_out_permit.revision;
    step(event);
}

static void promise(int promiser, uint64_t sent_ms)
{
    struct guard_event event = event_of(GUARD_EV_PROMISED);
    event.round = core.round;
    event.promiser = promiser;
    event.sent_ms = sent_ms;
    step(event);
}

static void set_policy(struct guard_policy policy)
{
    struct guard_event event = event_of(GUARD_EV_POLICY);
    event.policy = policy;
    step(event);
}

static void begin(struct guard_durable durable, struct guard_boot_state kept)
{
    now_ms = T0;
    guard_init(&core, "db1", "boot-1", &durable, &kept, now_ms);
    effects.len = 0;
}

/* A former primary at rest, guarded, which holds a permit that was not renewed yet. */
static void begin_at_rest(enum guard_control control)
{
    begin((struct guard_durable){.guarding = true}, (struct guard_boot_state){.known = false});
    see(seen_stopped(control));
    assert_int_equal(core.state, DUTY_DOWN);
    give_permit(a_permit(10, 5, "db1"));
    saved();
}

static void begin_as_primary(void)
{
    begin_at_rest(GUARD_CONTROL_PRIMARY_CRASH);
    accept_renewal(now_ms);
    assert_int_equal(core.state, DUTY_LAUNCHING);
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_PRIMARY);
}

/* Seen by the simulator: it was launching for ever. */
static void one_that_another_hand_starts_as_a_standby_is_stopped_and_said(void **state)
{
    (void)state;
    begin_at_rest(GUARD_CONTROL_PRIMARY_CRASH);
    accept_renewal(now_ms);
    assert_int_equal(core.state, DUTY_LAUNCHING);
    see(seen_running(ROLE_UNKNOWN));
    assert_int_equal(core.state, DUTY_LAUNCHING);
    see(seen_running(ROLE_STANDBY));
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(core.counts);
    assert_non_null(strstr(guard_ended(&core), "as a standby"));
    give_permit(a_permit(11, 6, "db1")); /* it may start under that one */
    assert_string_equal(guard_ended(&core), "");
}

static void begin_as_standby(void)
{
    begin((struct guard_durable){.guarding = true}, (struct guard_boot_state){.known = false});
    give_permit(a_permit(10, 5, "db2"));
    declare(10, ROLE_STANDBY, "db2");
    see(seen_running(ROLE_STANDBY));
    saved();
    assert_int_equal(core.state, DUTY_STANDBY);
}

static void followed(const char *upstream)
{
    struct guard_event event = event_of(GUARD_EV_FOLLOWED);
    snprintf(event.upstream, sizeof event.upstream, "%s", upstream);
    step(event);
}

/* ---- the table ---- */

static bool has_row(int state, int on)
{
    for (int i = 0; i < guard_rules_len(); i++) {
        struct guard_rule_info rule = guard_rule(i);
        if ((rule.from & GUARD_BIT(state)) != 0 && strcmp(rule.on, guard_event_names[on]) == 0) {
            return true;
        }
    }
    return false;
}

static void each_state_and_event_has_a_row_or_a_reason_and_never_both(void **unused)
{
    (void)unused;
    for (int state = 0; state < DUTIES; state++) {
        for (int on = 0; on < GUARD_EVENTS; on++) {
            const char *reason = guard_ignored(state, on);
            if (has_row(state, on) == (reason != NULL)) {
                fail_msg("%s on '%s': %s", duty_names[state], guard_event_names[on],
                         reason != NULL ? "a row, and a reason to ignore it"
                                        : "neither a row nor a reason");
            }
        }
    }
}

static void rules_have_ids_of_their_own_and_no_row_is_shadowed(void **unused)
{
    (void)unused;
    for (int late = 0; late < guard_rules_len(); late++) {
        struct guard_rule_info below = guard_rule(late);
        uint64_t left = below.from;
        assert_memory_equal(below.id, "R-G", 3);
        assert_true(strlen(below.why) > 10);
        for (int early = 0; early < late; early++) {
            struct guard_rule_info above = guard_rule(early);
            assert_string_not_equal(above.id, below.id);
            bool same = strcmp(above.on, below.on) == 0;
            if (same &&
                (strcmp(above.when, "always") == 0 || strcmp(above.when, below.when) == 0)) {
                left &= ~above.from;
            }
        }
        assert_true(left != 0);
    }
}

static void every_state_is_reached_and_left(void **unused)
{
    (void)unused;
    for (int state = 0; state < DUTIES; state++) {
        bool reached = state == DUTY_OBSERVING;
        bool left = false;
        for (int i = 0; i < guard_rules_len(); i++) {
            struct guard_rule_info rule = guard_rule(i);
            reached = reached || rule.to == state;
            left =
                left || (rule.to >= 0 && rule.to != state && (rule.from & GUARD_BIT(state)) != 0);
        }
        assert_true(reached);
        assert_true(left);
    }
}

/* ---- truth tables: every combination, held against the rule said once more in plain words ---- */

/* Bits of a combination, taken one after the other. */
static unsigned combination;
static bool bit(void)
{
    bool value = (combination & 1) != 0;
    combination >>= 1;
    return value;
}

static struct guard_core a_core(enum duty state)
{
    struct guard_core c = {.state = state, .now_ms = T0};
    snprintf(c.node, sizeof c.node, "db1");
    snprintf(c.boot, sizeof c.boot, "boot-1");
    c.durable.guarding = true;
    c.durable.epoch = (struct epoch){1, 5};
    return c;
}

static void may_start_as_primary_only_when_all_conditions_hold(void **unused)
{
    (void)unused;
    int yes = 0;
    for (unsigned all = 0; all < 1u << 16; all++) {
        combination = all;
        bool granted = bit(), my_node = bit(), my_boot = bit(), epoch_high = bit(), spent = bit();
        bool renewed = bit(), time = bit(), is_stored = bit(), tried = bit(), burnt = bit();
        bool down = bit(), was_primary = bit(), timeline = bit(), system = bit(), known = bit();
        bool crashed = bit();
        struct guard_core c = a_core(DUTY_DOWN);
        c.permit = a_permit(10, epoch_high ? 5 : 4, my_node ? "db1" : "db2");
        c.permit.known = known;
        c.permit.granted = granted;
        c.permit.timeline = timeline ? 1 : 2;
        c.permit.system_id = system ? 7 : 8;
        snprintf(c.permit.boot, sizeof c.permit.boot, "%s", my_boot ? "boot-1" : "boot-0");
        c.durable.spent = (struct epoch){1, spent ? 5 : 3};
        c.durable.burnt = burnt;
        c.durable.declared_down = down;
        c.renewed_revision = renewed ? 10 : 9;
        c.kept = (struct guard_boot_state){
            .known = true, .permit = c.permit, .valid_until_ms = T0 + W + K + (time ? 1 : 0)};
        c.version = 4;
        c.saved_version = is_stored ? 4 : 3;
        c.policy.watchdog_configured = true;
        c.watchdog_tried = tried;
        c.seen = seen_stopped(was_primary ? GUARD_CONTROL_PRIMARY_CLEAN : GUARD_CONTROL_STANDBY);
        if (crashed) {
            snprintf(c.crash, sizeof c.crash, "signal 9");
            c.crash_epoch = c.permit.epoch;
        }
        bool expected = known && granted && my_node && my_boot && epoch_high && !spent && renewed &&
                        time && is_stored && tried && !burnt && !down && was_primary && timeline &&
                        system && !crashed;
        assert_int_equal(guard_may_start_primary(&c), expected);
        yes += expected ? 1 : 0;
        c.state = DUTY_STOPPING;
        assert_false(guard_may_start_primary(&c));
    }
    assert_int_equal(yes, 1);
}

static void may_promote_only_the_life_that_the_permit_names(void **unused)
{
    (void)unused;
    for (unsigned all = 0; all < 1u << 14; all++) {
        combination = all;
        bool granted = bit(), my_node = bit(), my_boot = bit(), spent = bit(), renewed = bit();
        bool time = bit(), is_stored = bit(), tried = bit(), burnt = bit(), named = bit();
        bool same_life = bit(), in_recovery = bit(), system = bit(), begun = bit();
        struct guard_core c = a_core(DUTY_STANDBY);
        c.durable.begun = (struct epoch){1, begun ? 5 : 4};
        c.permit = a_permit(10, 5, my_node ? "db1" : "db2");
        c.permit.granted = granted;
        c.permit.life = !named ? 0 : same_life ? 77 : 76;
        c.permit.system_id = system ? 7 : 8;
        snprintf(c.permit.boot, sizeof c.permit.boot, "%s", my_boot ? "boot-1" : "");
        c.durable.spent = (struct epoch){1, spent ? 5 : 0};
        c.durable.burnt = burnt;
        c.renewed_revision = renewed ? 10 : 0;
        c.kept = (struct guard_boot_state){
            .known = true, .permit = c.permit, .valid_until_ms = T0 + (time ? D : W + K)};
        c.version = 4;
        c.saved_version = is_stored ? 4 : 3;
        c.policy.watchdog_configured = true;
        c.watchdog_tried = tried;
        c.seen = seen_running(in_recovery ? ROLE_STANDBY : ROLE_UNKNOWN);
        bool expected = granted && my_node && my_boot && !spent && renewed && time && is_stored &&
                        tried && !burnt && (!named || same_life) && in_recovery && system && begun;
        assert_int_equal(guard_may_promote(&c), expected);
    }
}

static void must_stop_and_may_be_primary_are_never_both_true(void **unused)
{
    (void)unused;
    for (unsigned all = 0; all < 1u << 10; all++) {
        combination = all;
        bool granted = bit(), my_node = bit(), my_boot = bit(), spent = bit(), known = bit();
        bool time = bit(), counts = bit(), guarding = bit(), goes_on = bit(), armed = bit();
        struct guard_core c = a_core(DUTY_PRIMARY);
        c.permit = a_permit(10, 5, my_node ? "db1" : "db2");
        c.permit.known = known;
        c.permit.granted = granted;
        snprintf(c.permit.boot, sizeof c.permit.boot, "%s", my_boot ? "boot-1" : "boot-0");
        c.durable.spent = (struct epoch){1, spent ? 5 : 0};
        c.durable.guarding = guarding;
        c.counts = counts;
        c.kept = (struct guard_boot_state){.known = true,
                                           .permit = a_permit(10, 5, "db1"),
                                           .armed = armed,
                                           .valid_until_ms = T0 + (time ? D : W + K)};
        c.policy.when_blind_continue = goes_on;
        c.unanswered_ms = T0 - D;
        bool holds = known && granted && my_node && my_boot && !spent;
        bool in_time = time || (goes_on && !armed && holds);
        assert_int_equal(guard_may_be_primary(&c), counts && holds && in_time);
        assert_int_equal(guard_must_stop(&c),
                         guarding && counts && ((known && !holds) || !in_time));
        assert_int_equal(guard_may_extend(&c), counts && holds && in_time);
        assert_false(guard_must_stop(&c) && guard_may_be_primary(&c));
    }
}

static void a_standby_starts_only_where_its_wal_cannot_lie_past_the_fork(void **unused)
{
    (void)unused;
    for (unsigned all = 0; all < 1u << 8; all++) {
        combination = all;
        bool declared = bit(), burnt = bit(), down = bit(), is_stored = bit(), revoked = bit();
        bool fork_known = bit(), below = bit(), clean = bit();
        for (int control = 0; control <= GUARD_CONTROL_PRIMARY_CRASH; control++) {
            struct guard_core c = a_core(DUTY_DOWN);
            c.permit = a_permit(10, 5, revoked ? "db1" : "db2");
            c.permit.granted = !revoked;
            c.durable.declared = declared ? ROLE_STANDBY : ROLE_UNKNOWN;
            c.durable.burnt = burnt;
            c.durable.declared_down = down;
            c.version = 4;
            c.saved_version = is_stored ? 4 : 3;
            c.seen = seen_stopped((enum guard_control)control);
            c.seen.checkpoint_lsn = below ? 999 : 1000; /* where the checkpoint begins */
            c.declared.fork_lsn = fork_known ? 1000 : 0;
            bool former_is_safe = control == GUARD_CONTROL_PRIMARY_CLEAN && fork_known && below;
            bool expected = declared && !burnt && !down && is_stored && !revoked &&
                            (control == GUARD_CONTROL_STANDBY || former_is_safe);
            assert_int_equal(guard_may_start_standby(&c), expected);
            assert_int_equal(guard_held(&c)[0] == '\0', expected);
        }
        (void)clean;
    }
}

static void the_watchdog_is_fed_only_while_every_primary_is_in_its_time(void **unused)
{
    (void)unused;
    for (unsigned all = 0; all < 1u << 8; all++) {
        combination = all;
        struct guard_core cores[2];
        bool feed = true;
        bool begins = false;
        bool is_armed = false;
        for (int i = 0; i < 2; i++) {
            bool counts = bit(), in_time = bit(), before_w = bit(), armed = bit();
            cores[i] = a_core(counts ? DUTY_PRIMARY : DUTY_DOWN);
            cores[i].permit = a_permit(10, 5, "db1");
            cores[i].permit.granted = counts;
            cores[i].counts = counts;
            cores[i].watchdog_armed = armed;
            uint64_t left_ms = in_time ? D : before_w ? W + 1 : W;
            cores[i].kept = (struct guard_boot_state){
                .known = true, .permit = cores[i].permit, .valid_until_ms = T0 + left_ms};
            feed = feed && (!counts || in_time || before_w);
            begins = begins || (counts && in_time);
            is_armed = is_armed || (counts && armed);
        }
        struct guard_watchdog_wish wish = guard_watchdog(cores, 2, T0);
        assert_int_equal(wish.feed, feed);
        assert_int_equal(wish.armed, begins || is_armed);
        assert_int_equal(wish.period_ms, wish.armed ? W : 0);
    }
}

/* ---- any state at all, however it came about: each permission is what its sentence says ---- */

static uint64_t picks;
static unsigned pick(unsigned below)
{
    picks = picks * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(picks >> 33) % below;
}

static struct guard_core any_core(void)
{
    static const char *const boots[] = {"boot-1", "boot-1", "boot-0", ""};
    static const char *const nodes[] = {"db1", "db1", "db2", ""};
    static const uint32_t lefts_ms[] = {0, W, W + 1, W + K, W + K + 1, D, D, D};
    static const enum duty duties[] = {DUTY_DOWN, DUTY_STANDBY, DUTY_PRIMARY};
    struct guard_core c = a_core(pick(4) == 0 ? (enum duty)pick(DUTIES) : duties[pick(3)]);
    snprintf(c.boot, sizeof c.boot, "%s", pick(8) == 0 ? "" : "boot-1");
    c.permit = a_permit(9 + pick(3), 5 + pick(2), nodes[pick(3)]);
    snprintf(c.permit.boot, sizeof c.permit.boot, "%s", boots[pick(4)]);
    c.permit.known = pick(8) != 0;
    c.permit.granted = pick(3) != 0;
    c.permit.timeline = pick(4) == 0 ? 0 : 1;
    c.permit.life = pick(2) == 0 ? 0 : 76 + pick(2);
    c.permit.d_ms = pick(4) == 0 ? 1000 : D;
    c.durable = (struct guard_durable){.guarding = pick(8) != 0,
                                       .epoch = {1, 4 + pick(2)},
                                       .spent = {1, 3 + pick(2)},
                                       .begun = {pick(2), pick(3) == 0 ? 0 : 4 + pick(3)},
                                       .obeyed_revision = 8 + pick(5),
                                       .cut_for = pick(2) == 0 ? 0 : 8 + pick(4),
                                       .declared = (enum role)pick(3),
                                       .declared_down = pick(8) == 0,
                                       .burnt = pick(8) == 0};
    c.durable.begun.counter *= c.durable.begun.incarnation;
    snprintf(c.durable.upstream, sizeof c.durable.upstream, "%s", nodes[1 + pick(3)]);
    c.cut_out = pick(2) == 0 ? 0 : 8 + pick(4);
    c.kept = (struct guard_boot_state){.known = pick(8) != 0,
                                       .permit = c.permit,
                                       .armed = pick(2) == 0,
                                       .valid_until_ms = T0 + lefts_ms[pick(8)]};
    c.kept.permit.d_ms = pick(8) == 0 ? W : D;
    c.kept.sync = (struct guard_sync){.revision = 9, .len = (int)pick(2)};
    c.told = (struct guard_sync){.revision = 9, .len = (int)pick(2)};
    c.told.entries[0].k = (int)pick(2);
    c.counts = pick(2) == 0;
    c.renewed_revision = pick(8) == 0 ? 0 : c.permit.revision + (pick(4) == 0 ? 1 : 0);
    c.version = 4;
    c.saved_version = 3 + pick(2);
    c.spent_version = 3 + pick(2);
    c.cut_version = 3 + pick(2);
    c.policy = (struct guard_policy){.restart = pick(2) == 0,
                                     .restart_deadline_ms = 5000,
                                     .when_blind_continue = pick(2) == 0,
                                     .watchdog_configured = pick(2) == 0};
    c.watchdog_tried = pick(2) == 0;
    c.watchdog_armed = pick(2) == 0;
    c.watchdog_period_ms = pick(3) == 0 ? 1000 : W;
    c.said_armed = pick(4) == 0;
    c.unanswered_ms = pick(2) == 0 ? 0 : T0 - D * pick(2);
    c.seen =
        pick(2) == 0 ? seen_running((enum role)pick(3)) : seen_stopped((enum guard_control)pick(4));
    c.seen.life = pick(4) == 0 ? 0 : 76 + pick(2);
    c.seen.system_id = pick(8) == 0 ? 8 : 7;
    c.seen.checkpoint_lsn = pick(8) == 0 ? 0 : 999 + pick(3);
    c.declared.fork_lsn = pick(4) == 0 ? 0 : 1000;
    c.proven_life = pick(2) == 0 ? 0 : 76 + pick(2);
    c.begun_here = pick(2) == 0;
    c.promotion_asked = pick(2) == 0;
    if (pick(3) == 0) {
        snprintf(c.crash, sizeof c.crash, "signal 9");
        c.crash_epoch = (struct epoch){1, 4 + pick(3)};
        c.crash_ms = T0 - 1000 * pick(8);
        c.crashes = (int)pick(6);
    }
    return c;
}

static bool is_of_this_boot(const struct guard_core *c)
{
    return c->permit.known && c->permit.granted && strcmp(c->permit.node, "db1") == 0 &&
           c->boot[0] != '\0' && strcmp(c->permit.boot, c->boot) == 0 &&
           c->permit.epoch.counter >= c->durable.epoch.counter &&
           c->permit.epoch.counter > c->durable.spent.counter;
}

static void what_a_guard_may_is_what_its_sentences_say_in_any_state(void **unused)
{
    (void)unused;
    int may_start = 0, may_promote = 0, must_stop = 0;
    picks = 1;
    for (int i = 0; i < 200000; i++) {
        struct guard_core c = any_core();
        bool holds = is_of_this_boot(&c);
        bool is_stored = c.saved_version == 4;
        bool settled = !c.policy.watchdog_configured || c.watchdog_tried;
        bool says_armed =
            c.watchdog_armed && c.watchdog_period_ms == W && !c.policy.when_blind_continue;
        bool in_time = c.kept.known && T0 + W + K < c.kept.valid_until_ms;
        uint32_t d_ms = c.kept.known ? c.kept.permit.d_ms : c.permit.d_ms;
        uint32_t patience_ms = d_ms > W ? (d_ms - W) / 4 : 0;
        bool blind = c.unanswered_ms != 0 && T0 >= c.unanswered_ms + patience_ms;
        bool goes_on =
            c.policy.when_blind_continue && c.kept.known && !c.kept.armed && holds && blind;
        assert_int_equal(guard_holds(&c), holds);
        assert_int_equal(guard_says_armed(&c), says_armed);
        assert_int_equal(guard_is_blind(&c), blind);
        assert_int_equal(guard_time_is_over(&c), c.counts && !in_time && !goes_on);
        assert_int_equal(guard_may_be_primary(&c), c.counts && holds && (in_time || goes_on));
        bool stop = c.durable.guarding && c.counts &&
                    ((c.permit.known && !holds) || (!in_time && !goes_on));
        assert_int_equal(guard_must_stop(&c), stop);
        bool renewed = holds && c.renewed_revision != 0 &&
                       c.renewed_revision == c.permit.revision && in_time && is_stored && settled &&
                       (!c.said_armed || says_armed);
        assert_int_equal(guard_was_renewed(&c), renewed);

        bool former = c.seen.control == GUARD_CONTROL_PRIMARY_CLEAN ||
                      c.seen.control == GUARD_CONTROL_PRIMARY_CRASH;
        bool held_down =
            c.durable.burnt || c.durable.declared_down || c.seen.control == GUARD_CONTROL_UNKNOWN;
        bool continues = c.permit.timeline != 0 &&
                         c.seen.checkpoint_timeline == c.permit.timeline && c.seen.system_id == 7;
        bool crashed = c.crash[0] != '\0' && c.crash_epoch.counter == c.permit.epoch.counter &&
                       (!c.policy.restart || c.crashes >= GUARD_CRASHES ||
                        T0 >= c.crash_ms + c.policy.restart_deadline_ms);
        bool could_start =
            c.state == DUTY_DOWN && holds && !held_down && former && continues && !crashed;
        bool could_promote = c.state == DUTY_STANDBY && holds && !c.durable.burnt &&
                             c.seen.role == ROLE_STANDBY && c.seen.system_id == 7 &&
                             c.seen.life != 0 &&
                             (c.permit.life == 0 || c.permit.life == c.seen.life);
        bool begun =
            c.durable.begun.incarnation == 1 && c.durable.begun.counter == c.permit.epoch.counter;
        assert_int_equal(guard_may_start_primary(&c), could_start && renewed);
        assert_int_equal(guard_may_promote(&c), could_promote && begun && renewed);
        assert_int_equal(guard_promotion_must_be_stored(&c), could_promote && !begun);
        assert_int_equal(guard_wants_permit(&c), holds && c.state != DUTY_OBSERVING &&
                                                     c.state != DUTY_STOPPING &&
                                                     (c.counts || could_start || could_promote));
        may_start += could_start && renewed ? 1 : 0;
        may_promote += could_promote && begun && renewed ? 1 : 0;
        must_stop += stop ? 1 : 0;

        bool fork = c.durable.begun.counter != 0 && !(c.begun_here && !c.promotion_asked);
        bool below = c.seen.control == GUARD_CONTROL_PRIMARY_CLEAN && c.declared.fork_lsn != 0 &&
                     c.seen.checkpoint_lsn != 0 && c.seen.checkpoint_lsn < c.declared.fork_lsn;
        bool revoked = c.permit.known && strcmp(c.permit.node, "db1") == 0 && !c.permit.granted;
        bool rests = c.crash[0] != '\0' && T0 < c.crash_ms + GUARD_LOOK_MS;
        bool standby = c.state == DUTY_DOWN && c.durable.declared == ROLE_STANDBY && !held_down &&
                       is_stored && !could_start && !fork && !revoked && !rests &&
                       (c.seen.control == GUARD_CONTROL_STANDBY || (former && below));
        assert_int_equal(guard_may_start_standby(&c), standby);
        assert_int_equal(guard_held(&c)[0] == '\0', c.state != DUTY_DOWN || could_start || standby);
        assert_int_equal(guard_asks_start(&c), c.durable.guarding && c.state == DUTY_DOWN &&
                                                   former && !held_down && !could_start);
        bool dropped = c.durable.spent.counter >= c.permit.epoch.counter;
        bool proves = c.state == DUTY_DOWN && revoked && dropped;
        proves = proves && c.saved_version >= c.spent_version;
        assert_int_equal(guard_stopped_for(&c), proves ? c.permit.revision : 0);
    }
    if (may_start == 0 || may_promote == 0 || must_stop == 0) { /* each was tried */
        fail_msg("%d times it may start, %d promote, and %d it must stop", may_start, may_promote,
                 must_stop);
    }
}

static void what_a_standby_follows_and_a_primary_enforces_is_what_is_recorded(void **unused)
{
    (void)unused;
    int cuts = 0, enforced = 0;
    picks = 2;
    for (int i = 0; i < 100000; i++) {
        struct guard_core c = any_core();
        int64_t since = c.cut_out > c.durable.cut_for ? c.cut_out : c.durable.cut_for;
        bool cut = since != 0 && !(c.permit.known && c.permit.granted &&
                                   c.permit.revision > since && c.durable.obeyed_revision > since &&
                                   strcmp(c.durable.upstream, c.permit.node) == 0);
        bool itself = strcmp(c.durable.upstream, "db1") == 0;
        const char *upstream = cut || itself ? "" : c.durable.upstream;
        assert_string_equal(guard_upstream(&c), upstream);
        bool stored = c.saved_version >= c.cut_version;
        assert_int_equal(guard_cut_for(&c), stored && upstream[0] == '\0' ? c.durable.cut_for : 0);
        cuts += cut ? 1 : 0;
        bool same = c.kept.sync.len == c.told.len && (c.told.len == 0 || c.told.entries[0].k == 0);
        bool up = c.proven_life != 0 && c.proven_life == c.seen.life;
        bool proven = c.state == DUTY_PRIMARY && c.kept.known && c.kept.sync.len > 0 && up && same;
        assert_int_equal(guard_sync_for(&c), proven ? 9 : 0);
        enforced += proven ? 1 : 0;
        struct guard_watchdog_wish wish = guard_watchdog(&c, 1, T0);
        bool counts = c.durable.guarding && c.counts;
        bool blind = guard_may_be_primary(&c) && !guard_has_time(&c);
        uint64_t end_ms = c.kept.known && c.kept.valid_until_ms > W ? c.kept.valid_until_ms - W : 0;
        assert_true(wish.feed_until_ms == (counts && !blind ? end_ms : GUARD_NEVER));
    }
    assert_true(cuts > 100 && enforced > 10);
}

/* A state that its own invariants allow, with what its drivers still owe it. */
static void any_whole_core(struct guard_core *c)
{
    *c = any_core();
    bool primary =
        c->state == DUTY_LAUNCHING || c->state == DUTY_PROMOTING || c->state == DUTY_PRIMARY;
    c->state = !c->durable.guarding         ? DUTY_OBSERVING
               : c->state == DUTY_OBSERVING ? DUTY_LOOKING
                                            : c->state;
    c->counts = c->durable.guarding && (primary || (c->counts && c->state != DUTY_DOWN));
    if (c->state == DUTY_DOWN) {
        c->seen = seen_stopped((enum guard_control)pick(4));
    }
    c->cut_out = c->durable.cut_for <= c->permit.revision ? c->cut_out : 0;
    c->seen.copied = pick(2) == 0;
    c->seen.receiving = pick(2) == 0;
    c->adopting = pick(4) == 0;
    c->follow_out = pick(3) == 0;
    c->follow_again_ms = T0 - 1 + pick(3);
    c->promote_out = pick(2) == 0;
    c->promote_again_ms = T0 - 1 + pick(3);
    c->renewal_out = pick(2) == 0;
    c->renewal_out_permit = c->permit;
    c->renewal_out_permit.revision -= pick(2);
    c->renewal_sent_ms = pick(3) == 0 ? 0 : T0 - D / 4 * pick(2);
    c->kept.permit.promisers_len = (int)pick(2) * 2;
    c->round = pick(3);
    c->round_ms = T0 - D * pick(2);
    c->round_revision = c->kept.permit.revision - pick(2);
    c->asked_len = (int)pick(3);
    c->promised = pick(4);
    c->applied_known = pick(2) == 0;
    c->applied_closed = pick(2) == 0;
    snprintf(c->applied, sizeof c->applied, "%s", pick(2) == 0 ? "db2" : "");
    c->sync_out = pick(2) == 0;
    c->sync_again_ms = T0 - 1 + pick(3);
    c->declared.revision = pick(4) == 0 ? 0 : 8 + pick(4);
    c->declared.role = (enum role)pick(3);
    c->declared.down = pick(8) == 0;
    c->declared.burnt = pick(8) == 0;
    c->obeyed_saved = 8 + pick(4);
    c->slots_revision = 8 + pick(4);
    c->slots_again_ms = T0 - 1 + pick(3);
    c->state_since_ms = T0 - GUARD_LOOK_MS * pick(2);
}

static struct guard_event any_event(void)
{
    struct guard_event event = event_of((enum guard_event_type)pick(GUARD_EVENTS));
    struct guard_core other = any_core();
    event.permit = other.permit;
    event.permit.revision = core.permit.revision + pick(3); /* a store's revisions only grow */
    event.declared = core.declared;
    event.declared.revision = 8 + pick(6);
    event.seen =
        event.type == GUARD_EV_GONE ? seen_stopped((enum guard_control)pick(4)) : other.seen;
    event.sent_ms = T0 - D * pick(2);
    event.revision = 9 + pick(3);
    event.version = core.version - pick(2);
    event.round = event.type == GUARD_EV_SYNCED ? core.sync_round + pick(2) : pick(3);
    event.promiser = (int)pick(4) - 1;
    event.armed = pick(2) == 0;
    event.period_ms = pick(2) == 0 ? W : 1000;
    event.policy = other.policy;
    event.closed = pick(2) == 0;
    snprintf(event.upstream, sizeof event.upstream, "%s", pick(2) == 0 ? "db2" : "");
    snprintf(event.text, sizeof event.text, "%s", pick(2) == 0 ? "signal 9" : "");
    return event;
}

static void whatever_happens_in_whatever_state_nothing_is_done_without_its_permission(void **unused)
{
    (void)unused;
    int started = 0, promoted = 0, stopped = 0, renewed = 0;
    picks = 3;
    now_ms = T0;
    for (int i = 0; i < 150000; i++) {
        any_whole_core(&core);
        step(event_of(GUARD_EV_TICK)); /* what was due is done before the next event */
        struct guard_event event = any_event();
        guard_step(&core, &event, &effects);
        if (did(GUARD_DO_START_PRIMARY) != NULL) {
            /* With terms that leave no time it is stopped at once. */
            assert_true((is_of_this_boot(&core) && core.state == DUTY_LAUNCHING) ||
                        core.state == DUTY_STOPPING);
            assert_true(core.counts);
            assert_true(core.seen.process == GUARD_PROCESS_NONE && !core.durable.burnt);
            started++;
        }
        if (did(GUARD_DO_PROMOTE) != NULL) {
            assert_true((is_of_this_boot(&core) && core.state == DUTY_PROMOTING) ||
                        core.state == DUTY_STOPPING);
            assert_true(core.counts);
            assert_int_equal(core.durable.begun.counter, core.permit.epoch.counter);
            promoted++;
        }
        if (did(GUARD_DO_START_STANDBY) != NULL) {
            assert_true(core.durable.declared == ROLE_STANDBY && !core.counts);
        }
        if (did(GUARD_DO_RENEW) != NULL) {
            /* Under the new document's terms its time may be over at once. */
            assert_true((guard_holds(&core) && core.renewal_out) || core.state == DUTY_STOPPING);
            renewed++;
        }
        if (did(GUARD_DO_STOP) != NULL) {
            assert_true(core.durable.guarding);
            stopped++;
        }
        bool primary = core.state == DUTY_LAUNCHING || core.state == DUTY_PROMOTING ||
                       core.state == DUTY_PRIMARY;
        assert_false(primary && guard_must_stop(&core));
        assert_true(guard_deadline_ms(&core) > T0);
    }
    if (started == 0 || promoted == 0 || stopped == 0 || renewed == 0) {
        fail_msg("%d starts, %d promotions, %d stops, %d renewals", started, promoted, stopped,
                 renewed);
    }
}

/* ---- stories ---- */

static void before_the_first_permit_nothing_is_done(void **unused)
{
    (void)unused;
    begin((struct guard_durable){.guarding = false}, (struct guard_boot_state){.known = false});
    see(seen_running(ROLE_PRIMARY));
    struct guard_permit unguarded = a_permit(3, 1, "db1");
    unguarded.boot[0] = '\0';
    give_permit(unguarded);
    declare(4, ROLE_STANDBY, "db2");
    tick(10 * D);
    assert_int_equal(core.state, DUTY_OBSERVING);
    assert_false(core.counts);
    assert_null(did(GUARD_DO_STOP));
    assert_true(guard_deadline_ms(&core) == GUARD_NEVER);
}

static void an_adopted_primary_goes_on_and_has_one_d_for_its_first_renewal(void **unused)
{
    (void)unused;
    begin((struct guard_durable){.guarding = false}, (struct guard_boot_state){.known = false});
    see(seen_running(ROLE_PRIMARY));
    give_permit(a_permit(3, 1, "db1"));
    assert_true(noted("R-G2"));
    assert_true(noted("R-G31"));
    assert_non_null(did(GUARD_DO_TAKE_OVER));
    assert_null(did(GUARD_DO_STOP));
    assert_null(did(GUARD_DO_RENEW)); /* its epoch is not stored yet */
    saved();
    assert_non_null(did(GUARD_DO_RENEW));
    now_ms += D - W - K - 1;
    tick(0);
    assert_int_equal(core.state, DUTY_PRIMARY);
    tick(1);
    assert_int_equal(core.state, DUTY_STOPPING);
}

static void g6_after_a_reboot_nothing_starts_under_the_old_permit(void **unused)
{
    (void)unused;
    struct guard_permit old = a_permit(10, 5, "db1");
    snprintf(old.boot, sizeof old.boot, "boot-0");
    begin((struct guard_durable){.guarding = true, .epoch = {1, 5}},
          (struct guard_boot_state){.known = false});
    see(seen_stopped(GUARD_CONTROL_PRIMARY_CRASH));
    give_permit(old);
    tick(10 * D);
    assert_int_equal(core.state, DUTY_DOWN);
    assert_true(guard_asks_start(&core));
    assert_non_null(strstr(guard_held(&core), "no permit is granted to this boot"));
    give_permit(a_permit(20, 6, "db1"));
    assert_null(did(GUARD_DO_RENEW));
    saved();
    assert_non_null(did(GUARD_DO_RENEW));
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_START_PRIMARY));
}

static void g6_a_primary_that_was_started_at_boot_by_another_hand_is_stopped(void **unused)
{
    (void)unused;
    struct guard_permit old = a_permit(10, 5, "db1");
    snprintf(old.boot, sizeof old.boot, "boot-0");
    begin((struct guard_durable){.guarding = true, .epoch = {1, 5}},
          (struct guard_boot_state){.known = false});
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_LOOKING); /* etcd may still say that it is permitted */
    give_permit(old);
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(noted("R-G33"));
}

static void i9_a_standby_promoted_by_hand_is_stopped(void **unused)
{
    (void)unused;
    begin_as_standby();
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(noted("R-G13"));
    assert_non_null(did(GUARD_DO_STOP));
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    assert_non_null(did(GUARD_DO_REST));
    assert_null(did(GUARD_DO_START_STANDBY)); /* its WAL has left the recorded history */
}

static void a_revocation_ends_a_primary_within_k_and_is_reported_when_nothing_is_left(void **unused)
{
    (void)unused;
    begin_as_primary();
    revoke(11);
    assert_true(noted("R-G10"));
    uint64_t kill_at_ms = did(GUARD_DO_STOP)->kill_at_ms;
    assert_true(kill_at_ms > now_ms && kill_at_ms < now_ms + K);
    assert_int_equal(guard_stopped_for(&core), 0);
    gone(GUARD_CONTROL_PRIMARY_CLEAN);
    assert_int_equal(guard_stopped_for(&core), 0); /* the dropped epoch is not on disk yet */
    saved();
    assert_int_equal(guard_stopped_for(&core), 11);
    assert_non_null(did(GUARD_DO_REPORT));
    give_permit(a_permit(12, 5, "db1")); /* the revoked epoch once more */
    tick(1);
    assert_null(did(GUARD_DO_RENEW));
    assert_int_equal(core.state, DUTY_DOWN);
}

static void a_lapse_is_final(void **unused)
{
    (void)unused;
    begin_as_primary();
    uint64_t until_ms = core.kept.valid_until_ms;
    tick(1000);
    assert_non_null(did(GUARD_DO_RENEW));
    uint64_t sent_ms = now_ms;
    now_ms = until_ms - W - K - 1;
    tick(0);
    assert_int_equal(core.state, DUTY_PRIMARY);
    tick(1);
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(noted("R-G11"));
    assert_true(did(GUARD_DO_STOP)->kill_at_ms < until_ms - W);
    accept_renewal(sent_ms);
    assert_true(noted("R-G41"));
    assert_true(core.kept.valid_until_ms == until_ms);
    gone(GUARD_CONTROL_PRIMARY_CLEAN);
    saved();
    tick(5000);
    assert_null(did(GUARD_DO_RENEW));
    assert_true(guard_asks_start(&core));
}

static void a_guard_that_slept_past_its_time_kills_at_once(void **unused)
{
    (void)unused;
    begin_as_primary();
    now_ms = core.kept.valid_until_ms + 60000;
    tick(0);
    assert_true(did(GUARD_DO_STOP)->kill_at_ms <= now_ms);
    assert_false(guard_watchdog(&core, 1, now_ms).feed);
}

/* A process that no signal ends: nothing steps the core any more, and the watchdog must not be fed
 * by the time of its last step (B6, G12). */
static void what_is_left_of_one_that_ended_by_itself_does_not_outlive_its_time(void **unused)
{
    (void)unused;
    begin_as_primary();
    died("ended by itself");
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(guard_watchdog(&core, 1, core.kept.valid_until_ms - W - 1).feed);
    assert_false(guard_watchdog(&core, 1, core.kept.valid_until_ms - W).feed);
}

static void a_slow_etcd_alone_never_stops_a_primary(void **unused)
{
    (void)unused;
    begin_as_primary();
    tick(1000);
    assert_non_null(did(GUARD_DO_RENEW));
    for (int minute = 0; minute < 600; minute++) {
        tick(100);
        if (did(GUARD_DO_ASK) != NULL) {
            promise(0, now_ms);
            promise(1, now_ms + 5);
        }
        assert_int_equal(core.state, DUTY_PRIMARY);
        assert_true(guard_watchdog(&core, 1, now_ms).feed);
    }
    accept_renewal(now_ms);
    tick(1000);
    assert_null(did(GUARD_DO_ASK));
}

static void one_silent_promiser_of_two_stops_it_in_time(void **unused)
{
    (void)unused;
    begin_as_primary();
    uint64_t until_ms = core.kept.valid_until_ms;
    bool asked = false;
    for (int i = 0; i < 200 && core.state == DUTY_PRIMARY; i++) {
        tick(50);
        if (did(GUARD_DO_ASK) != NULL) {
            asked = true;
            promise(0, now_ms);
            promise(0, now_ms);
        }
    }
    assert_true(asked);
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(now_ms <= until_ms - W - K + 50);
}

static void promises_of_an_earlier_round_do_not_add_up(void **unused)
{
    (void)unused;
    begin_as_primary();
    while (core.round == 0) {
        tick(50);
    }
    uint64_t until_ms = core.kept.valid_until_ms;
    promise(0, now_ms);
    uint32_t first = core.round;
    while (core.round == first) {
        tick(50);
    }
    struct guard_event late = event_of(GUARD_EV_PROMISED);
    late.round = first;
    late.promiser = 1;
    late.sent_ms = now_ms;
    step(late);
    promise(1, now_ms);
    assert_true(core.kept.valid_until_ms == until_ms);
    promise(0, now_ms - 40);
    assert_true(core.kept.valid_until_ms == now_ms - 40 + D);
}

static void the_promisers_are_those_of_the_document_last_sent_under(void **unused)
{
    (void)unused;
    begin_as_primary();
    struct guard_permit other = a_permit(11, 5, "db1");
    other.promisers_len = 3;
    snprintf(other.promisers[2], sizeof other.promisers[2], "ops3");
    give_permit(other);
    assert_non_null(did(GUARD_DO_RENEW)); /* it may be committed, and its answer lost */
    while (core.round == 0) {
        tick(100);
    }
    assert_int_equal(core.asked_len, 3);
    other.revision = 12;
    other.promisers_len = 1;
    give_permit(other);
    step(event_of(GUARD_EV_UNRENEWED));
    uint64_t until_ms = core.kept.valid_until_ms;
    for (int i = 0; i < 3; i++) {
        promise(i, now_ms);
    }
    assert_true(core.kept.valid_until_ms == until_ms); /* the round was another list's */
}

static void a_shorter_d_counts_from_the_sending_and_a_longer_one_from_the_answer(void **unused)
{
    (void)unused;
    begin_as_primary();
    tick(1000);
    accept_renewal(now_ms);
    uint64_t until_ms = core.kept.valid_until_ms;
    struct guard_permit changed = a_permit(11, 5, "db1");
    changed.d_ms = D - 1000;
    give_permit(changed);
    assert_non_null(did(GUARD_DO_KEEP));
    assert_true(did(GUARD_DO_KEEP) < did(GUARD_DO_RENEW)); /* kept before it is sent */
    assert_true(core.kept.valid_until_ms == until_ms - 1000);
    accept_renewal(now_ms);
    changed.revision = 12;
    changed.d_ms = D + 1000;
    until_ms = core.kept.valid_until_ms;
    give_permit(changed);
    assert_true(core.kept.valid_until_ms == until_ms);
    assert_int_equal(core.kept.permit.d_ms, D - 1000);
    accept_renewal(now_ms);
    assert_true(core.kept.valid_until_ms == now_ms + D + 1000);
}

static void tell_watchdog(bool armed)
{
    struct guard_event event = event_of(GUARD_EV_WATCHDOG);
    event.armed = armed;
    event.period_ms = armed ? W : 0;
    step(event);
}

static void what_said_armed_starts_nothing_without_the_watchdog(void **unused)
{
    (void)unused;
    begin((struct guard_durable){.guarding = true}, (struct guard_boot_state){.known = false});
    see(seen_stopped(GUARD_CONTROL_PRIMARY_CRASH));
    set_policy((struct guard_policy){.watchdog_configured = true});
    give_permit(a_permit(10, 5, "db1"));
    saved();
    assert_null(did(GUARD_DO_RENEW)); /* armed first */
    tell_watchdog(true);
    assert_true(did(GUARD_DO_RENEW)->armed);
    tell_watchdog(false);
    accept_renewal(now_ms);
    assert_null(did(GUARD_DO_START_PRIMARY));
    tick(1000);
    tell_watchdog(true);
    assert_non_null(did(GUARD_DO_START_PRIMARY)); /* armed, then a look at the clock, then this */
}

static void without_promisers_nobody_counts_time_and_it_goes_on(void **unused)
{
    (void)unused;
    begin_at_rest(GUARD_CONTROL_PRIMARY_CRASH);
    struct guard_permit alone = a_permit(11, 5, "db1");
    alone.promisers_len = 0;
    give_permit(alone);
    step(event_of(GUARD_EV_UNRENEWED));
    tick(1000);
    accept_renewal(now_ms);
    see(seen_running(ROLE_PRIMARY));
    for (int i = 0; i < 600; i++) {
        tick(100);
        assert_null(did(GUARD_DO_ASK));
        assert_true(guard_watchdog(&core, 1, now_ms).feed);
    }
    assert_int_equal(core.state, DUTY_PRIMARY);
}

static void a_promise_never_starts_an_instance(void **unused)
{
    (void)unused;
    begin_at_rest(GUARD_CONTROL_PRIMARY_CRASH);
    for (int i = 0; i < 100; i++) {
        tick(200);
        assert_null(did(GUARD_DO_ASK));
        promise(0, now_ms);
        promise(1, now_ms);
        assert_null(did(GUARD_DO_START_PRIMARY));
    }
    assert_int_equal(core.state, DUTY_DOWN);
}

static void d20_a_missing_permit_ends_nothing_and_begins_nothing(void **unused)
{
    (void)unused;
    begin_as_primary();
    struct guard_permit missing = {.known = false};
    give_permit(missing);
    assert_true(core.permit_missing);
    assert_int_equal(core.state, DUTY_PRIMARY);
    begin((struct guard_durable){.guarding = true}, (struct guard_boot_state){.known = false});
    see(seen_stopped(GUARD_CONTROL_PRIMARY_CLEAN));
    give_permit(missing);
    tick(10 * D);
    assert_int_equal(core.state, DUTY_DOWN);
    assert_null(did(GUARD_DO_RENEW));
}

static void d5_d7_lower_epochs_and_older_documents_are_refused(void **unused)
{
    (void)unused;
    begin_as_primary();
    struct guard_permit lower = a_permit(99, 4, "db2");
    give_permit(lower);
    assert_true(core.permit_refused);
    assert_int_equal(core.permit.epoch.counter, 5);
    assert_int_equal(core.state, DUTY_PRIMARY);
    struct guard_permit older = a_permit(9, 5, "db2");
    give_permit(older);
    assert_string_equal(core.permit.node, "db1");
    declare(30, ROLE_PRIMARY, "");
    declare(29, ROLE_STANDBY, "db2");
    assert_int_equal(core.durable.obeyed_revision, 30);
    assert_int_equal(core.durable.declared, ROLE_PRIMARY);
}

static void d5_a_new_incarnation_of_the_store_begins_its_revisions_anew(void **unused)
{
    (void)unused;
    begin_as_standby();
    struct guard_permit rescued = a_permit(2, 6, "db2");
    rescued.epoch.incarnation = 2;
    give_permit(rescued);
    assert_int_equal(core.durable.epoch.incarnation, 2);
    assert_int_equal(core.permit.revision, 2);
}

static void d5_roles_of_a_rescued_store_are_obeyed_though_their_revision_is_lower(void **unused)
{
    (void)unused;
    begin_as_standby();
    followed("db2");
    revoke(40);
    declare(40, ROLE_STANDBY, "db2");
    saved();
    followed("");
    saved();
    assert_int_equal(guard_cut_for(&core), 40);
    declare(2, ROLE_STANDBY, "db3"); /* of the rescued store, but its permit is not known yet */
    assert_int_equal(core.durable.obeyed_revision, 40);
    struct guard_permit rescued = a_permit(2, 6, "db3");
    rescued.epoch.incarnation = 2;
    give_permit(rescued);
    assert_int_equal(guard_cut_for(&core), 0);
    declare(2, ROLE_STANDBY, "db3");
    saved();
    assert_int_equal(core.durable.obeyed_revision, 2);
    assert_string_equal(core.durable.upstream, "db3");
}

static void d5_an_old_permit_of_the_first_incarnation_is_refused_after_the_rescue(void **unused)
{
    (void)unused;
    begin_as_standby();
    struct guard_permit rescued = a_permit(2, 6, "db2");
    rescued.epoch.incarnation = 2;
    give_permit(rescued);
    give_permit(a_permit(90, 99, "db1")); /* a higher counter counts for nothing */
    assert_true(core.permit_refused);
    assert_string_equal(core.permit.node, "db2");
}

static void a_standby_is_cut_at_the_revocation_and_resumes_under_the_next_permit(void **unused)
{
    (void)unused;
    begin_as_standby();
    assert_string_equal(did(GUARD_DO_FOLLOW)->upstream, "db2");
    followed("db2");
    revoke(11);
    assert_true(noted("R-G61"));
    assert_string_equal(did(GUARD_DO_FOLLOW)->upstream, "");
    assert_int_equal(guard_cut_for(&core), 0);
    declare(11, ROLE_STANDBY, "db2"); /* the same write: the roles are as they were */
    declare(12, ROLE_STANDBY, "db2");
    saved();
    followed("");
    assert_int_equal(guard_cut_for(&core), 0); /* not on disk yet */
    saved();
    assert_int_equal(guard_cut_for(&core), 11);
    tick(60000);
    assert_null(did(GUARD_DO_FOLLOW));
    give_permit(a_permit(20, 6, "db3"));
    saved();
    tick(1000);
    assert_null(did(GUARD_DO_FOLLOW)); /* whom to follow now was not seen yet */
    declare(20, ROLE_STANDBY, "db3");
    saved();
    assert_string_equal(did(GUARD_DO_FOLLOW)->upstream, "db3");
}

/* The grant's own write leaves the roles as they were until the new primary is recorded. */
static void f18_a_cut_standby_does_not_go_back_to_the_old_primary_at_the_grant(void **unused)
{
    (void)unused;
    begin_as_standby();
    followed("db2");
    revoke(11);
    declare(11, ROLE_STANDBY, "db2");
    saved();
    followed("");
    saved();
    assert_int_equal(guard_cut_for(&core), 11);
    give_permit(a_permit(20, 6, "db3"));
    declare(20, ROLE_STANDBY, "db2");
    saved();
    tick(1000);
    assert_null(did(GUARD_DO_FOLLOW));
    assert_int_equal(guard_cut_for(&core), 11);
    give_permit(a_permit(21, 6, "db3")); /* recorded: the roles name it */
    declare(21, ROLE_STANDBY, "db3");
    saved();
    assert_string_equal(did(GUARD_DO_FOLLOW)->upstream, "db3");
}

/* Promisers and sync entries change while the roles stay as they are. */
static void a_standby_goes_on_following_when_the_permit_is_written_again(void **unused)
{
    (void)unused;
    begin_as_standby();
    followed("db2");
    revoke(11);
    followed("");
    saved();
    tick(60000);
    give_permit(a_permit(20, 6, "db3"));
    declare(20, ROLE_STANDBY, "db3");
    saved();
    assert_string_equal(did(GUARD_DO_FOLLOW)->upstream, "db3");
    followed("db3");
    tick(1000);
    give_permit(a_permit(30, 6, "db3"));
    saved();
    tick(1000);
    assert_null(did(GUARD_DO_FOLLOW));
    assert_string_equal(guard_upstream(&core), "db3");
}

/* At a boot the definition may not be known yet, and the file on disk may still be a cut's. */
static void a_standby_started_by_the_file_as_it_was_is_told_whom_to_follow(void **unused)
{
    (void)unused;
    begin((struct guard_durable){.guarding = true}, (struct guard_boot_state){.known = false});
    give_permit(a_permit(10, 5, "db2"));
    declare(10, ROLE_STANDBY, "db2");
    saved();
    see(seen_stopped(GUARD_CONTROL_STANDBY));
    assert_string_equal(did(GUARD_DO_START_STANDBY)->upstream, "db2");
    step(event_of(GUARD_EV_UNFOLLOWED));
    see(seen_running(ROLE_STANDBY));
    tick(1000);
    assert_int_equal(core.state, DUTY_STANDBY);
    assert_true(core.follow_out);
    followed("db2");
    tick(1000);
    assert_false(core.follow_out);
}

static void a_cut_that_is_not_proven_is_tried_again(void **unused)
{
    (void)unused;
    begin_as_standby();
    followed("db2");
    revoke(11);
    step(event_of(GUARD_EV_UNFOLLOWED));
    tick(GUARD_AGAIN_MS);
    assert_true(noted("R-G62"));
    assert_string_equal(did(GUARD_DO_FOLLOW)->upstream, "");
    assert_int_equal(guard_cut_for(&core), 0);
}

static void a_candidate_is_promoted_in_the_life_that_the_permit_names(void **unused)
{
    (void)unused;
    begin_as_standby();
    followed("db2");
    revoke(11);
    followed("");
    saved();
    struct guard_permit grant = a_permit(12, 6, "db1");
    grant.life = 76;
    give_permit(grant);
    saved();
    assert_null(did(GUARD_DO_RENEW)); /* it has restarted since */
    grant.revision = 13;
    grant.epoch.counter = 7;
    grant.life = 77;
    give_permit(grant);
    saved();
    assert_non_null(did(GUARD_DO_RENEW));
    accept_renewal(now_ms);
    assert_true(noted("R-G52"));
    assert_true(did(GUARD_DO_PROMOTE)->act_by_ms == now_ms + D - W - K);
    assert_true(core.counts);
    struct guard_event event = event_of(GUARD_EV_PROMOTED);
    event.seen = seen_running(ROLE_PRIMARY);
    event.seen.timeline = 2;
    step(event);
    assert_int_equal(core.state, DUTY_PRIMARY);
    assert_non_null(did(GUARD_DO_REST));
}

static void f3_an_unknown_promotion_counts_until_it_is_proven_stopped(void **unused)
{
    (void)unused;
    begin_as_standby();
    give_permit(a_permit(13, 7, "db1"));
    saved();
    accept_renewal(now_ms);
    assert_int_equal(core.state, DUTY_PROMOTING);
    step(event_of(GUARD_EV_UNPROMOTED));
    assert_int_equal(core.state, DUTY_PROMOTING);
    assert_true(core.counts);
    tick(GUARD_AGAIN_MS);
    assert_non_null(did(GUARD_DO_PROMOTE));
    revoke(14);
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(core.counts);
    gone(GUARD_CONTROL_STANDBY);
    assert_false(core.counts);
    saved();
    assert_int_equal(guard_stopped_for(&core), 14);
}

/* Each save of the group's record is stored by all its guards: evidence does not flicker with it.
 */
static void r_v11_what_is_stored_stays_evidence_while_newer_roles_are_stored(void **unused)
{
    (void)unused;
    begin_at_rest(GUARD_CONTROL_PRIMARY_CRASH);
    revoke(11);
    assert_int_equal(guard_stopped_for(&core), 0); /* not before the epoch is dropped on disk */
    saved();
    assert_int_equal(guard_stopped_for(&core), 11);
    declare(12, ROLE_PRIMARY, "");
    assert_true(core.saved_version < core.version);
    assert_int_equal(guard_stopped_for(&core), 11);
    saved();
    assert_int_equal(guard_stopped_for(&core), 11);
    assert_int_equal(guard_obeyed_revision(&core), 12);
}

static void begin_promotion(void)
{
    begin_as_standby();
    give_permit(a_permit(13, 7, "db1"));
    assert_true(noted("R-G54"));
    assert_null(did(GUARD_DO_RENEW)); /* not before it is stored */
    assert_true(guard_deadline_ms(&core) >
                now_ms + 1); /* and its driver does not spin until then */
    assert_int_equal(core.durable.begun.counter, 7);
    saved();
    assert_non_null(did(GUARD_DO_RENEW));
}

static void f6_one_that_dies_in_its_promotion_follows_nobody_until_it_is_copied(void **unused)
{
    (void)unused;
    begin_promotion();
    accept_renewal(now_ms);
    assert_int_equal(core.state, DUTY_PROMOTING);
    died("signal 9");
    gone(GUARD_CONTROL_STANDBY);
    saved();
    tick(GUARD_LOOK_MS);
    tick(GUARD_LOOK_MS);
    assert_int_equal(core.state, DUTY_DOWN);
    assert_non_null(strstr(guard_held(&core), "did not complete"));
    revoke(14);
    saved();
    assert_int_equal(guard_stopped_for(&core), 14);
    give_permit(a_permit(15, 8, "db2"));
    declare(16, ROLE_STANDBY, "db2");
    saved();
    tick(GUARD_LOOK_MS);
    assert_int_equal(core.state, DUTY_DOWN);
    /* Another hand starts it: as a standby it could go on on a history of its own. */
    see(seen_running(ROLE_STANDBY));
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_true(noted("R-G16"));
    gone(GUARD_CONTROL_STANDBY);
    struct guard_seen copy = seen_stopped(GUARD_CONTROL_STANDBY);
    copy.copied = true;
    see(copy);
    assert_true(noted("R-G55"));
    saved();
    tick(GUARD_LOOK_MS);
    assert_int_equal(core.state, DUTY_STARTING);
}

static void f6_a_promotion_that_was_never_asked_for_has_begun_nothing(void **unused)
{
    (void)unused;
    begin_promotion();
    revoke(14);
    gone(GUARD_CONTROL_STANDBY);
    saved();
    assert_int_equal(guard_stopped_for(&core), 14);
    give_permit(a_permit(15, 8, "db2"));
    declare(16, ROLE_STANDBY, "db2");
    saved();
    tick(GUARD_LOOK_MS);
    assert_int_equal(core.state, DUTY_STARTING);
}

static void f6_a_guard_that_restarts_goes_on_with_its_promotion_and_ends_another(void **unused)
{
    (void)unused;
    for (int ours = 0; ours < 2; ours++) {
        begin_promotion();
        accept_renewal(now_ms);
        struct guard_durable durable = core.durable;
        begin(durable, core.kept);
        see(seen_running(ROLE_STANDBY));
        assert_int_equal(core.state, DUTY_STANDBY); /* whose permit it is is not known yet */
        if (ours) {
            give_permit(a_permit(13, 7, "db1"));
            saved();
            accept_renewal(now_ms);
            assert_int_equal(core.state, DUTY_PROMOTING);
        } else {
            give_permit(a_permit(14, 8, "db2"));
            assert_true(noted("R-G16"));
            assert_int_equal(core.state, DUTY_STOPPING);
        }
    }
}

static void f6_a_promotion_that_completed_is_remembered_no_longer(void **unused)
{
    (void)unused;
    begin_promotion();
    accept_renewal(now_ms);
    struct guard_event event = event_of(GUARD_EV_PROMOTED);
    event.seen = seen_running(ROLE_PRIMARY);
    event.seen.timeline = 2;
    step(event);
    assert_int_equal(core.state, DUTY_PRIMARY);
    assert_int_equal(core.durable.begun.counter, 0);
    assert_non_null(did(GUARD_DO_SAVE));
}

static void e1_a_crash_is_held_down_and_reported_unless_the_policy_restarts_it(void **unused)
{
    (void)unused;
    begin_as_primary();
    died("postmaster ended by signal 9");
    assert_true(noted("R-G17"));
    assert_non_null(did(GUARD_DO_REPORT));
    assert_true(did(GUARD_DO_STOP)->kill_at_ms <= now_ms);
    assert_true(core.counts);
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    tick(1000);
    assert_int_equal(core.state, DUTY_DOWN);
    assert_string_equal(core.crash, "postmaster ended by signal 9");
    assert_true(guard_asks_start(&core));
    assert_non_null(strstr(guard_held(&core), "ended by itself"));
}

static void e1_a_restart_needs_the_permit_it_still_holds_and_ends_at_its_deadline(void **unused)
{
    (void)unused;
    begin_as_primary();
    set_policy((struct guard_policy){.restart = true, .restart_deadline_ms = 5000});
    died("signal 9");
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    assert_null(did(GUARD_DO_START_PRIMARY)); /* the time it had has ended with it */
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_START_PRIMARY));
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_PRIMARY);
    died("signal 9");
    revoke(11);
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    assert_null(did(GUARD_DO_START_PRIMARY));
    begin_as_primary();
    set_policy((struct guard_policy){.restart = true, .restart_deadline_ms = 5000});
    for (int i = 0; i < GUARD_CRASHES - 1; i++) {
        died("signal 11");
        gone(GUARD_CONTROL_PRIMARY_CRASH);
        accept_renewal(now_ms);
        assert_non_null(did(GUARD_DO_START_PRIMARY));
    }
    died("signal 11");
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    assert_null(did(GUARD_DO_START_PRIMARY)); /* C3: a loop is a failure */
    begin_as_primary();
    set_policy((struct guard_policy){.restart = true, .restart_deadline_ms = 500});
    died("signal 9");
    now_ms += 500;
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    assert_null(did(GUARD_DO_START_PRIMARY));
}

static void g12_a_returning_guard_takes_over_on_the_stored_deadline_of_this_boot(void **unused)
{
    (void)unused;
    struct guard_boot_state kept = {
        .known = true, .permit = a_permit(10, 5, "db1"), .valid_until_ms = T0 + D, .armed = true};
    begin((struct guard_durable){.guarding = true, .epoch = {1, 5}}, kept);
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_PRIMARY);
    assert_null(did(GUARD_DO_STOP));
    assert_non_null(did(GUARD_DO_RENEW));
    assert_true(guard_watchdog(&core, 1, now_ms).feed);
    kept.valid_until_ms = T0 + W + K;
    begin((struct guard_durable){.guarding = true, .epoch = {1, 5}}, kept);
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_LOOKING);
    tick(GUARD_LOOK_MS);
    assert_int_equal(core.state, DUTY_STOPPING);
}

static void a_burnt_instance_runs_as_nothing(void **unused)
{
    (void)unused;
    begin_as_standby();
    struct guard_event event = event_of(GUARD_EV_DECLARED);
    event.declared = (struct guard_declared){.revision = 50, .role = ROLE_STANDBY, .burnt = true};
    step(event);
    assert_true(noted("R-G15"));
    gone(GUARD_CONTROL_STANDBY);
    saved();
    tick(60000);
    assert_int_equal(core.state, DUTY_DOWN);
    assert_non_null(strstr(guard_held(&core), "rebuilt"));
}

/* There is no K of a permit to go by: it has the default profile's. */
static void a_burnt_instance_that_nobody_ever_permitted_is_stopped_in_time(void **unused)
{
    (void)unused;
    begin((struct guard_durable){.guarding = true, .burnt = true},
          (struct guard_boot_state){.known = false});
    see(seen_running(ROLE_STANDBY));
    assert_true(noted("R-G15"));
    assert_int_equal(core.state, DUTY_STOPPING);
    assert_int_equal(did(GUARD_DO_STOP)->kill_at_ms, now_ms + K - K / 4);
}

static void when_blind_continue_goes_on_and_makes_time_no_evidence(void **unused)
{
    (void)unused;
    begin_at_rest(GUARD_CONTROL_PRIMARY_CRASH);
    struct guard_event armed = event_of(GUARD_EV_WATCHDOG);
    armed.armed = true;
    armed.period_ms = W;
    step(armed);
    set_policy((struct guard_policy){.when_blind_continue = true});
    accept_renewal(now_ms);
    see(seen_running(ROLE_PRIMARY));
    tick(1000);
    assert_false(did(GUARD_DO_RENEW)->armed);
    accept_renewal(now_ms);
    for (int i = 0; i < 300; i++) {
        tick(200);
    }
    assert_int_equal(core.state, DUTY_PRIMARY);
    revoke(11);
    assert_int_equal(core.state, DUTY_STOPPING);
}

/* ---- what commits wait for ---- */

static struct sync_entry_record waits_for(int k, const char *member)
{
    struct sync_entry_record entry = {.k = k, .first = true, .members_len = k};
    snprintf(entry.members[0], NAME_SIZE, "%s", member);
    return entry;
}

/* The next document of the same epoch, with these entries. */
static struct guard_permit with_sync(int64_t revision, const char *const *members, int len)
{
    struct guard_permit permit = core.permit;
    permit.revision = revision;
    permit.sync = (struct guard_sync){.revision = revision, .len = len};
    for (int i = 0; i < len; i++) {
        permit.sync.entries[i] =
            members[i] != NULL ? waits_for(1, members[i]) : (struct sync_entry_record){.k = 0};
    }
    return permit;
}

static void say_synced(enum guard_event_type type, uint32_t round)
{
    struct guard_event event = event_of(type);
    event.round = round;
    event.seen = core.seen;
    step(event);
}

static const char *const old_alone[] = {"b"};
static const char *const new_alone[] = {"c"};
static const char *const old_and_new[] = {"b", "c"};
static const char *const old_and_none[] = {"b", NULL};

/* A primary that enforces and has proven the entry b. */
static void begin_as_synced(void)
{
    begin_as_primary();
    give_permit(with_sync(11, old_alone, 1));
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_SYNC));
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 11);
}

static void f11_a_target_is_enforced_from_an_accepted_renewal_on_and_never_before(void **unused)
{
    (void)unused;
    begin_as_synced();
    give_permit(with_sync(12, old_and_new, 2));
    assert_null(did(GUARD_DO_SYNC)); /* known, and nothing follows */
    tick(50);
    assert_null(did(GUARD_DO_SYNC));
    assert_int_equal(guard_sync_for(&core), 11);
    step(event_of(GUARD_EV_UNRENEWED));
    tick(1000);
    assert_null(did(GUARD_DO_SYNC));
    accept_renewal(now_ms);
    const struct guard_effect *effect = did(GUARD_DO_SYNC);
    assert_non_null(effect);
    assert_true(effect->waits); /* commits waited before: no barrier is needed */
    assert_string_equal(core.told.entries[core.told.len - 1].members[0], "c");
    assert_int_equal(guard_sync_for(&core), 0);
    say_synced(GUARD_EV_SYNCED, effect->round);
    assert_int_equal(guard_sync_for(&core), 12);
    assert_true(noted("R-G64"));
}

static void f11_a_document_that_drops_old_entries_needs_no_new_proof(void **unused)
{
    (void)unused;
    begin_as_synced();
    give_permit(with_sync(12, old_and_new, 2));
    accept_renewal(now_ms);
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    give_permit(with_sync(13, new_alone, 1));
    assert_int_equal(guard_sync_for(&core), 12);
    accept_renewal(now_ms);
    assert_null(did(GUARD_DO_SYNC));
    assert_int_equal(guard_sync_for(&core), 13);
}

static void f11_a_change_back_is_a_change_with_a_proof_of_its_own(void **unused)
{
    (void)unused;
    static const char *const back[] = {"b", "c", "b"};
    begin_as_synced();
    give_permit(with_sync(12, old_and_new, 2));
    accept_renewal(now_ms);
    uint32_t round = core.sync_round;
    give_permit(with_sync(13, back, 3));
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_SYNC)); /* the one under way is given up for it */
    assert_int_equal(guard_sync_for(&core), 0);
    say_synced(GUARD_EV_SYNCED, round); /* late, and of what was wanted before */
    assert_int_equal(guard_sync_for(&core), 0);
    assert_true(noted("R-G65"));
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 13);
}

static void e12_a_proof_that_is_unknown_is_tried_again_and_ends_nothing(void **unused)
{
    (void)unused;
    begin_as_synced();
    give_permit(with_sync(12, old_and_new, 2));
    accept_renewal(now_ms);
    for (int i = 0; i < 20; i++) {
        uint32_t round = core.sync_round;
        say_synced(GUARD_EV_UNSYNCED, round);
        assert_true(noted("R-G66"));
        assert_int_equal(core.state, DUTY_PRIMARY);
        assert_int_equal(guard_sync_for(&core), 0);
        tick(GUARD_PROVE_MS - 1);
        assert_int_equal(core.sync_round, round);
        tick(1);
        assert_int_equal(core.sync_round, round + 1);
        if (core.renewal_out) {
            accept_renewal(now_ms);
        }
    }
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 12);
}

static void what_another_hand_changed_ends_the_proof(void **unused)
{
    (void)unused;
    begin_as_synced();
    say_synced(GUARD_EV_UNSYNCED, 0);
    assert_int_equal(guard_sync_for(&core), 0);
    tick(GUARD_PROVE_MS);
    assert_non_null(did(GUARD_DO_SYNC));
    assert_false(did(GUARD_DO_SYNC)->waits); /* nobody knows what was shown meanwhile */
}

static void waiting_for_nobody_is_proven_too_and_is_known_to_wait_for_nobody(void **unused)
{
    (void)unused;
    static const char *const again[] = {NULL, "c"};
    begin_as_synced();
    give_permit(with_sync(12, old_and_none, 2));
    accept_renewal(now_ms);
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 12);
    give_permit(with_sync(13, again, 2));
    accept_renewal(now_ms);
    assert_false(did(GUARD_DO_SYNC)->waits);
}

static void a_permit_that_says_nothing_of_it_takes_our_names_away_once(void **unused)
{
    (void)unused;
    begin_as_primary();
    assert_null(did(GUARD_DO_SYNC));
    accept_renewal(now_ms);
    tick(5000);
    assert_int_equal(core.sync_round, 0); /* never ours: left alone */
    begin_as_synced();
    give_permit(with_sync(12, NULL, 0));
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_SYNC));
    assert_int_equal(core.told.len, 0);
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 0);
    tick(3000);
    assert_null(did(GUARD_DO_SYNC));
}

static void a_proof_is_of_one_life_of_postgresql(void **unused)
{
    (void)unused;
    begin_as_synced();
    struct guard_seen other = seen_running(ROLE_PRIMARY);
    other.life = 78;
    see(other);
    assert_int_equal(guard_sync_for(&core), 0);
    assert_non_null(did(GUARD_DO_SYNC));
    assert_false(did(GUARD_DO_SYNC)->waits);
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 11);
    died("signal 9");
    assert_int_equal(guard_sync_for(&core), 0);
    gone(GUARD_CONTROL_PRIMARY_CRASH);
    assert_int_equal(core.kept.sync.len, 0);
    assert_int_equal(core.kept.waiting_life, 0);
}

static void g12_a_returning_guard_proves_anew_what_was_accepted(void **unused)
{
    (void)unused;
    begin_as_synced();
    give_permit(with_sync(12, old_and_new, 2));
    tick(1000); /* its renewal is out: what it takes away is kept, the target is not */
    struct guard_boot_state kept = core.kept;
    assert_int_equal(kept.permit.revision, 12);
    assert_int_equal(kept.sync.revision, 11);
    struct guard_durable durable = core.durable;
    guard_init(&core, "db1", "boot-1", &durable, &kept, now_ms);
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_PRIMARY);
    assert_non_null(did(GUARD_DO_SYNC));
    assert_true(did(GUARD_DO_SYNC)->waits);
    assert_string_equal(core.told.entries[core.told.len - 1].members[0], "b");
    assert_int_equal(guard_sync_for(&core), 0);
    accept_renewal(now_ms); /* under 12, which was read from the file */
    assert_string_equal(core.told.entries[core.told.len - 1].members[0], "c");
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    assert_int_equal(guard_sync_for(&core), 12);
}

static void a_start_and_a_promotion_have_the_accepted_target_before_them(void **unused)
{
    (void)unused;
    begin_at_rest(GUARD_CONTROL_PRIMARY_CLEAN);
    give_permit(with_sync(11, old_alone, 1));
    accept_renewal(now_ms); /* of the document before: it starts nothing */
    assert_null(did(GUARD_DO_START_PRIMARY));
    tick(0);
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_START_PRIMARY));
    assert_int_equal(core.kept.sync.revision, 11);
    see(seen_running(ROLE_PRIMARY));
    assert_non_null(did(GUARD_DO_SYNC)); /* and it is proven once it runs */

    begin_as_standby();
    struct guard_permit permit = a_permit(11, 6, "db1");
    permit.life = 77;
    permit.sync = (struct guard_sync){.revision = 11, .len = 1, .entries = {waits_for(1, "b")}};
    give_permit(permit);
    saved();
    assert_null(did(GUARD_DO_PROMOTE));
    accept_renewal(now_ms);
    assert_non_null(did(GUARD_DO_PROMOTE));
    assert_int_equal(core.kept.sync.revision, 11);
}

static void s1_a_standby_is_closed_while_its_permit_has_sync_entries(void **unused)
{
    (void)unused;
    begin_as_standby();
    tick(1);
    struct guard_event event = event_of(GUARD_EV_FOLLOWED);
    snprintf(event.upstream, sizeof event.upstream, "db2");
    step(event);
    tick(1000);
    assert_null(did(GUARD_DO_FOLLOW));
    give_permit(with_sync(11, old_alone, 1));
    assert_non_null(did(GUARD_DO_FOLLOW));
    assert_true(did(GUARD_DO_FOLLOW)->closed);
    event.closed = true;
    step(event);
    tick(1000);
    assert_null(did(GUARD_DO_FOLLOW));
    give_permit(with_sync(12, NULL, 0));
    assert_false(did(GUARD_DO_FOLLOW)->closed);
}

/* Promoted by hand in the moment in which its permit began to say nothing of it. */
static void a_closed_standby_that_became_a_primary_is_opened(void **unused)
{
    (void)unused;
    begin_as_standby();
    struct guard_event event = event_of(GUARD_EV_FOLLOWED);
    snprintf(event.upstream, sizeof event.upstream, "db2");
    event.closed = true;
    step(event);
    give_permit(a_permit(11, 6, "db1"));
    saved();
    accept_renewal(now_ms);
    see(seen_running(ROLE_PRIMARY));
    assert_int_equal(core.state, DUTY_PRIMARY);
    assert_non_null(did(GUARD_DO_SYNC));
    assert_int_equal(core.told.len, 0);
    say_synced(GUARD_EV_SYNCED, core.sync_round);
    tick(100);
    assert_null(did(GUARD_DO_SYNC));
}

static void f17_slots_follow_the_roles_that_are_obeyed(void **unused)
{
    (void)unused;
    begin_as_primary();
    struct guard_event event = event_of(GUARD_EV_DECLARED);
    event.declared = (struct guard_declared){.revision = 20, .role = ROLE_PRIMARY};
    event.declared.standbys_len = 1;
    snprintf(event.declared.standbys[0], NAME_SIZE, "db2");
    step(event);
    assert_null(did(GUARD_DO_SLOTS)); /* not stored yet */
    saved();
    assert_non_null(did(GUARD_DO_SLOTS));
    tick(1000);
    assert_null(did(GUARD_DO_SLOTS));
    accept_renewal(now_ms);
    assert_true(guard_deadline_ms(&core) <= now_ms + GUARD_SLOTS_MS);
    for (int i = 0; i < 9; i++) {
        tick(1000);
        if (core.renewal_out) {
            accept_renewal(now_ms);
        }
    }
    assert_true(core.slots_again_ms == now_ms + GUARD_SLOTS_MS); /* looked after again */
}

/* ---- long random lives ---- */

#define ANSWERS_MAX  32
#define PAST_MAX     8
#define ACCEPTED_MAX 64
#define ASKED_MAX    64 /* saves that may be on their way */

struct answer { /* on its way back to the guard */
    uint64_t at_ms;
    struct guard_event event;
};

/* The world around a guard, and an account of its own of what the guard may do. */
struct life {
    unsigned random;
    struct guard_permit store; /* the latest document */
    struct guard_permit past[PAST_MAX];
    struct guard_permit seen; /* the latest that was delivered */
    struct answer answers[ANSWERS_MAX];
    int answers_len;
    bool running, copied;
    bool forked; /* asked for a promotion that was not seen to complete */
    enum role role;
    enum guard_control control;
    int64_t role_life;
    /* the account */
    uint64_t until_ms; /* what accepted renewals and whole rounds of promises allow */
    struct guard_permit renewed;
    uint64_t round_sent_ms[2];
    uint32_t rounds[2];
    uint64_t asked_version, on_disk_version;
    struct guard_durable asked[ASKED_MAX], on_disk;
    struct epoch lapsed;
    bool stopping;
    int starts, promotions, stops, lapses, prolonged;
    struct guard_sync accepted[ACCEPTED_MAX];
    struct guard_sync enforced; /* what PostgreSQL goes by: told at a beginning, or by an order */
    uint32_t sync_round;
    int64_t proven_life;
    int proofs;
};
static struct life life;

static unsigned rnd(unsigned below)
{
    life.random = life.random * 1664525u + 1013904223u;
    return (life.random >> 8) % below;
}

static void later(struct guard_event event, uint64_t in_ms)
{
    if (life.answers_len < ANSWERS_MAX) {
        life.answers[life.answers_len++] = (struct answer){now_ms + in_ms, event};
    }
}

static struct guard_seen look(void)
{
    struct guard_seen seen = life.running ? seen_running(life.role) : seen_stopped(life.control);
    seen.control = life.control;
    seen.life = life.role_life;
    seen.copied = !life.running && life.copied;
    return seen;
}

static void look_later(enum guard_event_type type, uint64_t in_ms)
{
    struct guard_event event = event_of(type);
    later(event, in_ms); /* what is seen is filled in when it is delivered */
}

static void check_begin(void)
{
    const struct guard_permit *p = &life.seen;
    assert_true(p->granted && strcmp(p->node, "db1") == 0 && strcmp(p->boot, "boot-1") == 0);
    assert_int_equal(life.renewed.revision, p->revision);
    assert_true(now_ms + W + K < life.until_ms);
    assert_true(life.on_disk_version >= life.asked_version);
    assert_true(epoch_compare(p->epoch, life.lapsed) > 0);
    assert_false(life.stopping);
    assert_false(core.durable.burnt);
    assert_int_equal(core.kept.sync.revision, p->revision);
}

/* A renewal under that document was accepted, and this is its target. */
static void check_accepted(int64_t revision, const struct guard_sync *sync)
{
    const struct guard_sync *accepted = &life.accepted[revision % ACCEPTED_MAX];
    assert_int_equal(accepted->revision, revision);
    assert_true(guard_sync_same_target(accepted, sync));
}

/* It begins with the accepted target, or is told to change to it. */
static void enforce(const struct guard_sync *sync)
{
    check_accepted(sync->revision, sync);
    life.enforced = *sync;
    life.proven_life = 0;
}

static void carry_out(const struct guard_effect *effect)
{
    struct guard_event event = {0};
    switch (effect->type) {
    case GUARD_DO_SAVE:
        life.asked_version = effect->version;
        life.asked[effect->version % ASKED_MAX] = core.durable;
        event.type = GUARD_EV_SAVED;
        event.version = effect->version;
        later(event, rnd(30));
        break;
    case GUARD_DO_RENEW: {
        assert_false(life.stopping);
        assert_true(life.on_disk_version >= life.asked_version);
        bool good = life.store.granted && life.store.revision == core.permit.revision;
        event.type = good && rnd(4) != 0 ? GUARD_EV_RENEWED : GUARD_EV_UNRENEWED;
        event.sent_ms = now_ms;
        event.revision = core.permit.revision;
        event.permit = core.permit; /* for the account */
        later(event, rnd(3) == 0 ? rnd(4000) : rnd(100));
        break;
    }
    case GUARD_DO_ASK:
        for (int i = 0; i < core.asked_len; i++) {
            bool vetoed = !life.store.granted;
            event.type = !vetoed && rnd(6) != 0 ? GUARD_EV_PROMISED : GUARD_EV_UNPROMISED;
            event.promiser = i;
            event.round = effect->round;
            event.sent_ms = now_ms;
            later(event, rnd(3) == 0 ? rnd(3000) : rnd(60));
        }
        break;
    case GUARD_DO_SYNC:
        enforce(&core.told);
        life.sync_round = effect->round;
        event.type = rnd(3) != 0 ? GUARD_EV_SYNCED : GUARD_EV_UNSYNCED;
        event.round = effect->round;
        later(event, rnd(800));
        break;
    case GUARD_DO_START_PRIMARY:
        check_begin();
        enforce(&core.kept.sync);
        life.starts++;
        life.copied = false;
        life.running = true;
        life.role = ROLE_PRIMARY;
        life.control = GUARD_CONTROL_PRIMARY_CRASH;
        life.role_life++;
        look_later(GUARD_EV_SEEN, 50 + rnd(500));
        break;
    case GUARD_DO_START_STANDBY:
        assert_false(core.durable.burnt);
        assert_false(life.forked);
        life.copied = false;
        life.running = true;
        life.role = ROLE_STANDBY;
        life.control = GUARD_CONTROL_STANDBY;
        life.role_life++;
        look_later(GUARD_EV_SEEN, 50 + rnd(500));
        break;
    case GUARD_DO_PROMOTE:
        check_begin();
        enforce(&core.kept.sync);
        life.promotions++;
        life.forked = true;
        if (rnd(3) != 0) {
            life.role = ROLE_PRIMARY;
            life.control = GUARD_CONTROL_PRIMARY_CRASH;
        }
        look_later(life.role == ROLE_PRIMARY && rnd(2) ? GUARD_EV_PROMOTED : GUARD_EV_UNPROMOTED,
                   rnd(200));
        look_later(GUARD_EV_SEEN, 200);
        break;
    case GUARD_DO_STOP:
        life.stops++;
        life.stopping = true;
        look_later(GUARD_EV_GONE, rnd(900));
        break;
    case GUARD_DO_FOLLOW:
        event.type = rnd(4) != 0 ? GUARD_EV_FOLLOWED : GUARD_EV_UNFOLLOWED;
        snprintf(event.upstream, sizeof event.upstream, "%s", effect->upstream);
        later(event, rnd(300));
        break;
    default: break;
    }
}

static void check_after(void)
{
    bool begun = core.state != DUTY_STOPPING && core.state != DUTY_LOOKING;
    if (core.counts && begun) {
        assert_true(now_ms + W + K < life.until_ms); /* else it must have been told to stop */
    }
    if (core.counts && guard_watchdog(&core, 1, now_ms).feed) {
        assert_true(now_ms + W < life.until_ms);
    }
    if (guard_stopped_for(&core) != 0) {
        assert_false(life.running);
        assert_int_equal(guard_stopped_for(&core), life.seen.revision);
        assert_false(life.seen.granted);
        assert_true(epoch_compare(life.on_disk.spent, life.seen.epoch) >= 0);
    }
    if (guard_cut_for(&core) != 0) {
        assert_int_equal(guard_cut_for(&core), life.on_disk.cut_for);
    }
    if (core.state == DUTY_DOWN) {
        assert_false(core.counts);
    }
    if (guard_sync_for(&core) != 0) {
        check_accepted(guard_sync_for(&core), &life.enforced);
        assert_int_equal(life.proven_life, life.role_life);
        life.proofs++;
    }
}

/* Delivers one event, keeps the account, and carries out what the guard wants. */
static void live(struct guard_event event)
{
    if (event.type == GUARD_EV_GONE || event.type == GUARD_EV_SEEN ||
        event.type == GUARD_EV_PROMOTED) {
        if (event.type == GUARD_EV_GONE) {
            life.running = false;
            life.stopping = false;
        }
        event.seen = look();
    }
    bool lapsing = core.counts && core.state != DUTY_STOPPING;
    if (event.type == GUARD_EV_SAVED && event.version > life.on_disk_version) {
        life.on_disk_version = event.version;
        life.on_disk = life.asked[event.version % ASKED_MAX];
    }
    bool usable = !life.stopping && now_ms + W + K < (core.counts ? life.until_ms : UINT64_MAX) &&
                  life.seen.granted && epoch_compare(life.seen.epoch, life.lapsed) > 0;
    if (event.type == GUARD_EV_RENEWED && usable &&
        epoch_compare(event.permit.epoch, life.seen.epoch) == 0) {
        if (event.permit.revision > life.renewed.revision) {
            life.renewed = event.permit;
        }
        uint64_t until_ms = event.sent_ms + D;
        life.until_ms = until_ms > life.until_ms || !core.counts ? until_ms : life.until_ms;
    }
    if (event.type == GUARD_EV_RENEWED) {
        life.accepted[event.permit.revision % ACCEPTED_MAX] = event.permit.sync;
    }
    if (event.type == GUARD_EV_SYNCED && event.round == life.sync_round) {
        life.proven_life = life.role_life;
    }
    if (event.type == GUARD_EV_PROMISED && usable && core.counts) {
        life.rounds[event.promiser] = event.round;
        life.round_sent_ms[event.promiser] = event.sent_ms;
        if (life.rounds[0] == event.round && life.rounds[1] == event.round &&
            event.sent_ms + D > life.until_ms) {
            life.until_ms = event.sent_ms + D;
            life.prolonged++;
        }
    }
    if (event.type == GUARD_EV_PERMIT && event.permit.known &&
        epoch_compare(event.permit.epoch, life.seen.epoch) >= 0 &&
        (epoch_compare(event.permit.epoch, life.seen.epoch) > 0 ||
         event.permit.revision > life.seen.revision)) {
        life.seen = event.permit;
    }
    step(event);
    struct guard_effects wanted = effects;
    for (int i = 0; i < wanted.len; i++) {
        carry_out(&wanted.items[i]);
    }
    if (lapsing && core.state == DUTY_STOPPING && noted("R-G11")) {
        life.lapses++;
        life.lapsed = life.seen.epoch;
    }
    if (core.state == DUTY_PRIMARY) {
        life.forked = false;
    }
    check_after();
}

/* What others do: the leader, the network, an operator, the machine. */
static void disturb(void)
{
    struct guard_event event = event_of(GUARD_EV_PERMIT);
    switch (rnd(14)) {
    case 0: /* revoke, or change what commits wait for */
        life.store.revision++;
        life.store.granted = life.store.granted && rnd(2) != 0;
        life.store.sync.revision = life.store.revision;
        if (life.store.granted) {
            life.store.sync.len = (int)rnd(3);
            life.store.sync.entries[0] = waits_for(1, rnd(2) ? "b" : "c");
            life.store.sync.entries[1] = waits_for((int)rnd(2), "d");
        }
        break;
    case 1:
    case 2: /* grant anew, mostly to us */
        if (!life.store.granted) {
            life.store = a_permit(life.store.revision + 1, life.store.epoch.counter + 1,
                                  rnd(4) ? "db1" : "db2");
            life.store.life = rnd(3) ? life.role_life : 0;
            life.store.sync = (struct guard_sync){.revision = life.store.revision, .len = 1};
            life.store.sync.entries[0] = waits_for((int)rnd(2), "b");
            snprintf(life.store.boot, sizeof life.store.boot, "%s", rnd(8) ? "boot-1" : "boot-0");
        }
        break;
    case 3: /* a stale member */
        event.permit = life.past[rnd(PAST_MAX)];
        if (event.permit.known) {
            live(event);
        }
        return;
    case 4: live(event); return; /* the key is missing */
    case 5:                      /* it dies */
        if (life.running && rnd(3) == 0) {
            struct guard_event end = event_of(GUARD_EV_DIED);
            snprintf(end.text, sizeof end.text, "signal 9");
            live(end);
            if (core.state == DUTY_DOWN || core.state == DUTY_OBSERVING) {
                life.running = false;
            }
        }
        return;
    case 6: /* a person promotes it */
        if (life.running && life.role == ROLE_STANDBY && rnd(6) == 0 && !life.stopping) {
            life.role = ROLE_PRIMARY;
            life.control = GUARD_CONTROL_PRIMARY_CRASH;
            look_later(GUARD_EV_SEEN, rnd(100));
        }
        return;
    case 7: /* a rebuild by copy */
        if (!life.running && core.state == DUTY_DOWN && rnd(2)) {
            life.control = GUARD_CONTROL_STANDBY;
            life.copied = true;
            life.forked = false;
            look_later(GUARD_EV_SEEN, 1);
        }
        return;
    case 8: {
        struct guard_event declared = event_of(GUARD_EV_DECLARED);
        declared.declared = (struct guard_declared){.revision = life.store.revision - rnd(2),
                                                    .role = rnd(4) ? ROLE_STANDBY : ROLE_PRIMARY};
        snprintf(declared.declared.upstream, sizeof declared.declared.upstream, "db2");
        live(declared);
        return;
    }
    case 9: {
        struct guard_event armed = event_of(GUARD_EV_WATCHDOG);
        armed.armed = true;
        armed.period_ms = W;
        live(armed);
        return;
    }
    default: return;
    }
    life.past[life.store.revision % PAST_MAX] = life.store;
    if (rnd(5) != 0) {
        event.permit = life.store;
        later(event, rnd(200)); /* else it is missed, and a renewal finds out */
    }
}

static void deliver_due(void)
{
    for (int i = 0; i < life.answers_len;) {
        if (life.answers[i].at_ms > now_ms) {
            i++;
            continue;
        }
        struct guard_event event = life.answers[i].event;
        life.answers[i] = life.answers[--life.answers_len];
        if ((event.type == GUARD_EV_SEEN || event.type == GUARD_EV_PROMOTED) && life.stopping) {
            continue; /* what is being stopped is not looked at */
        }
        if (event.type == GUARD_EV_PROMOTED && core.state != DUTY_PROMOTING) {
            continue;
        }
        live(event);
    }
}

static void no_random_life_breaks_the_rules_of_time(void **unused)
{
    (void)unused;
    int starts = 0, promotions = 0, stops = 0, lapses = 0, prolonged = 0, proofs = 0;
    for (unsigned seed = 1; seed <= 100; seed++) {
        memset(&life, 0, sizeof life);
        life.random = seed * 7919;
        life.control = GUARD_CONTROL_PRIMARY_CLEAN;
        life.store = a_permit(100, 10, "db1");
        life.role_life = 77;
        begin((struct guard_durable){.guarding = true}, (struct guard_boot_state){.known = false});
        struct guard_event event = event_of(GUARD_EV_PERMIT);
        event.permit = life.store;
        live(event);
        look_later(GUARD_EV_SEEN, 1);
        for (int i = 0; i < 4000; i++) {
            uint64_t next_ms = guard_deadline_ms(&core);
            uint64_t other_ms = now_ms + 1 + rnd(300);
            now_ms = next_ms < other_ms ? (next_ms > now_ms ? next_ms : now_ms) : other_ms;
            deliver_due();
            live(event_of(GUARD_EV_TICK));
            if (now_ms == other_ms) {
                disturb();
            }
        }
        starts += life.starts;
        promotions += life.promotions;
        stops += life.stops;
        lapses += life.lapses;
        prolonged += life.prolonged;
        proofs += life.proofs > 0;
    }
    print_message("100 lives: %d starts, %d promotions, %d stops, %d of them lapses, %d prolonged, "
                  "proofs in %d of them\n",
                  starts, promotions, stops, lapses, prolonged, proofs);
    assert_true(starts > 300 && promotions > 100 && lapses > 10 && prolonged > 50 && proofs > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_and_event_has_a_row_or_a_reason_and_never_both),
        cmocka_unit_test(rules_have_ids_of_their_own_and_no_row_is_shadowed),
        cmocka_unit_test(every_state_is_reached_and_left),
        cmocka_unit_test(may_start_as_primary_only_when_all_conditions_hold),
        cmocka_unit_test(may_promote_only_the_life_that_the_permit_names),
        cmocka_unit_test(must_stop_and_may_be_primary_are_never_both_true),
        cmocka_unit_test(a_standby_starts_only_where_its_wal_cannot_lie_past_the_fork),
        cmocka_unit_test(one_that_another_hand_starts_as_a_standby_is_stopped_and_said),
        cmocka_unit_test(the_watchdog_is_fed_only_while_every_primary_is_in_its_time),
        cmocka_unit_test(what_a_guard_may_is_what_its_sentences_say_in_any_state),
        cmocka_unit_test(what_a_standby_follows_and_a_primary_enforces_is_what_is_recorded),
        cmocka_unit_test(whatever_happens_in_whatever_state_nothing_is_done_without_its_permission),
        cmocka_unit_test(before_the_first_permit_nothing_is_done),
        cmocka_unit_test(an_adopted_primary_goes_on_and_has_one_d_for_its_first_renewal),
        cmocka_unit_test(g6_after_a_reboot_nothing_starts_under_the_old_permit),
        cmocka_unit_test(g6_a_primary_that_was_started_at_boot_by_another_hand_is_stopped),
        cmocka_unit_test(i9_a_standby_promoted_by_hand_is_stopped),
        cmocka_unit_test(a_revocation_ends_a_primary_within_k_and_is_reported_when_nothing_is_left),
        cmocka_unit_test(a_lapse_is_final),
        cmocka_unit_test(a_guard_that_slept_past_its_time_kills_at_once),
        cmocka_unit_test(what_is_left_of_one_that_ended_by_itself_does_not_outlive_its_time),
        cmocka_unit_test(a_slow_etcd_alone_never_stops_a_primary),
        cmocka_unit_test(one_silent_promiser_of_two_stops_it_in_time),
        cmocka_unit_test(promises_of_an_earlier_round_do_not_add_up),
        cmocka_unit_test(the_promisers_are_those_of_the_document_last_sent_under),
        cmocka_unit_test(a_shorter_d_counts_from_the_sending_and_a_longer_one_from_the_answer),
        cmocka_unit_test(what_said_armed_starts_nothing_without_the_watchdog),
        cmocka_unit_test(without_promisers_nobody_counts_time_and_it_goes_on),
        cmocka_unit_test(a_promise_never_starts_an_instance),
        cmocka_unit_test(d20_a_missing_permit_ends_nothing_and_begins_nothing),
        cmocka_unit_test(d5_d7_lower_epochs_and_older_documents_are_refused),
        cmocka_unit_test(d5_a_new_incarnation_of_the_store_begins_its_revisions_anew),
        cmocka_unit_test(d5_roles_of_a_rescued_store_are_obeyed_though_their_revision_is_lower),
        cmocka_unit_test(d5_an_old_permit_of_the_first_incarnation_is_refused_after_the_rescue),
        cmocka_unit_test(a_standby_is_cut_at_the_revocation_and_resumes_under_the_next_permit),
        cmocka_unit_test(f18_a_cut_standby_does_not_go_back_to_the_old_primary_at_the_grant),
        cmocka_unit_test(a_standby_goes_on_following_when_the_permit_is_written_again),
        cmocka_unit_test(a_standby_started_by_the_file_as_it_was_is_told_whom_to_follow),
        cmocka_unit_test(a_cut_that_is_not_proven_is_tried_again),
        cmocka_unit_test(a_candidate_is_promoted_in_the_life_that_the_permit_names),
        cmocka_unit_test(f3_an_unknown_promotion_counts_until_it_is_proven_stopped),
        cmocka_unit_test(f6_one_that_dies_in_its_promotion_follows_nobody_until_it_is_copied),
        cmocka_unit_test(f6_a_promotion_that_was_never_asked_for_has_begun_nothing),
        cmocka_unit_test(f6_a_guard_that_restarts_goes_on_with_its_promotion_and_ends_another),
        cmocka_unit_test(f6_a_promotion_that_completed_is_remembered_no_longer),
        cmocka_unit_test(e1_a_crash_is_held_down_and_reported_unless_the_policy_restarts_it),
        cmocka_unit_test(e1_a_restart_needs_the_permit_it_still_holds_and_ends_at_its_deadline),
        cmocka_unit_test(r_v11_what_is_stored_stays_evidence_while_newer_roles_are_stored),
        cmocka_unit_test(g12_a_returning_guard_takes_over_on_the_stored_deadline_of_this_boot),
        cmocka_unit_test(a_burnt_instance_runs_as_nothing),
        cmocka_unit_test(a_burnt_instance_that_nobody_ever_permitted_is_stopped_in_time),
        cmocka_unit_test(when_blind_continue_goes_on_and_makes_time_no_evidence),
        cmocka_unit_test(f11_a_target_is_enforced_from_an_accepted_renewal_on_and_never_before),
        cmocka_unit_test(f11_a_document_that_drops_old_entries_needs_no_new_proof),
        cmocka_unit_test(f11_a_change_back_is_a_change_with_a_proof_of_its_own),
        cmocka_unit_test(e12_a_proof_that_is_unknown_is_tried_again_and_ends_nothing),
        cmocka_unit_test(what_another_hand_changed_ends_the_proof),
        cmocka_unit_test(waiting_for_nobody_is_proven_too_and_is_known_to_wait_for_nobody),
        cmocka_unit_test(a_permit_that_says_nothing_of_it_takes_our_names_away_once),
        cmocka_unit_test(a_proof_is_of_one_life_of_postgresql),
        cmocka_unit_test(g12_a_returning_guard_proves_anew_what_was_accepted),
        cmocka_unit_test(a_start_and_a_promotion_have_the_accepted_target_before_them),
        cmocka_unit_test(s1_a_standby_is_closed_while_its_permit_has_sync_entries),
        cmocka_unit_test(a_closed_standby_that_became_a_primary_is_opened),
        cmocka_unit_test(f17_slots_follow_the_roles_that_are_obeyed),
        cmocka_unit_test(no_random_life_breaks_the_rules_of_time),
    };
    return cmocka_run_group_tests_name("guard core", tests, NULL, NULL);
}
