/*
 * test_fence_ipmi.c - the real fence_ipmilan against a real (simulated) baseboard controller.
 *
 * ipmi_sim speaks RMCP+ on a loopback port; its chassis control is a script that keeps the power in
 * the file `power`, as a good device does, or only pretends to, when there is a file `lies`.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/clock.h"
#include "fence/level.h"

#define PORT        6230
#define PATIENCE_MS 15000ull

struct device {
    struct loop *loop;
    char dir[64];
    pid_t pid;
    struct fence_level_def level;
    struct fence_request request;
    struct fence_result result;
    bool done;
};

static void write_file(const struct device *device, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void write_file(const struct device *device, const char *name, const char *format, ...)
{
    char path[128];
    va_list args;
    FILE *out;

    snprintf(path, sizeof path, "%s/%s", device->dir, name);
    out = fopen(path, "we");
    assert_non_null(out);
    va_start(args, format);
    vfprintf(out, format, args);
    va_end(args);
    fclose(out);
    chmod(path, 0755);
}

static char power(const struct device *device)
{
    char path[128];
    char c = '?';
    FILE *in;

    snprintf(path, sizeof path, "%s/power", device->dir);
    in = fopen(path, "re");
    assert_non_null(in);
    if (fread(&c, 1, 1, in) != 1) {
        c = '?';
    }
    fclose(in);
    return c;
}

/* A loopback address that no other process on the machine has, so that tests can run side by side.
 */
static uint32_t own_address(void)
{
    return 0x7f400000u | ((uint32_t)getpid() & 0x3fffffu);
}

static const char *own_host(void)
{
    static char text[INET_ADDRSTRLEN];
    struct in_addr address = {htonl(own_address())};

    return inet_ntop(AF_INET, &address, text, sizeof text);
}

static void write_configuration(const struct device *device)
{
    write_file(device, "power", "1");
    write_file(device, "chassis",
               "#!/bin/sh\n"
               "dir=%s\n"
               "[ \"$1 $2\" = 'get power' ] && echo power:$(cat $dir/power)\n"
               "[ \"$1 $2\" = 'set power' ] && [ ! -e $dir/lies ] && printf %%s $3 > $dir/power\n"
               "exit 0\n",
               device->dir);
    write_file(device, "lan_program", "#!/bin/sh\nexit 0\n");
    write_file(device, "lan.conf",
               "name \"pay-east\"\n"
               "set_working_mc 0x20\n"
               "startlan 1\n"
               "  addr %s %u\n"
               "  priv_limit admin\n"
               "  allowed_auths_callback none md2 md5 straight\n"
               "  allowed_auths_user none md2 md5 straight\n"
               "  allowed_auths_operator none md2 md5 straight\n"
               "  allowed_auths_admin none md2 md5 straight\n"
               "  guid 0123456789abcdef0123456789abcdef\n"
               "  lan_config_program \"%s/lan_program\"\n"
               "endlan\n"
               "chassis_control \"%s/chassis\"\n"
               "user 1 true \"\" \"test\" user 10 none md2 md5 straight\n"
               "user 2 true \"admin\" \"secret\" admin 10 none md2 md5 straight\n",
               own_host(), PORT, device->dir, device->dir);
    write_file(device, "emu",
               "mc_setbmc 0x20\n"
               "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\n"
               "mc_enable 0x20\n");
}

static void become_device(const struct device *device, pid_t parent) __attribute__((noreturn));

static void become_device(const struct device *device, pid_t parent)
{
    int null = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(device->dir) < 0 || null < 0) {
        _exit(127);
    }
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
    execlp("ipmi_sim", "ipmi_sim", "-n", "-c", "lan.conf", "-f", "emu", "-s", "state",
           (char *)NULL);
    _exit(127);
}

/* Listening is what it takes to be asked. */
static void wait_until_it_listens(void)
{
    uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
    char wanted[32];
    bool found = false;

    /* The kernel prints the address as a number in the byte order of the machine. */
    snprintf(wanted, sizeof wanted, "%08X:%04X", htonl(own_address()), PORT);
    while (!found && clock_now_ms() < until_ms) {
        char line[512];
        FILE *in = fopen("/proc/net/udp", "re");

        assert_non_null(in);
        while (!found && fgets(line, sizeof line, in) != NULL) {
            found = strstr(line, wanted) != NULL;
        }
        fclose(in);
        usleep(5000);
    }
    assert_true(found);
}

static int setup(void **state)
{
    struct device *device = calloc(1, sizeof *device);
    pid_t parent = getpid();
    char path[128];

    assert_non_null(device);
    snprintf(device->dir, sizeof device->dir, "/tmp/failover-ipmi.XXXXXX");
    assert_non_null(mkdtemp(device->dir));
    device->loop = loop_new();
    snprintf(path, sizeof path, "%s/state", device->dir);
    assert_int_equal(mkdir(path, 0700), 0);
    write_configuration(device);
    device->pid = fork();
    if (device->pid == 0) {
        become_device(device, parent);
    }
    assert_true(device->pid > 0);
    wait_until_it_listens();
    *state = device;
    return 0;
}

static int teardown(void **state)
{
    struct device *device = *state;
    char command[128];

    kill(device->pid, SIGKILL);
    waitpid(device->pid, NULL, 0);
    loop_free(device->loop);
    snprintf(command, sizeof command, "rm -rf %s", device->dir);
    assert_int_equal(system(command), 0);
    free(device);
    return 0;
}

static void add_option(struct device *device, const char *name, const char *value,
                       const char *secret)
{
    int i = device->level.options_len++;

    snprintf(device->level.options[i].name, NAME_SIZE, "%s", name);
    snprintf(device->level.options[i].value, TEXT_SIZE, "%s", value);
    device->level.options[i].secret = secret != NULL;
    device->request.secrets[i] = secret;
}

static void on_done(void *arg, const struct fence_result *result)
{
    struct device *device = arg;

    device->result = *result;
    device->done = true;
}

static void fence(struct device *device, const char *password, uint64_t deadline_ms)
{
    char port[8];

    snprintf(port, sizeof port, "%u", PORT);
    device->level = (struct fence_level_def){.name = "power",
                                             .method = FENCE_AGENT,
                                             .program = "fence_ipmilan",
                                             .deadline_ms = (uint32_t)deadline_ms};
    device->request =
        (struct fence_request){.level = &device->level, .context = {.node = "pay-east"}};
    add_option(device, "ip", own_host(), NULL);
    add_option(device, "ipport", port, NULL);
    add_option(device, "username", "admin", NULL);
    add_option(device, "password", "ipmi", password);
    add_option(device, "lanplus", "1", NULL);
    add_option(device, "cipher", "3", NULL);
    add_option(device, "power_wait", "0", NULL);
    add_option(device, "login_timeout", "3", NULL);
    add_option(device, "power_timeout", "3", NULL);
    assert_int_equal(fence_level_check(&device->level, NULL), 0);
    fence_start(device->loop, &device->request, on_done, device);
    assert_true(loop_run_until(device->loop, &device->done, 4 * PATIENCE_MS));
}

static void expect_end(const struct device *device, enum fence_end end, const char *detail)
{
    if (device->result.end != end || strstr(device->result.detail, detail) == NULL) {
        fail_msg("expected %s with '%s', got %s: %s", fence_end_names[end], detail,
                 fence_end_names[device->result.end], device->result.detail);
    }
}

static void a_real_device_switches_off_and_says_so(void **state)
{
    struct device *device = *state;

    fence(device, "secret", PATIENCE_MS);
    expect_end(device, FENCE_PROVEN, "fence_ipmilan: off succeeded, then status says off");
    assert_int_equal(power(device), '0');
}

static void a_node_that_is_off_already_is_proven_off(void **state)
{
    struct device *device = *state;

    write_file(device, "power", "0");
    fence(device, "secret", PATIENCE_MS);
    expect_end(device, FENCE_PROVEN, "status says off");
    assert_int_equal(power(device), '0');
}

static void a_device_that_ignores_off_is_no_proof(void **state)
{
    struct device *device = *state;

    write_file(device, "lies", "yes");
    fence(device, "secret", 6000);
    assert_int_not_equal(device->result.end, FENCE_PROVEN);
    assert_non_null(strstr(device->result.detail, "status says on"));
    assert_int_equal(power(device), '1');
}

static void a_wrong_password_is_no_proof_and_is_not_shown(void **state)
{
    struct device *device = *state;

    fence(device, "wrong-Password-1", 6000);
    expect_end(device, FENCE_UNKNOWN, "fence_ipmilan: off ");
    assert_null(strstr(device->result.detail, "wrong-Password-1"));
    assert_int_equal(power(device), '1');
}

static void a_device_without_power_is_unreachable_and_not_off(void **state)
{
    struct device *device = *state;

    kill(device->pid, SIGSTOP);
    assert_int_equal(waitpid(device->pid, NULL, WUNTRACED), device->pid); /* now it stands */
    fence(device, "secret", 5000);
    expect_end(device, FENCE_UNKNOWN, "fence_ipmilan: off ");
    assert_int_equal(power(device), '1');
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_real_device_switches_off_and_says_so),
        TEST(a_node_that_is_off_already_is_proven_off),
        TEST(a_device_that_ignores_off_is_no_proof),
        TEST(a_wrong_password_is_no_proof_and_is_not_shown),
        TEST(a_device_without_power_is_unreachable_and_not_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
