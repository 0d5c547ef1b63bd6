/*
 * command.h - what the files of failoverctl share: the parsed command line, and the row of a
 * command in the table.
 */
#ifndef FAILOVER_CTL_COMMAND_H
#define FAILOVER_CTL_COMMAND_H

#include <string.h>

#include "controller/cluster/definition.h"
#include "controller/cluster/records.h"
#include "controller/ctl/ctl.h"

#define CTL_ADDRESSES_MAX 8
#define CTL_WORDS_MAX     8
#define CTL_PATH_SIZE     108 /* of a unix socket */
#define CTL_URL_SIZE      256

/* Every option of every command, once: bit, name, letter, what it takes ("" : nothing), help. */
#define CTL_OPTION_LIST(X)                                                                         \
    X(OPT_SOCKET, "socket", 0, "PATH", "the controller's unix socket; may be given several times") \
    X(OPT_URL, "url", 0, "URL", "https://HOST:PORT of a controller; may be given several times")   \
    X(OPT_CA, "ca", 0, "FILE", "the CA of the controllers' certificates, for --url")               \
    X(OPT_CERT, "cert", 0, "FILE", "your certificate, for --url")                                  \
    X(OPT_KEY, "key", 0, "FILE", "its private key")                                                \
    X(OPT_HELP, "help", 'h', "", "what the command does, with examples")                           \
    X(OPT_JSON, "json", 0, "", "the controller's own answer, for programs")                        \
    X(OPT_WATCH, "watch", 'w', "", "draw again every second until interrupted")                    \
    X(OPT_FOLLOW, "follow", 'f', "", "go on with new ones until interrupted")                      \
    X(OPT_SINCE, "since", 0, "SEQ", "only those after this number")                                \
    X(OPT_YES, "yes", 'y', "", "do not ask")                                                       \
    X(OPT_REASON, "reason", 'r', "TEXT", "why, in words; stored with the operation")               \
    X(OPT_DATABASE, "database", 'd', "NAME", "this database only")                                 \
    X(OPT_TO, "to", 0, "NODE", "this candidate and no other")                                      \
    X(OPT_LOSS, "accept-loss", 0, "BYTES",                                                         \
      "accept the loss of so much acknowledged WAL (K, M, G)")                                     \
    X(OPT_WAIT, "wait", 0, "", "wait for the outcome (the default)")                               \
    X(OPT_NO_WAIT, "no-wait", 0, "", "print the id and return at once")                            \
    X(OPT_TIMEOUT, "timeout", 0, "SECONDS", "wait for the outcome that long at most")              \
    X(OPT_FORMAT, "format", 0, "FORMAT", "table, dot or json")                                     \
    X(OPT_LIVE, "live", 0, "", "reach every target, and ask every fence device for its status")    \
    X(OPT_LOCAL, "local", 0, "FILE", "the controller's local file, with the secrets")              \
    X(OPT_USER, "user", 0, "ROLE", "the role's name; failoverd when absent")                       \
    X(OPT_FROM, "from", 0, "FILE", "this copy of the store, and not the local file's")             \
    X(OPT_PRIMARY, "primary", 0, "DATABASE=NODE",                                                  \
      "the last primary, where nothing else can tell; several with commas")                        \
    X(OPT_WITHOUT, "without", 0, "NODE",                                                           \
      "nothing runs there, and its guard is not waited for; several with commas")                  \
    X(OPT_PLAN, "plan", 0, "HASH", "do what was shown under this hash, and nothing else")

enum ctl_option {
#define X(id, name, letter, takes, help) id,
    CTL_OPTION_LIST(X)
#undef X
        CTL_OPTIONS
};
#define OPT(id) (1u << (id))
/* Of every command. */
#define OPT_ALWAYS                                                                                 \
    (OPT(OPT_SOCKET) | OPT(OPT_URL) | OPT(OPT_CA) | OPT(OPT_CERT) | OPT(OPT_KEY) | OPT(OPT_HELP))

struct caller; /* call.h */

struct ctl {
    const struct command *command;
    const char *words[CTL_WORDS_MAX]; /* the arguments after the command */
    int words_len;
    unsigned given;                                  /* OPT() bits */
    const char *values[CTL_OPTIONS];                 /* of those that take one */
    char addresses[CTL_ADDRESSES_MAX][CTL_URL_SIZE]; /* unix sockets' paths, and https:// URLs */
    int addresses_len;
    const char *ca, *cert, *key; /* files, for the URLs; NULL: not said */
    struct caller *caller;
};

struct command {
    const char *name;
    const char *args;  /* as in the usage line */
    const char *about; /* one line */
    const char *help;  /* the rest, with examples */
    unsigned takes;    /* OPT() bits, beside OPT_ALWAYS */
    int words_min, words_max;
    enum ctl_exit (*run)(struct ctl *ctl);
};

extern const struct command commands[];
extern const int commands_len;

/* What `failoverctl help COMMAND` shows. */
void command_help_print(FILE *to, const struct command *command);

static inline bool ctl_given(const struct ctl *ctl, enum ctl_option option)
{
    return (ctl->given & OPT(option)) != 0;
}

static inline bool ctl_is_url(const char *address)
{
    return strncmp(address, "https://", 8) == 0;
}

/* Why no URL can be asked: the files of --cert, --key and --ca; "" when they are there. */
void ctl_certificate(const struct ctl *ctl, char *ret_why, size_t size);
/* "failoverctl: ..." on standard error. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Like it, with the command's usage after it; returns CTL_USAGE. */
enum ctl_exit ctl_usage(const struct ctl *ctl, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* --reason, held to what the controllers accept: not absent, not blank, one line. False: said. */
bool ctl_reason(const struct ctl *ctl, const char **ret_reason);
/* Asks on the terminal; true without asking under --yes, and where nobody can be asked. */
bool ctl_sure(const struct ctl *ctl, const char *question);
/* The whole file, NUL-terminated, to be freed; NULL: said. */
char *ctl_read_file(const char *path, size_t limit, size_t *ret_len);

/* Prints every complaint; NULL: there is an error among them. To be freed. */
struct definition *ctl_read_definition(const char *name, const char *text, size_t len);

enum ctl_exit ctl_status(struct ctl *ctl);
enum ctl_exit ctl_check(struct ctl *ctl);
enum ctl_exit ctl_apply(struct ctl *ctl);
enum ctl_exit ctl_config(struct ctl *ctl);
enum ctl_exit ctl_explain(struct ctl *ctl);
enum ctl_exit ctl_plan(struct ctl *ctl);
enum ctl_exit ctl_failover(struct ctl *ctl);
enum ctl_exit ctl_workflow(struct ctl *ctl);
enum ctl_exit ctl_alarms(struct ctl *ctl);
enum ctl_exit ctl_pause(struct ctl *ctl);
enum ctl_exit ctl_adopt(struct ctl *ctl);
enum ctl_exit ctl_resume(struct ctl *ctl);
enum ctl_exit ctl_confirm_fenced(struct ctl *ctl);
enum ctl_exit ctl_request(struct ctl *ctl);
enum ctl_exit ctl_incident(struct ctl *ctl);
enum ctl_exit ctl_events(struct ctl *ctl);
enum ctl_exit ctl_rules(struct ctl *ctl);
enum ctl_exit ctl_reference(struct ctl *ctl);
enum ctl_exit ctl_setup_sql(struct ctl *ctl);
enum ctl_exit ctl_store(struct ctl *ctl);
enum ctl_exit ctl_help(struct ctl *ctl);

#endif
