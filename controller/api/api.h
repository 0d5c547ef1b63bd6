/*
 * api.h - the controller's HTTP API, for failoverctl and scripts: over its unix socket, and over
 * HTTPS where that is switched on.
 *
 * It has no access to etcd. What it shows comes from the core, from the backend's extra(), and from
 * what the program feeds in as its watch delivers it (api_take_*). What it wants written it hands
 * to the backend, which starts the write and returns at once; the program reports the write's end
 * by api_write_done(). So a handler never waits, and the caller asks again by id: an answer that
 * was lost changes nothing, since an id is written once only.
 *
 *   GET  /v1/me                 {"who","role","controller","leader"}: who asks, as it is recorded
 *   GET  /v1/status             status.h
 *   GET  /v1/incidents          {"incidents":[...]} newest first, without their notes
 *   GET  /v1/incidents/ID       one; ID "latest" is the newest
 *   GET  /v1/events?since=SEQ   events.h; &limit=N (1 to EVENTS_MAX); with status.h's "controller"
 *                               (whose they are: each controller counts its own, in each of its
 *                               lives) and "leader"
 *   GET  /v1/explain?group=G    explain.h; or &database=D
 *   GET  /v1/plan?group=G       explain.h; &database=D &to=NODE &accept_loss_bytes=N
 *   POST /v1/requests           {"kind": failover|pause|resume|confirm-fenced|workflow-retry|
 *                               workflow-skip|workflow-abandon|alarm-ack|adopt, "reason": TEXT,
 * "id", "group", "database", "node", "accept_loss_bytes", "plan" (of a failover: the hash that was
 * shown), "alarm" (its key)}
 *                               -> 202 {"id", "state"}
 *   GET  /v1/requests/ID        {"id","state": unknown-yet|new|running|done|refused,"outcome", ...}
 *   GET  /v1/config             {"revision","yaml","who","reason","at"}; revision 0: none stored
 *   POST /v1/config (or PUT)    {"yaml","reason","id","expected_revision"} -> 202 {"id"}; a
 *                               definition with errors: 400 with every complaint
 *   GET  /v1/history            {"revision","versions":[{"version","who","reason","at","hash"}]};
 *                               0 is the stored definition, 1 the one before it
 *   GET  /v1/history/N          one of them, with its "yaml"
 *   GET  /v1/writes/ID          {"id","state": pending|stored|failed|unknown,"revision","text"}
 *   POST /v1/promise            a guard's: {"database","node","epoch":{"incarnation","counter"},
 *                               "boot","nonce"} -> the same with {"promised","reason"} (design §7)
 *
 * Errors: {"error": TEXT, "allowed": [...]?} with 400 (the request is not well formed, or names
 * what does not exist), 403 (not known, not allowed at all, or not allowed this), 404, 405, 409
 * (the id is in use for something else), 413 (too large), 503 (too many writes wait).
 *
 * Who asked is the user that the kernel names for the socket's peer, or "cert:NAME" by the
 * certificate of an HTTPS connection (server.h); nobody can say it in the body. A user's name is
 * read from /etc/passwd alone: a directory service must not be able to block the loop that decides.
 * At the socket everybody who may connect operates; what a certificate's name may do is looked up
 * at each request, reading included (roles: local.h). Who is not let in, or not allowed something,
 * is told to the backend.
 *
 * Bounds: a body at most 512 KiB for /v1/config and 16 KiB elsewhere; API_WRITES_MAX writes,
 * API_REQUESTS_MAX requests and API_INCIDENTS_MAX incidents are kept, the oldest ended ones go.
 *
 * Memory: api_new copies the backend; strings that extra() points at must live until the next call.
 */
#ifndef FAILOVER_API_API_H
#define FAILOVER_API_API_H

#include <stddef.h>
#include <stdint.h>

#include "controller/api/status.h"
#include "controller/base/err.h"
#include "controller/base/loop.h"
#include "controller/cluster/local.h"
#include "controller/cluster/records_json.h"

#define API_BODY_MAX        (512u << 10)
#define API_BODY_SMALL_MAX  (16u << 10)
#define API_WRITES_MAX      64
#define API_REQUESTS_MAX    256
#define API_INCIDENTS_MAX   128
#define API_CONNECTIONS_MAX 64 /* at the unix socket */
#define API_HTTPS_MAX       48 /* over HTTPS */

struct api;
struct tls_keys;

enum api_write_state {
    API_WRITE_PENDING, /* started, no answer yet */
    API_WRITE_STORED,  /* accepted by etcd */
    API_WRITE_FAILED,  /* certainly not stored: a conflict, or refused */
    API_WRITE_UNKNOWN, /* no answer, or one that says neither; it may have been stored */
};
extern const char *const api_write_state_names[];

struct api_config { /* the definition as it is stored, or shall be */
    const char *yaml;
    size_t yaml_len;
    char who[NAME_SIZE];
    char reason[REASON_SIZE];
    int64_t wall_ms;
    int64_t revision; /* taken: etcd's mod revision of `config`; put: the one that it must still
                         have (0: must not exist) */
};

struct api_backend {
    void *arg;
    const struct core *(*core)(void *arg);
    void (*extra)(void *arg, struct status_extra *ret_extra);
    /* The stored definition with those before it, until the next call; or NULL. May be absent. */
    const struct config_record *(*config)(void *arg);
    /*
     * Start to create requests/<request->id>, if absent. The end, later from the loop (never from
     * inside this call): api_write_done(api, request->id, ...).
     */
    void (*put_request)(void *arg, const struct request_record *request);
    /*
     * Start to store a definition (already checked) if `config` still has config->revision. The
     * end: api_write_done(api, id, ...). Copy what is needed; config lives during the call only.
     */
    void (*put_config)(void *arg, const char *id, const struct api_config *config);
    /* core_promise() (core.h). May be absent: nothing is promised. */
    bool (*promise)(void *arg, const struct promise_question *question, char *ret_reason,
                    size_t size);
    /* May a certificate of this name come in, and as what? For HTTPS. */
    bool (*allowed)(void *arg, const char *name, enum api_role *ret_role);
    /* Somebody was refused: an address or "cert:NAME", and why. May be absent. */
    void (*refused)(void *arg, const char *who, const char *why);
};

struct api_options {
    const char *socket;       /* path of the unix socket */
    const char *socket_group; /* NULL: root only */
    struct api_backend backend;
};

struct api *api_new(struct loop *loop, const struct api_options *options, struct err *ret_err);
void api_free(struct api *api);
/* HTTPS at listen ("192.0.2.1:8443") with these keys (held), beside the socket; NULL ends it. */
int api_https(struct api *api, const char *listen, struct tls_keys *keys, struct err *ret_err);
/* Other keys from now on; requests that have begun are answered. */
void api_renew(struct api *api, struct tls_keys *keys);

/* From the watch, and for everything that was read at the start: repeat at will. */
void api_take_request(struct api *api, const struct request_record *request);
void api_take_incident(struct api *api, const struct incident_record *incident);
/* NULL: there is none. */
void api_take_config(struct api *api, const struct api_config *config);
/* The end of a write; an id that the api does not know is ignored. text: why it failed, or "". */
void api_write_done(struct api *api, const char *id, enum api_write_state state, int64_t revision,
                    const char *text);

#endif
