/*
 * postgres.c - instances, replication, and what commits wait for.
 *
 * Each promotion begins a line of history; unlike timelines, lines are unique, so that the truth
 * tells two forks of one number apart. WAL is a position on a line: it flows from a primary to the
 * standbys that stream from it, and their confirmations flow back. Written is flushed.
 *
 * What commits wait for is taken up process by process (guard_sync.h): each walsender goes by its
 * own idea of the names, and backends begin to wait when the checkpointer has read them. A
 * walsender counts all that have a place, each by its own idea, and wants as many as its own idea
 * says.
 *
 * A stopped process's messages wait in its sockets until it goes on.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

#define CONNECT_MS   250
#define RECEIVER_MS  5000
#define RECORD_BYTES 64
#define SYSTEM_ID    7000

const struct names names_nobody = {.said = true, .first = true, .k = 1, .len = 1, .order = {NODES}};

const char *node_name(int node)
{
    return def.nodes[node].name;
}

/* ---- lines of history ---- */

bool line_descends(uint32_t line, uint32_t from)
{
    while (line != from && line != 0) {
        line = w.lines[line].parent;
    }
    return line == from;
}

static bool position_has(uint32_t line, uint64_t limit, uint32_t of, uint64_t lsn)
{
    while (line != of && line != 0) {
        limit = w.lines[line].fork < limit ? w.lines[line].fork : limit;
        line = w.lines[line].parent;
    }
    return line == of && lsn <= limit;
}

bool line_has(uint32_t line, uint32_t of, uint64_t lsn)
{
    return position_has(line, UINT64_MAX, of, lsn);
}

bool pg_has(int i, uint32_t line, uint64_t lsn)
{
    return position_has(w.pgs[i].line, w.pgs[i].lsn, line, lsn);
}

/* ---- names ---- */

bool names_same(const struct names *a, const struct names *b)
{
    return a->said == b->said && a->first == b->first && a->k == b->k && a->len == b->len &&
           memcmp(a->order, b->order, sizeof a->order) == 0;
}

void names_of_entry(const struct sync_entry_record *entry, struct names *ret)
{
    memset(ret, 0, sizeof *ret);
    if (entry == NULL || entry->k == 0) {
        return;
    }
    ret->said = true;
    ret->first = entry->first;
    ret->k = (int8_t)entry->k;
    for (int m = 0; m < entry->members_len; m++) {
        for (int n = 0; n < NODES; n++) {
            if (strcmp(entry->members[m], node_name(n)) == 0) {
                ret->order[ret->len++] = (int8_t)n;
            }
        }
    }
}

int names_place(const struct names *names, int who)
{
    for (int i = 0; i < names->len && names->said; i++) {
        if (names->order[i] == who) {
            return names->first ? i + 1 : 1;
        }
    }
    return 0;
}

static void names_text(const struct names *names, char text[SYNC_NAMES_SIZE])
{
    struct sync_entry_record entry = {.k = names->said ? names->k : 0, .first = names->first};
    for (int i = 0; i < names->len; i++) {
        snprintf(entry.members[entry.members_len++], NAME_SIZE, "%s",
                 names->order[i] == NODES ? GUARD_SYNC_NOBODY : node_name(names->order[i]));
    }
    guard_sync_names(&entry, text);
}

/* ---- what commits wait for ---- */

/* By that walsender's idea of how many; `now`: else what it would come to if those that live
 * confirmed everything. */
static uint64_t confirmed_by(int p, int by, const bool *lives)
{
    const struct pg *pg = &w.pgs[p];
    const struct names *names = &pg->senders[by].by;
    int places[NODES];
    uint64_t flushes[NODES] = {0};
    int len = 0;
    if (!pg->senders[by].there || names_place(names, by) == 0) {
        return 0;
    }
    for (int s = 0; s < NODES; s++) {
        int place = pg->senders[s].there ? names_place(&pg->senders[s].by, s) : 0;
        if (place == 0) {
            continue;
        }
        int at = len++;
        uint64_t flush = lives == NULL ? pg->senders[s].flush : lives[s] ? UINT64_MAX : 1;
        /* FIRST: by place; ANY: by what they have, most first. */
        while (at > 0 && (names->first ? places[at - 1] > place : flushes[at - 1] < flush)) {
            places[at] = places[at - 1];
            flushes[at] = flushes[at - 1];
            at--;
        }
        places[at] = place;
        flushes[at] = flush;
    }
    if (len < names->k) {
        return 0;
    }
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < names->k && i < len; i++) {
        least = flushes[i] < least ? flushes[i] : least;
    }
    return least;
}

static void end_waiter(int i, const struct waiter *waiter)
{
    check_release(i, waiter->lsn);
    switch (waiter->kind) {
    case WAIT_PROBE:
    case WAIT_TRY:
        ((struct instance_fact *)load_at(waiter->load))->wrote = true;
        w.wrote[waiter->who][i] = w.now;
        load_keep(waiter->load);
        post(E_NODE + i, waiter->who, EV_CTL_PROBED, 0,
             &(struct ev){.a = i,
                          .n = waiter->n,
                          .m = waiter->m,
                          .life = waiter->life,
                          .load = waiter->load});
        break;
    case WAIT_LOOK: after(E_NODE + i, EV_G_SEEN, 100, &(struct ev){.a = 1, .n = waiter->n}); break;
    case WAIT_PROOF:
        after(E_NODE + i, EV_G_COMMITTED, 100, &(struct ev){.n = waiter->n, .m = waiter->lsn});
        break;
    case WAIT_NOBODY: break;
    case WAIT_CLIENT:
        post(E_NODE + i, waiter->m != 0 ? E_PROXY + (int)waiter->m - 1 : E_CLIENT, EV_CLIENT_ACK, 0,
             &(struct ev){.a = waiter->who,
                          .b = i,
                          .n = waiter->n,
                          .m = waiter->lsn,
                          .tries = 0,
                          .life = w.pgs[i].line << 1 | (w.pgs[i].waits ? 1 : 0)});
        break;
    }
    load_drop(waiter->load);
}

static void release(int i, uint64_t lsn)
{
    struct pg *pg = &w.pgs[i];
    pg->released = lsn > pg->released ? lsn : pg->released;
    for (int n = 0; n < pg->waiters_len;) {
        if (pg->waiters[n].lsn <= pg->released || !pg->waits) {
            struct waiter waiter = pg->waiters[n];
            memmove(&pg->waiters[n], &pg->waiters[n + 1],
                    (size_t)(--pg->waiters_len - n) * sizeof waiter);
            end_waiter(i, &waiter);
        } else {
            n++;
        }
    }
}

bool pg_wait(int i, const struct waiter *waiter)
{
    struct pg *pg = &w.pgs[i];
    if (!pg->waits || waiter->lsn <= pg->released) {
        end_waiter(i, waiter);
        return true;
    }
    if (pg->waiters_len == WAITERS_MAX) {
        load_drop(waiter->load);
        return false;
    }
    pg->waiters[pg->waiters_len++] = *waiter;
    return true;
}

void pg_give_up(int i, enum waiter_kind kind, int who, uint64_t id)
{
    struct pg *pg = &w.pgs[i];
    for (int n = 0; n < pg->waiters_len; n++) {
        if (pg->waiters[n].kind == kind && pg->waiters[n].who == who && pg->waiters[n].n == id) {
            load_drop(pg->waiters[n].load);
            memmove(&pg->waiters[n], &pg->waiters[n + 1],
                    (size_t)(--pg->waiters_len - n) * sizeof pg->waiters[0]);
            return;
        }
    }
}

static void drop_waiters(int i)
{
    struct pg *pg = &w.pgs[i];
    for (int n = 0; n < pg->waiters_len; n++) {
        load_drop(pg->waiters[n].load);
    }
    pg->waiters_len = 0;
}

bool pg_can_ack(int i)
{
    const struct pg *pg = &w.pgs[i];
    bool lives[NODES];
    if (!pg_works(i) || !pg->primary) {
        return false;
    }
    if (!pg->waits) {
        return true;
    }
    for (int s = 0; s < NODES; s++) {
        lives[s] = pg->senders[s].there && w.pgs[s].from == i &&
                   w.pgs[s].conn == pg->senders[s].conn && pg_works(s) &&
                   linked_both(E_NODE + i, E_NODE + s) && w.pgs[s].lag_until <= w.now;
    }
    for (int s = 0; s < NODES; s++) {
        if (lives[s] && confirmed_by(i, s, lives) == UINT64_MAX) {
            return true;
        }
    }
    return false;
}

/* ---- processes ---- */

bool pg_runs(int i)
{
    return w.pgs[i].state != PG_DOWN || w.pgs[i].left;
}

bool pg_works(int i)
{
    return w.nodes[i].on && w.pgs[i].state == PG_UP && w.pgs[i].hung_until <= w.now;
}

int64_t pg_life(int i)
{
    return w.pgs[i].state == PG_DOWN ? 0 : (int64_t)w.pgs[i].started + 1;
}

static struct ev of_life(int i)
{
    return (struct ev){.a = i, .life = w.pgs[i].life};
}

/* It is its present life, and goes on: else later, or never. */
static bool is_now(int i, const struct ev *ev)
{
    if (w.pgs[i].life != ev->life || !w.nodes[i].on || w.pgs[i].state == PG_DOWN) {
        return false;
    }
    if (w.pgs[i].hung_until > w.now) {
        struct ev later = *ev;
        later.at = w.pgs[i].hung_until;
        later.from = NOBODY;
        if (later.load != 0) {
            load_keep(later.load);
        }
        push(&later);
        return false;
    }
    return true;
}

void pg_set_file(int i, const struct conf *conf)
{
    w.pgs[i].file_upstream = conf->upstream;
    w.pgs[i].file_names = conf->says_names ? conf->names : (struct names){0};
}

void pg_start(int i, bool primary)
{
    struct pg *pg = &w.pgs[i];
    pg->signal = !primary;
    pg->as_primary = primary;
    pg->state = PG_STARTING;
    pg->life++;
    pg->started = w.now;
    pg->hung_until = 0;
    pg->primary = false;
    pg->promoting = false;
    pg->from = NOBODY;
    struct ev ev = of_life(i);
    after(NOBODY, EV_PG_UP, rnd_in(RNG_MODEL, 30 * MS, 400 * MS), &ev);
}

void pg_on_up(const struct ev *ev)
{
    int i = ev->a;
    struct pg *pg = &w.pgs[i];
    if (!is_now(i, ev) || pg->state != PG_STARTING) {
        return;
    }
    pg->state = PG_UP;
    pg->primary = pg->as_primary;
    pg->upstream = pg->file_upstream;
    pg->shown = pg->file_names;
    pg->waits = pg->shown.said;
    pg->released = 0;
    pg->replayed = pg->lsn;
    pg->control = pg->primary ? GUARD_CONTROL_PRIMARY_CRASH : GUARD_CONTROL_STANDBY;
    trace("%s is up as a %s on timeline %u at %llu", node_name(i),
          pg->primary ? "primary" : "standby", (unsigned)pg->tli, (unsigned long long)pg->lsn);
    after(NOBODY, EV_PG_CONNECT, 10 * MS, ev);
}

static void ended(int i, bool clean)
{
    struct pg *pg = &w.pgs[i];
    if (pg->state == PG_DOWN) {
        return;
    }
    pg->checkpoint = pg->lsn;
    pg->state = PG_DOWN;
    pg->primary = false;
    pg->promoting = false;
    pg->life++;
    pg->left = pg->left || pg->stuck;
    pg->from = NOBODY;
    memset(pg->senders, 0, sizeof pg->senders);
    drop_waiters(i);
    trace("%s: PostgreSQL has ended%s%s", node_name(i), clean ? ", cleanly" : "",
          pg->left ? ", and a process is left" : "");
    if (w.nodes[i].on) {
        if (w.procs[E_NODE + i].up) {
            after(E_NODE + i, EV_G_ENDED, 200, NULL);
        }
        ctl_news_of(i);
        point(POINT_GONE, E_NODE + i);
    }
}

/* Of a shutdown, before its walsenders have sent it: what is killed from then on has ended cleanly,
 * by its control file. */
static void write_last_checkpoint(int i)
{
    struct pg *pg = &w.pgs[i];
    if (pg->primary && pg->control != GUARD_CONTROL_PRIMARY_CLEAN) {
        pg_append(i, 120);
        pg->control = GUARD_CONTROL_PRIMARY_CLEAN;
    }
}

void pg_on_ends(const struct ev *ev)
{
    struct pg *pg = &w.pgs[ev->a];
    if (pg->life != ev->life || pg->state == PG_DOWN) {
        return;
    }
    if (ev->b == 0) {                 /* a fast shutdown: walsenders send everything first */
        if (pg->hung_until > w.now) { /* the signal waits with it */
            struct ev later = *ev;
            later.at = pg->hung_until;
            push(&later);
            return;
        }
        for (int s = 0; s < NODES && pg->primary; s++) {
            if (pg->senders[s].there && !linked_both(E_NODE + ev->a, E_NODE + s)) {
                if (ev->tries == 50) {
                    break; /* wal_sender_timeout */
                }
                write_last_checkpoint(ev->a);
                struct ev later = *ev; /* it waits for that, or until it is hurried */
                later.tries++;
                later.at = w.now + 200 * MS;
                push(&later);
                return;
            }
        }
        write_last_checkpoint(ev->a);
    }
    ended(ev->a, ev->b == 0);
}

static void end_in(int i, int how, uint64_t us)
{
    struct ev ev = of_life(i);
    ev.b = how;
    after(NOBODY, EV_PG_ENDS, us, &ev);
}

void pg_signal_int(int i)
{
    struct pg *pg = &w.pgs[i];
    if (pg->state == PG_DOWN) {
        return;
    }
    if (pg->hung_until <= w.now) {
        pg->state = PG_STOPPING; /* every session has ended */
        drop_waiters(i);
    }
    end_in(i, 0, rnd_in(RNG_MODEL, 3 * MS, 60 * MS));
}

void pg_signal_quit(int i)
{
    if (w.pgs[i].hung_until <= w.now) {
        end_in(i, 1, rnd_in(RNG_MODEL, 1 * MS, 10 * MS));
    }
}

void pg_signal_kill(int i)
{
    if (w.pgs[i].state != PG_DOWN) {
        ended(i, false);
    }
}

/* ---- a new setting, process by process ---- */

void pg_reload(int i)
{
    struct ev ev = of_life(i);
    if (w.pgs[i].state == PG_DOWN) {
        return;
    }
    after(NOBODY, EV_PG_RELOAD, rnd_in(RNG_MODEL, 500, 8 * MS), &ev);
}

/* The postmaster has read it, and tells its children. */
static void tell_children(int i)
{
    struct ev ev = of_life(i);
    ev.b = 1;
    after(NOBODY, EV_PG_RELOAD, rnd_in(RNG_MODEL, 200, 110 * MS), &ev);
    for (int s = 0; s < NODES; s++) {
        ev.b = s;
        w.pgs[i].senders[s].told = w.pgs[i].senders[s].there;
        after(NOBODY, EV_PG_WALSENDER, rnd_in(RNG_MODEL, 200, 60 * MS), &ev);
    }
}

void pg_on_reload(const struct ev *ev)
{
    struct pg *pg = &w.pgs[ev->a];
    if (!is_now(ev->a, ev) || pg->state != PG_UP) {
        return;
    }
    if (ev->b == 0) {
        pg->shown = pg->file_names;
        tell_children(ev->a);
        if (pg->upstream != pg->file_upstream) {
            pg->upstream = pg->file_upstream;
            pg->from = NOBODY; /* the receiver ends, and another begins */
        }
    } else {
        pg->waits = pg->file_names.said;
        release(ev->a, 0);
    }
}

void pg_on_walsender(const struct ev *ev)
{
    struct pg *pg = &w.pgs[ev->a];
    struct walsender *sender = &pg->senders[ev->b];
    if (is_now(ev->a, ev) && sender->there && !sender->stuck) {
        sender->by = pg->file_names;
        sender->told = false;
        release(ev->a, confirmed_by(ev->a, ev->b, NULL));
    }
}

int pg_sync_rows(int i, struct guard_sync_row *rows)
{
    const struct pg *pg = &w.pgs[i];
    int len = 0;
    for (int s = 0; s < NODES; s++) {
        if (pg->senders[s].there) {
            snprintf(rows[len].name, sizeof rows[len].name, "%s", node_name(s));
            rows[len].releases = true;
            rows[len].place = names_place(&pg->senders[s].by, s);
            rows[len++].flush_lsn = pg->senders[s].flush;
        }
    }
    return len;
}

/* ---- replication ---- */

static void send_wal(int i, int to)
{
    const struct pg *pg = &w.pgs[i];
    post(E_NODE + i, E_NODE + to, EV_PG_WAL, 0,
         &(struct ev){
             .a = to, .b = i, .n = pg->lsn, .m = pg->senders[to].conn, .life = w.pgs[to].life});
}

uint64_t pg_append(int i, uint64_t bytes)
{
    struct pg *pg = &w.pgs[i];
    pg->lsn += bytes;
    for (int s = 0; s < NODES; s++) {
        if (pg->senders[s].there) {
            send_wal(i, s);
        }
    }
    return pg->lsn;
}

/* Its standby's end of the connection has been closed: by a process, not by a machine that is off.
 */
static bool is_closed(int i, int by)
{
    const struct pg *standby = &w.pgs[by];
    bool other =
        standby->from >= 0 && (standby->from != i || standby->conn != w.pgs[i].senders[by].conn);
    return w.nodes[by].on && linked_both(E_NODE + i, E_NODE + by) &&
           (standby->state == PG_DOWN || standby->primary || standby->upstream != i || other);
}

static void look_at_senders(int i)
{
    struct pg *pg = &w.pgs[i];
    for (int s = 0; s < NODES; s++) {
        struct walsender *sender = &pg->senders[s];
        if (!sender->there || sender->stuck) {
            continue;
        }
        if (is_closed(i, s)) {
            memset(sender, 0, sizeof *sender);
        } else if (w.pgs[s].from == i && w.pgs[s].conn == sender->conn &&
                   w.now > w.pgs[s].heard + RECEIVER_MS * MS / 2) {
            send_wal(i, s); /* a standby that hears nothing asks, and both have news of the other */
        }
    }
}

void pg_on_connect(const struct ev *ev)
{
    int i = ev->a;
    struct pg *pg = &w.pgs[i];
    if (!is_now(i, ev) || pg->state != PG_UP) {
        return;
    }
    after(NOBODY, EV_PG_CONNECT, CONNECT_MS * MS, ev);
    if (pg->primary) {
        look_at_senders(i);
        for (int s = 0; s < NODES; s++) { /* what was lost on the way is sent again */
            bool behind = pg->senders[s].there && pg->senders[s].flush < pg->lsn;
            if (behind && linked_both(E_NODE + i, E_NODE + s)) {
                send_wal(i, s);
            }
        }
        return;
    }
    int up = pg->upstream;
    if (pg->from >= 0) {
        const struct pg *from = &w.pgs[pg->from];
        bool closed = linked_both(E_NODE + i, E_NODE + pg->from) &&
                      (!w.nodes[pg->from].on || from->state == PG_DOWN || !from->senders[i].there ||
                       from->senders[i].conn != pg->conn);
        if (closed || w.now > pg->heard + RECEIVER_MS * MS) {
            pg->from = NOBODY;
        }
    }
    if (pg->from < 0 && up >= 0 && up != i && !pg->promoting) {
        struct ev ask = {.a = up, .b = i, .n = pg->lsn, .m = pg->line, .life = pg->life};
        post(E_NODE + i, E_NODE + up, EV_PG_STREAM, 0, &ask);
    }
}

/* To the primary: b asks. Back (tries as a mark is not used; b is negative): it streams. */
void pg_on_stream(const struct ev *ev)
{
    struct pg *pg = &w.pgs[ev->a];
    if (ev->b < 0) { /* the answer: n the connection, m the primary's line */
        int from = -ev->b - 1;
        if (pg->life == ev->life && pg->state == PG_UP && pg->hung_until <= w.now && !pg->primary &&
            !pg->promoting && pg->upstream == from) {
            pg->from = from;
            pg->conn = (uint32_t)ev->n;
            pg->heard = w.now;
            pg->line = (uint32_t)ev->m;
            pg->tli = w.lines[pg->line].tli;
        }
        return;
    }
    if (!pg_works(ev->a) || !pg->primary ||
        !position_has(pg->line, pg->lsn, (uint32_t)ev->m, ev->n)) {
        return;
    }
    struct walsender *sender = &pg->senders[ev->b];
    *sender = (struct walsender){.there = true, .conn = ++w.conns, .by = pg->shown, .flush = 0};
    post(E_NODE + ev->a, E_NODE + ev->b, EV_PG_STREAM, 0,
         &(struct ev){
             .a = ev->b, .b = -ev->a - 1, .n = sender->conn, .m = pg->line, .life = ev->life});
    send_wal(ev->a, ev->b);
}

void pg_on_wal(const struct ev *ev)
{
    int i = ev->a;
    struct pg *pg = &w.pgs[i];
    if (!is_now(i, ev) || pg->state != PG_UP || pg->from != ev->b || pg->conn != ev->m ||
        pg->promoting) {
        return;
    }
    pg->heard = w.now;
    if (pg->lag_until > w.now) {
        return;
    }
    if (ev->n > pg->lsn) {
        pg->lsn = ev->n;
        pg->wal_moved = w.now;
        if (pg->replay_until <= w.now) {
            pg->replayed = pg->lsn;
        }
    }
    post(E_NODE + i, E_NODE + ev->b, EV_PG_FLUSHED, rnd_in(RNG_MODEL, 100, 1500),
         &(struct ev){.a = ev->b, .b = i, .n = pg->lsn, .m = ev->m, .life = w.pgs[ev->b].life});
}

void pg_on_flushed(const struct ev *ev)
{
    struct pg *pg = &w.pgs[ev->a];
    struct walsender *sender = &pg->senders[ev->b];
    if (!is_now(ev->a, ev) || !sender->there || sender->conn != ev->m || sender->stuck) {
        return;
    }
    if (sender->told) { /* it reads its setting before it hears its standby */
        sender->by = pg->file_names;
        sender->told = false;
    }
    sender->flush = ev->n > sender->flush ? ev->n : sender->flush;
    release(ev->a, confirmed_by(ev->a, ev->b, NULL));
}

/* ---- promotion ---- */

static void promoted(int i, bool by_hand)
{
    struct pg *pg = &w.pgs[i];
    if (w.lines_len == LINES_MAX) {
        broken("the model holds %d lines of history", LINES_MAX);
        return;
    }
    uint32_t old = pg->line;
    pg->promoting = false;
    pg->primary = true;
    pg->replay_until = 0;
    pg->control = GUARD_CONTROL_PRIMARY_CRASH;
    pg->waits = pg->waits && pg->file_names.said;
    w.lines[w.lines_len] = (struct line){
        .parent = old, .fork = pg->lsn, .tli = w.lines[old].tli + 1, .by_hand = by_hand};
    pg->line = (uint32_t)w.lines_len++;
    pg->tli = w.lines[pg->line].tli;
    pg->released = 0;
    w.promotions++;
    trace("%s is a primary on timeline %u, from %llu on", node_name(i), (unsigned)pg->tli,
          (unsigned long long)pg->lsn);
    check_promoted(i, old, by_hand);
    pg_append(i, RECORD_BYTES);
    point(POINT_PROMOTED, E_NODE + i);
}

/* n: until when by its own clock, 0: a person; m: the guard's order; b: 1 at its end. */
void pg_on_promote(const struct ev *ev)
{
    int i = ev->a;
    struct pg *pg = &w.pgs[i];
    if (!is_now(i, ev) || pg->state != PG_UP) {
        return;
    }
    if (ev->b == 1) {
        if (pg->promoting) {
            promoted(i, ev->n == 0);
            if (ev->n != 0 && w.procs[E_NODE + i].up) {
                after(E_NODE + i, EV_G_PROMOTED, rnd_in(RNG_MODEL, 200, 4 * MS),
                      &(struct ev){.a = 1, .n = ev->m});
            }
        }
        return;
    }
    rights_order_taken(i);
    if (pg->primary || pg->promoting || (ev->n != 0 && local_ms(E_NODE + i) >= ev->n)) {
        if (ev->n != 0 && w.procs[E_NODE + i].up) {
            after(E_NODE + i, EV_G_PROMOTED, 500, &(struct ev){.a = pg->primary, .n = ev->m});
        }
        return;
    }
    pg->promoting = true;
    w.own_history[i] = w.own_history[i] || ev->n != 0;
    pg->from = NOBODY;
    struct ev later = *ev;
    later.b = 1;
    after(NOBODY, EV_PG_PROMOTE, rnd_in(RNG_MODEL, 8 * MS, 60 * MS), &later);
}

/* ---- what others ask of it ---- */

void pg_fill_fact(int i, struct instance_fact *fact)
{
    const struct pg *pg = &w.pgs[i];
    memset(fact, 0, sizeof *fact);
    fact->answered = true;
    fact->system_id = SYSTEM_ID;
    fact->timeline = pg->tli;
    fact->life = pg_life(i);
    fact->role = pg->primary ? ROLE_PRIMARY : ROLE_STANDBY;
    fact->sync_commit_on = true;
    names_text(&pg->shown, fact->sync_names);
    if (!pg->primary) {
        fact->receive_lsn = pg->lsn;
        fact->replay_paused = pg->replay_until > w.now;
        fact->replay_idle = true;
        fact->replay_lsn = fact->replay_paused ? pg->replayed : pg->lsn;
        fact->receiving = pg->from >= 0;
        fact->replay_idle = fact->replay_lsn == pg->lsn;
        return;
    }
    fact->write_lsn = pg->lsn;
    for (int s = 0; s < NODES; s++) {
        if (pg->senders[s].there) {
            struct standby_fact *standby = &fact->standbys[fact->standbys_len++];
            snprintf(standby->name, sizeof standby->name, "%s", node_name(s));
            standby->streaming = true;
            standby->sync_priority = names_place(&pg->senders[s].by, s);
            standby->sync = standby->sync_priority > 0;
            standby->flush_lsn = pg->senders[s].flush;
            standby->replay_lsn = pg->senders[s].flush;
        }
    }
}

void pg_on_probe(const struct ev *ev)
{
    int i = ev->b;
    struct pg *pg = &w.pgs[i];
    if (!w.nodes[i].on) {
        return;
    }
    if (pg->state != PG_DOWN && pg->hung_until > w.now) {
        struct ev later = *ev;
        later.at = pg->hung_until;
        later.from = NOBODY;
        push(&later);
        return;
    }
    int load = load_new(sizeof(struct instance_fact));
    struct instance_fact *fact = load_at(load);
    memset(fact, 0, sizeof *fact);
    fact->cause = pg->state == PG_DOWN       ? CAUSE_REFUSED
                  : w.busy_until[i] > w.now  ? CAUSE_TOO_MANY
                  : pg->state == PG_STARTING ? CAUSE_STARTING
                  : pg->state == PG_STOPPING ? CAUSE_STOPPING
                                             : CAUSE_OK;
    bool lets_in = pg->state == PG_UP && w.busy_until[i] <= w.now;
    if (lets_in) {
        pg_fill_fact(i, fact);
    }
    if (lets_in && pg->primary) {
        bool tried = (ev->n & UINT64_C(1) << 40) != 0;
        pg_wait(i, &(struct waiter){.lsn = pg_append(i, RECORD_BYTES),
                                    .kind = tried ? WAIT_TRY : WAIT_PROBE,
                                    .who = ev->a,
                                    .life = ev->life,
                                    .n = ev->n,
                                    .m = ev->m,
                                    .load = load});
        return;
    }
    post(E_NODE + i, ev->a, EV_CTL_PROBED, 0,
         &(struct ev){.a = i, .n = ev->n, .m = ev->m, .life = ev->life, .load = load});
}

/* a: the client, b: the instance, n: the write, m: its proxy + 1. */
void pg_on_write(const struct ev *ev)
{
    int i = ev->b;
    struct pg *pg = &w.pgs[i];
    if (!w.nodes[i].on) {
        return;
    }
    if (pg->state == PG_UP && pg->hung_until > w.now) {
        struct ev later = *ev;
        later.at = pg->hung_until;
        later.from = NOBODY;
        push(&later);
        return;
    }
    int back = ev->m != 0 ? E_PROXY + (int)ev->m - 1 : E_CLIENT;
    if (pg->state != PG_UP || !pg->primary) {
        post(E_NODE + i, back, EV_CLIENT_ACK, 0, &(struct ev){.a = ev->a, .b = -1, .n = ev->n});
        return;
    }
    pg_wait(
        i,
        &(struct waiter){
            .lsn = pg_append(i, 200), .kind = WAIT_CLIENT, .who = ev->a, .n = ev->n, .m = ev->m});
}
