/*
 * faults.c - what can happen, the plan of a seed, and lists of faults as text.
 *
 * A line is a variant, then faults:
 *
 *     strict core=1 faults=20.000 ppm=0,300,-9000,0,0; @saved#3+0.002 leader-crash for 1.5; 4.2
 * pg-hang -1 for 9
 *
 * A fault is when, what, up to two numbers, and for how long. When: seconds since the faults began,
 * or `@POINT#N+DELAY`. An instance of -1 is the one that holds the permit at that moment, -2 a
 * standby.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define X(id, name) name,
const char *const fault_names[] = {FAULT_LIST(X) NULL};
#undef X

struct point_seen points_seen[POINTS_SEEN_MAX];
int points_seen_len;

/* ---- what happens ---- */

static int holder(void)
{
    for (int n = 0; n < NODES; n++) {
        if (st.permit_kv.create != 0 && strcmp(st.permit.node, node_name(n)) == 0) {
            return n;
        }
    }
    return 0;
}

static int instance(int a)
{
    int n = holder();
    return a == -1 ? n : a == -2 ? (n + 1) % NODES : a % NODES;
}

static int end_of(int a)
{
    return a < 0 ? E_NODE + instance(a) : a % ENDS;
}

static int leader(int a)
{
    int c = ctl_leading();
    return c >= 0 ? c : a % CTLS;
}

static void pause_proc(int proc, uint64_t us)
{
    uint64_t until = w.now + us;
    w.procs[proc].paused_until =
        until > w.procs[proc].paused_until ? until : w.procs[proc].paused_until;
}

static void cut_off(int end, int by, bool in, bool out)
{
    for (int other = 0; other < ENDS; other++) {
        link_cut(end, other, out ? by : 0);
        link_cut(other, end, in ? by : 0);
    }
}

static void split(int bits, int by)
{
    for (int a = 0; a < ENDS; a++) {
        for (int b = 0; b < ENDS; b++) {
            if (((bits >> a) & 1) != ((bits >> b) & 1)) {
                link_cut(a, b, by);
            }
        }
    }
}

static void ask(int kind, int node)
{
    static const enum request_kind kinds[] = {REQUEST_FAILOVER,      REQUEST_PAUSE,
                                              REQUEST_RESUME,        REQUEST_WORKFLOW_RETRY,
                                              REQUEST_WORKFLOW_SKIP, REQUEST_WORKFLOW_ABANDON,
                                              REQUEST_CONFIRM_FENCED};
    enum request_kind of = kinds[(unsigned)kind % 7];
    const struct move_record *move = store_move();
    if (of == REQUEST_CONFIRM_FENCED) { /* a person looks before he says so */
        int n = move == NULL ? NOBODY : instance(node);
        for (int i = 0; i < NODES && move != NULL; i++) {
            n = strcmp(move->fence_node, node_name(i)) == 0 ? i : n;
        }
        if (n < 0 || pg_runs(n) || w.nodes[n].on) {
            return;
        }
        store_ask(of, n, "it is off, I stand before it");
        return;
    }
    store_ask(of, of == REQUEST_FAILOVER && node >= 0 ? node % NODES : NOBODY, "trying");
}

static void count_triple(const struct fault *f)
{
    switch (f->kind) {
    case FAULT_CUT: triples_count(f->kind, end_of(f->a), end_of(f->b)); break;
    case FAULT_PART:
    case FAULT_SLOW: triples_count(f->kind, end_of(f->a), 0); break;
    case FAULT_CTL_CRASH:
    case FAULT_CTL_PAUSE: triples_count(f->kind, f->a % CTLS, 0); break;
    case FAULT_STORE_LOSES:
    case FAULT_WALL:
    case FAULT_WATCH: triples_count(f->kind, f->a % PROCS, 0); break;
    default: triples_count(f->kind, instance(f->a), 0); break;
    }
}

/* Sets f->a to what it means now, for its end. */
static void begin(struct fault *f)
{
    int i;
    switch (f->kind) {
    case FAULT_PG_CRASH: pg_signal_kill(instance(f->a)); break;
    case FAULT_PG_HANG:
        i = f->a = instance(f->a);
        if (w.pgs[i].state != PG_DOWN) {
            w.pgs[i].hung_until = w.now + f->dur;
        }
        break;
    case FAULT_PG_STUCK:
        f->a = instance(f->a);
        w.pgs[f->a].stuck = w.nodes[f->a].on;
        break;
    case FAULT_PG_SHUTDOWN: pg_signal_int(instance(f->a)); break;
    case FAULT_PG_PROMOTE:
        i = instance(f->a);
        if (pg_works(i) && !w.pgs[i].primary) {
            w.by_hand = true;
            after(NOBODY, EV_PG_PROMOTE, 10, &(struct ev){.a = i, .life = w.pgs[i].life});
        }
        break;
    case FAULT_PG_START:
        i = instance(f->a);
        if (w.nodes[i].on && !pg_runs(i)) {
            w.by_hand = true;
            pg_start(i, !w.pgs[i].signal);
        }
        break;
    case FAULT_NODE_OFF:
    case FAULT_NODE_RESET:
        f->a = instance(f->a);
        node_power(f->a, false);
        break;
    case FAULT_GUARD_CRASH:
        f->a = instance(f->a);
        guard_crash(f->a);
        break;
    case FAULT_GUARD_PAUSE: pause_proc(E_NODE + instance(f->a), f->dur); break;
    case FAULT_LEADER_CRASH:
        f->a = leader(f->a);
        ctl_crash(f->a);
        break;
    case FAULT_CTL_CRASH:
        f->a = f->a % CTLS;
        ctl_crash(f->a);
        break;
    case FAULT_LEADER_PAUSE: pause_proc(leader(f->a), f->dur); break;
    case FAULT_CTL_PAUSE: pause_proc(f->a % CTLS, f->dur); break;
    case FAULT_CUT:
        f->a = end_of(f->a);
        f->b = end_of(f->b);
        link_cut(f->a, f->b, 1);
        break;
    case FAULT_PART:
        f->a = end_of(f->a);
        cut_off(f->a, 1, f->b != 1, f->b != 2);
        break;
    case FAULT_SPLIT: split(f->a, 1); break;
    case FAULT_SLOW: w.slow_until[end_of(f->a)] = w.now + f->dur; break;
    case FAULT_STORE_DOWN:
        if (!st.down) {
            store_down(true);
        }
        break;
    case FAULT_STORE_LOSES: st.lose_answer[f->a % PROCS] += f->b; break;
    case FAULT_LEASE_EARLY:
        i = leader(f->a);
        w.lease_early = true;
        st.lease_until[i] = st.lease_until[i] != 0 ? w.now : 0;
        if (st.leader.create != 0 && st.leader_of == i) {
            st.leader_until = w.now;
        }
        after(NOBODY, EV_ST_LEASE, 1, &(struct ev){.a = i});
        break;
    case FAULT_STORE_RESTART: store_leases_anew(); break;
    case FAULT_AGENT: w.nodes[instance(f->a)].agent = f->b % 5; break;
    case FAULT_PROXY_FORGETS:
        proxy_set_by_hand(f->a % PROXIES, NOBODY);
        proxy_set_by_hand(f->a % PROXIES, 0);
        break;
    case FAULT_PROXY_SILENT: w.proxies[f->a % PROXIES].silent = true; break;
    case FAULT_LAG: w.pgs[instance(f->a)].lag_until = w.now + f->dur; break;
    case FAULT_REPLAY: w.pgs[instance(f->a)].replay_until = w.now + f->dur; break;
    case FAULT_SLOW_DISK: w.nodes[instance(f->a)].slow_disk_until = w.now + f->dur; break;
    case FAULT_WALSENDER:
        f->a = instance(f->a);
        w.pgs[f->a].senders[instance(f->b)].stuck = true;
        break;
    case FAULT_WALL:
        w.clocks[f->a % PROCS].wall_ms += (int64_t)f->b * 1000;
        w.wall_jumped = true;
        break;
    case FAULT_WATCH: w.stall_until[f->a % PROCS] = w.now + f->dur; break;
    case FAULT_REQUEST: ask(f->a, f->b); break;
    case FAULT_BUSY:
        i = instance(f->a);
        w.busy_since[i] = w.now;
        w.busy_until[i] = w.now + f->dur;
        break;
    case FAULT_NAMES:
        i = instance(f->a);
        if (pg_works(i)) {
            w.pgs[i].file_names = (struct names){0};
            w.names_by_hand[i] = w.now;
            pg_reload(i);
        }
        break;
    case FAULT_DOG: w.nodes[instance(f->a)].no_dog = true; break;
    case FAULT_BURST:
        i = instance(f->a);
        if (pg_works(i) && w.pgs[i].primary) {
            pg_wait(i, &(struct waiter){.lsn = pg_append(i, (uint64_t)f->b << 20),
                                        .kind = WAIT_NOBODY});
        }
        break;
    case FAULT_STALE: store_tells_old(instance(f->a), false, f->b); break;
    case FAULT_STALE_ROLES: store_tells_old(instance(f->a), true, f->b); break;
    case FAULT_DOG_LOST: guard_dog_lost(instance(f->a), f->dur); break;
    default: break;
    }
}

static void end(const struct fault *f)
{
    switch (f->kind) {
    case FAULT_PG_STUCK:
        w.pgs[f->a].stuck = false;
        w.pgs[f->a].left = false;
        break;
    case FAULT_NODE_OFF:
    case FAULT_NODE_RESET: node_power(f->a, true); break;
    case FAULT_GUARD_CRASH: guard_start(f->a); break;
    case FAULT_CTL_CRASH:
    case FAULT_LEADER_CRASH: ctl_start(f->a); break;
    case FAULT_CUT: link_cut(f->a, f->b, -1); break;
    case FAULT_PART: cut_off(f->a, -1, f->b != 1, f->b != 2); break;
    case FAULT_SPLIT: split(f->a, -1); break;
    case FAULT_STORE_DOWN: store_down(false); break;
    case FAULT_AGENT: w.nodes[instance(f->a)].agent = AGENT_WORKS; break;
    case FAULT_PROXY_SILENT: w.proxies[f->a % PROXIES].silent = false; break;
    case FAULT_WALSENDER:
        for (int s = 0; s < NODES; s++) {
            w.pgs[f->a].senders[s].stuck = false;
        }
        break;
    default: break;
    }
}

static void strike(struct fault *f)
{
    if (f->done || w.faults_over) {
        return;
    }
    f->done = true;
    w.calm_since = w.now;
    trace("FAULT %s %d %d for %.3f", fault_names[f->kind], f->a, f->b, (double)f->dur / 1e6);
    w.struck |= UINT64_C(1) << f->kind;
    count_triple(f);
    begin(f);
    if (f->dur != 0) {
        after(NOBODY, EV_FAULT_ENDS, f->dur, &(struct ev){.a = (int)(f - plan.faults)});
    }
}

void fault_on_due(const struct ev *ev)
{
    strike(&plan.faults[ev->a]);
}

void fault_on_ends(const struct ev *ev)
{
    if (!w.faults_over) {
        w.calm_since = w.now;
        trace("FAULT %s ends", fault_names[plan.faults[ev->a].kind]);
        end(&plan.faults[ev->a]);
    }
}

void faults_point(enum point of, int proc)
{
    (void)proc;
    if (w.sim_phase != PHASE_FAULTS) {
        return;
    }
    if (points_seen_len < POINTS_SEEN_MAX) {
        points_seen[points_seen_len++] = (struct point_seen){.point = (int)of,
                                                             .nth = (int)w.point_count[of],
                                                             .step = triples_step(),
                                                             .at = w.now - w.phase_since};
    }
    for (int i = 0; i < plan.len; i++) {
        struct fault *f = &plan.faults[i];
        if (f->point != (int)of || f->done || w.point_count[of] != (uint64_t)f->nth) {
            continue;
        }
        if (f->at == 0) {
            strike(f); /* between two effects of one step */
        } else {
            after(NOBODY, EV_FAULT, f->at, &(struct ev){.a = i});
        }
    }
}

void faults_start(void)
{
    for (int p = 0; p < PROCS; p++) {
        clock_rate(p, plan.ppm[p]);
    }
    memset(w.point_count, 0, sizeof w.point_count);
    points_seen_len = 0;
    for (int i = 0; i < plan.len; i++) {
        plan.faults[i].done = false;
        if (plan.faults[i].point < 0) {
            after(NOBODY, EV_FAULT, plan.faults[i].at, &(struct ev){.a = i});
        }
    }
}

/* ---- healing ---- */

static void heal_end(int end_)
{
    for (int other = 0; other < ENDS; other++) {
        w.cut[end_][other] = 0;
        w.cut[other][end_] = 0;
    }
    w.slow_until[end_] = 0;
}

static void heal_proc(int proc)
{
    queue_hurry(w.procs[proc].paused_until);
    w.procs[proc].paused_until = w.now;
    w.stall_until[proc] = 0;
    st.lose_answer[proc] = 0;
}

static void heal_node(int n)
{
    w.nodes[n].agent = AGENT_WORKS;
    w.nodes[n].slow_disk_until = 0;
    w.nodes[n].no_dog = false;
    w.busy_until[n] = 0;
    w.nodes[n].dog_lost_until = 0;
    w.pgs[n].stuck = false;
    w.pgs[n].left = false;
    w.pgs[n].lag_until = 0;
    w.pgs[n].replay_until = 0;
    queue_hurry(w.pgs[n].hung_until);
    w.pgs[n].hung_until = w.pgs[n].hung_until > w.now ? w.now : w.pgs[n].hung_until;
    for (int s = 0; s < NODES; s++) {
        w.pgs[n].senders[s].stuck = false;
    }
    heal_proc(E_NODE + n);
    if (!w.nodes[n].on) {
        node_power(n, true);
    }
    guard_start(n);
}

static void heal_store(void)
{
    if (st.down) {
        store_down(false);
    }
    memset(st.lose_answer, 0, sizeof st.lose_answer);
    heal_end(E_ETCD);
}

/* etcd, one controller, one proxy, and every node but a primary that does not serve. What is cut
 * between that one and the rest stays so, and nothing ends of itself that was to end. */
void faults_heal_core(void)
{
    int victim = holder();
    bool serves = pg_can_ack(victim) && linked_both(plan.core, E_NODE + victim) &&
                  linked_both(E_NODE + victim, E_ETCD) && linked_both(E_PROXY, E_NODE + victim) &&
                  w.procs[E_NODE + victim].up && !is_paused(E_NODE + victim);
    int8_t cut[ENDS][ENDS];
    memcpy(cut, w.cut, sizeof cut);
    w.faults_over = true;
    w.calm_since = w.now;
    heal_store();
    heal_proc(plan.core);
    heal_end(plan.core);
    heal_end(E_PROXY);
    heal_end(E_CLIENT);
    w.proxies[0].silent = false;
    ctl_start(plan.core);
    for (int n = 0; n < NODES; n++) {
        if (n != victim || serves) {
            heal_node(n);
            heal_end(E_NODE + n);
        }
    }
    for (int end_ = 0; end_ < ENDS && !serves; end_++) {
        w.cut[E_NODE + victim][end_] = cut[E_NODE + victim][end_];
        w.cut[end_][E_NODE + victim] = cut[end_][E_NODE + victim];
    }
    bool reached = false; /* by a controller: then that its traffic is cut off is no failure */
    for (int c = 0; c < CTLS; c++) {
        reached = reached || (w.procs[c].up && linked_both(c, E_NODE + victim));
    }
    if (reached) {
        for (int end_ = E_PROXY; end_ < ENDS; end_++) {
            w.cut[E_NODE + victim][end_] = 0;
            w.cut[end_][E_NODE + victim] = 0;
        }
    }
    if (!serves && w.pgs[victim].hung_until > w.now) {
        w.pgs[victim].hung_until = w.now + 3600 * SEC;
    }
    if (!serves && is_paused(E_NODE + victim)) {
        w.procs[E_NODE + victim].paused_until = w.now + 3600 * SEC;
    }
    w.victim = serves ? NOBODY : victim;
    trace("HEALED: the core around c%d%s%s", plan.core + 1, serves ? "" : ", not ",
          serves ? "" : node_name(victim));
}

void faults_heal_all(void)
{
    w.faults_over = true;
    w.calm_since = w.now;
    trace("HEALED: everything");
    heal_store();
    for (int end_ = 0; end_ < ENDS; end_++) {
        heal_end(end_);
    }
    for (int n = 0; n < NODES; n++) {
        heal_node(n);
    }
    for (int c = 0; c < CTLS; c++) {
        heal_proc(c);
        ctl_start(c);
    }
    for (int p = 0; p < PROXIES; p++) {
        w.proxies[p].silent = false;
    }
}

/* ---- the plan of a seed ---- */

static uint64_t some(uint64_t from, uint64_t to)
{
    return rnd_in(RNG_PLAN, from, to);
}

static int some_instance(void)
{
    uint64_t of = some(0, 10);
    return of < 5 ? -1 : of < 7 ? -2 : (int)some(0, NODES);
}

static uint64_t some_time(void)
{
    static const uint64_t scales[] = {20 * MS, 200 * MS, 2 * SEC, 8 * SEC, 30 * SEC};
    return some(1 * MS, scales[some(0, 5)]);
}

static void fill(struct fault *f)
{
    switch (f->kind) {
    case FAULT_CUT:
        f->a = some(0, 3) == 0 ? -1 : (int)some(0, ENDS);
        f->b = some(0, 3) == 0 ? -1 : (int)some(0, ENDS);
        break;
    case FAULT_PART:
        f->a = some(0, 2) == 0 ? some_instance() : (int)some(0, ENDS);
        f->b = (int)some(0, 3);
        break;
    case FAULT_SPLIT: f->a = (int)some(1, 1 << ENDS); break;
    case FAULT_SLOW: f->a = (int)some(0, ENDS); break;
    case FAULT_CTL_CRASH:
    case FAULT_CTL_PAUSE:
    case FAULT_LEADER_CRASH:
    case FAULT_LEADER_PAUSE:
    case FAULT_LEASE_EARLY: f->a = (int)some(0, CTLS); break;
    case FAULT_STORE_LOSES:
        f->a = (int)some(0, PROCS);
        f->b = (int)some(1, 4);
        break;
    case FAULT_AGENT:
        f->a = some_instance();
        f->b = (int)some(1, 4);
        break;
    case FAULT_PROXY_FORGETS:
    case FAULT_PROXY_SILENT: f->a = (int)some(0, PROXIES); break;
    case FAULT_WALSENDER:
        f->a = -1;
        f->b = (int)some(0, NODES);
        break;
    case FAULT_WALL:
        f->a = (int)some(0, PROCS);
        f->b = (int)some(0, 7200) - 3600;
        break;
    case FAULT_WATCH: f->a = (int)some(0, PROCS); break;
    case FAULT_REQUEST:
        f->a = (int)some(0, 7);
        f->b = (int)some(0, 4) - 1;
        break;
    default: f->a = some_instance(); break;
    }
}

static void add(enum fault_kind kind, bool attracted)
{
    struct fault *f = &plan.faults[plan.len++];
    memset(f, 0, sizeof *f);
    f->kind = kind;
    f->point = -1;
    f->at = some(100 * MS, plan.faults_us * 3 / 4);
    f->dur = some_time();
    if (attracted) {
        f->point = (int)some(0, POINTS);
        f->nth = (int)some(1, some(0, 3) == 0 ? 30 : 6);
        f->at = some(0, 3) == 0 ? 0 : some(0, some(0, 2) == 0 ? 50 * MS : 3 * MS);
    }
    fill(f);
}

/* What a primary dies of. */
static const enum fault_kind trouble[] = {FAULT_PG_CRASH,    FAULT_PG_HANG,    FAULT_NODE_OFF,
                                          FAULT_PART,        FAULT_NODE_RESET, FAULT_GUARD_PAUSE,
                                          FAULT_GUARD_CRASH, FAULT_PG_STUCK,   FAULT_PG_SHUTDOWN};

void plan_of_seed(uint64_t seed)
{
    memset(&plan, 0, sizeof plan);
    plan.seed = (int64_t)seed;
    plan.variant = (int)(seed % VARIANTS);
    plan.faults_us = some(4 * SEC, some(0, 4) == 0 ? 45 * SEC : 18 * SEC);
    plan.core = (int)some(0, CTLS);
    for (int p = 0; p < PROCS && some(0, 2) == 0; p++) {
        plan.ppm[p] = (int32_t)some(0, 10001) - 5000; /* two of them differ by no more than ρ */
    }
    bool on[FAULTS_DRAWN]; /* swarm: each seed has some kinds only */
    for (int k = 0; k < FAULTS_DRAWN; k++) {
        on[k] = some(0, 100) < 35;
    }
    if (some(0, 100) < 85) {
        add(trouble[some(0, sizeof trouble / sizeof trouble[0])], false);
        plan.faults[0].a = -1;
        plan.faults[0].b = plan.faults[0].kind == FAULT_PART ? (int)some(0, 3) : 0;
        plan.faults[0].at = some(50 * MS, 3 * SEC);
        plan.faults[0].dur = some(0, 2) == 0 ? plan.faults_us : some_time();
    }
    int more = (int)some(0, some(0, 3) == 0 ? 16 : 6);
    for (int tries = 0; more > 0 && tries < 200; tries++) {
        enum fault_kind kind = (enum fault_kind)some(0, FAULTS_DRAWN);
        if (on[kind] && plan.len < FAULTS_MAX) {
            add(kind, some(0, 100) < 65);
            more--;
        }
    }
}

/* ---- as text ---- */

void plan_print(const struct schedule *of, char *ret_text, size_t size)
{
    size_t len = (size_t)snprintf(
        ret_text, size, "%s core=%d faults=%.6f seed=%lld ppm=%d,%d,%d,%d,%d",
        variant_names[of->variant], of->core, (double)of->faults_us / 1e6, (long long)of->seed,
        of->ppm[0], of->ppm[1], of->ppm[2], of->ppm[3], of->ppm[4]);
    for (int i = 0; i < of->len && len < size; i++) {
        const struct fault *f = &of->faults[i];
        if (f->point >= 0) {
            len += (size_t)snprintf(ret_text + len, size - len, "; @%s#%d+%.6f",
                                    point_names[f->point], f->nth, (double)f->at / 1e6);
        } else {
            len += (size_t)snprintf(ret_text + len, size - len, "; %.6f", (double)f->at / 1e6);
        }
        len += len < size ? (size_t)snprintf(ret_text + len, size - len, " %s %d %d for %.6f",
                                             fault_names[f->kind], f->a, f->b, (double)f->dur / 1e6)
                          : 0;
    }
}

static int index_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

static uint64_t us_of(double seconds)
{
    return (uint64_t)(seconds * 1e6 + 0.5);
}

static bool read_fault(const char *text, struct fault *f)
{
    char when[64], what[32];
    double dur = 0, delay = 0;
    memset(f, 0, sizeof *f);
    if (sscanf(text, " %63s %31s %d %d for %lf", when, what, &f->a, &f->b, &dur) != 5) {
        return false;
    }
    int kind = index_of(fault_names, what);
    f->point = -1;
    if (when[0] == '@') {
        char *hash = strchr(when, '#');
        if (hash == NULL || sscanf(hash, "#%d+%lf", &f->nth, &delay) != 2) {
            return false;
        }
        *hash = '\0';
        f->point = index_of(point_names, when + 1);
        if (f->point < 0) {
            return false;
        }
    } else if (sscanf(when, "%lf", &delay) != 1) {
        return false;
    }
    f->kind = (enum fault_kind)kind;
    f->at = us_of(delay);
    f->dur = us_of(dur);
    return kind >= 0;
}

bool plan_read(const char *text, struct schedule *ret)
{
    char name[32];
    double faults;
    long long seed;
    memset(ret, 0, sizeof *ret);
    if (sscanf(text, " %31s core=%d faults=%lf seed=%lld ppm=%d,%d,%d,%d,%d", name, &ret->core,
               &faults, &seed, &ret->ppm[0], &ret->ppm[1], &ret->ppm[2], &ret->ppm[3],
               &ret->ppm[4]) != 9) {
        return false;
    }
    ret->variant = index_of(variant_names, name);
    ret->faults_us = us_of(faults);
    ret->seed = seed;
    for (const char *at = strchr(text, ';'); at != NULL; at = strchr(at + 1, ';')) {
        if (ret->len == FAULTS_MAX || !read_fault(at + 1, &ret->faults[ret->len++])) {
            return false;
        }
    }
    return ret->variant >= 0;
}
