/*
 * private.h - what the core's files share. Every function here is pure: it reads and changes the
 * core it is given and appends effects.
 */
#ifndef FAILOVER_CORE_PRIVATE_H
#define FAILOVER_CORE_PRIVATE_H

#include <stddef.h>

#include "controller/core/core.h"

/* What a rule can react to. ON_REVIEW comes after every event: guards look at facts, not at edges.
 */
#define RULE_EVENT_LIST(X)                                                                         \
    X(ON_REVIEW, "review")                                                                         \
    X(ON_LOADED, "loaded")                                                                         \
    X(ON_NOT_LEADING, "not leading")                                                               \
    X(ON_SAVED, "saved")                                                                           \
    X(ON_FENCE_PROVEN, "fence proven")                                                             \
    X(ON_FENCE_FAILED, "fence failed")                                                             \
    X(ON_CONFIRMED, "person confirms")                                                             \
    X(ON_PROMOTED, "promoted")                                                                     \
    X(ON_PROMOTE_FAILED, "promotion failed")                                                       \
    X(ON_FORCED, "person forces")                                                                  \
    X(ON_JOINED, "its node is fenced")                                                             \
    X(ON_RETRY, "person retries")                                                                  \
    X(ON_SKIP, "person skips")                                                                     \
    X(ON_ABANDON, "person abandons")

enum rule_event {
#define X(id, name) id,
    RULE_EVENT_LIST(X)
#undef X
        RULE_EVENTS
};

#define TRY_WRITE_MS 300   /* to a primary that was just proven fenced (design §7) */
#define PROMOTE_MS   30000 /* one attempt, with the replay that it has to finish */
#define ROUTES_MS    1500  /* of one look at a proxy, with its changes */

typedef bool (*rule_guard)(const struct core *core, int db);
typedef void (*rule_action)(struct core *core, int db);

#define STAY       (-1)
#define BIT(state) (UINT64_C(1) << (state))

struct core_rule {
    const char *id;
    uint64_t from;
    enum rule_event on;
    rule_guard when;
    const char *when_name;
    int to;
    rule_action act;
    const char *act_name;
    const char *why;
};

/* rules.c */
bool core_rules_run(struct core *core, int db, enum rule_event on);
/* Would a rule apply? Nothing changes. */
bool core_rules_allow(const struct core *core, int db, enum rule_event on);
/* What a state and an event may meet without a row, and why that is right; NULL: it must have one.
 */
const char *core_rule_ignored(enum db_state state, enum rule_event on);

/* effects.c */
struct effect *effect_add(struct core *core, enum effect_type type);
enum note_level { NOTE_ERROR, NOTE_WARN, NOTE_INFO, NOTE_DEBUG };
void note(struct core *core, enum note_level level, const char *rule, int db, int from, int to,
          const char *format, ...) __attribute__((format(printf, 7, 8)));
void note_group(struct core *core, enum note_level level, const char *rule, int group,
                const char *format, ...) __attribute__((format(printf, 5, 6)));
void text_copy(char *to, size_t size, const char *from);
void text_format(char *to, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* save.c: the records that changed, and the one write in flight */
uint32_t dirty_group(struct core *core,
                     int group); /* the ticket of the save that will hold the change */
uint32_t dirty_incident(struct core *core, int group);
void dirty_incident_later(struct core *core, int group); /* nobody waits for it */
uint32_t dirty_permit(struct core *core, int db);
uint32_t dirty_request(struct core *core, int slot);
void await_save(struct core *core, int db, uint32_t ticket);
void save_flush(struct core *core);
struct permit_word permit_word(const struct permit_record *permit);
void primary_word(const struct core *core, int db, char ret_node[NAME_SIZE]);
void save_accepted(struct core *core, uint32_t ticket, int64_t revision);
void save_reset(struct core *core);

/* health.c */
void health_init(struct health *health, uint64_t now_ms);
/* True when the opinion changed. */
bool health_take(struct health *health, const struct profile *profile, enum cause cause,
                 uint64_t asked_ms, uint64_t answered_ms);
void health_forget_failures(struct health *health);
/* Does this finding show that a fenced instance lives? A follower's is for the leader to read. */
void life_take(struct core *core, int db, int instance, const struct instance_fact *fact);
void instance_take(struct core *core, int db, int instance, const struct instance_fact *fact);
uint64_t fresh_limit_ms(const struct core *core); /* older findings are no evidence */
bool core_is_blind(const struct core *core);

/* witness.c: who sees what */
struct witness_verdict {
    bool agree;             /* the primary is down, by everybody who has a vote */
    char text[REASON_SIZE]; /* who disagrees, or who agreed */
};
void witness_ask(const struct core *core, int db, struct witness_verdict *ret);
/* Every other controller that has a vote sees this instance down; else `text` says who does not. */
bool witness_peers_agree(const struct core *core, int db, int instance, char *text, size_t size);
/* Which controller found this instance alive after it had seen the record of that revision; NULL:
 * none. */
const char *witness_of_life(const struct core *core, int db, const char *node, int64_t revision);
/* Which other controller lately found this instance to take writes, by a probe that was certainly
 * sent after since_ms; NULL: none. */
const char *witness_of_writes(const struct core *core, int db, int instance, uint64_t since_ms);
/* Does any controller get an answer from the instance's host, be it a refusal? */
bool witness_reaches(const struct core *core, int db, int instance);
/* By then every controller that goes on looking has told what it found after a moment. */
uint64_t witness_settles_ms(const struct core *core);
/*
 * Every vote: this controller's, each other's, each standby's. if_it_failed: would each be able to
 * convict the primary if it failed right now? Else: does it convict?
 */
#define WITNESSES_MAX (2 + PEERS_MAX + INSTANCES_MAX)
int witness_votes(const struct core *core, int db, bool if_it_failed,
                  struct core_check ret_checks[WITNESSES_MAX]);

/* actions.c: guards and actions that the table names */
/* clang-format off */
#define CORE_GUARDS(X)                                                                             \
    X(always) X(exactly_one_primary) X(primary_seems_down) X(primary_is_back) X(nothing_holds)     \
    X(a_rule_holds_it_back) X(the_hold_changed) X(a_level_runs_late) X(no_level_is_left)           \
    X(retry_is_due) X(the_old_primary_lives) X(a_candidate_passes) X(choice_is_late)               \
    X(timeline_is_unexpected) X(candidate_is_primary) X(candidate_forked)                          \
    X(candidate_can_be_asked_again) X(candidate_is_lost) X(promotion_runs_late)                    \
    X(promotion_is_stuck) X(routes_agree) X(business_works) X(it_takes_long)                       \
    X(new_primary_fails) X(record_contradicts) X(record_is_parked) X(record_says_fence)            \
    X(record_says_choose) X(record_says_promote) X(record_says_redirect) X(record_says_verify)     \
    X(never_adopted) X(several_protest) X(an_intruder_writes) X(an_intruder_may_be_fenced)         \
    X(a_refence_runs_late) X(the_intruder_is_gone) X(may_retry_nothing) X(may_retry_fence)         \
    X(may_retry_choice) X(may_retry_promotion) X(may_retry_redirect) X(may_retry_verify)           \
    X(may_retry_wait) X(may_skip_redirect) X(may_skip_verify) X(may_be_abandoned)                  \
    X(candidate_may_be_given_up)                                                                   \
    X(the_guard_reports_it_gone) X(the_permits_time_has_passed) X(enough_standbys_are_cut)         \
    X(the_guard_promoted) X(the_guard_lost_it) X(the_guard_forked) X(the_guard_promoted_and_waits)                      \
    X(the_candidate_failed) X(the_permit_was_never_taken_up)                                       \
    X(the_entry_is_proven) X(standbys_are_missing) X(standbys_are_back)                            \
    X(another_entry_is_declared)
#define CORE_ACTIONS(X)                                                                            \
    X(nothing) X(drop_plans) X(adopt) X(suspect) X(let_go) X(revoke) X(join) X(say_held)           \
    X(start_levels) X(start_level) X(next_level) X(call_for_fence) X(record_evidence)              \
    X(begin_choice) X(cancel_evidence) X(grant) X(call_for_candidate) X(accept_loss)               \
    X(promote) X(observe_candidate) X(record_primary) X(refence) X(call_for_promotion)             \
    X(begin_redirect) X(begin_verify) X(close_move) X(abandon_move) X(finish_move) X(say_late)     \
    X(park) X(take_up_fence) X(take_up_choice) X(take_up_promotion) X(take_up_redirect)            \
    X(take_up_verify) X(say_protest) X(say_intruder) X(fence_intruder) X(intruder_fenced)          \
    X(next_refence) X(forget_intruder) X(unpark) X(retry_fence) X(retry_choice)                    \
    X(retry_promotion) X(retry_redirect) X(retry_verify) X(ask_again) X(skip_redirect)             \
    X(skip_verify) X(give_back) X(give_up_candidate) X(record_guard) X(record_time) X(record_cut)  \
    X(fence_the_node) X(list_entry) X(drop_entries) X(record_unused)
/* clang-format on */
#define X(name) bool name(const struct core *core, int db);
CORE_GUARDS(X)
#undef X
#define X(name) void name(struct core *core, int db);
CORE_ACTIONS(X)
#undef X

/* evidence.c: what guards say, what is proven without being run, and promises */
bool is_guarded(const struct core *core, int db); /* its permit names a boot */
const struct guard_record *guard_of(const struct core *core, int db, int instance); /* or NULL */
bool guard_says_gone(const struct core *core, int db);
bool guard_says_down(const struct core *core, int db);
/* Of the candidate: its guard reports from another boot than the permit is for, which can never be
 * held; and it has said nothing at all for longer than guards are silent. */
bool the_guard_was_rebooted(const struct core *core, int db);
bool the_guard_is_silent(const struct core *core, int db);
/* Of a fenced instance: a report of life that is younger than the recorded proof. */
bool guard_says_alive(const struct core *core, int db, int instance);
uint64_t guard_gone_ms(const struct core *core, int db);
void guard_vote(const struct core *core, int db, int primary, bool if_it_failed,
                struct core_check *ret_check);
/* When the revoked permit alone will be evidence for this controller; NEVER: it will not. */
uint64_t permit_ends_ms(const struct core *core, int db);
void fill_promisers(const struct core *core, struct permit_record *permit);
void promisers_review(struct core *core, int db);
/* A guard that has lately been heard stops its instance sooner than any level would. */
bool guard_is_at_hand(const struct core *core, int db, int instance);
/* It has reported lately, or so lately as guards report. */
bool guard_is_heard(const struct core *core, int db, int instance);
/* Why the instance of a guarded database may not be granted a permit; false: it may. */
bool guard_excludes(const struct core *core, int db, int instance, char *text, size_t size);
/* Into the record: what each guarded instance shall be, with this primary. */
void declare_roles(struct core *core, int db, const char *primary);
/* adopt: every reason against it in `text`; else it may be done */
bool adopt_refused(const struct core *core, int db, char *text, size_t size);
void adopt_guards(struct core *core, int db);

/* intruder.c */
void drop_intruder(struct core *core, int db);
/* By this controller's latest finding, however old; of the permit's system. */
bool takes_writes(const struct core *core, int db, int instance);

/* guards.c */
enum hold {
    HOLD_NONE,
    HOLD_STALL,
    HOLD_BLIND,
    HOLD_WITNESS,
    HOLD_PAUSED,
    HOLD_MANUAL,
    HOLD_BUDGET,
    HOLD_CANDIDATE,
    HOLD_NEIGHBOUR,
    HOLDS
};
extern const char *const hold_names[];
enum hold hold_of(const struct core *core, int db, char *ret_text, size_t size);

/* One of them, with what was found and what is allowed. */
/* Which other database would lose by a fence of this node what it cannot do without, and why; -1:
 * none. */
int node_needed_by(const struct core *core, int db, int node, char *text, size_t size);
/* Which other group would be moved by it although automation may not move that one now, and why;
 * -1: none. A person may. */
int node_held_by(const struct core *core, int db, int node, char *text, size_t size);
void hold_check(const struct core *core, int db, enum hold hold, struct core_check *ret_check);

/* candidate.c: stopped, a former primary, intact: it starts if it gets a permit */
bool guard_asks_to_start(const struct core *core, int db, int instance);
/* candidate.c: as candidate_choose, when a person accepts such a loss */
void candidate_choose_with(const struct core *core, int db, bool after_fence,
                           uint64_t accept_loss_bytes, struct choice *ret_choice);

/* steer.c: what a person may do to a workflow, each check with its value and limit */
#define STEER_CHECKS_MAX 8
/* Bits of enum db_state in which a person may be waited for by it at all. */
uint64_t steer_states(enum request_kind kind);
int steer_checks(const struct core *core, int db, enum request_kind kind,
                 struct core_check ret_checks[STEER_CHECKS_MAX]);

/* sync_names.c: it says exactly one of the permit's entries */
bool sync_names_match(const char *names, const struct permit_record *permit);
/* It names nobody who is there: every commit waits. A guard closes a primary so, on its way from
 * one entry to another. */
bool sync_names_block(const struct core *core, int db, const struct instance_fact *fact);

/* sync.c: what commits wait for */
const struct sync_entry_record *sync_target(const struct permit_record *permit); /* or NULL */
void sync_entry_words(const struct sync_entry_record *entry, char *text, size_t size);
/* Of each of these entries n - k + 1 members must be heard; none: asynchronous. */
const struct sync_entry_record *sync_counted(const struct core *core, int db, int *ret_len);
bool sync_proves(const struct core *core, int db);
void sync_keep(const struct core *core, int db, struct move_record *move);
bool sync_may_wait(const struct core *core, int db);
void sync_at_grant(struct core *core, int db);
void sync_at_adoption(struct core *core, int db, const struct permit_record *before, bool enforced);
void sync_watch(struct core *core, int db);
/* What the primary shows is recorded, since it decides what a failover proves. */
void durability_review(struct core *core, int db);

/* actions.c, for steer.c */
/* boot "": its holder has no guard. life: of the instance that may promote under it; 0: any. */
void permit_grant(struct core *core, int db, const char *node, uint64_t system_id,
                  uint32_t timeline, const char *boot, int64_t life);
/* A fence of the node takes every other primary there: they move too. */
void join_neighbours(struct core *core, int db, int node);
/* given_up NULL: it was seen to its end. */
void move_end(struct core *core, int db, const char *given_up);
void probe_all(struct core *core, int db);

/* check.c */
void check_set(struct core_check *check, const char *name, bool passes, int64_t age_ms,
               const char *format, ...) __attribute__((format(printf, 5, 6)));
void check_value(struct core_check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void check_limit(struct core_check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* times.c: a sum with something unknown in it is unknown */
void times_add(struct core_time *total, const struct core_time *time);

/* routes.c */
void routes_review(struct core *core);
void routes_done(struct core *core, const struct core_event *event);
void routes_reset(struct core *core);
/* All routes of the database and of its services agree, silent proxies apart. */
bool routes_settled(const struct core *core, int db);
bool route_belongs(const struct core *core, int route, int db);

/* clocks.c: incidents */
void incident_open(struct core *core, int group, int db, const char *id);
void incident_join(struct core *core, int group, int db);
void incident_note(struct core *core, int group, const char *rule, const char *text);
void clocks_review(struct core *core);
void clocks_saved(struct core *core);
void incident_end(struct core *core, int group);
void incident_give_up(struct core *core, int group, const char *why);
void incident_moved(struct core *core, int db, const char *to, const char *evidence,
                    uint64_t loss_bytes);
uint64_t clock_age_ms(const struct group_state *group, uint64_t now_ms);

/* alarms.c */
void alarm_set(struct core *core, int group, bool wakes, const char *key, const char *command,
               const char *format, ...) __attribute__((format(printf, 6, 7)));
void alarm_clear(struct core *core, int group, const char *key);
bool alarm_stands(const struct core *core, int group, const char *key);
/* One that calls a person: set, or told in other words. Nobody is called twice for new words. */
void alarm_renew(struct core *core, int group, const char *key, const char *command,
                 const char *text);
void alarms_review(struct core *core);

/* requests.c */
void requests_review(struct core *core);
/* The databases that this request means. */
bool request_means(const struct core *core, const struct request_record *request, int db);
/* Every reason against a failover now, added to `text`; true if there is one. */
bool failover_refused(const struct core *core, const struct request_record *request, int db,
                      char *text, size_t size);

/* workflow.c */
struct move_record *move_start(struct core *core, int db);
int db_group(const struct core *core, int db);
struct database_record *db_record(struct core *core, int db);
const struct database_record *db_record_of(const struct core *core, int db);
int node_instance(const struct core *core, int db, const char *node); /* or -1 */
const char *instance_node(const struct core *core, int db, int instance);
void record_burnt(const struct core *core, int db, struct database_record *record,
                  const char *node);
bool is_moving(const struct core *core, int db);
/* The running move, when its record holds evidence and nobody is a new primary yet; else NULL. */
const struct move_record *proven_move(const struct core *core, int db);
/* Is it the node whose fence was proven, or the primary that was fenced before it? */
bool was_fenced(const struct move_record *move, const char *node);
/* workflow.c: the timeline that the candidate is to be a primary on */
uint32_t move_timeline(const struct move_record *move);
uint64_t earlier(uint64_t a, uint64_t b);

#endif
