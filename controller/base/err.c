#include "controller/base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/utf8.h"

int err_set(struct err *err, enum err_code code, const char *format, ...)
{
    assert(code != ERR_NONE);
    if (err == NULL) {
        return -1;
    }
    /* Built aside, since an argument may be err->text itself. */
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    utf8_show(text);
    err->code = code;
    memcpy(err->text, text, sizeof text);
    return -1;
}

int err_prefix(struct err *err, const char *format, ...)
{
    if (err == NULL) {
        return -1;
    }
    char text[ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    strncat(text, ": ", sizeof text - strlen(text) - 1);
    strncat(text, err->text, sizeof text - strlen(text) - 1);
    utf8_show(text);
    memcpy(err->text, text, sizeof text);
    return -1;
}

const char *err_code_name(enum err_code code)
{
    switch (code) {
    case ERR_NONE: return "none";
    case ERR_INVALID: return "invalid";
    case ERR_LIMIT: return "limit";
    case ERR_REFUSED: return "refused";
    case ERR_CONFLICT: return "conflict";
    case ERR_TIMEOUT: return "timeout";
    case ERR_UNREACHABLE: return "unreachable";
    case ERR_CANCELED: return "canceled";
    case ERR_SYSTEM: return "system";
    }
    return "unknown";
}
