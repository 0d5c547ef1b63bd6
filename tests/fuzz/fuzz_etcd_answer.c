/*
 * Answers of etcd's gateway, of every kind: the first byte says which, the second the HTTP status.
 * A success holds whole values; only a definite "no" of etcd's own is a refusal; half an answer is
 * never a whole one; a range that was read is read again from what it says.
 */
#include <jansson.h>

#include "controller/etcd/base64.h"
#include "controller/etcd/codec.h"
#include "tests/fuzz/fuzz.h"

#define AUTH ETCD_KINDS

static const char endpoint[] = "https://192.0.2.1:2379";

static void begin_reply(struct etcd_reply *reply)
{
    memset(reply, 0, sizeof *reply);
    reply->sent = true;
    reply->sent_ms = 4711;
    reply->endpoint = endpoint;
}

static void expect_kvs(const struct etcd_reply *reply)
{
    int kvs_len = 0;
    for (int i = 0; i < reply->kvs_len; i++) {
        const struct etcd_kv *kv = &reply->kvs[i];
        assert(kv->key[kv->key_len] == '\0' && kv->value[kv->value_len] == '\0');
        assert(kv->create_revision >= 0 && kv->mod_revision >= 0 && kv->version >= 0);
    }
    assert(reply->responses_len >= 0 && reply->responses_len <= ETCD_OPS_MAX);
    for (int i = 0; i < reply->responses_len; i++) {
        const struct etcd_response *response = &reply->responses[i];
        assert(response->kvs_first == kvs_len && response->kvs_len >= 0);
        kvs_len += response->kvs_len;
        assert(response->kind == ETCD_RANGE || response->kvs_len == 0);
    }
    assert(reply->responses_len == 0 || kvs_len == reply->kvs_len);
}

static void expect_reply(const struct etcd_reply *reply, int status)
{
    assert(reply->sent && reply->sent_ms == 4711 && reply->endpoint == endpoint);
    assert(reply->reason < ETCD_REASONS && etcd_reason_name(reply->reason) != NULL);
    if (reply->outcome == ETCD_OK) {
        assert(status >= 200 && status < 300 && reply->text[0] == '\0');
        assert(reply->reason == ETCD_NO_REASON);
        expect_kvs(reply);
        return;
    }
    fuzz_expect_words(reply->text);
    assert(reply->kvs_len == 0 && reply->kvs == NULL && reply->memory == NULL);
    assert(!reply->succeeded && reply->lease == 0 && reply->ttl_s == 0 && reply->count == 0);
    assert(reply->outcome != ETCD_REFUSED || reply->reason != ETCD_NO_REASON);
}

static json_t *in_base64(const char *data, size_t len)
{
    char *text = malloc(BASE64_SIZE(len));
    assert(text != NULL);
    base64_encode(data, len, text);
    json_t *value = json_string(text);
    free(text);
    return value;
}

/* As the gateway would write it, numbers as strings. */
static char *range_text(const struct etcd_reply *reply)
{
    char number[32];
    json_t *kvs = json_array();
    for (int i = 0; i < reply->kvs_len; i++) {
        const struct etcd_kv *kv = &reply->kvs[i];
        json_t *item = json_object();
        json_object_set_new(item, "key", in_base64(kv->key, kv->key_len));
        json_object_set_new(item, "value", in_base64(kv->value, kv->value_len));
        snprintf(number, sizeof number, "%lld", (long long)kv->mod_revision);
        json_object_set_new(item, "mod_revision", json_string(number));
        snprintf(number, sizeof number, "%lld", (long long)kv->lease);
        json_object_set_new(item, "lease", json_string(number));
        json_array_append_new(kvs, item);
    }
    json_t *header = json_object();
    snprintf(number, sizeof number, "%llu", (unsigned long long)reply->cluster_id);
    json_object_set_new(header, "cluster_id", json_string(number));
    snprintf(number, sizeof number, "%lld", (long long)reply->revision);
    json_object_set_new(header, "revision", json_string(number));
    json_t *root = json_object();
    json_object_set_new(root, "header", header);
    json_object_set_new(root, "kvs", kvs);
    snprintf(number, sizeof number, "%lld", (long long)reply->count);
    json_object_set_new(root, "count", json_string(number));
    json_object_set_new(root, "more", json_boolean(reply->more));
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

static void expect_round_trip(const struct etcd_reply *reply)
{
    char *text = range_text(reply);
    struct etcd_reply again;
    begin_reply(&again);
    etcd_decode_reply(ETCD_KIND_RANGE, 200, text, strlen(text), &again);
    assert(again.outcome == ETCD_OK && again.cluster_id == reply->cluster_id);
    assert(again.revision == reply->revision && again.count == reply->count);
    assert(again.more == reply->more && again.kvs_len == reply->kvs_len);
    for (int i = 0; i < reply->kvs_len; i++) {
        const struct etcd_kv *a = &reply->kvs[i];
        const struct etcd_kv *b = &again.kvs[i];
        assert(a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0);
        assert(a->value_len == b->value_len && memcmp(a->value, b->value, a->value_len) == 0);
        assert(a->mod_revision == b->mod_revision && a->lease == b->lease);
    }
    etcd_reply_done(&again);
    free(text);
}

static enum etcd_hint decode(unsigned kind, int status, const char *body, size_t len,
                             struct etcd_reply *reply)
{
    char token[ETCD_TOKEN_SIZE];
    begin_reply(reply);
    if (kind != AUTH) {
        return etcd_decode_reply((enum etcd_kind)kind, status, body, len, reply);
    }
    fuzz_stain(token, sizeof token);
    enum etcd_hint hint = etcd_decode_auth(status, body, len, reply, token);
    if (reply->outcome != ETCD_OK) {
        assert(fuzz_is_stained(token, sizeof token));
        return hint;
    }
    assert(token[0] != '\0' && memchr(token, '\0', sizeof token) != NULL);
    for (const char *c = token; *c != '\0'; c++) { /* it goes into a header */
        assert(*c > ' ' && *c <= '~');
    }
    return hint;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 400, 401, 403, 404, 412, 429, 500, 503, 201, 0, 302, -1};
    struct fuzz fuzz = {data, size};
    unsigned kind = fuzz_below(&fuzz, ETCD_KINDS + 1);
    int status = statuses[fuzz_below(&fuzz, sizeof statuses / sizeof *statuses)];
    size_t len;
    char *body = fuzz_rest(&fuzz, &len);
    struct etcd_reply reply;
    enum etcd_hint hint = decode(kind, status, body, len, &reply);
    expect_reply(&reply, status);
    assert(reply.outcome != ETCD_OK || hint == ETCD_HINT_NONE);
    bool good = reply.outcome == ETCD_OK;
    if (good && kind == ETCD_KIND_RANGE) {
        expect_round_trip(&reply);
    }
    etcd_reply_done(&reply);
    while (good && len > 0 && body[len - 1] != '}') { /* blanks behind it */
        len--;
    }
    if (good && len > 0) {
        char *half = malloc(len);
        assert(half != NULL);
        memcpy(half, body, len - 1);
        decode(kind, status, half, len - 1, &reply);
        assert(reply.outcome == ETCD_UNKNOWN);
        etcd_reply_done(&reply);
        free(half);
    }
    free(body);
    return 0;
}
