#include "fence/guard/conninfo.h"

#include <assert.h>
#include <stdio.h>

/* Whole seconds, and the least of each: the kernel knows none shorter, and libpq takes a
 * connect_timeout of 1 for 2. How often a peer is asked does not end a connection: with a
 * tcp_user_timeout that alone does. */
#define ASK_AFTER_S       1
#define ASK_AGAIN_S       1
#define CONNECT_TIMEOUT_S 2

void conninfo_of_upstream(const struct profile *profile, const char *address, uint16_t port,
                          const char *name, const char *replication, char ret_text[CONNINFO_SIZE])
{
    unsigned give_up_ms = profile_stall_ms(profile);
    int len = snprintf(ret_text, CONNINFO_SIZE,
                       "host=%s port=%u application_name=%s connect_timeout=%d"
                       " tcp_user_timeout=%u keepalives_idle=%d keepalives_interval=%d"
                       " options='-c tcp_user_timeout=%u -c tcp_keepalives_idle=%d"
                       " -c tcp_keepalives_interval=%d' %s",
                       address, (unsigned)port, name, CONNECT_TIMEOUT_S, give_up_ms, ASK_AFTER_S,
                       ASK_AGAIN_S, give_up_ms, ASK_AFTER_S, ASK_AGAIN_S, replication);
    assert(len > 0 && len < CONNINFO_SIZE); /* each part has its own bound */
}
