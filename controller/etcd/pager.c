#include "controller/etcd/pager.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/etcd/internal.h"

struct etcd_pager {
    struct etcd *etcd;
    char prefix[ETCD_KEY_MAX + 1];
    char after[ETCD_KEY_MAX + 1]; /* the last key of the last page; "": none yet */
    int64_t revision;
    int64_t keys; /* of the next page */
    uint64_t within_ms;
    struct etcd_call *call;
    etcd_page_fn fn;
    void *arg;
};

static void ask(struct etcd_pager *pager);

static void fail(struct etcd_pager *pager, enum etcd_outcome outcome, enum etcd_reason reason,
                 const char *text)
{
    struct etcd_page page = {
        .outcome = outcome, .reason = reason, .text = text, .revision = pager->revision};

    pager->fn(pager->arg, &page);
}

/* Remembers where the next page begins, before the owner may free us. */
static bool keep_place(struct etcd_pager *pager, const struct etcd_reply *reply)
{
    const struct etcd_kv *last;

    if (pager->revision == 0) {
        pager->revision = reply->revision;
    }
    if (!reply->more) {
        return true;
    }
    if (reply->kvs_len == 0) {
        return false;
    }
    last = &reply->kvs[reply->kvs_len - 1];
    /* Forward always, and through keys of ours only: none has a NUL byte in it. */
    if (last->key_len > ETCD_KEY_MAX || strlen(last->key) != last->key_len ||
        strcmp(last->key, pager->after) <= 0) {
        return false;
    }
    memcpy(pager->after, last->key, last->key_len + 1);
    return true;
}

static void on_page(void *arg, const struct etcd_reply *reply)
{
    struct etcd_pager *pager = arg;
    struct etcd_page page = {
        .outcome = ETCD_OK, .text = "", .kvs = reply->kvs, .kvs_len = reply->kvs_len};

    pager->call = NULL;
    if (reply->outcome == ETCD_UNKNOWN && reply->reason == ETCD_TOO_LARGE && pager->keys > 1) {
        pager->keys /= 2;
        ask(pager);
        return;
    }
    if (reply->outcome != ETCD_OK) {
        fail(pager, reply->outcome, reply->reason, reply->text);
        return;
    }
    if (!keep_place(pager, reply)) {
        fail(pager, ETCD_UNKNOWN, ETCD_NO_REASON, "a page of etcd's answer that leads nowhere");
        return;
    }
    page.revision = pager->revision;
    page.last = !reply->more;
    if (!page.last) {
        ask(pager); /* before the owner may free us, which cancels it */
    }
    pager->fn(pager->arg, &page);
}

static void ask(struct etcd_pager *pager)
{
    struct etcd_range range = {
        .key = pager->prefix,
        .prefix = true,
        .limit = pager->keys,
        .revision = pager->revision,
        .after = pager->after[0] != '\0' ? pager->after : NULL,
    };

    pager->call = etcd_range(pager->etcd, &range, pager->within_ms, on_page, pager);
}

struct etcd_pager *etcd_pager_new(struct etcd *etcd, const char *prefix, int64_t revision,
                                  uint64_t within_ms, etcd_page_fn fn, void *arg)
{
    struct etcd_pager *pager = calloc(1, sizeof *pager);

    assert(pager && strlen(prefix) <= ETCD_KEY_MAX && revision >= 0 && fn);
    pager->etcd = etcd;
    snprintf(pager->prefix, sizeof pager->prefix, "%s", prefix);
    pager->revision = revision;
    pager->keys = ETCD_PAGE_KEYS;
    pager->within_ms = within_ms;
    pager->fn = fn;
    pager->arg = arg;
    ask(pager);
    return pager;
}

void etcd_pager_free(struct etcd_pager *pager)
{
    if (pager) {
        etcd_cancel(pager->call);
        free(pager);
    }
}
