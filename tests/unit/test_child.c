/* Child processes: how they end, what they may leave behind, what they are given. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/base/child.h"
#include "controller/base/clock.h"

#define WITHIN_MS UINT64_C(20000)

struct outcome {
    char text[ERR_TEXT_MAX];
    char output[4096];
    size_t output_len;
    uint64_t took_ms;
    enum err_code code;
    int calls;
    int exit_status;
    int signal;
    bool done;
    bool output_cut;
};

static struct loop *loop;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    loop = loop_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    /* No test leaves a process behind; orphans that were killed come to us and are reaped. */
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    while (waitpid(-1, NULL, WNOHANG) >= 0 && clock_now_ms() < until_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

static void keep(void *arg, const struct child_result *result)
{
    struct outcome *outcome = arg;
    outcome->done = true;
    outcome->calls++;
    outcome->code = result->err.code;
    memcpy(outcome->text, result->err.text, sizeof outcome->text);
    outcome->exit_status = result->exit_status;
    outcome->signal = result->signal;
    assert_int_equal(strlen(result->output), result->output_len);
    outcome->output_len = result->output_len;
    strncpy(outcome->output, result->output, sizeof outcome->output - 1);
    outcome->output_cut = result->output_cut;
    outcome->took_ms = result->took_ms;
}

static struct outcome run(struct child_request request)
{
    struct outcome outcome = {0};
    if (request.deadline_ms == 0) {
        request.deadline_ms = WITHIN_MS;
    }
    child_start(loop, &request, keep, &outcome);
    assert_false(outcome.done);
    assert_true(loop_run_until(loop, &outcome.done, 2 * WITHIN_MS));
    assert_int_equal(outcome.calls, 1);
    return outcome;
}

static struct outcome run_shell(const char *script)
{
    return run((struct child_request){.args = {"/bin/sh", "-c", script}});
}

/* It was killed, not merely left: we are the reaper of orphans here. */
static void reap_orphan(pid_t pid)
{
    int status;
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    pid_t reaped;
    while ((reaped = waitpid(pid, &status, WNOHANG)) == 0 && clock_now_ms() < until_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(reaped, pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void the_exit_status_and_both_outputs_are_reported(void **state)
{
    (void)state;
    struct outcome outcome = run_shell("echo out; echo err >&2; exit 7");
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.exit_status, 7);
    assert_int_equal(outcome.signal, 0);
    assert_string_equal(outcome.output, "out\nerr\n");
    assert_false(outcome.output_cut);
}

static void a_program_that_a_signal_ends_has_no_exit_status(void **state)
{
    (void)state;
    struct outcome outcome = run_shell("kill -TERM $$");
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.exit_status, -1);
    assert_int_equal(outcome.signal, SIGTERM);
}

static void a_program_that_hangs_is_killed_with_its_whole_group(void **state)
{
    (void)state;
    struct outcome outcome = run((struct child_request){
        .args = {"/bin/sh", "-c", "sleep 600 & echo $!; wait"}, .deadline_ms = 300});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    assert_int_equal(outcome.exit_status, -1);
    assert_int_equal(outcome.signal, SIGKILL);
    assert_true(outcome.took_ms >= 300);
    reap_orphan((pid_t)atoi(outcome.output));
}

static void one_that_ignores_every_signal_it_can_is_killed_too(void **state)
{
    (void)state;
    struct outcome outcome = run((struct child_request){
        .args = {"/bin/sh", "-c", "trap '' TERM INT HUP PIPE; while :; do sleep 0.05; done"},
        .deadline_ms = 200});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    assert_int_equal(outcome.signal, SIGKILL);
}

static void a_grandchild_that_holds_the_pipe_does_not_hold_the_answer(void **state)
{
    (void)state;
    /* The deadline is far: only the end of the shell itself can bring the answer in time. */
    struct outcome outcome = {0};
    child_start(loop,
                &(struct child_request){.args = {"/bin/sh", "-c", "sleep 600 & echo $!"},
                                        .deadline_ms = 600000},
                keep, &outcome);
    assert_true(loop_run_until(loop, &outcome.done, WITHIN_MS));
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.exit_status, 0);
    assert_false(outcome.output_cut);
    reap_orphan((pid_t)atoi(outcome.output));
}

static pid_t run_and_fork_away(const char *script, bool end_strays)
{
    struct outcome outcome =
        run((struct child_request){.args = {"/bin/sh", "-c", script}, .end_strays = end_strays});
    assert_int_equal(outcome.code, ERR_NONE);
    pid_t pid = (pid_t)atoi(outcome.output);
    assert_true(pid > 0);
    return pid;
}

static void a_grandchild_in_another_session_is_ended_by_its_mark(void **state)
{
    (void)state;
    reap_orphan(run_and_fork_away("setsid sh -c 'echo $$; exec sleep 600' & sleep 0.5", true));
}

static void a_chain_that_forks_away_step_by_step_is_ended(void **state)
{
    (void)state;
    /* Each of them leaves its parent, its session and its group behind. */
    reap_orphan(run_and_fork_away(
        "setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 600\" & exit 0' & sleep 0.5", true));
}

static void a_grandchild_in_another_session_is_left_where_nobody_minds(void **state)
{
    (void)state;
    pid_t pid = run_and_fork_away("setsid sh -c 'echo $$; exec sleep 600' & sleep 0.5", false);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), 0); /* it is alive */
    assert_int_equal(kill(pid, SIGKILL), 0);
    reap_orphan(pid);
}

static void another_childs_processes_are_left_alone(void **state)
{
    (void)state;
    struct outcome other = {0};
    struct child *running =
        child_start(loop,
                    &(struct child_request){.args = {"/bin/sh", "-c", "sleep 600; echo done"},
                                            .deadline_ms = 600000},
                    keep, &other);
    struct outcome outcome = run((struct child_request){.args = {"/bin/true"}, .end_strays = true});
    assert_int_equal(outcome.exit_status, 0);
    bool never = false;
    loop_run_until(loop, &never, 50);
    assert_false(other.done);
    child_cancel(running);
}

static void a_flood_of_output_is_cut_at_the_limit(void **state)
{
    (void)state;
    struct outcome outcome = run((struct child_request){
        .args = {"/bin/sh", "-c", "yes 0123456789 | head -c 20000000; echo >&2 $?; exit 3"},
        .output_limit = 1000});
    assert_int_equal(outcome.code, ERR_NONE);
    assert_int_equal(outcome.exit_status, 3); /* it was read on: nothing blocked the writer */
    assert_int_equal(outcome.output_len, 1000);
    assert_true(outcome.output_cut);
    assert_memory_equal(outcome.output, "0123456789\n0123456789\n", 22);
}

static void output_of_exactly_the_limit_is_not_cut(void **state)
{
    (void)state;
    struct outcome outcome = run(
        (struct child_request){.args = {"/bin/sh", "-c", "printf 01234567"}, .output_limit = 8});
    assert_string_equal(outcome.output, "01234567");
    assert_false(outcome.output_cut);
}

static void an_endless_flood_ends_at_the_deadline(void **state)
{
    (void)state;
    struct outcome outcome =
        run((struct child_request){.args = {"/usr/bin/yes"}, .deadline_ms = 200});
    assert_int_equal(outcome.code, ERR_TIMEOUT);
    assert_int_equal(outcome.output_len, 64u << 10);
    assert_true(outcome.output_cut);
}

static void standard_input_comes_whole_and_ends(void **state)
{
    (void)state;
    static char input[300000];
    memset(input, 'x', sizeof input);
    struct outcome outcome = run((struct child_request){
        .args = {"/usr/bin/wc", "-c"}, .input = input, .input_len = sizeof input});
    assert_int_equal(outcome.exit_status, 0);
    assert_string_equal(outcome.output, "300000\n");
}

static void without_input_standard_input_is_at_its_end(void **state)
{
    (void)state;
    struct outcome outcome = run((struct child_request){.args = {"/bin/cat"}});
    assert_int_equal(outcome.exit_status, 0);
    assert_int_equal(outcome.output_len, 0);
}

static void a_program_that_is_not_there_is_reported_from_the_loop(void **state)
{
    (void)state;
    struct outcome outcome = run((struct child_request){.args = {"/nowhere/fence_nothing"}});
    assert_int_equal(outcome.code, ERR_SYSTEM);
    assert_non_null(strstr(outcome.text, strerror(ENOENT)));
    assert_int_equal(outcome.exit_status, -1);
    assert_int_equal(outcome.signal, 0);
}

static void a_path_that_is_not_absolute_is_not_searched_for(void **state)
{
    (void)state;
    struct outcome outcome = run((struct child_request){.args = {"sh", "-c", "exit 0"}});
    assert_int_equal(outcome.code, ERR_SYSTEM);
    assert_non_null(strstr(outcome.text, "absolute"));
}

static void a_canceled_child_is_killed_and_calls_nobody(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    struct outcome other = {0};
    struct child_request request = {.args = {"/bin/sh", "-c", "sleep 600 & echo $! >&2; wait"},
                                    .deadline_ms = 600000};
    struct child *child = child_start(loop, &request, keep, &outcome);
    child_cancel(child);
    child = child_start(loop, &request, keep, &outcome);
    child_start(loop, &(struct child_request){.args = {"/bin/true"}, .deadline_ms = WITHIN_MS},
                keep, &other);
    assert_true(loop_run_until(loop, &other.done, WITHIN_MS));
    child_cancel(child);
    child_cancel(child_start(loop, &(struct child_request){.args = {"/none"}, .deadline_ms = 1},
                             keep, &outcome));
    loop_free(loop); /* waits until they were reaped */
    assert_int_equal(outcome.calls, 0);
    loop = loop_new();
}

static void cancel_from(void *arg, const struct child_result *result)
{
    (void)result;
    struct child **child = arg;
    child_cancel(*child);
    *child = NULL;
}

static void one_child_may_be_canceled_from_the_end_of_another(void **state)
{
    (void)state;
    struct outcome outcome = {0};
    struct child *slow = child_start(
        loop, &(struct child_request){.args = {"/bin/sleep", "600"}, .deadline_ms = 600000}, keep,
        &outcome);
    child_start(loop, &(struct child_request){.args = {"/bin/true"}, .deadline_ms = WITHIN_MS},
                cancel_from, &slow);
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    bool never = false;
    while (slow != NULL && clock_now_ms() < until_ms) {
        loop_run_until(loop, &never, 1);
    }
    assert_null(slow);
    assert_false(outcome.done);
}

static void the_environment_is_only_what_was_asked_for(void **state)
{
    (void)state;
    setenv("FAILOVER_SECRET", "1", 1);
    struct outcome outcome = run((struct child_request){.args = {"/usr/bin/env"}, .env = {"A=b"}});
    unsetenv("FAILOVER_SECRET");
    char *mark = strstr(outcome.output, "FAILOVER_CHILD=");
    assert_non_null(mark);
    char *after = strchr(mark, '\n') + 1;
    memmove(mark, after, strlen(after) + 1);
    assert_string_equal(
        outcome.output,
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLANG=C\nA=b\n");
}

static void it_has_no_other_descriptors_no_ignored_signals_and_its_own_session(void **state)
{
    (void)state;
    int leaked = dup(STDIN_FILENO); /* without O_CLOEXEC */
    struct outcome outcome = run_shell("for fd in /proc/$$/fd/*; do echo ${fd##*/}; done; pwd");
    close(leaked);
    /* 3, where the shell has it, is its own, for reading the directory. */
    if (strcmp(outcome.output, "0\n1\n2\n3\n/\n") != 0) {
        assert_string_equal(outcome.output, "0\n1\n2\n/\n");
    }
    outcome = run(
        (struct child_request){.args = {"/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}});
    assert_string_equal(outcome.output, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    outcome = run_shell("read pid name st ppid pgrp sid rest < /proc/$$/stat; test $pid = $pgrp "
                        "&& test $pid = $sid");
    assert_int_equal(outcome.exit_status, 0);
}

static void a_child_dies_with_its_parent(void **state)
{
    (void)state;
    int says[2];
    assert_int_equal(pipe(says), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct loop *own = loop_new();
        char script[64];
        snprintf(script, sizeof script, "echo $$ > /proc/%d/fd/%d; exec sleep 600", getpid(),
                 says[1]);
        bool never = false;
        child_start(
            own, &(struct child_request){.args = {"/bin/sh", "-c", script}, .deadline_ms = 600000},
            keep, &(struct outcome){0});
        loop_run_until(own, &never, 600000);
        _exit(1);
    }
    char number[32] = "";
    assert_true(read(says[0], number, sizeof number - 1) > 0);
    close(says[0]);
    close(says[1]);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    reap_orphan((pid_t)atoi(number));
}

static void signals_come_to_the_parent_as_before(void **state)
{
    (void)state;
    sigset_t before;
    sigset_t after;
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
    run_shell("exit 0");
    run((struct child_request){.args = {"/nowhere"}});
    sigset_t none;
    sigemptyset(&none);
    assert_int_equal(sigprocmask(SIG_SETMASK, &none, &after), 0);
    for (int number = 1; number < NSIG; number++) {
        assert_int_equal(sigismember(&before, number), sigismember(&after, number));
    }
}

static void many_children_at_once_are_all_reaped(void **state)
{
    (void)state;
    enum { MANY = 40 };
    static struct outcome outcomes[MANY];
    memset(outcomes, 0, sizeof outcomes);
    for (int i = 0; i < MANY; i++) {
        char script[32];
        snprintf(script, sizeof script, "exit %d", i);
        child_start(
            loop,
            &(struct child_request){.args = {"/bin/sh", "-c", script}, .deadline_ms = WITHIN_MS},
            keep, &outcomes[i]);
    }
    for (int i = 0; i < MANY; i++) {
        assert_true(loop_run_until(loop, &outcomes[i].done, WITHIN_MS));
        assert_int_equal(outcomes[i].exit_status, i);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_exit_status_and_both_outputs_are_reported),
        TEST(a_program_that_a_signal_ends_has_no_exit_status),
        TEST(a_program_that_hangs_is_killed_with_its_whole_group),
        TEST(one_that_ignores_every_signal_it_can_is_killed_too),
        TEST(a_grandchild_that_holds_the_pipe_does_not_hold_the_answer),
        TEST(a_grandchild_in_another_session_is_ended_by_its_mark),
        TEST(a_grandchild_in_another_session_is_left_where_nobody_minds),
        TEST(a_chain_that_forks_away_step_by_step_is_ended),
        TEST(another_childs_processes_are_left_alone),
        TEST(a_flood_of_output_is_cut_at_the_limit),
        TEST(output_of_exactly_the_limit_is_not_cut),
        TEST(an_endless_flood_ends_at_the_deadline),
        TEST(standard_input_comes_whole_and_ends),
        TEST(without_input_standard_input_is_at_its_end),
        TEST(a_program_that_is_not_there_is_reported_from_the_loop),
        TEST(a_path_that_is_not_absolute_is_not_searched_for),
        TEST(a_canceled_child_is_killed_and_calls_nobody),
        TEST(one_child_may_be_canceled_from_the_end_of_another),
        TEST(the_environment_is_only_what_was_asked_for),
        TEST(it_has_no_other_descriptors_no_ignored_signals_and_its_own_session),
        TEST(a_child_dies_with_its_parent),
        TEST(signals_come_to_the_parent_as_before),
        TEST(many_children_at_once_are_all_reaped),
    };
    return cmocka_run_group_tests_name("child", tests, NULL, NULL);
}
