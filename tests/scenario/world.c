/* world.c - the queue of events, the transcript, and points of the story that commands wait for. */
#include "tests/scenario/world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory)
{
    if (memory == NULL) {
        abort();
    }
    return memory;
}

struct world *world_new(void)
{
    struct world *world = need(calloc(1, sizeof *world));
    world->now_ms = START_MS;
    world->shown_from_ms = START_MS;
    world->effects = need(calloc(1, sizeof *world->effects));
    world->store.revision = 100;
    world->next_line = 2; /* every instance begins on line 1 */
    return world;
}

void world_free(struct world *world)
{
    for (size_t i = 0; i < world->queue_len; i++) {
        free(world->queue[i].args.memory);
    }
    for (int c = 0; c < CONTROLLERS_MAX; c++) {
        free(world->controllers[c].core);
        free(world->controllers[c].next_def);
    }
    free(world->store.def);
    free(world->queue);
    free(world->effects);
    free(world->out);
    free(world);
}

void world_at(struct world *world, uint64_t at_ms, event_fn run, const struct args *args)
{
    assert(at_ms >= world->now_ms);
    if (world->queue_len == world->queue_size) {
        world->queue_size = world->queue_size == 0 ? 64 : world->queue_size * 2;
        world->queue = need(realloc(world->queue, world->queue_size * sizeof world->queue[0]));
    }
    world->queue[world->queue_len++] =
        (struct queued){.at_ms = at_ms, .order = world->order++, .run = run, .args = *args};
}

static size_t first_of(const struct world *world)
{
    size_t first = 0;
    for (size_t i = 1; i < world->queue_len; i++) {
        const struct queued *a = &world->queue[i];
        const struct queued *b = &world->queue[first];
        if (a->at_ms < b->at_ms || (a->at_ms == b->at_ms && a->order < b->order)) {
            first = i;
        }
    }
    return first;
}

void world_run_until(struct world *world, uint64_t at_ms)
{
    while (world->queue_len > 0 && world->broken[0] == '\0') {
        size_t first = first_of(world);
        if (world->queue[first].at_ms > at_ms) {
            break;
        }
        struct queued event = world->queue[first];
        world->queue[first] = world->queue[--world->queue_len];
        world->now_ms = event.at_ms;
        postgres_settle(world);
        event.run(world, &event.args);
        free(event.args.memory);
        check_every_event(world);
    }
    if (world->now_ms < at_ms) {
        world->now_ms = at_ms;
        postgres_settle(world);
    }
}

/* ---- the transcript ---- */

static void append(struct world *world, const char *text, size_t len)
{
    if (world->out_len + len + 1 > world->out_size) {
        world->out_size = 2 * (world->out_len + len + 1);
        world->out = need(realloc(world->out, world->out_size));
    }
    memcpy(world->out + world->out_len, text, len);
    world->out_len += len;
    world->out[world->out_len] = '\0';
}

void world_print(struct world *world, const char *format, ...)
{
    char line[2 * LINE_SIZE];
    if (world->silent) {
        return;
    }
    double at = (double)(world->now_ms - world->shown_from_ms) / 1000.0;
    int len = snprintf(line, sizeof line, "[%7.3f] ", at);
    va_list args;
    va_start(args, format);
    len += vsnprintf(line + len, sizeof line - (size_t)len - 1, format, args);
    va_end(args);
    if (len > (int)sizeof line - 2) {
        len = (int)sizeof line - 2;
    }
    line[len++] = '\n';
    append(world, line, (size_t)len);
}

void world_break(struct world *world, const char *format, ...)
{
    if (world->broken[0] != '\0') {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(world->broken, sizeof world->broken, format, args);
    va_end(args);
    world->silent = false;
    world_print(world, "BROKEN %s", world->broken);
}

/* ---- points ---- */

void world_point(struct world *world, const char *format, ...)
{
    char point[LINE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(point, sizeof point, format, args);
    va_end(args);
    for (int t = 0; t < TRIGGERS_MAX; t++) {
        struct trigger *trigger = &world->triggers[t];
        if (trigger->armed && strcmp(trigger->point, point) == 0) {
            trigger->armed = false;
            world_print(world, "at %s: %s", trigger->point, trigger->command);
            script_line(world, trigger->command);
            return; /* one a time: a second one waits for the next time that this point is met */
        }
    }
}
