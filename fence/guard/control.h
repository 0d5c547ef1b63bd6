/*
 * control.h - what pg_controldata says of a data directory, as values. Pure.
 */
#ifndef FAILOVER_GUARD_CONTROL_H
#define FAILOVER_GUARD_CONTROL_H

#include "fence/guard/guard_core.h"

/* Fills control, system_id, checkpoint_lsn and checkpoint_timeline; false: it is not its output. */
bool control_read(const char *text, struct guard_seen *ret_seen);

#endif
