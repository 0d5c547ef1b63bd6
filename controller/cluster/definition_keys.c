#include "controller/cluster/definition_keys.h"

#include <stdio.h>

#define MS(s) ((int64_t)(s)*1000)
#define HOUR  INT64_C(3600)
#define DAY   (24 * HOUR)
#define TIB   (INT64_C(1) << 40)

static const char *const sslmode_names[] = {"disable",   "allow",       "prefer", "require",
                                            "verify-ca", "verify-full", NULL};
static const char *const proxy_type_names[] = {"haproxy", NULL};

#define UNKEPT .offset = KEY_NOWHERE

/* clang-format off */
static const struct key rows[] = {
    { "cluster", KEY_NAME, KEY_FIELD(definition, cluster),
      .help = "The cluster's name; its keys in etcd stand under /failover/NAME/." },
    { "profile", KEY_ENUM, KEY_FIELD(definition, profile), .names = profile_names, .absent = "default",
      .help = "Intervals, deadlines and leases. `fast` finds a failure sooner and tolerates shorter stalls." },

    { "sites", KEY_MAP, KEY_ITEMS(definition, sites, sites_len), .items_min = 1,
      .help = "The places where a copy of a group can run." },

    { "nodes", KEY_MAP, KEY_ITEMS(definition, nodes, nodes_len), .items_min = 1,
      .help = "The hosts." },
    { "nodes.*.site", KEY_REF, KEY_FIELD(node_def, site), .refers = "sites",
      .help = "Where it stands." },
    { "nodes.*.address", KEY_ADDRESS, KEY_FIELD(node_def, address),
      .help = "The address at which its databases are reached; numeric, so that no name server is needed." },
    { "nodes.*.fencing", KEY_LIST, KEY_ITEMS(node_def, levels, levels_len), .absent = "",
      .help = "The fencing levels, in the order in which they are tried." },
    { "nodes.*.fencing[].name", KEY_NAME, KEY_FIELD(fence_level_def, name),
      .help = "The level's name in the log and in the evidence." },
    { "nodes.*.fencing[].method", KEY_ENUM, KEY_FIELD(fence_level_def, method), .names = fence_method_names,
      .help = "`agent`: a ClusterLabs fence agent; `command`: a program of your own; `operator`: a person's "
              "`failoverctl confirm-fenced`; and beside these `guard`: the node's failover-guard, `permit`: the "
              "permit's time, `replication`: the standbys." },
    { "nodes.*.fencing[].agent", KEY_PROGRAM, KEY_FIELD(fence_level_def, program), .absent = "",
      .help = "The fence agent's program; required by `method: agent`." },
    { "nodes.*.fencing[].command", KEY_NAME, KEY_FIELD(fence_level_def, program), .absent = "",
      .help = "The name of a command in local.yaml; required by `method: command`." },
    { "nodes.*.fencing[].options", KEY_MAP, KEY_ITEMS(fence_level_def, options, options_len), .absent = "",
      .mark_offset = offsetof(struct fence_option, secret), .marked = false,
      .help = "The agent's options, as its manual names them, but `action`." },
    { "nodes.*.fencing[].options.*", KEY_TEXT, KEY_FIELD(fence_option, value),
      .help = "The option's value." },
    { "nodes.*.fencing[].secrets", KEY_MAP, KEY_ITEMS(fence_level_def, options, options_len), .absent = "",
      .mark_offset = offsetof(struct fence_option, secret), .marked = true,
      .help = "Options whose values are secrets." },
    { "nodes.*.fencing[].secrets.*", KEY_NAME, KEY_FIELD(fence_option, value),
      .help = "The name of a secret in local.yaml." },
    { "nodes.*.fencing[].deadline", KEY_DURATION, KEY_FIELD(fence_level_def, deadline_ms),
      .min = MS(1), .max = MS(600), .absent = "",
      .help = "Of the whole level; 20s for an agent, 10s for a command. The others have none." },

    { "databases", KEY_MAP, KEY_ITEMS(definition, databases, databases_len), .items_min = 1,
      .help = "The PostgreSQL databases: each is one primary and its standbys." },
    { "databases.*.dbname", KEY_TEXT, KEY_FIELD(database_def, dbname), .min = 1, .absent = "",
      .help = "The database to connect to; by default the entry's own name." },
    { "databases.*.user", KEY_TEXT, KEY_FIELD(database_def, user), .min = 1, .absent = "failoverd",
      .help = "The role that `failoverctl setup-sql` makes." },
    { "databases.*.password", KEY_NAME, KEY_FIELD(database_def, password), .absent = "",
      .help = "The name of a secret in local.yaml." },
    { "databases.*.sslmode", KEY_CHOICE, KEY_FIELD(database_def, sslmode), .names = sslmode_names,
      .absent = "prefer", .help = "As libpq's." },
    { "databases.*.durability", KEY_ENUM, KEY_FIELD(database_def, durability), .names = durability_names,
      .help = "`sync`: what is acknowledged has its copies, unless too few standbys are there for `degrade_after`. "
              "`strict`: without them commits wait. `async`: at most `max_lag` may be lost." },
    { "databases.*.sync", KEY_SECTION, .absent = "",
      .help = "The standbys that a commit waits for: the primary's guard writes them into synchronous_standby_names; "
              "without a guard a person does. Required by `durability: sync` and `strict`." },
    { "databases.*.sync.first", KEY_INTEGER, UNKEPT, .min = 1, .max = INSTANCES_MAX - 1, .absent = "",
      .help = "How many standbys a commit waits for, the first ones of the list that are there. This or `any`." },
    { "databases.*.sync.any", KEY_INTEGER, UNKEPT, .min = 1, .max = INSTANCES_MAX - 1, .absent = "",
      .help = "How many standbys a commit waits for, whichever are the quickest. This or `first`." },
    { "databases.*.sync.standbys", KEY_REF, UNKEPT, .refers = "nodes", .items_min = 1,
      .items_max = INSTANCES_MAX, .help = "The nodes of those standbys, in the order of preference. The one that is the "
              "primary at the time does not count." },
    { "databases.*.degrade_after", KEY_DURATION, KEY_FIELD(database_def, degrade_after_ms), .min = MS(1),
      .max = MS(HOUR), .absent = "10s",
      .help = "When standbys of `sync` have confirmed nothing for so long, their guarded primary waits for those that are "
              "there: with `strict` never for fewer than declared, with `sync` at last for none. Below a second it would "
              "degrade whenever a standby's link is made anew." },
    { "databases.*.max_lag", KEY_SIZE, KEY_FIELD(database_def, max_lag_bytes), .min = 0, .max = TIB,
      .absent = "16MiB", .help = "With `async`: the estimated loss of WAL that automation may accept." },
    { "databases.*.on_crash", KEY_ENUM, KEY_FIELD(database_def, on_crash), .names = on_crash_names,
      .absent = "failover", .help = "When a guarded primary's PostgreSQL ends by itself: `failover`, or `restart` in "
              "its place first." },
    { "databases.*.restart_deadline", KEY_DURATION, KEY_FIELD(database_def, restart_deadline_ms), .min = MS(1),
      .max = MS(600), .absent = "10s", .help = "With `on_crash: restart`: writable again by then, or it is a failover." },
    { "databases.*.instances", KEY_MAP, KEY_ITEMS(database_def, instances, instances_len), .items_min = 1,
      .refers = "nodes", .help = "Its instances, by the node that each runs on." },
    { "databases.*.instances.*.port", KEY_INTEGER, KEY_FIELD(instance_def, port), .min = 1, .max = 65535,
      .absent = "5432", .help = "PostgreSQL's port." },
    { "databases.*.instances.*.name", KEY_WORD, KEY_FIELD(instance_def, name), .absent = "",
      .help = "Its application_name as a standby; by default the node's name." },
    { "databases.*.instances.*.priority", KEY_INTEGER, KEY_FIELD(instance_def, priority),
      .min = -10000, .max = 10000, .absent = "100",
      .help = "Among candidates with the same WAL the higher one wins." },

    { "services", KEY_MAP, KEY_ITEMS(definition, services, services_len), .absent = "",
      .help = "The business services." },
    { "services.*.database", KEY_REF, KEY_FIELD(service_def, database), .refers = "databases",
      .help = "Where this database is primary, there the service is active." },
    { "services.*.instances", KEY_MAP, KEY_ITEMS(service_def, instances, instances_len), .items_min = 1,
      .refers = "nodes", .help = "Its instances, by the node that each runs on." },
    { "services.*.instances.*.url", KEY_URL, KEY_FIELD(service_instance_def, url),
      .help = "What is asked to learn its health." },
    { "services.*.instances.*.status", KEY_INTEGER, KEY_FIELD(service_instance_def, status),
      .min = 100, .max = 599, .absent = "200", .help = "The HTTP status of a healthy answer." },
    { "services.*.instances.*.body", KEY_TEXT, KEY_FIELD(service_instance_def, body), .absent = "",
      .help = "What must occur in a healthy answer; nothing by default." },

    { "proxies", KEY_MAP, KEY_ITEMS(definition, proxies, proxies_len), .absent = "",
      .help = "The proxies that carry the traffic." },
    { "proxies.*.type", KEY_CHOICE, UNKEPT, .names = proxy_type_names, .absent = "haproxy",
      .help = "What it is." },
    { "proxies.*.runtime", KEY_ENDPOINT, KEY_FIELD(proxy_def, runtime),
      .help = "Where its runtime API listens (`stats socket ... level admin`)." },

    { "routes", KEY_MAP, KEY_ITEMS(definition, routes, routes_len), .absent = "",
      .help = "The ways of the traffic: each to the primary of a database, or to the active instance of a "
              "service, on every proxy it names." },
    { "routes.*.database", KEY_REF, KEY_FIELD(route_def, database), .refers = "databases", .absent = "",
      .help = "Leads to this database's primary." },
    { "routes.*.service", KEY_REF, KEY_FIELD(route_def, service), .refers = "services", .absent = "",
      .help = "Leads to this service's active instance." },
    { "routes.*.proxies", KEY_REF, KEY_ITEMS(route_def, proxies, proxies_len), .items_min = 1,
      .refers = "proxies", .help = "The proxies that have it." },
    { "routes.*.backend", KEY_WORD, KEY_FIELD(route_def, backend),
      .help = "HAProxy's name of the backend." },
    { "routes.*.servers", KEY_MAP, UNKEPT, .items_max = INSTANCES_MAX, .refers = "nodes", .absent = "",
      .help = "The name of each node's server in the backend; by default the node's name." },
    { "routes.*.servers.*", KEY_WORD, UNKEPT,
      .help = "HAProxy's name of the server." },

    { "groups", KEY_MAP, KEY_ITEMS(definition, groups, groups_len), .items_min = 1,
      .help = "What moves together. Each database and service is in exactly one." },
    { "groups.*.home", KEY_REF, KEY_FIELD(group_def, home), .refers = "sites",
      .help = "The site where it is at home." },
    { "groups.*.databases", KEY_REF, UNKEPT, .refers = "databases", .items_min = 1,
      .items_max = DATABASES_MAX, .help = "Its databases." },
    { "groups.*.services", KEY_REF, UNKEPT, .refers = "services", .items_min = 0, .items_max = SERVICES_MAX,
      .absent = "", .help = "Its services." },
    { "groups.*.move", KEY_ENUM, KEY_FIELD(group_def, move), .names = move_mode_names, .absent = "apart",
      .help = "`apart`: only the failed database moves. `together`: the others follow." },
    { "groups.*.automatic", KEY_BOOL, KEY_FIELD(group_def, automatic), .absent = "yes",
      .help = "`no`: a person is called instead of a failover." },

    { "objectives", KEY_SECTION, .offset = offsetof(struct definition, objectives), .absent = "{}",
      .help = "The recovery's times, counted from the first evidence of impact." },
    { "objectives.switched", KEY_DURATION, KEY_FIELD(objective_def, switched_ms), .min = MS(1),
      .max = MS(30 * DAY), .absent = "1h", .help = "Switched to the standby." },
    { "objectives.normal", KEY_DURATION, KEY_FIELD(objective_def, normal_ms), .min = MS(1),
      .max = MS(30 * DAY), .absent = "2h", .help = "Business is normal again." },
    { "objectives.back", KEY_DURATION, KEY_FIELD(objective_def, back_ms), .min = MS(1),
      .max = MS(30 * DAY), .absent = "24h", .help = "Switched back, with the data in sync." },

    { "policy", KEY_SECTION, .offset = offsetof(struct definition, policy), .absent = "{}",
      .help = "What automation may do." },
    { "policy.budget", KEY_SECTION, .absent = "{}",
      .help = "Completed automatic failovers of a group. An operator is never blocked by it." },
    { "policy.budget.failovers", KEY_INTEGER, KEY_FIELD(policy_def, budget_failovers), .min = 1, .max = 8,
      .absent = "2", .help = "At most so many ..." },
    { "policy.budget.per", KEY_DURATION, KEY_FIELD(policy_def, budget_per_ms), .min = MS(60),
      .max = MS(30 * DAY), .absent = "1h", .help = "... in this time." },
    { "policy.cut_off_after", KEY_DURATION, KEY_FIELD(policy_def, cut_off_after_ms), .min = MS(1),
      .max = MS(HOUR), .absent = "10s",
      .help = "Kept for the guards: a primary that lives, but that no controller and no proxy reaches, has failed after "
              "this time. Without guards it is held, and a person is called." },
    { "policy.when_blind", KEY_ENUM, KEY_FIELD(policy_def, when_blind), .names = when_blind_names,
      .absent = "stop", .help = "A guard that reaches neither etcd nor every promiser in time stops its primary; "
              "`continue`: it goes on, and time is no evidence." },
    { "policy.call", KEY_NAME, KEY_FIELD(policy_def, call), .absent = "",
      .help = "The name of a command in local.yaml, run once for each alarm that wakes a person." },
};
/* clang-format on */

const struct keys definition_keys = {rows, (int)(sizeof rows / sizeof *rows)};

void definition_reference_print(FILE *to)
{
    keys_print(&definition_keys, to);
}
