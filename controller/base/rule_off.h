/*
 * rule_off.h - a rule that is left out, in programs that only tests build.
 *
 * A test of a bad day shows something only if it can fail. So tests/system/long runs each once
 * more with programs in which the rule that it is about is left out, and wants it to fail.
 *
 * In the programs that are shipped nothing of this exists: the function below is a constant. The
 * tests build failoverd and failover-guard once more with FAILOVER_RULES_OFF, and
 * tests/system/rule_off.c; see there for how a rule is named. Who decides asks last, when the rule
 * would count: so what was left out, and that it was needed, stands in the log.
 */
#ifndef FAILOVER_BASE_RULE_OFF_H
#define FAILOVER_BASE_RULE_OFF_H

#include <stdbool.h>

#ifdef FAILOVER_RULES_OFF

bool rule_is_off(const char *id);

#else

static inline bool rule_is_off(const char *id)
{
    (void)id;
    return false;
}

#endif

#endif
