/*
 * watchdog.h - the node's watchdog: what resets it when the guard does not run.
 *
 * A device (/dev/watchdog) is driven through the kernel's interface: the period is set and *read
 * back*, and only a period that was read back as asked for counts as armed. A socket is a test
 * device (deploy/sandbox/watchdog.c), which kills the node's processes instead; its messages mirror
 * the interface.
 *
 * Safety rests on the feeding and on nothing else: a guard that stands still feeds not. So
 * watchdog_feed() reads the clock, asks, and writes, with nothing in between. It is disarmed only
 * when asked to, never by being freed: who dies leaves it running.
 *
 * Memory: one object, the caller's. Time: CLOCK_BOOTTIME milliseconds. Nothing here waits.
 */
#ifndef FAILOVER_GUARD_WATCHDOG_H
#define FAILOVER_GUARD_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/cluster/records.h"

struct watchdog {
    char path[256];
    enum watchdog_kind kind;
    int fd;             /* -1: closed */
    uint32_t period_ms; /* as read back; 0: not armed */
};

/* path "": there is none. Opens nothing yet. */
void watchdog_init(struct watchdog *watchdog, const char *path);
/* ERR_SYSTEM: it could not be opened; ERR_REFUSED: it has another period than was asked for. */
int watchdog_arm(struct watchdog *watchdog, uint32_t period_ms, struct err *ret_err);
/* Feeds if may(arg, now) says so; false: it may not, or the device did not take it. */
bool watchdog_feed(struct watchdog *watchdog, bool (*may)(void *arg, uint64_t now_ms), void *arg);
/* false: the device cannot be stopped (nowayout): it stays armed, and has to be fed. */
bool watchdog_disarm(struct watchdog *watchdog);
bool watchdog_is_armed(const struct watchdog *watchdog);

#endif
