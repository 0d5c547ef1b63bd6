/*
 * sim - tries bad days on a cluster in virtual time (sim.h says what is real in it).
 *
 *   sim --seed N [--trace]       one schedule
 *   sim --seeds FROM-TO [--twice] many; the first failures are shown, with the line that replays
 * each sim --plan 'LINE' [--trace]  a list of faults (faults.c) sim --file FILE...           files
 * of such lines sim --shrink N | --shrink-plan 'LINE'   fewer and shorter faults that still break
 * the same rule
 *
 * The exit status is 1 if an oracle was broken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

int main(int argc, char **argv)
{
    bool twice = false, good = true;
    for (int i = 1; i < argc; i++) {
        tracing = tracing || strcmp(argv[i], "--trace") == 0;
        twice = twice || strcmp(argv[i], "--twice") == 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
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
        } else if (i + 1 < argc && strcmp(argv[i], "--plan") == 0) {
            good = plan_read(argv[++i], &plan) && world_run() && good;
            tell(w.broken[0] == '\0');
        } else if (i + 1 < argc && strcmp(argv[i], "--shrink") == 0) {
            of_seed(strtoull(argv[++i], NULL, 10));
            shrink();
        } else if (i + 1 < argc && strcmp(argv[i], "--shrink-plan") == 0 &&
                   plan_read(argv[++i], &plan)) {
            shrink();
        } else if (strcmp(argv[i], "--file") == 0) {
            while (++i < argc) {
                good = run_file(argv[i]) && good;
            }
        } else if (strcmp(argv[i], "--trace") != 0 && strcmp(argv[i], "--twice") != 0) {
            fprintf(stderr, "sim: see tests/sim/sim.c\n");
            return 2;
        }
    }
    return good ? 0 : 1;
}
