/*
 * explain.h - what would happen, as JSON: core_explain and core_plan for failoverctl and scripts.
 *
 * Checks: {name, passes, informs, value, limit, age_ms|null, text}; one that only informs holds
 * nothing back. Times: {lap, expected_ms|null, bound_ms|null}; no bound: a person is needed.
 *
 *   explain  {schema, at, group, controller, leading, databases [{name, primary|null, automatic,
 *            verdict, target|null, loss_bytes|null, loss_limit_bytes, measured|null, times [...],
 *            total {...}, checks [...]}]}
 *   plan     {schema, at, group, controller, leading, hash, refused, measured|null, total {...},
 *            databases [{name, primary|null, target|null, loss_bytes|null}],
 *            steps [{database, step, text, expected_ms|null, bound_ms|null}]}
 */
#ifndef FAILOVER_API_EXPLAIN_H
#define FAILOVER_API_EXPLAIN_H

#include <jansson.h>

#include "controller/api/status.h"

/* The caller owns the result. database -1: all of the group's. */
json_t *explain_json(const struct core *core, const struct status_extra *extra, int group,
                     int database);
/* Of a failover: the request's group, database, node and accept_loss_bytes. */
json_t *plan_json(const struct core *core, const struct status_extra *extra,
                  const struct request_record *request);

#endif
