#include "controller/api/status.h"
#include "controller/api/words.h"

static json_t *laps_json(const struct incident_record *incident, int64_t *ret_end_ms, bool *ret_all)
{
    json_t *laps = json_object();
    int64_t before = 0;
    bool ended = true;
    for (int i = 0; i < LAPS; i++) {
        ended = ended && incident->ended_ms[i] >= 0;
        if (!ended) {
            json_object_set_new(laps, lap_names[i], json_null());
            continue;
        }
        int64_t took = incident->ended_ms[i] - before;
        json_object_set_new(laps, lap_names[i], json_integer(took > 0 ? took : 0));
        before = incident->ended_ms[i] > before ? incident->ended_ms[i] : before;
    }
    *ret_end_ms = before;
    *ret_all = ended;
    return laps;
}

/* Whole seconds would call 400 ms "0": objectives are in seconds with their thousandths. */
static json_t *seconds(uint64_t ms)
{
    return ms % 1000 == 0 ? words_u64(ms / 1000) : json_real((double)ms / 1000.0);
}

static json_t *objectives_json(const struct incident_record *incident, uint64_t age_ms)
{
    json_t *list = json_array();
    for (int i = 0; i < OBJECTIVES; i++) {
        const struct objective_record *objective = &incident->objectives[i];
        bool running = objective->actual_ms < 0;
        uint64_t used_ms = running ? age_ms : (uint64_t)objective->actual_ms;
        const char *state = used_ms > objective->limit_ms ? "missed" : running ? "open" : "met";
        json_t *item = json_object();
        json_object_set_new(item, "name", json_string(objective_names[i]));
        json_object_set_new(item, "limit_s", seconds(objective->limit_ms));
        json_object_set_new(item, "actual_s", running ? json_null() : seconds(used_ms));
        json_object_set_new(item, "state", json_string(state));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *databases_json(const struct incident_record *incident)
{
    json_t *list = json_array();
    for (int i = 0; i < incident->databases_len; i++) {
        const struct incident_database *db = &incident->databases[i];
        json_t *item = json_object();
        json_object_set_new(item, "name", words_text(db->name));
        json_object_set_new(item, "from", words_text(db->from));
        json_object_set_new(item, "to", words_text(db->to));
        json_object_set_new(item, "evidence", words_text(db->evidence));
        json_object_set_new(item, "estimated_loss_bytes", words_u64(db->estimated_loss_bytes));
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *notes_json(const struct incident_record *incident)
{
    json_t *list = json_array();
    for (int i = 0; i < incident->notes_len; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "at_ms", words_u64(incident->notes[i].at_ms));
        json_object_set_new(item, "rule", words_text(incident->notes[i].rule));
        json_object_set_new(item, "text", words_text(incident->notes[i].text));
        json_array_append_new(list, item);
    }
    return list;
}

json_t *incident_json(const struct incident_record *incident, uint64_t age_ms)
{
    int64_t end_ms = 0;
    bool ended = false;
    json_t *out = json_object();
    json_t *laps = laps_json(incident, &end_ms, &ended);
    /* While a lap runs, the total is what has passed; the record may be a moment ahead of the age.
     */
    uint64_t total_ms = ended || age_ms < (uint64_t)end_ms ? (uint64_t)end_ms : age_ms;
    uint64_t people_ms = incident->people_ms < total_ms ? incident->people_ms : total_ms;
    json_object_set_new(out, "id", words_text(incident->id));
    json_object_set_new(out, "group", words_text(incident->group));
    json_object_set_new(out, "state", json_string(incident_state_names[incident->state]));
    json_object_set_new(out, "fault_class", json_string(fault_class_names[incident->fault_class]));
    json_object_set_new(out, "reason", words_text(incident->reason));
    json_object_set_new(out, "opened_by", words_text(incident->opened_by));
    json_object_set_new(out, "opened", words_wall(incident->opened_wall_ms));
    json_object_set_new(out, "age_ms", words_u64(age_ms));
    json_object_set_new(out, "laps_ms", laps);
    json_object_set_new(out, "total_ms", words_u64(total_ms));
    json_object_set_new(out, "machine_ms", words_u64(total_ms - people_ms));
    json_object_set_new(out, "people_ms", words_u64(people_ms));
    json_object_set_new(out, "objectives", objectives_json(incident, age_ms));
    json_object_set_new(out, "databases", databases_json(incident));
    json_object_set_new(out, "notes", notes_json(incident));
    json_object_set_new(out, "notes_dropped", json_integer(incident->notes_dropped));
    return out;
}

uint64_t incident_age_ms(const struct incident_record *incident, int64_t wall_ms)
{
    int64_t since = wall_ms - incident->anchor_wall_ms;
    return incident->anchor_ms + (since > 0 ? (uint64_t)since : 0);
}
