/*
 * The definition's reader: every mistake at once, each at its place; and never a definition that is
 * half read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"

#define EXAMPLE FAILOVER_SOURCE "/deploy/example/cluster.yaml"

/* Two databases on two sites, without a warning. Its lines are numbered in the complaints below. */
static const char good[] = "cluster: shop\n"                                                /* 1 */
                           "sites: { east: {}, west: {} }\n"                                /* 2 */
                           "nodes:\n"                                                       /* 3 */
                           "  n1:\n"                                                        /* 4 */
                           "    site: east\n"                                               /* 5 */
                           "    address: 192.0.2.1\n"                                       /* 6 */
                           "    fencing:\n"                                                 /* 7 */
                           "      - name: power\n"                                          /* 8 */
                           "        method: agent\n"                                        /* 9 */
                           "        agent: fence_ipmilan\n"                                 /* 10 */
                           "        options: { ip: 192.0.2.101 }\n"                         /* 11 */
                           "        secrets: { password: ipmi }\n"                          /* 12 */
                           "  n2:\n"                                                        /* 13 */
                           "    site: west\n"                                               /* 14 */
                           "    address: 2001:db8::2\n"                                     /* 15 */
                           "    fencing:\n"                                                 /* 16 */
                           "      - { name: power, method: agent, agent: fence_ipmilan }\n" /* 17 */
                           "databases:\n"                                                   /* 18 */
                           "  pay:\n"                                                       /* 19 */
                           "    durability: sync\n"                                         /* 20 */
                           "    sync: { first: 1, standbys: [n2] }\n"                       /* 21 */
                           "    instances:\n"                                               /* 22 */
                           "      n1: {}\n"                                                 /* 23 */
                           "      n2: { name: west_1, priority: 50 }\n"                     /* 24 */
                           "  ord:\n"                                                       /* 25 */
                           "    durability: async\n"                                        /* 26 */
                           "    max_lag: 64kB\n"                                            /* 27 */
                           "    instances: { n1: { port: 5433 }, n2: { port: 5433 } }\n"    /* 28 */
                           "services:\n"                                                    /* 29 */
                           "  web:\n"                                                       /* 30 */
                           "    database: pay\n"                                            /* 31 */
                           "    instances:\n"                                               /* 32 */
                           "      n1: { url: \"http://192.0.2.1/health\" }\n"               /* 33 */
                           "      n2: { url: \"http://[2001:db8::2]:80/health\" }\n"        /* 34 */
                           "proxies:\n"                                                     /* 35 */
                           "  p1: { runtime: \"192.0.2.9:9999\" }\n"                        /* 36 */
                           "  p2: { runtime: /run/haproxy.sock }\n"                         /* 37 */
                           "routes:\n"                                                      /* 38 */
                           "  pay: { database: pay, proxies: [p1, p2], backend: pay }\n"    /* 39 */
                           "  ord: { database: ord, proxies: [p1], backend: ord }\n"        /* 40 */
                           "  web:\n"                                                       /* 41 */
                           "    service: web\n"                                             /* 42 */
                           "    proxies: [p1]\n"                                            /* 43 */
                           "    backend: web\n"                                             /* 44 */
                           "    servers: { n1: east }\n"                                    /* 45 */
                           "groups:\n"                                                      /* 46 */
                           "  all:\n"                                                       /* 47 */
                           "    home: east\n"                                               /* 48 */
                           "    databases: [pay, ord]\n"                                    /* 49 */
                           "    services: [web]\n"                                          /* 50 */
                           "policy: { call: oncall }\n";                                    /* 51 */

struct fixture {
    struct definition def;
    struct definition other;
    struct complaints complaints;
};

static int make_fixture(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state == NULL ? -1 : 0;
}

static int drop_fixture(void **state)
{
    free(*state);
    return 0;
}

static char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    char *result = NULL;
    assert_true(asprintf(&result, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) >= 0);
    return result;
}

static char *printed(const struct complaints *complaints)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    complaints_print(to, "f", complaints);
    fclose(to);
    return text;
}

/* A text is read, and every line that is said about it is compared. */
static void expect_said(struct fixture *f, const char *text, size_t len, int result,
                        const char *said)
{
    memset(&f->def, 0x5a, sizeof f->def);
    int found = definition_read(text, len, &f->def, &f->complaints);
    char *lines = printed(&f->complaints);
    if (strcmp(lines, said) != 0) {
        fail_msg("expected:\n%sfound:\n%s", said, lines);
    }
    free(lines);
    assert_int_equal(found, result);
    assert_int_equal(f->complaints.errors > 0, result < 0);
    if (result < 0) {
        memset(&f->other, 0x5a, sizeof f->other);
        assert_memory_equal(&f->def, &f->other, sizeof f->def);
    }
}

struct mistake {
    const char *from, *to, *said;
};

static void expect_mistakes(struct fixture *f, const struct mistake *mistakes, size_t len,
                            int result)
{
    for (size_t i = 0; i < len; i++) {
        char *text = changed(good, mistakes[i].from, mistakes[i].to);
        expect_said(f, text, strlen(text), result, mistakes[i].said);
        free(text);
    }
}

#define EXPECT_MISTAKES(f, mistakes, result)                                                       \
    expect_mistakes(f, mistakes, sizeof(mistakes) / sizeof *(mistakes), result)
/* clang-format off */
static void unknown_missing_and_repeated_keys_are_told_with_the_nearest_one(void **state)
{
    static const struct mistake mistakes[] = {
        {"cluster: shop\n", "cluster: shop\nprofil: fast\n",
         "f:2:1: error: profil: unknown key; is \"profile\" meant? Allowed are cluster, profile, sites, nodes, databases, services, proxies, routes, groups, objectives, policy\n"},
        {"site: east", "sit: east",
         "f:4:3: error: nodes.n1.site: missing; needed is a name of sites. Where it stands.\n"
         "f:5:5: error: nodes.n1.sit: unknown key; is \"site\" meant? Allowed are site, address, fencing\n"},
        {"port: 5433", "prot: 5433",
         "f:28:18: error: databases.ord.instances.n1.port: 192.0.2.1 port 5432 is also that of databases.pay.instances.n1\n"
         "f:28:24: error: databases.ord.instances.n1.prot: unknown key; is \"port\" meant? Allowed are port, name, priority\n"},
        {"    home: east", "    zzzzzzzz: 1\n    home: east",
         "f:48:5: error: groups.all.zzzzzzzz: unknown key; allowed are home, databases, services, move, automatic\n"},
        {"cluster: shop\n", "",
         "f:1:1: error: cluster: missing; needed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters. The cluster's name; its keys in etcd stand under /failover/NAME/.\n"},
        {"    site: west\n", "",
         "f:13:3: error: nodes.n2.site: missing; needed is a name of sites. Where it stands.\n"},
        {"backend: ord", "backend: ord, backend: odr",
         "f:40:54: error: the key \"backend\" stands here a second time; the first is on line 40\n"},
        {"sites: { east: {}, west: {} }", "sites: { east: {}, west: {}, east: {} }",
         "f:2:30: error: the key \"east\" stands here a second time; the first is on line 2\n"},
        {"cluster: shop\n", "cluster: shop\nsites: {}\n",
         "f:2:8: error: sites: found 0 entries, allowed are 1 to 4\n"
         "f:3:1: error: the key \"sites\" stands here a second time; the first is on line 2\n"
         "f:6:11: error: nodes.n1.site: \"east\" is not one of sites (none)\n"
         "f:15:11: error: nodes.n2.site: \"west\" is not one of sites (none)\n"
         "f:49:11: error: groups.all.home: \"east\" is not one of sites (none)\n"},
        {"  n2: { url", "  n1: { url",
         "f:32:5: warning: services.web.instances: none in west, where its database pay can be the primary\n"
         "f:34:7: error: the key \"n1\" stands here a second time; the first is on line 33\n"},
    };
    EXPECT_MISTAKES(*state, mistakes, -1);
}
/* clang-format on */

/* clang-format off */
static void a_value_of_another_type_is_told_with_what_is_allowed(void **state)
{
    static const struct mistake mistakes[] = {
        {"cluster: shop", "cluster: Shop",
         "f:1:10: error: cluster: found \"Shop\", allowed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters\n"},
        {"cluster: shop", "cluster:",
         "f:1:9: error: cluster: found nothing, allowed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters\n"},
        {"cluster: shop", "cluster: [shop]",
         "f:1:10: error: cluster: found a list, allowed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters\n"},
        {"cluster: shop", "cluster: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "f:1:10: error: cluster: found \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\", allowed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters\n"},
        {"cluster: shop\n", "cluster: shop\nprofile: quick\n",
         "f:2:10: error: profile: found \"quick\", allowed is one of default, fast\n"},
        {"192.0.2.1\n", "db1.example.com\n",
         "f:6:14: error: nodes.n1.address: found \"db1.example.com\", allowed is a numeric address, such as 192.0.2.11 or 2001:db8::11\n"},
        {"192.0.2.1\n", "0.0.0.0\n",
         "f:6:14: error: nodes.n1.address: found \"0.0.0.0\", allowed is a numeric address, such as 192.0.2.11 or 2001:db8::11\n"},
        {"2001:db8::2\n", "fe80::1%eth0\n",
         "f:15:14: error: nodes.n2.address: found \"fe80::1%eth0\", allowed is a numeric address, such as 192.0.2.11 or 2001:db8::11\n"},
        {"port: 5433", "port: 65536",
         "f:28:30: error: databases.ord.instances.n1.port: found \"65536\", allowed is a whole number from 1 to 65535\n"},
        {"port: 5433", "port: 0",
         "f:28:30: error: databases.ord.instances.n1.port: found \"0\", allowed is a whole number from 1 to 65535\n"},
        {"port: 5433", "port: 5432.0",
         "f:28:30: error: databases.ord.instances.n1.port: found \"5432.0\", allowed is a whole number from 1 to 65535\n"},
        {"port: 5433", "port: -1",
         "f:28:30: error: databases.ord.instances.n1.port: found \"-1\", allowed is a whole number from 1 to 65535\n"},
        {"port: 5433", "port: 99999999999999999999",
         "f:28:30: error: databases.ord.instances.n1.port: found \"99999999999999999999\", allowed is a whole number from 1 to 65535\n"},
        {"priority: 50", "priority: high",
         "f:24:37: error: databases.pay.instances.n2.priority: found \"high\", allowed is a whole number from -10000 to 10000\n"},
        {"name: west_1", "name: \"*\"",
         "f:24:19: error: databases.pay.instances.n2.name: found \"*\", allowed is a word: A-Z, a-z, 0-9, '_', '.', ':', '-', at most 63 characters\n"},
        {"name: west_1", "name: 'a b'",
         "f:24:19: error: databases.pay.instances.n2.name: found \"a b\", allowed is a word: A-Z, a-z, 0-9, '_', '.', ':', '-', at most 63 characters\n"},
        {"64kB", "64",
         "f:27:14: error: databases.ord.max_lag: found \"64\", allowed is a size from 0 to 1TiB, such as 64kB or 16MiB\n"},
        {"64kB", "64 kB",
         "f:27:14: error: databases.ord.max_lag: found \"64 kB\", allowed is a size from 0 to 1TiB, such as 64kB or 16MiB\n"},
        {"64kB", "2TiB",
         "f:27:14: error: databases.ord.max_lag: found \"2TiB\", allowed is a size from 0 to 1TiB, such as 64kB or 16MiB\n"},
        {"64kB", "9999999999999TiB",
         "f:27:14: error: databases.ord.max_lag: found \"9999999999999TiB\", allowed is a size from 0 to 1TiB, such as 64kB or 16MiB\n"},
        {"http://192.0.2.1/health", "ftp://192.0.2.1/",
         "f:33:18: error: services.web.instances.n1.url: found \"ftp://192.0.2.1/\", allowed is http:// or https://, a host, a port, a path; no user or password; at most 255 bytes\n"},
        {"http://192.0.2.1/health", "http://me:pw@192.0.2.1/",
         "f:33:18: error: services.web.instances.n1.url: found \"http://me:pw@192.0.2.1/\", allowed is http:// or https://, a host, a port, a path; no user or password; at most 255 bytes\n"},
        {"http://192.0.2.1/health", "http://192.0.2.1:99999/",
         "f:33:18: error: services.web.instances.n1.url: found \"http://192.0.2.1:99999/\", allowed is http:// or https://, a host, a port, a path; no user or password; at most 255 bytes\n"},
        {"http://192.0.2.1/health", "http:///x",
         "f:33:18: error: services.web.instances.n1.url: found \"http:///x\", allowed is http:// or https://, a host, a port, a path; no user or password; at most 255 bytes\n"},
        {"192.0.2.9:9999", "192.0.2.9",
         "f:36:18: error: proxies.p1.runtime: found \"192.0.2.9\", allowed is address:port, [v6 address]:port, or a socket's path of at most 107 bytes\n"},
        {"192.0.2.9:9999", "2001:db8::9:9999",
         "f:36:18: error: proxies.p1.runtime: found \"2001:db8::9:9999\", allowed is address:port, [v6 address]:port, or a socket's path of at most 107 bytes\n"},
        {"192.0.2.9:9999", "[192.0.2.9]:9999",
         "f:36:18: error: proxies.p1.runtime: found \"[192.0.2.9]:9999\", allowed is address:port, [v6 address]:port, or a socket's path of at most 107 bytes\n"},
        {"/run/haproxy.sock", "/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
         "f:37:18: error: proxies.p2.runtime: found \"/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\", allowed is address:port, [v6 address]:port, or a socket's path of at most 107 bytes\n"},
        {"fence_ipmilan\n", "/usr/sbin/fence_ipmilan\n",
         "f:10:16: error: nodes.n1.fencing[0].agent: found \"/usr/sbin/fence_ipmilan\", allowed is a fence agent's name: fence_ and a-z, 0-9, '_'\n"},
        {"[n2] }", "n2 }",
         "f:21:33: error: databases.pay.sync.standbys: found \"n2\", allowed is a list of 1 to 5, each a name of nodes\n"},
        {"[n2] }", "[] }",
         "f:21:33: error: databases.pay.sync.standbys: found 0 entries, allowed are 1 to 5\n"},
        {"[n2] }", "[n2, n2] }",
         "f:21:38: error: databases.pay.sync.standbys: \"n2\" stands here twice\n"},
        {"[n2] }", "[[n2]] }",
         "f:21:34: error: databases.pay.sync.standbys[0]: found a list, allowed is a name of nodes\n"},
        {"first: 1", "first: 0",
         "f:21:20: error: databases.pay.sync.first: found \"0\", allowed is a whole number from 1 to 4\n"},
        {"    home: east", "    automatic: maybe\n    home: east",
         "f:48:16: error: groups.all.automatic: found \"maybe\", allowed is yes or no\n"},
        {"{ call: oncall }", "{ call: oncall, cut_off_after: 10 }",
         "f:51:40: error: policy.cut_off_after: found \"10\", allowed is a duration from 1s to 1h, such as 500ms, 10s, 1h or 1d\n"},
        {"{ call: oncall }", "{ call: oncall, cut_off_after: 2h }",
         "f:51:40: error: policy.cut_off_after: found \"2h\", allowed is a duration from 1s to 1h, such as 500ms, 10s, 1h or 1d\n"},
        {"{ call: oncall }", "[oncall]",
         "f:51:9: error: policy: found a list, allowed is a mapping\n"},
        {"{ call: oncall }", "{ call: oncall, budget: { failovers: 0 } }",
         "f:51:46: error: policy.budget.failovers: found \"0\", allowed is a whole number from 1 to 8\n"},
        {"sites: { east: {}, west: {} }", "sites: { East: {}, west: {} }",
         "f:2:10: error: sites.East: found \"East\" as a name, allowed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters\n"
         "f:5:11: error: nodes.n1.site: \"east\" is not one of sites (East, west); is \"East\" meant?\n"
         "f:48:11: error: groups.all.home: \"east\" is not one of sites (East, west); is \"East\" meant?\n"},
        {"sites: { east: {}, west: {} }", "sites: [east, west]",
         "f:2:8: error: sites: found a list, allowed is a mapping from names to each one's settings, 1 to 4 of them\n"
         "f:5:11: error: nodes.n1.site: \"east\" is not one of sites (none)\n"
         "f:14:11: error: nodes.n2.site: \"west\" is not one of sites (none)\n"
         "f:48:11: error: groups.all.home: \"east\" is not one of sites (none)\n"},
        {"n1: {}", "n1: 5432",
         "f:23:11: error: databases.pay.instances.n1: found \"5432\", allowed is a mapping\n"},
        {"durability: async", "durability: none",
         "f:26:17: error: databases.ord.durability: found \"none\", allowed is one of sync, strict, async\n"},
    };
    EXPECT_MISTAKES(*state, mistakes, -1);
}
/* clang-format on */

/* clang-format off */
static void a_reference_to_nothing_names_the_nearest_that_is_there(void **state)
{
    static const struct mistake mistakes[] = {
        {"site: east", "site: eest",
         "f:5:11: error: nodes.n1.site: \"eest\" is not one of sites (east, west); is \"east\" meant?\n"},
        {"site: west", "site: north",
         "f:14:11: error: nodes.n2.site: \"north\" is not one of sites (east, west)\n"},
        {"n1: {}", "n3: {}",
         "f:23:7: error: databases.pay.instances.n3: \"n3\" is not one of nodes (n1, n2); is \"n1\" meant?\n"},
        {"database: pay\n", "database: pax\n",
         "f:31:15: error: services.web.database: \"pax\" is not one of databases (pay, ord); is \"pay\" meant?\n"},
        {"proxies: [p1, p2]", "proxies: [p1, p3]",
         "f:39:39: error: routes.pay.proxies[1]: \"p3\" is not one of proxies (p1, p2); is \"p1\" meant?\n"},
        {"proxies: [p1, p2]", "proxies: [p1, p1]",
         "f:39:39: error: routes.pay.proxies: \"p1\" stands here twice\n"},
        {"servers: { n1: east }", "servers: { n9: east }",
         "f:45:16: error: routes.web.servers.n9: \"n9\" is not one of nodes (n1, n2); is \"n1\" meant?\n"},
        {"services: [web]", "services: [wab]",
         "f:30:3: error: services.web: in no group; name it in the services of one of groups\n"
         "f:50:16: error: groups.all.services[0]: \"wab\" is not one of services (web); is \"web\" meant?\n"},
        {"home: east", "home: \"\"",
         "f:48:11: error: groups.all.home: \"\" is not one of sites (east, west)\n"},
    };
    EXPECT_MISTAKES(*state, mistakes, -1);
}
/* clang-format on */

/* clang-format off */
static void settings_that_contradict_each_other_are_told_with_both_sides(void **state)
{
    static const struct mistake mistakes[] = {
        {"standbys: [n2]", "standbys: [n1]",
         "f:21:23: error: databases.pay.sync.standbys: at home in east the primary is one of them and is no standby of itself: 0 remain, but first is 1\n"},
        {"first: 1", "first: 2",
         "f:21:20: error: databases.pay.sync.first: first is 2, but standbys names 1: no commit would ever be acknowledged\n"},
        {"first: 1, ", "any: 2, ",
         "f:21:18: error: databases.pay.sync.any: any is 2, but standbys names 1: no commit would ever be acknowledged\n"},
        {"first: 1, ", "first: 1, any: 1, ",
         "f:21:5: error: databases.pay.sync: found both of first and any, needed is exactly one\n"},
        {"first: 1, ", "",
         "f:21:5: error: databases.pay.sync: found neither of first and any, needed is exactly one\n"},
        {"durability: sync\n    sync: { first: 1, standbys: [n2] }", "durability: strict",
         "f:20:17: error: databases.pay.durability: durability: strict needs a sync entry, such as sync: { first: 1, standbys: [NODE] }\n"},
        {"    durability: async", "    durability: async\n    sync: { first: 1, standbys: [n2] }",
         "f:27:5: error: databases.ord.sync: durability: async and a sync entry contradict each other; leave one out\n"},
        {"    sync: { first: 1, standbys: [n2] }\n", "",
         "f:20:17: error: databases.pay.durability: durability: sync needs a sync entry, such as sync: { first: 1, standbys: [NODE] }\n"},
        {"durability: sync\n", "durability: async\n",
         "f:21:5: error: databases.pay.sync: durability: async and a sync entry contradict each other; leave one out\n"},
        {"[pay, ord]", "[pay]",
         "f:25:3: error: databases.ord: in no group; name it in the databases of one of groups\n"},
        {"    services: [web]\n", "    services: [web]\n  more: { home: west, databases: [ord, pay] }\n",
         "f:51:35: error: groups.more.databases[0]: \"ord\" is in the group all already; it can be in one only\n"
         "f:51:40: error: groups.more.databases[1]: \"pay\" is in the group all already; it can be in one only\n"},
        {"    services: [web]\n", "",
         "f:30:3: error: services.web: in no group; name it in the services of one of groups\n"},
        {"    databases: [pay, ord]\n    services: [web]\n", "    databases: [pay]\n  more: { home: west, databases: [ord], services: [web] }\n",
         "f:31:15: error: services.web.database: web is in the group more, but its database pay is in all; they move together\n"},
        {"n1: { port: 5433 }", "n1: {}",
         "f:28:18: error: databases.ord.instances.n1.port: 192.0.2.1 port 5432 is also that of databases.pay.instances.n1\n"},
        {"name: west_1", "name: N1",
         "f:24:19: error: databases.pay.instances.n2.name: the instances on n1 and n2 are both named \"N1\"; each needs its own\n"},
        {"servers: { n1: east }", "servers: { n1: n2 }",
         "f:45:5: error: routes.web.servers.n2: the servers of n1 and n2 are both named \"n2\"; each needs its own\n"},
        {"database: pay, proxies", "database: pay, service: web, proxies",
         "f:39:3: error: routes.pay: found both of database and service, needed is exactly one\n"},
        {"    service: web\n", "",
         "f:41:3: error: routes.web: found neither of database and service, needed is exactly one\n"},
        {"backend: ord", "backend: pay",
         "f:40:49: error: routes.ord.backend: \"pay\" is also the backend of routes.pay on the same proxy\n"},
        {"/run/haproxy.sock", "\"192.0.2.9:9999\"",
         "f:37:18: error: proxies.p2.runtime: 192.0.2.9:9999 is also that of proxies.p1\n"},
        {"method: agent\n", "method: operator\n",
         "f:7:5: warning: nodes.n1.fencing: only a person can confirm that it is fenced: every failover from it waits for failoverctl confirm-fenced n1\n"
         "f:10:16: error: nodes.n1.fencing[0].agent: has no meaning with method: operator; leave it out\n"
         "f:11:9: error: nodes.n1.fencing[0].options: has no meaning with method: operator; leave it out\n"
         "f:12:9: error: nodes.n1.fencing[0].secrets: has no meaning with method: operator; leave it out\n"},
        {"method: agent\n", "method: command\n",
         "f:7:5: warning: nodes.n1.fencing: only a command's exit status says that it is fenced, nothing reads the power state back: the strict tier needs an agent\n"
         "f:8:9: error: nodes.n1.fencing[0].command: missing, needed with method: command\n"
         "f:10:16: error: nodes.n1.fencing[0].agent: has no meaning with method: command; leave it out\n"
         "f:11:9: error: nodes.n1.fencing[0].options: has no meaning with method: command; leave it out\n"
         "f:12:9: error: nodes.n1.fencing[0].secrets: has no meaning with method: command; leave it out\n"},
        {"        method: agent\n", "",
         "f:8:9: error: nodes.n1.fencing[0].method: missing; needed is one of agent, command, operator, guard, permit, replication. `agent`: a ClusterLabs fence agent; `command`: a program of your own; `operator`: a person's `failoverctl confirm-fenced`; and beside these `guard`: the node's failover-guard, `permit`: the permit's time, `replication`: the standbys.\n"},
        {"        method: agent\n", "        method: permit\n",
         "f:9:17: error: nodes.n1.fencing[0].method: permit rests on the node's failover-guard: add a level with method: guard\n"
         "f:10:16: error: nodes.n1.fencing[0].agent: has no meaning with method: permit; leave it out\n"
         "f:11:9: error: nodes.n1.fencing[0].options: has no meaning with method: permit; leave it out\n"
         "f:12:9: error: nodes.n1.fencing[0].secrets: has no meaning with method: permit; leave it out\n"},
        {"        agent: fence_ipmilan\n", "",
         "f:8:9: error: nodes.n1.fencing[0].agent: missing, needed with method: agent\n"},
        {"{ ip: 192.0.2.101 }", "{ ip: 192.0.2.101, passwd: hunter2 }",
         "f:11:45: error: nodes.n1.fencing[0].options.passwd: it would stand in etcd in the clear; put it into a file, name the file in local.yaml, and write secrets: { passwd: NAME }\n"},
        {"{ ip: 192.0.2.101 }", "{ action: reboot }",
         "f:11:28: error: nodes.n1.fencing[0].options.action: the controller itself asks for off and status, and never for another action; leave it out\n"},
        {"{ ip: 192.0.2.101 }", "{ method: cycle }",
         "f:11:28: error: nodes.n1.fencing[0].options.method: found \"cycle\": a node that comes back by itself is not fenced; leave it out\n"},
        {"{ password: ipmi }", "{ ip: ipmi }",
         "f:12:24: error: nodes.n1.fencing[0].secrets.ip: \"ip\" stands in options and in secrets\n"},
        {"{ password: ipmi }", "{ password: ipmi }\n      - { name: power, method: operator }",
         "f:13:17: error: nodes.n1.fencing[1].name: two levels are named \"power\"; each needs its own name\n"},
        {"{ password: ipmi }", "{ password: ipmi }\n      - { name: person, method: operator, deadline: 5s }",
         "f:13:53: error: nodes.n1.fencing[1].deadline: has no meaning with method: operator; leave it out\n"},
        {"{ call: oncall }", "{ call: oncall, cut_off_after: 2s }",
         "f:51:40: error: policy.cut_off_after: cut_off_after is 2000ms, shorter than the 2500ms in which profile: default finds a failure\n"},
        {"policy: {", "objectives: { switched: 3h }\npolicy: {",
         "f:51:25: error: objectives.switched: switched is 10800s, longer than normal, 7200s; business is normal only after the switch\n"},
        {"policy: {", "objectives: { switched: 10s }\npolicy: {",
         "f:7:5: error: nodes.n1.fencing: its levels' deadlines add up to 20s, more than objectives.switched, 10s\n"
         "f:16:5: error: nodes.n2.fencing: its levels' deadlines add up to 20s, more than objectives.switched, 10s\n"},
        {"home: east", "home: west",
         "f:21:23: error: databases.pay.sync.standbys: at home in west the primary is one of them and is no standby of itself: 0 remain, but first is 1\n"},
        {"    instances: { n1: { port: 5433 }, n2: { port: 5433 } }", "    instances: { n2: { port: 5433 } }",
         "f:28:5: warning: databases.ord.instances: one instance only: there is nothing to fail over to\n"
         "f:48:11: error: groups.all.home: ord has no instance in east, where its group is at home\n"},
    };
    EXPECT_MISTAKES(*state, mistakes, -1);
}
/* clang-format on */

/* clang-format off */
static void what_is_no_plain_yaml_is_told_with_its_place(void **state)
{
    static const struct mistake mistakes[] = {
        {"n1: {}", "n1: &a {}",
         "f:23:11: error: found an anchor (&); anchors are not allowed, write the value out\n"},
        {"n1: {}", "n1: *a",
         "f:23:11: error: found an alias (*); aliases are not allowed, write the value out\n"},
        {"n1: {}", "n1: !!map {}",
         "f:23:11: error: found a tag (!); tags are not allowed, the key says what the type is\n"},
        {"    site: east", "\tsite: east",
         "f:5:1: error: not YAML: found character that cannot start any token, while scanning for the next token; it is a tab: indent with spaces only\n"},
        {"    site: east", "   site: east",
         "f:6:12: error: not YAML: mapping values are not allowed in this context\n"},
        {"sites: {", "sites: {{",
         "f:2:9: error: found a mapping or list as a key; a key is a single word\n"},
        {"cluster: shop", "cluster: \"sh\\0op\"",
         "f:1:10: error: found a NUL in a text\n"},
        {"policy: {", "---\npolicy: {",
         "f:51:1: error: found a second document (---); one is allowed\n"},
        {"n1: {}", "? [a]\n      : 1",
         "f:23:9: error: found a mapping or list as a key; a key is a single word\n"},
        {"n1: {}", "<<: {}",
         "f:23:7: error: databases.pay.instances.<<: \"<<\" is not one of nodes (n1, n2)\n"},
        {"policy: { call: oncall }\n", "policy: { call: oncall\n",
         "f:52:1: error: not YAML: did not find expected ',' or '}', while parsing a flow mapping\n"},
        {"cluster: shop", "cluster: 'shop",
         "f:52:1: error: not YAML: found unexpected end of stream, while scanning a quoted scalar\n"},
        {"cluster: shop", "%YAML 9.9\n---\ncluster: shop",
         "f:2:1: error: not YAML: found incompatible YAML document\n"},
    };
    EXPECT_MISTAKES(*state, mistakes, -1);
}
/* clang-format on */

static void a_permits_time_bounds_a_fence_beside_the_levels(void **state)
{
    (void)state;
    const struct profile *profile = &profiles[PROFILE_DEFAULT];
    struct node_def node = {.levels_len = 1,
                            .levels = {{.method = FENCE_AGENT, .deadline_ms = 20000}}};
    assert_int_equal(permit_sum_ms(8000, 2000, 1000), 11310); /* 11 s and 1 %, and 0.2 s */
    assert_int_equal(node_fence_ms(&node, profile), 20000);
    node.levels[node.levels_len++].method = FENCE_GUARD; /* of a silent node it says nothing */
    assert_int_equal(node_fence_ms(&node, profile), 20000);
    node.levels[node.levels_len++].method = FENCE_PERMIT;
    assert_int_equal(node_fence_ms(&node, profile), 11310);
    node.levels[0].deadline_ms = 5000;
    assert_int_equal(node_fence_ms(&node, profile), 5000);
    node.levels[0] = (struct fence_level_def){.method = FENCE_OPERATOR};
    assert_int_equal(node_fence_ms(&node, profile), 11310);
    node.levels_len = 1;
    assert_int_equal(node_fence_ms(&node, profile), 0);
}

/* clang-format off */
static void what_a_person_should_know_is_a_warning_and_no_error(void **state)
{
    static const struct mistake mistakes[] = {
        {"    fencing:\n      - { name: power, method: agent, agent: fence_ipmilan }\n", "",
         "f:13:3: warning: nodes.n2.fencing: no fencing level: when its primary fails, every failover waits for a person who runs failoverctl confirm-fenced n2\n"},
        {"method: agent, agent: fence_ipmilan", "method: operator",
         "f:16:5: warning: nodes.n2.fencing: only a person can confirm that it is fenced: every failover from it waits for failoverctl confirm-fenced n2\n"},
        {"method: agent, agent: fence_ipmilan", "method: command, command: cut",
         "f:16:5: warning: nodes.n2.fencing: only a command's exit status says that it is fenced, nothing reads the power state back: the strict tier needs an agent\n"},
        {"method: agent, agent: fence_ipmilan", "method: guard",
         "f:16:5: warning: nodes.n2.fencing: when the node is silent, its guard cannot prove anything: add method: permit or an agent, or every such failover waits for failoverctl confirm-fenced n2\n"
         "f:21:23: warning: databases.pay.sync.standbys: with the primary on n2 none of them is left to wait for: it is asynchronous then; name the other instances too\n"},
        {"      - { name: power, method: agent, agent: fence_ipmilan }\n",
         "      - { name: guard, method: guard }\n      - { name: time, method: permit }\n",
         "f:22:23: warning: databases.pay.sync.standbys: with the primary on n2 none of them is left to wait for: it is asynchronous then; name the other instances too\n"},
        {"durability: sync", "durability: strict",
         "f:20:17: warning: databases.pay.durability: durability: strict, but no failover-guard runs on n1 (a level with method: guard): what commits wait for is set by hand there\n"
         "f:20:17: warning: databases.pay.durability: durability: strict, but no failover-guard runs on n2 (a level with method: guard): what commits wait for is set by hand there\n"},
        {"policy: { call: oncall }\n", "",
         "f:1:1: warning: policy.call: no command calls a person: alarms stand in status and in the log only\n"},
        {"  ord: { database: ord, proxies: [p1], backend: ord }\n", "",
         "f:25:3: warning: databases.ord: no route leads to its primary: after a failover nothing redirects its clients\n"},
        {"      n2: { url: \"http://[2001:db8::2]:80/health\" }\n", "",
         "f:32:5: warning: services.web.instances: none in west, where its database pay can be the primary\n"},
        {"  n2:\n    site: west\n    address: 2001:db8::2", "  n3: { site: east, address: 192.0.2.1 }\n  n2:\n    site: west\n    address: 2001:db8::2",
         "f:13:30: warning: nodes.n3.address: n1 has the same address, 192.0.2.1: fencing one of them may fence both\n"},
    };
    EXPECT_MISTAKES(*state, mistakes, 0);
}
/* clang-format on */

/* ---- All at once
 * -----------------------------------------------------------------------------------------------
 */

static void every_mistake_is_told_at_once_in_the_order_of_the_text(void **state)
{
    struct fixture *f = *state;
    char *one = changed(good, "durability: async", "durability: none");
    char *two = changed(one, "site: east", "site: eest");
    char *text = changed(two, "{ call: oncall }", "{ cal: oncall }");
    expect_said(
        f, text, strlen(text), -1,
        "f:5:11: error: nodes.n1.site: \"eest\" is not one of sites (east, west); is \"east\" "
        "meant?\n"
        "f:26:17: error: databases.ord.durability: found \"none\", allowed is one of sync, strict, async\n"
        "f:51:1: warning: policy.call: no command calls a person: alarms stand in status and in "
        "the log only\n"
        "f:51:11: error: policy.cal: unknown key; is \"call\" meant? Allowed are budget, "
        "cut_off_after, when_blind, call\n");
    free(one);
    free(two);
    free(text);
}

static void more_mistakes_than_are_kept_are_counted(void **state)
{
    struct fixture *f = *state;
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    fputs(good, to);
    for (int i = 0; i < 150; i++) {
        fprintf(to, "unknown%d: 1\n", i);
    }
    fclose(to);
    assert_int_equal(definition_read(text, len, &f->def, &f->complaints), -1);
    assert_int_equal(f->complaints.len, COMPLAINTS_MAX);
    assert_int_equal(f->complaints.errors, 150);
    char *lines = printed(&f->complaints);
    assert_non_null(strstr(lines, "f: 50 more errors are not shown\n"));
    free(lines);
    free(text);
}

static void more_than_fit_of_anything_is_told(void **state)
{
    struct fixture *f = *state;
    static const struct mistake mistakes[] = {
        {"west: {} }", "west: {}, a: {}, b: {}, c: {} }",
         "f:2:8: error: sites: found 5 entries, allowed are 1 to 4\n"},
        {"{ ip: 192.0.2.101 }",
         "{ a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1 }",
         "f:12:18: error: nodes.n1.fencing[0].secrets: found 1 entries, allowed are 0 to 12\n"},
        {"proxies: [p1]\n", "proxies: [p1, p1, p1, p1, p1, p1, p1, p1, p1]\n",
         "f:43:14: error: routes.web.proxies: found 9 entries, allowed are 1 to 8\n"
         "f:43:19: error: routes.web.proxies: \"p1\" stands here twice\n"
         "f:43:23: error: routes.web.proxies: \"p1\" stands here twice\n"
         "f:43:27: error: routes.web.proxies: \"p1\" stands here twice\n"
         "f:43:31: error: routes.web.proxies: \"p1\" stands here twice\n"
         "f:43:35: error: routes.web.proxies: \"p1\" stands here twice\n"
         "f:43:39: error: routes.web.proxies: \"p1\" stands here twice\n"
         "f:43:43: error: routes.web.proxies: \"p1\" stands here twice\n"},
    };
    EXPECT_MISTAKES(f, mistakes, -1);
}

/* ---- What a good one says
 * -------------------------------------------------------------------------------------- */

static void a_definition_without_a_mistake_is_read_with_its_defaults(void **state)
{
    struct fixture *f = *state;
    struct definition *def = &f->def;
    expect_said(f, good, strlen(good), 0, "");
    assert_string_equal(def->cluster, "shop");
    assert_int_equal(def->profile, PROFILE_DEFAULT);
    assert_int_equal(def->sites_len, 2);
    assert_int_equal(def->nodes_len, 2);
    assert_int_equal(def->nodes[1].site, 1);
    assert_string_equal(def->nodes[1].address, "2001:db8::2");
    const struct fence_level_def *level = &def->nodes[0].levels[0];
    assert_int_equal(def->nodes[0].levels_len, 1);
    assert_int_equal(level->method, FENCE_AGENT);
    assert_string_equal(level->program, "fence_ipmilan");
    assert_int_equal(level->deadline_ms, 20000);
    assert_int_equal(level->options_len, 2);
    assert_string_equal(level->options[0].name, "ip");
    assert_string_equal(level->options[0].value, "192.0.2.101");
    assert_false(level->options[0].secret);
    assert_string_equal(level->options[1].name, "password");
    assert_string_equal(level->options[1].value, "ipmi");
    assert_true(level->options[1].secret);
    const struct database_def *pay = &def->databases[0];
    assert_string_equal(pay->dbname, "pay");
    assert_string_equal(pay->user, "failoverd");
    assert_string_equal(pay->password, "");
    assert_string_equal(pay->sslmode, "prefer");
    assert_int_equal(pay->durability, DURABILITY_SYNC);
    assert_int_equal(pay->sync_len, 1);
    assert_int_equal(pay->sync[0].k, 1);
    assert_int_equal(pay->sync[0].members_len, 1);
    assert_int_equal(pay->sync[0].members[0], 1);
    assert_true(pay->max_lag_bytes == 16u << 20);
    assert_string_equal(pay->instances[0].name, "n1");
    assert_string_equal(pay->instances[1].name, "west_1");
    assert_int_equal(pay->instances[0].port, 5432);
    assert_int_equal(pay->instances[0].priority, 100);
    assert_int_equal(pay->instances[1].priority, 50);
    const struct database_def *ord = &def->databases[1];
    assert_int_equal(ord->durability, DURABILITY_ASYNC);
    assert_int_equal(ord->sync_len, 0);
    assert_true(ord->max_lag_bytes == 64u << 10);
    assert_int_equal(ord->instances[1].port, 5433);
    assert_int_equal(def->services[0].database, 0);
    assert_int_equal(def->services[0].instances[0].status, 200);
    assert_string_equal(def->services[0].instances[1].url, "http://[2001:db8::2]:80/health");
    assert_string_equal(def->proxies[1].runtime, "/run/haproxy.sock");
    const struct route_def *web = &def->routes[2];
    assert_int_equal(web->database, -1);
    assert_int_equal(web->service, 0);
    assert_int_equal(web->proxies_len, 1);
    assert_string_equal(web->servers[0], "east");
    assert_string_equal(web->servers[1], "n2");
    assert_int_equal(def->routes[0].database, 0);
    assert_int_equal(def->routes[0].service, -1);
    assert_int_equal(def->routes[0].proxies[1], 1);
    assert_int_equal(def->groups[0].home, 0);
    assert_int_equal(def->groups[0].move, MOVE_APART);
    assert_true(def->groups[0].automatic);
    assert_int_equal(pay->group, 0);
    assert_int_equal(ord->group, 0);
    assert_int_equal(def->services[0].group, 0);
    assert_true(def->objectives.switched_ms == 3600000 && def->objectives.normal_ms == 7200000 &&
                def->objectives.back_ms == 86400000);
    assert_int_equal(def->policy.budget_failovers, 2);
    assert_true(def->policy.budget_per_ms == 3600000);
    assert_true(def->policy.cut_off_after_ms == 10000);
    assert_string_equal(def->policy.call, "oncall");
}

static void a_name_that_ends_like_a_secret_but_is_a_program_is_no_secret(void **state)
{
    struct fixture *f = *state;
    static const struct mistake none[] = {
        {"{ ip: 192.0.2.101 }", "{ ip: 192.0.2.101, password_script: /usr/local/bin/pw }", ""},
        {"{ ip: 192.0.2.101 }", "{ ip: 192.0.2.101, method: onoff }", ""},
        {"secrets: { password: ipmi }", "deadline: 30s", ""},
        {"cluster: shop\n", "cluster: \"shop\"\nprofile: fast\n", ""},
        {"cluster: shop\n",
         "\xef\xbb\xbf"
         "cluster: shop # caf\xc3\xa9\n",
         ""},
    };
    EXPECT_MISTAKES(f, none, 0);
}

static char *read_text(const char *path, size_t *ret_len)
{
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    char *text = calloc(1, DEFINITION_TEXT_MAX);
    *ret_len = fread(text, 1, DEFINITION_TEXT_MAX - 1, from);
    fclose(from);
    return text;
}

static void the_example_passes_the_check(void **state)
{
    struct fixture *f = *state;
    size_t len;
    char *text = read_text(EXAMPLE, &len);
    assert_int_equal(definition_read(text, len, &f->def, &f->complaints), 0);
    assert_int_equal(f->complaints.errors, 0);
    assert_int_equal(f->def.databases_len, 2);
    assert_string_equal(f->def.databases[0].instances[1].name, "pay_west");
    assert_int_equal(f->def.nodes[2].levels[0].method, FENCE_COMMAND);
    assert_string_equal(f->def.nodes[2].levels[0].program, "cut-switch-port");
    assert_int_equal(f->def.nodes[2].levels[0].deadline_ms, 10000);
    assert_string_equal(f->def.routes[3].servers[1], "west");
    free(text);
}

static void the_reference_page_has_every_key_of_the_example(void **state)
{
    (void)state;
    char *page = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&page, &len);
    definition_reference_print(to);
    fclose(to);
    static const char *const rows[] = {
        "| `cluster` | a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters | required |",
        "| `profile` | one of default, fast | `default` |",
        "| `nodes.*.fencing[].deadline` | a duration from 1s to 10m, such as",
        "| `databases.*.sync.standbys` | a list of 1 to 5, each a name of nodes | required |",
        "| `databases.*.max_lag` | a size from 0 to 1TiB, such as 64kB or 16MiB | `16MiB` |",
        "| `objectives.back` | a duration from 1s to 30d, such as 500ms, 10s, 1h or 1d | `24h` |",
        "| `policy.call` | ",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strstr(page, rows[i]) == NULL) {
            fail_msg("the page has no \"%s\":\n%s", rows[i], page);
        }
    }
    free(page);
}

/* ---- The difference
 * -------------------------------------------------------------------------------------------- */

static void expect_difference(struct fixture *f, const char *from, const char *to, const char *said)
{
    char *text = changed(good, from, to);
    assert_int_equal(definition_read(good, strlen(good), &f->def, &f->complaints), 0);
    if (definition_read(text, strlen(text), &f->other, &f->complaints) != 0) {
        complaints_print(stderr, "f", &f->complaints);
        fail();
    }
    char *lines = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&lines, &len);
    int count = definition_diff(out, &f->def, &f->other);
    fclose(out);
    assert_string_equal(lines, said);
    int newlines = 0;
    for (size_t i = 0; i < len; i++) {
        newlines += lines[i] == '\n' ? 1 : 0;
    }
    assert_int_equal(count, newlines);
    assert_int_equal(definition_diff(NULL, &f->def, &f->other), count);
    free(lines);
    free(text);
}

static void a_difference_is_told_line_by_line(void **state)
{
    struct fixture *f = *state;
    expect_difference(f, "cluster: shop", "cluster: shop # the same", "");
    expect_difference(f, "cluster: shop\n", "cluster: shop\nprofile: fast\n",
                      "~ profile: default -> fast\n");
    expect_difference(f, "2001:db8::2\n", "192.0.2.2\n",
                      "~ nodes.n2.address: 2001:db8::2 -> 192.0.2.2\n");
    expect_difference(f, "first: 1, standbys: [n2]", "first: 1, standbys: [n2, n1]",
                      "~ databases.pay.sync: first 1 of n2 -> first 1 of n2, n1\n");
    expect_difference(f, "first: 1, standbys: [n2]", "any: 1, standbys: [n2]",
                      "~ databases.pay.sync: first 1 of n2 -> any 1 of n2\n");
    expect_difference(f, "durability: sync", "durability: strict\n    degrade_after: 1m",
                      "~ databases.pay.durability: sync -> strict\n"
                      "~ databases.pay.degrade_after: 10s -> 1m\n");
    expect_difference(f, "max_lag: 64kB", "max_lag: 1MiB",
                      "~ databases.ord.max_lag: 64KiB -> 1MiB\n");
    expect_difference(f, "servers: { n1: east }", "servers: { n1: left }",
                      "~ routes.web.servers.n1: east -> left\n");
    expect_difference(f, "proxies: [p1, p2]", "proxies: [p1]",
                      "- routes.pay.proxies[1]: removed, p2\n");
    expect_difference(f, "  ord: { database: ord, proxies: [p1], backend: ord }\n", "",
                      "- routes.ord: removed\n");
    expect_difference(f, "sites: { east: {}, west: {} }", "sites: { east: {}, west: {}, mid: {} }",
                      "+ sites.mid: added\n");
    expect_difference(f, "{ call: oncall }", "{ call: oncall, cut_off_after: 1m }",
                      "~ policy.cut_off_after: 10s -> 1m\n");
    expect_difference(f, "{ call: oncall }", "{}", "~ policy.call: oncall -> (none)\n");
    expect_difference(f, "    home: east\n", "    home: east\n    automatic: no\n",
                      "~ groups.all.automatic: yes -> no\n");
    expect_difference(f, "{ ip: 192.0.2.101 }", "{ ip: 192.0.2.102, lanplus: \"1\" }",
                      "~ nodes.n1.fencing[0].options.ip: 192.0.2.101 -> 192.0.2.102\n"
                      "+ nodes.n1.fencing[0].options.lanplus: added, 1\n");
    expect_difference(f, "method: agent, agent: fence_ipmilan", "method: command, command: cut",
                      "- nodes.n2.fencing[0].agent: removed, fence_ipmilan\n"
                      "~ nodes.n2.fencing[0].method: agent -> command\n"
                      "~ nodes.n2.fencing[0].deadline: 20s -> 10s\n"
                      "+ nodes.n2.fencing[0].command: added, cut\n");
}

/* ---- Hostile texts
 * --------------------------------------------------------------------------------------------- */

static bool in_range(int index, int len)
{
    return index >= 0 && index < len;
}

/* What a reader of the structure relies on. */
static void expect_whole(const struct definition *def)
{
    assert_true(def->cluster[0] != '\0');
    assert_true(def->sites_len >= 1 && def->sites_len <= SITES_MAX);
    assert_true(def->nodes_len >= 1 && def->nodes_len <= NODES_MAX);
    assert_true(def->databases_len >= 1 && def->databases_len <= DATABASES_MAX);
    assert_true(def->groups_len >= 1 && def->groups_len <= GROUPS_MAX);
    assert_true(def->profile == PROFILE_DEFAULT || def->profile == PROFILE_FAST);
    for (int n = 0; n < def->nodes_len; n++) {
        const struct node_def *node = &def->nodes[n];
        unsigned char address[16];
        assert_true(in_range(node->site, def->sites_len) && node->name[0] != '\0');
        assert_true(inet_pton(AF_INET, node->address, address) == 1 ||
                    inet_pton(AF_INET6, node->address, address) == 1);
        for (int l = 0; l < node->levels_len; l++) {
            const struct fence_level_def *level = &node->levels[l];
            assert_true(level->name[0] != '\0' && in_range((int)level->method, FENCE_METHODS));
            assert_int_equal(level->program[0] != '\0', level->method != FENCE_OPERATOR);
            assert_int_equal(level->deadline_ms > 0, level->method != FENCE_OPERATOR);
            assert_true(level->options_len <= OPTIONS_MAX);
        }
    }
    for (int d = 0; d < def->databases_len; d++) {
        const struct database_def *db = &def->databases[d];
        assert_true(in_range(db->group, def->groups_len));
        assert_true(db->name[0] != '\0' && db->dbname[0] != '\0' && db->user[0] != '\0');
        assert_true(db->instances_len >= 1 && db->instances_len <= INSTANCES_MAX);
        assert_int_equal(db->sync_len, db->durability != DURABILITY_ASYNC ? 1 : 0);
        for (int i = 0; i < db->instances_len; i++) {
            assert_true(in_range(db->instances[i].node, def->nodes_len));
            assert_true(db->instances[i].port > 0 && db->instances[i].name[0] != '\0');
        }
        for (int s = 0; s < db->sync_len; s++) {
            assert_true(db->sync[s].k >= 1 && db->sync[s].k <= db->sync[s].members_len);
            for (int m = 0; m < db->sync[s].members_len; m++) {
                assert_true(in_range(db->sync[s].members[m], db->instances_len));
            }
        }
    }
    for (int s = 0; s < def->services_len; s++) {
        const struct service_def *service = &def->services[s];
        assert_true(in_range(service->database, def->databases_len));
        assert_int_equal(service->group, def->databases[service->database].group);
        for (int i = 0; i < service->instances_len; i++) {
            assert_true(in_range(service->instances[i].node, def->nodes_len));
            assert_true(service->instances[i].url[0] != '\0' &&
                        service->instances[i].status >= 100);
        }
    }
    for (int r = 0; r < def->routes_len; r++) {
        const struct route_def *route = &def->routes[r];
        assert_true(in_range(route->database, def->databases_len) !=
                    in_range(route->service, def->services_len));
        assert_true(route->proxies_len >= 1 && route->backend[0] != '\0');
        for (int p = 0; p < route->proxies_len; p++) {
            assert_true(in_range(route->proxies[p], def->proxies_len));
        }
        int len = route->database >= 0 ? def->databases[route->database].instances_len
                                       : def->services[route->service].instances_len;
        for (int i = 0; i < len; i++) {
            assert_true(route->servers[i][0] != '\0');
        }
    }
    for (int g = 0; g < def->groups_len; g++) {
        assert_true(in_range(def->groups[g].home, def->sites_len));
    }
    assert_true(def->objectives.switched_ms > 0 && def->policy.budget_failovers > 0 &&
                def->policy.budget_per_ms > 0 && def->policy.cut_off_after_ms > 0);
}

/* Returns 1 if it was read. */
static int try_text(struct fixture *f, const char *text, size_t len)
{
    memset(&f->def, 0x5a, sizeof f->def);
    if (definition_read(text, len, &f->def, &f->complaints) == 0) {
        assert_int_equal(f->complaints.errors, 0);
        expect_whole(&f->def);
        definition_diff(NULL, &f->def, &f->def);
        return 1;
    }
    assert_true(f->complaints.errors > 0 && f->complaints.len > 0);
    for (int i = 0; i < f->complaints.len; i++) {
        const struct complaint *c = &f->complaints.items[i];
        assert_true(c->line >= 1 && c->column >= 1 && c->text[0] != '\0');
        assert_null(strchr(c->text, '\n'));
    }
    const unsigned char *bytes = (const unsigned char *)&f->def;
    assert_true(bytes[0] == 0x5a && memcmp(bytes, bytes + 1, sizeof f->def - 1) == 0);
    return 0;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* One to three wounds: a byte, a cut, a line lost, doubled or moved. */
static size_t wound(char *text, size_t len, size_t room, uint64_t *seed)
{
    static const char bytes[] = "{}[]:,-&*!|>'\"%@`#?~ \n\t0az\x7f\xff";
    size_t at = next_random(seed) % len;
    char *line = memchr(text + at, '\n', len - at);
    char *end = line != NULL ? memchr(line + 1, '\n', len - (size_t)(line + 1 - text)) : NULL;
    size_t line_len = end != NULL ? (size_t)(end - line) : 0;
    switch (next_random(seed) % 6) {
    case 0: text[at] = (char)next_random(seed); return len;
    case 1: text[at] = bytes[next_random(seed) % (sizeof bytes - 1)]; return len;
    case 2: return at > 0 && next_random(seed) % 8 == 0 ? at : len;
    case 3: /* a line lost */
        if (line_len == 0) {
            return len;
        }
        memmove(line, end, len - (size_t)(end - text));
        return len - line_len;
    case 4: /* a byte lost */ memmove(text + at, text + at + 1, len - at - 1); return len - 1;
    default: /* a line doubled */
        if (line_len == 0 || len + line_len > room) {
            return len;
        }
        memmove(end + line_len, end, len - (size_t)(end - text));
        memcpy(end, line, line_len);
        return len + line_len;
    }
}

static void a_wounded_example_is_refused_whole_or_read_whole(void **state)
{
    struct fixture *f = *state;
    size_t len;
    char *text = read_text(EXAMPLE, &len);
    size_t room = len * 2;
    char *wounded = malloc(room);
    uint64_t seed = 20;
    int read = 0;
    enum { TRIES = 3000 };
    for (int i = 0; i < TRIES; i++) {
        const char *from = i % 2 == 0 ? text : good;
        size_t wounded_len = i % 2 == 0 ? len : strlen(good);
        memcpy(wounded, from, wounded_len);
        for (uint64_t wounds = 1 + next_random(&seed) % 3; wounds > 0 && wounded_len > 0;
             wounds--) {
            wounded_len = wound(wounded, wounded_len, room, &seed);
        }
        read += try_text(f, wounded, wounded_len);
    }
    /* Both kinds have been tried. */
    assert_true(read > TRIES / 20 && read < TRIES);
    free(wounded);
    free(text);
}

static void a_text_that_ends_anywhere_is_refused_whole_or_read_whole(void **state)
{
    struct fixture *f = *state;
    for (size_t len = 0; len < strlen(good); len++) {
        char *text = malloc(len + 1); /* exactly as long, so that reading past it is seen */
        memcpy(text, good, len);
        try_text(f, text, len);
        free(text);
    }
}

static char *repeated(const char *before, const char *part, size_t times, const char *after)
{
    size_t part_len = strlen(part);
    char *text = malloc(strlen(before) + part_len * times + strlen(after) + 1);
    char *at = stpcpy(text, before);
    for (size_t i = 0; i < times; i++) {
        at = stpcpy(at, part);
    }
    strcpy(at, after);
    return text;
}

static void floods_are_refused_within_their_limits(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *before, *part;
        size_t times;
        const char *said;
    } floods[] = {
        {"cluster: ", "[", 200000, "nested deeper than 64 levels"},
        {"cluster: ", "{a: ", 50000, "nested deeper than 64 levels"},
        {"", "- ", 100000, "nested deeper than 64 levels"},
        {"cluster: [", "a,", 120000, "found more than 16384 values"},
        {"cluster: ", "x", 250000, "found \"xxxx"},
        {"", "x", 250000, "found \""},
        {"cluster: \"", "\\n", 120000, "not YAML"},
        {"", "&a [*a, ", 30000, "found an anchor"},
        {"", "\n", 262145, "found 262145 bytes, at most 262144 are allowed"},
        {"", "a", 300000, "found 300000 bytes"},
        {"", "%", 200000, "not YAML"},
        {"", "? ", 100000, "a key is a single word"},
        {"", "--- a\n", 40000, "found a second document"},
        {"", " ", 200000, "found nothing; the file is empty"},
    };
    for (size_t i = 0; i < sizeof floods / sizeof *floods; i++) {
        char *text = repeated(floods[i].before, floods[i].part, floods[i].times, "");
        assert_int_equal(try_text(f, text, strlen(text)), 0);
        bool found = false;
        for (int c = 0; c < f->complaints.len; c++) {
            found = found || strstr(f->complaints.items[c].text, floods[i].said) != NULL;
        }
        if (!found) {
            fail_msg("flood %zu: expected \"%s\", found \"%s\"", i, floods[i].said,
                     f->complaints.items[0].text);
        }
        free(text);
    }
}

static void bytes_that_no_text_has_are_told_with_their_place(void **state)
{
    struct fixture *f = *state;
    static const struct mistake bad[] = {
        {"shop", "sh\xc3(p",
         "f:1:12: error: found the byte 0xc3, which is no UTF-8; save the file "
         "as UTF-8\n"},
        {"shop", "sh\xed\xa0\x80",
         "f:1:12: error: found the byte 0xed, which is no UTF-8; save "
         "the file as UTF-8\n"},
        {"shop", "sh\xc0\x80",
         "f:1:12: error: found the byte 0xc0, which is no UTF-8; save the "
         "file as UTF-8\n"},
        {"sites", "\xf4\x90\x80\x80",
         "f:2:1: error: found the byte 0xf4, which is no UTF-8; save "
         "the file as UTF-8\n"},
        {"shop", "caf\xc3\xa9\x1b[2J",
         "f:1:14: error: found the control character 0x1b; a text "
         "has none\n"},
    };
    EXPECT_MISTAKES(f, bad, -1);
    expect_said(f, "cluster: a\0b", 12, -1,
                "f:1:11: error: found the control character 0x00; a text has none\n");
    expect_said(f,
                "\xff\xfe"
                "c\0l\0",
                6, -1,
                "f:1:1: error: found the byte 0xff, which is no UTF-8; save the file as UTF-8\n");
    expect_said(f, "", 0, -1, "f:1:1: error: found nothing; the file is empty\n");
    expect_said(f, "shop", 4, -1, "f:1:1: error: found \"shop\", allowed is a mapping\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            unknown_missing_and_repeated_keys_are_told_with_the_nearest_one, make_fixture,
            drop_fixture),
        cmocka_unit_test_setup_teardown(a_value_of_another_type_is_told_with_what_is_allowed,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(a_reference_to_nothing_names_the_nearest_that_is_there,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(
            settings_that_contradict_each_other_are_told_with_both_sides, make_fixture,
            drop_fixture),
        cmocka_unit_test_setup_teardown(what_is_no_plain_yaml_is_told_with_its_place, make_fixture,
                                        drop_fixture),
        cmocka_unit_test(a_permits_time_bounds_a_fence_beside_the_levels),
        cmocka_unit_test_setup_teardown(what_a_person_should_know_is_a_warning_and_no_error,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(every_mistake_is_told_at_once_in_the_order_of_the_text,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(more_mistakes_than_are_kept_are_counted, make_fixture,
                                        drop_fixture),
        cmocka_unit_test_setup_teardown(more_than_fit_of_anything_is_told, make_fixture,
                                        drop_fixture),
        cmocka_unit_test_setup_teardown(a_definition_without_a_mistake_is_read_with_its_defaults,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(
            a_name_that_ends_like_a_secret_but_is_a_program_is_no_secret, make_fixture,
            drop_fixture),
        cmocka_unit_test_setup_teardown(the_example_passes_the_check, make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(the_reference_page_has_every_key_of_the_example,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(a_difference_is_told_line_by_line, make_fixture,
                                        drop_fixture),
        cmocka_unit_test_setup_teardown(a_wounded_example_is_refused_whole_or_read_whole,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(a_text_that_ends_anywhere_is_refused_whole_or_read_whole,
                                        make_fixture, drop_fixture),
        cmocka_unit_test_setup_teardown(floods_are_refused_within_their_limits, make_fixture,
                                        drop_fixture),
        cmocka_unit_test_setup_teardown(bytes_that_no_text_has_are_told_with_their_place,
                                        make_fixture, drop_fixture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
