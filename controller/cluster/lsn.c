#include "controller/cluster/lsn.h"

#include <assert.h>
#include <stddef.h>

/* One to eight hexadecimal digits; moves *text past them. */
static bool read_half(const char **text, uint32_t *ret_half)
{
    uint32_t half = 0;
    int digits = 0;
    for (;; digits++, (*text)++) {
        char c = **text;
        uint32_t digit;
        if (c >= '0' && c <= '9') {
            digit = (uint32_t)(c - '0');
        } else if (c >= 'A' && c <= 'F') {
            digit = (uint32_t)(c - 'A') + 10;
        } else if (c >= 'a' && c <= 'f') {
            digit = (uint32_t)(c - 'a') + 10;
        } else {
            break;
        }
        if (digits == 8) {
            return false;
        }
        half = half << 4 | digit;
    }
    if (digits == 0) {
        return false;
    }
    *ret_half = half;
    return true;
}

bool lsn_parse(const char *text, uint64_t *ret_lsn)
{
    assert(text != NULL && ret_lsn != NULL);
    uint32_t high;
    uint32_t low;
    if (!read_half(&text, &high) || *text != '/') {
        return false;
    }
    text++;
    if (!read_half(&text, &low) || *text != '\0') {
        return false;
    }
    *ret_lsn = (uint64_t)high << 32 | low;
    return true;
}

/* As PostgreSQL prints it: no leading zeros. Without stdio, since the pure parts do without it. */
static char *write_half(char *to, uint32_t half)
{
    bool started = false;
    for (int shift = 28; shift >= 0; shift -= 4) {
        unsigned digit = half >> shift & 0xf;
        if (digit != 0 || started || shift == 0) {
            *to++ = "0123456789ABCDEF"[digit];
            started = true;
        }
    }
    return to;
}

void lsn_text(uint64_t lsn, char ret_text[LSN_TEXT_SIZE])
{
    char *end = write_half(ret_text, (uint32_t)(lsn >> 32));
    *end++ = '/';
    end = write_half(end, (uint32_t)lsn);
    *end = '\0';
    assert(end - ret_text < LSN_TEXT_SIZE);
}
