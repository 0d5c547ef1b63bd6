/*
 * world.c - the cluster, its warm copy, and a schedule's phases.
 *
 *   warm     once for each variant: instances run, guards and controllers start, a person adopts
 *            them, everything comes to rest; copied aside
 *   faults   the plan's; safety is checked after every event
 *   core     etcd, one controller, one proxy and all nodes but a primary that does not serve are
 *            well; clients must be served within the bound, or a person be called
 *   all      everything is well, and a person answers what is asked of him
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* A promotion that is under way is waited for so long, and its candidate's permit ends then. */
#define PROMOTION_US (48 * SEC)

const char *const variant_names[] = {"strict", "sync", "async", "fast", "power", "both", NULL};
enum { V_STRICT, V_SYNC, V_ASYNC, V_FAST, V_POWER, V_BOTH };

/* ---- the cluster ---- */

static void add_level(struct node_def *node, const char *name, enum fence_method method)
{
    struct fence_level_def *level = &node->levels[node->levels_len++];
    snprintf(level->name, sizeof level->name, "%s", name);
    level->method = method;
    level->deadline_ms = method == FENCE_AGENT || method == FENCE_OPERATOR ? 5000 : 0;
}

static void add_node(int variant, int n)
{
    struct node_def *node = &def.nodes[def.nodes_len++];
    snprintf(node->name, sizeof node->name, "a%d", n + 1);
    snprintf(node->address, sizeof node->address, "192.0.2.%d", n + 1);
    node->site = n == 0 ? 0 : 1;
    add_level(node, "guard", FENCE_GUARD);
    if (variant == V_SYNC || variant == V_FAST) {
        add_level(node, "replication", FENCE_REPLICATION);
    }
    if (variant == V_POWER) {
        add_level(node, "power", FENCE_AGENT);
    }
    add_level(node, "permit", FENCE_PERMIT);
}

static void add_database(int variant)
{
    struct database_def *db = &def.databases[def.databases_len++];
    snprintf(db->name, sizeof db->name, "payments");
    snprintf(db->dbname, sizeof db->dbname, "payments");
    db->durability = variant == V_ASYNC                       ? DURABILITY_ASYNC
                     : variant == V_SYNC || variant == V_BOTH ? DURABILITY_SYNC
                                                              : DURABILITY_STRICT;
    db->max_lag_bytes = UINT64_C(16) << 20;
    db->degrade_after_ms = 4000;
    db->on_crash = variant == V_BOTH ? CRASH_RESTART : CRASH_FAILOVER;
    db->restart_deadline_ms = 10000;
    for (int n = 0; n < NODES; n++) {
        db->instances[n] = (struct instance_def){.node = n, .port = 5432};
        snprintf(db->instances[n].name, NAME_SIZE, "%s", node_name(n));
    }
    db->instances_len = NODES;
    if (variant != V_ASYNC) {
        db->sync_len = 1;
        db->sync[0] = (struct sync_entry_def){.first = variant == V_POWER || variant == V_BOTH,
                                              .k = variant == V_BOTH ? 2 : 1,
                                              .members = {0, 1, 2},
                                              .members_len = NODES};
    }
}

static void define(int variant)
{
    memset(&def, 0, sizeof def);
    snprintf(def.cluster, sizeof def.cluster, "sim");
    def.profile = variant == V_FAST ? PROFILE_FAST : PROFILE_DEFAULT;
    snprintf(def.sites[0].name, NAME_SIZE, "east");
    snprintf(def.sites[1].name, NAME_SIZE, "west");
    def.sites_len = 2;
    def.policy.budget_failovers = 2;
    def.policy.budget_per_ms = 3600000;
    def.policy.cut_off_after_ms = 10000;
    snprintf(def.policy.call, sizeof def.policy.call, "page");
    def.objectives = (struct objective_def){3600000, 7200000, 86400000};
    for (int n = 0; n < NODES; n++) {
        add_node(variant, n);
    }
    add_database(variant);
    struct group_def *group = &def.groups[def.groups_len++];
    snprintf(group->name, sizeof group->name, "shop");
    group->automatic = true;
    struct route_def *route = &def.routes[def.routes_len++];
    snprintf(route->name, sizeof route->name, "payments");
    snprintf(route->backend, sizeof route->backend, "payments");
    route->service = -1;
    for (int p = 0; p < PROXIES; p++) {
        snprintf(def.proxies[p].name, NAME_SIZE, "p%d", p + 1);
        route->proxies[route->proxies_len++] = p;
        def.proxies_len++;
    }
    for (int n = 0; n < NODES; n++) {
        snprintf(route->servers[n], NAME_SIZE, "%s", node_name(n));
    }
}

/* ---- rest ---- */

static bool is_at_rest(void)
{
    int c = ctl_leading();
    if (c < 0 || !ctls[c].core.loaded || ctls[c].core.databases[0].state != DB_NORMAL ||
        st.group.moving || w.now < w.last_routed_ack + 0 || w.acked_all == 0) {
        return false;
    }
    if (st.permit.boot[0] == '\0' || guards[0].core.state != DUTY_PRIMARY) {
        return false;
    }
    for (int n = 1; n < NODES; n++) {
        if (guards[n].core.state != DUTY_STANDBY || w.pgs[n].from != 0) {
            return false;
        }
    }
    return w.async || (core_sync_enforced(&ctls[c].core, 0) && st.permit.sync_len == 1 &&
                       guards[0].core.proven_life != 0);
}

static bool carries_big_loads(void)
{
    for (int i = 0; i < w.queue_len; i++) {
        if (queue[i].load != 0 && (queue[i].load - 1) >> 16 == 3) {
            return true;
        }
    }
    return false;
}

static void set_up(int variant)
{
    define(variant);
    w.variant = variant;
    w.async = variant == V_ASYNC;
    w.now = 1000 * SEC;
    w.lines_len = 2; /* 0: none */
    w.lines[1] = (struct line){.tli = 1};
    w.recorded_line = 1;
    st.revision = 100;
    for (int p = 0; p < PROCS; p++) {
        w.clocks[p] = (struct clock){.true_us = w.now,
                                     .local_us = UINT64_C(7000) * SEC + (uint64_t)p * 333 * SEC};
    }
    for (int n = 0; n < NODES; n++) {
        struct pg *pg = &w.pgs[n];
        w.nodes[n] = (struct node){.on = true};
        *pg = (struct pg){.line = 1,
                          .lsn = 0x1000000,
                          .tli = 1,
                          .file_upstream = n == 0 ? -1 : 0,
                          .from = NOBODY,
                          .control = GUARD_CONTROL_STANDBY};
        pg_start(n, n == 0);
    }
    w.proxies[0].open = 0;
    w.proxies[1].open = 0;
    traffic_start();
}

static void warm(int variant)
{
    world_load_copy(variant); /* empty */
    queue_reset(42 + (uint64_t)variant);
    set_up(variant);
    for (int n = 0; n < NODES; n++) {
        after(NOBODY, EV_G_START, SEC, &(struct ev){.a = n});
    }
    for (int c = 0; c < CTLS; c++) {
        after(NOBODY, EV_CTL_START, SEC + (uint64_t)c * 500 * MS, &(struct ev){.a = c});
    }
    uint64_t began = w.now;
    while (run_one(began + 12 * SEC)) {
    }
    store_ask(REQUEST_ADOPT, NOBODY, "warm-up");
    while (!(is_at_rest() && w.now > began + 20 * SEC) || carries_big_loads()) {
        if (!run_one(w.now + 10 * SEC) || w.now > began + 60 * SEC) {
            int c = ctl_leading();
            fprintf(stderr, "sim: the warm-up of %s does not come to rest: %s; leader c%d, %s\n",
                    variant_names[variant], w.broken, c + 1,
                    c >= 0 ? db_state_names[ctls[c].core.databases[0].state] : "");
            exit(2);
        }
    }
    world_save_copy(variant);
}

void world_warm_all(void)
{
    bool told = tracing;
    for (int v = 0; v < VARIANTS; v++) {
        tracing = told && getenv("SIM_TRACE_WARM") != NULL;
        warm(v);
    }
    tracing = told;
}

/* ---- phases ---- */

static void run_for(uint64_t us)
{
    uint64_t until = w.now + us;
    while (run_one(until)) {
    }
}

static void begin(enum phase phase)
{
    w.sim_phase = phase;
}

static bool served_since(uint64_t when)
{
    return w.last_routed_ack > when;
}

/* What a person is waited for, as the leader has it; "": nothing. */
static const char *waits_for_person(int c)
{
    static char text[64];
    if (c < 0) {
        return "";
    }
    const struct database_state *db = &ctls[c].core.databases[0];
    bool wakes = false;
    for (int a = 0; a < st.group.alarms_len; a++) {
        wakes = wakes || st.group.alarms[a].wakes;
    }
    if (st.group.paused) {
        return "paused by a person";
    }
    if (!wakes && ctls[c].called == 0) {
        return "";
    }
    snprintf(text, sizeof text, "a person is called: %s", db_state_names[db->state]);
    return text;
}

/* Lease, two rounds of probes, the permit's time, and what standbys, promotion and routes take. */
static uint64_t bound_us(void)
{
    const struct profile *profile = definition_profile(&def);
    uint64_t ms = 2u * profile->lease_ms + 2000 +
                  2u * (profile->probe_interval_ms + profile->probe_deadline_ms) +
                  permit_sum_ms(profile->permit_d_ms, profile->permit_w_ms, profile->permit_k_ms) +
                  2000 + 6000;
    return ms * MS;
}

static int holder_of_permit(void)
{
    return st.permit.node[1] - '1';
}

static void liveness(void)
{
    uint64_t healed = w.now;
    const struct move_record *move = store_move();
    bool promoting = move != NULL && move->candidate[0] != '\0' && move->phase <= PHASE_PROMOTE;
    uint64_t limit = bound_us() + (promoting ? PROMOTION_US : 0);
    while (w.broken[0] == '\0' && w.now < healed + limit && !served_since(healed + 200 * MS)) {
        if (!run_one(healed + limit)) {
            break;
        }
    }
    w.back_us = w.now - healed;
    if (w.broken[0] != '\0' || served_since(healed)) {
        return;
    }
    const char *waits = waits_for_person(ctl_leading());
    int c = ctl_leading();
    const char *state = c >= 0 ? db_state_names[ctls[c].core.databases[0].state] : "no leader";
    if (waits[0] != '\0') {
        snprintf(w.ending, sizeof w.ending, "core: %s", waits);
    } else if (w.pgs[holder_of_permit()].primary && pg_works(holder_of_permit()) &&
               !pg_can_ack(holder_of_permit())) {
        snprintf(w.ending, sizeof w.ending, "core: commits wait for a standby: %s", state);
    } else {
        broken(
            "L1: the core is well for %.0f s, nobody is served and no person is called: %s, permit "
            "%s %.10s, its guard %s",
            (double)limit / 1e6, state,
            st.permit.state == PERMIT_GRANTED ? "granted to" : "revoked from", st.permit.node,
            duty_names[guards[st.permit.node[1] - '1'].core.state]);
    }
}

static void converge(void)
{
    run_for(8 * SEC);
    if (served_since(w.now - 3 * SEC) && !st.group.moving) {
        check_converged();
        return;
    }
    run_for(12 * SEC);
    for (int tries = 0; tries < 2 && w.broken[0] == '\0' && !served_since(w.now - 3 * SEC);
         tries++) {
        if (st.group.paused) {
            store_ask(REQUEST_RESUME, NOBODY, "all is well");
        }
        store_ask(REQUEST_WORKFLOW_RETRY, NOBODY, "all is well");
        run_for(15 * SEC);
    }
    if (w.broken[0] != '\0' || served_since(w.now - 3 * SEC)) {
        return;
    }
    int c = ctl_leading();
    const char *waits = waits_for_person(c);
    char held[GUARD_TEXT_SIZE] = "";
    int n = st.permit.node[1] - '1';
    snprintf(held, sizeof held, "%s", guard_held(&guards[n].core));
    if (waits[0] == '\0') {
        broken("L8: everything is well, nobody is served and no person is called: %s",
               c >= 0 ? db_state_names[ctls[c].core.databases[0].state] : "no leader");
    }
    snprintf(w.ending, sizeof w.ending, "end: %s%s; %s %.10s; %s %.40s",
             c >= 0 ? db_state_names[ctls[c].core.databases[0].state] : "no leader",
             waits[0] != '\0' ? ", person called" : "",
             st.permit.state == PERMIT_GRANTED ? "granted" : "revoked", st.permit.node,
             duty_names[guards[n].core.state], held);
}

bool world_run(void)
{
    world_load_copy(plan.variant);
    queue_reset((uint64_t)plan.seed);
    w.hash = 1;
    w.events = 0;
    w.victim = NOBODY;
    w.loss_percent = plan.loss_percent;
    w.phase_since = w.now;
    ctls[0].called = 0;
    ctls[1].called = 0;
    begin(PHASE_FAULTS);
    faults_start();
    run_for(plan.faults_us);
    if (w.broken[0] == '\0') {
        begin(PHASE_CORE);
        live_begin();
        faults_heal_core();
        liveness();
    }
    if (w.broken[0] == '\0') {
        begin(PHASE_ALL);
        faults_heal_all();
        converge();
    }
    return w.broken[0] == '\0';
}
