/*
 * conformance.c - run scripts on the simulator's models and on the real programs, and compare.
 *
 *     conformance [--model-only] [--write] SCRIPT...
 *
 * A script is a text file. A line is a command, what is to be seen of it follows in lines that
 * begin with "=", and # begins a comment; the comment at the head says what is shown, as a
 * sentence. A script may say that it is for one side only, and why:
 *
 *     # reality only: the model keeps no history
 *
 *     pg start a1 primary                 also: standby of a1; again: with the files that it has
 *     pg names a1 FIRST 1 (a2, a3)        ANY 1 (...), nobody, none; and reloads
 *     pg follow a3 a2                     another upstream, and reloads
 *     pg commit a1 x / pg await x / pg cancel x
 *     pg has a2 x / pg sees a2 x          received / replayed
 *     pg probe a1                         as a prober does: its role, and a write
 *     pg receives a2 / pg standbys a1 / pg timeline a1 / pg control a1 / pg life a1
 *     pg promote a2
 *     pg crash a1 / pg stop a1            SIGKILL of all its processes / SIGINT
 *     pg freeze a1 / pg thaw a1           SIGSTOP and SIGCONT of all its processes
 *     pg cut a2 / pg heal a2              its links with the other nodes
 *     pg stall a2 / pg unstall a2         it receives and writes nothing
 *     pg hold a1 a2 / pg release a1 a2    a1's walsender for a2 stands still
 *     pg pause a2 / pg resume a2          replay
 *     pg patient a2                       it does not give up a connection that is silent
 *     pg sql a1 SELECT ...                the first value; of reality only
 *
 *     etcd lease c1                       its lease is kept alive, or a new one is granted
 *     etcd expire c1                      time passes until it has ended; the others' are kept
 *     etcd campaign c1 / etcd resign c1 / etcd view c1
 *     etcd save c1 group@0 permit@3       compared with these revisions, and with its term
 *     etcd renew a1 permit@3 heartbeat@0 / etcd report a1 0
 *     etcd lose c1                        the answer to the next request
 *     etcd key group                      group, permit, heartbeat, incident, leader, view.c1,
 * guard.a1 etcd watch c1 / etcd news c1 / etcd stall c1 / etcd resume c1 etcd compact / etcd down /
 * etcd up etcdctl ...                         as it stands; +3 is the third revision of this script
 *
 *     haproxy open p1 a2 / haproxy close p1      the old side is closed, its sessions are shut
 *     haproxy session s1 p1 / haproxy ask s1
 *     haproxy state p1 / haproxy restart p1
 *     haproxy enable p1 a2 / haproxy disable p1 a1 / haproxy reload p1      without the rest
 *
 * Revisions count from the script's beginning. The model is told each script with several seeds.
 * `ok NAME` or `FAILED NAME` for each script; --write puts what the real programs say into the
 * files instead.
 */
#include "tests/conformance/conformance.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "fence/guard/guard_sync.h"

#define LINES_MAX_OF 200
#define SEEDS        20

struct script {
    char path[256];
    char name[96];
    int len;
    char lines[LINES_MAX_OF][160];
    char only[16]; /* "model" or "reality": that side alone */
};

struct told { /* what a side said, by the command's line */
    struct says says[LINES_MAX_OF];
};

/* ---- words ---- */

void say(struct says *ret_says, const char *format, ...)
{
    va_list args;
    if (ret_says->len == SAYS_MAX) {
        return;
    }
    va_start(args, format);
    vsnprintf(ret_says->lines[ret_says->len++], sizeof ret_says->lines[0], format, args);
    va_end(args);
}

bool word_is(const struct words *words, int i, const char *word)
{
    return i < words->len && strcmp(words->at[i], word) == 0;
}

int word_number(const struct words *words, int i, char letter)
{
    if (i >= words->len || words->at[i][0] != letter || words->at[i][1] < '1' ||
        words->at[i][1] > '4') {
        fprintf(stderr, "conformance: \"%s\": word %d should be %c1, ...\n", words->line, i + 1,
                letter);
        exit(2);
    }
    return words->at[i][1] - '1';
}

const char *words_from(const struct words *words, int i)
{
    const char *at = words->line;
    for (int n = 0; n < i; n++) {
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    return at;
}

static void split(const char *line, char copy[160], struct words *ret)
{
    char *rest = copy;
    snprintf(copy, 160, "%s", line);
    *ret = (struct words){.line = line};
    for (char *word; ret->len < WORDS_MAX && (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        ret->at[ret->len++] = word;
    }
}

/* ---- hands ---- */

void pg_by_hand(const struct pg_hands *hands, const struct words *words, struct says *ret_says)
{
    int i = word_number(words, 2, 'a');
    if (word_is(words, 1, "start")) {
        hands->start(words, i, ret_says);
    } else if (word_is(words, 1, "names")) {
        hands->set_names(i, words_from(words, 3), ret_says);
    } else if (word_is(words, 1, "commit")) {
        hands->commit(i, words->at[3], ret_says);
    } else if (word_is(words, 1, "probe")) {
        hands->probe(i, ret_says);
    } else if (word_is(words, 1, "promote")) {
        hands->promote(i, ret_says);
    } else if (word_is(words, 1, "stop")) {
        hands->stop(i, ret_says);
    } else if (!hands->handle(words, i)) {
        hands->look(words, i, ret_says);
    }
}

bool etcd_by_hand(const struct etcd_hands *hands, const struct words *words, int who,
                  struct says *ret_says)
{
    if (word_is(words, 1, "lease")) {
        hands->lease(who, ret_says);
    } else if (word_is(words, 1, "expire")) {
        hands->expire(who, ret_says);
    } else if (word_is(words, 1, "campaign")) {
        hands->campaign(who, ret_says);
    } else if (word_is(words, 1, "save")) {
        hands->save(words, who, ret_says);
    } else if (word_is(words, 1, "renew")) {
        hands->renew(words, who, ret_says);
    } else if (word_is(words, 1, "report")) {
        hands->report(words, who, ret_says);
    } else {
        return false;
    }
    return true;
}

/* ---- names ---- */

void names_read(const char *text, struct wanted_names *ret)
{
    struct sync_entry_record entry = {0};
    *ret = (struct wanted_names){0};
    if (strcmp(text, "nobody") == 0) {
        ret->k = 1;
        ret->first = true;
        ret->len = 1;
        ret->order[0] = SCRIPT_NODES;
    } else if (strcmp(text, "none") != 0) {
        ret->first = strncmp(text, "FIRST", 5) == 0;
        ret->k = atoi(strpbrk(text, "0123456789"));
        for (const char *at = strchr(text, '('); at != NULL && (at = strchr(at, 'a')) != NULL;
             at++) {
            ret->order[ret->len++] = at[1] - '1';
        }
    }
    entry.k = ret->k;
    entry.first = ret->first;
    for (int i = 0; i < ret->len; i++) {
        char *member = entry.members[entry.members_len++];
        if (ret->order[i] == SCRIPT_NODES) {
            snprintf(member, NAME_SIZE, "%s", GUARD_SYNC_NOBODY);
        } else {
            snprintf(member, NAME_SIZE, "a%d", ret->order[i] + 1);
        }
    }
    guard_sync_names(&entry, ret->text);
}

int names_place_of(const struct wanted_names *names, int who)
{
    for (int i = 0; i < names->len && names->k > 0; i++) {
        if (names->order[i] == who) {
            return names->first ? i + 1 : 1;
        }
    }
    return 0;
}

/* ---- scripts ---- */

static void script_read(const char *path, struct script *ret)
{
    FILE *file = fopen(path, "re");
    const char *slash = strrchr(path, '/');
    if (file == NULL) {
        perror(path);
        exit(2);
    }
    *ret = (struct script){0};
    snprintf(ret->path, sizeof ret->path, "%s", path);
    snprintf(ret->name, sizeof ret->name, "%s", slash != NULL ? slash + 1 : path);
    ret->name[strcspn(ret->name, ".")] = '\0';
    while (ret->len < LINES_MAX_OF && fgets(ret->lines[ret->len], 160, file) != NULL) {
        char *line = ret->lines[ret->len++];
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "# %15[a-z] only:", ret->only) == 1 && strstr(line, " only: ") == NULL) {
            ret->only[0] = '\0';
        }
    }
    if (!feof(file)) {
        fprintf(stderr, "%s: more than %d lines\n", path, LINES_MAX_OF);
        exit(2);
    }
    fclose(file);
}

static bool is_command(const char *line)
{
    return isalpha((unsigned char)line[0]) != 0;
}

static void play(const struct side *side, const struct script *script, uint64_t seed,
                 struct told *ret)
{
    memset(ret, 0, sizeof *ret);
    side->begin(seed);
    for (int i = 0; i < script->len; i++) {
        char copy[160];
        struct words words;
        if (is_command(script->lines[i])) {
            split(script->lines[i], copy, &words);
            side->run(&words, &ret->says[i]);
        }
    }
    side->end();
}

static bool agrees(const struct script *script, const struct told *told, const char *who)
{
    bool good = true;
    for (int i = 0; i < script->len; i++) {
        const struct says *says = &told->says[i];
        int lines = 0;
        bool same = true;
        if (!is_command(script->lines[i])) {
            continue;
        }
        for (int l = i + 1; l < script->len && script->lines[l][0] == '='; l++, lines++) {
            same =
                same && lines < says->len && strcmp(script->lines[l] + 2, says->lines[lines]) == 0;
        }
        if (same && lines == says->len) {
            continue;
        }
        good = false;
        printf("%s:%d: %s\n", script->path, i + 1, script->lines[i]);
        for (int l = 0; l < lines; l++) {
            printf("    the file:    %s\n", script->lines[i + 1 + l] + 2);
        }
        for (int l = 0; l < says->len; l++) {
            printf("    %-12s %s\n", who, says->lines[l]);
        }
        if (says->len == 0) {
            printf("    %-12s nothing\n", who);
        }
    }
    return good;
}

static void script_write(const struct script *script, const struct told *told)
{
    FILE *file = fopen(script->path, "we");
    if (file == NULL) {
        perror(script->path);
        exit(2);
    }
    for (int i = 0; i < script->len; i++) {
        if (script->lines[i][0] != '=') {
            fprintf(file, "%s\n", script->lines[i]);
        }
        for (int l = 0; l < told->says[i].len; l++) {
            fprintf(file, "= %s\n", told->says[i].lines[l]);
        }
    }
    fclose(file);
}

static bool on_model(const struct script *script, struct told *told)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        char who[32];
        play(&model_side, script, seed, told);
        snprintf(who, sizeof who, "the model:");
        if (!agrees(script, told, who)) {
            printf("    (with the model's seed %llu)\n", (unsigned long long)seed);
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    static struct script script;
    static struct told told;
    bool with_model = true, with_reality = true, writes = false;
    int failed = 0, at = 1;
    for (; at < argc && argv[at][0] == '-'; at++) {
        writes = writes || strcmp(argv[at], "--write") == 0;
        with_reality = with_reality && strcmp(argv[at], "--model-only") != 0;
        if (strcmp(argv[at], "--write") != 0 && strcmp(argv[at], "--model-only") != 0) {
            fprintf(stderr, "usage: conformance [--model-only] [--write] SCRIPT...\n");
            return 2;
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    with_model = with_model && !writes;
    if (with_reality) {
        real_open();
    }
    for (; at < argc; at++) {
        uint64_t began_ms = clock_now_ms();
        bool good = true;
        script_read(argv[at], &script);
        if (with_model && strcmp(script.only, "reality") != 0) {
            good = on_model(&script, &told);
        }
        if (with_reality && strcmp(script.only, "model") != 0) {
            play(&real_side, &script, 0, &told);
            if (writes) {
                script_write(&script, &told);
            } else {
                good = agrees(&script, &told, "reality:") && good;
            }
        }
        failed += good ? 0 : 1;
        printf("%s %-44s %5.1f s%s%s\n", good ? "ok " : "FAILED", script.name,
               (double)(clock_now_ms() - began_ms) / 1000, script.only[0] != '\0' ? "   only " : "",
               script.only);
    }
    if (with_reality) {
        real_close();
    }
    return failed == 0 ? 0 : 1;
}
