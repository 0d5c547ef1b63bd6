#include "controller/api/explain.h"

#include <stdlib.h>
#include <string.h>

#include "controller/api/words.h"

static json_t *or_null(int64_t number)
{
    return number < 0 ? json_null() : json_integer(number);
}

static void set_time(json_t *out, const struct core_time *time)
{
    json_object_set_new(out, "expected_ms", or_null(time->expected_ms));
    json_object_set_new(out, "bound_ms", or_null(time->bound_ms));
}

static json_t *total_json(const struct core_time *total)
{
    json_t *out = json_object();
    set_time(out, total);
    return out;
}

static json_t *node_json(const struct core *core, int database, int instance)
{
    return instance < 0
               ? json_null()
               : words_text(
                     core->def.nodes[core->def.databases[database].instances[instance].node].name);
}

static json_t *checks_json(const struct core_check *checks, int len)
{
    json_t *list = json_array();
    for (int i = 0; i < len; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "name", words_text(checks[i].name));
        json_object_set_new(item, "passes", json_boolean(checks[i].passes));
        json_object_set_new(item, "informs", json_boolean(checks[i].informs));
        json_object_set_new(item, "value", words_text(checks[i].value));
        json_object_set_new(item, "limit", words_text(checks[i].limit));
        json_object_set_new(item, "age_ms", or_null(checks[i].age_ms));
        json_object_set_new(item, "text", words_text(checks[i].text));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *times_json(const struct core_time times[LAPS])
{
    json_t *list = json_array();
    for (int lap = 0; lap < LAPS; lap++) {
        json_t *item = json_object();
        json_object_set_new(item, "lap", json_string(lap_names[lap]));
        set_time(item, &times[lap]);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *database_json(const struct core *core, int database)
{
    struct explanation *found = malloc(sizeof *found);
    if (found == NULL) {
        return NULL;
    }
    core_explain(core, database, found);
    json_t *out = json_object();
    json_object_set_new(out, "name", words_text(core->def.databases[database].name));
    json_object_set_new(out, "primary", node_json(core, database, found->primary));
    json_object_set_new(out, "automatic", json_boolean(found->automatic));
    json_object_set_new(out, "verdict", words_text(found->verdict));
    json_object_set_new(out, "target", node_json(core, database, found->target));
    json_object_set_new(out, "loss_bytes",
                        found->loss_known ? words_u64(found->loss_bytes) : json_null());
    json_object_set_new(out, "loss",
                        json_string(!found->loss_known   ? "unknown"
                                    : found->loss_proven ? "proven"
                                                         : "estimated"));
    json_object_set_new(out, "loss_limit_bytes", words_u64(found->loss_limit));
    json_object_set_new(out, "measured", words_text_or_null(found->measured));
    json_object_set_new(out, "times", times_json(found->times));
    json_object_set_new(out, "total", total_json(&found->total));
    json_object_set_new(out, "checks", checks_json(found->checks, found->checks_len));
    free(found);
    return out;
}

static json_t *head_json(const struct core *core, const struct status_extra *extra,
                         const char *group)
{
    json_t *out = json_object();
    json_object_set_new(out, "schema", json_integer(1));
    json_object_set_new(out, "at", words_wall(extra->wall_ms));
    json_object_set_new(out, "group", words_text(group));
    json_object_set_new(out, "controller", words_text(extra->id));
    json_object_set_new(out, "leading", json_boolean(core->leading));
    return out;
}

json_t *explain_json(const struct core *core, const struct status_extra *extra, int group,
                     int database)
{
    json_t *out = head_json(core, extra, core->def.groups[group].name);
    json_t *list = json_array();
    for (int db = 0; db < core->def.databases_len; db++) {
        if (core->def.databases[db].group == group && (database < 0 || db == database)) {
            json_array_append_new(list, database_json(core, db));
        }
    }
    json_object_set_new(out, "databases", list);
    return out;
}

static json_t *targets_json(const struct core *core, const struct request_record *request,
                            const struct plan *plan)
{
    json_t *list = json_array();
    for (int db = 0; db < core->def.databases_len; db++) {
        const struct database_def *def = &core->def.databases[db];
        bool meant = strcmp(core->def.groups[def->group].name, request->group) == 0 &&
                     (request->database[0] == '\0' || strcmp(request->database, def->name) == 0);
        if (!meant) {
            continue;
        }
        json_t *item = json_object();
        json_object_set_new(item, "name", words_text(def->name));
        json_object_set_new(item, "primary", node_json(core, db, core_primary(core, db)));
        json_object_set_new(item, "target", node_json(core, db, plan->targets[db]));
        json_object_set_new(item, "loss_bytes",
                            plan->loss_known[db] ? words_u64(plan->loss_bytes[db]) : json_null());
        json_array_append_new(list, item);
    }
    return list;
}

json_t *plan_json(const struct core *core, const struct status_extra *extra,
                  const struct request_record *request)
{
    struct plan *plan = malloc(sizeof *plan);
    if (plan == NULL) {
        return NULL;
    }
    core_plan(core, request, plan);
    json_t *out = head_json(core, extra, request->group);
    json_t *steps = json_array();
    for (int i = 0; i < plan->steps_len; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "database",
                            words_text(core->def.databases[plan->steps[i].database].name));
        json_object_set_new(item, "step", json_string(lap_names[plan->steps[i].lap]));
        json_object_set_new(item, "text", words_text(plan->steps[i].text));
        set_time(item, &plan->steps[i].time);
        json_array_append_new(steps, item);
    }
    json_object_set_new(out, "hash", json_string(plan->hash));
    json_object_set_new(out, "refused", words_text(plan->refused));
    json_object_set_new(out, "measured", words_text_or_null(plan->measured));
    json_object_set_new(out, "total", total_json(&plan->total));
    json_object_set_new(out, "databases", targets_json(core, request, plan));
    json_object_set_new(out, "steps", steps);
    free(plan);
    return out;
}
