/*
 * What a guard keeps on disk, and what it reads: state, the boot's deadline, pg_controldata;
 * and what it writes into the included file of a standby.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fence/guard/conninfo.h"
#include "fence/guard/control.h"
#include "fence/guard/files.h"

static char dir[64];
static char path[128];

static int begin(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/guard-files.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/payments.json", dir);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char other[160];
    unlink(path);
    snprintf(other, sizeof other, "%s/standby.signal", dir);
    unlink(other);
    return rmdir(dir);
}

static void put(const char *text)
{
    assert_int_equal(files_write(path, text, 0600, false, NULL), 0);
}

static struct guard_durable some_state(void)
{
    struct guard_durable durable = {.guarding = true,
                                    .epoch = {2, UINT64_C(9007199254740993)},
                                    .spent = {2, 41},
                                    .obeyed_revision = 77,
                                    .declared = ROLE_STANDBY,
                                    .burnt = true,
                                    .cut_for = 76};
    snprintf(durable.upstream, sizeof durable.upstream, "db2");
    return durable;
}

static struct guard_boot_state some_time(void)
{
    struct guard_boot_state kept = {.known = true, .valid_until_ms = 123456789, .armed = true};
    kept.sync = (struct guard_sync){.revision = 87, .len = 1}; /* 88 was not accepted yet */
    kept.sync.entries[0] = (struct sync_entry_record){.k = 1, .members_len = 1};
    snprintf(kept.sync.entries[0].members[0], NAME_SIZE, "old");
    kept.waiting_life = 1795827225559292;
    kept.permit = (struct guard_permit){.known = true,
                                        .revision = 88,
                                        .granted = true,
                                        .epoch = {2, 42},
                                        .life = 5,
                                        .timeline = 3,
                                        .system_id = UINT64_C(7712974297805055967),
                                        .d_ms = 8000,
                                        .w_ms = 2000,
                                        .k_ms = 1000,
                                        .promisers_len = 7};
    snprintf(kept.permit.node, sizeof kept.permit.node, "db1");
    snprintf(kept.permit.boot, sizeof kept.permit.boot, "b-1");
    kept.permit.sync = (struct guard_sync){.revision = 88, .len = 2};
    kept.permit.sync.entries[0] = kept.sync.entries[0];
    kept.permit.sync.entries[1] = (struct sync_entry_record){.k = 0};
    for (int i = 0; i < 7; i++) {
        snprintf(kept.permit.promisers[i], sizeof kept.permit.promisers[i], "ops%d", i);
    }
    return kept;
}

static void a_state_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct guard_durable written = some_state(), read = {.guarding = false};
    assert_int_equal(files_write_durable(path, &written, NULL), 0);
    assert_int_equal(files_read_durable(path, &read, NULL), 0);
    assert_true(read.guarding && read.burnt && !read.declared_down);
    assert_true(read.epoch.counter == written.epoch.counter && read.epoch.incarnation == 2);
    assert_int_equal(read.spent.counter, 41);
    assert_int_equal(read.obeyed_revision, 77);
    assert_int_equal(read.declared, ROLE_STANDBY);
    assert_int_equal(read.cut_for, 76);
    assert_string_equal(read.upstream, "db2");
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

/* Whatever etcd held was seen, and must be able to be known after the next start. */
static void the_largest_numbers_are_read_as_they_were_written(void **state)
{
    (void)state;
    struct guard_durable written = some_state(), read;
    written.epoch = (struct epoch){UINT64_MAX, UINT64_C(1) << 63};
    written.begun = written.spent = written.epoch;
    assert_int_equal(files_write_durable(path, &written, NULL), 0);
    assert_int_equal(files_read_durable(path, &read, NULL), 0);
    assert_true(read.epoch.incarnation == UINT64_MAX && read.epoch.counter == UINT64_C(1) << 63);
    assert_true(read.spent.counter == read.epoch.counter && read.begun.incarnation == UINT64_MAX);
    struct guard_boot_state kept = some_time(), again;
    kept.valid_until_ms = UINT64_MAX;
    assert_int_equal(files_write_kept(path, "payments", "b-1", &kept, NULL), 0);
    files_read_kept(path, "b-1", &again);
    assert_true(again.known && again.valid_until_ms == UINT64_MAX);
}

static void a_missing_state_is_an_empty_one(void **state)
{
    (void)state;
    struct guard_durable read = some_state();
    assert_int_equal(files_read_durable(path, &read, NULL), 0);
    assert_false(read.guarding);
    assert_int_equal(read.obeyed_revision, 0);
}

static void d20_a_damaged_state_is_never_taken_for_an_empty_one(void **state)
{
    (void)state;
    struct guard_durable written = some_state();
    assert_int_equal(files_write_durable(path, &written, NULL), 0);
    char text[4096];
    bool missing;
    ssize_t len = files_read(path, text, sizeof text, &missing, NULL);
    assert_true(len > 100);
    for (ssize_t cut = 0; cut < len - 1; cut++) { /* cut anywhere before its last brace */
        char damaged[4096];
        snprintf(damaged, sizeof damaged, "%.*s", (int)cut, text);
        put(damaged);
        struct guard_durable read = written;
        struct err err = {0};
        assert_int_equal(files_read_durable(path, &read, &err), -1);
        assert_memory_equal(&read, &written, sizeof read);
        assert_non_null(strstr(err.text, "payments.json"));
    }
    put("{\"schema\": 2}");
    struct guard_durable read;
    assert_int_equal(files_read_durable(path, &read, NULL), -1);
}

static void the_time_of_this_boot_is_kept_with_the_permit_it_is_of(void **state)
{
    (void)state;
    struct guard_boot_state written = some_time(), read;
    assert_int_equal(files_write_kept(path, "payments", "b-1", &written, NULL), 0);
    files_read_kept(path, "b-1", &read);
    assert_true(read.known && read.armed && read.permit.granted);
    assert_int_equal(read.valid_until_ms, 123456789);
    assert_int_equal(read.permit.revision, 88);
    assert_true(read.permit.system_id == written.permit.system_id);
    assert_int_equal(read.permit.promisers_len, 7);
    assert_string_equal(read.permit.promisers[6], "ops6");
    assert_int_equal(read.permit.w_ms, 2000);
    assert_int_equal(read.permit.sync.len, 2);
    assert_int_equal(read.permit.sync.entries[1].k, 0);
    assert_int_equal(read.sync.revision, 87);
    assert_int_equal(read.sync.len, 1);
    assert_string_equal(read.sync.entries[0].members[0], "old");
    assert_true(read.waiting_life == written.waiting_life);
}

static void g6_the_time_of_another_boot_is_none(void **state)
{
    (void)state;
    struct guard_boot_state written = some_time(), read;
    assert_int_equal(files_write_kept(path, "payments", "b-1", &written, NULL), 0);
    files_read_kept(path, "b-2", &read);
    assert_false(read.known);
    assert_int_equal(read.valid_until_ms, 0);
}

static void a_damaged_time_is_none(void **state)
{
    (void)state;
    struct guard_boot_state written = some_time(), read;
    assert_int_equal(files_write_kept(path, "payments", "b-1", &written, NULL), 0);
    char text[4096], damaged[4096];
    bool missing;
    ssize_t len = files_read(path, text, sizeof text, &missing, NULL);
    for (ssize_t cut = 0; cut < len - 1; cut++) {
        snprintf(damaged, sizeof damaged, "%.*s", (int)cut, text);
        put(damaged);
        files_read_kept(path, "b-1", &read);
        assert_false(read.known);
    }
}

static void what_has_ended_leaves_no_time_behind(void **state)
{
    (void)state;
    struct guard_boot_state kept = some_time();
    assert_int_equal(files_write_kept(path, "payments", "b-1", &kept, NULL), 0);
    kept.known = false;
    assert_int_equal(files_write_kept(path, "payments", "b-1", &kept, NULL), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(files_write_kept(path, "payments", "b-1", &kept, NULL), 0);
}

static void a_directory_at_rest_carries_its_signal_until_a_permitted_start(void **state)
{
    (void)state;
    char signal[160];
    snprintf(signal, sizeof signal, "%s/standby.signal", dir);
    assert_int_equal(files_rest(dir, getuid(), getgid(), NULL), 0);
    assert_int_equal(files_rest(dir, getuid(), getgid(), NULL), 0);
    assert_int_equal(access(signal, F_OK), 0);
    assert_int_equal(files_unrest(dir), 0);
    assert_int_equal(access(signal, F_OK), -1);
    assert_int_equal(files_unrest(dir), 0);
    assert_int_equal(files_rest("/nonexistent", 0, 0, NULL), -1);
    assert_int_equal(files_unrest("/nonexistent"), -1);
}

static void both_lists_of_promisers_are_needed_and_each_name_once(void **state)
{
    (void)state;
    struct permit_record record = {.state = PERMIT_GRANTED, .promisers_len = 2, .before_len = 2};
    snprintf(record.promisers[0], NAME_SIZE, "ops1");
    snprintf(record.promisers[1], NAME_SIZE, "ops3");
    snprintf(record.before[0], NAME_SIZE, "ops1");
    snprintf(record.before[1], NAME_SIZE, "ops2");
    struct guard_permit permit;
    files_permit_of_record(&record, 9, &permit);
    assert_int_equal(permit.promisers_len, 3);
    assert_string_equal(permit.promisers[0], "ops1");
    assert_string_equal(permit.promisers[1], "ops3");
    assert_string_equal(permit.promisers[2], "ops2");
}

/* ---- pg_controldata ---- */

#define CONTROL(text)                                                                              \
    "pg_control version number:            1300\n"                                                 \
    "Catalog version number:               202209061\n"                                            \
    "Database system identifier:           7712974297805055967\n"                                  \
    "Database cluster state:               " text "\n"                                             \
    "pg_control last modified:             Fri Nov 27 21:59:55 2026\n"                             \
    "Latest checkpoint location:           0/1549B60\n"                                            \
    "Latest checkpoint's REDO location:    0/1549B28\n"                                            \
    "Latest checkpoint's TimeLineID:       3\n"                                                    \
    "Latest checkpoint's PrevTimeLineID:   2\n"

static void the_control_file_tells_what_the_last_life_was(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum guard_control control;
    } states[] = {
        {CONTROL("shut down"), GUARD_CONTROL_PRIMARY_CLEAN},
        {CONTROL("shut down in recovery"), GUARD_CONTROL_STANDBY},
        {CONTROL("in archive recovery"), GUARD_CONTROL_STANDBY},
        {CONTROL("in production"), GUARD_CONTROL_PRIMARY_CRASH},
        {CONTROL("in crash recovery"), GUARD_CONTROL_PRIMARY_CRASH},
        {CONTROL("shutting down"), GUARD_CONTROL_PRIMARY_CRASH},
        {CONTROL("starting up"), GUARD_CONTROL_PRIMARY_CRASH},
        {CONTROL("something new"), GUARD_CONTROL_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct guard_seen seen = {.control = GUARD_CONTROL_UNKNOWN};
        assert_true(control_read(states[i].text, &seen));
        assert_int_equal(seen.control, states[i].control);
        assert_true(seen.system_id == UINT64_C(7712974297805055967));
        assert_int_equal(seen.checkpoint_lsn, 0x1549B60);
        assert_int_equal(seen.checkpoint_timeline, 3);
    }
}

static void what_is_not_its_output_is_refused(void **state)
{
    (void)state;
    struct guard_seen seen = {.control = GUARD_CONTROL_STANDBY};
    assert_false(control_read("", &seen));
    assert_false(control_read("pg_controldata: fatal: could not open file", &seen));
    assert_false(control_read("Database cluster state: shut down\n", &seen));
    assert_int_equal(seen.control, GUARD_CONTROL_STANDBY);
}

/* ---- how a standby reaches its upstream ---- */

/* As libpq reads it. The caller frees it. */
static PQconninfoOption *upstream_options(enum profile_name profile, const char *replication)
{
    char text[CONNINFO_SIZE], *why = NULL;
    conninfo_of_upstream(&profiles[profile], "192.0.2.11", 5432, "pay_west", replication, text);
    PQconninfoOption *options = PQconninfoParse(text, &why);
    if (options == NULL) {
        fail_msg("%s: %s", text, why);
    }
    return options;
}

static const char *value_of(const PQconninfoOption *options, const char *keyword)
{
    while (options->keyword != NULL && strcmp(options->keyword, keyword) != 0) {
        options++;
    }
    return options->val != NULL ? options->val : "";
}

static void a_cut_connection_is_given_up_at_both_ends_after_the_stall_that_a_permit_survives(
    void **state)
{
    (void)state;
    const char *const ms[] = {[PROFILE_DEFAULT] = "4000", [PROFILE_FAST] = "2000"};
    for (int i = PROFILE_DEFAULT; i <= PROFILE_FAST; i++) {
        char there[128];
        snprintf(there, sizeof there,
                 "-c tcp_user_timeout=%s -c tcp_keepalives_idle=1 -c tcp_keepalives_interval=1",
                 ms[i]);
        PQconninfoOption *options =
            upstream_options((enum profile_name)i, "user=replicator password='a b'");
        assert_string_equal(value_of(options, "host"), "192.0.2.11");
        assert_string_equal(value_of(options, "port"), "5432");
        assert_string_equal(value_of(options, "application_name"), "pay_west");
        assert_string_equal(value_of(options, "connect_timeout"), "2");
        assert_string_equal(value_of(options, "tcp_user_timeout"), ms[i]);
        assert_string_equal(value_of(options, "keepalives_idle"), "1");
        assert_string_equal(value_of(options, "keepalives_interval"), "1");
        assert_string_equal(value_of(options, "options"), there);
        assert_string_equal(value_of(options, "user"), "replicator");
        assert_string_equal(value_of(options, "password"), "a b");
        PQconninfoFree(options);
    }
}

static void what_the_operator_says_of_the_connection_wins(void **state)
{
    (void)state;
    PQconninfoOption *options =
        upstream_options(PROFILE_FAST, "user=r tcp_user_timeout=9000 options='-c geqo=off'");
    assert_string_equal(value_of(options, "tcp_user_timeout"), "9000");
    assert_string_equal(value_of(options, "options"), "-c geqo=off");
    PQconninfoFree(options);
}

static void the_longest_names_leave_the_text_whole(void **state)
{
    (void)state;
    char text[CONNINFO_SIZE], address[ADDRESS_SIZE], name[NAME_SIZE], replication[URL_SIZE];
    memset(address, '1', sizeof address);
    memset(name, 'n', sizeof name);
    memset(replication, 'r', sizeof replication);
    address[sizeof address - 1] = name[sizeof name - 1] = replication[sizeof replication - 1] =
        '\0';
    conninfo_of_upstream(&profiles[PROFILE_DEFAULT], address, 65535, name, replication, text);
    size_t len = strlen(text);
    assert_true(len > sizeof replication);
    assert_string_equal(text + len - (sizeof replication - 1), replication);
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_state_is_read_as_it_was_written),
        T(the_largest_numbers_are_read_as_they_were_written),
        T(a_missing_state_is_an_empty_one),
        T(d20_a_damaged_state_is_never_taken_for_an_empty_one),
        T(the_time_of_this_boot_is_kept_with_the_permit_it_is_of),
        T(g6_the_time_of_another_boot_is_none),
        T(a_damaged_time_is_none),
        T(what_has_ended_leaves_no_time_behind),
        T(a_directory_at_rest_carries_its_signal_until_a_permitted_start),
        T(both_lists_of_promisers_are_needed_and_each_name_once),
        T(the_control_file_tells_what_the_last_life_was),
        T(what_is_not_its_output_is_refused),
        T(a_cut_connection_is_given_up_at_both_ends_after_the_stall_that_a_permit_survives),
        T(what_the_operator_says_of_the_connection_wins),
        T(the_longest_names_leave_the_text_whole),
    };
    return cmocka_run_group_tests_name("guard files", tests, NULL, NULL);
}
