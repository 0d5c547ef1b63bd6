/*
 * real_haproxy.c - scripts on real HAProxys. A child answers as each of the three servers.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "tests/conformance/conformance.h"

#define PROXIES    2
#define SESSIONS   4
#define FRONT_PORT 7001
#define BACK_PORT  7101
#define LIMIT_MS   10000

static char dir[64];
static pid_t servers;
static pid_t proxies[PROXIES];
static pid_t before[PROXIES]; /* that a reload has left to its sessions */
static int sessions[SESSIONS];

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* ---- servers ---- */

static int serve(int port)
{
    struct sockaddr_in address = loopback(port);
    int yes = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 16) != 0) {
        _exit(1);
    }
    return fd;
}

/* Each byte is answered by the server's number. */
static void be_servers(void) __attribute__((noreturn));

static void be_servers(void)
{
    struct pollfd fds[64];
    char names[64];
    int len = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (; len < SCRIPT_NODES; len++) {
        fds[len] = (struct pollfd){.fd = serve(BACK_PORT + len), .events = POLLIN};
        names[len] = (char)('1' + len);
    }
    for (;;) {
        poll(fds, (nfds_t)len, -1);
        for (int i = 0; i < len; i++) {
            char byte;
            if (fds[i].revents == 0) {
                continue;
            }
            if (i < SCRIPT_NODES && len < 64) {
                fds[len] = (struct pollfd){.fd = accept4(fds[i].fd, NULL, NULL, SOCK_CLOEXEC),
                                           .events = POLLIN};
                names[len++] = names[i];
            } else if (read(fds[i].fd, &byte, 1) == 1) {
                send(fds[i].fd, &names[i], 1, MSG_NOSIGNAL);
            } else {
                close(fds[i].fd);
                fds[i].fd = -1;
            }
        }
    }
}

/* ---- proxies ---- */

static void socket_path(int p, char ret_path[96])
{
    snprintf(ret_path, 96, "%s/p%d.sock", dir, p + 1);
}

static bool tell(int p, const char *command, char *ret_answer, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[96];
    size_t len = 0;
    ssize_t got;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socket_path(p, path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return false;
    }
    send(fd, command, strlen(command), MSG_NOSIGNAL);
    send(fd, "\n", 1, MSG_NOSIGNAL);
    while (len < size - 1 && (got = read(fd, ret_answer + len, size - 1 - len)) > 0) {
        len += (size_t)got;
    }
    ret_answer[len] = '\0';
    close(fd);
    return len > 0;
}

static void command(int p, const char *verb, int server)
{
    char text[96];
    char answer[1024];
    snprintf(text, sizeof text, "%s payments/a%d", verb, server + 1);
    tell(p, text, answer, sizeof answer);
}

/* Its file opens the first server. */
static void write_file(int p)
{
    char path[96];
    char sock[96];
    snprintf(path, sizeof path, "%s/p%d.cfg", dir, p + 1);
    socket_path(p, sock);
    FILE *out = fopen(path, "we");
    if (out == NULL) {
        perror(path);
        exit(2);
    }
    fprintf(out,
            "global\n  stats socket %s mode 600 level admin expose-fd listeners\n"
            "defaults\n  mode tcp\n  timeout connect 500ms\n  timeout queue 100ms\n"
            "  timeout client 1h\n  timeout server 1h\n  retries 0\n"
            "frontend front\n  bind 127.0.0.1:%d\n  default_backend payments\n"
            "backend payments\n",
            sock, FRONT_PORT + p);
    for (int n = 0; n < SCRIPT_NODES; n++) {
        fprintf(out, "  server a%d 127.0.0.1:%d%s\n", n + 1, BACK_PORT + n,
                n == 0 ? "" : " disabled");
    }
    fclose(out);
}

static pid_t spawn(int p, pid_t old)
{
    char path[96];
    char pid[16];
    char sock[96];
    snprintf(path, sizeof path, "%s/p%d.cfg", dir, p + 1);
    snprintf(pid, sizeof pid, "%d", (int)old);
    socket_path(p, sock);
    pid_t child = fork();
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(null, 1);
        dup2(null, 2);
        if (old > 0) {
            execlp("haproxy", "haproxy", "-db", "-f", path, "-x", sock, "-sf", pid, (char *)NULL);
        } else {
            execlp("haproxy", "haproxy", "-db", "-f", path, (char *)NULL);
        }
        _exit(127);
    }
    return child;
}

/* The process that answers on the socket is this one. */
static void await_proxy(int p)
{
    char answer[4096];
    char wanted[32];
    uint64_t until_ms = clock_now_ms() + LIMIT_MS;
    snprintf(wanted, sizeof wanted, "Pid: %d\n", (int)proxies[p]);
    while (clock_now_ms() < until_ms) {
        if (tell(p, "show info", answer, sizeof answer) && strstr(answer, wanted) != NULL) {
            return;
        }
        pause_ms(10);
    }
    fprintf(stderr, "conformance: HAProxy does not answer\n");
}

static void end_process(pid_t *pid)
{
    if (*pid > 0) {
        kill(*pid, SIGKILL);
        waitpid(*pid, NULL, 0);
        *pid = 0;
    }
}

static void start_proxy(int p)
{
    if (proxies[p] == 0) {
        write_file(p);
        proxies[p] = spawn(p, 0);
        await_proxy(p);
    }
}

static void reload(int p)
{
    end_process(&before[p]);
    before[p] = proxies[p];
    proxies[p] = spawn(p, before[p]);
    await_proxy(p);
}

static void close_side(int p, int server)
{
    command(p, "disable server", server);
    command(p, "shutdown sessions server", server);
}

/* Bit 4 tells that its file disables it, also when it has been enabled since. */
static void say_state(int p, struct says *ret_says)
{
    char answer[8192];
    char *rest = answer;
    int open = 0;
    tell(p, "show servers state payments", answer, sizeof answer);
    for (char *line; (line = strtok_r(NULL, "\n", &rest)) != NULL;) {
        char name[16];
        unsigned admin;
        if (sscanf(line, "%*d payments %*d %15s %*s %*d %u", name, &admin) == 2 &&
            (admin & ~4U) == 0) {
            say(ret_says, "p%d sends to %s", p + 1, name);
            open++;
        }
    }
    if (open == 0) {
        say(ret_says, "p%d sends to nobody", p + 1);
    }
}

/* ---- sessions ---- */

static void ask_over(int s, struct says *ret_says)
{
    struct pollfd fd = {.fd = sessions[s], .events = POLLIN};
    char server = 0;
    bool sent = send(sessions[s], "?", 1, MSG_NOSIGNAL) == 1;
    if (sent && poll(&fd, 1, LIMIT_MS) == 1 && read(sessions[s], &server, 1) == 1) {
        say(ret_says, "s%d reaches a%c", s + 1, server);
    } else {
        say(ret_says, "s%d reaches nobody", s + 1);
    }
}

static bool has_ended(int s)
{
    struct pollfd fd = {.fd = sessions[s], .events = POLLIN};
    return poll(&fd, 1, 300) == 1;
}

static void open_session(int s, int p, struct says *ret_says)
{
    struct sockaddr_in address = loopback(FRONT_PORT + p);
    if (sessions[s] > 0) {
        close(sessions[s]);
    }
    sessions[s] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(sessions[s], (struct sockaddr *)&address, sizeof address) != 0) {
        say(ret_says, "s%d reaches nobody", s + 1);
        return;
    }
    ask_over(s, ret_says);
}

void real_haproxy(const struct words *words, struct says *ret_says)
{
    for (int p = 0; p < PROXIES; p++) {
        start_proxy(p);
    }
    if (word_is(words, 1, "session")) {
        open_session(word_number(words, 2, 's'), word_number(words, 3, 'p'), ret_says);
        return;
    }
    if (word_is(words, 1, "ask")) {
        int s = word_number(words, 2, 's');
        if (has_ended(s)) {
            say(ret_says, "s%d has ended", s + 1);
        } else {
            ask_over(s, ret_says);
        }
        return;
    }
    int p = word_number(words, 2, 'p');
    if (word_is(words, 1, "open") || word_is(words, 1, "close")) {
        int to = word_is(words, 1, "open") ? word_number(words, 3, 'a') : -1;
        for (int n = 0; n < SCRIPT_NODES; n++) {
            if (n != to) {
                close_side(p, n);
            }
        }
        if (to >= 0) {
            command(p, "enable server", to);
        }
    } else if (word_is(words, 1, "enable")) {
        command(p, "enable server", word_number(words, 3, 'a'));
    } else if (word_is(words, 1, "disable")) {
        command(p, "disable server", word_number(words, 3, 'a'));
    } else if (word_is(words, 1, "restart")) {
        end_process(&proxies[p]);
        start_proxy(p);
    } else if (word_is(words, 1, "reload")) {
        reload(p);
    } else if (word_is(words, 1, "state")) {
        say_state(p, ret_says);
    } else {
        say(ret_says, "? there is no \"%s\"", words->line);
    }
}

void real_haproxy_open(const char *in)
{
    snprintf(dir, sizeof dir, "%s", in);
    servers = fork();
    if (servers == 0) {
        be_servers();
    }
}

void real_haproxy_end(void)
{
    for (int s = 0; s < SESSIONS; s++) {
        if (sessions[s] > 0) {
            close(sessions[s]);
        }
        sessions[s] = 0;
    }
    for (int p = 0; p < PROXIES; p++) {
        end_process(&proxies[p]);
        end_process(&before[p]);
    }
}

void real_haproxy_close(void)
{
    real_haproxy_end();
    end_process(&servers);
}
