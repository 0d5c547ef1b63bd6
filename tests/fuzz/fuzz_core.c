/*
 * A controller's core, with whatever may stand in etcd and whatever may be seen: records that hands
 * have edited, findings, outcomes of its steps, elections, in any order. It never fails an
 * assertion; every record that it saves can be read by the next leader; status, explain and plan
 * are whole.
 *
 * The input: which definition, then what happens, "\nEND\n" between, each with a byte in front. The
 * store is this file's: what the core saves is encoded and decoded, and read again at its reloads.
 */
#include "controller/core/core.h"

#include <jansson.h>

#include "controller/api/explain.h"
#include "controller/api/status.h"
#include "controller/cluster/records_json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/shop_fixture.h"

#define STEPS_MAX     96
#define PENDING_MAX   64
#define DEFINITIONS   3
#define REQUESTS_KEPT 16

struct stored {
    char *text; /* NULL: there is no such key */
    size_t len;
    int64_t revision;
};

static struct definition definitions[DEFINITIONS];
static struct core core;
static struct core_effects effects;

static struct {
    struct fuzz fuzz;
    uint64_t now_ms;
    int64_t revision;
    struct stored permits[DATABASES_MAX], groups[GROUPS_MAX], incidents[GROUPS_MAX];
    struct stored requests[REQUESTS_KEPT];
    int requests_len;
    struct effect pending[PENDING_MAX]; /* fences, promotions, routes without an outcome */
    int pending_len;
    uint32_t ticket; /* of the save without an outcome; 0: none */
    bool reload;
} world;

static union {
    struct permit_record permit;
    struct group_record group;
    struct incident_record incident;
    struct request_record request;
    struct controller_record controller;
    struct guard_record guard;
    struct renewal_record renewal;
} record;

/* ---- definitions ---- */

static void read_definition(const char *text, size_t len, struct definition *ret_def)
{
    struct complaints *complaints = calloc(1, sizeof *complaints);
    assert(complaints != NULL);
    if (definition_read(text, len, ret_def, complaints) < 0) {
        complaints_print(stderr, "definition", complaints);
        abort();
    }
    free(complaints);
}

/* A person alone; guards and the permit's time; agents and commands, two databases. */
static void make_definitions(void)
{
    static const char person[] = "fencing: [ { name: person, method: operator } ]";
    static const char guards[] = "fencing: [ {name: g, method: guard}, {name: t, method: permit},"
                                 " {name: r, method: replication}, {name: p, method: operator} ]";
    char text[8192];
    size_t len = 0;
    read_definition(shop_yaml, strlen(shop_yaml), &definitions[0]);
    for (const char *at = shop_yaml; *at != '\0';) {
        bool here = strncmp(at, person, strlen(person)) == 0;
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", here ? guards : "",
                                here ? 0 : 1, at);
        at += here ? strlen(person) : 1;
    }
    read_definition(text, len, &definitions[1]);
    FILE *file = fopen(FAILOVER_SOURCE "/deploy/example/cluster.yaml", "re");
    assert(file != NULL);
    char *example = malloc(DEFINITION_TEXT_MAX);
    assert(example != NULL);
    len = fread(example, 1, DEFINITION_TEXT_MAX, file);
    fclose(file);
    read_definition(example, len, &definitions[2]);
    free(example);
}

/* ---- the store ---- */

static void keep(struct stored *key, char *text, size_t len)
{
    free(key->text);
    *key = (struct stored){.text = text, .len = len, .revision = ++world.revision};
}

static void forget_all(struct stored *keys, int len)
{
    for (int i = 0; i < len; i++) {
        free(keys[i].text);
    }
    memset(keys, 0, (size_t)len * sizeof *keys);
}

/* What it saves can be read by whoever leads next, and says the same. */
static void save_item(const struct save_item *item)
{
    char *text = NULL;
    size_t len = 0;
    struct err err = {0};
    int read = -1;
    struct stored *key = NULL;
    switch (item->kind) {
    case SAVE_GROUP:
        text = group_record_encode(&core.groups[item->index].record, &len);
        read = group_record_decode(text, len, &record.group, &err);
        key = &world.groups[item->index];
        break;
    case SAVE_INCIDENT:
        text = incident_record_encode(&core.groups[item->index].incident, &len);
        read = incident_record_decode(text, len, &record.incident, &err);
        key = &world.incidents[item->index];
        break;
    case SAVE_PERMIT:
        text = permit_record_encode(&core.databases[item->index].permit, &len);
        read = permit_record_decode(text, len, &record.permit, &err);
        key = &world.permits[item->index];
        break;
    case SAVE_REQUEST:
        text = request_record_encode(&core.requests[item->index].record, &len);
        read = request_record_decode(text, len, &record.request, &err);
        break;
    }
    if (read < 0) {
        fprintf(stderr, "saved, but not to be read: %s\n%s\n", err.text, text);
    }
    assert(read == 0);
    if (key != NULL) {
        keep(key, text, len);
    } else {
        free(text);
    }
}

/* ---- what the core wants ---- */

static void take_effect(const struct effect *effect)
{
    switch (effect->type) {
    case EFFECT_SAVE:
        assert(world.ticket == 0 && effect->save.items_len > 0);
        world.ticket = effect->save.ticket;
        for (int i = 0; i < effect->save.items_len; i++) {
            save_item(&effect->save.items[i]);
        }
        break;
    case EFFECT_RELOAD: world.reload = true; break;
    case EFFECT_FENCE:
        assert(effect->fence.node >= 0 && effect->fence.node < core.def.nodes_len);
        assert(effect->fence.level >= 0 &&
               effect->fence.level < core.def.nodes[effect->fence.node].levels_len);
        break;
    case EFFECT_NOTE: assert(utf8_is_line(effect->note.text) && effect->note.rule[0] == 'R'); break;
    case EFFECT_CALL: assert(effect->call.alarm.key[0] != '\0'); break;
    default: break;
    }
    bool answered = effect->type == EFFECT_FENCE || effect->type == EFFECT_PROMOTE ||
                    effect->type == EFFECT_ROUTES;
    if (answered && world.pending_len < PENDING_MAX) {
        world.pending[world.pending_len++] = *effect;
    }
}

static void step(struct core_event *event)
{
    event->now_ms = world.now_ms;
    event->wall_ms = SHOP_WALL_MS + (int64_t)world.now_ms;
    core_step(&core, event, &effects);
    assert(effects.len >= 0 && effects.len <= EFFECTS_MAX);
    for (int i = 0; i < effects.len; i++) {
        take_effect(&effects.items[i]);
    }
}

static void step_of(enum core_event_type type)
{
    struct core_event event = {.type = type};
    event.loaded.revision = world.revision;
    step(&event);
}

static void take_all(void)
{
    core_forget_records(&core);
    for (int i = 0; i < core.def.databases_len; i++) {
        const struct stored *key = &world.permits[i];
        if (key->text != NULL &&
            permit_record_decode(key->text, key->len, &record.permit, NULL) == 0) {
            core_take_permit(&core, &record.permit, key->revision);
        }
    }
    for (int i = 0; i < core.def.groups_len; i++) {
        const struct stored *key = &world.groups[i];
        if (key->text != NULL &&
            group_record_decode(key->text, key->len, &record.group, NULL) == 0) {
            core_take_group(&core, &record.group, key->revision, world.now_ms);
        }
        key = &world.incidents[i];
        if (key->text != NULL &&
            incident_record_decode(key->text, key->len, &record.incident, NULL) == 0) {
            core_take_incident(&core, &record.incident, key->revision, world.now_ms,
                               SHOP_WALL_MS + (int64_t)world.now_ms);
        }
    }
    for (int i = 0; i < world.requests_len && core.leading; i++) {
        const struct stored *key = &world.requests[i];
        if (request_record_decode(key->text, key->len, &record.request, NULL) == 0) {
            core_take_request(&core, &record.request, key->revision);
        }
    }
    core_saw(&core, world.revision);
}

/* As the driver does after each event: what was saved is confirmed, what must be read is read. */
static void settle(void)
{
    for (int round = 0; round < 8 && (world.ticket != 0 || world.reload); round++) {
        if (world.reload) {
            world.reload = false;
            world.ticket = 0;
            take_all();
            step_of(EV_LOADED);
            continue;
        }
        struct core_event saved = {.type = EV_SAVED};
        saved.save.ticket = world.ticket;
        saved.save.revision = world.revision;
        world.ticket = 0;
        step(&saved);
    }
}

/* ---- what may stand in etcd ---- */

/* A leader's own records, changed by somebody else: it reads them again. */
static void tell_leader(void)
{
    if (core.leading && core.loaded) {
        struct core_event event = {.type = EV_SAVE_FAILED};
        snprintf(event.save.text, sizeof event.save.text, "changed by somebody else");
        world.ticket = 0;
        step(&event);
    } else if (!core.leading) {
        take_all();
        step_of(EV_TICK);
    }
}

static void put_key(struct stored *keys, int index, char *text, size_t len)
{
    if (index < 0) {
        free(text);
        return;
    }
    keep(&keys[index], text, len);
    tell_leader();
}

static void put_permit(char *text, size_t len)
{
    bool good = permit_record_decode(text, len, &record.permit, NULL) == 0;
    put_key(world.permits, good ? definition_database(&core.def, record.permit.database) : -1, text,
            len);
}

static void put_group(char *text, size_t len)
{
    bool good = group_record_decode(text, len, &record.group, NULL) == 0;
    put_key(world.groups, good ? definition_group(&core.def, record.group.name) : -1, text, len);
}

static void put_incident(char *text, size_t len)
{
    bool good = incident_record_decode(text, len, &record.incident, NULL) == 0;
    put_key(world.incidents, good ? definition_group(&core.def, record.incident.group) : -1, text,
            len);
}

static void put_request(char *text, size_t len)
{
    if (request_record_decode(text, len, &record.request, NULL) < 0 ||
        world.requests_len == REQUESTS_KEPT) {
        free(text);
        return;
    }
    keep(&world.requests[world.requests_len++], text, len);
    if (core.leading) {
        core_take_request(&core, &record.request, world.revision);
        step_of(EV_REQUEST);
    }
}

static void put_peer(char *text, size_t len)
{
    if (controller_record_decode(text, len, &record.controller, NULL) == 0) {
        core_take_peer(&core, record.controller.id, &record.controller, world.now_ms);
        step_of(EV_PEER);
    }
    free(text);
}

static void put_guard(char *text, size_t len)
{
    if (guard_record_decode(text, len, &record.guard, NULL) == 0) {
        core_take_guard(&core, &record.guard, ++world.revision, world.now_ms);
        step_of(EV_TICK);
    }
    free(text);
}

static void put_renewal(char *text, size_t len)
{
    if (renewal_record_decode(text, len, &record.renewal, NULL) == 0) {
        core_take_renewal(&core, "payments", &record.renewal, ++world.revision, world.now_ms);
        step_of(EV_TICK);
    }
    free(text);
}

/* ---- what may be seen ---- */

static uint64_t some_lsn(struct fuzz *fuzz)
{
    uint64_t at = fuzz_byte(fuzz);
    return at == 0 ? 0 : at == 255 ? UINT64_MAX : SHOP_LSN + at * 4096;
}

static void see_instance(struct fuzz *fuzz, bool tried)
{
    static const char *const names[] = {"", "FIRST 1 (pay_west)", "ANY 1 (pay_east, pay_west)", "*",
                                        "FIRST 1 (failover_guard_nobody)"};
    struct core_event event = {.type = tried ? EV_WRITE_TRIED : EV_INSTANCE};
    struct instance_fact *fact = &event.instance.fact;
    event.instance.database = (int)fuzz_below(fuzz, (unsigned)core.def.databases_len);
    event.instance.instance =
        (int)fuzz_below(fuzz, (unsigned)core.def.databases[event.instance.database].instances_len);
    uint64_t age = (uint64_t)fuzz_byte(fuzz) * 8;
    fact->answered_ms = world.now_ms;
    fact->asked_ms = world.now_ms > age ? world.now_ms - age : 0;
    fact->cause = (enum cause)fuzz_below(fuzz, CAUSES);
    fact->role = (enum role)fuzz_below(fuzz, 3);
    unsigned is = fuzz_byte(fuzz);
    fact->answered = (is & 1) != 0;
    fact->wrote = (is & 2) != 0;
    fact->receiving = (is & 4) != 0;
    fact->replay_paused = (is & 8) != 0;
    fact->replay_idle = (is & 16) != 0;
    fact->sync_commit_on = (is & 32) != 0;
    fact->system_id = (is & 64) != 0 ? 99 : SHOP_SYSTEM;
    fact->timeline = fuzz_below(fuzz, 4);
    fact->life = (int64_t)fuzz_below(fuzz, 4);
    fact->write_lsn = some_lsn(fuzz);
    fact->receive_lsn = some_lsn(fuzz);
    fact->replay_lsn = some_lsn(fuzz);
    snprintf(fact->sync_names, sizeof fact->sync_names, "%s", names[fuzz_below(fuzz, 5)]);
    fact->standbys_len = (int)fuzz_below(fuzz, 3);
    for (int i = 0; i < fact->standbys_len; i++) {
        struct standby_fact *standby = &fact->standbys[i];
        snprintf(standby->name, sizeof standby->name, "%s", i == 0 ? "pay_west" : "pay_east");
        is = fuzz_byte(fuzz);
        standby->streaming = (is & 1) != 0;
        standby->sync = (is & 2) != 0;
        standby->sync_priority = (int32_t)(is >> 4);
        standby->flush_lsn = some_lsn(fuzz);
        standby->replay_lsn = some_lsn(fuzz);
    }
    step(&event);
}

static void see_service(struct fuzz *fuzz)
{
    struct core_event event = {.type = EV_SERVICE};
    event.service.service = (int)fuzz_below(fuzz, (unsigned)core.def.services_len);
    event.service.instance =
        (int)fuzz_below(fuzz, (unsigned)core.def.services[event.service.service].instances_len);
    event.service.fact = (struct service_fact){.asked_ms = world.now_ms - 2,
                                               .answered_ms = world.now_ms,
                                               .cause = (enum cause)fuzz_below(fuzz, CAUSES),
                                               .status = 200,
                                               .latency_ms = 2};
    step(&event);
}

/* ---- how its steps may end ---- */

static void end_routes(struct fuzz *fuzz, const struct effect *effect)
{
    struct core_event event = {.type = EV_ROUTES_DONE};
    event.routes.step = effect->step;
    event.routes.proxy = effect->routes.proxy;
    event.routes.answered = fuzz_below(fuzz, 4) != 0;
    event.routes.results_len = event.routes.answered ? effect->routes.wishes_len : 0;
    for (int i = 0; i < event.routes.results_len; i++) {
        bool good = fuzz_below(fuzz, 4) != 0;
        event.routes.results[i].route = effect->routes.wishes[i].route;
        event.routes.results[i].open_seen = good ? effect->routes.wishes[i].open : -1;
        event.routes.results[i].confirmed = good;
    }
    step(&event);
}

static void end_step(struct fuzz *fuzz)
{
    if (world.pending_len == 0) {
        return;
    }
    int which = (int)fuzz_below(fuzz, (unsigned)world.pending_len);
    struct effect effect = world.pending[which];
    world.pending[which] = world.pending[--world.pending_len];
    struct core_event event = {.type = EV_FENCE_DONE};
    switch (effect.type) {
    case EFFECT_FENCE:
        event.fence.step = effect.step;
        event.fence.outcome = (enum fence_outcome)fuzz_below(fuzz, 3);
        event.fence.evidence = (enum evidence_kind)fuzz_below(fuzz, 3);
        snprintf(event.fence.detail, sizeof event.fence.detail, "off succeeded");
        break;
    case EFFECT_PROMOTE:
        event.type = EV_PROMOTION_DONE;
        event.promote.step = effect.step;
        event.promote.outcome = (enum promotion)fuzz_below(fuzz, 4);
        event.promote.timeline = effect.promote.timeline + fuzz_below(fuzz, 3);
        event.promote.system_id = fuzz_below(fuzz, 8) == 0 ? 99 : effect.promote.system_id;
        break;
    default: end_routes(fuzz, &effect); return;
    }
    step(&event);
}

static void pass(struct fuzz *fuzz)
{
    static const uint64_t scales[] = {1, 50, 1000, 60000};
    uint64_t scale = scales[fuzz_below(fuzz, 4)];
    world.now_ms += fuzz_byte(fuzz) * scale;
    step_of(EV_TICK);
}

static void turn(struct fuzz *fuzz)
{
    switch (fuzz_below(fuzz, 5)) {
    case 0:
        if (!core.leading) {
            struct core_event event = {.type = EV_LEADING};
            event.leading.term = ++world.revision;
            event.leading.revision = world.revision;
            step(&event);
            world.reload = true; /* the driver loads every record */
        }
        break;
    case 1:
        world.ticket = 0;
        world.pending_len = 0;
        step_of(EV_NOT_LEADING);
        break;
    case 2: step_of(EV_STALL); break;
    case 3: {
        struct core_event event = {.type = EV_STORE};
        event.store.bytes = (uint64_t)fuzz_byte(fuzz) << 20;
        event.store.quota_bytes = (uint64_t)fuzz_byte(fuzz) << 20;
        step(&event);
        break;
    }
    default: {
        struct core_event event = {.type = EV_SAVE_FAILED};
        event.save.ticket = world.ticket;
        world.ticket = 0;
        snprintf(event.save.text, sizeof event.save.text, "no answer");
        step(&event);
        break;
    }
    }
}

/* ---- what is shown ---- */

static void show(void)
{
    static const struct request_record request = {.group = "shop"};
    struct status_extra extra = {
        .now_ms = world.now_ms, .wall_ms = SHOP_WALL_MS, .id = "ops2", .version = "1"};
    enum { PAGES = 3 };
    json_t *shown[PAGES] = {status_json(&core, &extra), explain_json(&core, &extra, 0, -1),
                            plan_json(&core, &extra, &request)};
    for (int i = 0; i < PAGES; i++) {
        char *text = json_dumps(shown[i], JSON_COMPACT);
        assert(text != NULL);
        free(text);
        json_decref(shown[i]);
    }
    core_view(&core, world.now_ms, &record.controller);
    size_t len;
    char *text = controller_record_encode(&record.controller, &len);
    assert(controller_record_decode(text, len, &record.controller, NULL) == 0);
    free(text);
}

static void happen(struct fuzz *fuzz)
{
    static void (*const puts[])(char *text, size_t len) = {
        put_permit, put_group, put_incident, put_request, put_peer, put_guard, put_renewal};
    enum { PUTS = sizeof puts / sizeof *puts };
    unsigned what = fuzz_below(fuzz, PUTS + 6);
    if (what < PUTS) {
        size_t len;
        char *text = fuzz_rest(fuzz, &len);
        puts[what](text, len);
        return;
    }
    switch (what - PUTS) {
    case 0: see_instance(fuzz, false); break;
    case 1: see_instance(fuzz, true); break;
    case 2: see_service(fuzz); break;
    case 3: end_step(fuzz); break;
    case 4: pass(fuzz); break;
    default: turn(fuzz); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (definitions[0].cluster[0] == '\0') {
        make_definitions();
    }
    memset(&world, 0, sizeof world);
    world.fuzz = (struct fuzz){data, size};
    world.now_ms = SHOP_NOW_MS;
    world.revision = 100;
    unsigned how = fuzz_byte(&world.fuzz);
    core_init(&core, "ops2", world.now_ms - 60000);
    core_take_definition(&core, &definitions[how % DEFINITIONS], 42);
    core.promises = how / DEFINITIONS % 2 == 1;
    for (int i = 0; i < STEPS_MAX && world.fuzz.len > 0; i++) {
        size_t len;
        char *piece = fuzz_piece(&world.fuzz, "\nEND\n", &len);
        struct fuzz fuzz = {(const uint8_t *)piece, len};
        happen(&fuzz);
        settle();
        free(piece);
    }
    show();
    forget_all(world.permits, DATABASES_MAX);
    forget_all(world.groups, GROUPS_MAX);
    forget_all(world.incidents, GROUPS_MAX);
    forget_all(world.requests, REQUESTS_KEPT);
    return 0;
}
