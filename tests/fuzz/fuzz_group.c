/*
 * A group's document, of any age and schema (record.h). What its readers index arrays with lies
 * within them.
 */
#include "tests/fuzz/record.h"

FUZZ_KIND(group)

static struct group_record record, memory;

static void expect_entries(const struct sync_entry_record *entries, int len)
{
    assert(len >= 0 && len <= SYNC_ENTRIES_MAX);
    for (int i = 0; i < len; i++) {
        assert(entries[i].k >= 0 && entries[i].k <= entries[i].members_len);
        assert((entries[i].k == 0) == (entries[i].members_len == 0));
        assert(entries[i].members_len <= INSTANCES_MAX);
    }
}

static void expect_move(const struct move_record *move)
{
    assert(move->phase < MOVE_PHASES);
    assert(move->phase < PHASE_PROMOTE || move->phase == PHASE_DONE || move->candidate[0] != '\0');
    assert(move->burnt_len >= 0 && move->burnt_len <= INSTANCES_MAX);
    assert(move->evidence_len >= 0 && move->evidence_len <= EVIDENCE_MAX);
    expect_entries(move->sync, move->sync_len);
}

static void expect_group(const struct group_record *group)
{
    assert(group->databases_len >= 0 && group->databases_len <= DATABASES_MAX);
    assert(group->completed_len >= 0 && group->completed_len <= BUDGET_MAX);
    assert(group->alarms_len >= 0 && group->alarms_len <= ALARMS_MAX);
    for (int i = 0; i < group->databases_len; i++) {
        const struct database_record *database = &group->databases[i];
        assert(database->database[0] != '\0');
        assert(database->burnt_len >= 0 && database->burnt_len <= INSTANCES_MAX);
        assert(database->roles_len >= 0 && database->roles_len <= INSTANCES_MAX);
    }
    if (group->moving) {
        assert(group->workflow.moves_len > 0 && group->workflow.moves_len <= DATABASES_MAX);
        for (int i = 0; i < group->workflow.moves_len; i++) {
            expect_move(&group->workflow.moves[i]);
        }
    } else {
        assert(group->workflow.moves_len == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_kind kind = FUZZ_ROW(group);
    struct fuzz fuzz = {data, size};
    size_t len;
    char *text = fuzz_rest(&fuzz, &len);
    fuzz_record(&kind, text, len, &record, &memory);
    if (!fuzz_is_stained(&record, sizeof record)) {
        expect_group(&record);
    }
    free(text);
    return 0;
}
