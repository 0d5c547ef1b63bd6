/*
 * daemon.c - the inbox, the pump, leadership, start and end.
 */
#include "controller/daemon/daemon.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/daemon/run.h"

#define STALL_MS         2000 /* the tick comes at least once a second; later than that, we stood still */
#define TROUBLE_AGAIN_MS 10000 /* between two lines about the same trouble of the election */

struct core_event daemon_event(enum core_event_type type)
{
    return (struct core_event){.type = type, .now_ms = clock_now_ms(), .wall_ms = clock_wall_ms()};
}

static bool is_finding(enum core_event_type type)
{
    return type == EV_INSTANCE || type == EV_SERVICE || type == EV_TICK || type == EV_PEER;
}

/*
 * One that waits already and says the same. After a stall every probe reports it, and the watch
 * brings all that another leader wrote meanwhile: far more than the inbox holds. A failed save
 * counts anew behind the reading of all records, which it may contradict.
 */
static bool is_repeated(const struct daemon *d, enum core_event_type type)
{
    if (type != EV_STALL && type != EV_SAVE_FAILED) {
        return false;
    }
    for (int i = d->inbox_len - 1; i >= 0; i--) {
        enum core_event_type waiting = d->inbox[i].type;
        if (waiting == type) {
            return true;
        }
        if (waiting == EV_LEADING || waiting == EV_LOADED) {
            return false;
        }
    }
    return false;
}

void daemon_post(struct daemon *d, const struct core_event *event)
{
    if (is_repeated(d, event->type)) {
        return;
    }
    /* The inbox is emptied twice a turn of the loop, so this bound is met only in a storm. */
    if (is_finding(event->type) && d->inbox_len >= INBOX_MAX - INBOX_RESERVE) {
        d->inbox_dropped++;
        return;
    }
    assert(d->inbox_len < INBOX_MAX); /* crashing is safe: the lease ends, and the other goes on */
    d->inbox[d->inbox_len++] = *event;
}

bool daemon_may_act(void *daemon)
{
    struct daemon *d = daemon;
    return d->election != NULL && d->core->leading && election_may_act(d->election);
}

static void take_note(struct daemon *d, const struct effect *effect)
{
    struct event_note note = {.wall_ms = clock_wall_ms(), .level = effect->note.level};
    snprintf(note.rule, sizeof note.rule, "%s", effect->note.rule);
    snprintf(note.group, sizeof note.group, "%s", effect->note.group);
    snprintf(note.database, sizeof note.database, "%s", effect->note.database);
    snprintf(note.text, sizeof note.text, "%s", effect->note.text);
    bool moved =
        effect->note.from >= 0 && effect->note.to >= 0 && effect->note.from != effect->note.to;
    if (moved) {
        snprintf(note.from, sizeof note.from, "%s", db_state_names[effect->note.from]);
        snprintf(note.to, sizeof note.to, "%s", db_state_names[effect->note.to]);
    }
    if (effect->note.level < LOG_LEVEL_DEBUG) {
        events_add(d->events, &note);
    }
    if (moved) {
        log_line((enum log_level)effect->note.level, note.text, "rule", note.rule, "database",
                 note.database, "from", note.from, "to", note.to, NULL);
    } else if (note.database[0] != '\0') {
        log_line((enum log_level)effect->note.level, note.text, "rule", note.rule, "database",
                 note.database, NULL);
    } else {
        log_line((enum log_level)effect->note.level, note.text, "rule", note.rule, "group",
                 note.group, NULL);
    }
}

static void carry_out(struct daemon *d, const struct effect *effect)
{
    switch (effect->type) {
    case EFFECT_SAVE: store_save(d, effect); break;
    case EFFECT_RELOAD: reading_reload(d); break;
    case EFFECT_FENCE: acting_fence(d, effect); break;
    case EFFECT_PREPARE: acting_prepare(d, effect); break;
    case EFFECT_PROMOTE: acting_promote(d, effect); break;
    case EFFECT_ROUTES: acting_routes(d, effect); break;
    case EFFECT_CANCEL: acting_cancel(d, effect->step); break;
    case EFFECT_CANCEL_ALL: acting_cancel_all(d); break;
    case EFFECT_PROBE_NOW: probing_now(d, effect->probe.database, effect->probe.instance); break;
    case EFFECT_TRY_WRITE: probing_try(d, effect); break;
    case EFFECT_PUBLISH: store_heartbeat(d); break;
    case EFFECT_CALL: acting_call(d, effect); break;
    case EFFECT_RESIGN:
        log_line(LOG_LEVEL_WARN,
                 "resigning: every target fails for this controller, the other one sees some",
                 NULL);
        daemon_resign(d, "blind");
        break;
    case EFFECT_NOTE: take_note(d, effect); break;
    }
}

static void step(struct daemon *d, const struct core_event *event)
{
    core_step(d->core, event, d->effects);
    for (int i = 0; i < d->effects->len; i++) {
        carry_out(d, &d->effects->items[i]);
    }
}

static void notice_stall(struct daemon *d)
{
    uint64_t now = clock_now_ms();
    if (d->pumped_ms != 0 && now - d->pumped_ms > STALL_MS) {
        char took[32];
        snprintf(took, sizeof took, "%llu", (unsigned long long)(now - d->pumped_ms));
        log_line(LOG_LEVEL_WARN, "this process stood still; observing before acting", "ms", took,
                 NULL);
        struct core_event event = daemon_event(EV_STALL);
        step(d, &event);
    }
    d->pumped_ms = now;
}

static void rearm(struct daemon *d)
{
    uint64_t now = clock_now_ms();
    uint64_t at = core_deadline_ms(d->core);
    uint64_t in = at > now ? at - now : 1;
    uint64_t longest = notify_turn_ms(d);
    timer_start(d->tick, in < longest ? in : longest);
}

/* Here, and not where a save is answered: the core makes room for them when it takes that up. */
static void take_waiting_requests(struct daemon *d)
{
    if (d->requests_waiting && d->core->leading && d->core->loaded &&
        core_has_request_room(d->core)) {
        reading_requests(d);
    }
}

static void pump(struct daemon *d)
{
    if (d->stopped) {
        return;
    }
    notice_stall(d);
    bool worked = d->inbox_len > 0;
    while (d->inbox_len > 0) {
        /* Effects may post (a level that cannot be started, say): taken in the same order, one by
         * one. */
        struct core_event event = d->inbox[0];
        d->inbox_len--;
        memmove(&d->inbox[0], &d->inbox[1], sizeof d->inbox[0] * (size_t)d->inbox_len);
        step(d, &event);
    }
    if (worked) {
        acting_tidy(d);
        take_waiting_requests(d);
        store_offer_definition(d);
        daemon_renew_probes(d);
        probing_expect(d);
        rearm(d);
        if (d->election != NULL) {
            election_feed(d->election);
        }
        notify_pumped(d);
    }
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
    struct daemon *d = arg;
    struct core_event event = daemon_event(EV_TICK);
    daemon_post(d, &event);
}

/* ---- leadership ---- */

static void on_session(void *arg, int64_t lease)
{
    (void)lease;
    store_heartbeat(arg);
}

static void on_gained(void *arg, int64_t term)
{
    struct daemon *d = arg;
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)term);
    log_line(LOG_LEVEL_INFO, "leadership gained", "term", text, NULL);
    struct core_event event = daemon_event(EV_LEADING);
    event.leading.term = term;
    daemon_post(d, &event);
}

static void on_lost(void *arg, enum election_loss loss, const char *text)
{
    struct daemon *d = arg;
    log_line(LOG_LEVEL_WARN, "leadership lost", "why", election_loss_name(loss), "detail", text,
             NULL);
    reading_drop_reload(d);
    struct core_event event = daemon_event(EV_NOT_LEADING);
    daemon_post(d, &event);
}

static void on_seen(void *arg, const char *leader, int64_t term)
{
    (void)arg;
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)term);
    if (leader[0] != '\0') {
        log_line(LOG_LEVEL_INFO, "a controller leads", "leader", leader, "term", text, NULL);
    } else {
        log_line(LOG_LEVEL_INFO, "no controller leads", NULL);
    }
}

/* It is tried several times a second; the same trouble is said once in a while. */
static void on_trouble(void *arg, enum etcd_reason reason, const char *text)
{
    struct daemon *d = arg;
    uint64_t now = clock_now_ms();
    char more[32];
    keeping_trouble(arg, reason, text);
    if (d->trouble_said_ms != 0 && d->trouble_said == reason &&
        now - d->trouble_said_ms < TROUBLE_AGAIN_MS) {
        d->trouble_more++;
        return;
    }
    snprintf(more, sizeof more, "%u", d->trouble_more);
    log_line(LOG_LEVEL_WARN, "election trouble", "reason", etcd_reason_name(reason), "detail", text,
             d->trouble_more > 0 ? "unlogged_before" : NULL, more, NULL);
    d->trouble_said = reason;
    d->trouble_said_ms = now;
    d->trouble_more = 0;
}

void daemon_start_election(struct daemon *d, uint32_t ttl_ms)
{
    if (d->election != NULL || d->returning != NULL || d->stopping) {
        return;
    }
    struct election_config config = {
        .prefix = d->prefix,
        .id = d->local->id,
        .ttl_ms = ttl_ms,
        .callbacks = {.session = on_session,
                      .gained = on_gained,
                      .lost = on_lost,
                      .seen = on_seen,
                      .trouble = on_trouble},
        .arg = d,
    };
    d->election_ttl_ms = ttl_ms;
    d->election = election_new(d->loop, d->etcd, &config);
}

static void on_session_returned(void *arg)
{
    struct daemon *d = arg;
    election_free(d->returning);
    d->returning = NULL;
    if (d->identity_problem[0] == '\0') {
        daemon_start_election(d, d->election_ttl_ms);
    }
}

void daemon_stand_down(struct daemon *d)
{
    if (d->election == NULL || d->stopping || d->returning != NULL) {
        return;
    }
    d->returning = d->election;
    d->election = NULL; /* from here on this controller may not act */
    election_stop(d->returning, on_session_returned, d);
}

void daemon_resign(struct daemon *d, const char *why)
{
    if (d->election != NULL) {
        election_resign(d->election, why);
    }
}

void daemon_renew_election(struct daemon *d, uint32_t ttl_ms)
{
    if (d->election == NULL || d->stopping || d->returning != NULL ||
        d->election_ttl_ms == ttl_ms) {
        return;
    }
    log_line(LOG_LEVEL_INFO, "the profile's lease has changed; standing for election anew", NULL);
    d->election_ttl_ms = ttl_ms;
    daemon_stand_down(d);
}

/* ---- start and end ---- */

bool daemon_pg_target(struct daemon *d, int database, int instance, char secret[SECRET_SIZE],
                      struct pg_target *ret_target)
{
    const struct database_def *db = &d->core->def.databases[database];
    struct err err = {0};
    secret[0] = '\0';
    if (db->password[0] != '\0' && local_secret(d->local, db->password, secret, &err) < 0) {
        log_line(LOG_LEVEL_ERROR, "a password cannot be read", "database", db->name, "detail",
                 err.text, NULL);
        secret[0] = '\0';
    }
    *ret_target = (struct pg_target){
        .hostaddr = d->core->def.nodes[db->instances[instance].node].address,
        .port = db->instances[instance].port,
        .dbname = db->dbname,
        .user = db->user,
        .password = secret[0] != '\0' ? secret : NULL,
        .sslmode = db->sslmode[0] != '\0' ? db->sslmode : NULL,
        .application_name = "failoverd",
    };
    return err.code == ERR_NONE;
}

static int read_password(const struct daemon *d, char password[ETCD_USER_SIZE], struct err *ret_err)
{
    char secret[SECRET_SIZE] = "";
    password[0] = '\0';
    if (d->local->etcd_password[0] != '\0' &&
        local_secret(d->local, d->local->etcd_password, secret, ret_err) < 0) {
        return err_prefix(ret_err, "etcd's password");
    }
    if (strlen(secret) >= ETCD_USER_SIZE) {
        err_set(ret_err, ERR_LIMIT, "etcd's password has %zu bytes; at most %d are allowed",
                strlen(secret), ETCD_USER_SIZE - 1);
        explicit_bzero(secret, sizeof secret);
        return -1;
    }
    memcpy(password, secret, strlen(secret) + 1);
    explicit_bzero(secret, sizeof secret);
    return 0;
}

int daemon_etcd_config(const struct daemon *d, struct etcd_config *ret_config, struct err *ret_err)
{
    memset(ret_config, 0, sizeof *ret_config);
    ret_config->endpoints_len = d->local->endpoints_len;
    for (int i = 0; i < d->local->endpoints_len; i++) {
        snprintf(ret_config->endpoints[i], sizeof ret_config->endpoints[i], "%s",
                 d->local->endpoints[i]);
    }
    snprintf(ret_config->ca_file, sizeof ret_config->ca_file, "%s", d->local->etcd_ca);
    snprintf(ret_config->cert_file, sizeof ret_config->cert_file, "%s", d->local->etcd_cert);
    snprintf(ret_config->key_file, sizeof ret_config->key_file, "%s", d->local->etcd_key);
    snprintf(ret_config->user, sizeof ret_config->user, "%s", d->local->etcd_user);
    return read_password(d, ret_config->password, ret_err);
}

static int configure_etcd(struct daemon *d, struct err *ret_err)
{
    struct etcd_config config;
    if (daemon_etcd_config(d, &config, ret_err) < 0) {
        return -1;
    }
    d->etcd = etcd_new(d->loop, d->http, &config);
    explicit_bzero(config.password, sizeof config.password);
    return 0;
}

void daemon_log_in(struct daemon *d)
{
    char password[ETCD_USER_SIZE];
    struct err err = {0};
    if (read_password(d, password, &err) < 0) {
        log_line(LOG_LEVEL_ERROR, "etcd's password cannot be read; the old one still counts",
                 "detail", err.text, NULL);
        return;
    }
    etcd_set_user(d->etcd, d->local->etcd_user, password);
    explicit_bzero(password, sizeof password);
}

static void start_pump(struct daemon *d)
{
    uv_prepare_init(loop_uv(d->loop), &d->prepare);
    uv_check_init(loop_uv(d->loop), &d->check);
    d->prepare.data = d;
    d->check.data = d;
    uv_prepare_start(&d->prepare, on_prepare);
    uv_check_start(&d->check, on_check);
    d->tick = timer_new(d->loop, on_tick, d);
    timer_start(d->tick, 100);
}

/* Of this life's views: an echo of an earlier life's must match none of them (core.h). */
static uint64_t first_sequence(void)
{
    uint32_t random;
    if (uv_random(NULL, NULL, &random, sizeof random, 0, NULL) != 0) {
        abort(); /* nothing has been started */
    }
    return (uint64_t)(random & 0xfffff) << 32; /* below 2^53: JSON tools keep it whole */
}

struct daemon *daemon_new(struct loop *loop, struct local_config *local, struct err *ret_err)
{
    struct daemon *d = calloc(1, sizeof *d);
    struct core *core = calloc(1, sizeof *core);
    struct core_effects *effects = calloc(1, sizeof *effects);
    if (d == NULL || core == NULL || effects == NULL) {
        abort(); /* nothing has been started */
    }
    d->local = local;
    d->loop = loop;
    d->core = core;
    d->effects = effects;
    d->started_wall_ms = clock_wall_ms();
    snprintf(d->prefix, sizeof d->prefix, "/failover/%s/", local->cluster);
    core_init(core, local->id, clock_now_ms());
    core->view_sequence = first_sequence();
    identity_remember(d);
    d->events = events_new();
    d->http = http_new(loop);
    if (configure_etcd(d, ret_err) < 0 || serving_start(d, ret_err) < 0) {
        daemon_free(d);
        return NULL;
    }
    acting_rebuild(d);
    notify_start(d);
    start_pump(d);
    store_start(d);
    copying_start(d);
    return d;
}

static void on_session_ended(void *arg)
{
    struct daemon *d = arg;
    d->stopped = true;
    loop_stop(d->loop);
}

/* A polite end: no act is begun any more, children are ended, then the lease is given back (design
 * §5). */
void daemon_stop(struct daemon *d)
{
    if (d->stopping) {
        return;
    }
    d->stopping = true;
    notify_stopping(d);
    struct core_event event = daemon_event(EV_NOT_LEADING);
    step(d, &event);
    acting_cancel_all(d);
    copying_stop(d);
    identity_stop(d);
    store_stop(d);
    if (d->election == NULL) {
        on_session_ended(d);
        return;
    }
    election_stop(d->election, on_session_ended, d);
}

static void free_pump(struct daemon *d)
{
    if (d->tick == NULL) {
        return;
    }
    timer_free(d->tick);
    uv_prepare_stop(&d->prepare);
    uv_check_stop(&d->check);
    uv_close((uv_handle_t *)&d->prepare, NULL);
    uv_close((uv_handle_t *)&d->check, NULL);
    uv_run(loop_uv(d->loop), UV_RUN_NOWAIT); /* the closings: their memory is ours */
}

void daemon_free(struct daemon *d)
{
    if (d == NULL) {
        return;
    }
    d->stopped = true;
    acting_cancel_all(d);
    acting_stop(d);
    probing_stop(d);
    serving_stop(d);
    copying_stop(d);
    identity_stop(d);
    store_stop(d);
    election_free(d->election);
    election_free(d->returning);
    etcd_free(d->etcd);
    http_free(d->http);
    free_pump(d);
    events_free(d->events);
    free(d->next_def);
    if (d->config != NULL) {
        config_record_done(d->config);
        free(d->config);
    }
    free(d->core);
    free(d->effects);
    free(d);
}
