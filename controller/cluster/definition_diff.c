/*
 * Both definitions are written out as lines of path and value by the table of keys, and the lines
 * compared. What the table keeps nowhere (sync members, groups' members, servers' names) is written
 * out here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_keys.h"
#include "controller/cluster/key_values.h"

struct line {
    char *path;
    char *text; /* NULL: an entry of a mapping or list, whose values follow */
};

struct lines {
    struct line *items;
    size_t len, room;
    bool failed;     /* no memory */
    char method[16]; /* of the fencing level being written */
};

static void add(struct lines *lines, const char *path, const char *text)
{
    if (lines->len == lines->room) {
        size_t room = lines->room == 0 ? 256 : lines->room * 2;
        struct line *items = realloc(lines->items, room * sizeof *items);
        if (items == NULL) {
            lines->failed = true;
            return;
        }
        lines->items = items;
        lines->room = room;
    }
    struct line line = {.path = strdup(path), .text = text != NULL ? strdup(text) : NULL};
    if (line.path == NULL || (text != NULL && line.text == NULL)) {
        free(line.path);
        free(line.text);
        lines->failed = true;
        return;
    }
    lines->items[lines->len++] = line;
}

static void add_walked(void *context, const char *path, const char *text)
{
    struct lines *lines = context;
    const char *dot = strrchr(path, '.');
    const char *word = dot != NULL ? dot + 1 : path;
    bool fencing = text != NULL && strncmp(path, "nodes.", 6) == 0;
    if (fencing && strcmp(word, "method") == 0) {
        snprintf(lines->method, sizeof lines->method, "%s", text);
    }
    /* One field holds the program of both methods. */
    if (fencing && (strcmp(word, "agent") == 0 || strcmp(word, "command") == 0) &&
        strcmp(word, lines->method) != 0) {
        return;
    }
    add(lines, path, text);
}

static void join_name(char *text, size_t size, const char *name)
{
    size_t len = strlen(text);
    snprintf(text + len, size - len, "%s%s", len > 0 ? ", " : "", name);
}

static void add_sync(struct lines *lines, const struct definition *def)
{
    for (int d = 0; d < def->databases_len; d++) {
        const struct database_def *db = &def->databases[d];
        for (int s = 0; s < db->sync_len; s++) {
            char members[WRITTEN_SIZE * 2] = "";
            for (int m = 0; m < db->sync[s].members_len; m++) {
                join_name(members, sizeof members,
                          def->nodes[db->instances[db->sync[s].members[m]].node].name);
            }
            char path[NAME_SIZE * 2];
            char text[WRITTEN_SIZE * 2 + 32];
            snprintf(path, sizeof path, "databases.%s.sync", db->name);
            snprintf(text, sizeof text, "%s %d of %s", db->sync[s].first ? "first" : "any",
                     db->sync[s].k, members);
            add(lines, path, text);
        }
    }
}

static void add_servers(struct lines *lines, const struct definition *def)
{
    for (int r = 0; r < def->routes_len; r++) {
        const struct route_def *route = &def->routes[r];
        bool database = route->database >= 0;
        const struct database_def *db = database ? &def->databases[route->database] : NULL;
        const struct service_def *service = database ? NULL : &def->services[route->service];
        int len = database ? db->instances_len : service->instances_len;
        for (int i = 0; i < len; i++) {
            int node = database ? db->instances[i].node : service->instances[i].node;
            char path[NAME_SIZE * 3];
            snprintf(path, sizeof path, "routes.%s.servers.%s", route->name, def->nodes[node].name);
            add(lines, path, route->servers[i]);
        }
    }
}

static void add_groups(struct lines *lines, const struct definition *def)
{
    for (int g = 0; g < def->groups_len; g++) {
        char path[NAME_SIZE * 2];
        char members[NAME_SIZE * DATABASES_MAX * 2] = "";
        for (int d = 0; d < def->databases_len; d++) {
            if (def->databases[d].group == g) {
                join_name(members, sizeof members, def->databases[d].name);
            }
        }
        snprintf(path, sizeof path, "groups.%s.databases", def->groups[g].name);
        add(lines, path, members);
        members[0] = '\0';
        for (int s = 0; s < def->services_len; s++) {
            if (def->services[s].group == g) {
                join_name(members, sizeof members, def->services[s].name);
            }
        }
        snprintf(path, sizeof path, "groups.%s.services", def->groups[g].name);
        add(lines, path, members);
    }
}

static void write_out(struct lines *lines, const struct definition *def)
{
    keys_walk(&definition_keys, def, add_walked, lines);
    add_sync(lines, def);
    add_servers(lines, def);
    add_groups(lines, def);
}

static const struct line *line_at(const struct lines *lines, const char *path)
{
    for (size_t i = 0; i < lines->len; i++) {
        if (strcmp(lines->items[i].path, path) == 0) {
            return &lines->items[i];
        }
    }
    return NULL;
}

static bool stands_under(const char *path, const char *above)
{
    size_t len = strlen(above);
    return strncmp(path, above, len) == 0 && (path[len] == '.' || path[len] == '[');
}

/* True if an entry of `lines` above this path is not in `others`: the entry's own line says it all.
 */
static bool told_by_entry(const struct lines *lines, const struct lines *others, const char *path)
{
    for (size_t i = 0; i < lines->len; i++) {
        const struct line *line = &lines->items[i];
        if (line->text == NULL && stands_under(path, line->path) &&
            line_at(others, line->path) == NULL) {
            return true;
        }
    }
    return false;
}

static const char *shown(const char *text)
{
    return text == NULL || text[0] == '\0' ? "(none)" : text;
}

/* What is in `lines` and not in `others`. */
static int tell_missing(FILE *to, const struct lines *lines, const struct lines *others, char sign)
{
    int told = 0;
    for (size_t i = 0; i < lines->len; i++) {
        const struct line *line = &lines->items[i];
        if (line_at(others, line->path) != NULL || told_by_entry(lines, others, line->path)) {
            continue;
        }
        told++;
        if (to != NULL) {
            bool value = line->text != NULL && line->text[0] != '\0';
            fprintf(to, "%c %s: %s%s%s\n", sign, line->path, sign == '+' ? "added" : "removed",
                    value ? ", " : "", value ? line->text : "");
        }
    }
    return told;
}

static int tell_changed(FILE *to, const struct lines *from, const struct lines *lines)
{
    int told = 0;
    for (size_t i = 0; i < lines->len; i++) {
        const struct line *line = &lines->items[i];
        const struct line *before = line_at(from, line->path);
        if (before == NULL || line->text == NULL || before->text == NULL ||
            strcmp(before->text, line->text) == 0) {
            continue;
        }
        told++;
        if (to != NULL) {
            fprintf(to, "~ %s: %s -> %s\n", line->path, shown(before->text), shown(line->text));
        }
    }
    return told;
}

static void free_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->len; i++) {
        free(lines->items[i].path);
        free(lines->items[i].text);
    }
    free(lines->items);
}

int definition_diff(FILE *to, const struct definition *from, const struct definition *to_def)
{
    struct lines before = {0};
    struct lines after = {0};
    write_out(&before, from);
    write_out(&after, to_def);
    int told = 0;
    if (before.failed || after.failed) {
        told = 1; /* no memory: a difference is the safe answer */
        if (to != NULL) {
            fprintf(to, "~ no memory is left to tell the difference\n");
        }
    } else {
        told += tell_missing(to, &before, &after, '-');
        told += tell_changed(to, &before, &after);
        told += tell_missing(to, &after, &before, '+');
    }
    free_lines(&before);
    free_lines(&after);
    return told;
}
