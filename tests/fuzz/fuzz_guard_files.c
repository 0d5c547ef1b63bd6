/*
 * What a guard reads from disk: its durable state, the state of this boot, and what pg_controldata
 * prints. Read whole and then it can be stored and read again as the same; or refused (the boot
 * state: not known), and nothing is touched. The first byte says which.
 */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fence/guard/control.h"
#include "fence/guard/files.h"
#include "tests/fuzz/fuzz.h"

#define BOOT "8c5f9c2e-1b0a-4d7e-9f43-0a1b2c3d4e5f"

static char directory[64];
static char stored[96]; /* where a state is stored */
static char given[32];  /* where the input is read from: a file in memory */
static int given_fd;

static void leave(void)
{
    unlink(stored);
    rmdir(directory);
}

static void begin(void)
{
    if (directory[0] != '\0') {
        return;
    }
    snprintf(directory, sizeof directory, "/dev/shm/fuzz-guard.XXXXXX");
    assert(mkdtemp(directory) != NULL);
    snprintf(stored, sizeof stored, "%s/payments.json", directory);
    given_fd = memfd_create("given", MFD_CLOEXEC);
    assert(given_fd >= 0);
    snprintf(given, sizeof given, "/proc/self/fd/%d", given_fd);
    atexit(leave);
}

static void give(const char *text, size_t len)
{
    assert(ftruncate(given_fd, 0) == 0);
    assert(pwrite(given_fd, text, len, 0) == (ssize_t)len);
}

/* What is stored; to be freed. */
static char *stored_text(void)
{
    bool missing;
    char *text = malloc(FILES_TEXT_MAX);
    assert(text != NULL && files_read(stored, text, FILES_TEXT_MAX, &missing, NULL) > 0);
    return text;
}

static void expect_same(char *first, char *second)
{
    assert(strcmp(first, second) == 0);
    free(first);
    free(second);
}

static void try_durable(const char *text, size_t len)
{
    static struct guard_durable durable, again;
    struct err err = {0};
    give(text, len);
    fuzz_stain(&durable, sizeof durable);
    if (files_read_durable(given, &durable, &err) < 0) {
        fuzz_expect_err(&err);
        assert(strncmp(err.text, given, strlen(given)) == 0);
        assert(fuzz_is_stained(&durable, sizeof durable));
        return;
    }
    assert(durable.obeyed_revision >= 0 && durable.cut_for >= 0);
    assert(files_write_durable(stored, &durable, &err) == 0);
    char *first = stored_text();
    assert(files_read_durable(stored, &again, &err) == 0);
    assert(files_write_durable(stored, &again, &err) == 0);
    expect_same(first, stored_text());
}

static void try_kept(const char *text, size_t len)
{
    static struct guard_boot_state kept, again;
    struct err err = {0};
    give(text, len);
    fuzz_stain(&kept, sizeof kept);
    files_read_kept(given, BOOT, &kept);
    if (!kept.known) {
        assert(kept.valid_until_ms == 0 && !kept.armed && !kept.permit.known);
        return;
    }
    assert(kept.permit.known && kept.permit.revision >= 1);
    assert(kept.permit.promisers_len >= 0 && kept.permit.promisers_len <= GUARD_PROMISERS_MAX);
    assert(kept.sync.len >= 0 && kept.sync.len <= SYNC_ENTRIES_MAX);
    assert(files_write_kept(stored, "payments", BOOT, &kept, &err) == 0);
    char *first = stored_text();
    files_read_kept(stored, BOOT, &again);
    assert(again.known);
    assert(files_write_kept(stored, "payments", BOOT, &again, &err) == 0);
    expect_same(first, stored_text());
    files_read_kept(stored, "another-boot", &again);
    assert(!again.known);
}

/* The one value that lets a former primary be started again without a copy of its WAL. */
static bool says_shut_down(const char *text)
{
    static const char key[] = "Database cluster state:";
    const char *at = strstr(text, key);
    if (at == NULL) {
        return false;
    }
    at += strlen(key);
    at += strspn(at, " ");
    return strncmp(at, "shut down", 9) == 0 && (at[9] == '\n' || at[9] == '\0');
}

static void try_control(const char *bytes, size_t len)
{
    char *text = strndup(bytes, len);
    struct guard_seen seen;
    fuzz_stain(&seen, sizeof seen);
    if (!control_read(text, &seen)) {
        assert(fuzz_is_stained(&seen, sizeof seen));
    } else {
        assert(seen.control <= GUARD_CONTROL_PRIMARY_CRASH);
        assert((seen.control == GUARD_CONTROL_PRIMARY_CLEAN) == says_shut_down(text));
    }
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    unsigned which = fuzz_below(&fuzz, 3);
    size_t len;
    char *text = fuzz_rest(&fuzz, &len);
    begin();
    switch (which) {
    case 0: try_durable(text, len); break;
    case 1: try_kept(text, len); break;
    default: try_control(text, len); break;
    }
    free(text);
    return 0;
}
