#include "controller/base/fd_watch.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct fd_watch {
    struct loop *loop;
    uv_poll_t poll;
    fd_watch_fn fn;
    void *arg;
    int wanted;
    bool closing;
};

static void gone(uv_handle_t *handle)
{
    free(handle->data);
}

static void happened(uv_poll_t *poll, int status, int events);

static void arm(struct fd_watch *watch)
{
    int events = 0;
    if (watch->wanted & FD_READABLE) {
        events |= UV_READABLE;
    }
    if (watch->wanted & FD_WRITABLE) {
        events |= UV_WRITABLE;
    }
    int rc =
        events != 0 ? uv_poll_start(&watch->poll, events, happened) : uv_poll_stop(&watch->poll);
    assert(rc == 0);
    (void)rc;
}

static void happened(uv_poll_t *poll, int status, int events)
{
    struct fd_watch *watch = poll->data;
    int ready = 0;
    loop_awake(watch->loop);
    if (status < 0) {
        ready = FD_READABLE | FD_WRITABLE;
    } else {
        ready |= events & UV_READABLE ? FD_READABLE : 0;
        ready |= events & UV_WRITABLE ? FD_WRITABLE : 0;
    }
    watch->fn(watch->arg, ready);
    /*
     * On an error libuv has stopped the handle. It is armed again, as poll(2) would report the
     * error again: an owner that did not look must not hang for that.
     */
    if (status < 0 && !watch->closing) {
        arm(watch);
    }
}

struct fd_watch *fd_watch_new(struct loop *loop, int fd, fd_watch_fn fn, void *arg)
{
    assert(fd >= 0 && fn != NULL);
    struct fd_watch *watch = calloc(1, sizeof *watch);
    assert(watch != NULL);
    watch->loop = loop;
    watch->fn = fn;
    watch->arg = arg;
    int rc = uv_poll_init(loop_uv(loop), &watch->poll, fd);
    if (rc != 0) {
        /* A closed or unpollable descriptor, or one watched twice: a mistake in this program. */
        fprintf(stderr, "fd_watch: descriptor %d: %s\n", fd, uv_strerror(rc));
        abort();
    }
    watch->poll.data = watch;
    return watch;
}

void fd_watch_want(struct fd_watch *watch, int wanted)
{
    assert(!watch->closing && (wanted & ~(FD_READABLE | FD_WRITABLE)) == 0);
    if (wanted != watch->wanted) {
        watch->wanted = wanted;
        arm(watch);
    }
}

void fd_watch_free(struct fd_watch *watch)
{
    if (watch == NULL) {
        return;
    }
    assert(!watch->closing);
    watch->closing = true;
    uv_close((uv_handle_t *)&watch->poll, gone);
}
