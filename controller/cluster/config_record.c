#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/json.h"
#include "controller/cluster/definition_read.h"
#include "controller/cluster/records_json.h"

void config_hash(const char *text, char ret_hash[CONFIG_HASH_SIZE])
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    snprintf(ret_hash, CONFIG_HASH_SIZE, "%016" PRIx64, hash);
}

static void drop_oldest(struct config_record *record)
{
    assert(record->history_len > 0);
    free(record->history[--record->history_len].text);
}

int config_record_apply(struct config_record *record, const char *text, const char *applied_by,
                        const char *reason, int64_t at_wall_ms)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        return -1;
    }
    if (record->current.text != NULL) {
        if (record->history_len == CONFIG_HISTORY_MAX) {
            drop_oldest(record);
        }
        memmove(record->history + 1, record->history,
                (size_t)record->history_len * sizeof *record->history);
        record->history[0] = record->current;
        record->history_len++;
    }
    struct config_version *now = &record->current;
    memset(now, 0, sizeof *now);
    now->text = copy;
    snprintf(now->applied_by, sizeof now->applied_by, "%s", applied_by);
    snprintf(now->reason, sizeof now->reason, "%s", reason);
    now->at_wall_ms = at_wall_ms;
    config_hash(text, now->hash);
    return 0;
}

void config_record_done(struct config_record *record)
{
    while (record->history_len > 0) {
        drop_oldest(record);
    }
    free(record->current.text);
    memset(record, 0, sizeof *record);
}

/* ---- Writing
 * ------------------------------------------------------------------------------------------------
 */

/* A person's words may have been cut inside a character: what is no text is left out whole. */
static json_t *words(const char *text)
{
    json_t *string = json_string(text);
    return string != NULL ? string : json_string("?");
}

static json_t *write_version(const struct config_version *version)
{
    return json_pack("{so, so, so, sI, ss}", "text", json_string(version->text), "applied_by",
                     words(version->applied_by), "reason", words(version->reason), "at",
                     (json_int_t)version->at_wall_ms, "hash", version->hash);
}

static char *write_record(const struct config_record *record, int history_len)
{
    json_t *root = write_version(&record->current);
    json_t *history = json_array();
    for (int i = 0; i < history_len; i++) {
        if (json_array_append_new(history, write_version(&record->history[i])) < 0) {
            json_decref(history);
            history = NULL;
            break;
        }
    }
    char *text = NULL;
    if (json_object_set_new(root, "history", history) == 0 &&
        json_object_set_new(root, "schema", json_integer(RECORD_SCHEMA)) == 0) {
        text = json_dumps(root, JSON_COMPACT);
    }
    json_decref(root);
    return text;
}

char *config_record_encode(const struct config_record *record, size_t *ret_len)
{
    assert(record->current.text != NULL);
    for (int len = record->history_len; len >= 0; len--) {
        char *text = write_record(record, len);
        if (text == NULL) {
            return NULL;
        }
        size_t text_len = strlen(text);
        if (text_len <= CONFIG_RECORD_MAX || len == 0) {
            *ret_len = text_len;
            return text;
        }
        free(text);
    }
    return NULL;
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------------
 */

static char *read_definition(struct json_in *in, const json_t *object)
{
    const json_t *value = json_is_object(object) ? json_object_get(object, "text") : NULL;
    if (!json_is_string(value) || json_string_length(value) > DEFINITION_TEXT_MAX) {
        json_in_fail(in, "text", "is missing, or no string of at most %u bytes",
                     DEFINITION_TEXT_MAX);
        return NULL;
    }
    char *text = strdup(json_string_value(value));
    if (text == NULL) {
        json_in_fail(in, "text", "no memory is left");
    }
    return text;
}

static void read_version(struct json_in *in, const json_t *object,
                         struct config_version *ret_version)
{
    json_text(in, object, "applied_by", ret_version->applied_by, sizeof ret_version->applied_by);
    json_text_or(in, object, "reason", ret_version->reason, sizeof ret_version->reason, "");
    ret_version->at_wall_ms = json_i64(in, object, "at", 0, INT64_MAX);
    json_text(in, object, "hash", ret_version->hash, sizeof ret_version->hash);
    if (!json_in_ok(in)) {
        return;
    }
    ret_version->text = read_definition(in, object);
    char hash[CONFIG_HASH_SIZE];
    if (ret_version->text != NULL) {
        config_hash(ret_version->text, hash);
        if (strcmp(hash, ret_version->hash) != 0) {
            json_in_fail(in, "hash",
                         "found \"%.16s\", but the text's is %s: it was changed by hand or "
                         "damaged; store it with failoverctl apply",
                         ret_version->hash, hash);
        }
    }
}

static void read_record(struct json_in *in, const json_t *root, struct config_record *ret_record)
{
    record_schema(in, root);
    if (!json_in_ok(in)) {
        return;
    }
    read_version(in, root, &ret_record->current);
    const json_t *history = json_array_at(in, root, "history", CONFIG_HISTORY_MAX);
    for (size_t i = 0; history != NULL && i < json_array_size(history) && json_in_ok(in); i++) {
        json_enter(in, "history");
        json_enter_index(in, i);
        ret_record->history_len++;
        read_version(in, json_array_get(history, i), &ret_record->history[i]);
        json_leave(in);
        json_leave(in);
    }
}

int config_record_decode(const char *text, size_t len, struct config_record *ret_record,
                         struct err *ret_err)
{
    json_t *root = json_parse(text, len, RECORD_TEXT_MAX, ret_err);
    if (root == NULL) {
        return err_prefix(ret_err, "config");
    }
    struct config_record record = {0};
    struct json_in in;
    json_in_init(&in, "config");
    read_record(&in, root, &record);
    json_decref(root);
    if (json_in_done(&in, ret_err) < 0) {
        config_record_done(&record);
        return -1;
    }
    *ret_record = record;
    return 0;
}
