#include "fence/guard/processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIDS_MAX   4096 /* of one instance; what is beyond is met in the next round */
#define FREEZE_MS  20
#define ROUNDS_MAX 10

struct pids {
    pid_t pids[PIDS_MAX];
    int len;
};

static void pause_ms(long ms)
{
    struct timespec time = {0, ms * 1000000};
    nanosleep(&time, NULL);
}

/* A whole small file of the kernel's as text; its length, or -1. */
static ssize_t read_text(const char *path, char *ret_text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len < size - 1) {
        got = read(fd, ret_text + len, size - 1 - len);
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    ret_text[len] = '\0';
    return got < 0 ? -1 : (ssize_t)len;
}

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    ssize_t len = write(fd, text, strlen(text));
    close(fd);
    return len == (ssize_t)strlen(text) ? 0 : -1;
}

/* ---- the cgroup ---- */

/* The path of this process in the hierarchy: version 2 has the line "0::PATH", version 1
 * "N:freezer:PATH". */
static bool own_path(bool unified, char ret_path[CGROUP_PATH_SIZE])
{
    char text[8192];
    char *rest = text;
    if (read_text("/proc/self/cgroup", text, sizeof text) < 0) {
        return false;
    }
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) {
            continue;
        }
        *path++ = '\0';
        size_t len = strlen(path);
        if (strcmp(controllers + 1, unified ? "" : "freezer") == 0 && len < CGROUP_PATH_SIZE) {
            memcpy(ret_path, path, len + 1);
            return true;
        }
    }
    return false;
}

/* Where the hierarchy is mounted. */
static bool mount_point(bool unified, char ret_path[CGROUP_PATH_SIZE])
{
    FILE *mounts = fopen("/proc/self/mounts", "re");
    if (mounts == NULL) {
        return false;
    }
    char line[1024];
    bool found = false;
    while (!found && fgets(line, sizeof line, mounts) != NULL) {
        char path[256], type[32], options[512];
        if (sscanf(line, "%*s %255s %31s %511s", path, type, options) != 3) {
            continue;
        }
        found = unified ? strcmp(type, "cgroup2") == 0
                        : strcmp(type, "cgroup") == 0 && strstr(options, "freezer") != NULL;
        if (found) {
            snprintf(ret_path, CGROUP_PATH_SIZE, "%s", path);
        }
    }
    (void)fclose(mounts);
    return found;
}

static bool make_cgroup(struct processes *processes, bool unified, const char *name)
{
    char root[CGROUP_PATH_SIZE], own[CGROUP_PATH_SIZE], path[CGROUP_PATH_SIZE + 32];
    if (!mount_point(unified, root) || !own_path(unified, own)) {
        return false;
    }
    int len = snprintf(processes->cgroup, sizeof processes->cgroup, "%s%s/%s", root,
                       strcmp(own, "/") == 0 ? "" : own, name);
    if (len >= (int)sizeof processes->cgroup ||
        (mkdir(processes->cgroup, 0755) < 0 && errno != EEXIST)) {
        return false;
    }
    processes->unified = unified;
    snprintf(path, sizeof path, "%s/cgroup.procs", processes->cgroup);
    return access(path, W_OK) == 0;
}

int processes_init(struct processes *processes, const char *data_dir, const char *name,
                   struct err *ret_err)
{
    memset(processes, 0, sizeof *processes);
    snprintf(processes->data_dir, sizeof processes->data_dir, "%s", data_dir);
    if (make_cgroup(processes, true, name) || make_cgroup(processes, false, name)) {
        return 0;
    }
    int why = errno;
    processes->cgroup[0] = '\0';
    return err_set(ret_err, ERR_SYSTEM, "no cgroup can be made for %s: %s", name, strerror(why));
}

static void cgroup_file(const struct processes *processes, const char *name,
                        char ret_path[CGROUP_PATH_SIZE + 32])
{
    snprintf(ret_path, CGROUP_PATH_SIZE + 32, "%s/%s", processes->cgroup, name);
}

int processes_open_cgroup(const struct processes *processes)
{
    char path[CGROUP_PATH_SIZE + 32];
    cgroup_file(processes, "cgroup.procs", path);
    return processes->cgroup[0] == '\0' ? -1 : open(path, O_WRONLY | O_CLOEXEC);
}

/* False: it could not be read, so what is in it is not known. Without a cgroup nothing is in it. */
static bool cgroup_members(const struct processes *processes, struct pids *ret_pids)
{
    char path[CGROUP_PATH_SIZE + 32];
    ret_pids->len = 0;
    if (processes->cgroup[0] == '\0') {
        return true;
    }
    cgroup_file(processes, "cgroup.procs", path);
    FILE *members = fopen(path, "re");
    if (members == NULL) {
        return false;
    }
    char line[32];
    while (ret_pids->len < PIDS_MAX && fgets(line, sizeof line, members) != NULL) {
        long pid = strtol(line, NULL, 10);
        if (pid > 0) {
            ret_pids->pids[ret_pids->len++] = (pid_t)pid;
        }
    }
    bool whole = ferror(members) == 0;
    (void)fclose(members);
    return whole;
}

/* ---- /proc ---- */

/* What a process is to the instance. */
struct look {
    bool ours;   /* its program is postgres, and it stands in the data directory */
    bool zombie; /* named postgres, ended, and our own child */
};

static bool is_postgres(const char *process)
{
    char path[64], program[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%s/exe", process);
    ssize_t len = readlink(path, program, sizeof program - 1);
    if (len <= 0) {
        return false;
    }
    program[len] = '\0';
    char *gone = strstr(program, " (deleted)"); /* after an upgrade of the package */
    if (gone != NULL) {
        *gone = '\0';
    }
    const char *name = strrchr(program, '/');
    return name != NULL && strcmp(name + 1, "postgres") == 0;
}

static bool is_our_zombie(const char *process)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%s/stat", process);
    if (read_text(path, text, sizeof text) <= 0) {
        return false;
    }
    const char *name = strchr(text, '(');
    const char *rest = strrchr(text, ')');
    /* ") Z 123 ...": the state, then the parent. */
    return name != NULL && rest != NULL && strncmp(name, "(postgres)", 10) == 0 &&
           strncmp(rest, ") Z ", 4) == 0 && strtol(rest + 4, NULL, 10) == getpid();
}

static struct look look_at(const char *process, const struct stat *directory)
{
    struct look look = {.ours = false};
    char path[64];
    struct stat at;
    snprintf(path, sizeof path, "/proc/%s/cwd", process);
    if (stat(path, &at) == 0) {
        look.ours = at.st_dev == directory->st_dev && at.st_ino == directory->st_ino &&
                    is_postgres(process);
    } else {
        look.zombie = is_our_zombie(process);
    }
    return look;
}

/* Processes of the instance, wherever they are. Our own zombies among PostgreSQL's are reaped.
 * False: not everything could be looked at. */
static bool find_all(const struct processes *processes, struct pids *ret_pids)
{
    ret_pids->len = 0;
    struct stat directory;
    DIR *proc = stat(processes->data_dir, &directory) == 0 ? opendir("/proc") : NULL;
    if (proc == NULL) {
        return false;
    }
    struct dirent *entry;
    errno = 0;
    while (ret_pids->len < PIDS_MAX && (entry = readdir(proc)) != NULL) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') {
            continue;
        }
        struct look look = look_at(entry->d_name, &directory);
        if (look.ours) {
            ret_pids->pids[ret_pids->len++] = (pid_t)strtol(entry->d_name, NULL, 10);
        } else if (look.zombie) {
            waitpid((pid_t)strtol(entry->d_name, NULL, 10), NULL, WNOHANG);
        }
        errno = 0;
    }
    bool whole = errno == 0;
    closedir(proc);
    return whole;
}

pid_t processes_postmaster(const struct processes *processes)
{
    char path[300], text[1024], name[32];
    struct stat directory;
    snprintf(path, sizeof path, "%s/postmaster.pid", processes->data_dir);
    if (stat(processes->data_dir, &directory) < 0 || read_text(path, text, sizeof text) <= 0) {
        return 0;
    }
    long pid = strtol(text, NULL, 10);
    if (pid <= 1 || pid > INT_MAX) {
        return 0;
    }
    snprintf(name, sizeof name, "%ld", pid);
    return look_at(name, &directory).ours ? (pid_t)pid : 0;
}

/* ---- taking over ---- */

static bool is_member(const struct pids *members, pid_t pid)
{
    for (int i = 0; i < members->len; i++) {
        if (members->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

/* The postmaster first: what it starts from then on is in. */
int processes_take_over(const struct processes *processes, struct err *ret_err)
{
    if (processes->cgroup[0] == '\0') {
        return err_set(ret_err, ERR_SYSTEM, "there is no cgroup");
    }
    char path[CGROUP_PATH_SIZE + 32];
    cgroup_file(processes, "cgroup.procs", path);
    static struct pids all, members;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        pid_t postmaster = processes_postmaster(processes);
        int outside = 0;
        if (!cgroup_members(processes, &members) || !find_all(processes, &all)) {
            return err_set(ret_err, ERR_SYSTEM, "the processes of %s cannot be seen: %s",
                           processes->data_dir, strerror(errno));
        }
        for (int i = -1; i < all.len; i++) {
            pid_t pid = i < 0 ? postmaster : all.pids[i];
            char text[32];
            if (pid == 0 || is_member(&members, pid)) {
                continue;
            }
            outside++;
            snprintf(text, sizeof text, "%d", (int)pid);
            if (write_text(path, text) < 0 && errno != ESRCH) {
                return err_set(ret_err, ERR_SYSTEM, "%s: process %d: %s", path, (int)pid,
                               strerror(errno));
            }
        }
        if (outside == 0) {
            return 0;
        }
    }
    return err_set(ret_err, ERR_SYSTEM, "processes of %s keep appearing outside of %s",
                   processes->data_dir, processes->cgroup);
}

/* ---- killing ---- */

static bool is_frozen(const struct processes *processes)
{
    char path[CGROUP_PATH_SIZE + 32], text[256];
    cgroup_file(processes, processes->unified ? "cgroup.events" : "freezer.state", path);
    return read_text(path, text, sizeof text) > 0 &&
           (processes->unified ? strstr(text, "frozen 1") != NULL
                               : strncmp(text, "FROZEN", 6) == 0);
}

/* Version 1 delivers SIGKILL only after the thaw. */
static void kill_frozen(const struct processes *processes)
{
    char path[CGROUP_PATH_SIZE + 32];
    static struct pids members;
    cgroup_file(processes, processes->unified ? "cgroup.freeze" : "freezer.state", path);
    write_text(path, processes->unified ? "1" : "FROZEN");
    for (int ms = 0; ms < FREEZE_MS && !is_frozen(processes); ms++) {
        pause_ms(1);
    }
    (void)cgroup_members(processes, &members); /* what is not seen now the proof will miss */
    for (int i = 0; i < members.len; i++) {
        kill(members.pids[i], SIGKILL);
    }
    write_text(path, processes->unified ? "0" : "THAWED");
}

void processes_kill(const struct processes *processes)
{
    char path[CGROUP_PATH_SIZE + 32];
    if (processes->cgroup[0] != '\0') {
        cgroup_file(processes, "cgroup.kill", path);
        if (write_text(path, "1") < 0) {
            kill_frozen(processes);
        }
    }
    static struct pids outside;
    (void)find_all(processes, &outside);
    for (int i = 0; i < outside.len; i++) {
        kill(outside.pids[i], SIGKILL);
    }
}

/* ---- the proof ---- */

/* Line 7 of postmaster.pid: key and id of the shared memory, which only its processes attach. -1:
 * it could not be looked at. */
static long attached(const struct processes *processes)
{
    char path[300], text[1024];
    snprintf(path, sizeof path, "%s/postmaster.pid", processes->data_dir);
    errno = 0;
    ssize_t got = read_text(path, text, sizeof text);
    if (got <= 0) {
        return got == 0 || errno == ENOENT ? 0 : -1;
    }
    const char *line = text;
    for (int i = 1; i < 7 && line != NULL; i++) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    struct shmid_ds segment;
    char *end = NULL;
    long key = line != NULL ? strtol(line, &end, 10) : 0;
    if (line == NULL || end == line) {
        return 0; /* written when it starts: none was made yet */
    }
    if (shmctl((int)strtol(end, NULL, 10), IPC_STAT, &segment) < 0) {
        return errno == EINVAL || errno == EIDRM ? 0 : -1;
    }
    return segment.shm_perm.__key == (key_t)key ? (long)segment.shm_nattch : 0;
}

bool processes_are_gone(const struct processes *processes, char *ret_text, size_t size)
{
    static struct pids pids;
    if (!cgroup_members(processes, &pids)) {
        snprintf(ret_text, size, "its cgroup cannot be read: %s", strerror(errno));
        return false;
    }
    if (pids.len > 0) {
        snprintf(ret_text, size, "%d processes are left in its cgroup, the first is %d", pids.len,
                 (int)pids.pids[0]);
        return false;
    }
    if (!find_all(processes, &pids)) {
        snprintf(ret_text, size, "who stands in its data directory cannot be seen: %s",
                 strerror(errno));
        return false;
    }
    if (pids.len > 0) {
        snprintf(ret_text, size, "%d processes stand in its data directory, the first is %d",
                 pids.len, (int)pids.pids[0]);
        return false;
    }
    long nattch = attached(processes);
    if (nattch < 0) {
        snprintf(ret_text, size, "its shared memory cannot be looked at: %s", strerror(errno));
        return false;
    }
    if (nattch > 0) {
        snprintf(ret_text, size, "%ld processes are attached to its shared memory", nattch);
        return false;
    }
    ret_text[0] = '\0';
    return true;
}
