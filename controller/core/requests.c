/*
 * requests.c - what people ask: done, refused with every reason, or running (design §8, "Three
 * honest outcomes").
 */
#include "controller/core/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void answer(struct core *core, int slot, enum request_state state, const char *text)
{
    struct request_record *request = &core->requests[slot].record;
    request->state = state;
    text_copy(request->outcome, sizeof request->outcome, text);
    dirty_request(core, slot);
    note_group(core, NOTE_INFO, "R-Q1", definition_group(&core->def, request->group),
               "request %s (%s by %s: %.60s): %s: %.80s", request->id,
               request_kind_names[request->kind], request->who, request->reason,
               request_state_names[state], text);
}

/* What a person did belongs to the incident's story. */
static void note_incident(struct core *core, int g, const struct request_record *request)
{
    char text[TEXT_SIZE];
    text_format(text, sizeof text, "%s by %.40s: %.90s", request_kind_names[request->kind],
                request->who, request->reason);
    incident_note(core, g, "R-Q1", text);
}

static void pause_group(struct core *core, int slot, int g)
{
    struct group_record *record = &core->groups[g].record;
    const struct request_record *request = &core->requests[slot].record;
    char text[REASON_SIZE];
    record->paused = request->kind == REQUEST_PAUSE;
    text_copy(record->paused_by, sizeof record->paused_by, request->who);
    text_copy(record->paused_reason, sizeof record->paused_reason, request->reason);
    record->paused_wall_ms = core->wall_ms;
    dirty_group(core, g);
    text_format(text, sizeof text,
                record->paused ? "group %s is paused: no automatic failover until it is resumed"
                               : "group %s is resumed: what is seen from now on counts",
                record->name);
    if (record->paused) {
        char command[REASON_SIZE];
        text_format(command, sizeof command, "failoverctl resume %s --reason TEXT", record->name);
        alarm_set(core, g, false, "paused", command, "paused by %s: %.160s", request->who,
                  request->reason);
    } else {
        alarm_clear(core, g, "paused");
    }
    answer(core, slot, REQUEST_DONE, text);
}

static void confirm_fenced(struct core *core, int slot)
{
    const struct request_record *request = &core->requests[slot].record;
    char text[REASON_SIZE];
    int confirmed = 0;
    bool early = false;
    for (int db = 0; db < core->def.databases_len; db++) {
        const struct move_record *move = core_move_of(core, db);
        enum db_state state = core->databases[db].state;
        if (move == NULL || strcmp(move->fence_node, request->node) != 0 ||
            (state != DB_FENCING && state != DB_FENCE_WAIT)) {
            continue;
        }
        /* Evidence counts only if it came after the revocation (S2): etcd's order says so. */
        if (core->requests[slot].revision <= core->databases[db].permit_revision) {
            early = true;
            continue;
        }
        struct move_record *mine = core_move(core, db);
        struct evidence_record *evidence = &mine->evidence[EVIDENCE_MAX - 1];
        if (mine->evidence_len < EVIDENCE_MAX) {
            evidence = &mine->evidence[mine->evidence_len++];
        }
        memset(evidence, 0, sizeof *evidence);
        evidence->kind = EVIDENCE_OPERATOR;
        text_copy(evidence->node, sizeof evidence->node, request->node);
        text_copy(evidence->level, sizeof evidence->level, "operator");
        text_format(evidence->detail, sizeof evidence->detail, "%s: %.180s", request->who,
                    request->reason);
        core_rules_run(core, db, ON_CONFIRMED);
        confirmed++;
    }
    if (confirmed == 0) {
        text_format(text, sizeof text,
                    early ? "this was asked before the permit on %s was revoked, so it proves "
                            "nothing now; nothing changed: look again, and ask again"
                          : "no fence of node %s is under way; nothing changed",
                    request->node);
        answer(core, slot, REQUEST_REFUSED, text);
    } else {
        text_format(text, sizeof text,
                    "taken as evidence that node %s cannot write, for %d database%s", request->node,
                    confirmed, confirmed == 1 ? "" : "s");
        answer(core, slot, REQUEST_DONE, text);
    }
}

bool request_means(const struct core *core, const struct request_record *request, int db)
{
    return strcmp(core->def.groups[db_group(core, db)].name, request->group) == 0 &&
           (request->database[0] == '\0' ||
            strcmp(request->database, core->def.databases[db].name) == 0);
}

/* "NAME: text", after what stands there already. */
static void add_reason(char *text, size_t size, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void add_reason(char *text, size_t size, const char *name, const char *format, ...)
{
    char reason[REASON_SIZE + 2 * NAME_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    size_t used = strnlen(text, size);
    text_format(text + used, size - used, "%s%s: %s", used > 0 ? "; " : "", name, reason);
}

/* A primary that works on the same node would be stopped with nobody to take over from it. */
static bool stops_a_neighbour(const struct core *core, const struct request_record *request, int db,
                              char *text, size_t size)
{
    char why[REASON_SIZE];
    int primary = core_primary(core, db);
    int node = primary < 0 ? -1 : core->def.databases[db].instances[primary].node;
    if (node < 0 || node_needed_by(core, db, node, why, sizeof why) < 0) {
        return false;
    }
    for (int other = 0; other < core->def.databases_len; other++) {
        int there = core_primary(core, other);
        if (other != db && there >= 0 && !request_means(core, request, other) &&
            core->def.databases[other].instances[there].node == node &&
            core->databases[other].instances[there].health.is == OPINION_UP) {
            add_reason(text, size, core->def.databases[db].name, "%.200s", why);
            return true;
        }
    }
    return false;
}

/* Every reason why this database cannot fail over now, added to `text`; true if there is one. */
bool failover_refused(const struct core *core, const struct request_record *request, int db,
                      char *text, size_t size)
{
    const struct database_state *d = &core->databases[db];
    const char *name = core->def.databases[db].name;
    const uint64_t fit = BIT(DB_NORMAL) | BIT(DB_SUSPECT) | BIT(DB_HELD);
    struct choice choice;
    if (d->state == DB_CHOICE_WAIT && request->accept_loss_bytes > 0) {
        return false;
    }
    if ((fit & BIT(d->state)) == 0) {
        const struct move_record *move = core_move_of(core, db);
        add_reason(text, size, name, "%s%s%s", db_state_names[d->state],
                   move != NULL ? " in workflow " : "",
                   move != NULL ? core->groups[db_group(core, db)].record.workflow.id : "");
        return true;
    }
    candidate_choose_with(core, db, false, request->accept_loss_bytes, &choice);
    if (choice.chosen < 0) {
        add_reason(text, size, name, "no candidate: %.230s", choice.reason);
        return true;
    }
    if (request->node[0] != '\0' &&
        strcmp(request->node, instance_node(core, db, choice.chosen)) != 0) {
        add_reason(text, size, name, "%s is not the best candidate; that is %s", request->node,
                   instance_node(core, db, choice.chosen));
        return true;
    }
    return stops_a_neighbour(core, request, db, text, size);
}

/* What was shown is what runs (design §8). */
static bool plan_differs(const struct core *core, const struct request_record *request, char *text,
                         size_t size)
{
    struct plan plan;
    if (request->plan[0] == '\0') {
        return false;
    }
    core_plan(core, request, &plan);
    if (strcmp(plan.hash, request->plan) == 0) {
        return false;
    }
    add_reason(text, size, "plan",
               "%s was shown, but by now it is %s: what would be done has changed; look again",
               request->plan, plan.hash);
    return true;
}

/* What automation would have waited for, and a person need not: the answer and the incident say so.
 */
static void say_moves_along(const struct core *core, const struct request_record *request,
                            char *text, size_t size)
{
    text[0] = '\0';
    for (int db = 0; db < core->def.databases_len; db++) {
        char why[REASON_SIZE];
        int primary = core_primary(core, db);
        if (primary >= 0 && request_means(core, request, db) &&
            node_held_by(core, db, core->def.databases[db].instances[primary].node, why,
                         sizeof why) >= 0) {
            text_format(text, size, "%s", why);
            return;
        }
    }
}

static void force_failover(struct core *core, int slot, int g)
{
    struct request_record *request = &core->requests[slot].record;
    char refusal[sizeof request->outcome] = "";
    char along[REASON_SIZE];
    bool refused = false;
    int len = 0;
    for (int db = 0; db < core->def.databases_len; db++) {
        if (request_means(core, request, db)) {
            refused = failover_refused(core, request, db, refusal, sizeof refusal) || refused;
            len++;
        }
    }
    if (len == 0) {
        text_format(refusal, sizeof refusal, "group %s has no database %s", request->group,
                    request->database);
        refused = true;
    }
    refused = plan_differs(core, request, refusal, sizeof refusal) || refused;
    if (refused) {
        answer(core, slot, REQUEST_REFUSED, refusal);
        return;
    }
    bool joins = core->groups[g].record.moving;
    say_moves_along(core, request, along, sizeof along);
    for (int db = 0; db < core->def.databases_len; db++) {
        if (request_means(core, request, db) && core->databases[db].state != DB_REVOKING) {
            core->databases[db].forced = true;
            core->databases[db].accept_loss_bytes = request->accept_loss_bytes;
            core_rules_run(core, db, ON_FORCED);
            struct move_record *move = core_move(core, db);
            if (move != NULL) {
                move->accept_loss_bytes = request->accept_loss_bytes;
            }
        }
    }
    struct workflow_record *workflow = &core->groups[g].record.workflow;
    text_copy(workflow->request, sizeof workflow->request, request->id);
    text_copy(request->workflow, sizeof request->workflow, workflow->id);
    struct incident_record *incident = &core->groups[g].incident;
    if (joins) { /* what opened it stays true */
        note_incident(core, g, request);
    } else {
        text_copy(incident->opened_by, sizeof incident->opened_by, request->who);
        text_copy(incident->reason, sizeof incident->reason, request->reason);
    }
    text_format(refusal, sizeof refusal,
                "the failover runs; ask for this id again, or see `failoverctl status`%s%s",
                along[0] != '\0' ? "; as this person wills, " : "", along);
    if (along[0] != '\0') {
        incident_note(core, g, "R-Q1", along);
    }
    answer(core, slot, REQUEST_RUNNING, refusal);
}

static void finish_running(struct core *core, int slot)
{
    const struct request_record *request = &core->requests[slot].record;
    int g = definition_group(&core->def, request->group);
    const struct group_state *group = g >= 0 ? &core->groups[g] : NULL;
    if (group != NULL && group->record.moving &&
        strcmp(group->record.workflow.id, request->workflow) == 0) {
        return;
    }
    bool given_up = group != NULL && group->incident_known &&
                    strcmp(group->incident.id, request->workflow) == 0 &&
                    group->incident.state == INCIDENT_CLOSED;
    answer(core, slot, REQUEST_DONE,
           given_up
               ? "the move has ended, but was not seen to work; see `failoverctl incident show`"
               : "the failover is complete; see `failoverctl incident show`");
}

/* ---- a person steers a workflow ---- */

static enum rule_event steer_event(enum request_kind kind)
{
    return kind == REQUEST_WORKFLOW_RETRY  ? ON_RETRY
           : kind == REQUEST_WORKFLOW_SKIP ? ON_SKIP
                                           : ON_ABANDON;
}

/* Each check that does not pass, with its value and limit. */
static void steer_refused(const struct core *core, const struct request_record *request, int db,
                          char *text, size_t size)
{
    struct core_check checks[STEER_CHECKS_MAX];
    int len = steer_checks(core, db, request->kind, checks);
    for (int i = 0; i < len; i++) {
        if (!checks[i].passes) {
            add_reason(text, size, core->def.databases[db].name, "%s is %s (allowed: %s): %.220s",
                       checks[i].name, checks[i].value, checks[i].limit, checks[i].text);
        }
    }
}

/* Without a database's name those of the group that wait; when none does, all that move. */
static bool steered(const struct core *core, const struct request_record *request, bool any_waits,
                    int db)
{
    if (!request_means(core, request, db)) {
        return false;
    }
    bool waits = (steer_states(request->kind) & BIT(core->databases[db].state)) != 0;
    return request->database[0] != '\0' || (any_waits ? waits : is_moving(core, db));
}

static bool any_waits(const struct core *core, const struct request_record *request)
{
    for (int db = 0; db < core->def.databases_len; db++) {
        if (request_means(core, request, db) &&
            (steer_states(request->kind) & BIT(core->databases[db].state)) != 0) {
            return true;
        }
    }
    return false;
}

/* True: something forbids it, or there is nothing to do; `text` says what. */
static bool steering_refused(const struct core *core, const struct request_record *request,
                             bool waits, char *text, size_t size)
{
    bool refused = false;
    int len = 0;
    for (int db = 0; db < core->def.databases_len; db++) {
        if (steered(core, request, waits, db)) {
            len++;
            if (!core_rules_allow(core, db, steer_event(request->kind))) {
                refused = true;
                steer_refused(core, request, db, text, size);
            }
        }
    }
    if (len == 0) {
        text_format(text, size, "no workflow of group %s is under way", request->group);
    }
    return refused || len == 0;
}

static void steer(struct core *core, int slot, int g)
{
    static const char *const words[] = {"is tried again", "is skipped", "is given up"};
    struct request_record *request = &core->requests[slot].record;
    enum rule_event on = steer_event(request->kind);
    char text[sizeof request->outcome] = "";
    bool means[DATABASES_MAX] = {false};
    bool waits = any_waits(core, request);
    if (steering_refused(core, request, waits, text, sizeof text)) {
        answer(core, slot, REQUEST_REFUSED, text);
        return;
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        means[db] = steered(core, request, waits, db); /* before any of them moves on */
    }
    note_incident(core, g, request);
    text_copy(request->workflow, sizeof request->workflow, core->groups[g].record.workflow.id);
    for (int db = 0; db < core->def.databases_len; db++) {
        if (means[db]) {
            const struct move_record *move = core_move_of(core, db);
            const char *step = move != NULL ? move_phase_names[move->phase] : "(none)";
            core_rules_run(core, db, on);
            add_reason(text, sizeof text, core->def.databases[db].name, "step %s %s; now %s", step,
                       words[on - ON_RETRY], db_state_names[core->databases[db].state]);
        }
    }
    answer(core, slot, REQUEST_DONE, text);
}

/* ---- alarms ---- */

static void acknowledge(struct core *core, int slot, int g)
{
    const struct request_record *request = &core->requests[slot].record;
    struct group_record *record = &core->groups[g].record;
    char text[sizeof request->outcome] = "";
    for (int i = 0; i < record->alarms_len; i++) {
        struct alarm_record *alarm = &record->alarms[i];
        if (strcmp(alarm->key, request->alarm) == 0) {
            text_copy(alarm->acked_by, sizeof alarm->acked_by, request->who);
            text_copy(alarm->acked_reason, sizeof alarm->acked_reason, request->reason);
            alarm->acked_wall_ms = core->wall_ms;
            dirty_group(core, g);
            text_format(text, sizeof text,
                        "alarm %s is acknowledged; it stays until its cause is gone", alarm->key);
            answer(core, slot, REQUEST_DONE, text);
            return;
        }
    }
    text_format(text, sizeof text, "group %s has no alarm %s; it has%s", record->name,
                request->alarm, record->alarms_len == 0 ? " none" : "");
    for (int i = 0; i < record->alarms_len; i++) {
        size_t used = strnlen(text, sizeof text);
        text_format(text + used, sizeof text - used, " %s", record->alarms[i].key);
    }
    answer(core, slot, REQUEST_REFUSED, text);
}

/* All that it means, or nothing. */
static void adopt_for_person(struct core *core, int slot, int g)
{
    const struct request_record *request = &core->requests[slot].record;
    char text[sizeof request->outcome] = "";
    char why[REASON_SIZE];
    int len = 0;
    for (int db = 0; db < core->def.databases_len; db++) {
        if (request_means(core, request, db)) {
            len++;
            if (adopt_refused(core, db, why, sizeof why)) {
                add_reason(text, sizeof text, core->def.databases[db].name, "%s", why);
            }
        }
    }
    if (len == 0) {
        text_format(text, sizeof text, "group %s has no database %s", request->group,
                    request->database);
    }
    if (text[0] != '\0') {
        answer(core, slot, REQUEST_REFUSED, text);
        return;
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        if (request_means(core, request, db)) {
            adopt_guards(core, db);
        }
    }
    note_group(core, NOTE_INFO, "R-A4", g, "guards guard: %d database%s", len, len == 1 ? "" : "s");
    answer(core, slot, REQUEST_DONE,
           "the guards guard from now on: each instance obeys its permit and the declared roles");
}

static void decide(struct core *core, int slot)
{
    const struct request_record *request = &core->requests[slot].record;
    int g = definition_group(&core->def, request->group);
    char text[REASON_SIZE];
    if (g < 0 && request->kind != REQUEST_CONFIRM_FENCED) {
        text_format(text, sizeof text, "there is no group %s", request->group);
        answer(core, slot, REQUEST_REFUSED, text);
        return;
    }
    switch (request->kind) {
    case REQUEST_CONFIRM_FENCED: confirm_fenced(core, slot); break;
    case REQUEST_FAILOVER: force_failover(core, slot, g); break;
    case REQUEST_PAUSE:
    case REQUEST_RESUME: pause_group(core, slot, g); break;
    case REQUEST_WORKFLOW_RETRY:
    case REQUEST_WORKFLOW_SKIP:
    case REQUEST_WORKFLOW_ABANDON: steer(core, slot, g); break;
    case REQUEST_ALARM_ACK: acknowledge(core, slot, g); break;
    case REQUEST_ADOPT: adopt_for_person(core, slot, g); break;
    case REQUEST_KINDS: break;
    }
}

void requests_review(struct core *core)
{
    if (!core->leading || !core->loaded || !core->defined) {
        return;
    }
    for (int slot = 0; slot < REQUESTS_MAX; slot++) {
        if (!core->requests[slot].used) {
            continue;
        }
        if (core->requests[slot].record.state == REQUEST_NEW) {
            decide(core, slot);
        } else if (core->requests[slot].record.state == REQUEST_RUNNING) {
            finish_running(core, slot);
        }
    }
}
