/*
 * keys.h - reading a tree of YAML by a table of keys.
 *
 * A file's form is one table, a row for each key: its path, type, range, default, what it is for,
 * and where its value goes in a C structure. Reading, the complaints, the reference page and the
 * difference between two files come from the table. Relations between settings are the caller's.
 *
 * Paths: `a.b` is a key of a mapping, `a.*` every entry of a mapping whose keys the operator
 * chooses, `a[]` every item of a list. Rows are read in the table's order, so that a reference
 * finds what it refers to; what stands under a row comes after it.
 *
 * Memory: keys_read_text() writes only into `root`. Each entry of a mapping is a
 * structure whose first member is its name (char[NAME_SIZE]), or the index of what the name refers
 * to (int).
 */
#ifndef FAILOVER_CLUSTER_KEYS_H
#define FAILOVER_CLUSTER_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "controller/cluster/complaints.h"
#include "controller/cluster/tree.h"

enum key_type {
    KEY_SECTION,  /* a mapping of known keys */
    KEY_MAP,      /* a mapping whose keys are names: of its own, or of what `refers` says */
    KEY_LIST,     /* a list of mappings */
    KEY_NAME,     /* [a-z0-9]([a-z0-9._-]*[a-z0-9])? */
    KEY_WORD,     /* [A-Za-z0-9_.:-]+ */
    KEY_TEXT,     /* one line */
    KEY_CHOICE,   /* one of `names`, kept as text */
    KEY_ENUM,     /* one of `names`, kept as its index */
    KEY_REF,      /* the name of an entry of `refers`, kept as its index, -1 when absent */
    KEY_ADDRESS,  /* numeric IPv4 or IPv6 */
    KEY_ENDPOINT, /* address:port, [v6]:port or /path */
    KEY_URL,      /* http:// or https:// */
    KEY_PATH,     /* /... */
    KEY_PROGRAM,  /* fence_... */
    KEY_BOOL,     /* yes, no, true, false, on, off */
    KEY_INTEGER,
    KEY_DURATION, /* kept in milliseconds */
    KEY_SIZE,     /* kept in bytes */
};

#define KEY_NOWHERE SIZE_MAX

struct key {
    const char *path;
    enum key_type type;
    size_t offset; /* in the structure around it, or KEY_NOWHERE: checked, and kept by the caller */
    size_t size;   /* of the value, or of one item */
    int64_t min, max; /* of a number; of a text the least length */
    /* Of a mapping, of a list, and of a row that holds a list of values (items_max > 0): */
    int items_min, items_max;
    size_t len_offset;
    /* Of two mappings that fill one array: each entry has a bool at mark_offset (0: none), which is
       `marked` for those of this row. */
    size_t mark_offset;
    bool marked;
    const char *refers; /* the path of a mapping at the root */
    const char *const *names;
    /* NULL: the key is required. "": without it the value stays zero, and what stands under it is
       not read. Else the default as one would write it; "{}" for a section whose keys have
       defaults. */
    const char *absent;
    const char *help;
};

/* For rows: where a field is and how large; where the items are, how large each, how many, where
 * their number is. */
#define KEY_FIELD(type, field)                                                                     \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field)
#define KEY_ITEMS(type, field, len)                                                                \
    .offset = offsetof(struct type, field), .size = sizeof(((struct type *)0)->field[0]),          \
    .items_max = (int)(sizeof(((struct type *)0)->field) / sizeof(((struct type *)0)->field[0])),  \
    .len_offset = offsetof(struct type, len)

struct keys {
    const struct key *rows;
    int len;
};

/* What a table cannot say: it is called with what was read, which is half filled when there are
 * complaints already, and the tree for the places. */
typedef void (*keys_relate)(void *root, const struct tree_node *tree,
                            struct complaints *complaints);

/*
 * Reads a text into a structure of that size, all or nothing: 0 with it in ret_root, or -1 with
 * complaints->errors > 0 and ret_root untouched. Every mistake is complained about, in the text's
 * order.
 */
int keys_read_text(const struct keys *keys, keys_relate relate, const char *text, size_t len,
                   void *ret_root, size_t size, struct complaints *complaints);

/*
 * Every value of a filled structure, in the table's order: its path with the names in it, and its
 * value as one would write it. Entries of mappings come first with text NULL. Rows that are kept
 * nowhere are passed over.
 */
typedef void (*keys_each)(void *context, const char *path, const char *text);
void keys_walk(const struct keys *keys, const void *root, keys_each each, void *context);

/* The reference: a Markdown table, a row for each key. */
void keys_print(const struct keys *keys, FILE *to);

/* The nearest of the names by edit distance, if it is near enough to be meant; else NULL. */
const char *keys_nearest(const char *found, const char *const names[], int len);
/* As shown in a complaint: quoted, shortened, "nothing", "a list". */
#define SHOWN_SIZE 64
const char *keys_shown(const struct tree_node *node, char ret_text[SHOWN_SIZE]);

#endif
