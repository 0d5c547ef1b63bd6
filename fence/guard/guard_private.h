/*
 * guard_private.h - what the guard core's files share. Every function here is pure.
 */
#ifndef FAILOVER_GUARD_PRIVATE_H
#define FAILOVER_GUARD_PRIVATE_H

#include "fence/guard/guard_core.h"

#define GUARD_STAY        (-1)
#define GUARD_BIT(s)      (UINT64_C(1) << (s))
#define GUARD_ANY         (GUARD_BIT(DUTIES) - 1)
#define GUARD_CRASHES     3    /* under one epoch: more restarts would be a loop */
#define GUARD_LOOK_MS     2000 /* how long an unpermitted primary may wait for the first permit */
#define GUARD_AGAIN_MS    200  /* between two tries of what did not work */
#define GUARD_PROVE_MS    1000 /* between two tries of a proof */
#define GUARD_SLOTS_MS    10000
#define GUARD_TOLD_NOBODY (-1) /* core->told.revision: the file names nobody that there is */

typedef bool (*guard_when)(const struct guard_core *core);
typedef void (*guard_act)(struct guard_core *core);

struct guard_rule {
    const char *id;
    uint64_t from;
    enum guard_event_type on;
    guard_when when;
    const char *when_name;
    int to;
    guard_act act;
    const char *act_name;
    const char *why;
};

/* rules.c: the first rule for the state and the event whose condition holds; NULL: none. */
const struct guard_rule *guard_find_rule(const struct guard_core *core, enum guard_event_type on);

/* Why a state may meet an event without a row; NULL: it must have one (the table's own test). */
const char *guard_ignored(enum duty state, enum guard_event_type on);

struct guard_effect *guard_effect(struct guard_core *core, enum guard_effect_type type);

/* levels.c */
bool guard_epoch_is(struct epoch a, struct epoch b);
bool guard_is_saved(const struct guard_core *core);
bool guard_is_mine(
    const struct guard_core *core); /* the permit names this node, granted or revoked */
bool guard_has_time(const struct guard_core *core); /* now is before t_send + D - W - K */
bool guard_time_is_over(const struct guard_core *core);
/* Renewed in this life under the known document, with time left, and what it rests on is stored. */
bool guard_was_renewed(const struct guard_core *core);
bool guard_may_bear_a_fork(const struct guard_core *core);
bool guard_promotion_must_be_stored(const struct guard_core *core);
bool guard_wants_permit(const struct guard_core *core);
bool guard_is_former_primary(const struct guard_core *core);
bool guard_is_at_or_below_fork(const struct guard_core *core);
bool guard_is_blind(const struct guard_core *core);
/* The upstream that a standby shall have now: "" while it is cut. */
const char *guard_upstream(const struct guard_core *core);
/* A standby's own commits, should it ever make any, shall wait for nobody that there is. */
bool guard_closes(const struct guard_core *core);
bool guard_sync_is_up(const struct guard_core *core); /* told is proven in this life */
uint32_t guard_renewal_ms(const struct guard_core *core);
uint32_t guard_patience_ms(const struct guard_core *core); /* (D - W) / 4 */
const struct guard_permit *guard_terms(const struct guard_core *core);
bool guard_watchdog_is_settled(const struct guard_core *core);
bool guard_says_armed(const struct guard_core *core);

#endif
