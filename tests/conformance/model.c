/*
 * model.c - scripts on the simulator's models, in virtual time.
 *
 * Controllers and guards are this file: what is sent to one is looked at in the queue, and dropped
 * there, as to a process that has ended. Oracles are not asked: scripts do what no product may.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/conformance/conformance.h"
#include "tests/sim/sim.h"

#define WRITES_MAX_OF 64
#define KEYS          (6 + CTLS + NODES)
#define NEWS_MAX      64

static_assert(NODES == SCRIPT_NODES, "scripts know the nodes of the model");

struct write { /* of a script, by its name */
    char name[32];
    int at; /* the instance */
    uint32_t line;
    uint64_t lsn;
    bool acked, refused;
};
static struct write written[WRITES_MAX_OF]; /* [0] is not used */
static int written_len;

static struct ev answer; /* the latest to a process */
static bool answered;
static struct guard_reply guard_answer;
static struct instance_fact probe_answer;

struct heard { /* by a watcher, and not told yet */
    int what, which;
    int64_t mod, at;
};
static struct heard news[PROCS][NEWS_MAX];
static int news_len[PROCS];
static int64_t told_mod[PROCS][KEYS];
static bool resumed[PROCS];
static int64_t base_revision;
static int64_t lives[NODES];
static int life_counts[NODES];

/* ---- the queue ---- */

static void hear_news(int proc, const struct ev *ev)
{
    if (news_len[proc] < NEWS_MAX) {
        news[proc][news_len[proc]++] = (struct heard){ev->a, ev->b, (int64_t)ev->n, (int64_t)ev->m};
    }
}

static void hear(const struct ev *ev)
{
    switch ((enum ev_kind)ev->kind) {
    case EV_CTL_NEWS:
    case EV_G_NEWS: hear_news(ev->proc, ev); return;
    case EV_G_RENEWED:
    case EV_G_REPORTED: guard_answer = *(const struct guard_reply *)load_at(ev->load); break;
    case EV_CTL_PROBED: probe_answer = *(const struct instance_fact *)load_at(ev->load); break;
    case EV_CTL_ALIVE:
    case EV_CTL_ELECTED:
    case EV_CTL_SAVED: break;
    case EV_CLIENT_ACK:
        if (ev->n > 0 && ev->n < (uint64_t)WRITES_MAX_OF) {
            written[ev->n].acked = ev->b >= 0;
            written[ev->n].refused = ev->b < 0;
            if (ev->b >= 0) {
                written[ev->n].lsn = ev->m;
                written[ev->n].line = ev->life >> 1;
            }
        }
        break;
    default: return;
    }
    answer = *ev;
    answered = true;
}

static void run_for_us(uint64_t us)
{
    uint64_t until = w.now + us;
    while (w.queue_len > 0 && queue[0].at <= until) {
        int proc = queue[0].proc;
        bool cut = queue[0].from >= 0 && w.cut[queue[0].from][queue[0].to] != 0;
        bool lives_still = proc < 0 || queue[0].life == w.procs[proc].life;
        if (!cut && lives_still) {
            hear(&queue[0]);
        }
        if (proc >= 0 && !cut) {
            w.procs[proc].up = false;
        }
        run_one(until);
        w.broken[0] = '\0';
        if (proc >= 0) {
            w.procs[proc].up = true;
        }
    }
    w.now = until;
}

static void define_cluster(void)
{
    memset(&def, 0, sizeof def);
    snprintf(def.cluster, sizeof def.cluster, "model");
    def.profile = PROFILE_FAST;
    def.nodes_len = NODES;
    for (int n = 0; n < NODES; n++) {
        snprintf(def.nodes[n].name, sizeof def.nodes[n].name, "a%d", n + 1);
    }
    snprintf(def.databases[0].name, NAME_SIZE, "payments");
    snprintf(def.groups[0].name, NAME_SIZE, "shop");
    for (int p = 0; p < PROXIES; p++) {
        snprintf(def.proxies[p].name, NAME_SIZE, "p%d", p + 1);
    }
}

static void model_begin(uint64_t seed)
{
    world_load_copy(0); /* no world has been warmed up: an empty one */
    queue_reset(seed);
    define_cluster();
    w.now = 1000 * SEC;
    w.lines_len = 2;
    w.lines[1] = (struct line){.tli = 1};
    w.sim_phase = PHASE_ALL; /* no plan strikes */
    w.by_hand = w.async = true;
    st.revision = base_revision = 100;
    for (int p = 0; p < PROCS; p++) {
        w.clocks[p] = (struct clock){.true_us = w.now, .local_us = 7000 * SEC};
        w.procs[p] = (struct proc){.up = true, .life = 1};
    }
    for (int n = 0; n < NODES; n++) {
        w.nodes[n].on = true;
        w.pgs[n] = (struct pg){.line = 1,
                               .lsn = 0x1000000,
                               .tli = 1,
                               .file_upstream = -1,
                               .from = NOBODY,
                               .control = GUARD_CONTROL_STANDBY};
    }
    for (int p = 0; p < PROXIES; p++) {
        w.proxies[p].open = 0; /* as its file says */
    }
    memset(written, 0, sizeof written);
    written_len = 1;
    memset(news_len, 0, sizeof news_len);
    memset(told_mod, 0, sizeof told_mod);
    memset(resumed, 0, sizeof resumed);
    memset(lives, 0, sizeof lives);
    memset(life_counts, 0, sizeof life_counts);
}

static void model_end(void)
{
}

/* ---- PostgreSQL ---- */

static struct write *write_of(const struct words *words, int i)
{
    for (int n = 1; n < written_len; n++) {
        if (i < words->len && strcmp(written[n].name, words->at[i]) == 0) {
            return &written[n];
        }
    }
    fprintf(stderr, "conformance: \"%s\": there is no such write\n", words->line);
    exit(2);
}

static const struct waiter *waiter_of(const struct write *of)
{
    const struct pg *pg = &w.pgs[of->at];
    for (int n = 0; n < pg->waiters_len; n++) {
        if (pg->waiters[n].kind == WAIT_CLIENT && pg->waiters[n].n == (uint64_t)(of - written)) {
            return &pg->waiters[n];
        }
    }
    return NULL;
}

static void say_write(struct write *of, struct says *ret_says)
{
    const struct waiter *waiter = waiter_of(of);
    if (waiter != NULL) {
        of->lsn = waiter->lsn;
        of->line = w.pgs[of->at].line;
    }
    say(ret_says, "%s %s", of->name,
        waiter != NULL ? "waits"
        : of->acked    ? "is acknowledged"
        : of->refused  ? "is refused"
                       : "is not answered");
}

static void commit(int i, const char *name, struct says *ret_says)
{
    struct write *new = &written[written_len];
    assert(written_len < WRITES_MAX_OF);
    snprintf(new->name, sizeof new->name, "%s", name);
    new->at = i;
    post(E_CLIENT, E_NODE + i, EV_PG_WRITE, 0,
         &(struct ev){.a = 0, .b = i, .n = (uint64_t)written_len++});
    run_for_us(2 * SEC);
    say_write(new, ret_says);
}

static void give_up(struct write *of, struct says *ret_says)
{
    bool waited = waiter_of(of) != NULL;
    pg_give_up(of->at, WAIT_CLIENT, 0, (uint64_t)(of - written));
    say(ret_says, "%s %s", of->name,
        waited && pg_has(of->at, of->line, of->lsn) ? "stays, with a warning" : "did not wait");
}

static void set_names(int i, const char *text, struct says *ret_says)
{
    struct wanted_names wanted;
    struct conf conf = {.upstream = w.pgs[i].file_upstream, .says_names = true};
    struct instance_fact fact;
    names_read(text, &wanted);
    conf.names = (struct names){.said = wanted.k > 0,
                                .first = wanted.first,
                                .k = (int8_t)wanted.k,
                                .len = (int8_t)wanted.len};
    for (int n = 0; n < wanted.len; n++) {
        conf.names.order[n] = (int8_t)(wanted.order[n] == SCRIPT_NODES ? NODES : wanted.order[n]);
    }
    pg_set_file(i, &conf);
    if (!pg_works(i)) {
        return;
    }
    pg_reload(i);
    run_for_us(SEC);
    pg_fill_fact(i, &fact);
    say(ret_says, "a%d shows '%s'", i + 1, fact.sync_names);
}

static void follow(int i, int up)
{
    struct conf conf = {
        .upstream = up, .says_names = w.pgs[i].file_names.said, .names = w.pgs[i].file_names};
    pg_set_file(i, &conf);
    if (pg_works(i)) {
        pg_reload(i);
        run_for_us(SEC);
    }
}

static const char *role_of(int i)
{
    return w.pgs[i].state != PG_UP ? "not up" : w.pgs[i].primary ? "a primary" : "a standby";
}

static void start(const struct words *words, int i, struct says *ret_says)
{
    bool primary = !w.pgs[i].signal;
    if (words->len > 3) {
        primary = word_is(words, 3, "primary");
    }
    if (words->len > 5) {
        follow(i, word_number(words, 5, 'a'));
    }
    if (w.pgs[i].state != PG_DOWN) {
        say(ret_says, "a%d runs", i + 1);
        return;
    }
    pg_start(i, primary);
    run_for_us(SEC);
    say(ret_says, "a%d is %s", i + 1, role_of(i));
}

static void promote(int i, struct says *ret_says)
{
    uint32_t before = w.pgs[i].line;
    struct ev ev = {.a = i, .life = w.pgs[i].life};
    post(E_NODE + i, E_NODE + i, EV_PG_PROMOTE, 0, &ev);
    run_for_us(SEC);
    if (w.pgs[i].line == before) {
        say(ret_says, "a%d is not promoted", i + 1);
    } else {
        say(ret_says, "a%d is %s on timeline %u", i + 1, role_of(i), (unsigned)w.pgs[i].tli);
    }
}

static void probe(int i, struct says *ret_says)
{
    static uint64_t number;
    number++;
    answered = false;
    post(0, E_NODE + i, EV_PG_PROBE, 0,
         &(struct ev){.a = 0, .b = i, .n = number, .life = w.procs[0].life});
    run_for_us(3 * SEC);
    if (answered && answer.kind == EV_CTL_PROBED && answer.n == number) {
        const char *as = probe_answer.role == ROLE_PRIMARY ? "primary" : "in recovery";
        if (!probe_answer.answered) {
            say(ret_says, "a%d refuses", i + 1);
        } else {
            say(ret_says, "a%d is %s, and %s", i + 1, as,
                probe_answer.wrote ? "writes" : "cannot write");
        }
        return;
    }
    for (int n = 0; n < w.pgs[i].waiters_len; n++) {
        if (w.pgs[i].waiters[n].kind == WAIT_PROBE && w.pgs[i].waiters[n].n == number) {
            say(ret_says, "a%d is primary, and its write waits", i + 1);
            pg_give_up(i, WAIT_PROBE, 0, number);
            return;
        }
    }
    say(ret_says, "a%d is silent", i + 1);
}

static void say_standbys(int i, struct says *ret_says)
{
    struct instance_fact fact;
    pg_fill_fact(i, &fact);
    for (int s = 0; s < fact.standbys_len; s++) {
        say(ret_says, "%s streams from a%d, place %d", fact.standbys[s].name, i + 1,
            fact.standbys[s].sync_priority);
    }
    if (fact.standbys_len == 0) {
        say(ret_says, "nobody streams from a%d", i + 1);
    }
}

static void say_control(int i, struct says *ret_says)
{
    static const char *const words[] = {[GUARD_CONTROL_UNKNOWN] = "nothing",
                                        [GUARD_CONTROL_STANDBY] = "in recovery",
                                        [GUARD_CONTROL_PRIMARY_CLEAN] = "a primary, shut down",
                                        [GUARD_CONTROL_PRIMARY_CRASH] = "a primary, in production"};
    say(ret_says, "a%d's control file says: %s", i + 1, words[w.pgs[i].control]);
}

static void say_life(int i, struct says *ret_says)
{
    if (pg_life(i) != lives[i]) {
        lives[i] = pg_life(i);
        life_counts[i]++;
    }
    say(ret_says, "a%d is in life %d", i + 1, life_counts[i]);
}

static void cut_node(int i, int by)
{
    for (int n = 0; n < NODES; n++) {
        link_cut(E_NODE + i, E_NODE + n, by);
        link_cut(E_NODE + n, E_NODE + i, by);
    }
}

static void stop(int i, struct says *ret_says)
{
    pg_signal_int(i);
    run_for_us(2 * SEC);
    say(ret_says, "a%d %s", i + 1, pg_runs(i) ? "still runs" : "has ended");
}

#define FOR_EVER (UINT64_C(100000) * SEC)

/* What a script does to an instance without anything to be seen of it. */
static bool handle(const struct words *words, int i)
{
    struct pg *pg = &w.pgs[i];
    if (word_is(words, 1, "patient")) {
        return true; /* it is, for longer than these scripts hold a walsender */
    }
    if (word_is(words, 1, "crash")) {
        pg_signal_kill(i);
    } else if (word_is(words, 1, "freeze")) {
        pg->hung_until = w.now + FOR_EVER;
    } else if (word_is(words, 1, "thaw")) {
        pg->hung_until = 0;
        for (int n = 0; n < w.queue_len; n++) { /* what waits in its sockets */
            if (queue[n].at > w.now + FOR_EVER / 2) {
                struct ev ev = queue[n];
                queue[n].proc = 0; /* to a life that there is not */
                queue[n].life = UINT32_MAX;
                queue[n].load = 0;
                ev.at = w.now;
                push(&ev);
            }
        }
    } else if (word_is(words, 1, "cut")) {
        cut_node(i, 1);
    } else if (word_is(words, 1, "heal")) {
        cut_node(i, -1);
    } else if (word_is(words, 1, "stall") || word_is(words, 1, "unstall")) {
        pg->lag_until = word_is(words, 1, "stall") ? w.now + FOR_EVER : 0;
    } else if (word_is(words, 1, "pause") || word_is(words, 1, "resume")) {
        pg->replay_until = word_is(words, 1, "pause") ? w.now + FOR_EVER : 0;
    } else if (word_is(words, 1, "hold") || word_is(words, 1, "release")) {
        pg->senders[word_number(words, 3, 'a')].stuck = word_is(words, 1, "hold");
        return true; /* at once: its standby waits some seconds only */
    } else if (word_is(words, 1, "follow")) {
        follow(i, word_number(words, 3, 'a'));
    } else {
        return false;
    }
    run_for_us(SEC);
    return true;
}

static void look(const struct words *words, int i, struct says *ret_says)
{
    const struct pg *pg = &w.pgs[i];
    if (word_is(words, 1, "has") || word_is(words, 1, "sees")) {
        const struct write *of = write_of(words, 3);
        struct instance_fact fact;
        run_for_us(2 * SEC);
        pg_fill_fact(i, &fact);
        bool has = pg_has(i, of->line, of->lsn);
        bool sees = has && (pg->primary || fact.replay_lsn >= of->lsn);
        if (word_is(words, 1, "has")) {
            say(ret_says, "a%d %s %s", i + 1, has ? "has" : "has not", of->name);
        } else {
            say(ret_says, "a%d %s %s", i + 1, sees ? "sees" : "does not see", of->name);
        }
    } else if (word_is(words, 1, "receives")) {
        run_for_us(8 * SEC);
        say(ret_says, pg->from >= 0 ? "a%d receives from a%d" : "a%d does not receive", i + 1,
            pg->from + 1);
    } else if (word_is(words, 1, "standbys")) {
        run_for_us(SEC);
        say_standbys(i, ret_says);
    } else if (word_is(words, 1, "timeline")) {
        run_for_us(SEC);
        say(ret_says, "a%d is on timeline %u", i + 1, (unsigned)pg->tli);
    } else if (word_is(words, 1, "control")) {
        say_control(i, ret_says);
    } else if (word_is(words, 1, "life")) {
        say_life(i, ret_says);
    } else {
        say(ret_says, "? the model has no \"%s\"", words->line);
    }
}

static const struct pg_hands pg_hands = {
    .start = start,
    .set_names = set_names,
    .commit = commit,
    .probe = probe,
    .promote = promote,
    .stop = stop,
    .handle = handle,
    .look = look,
};

static void model_pg(const struct words *words, struct says *ret_says)
{
    if (word_is(words, 1, "await") || word_is(words, 1, "cancel")) {
        run_for_us(8 * SEC);
        if (word_is(words, 1, "await")) {
            say_write(write_of(words, 2), ret_says);
        } else {
            give_up(write_of(words, 2), ret_says);
        }
        return;
    }
    pg_by_hand(&pg_hands, words, ret_says);
}

/* ---- etcd ---- */

static const char *const key_names[KEYS] = {"leader",   "group",    "permit",  "heartbeat",
                                            "incident", "request",  "view.c1", "view.c2",
                                            "guard.a1", "guard.a2", "guard.a3"};

static int key_of(const char *name, size_t len)
{
    for (int k = 0; k < KEYS; k++) {
        if (strlen(key_names[k]) == len && strncmp(key_names[k], name, len) == 0) {
            return k;
        }
    }
    fprintf(stderr, "conformance: there is no key \"%s\"\n", name);
    exit(2);
}

static struct kv kv_of_key(int k)
{
    switch (k) {
    case 0: return (struct kv){st.leader.create, st.leader.create};
    case 1: return st.group_kv;
    case 2: return st.permit_kv;
    case 3: return st.renewal_kv;
    case 4: return st.incidents[0].kv;
    case 5: return st.requests[0].kv;
    case 6:
    case 7: return st.view_kv[k - 6];
    default: return st.guard_kv[k - 8];
    }
}

static long long since_base(int64_t revision)
{
    return revision == 0 ? 0 : (long long)(revision - base_revision);
}

static void say_key(const char *name, struct says *ret_says)
{
    struct kv kv = kv_of_key(key_of(name, strlen(name)));
    if (kv.create == 0) {
        say(ret_says, "%s is absent", name);
    } else {
        say(ret_says, "%s was created at +%lld, changed at +%lld", name, since_base(kv.create),
            since_base(kv.mod));
    }
}

/* NAME@REVISION: what is known of a key, as the store counts. */
static int known(const char *word, int64_t *ret_revision)
{
    const char *at = strchr(word, '@');
    assert(at != NULL);
    int64_t since = strtoll(at + 1, NULL, 10);
    *ret_revision = since == 0 ? 0 : base_revision + since;
    return key_of(word, (size_t)(at - word));
}

static void to_store(int proc, enum ev_kind kind, const struct ev *ev)
{
    struct ev new = *ev;
    new.life = w.procs[proc].life;
    answered = false;
    post(proc, E_ETCD, kind, 0, &new);
    run_for_us(50 * MS);
}

static void lease(int c, struct says *ret_says)
{
    to_store(c, EV_ST_KEEPALIVE, &(struct ev){.a = c});
    if (ret_says == NULL) {
        return;
    }
    if (!answered) {
        say(ret_says, "c%d is not answered", c + 1);
    } else {
        say(ret_says, answer.b != 0 ? "c%d has a new lease" : "c%d's lease is kept", c + 1);
    }
}

static void expire(int c, struct says *ret_says)
{
    uint64_t until = w.now + definition_profile(&def)->lease_ms * MS + 2 * SEC;
    while (w.now < until) {
        for (int other = 0; other < CTLS; other++) {
            if (other != c && st.lease_until[other] != 0) {
                lease(other, NULL);
            }
        }
        run_for_us(500 * MS);
    }
    say(ret_says, st.lease_until[c] == 0 ? "c%d's lease has ended" : "c%d's lease lives", c + 1);
}

static void campaign(int c, struct says *ret_says)
{
    to_store(c, EV_ST_CAMPAIGN, &(struct ev){.a = c});
    if (answered) {
        ctls[c].term = (int64_t)answer.n;
        ctls[c].core.term = ctls[c].term;
        say(ret_says, "c%d leads, its term is +%lld", c + 1, since_base(ctls[c].term));
    } else {
        say(ret_says, "c%d does not lead", c + 1);
    }
}

static void save(const struct words *words, int c, struct says *ret_says)
{
    static const enum save_kind kinds[KEYS] = {
        [1] = SAVE_GROUP, [2] = SAVE_PERMIT, [4] = SAVE_INCIDENT};
    struct core *core = &ctls[c].core;
    struct effect effect;
    memset(&effect, 0, sizeof effect);
    effect.save.ticket = 7;
    snprintf(core->groups[0].incident.id, sizeof core->groups[0].incident.id, "i1");
    for (int i = 3; i < words->len; i++) {
        struct save_item *item = &effect.save.items[effect.save.items_len++];
        item->kind = kinds[known(words->at[i], &item->revision)];
    }
    answered = false;
    store_save(c, &effect);
    run_for_us(50 * MS);
    if (!answered) {
        say(ret_says, "c%d is not answered", c + 1);
    } else if (answer.b == 0) {
        say(ret_says, "c%d's save is accepted at +%lld", c + 1, since_base((int64_t)answer.n));
    } else {
        say(ret_says, "c%d's save is refused", c + 1);
    }
}

static void say_guard_answer(int node, const char *what, struct says *ret_says)
{
    if (!answered) {
        say(ret_says, "a%d is not answered", node + 1);
        return;
    }
    say(ret_says, "a%d's %s is %s; its key is at +%lld, the permit at +%lld", node + 1, what,
        guard_answer.accepted ? "accepted" : "refused", since_base(guard_answer.own),
        since_base(guard_answer.permit_revision));
}

static void renew(const struct words *words, int node, struct says *ret_says)
{
    int load = load_new(sizeof(struct renew_load));
    struct renew_load *said = load_at(load);
    memset(said, 0, sizeof *said);
    known(words->at[3], &said->permit_revision);
    known(words->at[4], &said->heartbeat);
    to_store(E_NODE + node, EV_ST_RENEW, &(struct ev){.a = node, .load = load});
    say_guard_answer(node, "renewal", ret_says);
}

static void report(const struct words *words, int node, struct says *ret_says)
{
    int load = load_new(sizeof(struct report_load));
    struct report_load *said = load_at(load);
    memset(said, 0, sizeof *said);
    int64_t since = strtoll(words->at[3], NULL, 10);
    said->kv = since == 0 ? 0 : base_revision + since;
    to_store(E_NODE + node, EV_ST_REPORT, &(struct ev){.a = node, .load = load});
    say_guard_answer(node, "report", ret_says);
}

static int key_of_news(const struct heard *heard)
{
    switch ((enum watched)heard->what) {
    case WATCH_PERMIT: return 2;
    case WATCH_GROUP: return 1;
    case WATCH_INCIDENT: return 4;
    case WATCH_REQUEST: return 5;
    case WATCH_VIEW:
    case WATCH_API: return 6 + heard->which;
    case WATCH_GUARD: return 8 + heard->which;
    case WATCH_RENEWAL: return 3;
    case WATCH_LEADER: return 0;
    }
    return 0;
}

static int by_mod(const void *a, const void *b)
{
    const struct heard *x = a;
    const struct heard *y = b;
    return x->mod < y->mod ? -1 : x->mod > y->mod ? 1 : key_of_news(x) - key_of_news(y);
}

/* After a resumption: the last state of what has changed, by revision. */
static void say_news(const char *who, int proc, struct says *ret_says)
{
    int before = ret_says->len;
    if (resumed[proc]) {
        qsort(news[proc], (size_t)news_len[proc], sizeof news[proc][0], by_mod);
    }
    for (int n = 0; n < news_len[proc]; n++) {
        const struct heard *heard = &news[proc][n];
        int k = key_of_news(heard);
        bool gone = heard->mod == 0 || k == 0;
        if (proc >= CTLS && told_mod[proc][k] == heard->mod) {
            continue; /* an answer has brought it along */
        }
        if (resumed[proc] &&
            (told_mod[proc][k] == heard->mod || (gone && told_mod[proc][k] <= 0))) {
            continue;
        }
        told_mod[proc][k] = gone ? -1 : heard->mod;
        if (gone) {
            say(ret_says, "%s hears that %s is gone", who, key_names[k]);
        } else {
            say(ret_says, "%s hears of %s at +%lld", who, key_names[k], since_base(heard->mod));
        }
    }
    if (ret_says->len == before) {
        say(ret_says, "%s hears nothing", who);
    }
    news_len[proc] = 0;
    resumed[proc] = false;
}

static void set_watching(int proc, bool watching)
{
    if (proc < CTLS) {
        ctls[proc].watching = watching;
    } else {
        guards[proc - E_NODE].watching = watching;
    }
}

static const struct etcd_hands etcd_hands = {
    .lease = lease,
    .expire = expire,
    .campaign = campaign,
    .save = save,
    .renew = renew,
    .report = report,
};

static void model_etcd(const struct words *words, struct says *ret_says)
{
    if (word_is(words, 1, "key")) {
        say_key(words->at[2], ret_says);
        return;
    }
    if (word_is(words, 1, "compact")) {
        return; /* it keeps no history */
    }
    if (word_is(words, 1, "down") || word_is(words, 1, "up")) {
        store_down(word_is(words, 1, "down"));
        return;
    }
    bool guard = words->len > 2 && words->at[2][0] == 'a';
    int number = word_number(words, 2, guard ? 'a' : 'c');
    int proc = guard ? E_NODE + number : number;
    if (etcd_by_hand(&etcd_hands, words, number, ret_says)) {
        return;
    }
    if (word_is(words, 1, "resign")) {
        to_store(proc, EV_ST_RESIGN, &(struct ev){.a = number, .n = (uint64_t)ctls[number].term});
    } else if (word_is(words, 1, "view")) {
        int load = load_new(sizeof(struct controller_record));
        memset(load_at(load), 0, sizeof(struct controller_record));
        to_store(proc, EV_ST_VIEW, &(struct ev){.a = number, .load = load});
    } else if (word_is(words, 1, "lose")) {
        st.lose_answer[proc] = 1;
    } else if (word_is(words, 1, "watch") || word_is(words, 1, "stall")) {
        set_watching(proc, word_is(words, 1, "watch"));
    } else if (word_is(words, 1, "resume")) {
        set_watching(proc, true);
        resumed[proc] = true;
        store_notify_all(proc);
    } else if (word_is(words, 1, "news")) {
        run_for_us(100 * MS);
        say_news(words->at[2], proc, ret_says);
    } else {
        say(ret_says, "? the model has no \"%s\"", words->line);
    }
}

/* ---- proxies ---- */

/* One write over its session, which stays where it is, or is made. */
static void ask_over(int s, struct says *ret_says)
{
    struct client *client = &w.clients[s];
    client->write = (uint32_t)(WRITES_MAX_OF + ++w.writes);
    client->waiting = true;
    answered = false;
    post(E_CLIENT, E_PROXY + client->proxy, EV_PROXY_WRITE, 0,
         &(struct ev){.a = s, .b = client->proxy, .n = client->write});
    run_for_us(SEC);
    if (answered && answer.kind == EV_CLIENT_ACK && answer.b >= 0) {
        say(ret_says, "s%d reaches a%d", s + 1, answer.b + 1);
    } else {
        say(ret_says, "s%d reaches nobody", s + 1);
    }
    client->waiting = false;
}

static void model_haproxy(const struct words *words, struct says *ret_says)
{
    bool session = word_is(words, 1, "session") || word_is(words, 1, "ask");
    for (int n = 0; n < NODES; n++) { /* somebody answers at each server */
        if (w.pgs[n].state == PG_DOWN) {
            pg_start(n, true);
        }
    }
    run_for_us(SEC);
    if (session) {
        int s = word_number(words, 2, 's');
        if (word_is(words, 1, "session")) {
            w.clients[s] = (struct client){.on = NOBODY, .proxy = word_number(words, 3, 'p')};
        } else if (w.clients[s].on < 0) {
            say(ret_says, "s%d has ended", s + 1);
            return;
        }
        ask_over(s, ret_says);
        return;
    }
    int p = word_number(words, 2, 'p');
    if (word_is(words, 1, "open") || word_is(words, 1, "close")) {
        int to = word_is(words, 1, "open") ? word_number(words, 3, 'a') : NOBODY;
        if (w.proxies[p].open != to) {
            proxy_set_by_hand(p, NOBODY);
        }
        proxy_set_by_hand(p, to);
    } else if (word_is(words, 1, "restart")) { /* as FAULT_PROXY_FORGETS */
        proxy_set_by_hand(p, NOBODY);
        proxy_set_by_hand(p, 0);
    } else if (word_is(words, 1, "state")) {
        say(ret_says, w.proxies[p].open >= 0 ? "p%d sends to a%d" : "p%d sends to nobody", p + 1,
            w.proxies[p].open + 1);
    } else {
        say(ret_says, "? the model has no \"%s\"", words->line);
    }
}

static void model_run(const struct words *words, struct says *ret_says)
{
    if (word_is(words, 0, "pg")) {
        model_pg(words, ret_says);
    } else if (word_is(words, 0, "etcd")) {
        model_etcd(words, ret_says);
    } else if (word_is(words, 0, "haproxy")) {
        model_haproxy(words, ret_says);
    } else {
        say(ret_says, "? the model has no \"%s\"", words->line);
    }
}

const struct side model_side = {"model", model_begin, model_run, model_end};
