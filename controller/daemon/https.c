/*
 * https.c - the API over HTTPS: its keys, their renewal, and what will end soon.
 *
 * The API gives way first: a certificate that cannot be read, or an address that is not there, is
 * said, tried again later, and keeps no controller from its work. SIGHUP reads the files again; if
 * they are not good together, the old ones go on.
 *
 * A certificate that ends takes its path with it and nothing else (failures.md J4). It is said 30,
 * 7 and 1 days before, and at its end: in the log, in the events, and in this controller's status.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/tls.h"
#include "controller/daemon/daemon.h"

#define RETRY_MS 10000
#define CHECK_MS 3600000
#define DAY_MS   INT64_C(86400000)

#define REFUSED_MS    UINT64_C(1000) /* for each line in the log */
#define REFUSED_BURST 10

/* ---- who was refused ---- */

/* A few lines at once, since each tells another story; then one a second, since nobody reads more.
 */
void https_refused(void *arg, const char *who, const char *why)
{
    struct https *https = &((struct daemon *)arg)->https;
    uint64_t now = clock_now_ms();
    uint64_t floor_ms = now > REFUSED_BURST * REFUSED_MS ? now - REFUSED_BURST * REFUSED_MS : 0;
    char more[32];
    https->refused_ms = https->refused_ms > floor_ms ? https->refused_ms : floor_ms;
    if (https->refused_ms + REFUSED_MS > now) {
        https->refused_more++;
        return;
    }
    https->refused_ms += REFUSED_MS;
    snprintf(more, sizeof more, "%u", https->refused_more);
    log_line(LOG_LEVEL_WARN, "the API has refused somebody", "who", who, "detail", why,
             https->refused_more > 0 ? "unlogged_before" : NULL, more, NULL);
    https->refused_more = 0;
}

bool https_allowed(void *arg, const char *name, enum api_role *ret_role)
{
    struct daemon *d = arg;
    const struct local_allowed_def *allowed = local_allowed(d->local, name);
    if (allowed != NULL) {
        *ret_role = (enum api_role)allowed->role;
    }
    return allowed != NULL;
}

/* ---- what ends soon ---- */

static void say_ending(struct daemon *d, const char *text, bool ended)
{
    struct event_note note = {.wall_ms = clock_wall_ms(),
                              .level = ended ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN};
    snprintf(note.text, sizeof note.text, "%s", text);
    events_add(d->events, &note);
    log_line((enum log_level)note.level, text, NULL);
}

/* Steps: 0 none, 1 within 30 days, 2 within 7, 3 within 1, 4 over. */
static int step_of(int64_t left_ms)
{
    return left_ms > 30 * DAY_MS  ? 0
           : left_ms > 7 * DAY_MS ? 1
           : left_ms > DAY_MS     ? 2
           : left_ms > 0          ? 3
                                  : 4;
}

static void check_ending(struct daemon *d, int which, const char *what, const char *path)
{
    struct ending *ending = &d->https.endings[which];
    char *pem = NULL;
    int64_t ends;
    ending->text[0] = '\0';
    if (path[0] == '\0' || local_pem(path, false, &pem, NULL) < 0 ||
        tls_ends(pem, &ends, NULL) < 0) {
        free(pem); /* who uses it says what is wrong with it */
        return;
    }
    free(pem);
    int step = step_of(ends - clock_wall_ms());
    char at[CLOCK_WALL_TEXT_MAX];
    clock_wall_text(ends, at);
    if (step > 0) {
        snprintf(ending->text, sizeof ending->text, "%s (%.140s) %s at %s; renew it, then reload",
                 what, path, step == 4 ? "has ended" : "ends", at);
    }
    if (step > ending->said) {
        say_ending(d, ending->text, step == 4);
    }
    ending->said = step;
}

static void check_endings(struct daemon *d)
{
    const struct local_config *local = d->local;
    check_ending(d, 0, "the API's certificate", local->api_cert);
    check_ending(d, 1, "the CA of the API's clients", local->api_client_ca);
    check_ending(d, 2, "the certificate for etcd", local->etcd_cert);
    check_ending(d, 3, "the CA of etcd's members", local->etcd_ca);
}

void https_warnings(struct daemon *d, const char *ret_warnings[STATUS_WARNINGS_MAX])
{
    int len = 0;
    for (int i = 0; i < ENDINGS; i++) {
        if (d->https.endings[i].text[0] != '\0') {
            ret_warnings[len++] = d->https.endings[i].text;
        }
    }
    if (d->https.trouble[0] != '\0') {
        ret_warnings[len] = d->https.trouble;
    }
}

/* ---- keys ---- */

static struct tls_keys *read_keys(const struct local_config *local, struct err *ret_err)
{
    char *cert = NULL;
    char *key = NULL;
    char *ca = NULL;
    struct tls_keys *keys = NULL;
    if (local_pem(local->api_cert, false, &cert, ret_err) == 0 &&
        local_pem(local->api_key, true, &key, ret_err) == 0 &&
        local_pem(local->api_client_ca, false, &ca, ret_err) == 0) {
        keys = tls_keys_new(cert, key, ca, ret_err);
    }
    free(cert);
    if (key != NULL) {
        explicit_bzero(key, strlen(key));
    }
    free(key);
    free(ca);
    return keys;
}

static void say_trouble(struct daemon *d, const char *what, const char *why)
{
    char text[sizeof d->https.trouble];
    snprintf(text, sizeof text, "%s: %s", what, why);
    if (strcmp(text, d->https.trouble) != 0) { /* once, and not at each try */
        log_line(LOG_LEVEL_ERROR, what, "detail", why, NULL);
    }
    memcpy(d->https.trouble, text, sizeof text);
}

/* The new keys, and the server under them: the one that runs, or one that is begun now. */
static void use_keys(struct daemon *d, struct tls_keys *keys)
{
    struct https *https = &d->https;
    const char *listen_at = d->local->api_listen;
    struct err err = {0};
    if (https->listening[0] != '\0' && strcmp(https->listening, listen_at) == 0) {
        api_renew(d->api, keys);
        log_line(LOG_LEVEL_INFO, "the API's certificates are read again", NULL);
    } else if (api_https(d->api, listen_at, keys, &err) == 0) {
        snprintf(https->listening, sizeof https->listening, "%s", listen_at);
        log_line(LOG_LEVEL_INFO, "the API is served over HTTPS", "listen", listen_at, NULL);
    } else {
        https->listening[0] = '\0';
        say_trouble(d, "the API cannot be served over HTTPS", err.text);
        return;
    }
    https->trouble[0] = '\0';
}

static void on_timer(void *arg);

void https_start(struct daemon *d)
{
    struct https *https = &d->https;
    struct err err = {0};
    if (https->timer == NULL) {
        https->timer = timer_new(d->loop, on_timer, d);
    }
    if (d->local->api_listen[0] == '\0') {
        api_https(d->api, NULL, NULL, NULL);
        https->listening[0] = https->trouble[0] = '\0';
    } else {
        struct tls_keys *keys = read_keys(d->local, &err);
        if (keys != NULL) {
            use_keys(d, keys);
            tls_keys_free(keys);
        } else if (https->listening[0] != '\0') {
            say_trouble(d, "the API's certificates cannot be taken; the old ones go on", err.text);
        } else {
            say_trouble(d, "the API cannot be served over HTTPS", err.text);
        }
    }
    check_endings(d);
    timer_start(https->timer, https->trouble[0] != '\0' ? RETRY_MS : CHECK_MS);
}

static void on_timer(void *arg)
{
    struct daemon *d = arg;
    if (d->https.trouble[0] != '\0') {
        https_start(d);
        return;
    }
    check_endings(d);
    timer_start(d->https.timer, CHECK_MS);
}

void https_stop(struct daemon *d)
{
    if (d->https.timer != NULL) {
        timer_free(d->https.timer);
        d->https.timer = NULL;
    }
}
