/*
 * The happy path of a start: jobs (the included file) are done; a child is made, enters the cgroup,
 * arranges standby.signal, becomes the user and executes postgres; its pidfd is watched; the probe
 * answers; GUARD_EV_SEEN. Of a stop: signals on their times, the pidfd tells that the postmaster
 * has ended, what is left is killed, the proof holds, pg_controldata is read; GUARD_EV_GONE.
 *
 * Failures: the child cannot execute (it ends with status 127: DIED); a job fails (said, and tried
 * again by whoever wants it); the probe is silent (the last role of this postmaster stands); a
 * process outlives SIGKILL (the proof never holds, and that is what is reported); pg_controldata
 * fails (the control is unknown, and nothing starts).
 */
#include "fence/guard/instance.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/act/promote.h"
#include "controller/base/child.h"
#include "controller/base/clock.h"
#include "controller/base/fd_watch.h"
#include "fence/guard/control.h"
#include "fence/guard/files.h"
#include "fence/guard/processes.h"
#include "fence/guard/slots.h"
#include "fence/guard/sync.h"
#include "probes/postgres.h"

#define LOOK_MS        1000
#define PROBE_MS       1000
#define PROOF_MS       5
#define PROOF_LATE_MS  50
#define KILL_AGAIN_MS  1000
#define CONTROL_MS     2000
#define FOLLOW_MS      3000
#define FOLLOW_LOOK_MS 40
#define CUT_LOOKS      3 /* in a row without a receiver: one may be between two connections */
#define PROMOTE_MS     30000
#define CONF_MAX       4096
#define GROUPS_ROOM    64
#define SLOT_ASK_MS    2000
#define SLOT_LOOK_MS   10000

enum job_kind { JOB_NONE, JOB_REST, JOB_CONF };

struct job { /* of a worker thread; owns what it needs, outlives the instance if it must */
    uv_work_t work;
    struct instance *instance; /* NULL: freed meanwhile */
    enum job_kind kind;
    char data_dir[LOCAL_PATH_SIZE];
    char path[LOCAL_PATH_SIZE];
    char text[CONF_MAX];
    char before[CONF_MAX]; /* what it held; "": nothing, or too much */
    bool for_sync, somebody;
    uid_t uid;
    gid_t gid;
    struct err err;
    bool failed;
};

struct instance {
    struct loop *loop;
    struct instance_params params;
    const struct local_instance_def *def;
    struct processes processes;
    char include_file[LOCAL_PATH_SIZE], log_file[LOCAL_PATH_SIZE];
    uid_t uid;
    gid_t gid;
    gid_t groups[GROUPS_ROOM];
    int groups_len;

    struct guard_seen seen;
    struct instance_fact fact;
    uint64_t wrote_ms;
    pid_t pid; /* the postmaster; 0: none is known */
    bool is_child;
    int pid_fd;
    struct fd_watch *pid_watch;
    char dbname[NAME_SIZE];
    struct probe_pg *probe;
    bool probe_stale;
    struct timer *look_timer;
    uint64_t look_ms;

    struct child *control; /* pg_controldata; at its end, `then` */
    enum { THEN_SEEN, THEN_GONE } then;

    struct timer *stop_timer; /* the ladder, then the proof */
    bool stopping;            /* asked to */
    bool proving;             /* the postmaster has ended: is anything left? */
    uint64_t quit_at_ms, kill_at_ms, killed_ms, proof_since_ms;
    bool quit;
    char left[128]; /* what the proof has found, as last said */

    struct job *job;
    bool rest_wanted, conf_wanted, start_wanted, start_primary, reload_wanted;
    struct instance_conf conf;
    char on_disk[CONF_MAX]; /* the included file, as this guard wrote it; "": it has not */
    bool somebody;          /* it names somebody to wait for, or the name that nobody bears */
    bool waits;             /* in this life every commit is known to wait for somebody */

    bool follow_wanted; /* after the file is written */
    bool following;
    bool checking; /* only that the file is included */
    uint64_t follow_by_ms;
    int cut_looks;
    struct pg_session *follow_session;
    struct timer *follow_timer;

    struct promote *promote;
    struct promote_order order; /* that waits for the file */

    struct sync *sync;
    enum { SYNC_FOR_PROOF, SYNC_FOR_STANDBY, SYNC_FOR_PROMOTION } sync_for;
    bool sync_file_wanted;
    enum sync_file sync_file;
    char before[CONF_MAX];
    bool before_known;
    uint32_t sync_round;
    char unproven[GUARD_TEXT_SIZE]; /* as last said */
    char proven[SYNC_NAMES_SIZE];   /* what every session has to show since then; "": nothing */
    uint64_t proven_ms;

    struct slots *slots;
    struct timer *slot_timer;
    bool slot_named; /* in the included file */

    char complaints[2][TEXT_SIZE * 2]; /* of the file, of the names in force */
};

static void advance(struct instance *instance);
static void schedule_look(struct instance *instance, uint64_t in_ms);

static struct guard_event event_of(const struct instance *instance, enum guard_event_type type)
{
    return (struct guard_event){.type = type, .now_ms = clock_now_ms(), .seen = instance->seen};
}

static void emit(struct instance *instance, enum guard_event_type type)
{
    struct guard_event event = event_of(instance, type);
    instance->params.on_event(instance->params.arg, &event);
}

static void emit_text(struct instance *instance, enum guard_event_type type, const char *text)
{
    struct guard_event event = event_of(instance, type);
    snprintf(event.text, sizeof event.text, "%s", text);
    instance->params.on_event(instance->params.arg, &event);
}

static void __attribute__((format(printf, 2, 3)))
word(struct instance *instance, const char *format, ...)
{
    char text[ERR_TEXT_MAX + 64];
    va_list args;
    va_start(args, format);
    /* The analyzer loses sight of va_start above. NOLINTNEXTLINE(clang-analyzer-valist.*) */
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    instance->params.on_word(instance->params.arg, text);
}

enum { COMPLAINT_FILE, COMPLAINT_NAMES };

static void complain(struct instance *instance, int of, const char *text)
{
    char(*complaints)[TEXT_SIZE * 2] = instance->complaints;
    snprintf(complaints[of], sizeof complaints[of], "%s", text);
    instance->params.on_complaint(instance->params.arg, complaints[COMPLAINT_FILE][0] != '\0'
                                                            ? complaints[COMPLAINT_FILE]
                                                            : complaints[COMPLAINT_NAMES]);
}

/* ---- pg_controldata ---- */

static void on_control(void *arg, const struct child_result *result)
{
    struct instance *instance = arg;
    instance->control = NULL;
    struct guard_seen found = instance->seen;
    found.control = GUARD_CONTROL_UNKNOWN;
    if (result->err.code != ERR_NONE || result->exit_status != 0 ||
        !control_read(result->output, &found)) {
        word(instance, "pg_controldata: status %d: %.200s", result->exit_status,
             result->err.code != ERR_NONE ? result->err.text : result->output);
    }
    /* A copy of a primary has its control file, and a label: it was never a primary itself. */
    char label[LOCAL_PATH_SIZE + 16];
    snprintf(label, sizeof label, "%s/backup_label", instance->def->data_dir);
    found.copied = found.control != GUARD_CONTROL_UNKNOWN && access(label, F_OK) == 0;
    if (found.copied) {
        found.control = GUARD_CONTROL_STANDBY;
    }
    if (instance->pid != 0 && instance->then == THEN_GONE) {
        return; /* it was started again meanwhile */
    }
    instance->seen.control = found.control;
    instance->seen.copied = found.copied && instance->pid == 0;
    instance->seen.checkpoint_lsn = found.checkpoint_lsn;
    instance->seen.checkpoint_timeline = found.checkpoint_timeline;
    if (instance->seen.system_id == 0 || instance->pid == 0) {
        instance->seen.system_id = found.system_id;
    }
    instance->seen.process = instance->pid != 0 ? GUARD_PROCESS_RUNNING : GUARD_PROCESS_NONE;
    emit(instance, instance->then == THEN_GONE ? GUARD_EV_GONE : GUARD_EV_SEEN);
    schedule_look(instance, LOOK_MS);
}

static void read_control(struct instance *instance)
{
    if (instance->control != NULL) {
        child_cancel(instance->control);
    }
    char program[LOCAL_PATH_SIZE + 16];
    snprintf(program, sizeof program, "%s/pg_controldata", instance->def->bin_dir);
    struct child_request request = {.args = {program, "-D", instance->def->data_dir},
                                    .deadline_ms = CONTROL_MS};
    instance->control = child_start(instance->loop, &request, on_control, instance);
}

/* ---- the postmaster ---- */

static void forget_process(struct instance *instance)
{
    fd_watch_free(instance->pid_watch);
    instance->pid_watch = NULL;
    if (instance->pid_fd >= 0) {
        close(instance->pid_fd);
    }
    instance->pid_fd = -1;
    instance->pid = 0;
    instance->seen.role = ROLE_UNKNOWN;
    instance->seen.life = 0;
    instance->seen.receiving = false;
    instance->wrote_ms = 0;
    instance->waits = false;
    instance->proven[0] = '\0';
    instance->sync_file_wanted = false;
    sync_cancel(instance->sync);
    timer_stop(instance->slot_timer);
    slots_stop(instance->slots);
    instance->fact.answered = false;
    instance->fact.role = ROLE_UNKNOWN;
    if (instance->probe != NULL) {
        probe_pg_free(instance->probe);
        instance->probe = NULL;
    }
    instance_prepare(instance, false);
}

static void close_follow_session(struct instance *instance)
{
    pg_close(instance->follow_session);
    instance->follow_session = NULL;
}

static void end_follow(struct instance *instance)
{
    close_follow_session(instance);
    timer_stop(instance->follow_timer);
    instance->following = false;
}

/* How it ended, in words; reaps it where it is our child. */
static void ending_of(struct instance *instance, char ret_text[GUARD_TEXT_SIZE])
{
    int status = 0;
    bool known = instance->is_child && waitpid(instance->pid, &status, WNOHANG) == instance->pid;
    if (known && WIFSIGNALED(status)) {
        snprintf(ret_text, GUARD_TEXT_SIZE, "ended by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    } else if (known) {
        snprintf(ret_text, GUARD_TEXT_SIZE, "ended by itself with status %d", WEXITSTATUS(status));
    } else {
        snprintf(ret_text, GUARD_TEXT_SIZE,
                 "ended, nobody knows how: it was not this guard's child");
    }
}

static void on_ended(void *arg, int ready)
{
    (void)ready;
    struct instance *instance = arg;
    char text[GUARD_TEXT_SIZE];
    ending_of(instance, text);
    forget_process(instance);
    bool asked = instance->stopping;
    bool followed = instance->following || instance->follow_wanted;
    end_follow(instance);
    instance->follow_wanted = false;
    if (!asked) {
        emit_text(instance, GUARD_EV_DIED, text);
    }
    if (followed) {
        emit_text(instance, GUARD_EV_UNFOLLOWED, text);
    }
    if (!instance->proving) {
        instance->proving = true;
        instance->proof_since_ms = clock_now_ms();
        timer_start(instance->stop_timer, 0);
    }
}

static bool watch_process(struct instance *instance, pid_t pid, bool is_child)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        return false;
    }
    instance->pid = pid;
    instance->is_child = is_child;
    instance->pid_fd = fd;
    instance->pid_watch = fd_watch_new(instance->loop, fd, on_ended, instance);
    fd_watch_want(instance->pid_watch, FD_READABLE);
    instance->seen.process = GUARD_PROCESS_RUNNING;
    return true;
}

/* ---- looking ---- */

static struct pg_target target_of(const struct instance *instance)
{
    return (struct pg_target){.hostaddr = instance->def->socket_dir,
                              .port = instance->def->port,
                              .dbname = instance->dbname,
                              .user = instance->def->user,
                              .sslmode = "disable",
                              .application_name = "failover-guard",
                              .peer_uid = instance->uid};
}

/* Somebody else has changed what commits wait for. A look that began before the proof saw what was
 * before. */
static void compare_names(struct instance *instance, const struct instance_fact *fact)
{
    if (instance->proven[0] == '\0' || !fact->answered || fact->asked_ms <= instance->proven_ms ||
        strncmp(fact->sync_names, instance->proven, sizeof fact->sync_names - 1) == 0) {
        return;
    }
    char text[GUARD_TEXT_SIZE];
    snprintf(text, sizeof text, "synchronous_standby_names is now '%.120s'", fact->sync_names);
    word(instance, "%s", text);
    instance->proven[0] = '\0';
    instance->waits = false;
    emit_text(instance, GUARD_EV_UNSYNCED, text);
}

static void on_fact(void *arg, const struct instance_fact *fact)
{
    struct instance *instance = arg;
    instance->fact = *fact;
    if (fact->wrote) {
        instance->wrote_ms = fact->answered_ms;
    }
    if (fact->answered) {
        instance->seen.role = fact->role;
        instance->seen.system_id = fact->system_id;
        instance->seen.timeline = fact->timeline;
        instance->seen.life = fact->life;
        instance->seen.receiving = fact->receiving;
    }
    if (!instance->stopping) {
        emit(instance, GUARD_EV_SEEN);
        compare_names(instance, fact);
    }
    advance(instance);
    schedule_look(instance, instance->look_ms);
}

static void on_news(void *arg)
{
    schedule_look(arg, 0);
}

static void ask(struct instance *instance)
{
    if (instance->probe_stale && instance->probe != NULL && !probe_pg_busy(instance->probe)) {
        probe_pg_free(instance->probe);
        instance->probe = NULL;
    }
    if (instance->probe == NULL) {
        char name[NAME_SIZE + 8];
        snprintf(name, sizeof name, "guard-%s", instance->params.node);
        struct probe_pg_params params = {.target = target_of(instance),
                                         .controller = name,
                                         .deadline_ms = PROBE_MS,
                                         .done = on_fact,
                                         .on_news = on_news,
                                         .arg = instance};
        instance->probe = probe_pg_new(instance->loop, &params);
        instance->probe_stale = false;
    }
    if (!probe_pg_busy(instance->probe)) {
        probe_pg_ask(instance->probe);
    }
}

/* Somebody may have started it, or it was running before we were. */
static void look(void *arg)
{
    struct instance *instance = arg;
    if (instance->proving || instance->control != NULL) {
        schedule_look(instance, LOOK_MS);
        return;
    }
    if (instance->pid == 0) {
        pid_t pid = processes_postmaster(&instance->processes);
        if (pid != 0 && watch_process(instance, pid, false)) {
            word(instance, "a postmaster runs that this guard did not start: process %d", (int)pid);
            instance->then = THEN_SEEN;
            read_control(instance);
            return;
        }
    }
    if (instance->pid != 0) {
        ask(instance);
        schedule_look(instance, LOOK_MS);
        return;
    }
    schedule_look(instance, LOOK_MS);
    char left[128];
    if (!processes_are_gone(&instance->processes, left, sizeof left)) {
        instance->seen.process = GUARD_PROCESS_RUNNING; /* whatever it is, it is not stopped */
        emit(instance, GUARD_EV_SEEN);
    } else if (instance->seen.process != GUARD_PROCESS_NONE ||
               instance->seen.control == GUARD_CONTROL_UNKNOWN) {
        instance->then = THEN_GONE;
        read_control(instance);
    }
}

static void schedule_look(struct instance *instance, uint64_t in_ms)
{
    timer_start(instance->look_timer, in_ms);
}

/* ---- stopping ---- */

static void prove(struct instance *instance)
{
    char left[sizeof instance->left];
    uint64_t now_ms = clock_now_ms();
    if (processes_are_gone(&instance->processes, left, sizeof left)) {
        instance->proving = false;
        instance->stopping = false;
        instance->left[0] = '\0';
        timer_stop(instance->stop_timer);
        /* Said at once: until its control file is read it is held down, and a proof waits for no
         * child. */
        instance->seen.process = GUARD_PROCESS_NONE;
        instance->seen.control = GUARD_CONTROL_UNKNOWN;
        emit(instance, GUARD_EV_GONE);
        instance->then = THEN_SEEN;
        read_control(instance);
        return;
    }
    if (strcmp(left, instance->left) != 0 && now_ms > instance->proof_since_ms + PROOF_LATE_MS) {
        memcpy(instance->left, left, sizeof left);
        word(instance, "not proven stopped: %s", left);
    }
    if (instance->stopping && now_ms >= instance->killed_ms + KILL_AGAIN_MS) {
        instance->killed_ms = now_ms;
        processes_kill(&instance->processes);
    }
    timer_start(instance->stop_timer,
                now_ms < instance->proof_since_ms + 1000 ? PROOF_MS : PROOF_LATE_MS);
}

static void begin_proof(struct instance *instance, uint64_t now_ms)
{
    instance->killed_ms = now_ms;
    processes_kill(&instance->processes);
    if (!instance->proving) {
        instance->proving = true;
        instance->proof_since_ms = now_ms;
    }
    timer_start(instance->stop_timer, PROOF_MS);
}

/* The next rung. A postmaster that has ended may have left backends behind: they are killed. */
static void climb(void *arg)
{
    struct instance *instance = arg;
    uint64_t now_ms = clock_now_ms();
    if (!instance->stopping || (instance->proving && instance->killed_ms != 0)) {
        prove(instance);
        return;
    }
    if (instance->pid == 0 || now_ms >= instance->kill_at_ms) {
        begin_proof(instance, now_ms);
        return;
    }
    if (now_ms >= instance->quit_at_ms && !instance->quit) {
        instance->quit = true;
        kill(instance->pid, SIGQUIT);
    }
    uint64_t next_ms = instance->quit ? instance->kill_at_ms : instance->quit_at_ms;
    timer_start(instance->stop_timer, next_ms > now_ms ? next_ms - now_ms : 0);
}

void instance_stop(struct instance *instance, uint64_t kill_at_ms)
{
    uint64_t now_ms = clock_now_ms();
    instance->start_wanted = false;
    instance->sync_file_wanted = false;
    sync_cancel(instance->sync);
    if (instance->stopping && kill_at_ms >= instance->kill_at_ms) {
        return;
    }
    instance->kill_at_ms = kill_at_ms;
    instance->quit_at_ms = kill_at_ms > now_ms ? now_ms + (kill_at_ms - now_ms) * 2 / 3 : now_ms;
    if (!instance->stopping) {
        instance->stopping = true;
        instance->quit = false;
        instance->killed_ms = 0;
        if (instance->pid != 0 && kill_at_ms > now_ms) {
            kill(instance->pid, SIGINT);
        }
    }
    climb(instance);
}

static void on_stop_timer(void *arg)
{
    struct instance *instance = arg;
    if (instance->stopping) {
        climb(instance);
    } else if (instance->proving) {
        prove(instance);
    }
}

/* ---- jobs: files in the data directory ---- */

static void work_job(uv_work_t *work)
{
    struct job *job = work->data;
    if (job->kind == JOB_REST) {
        char version[LOCAL_PATH_SIZE + 16];
        snprintf(version, sizeof version, "%s/PG_VERSION", job->data_dir);
        if (access(version, F_OK) < 0) {
            return; /* nothing to put to rest: it may be about to be made */
        }
        job->failed = files_rest(job->data_dir, job->uid, job->gid, &job->err) < 0;
        return;
    }
    bool missing;
    if (files_read(job->path, job->before, sizeof job->before, &missing, NULL) < 0) {
        job->before[0] = '\0';
    }
    job->failed = files_write(job->path, job->text, 0600, true, &job->err) < 0;
    if (!job->failed && chown(job->path, job->uid, job->gid) < 0) {
        err_set(&job->err, ERR_SYSTEM, "%s: %s", job->path, strerror(errno));
        job->failed = true;
    }
}

static void conf_failed(struct instance *instance, const char *text)
{
    bool starts = instance->start_wanted;
    instance->on_disk[0] = '\0';
    instance->start_wanted = false; /* nothing starts with another configuration */
    if (instance->follow_wanted) {
        instance->follow_wanted = false;
        emit_text(instance, GUARD_EV_UNFOLLOWED, text);
    } else if (starts) {
        emit_text(instance, GUARD_EV_DIED, text);
    }
}

static void after_conf(struct instance *instance, const struct job *job)
{
    bool wanted = job->for_sync && !instance->sync_file_wanted && sync_is_running(instance->sync);
    if (job->failed) {
        conf_failed(instance, job->err.text);
    } else {
        memcpy(instance->on_disk, job->text, sizeof instance->on_disk);
        instance->somebody = job->somebody;
        instance->waits = instance->waits && job->somebody;
    }
    if (!instance->before_known) {
        memcpy(instance->before, job->before, sizeof instance->before);
        instance->before_known = true;
    }
    if (job->for_sync && !job->failed && instance->pid != 0) {
        kill(instance->pid, SIGHUP);
    }
    if (wanted) {
        sync_written(instance->sync, !job->failed, job->err.text);
    }
}

static void after_job(uv_work_t *work, int status)
{
    (void)status;
    struct job *job = work->data;
    struct instance *instance = job->instance;
    if (instance != NULL) {
        instance->job = NULL;
        if (job->failed) {
            word(instance, "%s", job->err.text);
        }
        if (job->kind == JOB_CONF) {
            after_conf(instance, job);
        }
        advance(instance);
    }
    free(job);
}

static void quote(const char *text, char *ret_text, size_t size)
{
    size_t len = 0;
    for (; *text != '\0' && len + 3 < size; text++) {
        if (*text == '\'' || *text == '\\') {
            ret_text[len++] = *text;
        }
        ret_text[len++] = *text;
    }
    ret_text[len] = '\0';
}

/* names NULL: those of the configuration, if it says any. */
static void compose(const struct instance *instance, const char *names, char ret_text[CONF_MAX])
{
    const struct instance_conf *conf = &instance->conf;
    char conninfo[2 * CONNINFO_SIZE], said[2 * SYNC_NAMES_SIZE];
    quote(conf->conninfo, conninfo, sizeof conninfo);
    quote(names != NULL ? names : conf->names, said, sizeof said);
    int len = snprintf(ret_text, CONF_MAX,
                       "# Written by failover-guard, again and again: changes are lost.\n"
                       "# upstream: %s\n"
                       "restart_after_crash = off\n"
                       "max_slot_wal_keep_size = '%lluMB'\n"
                       "primary_conninfo = '%s'\n"
                       "primary_slot_name = '%s'\n",
                       conf->upstream[0] != '\0' ? conf->upstream : "none",
                       (unsigned long long)(conf->slot_limit >> 20), conninfo,
                       instance->slot_named ? conf->slot : "");
    if (conf->says_names || names != NULL) {
        len += snprintf(ret_text + len, CONF_MAX - (size_t)len,
                        "synchronous_standby_names = '%s'\n", said);
    }
    assert(len < CONF_MAX);
}

static void fill_conf(struct instance *instance, struct job *job)
{
    const struct instance_conf *conf = &instance->conf;
    job->for_sync = instance->sync_file_wanted;
    instance->sync_file_wanted = false;
    if (job->for_sync && instance->sync_file == SYNC_FILE_BEFORE) {
        memcpy(job->text, instance->before, sizeof job->text);
    } else if (job->for_sync && instance->sync_file == SYNC_FILE_NOBODY) {
        compose(instance, GUARD_SYNC_NOBODY_NAMES, job->text);
        job->somebody = true;
    } else {
        compose(instance, NULL, job->text);
        job->somebody = conf->says_names && conf->names[0] != '\0';
    }
}

/* Takes a configuration; a slot is named only at the upstream where it was found. */
static void take_conf(struct instance *instance, const struct instance_conf *conf)
{
    bool same = strcmp(instance->conf.conninfo, conf->conninfo) == 0 &&
                strcmp(instance->conf.slot, conf->slot) == 0;
    instance->slot_named = instance->slot_named && same && conf->conninfo[0] != '\0';
    instance->conf = *conf;
}

static void start_job(struct instance *instance, enum job_kind kind)
{
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        abort(); /* a guard that is gone feeds no watchdog */
    }
    job->work.data = job;
    job->instance = instance;
    job->kind = kind;
    job->uid = instance->uid;
    job->gid = instance->gid;
    memcpy(job->data_dir, instance->def->data_dir, sizeof job->data_dir);
    memcpy(job->path, instance->include_file, sizeof job->path);
    if (kind == JOB_CONF) {
        fill_conf(instance, job);
    }
    instance->job = job;
    uv_queue_work(loop_uv(instance->loop), &job->work, work_job, after_job);
}

/* ---- starting ---- */

struct launch { /* all that the child needs, made before the fork */
    char program[LOCAL_PATH_SIZE + 16];
    char config[LOCAL_PATH_SIZE + 16];
    char path_env[LOCAL_PATH_SIZE + 32];
    const char *args[10];
    const char *env[5];
    int cgroup_fd, log_fd, null_fd;
};

static void prepare_launch(struct instance *instance, struct launch *launch)
{
    const struct local_instance_def *def = instance->def;
    memset(launch, 0, sizeof *launch);
    snprintf(launch->program, sizeof launch->program, "%s/postgres", def->bin_dir);
    snprintf(launch->path_env, sizeof launch->path_env, "PATH=%s:/usr/bin:/bin", def->bin_dir);
    int len = 0;
    launch->args[len++] = launch->program;
    launch->args[len++] = "-D";
    launch->args[len++] = def->data_dir;
    if (def->config_file[0] != '\0') {
        snprintf(launch->config, sizeof launch->config, "config_file=%s", def->config_file);
        launch->args[len++] = "-c";
        launch->args[len++] = launch->config;
    }
    /* Whatever else the configuration says: a crashed backend must not turn into a standby. */
    launch->args[len++] = "-c";
    launch->args[len++] = "restart_after_crash=off";
    launch->env[0] = launch->path_env;
    launch->env[1] = "PG_OOM_ADJUST_FILE=/proc/self/oom_score_adj";
    launch->env[2] = "PG_OOM_ADJUST_VALUE=0";
    launch->cgroup_fd = processes_open_cgroup(&instance->processes);
    launch->log_fd =
        open(instance->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    launch->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
}

/* In the new process: system calls only. */
static void become_postgres(const struct instance *instance, const struct launch *launch)
    __attribute__((noreturn));

static void become_postgres(const struct instance *instance, const struct launch *launch)
{
    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    bool good = setsid() >= 0;
    if (launch->cgroup_fd >= 0) {
        good = good && write(launch->cgroup_fd, "0", 1) == 1;
    }
    if (instance->start_primary) {
        good = good && files_unrest(instance->def->data_dir) == 0;
    } else {
        good = good && files_rest(instance->def->data_dir, instance->uid, instance->gid, NULL) == 0;
    }
    int output = launch->log_fd >= 0 ? launch->log_fd : launch->null_fd;
    good = good && dup2(launch->null_fd, 0) == 0 && dup2(output, 1) == 1 && dup2(output, 2) == 2;
    good = good && syscall(SYS_close_range, 3, ~0u, 0) == 0;
    if (geteuid() == 0) {
        good = good && syscall(SYS_setgroups, instance->groups_len, instance->groups) == 0 &&
               syscall(SYS_setresgid, instance->gid, instance->gid, instance->gid) == 0 &&
               syscall(SYS_setresuid, instance->uid, instance->uid, instance->uid) == 0;
    }
    if (good && chdir("/") == 0) {
        umask(0077);
        execve(launch->args[0], (char *const *)launch->args, (char *const *)launch->env);
    }
    _exit(127);
}

/*
 * The proof holds, so these files are a dead one's. Their number may be another process's by now,
 * and PostgreSQL would take that for its predecessor and not start. The socket's is looked into: it
 * is removed only if it is of this data directory.
 */
static void remove_stale(const struct instance *instance)
{
    const struct local_instance_def *def = instance->def;
    char path[2 * LOCAL_PATH_SIZE], text[1024];
    bool missing;
    snprintf(path, sizeof path, "%s/postmaster.pid", def->data_dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/.s.PGSQL.%u.lock", def->socket_dir, (unsigned)def->port);
    ssize_t len = files_read(path, text, sizeof text, &missing, NULL);
    const char *line = len > 0 ? strchr(text, '\n') : NULL;
    size_t own = strlen(def->data_dir);
    if (line != NULL && strncmp(line + 1, def->data_dir, own) == 0 && line[1 + own] == '\n') {
        unlink(path);
    }
}

static void start_now(struct instance *instance)
{
    struct launch launch;
    char text[128];
    instance->start_wanted = false;
    if (instance->start_primary && !instance->params.may_be_primary(instance->params.arg)) {
        emit_text(instance, GUARD_EV_DIED, "its time ended before it could be started");
        return;
    }
    if (instance->pid != 0 || !processes_are_gone(&instance->processes, text, sizeof text)) {
        word(instance, "not started: something runs already");
        schedule_look(instance, 0);
        return;
    }
    remove_stale(instance);
    prepare_launch(instance, &launch);
    instance->seen.control =
        instance->start_primary ? GUARD_CONTROL_PRIMARY_CRASH : instance->seen.control;
    instance->waits = instance->on_disk[0] != '\0' && instance->somebody;
    instance->seen.copied = false;
    pid_t pid = fork();
    if (pid == 0) {
        become_postgres(instance, &launch);
    }
    int fds[] = {launch.cgroup_fd, launch.log_fd, launch.null_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (pid < 0 || !watch_process(instance, pid, true)) {
        word(instance, "not started: %s", strerror(errno));
        emit_text(instance, GUARD_EV_DIED, "it could not be started");
        return;
    }
    schedule_look(instance, instance->look_ms);
}

void instance_start(struct instance *instance, bool primary, const struct instance_conf *conf)
{
    if (conf != NULL) {
        take_conf(instance, conf);
        instance->conf_wanted = true;
        timer_start(instance->slot_timer, SLOT_ASK_MS);
    }
    instance->start_wanted = true;
    instance->start_primary = primary;
    advance(instance);
}

void instance_rest(struct instance *instance)
{
    instance->rest_wanted = true;
    advance(instance);
}

/* ---- the upstream ---- */

static const char follow_sql[] =
    "SELECT (current_setting('primary_conninfo') = $1)::int,"
    " (SELECT count(*) FROM pg_stat_wal_receiver WHERE pid IS NOT NULL),"
    " (SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%/' || $2)";

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/*
 * Ahead of a promotion: the checkpointer has taken up that commits wait for somebody. A standby
 * that this guard started knew it from the beginning.
 */
static void begin_sync(struct instance *instance, const struct sync_order *order);

static void close_standby(struct instance *instance)
{
    if (!instance->conf.says_names || instance->waits || instance->seen.role != ROLE_STANDBY ||
        sync_is_running(instance->sync)) {
        return;
    }
    struct sync_order order = {.closed = true, .barrier = true};
    instance->sync_for = SYNC_FOR_STANDBY;
    begin_sync(instance, &order);
}

static void finish_follow(struct instance *instance, bool done, const char *text)
{
    bool checking = instance->checking;
    end_follow(instance);
    if (checking) {
        return;
    }
    struct guard_event event = event_of(instance, done ? GUARD_EV_FOLLOWED : GUARD_EV_UNFOLLOWED);
    memcpy(event.upstream, instance->conf.upstream, sizeof event.upstream);
    event.closed = instance->conf.says_names;
    snprintf(event.text, sizeof event.text, "%s", text);
    if (!done) {
        word(instance, "upstream \"%s\" is not taken up: %s", instance->conf.upstream, text);
    }
    instance->params.on_event(instance->params.arg, &event);
    if (done && instance->pid != 0) {
        timer_start(instance->slot_timer, SLOT_ASK_MS);
        close_standby(instance);
    }
}

static void look_again(struct instance *instance, const char *text)
{
    if (instance->follow_session != NULL && !pg_usable(instance->follow_session)) {
        close_follow_session(instance);
    }
    if (clock_now_ms() >= instance->follow_by_ms) {
        finish_follow(instance, false, text);
        return;
    }
    timer_start(instance->follow_timer, FOLLOW_LOOK_MS);
}

static void on_follow_answer(void *arg, const struct pg_reply *reply)
{
    struct instance *instance = arg;
    if (reply->outcome != PG_DONE || reply->results_len != 1) {
        look_again(instance, reply->text);
        return;
    }
    const PGresult *row = reply->results[0];
    bool set = strcmp(PQgetvalue(row, 0, 0), "1") == 0;
    bool none = strcmp(PQgetvalue(row, 0, 1), "0") == 0;
    bool included = strcmp(PQgetvalue(row, 0, 2), "0") != 0;
    char complaint[TEXT_SIZE * 2] = "";
    if (!included) {
        snprintf(complaint, sizeof complaint,
                 "add to the end of postgresql.conf: include_if_exists = '%s'",
                 instance->include_file);
    }
    complain(instance, COMPLAINT_FILE, complaint);
    instance->cut_looks = none ? instance->cut_looks + 1 : 0;
    if (!included || (!set && !instance->checking)) {
        look_again(instance, included ? "PostgreSQL has not read it yet" : complaint);
    } else if (instance->conf.conninfo[0] == '\0' && !instance->checking &&
               instance->cut_looks < CUT_LOOKS) {
        look_again(instance, "a WAL receiver is still there");
    } else {
        finish_follow(instance, true, "");
    }
}

static void ask_follow(struct instance *instance)
{
    static const struct pg_statement statement = {"failover_follow", follow_sql};
    const char *params[] = {instance->conf.conninfo, base_of(instance->include_file)};
    struct pg_call call = {&statement, params, 2};
    pg_call(instance->follow_session, &call, 1, PROBE_MS, on_follow_answer, instance);
}

static void on_follow_open(void *arg, const struct pg_reply *reply)
{
    struct instance *instance = arg;
    if (reply->outcome != PG_DONE) {
        look_again(instance, reply->text);
        return;
    }
    ask_follow(instance);
}

static void on_follow_lost(void *arg, const char *text)
{
    (void)text;
    close_follow_session(arg); /* it was idle: the next look opens another */
}

/*
 * One session for all looks of an order, opened after its SIGHUP was sent: the postmaster passes a
 * SIGHUP on only when it has read the file itself, so what this session shows is the postmaster's.
 */
static void follow_now(void *arg)
{
    struct instance *instance = arg;
    if (instance->follow_session != NULL) {
        ask_follow(instance);
        return;
    }
    struct pg_target target = target_of(instance);
    target.dbname = "postgres";
    instance->follow_session =
        pg_open(instance->loop, &target, PROBE_MS, on_follow_open, on_follow_lost, instance);
}

static void begin_follow(struct instance *instance)
{
    instance->follow_wanted = false;
    if (instance->pid == 0) { /* what is on disk counts at the next start */
        instance->checking = false;
        finish_follow(instance, true, "");
        advance(instance); /* a start may wait for the file */
        return;
    }
    kill(instance->pid, SIGHUP);
    instance->reload_wanted = false;
    instance->following = true;
    instance->cut_looks = 0;
    instance->follow_by_ms = clock_now_ms() + FOLLOW_MS;
    follow_now(instance);
}

void instance_follow(struct instance *instance, const struct instance_conf *conf)
{
    end_follow(instance);
    sync_cancel(instance->sync); /* a standby's, for the file before this one */
    instance->sync_file_wanted = false;
    instance->checking = false;
    take_conf(instance, conf);
    instance->conf_wanted = true;
    instance->follow_wanted = true;
    advance(instance);
}

void instance_take_over(struct instance *instance, const struct instance_conf *conf)
{
    struct err err = {0};
    if (processes_take_over(&instance->processes, &err) < 0) {
        word(instance, "not all of it is in a cgroup: %s", err.text);
    }
    if (conf != NULL && !instance->following && !instance->follow_wanted) {
        take_conf(instance, conf);
        instance->conf_wanted = true;
        instance->follow_wanted = true;
        instance->checking = true;
        advance(instance);
    }
}

/* Not between the taking away of standby.signal for a start and the primary that it becomes. */
static bool may_rest(const struct instance *instance)
{
    return !instance->start_primary || instance->seen.role == ROLE_PRIMARY ||
           (instance->pid == 0 && !instance->start_wanted);
}

/* One job after the other, then what waits for them. */
static void advance(struct instance *instance)
{
    if (instance->job != NULL) {
        return;
    }
    if (instance->rest_wanted && may_rest(instance)) {
        instance->rest_wanted = false;
        start_job(instance, JOB_REST);
    } else if (instance->sync_file_wanted || instance->conf_wanted) {
        instance->conf_wanted = instance->conf_wanted && instance->sync_file_wanted;
        start_job(instance, JOB_CONF);
    } else if (instance->follow_wanted) {
        begin_follow(instance);
    } else if (instance->reload_wanted) {
        instance->reload_wanted = false;
        if (instance->pid != 0) {
            kill(instance->pid, SIGHUP);
        }
        advance(instance);
    } else if (instance->start_wanted) {
        start_now(instance);
    }
}

/* ---- what commits wait for ---- */

static void on_sync_write(void *arg, enum sync_file file)
{
    struct instance *instance = arg;
    char text[CONF_MAX];
    if (!instance->before_known && instance->on_disk[0] != '\0') {
        memcpy(instance->before, instance->on_disk, sizeof instance->before);
        instance->before_known = true;
    }
    if (file == SYNC_FILE_BEFORE) {
        memcpy(text, instance->before, sizeof text);
    } else {
        compose(instance, file == SYNC_FILE_NOBODY ? GUARD_SYNC_NOBODY_NAMES : NULL, text);
    }
    if (instance->job == NULL && !instance->reload_wanted && strcmp(text, instance->on_disk) == 0) {
        sync_written(instance->sync, true, "");
        return;
    }
    instance->sync_file = file;
    instance->sync_file_wanted = true;
    advance(instance);
}

static void begin_sync(struct instance *instance, const struct sync_order *order)
{
    instance->conf_wanted = false; /* the order writes it whole, in its steps */
    instance->before_known = false;
    sync_begin(instance->sync, order);
}

void instance_sync(struct instance *instance, const struct instance_conf *conf,
                   const struct guard_sync *sync, uint32_t round, bool waits)
{
    struct sync_order order = {.sync = *sync, .proof = true};
    if (instance->pid == 0 || instance->stopping) {
        return; /* its end is told anyway */
    }
    instance->waits = instance->waits || waits;
    instance->proven[0] = '\0';
    instance->sync_for = SYNC_FOR_PROOF;
    instance->sync_round = round;
    order.by_nobody = guard_sync_mixes(sync);
    order.barrier = !instance->waits;
    take_conf(instance, conf);
    begin_sync(instance, &order);
}

static void end_proof(struct instance *instance, enum sync_outcome outcome, const char *text)
{
    bool done = outcome == SYNC_DONE;
    struct guard_event event = event_of(instance, done ? GUARD_EV_SYNCED : GUARD_EV_UNSYNCED);
    event.round = instance->sync_round;
    snprintf(event.text, sizeof event.text, "%s", text);
    if (strcmp(event.text, instance->unproven) != 0) {
        memcpy(instance->unproven, event.text, sizeof instance->unproven);
        word(instance, "%s%s", done ? "what commits wait for is proven" : "not proven: ", text);
    }
    if (done && instance->conf.says_names) {
        memcpy(instance->proven, instance->conf.names, sizeof instance->proven);
        instance->proven_ms = clock_now_ms();
        instance->waits = instance->conf.names[0] != '\0';
    }
    instance->params.on_event(instance->params.arg, &event);
}

static void order_promotion(struct instance *instance)
{
    instance->order.deadline_ms = clock_now_ms() + PROMOTE_MS;
    instance_prepare(instance, true);
    promote_go(instance->promote, &instance->order);
}

static void on_sync_done(void *arg, enum sync_outcome outcome, const char *text)
{
    struct instance *instance = arg;
    if (instance->sync_for == SYNC_FOR_PROOF) {
        end_proof(instance, outcome, text);
        return;
    }
    instance->waits = outcome == SYNC_DONE && instance->conf.names[0] != '\0';
    if (outcome != SYNC_DONE) {
        word(instance, "what its commits will wait for is not in place: %s", text);
    }
    if (instance->sync_for == SYNC_FOR_PROMOTION && outcome == SYNC_UNKNOWN) {
        emit_text(instance, GUARD_EV_UNPROMOTED, text);
    } else if (instance->sync_for == SYNC_FOR_PROMOTION) {
        order_promotion(instance);
    }
}

static void on_sync_complaint(void *arg, const char *text)
{
    complain(arg, COMPLAINT_NAMES, text);
}

/* ---- slots ---- */

void instance_keep_slots(struct instance *instance, const char (*standbys)[NAME_SIZE], int len)
{
    if (instance->pid != 0 && !instance->stopping) {
        slots_keep(instance->slots, standbys, len);
    }
}

static void on_slot_timer(void *arg)
{
    struct instance *instance = arg;
    const struct instance_conf *conf = &instance->conf;
    bool follows = instance->pid != 0 && instance->seen.role == ROLE_STANDBY &&
                   conf->conninfo[0] != '\0' && conf->slot[0] != '\0';
    if (instance->seen.role == ROLE_PRIMARY) {
        return;
    }
    if (follows && !(instance->slot_named && instance->seen.receiving)) {
        slots_ask(instance->slots, conf->address, conf->port, conf->conninfo, conf->slot);
    }
    timer_start(instance->slot_timer, instance->slot_named ? SLOT_LOOK_MS : SLOT_ASK_MS);
}

/* A slot that is not there would keep it from connecting; one that is, keeps the WAL it needs. */
static void on_slot_answer(void *arg, enum slots_answer answer)
{
    struct instance *instance = arg;
    bool named = answer == SLOTS_UNKNOWN ? instance->slot_named : answer == SLOTS_THERE;
    if (answer == SLOTS_UNKNOWN) {
        timer_start(instance->slot_timer, SLOT_LOOK_MS); /* it may never be able to say */
    }
    if (named != instance->slot_named && instance->seen.role == ROLE_STANDBY &&
        instance->conf.conninfo[0] != '\0' && !instance->stopping) {
        word(instance, "the slot %s is %s", instance->conf.slot, named ? "used" : "not there");
        instance->slot_named = named;
        instance->conf_wanted = true;
        instance->reload_wanted = true;
        advance(instance);
    }
}

static void on_slot_word(void *arg, const char *text)
{
    word(arg, "%s", text);
}

/* ---- promotion ---- */

void instance_prepare(struct instance *instance, bool wanted)
{
    if (!wanted) {
        promote_free(instance->promote);
        instance->promote = NULL;
    } else if (instance->promote == NULL && instance->pid != 0) {
        char name[NAME_SIZE + 8];
        struct pg_target target = target_of(instance);
        snprintf(name, sizeof name, "guard-%s", instance->params.node);
        instance->promote = promote_new(instance->loop, &target, name);
    }
}

static void on_promoted(void *arg, const struct promote_result *result)
{
    struct instance *instance = arg;
    bool done = result->outcome == PROMOTE_DONE || result->outcome == PROMOTE_ALREADY;
    if (done) {
        instance->seen.role = ROLE_PRIMARY;
        instance->seen.timeline = result->timeline;
        instance->wrote_ms = clock_now_ms();
        word(instance, "promoted: timeline %u, %llu ms from the request to the first write",
             (unsigned)result->timeline, (unsigned long long)result->took_ms);
    }
    emit_text(instance, done ? GUARD_EV_PROMOTED : GUARD_EV_UNPROMOTED, done ? "" : result->text);
    schedule_look(instance, 0);
}

static bool may_promote(void *arg)
{
    struct instance *instance = arg;
    return instance->pid != 0 && !instance->stopping &&
           instance->params.may_be_primary(instance->params.arg);
}

/* What its commits will wait for stands in the file, and is taken up, before it is asked. */
void instance_promote(struct instance *instance, const struct guard_permit *permit,
                      const struct instance_conf *conf, uint64_t act_by_ms)
{
    if (instance->pid == 0 || permit->system_id == 0 || permit->timeline == 0) {
        emit_text(instance, GUARD_EV_UNPROMOTED, "nothing runs, or the permit names no history");
        return;
    }
    instance->order = (struct promote_order){.system_id = permit->system_id,
                                             .timeline = permit->timeline,
                                             .life = permit->life,
                                             .act_by_ms = act_by_ms,
                                             .may_act = may_promote,
                                             .done = on_promoted,
                                             .arg = instance};
    struct sync_order order = {.sync = permit->sync, .barrier = !instance->waits};
    take_conf(instance, conf);
    order.sync.len = conf->says_names ? order.sync.len : 0;
    instance->sync_for = SYNC_FOR_PROMOTION;
    begin_sync(instance, &order);
}

/* ---- its life ---- */

static int find_user(struct instance *instance, struct err *ret_err)
{
    const struct passwd *user = getpwnam(instance->def->os_user);
    if (user == NULL) {
        return err_set(ret_err, ERR_INVALID, "there is no system user \"%s\"",
                       instance->def->os_user);
    }
    instance->uid = user->pw_uid;
    instance->gid = user->pw_gid;
    instance->groups_len = GROUPS_ROOM;
    if (getgrouplist(instance->def->os_user, user->pw_gid, instance->groups,
                     &instance->groups_len) < 0) {
        return err_set(ret_err, ERR_LIMIT, "the user \"%s\" is in more than %d groups",
                       instance->def->os_user, GROUPS_ROOM);
    }
    return 0;
}

static void name_files(struct instance *instance)
{
    const struct local_instance_def *def = instance->def;
    snprintf(instance->include_file, sizeof instance->include_file, "%.*s%s", LOCAL_PATH_SIZE - 20,
             def->include_file[0] != '\0' ? def->include_file : def->data_dir,
             def->include_file[0] != '\0' ? "" : "/failover.conf");
    if (def->log_file[0] != '\0') {
        memcpy(instance->log_file, def->log_file, sizeof instance->log_file);
    } else {
        snprintf(instance->log_file, sizeof instance->log_file, "%.*s/postgres-%s.log",
                 LOCAL_PATH_SIZE - NAME_SIZE - 20, instance->params.state_dir, def->database);
    }
}

static void start_parts(struct instance *instance)
{
    struct pg_target target = target_of(instance);
    target.dbname = "postgres";
    struct sync_params sync = {.target = target,
                               .include_file = instance->include_file,
                               .write = on_sync_write,
                               .done = on_sync_done,
                               .complain = on_sync_complaint,
                               .arg = instance};
    struct slots_params slots = {
        .target = target, .on_word = on_slot_word, .answered = on_slot_answer, .arg = instance};
    instance->sync = sync_new(instance->loop, &sync);
    instance->slots = slots_new(instance->loop, &slots);
}

struct instance *instance_new(struct loop *loop, const struct instance_params *params,
                              struct err *ret_err)
{
    struct instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        err_set(ret_err, ERR_SYSTEM, "no memory is left");
        return NULL;
    }
    instance->loop = loop;
    instance->params = *params;
    instance->def = params->def;
    instance->pid_fd = -1;
    instance->look_ms = LOOK_MS;
    snprintf(instance->dbname, sizeof instance->dbname, "postgres");
    if (find_user(instance, ret_err) < 0) {
        free(instance);
        return NULL;
    }
    name_files(instance);
    char name[NAME_SIZE + 16];
    struct err err = {0};
    snprintf(name, sizeof name, "postgres-%s", params->def->database);
    if (processes_init(&instance->processes, params->def->data_dir, name, &err) < 0) {
        word(instance, "%s; its processes are found by /proc alone", err.text);
    }
    instance->look_timer = timer_new(loop, look, instance);
    instance->stop_timer = timer_new(loop, on_stop_timer, instance);
    instance->follow_timer = timer_new(loop, follow_now, instance);
    instance->slot_timer = timer_new(loop, on_slot_timer, instance);
    start_parts(instance);
    schedule_look(instance, 0);
    return instance;
}

void instance_free(struct instance *instance)
{
    if (instance == NULL) {
        return;
    }
    if (instance->job != NULL) {
        instance->job->instance = NULL;
    }
    if (instance->control != NULL) {
        child_cancel(instance->control);
    }
    forget_process(instance);
    end_follow(instance);
    timer_free(instance->look_timer);
    timer_free(instance->stop_timer);
    timer_free(instance->follow_timer);
    timer_free(instance->slot_timer);
    sync_free(instance->sync);
    slots_free(instance->slots);
    free(instance);
}

void instance_set_dbname(struct instance *instance, const char *dbname)
{
    if (strcmp(instance->dbname, dbname) != 0) {
        snprintf(instance->dbname, sizeof instance->dbname, "%s", dbname);
        instance->probe_stale = true;
        instance_prepare(instance, false);
    }
}

void instance_look_every(struct instance *instance, uint64_t ms)
{
    if (ms < instance->look_ms) {
        schedule_look(instance, ms);
    }
    instance->look_ms = ms;
}

const struct instance_fact *instance_fact(const struct instance *instance)
{
    return &instance->fact;
}

uint64_t instance_wrote_ms(const struct instance *instance)
{
    return instance->wrote_ms;
}

bool instance_has_cgroup(const struct instance *instance)
{
    return instance->processes.cgroup[0] != '\0';
}

uint64_t instance_free_bytes(const struct instance *instance)
{
    struct statvfs status;
    return statvfs(instance->def->data_dir, &status) == 0
               ? (uint64_t)status.f_bavail * status.f_frsize
               : 0;
}

const struct guard_seen *instance_seen(const struct instance *instance)
{
    return &instance->seen;
}
