/*
 * watchdog - a watchdog for a "node" of the sandbox and of tests: it kills all of the node's
 * processes when it is not fed (fence/guard/watchdog.c is what feeds it).
 *
 *   watchdog SOCKET CGROUP      it must itself run outside of that cgroup
 *
 * As the kernel's: it begins to count when its period is set ("T2000", answered by the period that
 * it has), counts anew when fed ("F"), stops by the letter V alone, and goes on counting when who
 * fed it is gone. It prints a line when it fires, and ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static bool put(const char *directory, const char *name, const char *text)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_WRONLY);
    bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) {
        close(fd);
    }
    return written;
}

/* Without cgroup.kill (version 1): those of it and of the cgroups below it, until none is left. */
static void kill_each(const char *cgroup)
{
    char command[1400];
    snprintf(command, sizeof command,
             "for n in 1 2 3; do echo FROZEN >'%s/freezer.state' 2>/dev/null; "
             "find '%s' -name cgroup.procs -exec cat {} + | xargs -r kill -9; "
             "echo THAWED >'%s/freezer.state' 2>/dev/null; done",
             cgroup, cgroup, cgroup);
    (void)!system(command); /* NOLINT: the path is this program's own argument */
}

static void fire(const char *cgroup)
{
    printf("not fed: every process of %s is killed\n", cgroup);
    (void)fflush(stdout);
    if (!put(cgroup, "cgroup.kill", "1")) {
        kill_each(cgroup);
    }
    exit(EXIT_SUCCESS);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.*s", (int)sizeof address.sun_path - 1,
             path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4) < 0) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: watchdog SOCKET CGROUP\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int door = listen_at(argv[1]);
    int client = -1;
    int64_t period_ms = 0, deadline_ms = 0;
    for (;;) {
        struct pollfd polled[2] = {{door, POLLIN, 0}, {client, POLLIN, 0}};
        int64_t left_ms = period_ms != 0 ? deadline_ms - now_ms() : -1;
        if (period_ms != 0 && left_ms <= 0) {
            fire(argv[2]);
        }
        poll(polled, 2, (int)left_ms);
        if ((polled[0].revents & POLLIN) != 0) {
            if (client >= 0) {
                close(client);
            }
            client = accept(door, NULL, NULL);
            continue;
        }
        if (client < 0 || polled[1].revents == 0) {
            continue;
        }
        char text[32];
        ssize_t len = recv(client, text, sizeof text - 1, MSG_DONTWAIT);
        text[len > 0 ? len : 0] = '\0';
        if (len == 0 || (len < 0 && errno != EAGAIN)) {
            close(client); /* it goes on counting */
            client = -1;
        } else if (text[0] == 'T') {
            period_ms = strtol(text + 1, NULL, 10);
            deadline_ms = now_ms() + period_ms;
            (void)!send(client, text, (size_t)len, MSG_NOSIGNAL);
        } else if (text[0] == 'F' && period_ms != 0) {
            deadline_ms = now_ms() + period_ms;
        } else if (text[0] == 'V') {
            period_ms = 0;
        }
    }
}
