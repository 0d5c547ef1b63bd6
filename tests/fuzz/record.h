/*
 * record.h - what every decoder of a record in etcd promises, for the targets that try them.
 *
 * Read whole, then written out and read again it is the same; with a member that nobody knows it is
 * the same too (a newer program of the same schema may write one); under a higher schema it is
 * refused. Or refused, in words that begin with the record's kind, and nothing is touched.
 */
#ifndef TESTS_FUZZ_RECORD_H
#define TESTS_FUZZ_RECORD_H

#include <jansson.h>

#include "controller/cluster/records_json.h"
#include "tests/fuzz/fuzz.h"

struct fuzz_kind {
    const char *name;
    size_t size;
    int (*decode)(const char *text, size_t len, void *ret_record, struct err *ret_err);
    char *(*encode)(void *record, size_t *ret_len);
    void (*done)(void *record); /* NULL: it owns nothing, and is compared byte by byte */
    bool unnamed;               /* its complaints do not begin with the kind */
};

/* A row for NAME, with functions between the typed ones and the untyped. */
#define FUZZ_KIND(NAME)                                                                            \
    static int decode_##NAME(const char *text, size_t len, void *ret_record, struct err *ret_err)  \
    {                                                                                              \
        return NAME##_record_decode(text, len, ret_record, ret_err);                               \
    }                                                                                              \
    static char *encode_##NAME(void *record, size_t *ret_len)                                      \
    {                                                                                              \
        return NAME##_record_encode(record, ret_len);                                              \
    }
#define FUZZ_ROW(NAME)                                                                             \
    {                                                                                              \
        .name = #NAME, .size = sizeof(struct NAME##_record), .decode = decode_##NAME,              \
        .encode = encode_##NAME                                                                    \
    }

static inline void fuzz_finish(const struct fuzz_kind *kind, void *record)
{
    if (kind->done != NULL) {
        kind->done(record);
    }
}

/* The text decodes to what `record` holds. */
static inline void fuzz_expect_same(const struct fuzz_kind *kind, const char *text, size_t len,
                                    void *record, void *memory)
{
    size_t first_len, second_len;
    assert(kind->decode(text, len, memory, NULL) == 0);
    char *first = kind->encode(record, &first_len);
    char *second = kind->encode(memory, &second_len);
    assert(first != NULL && second != NULL && first_len == second_len);
    assert(strlen(first) == first_len && strcmp(first, second) == 0);
    assert(kind->done != NULL || memcmp(record, memory, kind->size) == 0);
    free(first);
    free(second);
    fuzz_finish(kind, memory);
}

static inline void fuzz_expect_ages(const struct fuzz_kind *kind, const char *text, size_t len,
                                    void *record, void *memory)
{
    json_t *root = json_loadb(text, len, 0, NULL);
    assert(json_is_object(root));
    json_object_set_new(root, "of_a_later_program", json_pack("{s:[i]}", "schema", 9));
    char *newer = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    fuzz_expect_same(kind, newer, strlen(newer), record, memory);
    free(newer);
    json_object_set_new(root, "schema", json_integer(RECORD_SCHEMA + 1));
    newer = json_dumps(root, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(root);
    struct err err = {0};
    fuzz_stain(memory, kind->size);
    assert(kind->decode(newer, strlen(newer), memory, &err) < 0);
    assert(fuzz_is_stained(memory, kind->size));
    fuzz_expect_err(&err);
    assert(strstr(err.text, "schema") != NULL);
    free(newer);
}

static inline void fuzz_record(const struct fuzz_kind *kind, const char *text, size_t len,
                               void *record, void *memory)
{
    struct err err = {0};
    fuzz_stain(record, kind->size);
    if (kind->decode(text, len, record, &err) < 0) {
        assert(err.code == ERR_INVALID || err.code == ERR_LIMIT);
        fuzz_expect_err(&err);
        assert(kind->unnamed || strncmp(err.text, kind->name, strlen(kind->name)) == 0);
        assert(fuzz_is_stained(record, kind->size));
        return;
    }
    size_t whole_len;
    char *whole = kind->encode(record, &whole_len);
    assert(whole != NULL);
    fuzz_expect_same(kind, whole, whole_len, record, memory);
    free(whole);
    fuzz_expect_ages(kind, text, len, record, memory);
    fuzz_finish(kind, record);
}

#endif
