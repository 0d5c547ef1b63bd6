/*
 * json.h - typed reading of JSON with the path in each error.
 *
 * A reader walks a jansson document. The first error is kept in the reader (with the path to the
 * value, what was found and what is allowed); later calls return their default and change nothing,
 * so that a decoder is a straight list of reads followed by one check of json_ok().
 *
 *   struct json_in in;
 *   json_in_init(&in, "permit");
 *   schema = json_i64(&in, root, "schema", 1, INT_MAX);
 *   json_text(&in, root, "node", permit->node, sizeof permit->node);
 *   if (json_in_done(&in, ret_err) < 0) return -1;
 *
 * Integers that etcd's gateway sends as strings are read by json_u64/json_i64, which take both
 * forms without loss of precision (failures.md D14).
 */
#ifndef FAILOVER_BASE_JSON_H
#define FAILOVER_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"

#define JSON_DEPTH_MAX 32

struct json_in {
    char path[256]; /* "permit.instances[2]", for messages */
    struct err err; /* the first one */
    size_t depth;
    size_t marks[JSON_DEPTH_MAX]; /* the path's length before each json_enter() */
};

/* Parses at most limit_bytes; rejects duplicate keys, NUL and bad UTF-8 (failures.md J2). NULL on
 * error. */
json_t *json_parse(const char *text, size_t len, size_t limit_bytes, struct err *ret_err);

void json_in_init(struct json_in *in, const char *what);
bool json_in_ok(const struct json_in *in);
int json_in_done(const struct json_in *in, struct err *ret_err);
/* A decoder's own complaint about the value at key (NULL: about the place entered). */
void json_in_fail(struct json_in *in, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Go into object[key] or array[index]; the path follows. Leave puts it back. */
void json_enter(struct json_in *in, const char *key);
void json_enter_index(struct json_in *in, size_t index);
void json_leave(struct json_in *in);

/* Required members. */
int64_t json_i64(struct json_in *in, const json_t *object, const char *key, int64_t min,
                 int64_t max);
uint64_t json_u64(struct json_in *in, const json_t *object, const char *key);
bool json_bool(struct json_in *in, const json_t *object, const char *key);
/* Copies into ret_text with a NUL; an error if it does not fit in size bytes. */
void json_text(struct json_in *in, const json_t *object, const char *key, char *ret_text,
               size_t size);
const json_t *json_object_at(struct json_in *in, const json_t *object, const char *key);
const json_t *json_array_at(struct json_in *in, const json_t *object, const char *key,
                            size_t max_len);
/* An enum from its list of names (NULL-terminated); -1 with an error naming the nearest known name.
 */
int json_enum(struct json_in *in, const json_t *object, const char *key, const char *const names[]);

/* To be written: above 2^53 as a string, since other readers of JSON count in doubles, and jansson
 * has no integer above 2^63. json_u64() reads both. */
json_t *json_count(uint64_t number);

/* Optional members: absent or null gives the default. */
bool json_has(const json_t *object, const char *key);
int64_t json_i64_or(struct json_in *in, const json_t *object, const char *key, int64_t min,
                    int64_t max, int64_t absent);
uint64_t json_u64_or(struct json_in *in, const json_t *object, const char *key, uint64_t absent);
bool json_bool_or(struct json_in *in, const json_t *object, const char *key, bool absent);
void json_text_or(struct json_in *in, const json_t *object, const char *key, char *ret_text,
                  size_t size, const char *absent);

#endif
