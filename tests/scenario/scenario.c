/*
 * scenario - tells stories of bad days to real cores, and compares what they do with what was
 * agreed.
 *
 *   scenario [--rewrite] FILE...
 *
 * A file: commands, a line `----`, the transcript, and lines `expect TERM; TERM ...` that must hold
 * in the end. --rewrite puts the transcript of today into the file; it is reviewed as a diff. Exit
 * status 1 if any file failed: a transcript that differs, an expectation that does not hold, or a
 * safety rule that was broken (check.c), which no --rewrite can make right.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/scenario/world.h"

#define FILE_MAX (1u << 20)

static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, FILE_MAX);
    if (file == NULL || text == NULL) {
        fprintf(stderr, "scenario: %s cannot be read\n", path);
        exit(2);
    }
    size_t len = fread(text, 1, FILE_MAX - 1, file);
    text[len] = '\0';
    fclose(file);
    return text;
}

struct story {
    char *text;     /* the file */
    char *commands; /* up to the line ---- */
    char *expected; /* the transcript */
    char *expects;  /* the lines that begin with "expect " */
};

static char *empty(void)
{
    char *text = calloc(1, FILE_MAX);
    if (text == NULL) {
        abort();
    }
    return text;
}

static void read_story(const char *path, struct story *story)
{
    story->text = read_whole(path);
    story->commands = empty();
    story->expected = empty();
    story->expects = empty();
    bool below = false;
    const char *at = story->text;
    while (*at != '\0') {
        const char *end = strchr(at, '\n');
        size_t len = end != NULL ? (size_t)(end - at) + 1 : strlen(at);
        char *to = !below                           ? story->commands
                   : strncmp(at, "expect ", 7) == 0 ? story->expects
                                                    : story->expected;
        if (!below && strncmp(at, "----", 4) == 0) {
            below = true;
        } else {
            strncat(to, at, len);
        }
        at += len;
    }
}

static void each_line(struct world *world, const char *text, size_t skip,
                      void (*take)(struct world *world, const char *line))
{
    while (*text != '\0' && world->broken[0] == '\0') {
        char line[LINE_SIZE];
        const char *end = strchr(text, '\n');
        size_t len = end != NULL ? (size_t)(end - text) : strlen(text);
        snprintf(line, sizeof line, "%.*s", (int)len, text);
        if (len > skip) {
            take(world, line + skip);
        }
        text += end != NULL ? len + 1 : len;
    }
}

static void take_command(struct world *world, const char *line)
{
    script_line(world, line);
}

/* ---- the difference, line by line ---- */

#define LINES_MAX 2000

struct lines {
    int len;
    const char *at[LINES_MAX];
    int sizes[LINES_MAX];
};

static void split(const char *text, struct lines *lines)
{
    while (*text != '\0' && lines->len < LINES_MAX) {
        size_t size = strcspn(text, "\n");
        lines->at[lines->len] = text;
        lines->sizes[lines->len++] = (int)size;
        text += size + (text[size] == '\n' ? 1 : 0);
    }
}

static bool same_line(const struct lines *a, int i, const struct lines *b, int j)
{
    return a->sizes[i] == b->sizes[j] && memcmp(a->at[i], b->at[j], (size_t)a->sizes[i]) == 0;
}

/* The longest run of lines that both have, from each pair of places on. */
static void print_diff(const char *expected, const char *got)
{
    struct lines *a = calloc(1, sizeof *a);
    struct lines *b = calloc(1, sizeof *b);
    if (a == NULL || b == NULL) {
        abort();
    }
    split(expected, a);
    split(got, b);
    size_t width = (size_t)b->len + 1;
    int *common = calloc(((size_t)a->len + 1) * width, sizeof *common);
    if (common == NULL) {
        abort();
    }
    for (int i = a->len - 1; i >= 0; i--) {
        for (int j = b->len - 1; j >= 0; j--) {
            int *here = &common[(size_t)i * width + (size_t)j];
            int skip_a = here[width];
            int skip_b = here[1];
            *here = same_line(a, i, b, j) ? here[width + 1] + 1 : skip_a > skip_b ? skip_a : skip_b;
        }
    }
    int i = 0;
    int j = 0;
    while (i < a->len || j < b->len) {
        const int *here = &common[(size_t)i * width + (size_t)j];
        if (i < a->len && j < b->len && same_line(a, i, b, j)) {
            i++;
            j++;
        } else if (j == b->len || (i < a->len && here[width] >= here[1])) {
            printf("  - %.*s\n", a->sizes[i], a->at[i]);
            i++;
        } else {
            printf("  + %.*s\n", b->sizes[j], b->at[j]);
            j++;
        }
    }
    free(common);
    free(a);
    free(b);
}

static bool write_back(const char *path, const struct story *story, const char *got)
{
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "scenario: %s cannot be written\n", path);
        return false;
    }
    fprintf(file, "%s----\n%s%s", story->commands, got, story->expects);
    fclose(file);
    return true;
}

static bool run_story(const char *path, bool rewrite)
{
    struct story story;
    struct world *world = world_new();
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    read_story(path, &story);
    each_line(world, story.commands, 0, take_command);
    each_line(world, story.expects, strlen("expect "), script_expect);
    const char *got = world->out != NULL ? world->out : "";
    bool held = world->broken[0] == '\0';
    bool same = strcmp(story.expected, got) == 0;
    bool ok = held && (same || (rewrite && write_back(path, &story, got)));
    printf("%s %.*s\n", ok ? "ok" : "FAILED", (int)(strlen(name) - strlen(".txt")), name);
    if (!held) {
        printf("  %s\n%s", world->broken, got);
    } else if (!ok) {
        print_diff(story.expected, got);
    }
    world_free(world);
    free(story.text);
    free(story.commands);
    free(story.expected);
    free(story.expects);
    return ok;
}

int main(int argc, char **argv)
{
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    int first = rewrite ? 2 : 1;
    int failed = 0;
    if (first >= argc) {
        fprintf(stderr, "usage: scenario [--rewrite] FILE...\n");
        return 2;
    }
    for (int i = first; i < argc; i++) {
        failed += run_story(argv[i], rewrite) ? 0 : 1;
        fflush(stdout);
    }
    return failed > 0 ? 1 : 0;
}
