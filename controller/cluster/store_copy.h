/*
 * store_copy.h - what etcd holds for a cluster, as one file on a controller's disk.
 *
 * Losing etcd for good must end in a running primary (design §4): `failoverctl store rescue` begins
 * from this file. It holds the definition, the installation, permits, groups and incidents as they
 * stood at one revision. Not in it, on purpose: what lives on a lease, the guards' heartbeats and
 * reports (they are asked anew), and requests, since an order must not be carried out twice.
 *
 * Bounded: STORE_COPY_MAX bytes. What finds no room is left out and counted: incidents, the oldest
 * first; never the rest, whose own bounds fit.
 *
 * On disk: STORE_COPY_NAME is the latest, whole or the one before it (written beside it, fsync,
 * rename, fsync of the directory). Older ones are store.1.json to store.STORE_COPY_KEPT.json, each
 * at least STORE_COPY_APART_MS younger than the next, for who has to look back.
 *
 * Memory: a copy owns its texts until store_copy_done().
 */
#ifndef FAILOVER_CLUSTER_STORE_COPY_H
#define FAILOVER_CLUSTER_STORE_COPY_H

#include "controller/cluster/installation.h"

#define STORE_COPY_MAX      (8u << 20)
#define STORE_COPY_KEYS_MAX 4096
#define STORE_COPY_KEY_SIZE 256
#define STORE_COPY_NAME     "store.json"
#define STORE_COPY_KEPT     6
#define STORE_COPY_APART_MS INT64_C(3600000)

struct store_copy_key {
    char *name; /* behind /failover/CLUSTER/ */
    char *value;
};

struct store_copy {
    char cluster[NAME_SIZE];
    struct installation installation; /* cluster_id: of the etcd that it was read from */
    int64_t revision;                 /* all keys as of then */
    char made_by[NAME_SIZE];          /* a controller */
    int64_t made_wall_ms;
    int left_out;
    struct store_copy_key *keys;
    int keys_len, keys_size;
};

/* Whether a key of that name is kept at all. */
bool store_copy_wants(const char *name);
void store_copy_add(struct store_copy *copy, const char *name, const char *value, size_t len);
/* NULL: it is not in there. */
const char *store_copy_find(const struct store_copy *copy, const char *name);
/* The file's text, at most STORE_COPY_MAX bytes, to be freed; drops incidents until it fits.
 * NULL: the rest alone does not. */
char *store_copy_encode(struct store_copy *copy, size_t *ret_len);
int store_copy_decode(const char *text, size_t len, struct store_copy *ret_copy,
                      struct err *ret_err);
void store_copy_done(struct store_copy *copy);

/* Blocking: for a worker thread, and for failoverctl. */
int store_copy_write(const char *dir, const char *text, size_t len, int64_t now_wall_ms,
                     struct err *ret_err);
int store_copy_read(const char *path, struct store_copy *ret_copy, struct err *ret_err);

#endif
