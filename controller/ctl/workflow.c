/*
 * workflow and alarms: what is under way or waits for a person, and what a person does about it.
 */
#include <string.h>

#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/request.h"
#include "controller/ctl/show.h"

/* ---- workflow ---- */

/* Where the recorded step stands among all of them. */
static void print_steps(const json_t *move)
{
    const char *phase = member_text(move, "phase", "");
    bool reached = false;
    for (int i = 0; move_phase_names[i] != NULL && i < PHASE_DONE; i++) {
        bool here = strcmp(move_phase_names[i], phase) == 0;
        reached = reached || here;
        (void)printf("%s%s%s", i > 0 ? " > " : "  ", here ? "[" : "", move_phase_names[i]);
        (void)printf("%s", here ? "]" : reached ? "" : " done");
    }
    (void)printf("\n");
}

static void print_move(const struct page *page, const json_t *db)
{
    const json_t *move = json_object_get(db, "move");
    const char *parked = member_text(move, "parked", "");
    const char *candidate = member_text(move, "candidate", "");
    size_t index;
    json_t *evidence;
    char age[SHOW_SIZE];
    (void)printf("%s: %s for %s: %s\n", member_text(db, "name", "?"), member_text(db, "state", "?"),
                 show_age(member_number(db, "since_ms", -1), age),
                 member_text(db, "state_help", ""));
    print_steps(move);
    (void)printf("  from %s to %s%s, %s\n", member_text(move, "from", "?"),
                 candidate[0] != '\0' ? candidate
                                      : member_text(move, "planned", "(not chosen yet)"),
                 candidate[0] != '\0' ? "" : " (planned)",
                 member_true(move, "forced") ? "asked for by a person" : "automatic");
    json_array_foreach(json_object_get(move, "evidence"), index, evidence)
    {
        (void)printf("  evidence: %s on %s: %s\n", member_text(evidence, "kind", "?"),
                     member_text(evidence, "node", "?"), member_text(evidence, "detail", ""));
    }
    if (parked[0] != '\0') {
        page_print(page, TONE_BAD, "  parked: %s\n", parked);
    }
}

static bool show_group(const struct page *page, const json_t *group)
{
    size_t index;
    json_t *item;
    bool any = false;
    json_array_foreach(json_object_get(group, "databases"), index, item)
    {
        if (json_is_object(json_object_get(item, "move")) ||
            strcmp(member_text(item, "state", ""), "parked") == 0) {
            print_move(page, item);
            any = true;
        }
    }
    json_array_foreach(json_object_get(group, "alarms"), index, item)
    {
        if (any && member_text(item, "command", "")[0] != '\0') {
            page_print(page, TONE_HEAD, "  next: %s\n", member_text(item, "command", ""));
        }
    }
    return any;
}

static enum ctl_exit show_workflow(struct ctl *ctl, const char *name)
{
    struct call_answer answer;
    struct page page = page_stdout();
    enum ctl_exit result = CTL_DONE;
    bool found = false;
    size_t index;
    json_t *group;
    if (call_status(ctl, &answer, &result)) {
        json_array_foreach(json_object_get(answer.body, "groups"), index, group)
        {
            if (strcmp(member_text(group, "name", ""), name) == 0) {
                found = true;
                if (!show_group(&page, group)) {
                    (void)printf("%s: no workflow is under way\n", name);
                }
            }
        }
        if (!found) {
            ctl_complain("no group is named \"%s\"; failoverctl status lists them", name);
            result = CTL_USAGE;
        }
    }
    call_done(&answer);
    return result;
}

enum ctl_exit ctl_workflow(struct ctl *ctl)
{
    static const struct {
        const char *name;
        enum request_kind kind;
        const char *question;
    } verbs[] = {
        {"retry", REQUEST_WORKFLOW_RETRY, "Try the waiting step again?"},
        {"skip", REQUEST_WORKFLOW_SKIP, "Leave the step out?"},
        {"abandon", REQUEST_WORKFLOW_ABANDON,
         "Give the move up, so that the old primary gets its permit back?"},
    };
    const char *verb = ctl->words[0];
    const char *group = ctl->words[1];
    const char *database = ctl->values[OPT_DATABASE];
    const char *reason = NULL;
    if (!call_name(ctl, "group", group)) {
        return CTL_USAGE;
    }
    if (strcmp(verb, "show") == 0) {
        return show_workflow(ctl, group);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(verb, verbs[i].name) != 0) {
            continue;
        }
        if (!ctl_reason(ctl, &reason)) {
            return CTL_USAGE;
        }
        if (!ctl_sure(ctl, verbs[i].question)) {
            ctl_complain("nothing was changed");
            return CTL_REFUSED;
        }
        json_t *body = request_body(verbs[i].kind, reason);
        json_object_set_new(body, "group", json_string(group));
        if (database != NULL) {
            json_object_set_new(body, "database", json_string(database));
        }
        return request_send(ctl, body);
    }
    return ctl_usage(ctl, "workflow: found \"%s\", allowed are show, retry, skip and abandon",
                     verb);
}

/* ---- alarms ---- */

static void alarm_line(struct sheet *sheet, const json_t *group, const json_t *alarm)
{
    const json_t *acked = json_object_get(alarm, "acked");
    char age[SHOW_SIZE];
    sheet_line(sheet);
    sheet_cell(sheet, TONE_PLAIN, "%s", member_text(group, "name", "?"));
    sheet_cell(sheet, member_true(alarm, "wakes") ? TONE_BAD : TONE_WARN, "%s",
               member_text(alarm, "key", "?"));
    sheet_cell(sheet, TONE_PLAIN, "%s", show_age(member_number(alarm, "age_s", 0) * 1000, age));
    if (json_is_object(acked)) {
        sheet_cell(sheet, TONE_PLAIN, "by %s: %s", member_text(acked, "by", "?"),
                   member_text(acked, "reason", "?"));
    } else {
        sheet_cell(sheet, TONE_PLAIN, "%s", member_true(alarm, "called") ? "no, called" : "no");
    }
    sheet_cell(sheet, TONE_PLAIN, "%s", member_text(alarm, "text", "?"));
    sheet_cell(sheet, TONE_PLAIN, "%s", member_text(alarm, "command", ""));
}

/* The group that has this alarm; "" when none has. */
static void group_of_alarm(const json_t *status, const char *key, char ret_group[NAME_SIZE])
{
    size_t i, j;
    json_t *group, *alarm;
    ret_group[0] = '\0';
    json_array_foreach(json_object_get(status, "groups"), i, group)
    {
        json_array_foreach(json_object_get(group, "alarms"), j, alarm)
        {
            if (strcmp(member_text(alarm, "key", ""), key) == 0) {
                (void)snprintf(ret_group, NAME_SIZE, "%s", member_text(group, "name", ""));
            }
        }
    }
}

static enum ctl_exit acknowledge(struct ctl *ctl, const char *group, const char *key)
{
    const char *reason = NULL;
    char found[NAME_SIZE];
    if (!ctl_reason(ctl, &reason)) {
        return CTL_USAGE;
    }
    if (group == NULL) {
        struct call_answer answer;
        enum ctl_exit result = CTL_DONE;
        bool got = call_status(ctl, &answer, &result);
        group_of_alarm(answer.body, key, found);
        call_done(&answer);
        if (!got) {
            return result;
        }
        if (found[0] == '\0') {
            ctl_complain("refused, nothing was changed: there is no alarm \"%s\"", key);
            return CTL_REFUSED;
        }
        group = found;
    }
    json_t *body = request_body(REQUEST_ALARM_ACK, reason);
    json_object_set_new(body, "group", json_string(group));
    json_object_set_new(body, "alarm", json_string(key));
    return request_send(ctl, body);
}

static void list_alarms(const json_t *status, const char *only)
{
    static const char *const columns[] = {"GROUP", "ALARM", "-FOR", "+ACKNOWLEDGED",
                                          "+WHAT", "+NEXT", NULL};
    struct page page = page_stdout();
    struct sheet *sheet = sheet_new(&page, columns);
    size_t i, j;
    json_t *group, *alarm;
    int len = 0;
    json_array_foreach(json_object_get(status, "groups"), i, group)
    {
        if (only != NULL && strcmp(member_text(group, "name", ""), only) != 0) {
            continue;
        }
        json_array_foreach(json_object_get(group, "alarms"), j, alarm)
        {
            alarm_line(sheet, group, alarm);
            len++;
        }
    }
    sheet_end(sheet);
    if (len == 0) {
        (void)printf("no alarms\n");
    }
}

enum ctl_exit ctl_alarms(struct ctl *ctl)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    int at = ctl->words_len > 0 && strcmp(ctl->words[0], "ack") != 0 ? 1 : 0;
    const char *group = at == 1 ? ctl->words[0] : NULL;
    if (group != NULL && !call_name(ctl, "group", group)) {
        return CTL_USAGE;
    }
    if (ctl->words_len > at) {
        if (strcmp(ctl->words[at], "ack") != 0 || ctl->words_len != at + 2) {
            return ctl_usage(ctl, "alarms: found \"%s\"; to acknowledge one: alarms ack KEY",
                             ctl->words[at]);
        }
        return acknowledge(ctl, group, ctl->words[at + 1]);
    }
    if (call_status(ctl, &answer, &result)) {
        list_alarms(answer.body, group);
    }
    call_done(&answer);
    return result;
}
