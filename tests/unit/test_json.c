/* Reading JSON: what is taken, what is refused, and what the message says. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/base/json.h"

#define LIMIT (1u << 20)

static json_t *root;
static struct json_in in;

static void read_from(const char *text)
{
    struct err err = {0};
    json_decref(root);
    root = json_parse(text, strlen(text), LIMIT, &err);
    if (root == NULL) {
        fail_msg("%s", err.text);
    }
    json_in_init(&in, "permit");
}

static int tear_down(void **state)
{
    (void)state;
    json_decref(root);
    root = NULL;
    return 0;
}

static void expect_error(const char *text)
{
    struct err err = {0};
    assert_false(json_in_ok(&in));
    assert_int_equal(json_in_done(&in, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_string_equal(err.text, text);
}

static void expect_unparsed(const char *text, size_t len)
{
    struct err err = {0};
    assert_null(json_parse(text, len, LIMIT, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_true(strlen(err.text) > 0);
}

static void a_document_is_read_member_by_member(void **state)
{
    (void)state;
    read_from("{\"node\":\"db1\",\"epoch\":7,\"armed\":true,\"sync\":{\"k\":1},\"list\":[1,2]}");
    char node[8];
    json_text(&in, root, "node", node, sizeof node);
    assert_string_equal(node, "db1");
    assert_int_equal(json_i64(&in, root, "epoch", 1, 9), 7);
    assert_true(json_bool(&in, root, "armed"));
    const json_t *sync = json_object_at(&in, root, "sync");
    assert_int_equal(json_u64(&in, sync, "k"), 1);
    assert_int_equal(json_array_size(json_array_at(&in, root, "list", 2)), 2);
    assert_int_equal(json_in_done(&in, NULL), 0);
}

static void bad_documents_are_refused_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "{\"a\":1}x",
        "{\"a\":1,\"a\":2}",
        "{\"a\":\"\xff\xfe\"}",
        "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":99999999999999999999}",
        "{\"a\":1e999}",
        "{\"a\":nan}",
        "{'a':1}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        expect_unparsed(bad[i], strlen(bad[i]));
    }
    expect_unparsed("{\"a\":\"x\0y\"}", 11);
}

static void a_document_over_the_limit_is_not_even_parsed(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(json_parse("{\"a\":1}", 7, 6, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    root = json_parse("{\"a\":1}", 7, 7, &err);
    assert_non_null(root);
}

static void a_document_nested_too_deeply_is_refused(void **state)
{
    (void)state;
    char *deep = malloc(200000);
    memset(deep, '[', 100000);
    memset(deep + 100000, ']', 100000);
    expect_unparsed(deep, 200000);
    free(deep);
}

static void integers_come_as_numbers_or_as_strings_without_loss(void **state)
{
    (void)state;
    read_from("{\"a\":\"18446744073709551615\",\"b\":\"-9223372036854775808\","
              "\"c\":9223372036854775807,\"d\":\"0\"}");
    assert_true(json_u64(&in, root, "a") == UINT64_MAX);
    assert_true(json_i64(&in, root, "b", INT64_MIN, INT64_MAX) == INT64_MIN);
    assert_true(json_i64(&in, root, "c", INT64_MIN, INT64_MAX) == INT64_MAX);
    assert_true(json_u64(&in, root, "c") == INT64_MAX);
    assert_int_equal(json_i64(&in, root, "d", 0, 0), 0);
    assert_true(json_in_ok(&in));
}

static void what_only_looks_like_an_integer_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\"\"",
        "\" 1\"",
        "\"1 \"",
        "\"+1\"",
        "\"0x10\"",
        "\"1e3\"",
        "1.0",
        "true",
        "\"-\"",
        "\"--1\"",
        "[]",
        "{}",
        "\"9223372036854775808\"",
        "\"-9223372036854775809\"",
        "null",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"a\":%s}", bad[i]);
        read_from(text);
        json_i64(&in, root, "a", INT64_MIN, INT64_MAX);
        assert_false(json_in_ok(&in));
    }
    read_from("{\"a\":-1,\"b\":\"18446744073709551616\",\"c\":\"-1\"}");
    json_u64(&in, root, "a");
    expect_error("permit.a: found -1, must be an integer from 0 to 18446744073709551615");
    json_in_init(&in, "permit");
    json_u64(&in, root, "b");
    assert_false(json_in_ok(&in));
    json_in_init(&in, "permit");
    json_u64(&in, root, "c");
    assert_false(json_in_ok(&in));
}

static void an_integer_outside_its_range_is_told_with_the_range(void **state)
{
    (void)state;
    read_from("{\"schema\":3}");
    assert_int_equal(json_i64(&in, root, "schema", 1, 2), 1);
    expect_error("permit.schema: found 3, must be an integer from 1 to 2");
}

static void a_missing_member_is_told_with_its_path(void **state)
{
    (void)state;
    read_from("{\"a\":{\"list\":[{},{}]}}");
    json_enter(&in, "a");
    json_enter(&in, "list");
    json_enter_index(&in, 1);
    json_bool(&in, json_array_get(json_object_get(json_object_get(root, "a"), "list"), 1), "on");
    expect_error("permit.a.list[1].on: is missing, must be true or false");
}

static void leaving_puts_the_path_back_even_with_dots_in_keys_and_when_it_was_too_long(void **state)
{
    (void)state;
    read_from("{}");
    char longest[400];
    memset(longest, 'k', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    json_enter(&in, "pg.example.org[0]");
    json_enter(&in, longest);
    json_enter_index(&in, 7);
    json_leave(&in);
    json_leave(&in);
    assert_string_equal(in.path, "permit.pg.example.org[0]");
    json_leave(&in);
    json_in_fail(&in, NULL, "is %s", "odd");
    expect_error("permit: is odd");
}

static void the_first_error_stays_and_nothing_is_changed_after_it(void **state)
{
    (void)state;
    read_from("{\"a\":\"text\",\"b\":5,\"c\":true}");
    json_bool(&in, root, "a");
    char text[8] = "before";
    json_text(&in, root, "a", text, sizeof text);
    json_text_or(&in, root, "none", text, sizeof text, "absent");
    assert_string_equal(text, "before");
    assert_int_equal(json_i64(&in, root, "b", 1, 9), 1);
    assert_int_equal(json_u64(&in, root, "b"), 0);
    assert_false(json_bool(&in, root, "c"));
    assert_null(json_object_at(&in, root, "x"));
    json_in_fail(&in, "b", "later");
    expect_error("permit.a: found \"text\", must be true or false");
}

static void a_string_must_fit_with_its_end(void **state)
{
    (void)state;
    read_from("{\"a\":\"12345678\",\"b\":7}");
    char text[9] = "";
    json_text(&in, root, "a", text, 9);
    assert_string_equal(text, "12345678");
    json_text(&in, root, "a", text, 8);
    expect_error("permit.a: found a string of 8 bytes, must be a string of at most 7 bytes");
    json_in_init(&in, "permit");
    json_text(&in, root, "b", text, sizeof text);
    expect_error("permit.b: found 7, must be a string of at most 8 bytes");
}

static void an_array_must_not_be_longer_than_its_reader_takes(void **state)
{
    (void)state;
    read_from("{\"a\":[1,2,3]}");
    assert_null(json_array_at(&in, root, "a", 2));
    expect_error("permit.a: found an array of 3, must be an array of at most 2");
}

static void a_member_of_what_is_no_object_is_an_error(void **state)
{
    (void)state;
    read_from("{\"a\":[1]}");
    json_u64_or(&in, json_object_get(root, "a"), "b", 5);
    expect_error("permit: is not an object, so it has no \"b\"");
    json_in_init(&in, "permit");
    json_bool(&in, NULL, "b");
    assert_false(json_in_ok(&in));
}

static void a_name_of_a_list_is_found_and_a_wrong_one_gets_a_hint(void **state)
{
    (void)state;
    static const char *const names[] = {"granted", "revoked", "unknown", NULL};
    read_from("{\"a\":\"revoked\",\"b\":\"grantet\",\"c\":1}");
    assert_int_equal(json_enum(&in, root, "a", names), 1);
    assert_int_equal(json_enum(&in, root, "b", names), -1);
    expect_error("permit.b: found \"grantet\", must be one of granted, revoked, unknown; the "
                 "nearest is \"granted\"");
    json_in_init(&in, "permit");
    assert_int_equal(json_enum(&in, root, "c", names), -1);
    expect_error("permit.c: found 1, must be one of granted, revoked, unknown");
}

static void absent_and_null_give_the_default_and_wrong_does_not(void **state)
{
    (void)state;
    read_from("{\"null\":null,\"here\":\"5\",\"yes\":true}");
    assert_false(json_has(root, "none"));
    assert_false(json_has(root, "null"));
    assert_true(json_has(root, "here"));
    assert_int_equal(json_i64_or(&in, root, "none", 0, 9, 3), 3);
    assert_int_equal(json_i64_or(&in, root, "null", 0, 9, 3), 3);
    assert_int_equal(json_i64_or(&in, root, "here", 0, 9, 3), 5);
    assert_int_equal(json_u64_or(&in, root, "none", 4), 4);
    assert_true(json_bool_or(&in, root, "none", true));
    assert_true(json_bool_or(&in, root, "yes", false));
    char text[8];
    json_text_or(&in, root, "none", text, sizeof text, "x");
    assert_string_equal(text, "x");
    json_text_or(&in, root, "here", text, sizeof text, "x");
    assert_string_equal(text, "5");
    assert_true(json_in_ok(&in));
    json_bool_or(&in, root, "here", true);
    expect_error("permit.here: found \"5\", must be true or false");
}

static void a_long_value_is_shown_by_its_beginning(void **state)
{
    (void)state;
    char text[1000] = "{\"a\":\"";
    memset(text + 6, 'v', 900);
    memcpy(text + 906, "\"}", 3);
    read_from(text);
    json_bool(&in, root, "a");
    struct err err = {0};
    json_in_done(&in, &err);
    assert_non_null(strstr(err.text, "vvv\"..., must be true or false"));
    assert_true(strlen(err.text) < 120);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_document_is_read_member_by_member),
        TEST(bad_documents_are_refused_whole),
        TEST(a_document_over_the_limit_is_not_even_parsed),
        TEST(a_document_nested_too_deeply_is_refused),
        TEST(integers_come_as_numbers_or_as_strings_without_loss),
        TEST(what_only_looks_like_an_integer_is_refused),
        TEST(an_integer_outside_its_range_is_told_with_the_range),
        TEST(a_missing_member_is_told_with_its_path),
        TEST(leaving_puts_the_path_back_even_with_dots_in_keys_and_when_it_was_too_long),
        TEST(the_first_error_stays_and_nothing_is_changed_after_it),
        TEST(a_string_must_fit_with_its_end),
        TEST(an_array_must_not_be_longer_than_its_reader_takes),
        TEST(a_member_of_what_is_no_object_is_an_error),
        TEST(a_name_of_a_list_is_found_and_a_wrong_one_gets_a_hint),
        TEST(absent_and_null_give_the_default_and_wrong_does_not),
        TEST(a_long_value_is_shown_by_its_beginning),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
