/* The copy of the store in a file: what goes in, its bounds, and how it gets onto a disk. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utime.h>

#include <cmocka.h>

#include "controller/cluster/store_copy.h"

static char dir[] = "/tmp/test_store_copy.XXXXXX";

static struct store_copy a_copy(int64_t revision)
{
    struct store_copy copy = {
        .cluster = "shop",
        .installation = {.id = "abc", .cluster_id = UINT64_MAX, .incarnation = 3},
        .revision = revision,
        .made_by = "ops1",
        .made_wall_ms = 1700000000000};
    store_copy_add(&copy, "config", "{\"schema\":1}", 12);
    store_copy_add(&copy, "permits/payments", "{\"a\":\"\xc3\xa4\"}", 10);
    return copy;
}

static void path_of(const char *name, char *path, size_t size)
{
    snprintf(path, size, "%s/%s", dir, name);
}

static void write_revision(int64_t revision, int64_t now_wall_ms)
{
    struct store_copy copy = a_copy(revision);
    size_t len;
    struct err err = {0};
    char *text = store_copy_encode(&copy, &len);
    assert_non_null(text);
    assert_int_equal(store_copy_write(dir, text, len, now_wall_ms, &err), 0);
    free(text);
    store_copy_done(&copy);
}

static int64_t revision_in(const char *name)
{
    char path[256];
    struct store_copy copy;
    path_of(name, path, sizeof path);
    if (store_copy_read(path, &copy, NULL) < 0) {
        return -1;
    }
    int64_t revision = copy.revision;
    store_copy_done(&copy);
    return revision;
}

static void what_is_copied_is_read_back(void **unused)
{
    (void)unused;
    struct store_copy copy = a_copy(7), read;
    size_t len;
    struct err err = {0};
    char *text = store_copy_encode(&copy, &len);
    assert_int_equal(store_copy_decode(text, len, &read, &err), 0);
    assert_string_equal(read.cluster, "shop");
    assert_string_equal(read.made_by, "ops1");
    assert_string_equal(read.installation.id, "abc");
    assert_true(read.installation.cluster_id == UINT64_MAX && read.installation.incarnation == 3);
    assert_true(read.revision == 7 && read.made_wall_ms == 1700000000000);
    assert_string_equal(store_copy_find(&read, "permits/payments"), "{\"a\":\"\xc3\xa4\"}");
    assert_null(store_copy_find(&read, "permits/orders"));
    store_copy_done(&read);
    store_copy_done(&copy);
    free(text);
}

static void orders_and_signs_of_life_are_not_copied(void **unused)
{
    (void)unused;
    assert_true(store_copy_wants("config") && store_copy_wants("groups/shop"));
    assert_true(store_copy_wants("permits/payments") && store_copy_wants("incidents/x"));
    assert_false(store_copy_wants("requests/req-1"));
    assert_false(store_copy_wants("leader") || store_copy_wants("controllers/ops1"));
    assert_false(store_copy_wants("renewals/payments") || store_copy_wants("guards/db1/payments"));
}

static void what_finds_no_room_is_the_oldest_incidents_and_is_counted(void **unused)
{
    (void)unused;
    struct store_copy copy = a_copy(7);
    size_t big = 100000, len;
    char *value = malloc(big + 1), name[64];
    memset(value, 'x', big);
    value[big] = '\0';
    for (int i = 0; i < 120; i++) {
        snprintf(name, sizeof name, "incidents/2026-%03d", i);
        store_copy_add(&copy, name, value, big);
    }
    char *text = store_copy_encode(&copy, &len);
    assert_non_null(text);
    assert_true(len <= STORE_COPY_MAX);
    assert_true(copy.left_out > 0 && copy.left_out < 120);
    assert_null(store_copy_find(&copy, "incidents/2026-000"));
    assert_non_null(store_copy_find(&copy, "incidents/2026-119"));
    assert_non_null(store_copy_find(&copy, "permits/payments"));
    free(text);
    for (int i = 0; i < 90; i++) {
        snprintf(name, sizeof name, "groups/g%03d", i);
        store_copy_add(&copy, name, value, big);
    }
    assert_null(store_copy_encode(&copy, &len)); /* never a copy without what counts */
    free(value);
    store_copy_done(&copy);
}

static void a_value_that_is_no_text_is_left_out(void **unused)
{
    (void)unused;
    struct store_copy copy = a_copy(7);
    size_t len;
    store_copy_add(&copy, "groups/bad", "\xff\xfe", 2);
    char *text = store_copy_encode(&copy, &len);
    assert_non_null(text);
    assert_int_equal(copy.left_out, 1);
    assert_null(store_copy_find(&copy, "groups/bad"));
    free(text);
    store_copy_done(&copy);
}

static void nonsense_is_refused(void **unused)
{
    (void)unused;
    static const char *const texts[] = {
        "",
        "{",
        "{}",
        "[]",
        "{\"schema\":2,\"cluster\":\"shop\",\"installation\":{\"id\":\"a\",\"etcd_cluster_id\":\"1\"},"
        "\"revision\":1,\"made_by\":\"x\",\"made_wall_ms\":1,\"left_out\":0,\"keys\":{}}",
        "{\"schema\":1,\"cluster\":\"shop\",\"installation\":{\"id\":\"\",\"etcd_cluster_id\":\"1\"},"
        "\"revision\":1,\"made_by\":\"x\",\"made_wall_ms\":1,\"left_out\":0,\"keys\":{}}",
        "{\"schema\":1,\"cluster\":\"shop\",\"installation\":{\"id\":\"a\",\"etcd_cluster_id\":\"1\"},"
        "\"revision\":0,\"made_by\":\"x\",\"made_wall_ms\":1,\"left_out\":0,\"keys\":{}}",
        "{\"schema\":1,\"cluster\":\"shop\",\"installation\":{\"id\":\"a\",\"etcd_cluster_id\":\"1\"},"
        "\"revision\":1,\"made_by\":\"x\",\"made_wall_ms\":1,\"left_out\":0,\"keys\":{\"requests/a\":\"x\"}}",
        "{\"schema\":1,\"cluster\":\"shop\",\"installation\":{\"id\":\"a\",\"etcd_cluster_id\":\"1\"},"
        "\"revision\":1,\"made_by\":\"x\",\"made_wall_ms\":1,\"left_out\":0,\"keys\":{\"config\":1}}",
        "{\"schema\":1,\"cluster\":\"shop\",\"installation\":{\"id\":\"a\",\"etcd_cluster_id\":\"1\","
        "\"incarnation\":0},"
        "\"revision\":1,\"made_by\":\"x\",\"made_wall_ms\":1,\"left_out\":0,\"keys\":{}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct store_copy copy = {.revision = 99};
        struct err err = {0};
        assert_int_equal(store_copy_decode(texts[i], strlen(texts[i]), &copy, &err), -1);
        assert_true(err.code != ERR_NONE && err.text[0] != '\0');
        assert_int_equal(copy.revision, 99);
    }
}

static void an_installation_of_a_later_version_is_refused_with_the_way_out(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *complaint;
    } bad[] = {
        {"{\"schema\":2,\"id\":\"a\",\"etcd_cluster_id\":\"1\"}",
         "installation.schema: found 2, written by a newer version; this one reads up to 1. "
         "Upgrade"},
        {"{\"id\":\"a\",\"etcd_cluster_id\":\"1\"}", "installation.schema: is missing"},
        {"{\"schema\":1", "installation: not JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct installation read = {.incarnation = 99};
        struct err err = {0};
        assert_int_equal(installation_decode(bad[i].text, strlen(bad[i].text), &read, &err), -1);
        if (strstr(err.text, bad[i].complaint) != err.text) {
            fail_msg("expected \"%s\", found \"%s\"", bad[i].complaint, err.text);
        }
        assert_int_equal(read.incarnation, 99);
    }
}

static void a_new_copy_takes_the_place_of_the_last_one(void **unused)
{
    (void)unused;
    char path[256];
    struct stat stat_of;
    int64_t now = 0;
    write_revision(1, now);
    write_revision(2, now);
    assert_int_equal(revision_in("store.json"), 2);
    path_of("store.json", path, sizeof path);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0600);
    path_of("store.json.new", path, sizeof path);
    assert_int_equal(access(path, F_OK), -1);
}

static void older_ones_are_kept_an_hour_apart_and_are_bounded(void **unused)
{
    (void)unused;
    char path[256], name[32];
    path_of("store.1.json", path, sizeof path);
    for (int i = 10; i < 30; i++) {
        struct stat first = {0};
        int64_t now = 0;
        if (stat(path, &first) == 0) {
            now = (int64_t)first.st_mtim.tv_sec * 1000 + STORE_COPY_APART_MS;
        }
        write_revision(i, now);
        write_revision(1000 + i, now - STORE_COPY_APART_MS + 1); /* too soon to be kept */
    }
    for (int i = 1; i <= STORE_COPY_KEPT; i++) {
        snprintf(name, sizeof name, "store.%d.json", i);
        assert_true(revision_in(name) > 0);
    }
    snprintf(name, sizeof name, "store.%d.json", STORE_COPY_KEPT + 1);
    assert_int_equal(revision_in(name), -1);
    assert_int_equal(revision_in("store.json"), 1029);
}

static void a_directory_that_is_not_there_is_said(void **unused)
{
    (void)unused;
    struct err err = {0};
    assert_int_equal(store_copy_write("/tmp/is-not-there", "x", 1, 0, &err), -1);
    assert_int_equal(err.code, ERR_SYSTEM);
    assert_non_null(strstr(err.text, "/tmp/is-not-there"));
}

static void only_a_higher_incarnation_of_the_same_installation_is_a_rescue(void **unused)
{
    (void)unused;
    struct installation known = {.id = "a", .cluster_id = 1, .incarnation = 2};
    struct installation seen = {.id = "a", .cluster_id = 5, .incarnation = 3};
    assert_true(installation_is_rescued(&known, &seen, 5));
    assert_false(installation_is_rescued(&known, &seen, 6)); /* a copy of the rescued one */
    seen.incarnation = 2;
    assert_false(installation_is_rescued(&known, &seen, 5));
    seen = (struct installation){.id = "b", .cluster_id = 5, .incarnation = 3};
    assert_false(installation_is_rescued(&known, &seen, 5));
}

static int make_dir(void **unused)
{
    (void)unused;
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int remove_dir(void **unused)
{
    (void)unused;
    char path[256], name[32];
    for (int i = 0; i <= STORE_COPY_KEPT; i++) {
        snprintf(name, sizeof name, i == 0 ? "store.json" : "store.%d.json", i);
        path_of(name, path, sizeof path);
        (void)unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_copied_is_read_back),
        cmocka_unit_test(orders_and_signs_of_life_are_not_copied),
        cmocka_unit_test(what_finds_no_room_is_the_oldest_incidents_and_is_counted),
        cmocka_unit_test(a_value_that_is_no_text_is_left_out),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(a_new_copy_takes_the_place_of_the_last_one),
        cmocka_unit_test(older_ones_are_kept_an_hour_apart_and_are_bounded),
        cmocka_unit_test(a_directory_that_is_not_there_is_said),
        cmocka_unit_test(an_installation_of_a_later_version_is_refused_with_the_way_out),
        cmocka_unit_test(only_a_higher_incarnation_of_the_same_installation_is_a_rescue),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
