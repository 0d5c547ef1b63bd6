/*
 * fd_watch.h - the only code that touches uv_poll_t.
 *
 * It hides the close callback's lifetime, and turns an error of the poll itself into "readable and
 * writable", so that the library above (curl, libpq, libmicrohttpd) meets the error itself on its
 * next call. It does not own the descriptor. fd_watch_free() may be called from inside the
 * callback.
 */
#ifndef FAILOVER_BASE_FD_WATCH_H
#define FAILOVER_BASE_FD_WATCH_H

#include "controller/base/loop.h"

enum { FD_READABLE = 1, FD_WRITABLE = 2 };

struct fd_watch;
typedef void (*fd_watch_fn)(void *arg, int ready); /* ready: FD_READABLE | FD_WRITABLE */

struct fd_watch *fd_watch_new(struct loop *loop, int fd, fd_watch_fn fn, void *arg);
void fd_watch_want(struct fd_watch *watch, int wanted); /* 0 stops */
void fd_watch_free(struct fd_watch *watch);

#endif
