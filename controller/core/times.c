/*
 * times.c - how long a failover takes: as measured in the group's last complete incident, and at
 * most, from the profile and the declared deadlines.
 *
 * A bound is of one attempt that succeeds; what must be tried again takes longer, and is told as it
 * happens. With no fencing level but a person, there is no bound.
 */
#include "controller/core/private.h"

#include <string.h>

#define VIEW_MS   1000 /* another controller's view is repeated each second, at the latest */
#define RECORD_MS 500  /* a step's record, with a slow etcd */

static int64_t detect_bound(const struct profile *profile)
{
    int64_t silent = (int64_t)(profile->fall - 1) * profile->probe_interval_ms +
                     profile->probe_deadline_ms + profile->probe_interval_ms;
    int64_t refused = (int64_t)profile->refused_for_ms + profile->probe_interval_ms;
    return silent > refused ? silent : refused;
}

static int64_t fence_bound(const struct core *core, int db)
{
    int primary = core_primary(core, db);
    if (primary < 0) {
        return -1;
    }
    const struct node_def *node = &core->def.nodes[core->def.databases[db].instances[primary].node];
    uint32_t bound = node_fence_ms(node, definition_profile(&core->def));
    return bound == 0 ? -1 : (int64_t)bound + RECORD_MS;
}

static const struct incident_record *measured_incident(const struct core *core, int group)
{
    const struct group_state *state = &core->groups[group];
    if (!state->incident_known || state->incident.state == INCIDENT_OPEN) {
        return NULL;
    }
    for (int lap = 0; lap < LAPS; lap++) {
        if (state->incident.ended_ms[lap] < 0) {
            return NULL;
        }
    }
    return &state->incident;
}

void core_times(const struct core *core, int db, bool forced, struct core_time times[LAPS],
                char ret_measured[ID_SIZE])
{
    const struct profile *profile = definition_profile(&core->def);
    const struct incident_record *incident = measured_incident(core, db_group(core, db));
    int64_t look = (int64_t)profile->probe_interval_ms + profile->probe_deadline_ms;
    const int64_t bounds[LAPS] = {
        [LAP_DETECT] = forced ? 0 : detect_bound(profile),
        [LAP_CONFIRM] = forced ? RECORD_MS : look + VIEW_MS + RECORD_MS,
        [LAP_FENCE] = fence_bound(core, db),
        [LAP_PROMOTE] = PROMOTE_MS + look + 2 * RECORD_MS,
        [LAP_REDIRECT] = ROUTES_MS,
        [LAP_VERIFY] = look + RECORD_MS,
    };
    ret_measured[0] = '\0';
    for (int lap = 0; lap < LAPS; lap++) {
        times[lap] = (struct core_time){.expected_ms = -1, .bound_ms = bounds[lap]};
        if (incident != NULL) {
            int64_t before = lap == 0 ? 0 : incident->ended_ms[lap - 1];
            times[lap].expected_ms = forced && lap == LAP_DETECT ? 0
                                     : incident->ended_ms[lap] > before
                                         ? incident->ended_ms[lap] - before
                                         : 0;
            text_copy(ret_measured, ID_SIZE, incident->id);
        }
    }
}

void times_add(struct core_time *total, const struct core_time *time)
{
    total->expected_ms = total->expected_ms < 0 || time->expected_ms < 0
                             ? -1
                             : total->expected_ms + time->expected_ms;
    total->bound_ms =
        total->bound_ms < 0 || time->bound_ms < 0 ? -1 : total->bound_ms + time->bound_ms;
}
