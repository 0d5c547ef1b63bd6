#include "controller/act/haproxy_answer.h"

#include <stdio.h>
#include <string.h>

enum {
    ADMIN_FMAINT = 0x01, /* forced, by the runtime API or by the file's `disabled` */
    ADMIN_IMAINT = 0x02, /* inherited from a tracked server */
    ADMIN_FDRAIN = 0x08,
    ADMIN_IDRAIN = 0x10,
    ADMIN_RMAINT = 0x20, /* its name does not resolve */
    ADMIN_HMAINT = 0x40, /* its name was never set */
};
#define ADMIN_MAINT (ADMIN_FMAINT | ADMIN_IMAINT | ADMIN_RMAINT | ADMIN_HMAINT)
#define ADMIN_DRAIN (ADMIN_FDRAIN | ADMIN_IDRAIN)

#define STATE_VERSION "1"
#define COLUMNS_MAX   160 /* HAProxy 2.6 has 103 in `show stat` */

struct slice {
    const char *at;
    size_t len;
};

bool haproxy_server_closed(const struct haproxy_server *server)
{
    return (server->admin & ADMIN_MAINT) != 0;
}

bool haproxy_server_open(const struct haproxy_server *server)
{
    return (server->admin & (ADMIN_MAINT | ADMIN_DRAIN)) == 0;
}

bool haproxy_name_ok(const char *name, size_t len)
{
    if (len == 0 || len >= NAME_SIZE) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '.' && c != ':' && c != '-') {
            return false;
        }
    }
    return true;
}

bool haproxy_next_answer(const char **text, size_t *len, const char **ret_answer, size_t *ret_len)
{
    size_t start = 0;

    while (start < *len) {
        const char *newline = memchr(*text + start, '\n', *len - start);

        if (newline == NULL) {
            return false;
        }
        if (newline == *text + start) { /* the empty line */
            *ret_answer = *text;
            *ret_len = start > 0 ? start - 1 : 0;
            *text += start + 1;
            *len -= start + 1;
            return true;
        }
        start = (size_t)(newline - *text) + 1;
    }
    return false;
}

/* ---- lines and columns ---- */

static bool take_line(struct slice *text, struct slice *ret_line)
{
    const char *newline;

    if (text->len == 0) {
        return false;
    }
    newline = memchr(text->at, '\n', text->len);
    ret_line->at = text->at;
    ret_line->len = newline == NULL ? text->len : (size_t)(newline - text->at);
    text->at += ret_line->len + (newline != NULL);
    text->len -= ret_line->len + (newline != NULL);
    return true;
}

/* One column of a table; a CSV value may stand in quotes, with quotes in it doubled. */
static bool take_column(struct slice *line, char separator, struct slice *ret_column)
{
    size_t i = 0;
    bool quoted = false;

    if (line->len == 0) {
        return false;
    }
    while (i < line->len && (quoted || line->at[i] != separator)) {
        quoted = line->at[i] == '"' && separator == ',' ? !quoted : quoted;
        i++;
    }
    ret_column->at = line->at;
    ret_column->len = i;
    line->at += i + (i < line->len);
    line->len -= i + (i < line->len);
    return true;
}

static bool is(struct slice slice, const char *text)
{
    return slice.len == strlen(text) && (slice.len == 0 || memcmp(slice.at, text, slice.len) == 0);
}

static bool read_number(struct slice slice, uint32_t *ret_number)
{
    uint32_t number = 0;

    if (slice.len == 0 || slice.len > 9) {
        return false;
    }
    for (size_t i = 0; i < slice.len; i++) {
        if (slice.at[i] < '0' || slice.at[i] > '9') {
            return false;
        }
        number = number * 10 + (uint32_t)(slice.at[i] - '0');
    }
    *ret_number = number;
    return true;
}

/* Something foreign, cut and made printable for a message. */
static const char *shown(struct slice slice, char ret_text[96])
{
    size_t len = slice.len < 90 ? slice.len : 90;

    for (size_t i = 0; i < len; i++) {
        ret_text[i] = slice.at[i];
        if (ret_text[i] < ' ' || ret_text[i] > '~') {
            ret_text[i] = '?';
        }
    }
    snprintf(ret_text + len, 96 - len, "%s", len < slice.len ? "..." : "");
    return ret_text;
}

/* ---- tables ---- */

struct table {
    char separator;
    const char *const *names; /* of the wanted columns, NULL-terminated */
    int at[8];                /* where they stand */
    int columns;
};

static int read_header(struct slice line, struct table *table, struct err *ret_err)
{
    struct slice column = {0};
    char text[96];
    struct slice whole = line;

    for (int i = 0; table->names[i] != NULL; i++) {
        table->at[i] = -1;
    }
    line.at += 2; /* "# " */
    line.len -= 2;
    for (table->columns = 0; take_column(&line, table->separator, &column); table->columns++) {
        for (int i = 0; table->names[i] != NULL; i++) {
            if (is(column, table->names[i])) {
                table->at[i] = table->columns;
            }
        }
    }
    for (int i = 0; table->names[i] != NULL; i++) {
        if (table->at[i] < 0 || table->columns > COLUMNS_MAX) {
            return err_set(ret_err, ERR_INVALID, "its table has no column '%s': %s",
                           table->names[i], shown(whole, text));
        }
    }
    return 0;
}

/* Fills the wanted columns. A row with fewer columns than the wanted ones was cut. */
static int read_row(struct slice line, const struct table *table, struct slice ret_values[],
                    struct err *ret_err)
{
    struct slice whole = line;
    struct slice column = {0};
    char text[96];
    int found = 0;
    int wanted = 0;

    for (int i = 0; i < table->columns && take_column(&line, table->separator, &column); i++) {
        for (int j = 0; table->names[j] != NULL; j++) {
            if (table->at[j] == i) {
                ret_values[j] = column;
                found++;
            }
        }
    }
    while (table->names[wanted] != NULL) {
        wanted++;
    }
    return found == wanted
               ? 0
               : err_set(ret_err, ERR_INVALID, "a row of its table is cut: %s", shown(whole, text));
}

static struct haproxy_server *find_server(struct haproxy_backend *backend, struct slice name)
{
    for (int i = 0; i < backend->servers_len; i++) {
        if (is(name, backend->servers[i].name)) {
            return &backend->servers[i];
        }
    }
    return NULL;
}

/* ---- show servers state ---- */

static const char *const state_columns[] = {"be_name", "srv_name", "srv_op_state",
                                            "srv_admin_state", NULL};

static int add_server(const struct slice values[], const char *backend_name,
                      struct haproxy_backend *backend, struct err *ret_err)
{
    struct haproxy_server server = {0};
    char text[96];

    if (!is(values[0], backend_name)) {
        return err_set(ret_err, ERR_INVALID, "it answers about the backend '%s'",
                       shown(values[0], text));
    }
    if (!haproxy_name_ok(values[1].at, values[1].len)) {
        return err_set(ret_err, ERR_INVALID,
                       "the server's name '%s' is not 1 to %d of A-Z, a-z, 0-9, _ . : -",
                       shown(values[1], text), NAME_SIZE - 1);
    }
    if (!read_number(values[2], &server.op) || !read_number(values[3], &server.admin)) {
        return err_set(ret_err, ERR_INVALID, "the state of server '%s' is no number",
                       shown(values[1], text));
    }
    if (find_server(backend, values[1]) != NULL) {
        return err_set(ret_err, ERR_INVALID, "it names server '%s' twice", shown(values[1], text));
    }
    if (backend->servers_len == HAPROXY_SERVERS_MAX) {
        return err_set(ret_err, ERR_LIMIT, "the backend has more than %d servers",
                       HAPROXY_SERVERS_MAX);
    }
    memcpy(server.name, values[1].at, values[1].len);
    backend->servers[backend->servers_len++] = server;
    return 0;
}

int haproxy_read_state(const char *answer, size_t len, const char *backend,
                       struct haproxy_backend *ret_backend, struct err *ret_err)
{
    struct slice text = {answer, len};
    struct slice line = {answer, 0};
    struct slice values[4] = {0};
    struct table table = {.separator = ' ', .names = state_columns};
    char said[96];

    ret_backend->servers_len = 0;
    if (!take_line(&text, &line) || !is(line, STATE_VERSION)) {
        return err_set(ret_err, ERR_REFUSED, "%s",
                       line.len > 0 ? shown(line, said) : "no answer to `show servers state`");
    }
    if (!take_line(&text, &line) || line.len < 2 || memcmp(line.at, "# ", 2) != 0) {
        return err_set(ret_err, ERR_INVALID, "its state table has no header");
    }
    if (read_header(line, &table, ret_err) < 0) {
        return -1;
    }
    while (take_line(&text, &line)) {
        if (read_row(line, &table, values, ret_err) < 0 ||
            add_server(values, backend, ret_backend, ret_err) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- show stat ---- */

static const char *const stat_columns[] = {"pxname", "svname", "scur", NULL};

static int count_server(const struct slice values[], const char *backend_name,
                        struct haproxy_backend *backend, struct err *ret_err)
{
    struct haproxy_server *server = find_server(backend, values[1]);
    char text[96];

    if (!is(values[0], backend_name)) {
        return 0; /* a server of another backend */
    }
    if (server == NULL) {
        return err_set(ret_err, ERR_INVALID,
                       "server '%s' is in its statistics, but not in its state",
                       shown(values[1], text));
    }
    if (server->counted || !read_number(values[2], &server->sessions)) {
        return err_set(ret_err, ERR_INVALID, "the session count of server '%s' is unclear",
                       server->name);
    }
    server->counted = true;
    return 0;
}

int haproxy_read_stat(const char *answer, size_t len, const char *backend,
                      struct haproxy_backend *backend_io, struct err *ret_err)
{
    struct slice text = {answer, len};
    struct slice line = {answer, 0};
    struct slice values[3] = {0};
    struct table table = {.separator = ',', .names = stat_columns};
    char said[96];

    if (!take_line(&text, &line) || line.len < 2 || memcmp(line.at, "# ", 2) != 0) {
        return err_set(ret_err, ERR_REFUSED, "%s",
                       line.len > 0 ? shown(line, said) : "no answer to `show stat`");
    }
    if (read_header(line, &table, ret_err) < 0) {
        return -1;
    }
    while (take_line(&text, &line)) {
        if (read_row(line, &table, values, ret_err) < 0 ||
            count_server(values, backend, backend_io, ret_err) < 0) {
            return -1;
        }
    }
    for (int i = 0; i < backend_io->servers_len; i++) {
        if (!backend_io->servers[i].counted) {
            return err_set(ret_err, ERR_INVALID,
                           "server '%s' is in its state, but not in its statistics",
                           backend_io->servers[i].name);
        }
    }
    return 0;
}
