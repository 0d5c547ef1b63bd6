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

static void show_difference(const char *expected, const char *got)
{
    int line = 1;
    while (*expected != '\0' && *expected == *got) {
        line += *expected == '\n' ? 1 : 0;
        expected++;
        got++;
    }
    printf("  the transcript differs in line %d after ----\n", line);
}

static void print_diff(const char *expected, const char *got)
{
    char names[2][64] = {"/tmp/scenario-expected-XXXXXX", "/tmp/scenario-got-XXXXXX"};
    const char *const texts[2] = {expected, got};
    char command[256];
    for (int i = 0; i < 2; i++) {
        int fd = mkstemp(names[i]);
        FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
        if (file == NULL) {
            show_difference(expected, got);
            return;
        }
        fputs(texts[i], file);
        fclose(file);
    }
    snprintf(command, sizeof command, "diff -u --label expected --label got %s %s", names[0],
             names[1]);
    fflush(stdout);
    if (system(command) < 0) {
        show_difference(expected, got);
    }
    for (int i = 0; i < 2; i++) {
        remove(names[i]);
    }
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
