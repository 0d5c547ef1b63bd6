/*
 * What commits wait for (core/sync.c): which entry is wanted, how a change is listed and dropped,
 * what a permit begins with, and what counts for a failover.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/core/private.h"

#define NOW      UINT64_C(500000)
#define LSN      UINT64_C(0x10000000)
#define REVISION 30

struct fixture {
    struct core core;
    struct core_effects effects;
    struct core_event event;
};

/* a the primary; b, c, d its standbys: ANY 2 of b, c, d. Guarded. */
static void define(struct definition *def)
{
    strcpy(def->groups[0].name, "shop");
    def->groups_len = 1;
    struct database_def *db = &def->databases[def->databases_len++];
    strcpy(db->name, "payments");
    db->instances_len = 4;
    for (int i = 0; i < db->instances_len; i++) {
        def->nodes[i].name[0] = (char)('a' + i);
        def->nodes[i].levels[0].method = FENCE_GUARD;
        def->nodes[i].levels_len = 1;
        db->instances[i].node = i;
        db->instances[i].name[0] = (char)('a' + i);
        def->nodes_len++;
        db->sync[0].members[i] = i;
    }
    db->sync[0].members_len = 4;
    db->sync[0].k = 2;
    db->sync_len = 1;
    db->degrade_after_ms = 10000;
}

static struct database_state *db_of(struct fixture *f)
{
    return &f->core.databases[0];
}

static struct database_record *record_of(struct fixture *f)
{
    return &f->core.groups[0].record.databases[0];
}

/* The primary shows these standbys, streaming with all WAL. */
static void say(struct fixture *f, const char *standbys)
{
    struct instance_fact *fact = &db_of(f)->instances[0].fact;
    *fact = (struct instance_fact){.asked_ms = f->core.now_ms - 3,
                                   .answered_ms = f->core.now_ms,
                                   .answered = true,
                                   .role = ROLE_PRIMARY,
                                   .write_lsn = LSN,
                                   .sync_commit_on = true};
    for (const char *at = standbys; *at != '\0'; at++) {
        struct standby_fact *row = &fact->standbys[fact->standbys_len++];
        row->name[0] = *at;
        row->streaming = true;
        row->flush_lsn = LSN;
    }
}

static void shows(struct fixture *f, const char *standbys)
{
    say(f, standbys);
    sync_watch(&f->core, 0);
}

/* So it stays for that long, by findings every half second. */
static void for_ms(struct fixture *f, uint64_t ms, const char *standbys)
{
    for (uint64_t passed = 0; passed < ms; passed += 500) {
        f->core.now_ms += 500;
        shows(f, standbys);
    }
}

/* "2bcd": k and the members; "0": waits for nobody. */
static struct sync_entry_record entry_of(const char *text)
{
    struct sync_entry_record entry = {.k = text[0] - '0'};
    for (const char *at = text + 1; *at != '\0'; at++) {
        entry.members[entry.members_len++][0] = *at;
    }
    return entry;
}

/* "2bcd 0": every entry of the permit. */
static void lists(struct fixture *f, const char *texts)
{
    struct permit_record *permit = &db_of(f)->permit;
    char copy[64];
    char *save = NULL;
    memset(permit->sync, 0, sizeof permit->sync);
    permit->sync_len = 0;
    snprintf(copy, sizeof copy, "%s", texts);
    for (char *at = strtok_r(copy, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save)) {
        permit->sync[permit->sync_len++] = entry_of(at);
    }
}

static void expect_listed(struct fixture *f, const char *texts)
{
    const struct permit_record *permit = &db_of(f)->permit;
    char found[64] = "";
    for (int e = 0; e < permit->sync_len; e++) {
        size_t len = strlen(found);
        len += (size_t)snprintf(found + len, sizeof found - len, "%s%d", e > 0 ? " " : "",
                                permit->sync[e].k);
        for (int m = 0; m < permit->sync[e].members_len; m++) {
            len +=
                (size_t)snprintf(found + len, sizeof found - len, "%s", permit->sync[e].members[m]);
        }
    }
    assert_string_equal(found, texts);
}

/* What is marked has been saved. */
static void saved(struct fixture *f)
{
    db_of(f)->permit_dirty = false;
    db_of(f)->permit_revision++;
    f->core.groups[0].dirty = false;
    f->effects.len = 0;
}

/* The rule that would change the entries, carried out. */
static void review(struct fixture *f)
{
    static bool (*const guards[])(const struct core *, int) = {
        standbys_are_missing, standbys_are_back, another_entry_is_declared};
    for (int g = 0; g < 3; g++) {
        if (guards[g](&f->core, 0)) {
            list_entry(&f->core, 0);
            assert_true(db_of(f)->permit_dirty);
            for (int again = 0; again < 3; again++) {
                assert_false(guards[again](&f->core, 0)); /* not while it is being written */
            }
            saved(f);
            return;
        }
    }
}

static void proves(struct fixture *f, int64_t revision)
{
    struct guard_view *guard = &db_of(f)->instances[0].guard;
    guard->said.sync_for = revision;
    if (the_entry_is_proven(&f->core, 0)) {
        drop_entries(&f->core, 0);
        saved(f);
    }
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct definition *def = calloc(1, sizeof *def);
    assert_non_null(f);
    assert_non_null(def);
    define(def);
    core_init(&f->core, "c1", NOW);
    assert_true(core_take_definition(&f->core, def, 1));
    free(def);
    f->core.effects = &f->effects;
    f->core.event = &f->event;
    f->core.leading = f->core.loaded = true;
    struct group_record *group = &f->core.groups[0].record;
    strcpy(group->databases[0].database, "payments");
    strcpy(group->databases[0].primary, "a");
    group->databases_len = 1;
    group->databases[0].sync_enforced = true;
    struct database_state *d = db_of(f);
    strcpy(d->permit.database, "payments");
    strcpy(d->permit.node, "a");
    strcpy(d->permit.boot, "boot-a");
    d->permit.epoch = (struct epoch){1, 1};
    d->permit_known = true;
    d->permit_revision = REVISION;
    d->state = DB_NORMAL;
    struct guard_view *guard = &d->instances[0].guard;
    guard->known = true;
    guard->said.mode = GUARD_GUARDING;
    guard->said.state = GUARD_RUNNING;
    guard->said.role = ROLE_PRIMARY;
    strcpy(guard->said.boot, "boot-a");
    guard->said.epoch = d->permit.epoch;
    lists(f, "2bcd");
    for_ms(f, 2000, "bcd");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void at_rest_nothing_is_changed(void **state)
{
    struct fixture *f = *state;
    review(f);
    expect_listed(f, "2bcd");
    assert_true(core_sync_enforced(&f->core, 0));
}

static void a_standby_that_is_gone_for_less_is_waited_for(void **state)
{
    struct fixture *f = *state;
    for_ms(f, 10000, "bc"); /* gone since the first of them */
    review(f);
    expect_listed(f, "2bcd");
    for_ms(f, 500, "bc");
    review(f);
    expect_listed(f, "2bcd 2bc");
    assert_true(core_sync_enforced(&f->core, 0)); /* both wait for somebody */
}

static void fewer_than_declared_and_at_last_nobody_are_waited_for_under_sync(void **state)
{
    struct fixture *f = *state;
    for_ms(f, 11000, "b");
    review(f);
    expect_listed(f, "2bcd 1b");
    for_ms(f, 11000, "");
    review(f);
    expect_listed(f, "2bcd 1b 0");
    assert_false(core_sync_enforced(&f->core, 0));
}

static void strict_drops_a_standby_and_never_a_copy(void **state)
{
    struct fixture *f = *state;
    f->core.def.databases[0].durability = DURABILITY_STRICT;
    for_ms(f, 11000, "bc");
    review(f);
    expect_listed(f, "2bcd 2bc");
    for_ms(f, 60000, "b");
    review(f);
    expect_listed(f, "2bc 2bcd"); /* whichever two return first */
    for_ms(f, 60000, "");
    review(f);
    expect_listed(f, "2bc 2bcd");
    assert_true(core_sync_enforced(&f->core, 0));
}

static void a_standby_is_waited_for_again_once_it_has_caught_up(void **state)
{
    struct fixture *f = *state;
    lists(f, "0");
    shows(f, "");
    f->core.now_ms += 500;
    shows(f, "b");
    db_of(f)->instances[0].fact.standbys[0].flush_lsn = LSN - (UINT64_C(17) << 20);
    sync_watch(&f->core, 0);
    db_of(f)->follows_ms[1] = 0; /* it streams, and lacks more than a segment */
    review(f);
    expect_listed(f, "0");
    f->core.now_ms += 500;
    shows(f, "b");
    for_ms(f, 500, "b");
    review(f);
    expect_listed(f, "0"); /* not for long enough */
    for_ms(f, 500, "b");
    review(f);
    expect_listed(f, "0 1b");
    for_ms(f, 2000, "bcd");
    review(f);
    expect_listed(f, "0 1b 2bcd");
}

static void a_standby_that_streams_and_confirms_nothing_is_gone(void **state)
{
    struct fixture *f = *state;
    struct instance_fact *fact = &db_of(f)->instances[0].fact;
    for (int half_s = 0; half_s <= 21; half_s++) {
        f->core.now_ms += 500;
        say(f, "bcd");
        fact->write_lsn = LSN + 100; /* d confirms what was there before, and no more */
        fact->standbys[0].flush_lsn = fact->standbys[1].flush_lsn = LSN + 100;
        sync_watch(&f->core, 0);
    }
    review(f);
    expect_listed(f, "2bcd 2bc");
    for_ms(f, 5000, "bcd");
    review(f);
    expect_listed(f, "2bc 2bcd");
}

static void only_a_proof_for_this_very_permit_drops_the_others(void **state)
{
    struct fixture *f = *state;
    struct guard_view *guard = &db_of(f)->instances[0].guard;
    for_ms(f, 11000, "bc");
    review(f);
    proves(f, REVISION); /* of the permit before */
    expect_listed(f, "2bcd 2bc");
    proves(f, 0);
    expect_listed(f, "2bcd 2bc");
    guard->said.epoch.counter = 2;
    proves(f, REVISION + 1);
    guard->said.epoch.counter = 1;
    strcpy(guard->said.boot, "boot-b");
    proves(f, REVISION + 1);
    strcpy(guard->said.boot, "boot-a");
    guard->said.state = GUARD_STOPPED;
    proves(f, REVISION + 1);
    guard->said.state = GUARD_RUNNING;
    guard->said.role = ROLE_STANDBY;
    proves(f, REVISION + 1);
    guard->said.role = ROLE_PRIMARY;
    db_of(f)->permit_dirty = true; /* another change is on its way */
    proves(f, REVISION + 1);
    db_of(f)->permit_dirty = false;
    expect_listed(f, "2bcd 2bc");
    proves(f, REVISION + 1);
    expect_listed(f, "2bc");
    assert_true(record_of(f)->sync_enforced);
}

static void proven_nobody_is_recorded_as_asynchronous(void **state)
{
    struct fixture *f = *state;
    for_ms(f, 11000, "");
    review(f);
    expect_listed(f, "2bcd 0");
    proves(f, REVISION + 1);
    expect_listed(f, "0");
    assert_false(record_of(f)->sync_enforced);
}

static void going_back_is_a_change_with_a_proof_of_its_own(void **state)
{
    struct fixture *f = *state;
    for_ms(f, 11000, "bc");
    review(f);
    expect_listed(f, "2bcd 2bc");
    for_ms(f, 2000, "bcd");
    review(f);
    expect_listed(f, "2bc 2bcd"); /* the same set: both may be in force */
    proves(f, REVISION + 1);      /* of the other target */
    expect_listed(f, "2bc 2bcd");
    proves(f, REVISION + 2);
    expect_listed(f, "2bcd");
}

static void a_place_is_kept_for_what_can_always_be_enforced(void **state)
{
    struct fixture *f = *state;
    lists(f, "2bcd 2bc 2bd");
    for_ms(f, 11000, "b");
    review(f);
    expect_listed(f, "2bcd 2bc 2bd"); /* 1b would take the last place */
    for_ms(f, 11000, "");
    review(f);
    expect_listed(f, "2bcd 2bc 2bd 0");
    for_ms(f, 2000, "bc");
    review(f);
    expect_listed(f, "2bcd 2bd 0 2bc"); /* listed already: no place is needed */
}

static void a_newly_declared_entry_waits_for_its_standbys_while_the_old_ones_serve(void **state)
{
    struct fixture *f = *state;
    struct sync_entry_def *declared = &f->core.def.databases[0].sync[0];
    lists(f, "1b");
    *declared = (struct sync_entry_def){.k = 1, .members = {0, 2}, .members_len = 2};
    for_ms(f, 3000, "b");
    review(f);
    expect_listed(f, "1b"); /* c is not there */
    for_ms(f, 2000, "bc");
    review(f);
    expect_listed(f, "1b 1c");
    assert_true(core_sync_enforced(&f->core, 0));
}

static void a_declared_end_of_waiting_is_recorded_first(void **state)
{
    struct fixture *f = *state;
    f->core.def.databases[0].durability = DURABILITY_ASYNC;
    f->core.def.databases[0].sync_len = 0;
    review(f);
    expect_listed(f, "2bcd 0");
    assert_false(core_sync_enforced(&f->core, 0));
}

static void without_a_recent_word_of_the_primary_nothing_is_changed(void **state)
{
    struct fixture *f = *state;
    for_ms(f, 11000, "bc");
    f->core.now_ms += fresh_limit_ms(&f->core) + 1;
    review(f);
    expect_listed(f, "2bcd");
    shows(f, "bc"); /* it was not looked at for a while: the count begins anew */
    review(f);
    expect_listed(f, "2bcd");
    for_ms(f, 10000, "bc");
    review(f);
    expect_listed(f, "2bcd 2bc");
}

static void without_a_guard_nothing_is_changed(void **state)
{
    struct fixture *f = *state;
    db_of(f)->permit.boot[0] = '\0';
    for_ms(f, 60000, "");
    review(f);
    expect_listed(f, "2bcd");
}

static void a_new_primary_begins_with_nobody_or_as_strict_declares(void **state)
{
    struct fixture *f = *state;
    struct database_def *def = &f->core.def.databases[0];
    permit_grant(&f->core, 0, "b", 7, 1, "boot-b", 5);
    expect_listed(f, "0");
    assert_false(record_of(f)->sync_enforced);
    def->durability = DURABILITY_STRICT;
    permit_grant(&f->core, 0, "b", 7, 1, "boot-b", 5);
    expect_listed(f, "2acd");
    def->durability = DURABILITY_SYNC;
    permit_grant(&f->core, 0, "a", 7, 1, "boot-a", 0); /* given back: it goes on */
    expect_listed(f, "2bcd");
    assert_false(record_of(f)->sync_enforced);
    permit_grant(&f->core, 0, "b", 7, 1, "", 5); /* no guard: the operator's */
    expect_listed(f, "2acd");
    def->durability = DURABILITY_ASYNC;
    permit_grant(&f->core, 0, "b", 7, 1, "boot-b", 5);
    expect_listed(f, "");
}

static void adoption_lists_what_may_be_in_force_until_now(void **state)
{
    struct fixture *f = *state;
    struct permit_record before = db_of(f)->permit;
    sync_at_adoption(&f->core, 0, &before, true);
    expect_listed(f, "2bcd");
    assert_true(core_sync_enforced(&f->core, 0));
    sync_at_adoption(&f->core, 0, &before, false); /* set by hand, and not as declared */
    expect_listed(f, "0 2bcd");
    assert_false(core_sync_enforced(&f->core, 0));
    f->core.def.databases[0].sync[0].first = true;
    sync_at_adoption(&f->core, 0, &before, true);
    expect_listed(f, "2bcd 2bcd"); /* ANY until now, FIRST from now on */
    assert_false(db_of(f)->permit.sync[0].first);
    assert_true(db_of(f)->permit.sync[1].first);
}

static void a_move_counts_the_replaced_primarys_entries_to_its_end(void **state)
{
    struct fixture *f = *state;
    struct group_record *group = &f->core.groups[0].record;
    struct move_record *move = &group->workflow.moves[0];
    int len = 0;
    lists(f, "2bcd 2bc");
    group->moving = true;
    group->workflow.moves_len = 1;
    strcpy(move->database, "payments");
    move->phase = PHASE_FENCE;
    sync_keep(&f->core, 0, move);
    permit_grant(&f->core, 0, "b", 7, 1, "boot-b", 5);
    move->phase = PHASE_PROMOTE;
    const struct sync_entry_record *counted = sync_counted(&f->core, 0, &len);
    assert_int_equal(len, 2);
    assert_int_equal(counted[0].members_len, 3);
    assert_int_equal(counted[1].members_len, 2);
    move->phase = PHASE_REDIRECT; /* it is the recorded primary now */
    (void)sync_counted(&f->core, 0, &len);
    assert_int_equal(len, 0);
    move->phase = PHASE_FENCE;
    lists(f, "2bcd 0");
    record_of(f)->sync_enforced = true;
    sync_keep(&f->core, 0, move); /* nobody may be waited for: asynchronous */
    assert_int_equal(move->sync_len, 0);
}

static void names_set_by_hand_are_seen_and_believed_again_only_with_the_proof(void **state)
{
    struct fixture *f = *state;
    struct instance_fact *fact = &db_of(f)->instances[0].fact;
    strcpy(fact->sync_names, "ANY 2 (b, c, d)");
    durability_review(&f->core, 0);
    assert_true(record_of(f)->sync_enforced);
    strcpy(fact->sync_names, "FIRST 1 (\"failover_guard_nobody\")"); /* all commits wait */
    durability_review(&f->core, 0);
    assert_true(record_of(f)->sync_enforced);
    strcpy(fact->sync_names, "ANY 1 (b, c, d)");
    db_of(f)->entries_ms = fact->asked_ms + 1; /* older than the entries: says nothing */
    durability_review(&f->core, 0);
    assert_true(record_of(f)->sync_enforced);
    db_of(f)->entries_ms = 0;
    durability_review(&f->core, 0);
    assert_false(record_of(f)->sync_enforced);
    strcpy(fact->sync_names, "ANY 2 (b, c, d)");
    durability_review(&f->core, 0);
    assert_false(record_of(f)->sync_enforced);
    db_of(f)->instances[0].guard.said.sync_for = REVISION;
    fact->sync_commit_on = false;
    durability_review(&f->core, 0);
    assert_false(record_of(f)->sync_enforced);
    fact->sync_commit_on = true;
    durability_review(&f->core, 0);
    assert_true(record_of(f)->sync_enforced);
}

static void names_of_strangers_block_only_while_no_stranger_streams(void **state)
{
    struct fixture *f = *state;
    struct instance_fact *fact = &db_of(f)->instances[0].fact;
    static const struct {
        const char *names;
        bool blocks;
    } rows[] = {{"nobody", true},
                {"FIRST 1 (nobody)", true},
                {"ANY 2 (x, \"y z\")", true},
                {"", false},
                {"*", false},
                {"\"*\"", false},
                {"ANY 1 (nobody, b)", false},
                {"1 (nobody, *)", false},
                {"FIRST 0 (nobody)", false},
                {"FIRST 1 (nobody", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        strcpy(fact->sync_names, rows[i].names);
        if (sync_names_block(&f->core, 0, fact) != rows[i].blocks) {
            fail_msg("'%s' %s", rows[i].names, rows[i].blocks ? "blocks" : "does not block");
        }
    }
    strcpy(fact->sync_names, "ANY 1 (archive)");
    assert_true(sync_names_block(&f->core, 0, fact));
    strcpy(fact->standbys[2].name, "archive"); /* a receiver of no instance confirms commits */
    assert_false(sync_names_block(&f->core, 0, fact));
}

static void entries_are_told_as_postgresql_writes_them(void **state)
{
    struct fixture *f = *state;
    struct sync_view view;
    core_sync(&f->core, 0, &view);
    assert_string_equal(view.target, "ANY 2 (b, c, d)");
    assert_string_equal(view.declared, "ANY 2 (b, c, d)");
    assert_int_equal(view.entries, 1);
    assert_int_equal(view.confirming, 3);
    assert_false(view.degraded);
    lists(f, "2bcd 0");
    core_sync(&f->core, 0, &view);
    assert_string_equal(view.target, "nobody");
    assert_true(view.degraded);
    f->core.def.databases[0].sync[0].first = true;
    lists(f, "1b");
    db_of(f)->permit.sync[0].first = true;
    core_sync(&f->core, 0, &view);
    assert_string_equal(view.target, "FIRST 1 (b)");
    assert_true(view.degraded);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(at_rest_nothing_is_changed),
        TEST(a_standby_that_is_gone_for_less_is_waited_for),
        TEST(fewer_than_declared_and_at_last_nobody_are_waited_for_under_sync),
        TEST(strict_drops_a_standby_and_never_a_copy),
        TEST(a_standby_is_waited_for_again_once_it_has_caught_up),
        TEST(a_standby_that_streams_and_confirms_nothing_is_gone),
        TEST(only_a_proof_for_this_very_permit_drops_the_others),
        TEST(proven_nobody_is_recorded_as_asynchronous),
        TEST(going_back_is_a_change_with_a_proof_of_its_own),
        TEST(a_place_is_kept_for_what_can_always_be_enforced),
        TEST(a_newly_declared_entry_waits_for_its_standbys_while_the_old_ones_serve),
        TEST(a_declared_end_of_waiting_is_recorded_first),
        TEST(without_a_recent_word_of_the_primary_nothing_is_changed),
        TEST(without_a_guard_nothing_is_changed),
        TEST(a_new_primary_begins_with_nobody_or_as_strict_declares),
        TEST(adoption_lists_what_may_be_in_force_until_now),
        TEST(a_move_counts_the_replaced_primarys_entries_to_its_end),
        TEST(names_set_by_hand_are_seen_and_believed_again_only_with_the_proof),
        TEST(names_of_strangers_block_only_while_no_stranger_streams),
        TEST(entries_are_told_as_postgresql_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
