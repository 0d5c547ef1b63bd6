/*
 * rescue.h - what the files of `failoverctl store rescue` share.
 *
 *   rescue.c       the command: look, show the plan, act by compared writes
 *   rescue_look.c  what etcd, the copy, the guards and PostgreSQL say
 *   rescue_show.c  the plan as an operator reads it
 *
 * It needs no controller, since it is for the day on which none can lead: it speaks to etcd itself,
 * with a controller's local file and secrets.
 */
#ifndef FAILOVER_CTL_RESCUE_H
#define FAILOVER_CTL_RESCUE_H

#include "controller/cluster/definition_read.h"
#include "controller/cluster/local.h"
#include "controller/cluster/records_json.h"
#include "controller/cluster/store_copy.h"
#include "controller/cluster/store_keys.h"
#include "controller/core/rescue.h"
#include "controller/ctl/command.h"
#include "controller/etcd/client.h"

#define RESCUE_KEYS_MAX 65536
#define RESCUE_CALL_MS  5000

struct rescue_key { /* as etcd has it; texts are the look's */
    char *name;     /* behind /failover/CLUSTER/ */
    char *value;
    int64_t create_revision, mod_revision;
};

struct rescue_look {
    const struct local_config *local;
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
    char prefix[NAME_SIZE + 16];
    char copy_path[LOCAL_PATH_SIZE + 16];
    struct store_copy copy;
    bool has_copy;

    /* of the latest reading of etcd */
    uint64_t cluster_id;
    int64_t revision;
    struct rescue_key *keys;
    int keys_len, keys_size;
    struct installation installation; /* id "": etcd has none */

    struct definition *def;
    enum rescue_source config_source;
    struct rescue_database databases[DATABASES_MAX];
    uint64_t known; /* the highest incarnation that etcd or the copy names */
    char id[ID_SIZE];
};

/* The local file, the copy and the client. False: said, with *ret_exit. */
bool rescue_open(struct rescue_look *look, const struct ctl *ctl, enum ctl_exit *ret_exit);
void rescue_close(struct rescue_look *look);
/* Reads everything, and waits for what guards and PostgreSQL say. is_off: nodes by the
 * definition's index are filled from --without and --primary of ctl. False: said. */
bool rescue_look(struct rescue_look *look, const struct ctl *ctl, enum ctl_exit *ret_exit);
const struct rescue_key *rescue_key(const struct rescue_look *look, const char *name);
/* NULL: the source has no such key. */
const char *rescue_value(const struct rescue_look *look, enum rescue_source source,
                         const char *name);
/* One transaction; its outcome in words when it was not accepted. */
bool rescue_write(struct rescue_look *look, const struct etcd_txn *txn, char *ret_why, size_t size);

void rescue_show(const struct rescue_look *look, const struct rescue_plan *plan);

#endif
