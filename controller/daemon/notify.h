/*
 * notify.h - what systemd is told of this service: ready, how it goes, alive, reloading, stopping.
 *
 * READY   when the API's socket serves and etcd has been asked for the first time, whatever it
 * said: a controller without an etcd is of use (it probes and shows), and must not be restarted.
 * STATUS  one line for `systemctl status`: who leads, what state the databases are in, who waits.
 * WATCHDOG from the pump alone, after it has stepped the core and carried the effects out; so a
 * loop that stands still, or that never gets there, is ended by systemd, and the lease with it.
 * RELOADING, READY around SIGHUP, and STOPPING with the first order to end; nothing is told after
 * it.
 *
 * Without NOTIFY_SOCKET nothing is sent. sd_notify() does not wait: a full socket loses a message,
 * and the next sign of life comes at half the watchdog's period.
 */
#ifndef FAILOVER_DAEMON_NOTIFY_H
#define FAILOVER_DAEMON_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#define NOTIFY_STATUS_SIZE 512

struct daemon;

struct notify {
    uint64_t watchdog_ms; /* its period; 0: nobody watches */
    uint64_t fed_ms;
    bool ready;
    bool stopping;
    char status[NOTIFY_STATUS_SIZE]; /* as last sent */
};

void notify_start(struct daemon *d);
void notify_pumped(struct daemon *d);
void notify_reloading(struct daemon *d);
void notify_reloaded(struct daemon *d);
void notify_stopping(struct daemon *d);
/* The loop must turn at least that often, or a watchdog with a short period would bite. */
uint64_t notify_turn_ms(const struct daemon *d);

#endif
