/*
 * A guard's core, with whatever permit may stand in etcd and whatever its disk may hold, and its
 * instance, in any order of events. It never fails an assertion; it starts and promotes only what
 * this boot's permit names; when its time is over it stops; the node's watchdog is never fed behind
 * that.
 *
 * The input: the durable state and the boot's, as bytes; then what happens, "\nEND\n" between, each
 * with a byte in front; a permit is its JSON.
 */
#include "fence/guard/guard_core.h"

#include "controller/cluster/records_json.h"
#include "fence/guard/files.h"
#include "tests/fuzz/fuzz.h"

#define NODE      "pay-east"
#define BOOT      "b-1"
#define BEGIN_MS  UINT64_C(1000000)
#define STEPS_MAX 96

static struct guard_core core;
static struct guard_effects effects;
static uint64_t now_ms;
static int64_t revision;

static void step(struct guard_event *event);

static struct guard_event event_of(enum guard_event_type type)
{
    return (struct guard_event){.type = type, .now_ms = now_ms};
}

/* A number that means something, or one at a type's end. */
static int64_t some_number(struct fuzz *fuzz)
{
    unsigned is = fuzz_byte(fuzz);
    int64_t near = revision - (int64_t)(is & 127);
    return is == 255 ? INT64_MAX : is < 128 ? (int64_t)is : near > 0 ? near : 0;
}

static bool is_permitted(void)
{
    return core.permit.known && core.permit.granted && strcmp(core.permit.node, NODE) == 0 &&
           strcmp(core.permit.boot, BOOT) == 0 && core.durable.guarding &&
           epoch_compare(core.permit.epoch, core.durable.spent) > 0;
}

static void take_effect(const struct guard_effect *effect)
{
    bool stops = core.state == DUTY_STOPPING; /* terms may leave no time: then at once */
    switch (effect->type) {
    case GUARD_DO_START_PRIMARY:
    case GUARD_DO_PROMOTE: assert((is_permitted() || stops) && core.counts); break;
    case GUARD_DO_RENEW: assert(is_permitted() || stops); break;
    case GUARD_DO_STOP: assert(core.durable.guarding); break;
    case GUARD_DO_NOTE: assert(effect->rule[0] == 'R'); break;
    default: break;
    }
}

/* By its own account of the time, once every rule has run. */
static void expect_in_time(void)
{
    uint64_t deadline_ms = guard_deadline_ms(&core);
    assert(deadline_ms > core.now_ms);
    bool primary =
        core.state == DUTY_PRIMARY || core.state == DUTY_LAUNCHING || core.state == DUTY_PROMOTING;
    if (primary && core.kept.known && core.now_ms >= core.kept.valid_until_ms) {
        assert(core.policy.when_blind_continue && !core.kept.armed);
    }
    struct guard_watchdog_wish wish = guard_watchdog(&core, 1, core.now_ms);
    if (wish.feed && core.counts && wish.armed) {
        assert(wish.feed_until_ms > core.now_ms);
    }
}

static void step(struct guard_event *event)
{
    event->now_ms = now_ms;
    guard_step(&core, event, &effects);
    for (int i = 0; i < effects.len; i++) {
        take_effect(&effects.items[i]);
    }
    expect_in_time();
    (void)guard_held(&core);
    assert(guard_stopped_for(&core) >= 0 && guard_cut_for(&core) >= 0);
    assert(guard_stopped_for(&core) == 0 || core.state == DUTY_DOWN);
}

/* ---- what it begins with ---- */

static struct guard_durable some_state(struct fuzz *fuzz)
{
    unsigned is = fuzz_byte(fuzz);
    struct guard_durable durable = {.guarding = (is & 1) != 0,
                                    .declared_down = (is & 2) != 0,
                                    .burnt = (is & 4) != 0,
                                    .declared = (enum role)(is / 8 % 3)};
    durable.epoch = (struct epoch){1, fuzz_byte(fuzz)};
    durable.spent = (struct epoch){1, fuzz_byte(fuzz)};
    durable.begun = (struct epoch){1, fuzz_byte(fuzz)};
    durable.obeyed_revision = some_number(fuzz);
    durable.cut_for = some_number(fuzz);
    snprintf(durable.upstream, sizeof durable.upstream, "%s", (is & 64) != 0 ? "pay-west" : "");
    return durable;
}

static bool read_permit(struct fuzz *fuzz, struct guard_permit *ret_permit)
{
    static struct permit_record record;
    size_t len;
    char *text = fuzz_rest(fuzz, &len);
    bool good = permit_record_decode(text, len, &record, NULL) == 0;
    if (good) {
        files_permit_of_record(&record, revision, ret_permit);
    }
    free(text);
    return good;
}

/* ---- what happens ---- */

static struct guard_seen some_sight(struct fuzz *fuzz)
{
    unsigned is = fuzz_byte(fuzz);
    struct guard_seen seen = {.process = (enum guard_process)(is % 3),
                              .role = (enum role)(is / 3 % 3),
                              .control = (enum guard_control)(is / 9 % 4)};
    is = fuzz_byte(fuzz);
    seen.copied = (is & 1) != 0;
    seen.receiving = (is & 2) != 0;
    seen.system_id = (is & 4) != 0 ? 99 : UINT64_C(7301234567890123456);
    seen.timeline = is / 8 % 4;
    seen.checkpoint_timeline = is / 32 % 4;
    seen.life = some_number(fuzz);
    seen.checkpoint_lsn = (uint64_t)fuzz_byte(fuzz);
    return seen;
}

static void put_permit(struct fuzz *fuzz)
{
    struct guard_event event = event_of(GUARD_EV_PERMIT);
    revision++;
    if (fuzz->len == 0 || read_permit(fuzz, &event.permit)) {
        step(&event); /* nothing: its key is gone */
    }
}

static void declare(struct fuzz *fuzz)
{
    struct guard_event event = event_of(GUARD_EV_DECLARED);
    unsigned is = fuzz_byte(fuzz);
    event.declared.revision = ++revision;
    event.declared.role = (enum role)(is % 3);
    event.declared.down = (is & 4) != 0;
    event.declared.burnt = (is & 8) != 0;
    event.declared.fork_lsn = (is & 16) != 0 ? (uint64_t)fuzz_byte(fuzz) : 0;
    snprintf(event.declared.upstream, NAME_SIZE, "%s", (is & 32) != 0 ? "pay-west" : "");
    event.declared.standbys_len = (is & 64) != 0 ? 1 : 0;
    snprintf(event.declared.standbys[0], NAME_SIZE, "pay-west");
    step(&event);
}

/* Answers to what it asked, and others. */
static void answer(struct fuzz *fuzz)
{
    static const enum guard_event_type types[] = {
        GUARD_EV_RENEWED,    GUARD_EV_UNRENEWED, GUARD_EV_PROMISED,   GUARD_EV_UNPROMISED,
        GUARD_EV_UNPROMOTED, GUARD_EV_FOLLOWED,  GUARD_EV_UNFOLLOWED, GUARD_EV_SYNCED,
        GUARD_EV_UNSYNCED,   GUARD_EV_DIED};
    struct guard_event event = event_of(types[fuzz_below(fuzz, sizeof types / sizeof *types)]);
    event.sent_ms = event.type == GUARD_EV_RENEWED ? core.renewal_sent_ms : now_ms;
    event.revision = core.renewal_out_permit.revision;
    event.round = event.type == GUARD_EV_SYNCED ? core.sync_round : core.round;
    event.promiser = (int)fuzz_below(fuzz, GUARD_PROMISERS_MAX + 1) - 1;
    event.seen = core.seen;
    event.closed = fuzz_below(fuzz, 2) == 1;
    snprintf(event.upstream, sizeof event.upstream, "%s",
             fuzz_below(fuzz, 2) == 1 ? "pay-west" : "");
    bool asked = event.type != GUARD_EV_RENEWED || core.renewal_out;
    if (asked) { /* the driver hands on no answer without a question */
        step(&event);
    }
}

static void see(struct fuzz *fuzz)
{
    static const enum guard_event_type types[] = {GUARD_EV_SEEN, GUARD_EV_SEEN, GUARD_EV_GONE,
                                                  GUARD_EV_PROMOTED};
    struct guard_event event = event_of(types[fuzz_below(fuzz, 4)]);
    event.seen = some_sight(fuzz);
    if (event.type == GUARD_EV_GONE) { /* it is the proof */
        event.seen.process = GUARD_PROCESS_NONE;
    }
    if (event.type == GUARD_EV_PROMOTED) {
        event.seen.process = GUARD_PROCESS_RUNNING;
        event.seen.role = ROLE_PRIMARY;
        if (core.state != DUTY_PROMOTING || !core.promote_out) {
            return;
        }
    }
    step(&event);
}

static void save(struct fuzz *fuzz)
{
    struct guard_event event = event_of(GUARD_EV_SAVED);
    (void)fuzz;
    event.version = core.version;
    step(&event);
}

static void watch(struct fuzz *fuzz)
{
    struct guard_event event = event_of(GUARD_EV_WATCHDOG);
    unsigned is = fuzz_byte(fuzz);
    event.armed = (is & 1) != 0;
    event.period_ms = (is & 2) != 0 ? core.permit.w_ms : (uint32_t)is * 100;
    step(&event);
}

static void choose_policy(struct fuzz *fuzz)
{
    struct guard_event event = event_of(GUARD_EV_POLICY);
    unsigned is = fuzz_byte(fuzz);
    event.policy = (struct guard_policy){.restart = (is & 1) != 0,
                                         .restart_deadline_ms = (is & 2) != 0 ? 10000 : UINT32_MAX,
                                         .when_blind_continue = (is & 4) != 0,
                                         .watchdog_configured = (is & 8) != 0};
    step(&event);
}

static void pass(struct fuzz *fuzz)
{
    static const uint64_t scales[] = {1, 20, 100, 1000};
    uint64_t scale = scales[fuzz_below(fuzz, 4)];
    now_ms += fuzz_byte(fuzz) * scale;
    struct guard_event event = event_of(GUARD_EV_TICK);
    step(&event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const happens[])(struct fuzz *) = {
        put_permit, declare, see, answer, save, watch, pass, choose_policy, answer, see};
    struct fuzz fuzz = {data, size};
    size_t len;
    now_ms = BEGIN_MS;
    revision = 100;
    char *piece = fuzz_piece(&fuzz, "\nEND\n", &len);
    struct fuzz begin = {(const uint8_t *)piece, len};
    struct guard_durable durable = some_state(&begin);
    struct guard_boot_state kept = {.known = false};
    if (fuzz_below(&begin, 2) == 1 && durable.guarding) {
        kept.armed = fuzz_below(&begin, 2) == 1;
        kept.valid_until_ms = BEGIN_MS + (uint64_t)fuzz_byte(&begin) * 100;
        kept.known = read_permit(&begin, &kept.permit);
    }
    free(piece);
    guard_init(&core, NODE, BOOT, &durable, &kept, now_ms);
    for (int i = 0; i < STEPS_MAX && fuzz.len > 0; i++) {
        piece = fuzz_piece(&fuzz, "\nEND\n", &len);
        struct fuzz what = {(const uint8_t *)piece, len};
        happens[fuzz_below(&what, sizeof happens / sizeof *happens)](&what);
        free(piece);
    }
    return 0;
}
