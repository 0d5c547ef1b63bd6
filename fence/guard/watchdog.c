#include "fence/guard/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/base/clock.h"

#define TEST_ANSWER_MS 200

void watchdog_init(struct watchdog *watchdog, const char *path)
{
    memset(watchdog, 0, sizeof *watchdog);
    watchdog->fd = -1;
    snprintf(watchdog->path, sizeof watchdog->path, "%s", path);
    struct stat device;
    bool socket_there = stat(path, &device) == 0 && S_ISSOCK(device.st_mode);
    watchdog->kind = path[0] == '\0' ? WATCHDOG_NONE
                     : socket_there  ? WATCHDOG_TEST
                                     : WATCHDOG_KERNEL;
}

static int open_test(struct watchdog *watchdog)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {0, TEST_ANSWER_MS * 1000};
    snprintf(address.sun_path, sizeof address.sun_path, "%.*s", (int)sizeof address.sun_path - 1,
             watchdog->path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0 ||
                    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
                    connect(fd, (struct sockaddr *)&address, sizeof address) < 0)) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return fd;
}

static int open_device(struct watchdog *watchdog)
{
    return watchdog->kind == WATCHDOG_TEST ? open_test(watchdog)
                                           : open(watchdog->path, O_WRONLY | O_CLOEXEC);
}

/* What the period is after it was set; 0: it could not be. */
static uint32_t set_period(struct watchdog *watchdog, uint32_t period_ms)
{
    if (watchdog->kind == WATCHDOG_TEST) {
        char text[32];
        int len = snprintf(text, sizeof text, "T%u", (unsigned)period_ms);
        if (send(watchdog->fd, text, (size_t)len, MSG_NOSIGNAL) != len) {
            return 0;
        }
        ssize_t got = recv(watchdog->fd, text, sizeof text - 1, 0);
        text[got > 0 ? got : 0] = '\0';
        return text[0] == 'T' ? (uint32_t)strtoul(text + 1, NULL, 10) : 0;
    }
    int seconds = (int)(period_ms / 1000);
    int read_back = 0;
    int enable = WDIOS_ENABLECARD;
    ioctl(watchdog->fd, WDIOC_SETOPTIONS, &enable); /* some need it, some do not know it */
    if (period_ms % 1000 != 0 || ioctl(watchdog->fd, WDIOC_SETTIMEOUT, &seconds) < 0 ||
        ioctl(watchdog->fd, WDIOC_GETTIMEOUT, &read_back) < 0) {
        return 0;
    }
    return (uint32_t)read_back * 1000;
}

int watchdog_arm(struct watchdog *watchdog, uint32_t period_ms, struct err *ret_err)
{
    if (watchdog->kind == WATCHDOG_NONE) {
        return err_set(ret_err, ERR_REFUSED, "this node has no watchdog");
    }
    if (watchdog->fd < 0) {
        watchdog->fd = open_device(watchdog);
    }
    if (watchdog->fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", watchdog->path, strerror(errno));
    }
    uint32_t read_back_ms = set_period(watchdog, period_ms);
    if (read_back_ms != period_ms) {
        watchdog_disarm(watchdog);
        return err_set(ret_err, ERR_REFUSED, "%s: a period of %u ms was asked for, it has %u ms",
                       watchdog->path, (unsigned)period_ms, (unsigned)read_back_ms);
    }
    watchdog->period_ms = read_back_ms;
    return 0;
}

static bool write_feed(struct watchdog *watchdog)
{
    if (watchdog->kind == WATCHDOG_TEST) {
        return send(watchdog->fd, "F", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
    }
    return write(watchdog->fd, "F", 1) == 1;
}

bool watchdog_feed(struct watchdog *watchdog, bool (*may)(void *arg, uint64_t now_ms), void *arg)
{
    if (watchdog->fd < 0) {
        return false;
    }
    bool fed = may(arg, clock_now_ms()) && write_feed(watchdog);
    if (!fed && watchdog->kind == WATCHDOG_TEST && errno == EPIPE) {
        close(watchdog->fd); /* it is gone; to be armed anew */
        watchdog->fd = -1;
        watchdog->period_ms = 0;
    }
    return fed;
}

bool watchdog_disarm(struct watchdog *watchdog)
{
    if (watchdog->fd < 0) {
        return true;
    }
    bool stopped;
    if (watchdog->kind == WATCHDOG_TEST) {
        stopped = send(watchdog->fd, "V", 1, MSG_NOSIGNAL) == 1;
    } else {
        int disable = WDIOS_DISABLECARD;
        stopped = ioctl(watchdog->fd, WDIOC_SETOPTIONS, &disable) == 0 ||
                  write(watchdog->fd, "V", 1) == 1;
        /* Built or loaded with "nowayout" it takes the letter and goes on all the same. */
        char path[300], answer = '0';
        const char *name = strrchr(watchdog->path, '/');
        snprintf(path, sizeof path, "/sys/class/watchdog/%s/nowayout",
                 name != NULL && strcmp(name, "/watchdog") != 0 ? name + 1 : "watchdog0");
        FILE *file = fopen(path, "re");
        if (file != NULL) {
            answer = (char)fgetc(file);
            (void)fclose(file);
        }
        stopped = stopped && answer != '1';
    }
    if (!stopped) {
        return false;
    }
    close(watchdog->fd);
    watchdog->fd = -1;
    watchdog->period_ms = 0;
    return true;
}

bool watchdog_is_armed(const struct watchdog *watchdog)
{
    return watchdog->fd >= 0 && watchdog->period_ms != 0;
}
