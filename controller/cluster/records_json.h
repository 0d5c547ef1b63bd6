/*
 * records_json.h - records.h's structures as the JSON that stands in etcd, and back.
 *
 * Every record carries `schema`. Decoding ignores members that it does not know (a newer program of
 * the same schema may write them), refuses a higher schema with the way out (failures.md I16, I17),
 * and refuses nonsense, with the path to the value (D20): nothing is ever "initialised" over what
 * cannot be read. Encoding replaces bytes that are no UTF-8 by '?', since they may come from a
 * device or an agent.
 *
 * Memory: what X_record_encode() returns is the caller's, to be freed with free(); NULL when no
 * memory is left. Errors: ERR_INVALID, ERR_LIMIT (longer than RECORD_TEXT_MAX); the output is
 * untouched then.
 */
#ifndef FAILOVER_CLUSTER_RECORDS_JSON_H
#define FAILOVER_CLUSTER_RECORDS_JSON_H

#include <stddef.h>

#include "controller/base/err.h"
#include "controller/base/json.h"
#include "controller/cluster/records.h"

#define RECORD_TEXT_MAX (1u << 20)

/* What stands in a document of its own: `schema`, and not a higher one than ours. */
void record_schema(struct json_in *in, const json_t *root);

int permit_record_decode(const char *text, size_t len, struct permit_record *ret_record,
                         struct err *ret_err);
char *permit_record_encode(const struct permit_record *record, size_t *ret_len);

int group_record_decode(const char *text, size_t len, struct group_record *ret_record,
                        struct err *ret_err);
char *group_record_encode(const struct group_record *record, size_t *ret_len);

int incident_record_decode(const char *text, size_t len, struct incident_record *ret_record,
                           struct err *ret_err);
char *incident_record_encode(const struct incident_record *record, size_t *ret_len);

int request_record_decode(const char *text, size_t len, struct request_record *ret_record,
                          struct err *ret_err);
char *request_record_encode(const struct request_record *record, size_t *ret_len);

int controller_record_decode(const char *text, size_t len, struct controller_record *ret_record,
                             struct err *ret_err);
char *controller_record_encode(const struct controller_record *record, size_t *ret_len);

int renewal_record_decode(const char *text, size_t len, struct renewal_record *ret_record,
                          struct err *ret_err);
char *renewal_record_encode(const struct renewal_record *record, size_t *ret_len);

int guard_record_decode(const char *text, size_t len, struct guard_record *ret_record,
                        struct err *ret_err);
char *guard_record_encode(const struct guard_record *record, size_t *ret_len);

/*
 * The key `config`: the definition's text with those before it, newest first, so that going back is
 * one command. Bounded: CONFIG_HISTORY_MAX of them, and CONFIG_RECORD_MAX bytes of JSON in all; the
 * oldest go first.
 */
#define CONFIG_HISTORY_MAX 10
#define CONFIG_RECORD_MAX  (768u << 10)
#define CONFIG_HASH_SIZE   17

struct config_version {
    char *text; /* on the heap; owned by the record */
    char applied_by[NAME_SIZE];
    char reason[REASON_SIZE];
    int64_t at_wall_ms;
    char hash[CONFIG_HASH_SIZE]; /* config_hash(text) */
};

struct config_record {
    struct config_version current; /* text is NULL in an empty record */
    struct config_version history[CONFIG_HISTORY_MAX];
    int history_len;
};

/* FNV-1a of 64 bits in hexadecimal: tells texts apart and finds damage; no defence against forgery.
 */
void config_hash(const char *text, char ret_hash[CONFIG_HASH_SIZE]);
/* Makes text the current one, and the one before it history. Copies text. -1 when no memory is
 * left: unchanged. */
int config_record_apply(struct config_record *record, const char *text, const char *applied_by,
                        const char *reason, int64_t at_wall_ms);
int config_record_decode(const char *text, size_t len, struct config_record *ret_record,
                         struct err *ret_err);
/* Drops the oldest until it fits in CONFIG_RECORD_MAX; the current text alone always does
   (DEFINITION_TEXT_MAX), also when every byte of it needs an escape of two. */
char *config_record_encode(const struct config_record *record, size_t *ret_len);
/* Frees the texts; the record is empty then. */
void config_record_done(struct config_record *record);

#endif
