/*
 * The happy path: fork; the child makes itself a session and executes the program; its output
 * arrives through a pipe; a pidfd tells that it ended; it is reaped, and `done` is called.
 *
 * Failures: fork or exec says no (exec's errno comes back through a pipe that closes when it
 * succeeds); the deadline passes: SIGKILL to the group; the program ends but another process holds
 * its output: that one gets SIGKILL 100 ms later; the program cannot even be killed (it waits for a
 * dead disk): `done` is called all the same, and the process is reaped whenever it ends.
 *
 * A process that ended is left a zombie until the end, because only that keeps the kernel from
 * giving its number, and so its group's, to somebody else between a kill and the next.
 */
#include "controller/base/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"
#include "controller/base/stray.h"

#define OUTPUT_LIMIT_DEFAULT (64u << 10)
#define PIPE_GRACE_MS        100
#define UNKILLABLE_MS        1000
#define ENV_MAX              8

struct child {
    struct loop *loop;
    child_done_fn done;
    void *arg;
    char mark[STRAY_MARK_SIZE];
    bool end_strays;
    pid_t pid; /* 0: not started */
    int pid_fd;
    int output_fd; /* -1 after the end of output */
    int exec_fd;   /* holds exec's errno, if it failed */
    struct fd_watch *pid_watch;
    struct fd_watch *output_watch;
    struct timer *timer; /* deadline, then what is left of patience */
    uint64_t started_ms;
    uint64_t deadline_ms;
    char *output;
    size_t output_limit;
    bool exited;
    bool killed;
    struct child_result result;
};

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* ---- in the new process: only what is safe after fork in a program with threads ---- */

struct launch {
    const char *args[CHILD_ARGS_MAX + 1];
    const char *env[ENV_MAX + 4];
    int input_fd;
    int output_fd;
    int exec_fd;
    pid_t parent;
};

/* The three come through high numbers, since each may stand where another must go. */
static int place_descriptors(struct launch *launch)
{
    int input = fcntl(launch->input_fd, F_DUPFD_CLOEXEC, 10);
    int output = fcntl(launch->output_fd, F_DUPFD_CLOEXEC, 10);
    int report = fcntl(launch->exec_fd, F_DUPFD_CLOEXEC, 10);
    if (input < 0 || output < 0 || report < 0) {
        return -1;
    }
    launch->exec_fd = report;
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0 ||
        dup3(report, 3, O_CLOEXEC) < 0) {
        return -1;
    }
    launch->exec_fd = 3;
    return (int)syscall(SYS_close_range, 4, ~0u, 0);
}

static void reset_signals(void)
{
    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL); /* fails for SIGKILL and such, which is as well */
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become(struct launch *launch) __attribute__((noreturn));

static void become(struct launch *launch)
{
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) {
        goto failed;
    }
    if (getppid() != launch->parent) {
        _exit(127); /* it died before the signal was armed */
    }
    if (place_descriptors(launch) < 0 || chdir("/") < 0) {
        goto failed;
    }
    reset_signals();
    /* It promises not to write to these, but its type does not say so. */
    execve(launch->args[0], (char *const *)launch->args, (char *const *)launch->env);
failed:;
    int why = errno;
    ssize_t n = write(launch->exec_fd, &why, sizeof why);
    _exit(n == sizeof why ? 127 : 126);
}

/* ---- endings ---- */

static void child_free(struct child *child)
{
    fd_watch_free(child->pid_watch);
    fd_watch_free(child->output_watch);
    timer_free(child->timer);
    close_fd(&child->pid_fd);
    close_fd(&child->output_fd);
    close_fd(&child->exec_fd);
    free(child->output);
    free(child);
}

/* By its own number too, for it may not have made its group yet. */
static void kill_group(struct child *child)
{
    kill(-child->pid, SIGKILL);
    kill(child->pid, SIGKILL);
}

/* From here it is nobody's: it only waits to be reaped. */
static void abandon(struct child *child)
{
    child->done = NULL;
    timer_free(child->timer);
    child->timer = NULL;
    fd_watch_free(child->output_watch);
    child->output_watch = NULL;
    close_fd(&child->output_fd);
}

static void report(struct child *child)
{
    child->result.output = child->output;
    child->result.took_ms = clock_now_ms() - child->started_ms;
    child_done_fn done = child->done;
    child->done = NULL; /* a child_cancel() from inside finds nothing to do */
    done(child->arg, &child->result);
}

static void say_timeout(struct child *child, const char *more)
{
    err_set(&child->result.err, ERR_TIMEOUT, "killed after %llu ms%s",
            (unsigned long long)child->deadline_ms, more);
}

static void judge(struct child *child, int status)
{
    struct child_result *result = &child->result;
    int exec_errno;
    if (read(child->exec_fd, &exec_errno, sizeof exec_errno) == sizeof exec_errno) {
        err_set(&result->err, ERR_SYSTEM, "cannot be started: %s", strerror(exec_errno));
        return;
    }
    result->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    /* One that ended by itself just before the kill reached it has answered. */
    if (child->killed && !WIFEXITED(status)) {
        say_timeout(child, "");
    }
}

/* What is left of its group goes first, while the zombie still holds the group's number. */
static void reap(struct child *child)
{
    int status = 0;
    kill(-child->pid, SIGKILL);
    pid_t pid;
    do {
        pid = waitpid(child->pid, &status, 0);
    } while (pid < 0 && errno == EINTR);
    assert(pid == child->pid);
    if (child->end_strays) {
        stray_end(child->mark);
    }
    judge(child, status);
    child->pid = 0;
}

static void finish(struct child *child)
{
    reap(child);
    if (child->done != NULL) {
        report(child);
    }
    child_free(child);
}

/* ---- events ---- */

static void on_output(void *arg, int ready)
{
    (void)ready;
    struct child *child = arg;
    struct child_result *result = &child->result;
    char thrown_away[16384];
    size_t room = child->output_limit - result->output_len;
    ssize_t n = room > 0 ? read(child->output_fd, child->output + result->output_len, room)
                         : read(child->output_fd, thrown_away, sizeof thrown_away);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n > 0 && room > 0) {
        result->output_len += (size_t)n;
        child->output[result->output_len] = '\0';
    } else if (n > 0) {
        result->output_cut = true;
    } else {
        fd_watch_free(child->output_watch);
        child->output_watch = NULL;
        close_fd(&child->output_fd);
        if (child->exited) {
            finish(child);
        }
    }
}

static void on_exit_of(void *arg, int ready)
{
    (void)ready;
    struct child *child = arg;
    child->exited = true;
    if (child->done == NULL || child->output_fd < 0) {
        finish(child);
        return;
    }
    /* A pidfd stays readable. */
    fd_watch_want(child->pid_watch, 0);
    timer_start(child->timer, PIPE_GRACE_MS);
}

static void on_timer(void *arg)
{
    struct child *child = arg;
    if (child->pid == 0) { /* it never started */
        report(child);
        child_free(child);
    } else if (child->exited) { /* somebody else holds the pipe */
        finish(child);
    } else if (!child->killed) {
        child->killed = true;
        kill_group(child);
        timer_start(child->timer, UNKILLABLE_MS);
    } else {
        say_timeout(child, ", and still not gone 1 s after SIGKILL");
        report(child);
        abandon(child);
    }
}

/* ---- start ---- */

/* A file that exists in memory only: it needs no one to feed it, and ends where it ends. */
static int open_input(const struct child_request *request)
{
    if (request->input_len == 0) {
        return open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    int fd = memfd_create("input", MFD_CLOEXEC);
    size_t written = 0;
    while (fd >= 0 && written < request->input_len) {
        ssize_t n = write(fd, request->input + written, request->input_len - written);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        written += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

static void fill_launch(struct launch *launch, const struct child_request *request,
                        const char *mark)
{
    for (int i = 0; i < CHILD_ARGS_MAX && request->args[i] != NULL; i++) {
        launch->args[i] = request->args[i];
    }
    launch->env[0] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    launch->env[1] = "LANG=C";
    launch->env[2] = mark;
    for (int i = 0; i < ENV_MAX && request->env[i] != NULL; i++) {
        launch->env[3 + i] = request->env[i];
    }
    launch->parent = getpid();
}

/* Signals wait meanwhile, or a handler of ours would run in the new process. */
static pid_t fork_quietly(struct launch *launch)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        become(launch);
    }
    int why = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = why;
    return pid;
}

static int launch_it(struct child *child, const struct child_request *request)
{
    struct launch launch = {.input_fd = open_input(request), .output_fd = -1, .exec_fd = -1};
    int output[2] = {-1, -1};
    int exec[2] = {-1, -1};
    stray_mark(child->mark);
    fill_launch(&launch, request, child->mark);
    if (launch.args[0][0] != '/') {
        errno = EINVAL;
        child->pid = -1;
    } else if (launch.input_fd >= 0 && pipe2(output, O_CLOEXEC) == 0 &&
               pipe2(exec, O_CLOEXEC | O_NONBLOCK) == 0) {
        launch.output_fd = output[1];
        launch.exec_fd = exec[1];
        child->pid = fork_quietly(&launch);
    } else {
        child->pid = -1;
    }
    int why = errno;
    close_fd(&launch.input_fd);
    close_fd(&output[1]);
    close_fd(&exec[1]);
    child->output_fd = output[0];
    child->exec_fd = exec[0];
    if (child->pid < 0) {
        child->pid = 0;
        return err_set(&child->result.err, ERR_SYSTEM, "cannot be started: %s%s", strerror(why),
                       why == EINVAL ? " (its path must be absolute)" : "");
    }
    return 0;
}

/* Without a pidfd (no descriptor left) its end could not be seen, so it must not run. */
static int watch_it(struct child *child)
{
    child->pid_fd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    if (child->pid_fd < 0) {
        int why = errno;
        kill_group(child);
        reap(child);
        child->result.signal = 0;
        return err_set(&child->result.err, ERR_SYSTEM, "cannot be watched: %s", strerror(why));
    }
    child->pid_watch = fd_watch_new(child->loop, child->pid_fd, on_exit_of, child);
    child->output_watch = fd_watch_new(child->loop, child->output_fd, on_output, child);
    fd_watch_want(child->pid_watch, FD_READABLE);
    fd_watch_want(child->output_watch, FD_READABLE);
    return 0;
}

struct child *child_start(struct loop *loop, const struct child_request *request,
                          child_done_fn done, void *arg)
{
    assert(request->args[0] != NULL && request->deadline_ms > 0);
    struct child *child = calloc(1, sizeof *child);
    assert(child != NULL);
    *child = (struct child){.loop = loop,
                            .done = done,
                            .arg = arg,
                            .pid_fd = -1,
                            .output_fd = -1,
                            .exec_fd = -1,
                            .started_ms = clock_now_ms(),
                            .deadline_ms = request->deadline_ms,
                            .end_strays = request->end_strays,
                            .result = {.exit_status = -1}};
    child->output_limit = request->output_limit != 0 ? request->output_limit : OUTPUT_LIMIT_DEFAULT;
    child->output = calloc(1, child->output_limit + 1);
    assert(child->output != NULL);
    child->timer = timer_new(loop, on_timer, child);
    bool runs = launch_it(child, request) == 0 && watch_it(child) == 0;
    timer_start(child->timer, runs ? child->deadline_ms : 0);
    return child;
}

void child_cancel(struct child *child)
{
    if (child == NULL || child->done == NULL) {
        return;
    }
    if (child->pid == 0) {
        child_free(child);
        return;
    }
    kill_group(child);
    abandon(child);
    if (child->exited) {
        finish(child);
    }
}
