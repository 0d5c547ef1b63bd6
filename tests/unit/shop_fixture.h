/*
 * shop_fixture.h - a controller's core that watches a shop, filled through its own door: one
 * definition, the records, and findings. For the tests of status, API and failoverctl.
 */
#ifndef TESTS_UNIT_SHOP_FIXTURE_H
#define TESTS_UNIT_SHOP_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/core/core.h"

#define SHOP_NOW_MS  UINT64_C(1000000)
#define SHOP_WALL_MS INT64_C(1790000000000) /* 2026-09-21T14:13:20Z */
#define SHOP_SYSTEM  UINT64_C(7301234567890123456)
#define SHOP_LSN     UINT64_C(0x16b374d848)

static const char shop_yaml[] =
    "cluster: shop\n"
    "sites: { east: {}, west: {} }\n"
    "nodes:\n"
    "  pay-east: { site: east, address: 192.0.2.11, fencing: [ { name: person, method: operator } ] }\n"
    "  pay-west: { site: west, address: 192.0.2.12, fencing: [ { name: person, method: operator } ] }\n"
    "databases:\n"
    "  payments:\n"
    "    dbname: payments\n"
    "    user: failoverd\n"
    "    durability: sync\n"
    "    sync: { first: 1, standbys: [pay-west] }\n"
    "    instances:\n"
    "      pay-east: { name: pay_east }\n"
    "      pay-west: { name: pay_west }\n"
    "services:\n"
    "  payment:\n"
    "    database: payments\n"
    "    instances:\n"
    "      pay-east: { url: \"http://192.0.2.11:8001/health\" }\n"
    "      pay-west: { url: \"http://192.0.2.12:8001/health\" }\n"
    "proxies:\n"
    "  front1: { type: haproxy, runtime: \"192.0.2.21:9999\" }\n"
    "routes:\n"
    "  payments-db: { database: payments, proxies: [front1], backend: payments_db }\n"
    "groups:\n"
    "  shop: { home: east, databases: [payments], services: [payment] }\n";

static inline void shop_definition(struct definition *ret_def)
{
    struct complaints *complaints = calloc(1, sizeof *complaints);
    if (definition_read(shop_yaml, strlen(shop_yaml), ret_def, complaints) < 0) {
        complaints_print(stderr, "shop_yaml", complaints);
        abort();
    }
    free(complaints);
}

static inline void shop_step(struct core *core, const struct core_event *event)
{
    struct core_effects *effects = calloc(1, sizeof *effects);
    core_step(core, event, effects);
    free(effects);
}

/* A primary that took a write, with its standby streaming or not. */
static inline struct instance_fact shop_primary_fact(uint64_t at_ms, bool standby_streams)
{
    struct instance_fact fact = {.asked_ms = at_ms - 3,
                                 .answered_ms = at_ms,
                                 .cause = CAUSE_OK,
                                 .answered = true,
                                 .role = ROLE_PRIMARY,
                                 .wrote = true,
                                 .write_ms = 2,
                                 .system_id = SHOP_SYSTEM,
                                 .timeline = 1,
                                 .write_lsn = SHOP_LSN,
                                 .sync_commit_on = true,
                                 .standbys_len = standby_streams ? 1 : 0};
    snprintf(fact.sync_names, sizeof fact.sync_names, "FIRST 1 (pay_west)");
    snprintf(fact.standbys[0].name, sizeof fact.standbys[0].name, "pay_west");
    fact.standbys[0].streaming = fact.standbys[0].sync = standby_streams;
    fact.standbys[0].sync_priority = 1;
    fact.standbys[0].flush_lsn = SHOP_LSN;
    return fact;
}

static inline struct instance_fact shop_standby_fact(uint64_t at_ms, uint64_t lag_bytes)
{
    return (struct instance_fact){.asked_ms = at_ms - 2,
                                  .answered_ms = at_ms,
                                  .cause = CAUSE_OK,
                                  .answered = true,
                                  .role = ROLE_STANDBY,
                                  .system_id = SHOP_SYSTEM,
                                  .timeline = 1,
                                  .receive_lsn = SHOP_LSN - lag_bytes,
                                  .replay_lsn = SHOP_LSN - lag_bytes,
                                  .receiving = true,
                                  .replay_idle = true};
}

static inline struct instance_fact shop_failure_fact(uint64_t at_ms, enum cause cause)
{
    struct instance_fact fact = {.asked_ms = at_ms - 1, .answered_ms = at_ms, .cause = cause};
    snprintf(fact.detail, sizeof fact.detail, "connection to 192.0.2.11 failed");
    return fact;
}

static inline void shop_see(struct core *core, int instance, struct instance_fact fact)
{
    shop_step(core, &(struct core_event){.type = EV_INSTANCE,
                                         .now_ms = fact.answered_ms,
                                         .wall_ms = SHOP_WALL_MS,
                                         .instance = {.instance = instance, .fact = fact}});
}

static inline void shop_permit(struct core *core)
{
    struct permit_record permit = {.state = PERMIT_GRANTED,
                                   .epoch = {.incarnation = 1, .counter = 7},
                                   .system_id = SHOP_SYSTEM,
                                   .timeline = 1,
                                   .sync_len = 1};
    snprintf(permit.database, sizeof permit.database, "payments");
    snprintf(permit.node, sizeof permit.node, "pay-east");
    permit.sync[0].k = 1;
    permit.sync[0].members_len = 1;
    snprintf(permit.sync[0].members[0], NAME_SIZE, "pay_west");
    core_take_permit(core, &permit, 11);
}

/* What the group's record says when payments has been adopted on pay-east. */
static inline struct group_record shop_group(void)
{
    struct group_record group = {.databases_len = 1};
    snprintf(group.name, sizeof group.name, "shop");
    snprintf(group.databases[0].database, NAME_SIZE, "payments");
    snprintf(group.databases[0].primary, NAME_SIZE, "pay-east");
    group.databases[0].system_id = SHOP_SYSTEM;
    group.databases[0].timeline = 1;
    group.databases[0].sync_enforced = true;
    return group;
}

static inline struct incident_record shop_incident(void)
{
    struct incident_record incident = {.state = INCIDENT_OPEN,
                                       .fault_class = FAULT_HARDWARE,
                                       .opened_wall_ms = SHOP_WALL_MS - 60000,
                                       .anchor_ms = 50000,
                                       .anchor_wall_ms = SHOP_WALL_MS - 10000,
                                       .ended_ms = {1200, 1500, 4000, -1, -1, -1},
                                       .people_ms = 1000,
                                       .databases_len = 1,
                                       .notes_len = 1};
    snprintf(incident.id, sizeof incident.id, "20260921-141220-shop");
    snprintf(incident.group, sizeof incident.group, "shop");
    snprintf(incident.reason, sizeof incident.reason, "payments: primary on pay-east: refused");
    snprintf(incident.opened_by, sizeof incident.opened_by, "ops1");
    static const uint64_t limits_ms[OBJECTIVES] = {3600000, 30000, 86400000};
    for (int i = 0; i < OBJECTIVES; i++) {
        incident.objectives[i] =
            (struct objective_record){.limit_ms = limits_ms[i], .actual_ms = -1};
    }
    incident.objectives[OBJECTIVE_SWITCHED].actual_ms = 12345;
    snprintf(incident.databases[0].name, NAME_SIZE, "payments");
    snprintf(incident.databases[0].from, NAME_SIZE, "pay-east");
    snprintf(incident.databases[0].to, NAME_SIZE, "pay-west");
    snprintf(incident.databases[0].evidence, REASON_SIZE, "agent power: off");
    incident.notes[0].at_ms = 1500;
    snprintf(incident.notes[0].rule, sizeof incident.notes[0].rule, "R-F3");
    snprintf(incident.notes[0].text, sizeof incident.notes[0].text, "revoke first");
    return incident;
}

/* Adopted, everything healthy, the second service's instance not probed yet; seen by the follower
 * ops2 at SHOP_NOW_MS. */
static inline struct core *shop_core(void)
{
    struct core *core = calloc(1, sizeof *core);
    struct definition *def = calloc(1, sizeof *def);
    struct group_record group = shop_group();
    shop_definition(def);
    core_init(core, "ops2", SHOP_NOW_MS - 60000);
    core_take_definition(core, def, 42);
    free(def);
    core_take_group(core, &group, 12, core->now_ms);
    shop_permit(core);
    shop_see(core, 1, shop_standby_fact(SHOP_NOW_MS - 400, 4096));
    shop_see(core, 0, shop_primary_fact(SHOP_NOW_MS - 300, true));
    shop_step(core, &(struct core_event){.type = EV_SERVICE,
                                         .now_ms = SHOP_NOW_MS - 100,
                                         .service = {.fact = {.asked_ms = SHOP_NOW_MS - 107,
                                                              .answered_ms = SHOP_NOW_MS - 100,
                                                              .cause = CAUSE_OK,
                                                              .status = 200,
                                                              .latency_ms = 7}}});
    return core;
}

#endif
