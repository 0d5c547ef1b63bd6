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
#define LOCAL_ALLOWED_MAX   64
#define LOCAL_PATH_SIZE     256
#define LOCAL_LISTEN_SIZE   108
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

/* What a client of the HTTPS API may do. On the unix socket everybody operates. */
enum api_role {
    ROLE_READ,    /* every question */
    ROLE_OPERATE, /* and every order */
    ROLE_GUARD,   /* what a failover-guard needs, and nothing of operators */
};
#define ROLES 3
extern const char *const api_role_names[];

struct local_allowed_def {
    char name[NAME_SIZE]; /* the certificate's common name */
    int32_t role;         /* enum api_role */
};

struct local_instance_def { /* a PostgreSQL instance that failover-guard is responsible for */
    char database[NAME_SIZE];
    char data_dir[LOCAL_PATH_SIZE];
    char bin_dir[LOCAL_PATH_SIZE];
    char config_file[LOCAL_PATH_SIZE]; /* "": in the data directory */
    char include_file[LOCAL_PATH_SIZE];
    char log_file[LOCAL_PATH_SIZE];
    char socket_dir[LOCAL_PATH_SIZE];
    uint16_t port;
    char os_user[NAME_SIZE];
    char user[NAME_SIZE];
};

struct local_guard_def {
    char node[NAME_SIZE]; /* "": this machine has no guard */
    char state_dir[LOCAL_PATH_SIZE], run_dir[LOCAL_PATH_SIZE];
    char boot_id[LOCAL_PATH_SIZE];
    char watchdog[LOCAL_PATH_SIZE]; /* "": none */
    char ca[LOCAL_PATH_SIZE], cert[LOCAL_PATH_SIZE], key[LOCAL_PATH_SIZE];
    char replication[URL_SIZE]; /* of primary_conninfo, all but host, port and application_name */
    uint64_t slot_limit;        /* bytes of WAL that a slot may hold back */
    struct local_instance_def instances[DATABASES_MAX];
    int instances_len;
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
    char api_listen[LOCAL_LISTEN_SIZE]; /* "": no HTTPS, and the rest of it is not there either */
    char api_cert[LOCAL_PATH_SIZE], api_key[LOCAL_PATH_SIZE], api_client_ca[LOCAL_PATH_SIZE];
    struct local_allowed_def api_allowed[LOCAL_ALLOWED_MAX];
    int api_allowed_len;
    char copy_dir[LOCAL_PATH_SIZE]; /* store_copy.h's files */
    uint64_t copy_every_ms;         /* the least between two copies */
    struct local_guard_def guard;
};

int local_read(const char *text, size_t len, struct local_config *ret_config,
               struct complaints *complaints);
int local_read_file(const char *path, struct local_config *ret_config,
                    struct complaints *complaints, struct err *ret_err);
int local_secret(const struct local_config *config, const char *name, char ret_text[SECRET_SIZE],
                 struct err *ret_err);
/* A file of PEM: its whole text, to be wiped and freed. A private one must be closed to others, as
 * a secret is. */
int local_pem(const char *path, bool private, char **ret_text, struct err *ret_err);
/* NULL if the name is not allowed. */
const struct local_allowed_def *local_allowed(const struct local_config *config, const char *name);
/* NULL if there is none of that name. */
const struct local_command_def *local_command(const struct local_config *config, const char *name);

/* The reference page's table of keys, in Markdown. */
void local_reference_print(FILE *to);

#endif
