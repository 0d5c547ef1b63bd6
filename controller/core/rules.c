/*
 * rules.c - the policy, as one table: the code, the log's words, the diagram and the reference
 * page.
 *
 * First match wins. A guard is a pure predicate named as a sentence; an action appends effects and
 * marks records. core_rules_run is the only place that assigns a database's state; it checks the
 * invariants after every move and emits the note. Row order inside one state and event matters:
 * what protects comes before what proceeds.
 */
#include "controller/core/private.h"

#include <assert.h>
#include <string.h>

#include "controller/base/rule_off.h"

#define MOVING                                                                                     \
    (BIT(DB_REVOKING) | BIT(DB_FENCING) | BIT(DB_FENCE_WAIT) | BIT(DB_PROVING) |                   \
     BIT(DB_CHOOSING) | BIT(DB_CHOICE_WAIT) | BIT(DB_GRANTING) | BIT(DB_PROMOTING) |               \
     BIT(DB_PROMOTE_WAIT) | BIT(DB_RECORDING) | BIT(DB_REDIRECTING) | BIT(DB_VERIFYING) |          \
     BIT(DB_CLOSING))
#define ANY              ((BIT(DB_STATES) - 1) & ~BIT(DB_OBSERVING))
#define BEFORE_THE_FENCE (BIT(DB_NORMAL) | BIT(DB_SUSPECT) | BIT(DB_HELD))
#define HAS_PRIMARY      (BEFORE_THE_FENCE | BIT(DB_REDIRECTING) | BIT(DB_VERIFYING))
#define SERVES           (BIT(DB_NORMAL) | BIT(DB_REDIRECTING) | BIT(DB_VERIFYING))
#define HAS_PROOF        (BIT(DB_CHOOSING) | BIT(DB_CHOICE_WAIT))
#define WHEN(guard)      guard, #guard
#define ACT(action)      action, #action

/* clang-format off */
static const struct core_rule rules[] = {
  /* id      from                    on                 when                              to                act                       why */
  /* leadership */
  { "R-L0",  ANY,                    ON_NOT_LEADING,    WHEN(always),                     DB_OBSERVING,     ACT(drop_plans),          "a lost lease or an unsure record ends every plan at once" },
  { "R-L1",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_is_parked),           DB_PARKED,        ACT(park),                "a step that was parked, or that killed its leaders, waits for a person" },
  { "R-L2",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_contradicts),         DB_PARKED,        ACT(park),                "records that contradict each other are never initialised over: a person must look" },
  { "R-L3",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_says_fence),          DB_FENCING,       ACT(take_up_fence),       "a revoked permit without evidence: the fence is done again" },
  { "R-L4",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_says_choose),         DB_CHOOSING,      ACT(take_up_choice),      "recorded evidence holds; the standbys are heard anew" },
  { "R-L5",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_says_promote),        DB_PROMOTE_WAIT,  ACT(take_up_promotion),   "a granted candidate may be a primary already: look before asking again" },
  { "R-L6",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_says_redirect),       DB_REDIRECTING,   ACT(take_up_redirect),    "routes are reconciled, whoever began" },
  { "R-L7",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(record_says_verify),         DB_VERIFYING,     ACT(take_up_verify),      "what was switched must still be seen to work" },
  { "R-L8",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(never_adopted),              DB_UNADOPTED,     ACT(nothing),             "without a first permit nothing is decided" },
  { "R-L9",  BIT(DB_OBSERVING),      ON_LOADED,         WHEN(always),                     DB_NORMAL,        ACT(nothing),             "the permit and the record agree" },
  /* adoption */
  { "R-A1",  BIT(DB_UNADOPTED),      ON_REVIEW,         WHEN(exactly_one_primary),        DB_ADOPTING,      ACT(adopt),               "exactly one primary takes writes, and every other instance is its standby" },
  { "R-A2",  BIT(DB_ADOPTING),       ON_SAVED,          WHEN(always),                     DB_NORMAL,        ACT(nothing),             "the first permit is recorded" },
  { "R-A3",  BIT(DB_UNADOPTED),      ON_REVIEW,         WHEN(several_protest),            STAY,             ACT(say_protest),         "not exactly one primary: a person must say which" },
  /* believing a failure */
  { "R-F1",  BIT(DB_NORMAL),         ON_REVIEW,         WHEN(primary_seems_down),         DB_SUSPECT,       ACT(suspect),             "one witness is not evidence" },
  { "R-F2",  BIT(DB_SUSPECT)|BIT(DB_HELD), ON_REVIEW,   WHEN(primary_is_back),            DB_NORMAL,        ACT(let_go),              "before the fence a primary that is back is left alone" },
  { "R-F3",  BIT(DB_SUSPECT)|BIT(DB_HELD), ON_REVIEW,   WHEN(nothing_holds),              DB_REVOKING,      ACT(revoke),              "every witness agrees, policy allows it and a candidate passes: revoke first" },
  { "R-F4",  BIT(DB_SUSPECT),        ON_REVIEW,         WHEN(a_rule_holds_it_back),       DB_HELD,          ACT(say_held),            "down, but a rule holds the failover back: a person is told which" },
  { "R-F5",  BIT(DB_HELD),           ON_REVIEW,         WHEN(the_hold_changed),           STAY,             ACT(say_held),            "what holds it back has changed" },
  { "R-F6",  BEFORE_THE_FENCE,       ON_JOINED,         WHEN(always),                     DB_REVOKING,      ACT(join),                "a fence names every instance on its node: this one moves too" },
  { "R-F7",  BEFORE_THE_FENCE,       ON_FORCED,         WHEN(always),                     DB_REVOKING,      ACT(revoke),              "a person is not asked for witnesses; fence and candidate still hold" },
  /* a fence lasts */
  { "R-I1",  HAS_PRIMARY,            ON_REVIEW,         WHEN(an_intruder_writes),         STAY,             ACT(say_intruder),        "an instance takes writes without being the recorded primary: recorded, and a person is called" },
  { "R-I2",  HAS_PRIMARY,            ON_REVIEW,         WHEN(a_refence_runs_late),        STAY,             ACT(next_refence),        "no report by its deadline: the next level" },
  { "R-I3",  HAS_PRIMARY,            ON_REVIEW,         WHEN(an_intruder_may_be_fenced),  STAY,             ACT(fence_intruder),      "a fence lasts: it is fenced again, within a limit" },
  { "R-I4",  HAS_PRIMARY,            ON_FENCE_PROVEN,   WHEN(always),                     STAY,             ACT(intruder_fenced),     "the instance that came back is fenced again" },
  { "R-I5",  HAS_PRIMARY,            ON_FENCE_FAILED,   WHEN(always),                     STAY,             ACT(next_refence),        "no proof from this level: the next one, and the alarm stays" },
  { "R-I6",  HAS_PRIMARY,            ON_REVIEW,         WHEN(the_intruder_is_gone),       STAY,             ACT(forget_intruder),     "one primary is seen again" },
  /* fencing */
  { "R-V1",  BIT(DB_REVOKING),       ON_SAVED,          WHEN(always),                     DB_FENCING,       ACT(start_levels),        "evidence counts only if it came after the recorded revocation" },
  { "R-V2",  BIT(DB_FENCING),        ON_SAVED,          WHEN(always),                     STAY,             ACT(start_levels),        "recorded under this leader's own term: the levels run" },
  { "R-V3",  BIT(DB_FENCING),        ON_FENCE_PROVEN,   WHEN(always),                     DB_PROVING,       ACT(record_evidence),     "the first sufficient evidence wins" },
  { "R-V4",  BIT(DB_FENCING),        ON_FENCE_FAILED,   WHEN(always),                     STAY,             ACT(next_level),          "no proof from this level: the next one" },
  { "R-V11", BIT(DB_FENCING)|BIT(DB_FENCE_WAIT), ON_REVIEW, WHEN(the_guard_reports_it_gone), DB_PROVING,    ACT(record_guard),        "its guard names the revocation: nothing of the instance is left, and the epoch is dropped" },
  { "R-V12", BIT(DB_FENCING)|BIT(DB_FENCE_WAIT), ON_REVIEW, WHEN(the_permits_time_has_passed), DB_PROVING,  ACT(record_time),         "the permit's whole time has passed since the confirmed revocation, and the watchdog was armed" },
  { "R-V13", BIT(DB_FENCING)|BIT(DB_FENCE_WAIT), ON_REVIEW, WHEN(enough_standbys_are_cut),   DB_PROVING,    ACT(record_cut),          "no commit of it can be acknowledged any more" },
  { "R-V15", BIT(DB_FENCING)|BIT(DB_FENCE_WAIT), ON_REVIEW, WHEN(the_permit_was_never_taken_up), DB_PROVING, ACT(record_unused), "a candidate under whose permit no renewal was accepted before the revocation, and none can be since: it never began" },
  { "R-V14", BIT(DB_FENCING),        ON_REVIEW,         WHEN(retry_is_due),               STAY,             ACT(fence_the_node),      "its guard did not stop it in time: the levels run, and may take the whole node" },
  { "R-V5",  BIT(DB_FENCING),        ON_REVIEW,         WHEN(a_level_runs_late),          STAY,             ACT(next_level),          "a level that does not report by its deadline is unknown: the next one" },
  { "R-V6",  BIT(DB_FENCING),        ON_REVIEW,         WHEN(no_level_is_left),           DB_FENCE_WAIT,    ACT(call_for_fence),      "no proof of death, no promotion: a person is called" },
  { "R-V7",  BIT(DB_FENCE_WAIT),     ON_REVIEW,         WHEN(retry_is_due),               DB_FENCING,       ACT(start_levels),        "the levels are tried again while a person is on the way" },
  { "R-V8",  BIT(DB_FENCING)|BIT(DB_FENCE_WAIT), ON_CONFIRMED, WHEN(always),              DB_PROVING,       ACT(record_evidence),     "a person vouches that the node cannot write" },
  { "R-V9",  BIT(DB_PROVING),        ON_SAVED,          WHEN(always),                     DB_CHOOSING,      ACT(begin_choice),        "the evidence is recorded: now the standbys are heard" },
  { "R-V10", HAS_PROOF,              ON_REVIEW,         WHEN(the_old_primary_lives),      DB_FENCE_WAIT,    ACT(cancel_evidence),     "living evidence newer than the proof cancels it" },
  /* choosing and promoting */
  { "R-C1",  HAS_PROOF,              ON_REVIEW,         WHEN(a_candidate_passes),         DB_GRANTING,      ACT(grant),               "heard since the fence, of the recorded history, with the most WAL" },
  { "R-C2",  BIT(DB_CHOOSING),       ON_REVIEW,         WHEN(choice_is_late),             DB_CHOICE_WAIT,   ACT(call_for_candidate),  "nobody passes: a wrong promotion is worse than a late one" },
  { "R-C3",  BIT(DB_CHOICE_WAIT),    ON_FORCED,         WHEN(always),                     STAY,             ACT(accept_loss),         "a person accepts a named loss" },
  { "R-P0",  BIT(DB_GRANTING),       ON_SAVED,          WHEN(the_old_primary_lives),      DB_PARKED,        ACT(park),                "the fence lied after the grant was sent: the order is not given, a person must look" },
  { "R-P1",  BIT(DB_GRANTING),       ON_SAVED,          WHEN(always),                     DB_PROMOTING,     ACT(promote),             "the grant is recorded: from now on the candidate counts as a primary" },
  { "R-P2",  BIT(DB_PROMOTING),      ON_PROMOTED,       WHEN(timeline_is_unexpected),     DB_PARKED,        ACT(park),                "a promotion that yields another timeline than the record expects is not trusted" },
  { "R-P3",  BIT(DB_PROMOTING),      ON_PROMOTED,       WHEN(always),                     DB_RECORDING,     ACT(record_primary),      "it took a write on the new timeline" },
  { "R-P4",  BIT(DB_PROMOTING),      ON_PROMOTE_FAILED, WHEN(always),                     DB_PROMOTE_WAIT,  ACT(observe_candidate),   "unknown is not failed: look at the candidate before anything else" },
  { "R-P13", BIT(DB_PROMOTING)|BIT(DB_PROMOTE_WAIT), ON_REVIEW, WHEN(the_guard_forked),   DB_PARKED,        ACT(park),                "its guard reports a primary on another timeline than the record expects" },
  { "R-P14", BIT(DB_PROMOTING)|BIT(DB_PROMOTE_WAIT), ON_REVIEW, WHEN(the_guard_promoted), DB_RECORDING,     ACT(record_primary),      "its guard promoted it under the permit, and it took a write" },
  { "R-P15", BIT(DB_PROMOTING)|BIT(DB_PROMOTE_WAIT), ON_REVIEW, WHEN(the_guard_promoted_and_waits), DB_RECORDING, ACT(record_primary), "its guard promoted it under the permit; its first write waits for a standby, which follows only a recorded primary" },
  { "R-P16", BIT(DB_PROMOTING),      ON_REVIEW,         WHEN(the_guard_lost_it),          DB_PROMOTE_WAIT,  ACT(observe_candidate),   "its guard says that it has ended: no outcome will come" },
  { "R-P17", BIT(DB_PROMOTING),      ON_REVIEW,         WHEN(the_candidate_failed),       DB_PROMOTE_WAIT,  ACT(observe_candidate),   "it is seen down, or in another life, or its guard is silent: no outcome is waited for" },
  { "R-P5",  BIT(DB_PROMOTING),      ON_REVIEW,         WHEN(promotion_runs_late),        DB_PROMOTE_WAIT,  ACT(observe_candidate),   "no outcome by the deadline: look at the candidate" },
  { "R-P6",  BIT(DB_PROMOTE_WAIT),   ON_REVIEW,         WHEN(candidate_forked),           DB_PARKED,        ACT(park),                "a primary on another timeline than the record expects is not trusted" },
  { "R-P7",  BIT(DB_PROMOTE_WAIT),   ON_REVIEW,         WHEN(candidate_is_primary),       DB_RECORDING,     ACT(record_primary),      "it is a primary on the expected timeline" },
  { "R-P12", BIT(DB_PROMOTE_WAIT),   ON_REVIEW,         WHEN(the_old_primary_lives),      DB_PARKED,        ACT(park),                "the old primary takes writes and the candidate is not promoted yet: it is not asked again" },
  { "R-P8",  BIT(DB_PROMOTE_WAIT),   ON_REVIEW,         WHEN(candidate_can_be_asked_again), DB_PROMOTING,   ACT(promote),             "seen in recovery: the promotion is conditional, so asking twice is safe" },
  { "R-P9",  BIT(DB_PROMOTE_WAIT),   ON_REVIEW,         WHEN(candidate_is_lost),          DB_REVOKING,      ACT(refence),             "a recorded candidate counts as a primary: another is chosen only after it is fenced" },
  { "R-P10", BIT(DB_PROMOTE_WAIT),   ON_REVIEW,         WHEN(promotion_is_stuck),         STAY,             ACT(call_for_promotion),  "neither a primary nor replaceable: a person is called" },
  { "R-P11", BIT(DB_RECORDING),      ON_SAVED,          WHEN(always),                     DB_REDIRECTING,   ACT(begin_redirect),      "the new primary is recorded: traffic follows the permit" },
  /* redirecting and the end */
  { "R-D1",  BIT(DB_REDIRECTING)|BIT(DB_VERIFYING), ON_REVIEW, WHEN(new_primary_fails),   DB_CLOSING,       ACT(abandon_move),        "the new primary fails in its turn: that is a failure of its own" },
  { "R-D2",  BIT(DB_REDIRECTING),    ON_REVIEW,         WHEN(routes_agree),               DB_VERIFYING,     ACT(begin_verify),        "every proxy that answers was read back" },
  { "R-D3",  BIT(DB_VERIFYING),      ON_REVIEW,         WHEN(business_works),             DB_CLOSING,       ACT(close_move),          "the new primary takes writes and its services are well" },
  { "R-D4",  BIT(DB_REDIRECTING)|BIT(DB_VERIFYING), ON_REVIEW, WHEN(it_takes_long),       STAY,             ACT(say_late),            "the switch is not complete: a person should look why" },
  { "R-D5",  BIT(DB_CLOSING),        ON_SAVED,          WHEN(always),                     DB_NORMAL,        ACT(finish_move),         "the move is over" },
  /* what commits wait for */
  { "R-S4",  SERVES,                 ON_REVIEW,         WHEN(the_entry_is_proven),        STAY,             ACT(drop_entries),        "every backend goes by the new entry, and its standbys have all that was acknowledged before: the older ones count no more" },
  { "R-S5",  SERVES,                 ON_REVIEW,         WHEN(standbys_are_missing),       STAY,             ACT(list_entry),          "standbys have confirmed nothing for degrade_after: recorded first, then commits wait for fewer" },
  { "R-S6",  SERVES,                 ON_REVIEW,         WHEN(standbys_are_back),          STAY,             ACT(list_entry),          "standbys confirm again and have caught up: commits shall wait for them again" },
  { "R-S7",  SERVES,                 ON_REVIEW,         WHEN(another_entry_is_declared),  STAY,             ACT(list_entry),          "the definition declares another entry: the old one counts until the new one is proven" },
  /* a person steers */
  { "R-K1",  BIT(DB_PARKED),         ON_RETRY,          WHEN(may_retry_nothing),          DB_NORMAL,        ACT(unpark),              "the records agree again, and nothing is under way" },
  { "R-K2",  BIT(DB_PARKED),         ON_RETRY,          WHEN(may_retry_fence),            DB_FENCING,       ACT(retry_fence),         "as after a change of leader: the fence is done again" },
  { "R-K3",  BIT(DB_PARKED),         ON_RETRY,          WHEN(may_retry_choice),           DB_CHOOSING,      ACT(retry_choice),        "as after a change of leader: the standbys are heard anew" },
  { "R-K4",  BIT(DB_PARKED),         ON_RETRY,          WHEN(may_retry_promotion),        DB_PROMOTE_WAIT,  ACT(retry_promotion),     "as after a change of leader: look before asking again" },
  { "R-K5",  BIT(DB_PARKED),         ON_RETRY,          WHEN(may_retry_redirect),         DB_REDIRECTING,   ACT(retry_redirect),      "as after a change of leader: routes are reconciled" },
  { "R-K6",  BIT(DB_PARKED),         ON_RETRY,          WHEN(may_retry_verify),           DB_VERIFYING,     ACT(retry_verify),        "as after a change of leader: it must be seen to work" },
  { "R-K7",  BIT(DB_FENCE_WAIT),     ON_RETRY,          WHEN(may_retry_wait),             DB_FENCING,       ACT(start_levels),        "a person does not wait for the next round of levels" },
  { "R-K8",  BIT(DB_CHOICE_WAIT),    ON_RETRY,          WHEN(may_retry_wait),             DB_CHOOSING,      ACT(begin_choice),        "a person has mended a standby: all are heard again" },
  { "R-K9",  BIT(DB_PROMOTE_WAIT),   ON_RETRY,          WHEN(may_retry_wait),             STAY,             ACT(ask_again),           "a person has mended the candidate: it may be asked again" },
  { "R-K10", BIT(DB_REDIRECTING)|BIT(DB_PARKED), ON_SKIP, WHEN(may_skip_redirect),        DB_VERIFYING,     ACT(skip_redirect),       "a person does not wait for every proxy: each is reconciled all the same" },
  { "R-K11", BIT(DB_VERIFYING)|BIT(DB_PARKED), ON_SKIP, WHEN(may_skip_verify),            DB_CLOSING,       ACT(skip_verify),         "a person ends the move without seeing it work, and the incident says so" },
  { "R-K12", BIT(DB_FENCE_WAIT)|HAS_PROOF|BIT(DB_PARKED), ON_ABANDON, WHEN(may_be_abandoned), DB_CLOSING,  ACT(give_back),           "nobody was promoted: the old primary alone gets a permit, under a new epoch" },
  { "R-K13", BIT(DB_PROMOTE_WAIT)|BIT(DB_PARKED), ON_ABANDON, WHEN(candidate_may_be_given_up), DB_REVOKING, ACT(give_up_candidate),  "a granted candidate counts as a primary: it is fenced before it is given up" },
};
/* clang-format on */

#define RULES_LEN ((int)(sizeof rules / sizeof rules[0]))

#define X(id, name, help) name,
const char *const db_state_names[] = {DB_STATE_LIST(X) NULL};
#undef X
#define X(id, name, help) help,
const char *const db_state_helps[] = {DB_STATE_LIST(X) NULL};
#undef X
#define X(id, name) name,
static const char *const event_names[] = {RULE_EVENT_LIST(X) NULL};
#undef X

/* S2, and "record, then act": what must hold whenever a rule has moved a database. */
static void check_invariants(const struct core *core, int db)
{
    const struct database_state *d = &core->databases[db];
    const struct move_record *move = core_move_of(core, db);
    const uint64_t needs_proof = BIT(DB_CHOOSING) | BIT(DB_GRANTING) | BIT(DB_PROMOTING) |
                                 BIT(DB_PROMOTE_WAIT) | BIT(DB_RECORDING);
    if (d->state == DB_FENCING || d->state == DB_REVOKING) {
        assert(move != NULL && d->permit.state == PERMIT_REVOKED);
    }
    if ((needs_proof & BIT(d->state)) != 0) {
        assert(move != NULL && move->evidence_len > 0);
    }
    if (d->state == DB_PROMOTING) {
        assert(core->leading && core->loaded && d->awaits == 0 && !d->permit_dirty);
        assert(d->permit.state == PERMIT_GRANTED && strcmp(d->permit.node, move->candidate) == 0);
    }
    if (d->state == DB_NORMAL) {
        assert(d->awaits == 0 && move == NULL);
    }
}

static const struct core_rule *find_rule(const struct core *core, int db, enum rule_event on)
{
    for (int i = 0; i < RULES_LEN; i++) {
        const struct core_rule *rule = &rules[i];
        if (rule->on == on && (rule->from & BIT(core->databases[db].state)) != 0 &&
            rule->when(core, db) && !rule_is_off(rule->id)) {
            return rule;
        }
    }
    return NULL;
}

bool core_rules_run(struct core *core, int db, enum rule_event on)
{
    struct database_state *d = &core->databases[db];
    const struct core_rule *rule = find_rule(core, db, on);
    if (rule == NULL) {
        return false;
    }
    enum db_state from = d->state;
    if (rule->to != STAY) {
        d->state = (enum db_state)rule->to;
        d->since_ms = core->now_ms;
        d->late_noted = false;
    }
    rule->act(core, db);
    bool quiet = rule->on == ON_NOT_LEADING || from == DB_OBSERVING;
    note(core, quiet && d->state == DB_NORMAL ? NOTE_DEBUG : NOTE_INFO, rule->id, db, (int)from,
         (int)d->state, "%s", rule->why);
    check_invariants(core, db);
    return true;
}

bool core_rules_allow(const struct core *core, int db, enum rule_event on)
{
    return find_rule(core, db, on) != NULL;
}

int core_rules_len(void)
{
    return RULES_LEN;
}

struct rule_info core_rule(int index)
{
    assert(index >= 0 && index < RULES_LEN);
    const struct core_rule *rule = &rules[index];
    return (struct rule_info){.id = rule->id,
                              .from = rule->from,
                              .on = event_names[rule->on],
                              .when = rule->when_name,
                              .to = rule->to,
                              .act = rule->act_name,
                              .why = rule->why};
}

/*
 * What may meet a state without a row, and why. A step's outcome is only delivered to the state
 * whose step it was (core.c), so those columns have their one state; all the rest must be covered
 * by the table.
 */
const char *core_rule_ignored(enum db_state state, enum rule_event on)
{
    const uint64_t awaiting = BIT(DB_ADOPTING) | BIT(DB_REVOKING) | BIT(DB_PROVING) |
                              BIT(DB_GRANTING) | BIT(DB_RECORDING) | BIT(DB_CLOSING);
    switch (on) {
    case ON_REVIEW:
        if (state == DB_OBSERVING) {
            return "a follower observes";
        }
        if ((awaiting & BIT(state)) != 0) {
            return "it waits for its save, whose failure ends the plan (R-L0)";
        }
        return state == DB_PARKED ? "a person must act" : NULL;
    case ON_LOADED: return state == DB_OBSERVING ? NULL : "records are loaded while observing only";
    case ON_NOT_LEADING: return state == DB_OBSERVING ? "it does not lead already" : NULL;
    case ON_SAVED:
        return (awaiting & BIT(state)) != 0 || state == DB_FENCING ? NULL
                                                                   : "this state waits for no save";
    case ON_FENCE_PROVEN:
    case ON_FENCE_FAILED:
        return state == DB_FENCING || (HAS_PRIMARY & BIT(state)) != 0
                   ? NULL
                   : "no level of this database runs";
    case ON_CONFIRMED:
        return state == DB_FENCING || state == DB_FENCE_WAIT
                   ? NULL
                   : "no fence is under way: the request is refused";
    case ON_PROMOTED:
    case ON_PROMOTE_FAILED:
        return state == DB_PROMOTING ? NULL : "no promotion of this database runs";
    case ON_FORCED:
        return (BEFORE_THE_FENCE & BIT(state)) != 0 || state == DB_CHOICE_WAIT
                   ? NULL
                   : "the request is refused with the state's name";
    case ON_JOINED:
        return (BEFORE_THE_FENCE & BIT(state)) != 0 ? NULL : "it moves already, or has no permit";
    case ON_RETRY:
        return ((BIT(DB_PARKED) | BIT(DB_FENCE_WAIT) | BIT(DB_CHOICE_WAIT) | BIT(DB_PROMOTE_WAIT)) &
                BIT(state)) != 0
                   ? NULL
                   : "it does not wait for a person: the request is refused";
    case ON_SKIP:
        return ((BIT(DB_PARKED) | BIT(DB_REDIRECTING) | BIT(DB_VERIFYING)) & BIT(state)) != 0
                   ? NULL
                   : "no step that may be skipped: the request is refused";
    case ON_ABANDON:
        return ((BIT(DB_PARKED) | BIT(DB_FENCE_WAIT) | HAS_PROOF | BIT(DB_PROMOTE_WAIT)) &
                BIT(state)) != 0
                   ? NULL
                   : "nothing that may be given up here: the request is refused";
    default: return NULL;
    }
}
