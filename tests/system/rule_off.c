/*
 * rule_off.c - rules that are left out, in the failoverd and failover-guard of the tests.
 *
 * FAILOVER_TEST_RULE_OFF holds their ids, separated by commas: those of the programs' tables
 * ("R-F3", "R-G11"), what holds a failover back ("witness", "candidate", ...: hold_names), and what
 * the code names besides (grep for rule_is_off). It is read once, at the start. Each is a line of
 * the log then, and another one when it would have counted for the first time: without that line
 * the run has shown nothing.
 */
#include "controller/base/rule_off.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFF_MAX 16

static struct {
    char text[256];
    int len;
    struct {
        const char *id;
        bool told;
    } rules[OFF_MAX];
} off;

__attribute__((constructor)) static void read_once(void)
{
    const char *list = getenv("FAILOVER_TEST_RULE_OFF");
    if (list == NULL || list[0] == '\0') {
        return;
    }
    if (strlen(list) >= sizeof off.text) {
        abort();
    }
    snprintf(off.text, sizeof off.text, "%s", list);
    char *rest = NULL;
    for (char *id = strtok_r(off.text, ",", &rest); id != NULL; id = strtok_r(NULL, ",", &rest)) {
        if (off.len == OFF_MAX) {
            abort();
        }
        off.rules[off.len++].id = id;
        fprintf(stderr, "TEST: rule %s is switched off in this process\n", id);
    }
}

bool rule_is_off(const char *id)
{
    for (int i = 0; i < off.len; i++) {
        if (strcmp(off.rules[i].id, id) != 0) {
            continue;
        }
        if (!off.rules[i].told) {
            off.rules[i].told = true;
            fprintf(stderr, "TEST: rule %s would have counted, and was left out\n", id);
        }
        return true;
    }
    return false;
}
