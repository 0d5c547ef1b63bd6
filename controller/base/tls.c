/*
 * The happy path: the session gets our credentials and must ask for a certificate; GnuTLS checks
 * the signature with the client's key itself, and calls verify() for the chain; when the client's
 * last message of the handshake was good, on_finished() calls the peer proven.
 */
#include "controller/base/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tls_keys {
    gnutls_certificate_credentials_t credentials;
    unsigned uses;
};

static gnutls_datum_t datum(const char *text)
{
    /* GnuTLS does not write to it. */
    return (gnutls_datum_t){.data = (unsigned char *)text, .size = (unsigned)strlen(text)};
}

struct tls_keys *tls_keys_new(const char *cert, const char *key, const char *client_ca,
                              struct err *ret_err)
{
    struct tls_keys *keys = calloc(1, sizeof *keys);
    if (keys == NULL || gnutls_certificate_allocate_credentials(&keys->credentials) < 0) {
        abort();
    }
    keys->uses = 1;
    gnutls_datum_t ours = datum(cert), secret = datum(key), ca = datum(client_ca);
    int cas = gnutls_certificate_set_x509_trust_mem(keys->credentials, &ca, GNUTLS_X509_FMT_PEM);
    int rc = gnutls_certificate_set_x509_key_mem2(keys->credentials, &ours, &secret,
                                                  GNUTLS_X509_FMT_PEM, NULL, 0);
    if (cas > 0 && rc >= 0) {
        return keys;
    }
    if (cas <= 0) {
        err_set(ret_err, ERR_INVALID, "the clients' CA: %s",
                cas < 0 ? gnutls_strerror(cas) : "there is no certificate in it");
    } else {
        err_set(ret_err, ERR_INVALID,
                "the certificate and its key do not go together, or are not PEM: %s",
                gnutls_strerror(rc));
    }
    tls_keys_free(keys);
    return NULL;
}

struct tls_keys *tls_keys_hold(struct tls_keys *keys)
{
    keys->uses++;
    return keys;
}

void tls_keys_free(struct tls_keys *keys)
{
    if (keys != NULL && --keys->uses == 0) {
        gnutls_certificate_free_credentials(keys->credentials);
        free(keys);
    }
}

/* ---- the peer ---- */

/* One common name, and nothing in it that would not be a name in a log or a record. */
static bool read_name(gnutls_x509_crt_t crt, struct tls_peer *peer)
{
    char name[TLS_NAME_SIZE];
    char second[TLS_NAME_SIZE];
    size_t len = sizeof name;
    size_t second_len = sizeof second;
    int rc = gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &len);
    int more =
        gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 1, 0, second, &second_len);
    bool good =
        rc == 0 && len > 0 && strlen(name) == len && more == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE;
    for (size_t i = 0; good && i < len; i++) {
        good = name[i] > ' ' && name[i] <= '~';
    }
    if (!good) {
        (void)snprintf(peer->why, sizeof peer->why,
                       "its certificate has not one common name of 1 to %d printable characters",
                       TLS_NAME_SIZE - 1);
        return false;
    }
    memcpy(peer->name, name, len + 1);
    return true;
}

static bool read_peer(gnutls_session_t session, struct tls_peer *peer)
{
    unsigned count = 0;
    const gnutls_datum_t *chain = gnutls_certificate_get_peers(session, &count);
    gnutls_x509_crt_t crt;
    if (chain == NULL || count == 0 || gnutls_x509_crt_init(&crt) < 0) {
        (void)snprintf(peer->why, sizeof peer->why, "it has no certificate");
        return false;
    }
    bool good =
        gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) >= 0 && read_name(crt, peer);
    gnutls_x509_crt_deinit(crt);
    return good;
}

static void say_status(struct tls_peer *peer, unsigned status)
{
    gnutls_datum_t text;
    if (gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) == 0) {
        (void)snprintf(peer->why, sizeof peer->why, "%s", (const char *)text.data);
        gnutls_free(text.data);
        /* It ends with a blank. */
        for (size_t len = strlen(peer->why); len > 0 && peer->why[len - 1] == ' '; len--) {
            peer->why[len - 1] = '\0';
        }
    } else {
        (void)snprintf(peer->why, sizeof peer->why, "its certificate is not good");
    }
}

/* 0 when the chain is good now and made for clients, else GnuTLS's bits; -1: there is none. */
static int check_chain(gnutls_session_t session, struct tls_peer *peer)
{
    char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st data = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                  .data = (unsigned char *)purpose};
    unsigned status = 0;
    int rc = gnutls_certificate_verify_peers(session, &data, 1, &status);
    if (rc < 0) {
        (void)snprintf(peer->why, sizeof peer->why, "its certificate cannot be checked: %s",
                       gnutls_strerror(rc));
        return -1;
    }
    if (status != 0) {
        say_status(peer, status);
    }
    return (int)status;
}

static gnutls_alert_description_t alert_for(int status)
{
    return status < 0                                     ? GNUTLS_A_BAD_CERTIFICATE
           : (status & GNUTLS_CERT_EXPIRED) != 0          ? GNUTLS_A_CERTIFICATE_EXPIRED
           : (status & GNUTLS_CERT_SIGNER_NOT_FOUND) != 0 ? GNUTLS_A_UNKNOWN_CA
                                                          : GNUTLS_A_BAD_CERTIFICATE;
}

/* Inside the handshake. libmicrohttpd only closes: the alert tells the client why. */
static int verify(gnutls_session_t session)
{
    struct tls_peer *peer = gnutls_db_get_ptr(session);
    int status = check_chain(session, peer);
    if (status == 0 && read_peer(session, peer)) {
        return 0;
    }
    (void)gnutls_alert_send(session, GNUTLS_AL_FATAL, alert_for(status));
    return GNUTLS_E_CERTIFICATE_ERROR;
}

static int on_finished(gnutls_session_t session, unsigned type, unsigned when, unsigned incoming,
                       const gnutls_datum_t *message)
{
    (void)type, (void)when, (void)message;
    struct tls_peer *peer = gnutls_db_get_ptr(session);
    if (incoming != 0 && peer->name[0] != '\0' && !peer->proven) {
        peer->proven = true;
        peer->done(peer->arg);
    }
    return 0;
}

static int give_none(gnutls_session_t session, const gnutls_datum_t *cas, int cas_len,
                     const gnutls_pk_algorithm_t *algorithms, int algorithms_len,
                     gnutls_pcert_st **ret_certificate, unsigned *ret_len,
                     gnutls_privkey_t *ret_key)
{
    (void)session, (void)cas, (void)cas_len, (void)algorithms, (void)algorithms_len;
    (void)ret_certificate, (void)ret_len, (void)ret_key;
    return -1;
}

void *tls_no_source(void)
{
    gnutls_certificate_retrieve_function2 *none = give_none;
    void *source;
    memcpy(&source, &none, sizeof source);
    return source;
}

void tls_demand(struct tls_keys *keys, void *session, struct tls_peer *peer)
{
    /* The session's own pointer is libmicrohttpd's; this one is for a session cache, and there is
     * none. */
    gnutls_db_set_ptr(session, peer);
    gnutls_credentials_clear(session);
    if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, keys->credentials) < 0) {
        abort(); /* out of memory; nobody is let in by libmicrohttpd's own credentials */
    }
    gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
    gnutls_session_set_verify_function(session, verify);
    gnutls_handshake_set_hook_function(session, GNUTLS_HANDSHAKE_FINISHED, GNUTLS_HOOK_POST,
                                       on_finished);
}

bool tls_check(void *session, struct tls_peer *peer)
{
    return peer->proven && check_chain(session, peer) == 0;
}

/* ---- how long ---- */

int tls_ends(const char *pem, int64_t *ret_wall_ms, struct err *ret_err)
{
    gnutls_x509_crt_t *chain = NULL;
    unsigned count = 0;
    gnutls_datum_t text = datum(pem);
    int rc = gnutls_x509_crt_list_import2(&chain, &count, &text, GNUTLS_X509_FMT_PEM, 0);
    if (rc < 0 || count == 0) {
        return err_set(ret_err, ERR_INVALID, "no certificate can be read: %s", gnutls_strerror(rc));
    }
    int64_t first = INT64_MAX;
    for (unsigned i = 0; i < count; i++) {
        int64_t ends = (int64_t)gnutls_x509_crt_get_expiration_time(chain[i]);
        first = ends < first ? ends : first;
        gnutls_x509_crt_deinit(chain[i]);
    }
    gnutls_free(chain);
    *ret_wall_ms = first * 1000;
    return 0;
}
