/*
 * clock.h - the two clocks.
 *
 * Every deadline, age and lease is counted in CLOCK_BOOTTIME milliseconds (it moves on while a
 * machine is suspended, design.md §5, failures.md B5). The wall clock is for people only.
 */
#ifndef FAILOVER_BASE_CLOCK_H
#define FAILOVER_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ms(void); /* CLOCK_BOOTTIME */
int64_t clock_wall_ms(void); /* CLOCK_REALTIME since 1970-01-01 UTC */
#define CLOCK_WALL_TEXT_MAX 32
/* "2026-11-22T03:04:05.678Z" */
void clock_wall_text(int64_t wall_ms, char ret_text[CLOCK_WALL_TEXT_MAX]);

#endif
