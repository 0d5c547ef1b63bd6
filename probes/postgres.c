/*
 * The happy path: the held session is idle; one batch of reads goes out and comes back; on a
 * primary the heartbeat write goes out and is acknowledged; done.
 *
 * What can go wrong: no session (open one first); the connection ends in the middle (once per probe
 * a new one is tried, whose failure says more than "cut"); an error (its SQLSTATE is the cause);
 * silence until the deadline. A silent session stays as it is, "stuck", if the server's kernel has
 * what we sent, and is cut off if not: then the path is the suspect and a new connection tells.
 * While the write is silent, the other session looks what it waits for. All probes end in finish().
 */
#include "probes/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "probes/postgres_words.h"

#define SLOTS          2
#define STALL_MS       50    /* a timer that comes so late says that we did not run */
#define STUCK_MAX_MS   60000 /* then the session is cut off, whatever its server does */
#define STALLED_MAX_MS 10000 /* then a write that waits for a standby is cancelled */

enum slot_state {
    SLOT_EMPTY,
    SLOT_OPENING,
    SLOT_IDLE,
    SLOT_READING,
    SLOT_WRITING,
    SLOT_LOOKING,
};

struct slot {
    struct probe_pg *probe;
    struct pg_session *session; /* NULL when SLOT_EMPTY */
    enum slot_state state;
};

struct probe_pg {
    struct loop *loop;
    struct pg_target target;
    char *controller;
    uint32_t deadline_ms;
    probe_pg_done_fn done;
    probe_pg_news_fn on_news;
    void *arg;
    enum role expected_role;
    uint64_t expected_system_id;

    struct slot slots[SLOTS];
    struct timer *timer;
    struct timer *look_timer; /* the write takes long: look what it waits for */

    /* The running probe. */
    bool running;
    bool retried;        /* the one new attempt was used */
    bool timer_again;    /* the deadline has passed; descriptors get one more turn */
    struct slot *active; /* works for this probe; NULL while all slots are stuck */
    uint64_t write_began_ms;
    bool looked;
    char wait[POSTGRES_WAIT_MAX]; /* what the silent write waits for */
    struct instance_fact fact;
};

static void use_a_slot(struct probe_pg *probe);
static void read_state(struct slot *slot);

static struct slot *other(struct slot *slot)
{
    struct slot *first = slot->probe->slots;
    return slot == first ? first + 1 : first;
}

static void close_slot(struct slot *slot)
{
    pg_close(slot->session);
    slot->session = NULL;
    slot->state = SLOT_EMPTY;
}

static void set_detail(struct instance_fact *fact, const char *text)
{
    snprintf(fact->detail, sizeof fact->detail, "%.*s", TEXT_SIZE - 1, text);
}

/* Every probe ends here. The callback may ask again, or free the probe: it comes last. */
static void finish(struct probe_pg *probe, enum cause cause, const char *detail)
{
    assert(probe->running);
    timer_stop(probe->timer);
    timer_stop(probe->look_timer);
    struct slot *active = probe->active;
    if (cause == CAUSE_OK && active != NULL) {
        close_slot(other(active)); /* it was opened for a need that is over */
    }
    probe->running = false;
    probe->active = NULL;
    probe->fact.cause = cause;
    set_detail(&probe->fact, detail);
    probe->fact.answered_ms = clock_now_ms();
    struct instance_fact fact = probe->fact;
    probe->done(probe->arg, &fact);
}

/* A slot that no running probe waits for has changed: work for a probe that has none, else news. */
static void slot_changed(struct probe_pg *probe)
{
    if (probe->running) {
        if (probe->active == NULL) {
            use_a_slot(probe);
        }
    } else if (probe->on_news != NULL) {
        probe->on_news(probe->arg);
    }
}

static void on_lost(void *arg, const char *text)
{
    (void)text;
    struct slot *slot = arg;
    close_slot(slot);
    slot_changed(slot->probe);
}

/*
 * The connection of the running probe broke: a new one says why, if it is not the second already.
 * An idle one is closed for it, since it has most likely met the same end.
 */
static bool try_anew(struct slot *slot)
{
    struct probe_pg *probe = slot->probe;
    if (probe->retried) {
        return false;
    }
    probe->retried = true;
    probe->active = NULL;
    probe->fact = (struct instance_fact){.asked_ms = probe->fact.asked_ms};
    timer_stop(probe->look_timer);
    if (other(slot)->state == SLOT_IDLE) {
        close_slot(other(slot));
    }
    use_a_slot(probe);
    return true;
}

static void on_written(void *arg, const struct pg_reply *reply)
{
    struct slot *slot = arg;
    struct probe_pg *probe = slot->probe;
    slot->state = SLOT_IDLE;
    if (reply->outcome == PG_LOST || reply->outcome == PG_TIMEOUT) {
        close_slot(slot);
    }
    if (probe->active != slot) {
        slot_changed(probe);
        return;
    }
    if (reply->outcome == PG_LOST && try_anew(slot)) {
        return;
    }
    if (reply->outcome != PG_DONE) {
        finish(probe, postgres_statement_cause(reply), reply->text);
        return;
    }
    if (reply->warning[0] != '\0') {
        /* Committed here, but the wait for a standby was cancelled: that is no acknowledgement. */
        finish(probe, CAUSE_SYNC_STALL, reply->warning);
        return;
    }
    probe->fact.wrote = true;
    probe->fact.write_ms = (uint32_t)(clock_now_ms() - probe->write_began_ms);
    finish(probe, CAUSE_OK, "");
}

static void write_heartbeat(struct slot *slot)
{
    struct probe_pg *probe = slot->probe;
    const char *params[] = {probe->controller};
    slot->state = SLOT_WRITING;
    probe->write_began_ms = clock_now_ms();
    struct pg_call call = {&postgres_write, params, 1};
    pg_call(slot->session, &call, 1, STUCK_MAX_MS, on_written, slot);
    uint64_t spent_ms = probe->write_began_ms - probe->fact.asked_ms;
    uint64_t left_ms = spent_ms < probe->deadline_ms ? probe->deadline_ms - spent_ms : 0;
    timer_start(probe->look_timer, left_ms / 2);
}

static void finish_stuck_write(struct probe_pg *probe, const char *wait)
{
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, "the heartbeat write waits%s%s", wait[0] != '\0' ? " for " : "",
             wait);
    finish(probe, postgres_wait_cause(wait), text);
}

static void on_cancelled(void *arg, const struct pg_reply *reply)
{
    struct slot *slot = arg;
    slot->state = SLOT_IDLE;
    if (reply->outcome == PG_LOST || reply->outcome == PG_TIMEOUT) {
        close_slot(slot);
    }
    slot_changed(slot->probe);
}

/*
 * A session that is cut off leaves a backend behind that waits until the standby comes, and each
 * minute another one: so a write that has waited long for a standby is cancelled instead. It
 * answers with a warning, and is no acknowledgement.
 */
static void cancel_stalled(struct slot *slot)
{
    struct probe_pg *probe = slot->probe;
    char sql[160];
    snprintf(sql, sizeof sql,
             "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
             " WHERE pid = %d AND wait_event = 'SyncRep'",
             pg_backend_pid(other(slot)->session));
    probe->write_began_ms = clock_now_ms(); /* the next cancel not at once */
    slot->state = SLOT_LOOKING;
    pg_query(slot->session, sql, STUCK_MAX_MS, on_cancelled, slot);
}

static void judge_read(struct slot *slot, const char *wait)
{
    struct probe_pg *probe = slot->probe;
    const struct instance_fact *fact = &probe->fact;
    char text[TEXT_SIZE];
    if (probe->expected_system_id != 0 && fact->system_id != probe->expected_system_id) {
        snprintf(text, sizeof text, "system id %llu, recorded is %llu",
                 (unsigned long long)fact->system_id,
                 (unsigned long long)probe->expected_system_id);
        finish(probe, CAUSE_WRONG_SYSTEM, text);
    } else if (fact->role == ROLE_STANDBY && probe->expected_role == ROLE_PRIMARY) {
        finish(probe, CAUSE_IN_RECOVERY, "a standby answers where the primary is recorded");
    } else if (fact->role == ROLE_STANDBY) {
        finish(probe, CAUSE_OK, "");
    } else if (other(slot)->state == SLOT_WRITING) {
        if (postgres_wait_cause(wait) == CAUSE_SYNC_STALL &&
            clock_now_ms() >= probe->write_began_ms + STALLED_MAX_MS) {
            cancel_stalled(slot);
        }
        finish_stuck_write(probe, wait);
    } else {
        write_heartbeat(slot);
    }
}

static void on_read(void *arg, const struct pg_reply *reply)
{
    struct slot *slot = arg;
    struct probe_pg *probe = slot->probe;
    slot->state = SLOT_IDLE;
    if (reply->outcome == PG_LOST || reply->outcome == PG_TIMEOUT) {
        close_slot(slot);
    }
    if (probe->active != slot) {
        slot_changed(probe);
        return;
    }
    if (reply->outcome == PG_LOST && try_anew(slot)) {
        return;
    }
    if (reply->outcome == PG_FAILED && strcmp(reply->sqlstate, "55000") == 0 && !probe->retried) {
        /* Promoted between two functions of one statement: the next answer is of one piece. */
        probe->retried = true;
        read_state(slot);
        return;
    }
    if (reply->outcome != PG_DONE) {
        finish(probe, postgres_statement_cause(reply), reply->text);
        return;
    }
    char wait[POSTGRES_WAIT_MAX];
    if (!postgres_read(reply, &probe->fact, wait)) {
        finish(probe, CAUSE_BAD_ANSWER, "the answer has not the form that was asked for");
        return;
    }
    judge_read(slot, wait);
}

static void read_state(struct slot *slot)
{
    struct slot *stuck = other(slot);
    struct postgres_question question;
    postgres_ask(&question, stuck->state == SLOT_WRITING ? pg_backend_pid(stuck->session) : 0);
    slot->state = SLOT_READING;
    pg_call(slot->session, question.calls, 2, STUCK_MAX_MS, on_read, slot);
}

static void on_looked(void *arg, const struct pg_reply *reply)
{
    struct slot *slot = arg;
    struct probe_pg *probe = slot->probe;
    slot->state = SLOT_IDLE;
    if (reply->outcome == PG_LOST || reply->outcome == PG_TIMEOUT) {
        close_slot(slot);
    }
    if (probe->running && probe->active != NULL) {
        probe->looked = postgres_look(reply, probe->wait);
    } else if (probe->running) {
        use_a_slot(probe);
    }
}

static void look(struct slot *slot)
{
    char sql[POSTGRES_LOOK_MAX];
    postgres_look_sql(sql, pg_backend_pid(other(slot)->session));
    slot->state = SLOT_LOOKING;
    pg_query(slot->session, sql, STUCK_MAX_MS, on_looked, slot);
}

static void on_opened(void *arg, const struct pg_reply *reply)
{
    struct slot *slot = arg;
    struct probe_pg *probe = slot->probe;
    slot->state = SLOT_IDLE;
    if (reply->outcome != PG_DONE) {
        close_slot(slot);
    }
    if (probe->active == slot) {
        if (reply->outcome == PG_DONE) {
            read_state(slot);
        } else {
            finish(probe, postgres_open_cause(reply), reply->text);
        }
    } else if (probe->running && probe->active != NULL) {
        if (reply->outcome == PG_DONE && probe->active->state == SLOT_WRITING) {
            look(slot);
        }
    } else {
        slot_changed(probe);
    }
}

static void open_slot(struct slot *slot)
{
    struct probe_pg *probe = slot->probe;
    slot->state = SLOT_OPENING;
    slot->session = pg_open(probe->loop, &probe->target, STUCK_MAX_MS, on_opened, on_lost, slot);
}

/* An idle session, else a free place for a new one, else none: then the deadline, or a stuck one
 * that comes back, decides. */
static void use_a_slot(struct probe_pg *probe)
{
    for (int i = 0; i < SLOTS; i++) {
        if (probe->slots[i].state == SLOT_IDLE) {
            probe->active = &probe->slots[i];
            read_state(probe->active);
            return;
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        if (probe->slots[i].state == SLOT_EMPTY) {
            probe->active = &probe->slots[i];
            open_slot(probe->active);
            return;
        }
    }
}

static void on_look_timer(void *arg)
{
    struct probe_pg *probe = arg;
    struct slot *spare = other(probe->active);
    if (spare->state == SLOT_IDLE) {
        look(spare);
    } else if (spare->state == SLOT_EMPTY) {
        open_slot(spare);
    }
}

/* Cuts off what the other side has not even received; returns whether any session was received and
 * is silent. */
static bool keep_the_stuck(struct probe_pg *probe)
{
    bool delivered = false;
    for (int i = 0; i < SLOTS; i++) {
        struct slot *slot = &probe->slots[i];
        if (slot->state == SLOT_EMPTY || slot->state == SLOT_IDLE) {
            continue;
        }
        if (pg_delivered(slot->session)) {
            delivered = true;
        } else {
            close_slot(slot);
        }
    }
    return delivered;
}

static const char *silence(enum slot_state doing, bool delivered)
{
    if (!delivered) {
        return doing == SLOT_OPENING ? "no answer to the connection attempt"
                                     : "the other side does not confirm what we send";
    }
    return doing == SLOT_OPENING   ? "connected, but the server does not answer"
           : doing == SLOT_READING ? "no answer to a read"
                                   : "earlier statements are still unanswered";
}

static void on_deadline(void *arg)
{
    struct probe_pg *probe = arg;
    if (!probe->timer_again) {
        /*
         * After a stall of ours the answer may lie in the socket already, and the write may have
         * had no time at all: that would be our failure, not the server's. Without a stall,
         * descriptors get one more turn.
         */
        probe->timer_again = true;
        bool stalled = clock_now_ms() > probe->fact.asked_ms + probe->deadline_ms + STALL_MS;
        timer_start(probe->timer, stalled ? probe->deadline_ms / 2 : 0);
        return;
    }
    struct slot *active = probe->active;
    enum slot_state doing = active != NULL ? active->state : SLOT_EMPTY;
    bool delivered = active != NULL && pg_delivered(active->session);
    bool any_delivered = keep_the_stuck(probe);
    if (active == NULL) {
        delivered = any_delivered;
    }
    if (doing == SLOT_WRITING && delivered) {
        finish_stuck_write(probe, probe->looked ? probe->wait : "");
        return;
    }
    char text[TEXT_SIZE];
    snprintf(text, sizeof text, "%s within %u ms", silence(doing, delivered), probe->deadline_ms);
    finish(probe, delivered ? CAUSE_HUNG : CAUSE_TIMED_OUT, text);
}

static char *copy(const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    char *copied = strdup(text);
    assert(copied != NULL);
    return copied;
}

struct probe_pg *probe_pg_new(struct loop *loop, const struct probe_pg_params *params)
{
    assert(params->done != NULL && params->deadline_ms >= PROBE_PG_DEADLINE_MIN_MS);
    struct probe_pg *probe = calloc(1, sizeof *probe);
    assert(probe != NULL);
    probe->loop = loop;
    /* Shorter than what is left after the read, so that a lock is told by its own error. */
    char *options = postgres_options(params->deadline_ms / 3, params->target.options);
    const struct pg_target *target = &params->target;
    probe->target = (struct pg_target){
        .hostaddr = copy(target->hostaddr),
        .port = target->port,
        .dbname = copy(target->dbname),
        .user = copy(target->user),
        .password = copy(target->password),
        .sslmode = copy(target->sslmode),
        .sslrootcert = copy(target->sslrootcert),
        .application_name = copy(target->application_name),
        .options = options,
        .peer_uid = target->peer_uid,
    };
    probe->controller = copy(params->controller);
    probe->deadline_ms = params->deadline_ms;
    probe->done = params->done;
    probe->on_news = params->on_news;
    probe->arg = params->arg;
    probe->timer = timer_new(loop, on_deadline, probe);
    probe->look_timer = timer_new(loop, on_look_timer, probe);
    for (int i = 0; i < SLOTS; i++) {
        probe->slots[i].probe = probe;
    }
    return probe;
}

void probe_pg_expect(struct probe_pg *probe, enum role role, uint64_t system_id)
{
    probe->expected_role = role;
    probe->expected_system_id = system_id;
}

void probe_pg_ask(struct probe_pg *probe)
{
    assert(!probe->running);
    probe->running = true;
    probe->retried = false;
    probe->timer_again = false;
    probe->looked = false;
    probe->wait[0] = '\0';
    probe->active = NULL;
    probe->fact = (struct instance_fact){.asked_ms = clock_now_ms()};
    timer_start(probe->timer, probe->deadline_ms);
    use_a_slot(probe);
}

bool probe_pg_busy(const struct probe_pg *probe)
{
    return probe->running;
}

void probe_pg_free(struct probe_pg *probe)
{
    if (probe == NULL) {
        return;
    }
    for (int i = 0; i < SLOTS; i++) {
        close_slot(&probe->slots[i]);
    }
    timer_free(probe->timer);
    timer_free(probe->look_timer);
    free((char *)probe->target.hostaddr);
    free((char *)probe->target.dbname);
    free((char *)probe->target.user);
    free((char *)probe->target.password);
    free((char *)probe->target.sslmode);
    free((char *)probe->target.sslrootcert);
    free((char *)probe->target.application_name);
    free((char *)probe->target.options);
    free(probe->controller);
    free(probe);
}
