/*
 * The records in etcd: what is written is read back the same, and what is no record is refused
 * whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/cluster/records_json.h"

typedef int (*decoder)(const char *text, size_t len, void *ret_record, struct err *ret_err);
typedef char *(*encoder)(const void *record, size_t *ret_len);

struct kind {
    const char *name;
    size_t size;
    decoder decode;
    encoder encode;
    void (*fill)(void *record);
};

/* ---- The largest record of each kind
 * -------------------------------------------------------------------------- */

static void fill_text(char *text, size_t size, const char *pattern)
{
    size_t len = strlen(pattern);
    for (size_t i = 0; i + 1 < size; i++) {
        text[i] = pattern[i % len];
    }
    text[size - 1] = '\0';
}

#define FILL(field, pattern) fill_text(field, sizeof(field), pattern)
#define NAMES                "name"
#define HOSTILE              "\"\\\n\t/<x>" /* each needs an escape */

/* Names that differ from each other. */
static void fill_name(char name[NAME_SIZE], int number)
{
    fill_text(name, NAME_SIZE, NAMES);
    name[0] = (char)('a' + number);
}

static void fill_permit(void *record)
{
    struct permit_record *p = record;
    FILL(p->database, NAMES);
    FILL(p->node, NAMES);
    p->state = PERMIT_REVOKED;
    p->epoch = (struct epoch){UINT64_MAX, UINT64_C(9007199254740993)};
    p->system_id = UINT64_MAX - 1;
    p->timeline = UINT32_MAX;
    FILL(p->boot, "0f0e-1");
    p->life = INT64_MAX;
    p->d_ms = p->w_ms = p->k_ms = UINT32_MAX;
    p->changing = true;
    p->promisers_len = p->before_len = PROMISERS_MAX;
    for (int i = 0; i < PROMISERS_MAX; i++) {
        FILL(p->promisers[i], NAMES);
        FILL(p->before[i], NAMES);
    }
    p->sync_len = SYNC_ENTRIES_MAX;
    for (int s = 0; s < p->sync_len; s++) {
        p->sync[s].k = INSTANCES_MAX;
        p->sync[s].first = true;
        p->sync[s].members_len = INSTANCES_MAX;
        for (int m = 0; m < INSTANCES_MAX; m++) {
            FILL(p->sync[s].members[m], "Member_");
            p->sync[s].members[m][0] = (char)('a' + m);
        }
    }
}

static void fill_move(struct move_record *move, int number)
{
    fill_name(move->database, number);
    move->phase = PHASE_VERIFY;
    FILL(move->from, NAMES);
    FILL(move->fence_node, NAMES);
    FILL(move->planned, NAMES);
    FILL(move->candidate, NAMES);
    move->from_timeline = UINT32_MAX - 1;
    move->new_timeline = UINT32_MAX;
    move->system_id = UINT64_MAX;
    move->forced = true;
    move->accept_loss_bytes = UINT64_MAX;
    move->estimated_loss_bytes = UINT64_MAX;
    move->lives = UINT32_MAX;
    FILL(move->parked, HOSTILE);
    move->burnt_len = INSTANCES_MAX;
    for (int b = 0; b < INSTANCES_MAX; b++) {
        FILL(move->burnt[b], NAMES);
    }
    move->evidence_len = EVIDENCE_MAX;
    for (int e = 0; e < EVIDENCE_MAX; e++) {
        struct evidence_record *evidence = &move->evidence[e];
        evidence->kind = EVIDENCE_OPERATOR;
        FILL(evidence->node, NAMES);
        FILL(evidence->level, NAMES);
        FILL(evidence->detail, HOSTILE);
        evidence->revocation_revision = UINT64_MAX;
        evidence->after_ms = UINT32_MAX;
        evidence->wall_ms = INT64_MAX;
    }
}

static void fill_group(void *record)
{
    struct group_record *g = record;
    FILL(g->name, NAMES);
    g->paused = true;
    FILL(g->paused_by, HOSTILE);
    FILL(g->paused_reason, HOSTILE);
    g->paused_wall_ms = INT64_MAX;
    g->databases_len = DATABASES_MAX;
    for (int d = 0; d < DATABASES_MAX; d++) {
        struct database_record *db = &g->databases[d];
        fill_name(db->database, d);
        FILL(db->primary, NAMES);
        db->system_id = UINT64_MAX;
        db->timeline = UINT32_MAX;
        db->sync_enforced = true;
        db->roles_len = INSTANCES_MAX;
        for (int r = 0; r < INSTANCES_MAX; r++) {
            FILL(db->roles[r].node, NAMES);
            db->roles[r].role = DECLARED_DOWN;
            FILL(db->roles[r].upstream, NAMES);
        }
        db->burnt_len = INSTANCES_MAX;
        for (int b = 0; b < INSTANCES_MAX; b++) {
            FILL(db->burnt[b], NAMES);
        }
    }
    g->moving = true;
    FILL(g->workflow.id, "i-7");
    FILL(g->workflow.request, "r-7");
    g->workflow.started_wall_ms = INT64_MAX;
    g->workflow.moves_len = DATABASES_MAX;
    for (int m = 0; m < DATABASES_MAX; m++) {
        fill_move(&g->workflow.moves[m], m);
    }
    g->completed_len = BUDGET_MAX;
    for (int c = 0; c < BUDGET_MAX; c++) {
        g->completed_wall_ms[c] = INT64_MAX - c;
    }
    g->alarms_len = ALARMS_MAX;
    for (int a = 0; a < ALARMS_MAX; a++) {
        FILL(g->alarms[a].key, "fence.");
        FILL(g->alarms[a].text, HOSTILE);
        FILL(g->alarms[a].command, HOSTILE);
        g->alarms[a].since_wall_ms = INT64_MAX;
        g->alarms[a].wakes = g->alarms[a].called = true;
        FILL(g->alarms[a].acked_by, "ann ");
        FILL(g->alarms[a].acked_reason, HOSTILE);
        g->alarms[a].acked_wall_ms = INT64_MAX;
    }
}

static void fill_incident(void *record)
{
    struct incident_record *i = record;
    FILL(i->id, "i-7");
    FILL(i->group, NAMES);
    i->state = INCIDENT_CLOSED;
    i->fault_class = FAULT_SECURITY;
    FILL(i->reason, HOSTILE);
    FILL(i->opened_by, HOSTILE);
    i->opened_wall_ms = i->anchor_wall_ms = INT64_MAX;
    i->anchor_ms = i->people_ms = UINT64_MAX;
    for (int l = 0; l < LAPS; l++) {
        i->ended_ms[l] = l % 2 == 0 ? -1 : INT64_MAX - l;
    }
    for (int o = 0; o < OBJECTIVES; o++) {
        i->objectives[o] = (struct objective_record){UINT64_MAX - (uint64_t)o, o - 1, 7};
    }
    i->databases_len = DATABASES_MAX;
    for (int d = 0; d < DATABASES_MAX; d++) {
        FILL(i->databases[d].name, NAMES);
        FILL(i->databases[d].from, NAMES);
        FILL(i->databases[d].to, NAMES);
        FILL(i->databases[d].evidence, HOSTILE);
        i->databases[d].estimated_loss_bytes = UINT64_MAX;
    }
    i->notes_len = INCIDENT_NOTES_MAX;
    for (int n = 0; n < INCIDENT_NOTES_MAX; n++) {
        i->notes[n].at_ms = UINT64_MAX;
        FILL(i->notes[n].rule, "R-F1");
        FILL(i->notes[n].text, HOSTILE);
    }
    i->notes_dropped = INT32_MAX;
}

static void fill_request(void *record)
{
    struct request_record *r = record;
    FILL(r->id, "r-7");
    r->kind = REQUEST_CONFIRM_FENCED;
    FILL(r->group, NAMES);
    FILL(r->database, NAMES);
    FILL(r->node, NAMES);
    FILL(r->who, HOSTILE);
    FILL(r->reason, HOSTILE);
    r->accept_loss_bytes = UINT64_MAX;
    r->asked_wall_ms = INT64_MAX;
    FILL(r->plan, "0123456789abcdef");
    FILL(r->alarm, HOSTILE);
    r->state = REQUEST_REFUSED;
    FILL(r->outcome, HOSTILE);
    FILL(r->workflow, "i-7");
}

static void fill_renewal(void *record)
{
    struct renewal_record *r = record;
    r->epoch = (struct epoch){UINT64_MAX, UINT64_MAX};
    r->permit_revision = INT64_MAX;
    FILL(r->boot, "0f0e-1");
    r->sequence = UINT64_MAX;
    r->armed = r->wrote = true;
}

static void fill_guard(void *record)
{
    struct guard_record *g = record;
    FILL(g->node, NAMES);
    FILL(g->database, NAMES);
    FILL(g->version, "1.0");
    FILL(g->boot, "0f0e-1");
    g->started_wall_ms = g->sequence = UINT64_MAX;
    g->mode = GUARD_GUARDING;
    g->state = GUARD_STOPPING;
    FILL(g->held, HOSTILE);
    g->role = ROLE_STANDBY;
    g->wrote = g->receiving = g->clean = g->asks_start = g->armed = true;
    g->wrote_age_ms = g->system_id = g->write_lsn = g->receive_lsn = UINT64_MAX;
    g->replay_lsn = g->checkpoint_lsn = g->down_ms = g->free_bytes = UINT64_MAX;
    g->life = g->obeyed_revision = g->stopped_for = g->cut_for = INT64_MAX;
    g->timeline = g->checkpoint_timeline = g->watchdog_ms = UINT32_MAX;
    FILL(g->upstream, NAMES);
    g->epoch = (struct epoch){UINT64_MAX, UINT64_MAX};
    FILL(g->crash, HOSTILE);
    g->sync_for = INT64_MAX;
    FILL(g->sync_names, HOSTILE);
    g->watchdog = WATCHDOG_TEST;
}

static void fill_controller(void *record)
{
    struct controller_record *c = record;
    FILL(c->id, NAMES);
    FILL(c->version, "1.0");
    FILL(c->api, "/run");
    c->started_wall_ms = c->sequence = UINT64_MAX;
    c->config_revision = INT64_MAX;
    c->blind = true;
    c->echoes_len = ECHOES_MAX;
    for (int e = 0; e < ECHOES_MAX; e++) {
        FILL(c->echoes[e].id, NAMES);
        c->echoes[e].sequence = UINT64_MAX;
    }
    c->targets_len = PEER_TARGETS_MAX;
    for (int t = 0; t < PEER_TARGETS_MAX; t++) {
        FILL(c->targets[t].database, NAMES);
        FILL(c->targets[t].node, NAMES);
        c->targets[t].opinion = OPINION_DOWN;
        c->targets[t].cause = (enum cause)(t % CAUSES);
        c->targets[t].age_ms = c->targets[t].since_ms = UINT64_MAX;
    }
}

#define KIND(kind)                                                                                 \
    static int decode_##kind(const char *text, size_t len, void *ret_record, struct err *ret_err)  \
    {                                                                                              \
        return kind##_record_decode(text, len, ret_record, ret_err);                               \
    }                                                                                              \
    static char *encode_##kind(const void *record, size_t *ret_len)                                \
    {                                                                                              \
        return kind##_record_encode(record, ret_len);                                              \
    }
KIND(permit)
KIND(group)
KIND(incident)
KIND(request)
KIND(controller)
KIND(renewal)
KIND(guard)
#define ROW(kind)                                                                                  \
    {                                                                                              \
#kind, sizeof(struct kind##_record), decode_##kind, encode_##kind, fill_##kind             \
    }
static const struct kind kinds[] = {ROW(permit),     ROW(group),   ROW(incident), ROW(request),
                                    ROW(controller), ROW(renewal), ROW(guard)};
#define KINDS (sizeof kinds / sizeof *kinds)

/* ---- Small records, as they are every day
 * ---------------------------------------------------------------------- */

static struct permit_record small_permit(void)
{
    struct permit_record p = {.database = "payments",
                              .state = PERMIT_GRANTED,
                              .epoch = {1, 7},
                              .node = "pay-east",
                              .system_id = UINT64_C(7301234567890123456),
                              .timeline = 3,
                              .d_ms = 8000,
                              .w_ms = 2000,
                              .k_ms = 1000,
                              .sync_len = 1};
    p.sync[0] = (struct sync_entry_record){.k = 1, .members = {"pay_west"}, .members_len = 1};
    return p;
}

static void a_permit_reads_as_one_would_write_it(void **state)
{
    (void)state;
    struct permit_record p = small_permit();
    size_t len;
    char *text = permit_record_encode(&p, &len);
    assert_string_equal(
        text, "{\"database\":\"payments\",\"state\":\"granted\",\"epoch\":{\"incarnation\":1,"
              "\"counter\":7},\"node\":\"pay-east\",\"system_id\":\"7301234567890123456\","
              "\"timeline\":3,\"d_ms\":8000,\"w_ms\":2000,\"k_ms\":1000,"
              "\"sync\":[{\"k\":1,\"members\":[\"pay_west\"]}],\"schema\":1}");
    assert_int_equal(len, strlen(text));
    free(text);
}

static void the_largest_record_of_each_kind_is_read_back_the_same(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        void *record = calloc(1, kinds[k].size);
        void *again = calloc(1, kinds[k].size);
        kinds[k].fill(record);
        size_t len;
        char *text = kinds[k].encode(record, &len);
        assert_non_null(text);
        assert_true(len <= RECORD_TEXT_MAX / 2);
        struct err err = {0};
        if (kinds[k].decode(text, len, again, &err) != 0) {
            fail_msg("%s: %s", kinds[k].name, err.text);
        }
        size_t again_len;
        char *again_text = kinds[k].encode(again, &again_len);
        assert_string_equal(text, again_text);
        assert_memory_equal(record, again, kinds[k].size);
        free(text);
        free(again_text);
        free(record);
        free(again);
    }
}

static void a_group_at_rest_has_no_workflow(void **state)
{
    (void)state;
    struct group_record *g = calloc(1, sizeof *g);
    struct group_record *again = calloc(1, sizeof *again);
    strcpy(g->name, "shop");
    size_t len;
    char *text = group_record_encode(g, &len);
    assert_null(strstr(text, "workflow"));
    assert_int_equal(group_record_decode(text, len, again, NULL), 0);
    assert_false(again->moving);
    assert_memory_equal(g, again, sizeof *g);
    free(text);
    free(g);
    free(again);
}

static void a_device_s_bytes_that_are_no_text_do_not_stop_a_record(void **state)
{
    (void)state;
    struct request_record r = {.id = "r-1", .who = "root"};
    strcpy(r.reason, "caf\xc3\xa9 \xff\xfe \xe2\x82"); /* whole, broken, cut */
    size_t len;
    char *text = request_record_encode(&r, &len);
    assert_non_null(text);
    struct request_record again;
    assert_int_equal(request_record_decode(text, len, &again, NULL), 0);
    assert_string_equal(again.reason, "caf\xc3\xa9 ?? ??");
    free(text);
}

/* ---- What is refused
 * ------------------------------------------------------------------------------------------- */

static const char good_permit[] =
    "{\"schema\":1,\"database\":\"payments\",\"state\":\"granted\",\"epoch\":{\"incarnation\":1,"
    "\"counter\":7},\"node\":\"pay-east\",\"system_id\":\"7301234567890123456\",\"timeline\":3,"
    "\"d_ms\":8000,\"w_ms\":2000,\"k_ms\":1000,\"sync\":[{\"k\":1,\"members\":[\"pay_west\"]}]}";

static char *with(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    char *changed = NULL;
    assert_true(asprintf(&changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
    return changed;
}

static void nonsense_is_refused_with_its_path_and_leaves_the_output_alone(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *complaint;
    } bad[] = {
        {"\"schema\":1,", "", "permit.schema: is missing"},
        {"\"schema\":1", "\"schema\":2",
         "permit.schema: found 2, written by a newer version; this one reads up to 1. Upgrade"},
        {"\"schema\":1", "\"schema\":0", "permit.schema: found 0"},
        {"\"schema\":1", "\"schema\":\"x\"", "permit.schema: found \"x\""},
        {"granted", "grated", "permit.state: found \"grated\""},
        {"\"granted\"", "null", "permit.state: found null"},
        {"payments", "", "permit.database: found \"\", must be a name"},
        {"payments", "../x", "permit.database: found \"../x\""},
        {"payments", "Payments", "permit.database: found \"Payments\""},
        {"\"node\":\"pay-east\",", "", "permit.node: is missing"},
        {"\"counter\":7", "\"counter\":0", "permit.epoch: found a zero"},
        {"\"counter\":7", "\"counter\":-7", "permit.epoch.counter: found -7"},
        {"\"counter\":7", "\"counter\":7.5", "permit.epoch.counter: found 7.5"},
        {"{\"incarnation\":1,\"counter\":7}", "[1,7]", "permit.epoch: found an array"},
        {"\"timeline\":3", "\"timeline\":4294967296", "permit.timeline: found 4294967296"},
        {"7301234567890123456", "18446744073709551616", "permit.system_id: found"},
        {"\"k\":1", "\"k\":2", "permit.sync: entry 0 waits for 2 of 1"},
        {"\"k\":1", "\"k\":-1", "permit.sync[0].k: found -1"},
        {"\"k\":1", "\"k\":0", "permit.sync: entry 0 waits for nobody, but names 1 members"},
        {"\"k\":1,\"members\":[\"pay_west\"]", "\"k\":1,\"members\":[\"a\",\"a\"]",
         "permit.sync: entry 0 has the member \"a\" twice"},
        {"\"k\":1", "\"k\":1,\"first\":1", "permit.sync[0].first: found 1"},
        {"[{\"k\":1",
         "[{\"k\":0,\"members\":[]},{\"k\":0,\"members\":[]},{\"k\":0,\"members\":[]},"
         "{\"k\":0,\"members\":[]},{\"k\":1",
         "permit.sync: found an array of 5"},
        {"pay_west", "*", "permit.sync: entry 0 has the member \"*\""},
        {"pay_west", "pay\\\"west", "permit.sync: entry 0 has the member"},
        {"pay_west", "a'\\nfsync = off\\n#", "permit.sync: entry 0 has the member"},
        {"[\"pay_west\"]", "[7]", "permit.sync[0].members[0]: found 7"},
        {"[\"pay_west\"]", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\"]",
         "permit.sync[0].members: found an array of 6"},
        {"[\"pay_west\"]", "\"pay_west\"", "permit.sync[0].members: found \"pay_west\""},
        {"\"state\":\"granted\"", "\"state\":\"granted\",\"state\":\"revoked\"",
         "permit: not JSON"},
        {"payments", "pay\\u0000ments", "permit: not JSON"},
        {"payments", "pay\xff", "permit: not JSON"},
        {"}]}", "}]", "permit: not JSON"},
        {"}]}", "}]} x", "permit: not JSON"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *text = with(good_permit, bad[i].from, bad[i].to);
        struct permit_record before = small_permit();
        struct permit_record after = before;
        struct err err = {0};
        assert_int_equal(permit_record_decode(text, strlen(text), &after, &err), -1);
        if (strstr(err.text, bad[i].complaint) != err.text) {
            fail_msg("expected \"%s\", found \"%s\"", bad[i].complaint, err.text);
        }
        assert_memory_equal(&before, &after, sizeof before);
        free(text);
    }
    static const char *const wholly[] = {"", "null", "[]", "7", "{}", "\"x\""};
    for (size_t i = 0; i < sizeof wholly / sizeof *wholly; i++) {
        for (size_t k = 0; k < KINDS; k++) {
            void *record = calloc(1, kinds[k].size);
            assert_int_equal(kinds[k].decode(wholly[i], strlen(wholly[i]), record, NULL), -1);
            free(record);
        }
    }
}

static void an_entry_that_waits_for_nobody_is_read_and_written(void **state)
{
    (void)state;
    char *text =
        with(good_permit, "[{\"k\":1", "[{\"k\":0,\"members\":[]},{\"k\":1,\"first\":true");
    struct permit_record permit;
    assert_int_equal(permit_record_decode(text, strlen(text), &permit, NULL), 0);
    assert_int_equal(permit.sync_len, 2);
    assert_int_equal(permit.sync[0].k, 0);
    assert_int_equal(permit.sync[0].members_len, 0);
    assert_false(permit.sync[0].first);
    assert_true(permit.sync[1].first);
    size_t len;
    char *again = permit_record_encode(&permit, &len);
    assert_non_null(strstr(again, "\"sync\":[{\"k\":0,\"members\":[]},{\"k\":1,\"first\":true,"
                                  "\"members\":[\"pay_west\"]}]"));
    free(again);
    free(text);
}

static void unknown_members_are_passed_over(void **state)
{
    (void)state;
    char *text = with(good_permit, "\"node\"", "\"later\":{\"x\":[1]},\"node\"");
    struct permit_record expected = small_permit();
    struct permit_record found;
    assert_int_equal(permit_record_decode(text, strlen(text), &found, NULL), 0);
    assert_int_equal(epoch_compare(found.epoch, expected.epoch), 0);
    assert_string_equal(found.node, "pay-east");
    assert_true(found.system_id == expected.system_id);
    free(text);
}

static void a_text_longer_than_the_limit_is_not_even_parsed(void **state)
{
    (void)state;
    size_t len = RECORD_TEXT_MAX + 1;
    char *text = malloc(len);
    memset(text, '[', len);
    for (size_t k = 0; k < KINDS; k++) {
        void *record = calloc(1, kinds[k].size);
        struct err err = {0};
        assert_int_equal(kinds[k].decode(text, len, record, &err), -1);
        assert_int_equal(err.code, ERR_LIMIT);
        /* Deep, but within the limit. */
        assert_int_equal(kinds[k].decode(text, len - 1, record, &err), -1);
        assert_int_equal(err.code, ERR_INVALID);
        free(record);
    }
    free(text);
}

static void a_workflow_that_contradicts_itself_is_refused(void **state)
{
    (void)state;
    struct group_record *g = calloc(1, sizeof *g);
    struct group_record *again = calloc(1, sizeof *again);
    struct err err = {0};
    size_t len;
    fill_group(g);
    g->workflow.moves[2].candidate[0] = '\0';
    char *text = group_record_encode(g, &len);
    assert_int_equal(group_record_decode(text, len, again, &err), -1);
    assert_string_equal(err.text, "group.workflow.moves: move 2 is in the phase verify, but names "
                                  "no candidate");
    free(text);
    fill_group(g);
    memcpy(g->workflow.moves[1].database, g->workflow.moves[0].database, NAME_SIZE);
    text = group_record_encode(g, &len);
    assert_int_equal(group_record_decode(text, len, again, &err), -1);
    assert_non_null(strstr(err.text, "is moved twice"));
    free(text);
    fill_group(g);
    g->workflow.moves_len = 0;
    text = group_record_encode(g, &len);
    assert_int_equal(group_record_decode(text, len, again, &err), -1);
    free(text);
    free(g);
    free(again);
}

/* ---- Mutations
 * -------------------------------------------------------------------------------------------------
 */

/* What is read of a damaged text is either refused, or a record that is written and read like any
 * other. */
static void try_damaged(const struct kind *kind, const char *text, size_t len, void *record,
                        void *again)
{
    memset(record, 0x5a, kind->size);
    struct err err = {0};
    if (kind->decode(text, len, record, &err) < 0) {
        assert_true(err.code != ERR_NONE && err.text[0] != '\0');
        for (size_t i = 0; i < kind->size; i++) {
            assert_true(((unsigned char *)record)[i] == 0x5a);
        }
        return;
    }
    size_t first_len;
    size_t second_len;
    char *first = kind->encode(record, &first_len);
    assert_int_equal(kind->decode(first, first_len, again, &err), 0);
    char *second = kind->encode(again, &second_len);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void a_damaged_record_is_refused_or_read_whole(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        void *record = calloc(1, kinds[k].size);
        void *again = calloc(1, kinds[k].size);
        kinds[k].fill(record);
        size_t len;
        char *text = kinds[k].encode(record, &len);
        char *damaged = malloc(len);
        uint64_t seed = k;
        /* Every place of a short record, some hundreds of a long one. */
        size_t step = len / 400 + 1;
        for (size_t at = 0; at < len; at += step) {
            memcpy(damaged, text, len);
            damaged[at] = (char)(damaged[at] ^ (1 << (next_random(&seed) % 8)));
            try_damaged(&kinds[k], damaged, len, record, again);
            damaged[at] = "0\"{}[],:-x"[next_random(&seed) % 10];
            try_damaged(&kinds[k], damaged, len, record, again);
            try_damaged(&kinds[k], text, at, record, again); /* cut */
        }
        free(damaged);
        free(text);
        free(record);
        free(again);
    }
}

static void every_byte_of_an_everyday_permit_can_be_damaged(void **state)
{
    (void)state;
    struct permit_record p = small_permit();
    struct permit_record record;
    struct permit_record again;
    size_t len;
    char *text = permit_record_encode(&p, &len);
    char *damaged = malloc(len);
    for (size_t at = 0; at < len; at++) {
        for (int value = 0; value < 256; value++) {
            memcpy(damaged, text, len);
            damaged[at] = (char)value;
            try_damaged(&kinds[0], damaged, len, &record, &again);
        }
        try_damaged(&kinds[0], text, at, &record, &again);
    }
    free(damaged);
    free(text);
}

/* ---- The configuration
 * ----------------------------------------------------------------------------------------- */

static void a_configuration_keeps_its_history_newest_first(void **state)
{
    (void)state;
    struct config_record record = {0};
    for (int i = 0; i < CONFIG_HISTORY_MAX + 5; i++) {
        char text[32];
        snprintf(text, sizeof text, "cluster: c%d\n", i);
        assert_int_equal(config_record_apply(&record, text, "alice", "try", 1000 + i), 0);
    }
    size_t len;
    char *json = config_record_encode(&record, &len);
    struct config_record again;
    assert_int_equal(config_record_decode(json, len, &again, NULL), 0);
    assert_string_equal(again.current.text, "cluster: c14\n");
    assert_string_equal(again.current.applied_by, "alice");
    assert_string_equal(again.current.reason, "try");
    assert_true(again.current.at_wall_ms == 1014);
    assert_int_equal(again.history_len, CONFIG_HISTORY_MAX);
    assert_string_equal(again.history[0].text, "cluster: c13\n");
    assert_string_equal(again.history[CONFIG_HISTORY_MAX - 1].text, "cluster: c4\n");
    size_t again_len;
    char *again_json = config_record_encode(&again, &again_len);
    assert_string_equal(json, again_json);
    free(json);
    free(again_json);
    config_record_done(&record);
    config_record_done(&again);
    assert_null(again.current.text);
    assert_int_equal(again.history_len, 0);
}

static void a_long_history_gives_way_and_the_newest_text_never(void **state)
{
    (void)state;
    struct config_record record = {0};
    char *text = malloc(DEFINITION_TEXT_MAX + 1);
    memset(text, '\n', DEFINITION_TEXT_MAX); /* each is escaped by two */
    text[DEFINITION_TEXT_MAX] = '\0';
    for (int i = 0; i < 4; i++) {
        text[0] = (char)('a' + i);
        assert_int_equal(config_record_apply(&record, text, "alice", "", i), 0);
    }
    size_t len;
    char *json = config_record_encode(&record, &len);
    assert_true(len <= CONFIG_RECORD_MAX);
    struct config_record again;
    assert_int_equal(config_record_decode(json, len, &again, NULL), 0);
    assert_int_equal(again.history_len, 0);
    assert_string_equal(again.current.text, text);
    config_record_done(&again);
    free(json);
    /* Shorter ones share the room. */
    config_record_done(&record);
    text[150 << 10] = '\0';
    for (int i = 0; i < 4; i++) {
        assert_int_equal(config_record_apply(&record, text, "alice", "", i), 0);
    }
    json = config_record_encode(&record, &len);
    assert_true(len <= CONFIG_RECORD_MAX);
    assert_int_equal(config_record_decode(json, len, &again, NULL), 0);
    assert_int_equal(again.history_len, 1);
    config_record_done(&again);
    config_record_done(&record);
    free(json);
    free(text);
}

static void a_configuration_changed_by_hand_is_refused(void **state)
{
    (void)state;
    struct config_record record = {0};
    assert_int_equal(config_record_apply(&record, "cluster: shop\n", "alice", "", 5), 0);
    assert_int_equal(config_record_apply(&record, "cluster: shop2\n", "alice", "", 6), 0);
    size_t len;
    char *json = config_record_encode(&record, &len);
    static const char *const changes[][2] = {{"shop2", "shop3"},
                                             {"cluster: shop\\n", "cluster: shot\\n"},
                                             {"\"schema\":1", "\"schema\":9"},
                                             {"\"applied_by\":\"alice\"", "\"applied_by\":7"},
                                             {"\"text\":\"cluster: shop2\\n\",", ""}};
    static const char *const complaints[] = {"config.hash: found", "config.history[0].hash: found",
                                             "config.schema: found 9, written by a newer version",
                                             "config.applied_by: found 7",
                                             "config.text: is missing"};
    for (size_t i = 0; i < sizeof complaints / sizeof *complaints; i++) {
        char *changed = with(json, changes[i][0], changes[i][1]);
        struct config_record again;
        struct err err = {0};
        assert_int_equal(config_record_decode(changed, strlen(changed), &again, &err), -1);
        if (strstr(err.text, complaints[i]) != err.text) {
            fail_msg("expected \"%s\", found \"%s\"", complaints[i], err.text);
        }
        free(changed);
    }
    char *damaged = malloc(len);
    for (size_t at = 0; at < len; at++) {
        memcpy(damaged, json, len);
        damaged[at] = (char)(damaged[at] ^ 0x11);
        struct config_record again;
        if (config_record_decode(damaged, len, &again, NULL) == 0) {
            config_record_done(&again);
        }
        assert_int_equal(config_record_decode(json, at, &again, NULL), -1);
    }
    free(damaged);
    free(json);
    config_record_done(&record);
}

static void epochs_are_ordered_by_incarnation_first(void **state)
{
    (void)state;
    assert_true(epoch_compare((struct epoch){1, 9}, (struct epoch){2, 1}) < 0);
    assert_true(epoch_compare((struct epoch){2, 1}, (struct epoch){1, 9}) > 0);
    assert_true(epoch_compare((struct epoch){2, 1}, (struct epoch){2, 2}) < 0);
    assert_int_equal(epoch_compare((struct epoch){2, 2}, (struct epoch){2, 2}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_permit_reads_as_one_would_write_it),
        cmocka_unit_test(the_largest_record_of_each_kind_is_read_back_the_same),
        cmocka_unit_test(a_group_at_rest_has_no_workflow),
        cmocka_unit_test(a_device_s_bytes_that_are_no_text_do_not_stop_a_record),
        cmocka_unit_test(nonsense_is_refused_with_its_path_and_leaves_the_output_alone),
        cmocka_unit_test(an_entry_that_waits_for_nobody_is_read_and_written),
        cmocka_unit_test(unknown_members_are_passed_over),
        cmocka_unit_test(a_text_longer_than_the_limit_is_not_even_parsed),
        cmocka_unit_test(a_workflow_that_contradicts_itself_is_refused),
        cmocka_unit_test(a_damaged_record_is_refused_or_read_whole),
        cmocka_unit_test(every_byte_of_an_everyday_permit_can_be_damaged),
        cmocka_unit_test(a_configuration_keeps_its_history_newest_first),
        cmocka_unit_test(a_long_history_gives_way_and_the_newest_text_never),
        cmocka_unit_test(a_configuration_changed_by_hand_is_refused),
        cmocka_unit_test(epochs_are_ordered_by_incarnation_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
