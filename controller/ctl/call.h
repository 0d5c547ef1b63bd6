/*
 * call.h - failoverctl's way to the controllers: one request at a time, to whichever answers.
 *
 * The addresses (unix sockets and https:// URLs) are tried in their order, beginning with the one
 * that answered last; a controller that refuses the connection or does not answer within
 * CALL_DEADLINE_MS is passed over. A write is sent under an id of the caller's making, so that
 * sending it again through the other controller after a lost answer is harmless. Over HTTPS a write
 * comes after a question that was answered, since TLS 1.3 tells a client only afterwards that its
 * certificate was not taken: so that "nothing was changed" can be said.
 *
 * What the controllers report was written by servers and people: control characters in it are
 * replaced, so that no text can drive the operator's terminal (not in `raw`, and not in a
 * definition's YAML).
 */
#ifndef FAILOVER_CTL_CALL_H
#define FAILOVER_CTL_CALL_H

#include <jansson.h>
#include <stdbool.h>

#include "controller/ctl/command.h"

#define CALL_DEADLINE_MS 5000

struct call_answer {
    bool reached;    /* an HTTP answer came */
    bool maybe_sent; /* not reached, but a controller may have taken the request */
    int status;
    json_t *body; /* NULL: none, or no JSON */
    char *raw;
    char text[512]; /* not reached, or status >= 400: why */
    const char *address;
};

struct caller *caller_new(void);
void caller_free(struct caller *caller);

/* To the first controller that answers. Always to be followed by call_done(). */
void call(struct ctl *ctl, const char *method, const char *path, const json_t *body,
          struct call_answer *ret_answer);
/* To this one only. */
void call_one(struct ctl *ctl, int address, const char *method, const char *path,
              const json_t *body, struct call_answer *ret_answer);
void call_done(struct call_answer *answer);
/* An answer with 200 and JSON; else says why and sets the exit code. */
bool call_good(const struct call_answer *answer, enum ctl_exit *ret_exit);
/* Adds "ADDRESS: why" of one that was not reached to a text that names several. */
void call_list(char *text, size_t size, const struct call_answer *answer);
/* GET from the first that answers with 200; else says why and sets the exit code. */
bool call_get(struct ctl *ctl, const char *path, struct call_answer *ret_answer,
              enum ctl_exit *ret_exit);
/* GET from the leader if one of the controllers is it, else from the first that answers. A question
 * with an error in it (400) ends with CTL_USAGE. */
bool call_leader(struct ctl *ctl, const char *path, struct call_answer *ret_answer,
                 enum ctl_exit *ret_exit);
/* A name of the definition, to stand in a URL; false: said. */
bool call_name(const struct ctl *ctl, const char *what, const char *name);
/* The status of the leader if one of the controllers is it, else of one that reaches etcd. */
bool call_status(struct ctl *ctl, struct call_answer *ret_answer, enum ctl_exit *ret_exit);

/* Members of an answer, with what is shown when they are absent. */
const char *member_text(const json_t *object, const char *key, const char *absent);
long long member_number(const json_t *object, const char *key, long long absent);
bool member_true(const json_t *object, const char *key);
bool member_null(const json_t *object, const char *key); /* null or absent */

#endif
