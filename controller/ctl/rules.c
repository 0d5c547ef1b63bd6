#include <inttypes.h>
#include <string.h>

#include <jansson.h>
#include <stdlib.h>

#include "controller/core/core.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

/* "suspect, held"; "any", or "any but observing" where that is shorter. */
static void from_text(uint64_t from, char *ret_text, size_t size)
{
    uint64_t all = (UINT64_C(1) << DB_STATES) - 1;
    bool most = __builtin_popcountll(from & all) > DB_STATES / 2;
    uint64_t named = most ? ~from & all : from & all;
    size_t len = (size_t)snprintf(ret_text, size, "%s",
                                  !most        ? ""
                                  : named == 0 ? "any"
                                               : "any but ");
    bool first = true;
    for (int i = 0; i < DB_STATES && len < size; i++) {
        if ((named & (UINT64_C(1) << i)) != 0) {
            len += (size_t)snprintf(ret_text + len, size - len, "%s%s", first ? "" : ", ",
                                    db_state_names[i]);
            first = false;
        }
    }
}

static const char *to_text(int to)
{
    return to < 0 ? "stays" : db_state_names[to];
}

static void print_table(void)
{
    static const char *const columns[] = {"RULE", "+FROM", "ON",   "+WHEN",
                                          "TO",   "ACT",   "+WHY", NULL};
    struct page page = page_stdout();
    struct sheet *sheet = sheet_new(&page, columns);
    for (int i = 0; i < core_rules_len(); i++) {
        struct rule_info rule = core_rule(i);
        char from[512];
        from_text(rule.from, from, sizeof from);
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", rule.id);
        sheet_cell(sheet, TONE_PLAIN, "%s", from);
        sheet_cell(sheet, TONE_PLAIN, "%s", rule.on);
        sheet_cell(sheet, TONE_PLAIN, "%s", rule.when);
        sheet_cell(sheet, TONE_PLAIN, "%s", to_text(rule.to));
        sheet_cell(sheet, TONE_PLAIN, "%s", rule.act);
        sheet_cell(sheet, TONE_PLAIN, "%s", rule.why);
    }
    sheet_end(sheet);
}

/* A rule that stays is no edge. */
static void print_dot(void)
{
    (void)printf("digraph rules {\n  rankdir=LR;\n  node [shape=box];\n");
    for (int i = 0; i < core_rules_len(); i++) {
        struct rule_info rule = core_rule(i);
        for (int state = 0; state < DB_STATES && rule.to >= 0; state++) {
            if ((rule.from & (UINT64_C(1) << state)) != 0) {
                (void)printf("  \"%s\" -> \"%s\" [label=\"%s\" tooltip=\"%s\"];\n",
                             db_state_names[state], db_state_names[rule.to], rule.id, rule.why);
            }
        }
    }
    (void)printf("}\n");
}

static json_t *rule_json(const struct rule_info *rule)
{
    json_t *from = json_array();
    for (int state = 0; state < DB_STATES; state++) {
        if ((rule->from & (UINT64_C(1) << state)) != 0) {
            json_array_append_new(from, json_string(db_state_names[state]));
        }
    }
    json_t *out = json_object();
    json_object_set_new(out, "id", json_string(rule->id));
    json_object_set_new(out, "from", from);
    json_object_set_new(out, "on", json_string(rule->on));
    json_object_set_new(out, "when", json_string(rule->when));
    json_object_set_new(out, "to",
                        rule->to < 0 ? json_null() : json_string(db_state_names[rule->to]));
    json_object_set_new(out, "act", json_string(rule->act));
    json_object_set_new(out, "why", json_string(rule->why));
    return out;
}

static void print_json(void)
{
    json_t *list = json_array();
    for (int i = 0; i < core_rules_len(); i++) {
        struct rule_info rule = core_rule(i);
        json_array_append_new(list, rule_json(&rule));
    }
    (void)json_dumpf(list, stdout, JSON_INDENT(2));
    (void)fputc('\n', stdout);
    json_decref(list);
}

enum ctl_exit ctl_rules(struct ctl *ctl)
{
    const char *format = ctl_given(ctl, OPT_FORMAT) ? ctl->values[OPT_FORMAT] : "table";
    if (strcmp(format, "table") == 0) {
        print_table();
    } else if (strcmp(format, "dot") == 0) {
        print_dot();
    } else if (strcmp(format, "json") == 0) {
        print_json();
    } else {
        return ctl_usage(ctl, "--format: found \"%s\", allowed are table, dot and json", format);
    }
    return CTL_DONE;
}
