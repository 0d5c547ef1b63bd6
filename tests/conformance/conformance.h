/*
 * conformance.h - one script, told to the simulator's models and to the real programs.
 *
 * A side carries out a script's commands and says in plain sentences what can be seen of them. Both
 * sides must say what the script says (conformance.c tells how scripts look).
 *
 * The model's side drives tests/sim with hands of its own: what a model sends to a controller or a
 * guard is taken from the queue before it arrives, and none of their code runs. The real side waits
 * for conditions, up to a deadline; that something does not happen it believes after a pause.
 */
#ifndef FAILOVER_TESTS_CONFORMANCE_H
#define FAILOVER_TESTS_CONFORMANCE_H

#include <stdbool.h>
#include <stdint.h>

#define SAYS_MAX     16
#define WORDS_MAX    16
#define SCRIPT_NODES 3

struct says {
    char lines[SAYS_MAX][160];
    int len;
};
void say(struct says *ret_says, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct words { /* of a command */
    int len;
    char *at[WORDS_MAX];
    const char *line; /* the whole of it */
};
bool word_is(const struct words *words, int i, const char *word);
/* a1, a2, a3: 0 to 2. p1, c2, s3 likewise. Ends the program where there is no such word. */
int word_number(const struct words *words, int i, char letter);
/* The line from this word on; "" if there is none. */
const char *words_from(const struct words *words, int i);

struct side {
    const char *name;
    void (*begin)(uint64_t seed);
    void (*run)(const struct words *words, struct says *ret_says);
    void (*end)(void);
};
extern const struct side model_side;
extern const struct side real_side;

/* synchronous_standby_names, from `FIRST 1 (a1, a2)`, `ANY 2 (a1, a2, a3)`, `nobody` or `none`. */
struct wanted_names {
    int k; /* 0: none */
    bool first;
    int len;
    int order[SCRIPT_NODES]; /* SCRIPT_NODES: one that nobody bears */
    char text[384];          /* as PostgreSQL takes it */
};
void names_read(const char *text, struct wanted_names *ret);
int names_place_of(const struct wanted_names *names, int who);

/* What both sides have a hand for. The rest of a side's words are its own. */
struct pg_hands {
    void (*start)(const struct words *words, int i, struct says *ret_says);
    void (*set_names)(int i, const char *text, struct says *ret_says);
    void (*commit)(int i, const char *name, struct says *ret_says);
    void (*probe)(int i, struct says *ret_says);
    void (*promote)(int i, struct says *ret_says);
    void (*stop)(int i, struct says *ret_says);
    bool (*handle)(const struct words *words, int i); /* false: no such word */
    void (*look)(const struct words *words, int i, struct says *ret_says);
};
struct etcd_hands {
    void (*lease)(int who, struct says *ret_says);
    void (*expire)(int who, struct says *ret_says);
    void (*campaign)(int who, struct says *ret_says);
    void (*save)(const struct words *words, int who, struct says *ret_says);
    void (*renew)(const struct words *words, int who, struct says *ret_says);
    void (*report)(const struct words *words, int who, struct says *ret_says);
};
/* A command whose third word is an instance. */
void pg_by_hand(const struct pg_hands *hands, const struct words *words, struct says *ret_says);
/* false: it is none of these. */
bool etcd_by_hand(const struct etcd_hands *hands, const struct words *words, int who,
                  struct says *ret_says);

/* real_*.c */
void real_pg_open(void);
void real_pg_begin(void);
void real_pg(const struct words *words, struct says *ret_says);
void real_pg_end(void);
void real_pg_close(void);
void real_etcd_open(const char *dir);
void real_etcd_begin(void);
void real_etcd(const struct words *words, struct says *ret_says);
void real_etcdctl(const struct words *words, struct says *ret_says);
void real_etcd_close(void);
void real_haproxy_open(const char *dir);
void real_haproxy(const struct words *words, struct says *ret_says);
void real_haproxy_end(void);
void real_haproxy_close(void);
void real_open(void);
void real_close(void);

#endif
