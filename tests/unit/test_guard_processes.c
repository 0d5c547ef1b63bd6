/* The proof that nothing of an instance is left: what cannot be looked at is not gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fence/guard/processes.h"

static char dir[64], data[96];
static struct processes processes; /* without a cgroup: /proc and shared memory are looked at */

static int make_world(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/test_processes.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(data, sizeof data, "%s/data", dir);
    assert_int_equal(mkdir(data, 0700), 0);
    memset(&processes, 0, sizeof processes);
    snprintf(processes.data_dir, sizeof processes.data_dir, "%s", data);
    return 0;
}

static int remove_world(void **state)
{
    (void)state;
    char command[160];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command); /* a path that mkdtemp() made */
}

static bool gone(const char *words)
{
    char left[160];
    bool answer = processes_are_gone(&processes, left, sizeof left);
    if (!answer && strstr(left, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", left, words);
    }
    return answer;
}

static void nobody_in_the_directory_is_gone(void **state)
{
    (void)state;
    assert_true(gone(""));
}

static void a_directory_that_cannot_be_looked_at_proves_nothing(void **state)
{
    (void)state;
    assert_int_equal(rmdir(data), 0);
    assert_false(gone("cannot be seen"));
}

static void a_cgroup_that_cannot_be_read_proves_nothing(void **state)
{
    (void)state;
    snprintf(processes.cgroup, sizeof processes.cgroup, "%s/no-cgroup", dir);
    assert_false(gone("its cgroup cannot be read"));
}

static void a_postmaster_file_that_cannot_be_read_proves_nothing(void **state)
{
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/postmaster.pid", data);
    assert_int_equal(mkdir(path, 0700), 0); /* read() says EISDIR */
    assert_false(gone("shared memory cannot be looked at"));
}

/* Whoever is called postgres and stands there, wherever it was started from (failures.md G11). */
static void a_postgres_that_stands_in_it_is_not_gone(void **state)
{
    (void)state;
    char program[128], command[300];
    snprintf(program, sizeof program, "%s/postgres", dir);
    snprintf(command, sizeof command, "cp /bin/sleep %s", program);
    assert_int_equal(system(command), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(data) == 0) {
            execl(program, program, "60", (char *)NULL);
        }
        _exit(127);
    }
    assert_true(pid > 0);
    bool seen = false;
    for (int i = 0; i < 2000 && !seen; i++) { /* until it has executed */
        char left[160];
        seen = !processes_are_gone(&processes, left, sizeof left);
        usleep(1000);
    }
    assert_true(seen);
    assert_false(gone("stand in its data directory"));
    processes_kill(&processes);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(gone(""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_world, remove_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nobody_in_the_directory_is_gone),
        TEST(a_directory_that_cannot_be_looked_at_proves_nothing),
        TEST(a_cgroup_that_cannot_be_read_proves_nothing),
        TEST(a_postmaster_file_that_cannot_be_read_proves_nothing),
        TEST(a_postgres_that_stands_in_it_is_not_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
