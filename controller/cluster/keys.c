/*
 * The table is walked row by row beside the tree. A row's children are the rows whose path is its
 * own, then ".",
 * ".*." or "[].", then one more word.
 */
#include "controller/cluster/keys.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/key_values.h"

#define PATH_SIZE 192

struct keys_in {
    const struct keys *keys;
    char *root;
    struct complaints *complaints;
    char path[PATH_SIZE];
};

/* ---- The table
 * ------------------------------------------------------------------------------------------ */

/* The last word of row's path if it stands right under `under` (such as "nodes.*."), else NULL. */
static const char *word_under(const struct key *row, const char *under)
{
    size_t len = strlen(under);
    if (strncmp(row->path, under, len) != 0) {
        return NULL;
    }
    const char *word = row->path + len;
    return *word != '\0' && *word != '*' && strpbrk(word, ".[") == NULL ? word : NULL;
}

static const struct key *row_at(const struct keys *keys, const char *path)
{
    for (int i = 0; i < keys->len; i++) {
        if (strcmp(keys->rows[i].path, path) == 0) {
            return &keys->rows[i];
        }
    }
    return NULL;
}

/* A mapping's entries are plain values when the table has a row for them: "options.*". */
static const struct key *entry_row(const struct keys *keys, const struct key *map)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s.*", map->path);
    return row_at(keys, path);
}

static void path_under(const struct key *row, char ret_path[PATH_SIZE])
{
    const char *tail = row->type == KEY_MAP ? ".*." : row->type == KEY_LIST ? "[]." : ".";
    snprintf(ret_path, PATH_SIZE, "%s%s", row->path, tail);
}

static bool is_container(const struct key *row)
{
    return row->type == KEY_SECTION || row->type == KEY_MAP || row->type == KEY_LIST;
}

/* ---- Names
 * ---------------------------------------------------------------------------------------------- */

/* Levenshtein's distance with exchanged neighbours, of texts under NAME_SIZE; else far away. */
static int distance(const char *a, const char *b)
{
    int a_len = (int)strlen(a);
    int b_len = (int)strlen(b);
    if (a_len >= NAME_SIZE || b_len >= NAME_SIZE) {
        return NAME_SIZE;
    }
    int rows[3][NAME_SIZE] = {0};
    for (int j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (int i = 1; i <= a_len; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3];
        const int *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= b_len; j++) {
            int best = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            bool exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (exchanged && above2[j - 2] + 1 < best) {
                best = above2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *keys_nearest(const char *found, const char *const names[], int len)
{
    const char *nearest = NULL;
    int least = (int)strlen(found) / 2 + 1; /* farther away it is another word */
    for (int i = 0; i < len; i++) {
        int far = distance(found, names[i]);
        if (far < least) {
            least = far;
            nearest = names[i];
        }
    }
    return nearest;
}

const char *keys_shown(const struct tree_node *node, char ret_text[SHOWN_SIZE])
{
    if (tree_is_nothing(node)) {
        snprintf(ret_text, SHOWN_SIZE, "nothing");
        return ret_text;
    }
    if (node->kind != TREE_SCALAR) {
        snprintf(ret_text, SHOWN_SIZE, "%s", node->kind == TREE_MAP ? "a mapping" : "a list");
        return ret_text;
    }
    /* At most 40 bytes, not cut inside a character. */
    size_t len = strlen(node->text);
    size_t shown = len > 40 ? 40 : len;
    while (shown < len && shown > 0 && ((unsigned char)node->text[shown] & 0xc0) == 0x80) {
        shown--;
    }
    snprintf(ret_text, SHOWN_SIZE, "\"%.*s%s\"", (int)shown, node->text, shown < len ? "..." : "");
    return ret_text;
}

/* ---- The path in complaints
 * ------------------------------------------------------------------------------- */

static size_t enter(struct keys_in *in, const char *key)
{
    size_t len = strlen(in->path);
    snprintf(in->path + len, sizeof in->path - len, "%s%s", len > 0 ? "." : "", key);
    return len;
}

static size_t enter_index(struct keys_in *in, int index)
{
    size_t len = strlen(in->path);
    snprintf(in->path + len, sizeof in->path - len, "[%d]", index);
    return len;
}

static void leave(struct keys_in *in, size_t len)
{
    in->path[len] = '\0';
}

static void not_allowed(struct keys_in *in, const struct key *row, const struct tree_node *node)
{
    char shown[SHOWN_SIZE];
    char allowed[ALLOWED_SIZE];
    key_value_allowed(row, allowed);
    complain(in->complaints, COMPLAINT_ERROR, node->line, node->column, in->path,
             "found %s, allowed is %s", keys_shown(node, shown), allowed);
}

/* ---- References
 * ------------------------------------------------------------------------------------------- */

/* The index of that name among the entries that row refers to, or -1. */
static int find_entry(const struct keys_in *in, const struct key *row, const char *name)
{
    const struct key *target = row_at(in->keys, row->refers);
    assert(target != NULL && target->type == KEY_MAP);
    int len = *(const int *)(in->root + target->len_offset);
    for (int i = 0; i < len; i++) {
        if (strcmp(in->root + target->offset + (size_t)i * target->size, name) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *entry_name(const struct keys *keys, const void *root, const char *refers, int at)
{
    const struct key *target = row_at(keys, refers);
    assert(target != NULL);
    return (const char *)root + target->offset + (size_t)at * target->size;
}

static void unknown_reference(struct keys_in *in, const struct key *row, int line, int column,
                              const char *name)
{
    const struct key *target = row_at(in->keys, row->refers);
    assert(target != NULL);
    int len = *(const int *)(in->root + target->len_offset);
    const char *names[64] = {NULL};
    assert(target->items_max <= 64);
    char known[192] = "";
    size_t used = 0;
    for (int i = 0; i < len; i++) {
        names[i] = entry_name(in->keys, in->root, row->refers, i);
        if (used < sizeof known) {
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i > 0 ? ", " : "",
                                     names[i]);
        }
    }
    const char *nearest = keys_nearest(name, names, len);
    complain(in->complaints, COMPLAINT_ERROR, line, column, in->path,
             "\"%.40s\" is not one of %s (%s)%s%s%s", name, row->refers, len > 0 ? known : "none",
             nearest != NULL ? "; is \"" : "", nearest != NULL ? nearest : "",
             nearest != NULL ? "\" meant?" : "");
}

/* ---- Reading
 * ---------------------------------------------------------------------------------------------- */

static void read_value(struct keys_in *in, const struct key *row, char *base,
                       const struct tree_node *node);
static void read_mapping(struct keys_in *in, const char *under, char *base,
                         const struct tree_node *node);

static void read_scalar(struct keys_in *in, const struct key *row, char *to,
                        const struct tree_node *node)
{
    if (row->type == KEY_REF && to != NULL) {
        *(int *)to = -1;
    }
    if (node->kind != TREE_SCALAR || tree_is_nothing(node)) {
        not_allowed(in, row, node);
    } else if (row->type == KEY_REF) {
        int index = find_entry(in, row, node->text);
        if (index < 0) {
            unknown_reference(in, row, node->line, node->column, node->text);
        } else if (to != NULL) {
            *(int *)to = index;
        }
    } else if (!key_value_read(row, node->text, to)) {
        not_allowed(in, row, node);
    }
}

static void complain_of_count(struct keys_in *in, const struct key *row,
                              const struct tree_node *node, int found)
{
    complain(in->complaints, COMPLAINT_ERROR, node->line, node->column, in->path,
             "found %d entries, allowed are %d to %d", found, row->items_min, row->items_max);
}

/* A list of plain values. What is beyond the most is complained about once and not read. */
static void read_values(struct keys_in *in, const struct key *row, char *base,
                        const struct tree_node *node)
{
    if (node->kind != TREE_LIST) {
        char shown[SHOWN_SIZE];
        char allowed[ALLOWED_SIZE];
        key_value_allowed(row, allowed);
        complain(in->complaints, COMPLAINT_ERROR, node->line, node->column, in->path,
                 "found %s, allowed is a list of %d to %d, each %s", keys_shown(node, shown),
                 row->items_min, row->items_max, allowed);
        return;
    }
    int found = tree_count(node);
    if (found < row->items_min || found > row->items_max) {
        complain_of_count(in, row, node, found);
    }
    int at = 0;
    for (const struct tree_node *n = node->first; n != NULL && at < row->items_max;
         n = n->next, at++) {
        size_t mark = enter_index(in, at);
        bool kept = row->offset != KEY_NOWHERE;
        read_scalar(in, row, kept ? base + row->offset + (size_t)at * row->size : NULL, n);
        leave(in, mark);
        for (const struct tree_node *o = node->first; o != n; o = o->next) {
            if (row->type == KEY_REF && n->kind == TREE_SCALAR && o->kind == TREE_SCALAR &&
                strcmp(n->text, o->text) == 0) {
                complain(in->complaints, COMPLAINT_ERROR, n->line, n->column, in->path,
                         "\"%.40s\" stands here twice", n->text);
                break;
            }
        }
    }
    if (row->offset != KEY_NOWHERE) {
        *(int *)(base + row->len_offset) = at;
    }
}

/* The key of an entry: its own name, or the name of what it refers to. False: it cannot be read
 * further. */
static bool read_entry_key(struct keys_in *in, const struct key *row, char *entry,
                           const struct tree_node *node)
{
    if (row->refers != NULL) {
        int index = find_entry(in, row, node->key);
        if (index < 0) {
            unknown_reference(in, row, node->key_line, node->key_column, node->key);
            return false;
        }
        if (entry != NULL) {
            *(int *)entry = index;
        }
        return true;
    }
    /* Options of agents have names of others' making: a word is enough where the entry is a plain
     * value. */
    bool plain = entry_row(in->keys, row) != NULL;
    const struct key key_row = {.type = plain ? KEY_WORD : KEY_NAME, .size = NAME_SIZE};
    if (plain ? !is_word(node->key) : !is_name(node->key)) {
        char allowed[ALLOWED_SIZE];
        key_value_allowed(&key_row, allowed);
        complain(in->complaints, COMPLAINT_ERROR, node->key_line, node->key_column, in->path,
                 "found \"%.40s\" as a name, allowed is %s", node->key, allowed);
    }
    if (entry != NULL) {
        snprintf(entry, NAME_SIZE, "%s", node->key);
    }
    if (entry != NULL && row->mark_offset != 0) {
        *(bool *)(entry + row->mark_offset) = row->marked;
    }
    return true;
}

static void read_map(struct keys_in *in, const struct key *row, char *base,
                     const struct tree_node *node)
{
    if (tree_is_nothing(node) ? row->items_min > 0 : node->kind != TREE_MAP) {
        not_allowed(in, row, node);
        return;
    }
    int found = tree_count(node);
    bool kept = row->offset != KEY_NOWHERE;
    int first = kept ? *(const int *)(base + row->len_offset) : 0;
    int room = row->items_max - first; /* two mappings may fill one array */
    if (found < row->items_min || found > room) {
        complain_of_count(in, row, node, found);
    }
    const struct key *value = entry_row(in->keys, row);
    char under[PATH_SIZE];
    path_under(row, under);
    const struct tree_node *n = node->first;
    /* All the names first: entries may refer to each other, and one bad entry must not make its
     * name unknown. */
    for (int at = 0; n != NULL && at < room; n = n->next, at++) {
        char *entry = kept ? base + row->offset + (size_t)(first + at) * row->size : NULL;
        size_t mark = enter(in, n->key);
        if (!read_entry_key(in, row, entry, n) && entry != NULL && row->refers != NULL) {
            *(int *)entry = -1;
        }
        leave(in, mark);
        if (kept) {
            *(int *)(base + row->len_offset) = first + at + 1;
        }
    }
    n = node->first;
    for (int at = 0; n != NULL && at < room; n = n->next, at++) {
        char *entry = kept ? base + row->offset + (size_t)(first + at) * row->size : NULL;
        size_t mark = enter(in, n->key);
        if (value != NULL) {
            read_value(in, value, entry, n);
        } else {
            read_mapping(in, under, entry, n);
        }
        leave(in, mark);
    }
}

static void read_list(struct keys_in *in, const struct key *row, char *base,
                      const struct tree_node *node)
{
    assert(base != NULL &&
           row->offset != KEY_NOWHERE); /* no table has a list that is kept nowhere */
    if (node->kind != TREE_LIST) {
        not_allowed(in, row, node);
        return;
    }
    int found = tree_count(node);
    if (found < row->items_min || found > row->items_max) {
        complain_of_count(in, row, node, found);
    }
    char under[PATH_SIZE];
    path_under(row, under);
    int at = 0;
    for (const struct tree_node *n = node->first; n != NULL && at < row->items_max;
         n = n->next, at++) {
        size_t mark = enter_index(in, at);
        read_mapping(in, under, base + row->offset + (size_t)at * row->size, n);
        leave(in, mark);
    }
    *(int *)(base + row->len_offset) = at;
}

static void read_value(struct keys_in *in, const struct key *row, char *base,
                       const struct tree_node *node)
{
    bool kept = row->offset != KEY_NOWHERE;
    assert(base != NULL || !kept); /* under a mapping that is kept nowhere, nothing is kept */
    if (row->type == KEY_SECTION) {
        char under[PATH_SIZE];
        path_under(row, under);
        read_mapping(in, under, base + row->offset, node);
    } else if (row->type == KEY_MAP) {
        read_map(in, row, base, node);
    } else if (row->type == KEY_LIST) {
        read_list(in, row, base, node);
    } else if (row->items_max > 0) {
        read_values(in, row, base, node);
    } else {
        read_scalar(in, row, kept ? base + row->offset : NULL, node);
    }
}

static void read_absent(struct keys_in *in, const struct key *row, char *base,
                        const struct tree_node *map)
{
    assert(base != NULL || row->offset == KEY_NOWHERE);
    if (row->absent == NULL) {
        char allowed[ALLOWED_SIZE];
        key_value_allowed(row, allowed);
        complain(in->complaints, COMPLAINT_ERROR, map->key != NULL ? map->key_line : map->line,
                 map->key != NULL ? map->key_column : map->column, in->path,
                 "missing; needed is %s. %s", allowed, row->help);
    } else if (strcmp(row->absent, "{}") == 0) {
        static const struct tree_node empty = {.kind = TREE_MAP};
        read_value(in, row, base, &empty);
    } else if (row->type == KEY_REF && row->items_max == 0 && row->offset != KEY_NOWHERE) {
        *(int *)(base + row->offset) = -1;
    } else if (row->absent[0] != '\0' && row->offset != KEY_NOWHERE) {
        bool good = key_value_read(row, row->absent, base + row->offset);
        assert(good); /* the table's own default */
        (void)good;
    }
}

static void refuse_unknown(struct keys_in *in, const char *under, const struct tree_node *node)
{
    const char *names[64] = {NULL};
    int len = 0;
    char known[224] = "";
    size_t used = 0;
    for (int i = 0; i < in->keys->len; i++) {
        const char *word = word_under(&in->keys->rows[i], under);
        if (word != NULL) {
            assert(len < 64);
            if (used < sizeof known) {
                used += (size_t)snprintf(known + used, sizeof known - used, "%s%s",
                                         len > 0 ? ", " : "", word);
            }
            names[len++] = word;
        }
    }
    const char *nearest = keys_nearest(node->key, names, len);
    size_t mark = enter(in, node->key);
    complain(in->complaints, COMPLAINT_ERROR, node->key_line, node->key_column, in->path,
             "unknown key; %s%s%s are %s", nearest != NULL ? "is \"" : "",
             nearest != NULL ? nearest : "", nearest != NULL ? "\" meant? Allowed" : "allowed",
             len > 0 ? known : "none");
    leave(in, mark);
}

static bool is_known(const struct keys *keys, const char *under, const char *word)
{
    for (int i = 0; i < keys->len; i++) {
        const char *known = word_under(&keys->rows[i], under);
        if (known != NULL && strcmp(known, word) == 0) {
            return true;
        }
    }
    return false;
}

/* A mapping of known keys. `under` is their path up to the last dot. */
static void read_mapping(struct keys_in *in, const char *under, char *base,
                         const struct tree_node *node)
{
    if (node->kind != TREE_MAP && !tree_is_nothing(node)) {
        char shown[SHOWN_SIZE];
        complain(in->complaints, COMPLAINT_ERROR, node->line, node->column, in->path,
                 "found %s, allowed is a mapping", keys_shown(node, shown));
        return;
    }
    for (int i = 0; i < in->keys->len; i++) {
        const struct key *row = &in->keys->rows[i];
        const char *word = word_under(row, under);
        if (word == NULL) {
            continue;
        }
        const struct tree_node *value = tree_at(node, word);
        size_t mark = enter(in, word);
        if (value != NULL) {
            read_value(in, row, base, value);
        } else {
            read_absent(in, row, base, node);
        }
        leave(in, mark);
    }
    for (const struct tree_node *n = node->first; n != NULL; n = n->next) {
        if (!is_known(in->keys, under, n->key)) {
            refuse_unknown(in, under, n);
        }
    }
}

int keys_read_text(const struct keys *keys, keys_relate relate, const char *text, size_t len,
                   void *ret_root, size_t size, struct complaints *complaints)
{
    complaints->len = 0;
    complaints->errors = 0;
    void *root = calloc(1, size);
    if (root == NULL) {
        complain(complaints, COMPLAINT_ERROR, 1, 1, "", "no memory is left to read it");
        return -1;
    }
    struct tree_node *tree = tree_read(text, len, complaints);
    if (tree != NULL) {
        struct keys_in in = {.keys = keys, .root = root, .complaints = complaints};
        read_mapping(&in, "", root, tree);
        relate(root, tree, complaints);
        complaints_sort(complaints);
    }
    tree_free(tree);
    bool good = complaints->errors == 0;
    if (good) {
        memcpy(ret_root, root, size);
    }
    free(root);
    return good ? 0 : -1;
}

/* ---- Walking a filled structure
 * ----------------------------------------------------------------------------- */

struct walk {
    const struct keys *keys;
    const char *root;
    keys_each each;
    void *context;
    char path[PATH_SIZE];
};

static void walk_under(struct walk *w, const char *under, const char *base);

static size_t walk_into(struct walk *w, const char *key)
{
    size_t len = strlen(w->path);
    snprintf(w->path + len, sizeof w->path - len, "%s%s", len > 0 && key[0] != '[' ? "." : "", key);
    return len;
}

static void walk_scalar(struct walk *w, const struct key *row, const char *from)
{
    char text[WRITTEN_SIZE];
    if (row->type == KEY_REF) {
        int index = *(const int *)from;
        snprintf(text, sizeof text, "%s",
                 index < 0 ? "" : entry_name(w->keys, w->root, row->refers, index));
    } else {
        key_value_write(row, from, text);
    }
    w->each(w->context, w->path, text);
}

static void walk_items(struct walk *w, const struct key *row, const char *base)
{
    int len = *(const int *)(base + row->len_offset);
    const struct key *value = row->type == KEY_MAP ? entry_row(w->keys, row) : NULL;
    char under[PATH_SIZE];
    path_under(row, under);
    for (int i = 0; i < len; i++) {
        const char *item = base + row->offset + (size_t)i * row->size;
        if (row->mark_offset != 0 && *(const bool *)(item + row->mark_offset) != row->marked) {
            continue;
        }
        char word[NAME_SIZE + 2];
        snprintf(word, sizeof word, "[%d]", i);
        if (row->type == KEY_MAP) {
            snprintf(word, sizeof word, "%s",
                     row->refers == NULL
                         ? item
                         : entry_name(w->keys, w->root, row->refers, *(const int *)item));
        }
        size_t mark = walk_into(w, word);
        if (is_container(row) && value == NULL) {
            w->each(w->context, w->path, NULL);
            walk_under(w, under, item);
        } else if (value != NULL && value->items_max > 0) {
            walk_items(w, value, item);
        } else {
            walk_scalar(w, value != NULL ? value : row,
                        value != NULL ? item + value->offset : item);
        }
        w->path[mark] = '\0';
    }
}

static void walk_under(struct walk *w, const char *under, const char *base)
{
    for (int i = 0; i < w->keys->len; i++) {
        const struct key *row = &w->keys->rows[i];
        const char *word = word_under(row, under);
        if (word == NULL || row->offset == KEY_NOWHERE) {
            continue;
        }
        size_t mark = walk_into(w, word);
        if (row->type == KEY_SECTION) {
            char deeper[PATH_SIZE];
            path_under(row, deeper);
            walk_under(w, deeper, base + row->offset);
        } else if (is_container(row) || row->items_max > 0) {
            walk_items(w, row, base);
        } else {
            walk_scalar(w, row, base + row->offset);
        }
        w->path[mark] = '\0';
    }
}

void keys_walk(const struct keys *keys, const void *root, keys_each each, void *context)
{
    struct walk w = {.keys = keys, .root = root, .each = each, .context = context};
    walk_under(&w, "", root);
}

/* ---- The reference page
 * ------------------------------------------------------------------------------------- */

static void print_default(const struct key *row, FILE *to)
{
    if (row->absent == NULL) {
        fprintf(to, "required");
    } else if (row->absent[0] == '\0' || strcmp(row->absent, "{}") == 0) {
        fprintf(to, "none");
    } else {
        fprintf(to, "`%s`", row->absent);
    }
}

void keys_print(const struct keys *keys, FILE *to)
{
    fprintf(to, "| Key | Allowed | Default | What it is for |\n|---|---|---|---|\n");
    for (int i = 0; i < keys->len; i++) {
        const struct key *row = &keys->rows[i];
        char allowed[ALLOWED_SIZE];
        key_value_allowed(row, allowed);
        fprintf(to, "| `%s` | ", row->path);
        if (!is_container(row) && row->items_max > 0) {
            fprintf(to, "a list of %d to %d, each ", row->items_min, row->items_max);
        }
        fprintf(to, "%s | ", allowed);
        print_default(row, to);
        fprintf(to, " | %s |\n", row->help);
    }
}
