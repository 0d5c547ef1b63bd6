/*
 * log.h - one line an event, key=value, for the programs (libraries are silent).
 *
 * Under systemd (JOURNAL_STREAM set for stderr) each pair becomes a journal field FAILOVER_<KEY>;
 * on a terminal or pipe the line is "TIME LEVEL message key=value ...". A value with blanks or
 * quotes is quoted. Logging never blocks the loop: when stderr cannot take a line it is dropped and
 * counted, and the count is logged once it can (failures.md J8).
 *
 * error wakes someone, warn was survived, info is every change of state and nothing else, debug is
 * for developers. Secrets never.
 */
#ifndef FAILOVER_BASE_LOG_H
#define FAILOVER_BASE_LOG_H

#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_init(const char *program, enum log_level least);
/*
 * log_line(LOG_LEVEL_INFO, "leadership gained", "term", "41", "controller", "ops1", NULL):
 * message, then pairs of key and value, both strings, ended by NULL.
 */
void log_line(enum log_level level, const char *message, ...) __attribute__((sentinel));
uint64_t log_dropped(void);

#endif
