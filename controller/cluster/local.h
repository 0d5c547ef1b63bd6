/*
 * local.h - the one small file that a program reads on its own machine (/etc/failover/local.yaml).
 *
 * Everything else is in etcd. Secrets are files; their contents are read by local_secret() at use,
 * trimmed of one newline, at most 4 KiB, refused when others than root and the group may read them.
 */
#ifndef FAILOVER_CLUSTER_LOCAL_H
#define FAILOVER_CLUSTER_LOCAL_H

#include "controller/base/err.h"
#include "controller/cluster/definition_read.h"

#define LOCAL_ENDPOINTS_MAX 8
#define LOCAL_SECRETS_MAX   16
#define LOCAL_COMMANDS_MAX  16
#define LOCAL_ARGS_MAX      12
#define LOCAL_PATH_SIZE     256
#define SECRET_SIZE         4096

struct local_secret_def {
    char name[NAME_SIZE];
    char path[LOCAL_PATH_SIZE];
};

struct local_command_def {
    char name[NAME_SIZE];
    char args[LOCAL_ARGS_MAX][LOCAL_PATH_SIZE];
    int args_len;
};

struct local_config {
    char id[NAME_SIZE];
    char cluster[NAME_SIZE];
    char endpoints[LOCAL_ENDPOINTS_MAX][URL_SIZE];
    int endpoints_len;
    char etcd_ca[LOCAL_PATH_SIZE], etcd_cert[LOCAL_PATH_SIZE], etcd_key[LOCAL_PATH_SIZE];
    uint64_t etcd_quota;                                 /* bytes */
    char etcd_user[NAME_SIZE], etcd_password[NAME_SIZE]; /* "" or: password is a secret's name */
    struct local_secret_def secrets[LOCAL_SECRETS_MAX];
    int secrets_len;
    struct local_command_def commands[LOCAL_COMMANDS_MAX];
    int commands_len;
    char socket[108];
    char socket_group[NAME_SIZE];
};

int local_read(const char *text, size_t len, struct local_config *ret_config,
               struct complaints *complaints);
int local_read_file(const char *path, struct local_config *ret_config,
                    struct complaints *complaints, struct err *ret_err);
int local_secret(const struct local_config *config, const char *name, char ret_text[SECRET_SIZE],
                 struct err *ret_err);
/* NULL if there is none of that name. */
const struct local_command_def *local_command(const struct local_config *config, const char *name);

/* The reference page's table of keys, in Markdown. */
void local_reference_print(FILE *to);

#endif
