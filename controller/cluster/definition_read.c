#include "controller/cluster/definition_read.h"

#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_keys.h"

int definition_read(const char *text, size_t len, struct definition *ret_def,
                    struct complaints *complaints)
{
    complaints->len = 0;
    complaints->errors = 0;
    struct definition *def = calloc(1, sizeof *def);
    if (def == NULL) {
        complain(complaints, COMPLAINT_ERROR, 1, 1, "", "no memory is left to read it");
        return -1;
    }
    struct tree_node *tree = tree_read(text, len, complaints);
    if (tree != NULL) {
        keys_read(&definition_keys, tree, def, complaints);
        definition_relate(def, tree, complaints);
        complaints_sort(complaints);
    }
    tree_free(tree);
    bool good = complaints->errors == 0;
    if (good) {
        *ret_def = *def;
    }
    free(def);
    return good ? 0 : -1;
}
