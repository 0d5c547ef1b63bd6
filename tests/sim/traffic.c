/*
 * traffic.c - power, watchdogs and fence devices; proxies; clients.
 *
 * A fence agent is a child of its controller, and ends with it, most of the time. Clients write one
 * row after the other: most by a proxy, one by the address that last took a write, for as long as
 * that answers. What was acknowledged to one is remembered at its place in history (struct line).
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define CLIENT_LATE_MS 2000

/* ---- machines ---- */

void node_power(int node, bool on)
{
    struct node *machine = &w.nodes[node];
    if (machine->on == on) {
        return;
    }
    trace("%s is %s", node_name(node), on ? "on" : "off");
    if (on) {
        machine->on = true;
        machine->boots++;
        guards[node].kept.known = false; /* of another boot */
        after(NOBODY, EV_G_START, 200 * MS, &(struct ev){.a = node});
        return;
    }
    guard_crash(node);
    pg_signal_kill(node);
    machine->on = false;
    machine->armed = false;
    machine->arming++;
    w.pgs[node].left = false;
    w.pgs[node].stuck = false;
    w.pgs[node].hung_until = 0;
}

void node_on_off(const struct ev *ev)
{
    node_power(ev->a, false);
}

void node_on_on(const struct ev *ev)
{
    node_power(ev->a, true);
}

void node_on_watchdog(const struct ev *ev)
{
    struct node *node = &w.nodes[ev->a];
    if (!node->on || !node->armed || node->arming != ev->n) {
        return;
    }
    uint64_t due = node->fed + node->period_ms * MS;
    if (w.now < due) {
        after(NOBODY, EV_NODE_WATCHDOG, due - w.now, ev);
        return;
    }
    trace("the watchdog resets %s", node_name(ev->a));
    check_watchdog(ev->a);
    node_power(ev->a, false);
    after(NOBODY, EV_NODE_ON, rnd_in(RNG_MODEL, 5 * SEC, 20 * SEC), &(struct ev){.a = ev->a});
}

/* ---- fencing ---- */

static bool cancelled(const struct ctl *ctl, uint32_t step)
{
    bool is = step <= ctl->cancelled_below;
    for (int i = 0; i < CANCELLED_MAX; i++) {
        is = is || ctl->cancelled[i] == step;
    }
    return is;
}

void ctl_fence(int c, const struct effect *effect)
{
    int node = effect->fence.node;
    int agent = w.nodes[node].agent;
    uint64_t took = rnd_in(RNG_MODEL, 100 * MS, 800 * MS);
    uint64_t now = local_ms(c);
    uint64_t most = effect->deadline_ms > now ? (effect->deadline_ms - now) * MS : MS;
    struct ev ev = {.a = node, .b = FENCED_PROVEN, .n = effect->step};
    if (!ctl_may_act(c)) {
        ev.b = FENCED_REFUSED;
        after(c, EV_CTL_FENCED, MS, &ev);
        return;
    }
    check_fence(c, effect);
    trace("%s fences %s", ctls[c].core.id, node_name(node));
    if (agent == AGENT_WORKS || agent == AGENT_DOUBTS) {
        /* Once asked for it happens, whatever becomes of who asked; or it ends with him before. */
        int proc = chance(RNG_MODEL, 50) ? c : NOBODY;
        after(proc, EV_NODE_OFF, took / 2, &(struct ev){.a = node});
    }
    ev.b = agent == AGENT_WORKS || agent == AGENT_LIES ? FENCED_PROVEN
           : agent == AGENT_REFUSES                    ? FENCED_REFUSED
                                                       : FENCED_UNKNOWN;
    after(c, EV_CTL_FENCED, agent == AGENT_HANGS || took > most ? most : took, &ev);
}

void ctl_on_fenced(const struct ev *ev)
{
    int c = ev->proc;
    if (cancelled(&ctls[c], (uint32_t)ev->n)) {
        return;
    }
    struct core_event event;
    memset(&event, 0, sizeof event);
    event.type = EV_FENCE_DONE;
    event.fence.step = (uint32_t)ev->n;
    event.fence.outcome = (enum fence_outcome)ev->b;
    event.fence.evidence = EVIDENCE_AGENT;
    if (ev->b == FENCED_PROVEN && w.nodes[ev->a].on && w.nodes[ev->a].agent != AGENT_LIES) {
        event.fence.outcome = FENCED_UNKNOWN; /* it is on again: the status says so */
    }
    snprintf(event.fence.detail, sizeof event.fence.detail, "as the model says");
    ctl_pump(c, &event);
}

/* ---- proxies ---- */

struct routing {
    int len;
    struct route_wish wishes[ROUTES_MAX];
};

void ctl_routes(int c, const struct effect *effect)
{
    int load = load_new(sizeof(struct routing));
    struct routing *routing = load_at(load);
    int p = effect->routes.proxy;
    check_wishes(c, effect);
    routing->len = effect->routes.wishes_len;
    memcpy(routing->wishes, effect->routes.wishes, sizeof routing->wishes);
    post(c, E_PROXY + p, EV_PROXY_SET, 0,
         &(struct ev){.a = c, .b = p, .n = effect->step, .life = w.procs[c].life, .load = load});
    load_keep(load);
    uint64_t now = local_ms(c);
    uint64_t most = effect->deadline_ms > now ? (effect->deadline_ms - now) * MS : MS;
    after(c, EV_CTL_ROUTED, most, &(struct ev){.a = p, .b = 0, .n = effect->step, .load = load});
}

static void set_proxy(int p, int open)
{
    struct proxy *proxy = &w.proxies[p];
    int was = proxy->open;
    if (was == open) {
        return;
    }
    proxy->open = open;
    for (int c = 0; c < CLIENTS; c++) { /* sessions of a server that is closed end */
        if (w.clients[c].proxy == p && !w.clients[c].direct) {
            w.clients[c].on = NOBODY;
            w.clients[c].waiting = false;
        }
    }
    trace("%s sends traffic %s%s", def.proxies[p].name, open >= 0 ? "to " : "nowhere",
          open >= 0 ? node_name(open) : "");
    check_proxy(p, was);
    point(POINT_ROUTED, NOBODY);
}

void proxy_set_by_hand(int p, int open)
{
    w.proxies_by_hand = true;
    set_proxy(p, open);
}

/* Its driver asks right before it acts whether it may. */
void proxy_on_set(const struct ev *ev)
{
    const struct routing *routing = load_at(ev->load);
    int p = ev->b;
    if (w.proxies[p].silent) {
        return;
    }
    bool may = w.procs[ev->a].up && w.procs[ev->a].life == ev->life && ctl_may_act(ev->a) &&
               !cancelled(&ctls[ev->a], (uint32_t)ev->n);
    for (int i = 0; i < routing->len && may; i++) {
        if (w.proxies[p].open != routing->wishes[i].open && w.proxies[p].open >= 0) {
            set_proxy(p, NOBODY);
        }
        set_proxy(p, routing->wishes[i].open);
    }
    load_keep(ev->load);
    post(E_PROXY + p, ev->a, EV_CTL_ROUTED, 0,
         &(struct ev){.a = p,
                      .b = 1 + w.proxies[p].open + 1,
                      .n = ev->n,
                      .life = ev->life,
                      .load = ev->load});
}

void ctl_on_routed(const struct ev *ev)
{
    int c = ev->proc;
    const struct routing *routing = load_at(ev->load);
    if (cancelled(&ctls[c], (uint32_t)ev->n)) {
        return;
    }
    if (ctls[c].core.proxy_steps[ev->a] != ev->n) {
        return; /* answered before */
    }
    struct core_event event;
    memset(&event, 0, sizeof event);
    event.type = EV_ROUTES_DONE;
    event.routes.step = (uint32_t)ev->n;
    event.routes.proxy = ev->a;
    event.routes.answered = ev->b != 0;
    event.routes.results_len = routing->len;
    for (int i = 0; i < routing->len; i++) {
        int open = ev->b != 0 ? ev->b - 2 : -2;
        event.routes.results[i].route = routing->wishes[i].route;
        event.routes.results[i].open_seen = open;
        event.routes.results[i].confirmed = ev->b != 0 && open == routing->wishes[i].open;
        snprintf(event.routes.results[i].error, sizeof event.routes.results[i].error, "%s",
                 ev->b != 0 ? "" : "no connection");
    }
    ctl_pump(c, &event);
}

/* ---- clients ---- */

static void send_write(int c)
{
    struct client *client = &w.clients[c];
    client->write = ++w.writes;
    client->waiting = true;
    after(NOBODY, EV_CLIENT_LATE, CLIENT_LATE_MS * MS, &(struct ev){.a = c, .n = client->write});
    if (client->direct) {
        client->on = client->on >= 0 ? client->on : (int)rnd_in(RNG_WORK, 0, NODES);
        post(E_CLIENT, E_NODE + client->on, EV_PG_WRITE, 0,
             &(struct ev){.a = c, .b = client->on, .n = client->write});
    } else {
        post(E_CLIENT, E_PROXY + client->proxy, EV_PROXY_WRITE, 0,
             &(struct ev){.a = c, .b = client->proxy, .n = client->write});
    }
}

/* A session stays where it is; a new one goes where the proxy sends it. */
void proxy_on_write(const struct ev *ev)
{
    struct client *client = &w.clients[ev->a];
    if (client->write != ev->n || !client->waiting) {
        return;
    }
    if (client->on < 0) {
        client->on = w.proxies[ev->b].open;
        client->pg_life = client->on >= 0 ? w.pgs[client->on].life : 0;
    }
    if (client->on >= 0) {
        post(E_PROXY + ev->b, E_NODE + client->on, EV_PG_WRITE, 0,
             &(struct ev){.a = ev->a, .b = client->on, .n = ev->n, .m = (uint64_t)ev->b + 1});
    }
}

void client_on_write(const struct ev *ev)
{
    struct client *client = &w.clients[ev->a];
    if (!client->waiting) {
        send_write(ev->a);
    }
    after(NOBODY, EV_CLIENT_WRITE, rnd_in(RNG_WORK, 150 * MS, 450 * MS), ev);
}

void client_on_ack(const struct ev *ev)
{
    struct client *client = &w.clients[ev->a];
    if (!client->waiting || client->write != ev->n) {
        return; /* its session has ended: unknown */
    }
    client->waiting = false;
    if (ev->b < 0) {
        client->on = NOBODY; /* refused, or read-only */
        if (!client->direct) {
            client->proxy = (client->proxy + 1) % PROXIES;
        }
        return;
    }
    w.acked_all++;
    w.last_ack = w.now;
    if (!client->direct) {
        w.last_routed_ack = w.now;
    }
    check_ack(ev->life >> 1, ev->m, (ev->life & 1) != 0);
}

void client_on_late(const struct ev *ev)
{
    struct client *client = &w.clients[ev->a];
    if (client->waiting && client->write == ev->n) {
        client->waiting = false;
        if (client->on >= 0) {
            pg_give_up(client->on, WAIT_CLIENT, ev->a, ev->n);
        }
        client->on = NOBODY;
        if (!client->direct) {
            client->proxy = (client->proxy + 1) % PROXIES;
        }
    }
}

void traffic_start(void)
{
    for (int c = 0; c < CLIENTS; c++) {
        w.clients[c] = (struct client){.direct = c == CLIENTS - 1, .on = NOBODY, .proxy = c % 2};
        after(NOBODY, EV_CLIENT_WRITE, rnd_in(RNG_WORK, 0, 400 * MS), &(struct ev){.a = c});
    }
}
