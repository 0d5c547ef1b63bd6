/*
 * utf8.h - text from outside, made fit to be kept and to be shown.
 *
 * Names, reasons and error messages come from files, servers and devices, and end on terminals and
 * in JSON. A control character there is a command to the terminal: C0 and DEL, and C1, which UTF-8
 * writes in two bytes.
 */
#ifndef FAILOVER_BASE_UTF8_H
#define FAILOVER_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes the character at `at` takes, of the `left` that are there; 0: it is none (RFC
 * 3629). */
size_t utf8_len(const char *at, size_t left);
/* The same for what may be shown: 0 for a control character, too. */
size_t utf8_shown_len(const char *at, size_t left);
/* Whole UTF-8 without control characters: one line, which a terminal shows and does not obey. */
bool utf8_is_line(const char *text);
/* In place, and never longer: what is no UTF-8, such as a character that was cut, becomes '?'. */
void utf8_mend(char *text);
/* The same, and no control characters either: blanks for tabs and ends of lines, '?' for others. */
void utf8_show(char *text);

#endif
