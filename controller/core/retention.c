#include "controller/core/retention.h"

#include <assert.h>
#include <string.h>

bool retention_request_is_open(const struct request_record *request)
{
    return request->state != REQUEST_DONE && request->state != REQUEST_REFUSED;
}

bool retention_incident_is_open(const struct core *core, const struct incident_record *incident)
{
    if (incident->state == INCIDENT_OPEN) {
        return true;
    }
    for (int g = 0; g < core->def.groups_len; g++) {
        const struct group_state *group = &core->groups[g];
        bool latest = group->incident_known && strcmp(group->incident.id, incident->id) == 0;
        bool moving = group->record.moving && strcmp(group->record.workflow.id, incident->id) == 0;
        if (latest || moving) {
            return true;
        }
    }
    return false;
}

static bool may_go(const struct retention *limits, const struct retained *item, int newer,
                   int64_t now_wall_ms)
{
    if (item->open || newer < limits->least) {
        return false;
    }
    /* One from the future is not old, whoever's clock is wrong. */
    return newer >= limits->most || now_wall_ms - item->wall_ms > limits->age_ms;
}

int retention_choose(const struct retention *limits, const struct retained *items, int len,
                     int64_t now_wall_ms, int *ret_goes, int goes_max)
{
    int goes = 0;
    int newer = 0; /* ended ones before this one, in the end: all of them */
    assert(limits->least >= 0 && limits->most >= limits->least);
    for (int i = 0; i < len; i++) {
        assert(i == 0 || items[i - 1].revision >= items[i].revision);
        newer += items[i].open ? 0 : 1;
    }
    for (int i = len - 1; i >= 0 && goes < goes_max; i--) {
        newer -= items[i].open ? 0 : 1;
        if (may_go(limits, &items[i], newer, now_wall_ms)) {
            ret_goes[goes++] = i;
        }
    }
    return goes;
}
