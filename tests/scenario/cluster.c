/*
 * cluster.c - one line to a definition and the world that it describes.
 *
 *   cluster databases=payments(a1*,a2,a3),orders(b1*,b2) [controllers=2] [profile=default|fast]
 *           [sync=payments:1(a2,a3)] [durability=async] [max-lag=16M] [automatic=no] [groups=each]
 *           [manual=orders] [on-crash=restart]
 *           [levels=guard,permit,replication,power,switch,operator] [proxies=2] [services=yes|home]
 * [routes=apart] [budget=2] [objectives=1h,2h,24h] [cold=yes]
 *
 * `*` marks the primary at the start (two of them: a person's doing). Without `sync` a database
 * waits for all its standbys; `sync=payments:1(a2,a3)` declares FIRST 1, `payments:any1(...)`
 * ANY 1. A node may carry several databases. `cold=yes` shows the start too; else the transcript
 * begins with an adopted cluster at rest. `services=home`: only beside each database's first. With
 * a level `guard` each node has its failover-guard, which observes until a person asks `adopt`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/script.h"
#include "tests/scenario/world.h"

static void set_name(char to[NAME_SIZE], const char *from)
{
    size_t len = strnlen(from, NAME_SIZE - 1);
    memmove(to, from, len);
    to[len] = '\0';
}

static int node_index(struct definition *def, const char *name)
{
    int node = definition_node(def, name);
    if (node >= 0 || def->nodes_len == NODES_MAX) {
        return node;
    }
    struct node_def *fresh = &def->nodes[def->nodes_len];
    snprintf(fresh->name, sizeof fresh->name, "%s", name);
    snprintf(fresh->address, sizeof fresh->address, "192.0.2.%d", def->nodes_len + 1);
    fresh->site = 1;
    return def->nodes_len++;
}

/* "a1*,a2,a3": the instances of one database. */
static bool add_database(void *of, const char *name, char *members)
{
    struct world *world = of;
    struct definition *def = &world->def;
    int db = def->databases_len;
    struct database_def *database = &def->databases[def->databases_len++];
    snprintf(database->name, sizeof database->name, "%s", name);
    snprintf(database->dbname, sizeof database->dbname, "%s", name);
    database->durability = DURABILITY_SYNC;
    database->max_lag_bytes = UINT64_C(16) << 20;
    int primaries = 0;
    char *save = NULL;
    for (char *at = strtok_r(members, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save)) {
        size_t len = strlen(at);
        bool primary = len > 0 && at[len - 1] == '*';
        if (primary) {
            at[len - 1] = '\0';
        }
        if (database->instances_len == INSTANCES_MAX) {
            return false;
        }
        int i = database->instances_len++;
        int node = node_index(def, at);
        if (node < 0) {
            return false;
        }
        database->instances[i] = (struct instance_def){.node = node, .port = 5432};
        snprintf(database->instances[i].name, NAME_SIZE, "%s", at);
        def->nodes[node].site = primary ? 0 : def->nodes[node].site;
        world->pg[db][i] = (struct postgres){.running = true,
                                             .role = primary ? ROLE_PRIMARY : ROLE_STANDBY,
                                             .timeline = 1,
                                             .line = 1,
                                             .lsn = 0x1000000,
                                             .system_id = 7000 + (uint64_t)db};
        if (primary && primaries++ > 0) {
            world->truth[db].split_by_hand = true;
        } else if (primary) {
            world->truth[db].promoted = i;
        }
    }
    struct sync_entry_def *entry = &database->sync[0];
    for (int i = 0; i < database->instances_len; i++) {
        if (world->pg[db][i].role == ROLE_STANDBY) {
            entry->members[entry->members_len++] = i;
        }
    }
    entry->first = true;
    entry->k = entry->members_len;
    database->sync_len = entry->members_len > 0 ? 1 : 0;
    database->degrade_after_ms = 10000;
    world->truth[db].newest_line = 1;
    world->truth[db].recorded_line = 1;
    world->truth[db].rate_bytes_per_s = 10000;
    world->truth[db].settled_ms = world->now_ms;
    return true;
}

/* Calls `take` for each "name(list)" or "name:1(list)" of the value. */
static bool each_list(void *of, char *value,
                      bool (*take)(void *of, const char *name, char *members))
{
    while (*value != '\0') {
        char *open = strchr(value, '(');
        char *close = open != NULL ? strchr(open, ')') : NULL;
        if (close == NULL) {
            return false;
        }
        *open = '\0';
        *close = '\0';
        if (!take(of, value, open + 1)) {
            return false;
        }
        value = close + 1;
        value += *value == ',' ? 1 : 0;
    }
    return true;
}

/* "payments:1" or "payments:any1", and "a2,a3" */
static bool set_sync(void *of, const char *name, char *members)
{
    struct definition *cluster = of;
    char database[NAME_SIZE];
    snprintf(database, sizeof database, "%.*s", NAME_SIZE - 1, name);
    char *colon = strchr(database, ':');
    if (colon == NULL) {
        return false;
    }
    *colon = '\0';
    int db = definition_database(cluster, database);
    if (db < 0) {
        return false;
    }
    struct database_def *def = &cluster->databases[db];
    struct sync_entry_def *entry = &def->sync[0];
    *entry = (struct sync_entry_def){.first = strncmp(colon + 1, "any", 3) != 0};
    if (!script_number(colon + (entry->first ? 1 : 4), &entry->k)) {
        return false;
    }
    char *save = NULL;
    for (char *at = strtok_r(members, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save)) {
        int i = definition_instance(def, definition_node(cluster, at));
        if (i < 0 || entry->members_len == INSTANCES_MAX) {
            return false;
        }
        entry->members[entry->members_len++] = i;
    }
    def->sync_len = 1;
    return entry->k > 0 && entry->k <= entry->members_len;
}

bool cluster_set_sync(struct definition *def, char *value)
{
    return each_list(def, value, set_sync);
}

static bool set_levels(struct world *world, char *value)
{
    struct node_def model = {0};
    char *save = NULL;
    for (char *at = strtok_r(value, ",", &save); at != NULL; at = strtok_r(NULL, ",", &save)) {
        if (model.levels_len == LEVELS_MAX) {
            return false;
        }
        struct fence_level_def *level = &model.levels[model.levels_len++];
        snprintf(level->name, sizeof level->name, "%s", at);
        level->method = FENCE_AGENT;
        for (int method = 0; method < FENCE_METHODS; method++) {
            if (strcmp(at, fence_method_names[method]) == 0) {
                level->method = (enum fence_method)method;
            }
        }
        level->deadline_ms =
            level->method == FENCE_OPERATOR || fence_method_is_run(level->method) ? 10000 : 0;
    }
    for (int n = 0; n < world->def.nodes_len; n++) {
        memcpy(world->def.nodes[n].levels, model.levels, sizeof model.levels);
        world->def.nodes[n].levels_len = model.levels_len;
    }
    return true;
}

static void add_services(struct definition *def, bool home)
{
    for (int db = 0; db < def->databases_len; db++) {
        struct service_def *service = &def->services[def->services_len++];
        set_name(service->name, def->databases[db].name);
        strncat(service->name, "-api", NAME_SIZE - strlen(service->name) - 1);
        service->database = db;
        service->instances_len = home ? 1 : def->databases[db].instances_len;
        for (int i = 0; i < service->instances_len; i++) {
            service->instances[i].node = def->databases[db].instances[i].node;
            service->instances[i].status = 200;
        }
    }
}

static void add_route(struct definition *def, const char *name, int db, int service, bool apart)
{
    struct route_def *route = &def->routes[def->routes_len++];
    const struct database_def *database =
        &def->databases[db >= 0 ? db : def->services[service].database];
    set_name(route->name, name);
    set_name(route->backend, name);
    route->database = db;
    route->service = service;
    for (int p = 0; p < def->proxies_len; p++) {
        if (!apart || p == (def->routes_len - 1) % def->proxies_len) {
            route->proxies[route->proxies_len++] = p;
        }
    }
    for (int i = 0; i < database->instances_len; i++) {
        set_name(route->servers[i], database->instances[i].name);
    }
}

static void add_traffic(struct world *world, int proxies, bool services, bool home, bool apart)
{
    struct definition *def = &world->def;
    for (int p = 0; p < proxies && p < PROXIES_MAX; p++) {
        snprintf(def->proxies[p].name, NAME_SIZE, "p%d", p + 1);
        def->proxies_len++;
    }
    if (services) {
        add_services(def, home);
    }
    for (int db = 0; db < def->databases_len && proxies > 0; db++) {
        add_route(def, def->databases[db].name, db, -1, apart);
    }
    for (int s = 0; s < def->services_len && proxies > 0; s++) {
        add_route(def, def->services[s].name, -1, s, apart);
    }
    for (int r = 0; r < def->routes_len; r++) {
        const struct route_def *route = &def->routes[r];
        int db = route->database >= 0 ? route->database : def->services[route->service].database;
        for (int p = 0; p < def->proxies_len; p++) {
            world->proxies[p].open[r][world->truth[db].promoted] = true;
        }
    }
}

static void add_groups(struct definition *def, bool each, bool automatic, const char *manual)
{
    for (int db = 0; db < def->databases_len; db++) {
        if (each || db == 0) {
            struct group_def *group = &def->groups[def->groups_len++];
            set_name(group->name, each ? def->databases[db].name : "shop");
            group->automatic = automatic && strcmp(group->name, manual) != 0;
        }
        def->databases[db].group = def->groups_len - 1;
    }
    for (int s = 0; s < def->services_len; s++) {
        def->services[s].group = def->databases[def->services[s].database].group;
    }
}

static bool set_objectives(struct definition *def, char *value)
{
    uint64_t *limits[] = {&def->objectives.switched_ms, &def->objectives.normal_ms,
                          &def->objectives.back_ms};
    char *save = NULL;
    char *at = strtok_r(value, ",", &save);
    for (int i = 0; i < 3; i++, at = strtok_r(NULL, ",", &save)) {
        if (at == NULL || !script_duration(at, limits[i])) {
            return false;
        }
    }
    return true;
}

struct wishes {
    int controllers, proxies;
    bool cold, services, home, apart, each, automatic;
    char levels[LINE_SIZE];
    char sync[LINE_SIZE];
    char manual[NAME_SIZE];
};

static bool take_option(struct world *world, const char *key, char *value, struct wishes *wishes)
{
    struct definition *def = &world->def;
    uint64_t bytes;
    if (strcmp(key, "databases") == 0) {
        return each_list(world, value, add_database);
    } else if (strcmp(key, "sync") == 0) {
        snprintf(wishes->sync, sizeof wishes->sync, "%s", value);
    } else if (strcmp(key, "controllers") == 0) {
        return script_number(value, &wishes->controllers) && wishes->controllers >= 1 &&
               wishes->controllers <= CONTROLLERS_MAX;
    } else if (strcmp(key, "profile") == 0) {
        def->profile = strcmp(value, "fast") == 0 ? PROFILE_FAST : PROFILE_DEFAULT;
    } else if (strcmp(key, "durability") == 0) {
        bool strict = strcmp(value, "strict") == 0;
        for (int db = 0; db < def->databases_len; db++) {
            def->databases[db].durability = strict ? DURABILITY_STRICT : DURABILITY_ASYNC;
            def->databases[db].sync_len = strict ? def->databases[db].sync_len : 0;
        }
    } else if (strcmp(key, "on-crash") == 0) {
        for (int db = 0; db < def->databases_len; db++) {
            def->databases[db].on_crash =
                strcmp(value, "restart") == 0 ? CRASH_RESTART : CRASH_FAILOVER;
            def->databases[db].restart_deadline_ms = 10000;
        }
    } else if (strcmp(key, "max-lag") == 0) {
        for (int db = 0; db < def->databases_len && script_bytes(value, &bytes); db++) {
            def->databases[db].max_lag_bytes = bytes;
        }
    } else if (strcmp(key, "levels") == 0) {
        snprintf(wishes->levels, sizeof wishes->levels, "%s", value);
    } else if (strcmp(key, "proxies") == 0) {
        return script_number(value, &wishes->proxies);
    } else if (strcmp(key, "budget") == 0) {
        int failovers;
        if (!script_number(value, &failovers)) {
            return false;
        }
        def->policy.budget_failovers = (uint32_t)failovers;
    } else if (strcmp(key, "objectives") == 0) {
        return set_objectives(def, value);
    } else if (strcmp(key, "automatic") == 0) {
        wishes->automatic = strcmp(value, "no") != 0;
    } else if (strcmp(key, "manual") == 0) {
        set_name(wishes->manual, value);
    } else if (strcmp(key, "groups") == 0) {
        wishes->each = true;
    } else if (strcmp(key, "services") == 0) {
        wishes->services = true;
        wishes->home = strcmp(value, "home") == 0;
    } else if (strcmp(key, "routes") == 0) {
        wishes->apart = true;
    } else if (strcmp(key, "cold") == 0) {
        wishes->cold = true;
    } else {
        return false;
    }
    return true;
}

static void begin(struct world *world, const struct wishes *wishes)
{
    for (int n = 0; n < world->def.nodes_len; n++) {
        world->machines[n].on = true;
        for (int l = 0; l < LEVELS_MAX; l++) {
            world->machines[n].agent_after_ms[l] = 300;
        }
    }
    for (int db = 0; db < world->def.databases_len; db++) {
        if (world->def.databases[db].sync_len > 0) {
            postgres_set_names(world, db, world->truth[db].promoted, NULL, true);
        }
    }
    world->controllers_len = wishes->controllers;
    world->silent = !wishes->cold;
    if (node_has_method(&world->def.nodes[0], FENCE_GUARD)) {
        guards_start(world);
    }
    store_apply(world, &world->def);
    for (int c = 0; c < wishes->controllers; c++) {
        snprintf(world->controllers[c].id, NAME_SIZE, "c%d", c + 1);
        controller_start(world, c);
        world_run_until(world, world->now_ms + 50);
    }
    if (wishes->cold) {
        return;
    }
    world_run_until(world, START_MS + WARM_UP_MS);
    world->silent = false;
    world->shown_from_ms = world->now_ms;
}

bool cluster_build(struct world *world, char *line)
{
    struct wishes wishes = {.controllers = 2, .proxies = 2, .automatic = true, .levels = "power"};
    struct definition *def = &world->def;
    snprintf(def->cluster, sizeof def->cluster, "scenario");
    snprintf(def->policy.call, sizeof def->policy.call, "page");
    snprintf(def->sites[0].name, NAME_SIZE, "east");
    snprintf(def->sites[1].name, NAME_SIZE, "west");
    def->sites_len = 2;
    def->policy.budget_failovers = 2;
    def->policy.budget_per_ms = 3600000;
    def->policy.cut_off_after_ms = 10000;
    def->objectives = (struct objective_def){3600000, 7200000, 86400000};
    char *save = NULL;
    for (char *at = strtok_r(line, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(at, '=');
        if (equals == NULL) {
            world_break(world, "cluster: '%s' is not key=value", at);
            return false;
        }
        *equals = '\0';
        if (!take_option(world, at, equals + 1, &wishes)) {
            world_break(world, "cluster: %s is not understood", at);
            return false;
        }
    }
    if (def->databases_len == 0 || !cluster_set_sync(def, wishes.sync) ||
        !set_levels(world, wishes.levels)) {
        world_break(world, "cluster: databases, sync or levels are not understood");
        return false;
    }
    add_traffic(world, wishes.proxies, wishes.services, wishes.home, wishes.apart);
    add_groups(def, wishes.each, wishes.automatic, wishes.manual);
    begin(world, &wishes);
    return true;
}
