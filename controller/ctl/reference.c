/*
 * reference: the pages of deploy/doc, printed from the tables that the programs themselves run by.
 */
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/cluster/local.h"
#include "controller/cluster/store_keys.h"
#include "controller/core/core.h"
#include "controller/ctl/command.h"

static void print_from(uint64_t from)
{
    int named = 0;
    for (int state = 0; state < DB_STATES; state++) {
        named += (from & (UINT64_C(1) << state)) != 0 ? 1 : 0;
    }
    /* Where most states are meant, those that are not are fewer words. */
    bool most = named > DB_STATES / 2;
    const char *comma = "";
    (void)printf("%s", named == DB_STATES ? "any state" : most ? "any state but " : "");
    for (int state = 0; state < DB_STATES; state++) {
        if (((from & (UINT64_C(1) << state)) != 0) != most) {
            (void)printf("%s*%s*", comma, db_state_names[state]);
            comma = ", ";
        }
    }
}

static void print_rule(const struct rule_info *rule)
{
    (void)printf("\n### %s\n\n%s.\n\n", rule->id, rule->why);
    print_from(rule->from);
    if (rule->to < 0) {
        (void)printf(", and stays there");
    } else {
        (void)printf(" → *%s*", db_state_names[rule->to]);
    }
    (void)printf("; on `%s`, when `%s`; does `%s`\n", rule->on, rule->when, rule->act);
}

static void print_rules(void)
{
    (void)printf(
        "# The rules that decide\n\n"
        "A database is in one state. When something happens, the first rule from the top that "
        "fits its state, the\nevent and its condition is carried out. A rule's id stands in "
        "the log, in `failoverctl events` and in an\nincident's notes. "
        "`failoverctl rules --format dot` draws them.\n\n"
        "## States\n\n| State | What it means |\n|---|---|\n");
    for (int state = 0; state < DB_STATES; state++) {
        (void)printf("| *%s* | %s |\n", db_state_names[state], db_state_helps[state]);
    }
    (void)printf("\n## Rules\n");
    for (int i = 0; i < core_rules_len(); i++) {
        struct rule_info rule = core_rule(i);
        print_rule(&rule);
    }
}

static void print_settings(void)
{
    (void)printf(
        "# Settings\n\n"
        "## The definition\n\n"
        "One YAML file, checked by `failoverctl check FILE` and stored in etcd by "
        "`failoverctl apply FILE`. `*` stands for a\nname of your choice, or of what the key "
        "refers to; `[]` for an item of a list.\n\n");
    definition_reference_print(stdout);
    (void)printf("\n## The local file\n\n"
                 "`%s`, one on each controller's machine.\n\n",
                 CTL_LOCAL_FILE);
    local_reference_print(stdout);
}

static void print_exit_codes(void)
{
    (void)printf("# Exit codes of failoverctl\n\n| Code | What it means |\n|---|---|\n");
#define X(id, help) (void)printf("| %d | %s |\n", (int)(id), help);
    CTL_EXIT_LIST(X)
#undef X
}

static void print_keys(void)
{
    (void)printf(
        "# Keys in etcd\n\n"
        "Below `/failover/CLUSTER/`. Values are JSON documents with a `schema` number. Nobody "
        "but the controllers\nshould write them: a leader that meets a change it did not make "
        "reads everything again, and parks what\ncontradicts itself.\n\n");
    store_reference_print(stdout);
}

static void print_commands(void)
{
    (void)printf("# Commands of failoverctl\n");
    for (int i = 0; i < commands_len; i++) {
        (void)printf("\n## %s\n\n```\n", commands[i].name);
        command_help_print(stdout, &commands[i]);
        (void)printf("```\n");
    }
}

static const struct {
    const char *name;
    void (*print)(void);
} pages[] = {
    {"rules", print_rules},           {"settings", print_settings}, {"commands", print_commands},
    {"exit-codes", print_exit_codes}, {"keys", print_keys},
};

enum ctl_exit ctl_reference(struct ctl *ctl)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(ctl->words[0], pages[i].name) == 0) {
            pages[i].print();
            return CTL_DONE;
        }
    }
    return ctl_usage(
        ctl, "no page \"%.40s\"; allowed are rules, settings, commands, exit-codes and keys",
        ctl->words[0]);
}
