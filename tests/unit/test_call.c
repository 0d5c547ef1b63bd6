/*
 * test_call.c - commands that call a person: that work, fail, are missing, and too many at once.
 */
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/clock.h"
#include "controller/notify/call.h"

#define PATIENCE_MS 20000ull

struct world {
    struct loop *loop;
    char dir[64];
    char program[128];
    const char *args[3];
    struct call *call;
    int wanted; /* results, before `enough` is set */
    int results;
    int failed;
    char last_id[CALL_ID_SIZE];
    struct err last_err;
    bool enough;
};

static const char *read_text(const struct world *world, const char *name)
{
    static char text[8192];
    char path[128];
    ssize_t n;
    int fd;

    snprintf(path, sizeof path, "%s/%s", world->dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void write_program(struct world *world, const char *body)
{
    FILE *out = fopen(world->program, "we");

    assert_non_null(out);
    fprintf(out, "#!/bin/sh\ndir=%s\n%s\n", world->dir, body);
    fclose(out);
    assert_int_equal(chmod(world->program, 0755), 0);
}

static void on_done(void *arg, const struct call_result *result)
{
    struct world *world = arg;

    world->results++;
    world->failed += result->err.code != ERR_NONE;
    world->last_err = result->err;
    snprintf(world->last_id, sizeof world->last_id, "%s", result->id);
    world->enough = world->results >= world->wanted;
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    snprintf(world->dir, sizeof world->dir, "/tmp/failover-call.XXXXXX");
    assert_non_null(mkdtemp(world->dir));
    snprintf(world->program, sizeof world->program, "%s/page", world->dir);
    world->args[0] = world->program;
    world->args[1] = "--severity=critical";
    world->loop = loop_new();
    world->call = call_new(world->loop, world->args, on_done, world);
    world->wanted = 1;
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    char command[128];

    call_free(world->call);
    loop_free(world->loop);
    snprintf(command, sizeof command, "rm -rf %s", world->dir);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static bool raise_alarm(struct world *world, const char *id)
{
    struct call_alarm alarm = {
        .id = id,
        .cluster = "shop",
        .controller = "ops1",
        .subject = "payments",
        .text = "no level could fence pay-east; \"quotes\" and a \n newline",
        .hint = "failoverctl confirm-fenced pay-east --reason TEXT",
        .since_wall_ms = 1700000000123,
    };

    return call_alarm(world->call, &alarm);
}

static void wait_for_results(struct world *world, int wanted)
{
    world->wanted = wanted;
    world->enough = world->results >= wanted;
    assert_true(loop_run_until(world->loop, &world->enough, PATIENCE_MS));
}

static void the_command_gets_the_alarm_as_json_and_is_run_once(void **state)
{
    struct world *world = *state;
    json_t *alarm;

    write_program(world, "cat > $dir/input; echo \"$@\" >> $dir/args");
    assert_true(raise_alarm(world, "fence-refused/pay-east"));
    assert_int_equal(world->results, 0); /* never from inside */
    wait_for_results(world, 1);
    assert_int_equal(world->last_err.code, ERR_NONE);
    assert_string_equal(world->last_id, "fence-refused/pay-east");
    assert_string_equal(read_text(world, "args"), "--severity=critical\n");
    alarm = json_loads(read_text(world, "input"), JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(alarm);
    assert_int_equal(json_integer_value(json_object_get(alarm, "schema")), 1);
    assert_string_equal(json_string_value(json_object_get(alarm, "alarm")),
                        "fence-refused/pay-east");
    assert_string_equal(json_string_value(json_object_get(alarm, "subject")), "payments");
    assert_string_equal(json_string_value(json_object_get(alarm, "since")),
                        "2023-11-14T22:13:20.123Z");
    assert_null(json_object_get(alarm, "incident"));
    json_decref(alarm);
}

static void a_command_that_fails_is_reported_and_not_repeated(void **state)
{
    struct world *world = *state;

    write_program(world, "echo x >> $dir/runs; echo 'no dial tone'; exit 4");
    raise_alarm(world, "a");
    wait_for_results(world, 1);
    assert_int_equal(world->last_err.code, ERR_REFUSED);
    assert_string_equal(world->last_err.text, "exited with 4: no dial tone");
    raise_alarm(world, "b");
    wait_for_results(world, 2);
    assert_string_equal(read_text(world, "runs"), "x\nx\n");
}

static void a_missing_command_is_reported(void **state)
{
    struct world *world = *state;

    raise_alarm(world, "a");
    wait_for_results(world, 1);
    assert_int_equal(world->last_err.code, ERR_SYSTEM);
    assert_non_null(strstr(world->last_err.text, "No such file"));
}

static void a_few_run_at_once_the_rest_waits_its_turn(void **state)
{
    struct world *world = *state;
    char path[128];
    bool never = false;

    /* Each notes how many run beside it, and ends when it may. */
    write_program(world, "echo x > $dir/run.$$; ls $dir/run.* | wc -l >> $dir/beside\n"
                         "while [ ! -e $dir/go ]; do sleep 0.01; done; rm $dir/run.$$");
    for (int i = 0; i < 12; i++) {
        assert_true(raise_alarm(world, "a"));
    }
    while (strlen(read_text(world, "beside")) < (size_t)2 * CALLS_RUNNING_MAX) {
        loop_run_until(world->loop, &never, 5);
    }
    assert_int_equal(world->results, 0);
    snprintf(path, sizeof path, "%s/go", world->dir);
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    wait_for_results(world, 12);
    assert_int_equal(world->failed, 0);
    for (const char *c = read_text(world, "beside"); *c != '\0'; c += 2) {
        assert_in_range(*c, '1', '0' + CALLS_RUNNING_MAX);
        assert_int_equal(c[1], '\n');
    }
}

static void too_many_are_dropped_and_counted(void **state)
{
    struct world *world = *state;

    write_program(world, "exit 0");
    for (int i = 0; i < CALLS_WAITING_MAX; i++) {
        assert_true(raise_alarm(world, "a"));
    }
    assert_false(raise_alarm(world, "late"));
    assert_int_equal(call_dropped(world->call), 1);
    wait_for_results(world, CALLS_WAITING_MAX);
    assert_true(raise_alarm(world, "b"));
    wait_for_results(world, CALLS_WAITING_MAX + 1);
    assert_string_equal(world->last_id, "b");
}

static void a_hanging_command_ends_with_its_owner(void **state)
{
    struct world *world = *state;
    bool never = false;

    write_program(world, "echo $$ > $dir/pid; exec sleep 1000");
    raise_alarm(world, "a");
    raise_alarm(world, "b");
    while (read_text(world, "pid")[0] == '\0') {
        loop_run_until(world->loop, &never, 5);
    }
    call_free(world->call); /* loop_free() in teardown asserts that nothing is left */
    world->call = NULL;
    assert_int_equal(world->results, 0);
}

static void free_it(void *arg, const struct call_result *result)
{
    struct world *world = arg;

    on_done(arg, result);
    call_free(world->call);
    world->call = NULL;
}

static void the_owner_may_go_when_a_result_arrives(void **state)
{
    struct world *world = *state;

    call_free(world->call);
    world->call = call_new(world->loop, world->args, free_it, world);
    write_program(world, "exit 0");
    for (int i = 0; i < 3; i++) {
        raise_alarm(world, "a");
    }
    wait_for_results(world, 1);
    assert_null(world->call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_command_gets_the_alarm_as_json_and_is_run_once),
        TEST(a_command_that_fails_is_reported_and_not_repeated),
        TEST(a_missing_command_is_reported),
        TEST(a_few_run_at_once_the_rest_waits_its_turn),
        TEST(too_many_are_dropped_and_counted),
        TEST(a_hanging_command_ends_with_its_owner),
        TEST(the_owner_may_go_when_a_result_arrives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
