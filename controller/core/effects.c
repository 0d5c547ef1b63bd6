/* effects.c - appending to the ordered list of effects, and the words of a note. */
#include "controller/core/private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Beyond it there is room for acts only: for every database its probes of all instances twice over,
 * its step, its cancellation and a call; for every proxy its routes. */
#define NOTES_UNTIL 128

struct effect *effect_add(struct core *core, enum effect_type type)
{
    /* One event makes few effects; the list is sized for every database and proxy at once. */
    assert(core->effects != NULL && core->effects->len < EFFECTS_MAX);
    struct effect *effect = &core->effects->items[core->effects->len++];
    memset(effect, 0, sizeof *effect);
    effect->type = type;
    return effect;
}

void text_copy(char *to, size_t size, const char *from)
{
    size_t len = strnlen(from, size - 1);
    memmove(to, from, len);
    to[len] = '\0';
}

void text_format(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(to, size, format, args);
    va_end(args);
}

static struct effect *note_add(struct core *core, enum note_level level, const char *rule,
                               int group)
{
    if (core->effects->len >= NOTES_UNTIL) {
        return NULL; /* notes give way to acts */
    }
    struct effect *effect = effect_add(core, EFFECT_NOTE);
    text_copy(effect->note.rule, sizeof effect->note.rule, rule);
    effect->note.level = (int)level;
    effect->note.from = -1;
    effect->note.to = -1;
    if (group >= 0) {
        text_copy(effect->note.group, sizeof effect->note.group, core->def.groups[group].name);
    }
    return effect;
}

void note(struct core *core, enum note_level level, const char *rule, int db, int from, int to,
          const char *format, ...)
{
    int group = db_group(core, db);
    char text[REASON_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (level != NOTE_DEBUG) {
        char line[REASON_SIZE];
        if (to >= 0 && from != to) {
            text_format(line, sizeof line, "%s: %s -> %s: %s", core->def.databases[db].name,
                        db_state_names[from], db_state_names[to], text);
        } else {
            text_format(line, sizeof line, "%s: %s", core->def.databases[db].name, text);
        }
        incident_note(core, group, rule, line);
    }
    struct effect *effect = note_add(core, level, rule, group);
    if (effect == NULL) {
        return;
    }
    text_copy(effect->note.database, sizeof effect->note.database, core->def.databases[db].name);
    effect->note.from = from;
    effect->note.to = to;
    text_copy(effect->note.text, sizeof effect->note.text, text);
}

void note_group(struct core *core, enum note_level level, const char *rule, int group,
                const char *format, ...)
{
    struct effect *effect = note_add(core, level, rule, group);
    if (effect == NULL) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(effect->note.text, sizeof effect->note.text, format, args);
    va_end(args);
}
