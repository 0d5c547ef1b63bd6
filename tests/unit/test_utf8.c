/* Text from outside: what is a character, what may be shown, and what is made of the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/utf8.h"

static void a_character_is_as_long_as_rfc_3629_says(void **state)
{
    (void)state;
    assert_int_equal(utf8_len("a", 1), 1);
    assert_int_equal(utf8_len("\xc3\xa9", 2), 2);
    assert_int_equal(utf8_len("\xe2\x82\xac", 3), 3);
    assert_int_equal(utf8_len("\xf4\x8f\xbf\xbf", 4), 4);
    static const char *const none[] = {
        "\x80",             /* no beginning */
        "\xc3(",            /* no continuation */
        "\xc1\xbf",         /* overlong, of two bytes */
        "\xe0\x9f\xbf",     /* ... of three */
        "\xf0\x8f\xbf\xbf", /* ... of four */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* past U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(utf8_len(none[i], strlen(none[i])), 0);
    }
    assert_int_equal(utf8_len("\xe2\x82\xac", 2), 0); /* cut */
    assert_int_equal(utf8_len("", 0), 0);
}

static void a_line_has_no_control_characters(void **state)
{
    (void)state;
    assert_true(utf8_is_line(""));
    assert_true(utf8_is_line("caf\xc3\xa9 \xe2\x82\xac 5 ~ \xc2\xa0"));
    assert_false(utf8_is_line("a\nb"));
    assert_false(utf8_is_line("\x1b[2J"));
    assert_false(utf8_is_line("\x7f"));
    assert_false(utf8_is_line("\xc2\x9b"
                              "2J")); /* CSI in one character */
    assert_false(utf8_is_line("caf\xc3"));
}

static void expect(void (*change)(char *), const char *from, const char *to)
{
    char text[64];
    snprintf(text, sizeof text, "%s", from);
    change(text);
    assert_string_equal(text, to);
    change(text);
    assert_string_equal(text, to); /* nothing is left to change */
}

static void what_is_no_text_is_mended_and_the_rest_stays(void **state)
{
    (void)state;
    expect(utf8_mend, "caf\xc3\xa9\n\x1b[m", "caf\xc3\xa9\n\x1b[m");
    expect(utf8_mend, "\xff\xe2\x82", "???");
    expect(utf8_show, "caf\xc3\xa9\tat\r\nfive", "caf\xc3\xa9 at  five");
    expect(utf8_show, "\x1b[2J\xc2\x9b\x7f\xc3", "?[2J???");
    expect(utf8_show, "\xe2\x82\xac\xe2\x82", "\xe2\x82\xac??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_character_is_as_long_as_rfc_3629_says),
        cmocka_unit_test(a_line_has_no_control_characters),
        cmocka_unit_test(what_is_no_text_is_mended_and_the_rest_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
