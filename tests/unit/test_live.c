/* check --live against real PostgreSQL servers, a real HAProxy, and a fence agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "controller/cluster/definition_read.h"
#include "controller/ctl/live.h"
#include "tests/unit/postgres_fixture.h"

static struct server primary, standby;
static pid_t haproxy;
static char *told; /* what the latest check printed */
static struct definition *def;
static struct local_config *local;

static void path_of(const char *name, char ret_path[128])
{
    snprintf(ret_path, 128, "%.64s/%.40s", fixture_dir, name);
}

static void write_file(const char *name, const char *text)
{
    char path[128];
    path_of(name, path);
    unlink(path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
}

static bool haproxy_answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    bool answers = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return answers;
}

static void start_haproxy(void)
{
    char text[1024];
    char config[128];
    char socket_path[128];
    snprintf(
        text, sizeof text,
        "global\n  stats socket %s/haproxy.sock mode 600 level admin\n"
        "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n"
        "backend payments_db\n  server pay-east 127.0.0.1:%u\n"
        "  server pay-west 127.0.0.1:%u disabled\n",
        fixture_dir, primary.port, standby.port);
    write_file("haproxy.cfg", text);
    path_of("haproxy.cfg", config);
    path_of("haproxy.sock", socket_path);
    haproxy = fork();
    if (haproxy == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl("/usr/sbin/haproxy", "haproxy", "-q", "-db", "-f", config, (char *)NULL);
        _exit(127);
    }
    uint64_t until_ms = clock_now_ms() + FIXTURE_WAIT_MS;
    while (!haproxy_answers(socket_path) && clock_now_ms() < until_ms) {
        fixture_pause();
    }
    assert_true(haproxy_answers(socket_path));
}

/* The servers' ports are known only now; `backend` and `west` are what the route names. */
static void define(const char *backend, const char *west, const char *agent)
{
    char text[4096];
    snprintf(
        text, sizeof text,
        "cluster: shop\n"
        "sites: { east: {}, west: {} }\n"
        "nodes:\n"
        "  pay-east:\n"
        "    site: east\n"
        "    address: 127.0.0.1\n"
        "    fencing:\n"
        "      - { name: power, method: agent, agent: %s, deadline: 10s,\n"
        "          options: { status-file: %s/power } }\n"
        "      - { name: person, method: operator }\n"
        "  pay-west: { site: west, address: 127.0.0.1, fencing: [ { name: person, method: operator } ] }\n"
        "databases:\n"
        "  payments:\n"
        "    dbname: postgres\n"
        "    user: failoverd\n"
        "    password: pg\n"
        "    durability: async\n"
        "    instances:\n"
        "      pay-east: { name: east, port: %u }\n"
        "      pay-west: { name: west, port: %u }\n"
        "proxies:\n"
        "  front: { type: haproxy, runtime: %s/haproxy.sock }\n"
        "routes:\n"
        "  payments: { database: payments, proxies: [front], backend: %s,\n"
        "              servers: { pay-east: pay-east, pay-west: %s } }\n"
        "groups:\n"
        "  shop: { home: east, databases: [payments] }\n",
        agent, fixture_dir, primary.port, standby.port, fixture_dir, backend, west);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    if (definition_read(text, strlen(text), def, complaints) < 0) {
        complaints_print(stderr, "definition", complaints);
        fail();
    }
    free(complaints);
}

static void name_secret(const char *content)
{
    write_file("password", content);
    memset(local, 0, sizeof *local);
    snprintf(local->secrets[0].name, NAME_SIZE, "pg");
    path_of("password", local->secrets[0].path);
    local->secrets_len = 1;
}

static enum ctl_exit check(void)
{
    size_t len = 0;
    FILE *before = stdout;
    free(told);
    told = NULL;
    FILE *memory = open_memstream(&told, &len);
    assert_non_null(memory);
    stdout = memory;
    enum ctl_exit result = live_check(def, local);
    stdout = before;
    (void)fclose(memory);
    return result;
}

/* One line of the table has both. */
static void says(const char *target, const char *words)
{
    for (const char *at = told; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, "\n");
        char line[1024];
        snprintf(line, sizeof line, "%.*s", (int)(len < 1000 ? len : 1000), at);
        if (strstr(line, target) != NULL && strstr(line, words) != NULL) {
            return;
        }
        at += len + (at[len] == '\n' ? 1 : 0);
    }
    fail_msg("no line on \"%s\" says \"%s\":\n%s", target, words, told);
}

static int set_up(void **state)
{
    (void)state;
    def = calloc(1, sizeof *def);
    local = calloc(1, sizeof *local);
    primary_start(&primary, "east", NULL);
    standby_start(&standby, "west", &primary, NULL);
    start_haproxy();
    write_file("power", "on");
    name_secret(FIXTURE_PASSWORD "\n");
    define("payments_db", "pay-west", "fence_dummy");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    kill(haproxy, SIGKILL);
    waitpid(haproxy, NULL, 0);
    server_remove(&standby);
    server_remove(&primary);
    free(def);
    free(local);
    free(told);
    told = NULL;
    return 0;
}

static void everything_that_is_named_is_reached_and_nothing_is_switched(void **state)
{
    (void)state;
    assert_int_equal(check(), CTL_DONE);
    says("payments on pay-east", "primary on timeline 1, a write took");
    says("payments on pay-west", "standby on timeline 1, receiving WAL");
    says("payments on pay-east", "pg_monitor, pg_promote, the heartbeat table");
    says("front", "it answers");
    says("payments on front", "backend payments_db: pay-east is open");
    says("pay-east level power", "status says on");
    says("all ", "are good");
    assert_string_equal(sql(&primary, "SELECT count(*) FROM failover.heartbeat"), "1");
}

static void rights_that_are_missing_are_named(void **state)
{
    (void)state;
    sql(&primary, "REVOKE pg_monitor FROM failoverd");
    sql(&primary, "REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM failoverd");
    assert_int_equal(check(), CTL_REFUSED);
    says("payments on pay-east", "missing: pg_monitor, EXECUTE on pg_promote");
    says("payments on pay-east", "FAILED");
}

static void a_wrong_password_a_closed_port_and_a_missing_secret_are_told_apart(void **state)
{
    (void)state;
    name_secret("not this\n");
    server_stop(&standby);
    assert_int_equal(check(), CTL_REFUSED);
    says("payments on pay-east", "credentials");
    says("payments on pay-west", "refused");
    local->secrets_len = 0;
    assert_int_equal(check(), CTL_REFUSED);
    says("payments on pay-east", "pg");
}

static void names_that_the_proxy_does_not_know_are_found(void **state)
{
    (void)state;
    define("payments_db", "pay-north", "fence_dummy");
    assert_int_equal(check(), CTL_REFUSED);
    says("payments on front", "there is no server pay-north");
    define("orders_db", "pay-west", "fence_dummy");
    assert_int_equal(check(), CTL_REFUSED);
    says("payments on front", "orders_db");
    kill(haproxy, SIGKILL);
    assert_int_equal(check(), CTL_REFUSED);
    says("payments on front", "its proxy does not answer");
}

static void a_fence_agent_that_gives_no_status_fails(void **state)
{
    (void)state;
    define("payments_db", "pay-west", "fence_of_nobody");
    assert_int_equal(check(), CTL_REFUSED);
    says("pay-east level power", "FAILED");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_that_is_named_is_reached_and_nothing_is_switched),
        TEST(rights_that_are_missing_are_named),
        TEST(a_wrong_password_a_closed_port_and_a_missing_secret_are_told_apart),
        TEST(names_that_the_proxy_does_not_know_are_found),
        TEST(a_fence_agent_that_gives_no_status_fails),
    };
    return cmocka_run_group_tests(tests, fixture_start, fixture_end);
}
