#include <stdlib.h>
#include <string.h>

#include "controller/ctl/command.h"
#include "controller/ctl/setup_sql.h"

#define IDENTIFIER_MAX 63 /* PostgreSQL's NAMEDATALEN - 1 */

/* The name stands in a comment too, which a line's end would leave. */
static bool is_identifier(const struct ctl *ctl, const char *what, const char *name)
{
    size_t len = strlen(name);
    bool good = len > 0 && len <= IDENTIFIER_MAX;
    for (size_t i = 0; i < len; i++) {
        good = good && (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    }
    if (!good) {
        (void)ctl_usage(ctl, "the %s has %zu bytes; allowed are 1 to %d without control characters",
                        what, len, IDENTIFIER_MAX);
    }
    return good;
}

enum ctl_exit ctl_setup_sql(struct ctl *ctl)
{
    const char *role = ctl_given(ctl, OPT_USER) ? ctl->values[OPT_USER] : NULL;
    const char *dbname = ctl->words_len > 0             ? ctl->words[0]
                         : ctl_given(ctl, OPT_DATABASE) ? ctl->values[OPT_DATABASE]
                                                        : NULL;
    if (dbname == NULL) {
        return ctl_usage(ctl, "setup-sql needs the database's name");
    }
    if (!is_identifier(ctl, "database's name", dbname) ||
        (role != NULL && !is_identifier(ctl, "role's name", role))) {
        return CTL_USAGE;
    }
    char *sql = setup_sql_text(role, dbname);
    (void)fputs(sql, stdout);
    free(sql);
    return CTL_DONE;
}
