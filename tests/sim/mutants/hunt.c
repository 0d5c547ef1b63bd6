/*
 * hunt - looks for a bad day on which a deliberate bug shows (tests/sim/mutants/run links it with
 * the simulator and one changed source file).
 *
 *   hunt [--plan 'LINE'] [--from SEED] [--seconds S] [--shrink]
 *
 * First the warm-up and a day without a fault, for each variant of the cluster: a bug that these
 * show is no bug that the simulator is needed for. Then the list of faults, then seeds, until one
 * breaks an oracle or the processor's time is over; --shrink leaves out each fault that the bug
 * does not need.
 *
 * One line, and the exit status: "warm-up WORDS" (2), "killed SECONDS BY WORDS" and a second line
 * with the list of faults (1), "survived SECONDS SEEDS" (0). An assertion of the cores, a crash and
 * a schedule that does not end count as broken.
 */
#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "tests/sim/sim.h"

#define TEXT_MAX    4096
#define LONGEST_S   20 /* of the processor's time, for one schedule */
#define UNFAULTED_S 20 /* of the world's time */

static sigjmp_buf back;
static char ended_by[160];

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* Instead of the C library's: the next schedule begins from a copy, so nothing is left of this one.
 */
void __assert_fail(const char *what, const char *file, unsigned line, const char *function)
{
    (void)line;
    const char *name = strrchr(file, '/');
    snprintf(ended_by, sizeof ended_by, "assertion: %.90s (%s, %s)", what,
             name == NULL ? file : name + 1, function);
    siglongjmp(back, 1);
}

static volatile sig_atomic_t ended_at;

static void on_signal(int signal)
{
    ended_at = signal;
    siglongjmp(back, 1);
}

static void limit_time(long seconds)
{
    struct itimerval limit = {.it_value = {.tv_sec = seconds}};
    setitimer(ITIMER_VIRTUAL, &limit, NULL);
}

/* The plan; false: something is broken, and ended_by says what. */
static bool holds(void)
{
    ended_by[0] = '\0';
    ended_at = 0;
    limit_time(LONGEST_S);
    if (sigsetjmp(back, 1) == 0 && !world_run()) {
        snprintf(ended_by, sizeof ended_by, "%.150s", w.broken);
    }
    limit_time(0);
    if (ended_at != 0) {
        snprintf(ended_by, sizeof ended_by, "assertion: it %s",
                 ended_at == SIGVTALRM ? "does not end" : "crashes");
    }
    return ended_by[0] == '\0';
}

static void end(int status, const char *what)
{
    printf("%s %s\n", what, ended_by);
    exit(status);
}

static void warm_up(void)
{
    if (sigsetjmp(back, 1) != 0) {
        end(2, "warm-up");
    }
    limit_time(LONGEST_S);
    world_warm_all();
    for (int v = 0; v < VARIANTS; v++) {
        memset(&plan, 0, sizeof plan);
        plan.variant = v;
        plan.seed = v + 1;
        plan.faults_us = UNFAULTED_S * SEC;
        if (!holds()) {
            end(2, "warm-up");
        }
        if (w.ending[0] != '\0') {
            snprintf(ended_by, sizeof ended_by, "without a fault: %.100s", w.ending);
            end(2, "warm-up");
        }
    }
}

static bool breaks_alike(const struct schedule *candidate, const char *rule)
{
    plan = *candidate;
    return !holds() && strncmp(ended_by, rule, 4) == 0;
}

/* Fewer faults, and clocks that go alike, if the same rule is still broken; one pass is enough
 * here. */
static void shrink(void)
{
    char rule[5] = "";
    struct schedule best = plan;
    memcpy(rule, ended_by, 4);
    for (int i = 0; i < best.len; i++) {
        struct schedule fewer = best;
        memmove(&fewer.faults[i], &fewer.faults[i + 1],
                (size_t)(--fewer.len - i) * sizeof fewer.faults[0]);
        if (breaks_alike(&fewer, rule)) {
            best = fewer;
            i = -1;
        }
    }
    struct schedule even = best;
    memset(even.ppm, 0, sizeof even.ppm);
    if (breaks_alike(&even, rule)) {
        best = even;
    }
    plan = best;
    (void)holds();
}

static void killed(const char *by, double began, bool shorter)
{
    char line[TEXT_MAX];
    double took = cpu_s() - began;
    if (shorter) {
        shrink();
    }
    plan_print(&plan, line, sizeof line);
    printf("killed %.1f %s %s\n%s\n", took, by, ended_by, line);
    exit(1);
}

int main(int argc, char **argv)
{
    const char *line = NULL;
    double seconds = 0;
    uint64_t seed = 1, tried = 0;
    bool shorter = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--shrink") == 0) {
            shorter = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--plan") == 0) {
            line = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--from") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0) {
            seconds = strtod(argv[++i], NULL);
        } else {
            fprintf(stderr, "hunt: see tests/sim/mutants/hunt.c\n");
            return 3;
        }
    }
    signal(SIGVTALRM, on_signal);
    signal(SIGSEGV, on_signal);
    signal(SIGFPE, on_signal);
    warm_up();
    double began = cpu_s();
    if (line != NULL) {
        if (!plan_read(line, &plan)) {
            fprintf(stderr, "hunt: this is no list of faults: %s\n", line);
            return 3;
        }
        claims_always = true;
        if (!holds()) {
            killed("list", began, false);
        }
        claims_always = false;
    }
    for (; cpu_s() - began < seconds; seed++, tried++) {
        char by[32];
        snprintf(by, sizeof by, "seed-%llu", (unsigned long long)seed);
        queue_reset(seed);
        plan_of_seed(seed);
        if (!holds()) {
            killed(by, began, shorter);
        }
    }
    printf("survived %.1f %llu\n", cpu_s() - began, (unsigned long long)tried);
    return 0;
}
