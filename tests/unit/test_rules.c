/*
 * The table of rules: complete, without a shadowed row, with every state reached and left, and
 * every rule met in a story of tests/scenario.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/core/private.h"

#define X(id, name) name,
static const char *const events[] = {RULE_EVENT_LIST(X) NULL};
#undef X

static bool covers(struct rule_info rule, enum db_state state, enum rule_event on)
{
    return (rule.from & BIT(state)) != 0 && strcmp(rule.on, events[on]) == 0;
}

static bool has_row(enum db_state state, enum rule_event on)
{
    for (int r = 0; r < core_rules_len(); r++) {
        if (covers(core_rule(r), state, on)) {
            return true;
        }
    }
    return false;
}

static void each_state_and_event_has_a_row_or_a_reason_and_never_both(void **state)
{
    (void)state;
    for (int s = 0; s < DB_STATES; s++) {
        for (int on = 0; on < RULE_EVENTS; on++) {
            const char *reason = core_rule_ignored((enum db_state)s, (enum rule_event)on);
            bool row = has_row((enum db_state)s, (enum rule_event)on);
            if (row == (reason != NULL)) {
                fail_msg("%s on '%s': %s", db_state_names[s], events[on],
                         row ? "a row, and a reason to ignore it" : "neither a row nor a reason");
            }
            assert_true(reason == NULL || strlen(reason) > 0);
        }
    }
}

/* A row that `always` answers leaves nothing to the rows below it. */
static void no_row_stands_in_the_shadow_of_an_earlier_one(void **state)
{
    (void)state;
    for (int late = 0; late < core_rules_len(); late++) {
        struct rule_info below = core_rule(late);
        uint64_t left = below.from;
        for (int early = 0; early < late; early++) {
            struct rule_info above = core_rule(early);
            bool same = strcmp(above.when, "always") == 0 || strcmp(above.when, below.when) == 0;
            if (strcmp(above.on, below.on) == 0 && same) {
                left &= ~above.from;
            }
        }
        if (left == 0) {
            fail_msg("%s is never reached", below.id);
        }
    }
}

static void every_state_can_be_reached_from_the_start(void **state)
{
    (void)state;
    uint64_t reached = BIT(DB_OBSERVING);
    for (int round = 0; round < DB_STATES; round++) {
        for (int r = 0; r < core_rules_len(); r++) {
            struct rule_info rule = core_rule(r);
            if ((rule.from & reached) != 0 && rule.to >= 0) {
                reached |= BIT(rule.to);
            }
        }
    }
    for (int s = 0; s < DB_STATES; s++) {
        if ((reached & BIT(s)) == 0) {
            fail_msg("nothing leads to %s", db_state_names[s]);
        }
    }
}

/* A lost lease leaves every state, so that way out counts for none. */
static void every_state_can_be_left_while_leading(void **state)
{
    (void)state;
    for (int s = 0; s < DB_STATES; s++) {
        bool left = false;
        for (int r = 0; r < core_rules_len(); r++) {
            struct rule_info rule = core_rule(r);
            left = left || ((rule.from & BIT(s)) != 0 && rule.to >= 0 && rule.to != s &&
                            strcmp(rule.on, events[ON_NOT_LEADING]) != 0);
        }
        if (!left) {
            fail_msg("nothing leads out of %s", db_state_names[s]);
        }
    }
}

static void every_state_ends_its_plan_with_the_leadership(void **state)
{
    (void)state;
    for (int s = 0; s < DB_STATES; s++) {
        assert_true(s == DB_OBSERVING || has_row((enum db_state)s, ON_NOT_LEADING));
    }
}

static void an_id_is_unique_and_every_row_says_when_what_and_why(void **state)
{
    (void)state;
    for (int r = 0; r < core_rules_len(); r++) {
        struct rule_info rule = core_rule(r);
        assert_int_equal(strncmp(rule.id, "R-", 2), 0);
        assert_true(strlen(rule.id) > 3 && strlen(rule.id) < 16);
        assert_non_null(rule.when);
        assert_non_null(rule.act);
        assert_true(strlen(rule.why) > 10);
        assert_true(rule.from != 0 && (rule.from >> DB_STATES) == 0);
        assert_true(rule.to >= -1 && rule.to < DB_STATES);
        for (int other = 0; other < r; other++) {
            assert_string_not_equal(rule.id, core_rule(other).id);
        }
    }
}

/* Rules that no story shows, and why that is right. */
static const struct {
    const char *id;
    const char *reason;
} untold[] = {
    {"R-L9", "it is said for developers only: every start of a leader at rest meets it"},
    {"R-K1", "a leader reads its records again as soon as somebody mends them, and is at rest by "
             "R-L9 before a person can ask"},
};

static const char *why_untold(const char *id)
{
    for (size_t i = 0; i < sizeof untold / sizeof untold[0]; i++) {
        if (strcmp(untold[i].id, id) == 0) {
            return untold[i].reason;
        }
    }
    return NULL;
}

static char *read_stories(void)
{
    glob_t files;
    size_t len = 0;
    char *all = NULL;
    assert_int_equal(glob(FAILOVER_SOURCE "/tests/scenario/*.txt", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        FILE *file = fopen(files.gl_pathv[i], "r");
        assert_non_null(file);
        char block[4096];
        size_t got;
        while ((got = fread(block, 1, sizeof block, file)) > 0) {
            all = realloc(all, len + got + 1);
            assert_non_null(all);
            memcpy(all + len, block, got);
            len += got;
            all[len] = '\0';
        }
        fclose(file);
    }
    globfree(&files);
    assert_non_null(all);
    return all;
}

static void every_rule_is_met_in_a_story_or_stands_in_the_list(void **state)
{
    (void)state;
    char *stories = read_stories();
    for (int r = 0; r < core_rules_len(); r++) {
        const char *id = core_rule(r).id;
        char told[32];
        snprintf(told, sizeof told, " %s ", id); /* as in "[  2.003] c1 R-F1 NORMAL -> SUSPECT" */
        bool met = strstr(stories, told) != NULL;
        if (!met && why_untold(id) == NULL) {
            fail_msg("no scenario meets %s (%s)", id, core_rule(r).why);
        }
        if (met && why_untold(id) != NULL) {
            fail_msg("%s is met in a scenario; take it off the list", id);
        }
    }
    free(stories);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_and_event_has_a_row_or_a_reason_and_never_both),
        cmocka_unit_test(no_row_stands_in_the_shadow_of_an_earlier_one),
        cmocka_unit_test(every_state_can_be_reached_from_the_start),
        cmocka_unit_test(every_state_can_be_left_while_leading),
        cmocka_unit_test(every_state_ends_its_plan_with_the_leadership),
        cmocka_unit_test(an_id_is_unique_and_every_row_says_when_what_and_why),
        cmocka_unit_test(every_rule_is_met_in_a_story_or_stands_in_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
