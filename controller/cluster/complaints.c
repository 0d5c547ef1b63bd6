#include "controller/cluster/complaints.h"

#include <stdarg.h>
#include <stdio.h>

#include "controller/base/utf8.h"

void complain(struct complaints *complaints, enum complaint_level level, int line, int column,
              const char *path, const char *format, ...)
{
    if (level == COMPLAINT_ERROR) {
        complaints->errors++;
    }
    if (complaints->len == COMPLAINTS_MAX) {
        return;
    }
    struct complaint *c = &complaints->items[complaints->len++];
    c->level = level;
    c->line = line;
    c->column = column;
    snprintf(c->path, sizeof c->path, "%s", path);
    va_list args;
    va_start(args, format);
    vsnprintf(c->text, sizeof c->text, format, args);
    va_end(args);
    /* Keys and values stand in both, and may have been cut to fit. */
    utf8_show(c->path);
    utf8_show(c->text);
}

static bool stands_before(const struct complaint *a, const struct complaint *b)
{
    return a->line != b->line ? a->line < b->line : a->column < b->column;
}

void complaints_sort(struct complaints *complaints)
{
    for (int i = 1; i < complaints->len; i++) {
        struct complaint moved = complaints->items[i];
        int at = i;
        for (; at > 0 && stands_before(&moved, &complaints->items[at - 1]); at--) {
            complaints->items[at] = complaints->items[at - 1];
        }
        complaints->items[at] = moved;
    }
}

void complaints_print(FILE *to, const char *file, const struct complaints *complaints)
{
    int shown = 0;
    for (int i = 0; i < complaints->len; i++) {
        const struct complaint *c = &complaints->items[i];
        bool error = c->level == COMPLAINT_ERROR;
        shown += error ? 1 : 0;
        fprintf(to, "%s:%d:%d: %s: %s%s%s\n", file, c->line, c->column, error ? "error" : "warning",
                c->path, c->path[0] != '\0' ? ": " : "", c->text);
    }
    if (complaints->errors > shown) {
        fprintf(to, "%s: %d more errors are not shown\n", file, complaints->errors - shown);
    }
}
