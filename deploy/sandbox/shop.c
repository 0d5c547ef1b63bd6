/*
 * shop.c - command line of the sandbox's shop (shop.h says what it is).
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shop.h"

const char *const shop_outcome_names[] = {"acked", "failed", "unknown", NULL};

static const struct shop_kind kinds[] = {
    {"payment", "/pay", "payments", "INSERT INTO payments (id, amount_cents) VALUES ($1, $2)",
     "SELECT id FROM payments"},
    {"order", "/order", "orders", "INSERT INTO orders (id, amount_cents) VALUES ($1, $2)",
     "SELECT id FROM orders"},
};

static const char help[] =
    "shop - the sandbox's payment and order services, the load on them, and the audit afterwards\n"
    "\n"
    "  shop service --kind KIND --listen ADDR:PORT --database CONNINFO [--database CONNINFO]\n"
    "      POST /pay (or /order) {\"id\": TEXT, \"amount_cents\": N}: 200 once the commit was acknowledged,\n"
    "      503 otherwise, with \"state\": failed or unknown. GET /health, GET /metrics.\n"
    "  shop load --kind KIND --url URL [--url URL] --rate N --record FILE [--summary FILE]\n"
    "            [--prefix TEXT] [--seconds N]\n"
    "      N transactions a second until SIGTERM; every attempt becomes a line of FILE.\n"
    "  shop audit --kind KIND --record FILE --database CONNINFO\n"
    "      Looks for every acknowledged id in the database; exit status 1 if one is missing.\n"
    "\n"
    "KIND is payment or order. A second database or url is used when, or in turn with, the first.\n";

const struct shop_kind *shop_kind_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

uint64_t shop_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

static bool read_number(const char *text, unsigned max, unsigned *ret_number)
{
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || number > max) {
        fprintf(stderr, "shop: \"%s\" is no number from 0 to %u\n", text, max);
        return false;
    }
    *ret_number = (unsigned)number;
    return true;
}

static bool add_target(const char **list, int *len, const char *value)
{
    if (*len == SHOP_TARGETS_MAX) {
        fprintf(stderr, "shop: more than %d databases or urls\n", SHOP_TARGETS_MAX);
        return false;
    }
    list[(*len)++] = value;
    return true;
}

static bool read_options(int argc, char **argv, struct shop_options *ret_options)
{
    enum { KIND, LISTEN, DATABASE, URL, RECORD, SUMMARY, PREFIX, RATE, SECONDS };
    static const struct option names[] = {
        {"kind", required_argument, NULL, KIND},
        {"listen", required_argument, NULL, LISTEN},
        {"database", required_argument, NULL, DATABASE},
        {"url", required_argument, NULL, URL},
        {"record", required_argument, NULL, RECORD},
        {"summary", required_argument, NULL, SUMMARY},
        {"prefix", required_argument, NULL, PREFIX},
        {"rate", required_argument, NULL, RATE},
        {"seconds", required_argument, NULL, SECONDS},
        {NULL, 0, NULL, 0},
    };
    struct shop_options *o = ret_options;
    bool good = true;
    int found;
    while (good && (found = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (found) {
        case KIND: o->kind = shop_kind_by_name(optarg); break;
        case LISTEN: o->listen = optarg; break;
        case DATABASE: good = add_target(o->databases, &o->databases_len, optarg); break;
        case URL: good = add_target(o->urls, &o->urls_len, optarg); break;
        case RECORD: o->record = optarg; break;
        case SUMMARY: o->summary = optarg; break;
        case PREFIX: o->prefix = optarg; break;
        case RATE: good = read_number(optarg, 2000, &o->rate); break;
        case SECONDS: good = read_number(optarg, 1000000, &o->seconds); break;
        default: good = false; break;
        }
    }
    return good && optind == argc && o->kind;
}

int main(int argc, char **argv)
{
    struct shop_options options = {.rate = 50};
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fputs(help, argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    const char *role = argv[1];
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigaddset(&blocked, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    if (read_options(argc - 1, argv + 1, &options)) {
        if (strcmp(role, "service") == 0 && options.listen && options.databases_len) {
            return shop_service(&options);
        }
        if (strcmp(role, "load") == 0 && options.urls_len && options.record && options.rate) {
            return shop_load(&options);
        }
        if (strcmp(role, "audit") == 0 && options.record && options.databases_len) {
            return shop_audit(&options);
        }
    }
    fprintf(stderr, "shop: wrong or missing options\n\n%s", help);
    return 2;
}
