/*
 * requests.c - what people ask: done, refused with every reason, or running (design §8, "Three
 * honest outcomes").
 */
#include "controller/core/private.h"

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
    for (int db = 0; db < core->def.databases_len; db++) {
        const struct move_record *move = core_move_of(core, db);
        enum db_state state = core->databases[db].state;
        if (move == NULL || strcmp(move->fence_node, request->node) != 0 ||
            (state != DB_FENCING && state != DB_FENCE_WAIT)) {
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
        text_format(text, sizeof text, "no fence of node %s is under way; nothing changed",
                    request->node);
        answer(core, slot, REQUEST_REFUSED, text);
    } else {
        text_format(text, sizeof text,
                    "taken as evidence that node %s cannot write, for %d database%s", request->node,
                    confirmed, confirmed == 1 ? "" : "s");
        answer(core, slot, REQUEST_DONE, text);
    }
}

static bool wanted(const struct core *core, const struct request_record *request, int g, int db)
{
    return db_group(core, db) == g &&
           (request->database[0] == '\0' ||
            strcmp(request->database, core->def.databases[db].name) == 0);
}

/* Every reason why this database cannot fail over now, added to `text`; true if there is one. */
static bool failover_refused(const struct core *core, const struct request_record *request, int db,
                             char *text, size_t size)
{
    const struct database_state *d = &core->databases[db];
    const char *name = core->def.databases[db].name;
    const uint64_t fit = BIT(DB_NORMAL) | BIT(DB_SUSPECT) | BIT(DB_HELD);
    size_t used = strnlen(text, size);
    struct choice choice;
    if (d->state == DB_CHOICE_WAIT && request->accept_loss_bytes > 0) {
        return false;
    }
    if ((fit & BIT(d->state)) == 0) {
        const struct move_record *move = core_move_of(core, db);
        text_format(text + used, size - used, "%s%s: %s%s%s", used > 0 ? "; " : "", name,
                    db_state_names[d->state], move != NULL ? " in workflow " : "",
                    move != NULL ? core->groups[db_group(core, db)].record.workflow.id : "");
        return true;
    }
    candidate_choose(core, db, false, &choice);
    bool lossy = choice.chosen < 0 && request->accept_loss_bytes > 0;
    if (choice.chosen < 0 && !lossy) {
        text_format(text + used, size - used, "%s%s: no candidate: %s", used > 0 ? "; " : "", name,
                    choice.reason);
        return true;
    }
    if (request->node[0] != '\0' &&
        (choice.chosen < 0 || strcmp(request->node, instance_node(core, db, choice.chosen)) != 0)) {
        text_format(text + used, size - used, "%s%s: %s is not the best candidate; that is %s",
                    used > 0 ? "; " : "", name, request->node,
                    choice.chosen < 0 ? "nobody" : instance_node(core, db, choice.chosen));
        return true;
    }
    return false;
}

static void force_failover(struct core *core, int slot, int g)
{
    struct request_record *request = &core->requests[slot].record;
    char refusal[sizeof request->outcome] = "";
    bool refused = false;
    int len = 0;
    for (int db = 0; db < core->def.databases_len; db++) {
        if (wanted(core, request, g, db)) {
            refused = failover_refused(core, request, db, refusal, sizeof refusal) || refused;
            len++;
        }
    }
    if (len == 0) {
        text_format(refusal, sizeof refusal, "group %s has no database %s", request->group,
                    request->database);
        refused = true;
    }
    if (refused) {
        answer(core, slot, REQUEST_REFUSED, refusal);
        return;
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        if (wanted(core, request, g, db) && core->databases[db].state != DB_REVOKING) {
            core->databases[db].forced = true;
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
    text_copy(incident->opened_by, sizeof incident->opened_by, request->who);
    text_copy(incident->reason, sizeof incident->reason, request->reason);
    answer(core, slot, REQUEST_RUNNING,
           "the failover runs; ask for this id again, or see `failoverctl status`");
}

static void finish_running(struct core *core, int slot)
{
    const struct request_record *request = &core->requests[slot].record;
    int g = definition_group(&core->def, request->group);
    const struct group_record *record = g >= 0 ? &core->groups[g].record : NULL;
    if (record != NULL && record->moving && strcmp(record->workflow.id, request->workflow) == 0) {
        return;
    }
    answer(core, slot, REQUEST_DONE, "the failover is complete; see `failoverctl incident show`");
}

static void decide(struct core *core, int slot)
{
    const struct request_record *request = &core->requests[slot].record;
    int g = definition_group(&core->def, request->group);
    char text[REASON_SIZE];
    if (request->kind == REQUEST_CONFIRM_FENCED) {
        confirm_fenced(core, slot);
    } else if (g < 0) {
        text_format(text, sizeof text, "there is no group %s", request->group);
        answer(core, slot, REQUEST_REFUSED, text);
    } else if (request->kind == REQUEST_FAILOVER) {
        force_failover(core, slot, g);
    } else {
        pause_group(core, slot, g);
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
