/*
 * written.h - what a reader of definitions and local files promises, for the tests that try bad
 * ones.
 *
 * A text that is refused has complaints with places, which can be shown; one that is read can be
 * written out, with nothing left to defaults, and read again. By plain assertions: fuzz targets use
 * it too.
 */
#ifndef TESTS_UNIT_WRITTEN_H
#define TESTS_UNIT_WRITTEN_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/local.h"
#include "tests/unit/mutate.h"

/* ---- what a complaint must be ---- */

/* Places count from 1 and lie in the text, or right behind its end. A line may also end where only
 * YAML sees it: at CR, NEL, or U+2028 and U+2029. */
static inline void expect_places(const struct complaints *complaints, const char *text, size_t len)
{
    size_t lines = 1;
    for (size_t i = 0; i < len; i++) {
        lines += strchr("\r\n\x85\xa8\xa9", text[i]) != NULL ? 1 : 0;
    }
    for (int i = 0; i < complaints->len; i++) {
        const struct complaint *c = &complaints->items[i];
        assert(c->line >= 1 && (size_t)c->line <= lines + 1);
        assert(c->column >= 1 && (size_t)c->column <= len + 2);
        assert(c->text[0] != '\0' && memchr(c->text, '\0', sizeof c->text) != NULL);
        assert(memchr(c->path, '\0', sizeof c->path) != NULL);
        assert(is_printable(c->text) && is_printable(c->path));
    }
}

static inline bool all_bytes_are(const void *memory, size_t size, unsigned char byte)
{
    const unsigned char *bytes = memory;
    return bytes[0] == byte && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* ---- definitions ---- */

/* YAML's quotes, with every byte that is no plain letter as an escape. */
static inline void put_quoted(FILE *to, const char *text)
{
    fputc('"', to);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) {
        if (*at < 0x80) {
            fprintf(to, *at < 0x20 || *at == '"' || *at == '\\' || *at == 0x7f ? "\\x%02x" : "%c",
                    *at);
            at++;
            continue;
        }
        int more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
        uint32_t code = *at & (0x3fu >> more);
        for (at++; more > 0; more--, at++) {
            code = code << 6 | (*at & 0x3fu);
        }
        fprintf(to, "\\U%08X", code);
    }
    fputc('"', to);
}

static inline void put(FILE *to, const char *key, const char *text)
{
    fprintf(to, "%s: ", key);
    put_quoted(to, text);
    fprintf(to, ", ");
}

static inline const char *site_of(const struct definition *def, int site)
{
    assert(site >= 0 && site <= def->sites_len - 1);
    return def->sites[site].name;
}

static inline const char *node_of(const struct definition *def, int node)
{
    assert(node >= 0 && node <= def->nodes_len - 1);
    return def->nodes[node].name;
}

static inline const char *database_of(const struct definition *def, int database)
{
    assert(database >= 0 && database <= def->databases_len - 1);
    return def->databases[database].name;
}

static inline void write_options(FILE *to, const struct fence_level_def *level, bool secret)
{
    fprintf(to, "%s: { ", secret ? "secrets" : "options");
    for (int o = 0; o < level->options_len; o++) {
        if (level->options[o].secret == secret) {
            put(to, level->options[o].name, level->options[o].value);
        }
    }
    fprintf(to, "}, ");
}

static inline void write_nodes(FILE *to, const struct definition *def)
{
    fprintf(to, "nodes:\n");
    for (int n = 0; n < def->nodes_len; n++) {
        const struct node_def *node = &def->nodes[n];
        fprintf(to, "  \"%s\":\n    site: \"%s\"\n    address: \"%s\"\n    fencing: [ ", node->name,
                site_of(def, node->site), node->address);
        for (int l = 0; l < node->levels_len; l++) {
            const struct fence_level_def *level = &node->levels[l];
            fprintf(to, "\n      { name: \"%s\", method: %s, ", level->name,
                    fence_method_names[level->method]);
            if (fence_method_is_run(level->method)) {
                put(to, fence_method_names[level->method], level->program);
                fprintf(to, "deadline: %ums, ", level->deadline_ms);
            }
            if (level->method == FENCE_AGENT) {
                write_options(to, level, false);
                write_options(to, level, true);
            }
            fprintf(to, "}, ");
        }
        fprintf(to, "]\n");
    }
}

static inline void write_databases(FILE *to, const struct definition *def)
{
    fprintf(to, "databases:\n");
    for (int d = 0; d < def->databases_len; d++) {
        const struct database_def *db = &def->databases[d];
        fprintf(to, "  \"%s\": { ", db->name);
        put(to, "dbname", db->dbname);
        put(to, "user", db->user);
        put(to, "sslmode", db->sslmode);
        if (db->password[0] != '\0') {
            put(to, "password", db->password);
        }
        fprintf(to, "durability: %s, ", durability_names[db->durability]);
        if (db->durability != DURABILITY_ASYNC) {
            assert((db->sync_len) == (1));
            assert(db->sync[0].k >= 1 && db->sync[0].k <= db->sync[0].members_len);
            fprintf(to, "sync: { %s: %d, standbys: [ ", db->sync[0].first ? "first" : "any",
                    db->sync[0].k);
            for (int m = 0; m < db->sync[0].members_len; m++) {
                assert(db->sync[0].members[m] >= 0 &&
                       db->sync[0].members[m] <= db->instances_len - 1);
                fprintf(to, "\"%s\", ", node_of(def, db->instances[db->sync[0].members[m]].node));
            }
            fprintf(to, "] }, ");
        } else {
            fprintf(to, "max_lag: %lluB, ", (unsigned long long)db->max_lag_bytes);
        }
        fprintf(to, "degrade_after: %ums, on_crash: %s, restart_deadline: %ums, ",
                db->degrade_after_ms, on_crash_names[db->on_crash], db->restart_deadline_ms);
        fprintf(to, "instances: { ");
        for (int i = 0; i < db->instances_len; i++) {
            const struct instance_def *instance = &db->instances[i];
            fprintf(to, "\"%s\": { port: %u, name: \"%s\", priority: %d }, ",
                    node_of(def, instance->node), instance->port, instance->name,
                    instance->priority);
        }
        fprintf(to, "} }\n");
    }
}

static inline void write_services(FILE *to, const struct definition *def)
{
    fprintf(to, "services: {\n");
    for (int s = 0; s < def->services_len; s++) {
        const struct service_def *service = &def->services[s];
        fprintf(to, "  \"%s\": { database: \"%s\", instances: { ", service->name,
                database_of(def, service->database));
        assert((service->group) == (def->databases[service->database].group));
        for (int i = 0; i < service->instances_len; i++) {
            const struct service_instance_def *instance = &service->instances[i];
            fprintf(to, "\n    \"%s\": { status: %d, ", node_of(def, instance->node),
                    instance->status);
            put(to, "url", instance->url);
            if (instance->body[0] != '\0') {
                put(to, "body", instance->body);
            }
            fprintf(to, "}, ");
        }
        fprintf(to, "} },\n");
    }
    fprintf(to, "  }\nproxies: { ");
    for (int p = 0; p < def->proxies_len; p++) {
        fprintf(to, "\"%s\": { ", def->proxies[p].name);
        put(to, "runtime", def->proxies[p].runtime);
        fprintf(to, "}, ");
    }
    fprintf(to, "}\n");
}

static inline void write_routes(FILE *to, const struct definition *def)
{
    fprintf(to, "routes: {\n");
    for (int r = 0; r < def->routes_len; r++) {
        const struct route_def *route = &def->routes[r];
        bool database = route->database >= 0;
        assert(database != (route->service >= 0));
        int service = database ? 0 : route->service;
        assert(service == 0 || service < def->services_len);
        int len = database ? def->databases[route->database].instances_len
                           : def->services[service].instances_len;
        fprintf(to, "  \"%s\": { %s: \"%s\", ", route->name, database ? "database" : "service",
                database ? database_of(def, route->database) : def->services[service].name);
        put(to, "backend", route->backend);
        fprintf(to, "proxies: [ ");
        for (int p = 0; p < route->proxies_len; p++) {
            assert(route->proxies[p] >= 0 && route->proxies[p] <= def->proxies_len - 1);
            fprintf(to, "\"%s\", ", def->proxies[route->proxies[p]].name);
        }
        fprintf(to, "], servers: { ");
        for (int i = 0; i < len; i++) {
            int node = database ? def->databases[route->database].instances[i].node
                                : def->services[service].instances[i].node;
            fprintf(to, "\"%s\": \"%s\", ", node_of(def, node), route->servers[i]);
        }
        fprintf(to, "} },\n");
    }
    fprintf(to, "  }\n");
}

static inline void write_groups(FILE *to, const struct definition *def)
{
    fprintf(to, "groups:\n");
    for (int g = 0; g < def->groups_len; g++) {
        const struct group_def *group = &def->groups[g];
        fprintf(to, "  \"%s\": { home: \"%s\", move: %s, automatic: %s, databases: [ ", group->name,
                site_of(def, group->home), move_mode_names[group->move],
                group->automatic ? "yes" : "no");
        for (int d = 0; d < def->databases_len; d++) {
            assert(def->databases[d].group >= 0 && def->databases[d].group <= def->groups_len - 1);
            if (def->databases[d].group == g) {
                fprintf(to, "\"%s\", ", def->databases[d].name);
            }
        }
        fprintf(to, "], services: [ ");
        for (int s = 0; s < def->services_len; s++) {
            if (def->services[s].group == g) {
                fprintf(to, "\"%s\", ", def->services[s].name);
            }
        }
        fprintf(to, "] }\n");
    }
}

/* The definition as a text with nothing left to defaults. The caller frees it. */
static inline char *written(const struct definition *def)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    fprintf(to, "cluster: \"%s\"\nprofile: %s\nsites: { ", def->cluster,
            profile_names[def->profile]);
    for (int s = 0; s < def->sites_len; s++) {
        fprintf(to, "\"%s\": {}, ", def->sites[s].name);
    }
    fprintf(to, "}\n");
    write_nodes(to, def);
    write_databases(to, def);
    write_services(to, def);
    write_routes(to, def);
    write_groups(to, def);
    fprintf(to, "objectives: { switched: %llums, normal: %llums, back: %llums }\n",
            (unsigned long long)def->objectives.switched_ms,
            (unsigned long long)def->objectives.normal_ms,
            (unsigned long long)def->objectives.back_ms);
    fprintf(to, "policy: { budget: { failovers: %u, per: %llums }, cut_off_after: %llums, ",
            def->policy.budget_failovers, (unsigned long long)def->policy.budget_per_ms,
            (unsigned long long)def->policy.cut_off_after_ms);
    fprintf(to, "when_blind: %s, ", when_blind_names[def->policy.when_blind]);
    if (def->policy.call[0] != '\0') {
        put(to, "call", def->policy.call);
    }
    fprintf(to, "}\n");
    fclose(to);
    return text;
}

/* ---- local files ---- */

static inline bool is_one_of(const struct local_config *config, const char *name)
{
    for (int i = 0; i < config->secrets_len; i++) {
        if (strcmp(config->secrets[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static inline char *written_local(const struct local_config *config)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    assert(config->endpoints_len >= 1 && config->endpoints_len <= LOCAL_ENDPOINTS_MAX);
    fprintf(to, "id: \"%s\"\ncluster: \"%s\"\netcd: { endpoints: [ ", config->id, config->cluster);
    for (int i = 0; i < config->endpoints_len; i++) {
        put_quoted(to, config->endpoints[i]);
        fprintf(to, ", ");
    }
    fprintf(to, "], ");
    const char *const parts[][2] = {{"ca", config->etcd_ca},
                                    {"cert", config->etcd_cert},
                                    {"key", config->etcd_key},
                                    {"user", config->etcd_user},
                                    {"password", config->etcd_password}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i][1][0] != '\0') {
            put(to, parts[i][0], parts[i][1]);
        }
    }
    assert((config->etcd_cert[0] != '\0') == (config->etcd_key[0] != '\0'));
    assert((config->etcd_user[0] != '\0') == (config->etcd_password[0] != '\0'));
    assert(config->etcd_password[0] == '\0' || is_one_of(config, config->etcd_password));
    fprintf(to, "}\nsecrets: { ");
    for (int i = 0; i < config->secrets_len; i++) {
        assert((config->secrets[i].path[0]) == ('/'));
        put(to, config->secrets[i].name, config->secrets[i].path);
    }
    fprintf(to, "}\ncommands: { ");
    for (int i = 0; i < config->commands_len; i++) {
        const struct local_command_def *command = &config->commands[i];
        assert(command->args_len >= 1 && command->args_len <= LOCAL_ARGS_MAX);
        assert((command->args[0][0]) == ('/'));
        fprintf(to, "\"%s\": [ ", command->name);
        for (int a = 0; a < command->args_len; a++) {
            put_quoted(to, command->args[a]);
            fprintf(to, ", ");
        }
        fprintf(to, "], ");
    }
    fprintf(to, "}\nlisten: { ");
    put(to, "socket", config->socket);
    if (config->socket_group[0] != '\0') {
        put(to, "group", config->socket_group);
    }
    fprintf(to, "}\n");
    fclose(to);
    return text;
}

#endif
