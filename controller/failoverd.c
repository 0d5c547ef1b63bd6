/*
 * failoverd - the failover controller: one of a pair, elected through etcd.
 *
 * Reads its local file, wires the parts together, runs until SIGTERM or SIGINT; SIGHUP makes it
 * read the local file again. Everything it decides is in controller/core.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/log.h"
#include "controller/base/loop.h"
#include "controller/cluster/local.h"
#include "controller/daemon/run.h"

#define EXIT_USAGE 2

static const char usage[] = "usage: failoverd [--config FILE] [--debug] [--version]\n"
                            "\n"
                            "  --config FILE  the local file (default /etc/failover/local.yaml)\n"
                            "  --debug        log what only developers want\n";

struct life {
    const char *path; /* of the local file */
    struct loop *loop;
    struct daemon *daemon;
    uv_signal_t term;
    uv_signal_t interrupt;
    uv_signal_t hangup;
};

static void on_signal(uv_signal_t *handle, int signal)
{
    struct life *life = handle->data;
    log_line(LOG_LEVEL_INFO, "stopping", "signal", signal == SIGTERM ? "TERM" : "INT", NULL);
    daemon_stop(life->daemon);
}

static void on_hangup(uv_signal_t *handle, int signal)
{
    (void)signal;
    struct life *life = handle->data;
    daemon_reload(life->daemon, life->path);
}

static void watch_signal(struct life *life, uv_signal_t *handle, int signal, uv_signal_cb callback)
{
    uv_signal_init(loop_uv(life->loop), handle);
    handle->data = life;
    uv_signal_start(handle, callback, signal);
}

static int run(const char *path, struct local_config *local)
{
    struct life life = {.path = path, .loop = loop_new()};
    struct err err = {0};
    life.daemon = daemon_new(life.loop, local, &err);
    if (life.daemon == NULL) {
        log_line(LOG_LEVEL_ERROR, "cannot start", "detail", err.text, NULL);
        loop_free(life.loop);
        return EXIT_FAILURE;
    }
    watch_signal(&life, &life.term, SIGTERM, on_signal);
    watch_signal(&life, &life.interrupt, SIGINT, on_signal);
    watch_signal(&life, &life.hangup, SIGHUP, on_hangup);
    log_line(LOG_LEVEL_INFO, "started", "controller", local->id, "cluster", local->cluster,
             "version", FAILOVER_VERSION, NULL);
    loop_run(life.loop);
    daemon_free(life.daemon);
    uv_close((uv_handle_t *)&life.term, NULL);
    uv_close((uv_handle_t *)&life.interrupt, NULL);
    uv_close((uv_handle_t *)&life.hangup, NULL);
    loop_free(life.loop);
    log_line(LOG_LEVEL_INFO, "stopped", "controller", local->id, NULL);
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
        fprintf(stderr, "failoverd: %s\n", err.text);
    }
    free(complaints);
    return result;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"debug", no_argument, NULL, 'd'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = "/etc/failover/local.yaml";
    enum log_level level = LOG_LEVEL_INFO;
    static struct local_config local;
    int option;
    while ((option = getopt_long(argc, argv, "c:dVh", options, NULL)) != -1) {
        switch (option) {
        case 'c': path = optarg; break;
        case 'd': level = LOG_LEVEL_DEBUG; break;
        case 'V': printf("failoverd %s\n", FAILOVER_VERSION); return EXIT_SUCCESS;
        case 'h': fputs(usage, stdout); return EXIT_SUCCESS;
        default: fputs(usage, stderr); return EXIT_USAGE;
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (read_local(path, &local) < 0) {
        return EXIT_USAGE;
    }
    log_init("failoverd", level);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int status = run(path, &local);
    curl_global_cleanup();
    uv_library_shutdown();
    return status;
}
