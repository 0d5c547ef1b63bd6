#include "controller/api/events.h"

#include <stdlib.h>
#include <string.h>

#include "controller/api/words.h"

struct events {
    uint64_t last;                       /* the number of the latest; 0: none */
    struct event_note notes[EVENTS_MAX]; /* number n is at n % EVENTS_MAX */
};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
enum { LEVELS = sizeof level_names / sizeof *level_names };

struct events *events_new(void)
{
    struct events *events = calloc(1, sizeof *events);
    if (events == NULL) {
        abort(); /* at the program's start: without memory there is nothing to run */
    }
    return events;
}

void events_free(struct events *events)
{
    free(events);
}

uint64_t events_add(struct events *events, const struct event_note *note)
{
    events->last++;
    struct event_note *kept = &events->notes[events->last % EVENTS_MAX];
    *kept = *note;
    kept->seq = events->last;
    return kept->seq;
}

uint64_t events_last(const struct events *events)
{
    return events->last;
}

static json_t *note_json(const struct event_note *note)
{
    json_t *out = json_object();
    int level = note->level < 0 ? 0 : note->level >= LEVELS ? LEVELS - 1 : note->level;
    json_object_set_new(out, "seq", words_u64(note->seq));
    json_object_set_new(out, "at", words_wall(note->wall_ms));
    json_object_set_new(out, "level", json_string(level_names[level]));
    json_object_set_new(out, "rule", words_text(note->rule));
    json_object_set_new(out, "group", words_text(note->group));
    json_object_set_new(out, "database", words_text(note->database));
    json_object_set_new(out, "from", words_text(note->from));
    json_object_set_new(out, "to", words_text(note->to));
    json_object_set_new(out, "text", words_text(note->text));
    return out;
}

json_t *events_json(const struct events *events, uint64_t since, int limit)
{
    uint64_t first = events->last == 0           ? 0
                     : events->last > EVENTS_MAX ? events->last - EVENTS_MAX + 1
                                                 : 1;
    json_t *list = json_array();
    uint64_t missed = 0;
    if (events->last > 0) {
        if (since < first - 1) {
            missed = first - 1 - since;
            since = first - 1;
        }
        for (uint64_t seq = since + 1; seq > since && seq <= events->last && limit > 0; seq++) {
            json_array_append_new(list, note_json(&events->notes[seq % EVENTS_MAX]));
            limit--;
        }
    }
    json_t *out = json_object();
    json_object_set_new(out, "schema", json_integer(1));
    json_object_set_new(out, "first", words_u64(first));
    json_object_set_new(out, "last", words_u64(events->last));
    json_object_set_new(out, "missed", words_u64(missed));
    json_object_set_new(out, "events", list);
    return out;
}
