/*
 * script.c - the commands of a scenario, and what it expects in the end.
 *
 * One table of commands; `help` text is the reference. Names: controllers c1, c2; `leader`; nodes
 * as the cluster line names them (of a node with several databases, one instance is node/database).
 */
#include "tests/scenario/script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/world.h"

#define WORDS_MAX 16

struct words {
    int len;
    char *at[WORDS_MAX];
    const char *rest[WORDS_MAX]; /* of the line, from that word on */
};

/* ---- words ---- */

bool script_duration(const char *text, uint64_t *ret_ms)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    for (size_t i = 0; i < sizeof units / sizeof units[0] && end != text; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ret_ms = n * units[i].ms;
            return true;
        }
    }
    return false;
}

bool script_number(const char *text, int *ret_number)
{
    char *end;
    long n = strtol(text, &end, 10);
    bool good = end != text && *end == '\0' && n >= 0 && n <= 1000000;
    *ret_number = good ? (int)n : -1;
    return good;
}

static bool is_number(const char *text, int number)
{
    int n;
    return script_number(text, &n) && n == number;
}

bool script_bytes(const char *text, uint64_t *ret_bytes)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    uint64_t unit = strcmp(end, "") == 0    ? 1
                    : strcmp(end, "k") == 0 ? 1u << 10
                    : strcmp(end, "M") == 0 ? 1u << 20
                    : strcmp(end, "G") == 0 ? 1u << 30
                                            : 0;
    *ret_bytes = n * unit;
    return end != text && unit != 0;
}

static int find_word(const char *const names[], int len, const char *word)
{
    for (int i = 0; i < len && names[i] != NULL; i++) {
        if (strcmp(names[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

static int controller_of(const struct world *world, const char *word)
{
    if (strcmp(word, "leader") == 0) {
        return controller_leading(world);
    }
    for (int c = 0; c < world->controllers_len; c++) {
        if (strcmp(world->controllers[c].id, word) == 0) {
            return c;
        }
    }
    return -1;
}

static int proxy_of(const struct world *world, const char *word)
{
    for (int p = 0; p < world->def.proxies_len; p++) {
        if (strcmp(world->def.proxies[p].name, word) == 0) {
            return p;
        }
    }
    return -1;
}

/* "a1" is every instance on that node, "a1/payments" one. Calls `act` for each; false: none. */
static bool each_instance(struct world *world, const char *word,
                          void (*act)(struct world *world, int db, int i))
{
    char node_name[NAME_SIZE];
    snprintf(node_name, sizeof node_name, "%s", word);
    char *slash = strchr(node_name, '/');
    if (slash != NULL) {
        *slash = '\0';
    }
    int node = definition_node(&world->def, node_name);
    int found = 0;
    for (int db = 0; db < world->def.databases_len && node >= 0; db++) {
        int i = definition_instance(&world->def.databases[db], node);
        if (i >= 0 && (slash == NULL || strcmp(slash + 1, world->def.databases[db].name) == 0)) {
            act(world, db, i);
            found++;
        }
    }
    return found > 0;
}

/* ---- commands: controllers ---- */

static void on_start_later(struct world *world, const struct args *args)
{
    if (!world->controllers[args->controller].running) {
        world_print(world, "%s is started", world->controllers[args->controller].id);
        controller_start(world, args->controller);
    }
}

static bool kill_it(struct world *world, const struct words *words)
{
    int c = controller_of(world, words->at[1]);
    uint64_t away_ms = 0;
    if (c < 0 || (words->len == 4 && !script_duration(words->at[3], &away_ms))) {
        return false;
    }
    world_print(world, "%s is killed", world->controllers[c].id);
    controller_kill(world, c);
    if (away_ms > 0) {
        world_at(world, world->now_ms + away_ms, on_start_later, &(struct args){.controller = c});
    }
    return true;
}

static bool start_it(struct world *world, const struct words *words);

static void on_thaw_later(struct world *world, const struct args *args)
{
    world_print(world, "%s goes on", world->controllers[args->controller].id);
    controller_thaw(world, args->controller);
}

static bool freeze_it(struct world *world, const struct words *words)
{
    int c = controller_of(world, words->at[1]);
    uint64_t for_ms;
    if (c < 0 || words->len != 4 || !script_duration(words->at[3], &for_ms)) {
        return false;
    }
    world_print(world, "%s stands still", world->controllers[c].id);
    controller_freeze(world, c);
    world_at(world, world->now_ms + for_ms, on_thaw_later, &(struct args){.controller = c});
    return true;
}

static bool skew_it(struct world *world, const struct words *words)
{
    int c = controller_of(world, words->at[1]);
    uint64_t by_ms;
    const char *by = words->at[2];
    bool back = *by == '-';
    if (c < 0 || !script_duration(back || *by == '+' ? by + 1 : by, &by_ms)) {
        return false;
    }
    world->controllers[c].wall_skew_ms = back ? -(int64_t)by_ms : (int64_t)by_ms;
    return true;
}

/* ---- commands: the network ---- */

static bool set_cut(struct world *world, const struct words *words, bool cut)
{
    bool found = false;
    for (int c = 0; c < world->controllers_len; c++) {
        bool this_one =
            strcmp(words->at[3], "controllers") == 0 || controller_of(world, words->at[3]) == c;
        int node = definition_node(&world->def, words->at[1]);
        if (!this_one) {
            continue;
        }
        found = true;
        if (strcmp(words->at[1], "etcd") == 0) {
            store_cut(world, c, cut);
        } else if (strcmp(words->at[1], "nodes") == 0) {
            for (int n = 0; n < world->def.nodes_len; n++) {
                world->cut_node[c][n] = cut;
            }
        } else if (node >= 0) {
            world->cut_node[c][node] = cut;
        } else {
            return false;
        }
    }
    return found;
}

static bool cut_it(struct world *world, const struct words *words)
{
    return set_cut(world, words, true);
}

static bool heal_it(struct world *world, const struct words *words)
{
    return set_cut(world, words, false);
}

/* ---- commands: instances and machines ---- */

static void crash(struct world *world, int db, int i)
{
    postgres_crash(world, db, i);
}

static void hang(struct world *world, int db, int i)
{
    world->pg[db][i].hung = true;
}

static void unhang(struct world *world, int db, int i)
{
    world->pg[db][i].hung = false;
}

/* It comes back as what it was: a former primary as a second one, since no guard holds it down. */
static void start(struct world *world, int db, int i)
{
    const struct postgres *pg = &world->pg[db][i];
    if (pg->role == ROLE_PRIMARY && pg->line != world->truth[db].newest_line) {
        world->truth[db].split_by_hand = true;
    }
    postgres_start(world, db, i);
}

static void unlink_it(struct world *world, int db, int i)
{
    world->pg[db][i].unlinked = true;
}

static void link_it(struct world *world, int db, int i)
{
    world->pg[db][i].unlinked = false;
    world->pg[db][i].muted = false;
}

static void mute_it(struct world *world, int db, int i)
{
    world->pg[db][i].unlinked = true;
    world->pg[db][i].muted = true;
}

static void as_standby(struct world *world, int db, int i)
{
    postgres_crash(world, db, i);
    world->pg[db][i].role = ROLE_STANDBY;
    postgres_start(world, db, i);
}

/* A copy of the newest line's primary, streaming from it. */
static void rebuild(struct world *world, int db, int i)
{
    const struct postgres *from = &world->pg[db][world->truth[db].promoted];
    world->pg[db][i] = *from;
    world->pg[db][i].role = ROLE_STANDBY;
    world->pg[db][i].running = true;
    world->pg[db][i].in_force_len = 0;
    world->pg[db][i].promotions = 0;
    world->pg[db][i].promotion = PROMOTION_WORKS;
}

/* Promoted by somebody's hand: a line of its own. */
static void by_hand(struct world *world, int db, int i)
{
    world->pg[db][i].role = ROLE_PRIMARY;
    world->pg[db][i].timeline++;
    world->pg[db][i].line = world->next_line++;
    world->pg[db][i].in_force_len = 0;
    world->truth[db].split_by_hand = true;
}

static void by_hand_standby(struct world *world, int db, int i)
{
    world->pg[db][i].timeline++;
    world->pg[db][i].line = world->next_line++;
}

static void with_sync(struct world *world, int db, int i)
{
    postgres_set_names(world, db, i, NULL, true);
}

static void without_sync(struct world *world, int db, int i)
{
    static const struct sync_entry_record nobody;
    postgres_set_names(world, db, i, &nobody, true);
}

static void other_system(struct world *world, int db, int i)
{
    world->pg[db][i].system_id += 100;
}

static bool do_instances(struct world *world, const struct words *words)
{
    static const struct {
        const char *name;
        void (*act)(struct world *world, int db, int i);
    } acts[] = {
        {"crash", crash},          {"hang", hang},
        {"unhang", unhang},        {"unlink", unlink_it},
        {"link", link_it},         {"mute", mute_it},
        {"standby", as_standby},   {"rebuild", rebuild},
        {"fork", by_hand_standby}, {"promote", by_hand},
        {"replace", other_system}, {"sync", with_sync},
        {"unsync", without_sync},
    };
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        if (strcmp(acts[i].name, words->at[0]) == 0) {
            world_print(world, "%s %s", words->at[0], words->at[1]);
            return each_instance(world, words->at[1], acts[i].act);
        }
    }
    return false;
}

static void on_restart(struct world *world, const struct args *args)
{
    postgres_start(world, args->a, args->b);
}

static uint64_t restart_in_ms;

static void restart(struct world *world, int db, int i)
{
    postgres_crash(world, db, i);
    world_at(world, world->now_ms + restart_in_ms, on_restart, &(struct args){.a = db, .b = i});
}

static bool restart_it(struct world *world, const struct words *words)
{
    if (!script_duration(words->at[3], &restart_in_ms)) {
        return false;
    }
    world_print(world, "restart %s in %s", words->at[1], words->at[3]);
    return each_instance(world, words->at[1], restart);
}

static bool start_it(struct world *world, const struct words *words)
{
    int c = controller_of(world, words->at[1]);
    if (c >= 0) {
        on_start_later(world, &(struct args){.controller = c});
        return true;
    }
    world_print(world, "start %s", words->at[1]);
    return each_instance(world, words->at[1], start);
}

static bool power_it(struct world *world, const struct words *words)
{
    int node = definition_node(&world->def, words->at[1]);
    if (node < 0) {
        return false;
    }
    if (strcmp(words->at[2], "off") == 0) {
        machine_off(world, node, false);
    } else {
        machine_on(world, node);
    }
    return true;
}

static enum cause cause_to_set;
static void set_cause(struct world *world, int db, int i)
{
    world->pg[db][i].cause = cause_to_set;
}

static bool cause_it(struct world *world, const struct words *words)
{
    int cause = find_word(cause_names, CAUSES, words->rest[2]);
    if (cause < 0) {
        return false;
    }
    cause_to_set = (enum cause)cause;
    world_print(world, "probes of %s find: %s", words->at[1], cause_names[cause]);
    return each_instance(world, words->at[1], set_cause);
}

static bool agent_it(struct world *world, const struct words *words)
{
    static const char *const modes[] = {"works", "refuses", "hangs", "lies", "silent", NULL};
    int node = definition_node(&world->def, words->at[1]);
    int mode = find_word(modes, 5, words->at[2]);
    int only = -1;
    uint64_t after_ms = 300;
    if (node < 0 || mode < 0) {
        return false;
    }
    for (int w = 3; w + 1 < words->len; w += 2) {
        if (strcmp(words->at[w], "level") == 0) {
            for (int l = 0; l < world->def.nodes[node].levels_len; l++) {
                only =
                    strcmp(world->def.nodes[node].levels[l].name, words->at[w + 1]) == 0 ? l : only;
            }
        } else if (strcmp(words->at[w], "after") != 0 ||
                   !script_duration(words->at[w + 1], &after_ms)) {
            return false;
        }
    }
    for (int l = 0; l < LEVELS_MAX; l++) {
        if (only < 0 || l == only) {
            world->machines[node].agents[l] = (enum agent)mode;
            world->machines[node].agent_after_ms[l] = after_ms;
        }
    }
    return true;
}

static enum guard_mode_of guard_to_set;
static void set_guard(struct world *world, int db, int i)
{
    guard_set(world, db, i, guard_to_set);
}

static bool guard_it(struct world *world, const struct words *words)
{
    static const char *const modes[] = {"speaks", "silent", "stuck", "unsure", NULL};
    int mode = find_word(modes, 4, words->at[2]);
    if (mode < 0) {
        return false;
    }
    guard_to_set = (enum guard_mode_of)mode;
    world_print(world, "the guard of %s: %s", words->at[1], words->at[2]);
    return each_instance(world, words->at[1], set_guard);
}

static enum promotion_mode promotion_to_set;
static void set_promotion(struct world *world, int db, int i)
{
    world->pg[db][i].promotion = promotion_to_set;
}

static bool promotion_it(struct world *world, const struct words *words)
{
    static const char *const modes[] = {"works", "loses-answer", "loses-request", "refuses",
                                        "skips", "silent",       "slow",          NULL};
    int mode = find_word(modes, 7, words->at[2]);
    promotion_to_set = (enum promotion_mode)mode;
    return mode >= 0 && each_instance(world, words->at[1], set_promotion);
}

static uint64_t lag_to_set;
static void set_lag(struct world *world, int db, int i)
{
    world->pg[db][i].lag_bytes = lag_to_set;
}

static bool lag_it(struct world *world, const struct words *words)
{
    return script_bytes(words->at[2], &lag_to_set) && each_instance(world, words->at[1], set_lag);
}

static bool load_it(struct world *world, const struct words *words)
{
    int db = definition_database(&world->def, words->at[1]);
    return db >= 0 && script_bytes(words->at[2], &world->truth[db].rate_bytes_per_s);
}

static bool service_it(struct world *world, const struct words *words)
{
    bool fails = strcmp(words->at[2], "fails") == 0;
    int node = definition_node(&world->def, words->at[1]);
    for (int s = 0; s < world->def.services_len && node >= 0; s++) {
        for (int i = 0; i < world->def.services[s].instances_len; i++) {
            if (world->def.services[s].instances[i].node == node) {
                world->service_fails[s][i] = fails;
            }
        }
    }
    return node >= 0;
}

/* ---- commands: etcd, proxies, people ---- */

static bool etcd_it(struct world *world, const struct words *words)
{
    const char *what = words->at[1];
    world_print(world, "%s", words->rest[0]);
    if (strcmp(what, "down") == 0 || strcmp(what, "up") == 0) {
        store_down(world, what[0] == 'd');
    } else if (strcmp(what, "loses") == 0) {
        world->store.next_answer = ANSWER_LOST;
    } else if (strcmp(what, "slows") == 0 && words->len == 3) {
        return script_duration(words->at[2], &world->store.next_delay_ms);
    } else if (strcmp(what, "refuses") == 0) {
        world->store.next_answer = ANSWER_REFUSED;
    } else if (strcmp(what, "deletes") == 0 && words->len == 3) {
        int db = definition_database(&world->def, words->at[2]);
        if (db < 0) {
            return false;
        }
        store_touch(world, db, true, "");
    } else if (strcmp(what, "grants") == 0 && words->len == 4) {
        int db = definition_database(&world->def, words->at[2]);
        if (db < 0) {
            return false;
        }
        store_touch(world, db, false, words->at[3]);
    } else {
        return false;
    }
    return true;
}

static bool proxy_it(struct world *world, const struct words *words)
{
    int p = proxy_of(world, words->at[1]);
    if (p < 0) {
        return false;
    }
    if (strcmp(words->at[2], "forgets") == 0) {
        proxy_forget(world, p);
    } else {
        world->proxies[p].mode = strcmp(words->at[2], "silent") == 0 ? PROXY_SILENT : PROXY_ANSWERS;
        world_print(world, "%s %s", words->at[1],
                    world->proxies[p].mode == PROXY_SILENT ? "is silent" : "answers again");
    }
    return true;
}

/* ask ID failover GROUP [database=D] [node=N] [accept=BYTES], ask ID pause|resume GROUP,
 * ask ID alarm-ack GROUP alarm=KEY,
 * ask ID confirm-fenced NODE */
static bool ask_it(struct world *world, const struct words *words)
{
    struct request_record request = {.state = REQUEST_NEW};
    int kind = find_word(request_kind_names, REQUEST_KINDS, words->at[2]);
    if (kind < 0) {
        return false;
    }
    request.kind = (enum request_kind)kind;
    snprintf(request.id, sizeof request.id, "%s", words->at[1]);
    snprintf(request.who, sizeof request.who, "ann");
    snprintf(request.reason, sizeof request.reason, "as the scenario says");
    snprintf(kind == REQUEST_CONFIRM_FENCED ? request.node : request.group, NAME_SIZE, "%s",
             words->at[3]);
    for (int w = 4; w < words->len; w++) {
        char *value = strchr(words->at[w], '=');
        if (value == NULL) {
            return false;
        }
        *value++ = '\0';
        if (strcmp(words->at[w], "database") == 0) {
            snprintf(request.database, sizeof request.database, "%s", value);
        } else if (strcmp(words->at[w], "node") == 0) {
            snprintf(request.node, sizeof request.node, "%s", value);
        } else if (strcmp(words->at[w], "alarm") == 0) {
            snprintf(request.alarm, sizeof request.alarm, "%s", value);
        } else if (strcmp(words->at[w], "accept") != 0 ||
                   !script_bytes(value, &request.accept_loss_bytes)) {
            return false;
        }
    }
    for (int db = 0; db < world->def.databases_len && request.accept_loss_bytes > 0; db++) {
        world->truth[db].loss_accepted = true;
    }
    world_print(world, "ann asks: %s", words->rest[1]);
    store_ask(world, &request);
    return true;
}

static bool apply_it(struct world *world, const struct words *words)
{
    struct definition *def = malloc(sizeof *def);
    uint64_t bytes;
    bool known = true;
    if (def == NULL) {
        abort();
    }
    *def = *world->store.def;
    for (int g = 0; g < def->groups_len && strncmp(words->at[1], "automatic=", 10) == 0; g++) {
        def->groups[g].automatic = strcmp(words->at[1] + 10, "yes") == 0;
    }
    if (strncmp(words->at[1], "sync=", 5) == 0) {
        known = cluster_set_sync(def, words->at[1] + 5);
    } else if (strncmp(words->at[1], "max-lag=", 8) == 0 &&
               script_bytes(words->at[1] + 8, &bytes)) {
        for (int db = 0; db < def->databases_len; db++) {
            def->databases[db].max_lag_bytes = bytes;
        }
    } else if (strncmp(words->at[1], "automatic=", 10) != 0) {
        known = false;
    }
    world_print(world, "ann applies: %s", words->rest[1]);
    store_apply(world, def);
    free(def);
    return known;
}

/* ---- commands: the story ---- */

static bool run_it(struct world *world, const struct words *words)
{
    uint64_t ms;
    if (!script_duration(words->at[1], &ms)) {
        return false;
    }
    world_run_until(world, world->now_ms + ms);
    return true;
}

static bool at_it(struct world *world, const struct words *words)
{
    const char *colon = strstr(words->rest[1], ": ");
    for (int t = 0; t < TRIGGERS_MAX && colon != NULL; t++) {
        struct trigger *trigger = &world->triggers[t];
        if (!trigger->armed) {
            trigger->armed = true;
            snprintf(trigger->point, sizeof trigger->point, "%.*s", (int)(colon - words->rest[1]),
                     words->rest[1]);
            snprintf(trigger->command, sizeof trigger->command, "%s", colon + 2);
            return true;
        }
    }
    return false;
}

static bool laps_it(struct world *world, const struct words *words)
{
    const struct stored_incident *stored = store_last_incident(world, words->at[1]);
    if (stored == NULL) {
        return false;
    }
    const struct incident_record *incident = &stored->value;
    char line[LINE_SIZE];
    int len = 0;
    int64_t before = 0;
    int64_t sum = 0;
    for (int lap = 0; lap < LAPS; lap++) {
        int64_t took = incident->ended_ms[lap] - before;
        if (incident->ended_ms[lap] < 0) {
            len += snprintf(line + len, sizeof line - (size_t)len, " %s open,", lap_names[lap]);
            continue;
        }
        if (took < 0) {
            world_break(world, "S13: lap %s ended before the one before it", lap_names[lap]);
        }
        sum += took;
        before = incident->ended_ms[lap];
        len += snprintf(line + len, sizeof line - (size_t)len, " %s %lld ms,", lap_names[lap],
                        (long long)took);
    }
    world_print(world, "incident of %s is %s:%s in all %lld ms, of that %llu ms for people",
                words->at[1], incident_state_names[incident->state], line, (long long)sum,
                (unsigned long long)incident->people_ms);
    for (int o = 0; o < OBJECTIVES; o++) {
        const struct objective_record *objective = &incident->objectives[o];
        if (objective->actual_ms >= 0) {
            world_print(world, "objective %s: %lld ms of %llu", objective_names[o],
                        (long long)objective->actual_ms, (unsigned long long)objective->limit_ms);
        }
    }
    return true;
}

static bool expect_it(struct world *world, const struct words *words)
{
    script_expect(world, words->rest[1]);
    return true;
}

static const struct {
    const char *name;
    int words; /* at least */
    bool (*run)(struct world *world, const struct words *words);
    const char *help;
} commands[] = {
    {"run", 2, run_it, "run DURATION: time passes"},
    {"at", 3, at_it, "at POINT: COMMAND, once, when that point is next reached"},
    {"expect", 2, expect_it, "expect TERM; TERM ...: what must hold now"},
    {"laps", 2, laps_it, "laps GROUP: the latest incident's clocks"},
    {"kill", 2, kill_it, "kill CONTROLLER [for DURATION]"},
    {"start", 2, start_it, "start CONTROLLER|INSTANCE"},
    {"freeze", 2, freeze_it, "freeze CONTROLLER for DURATION: SIGSTOP"},
    {"clock", 3, skew_it, "clock CONTROLLER +1h: its wall clock is wrong"},
    {"cut", 4, cut_it, "cut NODE|nodes|etcd from CONTROLLER|controllers"},
    {"heal", 4, heal_it, "heal NODE|nodes|etcd from CONTROLLER|controllers"},
    {"crash", 2, do_instances, "crash INSTANCE: its processes are gone"},
    {"hang", 2, do_instances, "hang INSTANCE: it accepts and never answers"},
    {"unhang", 2, do_instances, "unhang INSTANCE"},
    {"unlink", 2, do_instances, "unlink INSTANCE: it receives no more WAL"},
    {"mute", 2, do_instances, "mute INSTANCE: its link is silent; the primary shows it streaming"},
    {"link", 2, do_instances, "link INSTANCE: it receives WAL again"},
    {"standby", 2, do_instances, "standby INSTANCE: restarted with standby.signal"},
    {"rebuild", 2, do_instances, "rebuild INSTANCE: a copy of the present primary"},
    {"fork", 2, do_instances, "fork INSTANCE: a standby with a history of its own"},
    {"promote", 2, do_instances, "promote INSTANCE by hand"},
    {"replace", 2, do_instances, "replace INSTANCE: another cluster on its port"},
    {"sync", 2, do_instances, "sync INSTANCE: as primary it waits for the declared standbys"},
    {"unsync", 2, do_instances, "unsync INSTANCE: somebody empties synchronous_standby_names"},
    {"restart", 4, restart_it, "restart INSTANCE in DURATION"},
    {"power", 3, power_it, "power NODE on|off"},
    {"cause", 3, cause_it, "cause INSTANCE CAUSE: what probes of it find; ok ends it"},
    {"guard", 3, guard_it, "guard INSTANCE speaks|silent|stuck|unsure"},
    {"agent", 3, agent_it, "agent NODE works|refuses|hangs|lies|silent [level L] [after DURATION]"},
    {"promotion", 3, promotion_it,
     "promotion INSTANCE works|loses-answer|loses-request|refuses|skips|silent|slow"},
    {"lag", 3, lag_it, "lag INSTANCE BYTES"},
    {"load", 3, load_it, "load DATABASE BYTES: a second"},
    {"service", 3, service_it, "service NODE fails|works"},
    {"etcd", 2, etcd_it,
     "etcd down|up|loses|refuses|slows DURATION|deletes DATABASE|grants DATABASE NODE"},
    {"proxy", 3, proxy_it, "proxy PROXY silent|answers|forgets"},
    {"ask", 4, ask_it, "ask ID failover|pause|resume|confirm-fenced|workflow-... NAME ..."},
    {"apply", 2, apply_it,
     "apply automatic=yes|no | max-lag=BYTES | sync=DATABASE:K(NODES): a newer definition"},
};

bool script_line(struct world *world, const char *line)
{
    char copy[LINE_SIZE];
    struct words words = {0};
    char *save = NULL;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *at = strtok_r(copy, " ", &save); at != NULL && words.len < WORDS_MAX;
         at = strtok_r(NULL, " ", &save)) {
        words.rest[words.len] = line + (at - copy);
        words.at[words.len++] = at;
    }
    if (words.len == 0 || words.at[0][0] == '#') {
        return true;
    }
    if (strcmp(words.at[0], "cluster") == 0 && world->controllers_len == 0 && words.len > 1) {
        char rest[LINE_SIZE];
        snprintf(rest, sizeof rest, "%s", words.rest[1]);
        return cluster_build(world, rest);
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, words.at[0]) != 0) {
            continue;
        }
        if (words.len < commands[i].words || !commands[i].run(world, &words)) {
            world_break(world, "'%s' is not: %s", line, commands[i].help);
            return false;
        }
        return true;
    }
    world_break(world, "'%s' is no command", line);
    return false;
}

/* ---- expectations ---- */

static const struct group_record *group_of(const struct world *world, const char *name)
{
    int g = definition_group(&world->def, name);
    return g < 0 ? NULL : &world->store.groups[g].value;
}

static bool has_alarm(const struct world *world, const char *key, bool wakes_only)
{
    for (int g = 0; g < world->def.groups_len; g++) {
        const struct group_record *group = &world->store.groups[g].value;
        for (int a = 0; a < group->alarms_len; a++) {
            if ((key == NULL || strcmp(group->alarms[a].key, key) == 0) &&
                (group->alarms[a].wakes || !wakes_only)) {
                return true;
            }
        }
    }
    return false;
}

/* primary DB NODE: recorded, permitted, and so. */
static bool holds_primary(const struct world *world, const struct words *words)
{
    int db = definition_database(&world->def, words->at[1]);
    int i = db < 0 ? -1
                   : definition_instance(&world->def.databases[db],
                                         definition_node(&world->def, words->at[2]));
    if (i < 0) {
        return false;
    }
    const struct group_record *group =
        group_of(world, world->def.groups[world->def.databases[db].group].name);
    bool recorded = false;
    for (int r = 0; r < group->databases_len; r++) {
        recorded = recorded || (strcmp(group->databases[r].database, words->at[1]) == 0 &&
                                strcmp(group->databases[r].primary, words->at[2]) == 0);
    }
    const struct permit_record *permit = &world->store.permits[db].value;
    return recorded && permit->state == PERMIT_GRANTED && strcmp(permit->node, words->at[2]) == 0 &&
           world->pg[db][i].role == ROLE_PRIMARY;
}

static bool holds_state(const struct world *world, const struct words *words)
{
    int c = controller_leading(world);
    int db = definition_database(&world->def, words->at[1]);
    return c >= 0 && db >= 0 &&
           strcmp(db_state_names[world->controllers[c].core->databases[db].state], words->at[2]) ==
               0;
}

static bool holds_route(const struct world *world, const struct words *words)
{
    for (int r = 0; r < world->def.routes_len; r++) {
        const struct route_def *route = &world->def.routes[r];
        if (strcmp(route->name, words->at[1]) != 0) {
            continue;
        }
        for (int p = 0; p < world->def.proxies_len; p++) {
            int open = proxy_open(world, p, r);
            const char *to = open == -1 ? "nowhere" : open >= 0 ? route->servers[open] : "?";
            if (world->proxies[p].mode == PROXY_ANSWERS && strcmp(to, words->at[2]) != 0) {
                return false;
            }
        }
        return true;
    }
    return false;
}

static bool holds_request(const struct world *world, const struct words *words)
{
    const struct stored_request *request = store_request(world, words->at[1]);
    if (request == NULL) {
        return false;
    }
    if (strcmp(words->at[2], "says") == 0) {
        return words->len > 3 && strstr(request->value.outcome, words->rest[3]) != NULL;
    }
    return strcmp(request_state_names[request->value.state], words->at[2]) == 0;
}

static bool holds_burnt(const struct world *world, const struct words *words)
{
    for (int g = 0; g < world->def.groups_len; g++) {
        const struct group_record *group = &world->store.groups[g].value;
        for (int d = 0; d < group->databases_len; d++) {
            for (int b = 0; b < group->databases[d].burnt_len; b++) {
                if (strcmp(group->databases[d].burnt[b], words->at[1]) == 0) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* sync DB N: so many entries stand in its permit. */
static bool holds_sync(const struct world *world, const struct words *words)
{
    int db = definition_database(&world->def, words->at[1]);
    return db >= 0 && is_number(words->at[2], world->store.permits[db].value.sync_len);
}

static bool holds_promotions(const struct world *world, const struct words *words)
{
    int db = definition_database(&world->def, words->at[1]);
    int promotions = 0;
    for (int i = 0; db >= 0 && i < world->def.databases[db].instances_len; i++) {
        promotions += world->pg[db][i].promotions;
    }
    return db >= 0 && is_number(words->at[2], promotions);
}

static bool holds(const struct world *world, const struct words *words)
{
    const char *what = words->at[0];
    bool two = words->len >= 2;
    bool three = words->len >= 3;
    if (strcmp(what, "primary") == 0 && three) {
        return holds_primary(world, words);
    } else if (strcmp(what, "state") == 0 && three) {
        return holds_state(world, words);
    } else if (strcmp(what, "route") == 0 && three) {
        return holds_route(world, words);
    } else if (strcmp(what, "request") == 0 && three) {
        return holds_request(world, words);
    } else if (strcmp(what, "burnt") == 0 && two) {
        return holds_burnt(world, words);
    } else if (strcmp(what, "sync") == 0 && three) {
        return holds_sync(world, words);
    } else if (strcmp(what, "promotions") == 0 && three) {
        return holds_promotions(world, words);
    } else if (strcmp(what, "leader") == 0 && two) {
        int c = controller_leading(world);
        return c >= 0 && strcmp(world->controllers[c].id, words->at[1]) == 0;
    } else if (strcmp(what, "alarm") == 0 && two) {
        return has_alarm(world, words->at[1], false);
    } else if (strcmp(what, "no") == 0 && three && strcmp(words->at[1], "alarm") == 0) {
        return !has_alarm(world, words->at[2], false);
    } else if (strcmp(what, "nobody") == 0) { /* nobody waits to be called */
        return !has_alarm(world, NULL, true);
    } else if (strcmp(what, "calls") == 0 && two) {
        return is_number(words->at[1], world->calls);
    } else if (strcmp(what, "offs") == 0 && three) {
        int node = definition_node(&world->def, words->at[1]);
        return node >= 0 && is_number(words->at[2], world->machines[node].offs);
    } else if (strcmp(what, "fences") == 0 && two) {
        return is_number(words->at[1], world->fences);
    }
    return false;
}

void script_expect(struct world *world, const char *terms)
{
    char copy[LINE_SIZE];
    char *save = NULL;
    snprintf(copy, sizeof copy, "%s", terms);
    for (char *term = strtok_r(copy, ";", &save); term != NULL; term = strtok_r(NULL, ";", &save)) {
        char text[LINE_SIZE];
        struct words words = {0};
        char *inner = NULL;
        term += *term == ' ' ? 1 : 0;
        snprintf(text, sizeof text, "%s", term);
        char split[LINE_SIZE];
        snprintf(split, sizeof split, "%s", term);
        for (char *at = strtok_r(split, " ", &inner); at != NULL && words.len < WORDS_MAX;
             at = strtok_r(NULL, " ", &inner)) {
            words.rest[words.len] = text + (at - split);
            words.at[words.len++] = at;
        }
        if (words.len > 0 && !holds(world, &words)) {
            world_break(world, "expected: %s", text);
        }
    }
}
