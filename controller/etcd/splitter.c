/*
 * splitter.c - cut a stream of bytes into JSON objects (codec.h).
 *
 * Newlines are not relied on: the gateway puts one after each message, but none after an error
 * object. So braces and brackets are counted outside of strings; what is between them is left to
 * the parser.
 */
#include <stdlib.h>
#include <string.h>

#include "controller/etcd/codec.h"

#define DEPTH_MAX  32
#define FIRST_SIZE 4096
#define KEPT_SIZE  (64u << 10) /* a larger buffer is given back once its object is through */

void etcd_splitter_init(struct etcd_splitter *splitter, size_t limit)
{
    *splitter = (struct etcd_splitter){.limit = limit > 0 ? limit : ETCD_OBJECT_MAX};
}

void etcd_splitter_done(struct etcd_splitter *splitter)
{
    free(splitter->data);
    *splitter = (struct etcd_splitter){.limit = splitter->limit};
}

static int keep(struct etcd_splitter *splitter, char c, struct err *ret_err)
{
    if (splitter->len == splitter->limit) {
        return err_set(ret_err, ERR_LIMIT, "an object of over %zu bytes in the stream",
                       splitter->limit);
    }
    if (splitter->len == splitter->size) {
        splitter->size = splitter->size > 0 ? splitter->size * 2 : FIRST_SIZE;
        splitter->data = realloc(splitter->data, splitter->size);
        if (!splitter->data) {
            abort();
        }
    }
    splitter->data[splitter->len++] = c;
    return 0;
}

static void look_in_string(struct etcd_splitter *splitter, char c)
{
    if (splitter->escaped) {
        splitter->escaped = false;
    } else if (c == '\\') {
        splitter->escaped = true;
    } else if (c == '"') {
        splitter->in_string = false;
    }
}

/* Takes one byte; *ret_whole: it ended an object. */
static int look(struct etcd_splitter *splitter, char c, bool *ret_whole, struct err *ret_err)
{
    *ret_whole = false;
    if (splitter->depth == 0) {
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
            return 0;
        }
        if (c != '{') {
            return err_set(ret_err, ERR_INVALID, "byte 0x%02x between objects of the stream",
                           (unsigned char)c);
        }
    }
    if (splitter->in_string) {
        look_in_string(splitter, c);
    } else if (c == '"') {
        splitter->in_string = true;
    } else if (c == '{' || c == '[') {
        if (++splitter->depth > DEPTH_MAX) {
            return err_set(ret_err, ERR_LIMIT, "objects nested deeper than %d in the stream",
                           DEPTH_MAX);
        }
    } else if (c == '}' || c == ']') {
        *ret_whole = --splitter->depth == 0;
    }
    return keep(splitter, c, ret_err);
}

static void forget(struct etcd_splitter *splitter)
{
    splitter->len = 0;
    if (splitter->size > KEPT_SIZE) {
        free(splitter->data);
        splitter->data = NULL;
        splitter->size = 0;
    }
}

int etcd_splitter_feed(struct etcd_splitter *splitter, const char *data, size_t len,
                       etcd_object_fn fn, void *arg, struct err *ret_err)
{
    for (size_t i = 0; i < len; i++) {
        bool whole, go_on;

        if (look(splitter, data[i], &whole, ret_err) < 0) {
            return -1;
        }
        if (!whole) {
            continue;
        }
        go_on = fn(arg, splitter->data, splitter->len);
        forget(splitter);
        if (!go_on) {
            return 0;
        }
    }
    return 0;
}
