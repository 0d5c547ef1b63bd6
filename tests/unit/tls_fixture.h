/*
 * tls_fixture.h - certificates for a test, made by openssl in a directory of their own.
 *
 * tls_make_ca("ca") leaves ca.pem and ca.key; tls_make("ann", "ca", ...) ann.pem and ann.key.
 */
#ifndef FAILOVER_TESTS_TLS_FIXTURE_H
#define FAILOVER_TESTS_TLS_FIXTURE_H

#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/tls.h"

static char tls_dir[40];

static inline void tls_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void tls_run(const char *format, ...)
{
    char command[1024];
    int len = snprintf(command, sizeof command, "cd %s && { ", tls_dir);
    va_list args;
    va_start(args, format);
    len += vsnprintf(command + len, sizeof command - (size_t)len, format, args);
    va_end(args);
    snprintf(command + len, sizeof command - (size_t)len, "; } >>openssl.log 2>&1");
    if (system(command) != 0) { /* NOLINT(cert-env33-c): a shell runs openssl, as the manual says */
        fail_msg("does not work: %s", command);
    }
}

static inline void tls_make_ca(const char *name)
{
    tls_run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 "
            "-subj '/CN=%s' -keyout %s.key -out %s.pem",
            name, name, name);
}

/* purpose: clientAuth or serverAuth; the server's is good for 127.0.0.1. */
static inline void tls_make(const char *name, const char *ca, const char *subject,
                            const char *purpose, int days)
{
    tls_run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '%s' "
            "-keyout %s.key -out %s.csr && "
            "printf 'extendedKeyUsage=%s\nsubjectAltName=IP:127.0.0.1\n' >%s.ext && "
            "openssl x509 -req -in %s.csr -CA %s.pem -CAkey %s.key -CAcreateserial -days %d "
            "-extfile %s.ext -out %s.pem",
            subject, name, name, purpose, name, name, ca, ca, days, name, name);
}

/* In a few static buffers: enough for one request's three. */
static inline const char *tls_path(const char *file)
{
    static char paths[8][80];
    static int at;
    at = (at + 1) % 8;
    snprintf(paths[at], sizeof paths[at], "%s/%s", tls_dir, file);
    return paths[at];
}

/* To be freed. */
static inline char *tls_text(const char *file)
{
    char *text = calloc(1, 65536);
    FILE *from = fopen(tls_path(file), "re");
    assert_non_null(from);
    assert_true(fread(text, 1, 65535, from) > 0);
    fclose(from);
    return text;
}

static inline struct tls_keys *tls_keys_of(const char *name, const char *client_ca)
{
    char file[40];
    struct err err = {0};
    snprintf(file, sizeof file, "%s.pem", name);
    char *cert = tls_text(file);
    snprintf(file, sizeof file, "%s.key", name);
    char *key = tls_text(file);
    char *ca = tls_text(client_ca);
    struct tls_keys *made = tls_keys_new(cert, key, ca, &err);
    if (made == NULL) {
        fail_msg("%s", err.text);
    }
    free(cert);
    free(key);
    free(ca);
    return made;
}

static inline int tls_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static inline void tls_begin(void)
{
    snprintf(tls_dir, sizeof tls_dir, "/tmp/test-tls-XXXXXX");
    assert_non_null(mkdtemp(tls_dir));
}

static inline void tls_end(void)
{
    tls_run("rm -f ./*.pem ./*.key ./*.csr ./*.ext ./*.srl");
    assert_int_equal(unlink(tls_path("openssl.log")), 0);
    assert_int_equal(rmdir(tls_dir), 0);
}

#endif
