/*
 * request.h - what failoverctl asks of the leader, and waiting for one of three honest outcomes:
 * done; refused, with every reason; still running or unknown, with the id to ask again.
 */
#ifndef FAILOVER_CTL_REQUEST_H
#define FAILOVER_CTL_REQUEST_H

#include "controller/cluster/records.h"

/* "req-5f0c3a9e12b47d88": made here, so that the same request can be sent twice without harm. */
void request_new_id(const char *prefix, char ret_id[ID_SIZE]);

#endif
