#include "fence/guard/daemon.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define SAVE_AGAIN_MS 500
#define ARM_AGAIN_MS  1000
#define FEEDS_MIN     4 /* of the watchdog in one period, and at most so many: */
#define FEEDS_MAX     16
#define LOOK_MS       1000
#define LOOK_HURRY_MS 25

struct guard_event guard_event_of(enum guard_event_type type)
{
    return (struct guard_event){.type = type, .now_ms = clock_now_ms()};
}

/* Only the latest roles count, and a watch that resumes may bring a hundred of them at once. */
static bool replaces(const struct guard_inbox *old, int index, const struct guard_event *event)
{
    return event->type == GUARD_EV_DECLARED && old->event.type == GUARD_EV_DECLARED &&
           old->index == index && event->declared.revision >= old->event.declared.revision;
}

/* An inbox that is full belongs to a loop that does not turn: who does not run feeds no watchdog.
 */
void guard_post(struct guard_daemon *d, int index, const struct guard_event *event)
{
    for (int i = 0; i < d->inbox_len; i++) {
        if (replaces(&d->inbox[i], index, event)) {
            d->inbox[i].event = *event;
            return;
        }
    }
    if (d->inbox_len == GUARD_INBOX_MAX) {
        abort();
    }
    d->inbox[d->inbox_len++] = (struct guard_inbox){index, *event};
}

/* ---- what is kept ---- */

static void start_save(struct guard_run *run);

static void work_save(uv_work_t *work)
{
    struct save_job *job = work->data;
    job->failed = files_write_durable(job->path, &job->durable, &job->err) < 0;
}

static void after_save(uv_work_t *work, int status)
{
    (void)status;
    struct save_job *job = work->data;
    struct guard_run *run = job->run;
    if (run != NULL) {
        run->save = NULL;
        if (job->failed) {
            log_line(LOG_LEVEL_ERROR, "the state cannot be stored: nothing new is obeyed",
                     "database", run->def->database, "detail", job->err.text, NULL);
            timer_start(run->save_again, SAVE_AGAIN_MS);
        } else {
            struct guard_event event = guard_event_of(GUARD_EV_SAVED);
            event.version = job->version;
            guard_post(run->daemon, run->index, &event);
            if (run->save_version > job->version) {
                start_save(run);
            }
        }
    }
    free(job);
}

static void start_save(struct guard_run *run)
{
    struct guard_daemon *d = run->daemon;
    const struct guard_core *core = &d->cores[run->index];
    if (run->save != NULL) {
        return; /* its end looks at the version */
    }
    struct save_job *job = calloc(1, sizeof *job);
    assert(job != NULL);
    job->work.data = job;
    job->run = run;
    job->durable = core->durable;
    job->version = core->version;
    memcpy(job->path, run->durable_path, sizeof job->path);
    run->save = job;
    uv_queue_work(loop_uv(d->loop), &job->work, work_save, after_save);
}

static void save_again(void *arg)
{
    start_save(arg);
}

static void keep(struct guard_run *run)
{
    struct guard_daemon *d = run->daemon;
    struct err err = {0};
    if (files_write_kept(run->kept_path, run->def->database, d->boot, &d->cores[run->index].kept,
                         &err) < 0) {
        log_line(LOG_LEVEL_ERROR, "the deadline cannot be kept: a guard that restarts will stop it",
                 "database", run->def->database, "detail", err.text, NULL);
    }
}

/* ---- the included file ---- */

static bool find_upstream(const struct guard_run *run, const char *upstream,
                          struct instance_conf *conf)
{
    const struct definition *def = run->daemon->def;
    int db = def != NULL ? definition_database(def, run->def->database) : -1;
    int from = db >= 0 ? definition_node(def, upstream) : -1;
    int own = db >= 0 ? definition_node(def, run->daemon->local->guard.node) : -1;
    int source = from >= 0 ? definition_instance(&def->databases[db], from) : -1;
    int self = own >= 0 ? definition_instance(&def->databases[db], own) : -1;
    if (source < 0 || self < 0) {
        return false;
    }
    const char *name = def->databases[db].instances[self].name;
    conf->port = def->databases[db].instances[source].port;
    memcpy(conf->address, def->nodes[from].address, sizeof conf->address);
    guard_slot_name(name, conf->slot);
    conninfo_of_upstream(definition_profile(def), conf->address, conf->port, name,
                         run->daemon->local->guard.replication, conf->conninfo);
    return true;
}

static void begin_conf(const struct guard_run *run, struct instance_conf *conf)
{
    memset(conf, 0, sizeof *conf);
    conf->slot_limit = run->daemon->local->guard.slot_limit;
}

/* closed: with the name that nobody bears. false: the definition is not known, or has no such
 * upstream ("": none is wanted). */
static bool standby_conf(const struct guard_run *run, const char *upstream, bool closed,
                         struct instance_conf *conf)
{
    begin_conf(run, conf);
    snprintf(conf->upstream, sizeof conf->upstream, "%s", upstream);
    conf->says_names = closed;
    snprintf(conf->names, sizeof conf->names, "%s", closed ? GUARD_SYNC_NOBODY_NAMES : "");
    return upstream[0] == '\0' || find_upstream(run, upstream, conf);
}

/* sync: as an accepted renewal says; without a target the names are not ours. */
static void primary_conf(const struct guard_run *run, const struct guard_sync *sync,
                         struct instance_conf *conf)
{
    const struct sync_entry_record *target = guard_sync_target(sync);
    begin_conf(run, conf);
    conf->says_names = target != NULL;
    if (target != NULL) {
        guard_sync_names(target, conf->names);
    }
}

/* ---- effects ---- */

static void on_answered(void *arg, const struct promise_answer *answer)
{
    struct guard_run *run = arg;
    struct guard_event event =
        guard_event_of(answer->promised ? GUARD_EV_PROMISED : GUARD_EV_UNPROMISED);
    event.round = answer->round;
    event.promiser = answer->promiser;
    event.sent_ms = answer->sent_ms;
    memcpy(event.text, answer->text, sizeof event.text);
    guard_post(run->daemon, run->index, &event);
}

static void ask_promises(struct guard_run *run, uint32_t round)
{
    struct guard_daemon *d = run->daemon;
    const struct guard_core *core = &d->cores[run->index];
    uint64_t within_ms = core->kept.permit.d_ms / 2;
    if (!run->blind_said) {
        run->blind_said = true;
        log_line(LOG_LEVEL_WARN, "renewals have no answer: the promisers are asked", "database",
                 run->def->database, NULL);
    }
    for (int i = 0; i < core->asked_len; i++) {
        promises_ask(d->promises, run->def->database, core->kept.permit.epoch, round, i,
                     core->asked[i], within_ms, on_answered, run);
    }
}

static void note(const struct guard_run *run, const struct guard_effect *effect)
{
    bool moves = effect->from != effect->to;
    log_line(moves ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, effect->why, "rule", effect->rule,
             "database", run->def->database, "from", duty_names[effect->from], "to",
             duty_names[effect->to], "detail", effect->text, NULL);
}

static void no_such_upstream(struct guard_run *run)
{
    struct guard_event event = guard_event_of(GUARD_EV_UNFOLLOWED);
    snprintf(event.text, sizeof event.text, "the definition is not known, or has no such upstream");
    guard_post(run->daemon, run->index, &event);
}

static void follow(struct guard_run *run, const char *upstream, bool closed)
{
    struct instance_conf conf;
    if (standby_conf(run, upstream, closed, &conf)) {
        instance_follow(run->instance, &conf);
    } else {
        no_such_upstream(run);
    }
}

static void start_standby(struct guard_run *run, const char *upstream, bool closed)
{
    struct instance_conf conf;
    bool known = standby_conf(run, upstream, closed, &conf);
    instance_start(run->instance, false, known ? &conf : NULL);
    if (!known) {
        /* Its file may name another, or nobody: it is written once it can be. */
        no_such_upstream(run);
    }
}

/* What is in force on a running primary is changed in steps alone (GUARD_DO_SYNC). */
static void take_over(struct guard_run *run, const struct guard_core *core)
{
    struct instance_conf conf;
    bool ours = core->kept.known && core->kept.sync.len > 0;
    primary_conf(run, &core->kept.sync, &conf);
    instance_take_over(run->instance, core->state == DUTY_PRIMARY && !ours ? &conf : NULL);
}

static void keep_slots(struct guard_run *run, const struct guard_declared *declared)
{
    const struct definition *def = run->daemon->def;
    int db = def != NULL ? definition_database(def, run->def->database) : -1;
    char names[INSTANCES_MAX][NAME_SIZE];
    if (db < 0) {
        return;
    }
    for (int i = 0; i < declared->standbys_len; i++) {
        int node = definition_node(def, declared->standbys[i]);
        int instance = node >= 0 ? definition_instance(&def->databases[db], node) : -1;
        if (instance < 0) {
            return; /* another definition than these roles are of: the next look knows more */
        }
        memcpy(names[i], def->databases[db].instances[instance].name, NAME_SIZE);
    }
    instance_keep_slots(run->instance, (const char(*)[NAME_SIZE])names, declared->standbys_len);
}

static void carry_out(struct guard_run *run, const struct guard_effect *effect)
{
    struct guard_daemon *d = run->daemon;
    struct guard_core *core = &d->cores[run->index];
    struct instance_conf conf;
    switch (effect->type) {
    case GUARD_DO_SAVE:
        run->save_version = effect->version;
        start_save(run);
        break;
    case GUARD_DO_KEEP: keep(run); break;
    case GUARD_DO_RENEW: guard_store_renew(run, effect->armed); break;
    case GUARD_DO_ASK: ask_promises(run, effect->round); break;
    case GUARD_DO_TAKE_OVER: take_over(run, core); break;
    case GUARD_DO_START_PRIMARY:
        primary_conf(run, &core->kept.sync, &conf);
        instance_start(run->instance, true, &conf);
        break;
    case GUARD_DO_START_STANDBY: start_standby(run, effect->upstream, effect->closed); break;
    case GUARD_DO_PROMOTE:
        primary_conf(run, &core->kept.sync, &conf);
        instance_promote(run->instance, &core->permit, &conf, effect->act_by_ms);
        break;
    case GUARD_DO_STOP: instance_stop(run->instance, effect->kill_at_ms); break;
    case GUARD_DO_REST: instance_rest(run->instance); break;
    case GUARD_DO_FOLLOW: follow(run, effect->upstream, effect->closed); break;
    case GUARD_DO_SYNC:
        primary_conf(run, &core->told, &conf);
        instance_sync(run->instance, &conf, &core->told, effect->round, effect->waits);
        break;
    case GUARD_DO_SLOTS: keep_slots(run, &core->declared); break;
    case GUARD_DO_REPORT: guard_report_wanted(run); break;
    case GUARD_DO_NOTE: note(run, effect); break;
    default: break;
    }
}

/* A renewal says whether a heartbeat was written since the one before it: twice in its interval. */
static uint64_t look_interval_ms(const struct guard_core *core)
{
    bool pending = core->state == DUTY_STARTING || core->state == DUTY_LAUNCHING ||
                   core->state == DUTY_PROMOTING || core->state == DUTY_LOOKING;
    if (pending) {
        return LOOK_HURRY_MS;
    }
    uint64_t half_ms = core->permit.d_ms / 16;
    return core->counts && half_ms > LOOK_HURRY_MS && half_ms < LOOK_MS ? half_ms : LOOK_MS;
}

/* The primary gives way: perhaps to this one. */
static bool is_revoked(const struct guard_core *core)
{
    return core->permit.known && !core->permit.granted;
}

static void step(struct guard_run *run, const struct guard_event *event)
{
    struct guard_daemon *d = run->daemon;
    struct guard_core *core = &d->cores[run->index];
    guard_step(core, event, &d->effects);
    for (int i = 0; i < d->effects.len; i++) {
        carry_out(run, &d->effects.items[i]);
    }
    instance_look_every(run->instance, look_interval_ms(core));
    if (core->state == DUTY_STANDBY && is_revoked(core)) {
        guard_store_look(run);
    }
    instance_prepare(run->instance,
                     core->state == DUTY_PROMOTING ||
                         (core->state == DUTY_STANDBY && (guard_holds(core) || is_revoked(core))));
}

/* ---- the watchdog ---- */

static bool may_feed(void *arg, uint64_t now_ms)
{
    const struct guard_daemon *d = arg;
    return guard_watchdog(d->cores, d->runs_len, now_ms).feed;
}

static void tell_watchdog(struct guard_daemon *d)
{
    for (int i = 0; i < d->runs_len; i++) {
        struct guard_event event = guard_event_of(GUARD_EV_WATCHDOG);
        event.armed = watchdog_is_armed(&d->watchdog);
        event.period_ms = d->watchdog.period_ms;
        guard_post(d, i, &event);
    }
}

static void arm(struct guard_daemon *d, uint32_t period_ms)
{
    struct err err = {0};
    if (watchdog_arm(&d->watchdog, period_ms, &err) == 0) {
        char text[24];
        snprintf(text, sizeof text, "%u", (unsigned)period_ms);
        log_line(LOG_LEVEL_INFO, "the watchdog is armed", "period_ms", text, NULL);
        d->watchdog_said = false;
    } else if (!d->watchdog_said) {
        log_line(LOG_LEVEL_ERROR, "the watchdog cannot be armed: time is no evidence here",
                 "detail", err.text, NULL);
        d->watchdog_said = true;
    }
    d->arm_again_ms = clock_now_ms() + ARM_AGAIN_MS;
    tell_watchdog(d);
}

static void look_after_watchdog(struct guard_daemon *d)
{
    uint64_t now_ms = clock_now_ms();
    struct guard_watchdog_wish wish = guard_watchdog(d->cores, d->runs_len, now_ms);
    bool armed = watchdog_is_armed(&d->watchdog);
    if (d->watchdog.kind == WATCHDOG_NONE) {
        return;
    }
    if (wish.armed && wish.period_ms != 0 && (!armed || d->watchdog.period_ms != wish.period_ms) &&
        now_ms >= d->arm_again_ms) {
        arm(d, wish.period_ms);
    } else if (!wish.armed && armed && watchdog_disarm(&d->watchdog)) {
        log_line(LOG_LEVEL_INFO, "the watchdog is disarmed: no primary is left here", NULL);
        tell_watchdog(d);
    }
    bool was = watchdog_is_armed(&d->watchdog);
    if (!armed || now_ms >= d->fed_ms + d->watchdog.period_ms / FEEDS_MAX) {
        d->fed_ms = now_ms;
        watchdog_feed(&d->watchdog, may_feed, d);
    }
    if (was && !watchdog_is_armed(&d->watchdog)) {
        log_line(LOG_LEVEL_ERROR, "the watchdog is gone", NULL);
        tell_watchdog(d);
    }
}

/* ---- the pump ---- */

static void feed_systemd(struct guard_daemon *d, uint64_t now_ms)
{
    if (d->notify_ms != 0 && now_ms >= d->notified_ms + d->notify_ms / 2) {
        d->notified_ms = now_ms;
        sd_notify(0, "WATCHDOG=1");
    }
}

static void arm_tick(struct guard_daemon *d, uint64_t now_ms)
{
    uint64_t at_ms = now_ms + GUARD_REPORT_MS;
    for (int i = 0; i < d->runs_len; i++) {
        uint64_t wanted_ms = guard_deadline_ms(&d->cores[i]);
        uint64_t report_ms = d->runs[i].reported_ms + GUARD_REPORT_MS;
        at_ms = wanted_ms < at_ms ? wanted_ms : at_ms;
        at_ms = report_ms < at_ms ? report_ms : at_ms;
    }
    if (watchdog_is_armed(&d->watchdog)) {
        uint64_t feed_ms = d->fed_ms + d->watchdog.period_ms / FEEDS_MIN;
        at_ms = feed_ms < at_ms ? feed_ms : at_ms;
    } else if (d->arm_again_ms > now_ms && d->arm_again_ms < at_ms) {
        at_ms = d->arm_again_ms;
    }
    if (d->notify_ms != 0 && d->notified_ms + d->notify_ms / 2 < at_ms) {
        at_ms = d->notified_ms + d->notify_ms / 2;
    }
    timer_start(d->tick, at_ms > now_ms ? at_ms - now_ms : 0);
}

static void pump(struct guard_daemon *d)
{
    if (d->pump_running || d->stopping) {
        return;
    }
    d->pump_running = true;
    uint64_t now_ms = clock_now_ms();
    bool changed = d->ticked || d->inbox_len > 0; /* else we only went round */
    d->ticked = false;
    for (int i = 0; i < d->runs_len; i++) {
        if (guard_deadline_ms(&d->cores[i]) <= now_ms) {
            struct guard_event tick = guard_event_of(GUARD_EV_TICK);
            step(&d->runs[i], &tick);
            changed = true;
        }
    }
    look_after_watchdog(d);
    while (d->inbox_len > 0) {
        struct guard_inbox first = d->inbox[0];
        memmove(d->inbox, d->inbox + 1, (size_t)--d->inbox_len * sizeof d->inbox[0]);
        first.event.now_ms = clock_now_ms();
        step(&d->runs[first.index], &first.event);
        look_after_watchdog(d); /* armed before what the next event may allow */
    }
    for (int i = 0; i < d->runs_len; i++) {
        if (changed) {
            guard_report_changes(&d->runs[i]);
        }
        if (now_ms >= d->runs[i].reported_ms + GUARD_REPORT_MS) {
            if (d->cores[i].state == DUTY_DOWN) {
                instance_rest(d->runs[i].instance); /* whoever took the signal away meanwhile */
            }
            guard_report(&d->runs[i]);
        }
    }
    feed_systemd(d, now_ms);
    arm_tick(d, now_ms);
    d->pump_running = false;
}

static void on_prepare(uv_prepare_t *handle)
{
    pump(handle->data);
}

static void on_check(uv_check_t *handle)
{
    pump(handle->data);
}

static void on_tick(void *arg)
{
    struct guard_daemon *d = arg;
    d->ticked = true; /* the pump runs in this turn of the loop */
}

/* ---- its life ---- */

static void on_event(void *arg, const struct guard_event *event)
{
    struct guard_run *run = arg;
    guard_post(run->daemon, run->index, event);
}

static void on_word(void *arg, const char *text)
{
    const struct guard_run *run = arg;
    log_line(LOG_LEVEL_WARN, text, "database", run->def->database, NULL);
}

static void on_complaint(void *arg, const char *text)
{
    struct guard_run *run = arg;
    if (strncmp(run->complaint, text, sizeof run->complaint - 1) != 0) {
        snprintf(run->complaint, sizeof run->complaint, "%s", text);
        run->reported_ms = 0;
        if (text[0] != '\0') {
            log_line(LOG_LEVEL_ERROR, text, "database", run->def->database, NULL);
        }
    }
}

static bool may_be_primary(void *arg)
{
    struct guard_run *run = arg;
    struct guard_core *core = &run->daemon->cores[run->index];
    struct guard_event tick = guard_event_of(GUARD_EV_TICK);
    /* Its time as of now; what follows from it is carried out by the pump. */
    if (tick.now_ms > core->now_ms) {
        core->now_ms = tick.now_ms;
    }
    return guard_may_be_primary(core);
}

static int start_run(struct guard_daemon *d, int index, struct err *ret_err)
{
    const struct local_guard_def *guard = &d->local->guard;
    struct guard_run *run = &d->runs[index];
    struct guard_durable durable;
    struct guard_boot_state kept;
    run->daemon = d;
    run->index = index;
    run->def = &guard->instances[index];
    const char *name = run->def->database;
    snprintf(run->permit_key, sizeof run->permit_key, "%s%s%s", d->prefix, STORE_PERMITS, name);
    snprintf(run->renewal_key, sizeof run->renewal_key, "%s%s%s", d->prefix, STORE_RENEWALS, name);
    snprintf(run->report_key, sizeof run->report_key, "%s%s%s/%s", d->prefix, STORE_GUARDS,
             guard->node, name);
    snprintf(run->durable_path, sizeof run->durable_path, "%s/%s.json", guard->state_dir, name);
    snprintf(run->kept_path, sizeof run->kept_path, "%s/%s.json", guard->run_dir, name);
    if (files_read_durable(run->durable_path, &durable, ret_err) < 0) {
        return -1;
    }
    files_read_kept(run->kept_path, d->boot, &kept);
    guard_init(&d->cores[index], guard->node, d->boot, &durable, &kept, clock_now_ms());
    run->save_again = timer_new(d->loop, save_again, run);
    struct instance_params params = {.def = run->def,
                                     .node = guard->node,
                                     .state_dir = guard->state_dir,
                                     .on_event = on_event,
                                     .on_word = on_word,
                                     .on_complaint = on_complaint,
                                     .may_be_primary = may_be_primary,
                                     .arg = run};
    run->instance = instance_new(d->loop, &params, ret_err);
    return run->instance != NULL ? 0 : -1;
}

static int make_directory(const char *path, struct err *ret_err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST
               ? 0
               : err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
}

/* One guard a node: two would start and stop against each other. */
static int lock(struct guard_daemon *d, struct err *ret_err)
{
    char path[LOCAL_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/lock", d->local->guard.run_dir);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0 || flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        return err_set(ret_err, ERR_CONFLICT, "%s: %s: does another guard run?", path,
                       strerror(errno));
    }
    return 0;
}

static int read_boot(struct guard_daemon *d, struct err *ret_err)
{
    char text[128];
    bool missing;
    ssize_t len = files_read(d->local->guard.boot_id, text, sizeof text, &missing, ret_err);
    if (len < 0) {
        return -1;
    }
    text[strcspn(text, "\n")] = '\0';
    /* One that no record may hold would make every report of this guard unreadable. */
    if (text[0] == '\0' || strlen(text) >= sizeof d->boot ||
        text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0') {
        return err_set(ret_err, ERR_INVALID, "%s: holds no boot id (a-z, 0-9, '-')",
                       d->local->guard.boot_id);
    }
    memcpy(d->boot, text, strlen(text) + 1);
    return 0;
}

int guard_etcd_config(const struct local_config *local, struct etcd_config *ret_config,
                      struct err *ret_err)
{
    memset(ret_config, 0, sizeof *ret_config);
    ret_config->endpoints_len = local->endpoints_len;
    memcpy(ret_config->endpoints, local->endpoints, sizeof ret_config->endpoints);
    snprintf(ret_config->ca_file, sizeof ret_config->ca_file, "%s", local->etcd_ca);
    snprintf(ret_config->cert_file, sizeof ret_config->cert_file, "%s", local->etcd_cert);
    snprintf(ret_config->key_file, sizeof ret_config->key_file, "%s", local->etcd_key);
    snprintf(ret_config->user, sizeof ret_config->user, "%s", local->etcd_user);
    if (local->etcd_user[0] == '\0') {
        return 0;
    }
    char secret[SECRET_SIZE];
    if (local_secret(local, local->etcd_password, secret, ret_err) < 0) {
        return -1;
    }
    bool fits = strlen(secret) < sizeof ret_config->password;
    if (fits) {
        memcpy(ret_config->password, secret, strlen(secret) + 1);
    }
    explicit_bzero(secret, sizeof secret);
    return fits ? 0
                : err_set(ret_err, ERR_LIMIT, "etcd's password is longer than %zu bytes",
                          sizeof ret_config->password - 1);
}

static int configure_etcd(struct guard_daemon *d, struct err *ret_err)
{
    struct etcd_config config;
    if (guard_etcd_config(d->local, &config, ret_err) < 0) {
        return -1;
    }
    d->etcd = etcd_new(d->loop, d->http, &config);
    explicit_bzero(config.password, sizeof config.password);
    return 0;
}

static void start_promises(struct guard_daemon *d)
{
    const struct local_guard_def *guard = &d->local->guard;
    char path[LOCAL_PATH_SIZE + 32];
    snprintf(path, sizeof path, "%s/controllers.json", guard->state_dir);
    struct promises_params params = {
        .node = guard->node,
        .boot = d->boot,
        .path = path,
        .tls = {.ca_file = guard->ca, .cert_file = guard->cert, .key_file = guard->key}};
    d->promises = promises_new(d->loop, d->http, &params);
}

static void start_pump(struct guard_daemon *d)
{
    uint64_t period_us = 0;
    uv_prepare_init(loop_uv(d->loop), &d->prepare);
    uv_check_init(loop_uv(d->loop), &d->check);
    d->prepare.data = d;
    d->check.data = d;
    uv_prepare_start(&d->prepare, on_prepare);
    uv_check_start(&d->check, on_check);
    d->tick = timer_new(d->loop, on_tick, d);
    timer_start(d->tick, 0);
    if (sd_watchdog_enabled(0, &period_us) > 0) {
        d->notify_ms = period_us / 1000;
    }
    sd_notify(0, "READY=1");
}

static int start(struct guard_daemon *d, struct err *ret_err)
{
    const struct local_guard_def *guard = &d->local->guard;
    if (make_directory(guard->state_dir, ret_err) < 0 ||
        make_directory(guard->run_dir, ret_err) < 0 || lock(d, ret_err) < 0 ||
        read_boot(d, ret_err) < 0 || configure_etcd(d, ret_err) < 0) {
        return -1;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    watchdog_init(&d->watchdog, guard->watchdog);
    start_promises(d);
    for (int i = 0; i < guard->instances_len; i++) {
        d->runs_len++;
        if (start_run(d, i, ret_err) < 0) {
            return -1;
        }
    }
    guard_store_start(d);
    start_pump(d);
    return 0;
}

struct guard_daemon *guard_daemon_new(struct loop *loop, const struct local_config *local,
                                      struct err *ret_err)
{
    struct guard_daemon *d = calloc(1, sizeof *d);
    uint32_t random;
    if (d == NULL || uv_random(NULL, NULL, &random, sizeof random, 0, NULL) != 0) {
        abort(); /* nothing has been started */
    }
    d->local = local;
    d->loop = loop;
    d->lock_fd = -1;
    d->started_wall_ms = clock_wall_ms();
    d->first_sequence = (uint64_t)(random & 0xfffff) << 32; /* below 2^53 */
    snprintf(d->prefix, sizeof d->prefix, "/failover/%s/", local->cluster);
    d->cores = calloc(DATABASES_MAX, sizeof *d->cores);
    d->http = http_new(loop);
    watchdog_init(&d->watchdog, "");
    if (d->cores == NULL || start(d, ret_err) < 0) {
        guard_daemon_free(d);
        return NULL;
    }
    return d;
}

static void free_run(struct guard_run *run)
{
    if (run->save != NULL) {
        run->save->run = NULL;
    }
    if (run->renewal != NULL) {
        etcd_cancel(run->renewal);
    }
    if (run->report != NULL) {
        etcd_cancel(run->report);
    }
    if (run->look != NULL) {
        etcd_cancel(run->look);
    }
    instance_free(run->instance);
    timer_free(run->save_again);
}

/* PostgreSQL and the watchdog are left as they are: who comes next takes them over. */
void guard_daemon_free(struct guard_daemon *d)
{
    if (d == NULL) {
        return;
    }
    d->stopping = true;
    for (int i = 0; i < d->runs_len; i++) {
        free_run(&d->runs[i]);
    }
    if (d->etcd != NULL && d->read_again != NULL) {
        guard_store_stop(d);
    }
    promises_free(d->promises);
    etcd_free(d->etcd);
    http_free(d->http);
    if (d->tick != NULL) {
        timer_free(d->tick);
        uv_prepare_stop(&d->prepare);
        uv_check_stop(&d->check);
        uv_close((uv_handle_t *)&d->prepare, NULL);
        uv_close((uv_handle_t *)&d->check, NULL);
        uv_run(loop_uv(d->loop), UV_RUN_NOWAIT); /* the closings: their memory is ours */
    }
    if (d->lock_fd >= 0) {
        close(d->lock_fd);
    }
    if (d->watchdog.fd >= 0) {
        close(d->watchdog.fd); /* not disarmed */
    }
    free(d->def);
    free(d->cores);
    free(d);
}
