/*
 * steer.c - what a person may do to a workflow: retry, skip, abandon.
 *
 * Each is a list of checks, from which the guards of the table and the words of a refusal come, so
 * that what is refused says exactly why. None of the three may ever leave two possible primaries:
 * - retry takes a parked step up as a new leader would, and hurries what waits;
 * - skip ends only what cannot hurt: the routes go on being reconciled, and the incident says that
 *   nobody has seen the business work;
 * - abandon gives the old primary a new epoch, and only while nobody else may bear one: before a
 *   grant, or when each candidate that may have begun its promotion has been proven fenced. A
 *   candidate that holds the permit is fenced first (R-K13).
 */
#include "controller/core/private.h"

#include <string.h>

static const char *phase_name(const struct move_record *move)
{
    return move == NULL ? "no workflow" : move_phase_names[move->phase];
}

static void check_state(const struct core *core, int db, uint64_t fit, const char *allowed,
                        struct core_check *check)
{
    enum db_state state = core->databases[db].state;
    bool passes = (fit & BIT(state)) != 0;
    check_set(check, "state", passes, (int64_t)(core->now_ms - core->databases[db].since_ms),
              "%s is %s (%s)", core->def.databases[db].name, db_state_names[state],
              db_state_helps[state]);
    check_value(check, "%s", db_state_names[state]);
    check_limit(check, "%s", allowed);
}

static void check_saved(const struct core *core, int db, struct core_check *check)
{
    bool passes = core->databases[db].awaits == 0;
    check_set(check, "record", passes, -1,
              passes ? "no write of it is under way"
                     : "its record is being written just now; ask again in a second");
    check_value(check, passes ? "written" : "being written");
    check_limit(check, "written");
}

static void check_records(const struct core *core, int db, struct core_check *check)
{
    bool passes = core->databases[db].state != DB_PARKED || !record_contradicts(core, db);
    check_set(check, "records", passes, -1,
              passes ? "its permit and its group's record agree"
                     : "its permit and its group's record contradict each other, or one is "
                       "missing: nothing may be built on them before they are mended");
    check_value(check, passes ? "agree" : "contradict");
    check_limit(check, "agree");
}

/* ---- retry ---- */

#define WAITS (BIT(DB_PARKED) | BIT(DB_FENCE_WAIT) | BIT(DB_CHOICE_WAIT) | BIT(DB_PROMOTE_WAIT))

static int retry_checks(const struct core *core, int db, struct core_check *checks)
{
    check_state(core, db, WAITS, "parked, fence-wait, choice-wait, promote-wait", &checks[0]);
    check_saved(core, db, &checks[1]);
    check_records(core, db, &checks[2]);
    return 3;
}

/* ---- skip ---- */

#define SKIPPABLE (BIT(DB_REDIRECTING) | BIT(DB_VERIFYING) | BIT(DB_PARKED))

static int skip_checks(const struct core *core, int db, struct core_check *checks)
{
    const struct move_record *move = core_move_of(core, db);
    bool harmless = move != NULL && (move->phase == PHASE_REDIRECT || move->phase == PHASE_VERIFY);
    check_state(core, db, SKIPPABLE, "redirecting, verifying, parked", &checks[0]);
    check_set(&checks[1], "step", harmless, -1,
              harmless ? "leaving it out cannot make a second primary"
                       : "to leave it out could make a second primary, or none");
    check_value(&checks[1], "%s", phase_name(move));
    check_limit(&checks[1], "redirect or verify");
    check_saved(core, db, &checks[2]);
    check_records(core, db, &checks[3]);
    return 4;
}

/* ---- abandon ---- */

#define ABANDONABLE (BIT(DB_FENCE_WAIT) | BIT(DB_CHOOSING) | BIT(DB_CHOICE_WAIT) | BIT(DB_PARKED))

static bool has_evidence(const struct move_record *move, const char *node)
{
    for (int e = 0; e < move->evidence_len; e++) {
        if (strcmp(move->evidence[e].node, node) == 0) {
            return true;
        }
    }
    return false;
}

static void check_before_grant(const struct move_record *move, struct core_check *check)
{
    bool passes = move != NULL && move->phase <= PHASE_CHOOSE;
    if (passes || move == NULL) {
        check_set(check, "step", passes, -1,
                  passes ? "nobody but the old primary may hold a permit"
                         : "no workflow is under way");
    } else if (move->phase == PHASE_PROMOTE) {
        check_set(check, "step", false, -1,
                  "%s holds the permit and may be a primary; once this controller sees it down, it "
                  "can be given up, which fences it first",
                  move->candidate);
    } else {
        check_set(check, "step", false, -1,
                  "%s is the recorded primary already: it cannot be undone here, only skipped to "
                  "its end",
                  move->candidate);
    }
    check_value(check, "%s", phase_name(move));
    check_limit(check, "fence or choose");
}

static void check_burnt(const struct move_record *move, struct core_check *check)
{
    int proven = 0;
    const char *unproven = "";
    for (int i = 0; i < move->burnt_len; i++) {
        if (has_evidence(move, move->burnt[i])) {
            proven++;
        } else {
            unproven = move->burnt[i];
        }
    }
    bool passes = proven == move->burnt_len;
    check_set(check, "burnt", passes, -1,
              passes ? "no candidate may have become a primary unfenced"
                     : "%s may have begun its promotion, and is not proven fenced",
              unproven);
    check_value(check, "%d of %d proven fenced", proven, move->burnt_len);
    check_limit(check, "all");
}

static void check_others(const struct core *core, int db, const struct move_record *move,
                         struct core_check *check)
{
    for (int i = 0; i < core->def.databases[db].instances_len; i++) {
        const struct instance_fact *fact = &core->databases[db].instances[i].fact;
        const char *node = instance_node(core, db, i);
        uint64_t age = core->now_ms - fact->answered_ms;
        if (strcmp(node, move->from) != 0 && fact->answered && fact->role == ROLE_PRIMARY &&
            !has_evidence(move, node)) {
            check_set(check, "other primary", false, (int64_t)age,
                      "%s was last seen as a primary: it must be fenced first", node);
            check_value(check, "%s", node);
            check_limit(check, "none but %.40s", move->from);
            return;
        }
    }
    check_set(check, "other primary", true, -1, "no other instance was last seen as a primary");
    check_value(check, "none");
    check_limit(check, "none but %.40s", move->from);
}

/* Without it automation would only begin again; on another history it is not the old primary. */
static void check_old_primary(const struct core *core, int db, const struct move_record *move,
                              struct core_check *check)
{
    int from = node_instance(core, db, move->from);
    const struct instance_fact *fact = from < 0 ? NULL : &core->databases[db].instances[from].fact;
    uint64_t age = fact == NULL ? 0 : core->now_ms - fact->answered_ms;
    bool fresh = fact != NULL && fact->answered && age <= fresh_limit_ms(core);
    bool works = fresh && fact->role == ROLE_PRIMARY && fact->wrote;
    bool strange =
        fresh && (fact->system_id != move->system_id || fact->timeline != move->from_timeline);
    bool paused = core->groups[db_group(core, db)].record.paused;
    bool starts = from >= 0 && guard_asks_to_start(core, db, from);
    if (fact == NULL || strange) {
        check_set(check, "old primary", false, fresh ? (int64_t)age : -1,
                  fact == NULL ? "the definition has no instance on %s"
                               : "%s answers with another history than the record's",
                  move->from);
        check_value(check, "timeline %u", fact == NULL ? 0 : fact->timeline);
        check_limit(check, "timeline %u", move->from_timeline);
        return;
    }
    check_set(check, "old primary", works || starts || paused, fresh ? (int64_t)age : -1,
              works    ? "%s takes writes"
              : starts ? "the guard of %s asks to start it again"
              : paused ? "%s is not seen to take writes; the group is paused, so nothing follows"
                       : "%s is not seen to take writes, so automation would begin again at once: "
                         "bring it up, or pause the group first",
              move->from);
    check_value(check, works    ? "takes writes"
                       : starts ? "stopped, intact"
                       : paused ? "silent, paused"
                                : "silent");
    check_limit(check, is_guarded(core, db) ? "takes writes, may start again, or paused"
                                            : "takes writes, or paused");
}

/* Of a guarded database: the permit must name the boot of a guard that will start it again. */
static void check_old_guard(const struct core *core, int db, const struct move_record *move,
                            struct core_check *check)
{
    int from = node_instance(core, db, move->from);
    bool needed = is_guarded(core, db);
    bool passes = !needed || (from >= 0 && guard_is_heard(core, db, from));
    check_set(check, "old primary's guard", passes, -1,
              !needed  ? "the database has no guards"
              : passes ? "the guard of %s reports, and starts it under the new permit"
                       : "the guard of %s does not report: nobody could start it under a permit",
              move->from);
    check_value(check, passes ? "as needed" : "silent");
    check_limit(check, "reports");
}

static int abandon_checks(const struct core *core, int db, struct core_check *checks)
{
    const struct move_record *move = core_move_of(core, db);
    check_state(core, db, ABANDONABLE, "fence-wait, choosing, choice-wait, parked", &checks[0]);
    check_before_grant(move, &checks[1]);
    check_saved(core, db, &checks[2]);
    check_records(core, db, &checks[3]);
    if (move == NULL) {
        return 4;
    }
    check_burnt(move, &checks[4]);
    check_others(core, db, move, &checks[5]);
    check_old_primary(core, db, move, &checks[6]);
    check_old_guard(core, db, move, &checks[7]);
    return 8;
}

uint64_t steer_states(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_WORKFLOW_RETRY: return WAITS;
    case REQUEST_WORKFLOW_SKIP: return SKIPPABLE;
    default: return ABANDONABLE | BIT(DB_PROMOTE_WAIT);
    }
}

int steer_checks(const struct core *core, int db, enum request_kind kind,
                 struct core_check checks[STEER_CHECKS_MAX])
{
    switch (kind) {
    case REQUEST_WORKFLOW_RETRY: return retry_checks(core, db, checks);
    case REQUEST_WORKFLOW_SKIP: return skip_checks(core, db, checks);
    default: return abandon_checks(core, db, checks);
    }
}

/* ---- guards ---- */

static bool all_pass(const struct core *core, int db, enum request_kind kind)
{
    struct core_check checks[STEER_CHECKS_MAX];
    int len = steer_checks(core, db, kind, checks);
    for (int i = 0; i < len; i++) {
        if (!checks[i].passes) {
            return false;
        }
    }
    return true;
}

static bool may_retry(const struct core *core, int db)
{
    return all_pass(core, db, REQUEST_WORKFLOW_RETRY);
}

bool may_retry_nothing(const struct core *core, int db)
{
    return may_retry(core, db) && !is_moving(core, db) && core_primary(core, db) >= 0;
}

bool may_retry_fence(const struct core *core, int db)
{
    return may_retry(core, db) && record_says_fence(core, db);
}

bool may_retry_choice(const struct core *core, int db)
{
    return may_retry(core, db) && record_says_choose(core, db);
}

bool may_retry_promotion(const struct core *core, int db)
{
    return may_retry(core, db) && record_says_promote(core, db);
}

bool may_retry_redirect(const struct core *core, int db)
{
    return may_retry(core, db) && record_says_redirect(core, db);
}

bool may_retry_verify(const struct core *core, int db)
{
    return may_retry(core, db) && record_says_verify(core, db);
}

bool may_retry_wait(const struct core *core, int db)
{
    return may_retry(core, db);
}

bool may_skip_redirect(const struct core *core, int db)
{
    return all_pass(core, db, REQUEST_WORKFLOW_SKIP) && record_says_redirect(core, db);
}

bool may_skip_verify(const struct core *core, int db)
{
    return all_pass(core, db, REQUEST_WORKFLOW_SKIP) && record_says_verify(core, db);
}

bool may_be_abandoned(const struct core *core, int db)
{
    return all_pass(core, db, REQUEST_WORKFLOW_ABANDON);
}

/* Nobody else may take over (that is R-P9), and a person gives it up: it is fenced all the same. */
bool candidate_may_be_given_up(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    int i = move == NULL ? -1 : node_instance(core, db, move->candidate);
    bool sound = core->databases[db].state != DB_PARKED || !record_contradicts(core, db);
    return i >= 0 && sound && move->phase == PHASE_PROMOTE && core->databases[db].awaits == 0 &&
           core->databases[db].instances[i].health.is == OPINION_DOWN;
}

/* ---- actions ---- */

void unpark(struct core *core, int db)
{
    struct move_record *move = core_move(core, db);
    char key[NAME_SIZE * 2];
    text_format(key, sizeof key, "parked.%s", core->def.databases[db].name);
    alarm_clear(core, db_group(core, db), key);
    if (move != NULL) {
        move->parked[0] = '\0';
        move->lives = 0;
        dirty_group(core, db_group(core, db));
    }
}

void retry_fence(struct core *core, int db)
{
    unpark(core, db);
    take_up_fence(core, db);
}

void retry_choice(struct core *core, int db)
{
    unpark(core, db);
    take_up_choice(core, db);
}

void retry_promotion(struct core *core, int db)
{
    unpark(core, db);
    core->databases[db].promote_tries = 0;
    take_up_promotion(core, db);
}

void retry_redirect(struct core *core, int db)
{
    unpark(core, db);
    take_up_redirect(core, db);
}

void retry_verify(struct core *core, int db)
{
    unpark(core, db);
    take_up_verify(core, db);
}

void ask_again(struct core *core, int db)
{
    core->databases[db].promote_tries = 0;
    core->databases[db].retry_ms = core->now_ms;
    probe_all(core, db);
}

void skip_redirect(struct core *core, int db)
{
    unpark(core, db);
    begin_verify(core, db);
}

void skip_verify(struct core *core, int db)
{
    unpark(core, db);
    move_end(core, db, "a person ended the move before it was seen to work");
}

void give_back(struct core *core, int db)
{
    struct move_record *move = core_move(core, db);
    struct database_record *record = db_record(core, db);
    unpark(core, db);
    for (int i = 0; i < move->burnt_len; i++) {
        record_burnt(core, db, record, move->burnt[i]);
    }
    int from = node_instance(core, db, move->from);
    permit_grant(core, db, move->from, move->system_id, move->from_timeline,
                 is_guarded(core, db) ? core->databases[db].instances[from].guard.said.boot : "",
                 0);
    if (is_guarded(core, db)) {
        declare_roles(core, db, move->from);
    }
    note(core, NOTE_WARN, "R-K12", db, -1, -1, "%s holds the permit again, epoch %llu.%llu",
         move->from, (unsigned long long)core->databases[db].permit.epoch.incarnation,
         (unsigned long long)core->databases[db].permit.epoch.counter);
    move_end(core, db, "a person abandoned the move; nobody was promoted");
}

void give_up_candidate(struct core *core, int db)
{
    unpark(core, db);
    refence(core, db);
}
