#include "controller/ctl/show.h"

#include <libsmartcols/libsmartcols.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* clang-format off */
static const struct {
    const char *sequence; /* of the terminal */
    const char *name;     /* libsmartcols' */
} tones[] = {
    [TONE_PLAIN] = {"",           NULL},
    [TONE_GOOD]  = {"\033[32m",   "green"},
    [TONE_WARN]  = {"\033[33m",   "brown"},
    [TONE_BAD]   = {"\033[1;31m", "red"},
    [TONE_HEAD]  = {"\033[1m",    NULL},
};
/* clang-format on */

struct page page_stdout(void)
{
    struct page page = {.to = stdout, .terminal = isatty(STDOUT_FILENO) == 1};
    const char *no_color = getenv("NO_COLOR");
    struct winsize size;
    page.colours = page.terminal && (no_color == NULL || no_color[0] == '\0');
    if (page.terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) {
        page.width = size.ws_col;
    }
    return page;
}

void page_print(const struct page *page, enum tone tone, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    if (len < 0) {
        return;
    }
    /* Line ends stay outside of the colour: a terminal paints to the edge otherwise. */
    size_t begin = strspn(text, "\n");
    size_t end = (size_t)len;
    while (end > begin && text[end - 1] == '\n') {
        end--;
    }
    bool colour = page->colours && tones[tone].sequence[0] != '\0' && end > begin;
    (void)fprintf(page->to, "%.*s%s%.*s%s%s", (int)begin, text, colour ? tones[tone].sequence : "",
                  (int)(end - begin), text + begin, colour ? "\033[0m" : "", text + end);
    free(text);
}

/* ---- tables ---- */

struct sheet {
    struct page page;
    struct libscols_table *table;
    struct libscols_line *line;
    int column;
    bool broken; /* no memory: nothing is shown rather than half of it */
};

struct sheet *sheet_new(const struct page *page, const char *const columns[])
{
    struct sheet *sheet = calloc(1, sizeof *sheet);
    if (sheet == NULL || (sheet->table = scols_new_table()) == NULL) {
        abort();
    }
    sheet->page = *page;
    (void)scols_table_set_stream(sheet->table, page->to);
    (void)scols_table_enable_colors(sheet->table, page->colours);
    (void)scols_table_set_termforce(sheet->table, page->width > 0 ? SCOLS_TERMFORCE_ALWAYS
                                                                  : SCOLS_TERMFORCE_NEVER);
    if (page->width > 0) {
        (void)scols_table_set_termwidth(sheet->table, (size_t)page->width);
    }
    for (int i = 0; columns[i] != NULL; i++) {
        int flags = columns[i][0] == '-'   ? SCOLS_FL_RIGHT
                    : columns[i][0] == '+' ? SCOLS_FL_WRAP
                                           : 0;
        const char *name = columns[i] + (flags != 0 ? 1 : 0);
        if (scols_table_new_column(sheet->table, name, 0.0, flags) == NULL) {
            sheet->broken = true;
        }
    }
    return sheet;
}

void sheet_line(struct sheet *sheet)
{
    sheet->line = scols_table_new_line(sheet->table, NULL);
    sheet->broken = sheet->broken || sheet->line == NULL;
    sheet->column = 0;
}

void sheet_cell(struct sheet *sheet, enum tone tone, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    if (sheet->broken) {
        return;
    }
    size_t column = (size_t)sheet->column++;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0) {
        sheet->broken = true;
        text = NULL;
    }
    va_end(args);
    if (text == NULL || scols_line_refer_data(sheet->line, column, text) != 0) {
        sheet->broken = true;
        return;
    }
    if (tones[tone].name != NULL) {
        struct libscols_cell *cell = scols_line_get_cell(sheet->line, column);
        (void)scols_cell_set_color(cell, tones[tone].name);
    }
}

void sheet_end(struct sheet *sheet)
{
    if (!sheet->broken && scols_table_get_nlines(sheet->table) > 0) {
        (void)scols_print_table(sheet->table);
    }
    scols_unref_table(sheet->table);
    free(sheet);
}

/* ---- numbers ---- */

const char *show_age(long long ms, char ret_text[SHOW_SIZE])
{
    static const struct {
        long long below_ms, unit_ms;
        const char *name;
    } units[] = {{120000, 1000, "s"},
                 {7200000, 60000, "min"},
                 {172800000, 3600000, "h"},
                 {LLONG_MAX, 86400000, "d"}};
    if (ms < 0) {
        return "never";
    }
    if (ms < 10000) {
        (void)snprintf(ret_text, SHOW_SIZE, "%lld.%lld s", ms / 1000, ms % 1000 / 100);
        return ret_text;
    }
    size_t i = 0;
    while (i < sizeof units / sizeof *units - 1 && ms >= units[i].below_ms) {
        i++;
    }
    (void)snprintf(ret_text, SHOW_SIZE, "%lld %s", ms / units[i].unit_ms, units[i].name);
    return ret_text;
}

const char *show_bytes(long long bytes, char ret_text[SHOW_SIZE])
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 0) {
        return "unknown";
    }
    if (bytes < 1024) {
        (void)snprintf(ret_text, SHOW_SIZE, "%lld B", bytes);
        return ret_text;
    }
    double size = (double)bytes / 1024;
    size_t i = 0;
    while (size >= 1024 && i < sizeof units / sizeof *units - 1) {
        size /= 1024;
        i++;
    }
    (void)snprintf(ret_text, SHOW_SIZE, "%.1f %s", size, units[i]);
    return ret_text;
}

const char *show_lap(long long ms, char ret_text[SHOW_SIZE])
{
    if (ms < 0) {
        return "-";
    }
    (void)snprintf(ret_text, SHOW_SIZE, "%lld.%03lld s", ms / 1000, ms % 1000);
    return ret_text;
}
