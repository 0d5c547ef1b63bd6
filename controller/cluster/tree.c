/*
 * libyaml's events become a tree. The happy path: stream start, document start, a value, document
 * end, stream end. What can go wrong: the text is no UTF-8 (found before libyaml sees it, so that
 * the message has a place); it is no YAML (libyaml's own words and mark); a limit is passed; it
 * uses what we refuse.
 */
#include "controller/cluster/tree.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "controller/base/utf8.h"
#include "controller/cluster/complaints.h"

struct tree_in {
    yaml_parser_t parser;
    const char *text;
    size_t len;
    struct complaints *complaints;
    struct tree_node *newest;
    int nodes;
    struct tree_node *open[TREE_DEPTH_MAX]; /* the mappings and lists we stand in */
    int depth;
    struct tree_node *key; /* a mapping's key that waits for its value */
    bool skip;             /* ... a duplicate: its value is read and dropped */
    struct tree_node *root;
    int documents;
};

static void fail_at(struct tree_in *in, const yaml_mark_t *mark, const char *text)
{
    complain(in->complaints, COMPLAINT_ERROR, (int)mark->line + 1, (int)mark->column + 1, "", "%s",
             text);
}

/* One complaint about the first byte that no text has; true if there is none. */
static bool is_text(const char *text, size_t len, struct complaints *complaints)
{
    int line = 1;
    int column = 1;
    for (size_t i = 0; i < len;) {
        unsigned char c = (unsigned char)text[i];
        size_t step = utf8_len(text + i, len - i);
        if (step == 0) {
            complain(complaints, COMPLAINT_ERROR, line, column, "",
                     "found the byte 0x%02x, which is no UTF-8; save the file as UTF-8", c);
            return false;
        }
        if ((c < 0x20 && c != '\n' && c != '\r' && c != '\t') || c == 0x7f) {
            complain(complaints, COMPLAINT_ERROR, line, column, "",
                     "found the control character 0x%02x; a text has none", c);
            return false;
        }
        column = c == '\n' ? 1 : column + 1;
        line += c == '\n' ? 1 : 0;
        i += step;
    }
    return true;
}

static struct tree_node *make_node(struct tree_in *in, enum tree_kind kind, const yaml_mark_t *mark)
{
    if (in->nodes == TREE_NODES_MAX) {
        char text[80];
        snprintf(text, sizeof text, "found more than %d values, at most that many are allowed",
                 TREE_NODES_MAX);
        fail_at(in, mark, text);
        return NULL;
    }
    struct tree_node *node = calloc(1, sizeof *node);
    if (node == NULL) {
        fail_at(in, mark, "no memory is left to read it");
        return NULL;
    }
    in->nodes++;
    node->kind = kind;
    node->line = (int)mark->line + 1;
    node->column = (int)mark->column + 1;
    node->made_before = in->newest;
    in->newest = node;
    return node;
}

/* A value has come: it belongs to the key before it, to the list we stand in, or is the document.
 */
static void put(struct tree_in *in, struct tree_node *node)
{
    if (in->depth == 0) {
        in->root = node;
        return;
    }
    struct tree_node *parent = in->open[in->depth - 1];
    if (parent->kind == TREE_MAP) {
        assert(in->key != NULL);
        node->key = in->key->text;
        node->key_line = in->key->line;
        node->key_column = in->key->column;
        in->key->text = NULL; /* the value owns it now */
        in->key = NULL;
        if (in->skip) {
            in->skip = false;
            return;
        }
    }
    if (parent->last == NULL) {
        parent->first = node;
    } else {
        parent->last->next = node;
    }
    parent->last = node;
}

static bool wants_key(const struct tree_in *in)
{
    return in->depth > 0 && in->open[in->depth - 1]->kind == TREE_MAP && in->key == NULL;
}

static void take_key(struct tree_in *in, struct tree_node *key)
{
    const struct tree_node *before = tree_at(in->open[in->depth - 1], key->text);
    if (before != NULL) {
        complain(in->complaints, COMPLAINT_ERROR, key->line, key->column, "",
                 "the key \"%.40s\" stands here a second time; the first is on line %d", key->text,
                 before->key_line);
    }
    in->key = key;
    in->skip = before != NULL;
}

static void refuse_extras(struct tree_in *in, const yaml_event_t *event, const yaml_char_t *anchor,
                          const yaml_char_t *tag)
{
    if (anchor != NULL) {
        fail_at(in, &event->start_mark,
                "found an anchor (&); anchors are not allowed, write the value out");
    }
    if (tag != NULL) {
        fail_at(in, &event->start_mark,
                "found a tag (!); tags are not allowed, the key says what the type is");
    }
}

static bool take_scalar(struct tree_in *in, const yaml_event_t *event)
{
    refuse_extras(in, event, event->data.scalar.anchor, event->data.scalar.tag);
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(value, '\0', len) != NULL) { /* written as an escape, "\0" */
        fail_at(in, &event->start_mark, "found a NUL in a text");
        return false;
    }
    struct tree_node *node = make_node(in, TREE_SCALAR, &event->start_mark);
    if (node == NULL) {
        return false;
    }
    node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    node->text = strndup(value, len);
    if (node->text == NULL) {
        fail_at(in, &event->start_mark, "no memory is left to read it");
        return false;
    }
    if (wants_key(in)) {
        take_key(in, node);
    } else {
        put(in, node);
    }
    return true;
}

static bool open_node(struct tree_in *in, const yaml_event_t *event, enum tree_kind kind)
{
    if (wants_key(in)) {
        fail_at(in, &event->start_mark, "found a mapping or list as a key; a key is a single word");
        return false;
    }
    if (in->depth == TREE_DEPTH_MAX) {
        char text[80];
        snprintf(text, sizeof text, "nested deeper than %d levels, which is the most allowed",
                 TREE_DEPTH_MAX);
        fail_at(in, &event->start_mark, text);
        return false;
    }
    struct tree_node *node = make_node(in, kind, &event->start_mark);
    if (node == NULL) {
        return false;
    }
    put(in, node);
    in->open[in->depth++] = node;
    return true;
}

/* True: go on. */
static bool take_event(struct tree_in *in, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++in->documents > 1) {
            fail_at(in, &event->start_mark, "found a second document (---); one is allowed");
            return false;
        }
        return true;
    case YAML_ALIAS_EVENT:
        fail_at(in, &event->start_mark,
                "found an alias (*); aliases are not allowed, write the value out");
        return false;
    case YAML_SCALAR_EVENT: return take_scalar(in, event);
    case YAML_MAPPING_START_EVENT:
        refuse_extras(in, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return open_node(in, event, TREE_MAP);
    case YAML_SEQUENCE_START_EVENT:
        refuse_extras(in, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return open_node(in, event, TREE_LIST);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        assert(in->depth > 0);
        in->depth--;
        return true;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_END_EVENT: return true;
    }
    return true;
}

static size_t offset_of(const struct tree_in *in, const yaml_mark_t *mark)
{
    size_t at = 0;
    for (size_t line = 0; line < mark->line && at < in->len; at++) {
        line += in->text[at] == '\n' ? 1 : 0;
    }
    return at + mark->column < in->len ? at + mark->column : in->len;
}

static void complain_of_syntax(struct tree_in *in)
{
    const yaml_parser_t *p = &in->parser;
    const char *problem = p->problem != NULL ? p->problem : "unknown error";
    const yaml_mark_t *mark =
        p->error == YAML_READER_ERROR || p->problem_mark.line == 0 ? &p->mark : &p->problem_mark;
    size_t at = offset_of(in, mark);
    bool tab = at < in->len && in->text[at] == '\t';
    char text[256];
    snprintf(text, sizeof text, "not YAML: %s%s%s%s", problem, p->context != NULL ? ", " : "",
             p->context != NULL ? p->context : "",
             tab ? "; it is a tab: indent with spaces only" : "");
    fail_at(in, mark, text);
}

static bool read_events(struct tree_in *in)
{
    for (bool ended = false; !ended;) {
        yaml_event_t event;
        if (yaml_parser_parse(&in->parser, &event) == 0) {
            complain_of_syntax(in);
            return false;
        }
        bool go_on = take_event(in, &event);
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (!go_on) {
            return false;
        }
    }
    return true;
}

static void free_nodes(struct tree_node *newest)
{
    while (newest != NULL) {
        struct tree_node *before = newest->made_before;
        free(newest->text);
        free(newest->key);
        free(newest);
        newest = before;
    }
}

struct tree_node *tree_read(const char *text, size_t len, struct complaints *complaints)
{
    if (len > DEFINITION_TEXT_MAX) {
        complain(complaints, COMPLAINT_ERROR, 1, 1, "", "found %zu bytes, at most %u are allowed",
                 len, DEFINITION_TEXT_MAX);
        return NULL;
    }
    if (!is_text(text, len, complaints)) {
        return NULL;
    }
    if (len >= 3 &&
        memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark says nothing here */
        text += 3;
        len -= 3;
    }
    struct tree_in in = {.text = text, .len = len, .complaints = complaints};
    if (yaml_parser_initialize(&in.parser) == 0) {
        complain(complaints, COMPLAINT_ERROR, 1, 1, "", "no memory is left to read it");
        return NULL;
    }
    yaml_parser_set_encoding(&in.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&in.parser, (const unsigned char *)text, len);
    bool good = read_events(&in);
    yaml_parser_delete(&in.parser);
    if (good && in.root == NULL) {
        complain(complaints, COMPLAINT_ERROR, 1, 1, "", "found nothing; the file is empty");
        good = false;
    }
    if (!good) {
        free_nodes(in.newest);
        return NULL;
    }
    /* The list of all nodes hangs from the root, which was made first, so that one pointer frees
     * it. */
    if (in.newest != in.root) {
        in.root->made_before = in.newest;
        for (struct tree_node *n = in.newest;; n = n->made_before) {
            if (n->made_before == in.root) {
                n->made_before = NULL;
                break;
            }
        }
    }
    return in.root;
}

void tree_free(struct tree_node *root)
{
    free_nodes(root);
}

const struct tree_node *tree_at(const struct tree_node *map, const char *key)
{
    if (map == NULL || map->kind != TREE_MAP) {
        return NULL;
    }
    for (const struct tree_node *n = map->first; n != NULL; n = n->next) {
        if (strcmp(n->key, key) == 0) {
            return n;
        }
    }
    return NULL;
}

int tree_count(const struct tree_node *node)
{
    int count = 0;
    for (const struct tree_node *n = node->first; n != NULL; n = n->next) {
        count++;
    }
    return count;
}

bool tree_is_nothing(const struct tree_node *node)
{
    return node->kind == TREE_SCALAR && node->plain &&
           (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
            strcmp(node->text, "null") == 0);
}
