/*
 * The words of etcd's JSON gateway. The answers are what etcd 3.4.23 sends (recipes §2); those
 * of 3.5 and 3.6 that differ are taken from their documentation and were not run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "controller/etcd/base64.h"
#include "controller/etcd/codec.h"

#define HEADER                                                                                     \
    "\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"10276657743932975437\","  \
    "\"revision\":\"9007199254740995\",\"raft_term\":\"2\"}"

static struct etcd_reply decode(enum etcd_kind kind, int status, const char *body,
                                enum etcd_hint *ret_hint)
{
    struct etcd_reply reply = {.sent = true, .sent_ms = 7, .endpoint = "e"};
    enum etcd_hint hint = etcd_decode_reply(kind, status, body, strlen(body), &reply);

    assert_true(reply.sent);
    assert_int_equal(reply.sent_ms, 7);
    assert_string_equal(reply.endpoint, "e");
    if (ret_hint) {
        *ret_hint = hint;
    }
    return reply;
}

static void expect_json(char *text, const char *expected)
{
    json_t *got = json_loads(text, 0, NULL);
    json_t *want = json_loads(expected, 0, NULL);

    assert_non_null(got);
    assert_non_null(want);
    if (!json_equal(got, want)) {
        print_error("got      %s\nexpected %s\n", text, expected);
    }
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
    free(text);
}

/* ---- base64 ---- */

static void every_length_of_bytes_survives_base64(void **state)
{
    unsigned char data[300];
    char text[BASE64_SIZE(sizeof data)], back[sizeof data + 4];

    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (unsigned char)(i * 37 + 11);
    }
    for (size_t len = 0; len <= sizeof data; len++) {
        size_t back_len = 999;

        base64_encode(data, len, text);
        assert_int_equal(strlen(text) + 1, BASE64_SIZE(len));
        assert_int_equal(base64_decode(text, strlen(text), back, &back_len), 0);
        assert_int_equal(back_len, len);
        assert_memory_equal(back, data, len);
    }
}

static void what_is_no_base64_is_refused(void **state)
{
    const char *const bad[] = {"A",     "A===", "=",      "====", "AA=A", "AA A",
                               "AAA\n", "AA-_", "AAAA=A", "AB==", "AAB=", "AAAAA"};
    char out[16];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (base64_decode(bad[i], strlen(bad[i]), out, &len) == 0) {
            fail_msg("%s was taken for base64", bad[i]);
        }
    }
    assert_int_equal(base64_decode("Zm9vYg", 6, out, &len), 0); /* without padding */
    assert_int_equal(len, 4);
    assert_memory_equal(out, "foob", 4);
}

/* ---- Requests ---- */

static void a_prefix_becomes_a_range_up_to_the_next_key(void **state)
{
    struct etcd_range range = {.key = "/a/", .prefix = true, .limit = 3, .revision = 12};

    (void)state;
    expect_json(etcd_encode_range(&range, NULL),
                "{\"key\":\"L2Ev\",\"range_end\":\"L2Ew\",\"limit\":\"3\",\"revision\":\"12\"}");
    range = (struct etcd_range){.key = "a\xff\xff", .prefix = true};
    expect_json(etcd_encode_range(&range, NULL), "{\"key\":\"Yf//\",\"range_end\":\"Yg==\"}");
    range = (struct etcd_range){.key = "\xff", .prefix = true};
    expect_json(etcd_encode_range(&range, NULL), "{\"key\":\"/w==\",\"range_end\":\"AA==\"}");
    range = (struct etcd_range){.key = "", .prefix = true};
    expect_json(etcd_encode_range(&range, NULL), "{\"key\":\"AA==\",\"range_end\":\"AA==\"}");
}

static void a_transaction_is_written_as_the_gateway_reads_it(void **state)
{
    struct etcd_txn txn = {0};

    (void)state;
    etcd_txn_if_create(&txn, "k", 0);
    etcd_txn_if_mod(&txn, "m", INT64_MAX);
    txn.compares[txn.compares_len++] = (struct etcd_compare){.key = "v",
                                                             .target = ETCD_COMPARE_VALUE,
                                                             .result = ETCD_EQUAL,
                                                             .value = "x\0y",
                                                             .value_len = 3};
    txn.compares[txn.compares_len++] = (struct etcd_compare){
        .key = "n", .target = ETCD_COMPARE_VERSION, .result = ETCD_GREATER, .number = 4};
    etcd_txn_then_put(&txn, "k", "value", 5, -7);
    etcd_txn_then_delete(&txn, "d/", true);
    etcd_txn_then_range(&txn, "r", false);
    etcd_txn_else_range(&txn, "k", false);
    expect_json(
        etcd_encode_txn(&txn, NULL),
        "{\"compare\":["
        "{\"key\":\"aw==\",\"target\":\"CREATE\",\"result\":\"EQUAL\",\"create_revision\":\"0\"},"
        "{\"key\":\"bQ==\",\"target\":\"MOD\",\"result\":\"EQUAL\","
        "\"mod_revision\":\"9223372036854775807\"},"
        "{\"key\":\"dg==\",\"target\":\"VALUE\",\"result\":\"EQUAL\",\"value\":\"eAB5\"},"
        "{\"key\":\"bg==\",\"target\":\"VERSION\",\"result\":\"GREATER\",\"version\":\"4\"}],"
        "\"success\":["
        "{\"request_put\":{\"key\":\"aw==\",\"value\":\"dmFsdWU=\",\"lease\":\"-7\"}},"
        "{\"request_delete_range\":{\"key\":\"ZC8=\",\"range_end\":\"ZDA=\"}},"
        "{\"request_range\":{\"key\":\"cg==\"}}],"
        "\"failure\":[{\"request_range\":{\"key\":\"aw==\"}}]}");
}

static void a_request_over_its_bounds_is_an_error_and_not_sent(void **state)
{
    char key[ETCD_KEY_MAX + 2];
    struct etcd_range range = {.key = key};
    struct etcd_txn txn = {0};
    struct err err = {0};
    char *value = calloc(1, ETCD_VALUE_MAX + 1);

    (void)state;
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    assert_null(etcd_encode_range(&range, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_null(etcd_encode_put("k", value, ETCD_VALUE_MAX + 1, 0, &err));
    assert_int_equal(err.code, ERR_LIMIT);
    assert_null(etcd_encode_put("", "v", 1, 0, &err));
    assert_int_equal(err.code, ERR_INVALID);
    etcd_txn_then_put(&txn, key, "v", 1, 0);
    assert_null(etcd_encode_txn(&txn, &err));
    assert_null(etcd_encode_watch(key, false, 1, &err));
    assert_null(etcd_encode_delete(key, true, &err));
    assert_null(etcd_encode_auth("user", "pass\xff", &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "password"));
    free(value);
}

static void leases_compaction_log_in_and_watch_are_written_with_text_numbers(void **state)
{
    (void)state;
    expect_json(etcd_encode_lease_grant(5, 0), "{\"TTL\":\"5\"}");
    expect_json(etcd_encode_lease_grant(5, 9), "{\"TTL\":\"5\",\"ID\":\"9\"}");
    expect_json(etcd_encode_lease(INT64_C(7587862072907946243)),
                "{\"ID\":\"7587862072907946243\"}");
    expect_json(etcd_encode_compact(77), "{\"revision\":\"77\"}");
    expect_json(etcd_encode_auth("u", "p\"w", NULL), "{\"name\":\"u\",\"password\":\"p\\\"w\"}");
    expect_json(etcd_encode_watch("a", true, 5, NULL),
                "{\"create_request\":{\"key\":\"YQ==\",\"range_end\":\"Yg==\","
                "\"start_revision\":\"5\",\"fragment\":true}}");
}

/* ---- Answers ---- */

static void numbers_of_64_bits_keep_every_digit(void **state)
{
    struct etcd_reply reply =
        decode(ETCD_KIND_RANGE, 200,
               "{" HEADER ",\"kvs\":[{\"key\":\"Zm9v\",\"create_revision\":\"9007199254740993\","
               "\"mod_revision\":\"9223372036854775807\",\"version\":\"1\",\"value\":\"YmFy\","
               "\"lease\":\"7587862072907946243\"}],\"more\":true,\"count\":\"2\"}",
               NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_true(reply.cluster_id == UINT64_C(14841639068965178418));
    assert_true(reply.member_id == UINT64_C(10276657743932975437));
    assert_true(reply.revision == INT64_C(9007199254740995));
    assert_int_equal(reply.raft_term, 2);
    assert_int_equal(reply.kvs_len, 1);
    assert_string_equal(reply.kvs[0].key, "foo");
    assert_string_equal(reply.kvs[0].value, "bar");
    assert_int_equal(reply.kvs[0].value_len, 3);
    assert_true(reply.kvs[0].create_revision == INT64_C(9007199254740993));
    assert_true(reply.kvs[0].mod_revision == INT64_MAX);
    assert_true(reply.kvs[0].lease == INT64_C(7587862072907946243));
    assert_true(reply.more);
    assert_int_equal(reply.count, 2);
    etcd_reply_done(&reply);
}

static void absent_members_are_zero_and_unknown_ones_are_ignored(void **state)
{
    struct etcd_reply reply = decode(ETCD_KIND_RANGE, 200, "{" HEADER "}", NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_int_equal(reply.kvs_len, 0);
    assert_int_equal(reply.count, 0);
    assert_false(reply.more);
    etcd_reply_done(&reply);
    reply =
        decode(ETCD_KIND_RANGE, 200,
               "{" HEADER ",\"new\":{\"x\":[1]},\"kvs\":[{\"key\":\"YQ==\",\"novel\":1}]}", NULL);
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_string_equal(reply.kvs[0].key, "a");
    assert_string_equal(reply.kvs[0].value, "");
    assert_int_equal(reply.kvs[0].lease, 0);
    etcd_reply_done(&reply);
}

static void a_failed_transaction_has_no_succeeded_and_shows_its_ranges(void **state)
{
    struct etcd_reply reply =
        decode(ETCD_KIND_TXN, 200,
               "{" HEADER ",\"responses\":["
               "{\"response_range\":{\"header\":{\"revision\":\"3\"},\"kvs\":[{\"key\":\"YQ==\"},"
               "{\"key\":\"Yg==\"}],\"count\":\"2\"}},"
               "{\"response_delete_range\":{\"header\":{},\"deleted\":\"4\"}},"
               "{\"response_put\":{\"header\":{}}},"
               "{\"response_range\":{\"kvs\":[{\"key\":\"Yw==\"}],\"count\":\"1\"}}]}",
               NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_false(reply.succeeded);
    assert_int_equal(reply.responses_len, 4);
    assert_int_equal(reply.responses[0].kvs_len, 2);
    assert_int_equal(reply.responses[1].kind, ETCD_DELETE);
    assert_int_equal(reply.responses[1].count, 4);
    assert_int_equal(reply.responses[2].kind, ETCD_PUT);
    assert_int_equal(reply.responses[3].kvs_first, 2);
    assert_string_equal(reply.kvs[2].key, "c");
    etcd_reply_done(&reply);
    reply = decode(ETCD_KIND_TXN, 200, "{" HEADER ",\"succeeded\":true}", NULL);
    assert_true(reply.succeeded);
    etcd_reply_done(&reply);
}

static void a_keepalive_of_a_lost_lease_is_a_success_without_a_ttl(void **state)
{
    struct etcd_reply reply = decode(
        ETCD_KIND_KEEPALIVE, 200, "{\"result\":{" HEADER ",\"ID\":\"5\",\"TTL\":\"3\"}}\n", NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_int_equal(reply.ttl_s, 3);
    etcd_reply_done(&reply);
    reply = decode(ETCD_KIND_KEEPALIVE, 200, "{\"result\":{" HEADER ",\"ID\":\"5\"}}\n", NULL);
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_int_equal(reply.ttl_s, 0);
    etcd_reply_done(&reply);
    reply = decode(ETCD_KIND_GRANT, 200, "{" HEADER ",\"ID\":\"5\",\"TTL\":\"3\"}", NULL);
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_int_equal(reply.lease, 5);
    etcd_reply_done(&reply);
    reply = decode(ETCD_KIND_GRANT, 200, "{" HEADER ",\"ID\":\"5\"}", NULL);
    assert_int_equal(reply.outcome, ETCD_UNKNOWN);
}

static void status_tells_the_size_and_the_alarms(void **state)
{
    struct etcd_reply reply = decode(
        ETCD_KIND_STATUS, 200,
        "{" HEADER
        ",\"version\":\"3.4.23\",\"dbSize\":\"24576\",\"leader\":\"10276657743932975437\","
        "\"raftIndex\":\"8\",\"errors\":[\"memberID:1 alarm:NOSPACE \"],\"dbSizeInUse\":\"16384\"}",
        NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_string_equal(reply.version, "3.4.23");
    assert_int_equal(reply.db_size, 24576);
    assert_int_equal(reply.db_size_in_use, 16384);
    assert_true(reply.alarm_no_space);
    assert_false(reply.alarm_corrupt);
    etcd_reply_done(&reply);
}

struct error_case {
    const char *body;
    int status;
    enum etcd_outcome outcome;
    enum etcd_reason reason;
    enum etcd_hint hint;
};

#define UNARY(text, code) "{\"error\":\"" text "\",\"message\":\"" text "\",\"code\":" #code "}"

static void only_answers_of_the_allow_list_are_definite(void **state)
{
    static const struct error_case cases[] = {
        {UNARY("etcdserver: requested lease not found", 5), 404, ETCD_REFUSED, ETCD_LEASE_NOT_FOUND,
         ETCD_HINT_NONE},
        {UNARY("etcdserver: lease already exists", 9), 412, ETCD_REFUSED, ETCD_LEASE_EXISTS,
         ETCD_HINT_NONE},
        {UNARY("etcdserver: mvcc: required revision has been compacted", 11), 400, ETCD_REFUSED,
         ETCD_COMPACTED, ETCD_HINT_NONE},
        {UNARY("etcdserver: mvcc: database space exceeded", 8), 429, ETCD_REFUSED, ETCD_NO_SPACE,
         ETCD_HINT_NONE},
        {UNARY("etcdserver: permission denied", 7), 403, ETCD_REFUSED, ETCD_PERMISSION_DENIED,
         ETCD_HINT_NONE},
        {UNARY("etcdserver: authentication failed, invalid user ID or password", 3), 400,
         ETCD_REFUSED, ETCD_AUTH_FAILED, ETCD_HINT_NONE},
        {UNARY("etcdserver: invalid auth token", 16), 401, ETCD_REFUSED, ETCD_TOKEN_REFUSED,
         ETCD_HINT_AUTHENTICATE},
        {UNARY("etcdserver: user name is empty", 3), 400, ETCD_REFUSED, ETCD_TOKEN_REFUSED,
         ETCD_HINT_AUTHENTICATE},
        {UNARY("etcdserver: revision of auth store is old", 3), 400, ETCD_REFUSED,
         ETCD_TOKEN_REFUSED, ETCD_HINT_AUTHENTICATE},
        {"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
         503, ETCD_UNKNOWN, ETCD_NO_LEADER, ETCD_HINT_ELSEWHERE},
        /* 3.6 has no "error" */
        {"{\"code\":14,\"message\":\"etcdserver: no leader\",\"details\":[]}", 503, ETCD_UNKNOWN,
         ETCD_NO_LEADER, ETCD_HINT_ELSEWHERE},
        {"{\"code\":5,\"message\":\"etcdserver: requested lease not found\"}", 404, ETCD_REFUSED,
         ETCD_LEASE_NOT_FOUND, ETCD_HINT_NONE},
        /* what may have happened */
        {UNARY("etcdserver: request timed out", 14), 503, ETCD_UNKNOWN, ETCD_NO_REASON,
         ETCD_HINT_NONE},
        {UNARY("context deadline exceeded", 2), 500, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {UNARY("etcdserver: leader changed", 14), 503, ETCD_UNKNOWN, ETCD_NO_REASON,
         ETCD_HINT_NONE},
        /* nearly the words */
        {UNARY("etcdserver: requested lease not found!", 5), 404, ETCD_UNKNOWN, ETCD_NO_REASON,
         ETCD_HINT_NONE},
        {UNARY("etcdserver: requested lease not found", 2), 404, ETCD_UNKNOWN, ETCD_NO_REASON,
         ETCD_HINT_NONE},
        {UNARY("requested lease not found", 5), 404, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        /* an error with status 200 is an error */
        {UNARY("something", 2), 200, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"{\"error\":{}}", 200, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        /* other people's pages */
        {"Not Found\n", 404, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"<html>", 200, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"", 200, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"[]", 200, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"{}", 200, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"{" HEADER "}", 500, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
        {"{" HEADER "}", 0, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int kind = 0; kind < ETCD_KINDS; kind++) {
            enum etcd_hint hint;
            struct etcd_reply reply =
                decode((enum etcd_kind)kind, cases[i].status, cases[i].body, &hint);

            if (reply.outcome != cases[i].outcome || reply.reason != cases[i].reason ||
                hint != cases[i].hint) {
                fail_msg("%s: outcome %d reason %s hint %d", cases[i].body, reply.outcome,
                         etcd_reason_name(reply.reason), hint);
            }
            assert_true(reply.text[0] != '\0');
            etcd_reply_done(&reply);
        }
    }
}

/*
 * What 3.5 and 3.6 answer otherwise than 3.4, from their protocol files and change logs; none of
 * them runs in these tests (deploy/doc/etcd.md).
 */
static void a_status_of_3_6_tells_its_quota_and_what_we_do_not_ask(void **state)
{
    struct etcd_reply reply = decode(
        ETCD_KIND_STATUS, 200,
        "{" HEADER
        ",\"version\":\"3.6.9\",\"dbSize\":\"32768\",\"leader\":\"789\",\"raftIndex\":\"7\","
        "\"raftTerm\":\"8\",\"raftAppliedIndex\":\"7\",\"errors\":[\"etcdserver: no leader\","
        "\"memberID:456 alarm:CORRUPT \"],\"dbSizeInUse\":\"16384\",\"storageVersion\":\"3.6.0\","
        "\"dbSizeQuota\":\"2147483648\",\"downgradeInfo\":{\"enabled\":true,\"targetVersion\":"
        "\"3.5.0\"}}",
        NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_string_equal(reply.version, "3.6.9");
    assert_int_equal(reply.db_quota, INT64_C(2147483648));
    assert_true(reply.alarm_corrupt);
    assert_false(reply.alarm_no_space);
    etcd_reply_done(&reply);
    reply =
        decode(ETCD_KIND_STATUS, 200, "{" HEADER ",\"version\":\"3.5.28\",\"dbSize\":\"1\"}", NULL);
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_int_equal(reply.db_quota, 0);
    etcd_reply_done(&reply);
}

/* From 3.4.42, 3.5.28 and 3.6.9 on leases, alarms, the member list and compaction ask for a user.
 */
static void a_lease_that_asks_for_a_user_has_its_token_renewed(void **state)
{
    static const char *const bodies[] = {
        /* 3.5: a keepalive is a stream, and its error an object in it */
        "{\"error\":{\"grpc_code\":16,\"http_code\":401,\"message\":\"etcdserver: invalid auth token\","
        "\"http_status\":\"Unauthorized\"}}",
        /* 3.6: the second gateway's form, in a stream and without one */
        "{\"error\":{\"code\":16,\"message\":\"etcdserver: invalid auth token\",\"details\":[]}}",
        "{\"code\":16,\"message\":\"etcdserver: invalid auth token\",\"details\":[]}",
        "{\"code\":3,\"message\":\"etcdserver: user name is empty\",\"details\":[]}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        enum etcd_hint hint;
        struct etcd_reply reply = decode(ETCD_KIND_KEEPALIVE, 401, bodies[i], &hint);

        assert_int_equal(reply.outcome, ETCD_REFUSED);
        assert_int_equal(reply.reason, ETCD_TOKEN_REFUSED);
        assert_int_equal(hint, ETCD_HINT_AUTHENTICATE);
        etcd_reply_done(&reply);
    }
}

static void errors_of_3_5_and_3_6_that_we_do_not_know_are_unknown(void **state)
{
    static const struct error_case cases[] = {
        {UNARY("etcdserver: leader changed", 14), 503, ETCD_UNKNOWN, ETCD_NO_REASON,
         ETCD_HINT_NONE},
        {UNARY("etcdserver: cluster version not found during downgrade", 14), 503, ETCD_UNKNOWN,
         ETCD_NO_REASON, ETCD_HINT_NONE},
        {UNARY("etcdserver: cluster has a downgrade job in progress", 9), 412, ETCD_UNKNOWN,
         ETCD_NO_REASON, ETCD_HINT_NONE},
        {"{\"code\":9,\"message\":\"etcdserver: not leader\",\"details\":[]}", 400, ETCD_UNKNOWN,
         ETCD_NO_REASON, ETCD_HINT_NONE},
        /* The second gateway says 400 where the first said 412; the code counts, not the status. */
        {"{\"code\":9,\"message\":\"etcdserver: lease already exists\",\"details\":[]}", 400,
         ETCD_REFUSED, ETCD_LEASE_EXISTS, ETCD_HINT_NONE},
        {"{\"code\":8,\"message\":\"etcdserver: mvcc: database space exceeded\",\"details\":[]}",
         429, ETCD_REFUSED, ETCD_NO_SPACE, ETCD_HINT_NONE},
        {"{\"code\":14,\"message\":\"etcdserver: rpc not supported for learner\",\"details\":[]}",
         503, ETCD_UNKNOWN, ETCD_NO_REASON, ETCD_HINT_ELSEWHERE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum etcd_hint hint;
        struct etcd_reply reply = decode(ETCD_KIND_TXN, cases[i].status, cases[i].body, &hint);

        assert_int_equal(reply.outcome, cases[i].outcome);
        assert_int_equal(reply.reason, cases[i].reason);
        assert_int_equal(hint, cases[i].hint);
        etcd_reply_done(&reply);
    }
}

static void a_certificate_that_names_a_user_is_told_in_words(void **state)
{
    struct etcd_reply reply = decode(
        ETCD_KIND_PUT, 400,
        "CommonName of client sending a request against gateway will be ignored and not used "
        "as expected\n",
        NULL);

    (void)state;
    assert_int_equal(reply.outcome, ETCD_UNKNOWN);
    assert_non_null(strstr(reply.text, "no client certificate with a CommonName"));
    etcd_reply_done(&reply);
    reply = decode(ETCD_KIND_PUT, 400, "CommonN", NULL);
    assert_int_equal(reply.outcome, ETCD_UNKNOWN);
    etcd_reply_done(&reply);
}

static void an_answer_of_the_wrong_types_is_unknown_and_says_where(void **state)
{
    static const char *const bodies[] = {
        "{\"header\":5}",
        "{\"header\":{\"cluster_id\":\"x\"}}",
        "{\"header\":{\"cluster_id\":\"99999999999999999999999\"}}",
        "{" HEADER ",\"kvs\":5}",
        "{" HEADER ",\"kvs\":[5]}",
        "{" HEADER ",\"kvs\":[{\"key\":5}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"***\"}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":\"-1\"}]}",
        "{" HEADER ",\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":1.5}]}",
        "{" HEADER ",\"count\":[]}",
        "{" HEADER ",\"more\":\"true\"}",
        "{" HEADER ",\"kvs\":[{\"key\":\"YQ==\"},{\"key\":\"YQ==\",\"value\":\"A\"}]}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct etcd_reply reply = decode(ETCD_KIND_RANGE, 200, bodies[i], NULL);

        if (reply.outcome != ETCD_UNKNOWN) {
            fail_msg("taken for an answer: %s", bodies[i]);
        }
        assert_int_equal(reply.kvs_len, 0);
        assert_int_equal(reply.revision, 0);
        assert_non_null(strstr(reply.text, "etcd's answer"));
        etcd_reply_done(&reply);
    }
}

static void an_answer_cut_anywhere_is_unknown_and_never_half_taken(void **state)
{
    static const char body[] =
        "{" HEADER ",\"kvs\":[{\"key\":\"Zm9v\",\"mod_revision\":\"5\",\"value\":\"YmFy\"}],"
        "\"count\":\"1\"}";

    (void)state;
    for (size_t len = 0; len < sizeof body - 1; len++) {
        struct etcd_reply reply = {0};

        etcd_decode_reply(ETCD_KIND_RANGE, 200, body, len, &reply);
        assert_int_equal(reply.outcome, ETCD_UNKNOWN);
        assert_int_equal(reply.kvs_len, 0);
        etcd_reply_done(&reply);
    }
}

/* Each byte replaced by others: no crash (the sanitizers watch), and no answer with kvs beyond what
 * was sent. */
static void mutated_answers_never_crash(void **state)
{
    static const char body[] =
        "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":"
        "\"Zm9v\",\"mod_revision\":\"5\",\"value\":\"YmFy\"}],\"count\":\"1\"}}],\"kvs\":[{\"key\":"
        "\"YQ==\"}],\"deleted\":\"1\",\"ID\":\"1\",\"TTL\":\"1\",\"token\":\"abc\"}";
    static const char others[] = "\"{}[]:,0-\\ue\xff\n=";
    char copy[sizeof body];

    (void)state;
    for (size_t at = 0; at < sizeof body - 1; at++) {
        for (size_t with = 0; with < sizeof others; with++) {
            memcpy(copy, body, sizeof body);
            copy[at] = others[with];
            for (int kind = 0; kind < ETCD_KINDS; kind++) {
                struct etcd_reply reply = {0};

                etcd_decode_reply((enum etcd_kind)kind, 200, copy, sizeof copy - 1, &reply);
                assert_true(reply.kvs_len <= 1);
                etcd_reply_done(&reply);
            }
        }
    }
}

static void a_token_is_taken_only_if_it_fits_a_header_line(void **state)
{
    static const char good[] = "{" HEADER ",\"token\":\"abc.12\"}";
    static const char *const bad[] = {"{" HEADER "}", "{" HEADER ",\"token\":\"\"}",
                                      "{" HEADER ",\"token\":\"a\\r\\nX: y\"}",
                                      "{" HEADER ",\"token\":7}"};
    struct etcd_reply reply = {0};
    char token[ETCD_TOKEN_SIZE] = "before";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        reply = (struct etcd_reply){0};
        etcd_decode_auth(200, bad[i], strlen(bad[i]), &reply, token);
        assert_int_equal(reply.outcome, ETCD_UNKNOWN);
        assert_string_equal(token, "before");
    }
    reply = (struct etcd_reply){0};
    etcd_decode_auth(200, good, sizeof good - 1, &reply, token);
    assert_int_equal(reply.outcome, ETCD_OK);
    assert_string_equal(token, "abc.12");
    etcd_reply_done(&reply);
}

static void an_answer_over_the_limit_is_unknown(void **state)
{
    size_t len = ETCD_RANGE_BODY_MAX + 1;
    char *body = malloc(len);
    struct etcd_reply reply = {0};

    (void)state;
    memset(body, ' ', len);
    body[0] = '{';
    body[len - 1] = '}';
    etcd_decode_reply(ETCD_KIND_RANGE, 200, body, len, &reply);
    assert_int_equal(reply.outcome, ETCD_UNKNOWN);
    free(body);
}

/* ---- The stream ---- */

static const char stream[] =
    "{\"result\":{" HEADER ",\"created\":true}}\n"
    "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"YS9i\",\"create_revision\":\"4\","
    "\"mod_revision\":\"5\",\"version\":\"2\",\"value\":\"eyJ4IjoifVwifSJ9\"}},"
    "{\"type\":\"DELETE\",\"kv\":{\"key\":\"YS9j\",\"mod_revision\":\"5\"}}]}}\n"
    "{\"result\":{" HEADER ",\"note\":\"} \\\" {[\"}}"
    "{\"result\":{" HEADER ",\"canceled\":true,\"compact_revision\":\"9\"}}\r\n"
    "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\","
    "\"http_status\":\"Service Unavailable\"}}";

static bool take(void *arg, const char *text, size_t len)
{
    int *seen = arg;
    struct etcd_notice notice;

    assert_int_equal(etcd_decode_notice(text, len, &notice, NULL), 0);
    switch ((*seen)++) {
    case 0:
        assert_true(notice.created);
        assert_true(notice.revision == INT64_C(9007199254740995));
        break;
    case 1:
        assert_int_equal(notice.events_len, 2);
        assert_int_equal(notice.events[0].kind, ETCD_EVENT_PUT);
        assert_string_equal(notice.events[0].kv.key, "a/b");
        assert_string_equal(notice.events[0].kv.value, "{\"x\":\"}\\\"}\"}");
        assert_int_equal(notice.events[1].kind, ETCD_EVENT_DELETE);
        assert_string_equal(notice.events[1].kv.key, "a/c");
        break;
    case 2: assert_int_equal(notice.events_len, 0); break;
    case 3:
        assert_true(notice.canceled);
        assert_false(notice.is_error);
        assert_int_equal(notice.compact_revision, 9);
        break;
    default:
        assert_true(notice.is_error);
        assert_int_equal(notice.reason, ETCD_NO_LEADER);
        break;
    }
    etcd_notice_done(&notice);
    return true;
}

static void a_stream_cut_at_any_byte_gives_the_same_objects(void **state)
{
    (void)state;
    for (size_t cut = 0; cut + 1 < sizeof stream; cut++) {
        struct etcd_splitter splitter;
        int seen = 0;

        etcd_splitter_init(&splitter, 0);
        assert_int_equal(etcd_splitter_feed(&splitter, stream, cut, take, &seen, NULL), 0);
        assert_int_equal(
            etcd_splitter_feed(&splitter, stream + cut, sizeof stream - 1 - cut, take, &seen, NULL),
            0);
        assert_int_equal(seen, 5);
        etcd_splitter_done(&splitter);
    }
}

static void a_stream_byte_by_byte_gives_the_same_objects(void **state)
{
    struct etcd_splitter splitter;
    int seen = 0;

    (void)state;
    etcd_splitter_init(&splitter, 0);
    for (size_t i = 0; i < sizeof stream - 1; i++) {
        assert_int_equal(etcd_splitter_feed(&splitter, stream + i, 1, take, &seen, NULL), 0);
    }
    assert_int_equal(seen, 5);
    etcd_splitter_done(&splitter);
}

static bool count(void *arg, const char *text, size_t len)
{
    (void)text;
    (void)len;
    ++*(int *)arg;
    return true;
}

static bool stop(void *arg, const char *text, size_t len)
{
    count(arg, text, len);
    return false;
}

static void a_stream_of_nonsense_or_without_end_is_an_error(void **state)
{
    static const char *const bad[] = {"x", "[]", "{}}", "{}null", "\"a\"", "\x01", "{} 5"};
    struct etcd_splitter splitter;
    struct err err;
    int seen = 0;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        etcd_splitter_init(&splitter, 0);
        assert_int_equal(etcd_splitter_feed(&splitter, bad[i], strlen(bad[i]), count, &seen, &err),
                         -1);
        assert_int_equal(err.code, ERR_INVALID);
        etcd_splitter_done(&splitter);
    }
    etcd_splitter_init(&splitter, 100);
    for (int i = 0; i < 99; i++) {
        assert_int_equal(
            etcd_splitter_feed(&splitter, i == 0 ? "{\"" : "a", i == 0 ? 2 : 1, count, &seen, &err),
            0);
    }
    assert_int_equal(etcd_splitter_feed(&splitter, "a", 1, count, &seen, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    etcd_splitter_done(&splitter);
    etcd_splitter_init(&splitter, 0);
    seen = 0;
    assert_int_equal(etcd_splitter_feed(&splitter, "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 40,
                                        count, &seen, &err),
                     -1);
    assert_int_equal(err.code, ERR_LIMIT);
    etcd_splitter_done(&splitter);
    etcd_splitter_init(&splitter, 0);
    assert_int_equal(etcd_splitter_feed(&splitter, "{}{}{}", 6, stop, &seen, &err), 0);
    assert_int_equal(seen, 1);
    etcd_splitter_done(&splitter);
}

static void a_watch_refused_for_its_user_says_so(void **state)
{
    static const char body[] =
        "{\"result\":{" HEADER ",\"created\":true,\"canceled\":true,\"cancel_reason\":"
        "\"rpc error: code = PermissionDenied desc = etcdserver: permission denied\"}}";
    struct etcd_notice notice;

    (void)state;
    assert_int_equal(etcd_decode_notice(body, sizeof body - 1, &notice, NULL), 0);
    assert_true(notice.canceled);
    assert_true(notice.is_error);
    assert_int_equal(notice.reason, ETCD_PERMISSION_DENIED);
    etcd_notice_done(&notice);
}

static void a_progress_notice_is_a_sign_of_life_and_nothing_else(void **state)
{
    /* 3.5 and 3.6 send it reliably, with a watch id that may be -1 for all watches of a stream. */
    static const char body[] = "{\"result\":{" HEADER ",\"watch_id\":\"-1\"}}";
    struct etcd_notice notice;

    (void)state;
    assert_int_equal(etcd_decode_notice(body, sizeof body - 1, &notice, NULL), 0);
    assert_false(notice.created || notice.canceled || notice.is_error);
    assert_int_equal(notice.events_len, 0);
    assert_true(notice.revision > 0);
    etcd_notice_done(&notice);
}

static void notices_of_the_wrong_types_are_errors_with_their_path(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"result\":[]}",
        "{\"result\":{}}",
        "{\"result\":{" HEADER ",\"events\":5}}",
        "{\"result\":{" HEADER ",\"events\":[{\"type\":\"PAT\",\"kv\":{\"key\":\"YQ==\","
        "\"mod_revision\":\"1\"}}]}}",
        "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"YQ==\"}}]}}",
        "{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"mod_revision\":\"1\"}}]}}",
        "{\"result\":{" HEADER ",\"events\":[{}]}}",
        "{\"result\":{" HEADER ",\"created\":\"yes\"}}",
    };
    struct etcd_notice notice = {0};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (etcd_decode_notice(bad[i], strlen(bad[i]), &notice, &err) == 0) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_int_equal(err.code, ERR_INVALID);
        assert_non_null(strstr(err.text, "notice"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_of_bytes_survives_base64),
        cmocka_unit_test(what_is_no_base64_is_refused),
        cmocka_unit_test(a_prefix_becomes_a_range_up_to_the_next_key),
        cmocka_unit_test(a_transaction_is_written_as_the_gateway_reads_it),
        cmocka_unit_test(a_request_over_its_bounds_is_an_error_and_not_sent),
        cmocka_unit_test(leases_compaction_log_in_and_watch_are_written_with_text_numbers),
        cmocka_unit_test(numbers_of_64_bits_keep_every_digit),
        cmocka_unit_test(absent_members_are_zero_and_unknown_ones_are_ignored),
        cmocka_unit_test(a_failed_transaction_has_no_succeeded_and_shows_its_ranges),
        cmocka_unit_test(a_keepalive_of_a_lost_lease_is_a_success_without_a_ttl),
        cmocka_unit_test(status_tells_the_size_and_the_alarms),
        cmocka_unit_test(only_answers_of_the_allow_list_are_definite),
        cmocka_unit_test(a_status_of_3_6_tells_its_quota_and_what_we_do_not_ask),
        cmocka_unit_test(a_lease_that_asks_for_a_user_has_its_token_renewed),
        cmocka_unit_test(errors_of_3_5_and_3_6_that_we_do_not_know_are_unknown),
        cmocka_unit_test(a_progress_notice_is_a_sign_of_life_and_nothing_else),
        cmocka_unit_test(a_certificate_that_names_a_user_is_told_in_words),
        cmocka_unit_test(an_answer_of_the_wrong_types_is_unknown_and_says_where),
        cmocka_unit_test(an_answer_cut_anywhere_is_unknown_and_never_half_taken),
        cmocka_unit_test(mutated_answers_never_crash),
        cmocka_unit_test(a_token_is_taken_only_if_it_fits_a_header_line),
        cmocka_unit_test(an_answer_over_the_limit_is_unknown),
        cmocka_unit_test(a_stream_cut_at_any_byte_gives_the_same_objects),
        cmocka_unit_test(a_stream_byte_by_byte_gives_the_same_objects),
        cmocka_unit_test(a_stream_of_nonsense_or_without_end_is_an_error),
        cmocka_unit_test(a_watch_refused_for_its_user_says_so),
        cmocka_unit_test(notices_of_the_wrong_types_are_errors_with_their_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
