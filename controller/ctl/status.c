/*
 * status: the verdict first, then the tables, then what to do.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"
#include "controller/ctl/verdict.h"

#define GUARD_SILENT_MS 15000 /* guards report every ten seconds */

#define LATEST_EVENTS 5

static enum tone opinion_tone(const char *opinion)
{
    return strcmp(opinion, "up") == 0     ? TONE_GOOD
           : strcmp(opinion, "down") == 0 ? TONE_BAD
                                          : TONE_WARN;
}

static void age_cell(struct sheet *sheet, const json_t *object, const char *key)
{
    char text[SHOW_SIZE];
    sheet_cell(sheet, TONE_PLAIN, "%s", show_age(member_number(object, key, -1), text));
}

/* A role as verified; an old one only with the word that says so. */
static void role_cell(struct sheet *sheet, const json_t *db, const json_t *instance)
{
    const char *role = member_text(instance, "role", "unknown");
    const char *last = member_text(instance, "last_role", "unknown");
    bool recorded = strcmp(member_text(db, "primary", ""), member_text(instance, "node", "")) == 0;
    if (strcmp(role, "primary") == 0) {
        bool writable = recorded && member_true(db, "writable");
        sheet_cell(sheet,
                   writable   ? TONE_GOOD
                   : recorded ? TONE_WARN
                              : TONE_BAD,
                   "%s",
                   writable   ? "primary, writable"
                   : recorded ? "primary, not writing"
                              : "PRIMARY, NOT RECORDED");
    } else if (strcmp(role, "unknown") == 0 && strcmp(last, "unknown") != 0) {
        sheet_cell(sheet, TONE_WARN, "unknown (was %s)", last);
    } else {
        sheet_cell(sheet, TONE_PLAIN, "%s", role);
    }
}

/* What the instance's guard adds that a person should know; "" where all is well, or there is none.
 */
static const char *guard_words(const json_t *instance)
{
    const json_t *guard = json_object_get(instance, "guard");
    if (!json_is_object(guard)) {
        return "";
    }
    if (!json_is_true(json_object_get(guard, "reported")) ||
        member_number(guard, "age_ms", 0) > GUARD_SILENT_MS) {
        return " its guard is silent";
    }
    return strcmp(member_text(guard, "mode", ""), "observing") == 0 ? " its guard only observes"
           : !member_null(guard, "held")                            ? " held down by its guard"
                                                                    : "";
}

static void print_databases(const struct page *page, const json_t *group)
{
    static const char *const columns[] = {"DATABASE", "NODE", "SITE", "ROLE",    "HEALTH",
                                          "-SEEN",    "-LAG", "LSN",  "+DETAIL", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    size_t i, j;
    json_t *db, *instance;
    json_array_foreach(json_object_get(group, "databases"), i, db)
    {
        json_array_foreach(json_object_get(db, "instances"), j, instance)
        {
            const char *opinion = member_text(instance, "opinion", "unknown");
            const char *cause = member_text(instance, "cause", "never probed");
            bool well = strcmp(cause, "ok") == 0;
            char lag[SHOW_SIZE];
            sheet_line(sheet);
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(db, "name", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(instance, "node", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(instance, "site", "?"));
            role_cell(sheet, db, instance);
            sheet_cell(sheet, opinion_tone(opinion), "%s%s%s", opinion, well ? "" : ", ",
                       well ? "" : cause);
            age_cell(sheet, instance, "age_ms");
            sheet_cell(sheet, TONE_PLAIN, "%s",
                       member_null(instance, "lag_bytes")
                           ? ""
                           : show_bytes(member_number(instance, "lag_bytes", 0), lag));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(instance, "lsn", ""));
            sheet_cell(sheet, TONE_PLAIN, "%s%s", member_text(instance, "detail", ""),
                       guard_words(instance));
        }
    }
    sheet_end(sheet);
}

static void print_protection(const struct page *page, const json_t *group)
{
    static const char *const columns[] = {"DATABASE",        "STATE",      "-FOR",   "TIER",
                                          "DURABILITY",      "REDUNDANCY", "PERMIT", "-TIMELINE",
                                          "+IF IT DIED NOW", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    size_t index;
    json_t *db;
    json_array_foreach(json_object_get(group, "databases"), index, db)
    {
        const json_t *candidate = json_object_get(db, "candidate");
        const char *words = member_text(db, "words", "");
        const char *node = member_text(candidate, "node", NULL);
        char loss[SHOW_SIZE];
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(db, "name", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(db, "state", "?"));
        age_cell(sheet, db, "since_ms");
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(db, "tier", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(db, "durability", "?"));
        if (words[0] != '\0') {
            sheet_cell(sheet, TONE_WARN, "%s", words);
        } else {
            sheet_cell(sheet, TONE_PLAIN, "%lld streaming", member_number(db, "redundancy", 0));
        }
        sheet_cell(sheet, TONE_PLAIN, "%s %s", member_text(db, "permit", "none"),
                   member_text(db, "epoch", ""));
        sheet_cell(sheet, TONE_PLAIN, "%lld", member_number(db, "timeline", 0));
        if (node != NULL) {
            sheet_cell(sheet, TONE_PLAIN, "%s takes over, losing %s (%s)", node,
                       show_bytes(member_number(db, "loss_now_bytes", -1), loss),
                       member_text(db, "loss_now", "not told how it is known"));
        } else {
            sheet_cell(sheet, TONE_WARN, "nobody could take over: %s",
                       member_text(candidate, "reason", "?"));
        }
    }
    sheet_end(sheet);
}

static void print_services(const struct page *page, const json_t *group)
{
    static const char *const columns[] = {"SERVICE", "NODE",  "ACTIVE",  "HEALTH",
                                          "-SEEN",   "-TOOK", "+DETAIL", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    size_t i, j;
    json_t *service, *instance;
    json_array_foreach(json_object_get(group, "services"), i, service)
    {
        json_array_foreach(json_object_get(service, "instances"), j, instance)
        {
            const char *opinion = member_text(instance, "opinion", "unknown");
            const char *cause = member_text(instance, "cause", "never probed");
            const char *node = member_text(instance, "node", "?");
            bool well = strcmp(cause, "ok") == 0;
            bool active = strcmp(member_text(service, "active", ""), node) == 0;
            sheet_line(sheet);
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(service, "name", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s", node);
            sheet_cell(sheet, TONE_PLAIN, "%s", active ? "active" : "standing by");
            sheet_cell(sheet, opinion_tone(opinion), "%s%s%s", opinion, well ? "" : ", ",
                       well ? "" : cause);
            age_cell(sheet, instance, "age_ms");
            if (member_null(instance, "latency_ms")) {
                sheet_cell(sheet, TONE_PLAIN, "%s", "");
            } else {
                sheet_cell(sheet, TONE_PLAIN, "%lld ms", member_number(instance, "latency_ms", 0));
            }
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(instance, "detail", ""));
        }
    }
    sheet_end(sheet);
}

static void print_routes(const struct page *page, const json_t *group)
{
    static const char *const columns[] = {"ROUTE", "LEADS TO", "PROXY",   "STATE",
                                          "SEEN",  "-AGE",     "+DETAIL", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    size_t i, j;
    json_t *route, *proxy;
    json_array_foreach(json_object_get(group, "routes"), i, route)
    {
        json_array_foreach(json_object_get(route, "proxies"), j, proxy)
        {
            const char *state = member_text(proxy, "state", "unknown");
            sheet_line(sheet);
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(route, "name", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s",
                       member_text(route, "target", member_text(route, "wish", "?")));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(proxy, "name", "?"));
            sheet_cell(sheet, strcmp(state, "agrees") == 0 ? TONE_GOOD : TONE_WARN, "%s", state);
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(proxy, "seen", "-"));
            age_cell(sheet, proxy, "age_ms");
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(proxy, "error", ""));
        }
    }
    sheet_end(sheet);
}

static void print_alarms(const struct page *page, const json_t *group)
{
    size_t index;
    json_t *alarm;
    json_array_foreach(json_object_get(group, "alarms"), index, alarm)
    {
        const char *command = member_text(alarm, "command", "");
        char age[SHOW_SIZE];
        page_print(page, member_true(alarm, "wakes") ? TONE_BAD : TONE_WARN,
                   "ALARM %s, for %s: %s\n", member_text(alarm, "key", "?"),
                   show_age(member_number(alarm, "age_s", 0) * 1000, age),
                   member_text(alarm, "text", "?"));
        if (command[0] != '\0') {
            page_print(page, TONE_HEAD, "      run: %s\n", command);
        }
    }
}

static void print_incident_line(const struct page *page, const json_t *group)
{
    const json_t *incident = json_object_get(group, "incident");
    const char *state = member_text(incident, "state", "");
    const json_t *laps = json_object_get(incident, "laps_ms");
    const char *lap;
    json_t *took;
    char text[SHOW_SIZE];
    if (!json_is_object(incident)) {
        return;
    }
    page_print(page, strcmp(state, "open") == 0 ? TONE_BAD : TONE_PLAIN,
               "%s incident %s, %s, total %s:", strcmp(state, "open") == 0 ? "OPEN" : "last",
               member_text(incident, "id", "?"), state,
               show_lap(member_number(incident, "total_ms", -1), text));
    json_object_foreach((json_t *)laps, lap, took)
    {
        page_print(page, TONE_PLAIN, " %s %s", lap,
                   json_is_integer(took) ? show_lap(json_integer_value(took), text) : "-");
    }
    page_print(page, TONE_PLAIN, "\n");
}

static void print_group(const struct page *page, const json_t *group)
{
    print_databases(page, group);
    page_print(page, TONE_PLAIN, "\n");
    print_protection(page, group);
    page_print(page, TONE_PLAIN, "\n");
    print_services(page, group);
    page_print(page, TONE_PLAIN, "\n");
    print_routes(page, group);
    print_incident_line(page, group);
    print_alarms(page, group);
}

static void print_controllers(const struct page *page, const json_t *status)
{
    static const char *const columns[] = {"CONTROLLER", "STATE",       "-HEARD",
                                          "VERSION",    "-DEFINITION", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    long long revision = member_number(json_object_get(status, "config"), "revision", 0);
    size_t index;
    json_t *controller;
    json_array_foreach(json_object_get(status, "controllers"), index, controller)
    {
        long long runs = member_number(controller, "config_revision", 0);
        bool present = member_true(controller, "present");
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(controller, "id", "?"));
        sheet_cell(sheet, present ? TONE_PLAIN : TONE_WARN, "%s%s",
                   !present                             ? "ABSENT"
                   : member_true(controller, "leading") ? "leads"
                                                        : "follows",
                   member_true(controller, "blind") ? ", BLIND: all targets fail for it" : "");
        age_cell(sheet, controller, "age_ms");
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(controller, "version", "?"));
        sheet_cell(sheet, runs == revision ? TONE_PLAIN : TONE_WARN, "%lld%s", runs,
                   runs == revision ? "" : " (older)");
    }
    sheet_end(sheet);
}

/* The latest of this controller's, so that a change is seen where one looks first. */
static void print_latest(const struct page *page, const json_t *status)
{
    const json_t *events = json_object_get(status, "events");
    size_t len = json_array_size(events);
    for (size_t i = len > LATEST_EVENTS ? len - LATEST_EVENTS : 0; i < len; i++) {
        const json_t *event = json_array_get(events, i);
        const char *database = member_text(event, "database", "");
        page_print(page, TONE_PLAIN, "%s %-5s %s%s%s %s\n", member_text(event, "at", "?"),
                   member_text(event, "level", "?"),
                   database[0] != '\0' ? database : member_text(event, "group", ""),
                   member_text(event, "rule", "")[0] != '\0' ? " " : "",
                   member_text(event, "rule", ""), member_text(event, "text", ""));
    }
    if (len > 0) {
        page_print(page, TONE_PLAIN, "\n");
    }
}

static void print_status(const struct page *page, const json_t *status)
{
    char text[VERDICT_SIZE];
    size_t index;
    json_t *group;
    const json_t *controller = json_object_get(status, "controller");
    enum tone tone = verdict_of_controllers(status, text);
    if (text[0] != '\0') {
        page_print(page, tone, "%s\n", text);
    }
    json_array_foreach(json_object_get(status, "groups"), index, group)
    {
        tone = verdict_of_group(group, text);
        page_print(page, tone, "%s: %s\n", member_text(group, "name", "?"), text);
    }
    json_array_foreach(json_object_get(status, "groups"), index, group)
    {
        page_print(page, TONE_HEAD, "\n%s: home %s, active %s%s\n", member_text(group, "name", "?"),
                   member_text(group, "home", "?"), member_text(group, "active", "unknown"),
                   member_true(group, "automatic") ? "" : ", automatic failover is off");
        print_group(page, group);
    }
    page_print(page, TONE_PLAIN, "\n");
    print_latest(page, status);
    print_controllers(page, status);
    json_array_foreach(json_object_get(controller, "warnings"), index, group)
    {
        page_print(page, TONE_WARN, "%s: %s\n", member_text(controller, "id", "?"),
                   json_string_value(group));
    }
    page_print(page, TONE_PLAIN, "as %s sees it at %s%s\n", member_text(controller, "id", "?"),
               member_text(status, "at", "?"),
               member_true(controller, "leading") ? "" : " (it follows; the leader decides)");
}

/* ---- once, or every second ---- */

static enum ctl_exit show_once(struct ctl *ctl, const struct page *page)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    if (call_status(ctl, &answer, &result)) {
        if (ctl_given(ctl, OPT_JSON)) {
            (void)fprintf(page->to, "%s\n", answer.raw);
        } else {
            print_status(page, answer.body);
        }
    }
    call_done(&answer);
    return result;
}

/* Drawn in memory first and written at once, so that the screen does not flicker. */
static enum ctl_exit watch(struct ctl *ctl, const struct page *screen)
{
    for (;;) {
        struct page page = *screen;
        char *text = NULL;
        size_t len = 0;
        page.to = open_memstream(&text, &len);
        if (page.to == NULL) {
            abort();
        }
        if (show_once(ctl, &page) != CTL_DONE) {
            char now[CLOCK_WALL_TEXT_MAX];
            clock_wall_text(clock_wall_ms(), now);
            (void)fprintf(page.to, "no controller answers (%s)\n", now);
        }
        (void)fclose(page.to);
        bool clear = screen->terminal && !ctl_given(ctl, OPT_JSON);
        (void)printf("%s%s", clear ? "\033[H\033[2J" : "", text);
        free(text);
        if (fflush(stdout) != 0) {
            return CTL_RUNNING; /* nobody reads any more */
        }
        (void)usleep(1000000);
    }
}

enum ctl_exit ctl_status(struct ctl *ctl)
{
    struct page page = page_stdout();
    return ctl_given(ctl, OPT_WATCH) ? watch(ctl, &page) : show_once(ctl, &page);
}
