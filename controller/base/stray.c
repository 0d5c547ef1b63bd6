#include "controller/base/stray.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "controller/base/clock.h"

#define ROUNDS_MAX    8          /* one that forks faster than it is ended would keep us here */
#define ENVIRON_BYTES (32 << 10) /* a child's own is far shorter, and a stray's begins with it */

void stray_mark(char mark[STRAY_MARK_SIZE])
{
    static unsigned counter;
    /* A process number comes back, but not at the same time of the same boot. */
    snprintf(mark, STRAY_MARK_SIZE, "FAILOVER_CHILD=%ld.%llu.%u", (long)getpid(),
             (unsigned long long)clock_now_ms(), ++counter);
}

static bool carries(int proc, const char *pid, const char *mark)
{
    char path[64];
    static char environ_of[ENVIRON_BYTES];
    snprintf(path, sizeof path, "%.20s/environ", pid);
    int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false; /* it is gone, or another user's */
    }
    ssize_t len = read(fd, environ_of, sizeof environ_of - 1);
    close(fd);
    environ_of[len > 0 ? len : 0] = '\0';
    for (ssize_t at = 0; at < len;
         at += (ssize_t)strnlen(environ_of + at, (size_t)(len - at)) + 1) {
        if (strcmp(environ_of + at, mark) == 0) {
            return true;
        }
    }
    return false;
}

/* Held by a pidfd, so that the number cannot be another's between the look and the kill. */
static bool end_one(int proc, const char *pid, const char *mark)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)strtol(pid, NULL, 10), 0);
    bool ended = fd >= 0 && carries(proc, pid, mark) &&
                 syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return ended;
}

static int end_all(const char *mark)
{
    int ended = 0;
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        bool number = entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
        if (number && carries(dirfd(proc), entry->d_name, mark)) {
            ended += end_one(dirfd(proc), entry->d_name, mark) ? 1 : 0;
        }
    }
    closedir(proc);
    return ended;
}

int stray_end(const char *mark)
{
    int sum = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        int ended = end_all(mark);
        if (ended == 0) {
            break;
        }
        sum += ended;
    }
    return sum;
}
