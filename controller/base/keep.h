/*
 * keep.h - texts that outlive what they came from: in memory, and in files.
 *
 * Memory: what keep_text() returns is the caller's, to be freed. Out of memory it ends the process,
 * which is safe: a dead controller loses its lease, and the other one goes on.
 * Errors: keep_write() leaves errno.
 */
#ifndef FAILOVER_BASE_KEEP_H
#define FAILOVER_BASE_KEEP_H

#include <stddef.h>

/* A copy of these bytes, and a NUL behind them. */
char *keep_text(const char *text, size_t len);

/* All of it, however often a signal comes in between or the file takes a part only. 0 or -1. */
int keep_write(int fd, const char *text, size_t len);

#endif
