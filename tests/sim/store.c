/*
 * store.c - etcd as its clients see it: one line of compared writes, leases, and watches.
 *
 * Without quorum nothing is answered and no lease ends; afterwards each lease has its whole time
 * again. A watch that was cut off is told the last state of every key when it is resumed; the
 * states between are skipped. A write on its way when its sender dies arrives all the same.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static uint64_t lease_us(void)
{
    return definition_profile(&def)->lease_ms * MS;
}

static bool answers(int proc)
{
    if (st.lose_answer[proc] > 0) {
        st.lose_answer[proc]--;
        trace("etcd's answer to %s is lost",
              proc < CTLS ? ctls[proc].core.id : node_name(proc - E_NODE));
        return false;
    }
    return true;
}

static void reply(int proc, uint32_t life, enum ev_kind kind, const struct ev *ev)
{
    if (!answers(proc)) {
        load_drop(ev->load);
        return;
    }
    struct ev new = *ev;
    new.life = life;
    post(E_ETCD, proc, kind, rnd_in(RNG_NET, 300, 3000), &new);
}

/* ---- watches ---- */

static bool watches(int proc)
{
    return w.procs[proc].up && (proc < CTLS ? ctls[proc].watching : guards[proc - E_NODE].watching);
}

static void lose_watch(int proc)
{
    if (proc < CTLS) {
        ctls[proc].watching = false;
    } else {
        guards[proc - E_NODE].watching = false;
    }
}

static void tell(int proc, enum watched what, int which, int64_t mod, int load)
{
    if (!linked(E_ETCD, proc) || w.stall_until[proc] > w.now) {
        lose_watch(proc);
    }
    if (!watches(proc)) {
        return;
    }
    uint64_t *last = proc < CTLS ? &ctls[proc].watch_at : &guards[proc - E_NODE].watch_at;
    uint64_t at = w.now + rnd_in(RNG_NET, 300, 2500);
    if (w.slow_until[proc] > w.now) {
        at += rnd_in(RNG_NET, 20 * MS, 900 * MS);
    }
    at = at > *last ? at : *last + 1;
    *last = at;
    if (load != 0) {
        load_keep(load);
    }
    push(&(struct ev){.at = at,
                      .kind = proc < CTLS ? EV_CTL_NEWS : EV_G_NEWS,
                      .proc = (int16_t)proc,
                      .from = E_ETCD,
                      .to = (int8_t)proc,
                      .life = w.procs[proc].life,
                      .a = (int)what,
                      .b = which,
                      .n = (uint64_t)mod,
                      .m = (uint64_t)st.revision,
                      .load = load});
}

static void tell_ctls(enum watched what, int which, int64_t mod, int load)
{
    for (int c = 0; c < CTLS; c++) {
        tell(c, what, which, mod, load);
    }
}

static int loaded(const void *value, size_t size)
{
    int load = load_new(size);
    memcpy(load_at(load), value, size);
    return load;
}

static void tell_permit(int proc)
{
    int load = loaded(&st.permit, sizeof st.permit);
    int64_t mod = st.permit_kv.create != 0 ? st.permit_kv.mod : 0;
    for (int p = 0; p < PROCS; p++) {
        if (proc < 0 || proc == p) {
            tell(p, WATCH_PERMIT, 0, mod, load);
        }
    }
    load_drop(load);
}

static void tell_group(int proc)
{
    int load = load_new(sizeof(struct roles_load));
    guard_roles(&st.group, st.group_kv.mod, load_at(load));
    for (int p = 0; p < PROCS; p++) {
        if (proc < 0 || proc == p) {
            tell(p, WATCH_GROUP, 0, st.group_kv.mod, p < CTLS ? 0 : load);
        }
    }
    load_drop(load);
}

static void tell_view(int of, int proc)
{
    int64_t mod = st.view_kv[of].create != 0 ? st.view_kv[of].mod : 0;
    int load = loaded(&st.views[of], sizeof st.views[of]);
    for (int c = 0; c < CTLS; c++) {
        if (c != of && (proc < 0 || proc == c)) {
            tell(c, WATCH_VIEW, of, mod, load);
        }
    }
    load_drop(load);
}

static void tell_guard(int node, int proc)
{
    int load = loaded(&st.guards[node], sizeof st.guards[node]);
    for (int c = 0; c < CTLS; c++) {
        if (proc < 0 || proc == c) {
            tell(c, WATCH_GUARD, node, st.guard_kv[node].mod, load);
        }
    }
    load_drop(load);
}

static void tell_renewal(int proc)
{
    int load = loaded(&st.renewal, sizeof st.renewal);
    for (int c = 0; c < CTLS; c++) {
        if (proc < 0 || proc == c) {
            tell(c, WATCH_RENEWAL, 0, st.renewal_kv.mod, load);
        }
    }
    load_drop(load);
}

void store_notify_all(int proc)
{
    tell_permit(proc);
    if (st.group_kv.create != 0) {
        tell_group(proc);
    }
    if (proc >= CTLS) {
        for (int c = 0; c < CTLS; c++) {
            if (st.view_kv[c].create != 0) {
                tell(proc, WATCH_API, c, st.view_kv[c].mod, 0);
            }
        }
        return;
    }
    for (int i = 0; i < INCIDENTS_KEPT; i++) {
        if (st.incidents[i].kv.create != 0) {
            tell(proc, WATCH_INCIDENT, i, st.incidents[i].kv.mod, 0);
        }
    }
    for (int r = 0; r < REQUESTS_KEPT; r++) {
        if (st.requests[r].kv.create != 0) {
            tell(proc, WATCH_REQUEST, r, st.requests[r].kv.mod, 0);
        }
    }
    for (int n = 0; n < NODES; n++) {
        if (st.guard_kv[n].create != 0) {
            tell_guard(n, proc);
        }
    }
    if (st.renewal_kv.create != 0) {
        tell_renewal(proc);
    }
    for (int c = 0; c < CTLS; c++) {
        tell_view(c, proc);
    }
    if (st.leader.create == 0) {
        tell(proc, WATCH_LEADER, 0, 0, 0);
    }
}

/* ---- leases and leadership ---- */

static void lease_due(int c, uint64_t until)
{
    push(&(struct ev){.at = until + 1,
                      .kind = EV_ST_LEASE,
                      .proc = NOBODY,
                      .from = NOBODY,
                      .to = NOBODY,
                      .a = c});
}

static void end_leader(void)
{
    st.leader.create = 0;
    trace("etcd: nobody leads");
    tell_ctls(WATCH_LEADER, 0, st.revision, 0);
}

void store_leader_gone(void)
{
    if (st.leader.create != 0) {
        st.revision++;
        end_leader();
    }
}

void store_on_lease(const struct ev *ev)
{
    int c = ev->a;
    if (st.down) {
        return;
    }
    bool ends = st.lease_until[c] != 0 && st.lease_until[c] <= w.now;
    bool leader_ends = st.leader.create != 0 && st.leader_of == c && st.leader_until <= w.now;
    bool view_ends = ends && st.view_kv[c].create != 0;
    st.revision += view_ends || leader_ends ? 1 : 0; /* one for all the keys that stand on it */
    if (ends) {
        st.lease_until[c] = 0;
        trace("etcd: the lease of c%d ends", c + 1);
    }
    if (view_ends) {
        st.view_kv[c] = (struct kv){0, st.revision};
        tell_view(c, NOBODY);
    }
    if (leader_ends) {
        end_leader();
    }
}

void store_leases_anew(void)
{
    for (int c = 0; c < CTLS; c++) {
        if (st.lease_until[c] != 0) {
            st.lease_until[c] = w.now + lease_us();
            lease_due(c, st.lease_until[c]);
        }
        if (st.leader.create != 0 && st.leader_of == c) {
            st.leader_until = w.now + lease_us();
            lease_due(c, st.leader_until);
        }
    }
}

void store_down(bool down)
{
    st.down = down;
    for (int p = 0; p < PROCS && down; p++) {
        lose_watch(p);
    }
    if (!down) {
        store_leases_anew();
    }
}

void store_on_up(const struct ev *ev)
{
    (void)ev;
    store_down(false);
}

void store_on_keepalive(const struct ev *ev)
{
    int c = ev->a;
    if (st.down) {
        return;
    }
    bool fresh = st.lease_until[c] == 0 || st.lease_life[c] != ev->life;
    if (fresh &&
        ev->b == 0) { /* of a lease that has ended: it is said so, and another is granted */
        st.lease_life[c] = ev->life;
    }
    st.lease_until[c] = w.now + lease_us();
    lease_due(c, st.lease_until[c]);
    if (st.leader.create != 0 && st.leader_of == c && st.leader_life == ev->life && !fresh) {
        st.leader_until = st.lease_until[c];
    }
    reply(c, ev->life, EV_CTL_ALIVE, &(struct ev){.n = ev->n, .b = fresh});
}

bool store_has_leader(int c)
{
    return st.leader.create != 0 && st.leader_of == c && st.leader.create == ctls[c].term;
}

void store_on_campaign(const struct ev *ev)
{
    int c = ev->a;
    bool leased = st.lease_until[c] != 0 && st.lease_life[c] == ev->life;
    bool own = st.leader.create != 0 && st.leader_of == c && st.leader_life == ev->life;
    if (st.down || !leased) {
        return;
    }
    if (own) {
        st.leader.create = 0; /* a lapsed term is given up for good */
    }
    if (st.leader.create != 0) {
        return;
    }
    st.leader.create = ++st.revision;
    st.leader_of = c;
    st.leader_life = ev->life;
    st.leader_until = st.lease_until[c];
    if (st.leader.create <= st.term_highest) {
        broken("S5: a term that does not grow");
    }
    st.term_highest = st.leader.create;
    reply(c, ev->life, EV_CTL_ELECTED, &(struct ev){.n = (uint64_t)st.leader.create, .m = ev->n});
}

void store_on_resign(const struct ev *ev)
{
    if (!st.down && st.leader.create == (int64_t)ev->n && st.leader_of == ev->a) {
        store_leader_gone();
    }
}

void store_on_view(const struct ev *ev)
{
    int c = ev->a;
    if (st.down || st.lease_until[c] == 0 || st.lease_life[c] != ev->life) {
        return;
    }
    memcpy(&st.views[c], load_at(ev->load), sizeof st.views[c]);
    w.rights[c].told = w.now;
    st.view_kv[c].mod = ++st.revision;
    if (st.view_kv[c].create == 0) {
        st.view_kv[c].create = st.revision;
        for (int n = 0; n < NODES; n++) {
            tell(E_NODE + n, WATCH_API, c, st.revision, 0);
        }
    }
    tell_view(c, NOBODY);
}

/* ---- a leader's saves ---- */

#define SAVE_LATE_MS 3000
struct saving {
    int64_t term;
    uint32_t ticket;
    int items_len;
    struct save_item items[SAVE_ITEMS_MAX];
    uint32_t offsets[SAVE_ITEMS_MAX];
};

static const void *record_of(const struct core *core, const struct save_item *item, size_t *size)
{
    switch (item->kind) {
    case SAVE_GROUP: *size = sizeof(struct group_record); return &core->groups[item->index].record;
    case SAVE_INCIDENT:
        *size = sizeof(struct incident_record);
        return &core->groups[item->index].incident;
    case SAVE_PERMIT:
        *size = sizeof(struct permit_record);
        return &core->databases[item->index].permit;
    default: *size = sizeof(struct request_record); return &core->requests[item->index].record;
    }
}

void store_save(int c, const struct effect *effect)
{
    const struct core *core = &ctls[c].core;
    struct saving saving = {
        .term = core->term, .ticket = effect->save.ticket, .items_len = effect->save.items_len};
    memcpy(saving.items, effect->save.items, sizeof saving.items);
    size_t at = (sizeof saving + 15) & ~(size_t)15;
    for (int i = 0; i < saving.items_len; i++) {
        size_t size;
        record_of(core, &saving.items[i], &size);
        saving.offsets[i] = (uint32_t)at;
        at = (at + size + 15) & ~(size_t)15;
    }
    int load = load_new(at);
    char *bytes = load_at(load);
    memcpy(bytes, &saving, sizeof saving);
    for (int i = 0; i < saving.items_len; i++) {
        size_t size;
        const void *record = record_of(core, &saving.items[i], &size);
        memcpy(bytes + saving.offsets[i], record, size);
    }
    ctls[c].ticket_sent = saving.ticket;
    post(c, E_ETCD, EV_ST_SAVE, 0, &(struct ev){.a = c, .life = w.procs[c].life, .load = load});
    after(c, EV_CTL_SAVE_LATE, SAVE_LATE_MS * MS, &(struct ev){.a = (int)saving.ticket});
}

static int slot_of(const struct save_item *item, const void *value)
{
    int oldest = 0;
    for (int i = 0; item->kind == SAVE_INCIDENT && i < INCIDENTS_KEPT; i++) {
        if (st.incidents[i].kv.create == 0 ||
            strcmp(st.incidents[i].value.id, ((const struct incident_record *)value)->id) == 0) {
            return i;
        }
        oldest = st.incidents[i].kv.mod < st.incidents[oldest].kv.mod ? i : oldest;
    }
    if (item->kind == SAVE_INCIDENT) {
        st.incidents[oldest].kv = (struct kv){0, 0};
        return oldest;
    }
    for (int r = 0; r < REQUESTS_KEPT; r++) {
        if (st.requests[r].kv.create != 0 &&
            strcmp(st.requests[r].value.id, ((const struct request_record *)value)->id) == 0) {
            return r;
        }
    }
    abort();
}

static struct kv *kv_of(const struct save_item *item, const void *value)
{
    switch (item->kind) {
    case SAVE_GROUP: return &st.group_kv;
    case SAVE_PERMIT: return &st.permit_kv;
    case SAVE_INCIDENT: return &st.incidents[slot_of(item, value)].kv;
    default: return &st.requests[slot_of(item, value)].kv;
    }
}

static void keep_permit(void)
{
    if (st.permits_len == PERMITS_KEPT) {
        memmove(&st.permits[0], &st.permits[1], sizeof st.permits - sizeof st.permits[0]);
        st.permits_len--;
    }
    st.permits[st.permits_len].value = st.permit;
    st.permits[st.permits_len++].mod = st.permit_kv.mod;
}

static void keep_roles(void)
{
    if (st.roles_len == ROLES_KEPT) {
        memmove(&st.roles[0], &st.roles[1], sizeof st.roles - sizeof st.roles[0]);
        st.roles_len--;
    }
    guard_roles(&st.group, st.group_kv.mod, &st.roles[st.roles_len].value);
    st.roles[st.roles_len++].mod = st.group_kv.mod;
}

void store_tells_old(int node, bool roles, int back)
{
    int len = roles ? st.roles_len : st.permits_len;
    int i = back < len ? len - 1 - back : 0;
    if (len == 0 || !w.procs[E_NODE + node].up) {
        return;
    }
    int load = roles ? loaded(&st.roles[i].value, sizeof st.roles[i].value)
                     : loaded(&st.permits[i].value, sizeof st.permits[i].value);
    post(E_ETCD, E_NODE + node, EV_G_NEWS, 0,
         &(struct ev){.a = roles ? WATCH_GROUP : WATCH_PERMIT,
                      .n = (uint64_t)(roles ? st.roles[i].mod : st.permits[i].mod),
                      .m = 0,
                      .b = -1,
                      .life = w.procs[E_NODE + node].life,
                      .load = load});
}

static void write_item(const struct save_item *item, const void *value)
{
    struct kv *kv = kv_of(item, value);
    int slot = item->kind == SAVE_INCIDENT || item->kind == SAVE_REQUEST ? slot_of(item, value) : 0;
    kv->mod = st.revision;
    kv->create = kv->create != 0 ? kv->create : st.revision;
    switch (item->kind) {
    case SAVE_GROUP:
        check_group_write(&st.group, value);
        memcpy(&st.group, value, sizeof st.group);
        keep_roles();
        tell_group(NOBODY);
        break;
    case SAVE_PERMIT:
        check_permit_write(value);
        memcpy(&st.permit, value, sizeof st.permit);
        keep_permit();
        trace("etcd: the permit %llu is %s %s", (unsigned long long)st.permit.epoch.counter,
              st.permit.state == PERMIT_GRANTED ? "granted to" : "revoked from", st.permit.node);
        tell_permit(NOBODY);
        break;
    case SAVE_INCIDENT:
        memcpy(&st.incidents[slot].value, value, sizeof(struct incident_record));
        tell_ctls(WATCH_INCIDENT, slot, kv->mod, 0);
        break;
    case SAVE_REQUEST:
        memcpy(&st.requests[slot].value, value, sizeof(struct request_record));
        break;
    }
}

static bool apply(const char *bytes)
{
    const struct saving *saving = (const struct saving *)(const void *)bytes;
    if (st.leader.create != saving->term || saving->term == 0) {
        return false;
    }
    for (int i = 0; i < saving->items_len; i++) {
        const struct kv *kv = kv_of(&saving->items[i], bytes + saving->offsets[i]);
        if ((kv->create == 0 ? 0 : kv->mod) != saving->items[i].revision) {
            trace("etcd: a save of kind %d knows %lld, it is %lld", (int)saving->items[i].kind,
                  (long long)saving->items[i].revision, (long long)kv->mod);
            return false;
        }
    }
    st.revision++;
    for (int i = 0; i < saving->items_len; i++) {
        write_item(&saving->items[i], bytes + saving->offsets[i]);
    }
    for (int i = 0; i < saving->items_len; i++) {
        if (saving->items[i].kind == SAVE_REQUEST) {
            rights_answer((const void *)(bytes + saving->offsets[i]));
        }
    }
    point(POINT_SAVED, st.leader_of);
    return true;
}

void store_on_save(const struct ev *ev)
{
    const struct saving *saving = load_at(ev->load);
    if (st.down) {
        return;
    }
    bool good = apply(load_at(ev->load));
    reply(ev->a, ev->life, EV_CTL_SAVED,
          &(struct ev){.a = (int)saving->ticket, .b = good ? 0 : 1, .n = (uint64_t)st.revision});
}

/* A leader first writes under its term. */
void store_on_read(const struct ev *ev)
{
    if (st.down) {
        return;
    }
    int good = 1;
    if (ev->b == 1) {
        good = st.leader.create == (int64_t)ev->n && st.leader_of == ev->a;
        st.revision += good;
    }
    reply(ev->a, ev->life, ev->b == 1 ? EV_CTL_LOADED : EV_CTL_BOOTED,
          &(struct ev){.b = good, .n = (uint64_t)st.revision, .m = ev->n});
}

/* ---- guards ---- */

static void reply_guard(int node, uint32_t life, enum ev_kind kind, const struct guard_reply *said)
{
    int load = load_new(sizeof *said);
    struct guard_reply *reply_load = load_at(load);
    *reply_load = *said;
    if (st.permit_kv.create != 0) {
        reply_load->permit_revision = st.permit_kv.mod;
        reply_load->permit = st.permit;
    }
    reply(E_NODE + node, life, kind, &(struct ev){.load = load});
}

void store_on_renew(const struct ev *ev)
{
    const struct renew_load *said = load_at(ev->load);
    if (st.down) {
        return;
    }
    bool good = st.permit_kv.create != 0 && st.permit_kv.mod == said->permit_revision &&
                (st.renewal_kv.create == 0 ? 0 : st.renewal_kv.mod) == said->heartbeat;
    if (good) {
        st.renewal_kv.mod = ++st.revision;
        st.renewal_kv.create = st.renewal_kv.create != 0 ? st.renewal_kv.create : st.revision;
        st.renewal = said->record;
        struct accepted *accepted = &st.accepted[ev->a];
        accepted->permit_revision = said->permit_revision;
        memcpy(accepted->boot, said->record.boot, sizeof accepted->boot);
        accepted->armed = said->record.armed;
        accepted->epoch = said->record.epoch;
        tell_renewal(NOBODY);
        point(POINT_RENEWED, E_NODE + ev->a);
    }
    reply_guard(ev->a, ev->life, EV_G_RENEWED,
                &(struct guard_reply){.id = said->id,
                                      .accepted = good,
                                      .revision = st.revision,
                                      .own = st.renewal_kv.create == 0 ? 0 : st.renewal_kv.mod,
                                      .sent_ms = said->sent_ms});
}

void store_on_report(const struct ev *ev)
{
    const struct report_load *said = load_at(ev->load);
    struct kv *kv = &st.guard_kv[ev->a];
    if (st.down) {
        return;
    }
    bool good = (kv->create == 0 ? 0 : kv->mod) == said->kv;
    if (good) {
        kv->mod = ++st.revision;
        kv->create = kv->create != 0 ? kv->create : st.revision;
        st.guards[ev->a] = said->record;
        w.reported[ev->a] = w.now;
        tell_guard(ev->a, NOBODY);
        point(POINT_REPORTED, E_NODE + ev->a);
    }
    reply_guard(ev->a, ev->life, EV_G_REPORTED,
                &(struct guard_reply){
                    .id = said->id, .accepted = good, .revision = st.revision, .own = kv->mod});
    if (st.group_kv.create != 0 && linked(E_ETCD, E_NODE + ev->a)) {
        tell_group(E_NODE + ev->a); /* the answer brings the roles along */
    }
}

void store_on_guard_read(const struct ev *ev)
{
    if (!st.down) {
        reply(E_NODE + ev->a, ev->life, EV_G_READ, &(struct ev){.a = 0});
    }
}

/* ---- people ---- */

void store_ask(enum request_kind kind, int node, const char *why)
{
    for (int r = 0; r < REQUESTS_KEPT; r++) {
        struct request_record *request = &st.requests[r].value;
        if (st.requests[r].kv.create != 0 && request->state != REQUEST_DONE &&
            request->state != REQUEST_REFUSED) {
            continue;
        }
        memset(request, 0, sizeof *request);
        snprintf(request->id, sizeof request->id, "r%d", ++w.requests);
        request->kind = kind;
        snprintf(request->group, sizeof request->group, "%s", def.groups[0].name);
        if (kind != REQUEST_PAUSE && kind != REQUEST_RESUME) {
            snprintf(request->database, sizeof request->database, "%s", def.databases[0].name);
        }
        if (node >= 0) {
            snprintf(request->node, sizeof request->node, "%s", node_name(node));
        }
        snprintf(request->who, sizeof request->who, "ops");
        snprintf(request->reason, sizeof request->reason, "%s", why);
        request->asked_wall_ms = wall_ms(0);
        st.revision++;
        st.requests[r].kv = (struct kv){st.revision, st.revision};
        trace("a person asks: %s %s", request_kind_names[kind], request->node);
        tell_ctls(WATCH_REQUEST, r, st.revision, 0);
        return;
    }
}

const struct move_record *store_move(void)
{
    for (int m = 0; m < st.group.workflow.moves_len && st.group.moving; m++) {
        if (strcmp(st.group.workflow.moves[m].database, def.databases[0].name) == 0) {
            return &st.group.workflow.moves[m];
        }
    }
    return NULL;
}
