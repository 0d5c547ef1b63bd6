/*
 * Sync entries in PostgreSQL's words; and the proof, held against a small PostgreSQL whose
 * walsenders take a setting up in any order, which must never acknowledge what a failover could not
 * find.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "fence/guard/guard_sync.h"

static const char *const names[] = {"a", "b", "c", "d"};
#define STANDBYS 4

/* members: bits of names, in their order. */
static struct sync_entry_record an_entry(bool first, int k, unsigned members)
{
    struct sync_entry_record entry = {.first = first, .k = k};
    for (int i = 0; i < STANDBYS; i++) {
        if ((members & 1u << i) != 0) {
            snprintf(entry.members[entry.members_len++], NAME_SIZE, "%s", names[i]);
        }
    }
    return entry;
}

static unsigned members_of(const struct sync_entry_record *entry)
{
    unsigned members = 0;
    for (int i = 0; i < entry->members_len; i++) {
        members |= 1u << (entry->members[i][0] - 'a');
    }
    return members;
}

static struct guard_sync a_sync(const struct sync_entry_record *entries, int len)
{
    struct guard_sync sync = {.revision = 5, .len = len};
    memcpy(sync.entries, entries, (size_t)len * sizeof entries[0]);
    return sync;
}

/* ---- words ---- */

static void names_are_written_as_postgresql_reads_them(void **unused)
{
    (void)unused;
    char text[SYNC_NAMES_SIZE];
    struct sync_entry_record entry = an_entry(true, 1, 1);
    guard_sync_names(&entry, text);
    assert_string_equal(text, "FIRST 1 (\"a\")");
    entry = an_entry(false, 2, 7);
    guard_sync_names(&entry, text);
    assert_string_equal(text, "ANY 2 (\"a\", \"b\", \"c\")");
    snprintf(entry.members[1], NAME_SIZE, "pay-west.2");
    guard_sync_names(&entry, text);
    assert_string_equal(text, "ANY 2 (\"a\", \"pay-west.2\", \"c\")");
    entry = an_entry(false, 0, 0);
    guard_sync_names(&entry, text);
    assert_string_equal(text, "");
}

static void the_longest_names_fit(void **unused)
{
    (void)unused;
    char text[SYNC_NAMES_SIZE];
    struct sync_entry_record entry = {.k = 5, .first = true, .members_len = INSTANCES_MAX};
    for (int i = 0; i < INSTANCES_MAX; i++) {
        memset(entry.members[i], 'a' + i, NAME_SIZE - 1);
    }
    guard_sync_names(&entry, text);
    assert_int_equal(strlen(text), strlen("FIRST 5 ()") + INSTANCES_MAX * (NAME_SIZE + 1) +
                                       (INSTANCES_MAX - 1) * 2);
    assert_string_equal(text + strlen(text) - 3, "e\")");
}

static void places_are_those_that_walsenders_give_themselves(void **unused)
{
    (void)unused;
    struct sync_entry_record first = an_entry(true, 1, 6), any = an_entry(false, 1, 6);
    struct sync_entry_record none = an_entry(false, 0, 0);
    assert_int_equal(guard_sync_place(&first, "b"), 1);
    assert_int_equal(guard_sync_place(&first, "c"), 2);
    assert_int_equal(guard_sync_place(&first, "a"), 0);
    assert_int_equal(guard_sync_place(&any, "c"), 1);
    assert_int_equal(guard_sync_place(&none, "a"), 0);
}

static void slots_of_different_names_are_different_and_legal(void **unused)
{
    (void)unused;
    static const char *const all[] = {
        "db1",
        "pay_west",
        "pay-west",
        "pay.west",
        "pay__west",
        "a-very-long-name-of-a-standby-that-is-sixty-three-bytes-long--1",
        "a-very-long-name-of-a-standby-that-is-sixty-three-bytes-long--2",
        "a_very_long_name_of_a_standby_that_is_sixty_three_bytes_long__1"};
    char slots[8][GUARD_SLOT_SIZE];
    for (int i = 0; i < 8; i++) {
        guard_slot_name(all[i], slots[i]);
        assert_int_equal(strspn(slots[i], "abcdefghijklmnopqrstuvwxyz0123456789_"),
                         strlen(slots[i]));
        assert_memory_equal(slots[i], GUARD_SLOT_PREFIX, strlen(GUARD_SLOT_PREFIX));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(slots[i], slots[j]);
        }
    }
    assert_string_equal(slots[0], "failover_db1");
    assert_string_equal(slots[1], "failover_pay_west");
}

/* ---- the same target ---- */

static void a_target_is_the_last_entry_as_it_is_written(void **unused)
{
    (void)unused;
    struct sync_entry_record one = an_entry(true, 1, 1), two = an_entry(true, 1, 3);
    struct sync_entry_record any = an_entry(false, 1, 3);
    struct sync_entry_record both[] = {one, two};
    struct guard_sync nothing = {.len = 0}, list = a_sync(both, 2), alone = a_sync(&two, 1);
    struct guard_sync other = a_sync(&one, 1), worded = a_sync(&any, 1);
    assert_true(guard_sync_same_target(&list, &alone));
    assert_true(guard_sync_same_target(&nothing, &nothing));
    assert_false(guard_sync_same_target(&nothing, &alone));
    assert_false(guard_sync_same_target(&other, &alone));
    assert_false(guard_sync_same_target(&worded, &alone));
}

/* ---- the proof ---- */

static bool proves(const struct guard_sync *sync, struct guard_sync_row a, struct guard_sync_row b)
{
    char why[GUARD_SYNC_WHY_SIZE] = "";
    snprintf(a.name, sizeof a.name, "a");
    snprintf(b.name, sizeof b.name, "b");
    struct guard_sync_row rows[] = {a, b};
    bool proven = guard_sync_is_proven(sync, rows, 2, 100, why);
    assert_int_equal(why[0] == '\0', proven);
    return proven;
}

static void f11_a_walsender_that_may_go_by_the_old_entry_ends_the_proof(void **unused)
{
    (void)unused;
    struct sync_entry_record entries[] = {an_entry(true, 1, 3), an_entry(true, 1, 2)};
    struct guard_sync sync = a_sync(entries, 2); /* a, b; then b alone */
    struct guard_sync_row holds = {.releases = true, .place = 1, .flush_lsn = 100};
    struct guard_sync_row gone = {.releases = false, .place = 1, .flush_lsn = 10};
    struct guard_sync_row out = {.releases = true, .place = 0, .flush_lsn = 10};
    struct guard_sync_row old = {.releases = true, .place = 1, .flush_lsn = 10};
    assert_true(proves(&sync, out, holds));  /* gave its place up */
    assert_true(proves(&sync, gone, holds)); /* acknowledges nothing */
    assert_false(proves(&sync, old, holds)); /* has not taken it up */
    holds.flush_lsn = 99;
    assert_false(proves(&sync, out, holds)); /* nobody of the entry holds the commit */
    holds = (struct guard_sync_row){.releases = false, .place = 1, .flush_lsn = 100};
    assert_false(proves(&sync, out, holds)); /* one that does not stream is no copy */
}

static void f11_a_place_that_was_the_same_before_tells_nothing(void **unused)
{
    (void)unused;
    struct sync_entry_record entries[] = {an_entry(false, 1, 3), an_entry(false, 1, 7)};
    struct guard_sync sync = a_sync(entries, 2);
    struct guard_sync_row holds = {.releases = true, .place = 1, .flush_lsn = 100};
    struct guard_sync_row lags = {.releases = true, .place = 1, .flush_lsn = 99};
    assert_true(proves(&sync, holds, holds));
    assert_false(proves(&sync, lags, holds)); /* as under the entry before */
    sync.entries[0] = an_entry(true, 1, 4);   /* c alone: a place of a is new */
    assert_true(proves(&sync, lags, holds));
    sync = a_sync(&entries[1], 1); /* what was in force before it is not known */
    assert_false(proves(&sync, lags, holds));
}

static void f11_fewer_copies_than_k_are_no_proof(void **unused)
{
    (void)unused;
    struct sync_entry_record entry = an_entry(false, 2, 7);
    struct guard_sync sync = a_sync(&entry, 1);
    struct guard_sync_row holds = {.releases = true, .place = 1, .flush_lsn = 100};
    struct guard_sync_row gone = {.releases = false};
    assert_true(proves(&sync, holds, holds));
    assert_false(proves(&sync, gone, holds));
}

static void closed_is_when_no_walsender_has_a_place(void **unused)
{
    (void)unused;
    char why[GUARD_SYNC_WHY_SIZE];
    struct guard_sync_row rows[] = {{.name = "a", .releases = true, .place = 0},
                                    {.name = "b", .releases = false, .place = 1}};
    assert_true(guard_sync_is_closed(rows, 2, why));
    rows[1].releases = true;
    assert_false(guard_sync_is_closed(rows, 2, why));
}

/*
 * ---- mixing: PostgreSQL 15, as syncrep.c has it ----
 *
 * Each walsender goes by the old or the new entry, and shows its place under it. One with a place
 * acknowledges what its own k of all those with a place hold: FIRST, the k with the best places;
 * ANY, any k. A failover finds a commit if for one of the two entries k members hold it.
 */

static int place_of(const struct sync_entry_record *entries, unsigned fresh, int standby)
{
    return guard_sync_place(&entries[(fresh >> standby) & 1u], names[standby]);
}

static int ones(unsigned bits)
{
    return __builtin_popcount(bits);
}

/* Whether walsender w acknowledges a commit that `holders` hold, when those of `fresh` go by the
 * new entry. */
static bool acknowledges(const struct sync_entry_record *entries, unsigned fresh, unsigned holders,
                         int w)
{
    const struct sync_entry_record *mine = &entries[(fresh >> w) & 1u];
    unsigned candidates = 0;
    for (int s = 0; s < STANDBYS; s++) {
        candidates |= place_of(entries, fresh, s) > 0 ? 1u << s : 0;
    }
    if (mine->k == 0 || (candidates & 1u << w) == 0 || ones(candidates) < mine->k) {
        return false;
    }
    unsigned chosen = candidates;
    for (int place = STANDBYS; mine->first && place > 0; place--) {
        for (int s = STANDBYS - 1; s >= 0 && ones(chosen) > mine->k; s--) {
            chosen &= place_of(entries, fresh, s) == place ? ~(1u << s) : ~0u;
        }
    }
    bool mine_chosen = (chosen & 1u << w) != 0;
    return mine->first ? mine_chosen && (chosen & holders) == chosen
                       : ones(candidates & holders) >= mine->k;
}

static bool is_found(const struct sync_entry_record *entries, unsigned holders)
{
    for (int e = 0; e < 2; e++) {
        if (entries[e].k == 0 || ones(members_of(&entries[e]) & holders) >= entries[e].k) {
            return true;
        }
    }
    return false;
}

/* Some order of reloading lets a commit be acknowledged that neither entry finds. */
static bool loses(const struct sync_entry_record *entries)
{
    for (unsigned fresh = 0; fresh < 1u << STANDBYS; fresh++) {
        for (unsigned holders = 0; holders < 1u << STANDBYS; holders++) {
            for (int w = 0; w < STANDBYS; w++) {
                if (acknowledges(entries, fresh, holders, w) && !is_found(entries, holders)) {
                    return true;
                }
            }
        }
    }
    return false;
}

static void s3_whatever_could_mix_goes_by_way_of_nobody(void **unused)
{
    (void)unused;
    int pairs = 0, lossy = 0, by_nobody = 0;
    for (unsigned all = 0; all < 1u << 10; all++) {
        unsigned old = all & 15u, new = (all >> 4) & 15u;
        for (int k = 0; k <= ones(old); k++) {
            for (int l = 0; l <= ones(new); l++) {
                if ((k == 0) != (old == 0) || (l == 0) != (new == 0)) {
                    continue;
                }
                struct sync_entry_record entries[] = {an_entry((all >> 8) & 1u, k, old),
                                                      an_entry((all >> 9) & 1u, l, new)};
                struct guard_sync sync = a_sync(entries, 2);
                bool mixes = guard_sync_mixes(&sync);
                pairs++;
                lossy += loses(entries);
                by_nobody += mixes;
                assert_false(loses(entries) && !mixes);
            }
        }
    }
    print_message("%d changes: %d could lose a commit, %d go by way of nobody\n", pairs, lossy,
                  by_nobody);
    assert_true(lossy > 0 && by_nobody < pairs);
}

/* By way of nobody: first some go by the old entry and some by nobody, then some by nobody and
 * some by the new one. */
static void s3_by_way_of_nobody_nothing_is_lost(void **unused)
{
    (void)unused;
    struct sync_entry_record nobody = {.k = 1, .first = true, .members_len = 1};
    snprintf(nobody.members[0], NAME_SIZE, "%s", GUARD_SYNC_NOBODY);
    for (unsigned members = 1; members < 1u << STANDBYS; members++) {
        for (int k = 1; k <= ones(members); k++) {
            for (int first = 0; first < 2; first++) {
                struct sync_entry_record closing[] = {an_entry(first, k, members), nobody};
                struct sync_entry_record opening[] = {nobody, an_entry(first, k, members)};
                for (unsigned fresh = 0; fresh < 1u << STANDBYS; fresh++) {
                    for (unsigned holders = 0; holders < 1u << STANDBYS; holders++) {
                        bool held = ones(members & holders) >= k;
                        for (int w = 0; w < STANDBYS; w++) {
                            assert_false(acknowledges(closing, fresh, holders, w) && !held);
                            assert_false(acknowledges(opening, fresh, holders, w) && !held);
                        }
                    }
                }
            }
        }
    }
}

static void the_way_back_from_a_list_of_three_is_looked_at_as_well(void **unused)
{
    (void)unused;
    struct sync_entry_record entries[] = {an_entry(false, 2, 3), an_entry(true, 1, 1),
                                          an_entry(true, 1, 2)};
    struct guard_sync sync = a_sync(entries, 3);
    assert_true(guard_sync_mixes(&sync)); /* the first may still be in force */
    sync = a_sync(entries + 1, 2);
    assert_false(guard_sync_mixes(&sync));
    sync = a_sync(entries, 1);
    assert_false(guard_sync_mixes(&sync));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_written_as_postgresql_reads_them),
        cmocka_unit_test(the_longest_names_fit),
        cmocka_unit_test(places_are_those_that_walsenders_give_themselves),
        cmocka_unit_test(slots_of_different_names_are_different_and_legal),
        cmocka_unit_test(a_target_is_the_last_entry_as_it_is_written),
        cmocka_unit_test(f11_a_walsender_that_may_go_by_the_old_entry_ends_the_proof),
        cmocka_unit_test(f11_a_place_that_was_the_same_before_tells_nothing),
        cmocka_unit_test(f11_fewer_copies_than_k_are_no_proof),
        cmocka_unit_test(closed_is_when_no_walsender_has_a_place),
        cmocka_unit_test(s3_whatever_could_mix_goes_by_way_of_nobody),
        cmocka_unit_test(s3_by_way_of_nobody_nothing_is_lost),
        cmocka_unit_test(the_way_back_from_a_list_of_three_is_looked_at_as_well),
    };
    return cmocka_run_group_tests_name("sync entries", tests, NULL, NULL);
}
