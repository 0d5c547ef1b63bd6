/*
 * What HAProxy's runtime API answers, or whatever else is behind that socket: the answers to `show
 * servers state payments_db` and `show stat`, an empty line behind each. The first byte says where
 * the answer is cut.
 */
#include "controller/act/haproxy_answer.h"
#include "tests/fuzz/fuzz.h"

#define BACKEND "payments_db"

static void expect_backend(const struct haproxy_backend *backend)
{
    assert(backend->servers_len >= 0 && backend->servers_len <= HAPROXY_SERVERS_MAX);
    for (int i = 0; i < backend->servers_len; i++) {
        const char *name = backend->servers[i].name;
        assert(haproxy_name_ok(name, strlen(name)));
        assert(!haproxy_server_open(&backend->servers[i]) ||
               !haproxy_server_closed(&backend->servers[i]));
        for (int j = 0; j < i; j++) {
            assert(strcmp(name, backend->servers[j].name) != 0);
        }
    }
}

/* Written as HAProxy writes it, it is read as the same. */
static void expect_round_trip(const struct haproxy_backend *backend)
{
    char *text = NULL;
    size_t len = 0;
    static struct haproxy_backend again;
    FILE *to = open_memstream(&text, &len);
    fprintf(to, "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state\n");
    for (int i = 0; i < backend->servers_len; i++) {
        fprintf(to, "3 %s %d %s 192.0.2.1 %u %u\n", BACKEND, i, backend->servers[i].name,
                backend->servers[i].op, backend->servers[i].admin);
    }
    fclose(to);
    assert(haproxy_read_state(text, len, BACKEND, &again, NULL) == 0);
    free(text);
    assert(again.servers_len == backend->servers_len);
    to = open_memstream(&text, &len);
    fprintf(to, "# pxname,svname,qcur,scur,\n");
    for (int i = 0; i < backend->servers_len; i++) {
        fprintf(to, "%s,%s,0,%u,\nother,x,0,y,\n", BACKEND, backend->servers[i].name,
                backend->servers[i].sessions);
    }
    fclose(to);
    assert(haproxy_read_stat(text, len, BACKEND, &again, NULL) == 0);
    free(text);
    assert(memcmp(again.servers, backend->servers,
                  (size_t)again.servers_len * sizeof *again.servers) == 0);
}

/* An answer that has come in part is none, and changes nothing about those before it. */
static void expect_same_when_cut(const char *text, size_t len, size_t cut)
{
    const char *whole = text, *part = text;
    size_t whole_len = len, part_len = cut;
    const char *a, *b;
    size_t a_len, b_len;
    while (haproxy_next_answer(&part, &part_len, &b, &b_len)) {
        assert(haproxy_next_answer(&whole, &whole_len, &a, &a_len));
        assert(a == b && a_len == b_len && memmem(a, a_len, "\n\n", 2) == NULL);
    }
}

static void read_answers(const char *text, size_t len)
{
    static struct haproxy_backend backend;
    const char *answer;
    size_t answer_len;
    struct err err = {0};
    memset(&backend, 0, sizeof backend);
    if (!haproxy_next_answer(&text, &len, &answer, &answer_len)) {
        answer = text;
        answer_len = len;
        len = 0;
    }
    int state = haproxy_read_state(answer, answer_len, BACKEND, &backend, &err);
    expect_backend(&backend);
    if (state < 0) {
        fuzz_expect_err(&err);
        return;
    }
    if (!haproxy_next_answer(&text, &len, &answer, &answer_len)) {
        answer = text;
        answer_len = len;
    }
    if (haproxy_read_stat(answer, answer_len, BACKEND, &backend, &err) < 0) {
        fuzz_expect_err(&err);
        return;
    }
    expect_backend(&backend);
    for (int i = 0; i < backend.servers_len; i++) {
        assert(backend.servers[i].counted);
    }
    expect_round_trip(&backend);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    unsigned cut = fuzz_byte(&fuzz);
    size_t len;
    char *text = fuzz_rest(&fuzz, &len);
    expect_same_when_cut(text, len, len * cut / 256);
    read_answers(text, len);
    free(text);
    return 0;
}
