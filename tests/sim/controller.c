/*
 * controller.c - what failoverd's driver does (controller/daemon): the pump, effects out, outcomes
 * in, probes by the schedule of production, the election. It may end between two effects of a step.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define STALL_MS      2000
#define HEARTBEAT_MS  1000
#define READ_AGAIN_MS 200
#define WATCH_MS      300

static struct core_effects effects;

static struct core_event event_of(int c, enum core_event_type type)
{
    struct core_event event;
    memset(&event, 0, sizeof event);
    event.type = type;
    event.now_ms = local_ms(c);
    event.wall_ms = wall_ms(c);
    return event;
}

bool ctl_may_act(int c)
{
    return ctls[c].term != 0 && ctls[c].core.leading && local_ms(c) < ctls[c].act_until_ms;
}

int ctl_leading(void)
{
    for (int c = 0; c < CTLS; c++) {
        if (w.procs[c].up && ctls[c].core.leading) {
            return c;
        }
    }
    return NOBODY;
}

/* ---- effects ---- */

static void publish(int c)
{
    int load = load_new(sizeof(struct controller_record));
    struct controller_record *view = load_at(load);
    memset(view, 0, sizeof *view);
    core_view(&ctls[c].core, local_ms(c), view);
    snprintf(view->api, sizeof view->api, "https://c%d:7443", c + 1);
    post(c, E_ETCD, EV_ST_VIEW, 0, &(struct ev){.a = c, .life = w.procs[c].life, .load = load});
    truth_ask(c);
}

static void reload(int c)
{
    if (!ctls[c].reloading && ctls[c].term != 0) {
        ctls[c].reloading = true;
        post(c, E_ETCD, EV_ST_READ, 0,
             &(struct ev){.a = c, .b = 1, .n = (uint64_t)ctls[c].term, .life = w.procs[c].life});
        after(c, EV_CTL_LOADED, 3000 * MS, &(struct ev){.b = 2, .m = (uint64_t)ctls[c].term});
    }
}

void ctl_resign(int c)
{
    if (ctls[c].term == 0) {
        return;
    }
    post(c, E_ETCD, EV_ST_RESIGN, 0,
         &(struct ev){.a = c, .n = (uint64_t)ctls[c].term, .life = w.procs[c].life});
    ctls[c].term = 0;
    ctls[c].reloading = false;
    ctls[c].passive_until_ms = local_ms(c) + 2u * definition_profile(&def)->lease_ms;
    ctls[c].lost = true;
}

static void arm_probe(int c, int t)
{
    struct target *target = &ctls[c].targets[t];
    uint64_t due = probe_schedule_due_ms(&target->schedule);
    if (due != PROBE_SCHEDULE_NEVER) {
        target->armed++;
        at_local(c, EV_CTL_PROBE_DUE, due, &(struct ev){.a = t, .n = target->armed});
    }
}

static void probe_now(int c, int t)
{
    if (ctls[c].core.defined) {
        probe_schedule_news(&ctls[c].targets[t].schedule, local_ms(c));
        arm_probe(c, t);
    }
}

static void try_write(int c, const struct effect *effect)
{
    int t = effect->probe.instance;
    uint32_t id = ++ctls[c].tries;
    post(c, E_NODE + t, EV_PG_PROBE, 0,
         &(struct ev){.a = c,
                      .b = t,
                      .n = id | UINT64_C(1) << 40,
                      .m = local_ms(c),
                      .life = w.procs[c].life});
    at_local(c, EV_CTL_PROBE_LATE, effect->deadline_ms,
             &(struct ev){.a = t, .n = id | UINT64_C(1) << 40, .m = local_ms(c)});
}

static void take_note(int c, const struct effect *effect)
{
    trace("%s %s %s -> %s  %s", ctls[c].core.id, effect->note.rule,
          effect->note.from >= 0 ? db_state_names[effect->note.from] : "",
          effect->note.to >= 0 ? db_state_names[effect->note.to] : "", effect->note.text);
}

static void carry_out(int c, const struct effect *effect)
{
    struct ctl *ctl = &ctls[c];
    switch (effect->type) {
    case EFFECT_SAVE:
        store_save(c, effect);
        point(POINT_SAVE, c);
        break;
    case EFFECT_RELOAD: reload(c); break;
    case EFFECT_FENCE:
        ctl_fence(c, effect);
        point(POINT_FENCE, c);
        break;
    case EFFECT_PREPARE: break;
    case EFFECT_PROMOTE: broken("S9: a guarded instance is promoted by a controller"); break;
    case EFFECT_ROUTES:
        ctl_routes(c, effect);
        point(POINT_ROUTES, c);
        break;
    case EFFECT_CANCEL: ctl->cancelled[ctl->cancelled_len++ % CANCELLED_MAX] = effect->step; break;
    case EFFECT_CANCEL_ALL:
        ctl->cancelled_below = ctl->core.next_step;
        point(POINT_CANCEL, c);
        break;
    case EFFECT_PROBE_NOW: probe_now(c, effect->probe.instance); break;
    case EFFECT_TRY_WRITE: try_write(c, effect); break;
    case EFFECT_PUBLISH: publish(c); break;
    case EFFECT_CALL:
        ctl->called++;
        trace("%s calls a person: %s", ctl->core.id, effect->call.alarm.text);
        break;
    case EFFECT_RESIGN:
        trace("%s resigns", ctl->core.id);
        ctl_resign(c);
        break;
    case EFFECT_NOTE: take_note(c, effect); break;
    }
}

static void step(int c, const struct core_event *event)
{
    uint32_t life = w.procs[c].life;
    core_step(&ctls[c].core, event, &effects);
    w.rights[c].dismissed =
        event->type == EV_NOT_LEADING || (w.rights[c].dismissed && event->type != EV_LEADING);
    for (int i = 0; i < effects.len && w.procs[c].up && w.procs[c].life == life; i++) {
        trace_hash((uint64_t)effects.items[i].type + 1);
        rights_effect(c, &effects.items[i]);
        carry_out(c, &effects.items[i]);
        truth_ask(c);
    }
}

static void arm_tick(int c)
{
    uint64_t now = local_ms(c);
    uint64_t at = core_deadline_ms(&ctls[c].core);
    at = at <= now ? now + 1 : at < now + 1000 ? at : now + 1000;
    if (at != ctls[c].tick_ms) {
        ctls[c].tick_ms = at;
        at_local(c, EV_CTL_TICK, at, &(struct ev){.n = at});
    }
}

/* False: it has ended meanwhile. */
static bool pump(int c, const struct core_event *event)
{
    struct ctl *ctl = &ctls[c];
    uint32_t life = w.procs[c].life;
    uint64_t now = local_ms(c);
    if (ctl->pumped_ms != 0 && now - ctl->pumped_ms > STALL_MS) {
        trace("%s stood still for %llu ms", ctl->core.id,
              (unsigned long long)(now - ctl->pumped_ms));
        struct core_event stall = event_of(c, EV_STALL);
        ctl->pumped_ms = now;
        w.watched[c] = w.now;
        step(c, &stall);
    }
    ctl->pumped_ms = now;
    if (w.procs[c].up && w.procs[c].life == life) {
        step(c, event);
    }
    while (w.procs[c].up && w.procs[c].life == life && ctl->lost) {
        struct core_event lost = event_of(c, EV_NOT_LEADING);
        ctl->lost = false;
        step(c, &lost);
    }
    if (!w.procs[c].up || w.procs[c].life != life) {
        return false;
    }
    arm_tick(c);
    return true;
}

bool ctl_pump(int c, struct core_event *event)
{
    event->now_ms = local_ms(c);
    event->wall_ms = wall_ms(c);
    return pump(c, event);
}

void ctl_on_tick(const struct ev *ev)
{
    int c = ev->proc;
    if (ev->n == ctls[c].tick_ms) {
        struct core_event event = event_of(c, EV_TICK);
        ctls[c].tick_ms = 0;
        pump(c, &event);
    }
}

/* ---- probes ---- */

void ctl_on_probe_due(const struct ev *ev)
{
    int c = ev->proc;
    int t = ev->a;
    struct target *target = &ctls[c].targets[t];
    const struct database_state *db = &ctls[c].core.databases[0];
    if (target->armed != ev->n) {
        return;
    }
    uint64_t now = local_ms(c);
    probe_schedule_started(&target->schedule, now);
    bool settled = !ctls[c].core.leading || db->state == DB_NORMAL || db->state == DB_SUSPECT ||
                   db->state == DB_HELD;
    target->expected = ROLE_UNKNOWN;
    if (settled && core_move_of(&ctls[c].core, 0) == NULL && core_primary(&ctls[c].core, 0) == t) {
        target->expected = ROLE_PRIMARY;
    }
    target->expected_system = db->permit_known ? db->permit.system_id : 0;
    target->asked_ms = now;
    target->probe++;
    target->running = true;
    post(c, E_NODE + t, EV_PG_PROBE, 0,
         &(struct ev){.a = c, .b = t, .n = target->probe, .m = now, .life = w.procs[c].life});
    at_local(c, EV_CTL_PROBE_LATE, now + definition_profile(&def)->probe_deadline_ms,
             &(struct ev){.a = t, .n = target->probe, .m = now});
}

static void end_probe(int c, int t, struct core_event *event)
{
    struct target *target = &ctls[c].targets[t];
    struct instance_fact *fact = &event->instance.fact;
    if (fact->answered && target->expected_system != 0 &&
        fact->system_id != target->expected_system) {
        fact->cause = CAUSE_WRONG_SYSTEM;
        fact->wrote = false;
    } else if (fact->answered && fact->cause == CAUSE_OK && fact->role == ROLE_STANDBY &&
               target->expected == ROLE_PRIMARY) {
        fact->cause = CAUSE_IN_RECOVERY;
    }
    bool failed = fact->cause != CAUSE_OK;
    uint64_t now = local_ms(c);
    target->running = false;
    if (probe_schedule_ended(&target->schedule, failed, now)) {
        struct core_event stall = event_of(c, EV_STALL);
        if (!pump(c, &stall)) {
            return;
        }
    }
    bool bad = failed || ctls[c].core.databases[0].instances[t].health.first_bad_ms != 0;
    probe_schedule_suspect(&target->schedule, bad, now);
    arm_probe(c, t);
    pump(c, event);
}

/* n: the probe, m: when it was asked for. */
static void take_fact(int c, int t, uint64_t n, const struct instance_fact *fact, uint64_t asked_ms)
{
    bool tried = (n & UINT64_C(1) << 40) != 0;
    struct core_event event = event_of(c, tried ? EV_WRITE_TRIED : EV_INSTANCE);
    event.instance.instance = t;
    event.instance.fact = *fact;
    event.instance.fact.asked_ms = asked_ms;
    event.instance.fact.answered_ms = local_ms(c);
    if (fact->answered && fact->role == ROLE_PRIMARY && fact->write_lsn != 0 &&
        strcmp(st.permit.node, node_name(t)) == 0) {
        ctls[c].saw_lsn = fact->write_lsn;
    }
    if (tried) {
        pump(c, &event);
    } else if (ctls[c].targets[t].running && ctls[c].targets[t].probe == n) {
        end_probe(c, t, &event);
    }
}

void ctl_on_probed(const struct ev *ev)
{
    take_fact(ev->proc, ev->a, ev->n, load_at(ev->load), ev->m);
}

/* What can be said without an answer; a commit that waits is seen on a session of its own. */
void ctl_on_probe_late(const struct ev *ev)
{
    int c = ev->proc;
    int t = ev->a;
    bool tried = (ev->n & UINT64_C(1) << 40) != 0;
    if (!tried && (!ctls[c].targets[t].running || ctls[c].targets[t].probe != ev->n)) {
        return;
    }
    struct instance_fact fact;
    struct pg *pg = &w.pgs[t];
    memset(&fact, 0, sizeof fact);
    fact.cause = CAUSE_TIMED_OUT;
    if (linked_both(c, E_NODE + t) && w.nodes[t].on) {
        fact.cause = CAUSE_HUNG;
        for (int i = 0; i < pg->waiters_len && pg_works(t); i++) {
            const struct waiter *waiter = &pg->waiters[i];
            if (waiter->who == c && waiter->n == ev->n && waiter->life == ev->life &&
                waiter->kind == (tried ? WAIT_TRY : WAIT_PROBE)) {
                pg_fill_fact(t, &fact);
                fact.cause = CAUSE_SYNC_STALL;
            }
        }
    }
    if (linked(c, E_NODE + t)) {
        pg_give_up(t, tried ? WAIT_TRY : WAIT_PROBE, c, ev->n);
    }
    if (tried && fact.cause != CAUSE_SYNC_STALL) {
        return; /* answered before, or it says nothing */
    }
    take_fact(c, t, ev->n, &fact, ev->m);
}

void ctl_on_lost(const struct ev *ev)
{
    probe_now(ev->proc, ev->a);
}

void ctl_news_of(int node)
{
    for (int c = 0; c < CTLS; c++) {
        if (w.procs[c].up && linked(E_NODE + node, c)) {
            post(E_NODE + node, c, EV_CTL_LOST, 0,
                 &(struct ev){.a = node, .life = w.procs[c].life});
        }
    }
}

/* ---- etcd: what is read and watched ---- */

static bool in_flight(const struct core *core, enum save_kind kind)
{
    for (int i = 0; i < core->in_flight.len && core->ticket_in_flight != 0; i++) {
        if (core->in_flight.items[i].kind == kind) {
            return true;
        }
    }
    return false;
}

/* A leader's records are changed by nobody else. */
static void leaders_record(int c, bool permit, int64_t mod)
{
    const struct core *core = &ctls[c].core;
    int64_t known = permit ? core->databases[0].permit_revision : core->groups[0].revision;
    if (core->loaded && !in_flight(core, permit ? SAVE_PERMIT : SAVE_GROUP) && mod > known) {
        struct core_event event = event_of(c, EV_SAVE_FAILED);
        snprintf(event.save.text, sizeof event.save.text, "it was written by somebody else");
        pump(c, &event);
    }
}

static void campaign(int c)
{
    if (ctls[c].term == 0 && local_ms(c) >= ctls[c].passive_until_ms) {
        post(c, E_ETCD, EV_ST_CAMPAIGN, 0,
             &(struct ev){.a = c, .n = local_ms(c), .life = w.procs[c].life});
    }
}

static void take_news(int c, const struct ev *ev)
{
    struct core *core = &ctls[c].core;
    uint64_t now = local_ms(c);
    char id[NAME_SIZE];
    switch ((enum watched)ev->a) {
    case WATCH_PERMIT:
        if (core->leading) {
            leaders_record(c, true, (int64_t)ev->n);
        } else if (ev->n != 0) {
            core_take_permit(core, load_at(ev->load), (int64_t)ev->n);
        }
        break;
    case WATCH_GROUP:
        if (core->leading) {
            leaders_record(c, false, (int64_t)ev->n);
        } else {
            core_take_group(core, &st.group, st.group_kv.mod, now);
        }
        break;
    case WATCH_INCIDENT:
        if (!core->leading || !core->loaded) {
            core_take_incident(core, &st.incidents[ev->b].value, st.incidents[ev->b].kv.mod, now,
                               wall_ms(c));
        }
        break;
    case WATCH_REQUEST:
        if (core->leading) {
            core_take_request(core, &st.requests[ev->b].value, st.requests[ev->b].kv.mod);
        }
        break;
    case WATCH_VIEW:
        snprintf(id, sizeof id, "c%d", ev->b + 1);
        core_take_peer(core, id, ev->n != 0 ? load_at(ev->load) : NULL, now);
        break;
    case WATCH_GUARD: core_take_guard(core, load_at(ev->load), (int64_t)ev->n, now); break;
    case WATCH_RENEWAL:
        core_take_renewal(core, def.databases[0].name, load_at(ev->load), (int64_t)ev->n, now);
        break;
    case WATCH_LEADER: campaign(c); break;
    case WATCH_API: break;
    }
}

void ctl_on_news(const struct ev *ev)
{
    int c = ev->proc;
    uint32_t life = w.procs[c].life;
    if (ev->tries > 0 || !ctls[c].watching || !ctls[c].booted) {
        ctls[c].watching = ctls[c].watching && ev->tries == 0;
        return;
    }
    take_news(c, ev);
    if (w.procs[c].up && w.procs[c].life == life) {
        core_saw(&ctls[c].core, (int64_t)ev->m);
        struct core_event event = event_of(c, EV_PEER);
        pump(c, &event);
    }
}

void ctl_on_watch(const struct ev *ev)
{
    int c = ev->proc;
    if (!ctls[c].watching && ctls[c].booted && !st.down && linked_both(c, E_ETCD) &&
        w.stall_until[c] <= w.now) {
        ctls[c].watching = true;
        w.watched[c] = w.now;
        store_notify_all(c);
    }
    after(c, EV_CTL_WATCH, WATCH_MS * MS, ev);
}

static void take_all(int c)
{
    struct core *core = &ctls[c].core;
    uint64_t now = local_ms(c);
    if (!core->defined) {
        core_take_definition(core, &def, 1);
        for (int t = 0; t < NODES; t++) {
            const struct profile *profile = definition_profile(&def);
            probe_schedule_init(&ctls[c].targets[t].schedule, profile->probe_interval_ms,
                                profile->probe_deadline_ms, profile->refused_for_ms,
                                rnd(RNG_MODEL) | 1, now);
            arm_probe(c, t);
        }
    }
    core_forget_records(core);
    if (st.permit_kv.create != 0) {
        core_take_permit(core, &st.permit, st.permit_kv.mod);
    }
    if (st.group_kv.create != 0) {
        core_take_group(core, &st.group, st.group_kv.mod, now);
    }
    for (int i = 0; i < INCIDENTS_KEPT; i++) {
        if (st.incidents[i].kv.create != 0) {
            core_take_incident(core, &st.incidents[i].value, st.incidents[i].kv.mod, now,
                               wall_ms(c));
        }
    }
    for (int r = 0; r < REQUESTS_KEPT && core->leading; r++) {
        if (st.requests[r].kv.create != 0) {
            core_take_request(core, &st.requests[r].value, st.requests[r].kv.mod);
        }
    }
    if (st.renewal_kv.create != 0) {
        core_take_renewal(core, def.databases[0].name, &st.renewal, st.renewal_kv.mod, now);
    }
    for (int n = 0; n < NODES; n++) {
        if (st.guard_kv[n].create != 0) {
            core_take_guard(core, &st.guards[n], st.guard_kv[n].mod, now);
        }
    }
    for (int of = 0; of < CTLS; of++) {
        char id[NAME_SIZE];
        snprintf(id, sizeof id, "c%d", of + 1);
        if (of != c && st.view_kv[of].create != 0) {
            core_take_peer(core, id, &st.views[of], now);
        } else if (of != c && core->peers[0].used && core->peers[0].present) {
            core_take_peer(core, id, NULL, now);
        }
    }
}

static void boot_again(int c)
{
    post(c, E_ETCD, EV_ST_READ, 0, &(struct ev){.a = c, .b = 0, .life = w.procs[c].life});
    after(c, EV_CTL_BOOTED, 3000 * MS, &(struct ev){.b = 2});
}

void ctl_on_booted(const struct ev *ev)
{
    int c = ev->proc;
    if (ctls[c].booted) {
        return;
    }
    if (ev->b == 2) { /* no answer */
        boot_again(c);
        return;
    }
    ctls[c].booted = true;
    ctls[c].watching = true;
    w.watched[c] = w.now;
    take_all(c);
    core_saw(&ctls[c].core, (int64_t)ev->n);
    ctl_on_heartbeat(ev);
    ctl_on_session(ev);
    struct core_event event = event_of(c, EV_PEER);
    pump(c, &event);
}

void ctl_on_loaded(const struct ev *ev)
{
    int c = ev->proc;
    struct ctl *ctl = &ctls[c];
    if (!ctl->reloading || !ctl->core.leading || (int64_t)ev->m != ctl->term) {
        return;
    }
    ctl->reloading = false;
    if (ev->b == 2) {
        reload(c);
        return;
    }
    struct core_event event = event_of(c, EV_PEER);
    if (ev->b == 0) {
        ctl_resign(c);
    } else {
        take_all(c);
        event = event_of(c, EV_LOADED);
        event.loaded.revision = (int64_t)ev->n;
        point(POINT_LOADED, c);
    }
    if (w.procs[c].up && w.procs[c].life == ev->life) {
        pump(c, &event);
    }
}

static void saved(int c, int ticket, bool good, int64_t revision, const char *text)
{
    struct core_event event = event_of(c, good ? EV_SAVED : EV_SAVE_FAILED);
    event.save.ticket = (uint32_t)ticket;
    event.save.revision = revision;
    snprintf(event.save.text, sizeof event.save.text, "%s", text);
    if (ctls[c].ticket_sent == (uint32_t)ticket) {
        ctls[c].ticket_sent = 0;
    }
    if (pump(c, &event)) {
        point(POINT_ANSWERED, c);
    }
}

void ctl_on_saved(const struct ev *ev)
{
    if (ctls[ev->proc].ticket_sent == (uint32_t)ev->a) {
        saved(ev->proc, ev->a, ev->b == 0, (int64_t)ev->n,
              ev->b == 0 ? "" : "a compare failed: the term or a record is not what it was");
    }
}

void ctl_on_save_late(const struct ev *ev)
{
    if (ctls[ev->proc].ticket_sent == (uint32_t)ev->a) {
        saved(ev->proc, ev->a, false, 0, "no answer in time: unknown");
    }
}

/* ---- leadership ---- */

void ctl_on_session(const struct ev *ev)
{
    int c = ev->proc;
    post(c, E_ETCD, EV_ST_KEEPALIVE, 0,
         &(struct ev){.a = c, .n = local_ms(c), .life = w.procs[c].life});
    after(c, EV_CTL_SESSION, definition_profile(&def)->lease_ms * MS / 3, NULL);
}

void ctl_on_alive(const struct ev *ev)
{
    int c = ev->proc;
    uint32_t ttl = definition_profile(&def)->lease_ms;
    if (ev->b != 0 && ctls[c].term != 0) { /* the lease it led on has ended */
        ctls[c].act_until_ms = 0;
        after(c, EV_CTL_LAPSE, 0, NULL);
        return;
    }
    uint64_t until = ev->n + ttl - ttl / 10;
    ctls[c].act_until_ms = until > ctls[c].act_until_ms ? until : ctls[c].act_until_ms;
    at_local(c, EV_CTL_LAPSE, ctls[c].act_until_ms, NULL);
    if (ev->b != 0) {
        publish(c);
    }
    campaign(c);
}

void ctl_on_lapse(const struct ev *ev)
{
    int c = ev->proc;
    if (ctls[c].term == 0 || local_ms(c) < ctls[c].act_until_ms) {
        return;
    }
    ctls[c].term = 0;
    ctls[c].reloading = false;
    trace("%s loses its leadership: no keepalive was answered in time", ctls[c].core.id);
    struct core_event lost = event_of(c, EV_NOT_LEADING);
    pump(c, &lost);
}

void ctl_on_elected(const struct ev *ev)
{
    int c = ev->proc;
    if ((int64_t)ev->n <= ctls[c].term || local_ms(c) >= ctls[c].act_until_ms) {
        return;
    }
    if (ctls[c].term != 0) { /* it asked twice, and the second term ended the first */
        struct core_event lost = event_of(c, EV_NOT_LEADING);
        ctls[c].reloading = false;
        if (!pump(c, &lost)) {
            return;
        }
    }
    ctls[c].term = (int64_t)ev->n;
    trace("%s leads", ctls[c].core.id);
    struct core_event event = event_of(c, EV_LEADING);
    event.leading.term = ctls[c].term;
    event.leading.revision = ctls[c].term;
    if (pump(c, &event)) {
        point(POINT_LEADING, c);
    }
}

void ctl_on_heartbeat(const struct ev *ev)
{
    publish(ev->proc);
    after(ev->proc, EV_CTL_HEARTBEAT, HEARTBEAT_MS * MS, NULL);
}

/* ---- the life of the process ---- */

void ctl_start(int c)
{
    struct ctl *ctl = &ctls[c];
    if (w.procs[c].up) {
        return;
    }
    char id[NAME_SIZE];
    snprintf(id, sizeof id, "c%d", c + 1);
    w.procs[c].up = true;
    w.procs[c].life++;
    w.procs[c].paused_until = 0;
    w.rights[c] = (struct rights){.hears_since = w.now,
                                  .moves_since = w.now,
                                  .started = w.now,
                                  .well_since = w.now,
                                  .reached = w.now,
                                  .told = w.rights[c].told};
    uint64_t called = ctl->called;
    memset((char *)ctl + sizeof ctl->core, 0, sizeof *ctl - sizeof ctl->core);
    ctl->called = called;
    core_init(&ctl->core, id, local_ms(c));
    ctl->core.promises = true;
    ctl->core.view_sequence = (rnd(RNG_MODEL) & 0xfffff) << 20;
    trace("c%d starts", c + 1);
    boot_again(c);
    after(c, EV_CTL_WATCH, WATCH_MS * MS, NULL);
    arm_tick(c);
}

void ctl_on_start(const struct ev *ev)
{
    ctl_start(ev->a);
}

void ctl_crash(int c)
{
    if (w.procs[c].up) {
        trace("c%d crashes", c + 1);
        w.procs[c].up = false;
        w.procs[c].life++;
    }
}
