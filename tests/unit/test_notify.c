/* What systemd is told by the real failoverd, seen at the other end of a notification socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <libgen.h>
#include <poll.h>
#include <sys/un.h>

#include "tests/unit/etcd_fixture.h"

#define WITHIN_MS    30000
#define MESSAGE_SIZE 2048
#define LOG_SIZE     65536
#define NO_ETCD      "http://127.0.0.1:1" /* nobody listens there */
#define WATCHDOG_US  "2000000"
#define WATCHDOG_MS  2000

struct service {
    char dir[64];
    int socket; /* where its messages arrive */
    pid_t pid;
    int status; /* of its end */
};

/* ---- the service ---- */

static void write_file(const struct service *service, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", service->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void write_local(const struct service *service, const char *etcd, const char *more)
{
    char text[1024];
    snprintf(text, sizeof text,
             "id: ops1\ncluster: shop\netcd: { endpoints: [\"%s\"] }\n"
             "listen: { socket: %s/failoverd.sock }\n%s",
             etcd, service->dir, more);
    write_file(service, "local.yaml", text);
}

static void open_socket(struct service *service)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", service->dir);
    service->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(service->socket >= 0);
    assert_int_equal(bind(service->socket, (struct sockaddr *)&address, sizeof address), 0);
}

static void become_failoverd(const struct service *service, bool watched)
{
    char self[256];
    char program[300];
    char config[128];
    char notify[128];
    char log_path[128];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) {
        _exit(126);
    }
    self[len] = '\0';
    snprintf(program, sizeof program, "%s/../failoverd", dirname(self));
    snprintf(config, sizeof config, "%s/local.yaml", service->dir);
    snprintf(notify, sizeof notify, "%s/notify", service->dir);
    snprintf(log_path, sizeof log_path, "%s/log", service->dir);
    setenv("NOTIFY_SOCKET", notify, 1);
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    if (watched) {
        setenv("WATCHDOG_USEC", WATCHDOG_US, 1);
    }
    fixture_exec((const char *const[]){program, "--config", config, NULL}, log_path);
}

static void start(struct service *service, const char *etcd, bool watched)
{
    *service = (struct service){.dir = "/tmp/notify-XXXXXX"};
    assert_non_null(mkdtemp(service->dir));
    write_local(service, etcd, "");
    open_socket(service);
    service->pid = fork();
    assert_true(service->pid >= 0);
    if (service->pid == 0) {
        become_failoverd(service, watched);
    }
}

static bool has_ended(struct service *service)
{
    if (service->pid > 0 && waitpid(service->pid, &service->status, WNOHANG) == service->pid) {
        service->pid = 0;
    }
    return service->pid == 0;
}

static void end(struct service *service)
{
    if (!has_ended(service)) {
        kill(service->pid, SIGKILL);
        waitpid(service->pid, NULL, 0);
    }
    close(service->socket);
    nftw(service->dir, fixture_remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void read_log(const struct service *service, char ret_text[LOG_SIZE])
{
    char path[128];
    snprintf(path, sizeof path, "%s/log", service->dir);
    FILE *file = fopen(path, "re");
    size_t len = file != NULL ? fread(ret_text, 1, LOG_SIZE - 1, file) : 0;
    ret_text[len] = '\0';
    if (file != NULL) {
        fclose(file);
    }
}

/* ---- its messages ---- */

/* The next one, waited for that long; false: none came. */
static bool receive(struct service *service, uint64_t within_ms, char ret_text[MESSAGE_SIZE])
{
    struct pollfd wait = {.fd = service->socket, .events = POLLIN};
    ssize_t len = -1;
    if (poll(&wait, 1, (int)within_ms) == 1) {
        len = recv(service->socket, ret_text, MESSAGE_SIZE - 1, 0);
    }
    ret_text[len > 0 ? len : 0] = '\0';
    return len > 0;
}

/* Passes over messages until one begins so. */
static void expect(struct service *service, const char *begin, char ret_text[MESSAGE_SIZE])
{
    uint64_t until = clock_now_ms() + WITHIN_MS;
    while (clock_now_ms() < until) {
        if (receive(service, 200, ret_text) && strncmp(ret_text, begin, strlen(begin)) == 0) {
            return;
        }
        if (has_ended(service)) {
            break;
        }
    }
    char log[LOG_SIZE];
    read_log(service, log);
    fail_msg("no message \"%s\" came; its log:\n%s", begin, log);
}

static void expect_status(struct service *service, const char *part)
{
    char text[MESSAGE_SIZE];
    do {
        expect(service, "STATUS=", text);
    } while (strstr(text, part) == NULL);
}

static void wait_for_log(struct service *service, const char *part)
{
    char log[LOG_SIZE];
    uint64_t until = clock_now_ms() + WITHIN_MS;
    do {
        read_log(service, log);
        if (strstr(log, part) != NULL) {
            return;
        }
        usleep(20000);
    } while (clock_now_ms() < until);
    fail_msg("the log does not say \"%s\":\n%s", part, log);
}

static void wait_for_the_end(struct service *service)
{
    uint64_t until = clock_now_ms() + WITHIN_MS;
    while (!has_ended(service) && clock_now_ms() < until) {
        usleep(10000);
    }
    assert_int_equal(service->pid, 0);
}

/* ---- the tests ---- */

static void without_an_etcd_it_is_ready_once_its_socket_serves(void **state)
{
    (void)state;
    struct service service;
    char text[MESSAGE_SIZE];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    start(&service, NO_ETCD, false);
    do { /* nothing but its state is told before */
        expect(&service, "", text);
    } while (strncmp(text, "STATUS=", 7) == 0);
    assert_string_equal(text, "READY=1");
    snprintf(address.sun_path, sizeof address.sun_path, "%s/failoverd.sock", service.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    end(&service);
}

static void an_etcd_that_never_answers_does_not_keep_it_from_being_ready(void **state)
{
    (void)state;
    struct service service;
    char text[MESSAGE_SIZE];
    char url[64];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(silent, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(silent, 16), 0);
    assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &len), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
    start(&service, url, false);
    expect_status(&service, "etcd has not been read yet");
    expect(&service, "READY=1", text);
    end(&service);
    close(silent);
}

static void the_status_says_who_leads_and_what_is_missing(void **state)
{
    (void)state;
    struct etcd_fixture etcd = {0};
    struct service service;
    char text[MESSAGE_SIZE];
    fixture_start(&etcd, 1);
    start(&service, etcd.urls[0], false);
    expect(&service, "READY=1", text);
    expect_status(&service, "leads (term ");
    kill(service.pid, SIGTERM);
    expect(&service, "STOPPING=1\n", text);
    assert_non_null(strstr(text, "STATUS=stopping"));
    wait_for_the_end(&service);
    assert_true(WIFEXITED(service.status) && WEXITSTATUS(service.status) == 0);
    assert_false(receive(&service, 0, text)); /* nothing is told after it */
    end(&service);
    fixture_end(&etcd);
}

static void the_watchdog_is_fed_while_the_loop_turns_and_by_nothing_else(void **state)
{
    (void)state;
    struct service service;
    char text[MESSAGE_SIZE];
    start(&service, NO_ETCD, true);
    expect(&service, "READY=1", text);
    expect(&service, "WATCHDOG=1", text);
    expect(&service, "WATCHDOG=1", text);
    kill(service.pid, SIGSTOP);
    assert_int_equal(waitpid(service.pid, &service.status, WUNTRACED), service.pid);
    assert_true(WIFSTOPPED(service.status));
    while (receive(&service, 0, text)) { /* what it had sent before */
    }
    assert_false(receive(&service, WATCHDOG_MS + 1000, text));
    kill(service.pid, SIGCONT);
    expect(&service, "WATCHDOG=1", text);
    end(&service);
}

static void nobody_is_fed_who_does_not_watch(void **state)
{
    (void)state;
    struct service service;
    char text[MESSAGE_SIZE];
    start(&service, NO_ETCD, false);
    expect(&service, "READY=1", text);
    for (uint64_t until = clock_now_ms() + WATCHDOG_MS; clock_now_ms() < until;) {
        if (receive(&service, 100, text)) {
            assert_null(strstr(text, "WATCHDOG"));
        }
    }
    end(&service);
}

static void a_reload_is_told_from_its_begin_to_its_end(void **state)
{
    (void)state;
    struct service service;
    char text[MESSAGE_SIZE];
    start(&service, NO_ETCD, false);
    expect(&service, "READY=1", text);
    write_local(&service, "http://127.0.0.1:2", "commands: { oncall: [/bin/true] }\n");
    kill(service.pid, SIGHUP);
    expect(&service, "RELOADING=1", text);
    expect(&service, "READY=1", text);
    wait_for_log(&service, "its commands and secrets count now");
    wait_for_log(&service, "etcd's endpoints of the local file count now");
    assert_false(has_ended(&service));
    end(&service);
}

static void a_local_file_with_a_mistake_is_not_taken_and_ends_nothing(void **state)
{
    (void)state;
    struct service service;
    char text[MESSAGE_SIZE];
    start(&service, NO_ETCD, false);
    expect(&service, "READY=1", text);
    write_local(&service, NO_ETCD, "comands: {}\n");
    kill(service.pid, SIGHUP);
    expect(&service, "RELOADING=1", text);
    expect(&service, "READY=1", text);
    wait_for_log(&service, "the old one still counts");
    wait_for_log(&service, "comands");
    kill(service.pid, SIGTERM);
    expect(&service, "STOPPING=1", text);
    wait_for_the_end(&service);
    assert_true(WIFEXITED(service.status) && WEXITSTATUS(service.status) == 0);
    end(&service);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_an_etcd_it_is_ready_once_its_socket_serves),
        cmocka_unit_test(an_etcd_that_never_answers_does_not_keep_it_from_being_ready),
        cmocka_unit_test(the_status_says_who_leads_and_what_is_missing),
        cmocka_unit_test(the_watchdog_is_fed_while_the_loop_turns_and_by_nothing_else),
        cmocka_unit_test(nobody_is_fed_who_does_not_watch),
        cmocka_unit_test(a_reload_is_told_from_its_begin_to_its_end),
        cmocka_unit_test(a_local_file_with_a_mistake_is_not_taken_and_ends_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
