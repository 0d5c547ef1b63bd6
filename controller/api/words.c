#include "controller/api/words.h"

#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/utf8.h"

json_t *words_text(const char *text)
{
    if (text == NULL) {
        return json_null();
    }
    json_t *value = json_string(text);
    if (value != NULL) {
        return value;
    }
    char *copy = strdup(text);
    if (copy == NULL) {
        return json_null();
    }
    utf8_mend(copy);
    value = json_string(copy);
    free(copy);
    return value;
}

json_t *words_text_or_null(const char *text)
{
    return text == NULL || text[0] == '\0' ? json_null() : words_text(text);
}

json_t *words_u64(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *words_age(uint64_t now_ms, uint64_t then_ms)
{
    if (then_ms == 0) {
        return json_null();
    }
    return words_u64(now_ms > then_ms ? now_ms - then_ms : 0);
}

json_t *words_wall(int64_t wall_ms)
{
    if (wall_ms == 0) {
        return json_null();
    }
    char text[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(wall_ms, text);
    return json_string(text);
}
