/*
 * queue.c - the queue of events, random numbers, clocks, links, what messages carry, points, the
 * trace; and the warm copies of the world.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

struct world w;
struct store st;
struct ctl ctls[CTLS];
struct sguard guards[NODES];
struct ev queue[QUEUE_MAX];
struct schedule plan;
struct definition def;
bool tracing;

#define X(id, name) name,
const char *const point_names[] = {POINT_LIST(X) NULL};
#undef X
#define X(id, fn) fn,
static const ev_fn handlers[] = {EVENT_LIST(X)};
#undef X

/* ---- random numbers: one stream for each concern ---- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t rnd(enum rng_of of)
{
    w.rng[of] += UINT64_C(0x9e3779b97f4a7c15);
    return mix(w.rng[of]);
}

uint64_t rnd_in(enum rng_of of, uint64_t from, uint64_t to)
{
    return to > from ? from + rnd(of) % (to - from) : from;
}

bool chance(enum rng_of of, unsigned percent)
{
    return rnd(of) % 100 < percent;
}

void queue_reset(uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        w.rng[i] = mix(seed * 4 + (uint64_t)i + 1);
    }
}

/* ---- the trace ---- */

void trace_hash(uint64_t value)
{
    w.hash = (w.hash ^ value) * UINT64_C(0x100000001b3);
    w.hash ^= w.hash >> 29;
}

void trace(const char *format, ...)
{
    if (!tracing) {
        return;
    }
    printf("[%9.4f] ", (double)(int64_t)(w.now - w.phase_since) / 1e6);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void broken(const char *format, ...)
{
    if (w.broken[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(w.broken, sizeof w.broken, format, args);
    va_end(args);
    trace("BROKEN %s", w.broken);
}

/* ---- what messages carry ---- */

static char loads_0[LOADS_0][256];
static char loads_1[LOADS_1][2368];
static char loads_2[LOADS_2][7424];
static char loads_3[LOADS_3][100000];
static const size_t load_sizes[] = {256, 2368, 7424, 100000};
static const int load_lens[] = {LOADS_0, LOADS_1, LOADS_2, LOADS_3};
static uint8_t refs[4][LOADS_1];
static int16_t free_next[4][LOADS_1];
static int16_t free_first[4];

static void loads_reset(void)
{
    memset(refs, 0, sizeof refs);
    for (int size = 0; size < 4; size++) {
        for (int i = 0; i < load_lens[size]; i++) {
            free_next[size][i] = (int16_t)(i + 1 < load_lens[size] ? i + 1 : -1);
        }
        free_first[size] = 0;
    }
}

int load_new(size_t size)
{
    int of = 0;
    while (load_sizes[of] < size) {
        of++;
        assert(of < 4);
    }
    int i = free_first[of];
    if (i < 0) {
        fprintf(stderr, "sim: no room for one more load of %zu bytes\n", size);
        abort();
    }
    free_first[of] = free_next[of][i];
    refs[of][i] = 1;
    return (of << 16 | i) + 1;
}

void *load_at(int load)
{
    int i = (load - 1) & 0xffff;
    switch ((load - 1) >> 16) {
    case 0: return loads_0[i];
    case 1: return loads_1[i];
    case 2: return loads_2[i];
    default: return loads_3[i];
    }
}

void load_keep(int load)
{
    refs[(load - 1) >> 16][(load - 1) & 0xffff]++;
}

void load_drop(int load)
{
    int of = (load - 1) >> 16;
    int i = (load - 1) & 0xffff;
    if (load != 0 && --refs[of][i] == 0) {
        free_next[of][i] = free_first[of];
        free_first[of] = (int16_t)i;
    }
}

/* ---- the queue ---- */

static bool before(const struct ev *a, const struct ev *b)
{
    return a->at < b->at || (a->at == b->at && a->seq < b->seq);
}

void push(const struct ev *ev)
{
    if (w.queue_len == QUEUE_MAX) {
        fprintf(stderr, "sim: more than %d events wait\n", QUEUE_MAX);
        abort();
    }
    struct ev new = *ev;
    new.seq = w.seq++;
    int i = w.queue_len++;
    while (i > 0) {
        int parent = (i - 1) / 4;
        if (!before(&new, &queue[parent])) {
            break;
        }
        queue[i] = queue[parent];
        i = parent;
    }
    queue[i] = new;
}

static struct ev pop(void)
{
    struct ev first = queue[0];
    struct ev last = queue[--w.queue_len];
    int i = 0;
    for (;;) {
        int least = -1;
        for (int c = 4 * i + 1; c <= 4 * i + 4 && c < w.queue_len; c++) {
            if (least < 0 || before(&queue[c], &queue[least])) {
                least = c;
            }
        }
        if (least < 0 || !before(&queue[least], &last)) {
            break;
        }
        queue[i] = queue[least];
        i = least;
    }
    queue[i] = last;
    return first;
}

static void sift_up(int i)
{
    struct ev ev = queue[i];
    while (i > 0 && before(&ev, &queue[(i - 1) / 4])) {
        queue[i] = queue[(i - 1) / 4];
        i = (i - 1) / 4;
    }
    queue[i] = ev;
}

void queue_hurry(uint64_t until)
{
    for (int i = 0; i < w.queue_len && until > w.now; i++) {
        if (queue[i].at ==
            until) { /* earlier than all but what is due now: no child is before it */
            queue[i].at = w.now;
            sift_up(i);
        }
    }
}

bool is_paused(int proc)
{
    return w.procs[proc].paused_until > w.now;
}

/* A cut link delivers late what was sent into it, if it heals in time: TCP sends again. */
static bool is_held_up(struct ev *ev)
{
    if (ev->from < 0 || !w.cut[ev->from][ev->to]) {
        return false;
    }
    if (ev->tries < 6) {
        ev->at = w.now + (200 * MS << ev->tries++);
        push(ev);
    } else {
        load_drop(ev->load);
    }
    return true;
}

static bool is_for_nobody(struct ev *ev)
{
    if (ev->proc < 0) {
        return false;
    }
    const struct proc *proc = &w.procs[ev->proc];
    if (!proc->up || proc->life != ev->life) {
        load_drop(ev->load);
        return true;
    }
    if (is_paused(ev->proc)) {
        ev->at = proc->paused_until;
        push(ev);
        return true;
    }
    return false;
}

bool run_one(uint64_t until)
{
    if (w.queue_len == 0 || queue[0].at > until || w.broken[0] != '\0') {
        w.now = w.broken[0] == '\0' && w.now < until ? until : w.now;
        return false;
    }
    struct ev ev = pop();
    w.now = ev.at > w.now ? ev.at : w.now;
    if (is_held_up(&ev) || is_for_nobody(&ev)) {
        return true;
    }
    w.events++;
    trace_hash(w.now * 64 + ev.kind);
    handlers[ev.kind](&ev);
    load_drop(ev.load);
    check_event();
    return true;
}

/* ---- clocks ---- */

static uint64_t local_us(int proc)
{
    const struct clock *clock = &w.clocks[proc];
    uint64_t passed = w.now - clock->true_us;
    return clock->local_us + passed + (uint64_t)((int64_t)passed * clock->ppm / 1000000);
}

uint64_t local_ms(int proc)
{
    return local_us(proc) / 1000;
}

int64_t wall_ms(int proc)
{
    return INT64_C(1767225600000) + (int64_t)(w.now / 1000) + w.clocks[proc].wall_ms;
}

void clock_rate(int proc, int32_t ppm)
{
    w.clocks[proc].local_us = local_us(proc);
    w.clocks[proc].true_us = w.now;
    w.clocks[proc].ppm = ppm;
}

void after(int proc, enum ev_kind kind, uint64_t us, const struct ev *ev)
{
    struct ev new = ev != NULL ? *ev : (struct ev){0};
    new.at = w.now + us;
    new.kind = (uint16_t)kind;
    new.proc = (int16_t)proc;
    new.from = NOBODY;
    new.to = NOBODY;
    new.tries = 0;
    new.life = proc >= 0 ? w.procs[proc].life : new.life;
    push(&new);
}

void at_local(int proc, enum ev_kind kind, uint64_t at_ms, const struct ev *ev)
{
    uint64_t now_us = local_us(proc);
    uint64_t in_us = at_ms * 1000 > now_us ? at_ms * 1000 - now_us : 0;
    in_us = in_us > 600 * SEC ? 600 * SEC : in_us;
    int64_t more = (int64_t)in_us * w.clocks[proc].ppm / (1000000 + w.clocks[proc].ppm);
    after(proc, kind, (uint64_t)((int64_t)in_us - more) + 1, ev);
}

/* ---- links ---- */

bool linked(int a, int b)
{
    return w.cut[a][b] == 0;
}

bool linked_both(int a, int b)
{
    return w.cut[a][b] == 0 && w.cut[b][a] == 0;
}

void link_cut(int a, int b, int by)
{
    if (a != b) {
        w.cut[a][b] = (int8_t)(w.cut[a][b] + by);
    }
}

static uint64_t delay_of(int from, int to)
{
    uint64_t us = rnd_in(RNG_NET, 200, 1500);
    if (w.slow_until[from] > w.now || w.slow_until[to] > w.now) {
        us += rnd_in(RNG_NET, 20 * MS, 900 * MS);
    }
    while (w.loss_percent > 0 && chance(RNG_NET, w.loss_percent)) {
        us += 200 * MS; /* lost, and sent again */
    }
    return us;
}

void post(int from, int to, enum ev_kind kind, uint64_t us, const struct ev *ev)
{
    struct ev new = *ev;
    new.at = w.now + us + delay_of(from, to);
    new.kind = (uint16_t)kind;
    bool process = kind <= EV_CTL_ROUTED || (kind >= EV_G_START && kind <= EV_G_PROMOTED);
    new.proc = (int16_t)(process ? to : NOBODY); /* PostgreSQL and the device are none */
    new.from = (int8_t)from;
    new.to = (int8_t)to;
    new.tries = 0;
    push(&new);
}

/* ---- points ---- */

void point(enum point of, int proc)
{
    w.point_count[of]++;
    w.points_all++;
    trace_hash(((uint64_t)of << 8) + (uint64_t)(proc + 1));
    faults_point(of, proc);
}

/* ---- warm copies ---- */

struct copy {
    struct world w;
    struct store st;
    struct ctl ctls[CTLS];
    struct sguard guards[NODES];
    struct ev queue[QUEUE_MAX];
    char loads[64][7424];
    int loads_len;
};
static struct copy *copies[VARIANTS];
static uint8_t refs_copy[VARIANTS][4][LOADS_1];
static int16_t next_copy[VARIANTS][4][LOADS_1];
static int16_t first_copy[VARIANTS][4];
static struct definition defs[VARIANTS];

void world_save_copy(int variant)
{
    struct copy *copy = calloc(1, sizeof *copy);
    if (copy == NULL) {
        abort();
    }
    copies[variant] = copy;
    copy->w = w;
    copy->st = st;
    memcpy(copy->ctls, ctls, sizeof ctls);
    memcpy(copy->guards, guards, sizeof guards);
    memcpy(copy->queue, queue, (size_t)w.queue_len * sizeof queue[0]);
    defs[variant] = def;
    for (int i = 0; i < w.queue_len; i++) { /* what is on its way */
        if (queue[i].load != 0) {
            assert(copy->loads_len < 64 && (queue[i].load - 1) >> 16 < 3);
            memcpy(copy->loads[copy->loads_len++], load_at(queue[i].load),
                   load_sizes[(queue[i].load - 1) >> 16]);
        }
    }
    memcpy(refs_copy[variant], refs, sizeof refs);
    memcpy(next_copy[variant], free_next, sizeof free_next);
    memcpy(first_copy[variant], free_first, sizeof free_first);
}

void world_load_copy(int variant)
{
    const struct copy *copy = copies[variant];
    if (copy == NULL) {
        memset(&w, 0, sizeof w);
        memset(&st, 0, sizeof st);
        memset(ctls, 0, sizeof ctls);
        memset(guards, 0, sizeof guards);
        loads_reset();
        return;
    }
    w = copy->w;
    st = copy->st;
    memcpy(ctls, copy->ctls, sizeof ctls);
    memcpy(guards, copy->guards, sizeof guards);
    memcpy(queue, copy->queue, (size_t)w.queue_len * sizeof queue[0]);
    def = defs[variant];
    memcpy(refs, refs_copy[variant], sizeof refs);
    memcpy(free_next, next_copy[variant], sizeof free_next);
    memcpy(free_first, first_copy[variant], sizeof free_first);
    for (int i = 0, l = 0; i < w.queue_len; i++) {
        if (queue[i].load != 0) {
            memcpy(load_at(queue[i].load), copy->loads[l++], load_sizes[(queue[i].load - 1) >> 16]);
        }
    }
}
