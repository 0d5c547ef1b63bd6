/*
 * real.c - scripts on real programs, in a network namespace of this process.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/conformance/conformance.h"

static char dir[64];

static void shell(const char *command)
{
    if (system(command) != 0) { /* NOLINT(cert-env33-c): nothing of it is from outside */
        fprintf(stderr, "conformance: %s failed\n", command);
        exit(2);
    }
}

void real_open(void)
{
    snprintf(dir, sizeof dir, "/tmp/failover-conformance-XXXXXX");
    if (unshare(CLONE_NEWNET) != 0 || mkdtemp(dir) == NULL) {
        perror("conformance: a network namespace, as root");
        exit(2);
    }
    shell("ip link set lo up");
    shell("nft 'add table inet script; add set inet script cut { type ipv4_addr; };"
          " add chain inet script input { type filter hook input priority 0; };"
          " add rule inet script input ip daddr @cut drop;"
          " add rule inet script input ip saddr @cut drop'");
    real_pg_open();
    real_etcd_open(dir);
    real_haproxy_open(dir);
}

void real_close(void)
{
    char command[96];
    real_haproxy_close();
    real_etcd_close();
    real_pg_close();
    snprintf(command, sizeof command, "rm -rf %s", dir);
    shell(command);
}

static void begin(uint64_t seed)
{
    (void)seed;
    real_pg_begin();
    real_etcd_begin();
}

static void run_one_command(const struct words *words, struct says *ret_says)
{
    if (word_is(words, 0, "pg")) {
        real_pg(words, ret_says);
    } else if (word_is(words, 0, "etcd")) {
        real_etcd(words, ret_says);
    } else if (word_is(words, 0, "etcdctl")) {
        real_etcdctl(words, ret_says);
    } else if (word_is(words, 0, "haproxy")) {
        real_haproxy(words, ret_says);
    } else {
        say(ret_says, "? there is no \"%s\"", words->line);
    }
}

static void end(void)
{
    shell("nft flush set inet script cut");
    real_pg_end();
    real_haproxy_end();
}

const struct side real_side = {"reality", begin, run_one_command, end};
