#include "controller/api/status.h"

#include <string.h>

#include "controller/api/status_parts.h"
#include "controller/api/words.h"

#define EVENTS_SHOWN 8

json_t *status_controller(const struct status_extra *extra, bool leading)
{
    json_t *out = json_object();
    json_object_set_new(out, "id", words_text(extra->id));
    json_object_set_new(out, "version", words_text(extra->version));
    json_object_set_new(out, "leading", json_boolean(leading));
    json_object_set_new(out, "started", words_wall(extra->started_wall_ms));
    json_t *warnings = json_array();
    for (int i = 0; i < STATUS_WARNINGS_MAX && extra->warnings[i] != NULL; i++) {
        json_array_append_new(warnings, words_text(extra->warnings[i]));
    }
    json_object_set_new(out, "warnings", warnings);
    return out;
}

json_t *status_leader(const struct status_extra *extra)
{
    json_t *out = json_object();
    json_object_set_new(out, "id", words_text(extra->leader));
    json_object_set_new(out, "term",
                        extra->leader == NULL ? json_null() : json_integer(extra->leader_term));
    return out;
}

static json_t *peer_json(const struct core *core, const struct status_extra *extra,
                         const struct peer_state *peer)
{
    (void)core;
    json_t *out = json_object();
    bool leads = extra->leader != NULL && strcmp(extra->leader, peer->view.id) == 0;
    json_object_set_new(out, "id", words_text(peer->view.id));
    json_object_set_new(out, "present", json_boolean(peer->present));
    json_object_set_new(out, "age_ms", words_age(extra->now_ms, peer->heard_ms));
    json_object_set_new(out, "version", words_text(peer->view.version));
    json_object_set_new(out, "config_revision", json_integer(peer->view.config_revision));
    json_object_set_new(out, "leading", json_boolean(leads));
    json_object_set_new(out, "blind", json_boolean(peer->view.blind));
    return out;
}

static bool leads(const struct core *core, const struct status_extra *extra)
{
    return core->leading && !extra->deposed;
}

static json_t *controllers_json(const struct core *core, const struct status_extra *extra)
{
    json_t *list = json_array();
    json_t *own = json_object();
    json_object_set_new(own, "id", words_text(extra->id));
    json_object_set_new(own, "present", json_true());
    json_object_set_new(own, "age_ms", json_integer(0));
    json_object_set_new(own, "version", words_text(extra->version));
    json_object_set_new(own, "config_revision",
                        json_integer(core->defined ? core->definition_revision : 0));
    json_object_set_new(own, "leading", json_boolean(leads(core, extra)));
    json_object_set_new(own, "blind", json_boolean(core->blind));
    json_array_append_new(list, own);
    for (int i = 0; i < PEERS_MAX; i++) {
        if (core->peers[i].used) {
            json_array_append_new(list, peer_json(core, extra, &core->peers[i]));
        }
    }
    return list;
}

/* ---- services ---- */

/* The instance that stands where the database's primary does: on its node, else at its site. */
static int active_instance(const struct core *core, int service)
{
    const struct service_def *def = &core->def.services[service];
    int primary = def->database < 0 ? -1 : core_primary(core, def->database);
    int at_site = -1;
    if (primary < 0) {
        return -1;
    }
    int node = core->def.databases[def->database].instances[primary].node;
    for (int i = 0; i < def->instances_len; i++) {
        if (def->instances[i].node == node) {
            return i;
        }
        if (core->def.nodes[def->instances[i].node].site == core->def.nodes[node].site) {
            at_site = i;
        }
    }
    return at_site;
}

static json_t *service_instance_json(const struct core *core, const struct status_extra *extra,
                                     int service, int index)
{
    const struct service_instance_def *def = &core->def.services[service].instances[index];
    const struct service_state *state = &core->services[service][index];
    const struct health *health = &state->health;
    bool probed = health->latest_ms != 0;
    json_t *out = json_object();
    json_object_set_new(out, "node", words_text(core->def.nodes[def->node].name));
    json_object_set_new(out, "site",
                        words_text(core->def.sites[core->def.nodes[def->node].site].name));
    json_object_set_new(out, "opinion", json_string(opinion_names[health->is]));
    json_object_set_new(out, "cause",
                        json_string(cause_names[probed ? health->cause : CAUSE_NEVER_PROBED]));
    json_object_set_new(out, "latency_ms",
                        probed ? json_integer(state->fact.latency_ms) : json_null());
    json_object_set_new(out, "age_ms", words_age(extra->now_ms, health->latest_ms));
    json_object_set_new(out, "detail", words_text(state->fact.detail));
    return out;
}

static json_t *service_json(const struct core *core, const struct status_extra *extra, int service)
{
    const struct service_def *def = &core->def.services[service];
    int active = active_instance(core, service);
    json_t *out = json_object();
    json_t *list = json_array();
    for (int i = 0; i < def->instances_len; i++) {
        json_array_append_new(list, service_instance_json(core, extra, service, i));
    }
    json_object_set_new(out, "name", words_text(def->name));
    json_object_set_new(
        out, "active",
        words_text(active < 0 ? NULL : core->def.nodes[def->instances[active].node].name));
    json_object_set_new(out, "instances", list);
    return out;
}

/* ---- routes ---- */

static const char *route_node(const struct core *core, int route, int instance)
{
    const struct route_def *def = &core->def.routes[route];
    if (instance < 0) {
        return NULL;
    }
    int node = def->database >= 0 ? core->def.databases[def->database].instances[instance].node
                                  : core->def.services[def->service].instances[instance].node;
    return core->def.nodes[node].name;
}

static json_t *route_proxy_json(const struct core *core, const struct status_extra *extra,
                                int route, int proxy)
{
    const struct proxy_state *state = &core->proxies[proxy];
    const struct proxy_route_state *at = &state->routes[route];
    const char *word = "differs";
    if (state->silent_since_ms != 0) {
        word = "silent";
    } else if (at->confirmed_ms == 0 || at->confirmed == -2) {
        word = "unknown";
    } else if (core_route_agrees(core, route, proxy)) {
        word = "agrees";
    }
    json_t *out = json_object();
    json_object_set_new(out, "name", words_text(core->def.proxies[proxy].name));
    json_object_set_new(out, "state", json_string(word));
    json_object_set_new(
        out, "seen",
        words_text(at->confirmed_ms == 0 ? NULL : route_node(core, route, at->confirmed)));
    json_object_set_new(out, "age_ms", words_age(extra->now_ms, at->confirmed_ms));
    json_object_set_new(out, "silent_ms", words_age(extra->now_ms, state->silent_since_ms));
    json_object_set_new(out, "error", words_text(at->error));
    return out;
}

static json_t *route_json(const struct core *core, const struct status_extra *extra, int route)
{
    const struct route_def *def = &core->def.routes[route];
    json_t *out = json_object();
    json_t *list = json_array();
    for (int i = 0; i < def->proxies_len; i++) {
        json_array_append_new(list, route_proxy_json(core, extra, route, def->proxies[i]));
    }
    json_object_set_new(out, "name", words_text(def->name));
    int target = core_route_target(core, route);
    json_object_set_new(out, "target", words_text(route_node(core, route, target)));
    json_object_set_new(out, "wish",
                        json_string(target >= 0    ? "open"
                                    : target == -1 ? "closed"
                                                   : "as it is"));
    json_object_set_new(out, "proxies", list);
    return out;
}

static int route_group(const struct core *core, int route)
{
    const struct route_def *def = &core->def.routes[route];
    return def->database >= 0 ? core->def.databases[def->database].group
                              : core->def.services[def->service].group;
}

/* ---- groups ---- */

static json_t *paused_json(const struct group_record *record)
{
    if (!record->paused) {
        return json_null();
    }
    json_t *out = json_object();
    json_object_set_new(out, "by", words_text(record->paused_by));
    json_object_set_new(out, "reason", words_text(record->paused_reason));
    json_object_set_new(out, "since", words_wall(record->paused_wall_ms));
    return out;
}

static json_t *acked_json(const struct alarm_record *alarm)
{
    if (alarm->acked_by[0] == '\0') {
        return json_null();
    }
    json_t *out = json_object();
    json_object_set_new(out, "by", words_text(alarm->acked_by));
    json_object_set_new(out, "reason", words_text(alarm->acked_reason));
    json_object_set_new(out, "at", words_wall(alarm->acked_wall_ms));
    return out;
}

static json_t *alarms_json(const struct group_record *record, const struct status_extra *extra)
{
    json_t *list = json_array();
    for (int i = 0; i < record->alarms_len; i++) {
        const struct alarm_record *alarm = &record->alarms[i];
        int64_t age_ms = extra->wall_ms - alarm->since_wall_ms;
        json_t *item = json_object();
        json_object_set_new(item, "key", words_text(alarm->key));
        json_object_set_new(item, "text", words_text(alarm->text));
        json_object_set_new(item, "command", words_text(alarm->command));
        json_object_set_new(item, "age_s", json_integer(age_ms > 0 ? age_ms / 1000 : 0));
        json_object_set_new(item, "wakes", json_boolean(alarm->wakes));
        json_object_set_new(item, "called", json_boolean(alarm->called));
        json_object_set_new(item, "acked", acked_json(alarm));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *active_json(const struct core *core, int group)
{
    int site = -1;
    for (int i = 0; i < core->def.databases_len; i++) {
        const struct database_def *def = &core->def.databases[i];
        int primary = def->group == group ? core_recorded_primary(core, i) : -1;
        if (primary < 0) {
            continue;
        }
        int at = core->def.nodes[def->instances[primary].node].site;
        if (site >= 0 && site != at) {
            return json_string("mixed");
        }
        site = at;
    }
    return site < 0 ? json_null() : words_text(core->def.sites[site].name);
}

static json_t *group_incident_json(const struct group_state *group,
                                   const struct status_extra *extra)
{
    if (!group->incident_known) {
        return json_null();
    }
    uint64_t age_ms = group->incident_opened_ms != 0 && extra->now_ms >= group->incident_opened_ms
                          ? extra->now_ms - group->incident_opened_ms
                          : incident_age_ms(&group->incident, extra->wall_ms);
    return incident_json(&group->incident, age_ms);
}

static json_t *group_json(const struct core *core, const struct status_extra *extra, int group)
{
    const struct group_def *def = &core->def.groups[group];
    const struct group_state *state = &core->groups[group];
    json_t *databases = json_array();
    json_t *services = json_array();
    json_t *routes = json_array();
    for (int i = 0; i < core->def.databases_len; i++) {
        if (core->def.databases[i].group == group) {
            json_array_append_new(databases, status_database(core, extra, i));
        }
    }
    for (int i = 0; i < core->def.services_len; i++) {
        if (core->def.services[i].group == group) {
            json_array_append_new(services, service_json(core, extra, i));
        }
    }
    for (int i = 0; i < core->def.routes_len; i++) {
        if (route_group(core, i) == group) {
            json_array_append_new(routes, route_json(core, extra, i));
        }
    }
    json_t *out = json_object();
    json_object_set_new(out, "name", words_text(def->name));
    json_object_set_new(out, "home", words_text(core->def.sites[def->home].name));
    json_object_set_new(out, "active", active_json(core, group));
    json_object_set_new(out, "automatic", json_boolean(def->automatic));
    json_object_set_new(out, "recorded", json_boolean(state->known));
    json_object_set_new(out, "paused", paused_json(&state->record));
    json_object_set_new(out, "databases", databases);
    json_object_set_new(out, "services", services);
    json_object_set_new(out, "routes", routes);
    json_object_set_new(out, "incident", group_incident_json(state, extra));
    json_object_set_new(out, "alarms", alarms_json(&state->record, extra));
    return out;
}

static json_t *events_tail(const struct status_extra *extra)
{
    if (extra->events == NULL) {
        return json_array();
    }
    uint64_t last = events_last(extra->events);
    json_t *all =
        events_json(extra->events, last > EVENTS_SHOWN ? last - EVENTS_SHOWN : 0, EVENTS_SHOWN);
    json_t *list = json_incref(json_object_get(all, "events"));
    json_decref(all);
    return list;
}

json_t *status_json(const struct core *core, const struct status_extra *extra)
{
    json_t *out = json_object();
    json_t *etcd = json_object();
    json_t *config = json_object();
    json_t *groups = json_array();
    json_object_set_new(etcd, "reachable", json_boolean(extra->etcd_reachable));
    json_object_set_new(etcd, "age_ms", words_age(extra->now_ms, extra->etcd_seen_ms));
    json_object_set_new(etcd, "bytes",
                        extra->etcd_bytes >= 0 ? json_integer(extra->etcd_bytes) : json_null());
    json_object_set_new(etcd, "quota_bytes", json_integer((json_int_t)extra->etcd_quota_bytes));
    json_object_set_new(etcd, "problem", words_text(extra->etcd_problem));
    json_object_set_new(config, "revision", json_integer(extra->config_revision));
    if (core->defined) {
        for (int i = 0; i < core->def.groups_len; i++) {
            json_array_append_new(groups, group_json(core, extra, i));
        }
    }
    json_object_set_new(out, "schema", json_integer(1));
    json_object_set_new(out, "cluster", words_text_or_null(core->defined ? core->def.cluster : ""));
    json_object_set_new(out, "at", words_wall(extra->wall_ms));
    json_object_set_new(out, "controller", status_controller(extra, leads(core, extra)));
    json_object_set_new(out, "leader", status_leader(extra));
    json_object_set_new(out, "etcd", etcd);
    json_object_set_new(out, "config", config);
    json_object_set_new(out, "controllers", controllers_json(core, extra));
    json_object_set_new(out, "groups", groups);
    json_object_set_new(out, "events", events_tail(extra));
    return out;
}
