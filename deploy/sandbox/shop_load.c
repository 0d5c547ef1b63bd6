/*
 * shop_load.c - a steady load of transactions, each with an id of its own, and a record of every
 * attempt.
 *
 * The load is open: attempts start at their times whatever became of those before, as customers do.
 * The record has a line per attempt when its outcome is known: id, microseconds from the start at
 * which it was sent, outcome, microseconds that it took. Once a second a line of progress goes to
 * standard output.
 */
#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shop.h"

#define ATTEMPT_MS  1000 /* deadline of one transaction */
#define OPEN_MAX    4096 /* attempts under way; more are counted as failed, never sent */
#define ANSWER_MAX  1024
#define PROGRESS_US 500000

struct attempt {
    uint64_t number;
    uint64_t sent_us;
    size_t answer_len;
    char answer[ANSWER_MAX];
    char id[SHOP_ID_SIZE];
    char body[128];
};

struct load {
    const struct shop_options *options;
    char prefix[24];
    char urls[SHOP_TARGETS_MAX][SHOP_TEXT_SIZE];
    CURLM *multi;
    struct curl_slist *headers;
    FILE *record;
    uint64_t start_us;
    uint64_t started, open;
    uint64_t counts[3];
    uint64_t last_acked_us; /* 0: none yet */
    uint64_t gap_us, gap_from_us;
    uint64_t latency_max_us, latency_sum_us; /* of the acknowledged */
};

static size_t take_answer(char *data, size_t size, size_t len, void *arg)
{
    struct attempt *attempt = arg;
    size_t room = sizeof attempt->answer - 1 - attempt->answer_len;
    size_t take = size * len < room ? size * len : room;
    memcpy(attempt->answer + attempt->answer_len, data, take);
    attempt->answer_len += take;
    return size * len;
}

static void count(struct load *load, const struct attempt *attempt, enum shop_outcome outcome)
{
    uint64_t now = shop_now_us();
    uint64_t took = now - attempt->sent_us;
    load->counts[outcome]++;
    fprintf(load->record, "%s\t%llu\t%s\t%llu\n", attempt->id,
            (unsigned long long)(attempt->sent_us - load->start_us), shop_outcome_names[outcome],
            (unsigned long long)took);
    if (outcome != SHOP_ACKED) {
        return;
    }
    if (load->last_acked_us && now - load->last_acked_us > load->gap_us) {
        load->gap_us = now - load->last_acked_us;
        load->gap_from_us = load->last_acked_us;
    }
    load->last_acked_us = now;
    load->latency_sum_us += took;
    if (took > load->latency_max_us) {
        load->latency_max_us = took;
    }
}

/*
 * Only the service's own word makes an attempt failed, or a proxy that had nobody to send it to
 * (its 503), or a connection that was never made. Any other ending leaves open what the database
 * did.
 */
static enum shop_outcome judge(CURL *easy, CURLcode code, const struct attempt *attempt)
{
    long status = 0;
    const char *state = NULL;
    if (code == CURLE_COULDNT_CONNECT) {
        return SHOP_FAILED;
    }
    if (code != CURLE_OK) {
        return SHOP_UNKNOWN;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    json_t *body = json_loadb(attempt->answer, attempt->answer_len, 0, NULL);
    enum shop_outcome outcome = SHOP_UNKNOWN;
    if (body && json_unpack(body, "{s:s}", "state", &state) == 0) {
        if (status == 200 && strcmp(state, "committed") == 0) {
            outcome = SHOP_ACKED;
        } else if (status >= 400 && strcmp(state, "failed") == 0) {
            outcome = SHOP_FAILED;
        }
    } else if (status == 503) {
        outcome = SHOP_FAILED;
    }
    json_decref(body);
    return outcome;
}

static void start_attempt(struct load *load)
{
    struct attempt *attempt = calloc(1, sizeof *attempt);
    CURL *easy = curl_easy_init();
    if (!attempt || !easy) {
        fprintf(stderr, "shop: no memory\n");
        exit(1);
    }
    attempt->number = load->started++;
    attempt->sent_us = shop_now_us();
    snprintf(attempt->id, sizeof attempt->id, "%s-%llu", load->prefix,
             (unsigned long long)attempt->number);
    snprintf(attempt->body, sizeof attempt->body, "{\"id\":\"%s\",\"amount_cents\":%llu}",
             attempt->id, (unsigned long long)(attempt->number % 10000 + 1));
    const char *url = load->urls[attempt->number % (uint64_t)load->options->urls_len];
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)ATTEMPT_MS);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, load->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, attempt->body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, attempt);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, attempt);
    curl_multi_add_handle(load->multi, easy);
    load->open++;
}

static void finish_attempts(struct load *load)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(load->multi, &left))) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURL *easy = message->easy_handle;
        CURLcode code = message->data.result;
        char *private = NULL;
        curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
        struct attempt *attempt = (struct attempt *)(void *)private;
        count(load, attempt, judge(easy, code, attempt));
        curl_multi_remove_handle(load->multi, easy);
        curl_easy_cleanup(easy);
        free(attempt);
        load->open--;
    }
}

static void show_progress(const struct load *load)
{
    uint64_t now = shop_now_us();
    uint64_t silent_us = now - (load->last_acked_us ? load->last_acked_us : load->start_us);
    printf("acked %llu failed %llu unknown %llu silent_ms %llu\n",
           (unsigned long long)load->counts[SHOP_ACKED],
           (unsigned long long)load->counts[SHOP_FAILED],
           (unsigned long long)load->counts[SHOP_UNKNOWN], (unsigned long long)(silent_us / 1000));
    fflush(stdout);
    fflush(load->record); /* it can be audited while the load goes on */
}

static bool told_to_end(void)
{
    sigset_t ends;
    const struct timespec at_once = {0};
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    return sigtimedwait(&ends, NULL, &at_once) > 0;
}

/* Start what is due; false once the load shall end. */
static bool start_due(struct load *load)
{
    uint64_t elapsed = shop_now_us() - load->start_us;
    if (told_to_end() ||
        (load->options->seconds && elapsed >= (uint64_t)load->options->seconds * 1000000U)) {
        return false;
    }
    uint64_t due = elapsed * load->options->rate / 1000000U + 1;
    while (load->started < due && load->open < OPEN_MAX) {
        start_attempt(load);
    }
    return true;
}

static void run_load(struct load *load)
{
    uint64_t shown_us = 0;
    bool going = true;
    while (going || load->open) {
        int running;
        if (going) {
            going = start_due(load);
        }
        curl_multi_perform(load->multi, &running);
        finish_attempts(load);
        if (shop_now_us() - shown_us >= PROGRESS_US) {
            show_progress(load);
            shown_us = shop_now_us();
        }
        uint64_t next_us = load->start_us + load->started * 1000000U / load->options->rate;
        uint64_t now = shop_now_us();
        int wait_ms = going ? (next_us > now ? (int)((next_us - now) / 1000) + 1 : 0) : 20;
        curl_multi_poll(load->multi, NULL, 0, wait_ms < 20 ? wait_ms : 20, NULL);
    }
    show_progress(load);
}

static bool write_summary(const struct load *load, const char *path)
{
    uint64_t end_us = shop_now_us();
    uint64_t acked = load->counts[SHOP_ACKED];
    uint64_t tail_us = end_us - (load->last_acked_us ? load->last_acked_us : load->start_us);
    json_t *summary = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "kind", load->options->kind->name,
        "attempts", (json_int_t)load->started, "acked", (json_int_t)acked, "failed",
        (json_int_t)load->counts[SHOP_FAILED], "unknown", (json_int_t)load->counts[SHOP_UNKNOWN],
        "longest_gap_ms", (json_int_t)((load->gap_us + 500) / 1000), "gap_from_ms",
        (json_int_t)(load->gap_from_us ? (load->gap_from_us - load->start_us) / 1000 : 0),
        "silent_at_end_ms", (json_int_t)(tail_us / 1000), "latency_mean_us",
        (json_int_t)(acked ? load->latency_sum_us / acked : 0), "latency_max_us",
        (json_int_t)load->latency_max_us);
    FILE *file = path ? fopen(path, "we") : stdout;
    bool good = summary && file && json_dumpf(summary, file, JSON_INDENT(2)) == 0 &&
                fputc('\n', file) != EOF;
    if (path && file && fclose(file) != 0) {
        good = false;
    }
    json_decref(summary);
    return good;
}

static void choose_prefix(struct load *load)
{
    if (load->options->prefix) {
        snprintf(load->prefix, sizeof load->prefix, "%s", load->options->prefix);
        return;
    }
    uint64_t random = shop_now_us();
    if (getrandom(&random, sizeof random, 0) != sizeof random) {
        fprintf(stderr, "shop: no randomness: %s\n", strerror(errno));
        exit(1);
    }
    snprintf(load->prefix, sizeof load->prefix, "%016llx", (unsigned long long)random);
}

int shop_load(const struct shop_options *options)
{
    struct load load = {.options = options};
    choose_prefix(&load);
    for (int i = 0; i < options->urls_len; i++) {
        snprintf(load.urls[i], sizeof load.urls[i], "%s%s", options->urls[i], options->kind->path);
    }
    load.record = fopen(options->record, "we");
    if (!load.record) {
        fprintf(stderr, "shop: %s: %s\n", options->record, strerror(errno));
        return 1;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    load.multi = curl_multi_init();
    load.headers = curl_slist_append(NULL, "Content-Type: application/json");
    load.headers = curl_slist_append(load.headers, "Expect:");
    load.start_us = shop_now_us();
    run_load(&load);
    curl_slist_free_all(load.headers);
    curl_multi_cleanup(load.multi);
    curl_global_cleanup();
    bool good = fflush(load.record) == 0 && !ferror(load.record);
    good = fclose(load.record) == 0 && good;
    if (!good || !write_summary(&load, options->summary)) {
        fprintf(stderr, "shop: the record or the summary could not be written\n");
        return 1;
    }
    return 0;
}
