/*
 * mutate.h - one text becomes a thousand bad ones, the same each time. For tests.
 *
 * Bytes are flipped, taken out and put in; lines are lost, doubled and exchanged; words change
 * places; what readers stumble over is put in at any place. The rest of the text stays what it was,
 * so that the damage reaches deep into the reader, and now and then does none.
 */
#ifndef TESTS_UNIT_MUTATE_H
#define TESTS_UNIT_MUTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct mutant {
    char *text; /* NUL behind it */
    size_t len, room;
    uint64_t seed;
};

static inline uint64_t mutate_random(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % below;
}

/* What readers of YAML and JSON stumble over. */
static const char *const mutate_pieces[] = {"&a ",
                                            "*a",
                                            "&a [*a, *a]",
                                            "!!binary ",
                                            "!t ",
                                            "<<: ",
                                            "? ",
                                            "- ",
                                            ": ",
                                            ":",
                                            ", ",
                                            "{",
                                            "}",
                                            "[",
                                            "]",
                                            "[[[[[[[[",
                                            "{a: {b: {c: ",
                                            "'",
                                            "\"",
                                            "|\n",
                                            ">-\n",
                                            "#",
                                            "%YAML 1.1\n",
                                            "---\n",
                                            "...\n",
                                            "\t",
                                            "\r",
                                            "\r\n",
                                            "\n",
                                            "\n\n\n",
                                            "  ",
                                            "\"\\0\"",
                                            "\"\\u0000\"",
                                            "\"\\x1b[2J\"",
                                            "\"\\u009b\"",
                                            "\"\\x7f\"",
                                            "\"\\uD800\"",
                                            "\"a\\nb\"",
                                            "\"\\xe9\\u20ac\\U0001F600\"",
                                            "\x1b[31m",
                                            "\x7f",
                                            "\xc2\x9b",
                                            "\xc2\x85",
                                            "\xe2\x80\xa8",
                                            "\xc3\xa9",
                                            "\xe2\x82\xac",
                                            "\xf0\x9f\x98\x80",
                                            "\xef\xbb\xbf",
                                            "\xff",
                                            "\xc0\x80",
                                            "\xed\xa0\x80",
                                            "\xc3",
                                            "0",
                                            "-1",
                                            "1e9",
                                            "0x10",
                                            "007",
                                            "+1",
                                            "65536",
                                            "4294967296",
                                            "9223372036854775808",
                                            "18446744073709551616",
                                            "999999999999999999999999",
                                            "1.5",
                                            "null",
                                            "~",
                                            "\"\"",
                                            "yes",
                                            "true",
                                            "none",
                                            ".",
                                            "-",
                                            "_",
                                            "%s%n",
                                            "../../etc/passwd"};
#define MUTATE_PIECES (sizeof mutate_pieces / sizeof *mutate_pieces)

static inline void mutate_start(struct mutant *m, const char *text, size_t len, uint64_t seed)
{
    m->len = len;
    m->room = len * 2 + 1024;
    m->seed = seed;
    m->text = malloc(m->room + 1);
    memcpy(m->text, text, len);
    m->text[len] = '\0';
}

/* The text at [at, at + old_len) becomes the other one. */
static inline void mutate_replace(struct mutant *m, size_t at, size_t old_len, const char *text,
                                  size_t len)
{
    if (m->len - old_len + len > m->room) {
        m->room = (m->len + len) * 2;
        m->text = realloc(m->text, m->room + 1);
    }
    memmove(m->text + at + len, m->text + at + old_len, m->len - at - old_len);
    memcpy(m->text + at, text, len);
    m->len = m->len - old_len + len;
    m->text[m->len] = '\0';
}

/* The line at `at`, with its end. */
static inline void mutate_line(const struct mutant *m, size_t at, size_t *ret_from, size_t *ret_len)
{
    size_t from = at;
    size_t end = at;
    while (from > 0 && m->text[from - 1] != '\n') {
        from--;
    }
    while (end < m->len && m->text[end] != '\n') {
        end++;
    }
    *ret_from = from;
    *ret_len = (end < m->len ? end + 1 : end) - from;
}

static inline bool mutate_in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
}

/* The word at or behind `at`; length 0: there is none. */
static inline void mutate_word(const struct mutant *m, size_t at, size_t *ret_from, size_t *ret_len)
{
    while (at < m->len && !mutate_in_word(m->text[at])) {
        at++;
    }
    size_t from = at;
    while (from > 0 && mutate_in_word(m->text[from - 1])) {
        from--;
    }
    while (at < m->len && mutate_in_word(m->text[at])) {
        at++;
    }
    *ret_from = from;
    *ret_len = at - from;
}

/* A line or word takes another's place, or stands twice. */
static inline void mutate_copy(struct mutant *m, bool words)
{
    size_t from, len, to, to_len;
    size_t a = mutate_random(&m->seed, m->len);
    size_t b = mutate_random(&m->seed, m->len);
    (words ? mutate_word : mutate_line)(m, a, &from, &len);
    (words ? mutate_word : mutate_line)(m, b, &to, &to_len);
    char *copy = malloc(len + 1);
    memcpy(copy, m->text + from, len);
    mutate_replace(m, to, words || mutate_random(&m->seed, 2) == 0 ? to_len : 0, copy, len);
    free(copy);
}

/* A piece many times over: long keys and values, deep nests, lines that do not end. */
static inline void mutate_flood(struct mutant *m, size_t at)
{
    static const char *const parts[] = {
        "x", "[", "{a: ", "- ", "a: ", "\xc3\xa9", " ", "\n", "a,", "\\"};
    static const size_t times[] = {41, 65, 200, 400, 5000, 16000};
    const char *part = parts[mutate_random(&m->seed, sizeof parts / sizeof *parts)];
    size_t number = times[mutate_random(&m->seed, sizeof times / sizeof *times)];
    size_t len = strlen(part);
    char *text = malloc(number * len + 1);
    for (size_t i = 0; i < number * len; i++) {
        text[i] = part[i % len];
    }
    mutate_replace(m, at, 0, text, number * len);
    free(text);
}

static inline void mutate_once(struct mutant *m)
{
    if (m->len == 0) {
        return;
    }
    size_t at = mutate_random(&m->seed, m->len);
    size_t from, len;
    const char *piece = mutate_pieces[mutate_random(&m->seed, MUTATE_PIECES)];
    switch (mutate_random(&m->seed, 12)) {
    case 0: m->text[at] = (char)(m->text[at] ^ (1 << mutate_random(&m->seed, 8))); break;
    case 1: m->text[at] = (char)mutate_random(&m->seed, 256); break;
    case 2: mutate_replace(m, at, 1, "", 0); break;
    case 3: mutate_replace(m, at, 0, piece, strlen(piece)); break;
    case 4: /* a value that is another's kind */
        mutate_word(m, at, &from, &len);
        mutate_replace(m, from, len, piece, strlen(piece));
        break;
    case 5: mutate_copy(m, true); break;
    case 6: mutate_copy(m, true); break;
    case 7: mutate_copy(m, false); break;
    case 8: /* a line lost */
        mutate_line(m, at, &from, &len);
        mutate_replace(m, from, len, "", 0);
        break;
    case 9: /* a piece cut out */
        len = 1 + mutate_random(&m->seed, 200);
        mutate_replace(m, at, len < m->len - at ? len : m->len - at, "", 0);
        break;
    case 10:
        if (mutate_random(&m->seed, 4) == 0) {
            mutate_replace(m, at, m->len - at, "", 0); /* it ends there */
        }
        break;
    default:
        if (mutate_random(&m->seed, 8) == 0) {
            mutate_flood(m, at);
        }
        break;
    }
}

/* The text with one to four wounds, in a piece of memory just as long: reading past its end is
 * seen. The caller frees it. */
static inline char *mutated(const char *text, size_t len, uint64_t seed, size_t *ret_len)
{
    struct mutant m;
    mutate_start(&m, text, len, seed * UINT64_C(0x9e3779b97f4a7c15) + 1);
    for (uint64_t wounds = 1 + mutate_random(&m.seed, 4); wounds > 0; wounds--) {
        mutate_once(&m);
    }
    char *exact = malloc(m.len + 1);
    memcpy(exact, m.text, m.len + 1);
    free(m.text);
    *ret_len = m.len;
    return exact;
}

/* Is it what may be shown on a terminal: whole UTF-8, no control characters (C0, DEL, C1)? */
static inline bool is_printable(const char *text)
{
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        int more = *at < 0x80 ? 0 : *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : *at >= 0xc2 ? 1 : -1;
        if (more < 0 || *at > 0xf4 || *at < 0x20 || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0)) {
            return false;
        }
        for (at++; more > 0; more--, at++) {
            if ((*at & 0xc0) != 0x80) {
                return false;
            }
        }
    }
    return true;
}

#endif
