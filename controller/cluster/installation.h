/*
 * installation.h - the key `installation`: whose store this is, and in which etcd it lives.
 *
 * An etcd that was restored from a backup, or begun anew, is another life of the same installation
 * (design §4): `failoverctl store rescue` alone writes the key there, with a higher incarnation.
 * Whoever knows the installation takes a store up again only for that: the same id, a higher
 * incarnation, and the etcd cluster that the key names is the one that answers.
 *
 * Memory: values; what installation_encode() returns is the caller's, to be freed.
 */
#ifndef FAILOVER_CLUSTER_INSTALLATION_H
#define FAILOVER_CLUSTER_INSTALLATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/json.h"
#include "controller/cluster/records.h"

struct installation {
    char id[ID_SIZE];        /* "": none is known */
    uint64_t cluster_id;     /* etcd's; 0: not said, any */
    uint64_t incarnation;    /* 1, one more after each rescue */
    int64_t rescued_wall_ms; /* 0: never */
    char rescued_by[NAME_SIZE];
    char reason[REASON_SIZE];
};

int installation_decode(const char *text, size_t len, struct installation *ret,
                        struct err *ret_err);
char *installation_encode(const struct installation *installation, size_t *ret_len);
/* The same as a part of another document. */
void installation_read(struct json_in *in, const json_t *object, struct installation *ret);
json_t *installation_json(const struct installation *installation);

/* What was seen in the etcd cluster that answers there is a later life of what is known. */
bool installation_is_rescued(const struct installation *known, const struct installation *seen,
                             uint64_t cluster_id);

#endif
