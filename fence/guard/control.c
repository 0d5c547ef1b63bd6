#include "fence/guard/control.h"

#include <stdlib.h>
#include <string.h>

#include "controller/cluster/lsn.h"

static const char *value_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    if (at == NULL || (at != text && at[-1] != '\n')) {
        return NULL;
    }
    at += strlen(key);
    return at + strspn(at, " ");
}

static bool starts_line(const char *value, const char *word)
{
    size_t len = strlen(word);
    return strncmp(value, word, len) == 0 && (value[len] == '\n' || value[len] == '\0');
}

/* "in archive recovery" is every standby's; "in crash recovery" a primary's that is started again.
 */
static enum guard_control state_of(const char *value)
{
    if (starts_line(value, "in archive recovery") || starts_line(value, "shut down in recovery")) {
        return GUARD_CONTROL_STANDBY;
    }
    if (starts_line(value, "shut down")) {
        return GUARD_CONTROL_PRIMARY_CLEAN;
    }
    if (starts_line(value, "in production") || starts_line(value, "shutting down") ||
        starts_line(value, "in crash recovery") || starts_line(value, "starting up")) {
        return GUARD_CONTROL_PRIMARY_CRASH;
    }
    return GUARD_CONTROL_UNKNOWN;
}

bool control_read(const char *text, struct guard_seen *ret_seen)
{
    const char *state = value_of(text, "Database cluster state:");
    const char *system_id = value_of(text, "Database system identifier:");
    const char *lsn = value_of(text, "Latest checkpoint location:");
    const char *timeline = value_of(text, "Latest checkpoint's TimeLineID:");
    char position[LSN_TEXT_SIZE] = "";
    uint64_t checkpoint_lsn;
    if (state == NULL || system_id == NULL || lsn == NULL || timeline == NULL) {
        return false;
    }
    size_t len = strcspn(lsn, "\n");
    if (len >= sizeof position) {
        return false;
    }
    memcpy(position, lsn, len);
    position[len] = '\0';
    if (!lsn_parse(position, &checkpoint_lsn)) {
        return false;
    }
    ret_seen->control = state_of(state);
    ret_seen->system_id = strtoull(system_id, NULL, 10);
    ret_seen->checkpoint_lsn = checkpoint_lsn;
    ret_seen->checkpoint_timeline = (uint32_t)strtoul(timeline, NULL, 10);
    return true;
}
