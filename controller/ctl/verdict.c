#include "controller/ctl/verdict.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "controller/ctl/call.h"

/* A sentence that grows, cut at its bound. */
struct text {
    char *at;
    size_t len;
};

static void add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text->at + text->len, VERDICT_SIZE - text->len, format, args);
    va_end(args);
    if (len > 0) {
        text->len += (size_t)len;
    }
    if (text->len >= VERDICT_SIZE) {
        text->len = VERDICT_SIZE - 1;
    }
}

/* "; " between clauses, nothing before the first. */
static void clause(struct text *text, size_t begin)
{
    if (text->len > begin) {
        add(text, "; ");
    }
}

static const json_t *instance_of(const json_t *db, const char *node)
{
    size_t index;
    json_t *instance;
    json_array_foreach(json_object_get(db, "instances"), index, instance)
    {
        if (node != NULL && strcmp(member_text(instance, "node", ""), node) == 0) {
            return instance;
        }
    }
    return NULL;
}

static const char *arrow(const char *to)
{
    return to != NULL ? to : "(not chosen yet)";
}

/* ---- the clauses, in the order of their weight ---- */

/* Alarms that wake: the first stands whole, the others are counted. */
static bool waiting(struct text *text, const json_t *group)
{
    int others = 0;
    bool first = true;
    size_t index;
    json_t *alarm;
    json_array_foreach(json_object_get(group, "alarms"), index, alarm)
    {
        const char *command = member_text(alarm, "command", "");
        if (!member_true(alarm, "wakes")) {
            continue;
        }
        if (!first) {
            others++;
            continue;
        }
        first = false;
        add(text, "WAITING FOR A PERSON: %s", member_text(alarm, "text", "?"));
        if (command[0] != '\0') {
            add(text, "; run: %s", command);
        }
    }
    if (others > 0) {
        add(text, "; and %d more alarm%s below", others, others == 1 ? "" : "s");
    }
    return !first;
}

static bool moving(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t index;
    json_t *db;
    json_array_foreach(json_object_get(group, "databases"), index, db)
    {
        const json_t *move = json_object_get(db, "move");
        const char *phase = member_text(move, "phase", "");
        if (!json_is_object(move) || strcmp(phase, "done") == 0) {
            continue;
        }
        clause(text, begin);
        add(text, "FAILING OVER: %s from %s to %s, in phase %s", member_text(db, "name", "?"),
            member_text(move, "from", "?"),
            arrow(member_text(move, "candidate", member_text(move, "planned", NULL))), phase);
        if (member_text(move, "parked", "")[0] != '\0') {
            add(text, ", PARKED: %s", member_text(move, "parked", ""));
        }
    }
    return text->len > begin;
}

static bool primary_down(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t index;
    json_t *db;
    json_array_foreach(json_object_get(group, "databases"), index, db)
    {
        const char *node = member_text(db, "primary", NULL);
        const json_t *primary = instance_of(db, node);
        char since[SHOW_SIZE];
        if (primary == NULL || strcmp(member_text(primary, "opinion", ""), "down") != 0) {
            continue;
        }
        clause(text, begin);
        add(text, "PRIMARY DOWN: %s on %s: %s, for %s", member_text(db, "name", "?"), node,
            member_text(primary, "cause", "?"),
            show_age(member_number(primary, "since_ms", 0), since));
        if (member_text(db, "held", "")[0] != '\0') {
            add(text, "; held: %s", member_text(db, "held", ""));
        }
    }
    return text->len > begin;
}

/* Whatever the records say: two that call themselves primary are never well. */
static bool second_primary(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t i, j;
    json_t *db, *instance;
    json_array_foreach(json_object_get(group, "databases"), i, db)
    {
        const char *recorded = member_text(db, "primary", NULL);
        json_array_foreach(json_object_get(db, "instances"), j, instance)
        {
            const char *node = member_text(instance, "node", "?");
            if (recorded != NULL && strcmp(node, recorded) != 0 &&
                strcmp(member_text(instance, "role", ""), "primary") == 0 &&
                !json_is_object(json_object_get(db, "move"))) {
                clause(text, begin);
                add(text, "A SECOND PRIMARY: %s on %s, while %s is the recorded one",
                    member_text(db, "name", "?"), node, recorded);
            }
        }
    }
    return text->len > begin;
}

/* Not down, but not seen to take writes either: the honest middle. */
static bool unverified(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t index;
    json_t *db;
    json_array_foreach(json_object_get(group, "databases"), index, db)
    {
        const char *node = member_text(db, "primary", NULL);
        const json_t *primary = instance_of(db, node);
        char age[SHOW_SIZE];
        if (member_true(db, "writable")) {
            continue;
        }
        clause(text, begin);
        if (node == NULL) {
            add(text, "NO PRIMARY RECORDED: %s: %s", member_text(db, "name", "?"),
                member_text(db, "state_help", "?"));
            continue;
        }
        add(text, "NOT VERIFIED: %s on %s is not seen to take writes (%s, %s ago)",
            member_text(db, "name", "?"), node, member_text(primary, "cause", "never probed"),
            show_age(member_number(primary, "age_ms", -1), age));
        if (member_text(db, "held", "")[0] != '\0') {
            add(text, "; held: %s", member_text(db, "held", ""));
        }
    }
    return text->len > begin;
}

static bool service_down(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t index;
    json_t *service;
    json_array_foreach(json_object_get(group, "services"), index, service)
    {
        const char *node = member_text(service, "active", NULL);
        const json_t *active = instance_of(service, node);
        if (active != NULL && strcmp(member_text(active, "opinion", ""), "down") == 0) {
            clause(text, begin);
            add(text, "SERVICE DOWN: %s on %s: %s", member_text(service, "name", "?"), node,
                member_text(active, "cause", "?"));
        }
    }
    return text->len > begin;
}

static bool routes_differ(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t i, j;
    json_t *route, *proxy;
    json_array_foreach(json_object_get(group, "routes"), i, route)
    {
        json_array_foreach(json_object_get(route, "proxies"), j, proxy)
        {
            const char *state = member_text(proxy, "state", "unknown");
            const char *error = member_text(proxy, "error", "");
            /* A follower reads no proxy back: what it does not know is no fault. */
            bool fault =
                strcmp(state, "unknown") == 0 ? error[0] != '\0' : strcmp(state, "agrees") != 0;
            if (fault) {
                clause(text, begin);
                add(text, "ROUTE: %s on %s: %s%s%s", member_text(route, "name", "?"),
                    member_text(proxy, "name", "?"), state, error[0] != '\0' ? ": " : "", error);
            }
        }
    }
    return text->len > begin;
}

/* Standbys that fail, and services that nobody has looked at yet. */
static void weak_parts(struct text *text, size_t begin, const json_t *group)
{
    size_t i, j;
    json_t *part, *instance;
    json_array_foreach(json_object_get(group, "databases"), i, part)
    {
        json_array_foreach(json_object_get(part, "instances"), j, instance)
        {
            const char *node = member_text(instance, "node", "?");
            if (strcmp(node, member_text(part, "primary", "")) != 0 &&
                strcmp(member_text(instance, "opinion", ""), "down") == 0) {
                clause(text, begin);
                add(text, "STANDBY DOWN: %s on %s: %s", member_text(part, "name", "?"), node,
                    member_text(instance, "cause", "?"));
            }
        }
    }
    json_array_foreach(json_object_get(group, "services"), i, part)
    {
        const json_t *active = instance_of(part, member_text(part, "active", NULL));
        if (active != NULL && strcmp(member_text(active, "opinion", ""), "unknown") == 0) {
            clause(text, begin);
            add(text, "%s on %s: unknown (%s)", member_text(part, "name", "?"),
                member_text(active, "node", "?"), member_text(active, "cause", "?"));
        }
    }
}

static bool weak(struct text *text, const json_t *group)
{
    size_t begin = text->len;
    size_t index;
    json_t *db;
    const json_t *paused = json_object_get(group, "paused");
    if (json_is_object(paused)) {
        add(text, "PAUSED by %s: %s", member_text(paused, "by", "?"),
            member_text(paused, "reason", ""));
    }
    json_array_foreach(json_object_get(group, "databases"), index, db)
    {
        const char *durability = member_text(db, "durability", "");
        const char *words = member_text(db, "words", "");
        if (words[0] != '\0') {
            clause(text, begin);
            add(text, "%s: %s", member_text(db, "name", "?"), words);
        } else if (strstr(durability, "not enforced") != NULL ||
                   strstr(durability, "degraded") != NULL) {
            clause(text, begin);
            add(text, "%s: %s", member_text(db, "name", "?"), durability);
        }
    }
    weak_parts(text, begin, group);
    return text->len > begin;
}

static void where(struct text *text, const json_t *group)
{
    size_t index;
    json_t *db;
    json_array_foreach(json_object_get(group, "databases"), index, db)
    {
        add(text, "%s%s on %s (%s)", index > 0 ? ", " : "", member_text(db, "name", "?"),
            member_text(db, "primary", "nobody"), member_text(db, "site", "?"));
    }
}

enum tone verdict_of_group(const json_t *group, char ret_text[VERDICT_SIZE])
{
    struct text text = {.at = ret_text};
    ret_text[0] = '\0';
    if (waiting(&text, group) || second_primary(&text, group) || primary_down(&text, group)) {
        char more[VERDICT_SIZE];
        struct text rest = {.at = more};
        if (moving(&rest, group)) {
            add(&text, ". %s", more);
        }
        return TONE_BAD;
    }
    if (moving(&text, group)) {
        return TONE_WARN;
    }
    if (unverified(&text, group) || service_down(&text, group)) {
        return TONE_BAD;
    }
    if (routes_differ(&text, group) || weak(&text, group)) {
        add(&text, ". Served: ");
        where(&text, group);
        return TONE_WARN;
    }
    if (json_array_size(json_object_get(group, "databases")) == 0) {
        add(&text, "it has no databases");
        return TONE_PLAIN;
    }
    add(&text, "all well: ");
    where(&text, group);
    return TONE_GOOD;
}

enum tone verdict_of_controllers(const json_t *status, char ret_text[VERDICT_SIZE])
{
    struct text text = {.at = ret_text};
    const json_t *etcd = json_object_get(status, "etcd");
    const json_t *leader = json_object_get(status, "leader");
    ret_text[0] = '\0';
    if (!member_true(etcd, "reachable")) {
        char age[SHOW_SIZE];
        add(&text,
            "ETCD NOT REACHABLE: last answer %s ago; nothing is decided, below is what %s sees by itself",
            show_age(member_number(etcd, "age_ms", -1), age),
            member_text(json_object_get(status, "controller"), "id", "this controller"));
        if (!member_null(etcd, "problem")) {
            add(&text, ". %s", member_text(etcd, "problem", ""));
        }
        return TONE_BAD;
    }
    if (!member_null(etcd, "problem")) {
        add(&text, "ETCD CANNOT BE USED: nothing is decided. %s", member_text(etcd, "problem", ""));
        return TONE_BAD;
    }
    if (member_null(leader, "id")) {
        add(&text, "NO LEADER: nothing is decided until a controller is elected");
        return TONE_BAD;
    }
    if (member_number(json_object_get(status, "config"), "revision", 0) == 0) {
        add(&text, "NO DEFINITION: nothing is watched yet; run: failoverctl apply FILE");
        return TONE_WARN;
    }
    return TONE_PLAIN;
}
