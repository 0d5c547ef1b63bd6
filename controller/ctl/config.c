/*
 * config: the stored definition and those before it.
 *
 * Versions count backwards: 0 is the stored one, 1 the one before it. Going back stores the old
 * text as a new version, by the same path as `apply`: checked, compared, and only if nobody else
 * has stored one meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/ctl/apply.h"
#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

static enum ctl_exit show_stored(struct ctl *ctl)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    if (call_get(ctl, "/v1/config", &answer, &result)) {
        const char *yaml = json_string_value(json_object_get(answer.body, "yaml"));
        if (ctl_given(ctl, OPT_JSON)) {
            (void)printf("%s\n", answer.raw);
        } else if (yaml == NULL) {
            ctl_complain("no definition is stored yet; run: failoverctl apply FILE");
            result = CTL_REFUSED;
        } else {
            (void)fprintf(stderr, "# revision %lld, stored by %s at %s: %s\n",
                          member_number(answer.body, "revision", 0),
                          member_text(answer.body, "who", "?"), member_text(answer.body, "at", "?"),
                          member_text(answer.body, "reason", "?"));
            (void)fputs(yaml, stdout);
        }
    }
    call_done(&answer);
    return result;
}

static enum ctl_exit show_history(struct ctl *ctl)
{
    static const char *const columns[] = {"-VERSION", "STORED", "BY", "HASH", "+WHY", NULL};
    struct page page = page_stdout();
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    size_t index;
    json_t *version;
    if (!call_get(ctl, "/v1/history", &answer, &result)) {
        call_done(&answer);
        return result;
    }
    if (ctl_given(ctl, OPT_JSON)) {
        (void)printf("%s\n", answer.raw);
    } else {
        struct sheet *sheet = sheet_new(&page, columns);
        json_array_foreach(json_object_get(answer.body, "versions"), index, version)
        {
            sheet_line(sheet);
            sheet_cell(sheet, TONE_PLAIN, "%lld", member_number(version, "version", 0));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(version, "at", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(version, "who", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(version, "hash", "?"));
            sheet_cell(sheet, TONE_PLAIN, "%s", member_text(version, "reason", ""));
        }
        sheet_end(sheet);
    }
    call_done(&answer);
    return result;
}

/* The number of a version after the verb; -1: said. */
static long version_number(const struct ctl *ctl, long absent)
{
    const char *text = ctl->words_len > 1 ? ctl->words[1] : NULL;
    char *end = NULL;
    if (text == NULL) {
        return absent;
    }
    long number = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || number < 1 || number > 1000) {
        (void)ctl_usage(ctl,
                        "found version \"%s\"; `config history` lists them, 1 is the one before "
                        "the stored one",
                        text);
        return -1;
    }
    return number;
}

/* The text of a version, on the heap; NULL: said. */
static char *fetch(struct ctl *ctl, long back, enum ctl_exit *ret_exit)
{
    struct call_answer answer;
    char path[64];
    char *text = NULL;
    (void)snprintf(path, sizeof path, "/v1/history/%ld", back);
    if (call_get(ctl, path, &answer, ret_exit)) {
        text = strdup(member_text(answer.body, "yaml", ""));
    }
    call_done(&answer);
    return text;
}

static enum ctl_exit show_difference(struct ctl *ctl)
{
    enum ctl_exit result = CTL_DONE;
    long back = version_number(ctl, 1);
    if (back < 0) {
        return CTL_USAGE;
    }
    char *old = fetch(ctl, back, &result);
    char *now = old == NULL ? NULL : fetch(ctl, 0, &result);
    struct definition *before =
        old == NULL ? NULL : ctl_read_definition("before", old, strlen(old));
    struct definition *after = now == NULL ? NULL : ctl_read_definition("stored", now, strlen(now));
    if (before != NULL && after != NULL) {
        int lines = definition_diff(stdout, before, after);
        if (lines == 0) {
            (void)printf(strcmp(old, now) == 0 ? "no difference\n"
                                               : "only comments or layout differ\n");
        }
    } else if (now != NULL) {
        result = CTL_REFUSED;
    }
    free(before);
    free(after);
    free(old);
    free(now);
    return result;
}

static enum ctl_exit go_back(struct ctl *ctl)
{
    const char *reason = NULL;
    enum ctl_exit result = CTL_DONE;
    long back = version_number(ctl, 0);
    if (back < 0 || !ctl_reason(ctl, &reason)) {
        return CTL_USAGE;
    }
    if (back == 0) {
        return ctl_usage(ctl, "config rollback needs the number of a version; `config history` "
                              "lists them");
    }
    if (!apply_may_ask(ctl)) {
        return CTL_USAGE;
    }
    char *text = fetch(ctl, back, &result);
    return text == NULL ? result : apply_text(ctl, "the old version", text, reason);
}

enum ctl_exit ctl_config(struct ctl *ctl)
{
    const char *verb = ctl->words[0];
    if (ctl->words_len > 1 && (strcmp(verb, "show") == 0 || strcmp(verb, "history") == 0)) {
        return ctl_usage(ctl, "unexpected argument \"%s\"", ctl->words[1]);
    }
    if (strcmp(verb, "show") == 0) {
        return show_stored(ctl);
    } else if (strcmp(verb, "history") == 0) {
        return show_history(ctl);
    } else if (strcmp(verb, "diff") == 0) {
        return show_difference(ctl);
    } else if (strcmp(verb, "rollback") == 0) {
        return go_back(ctl);
    }
    return ctl_usage(ctl, "config: found \"%s\", allowed are show, history, diff and rollback",
                     verb);
}
