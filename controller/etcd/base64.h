/*
 * base64.h - RFC 4648's standard alphabet, as etcd's JSON gateway uses it for keys and values.
 *
 * Pure. Decoding takes padding or none, and nothing else: no blanks, no newlines, no other
 * alphabet, no stray bits in the last character.
 */
#ifndef FAILOVER_ETCD_BASE64_H
#define FAILOVER_ETCD_BASE64_H

#include <stddef.h>

#define BASE64_SIZE(len)                                                                           \
    (((len) + 2) / 3 * 4 + 1) /* bytes for the text of len bytes and its NUL                       \
                               */

/* Writes BASE64_SIZE(len) bytes. */
void base64_encode(const void *data, size_t len, char *ret_text);
/* Writes at most len / 4 * 3 + 2 bytes to ret_data; 0, or -1 when this is no base64 (ret_data is
 * then garbage). */
int base64_decode(const char *text, size_t len, char *ret_data, size_t *ret_len);

#endif
