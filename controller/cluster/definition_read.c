#include "controller/cluster/definition_read.h"

#include "controller/cluster/definition_keys.h"

int definition_read(const char *text, size_t len, struct definition *ret_def,
                    struct complaints *complaints)
{
    return keys_read_text(&definition_keys, definition_relate, text, len, ret_def, sizeof *ret_def,
                          complaints);
}
