#include "controller/ctl/ctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/utf8.h"
#include "controller/cluster/keys.h"
#include "controller/cluster/local.h"
#include "controller/ctl/call.h"
#include "controller/ctl/command.h"

static const struct option {
    const char *name;
    char letter;
    const char *takes;
    const char *help;
} options[] = {
#define X(id, name, letter, takes, help) {name, letter, takes, help},
    CTL_OPTION_LIST(X)
#undef X
};

void ctl_complain(const char *format, ...)
{
    va_list args;
    (void)fputs("failoverctl: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

enum ctl_exit ctl_usage(const struct ctl *ctl, const char *format, ...)
{
    va_list args;
    (void)fputs("failoverctl: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
    if (ctl->command != NULL) {
        (void)fprintf(stderr, "usage: failoverctl %s %s\nmore:  failoverctl help %s\n",
                      ctl->command->name, ctl->command->args, ctl->command->name);
    } else {
        (void)fputs("usage: failoverctl COMMAND ...\nmore:  failoverctl help\n", stderr);
    }
    return CTL_USAGE;
}

/* ---- help ---- */

static void print_option(FILE *to, const struct option *option)
{
    char left[40];
    (void)snprintf(left, sizeof left, "%s%c%s--%s%s%s", option->letter != 0 ? "-" : "  ",
                   option->letter != 0 ? option->letter : ' ', option->letter != 0 ? ", " : " ",
                   option->name, option->takes[0] != '\0' ? " " : "", option->takes);
    (void)fprintf(to, "  %-26s %s\n", left, option->help);
}

static void print_help(FILE *to)
{
    (void)fputs("failoverctl: look after a pair of failover controllers.\n\n"
                "usage: failoverctl [--socket PATH | --url URL]... COMMAND ...\n\n",
                to);
    for (int i = 0; i < commands_len; i++) {
        (void)fprintf(to, "  %-15s %s\n", commands[i].name, commands[i].about);
    }
    (void)fprintf(
        to,
        "\nThe controllers are --socket and --url (several are tried in turn), else $FAILOVER_SOCKET\n"
        "(several separated by \":\") and $FAILOVER_URL (by blanks), else the socket that %s\n"
        "names, else %s. A URL needs --cert and --key, and --ca\n"
        "unless the system knows the controllers' CA; else $FAILOVER_CERT, $FAILOVER_KEY, $FAILOVER_CA.\n"
        "\nExit codes:\n",
        CTL_LOCAL_FILE, CTL_DEFAULT_SOCKET);
#define X(id, help) (void)fprintf(to, "  %d  %s\n", (int)(id), help);
    CTL_EXIT_LIST(X)
#undef X
    (void)fputs(
        "\nfailoverctl help COMMAND has examples; failoverctl --version tells the version.\n", to);
}

void command_help_print(FILE *to, const struct command *command)
{
    (void)fprintf(to, "failoverctl %s: %s.\n\nusage: failoverctl %s %s\n\n%s\noptions:\n",
                  command->name, command->about, command->name, command->args, command->help);
    for (int i = 0; i < CTL_OPTIONS; i++) {
        if (((command->takes | OPT(OPT_SOCKET) | OPT(OPT_URL) | OPT(OPT_HELP)) & OPT(i)) != 0) {
            print_option(to, &options[i]);
        }
    }
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < commands_len; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static enum ctl_exit unknown_command(const struct ctl *ctl, const char *name)
{
    const char *names[32];
    int len = 0;
    for (int i = 0; i < commands_len && len < 32; i++) {
        names[len++] = commands[i].name;
    }
    const char *nearest = keys_nearest(name, names, len);
    return ctl_usage(ctl, "unknown command \"%s\"%s%s%s", name,
                     nearest != NULL ? "; did you mean \"" : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "\"?" : "");
}

enum ctl_exit ctl_help(struct ctl *ctl)
{
    if (ctl->words_len == 0) {
        print_help(stdout);
        return CTL_DONE;
    }
    const struct command *command = find_command(ctl->words[0]);
    if (command == NULL) {
        return unknown_command(ctl, ctl->words[0]);
    }
    command_help_print(stdout, command);
    return CTL_DONE;
}

/* ---- the command line ---- */

static bool takes(const struct ctl *ctl, int option)
{
    unsigned own = ctl->command == NULL ? 0 : ctl->command->takes;
    return ((own | OPT_ALWAYS) & OPT(option)) != 0;
}

static int find_option(const char *arg, size_t len)
{
    for (int i = 0; i < CTL_OPTIONS; i++) {
        bool is_long = len > 2 && strncmp(arg, "--", 2) == 0 &&
                       strlen(options[i].name) == len - 2 &&
                       strncmp(arg + 2, options[i].name, len - 2) == 0;
        bool is_short = len == 2 && options[i].letter != 0 && arg[1] == options[i].letter;
        if (is_long || is_short) {
            return i;
        }
    }
    return -1;
}

static enum ctl_exit bad_option(const struct ctl *ctl, const char *arg, size_t len, int option)
{
    const char *names[CTL_OPTIONS];
    char text[64];
    int names_len = 0;
    if (option >= 0) {
        return ctl_usage(ctl, "%s takes no %.*s",
                         ctl->command != NULL ? ctl->command->name : "failoverctl", (int)len, arg);
    }
    for (int i = 0; i < CTL_OPTIONS; i++) {
        if (takes(ctl, i)) {
            names[names_len++] = options[i].name;
        }
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)(len > 60 ? 60 : len), arg);
    const char *nearest = keys_nearest(text + strspn(text, "-"), names, names_len);
    return ctl_usage(ctl, "unknown option \"%s\"%s%s%s", text,
                     nearest != NULL ? "; did you mean \"--" : "", nearest != NULL ? nearest : "",
                     nearest != NULL ? "\"?" : "");
}

static enum ctl_exit add_address(struct ctl *ctl, const char *text, size_t len)
{
    if (ctl->addresses_len == CTL_ADDRESSES_MAX) {
        return ctl_usage(ctl, "at most %d sockets and URLs are tried", CTL_ADDRESSES_MAX);
    }
    memcpy(ctl->addresses[ctl->addresses_len], text, len);
    ctl->addresses[ctl->addresses_len++][len] = '\0';
    return CTL_DONE;
}

static enum ctl_exit add_socket(struct ctl *ctl, const char *path, size_t len)
{
    if (len == 0 || len >= CTL_PATH_SIZE) {
        return ctl_usage(ctl, "a socket's path has 1 to %d bytes, found %zu", CTL_PATH_SIZE - 1,
                         len);
    }
    return add_address(ctl, path, len);
}

/* https://HOST:PORT and nothing behind it. */
static enum ctl_exit add_url(struct ctl *ctl, const char *url, size_t len)
{
    static const char scheme[] = "https://";
    size_t before = sizeof scheme - 1;
    len -= len > before && url[len - 1] == '/' ? 1 : 0;
    if (len <= before || len >= CTL_URL_SIZE || strncmp(url, scheme, before) != 0 ||
        memchr(url + before, '/', len - before) != NULL) {
        return ctl_usage(ctl, "\"%.*s\" is no URL of a controller: https://HOST:PORT",
                         (int)(len > 80 ? 80 : len), url);
    }
    return add_address(ctl, url, len);
}

/* One option at argv[*at]; leaves *at at its last word. */
static enum ctl_exit read_option(struct ctl *ctl, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    const char *equals = strncmp(arg, "--", 2) == 0 ? strchr(arg, '=') : NULL;
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    int option = find_option(arg, len);
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (option < 0 || !takes(ctl, option)) {
        return bad_option(ctl, arg, len, option);
    }
    bool wants = options[option].takes[0] != '\0';
    if (!wants && value != NULL) {
        return ctl_usage(ctl, "--%s takes no value", options[option].name);
    }
    if (wants && value == NULL) {
        if (*at + 1 >= argc) {
            return ctl_usage(ctl, "--%s needs a value: --%s %s", options[option].name,
                             options[option].name, options[option].takes);
        }
        value = argv[++*at];
    }
    if (option == OPT_SOCKET && value != NULL) {
        return add_socket(ctl, value, strlen(value));
    }
    if (option == OPT_URL && value != NULL) {
        ctl->given |= OPT(OPT_URL);
        return add_url(ctl, value, strlen(value));
    }
    if (wants && ctl_given(ctl, (enum ctl_option)option)) {
        return ctl_usage(ctl, "--%s is given twice", options[option].name);
    }
    ctl->given |= OPT(option);
    ctl->values[option] = value;
    return CTL_DONE;
}

static enum ctl_exit read_word(struct ctl *ctl, const char *word)
{
    if (ctl->command == NULL) {
        ctl->command = find_command(word);
        return ctl->command == NULL ? unknown_command(ctl, word) : CTL_DONE;
    }
    if (ctl->words_len == CTL_WORDS_MAX) {
        return ctl_usage(ctl, "too many arguments, beginning at \"%s\"", word);
    }
    ctl->words[ctl->words_len++] = word;
    return CTL_DONE;
}

static enum ctl_exit read_arguments(struct ctl *ctl, int argc, char **argv)
{
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        enum ctl_exit result;
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
            continue;
        }
        if (!options_end && argv[i][0] == '-' && argv[i][1] != '\0') {
            result = read_option(ctl, argc, argv, &i);
        } else {
            result = read_word(ctl, argv[i]);
        }
        if (result != CTL_DONE) {
            return result;
        }
    }
    return CTL_DONE;
}

static enum ctl_exit check_words(const struct ctl *ctl)
{
    if (ctl->words_len < ctl->command->words_min) {
        return ctl_usage(ctl, "%s needs an argument", ctl->command->name);
    }
    if (ctl->words_len > ctl->command->words_max) {
        return ctl_usage(ctl, "unexpected argument \"%s\"", ctl->words[ctl->command->words_max]);
    }
    return CTL_DONE;
}

/* ---- where the controllers are ---- */

static enum ctl_exit of_environment(struct ctl *ctl, const char *name, const char *separators,
                                    enum ctl_exit (*add)(struct ctl *, const char *, size_t))
{
    const char *list = getenv(name);
    enum ctl_exit result = CTL_DONE;
    while (list != NULL && *list != '\0' && result == CTL_DONE) {
        size_t len = strcspn(list, separators);
        result = len == 0 ? CTL_DONE : add(ctl, list, len);
        list += len + (list[len] != '\0' ? 1 : 0);
    }
    return result;
}

/* The local file may not be there, or not be for this user: then the usual place is tried. */
static void socket_of_local_file(struct ctl *ctl)
{
    struct local_config *local = calloc(1, sizeof *local);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    const char *path = CTL_DEFAULT_SOCKET;
    if (local != NULL && complaints != NULL && access(CTL_LOCAL_FILE, R_OK) == 0 &&
        local_read_file(CTL_LOCAL_FILE, local, complaints, NULL) == 0 && local->socket[0] != '\0') {
        path = local->socket;
    }
    (void)add_socket(ctl, path, strlen(path));
    free(local);
    free(complaints);
}

static const char *file_of(const struct ctl *ctl, enum ctl_option option, const char *variable)
{
    const char *file = ctl->values[option] != NULL ? ctl->values[option] : getenv(variable);
    return file != NULL && file[0] != '\0' ? file : NULL;
}

/* Said here by name, since the HTTP client would speak of errors in a library. */
void ctl_certificate(const struct ctl *ctl, char *ret_why, size_t size)
{
    const char *const files[] = {ctl->ca, ctl->cert, ctl->key};
    ret_why[0] = '\0';
    if (ctl->cert == NULL || ctl->key == NULL) {
        (void)snprintf(ret_why, size,
                       "a URL needs your certificate: --cert FILE and --key FILE, or "
                       "$FAILOVER_CERT and $FAILOVER_KEY");
        return;
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i] != NULL && access(files[i], R_OK) != 0) {
            (void)snprintf(ret_why, size, "%s: %s", files[i], strerror(errno));
            return;
        }
    }
}

static enum ctl_exit find_controllers(struct ctl *ctl)
{
    enum ctl_exit result = CTL_DONE;
    if (ctl->addresses_len == 0) {
        result = of_environment(ctl, "FAILOVER_SOCKET", ":", add_socket);
        if (result == CTL_DONE) {
            result = of_environment(ctl, "FAILOVER_URL", " ,", add_url);
        }
    }
    if (ctl->addresses_len == 0 && result == CTL_DONE) {
        socket_of_local_file(ctl);
    }
    ctl->ca = file_of(ctl, OPT_CA, "FAILOVER_CA");
    ctl->cert = file_of(ctl, OPT_CERT, "FAILOVER_CERT");
    ctl->key = file_of(ctl, OPT_KEY, "FAILOVER_KEY");
    char why[512] = "";
    if (result == CTL_DONE && ctl_given(ctl, OPT_URL)) {
        ctl_certificate(ctl, why, sizeof why);
    }
    return why[0] != '\0' ? ctl_usage(ctl, "%s", why) : result;
}

/* ---- shared by the commands ---- */

bool ctl_reason(const struct ctl *ctl, const char **ret_reason)
{
    const char *reason = ctl->values[OPT_REASON];
    if (!ctl_given(ctl, OPT_REASON)) {
        (void)ctl_usage(ctl, "%s needs --reason TEXT: why, for whoever reads the record later",
                        ctl->command->name);
        return false;
    }
    if (reason[strspn(reason, " \t\r\n")] == '\0') {
        (void)ctl_usage(ctl, "the reason is blank; say why, nothing was asked");
        return false;
    }
    if (strlen(reason) >= REASON_SIZE) {
        (void)ctl_usage(ctl, "the reason has %zu bytes, at most %d are kept", strlen(reason),
                        REASON_SIZE - 1);
        return false;
    }
    if (!utf8_is_line(reason)) {
        (void)ctl_usage(ctl, "the reason must be one line of UTF-8 without control characters");
        return false;
    }
    *ret_reason = reason;
    return true;
}

bool ctl_sure(const struct ctl *ctl, const char *question)
{
    char line[16];
    if (ctl_given(ctl, OPT_YES) || isatty(STDIN_FILENO) != 1) {
        return true;
    }
    (void)fprintf(stderr, "%s [y/N] ", question);
    (void)fflush(stderr);
    return fgets(line, sizeof line, stdin) != NULL && (line[0] == 'y' || line[0] == 'Y');
}

char *ctl_read_file(const char *path, size_t limit, size_t *ret_len)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        ctl_complain("%s: %s", path, strerror(errno));
        return NULL;
    }
    char *text = malloc(limit + 2);
    size_t len = text == NULL ? 0 : fread(text, 1, limit + 1, file);
    bool failed = text == NULL || ferror(file) != 0;
    if (failed) {
        ctl_complain("%s: %s", path, strerror(errno));
    } else if (len > limit) {
        ctl_complain("%s: more than %zu bytes, which is the most that a definition may have", path,
                     limit);
        failed = true;
    }
    (void)fclose(file);
    if (failed) {
        free(text);
        return NULL;
    }
    text[len] = '\0';
    *ret_len = len;
    return text;
}

static enum ctl_exit run(struct ctl *ctl)
{
    if (ctl->command == NULL) {
        if (ctl_given(ctl, OPT_HELP)) {
            print_help(stdout);
            return CTL_DONE;
        }
        print_help(stderr);
        return CTL_USAGE;
    }
    if (ctl_given(ctl, OPT_HELP)) {
        command_help_print(stdout, ctl->command);
        return CTL_DONE;
    }
    enum ctl_exit result = check_words(ctl);
    if (result == CTL_DONE) {
        result = find_controllers(ctl);
    }
    if (result == CTL_DONE) {
        ctl->caller = caller_new();
        result = ctl->command->run(ctl);
        caller_free(ctl->caller);
    }
    return result;
}

int ctl_main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        (void)printf("failoverctl %s\n", FAILOVER_VERSION);
        return CTL_DONE;
    }
    struct ctl ctl = {0};
    enum ctl_exit result = read_arguments(&ctl, argc, argv);
    if (result == CTL_DONE) {
        result = run(&ctl);
    }
    /* On a full disk what was printed did not arrive; a reader who has closed wanted no more. */
    if (fflush(stdout) != 0 && errno != EPIPE && result == CTL_DONE) {
        ctl_complain("standard output: %s", strerror(errno));
        result = CTL_RUNNING;
    }
    return (int)result;
}
