/*
 * Words that others write and we read: synchronous_standby_names, LSNs, PostgreSQL's errors,
 * base64, and any text that is to be shown. What a guard writes for an entry, a controller reads as
 * that entry. The first byte says which.
 */
#include "controller/cluster/lsn.h"
#include "controller/cluster/records_json.h"
#include "controller/etcd/base64.h"
#include "fence/guard/guard_sync.h"
#include "probes/postgres_words.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>

/* Of controller/core/private.h, some of whose other names are libc's as well. */
bool sync_names_match(const char *names, const struct permit_record *permit);

static struct permit_record permit;

/* A permit as its decoder lets it through, with the input's names for members. */
static bool make_permit(struct fuzz *fuzz)
{
    memset(&permit, 0, sizeof permit);
    permit.sync_len = 1;
    struct sync_entry_record *entry = &permit.sync[0];
    entry->first = fuzz_byte(fuzz) % 2 == 0;
    unsigned k = fuzz_byte(fuzz);
    while (fuzz->len > 0 && entry->members_len < INSTANCES_MAX) {
        char *name = fuzz_text(fuzz, "\n");
        snprintf(entry->members[entry->members_len++], NAME_SIZE, "%s", name);
        free(name);
    }
    if (entry->members_len == 0) {
        return false;
    }
    entry->k = 1 + (int)(k % (unsigned)entry->members_len);
    snprintf(permit.database, sizeof permit.database, "payments");
    snprintf(permit.node, sizeof permit.node, "pay-east");
    permit.epoch = (struct epoch){1, 1};
    size_t len;
    char *text = permit_record_encode(&permit, &len);
    bool good = text != NULL && permit_record_decode(text, len, &permit, NULL) == 0;
    free(text);
    return good;
}

static void try_written_names(struct fuzz *fuzz)
{
    char names[SYNC_NAMES_SIZE];
    if (!make_permit(fuzz)) {
        return;
    }
    guard_sync_names(&permit.sync[0], names);
    assert(utf8_is_line(names) && strchr(names, '\'') == NULL);
    assert(sync_names_match(names, &permit));
    permit.sync[0].members[0][0] ^= 1;
    assert(!sync_names_match(names, &permit));
}

static void try_any_names(struct fuzz *fuzz)
{
    char *names = fuzz_text(fuzz, "\n");
    if (make_permit(fuzz) && sync_names_match(names, &permit)) {
        for (int i = 0; i < permit.sync[0].members_len; i++) {
            assert(strstr(names, permit.sync[0].members[i]) != NULL);
        }
    }
    free(names);
}

static void try_text(struct fuzz *fuzz)
{
    size_t len;
    char *bytes = fuzz_rest(fuzz, &len);
    char *mended = strndup(bytes, len);
    char *shown = strdup(mended);
    utf8_mend(mended);
    utf8_show(shown);
    assert(strlen(shown) <= strlen(mended) && utf8_is_line(shown));
    json_t *value = json_string(mended);
    assert(value != NULL);
    json_decref(value);
    char *again = strdup(shown);
    utf8_show(again);
    assert(strcmp(shown, again) == 0);
    free(again);
    free(shown);
    free(mended);
    free(bytes);
}

static void try_lsn(struct fuzz *fuzz)
{
    char *text = fuzz_text(fuzz, "\n");
    char shown[LSN_TEXT_SIZE];
    uint64_t lsn, again;
    fuzz_stain(&lsn, sizeof lsn);
    if (lsn_parse(text, &lsn)) {
        lsn_text(lsn, shown);
        assert(lsn_parse(shown, &again) && again == lsn);
    } else {
        assert(fuzz_is_stained(&lsn, sizeof lsn));
    }
    free(text);
}

static void try_base64(struct fuzz *fuzz)
{
    size_t len, data_len = 0;
    char *text = fuzz_rest(fuzz, &len);
    char *data = malloc(len / 4 * 3 + 2);
    if (base64_decode(text, len, data, &data_len) == 0) {
        char *again = malloc(BASE64_SIZE(data_len));
        base64_encode(data, data_len, again);
        while (len > 0 && text[len - 1] == '=') {
            len--;
        }
        assert(memcmp(text, again, len) == 0 && strspn(again + len, "=") == strlen(again + len));
        free(again);
    }
    free(data);
    free(text);
}

/* Only a refusal and a time-out, a hang or a cut are a primary's failure: words alone make none. */
static void try_errors(struct fuzz *fuzz)
{
    static struct pg_reply reply;
    memset(&reply, 0, sizeof reply);
    reply.outcome = (enum pg_outcome)(1 + fuzz_below(fuzz, PG_LOST));
    for (size_t i = 0; i < 5; i++) {
        reply.sqlstate[i] = (char)fuzz_byte(fuzz);
    }
    char *text = fuzz_text(fuzz, "\n");
    snprintf(reply.text, sizeof reply.text, "%s", text);
    free(text);
    enum cause open = postgres_open_cause(&reply);
    enum cause statement = postgres_statement_cause(&reply);
    assert(open > CAUSE_OK && open < CAUSES && statement > CAUSE_OK && statement < CAUSES);
    assert((open == CAUSE_REFUSED) == (reply.outcome == PG_REFUSED));
    assert(postgres_wait_cause(reply.text) < CAUSES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const tries[])(struct fuzz *) = {try_written_names, try_any_names, try_text,
                                                   try_lsn,           try_base64,    try_errors};
    struct fuzz fuzz = {data, size};
    tries[fuzz_below(&fuzz, sizeof tries / sizeof *tries)](&fuzz);
    return 0;
}
