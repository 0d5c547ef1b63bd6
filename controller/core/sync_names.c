/*
 * sync_names.c - PostgreSQL's synchronous_standby_names, read as an entry.
 *
 * FIRST k (a, b), ANY k (a, b), k (a, b) and the old plain list; both of the last are FIRST. For
 * what a failover needs all count alike (design §8), so a comparison asks for k and the members.
 */
#include "controller/core/private.h"

#include <string.h>

static const char *skip_blanks(const char *at)
{
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    return at;
}

static bool take_word(const char **at, const char *word)
{
    size_t len = strlen(word);
    for (size_t i = 0; i < len; i++) {
        char c = (*at)[i];
        if (c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        }
        if (c != word[i]) {
            return false;
        }
    }
    *at = skip_blanks(*at + len);
    return true;
}

static bool take_number(const char **at, int *ret_number)
{
    const char *start = *at;
    int number = 0;
    while (**at >= '0' && **at <= '9' && number < 1000) {
        number = number * 10 + (**at - '0');
        (*at)++;
    }
    if (*at == start) {
        return false;
    }
    *at = skip_blanks(*at);
    *ret_number = number;
    return true;
}

static bool take_name(const char **at, char *ret_name, size_t size)
{
    bool quoted = **at == '"';
    size_t len = 0;
    if (quoted) {
        (*at)++;
    }
    while (**at != '\0' && **at != '"' && (quoted || (**at != ',' && **at != ')' && **at != ' '))) {
        if (len + 1 >= size) {
            return false;
        }
        ret_name[len++] = *(*at)++;
    }
    ret_name[len] = '\0';
    if (quoted && *(*at)++ != '"') {
        return false;
    }
    *at = skip_blanks(*at);
    return len > 0;
}

static bool lists(const struct sync_entry_record *entry, const char *name)
{
    for (int m = 0; m < entry->members_len; m++) {
        if (strcmp(entry->members[m], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool take_members(const char **at, struct sync_entry_record *entry)
{
    for (;;) {
        char name[NAME_SIZE];
        if (!take_name(at, name, sizeof name) || strcmp(name, "*") == 0 || lists(entry, name) ||
            entry->members_len == INSTANCES_MAX) {
            return false; /* anybody, one that stands for two, or more than there are */
        }
        text_copy(entry->members[entry->members_len++], NAME_SIZE, name);
        if (**at != ',') {
            return true;
        }
        *at = skip_blanks(*at + 1);
    }
}

/* False: it says something that no entry of a permit can say. */
static bool read_names(const char *names, struct sync_entry_record *ret)
{
    const char *at = skip_blanks(names);
    memset(ret, 0, sizeof *ret);
    if (*at == '\0') {
        return true;
    }
    ret->k = 1;
    bool any = take_word(&at, "ANY ");
    bool worded = any || take_word(&at, "FIRST ");
    bool counted = take_number(&at, &ret->k);
    bool listed = counted && *at == '(';
    if (((worded || counted) && !listed) || ret->k == 0) {
        return false;
    }
    if (listed) {
        at = skip_blanks(at + 1);
    }
    ret->first = !any;
    if (!take_members(&at, ret) || (listed && *at++ != ')')) {
        return false;
    }
    return *skip_blanks(at) == '\0';
}

bool sync_names_match(const char *names, const struct permit_record *permit)
{
    struct sync_entry_record said;
    bool readable = read_names(names, &said);
    for (int e = 0; e < permit->sync_len && readable; e++) {
        const struct sync_entry_record *entry = &permit->sync[e];
        bool same = entry->k == said.k && entry->members_len == said.members_len;
        for (int m = 0; m < said.members_len; m++) {
            same = same && lists(entry, said.members[m]);
        }
        if (same) {
            return true;
        }
    }
    return false;
}

/* A walsender of another name than any instance's may confirm commits too: so all that the primary
 * shows are asked. */
bool sync_names_block(const struct core *core, int db, const struct instance_fact *fact)
{
    const struct database_def *def = &core->def.databases[db];
    struct sync_entry_record said;
    if (!read_names(fact->sync_names, &said) || said.k == 0) {
        return false;
    }
    for (int i = 0; i < def->instances_len; i++) {
        if (lists(&said, def->instances[i].name)) {
            return false;
        }
    }
    for (int s = 0; s < fact->standbys_len; s++) {
        if (lists(&said, fact->standbys[s].name)) {
            return false;
        }
    }
    return true;
}
