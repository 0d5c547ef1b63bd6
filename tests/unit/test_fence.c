/*
 * test_fence.c - one fencing level against agents and commands that lie, hang, flood, fork away and
 * refuse.
 *
 * Each agent is a shell script in a directory of its own, which notes what it was asked in the file
 * `asked`.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/clock.h"
#include "fence/level.h"

#define SECRET      "s3cret-Of-The-Device"
#define PATIENCE_MS 20000ull

struct world {
    struct loop *loop;
    char dir[64];
    struct fence_level_def level;
    struct fence_request request;
    struct fence_result result;
    bool done;
    int asked_to_act;
    int allowed; /* times that may_act says yes */
};

static char *path_of(const struct world *world, const char *name, char ret_path[256])
{
    snprintf(ret_path, 256, "%s/%s", world->dir, name);
    return ret_path;
}

/* Empty when there is no such file. */
static char *read_text(const struct world *world, const char *name)
{
    static char text[65536];
    char path[256];
    int fd = open(path_of(world, name, path), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    for (ssize_t i = 0; i < n; i++) {
        if (text[i] == '\0') { /* /proc's separator */
            text[i] = ' ';
        }
    }
    return text;
}

/* $action and $dir are set, standard input is in $dir/input. */
static void write_program(struct world *world, const char *name, const char *body)
{
    char path[256];
    FILE *out = fopen(path_of(world, name, path), "we");

    assert_non_null(out);
    fprintf(out,
            "#!/bin/sh\n"
            "dir=%s\n"
            "cat > $dir/input\n"
            "action=$(sed -n 's/^action=//p' $dir/input)\n"
            "echo \"$action\" >> $dir/asked\n"
            "%s\n",
            world->dir, body);
    fclose(out);
    assert_int_equal(chmod(path, 0755), 0);
}

static bool may_act(void *arg)
{
    struct world *world = arg;

    return world->asked_to_act++ < world->allowed;
}

static void on_done(void *arg, const struct fence_result *result)
{
    struct world *world = arg;

    assert_false(world->done); /* once */
    world->result = *result;
    world->done = true;
}

static void add_option(struct world *world, const char *name, const char *value, const char *secret)
{
    int i = world->level.options_len++;
    struct fence_option *option = &world->level.options[i];

    snprintf(option->name, sizeof option->name, "%s", name);
    snprintf(option->value, sizeof option->value, "%s", value);
    option->secret = secret != NULL;
    world->request.secrets[i] = secret;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    snprintf(world->dir, sizeof world->dir, "/tmp/failover-fence.XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    world->loop = loop_new();
    world->allowed = 1000;
    snprintf(world->level.name, sizeof world->level.name, "power");
    snprintf(world->level.program, sizeof world->level.program, "fence_fake");
    world->level.method = FENCE_AGENT;
    world->level.deadline_ms = PATIENCE_MS;
    world->request = (struct fence_request){
        .level = &world->level,
        .context = {.cluster = "shop",
                    .group = "shop",
                    .databases = {"payments", "orders"},
                    .databases_len = 2,
                    .node = "pay-east",
                    .address = "192.0.2.11",
                    .reason = "the primary is down",
                    .incident = "i-17",
                    .epoch = 4,
                    .revision = 9007199254740993},
        .may_act = may_act,
        .may_act_arg = world,
        .agents_dir = world->dir,
    };
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    char command[128];

    loop_free(world->loop);
    snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static void run(struct world *world, uint64_t deadline_ms)
{
    world->request.deadline_ms = deadline_ms;
    world->done = false;
    fence_start(world->loop, &world->request, on_done, world);
    assert_false(world->done); /* never from inside */
    assert_true(loop_run_until(world->loop, &world->done, 2 * PATIENCE_MS));
}

static void run_agent(struct world *world, uint64_t deadline_ms, const char *body)
{
    write_program(world, "fence_fake", body);
    run(world, deadline_ms);
}

static void expect_end(const struct world *world, enum fence_end end, const char *detail)
{
    if (world->result.end != end || strstr(world->result.detail, detail) == NULL) {
        fail_msg("expected %s with '%s', got %s: %s", fence_end_names[end], detail,
                 fence_end_names[world->result.end], world->result.detail);
    }
}

static void write_command(struct world *world, const char *body)
{
    static char path[256];

    world->level.method = FENCE_COMMAND;
    world->level.options_len = 0;
    snprintf(world->level.program, sizeof world->level.program, "cut-switch-port");
    write_program(world, "cut", body);
    world->request.args[0] = path_of(world, "cut", path);
    world->request.args[1] = "--port";
    world->request.args[2] = "7";
}

/* A process that ended may stay a zombie where nobody reaps orphans; it does nothing any more. */
static bool is_running(pid_t pid)
{
    char path[64];
    char text[256] = "";
    FILE *in;
    const char *state;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    in = fopen(path, "re");
    if (in == NULL) {
        return false;
    }
    if (fgets(text, sizeof text, in) == NULL) {
        text[0] = '\0';
    }
    fclose(in);
    state = strrchr(text, ')');
    return state != NULL && state[2] != 'Z' && state[2] != 'X';
}

static pid_t noted_pid(const struct world *world, const char *name)
{
    long pid = strtol(read_text(world, name), NULL, 10);

    assert_true(pid > 1);
    return (pid_t)pid;
}

static void wait_until_gone(pid_t pid)
{
    uint64_t until_ms = clock_now_ms() + PATIENCE_MS;

    while (is_running(pid) && clock_now_ms() < until_ms) {
        usleep(1000);
    }
    assert_false(is_running(pid));
}

/* ---- agents ---- */

static void off_and_a_status_that_says_off_are_proof(void **state)
{
    struct world *world = *state;

    add_option(world, "ip", "192.0.2.111", NULL);
    add_option(world, "password", "ipmi", SECRET);
    run_agent(world, PATIENCE_MS,
              "case $action in\n"
              "off) cp $dir/input $dir/off_input; echo 'Success: Powered OFF';;\n"
              "status) echo 'Status: OFF'; exit 2;;\n"
              "*) exit 1;; esac");
    expect_end(world, FENCE_PROVEN, "status says off");
    assert_int_equal(world->result.evidence, FENCE_AGENT);
    assert_true(world->result.acted);
    assert_int_equal(world->result.runs, 2);
    assert_string_equal(read_text(world, "asked"), "off\nstatus\n");
    assert_string_equal(read_text(world, "off_input"),
                        "action=off\nip=192.0.2.111\npassword=" SECRET "\n");
}

static void a_slow_device_is_asked_until_it_says_off(void **state)
{
    struct world *world = *state;

    run_agent(world, PATIENCE_MS,
              "[ $action = off ] && exit 0\n"
              "[ $(grep -c status $dir/asked) -ge 4 ] && { echo 'Status: OFF'; exit 2; }\n"
              "echo 'Status: ON'");
    expect_end(world, FENCE_PROVEN, "status says off");
    assert_string_equal(read_text(world, "asked"), "off\nstatus\nstatus\nstatus\nstatus\n");
}

static void off_that_succeeds_while_status_says_on_is_refused(void **state)
{
    struct world *world = *state;

    run_agent(world, 800, "[ $action = off ] && exit 0; echo 'Status: ON'");
    expect_end(world, FENCE_REFUSED, "off succeeded, status still says on");
    assert_true(world->result.acted);
}

/* A machine in mid power cycle says so too, and comes back. */
static void a_status_that_says_off_without_an_off_that_succeeded_is_no_proof(void **state)
{
    struct world *world = *state;

    run_agent(world, PATIENCE_MS,
              "[ $action = off ] && { echo 'Failed: session lost'; exit 1; }\n"
              "echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_UNKNOWN, "no off succeeded");
    assert_string_equal(read_text(world, "asked"), "off\nstatus\noff\nstatus\n");
}

static void off_that_fails_is_asked_again_when_status_says_off(void **state)
{
    struct world *world = *state;

    run_agent(world, PATIENCE_MS,
              "[ $action = off ] && [ $(grep -c off $dir/asked) -ge 2 ] && exit 0\n"
              "[ $action = off ] && { echo 'Failed: session lost'; exit 1; }\n"
              "echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_PROVEN, "off succeeded, then status says off");
    assert_string_equal(read_text(world, "asked"), "off\nstatus\noff\nstatus\n");
}

static void an_agent_that_refuses_makes_room_for_the_next_level(void **state)
{
    struct world *world = *state;

    run_agent(world, 10 * PATIENCE_MS,
              "[ $action = off ] && { echo 'Failed: not permitted'; exit 1; }; echo 'Status: ON'");
    expect_end(world, FENCE_REFUSED, "Failed: not permitted");
    assert_string_equal(read_text(world, "asked"),
                        "off\nstatus\nstatus\nstatus\noff\nstatus\nstatus\nstatus\n");
}

static void a_device_that_nobody_reaches_is_unknown(void **state)
{
    struct world *world = *state;

    run_agent(world, 10 * PATIENCE_MS,
              "echo 'Failed: Unable to connect/login to fencing device'; exit 1");
    expect_end(world, FENCE_UNKNOWN, "Unable to connect");
    assert_true(world->result.acted);
}

static void an_off_that_hangs_is_killed_with_all_that_it_started(void **state)
{
    struct world *world = *state;

    run_agent(world, 2000,
              "[ $action = off ] && { sleep 1000 & echo $! > $dir/pid; wait; }\n"
              "echo 'Status: ON'");
    expect_end(world, FENCE_UNKNOWN, "status says on; off gave no answer within");
    wait_until_gone(noted_pid(world, "pid"));
}

static void an_off_that_hangs_is_asked_again_when_status_says_off(void **state)
{
    struct world *world = *state;

    run_agent(world, 4000,
              "[ $action = off ] && [ $(grep -c off $dir/asked) -ge 2 ] && exit 0\n"
              "[ $action = off ] && exec sleep 1000\n"
              "echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_PROVEN, "off succeeded, then status says off");
}

static void an_off_that_always_hangs_is_not_proven_by_status(void **state)
{
    struct world *world = *state;

    run_agent(world, 2000, "[ $action = off ] && exec sleep 1000; echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_UNKNOWN, "gave no answer within");
}

static void a_status_that_hangs_is_asked_again_and_stays_unknown(void **state)
{
    struct world *world = *state;

    run_agent(world, 2500, "[ $action = off ] && exit 0; exec sleep 1000");
    expect_end(world, FENCE_UNKNOWN, "off succeeded, but status gave no answer");
    assert_string_equal(read_text(world, "asked"), "off\nstatus\nstatus\n");
}

static void a_flood_of_output_is_cut_and_proves_nothing(void **state)
{
    struct world *world = *state;

    run_agent(world, 1200,
              "[ $action = off ] && exit 0\n"
              "yes 'Status: ON of another plug' | head -c 3000000; echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_UNKNOWN, "exited with 2");
    assert_true(strlen(world->result.detail) < FENCE_DETAIL_SIZE);
}

static void an_endless_flood_ends_with_the_deadline(void **state)
{
    struct world *world = *state;

    run_agent(world, 1000, "echo $$ > $dir/pid; exec yes");
    expect_end(world, FENCE_UNKNOWN, "off gave no answer");
    wait_until_gone(noted_pid(world, "pid"));
}

static void the_exit_status_alone_is_no_proof(void **state)
{
    struct world *world = *state;

    /* What a shell's syntax error and Python without its file end with. */
    run_agent(world, 800, "[ $action = off ] && exit 0; echo 'no such file'; exit 2");
    expect_end(world, FENCE_UNKNOWN, "exited with 2: no such file");
}

static void the_words_alone_are_no_proof(void **state)
{
    struct world *world = *state;

    run_agent(world, 800, "[ $action = off ] && exit 0; echo 'Status: OFF'; exit 0");
    expect_end(world, FENCE_UNKNOWN, "exited with 0: Status: OFF");
}

static void an_agent_that_says_on_and_exits_as_if_off_proves_nothing(void **state)
{
    struct world *world = *state;

    run_agent(world, 800, "[ $action = off ] && exit 0; echo 'Status: ON'; exit 2");
    expect_end(world, FENCE_UNKNOWN, "exited with 2: Status: ON");
}

static void what_a_status_said_is_not_forgotten_when_the_next_one_hangs(void **state)
{
    struct world *world = *state;

    run_agent(world, 1500,
              "[ $action = off ] && exit 0; [ -e $0.asked ] && exec sleep 60; : >$0.asked; "
              "echo 'Status: maybe'; exit 3");
    expect_end(world, FENCE_UNKNOWN, "off succeeded, but status exited with 3: Status: maybe");
}

static void an_agent_that_says_on_and_off_proves_nothing(void **state)
{
    struct world *world = *state;

    run_agent(world, 800,
              "[ $action = off ] && exit 0; echo 'Status: ON'; echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_UNKNOWN, "off succeeded, but status exited with 2");
}

static void an_agent_that_crashes_is_unknown(void **state)
{
    struct world *world = *state;

    run_agent(world, 800, "kill -SEGV $$");
    expect_end(world, FENCE_UNKNOWN, "was ended by signal 11");
}

static void a_grandchild_that_forks_away_holds_nothing_up_and_is_ended(void **state)
{
    struct world *world = *state;

    run_agent(
        world, PATIENCE_MS,
        "[ $action = off ] && exit 0\n"
        "setsid sh -c 'echo $$ > '$dir'/pid.new; mv '$dir'/pid.new '$dir'/pid; exec sleep 60' &\n"
        "while [ ! -s $dir/pid ]; do sleep 0.01; done\n"
        "echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_PROVEN, "status says off");
    wait_until_gone(noted_pid(world, "pid"));
}

static void a_missing_agent_is_refused_and_nothing_was_done(void **state)
{
    struct world *world = *state;

    snprintf(world->level.program, sizeof world->level.program, "fence_nowhere");
    run(world, PATIENCE_MS);
    expect_end(world, FENCE_REFUSED, "No such file");
    assert_false(world->result.acted);
}

static void secrets_stand_in_no_argument_and_no_environment(void **state)
{
    struct world *world = *state;

    add_option(world, "password", "ipmi", SECRET);
    run_agent(
        world, PATIENCE_MS,
        "for p in $$ $PPID; do cat /proc/$p/cmdline /proc/$p/environ; echo; done >> $dir/seen\n"
        "[ $action = off ] && exit 0; echo 'Status: OFF'; exit 2");
    expect_end(world, FENCE_PROVEN, "");
    assert_non_null(strstr(read_text(world, "seen"), "fence_fake"));
    assert_null(strstr(read_text(world, "seen"), SECRET));
    assert_non_null(strstr(read_text(world, "input"), "password=" SECRET));
}

static void a_secret_that_the_agent_prints_is_not_passed_on(void **state)
{
    struct world *world = *state;

    add_option(world, "password", "ipmi", SECRET);
    run_agent(world, PATIENCE_MS,
              "echo 'Parse error: Ignoring unknown option password=" SECRET " twice " SECRET
              "'; exit 1");
    expect_end(world, FENCE_UNKNOWN, "password=*** twice ***");
    assert_null(strstr(world->result.detail, "s3cret"));
}

static void control_characters_of_an_agent_are_not_passed_on(void **state)
{
    struct world *world = *state;

    run_agent(world, PATIENCE_MS, "printf 'a\\033[2Jb\\377c\\000d\\n'; exit 1");
    expect_end(world, FENCE_UNKNOWN, "a?[2Jb?c d");
}

static void a_secret_with_blanks_reaches_the_agent_whole(void **state)
{
    struct world *world = *state;

    add_option(world, "password", "ipmi", " two words ");
    run_agent(world, PATIENCE_MS, "[ $action = off ] && exit 0; echo 'Status: OFF'; exit 2");
    assert_non_null(strstr(read_text(world, "input"), "password=\" two words \"\n"));
}

static void a_secret_of_two_lines_is_refused(void **state)
{
    struct world *world = *state;

    add_option(world, "password", "ipmi", "x\naction=on");
    run_agent(world, PATIENCE_MS, "exit 0");
    expect_end(world, FENCE_REFUSED, "the secret 'ipmi' for option 'password'");
    assert_string_equal(read_text(world, "asked"), "");
}

static void a_missing_secret_is_refused(void **state)
{
    struct world *world = *state;

    add_option(world, "password", "ipmi", "x");
    world->request.secrets[0] = NULL;
    run_agent(world, PATIENCE_MS, "exit 0");
    expect_end(world, FENCE_REFUSED, "the secret 'ipmi' for option 'password' is missing");
    assert_false(world->result.acted);
}

/* G8: whoever lost the right to act in between sends no late command. */
static void without_leave_nothing_is_started(void **state)
{
    struct world *world = *state;

    world->allowed = 0;
    run_agent(world, PATIENCE_MS, "exit 0");
    expect_end(world, FENCE_REFUSED, "may not act any more");
    assert_false(world->result.acted);
    assert_string_equal(read_text(world, "asked"), "");
}

static void leave_is_asked_for_again_before_off_is_repeated(void **state)
{
    struct world *world = *state;

    world->allowed = 1;
    run_agent(world, PATIENCE_MS, "exit 1");
    expect_end(world, FENCE_UNKNOWN, "may not act any more");
    assert_int_equal(world->asked_to_act, 2);
    assert_string_equal(read_text(world, "asked"), "off\nstatus\nstatus\nstatus\n");
}

/* G9: nothing that takes what was not found for what is off. */
static void a_level_that_was_made_worse_since_its_check_is_refused(void **state)
{
    struct world *world = *state;

    add_option(world, "missing_as_off", "1", NULL);
    run_agent(world, PATIENCE_MS, "exit 0");
    expect_end(world, FENCE_REFUSED, "option 'missing_as_off' is not allowed");
    assert_string_equal(read_text(world, "asked"), "");
}

static void a_cancelled_fence_kills_its_agent_and_stays_silent(void **state)
{
    struct world *world = *state;
    struct fence_op *op;
    bool never = false;
    char path[256];

    write_program(world, "fence_fake", "echo $$ > $dir/pid; exec sleep 1000");
    op = fence_start(world->loop, &world->request, on_done, world);
    while (access(path_of(world, "pid", path), F_OK) != 0 || read_text(world, "pid")[0] == '\0') {
        loop_run_until(world->loop, &never, 5);
    }
    fence_cancel(op);
    wait_until_gone(noted_pid(world, "pid"));
    assert_false(world->done);
}

/* ---- commands ---- */

static void a_command_that_exits_with_0_is_proof_of_its_own_kind(void **state)
{
    struct world *world = *state;
    json_t *context;

    write_command(world, "echo \"$@\" > $dir/args; echo 'port 7 is down'");
    run(world, PATIENCE_MS);
    expect_end(world, FENCE_PROVEN, "exited with 0: port 7 is down");
    assert_int_equal(world->result.evidence, FENCE_COMMAND);
    assert_string_equal(read_text(world, "args"), "--port 7\n");
    context = json_loads(read_text(world, "input"), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(context);
    assert_int_equal(json_integer_value(json_object_get(context, "schema")), 1);
    assert_string_equal(json_string_value(json_object_get(context, "node")), "pay-east");
    assert_string_equal(json_string_value(json_object_get(context, "address")), "192.0.2.11");
    assert_string_equal(json_string_value(json_object_get(context, "incident")), "i-17");
    assert_int_equal(json_array_size(json_object_get(context, "databases")), 2);
    assert_true(json_integer_value(json_object_get(json_object_get(context, "permit"),
                                                   "revision")) == 9007199254740993);
    json_decref(context);
}

static void a_command_that_fails_is_refused_with_its_first_line(void **state)
{
    struct world *world = *state;

    write_command(world, "echo; echo '  switch says no  '; echo more; exit 3");
    run(world, PATIENCE_MS);
    expect_end(world, FENCE_REFUSED, "exited with 3: switch says no");
    assert_null(strstr(world->result.detail, "more"));
}

static void a_command_that_hangs_is_killed_and_unknown(void **state)
{
    struct world *world = *state;

    write_command(world, "echo trying; sleep 1000 & echo $! > $dir/pid; wait");
    run(world, 700);
    expect_end(world, FENCE_UNKNOWN, "was killed at its deadline; it said: trying");
    wait_until_gone(noted_pid(world, "pid"));
}

static void a_command_that_is_not_there_is_refused(void **state)
{
    struct world *world = *state;

    write_command(world, "exit 0");
    world->request.args[0] = "/nonexistent/cut";
    run(world, PATIENCE_MS);
    expect_end(world, FENCE_REFUSED, "No such file");
    assert_false(world->result.acted);
    world->request.args[0] = NULL;
    run(world, PATIENCE_MS);
    expect_end(world, FENCE_REFUSED, "local.yaml has no command cut-switch-port");
}

static void a_command_without_leave_is_not_started(void **state)
{
    struct world *world = *state;

    write_command(world, "exit 0");
    world->allowed = 0;
    run(world, PATIENCE_MS);
    expect_end(world, FENCE_REFUSED, "may not act any more");
    assert_string_equal(read_text(world, "asked"), "");
}

/* ---- the check ---- */

static void expect_refused(struct world *world, const char *name, const char *value, bool secret,
                           const char *why)
{
    struct err err = {0};

    world->level.options_len = 0;
    add_option(world, name, value, secret ? "x" : NULL);
    if (fence_level_check(&world->level, &err) == 0 || strstr(err.text, why) == NULL) {
        fail_msg("option %s=%s: expected '%s', got '%s'", name, value, why, err.text);
    }
    assert_int_equal(err.code, ERR_INVALID);
}

static void options_that_turn_off_into_something_else_are_refused(void **state)
{
    struct world *world = *state;

    expect_refused(world, "action", "reboot", false, "the driver asks for off");
    expect_refused(world, "option", "on", false, "the driver asks for off");
    expect_refused(world, "method", "cycle", false, "only off proves anything");
    expect_refused(world, "method", "onoff", false, "only off proves anything");
    expect_refused(world, "missing_as_off", "1", false, "not a node that is off");
    expect_refused(world, "missing-as-off", "1", false, "not a node that is off");
    expect_refused(world, "delay", "10", false, "order the levels");
    expect_refused(world, "debug_file", "/tmp/x", false, "writes passwords");
    expect_refused(world, "password_script", "/tmp/x", false, "may not choose programs");
    expect_refused(world, "ipmitool_path", "/tmp/x", true, "may not choose programs");
    expect_refused(world, "password", "clear", false, "looks like a secret");
    expect_refused(world, "snmp_priv_passwd", "clear", false, "looks like a secret");
    expect_refused(world, "ip", "a\naction=on", false, "control character");
    expect_refused(world, "ip=x\naction", "on", false, "is made of");
    expect_refused(world, "", "on", false, "is made of");
}

static void levels_that_could_never_prove_anything_are_refused(void **state)
{
    struct world *world = *state;
    static const char *const names[] = {"", "ipmilan", "fence_../../bin/sh", "/usr/sbin/fence_x"};
    struct err err;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(world->level.program, sizeof world->level.program, "%s", names[i]);
        assert_int_equal(fence_level_check(&world->level, &err), -1);
        assert_non_null(strstr(err.text, "a fence agent's name"));
    }
    snprintf(world->level.program, sizeof world->level.program, "fence_ipmilan");
    add_option(world, "ip", "192.0.2.1", NULL);
    add_option(world, "ip", "192.0.2.2", NULL);
    assert_int_equal(fence_level_check(&world->level, &err), -1);
    assert_non_null(strstr(err.text, "given twice"));
    world->level.options_len = 1;
    assert_int_equal(fence_level_check(&world->level, &err), 0);
    world->level.method = FENCE_OPERATOR;
    assert_int_equal(fence_level_check(&world->level, &err), -1);
    assert_non_null(strstr(err.text, "takes no options"));
    world->level.options_len = 0;
    assert_int_equal(fence_level_check(&world->level, &err), 0);
}

/* ---- status alone ---- */

static void on_status(void *arg, const struct fence_status *status)
{
    struct world *world = arg;

    assert_false(world->done);
    world->result.end = status->answered ? FENCE_PROVEN : FENCE_UNKNOWN;
    world->result.acted = status->on;
    snprintf(world->result.detail, sizeof world->result.detail, "%s", status->detail);
    world->done = true;
}

/* answered, on */
static void ask_status_of(struct world *world, const char *body, bool answered, bool on)
{
    world->done = false;
    write_program(world, "fence_fake", body);
    fence_status_start(world->loop, &world->request, on_status, world);
    assert_true(loop_run_until(world->loop, &world->done, PATIENCE_MS));
    assert_int_equal(world->result.end, answered ? FENCE_PROVEN : FENCE_UNKNOWN);
    assert_int_equal(world->result.acted, on);
}

static void a_question_for_the_status_switches_nothing(void **state)
{
    struct world *world = *state;

    ask_status_of(world, "echo 'Status: ON'; exit 0", true, true);
    ask_status_of(world, "echo 'Status: OFF'; exit 2", true, false);
    ask_status_of(world, "echo 'Failed: unable to log in' >&2; exit 1", false, false);
    assert_non_null(strstr(world->result.detail, "unable to log in"));
    assert_string_equal(read_text(world, "asked"), "status\nstatus\nstatus\n");
    assert_int_equal(world->asked_to_act, 0);
    world->level.deadline_ms = 300;
    ask_status_of(world, "sleep 60", false, false);
    assert_non_null(strstr(world->result.detail, "gave no answer"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(off_and_a_status_that_says_off_are_proof),
        TEST(a_slow_device_is_asked_until_it_says_off),
        TEST(off_that_succeeds_while_status_says_on_is_refused),
        TEST(a_status_that_says_off_without_an_off_that_succeeded_is_no_proof),
        TEST(off_that_fails_is_asked_again_when_status_says_off),
        TEST(an_agent_that_refuses_makes_room_for_the_next_level),
        TEST(a_device_that_nobody_reaches_is_unknown),
        TEST(an_off_that_hangs_is_killed_with_all_that_it_started),
        TEST(an_off_that_hangs_is_asked_again_when_status_says_off),
        TEST(an_off_that_always_hangs_is_not_proven_by_status),
        TEST(a_status_that_hangs_is_asked_again_and_stays_unknown),
        TEST(a_flood_of_output_is_cut_and_proves_nothing),
        TEST(an_endless_flood_ends_with_the_deadline),
        TEST(the_exit_status_alone_is_no_proof),
        TEST(the_words_alone_are_no_proof),
        TEST(an_agent_that_says_on_and_exits_as_if_off_proves_nothing),
        TEST(what_a_status_said_is_not_forgotten_when_the_next_one_hangs),
        TEST(an_agent_that_says_on_and_off_proves_nothing),
        TEST(an_agent_that_crashes_is_unknown),
        TEST(a_grandchild_that_forks_away_holds_nothing_up_and_is_ended),
        TEST(a_missing_agent_is_refused_and_nothing_was_done),
        TEST(secrets_stand_in_no_argument_and_no_environment),
        TEST(a_secret_that_the_agent_prints_is_not_passed_on),
        TEST(control_characters_of_an_agent_are_not_passed_on),
        TEST(a_secret_with_blanks_reaches_the_agent_whole),
        TEST(a_secret_of_two_lines_is_refused),
        TEST(a_missing_secret_is_refused),
        TEST(without_leave_nothing_is_started),
        TEST(leave_is_asked_for_again_before_off_is_repeated),
        TEST(a_level_that_was_made_worse_since_its_check_is_refused),
        TEST(a_cancelled_fence_kills_its_agent_and_stays_silent),
        TEST(a_command_that_exits_with_0_is_proof_of_its_own_kind),
        TEST(a_command_that_fails_is_refused_with_its_first_line),
        TEST(a_command_that_hangs_is_killed_and_unknown),
        TEST(a_command_that_is_not_there_is_refused),
        TEST(a_command_without_leave_is_not_started),
        TEST(options_that_turn_off_into_something_else_are_refused),
        TEST(levels_that_could_never_prove_anything_are_refused),
        TEST(a_question_for_the_status_switches_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
