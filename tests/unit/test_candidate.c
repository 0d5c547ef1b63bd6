/*
 * Who may become the primary, and what that would lose (design §8 "Choosing"): each reason against,
 * each step of the order, the n - k + 1 of sync entries, and the estimate of a loss.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/core/private.h"

#define NOW    UINT64_C(500000)
#define SYSTEM UINT64_C(7000)
#define LSN    UINT64_C(0x1000000)

static void define(struct definition *def)
{
    strcpy(def->groups[0].name, "shop");
    def->groups_len = 1;
    struct database_def *db = &def->databases[def->databases_len++];
    strcpy(db->name, "payments");
    db->max_lag_bytes = 1000;
    db->instances_len = 4; /* a the primary; b, c, d standbys */
    for (int i = 0; i < db->instances_len; i++) {
        def->nodes[i].name[0] = (char)('a' + i);
        db->instances[i].node = i;
        db->instances[i].name[0] = (char)('a' + i);
        def->nodes_len++;
    }
}

static void adopt_it(struct core *core)
{
    struct group_record *group = calloc(1, sizeof *group);
    struct permit_record *permit = calloc(1, sizeof *permit);
    assert_non_null(group);
    assert_non_null(permit);
    strcpy(group->name, "shop");
    strcpy(group->databases[0].database, "payments");
    strcpy(group->databases[0].primary, "a");
    group->databases_len = 1;
    strcpy(permit->database, "payments");
    strcpy(permit->node, "a");
    permit->state = PERMIT_GRANTED;
    permit->system_id = SYSTEM;
    permit->timeline = 1;
    assert_true(core_take_group(core, group, 2, core->now_ms));
    assert_true(core_take_permit(core, permit, 3));
    free(group);
    free(permit);
}

static struct core *cluster(void)
{
    struct core *core = calloc(1, sizeof *core);
    struct definition *def = calloc(1, sizeof *def);
    assert_non_null(core);
    assert_non_null(def);
    define(def);
    core_init(core, "c1", NOW);
    assert_true(core_take_definition(core, def, 1));
    adopt_it(core);
    for (int i = 0; i < 4; i++) {
        struct instance_state *state = &core->databases[0].instances[i];
        state->health.is = OPINION_UP;
        state->health.cause = CAUSE_OK;
        state->still_findings = 2;
        state->fact = (struct instance_fact){.asked_ms = NOW - 103,
                                             .answered_ms = NOW - 100,
                                             .cause = CAUSE_OK,
                                             .answered = true,
                                             .role = i == 0 ? ROLE_PRIMARY : ROLE_STANDBY,
                                             .system_id = SYSTEM,
                                             .timeline = 1,
                                             .receive_lsn = i == 0 ? 0 : LSN};
    }
    core->databases[0].primary_lsn = LSN;
    core->databases[0].primary_lsn_ms = NOW - 100;
    free(def);
    return core;
}

/* Waits for k of b, c, d (the first `n` of them), and was seen to. */
static void enforce(struct core *core, int k, int n)
{
    struct permit_record *permit = &core->databases[0].permit;
    permit->sync_len = 1;
    permit->sync[0].k = k;
    permit->sync[0].members_len = n;
    for (int m = 0; m < n; m++) {
        permit->sync[0].members[m][0] = (char)('b' + m);
    }
    core->groups[0].record.databases[0].sync_enforced = true;
}

static struct move_record *move_from_a(struct core *core)
{
    struct group_record *group = &core->groups[0].record;
    struct move_record *move = &group->workflow.moves[0];
    group->moving = true;
    group->workflow.moves_len = 1;
    strcpy(move->database, "payments");
    strcpy(move->from, "a");
    strcpy(move->fence_node, "a");
    move->phase = PHASE_CHOOSE;
    return move;
}

static struct instance_state *standby(struct core *core, char node)
{
    return &core->databases[0].instances[node - 'a'];
}

static char chosen(const struct core *core, bool after_fence)
{
    struct choice choice;
    candidate_choose(core, 0, after_fence, &choice);
    return "-abcd"[choice.chosen + 1];
}

/* `node` does not pass, and the reason says `words`. */
static void refused(const struct core *core, char node, bool after_fence, const char *words)
{
    struct choice choice;
    candidate_choose(core, 0, after_fence, &choice);
    assert_int_equal(choice.verdicts_len, 4);
    const struct candidate_verdict *verdict = &choice.verdicts[node - 'a'];
    assert_false(verdict->passes);
    if (strstr(verdict->reason, words) == NULL) {
        fail_msg("'%s' does not say '%s'", verdict->reason, words);
    }
    assert_int_not_equal(choice.chosen, node - 'a');
}

static void a_fresh_standby_of_the_recorded_history_passes(void **state)
{
    (void)state;
    struct core *core = cluster();
    assert_int_equal(chosen(core, false), 'b');
    refused(core, 'a', false, "it is the primary");
    free(core);
}

static void each_fact_that_speaks_against_a_standby_is_said_with_its_value(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct instance_state *b = standby(core, 'b');
    struct instance_state good = *b;
    b->fact.system_id = 7001;
    refused(core, 'b', false, "7001, the permit's 7000");
    *b = good;
    b->fact.timeline = 2; /* the highest one may be a fork (failures.md F7) */
    refused(core, 'b', false, "timeline 2, the recorded history is on 1");
    *b = good;
    b->fact.role = ROLE_PRIMARY;
    refused(core, 'b', false, "primary, not standby");
    *b = good;
    b->fact.receive_lsn = 0;
    refused(core, 'b', false, "not known");
    *b = good;
    b->health.cause = CAUSE_REFUSED;
    refused(core, 'b', false, "refused");
    *b = good;
    b->fact.answered = false;
    b->health.cause = CAUSE_TIMED_OUT;
    refused(core, 'b', false, "timed out");
    free(core);
}

static void an_old_finding_speaks_for_nobody(void **state)
{
    (void)state;
    struct core *core = cluster();
    uint64_t limit = fresh_limit_ms(core);
    char words[64];
    standby(core, 'b')->fact.answered_ms = NOW - limit;
    assert_int_equal(chosen(core, false), 'b');
    standby(core, 'b')->fact.answered_ms = NOW - limit - 1;
    snprintf(words, sizeof words, "last heard %llu ms ago (limit %llu ms)",
             (unsigned long long)limit + 1, (unsigned long long)limit);
    refused(core, 'b', false, words);
    free(core);
}

static void a_burnt_one_is_never_chosen_in_its_move_nor_later(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct database_record *record = &core->groups[0].record.databases[0];
    strcpy(record->burnt[record->burnt_len++], "b");
    refused(core, 'b', false, "rebuilt by copy");
    assert_int_equal(chosen(core, false), 'c');
    struct move_record *move = move_from_a(core);
    strcpy(move->burnt[move->burnt_len++], "c");
    refused(core, 'c', false, "rebuilt by copy");
    assert_int_equal(chosen(core, false), 'd');
    free(core);
}

static void neither_the_replaced_one_nor_the_fenced_one_is_chosen(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct move_record *move = move_from_a(core);
    standby(core, 'a')->fact.role = ROLE_STANDBY;
    standby(core, 'a')->fact.receive_lsn = 2 * LSN;
    strcpy(move->fence_node, "b");
    refused(core, 'a', false, "being replaced");
    refused(core, 'b', false, "being fenced");
    assert_int_equal(chosen(core, false), 'c');
    free(core);
}

static void after_the_fence_only_who_was_heard_since_counts(void **state)
{
    (void)state;
    struct core *core = cluster();
    move_from_a(core);
    core->databases[0].proven_ms = NOW - 103;
    assert_int_equal(chosen(core, true), 'b'); /* asked for at the proof itself */
    core->databases[0].proven_ms = NOW - 102;
    refused(core, 'b', true, "not heard since");
    assert_int_equal(chosen(core, true), '-');
    core->databases[0].proven_ms = NOW - 103;
    standby(core, 'b')->still_findings = 1;
    refused(core, 'b', true, "not been seen at rest");
    standby(core, 'b')->fact.replay_idle = true; /* and nothing is received: one look is enough */
    assert_int_equal(chosen(core, true), 'b');
    standby(core, 'b')->fact.receiving = true; /* it may still receive */
    refused(core, 'b', true, "not been seen at rest");
    standby(core, 'b')->fact.receiving = false;
    standby(core, 'b')->fact.replay_idle = false; /* its log's end is not known yet */
    refused(core, 'b', true, "not been seen at rest");
    assert_int_equal(chosen(core, true), 'c');
    free(core);
}

/* F8: equals are told apart by what is recorded alone, so that every controller chooses alike. */
static void the_most_wal_wins_then_the_plan_then_priority_then_the_order(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct move_record *move = move_from_a(core);
    struct instance_def *defs = core->def.databases[0].instances;
    assert_int_equal(chosen(core, false), 'b');
    defs[2].priority = 10;
    assert_int_equal(chosen(core, false), 'c');
    strcpy(move->planned, "d");
    assert_int_equal(chosen(core, false), 'd');
    standby(core, 'b')->fact.receive_lsn = LSN + 1;
    assert_int_equal(chosen(core, false), 'b');
    free(core);
}

static void two_controllers_choose_alike_from_the_same_facts(void **state)
{
    (void)state;
    struct core *one = cluster();
    struct core *other = cluster();
    standby(one, 'c')->fact.answered_ms = NOW - 7; /* when each heard is its own affair */
    standby(other, 'd')->fact.answered_ms = NOW - 9;
    assert_int_equal(chosen(one, false), chosen(other, false));
    free(one);
    free(other);
}

/* Of each entry n - k + 1 must be heard: else one that was not could hold the only copy. */
static void of_each_sync_entry_n_minus_k_plus_1_must_be_heard(void **state)
{
    (void)state;
    static const struct {
        int k, needed;
    } entries[] = {{1, 3}, {2, 2}, {3, 1}};
    for (size_t e = 0; e < sizeof entries / sizeof entries[0]; e++) {
        for (int heard = 0; heard <= 3; heard++) {
            struct core *core = cluster();
            enforce(core, entries[e].k, 3);
            for (int i = 3; i > heard; i--) {
                core->databases[0].instances[i].health.cause = CAUSE_TIMED_OUT;
            }
            bool passes = heard >= entries[e].needed;
            assert_int_equal(chosen(core, false), passes ? 'b' : '-');
            free(core);
        }
    }
}

static void every_entry_counts_while_two_may_be_enforced(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct permit_record *permit = &core->databases[0].permit;
    enforce(core, 1, 1); /* b alone */
    assert_int_equal(chosen(core, false), 'b');
    permit->sync_len = 2; /* ... or c alone */
    permit->sync[1].k = 1;
    permit->sync[1].members_len = 1;
    strcpy(permit->sync[1].members[0], "c");
    assert_int_equal(chosen(core, false), 'b');
    standby(core, 'c')->health.cause = CAUSE_TIMED_OUT;
    assert_int_equal(chosen(core, false), '-');
    free(core);
}

static void one_that_no_commit_waited_for_is_not_chosen_for_its_wal(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct choice choice;
    enforce(core, 2, 2); /* b and c */
    standby(core, 'd')->fact.receive_lsn = 2 * LSN;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.chosen, 1);
    assert_true(choice.loss_known);
    assert_int_equal(choice.loss_bytes, 0);
    free(core);
}

static void entries_that_were_not_seen_enforced_prove_nothing(void **state)
{
    (void)state;
    struct core *core = cluster();
    enforce(core, 3, 3);
    core->groups[0].record.databases[0].sync_enforced = false;
    core->databases[0].primary_lsn = LSN + 1001;
    assert_int_equal(chosen(core, false), '-');
    core->databases[0].primary_lsn = LSN + 1000;
    assert_int_equal(chosen(core, false), 'b');
    free(core);
}

static void the_estimated_loss_is_held_against_its_limit(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct choice choice;
    core->databases[0].primary_lsn = LSN + 1000; /* max_lag is 1000 */
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.chosen, 1);
    assert_true(choice.loss_known);
    assert_int_equal(choice.loss_bytes, 1000);
    core->databases[0].primary_lsn = LSN + 1001;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.chosen, -1);
    assert_non_null(strstr(choice.reason, "1001 bytes (limit 1000)"));
    free(core);
}

/* failures.md F9: what is not proven is not lost by itself, however little an estimate says. */
static void f9_strict_goes_by_no_estimate_and_waits_for_a_person(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct choice choice;
    core->def.databases[0].durability = DURABILITY_STRICT;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.loss_bytes, 0);
    assert_int_equal(choice.chosen, -1);
    assert_non_null(strstr(choice.reason, "durability is strict"));
    enforce(core, 1, 3);
    assert_int_equal(chosen(core, false), 'b'); /* its entry proves that nothing is lost */
    core->groups[0].record.databases[0].sync_enforced = false;
    move_from_a(core)->accept_loss_bytes = 1;
    assert_int_equal(chosen(core, true), 'b');
    free(core);
}

/* failures.md F13: the sample is old, and the primary went on writing. */
static void an_old_sample_is_moved_on_at_its_rate_until_the_failure(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct choice choice;
    struct health *primary = &core->databases[0].instances[0].health;
    core->databases[0].primary_lsn_ms = NOW - 8000;
    core->databases[0].bytes_per_s = 100;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.loss_bytes, 800); /* it may be writing still */
    primary->cause = CAUSE_REFUSED;
    primary->first_bad_ms = NOW - 5000; /* from then on it was not */
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.loss_bytes, 300);
    primary->cause = CAUSE_TIMED_OUT; /* silence is no end */
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.loss_bytes, 800);
    core->databases[0].proven_ms = NOW - 6000; /* a proven fence is */
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.loss_bytes, 200);
    free(core);
}

static void a_loss_that_cannot_be_estimated_needs_a_person(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct choice choice;
    core->databases[0].primary_lsn_ms = 0;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.chosen, -1);
    assert_non_null(strstr(choice.reason, "cannot be estimated"));
    move_from_a(core)->accept_loss_bytes = 1;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.chosen, 1);
    assert_false(choice.loss_known);
    free(core);
}

static void a_person_accepts_a_named_loss_and_no_more(void **state)
{
    (void)state;
    struct core *core = cluster();
    core->databases[0].primary_lsn = LSN + 5000;
    struct move_record *move = move_from_a(core);
    move->accept_loss_bytes = 4999;
    assert_int_equal(chosen(core, false), '-');
    move->accept_loss_bytes = 5000;
    assert_int_equal(chosen(core, false), 'b');
    enforce(core, 1, 3); /* unheard members: as asynchronous, within the same bytes */
    standby(core, 'd')->health.cause = CAUSE_TIMED_OUT;
    assert_int_equal(chosen(core, false), 'b');
    move->accept_loss_bytes = 4999;
    assert_int_equal(chosen(core, false), '-');
    move->accept_loss_bytes = 0;
    assert_int_equal(chosen(core, false), '-');
    free(core);
}

static void with_nobody_every_reason_is_given(void **state)
{
    (void)state;
    struct core *core = cluster();
    struct choice choice;
    standby(core, 'b')->fact.timeline = 9;
    standby(core, 'c')->health.cause = CAUSE_REFUSED;
    standby(core, 'd')->fact.receive_lsn = 0;
    candidate_choose(core, 0, false, &choice);
    assert_int_equal(choice.chosen, -1);
    assert_non_null(strstr(choice.reason, "a: it is the primary"));
    assert_non_null(strstr(choice.reason, "b: it is on timeline 9"));
    assert_non_null(strstr(choice.reason, "c: refused"));
    assert_non_null(strstr(choice.reason, "d: where its WAL ends is not known"));
    free(core);
}

static void the_names_in_force_are_compared_with_the_permits_entry(void **state)
{
    (void)state;
    struct core *core = cluster();
    enforce(core, 1, 2); /* 1 of b, c */
    const struct permit_record *permit = &core->databases[0].permit;
    static const char *const same[] = {"FIRST 1 (b, c)",     "ANY 1 (c,b)",
                                       "1 (b, c)",           "b, c",
                                       "first 1 (\"b\", c)", " FIRST  1 ( b , c ) "};
    static const char *const other[] = {"",
                                        "*",
                                        "b",
                                        "FIRST 2 (b, c)",
                                        "FIRST 1 (b)",
                                        "FIRST 1 (b, c, d)",
                                        "FIRST 1 (b, d)",
                                        "ANY 1 (*)",
                                        "FIRST 1 (b, c",
                                        "FIRST (b, c)",
                                        "FIRST 1 b, c",
                                        "b c",
                                        "FIRST 1 (b, b)",
                                        "FIRST 1 (b, c) x",
                                        "b, c,"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        if (!sync_names_match(same[i], permit)) {
            fail_msg("'%s' says the same", same[i]);
        }
    }
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
        if (sync_names_match(other[i], permit)) {
            fail_msg("'%s' says something else", other[i]);
        }
    }
    free(core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_standby_of_the_recorded_history_passes),
        cmocka_unit_test(each_fact_that_speaks_against_a_standby_is_said_with_its_value),
        cmocka_unit_test(an_old_finding_speaks_for_nobody),
        cmocka_unit_test(a_burnt_one_is_never_chosen_in_its_move_nor_later),
        cmocka_unit_test(neither_the_replaced_one_nor_the_fenced_one_is_chosen),
        cmocka_unit_test(after_the_fence_only_who_was_heard_since_counts),
        cmocka_unit_test(the_most_wal_wins_then_the_plan_then_priority_then_the_order),
        cmocka_unit_test(two_controllers_choose_alike_from_the_same_facts),
        cmocka_unit_test(of_each_sync_entry_n_minus_k_plus_1_must_be_heard),
        cmocka_unit_test(every_entry_counts_while_two_may_be_enforced),
        cmocka_unit_test(one_that_no_commit_waited_for_is_not_chosen_for_its_wal),
        cmocka_unit_test(entries_that_were_not_seen_enforced_prove_nothing),
        cmocka_unit_test(the_estimated_loss_is_held_against_its_limit),
        cmocka_unit_test(f9_strict_goes_by_no_estimate_and_waits_for_a_person),
        cmocka_unit_test(an_old_sample_is_moved_on_at_its_rate_until_the_failure),
        cmocka_unit_test(a_loss_that_cannot_be_estimated_needs_a_person),
        cmocka_unit_test(a_person_accepts_a_named_loss_and_no_more),
        cmocka_unit_test(with_nobody_every_reason_is_given),
        cmocka_unit_test(the_names_in_force_are_compared_with_the_permits_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
