/*
 * key_values.h - one scalar of a configuration file: from its text to a value, and back.
 */
#ifndef FAILOVER_CLUSTER_KEY_VALUES_H
#define FAILOVER_CLUSTER_KEY_VALUES_H

#include "controller/cluster/keys.h"

#define ALLOWED_SIZE 256
#define WRITTEN_SIZE 320

/* Puts the value of `text` at `to` (which may be NULL: only a check). False: it is not of the row's
   type or range. Not for the containers and KEY_REF. */
bool key_value_read(const struct key *row, const char *text, void *to);
/* What the row allows: "a duration from 1s to 10m, such as 500ms, 10s or 1h". */
void key_value_allowed(const struct key *row, char ret_text[ALLOWED_SIZE]);
/* The value at `from` as one would write it. */
void key_value_write(const struct key *row, const void *from, char ret_text[WRITTEN_SIZE]);

bool is_name(const char *text);
bool is_word(const char *text);

#endif
