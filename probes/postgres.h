/*
 * postgres.h - what one controller finds out about one PostgreSQL instance, one probe at a time.
 *
 * A probe reads the instance's role, ids, LSNs and replication state in one round trip that is
 * larger than one packet both ways (an MTU hole lets small ones pass, failures.md C12), and on a
 * primary then writes a heartbeat row with synchronous_commit as configured (a hung disk still
 * answers reads, failures.md E4). The connection is held between probes: its end is news at once.
 *
 * At most two sessions exist per instance. The second one is opened only when the first is stuck:
 * it looks up what the first one's backend waits for, which tells a sync stall and a lock from a
 * hung disk. A statement that the server has received but not answered is left running on its
 * session and is not repeated, so that a server in trouble does not collect our backends until it
 * has no connections left; it ends by its answer, by the end of the connection, or after a minute.
 * One that waits for a synchronous standby is cancelled after ten seconds: that is unknown, and no
 * acknowledgement.
 *
 * Time:   CLOCK_BOOTTIME milliseconds. A probe ends within deadline_ms, by its own timer; half as
 * much again is granted once when we ourselves did not run at the deadline, so that our stall is
 * not the server's. Memory: the strings of the parameters are copied. The fact lives during `done`
 * only. Errors: none; whatever happens is a cause (facts.h). Loop:   `done` runs once for each
 * probe_pg_ask(), and `on_news` never while a probe runs; both from the loop, never from inside a
 * function of this page. Both may call probe_pg_ask() or probe_pg_free().
 */
#ifndef FAILOVER_PROBES_POSTGRES_H
#define FAILOVER_PROBES_POSTGRES_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/loop.h"
#include "controller/base/pg.h"
#include "controller/cluster/facts.h"

#define PROBE_PG_DEADLINE_MIN_MS 50

struct probe_pg;

typedef void (*probe_pg_done_fn)(void *arg, const struct instance_fact *fact);
/* Something happened between two probes (the held connection ended, a stuck statement came back):
 * probe now. */
typedef void (*probe_pg_news_fn)(void *arg);

struct probe_pg_params {
    struct pg_target target; /* with the database that setup-sql was run in */
    const char *controller;  /* this controller's id: the key of its heartbeat row */
    uint32_t deadline_ms; /* of one whole probe, connection included; at least the minimum above */
    probe_pg_done_fn done;
    probe_pg_news_fn on_news; /* or NULL */
    void *arg;
};

struct probe_pg *probe_pg_new(struct loop *loop, const struct probe_pg_params *params);

/*
 * What the record says about this instance; counts from the next probe on. `role` ROLE_PRIMARY
 * makes a standby's answer CAUSE_IN_RECOVERY; the others accept either role as it is found. With a
 * system id other than 0 (unknown) an instance of another cluster is CAUSE_WRONG_SYSTEM, and
 * nothing is written to it (failures.md E14).
 */
void probe_pg_expect(struct probe_pg *probe, enum role role, uint64_t system_id);

/* Starts a probe. One at a time: asserted, see probe_pg_busy(). */
void probe_pg_ask(struct probe_pg *probe);
bool probe_pg_busy(const struct probe_pg *probe);

/* Closes the sessions, drops a running probe without a callback, frees the probe. */
void probe_pg_free(struct probe_pg *probe);

#endif
