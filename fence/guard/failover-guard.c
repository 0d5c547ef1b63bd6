/*
 * failover-guard - lets the PostgreSQL instances of a data node be primaries, under a permit.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "fence/guard/daemon.h"

#define EXIT_USAGE 2

static const char usage[] =
    "usage: failover-guard [--config FILE] [--debug] [--rules] [--version]\n"
    "\n"
    "  --config FILE  the local file (default /etc/failover/local.yaml)\n"
    "  --debug        log what only developers want\n"
    "  --rules        print the rules that decide, and end\n";

struct life {
    struct loop *loop;
    struct guard_daemon *daemon;
    uv_signal_t term, interrupt;
};

static void print_states(uint64_t from)
{
    const char *comma = "";
    for (int state = 0; state < DUTIES; state++) {
        if ((from & (UINT64_C(1) << state)) != 0) {
            printf("%s*%s*", comma, duty_names[state]);
            comma = ", ";
        }
    }
}

/* The reference page: deploy/doc/guard-rules.md. */
static void print_rules(void)
{
    printf(
        "# The rules of failover-guard\n\n"
        "A guard has one duty towards each instance. When something happens, the first rule from "
        "the top that fits its\nduty, the event and its condition is carried out; `review` comes "
        "after every event, and again until no rule fits.\nA rule's id stands in the log.\n\n"
        "## Duties\n\n| Duty | What it means |\n|---|---|\n");
    for (int state = 0; state < DUTIES; state++) {
        printf("| *%s* | %s |\n", duty_names[state], duty_helps[state]);
    }
    printf("\n## Rules\n");
    for (int i = 0; i < guard_rules_len(); i++) {
        struct guard_rule_info rule = guard_rule(i);
        printf("\n### %s\n\n%s.\n\n", rule.id, rule.why);
        print_states(rule.from);
        if (rule.to < 0) {
            printf(", and stays there");
        } else {
            printf(" → *%s*", duty_names[rule.to]);
        }
        printf("; on `%s`, when `%s`; does `%s`\n", rule.on, rule.when, rule.act);
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct life *life = handle->data;
    log_line(LOG_LEVEL_INFO, "ends; PostgreSQL is left as it is, and an armed watchdog too",
             "signal", number == SIGTERM ? "TERM" : "INT", NULL);
    sd_notify(0, "STOPPING=1");
    loop_stop(life->loop);
}

static void watch_signal(struct life *life, uv_signal_t *handle, int number)
{
    uv_signal_init(loop_uv(life->loop), handle);
    handle->data = life;
    uv_signal_start(handle, on_signal, number);
}

static int run(const struct local_config *local)
{
    struct life life = {.loop = loop_new()};
    struct err err = {0};
    life.daemon = guard_daemon_new(life.loop, local, &err);
    if (life.daemon == NULL) {
        log_line(LOG_LEVEL_ERROR, "cannot start", "detail", err.text, NULL);
        loop_free(life.loop);
        return EXIT_FAILURE;
    }
    watch_signal(&life, &life.term, SIGTERM);
    watch_signal(&life, &life.interrupt, SIGINT);
    log_line(LOG_LEVEL_INFO, "started", "node", local->guard.node, "cluster", local->cluster,
             "version", FAILOVER_VERSION, NULL);
    loop_run(life.loop);
    guard_daemon_free(life.daemon);
    uv_close((uv_handle_t *)&life.term, NULL);
    uv_close((uv_handle_t *)&life.interrupt, NULL);
    loop_free(life.loop);
    return EXIT_SUCCESS;
}

static int read_local(const char *path, struct local_config *local)
{
    struct complaints *complaints = calloc(1, sizeof *complaints);
    struct err err = {0};
    if (complaints == NULL) {
        return -1;
    }
    int result = local_read_file(path, local, complaints, &err);
    complaints_print(stderr, path, complaints);
    if (result < 0 && complaints->errors == 0) {
        (void)fprintf(stderr, "failover-guard: %s\n", err.text);
    } else if (result == 0 && local->guard.node[0] == '\0') {
        (void)fprintf(stderr, "%s: the section `guard` is missing\n", path);
        result = -1;
    }
    free(complaints);
    return result;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"debug", no_argument, NULL, 'd'},
        {"rules", no_argument, NULL, 'r'},        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    const char *path = "/etc/failover/local.yaml";
    enum log_level level = LOG_LEVEL_INFO;
    static struct local_config local;
    int option;
    while ((option = getopt_long(argc, argv, "c:drVh", options, NULL)) != -1) {
        switch (option) {
        case 'c': path = optarg; break;
        case 'd': level = LOG_LEVEL_DEBUG; break;
        case 'r': print_rules(); return EXIT_SUCCESS;
        case 'V': printf("failover-guard %s\n", FAILOVER_VERSION); return EXIT_SUCCESS;
        case 'h': (void)fputs(usage, stdout); return EXIT_SUCCESS;
        default: (void)fputs(usage, stderr); return EXIT_USAGE;
        }
    }
    if (optind != argc) {
        (void)fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (read_local(path, &local) < 0) {
        return EXIT_USAGE;
    }
    log_init("failover-guard", level);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    signal(SIGPIPE, SIG_IGN);
    int status = run(&local);
    curl_global_cleanup();
    uv_library_shutdown();
    return status;
}
