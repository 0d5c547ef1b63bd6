/*
 * The happy path: a small range asks who answers, whether we may read, and how far the store is
 * (the client's own failover, log-in and pinned cluster work there); then the stream is opened at
 * the same endpoint, says `created`, and brings events.
 *
 * Failures: whatever ends a stream passes broken(), which pauses and begins again with the range,
 * from the revision after the last delivered one. Silence for idle_ms ends the stream too, but says
 * nothing about the endpoint: the range will. Compaction passes compacted() and waits for the
 * owner.
 *
 * Exactly once: `done_revision` is the last one of which every event was delivered. Large batches
 * come in fragments that may split a revision; then the stream is resumed *at* that revision, and
 * as many of its events as were delivered are skipped (a revision's events have a fixed order).
 */
#include "controller/etcd/watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/etcd/internal.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_LAST_MS  1000
#define ASK_MS         4000
#define STABLE_MS      2000 /* a stream that lived so long makes the next pause short again */

enum watch_step {
    WATCH_PAUSED,  /* for its timer */
    WATCH_ASKING,  /* the range */
    WATCH_OPENING, /* the stream was asked for */
    WATCH_OPEN,
    WATCH_STOPPED, /* by compaction */
};

struct etcd_watch {
    struct etcd *etcd;
    char key[ETCD_KEY_MAX + 1];
    bool prefix;
    uint64_t idle_ms;
    etcd_watch_fn fn;
    void *arg;

    enum watch_step step;
    struct timer *timer;
    struct etcd_call *call;
    struct http_op *stream;
    struct etcd_splitter splitter;
    int endpoint; /* of the stream */
    uint64_t heard_ms;
    uint64_t opened_ms;
    uint64_t pause_ms;
    char told[ERR_TEXT_MAX]; /* of the trouble that lasts; "" after `started` */

    int64_t done_revision;
    int64_t part_revision; /* of which only part_len events were delivered; 0: none */
    int part_len;
    int skip_len; /* of part_revision's, after a resume */

    int busy; /* inside on_data(): freeing waits */
    bool freed;
};

static void close_stream(struct etcd_watch *watch)
{
    if (watch->call) {
        etcd_cancel(watch->call);
        watch->call = NULL;
    }
    if (watch->stream) {
        http_cancel(watch->stream);
        watch->stream = NULL;
    }
    etcd_splitter_done(&watch->splitter);
    timer_stop(watch->timer);
}

/* The owner may free the watch: the last thing that its caller does, or inside `busy`. */
static void tell(struct etcd_watch *watch, const struct etcd_watch_news *news)
{
    watch->fn(watch->arg, news);
}

static void pause_then_begin(struct etcd_watch *watch)
{
    if (watch->step == WATCH_OPEN && clock_now_ms() - watch->opened_ms >= STABLE_MS) {
        watch->pause_ms = 0;
    }
    watch->step = WATCH_PAUSED;
    timer_start(watch->timer, watch->pause_ms + etcd_jitter_ms(watch->etcd, PAUSE_FIRST_MS));
    watch->pause_ms = watch->pause_ms == 0 ? PAUSE_FIRST_MS : watch->pause_ms * 2;
    if (watch->pause_ms > PAUSE_LAST_MS) {
        watch->pause_ms = PAUSE_LAST_MS;
    }
}

/* One way for every break; the same trouble again is not told again. */
static void broken(struct etcd_watch *watch, enum etcd_reason reason, const char *text)
{
    struct etcd_watch_news news = {.kind = ETCD_WATCH_BROKEN, .reason = reason};
    char copy[ERR_TEXT_MAX];

    snprintf(copy, sizeof copy, "%s", text);
    close_stream(watch);
    pause_then_begin(watch);
    if (strcmp(copy, watch->told) == 0) {
        return;
    }
    memcpy(watch->told, copy, sizeof copy);
    news.text = copy;
    news.revision = watch->done_revision;
    tell(watch, &news);
}

static void broken_there(struct etcd_watch *watch, enum etcd_reason reason, const char *text)
{
    char with_name[ERR_TEXT_MAX];

    etcd_endpoint_failed(watch->etcd, watch->endpoint, text);
    snprintf(with_name, sizeof with_name, "%s: %.240s",
             etcd_endpoint_name(watch->etcd, watch->endpoint), text);
    broken(watch, reason, with_name);
}

static void compacted(struct etcd_watch *watch, int64_t revision)
{
    struct etcd_watch_news news = {.kind = ETCD_WATCH_COMPACTED,
                                   .revision = revision,
                                   .reason = ETCD_COMPACTED,
                                   .text = "history was compacted past the watch"};

    close_stream(watch);
    watch->step = WATCH_STOPPED;
    tell(watch, &news);
}

static void created(struct etcd_watch *watch, int64_t revision)
{
    struct etcd_watch_news news = {.kind = ETCD_WATCH_STARTED, .revision = revision, .text = ""};

    timer_stop(watch->timer);
    watch->step = WATCH_OPEN;
    watch->opened_ms = clock_now_ms();
    watch->told[0] = '\0';
    tell(watch, &news);
}

/* ---- Events ---- */

/* How many at the head were delivered before. */
static int count_known(struct etcd_watch *watch, const struct etcd_notice *notice)
{
    int known = 0;

    while (known < notice->events_len) {
        int64_t revision = notice->events[known].kv.mod_revision;

        if (revision == watch->part_revision && watch->skip_len > 0) {
            watch->skip_len--;
        } else if (revision > watch->done_revision) {
            break;
        }
        known++;
    }
    return known;
}

static bool in_order(const struct etcd_watch *watch, const struct etcd_notice *notice, int from)
{
    int64_t least = watch->done_revision + 1;

    for (int i = from; i < notice->events_len; i++) {
        if (notice->events[i].kv.mod_revision < least) {
            return false;
        }
        least = notice->events[i].kv.mod_revision;
    }
    return true;
}

static void mark_delivered(struct etcd_watch *watch, const struct etcd_notice *notice, int from)
{
    int64_t last = notice->events[notice->events_len - 1].kv.mod_revision;
    int of_last = watch->part_revision == last ? watch->part_len : 0;

    if (!notice->fragment) {
        watch->done_revision = last;
        watch->part_revision = 0;
        watch->part_len = 0;
        return;
    }
    for (int i = from; i < notice->events_len; i++) {
        of_last += notice->events[i].kv.mod_revision == last;
    }
    watch->done_revision = last - 1;
    watch->part_revision = last;
    watch->part_len = of_last;
}

static void take_events(struct etcd_watch *watch, const struct etcd_notice *notice)
{
    int known = count_known(watch, notice);
    struct etcd_watch_news news = {.kind = ETCD_WATCH_EVENTS,
                                   .events = notice->events + known,
                                   .events_len = notice->events_len - known,
                                   .text = ""};

    if (!in_order(watch, notice, known)) {
        broken_there(watch, ETCD_NO_REASON, "events out of order");
        return;
    }
    if (news.events_len == 0) {
        return;
    }
    mark_delivered(watch, notice, known);
    watch->pause_ms = 0; /* it makes progress, however often it breaks */
    news.revision = notice->events[notice->events_len - 1].kv.mod_revision;
    tell(watch, &news);
}

static void take_notice(struct etcd_watch *watch, const struct etcd_notice *notice)
{
    if (notice->is_error) {
        broken_there(watch, notice->reason, notice->text);
    } else if (!etcd_cluster_known(watch->etcd, watch->endpoint, notice->cluster_id)) {
        broken_there(watch, ETCD_WRONG_CLUSTER, "another cluster answers there");
    } else if (notice->canceled) {
        compacted(watch, notice->compact_revision);
    } else if (notice->created) {
        created(watch, notice->revision);
    } else if (notice->events_len > 0) {
        take_events(watch, notice);
    }
}

/* ---- The stream ---- */

static bool on_object(void *arg, const char *text, size_t len)
{
    struct etcd_watch *watch = arg;
    struct http_op *stream = watch->stream;
    struct etcd_notice notice;
    struct err err;

    if (etcd_decode_notice(text, len, &notice, &err) < 0) {
        broken_there(watch, ETCD_NO_REASON, err.text);
        return false;
    }
    take_notice(watch, &notice);
    etcd_notice_done(&notice);
    return !watch->freed && watch->stream == stream; /* else it was ended meanwhile */
}

static void watch_release(struct etcd_watch *watch)
{
    timer_free(watch->timer);
    free(watch);
}

static bool on_data(void *arg, const char *data, size_t len)
{
    struct etcd_watch *watch = arg;
    struct err err;

    watch->heard_ms = clock_now_ms();
    watch->busy++;
    if (etcd_splitter_feed(&watch->splitter, data, len, on_object, watch, &err) < 0 &&
        !watch->freed && watch->stream) {
        broken_there(watch, ETCD_NO_REASON, err.text);
    }
    watch->busy--;
    if (watch->freed) {
        watch_release(watch);
    }
    return true;
}

static void on_end(void *arg, const struct http_answer *answer)
{
    struct etcd_watch *watch = arg;
    char text[ERR_TEXT_MAX];

    watch->stream = NULL;
    if (answer->err.code == ERR_TIMEOUT) {
        watch->pause_ms = 0; /* silence is no failure of the endpoint */
        broken(watch, ETCD_NO_REASON, answer->err.text);
        return;
    }
    if (answer->err.code != ERR_NONE) {
        broken_there(watch, ETCD_NO_REASON, answer->err.text);
        return;
    }
    snprintf(text, sizeof text, "the stream ended (HTTP status %d)", answer->status);
    broken_there(watch, ETCD_NO_REASON, text);
}

static void open_stream(struct etcd_watch *watch)
{
    struct err err;
    int64_t from = watch->done_revision + 1;
    char *body = etcd_encode_watch(watch->key, watch->prefix, from, &err);

    assert(body); /* the key was encoded before */
    watch->skip_len = watch->part_revision == from ? watch->part_len : 0;
    etcd_splitter_init(&watch->splitter, 0);
    watch->step = WATCH_OPENING;
    timer_start(watch->timer, ETCD_ATTEMPT_MS);
    watch->stream = etcd_stream_start(watch->etcd, "/v3/watch", body, watch->idle_ms, on_data,
                                      on_end, watch, &watch->endpoint);
    free(body);
}

static void on_asked(void *arg, const struct etcd_reply *reply)
{
    struct etcd_watch *watch = arg;

    watch->call = NULL;
    if (reply->outcome == ETCD_OK) {
        open_stream(watch);
    } else {
        broken(watch, reply->reason, reply->text);
    }
}

static void begin(struct etcd_watch *watch)
{
    struct etcd_range range = {.key = watch->key,
                               .prefix = watch->prefix,
                               .limit = 1,
                               .min_revision = watch->done_revision,
                               .keys_only = true};

    watch->step = WATCH_ASKING;
    watch->call = etcd_range(watch->etcd, &range, ASK_MS, on_asked, watch);
}

static void on_timer(void *arg)
{
    struct etcd_watch *watch = arg;

    if (watch->step == WATCH_PAUSED) {
        begin(watch);
    } else {
        assert(watch->step == WATCH_OPENING);
        broken_there(watch, ETCD_NO_REASON, "a watch was asked for and nothing came");
    }
}

/* ---- Outside ---- */

void etcd_watch_restart(struct etcd_watch *watch, int64_t from_revision)
{
    assert(from_revision >= 1);
    close_stream(watch);
    watch->done_revision = from_revision - 1;
    watch->part_revision = 0;
    watch->part_len = 0;
    watch->pause_ms = 0;
    watch->step = WATCH_PAUSED;
    timer_start(watch->timer, 0);
}

struct etcd_watch *etcd_watch_new(struct etcd *etcd, const char *key, bool prefix,
                                  int64_t from_revision, uint64_t idle_ms, etcd_watch_fn fn,
                                  void *arg)
{
    struct etcd_watch *watch = calloc(1, sizeof *watch);

    assert(watch && strlen(key) <= ETCD_KEY_MAX && (prefix || key[0] != '\0'));
    watch->etcd = etcd;
    snprintf(watch->key, sizeof watch->key, "%s", key);
    watch->prefix = prefix;
    watch->idle_ms = idle_ms;
    watch->fn = fn;
    watch->arg = arg;
    watch->heard_ms = clock_now_ms();
    watch->timer = timer_new(etcd_loop(etcd), on_timer, watch);
    etcd_splitter_init(&watch->splitter, 0);
    etcd_watch_restart(watch, from_revision);
    return watch;
}

void etcd_watch_free(struct etcd_watch *watch)
{
    if (!watch) {
        return;
    }
    close_stream(watch);
    if (watch->busy) {
        watch->freed = true;
    } else {
        watch_release(watch);
    }
}

uint64_t etcd_watch_age_ms(const struct etcd_watch *watch)
{
    return clock_now_ms() - watch->heard_ms;
}

bool etcd_watch_open(const struct etcd_watch *watch)
{
    return watch->step == WATCH_OPEN;
}
