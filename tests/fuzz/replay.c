/*
 * replay.c - the main of a fuzz target outside of the preset `fuzz`: what the searches have kept is
 * tried again, with gcc's sanitizers, as a unit test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <limits.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (4u << 20)

static void try_file(const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    uint8_t *data = malloc(INPUT_MAX);
    assert_non_null(data);
    size_t len = fread(data, 1, INPUT_MAX, file);
    assert_true(len < INPUT_MAX && ferror(file) == 0);
    (void)fclose(file);
    uint8_t *exact = malloc(len > 0 ? len : 1);
    assert_non_null(exact);
    memcpy(exact, data, len);
    free(data);
    (void)fprintf(stderr, "%s\n", path);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

static int try_all(const char *kind)
{
    char path[PATH_MAX];
    int tried = 0;
    (void)snprintf(path, sizeof path, "%s/tests/fuzz/%s/%s", FAILOVER_SOURCE, kind, FUZZ_NAME);
    DIR *dir = opendir(path);
    for (struct dirent *entry = NULL; dir != NULL && (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(path, sizeof path, "%s/tests/fuzz/%s/%s/%s", FAILOVER_SOURCE, kind,
                           FUZZ_NAME, entry->d_name);
            try_file(path);
            tried++;
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    return tried;
}

static void every_input_that_is_kept_passes(void **state)
{
    (void)state;
    assert_true(try_all("corpus") > 0);
}

/* There may be none. */
static void every_input_that_once_failed_passes(void **state)
{
    (void)state;
    (void)try_all("regressions");
}

static void an_empty_input_passes(void **state)
{
    (void)state;
    uint8_t nothing = 0;
    LLVMFuzzerTestOneInput(&nothing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_input_passes),
        cmocka_unit_test(every_input_that_is_kept_passes),
        cmocka_unit_test(every_input_that_once_failed_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
