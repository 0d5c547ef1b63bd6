/*
 * Each structure has a shape, a table of its fields, from which both directions come, so that they
 * cannot differ. What a table cannot say (a permit's k fits its members) is one check a record,
 * after reading.
 */
#include "controller/cluster/records_json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/json.h"
#include "controller/base/utf8.h"

enum field_type {
    FIELD_NAME, /* as names of the definition */
    FIELD_ID,   /* [a-z0-9-]+ */
    FIELD_TEXT,
    FIELD_BOOL,
    FIELD_NUMBER, /* of 4 or 8 bytes, within min and max */
    FIELD_COUNT,  /* uint64_t */
    FIELD_ENUM,
    FIELD_OBJECT,
    FIELD_TIMES, /* int64_t, one for each of names: an object */
};

enum field_form {
    FORM_ONE,
    FORM_MANY,  /* an array of items, their number at len_offset */
    FORM_NAMED, /* one item for each of names: an object */
};

struct shape;

struct field {
    const char *name;
    enum field_type type;
    enum field_form form;
    size_t offset, size; /* of the value or of one item */
    size_t len_offset;
    int items_max;
    int64_t min, max;
    const char *const *names;
    const struct shape *shape;
    bool optional; /* left out when empty or zero; absent means that */
    bool flagged;  /* an object that is there when the bool at flag_offset says so */
    size_t flag_offset;
};

struct shape {
    const struct field *fields;
    size_t len;
};

#define AT(type, field)                                                                            \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define ITEMS(type, field, number)                                                                 \
    .form = FORM_MANY, .offset = offsetof(struct type, field),                                     \
    .size = sizeof(((struct type *)0)->field[0]), .len_offset = offsetof(struct type, number),     \
    .items_max = (int)(sizeof(((struct type *)0)->field) / sizeof(((struct type *)0)->field[0]))
#define SHAPE(name)                                                                                \
    static const struct shape name##_shape = {name##_fields,                                       \
                                              sizeof name##_fields / sizeof *name##_fields}

#define NATURAL .min = 0, .max = INT64_MAX
#define U32     .min = 0, .max = UINT32_MAX
#define CLOCK   .min = -1, .max = INT64_MAX /* -1: not yet */

/* clang-format off */
static const struct field epoch_fields[] = {
    { "incarnation", FIELD_COUNT, AT(epoch, incarnation) },
    { "counter", FIELD_COUNT, AT(epoch, counter) },
};
SHAPE(epoch);

static const struct field sync_entry_fields[] = {
    { "k", FIELD_NUMBER, AT(sync_entry_record, k), .min = 0, .max = INSTANCES_MAX },
    { "first", FIELD_BOOL, AT(sync_entry_record, first), .optional = true },
    { "members", FIELD_TEXT, ITEMS(sync_entry_record, members, members_len) },
};
SHAPE(sync_entry);

static const struct field permit_fields[] = {
    { "database", FIELD_NAME, AT(permit_record, database) },
    { "state", FIELD_ENUM, AT(permit_record, state), .names = permit_state_names },
    { "epoch", FIELD_OBJECT, AT(permit_record, epoch), .shape = &epoch_shape },
    { "node", FIELD_NAME, AT(permit_record, node) },
    { "system_id", FIELD_COUNT, AT(permit_record, system_id) },
    { "timeline", FIELD_NUMBER, AT(permit_record, timeline), U32 },
    { "boot", FIELD_ID, AT(permit_record, boot), .optional = true },
    { "life", FIELD_NUMBER, AT(permit_record, life), NATURAL, .optional = true },
    { "d_ms", FIELD_NUMBER, AT(permit_record, d_ms), U32 },
    { "w_ms", FIELD_NUMBER, AT(permit_record, w_ms), U32 },
    { "k_ms", FIELD_NUMBER, AT(permit_record, k_ms), U32 },
    { "changing", FIELD_BOOL, AT(permit_record, changing), .optional = true },
    { "promisers", FIELD_NAME, ITEMS(permit_record, promisers, promisers_len), .optional = true },
    { "before", FIELD_NAME, ITEMS(permit_record, before, before_len), .optional = true },
    { "sync", FIELD_OBJECT, ITEMS(permit_record, sync, sync_len), .shape = &sync_entry_shape },
};
SHAPE(permit);

static const struct field renewal_fields[] = {
    { "epoch", FIELD_OBJECT, AT(renewal_record, epoch), .shape = &epoch_shape },
    { "permit_revision", FIELD_NUMBER, AT(renewal_record, permit_revision), NATURAL },
    { "boot", FIELD_ID, AT(renewal_record, boot) },
    { "sequence", FIELD_COUNT, AT(renewal_record, sequence) },
    { "armed", FIELD_BOOL, AT(renewal_record, armed), .optional = true },
    { "wrote", FIELD_BOOL, AT(renewal_record, wrote), .optional = true },
};
SHAPE(renewal);

static const struct field guard_fields[] = {
    { "node", FIELD_NAME, AT(guard_record, node) },
    { "database", FIELD_NAME, AT(guard_record, database) },
    { "version", FIELD_TEXT, AT(guard_record, version) },
    { "boot", FIELD_ID, AT(guard_record, boot) },
    { "started_wall_ms", FIELD_COUNT, AT(guard_record, started_wall_ms) },
    { "sequence", FIELD_COUNT, AT(guard_record, sequence) },
    { "mode", FIELD_ENUM, AT(guard_record, mode), .names = guard_mode_names },
    { "state", FIELD_ENUM, AT(guard_record, state), .names = guard_state_names },
    { "held", FIELD_TEXT, AT(guard_record, held), .optional = true },
    { "complaint", FIELD_TEXT, AT(guard_record, complaint), .optional = true },
    { "role", FIELD_ENUM, AT(guard_record, role), .names = role_names },
    { "wrote", FIELD_BOOL, AT(guard_record, wrote), .optional = true },
    { "wrote_age_ms", FIELD_COUNT, AT(guard_record, wrote_age_ms), .optional = true },
    { "life", FIELD_NUMBER, AT(guard_record, life), NATURAL, .optional = true },
    { "system_id", FIELD_COUNT, AT(guard_record, system_id), .optional = true },
    { "timeline", FIELD_NUMBER, AT(guard_record, timeline), U32, .optional = true },
    { "write_lsn", FIELD_COUNT, AT(guard_record, write_lsn), .optional = true },
    { "receive_lsn", FIELD_COUNT, AT(guard_record, receive_lsn), .optional = true },
    { "replay_lsn", FIELD_COUNT, AT(guard_record, replay_lsn), .optional = true },
    { "receiving", FIELD_BOOL, AT(guard_record, receiving), .optional = true },
    { "upstream", FIELD_NAME, AT(guard_record, upstream), .optional = true },
    { "clean", FIELD_BOOL, AT(guard_record, clean), .optional = true },
    { "checkpoint_lsn", FIELD_COUNT, AT(guard_record, checkpoint_lsn), .optional = true },
    { "checkpoint_timeline", FIELD_NUMBER, AT(guard_record, checkpoint_timeline), U32, .optional = true },
    { "obeyed_revision", FIELD_NUMBER, AT(guard_record, obeyed_revision), NATURAL, .optional = true },
    { "epoch", FIELD_OBJECT, AT(guard_record, epoch), .shape = &epoch_shape },
    { "stopped_for", FIELD_NUMBER, AT(guard_record, stopped_for), NATURAL, .optional = true },
    { "cut_for", FIELD_NUMBER, AT(guard_record, cut_for), NATURAL, .optional = true },
    { "asks_start", FIELD_BOOL, AT(guard_record, asks_start), .optional = true },
    { "crash", FIELD_TEXT, AT(guard_record, crash), .optional = true },
    { "down_ms", FIELD_COUNT, AT(guard_record, down_ms), .optional = true },
    { "watchdog", FIELD_ENUM, AT(guard_record, watchdog), .names = watchdog_kind_names },
    { "armed", FIELD_BOOL, AT(guard_record, armed), .optional = true },
    { "watchdog_ms", FIELD_NUMBER, AT(guard_record, watchdog_ms), U32, .optional = true },
    { "free_bytes", FIELD_COUNT, AT(guard_record, free_bytes), .optional = true },
    { "sync_for", FIELD_NUMBER, AT(guard_record, sync_for), NATURAL, .optional = true },
    { "sync_names", FIELD_TEXT, AT(guard_record, sync_names), .optional = true },
};
SHAPE(guard);

static const struct field evidence_fields[] = {
    { "kind", FIELD_ENUM, AT(evidence_record, kind), .names = evidence_kind_names },
    { "node", FIELD_NAME, AT(evidence_record, node) },
    { "level", FIELD_NAME, AT(evidence_record, level), .optional = true },
    { "detail", FIELD_TEXT, AT(evidence_record, detail) },
    { "revocation_revision", FIELD_COUNT, AT(evidence_record, revocation_revision) },
    { "after_ms", FIELD_NUMBER, AT(evidence_record, after_ms), U32 },
    { "wall_ms", FIELD_NUMBER, AT(evidence_record, wall_ms), NATURAL },
};
SHAPE(evidence);

static const struct field move_fields[] = {
    { "database", FIELD_NAME, AT(move_record, database) },
    { "phase", FIELD_ENUM, AT(move_record, phase), .names = move_phase_names },
    { "from", FIELD_NAME, AT(move_record, from) },
    { "fence_node", FIELD_NAME, AT(move_record, fence_node), .optional = true },
    { "planned", FIELD_NAME, AT(move_record, planned), .optional = true },
    { "candidate", FIELD_NAME, AT(move_record, candidate), .optional = true },
    { "candidate_life", FIELD_NUMBER, AT(move_record, candidate_life), NATURAL, .optional = true },
    { "from_timeline", FIELD_NUMBER, AT(move_record, from_timeline), U32 },
    { "new_timeline", FIELD_NUMBER, AT(move_record, new_timeline), U32 },
    { "system_id", FIELD_COUNT, AT(move_record, system_id) },
    { "forced", FIELD_BOOL, AT(move_record, forced), .optional = true },
    { "accept_loss_bytes", FIELD_COUNT, AT(move_record, accept_loss_bytes), .optional = true },
    { "estimated_loss_bytes", FIELD_COUNT, AT(move_record, estimated_loss_bytes), .optional = true },
    { "lives", FIELD_NUMBER, AT(move_record, lives), U32 },
    { "parked", FIELD_TEXT, AT(move_record, parked), .optional = true },
    { "burnt", FIELD_NAME, ITEMS(move_record, burnt, burnt_len), .optional = true },
    { "sync", FIELD_OBJECT, ITEMS(move_record, sync, sync_len), .shape = &sync_entry_shape, .optional = true },
    { "evidence", FIELD_OBJECT, ITEMS(move_record, evidence, evidence_len), .shape = &evidence_shape },
};
SHAPE(move);

static const struct field workflow_fields[] = {
    { "id", FIELD_ID, AT(workflow_record, id) },
    { "request", FIELD_ID, AT(workflow_record, request), .optional = true },
    { "started_wall_ms", FIELD_NUMBER, AT(workflow_record, started_wall_ms), NATURAL },
    { "moves", FIELD_OBJECT, ITEMS(workflow_record, moves, moves_len), .shape = &move_shape },
};
SHAPE(workflow);

static const struct field role_fields[] = {
    { "node", FIELD_NAME, AT(role_record, node) },
    { "role", FIELD_ENUM, AT(role_record, role), .names = declared_role_names },
    { "upstream", FIELD_NAME, AT(role_record, upstream), .optional = true },
};
SHAPE(role);

static const struct field database_fields[] = {
    { "database", FIELD_NAME, AT(database_record, database) },
    { "primary", FIELD_NAME, AT(database_record, primary), .optional = true },
    { "system_id", FIELD_COUNT, AT(database_record, system_id) },
    { "timeline", FIELD_NUMBER, AT(database_record, timeline), U32 },
    { "sync_enforced", FIELD_BOOL, AT(database_record, sync_enforced) },
    { "burnt", FIELD_NAME, ITEMS(database_record, burnt, burnt_len), .optional = true },
    { "roles", FIELD_OBJECT, ITEMS(database_record, roles, roles_len), .shape = &role_shape, .optional = true },
    { "refences", FIELD_NUMBER, AT(database_record, refences), U32, .optional = true },
    { "refence_wall_ms", FIELD_NUMBER, AT(database_record, refence_wall_ms), NATURAL, .optional = true },
};
SHAPE(database);

static const struct field alarm_fields[] = {
    { "key", FIELD_TEXT, AT(alarm_record, key) },
    { "text", FIELD_TEXT, AT(alarm_record, text) },
    { "command", FIELD_TEXT, AT(alarm_record, command), .optional = true },
    { "since_wall_ms", FIELD_NUMBER, AT(alarm_record, since_wall_ms), NATURAL },
    { "wakes", FIELD_BOOL, AT(alarm_record, wakes) },
    { "called", FIELD_BOOL, AT(alarm_record, called) },
    { "acked_by", FIELD_TEXT, AT(alarm_record, acked_by), .optional = true },
    { "acked_reason", FIELD_TEXT, AT(alarm_record, acked_reason), .optional = true },
    { "acked_wall_ms", FIELD_NUMBER, AT(alarm_record, acked_wall_ms), NATURAL, .optional = true },
};
SHAPE(alarm);

static const struct field group_fields[] = {
    { "name", FIELD_NAME, AT(group_record, name) },
    { "paused", FIELD_BOOL, AT(group_record, paused) },
    { "paused_by", FIELD_TEXT, AT(group_record, paused_by), .optional = true },
    { "paused_reason", FIELD_TEXT, AT(group_record, paused_reason), .optional = true },
    { "paused_wall_ms", FIELD_NUMBER, AT(group_record, paused_wall_ms), NATURAL, .optional = true },
    { "databases", FIELD_OBJECT, ITEMS(group_record, databases, databases_len), .shape = &database_shape },
    { "workflow", FIELD_OBJECT, AT(group_record, workflow), .shape = &workflow_shape, .flagged = true,
      .flag_offset = offsetof(struct group_record, moving) },
    { "completed_wall_ms", FIELD_NUMBER, ITEMS(group_record, completed_wall_ms, completed_len), NATURAL },
    { "alarms", FIELD_OBJECT, ITEMS(group_record, alarms, alarms_len), .shape = &alarm_shape },
};
SHAPE(group);

static const struct field objective_fields[] = {
    { "limit_ms", FIELD_COUNT, AT(objective_record, limit_ms) },
    { "actual_ms", FIELD_NUMBER, AT(objective_record, actual_ms), CLOCK },
    { "warned", FIELD_NUMBER, AT(objective_record, warned), .min = 0, .max = 7 },
};
SHAPE(objective);

static const struct field note_fields[] = {
    { "at_ms", FIELD_COUNT, AT(incident_note, at_ms) },
    { "rule", FIELD_TEXT, AT(incident_note, rule) },
    { "text", FIELD_TEXT, AT(incident_note, text) },
};
SHAPE(note);

static const struct field incident_database_fields[] = {
    { "name", FIELD_NAME, AT(incident_database, name) },
    { "from", FIELD_NAME, AT(incident_database, from), .optional = true },
    { "to", FIELD_NAME, AT(incident_database, to), .optional = true },
    { "evidence", FIELD_TEXT, AT(incident_database, evidence), .optional = true },
    { "estimated_loss_bytes", FIELD_COUNT, AT(incident_database, estimated_loss_bytes) },
};
SHAPE(incident_database);

static const struct field incident_fields[] = {
    { "id", FIELD_ID, AT(incident_record, id) },
    { "group", FIELD_NAME, AT(incident_record, group) },
    { "state", FIELD_ENUM, AT(incident_record, state), .names = incident_state_names },
    { "fault_class", FIELD_ENUM, AT(incident_record, fault_class), .names = fault_class_names },
    { "reason", FIELD_TEXT, AT(incident_record, reason) },
    { "opened_by", FIELD_TEXT, AT(incident_record, opened_by) },
    { "opened_wall_ms", FIELD_NUMBER, AT(incident_record, opened_wall_ms), NATURAL },
    { "anchor_ms", FIELD_COUNT, AT(incident_record, anchor_ms) },
    { "anchor_wall_ms", FIELD_NUMBER, AT(incident_record, anchor_wall_ms), NATURAL },
    { "ended_ms", FIELD_TIMES, AT(incident_record, ended_ms), CLOCK, .names = lap_names },
    { "people_ms", FIELD_COUNT, AT(incident_record, people_ms) },
    { "objectives", FIELD_OBJECT, .form = FORM_NAMED, .offset = offsetof(struct incident_record, objectives),
      .size = sizeof(struct objective_record), .names = objective_names, .shape = &objective_shape },
    { "databases", FIELD_OBJECT, ITEMS(incident_record, databases, databases_len),
      .shape = &incident_database_shape },
    { "notes", FIELD_OBJECT, ITEMS(incident_record, notes, notes_len), .shape = &note_shape },
    { "notes_dropped", FIELD_NUMBER, AT(incident_record, notes_dropped), .min = 0, .max = INT32_MAX,
      .optional = true },
};
SHAPE(incident);

static const struct field request_fields[] = {
    { "id", FIELD_ID, AT(request_record, id) },
    { "kind", FIELD_ENUM, AT(request_record, kind), .names = request_kind_names },
    { "group", FIELD_NAME, AT(request_record, group), .optional = true },
    { "database", FIELD_NAME, AT(request_record, database), .optional = true },
    { "node", FIELD_NAME, AT(request_record, node), .optional = true },
    { "who", FIELD_TEXT, AT(request_record, who) },
    { "reason", FIELD_TEXT, AT(request_record, reason) },
    { "accept_loss_bytes", FIELD_COUNT, AT(request_record, accept_loss_bytes), .optional = true },
    { "plan", FIELD_ID, AT(request_record, plan), .optional = true },
    { "alarm", FIELD_TEXT, AT(request_record, alarm), .optional = true },
    { "asked_wall_ms", FIELD_NUMBER, AT(request_record, asked_wall_ms), NATURAL },
    { "state", FIELD_ENUM, AT(request_record, state), .names = request_state_names },
    { "outcome", FIELD_TEXT, AT(request_record, outcome), .optional = true },
    { "workflow", FIELD_ID, AT(request_record, workflow), .optional = true },
};
SHAPE(request);

static const struct field target_fields[] = {
    { "database", FIELD_NAME, AT(target_view, database) },
    { "node", FIELD_NAME, AT(target_view, node) },
    { "opinion", FIELD_ENUM, AT(target_view, opinion), .names = opinion_names },
    { "cause", FIELD_ENUM, AT(target_view, cause), .names = cause_names },
    { "age_ms", FIELD_COUNT, AT(target_view, age_ms) },
    { "since_ms", FIELD_COUNT, AT(target_view, since_ms) },
    { "writable", FIELD_BOOL, AT(target_view, writable), .optional = true },
    { "lives_after", FIELD_NUMBER, AT(target_view, lives_after), NATURAL, .optional = true },
};
SHAPE(target);

static const struct field echo_fields[] = {
    { "id", FIELD_NAME, AT(view_echo, id) },
    { "sequence", FIELD_COUNT, AT(view_echo, sequence) },
};
SHAPE(echo);

static const struct field controller_fields[] = {
    { "id", FIELD_NAME, AT(controller_record, id) },
    { "version", FIELD_TEXT, AT(controller_record, version) },
    { "api", FIELD_TEXT, AT(controller_record, api), .optional = true },
    { "started_wall_ms", FIELD_COUNT, AT(controller_record, started_wall_ms) },
    { "sequence", FIELD_COUNT, AT(controller_record, sequence) },
    { "echoes", FIELD_OBJECT, ITEMS(controller_record, echoes, echoes_len), .shape = &echo_shape, .optional = true },
    { "config_revision", FIELD_NUMBER, AT(controller_record, config_revision), NATURAL },
    { "blind", FIELD_BOOL, AT(controller_record, blind) },
    { "targets", FIELD_OBJECT, ITEMS(controller_record, targets, targets_len), .shape = &target_shape },
};
SHAPE(controller);
/* clang-format on */

/* ---- Numbers in structures
 * ---------------------------------------------------------------------------------- */

static int64_t load(const struct field *field, const char *from)
{
    assert(field->size == 4 || field->size == 8);
    if (field->size == 8) {
        int64_t number;
        memcpy(&number, from, sizeof number);
        return number;
    }
    int32_t number;
    memcpy(&number, from, sizeof number);
    return field->max > INT32_MAX ? (int64_t)(uint32_t)number : number;
}

static void store(const struct field *field, char *to, int64_t number)
{
    assert(field->size == 4 || field->size == 8);
    if (field->size == 8) {
        memcpy(to, &number, sizeof number);
    } else {
        uint32_t small = (uint32_t)number;
        memcpy(to, &small, sizeof small);
    }
}

static uint64_t load_count(const char *from)
{
    uint64_t number;
    memcpy(&number, from, sizeof number);
    return number;
}

static int names_len(const char *const *names)
{
    int len = 0;
    while (names[len] != NULL) {
        len++;
    }
    return len;
}

/* ---- Writing
 * ------------------------------------------------------------------------------------------------
 */

static json_t *write_shape(const struct shape *shape, const char *from);

static json_t *write_text(const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    assert(len < size); /* ours are terminated */
    json_t *string = json_stringn(text, len);
    if (string != NULL) {
        return string;
    }
    char *clean = strdup(text);
    if (clean != NULL) {
        utf8_mend(clean);
        string = json_string(clean);
        free(clean);
    }
    return string;
}

static json_t *write_times(const struct field *field, const char *from)
{
    json_t *object = json_object();
    for (int i = 0; field->names[i] != NULL; i++) {
        int64_t time;
        memcpy(&time, from + (size_t)i * sizeof time, sizeof time);
        if (json_object_set_new(object, field->names[i], json_integer(time)) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *write_one(const struct field *field, const char *from)
{
    switch (field->type) {
    case FIELD_NAME:
    case FIELD_ID:
    case FIELD_TEXT: return write_text(from, field->size);
    case FIELD_BOOL: return json_boolean(*(const bool *)from);
    case FIELD_NUMBER: return json_integer(load(field, from));
    case FIELD_COUNT: return json_count(load_count(from));
    case FIELD_ENUM: {
        int value = *(const int *)from;
        assert(value >= 0 && value < names_len(field->names));
        return json_string(field->names[value]);
    }
    case FIELD_OBJECT: return write_shape(field->shape, from);
    case FIELD_TIMES: return write_times(field, from);
    }
    return NULL;
}

static json_t *write_many(const struct field *field, const char *base)
{
    int len = *(const int *)(base + field->len_offset);
    assert(len >= 0 && len <= field->items_max);
    json_t *array = json_array();
    for (int i = 0; i < len; i++) {
        json_t *item = write_one(field, base + field->offset + (size_t)i * field->size);
        if (json_array_append_new(array, item) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *write_named(const struct field *field, const char *base)
{
    json_t *object = json_object();
    for (int i = 0; field->names[i] != NULL; i++) {
        json_t *item = write_one(field, base + field->offset + (size_t)i * field->size);
        if (json_object_set_new(object, field->names[i], item) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static bool is_empty(const struct field *field, const char *base)
{
    if (field->form == FORM_MANY) {
        return *(const int *)(base + field->len_offset) == 0;
    }
    const char *from = base + field->offset;
    switch (field->type) {
    case FIELD_BOOL: return !*(const bool *)from;
    case FIELD_NUMBER: return load(field, from) == 0;
    case FIELD_COUNT: return load_count(from) == 0;
    default: return *from == '\0';
    }
}

static json_t *write_shape(const struct shape *shape, const char *from)
{
    json_t *object = json_object();
    for (size_t i = 0; i < shape->len; i++) {
        const struct field *field = &shape->fields[i];
        if ((field->optional && is_empty(field, from)) ||
            (field->flagged && !*(const bool *)(from + field->flag_offset))) {
            continue;
        }
        json_t *value = field->form == FORM_MANY    ? write_many(field, from)
                        : field->form == FORM_NAMED ? write_named(field, from)
                                                    : write_one(field, from + field->offset);
        if (json_object_set_new(object, field->name, value) < 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* Takes the object over. */
static char *print_json(json_t *object, size_t *ret_len)
{
    if (object == NULL || json_object_set_new(object, "schema", json_integer(RECORD_SCHEMA)) < 0) {
        json_decref(object);
        return NULL;
    }
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (text != NULL) {
        *ret_len = strlen(text);
    }
    return text;
}

static char *encode(const struct shape *shape, const void *record, size_t *ret_len)
{
    return print_json(write_shape(shape, record), ret_len);
}

/* ---- Reading
 * ------------------------------------------------------------------------------------------------
 */

static void read_shape(struct json_in *in, const struct shape *shape, const json_t *object,
                       char *to);

static bool spelled(const char *text, const char *inside)
{
    return text[0] != '\0' && strspn(text, inside) == strlen(text);
}

#define LOWER_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"

static void read_text(struct json_in *in, const struct field *field, const json_t *object,
                      const char *key, char *to)
{
    json_text(in, object, key, to, field->size);
    if (!json_in_ok(in)) {
        return;
    }
    size_t len = strlen(to);
    bool name = spelled(to, LOWER_DIGITS "._-") && strchr("._-", to[0]) == NULL &&
                strchr("._-", to[len - 1]) == NULL;
    if (field->type == FIELD_NAME && !name) {
        json_in_fail(in, key, "found \"%.40s\", must be a name of a-z, 0-9, '.', '_', '-'", to);
    } else if (field->type == FIELD_ID && !spelled(to, LOWER_DIGITS "-")) {
        json_in_fail(in, key, "found \"%.40s\", must be an id of a-z, 0-9, '-'", to);
    }
}

static void read_times(struct json_in *in, const struct field *field, const json_t *object,
                       const char *key, char *to)
{
    const json_t *times = json_object_at(in, object, key);
    json_enter(in, key);
    for (int i = 0; field->names[i] != NULL; i++) {
        int64_t time = json_i64(in, times, field->names[i], field->min, field->max);
        memcpy(to + (size_t)i * sizeof time, &time, sizeof time);
    }
    json_leave(in);
}

static void read_object(struct json_in *in, const struct field *field, const json_t *object,
                        const char *key, char *to)
{
    const json_t *value = json_object_at(in, object, key);
    json_enter(in, key);
    read_shape(in, field->shape, value, to);
    json_leave(in);
}

/* object[key] into one value at `to`. */
static void read_one(struct json_in *in, const struct field *field, const json_t *object,
                     const char *key, char *to)
{
    switch (field->type) {
    case FIELD_NAME:
    case FIELD_ID:
    case FIELD_TEXT: read_text(in, field, object, key, to); break;
    case FIELD_BOOL: *(bool *)to = json_bool(in, object, key); break;
    case FIELD_NUMBER: store(field, to, json_i64(in, object, key, field->min, field->max)); break;
    case FIELD_COUNT: {
        uint64_t number = json_u64(in, object, key);
        memcpy(to, &number, sizeof number);
        break;
    }
    case FIELD_ENUM: {
        int value = json_enum(in, object, key, field->names);
        *(int *)to = value < 0 ? 0 : value;
        break;
    }
    case FIELD_OBJECT: read_object(in, field, object, key, to); break;
    case FIELD_TIMES: read_times(in, field, object, key, to); break;
    }
}

static void read_many(struct json_in *in, const struct field *field, const json_t *object,
                      char *base)
{
    const json_t *array = json_array_at(in, object, field->name, (size_t)field->items_max);
    if (array == NULL) {
        return;
    }
    for (size_t i = 0; i < json_array_size(array) && json_in_ok(in); i++) {
        /* The readers take a member of an object: each item is lent one, named as a message should.
         */
        char key[48];
        snprintf(key, sizeof key, "%s[%zu]", field->name, i);
        json_t *item = json_pack("{sO}", key, json_array_get(array, i));
        read_one(in, field, item, key, base + field->offset + i * field->size);
        json_decref(item);
    }
    *(int *)(base + field->len_offset) = (int)json_array_size(array);
}

static void read_named(struct json_in *in, const struct field *field, const json_t *object,
                       char *base)
{
    const json_t *items = json_object_at(in, object, field->name);
    json_enter(in, field->name);
    for (int i = 0; field->names[i] != NULL; i++) {
        read_one(in, field, items, field->names[i], base + field->offset + (size_t)i * field->size);
    }
    json_leave(in);
}

static void read_shape(struct json_in *in, const struct shape *shape, const json_t *object,
                       char *to)
{
    for (size_t i = 0; i < shape->len && json_in_ok(in); i++) {
        const struct field *field = &shape->fields[i];
        if ((field->optional || field->flagged) && !json_has(object, field->name)) {
            continue;
        }
        if (field->flagged) {
            *(bool *)(to + field->flag_offset) = true;
        }
        switch (field->form) {
        case FORM_ONE: read_one(in, field, object, field->name, to + field->offset); break;
        case FORM_MANY: read_many(in, field, object, to); break;
        case FORM_NAMED: read_named(in, field, object, to); break;
        }
    }
}

void record_schema(struct json_in *in, const json_t *root)
{
    int64_t schema = json_i64(in, root, "schema", 1, INT64_MAX);
    if (json_in_ok(in) && schema > RECORD_SCHEMA) {
        json_in_fail(in, "schema",
                     "found %" PRId64 ", written by a newer version; this one reads up to %d. "
                     "Upgrade this program to the version that wrote it; it is left as it is",
                     schema, RECORD_SCHEMA);
    }
}

/* The parsed text if it is a record that we may read; the caller's to free. */
static json_t *open_record(const char *text, size_t len, const char *what, struct err *ret_err)
{
    json_t *root = json_parse(text, len, RECORD_TEXT_MAX, ret_err);
    if (root == NULL) {
        err_prefix(ret_err, "%s", what);
        return NULL;
    }
    struct json_in in;
    json_in_init(&in, what);
    record_schema(&in, root);
    if (json_in_done(&in, ret_err) < 0) {
        json_decref(root);
        return NULL;
    }
    return root;
}

typedef void (*record_check)(struct json_in *in, const void *record);

static int decode(const char *text, size_t len, const char *what, const struct shape *shape,
                  record_check check, void *ret_record, size_t size, struct err *ret_err)
{
    json_t *root = open_record(text, len, what, ret_err);
    if (root == NULL) {
        return -1;
    }
    char *record = calloc(1, size);
    if (record == NULL) {
        json_decref(root);
        return err_set(ret_err, ERR_SYSTEM, "%s: no memory is left", what);
    }
    struct json_in in;
    json_in_init(&in, what);
    read_shape(&in, shape, root, record);
    if (json_in_ok(&in) && check != NULL) {
        check(&in, record);
    }
    int result = json_in_done(&in, ret_err);
    if (result == 0) {
        memcpy(ret_record, record, size);
    }
    free(record);
    json_decref(root);
    return result;
}

/* ---- What a table cannot say
 * -------------------------------------------------------------------------------- */

/* As the definition lets one be named: a guard writes it into PostgreSQL's configuration, in
 * quotes. */
#define NAME_OF_STANDBY LOWER_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.:-"

static void check_entries(struct json_in *in, const char *key,
                          const struct sync_entry_record entries[], int len)
{
    for (int i = 0; i < len; i++) {
        const struct sync_entry_record *entry = &entries[i];
        if (entry->k > entry->members_len) {
            json_in_fail(in, key, "entry %d waits for %d of %d members", i, entry->k,
                         entry->members_len);
        } else if (entry->k == 0 && entry->members_len > 0) {
            json_in_fail(in, key, "entry %d waits for nobody, but names %d members", i,
                         entry->members_len);
        }
        for (int m = 0; m < entry->members_len; m++) {
            if (!spelled(entry->members[m], NAME_OF_STANDBY)) {
                json_in_fail(in, key, "entry %d has the member \"%s\", must be a standby's name", i,
                             entry->members[m]);
            }
            for (int n = 0; n < m; n++) { /* counted twice, one copy would pass for two */
                if (strcmp(entry->members[m], entry->members[n]) == 0) {
                    json_in_fail(in, key, "entry %d has the member \"%s\" twice", i,
                                 entry->members[m]);
                }
            }
        }
    }
}

static void check_permit(struct json_in *in, const void *record)
{
    const struct permit_record *permit = record;
    if (permit->epoch.incarnation == 0 || permit->epoch.counter == 0) {
        json_in_fail(in, "epoch", "found a zero in it; epochs count from 1");
    }
    check_entries(in, "sync", permit->sync, permit->sync_len);
}

static void check_group(struct json_in *in, const void *record)
{
    const struct group_record *group = record;
    if (group->moving && group->workflow.moves_len == 0) {
        json_in_fail(in, "workflow.moves", "is empty; a workflow moves at least one database");
    }
    for (int i = 0; group->moving && i < group->workflow.moves_len; i++) {
        const struct move_record *move = &group->workflow.moves[i];
        check_entries(in, "workflow.moves", move->sync, move->sync_len);
        bool chosen = move->phase >= PHASE_PROMOTE && move->phase < PHASE_DONE;
        if (chosen && move->candidate[0] == '\0') {
            json_in_fail(in, "workflow.moves", "move %d is in the phase %s, but names no candidate",
                         i, move_phase_names[move->phase]);
        }
        for (int j = 0; j < i; j++) {
            if (strcmp(group->workflow.moves[j].database, move->database) == 0) {
                json_in_fail(in, "workflow.moves", "%s is moved twice", move->database);
            }
        }
    }
    for (int i = 0; i < group->databases_len; i++) {
        for (int j = 0; j < i; j++) {
            if (strcmp(group->databases[i].database, group->databases[j].database) == 0) {
                json_in_fail(in, "databases", "%s stands here twice", group->databases[i].database);
            }
        }
    }
}

/* ---- The door
 * -----------------------------------------------------------------------------------------------
 */

/* Each kind's two functions of records_json.h; `check` may be NULL. */
#define DOOR(kind, check)                                                                          \
    int kind##_record_decode(const char *text, size_t len, struct kind##_record *ret_record,       \
                             struct err *ret_err)                                                  \
    {                                                                                              \
        return decode(text, len, #kind, &kind##_shape, check, ret_record, sizeof *ret_record,      \
                      ret_err);                                                                    \
    }                                                                                              \
    char *kind##_record_encode(const struct kind##_record *record, size_t *ret_len)                \
    {                                                                                              \
        return encode(&kind##_shape, record, ret_len);                                             \
    }

DOOR(permit, check_permit)
DOOR(group, check_group)
DOOR(incident, NULL)
DOOR(request, NULL)
DOOR(controller, NULL)
DOOR(renewal, NULL)
DOOR(guard, NULL)
