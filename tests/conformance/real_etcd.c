/*
 * real_etcd.c - scripts on a real etcd, by etcdctl.
 *
 * What the product's codec asks for is written here once more, as transactions of etcdctl: a save
 * compares the leader's key and each record, a renewal the permit's and its own.
 */
#include <ctype.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "tests/conformance/conformance.h"

#define CTL                                                                                        \
    "ETCDCTL_API=3 timeout 3 etcdctl --endpoints http://127.0.0.1:2379 --command-timeout 2s "
#define LEASE_S  "5"
#define CTLS     2
#define KEYS     11
#define WATCHERS (CTLS + SCRIPT_NODES)
#define EVENTS   64
#define LIMIT_MS 15000

static char data[96];
static char log_path[96];
static pid_t etcd;
static long long base;
static char leases[CTLS][32]; /* "": none */
static pid_t keepers[CTLS];   /* etcdctl, that keeps it alive */
static long long terms[CTLS];
static bool loses[WATCHERS];
static bool watches[WATCHERS], stalls[WATCHERS], resumed[WATCHERS];
static long long heard_to[WATCHERS];
static bool known_keys[WATCHERS][KEYS];
static const char *const key_names[KEYS] = {"leader",   "group",    "permit",  "heartbeat",
                                            "incident", "request",  "view.c1", "view.c2",
                                            "guard.a1", "guard.a2", "guard.a3"};

struct happened {
    int key;
    long long mod, create;
    bool gone;
};

/* ---- etcdctl ---- */

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* What it prints, until the next call; NULL if it fails. */
static char *ctl(const char *format, ...) __attribute__((format(printf, 1, 2)));

static char *ctl(const char *format, ...)
{
    static char out[65536];
    char command[2048];
    int len = snprintf(command, sizeof command, "%s", CTL);
    va_list args;
    va_start(args, format);
    vsnprintf(command + len, sizeof command - (size_t)len, format, args);
    va_end(args);
    len = (int)strlen(command);
    snprintf(command + len, sizeof command - (size_t)len, " 2>>%s", log_path);
    FILE *file = popen(command, "re"); /* NOLINT(cert-env33-c): the script's own words */
    if (file == NULL) {
        return NULL;
    }
    size_t got = fread(out, 1, sizeof out - 1, file);
    out[got] = '\0';
    return pclose(file) == 0 ? out : NULL;
}

/* Numbers as reals: the ids do not fit, and nobody asks for them. */
static json_t *ctl_json(const char *command)
{
    const char *out = ctl("%s -w json", command);
    return out != NULL ? json_loads(out, JSON_DECODE_INT_AS_REAL, NULL) : NULL;
}

static long long number_at(const json_t *object, const char *name)
{
    return (long long)json_number_value(json_object_get(object, name));
}

static long long revision_now(void)
{
    json_t *answer = ctl_json("get nothing");
    long long revision = number_at(json_object_get(answer, "header"), "revision");
    json_decref(answer);
    return revision;
}

static long long since(long long revision)
{
    return revision == 0 ? 0 : revision - base;
}

/* compares, then puts, else gets: as `etcdctl txn` reads them. 1: accepted, 0: refused, -1: no
 * answer; *ret_revision is the store's. */
static int txn(const char *compares, const char *puts, const char *gets, long long *ret_revision)
{
    char command[2048];
    snprintf(command, sizeof command, "printf '%s\\n\\n%s\\n\\n%s\\n\\n' | ", compares, puts, gets);
    size_t len = strlen(command);
    snprintf(command + len, sizeof command - len, "%stxn -w json 2>>%s", CTL, log_path);
    FILE *file = popen(command, "re"); /* NOLINT(cert-env33-c) */
    json_t *answer = file != NULL ? json_loadf(file, JSON_DECODE_INT_AS_REAL, NULL) : NULL;
    if (file == NULL || pclose(file) != 0 || answer == NULL) {
        json_decref(answer);
        return -1;
    }
    int accepted = json_is_true(json_object_get(answer, "succeeded")) ? 1 : 0;
    if (ret_revision != NULL) {
        *ret_revision = number_at(json_object_get(answer, "header"), "revision");
    }
    json_decref(answer);
    return accepted;
}

/* Its revisions; create 0: absent. */
static struct happened key_state(const char *name)
{
    char command[128];
    struct happened state = {0};
    snprintf(command, sizeof command, "get %s", name);
    json_t *answer = ctl_json(command);
    const json_t *kv = json_array_get(json_object_get(answer, "kvs"), 0);
    state.create = number_at(kv, "create_revision");
    state.mod = number_at(kv, "mod_revision");
    json_decref(answer);
    return state;
}

/* ---- the server ---- */

static void end_keeper(int c)
{
    if (keepers[c] > 0) {
        kill(keepers[c], SIGKILL);
        waitpid(keepers[c], NULL, 0);
        keepers[c] = 0;
    }
}

/* A script is slower here than in the model: what it does not let expire lives on. */
static void keep(int c)
{
    end_keeper(c);
    keepers[c] = leases[c][0] != '\0' ? fork() : 0;
    if (keepers[c] == 0 && leases[c][0] != '\0') {
        int out = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out, 1);
        dup2(out, 2);
        setenv("ETCDCTL_API", "3", 1);
        execlp("etcdctl", "etcdctl", "--endpoints", "http://127.0.0.1:2379", "lease", "keep-alive",
               leases[c], (char *)NULL);
        _exit(127);
    }
}

static void start_etcd(void)
{
    uint64_t until_ms = clock_now_ms() + LIMIT_MS;
    etcd = fork();
    if (etcd == 0) {
        int out = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out, 1);
        dup2(out, 2);
        execlp("etcd", "etcd", "--data-dir", data, "--heartbeat-interval", "50",
               "--election-timeout", "500", (char *)NULL);
        _exit(127);
    }
    while (ctl("get ready") == NULL && clock_now_ms() < until_ms) {
        pause_ms(50);
    }
}

static void stop_etcd(void)
{
    if (etcd > 0) {
        kill(etcd, SIGKILL);
        waitpid(etcd, NULL, 0);
        etcd = 0;
    }
}

void real_etcd_open(const char *dir)
{
    snprintf(data, sizeof data, "%s/etcd", dir);
    snprintf(log_path, sizeof log_path, "%s/etcd.log", dir);
    mkdir(data, 0700);
    start_etcd();
}

void real_etcd_close(void)
{
    for (int c = 0; c < CTLS; c++) {
        end_keeper(c);
    }
    stop_etcd();
}

void real_etcd_begin(void)
{
    if (etcd == 0) {
        start_etcd();
    }
    for (int c = 0; c < CTLS; c++) { /* of the script before */
        end_keeper(c);
        if (leases[c][0] != '\0') {
            ctl("lease revoke %s", leases[c]);
        }
    }
    ctl("del '' --prefix");
    base = revision_now();
    memset(leases, 0, sizeof leases);
    memset(terms, 0, sizeof terms);
    memset(loses, 0, sizeof loses);
    memset(watches, 0, sizeof watches);
    memset(stalls, 0, sizeof stalls);
    memset(resumed, 0, sizeof resumed);
    memset(known_keys, 0, sizeof known_keys);
}

/* ---- leases and leadership ---- */

static bool is_kept(int c)
{
    const char *out = leases[c][0] != '\0' ? ctl("lease keep-alive --once %s", leases[c]) : NULL;
    return out != NULL && strstr(out, "keepalived") != NULL;
}

static void lease(int c, struct says *ret_says)
{
    bool kept = is_kept(c);
    if (!kept) {
        const char *out = ctl("lease grant " LEASE_S);
        if (out == NULL || sscanf(out, "lease %31s granted", leases[c]) != 1) {
            say(ret_says, "c%d is not answered", c + 1);
            return;
        }
        keep(c);
    }
    if (loses[c]) {
        loses[c] = false;
        say(ret_says, "c%d is not answered", c + 1);
        return;
    }
    say(ret_says, kept ? "c%d's lease is kept" : "c%d has a new lease", c + 1);
}

static bool lives(int c)
{
    const char *out = leases[c][0] != '\0' ? ctl("lease timetolive %s", leases[c]) : NULL;
    return out != NULL && strstr(out, "remaining") != NULL;
}

static void expire(int c, struct says *ret_says)
{
    uint64_t until_ms = clock_now_ms() + LIMIT_MS;
    end_keeper(c);
    while (lives(c) && clock_now_ms() < until_ms) {
        pause_ms(100);
    }
    say(ret_says, lives(c) ? "c%d's lease lives" : "c%d's lease has ended", c + 1);
}

static void campaign(int c, struct says *ret_says)
{
    char put[128];
    char own[64];
    long long revision = 0;
    snprintf(put, sizeof put, "put --lease=%s leader c%d", leases[c], c + 1);
    snprintf(own, sizeof own, "value(\"leader\") = \"c%d\"", c + 1);
    txn(own, "del leader", "get leader", NULL); /* a lapsed term is given up for good */
    int accepted =
        leases[c][0] != '\0' ? txn("create(\"leader\") = \"0\"", put, "get leader", &revision) : 0;
    if (accepted == 1) {
        terms[c] = revision;
    }
    if (accepted != 1 || loses[c]) {
        loses[c] = false;
        say(ret_says, "c%d does not lead", c + 1);
        return;
    }
    say(ret_says, "c%d leads, its term is +%lld", c + 1, since(revision));
}

/* ---- compared writes ---- */

/* NAME@REVISION becomes a comparison; the name is returned in ret_name. */
static void add_compare(const char *word, char *compares, size_t size, char ret_name[32])
{
    const char *at = strchr(word, '@');
    size_t len = strlen(compares);
    long long revision = at != NULL ? strtoll(at + 1, NULL, 10) : 0;
    snprintf(ret_name, 32, "%.*s", (int)(at != NULL ? at - word : 31), word);
    snprintf(compares + len, size - len, "%smod(\"%s\") = \"%lld\"", len > 0 ? "\\n" : "", ret_name,
             revision == 0 ? 0 : base + revision);
}

static void save(const struct words *words, int c, struct says *ret_says)
{
    char compares[512];
    char puts_text[512] = "";
    long long revision = 0;
    snprintf(compares, sizeof compares, "create(\"leader\") = \"%lld\"",
             terms[c] > 0 ? terms[c] : 1000000000LL);
    for (int i = 3; i < words->len; i++) {
        char name[32];
        size_t len = strlen(puts_text);
        add_compare(words->at[i], compares, sizeof compares, name);
        snprintf(puts_text + len, sizeof puts_text - len, "%sput %s x", len > 0 ? "\\n" : "", name);
    }
    int accepted = txn(compares, puts_text, "get leader", &revision);
    if (accepted < 0 || loses[c]) {
        loses[c] = false;
        say(ret_says, "c%d is not answered", c + 1);
    } else if (accepted == 1) {
        say(ret_says, "c%d's save is accepted at +%lld", c + 1, since(revision));
    } else {
        say(ret_says, "c%d's save is refused", c + 1);
    }
}

static void say_guard_answer(int node, const char *what, const char *key, int accepted,
                             struct says *ret_says)
{
    if (accepted < 0 || loses[CTLS + node]) {
        loses[CTLS + node] = false;
        say(ret_says, "a%d is not answered", node + 1);
        return;
    }
    say(ret_says, "a%d's %s is %s; its key is at +%lld, the permit at +%lld", node + 1, what,
        accepted == 1 ? "accepted" : "refused", since(key_state(key).mod),
        since(key_state("permit").mod));
}

static void renew(const struct words *words, int node, struct says *ret_says)
{
    char compares[256] = "create(\"permit\") > \"0\"";
    char name[32];
    add_compare(words->at[3], compares, sizeof compares, name);
    add_compare(words->at[4], compares, sizeof compares, name);
    int accepted = txn(compares, "put heartbeat x", "get permit", NULL);
    say_guard_answer(node, "renewal", "heartbeat", accepted, ret_says);
}

static void report(const struct words *words, int node, struct says *ret_says)
{
    char compares[256] = "";
    char name[32];
    char put[64];
    char word[64];
    snprintf(word, sizeof word, "guard.a%d@%s", node + 1, words->at[3]);
    add_compare(word, compares, sizeof compares, name);
    snprintf(put, sizeof put, "put %s x", name);
    say_guard_answer(node, "report", name, txn(compares, put, "get permit", NULL), ret_says);
}

/* ---- watches ---- */

static int key_of(const char *base64)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char name[64] = "";
    unsigned bits = 0;
    int held = 0;
    size_t len = 0;
    for (const char *at = base64; *at != '\0' && *at != '=' && len < sizeof name - 1; at++) {
        bits = bits << 6 | (unsigned)(strchr(digits, *at) - digits);
        held += 6;
        if (held >= 8) {
            held -= 8;
            name[len++] = (char)(bits >> held & 0xff);
        }
    }
    for (int k = 0; k < KEYS; k++) {
        if (strcmp(name, key_names[k]) == 0) {
            return k;
        }
    }
    return -1;
}

static struct happened happened_of(const json_t *kv, bool gone)
{
    return (struct happened){.key = key_of(json_string_value(json_object_get(kv, "key"))),
                             .mod = number_at(kv, "mod_revision"),
                             .create = number_at(kv, "create_revision"),
                             .gone = gone};
}

/* All that happened after `from`, up to `to`. -1: it is compacted away. */
static int watch(long long from, long long to, struct happened *ret)
{
    char command[512];
    char *line = NULL;
    size_t size = 0;
    int len = 0;
    bool lost = false;
    snprintf(command, sizeof command, "%swatch '' --prefix --rev=%lld -w json 2>>%s", CTL, from + 1,
             log_path);
    FILE *file = popen(command, "re"); /* NOLINT(cert-env33-c) */
    for (long long seen = from; file != NULL && seen < to && getline(&line, &size, file) > 0;) {
        json_t *answer = json_loads(line, JSON_DECODE_INT_AS_REAL, NULL);
        const json_t *event;
        size_t i;
        lost = lost || number_at(answer, "CompactRevision") > 0;
        json_array_foreach(json_object_get(answer, "Events"), i, event)
        {
            const json_t *type = json_object_get(event, "type");
            bool gone = json_number_value(type) > 0 ||
                        (json_is_string(type) && strcmp(json_string_value(type), "DELETE") == 0);
            struct happened one = happened_of(json_object_get(event, "kv"), gone);
            seen = one.mod > seen ? one.mod : seen;
            if (len < EVENTS && one.key >= 0) {
                ret[len++] = one;
            }
        }
        json_decref(answer);
        if (lost) {
            break;
        }
    }
    free(line);
    if (file != NULL) {
        pclose(file); /* it ends with its pipe, or by its time */
    }
    return lost ? -1 : len;
}

/* As a client that must read anew: what is there, and what is not any more. */
static int read_anew(int who, struct happened *ret)
{
    int len = 0;
    bool there[KEYS] = {false};
    json_t *answer = ctl_json("get '' --prefix");
    const json_t *kv;
    size_t i;
    json_array_foreach(json_object_get(answer, "kvs"), i, kv)
    {
        struct happened one = happened_of(kv, false);
        if (one.key >= 0) {
            there[one.key] = true;
        }
        if (one.key >= 0 && one.mod > heard_to[who]) {
            ret[len++] = one;
        }
    }
    json_decref(answer);
    for (int k = 0; k < KEYS; k++) {
        if (known_keys[who][k] && !there[k]) {
            ret[len++] = (struct happened){.key = k, .gone = true};
        }
    }
    return len;
}

/* Controllers do not hear their own view, nor of a leader but that it is gone; guards hear of
 * permits, groups, and addresses that are new. */
static bool is_heard(int who, const struct happened *one)
{
    int k = one->key;
    bool permit_or_group = k == 1 || k == 2;
    if (who >= CTLS) {
        return permit_or_group || ((k == 6 || k == 7) && !one->gone && one->create == one->mod);
    }
    return k == 0 ? one->gone : k != 6 + who && k != 5;
}

static int by_mod(const void *a, const void *b)
{
    const struct happened *x = a;
    const struct happened *y = b;
    return x->mod < y->mod ? -1 : x->mod > y->mod ? 1 : x->key - y->key;
}

/* Only the last state of each key that differs from what was told. */
static int collapse(int who, struct happened *all, int len)
{
    int kept = 0;
    for (int i = 0; i < len; i++) {
        bool last = true;
        for (int later = i + 1; later < len; later++) {
            last = last && all[later].key != all[i].key;
        }
        if (last && !(all[i].gone && !known_keys[who][all[i].key])) {
            all[kept++] = all[i];
        }
    }
    qsort(all, (size_t)kept, sizeof *all, by_mod);
    return kept;
}

static void say_news(const char *name, int who, struct says *ret_says)
{
    struct happened all[EVENTS + KEYS];
    long long now = revision_now();
    int said = 0;
    int len = 0;
    if (watches[who] && !stalls[who] && now > heard_to[who]) {
        len = watch(heard_to[who], now, all);
        len = len < 0 ? read_anew(who, all) : len;
        len = resumed[who] ? collapse(who, all, len) : len;
        heard_to[who] = now;
        resumed[who] = false;
    }
    for (int i = 0; i < len; i++) {
        if (!is_heard(who, &all[i])) {
            continue;
        }
        known_keys[who][all[i].key] = !all[i].gone;
        said++;
        if (all[i].gone) {
            say(ret_says, "%s hears that %s is gone", name, key_names[all[i].key]);
        } else {
            say(ret_says, "%s hears of %s at +%lld", name, key_names[all[i].key],
                since(all[i].mod));
        }
    }
    if (said == 0) {
        say(ret_says, "%s hears nothing", name);
    }
}

static void set_watch(const char *verb, int who)
{
    if (strcmp(verb, "watch") == 0) {
        watches[who] = true;
        heard_to[who] = revision_now();
    } else {
        stalls[who] = strcmp(verb, "stall") == 0;
        resumed[who] = !stalls[who];
    }
}

/* ---- commands ---- */

static void say_key(const char *name, struct says *ret_says)
{
    struct happened state = key_state(name);
    if (state.create == 0) {
        say(ret_says, "%s is absent", name);
    } else {
        say(ret_says, "%s was created at +%lld, changed at +%lld", name, since(state.create),
            since(state.mod));
    }
}

static const struct etcd_hands etcd_hands = {
    .lease = lease,
    .expire = expire,
    .campaign = campaign,
    .save = save,
    .renew = renew,
    .report = report,
};

static void on_process(const struct words *words, int number, int who, struct says *ret_says)
{
    if (etcd_by_hand(&etcd_hands, words, number, ret_says)) {
        return;
    }
    if (word_is(words, 1, "resign")) {
        char mine[64];
        snprintf(mine, sizeof mine, "create(\"leader\") = \"%lld\"", terms[number]);
        txn(mine, "del leader", "get leader", NULL);
    } else if (word_is(words, 1, "view")) {
        ctl("put --lease=%s view.c%d x", leases[number][0] != '\0' ? leases[number] : "1",
            number + 1);
    } else if (word_is(words, 1, "lose")) {
        loses[who] = true;
    } else if (word_is(words, 1, "news")) {
        say_news(words->at[2], who, ret_says);
    } else {
        set_watch(words->at[1], who);
    }
}

void real_etcd(const struct words *words, struct says *ret_says)
{
    if (word_is(words, 1, "key")) {
        say_key(words->at[2], ret_says);
    } else if (word_is(words, 1, "compact")) {
        ctl("compact %lld", revision_now());
    } else if (word_is(words, 1, "down")) {
        stop_etcd();
    } else if (word_is(words, 1, "up")) {
        start_etcd();
        for (int c = 0; c < CTLS; c++) {
            keep(c);
        }
    } else {
        bool guard = words->len > 2 && words->at[2][0] == 'a';
        int number = word_number(words, 2, guard ? 'a' : 'c');
        on_process(words, number, guard ? CTLS + number : number, ret_says);
    }
}

/* As it stands, +N replaced by a revision of this store. */
void real_etcdctl(const struct words *words, struct says *ret_says)
{
    char command[1024];
    char line[256];
    size_t len = (size_t)snprintf(command, sizeof command, "%s", CTL);
    for (const char *at = words_from(words, 1); *at != '\0' && len < sizeof command - 64;) {
        if (*at == '+' && isdigit((unsigned char)at[1])) {
            char *end;
            long long n = strtoll(at + 1, &end, 10);
            len += (size_t)snprintf(command + len, 32, "%lld", base + n);
            at = end;
        } else {
            command[len++] = *at++;
        }
    }
    snprintf(command + len, sizeof command - len, " 2>&1");
    FILE *file = popen(command, "re"); /* NOLINT(cert-env33-c): the script's own words */
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (line[0] != '\0' && line[0] != '{') { /* { begins a line of its log */
            say(ret_says, "%s", line);
        }
    }
    if (file != NULL) {
        pclose(file);
    }
}
