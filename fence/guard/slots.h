/*
 * slots.h - the replication slots of a guard's making: WAL that a standby still needs stays on its
 * upstream.
 *
 * On an upstream slots_keep() makes a physical slot for each standby that is declared to receive
 * from it, and drops those of our names that nobody is declared for, or that have lost their WAL;
 * one that is in use is left until it is not. Slots of other names are an operator's.
 *
 * A standby that names a slot which is not there cannot connect at all. So slots_ask() asks the
 * upstream, in the replication protocol and as the standby logs in there, whether the slot is there
 * and still holds WAL; only then is it named. An upstream before PostgreSQL 15 cannot say, and its
 * standbys go without.
 *
 * Time:   each operation has a deadline; what it did not do is done by the next one.
 * Loop:   `answered` comes from the loop, never from inside slots_ask(); none after slots_free().
 */
#ifndef FAILOVER_GUARD_SLOTS_H
#define FAILOVER_GUARD_SLOTS_H

#include "controller/base/loop.h"
#include "controller/base/pg.h"
#include "fence/guard/guard_sync.h"

enum slots_answer { SLOTS_UNKNOWN, SLOTS_THERE, SLOTS_MISSING };

struct slots_params {
    struct pg_target target; /* the own server */
    void (*on_word)(void *arg, const char *text);
    void (*answered)(void *arg, enum slots_answer answer);
    void *arg;
};

struct slots;

struct slots *slots_new(struct loop *loop, const struct slots_params *params);
/* Standbys by application_name. A second later: what led to it, a failover perhaps, comes first. */
void slots_keep(struct slots *slots, const char (*standbys)[NAME_SIZE], int len);
void slots_stop(struct slots *slots); /* what was still to come: the server is gone */
/* hostaddr and port: where conninfo leads to. */
void slots_ask(struct slots *slots, const char *hostaddr, uint16_t port, const char *conninfo,
               const char *slot);
void slots_free(struct slots *slots);

#endif
