/*
 * The client and the watch against a real etcd, and against a network that cuts, stalls and
 * swallows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/etcd/watch.h"
#include "tests/unit/etcd_fixture.h"

#define WITHIN_MS 4000

static struct etcd_fixture single, three, small, guarded;

struct world {
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
};

/* The parts of a reply that tests look at after its callback. */
struct answer {
    bool done;
    struct etcd_reply reply; /* without its memory */
    char key[64], value[256];
    int64_t mod_revision, create_revision;
    int64_t lease;
};

static void keep(void *arg, const struct etcd_reply *reply)
{
    struct answer *answer = arg;

    assert_false(answer->done);
    answer->done = true;
    answer->reply = *reply;
    if (reply->kvs_len > 0) {
        snprintf(answer->key, sizeof answer->key, "%s", reply->kvs[0].key);
        snprintf(answer->value, sizeof answer->value, "%s", reply->kvs[0].value);
        answer->mod_revision = reply->kvs[0].mod_revision;
        answer->create_revision = reply->kvs[0].create_revision;
        answer->lease = reply->kvs[0].lease;
    }
    answer->reply.kvs = NULL;
    answer->reply.memory = NULL;
    answer->reply.endpoint = NULL;
}

static void open_world(struct world *world, const struct etcd_config *config)
{
    world->loop = loop_new();
    world->http = http_new(world->loop);
    world->etcd = etcd_new(world->loop, world->http, config);
}

static void close_world(struct world *world)
{
    etcd_free(world->etcd);
    http_free(world->http);
    loop_free(world->loop);
}

static void await(struct world *world, struct answer *answer)
{
    assert_true(loop_run_until(world->loop, &answer->done, FIXTURE_WAIT_MS));
}

static void expect_outcome(const struct answer *answer, enum etcd_outcome outcome,
                           enum etcd_reason reason)
{
    if (answer->reply.outcome != outcome || answer->reply.reason != reason) {
        fail_msg("outcome %d, reason %s: %s", answer->reply.outcome,
                 etcd_reason_name(answer->reply.reason), answer->reply.text);
    }
}

static struct answer put(struct world *world, const char *key, const char *value, int64_t lease)
{
    struct answer answer = {0};

    etcd_put(world->etcd, key, value, strlen(value), lease, WITHIN_MS, keep, &answer);
    assert_false(answer.done); /* never from inside the call */
    await(world, &answer);
    return answer;
}

static struct answer get(struct world *world, const char *key)
{
    struct etcd_range range = {.key = key};
    struct answer answer = {0};

    etcd_range(world->etcd, &range, WITHIN_MS, keep, &answer);
    await(world, &answer);
    return answer;
}

static struct answer txn(struct world *world, const struct etcd_txn *wanted)
{
    struct answer answer = {0};

    etcd_txn(world->etcd, wanted, WITHIN_MS, keep, &answer);
    await(world, &answer);
    return answer;
}

static void await_at_least(struct world *world, const int *count, int wanted)
{
    uint64_t until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
    bool never = false;

    while (*count < wanted) {
        if (clock_now_ms() >= until_ms) {
            fail_msg("%d of %d came", *count, wanted);
        }
        loop_run_until(world->loop, &never, 1);
    }
}

/* ---- Calls ---- */

static void what_is_put_is_read_until_it_is_deleted(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer written, read, deleted = {0};

    (void)state;
    open_world(&world, &config);
    written = put(&world, "/t1/a", "one", 0);
    expect_outcome(&written, ETCD_OK, ETCD_NO_REASON);
    assert_true(written.reply.sent_ms > 0 && written.reply.sent_ms <= clock_now_ms());
    read = get(&world, "/t1/a");
    expect_outcome(&read, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(read.reply.kvs_len, 1);
    assert_string_equal(read.key, "/t1/a");
    assert_string_equal(read.value, "one");
    assert_int_equal(read.mod_revision, written.reply.revision);
    etcd_delete(world.etcd, "/t1/", true, WITHIN_MS, keep, &deleted);
    await(&world, &deleted);
    assert_int_equal(deleted.reply.count, 1);
    read = get(&world, "/t1/a");
    assert_int_equal(read.reply.kvs_len, 0);
    assert_true(etcd_health(world.etcd).cluster_id == read.reply.cluster_id);
    assert_true(etcd_health(world.etcd).revision >= read.reply.revision);
    close_world(&world);
}

static void a_range_is_cut_by_its_limit_and_says_so(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct etcd_range range = {.key = "/t2/", .prefix = true, .limit = 2, .keys_only = true};
    struct world world;
    struct answer answer = {0};

    (void)state;
    open_world(&world, &config);
    put(&world, "/t2/a", "1", 0);
    put(&world, "/t2/b", "2", 0);
    put(&world, "/t2/c", "3", 0);
    etcd_range(world.etcd, &range, WITHIN_MS, keep, &answer);
    await(&world, &answer);
    assert_int_equal(answer.reply.kvs_len, 2);
    assert_int_equal(answer.reply.count, 3);
    assert_true(answer.reply.more);
    assert_string_equal(answer.value, "");
    close_world(&world);
}

static void a_transaction_of_an_old_revision_changes_nothing_and_shows_what_is_there(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct etcd_txn create = {0}, change = {0}, late = {0};
    struct answer first, second, third;

    (void)state;
    open_world(&world, &config);
    etcd_txn_if_create(&create, "/t3/k", 0);
    etcd_txn_then_put(&create, "/t3/k", "first", 5, 0);
    etcd_txn_else_range(&create, "/t3/k", false);
    first = txn(&world, &create);
    expect_outcome(&first, ETCD_OK, ETCD_NO_REASON);
    assert_true(first.reply.succeeded);

    etcd_txn_if_mod(&change, "/t3/k", first.reply.revision);
    etcd_txn_if_create(&change, "/t3/k", first.reply.revision);
    etcd_txn_then_put(&change, "/t3/k", "second", 6, 0);
    etcd_txn_then_range(&change, "/t3/k", false);
    second = txn(&world, &change);
    assert_true(second.reply.succeeded);
    assert_int_equal(second.reply.responses_len, 2);
    assert_string_equal(second.value, "second");

    etcd_txn_if_mod(&late, "/t3/k", first.reply.revision);
    etcd_txn_then_put(&late, "/t3/k", "late", 4, 0);
    etcd_txn_else_range(&late, "/t3/k", false);
    third = txn(&world, &late);
    expect_outcome(&third, ETCD_OK, ETCD_NO_REASON);
    assert_false(third.reply.succeeded);
    assert_string_equal(third.value, "second");
    assert_int_equal(third.mod_revision, second.reply.revision);
    close_world(&world);
}

static void a_lease_lives_by_keepalives_and_takes_its_keys_along(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer granted = {0}, kept = {0}, revoked = {0}, gone = {0}, again = {0}, read;

    (void)state;
    open_world(&world, &config);
    etcd_lease_grant(world.etcd, 30, WITHIN_MS, keep, &granted);
    await(&world, &granted);
    expect_outcome(&granted, ETCD_OK, ETCD_NO_REASON);
    assert_true(granted.reply.lease != 0);
    assert_int_equal(granted.reply.ttl_s, 30);
    put(&world, "/t4/k", "v", granted.reply.lease);
    read = get(&world, "/t4/k");
    assert_true(read.lease == granted.reply.lease);
    etcd_lease_keepalive(world.etcd, granted.reply.lease, WITHIN_MS, keep, &kept);
    await(&world, &kept);
    assert_int_equal(kept.reply.ttl_s, 30);
    etcd_lease_revoke(world.etcd, granted.reply.lease, WITHIN_MS, keep, &revoked);
    await(&world, &revoked);
    expect_outcome(&revoked, ETCD_OK, ETCD_NO_REASON);
    read = get(&world, "/t4/k");
    assert_int_equal(read.reply.kvs_len, 0);
    /* Alive in form, dead in fact: a success without a TTL. */
    etcd_lease_keepalive(world.etcd, granted.reply.lease, WITHIN_MS, keep, &gone);
    await(&world, &gone);
    expect_outcome(&gone, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(gone.reply.ttl_s, 0);
    read = put(&world, "/t4/k", "v", granted.reply.lease);
    expect_outcome(&read, ETCD_REFUSED, ETCD_LEASE_NOT_FOUND);
    etcd_lease_revoke(world.etcd, granted.reply.lease, WITHIN_MS, keep, &again);
    await(&world, &again);
    expect_outcome(&again, ETCD_REFUSED, ETCD_LEASE_NOT_FOUND);
    close_world(&world);
}

static void compacted_history_is_refused_by_name(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer old, now, compacted = {0}, again = {0}, read = {0};
    struct etcd_range range = {.key = "/t5/k"};

    (void)state;
    open_world(&world, &config);
    old = put(&world, "/t5/k", "1", 0);
    now = put(&world, "/t5/k", "2", 0);
    etcd_compact(world.etcd, now.reply.revision, WITHIN_MS, keep, &compacted);
    await(&world, &compacted);
    expect_outcome(&compacted, ETCD_OK, ETCD_NO_REASON);
    range.revision = old.reply.revision;
    etcd_range(world.etcd, &range, WITHIN_MS, keep, &read);
    await(&world, &read);
    expect_outcome(&read, ETCD_REFUSED, ETCD_COMPACTED);
    etcd_compact(world.etcd, old.reply.revision, WITHIN_MS, keep, &again);
    await(&world, &again);
    expect_outcome(&again, ETCD_REFUSED, ETCD_COMPACTED);
    close_world(&world);
}

static void status_shows_the_size_and_no_alarm(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer answer = {0};

    (void)state;
    open_world(&world, &config);
    etcd_status(world.etcd, WITHIN_MS, keep, &answer);
    await(&world, &answer);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    assert_true(answer.reply.db_size > 0);
    assert_true(answer.reply.leader != 0);
    assert_false(answer.reply.alarm_no_space);
    assert_true(answer.reply.version[0] != '\0');
    close_world(&world);
}

static void a_request_out_of_bounds_is_refused_without_being_sent(void **state)
{
    struct etcd_config config = fixture_config(&single);
    char key[ETCD_KEY_MAX + 2];
    struct world world;
    struct answer answer;

    (void)state;
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    open_world(&world, &config);
    answer = put(&world, key, "v", 0);
    expect_outcome(&answer, ETCD_REFUSED, ETCD_BAD_REQUEST);
    assert_false(answer.reply.sent);
    close_world(&world);
}

static void a_canceled_call_and_a_freed_client_call_nobody(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer canceled = {0}, freed = {0}, other;

    (void)state;
    open_world(&world, &config);
    etcd_cancel(etcd_status(world.etcd, WITHIN_MS, keep, &canceled));
    other = get(&world, "/t6/k");
    assert_true(other.done);
    etcd_status(world.etcd, WITHIN_MS, keep, &freed);
    close_world(&world);
    assert_false(canceled.done);
    assert_false(freed.done);
}

static void free_the_client(void *arg, const struct etcd_reply *reply)
{
    struct world *world = arg;

    assert_int_equal(reply->outcome, ETCD_OK);
    etcd_free(world->etcd);
    world->etcd = NULL;
    assert_true(strlen(reply->endpoint) > 0); /* the reply outlives the client */
}

static void the_client_may_be_freed_by_its_last_answer(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    bool never = false;

    (void)state;
    open_world(&world, &config);
    etcd_status(world.etcd, WITHIN_MS, free_the_client, &world);
    while (world.etcd) {
        loop_run_until(world.loop, &never, 1);
    }
    close_world(&world);
}

/* ---- Endpoints ---- */

static void a_dead_endpoint_is_passed_over_by_reads_and_writes(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer written, read;

    (void)state;
    config.endpoints_len = 2;
    memcpy(config.endpoints[1], config.endpoints[0], sizeof config.endpoints[0]);
    snprintf(config.endpoints[0], sizeof config.endpoints[0], "http://127.0.0.1:%d/",
             fixture_port());
    open_world(&world, &config);
    written = put(&world, "/t7/k", "v", 0);
    expect_outcome(&written, ETCD_OK, ETCD_NO_REASON);
    read = get(&world, "/t7/k");
    expect_outcome(&read, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(etcd_health(world.etcd).failovers, 1);
    assert_string_equal(etcd_health(world.etcd).endpoint, config.endpoints[1]);
    close_world(&world);
}

static void with_all_endpoints_dead_the_outcome_is_unknown_and_nothing_was_sent(void **state)
{
    struct etcd_config config = {.endpoints_len = 2};
    struct world world;
    struct answer written = {0}, read = {0};
    struct etcd_range range = {.key = "k"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        snprintf(config.endpoints[i], sizeof config.endpoints[i], "http://127.0.0.1:%d",
                 fixture_port());
    }
    open_world(&world, &config);
    etcd_put(world.etcd, "k", "v", 1, 0, 300, keep, &written);
    etcd_range(world.etcd, &range, 300, keep, &read);
    await(&world, &written);
    await(&world, &read);
    expect_outcome(&written, ETCD_UNKNOWN, ETCD_NO_REASON);
    assert_false(written.reply.sent);
    expect_outcome(&read, ETCD_UNKNOWN, ETCD_NO_REASON);
    assert_non_null(strstr(read.reply.text, "127.0.0.1"));
    close_world(&world);
}

static void open_proxied(struct world *world, struct proxy *proxy, bool with_direct)
{
    struct etcd_config config = {.endpoints_len = with_direct ? 2 : 1};

    world->loop = loop_new();
    proxy_start(proxy, world->loop, single.ports[0]);
    proxy_url(proxy, config.endpoints[0]);
    snprintf(config.endpoints[1], sizeof config.endpoints[1], "%s", single.urls[0]);
    world->http = http_new(world->loop);
    world->etcd = etcd_new(world->loop, world->http, &config);
}

static void close_proxied(struct world *world, struct proxy *proxy)
{
    etcd_free(world->etcd);
    http_free(world->http);
    proxy_end(proxy, world->loop);
    loop_free(world->loop);
}

static void a_write_whose_answer_is_lost_is_unknown_and_sent_once(void **state)
{
    struct world world;
    struct proxy proxy;
    struct etcd_txn create = {0};
    struct answer answer, read;

    (void)state;
    open_proxied(&world, &proxy, true);
    read =
        put(&world, "/t8/before", "v", 0); /* the connection is warm: curl would like to repeat */
    expect_outcome(&read, ETCD_OK, ETCD_NO_REASON);
    proxy.mode = PROXY_SWALLOW;
    etcd_txn_if_create(&create, "/t8/k", 0);
    etcd_txn_then_put(&create, "/t8/k", "v", 1, 0);
    answer = txn(&world, &create);
    expect_outcome(&answer, ETCD_UNKNOWN, ETCD_NO_REASON);
    assert_true(answer.reply.sent);
    assert_int_equal(proxy.cuts, 1); /* a second one would be swallowed and counted as well */
    read = get(&world, "/t8/k");     /* by the other endpoint */
    assert_int_equal(read.reply.kvs_len, 1);
    assert_int_equal(read.create_revision, read.mod_revision);
    close_proxied(&world, &proxy);
}

static void a_read_whose_answer_is_lost_is_asked_again_elsewhere(void **state)
{
    struct world world;
    struct proxy proxy;
    struct answer read;

    (void)state;
    open_proxied(&world, &proxy, true);
    put(&world, "/t9/k", "v", 0);
    proxy.mode = PROXY_SWALLOW;
    read = get(&world, "/t9/k");
    expect_outcome(&read, ETCD_OK, ETCD_NO_REASON);
    assert_string_equal(read.value, "v");
    assert_true(proxy.cuts >= 1);
    close_proxied(&world, &proxy);
}

static void a_stalled_endpoint_costs_one_attempt(void **state)
{
    struct world world;
    struct proxy proxy;
    struct answer read, written;

    (void)state;
    open_proxied(&world, &proxy, true);
    put(&world, "/t10/k", "v", 0);
    proxy.mode = PROXY_STALL;
    read = get(&world, "/t10/k");
    expect_outcome(&read, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(etcd_health(world.etcd).failovers, 1);
    written = put(&world, "/t10/k", "w", 0); /* already elsewhere */
    expect_outcome(&written, ETCD_OK, ETCD_NO_REASON);
    close_proxied(&world, &proxy);
}

static void a_write_into_a_stall_is_unknown(void **state)
{
    struct world world;
    struct proxy proxy;
    struct answer written;

    (void)state;
    open_proxied(&world, &proxy, true);
    put(&world, "/t11/k", "v", 0);
    proxy.mode = PROXY_STALL;
    written = put(&world, "/t11/k", "w", 0);
    expect_outcome(&written, ETCD_UNKNOWN, ETCD_NO_REASON);
    assert_true(written.reply.sent);
    close_proxied(&world, &proxy);
}

static void another_cluster_is_refused_and_never_written_to(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct etcd_range range = {.key = "/t12/k"};
    struct world world;
    struct answer written, read = {0}, check;

    (void)state;
    config.cluster_id = 4711;
    open_world(&world, &config);
    written = put(&world, "/t12/k", "v", 0);
    expect_outcome(&written, ETCD_REFUSED, ETCD_WRONG_CLUSTER);
    etcd_range(world.etcd, &range, WITHIN_MS, keep, &read);
    await(&world, &read);
    expect_outcome(&read, ETCD_REFUSED, ETCD_WRONG_CLUSTER);
    assert_non_null(strstr(read.reply.text, "4711"));
    close_world(&world);
    config.cluster_id = 0;
    open_world(&world, &config);
    check = get(&world, "/t12/k");
    assert_int_equal(check.reply.kvs_len, 0);
    close_world(&world);
}

static void a_client_that_is_let_go_of_one_cluster_takes_the_next(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer answer;

    (void)state;
    config.cluster_id = 4711;
    open_world(&world, &config);
    answer = put(&world, "/t12/p", "v", 0);
    expect_outcome(&answer, ETCD_REFUSED, ETCD_WRONG_CLUSTER);
    etcd_pin(world.etcd, 0);
    answer = put(&world, "/t12/p", "v", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(etcd_health(world.etcd).cluster_id, answer.reply.cluster_id);
    close_world(&world);
}

/* A write that is under way at the old endpoint ends by its answer, and the next goes to the new
 * one. */
static void endpoints_may_be_exchanged_while_calls_are_under_way(void **state)
{
    struct etcd_config config = {.endpoints_len = 1};
    char endpoints[2][ETCD_ENDPOINT_SIZE] = {"http://127.0.0.1:1/"};
    struct world world;
    struct proxy proxy;
    struct answer answer, under_way = {0}, lost = {0};

    (void)state;
    world.loop = loop_new();
    world.http = http_new(world.loop);
    proxy_start(&proxy, world.loop, single.ports[0]);
    proxy_url(&proxy, config.endpoints[0]);
    world.etcd = etcd_new(world.loop, world.http, &config);
    answer = put(&world, "/t13/k", "1", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);

    etcd_put(world.etcd, "/t13/k", "2", 1, 0, WITHIN_MS, keep, &under_way);
    etcd_put(world.etcd, "/t13/l", "2", 1, 0, WITHIN_MS, keep, &lost);
    loop_run_until(world.loop, &under_way.done, 1);
    snprintf(endpoints[1], sizeof endpoints[1], "%s/", single.urls[0]);
    etcd_set_endpoints(world.etcd, endpoints, 2);
    await(&world, &under_way);
    await(&world, &lost);
    expect_outcome(&under_way, ETCD_OK, ETCD_NO_REASON);
    expect_outcome(&lost, ETCD_OK, ETCD_NO_REASON);

    proxy_cut_all(&proxy);
    proxy.target_port = 1; /* whoever still asked there would get nothing */
    answer = put(&world, "/t13/k", "3", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    assert_string_equal(etcd_health(world.etcd).endpoint, single.urls[0]); /* without the slash */
    answer = get(&world, "/t13/k");
    assert_string_equal(answer.value, "3");
    etcd_free(world.etcd);
    proxy_end(&proxy, world.loop);
    http_free(world.http);
    loop_free(world.loop);
}

static void a_write_at_an_endpoint_that_is_taken_away_is_unknown(void **state)
{
    struct etcd_config config = {.endpoints_len = 1};
    char endpoints[1][ETCD_ENDPOINT_SIZE];
    struct world world;
    struct proxy proxy;
    struct answer answer, under_way = {0};

    (void)state;
    world.loop = loop_new();
    world.http = http_new(world.loop);
    proxy_start(&proxy, world.loop, single.ports[0]);
    proxy_url(&proxy, config.endpoints[0]);
    world.etcd = etcd_new(world.loop, world.http, &config);
    answer = put(&world, "/t14/k", "1", 0);
    proxy.mode = PROXY_STALL;
    etcd_put(world.etcd, "/t14/k", "2", 1, 0, WITHIN_MS, keep, &under_way);
    loop_run_until(world.loop, &under_way.done, 50);
    snprintf(endpoints[0], sizeof endpoints[0], "%s", single.urls[0]);
    etcd_set_endpoints(world.etcd, endpoints, 1);
    await(&world, &under_way);
    expect_outcome(&under_way, ETCD_UNKNOWN, ETCD_NO_REASON); /* sent once, and never again */
    answer = put(&world, "/t14/l", "1", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    etcd_free(world.etcd);
    proxy_end(&proxy, world.loop);
    http_free(world.http);
    loop_free(world.loop);
}

static void an_answer_older_than_what_was_seen_is_stale(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct etcd_range range = {.key = "k", .min_revision = INT64_MAX};
    struct world world;
    struct answer read = {0};

    (void)state;
    open_world(&world, &config);
    etcd_range(world.etcd, &range, 400, keep, &read);
    await(&world, &read);
    expect_outcome(&read, ETCD_UNKNOWN, ETCD_STALE);
    close_world(&world);
}

static void a_killed_member_is_replaced_and_a_lost_quorum_is_unknown(void **state)
{
    struct etcd_config config;
    struct world world;
    struct answer answer;

    (void)state;
    fixture_start(&three, 3);
    config = fixture_config(&three);
    open_world(&world, &config);
    answer = put(&world, "k", "1", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    fixture_end_member(&three, 0);
    do { /* etcd may have to elect; a write in between is unknown or finds no leader */
        answer = put(&world, "k", "2", 0);
        assert_true(answer.reply.outcome != ETCD_REFUSED);
    } while (answer.reply.outcome != ETCD_OK);
    fixture_end_member(&three, 1);
    answer = put(&world, "k", "3", 0);
    assert_int_equal(answer.reply.outcome, ETCD_UNKNOWN);
    fixture_start_member(&three, 1);
    do {
        answer = put(&world, "k", "4", 0);
        assert_true(answer.reply.outcome != ETCD_REFUSED);
    } while (answer.reply.outcome != ETCD_OK);
    close_world(&world);
    fixture_end(&three);
}

static void a_full_store_is_refused_by_name_and_shown_as_an_alarm(void **state)
{
    struct etcd_config config;
    struct world world;
    struct answer answer, granted = {0}, status = {0}, deleted = {0};
    char value[4096];

    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    strcpy(small.extra[small.extra_len++], "--quota-backend-bytes=65536");
    fixture_start(&small, 1);
    config = fixture_config(&small);
    open_world(&world, &config);
    do {
        answer = put(&world, "big", value, 0);
    } while (answer.reply.outcome == ETCD_OK);
    expect_outcome(&answer, ETCD_REFUSED, ETCD_NO_SPACE);
    etcd_lease_grant(world.etcd, 5, WITHIN_MS, keep, &granted);
    await(&world, &granted);
    expect_outcome(&granted, ETCD_REFUSED, ETCD_NO_SPACE);
    etcd_delete(world.etcd, "big", false, WITHIN_MS, keep, &deleted);
    await(&world, &deleted);
    expect_outcome(&deleted, ETCD_OK, ETCD_NO_REASON);
    etcd_status(world.etcd, WITHIN_MS, keep, &status);
    await(&world, &status);
    assert_true(status.reply.alarm_no_space);
    close_world(&world);
    fixture_end(&small);
}

/* ---- Users ---- */

static void add_users(struct etcd_fixture *fixture)
{
    assert_int_equal(CTL(fixture, "user", "add", "root:rootpw"), 0);
    assert_int_equal(CTL(fixture, "role", "add", "root"), 0);
    assert_int_equal(CTL(fixture, "user", "grant-role", "root", "root"), 0);
    assert_int_equal(CTL(fixture, "user", "add", "failover:secret"), 0);
    assert_int_equal(CTL(fixture, "role", "add", "ours"), 0);
    assert_int_equal(
        CTL(fixture, "role", "grant-permission", "ours", "--prefix=true", "readwrite", "/ours/"),
        0);
    assert_int_equal(CTL(fixture, "user", "grant-role", "failover", "ours"), 0);
    assert_int_equal(CTL(fixture, "auth", "enable"), 0);
}

static void count_events(void *arg, const struct etcd_watch_news *news)
{
    if (news->kind == ETCD_WATCH_EVENTS) {
        *(int *)arg += news->events_len;
    }
}

static void a_token_that_ran_out_is_renewed_unseen(void **state)
{
    struct etcd_config config;
    struct world world;
    struct answer answer;
    struct etcd_watch *watch = NULL;
    bool never = false;
    int events = 0;
    int64_t revision;
    uint64_t until_ms;

    (void)state;
    strcpy(guarded.extra[guarded.extra_len++], "--auth-token-ttl=1");
    fixture_start(&guarded, 1);
    add_users(&guarded);
    config = fixture_config(&guarded);
    strcpy(config.user, "failover");
    strcpy(config.password, "secret");
    open_world(&world, &config);
    answer = put(&world, "/ours/k", "1", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(etcd_health(world.etcd).logins, 1);
    revision = answer.reply.revision;
    answer = put(&world, "/theirs/k", "1", 0);
    expect_outcome(&answer, ETCD_REFUSED, ETCD_PERMISSION_DENIED);
    /* Unused for longer than its life (etcd looks every second): a watch needs a new one, too. */
    until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
    do {
        assert_true(clock_now_ms() < until_ms);
        etcd_watch_free(watch);
        events = 0;
        loop_run_until(world.loop, &never, 2100);
        watch = etcd_watch_new(world.etcd, "/ours/", true, revision, 0, count_events, &events);
        await_at_least(&world, &events, 1);
    } while (etcd_health(world.etcd).logins == 1);
    put(&world, "/ours/k", "2", 0);
    await_at_least(&world, &events, 2);
    etcd_watch_free(watch);
    close_world(&world);

    /* A wrong password is refused by name, once, and then from memory. */
    strcpy(config.password, "wrong");
    open_world(&world, &config);
    answer = put(&world, "/ours/k", "4", 0);
    expect_outcome(&answer, ETCD_REFUSED, ETCD_AUTH_FAILED);
    assert_false(answer.reply.sent);
    fixture_end_member(&guarded, 0);
    answer = put(&world, "/ours/k", "4", 0);
    expect_outcome(&answer, ETCD_REFUSED, ETCD_AUTH_FAILED);

    /* The right one, told while it runs, ends the refusal at once, and is asked for a token once.
     */
    fixture_start_member(&guarded, 0);
    etcd_set_user(world.etcd, "failover", "secret");
    until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
    do {
        assert_true(clock_now_ms() < until_ms);
        answer = put(&world, "/ours/k", "5", 0);
    } while (answer.reply.outcome == ETCD_UNKNOWN); /* until the member is back */
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(etcd_health(world.etcd).logins, 1);
    etcd_set_user(world.etcd, "failover", "secret"); /* nothing new */
    answer = put(&world, "/ours/k", "6", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    assert_int_equal(etcd_health(world.etcd).logins, 1);
    close_world(&world);
    fixture_end(&guarded);
}

static void a_user_where_there_are_none_is_no_obstacle(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct answer answer;

    (void)state;
    strcpy(config.user, "failover");
    strcpy(config.password, "secret");
    open_world(&world, &config);
    answer = put(&world, "/t13/k", "v", 0);
    expect_outcome(&answer, ETCD_OK, ETCD_NO_REASON);
    close_world(&world);
}

/* ---- Watches ---- */

struct seen {
    int started, broken, compacted, events;
    int64_t compact_revision, last_revision;
    int next_number; /* values are "0", "1", ... */
    struct etcd_watch *watch;
    bool free_it;
    bool freed;
};

static void note_event(struct seen *seen, const struct etcd_event *event)
{
    assert_true(event->kv.mod_revision >= seen->last_revision);
    seen->last_revision = event->kv.mod_revision;
    if (event->kind == ETCD_EVENT_PUT) {
        assert_int_equal(atoi(event->kv.value), seen->next_number); /* in order, none twice */
        seen->next_number++;
    }
    seen->events++;
}

static void note_news(void *arg, const struct etcd_watch_news *news)
{
    struct seen *seen = arg;

    assert_false(seen->freed);
    seen->started += news->kind == ETCD_WATCH_STARTED;
    seen->broken += news->kind == ETCD_WATCH_BROKEN;
    if (news->kind == ETCD_WATCH_COMPACTED) {
        seen->compacted++;
        seen->compact_revision = news->revision;
    }
    for (int i = 0; i < news->events_len; i++) {
        note_event(seen, &news->events[i]);
    }
    if (seen->free_it && news->kind == ETCD_WATCH_EVENTS) {
        etcd_watch_free(seen->watch);
        seen->freed = true;
    }
}

static struct answer put_number(struct world *world, const char *key, int number)
{
    char value[16];

    snprintf(value, sizeof value, "%d", number);
    return put(world, key, value, 0);
}

static void a_watch_sees_what_was_before_it_and_what_comes(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct seen seen = {0};
    struct answer first, deleted = {0};

    (void)state;
    open_world(&world, &config);
    first = put_number(&world, "/w1/a", 0);
    put_number(&world, "/w1/b", 1);
    put_number(&world, "/other", 77);
    seen.watch =
        etcd_watch_new(world.etcd, "/w1/", true, first.reply.revision, 0, note_news, &seen);
    await_at_least(&world, &seen.events, 2);
    assert_true(etcd_watch_open(seen.watch));
    put_number(&world, "/w1/a", 2);
    etcd_delete(world.etcd, "/w1/a", false, WITHIN_MS, keep, &deleted);
    await(&world, &deleted);
    await_at_least(&world, &seen.events, 4);
    assert_int_equal(seen.last_revision, deleted.reply.revision);
    assert_int_equal(seen.started, 1);
    assert_int_equal(seen.broken, 0);
    assert_true(etcd_watch_age_ms(seen.watch) < FIXTURE_WAIT_MS);
    etcd_watch_free(seen.watch);
    close_world(&world);
}

/* The stream is cut after every possible number of bytes of its first kilobyte, in some steps. */
static void a_watch_cut_anywhere_goes_on_with_the_next_event(void **state)
{
    struct world world;
    struct proxy proxy;
    struct seen seen = {0};
    struct answer first;
    int number = 0;

    (void)state;
    open_proxied(&world, &proxy, false);
    first = put_number(&world, "/w2/k", number++);
    seen.watch =
        etcd_watch_new(world.etcd, "/w2/", true, first.reply.revision, 0, note_news, &seen);
    await_at_least(&world, &seen.events, 1);
    for (size_t bytes = 1; bytes < 900; bytes += 61) {
        struct etcd_config direct = fixture_config(&single);
        struct world side = {.loop = world.loop, .http = world.http};

        proxy.mode = PROXY_CUT;
        proxy.cut_after = bytes;
        side.etcd = etcd_new(side.loop, side.http, &direct);
        for (int i = 0; i < 5; i++) {
            put_number(&side, "/w2/k", number++);
        }
        await_at_least(&world, &seen.events, number);
        etcd_free(side.etcd);
    }
    assert_int_equal(seen.events, number);
    assert_true(proxy.cuts >= 10);
    etcd_watch_free(seen.watch);
    close_proxied(&world, &proxy);
}

static void a_watch_that_stalls_is_resumed(void **state)
{
    struct world world;
    struct proxy proxy;
    struct seen seen = {0};
    struct answer first;

    (void)state;
    open_proxied(&world, &proxy, true);
    first = put_number(&world, "/w3/k", 0);
    seen.watch =
        etcd_watch_new(world.etcd, "/w3/", true, first.reply.revision, 400, note_news, &seen);
    await_at_least(&world, &seen.events, 1);
    proxy.mode = PROXY_STALL;
    {
        struct etcd_config direct = fixture_config(&single);
        struct world side = {.loop = world.loop, .http = world.http};

        side.etcd = etcd_new(side.loop, side.http, &direct);
        put_number(&side, "/w3/k", 1);
        etcd_free(side.etcd);
    }
    await_at_least(&world, &seen.events, 2);
    assert_true(seen.broken >= 1);
    assert_true(seen.started >= 2);
    etcd_watch_free(seen.watch);
    close_proxied(&world, &proxy);
}

static void compaction_stops_a_watch_until_its_owner_read_again(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct seen seen = {0};
    struct answer first, last, compacted = {0};

    (void)state;
    open_world(&world, &config);
    first = put_number(&world, "/w4/k", 77);
    put_number(&world, "/w4/k", 78);
    last = put_number(&world, "/w4/k", 79);
    etcd_compact(world.etcd, last.reply.revision, WITHIN_MS, keep, &compacted);
    await(&world, &compacted);
    seen.watch =
        etcd_watch_new(world.etcd, "/w4/", true, first.reply.revision, 0, note_news, &seen);
    await_at_least(&world, &seen.compacted, 1);
    assert_int_equal(seen.compact_revision, last.reply.revision);
    assert_int_equal(seen.events, 0);
    assert_false(etcd_watch_open(seen.watch));
    etcd_watch_restart(seen.watch, last.reply.revision + 1);
    put_number(&world, "/w4/k", 0);
    await_at_least(&world, &seen.events, 1);
    etcd_watch_free(seen.watch);
    close_world(&world);
}

static void many_large_revisions_come_in_fragments_each_once(void **state)
{
    struct world world;
    struct proxy proxy;
    struct seen seen = {0};
    struct answer first = {0};
    char *value = malloc(300001);
    const int many = 24;

    (void)state;
    memset(value, ' ', 300000);
    value[300000] = '\0';
    open_proxied(&world, &proxy, false);
    for (int i = 0; i < many; i++) {
        value[snprintf(value, 16, "%d", i)] = ' ';
        first =
            first.done ? (put(&world, "/w5/k", value, 0), first) : put(&world, "/w5/k", value, 0);
    }
    proxy.mode = PROXY_CUT;
    proxy.cut_after = 3000000; /* amid the second fragment */
    seen.watch =
        etcd_watch_new(world.etcd, "/w5/", true, first.reply.revision, 0, note_news, &seen);
    await_at_least(&world, &seen.events, many);
    assert_int_equal(proxy.cuts, 1);
    assert_int_equal(seen.events, many);
    etcd_watch_free(seen.watch);
    close_proxied(&world, &proxy);
    free(value);
}

static void a_watch_may_be_freed_by_its_own_news(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct seen seen = {.free_it = true};
    struct answer first;
    bool never = false;

    (void)state;
    open_world(&world, &config);
    first = put_number(&world, "/w6/k", 0);
    seen.watch =
        etcd_watch_new(world.etcd, "/w6/", true, first.reply.revision, 0, note_news, &seen);
    await_at_least(&world, &seen.events, 1);
    put_number(&world, "/w6/k", 1);
    loop_run_until(world.loop, &never, 50);
    assert_int_equal(seen.events, 1);
    close_world(&world);
}

static void a_store_that_went_backwards_is_stale_to_its_watch(void **state)
{
    struct etcd_config config = fixture_config(&single);
    struct world world;
    struct seen seen = {0};

    (void)state;
    open_world(&world, &config);
    seen.watch = etcd_watch_new(world.etcd, "/w7/", true, INT64_C(1) << 50, 0, note_news, &seen);
    await_at_least(&world, &seen.broken, 1);
    assert_int_equal(seen.started, 0);
    etcd_watch_free(seen.watch);
    close_world(&world);
}

/* ---- What no etcd says at will ---- */

#define OK_LINE        "HTTP/1.1 200 OK\r\n"
#define OK_STREAM      OK_LINE "Connection: close\r\n\r\n"
#define FROM(id)       "\"header\":{\"cluster_id\":\"" id "\",\"member_id\":\"1\",\"revision\":\"99\"}"
#define RANGE_ANSWER   OK_LINE "Content-Length: 61\r\n\r\n{" FROM("7") "}"
#define CREATED(id)    "{\"result\":{" FROM(id) ",\"created\":true}}\n"
#define EVENT(rev, v)  "{\"kv\":{\"key\":\"aw==\",\"mod_revision\":\"" rev "\",\"value\":\"" v "\"}}"
#define EVENTS(events) "{\"result\":{" FROM("7") ",\"events\":[" events "]}}"

static void open_scripted(struct world *world, struct scripted *server)
{
    struct etcd_config config = {.endpoints_len = 1};

    world->loop = loop_new();
    scripted_start(server, world->loop);
    snprintf(config.endpoints[0], sizeof config.endpoints[0], "http://127.0.0.1:%d", server->port);
    world->http = http_new(world->loop);
    world->etcd = etcd_new(world->loop, world->http, &config);
}

static void close_scripted(struct world *world, struct scripted *server)
{
    etcd_free(world->etcd);
    http_free(world->http);
    scripted_end(server, world->loop);
    loop_free(world->loop);
}

static void a_watch_survives_all_that_a_stream_may_bring(void **state)
{
    /* Values are "0", "1", ... in base64; revisions are 5, 6, ... */
    static const char *const streams[] = {
        OK_STREAM CREATED("7") EVENTS(EVENT(
            "5",
            "MA==")) "{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}",
        OK_STREAM CREATED("7") EVENTS(EVENT("6", "MQ==")) EVENTS(EVENT("7", "Mg==")) "garbage",
        OK_STREAM CREATED("7") EVENTS(EVENT("7", "Mg==") "," EVENT(
            "8", "Mw==")) "\n"
                          "{\"result\":{" FROM(
                              "7") ",\"canceled\":true,\"cancel_reason\":\"why not\"}}",
        "HTTP/1.1 503 Nope\r\nContent-Length: 4\r\n\r\nnope",
        OK_STREAM CREATED("8") EVENTS(EVENT("9", "OTk=")),
        OK_STREAM CREATED("7") EVENTS(EVENT("12", "NA==") "," EVENT("11", "OTk=")),
        OK_STREAM CREATED("7") "{\"result\":{" FROM("7") ",\"events\":\"many\"}}",
        OK_STREAM CREATED("7") EVENTS(EVENT("9", "NA==")),
        NULL,
    };
    struct world world;
    struct scripted server;
    struct seen seen = {0};

    (void)state;
    open_scripted(&world, &server);
    server.answer = RANGE_ANSWER;
    server.streams = streams;
    seen.watch = etcd_watch_new(world.etcd, "k", false, 5, 0, note_news, &seen);
    await_at_least(&world, &seen.events, 5);
    assert_int_equal(seen.events, 5);
    assert_int_equal(server.streams_used, 8);
    assert_int_equal(seen.last_revision, 9);
    assert_true(seen.broken >= 6);
    etcd_watch_free(seen.watch);
    close_scripted(&world, &server);
}

static void an_object_without_end_breaks_the_watch_and_not_the_memory(void **state)
{
    static const char head[] = OK_STREAM CREATED("7") "{\"result\":\"";
    char *endless = malloc(ETCD_OBJECT_MAX + sizeof head + 16);
    const char *streams[] = {endless, OK_STREAM CREATED("7") EVENTS(EVENT("5", "MA==")), NULL};
    struct world world;
    struct scripted server;
    struct seen seen = {0};

    (void)state;
    memcpy(endless, head, sizeof head);
    memset(endless + sizeof head - 1, 'x', ETCD_OBJECT_MAX);
    endless[sizeof head - 1 + ETCD_OBJECT_MAX] = '\0';
    open_scripted(&world, &server);
    server.answer = RANGE_ANSWER;
    server.streams = streams;
    seen.watch = etcd_watch_new(world.etcd, "k", false, 5, 0, note_news, &seen);
    await_at_least(&world, &seen.events, 1);
    assert_int_equal(server.streams_used, 2);
    etcd_watch_free(seen.watch);
    close_scripted(&world, &server);
    free(endless);
}

static void a_watch_that_is_never_created_is_asked_for_again(void **state)
{
    static const char *const streams[] = {OK_STREAM,
                                          OK_STREAM CREATED("7") EVENTS(EVENT("5", "MA==")), NULL};
    struct world world;
    struct scripted server;
    struct seen seen = {0};

    (void)state;
    open_scripted(&world, &server);
    server.answer = RANGE_ANSWER;
    server.streams = streams;
    seen.watch = etcd_watch_new(world.etcd, "k", false, 5, 0, note_news, &seen);
    await_at_least(&world, &seen.events, 1);
    assert_int_equal(server.streams_used, 2);
    etcd_watch_free(seen.watch);
    close_scripted(&world, &server);
}

static void answers_short_wrong_huge_or_never_are_unknown(void **state)
{
    static const char huge_head[] = OK_LINE "Content-Length: 10000000\r\n\r\n";
    char *huge = malloc(10000000 + sizeof huge_head);
    const char *const answers[] = {
        OK_LINE "Content-Length: 100\r\nConnection: close\r\n\r\n{\"header\":",
        OK_LINE "Content-Length: 2\r\n\r\n[]",
        OK_LINE "Content-Length: 13\r\n\r\n{\"header\":{}}",
        "HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nNot found",
        "not even HTTP\r\n\r\n",
        huge,
        NULL,
    };

    (void)state;
    memcpy(huge, huge_head, sizeof huge_head);
    memset(huge + sizeof huge_head - 1, ' ', 10000000);
    huge[10000000 + sizeof huge_head - 1] = '\0';
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct etcd_range range = {.key = "k"};
        struct answer read = {0}, written = {0};
        struct world world;
        struct scripted server;

        open_scripted(&world, &server);
        server.answer = answers[i];
        etcd_range(world.etcd, &range, 200, keep, &read);
        etcd_put(world.etcd, "k", "v", 1, 0, 200, keep, &written);
        await(&world, &read);
        await(&world, &written);
        assert_int_equal(read.reply.outcome, ETCD_UNKNOWN);
        if (answers[i] != huge) { /* of which a slow machine sees only a part in time */
            assert_int_equal(read.reply.reason, ETCD_NO_REASON);
        }
        assert_int_equal(written.reply.outcome, ETCD_UNKNOWN);
        close_scripted(&world, &server);
    }
    free(huge);
}

static int start_single(void **state)
{
    (void)state;
    fixture_start(&single, 1);
    return 0;
}

static int end_single(void **state)
{
    (void)state;
    fixture_end(&single);
    fixture_end(&three);
    fixture_end(&small);
    fixture_end(&guarded);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_is_read_until_it_is_deleted),
        cmocka_unit_test(a_range_is_cut_by_its_limit_and_says_so),
        cmocka_unit_test(a_transaction_of_an_old_revision_changes_nothing_and_shows_what_is_there),
        cmocka_unit_test(a_lease_lives_by_keepalives_and_takes_its_keys_along),
        cmocka_unit_test(compacted_history_is_refused_by_name),
        cmocka_unit_test(status_shows_the_size_and_no_alarm),
        cmocka_unit_test(a_request_out_of_bounds_is_refused_without_being_sent),
        cmocka_unit_test(a_canceled_call_and_a_freed_client_call_nobody),
        cmocka_unit_test(the_client_may_be_freed_by_its_last_answer),
        cmocka_unit_test(a_dead_endpoint_is_passed_over_by_reads_and_writes),
        cmocka_unit_test(with_all_endpoints_dead_the_outcome_is_unknown_and_nothing_was_sent),
        cmocka_unit_test(a_write_whose_answer_is_lost_is_unknown_and_sent_once),
        cmocka_unit_test(a_read_whose_answer_is_lost_is_asked_again_elsewhere),
        cmocka_unit_test(a_stalled_endpoint_costs_one_attempt),
        cmocka_unit_test(a_write_into_a_stall_is_unknown),
        cmocka_unit_test(another_cluster_is_refused_and_never_written_to),
        cmocka_unit_test(a_client_that_is_let_go_of_one_cluster_takes_the_next),
        cmocka_unit_test(endpoints_may_be_exchanged_while_calls_are_under_way),
        cmocka_unit_test(a_write_at_an_endpoint_that_is_taken_away_is_unknown),
        cmocka_unit_test(an_answer_older_than_what_was_seen_is_stale),
        cmocka_unit_test(a_killed_member_is_replaced_and_a_lost_quorum_is_unknown),
        cmocka_unit_test(a_full_store_is_refused_by_name_and_shown_as_an_alarm),
        cmocka_unit_test(a_token_that_ran_out_is_renewed_unseen),
        cmocka_unit_test(a_user_where_there_are_none_is_no_obstacle),
        cmocka_unit_test(a_watch_sees_what_was_before_it_and_what_comes),
        cmocka_unit_test(a_watch_cut_anywhere_goes_on_with_the_next_event),
        cmocka_unit_test(a_watch_that_stalls_is_resumed),
        cmocka_unit_test(compaction_stops_a_watch_until_its_owner_read_again),
        cmocka_unit_test(many_large_revisions_come_in_fragments_each_once),
        cmocka_unit_test(a_watch_may_be_freed_by_its_own_news),
        cmocka_unit_test(a_store_that_went_backwards_is_stale_to_its_watch),
        cmocka_unit_test(a_watch_survives_all_that_a_stream_may_bring),
        cmocka_unit_test(an_object_without_end_breaks_the_watch_and_not_the_memory),
        cmocka_unit_test(a_watch_that_is_never_created_is_asked_for_again),
        cmocka_unit_test(answers_short_wrong_huge_or_never_are_unknown),
    };

    return cmocka_run_group_tests(tests, start_single, end_single);
}
