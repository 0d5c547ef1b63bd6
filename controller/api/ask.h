/*
 * ask.h - reading what somebody asks for, strictly: the bodies of POST /v1/requests, /v1/config and
 * /v1/promise.
 *
 * A member that is not known is an error, not ignored: a misspelt "accept_loss_bytes" must not
 * become a request without it. A reason is mandatory, and is one line that a person can read. Names
 * are held against the definition, so that a request which can never be done is not written down;
 * whether it may be done now is the core's to say.
 */
#ifndef FAILOVER_API_ASK_H
#define FAILOVER_API_ASK_H

#include <jansson.h>

#include "controller/base/err.h"
#include "controller/cluster/records.h"
#include "controller/core/core.h"

/* def NULL: none is stored yet. Fills kind to accept_loss_bytes and the id, "" when none was given;
 * who, time and state are the caller's. */
int ask_request(const json_t *body, const struct definition *def,
                struct request_record *ret_request, struct err *ret_err);

/* A group's (or its database's) names and a node, as a question names them; "" where not said. */
int ask_names(const struct definition *def, const char *group, const char *database,
              const char *node, struct request_record *ret_request, struct err *ret_err);

struct ask_config {
    const char *yaml; /* inside the body */
    size_t yaml_len;
    char id[ID_SIZE]; /* or "" */
    char reason[REASON_SIZE];
    int64_t expected_revision; /* -1: not said */
};
int ask_config(const json_t *body, struct ask_config *ret_config, struct err *ret_err);

/* A guard's question for a promise; its nonce comes back with the answer. */
#define NONCE_SIZE 48
struct ask_promise {
    struct promise_question question;
    char nonce[NONCE_SIZE];
};
int ask_promise(const json_t *body, struct ask_promise *ret_ask, struct err *ret_err);

/* [a-z0-9-], at least 8 bytes and fewer than ID_SIZE. */
bool ask_id_valid(const char *id);

#endif
