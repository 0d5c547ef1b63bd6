/*
 * truth.c - what a controller says in its status, held against what was so (design S13).
 *
 * The claims are read from the document that operators read: status_json() of the product, asked of
 * a controller when it publishes its view and when a save of its was answered, in one schedule of
 * STATUS_SHARE (in all with --claims). Other claims stand in the records, and are read in every
 * schedule when etcd accepts them: evidence, and what alarms say of primaries and standbys.
 *
 * Nobody can know what is so now, and no claim is held to it. What rests on a probe, a report or a
 * reading must have been so at some moment between the earliest at which its facts may have been
 * gathered, by the age that the document gives or by the limit that it calls fresh, and now. What
 * is so is kept for that as a row of changes, the latest of each thing.
 *
 * A claim about records is held against the record of the revision that the controller knows;
 * while it leads, against the present one.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/api/status.h"
#include "tests/sim/sim.h"

#define STATUS_SHARE   16
#define LATEST_NEWS_US (13 * SEC) /* sent into a cut link, and sent again when that is over */

bool claims_always;

/* ---- the past ---- */

/* Of an instance and its node, as bits. */
enum {
    WAS_PRIMARY = 1 << 0, /* up, as one */
    WAS_STANDBY = 1 << 1,
    WAS_RUNNING = 1 << 2, /* some process of it */
    WAS_ARMED = 1 << 3,   /* the node's watchdog */
    WAS_ON = 1 << 4,
    WAS_SENDERS = 3 << 5 /* how many walsenders it has */
};

static unsigned bits_of(int i)
{
    const struct pg *pg = &w.pgs[i];
    unsigned senders = 0;
    for (int s = 0; s < NODES && pg->primary; s++) {
        senders += pg->senders[s].there ? 1u : 0u;
    }
    return (pg->state == PG_UP && pg->primary ? WAS_PRIMARY : 0u) |
           (pg->state == PG_UP && !pg->primary ? WAS_STANDBY : 0u) |
           (pg_runs(i) ? WAS_RUNNING : 0u) | (w.nodes[i].armed ? WAS_ARMED : 0u) |
           (w.nodes[i].on ? WAS_ON : 0u) | senders << 5;
}

static void remember(struct past *past, int is)
{
    struct past_change *latest = &past->changes[(past->len + PAST_MAX - 1) % PAST_MAX];
    if (past->len == 0 || latest->is != is) {
        past->changes[past->len++ % PAST_MAX] = (struct past_change){.since = w.now, .is = is};
    }
}

void truth_remember(void)
{
    for (int i = 0; i < NODES; i++) {
        remember(&w.past[i], (int)bits_of(i));
    }
    for (int p = 0; p < PROXIES; p++) {
        remember(&w.past_open[p], w.proxies[p].open);
    }
    remember(&w.past_leader, st.leader.create != 0 ? st.leader_of : NOBODY);
}

/* At some moment since then its bits under the mask were these. What is forgotten may have been. */
static bool was(const struct past *past, uint64_t since, int mask, int is)
{
    uint32_t oldest = past->len > PAST_MAX ? past->len - PAST_MAX : 0;
    for (uint32_t n = past->len; n > oldest; n--) {
        const struct past_change *change = &past->changes[(n - 1) % PAST_MAX];
        if ((change->is & mask) == is) {
            return true;
        }
        if (change->since <= since) {
            return false;
        }
    }
    return past->len > PAST_MAX;
}

/* By a process's own clock; before the faults began all clocks were even. */
static uint64_t true_us_of(int proc, uint64_t local_ms_)
{
    const struct clock *clock = &w.clocks[proc];
    int64_t passed = (int64_t)(local_ms_ * 1000) - (int64_t)clock->local_us;
    passed = passed > 0 ? passed * 1000000 / (1000000 + clock->ppm) : passed;
    return (uint64_t)((int64_t)clock->true_us + passed);
}

/* ---- what records say, when etcd accepts them ---- */

static int node_of(const char *name)
{
    for (int n = 0; n < NODES; n++) {
        if (name != NULL && strcmp(node_name(n), name) == 0) {
            return n;
        }
    }
    return NOBODY;
}

/* A fact counts for so long, and as long takes what was decided upon it to be recorded: a round of
 * each controller's probes, a view, and a save that may be answered late. */
static uint64_t decided_us(void)
{
    const struct profile *profile = definition_profile(&def);
    return (3u * (profile->probe_interval_ms + profile->probe_deadline_ms) + 4000 + 3000) * MS;
}

/* Evidence says that from then on it cannot write under the epoch that was revoked. */
static void check_evidence(const struct evidence_record *evidence)
{
    int i = node_of(evidence->node);
    if (i < 0 || w.by_hand || evidence->kind == EVIDENCE_OPERATOR) {
        return;
    }
    uint64_t since = w.revoked_since;
    if (evidence->kind == EVIDENCE_GUARD && !was(&w.past[i], since, WAS_RUNNING, 0)) {
        broken("S13: it is recorded that the guard of %s found no process, and one was there "
               "all the time",
               node_name(i));
    }
    if (evidence->kind == EVIDENCE_AGENT && !was(&w.past[i], since, WAS_ON, 0)) {
        broken("S13: it is recorded that %s is off, and it was on all the time", node_name(i));
    }
    if (pg_can_ack(i)) {
        broken("S13: it is recorded by %s that %s cannot write, and it can",
               evidence_kind_names[evidence->kind], node_name(i));
    }
}

static bool is_new_evidence(const struct group_record *before, const struct evidence_record *now)
{
    for (int m = 0; m < before->workflow.moves_len && before->moving; m++) {
        const struct move_record *move = &before->workflow.moves[m];
        for (int e = 0; e < move->evidence_len; e++) {
            if (move->evidence[e].wall_ms == now->wall_ms &&
                move->evidence[e].revocation_revision == now->revocation_revision &&
                strcmp(move->evidence[e].node, now->node) == 0) {
                return false;
            }
        }
    }
    return true;
}

static bool stood_so(const struct group_record *before, const struct alarm_record *alarm)
{
    for (int a = 0; a < before->alarms_len; a++) {
        if (strcmp(before->alarms[a].key, alarm->key) == 0) {
            return strcmp(before->alarms[a].text, alarm->text) == 0;
        }
    }
    return false;
}

/* "payments: 2 primaries seen: a2 takes writes, the recorded primary is a1" */
static void check_primaries_seen(const struct alarm_record *alarm)
{
    int seen = 0, were = 0;
    char node[NAME_SIZE] = "";
    if (sscanf(alarm->text, "%*[^:]: %d primaries seen: %63s takes", &seen, node) != 2) {
        broken("S13: an alarm that counts primaries does not: %.120s", alarm->text);
        return;
    }
    uint64_t since = w.now - decided_us();
    for (int i = 0; i < NODES; i++) {
        were += was(&w.past[i], since, WAS_PRIMARY, WAS_PRIMARY) ? 1 : 0;
    }
    int i = node_of(node);
    if (i < 0 || !was(&w.past[i], since, WAS_PRIMARY, WAS_PRIMARY)) {
        broken("S13: an alarm says that %s takes writes, and it was no primary", node);
    }
    if (seen > were) {
        broken("S13: an alarm counts %d primaries, and there were %d", seen, were);
    }
}

/* "payments: no redundancy: no standby streams from a1" */
static void check_no_standby(const struct alarm_record *alarm)
{
    const char *at = strstr(alarm->text, "no standby streams from ");
    int i = at == NULL ? NOBODY : node_of(at + 24);
    if (i >= 0 && !was(&w.past[i], w.now - decided_us(), WAS_SENDERS, 0)) {
        broken("S13: an alarm says that no standby streams from %s, and one did all the time",
               node_name(i));
    }
}

void truth_group_write(const struct group_record *before, const struct group_record *now)
{
    for (int m = 0; m < now->workflow.moves_len && now->moving; m++) {
        const struct move_record *move = &now->workflow.moves[m];
        for (int e = 0; e < move->evidence_len; e++) {
            if (is_new_evidence(before, &move->evidence[e])) {
                check_evidence(&move->evidence[e]);
            }
        }
    }
    for (int a = 0; a < now->alarms_len; a++) {
        const struct alarm_record *alarm = &now->alarms[a];
        if (stood_so(before, alarm)) {
            continue;
        }
        if (strncmp(alarm->key, "primaries_seen.", 15) == 0) {
            check_primaries_seen(alarm);
        } else if (strncmp(alarm->key, "redundancy.", 11) == 0) {
            check_no_standby(alarm);
        }
    }
    const char *primary = now->databases_len > 0 ? now->databases[0].primary : "";
    w.said_primary[w.said_primary_len++ % SAID_MAX] =
        (struct said){.revision = st.revision, .node = node_of(primary)};
}

void truth_permit_write(const struct permit_record *value)
{
    w.said_permit[w.said_permit_len++ % SAID_MAX] =
        (struct said){.revision = st.revision,
                      .node = node_of(value->node),
                      .granted = value->state == PERMIT_GRANTED,
                      .epoch = value->epoch.counter};
}

/* What stood there at that revision; NULL: it is forgotten. */
static const struct said *said_at(const struct said *said, uint32_t len, int64_t revision)
{
    for (uint32_t n = len; n > 0 && n + SAID_MAX > len; n--) {
        const struct said *at = &said[(n - 1) % SAID_MAX];
        if (at->revision <= revision) {
            return at->revision == revision ? at : NULL;
        }
    }
    return NULL;
}

/* ---- what a status says ---- */

struct reading { /* of one document */
    int c;
    const json_t *database;
    bool leads;           /* by the truth, and what it knows is what stands in etcd */
    uint64_t fresh_since; /* what the document calls fresh was gathered since then */
};

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static const char *who(const struct reading *of)
{
    return ctls[of->c].core.id;
}

/* By the age that stands beside it, when a round trip and a deadline are added. */
static uint64_t observed_since(int c, const json_t *object, const char *name)
{
    uint64_t age_ms = (uint64_t)json_integer_value(json_object_get(object, name));
    uint64_t more = definition_profile(&def)->probe_deadline_ms + 100;
    return true_us_of(c, local_ms(c) - age_ms - more);
}

static void check_instances(const struct reading *of)
{
    const json_t *item;
    size_t at;
    json_array_foreach(json_object_get(of->database, "instances"), at, item)
    {
        int i = node_of(text_of(item, "node"));
        const char *role = text_of(item, "role");
        int is = strcmp(role, "primary") == 0   ? WAS_PRIMARY
                 : strcmp(role, "standby") == 0 ? WAS_STANDBY
                                                : 0;
        if (i < 0 || (is != 0 && !was(&w.past[i], of->fresh_since, is, is))) {
            broken("S13: the status of %s calls %s a %s, and it was none", who(of),
                   text_of(item, "node"), role);
        }
    }
}

static void check_writable(const struct reading *of)
{
    int i = node_of(text_of(of->database, "primary"));
    if (is_true(of->database, "writable") && (i < 0 || w.wrote[of->c][i] < of->fresh_since)) {
        broken("S13: the status of %s calls %s writable, and no write of its was acknowledged",
               who(of), text_of(of->database, "primary"));
    }
}

static void check_primary(const struct reading *of)
{
    const struct core *core = &ctls[of->c].core;
    int i = node_of(text_of(of->database, "primary"));
    const struct said *said = said_at(w.said_primary, w.said_primary_len, core->groups[0].revision);
    if (i < 0 || said == NULL || said->node == i) {
        return;
    }
    {
        broken("S13: the status of %s names %s as the primary, and the record that it knows %s",
               who(of), node_name(i), said->node >= 0 ? node_name(said->node) : "nobody");
    }
}

static void check_permit(const struct reading *of)
{
    const struct core *core = &ctls[of->c].core;
    const struct said *said =
        said_at(w.said_permit, w.said_permit_len, core->databases[0].permit_revision);
    const char *word = text_of(of->database, "permit");
    const char *epoch = text_of(of->database, "epoch");
    const char *dot = strchr(epoch, '.');
    if (said == NULL || strcmp(word, "none") == 0 || dot == NULL) {
        return;
    }
    bool granted = strcmp(word, "granted") == 0;
    if (granted != said->granted || strtoull(dot + 1, NULL, 10) != said->epoch ||
        node_of(text_of(of->database, "permit_node")) != said->node) {
        broken("S13: the status of %s says that the permit %s is %s %s, and it is %llu, %s %s",
               who(of), epoch, word, text_of(of->database, "permit_node"),
               (unsigned long long)said->epoch, said->granted ? "granted" : "revoked",
               node_name(said->node));
    }
}

static void check_state(const struct reading *of)
{
    bool normal = strcmp(text_of(of->database, "state"), "normal") == 0;
    const char *primary = st.group.databases_len > 0 ? st.group.databases[0].primary : "";
    if (of->leads && normal &&
        (st.permit.state != PERMIT_GRANTED || strcmp(st.permit.node, primary) != 0)) {
        broken("S13: the status of %s says that the recorded primary holds the permit, and it does "
               "not",
               who(of));
    }
}

/* Acknowledged is what standbys have. */
static bool is_kept(uint32_t line, uint64_t lsn, int but)
{
    for (int j = 0; j < NODES; j++) {
        if (j != but && pg_has(j, line, lsn)) {
            return true;
        }
    }
    return false;
}

static void check_durability(const struct reading *of)
{
    int primary = node_of(text_of(of->database, "primary"));
    int candidate = node_of(text_of(json_object_get(of->database, "candidate"), "node"));
    bool enforced = is_true(json_object_get(of->database, "sync"), "enforced");
    bool proven = strcmp(text_of(of->database, "loss_now"), "proven") == 0;
    if (!of->leads || primary < 0) {
        return;
    }
    const struct pg *pg = &w.pgs[primary];
    if (enforced && pg_works(primary) && pg->primary && !pg->waits) {
        broken("S13: the status of %s says that commits wait on %s, and they do not", who(of),
               node_name(primary));
    }
    int but = candidate == primary ? NOBODY : primary; /* else it is started again where it is */
    for (uint32_t l = 1; l < (uint32_t)w.lines_len && proven && !w.loss_accepted && !w.by_hand;
         l++) {
        if (w.lines[l].acked > 0 && !is_kept(l, w.lines[l].acked, but)) {
            broken("S13: the status of %s says that nothing can be lost, and %llu stands on no "
                   "standby",
                   who(of), (unsigned long long)w.lines[l].acked);
        }
    }
}

static void check_redundancy(const struct reading *of)
{
    int i = node_of(text_of(of->database, "primary"));
    const json_t *redundancy = json_object_get(of->database, "redundancy");
    int n = (int)json_integer_value(redundancy);
    if (i >= 0 && json_is_integer(redundancy) &&
        !was(&w.past[i], of->fresh_since, WAS_SENDERS | WAS_PRIMARY, n << 5 | WAS_PRIMARY) &&
        !(n == 0 && was(&w.past[i], of->fresh_since, WAS_PRIMARY, 0))) {
        broken("S13: the status of %s says that %d standbys stream from %s, and it was another "
               "number",
               who(of), n, node_name(i));
    }
}

static void check_tier(const struct reading *of)
{
    const struct profile *profile = definition_profile(&def);
    int i = node_of(text_of(of->database, "permit_node"));
    const json_t *age = json_object_get(of->database, "renewed_age_ms");
    if (is_true(of->database, "watchdog_armed") && i >= 0 && json_is_integer(age)) {
        uint64_t age_ms = (uint64_t)json_integer_value(age) + profile->permit_d_ms;
        uint64_t since = true_us_of(of->c, local_ms(of->c) - age_ms) - LATEST_NEWS_US;
        since = since < w.watched[of->c] ? 0 : since;
        if (!was(&w.past[i], since, WAS_ARMED, WAS_ARMED)) {
            broken("S13: the status of %s says that the watchdog of %s was armed %lld ms ago, and "
                   "it was not",
                   who(of), node_name(i), (long long)json_integer_value(age));
        }
    }
    bool strict = strcmp(text_of(of->database, "tier"), "strict") == 0;
    for (int n = 0; n < NODES && strict && w.now > w.watched[of->c] + 16 * SEC; n++) {
        if (w.reported[n] + 30 * SEC < w.now) {
            broken("S13: the status of %s says strict, and the guard of %s has reported "
                   "nothing for %llu s",
                   who(of), node_name(n), (unsigned long long)((w.now - w.reported[n]) / SEC));
        }
    }
}

static void check_fenced(const struct reading *of)
{
    const json_t *item;
    size_t at;
    json_array_foreach(json_object_get(json_object_get(of->database, "move"), "evidence"), at, item)
    {
        int i = node_of(text_of(item, "node"));
        bool by_person = strcmp(text_of(item, "kind"), "operator") == 0;
        /* It has the permit again, or had it after that fence, and the next one begins. */
        bool named = i >= 0 && strcmp(st.permit.node, node_name(i)) == 0;
        int64_t revision = json_integer_value(json_object_get(item, "revocation_revision"));
        bool again = named && (st.permit.state == PERMIT_GRANTED || revision != st.permit_kv.mod);
        if (of->leads && i >= 0 && !by_person && !again && !w.by_hand && pg_can_ack(i)) {
            broken("S13: the status of %s gives proof by %s that %s cannot write, and it can",
                   who(of), text_of(item, "kind"), node_name(i));
        }
    }
}

static void check_route(const struct reading *of, const json_t *group)
{
    const json_t *route = json_array_get(json_object_get(group, "routes"), 0);
    const char *target = text_of(route, "target");
    bool as_it_is = strcmp(text_of(route, "wish"), "as it is") == 0;
    const json_t *item;
    size_t at;
    json_array_foreach(json_object_get(route, "proxies"), at, item)
    {
        const struct past *past = &w.past_open[at];
        uint64_t since = observed_since(of->c, item, "age_ms");
        const json_t *seen = json_object_get(item, "seen");
        const char *state = text_of(item, "state");
        int open = node_of(json_string_value(seen));
        if (strcmp(state, "unknown") == 0 || !json_is_integer(json_object_get(item, "age_ms"))) {
            continue;
        }
        if (json_is_string(seen) && !was(past, since, -1, open)) {
            broken("S13: the status of %s says that %s was seen to send traffic to %s, and it did "
                   "not",
                   who(of), def.proxies[at].name, node_name(open));
        }
        if (strcmp(state, "agrees") == 0 && !as_it_is && !was(past, since, -1, node_of(target))) {
            broken("S13: the status of %s says that %s agrees, and it does not", who(of),
                   def.proxies[at].name);
        }
    }
}

static void check_leads(const struct reading *of, const json_t *root)
{
    bool says = is_true(json_object_get(root, "controller"), "leading");
    uint64_t lease_us = definition_profile(&def)->lease_ms * MS;
    if (says && !w.lease_early && !was(&w.past_leader, w.now - lease_us, -1, of->c)) {
        broken("S13: the status of %s says that it leads, and it did not", who(of));
    }
}

/* What it knows of the records is what stands in etcd. */
static bool knows_all(int c)
{
    const struct core *core = &ctls[c].core;
    return core->leading && core->loaded && store_has_leader(c) && core->ticket_in_flight == 0 &&
           core->groups[0].revision == st.group_kv.mod &&
           core->databases[0].permit_revision == st.permit_kv.mod &&
           !core->databases[0].permit_dirty && !core->groups[0].dirty;
}

static void read_status(int c)
{
    const struct core *core = &ctls[c].core;
    const struct profile *profile = definition_profile(&def);
    struct status_extra extra = {
        .now_ms = local_ms(c), .wall_ms = wall_ms(c), .id = core->id, .version = ""};
    extra.deposed = core->leading && !ctl_may_act(c);
    uint64_t fresh_ms = 3ull * profile->probe_interval_ms + 3ull * profile->probe_deadline_ms + 100;
    json_t *root = status_json(core, &extra);
    const json_t *group = json_array_get(json_object_get(root, "groups"), 0);
    struct reading of = {.c = c,
                         .database = json_array_get(json_object_get(group, "databases"), 0),
                         .leads = knows_all(c),
                         .fresh_since =
                             true_us_of(c, extra.now_ms > fresh_ms ? extra.now_ms - fresh_ms : 0)};
    check_leads(&of, root);
    if (of.database != NULL) {
        check_instances(&of);
        check_writable(&of);
        check_primary(&of);
        check_permit(&of);
        check_state(&of);
        check_durability(&of);
        check_redundancy(&of);
        check_tier(&of);
        check_fenced(&of);
        check_route(&of, group);
    }
    json_decref(root);
}

void truth_ask(int c)
{
    w.to_ask |= w.sim_phase != PHASE_WARM && (claims_always || plan.seed % STATUS_SHARE == 3)
                    ? 1u << c
                    : 0u;
}

void truth_event(void)
{
    truth_remember();
    for (int c = 0; c < CTLS && w.to_ask != 0; c++) {
        if ((w.to_ask & 1u << c) != 0 && w.procs[c].up && ctls[c].core.defined) {
            read_status(c);
        }
    }
    w.to_ask = 0;
}
