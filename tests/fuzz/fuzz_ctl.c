/*
 * failoverctl's reading of what controllers answer: whatever comes, the command ends with one of
 * its exit codes, and nothing that it prints drives a terminal (but --json and a definition's text,
 * which are as they were stored).
 *
 * The input: which command, then answers in the order of asking, "\nEND\n" between them, each with
 * its HTTP status in front; behind the last nobody answers.
 */
#include "controller/ctl/ctl.h"

#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/http.h"
#include "controller/base/loop.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/virtual.h"

#define ASKED_MAX 2000
#define ID        "req-5f0c3a9e12b47d88"

static struct {
    struct fuzz fuzz;
    struct http_request request;
    bool asking;
    int asked;
} world;

static void answer(void)
{
    static const int statuses[] = {200, 202, 400, 403, 404, 409, 413, 500, 503, 0};
    bool nobody = world.fuzz.len == 0;
    int status = statuses[fuzz_below(&world.fuzz, sizeof statuses / sizeof *statuses)];
    size_t len;
    char *piece = fuzz_piece(&world.fuzz, "\nEND\n", &len);
    char *body = strndup(piece, len); /* NUL-terminated, as the HTTP client's */
    free(piece);
    struct http_answer http = {.status = status, .sent = true, .body = body};
    http.body_len = strlen(body);
    if (nobody || status == 0) {
        err_set(&http.err, ERR_TIMEOUT, "no answer within 5000 ms");
        http.sent = !nobody;
        http.refused = nobody;
    }
    virtual_pass(10);
    world.asking = false;
    world.request.done(world.request.arg, &http);
    free(body);
}

/* The linker puts these in the place of the HTTP client's, the loop's and libc's. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
struct http *__wrap_http_new(struct loop *loop);
void __wrap_http_free(struct http *http);
struct http_op *__wrap_http_start(struct http *http, const struct http_request *request);
void __wrap_http_cancel(struct http_op *op);
struct loop *__wrap_loop_new(void);
void __wrap_loop_free(struct loop *loop);
bool __wrap_loop_run_until(struct loop *loop, const bool *done, uint64_t within_ms);
int __wrap_usleep(useconds_t us);
int __wrap_isatty(int fd);

struct http *__wrap_http_new(struct loop *loop)
{
    (void)loop;
    return (struct http *)&world;
}

void __wrap_http_free(struct http *http)
{
    (void)http;
}

struct http_op *__wrap_http_start(struct http *http, const struct http_request *request)
{
    (void)http;
    assert(!world.asking && utf8_is_line(request->url) && strchr(request->url, ' ') == NULL);
    assert(++world.asked < ASKED_MAX);
    world.request = *request;
    world.asking = true;
    return (struct http_op *)&world;
}

void __wrap_http_cancel(struct http_op *op)
{
    (void)op;
    world.asking = false;
}

struct loop *__wrap_loop_new(void)
{
    return (struct loop *)&world;
}

void __wrap_loop_free(struct loop *loop)
{
    (void)loop;
}

bool __wrap_loop_run_until(struct loop *loop, const bool *done, uint64_t within_ms)
{
    (void)loop;
    (void)within_ms;
    while (!*done) {
        assert(world.asking);
        answer();
    }
    return true;
}

int __wrap_usleep(useconds_t us)
{
    virtual_pass(us / 1000);
    return 0;
}

int __wrap_isatty(int fd)
{
    (void)fd;
    return 0;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

struct command {
    const char *words[8];
    bool raw; /* its standard output is as it was stored */
};

static const struct command asked[] = {
    {{"status"}, false},
    {{"status", "--json"}, true},
    {{"config", "show"}, true},
    {{"config", "history"}, false},
    {{"config", "diff"}, false},
    {{"config", "rollback", "1", "--reason", "why", "--yes"}, false},
    {{"explain", "shop"}, false},
    {{"plan", "failover", "shop"}, false},
    {{"workflow", "show", "shop"}, false},
    {{"workflow", "retry", "shop", "--reason", "why"}, false},
    {{"alarms"}, false},
    {{"alarms", "ack", "fence.pay-east", "--reason", "why"}, false},
    {{"failover", "shop", "--yes", "--reason", "why"}, false},
    {{"pause", "shop", "--reason", "why"}, false},
    {{"adopt", "shop", "--yes", "--reason", "why"}, false},
    {{"confirm-fenced", "pay-east", "--yes", "--reason", "why"}, false},
    {{"request", "show", ID}, false},
    {{"request", "wait", ID, "--timeout", "5"}, false},
    {{"incident", "list"}, false},
    {{"incident", "show"}, false},
    {{"events"}, false},
    {{"apply", FAILOVER_SOURCE "/deploy/example/cluster.yaml", "--yes", "--reason", "why"}, false},
};

static void expect_lines(const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char *line = strndup(text, len);
        assert(utf8_is_line(line));
        free(line);
        text += len + (text[len] == '\n' ? 1 : 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    virtual_reset();
    memset(&world, 0, sizeof world);
    world.fuzz = (struct fuzz){data, size};
    const struct command *command = &asked[fuzz_below(&world.fuzz, sizeof asked / sizeof *asked)];
    const char *args[16] = {"failoverctl", "--socket", "/nowhere/one.sock", "--socket",
                            "/nowhere/two.sock"};
    int args_len = 5;
    for (int i = 0; i < 8 && command->words[i] != NULL; i++) {
        args[args_len++] = command->words[i];
    }
    char *out = NULL, *complaints = NULL;
    size_t out_len, complaints_len;
    FILE *const real_out = stdout, *const real_err = stderr;
    stdout = open_memstream(&out, &out_len);
    stderr = open_memstream(&complaints, &complaints_len);
    int code = ctl_main(args_len, (char **)args);
    fclose(stdout);
    fclose(stderr);
    stdout = real_out;
    stderr = real_err;
    assert(code >= CTL_DONE && code <= CTL_UNREACHABLE);
    assert(strlen(out) == out_len || command->raw);
    if (!command->raw) {
        expect_lines(out);
    }
    expect_lines(complaints);
    free(out);
    free(complaints);
    return 0;
}
