/*
 * words.h - putting texts and numbers into JSON that may not hold them as they are.
 *
 * Servers, agents and people write in any bytes; JSON is UTF-8. A byte that is none becomes "?", so
 * that one bad byte in an error message never hides the message (or the whole status). jansson's
 * integers are signed: what does not fit is held at the largest.
 */
#ifndef FAILOVER_API_WORDS_H
#define FAILOVER_API_WORDS_H

#include <jansson.h>
#include <stdint.h>

/* NULL gives null. */
json_t *words_text(const char *text);
json_t *words_text_or_null(const char *text); /* "" gives null too */
json_t *words_u64(uint64_t value);
/* How long ago; null when then_ms is 0 (never), 0 when it lies ahead. */
json_t *words_age(uint64_t now_ms, uint64_t then_ms);
/* A wall clock's time as text; null when 0. */
json_t *words_wall(int64_t wall_ms);

#endif
