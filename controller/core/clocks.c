/*
 * clocks.c - laps and objectives (design §9), kept with the incident.
 *
 * An incident's zero is the first evidence of impact: when the first failed probe was sent, or when
 * a person asked. A lap ends when the last database of the workflow has passed it, so the laps' sum
 * is the total. Elapsed time is this leader's CLOCK_BOOTTIME; a successor goes on from the record's
 * anchor.
 */
#include "controller/core/private.h"

#include <string.h>

uint64_t clock_age_ms(const struct group_state *group, uint64_t now_ms)
{
    return now_ms > group->incident_opened_ms ? now_ms - group->incident_opened_ms : 0;
}

static uint64_t first_evidence(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    return d->failure_ms != 0 && !d->forced ? d->failure_ms : core->now_ms;
}

static void describe(struct core *core, int group, int db)
{
    struct incident_record *incident = &core->groups[group].incident;
    const char *name = core->def.databases[db].name;
    int i = 0;
    while (i < incident->databases_len && strcmp(incident->databases[i].name, name) != 0) {
        i++;
    }
    if (i == incident->databases_len) {
        if (incident->databases_len == DATABASES_MAX) {
            return;
        }
        incident->databases_len++;
    }
    struct incident_database *entry = &incident->databases[i];
    memset(entry, 0, sizeof *entry);
    text_copy(entry->name, sizeof entry->name, name);
    const struct database_record *record = db_record_of(core, db);
    if (record != NULL) {
        text_copy(entry->from, sizeof entry->from, record->primary);
    }
}

static void set_objectives(const struct core *core, struct incident_record *incident)
{
    uint64_t limits[OBJECTIVES] = {core->def.objectives.switched_ms, core->def.objectives.normal_ms,
                                   core->def.objectives.back_ms};
    for (int o = 0; o < OBJECTIVES; o++) {
        incident->objectives[o] = (struct objective_record){.limit_ms = limits[o], .actual_ms = -1};
    }
}

void incident_open(struct core *core, int group, int db, const char *id)
{
    struct group_state *state = &core->groups[group];
    struct incident_record *incident = &state->incident;
    int primary = core_primary(core, db);
    const struct health *health = &core->databases[db].instances[primary].health;
    memset(incident, 0, sizeof *incident);
    text_copy(incident->id, sizeof incident->id, id);
    text_copy(incident->group, sizeof incident->group, state->record.name);
    text_copy(incident->opened_by, sizeof incident->opened_by, core->id);
    if (core->databases[db].forced) {
        text_copy(incident->reason, sizeof incident->reason, "asked for by a person");
    } else {
        bool gone = guard_says_gone(core, db);
        incident->fault_class = gone ? FAULT_SOFTWARE : cause_class(health->cause);
        text_format(incident->reason, sizeof incident->reason, "%s: primary on %s: %.120s",
                    core->def.databases[db].name, instance_node(core, db, primary),
                    gone ? core->databases[db].instances[primary].guard.said.crash
                         : cause_names[health->cause]);
    }
    state->incident_opened_ms = first_evidence(core, db);
    incident->opened_wall_ms = core->wall_ms - (int64_t)(core->now_ms - state->incident_opened_ms);
    for (int lap = 0; lap < LAPS; lap++) {
        incident->ended_ms[lap] = -1;
    }
    set_objectives(core, incident);
    state->incident_known = true;
    state->incident_revision = 0;
    state->people_since_ms = 0;
    describe(core, group, db);
    dirty_incident(core, group);
}

/* Another database joins the workflow: the laps that it has not passed are open again. */
void incident_join(struct core *core, int group, int db)
{
    struct group_state *state = &core->groups[group];
    for (int lap = 0; lap < LAPS; lap++) {
        state->incident.ended_ms[lap] = -1;
    }
    state->incident.objectives[OBJECTIVE_SWITCHED].actual_ms = -1;
    state->incident.objectives[OBJECTIVE_NORMAL].actual_ms = -1;
    describe(core, group, db);
    dirty_incident(core, group);
}

void incident_note(struct core *core, int group, const char *rule, const char *text)
{
    struct group_state *state = &core->groups[group];
    struct incident_record *incident = &state->incident;
    if (!core->leading || !state->incident_known || incident->state != INCIDENT_OPEN) {
        return;
    }
    if (incident->notes_len == INCIDENT_NOTES_MAX) {
        incident->notes_dropped++;
        return;
    }
    struct incident_note *entry = &incident->notes[incident->notes_len++];
    entry->at_ms = clock_age_ms(state, core->now_ms);
    text_copy(entry->rule, sizeof entry->rule, rule);
    text_copy(entry->text, sizeof entry->text, text);
    dirty_incident_later(core, group);
}

static bool move_passed(const struct core *core, int db, const struct move_record *move,
                        enum lap lap)
{
    enum db_state state = core->databases[db].state;
    switch (lap) {
    case LAP_DETECT: return true;
    case LAP_CONFIRM: return state != DB_REVOKING;
    case LAP_FENCE: return move->phase >= PHASE_CHOOSE && state != DB_PROVING;
    case LAP_PROMOTE: return move->phase >= PHASE_REDIRECT && state != DB_RECORDING;
    case LAP_REDIRECT: return move->phase >= PHASE_VERIFY;
    case LAP_VERIFY: return move->phase >= PHASE_DONE;
    default: return false;
    }
}

static bool all_passed(const struct core *core, int group, enum lap lap)
{
    const struct workflow_record *workflow = &core->groups[group].record.workflow;
    for (int m = 0; m < workflow->moves_len; m++) {
        int db = definition_database(&core->def, workflow->moves[m].database);
        if (db >= 0 && !move_passed(core, db, &workflow->moves[m], lap)) {
            return false;
        }
    }
    return true;
}

/* When the last database was found down, by this leader's own probes. */
static int64_t detected_ms(const struct core *core, int group)
{
    const struct group_state *state = &core->groups[group];
    uint64_t latest = 0;
    for (int m = 0; m < state->record.workflow.moves_len; m++) {
        int db = definition_database(&core->def, state->record.workflow.moves[m].database);
        if (db >= 0 && !state->record.workflow.moves[m].forced &&
            core->databases[db].down_ms > state->incident_opened_ms) {
            uint64_t at = core->databases[db].down_ms - state->incident_opened_ms;
            latest = at > latest ? at : latest;
        }
    }
    return (int64_t)latest;
}

static void end_laps(struct core *core, int group)
{
    struct group_state *state = &core->groups[group];
    struct incident_record *incident = &state->incident;
    for (int lap = 0; lap < LAPS; lap++) {
        if (incident->ended_ms[lap] >= 0) {
            continue;
        }
        if (!all_passed(core, group, (enum lap)lap)) {
            return;
        }
        incident->ended_ms[lap] = lap == LAP_DETECT ? detected_ms(core, group)
                                                    : (int64_t)clock_age_ms(state, core->now_ms);
        if (lap == LAP_REDIRECT) {
            incident->objectives[OBJECTIVE_SWITCHED].actual_ms = incident->ended_ms[lap];
        } else if (lap == LAP_VERIFY) {
            incident->objectives[OBJECTIVE_NORMAL].actual_ms = incident->ended_ms[lap];
        }
        dirty_incident_later(core, group);
    }
}

/* Before the workflow is taken out of the record: the last laps. */
void incident_end(struct core *core, int group)
{
    end_laps(core, group);
    core->groups[group].incident.state = INCIDENT_RECOVERED;
    dirty_incident(core, group);
}

void incident_give_up(struct core *core, int group, const char *why)
{
    struct incident_record *incident = &core->groups[group].incident;
    incident_note(core, group, "R-D6", why);
    incident->state = INCIDENT_CLOSED;
    dirty_incident(core, group);
}

void incident_moved(struct core *core, int db, const char *to, const char *evidence,
                    uint64_t loss_bytes)
{
    int group = db_group(core, db);
    struct incident_record *incident = &core->groups[group].incident;
    for (int i = 0; i < incident->databases_len; i++) {
        struct incident_database *entry = &incident->databases[i];
        if (strcmp(entry->name, core->def.databases[db].name) == 0) {
            text_copy(entry->to, sizeof entry->to, to);
            text_copy(entry->evidence, sizeof entry->evidence, evidence);
            entry->estimated_loss_bytes = loss_bytes;
        }
    }
    dirty_incident(core, group);
}

static bool waits_for_person(const struct core *core, int group)
{
    const uint64_t waiting = BIT(DB_FENCE_WAIT) | BIT(DB_CHOICE_WAIT) | BIT(DB_PARKED);
    for (int db = 0; db < core->def.databases_len; db++) {
        if (db_group(core, db) == group && (waiting & BIT(core->databases[db].state)) != 0 &&
            is_moving(core, db)) {
            return true;
        }
    }
    return false;
}

static void count_people(struct core *core, int group)
{
    struct group_state *state = &core->groups[group];
    bool waiting = waits_for_person(core, group);
    if (state->people_since_ms != 0 &&
        (!waiting || core->now_ms - state->people_since_ms > 10000)) {
        state->incident.people_ms += core->now_ms - state->people_since_ms;
        state->people_since_ms = 0;
        dirty_incident_later(core, group);
    }
    if (waiting && state->people_since_ms == 0) {
        state->people_since_ms = core->now_ms;
    }
}

static void warn_clocks(struct core *core, int group)
{
    static const int percents[] = {50, 80, 100};
    struct group_state *state = &core->groups[group];
    uint64_t age = clock_age_ms(state, core->now_ms);
    for (int o = 0; o < OBJECTIVES; o++) {
        struct objective_record *objective = &state->incident.objectives[o];
        for (int p = 0; p < 3 && objective->actual_ms < 0; p++) {
            uint32_t bit = 1u << p;
            if ((objective->warned & bit) == 0 &&
                age * 100 >= objective->limit_ms * (uint64_t)percents[p]) {
                objective->warned |= bit; /* recorded first, told once it is saved: exactly once */
                state->warn_pending[o] |= bit;
                state->tell_ticket = dirty_incident(core, group);
            }
        }
    }
}

void clocks_review(struct core *core)
{
    if (!core->leading || !core->loaded) {
        return;
    }
    for (int g = 0; g < core->def.groups_len; g++) {
        struct group_state *state = &core->groups[g];
        if (!state->incident_known || state->incident.state == INCIDENT_CLOSED) {
            continue;
        }
        if (state->record.moving) {
            end_laps(core, g);
            count_people(core, g);
        }
        warn_clocks(core, g);
    }
}

static void tell_warnings(struct core *core, int group)
{
    static const int percents[] = {50, 80, 100};
    struct group_state *state = &core->groups[group];
    for (int o = 0; o < OBJECTIVES; o++) {
        for (int p = 0; p < 3; p++) {
            if ((state->warn_pending[o] & (1u << p)) != 0) {
                note_group(core, p == 2 ? NOTE_ERROR : NOTE_WARN, "R-T1", group,
                           "incident %s: %d %% of the objective '%s' (%llu s) has passed",
                           state->incident.id, percents[p], objective_names[o],
                           (unsigned long long)(state->incident.objectives[o].limit_ms / 1000));
            }
        }
        state->warn_pending[o] = 0;
    }
}

static void make_calls(struct core *core, int group)
{
    struct group_state *state = &core->groups[group];
    for (int a = 0; a < state->record.alarms_len; a++) {
        if ((state->call_pending & (1u << a)) != 0) {
            struct effect *effect = effect_add(core, EFFECT_CALL);
            effect->call.group = group;
            effect->call.alarm = state->record.alarms[a];
        }
    }
    state->call_pending = 0;
}

/* A save came through: what waited for its mark to be recorded is told now. */
void clocks_saved(struct core *core)
{
    for (int g = 0; g < core->def.groups_len; g++) {
        struct group_state *state = &core->groups[g];
        if (state->tell_ticket != 0 && core->ticket_saved >= state->tell_ticket) {
            state->tell_ticket = 0;
            tell_warnings(core, g);
            make_calls(core, g);
        }
    }
}
