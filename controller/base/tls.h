/*
 * tls.h - the TLS of a server that knows its clients by their certificates (GnuTLS, which
 * libmicrohttpd speaks).
 *
 * struct tls_keys is our certificate with its key, and the CAs that clients' certificates must come
 * from. It is made as a whole or not at all, and never changed: what is renewed is another one, and
 * connections keep theirs until their end (tls_keys_hold, tls_keys_free).
 *
 * A client without a certificate, or with one that is not good, does not get through the handshake.
 * tls_check() looks at it again at each request, since a connection may outlive its certificate.
 * Sessions are not resumed, so nobody is let in by an old proof.
 */
#ifndef FAILOVER_BASE_TLS_H
#define FAILOVER_BASE_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"

/* What libmicrohttpd is told: TLS 1.2 or later, our order of preference. */
#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"
#define TLS_NAME_SIZE  64

struct tls_keys;

struct tls_peer {             /* of one connection; it must outlive the session's handshake */
    bool proven;              /* the handshake is done: it has the key of a good certificate */
    char name[TLS_NAME_SIZE]; /* its certificate's one common name, printable; "" before */
    char why[160];            /* what was found wrong, or "" */
    void (*done)(void *arg);  /* when proven becomes true */
    void *arg;
};

/* From PEM texts. Errors: ERR_INVALID; the text names which of the three. */
struct tls_keys *tls_keys_new(const char *cert, const char *key, const char *client_ca,
                              struct err *ret_err);
struct tls_keys *tls_keys_hold(struct tls_keys *keys);
void tls_keys_free(struct tls_keys *keys); /* the last one frees; NULL too */

/* libmicrohttpd wants a source of certificates for all sessions: this one has none, so that only
 * tls_demand() gives a session any. A function for MHD_OPTION_HTTPS_CERT_CALLBACK. */
void *tls_no_source(void);
/* Before the handshake: the session (a gnutls_session_t) shall use these keys, and demand. */
void tls_demand(struct tls_keys *keys, void *session, struct tls_peer *peer);
/* Is the peer's certificate good now? */
bool tls_check(void *session, struct tls_peer *peer);

/* The certificate of a PEM text that ends first, as a wall clock's time. Errors: ERR_INVALID. */
int tls_ends(const char *pem, int64_t *ret_wall_ms, struct err *ret_err);

#endif
