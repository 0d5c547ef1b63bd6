/*
 * live.c - what must have happened by when, once the core is healthy (design §10, L2 to L4).
 *
 * From that moment on nothing begins or ends, and whatever else was broken stays so. L2: somebody
 * leads, whom etcd calls the leader, and who runs. L3: he has read the records and has taken up
 * what they say, a step that his predecessor died of too. L4: both, where etcd alone was gone.
 *
 * It only looks: a schedule is the same with and without.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TAKE_OVER_US (2 * SEC) /* beyond the lease */
#define TAKE_UP_US   (1 * SEC) /* beyond that */
#define ETCD_BACK_US (5 * SEC)

/* It holds a lease that etcd never ended, hears etcd and is heard: it only waits for etcd. */
static bool only_waits(void)
{
    int c = st.leader_of;
    return st.down && st.leader.create != 0 && w.procs[c].up && !is_paused(c) &&
           st.leader_life == w.procs[c].life && linked_both(c, E_ETCD) && ctls[c].booted &&
           w.slow_until[c] <= w.now && w.slow_until[E_ETCD] <= w.now && st.lose_answer[c] == 0;
}

void live_begin(void)
{
    uint64_t leads_us = definition_profile(&def)->lease_ms * MS + TAKE_OVER_US;
    /* One that has resigned stays away for two leases, so that the other can lead. */
    uint64_t away_ms = ctls[plan.core].passive_until_ms, now_ms = local_ms(plan.core);
    leads_us += w.procs[plan.core].up && away_ms > now_ms ? (away_ms - now_ms) * MS : 0;
    w.live = (struct live){.since = w.now,
                           .lead_by = w.now + leads_us,
                           .resume_by = w.now + leads_us + TAKE_UP_US,
                           .etcd_was_down = only_waits()};
    if (w.live.etcd_was_down) {
        w.live.lead_by = w.now + ETCD_BACK_US;
        w.live.resume_by = w.now + ETCD_BACK_US;
    }
}

static int leader_that_runs(void)
{
    for (int c = 0; c < CTLS; c++) {
        if (w.procs[c].up && !is_paused(c) && ctls[c].core.leading && store_has_leader(c)) {
            return c;
        }
    }
    return NOBODY;
}

void live_event(void)
{
    struct live *live = &w.live;
    if (live->since == 0 || live->resumed) {
        return;
    }
    int c = leader_that_runs();
    live->led = live->led || c >= 0;
    live->resumed =
        c >= 0 && ctls[c].core.loaded && ctls[c].core.databases[0].state != DB_OBSERVING;
    double since_s = (double)(w.now - live->since) / 1e6;
    bool late = !live->led ? w.now > live->lead_by : !live->resumed && w.now > live->resume_by;
    if (late && live->etcd_was_down) {
        broken("L4: etcd is back for %.1f s, and its leader does not act", since_s);
    } else if (late && !live->led) {
        broken("L2: the core is well for %.1f s, and nobody leads", since_s);
    } else if (late) {
        broken("L3: the core is well for %.1f s, and no leader has taken up %s", since_s,
               st.group.moving ? "the step that waits" : "the records");
    }
}
