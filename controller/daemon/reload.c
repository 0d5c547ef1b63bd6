/*
 * reload.c - SIGHUP: the local file is read again, and what can be changed while running is.
 *
 * Commands and secrets are looked up at each use, so the new ones count from then on. Probes keep
 * the password that they were made with, and are made anew, but not while anything moves: a
 * failover needs their memory. etcd's endpoints, user and password count from the next call on, and
 * leadership is kept where the same cluster answers there. Of HTTPS everything is taken anew, since
 * certificates are short-lived. Who we are, what certificates we show to etcd and where our socket
 * is are fixed for this life; a restart is cheap, since the other controller takes over at once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/daemon/daemon.h"
#include "controller/daemon/run.h"

static bool same_endpoints(const struct local_config *a, const struct local_config *b)
{
    bool same = a->endpoints_len == b->endpoints_len;
    for (int i = 0; same && i < a->endpoints_len; i++) {
        same = strcmp(a->endpoints[i], b->endpoints[i]) == 0;
    }
    return same;
}

/* Says each setting that waits for a restart. */
static void say_what_waits(const struct local_config *now, const struct local_config *next)
{
    const struct {
        const char *name;
        bool same;
    } fixed[] = {
        {"id", strcmp(now->id, next->id) == 0},
        {"cluster", strcmp(now->cluster, next->cluster) == 0},
        {"etcd.ca", strcmp(now->etcd_ca, next->etcd_ca) == 0},
        {"etcd.cert", strcmp(now->etcd_cert, next->etcd_cert) == 0},
        {"etcd.key", strcmp(now->etcd_key, next->etcd_key) == 0},
        {"listen.socket", strcmp(now->socket, next->socket) == 0},
        {"listen.group", strcmp(now->socket_group, next->socket_group) == 0},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (!fixed[i].same) {
            log_line(LOG_LEVEL_WARN, "this setting has changed; it counts after a restart", "key",
                     fixed[i].name, NULL);
        }
    }
}

/* Where etcd is, and who we are there. */
static void take_etcd(struct daemon *d, const struct local_config *next)
{
    if (!same_endpoints(d->local, next)) {
        etcd_set_endpoints(d->etcd, next->endpoints, next->endpoints_len);
        memcpy(d->local->endpoints, next->endpoints, sizeof next->endpoints);
        d->local->endpoints_len = next->endpoints_len;
        log_line(LOG_LEVEL_INFO, "etcd's endpoints of the local file count now", NULL);
    }
    memcpy(d->local->etcd_user, next->etcd_user, sizeof next->etcd_user);
    memcpy(d->local->etcd_password, next->etcd_password, sizeof next->etcd_password);
    d->local->etcd_quota = next->etcd_quota;
    daemon_log_in(d);
}

static void take(struct daemon *d, const struct local_config *next)
{
    say_what_waits(d->local, next);
    memcpy(d->local->secrets, next->secrets, sizeof next->secrets);
    d->local->secrets_len = next->secrets_len;
    memcpy(d->local->commands, next->commands, sizeof next->commands);
    d->local->commands_len = next->commands_len;
    take_etcd(d, next);
    memcpy(d->local->api_listen, next->api_listen, sizeof next->api_listen);
    memcpy(d->local->api_cert, next->api_cert, sizeof next->api_cert);
    memcpy(d->local->api_key, next->api_key, sizeof next->api_key);
    memcpy(d->local->api_client_ca, next->api_client_ca, sizeof next->api_client_ca);
    memcpy(d->local->api_allowed, next->api_allowed, sizeof next->api_allowed);
    d->local->api_allowed_len = next->api_allowed_len;
    https_start(d);
    d->probes_stale = true;
    log_line(LOG_LEVEL_INFO, "the local file is read again: its commands and secrets count now",
             NULL);
}

static void say_complaints(const struct complaints *complaints)
{
    for (int i = 0; i < complaints->len; i++) {
        const struct complaint *one = &complaints->items[i];
        char line[16];
        snprintf(line, sizeof line, "%d", one->line);
        log_line(one->level == COMPLAINT_ERROR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, one->text,
                 "line", line, "path", one->path, NULL);
    }
}

void daemon_reload(struct daemon *d, const char *path)
{
    struct local_config *next = calloc(1, sizeof *next);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    struct err err = {0};
    if (next == NULL || complaints == NULL) {
        abort(); /* safe: the other controller goes on */
    }
    notify_reloading(d);
    if (local_read_file(path, next, complaints, &err) == 0) {
        take(d, next);
    } else {
        say_complaints(complaints);
        log_line(LOG_LEVEL_ERROR, "the local file cannot be taken; the old one still counts",
                 "detail", err.text, NULL);
    }
    notify_reloaded(d);
    free(complaints);
    free(next);
}

void daemon_renew_probes(struct daemon *d)
{
    bool moving = false;
    for (int g = 0; g < d->core->def.groups_len; g++) {
        moving = moving || d->core->groups[g].record.moving;
    }
    if (d->probes_stale && d->core->defined && !moving) {
        d->probes_stale = false;
        probing_rebuild(d);
    }
}
