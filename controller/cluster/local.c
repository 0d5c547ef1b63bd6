#include "controller/cluster/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/cluster/complaints.h"
#include "controller/cluster/keys.h"

#define PEM_SIZE (256u << 10) /* a system's whole list of CAs */

const char *const api_role_names[] = {"read", "operate", "guard", NULL};

/* clang-format off */
static const struct key rows[] = {
    { "id", KEY_NAME, KEY_FIELD(local_config, id),
      .help = "This controller's name; another one than the other's." },
    { "cluster", KEY_NAME, KEY_FIELD(local_config, cluster),
      .help = "The cluster's name, as in its definition." },
    { "etcd", KEY_SECTION, .help = "The store that both controllers use." },
    { "etcd.endpoints", KEY_URL, KEY_ITEMS(local_config, endpoints, endpoints_len), .items_min = 1,
      .help = "The client URLs of its members." },
    { "etcd.ca", KEY_PATH, KEY_FIELD(local_config, etcd_ca), .absent = "",
      .help = "The file of the certificates that its members' are checked against." },
    { "etcd.cert", KEY_PATH, KEY_FIELD(local_config, etcd_cert), .absent = "",
      .help = "The file of our own certificate, with `key`." },
    { "etcd.key", KEY_PATH, KEY_FIELD(local_config, etcd_key), .absent = "",
      .help = "The file of its private key." },
    { "etcd.user", KEY_TEXT, KEY_FIELD(local_config, etcd_user), .min = 1, .absent = "",
      .help = "etcd's user, with `password`." },
    { "etcd.password", KEY_NAME, KEY_FIELD(local_config, etcd_password), .absent = "",
      .help = "The name of a secret below." },
    { "etcd.quota", KEY_SIZE, KEY_FIELD(local_config, etcd_quota), .min = 1 << 20, .max = INT64_C(1) << 40,
      .absent = "2GiB", .help = "Its members' `quota-backend-bytes`, which they tell from 3.6 on only. An alarm is raised at 60 % of it." },
    { "secrets", KEY_MAP, KEY_ITEMS(local_config, secrets, secrets_len), .absent = "",
      .help = "The secrets that the definition can name." },
    { "secrets.*", KEY_PATH, KEY_FIELD(local_secret_def, path),
      .help = "A file that holds it: one line, mode 0600 or 0640." },
    { "commands", KEY_MAP, KEY_ITEMS(local_config, commands, commands_len), .absent = "",
      .help = "The commands that the definition can name." },
    { "commands.*", KEY_TEXT, KEY_ITEMS(local_command_def, args, args_len), .items_min = 1,
      .help = "The program's path, then its arguments." },
    { "listen", KEY_SECTION, .absent = "{}", .help = "Where `failoverctl` reaches this program." },
    { "listen.socket", KEY_PATH, KEY_FIELD(local_config, socket), .absent = "/run/failover/failoverd.sock",
      .help = "The unix socket." },
    { "listen.group", KEY_TEXT, KEY_FIELD(local_config, socket_group), .min = 1, .absent = "",
      .help = "The group that may use it, beside root." },
    { "api", KEY_SECTION, .absent = "{}", .help = "The same over HTTPS, for clients with certificates. Off without these five keys." },
    { "api.listen", KEY_ENDPOINT, KEY_FIELD(local_config, api_listen), .absent = "",
      .help = "Where it listens, and what `failoverctl --url` and the other programs are told." },
    { "api.cert", KEY_PATH, KEY_FIELD(local_config, api_cert), .absent = "",
      .help = "The file of its certificate, with those between it and its CA." },
    { "api.key", KEY_PATH, KEY_FIELD(local_config, api_key), .absent = "",
      .help = "The file of its private key, mode 0600 or 0640. SIGHUP reads all three files again." },
    { "api.client_ca", KEY_PATH, KEY_FIELD(local_config, api_client_ca), .absent = "",
      .help = "The file of the CAs that clients' certificates must come from." },
    { "api.allow", KEY_MAP, KEY_ITEMS(local_config, api_allowed, api_allowed_len), .items_min = 1, .absent = "",
      .help = "Who may ask: the common names of clients' certificates. Nobody else." },
    { "api.allow.*", KEY_ENUM, KEY_FIELD(local_allowed_def, role), .names = api_role_names,
      .help = "`read` asks everything, `operate` orders too, `guard` is for failover-guard alone." },
    { "copy", KEY_SECTION, .absent = "{}", .help = "A copy in files of what etcd holds, for `failoverctl store rescue`." },
    { "copy.dir", KEY_PATH, KEY_FIELD(local_config, copy_dir), .absent = "/var/lib/failover",
      .help = "The directory, on a disk of this machine, with room for 64 MiB. It also remembers whose store was seen last." },
    { "copy.every", KEY_DURATION, KEY_FIELD(local_config, copy_every_ms), .min = 1000, .max = 3600000,
      .absent = "5s", .help = "The least time between two copies. One is made when something has changed." },
    { "guard", KEY_SECTION, .absent = "", .help = "For `failover-guard` alone, on a data node." },
    { "guard.node", KEY_NAME, KEY_FIELD(local_config, guard.node),
      .help = "This node's name in the definition." },
    { "guard.state_dir", KEY_PATH, KEY_FIELD(local_config, guard.state_dir), .absent = "/var/lib/failover-guard",
      .help = "What must outlive a reboot. On a disk of the node itself." },
    { "guard.run_dir", KEY_PATH, KEY_FIELD(local_config, guard.run_dir), .absent = "/run/failover-guard",
      .help = "What must not outlive one: the permits' deadlines. On a file system in memory." },
    { "guard.boot_id", KEY_PATH, KEY_FIELD(local_config, guard.boot_id),
      .absent = "/proc/sys/kernel/random/boot_id",
      .help = "The file that says which boot of the node this is. Another one only for containers and tests." },
    { "guard.watchdog", KEY_PATH, KEY_FIELD(local_config, guard.watchdog), .absent = "",
      .help = "The watchdog's device, `/dev/watchdog`, or the socket of a test device. Without one the permit's time "
              "is no evidence." },
    { "guard.ca", KEY_PATH, KEY_FIELD(local_config, guard.ca), .absent = "",
      .help = "The certificates that the controllers' are checked against when they are asked for promises." },
    { "guard.cert", KEY_PATH, KEY_FIELD(local_config, guard.cert), .absent = "",
      .help = "The guard's own certificate for that, with `key`." },
    { "guard.key", KEY_PATH, KEY_FIELD(local_config, guard.key), .absent = "",
      .help = "Its private key." },
    { "guard.replication", KEY_TEXT, KEY_FIELD(local_config, guard.replication), .min = 1, .absent = "user=replicator",
      .help = "How a standby logs in at its upstream: all of `primary_conninfo` but host, port and application_name." },
    { "guard.slot_limit", KEY_SIZE, KEY_FIELD(local_config, guard.slot_limit), .min = 64 << 20, .max = INT64_C(1) << 50,
      .absent = "16GiB", .help = "How much WAL a primary keeps for a standby that is away (`max_slot_wal_keep_size`): with more it must be "
      "rebuilt by copy. The disk must have room for it." },
    { "guard.instances", KEY_MAP, KEY_ITEMS(local_config, guard.instances, guard.instances_len), .items_min = 1,
      .help = "The instances here, by their database's name in the definition." },
    { "guard.instances.*.data_dir", KEY_PATH, KEY_FIELD(local_instance_def, data_dir),
      .help = "Its data directory." },
    { "guard.instances.*.bin_dir", KEY_PATH, KEY_FIELD(local_instance_def, bin_dir),
      .absent = "/usr/lib/postgresql/15/bin", .help = "Where `postgres` and `pg_controldata` are." },
    { "guard.instances.*.config_file", KEY_PATH, KEY_FIELD(local_instance_def, config_file), .absent = "",
      .help = "`postgresql.conf`, where it is not in the data directory." },
    { "guard.instances.*.include_file", KEY_PATH, KEY_FIELD(local_instance_def, include_file), .absent = "",
      .help = "The file that the guard writes, and that `postgresql.conf` includes in its last line; by default "
              "`failover.conf` in the data directory." },
    { "guard.instances.*.log_file", KEY_PATH, KEY_FIELD(local_instance_def, log_file), .absent = "",
      .help = "Where PostgreSQL's standard error goes; by default `postgres-DATABASE.log` in `state_dir`." },
    { "guard.instances.*.socket_dir", KEY_PATH, KEY_FIELD(local_instance_def, socket_dir),
      .absent = "/var/run/postgresql", .help = "The directory of its unix socket." },
    { "guard.instances.*.port", KEY_INTEGER, KEY_FIELD(local_instance_def, port), .min = 1, .max = 65535,
      .absent = "5432", .help = "Its port, which also names the socket." },
    { "guard.instances.*.os_user", KEY_TEXT, KEY_FIELD(local_instance_def, os_user), .min = 1, .absent = "postgres",
      .help = "The system's user that it runs as, and whom peer authentication sees." },
    { "guard.instances.*.user", KEY_TEXT, KEY_FIELD(local_instance_def, user), .min = 1, .absent = "postgres",
      .help = "The superuser that the guard is on its unix socket." },
};
/* clang-format on */

static const struct keys local_keys = {rows, (int)(sizeof rows / sizeof *rows)};

void local_reference_print(FILE *to)
{
    keys_print(&local_keys, to);
}

/* ---- Relations
 * -------------------------------------------------------------------------------------------- */

static void say(struct complaints *complaints, const struct tree_node *node, const char *path,
                const char *text)
{
    bool by_key = node->key != NULL && node->kind != TREE_SCALAR;
    complain(complaints, COMPLAINT_ERROR, by_key ? node->key_line : node->line,
             by_key ? node->key_column : node->column, path, "%s", text);
}

/* Of the two keys of a section, one is there and the other is not. */
static void need_both(const struct tree_node *section, const char *name, const char *a,
                      const char *b, struct complaints *complaints)
{
    const struct tree_node *first = tree_at(section, a);
    const struct tree_node *second = tree_at(section, b);
    if ((first == NULL) == (second == NULL)) {
        return;
    }
    char path[64];
    char text[96];
    snprintf(path, sizeof path, "%s.%s", name, first != NULL ? a : b);
    snprintf(text, sizeof text, "%s.%s is missing; the two belong together", name,
             first != NULL ? b : a);
    say(complaints, first != NULL ? first : second, path, text);
}

static void relate_etcd(const struct local_config *config, const struct tree_node *tree,
                        struct complaints *complaints)
{
    const struct tree_node *etcd = tree_at(tree, "etcd");
    need_both(etcd, "etcd", "cert", "key", complaints);
    need_both(etcd, "etcd", "user", "password", complaints);
    const struct tree_node *endpoints = tree_at(etcd, "endpoints");
    bool tls = false;
    for (int i = 0; i < config->endpoints_len; i++) {
        tls = tls || strncmp(config->endpoints[i], "https:", 6) == 0;
        for (int j = 0; j < i; j++) {
            if (endpoints != NULL && strcmp(config->endpoints[i], config->endpoints[j]) == 0) {
                say(complaints, endpoints, "etcd.endpoints", "one endpoint stands here twice");
            }
        }
    }
    const struct tree_node *ca = tree_at(etcd, "ca");
    if (ca != NULL && endpoints != NULL && !tls) {
        say(complaints, ca, "etcd.ca",
            "certificates need https:// endpoints, and etcd.endpoints has none");
    }
}

static void relate_secrets(const struct local_config *config, const struct tree_node *tree,
                           struct complaints *complaints)
{
    const struct tree_node *password = tree_at(tree_at(tree, "etcd"), "password");
    const char *names[LOCAL_SECRETS_MAX] = {NULL};
    bool known = password == NULL || password->kind != TREE_SCALAR;
    for (int i = 0; i < config->secrets_len; i++) {
        names[i] = config->secrets[i].name;
        known = known || strcmp(names[i], password->text) == 0;
    }
    if (!known) {
        const char *nearest = keys_nearest(password->text, names, config->secrets_len);
        complain(complaints, COMPLAINT_ERROR, password->line, password->column, "etcd.password",
                 "\"%.40s\" is not one of secrets%s%s%s", password->text,
                 nearest != NULL ? "; is \"" : "", nearest != NULL ? nearest : "",
                 nearest != NULL ? "\" meant?" : "");
    }
}

static void relate_commands(const struct local_config *config, const struct tree_node *tree,
                            struct complaints *complaints)
{
    for (int i = 0; i < config->commands_len; i++) {
        const struct local_command_def *command = &config->commands[i];
        const struct tree_node *list = tree_at(tree_at(tree, "commands"), command->name);
        if (list != NULL && list->first != NULL && command->args_len > 0 &&
            command->args[0][0] != '/') {
            char path[NAME_SIZE + 16];
            char text[128];
            snprintf(path, sizeof path, "commands.%s[0]", command->name);
            snprintf(text, sizeof text,
                     "found \"%.40s\", allowed is the program's whole path: no PATH is searched",
                     command->args[0]);
            say(complaints, list->first, path, text);
        }
    }
}

/* All of them or none: the first that is there names each that is not. */
static void relate_api(const struct local_config *config, const struct tree_node *tree,
                       struct complaints *complaints)
{
    static const char *const names[] = {"listen", "cert", "key", "client_ca", "allow"};
    const struct tree_node *api = tree_at(tree, "api");
    const char *first = NULL;
    char path[64];
    char text[128];
    for (size_t i = 0; i < sizeof names / sizeof *names && first == NULL; i++) {
        first = tree_at(api, names[i]) != NULL ? names[i] : NULL;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names && first != NULL; i++) {
        if (tree_at(api, names[i]) == NULL) {
            snprintf(path, sizeof path, "api.%s", first);
            snprintf(text, sizeof text, "api.%s is missing; the five keys of api belong together",
                     names[i]);
            say(complaints, tree_at(api, first), path, text);
        }
    }
    const struct tree_node *listen_at = tree_at(api, "listen");
    if (config->api_listen[0] == '/') {
        say(complaints, listen_at, "api.listen", "must be an address:port: it is told to clients");
    }
}

/* "cert:NAME" must fit where a person's name is kept. */
static void relate_allowed(const struct local_config *config, const struct tree_node *tree,
                           struct complaints *complaints)
{
    for (int i = 0; i < config->api_allowed_len; i++) {
        const char *name = config->api_allowed[i].name;
        const struct tree_node *node = tree_at(tree_at(tree_at(tree, "api"), "allow"), name);
        if (node != NULL && strlen(name) > NAME_SIZE - sizeof "cert:") {
            char path[NAME_SIZE + 16];
            snprintf(path, sizeof path, "api.allow.%s", name);
            complain(complaints, COMPLAINT_ERROR, node->key_line, node->key_column, path,
                     "a certificate's name has at most %d bytes here, this one has %zu",
                     (int)(NAME_SIZE - sizeof "cert:"), strlen(name));
        }
    }
}

/* ---- The door
 * --------------------------------------------------------------------------------------------- */

static void relate(void *root, const struct tree_node *tree, struct complaints *complaints)
{
    const struct local_config *config = root;
    relate_etcd(config, tree, complaints);
    relate_secrets(config, tree, complaints);
    relate_commands(config, tree, complaints);
    relate_api(config, tree, complaints);
    relate_allowed(config, tree, complaints);
}

int local_read(const char *text, size_t len, struct local_config *ret_config,
               struct complaints *complaints)
{
    return keys_read_text(&local_keys, relate, text, len, ret_config, sizeof *ret_config,
                          complaints);
}

/* A regular file's text of at most size - 1 bytes, with a NUL behind it. Checked on the open
   descriptor, so that nobody can exchange the file in between; a FIFO does not hang the open. */
static int read_file(const char *path, char *ret_text, size_t size, size_t *ret_len,
                     struct stat *ret_stat, struct err *ret_err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    }
    int result = 0;
    size_t len = 0;
    if (fstat(fd, ret_stat) < 0) {
        result = err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    } else if (!S_ISREG(ret_stat->st_mode)) {
        result = err_set(ret_err, ERR_INVALID, "%s: is no regular file", path);
    }
    while (result == 0 && len < size) {
        ssize_t got = read(fd, ret_text + len, size - len);
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            result = err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
        }
        len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (result == 0 && len == size) {
        result =
            err_set(ret_err, ERR_LIMIT, "%s: longer than the %zu bytes allowed", path, size - 1);
    }
    if (result == 0) {
        ret_text[len] = '\0';
        *ret_len = len;
    }
    return result;
}

int local_read_file(const char *path, struct local_config *ret_config,
                    struct complaints *complaints, struct err *ret_err)
{
    complaints->len = 0;
    complaints->errors = 0;
    size_t size = DEFINITION_TEXT_MAX + 1;
    char *text = malloc(size);
    if (text == NULL) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    }
    size_t len = 0;
    struct stat status = {0};
    int result = read_file(path, text, size, &len, &status, ret_err);
    if (result == 0 && local_read(text, len, ret_config, complaints) < 0) {
        result = err_set(ret_err, ERR_INVALID, "%s: %d errors", path, complaints->errors);
    }
    free(text);
    return result;
}

static const char *secret_path(const struct local_config *config, const char *name)
{
    for (int i = 0; i < config->secrets_len; i++) {
        if (strcmp(config->secrets[i].name, name) == 0) {
            return config->secrets[i].path;
        }
    }
    return NULL;
}

/* Whose it is and who may read it; the message says the command that mends it. */
static int check_owner(const char *path, const struct stat *status, struct err *ret_err)
{
    if (status->st_uid != 0 && status->st_uid != geteuid()) {
        return err_set(ret_err, ERR_REFUSED, "%s belongs to the user %u; chown root %s", path,
                       (unsigned)status->st_uid, path);
    }
    if ((status->st_mode & (S_IRWXO | S_IWGRP)) != 0) {
        return err_set(ret_err, ERR_REFUSED,
                       "%s has the mode %04o, so others may read or change it; chmod 0600 %s", path,
                       (unsigned)(status->st_mode & 07777), path);
    }
    return 0;
}

int local_secret(const struct local_config *config, const char *name, char ret_text[SECRET_SIZE],
                 struct err *ret_err)
{
    const char *path = secret_path(config, name);
    if (path == NULL) {
        return err_set(ret_err, ERR_INVALID, "the secret \"%s\" is not in local.yaml", name);
    }
    char text[SECRET_SIZE + 1];
    size_t len = 0;
    struct stat status = {0};
    int result = read_file(path, text, sizeof text, &len, &status, ret_err);
    if (result == 0) {
        result = check_owner(path, &status, ret_err);
    }
    if (result == 0 && len > 0 && text[len - 1] == '\n') {
        text[--len] = '\0';
    }
    if (result == 0 && (len == 0 || strlen(text) != len)) {
        result = err_set(ret_err, ERR_INVALID, "%s: %s", path,
                         len == 0 ? "is empty" : "holds a NUL byte");
    } else if (result == 0 && len >= SECRET_SIZE) {
        result = err_set(ret_err, ERR_LIMIT, "%s: longer than %d bytes", path, SECRET_SIZE - 1);
    }
    if (result == 0) {
        memcpy(ret_text, text, len + 1);
    }
    explicit_bzero(text, sizeof text);
    return result < 0 ? err_prefix(ret_err, "secret %s", name) : 0;
}

const struct local_command_def *local_command(const struct local_config *config, const char *name)
{
    for (int i = 0; i < config->commands_len; i++) {
        if (strcmp(config->commands[i].name, name) == 0) {
            return &config->commands[i];
        }
    }
    return NULL;
}

int local_pem(const char *path, bool private, char **ret_text, struct err *ret_err)
{
    char *text = calloc(1, PEM_SIZE);
    size_t len = 0;
    struct stat status = {0};
    if (text == NULL) {
        abort();
    }
    int result = read_file(path, text, PEM_SIZE, &len, &status, ret_err);
    if (result == 0 && private) {
        result = check_owner(path, &status, ret_err);
    }
    if (result == 0 && strlen(text) != len) {
        result = err_set(ret_err, ERR_INVALID, "%s: holds a NUL byte", path);
    }
    if (result < 0) {
        explicit_bzero(text, PEM_SIZE);
        free(text);
        return -1;
    }
    *ret_text = text;
    return 0;
}

const struct local_allowed_def *local_allowed(const struct local_config *config, const char *name)
{
    for (int i = 0; i < config->api_allowed_len; i++) {
        if (strcmp(config->api_allowed[i].name, name) == 0) {
            return &config->api_allowed[i];
        }
    }
    return NULL;
}
