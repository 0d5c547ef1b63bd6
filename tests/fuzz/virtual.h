/*
 * virtual.h - time and a loop's timers for the targets that need them: nothing waits.
 *
 * In place of clock.h's clocks and loop.h's timers (VIRTUAL in CMakeLists.txt).
 */
#ifndef TESTS_FUZZ_VIRTUAL_H
#define TESTS_FUZZ_VIRTUAL_H

#include <stdbool.h>
#include <stdint.h>

/* The clock goes back to its beginning; no timer may be left. */
void virtual_reset(void);
void virtual_pass(uint64_t ms);
/* Goes on to the next timer and lets it ring; false: none runs. */
bool virtual_ring(void);

#endif
