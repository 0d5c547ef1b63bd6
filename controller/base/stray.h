/*
 * stray.h - end the processes that carry a mark in their environment.
 *
 * A program that forks away into a session of its own is in no group any more, and init is its
 * parent; but it has inherited its environment. So a child gets a mark there that no other has, and
 * whoever still carries it when the child has ended is a stray: a fence agent's `off` that comes
 * late could hit a node that is the new primary by then (failures.md G8, H10).
 *
 * Not found: what has begun with another environment, and what belongs to another user. On a host
 * with systemd the service's own cgroup ends these, with the service.
 *
 * Time: reads /proc once, some milliseconds with hundreds of processes; again only when it found
 * one.
 */
#ifndef FAILOVER_BASE_STRAY_H
#define FAILOVER_BASE_STRAY_H

#define STRAY_MARK_SIZE 80

/* "FAILOVER_CHILD=...", for the environment of one child: never the same twice on this machine. */
void stray_mark(char ret_mark[STRAY_MARK_SIZE]);
/* SIGKILL to all that carry it, and to what they have started meanwhile. Returns how many. */
int stray_end(const char *mark);

#endif
