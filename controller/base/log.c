#include "controller/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/utf8.h"

/* PIPE_BUF: a pipe takes such a line whole or not at all, so that no line is ever cut in half. */
#define LINE_MAX_BYTES    4096
#define ENTRY_MAX_BYTES   16384
#define JOURNAL_FIELD_MAX 64
#define JOURNAL_SOCKET    "/run/systemd/journal/socket"

enum way { WAY_FILE, WAY_NONBLOCKING, WAY_POLLED, WAY_SOCKET, WAY_JOURNAL };

/* A program has one log, so it is the one module with a state of its own. */
static struct {
    const char *program;
    enum log_level least;
    enum way way;
    int fd;
    uint64_t dropped;
    uint64_t dropped_unsaid; /* of these, not yet told in the log */
} the = {.program = "failover", .least = LOG_LEVEL_INFO, .way = WAY_FILE, .fd = STDERR_FILENO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* of syslog */

struct text {
    char *at;
    size_t len;
    size_t size;
    bool cut;
};

static void put(struct text *text, const char *bytes, size_t len)
{
    size_t room = text->size - text->len;
    if (len > room) {
        len = room;
        text->cut = true;
    }
    memcpy(text->at + text->len, bytes, len);
    text->len += len;
}

static void put_text(struct text *text, const char *string)
{
    put(text, string, strlen(string));
}

/* A line stays a line, and a terminal is not driven, whatever a value holds. */
static void put_escaped(struct text *text, const char *string, bool quoted)
{
    size_t left = strlen(string);
    for (const char *c = string; left > 0;) {
        size_t len = utf8_shown_len(c, left);
        char escape[8];
        if (*c == '\n' || *c == '\r' || *c == '\t') {
            put_text(text, *c == '\n' ? "\\n" : *c == '\r' ? "\\r" : "\\t");
        } else if (len == 0) {
            snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)*c);
            put_text(text, escape);
        } else {
            put(text, "\\", quoted && (*c == '"' || *c == '\\') ? 1 : 0);
            put(text, c, len);
        }
        len = len == 0 ? 1 : len;
        c += len;
        left -= len;
    }
}

static bool plain(const char *value)
{
    return value[0] != '\0' && utf8_is_line(value) && strpbrk(value, " \"\\=") == NULL;
}

static void put_pair(struct text *text, const char *key, const char *value)
{
    put(text, " ", 1);
    put_text(text, key);
    put(text, "=", 1);
    if (plain(value)) {
        put_text(text, value);
        return;
    }
    put(text, "\"", 1);
    put_escaped(text, value, true);
    put(text, "\"", 1);
}

static void put_pairs(struct text *text, va_list pairs)
{
    const char *key;
    while ((key = va_arg(pairs, const char *)) != NULL) {
        const char *value = va_arg(pairs, const char *);
        put_pair(text, key, value != NULL ? value : "");
    }
}

/* Journald's protocol: "NAME=value\n", or "NAME\n", the length in 8 bytes, the value and "\n". */
static void put_field(struct text *text, const char *name, const char *value, size_t len)
{
    put_text(text, name);
    if (memchr(value, '\n', len) == NULL) {
        put(text, "=", 1);
    } else {
        unsigned char size[8];
        for (int i = 0; i < 8; i++) {
            size[i] = (unsigned char)((uint64_t)len >> (8 * i));
        }
        put(text, "\n", 1);
        put(text, (const char *)size, sizeof size);
    }
    put(text, value, len);
    put(text, "\n", 1);
}

static void put_fields(struct text *text, va_list pairs)
{
    const char *key;
    while ((key = va_arg(pairs, const char *)) != NULL) {
        const char *value = va_arg(pairs, const char *);
        char name[JOURNAL_FIELD_MAX + 1];
        int len = snprintf(name, sizeof name, "FAILOVER_%s", key);
        for (int i = 0; i < len && name[i] != '\0'; i++) {
            unsigned char c = (unsigned char)name[i];
            name[i] = isalnum(c) ? (char)toupper(c) : '_';
        }
        put_field(text, name, value != NULL ? value : "", value != NULL ? strlen(value) : 0);
    }
}

/*
 * libsystemd's sd_journal_sendv() blocks while journald does not read, which must never stop the
 * loop; so the datagram is sent from here, without waiting.
 */
static bool send_journal(const char *entry, size_t len)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
    ssize_t n;
    do {
        n = sendto(the.fd, entry, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
                   sizeof address);
    } while (n < 0 && errno == EINTR);
    return n >= 0;
}

static bool write_line(const char *line, size_t len)
{
    if (the.way == WAY_POLLED) {
        struct pollfd ready = {.fd = the.fd, .events = POLLOUT};
        if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) {
            return false;
        }
    }
    ssize_t n;
    do {
        n = the.way == WAY_SOCKET ? send(the.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : write(the.fd, line, len);
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)len;
}

static bool emit_journal(enum log_level level, const char *message, va_list pairs)
{
    char bytes[ENTRY_MAX_BYTES];
    struct text entry = {.at = bytes, .size = sizeof bytes};
    char line[LINE_MAX_BYTES];
    struct text shown = {.at = line, .size = sizeof line};
    va_list again;
    va_copy(again, pairs);
    put_escaped(&shown, message, false);
    put_pairs(&shown, again);
    va_end(again);
    char priority[4];
    int priority_len = snprintf(priority, sizeof priority, "%d", level_priorities[level]);
    put_field(&entry, "MESSAGE", line, shown.len);
    put_field(&entry, "PRIORITY", priority, (size_t)priority_len);
    put_field(&entry, "SYSLOG_IDENTIFIER", the.program, strlen(the.program));
    size_t least = entry.len;
    put_fields(&entry, pairs);
    /* The message holds the pairs too, so what does not fit as fields is not lost. */
    return send_journal(bytes, entry.cut ? least : entry.len);
}

static bool emit_line(enum log_level level, const char *message, va_list pairs)
{
    static const char cut_mark[] = "...\n";
    char bytes[LINE_MAX_BYTES];
    struct text line = {.at = bytes, .size = sizeof bytes - sizeof cut_mark};
    char time[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(clock_wall_ms(), time);
    put_text(&line, time);
    put(&line, " ", 1);
    put_text(&line, level_names[level]);
    put(&line, " ", 1);
    put_escaped(&line, message, false);
    put_pairs(&line, pairs);
    line.size = sizeof bytes;
    put_text(&line, line.cut ? cut_mark : "\n");
    return write_line(bytes, line.len);
}

static bool emit(enum log_level level, const char *message, ...) __attribute__((sentinel));

static bool emit_pairs(enum log_level level, const char *message, va_list pairs)
{
    return the.way == WAY_JOURNAL ? emit_journal(level, message, pairs)
                                  : emit_line(level, message, pairs);
}

static bool emit(enum log_level level, const char *message, ...)
{
    va_list pairs;
    va_start(pairs, message);
    bool sent = emit_pairs(level, message, pairs);
    va_end(pairs);
    return sent;
}

static void tell_dropped(void)
{
    char count[24];
    snprintf(count, sizeof count, "%" PRIu64, the.dropped_unsaid);
    if (emit(LOG_LEVEL_WARN, "log lines were dropped", "count", count, NULL)) {
        the.dropped_unsaid = 0;
    }
}

void log_line(enum log_level level, const char *message, ...)
{
    if (level > the.least) {
        return;
    }
    int saved_errno = errno;
    if (the.dropped_unsaid > 0) {
        tell_dropped();
    }
    va_list pairs;
    va_start(pairs, message);
    if (!emit_pairs(level, message, pairs)) {
        the.dropped++;
        the.dropped_unsaid++;
    }
    va_end(pairs);
    errno = saved_errno;
}

uint64_t log_dropped(void)
{
    return the.dropped;
}

/* systemd names the device and inode of the stream that it connected; stderr may be another. */
static bool is_journal_stream(const struct stat *st)
{
    const char *named = getenv("JOURNAL_STREAM");
    char ours[48];
    snprintf(ours, sizeof ours, "%ju:%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino);
    return named != NULL && strcmp(named, ours) == 0;
}

static void choose_way(void)
{
    struct stat st;
    the.fd = STDERR_FILENO;
    the.way = WAY_FILE;
    if (fstat(STDERR_FILENO, &st) < 0) {
        return;
    }
    if (S_ISSOCK(st.st_mode)) {
        int fd = is_journal_stream(&st) ? socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;
        the.way = fd >= 0 ? WAY_JOURNAL : WAY_SOCKET;
        the.fd = fd >= 0 ? fd : STDERR_FILENO;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        /*
         * O_NONBLOCK belongs to the open file, which a shell may share with us: so we open our own.
         * Where that is not allowed (another user's terminal), poll(2) is asked before each line.
         */
        int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        the.way = fd >= 0 ? WAY_NONBLOCKING : WAY_POLLED;
        the.fd = fd >= 0 ? fd : STDERR_FILENO;
    }
}

void log_init(const char *program, enum log_level least)
{
    if (the.fd != STDERR_FILENO) {
        close(the.fd);
    }
    the.program = program;
    the.least = least;
    choose_way();
}
