/*
 * haproxy_answer.h - read what HAProxy's runtime API says. Pure.
 *
 * Each command's answer ends with an empty line; success of a changing command is an empty answer,
 * and anything else in it is a complaint (failures.md H5). Tables are read by the names in their
 * header line. Input is not trusted: it may be cut, hostile or another program's (H6).
 */
#ifndef FAILOVER_ACT_HAPROXY_ANSWER_H
#define FAILOVER_ACT_HAPROXY_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/cluster/definition.h"

#define HAPROXY_SERVERS_MAX 32 /* of one backend */

struct haproxy_server {
    char name[NAME_SIZE]; /* [A-Za-z0-9_.:-]+: safe to put into a command */
    uint32_t admin;       /* srv_admin_state's flags */
    uint32_t op;          /* srv_op_state; 0: stopped */
    uint32_t sessions;    /* scur */
    bool counted;         /* sessions was read */
};

struct haproxy_backend {
    struct haproxy_server servers[HAPROXY_SERVERS_MAX];
    int servers_len;
};

/* In maintenance by any road: it gets no new session. (HAProxy's include/haproxy/server-t.h:
 * SRV_ADMF_*) */
bool haproxy_server_closed(const struct haproxy_server *server);
/* Neither in maintenance nor draining. That the file says `disabled` (CMAINT) no longer counts once
 * it was set ready. */
bool haproxy_server_open(const struct haproxy_server *server);

/*
 * Takes the next answer off the text. False: no complete one is left. The answer has no trailing
 * newline; an empty one is success.
 */
bool haproxy_next_answer(const char **text, size_t *len, const char **ret_answer, size_t *ret_len);

/* The answer to `show servers state BACKEND`; overwrites ret_backend. ERR_REFUSED: HAProxy's own
 * complaint. */
int haproxy_read_state(const char *answer, size_t len, const char *backend,
                       struct haproxy_backend *ret_backend, struct err *ret_err);
/*
 * The answer to `show stat -1 4 -1`: adds the sessions of this backend. Both answers must name the
 * same servers, else they are of two configurations, or cut.
 */
int haproxy_read_stat(const char *answer, size_t len, const char *backend,
                      struct haproxy_backend *backend_io, struct err *ret_err);

/* HAProxy's names of backends and servers, as far as we can pass them on. */
bool haproxy_name_ok(const char *name, size_t len);

#endif
