#include "controller/cluster/store_keys.h"

void store_reference_print(FILE *to)
{
    (void)fprintf(to, "| Key | Written by | Holds |\n|---|---|---|\n");
#define X(kind, behind, writer, holds)                                                             \
    (void)fprintf(to, "| `%s%s` | %s | %s |\n", kind, behind, writer, holds);
    STORE_KEY_LIST(X)
#undef X
}
