/*
 * alarms.c - what lasts in `status` until its cause is gone, with its age and the next command.
 *
 * "A person is called" means: a lasting alarm, an error line in the log, and the configured command
 * run once. The mark that it was called is recorded before the command runs, so that no change of
 * leader calls twice.
 */
#include "controller/core/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define STANDING_MS UINT64_C(5000)  /* what may pass by itself is an alarm only after that */
#define UNPROVEN_MS UINT64_C(30000) /* a guard proves a change within a second or two */

/* Of etcd's quota. At 100 nothing can be recorded any more, this alarm neither, so a person is
 * called in time. Between the last two it stays as it is: a size that swings calls nobody twice. */
#define STORE_ALARM_PERCENT 60
#define STORE_CALL_PERCENT  85
#define STORE_OVER_PERCENT  50

static int find(const struct group_record *record, const char *key)
{
    for (int i = 0; i < record->alarms_len; i++) {
        if (strcmp(record->alarms[i].key, key) == 0) {
            return i;
        }
    }
    return -1;
}

/* For an alarm that calls a person the youngest that calls nobody gives way. */
static void make_room(struct core *core, int group)
{
    const struct group_record *record = &core->groups[group].record;
    for (int i = record->alarms_len - 1; i >= 0; i--) {
        if (!record->alarms[i].wakes) {
            char key[NAME_SIZE * 2];
            text_copy(key, sizeof key, record->alarms[i].key);
            alarm_clear(core, group, key);
            return;
        }
    }
}

void alarm_set(struct core *core, int group, bool wakes, const char *key, const char *command,
               const char *format, ...)
{
    struct group_state *state = &core->groups[group];
    char text[REASON_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int at = find(&state->record, key);
    if (at >= 0) {
        return; /* it stands already; its first words and its age stay */
    }
    if (state->record.alarms_len == ALARMS_MAX && wakes) {
        make_room(core, group);
    }
    if (state->record.alarms_len == ALARMS_MAX) {
        if (wakes) { /* the others are seen again at each review, and would be told each time */
            note_group(core, NOTE_ERROR, "R-M2", group, "no room for alarm %s: %.180s", key, text);
        }
        return;
    }
    at = state->record.alarms_len++;
    struct alarm_record *alarm = &state->record.alarms[at];
    memset(alarm, 0, sizeof *alarm);
    text_copy(alarm->key, sizeof alarm->key, key);
    text_copy(alarm->text, sizeof alarm->text, text);
    text_copy(alarm->command, sizeof alarm->command, command);
    alarm->since_wall_ms = core->wall_ms;
    alarm->wakes = wakes;
    uint32_t ticket = dirty_group(core, group);
    if (wakes) {
        alarm->called = true;
        state->call_pending |= 1u << at;
        state->tell_ticket = ticket;
    }
    note_group(core, wakes ? NOTE_ERROR : NOTE_WARN, "R-M1", group, "alarm %s: %.180s", key, text);
}

void alarm_clear(struct core *core, int group, const char *key)
{
    struct group_state *state = &core->groups[group];
    int at = find(&state->record, key);
    if (at < 0) {
        return;
    }
    note_group(core, NOTE_INFO, "R-M3", group, "alarm %s is over", key);
    uint32_t below = state->call_pending & ((1u << at) - 1u);
    uint32_t above = (state->call_pending >> (at + 1)) << at;
    state->call_pending = below | above;
    memmove(&state->record.alarms[at], &state->record.alarms[at + 1],
            sizeof state->record.alarms[0] * (size_t)(state->record.alarms_len - at - 1));
    state->record.alarms_len--;
    dirty_group(core, group);
}

bool alarm_stands(const struct core *core, int group, const char *key)
{
    return find(&core->groups[group].record, key) >= 0;
}

/* One that stands is told in these words from now on; its age stays. */
static void reword(struct core *core, int group, const char *key, const char *command,
                   const char *text)
{
    struct group_record *record = &core->groups[group].record;
    int at = find(record, key);
    if (at >= 0 && strcmp(record->alarms[at].text, text) != 0) {
        text_copy(record->alarms[at].text, sizeof record->alarms[at].text, text);
        text_copy(record->alarms[at].command, sizeof record->alarms[at].command, command);
        dirty_group(core, group);
        note_group(core, NOTE_WARN, "R-M4", group, "alarm %s: %.180s", key, text);
    }
}

void alarm_renew(struct core *core, int group, const char *key, const char *command,
                 const char *text)
{
    if (alarm_stands(core, group, key)) {
        reword(core, group, key, command, text);
    } else {
        alarm_set(core, group, true, key, command, "%s", text);
    }
}

static void key_of(char *key, size_t size, const char *what, const char *name)
{
    text_format(key, size, "%s.%s", what, name);
}

/* An alarm for as long as `on` holds. */
static void lasting(struct core *core, int group, bool on, bool wakes, const char *what,
                    const char *name, const char *command, const char *text)
{
    char key[NAME_SIZE * 2];
    key_of(key, sizeof key, what, name);
    if (on) {
        alarm_set(core, group, wakes, key, command, "%s", text);
    } else {
        alarm_clear(core, group, key);
    }
}

static void standing(struct core *core, int group, bool on, const char *what, const char *name,
                     const char *command, const char *text)
{
    lasting(core, group, on, false, what, name, command, text);
}

/* It takes no writes, and only a person may decide what to do (failures.md E5, E13, E14). */
static bool freezes(enum cause cause)
{
    return cause == CAUSE_IN_RECOVERY || cause == CAUSE_NO_SPACE || cause == CAUSE_WRONG_SYSTEM;
}

static bool commits_have_waited(const struct core *core, int db, int primary)
{
    const struct health *health = &core->databases[db].instances[primary].health;
    return health->cause == CAUSE_SYNC_STALL &&
           core->now_ms - health->last_good_ms >= core->def.databases[db].degrade_after_ms;
}

/* synchronous_standby_names is what the permit lists, or it is said that it is not. */
static void review_names(struct core *core, int db, int primary, const struct sync_view *sync)
{
    const struct database_state *d = &core->databases[db];
    const struct database_def *def = &core->def.databases[db];
    const struct instance_fact *fact = &d->instances[primary].fact;
    bool guarded = is_guarded(core, db);
    bool wrong = !sync->enforced;
    if (guarded) {
        wrong = sync->k > 0 && !sync_names_match(fact->sync_names, &d->permit) &&
                !sync_names_block(core, db, fact);
        if (fact->asked_ms < sync->since_ms) {
            return; /* older than the permit's entries */
        }
    }
    wrong = wrong && def->durability != DURABILITY_ASYNC;
    char text[REASON_SIZE] = "";
    if (wrong) {
        text_format(text, sizeof text,
                    "%s: counts as asynchronous: synchronous_standby_names is '%.80s', the %s",
                    def->name, fact->sync_names,
                    guarded ? "permit lists another" : "definition declares another");
    }
    standing(core, db_group(core, db), wrong, "durability", def->name,
             guarded ? "failoverctl status; only its guard sets synchronous_standby_names"
                     : "set synchronous_standby_names as declared, or change the definition",
             text);
}

static void review_degraded(struct core *core, int db, int primary, const struct sync_view *sync)
{
    static const char *const command =
        "bring the missing standbys back; commits wait for them again once they stream";
    const char *name = core->def.databases[db].name;
    int g = db_group(core, db);
    char key[NAME_SIZE * 2];
    char text[REASON_SIZE];
    if (!sync->degraded) {
        standing(core, g, false, "degraded", name, command, "");
        return;
    }
    if (sync->k > 0) {
        text_format(text, sizeof text, "%s: degraded: commits wait for %.80s, declared is %.80s",
                    name, sync->target, sync->declared);
    } else {
        text_format(text, sizeof text,
                    "%s: degraded: commits wait for nobody: its sync entry names no standby beside "
                    "the primary on %s",
                    name, instance_node(core, db, primary));
    }
    standing(core, g, true, "degraded", name, command, text);
    key_of(key, sizeof key, "degraded", name);
    reword(core, g, key, command, text);
}

static void review_sync(struct core *core, int db, int primary)
{
    const struct database_def *def = &core->def.databases[db];
    int g = db_group(core, db);
    struct sync_view sync;
    char text[REASON_SIZE] = "";
    core_sync(core, db, &sync);
    review_names(core, db, primary, &sync);
    review_degraded(core, db, primary, &sync);
    bool unproven = sync.entries > 1 && core->now_ms - sync.since_ms >= UNPROVEN_MS;
    if (unproven) {
        text_format(
            text, sizeof text,
            "%s: its guard has not proven %.80s: %d entries may be in force, and each counts",
            def->name, sync.target, sync.entries);
    }
    standing(core, g, unproven, "unproven", def->name, "failoverctl status", text);
    bool stalled = def->durability == DURABILITY_STRICT && sync.confirming < sync.k &&
                   commits_have_waited(core, db, primary);
    if (stalled) {
        text_format(
            text, sizeof text,
            "%s: commits wait: durability is strict, %d of %d standbys confirm WAL, %d are needed",
            def->name, sync.confirming, sync.members, sync.k);
    }
    lasting(core, g, stalled, true, "stalled", def->name,
            "bring a standby back, or declare durability: sync", text);
}

static void review_redundancy(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    int g = db_group(core, db);
    int primary = core_primary(core, db);
    const char *name = core->def.databases[db].name;
    bool known = primary >= 0 && d->state == DB_NORMAL &&
                 d->instances[primary].fact.role == ROLE_PRIMARY &&
                 core->now_ms - d->since_ms >= STANDING_MS;
    if (!known || core->def.databases[db].instances_len < 2) {
        return;
    }
    char text[REASON_SIZE] = "";
    bool none = core_redundancy(core, db) == 0;
    if (none) {
        text_format(text, sizeof text, "%s: no redundancy: no standby streams from %s", name,
                    instance_node(core, db, primary));
    }
    standing(core, g, none, "redundancy", name,
             "attach a standby to the primary (rebuild the old one by pg_basebackup)", text);
    review_sync(core, db, primary);
}

/* What an earlier leader called for, and nobody needs any more. */
static void review_settled(struct core *core, int db)
{
    static const char *const whats[] = {"held", "fence", "choice", "promotion", "switch", "parked"};
    const struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    if (d->state != DB_NORMAL || primary < 0 || d->instances[primary].health.is != OPINION_UP) {
        return;
    }
    for (size_t i = 0; i < sizeof whats / sizeof whats[0]; i++) {
        char key[NAME_SIZE * 2];
        key_of(key, sizeof key, whats[i], core->def.databases[db].name);
        alarm_clear(core, db_group(core, db), key);
    }
}

/* The primary answers, but something is wrong that is no reason for a failover (design §6). */
static void review_primary(struct core *core, int db)
{
    struct database_state *d = &core->databases[db];
    int primary = core_primary(core, db);
    if (primary < 0) {
        return;
    }
    const struct instance_state *state = &d->instances[primary];
    enum cause cause = state->health.cause;
    bool on = d->state == DB_NORMAL && cause != CAUSE_OK && cause != CAUSE_NEVER_PROBED &&
              !cause_is_failure(cause) && core->now_ms - state->health.last_good_ms >= STANDING_MS;
    char text[REASON_SIZE] = "";
    if (on) {
        text_format(text, sizeof text, "%s: primary on %s: %s: %.120s (no failover for this)",
                    core->def.databases[db].name, instance_node(core, db, primary),
                    cause_names[cause], state->detail);
    }
    if (on || cause == CAUSE_OK || d->state != DB_NORMAL) {
        lasting(core, db_group(core, db), on, freezes(cause), "primary",
                core->def.databases[db].name, "failoverctl status", text);
    }
}

static void review_routes(struct core *core, int g)
{
    for (int r = 0; r < core->def.routes_len; r++) {
        const struct route_def *route = &core->def.routes[r];
        int db =
            route->database >= 0 ? route->database : core->def.services[route->service].database;
        if (db_group(core, db) != g) {
            continue;
        }
        for (int i = 0; i < route->proxies_len; i++) {
            const struct proxy_state *proxy = &core->proxies[route->proxies[i]];
            const char *name = core->def.proxies[route->proxies[i]].name;
            char text[REASON_SIZE] = "";
            bool silent =
                proxy->silent_since_ms != 0 && core->now_ms - proxy->silent_since_ms >= STANDING_MS;
            if (silent) {
                text_format(text, sizeof text,
                            "proxy %s does not answer on its runtime API: %.120s", name,
                            proxy->routes[r].error);
            }
            if (silent || proxy->silent_since_ms == 0) {
                standing(core, g, silent, "proxy", name, "failoverctl status", text);
            }
        }
    }
}

static void review_store(struct core *core)
{
    static const char *const command =
        "etcdctl defrag --cluster; what fills it: etcdctl endpoint status --cluster -w table";
    if (core->store_bytes == 0 || core->store_quota_bytes == 0 || core->def.groups_len == 0) {
        return;
    }
    uint64_t percent = core->store_bytes / (core->store_quota_bytes / 100 + 1);
    if (percent < STORE_OVER_PERCENT) {
        alarm_clear(core, 0, "etcd.size");
        alarm_clear(core, 0, "etcd.full");
        return;
    }
    char text[REASON_SIZE];
    text_format(text, sizeof text,
                "etcd's database has %llu MiB of its quota of %llu MiB (%llu %%); when it is full, "
                "nothing is decided any more",
                (unsigned long long)(core->store_bytes >> 20),
                (unsigned long long)(core->store_quota_bytes >> 20), (unsigned long long)percent);
    /* One group's record stands for all: nobody is to be called once for each. */
    if (percent >= STORE_ALARM_PERCENT) {
        alarm_set(core, 0, false, "etcd.size", command, "%s", text);
    }
    if (percent >= STORE_CALL_PERCENT) {
        alarm_set(core, 0, true, "etcd.full", command, "%s", text);
    }
}

void alarms_review(struct core *core)
{
    if (!core->leading || !core->loaded) {
        return;
    }
    for (int db = 0; db < core->def.databases_len; db++) {
        review_settled(core, db);
        review_redundancy(core, db);
        review_primary(core, db);
    }
    for (int g = 0; g < core->def.groups_len; g++) {
        review_routes(core, g);
    }
    review_store(core);
}
