#include "controller/daemon/notify.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "controller/daemon/daemon.h"

#define NAMED_MAX 6 /* databases that stand in the status by name; the others are counted */

/* ---- the status line ---- */

struct line {
    char *at;
    size_t len;
    size_t size;
};

static void add(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct line *line, const char *format, ...)
{
    size_t room = line->size - line->len;
    va_list args;
    va_start(args, format);
    /* The analyzer loses sight of va_start above. NOLINTNEXTLINE(clang-analyzer-valist.*) */
    int len = vsnprintf(line->at + line->len, room, format, args);
    va_end(args);
    line->len += (size_t)len < room ? (size_t)len : room - 1;
}

static void add_leader(const struct daemon *d, struct line *line)
{
    const char *leader = d->election != NULL ? election_leader_id(d->election) : "";
    if (d->core->leading) {
        add(line, "leads (term %lld)", (long long)d->core->term);
    } else if (leader[0] != '\0') {
        add(line, "follows %s", leader);
    } else {
        add(line, "no controller leads");
    }
}

/* Followers do not judge: they tell what is recorded. The leader's states are the rules' own. */
static const char *state_words(const struct daemon *d, int db)
{
    const struct database_state *state = &d->core->databases[db];
    if (d->core->leading) {
        return db_state_names[state->state];
    }
    if (core_move_of(d->core, db) != NULL) {
        return "moving";
    }
    return state->permit_known ? "granted" : "without a permit";
}

static void add_databases(const struct daemon *d, struct line *line)
{
    const struct definition *def = &d->core->def;
    if (!d->core->defined) {
        add(line, "; no definition is stored yet");
        return;
    }
    for (int db = 0; db < def->databases_len && db < NAMED_MAX; db++) {
        int primary = core_primary(d->core, db);
        add(line, "%s%s %s", db == 0 ? ": " : ", ", def->databases[db].name, state_words(d, db));
        if (primary >= 0) {
            add(line, " on %s", def->nodes[def->databases[db].instances[primary].node].name);
        }
    }
    if (def->databases_len > NAMED_MAX) {
        add(line, " and %d more", def->databases_len - NAMED_MAX);
    }
}

static void add_waiting(const struct daemon *d, struct line *line)
{
    int waiting = 0;
    for (int g = 0; g < d->core->def.groups_len; g++) {
        const struct group_record *group = &d->core->groups[g].record;
        for (int i = 0; i < group->alarms_len; i++) {
            waiting += group->alarms[i].wakes ? 1 : 0;
        }
    }
    if (waiting > 0) {
        add(line, "; %d alarm%s for a person: failoverctl status", waiting,
            waiting == 1 ? " waits" : "s wait");
    }
}

static void say_status(struct daemon *d)
{
    char text[NOTIFY_STATUS_SIZE] = "";
    struct line line = {.at = text, .size = sizeof text};
    if (!d->store_read) {
        add(&line, "etcd has not been read yet");
    } else {
        add_leader(d, &line);
        add_databases(d, &line);
        add_waiting(d, &line);
    }
    if (strcmp(text, d->notify.status) != 0) {
        memcpy(d->notify.status, text, sizeof text);
        sd_notifyf(0, "STATUS=%s", text);
    }
}

/* ---- the rest ---- */

void notify_start(struct daemon *d)
{
    uint64_t period_us = 0;
    if (sd_watchdog_enabled(0, &period_us) > 0) {
        d->notify.watchdog_ms = period_us / 1000 > 0 ? period_us / 1000 : 1;
    }
    d->notify.fed_ms = clock_now_ms();
}

uint64_t notify_turn_ms(const struct daemon *d)
{
    uint64_t quarter = d->notify.watchdog_ms / 4;
    return d->notify.watchdog_ms == 0 || quarter > 1000 ? 1000 : quarter + 1;
}

void notify_pumped(struct daemon *d)
{
    struct notify *notify = &d->notify;
    if (notify->stopping) {
        return;
    }
    if (!notify->ready && d->store_tried) {
        notify->ready = true;
        sd_notify(0, "READY=1");
    }
    say_status(d);
    uint64_t now = clock_now_ms();
    if (notify->watchdog_ms != 0 && now - notify->fed_ms >= notify->watchdog_ms / 2) {
        notify->fed_ms = now;
        sd_notify(0, "WATCHDOG=1");
    }
}

void notify_reloading(struct daemon *d)
{
    if (!d->notify.stopping) {
        sd_notify(0, "RELOADING=1");
    }
}

/* READY ends a reload; before the first READY there was none to leave. */
void notify_reloaded(struct daemon *d)
{
    if (!d->notify.stopping) {
        d->notify.ready = true;
        sd_notify(0, "READY=1");
    }
}

void notify_stopping(struct daemon *d)
{
    d->notify.stopping = true;
    sd_notify(0, "STOPPING=1\nSTATUS=stopping: ending what runs, giving the lease back");
}
