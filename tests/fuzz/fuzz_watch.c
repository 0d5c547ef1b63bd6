/*
 * A watch's stream of bytes. Cut into any chunks it yields the same objects; each is decoded whole
 * or not at all. Around the real watch every event comes once, in order, however often the stream
 * breaks and is resumed, and the news do not depend on the chunks.
 *
 * The first byte seeds the chunks; "\nEND\n" in the input ends a stream, and the rest is the next
 * one.
 */
#include "controller/etcd/internal.h"
#include "controller/etcd/watch.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/virtual.h"

#define STREAMS_MAX 8
#define CLUSTER     UINT64_C(77)

/* ---- the splitter and the decoder ---- */

struct objects {
    uint64_t hash;
    int len;
    size_t limit;
};

static void expect_notice(const char *text, size_t len)
{
    struct etcd_notice notice;
    struct err err = {0};
    fuzz_stain(&notice, sizeof notice);
    if (etcd_decode_notice(text, len, &notice, &err) < 0) {
        assert(err.code == ERR_INVALID || err.code == ERR_LIMIT);
        fuzz_expect_err(&err);
        assert(fuzz_is_stained(&notice, sizeof notice));
        return;
    }
    assert(notice.reason < ETCD_REASONS && notice.events_len >= 0);
    if (notice.is_error) {
        fuzz_expect_words(notice.text);
    }
    for (int i = 0; i < notice.events_len; i++) {
        const struct etcd_kv *kv = &notice.events[i].kv;
        assert(kv->mod_revision > 0 && kv->key_len > 0 && kv->key[kv->key_len] == '\0');
        assert(kv->value[kv->value_len] == '\0');
    }
    etcd_notice_done(&notice);
}

static bool take_object(void *arg, const char *text, size_t len)
{
    struct objects *objects = arg;
    assert(len >= 2 && len <= objects->limit && text[0] == '{');
    for (size_t i = 0; i < len; i++) {
        objects->hash = (objects->hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    objects->hash += len;
    objects->len++;
    return true;
}

static bool look_at_object(void *arg, const char *text, size_t len)
{
    expect_notice(text, len);
    return take_object(arg, text, len);
}

/* From 1 to 64 bytes, most of them few. */
static size_t next_chunk(uint64_t *seed, size_t left)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    size_t chunk = 1 + (size_t)(*seed >> 33) % (1u << (*seed >> 40) % 7);
    return chunk < left ? chunk : left;
}

static int feed(const char *data, size_t len, size_t limit, uint64_t seed, etcd_object_fn fn,
                struct objects *ret_objects, struct err *ret_err)
{
    struct etcd_splitter splitter;
    int result = 0;
    *ret_objects = (struct objects){.limit = limit > 0 ? limit : ETCD_OBJECT_MAX};
    etcd_splitter_init(&splitter, limit);
    while (len > 0 && result == 0) {
        size_t chunk = seed == 0 ? len : next_chunk(&seed, len);
        result = etcd_splitter_feed(&splitter, data, chunk, fn, ret_objects, ret_err);
        data += chunk;
        len -= chunk;
    }
    etcd_splitter_done(&splitter);
    return result;
}

static void split(const char *data, size_t len, size_t limit, uint64_t seed)
{
    struct objects whole, chunked;
    struct err whole_err = {0}, chunked_err = {0};
    int a = feed(data, len, limit, 0, look_at_object, &whole, &whole_err);
    int b = feed(data, len, limit, seed, take_object, &chunked, &chunked_err);
    assert(a == b && whole.len == chunked.len && whole.hash == chunked.hash);
    assert(whole_err.code == chunked_err.code && strcmp(whole_err.text, chunked_err.text) == 0);
    if (a < 0) {
        fuzz_expect_err(&whole_err);
    }
}

/* ---- the watch, with a client that plays the input's streams ---- */

static struct {
    const char *streams[STREAMS_MAX];
    size_t lens[STREAMS_MAX];
    int streams_len, next;
    uint64_t seed; /* 0: each stream is one chunk */
    http_data_fn on_data;
    http_done_fn on_end;
    void *arg;
    bool open;
    etcd_done_fn answered;
    void *answered_arg;
    /* What the owner heard. */
    struct etcd_watch *watch;
    uint64_t heard;
    int64_t revision; /* of the last event */
    int64_t read_from;
    int news;
} world;

/* The linker puts these in the place of client.c's. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
struct loop *__wrap_etcd_loop(const struct etcd *etcd);
struct etcd_call *__wrap_etcd_range(struct etcd *etcd, const struct etcd_range *range,
                                    uint64_t within_ms, etcd_done_fn done, void *arg);
void __wrap_etcd_cancel(struct etcd_call *call);
struct http_op *__wrap_etcd_stream_start(struct etcd *etcd, const char *path, const char *body,
                                         uint64_t idle_ms, http_data_fn on_data, http_done_fn done,
                                         void *arg, int *ret_endpoint);
void __wrap_etcd_endpoint_failed(struct etcd *etcd, int number, const char *text);
bool __wrap_etcd_cluster_known(struct etcd *etcd, int number, uint64_t cluster_id);
const char *__wrap_etcd_endpoint_name(const struct etcd *etcd, int number);
uint64_t __wrap_etcd_jitter_ms(struct etcd *etcd, uint64_t below_ms);
void __wrap_http_cancel(struct http_op *op);

struct loop *__wrap_etcd_loop(const struct etcd *etcd)
{
    (void)etcd;
    return NULL;
}

struct etcd_call *__wrap_etcd_range(struct etcd *etcd, const struct etcd_range *range,
                                    uint64_t within_ms, etcd_done_fn done, void *arg)
{
    (void)etcd;
    (void)within_ms;
    assert(range->limit == 1 && range->min_revision >= 0);
    world.answered = done;
    world.answered_arg = arg;
    return (struct etcd_call *)&world;
}

void __wrap_etcd_cancel(struct etcd_call *call)
{
    (void)call;
    world.answered = NULL;
}

struct http_op *__wrap_etcd_stream_start(struct etcd *etcd, const char *path, const char *body,
                                         uint64_t idle_ms, http_data_fn on_data, http_done_fn done,
                                         void *arg, int *ret_endpoint)
{
    (void)etcd;
    (void)path;
    (void)idle_ms;
    assert(body != NULL && !world.open);
    world.on_data = on_data;
    world.on_end = done;
    world.arg = arg;
    world.open = true;
    *ret_endpoint = 0;
    return (struct http_op *)&world;
}

void __wrap_etcd_endpoint_failed(struct etcd *etcd, int number, const char *text)
{
    (void)etcd;
    assert(number == 0);
    fuzz_expect_words(text);
}

bool __wrap_etcd_cluster_known(struct etcd *etcd, int number, uint64_t cluster_id)
{
    (void)etcd;
    (void)number;
    return cluster_id == CLUSTER;
}

const char *__wrap_etcd_endpoint_name(const struct etcd *etcd, int number)
{
    (void)etcd;
    (void)number;
    return "e1";
}

uint64_t __wrap_etcd_jitter_ms(struct etcd *etcd, uint64_t below_ms)
{
    (void)etcd;
    (void)below_ms;
    return 0;
}

void __wrap_http_cancel(struct http_op *op)
{
    (void)op;
    world.open = false;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static void hear_bytes(const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        world.heard = (world.heard ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    }
    world.heard += len + 1;
}

static void hear(void *arg, const struct etcd_watch_news *news)
{
    (void)arg;
    world.news++;
    hear_bytes(&news->kind, sizeof news->kind);
    hear_bytes(&news->revision, sizeof news->revision);
    hear_bytes(news->text, strlen(news->text));
    switch (news->kind) {
    case ETCD_WATCH_EVENTS: assert(news->events_len > 0 && news->text[0] == '\0'); break;
    case ETCD_WATCH_BROKEN: fuzz_expect_words(news->text); break;
    default: break;
    }
    for (int i = 0; i < news->events_len; i++) {
        const struct etcd_kv *kv = &news->events[i].kv;
        assert(kv->mod_revision >= world.revision && kv->mod_revision >= world.read_from);
        world.revision = kv->mod_revision;
        hear_bytes(&kv->mod_revision, sizeof kv->mod_revision);
        hear_bytes(kv->key, kv->key_len);
        hear_bytes(kv->value, kv->value_len);
    }
    if (news->kind == ETCD_WATCH_COMPACTED) { /* as the owner does: it has read everything anew */
        world.read_from = news->revision < INT64_MAX ? news->revision + 1 : INT64_MAX;
        world.read_from = world.read_from > world.revision ? world.read_from : world.revision;
        world.revision = 0;
        etcd_watch_restart(world.watch, world.read_from);
    }
}

static void play_stream(void)
{
    const char *data = world.streams[world.next];
    size_t len = world.lens[world.next++];
    uint64_t seed = world.seed;
    while (world.open && len > 0) {
        size_t chunk = seed == 0 ? len : next_chunk(&seed, len);
        world.on_data(world.arg, data, chunk);
        data += chunk;
        len -= chunk;
    }
    if (world.open) {
        struct http_answer answer = {.status = 200, .body = ""};
        world.open = false;
        world.on_end(world.arg, &answer);
    }
}

static void play(uint64_t seed)
{
    virtual_reset();
    world.next = 0;
    world.seed = seed;
    world.heard = 0;
    world.revision = 0;
    world.read_from = 1;
    world.news = 0;
    world.answered = NULL;
    world.watch = etcd_watch_new(NULL, "/failover/shop/", true, 1, 5000, hear, NULL);
    while (world.next < world.streams_len) {
        if (world.open) {
            play_stream();
        } else if (world.answered != NULL) {
            etcd_done_fn answered = world.answered;
            struct etcd_reply reply = {.outcome = ETCD_OK};
            world.answered = NULL;
            answered(world.answered_arg, &reply);
        } else {
            assert(virtual_ring());
        }
    }
    etcd_watch_free(world.watch);
    world.open = false;
    assert(!virtual_ring());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    uint64_t seed = 1 + (uint64_t)fuzz_byte(&fuzz);
    char *streams[STREAMS_MAX] = {NULL};
    world.streams_len = 0;
    split((const char *)fuzz.data, fuzz.len, 0, seed);
    split((const char *)fuzz.data, fuzz.len, 64, seed);
    while (fuzz.len > 0 && world.streams_len < STREAMS_MAX) {
        int i = world.streams_len++;
        streams[i] = fuzz_piece(&fuzz, "\nEND\n", &world.lens[i]);
        world.streams[i] = streams[i];
    }
    play(0);
    uint64_t heard = world.heard;
    int news = world.news;
    play(seed);
    assert(heard == world.heard && news == world.news);
    for (int i = 0; i < world.streams_len; i++) {
        free(streams[i]);
    }
    return 0;
}
