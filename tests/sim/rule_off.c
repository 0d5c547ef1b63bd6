/* rule_off.c - the one rule that is left out, in the program of the mutants alone
 * (base/rule_off.h). */
#ifdef FAILOVER_RULES_OFF

#include "controller/base/rule_off.h"

#include <string.h>

#include "tests/sim/sim.h"

static const char *off = "";
bool rule_off_counted;

void rule_off_set(const char *id)
{
    off = id;
    rule_off_counted = false;
}

bool rule_is_off(const char *id)
{
    bool is = off[0] == id[0] && strcmp(id, off) == 0;
    rule_off_counted = rule_off_counted || is;
    return is;
}

#else

typedef int rule_off_is_not_used;

#endif
