/*
 * show.h - how failoverctl looks: tables, ages, sizes, and colours that only repeat what a word
 * says.
 */
#ifndef FAILOVER_CTL_SHOW_H
#define FAILOVER_CTL_SHOW_H

#include <stdbool.h>
#include <stdio.h>

enum tone { TONE_PLAIN, TONE_GOOD, TONE_WARN, TONE_BAD, TONE_HEAD };

/* One page of output: to a stream, in colours or not, so wide. */
struct page {
    FILE *to;
    bool colours;
    bool terminal;
    int width; /* columns; 0: as wide as needed */
};
struct page page_stdout(void);

void page_print(const struct page *page, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A table with a title line; columns is a NULL-terminated list of headings, a "-" before one aligns
 * its column to the right, a "+" lets it wrap. */
struct sheet;
struct sheet *sheet_new(const struct page *page, const char *const columns[]);
/* A new line; then its cells from the left. NULL text: an empty cell. */
void sheet_line(struct sheet *sheet);
void sheet_cell(struct sheet *sheet, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Prints (nothing when there is no line) and frees. */
void sheet_end(struct sheet *sheet);

#define SHOW_SIZE 32
/* "0.4 s", "12 s", "3 min", "5 h", "2 d"; "never" when negative. */
const char *show_age(long long ms, char ret_text[SHOW_SIZE]);
/* "412 B", "1.5 MiB"; "unknown" when negative. */
const char *show_bytes(long long bytes, char ret_text[SHOW_SIZE]);
/* "1.234 s": for laps, where thousandths count; "-" when negative. */
const char *show_lap(long long ms, char ret_text[SHOW_SIZE]);

#endif
