#include "controller/base/json.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a value from outside, this much is shown in a message. */
#define SHOWN_MAX 40

json_t *json_parse(const char *text, size_t len, size_t limit_bytes, struct err *ret_err)
{
    if (len > limit_bytes) {
        err_set(ret_err, ERR_LIMIT, "%zu bytes of JSON, at most %zu are allowed", len, limit_bytes);
        return NULL;
    }
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        err_set(ret_err, ERR_INVALID, "not JSON: line %d, column %d: %s", error.line, error.column,
                error.text);
    }
    return root;
}

void json_in_init(struct json_in *in, const char *what)
{
    memset(in, 0, sizeof *in);
    snprintf(in->path, sizeof in->path, "%s", what);
}

bool json_in_ok(const struct json_in *in)
{
    return in->err.code == ERR_NONE;
}

int json_in_done(const struct json_in *in, struct err *ret_err)
{
    if (json_in_ok(in)) {
        return 0;
    }
    if (ret_err != NULL) {
        *ret_err = in->err;
    }
    return -1;
}

void json_in_fail(struct json_in *in, const char *key, const char *format, ...)
{
    if (!json_in_ok(in)) {
        return;
    }
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    err_set(&in->err, ERR_INVALID, "%s%s%s: %s", in->path, key != NULL ? "." : "",
            key != NULL ? key : "", text);
}

static size_t push(struct json_in *in)
{
    assert(in->depth < JSON_DEPTH_MAX);
    size_t len = strlen(in->path);
    in->marks[in->depth++] = len;
    return len;
}

void json_enter(struct json_in *in, const char *key)
{
    size_t len = push(in);
    snprintf(in->path + len, sizeof in->path - len, ".%s", key);
}

void json_enter_index(struct json_in *in, size_t index)
{
    size_t len = push(in);
    snprintf(in->path + len, sizeof in->path - len, "[%zu]", index);
}

void json_leave(struct json_in *in)
{
    assert(in->depth > 0);
    in->path[in->marks[--in->depth]] = '\0';
}

/* What was found, for a message: the value if it is short, else its kind. */
static void show(const json_t *value, char *ret_text, size_t size)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: snprintf(ret_text, size, "an object"); break;
    case JSON_ARRAY: snprintf(ret_text, size, "an array"); break;
    case JSON_STRING:
        snprintf(ret_text, size, "\"%.*s\"%s", SHOWN_MAX, json_string_value(value),
                 json_string_length(value) > SHOWN_MAX ? "..." : "");
        break;
    case JSON_INTEGER:
        snprintf(ret_text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        break;
    case JSON_REAL: snprintf(ret_text, size, "%g", json_real_value(value)); break;
    case JSON_TRUE: snprintf(ret_text, size, "true"); break;
    case JSON_FALSE: snprintf(ret_text, size, "false"); break;
    case JSON_NULL: snprintf(ret_text, size, "null"); break;
    }
}

static void fail_found(struct json_in *in, const char *key, const json_t *value,
                       const char *allowed)
{
    char found[2 * SHOWN_MAX];
    show(value, found, sizeof found);
    json_in_fail(in, key, "found %s, must be %s", found, allowed);
}

/* The member, or NULL with the error kept. */
static const json_t *member(struct json_in *in, const json_t *object, const char *key,
                            const char *allowed)
{
    if (!json_in_ok(in)) {
        return NULL;
    }
    if (!json_is_object(object)) {
        json_in_fail(in, NULL, "is not an object, so it has no \"%s\"", key);
        return NULL;
    }
    const json_t *value = json_object_get(object, key);
    if (value == NULL) {
        json_in_fail(in, key, "is missing, must be %s", allowed);
    }
    return value;
}

/* Digits only, at least one and no more than fit: strtoll alone takes blanks, "+" and nothing. */
static bool all_digits(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && strspn(text, "0123456789") == len;
}

static bool to_i64(const json_t *value, int64_t *ret_number)
{
    if (json_is_integer(value)) {
        *ret_number = json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value);
    if (text == NULL || !all_digits(text + (text[0] == '-'))) {
        return false;
    }
    errno = 0;
    *ret_number = strtoll(text, NULL, 10);
    return errno == 0;
}

static bool to_u64(const json_t *value, uint64_t *ret_number)
{
    if (json_is_integer(value)) {
        *ret_number = (uint64_t)json_integer_value(value);
        return json_integer_value(value) >= 0;
    }
    const char *text = json_string_value(value);
    if (text == NULL || !all_digits(text)) {
        return false;
    }
    errno = 0;
    *ret_number = strtoull(text, NULL, 10);
    return errno == 0;
}

int64_t json_i64(struct json_in *in, const json_t *object, const char *key, int64_t min,
                 int64_t max)
{
    assert(min <= max);
    char allowed[80];
    snprintf(allowed, sizeof allowed, "an integer from %" PRId64 " to %" PRId64, min, max);
    const json_t *value = member(in, object, key, allowed);
    if (value == NULL) {
        return min;
    }
    int64_t number = 0;
    if (!to_i64(value, &number) || number < min || number > max) {
        fail_found(in, key, value, allowed);
        return min;
    }
    return number;
}

uint64_t json_u64(struct json_in *in, const json_t *object, const char *key)
{
    static const char allowed[] = "an integer from 0 to 18446744073709551615";
    const json_t *value = member(in, object, key, allowed);
    uint64_t number = 0;
    if (value != NULL && !to_u64(value, &number)) {
        fail_found(in, key, value, allowed);
        return 0;
    }
    return number;
}

bool json_bool(struct json_in *in, const json_t *object, const char *key)
{
    static const char allowed[] = "true or false";
    const json_t *value = member(in, object, key, allowed);
    if (value != NULL && !json_is_boolean(value)) {
        fail_found(in, key, value, allowed);
        return false;
    }
    return json_is_true(value);
}

void json_text(struct json_in *in, const json_t *object, const char *key, char *ret_text,
               size_t size)
{
    assert(size > 0);
    char allowed[64];
    snprintf(allowed, sizeof allowed, "a string of at most %zu bytes", size - 1);
    const json_t *value = member(in, object, key, allowed);
    if (value == NULL) {
        return;
    }
    if (!json_is_string(value)) {
        fail_found(in, key, value, allowed);
        return;
    }
    size_t len = json_string_length(value);
    if (len >= size) {
        json_in_fail(in, key, "found a string of %zu bytes, must be %s", len, allowed);
        return;
    }
    memcpy(ret_text, json_string_value(value), len + 1);
}

const json_t *json_object_at(struct json_in *in, const json_t *object, const char *key)
{
    static const char allowed[] = "an object";
    const json_t *value = member(in, object, key, allowed);
    if (value != NULL && !json_is_object(value)) {
        fail_found(in, key, value, allowed);
        return NULL;
    }
    return value;
}

const json_t *json_array_at(struct json_in *in, const json_t *object, const char *key,
                            size_t max_len)
{
    char allowed[64];
    snprintf(allowed, sizeof allowed, "an array of at most %zu", max_len);
    const json_t *value = member(in, object, key, allowed);
    if (value == NULL) {
        return NULL;
    }
    if (!json_is_array(value)) {
        fail_found(in, key, value, allowed);
        return NULL;
    }
    if (json_array_size(value) > max_len) {
        json_in_fail(in, key, "found an array of %zu, must be %s", json_array_size(value), allowed);
        return NULL;
    }
    return value;
}

/* Levenshtein's distance over the first bytes, which is enough to find what was meant. */
static unsigned distance(const char *a, const char *b)
{
    enum { MOST = 40 };
    unsigned row[MOST + 1];
    size_t a_len = strnlen(a, MOST);
    size_t b_len = strnlen(b, MOST);
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            unsigned one_more = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < one_more ? change : one_more;
        }
    }
    return row[b_len];
}

static const char *nearest(const char *text, const char *const names[])
{
    const char *best = names[0];
    for (size_t i = 1; names[i] != NULL; i++) {
        if (distance(text, names[i]) < distance(text, best)) {
            best = names[i];
        }
    }
    return best;
}

static void join(const char *const names[], char *ret_text, size_t size)
{
    size_t len = (size_t)snprintf(ret_text, size, "one of");
    for (size_t i = 0; names[i] != NULL && len < size; i++) {
        len += (size_t)snprintf(ret_text + len, size - len, "%s %s", i == 0 ? "" : ",", names[i]);
    }
}

int json_enum(struct json_in *in, const json_t *object, const char *key, const char *const names[])
{
    assert(names[0] != NULL);
    char allowed[ERR_TEXT_MAX / 2];
    join(names, allowed, sizeof allowed);
    const json_t *value = member(in, object, key, allowed);
    if (value == NULL) {
        return -1;
    }
    const char *text = json_string_value(value);
    if (text == NULL) {
        fail_found(in, key, value, allowed);
        return -1;
    }
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(text, names[i]) == 0) {
            return i;
        }
    }
    char found[2 * SHOWN_MAX];
    show(value, found, sizeof found);
    json_in_fail(in, key, "found %s, must be %s; the nearest is \"%s\"", found, allowed,
                 nearest(text, names));
    return -1;
}

json_t *json_count(uint64_t number)
{
    if (number <= UINT64_C(1) << 53) {
        return json_integer((json_int_t)number);
    }
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    return json_string(text);
}

bool json_has(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return value != NULL && !json_is_null(value);
}

/* Something that is no object has no members, and that is an error of its own, not an absence. */
static bool absent_here(const json_t *object, const char *key)
{
    return json_is_object(object) && !json_has(object, key);
}

int64_t json_i64_or(struct json_in *in, const json_t *object, const char *key, int64_t min,
                    int64_t max, int64_t absent)
{
    return absent_here(object, key) ? absent : json_i64(in, object, key, min, max);
}

uint64_t json_u64_or(struct json_in *in, const json_t *object, const char *key, uint64_t absent)
{
    return absent_here(object, key) ? absent : json_u64(in, object, key);
}

bool json_bool_or(struct json_in *in, const json_t *object, const char *key, bool absent)
{
    return absent_here(object, key) ? absent : json_bool(in, object, key);
}

void json_text_or(struct json_in *in, const json_t *object, const char *key, char *ret_text,
                  size_t size, const char *absent)
{
    if (!absent_here(object, key)) {
        json_text(in, object, key, ret_text, size);
    } else if (json_in_ok(in)) {
        assert(strlen(absent) < size);
        snprintf(ret_text, size, "%s", absent);
    }
}
