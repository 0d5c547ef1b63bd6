/*
 * explain: what would happen if a primary failed now.
 */
#include <string.h>

#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

static void print_checks(const struct page *page, const json_t *db)
{
    static const char *const columns[] = {"CHECK", "PASSES", "FOUND", "ALLOWED",
                                          "-AGE",  "+WHAT",  NULL};
    struct sheet *sheet = sheet_new(page, columns);
    size_t index;
    json_t *check;
    json_array_foreach(json_object_get(db, "checks"), index, check)
    {
        bool passes = member_true(check, "passes");
        bool informs = member_true(check, "informs");
        char age[SHOW_SIZE];
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(check, "name", "?"));
        sheet_cell(sheet,
                   passes    ? TONE_GOOD
                   : informs ? TONE_WARN
                             : TONE_BAD,
                   "%s",
                   passes    ? "yes"
                   : informs ? "no, informs"
                             : "NO");
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(check, "value", ""));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(check, "limit", ""));
        sheet_cell(sheet, TONE_PLAIN, "%s",
                   member_null(check, "age_ms") ? ""
                                                : show_age(member_number(check, "age_ms", 0), age));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(check, "text", ""));
    }
    sheet_end(sheet);
}

static void print_times(const json_t *db)
{
    size_t index;
    json_t *lap;
    char a[SHOW_SIZE], b[SHOW_SIZE];
    const json_t *total = json_object_get(db, "total");
    const char *measured = member_text(db, "measured", NULL);
    (void)printf("time:");
    json_array_foreach(json_object_get(db, "times"), index, lap)
    {
        (void)printf(
            "%s %s %s (at most %s)", index > 0 ? "," : "", member_text(lap, "lap", "?"),
            member_null(lap, "expected_ms") ? "not measured"
                                            : show_lap(member_number(lap, "expected_ms", -1), a),
            member_null(lap, "bound_ms") ? "a person's time"
                                         : show_lap(member_number(lap, "bound_ms", -1), b));
    }
    (void)printf(
        "; in all %s%s%s, at most %s\n",
        member_null(total, "expected_ms") ? "not measured yet"
                                          : show_lap(member_number(total, "expected_ms", -1), a),
        measured != NULL ? " as in incident " : "", measured != NULL ? measured : "",
        member_null(total, "bound_ms") ? "a person's time"
                                       : show_lap(member_number(total, "bound_ms", -1), b));
}

static void print_database(const struct page *page, const json_t *db)
{
    char loss[SHOW_SIZE], limit[SHOW_SIZE];
    bool automatic = member_true(db, "automatic");
    page_print(page, automatic ? TONE_GOOD : TONE_WARN, "%s\n", member_text(db, "verdict", "?"));
    (void)printf("loss: %s, %s (limit %s)\n", show_bytes(member_number(db, "loss_bytes", -1), loss),
                 member_text(db, "loss", "not told how it is known"),
                 show_bytes(member_number(db, "loss_limit_bytes", -1), limit));
    print_times(db);
    print_checks(page, db);
}

enum ctl_exit ctl_explain(struct ctl *ctl)
{
    const char *group = ctl->words_len > 0 ? ctl->words[0] : NULL;
    const char *database = ctl->values[OPT_DATABASE];
    struct page page = page_stdout();
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    char path[256];
    size_t index;
    json_t *db;
    if (group == NULL && database == NULL) {
        return ctl_usage(ctl, "explain needs a GROUP or --database NAME");
    }
    if ((group != NULL && !call_name(ctl, "group", group)) ||
        (database != NULL && !call_name(ctl, "database", database))) {
        return CTL_USAGE;
    }
    (void)snprintf(path, sizeof path, "/v1/explain?%s%s%s%s", group != NULL ? "group=" : "",
                   group != NULL ? group : "", database != NULL ? "&database=" : "",
                   database != NULL ? database : "");
    if (call_leader(ctl, path, &answer, &result)) {
        if (ctl_given(ctl, OPT_JSON)) {
            (void)printf("%s\n", answer.raw);
        } else {
            json_array_foreach(json_object_get(answer.body, "databases"), index, db)
            {
                (void)printf("%s", index > 0 ? "\n" : "");
                print_database(&page, db);
            }
            (void)printf("as %s sees it at %s%s\n", member_text(answer.body, "controller", "?"),
                         member_text(answer.body, "at", "?"),
                         member_true(answer.body, "leading") ? ""
                                                             : " (it follows; the leader decides)");
        }
    }
    call_done(&answer);
    return result;
}
