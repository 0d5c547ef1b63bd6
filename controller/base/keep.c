#include "controller/base/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *keep_text(const char *text, size_t len)
{
    char *to = malloc(len + 1);
    if (to == NULL) {
        abort();
    }
    memcpy(to, text, len);
    to[len] = '\0';
    return to;
}

int keep_write(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t put = write(fd, text, len);
        if (put < 0 && errno != EINTR) {
            return -1;
        }
        text += put > 0 ? put : 0;
        len -= put > 0 ? (size_t)put : 0;
    }
    return 0;
}
