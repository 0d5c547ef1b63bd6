/*
 * Two controllers, one real etcd: who leads, who stops, and what each of them is told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/etcd/election.h"
#include "tests/unit/etcd_fixture.h"

#define TTL_MS 2000

static struct etcd_fixture server, small;

struct controller {
    const char *id;
    struct loop *loop;
    struct http *http;
    struct etcd *etcd;
    struct election *election;
    struct timer *feeder; /* the decision loop */
    bool stuck;
    /* What was told. */
    int64_t sessions, gains, losses;
    int64_t term, last_term;
    int64_t lease;
    enum election_loss loss;
    char seen[ELECTION_ID_SIZE];
    bool stopped;
};

static void on_session(void *arg, int64_t lease)
{
    struct controller *controller = arg;

    assert_true(lease != 0 && lease != controller->lease);
    controller->lease = lease;
    controller->sessions++;
}

static void on_gained(void *arg, int64_t term)
{
    struct controller *controller = arg;

    assert_int_equal(controller->term, 0);
    assert_true(term > controller->last_term);
    controller->term = controller->last_term = term;
    controller->gains++;
    assert_int_equal(election_term(controller->election), term);
    assert_true(election_may_act(controller->election));
    assert_true(election_deadline_ms(controller->election) <= clock_now_ms() + TTL_MS);
}

static void on_lost(void *arg, enum election_loss loss, const char *text)
{
    struct controller *controller = arg;

    assert_true(controller->term != 0);
    assert_true(strlen(text) > 0);
    assert_false(election_may_act(controller->election));
    assert_int_equal(election_deadline_ms(controller->election), 0);
    controller->term = 0;
    controller->loss = loss;
    controller->losses++;
}

static void on_seen(void *arg, const char *leader_id, int64_t term)
{
    struct controller *controller = arg;

    assert_true(leader_id[0] == '\0' || term > 0);
    snprintf(controller->seen, sizeof controller->seen, "%s", leader_id);
}

static void on_trouble(void *arg, enum etcd_reason reason, const char *text)
{
    (void)arg;
    (void)reason;
    assert_true(strlen(text) > 0);
}

static void feed(void *arg)
{
    struct controller *controller = arg;

    if (!controller->stuck) {
        election_feed(controller->election);
    }
    timer_start(controller->feeder, 50);
}

static void begin(struct controller *controller, struct loop *loop, const char *id,
                  const char *prefix, const struct etcd_config *config)
{
    struct election_config wanted = {
        .prefix = prefix,
        .id = id,
        .ttl_ms = TTL_MS,
        .passive_ms = 60000,
        .callbacks = {on_session, on_gained, on_lost, on_seen, on_trouble},
        .arg = controller,
    };

    *controller = (struct controller){.id = id, .loop = loop, .seen = "nobody was told"};
    controller->http = http_new(loop);
    controller->etcd = etcd_new(loop, controller->http, config);
    controller->election = election_new(loop, controller->etcd, &wanted);
    controller->feeder = timer_new(loop, feed, controller);
    timer_start(controller->feeder, 0);
}

static void end(struct controller *controller)
{
    timer_free(controller->feeder);
    election_free(controller->election);
    etcd_free(controller->etcd);
    http_free(controller->http);
}

#define AWAIT(loop, condition)                                                                     \
    do {                                                                                           \
        uint64_t until_ms_ = clock_now_ms() + FIXTURE_WAIT_MS;                                     \
        bool never_ = false;                                                                       \
                                                                                                   \
        while (!(condition)) {                                                                     \
            assert_true(clock_now_ms() < until_ms_);                                               \
            loop_run_until(loop, &never_, 1);                                                      \
        }                                                                                          \
    } while (0)

struct pair {
    struct loop *loop;
    struct controller a, b;
};

/* a leads, b sees it. */
static void begin_pair(struct pair *pair, const char *prefix)
{
    struct etcd_config config = fixture_config(&server);

    pair->loop = loop_new();
    begin(&pair->a, pair->loop, "ops1", prefix, &config);
    AWAIT(pair->loop, pair->a.term != 0);
    begin(&pair->b, pair->loop, "ops2", prefix, &config);
    AWAIT(pair->loop, strcmp(pair->b.seen, "ops1") == 0);
    assert_int_equal(pair->b.gains, 0);
    assert_string_equal(election_leader_id(pair->a.election), "ops1");
    assert_string_equal(election_leader_id(pair->b.election), "ops1");
    assert_false(election_may_act(pair->b.election));
}

static void end_pair(struct pair *pair)
{
    end(&pair->a);
    end(&pair->b);
    loop_free(pair->loop);
}

static void ctl_lease(const char *verb, int64_t lease)
{
    char text[24];

    snprintf(text, sizeof text, "%llx", (unsigned long long)lease);
    assert_int_equal(CTL(&server, "lease", verb, text), 0);
}

static void one_of_two_leads_and_keeps_leading(void **state)
{
    struct pair pair;
    uint64_t first_deadline_ms;

    (void)state;
    begin_pair(&pair, "/e1/");
    first_deadline_ms = election_deadline_ms(pair.a.election);
    AWAIT(pair.loop, election_deadline_ms(pair.a.election) > first_deadline_ms + TTL_MS);
    assert_int_equal(pair.a.losses, 0);
    assert_int_equal(pair.b.gains, 0);
    assert_int_equal(pair.a.sessions, 1);
    assert_true(election_lease_id(pair.a.election) == pair.a.lease);
    assert_true(pair.a.lease != pair.b.lease);
    end_pair(&pair);
}

static void set_true(void *arg)
{
    *(bool *)arg = true;
}

static void a_leader_that_stops_makes_room_at_once(void **state)
{
    struct pair pair;
    int64_t first_term;

    (void)state;
    begin_pair(&pair, "/e2/");
    first_term = pair.a.term;
    election_stop(pair.a.election, set_true, &pair.a.stopped);
    assert_false(election_may_act(pair.a.election));
    assert_int_equal(pair.a.losses, 0); /* told from the loop, not from inside the call */
    AWAIT(pair.loop, pair.a.stopped && pair.b.term != 0);
    assert_int_equal(pair.a.loss, ELECTION_LOST_STOPPED);
    assert_int_equal(pair.a.losses, 1);
    assert_true(pair.b.term > first_term);
    end_pair(&pair);
}

static void free_it(void *arg)
{
    struct controller *controller = arg;

    election_free(controller->election);
    controller->election = NULL;
    controller->stopped = true;
}

static void a_follower_may_be_freed_by_its_own_stop(void **state)
{
    struct pair pair;

    (void)state;
    begin_pair(&pair, "/e3/");
    pair.b.stuck = true;
    election_stop(pair.b.election, free_it, &pair.b);
    AWAIT(pair.loop, pair.b.stopped);
    assert_int_equal(pair.b.losses, 0);
    assert_true(pair.a.term != 0);
    end_pair(&pair);
}

static void a_leader_that_resigns_stays_passive_and_keeps_its_session(void **state)
{
    struct pair pair;

    (void)state;
    begin_pair(&pair, "/e4/");
    election_resign(pair.a.election, "cannot write");
    assert_false(election_may_act(pair.a.election));
    AWAIT(pair.loop, pair.b.term != 0 && strcmp(pair.a.seen, "ops2") == 0);
    assert_int_equal(pair.a.loss, ELECTION_LOST_RESIGNED);
    assert_int_equal(pair.a.sessions, 1);
    assert_int_equal(pair.a.gains, 1);
    election_resign(pair.b.election, "cannot write");
    AWAIT(pair.loop, pair.b.losses == 1 && pair.a.seen[0] == '\0');
    assert_int_equal(pair.a.gains, 1); /* both are passive: nobody leads */
    end_pair(&pair);
}

static void a_revoked_lease_ends_leading_and_a_new_session_follows(void **state)
{
    struct pair pair;
    int64_t first_term;

    (void)state;
    begin_pair(&pair, "/e5/");
    first_term = pair.a.term;
    ctl_lease("revoke", pair.a.lease);
    AWAIT(pair.loop, pair.a.losses == 1 && pair.a.sessions == 2);
    /* Whichever news came first: the key's deletion, or the keepalive without a TTL. */
    assert_true(pair.a.loss == ELECTION_LOST_LEASE || pair.a.loss == ELECTION_LOST_KEY);
    AWAIT(pair.loop, pair.a.term + pair.b.term > first_term); /* either, by a new term */
    assert_true(pair.a.term == 0 || pair.b.term == 0);
    end_pair(&pair);
}

static void a_leader_whose_decisions_stand_still_is_replaced(void **state)
{
    struct pair pair;
    int64_t first_term;

    (void)state;
    begin_pair(&pair, "/e6/");
    first_term = pair.a.term;
    pair.a.stuck = true;
    AWAIT(pair.loop, pair.a.losses == 1);
    assert_int_equal(pair.a.loss, ELECTION_LOST_DEADLINE);
    assert_int_equal(pair.b.gains, 0); /* its own clock ends it before another may lead */
    AWAIT(pair.loop, pair.b.term != 0);
    assert_true(pair.b.term > first_term);
    pair.a.stuck = false;
    AWAIT(pair.loop, strcmp(pair.a.seen, "ops2") == 0);
    assert_int_equal(pair.a.gains, 1);
    end_pair(&pair);
}

static void a_deleted_leader_key_ends_leading_and_somebody_leads_anew(void **state)
{
    struct pair pair;
    int64_t first_term;

    (void)state;
    begin_pair(&pair, "/e7/");
    first_term = pair.a.term;
    assert_int_equal(CTL(&server, "del", "/e7/leader"), 0);
    AWAIT(pair.loop, pair.a.losses == 1);
    assert_int_equal(pair.a.loss, ELECTION_LOST_KEY);
    AWAIT(pair.loop, pair.a.term + pair.b.term > 0);
    assert_true(pair.a.term + pair.b.term > first_term);
    assert_true(pair.a.term == 0 || pair.b.term == 0);
    end_pair(&pair);
}

static void compaction_past_a_quiet_leader_key_hides_nothing(void **state)
{
    struct pair pair;
    bool never = false;
    char revision[24];

    (void)state;
    begin_pair(&pair, "/e14/");
    assert_int_equal(CTL(&server, "put", "/elsewhere", "x"), 0);
    assert_int_equal(CTL(&server, "put", "/elsewhere", "y"), 0);
    snprintf(revision, sizeof revision, "%lld", (long long)pair.b.last_term + pair.a.term + 2);
    assert_int_equal(CTL(&server, "compact", revision), 0);
    loop_run_until(pair.loop, &never, TTL_MS); /* the quiet watches are opened again, and again */
    assert_int_equal(CTL(&server, "del", "/e14/leader"), 0);
    AWAIT(pair.loop, pair.a.losses == 1); /* a leader learns of this by its watch alone */
    assert_int_equal(pair.a.loss, ELECTION_LOST_KEY);
    end_pair(&pair);
}

static void a_rewritten_leader_key_ends_leading_and_is_cleared(void **state)
{
    struct pair pair;
    int64_t first_term;

    (void)state;
    begin_pair(&pair, "/e8/");
    first_term = pair.a.term;
    assert_int_equal(CTL(&server, "put", "/e8/leader", "nonsense"), 0); /* also off its lease */
    AWAIT(pair.loop, pair.a.losses == 1);
    assert_int_equal(pair.a.loss, ELECTION_LOST_KEY);
    AWAIT(pair.loop, pair.a.term + pair.b.term > 0);
    assert_true(pair.a.term + pair.b.term > first_term);
    end_pair(&pair);
}

static void a_key_that_somebody_else_holds_is_left_alone(void **state)
{
    struct etcd_config config = fixture_config(&server);
    struct loop *loop = loop_new();
    struct controller a;

    (void)state;
    assert_int_equal(CTL(&server, "put", "/e9/leader", "{\"schema\":1,\"id\":\"stranger\"}"), 0);
    begin(&a, loop, "ops1", "/e9/", &config);
    AWAIT(loop, strcmp(a.seen, "stranger") == 0);
    assert_int_equal(CTL(&server, "put", "/e9/leader", "nonsense"), 0);
    AWAIT(loop, strcmp(a.seen, "?") == 0);
    assert_int_equal(a.gains, 0);
    assert_int_equal(CTL(&server, "del", "/e9/leader"), 0);
    AWAIT(loop, a.term != 0);
    end(&a);
    loop_free(loop);
}

/* Behind a proxy of its own, so that one controller can be cut off. */
static void begin_proxied(struct controller *controller, struct loop *loop, struct proxy *proxy,
                          const char *id, const char *prefix)
{
    struct etcd_config config = {.endpoints_len = 1};

    proxy_start(proxy, loop, server.ports[0]);
    proxy_url(proxy, config.endpoints[0]);
    begin(controller, loop, id, prefix, &config);
}

static void a_leader_cut_off_stops_by_its_own_clock_before_another_leads(void **state)
{
    struct etcd_config config = fixture_config(&server);
    struct loop *loop = loop_new();
    struct controller a, b;
    struct proxy proxy;
    uint64_t deadline_ms;

    (void)state;
    begin_proxied(&a, loop, &proxy, "ops1", "/e10/");
    AWAIT(loop, a.term != 0);
    begin(&b, loop, "ops2", "/e10/", &config);
    AWAIT(loop, strcmp(b.seen, "ops1") == 0);
    proxy.mode = PROXY_STALL;
    deadline_ms = election_deadline_ms(a.election);
    AWAIT(loop, a.losses == 1);
    assert_int_equal(a.loss, ELECTION_LOST_DEADLINE);
    assert_true(clock_now_ms() >= deadline_ms);
    assert_int_equal(b.gains, 0);
    AWAIT(loop, b.term != 0);
    proxy.mode = PROXY_PASS;
    proxy_cut_all(&proxy);
    AWAIT(loop, strcmp(a.seen, "ops2") == 0);
    assert_int_equal(a.gains, 1);
    end(&a);
    end(&b);
    proxy_end(&proxy, loop);
    loop_free(loop);
}

static void a_campaign_whose_answer_was_lost_is_found_won(void **state)
{
    struct loop *loop = loop_new();
    struct controller a;
    struct proxy proxy;

    (void)state;
    assert_int_equal(CTL(&server, "put", "/e11/leader", "{\"schema\":1,\"id\":\"stranger\"}"), 0);
    begin_proxied(&a, loop, &proxy, "ops1", "/e11/");
    AWAIT(loop, strcmp(a.seen, "stranger") == 0);
    {
        /* Its watch will see the deletion, and the campaign's answer is swallowed. */
        bool never = false;

        assert_int_equal(CTL(&server, "del", "/e11/leader"), 0);
        AWAIT(loop, a.seen[0] == '\0');
        proxy.mode = PROXY_SWALLOW;
        AWAIT(loop, proxy.cuts > 0);
        loop_run_until(loop, &never, 100);
        proxy.mode = PROXY_PASS;
    }
    AWAIT(loop, a.term != 0);
    assert_int_equal(a.gains, 1);
    end(&a);
    proxy_end(&proxy, loop);
    loop_free(loop);
}

static void after_a_stall_of_the_process_nothing_may_be_done_by_the_old_term(void **state)
{
    struct pair pair;

    (void)state;
    begin_pair(&pair, "/e12/");
    usleep(TTL_MS * 1000); /* nothing runs at all: as after SIGSTOP and SIGCONT */
    assert_true(election_term(pair.a.election) != 0);
    assert_false(election_may_act(pair.a.election)); /* before any timer has run */
    AWAIT(pair.loop, pair.a.losses == 1);
    assert_int_equal(pair.a.loss, ELECTION_LOST_DEADLINE);
    AWAIT(pair.loop, pair.a.term + pair.b.term > 0);
    assert_true(pair.a.term == 0 || pair.b.term == 0);
    end_pair(&pair);
}

struct filling {
    struct etcd *etcd;
    char value[8192];
    bool full;
};

static void fill(void *arg, const struct etcd_reply *reply)
{
    struct filling *filling = arg;

    if (reply && reply->outcome != ETCD_OK) {
        assert_int_equal(reply->reason, ETCD_NO_SPACE);
        filling->full = true;
        return;
    }
    etcd_put(filling->etcd, "big", filling->value, sizeof filling->value, 0, 5000, fill, filling);
}

static void a_leader_of_a_full_store_can_resign(void **state)
{
    struct loop *loop = loop_new();
    struct etcd_config config;
    struct controller a;
    struct filling filling = {.value = "v"};

    (void)state;
    strcpy(small.extra[small.extra_len++], "--quota-backend-bytes=65536");
    fixture_start(&small, 1);
    config = fixture_config(&small);
    begin(&a, loop, "ops1", "/e13/", &config);
    AWAIT(loop, a.term != 0);
    filling.etcd = a.etcd;
    fill(&filling, NULL);
    AWAIT(loop, filling.full);
    election_resign(a.election, "etcd has no space");
    AWAIT(loop, a.losses == 1 && a.seen[0] == '\0'); /* the key went: deletes still work */
    assert_int_equal(a.loss, ELECTION_LOST_RESIGNED);
    assert_int_equal(a.sessions, 1);
    end(&a);
    loop_free(loop);
    fixture_end(&small);
}

static int start_server(void **state)
{
    (void)state;
    fixture_start(&server, 1);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    fixture_end(&server);
    fixture_end(&small);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_of_two_leads_and_keeps_leading),
        cmocka_unit_test(a_leader_that_stops_makes_room_at_once),
        cmocka_unit_test(a_follower_may_be_freed_by_its_own_stop),
        cmocka_unit_test(a_leader_that_resigns_stays_passive_and_keeps_its_session),
        cmocka_unit_test(a_revoked_lease_ends_leading_and_a_new_session_follows),
        cmocka_unit_test(a_leader_whose_decisions_stand_still_is_replaced),
        cmocka_unit_test(a_deleted_leader_key_ends_leading_and_somebody_leads_anew),
        cmocka_unit_test(compaction_past_a_quiet_leader_key_hides_nothing),
        cmocka_unit_test(a_rewritten_leader_key_ends_leading_and_is_cleared),
        cmocka_unit_test(a_key_that_somebody_else_holds_is_left_alone),
        cmocka_unit_test(a_leader_cut_off_stops_by_its_own_clock_before_another_leads),
        cmocka_unit_test(a_campaign_whose_answer_was_lost_is_found_won),
        cmocka_unit_test(after_a_stall_of_the_process_nothing_may_be_done_by_the_old_term),
        cmocka_unit_test(a_leader_of_a_full_store_can_resign),
    };

    return cmocka_run_group_tests(tests, start_server, end_server);
}
