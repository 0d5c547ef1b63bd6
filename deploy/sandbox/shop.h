/*
 * shop.h - the sandbox's shop: a payment or order service, the load on it, and the audit after it.
 *
 * The point of the program is one promise: what it answered with 200 was committed, and the
 * database acknowledged the commit. Everything else is "failed" (surely not committed) or "unknown"
 * (the answer was lost on the way). Unknown is never counted as either, and nothing is tried again
 * behind the caller's back.
 */
#ifndef SHOP_H
#define SHOP_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#define SHOP_ID_SIZE     64
#define SHOP_TEXT_SIZE   256
#define SHOP_TARGETS_MAX 4

struct shop_kind {
    const char *name;   /* payment | order */
    const char *path;   /* what is posted to */
    const char *table;  /* in the database's public schema */
    const char *insert; /* with parameters id, amount in cents */
    const char *select_ids;
};

enum shop_outcome { SHOP_ACKED, SHOP_FAILED, SHOP_UNKNOWN };
extern const char *const shop_outcome_names[];

/* Options of all roles; each reads its own. */
struct shop_options {
    const struct shop_kind *kind;
    const char *listen;                      /* ADDR:PORT */
    const char *databases[SHOP_TARGETS_MAX]; /* conninfo strings, tried in this order */
    int databases_len;
    const char *urls[SHOP_TARGETS_MAX]; /* taken in turn */
    int urls_len;
    const char *record;  /* file of attempts */
    const char *summary; /* file, or NULL for standard output */
    const char *prefix;  /* of the ids; NULL: a random one */
    unsigned rate;       /* transactions a second */
    unsigned seconds;    /* 0: until SIGTERM or SIGINT */
};

/* Each returns the program's exit status. SIGTERM, SIGINT and SIGPIPE are blocked when they are
 * called. */
int shop_service(const struct shop_options *options);
int shop_load(const struct shop_options *options);
int shop_audit(const struct shop_options *options);

const struct shop_kind *shop_kind_by_name(const char *name);

uint64_t shop_now_us(void); /* CLOCK_MONOTONIC */

/*
 * One PostgreSQL connection, with a deadline on each step (libpq's own are whole seconds, and only
 * for the connect). `deadline_us` is a time of shop_now_us().
 */
PGconn *shop_db_connect(const struct shop_options *options, uint64_t each_us, uint64_t deadline_us,
                        char ret_text[SHOP_TEXT_SIZE]);

/*
 * Run one statement. SHOP_FAILED only if the server itself said that it did not happen, or it was
 * never sent. A warning makes a success unknown: PostgreSQL reports a cancelled wait for its
 * synchronous standby that way, with the tag of a normal commit. *ret_conn_ok says whether the
 * connection can be used again.
 */
enum shop_outcome shop_db_run(PGconn *conn, const char *sql, int params_len,
                              const char *const *params, uint64_t deadline_us, bool *ret_conn_ok,
                              char ret_sqlstate[6], char ret_text[SHOP_TEXT_SIZE]);

#endif
