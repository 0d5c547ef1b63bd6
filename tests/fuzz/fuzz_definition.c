/*
 * A cluster's definition: read whole, and then it can be written out and read again as the same; or
 * refused with complaints that have places, and nothing is touched.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/written.h"

static struct definition def, again;
static struct complaints complaints, complaints_again;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    size_t len;
    char *text = fuzz_rest(&fuzz, &len);
    fuzz_stain(&def, sizeof def);
    bool good = definition_read(text, len, &def, &complaints) == 0;
    expect_places(&complaints, text, len);
    if (good) {
        assert(complaints.errors == 0);
        char *first = written(&def);
        assert(definition_read(first, strlen(first), &again, &complaints_again) == 0);
        char *second = written(&again);
        assert(strcmp(first, second) == 0);
        assert(definition_diff(NULL, &def, &again) == 0);
        free(first);
        free(second);
    } else {
        assert(complaints.errors > 0 && complaints.len > 0);
        assert(fuzz_is_stained(&def, sizeof def));
    }
    free(text);
    return 0;
}
