/*
 * definition.h - what a cluster is: the operator's one YAML file, as values.
 *
 * Pure: fixed arrays with a _MAX each, names by value, references by index into the arrays (checked
 * by the reader, definition_read.h; -1 is "none"). The core keeps a copy of its own. Field comments
 * give units.
 */
#ifndef FAILOVER_CLUSTER_DEFINITION_H
#define FAILOVER_CLUSTER_DEFINITION_H

#include <stdbool.h>
#include <stdint.h>

#define NAME_SIZE    64 /* names: [a-z0-9]([a-z0-9._-]*[a-z0-9])?, at most 63 bytes */
#define ADDRESS_SIZE 64 /* a numeric address, or a socket's path in `runtime` (108) */
#define URL_SIZE     256
#define TEXT_SIZE    160

#define SITES_MAX         4
#define NODES_MAX         16
#define DATABASES_MAX     8
#define INSTANCES_MAX     5 /* of one database */
#define SERVICES_MAX      8
#define PROXIES_MAX       8
#define ROUTES_MAX        24
#define GROUPS_MAX        8
#define LEVELS_MAX        6  /* of fencing, per node */
#define OPTIONS_MAX       12 /* of a fence agent */
#define SYNC_DECLARED_MAX 1  /* sync entries of a definition */
#define SYNC_ENTRIES_MAX  4  /* of a permit: all that PostgreSQL may be enforcing */
#define OBJECTIVES        3
#define SYNC_NAMES_SIZE   384 /* synchronous_standby_names with every instance in it */

/* design §7. The first two are run, one after the other; a person is waited for; what comes of the
 * others is seen, beside those that run. */
enum fence_method {
    FENCE_AGENT,
    FENCE_COMMAND,
    FENCE_OPERATOR,
    FENCE_GUARD,       /* the node's failover-guard reports that the instance is gone */
    FENCE_PERMIT,      /* the permit's time has passed */
    FENCE_REPLICATION, /* enough synchronous standbys no longer receive: shortens the other two */
    FENCE_METHODS
};
extern const char *const fence_method_names[]; /* NULL-terminated, as are all *_names[] */
bool fence_method_is_run(enum fence_method method);

enum on_crash { CRASH_FAILOVER, CRASH_RESTART }; /* of a guarded primary that ended by itself */
extern const char *const on_crash_names[];
enum when_blind {
    BLIND_STOP,
    BLIND_CONTINUE
}; /* a guard that neither etcd nor every promiser
      answers */
extern const char *const when_blind_names[];

/* Both of the first wait for copies. Without enough of them `sync` goes on with fewer, at last with
 * none, after degrade_after; `strict` waits (design §8, "Sync entries"). */
enum durability { DURABILITY_SYNC, DURABILITY_STRICT, DURABILITY_ASYNC };
extern const char *const durability_names[];

enum move_mode { MOVE_APART, MOVE_TOGETHER };
extern const char *const move_mode_names[];

enum profile_name { PROFILE_DEFAULT, PROFILE_FAST };
extern const char *const profile_names[];

/* design §7, "Time as evidence"; all in milliseconds. */
struct profile {
    uint32_t probe_interval_ms;
    uint32_t probe_deadline_ms;
    uint32_t fall;           /* failed probes in a row that make a target down */
    uint32_t rise;           /* good ones that make it up again */
    uint32_t refused_for_ms; /* refused that long is down as well */
    uint32_t lease_ms;
    uint32_t permit_d_ms, permit_w_ms, permit_k_ms;
    uint32_t renewal_ms;
};
extern const struct profile profiles[]; /* by enum profile_name */

struct site_def {
    char name[NAME_SIZE];
};

struct fence_option {
    char name[NAME_SIZE];
    char value[TEXT_SIZE]; /* or the name of a secret */
    bool secret;
};

struct fence_level_def {
    char name[NAME_SIZE];
    enum fence_method method;
    char program[NAME_SIZE]; /* agent: fence_*; command: its name in local.yaml */
    struct fence_option options[OPTIONS_MAX];
    int options_len;
    uint32_t deadline_ms; /* of the whole level: off and status */
};

struct node_def {
    char name[NAME_SIZE];
    int site;
    char address[ADDRESS_SIZE]; /* numeric IPv4 or IPv6 */
    struct fence_level_def levels[LEVELS_MAX];
    int levels_len;
};

struct instance_def {
    int node;
    uint16_t port;
    char name[NAME_SIZE]; /* application_name as a standby: what synchronous_standby_names says */
    int32_t priority;     /* among candidates with the same WAL the higher one wins */
};

struct sync_entry_def { /* FIRST or ANY k (members); both count as ANY for what a failover needs */
    bool first;
    int k;
    int members[INSTANCES_MAX]; /* indices into the database's instances */
    int members_len;
};

struct database_def {
    char name[NAME_SIZE];
    char dbname[NAME_SIZE];
    char user[NAME_SIZE];
    char password[NAME_SIZE]; /* the name of a secret, or "" */
    char sslmode[16];
    enum durability durability;
    struct sync_entry_def sync[SYNC_DECLARED_MAX];
    int sync_len;
    uint32_t degrade_after_ms; /* so long without enough copies: then with fewer */
    uint64_t max_lag_bytes;
    enum on_crash on_crash;
    uint32_t restart_deadline_ms; /* CRASH_RESTART: then it is a failover */
    struct instance_def instances[INSTANCES_MAX];
    int instances_len;
    int group; /* whose group lists it; every database is in exactly one */
};

struct service_instance_def {
    int node;
    char url[URL_SIZE];
    int status;           /* wanted; 200 by default */
    char body[TEXT_SIZE]; /* must occur in the answer's body; "" for any */
};

struct service_def {
    char name[NAME_SIZE];
    int database;
    struct service_instance_def instances[INSTANCES_MAX];
    int instances_len;
    int group;
};

struct proxy_def {
    char name[NAME_SIZE];
    char runtime[112]; /* "address:port", "[v6]:port" or "/path" of HAProxy's runtime API */
};

struct route_def {
    char name[NAME_SIZE];
    int database; /* one of the two, the other -1 */
    int service;
    int proxies[PROXIES_MAX];
    int proxies_len;
    char backend[NAME_SIZE];                /* HAProxy's name of it: [A-Za-z0-9_.:-]+ */
    char servers[INSTANCES_MAX][NAME_SIZE]; /* parallel to the database's or service's instances */
};

struct group_def {
    char name[NAME_SIZE];
    int home; /* site */
    enum move_mode move;
    bool automatic;
};

struct objective_def {
    uint64_t switched_ms, normal_ms, back_ms;
};

struct policy_def {
    uint32_t budget_failovers;
    uint64_t budget_per_ms;
    uint64_t cut_off_after_ms;
    enum when_blind when_blind;
    char call[NAME_SIZE]; /* a command in local.yaml, or "" */
};

struct definition {
    char cluster[NAME_SIZE];
    enum profile_name profile;
    struct site_def sites[SITES_MAX];
    struct node_def nodes[NODES_MAX];
    struct database_def databases[DATABASES_MAX];
    struct service_def services[SERVICES_MAX];
    struct proxy_def proxies[PROXIES_MAX];
    struct route_def routes[ROUTES_MAX];
    struct group_def groups[GROUPS_MAX];
    int sites_len, nodes_len, databases_len, services_len, proxies_len, routes_len, groups_len;
    struct objective_def objectives;
    struct policy_def policy;
};

/* Index by name, or -1. */
int definition_site(const struct definition *def, const char *name);
int definition_node(const struct definition *def, const char *name);
int definition_database(const struct definition *def, const char *name);
int definition_group(const struct definition *def, const char *name);
/* The instance of that database on that node, or -1. */
int definition_instance(const struct database_def *db, int node);
const struct profile *definition_profile(const struct definition *def);
/* D - W - K - the renewals' interval: a permit's holder survives a network that stands still for so
 * long, and one that stands still for longer is judged gone. */
uint32_t profile_stall_ms(const struct profile *profile);
/* Whether that node's levels name the method; FENCE_GUARD: a failover-guard runs there. */
bool node_has_method(const struct node_def *node, enum fence_method method);
/* (D + W + K)(1 + rho) + epsilon of design §7: after so long a permit alone is evidence. */
uint32_t permit_sum_ms(uint32_t d_ms, uint32_t w_ms, uint32_t k_ms);
/* The longest until this node's levels have proven it fenced without a person, in this profile; 0:
 * they cannot. */
uint32_t node_fence_ms(const struct node_def *node, const struct profile *profile);

#endif
