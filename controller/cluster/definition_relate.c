/*
 * What the table of keys cannot say: the joins and the relations. One function a relation; each
 * names both sides.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/cluster/definition_keys.h"

struct relate {
    struct definition *def;
    const struct tree_node *tree;
    struct complaints *complaints;
};

/* The way to a value: keys, and "[0]" for a list's item; ends with NULL. */
#define AT(...)                                                                                    \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static const struct tree_node *step(const struct tree_node *node, const char *word)
{
    if (word[0] != '[') {
        return tree_at(node, word);
    }
    const struct tree_node *item = node != NULL && node->kind == TREE_LIST ? node->first : NULL;
    for (long i = strtol(word + 1, NULL, 10); i > 0 && item != NULL; i--) {
        item = item->next;
    }
    return item;
}

static const struct tree_node *find(const struct relate *in, const char *const at[])
{
    const struct tree_node *node = in->tree;
    for (; *at != NULL && node != NULL; at++) {
        node = step(node, *at);
    }
    return node;
}

static void say(struct relate *in, enum complaint_level level, const char *const at[],
                const char *format, ...) __attribute__((format(printf, 4, 5)));

/* At the value, or at what is nearest around it when the value is a default. */
static void say(struct relate *in, enum complaint_level level, const char *const at[],
                const char *format, ...)
{
    assert(in->tree != NULL);
    char path[sizeof in->complaints->items[0].path] = "";
    size_t len = 0;
    const struct tree_node *place = in->tree;
    const struct tree_node *node = in->tree;
    for (; *at != NULL; at++) {
        if (len < sizeof path) {
            len += (size_t)snprintf(path + len, sizeof path - len, "%s%s",
                                    len > 0 && **at != '[' ? "." : "", *at);
        }
        node = node != NULL ? step(node, *at) : NULL;
        place = node != NULL ? node : place;
    }
    char text[sizeof in->complaints->items[0].text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool by_key = place->key != NULL && place->kind != TREE_SCALAR;
    complain(in->complaints, level, by_key ? place->key_line : place->line,
             by_key ? place->key_column : place->column, path, "%s", text);
}

static const char *item_word(int index, char ret_word[16])
{
    snprintf(ret_word, 16, "[%d]", index);
    return ret_word;
}

static const char *node_name(const struct relate *in, int node)
{
    return node >= 0 ? in->def->nodes[node].name : "?";
}

/* ---- Joins
 * ------------------------------------------------------------------------------------------------
 */

static void join_sync(struct relate *in, struct database_def *db)
{
    const struct tree_node *sync = find(in, AT("databases", db->name, "sync"));
    if (sync == NULL || sync->kind != TREE_MAP) {
        return;
    }
    struct sync_entry_def *entry = &db->sync[0];
    db->sync_len = 1;
    const struct tree_node *first = tree_at(sync, "first");
    const struct tree_node *any = tree_at(sync, "any");
    const struct tree_node *k = first != NULL ? first : any;
    if ((first == NULL) == (any == NULL)) {
        say(in, COMPLAINT_ERROR, AT("databases", db->name, "sync"),
            "found %s of first and any, needed is exactly one", first != NULL ? "both" : "neither");
    }
    entry->first = first != NULL;
    entry->k = k != NULL && k->kind == TREE_SCALAR ? (int)strtol(k->text, NULL, 10) : 0;
    const struct tree_node *standbys = tree_at(sync, "standbys");
    const struct tree_node *n =
        standbys != NULL && standbys->kind == TREE_LIST ? standbys->first : NULL;
    for (int i = 0; n != NULL && entry->members_len < INSTANCES_MAX; n = n->next, i++) {
        int node = n->kind == TREE_SCALAR ? definition_node(in->def, n->text) : -1;
        if (node < 0) {
            continue; /* keys_read_text() has said so */
        }
        int instance = definition_instance(db, node);
        char word[16];
        if (instance < 0) {
            say(in, COMPLAINT_ERROR,
                AT("databases", db->name, "sync", "standbys", item_word(i, word)),
                "\"%s\" runs no instance of %s: see databases.%s.instances", n->text, db->name,
                db->name);
        } else {
            entry->members[entry->members_len++] = instance;
        }
    }
}

/* Sets *group_of the members that the group's list names. */
static void join_members(struct relate *in, int group, const char *kind)
{
    struct definition *def = in->def;
    const struct tree_node *list = find(in, AT("groups", def->groups[group].name, kind));
    bool databases = strcmp(kind, "databases") == 0;
    const struct tree_node *n = list != NULL && list->kind == TREE_LIST ? list->first : NULL;
    for (int i = 0; n != NULL; n = n->next, i++) {
        if (n->kind != TREE_SCALAR) {
            continue;
        }
        int *group_of = NULL;
        for (int d = 0; databases && d < def->databases_len; d++) {
            group_of =
                strcmp(def->databases[d].name, n->text) == 0 ? &def->databases[d].group : group_of;
        }
        for (int s = 0; !databases && s < def->services_len; s++) {
            group_of =
                strcmp(def->services[s].name, n->text) == 0 ? &def->services[s].group : group_of;
        }
        char word[16];
        if (group_of != NULL && *group_of >= 0 && *group_of != group) {
            say(in, COMPLAINT_ERROR,
                AT("groups", def->groups[group].name, kind, item_word(i, word)),
                "\"%s\" is in the group %s already; it can be in one only", n->text,
                def->groups[*group_of].name);
        } else if (group_of != NULL) {
            *group_of = group;
        }
    }
}

/* The nodes of what a route leads to, in the order of its instances. */
static int route_nodes(const struct relate *in, const struct route_def *route,
                       int ret_nodes[INSTANCES_MAX])
{
    int len = 0;
    if (route->database >= 0) {
        const struct database_def *db = &in->def->databases[route->database];
        for (; len < db->instances_len; len++) {
            ret_nodes[len] = db->instances[len].node;
        }
    } else if (route->service >= 0) {
        const struct service_def *service = &in->def->services[route->service];
        for (; len < service->instances_len; len++) {
            ret_nodes[len] = service->instances[len].node;
        }
    }
    return len;
}

static void join_servers(struct relate *in, struct route_def *route)
{
    int nodes[INSTANCES_MAX];
    int len = route_nodes(in, route, nodes);
    for (int i = 0; i < len; i++) {
        snprintf(route->servers[i], NAME_SIZE, "%s", node_name(in, nodes[i]));
    }
    const struct tree_node *servers = find(in, AT("routes", route->name, "servers"));
    const struct tree_node *n =
        servers != NULL && servers->kind == TREE_MAP ? servers->first : NULL;
    for (; n != NULL; n = n->next) {
        int node = definition_node(in->def, n->key);
        int at = 0;
        while (at < len && nodes[at] != node) {
            at++;
        }
        if (node >= 0 && at == len && len > 0) {
            say(in, COMPLAINT_ERROR, AT("routes", route->name, "servers", n->key),
                "%s runs no instance of what this route leads to, %s", n->key,
                route->database >= 0 ? in->def->databases[route->database].name
                                     : in->def->services[route->service].name);
        } else if (at < len && n->kind == TREE_SCALAR) {
            snprintf(route->servers[at], NAME_SIZE, "%s", n->text);
        }
    }
    for (int i = 0; i < len; i++) {
        for (int j = 0; j < i; j++) {
            if (nodes[i] >= 0 && strcmp(route->servers[i], route->servers[j]) == 0) {
                say(in, COMPLAINT_ERROR,
                    AT("routes", route->name, "servers", node_name(in, nodes[i])),
                    "the servers of %s and %s are both named \"%s\"; each needs its own",
                    node_name(in, nodes[j]), node_name(in, nodes[i]), route->servers[i]);
            }
        }
    }
}

static void join_defaults(struct relate *in)
{
    struct definition *def = in->def;
    for (int d = 0; d < def->databases_len; d++) {
        struct database_def *db = &def->databases[d];
        db->group = -1;
        if (db->dbname[0] == '\0') {
            memcpy(db->dbname, db->name, sizeof db->dbname);
        }
        for (int i = 0; i < db->instances_len; i++) {
            struct instance_def *instance = &db->instances[i];
            if (instance->name[0] == '\0') {
                snprintf(instance->name, NAME_SIZE, "%s", node_name(in, instance->node));
            }
        }
    }
    for (int s = 0; s < def->services_len; s++) {
        def->services[s].group = -1;
    }
    for (int n = 0; n < def->nodes_len; n++) {
        for (int l = 0; l < def->nodes[n].levels_len; l++) {
            struct fence_level_def *level = &def->nodes[n].levels[l];
            if (level->deadline_ms == 0 && fence_method_is_run(level->method)) {
                level->deadline_ms = level->method == FENCE_AGENT ? 20000 : 10000;
            }
        }
    }
}

static void join(struct relate *in)
{
    struct definition *def = in->def;
    join_defaults(in);
    for (int d = 0; d < def->databases_len; d++) {
        join_sync(in, &def->databases[d]);
    }
    for (int g = 0; g < def->groups_len; g++) {
        join_members(in, g, "databases");
        join_members(in, g, "services");
    }
    for (int r = 0; r < def->routes_len; r++) {
        join_servers(in, &def->routes[r]);
    }
}

/* ---- Relations: fencing
 * ------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcasecmp(text + len - end_len, end) == 0;
}

static void relate_options(struct relate *in, const struct node_def *node, const char *item,
                           const struct fence_level_def *level)
{
    static const char *const secret_ends[] = {"passwd", "password", "passphrase", "secret",
                                              "token"};
    for (int o = 0; o < level->options_len; o++) {
        const struct fence_option *option = &level->options[o];
        const char *kind = option->secret ? "secrets" : "options";
        const char *const *at = AT("nodes", node->name, "fencing", item, kind, option->name);
        if (strcmp(option->name, "action") == 0 || strcmp(option->name, "option") == 0) {
            say(in, COMPLAINT_ERROR, at,
                "the controller itself asks for off and status, and never for another action; "
                "leave it out");
        } else if (strcmp(option->name, "method") == 0 && strcmp(option->value, "cycle") == 0) {
            say(in, COMPLAINT_ERROR, at,
                "found \"cycle\": a node that comes back by itself is not fenced; leave it out");
        }
        for (size_t e = 0; !option->secret && e < sizeof secret_ends / sizeof *secret_ends; e++) {
            if (ends_with(option->name, secret_ends[e])) {
                say(in, COMPLAINT_ERROR, at,
                    "it would stand in etcd in the clear; put it into a file, name the file in "
                    "local.yaml, and write secrets: { %s: NAME }",
                    option->name);
            }
        }
        for (int other = 0; other < o; other++) {
            if (strcmp(level->options[other].name, option->name) == 0) {
                say(in, COMPLAINT_ERROR, at, "\"%s\" stands in options and in secrets",
                    option->name);
            }
        }
    }
}

static void relate_level(struct relate *in, const struct node_def *node, int index)
{
    const struct fence_level_def *level = &node->levels[index];
    const char *method = fence_method_names[level->method];
    char item[16];
    item_word(index, item);
    const struct tree_node *tree = find(in, AT("nodes", node->name, "fencing", item));
    if (tree_at(tree, "method") == NULL) {
        return; /* keys_read_text() has said so, and what follows depends on it */
    }
    static const struct {
        const char *key;
        bool allowed[FENCE_METHODS], needed[FENCE_METHODS];
    } parts[] = {
        {"agent", {[FENCE_AGENT] = true}, {[FENCE_AGENT] = true}},
        {"command", {[FENCE_COMMAND] = true}, {[FENCE_COMMAND] = true}},
        {"options", {[FENCE_AGENT] = true}, {false}},
        {"secrets", {[FENCE_AGENT] = true}, {false}},
        {"deadline", {[FENCE_AGENT] = true, [FENCE_COMMAND] = true}, {false}},
    };
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        const char *key = parts[p].key;
        bool given = tree_at(tree, key) != NULL;
        if (given && !parts[p].allowed[level->method]) {
            say(in, COMPLAINT_ERROR, AT("nodes", node->name, "fencing", item, key),
                "has no meaning with method: %s; leave it out", method);
        } else if (!given && parts[p].needed[level->method]) {
            say(in, COMPLAINT_ERROR, AT("nodes", node->name, "fencing", item, key),
                "missing, needed with method: %s", method);
        }
    }
    for (int other = 0; other < index; other++) {
        if (level->name[0] != '\0' && strcmp(node->levels[other].name, level->name) == 0) {
            say(in, COMPLAINT_ERROR, AT("nodes", node->name, "fencing", item, "name"),
                "two levels are named \"%s\"; each needs its own name", level->name);
        }
    }
    bool beside = level->method == FENCE_PERMIT || level->method == FENCE_REPLICATION;
    if (beside && !node_has_method(node, FENCE_GUARD)) {
        say(in, COMPLAINT_ERROR, AT("nodes", node->name, "fencing", item, "method"),
            "%s rests on the node's failover-guard: add a level with method: guard", method);
    }
    relate_options(in, node, item, level);
}

static bool runs_a_database(const struct definition *def, int node)
{
    for (int d = 0; d < def->databases_len; d++) {
        if (definition_instance(&def->databases[d], node) >= 0) {
            return true;
        }
    }
    return false;
}

/* A tier is what its levels can prove: a person should know before the day it matters. */
static void warn_of_weak_fencing(struct relate *in, int index)
{
    const struct node_def *node = &in->def->nodes[index];
    int count[FENCE_METHODS] = {0};
    for (int l = 0; l < node->levels_len; l++) {
        count[node->levels[l].method]++;
    }
    bool silent_node_is_handled = count[FENCE_AGENT] > 0 || count[FENCE_PERMIT] > 0;
    if (!runs_a_database(in->def, index) || silent_node_is_handled) {
        return;
    }
    if (count[FENCE_GUARD] > 0) {
        say(in, COMPLAINT_WARNING, AT("nodes", node->name, "fencing"),
            "when the node is silent, its guard cannot prove anything: add method: permit or an "
            "agent, or every such failover waits for failoverctl confirm-fenced %s",
            node->name);
        return;
    }
    if (node->levels_len == 0) {
        say(in, COMPLAINT_WARNING, AT("nodes", node->name, "fencing"),
            "no fencing level: when its primary fails, every failover waits for a person who runs "
            "failoverctl confirm-fenced %s",
            node->name);
    } else if (count[FENCE_COMMAND] == 0) {
        say(in, COMPLAINT_WARNING, AT("nodes", node->name, "fencing"),
            "only a person can confirm that it is fenced: every failover from it waits for "
            "failoverctl confirm-fenced %s",
            node->name);
    } else {
        say(in, COMPLAINT_WARNING, AT("nodes", node->name, "fencing"),
            "only a command's exit status says that it is fenced, nothing reads the power state "
            "back: the strict tier needs an agent");
    }
}

static void relate_nodes(struct relate *in)
{
    const struct definition *def = in->def;
    for (int n = 0; n < def->nodes_len; n++) {
        const struct node_def *node = &def->nodes[n];
        uint64_t deadlines_ms = 0;
        for (int l = 0; l < node->levels_len; l++) {
            relate_level(in, node, l);
            deadlines_ms += node->levels[l].deadline_ms;
        }
        if (def->objectives.switched_ms > 0 && deadlines_ms > def->objectives.switched_ms) {
            say(in, COMPLAINT_ERROR, AT("nodes", node->name, "fencing"),
                "its levels' deadlines add up to %" PRIu64 "s, more than objectives.switched, "
                "%" PRIu64 "s",
                deadlines_ms / 1000, def->objectives.switched_ms / 1000);
        }
        warn_of_weak_fencing(in, n);
        for (int o = 0; o < n; o++) {
            if (node->address[0] != '\0' && strcmp(def->nodes[o].address, node->address) == 0) {
                say(in, COMPLAINT_WARNING, AT("nodes", node->name, "address"),
                    "%s has the same address, %s: fencing one of them may fence both",
                    def->nodes[o].name, node->address);
            }
        }
    }
}

/* ---- Relations: databases
 * ----------------------------------------------------------------------------------- */

static void relate_durability(struct relate *in, const struct database_def *db)
{
    const struct tree_node *given = find(in, AT("databases", db->name, "durability"));
    if (given == NULL || given->kind != TREE_SCALAR ||
        strcmp(given->text, durability_names[db->durability]) != 0) {
        return; /* keys_read_text() has said so */
    }
    if (db->durability != DURABILITY_ASYNC && db->sync_len == 0) {
        say(in, COMPLAINT_ERROR, AT("databases", db->name, "durability"),
            "durability: %s needs a sync entry, such as sync: { first: 1, standbys: [NODE] }",
            durability_names[db->durability]);
    } else if (db->durability == DURABILITY_ASYNC && db->sync_len > 0) {
        say(in, COMPLAINT_ERROR, AT("databases", db->name, "sync"),
            "durability: async and a sync entry contradict each other; leave one out");
    }
}

/* The copies that commits can wait for while this instance is the primary: it is none of itself. */
static int members_beside(const struct sync_entry_def *entry, int primary)
{
    int beside = 0;
    for (int m = 0; m < entry->members_len; m++) {
        beside += entry->members[m] != primary ? 1 : 0;
    }
    return beside;
}

/* At home, one of the members may be the primary itself. False: too few would be left. */
static bool enough_at_home(struct relate *in, const struct database_def *db, const char *word)
{
    const struct sync_entry_def *entry = &db->sync[0];
    int home = db->group >= 0 ? in->def->groups[db->group].home : -1;
    int at_home = 0;
    int primary = -1;
    for (int i = 0; i < db->instances_len; i++) {
        int node = db->instances[i].node;
        bool here = node >= 0 && home >= 0 && in->def->nodes[node].site == home;
        at_home += here ? 1 : 0;
        primary = here ? i : primary;
    }
    int beside = members_beside(entry, primary);
    if (at_home != 1 || beside >= entry->k) {
        return true;
    }
    say(in, COMPLAINT_ERROR, AT("databases", db->name, "sync", "standbys"),
        "at home in %s the primary is one of them and is no standby of itself: %d remain, but "
        "%s is %d",
        in->def->sites[home].name, beside, word, entry->k);
    return false;
}

/* After a failover fewer may be left, and nobody should learn that then. Without a guard it is the
 * operator who names others. */
static void warn_of_fewer(struct relate *in, const struct database_def *db, const char *word)
{
    const struct sync_entry_def *entry = &db->sync[0];
    for (int i = 0; i < db->instances_len; i++) {
        int node = db->instances[i].node;
        int beside = members_beside(entry, i);
        if (node < 0 || !node_has_method(&in->def->nodes[node], FENCE_GUARD)) {
            continue;
        }
        if (beside == 0) {
            say(in, COMPLAINT_WARNING, AT("databases", db->name, "sync", "standbys"),
                "with the primary on %s none of them is left to wait for: it is asynchronous then; "
                "name the other instances too",
                in->def->nodes[node].name);
        } else if (beside < entry->k) {
            say(in, COMPLAINT_WARNING, AT("databases", db->name, "sync", "standbys"),
                "with the primary on %s %d remain, but %s is %d: it waits for %d then",
                in->def->nodes[node].name, beside, word, entry->k, beside);
        }
    }
}

static void warn_of_strict(struct relate *in, const struct database_def *db)
{
    for (int i = 0; i < db->instances_len && db->durability == DURABILITY_STRICT; i++) {
        int node = db->instances[i].node;
        if (node >= 0 && !node_has_method(&in->def->nodes[node], FENCE_GUARD)) {
            say(in, COMPLAINT_WARNING, AT("databases", db->name, "durability"),
                "durability: strict, but no failover-guard runs on %s (a level with method: guard): "
                "what commits wait for is set by hand there",
                in->def->nodes[node].name);
        }
    }
}

static void relate_sync(struct relate *in, const struct database_def *db)
{
    if (db->sync_len == 0 || db->sync[0].members_len == 0) {
        return;
    }
    const struct sync_entry_def *entry = &db->sync[0];
    const char *word = entry->first ? "first" : "any";
    if (entry->k > entry->members_len) {
        say(in, COMPLAINT_ERROR, AT("databases", db->name, "sync", word),
            "%s is %d, but standbys names %d: no commit would ever be acknowledged", word, entry->k,
            entry->members_len);
    } else if (enough_at_home(in, db, word)) {
        warn_of_fewer(in, db, word);
        warn_of_strict(in, db);
    }
}

static void relate_instances(struct relate *in, int index)
{
    const struct definition *def = in->def;
    const struct database_def *db = &def->databases[index];
    for (int i = 0; i < db->instances_len; i++) {
        const struct instance_def *a = &db->instances[i];
        if (a->node < 0) {
            continue;
        }
        const char *node = def->nodes[a->node].name;
        for (int j = 0; j < i; j++) {
            if (strcasecmp(a->name, db->instances[j].name) == 0) { /* as PostgreSQL compares */
                say(in, COMPLAINT_ERROR, AT("databases", db->name, "instances", node, "name"),
                    "the instances on %s and %s are both named \"%s\"; each needs its own",
                    node_name(in, db->instances[j].node), node, a->name);
            }
        }
        /* All instances before this one. */
        for (int d = 0; d <= index; d++) {
            const struct database_def *other = &def->databases[d];
            int end = d == index ? i : other->instances_len;
            for (int j = 0; j < end; j++) {
                const struct instance_def *b = &other->instances[j];
                if (b->node >= 0 && a->port == b->port && a->port != 0 &&
                    def->nodes[a->node].address[0] != '\0' &&
                    strcmp(def->nodes[a->node].address, def->nodes[b->node].address) == 0) {
                    say(in, COMPLAINT_ERROR, AT("databases", db->name, "instances", node, "port"),
                        "%s port %u is also that of databases.%s.instances.%s",
                        def->nodes[a->node].address, a->port, other->name,
                        def->nodes[b->node].name);
                }
            }
        }
    }
    if (db->instances_len == 1) {
        say(in, COMPLAINT_WARNING, AT("databases", db->name, "instances"),
            "one instance only: there is nothing to fail over to");
    }
}

static bool is_on_site(const struct definition *def, const struct database_def *db, int site)
{
    for (int i = 0; i < db->instances_len; i++) {
        int node = db->instances[i].node;
        if (node < 0 || def->nodes[node].site < 0 || def->nodes[node].site == site) {
            return true; /* an unknown one has been complained about */
        }
    }
    return false;
}

static void relate_databases(struct relate *in)
{
    const struct definition *def = in->def;
    for (int d = 0; d < def->databases_len; d++) {
        const struct database_def *db = &def->databases[d];
        relate_durability(in, db);
        relate_sync(in, db);
        relate_instances(in, d);
        if (db->group < 0 && def->groups_len > 0) {
            say(in, COMPLAINT_ERROR, AT("databases", db->name),
                "in no group; name it in the databases of one of groups");
        } else if (db->group >= 0 && def->groups[db->group].home >= 0 && db->instances_len > 0 &&
                   !is_on_site(def, db, def->groups[db->group].home)) {
            say(in, COMPLAINT_ERROR, AT("groups", def->groups[db->group].name, "home"),
                "%s has no instance in %s, where its group is at home", db->name,
                def->sites[def->groups[db->group].home].name);
        }
        bool routed = false;
        for (int r = 0; r < def->routes_len; r++) {
            routed = routed || def->routes[r].database == d;
        }
        if (!routed) {
            say(in, COMPLAINT_WARNING, AT("databases", db->name),
                "no route leads to its primary: after a failover nothing redirects its clients");
        }
    }
}

/* ---- Relations: services, routes, policy
 * -------------------------------------------------------------------- */

static void relate_services(struct relate *in)
{
    const struct definition *def = in->def;
    for (int s = 0; s < def->services_len; s++) {
        const struct service_def *service = &def->services[s];
        const struct database_def *db =
            service->database >= 0 ? &def->databases[service->database] : NULL;
        if (service->group < 0 && def->groups_len > 0) {
            say(in, COMPLAINT_ERROR, AT("services", service->name),
                "in no group; name it in the services of one of groups");
        } else if (db != NULL && db->group >= 0 && service->group >= 0 &&
                   db->group != service->group) {
            say(in, COMPLAINT_ERROR, AT("services", service->name, "database"),
                "%s is in the group %s, but its database %s is in %s; they move together",
                service->name, def->groups[service->group].name, db->name,
                def->groups[db->group].name);
        }
        for (int site = 0; db != NULL && site < def->sites_len; site++) {
            bool has_service = false;
            for (int i = 0; i < service->instances_len; i++) {
                int node = service->instances[i].node;
                has_service = has_service || node < 0 || def->nodes[node].site < 0 ||
                              def->nodes[node].site == site;
            }
            if (is_on_site(def, db, site) && !has_service) {
                say(in, COMPLAINT_WARNING, AT("services", service->name, "instances"),
                    "none in %s, where its database %s can be the primary", def->sites[site].name,
                    db->name);
            }
        }
    }
}

static bool share_a_proxy(const struct route_def *a, const struct route_def *b)
{
    for (int i = 0; i < a->proxies_len; i++) {
        for (int j = 0; j < b->proxies_len; j++) {
            if (a->proxies[i] >= 0 && a->proxies[i] == b->proxies[j]) {
                return true;
            }
        }
    }
    return false;
}

static void relate_routes(struct relate *in)
{
    const struct definition *def = in->def;
    for (int r = 0; r < def->routes_len; r++) {
        const struct route_def *route = &def->routes[r];
        bool database = find(in, AT("routes", route->name, "database")) != NULL;
        bool service = find(in, AT("routes", route->name, "service")) != NULL;
        if (database == service) {
            say(in, COMPLAINT_ERROR, AT("routes", route->name),
                "found %s of database and service, needed is exactly one",
                database ? "both" : "neither");
        }
        for (int o = 0; o < r; o++) {
            const struct route_def *other = &def->routes[o];
            if (route->backend[0] != '\0' && strcmp(route->backend, other->backend) == 0 &&
                share_a_proxy(route, other)) {
                say(in, COMPLAINT_ERROR, AT("routes", route->name, "backend"),
                    "\"%s\" is also the backend of routes.%s on the same proxy", route->backend,
                    other->name);
            }
        }
    }
    for (int p = 0; p < def->proxies_len; p++) {
        for (int o = 0; o < p; o++) {
            const char *runtime = def->proxies[p].runtime;
            if (runtime[0] != '\0' && strcmp(runtime, def->proxies[o].runtime) == 0) {
                say(in, COMPLAINT_ERROR, AT("proxies", def->proxies[p].name, "runtime"),
                    "%s is also that of proxies.%s", runtime, def->proxies[o].name);
            }
        }
    }
}

static void relate_policy(struct relate *in)
{
    const struct definition *def = in->def;
    const struct objective_def *o = &def->objectives;
    if (o->normal_ms > 0 && o->switched_ms > o->normal_ms) {
        say(in, COMPLAINT_ERROR, AT("objectives", "switched"),
            "switched is %" PRIu64 "s, longer than normal, %" PRIu64
            "s; business is normal only after the switch",
            o->switched_ms / 1000, o->normal_ms / 1000);
    }
    if (o->back_ms > 0 && o->normal_ms > o->back_ms) {
        say(in, COMPLAINT_ERROR, AT("objectives", "normal"),
            "normal is %" PRIu64 "s, longer than back, %" PRIu64
            "s; the way back begins when business is normal",
            o->normal_ms / 1000, o->back_ms / 1000);
    }
    const struct profile *profile = definition_profile(def);
    uint64_t found_ms =
        (uint64_t)profile->fall * profile->probe_interval_ms + profile->probe_deadline_ms;
    if (def->policy.cut_off_after_ms > 0 && def->policy.cut_off_after_ms < found_ms) {
        say(in, COMPLAINT_ERROR, AT("policy", "cut_off_after"),
            "cut_off_after is %" PRIu64 "ms, shorter than the %" PRIu64
            "ms in which profile: %s finds a failure",
            def->policy.cut_off_after_ms, found_ms, profile_names[def->profile]);
    }
    const struct tree_node *policy = find(in, AT("policy"));
    bool readable = policy == NULL ? in->tree->kind == TREE_MAP : policy->kind == TREE_MAP;
    if (readable && tree_at(policy, "call") == NULL) {
        say(in, COMPLAINT_WARNING, AT("policy", "call"),
            "no command calls a person: alarms stand in status and in the log only");
    }
}

void definition_relate(void *def, const struct tree_node *tree, struct complaints *complaints)
{
    struct relate in = {.def = def, .tree = tree, .complaints = complaints};
    join(&in);
    relate_nodes(&in);
    relate_databases(&in);
    relate_services(&in);
    relate_routes(&in);
    relate_policy(&in);
}
