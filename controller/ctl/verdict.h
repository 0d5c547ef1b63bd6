/*
 * verdict.h - a group's state in one plain sentence, for the first line of `failoverctl status`.
 *
 * What matters most comes first: who is waited for and what to run, then what is down, then what is
 * under way, then what is only weak. Pure: from the status JSON alone (controller/api/status.h).
 */
#ifndef FAILOVER_CTL_VERDICT_H
#define FAILOVER_CTL_VERDICT_H

#include <jansson.h>
#include <stddef.h>

#include "controller/ctl/show.h"

#define VERDICT_SIZE 1024

/* The sentence without the group's name; the tone says how bad it is. */
enum tone verdict_of_group(const json_t *group, char ret_text[VERDICT_SIZE]);
/* Of the whole answer: etcd gone, no leader, no definition; "" when nothing of that. */
enum tone verdict_of_controllers(const json_t *status, char ret_text[VERDICT_SIZE]);

#endif
