/*
 * The store that has lived long, against a real etcd: everything is read in pages of one revision,
 * and history does not grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/etcd/compactor.h"
#include "controller/etcd/pager.h"
#include "tests/unit/etcd_fixture.h"

#define WITHIN_MS 4000
#define LARGE     (400u << 10)

static struct etcd_fixture single;

struct world {
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
};

static void open_world(struct world *world)
{
    struct etcd_config config = fixture_config(&single);

    world->loop = loop_new();
    world->http = http_new(world->loop);
    world->etcd = etcd_new(world->loop, world->http, &config);
}

static void close_world(struct world *world)
{
    etcd_free(world->etcd);
    http_free(world->http);
    loop_free(world->loop);
}

struct answer {
    bool done;
    enum etcd_outcome outcome;
    int64_t revision, size, in_use;
};

static void keep(void *arg, const struct etcd_reply *reply)
{
    struct answer *answer = arg;

    *answer = (struct answer){.done = true,
                              .outcome = reply->outcome,
                              .revision = reply->revision,
                              .size = reply->db_size,
                              .in_use = reply->db_size_in_use};
}

static int64_t put(struct world *world, const char *key, const char *value, size_t len)
{
    struct answer answer = {0};

    etcd_put(world->etcd, key, value, len, 0, WITHIN_MS, keep, &answer);
    assert_true(loop_run_until(world->loop, &answer.done, FIXTURE_WAIT_MS));
    assert_int_equal(answer.outcome, ETCD_OK);
    return answer.revision;
}

/* Sixty at once: some thousands are written in a moment. */
static int64_t put_many(struct world *world, const char *prefix, int from, int to)
{
    int64_t revision = 0;

    while (from < to) {
        static char keys[60][64];
        struct etcd_txn txn = {0};
        struct answer answer = {0};

        for (int i = 0; i < 60 && from < to; i++, from++) {
            snprintf(keys[i], sizeof keys[i], "%s%06d", prefix, from);
            etcd_txn_then_put(&txn, keys[i], "value", 5, 0);
        }
        etcd_txn(world->etcd, &txn, WITHIN_MS, keep, &answer);
        assert_true(loop_run_until(world->loop, &answer.done, FIXTURE_WAIT_MS));
        assert_int_equal(answer.outcome, ETCD_OK);
        revision = answer.revision;
    }
    return revision;
}

/* ---- pages ---- */

struct reading {
    struct world *world;
    struct etcd_pager *pager;
    bool done;
    enum etcd_outcome outcome;
    enum etcd_reason reason;
    int64_t revision;
    int pages, keys;
    char last[128];
};

static void on_page(void *arg, const struct etcd_page *page)
{
    struct reading *reading = arg;

    reading->outcome = page->outcome;
    reading->reason = page->reason;
    reading->revision = page->revision;
    reading->pages++;
    for (int i = 0; i < page->kvs_len; i++) {
        assert_true(strcmp(page->kvs[i].key, reading->last) > 0); /* in order, each once */
        assert_true(page->kvs[i].mod_revision <= page->revision);
        snprintf(reading->last, sizeof reading->last, "%s", page->kvs[i].key);
        reading->keys++;
    }
    if (page->last || page->outcome != ETCD_OK) {
        etcd_pager_free(reading->pager);
        reading->pager = NULL;
        reading->done = true;
    }
}

static struct reading read_all(struct world *world, const char *prefix, int64_t revision)
{
    struct reading reading = {.world = world};

    reading.pager = etcd_pager_new(world->etcd, prefix, revision, WITHIN_MS, on_page, &reading);
    assert_int_equal(reading.pages, 0); /* never from inside the call */
    assert_true(loop_run_until(world->loop, &reading.done, FIXTURE_WAIT_MS));
    return reading;
}

static void thousands_of_keys_come_in_pages_each_once(void **state)
{
    struct world world;
    struct reading reading;

    (void)state;
    open_world(&world);
    put_many(&world, "/many/", 0, 3000);
    put_many(&world, "/manz/", 0, 10); /* behind the prefix */
    reading = read_all(&world, "/many/", 0);
    assert_int_equal(reading.outcome, ETCD_OK);
    assert_int_equal(reading.keys, 3000);
    assert_true(reading.pages >= 3000 / ETCD_PAGE_KEYS);
    assert_string_equal(reading.last, "/many/002999");
    close_world(&world);
}

static void all_pages_are_of_the_revision_that_was_asked_for(void **state)
{
    struct world world;
    struct reading reading;
    int64_t revision;

    (void)state;
    open_world(&world);
    revision = put_many(&world, "/then/", 0, 500);
    put_many(&world, "/then/", 500, 900);
    reading = read_all(&world, "/then/", revision);
    assert_int_equal(reading.outcome, ETCD_OK);
    assert_int_equal(reading.keys, 500);
    assert_int_equal(reading.revision, revision);
    assert_int_equal(read_all(&world, "/then/", 0).keys, 900);
    close_world(&world);
}

static void an_empty_prefix_is_one_page_without_keys(void **state)
{
    struct world world;
    struct reading reading;

    (void)state;
    open_world(&world);
    reading = read_all(&world, "/none/", 0);
    assert_int_equal(reading.outcome, ETCD_OK);
    assert_int_equal(reading.pages, 1);
    assert_int_equal(reading.keys, 0);
    assert_true(reading.revision > 0);
    close_world(&world);
}

/* Forty values of 400 KiB are twice what one answer may carry. */
static void pages_too_large_for_one_answer_are_asked_for_in_halves(void **state)
{
    struct world world;
    struct reading reading;
    char *value = malloc(LARGE);

    (void)state;
    assert_non_null(value);
    memset(value, 'x', LARGE);
    open_world(&world);
    for (int i = 0; i < 40; i++) {
        char key[64];

        snprintf(key, sizeof key, "/large/%02d", i);
        put(&world, key, value, LARGE);
    }
    reading = read_all(&world, "/large/", 0);
    assert_int_equal(reading.outcome, ETCD_OK);
    assert_int_equal(reading.keys, 40);
    assert_true(reading.pages > 2);
    assert_int_equal(CTL(&single, "del", "--prefix", "/large/"), 0);
    free(value);
    close_world(&world);
}

static void a_revision_that_is_compacted_or_not_yet_there_ends_the_reading(void **state)
{
    struct world world;
    struct reading reading;
    struct answer answer = {0};
    int64_t revision;

    (void)state;
    open_world(&world);
    revision = put_many(&world, "/gone/", 0, 300);
    put_many(&world, "/gone/", 0, 300);
    etcd_compact(world.etcd, revision + 1, WITHIN_MS, keep, &answer);
    assert_true(loop_run_until(world.loop, &answer.done, FIXTURE_WAIT_MS));
    reading = read_all(&world, "/gone/", revision);
    assert_int_equal(reading.outcome, ETCD_REFUSED);
    assert_int_equal(reading.reason, ETCD_COMPACTED);
    reading = read_all(&world, "/gone/", revision + 1000000);
    assert_int_equal(reading.reason, ETCD_FUTURE_REVISION);
    close_world(&world);
}

static void a_reading_that_is_freed_calls_nobody(void **state)
{
    struct world world;
    struct reading reading = {0};
    struct etcd_pager *pager;

    (void)state;
    open_world(&world);
    pager = etcd_pager_new(world.etcd, "/many/", 0, WITHIN_MS, on_page, &reading);
    etcd_pager_free(pager);
    put(&world, "/other", "x", 1);
    assert_int_equal(reading.pages, 0);
    close_world(&world);
}

/* ---- history ---- */

struct keeper {
    bool may;
    int failures;
};

static bool may_compact(void *arg)
{
    return ((struct keeper *)arg)->may;
}

static void on_failed(void *arg, const char *text)
{
    (void)text;
    ((struct keeper *)arg)->failures++;
}

static struct answer status(struct world *world)
{
    struct answer answer = {0};

    etcd_status(world->etcd, WITHIN_MS, keep, &answer);
    assert_true(loop_run_until(world->loop, &answer.done, FIXTURE_WAIT_MS));
    assert_int_equal(answer.outcome, ETCD_OK);
    return answer;
}

/* One key written over and over, 16 KiB each time. */
static void write_on(struct world *world, int times)
{
    static char value[16384];

    for (int i = 0; i < times; i++) {
        put(world, "/busy", value, sizeof value);
    }
}

static int64_t written_from(struct world *world, bool may)
{
    struct keeper keeper = {.may = may};
    struct compactor_config config = {
        .every_ms = 20, .may = may_compact, .failed = on_failed, .arg = &keeper};
    struct compactor *compactor = compactor_new(world->loop, world->etcd, &config);
    int64_t before;

    write_on(world, 300);
    before = status(world).size;
    write_on(world, 1000);
    compactor_free(compactor);
    assert_int_equal(keeper.failures, 0);
    return status(world).size - before;
}

static void under_many_writes_the_store_stays_as_large_as_it_is(void **state)
{
    struct world world;
    int64_t bytes = 1000 * 16384;
    int64_t kept, unkept;

    (void)state;
    open_world(&world);
    kept = written_from(&world, true);
    unkept = written_from(&world, false); /* nobody leads: it grows by all that is written */
    print_message("grew by %lld bytes with a leader, by %lld without\n", (long long)kept,
                  (long long)unkept);
    assert_true(unkept > bytes / 2);
    assert_true(kept < unkept / 2);
    close_world(&world);
}

static void what_another_store_counted_compacts_nothing_here(void **state)
{
    struct world world;
    struct keeper keeper = {.may = true};
    struct compactor_config config = {
        .every_ms = 20, .may = may_compact, .failed = on_failed, .arg = &keeper};
    struct compactor *compactor;
    struct reading reading;
    int64_t revision;
    bool never = false;

    (void)state;
    open_world(&world);
    revision = put(&world, "/kept/a", "one", 3);
    put(&world, "/kept/a", "two", 3);
    compactor = compactor_new(world.loop, world.etcd, &config);
    for (int i = 0; i < 4 * COMPACTOR_KEPT; i++) {
        compactor_forget(compactor);
        loop_run_until(world.loop, &never, 20);
    }
    compactor_free(compactor);
    reading = read_all(&world, "/kept/", revision);
    assert_int_equal(reading.outcome, ETCD_OK);
    close_world(&world);
}

static int set_up(void **state)
{
    (void)state;
    fixture_start(&single, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_end(&single);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thousands_of_keys_come_in_pages_each_once),
        cmocka_unit_test(all_pages_are_of_the_revision_that_was_asked_for),
        cmocka_unit_test(an_empty_prefix_is_one_page_without_keys),
        cmocka_unit_test(pages_too_large_for_one_answer_are_asked_for_in_halves),
        cmocka_unit_test(a_revision_that_is_compacted_or_not_yet_there_ends_the_reading),
        cmocka_unit_test(a_reading_that_is_freed_calls_nobody),
        cmocka_unit_test(under_many_writes_the_store_stays_as_large_as_it_is),
        cmocka_unit_test(what_another_store_counted_compacts_nothing_here),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
