/*
 * The pure vocabulary: LSNs, causes, profiles, and looking up by name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition.h"
#include "controller/cluster/facts.h"
#include "controller/cluster/lsn.h"

static void an_lsn_is_read_as_postgresql_prints_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t lsn;
    } good[] = {
        {"0/0", 0},
        {"0/1", 1},
        {"16/B374D848", 0x16b374d848},
        {"16/b374d848", 0x16b374d848},
        {"1/0", UINT64_C(1) << 32},
        {"00000001/00000002", (UINT64_C(1) << 32) + 2},
        {"FFFFFFFF/FFFFFFFF", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t lsn = 77;
        assert_true(lsn_parse(good[i].text, &lsn));
        assert_true(lsn == good[i].lsn);
    }
}

static void what_is_no_lsn_is_refused_and_leaves_the_output_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",      "/",    "0",    "0/",  "/0",          "0/0/0",       "0/0 ", " 0/0",
        "0x1/0", "-1/0", "0/+1", "g/0", "123456789/0", "0/123456789", "0\\0", "1/2\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t lsn = 77;
        assert_false(lsn_parse(bad[i], &lsn));
        assert_true(lsn == 77);
    }
}

static void an_lsn_is_printed_without_leading_zeros_and_read_back(void **state)
{
    (void)state;
    char text[LSN_TEXT_SIZE];
    lsn_text(0, text);
    assert_string_equal(text, "0/0");
    lsn_text(0x16b374d848, text);
    assert_string_equal(text, "16/B374D848");
    lsn_text(UINT64_C(1) << 32, text);
    assert_string_equal(text, "1/0");
    lsn_text(UINT64_MAX, text);
    assert_string_equal(text, "FFFFFFFF/FFFFFFFF");
    uint64_t lsn = 1;
    for (int i = 0; i < 20000; i++) {
        uint64_t again;
        lsn_text(lsn, text);
        assert_true(lsn_parse(text, &again));
        assert_true(again == lsn);
        lsn = lsn * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    }
}

static void every_cause_has_a_name_and_a_class(void **state)
{
    (void)state;
    for (int i = 0; i < CAUSES; i++) {
        assert_non_null(cause_names[i]);
        enum fault_class class = cause_class((enum cause)i);
        assert_true(class >= FAULT_NONE && class <= FAULT_SECURITY);
        if (i != CAUSE_OK && i != CAUSE_NEVER_PROBED) {
            assert_true(class != FAULT_NONE);
        }
    }
    assert_null(cause_names[CAUSES]);
    assert_string_equal(fault_class_names[FAULT_SECURITY], "security");
    assert_null(fault_class_names[FAULT_SECURITY + 1]);
}

static void only_silence_and_an_end_can_be_a_failure_of_the_primary(void **state)
{
    (void)state;
    static const enum cause failures[] = {CAUSE_REFUSED, CAUSE_TIMED_OUT, CAUSE_CUT,
                                          CAUSE_HUNG,    CAUSE_STOPPING,  CAUSE_STARTING};
    for (int i = 0; i < CAUSES; i++) {
        bool expected = false;
        for (size_t j = 0; j < sizeof failures / sizeof *failures; j++) {
            expected = expected || failures[j] == (enum cause)i;
        }
        assert_int_equal(cause_is_failure((enum cause)i), expected);
    }
}

static void only_an_answer_that_no_standby_gave_shows_that_a_primary_lives(void **state)
{
    (void)state;
    static const enum cause silent[] = {CAUSE_NEVER_PROBED, CAUSE_REFUSED,      CAUSE_TIMED_OUT,
                                        CAUSE_CUT,          CAUSE_HUNG,         CAUSE_PROBER,
                                        CAUSE_IN_RECOVERY,  CAUSE_WRONG_SYSTEM, CAUSE_BAD_ANSWER};
    for (int cause = 0; cause < CAUSES; cause++) {
        struct instance_fact fact = {.cause = (enum cause)cause, .wrote = cause == CAUSE_OK};
        bool is_silent = false;
        for (size_t i = 0; i < sizeof silent / sizeof silent[0]; i++) {
            is_silent = is_silent || silent[i] == fact.cause;
        }
        assert_int_equal(fact_shows_life(&fact), !is_silent);
        fact.answered = true;
        fact.role = ROLE_STANDBY;
        fact.wrote = false;
        assert_false(fact_shows_life(&fact));
    }
}

static void a_profile_tolerates_a_stall_and_probes_within_its_lease(void **state)
{
    (void)state;
    for (int i = 0; profile_names[i] != NULL; i++) {
        const struct profile *p = &profiles[i];
        assert_true(p->permit_d_ms > p->permit_w_ms + p->permit_k_ms + p->renewal_ms);
        assert_true(p->probe_interval_ms < p->lease_ms && p->probe_deadline_ms < p->lease_ms);
        assert_true(p->renewal_ms < p->permit_w_ms);
        assert_true(p->fall >= 2 && p->rise >= 2);
    }
    struct definition *def = calloc(1, sizeof *def);
    def->profile = PROFILE_FAST;
    assert_int_equal(definition_profile(def)->lease_ms, 3000);
    def->profile = PROFILE_DEFAULT;
    assert_int_equal(definition_profile(def)->permit_d_ms, 8000);
    free(def);
}

static void names_are_found_by_their_whole_text(void **state)
{
    (void)state;
    struct definition *def = calloc(1, sizeof *def);
    strcpy(def->sites[0].name, "east");
    strcpy(def->sites[1].name, "west");
    def->sites_len = 2;
    strcpy(def->nodes[0].name, "n1");
    def->nodes_len = 1;
    strcpy(def->databases[0].name, "payments");
    def->databases_len = 1;
    def->databases[0].instances[0].node = 3;
    def->databases[0].instances_len = 1;
    strcpy(def->groups[0].name, "shop");
    def->groups_len = 1;
    assert_int_equal(definition_site(def, "west"), 1);
    assert_int_equal(definition_site(def, "wes"), -1);
    assert_int_equal(definition_node(def, "n1"), 0);
    assert_int_equal(definition_node(def, "n11"), -1);
    assert_int_equal(definition_database(def, "payments"), 0);
    assert_int_equal(definition_database(def, ""), -1);
    assert_int_equal(definition_group(def, "shop"), 0);
    assert_int_equal(definition_group(def, "Shop"), -1);
    assert_int_equal(definition_instance(&def->databases[0], 3), 0);
    assert_int_equal(definition_instance(&def->databases[0], 0), -1);
    free(def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_lsn_is_read_as_postgresql_prints_it),
        cmocka_unit_test(what_is_no_lsn_is_refused_and_leaves_the_output_alone),
        cmocka_unit_test(an_lsn_is_printed_without_leading_zeros_and_read_back),
        cmocka_unit_test(every_cause_has_a_name_and_a_class),
        cmocka_unit_test(only_silence_and_an_end_can_be_a_failure_of_the_primary),
        cmocka_unit_test(only_an_answer_that_no_standby_gave_shows_that_a_primary_lives),
        cmocka_unit_test(a_profile_tolerates_a_stall_and_probes_within_its_lease),
        cmocka_unit_test(names_are_found_by_their_whole_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
