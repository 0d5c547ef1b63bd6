#include "controller/base/listen.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKLOG   64
#define HOST_SIZE 64

/* ---- a unix socket ---- */

static int clear_path(const struct sockaddr_un *address, struct err *ret_err)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0) {
        return errno == ENOENT
                   ? 0
                   : err_set(ret_err, ERR_SYSTEM, "%s: %s", address->sun_path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return err_set(ret_err, ERR_INVALID, "%s is there and is no socket: not replaced",
                       address->sun_path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "socket: %s", strerror(errno));
    }
    int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
    int why = errno;
    close(fd);
    if (rc == 0 || why != ECONNREFUSED) {
        return err_set(ret_err, ERR_CONFLICT, "%s is served by another process", address->sun_path);
    }
    if (unlink(address->sun_path) < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", address->sun_path, strerror(errno));
    }
    return 0;
}

static int find_group(const char *name, gid_t *ret_gid, struct err *ret_err)
{
    errno = 0;
    const struct group *group = getgrnam(name);
    if (group == NULL) {
        return err_set(ret_err, ERR_INVALID,
                       "there is no group \"%s\"%s%s; create it with groupadd", name,
                       errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    }
    *ret_gid = group->gr_gid;
    return 0;
}

/* Nobody can connect before listen(), so that the permissions are right from the first caller on.
 */
static int bind_and_listen(int fd, const struct sockaddr_un *address, const char *group,
                           struct listen_place *ret_place, struct err *ret_err)
{
    const char *path = address->sun_path;
    gid_t gid = (gid_t)-1;
    if (group != NULL && find_group(group, &gid, ret_err) < 0) {
        return -1;
    }
    mode_t before = umask(0177);
    int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
    int why = errno;
    umask(before);
    if (rc < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(why));
    }
    struct stat st;
    if ((group != NULL && (chown(path, (uid_t)-1, gid) < 0 || chmod(path, 0660) < 0)) ||
        lstat(path, &st) < 0 || listen(fd, BACKLOG) < 0) {
        err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
        unlink(path);
        return -1;
    }
    ret_place->dev = st.st_dev;
    ret_place->ino = st.st_ino;
    return 0;
}

int listen_unix(const char *path, const char *group, struct listen_place *ret_place,
                struct err *ret_err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof address.sun_path) {
        return err_set(ret_err, ERR_INVALID, "the socket's path has %zu bytes, must have 1 to %zu",
                       len, sizeof address.sun_path - 1);
    }
    memcpy(address.sun_path, path, len + 1);
    memcpy(ret_place->path, path, len + 1);
    if (clear_path(&address, ret_err) < 0) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "socket: %s", strerror(errno));
    }
    if (bind_and_listen(fd, &address, group, ret_place, ret_err) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void listen_remove(const struct listen_place *place)
{
    struct stat st;
    if (lstat(place->path, &st) == 0 && st.st_dev == place->dev && st.st_ino == place->ino) {
        unlink(place->path);
    }
}

/* ---- a TCP port ---- */

int listen_tcp(const char *listen_at, struct err *ret_err)
{
    char host[HOST_SIZE];
    const char *colon = strrchr(listen_at, ':');
    bool bracketed = listen_at[0] == '[';
    size_t len = colon == NULL ? 0 : (size_t)(colon - listen_at) - (bracketed ? 2 : 0);
    if (colon == NULL || len >= sizeof host || (bracketed && colon[-1] != ']')) {
        return err_set(ret_err, ERR_INVALID, "%s: is no address:port", listen_at);
    }
    memcpy(host, listen_at + (bracketed ? 1 : 0), len);
    host[len] = '\0';
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                             .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, colon + 1, &hints, &found);
    if (rc != 0) {
        return err_set(ret_err, ERR_INVALID, "%s: %s", listen_at, gai_strerror(rc));
    }
    int on = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool good = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    int why = errno;
    freeaddrinfo(found);
    if (!good) {
        if (fd >= 0) {
            close(fd);
        }
        return err_set(ret_err, why == EADDRINUSE ? ERR_CONFLICT : ERR_SYSTEM, "%s: %s", listen_at,
                       strerror(why));
    }
    return fd;
}
