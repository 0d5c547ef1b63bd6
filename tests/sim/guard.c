/*
 * guard.c - what failover-guard's driver does (fence/guard: daemon, store, report, promises,
 * instance, sync, watchdog), around the guard's real core. It may end between two effects of a
 * step.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "fence/guard/files.h"
#include "tests/sim/sim.h"

#define REPORT_EVERY_MS 10000
#define REPORT_MS       2000
#define REPORT_SOON_MS  500
#define LOOK_MS         1000
#define LOOK_HURRY_MS   25
#define PROBE_MS        1000
#define PROOF_MS        5
#define KILL_AGAIN_MS   1000
#define FOLLOW_MS       3000
#define FOLLOW_LOOK_MS  40
#define CUT_LOOKS       3
#define ARM_AGAIN_MS    1000
#define WATCH_MS        300
#define INBOX_MAX       64

static struct guard_effects effects;
static struct guard_event inbox[INBOX_MAX];
static int inbox_len;
static bool pumping;

static void pump(int n);

static struct sguard *of(int n)
{
    return &guards[n];
}

static uint64_t now_ms(int n)
{
    return local_ms(E_NODE + n);
}

static struct guard_event event_of(int n, enum guard_event_type type)
{
    struct guard_event event;
    memset(&event, 0, sizeof event);
    event.type = type;
    event.now_ms = now_ms(n);
    event.seen = of(n)->seen;
    return event;
}

static void emit(const struct guard_event *event)
{
    assert(inbox_len < INBOX_MAX);
    inbox[inbox_len++] = *event;
}

static void emit_text(int n, enum guard_event_type type, const char *text)
{
    struct guard_event event = event_of(n, type);
    snprintf(event.text, sizeof event.text, "%s", text);
    emit(&event);
}

static void later(int n, enum ev_kind kind, uint64_t ms, const struct ev *ev)
{
    after(E_NODE + n, kind, ms * MS, ev);
}

static uint64_t disk_us(int n)
{
    return w.nodes[n].slow_disk_until > w.now ? rnd_in(RNG_MODEL, 200 * MS, 3 * SEC)
                                              : rnd_in(RNG_MODEL, 500, 6 * MS);
}

/* ---- the data directory's files ---- */

static void advance(int n);
static void schedule_look(int n, uint64_t in_ms);
static void sync_written(int n);
static void begin_follow(int n);
static void start_now(int n);
static void begin_sync(int n, bool by_nobody);

static bool may_rest(const struct sguard *g)
{
    return !g->start_primary || g->seen.role == ROLE_PRIMARY ||
           (g->pg_life == 0 && !g->start_wanted);
}

static void start_job(int n, bool rest)
{
    struct sguard *g = of(n);
    g->job = true;
    g->job_rest = rest;
    g->job_conf = g->conf;
    g->job_sync = !rest && g->sync_file_wanted;
    if (g->job_sync) {
        g->sync_file_wanted = false;
        g->job_conf.names = g->sync_file;
        g->job_conf.says_names = true;
    }
    after(E_NODE + n, EV_G_JOB, disk_us(n), NULL);
}

static void advance(int n)
{
    struct sguard *g = of(n);
    if (g->job) {
        return;
    }
    if (g->rest_wanted && may_rest(g)) {
        g->rest_wanted = false;
        start_job(n, true);
    } else if (g->sync_file_wanted || g->conf_wanted) {
        g->conf_wanted = g->conf_wanted && g->sync_file_wanted;
        start_job(n, false);
    } else if (g->follow_wanted) {
        begin_follow(n);
    } else if (g->start_wanted) {
        start_now(n);
    }
}

void guard_on_job(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    g->job = false;
    if (g->job_rest) {
        w.pgs[n].signal = true;
    } else {
        pg_set_file(n, &g->job_conf);
        g->written = true;
        g->waits = g->waits && w.pgs[n].file_names.said;
        if (g->job_sync && g->pg_life != 0) {
            pg_reload(n);
        }
        if (g->job_sync && !g->sync_file_wanted && g->sync_step != SYNC_IDLE) {
            sync_written(n);
        }
    }
    advance(n);
    pump(n);
}

static struct conf conf_of_names(const struct guard_sync *sync)
{
    const struct sync_entry_record *target = guard_sync_target(sync);
    struct conf conf = {.upstream = NOBODY, .says_names = target != NULL};
    if (target != NULL) {
        names_of_entry(target, &conf.names);
    }
    return conf;
}

static bool conf_of_standby(int n, const char *upstream, bool closed, struct conf *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->upstream = NOBODY;
    ret->says_names = closed;
    if (closed) {
        ret->names = names_nobody;
    }
    for (int i = 0; i < NODES; i++) {
        if (strcmp(upstream, node_name(i)) == 0) {
            ret->upstream = i;
        }
    }
    return upstream[0] == '\0' || (of(n)->defined && ret->upstream >= 0);
}

/* ---- the postmaster ---- */

static void watch_process(int n)
{
    of(n)->pg_life = w.pgs[n].life;
    of(n)->seen.process = GUARD_PROCESS_RUNNING;
}

static void cancel_sync(struct sguard *g)
{
    g->sync_step = SYNC_IDLE;
    g->sync++;
}

static void forget_process(struct sguard *g)
{
    g->pg_life = 0;
    g->seen.role = ROLE_UNKNOWN;
    g->seen.life = 0;
    g->seen.receiving = false;
    g->wrote_ms = 0;
    g->waits = false;
    g->proven_known = false;
    g->sync_file_wanted = false;
    cancel_sync(g);
    memset(&g->fact, 0, sizeof g->fact);
    g->probing = false;
    g->probe++;
}

static void ladder(int n, uint64_t in_ms)
{
    later(n, EV_G_LADDER, in_ms, &(struct ev){.n = ++of(n)->ladder});
}

static void end_follow(struct sguard *g)
{
    g->following = false;
    g->follow++;
}

void guard_on_ended(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (g->pg_life == 0 || w.pgs[n].life == g->pg_life) {
        return;
    }
    bool asked = g->stopping;
    bool followed = g->following || g->follow_wanted;
    forget_process(g);
    end_follow(g);
    g->follow_wanted = false;
    if (!asked) {
        emit_text(n, GUARD_EV_DIED, "ended by itself");
    }
    if (followed) {
        emit_text(n, GUARD_EV_UNFOLLOWED, "it ended");
    }
    if (!g->proving) {
        g->proving = true;
        ladder(n, 0);
    }
    pump(n);
}

static void read_control(int n, int then)
{
    struct sguard *g = of(n);
    g->control_then = then;
    later(n, EV_G_CONTROL, rnd_in(RNG_MODEL, 3, 12), &(struct ev){.n = ++g->control});
}

void guard_on_control(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    const struct pg *pg = &w.pgs[n];
    int then = g->control_then;
    if (ev->n != g->control || then == 0) {
        return;
    }
    g->control_then = 0;
    if (g->pg_life != 0 && then == 2) {
        return;
    }
    g->seen.control = pg->control;
    g->seen.checkpoint_lsn = pg->checkpoint;
    g->seen.checkpoint_timeline = pg->tli;
    g->seen.system_id = 7000;
    g->seen.process = g->pg_life != 0 ? GUARD_PROCESS_RUNNING : GUARD_PROCESS_NONE;
    struct guard_event event = event_of(n, then == 2 ? GUARD_EV_GONE : GUARD_EV_SEEN);
    emit(&event);
    schedule_look(n, LOOK_MS);
    pump(n);
}

/* ---- looking ---- */

static void schedule_look(int n, uint64_t in_ms)
{
    struct sguard *g = of(n);
    g->look_at_ms = now_ms(n) + in_ms;
    later(n, EV_G_LOOK, in_ms, &(struct ev){.n = ++g->look});
}

static void ask(int n)
{
    struct sguard *g = of(n);
    struct pg *pg = &w.pgs[n];
    if (g->probing) {
        return;
    }
    g->probing = true;
    g->probe++;
    g->probe_asked_ms = now_ms(n);
    later(n, EV_G_LOOK_LATE, PROBE_MS, &(struct ev){.n = g->probe});
    if (pg->hung_until > w.now) {
        return;
    }
    if (pg->state == PG_UP && pg->primary) {
        pg_wait(n, &(struct waiter){.lsn = pg_append(n, 64), .kind = WAIT_LOOK, .n = g->probe});
    } else {
        after(E_NODE + n, EV_G_SEEN, rnd_in(RNG_MODEL, 300, 2500), &(struct ev){.n = g->probe});
    }
}

static void take_fact(int n, bool answered, bool wrote)
{
    struct sguard *g = of(n);
    g->probing = false;
    memset(&g->fact, 0, sizeof g->fact);
    if (answered && pg_works(n) && w.pgs[n].life == g->pg_life) {
        pg_fill_fact(n, &g->fact);
        g->seen.role = g->fact.role;
        g->seen.system_id = g->fact.system_id;
        g->seen.timeline = g->fact.timeline;
        g->seen.life = g->fact.life;
        g->seen.receiving = g->fact.receiving;
        g->wrote_ms = wrote ? now_ms(n) : g->wrote_ms;
    }
    if (!g->stopping) {
        struct guard_event event = event_of(n, GUARD_EV_SEEN);
        emit(&event);
        bool other = g->proven_known && g->fact.answered && g->probe_asked_ms > g->proven_ms &&
                     !names_same(&w.pgs[n].shown, &g->proven);
        if (other) {
            g->proven_known = false;
            g->waits = false;
            emit_text(n, GUARD_EV_UNSYNCED, "another setting is shown");
        }
    }
    advance(n);
    schedule_look(n, g->look_ms);
    pump(n);
}

void guard_on_seen(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    if (of(n)->probing && of(n)->probe == ev->n) {
        take_fact(n, w.pgs[n].state == PG_UP, ev->a == 1);
    }
}

/* Without an answer, or with a commit that waits: then the rest of the answer is known. */
void guard_on_look_late(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    if (of(n)->probing && of(n)->probe == ev->n) {
        pg_give_up(n, WAIT_LOOK, 0, ev->n);
        take_fact(n, pg_works(n), false);
    }
}

void guard_on_look(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (ev->n != g->look) {
        return;
    }
    if (g->proving || g->control_then != 0) {
        schedule_look(n, LOOK_MS);
        return;
    }
    if (g->pg_life == 0 && w.pgs[n].state != PG_DOWN) {
        watch_process(n);
        read_control(n, 1);
        schedule_look(n, LOOK_MS);
        return;
    }
    schedule_look(n, LOOK_MS);
    if (g->pg_life != 0) {
        ask(n);
    } else if (pg_runs(n)) {
        g->seen.process = GUARD_PROCESS_RUNNING; /* whatever it is, it is not stopped */
        struct guard_event event = event_of(n, GUARD_EV_SEEN);
        emit(&event);
    } else if (g->seen.process != GUARD_PROCESS_NONE || g->seen.control == GUARD_CONTROL_UNKNOWN) {
        read_control(n, 2);
    }
    pump(n);
}

/* ---- starting and stopping ---- */

static bool may_be_primary(int n)
{
    struct guard_core *core = &of(n)->core;
    core->now_ms = now_ms(n) > core->now_ms ? now_ms(n) : core->now_ms;
    return guard_may_be_primary(core);
}

static void start_now(int n)
{
    struct sguard *g = of(n);
    g->start_wanted = false;
    if (g->start_primary && !may_be_primary(n)) {
        emit_text(n, GUARD_EV_DIED, "its time ended before it could be started");
        return;
    }
    if (g->pg_life != 0 || pg_runs(n)) {
        schedule_look(n, 0);
        return;
    }
    g->seen.control = g->start_primary ? GUARD_CONTROL_PRIMARY_CRASH : g->seen.control;
    g->waits = g->written && w.pgs[n].file_names.said;
    if (g->start_primary) {
        rights_starts_primary(n);
    }
    pg_start(n, g->start_primary);
    watch_process(n);
    schedule_look(n, g->look_ms);
}

static void start(int n, bool primary, const struct conf *conf)
{
    struct sguard *g = of(n);
    if (conf != NULL) {
        g->conf = *conf;
        g->conf_wanted = true;
    }
    g->start_wanted = true;
    g->start_primary = primary;
    advance(n);
}

static void prove(int n)
{
    struct sguard *g = of(n);
    uint64_t now = now_ms(n);
    if (!pg_runs(n)) {
        g->proving = false;
        g->stopping = false;
        g->ladder++;
        g->seen.process = GUARD_PROCESS_NONE;
        g->seen.control = GUARD_CONTROL_UNKNOWN;
        struct guard_event event = event_of(n, GUARD_EV_GONE);
        emit(&event);
        read_control(n, 1);
        return;
    }
    if (g->stopping && now >= g->killed_ms + KILL_AGAIN_MS) {
        g->killed_ms = now;
        pg_signal_kill(n);
    }
    ladder(n, now < g->killed_ms + 1000 ? PROOF_MS : 50);
}

static void climb(int n)
{
    struct sguard *g = of(n);
    uint64_t now = now_ms(n);
    if (!g->stopping || (g->proving && g->killed_ms != 0)) {
        prove(n);
        return;
    }
    if (g->pg_life == 0 || now >= g->kill_at_ms) {
        g->killed_ms = now;
        pg_signal_kill(n);
        g->proving = true;
        ladder(n, PROOF_MS);
        return;
    }
    if (now >= g->quit_at_ms && !g->quit) {
        g->quit = true;
        pg_signal_quit(n);
    }
    uint64_t next = g->quit ? g->kill_at_ms : g->quit_at_ms;
    ladder(n, next > now ? next - now : 0);
}

static void stop(int n, uint64_t kill_at_ms)
{
    struct sguard *g = of(n);
    uint64_t now = now_ms(n);
    g->start_wanted = false;
    g->sync_file_wanted = false;
    cancel_sync(g);
    if (g->stopping && kill_at_ms >= g->kill_at_ms) {
        return;
    }
    g->kill_at_ms = kill_at_ms;
    g->quit_at_ms = kill_at_ms > now ? now + (kill_at_ms - now) * 2 / 3 : now;
    if (!g->stopping) {
        g->stopping = true;
        g->quit = false;
        g->killed_ms = 0;
        if (g->pg_life != 0 && kill_at_ms > now) {
            pg_signal_int(n);
        }
    }
    climb(n);
}

void guard_on_ladder(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (ev->n != g->ladder) {
        return;
    }
    if (g->stopping) {
        climb(n);
    } else if (g->proving) {
        prove(n);
    }
    pump(n);
}

/* ---- the upstream ---- */

/* The checkpointer of a standby has taken up that commits wait for somebody, ahead of a promotion.
 */
static void close_standby(int n)
{
    struct sguard *g = of(n);
    if (!g->conf.says_names || g->waits || g->seen.role != ROLE_STANDBY ||
        g->sync_step != SYNC_IDLE) {
        return;
    }
    g->sync_for = SYNC_FOR_STANDBY;
    g->sync_order.len = 0;
    g->sync_names = names_nobody;
    g->sync_ours = true;
    g->sync_barrier = true;
    g->sync_proof = false;
    begin_sync(n, false);
}

static void finish_follow(int n, bool done)
{
    struct sguard *g = of(n);
    bool checking = g->checking;
    end_follow(g);
    if (checking) {
        return;
    }
    struct guard_event event = event_of(n, done ? GUARD_EV_FOLLOWED : GUARD_EV_UNFOLLOWED);
    snprintf(event.upstream, sizeof event.upstream, "%s",
             g->conf.upstream >= 0 ? node_name(g->conf.upstream) : "");
    event.closed = g->conf.says_names;
    emit(&event);
    if (done && g->pg_life != 0) {
        close_standby(n);
    }
}

void guard_on_follow(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    const struct pg *pg = &w.pgs[n];
    if (ev->n != g->follow || !g->following) {
        return;
    }
    bool answers = pg_works(n);
    bool set = answers && pg->upstream == g->conf.upstream;
    bool none = answers && pg->from < 0;
    g->cut_looks = none ? g->cut_looks + 1 : 0;
    if ((set || (g->checking && answers)) &&
        (g->conf.upstream >= 0 || g->checking || g->cut_looks >= CUT_LOOKS)) {
        finish_follow(n, true);
    } else if (now_ms(n) >= g->follow_by_ms) {
        finish_follow(n, false);
    } else {
        later(n, EV_G_FOLLOW, FOLLOW_LOOK_MS, ev);
    }
    pump(n);
}

static void begin_follow(int n)
{
    struct sguard *g = of(n);
    g->follow_wanted = false;
    if (g->pg_life == 0) {
        g->checking = false;
        finish_follow(n, true);
        advance(n);
        return;
    }
    pg_reload(n);
    g->following = true;
    g->cut_looks = 0;
    g->follow_by_ms = now_ms(n) + FOLLOW_MS;
    later(n, EV_G_FOLLOW, 2, &(struct ev){.n = ++g->follow});
}

static void follow(int n, const char *upstream, bool closed)
{
    struct sguard *g = of(n);
    struct conf conf;
    if (!conf_of_standby(n, upstream, closed, &conf)) {
        emit_text(n, GUARD_EV_UNFOLLOWED, "the definition is not known");
        return;
    }
    end_follow(g);
    cancel_sync(g);
    g->sync_file_wanted = false;
    g->checking = false;
    g->conf = conf;
    g->conf_wanted = true;
    g->follow_wanted = true;
    advance(n);
}

static void take_over(int n)
{
    struct sguard *g = of(n);
    bool ours = g->core.kept.known && g->core.kept.sync.len > 0;
    if (g->core.state == DUTY_PRIMARY && !ours && !g->following && !g->follow_wanted) {
        g->conf = conf_of_names(&g->core.kept.sync);
        g->conf_wanted = true;
        g->follow_wanted = true;
        g->checking = true;
        advance(n);
    }
}

/* ---- what commits wait for (sync.c) ---- */

static void write_names(int n, enum sync_step step, const struct names *names)
{
    struct sguard *g = of(n);
    g->sync_step = step;
    g->sync_file = *names;
    if (!g->job && g->written && names_same(names, &w.pgs[n].file_names) &&
        g->conf.upstream == w.pgs[n].file_upstream) {
        sync_written(n);
        return;
    }
    g->sync_file_wanted = true;
    advance(n);
}

static void begin_sync(int n, bool by_nobody)
{
    struct sguard *g = of(n);
    g->conf_wanted = false;
    g->sync++;
    g->sync_restoring = false;
    g->sync_before = w.pgs[n].file_names;
    write_names(n, by_nobody ? SYNC_CLOSING : SYNC_WRITING,
                by_nobody ? &names_nobody : &g->sync_names);
}

static void order_promotion(int n)
{
    struct sguard *g = of(n);
    uint32_t order = ++g->order;
    bool good = g->pg_life != 0 && !g->stopping && may_be_primary(n) &&
                g->promote_permit.timeline == w.pgs[n].tli &&
                (g->promote_permit.life == 0 || g->promote_permit.life == pg_life(n));
    if (!good) {
        emit_text(n, GUARD_EV_UNPROMOTED, "refused: a condition does not hold");
        return;
    }
    rights_ordered(n);
    after(NOBODY, EV_PG_PROMOTE, rnd_in(RNG_MODEL, 200, 3 * MS),
          &(struct ev){.a = n, .n = g->act_by_ms, .m = order, .life = w.pgs[n].life});
    later(n, EV_G_PROMOTED, 30000, &(struct ev){.a = 0, .n = order});
}

static void end_sync(int n, bool done, const char *text)
{
    struct sguard *g = of(n);
    g->sync_step = SYNC_IDLE;
    g->sync++;
    if (g->sync_for == SYNC_FOR_PROOF) {
        struct guard_event event = event_of(n, done ? GUARD_EV_SYNCED : GUARD_EV_UNSYNCED);
        event.round = g->sync_round;
        snprintf(event.text, sizeof event.text, "%s", text);
        if (done && g->conf.says_names) {
            g->proven = g->conf.names;
            g->proven_known = true;
            g->proven_ms = now_ms(n);
            g->waits = g->conf.names.said;
        }
        emit(&event);
        return;
    }
    g->waits = done && g->sync_names.said;
    if (g->sync_for == SYNC_FOR_PROMOTION && !done) {
        emit_text(n, GUARD_EV_UNPROMOTED, text);
    } else if (g->sync_for == SYNC_FOR_PROMOTION) {
        order_promotion(n);
    }
}

static void sync_later(int n, uint64_t ms)
{
    later(n, EV_G_SYNC, ms, &(struct ev){.n = of(n)->sync});
}

static void go(int n, enum sync_step step, uint64_t within_ms)
{
    of(n)->sync_step = step;
    of(n)->sync_by_ms = now_ms(n) + within_ms;
    sync_later(n, rnd_in(RNG_MODEL, 1, 4));
}

static void sync_written(int n)
{
    struct sguard *g = of(n);
    if (g->sync_step == SYNC_CLOSING) {
        go(n, SYNC_EMPTYING, 500);
    } else if (g->sync_restoring) {
        g->sync_step = SYNC_RESTING;
        sync_later(n, 10000);
    } else if (!g->sync_ours || (!g->sync_names.said && !g->sync_proof)) {
        end_sync(n, true, "");
    } else {
        go(n, SYNC_SHOWING, 3000);
    }
}

static void look_again(int n, const char *why)
{
    struct sguard *g = of(n);
    if (now_ms(n) < g->sync_by_ms) {
        sync_later(n, 10);
    } else if (g->sync_step == SYNC_EMPTYING) {
        g->sync_restoring = true;
        write_names(n, SYNC_WRITING, &g->sync_before);
    } else {
        end_sync(n, false, why);
    }
}

static void commit(int n)
{
    struct sguard *g = of(n);
    g->sync_step = SYNC_COMMITTING;
    later(n, EV_G_SYNC, 10000, &(struct ev){.n = g->sync, .b = 1});
    pg_wait(n, &(struct waiter){.lsn = pg_append(n, 64), .kind = WAIT_PROOF, .n = g->sync});
}

static void shown(int n)
{
    struct sguard *g = of(n);
    g->sync_barrier = g->sync_barrier && g->sync_names.said;
    if (g->sync_barrier) {
        g->sync_step = SYNC_BARRIER; /* two checkpoints: longer than any process takes to reload */
        sync_later(n, rnd_in(RNG_MODEL, 130, 400));
    } else if (g->sync_proof) {
        commit(n);
    } else {
        end_sync(n, true, "");
    }
}

void guard_on_sync(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    struct guard_sync_row rows[NODES];
    char why[GUARD_SYNC_WHY_SIZE] = "PostgreSQL does not answer";
    if (ev->n != g->sync || (ev->b == 1 && g->sync_step != SYNC_COMMITTING)) {
        return;
    }
    const struct names *wanted = g->sync_step == SYNC_EMPTYING ? &names_nobody : &g->sync_names;
    int len = pg_sync_rows(n, rows);
    bool answers = pg_works(n) && names_same(&w.pgs[n].shown, wanted);
    switch (g->sync_step) {
    case SYNC_COMMITTING:
        pg_give_up(n, WAIT_PROOF, 0, g->sync);
        end_sync(n, false, "a commit is not acknowledged: unknown");
        break;
    case SYNC_RESTING: end_sync(n, false, "a walsender kept its place"); break;
    case SYNC_BARRIER:
        if (!pg_works(n)) {
            end_sync(n, false, why);
        } else if (g->sync_proof) {
            commit(n);
        } else {
            end_sync(n, true, "");
        }
        break;
    case SYNC_EMPTYING:
        if (answers && guard_sync_is_closed(rows, len, why)) {
            write_names(n, SYNC_WRITING, &g->sync_names);
        } else {
            look_again(n, why);
        }
        break;
    case SYNC_SHOWING:
        if (answers) {
            shown(n);
        } else {
            look_again(n, why);
        }
        break;
    case SYNC_PROVING:
        if (answers && (!g->sync_names.said ||
                        guard_sync_is_proven(&g->sync_order, rows, len, g->sync_lsn, why))) {
            end_sync(n, true, "");
        } else {
            look_again(n, why);
        }
        break;
    default: break;
    }
    pump(n);
}

void guard_on_committed(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    if (of(n)->sync == ev->n && of(n)->sync_step == SYNC_COMMITTING) {
        of(n)->sync_lsn = ev->m;
        go(n, SYNC_PROVING, 3000);
    }
}

static void enforce(int n, const struct guard_effect *effect)
{
    struct sguard *g = of(n);
    if (g->pg_life == 0 || g->stopping) {
        return;
    }
    g->waits = g->waits || effect->waits;
    g->proven_known = false;
    g->sync_for = SYNC_FOR_PROOF;
    g->sync_round = effect->round;
    g->sync_order = g->core.told;
    g->sync_barrier = !g->waits;
    g->sync_proof = true;
    g->sync_ours = g->core.told.len > 0;
    g->conf = conf_of_names(&g->core.told);
    g->sync_names = g->conf.names;
    begin_sync(n, guard_sync_mixes(&g->core.told));
}

static void promote(int n, const struct guard_effect *effect)
{
    struct sguard *g = of(n);
    const struct guard_permit *permit = &g->core.permit;
    if (g->pg_life == 0 || permit->system_id == 0 || permit->timeline == 0) {
        emit_text(n, GUARD_EV_UNPROMOTED, "nothing runs, or the permit names no history");
        return;
    }
    g->promote_permit = *permit;
    g->act_by_ms = effect->act_by_ms;
    g->sync_order = permit->sync;
    g->sync_barrier = !g->waits;
    g->sync_proof = false;
    g->conf = conf_of_names(&g->core.kept.sync);
    g->sync_ours = g->conf.says_names;
    g->sync_names = g->conf.names;
    g->sync_for = SYNC_FOR_PROMOTION;
    begin_sync(n, false);
}

void guard_on_promoted(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (g->order != ev->n) {
        return;
    }
    g->order++;
    if (ev->a == 1 && pg_works(n)) {
        g->seen.role = ROLE_PRIMARY;
        g->seen.timeline = w.pgs[n].tli;
        g->wrote_ms = now_ms(n);
        emit_text(n, GUARD_EV_PROMOTED, "");
    } else {
        rights_order_taken(n); /* it hangs, perhaps with the order: the next one is the same wish */
        emit_text(n, GUARD_EV_UNPROMOTED, "unknown, or refused");
    }
    schedule_look(n, 0);
    pump(n);
}

/* ---- what is stored ---- */

static void start_save(int n)
{
    struct sguard *g = of(n);
    if (!g->saving) {
        g->saving = true;
        g->saving_version = g->core.version;
        g->saving_value = g->core.durable;
        after(E_NODE + n, EV_G_SAVED, disk_us(n), NULL);
    }
}

void guard_on_saved(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    g->saving = false;
    g->disk = g->saving_value;
    struct guard_event event = event_of(n, GUARD_EV_SAVED);
    event.version = g->saving_version;
    emit(&event);
    if (g->save_wanted > g->saving_version) {
        start_save(n);
    }
    point(POINT_STORED, E_NODE + n);
    if (w.procs[E_NODE + n].up && w.procs[E_NODE + n].life == ev->life) {
        pump(n);
    } else {
        inbox_len = 0;
    }
}

/* ---- etcd ---- */

static void send_renewal(int n)
{
    struct sguard *g = of(n);
    const struct guard_permit *permit = &g->core.renewal_out_permit;
    int load = load_new(sizeof(struct renew_load));
    struct renew_load *said = load_at(load);
    memset(said, 0, sizeof *said);
    said->record.epoch = permit->epoch;
    said->record.permit_revision = permit->revision;
    memcpy(said->record.boot, g->boot, BOOT_ID_SIZE);
    said->record.sequence = ((uint64_t)w.procs[E_NODE + n].life << 24) + ++g->renewals;
    said->record.armed = g->renewal_armed;
    said->record.wrote = g->wrote_ms > g->renewed_ms;
    rights_renewal(n, &said->record);
    said->permit_revision = permit->revision;
    said->heartbeat = g->heartbeat;
    said->id = ++g->renewal;
    said->sent_ms = now_ms(n);
    g->renewal_out = true;
    g->renewal_revision = permit->revision;
    uint64_t within = permit->d_ms > permit->w_ms ? (permit->d_ms - permit->w_ms) / 4 : 0;
    post(E_NODE + n, E_ETCD, EV_ST_RENEW, 0,
         &(struct ev){.a = n, .life = w.procs[E_NODE + n].life, .load = load});
    later(n, EV_G_RENEW_LATE, within > 200 ? within : 200,
          &(struct ev){.n = g->renewal, .m = now_ms(n)});
}

static void renew(int n, bool armed)
{
    struct sguard *g = of(n);
    g->renewal_armed = armed;
    g->renewal_repeated = false;
    send_renewal(n);
    g->renewed_ms = now_ms(n);
}

static void take_permit(int n, const struct permit_record *permit, int64_t revision)
{
    struct guard_event event = event_of(n, GUARD_EV_PERMIT);
    if (revision != 0) {
        files_permit_of_record(permit, revision, &event.permit);
    }
    emit(&event);
}

void guard_on_renewed(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    const struct guard_reply *said = load_at(ev->load);
    if (!g->renewal_out || said->id != g->renewal) {
        return;
    }
    g->renewal_out = false;
    g->heartbeat = said->own;
    if (!said->accepted) {
        if (said->permit_revision == g->renewal_revision && !g->renewal_repeated) {
            g->renewal_repeated = true;
            send_renewal(n);
            return;
        }
        take_permit(n, &said->permit, said->permit_revision);
    }
    struct guard_event event = event_of(n, said->accepted ? GUARD_EV_RENEWED : GUARD_EV_UNRENEWED);
    event.sent_ms = said->sent_ms;
    event.revision = g->renewal_revision;
    emit(&event);
    pump(n);
}

void guard_on_renew_late(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (g->renewal_out && g->renewal == ev->n) {
        g->renewal_out = false;
        struct guard_event event = event_of(n, GUARD_EV_UNRENEWED);
        event.sent_ms = ev->m;
        event.revision = g->renewal_revision;
        emit(&event);
        pump(n);
    }
}

static bool roles_has(const char (*names)[NAME_SIZE], int len, const char *name)
{
    for (int i = 0; i < len; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* As take_roles() in the guard's store.c. */
void guard_roles(const struct group_record *group, int64_t revision, struct roles_load *ret)
{
    const struct database_record *db = &group->databases[0];
    memset(ret, 0, sizeof *ret);
    for (int n = 0; n < NODES && group->databases_len > 0; n++) {
        struct guard_declared *declared = &ret->declared[n];
        const char *name = node_name(n);
        declared->revision = revision;
        declared->burnt = roles_has(db->burnt, db->burnt_len, name);
        for (int m = 0; group->moving && m < group->workflow.moves_len; m++) {
            const struct move_record *move = &group->workflow.moves[m];
            declared->burnt = declared->burnt || roles_has(move->burnt, move->burnt_len, name);
        }
        const struct role_record *role = NULL;
        for (int i = 0; i < db->roles_len; i++) {
            role = strcmp(db->roles[i].node, name) == 0 ? &db->roles[i] : role;
            if (db->roles[i].role == DECLARED_STANDBY && strcmp(db->roles[i].upstream, name) == 0) {
                memcpy(declared->standbys[declared->standbys_len++], db->roles[i].node, NAME_SIZE);
            }
        }
        ret->has[n] = role != NULL || declared->burnt;
        if (role != NULL) {
            declared->role = role->role == DECLARED_PRIMARY   ? ROLE_PRIMARY
                             : role->role == DECLARED_STANDBY ? ROLE_STANDBY
                                                              : ROLE_UNKNOWN;
            declared->down = role->role == DECLARED_DOWN;
            memcpy(declared->upstream, role->upstream, sizeof declared->upstream);
        }
    }
}

void guard_on_news(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    bool old = ev->b < 0 &&
               (ev->a == WATCH_PERMIT || ev->a == WATCH_GROUP); /* a read, of a member that lags */
    if (!old && (ev->tries > 0 || !g->watching)) {
        g->watching = g->watching && ev->tries == 0;
        return;
    }
    if (ev->a == WATCH_PERMIT) {
        take_permit(n, load_at(ev->load), (int64_t)ev->n);
    } else if (ev->a == WATCH_GROUP) {
        const struct roles_load *roles = load_at(ev->load);
        struct guard_event event = event_of(n, GUARD_EV_DECLARED);
        event.declared = roles->declared[n];
        if (roles->has[n]) {
            emit(&event);
        }
    } else if (ev->a == WATCH_API) {
        g->knows[ev->b] = true;
    }
    pump(n);
}

static void apply_policy(int n)
{
    const struct database_def *db = &def.databases[0];
    struct guard_event event = event_of(n, GUARD_EV_POLICY);
    event.policy.watchdog_configured = true;
    if (of(n)->defined) {
        event.policy.restart = db->on_crash == CRASH_RESTART;
        event.policy.restart_deadline_ms = db->restart_deadline_ms;
        event.policy.when_blind_continue = def.policy.when_blind == BLIND_CONTINUE;
    }
    emit(&event);
}

static void read_all(int n)
{
    post(E_NODE + n, E_ETCD, EV_ST_GREAD, 0,
         &(struct ev){.a = n, .life = w.procs[E_NODE + n].life});
}

void guard_on_read(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (!g->defined) {
        g->defined = true;
        g->watching = true;
        apply_policy(n);
        store_notify_all(ev->proc);
        pump(n);
    }
}

void guard_on_watch(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (!g->defined) {
        read_all(n);
    } else if (!g->watching && !st.down && linked_both(ev->proc, E_ETCD) &&
               w.stall_until[ev->proc] <= w.now) {
        g->watching = true;
        store_notify_all(ev->proc);
    }
    later(n, EV_G_WATCH, WATCH_MS, ev);
}

/* ---- reports ---- */

static void fill(int n, struct guard_record *record)
{
    const struct sguard *g = of(n);
    const struct guard_core *core = &g->core;
    uint64_t now = now_ms(n);
    bool running = core->seen.process == GUARD_PROCESS_RUNNING;
    memset(record, 0, sizeof *record);
    memcpy(record->node, node_name(n), NAME_SIZE);
    memcpy(record->database, def.databases[0].name, NAME_SIZE);
    memcpy(record->version, "sim", 4);
    memcpy(record->boot, g->boot, BOOT_ID_SIZE);
    record->sequence = ((uint64_t)w.procs[E_NODE + n].life << 24) + g->reports;
    record->mode = core->durable.guarding ? GUARD_GUARDING : GUARD_OBSERVING;
    record->state = guard_proven_state(core);
    snprintf(record->held, sizeof record->held, "%s",
             core->durable.guarding ? guard_held(core) : "");
    record->role = running ? core->seen.role : ROLE_UNKNOWN;
    record->wrote = running && core->seen.role == ROLE_PRIMARY && g->wrote_ms != 0;
    record->wrote_age_ms = record->wrote && now > g->wrote_ms ? now - g->wrote_ms : 0;
    record->life = running ? core->seen.life : 0;
    record->system_id = core->seen.system_id;
    record->timeline = running ? core->seen.timeline : core->seen.checkpoint_timeline;
    if (running && g->fact.answered) {
        record->write_lsn = g->fact.write_lsn;
        record->receive_lsn = g->fact.receive_lsn;
        record->replay_lsn = g->fact.replay_lsn;
        record->receiving = g->fact.receiving;
        memcpy(record->sync_names, g->fact.sync_names, sizeof record->sync_names);
    }
    if (core->applied_known) {
        memcpy(record->upstream, core->applied, sizeof record->upstream);
    }
    record->clean = !running && core->seen.control == GUARD_CONTROL_PRIMARY_CLEAN;
    record->checkpoint_lsn = core->seen.checkpoint_lsn;
    record->checkpoint_timeline = core->seen.checkpoint_timeline;
    record->obeyed_revision = guard_obeyed_revision(core);
    record->epoch = core->durable.epoch;
    record->stopped_for = guard_stopped_for(core);
    record->cut_for = guard_cut_for(core);
    record->asks_start = guard_asks_start(core);
    record->sync_for = guard_sync_for(core);
    if (guard_ended(core)[0] != '\0') {
        snprintf(record->crash, sizeof record->crash, "%.*s", TEXT_SIZE - 1, guard_ended(core));
        record->down_ms = now > core->crash_ms ? now - core->crash_ms : 0;
    }
    record->watchdog = WATCHDOG_TEST;
    record->armed = g->dog && w.nodes[n].armed;
    record->watchdog_ms = g->dog ? w.nodes[n].period_ms : 0;
}

static void send_report(int n)
{
    struct sguard *g = of(n);
    g->report_again = g->report_out;
    if (g->report_out) {
        return;
    }
    int load = load_new(sizeof(struct report_load));
    struct report_load *said = load_at(load);
    g->reports++;
    fill(n, &said->record);
    check_report(n, &said->record);
    said->kv = g->report_kv;
    said->id = ++g->report;
    g->report_out = true;
    g->reported_ms = now_ms(n);
    post(E_NODE + n, E_ETCD, EV_ST_REPORT, 0,
         &(struct ev){.a = n, .life = w.procs[E_NODE + n].life, .load = load});
    later(n, EV_G_REPORT_LATE, REPORT_MS, &(struct ev){.n = g->report});
    point(POINT_REPORT, E_NODE + n);
}

static void report_soon(struct sguard *g, int n)
{
    g->reported_ms = now_ms(n) + REPORT_SOON_MS - REPORT_EVERY_MS;
}

void guard_on_reported(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    const struct guard_reply *said = load_at(ev->load);
    if (!g->report_out || said->id != g->report) {
        return;
    }
    g->report_out = false;
    g->report_kv = said->own;
    bool again = g->report_again || !said->accepted;
    take_permit(n, &said->permit, said->permit_revision);
    if (said->permit_revision == 0) {
        inbox_len--; /* its answer says nothing of a key that is not there */
    }
    g->reported_ms = again ? 0 : g->reported_ms;
    pump(n);
}

void guard_on_report_late(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    struct sguard *g = of(n);
    if (g->report_out && g->report == ev->n) {
        g->report_out = false;
        report_soon(g, n);
        pump(n);
    }
}

static void report_changes(int n)
{
    static struct guard_record record;
    struct sguard *g = of(n);
    fill(n, &record);
    record.sequence = 0;
    record.wrote_age_ms = 0;
    record.down_ms = 0;
    record.write_lsn = 0;
    record.receive_lsn = 0;
    record.replay_lsn = 0;
    /* Both were zeroed whole before they were filled.
       NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
    if (memcmp(&record, &g->reported, sizeof record) != 0) {
        g->reported = record;
        g->reported_ms = 0;
    }
}

/* ---- promises ---- */

struct question_load {
    struct promise_question question;
    uint32_t life;
};

static void ask_promises(int n, uint32_t round)
{
    struct sguard *g = of(n);
    for (int i = 0; i < g->core.asked_len; i++) {
        int c = g->core.asked[i][1] - '1';
        if (c < 0 || c >= CTLS || !g->knows[c]) {
            continue;
        }
        int load = load_new(sizeof(struct question_load));
        struct question_load *asked = load_at(load);
        memset(asked, 0, sizeof *asked);
        asked->question.epoch = g->core.kept.permit.epoch;
        memcpy(asked->question.database, def.databases[0].name, NAME_SIZE);
        memcpy(asked->question.node, node_name(n), NAME_SIZE);
        memcpy(asked->question.boot, g->boot, BOOT_ID_SIZE);
        asked->life = w.procs[E_NODE + n].life;
        post(
            E_NODE + n, c, EV_G_ASKED, 0,
            &(struct ev){
                .a = n, .b = i, .n = round, .m = now_ms(n), .life = w.procs[c].life, .load = load});
    }
}

void guard_on_asked(const struct ev *ev)
{
    const struct question_load *asked = load_at(ev->load);
    char reason[REASON_SIZE];
    int c = ev->proc;
    bool yes = core_promise(&ctls[c].core, &asked->question, local_ms(c), reason, sizeof reason);
    if (yes) {
        point(POINT_PROMISE, c);
    }
    post(c, E_NODE + ev->a, EV_G_PROMISED, 0,
         &(struct ev){.a = yes, .b = ev->b, .n = ev->n, .m = ev->m, .life = asked->life});
}

void guard_on_promised(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    if (now_ms(n) > ev->m + of(n)->core.kept.permit.d_ms / 2) {
        return; /* the question was given up */
    }
    struct guard_event event = event_of(n, ev->a ? GUARD_EV_PROMISED : GUARD_EV_UNPROMISED);
    event.round = (uint32_t)ev->n;
    event.promiser = ev->b;
    event.sent_ms = ev->m;
    emit(&event);
    pump(n);
}

/* ---- the watchdog ---- */

static void tell_watchdog(int n)
{
    struct sguard *g = of(n);
    struct guard_event event = event_of(n, GUARD_EV_WATCHDOG);
    event.armed = g->dog && w.nodes[n].armed;
    event.period_ms = event.armed ? w.nodes[n].period_ms : 0;
    of(n)->told_armed = event.armed;
    emit(&event);
}

/* It resets nothing any more, and cannot be armed. */
void guard_dog_lost(int n, uint64_t us)
{
    struct node *node = &w.nodes[n];
    node->dog_lost_until = w.now + us;
    node->dog_lost_at = w.now;
    node->armed = false;
    node->arming++;
    pump(n);
}

static void arm(int n, uint32_t period_ms)
{
    struct node *node = &w.nodes[n];
    of(n)->arm_again_ms = now_ms(n) + ARM_AGAIN_MS;
    if (node->no_dog || node->dog_lost_until > w.now) {
        tell_watchdog(n);
        return;
    }
    of(n)->dog = true;
    node->armed = true;
    node->period_ms = period_ms;
    node->fed = w.now;
    after(NOBODY, EV_NODE_WATCHDOG, period_ms * MS, &(struct ev){.a = n, .n = ++node->arming});
    tell_watchdog(n);
}

static void look_after_watchdog(int n)
{
    struct sguard *g = of(n);
    struct node *node = &w.nodes[n];
    uint64_t now = now_ms(n);
    struct guard_watchdog_wish wish = guard_watchdog(&g->core, 1, now);
    bool armed = g->dog && node->armed;
    if (g->told_armed && !armed) {
        tell_watchdog(n);
    }
    if (wish.armed && wish.period_ms != 0 && (!armed || node->period_ms != wish.period_ms) &&
        now >= g->arm_again_ms) {
        arm(n, wish.period_ms);
    } else if (!wish.armed && armed) {
        node->armed = false;
        node->arming++;
        g->dog = false;
        tell_watchdog(n);
    }
    if (g->dog && node->armed && guard_watchdog(&g->core, 1, now_ms(n)).feed) {
        node->fed = w.now;
    }
}

/* ---- effects, and the pump ---- */

static void note(int n, const struct guard_effect *effect)
{
    if (effect->from != effect->to || effect->text[0] != '\0') {
        trace("%s %s %s -> %s  %s  %s", node_name(n), effect->rule, duty_names[effect->from],
              duty_names[effect->to], effect->why, effect->text);
    }
}

static void carry_out(int n, const struct guard_effect *effect)
{
    struct sguard *g = of(n);
    struct conf conf;
    int proc = E_NODE + n;
    switch (effect->type) {
    case GUARD_DO_SAVE:
        g->save_wanted = effect->version;
        start_save(n);
        point(POINT_STORE, proc);
        break;
    case GUARD_DO_KEEP:
        g->kept = g->core.kept;
        point(POINT_KEEP, proc);
        break;
    case GUARD_DO_RENEW:
        check_renewal(n, effect->armed);
        renew(n, effect->armed);
        point(POINT_RENEW, proc);
        break;
    case GUARD_DO_ASK:
        ask_promises(n, effect->round);
        point(POINT_ASK, proc);
        break;
    case GUARD_DO_TAKE_OVER: take_over(n); break;
    case GUARD_DO_START_PRIMARY:
        check_begins(n, false);
        conf = conf_of_names(&g->core.kept.sync);
        start(n, true, &conf);
        point(POINT_START, proc);
        break;
    case GUARD_DO_START_STANDBY: {
        bool known = conf_of_standby(n, effect->upstream, effect->closed, &conf);
        rights_follows(n, true, effect->upstream);
        start(n, false, known ? &conf : NULL);
        if (!known) {
            emit_text(n, GUARD_EV_UNFOLLOWED, "the definition is not known");
        }
        point(POINT_START, proc);
        break;
    }
    case GUARD_DO_PROMOTE:
        check_grant(n);
        check_begins(n, true);
        promote(n, effect);
        point(POINT_PROMOTE, proc);
        break;
    case GUARD_DO_STOP:
        rights_stops(n);
        stop(n, effect->kill_at_ms);
        point(POINT_STOP, proc);
        break;
    case GUARD_DO_REST:
        g->rest_wanted = true;
        advance(n);
        point(POINT_REST, proc);
        break;
    case GUARD_DO_FOLLOW:
        trace("%s shall follow %s", node_name(n),
              effect->upstream[0] != '\0' ? effect->upstream : "nobody");
        rights_follows(n, false, effect->upstream);
        follow(n, effect->upstream, effect->closed);
        point(POINT_FOLLOW, proc);
        break;
    case GUARD_DO_SYNC:
        enforce(n, effect);
        point(POINT_ENFORCE, proc);
        break;
    case GUARD_DO_SLOTS: break;
    case GUARD_DO_REPORT: g->reported_ms = 0; break;
    case GUARD_DO_NOTE:
        if (strcmp(effect->rule, "R-G11") == 0) {
            g->lapsed = g->core.permit.epoch;
        }
        note(n, effect);
        break;
    default: break;
    }
}

static uint64_t look_interval_ms(const struct guard_core *core)
{
    bool pending = core->state == DUTY_STARTING || core->state == DUTY_LAUNCHING ||
                   core->state == DUTY_PROMOTING || core->state == DUTY_LOOKING;
    uint64_t half = core->permit.d_ms / 16;
    return pending                                                  ? LOOK_HURRY_MS
           : core->counts && half > LOOK_HURRY_MS && half < LOOK_MS ? half
                                                                    : LOOK_MS;
}

static bool goes_on(int n, uint32_t life)
{
    return w.procs[E_NODE + n].up && w.procs[E_NODE + n].life == life && !is_paused(E_NODE + n);
}

/* A pause in the middle of a step: what is left of it is done when the process goes on. That no
 * event comes between is as in the real one, whose loop stands still as well. */
static void step(int n, const struct guard_event *event, uint32_t life)
{
    struct sguard *g = of(n);
    guard_step(&g->core, event, &effects);
    check_tokens(n);
    for (int i = 0; i < effects.len && w.procs[E_NODE + n].up && w.procs[E_NODE + n].life == life;
         i++) {
        if (effects.items[i].type != GUARD_DO_NOTE) {
            trace_hash((uint64_t)effects.items[i].type + 100);
        }
        carry_out(n, &effects.items[i]);
    }
    if (!goes_on(n, life)) {
        return;
    }
    uint64_t every = look_interval_ms(&g->core);
    if (every < g->look_ms && now_ms(n) + every < g->look_at_ms) {
        schedule_look(n, every);
    }
    g->look_ms = every;
}

static void arm_tick(int n)
{
    struct sguard *g = of(n);
    uint64_t now = now_ms(n);
    uint64_t at = now + REPORT_EVERY_MS;
    uint64_t wanted = guard_deadline_ms(&g->core);
    uint64_t report = g->reported_ms + REPORT_EVERY_MS;
    at = wanted < at ? wanted : at;
    at = report < at ? report : at;
    if (g->dog && w.nodes[n].armed) {
        uint64_t feed = now + w.nodes[n].period_ms / 4;
        at = feed < at ? feed : at;
    } else if (g->arm_again_ms > now && g->arm_again_ms < at) {
        at = g->arm_again_ms;
    }
    at = at > now ? at : now + 1;
    if (at != g->tick_ms) {
        g->tick_ms = at;
        at_local(E_NODE + n, EV_G_TICK, at, &(struct ev){.n = at});
    }
}

static void pump(int n)
{
    struct sguard *g = of(n);
    uint32_t life = w.procs[E_NODE + n].life;
    if (pumping || !w.procs[E_NODE + n].up) {
        return;
    }
    pumping = true;
    if (guard_deadline_ms(&g->core) <= now_ms(n)) {
        struct guard_event tick = event_of(n, GUARD_EV_TICK);
        step(n, &tick, life);
    }
    if (goes_on(n, life)) {
        look_after_watchdog(n);
    }
    while (inbox_len > 0 && w.procs[E_NODE + n].up && w.procs[E_NODE + n].life == life) {
        struct guard_event first = inbox[0];
        memmove(inbox, inbox + 1, (size_t)--inbox_len * sizeof inbox[0]);
        first.now_ms = now_ms(n);
        step(n, &first, life);
        if (goes_on(n, life)) {
            look_after_watchdog(n);
        }
    }
    inbox_len = 0;
    if (w.procs[E_NODE + n].up && w.procs[E_NODE + n].life == life) {
        report_changes(n);
        if (now_ms(n) >= g->reported_ms + REPORT_EVERY_MS) {
            if (g->core.state == DUTY_DOWN) {
                g->rest_wanted = true;
                advance(n);
            }
            send_report(n);
        }
    }
    if (w.procs[E_NODE + n].up && w.procs[E_NODE + n].life == life) {
        arm_tick(n);
    }
    pumping = false;
}

void guard_on_tick(const struct ev *ev)
{
    int n = ev->proc - E_NODE;
    if (ev->n == of(n)->tick_ms) {
        of(n)->tick_ms = 0;
        pump(n);
    }
}

/* ---- the life of the process ---- */

void guard_start(int n)
{
    struct sguard *g = of(n);
    if (w.procs[E_NODE + n].up || !w.nodes[n].on) {
        return;
    }
    struct guard_durable disk = g->disk;
    struct guard_boot_state kept = g->kept;
    struct epoch lapsed = g->lapsed;
    char boot[BOOT_ID_SIZE];
    snprintf(boot, sizeof boot, "%.20s-%u", node_name(n), (unsigned)w.nodes[n].boots);
    if (strcmp(boot, g->boot) != 0) {
        kept.known = false;
    }
    bool knows[CTLS] = {g->knows[0], g->knows[1]};
    memset(g, 0, sizeof *g);
    g->disk = disk;
    g->kept = kept;
    g->lapsed = lapsed;
    memcpy(g->knows, knows, sizeof knows);
    memcpy(g->boot, boot, sizeof boot);
    w.procs[E_NODE + n].up = true;
    w.procs[E_NODE + n].life++;
    w.procs[E_NODE + n].paused_until = 0;
    guard_init(&g->core, node_name(n), boot, &disk, &kept, now_ms(n));
    g->look_ms = LOOK_MS;
    g->conf.upstream = NOBODY;
    trace("the guard of %s starts", node_name(n));
    check_next_life(n);
    inbox_len = 0;
    apply_policy(n);
    read_all(n);
    later(n, EV_G_WATCH, WATCH_MS, NULL);
    schedule_look(n, 0);
    pump(n);
}

void guard_on_start(const struct ev *ev)
{
    guard_start(ev->a);
}

/* What was being stored is stored or not. PostgreSQL and the watchdog are left as they are. */
void guard_crash(int n)
{
    struct sguard *g = of(n);
    if (w.procs[E_NODE + n].up) {
        trace("the guard of %s crashes", node_name(n));
        if (g->saving && chance(RNG_MODEL, 50)) {
            g->disk = g->saving_value;
        }
        w.procs[E_NODE + n].up = false;
        w.procs[E_NODE + n].life++;
    }
}
