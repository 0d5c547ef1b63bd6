/*
 * fault_proxy.c - a TCP proxy that does to a connection what networks and gateways do.
 *
 *     fault_proxy LISTEN-ADDRESS:PORT TARGET-ADDRESS:PORT MODE-FILE
 *
 * MODE-FILE holds one line; it is read again whenever it has changed (looked at every 20 ms), so
 * that a script changes the weather by writing a word:
 *
 *     pass              bytes go both ways
 *     delay MS          each chunk of an answer waits so long
 *     stall             nothing goes back to the client any more, and nothing is closed
 *     swallow           requests go through; instead of an answer the connection is closed
 *     cut N             after N more bytes of answers to it each connection is closed
 *     replay            what a client sends is sent a second time, on a connection of its own whose
 *                       answer nobody sees
 *     late MS           a request's connection is closed at once without an answer, and the request
 *                       reaches the target MS later all the same, as one does that a kernel still
 *                       sends for a socket that its program has given up; "late kept" and then
 *                       "late answered" are said
 *     refuse            new connections are closed at once, and so are those that stand
 *     answer TEXT-FILE  nothing goes to the target; each request is answered with that file's bytes
 *
 * One line on stdout for each mode taken up. It ends by SIGTERM. Linux, one thread, poll(2).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINKS_MAX  256
#define CHUNK      65536
#define LOOK_MS    20
#define ANSWER_MAX (16 << 20)

enum mode { PASS, DELAY, STALL, SWALLOW, CUT, REPLAY, LATE, REFUSE, ANSWER, MODES };
static const char *const mode_names[] = {"pass",   "delay", "stall",  "swallow", "cut",
                                         "replay", "late",  "refuse", "answer"};

/* One direction's bytes on their way. */
struct pipe {
    char data[CHUNK];
    size_t len, sent;
    uint64_t due_ms; /* not before */
};

struct link {
    bool used;
    int client, server; /* server -1: none (answer) */
    struct pipe up, down;
    size_t passed; /* bytes of answers */
    bool shadow;   /* a replay's: its client is nobody */
};

struct proxy {
    int listener;
    struct sockaddr_in target;
    const char *mode_file;
    struct timespec seen;
    enum mode mode;
    unsigned number; /* of delay, cut and late */
    char *answer;
    size_t answer_len;
    struct link *links;
};

static volatile sig_atomic_t ended;

static void on_end(int signal)
{
    (void)signal;
    ended = 1;
}

static void give_up(const char *what)
{
    fprintf(stderr, "fault_proxy: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char host[64] = "";
    unsigned port = 0;
    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port == 0 || port > 65535 ||
        inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "fault_proxy: %s is no ADDRESS:PORT\n", text);
        exit(2);
    }
    address.sin_port = htons((uint16_t)port);
    return address;
}

/* ---- links ---- */

static void close_link(struct link *link)
{
    if (link->client >= 0) {
        close(link->client);
    }
    if (link->server >= 0) {
        close(link->server);
    }
    link->used = false;
}

static struct link *new_link(struct proxy *proxy)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *link = &proxy->links[i];
        if (!link->used) {
            link->used = true;
            link->client = -1;
            link->server = -1;
            link->up.len = link->up.sent = 0;
            link->up.due_ms = 0;
            link->down.len = link->down.sent = 0;
            link->passed = 0;
            link->shadow = false;
            return link;
        }
    }
    return NULL;
}

static int connect_target(const struct proxy *proxy)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&proxy->target, sizeof proxy->target) < 0) {
        close(fd);
        return -1;
    }
    if (fd >= 0) {
        fcntl(fd, F_SETFL, O_NONBLOCK);
    }
    return fd;
}

static void take_client(struct proxy *proxy)
{
    int fd = accept4(proxy->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct link *link = fd >= 0 && proxy->mode != REFUSE ? new_link(proxy) : NULL;
    if (link == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    link->client = fd;
    link->server = connect_target(proxy);
    if (link->server < 0 && proxy->mode != ANSWER) {
        close_link(link);
    }
}

/* By another road, whose answer nobody sees, and not before DUE_MS. */
static void send_apart(struct proxy *proxy, const struct pipe *pipe, uint64_t due_ms)
{
    struct link *link = new_link(proxy);
    if (link == NULL) {
        return;
    }
    link->shadow = true;
    link->server = connect_target(proxy);
    if (link->server < 0) {
        close_link(link);
        return;
    }
    memcpy(link->up.data, pipe->data, pipe->len);
    link->up.len = pipe->len;
    link->up.due_ms = due_ms;
}

static bool is_request(const struct pipe *pipe)
{
    return pipe->len > 5 && memcmp(pipe->data, "POST ", 5) == 0;
}

static void answer(struct proxy *proxy, struct link *link)
{
    size_t sent = 0;
    link->up.len = 0;
    fcntl(link->client, F_SETFL, 0); /* a large one is written whole, or until the client leaves */
    while (sent < proxy->answer_len) {
        ssize_t n =
            send(link->client, proxy->answer + sent, proxy->answer_len - sent, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        sent += (size_t)n;
    }
    close_link(link);
}

static void from_client(struct proxy *proxy, struct link *link)
{
    ssize_t n = recv(link->client, link->up.data, CHUNK, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        close_link(link);
        return;
    }
    if (n < 0) {
        return;
    }
    link->up.len = (size_t)n;
    link->up.sent = 0;
    if (proxy->mode == ANSWER && is_request(&link->up)) {
        answer(proxy, link);
    } else if (proxy->mode == REPLAY && is_request(&link->up)) {
        send_apart(proxy, &link->up, 0);
    } else if (proxy->mode == LATE && is_request(&link->up)) {
        send_apart(proxy, &link->up, now_ms() + proxy->number);
        close_link(link);
        printf("late kept\n");
        fflush(stdout);
    }
}

static void from_server(struct proxy *proxy, struct link *link)
{
    ssize_t n = recv(link->server, link->down.data, CHUNK, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        close_link(link);
        return;
    }
    if (n < 0) {
        return;
    }
    if (link->up.due_ms != 0) {
        link->up.due_ms = 0;
        printf("late answered\n");
        fflush(stdout);
    }
    link->down.len = link->shadow ? 0 : (size_t)n;
    link->down.sent = 0;
    link->down.due_ms = now_ms() + (proxy->mode == DELAY ? proxy->number : 0);
    if (proxy->mode == SWALLOW && !link->shadow) {
        close_link(link);
    }
}

/* False: the link has ended. */
static bool push(struct pipe *pipe, int to)
{
    ssize_t n = send(to, pipe->data + pipe->sent, pipe->len - pipe->sent, MSG_NOSIGNAL);
    if (n < 0) {
        return errno == EAGAIN;
    }
    pipe->sent += (size_t)n;
    if (pipe->sent == pipe->len) {
        pipe->len = pipe->sent = 0;
    }
    return true;
}

static void to_client(struct proxy *proxy, struct link *link)
{
    if (proxy->mode == STALL || link->down.due_ms > now_ms()) {
        return;
    }
    if (proxy->mode == CUT && link->passed + link->down.len > proxy->number) {
        size_t left = proxy->number > link->passed ? proxy->number - link->passed : 0;
        link->down.len = left < link->down.len ? left : link->down.len;
        if (link->down.len > 0) {
            push(&link->down, link->client);
        }
        close_link(link);
        return;
    }
    size_t before = link->down.len - link->down.sent;
    if (!push(&link->down, link->client)) {
        close_link(link);
        return;
    }
    link->passed += before - (link->down.len - link->down.sent);
}

/* ---- the weather ---- */

static void load_answer(struct proxy *proxy, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        give_up(path);
    }
    free(proxy->answer);
    proxy->answer = malloc(ANSWER_MAX);
    if (proxy->answer == NULL) {
        give_up("memory");
    }
    proxy->answer_len = fread(proxy->answer, 1, ANSWER_MAX, file);
    fclose(file);
}

static void take_mode(struct proxy *proxy, const char *word, const char *argument)
{
    int mode = 0;
    while (mode < MODES && strcmp(word, mode_names[mode]) != 0) {
        mode++;
    }
    if (mode == MODES) {
        fprintf(stderr, "fault_proxy: there is no mode %s\n", word);
        exit(2);
    }
    proxy->mode = (enum mode)mode;
    proxy->number = (unsigned)strtoul(argument, NULL, 10);
    if (mode == ANSWER) {
        load_answer(proxy, argument);
    }
    for (int i = 0; i < LINKS_MAX; i++) {
        proxy->links[i].passed = 0;
        if (proxy->links[i].used && mode == REFUSE) {
            close_link(&proxy->links[i]);
        }
    }
    printf("%s %s\n", word, argument);
    fflush(stdout);
}

static void look_at_mode(struct proxy *proxy)
{
    struct stat status;
    char word[16] = "", argument[512] = "";
    if (stat(proxy->mode_file, &status) < 0) {
        give_up(proxy->mode_file);
    }
    if (status.st_mtim.tv_sec == proxy->seen.tv_sec &&
        status.st_mtim.tv_nsec == proxy->seen.tv_nsec) {
        return;
    }
    FILE *file = fopen(proxy->mode_file, "r");
    if (file == NULL) {
        give_up(proxy->mode_file);
    }
    int fields = fscanf(file, "%15s %511s", word, argument);
    fclose(file);
    if (fields >= 1) { /* else it is just being written */
        proxy->seen = status.st_mtim;
        take_mode(proxy, word, argument);
    }
}

/* ---- the loop ---- */

static bool is_due(const struct pipe *pipe)
{
    return pipe->due_ms <= now_ms();
}

/* What a link waits for, in two places of the list. */
static void watch_link(const struct proxy *proxy, const struct link *link, struct pollfd fds[2])
{
    bool flows = proxy->mode != STALL && is_due(&link->down);
    fds[0] = (struct pollfd){.fd = link->used ? link->client : -1};
    fds[1] = (struct pollfd){.fd = link->used ? link->server : -1};
    fds[0].events =
        (short)((link->up.len == 0 ? POLLIN : 0) | (link->down.len > 0 && flows ? POLLOUT : 0));
    fds[1].events = (short)((link->down.len == 0 ? POLLIN : 0) |
                            (link->up.len > 0 && is_due(&link->up) ? POLLOUT : 0));
}

static void serve_link(struct proxy *proxy, struct link *link, const struct pollfd fds[2])
{
    if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && link->up.len == 0) {
        from_client(proxy, link);
    }
    if (link->used && (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && link->down.len == 0) {
        from_server(proxy, link);
    }
    if (link->used && link->up.len > 0 && link->server >= 0 && is_due(&link->up) &&
        !push(&link->up, link->server)) {
        close_link(link);
    }
    if (link->used && link->down.len > 0) {
        to_client(proxy, link);
    }
}

static void serve(struct proxy *proxy)
{
    struct pollfd fds[2 * LINKS_MAX + 1];
    while (!ended) {
        look_at_mode(proxy);
        fds[0] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
        for (int i = 0; i < LINKS_MAX; i++) {
            watch_link(proxy, &proxy->links[i], &fds[1 + 2 * i]);
        }
        if (poll(fds, 2 * LINKS_MAX + 1, LOOK_MS) < 0 && errno != EINTR) {
            give_up("poll");
        }
        for (int i = 0; i < LINKS_MAX; i++) {
            if (proxy->links[i].used) {
                serve_link(proxy, &proxy->links[i], &fds[1 + 2 * i]);
            }
        }
        if ((fds[0].revents & POLLIN) != 0) { /* last: its link is not in the list yet */
            take_client(proxy);
        }
    }
}

int main(int argc, char **argv)
{
    int yes = 1;
    struct proxy proxy = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: fault_proxy LISTEN-ADDRESS:PORT TARGET-ADDRESS:PORT MODE-FILE\n");
        return 2;
    }
    struct sockaddr_in listen_at = address_of(argv[1]);
    proxy.target = address_of(argv[2]);
    proxy.mode_file = argv[3];
    proxy.links = calloc(LINKS_MAX, sizeof *proxy.links);
    proxy.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (proxy.links == NULL || proxy.listener < 0 ||
        setsockopt(proxy.listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) < 0 ||
        bind(proxy.listener, (struct sockaddr *)&listen_at, sizeof listen_at) < 0 ||
        listen(proxy.listener, 64) < 0) {
        give_up(argv[1]);
    }
    signal(SIGTERM, on_end);
    signal(SIGINT, on_end);
    serve(&proxy);
    for (int i = 0; i < LINKS_MAX; i++) {
        if (proxy.links[i].used) {
            close_link(&proxy.links[i]);
        }
    }
    free(proxy.answer);
    free(proxy.links);
    close(proxy.listener);
    return 0;
}
