/*
 * store.c - etcd as its clients see it: one line of compared writes, leases, and a watch.
 *
 * A message takes DELAY_STORE_MS each way. What is on its way when its sender dies arrives all the
 * same. Without quorum (`etcd down`) nothing is answered and no lease ends; afterwards every lease
 * has its whole time again, as when etcd's leader has changed.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/world.h"

#define SAVE_MS       3000
#define READ_AGAIN_MS 200
#define HEARTBEAT_MS  1000

enum watched {
    WATCH_PERMIT,
    WATCH_GROUP,
    WATCH_INCIDENT,
    WATCH_REQUEST,
    WATCH_VIEW,
    WATCH_CONFIG,
    WATCH_GUARD,
    WATCH_RENEWAL
};

static bool reachable(const struct world *world, int c)
{
    return !world->store.down && !world->cut_store[c];
}

static bool alive(const struct world *world, const struct args *args)
{
    const struct controller *controller = &world->controllers[args->controller];
    return controller->running && controller->life == args->life;
}

static bool put_off(struct world *world, event_fn run, const struct args *args)
{
    if (!world->controllers[args->controller].frozen) {
        return false;
    }
    world_at(world, world->now_ms + 10, run, args);
    return true;
}

static struct args to(const struct world *world, int c)
{
    return (struct args){.controller = c, .life = world->controllers[c].life};
}

static uint32_t lease_ms(const struct world *world, int c)
{
    const struct core *core = world->controllers[c].core;
    return core->defined ? definition_profile(&core->def)->lease_ms : profiles[0].lease_ms;
}

/* ---- the watch ---- */

static void on_news(struct world *world, const struct args *args);

static void notify_one(struct world *world, int c, enum watched kind, int index)
{
    struct args args = to(world, c);
    args.a = (int)kind;
    args.b = index;
    args.n = (uint64_t)world->store.revision;
    if (world->controllers[c].running && reachable(world, c)) {
        world_at(world, world->now_ms + DELAY_STORE_MS, on_news, &args);
    }
}

static void notify(struct world *world, enum watched kind, int index)
{
    for (int c = 0; c < world->controllers_len; c++) {
        notify_one(world, c, kind, index);
    }
}

static void take_definition(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    if (world->store.def == NULL ||
        controller->core->definition_revision == world->store.def_revision) {
        return;
    }
    if (controller->next_def == NULL) {
        controller->next_def = malloc(sizeof *controller->next_def);
    }
    if (controller->next_def == NULL) {
        abort();
    }
    *controller->next_def = *world->store.def;
    controller->next_def_revision = world->store.def_revision;
}

static bool in_flight(const struct core *core, enum save_kind kind, int index)
{
    for (int i = 0; i < core->in_flight.len && core->ticket_in_flight != 0; i++) {
        if (core->in_flight.items[i].kind == kind && core->in_flight.items[i].index == index) {
            return true;
        }
    }
    return false;
}

/* As take_event() in the daemon: a leader's records are changed by nobody else. */
static void leaders_record(struct world *world, int c, enum watched kind, int index)
{
    const struct core *core = world->controllers[c].core;
    bool permit = kind == WATCH_PERMIT;
    const struct stored *key =
        permit ? &world->store.permits[index].key : &world->store.groups[index].key;
    int64_t known = permit ? core->databases[index].permit_revision : core->groups[index].revision;
    if (!core->loaded || in_flight(core, permit ? SAVE_PERMIT : SAVE_GROUP, index) ||
        key->mod_revision <= known) {
        return;
    }
    struct core_event event = controller_event(world, c, EV_SAVE_FAILED);
    snprintf(event.save.text, sizeof event.save.text, "%s/%s was %s by somebody else",
             permit ? "permits" : "groups",
             permit ? world->def.databases[index].name : world->def.groups[index].name,
             key->create_revision == 0 ? "deleted" : "written");
    controller_post(world, c, &event);
}

static void take_view(struct world *world, int c, int of)
{
    const struct stored_view *view = &world->store.views[of];
    core_take_peer(world->controllers[c].core, world->controllers[of].id,
                   view->key.create_revision != 0 ? &view->value : NULL, world->now_ms);
}

static void take_guard(struct world *world, int c, int db, int i)
{
    const struct stored_guard *guard = &world->store.guards[db][i];
    if (guard->key.create_revision != 0) {
        core_take_guard(world->controllers[c].core, &guard->value, guard->key.mod_revision,
                        world->now_ms);
    }
}

static void take_renewal(struct world *world, int c, int db)
{
    const struct stored_renewal *renewal = &world->store.renewals[db];
    if (renewal->key.create_revision != 0) {
        core_take_renewal(world->controllers[c].core, world->def.databases[db].name,
                          &renewal->value, renewal->key.mod_revision, world->now_ms);
    }
}

static void write_key(struct world *world, struct stored *key)
{
    key->mod_revision = ++world->store.revision;
    key->create_revision = key->create_revision == 0 ? key->mod_revision : key->create_revision;
}

void store_guard_written(struct world *world, int db, int i)
{
    write_key(world, &world->store.guards[db][i].key);
    notify(world, WATCH_GUARD, db * INSTANCES_MAX + i);
}

void store_renewal_written(struct world *world, int db)
{
    write_key(world, &world->store.renewals[db].key);
    notify(world, WATCH_RENEWAL, db);
}

static void on_news(struct world *world, const struct args *args)
{
    int c = args->controller;
    struct core *core = world->controllers[c].core;
    const struct store *store = &world->store;
    if (!alive(world, args) || put_off(world, on_news, args)) {
        return;
    }
    switch ((enum watched)args->a) {
    case WATCH_PERMIT:
    case WATCH_GROUP:
        if (core->leading) {
            leaders_record(world, c, (enum watched)args->a, args->b);
        } else if (args->a == WATCH_PERMIT && store->permits[args->b].key.create_revision != 0) {
            core_take_permit(core, &store->permits[args->b].value,
                             store->permits[args->b].key.mod_revision);
        } else if (args->a == WATCH_GROUP && store->groups[args->b].key.create_revision != 0) {
            core_take_group(core, &store->groups[args->b].value,
                            store->groups[args->b].key.mod_revision, world->now_ms);
        }
        break;
    case WATCH_INCIDENT:
        if (!core->leading || !core->loaded) {
            core_take_incident(core, &store->incidents[args->b].value,
                               store->incidents[args->b].key.mod_revision, world->now_ms,
                               controller_event(world, c, EV_PEER).wall_ms);
        }
        break;
    case WATCH_REQUEST:
        if (core->leading) {
            core_take_request(core, &store->requests[args->b].value,
                              store->requests[args->b].key.mod_revision);
        }
        break;
    case WATCH_VIEW: take_view(world, c, args->b); break;
    case WATCH_CONFIG: take_definition(world, c); break;
    case WATCH_GUARD: take_guard(world, c, args->b / INSTANCES_MAX, args->b % INSTANCES_MAX); break;
    case WATCH_RENEWAL: take_renewal(world, c, args->b); break;
    }
    core_saw(core, (int64_t)args->n);
    if (world->controllers[c].running) {
        struct core_event event = controller_event(world, c, EV_PEER);
        controller_post(world, c, &event);
    }
}

/* ---- reading everything ---- */

static void take_all(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    struct core *core = controller->core;
    const struct store *store = &world->store;
    int64_t wall = controller_event(world, c, EV_PEER).wall_ms;
    take_definition(world, c);
    if (controller->next_def != NULL &&
        core_take_definition(core, controller->next_def, controller->next_def_revision)) {
        free(controller->next_def);
        controller->next_def = NULL;
        controller_rebuild(world, c);
    }
    core_forget_records(core);
    for (int db = 0; db < world->def.databases_len; db++) {
        if (store->permits[db].key.create_revision != 0) {
            core_take_permit(core, &store->permits[db].value, store->permits[db].key.mod_revision);
        }
    }
    for (int g = 0; g < world->def.groups_len; g++) {
        if (store->groups[g].key.create_revision != 0) {
            core_take_group(core, &store->groups[g].value, store->groups[g].key.mod_revision,
                            world->now_ms);
        }
    }
    for (int i = 0; i < STORE_INCIDENTS; i++) {
        if (store->incidents[i].key.create_revision != 0) {
            core_take_incident(core, &store->incidents[i].value,
                               store->incidents[i].key.mod_revision, world->now_ms, wall);
        }
    }
    for (int r = 0; r < STORE_REQUESTS && core->leading; r++) {
        if (store->requests[r].key.create_revision != 0) {
            core_take_request(core, &store->requests[r].value, store->requests[r].key.mod_revision);
        }
    }
    for (int db = 0; db < world->def.databases_len; db++) {
        take_renewal(world, c, db);
        for (int i = 0; i < world->def.databases[db].instances_len; i++) {
            take_guard(world, c, db, i);
        }
    }
    for (int of = 0; of < world->controllers_len; of++) {
        bool known = store->views[of].key.create_revision != 0;
        for (int p = 0; p < PEERS_MAX; p++) {
            known = known || (core->peers[p].used && core->peers[p].present &&
                              strcmp(core->peers[p].view.id, world->controllers[of].id) == 0);
        }
        if (known) {
            take_view(world, c, of);
        }
    }
}

void store_offer_definition(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    if (controller->next_def == NULL ||
        !core_take_definition(controller->core, controller->next_def,
                              controller->next_def_revision)) {
        return;
    }
    free(controller->next_def);
    controller->next_def = NULL;
    world_print(world, "%s takes the newer definition up", controller->id);
    controller_rebuild(world, c);
    if (controller->core->leading) {
        store_reload(world, c);
    } else {
        take_all(world, c);
    }
}

static void on_reload(struct world *world, const struct args *args)
{
    int c = args->controller;
    struct controller *controller = &world->controllers[c];
    if (!alive(world, args) || put_off(world, on_reload, args)) {
        return;
    }
    if (!controller->reloading || !controller->core->leading) {
        controller->reloading = false;
        return;
    }
    if (!reachable(world, c)) {
        world_at(world, world->now_ms + READ_AGAIN_MS, on_reload, args);
        return;
    }
    controller->reloading = false;
    if (world->store.leader.create_revision != controller->term) {
        store_resign(world, c);
        return;
    }
    world->store.revision++;
    take_all(world, c);
    struct core_event event = controller_event(world, c, EV_LOADED);
    event.loaded.revision = world->store.revision;
    controller_post(world, c, &event);
}

void store_reload(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    if (controller->reloading || controller->term == 0) {
        return;
    }
    controller->reloading = true;
    struct args args = to(world, c);
    world_at(world, world->now_ms + 2 * DELAY_STORE_MS, on_reload, &args);
}

/* ---- saving ---- */

struct saving {
    int64_t term;
    uint32_t ticket;
    enum next_answer answer;
    int items_len;
    struct save_item items[SAVE_ITEMS_MAX];
    void *values[SAVE_ITEMS_MAX];
};

static struct stored *incident_key(struct world *world, const char *id,
                                   struct stored_incident **ret)
{
    for (int i = 0; i < STORE_INCIDENTS; i++) {
        struct stored_incident *incident = &world->store.incidents[i];
        if (incident->key.create_revision == 0 || strcmp(incident->value.id, id) == 0) {
            *ret = incident;
            return &incident->key;
        }
    }
    abort(); /* a scenario with more incidents than the model holds */
}

static struct stored *key_of(struct world *world, const struct save_item *item, const void *value)
{
    struct stored_incident *incident;
    switch (item->kind) {
    case SAVE_GROUP: return &world->store.groups[item->index].key;
    case SAVE_PERMIT: return &world->store.permits[item->index].key;
    case SAVE_INCIDENT:
        return incident_key(world, ((const struct incident_record *)value)->id, &incident);
    case SAVE_REQUEST:
        for (int r = 0; r < STORE_REQUESTS; r++) {
            if (world->store.requests[r].key.create_revision != 0 &&
                strcmp(world->store.requests[r].value.id,
                       ((const struct request_record *)value)->id) == 0) {
                return &world->store.requests[r].key;
            }
        }
        break;
    }
    abort();
}

static void say_phases(struct world *world, const struct group_record *before,
                       const struct group_record *after)
{
    for (int m = 0; m < after->workflow.moves_len; m++) {
        const struct move_record *move = &after->workflow.moves[m];
        bool same = strcmp(before->workflow.id, after->workflow.id) == 0 &&
                    m < before->workflow.moves_len &&
                    before->workflow.moves[m].phase == move->phase;
        if (!same) {
            world_point(world, "recorded %s %s", move->database, move_phase_names[move->phase]);
        }
    }
}

static void record_primaries(struct world *world, const struct group_record *group)
{
    for (int d = 0; d < group->databases_len; d++) {
        int db = definition_database(&world->def, group->databases[d].database);
        if (db >= 0) {
            postgres_recorded(world, db, group->databases[d].primary);
        }
    }
}

static void write_item(struct world *world, const struct save_item *item, const void *value)
{
    struct stored_incident *incident;
    switch (item->kind) {
    case SAVE_GROUP:
        world->store.groups[item->index].value = *(const struct group_record *)value;
        record_primaries(world, value);
        notify(world, WATCH_GROUP, item->index);
        break;
    case SAVE_PERMIT:
        check_permit_write(world, item->index, value);
        world->store.permits[item->index].value = *(const struct permit_record *)value;
        notify(world, WATCH_PERMIT, item->index);
        guards_permit_written(world, item->index);
        break;
    case SAVE_INCIDENT:
        incident_key(world, ((const struct incident_record *)value)->id, &incident);
        incident->value = *(const struct incident_record *)value;
        notify(world, WATCH_INCIDENT, (int)(incident - world->store.incidents));
        break;
    case SAVE_REQUEST:
        for (int r = 0; r < STORE_REQUESTS; r++) {
            if (strcmp(world->store.requests[r].value.id,
                       ((const struct request_record *)value)->id) == 0) {
                world->store.requests[r].value = *(const struct request_record *)value;
            }
        }
        break;
    }
}

static bool apply(struct world *world, const struct saving *saving)
{
    if (world->store.leader.create_revision != saving->term || saving->term == 0) {
        return false;
    }
    for (int i = 0; i < saving->items_len; i++) {
        const struct stored *key = key_of(world, &saving->items[i], saving->values[i]);
        int64_t current = key->create_revision == 0 ? 0 : key->mod_revision;
        if (current != saving->items[i].revision) {
            return false;
        }
    }
    struct group_record *before = calloc(GROUPS_MAX, sizeof *before);
    if (before == NULL) {
        abort();
    }
    for (int g = 0; g < GROUPS_MAX; g++) {
        before[g] = world->store.groups[g].value;
    }
    int64_t revision = ++world->store.revision;
    for (int i = 0; i < saving->items_len; i++) {
        write_item(world, &saving->items[i], saving->values[i]);
        struct stored *key = key_of(world, &saving->items[i], saving->values[i]);
        key->create_revision = key->create_revision == 0 ? revision : key->create_revision;
        key->mod_revision = revision;
    }
    for (int i = 0; i < saving->items_len; i++) {
        if (saving->items[i].kind == SAVE_GROUP) {
            say_phases(world, &before[saving->items[i].index], saving->values[i]);
        }
    }
    free(before);
    return true;
}

static void on_saved(struct world *world, const struct args *args)
{
    int c = args->controller;
    if (!alive(world, args) || put_off(world, on_saved, args)) {
        return;
    }
    static const char *const words[] = {
        "", "a compare failed: the term or a record is not what it was",
        "no answer in time: unknown", "mvcc: database space exceeded"};
    struct core_event event = controller_event(world, c, args->b == 0 ? EV_SAVED : EV_SAVE_FAILED);
    event.save.ticket = (uint32_t)args->a;
    event.save.revision = (int64_t)args->n;
    snprintf(event.save.text, sizeof event.save.text, "%s", words[args->b]);
    controller_post(world, c, &event);
    if (args->b == 3 && world->controllers[c].running) {
        store_resign(world, c);
    }
}

static void on_save_arrives(struct world *world, const struct args *args)
{
    struct saving *saving = args->memory;
    int c = args->controller;
    struct args reply = {.controller = c, .life = args->life, .a = (int)saving->ticket};
    uint64_t at = world->now_ms + DELAY_STORE_MS;
    if (!reachable(world, c)) {
        reply.b = 2;
        at = world->now_ms + SAVE_MS;
    } else if (saving->answer == ANSWER_REFUSED) {
        reply.b = 3;
    } else if (!apply(world, saving)) {
        reply.b = 1;
    } else if (saving->answer == ANSWER_LOST) {
        world_print(world, "etcd's answer to %s is lost", world->controllers[c].id);
        reply.b = 2;
        at = world->now_ms + SAVE_MS;
    }
    reply.n = (uint64_t)world->store.revision;
    world_at(world, at, on_saved, &reply);
}

static const void *record_of(const struct core *core, const struct save_item *item,
                             size_t *ret_size)
{
    switch (item->kind) {
    case SAVE_GROUP:
        *ret_size = sizeof(struct group_record);
        return &core->groups[item->index].record;
    case SAVE_INCIDENT:
        *ret_size = sizeof(struct incident_record);
        return &core->groups[item->index].incident;
    case SAVE_PERMIT:
        *ret_size = sizeof(struct permit_record);
        return &core->databases[item->index].permit;
    case SAVE_REQUEST:
        *ret_size = sizeof(struct request_record);
        return &core->requests[item->index].record;
    }
    abort();
}

static size_t padded(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

void store_save(struct world *world, int c, const struct effect *effect)
{
    const struct core *core = world->controllers[c].core;
    size_t size = sizeof(struct saving);
    for (int i = 0; i < effect->save.items_len; i++) {
        size_t one;
        record_of(core, &effect->save.items[i], &one);
        size += padded(one);
    }
    struct saving *saving = calloc(1, size); /* the copies stand behind it */
    if (saving == NULL) {
        abort();
    }
    saving->term = core->term;
    saving->ticket = effect->save.ticket;
    saving->answer = world->store.next_answer;
    world->store.next_answer = ANSWER_GIVEN;
    saving->items_len = effect->save.items_len;
    memcpy(saving->items, effect->save.items, sizeof saving->items);
    char *at = (char *)(saving + 1);
    for (int i = 0; i < saving->items_len; i++) {
        size_t one;
        const void *value = record_of(core, &saving->items[i], &one);
        saving->values[i] = memcpy(at, value, one);
        at += padded(one);
    }
    struct args args = to(world, c);
    args.memory = saving;
    world_at(world, world->now_ms + DELAY_STORE_MS + world->store.next_delay_ms, on_save_arrives,
             &args);
    world->store.next_delay_ms = 0;
}

/* ---- leases and leadership ---- */

static void campaign(struct world *world, int c);

static void on_campaign(struct world *world, const struct args *args)
{
    if (alive(world, args) && !put_off(world, on_campaign, args)) {
        campaign(world, args->controller);
    }
}

static void leader_gone(struct world *world)
{
    world->store.leader.create_revision = 0;
    world->store.revision++;
    for (int c = 0; c < world->controllers_len; c++) {
        struct args args = to(world, c);
        world_at(world, world->now_ms + DELAY_STORE_MS + (uint64_t)c, on_campaign, &args);
    }
}

static void on_gained(struct world *world, const struct args *args)
{
    struct controller *controller = &world->controllers[args->controller];
    if (!alive(world, args) || put_off(world, on_gained, args)) {
        return;
    }
    controller->term = (int64_t)args->n;
    world_print(world, "%s leads", controller->id);
    struct core_event event = controller_event(world, args->controller, EV_LEADING);
    event.leading.term = controller->term;
    event.leading.revision = controller->term;
    controller_post(world, args->controller, &event);
}

static void campaign(struct world *world, int c)
{
    struct store *store = &world->store;
    struct controller *controller = &world->controllers[c];
    if (!reachable(world, c) || controller->term != 0 || store->lease_until_ms[c] == 0 ||
        world->now_ms < controller->passive_until_ms) {
        return;
    }
    if (store->leader.create_revision != 0 && store->leader_id == c &&
        store->leader_life == controller->life) {
        store->leader.create_revision = 0; /* an own, lapsed term is given up for good */
    }
    if (store->leader.create_revision != 0) {
        return;
    }
    store->leader.create_revision = ++store->revision;
    store->leader_id = c;
    store->leader_life = controller->life;
    store->leader_until_ms = store->lease_until_ms[c];
    if (store->leader.create_revision <= store->highest_term) {
        world_break(world, "S5: a term that does not grow");
    }
    store->highest_term = store->leader.create_revision;
    struct args args = to(world, c);
    args.n = (uint64_t)store->leader.create_revision;
    world_at(world, world->now_ms + DELAY_STORE_MS, on_gained, &args);
}

static void on_lease_due(struct world *world, const struct args *args)
{
    struct store *store = &world->store;
    int c = args->controller;
    if (store->down) {
        return; /* looked at again when it is up */
    }
    if (store->lease_until_ms[c] != 0 && store->lease_until_ms[c] <= world->now_ms) {
        store->lease_until_ms[c] = 0;
        store->revision++;
        store->views[c].key.create_revision = 0;
        world_print(world, "etcd: the lease of %s ends", world->controllers[c].id);
        notify(world, WATCH_VIEW, c);
    }
    if (store->leader.create_revision != 0 && store->leader_id == c &&
        store->leader_until_ms <= world->now_ms) {
        leader_gone(world);
    }
}

static void extend(struct world *world, int c, uint32_t ttl)
{
    world->store.lease_until_ms[c] = world->now_ms + ttl;
    if (world->store.leader_id == c && world->store.leader_life == world->controllers[c].life) {
        world->store.leader_until_ms = world->now_ms + ttl;
    }
    struct args due = {.controller = c};
    world_at(world, world->now_ms + ttl, on_lease_due, &due);
}

/* What was missed is told when the watch is resumed; each leader sees the keys' last state. */
static void resume_watch(struct world *world, int c)
{
    for (int db = 0; db < world->def.databases_len; db++) {
        notify_one(world, c, WATCH_PERMIT, db);
    }
    for (int g = 0; g < world->def.groups_len; g++) {
        notify_one(world, c, WATCH_GROUP, g);
    }
    for (int i = 0; i < STORE_INCIDENTS; i++) {
        if (world->store.incidents[i].key.create_revision != 0) {
            notify_one(world, c, WATCH_INCIDENT, i);
        }
    }
    for (int r = 0; r < STORE_REQUESTS; r++) {
        if (world->store.requests[r].key.create_revision != 0) {
            notify_one(world, c, WATCH_REQUEST, r);
        }
    }
    for (int of = 0; of < world->controllers_len; of++) {
        if (of != c && world->controllers[of].core != NULL) {
            notify_one(world, c, WATCH_VIEW, of);
        }
    }
    notify_one(world, c, WATCH_CONFIG, 0);
}

void store_cut(struct world *world, int c, bool cut)
{
    world->cut_store[c] = cut;
    if (!cut) {
        resume_watch(world, c);
    }
}

void store_down(struct world *world, bool down)
{
    world->store.down = down;
    for (int c = 0; c < world->controllers_len && !down; c++) {
        if (world->store.lease_until_ms[c] != 0) {
            extend(world, c, lease_ms(world, c));
        }
        resume_watch(world, c);
    }
}

/* A leader's right ends by its own clock, whatever etcd still holds. */
static void on_lapse(struct world *world, const struct args *args)
{
    struct controller *controller = &world->controllers[args->controller];
    if (!alive(world, args) || put_off(world, on_lapse, args) || controller->term == 0 ||
        world->now_ms < controller->act_until_ms) {
        return;
    }
    controller->term = 0;
    controller->reloading = false;
    world_print(world, "%s loses its leadership: no keepalive was answered in time",
                controller->id);
    struct core_event lost = controller_event(world, args->controller, EV_NOT_LEADING);
    controller_post(world, args->controller, &lost);
}

static void on_session(struct world *world, const struct args *args)
{
    int c = args->controller;
    struct controller *controller = &world->controllers[c];
    if (!alive(world, args) || put_off(world, on_session, args)) {
        return;
    }
    uint32_t ttl = lease_ms(world, c);
    if (reachable(world, c)) {
        bool fresh = world->store.lease_until_ms[c] == 0;
        extend(world, c, ttl);
        controller->act_until_ms = world->now_ms + ttl - ttl / 10;
        world_at(world, controller->act_until_ms, on_lapse, args);
        if (fresh) {
            store_publish(world, c);
        }
        campaign(world, c);
    }
    world_at(world, world->now_ms + ttl / 3, on_session, args);
}

void store_resign(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    if (controller->term == 0) {
        return;
    }
    controller->term = 0;
    controller->passive_until_ms = world->now_ms + 2u * lease_ms(world, c);
    if (reachable(world, c) && world->store.leader_id == c) {
        leader_gone(world);
    }
    struct core_event event = controller_event(world, c, EV_NOT_LEADING);
    controller_post(world, c, &event);
}

/* ---- presence ---- */

static void on_view_arrives(struct world *world, const struct args *args)
{
    int c = args->controller;
    if (!reachable(world, c) || world->store.lease_until_ms[c] == 0) {
        return;
    }
    struct stored_view *view = &world->store.views[c];
    memcpy(&view->value, args->memory, sizeof view->value);
    view->key.mod_revision = ++world->store.revision;
    if (view->key.create_revision == 0) {
        view->key.create_revision = view->key.mod_revision;
    }
    for (int other = 0; other < world->controllers_len; other++) {
        if (other != c) {
            notify_one(world, other, WATCH_VIEW, c);
        }
    }
}

void store_publish(struct world *world, int c)
{
    struct controller *controller = &world->controllers[c];
    struct controller_record *view = calloc(1, sizeof *view);
    if (view == NULL) {
        abort();
    }
    core_view(controller->core, world->now_ms, view);
    if (world->guards_run) {
        snprintf(view->api, sizeof view->api, "https://%s:7443", controller->id);
    }
    struct args args = to(world, c);
    args.memory = view;
    world_at(world, world->now_ms + DELAY_STORE_MS, on_view_arrives, &args);
}

static void on_heartbeat(struct world *world, const struct args *args)
{
    if (alive(world, args) && !put_off(world, on_heartbeat, args)) {
        store_publish(world, args->controller);
        world_at(world, world->now_ms + HEARTBEAT_MS, on_heartbeat, args);
    }
}

static void on_boot(struct world *world, const struct args *args)
{
    int c = args->controller;
    if (!alive(world, args) || put_off(world, on_boot, args)) {
        return;
    }
    if (!reachable(world, c)) {
        world_at(world, world->now_ms + READ_AGAIN_MS, on_boot, args);
        return;
    }
    take_all(world, c);
    on_heartbeat(world, args);
    on_session(world, args);
}

void store_boot(struct world *world, int c)
{
    struct args args = to(world, c);
    world_at(world, world->now_ms + 2 * DELAY_STORE_MS, on_boot, &args);
}

/* ---- by hand ---- */

void store_ask(struct world *world, const struct request_record *request)
{
    for (int r = 0; r < STORE_REQUESTS; r++) {
        struct stored_request *slot = &world->store.requests[r];
        if (slot->key.create_revision == 0) {
            slot->value = *request;
            slot->value.asked_wall_ms = START_WALL_MS + (int64_t)(world->now_ms - START_MS);
            slot->key.create_revision = slot->key.mod_revision = ++world->store.revision;
            notify(world, WATCH_REQUEST, r);
            return;
        }
    }
    world_break(world, "the model holds %d requests", STORE_REQUESTS);
}

void store_apply(struct world *world, const struct definition *def)
{
    if (world->store.def == NULL) {
        world->store.def = malloc(sizeof *world->store.def);
    }
    if (world->store.def == NULL) {
        abort();
    }
    *world->store.def = *def;
    world->store.def_revision = ++world->store.revision;
    notify(world, WATCH_CONFIG, 0);
}

void store_touch(struct world *world, int db, bool delete_it, const char *node)
{
    struct stored_permit *permit = &world->store.permits[db];
    permit->key.mod_revision = ++world->store.revision;
    if (delete_it) {
        permit->key.create_revision = 0;
        notify(world, WATCH_PERMIT, db);
        return;
    }
    permit->key.create_revision =
        permit->key.create_revision == 0 ? permit->key.mod_revision : permit->key.create_revision;
    snprintf(permit->value.node, sizeof permit->value.node, "%s", node);
    notify(world, WATCH_PERMIT, db);
}

const struct stored_request *store_request(const struct world *world, const char *id)
{
    for (int r = 0; r < STORE_REQUESTS; r++) {
        const struct stored_request *slot = &world->store.requests[r];
        if (slot->key.create_revision != 0 && strcmp(slot->value.id, id) == 0) {
            return slot;
        }
    }
    return NULL;
}

const struct stored_incident *store_last_incident(const struct world *world, const char *group)
{
    const struct stored_incident *last = NULL;
    for (int i = 0; i < STORE_INCIDENTS; i++) {
        const struct stored_incident *incident = &world->store.incidents[i];
        if (incident->key.create_revision != 0 && strcmp(incident->value.group, group) == 0 &&
            (last == NULL || strcmp(incident->value.id, last->value.id) > 0)) {
            last = incident;
        }
    }
    return last;
}

const struct move_record *store_move(const struct world *world, int db)
{
    const struct stored_group *group = &world->store.groups[world->def.databases[db].group];
    for (int m = 0; m < group->value.workflow.moves_len && group->value.moving; m++) {
        if (strcmp(group->value.workflow.moves[m].database, world->def.databases[db].name) == 0) {
            return &group->value.workflow.moves[m];
        }
    }
    return NULL;
}
