/*
 * definition_read.h - the definition's YAML, read and checked as a whole.
 *
 * Every error is reported at once, each with its line, column, path, what was found, what is
 * allowed, and for an unknown key or name the nearest known one. Relations between settings are
 * checked too, and the message names both. The keys are one table (definition_keys.c): reading,
 * `check`, the reference page and the example come from it.
 *
 * Limits: 256 KiB of text, 64 levels of nesting, no anchors or aliases, one document, at most 100
 * reports.
 */
#ifndef FAILOVER_CLUSTER_DEFINITION_READ_H
#define FAILOVER_CLUSTER_DEFINITION_READ_H

#include <stddef.h>
#include <stdio.h>

#include "controller/base/err.h"
#include "controller/cluster/definition.h"

#define DEFINITION_TEXT_MAX (256u << 10)
#define COMPLAINTS_MAX      100

enum complaint_level { COMPLAINT_ERROR, COMPLAINT_WARNING };

struct complaint {
    enum complaint_level level;
    int line, column; /* from 1 */
    char path[192];   /* databases.payments.sync.first */
    char text[384];   /* found, allowed, what to do */
};

struct complaints {
    struct complaint items[COMPLAINTS_MAX];
    int len;
    int errors; /* counted beyond the limit too */
};

/* 0 and *ret_def filled, or -1 and complaints->errors > 0 with *ret_def untouched. Warnings may
 * come with both. */
int definition_read(const char *text, size_t len, struct definition *ret_def,
                    struct complaints *complaints);
/* "FILE:LINE:COLUMN: error: PATH: text" lines, as compilers print them. */
void complaints_print(FILE *to, const char *file, const struct complaints *complaints);

/* The reference page's table of keys, in Markdown. */
void definition_reference_print(FILE *to);

/*
 * The difference between two definitions, a line each: "+ databases.x: added", "~ path: old ->
 * new",
 * "- path: removed". Returns how many lines; prints to `to` if it is not NULL.
 */
int definition_diff(FILE *to, const struct definition *from, const struct definition *to_def);

#endif
