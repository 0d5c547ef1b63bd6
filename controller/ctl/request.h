/*
 * request.h - what failoverctl asks of the leader, and waiting for one of three honest outcomes:
 * done; refused, with every reason; still running or unknown, with the id to ask again.
 */
#ifndef FAILOVER_CTL_REQUEST_H
#define FAILOVER_CTL_REQUEST_H

#include <jansson.h>

#include "controller/cluster/records.h"
#include "controller/ctl/command.h"

/* "req-5f0c3a9e12b47d88": made here, so that the same request can be sent twice without harm. */
void request_new_id(const char *prefix, char ret_id[ID_SIZE]);

/* {"kind", "reason"}, to be completed and sent. */
json_t *request_body(enum request_kind kind, const char *reason);
/* Sends it under a new id and waits for the outcome as the options say. Takes body over. */
enum ctl_exit request_send(struct ctl *ctl, json_t *body);

#endif
