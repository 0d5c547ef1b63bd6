/*
 * Bad input by the thousand: definitions, local files and the records in etcd, which hands may
 * edit. Each is read whole, and then holds what its readers rely on; or it is refused with words
 * that have a place and can be shown, and nothing is touched. Through the API and failoverctl as
 * well: what is refused stores nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/api/api.h"
#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/base/json.h"
#include "controller/cluster/local.h"
#include "controller/cluster/records_json.h"
#include "tests/unit/shop_fixture.h"
#include "tests/unit/written.h"

#define DEFINITION FAILOVER_SOURCE "/deploy/example/cluster.yaml"
#define LOCAL      FAILOVER_SOURCE "/deploy/example/local.yaml"

static char *read_text(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    *ret_len = fread(text, 1, 65535, file);
    fclose(file);
    return text;
}

/* ---- definitions ---- */

struct readings { /* big structures, off the stack */
    struct definition def, again;
    struct local_config local, local_again;
    struct complaints complaints, complaints_again;
};

static struct readings *readings;

/* What was read can be written out and read again, and is the same. */
static void expect_round_trip(const struct definition *def)
{
    char *text = written(def);
    if (definition_read(text, strlen(text), &readings->again, &readings->complaints_again) < 0) {
        complaints_print(stderr, "written", &readings->complaints_again);
        fail_msg("written out, it is refused:\n%s", text);
    }
    char *again = written(&readings->again);
    assert_string_equal(text, again);
    assert_int_equal(definition_diff(stderr, def, &readings->again), 0);
    free(text);
    free(again);
}

/* Returns whether it was read. */
static bool try_definition(const char *text, size_t len)
{
    struct complaints *complaints = &readings->complaints;
    memset(&readings->def, 0x5a, sizeof readings->def);
    bool good = definition_read(text, len, &readings->def, complaints) == 0;
    expect_places(complaints, text, len);
    if (good) {
        assert_int_equal(complaints->errors, 0);
        expect_round_trip(&readings->def);
    } else {
        assert_true(complaints->errors > 0 && complaints->len > 0);
        assert_true(all_bytes_are(&readings->def, sizeof readings->def, 0x5a));
    }
    return good;
}

static void a_mutated_definition_is_read_whole_or_refused_with_places(void **state)
{
    (void)state;
    enum { TRIES = 2000 };
    size_t len;
    char *example = read_text(DEFINITION, &len);
    int good = 0;
    assert_true(try_definition(example, len));
    assert_true(try_definition(shop_yaml, strlen(shop_yaml)));
    for (int i = 0; i < TRIES; i++) {
        size_t bad_len;
        char *bad = i % 2 == 0 ? mutated(example, len, (uint64_t)i, &bad_len)
                               : mutated(shop_yaml, strlen(shop_yaml), (uint64_t)i, &bad_len);
        good += try_definition(bad, bad_len) ? 1 : 0;
        free(bad);
    }
    assert_in_range(good, TRIES / 50, TRIES * 9 / 10); /* both kinds have been tried */
    free(example);
}

/* The head of one definition and the tail of another. */
static void two_definitions_grown_together_are_read_whole_or_refused(void **state)
{
    (void)state;
    size_t len;
    char *example = read_text(DEFINITION, &len);
    size_t shop_len = strlen(shop_yaml);
    uint64_t seed = 7;
    for (int i = 0; i < 400; i++) {
        size_t head = mutate_random(&seed, len + 1);
        size_t tail = mutate_random(&seed, shop_len + 1);
        char *both = malloc(head + tail + 1);
        memcpy(both, example, head);
        memcpy(both + head, shop_yaml + shop_len - tail, tail + 1);
        try_definition(both, head + tail);
        free(both);
    }
    free(example);
}

/* ---- by hand ---- */

static void expect_refused(const char *text, const char *path_and_words)
{
    assert_false(try_definition(text, strlen(text)));
    const struct complaints *complaints = &readings->complaints;
    for (int i = 0; i < complaints->len; i++) {
        char line[sizeof complaints->items[0].path + sizeof complaints->items[0].text + 32];
        snprintf(line, sizeof line, "%d:%d %s: %s", complaints->items[i].line,
                 complaints->items[i].column, complaints->items[i].path, complaints->items[i].text);
        if (strstr(line, path_and_words) != NULL) {
            return;
        }
    }
    fail_msg("\"%s\" was not said; the first was \"%s: %s\"", path_and_words,
             complaints->items[0].path, complaints->items[0].text);
}

static void what_a_terminal_would_obey_is_never_in_a_complaint(void **state)
{
    (void)state;
    expect_refused("\"\\x1b[2J\": 1\n", "1:1 ?[2J: unknown key");
    expect_refused("\"a\\nb\": 1\n", "1:1 a b: unknown key");
    expect_refused("\"\\u009b2J\": 1\n", "1:1 ?2J: unknown key");
    expect_refused("profile: \"\\x7f\\u0085x\"\n", "1:10 profile: found \"??x\"");
    expect_refused("sites: { \"\\e]0;x\\a\": {} }\n", "found \"?]0;x?\" as a name");
    expect_refused("nodes: { n: { site: \"\\x1b[31mred\" } }\n",
                   "\"?[31mred\" is not one of sites");
    expect_refused("\"\\t\": 1\n\"\\t\": 2\n", "2:1 : the key \" \" stands here a second time");
}

static void a_complaint_is_never_cut_inside_a_character(void **state)
{
    (void)state;
    char text[4096];
    for (int before = 0; before < 4; before++) {
        /* 40 bytes are shown of a name, 191 of a path, 383 of a text. */
        int len = snprintf(text, sizeof text, "sites: { %.*s", before, "xxx");
        for (int i = 0; i < 300; i++) {
            len += snprintf(text + len, sizeof text - (size_t)len, "\xe2\x82\xac");
        }
        snprintf(text + len, sizeof text - (size_t)len, ": {} }\n");
        expect_refused(text, "as a name, allowed is");
        text[6] = 'x'; /* now an unknown key, twice as deep */
        try_definition(text, strlen(text));
    }
}

/* ---- local files ---- */

static bool try_local(const char *text, size_t len)
{
    struct complaints *complaints = &readings->complaints;
    memset(&readings->local, 0x5a, sizeof readings->local);
    bool good = local_read(text, len, &readings->local, complaints) == 0;
    expect_places(complaints, text, len);
    if (!good) {
        assert_true(complaints->errors > 0 && complaints->len > 0);
        assert_true(all_bytes_are(&readings->local, sizeof readings->local, 0x5a));
        return false;
    }
    char *first = written_local(&readings->local);
    if (local_read(first, strlen(first), &readings->local_again, complaints) < 0) {
        complaints_print(stderr, "written", complaints);
        fail_msg("written out, it is refused:\n%s", first);
    }
    char *second = written_local(&readings->local_again);
    assert_string_equal(first, second);
    free(first);
    free(second);
    return true;
}

static void a_mutated_local_file_is_read_whole_or_refused_with_places(void **state)
{
    (void)state;
    static const char secure[] = "id: ops1\n"
                                 "cluster: shop\n"
                                 "etcd:\n"
                                 "  endpoints: [\"https://e1:2379\", \"https://e2:2379\"]\n"
                                 "  ca: /etc/ca.pem\n"
                                 "  cert: /etc/cert.pem\n"
                                 "  key: /etc/key.pem\n"
                                 "  user: failoverd\n"
                                 "  password: store\n"
                                 "secrets: { store: /etc/store }\n"
                                 "commands:\n"
                                 "  oncall: [/bin/page, --severity, critical, \"\"]\n"
                                 "listen: { group: failover }\n";
    enum { TRIES = 2000 };
    size_t len;
    char *example = read_text(LOCAL, &len);
    int good = 0;
    assert_true(try_local(example, len));
    assert_true(try_local(secure, strlen(secure)));
    for (int i = 0; i < TRIES; i++) {
        size_t bad_len;
        char *bad = i % 2 == 0 ? mutated(example, len, (uint64_t)i, &bad_len)
                               : mutated(secure, strlen(secure), (uint64_t)i, &bad_len);
        good += try_local(bad, bad_len) ? 1 : 0;
        free(bad);
    }
    assert_in_range(good, TRIES / 50, TRIES * 9 / 10);
    free(example);
}

/* ---- records in etcd ---- */

typedef int (*decoder)(const char *text, size_t len, void *ret_record, struct err *ret_err);
typedef char *(*encoder)(const void *record, size_t *ret_len);

struct kind {
    const char *name;
    size_t size;
    decoder decode;
    encoder encode;
    const char *sample;
    void (*done)(void *record); /* frees what it owns, or NULL */
};

static void config_done(void *record)
{
    config_record_done(record);
}

#define KIND(name, text)                                                                           \
    {                                                                                              \
#name, sizeof(struct name##_record), (decoder)name##_record_decode,                        \
            (encoder)name##_record_encode, text, NULL                                              \
    }

static const struct kind kinds[] = {
    KIND(
        permit,
        "{\"schema\":1,\"database\":\"payments\",\"state\":\"granted\",\"epoch\":{\"incarnation\":1,"
        "\"counter\":7},\"node\":\"pay-east\",\"system_id\":\"7301234567890123456\",\"timeline\":3,"
        "\"d_ms\":8000,\"w_ms\":2000,\"k_ms\":1000,\"sync\":[{\"k\":1,\"members\":[\"pay_west\","
        "\"pay_third\"]}]}"),
    KIND(
        group,
        "{\"schema\":1,\"name\":\"shop\",\"paused\":true,\"paused_by\":\"root\",\"paused_reason\":"
        "\"a disk is changed\",\"paused_wall_ms\":1790000000000,\"databases\":[{\"database\":"
        "\"payments\",\"primary\":\"pay-east\",\"system_id\":\"7301234567890123456\",\"timeline\":1,"
        "\"sync_enforced\":true,\"burnt\":[\"pay-old\"]},{\"database\":\"orders\",\"primary\":"
        "\"ord-east\",\"system_id\":5,\"timeline\":1,\"sync_enforced\":false}],\"workflow\":{\"id\":"
        "\"inc-1\",\"started_wall_ms\":1790000000000,\"moves\":[{\"database\":\"payments\",\"phase\":"
        "\"promote\",\"from\":\"pay-east\",\"fence_node\":\"pay-east\",\"planned\":\"pay-west\","
        "\"candidate\":\"pay-west\",\"candidate_life\":1789999,\"from_timeline\":1,\"new_timeline\":0,"
        "\"system_id\":\"7301234567890123456\",\"lives\":1,\"evidence\":[{\"kind\":\"agent\",\"node\":"
        "\"pay-east\",\"level\":\"power\",\"detail\":\"off succeeded\",\"revocation_revision\":41,"
        "\"after_ms\":2020,\"wall_ms\":1790000000000}]}]},\"completed_wall_ms\":[1780000000000],"
        "\"alarms\":[{\"key\":\"fence.pay-east\",\"text\":\"no proof\",\"command\":\"failoverctl "
        "status\",\"since_wall_ms\":1790000000000,\"wakes\":true,\"called\":false}]}"),
    KIND(
        incident,
        "{\"schema\":1,\"id\":\"inc-1\",\"group\":\"shop\",\"state\":\"open\",\"fault_class\":"
        "\"software\",\"reason\":\"payments: primary on pay-east: refused\",\"opened_by\":\"ops1\","
        "\"opened_wall_ms\":1790000000000,\"anchor_ms\":1200,\"anchor_wall_ms\":1790000001200,"
        "\"ended_ms\":{\"detect\":1000,\"confirm\":1100,\"fence\":-1,\"promote\":-1,\"redirect\":-1,"
        "\"verify\":-1},\"people_ms\":0,\"objectives\":{\"switched\":{\"limit_ms\":3600000,"
        "\"actual_ms\":-1,\"warned\":0},\"normal\":{\"limit_ms\":7200000,\"actual_ms\":-1,\"warned\":3},"
        "\"back\":{\"limit_ms\":86400000,\"actual_ms\":-1,\"warned\":7}},\"databases\":[{\"name\":"
        "\"payments\",\"from\":\"pay-east\",\"estimated_loss_bytes\":0}],\"notes\":[{\"at_ms\":1000,"
        "\"rule\":\"R-F1\",\"text\":\"one witness is not evidence\"}]}"),
    KIND(
        request,
        "{\"schema\":1,\"id\":\"req-0123456789\",\"kind\":\"failover\",\"group\":\"shop\",\"database\":"
        "\"payments\",\"node\":\"pay-west\",\"who\":\"root\",\"reason\":\"a drill\","
        "\"accept_loss_bytes\":1024,\"plan\":\"0123456789abcdef\",\"asked_wall_ms\":1790000000000,"
        "\"state\":\"running\",\"outcome\":\"it goes on\",\"workflow\":\"inc-1\"}"),
    KIND(
        controller,
        "{\"schema\":1,\"id\":\"ops1\",\"version\":\"1.2.3\",\"api\":\"https://192.0.2.1:8443\","
        "\"started_wall_ms\":1790000000000,\"sequence\":99,\"config_revision\":7,\"blind\":false,"
        "\"targets\":[{\"database\":\"payments\",\"node\":\"pay-east\",\"opinion\":\"down\",\"cause\":"
        "\"refused\",\"age_ms\":20,\"since_ms\":900},{\"database\":\"payments\",\"node\":\"pay-west\","
        "\"opinion\":\"up\",\"cause\":\"ok\",\"age_ms\":20,\"since_ms\":90000,\"writable\":true}]}"),
    {"config", sizeof(struct config_record), (decoder)config_record_decode,
     (encoder)config_record_encode,
     "{\"schema\":1,\"text\":\"cluster: shop\\n\",\"applied_by\":\"root\",\"reason\":\"the first\","
     "\"at\":1790000000000,\"hash\":\"CURRENT\",\"history\":[{\"text\":\"cluster: old\\n\","
     "\"applied_by\":\"root\",\"at\":1780000000000,\"hash\":\"BEFORE\"}]}",
     config_done},
};
#define KINDS (sizeof kinds / sizeof *kinds)

/* A configuration's texts have their hashes beside them. The caller frees it. */
static char *sample_of(const struct kind *kind)
{
    char hashes[2][CONFIG_HASH_SIZE];
    char *text = strdup(kind->sample);
    config_hash("cluster: shop\n", hashes[0]);
    config_hash("cluster: old\n", hashes[1]);
    const char *const marks[] = {"CURRENT", "BEFORE"};
    for (int i = 0; i < 2; i++) {
        char *at = strstr(text, marks[i]);
        if (at != NULL) {
            char *filled = NULL;
            assert_true(asprintf(&filled, "%.*s%s%s", (int)(at - text), text, hashes[i],
                                 at + strlen(marks[i])) > 0);
            free(text);
            text = filled;
        }
    }
    return text;
}

/* Memory for one record of each kind, twice; kept, since some are large and there are thousands. */
static void *records[KINDS][2];

static bool try_record(const struct kind *kind, const char *text, size_t len)
{
    void **memory = records[kind - kinds];
    for (int i = 0; i < 2; i++) {
        memory[i] = memory[i] != NULL ? memory[i] : malloc(kind->size);
    }
    void *record = memory[0];
    void *again = memory[1];
    struct err err = {0};
    memset(record, 0x5a, kind->size);
    bool good = kind->decode(text, len, record, &err) == 0;
    if (good) {
        size_t first_len, second_len;
        char *first = kind->encode(record, &first_len);
        assert_non_null(first);
        if (kind->decode(first, first_len, again, &err) < 0) {
            fail_msg("%s, written out, is refused: %s\n%s", kind->name, err.text, first);
        }
        char *second = kind->encode(again, &second_len);
        assert_string_equal(first, second);
        free(first);
        free(second);
        if (kind->done != NULL) {
            kind->done(record);
            kind->done(again);
        }
    } else {
        assert_true(err.code == ERR_INVALID || err.code == ERR_LIMIT);
        assert_true(strncmp(err.text, kind->name, strlen(kind->name)) == 0);
        assert_true(all_bytes_are(record, kind->size, 0x5a));
        if (!is_printable(err.text)) {
            fail_msg("not to be shown: %s", err.text);
        }
    }
    return good;
}

static void a_mutated_record_is_read_whole_or_refused(void **state)
{
    (void)state;
    enum { TRIES = 1000 };
    for (size_t k = 0; k < KINDS; k++) {
        char *sample = sample_of(&kinds[k]);
        int good = 0;
        assert_true(try_record(&kinds[k], sample, strlen(sample)));
        for (int i = 0; i < TRIES; i++) {
            size_t len;
            char *bad = mutated(sample, strlen(sample), (uint64_t)i, &len);
            good += try_record(&kinds[k], bad, len) ? 1 : 0;
            free(bad);
        }
        assert_in_range(good, 1, TRIES / 2);
        free(sample);
    }
}

/* ---- records whose JSON is whole, and whose values are not ---- */

static json_t *hostile_value(uint64_t *seed)
{
    static const char *const forms[] = {"null",
                                        "true",
                                        "false",
                                        "0",
                                        "-1",
                                        "1",
                                        "2",
                                        "1.5",
                                        "1e308",
                                        "2147483648",
                                        "4294967296",
                                        "9007199254740993",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "\"\"",
                                        "\"x\"",
                                        "\"-\"",
                                        "\".\"",
                                        "\"A\"",
                                        "\"*\"",
                                        "\"18446744073709551615\"",
                                        "\"18446744073709551616\"",
                                        "\"+1\"",
                                        "\" 1\"",
                                        "\"1 \"",
                                        "\"0x1\"",
                                        "\"-0\"",
                                        "\"\\u001b[2J\"",
                                        "\"\\n\"",
                                        "\"\\u009b\"",
                                        "\"\\u20ac\"",
                                        "[]",
                                        "{}",
                                        "[[]]",
                                        "[null]",
                                        "[{}]",
                                        "{\"schema\":2}"};
    uint64_t which = mutate_random(seed, sizeof forms / sizeof *forms + 3);
    if (which < sizeof forms / sizeof *forms) {
        return json_loads(forms[which], JSON_DECODE_ANY, NULL);
    }
    size_t len = which % 3 == 0 ? 64 : which % 3 == 1 ? 255 : 5000;
    char *text = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = "\xe2\x82\xac"[i % 3];
    }
    text[len - len % 3] = '\0';
    json_t *value = json_string(text);
    free(text);
    return value;
}

/* Damages one value of the tree, each with the same chance on the way down. */
static void damage_value(json_t *node, uint64_t *seed)
{
    size_t len = json_is_object(node) ? json_object_size(node) : json_array_size(node);
    if (len == 0) {
        return;
    }
    size_t at = mutate_random(seed, len);
    const char *key = NULL;
    if (json_is_object(node)) {
        void *iter = json_object_iter(node);
        for (size_t i = 0; i < at; i++) {
            iter = json_object_iter_next(node, iter);
        }
        key = json_object_iter_key(iter);
    }
    json_t *child = key != NULL ? json_object_get(node, key) : json_array_get(node, at);
    bool deeper = json_is_object(child) || json_is_array(child);
    if (deeper && mutate_random(seed, 4) != 0) {
        damage_value(child, seed);
        return;
    }
    json_t *other = mutate_random(seed, 3) == 0 ? json_deep_copy(child) : hostile_value(seed);
    switch (mutate_random(seed, 4)) {
    case 0: /* gone */
        json_decref(other);
        if (key != NULL) {
            json_object_del(node, key);
        } else {
            json_array_remove(node, at);
        }
        break;
    case 1: /* once more, or under a name that nobody knows */
        if (key != NULL) {
            json_object_set_new(node, "unknown", other);
        } else {
            json_array_append_new(node, other);
        }
        break;
    default:
        if (key != NULL) {
            json_object_set_new(node, key, other);
        } else {
            json_array_set_new(node, at, other);
        }
        break;
    }
}

static void a_record_with_any_value_exchanged_is_read_whole_or_refused(void **state)
{
    (void)state;
    enum { TRIES = 1000 };
    for (size_t k = 0; k < KINDS; k++) {
        char *sample = sample_of(&kinds[k]);
        int good = 0;
        for (int i = 0; i < TRIES; i++) {
            uint64_t seed = (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15) + k;
            json_t *root = json_loads(sample, 0, NULL);
            for (uint64_t wounds = 1 + mutate_random(&seed, 2); wounds > 0; wounds--) {
                damage_value(root, &seed);
            }
            char *text = json_dumps(root, JSON_COMPACT);
            good += try_record(&kinds[k], text, strlen(text)) ? 1 : 0;
            free(text);
            json_decref(root);
        }
        assert_in_range(good, 1, TRIES * 9 / 10);
        free(sample);
    }
}

static void place(char *at, const char *piece)
{
    while (*piece != '\0') {
        *at++ = *piece++;
    }
}

static void a_record_nested_without_end_or_longer_than_allowed_is_refused(void **state)
{
    (void)state;
    size_t len = RECORD_TEXT_MAX;
    char *text = malloc(len + 1);
    for (size_t k = 0; k < KINDS; k++) {
        memset(text, '[', len);
        assert_false(try_record(&kinds[k], text, len));
        for (size_t i = 0; i + 5 <= len; i += 5) {
            place(text + i, "{\"a\":");
        }
        assert_false(try_record(&kinds[k], text, len));
        memset(text, 'x', len);
        place(text, "{\"schema\":1,\"");
        place(text + len - 5, "\":1}\n"); /* one key of a megabyte */
        assert_false(try_record(&kinds[k], text, len));
        assert_false(try_record(&kinds[k], text, len + 1));
    }
    free(text);
}

/* ---- through the API ---- */

static struct loop *loop;
static struct http *http;
static struct api *api;
static struct core *core;
static struct events *events;
static struct timer *end_write;
static char dir[32];
static char socket_path[64];

static struct {
    int configs;
    char id[ID_SIZE];
    char *yaml;
} stored;

static const struct core *give_core(void *arg)
{
    (void)arg;
    return core;
}

static void give_extra(void *arg, struct status_extra *ret_extra)
{
    (void)arg;
    *ret_extra = (struct status_extra){.now_ms = SHOP_NOW_MS,
                                       .wall_ms = SHOP_WALL_MS,
                                       .id = "ops1",
                                       .version = "1.2.3",
                                       .events = events};
}

static void put_request(void *arg, const struct request_record *request)
{
    (void)arg;
    fail_msg("a definition became the request %s", request->id);
}

static void put_config(void *arg, const char *id, const struct api_config *config)
{
    (void)arg;
    stored.configs++;
    free(stored.yaml);
    stored.yaml = strndup(config->yaml, config->yaml_len);
    snprintf(stored.id, sizeof stored.id, "%s", id);
    timer_start(end_write, 0);
}

/* As if another one had been faster: so each is asked for as the first. */
static void refuse_write(void *arg)
{
    (void)arg;
    api_write_done(api, stored.id, API_WRITE_FAILED, 0, "somebody was faster");
}

static int open_api(void **state)
{
    (void)state;
    struct err err = {0};
    memset(&stored, 0, sizeof stored);
    core = shop_core();
    events = events_new();
    loop = loop_new();
    http = http_new(loop);
    end_write = timer_new(loop, refuse_write, NULL);
    snprintf(dir, sizeof dir, "/tmp/test_mutated.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(socket_path, sizeof socket_path, "%s/socket", dir);
    struct api_options options = {.socket = socket_path,
                                  .backend = {.core = give_core,
                                              .extra = give_extra,
                                              .put_request = put_request,
                                              .put_config = put_config}};
    api = api_new(loop, &options, &err);
    if (api == NULL) {
        fail_msg("%s", err.text);
    }
    return 0;
}

static int close_api(void **state)
{
    (void)state;
    timer_free(end_write);
    http_free(http);
    api_free(api);
    loop_free(loop);
    events_free(events);
    free(core);
    free(stored.yaml);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

struct answer {
    bool done;
    int status;
    json_t *body;
};

static void keep(void *arg, const struct http_answer *from)
{
    struct answer *answer = arg;
    answer->done = true;
    answer->status = from->err.code == ERR_NONE ? from->status : -1;
    answer->body = json_parse(from->body, from->body_len, 16u << 20, NULL);
}

/* The text as a JSON string, its bytes as they are: what is no UTF-8 stays none. */
static char *post_body(const char *text, size_t len, size_t *ret_len)
{
    char *body = NULL;
    FILE *to = open_memstream(&body, ret_len);
    fputs("{\"reason\":\"a test\",\"yaml\":\"", to);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        fprintf(to, c < 0x20 ? "\\u%04x" : c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    fputs("\"}", to);
    fclose(to);
    return body;
}

static void only_a_good_definition_passes_the_api(void **state)
{
    (void)state;
    enum { TRIES = 300 };
    int good = 0;
    for (int i = 0; i < TRIES; i++) {
        size_t len, body_len;
        char *text = mutated(shop_yaml, strlen(shop_yaml), (uint64_t)i + 100000, &len);
        char *body = post_body(text, len, &body_len);
        bool passes = try_definition(text, len);
        struct answer answer = {0};
        struct http_request request = {.method = "POST",
                                       .url = "http://failoverd/v1/config",
                                       .unix_socket = socket_path,
                                       .body = body,
                                       .body_len = body_len,
                                       .deadline_ms = 20000,
                                       .done = keep,
                                       .arg = &answer};
        http_start(http, &request);
        assert_true(loop_run_until(loop, &answer.done, 20000));
        good += passes ? 1 : 0;
        assert_int_equal(answer.status, passes ? 202 : 400);
        assert_int_equal(stored.configs, good);
        if (passes) {
            assert_string_equal(stored.yaml, text);
        } else {
            assert_true(is_printable(json_string_value(json_object_get(answer.body, "error"))));
        }
        json_decref(answer.body);
        free(body);
        free(text);
    }
    assert_in_range(good, TRIES / 50, TRIES * 9 / 10);
}

/* ---- through failoverctl ---- */

/* Its exit code; what it said on standard error is in `said`. The loop runs meanwhile. */
static int run_failoverctl(const char *command, const char *file, char *said, size_t size)
{
    char self[PATH_MAX];
    char program[PATH_MAX + 16];
    char errors[80];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(len > 0);
    self[len] = '\0';
    snprintf(program, sizeof program, "%s/../failoverctl", dirname(self));
    snprintf(errors, sizeof errors, "%s/errors", dir);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        bool apply = strcmp(command, "apply") == 0;
        if (freopen("/dev/null", "r", stdin) == NULL || freopen("/dev/null", "w", stdout) == NULL ||
            freopen(errors, "w", stderr) == NULL) {
            _exit(126);
        }
        execl(program, "failoverctl", "--socket", socket_path, command, file,
              apply ? "--yes" : (char *)NULL, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    uint64_t until_ms = clock_now_ms() + 60000;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        bool never = false;
        loop_run_until(loop, &never, 5);
        if (clock_now_ms() > until_ms) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            fail_msg("failoverctl %s did not end within a minute", command);
        }
    }
    FILE *from = fopen(errors, "re");
    assert_non_null(from);
    said[fread(said, 1, size - 1, from)] = '\0';
    fclose(from);
    unlink(errors);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Each line but the last begins with "FILE:LINE:COLUMN: "; all can be shown. */
static void expect_lines(const char *file, char *said)
{
    bool placed = false;
    for (char *line = strtok(said, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int at_line = 0, at_column = 0;
        size_t len = strlen(file);
        placed = placed || (strncmp(line, file, len) == 0 &&
                            sscanf(line + len, ":%d:%d: error: ", &at_line, &at_column) == 2 &&
                            at_line >= 1 && at_column >= 1);
        if (!is_printable(line)) {
            fail_msg("not to be shown: %s", line);
        }
    }
    assert_true(placed);
}

static void failoverctl_checks_any_file_and_applies_none_that_is_bad(void **state)
{
    (void)state;
    char file[80];
    char *said = malloc(200000);
    int bad = 0;
    snprintf(file, sizeof file, "%s/cluster.yaml", dir);
    for (int i = 0; i < 30; i++) {
        size_t len;
        char *text = mutated(shop_yaml, strlen(shop_yaml), (uint64_t)i + 200000, &len);
        FILE *to = fopen(file, "we");
        assert_non_null(to);
        assert_int_equal(fwrite(text, 1, len, to), len);
        assert_int_equal(fclose(to), 0);
        bool passes = try_definition(text, len);
        int code = run_failoverctl("check", file, said, 200000);
        if (code != (passes ? 0 : 2)) {
            fail_msg("check ended with %d: %s", code, said);
        }
        if (!passes) {
            bad++;
            expect_lines(file, said);
            code = run_failoverctl("apply", file, said, 200000);
            if (code != 2) {
                fail_msg("apply ended with %d: %s", code, said);
            }
        }
        free(text);
    }
    assert_int_equal(stored.configs, 0);
    assert_true(bad >= 10);
    unlink(file);
    free(said);
}

static void failoverctl_refuses_what_is_no_definition_at_all(void **state)
{
    (void)state;
    char file[80];
    char *said = malloc(200000);
    snprintf(file, sizeof file, "%s/cluster.yaml", dir);
    char *line = malloc(1u << 20);
    memset(line, 'x', 1u << 20);
    FILE *to = fopen(file, "we");
    assert_non_null(to);
    assert_int_equal(fwrite(line, 1, 1u << 20, to), 1u << 20); /* a line of a megabyte */
    assert_int_equal(fclose(to), 0);
    free(line);
    const char *const files[] = {file, "/dev/zero", "/proc/self/mem", dir, "/nonexistent"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *const commands[] = {"check", "apply"};
        for (size_t c = 0; c < 2; c++) {
            int code = run_failoverctl(commands[c], files[i], said, 200000);
            if (code != 2 || said[0] == '\0') {
                fail_msg("%s %s ended with %d: %s", commands[c], files[i], code, said);
            }
        }
    }
    assert_int_equal(stored.configs, 0);
    unlink(file);
    free(said);
}

static int open_readings(void **state)
{
    (void)state;
    readings = calloc(1, sizeof *readings);
    return readings == NULL ? -1 : 0;
}

static int close_readings(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        free(records[k][0]);
        free(records[k][1]);
    }
    free(readings);
    return 0;
}

#define WITH_API(name) cmocka_unit_test_setup_teardown(name, open_api, close_api)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mutated_definition_is_read_whole_or_refused_with_places),
        cmocka_unit_test(two_definitions_grown_together_are_read_whole_or_refused),
        cmocka_unit_test(what_a_terminal_would_obey_is_never_in_a_complaint),
        cmocka_unit_test(a_complaint_is_never_cut_inside_a_character),
        cmocka_unit_test(a_mutated_local_file_is_read_whole_or_refused_with_places),
        cmocka_unit_test(a_mutated_record_is_read_whole_or_refused),
        cmocka_unit_test(a_record_with_any_value_exchanged_is_read_whole_or_refused),
        cmocka_unit_test(a_record_nested_without_end_or_longer_than_allowed_is_refused),
        WITH_API(only_a_good_definition_passes_the_api),
        WITH_API(failoverctl_checks_any_file_and_applies_none_that_is_bad),
        WITH_API(failoverctl_refuses_what_is_no_definition_at_all),
    };
    return cmocka_run_group_tests(tests, open_readings, close_readings);
}
