#include "controller/cluster/facts.h"

#include <assert.h>
#include <stddef.h>

const char *const cause_names[] = {
#define X(id, text) text,
    CAUSE_LIST(X)
#undef X
        NULL};

const char *const fault_class_names[] = {"none", "hardware", "software", "network",
                                         "data", "business", "security", NULL};

const char *const role_names[] = {"unknown", "primary", "standby", NULL};

/*
 * One row a cause: its class, whether it can mean that a primary no longer serves, and whether only
 * a running PostgreSQL can have said it. The switch has no default, so that the compiler asks for
 * the row of a new cause.
 */
struct cause_row {
    enum fault_class class;
    bool failure;
    bool life;
};

static struct cause_row row_of(enum cause cause)
{
    switch (cause) {
    case CAUSE_OK: return (struct cause_row){FAULT_NONE, false, true};
    case CAUSE_NEVER_PROBED: return (struct cause_row){FAULT_NONE, false, false};
    case CAUSE_REFUSED: return (struct cause_row){FAULT_SOFTWARE, true, false};
    case CAUSE_TIMED_OUT: return (struct cause_row){FAULT_NETWORK, true, false};
    case CAUSE_CUT: return (struct cause_row){FAULT_SOFTWARE, true, false};
    case CAUSE_HUNG: return (struct cause_row){FAULT_HARDWARE, true, false};
    case CAUSE_STARTING: return (struct cause_row){FAULT_SOFTWARE, true, true};
    case CAUSE_STOPPING: return (struct cause_row){FAULT_SOFTWARE, true, true};
    case CAUSE_READ_ONLY: return (struct cause_row){FAULT_SOFTWARE, false, true};
    case CAUSE_IN_RECOVERY: return (struct cause_row){FAULT_DATA, false, false};
    case CAUSE_TOO_MANY: return (struct cause_row){FAULT_SOFTWARE, false, true};
    case CAUSE_NO_SPACE: return (struct cause_row){FAULT_HARDWARE, false, true};
    case CAUSE_WRONG_SYSTEM: return (struct cause_row){FAULT_DATA, false, false};
    case CAUSE_CREDENTIALS: return (struct cause_row){FAULT_SECURITY, false, true};
    case CAUSE_CERTIFICATE: return (struct cause_row){FAULT_SECURITY, false, true};
    case CAUSE_SYNC_STALL: return (struct cause_row){FAULT_DATA, false, true};
    case CAUSE_LOCKED: return (struct cause_row){FAULT_DATA, false, true};
    case CAUSE_SETUP: return (struct cause_row){FAULT_SOFTWARE, false, true};
    case CAUSE_BAD_ANSWER: return (struct cause_row){FAULT_BUSINESS, false, false};
    case CAUSE_PROBER: return (struct cause_row){FAULT_SOFTWARE, false, false};
    case CAUSES: break;
    }
    assert(!"a cause outside its list");
    return (struct cause_row){FAULT_NONE, false, false};
}

enum fault_class cause_class(enum cause cause)
{
    return row_of(cause).class;
}

bool cause_is_failure(enum cause cause)
{
    return row_of(cause).failure;
}

bool fact_shows_life(const struct instance_fact *fact)
{
    if (fact->answered && fact->role == ROLE_STANDBY) {
        return false;
    }
    return fact->cause == CAUSE_OK ? fact->wrote : row_of(fact->cause).life;
}
