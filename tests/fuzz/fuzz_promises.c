/*
 * The controllers' answers to a guard that asks for promises. Whatever comes, a promise is one only
 * if every member is what was asked for; the addresses that the guard keeps on disk may be
 * anything. What a guard asks, a controller understands.
 *
 * The input: the HTTP status, the file of addresses up to an empty line, the answer, in which NONCE
 * stands for this question's own.
 */
#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controller/api/ask.h"
#include "controller/base/http.h"
#include "controller/base/json.h"
#include "fence/guard/promises.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/virtual.h"

#define NODE     "pay-east"
#define DATABASE "payments"
#define BOOT     "8c5f9c2e-1b0a-4d7e-9f43-0a1b2c3d4e5f"
#define COUNTER  7

static struct {
    struct http_request request; /* of the question */
    bool asked;
    char nonce[64];
    int answers;
    bool promised;
} world;

/* ---- what a controller makes of the question ---- */

static void read_question(const char *body)
{
    struct err err = {0};
    struct ask_promise ask;
    json_t *root = json_parse(body, strlen(body), 4096, &err);
    assert(root != NULL && ask_promise(root, &ask, &err) == 0);
    assert(strcmp(ask.question.database, DATABASE) == 0 && strcmp(ask.question.node, NODE) == 0);
    assert(strcmp(ask.question.boot, BOOT) == 0 && ask.question.epoch.incarnation == 1);
    assert(ask.question.epoch.counter == COUNTER && strlen(ask.nonce) == 32);
    snprintf(world.nonce, sizeof world.nonce, "%s", ask.nonce);
    json_decref(root);
}

/* The linker puts these in the place of http.c's. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
struct http_op *__wrap_http_start(struct http *http, const struct http_request *request);
void __wrap_http_cancel(struct http_op *op);

struct http_op *__wrap_http_start(struct http *http, const struct http_request *request)
{
    (void)http;
    assert(strncmp(request->url, "https://", 8) == 0);
    assert(request->tls != NULL);
    if (request->body != NULL) {
        assert(!world.asked);
        world.asked = true;
        world.request = *request;
        read_question(request->body);
    }
    return (struct http_op *)&world;
}

void __wrap_http_cancel(struct http_op *op)
{
    (void)op;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

/* ---- the answer ---- */

static bool is_text(const json_t *root, const char *key, const char *text)
{
    const json_t *value = json_object_get(root, key);
    return json_is_string(value) && json_string_length(value) == strlen(text) &&
           strcmp(json_string_value(value), text) == 0;
}

static bool is_number(const json_t *object, const char *key, int number)
{
    const json_t *value = json_object_get(object, key);
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    if (json_is_integer(value)) {
        return json_integer_value(value) == number;
    }
    const char *digits = json_string_value(value); /* 007 is 7 as well */
    return digits != NULL && strcmp(digits + strspn(digits, "0"), text) == 0;
}

static bool is_to_this_question(const char *body, size_t len)
{
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *epoch = json_object_get(root, "epoch");
    bool good = json_is_true(json_object_get(root, "promised")) &&
                is_text(root, "database", DATABASE) && is_text(root, "node", NODE) &&
                is_text(root, "boot", BOOT) && is_text(root, "nonce", world.nonce) &&
                is_number(epoch, "incarnation", 1) && is_number(epoch, "counter", COUNTER);
    json_decref(root);
    return good;
}

static void on_answered(void *arg, const struct promise_answer *answer)
{
    (void)arg;
    world.answers++;
    world.promised = answer->promised;
    assert(answer->round == 3 && answer->promiser == 1);
    assert(memchr(answer->text, '\0', sizeof answer->text) != NULL);
    assert(answer->promised || answer->text[0] != '\0');
    assert(utf8_is_line(answer->text));
}

static char *with_nonce(const char *text, size_t len, size_t *ret_len)
{
    char *out = NULL;
    FILE *to = open_memstream(&out, ret_len);
    for (size_t i = 0; i < len;) {
        if (len - i >= 5 && memcmp(text + i, "NONCE", 5) == 0) {
            fputs(world.nonce, to);
            i += 5;
        } else {
            fputc(text[i++], to);
        }
    }
    fclose(to);
    return out;
}

static const char *keep(const char *text, size_t len)
{
    static char path[32];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("addresses", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    assert(ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {200, 403, 404, 500, 503, 0};
    struct fuzz fuzz = {data, size};
    int status = statuses[fuzz_below(&fuzz, sizeof statuses / sizeof *statuses)];
    size_t len, body_len;
    virtual_reset();
    memset(&world, 0, sizeof world);
    char *addresses = fuzz_piece(&fuzz, "\n\n", &len);
    struct promises_params params = {.node = NODE, .boot = BOOT, .path = keep(addresses, len)};
    free(addresses);
    struct promises *promises = promises_new(NULL, NULL, &params);
    virtual_ring(); /* those that are known are asked for nothing */
    struct epoch epoch = {.incarnation = 1, .counter = COUNTER};
    promises_ask(promises, DATABASE, epoch, 3, 1, "ops1", 500, on_answered, NULL);
    assert(world.asked && world.answers == 0);
    char *piece = fuzz_rest(&fuzz, &len);
    char *body = with_nonce(piece, len, &body_len);
    free(piece);
    struct http_answer answer = {.status = status, .body = body, .body_len = body_len};
    if (status == 0) {
        err_set(&answer.err, ERR_TIMEOUT, "no answer");
    }
    world.request.done(world.request.arg, &answer);
    assert(world.answers == 1);
    assert(!world.promised || (status == 200 && is_to_this_question(body, body_len)));
    free(body);
    promises_free(promises);
    assert(!virtual_ring());
    return 0;
}
