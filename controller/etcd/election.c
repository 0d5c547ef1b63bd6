/*
 * The happy path: grant a lease; campaign; lead (or see who leads, and watch the key); keep the
 * lease alive.
 *
 * advance() looks at the clock and at what is due, and starts it; every answer, watch event and
 * wish of the owner changes a few fields and comes back to it. The only door to the end of leading
 * is lose().
 *
 *   the own deadline passed           lose(DEADLINE), release the key, campaign again
 *   "cannot write"                    lose(RESIGNED), release the key, stay passive
 *   the lease is gone                 lose(LEASE), new session
 *   the key is gone or not ours       lose(KEY), release (if it is still of our term), campaign
 * again the key cannot be released        revoke the session's lease and start another one an
 * answer was lost                ask again: a campaign that had won finds its own lease in the key
 *
 * A term that was lost is never led again: if the key still bears it, it is released first.
 */
#include "controller/etcd/election.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/json.h"
#include "controller/base/rule_off.h"
#include "controller/etcd/internal.h"
#include "controller/etcd/watch.h"

#define NEVER    UINT64_MAX
#define WRITE_MS 2000 /* for one campaign, release, grant or revocation */
#define AGAIN_MS 200  /* after an answer that was unknown; half of it again as jitter */
#define SCHEMA   1

struct election {
    struct loop *loop;
    struct etcd *etcd;
    char key[ETCD_KEY_MAX + 1];
    char id[ELECTION_ID_SIZE];
    char *value; /* of the leader key */
    uint64_t ttl_ms, margin_ms, passive_ms;
    struct election_callbacks callbacks;
    void *arg;
    struct timer *timer;
    struct etcd_watch *watch; /* of the key; NULL until a first answer gave a revision */
    bool watch_lost;          /* compacted, or ahead of the store: to be restarted after a look */

    /* The session. */
    int64_t lease; /* 0: none */
    struct etcd_call *grant, *keepalive, *revoke;
    uint64_t grant_at_ms, keepalive_at_ms;
    uint64_t acknowledged_ms; /* sending time of the last acknowledged keepalive, or of the grant */
    bool fed;

    /* Candidacy. */
    int64_t term; /* 0: not leading */
    struct etcd_call *campaign, *look, *release;
    uint64_t campaign_at_ms, look_at_ms;
    uint64_t passive_until_ms;
    int64_t release_term; /* 0: nothing to release */
    uint64_t release_at_ms, release_until_ms;
    int64_t sighted_revision; /* what the watch says of earlier ones is old news */
    char leader[ELECTION_ID_SIZE];
    int64_t leader_term;

    /* Wishes of the owner, for advance(). */
    bool resigning, stopping, stopped;
    char why[ERR_TEXT_MAX];
    void (*stop_done)(void *arg);
    void *stop_arg;
    uint64_t stop_until_ms, revoke_at_ms;

    char trouble[ERR_TEXT_MAX]; /* told last */
};

static void advance(struct election *election);

const char *election_loss_name(enum election_loss loss)
{
    static const char *const names[] = {"deadline", "lease", "key", "resigned", "stopped"};

    return names[loss];
}

static uint64_t again_ms(struct election *election)
{
    return clock_now_ms() + AGAIN_MS + etcd_jitter_ms(election->etcd, AGAIN_MS / 2);
}

static uint64_t deadline_ms(const struct election *election)
{
    return election->acknowledged_ms + election->ttl_ms - election->margin_ms;
}

static void cancel(struct etcd_call **call)
{
    etcd_cancel(*call);
    *call = NULL;
}

static void tell_trouble(struct election *election, const char *what,
                         const struct etcd_reply *reply)
{
    char text[ERR_TEXT_MAX];

    snprintf(text, sizeof text, "%s: %.400s", what, reply->text);
    if (strcmp(text, election->trouble) != 0) {
        memcpy(election->trouble, text, sizeof text);
        if (election->callbacks.trouble) {
            election->callbacks.trouble(election->arg, reply->reason, text);
        }
    }
}

/* ---- Leading and not ---- */

static void see(struct election *election, const char *id, int64_t term)
{
    if (strcmp(id, election->leader) == 0 && term == election->leader_term) {
        return;
    }
    snprintf(election->leader, sizeof election->leader, "%s", id);
    election->leader_term = term;
    if (term != election->term || term == 0) {
        election->callbacks.seen(election->arg, election->leader, term);
    }
}

/* The key with this create revision is ours, and we shall not lead by it. */
static void want_release(struct election *election, int64_t term)
{
    election->release_term = term;
    election->release_at_ms = clock_now_ms();
    election->release_until_ms = election->release_at_ms + election->ttl_ms;
}

/* The one door out of leading. */
static void lose(struct election *election, enum election_loss loss, const char *text)
{
    assert(election->term != 0);
    if (loss != ELECTION_LOST_LEASE && loss != ELECTION_LOST_STOPPED) {
        want_release(election, election->term);
    }
    election->term = 0;
    election->campaign_at_ms = clock_now_ms();
    election->callbacks.lost(election->arg, loss, text);
}

static void gain(struct election *election, int64_t term)
{
    assert(term > 0 && election->term == 0 && election->lease != 0);
    if (clock_now_ms() >= deadline_ms(election) || clock_now_ms() < election->passive_until_ms) {
        want_release(election, term); /* the answer came too late, or is not wanted any more */
        return;
    }
    election->term = term;
    election->campaign_at_ms = NEVER;
    see(election, election->id, term);
    election->callbacks.gained(election->arg, term);
}

/* ---- What the key says ---- */

static void read_leader(const struct etcd_kv *kv, char ret_id[ELECTION_ID_SIZE])
{
    struct err err;
    struct json_in in;
    json_t *root = json_parse(kv->value, kv->value_len, 4096, &err);

    snprintf(ret_id, ELECTION_ID_SIZE, "?"); /* someone wrote nonsense there; it holds the key */
    if (root) {
        char id[ELECTION_ID_SIZE] = "";

        json_in_init(&in, "leader");
        json_text(&in, root, "id", id, sizeof id);
        if (json_in_ok(&in) && id[0] != '\0') {
            memcpy(ret_id, id, sizeof id);
        }
        json_decref(root);
    }
}

/* Our own lease is in it, and we do not lead by it: a campaign had won and its answer was lost, or
 * a release did not come through. */
static void sight_own(struct election *election, int64_t term)
{
    if (election->release_term == term) {
        return;
    }
    if (clock_now_ms() < election->passive_until_ms) {
        want_release(election, term);
    } else {
        election->campaign_at_ms = clock_now_ms();
    }
}

static void sight_key(struct election *election, const struct etcd_kv *kv)
{
    char id[ELECTION_ID_SIZE];
    bool own = election->lease != 0 && kv->lease == election->lease;

    if (election->term != 0 && own && kv->create_revision == election->term) {
        return;
    }
    if (election->term != 0) {
        lose(election, ELECTION_LOST_KEY, "the leader key was rewritten by someone else");
    }
    if (own) {
        sight_own(election, kv->create_revision);
        return;
    }
    read_leader(kv, id);
    see(election, id, kv->create_revision);
}

static void sight_none(struct election *election)
{
    if (election->term != 0) {
        lose(election, ELECTION_LOST_KEY, "the leader key was deleted");
    }
    see(election, "", 0);
    election->campaign_at_ms = clock_now_ms();
}

static void on_news(void *arg, const struct etcd_watch_news *news)
{
    struct election *election = arg;
    const struct etcd_event *last = NULL;

    if (election->stopping) {
        return;
    }
    if (news->kind == ETCD_WATCH_COMPACTED ||
        (news->kind == ETCD_WATCH_BROKEN && news->reason == ETCD_STALE)) {
        election->watch_lost = true;
    } else if (news->kind == ETCD_WATCH_EVENTS) {
        last = &news->events[news->events_len - 1];
    }
    if (last && last->kv.mod_revision > election->sighted_revision) {
        election->sighted_revision = last->kv.mod_revision;
        if (last->kind == ETCD_EVENT_DELETE) {
            sight_none(election);
        } else {
            sight_key(election, &last->kv);
        }
    }
    advance(election);
}

/* Every answer about the key moves the watch to where it is needed. */
static void watch_from(struct election *election, int64_t revision)
{
    election->sighted_revision = revision;
    if (!election->watch) {
        election->watch = etcd_watch_new(election->etcd, election->key, false, revision + 1,
                                         election->ttl_ms / 2, on_news, election);
    } else if (election->watch_lost) {
        etcd_watch_restart(election->watch, revision + 1);
    }
    election->watch_lost = false;
}

/* ---- Calls about the key ---- */

static void on_look(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    election->look = NULL;
    if (reply->outcome != ETCD_OK) {
        tell_trouble(election, "reading the leader key", reply);
        election->look_at_ms = again_ms(election);
    } else {
        watch_from(election, reply->revision);
        if (reply->kvs_len > 0) {
            sight_key(election, &reply->kvs[0]);
        } else {
            sight_none(election);
        }
    }
    advance(election);
}

static void start_look(struct election *election)
{
    struct etcd_range range = {.key = election->key};

    election->look = etcd_range(election->etcd, &range, WRITE_MS, on_look, election);
}

static void lost_to(struct election *election, const struct etcd_reply *reply)
{
    const struct etcd_kv *kv = reply->kvs_len > 0 ? &reply->kvs[0] : NULL;

    if (!kv) {
        election->campaign_at_ms = again_ms(election);
    } else if (kv->lease == election->lease) {
        gain(election, kv->create_revision); /* an earlier campaign had won */
    } else {
        /* The watch says when it goes; asking again now and then costs little. */
        election->campaign_at_ms = clock_now_ms() + 2 * election->ttl_ms;
        sight_key(election, kv);
    }
}

static void session_lost(struct election *election, const char *text);

static void on_campaign(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    election->campaign = NULL;
    if (reply->outcome == ETCD_OK) {
        watch_from(election, reply->revision);
        if (reply->succeeded) {
            gain(election, reply->revision);
        } else {
            lost_to(election, reply);
        }
    } else if (reply->outcome == ETCD_REFUSED && reply->reason == ETCD_LEASE_NOT_FOUND) {
        session_lost(election, reply->text);
    } else {
        tell_trouble(election, "campaigning", reply);
        election->campaign_at_ms = again_ms(election);
        if (reply->outcome == ETCD_REFUSED) {
            election->campaign_at_ms = clock_now_ms() + election->ttl_ms;
        }
    }
    advance(election);
}

static void start_campaign(struct election *election)
{
    struct etcd_txn txn = {0};

    etcd_txn_if_create(&txn, election->key, 0);
    etcd_txn_then_put(&txn, election->key, election->value, strlen(election->value),
                      election->lease);
    etcd_txn_else_range(&txn, election->key, false);
    election->campaign = etcd_txn(election->etcd, &txn, WRITE_MS, on_campaign, election);
}

static void on_release(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    election->release = NULL;
    if (reply->outcome == ETCD_OK) {
        election->release_term = 0;
    } else {
        tell_trouble(election, "releasing the leader key", reply);
        election->release_at_ms = again_ms(election);
    }
    advance(election);
}

static void start_release(struct election *election)
{
    struct etcd_txn txn = {0};

    etcd_txn_if_create(&txn, election->key, election->release_term);
    etcd_txn_then_delete(&txn, election->key, false);
    election->release = etcd_txn(election->etcd, &txn, WRITE_MS, on_release, election);
}

/* ---- The session ---- */

static void forget_session(struct election *election)
{
    cancel(&election->keepalive);
    cancel(&election->campaign);
    cancel(&election->release);
    election->lease = 0;
    election->release_term = 0;
    election->grant_at_ms = clock_now_ms() + etcd_jitter_ms(election->etcd, AGAIN_MS);
}

static void session_lost(struct election *election, const char *text)
{
    forget_session(election);
    if (election->term != 0) {
        lose(election, ELECTION_LOST_LEASE, text);
    }
}

static void on_abandoned(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    (void)reply; /* if it did not work, the lease ends by itself */
    election->revoke = NULL;
    advance(election);
}

/* The key could not be released in time: without its lease it goes by itself. The release is tried
 * on, since a lease's whole time starts anew when an etcd without a quorum has one again. */
static void abandon_session(struct election *election)
{
    int64_t lease = election->lease;
    int64_t release_term = election->release_term;

    forget_session(election);
    election->release_term = release_term;
    election->release_until_ms = NEVER;
    cancel(&election->revoke);
    election->revoke = etcd_lease_revoke(election->etcd, lease, WRITE_MS, on_abandoned, election);
}

static void on_grant(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    election->grant = NULL;
    if (reply->outcome == ETCD_OK) {
        election->lease = reply->lease;
        election->acknowledged_ms = reply->sent_ms;
        election->keepalive_at_ms = reply->sent_ms + election->ttl_ms / 3;
        election->campaign_at_ms = clock_now_ms();
        election->trouble[0] = '\0';
        election->callbacks.session(election->arg, election->lease);
    } else {
        tell_trouble(election, "asking for a lease", reply);
        election->grant_at_ms = again_ms(election);
    }
    advance(election);
}

static void start_grant(struct election *election)
{
    int64_t ttl_s = (int64_t)(election->ttl_ms + 999) / 1000;

    election->fed = false;
    election->grant = etcd_lease_grant(election->etcd, ttl_s, WRITE_MS, on_grant, election);
}

/* A lapse is final: an acknowledgement that comes after the deadline does not undo it. */
static void check_deadline(struct election *election)
{
    if (election->term != 0 && clock_now_ms() >= deadline_ms(election) &&
        !rule_is_off("own-deadline")) {
        lose(election, ELECTION_LOST_DEADLINE, "no keepalive was acknowledged in time");
    }
}

static void on_keepalive(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    election->keepalive = NULL;
    check_deadline(election);
    if (reply->outcome == ETCD_OK && reply->ttl_s > 0) {
        election->acknowledged_ms = reply->sent_ms;
        election->keepalive_at_ms = reply->sent_ms + election->ttl_ms / 3;
        election->trouble[0] = '\0';
    } else if (reply->outcome == ETCD_OK ||
               (reply->outcome == ETCD_REFUSED && reply->reason == ETCD_LEASE_NOT_FOUND)) {
        session_lost(election, "etcd says that the lease is gone");
    } else {
        tell_trouble(election, "keeping the lease alive", reply);
        election->keepalive_at_ms = again_ms(election);
    }
    advance(election);
}

static void start_keepalive(struct election *election)
{
    election->fed = false;
    election->keepalive = etcd_lease_keepalive(election->etcd, election->lease,
                                               election->ttl_ms / 3, on_keepalive, election);
}

/* ---- Stopping ---- */

static void finish_stop(struct election *election)
{
    election->stopped = true;
    timer_stop(election->timer);
    etcd_watch_free(election->watch);
    election->watch = NULL;
    election->stop_done(election->stop_arg);
}

static void on_stop_revoked(void *arg, const struct etcd_reply *reply)
{
    struct election *election = arg;

    election->revoke = NULL;
    if (reply->outcome == ETCD_UNKNOWN) {
        election->revoke_at_ms = again_ms(election);
    } else {
        election->lease = 0; /* gone, or not ours to end: nothing more can be done */
    }
    advance(election);
}

static void advance_stop(struct election *election)
{
    uint64_t now_ms = clock_now_ms();

    cancel(&election->grant);
    cancel(&election->keepalive);
    cancel(&election->campaign);
    cancel(&election->look);
    cancel(&election->release);
    if (election->term != 0) {
        lose(election, ELECTION_LOST_STOPPED, "stopping");
    }
    if (election->stop_until_ms == 0) {
        cancel(&election->revoke);
        election->stop_until_ms = now_ms + election->ttl_ms;
    }
    if (election->lease == 0 || now_ms >= election->stop_until_ms) {
        cancel(&election->revoke);
        finish_stop(election);
        return;
    }
    if (!election->revoke && now_ms >= election->revoke_at_ms) {
        election->revoke =
            etcd_lease_revoke(election->etcd, election->lease, WRITE_MS, on_stop_revoked, election);
    }
    timer_start(election->timer, election->revoke ? election->stop_until_ms - now_ms : AGAIN_MS);
}

/* ---- The machine ---- */

static void advance_session(struct election *election, uint64_t now_ms)
{
    if (election->lease == 0) {
        if (!election->grant && now_ms >= election->grant_at_ms && election->fed) {
            start_grant(election);
        }
    } else if (!election->keepalive && now_ms >= election->keepalive_at_ms && election->fed) {
        start_keepalive(election);
    }
}

static void advance_candidacy(struct election *election, uint64_t now_ms)
{
    if (election->watch_lost && !election->look && !election->campaign &&
        now_ms >= election->look_at_ms) {
        start_look(election);
    }
    if (election->release || election->campaign) {
        return;
    }
    if (election->release_term != 0) {
        if (election->lease != 0 && now_ms >= election->release_until_ms) {
            abandon_session(election);
        } else if (now_ms >= election->release_at_ms) {
            start_release(election);
        }
    } else if (election->lease != 0 && election->term == 0 && now_ms >= election->campaign_at_ms &&
               now_ms >= election->passive_until_ms && now_ms < deadline_ms(election)) {
        start_campaign(election); /* on a lease just acknowledged: else a win would come too late */
    }
}

static void earlier(uint64_t *at_ms, bool wanted, uint64_t other_ms)
{
    if (wanted && other_ms < *at_ms) {
        *at_ms = other_ms;
    }
}

static void arm(struct election *election)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t at_ms = NEVER;
    bool session = election->lease != 0;
    bool free_to_act = !election->release && !election->campaign;
    bool alive = session && now_ms < deadline_ms(election);
    uint64_t campaign_at_ms = election->campaign_at_ms > election->passive_until_ms
                                  ? election->campaign_at_ms
                                  : election->passive_until_ms;

    earlier(&at_ms, election->term != 0, deadline_ms(election));
    earlier(&at_ms, !session && !election->grant && election->fed, election->grant_at_ms);
    earlier(&at_ms, session && !election->keepalive && election->fed, election->keepalive_at_ms);
    earlier(&at_ms, election->watch_lost && !election->look && !election->campaign,
            election->look_at_ms);
    earlier(&at_ms, free_to_act && election->release_term != 0, election->release_at_ms);
    earlier(&at_ms, free_to_act && election->release_term != 0 && session,
            election->release_until_ms);
    earlier(&at_ms, free_to_act && election->release_term == 0 && election->term == 0 && alive,
            campaign_at_ms);
    if (at_ms == NEVER) {
        timer_stop(election->timer);
    } else {
        timer_start(election->timer, at_ms > now_ms ? at_ms - now_ms : 0);
    }
}

static void advance(struct election *election)
{
    if (election->stopped) {
        return;
    }
    check_deadline(election);
    if (election->stopping) {
        advance_stop(election);
        return;
    }
    if (election->resigning) {
        election->resigning = false;
        election->passive_until_ms = clock_now_ms() + election->passive_ms;
        if (election->term != 0) {
            lose(election, ELECTION_LOST_RESIGNED, election->why);
        }
    }
    advance_session(election, clock_now_ms());
    advance_candidacy(election, clock_now_ms());
    arm(election);
}

static void on_timer(void *arg)
{
    advance(arg);
}

/* ---- Outside ---- */

static char *make_value(const char *id)
{
    json_t *object = json_pack("{s:i, s:s}", "schema", SCHEMA, "id", id);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

    assert(text); /* ids are names, [a-z0-9._-] */
    json_decref(object);
    return text;
}

struct election *election_new(struct loop *loop, struct etcd *etcd,
                              const struct election_config *config)
{
    struct election *election = calloc(1, sizeof *election);
    uint64_t ttl_ms = config->ttl_ms;

    assert(election && ttl_ms > 0 && config->margin_ms < ttl_ms);
    assert(strlen(config->prefix) + sizeof "leader" <= sizeof election->key);
    assert(strlen(config->id) > 0 && strlen(config->id) < sizeof election->id);
    election->loop = loop;
    election->etcd = etcd;
    election->ttl_ms = ttl_ms;
    election->margin_ms = config->margin_ms > 0 ? config->margin_ms : ttl_ms / 10;
    election->passive_ms = config->passive_ms > 0 ? config->passive_ms : 2 * ttl_ms;
    election->callbacks = config->callbacks;
    election->arg = config->arg;
    snprintf(election->key, sizeof election->key, "%sleader", config->prefix);
    snprintf(election->id, sizeof election->id, "%s", config->id);
    election->value = make_value(config->id);
    election->timer = timer_new(loop, on_timer, election);
    election->fed = true;
    timer_start(election->timer, 0);
    return election;
}

void election_free(struct election *election)
{
    if (!election) {
        return;
    }
    cancel(&election->grant);
    cancel(&election->keepalive);
    cancel(&election->revoke);
    cancel(&election->campaign);
    cancel(&election->look);
    cancel(&election->release);
    etcd_watch_free(election->watch);
    timer_free(election->timer);
    free(election->value);
    free(election);
}

void election_feed(struct election *election)
{
    uint64_t at_ms = election->lease == 0 ? election->grant_at_ms : election->keepalive_at_ms;

    if (election->fed || election->stopping) {
        return;
    }
    election->fed = true;
    /* The timer does not wait for a keepalive that may not be sent; now it may. */
    if (clock_now_ms() >= at_ms) {
        timer_start(election->timer, 0);
    } else {
        arm(election);
    }
}

bool election_may_act(const struct election *election)
{
    return election->term != 0 && !election->resigning && !election->stopping &&
           (clock_now_ms() < deadline_ms(election) || rule_is_off("own-deadline"));
}

int64_t election_term(const struct election *election)
{
    return election->term;
}

uint64_t election_deadline_ms(const struct election *election)
{
    return election->term != 0 ? deadline_ms(election) : 0;
}

int64_t election_lease_id(const struct election *election)
{
    return election->lease;
}

const char *election_leader_id(const struct election *election)
{
    return election->leader;
}

void election_resign(struct election *election, const char *why)
{
    if (election->stopping) {
        return;
    }
    snprintf(election->why, sizeof election->why, "%s", why);
    election->resigning = true;
    timer_start(election->timer, 0);
}

void election_stop(struct election *election, void (*done)(void *arg), void *arg)
{
    assert(!election->stopping && done);
    election->stopping = true;
    election->stop_done = done;
    election->stop_arg = arg;
    timer_start(election->timer, 0);
}
