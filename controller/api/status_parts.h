/*
 * status_parts.h - the pieces that status.c puts together; for the files of this directory only.
 */
#ifndef FAILOVER_API_STATUS_PARTS_H
#define FAILOVER_API_STATUS_PARTS_H

#include "controller/api/status.h"

/*
 * How old a good finding may be to be called current: two whole probes and their interval, so that
 * one that is late does not flap the display. Older ones are shown with their age, and "unknown".
 */
uint64_t status_fresh_ms(const struct core *core);
/* Who answers, and who leads: in every answer whose reader must know whose word it is. */
json_t *status_controller(const struct status_extra *extra, bool leading);
json_t *status_leader(const struct status_extra *extra);
json_t *status_database(const struct core *core, const struct status_extra *extra, int database);

#endif
