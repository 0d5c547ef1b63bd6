#include "controller/cluster/records.h"

#include <stddef.h>

const char *const permit_state_names[] = {"granted", "revoked", NULL};
const char *const move_phase_names[] = {"fence",  "choose", "promote", "redirect",
                                        "verify", "done",   NULL};
const char *const evidence_kind_names[] = {"agent",  "command",     "operator", "guard",
                                           "permit", "replication", NULL};
const char *const guard_mode_names[] = {"observing", "guarding", NULL};
const char *const guard_state_names[] = {"unknown", "stopped",  "starting",
                                         "running", "stopping", NULL};
const char *const watchdog_kind_names[] = {"none", "kernel", "test", NULL};
const char *const declared_role_names[] = {"standby", "primary", "down", NULL};
const char *const lap_names[] = {"detect",   "confirm", "fence", "promote",
                                 "redirect", "verify",  NULL};
const char *const objective_names[] = {"switched", "normal", "back", NULL};
const char *const incident_state_names[] = {"open", "recovered", "closed", NULL};
const char *const request_kind_names[] = {"failover",
                                          "pause",
                                          "resume",
                                          "confirm-fenced",
                                          "workflow-retry",
                                          "workflow-skip",
                                          "workflow-abandon",
                                          "alarm-ack",
                                          "adopt",
                                          NULL};
const char *const request_state_names[] = {"new", "running", "done", "refused", NULL};
const char *const opinion_names[] = {"unknown", "up", "down", NULL};

int epoch_compare(struct epoch a, struct epoch b)
{
    if (a.incarnation != b.incarnation) {
        return a.incarnation < b.incarnation ? -1 : 1;
    }
    if (a.counter != b.counter) {
        return a.counter < b.counter ? -1 : 1;
    }
    return 0;
}
