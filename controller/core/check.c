/* check.c - one thing that was looked at, with what was found and what is allowed. */
#include "controller/core/private.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void check_set(struct core_check *check, const char *name, bool passes, int64_t age_ms,
               const char *format, ...)
{
    va_list args;
    memset(check, 0, sizeof *check);
    text_copy(check->name, sizeof check->name, name);
    check->passes = passes;
    check->age_ms = age_ms;
    va_start(args, format);
    vsnprintf(check->text, sizeof check->text, format, args);
    va_end(args);
}

void check_value(struct core_check *check, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(check->value, sizeof check->value, format, args);
    va_end(args);
}

void check_limit(struct core_check *check, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(check->limit, sizeof check->limit, format, args);
    va_end(args);
}
