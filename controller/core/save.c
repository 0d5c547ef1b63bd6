/*
 * save.c - the records that changed, and the one write in flight.
 *
 * Changes are made in memory and marked; at the end of core_step everything that is marked goes out
 * as one transaction. What must be recorded before it is done waits for that transaction's ticket.
 * Changes made while one is in flight wait for the next, so that two databases that fail together
 * share their writes. For the same reason what nobody waits for (an incident's laps and notes) goes
 * with the next write that somebody waits for, or alone after a while: a write of its own would be
 * in flight when the evidence comes, or the candidate.
 */
#include "controller/core/private.h"

#include <assert.h>
#include <string.h>

#define LATER_MS 250 /* what nobody waits for */

static uint32_t next_ticket(const struct core *core)
{
    return core->next_ticket;
}

uint32_t dirty_group(struct core *core, int group)
{
    core->groups[group].dirty = true;
    return next_ticket(core);
}

uint32_t dirty_incident(struct core *core, int group)
{
    /* One whose record is missing has no key to be written to. */
    core->groups[group].incident_dirty = core->groups[group].incident_known;
    return next_ticket(core);
}

void dirty_incident_later(struct core *core, int group)
{
    struct group_state *state = &core->groups[group];
    if (state->incident_known && state->incident_due_ms == 0) {
        state->incident_due_ms = core->now_ms + LATER_MS;
    }
}

uint32_t dirty_permit(struct core *core, int db)
{
    core->databases[db].permit_dirty = true;
    return next_ticket(core);
}

uint32_t dirty_request(struct core *core, int slot)
{
    core->requests[slot].dirty = true;
    return next_ticket(core);
}

void await_save(struct core *core, int db, uint32_t ticket)
{
    core->databases[db].awaits = ticket;
}

static void add_item(struct core *core, enum save_kind kind, int index, int64_t revision)
{
    assert(core->in_flight.len < SAVE_ITEMS_MAX);
    core->in_flight.items[core->in_flight.len++] =
        (struct save_item){.kind = kind, .index = index, .revision = revision};
}

struct permit_word permit_word(const struct permit_record *permit)
{
    struct permit_word word = {.state = permit->state, .epoch = permit->epoch};
    memcpy(word.node, permit->node, sizeof word.node);
    return word;
}

void primary_word(const struct core *core, int db, char ret_node[NAME_SIZE])
{
    const struct database_record *record = db_record_of(core, db);
    text_copy(ret_node, NAME_SIZE, record == NULL ? "" : record->primary);
}

/* Something that is waited for has changed, or the rest has waited long enough. */
static bool is_due(const struct core *core)
{
    for (int g = 0; g < core->def.groups_len; g++) {
        const struct group_state *group = &core->groups[g];
        if (group->dirty || group->incident_dirty ||
            (group->incident_due_ms != 0 && core->now_ms >= group->incident_due_ms)) {
            return true;
        }
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        if (core->databases[db].permit_dirty) {
            return true;
        }
    }
    for (int slot = 0; slot < REQUESTS_MAX; slot++) {
        if (core->requests[slot].used && core->requests[slot].dirty) {
            return true;
        }
    }
    return false;
}

static void collect(struct core *core)
{
    core->in_flight.len = 0;
    for (int g = 0; g < core->def.groups_len; g++) {
        struct group_state *group = &core->groups[g];
        if (group->incident_dirty || group->incident_due_ms != 0) {
            group->incident.anchor_ms = clock_age_ms(group, core->now_ms);
            group->incident.anchor_wall_ms = core->wall_ms;
            add_item(core, SAVE_INCIDENT, g, group->incident_revision);
            group->incident_dirty = false;
            group->incident_due_ms = 0;
        }
        if (group->dirty) {
            add_item(core, SAVE_GROUP, g, group->revision);
            group->dirty = false;
            for (int db = 0; db < core->def.databases_len; db++) {
                if (db_group(core, db) == g) {
                    primary_word(core, db, core->databases[db].primary_sent);
                }
            }
        }
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        if (core->databases[db].permit_dirty) {
            add_item(core, SAVE_PERMIT, db, core->databases[db].permit_revision);
            core->databases[db].permit_dirty = false;
            core->databases[db].permit_sent = permit_word(&core->databases[db].permit);
        }
    }
    for (int slot = 0; slot < REQUESTS_MAX; slot++) {
        if (core->requests[slot].used && core->requests[slot].dirty) {
            add_item(core, SAVE_REQUEST, slot, core->requests[slot].revision);
            core->requests[slot].dirty = false;
        }
    }
}

void save_flush(struct core *core)
{
    if (!core->leading || !core->loaded || core->ticket_in_flight != 0 || !is_due(core)) {
        return;
    }
    collect(core);
    core->ticket_in_flight = core->next_ticket++;
    struct effect *effect = effect_add(core, EFFECT_SAVE);
    effect->save.ticket = core->ticket_in_flight;
    effect->save.items_len = core->in_flight.len;
    memcpy(effect->save.items, core->in_flight.items, sizeof effect->save.items);
}

static void item_accepted(struct core *core, const struct save_item *item, int64_t revision)
{
    struct request_slot *slot;
    switch (item->kind) {
    case SAVE_GROUP:
        core->groups[item->index].revision = revision;
        core->groups[item->index].known = true;
        for (int db = 0; db < core->def.databases_len; db++) {
            struct database_state *d = &core->databases[db];
            if (db_group(core, db) == item->index) {
                text_copy(d->primary_says, sizeof d->primary_says, d->primary_sent);
            }
        }
        break;
    case SAVE_INCIDENT: core->groups[item->index].incident_revision = revision; break;
    case SAVE_PERMIT:
        core->databases[item->index].permit_revision = revision;
        core->databases[item->index].permit_known = true;
        core->databases[item->index].permit_says = core->databases[item->index].permit_sent;
        break;
    case SAVE_REQUEST:
        slot = &core->requests[item->index];
        slot->revision = revision;
        if (!slot->dirty &&
            (slot->record.state == REQUEST_DONE || slot->record.state == REQUEST_REFUSED)) {
            slot->used = false;
        }
        break;
    }
}

void save_accepted(struct core *core, uint32_t ticket, int64_t revision)
{
    assert(ticket == core->ticket_in_flight);
    for (int i = 0; i < core->in_flight.len; i++) {
        item_accepted(core, &core->in_flight.items[i], revision);
    }
    core->ticket_in_flight = 0;
    core->ticket_saved = ticket;
    clocks_saved(core);
    for (int db = 0; db < core->def.databases_len; db++) {
        struct database_state *d = &core->databases[db];
        if (d->awaits != 0 && d->awaits <= ticket) {
            d->awaits = 0;
            if (d->state == DB_REVOKING) {
                d->revoked_ms = core->now_ms;
                d->revoked_revision = revision;
            } else if (d->state == DB_PROVING) {
                d->proven_revision = revision;
            }
            core_rules_run(core, db, ON_SAVED);
        }
    }
}

void save_reset(struct core *core)
{
    core->ticket_in_flight = 0;
    core->in_flight.len = 0;
    for (int db = 0; db < DATABASES_MAX; db++) {
        core->databases[db].awaits = 0;
        core->databases[db].permit_dirty = false;
    }
    for (int g = 0; g < GROUPS_MAX; g++) {
        struct group_state *group = &core->groups[g];
        group->dirty = false;
        group->incident_dirty = false;
        group->incident_due_ms = 0;
        group->call_pending = 0;
        memset(group->warn_pending, 0, sizeof group->warn_pending);
    }
}
