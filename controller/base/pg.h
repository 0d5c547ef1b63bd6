/*
 * pg.h - the one PostgreSQL client: probes, promotion, PgBouncer's console (libpq on the loop).
 *
 * A session is opened with a deadline, holds its connection, and runs one statement batch at a
 * time, each with a deadline. A socket that closes while nothing runs is news: `on_lost` is called
 * at once (design §6). Callbacks come from the loop, never from inside pg_open() or pg_query().
 * After pg_close() none arrives. A statement that missed its deadline leaves the session unusable
 * (its outcome is unknown): it reports PG_TIMEOUT and the session is lost; close it. An answer that
 * has arrived by the time we look is no timeout, however late we look. A loss is told once: by the
 * reply of what was running, or else by `on_lost`.
 *
 * `hostaddr` must be numeric, so that no DNS blocks the loop. libpq's own words are matched in the
 * C locale: a program that uses this does not set LC_MESSAGES.
 */
#ifndef FAILOVER_BASE_PG_H
#define FAILOVER_BASE_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "controller/base/err.h"
#include "controller/base/loop.h"

struct pg_session;

struct pg_target {
    const char *hostaddr; /* numeric address, or a directory starting with '/' for a unix socket */
    uint16_t port;
    const char *dbname;
    const char *user;
    const char *password;         /* or NULL */
    const char *sslmode;          /* NULL: prefer */
    const char *sslrootcert;      /* or NULL */
    const char *application_name; /* NULL: failoverd */
    const char *options;          /* libpq "options", or NULL */
    /* A whole connection string instead of dbname, user, password, sslmode and sslrootcert; NULL:
     * these. Its host must be numeric as well. */
    const char *conninfo;
    /* Over a unix socket, the user that the server's peer authentication shall see; 0: we as we
     * are. Needs root. */
    uid_t peer_uid;
};

enum pg_outcome {
    PG_DONE,    /* the server answered every statement with success */
    PG_FAILED,  /* the server answered with an error: sqlstate and text are its own */
    PG_REFUSED, /* nobody listens (ECONNREFUSED, or the unix socket is not there) */
    PG_TIMEOUT, /* no answer by the deadline */
    PG_LOST,    /* the connection broke, or could not be made for another reason than refusal */
};

struct pg_reply {
    enum pg_outcome outcome;
    char sqlstate[6]; /* "" if there is none; for a failed open too, where the server sent one */
    char text[ERR_TEXT_MAX]; /* one line, without the trailing newline */
    /*
     * The latest WARNING of the batch, or "". A commit whose wait for a synchronous standby was
     * cancelled ends with success and a warning: look here before calling it acknowledged.
     */
    char warning[ERR_TEXT_MAX];
    PGresult *const *results; /* one per statement of the batch, while the callback runs */
    int results_len;
    uint64_t took_ms;
};

typedef void (*pg_reply_fn)(void *arg, const struct pg_reply *reply);
typedef void (*pg_lost_fn)(void *arg, const char *text);

/* `opened` is called once; on any outcome but PG_DONE the session is good for pg_close() only. */
struct pg_session *pg_open(struct loop *loop, const struct pg_target *target, uint64_t within_ms,
                           pg_reply_fn opened, pg_lost_fn on_lost, void *arg);
/* Simple query protocol, several statements allowed; one at a time (asserted). */
void pg_query(struct pg_session *session, const char *sql, uint64_t within_ms, pg_reply_fn done,
              void *arg);
/* Extended protocol, text parameters. */
void pg_query_params(struct pg_session *session, const char *sql, int params_len,
                     const char *const *params, uint64_t within_ms, pg_reply_fn done, void *arg);

/*
 * A statement that is asked again and again: parsed and planned once in each session, which is what
 * most of a small one's time goes to. Static storage: its address is what it is known by.
 */
struct pg_statement {
    const char *name; /* unique among those of one session */
    const char *sql;  /* one statement; its parameters are cast where their type is not plain */
};
#define PG_STATEMENTS_MAX 4 /* of one session */
struct pg_call {
    const struct pg_statement *statement;
    const char *const *params; /* text */
    int params_len;
};
/* In one round trip and one transaction; the answers of the calls are results[0], [1] and so on.
 * After the first error none of the others is run. */
void pg_call(struct pg_session *session, const struct pg_call *calls, int len, uint64_t within_ms,
             pg_reply_fn done, void *arg);
bool pg_busy(const struct pg_session *session);
/* A session that is open (`opened` said PG_DONE) and not lost. */
bool pg_usable(const struct pg_session *session);
/*
 * True when the other side's kernel has confirmed all that we sent, the connection itself included:
 * silence is then the server's, not the path's. Ask it in a PG_TIMEOUT callback, or while waiting.
 */
bool pg_delivered(const struct pg_session *session);
int pg_backend_pid(const struct pg_session *session);
/* Closes. What was still running is cut off by a reset, so that the server notices at once. May be
 * called in callbacks. */
void pg_close(struct pg_session *session);

#endif
