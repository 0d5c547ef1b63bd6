/*
 * encode.c - requests to etcd's JSON gateway (codec.h).
 *
 * jansson builds and prints them. Only running out of memory can make it fail, and that aborts: a
 * controller that cannot allocate some kilobytes had better lose its lease.
 */
#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/etcd/base64.h"
#include "controller/etcd/codec.h"

static json_t *checked(json_t *value)
{
    if (!value) {
        abort();
    }
    return value;
}

static void set(json_t *object, const char *name, json_t *value)
{
    if (json_object_set_new(object, name, checked(value)) < 0) {
        abort();
    }
}

/* Printed as text, as the gateway itself does: no reader on the way can round it. */
static void set_number(json_t *object, const char *name, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, number);
    set(object, name, json_string(text));
}

static void set_bytes(json_t *object, const char *name, const void *data, size_t len)
{
    char *text = malloc(BASE64_SIZE(len));

    if (!text) {
        abort();
    }
    base64_encode(data, len, text);
    set(object, name, json_string(text));
    free(text);
}

static char *print(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);

    json_decref(object);
    if (!text) {
        abort();
    }
    return text;
}

/*
 * The end of all keys that begin with `key`: its last byte that is not 0xff plus one, and nothing
 * after it. No such byte (or an empty prefix): "\0", which etcd takes for "to the end of
 * everything".
 */
static void set_prefix_end(json_t *object, const char *key)
{
    unsigned char end[ETCD_KEY_MAX];
    size_t len = 0;

    for (; key[len] != '\0'; len++) {
        end[len] = (unsigned char)key[len];
    }
    while (len > 0 && end[len - 1] == 0xff) {
        len--;
    }
    if (len == 0) {
        set_bytes(object, "range_end", "", 1);
        return;
    }
    end[len - 1]++;
    set_bytes(object, "range_end", end, len);
}

static int set_key(json_t *object, const char *key, bool prefix, struct err *ret_err)
{
    size_t len = strlen(key);

    if (len > ETCD_KEY_MAX) {
        return err_set(ret_err, ERR_LIMIT, "a key of %zu bytes (%.64s...): at most %d are allowed",
                       len, key, ETCD_KEY_MAX);
    }
    if (len == 0 && !prefix) {
        return err_set(ret_err, ERR_INVALID, "an empty key");
    }
    if (len == 0) {
        set_bytes(object, "key", "", 1); /* an empty prefix: from the first possible key */
    } else {
        set_bytes(object, "key", key, len);
    }
    if (prefix) {
        set_prefix_end(object, key);
    }
    return 0;
}

static int set_put(json_t *put, const char *key, const char *value, size_t value_len, int64_t lease,
                   struct err *ret_err)
{
    if (value_len > ETCD_VALUE_MAX) {
        return err_set(ret_err, ERR_LIMIT, "%s: a value of %zu bytes: at most %u are allowed", key,
                       value_len, ETCD_VALUE_MAX);
    }
    if (set_key(put, key, false, ret_err) < 0) {
        return -1;
    }
    set_bytes(put, "value", value, value_len);
    if (lease != 0) {
        set_number(put, "lease", lease);
    }
    return 0;
}

char *etcd_encode_put(const char *key, const char *value, size_t value_len, int64_t lease,
                      struct err *ret_err)
{
    json_t *put = checked(json_object());

    if (set_put(put, key, value, value_len, lease, ret_err) < 0) {
        json_decref(put);
        return NULL;
    }
    return print(put);
}

char *etcd_encode_delete(const char *key, bool prefix, struct err *ret_err)
{
    json_t *object = checked(json_object());

    if (set_key(object, key, prefix, ret_err) < 0) {
        json_decref(object);
        return NULL;
    }
    return print(object);
}

/* The first possible key behind this one is itself with a NUL byte. */
static void set_first_after(json_t *object, const char *after)
{
    set_bytes(object, "key", after, strlen(after) + 1);
}

char *etcd_encode_range(const struct etcd_range *range, struct err *ret_err)
{
    json_t *object = checked(json_object());

    if (set_key(object, range->key, range->prefix, ret_err) < 0) {
        json_decref(object);
        return NULL;
    }
    if (range->after) {
        set_first_after(object, range->after);
    }
    if (range->limit > 0) {
        set_number(object, "limit", range->limit);
    }
    if (range->revision > 0) {
        set_number(object, "revision", range->revision);
    }
    if (range->keys_only) {
        set(object, "keys_only", json_true());
    }
    return print(object);
}

static int set_compare(json_t *object, const struct etcd_compare *compare, struct err *ret_err)
{
    static const char *const targets[] = {"CREATE", "MOD", "VERSION", "VALUE"};
    static const char *const members[] = {"create_revision", "mod_revision", "version", "value"};
    static const char *const results[] = {"EQUAL", "LESS", "GREATER"};

    if (set_key(object, compare->key, false, ret_err) < 0) {
        return -1;
    }
    set(object, "target", json_string(targets[compare->target]));
    set(object, "result", json_string(results[compare->result]));
    if (compare->target != ETCD_COMPARE_VALUE) {
        set_number(object, members[compare->target], compare->number);
    } else if (compare->value_len <= ETCD_VALUE_MAX) {
        set_bytes(object, members[compare->target], compare->value, compare->value_len);
    } else {
        return err_set(ret_err, ERR_LIMIT,
                       "%s: a value of %zu bytes to compare: at most %u are allowed", compare->key,
                       compare->value_len, ETCD_VALUE_MAX);
    }
    return 0;
}

static int set_op(json_t *object, const struct etcd_op *op, struct err *ret_err)
{
    static const char *const names[] = {"request_put", "request_delete_range", "request_range"};
    json_t *request = checked(json_object());
    int status;

    set(object, names[op->kind], request);
    if (op->kind == ETCD_PUT) {
        status = set_put(request, op->key, op->value, op->value_len, op->lease, ret_err);
    } else {
        status = set_key(request, op->key, op->prefix, ret_err);
    }
    if (op->kind == ETCD_RANGE && op->limit > 0) {
        set_number(request, "limit", op->limit);
    }
    return status;
}

static int set_ops(json_t *txn, const char *name, const struct etcd_op *ops, int len,
                   struct err *ret_err)
{
    json_t *array = checked(json_array());

    assert(len >= 0 && len <= ETCD_OPS_MAX);
    set(txn, name, array);
    for (int i = 0; i < len; i++) {
        json_t *object = checked(json_object());

        if (json_array_append_new(array, object) < 0) {
            abort();
        }
        if (set_op(object, &ops[i], ret_err) < 0) {
            return -1;
        }
    }
    return 0;
}

char *etcd_encode_txn(const struct etcd_txn *txn, struct err *ret_err)
{
    json_t *object = checked(json_object());
    json_t *compares = checked(json_array());

    assert(txn->compares_len >= 0 && txn->compares_len <= ETCD_COMPARES_MAX);
    set(object, "compare", compares);
    for (int i = 0; i < txn->compares_len; i++) {
        json_t *compare = checked(json_object());

        if (json_array_append_new(compares, compare) < 0) {
            abort();
        }
        if (set_compare(compare, &txn->compares[i], ret_err) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    if (set_ops(object, "success", txn->success, txn->success_len, ret_err) < 0 ||
        set_ops(object, "failure", txn->failure, txn->failure_len, ret_err) < 0) {
        json_decref(object);
        return NULL;
    }
    return print(object);
}

char *etcd_encode_lease_grant(int64_t ttl_s, int64_t lease)
{
    json_t *object = checked(json_object());

    set_number(object, "TTL", ttl_s);
    if (lease != 0) {
        set_number(object, "ID", lease);
    }
    return print(object);
}

char *etcd_encode_lease(int64_t lease)
{
    json_t *object = checked(json_object());

    set_number(object, "ID", lease);
    return print(object);
}

char *etcd_encode_compact(int64_t revision)
{
    json_t *object = checked(json_object());

    set_number(object, "revision", revision);
    return print(object);
}

char *etcd_encode_auth(const char *user, const char *password, struct err *ret_err)
{
    json_t *object = checked(json_object());
    json_t *name_text = json_string(user);
    json_t *password_text = json_string(password);

    /* Both come from files: JSON cannot carry what is not UTF-8. */
    if (!name_text || !password_text) {
        json_decref(name_text);
        json_decref(password_text);
        json_decref(object);
        err_set(ret_err, ERR_INVALID, "etcd's %s is not valid UTF-8",
                name_text ? "password" : "user name");
        return NULL;
    }
    set(object, "name", name_text);
    set(object, "password", password_text);
    return print(object);
}

char *etcd_encode_watch(const char *key, bool prefix, int64_t start_revision, struct err *ret_err)
{
    json_t *object = checked(json_object());
    json_t *create = checked(json_object());

    set(object, "create_request", create);
    if (set_key(create, key, prefix, ret_err) < 0) {
        json_decref(object);
        return NULL;
    }
    set_number(create, "start_revision", start_revision);
    set(create, "fragment",
        json_true()); /* large batches in pieces, so that ETCD_OBJECT_MAX holds */
    return print(object);
}

/* ---- Builders ---- */

static void add_compare(struct etcd_txn *txn, const char *key, enum etcd_compare_target target,
                        int64_t number)
{
    assert(txn->compares_len < ETCD_COMPARES_MAX);
    txn->compares[txn->compares_len++] =
        (struct etcd_compare){.key = key, .target = target, .result = ETCD_EQUAL, .number = number};
}

static void add_success(struct etcd_txn *txn, struct etcd_op op)
{
    assert(txn->success_len < ETCD_OPS_MAX);
    txn->success[txn->success_len++] = op;
}

void etcd_txn_if_create(struct etcd_txn *txn, const char *key, int64_t create_revision)
{
    add_compare(txn, key, ETCD_COMPARE_CREATE, create_revision);
}

void etcd_txn_if_mod(struct etcd_txn *txn, const char *key, int64_t mod_revision)
{
    add_compare(txn, key, ETCD_COMPARE_MOD, mod_revision);
}

void etcd_txn_then_put(struct etcd_txn *txn, const char *key, const char *value, size_t value_len,
                       int64_t lease)
{
    add_success(
        txn,
        (struct etcd_op){
            .kind = ETCD_PUT, .key = key, .value = value, .value_len = value_len, .lease = lease});
}

void etcd_txn_then_delete(struct etcd_txn *txn, const char *key, bool prefix)
{
    add_success(txn, (struct etcd_op){.kind = ETCD_DELETE, .key = key, .prefix = prefix});
}

void etcd_txn_then_range(struct etcd_txn *txn, const char *key, bool prefix)
{
    add_success(txn, (struct etcd_op){.kind = ETCD_RANGE, .key = key, .prefix = prefix});
}

void etcd_txn_else_range(struct etcd_txn *txn, const char *key, bool prefix)
{
    assert(txn->failure_len < ETCD_OPS_MAX);
    txn->failure[txn->failure_len++] =
        (struct etcd_op){.kind = ETCD_RANGE, .key = key, .prefix = prefix};
}
