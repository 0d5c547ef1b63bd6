/*
 * listen.h - the sockets on which a server listens.
 *
 * Errors: ERR_INVALID (path, group, address), ERR_CONFLICT (another process serves it), ERR_SYSTEM.
 */
#ifndef FAILOVER_BASE_LISTEN_H
#define FAILOVER_BASE_LISTEN_H

#include <sys/types.h>
#include <sys/un.h>

#include "controller/base/err.h"

struct listen_place { /* of our socket: another one there is not ours to remove */
    char path[sizeof((struct sockaddr_un){0}).sun_path];
    dev_t dev;
    ino_t ino;
};

/* A descriptor. A stale socket there is replaced, one that is served is not. Those of the group may
 * connect (mode 0660); NULL: only this user (mode 0600). */
int listen_unix(const char *path, const char *group, struct listen_place *ret_place,
                struct err *ret_err);
void listen_remove(const struct listen_place *place); /* the path, if it is still ours */
/* A descriptor, at "192.0.2.1:8443" or "[2001:db8::1]:8443". */
int listen_tcp(const char *listen_at, struct err *ret_err);

#endif
