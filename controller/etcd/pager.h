/*
 * pager.h - every key below a prefix, in pages, as of one revision.
 *
 * A store that has lived long may hold more than one answer may carry (ETCD_RANGE_BODY_MAX). So it
 * is read by pages of at most ETCD_PAGE_KEYS keys; a page that is still too large is asked for
 * again with half as many. All pages are of one revision: the one asked for, or, with 0, that of
 * the first answer. Read what a write has confirmed by naming the write's revision: a member that
 * does not have it yet says so, and never answers with something older (design §4).
 *
 * A failure ends it: the pages before it are then half a picture, and the owner begins anew.
 *
 * Loop:   `fn` is called from the loop, never from inside etcd_pager_new(), and not at all after
 *         etcd_pager_free(), which it may call. The page with `last`, or one whose outcome is not
 *         ETCD_OK, is the last one; the pager is then to be freed.
 * Memory: what a page points to lives during the call. The prefix is copied.
 */
#ifndef FAILOVER_ETCD_PAGER_H
#define FAILOVER_ETCD_PAGER_H

#include "controller/etcd/client.h"

#define ETCD_PAGE_KEYS 128 /* of ours, a page is then some hundred kilobytes at most */

struct etcd_pager;

struct etcd_page {
    enum etcd_outcome outcome;
    enum etcd_reason reason;
    const char *text; /* "" with ETCD_OK */
    int64_t revision; /* of all pages */
    const struct etcd_kv *kvs;
    int kvs_len;
    bool last;
};

typedef void (*etcd_page_fn)(void *arg, const struct etcd_page *page);

/* revision 0: now. within_ms: for each page. */
struct etcd_pager *etcd_pager_new(struct etcd *etcd, const char *prefix, int64_t revision,
                                  uint64_t within_ms, etcd_page_fn fn, void *arg);
void etcd_pager_free(struct etcd_pager *pager); /* NULL is nothing */

#endif
