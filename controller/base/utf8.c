#include "controller/base/utf8.h"

#include <string.h>

size_t utf8_len(const char *at, size_t left)
{
    const unsigned char *c = (const unsigned char *)at;
    if (left == 0) {
        return 0;
    }
    if (c[0] < 0x80) {
        return 1;
    }
    size_t len = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    if (c[0] < 0xc2 || c[0] > 0xf4 || left < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((c[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool surrogate = c[0] == 0xed && c[1] > 0x9f;
    bool too_high = c[0] == 0xf4 && c[1] > 0x8f;
    return overlong || surrogate || too_high ? 0 : len;
}

static bool is_control(const char *at)
{
    const unsigned char *c = (const unsigned char *)at;
    return c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0);
}

size_t utf8_shown_len(const char *at, size_t left)
{
    size_t len = utf8_len(at, left);
    return len > 0 && is_control(at) ? 0 : len;
}

bool utf8_is_line(const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t len = utf8_shown_len(text, left);
        if (len == 0) {
            return false;
        }
        text += len;
        left -= len;
    }
    return true;
}

static void mend(char *text, bool shown)
{
    size_t left = strlen(text);
    char *to = text;
    for (const char *at = text; left > 0;) {
        size_t len = utf8_len(at, left);
        if (len == 0 || (shown && is_control(at))) {
            *to++ = len == 1 && strchr("\t\r\n", *at) != NULL ? ' ' : '?';
            len = len == 0 ? 1 : len;
        } else {
            memmove(to, at, len);
            to += len;
        }
        at += len;
        left -= len;
    }
    *to = '\0';
}

void utf8_mend(char *text)
{
    mend(text, false);
}

void utf8_show(char *text)
{
    mend(text, true);
}
