/* script.h - the words of a scenario: durations and sizes. */
#ifndef FAILOVER_TESTS_SCENARIO_SCRIPT_H
#define FAILOVER_TESTS_SCENARIO_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

bool script_duration(const char *text, uint64_t *ret_ms); /* 500ms, 30s, 5m, 1h */
bool script_number(const char *text, int *ret_number);    /* 0 to 1000000 */
bool script_bytes(const char *text, uint64_t *ret_bytes); /* 64, 100k, 16M */

#endif
