/*
 * tree.h - a YAML text as a tree that remembers where each value stood.
 *
 * Only the plain part of YAML: one document of mappings, lists and scalars. Anchors, aliases, tags,
 * duplicate keys and keys that are no scalars are refused; so are NUL, control characters and bad
 * UTF-8.
 *
 * Limits: DEFINITION_TEXT_MAX bytes, TREE_DEPTH_MAX levels, TREE_NODES_MAX values.
 * Memory: the tree owns its nodes; tree_free() takes NULL too.
 * Errors: complaints, with line and column; the tree is NULL then, except that duplicate keys,
 * anchors and tags are complained about and passed over, so that the rest can be checked as well.
 */
#ifndef FAILOVER_CLUSTER_TREE_H
#define FAILOVER_CLUSTER_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/cluster/definition_read.h"

#define TREE_DEPTH_MAX 64
#define TREE_NODES_MAX 16384

enum tree_kind { TREE_SCALAR, TREE_MAP, TREE_LIST };

struct tree_node {
    enum tree_kind kind;
    int line, column; /* from 1 */
    char *text;       /* of a scalar, without NUL inside */
    bool plain;       /* a scalar without quotes: empty, ~ and null mean nothing */
    char *key;        /* of this value in its mapping, or NULL */
    int key_line, key_column;
    struct tree_node *first, *last, *next; /* children in the text's order; the next sibling */
    struct tree_node *made_before;         /* all nodes of the tree, for tree_free() */
};

struct tree_node *tree_read(const char *text, size_t len, struct complaints *complaints);
void tree_free(struct tree_node *root);

/* The value at that key, or NULL; NULL too when the node is NULL or no mapping. */
const struct tree_node *tree_at(const struct tree_node *map, const char *key);
int tree_count(const struct tree_node *node);
/* True for a scalar that says nothing: empty, ~ or null without quotes. */
bool tree_is_nothing(const struct tree_node *node);

#endif
