/*
 * copying.c - a copy of the store in a file (design §4), for the day that etcd is lost for good.
 *
 * Each controller keeps one on its own disk: the leader's host may be what was lost together with
 * etcd, and what is copied is read from etcd, so that a follower's is as good. Something of what is
 * copied was written: a timer runs out (copy.every at the least since the last one), every key is
 * read as of one revision, in pages, and a worker thread puts the file in the place of the last one
 * (store_copy.h). The deciding loop waits for none of it.
 *
 *   etcd does not answer, the disk is full       tried again; status and journal say so
 *   it is not our store, or an older one of it   nothing is written: the copy is what is left of it
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/store_copy.h"
#include "controller/cluster/store_keys.h"
#include "controller/daemon/daemon.h"
#include "controller/etcd/pager.h"

#define PAGE_MS  3000
#define FIRST_MS 500
#define AGAIN_MS 10000 /* after what went wrong */

struct write_job { /* of a worker thread */
    uv_work_t work;
    struct copying *copying; /* NULL: it has ended meanwhile */
    char dir[LOCAL_PATH_SIZE];
    char *text;
    size_t len;
    int64_t revision;
    int64_t wall_ms;
    struct err err;
    bool failed;
};

struct copying {
    struct daemon *daemon;
    struct timer *timer;
    bool due, waits; /* a change is not in the file yet; the timer runs */
    struct etcd_pager *pager;
    struct store_copy copy; /* as it comes in */
    struct write_job *job;
    uint64_t begun_ms;
    int64_t floor; /* of etcd's revision, then */
    bool said;     /* that it does not work */
};

static void wait_for(struct copying *copying, uint64_t in_ms)
{
    copying->waits = true;
    timer_start(copying->timer, in_ms);
}

/* The next one, once what is under way has ended. */
static void go_on(struct copying *copying)
{
    if (!copying->due || copying->waits || copying->pager != NULL || copying->job != NULL) {
        return;
    }
    uint64_t now = clock_now_ms();
    uint64_t next = copying->begun_ms + copying->daemon->local->copy_every_ms;
    wait_for(copying, copying->begun_ms == 0 || next <= now ? FIRST_MS : next - now);
}

static void fail(struct copying *copying, const char *text)
{
    if (!copying->said) {
        log_line(LOG_LEVEL_ERROR,
                 "the store cannot be copied into a file; it is tried again and again", "detail",
                 text, NULL);
        copying->said = true;
    }
    copying->due = true;
    wait_for(copying, AGAIN_MS);
}

/* ---- the file ---- */

static void work_write(uv_work_t *work)
{
    struct write_job *job = work->data;
    job->failed = store_copy_write(job->dir, job->text, job->len, job->wall_ms, &job->err) < 0;
}

static void after_write(uv_work_t *work, int status)
{
    struct write_job *job = work->data;
    struct copying *copying = job->copying;
    (void)status;
    if (copying != NULL) {
        copying->job = NULL;
        if (job->failed) {
            fail(copying, job->err.text);
        } else {
            char revision[24];
            snprintf(revision, sizeof revision, "%" PRId64, job->revision);
            log_line(copying->said ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "the store is copied",
                     "revision", revision, "dir", job->dir, NULL);
            copying->said = false;
            go_on(copying);
        }
    }
    free(job->text);
    free(job);
}

static void write_file(struct copying *copying)
{
    struct daemon *d = copying->daemon;
    struct store_copy *copy = &copying->copy;
    struct write_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        abort(); /* safe: the other controller goes on */
    }
    snprintf(copy->cluster, sizeof copy->cluster, "%s", d->local->cluster);
    snprintf(copy->made_by, sizeof copy->made_by, "%s", d->local->id);
    copy->installation = d->installation;
    copy->made_wall_ms = clock_wall_ms();
    job->work.data = job;
    job->copying = copying;
    job->revision = copy->revision;
    job->wall_ms = copy->made_wall_ms;
    snprintf(job->dir, sizeof job->dir, "%s", d->local->copy_dir);
    job->text = store_copy_encode(copy, &job->len);
    if (job->text == NULL) {
        free(job);
        fail(copying, "it has more bytes than a copy may have");
        return;
    }
    copying->job = job;
    uv_queue_work(loop_uv(d->loop), &job->work, work_write, after_write);
}

/* ---- what goes into it ---- */

static void end_reading(struct copying *copying)
{
    etcd_pager_free(copying->pager);
    copying->pager = NULL;
}

/* It is read while it is known to be ours, and is no older than what was known. */
static bool is_ours(const struct copying *copying)
{
    const struct daemon *d = copying->daemon;
    return d->installation.id[0] != '\0' && d->identity_problem[0] == '\0' && d->scout == NULL &&
           copying->copy.revision >= copying->floor;
}

static void on_page(void *arg, const struct etcd_page *page)
{
    struct copying *copying = arg;
    struct daemon *d = copying->daemon;
    for (int i = 0; i < page->kvs_len; i++) {
        const char *name = page->kvs[i].key + strlen(d->prefix);
        if (store_copy_wants(name) && copying->copy.keys_len < STORE_COPY_KEYS_MAX) {
            store_copy_add(&copying->copy, name, page->kvs[i].value, page->kvs[i].value_len);
        }
    }
    copying->copy.revision = page->revision;
    if (page->outcome == ETCD_OK && !page->last) {
        return;
    }
    end_reading(copying);
    if (page->outcome != ETCD_OK) {
        fail(copying, page->text);
    } else if (is_ours(copying) && store_copy_find(&copying->copy, STORE_CONFIG) != NULL) {
        write_file(copying);
    } else {
        copying->due = true;
        wait_for(copying, AGAIN_MS);
    }
    store_copy_done(&copying->copy);
}

static void on_due(void *arg)
{
    struct copying *copying = arg;
    struct daemon *d = copying->daemon;
    copying->waits = false;
    if (d->installation.id[0] == '\0' || d->identity_problem[0] != '\0' || d->scout != NULL) {
        wait_for(copying, AGAIN_MS);
        return;
    }
    copying->due = false;
    copying->begun_ms = clock_now_ms();
    copying->floor = d->revision_floor;
    copying->pager = etcd_pager_new(d->etcd, d->prefix, 0, PAGE_MS, on_page, copying);
}

/* ---- from outside ---- */

void copying_due(struct daemon *d)
{
    if (d->copying != NULL) {
        d->copying->due = true;
        go_on(d->copying);
    }
}

void copying_start(struct daemon *d)
{
    d->copying = calloc(1, sizeof *d->copying);
    if (d->copying == NULL) {
        abort();
    }
    d->copying->daemon = d;
    d->copying->timer = timer_new(d->loop, on_due, d->copying);
    copying_due(d);
}

void copying_stop(struct daemon *d)
{
    struct copying *copying = d->copying;
    if (copying == NULL) {
        return;
    }
    if (copying->job != NULL) {
        copying->job->copying = NULL; /* the loop runs dry before it is closed */
    }
    end_reading(copying);
    timer_free(copying->timer);
    store_copy_done(&copying->copy);
    free(copying);
    d->copying = NULL;
}
