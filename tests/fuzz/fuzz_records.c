/*
 * Every other record in etcd and in the copy of it (record.h): permits, renewals, guards' reports,
 * incidents, requests, controllers' views, the definition's key, the installation, the copy's file.
 * The first byte says which.
 */
#include "controller/cluster/store_copy.h"
#include "tests/fuzz/record.h"

FUZZ_KIND(permit)
FUZZ_KIND(renewal)
FUZZ_KIND(guard)
FUZZ_KIND(incident)
FUZZ_KIND(request)
FUZZ_KIND(controller)
FUZZ_KIND(config)

static void done_config(void *record)
{
    config_record_done(record);
}

static int decode_installation(const char *text, size_t len, void *ret_record, struct err *ret_err)
{
    return installation_decode(text, len, ret_record, ret_err);
}

static char *encode_installation(void *record, size_t *ret_len)
{
    return installation_encode(record, ret_len);
}

static int decode_copy(const char *text, size_t len, void *ret_record, struct err *ret_err)
{
    return store_copy_decode(text, len, ret_record, ret_err);
}

static char *encode_copy(void *record, size_t *ret_len)
{
    return store_copy_encode(record, ret_len);
}

static void done_copy(void *record)
{
    store_copy_done(record);
}

static union {
    struct permit_record permit;
    struct renewal_record renewal;
    struct guard_record guard;
    struct incident_record incident;
    struct request_record request;
    struct controller_record controller;
    struct config_record config;
    struct installation installation;
    struct store_copy copy;
} record, memory;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_kind kinds[] = {
        FUZZ_ROW(permit),
        FUZZ_ROW(renewal),
        FUZZ_ROW(guard),
        FUZZ_ROW(incident),
        FUZZ_ROW(request),
        FUZZ_ROW(controller),
        {.name = "config",
         .size = sizeof(struct config_record),
         .decode = decode_config,
         .encode = encode_config,
         .done = done_config},
        {.name = "installation",
         .size = sizeof(struct installation),
         .decode = decode_installation,
         .encode = encode_installation},
        {.name = "copy",
         .size = sizeof(struct store_copy),
         .decode = decode_copy,
         .encode = encode_copy,
         .done = done_copy,
         .unnamed = true},
    };
    struct fuzz fuzz = {data, size};
    const struct fuzz_kind *kind = &kinds[fuzz_below(&fuzz, sizeof kinds / sizeof *kinds)];
    size_t len;
    char *text = fuzz_rest(&fuzz, &len);
    fuzz_record(kind, text, len, &record, &memory);
    free(text);
    return 0;
}
