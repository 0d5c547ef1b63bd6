/* The log: its lines, what it does when nobody reads, and its journal fields. */
#include <fcntl.h>
#include <regex.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/log.h"

#define TIME "20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "

static int real_stderr = -1;
static int reading = -1; /* the other end of what stderr is now */
static char got[1 << 20];
static size_t got_len;

static void put_back(void)
{
    dup2(real_stderr, STDERR_FILENO);
    log_init("test", LOG_LEVEL_INFO);
}

static int set_up(void **state)
{
    (void)state;
    real_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 100);
    return real_stderr < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    /* What this test dropped is told to nobody, so that the next begins with nothing to tell. */
    int nobody = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(nobody, STDERR_FILENO);
    close(nobody);
    log_init("test", LOG_LEVEL_INFO);
    log_line(LOG_LEVEL_INFO, "over", NULL);
    put_back();
    close(real_stderr);
    if (reading >= 0) {
        close(reading);
        reading = -1;
    }
    return 0;
}

static void stderr_becomes(int fd, int other)
{
    dup2(fd, STDERR_FILENO);
    close(fd);
    reading = other;
    fcntl(reading, F_SETFL, O_NONBLOCK);
}

static void stderr_becomes_a_pipe(void)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    stderr_becomes(fds[1], fds[0]);
}

static void stderr_becomes_a_socket(void)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    stderr_becomes(fds[1], fds[0]);
}

/* What has been written; a write to a pipe of our own is there at once. */
static const char *written(void)
{
    got_len = 0;
    ssize_t n;
    while ((n = read(reading, got + got_len, sizeof got - 1 - got_len)) > 0) {
        got_len += (size_t)n;
    }
    got[got_len] = '\0';
    return got;
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int rc = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    if (rc != 0) {
        fail_msg("\"%s\" does not match %s", text, pattern);
    }
}

static void a_line_has_time_level_message_and_pairs(void **state)
{
    (void)state;
    stderr_becomes_a_pipe();
    log_init("test", LOG_LEVEL_INFO);
    log_line(LOG_LEVEL_INFO, "leadership gained", "term", "41", "controller", "ops1", NULL);
    written();
    put_back();
    expect_match(got, "^" TIME "info leadership gained term=41 controller=ops1\n$");
}

static void a_value_with_blanks_quotes_or_controls_is_quoted_and_stays_on_its_line(void **state)
{
    (void)state;
    stderr_becomes_a_pipe();
    log_init("test", LOG_LEVEL_INFO);
    log_line(LOG_LEVEL_WARN, "two\nlines", "a", "x y", "b", "say \"no\"", "c", "1\n2\033[m", "d",
             "", "e", "back\\slash", "f", NULL, "g", "k=v", "h", "\xc3\xa4", "i",
             "\xc2\x9b"
             "2J\xff",
             NULL);
    written();
    put_back();
    const char *line = strstr(got, "warn ");
    assert_non_null(line);
    assert_string_equal(line, "warn two\\nlines a=\"x y\" b=\"say \\\"no\\\"\" c=\"1\\n2\\x1b[m\" "
                              "d=\"\" e=\"back\\\\slash\" f=\"\" g=\"k=v\" h=\xc3\xa4 "
                              "i=\"\\xc2\\x9b2J\\xff\"\n");
}

static void levels_above_the_least_are_silent(void **state)
{
    (void)state;
    stderr_becomes_a_pipe();
    log_init("test", LOG_LEVEL_WARN);
    log_line(LOG_LEVEL_INFO, "no", NULL);
    log_line(LOG_LEVEL_DEBUG, "no", NULL);
    log_line(LOG_LEVEL_WARN, "yes", NULL);
    log_line(LOG_LEVEL_ERROR, "yes", NULL);
    written();
    put_back();
    assert_null(strstr(got, "no\n"));
    expect_match(got, "^" TIME "warn yes\n" TIME "error yes\n$");
}

static void a_line_too_long_is_cut_and_ended(void **state)
{
    (void)state;
    static char value[100000];
    memset(value, 'v', sizeof value - 1);
    stderr_becomes_a_pipe();
    log_init("test", LOG_LEVEL_INFO);
    log_line(LOG_LEVEL_INFO, "long", "value", value, NULL);
    written();
    put_back();
    assert_true(got_len <= 4096);
    assert_string_equal(got + got_len - 5, "v...\n");
}

/* The sum of what the log told about dropped lines. */
static uint64_t told(const char *text)
{
    static const char mark[] = "log lines were dropped count=";
    uint64_t sum = 0;
    while ((text = strstr(text, mark)) != NULL) {
        text += sizeof mark - 1;
        sum += strtoull(text, NULL, 10);
    }
    return sum;
}

/* Writes until it is full, lets three more lines go, reads all, and writes one more. */
static void fill_and_empty(void)
{
    log_init("test", LOG_LEVEL_INFO);
    uint64_t before = log_dropped();
    char value[1000];
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 100000 && log_dropped() - before < 3; i++) {
        log_line(LOG_LEVEL_INFO, "filling", "value", value, NULL);
    }
    uint64_t dropped = log_dropped() - before;
    uint64_t sum = told(written());
    bool whole_lines = got_len > 0 && got[got_len - 1] == '\n';
    log_line(LOG_LEVEL_INFO, "after", NULL);
    log_line(LOG_LEVEL_INFO, "after that", NULL);
    written();
    put_back();
    assert_int_equal(dropped, 3);
    assert_true(whole_lines);
    assert_true(sum < 3); /* a short line may find room where a long one did not */
    assert_int_equal(sum + told(got), 3);
    expect_match(got, "^" TIME "warn log lines were dropped count=[1-3]\n" TIME "info after\n" TIME
                      "info after that\n$");
}

static void a_pipe_that_nobody_reads_drops_lines_and_tells_how_many_once_it_can(void **state)
{
    (void)state;
    stderr_becomes_a_pipe();
    fill_and_empty();
}

static void the_pipe_stays_blocking_for_those_who_share_it(void **state)
{
    (void)state;
    stderr_becomes_a_pipe();
    log_init("test", LOG_LEVEL_INFO);
    int flags = fcntl(STDERR_FILENO, F_GETFL);
    put_back();
    assert_int_equal(flags & O_NONBLOCK, 0);
}

static void a_socket_that_nobody_reads_blocks_nothing(void **state)
{
    (void)state;
    stderr_becomes_a_socket();
    log_init("test", LOG_LEVEL_INFO);
    uint64_t before = log_dropped();
    for (int i = 0; i < 100000 && log_dropped() == before; i++) {
        log_line(LOG_LEVEL_INFO, "filling and filling and filling it", NULL);
    }
    bool dropped = log_dropped() > before;
    written();
    log_line(LOG_LEVEL_INFO, "after", NULL);
    written();
    put_back();
    assert_true(dropped);
    expect_match(got, "^" TIME "warn log lines were dropped count=1\n" TIME "info after\n$");
}

static void a_reader_that_left_is_survived(void **state)
{
    (void)state;
    stderr_becomes_a_socket();
    close(reading);
    reading = -1;
    log_init("test", LOG_LEVEL_INFO);
    uint64_t before = log_dropped();
    log_line(LOG_LEVEL_INFO, "to nobody", NULL);
    put_back();
    assert_true(log_dropped() > before);
}

static void a_file_is_appended_to(void **state)
{
    (void)state;
    char path[] = "/tmp/test_log.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    stderr_becomes(open(path, O_WRONLY | O_APPEND | O_CLOEXEC), fd);
    log_init("test", LOG_LEVEL_INFO);
    log_line(LOG_LEVEL_INFO, "one", NULL);
    log_line(LOG_LEVEL_INFO, "two", NULL);
    written();
    put_back();
    unlink(path);
    expect_match(got, "^" TIME "info one\n" TIME "info two\n$");
}

/* ---- the journal, with a /run of our own where we are its daemon ---- */

static int be_journald(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/run", "tmpfs", 0, NULL) < 0) {
        return -1;
    }
    mkdir("/run/systemd", 0755);
    mkdir("/run/systemd/journal", 0755);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -1 : fd;
}

static void name_stderr_as_journal_stream(void)
{
    struct stat st;
    char name[64];
    fstat(STDERR_FILENO, &st);
    snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
}

/* In a process of its own: one entry, then as many as find room; writes what came to `out`. */
static void log_to_journal(int out)
{
    int journal = be_journald();
    if (journal < 0) {
        _exit(77);
    }
    stderr_becomes_a_socket();
    name_stderr_as_journal_stream();
    log_init("failoverd", LOG_LEVEL_INFO);
    log_line(LOG_LEVEL_WARN, "fence refused", "node", "db1", "fence-agent", "a\nb", NULL);
    char entry[4096];
    ssize_t n = recv(journal, entry, sizeof entry, 0);
    uint64_t before = log_dropped();
    for (int i = 0; i < 100000 && log_dropped() == before; i++) {
        log_line(LOG_LEVEL_INFO, "filling", NULL);
    }
    bool stream_is_untouched = written()[0] == '\0';
    _exit(n > 0 && write(out, entry, (size_t)n) == n && log_dropped() == before + 1 &&
                  stream_is_untouched
              ? 0
              : 1);
}

static void pairs_become_journal_fields_and_a_full_journal_blocks_nothing(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        skip();
    }
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        log_to_journal(fds[1]);
    }
    close(fds[1]);
    char entry[4096] = "";
    ssize_t n = read(fds[0], entry, sizeof entry - 1);
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        skip(); /* no mounts here */
    }
    assert_int_equal(WEXITSTATUS(status), 0);
    static const char expected[] = "MESSAGE=fence refused node=db1 fence-agent=\"a\\nb\"\n"
                                   "PRIORITY=4\n"
                                   "SYSLOG_IDENTIFIER=failoverd\n"
                                   "FAILOVER_NODE=db1\n"
                                   "FAILOVER_FENCE_AGENT\n\3\0\0\0\0\0\0\0a\nb\n";
    assert_int_equal(n, sizeof expected - 1);
    assert_memory_equal(entry, expected, sizeof expected - 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_line_has_time_level_message_and_pairs),
        TEST(a_value_with_blanks_quotes_or_controls_is_quoted_and_stays_on_its_line),
        TEST(levels_above_the_least_are_silent),
        TEST(a_line_too_long_is_cut_and_ended),
        TEST(a_pipe_that_nobody_reads_drops_lines_and_tells_how_many_once_it_can),
        TEST(the_pipe_stays_blocking_for_those_who_share_it),
        TEST(a_socket_that_nobody_reads_blocks_nothing),
        TEST(a_reader_that_left_is_survived),
        TEST(a_file_is_appended_to),
        TEST(pairs_become_journal_fields_and_a_full_journal_blocks_nothing),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
