#include "controller/cluster/key_values.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "controller/base/utf8.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* The first that divides a value is the one it is written with. */
static const struct unit duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000},
                                             {"s", 1000},     {"ms", 1},      {NULL, 0}};
/* PostgreSQL's own kB, MB, GB are powers of 1024 as well. */
static const struct unit size_units[] = {{"TiB", INT64_C(1) << 40},
                                         {"GiB", 1 << 30},
                                         {"MiB", 1 << 20},
                                         {"KiB", 1 << 10},
                                         {"TB", INT64_C(1) << 40},
                                         {"GB", 1 << 30},
                                         {"MB", 1 << 20},
                                         {"kB", 1 << 10},
                                         {"B", 1},
                                         {NULL, 0}};

static bool is_lower_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_name(const char *text)
{
    size_t len = strlen(text);
    if (len == 0 || len >= NAME_SIZE || !is_lower_or_digit(text[0]) ||
        !is_lower_or_digit(text[len - 1])) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_lower_or_digit(text[i]) && strchr("._-", text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

bool is_word(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len < NAME_SIZE &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-") ==
               len;
}

/* Decimal digits, and what stands behind them; at most 15 digits, so that nothing overflows. */
static bool read_number(const char *text, int64_t *ret_number, const char **ret_rest)
{
    bool negative = *text == '-';
    const char *at = text + (negative ? 1 : 0);
    size_t digits = strspn(at, "0123456789");
    if (digits == 0 || digits > 15) {
        return false;
    }
    int64_t number = 0;
    for (size_t i = 0; i < digits; i++) {
        number = number * 10 + (at[i] - '0');
    }
    *ret_number = negative ? -number : number;
    *ret_rest = at + digits;
    return true;
}

static bool read_with_unit(const char *text, const struct unit *units, int64_t *ret_value)
{
    int64_t number;
    const char *rest;
    if (!read_number(text, &number, &rest)) {
        return false;
    }
    if (number == 0 && *rest == '\0') {
        *ret_value = 0; /* nothing is nothing in every unit */
        return true;
    }
    for (; units->name != NULL; units++) {
        if (strcmp(rest, units->name) == 0) {
            return !__builtin_mul_overflow(number, units->factor, ret_value);
        }
    }
    return false;
}

static bool read_bool(const char *text, int64_t *ret_value)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret_value = (int64_t)(i % 2);
            return true;
        }
    }
    return false;
}

static bool read_choice(const struct key *row, const char *text, int64_t *ret_value)
{
    for (int64_t i = 0; row->names[i] != NULL; i++) {
        if (strcmp(text, row->names[i]) == 0) {
            *ret_value = i;
            return true;
        }
    }
    return false;
}

static bool is_address(const char *text, bool *ret_v6)
{
    unsigned char bytes[16];
    static const unsigned char nowhere[16];
    bool v6 = inet_pton(AF_INET6, text, bytes) == 1;
    if (!v6 && inet_pton(AF_INET, text, bytes) != 1) {
        return false;
    }
    if (ret_v6 != NULL) {
        *ret_v6 = v6;
    }
    return memcmp(bytes, nowhere, v6 ? 16 : 4) != 0; /* 0.0.0.0 and :: are nobody's address */
}

static bool is_path(const char *text)
{
    return text[0] == '/' && text[1] != '\0' && utf8_is_line(text);
}

static bool is_port(const char *text)
{
    int64_t port;
    const char *rest;
    return text[0] != '-' && read_number(text, &port, &rest) && *rest == '\0' && port >= 1 &&
           port <= 65535;
}

static bool is_endpoint(const char *text)
{
    if (text[0] == '/') {
        return is_path(text) && strlen(text) < 108; /* sun_path */
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL || !is_port(colon + 1) || colon - text >= ADDRESS_SIZE) {
        return false;
    }
    char host[ADDRESS_SIZE];
    size_t len = (size_t)(colon - text);
    memcpy(host, text, len);
    host[len] = '\0';
    bool brackets = len > 2 && host[0] == '[' && host[len - 1] == ']';
    if (brackets) {
        host[len - 1] = '\0';
    }
    bool v6 = false;
    return is_address(host + (brackets ? 1 : 0), &v6) && v6 == brackets;
}

/* Scheme, host, an optional port, a path. No user and password: they would stand in etcd in the
 * clear. */
static bool is_url(const char *text)
{
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    const char *host = text + scheme;
    size_t authority = strcspn(host, "/?#");
    if (scheme == 0 || authority == 0 || memchr(host, '@', authority) != NULL) {
        return false;
    }
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f || strchr("\"<>\\^`{|}", *c)) {
            return false;
        }
    }
    size_t name = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/?#");
    if (name == 0 || name > authority) {
        return false;
    }
    if (name == authority) {
        return true;
    }
    char port[8];
    size_t port_len = authority - name - 1;
    if (host[name] != ':' || port_len >= sizeof port) {
        return false;
    }
    memcpy(port, host + name + 1, port_len);
    port[port_len] = '\0';
    return is_port(port);
}

static bool is_fence_program(const char *text)
{
    size_t len = strlen(text);
    return strncmp(text, "fence_", 6) == 0 && len > 6 && len < NAME_SIZE &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static bool text_fits(const struct key *row, const char *text)
{
    size_t len = strlen(text);
    if (len < (size_t)row->min || (row->offset != KEY_NOWHERE && len >= row->size)) {
        return false;
    }
    switch (row->type) {
    case KEY_NAME: return is_name(text);
    case KEY_WORD: return is_word(text);
    case KEY_ADDRESS: return is_address(text, NULL);
    case KEY_ENDPOINT: return is_endpoint(text);
    case KEY_URL: return is_url(text);
    case KEY_PATH: return is_path(text);
    case KEY_PROGRAM: return is_fence_program(text);
    default: return utf8_is_line(text);
    }
}

static bool number_of(const struct key *row, const char *text, int64_t *ret_value)
{
    const char *rest = "";
    switch (row->type) {
    case KEY_BOOL: return read_bool(text, ret_value);
    case KEY_ENUM: return read_choice(row, text, ret_value);
    case KEY_DURATION: return read_with_unit(text, duration_units, ret_value);
    case KEY_SIZE: return read_with_unit(text, size_units, ret_value);
    default: return read_number(text, ret_value, &rest) && *rest == '\0';
    }
}

static void store_number(const struct key *row, int64_t value, void *to)
{
    switch (row->size) {
    case 1: *(bool *)to = value != 0; break;
    case 2: *(uint16_t *)to = (uint16_t)value; break;
    case 4: *(int32_t *)to = (int32_t)value; break;
    case 8: *(int64_t *)to = value; break;
    default: assert(!"a number of that size");
    }
}

static int64_t load_number(const struct key *row, const void *from)
{
    switch (row->size) {
    case 1: return *(const bool *)from ? 1 : 0;
    case 2: return *(const uint16_t *)from;
    case 4: return *(const int32_t *)from;
    case 8: return *(const int64_t *)from;
    default: assert(!"a number of that size");
    }
    return 0;
}

static bool is_number(const struct key *row)
{
    return row->type == KEY_BOOL || row->type == KEY_ENUM || row->type == KEY_INTEGER ||
           row->type == KEY_DURATION || row->type == KEY_SIZE;
}

bool key_value_read(const struct key *row, const char *text, void *to)
{
    if (is_number(row)) {
        int64_t value;
        bool bounded = row->type != KEY_BOOL && row->type != KEY_ENUM;
        if (!number_of(row, text, &value) || (bounded && (value < row->min || value > row->max))) {
            return false;
        }
        if (to != NULL) {
            store_number(row, value, to);
        }
        return true;
    }
    int64_t choice;
    bool good = row->type == KEY_CHOICE ? read_choice(row, text, &choice) : text_fits(row, text);
    if (good && to != NULL) {
        size_t len = strlen(text);
        assert(len < row->size);
        memcpy(to, text, len + 1);
    }
    return good;
}

static void write_with_unit(int64_t value, const struct unit *units, char *ret_text, size_t size)
{
    while (value % units->factor != 0) { /* ends at the last, which is 1 */
        units++;
    }
    if (value == 0) {
        snprintf(ret_text, size, "0");
    } else {
        snprintf(ret_text, size, "%" PRId64 "%s", value / units->factor, units->name);
    }
}

static void list_names(const struct key *row, char *ret_text, size_t size)
{
    size_t len = (size_t)snprintf(ret_text, size, "one of");
    for (int i = 0; row->names[i] != NULL && len < size; i++) {
        len +=
            (size_t)snprintf(ret_text + len, size - len, "%s %s", i > 0 ? "," : "", row->names[i]);
    }
}

void key_value_allowed(const struct key *row, char ret_text[ALLOWED_SIZE])
{
    char low[32];
    char high[32];
    size_t size = ALLOWED_SIZE;
    size_t longest = row->offset == KEY_NOWHERE ? NAME_SIZE - 1 : row->size - 1;
    switch (row->type) {
    case KEY_SECTION: snprintf(ret_text, size, "a mapping"); break;
    case KEY_MAP:
        snprintf(ret_text, size, "a mapping from %s%s to each one's settings, %d to %d of them",
                 row->refers != NULL ? "the names of " : "names",
                 row->refers != NULL ? row->refers : "", row->items_min, row->items_max);
        break;
    case KEY_LIST:
        snprintf(ret_text, size, "a list of mappings, %d to %d of them", row->items_min,
                 row->items_max);
        break;
    case KEY_NAME:
        snprintf(ret_text, size, "a name: a-z, 0-9, '.', '_', '-' inside, at most %d characters",
                 NAME_SIZE - 1);
        break;
    case KEY_WORD:
        snprintf(ret_text, size, "a word: A-Z, a-z, 0-9, '_', '.', ':', '-', at most %d characters",
                 NAME_SIZE - 1);
        break;
    case KEY_CHOICE:
    case KEY_ENUM: list_names(row, ret_text, size); break;
    case KEY_REF: snprintf(ret_text, size, "a name of %s", row->refers); break;
    case KEY_ADDRESS:
        snprintf(ret_text, size, "a numeric address, such as 192.0.2.11 or 2001:db8::11");
        break;
    case KEY_ENDPOINT:
        snprintf(ret_text, size,
                 "address:port, [v6 address]:port, or a socket's path of at most 107 bytes");
        break;
    case KEY_URL:
        snprintf(ret_text, size,
                 "http:// or https://, a host, a port, a path; no user or password; at most %zu "
                 "bytes",
                 longest);
        break;
    case KEY_PATH: snprintf(ret_text, size, "a path from /, at most %zu bytes", longest); break;
    case KEY_PROGRAM:
        snprintf(ret_text, size, "a fence agent's name: fence_ and a-z, 0-9, '_'");
        break;
    case KEY_BOOL: snprintf(ret_text, size, "yes or no"); break;
    case KEY_INTEGER:
        snprintf(ret_text, size, "a whole number from %" PRId64 " to %" PRId64, row->min, row->max);
        break;
    case KEY_DURATION:
        write_with_unit(row->min, duration_units, low, sizeof low);
        write_with_unit(row->max, duration_units, high, sizeof high);
        snprintf(ret_text, size, "a duration from %s to %s, such as 500ms, 10s, 1h or 1d", low,
                 high);
        break;
    case KEY_SIZE:
        write_with_unit(row->min, size_units, low, sizeof low);
        write_with_unit(row->max, size_units, high, sizeof high);
        snprintf(ret_text, size, "a size from %s to %s, such as 64kB or 16MiB", low, high);
        break;
    case KEY_TEXT:
        snprintf(ret_text, size, "one line of %" PRId64 " to %zu bytes", row->min, longest);
        break;
    }
}

void key_value_write(const struct key *row, const void *from, char ret_text[WRITTEN_SIZE])
{
    if (!is_number(row)) {
        snprintf(ret_text, WRITTEN_SIZE, "%s", (const char *)from);
        return;
    }
    int64_t value = load_number(row, from);
    switch (row->type) {
    case KEY_BOOL: snprintf(ret_text, WRITTEN_SIZE, "%s", value != 0 ? "yes" : "no"); break;
    case KEY_ENUM: snprintf(ret_text, WRITTEN_SIZE, "%s", row->names[value]); break;
    case KEY_DURATION: write_with_unit(value, duration_units, ret_text, WRITTEN_SIZE); break;
    case KEY_SIZE: write_with_unit(value, size_units, ret_text, WRITTEN_SIZE); break;
    default: snprintf(ret_text, WRITTEN_SIZE, "%" PRId64, value); break;
    }
}
