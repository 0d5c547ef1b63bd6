/*
 * fail_point.c - the fail points of controller/daemon/fail_point.h, for the failoverd of the tests.
 *
 * FAILOVER_FAIL_DIR names a directory. Every point that is passed is a line in DIR/passed,
 * "<milliseconds> <controller> <point>", so that one run tells all the points there are. A point is
 * armed by a file DIR/armed/<point>: who passes it moves the file to DIR/hit and kills itself with
 * SIGKILL, so that one armed point kills one process, whoever comes first; with SIGSTOP, if the
 * file says "stop". If it says "follower" or "both" and process ids, those that are not its own are
 * killed at that moment, and it goes on, or dies with them.
 *
 * Names: "save.before payments:revoking" tells the database, and what of it is being recorded;
 * "save.before idle" is a write without a move. "effect.begun fence pay-east.power",
 * "effect.after promote payments", "effect.before routes proxy1 payments-db=none" (one point for
 * each wish of an order to a proxy). What a successor repeats is " taken-up".
 */
#include "controller/daemon/fail_point.h"

#include <assert.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controller/daemon/daemon.h"

#define POINT_SIZE 160
#define STEPS_MAX  32 /* effects under way or lately ended, whose names are remembered */

static struct {
    uint32_t step;
    int names_len;
    char names[ROUTES_MAX][POINT_SIZE];
} steps[STEPS_MAX];

/* ---- passing a point ---- */

static void write_down(const char *dir, const char *controller, const char *point)
{
    char path[512];
    char line[POINT_SIZE + 128];
    struct timespec now;
    snprintf(path, sizeof path, "%s/passed", dir);
    clock_gettime(CLOCK_REALTIME, &now);
    int len = snprintf(line, sizeof line, "%lld %s %s\n",
                       (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, controller, point);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, (size_t)len) != len) {
        abort(); /* the test would count wrongly */
    }
    close(fd);
}

/* Kills those whose process ids follow, but not itself. */
static void kill_others(char *ids)
{
    char *rest = ids;
    for (char *end = NULL;; rest = end) {
        long pid = strtol(rest, &end, 10);
        if (end == rest) {
            return;
        }
        if (pid > 1 && pid != getpid()) {
            kill((pid_t)pid, SIGKILL);
        }
    }
}

static void obey(const char *path)
{
    char word[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, word, sizeof word - 1) : -1;
    if (len < 0) {
        abort();
    }
    close(fd);
    if (strncmp(word, "follower", 8) == 0) {
        kill_others(word + 8);
    } else if (strncmp(word, "stop", 4) == 0) {
        kill(getpid(), SIGSTOP); /* it goes on from here */
    } else {
        if (strncmp(word, "both", 4) == 0) {
            kill_others(word + 4);
        }
        kill(getpid(), SIGKILL);
    }
}

static void pass(const struct daemon *d, const char *where, const char *what)
{
    const char *dir = getenv("FAILOVER_FAIL_DIR");
    char point[POINT_SIZE + 32];
    char armed[512];
    char hit[512];
    if (dir == NULL) {
        return;
    }
    snprintf(point, sizeof point, "%s %s", where, what);
    write_down(dir, d->local->id, point);
    snprintf(armed, sizeof armed, "%.200s/armed/%.200s", dir, point);
    snprintf(hit, sizeof hit, "%.200s/hit/%.200s", dir, point);
    if (rename(armed, hit) == 0) {
        obey(hit);
    }
}

/* ---- saves ---- */

/* One is in flight at a time, and its names are kept: what it records may have moved on when the
 * answer comes. */
static struct {
    uint32_t ticket;
    int names_len;
    char names[DATABASES_MAX][POINT_SIZE];
} save;

/* What a successor repeats is another point than what it takes further. */
static const char *taken_up(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    return move != NULL && move->lives > 0 ? " taken-up" : "";
}

/* Laps and notes: nobody waits for them, and in which step they are written alone is a question of
 * how long it takes (controller/core/save.c). No point that one run passes would be the next one's.
 */
static bool is_only_incidents(const struct core *core)
{
    for (int i = 0; i < core->in_flight.len; i++) {
        if (core->in_flight.items[i].kind != SAVE_INCIDENT) {
            return false;
        }
    }
    return true;
}

/* Those that wait for this save; if none does, those that move; else none. */
static void name_save(const struct core *core, uint32_t ticket)
{
    save.ticket = ticket;
    save.names_len = 0;
    if (is_only_incidents(core)) {
        return;
    }
    for (int waiting = 1; waiting >= 0 && save.names_len == 0; waiting--) {
        for (int db = 0; db < core->def.databases_len; db++) {
            const struct database_state *state = &core->databases[db];
            if (waiting != 0 ? state->awaits == ticket : core_move_of(core, db) != NULL) {
                snprintf(save.names[save.names_len++], POINT_SIZE, "%s:%s%s",
                         core->def.databases[db].name, db_state_names[state->state],
                         taken_up(core, db));
            }
        }
    }
    if (save.names_len == 0) {
        snprintf(save.names[save.names_len++], POINT_SIZE, "idle");
    }
}

void fail_point_save(const struct daemon *d, const char *when, uint32_t ticket)
{
    char where[32];
    if (save.ticket != ticket) {
        name_save(d->core, ticket);
    }
    snprintf(where, sizeof where, "save.%s", when);
    for (int i = 0; i < save.names_len; i++) {
        pass(d, where, save.names[i]);
    }
}

/* ---- effects ---- */

static void name_routes(const struct daemon *d, const struct effect *effect, int at)
{
    const struct definition *def = &d->core->def;
    for (int i = 0; i < effect->routes.wishes_len; i++) {
        const struct route_wish *wish = &effect->routes.wishes[i];
        const struct route_def *route = &def->routes[wish->route];
        snprintf(steps[at].names[steps[at].names_len++], POINT_SIZE, "routes %s %s=%s",
                 def->proxies[effect->routes.proxy].name, route->name,
                 wish->open < 0 ? "none" : route->servers[wish->open]);
    }
}

static void name_effect(const struct daemon *d, const struct effect *effect, int at)
{
    const struct definition *def = &d->core->def;
    const struct database_def *database;
    char *name = steps[at].names[0];
    steps[at].step = effect->step;
    steps[at].names_len = 0;
    switch (effect->type) {
    case EFFECT_FENCE:
        steps[at].names_len = 1;
        snprintf(name, POINT_SIZE, "fence %s.%s%s", def->nodes[effect->fence.node].name,
                 def->nodes[effect->fence.node].levels[effect->fence.level].name,
                 taken_up(d->core, effect->fence.database));
        break;
    case EFFECT_PROMOTE:
        database = &def->databases[effect->promote.database];
        steps[at].names_len = 1;
        snprintf(name, POINT_SIZE, "promote %s%s", database->name,
                 taken_up(d->core, effect->promote.database));
        break;
    case EFFECT_ROUTES: name_routes(d, effect, at); break;
    default: abort(); /* no other effect has points */
    }
}

static void pass_all(const struct daemon *d, const char *where, int at)
{
    for (int i = 0; i < steps[at].names_len; i++) {
        pass(d, where, steps[at].names[i]);
    }
}

void fail_point_effect(const struct daemon *d, const char *when, const struct effect *effect)
{
    char where[32];
    int at = (int)(effect->step % STEPS_MAX);
    if (steps[at].step != effect->step) {
        name_effect(d, effect, at);
    }
    snprintf(where, sizeof where, "effect.%s", when);
    pass_all(d, where, at);
}

void fail_point_outcome(const struct daemon *d, uint32_t step)
{
    int at = (int)(step % STEPS_MAX);
    if (steps[at].step == step) { /* else: STEPS_MAX others have begun since */
        pass_all(d, "effect.after", at);
    }
}
