/* A program's own file, local.yaml: as a definition is read (fuzz_definition.c). */
#include "tests/fuzz/fuzz.h"
#include "tests/unit/written.h"

static struct local_config config, again;
static struct complaints complaints, complaints_again;

/* What is not written out below still holds what its readers count on. */
static void expect_whole(const struct local_config *local)
{
    assert(local->api_allowed_len >= 0 && local->api_allowed_len <= LOCAL_ALLOWED_MAX);
    for (int i = 0; i < local->api_allowed_len; i++) {
        assert(local->api_allowed[i].role >= 0 && local->api_allowed[i].role < ROLES);
        assert(local_allowed(local, local->api_allowed[i].name) == &local->api_allowed[i]);
    }
    assert((local->api_listen[0] != '\0') == (local->api_cert[0] != '\0'));
    assert((local->api_listen[0] != '\0') == (local->api_key[0] != '\0'));
    assert((local->api_listen[0] != '\0') == (local->api_client_ca[0] != '\0'));
    assert(local->guard.instances_len >= 0 && local->guard.instances_len <= DATABASES_MAX);
    for (int i = 0; i < local->guard.instances_len; i++) {
        assert(local->guard.instances[i].data_dir[0] == '/' && local->guard.instances[i].port > 0);
    }
    for (int i = 0; i < local->commands_len; i++) {
        assert(local_command(local, local->commands[i].name) == &local->commands[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    size_t len;
    char *text = fuzz_rest(&fuzz, &len);
    fuzz_stain(&config, sizeof config);
    bool good = local_read(text, len, &config, &complaints) == 0;
    expect_places(&complaints, text, len);
    if (good) {
        expect_whole(&config);
        char *first = written_local(&config);
        assert(local_read(first, strlen(first), &again, &complaints_again) == 0);
        char *second = written_local(&again);
        assert(strcmp(first, second) == 0);
        free(first);
        free(second);
    } else {
        assert(complaints.errors > 0 && complaints.len > 0);
        assert(fuzz_is_stained(&config, sizeof config));
    }
    free(text);
    return 0;
}
