/*
 * incident: the failures, and how long each step of the recovery took.
 */
#include <string.h>

#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

/* ---- incidents ---- */

static enum tone state_tone(const char *state)
{
    return strcmp(state, "open") == 0     ? TONE_BAD
           : strcmp(state, "closed") == 0 ? TONE_GOOD
                                          : TONE_WARN;
}

static void print_list(const json_t *body)
{
    static const char *const columns[] = {"ID",     "OPENED", "GROUP",   "STATE",
                                          "-TOTAL", "CLASS",  "+REASON", NULL};
    struct page page = page_stdout();
    struct sheet *sheet = sheet_new(&page, columns);
    size_t index;
    json_t *incident;
    json_array_foreach(json_object_get(body, "incidents"), index, incident)
    {
        const char *state = member_text(incident, "state", "?");
        char total[SHOW_SIZE];
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(incident, "id", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(incident, "opened", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(incident, "group", "?"));
        sheet_cell(sheet, state_tone(state), "%s", state);
        sheet_cell(sheet, TONE_PLAIN, "%s",
                   show_lap(member_number(incident, "total_ms", -1), total));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(incident, "fault_class", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(incident, "reason", ""));
    }
    sheet_end(sheet);
    if (json_array_size(json_object_get(body, "incidents")) == 0) {
        (void)printf("no incidents are recorded (the latest %lld are kept here)\n",
                     member_number(body, "kept_at_most", 0));
    }
}

static void print_laps(const struct page *page, const json_t *incident)
{
    static const char *const columns[] = {"LAP", "-TOOK", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    const json_t *laps = json_object_get(incident, "laps_ms");
    char took[SHOW_SIZE];
    for (int i = 0; i < LAPS; i++) {
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", lap_names[i]);
        sheet_cell(sheet, TONE_PLAIN, "%s",
                   member_null(laps, lap_names[i])
                       ? "not ended"
                       : show_lap(member_number(laps, lap_names[i], -1), took));
    }
    static const char *const sums[][2] = {
        {"total", "total_ms"}, {"  machine", "machine_ms"}, {"  people", "people_ms"}};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        sheet_line(sheet);
        sheet_cell(sheet, TONE_HEAD, "%s", sums[i][0]);
        sheet_cell(sheet, TONE_HEAD, "%s", show_lap(member_number(incident, sums[i][1], -1), took));
    }
    sheet_end(sheet);
}

static void print_objectives(const struct page *page, const json_t *incident)
{
    static const char *const columns[] = {"OBJECTIVE", "-LIMIT", "-TOOK", "STATE", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    size_t index;
    json_t *objective;
    json_array_foreach(json_object_get(incident, "objectives"), index, objective)
    {
        const char *state = member_text(objective, "state", "?");
        const json_t *actual = json_object_get(objective, "actual_s");
        char limit[SHOW_SIZE], took[SHOW_SIZE];
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(objective, "name", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s",
                   show_age(member_number(objective, "limit_s", 0) * 1000, limit));
        sheet_cell(sheet, TONE_PLAIN, "%s",
                   json_is_number(actual)
                       ? show_lap((long long)(json_number_value(actual) * 1000.0), took)
                       : "open");
        sheet_cell(sheet,
                   strcmp(state, "missed") == 0 ? TONE_BAD
                   : strcmp(state, "met") == 0  ? TONE_GOOD
                                                : TONE_PLAIN,
                   "%s", state);
    }
    sheet_end(sheet);
}

static void print_incident(const json_t *incident)
{
    struct page page = page_stdout();
    const char *state = member_text(incident, "state", "?");
    size_t index;
    json_t *item;
    page_print(&page, state_tone(state), "%s of %s: %s\n", member_text(incident, "id", "?"),
               member_text(incident, "group", "?"), state);
    (void)printf("opened %s by %s, %s: %s\n", member_text(incident, "opened", "?"),
                 member_text(incident, "opened_by", "?"), member_text(incident, "fault_class", "?"),
                 member_text(incident, "reason", ""));
    json_array_foreach(json_object_get(incident, "databases"), index, item)
    {
        char loss[SHOW_SIZE];
        (void)printf(
            "%s: %s -> %s; evidence: %s; estimated loss: %s\n", member_text(item, "name", "?"),
            member_text(item, "from", "?"),
            member_text(item, "to", "")[0] != '\0' ? member_text(item, "to", "") : "(nobody yet)",
            member_text(item, "evidence", "")[0] != '\0' ? member_text(item, "evidence", "")
                                                         : "none yet",
            show_bytes(member_number(item, "estimated_loss_bytes", -1), loss));
    }
    (void)printf("\n");
    print_laps(&page, incident);
    (void)printf("\n");
    print_objectives(&page, incident);
    (void)printf("\n");
    json_array_foreach(json_object_get(incident, "notes"), index, item)
    {
        char at[SHOW_SIZE];
        (void)printf("[%12s] %-6s %s\n", show_lap(member_number(item, "at_ms", 0), at),
                     member_text(item, "rule", ""), member_text(item, "text", ""));
    }
    if (member_number(incident, "notes_dropped", 0) > 0) {
        (void)printf("(%lld notes more are in the controllers' journals)\n",
                     member_number(incident, "notes_dropped", 0));
    }
}

enum ctl_exit ctl_incident(struct ctl *ctl)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    char path[128] = "/v1/incidents";
    bool list = strcmp(ctl->words[0], "list") == 0;
    const char *id = ctl->words_len > 1 ? ctl->words[1] : "latest";
    if (!list && strcmp(ctl->words[0], "show") != 0) {
        return ctl_usage(ctl, "incident: found \"%s\", allowed are list and show", ctl->words[0]);
    }
    if (list && ctl->words_len > 1) {
        return ctl_usage(ctl, "unexpected argument \"%s\"", ctl->words[1]);
    }
    if (id[0] == '\0' || strlen(id) >= ID_SIZE ||
        strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(id)) {
        return ctl_usage(ctl, "\"%s\" is no id of an incident", id);
    }
    if (!list) {
        (void)snprintf(path, sizeof path, "/v1/incidents/%s", id);
    }
    if (call_get(ctl, path, &answer, &result)) {
        if (ctl_given(ctl, OPT_JSON)) {
            (void)printf("%s\n", answer.raw);
        } else if (list) {
            print_list(answer.body);
        } else {
            print_incident(answer.body);
        }
    }
    call_done(&answer);
    return result;
}
