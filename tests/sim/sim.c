/*
 * sim - tries bad days on a cluster in virtual time (sim.h says what is real in it).
 *
 *   sim --seed N [--trace]         one schedule
 *   sim --seeds FROM-TO [--twice]  many; the first failures are shown, with the line that replays
 *                                  each
 *   sim --singles I/N              each kind of fault at each point of a failover: a share of them
 *   sim --pairs I/N                the same, and a second fault at a distance that is drawn
 *   sim --triples                  each kind of fault at each step, to each that can have it: a
 *                                  table
 *   sim --plan 'LINE' [--trace]    a list of faults (faults.c)
 *   sim --file FILE...             files of such lines
 *   sim --shrink N | --shrink-plan 'LINE'   fewer and shorter faults that still break the same rule
 *   sim --claims ...               all of the above, and each controller's statuses are read in
 *                                  every schedule (truth.c), as they are for lists of faults
 *
 * The program of the mutants knows besides:
 *
 *   sim-mutants --off RULE ...   all of the above without that rule
 *   sim-mutants --mutants N [PREFIX]  each rule left out in its turn, for N seeds at most: who
 * notices?
 *
 * The exit status is 1 if an oracle was broken.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define TEXT_MAX 4096

static double cpu_s(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* ---- one ---- */

static void of_seed(uint64_t seed)
{
    queue_reset(seed);
    plan_of_seed(seed);
}

static void tell(bool held)
{
    char text[TEXT_MAX];
    plan_print(&plan, text, sizeof text);
    printf("%s %016llx %s\n", held ? "ok" : "FAILED", (unsigned long long)w.hash,
           held ? w.ending : w.broken);
    printf("  replay: sim --plan '%s'\n", text);
}

/* ---- shrinking ---- */

static bool breaks_alike(const struct schedule *candidate, const char *rule)
{
    plan = *candidate;
    return !world_run() && strncmp(w.broken, rule, 4) == 0;
}

static void shrink(void)
{
    char rule[5] = "";
    struct schedule best = plan;
    if (world_run()) {
        printf("nothing is broken\n");
        return;
    }
    memcpy(rule, w.broken, 4);
    bool less = true;
    while (less) {
        less = false;
        for (int i = 0; i < best.len; i++) {
            struct schedule fewer = best;
            memmove(&fewer.faults[i], &fewer.faults[i + 1],
                    (size_t)(--fewer.len - i) * sizeof fewer.faults[0]);
            if (breaks_alike(&fewer, rule)) {
                best = fewer;
                less = true;
                i--;
            }
        }
        for (int i = 0; i < best.len; i++) {
            struct schedule shorter = best;
            shorter.faults[i].dur /= 2;
            if (best.faults[i].dur > 10 * MS && breaks_alike(&shorter, rule)) {
                best = shorter;
                less = true;
            }
        }
        struct schedule even = best;
        memset(even.ppm, 0, sizeof even.ppm);
        if (memcmp(even.ppm, best.ppm, sizeof even.ppm) != 0 && breaks_alike(&even, rule)) {
            best = even;
        }
    }
    plan = best;
    tell(world_run());
}

/* ---- many ---- */

struct endings {
    int len;
    struct {
        char text[96];
        uint64_t seed;
        int count;
    } items[64];
};

static void count_ending(struct endings *endings, const char *text, uint64_t seed)
{
    int i = 0;
    while (i < endings->len && strcmp(endings->items[i].text, text) != 0) {
        i++;
    }
    if (i == 64) {
        return;
    }
    if (i == endings->len) {
        endings->len++;
        snprintf(endings->items[i].text, sizeof endings->items[i].text, "%.95s", text);
        endings->items[i].seed = seed;
    }
    endings->items[i].count++;
}

static bool run_seeds(uint64_t from, uint64_t to, bool twice)
{
    static struct endings good, bad;
    uint64_t events = 0, promotions = 0, acks = 0, longest = 0;
    double began = cpu_s();
    int failed = 0, differ = 0;
    for (uint64_t seed = from; seed <= to; seed++) {
        of_seed(seed);
        bool held = world_run();
        uint64_t hash = w.hash;
        events += w.events;
        promotions += (uint64_t)w.promotions;
        acks += w.acked_all;
        longest = w.back_us > longest ? w.back_us : longest;
        count_ending(held ? &good : &bad, held ? w.ending : w.broken, seed);
        if (!held && ++failed <= 5) {
            printf("seed %llu: ", (unsigned long long)seed);
            tell(held);
        }
        if (twice) {
            of_seed(seed);
            world_run();
            differ += w.hash != hash;
        }
    }
    double took = cpu_s() - began;
    unsigned long long seeds = to - from + 1;
    double schedules = (double)seeds * (twice ? 2 : 1);
    printf("%llu seeds, %d broken, %d not repeatable; %.1f s of CPU, %.0f schedules a CPU-hour; "
           "%llu events, %llu promotions, %llu acknowledgements; longest until served %.1f s\n",
           seeds, failed, differ, took, schedules / took * 3600, (unsigned long long)events,
           (unsigned long long)promotions, (unsigned long long)acks, (double)longest / 1e6);
    for (int i = 0; i < bad.len; i++) {
        printf("  broken %6d  seed %-8llu %s\n", bad.items[i].count,
               (unsigned long long)bad.items[i].seed, bad.items[i].text);
    }
    for (int i = 0; i < good.len; i++) {
        printf("         %6d  seed %-8llu %s\n", good.items[i].count,
               (unsigned long long)good.items[i].seed,
               good.items[i].text[0] != '\0' ? good.items[i].text : "served");
    }
    return failed == 0 && differ == 0;
}

static bool run_file(const char *path)
{
    char line[TEXT_MAX];
    bool good = true;
    claims_always = true;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "sim: %s cannot be read\n", path);
        return false;
    }
    while (fgets(line, sizeof line, file) != NULL) {
        if (line[0] == '#' || line[0] == '\n') {
            continue;
        }
        bool held = plan_read(line, &plan) && world_run();
        const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
        printf("%s %s\n", held ? "ok" : "FAILED", name);
        good = good && held;
        if (!held) {
            tell(held);
        }
    }
    fclose(file);
    return good;
}

/* ---- every single fault at every point of a failover ---- */

static const char *const singles[] = {
    "leader-crash 0 0 for 0.3", "leader-crash 0 0 for 9",   "leader-pause 0 0 for 2.5",
    "leader-pause 0 0 for 12",  "guard-crash -1 0 for 0.3", "guard-crash -1 0 for 20",
    "guard-crash -2 0 for 0.3", "guard-pause -1 0 for 3",   "guard-pause -1 0 for 15",
    "guard-pause -2 0 for 15",  "pg-crash -1 0 for 0",      "pg-crash -2 0 for 0",
    "pg-hang -1 0 for 4",       "pg-hang -2 0 for 4",       "pg-hang -1 0 for 30",
    "pg-stuck -1 0 for 20",     "pg-shutdown -1 0 for 0",   "node-off -1 0 for 40",
    "node-off -2 0 for 40",     "node-reset -1 0 for 0.5",  "part -1 0 for 15",
    "part -1 1 for 15",         "part -1 2 for 15",         "part -2 0 for 15",
    "part 0 0 for 15",          "part 5 0 for 4",           "store-down 0 0 for 3",
    "store-down 0 0 for 20",    "store-loses 0 1 for 0",    "store-loses 2 1 for 0",
    "store-loses 3 1 for 0",    "store-loses 4 1 for 0",    "lease-early 0 0 for 0",
    "store-restart 0 0 for 0",  "proxy-forgets 0 0 for 0",  "proxy-silent 0 0 for 20",
    "lag -2 0 for 10",          "slow-disk -1 0 for 10",    "slow-disk -2 0 for 10",
    "watch-stalls 3 0 for 6",   "wall-jump 0 3600 for 0",   "pg-promote -2 0 for 0"};

#define SINGLES (sizeof singles / sizeof singles[0])

static const char *const primary_ends[] = {"pg-crash -1 0 for 0", "node-off -1 0 for 60"};
#define PRIMARY_ENDS (sizeof primary_ends / sizeof primary_ends[0])

/* A failover of a variant: the head of its line, and its points, from what ends its primary to a
 * moment after the switch. */
struct failover {
    int variant;
    const char *end;
    char head[160];
    int len;
    struct point_seen points[POINTS_SEEN_MAX];
};

static bool failover_of(int variant, const char *end, struct failover *ret)
{
    *ret = (struct failover){.variant = variant, .end = end};
    snprintf(ret->head, sizeof ret->head, "%s core=0 faults=%s seed=7 ppm=0,0,0,0,0; 0.5 %s",
             variant_names[variant], strncmp(end, "pg-crash", 8) == 0 ? "9" : "20", end);
    if (!plan_read(ret->head, &plan) || !world_run()) {
        printf("FAILED %s %s: %s\n", variant_names[variant], end, w.broken);
        return false;
    }
    uint64_t until = 0;
    for (int i = 0; i < points_seen_len; i++) {
        bool begins = points_seen[i].point == POINT_PROMOTED || points_seen[i].point == POINT_START;
        if (begins && points_seen[i].at > 500 * MS && until == 0) {
            until = points_seen[i].at + 400 * MS;
        }
    }
    for (int i = 0; i < points_seen_len; i++) {
        if (points_seen[i].at >= 500 * MS && points_seen[i].at < until) {
            ret->points[ret->len++] = points_seen[i];
        }
    }
    return ret->len > 0;
}

static bool run_line(const char *text)
{
    bool held = plan_read(text, &plan) && world_run();
    if (!held) {
        tell(false);
    }
    return held;
}

static bool run_singles_of(int variant, const char *end, unsigned part, unsigned parts)
{
    static struct failover of;
    char text[512];
    int failed = 0, runs = 0;
    if (!failover_of(variant, end, &of)) {
        return false;
    }
    for (int i = 0; i < of.len; i++) {
        for (size_t f = 0; f < SINGLES; f++) {
            if ((unsigned)(i + (int)f) % parts != part) {
                continue;
            }
            snprintf(text, sizeof text, "%s; @%s#%d+0 %s", of.head, point_names[of.points[i].point],
                     of.points[i].nth, singles[f]);
            runs++;
            failed += !run_line(text);
        }
    }
    printf("%s every point of %s after %s: %d points, %d kinds, %d schedules, %d broken\n",
           failed == 0 ? "ok" : "FAILED", variant_names[variant], end, of.len, (int)SINGLES, runs,
           failed);
    return failed == 0;
}

static bool run_singles(unsigned part, unsigned parts)
{
    bool good = true;
    for (int v = 0; v < VARIANTS; v++) {
        for (size_t e = 0; e < PRIMARY_ENDS; e++) {
            good = run_singles_of(v, primary_ends[e], part, parts) && good;
        }
    }
    return good;
}

/* ---- pairs of faults ---- */

/* A number that only its pair decides, so that a share is the same days on every machine. */
static uint64_t mixed(uint64_t n)
{
    n += UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);
    return n ^ (n >> 31);
}

/* How long after the first: within the same effect, a message, a round of probes, a permit. */
static uint64_t distance_us(uint64_t drawn)
{
    static const uint64_t scales[] = {1, 5 * MS, 200 * MS, 2 * SEC, 8 * SEC};
    uint64_t scale = scales[drawn % (sizeof scales / sizeof scales[0])];
    return (drawn >> 8) % scale;
}

static bool run_pairs_of(const struct failover *of, unsigned part, unsigned parts)
{
    char text[512];
    int failed = 0, runs = 0;
    uint64_t which = ((uint64_t)of->variant << 40) + ((uint64_t)(of->end == primary_ends[0]) << 39);
    for (int i = 0; i < of->len; i++) {
        for (size_t first = 0; first < SINGLES; first++) {
            for (size_t second = 0; second < SINGLES; second++) {
                uint64_t drawn = mixed(which++);
                if (drawn % parts != part) {
                    continue;
                }
                uint64_t after_us = distance_us(mixed(drawn));
                const char *point = point_names[of->points[i].point];
                int nth = of->points[i].nth;
                snprintf(text, sizeof text, "%s; @%s#%d+0 %s; @%s#%d+%.6f %s", of->head, point, nth,
                         singles[first], point, nth, (double)after_us / 1e6, singles[second]);
                runs++;
                failed += !run_line(text);
            }
        }
    }
    printf("%s pairs from every point of %s after %s: %d of %zu, %d broken\n",
           failed == 0 ? "ok" : "FAILED", variant_names[of->variant], of->end, runs,
           (size_t)of->len * SINGLES * SINGLES, failed);
    return failed == 0;
}

/* Every share of `parts` run is every pair once, each at one distance. */
static bool run_pairs(unsigned part, unsigned parts)
{
    static struct failover of;
    bool good = true;
    for (int v = 0; v < VARIANTS; v++) {
        for (size_t e = 0; e < PRIMARY_ENDS; e++) {
            good = failover_of(v, primary_ends[e], &of) && run_pairs_of(&of, part, parts) && good;
        }
    }
    return good;
}

/* ---- each kind of fault at each step, to each that can have it ---- */

/* Some points of a step, from its first to its last. */
#define POINTS_OF_STEP 3

static int points_of_step(int step, struct point_seen *ret)
{
    static struct point_seen of[POINTS_SEEN_MAX];
    int len = 0;
    for (int i = 0; i < points_seen_len; i++) {
        if (points_seen[i].step == step) {
            of[len++] = points_seen[i];
        }
    }
    for (int i = 0; i < POINTS_OF_STEP && len > 0; i++) {
        ret[i] = of[(len - 1) * i / (POINTS_OF_STEP - 1)];
    }
    return len > 0 ? POINTS_OF_STEP : 0;
}

static bool aim(const struct failover *of, const struct point_seen *point, int *runs)
{
    char text[512];
    bool good = true;
    for (int kind = 0; kind < FAULTS_DRAWN; kind++) {
        for (int a = 0; a < triples_targets((enum fault_kind)kind); a++) {
            int b = kind == FAULT_CUT ? (a + 1) % ENDS : 1;
            int of_a = kind == FAULT_SPLIT ? 5 : kind == FAULT_REQUEST ? 3 : a;
            snprintf(text, sizeof text, "%s; @%s#%d+0 %s %d %d for 2", of->head,
                     point_names[point->point], point->nth, fault_names[kind], of_a, b);
            (*runs)++;
            good = run_line(text) && good;
        }
    }
    return good;
}

static bool run_triples(void)
{
    static struct failover of;
    struct point_seen points[STEPS][POINTS_OF_STEP];
    int lens[STEPS], runs = 0;
    bool good = true;
    for (size_t e = 0; e < PRIMARY_ENDS; e++) {
        if (!failover_of(0, primary_ends[e], &of)) {
            return false;
        }
        for (int step = 0; step < STEPS; step++) {
            lens[step] = points_of_step(step, points[step]);
        }
        for (int step = 0; step < STEPS; step++) {
            for (int i = 0; i < lens[step]; i++) {
                good = aim(&of, &points[step][i], &runs) && good;
            }
        }
    }
    triples_print();
    printf("%s %d schedules that aim at each step, kind and role\n", good ? "ok" : "FAILED", runs);
    return good;
}

/* L7: in so many hours of lost packets and stalls of a second at most nothing is failed over. */
static bool run_calm(uint64_t hours)
{
    uint64_t minutes = 0, failed = 0;
    for (uint64_t seed = 1; minutes < hours * 60; seed++, minutes += 10) {
        static const enum fault_kind kinds[] = {FAULT_PG_HANG, FAULT_GUARD_PAUSE, FAULT_CTL_PAUSE,
                                                FAULT_LEADER_PAUSE, FAULT_SLOW};
        queue_reset(seed);
        memset(&plan, 0, sizeof plan);
        plan.seed = (int64_t)seed;
        plan.variant = (int)(seed % 3) == 2 ? 4 : (int)(seed % 3);
        plan.faults_us = 600 * SEC;
        for (plan.len = 0; plan.len < FAULTS_MAX; plan.len++) {
            plan.faults[plan.len] = (struct fault){.kind = kinds[rnd_in(RNG_PLAN, 0, 5)],
                                                   .point = -1,
                                                   .at = rnd_in(RNG_PLAN, 0, 590 * SEC),
                                                   .a = (int)rnd_in(RNG_PLAN, 0, 3),
                                                   .dur = rnd_in(RNG_PLAN, 50 * MS, 1000 * MS)};
        }
        plan.loss_percent = 10;
        if (!world_run() || w.promotions > 0) {
            failed++;
            printf("FAILED L7: calm seed %llu: %d promotions %s\n", (unsigned long long)seed,
                   w.promotions, w.broken);
        }
    }
    printf("%s %llu hours of lost packets and short stalls: %llu false failovers\n",
           failed == 0 ? "ok" : "FAILED", (unsigned long long)hours, (unsigned long long)failed);
    return failed == 0;
}

static void print_hashes(uint64_t from, uint64_t to)
{
    for (uint64_t seed = from; seed <= to; seed++) {
        of_seed(seed);
        world_run();
        printf("%llu %016llx\n", (unsigned long long)seed, (unsigned long long)w.hash);
    }
}

/* ---- mutants ---- */

#ifdef FAILOVER_RULES_OFF

#define MUTANT_S     60  /* of CPU: one that runs for ever is ended */
#define NEVER_COUNTS 400 /* seeds: a rule that has not counted by then is of no use to try */

struct verdict { /* of one, in memory that its process shares */
    bool warm, counted;
    uint64_t seed; /* that noticed */
    double took_s;
    char text[sizeof w.broken];
};

static void try_mutant(const char *id, uint64_t seeds, struct verdict *ret)
{
    double began = cpu_s();
    struct rlimit most = {.rlim_cur = MUTANT_S, .rlim_max = MUTANT_S + 5};
    setrlimit(RLIMIT_CPU, &most);
    rule_off_set(id);
    if (freopen("/dev/null", "w", stderr) == NULL) {
        _exit(2);
    }
    world_warm_all();
    ret->warm = true;
    for (uint64_t seed = 1; seed <= seeds && ret->seed == 0; seed++) {
        snprintf(ret->text, sizeof ret->text, "an assertion, by seed %llu",
                 (unsigned long long)seed);
        of_seed(seed);
        if (!world_run()) {
            ret->seed = seed;
            snprintf(ret->text, sizeof ret->text, "%s", w.broken);
        }
        ret->took_s = cpu_s() - began;
        ret->counted = rule_off_counted;
        if (seed == NEVER_COUNTS && !rule_off_counted) {
            break;
        }
    }
    _exit(0);
}

static bool run_mutant(const char *id, uint64_t seeds)
{
    int status = 0;
    struct verdict *verdict =
        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (verdict == MAP_FAILED) {
        abort();
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        try_mutant(id, seeds, verdict);
    }
    waitpid(child, &status, 0);
    bool asserted = WIFSIGNALED(status) && verdict->warm;
    if (asserted && WTERMSIG(status) == SIGXCPU) {
        snprintf(verdict->text, sizeof verdict->text, "it runs for ever");
    }
    if (!verdict->warm) {
        printf("warm-up    %-18s the cluster does not come to rest without it\n", id);
    } else if (asserted || verdict->seed != 0) {
        printf("killed     %-18s seed %-6llu %5.1f s  %.100s\n", id,
               (unsigned long long)verdict->seed, verdict->took_s, verdict->text);
    } else {
        printf("survived   %-18s %5.1f s%s\n", id, verdict->took_s,
               verdict->counted ? "" : "  it never would have counted");
    }
    bool killed = asserted || verdict->seed != 0;
    munmap(verdict, sizeof *verdict);
    return killed;
}

static void run_mutants(uint64_t seeds, const char *prefix)
{
    static const char *const others[] = {"stall",
                                         "blind",
                                         "witness",
                                         "paused",
                                         "candidate-timeline",
                                         "candidate-entries",
                                         "candidate-loss",
                                         "resign",
                                         "budget",
                                         "automatic",
                                         "candidate",
                                         "setup",
                                         NULL};
    int killed = 0, all = 0;
    const char *ids[256];
    for (int i = 0; i < core_rules_len(); i++) {
        ids[all++] = core_rule(i).id;
    }
    for (int i = 0; i < guard_rules_len(); i++) {
        ids[all++] = guard_rule(i).id;
    }
    for (int i = 0; others[i] != NULL; i++) {
        ids[all++] = others[i];
    }
    int tried = 0;
    for (int i = 0; i < all; i++) {
        if (strncmp(ids[i], prefix, strlen(prefix)) == 0) {
            tried++;
            killed += run_mutant(ids[i], seeds);
        }
    }
    printf("%d of %d mutants are killed\n", killed, tried);
}

#endif

int main(int argc, char **argv)
{
    bool twice = false, good = true;
    for (int i = 1; i < argc; i++) {
        tracing = tracing || strcmp(argv[i], "--trace") == 0;
        twice = twice || strcmp(argv[i], "--twice") == 0;
        claims_always = claims_always || strcmp(argv[i], "--claims") == 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
#ifdef FAILOVER_RULES_OFF
    if (argc >= 3 && strcmp(argv[1], "--mutants") == 0) {
        run_mutants(strtoull(argv[2], NULL, 10), argc > 3 ? argv[3] : "");
        return 0;
    }
    if (argc > 2 && strcmp(argv[1], "--off") == 0) {
        rule_off_set(argv[2]);
        argv += 2;
        argc -= 2;
    }
#endif
    world_warm_all();
    for (int i = 1; i < argc; i++) {
        unsigned long long from, to;
        if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            of_seed(strtoull(argv[++i], NULL, 10));
            good = world_run() && good;
            tell(w.broken[0] == '\0');
        } else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0 &&
                   sscanf(argv[++i], "%llu-%llu", &from, &to) == 2) {
            good = run_seeds(from, to, twice) && good;
        } else if (i + 1 < argc && strcmp(argv[i], "--calm") == 0) {
            good = run_calm(strtoull(argv[++i], NULL, 10)) && good;
        } else if (i + 1 < argc && strcmp(argv[i], "--hashes") == 0 &&
                   sscanf(argv[++i], "%llu-%llu", &from, &to) == 2) {
            print_hashes(from, to);
        } else if (i + 1 < argc && strcmp(argv[i], "--singles") == 0 &&
                   sscanf(argv[++i], "%llu/%llu", &from, &to) == 2 && from < to) {
            good = run_singles((unsigned)from, (unsigned)to) && good;
        } else if (i + 1 < argc && strcmp(argv[i], "--pairs") == 0 &&
                   sscanf(argv[++i], "%llu/%llu", &from, &to) == 2 && from < to) {
            good = run_pairs((unsigned)from, (unsigned)to) && good;
        } else if (strcmp(argv[i], "--triples") == 0) {
            good = run_triples() && good;
        } else if (i + 1 < argc && strcmp(argv[i], "--plan") == 0) {
            claims_always = true;
            good = plan_read(argv[++i], &plan) && world_run() && good;
            tell(w.broken[0] == '\0');
        } else if (i + 1 < argc && strcmp(argv[i], "--shrink") == 0) {
            of_seed(strtoull(argv[++i], NULL, 10));
            shrink();
        } else if (i + 1 < argc && strcmp(argv[i], "--shrink-plan") == 0 &&
                   plan_read(argv[++i], &plan)) {
            claims_always = true;
            shrink();
        } else if (strcmp(argv[i], "--file") == 0) {
            while (++i < argc) {
                good = run_file(argv[i]) && good;
            }
        } else if (strcmp(argv[i], "--trace") != 0 && strcmp(argv[i], "--twice") != 0 &&
                   strcmp(argv[i], "--claims") != 0) {
            fprintf(stderr, "sim: see tests/sim/sim.c\n");
            return 2;
        }
    }
    return good ? 0 : 1;
}
