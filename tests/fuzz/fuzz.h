/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one file, fuzz_NAME.c, around libFuzzer's entry: it takes bytes from outside through
 * the same door as the programs do, and asserts what those who read the result rely on. The preset
 * `fuzz` makes programs that search (tests/fuzz/run); every other build makes ones that try what is
 * kept in tests/fuzz/corpus/NAME and tests/fuzz/regressions/NAME again (replay.c). Where a door
 * needs a network, a clock or a child, the linker puts the target's own function there (--wrap),
 * and the input is the script that it plays. targets.txt lists what is armed.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/err.h"
#include "controller/base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. */
struct fuzz {
    const uint8_t *data;
    size_t len;
};

/* The next byte; 0 behind the end. */
static inline uint8_t fuzz_byte(struct fuzz *fuzz)
{
    if (fuzz->len == 0) {
        return 0;
    }
    fuzz->len--;
    return *fuzz->data++;
}

/* A number from 0 to below `below`. */
static inline unsigned fuzz_below(struct fuzz *fuzz, unsigned below)
{
    return fuzz_byte(fuzz) % below;
}

/* Everything up to the separator or the end, in memory just as long, so that reading past its end
 * is seen. To be freed. */
static inline char *fuzz_piece(struct fuzz *fuzz, const char *separator, size_t *ret_len)
{
    const uint8_t *end =
        fuzz->len > 0 ? memmem(fuzz->data, fuzz->len, separator, strlen(separator)) : NULL;
    size_t len = end != NULL ? (size_t)(end - fuzz->data) : fuzz->len;
    size_t gone = end != NULL ? len + strlen(separator) : len;
    char *piece = malloc(len > 0 ? len : 1);

    assert(piece != NULL);
    if (len > 0) {
        memcpy(piece, fuzz->data, len);
    }
    fuzz->data += gone;
    fuzz->len -= gone;
    *ret_len = len;
    return piece;
}

static inline char *fuzz_rest(struct fuzz *fuzz, size_t *ret_len)
{
    char *rest = malloc(fuzz->len > 0 ? fuzz->len : 1);

    assert(rest != NULL);
    if (fuzz->len > 0) {
        memcpy(rest, fuzz->data, fuzz->len);
    }
    *ret_len = fuzz->len;
    fuzz->data += fuzz->len;
    fuzz->len = 0;
    return rest;
}

/* The same as a C string: up to the first NUL. */
static inline char *fuzz_text(struct fuzz *fuzz, const char *separator)
{
    size_t len;
    char *piece = fuzz_piece(fuzz, separator, &len);
    char *text = strndup(piece, len);

    free(piece);
    assert(text != NULL);
    return text;
}

/* Memory that nobody has written to since fuzz_stain(). */
#define FUZZ_STAIN 0x5a
static inline void fuzz_stain(void *memory, size_t size)
{
    memset(memory, FUZZ_STAIN, size);
}

static inline bool fuzz_is_stained(const void *memory, size_t size)
{
    const unsigned char *bytes = memory;

    return bytes[0] == FUZZ_STAIN && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* A complaint for a person: it is there, and may be shown. */
static inline void fuzz_expect_words(const char *text)
{
    assert(text[0] != '\0' && utf8_is_line(text));
}

static inline void fuzz_expect_err(const struct err *err)
{
    assert(err->code != ERR_NONE);
    fuzz_expect_words(err->text);
}

#endif
