/*
 * permit.pml - permits, renewals, promises, watchdogs and time as evidence: guards, before they are
 * coded.
 *
 * One database, its instances each on a node of its own with a guard and a watchdog, controllers,
 * one store, and time in ticks. It answers one question: can "revoke, then evidence (the guard's
 * report, an agent's off, or time), then grant, then the guard promotes" ever let two instances be
 * primaries, whatever is frozen, killed, cut off, forgotten or late? failover.pml answers it for
 * the controllers' side alone (late writes, agents in steps, burnt lines); sync.pml for evidence
 * from standbys.
 *
 * What is modelled
 *   store        permit (revoked or not, epoch, holder, its boot, configuration: D and promisers),
 *                the holder's heartbeat (that it renewed under this epoch, watchdog armed or not,
 *                under which configuration), the guard's report. A write compares term and
 *                revision; in place of counters each write under way carries a ghost bit that falls
 *                when either moves, so elections, retries and confirmations are not bounded.
 *   guards       renew by a write (sent, committed, answered: any time may pass, any of it may be
 *                lost), ask for promises, arm, feed, start, stop, report; may be frozen between any
 *                two steps, or die and return with what they stored: permit, revision, perhaps the
 *                deadline.
 *   nodes        die or are reset at any time; what is left is the disk; another boot follows.
 *   watchdog     resets the node (guard and all) between W and W * (1 + LATE) after it was fed;
 *                nothing runs K after that. Time cannot pass beyond it: it is the only thing that
 *                is not late.
 *   controllers  lead in turn, revoke or confirm a revocation by a write, count, use an agent,
 *                grant, change the configuration, promise, crash and forget. A crash leaves the
 *                write that is under way to be committed later.
 * A partition, a pause, or an etcd that is away for all is a time in which some steps are not
 * taken, so these are not bounded; there is no step that the model would force but the watchdog's.
 *
 * Bounds: one failover (EPOCHS permits, the last is not revoked), one change of configuration, one
 * write of each controller and one renewal of each guard under way (two with TIERS). D 3, W 1, K 1
 * ticks, 1 tick of drift, 1 of margin. The guard's clock may lag by the whole drift (rates are a
 * factor of the sum).
 * Configurations: CONTROLLERS, LEADERS, GUARDS; CHANGES from LIST0 and D0 to LIST1 and D1; TIERS (a
 * guard may run without a watchdog, and says so); TWO_STEP (it may be frozen between looking at its
 * clock and acting; the watchdog is then on time).
 * Each broken variant is an #ifdef below, named as in ./run; ./run also has the rules that can be
 * dropped one at a time.
 *
 * Not modelled: rates of clocks as rates; the time that the schedule of a stop takes (a stop takes
 * any time here); a store restored from a backup; missing permits; living evidence that cancels
 * other evidence.
 *
 * Properties: S1 never two primaries, an instance counting from before it is asked to promote until
 * nothing of it runs; S2 when a grant is committed, the holder before it is stopped; S5 whatever
 * moves the permit compares term and revision.
 *
 * What it taught, for whoever writes guards
 *   1. Safety rests on the feeding, not on the stop. A guard may be frozen anywhere, so the stop at
 *      D - W - K only spares the node a reset. What carries: the watchdog is armed before the first
 *      renewal that says so and before any start; it is fed only while the clock, read for this
 *      feeding, is before t_send + D - W; it is disarmed only when nothing is left. Not until D
 *      (FED_UNTIL_D), not because the guard makes progress (FED_BY_TIMER), not because an answer
 *      came (FED_ON_LATE_ANSWER).
 *   2. D + W + K, drift and margin are exactly used up by a watchdog that is one period late and a
 *      kill that takes K: one tick less falls (SUM_SHORTENED). The spare W covers either a late
 *      watchdog or a guard frozen between reading its clock and feeding, not both at once (LATE=1
 *      with TWO_STEP). So nothing stands between the two: no log, no allocation, no other
 *      instance's work.
 *   3. Arm, then look at the clock, then start: frozen after the look, an armed node is reset
 *      before it can act. Armed last, it starts into another's epoch (ARMED_LAST). The reset must
 *      take the guard as well: a test device that spares it spares a start already decided
 *      (WATCHDOG_SPARES_GUARD).
 *   4. All windows count from a sending: the renewal's (FROM_RECEIPT) and the question's
 *      (PROMISE_FROM_ANSWER). A late answer whose own sending is recent enough is sound. What must
 *      never be used is an answer after the epoch was dropped (ANSWER_AFTER_DROP).
 *   5. The controller counts from the answer to a write of this life that found the permit revoked:
 *      not from sending it (COUNT_FROM_SENDING), not from seeing the primary silent (OWN_SIGHTING),
 *      not from the time that a predecessor recorded (TIME_AS_RECORDED: the predecessor crashed,
 *      forgot, and promised). A read that shows the revocation would do (COUNT_FROM_READ): reads
 *      are late, never early. The write keeps a deposed leader from acting on it.
 *   6. A promise is refused by who knows of the revocation, and it restarts the wait of who gives
 *      it. Either rule alone is enough, without both S1 falls (PROMISE_FORGOTTEN). A controller
 *      that has just restarted and knows nothing may promise. All that the guard's list names must
 *      promise; a silent one is never left out by the guard (SILENT_DROPPED).
 *   7. The report says: I have read this revocation; no process is left (not "in recovery", not
 *      "killed": REPORT_BEFORE_PROOF); the epoch, the renewal under way, the round of promises and
 *      the stored deadline are dropped, and dropped before it is sent. "PostgreSQL is gone", said
 *      before the revocation, is news and no evidence: the same guard may start it again
 *      (REPORT_BEFORE_REVOCATION).
 *   8. A start needs a renewal accepted in this life of the guard, later than the grant was read. A
 *      stored permit (STORED_PERMIT_STARTS), a stored deadline (STORED_DEADLINE_STARTS) and
 *      promises (PROMISE_STARTS) start nothing: the two latter only keep a running instance. With
 *      this rule the comparison of the boot is a second lock (BOOT_IGNORED holds); it is the first
 *      one only against a store that was restored.
 *   9. "Armed" is said by the last committed renewal, so the order of renewals matters: each
 *      compares the heartbeat's own revision too, or one given up long ago comes late and says
 *      "armed" of an instance that was started without (RENEWALS_UNORDERED). Disarming voids an
 *      acceptance: no unarmed start on a renewal older than the last that said "armed"
 *      (DISARMED_KEEPS_RENEWAL). The leader reads the heartbeat after the revocation was confirmed,
 *      when it cannot change any more.
 *  10. A new revision of the permit is stored before the first renewal under it is sent, and obeyed
 *      from the sending: its promisers, and the smaller of both D. Stored later, a guard that dies
 *      after the commit asks too few (SENT_BEFORE_STORED); obeyed only from the answer, an answer
 *      that is lost lets it run by the old ones while controllers count by the new
 *      (APPLIED_ON_ANSWER). A lower revision is never taken back (LIST_FROM_LAGGARD). A larger D is
 *      used from the answer on.
 *  11. The other side of 10: until the heartbeat names the new revision, an added controller does
 *      not count (LISTED_AT_ONCE), and the larger of both D stands in the sum (TIME_FROM_NEW_D). A
 *      dropped one does not count from the write that drops it, so it need not be asked by a guard
 *      that obeys the new list; that the design asks it is stricter.
 *  12. A round of promises is judged by the list in force when it is used, and begun anew when the
 *      first renewal under a new revision is sent. Other renewals under way do not touch it.
 */

#ifndef GUARDS
#define GUARDS 2
#endif
#ifndef CONTROLLERS
#define CONTROLLERS 2
#endif
#ifndef LEADERS
#define LEADERS CONTROLLERS /* the others only read, and promise */
#endif
#ifndef EPOCHS
#define EPOCHS 2
#endif
#ifndef LIST0
#define LIST0 3 /* bit c: controller c is a promiser, before the change of configuration */
#endif
#ifndef LIST1
#define LIST1 LIST0 /* and after it */
#endif

/* ---- time, in ticks ---- */

#define D0 3
#define D1 2 /* after the change of configuration */
#define W 1
#define K 1
#define DRIFT 1 /* what two clocks may differ by, from a sending to the end of a window */
#define EPS 1
#ifndef LATE
#ifdef TWO_STEP
#define LATE 0
#else
#define LATE 1
#endif
#endif
#define FIRES (W * (1 + LATE)) /* the watchdog begins to kill at the latest that long after it was fed */
#ifdef FED_UNTIL_D
#define LAPSED (D0 + DRIFT + 1)
#else
#define LAPSED (D0 - W + DRIFT + 1)
#endif
#ifdef SUM_SHORTENED
#define SUM(d) ((d) + W + K + DRIFT + EPS - 1)
#else
#define SUM(d) ((d) + W + K + DRIFT + EPS)
#endif
#define ENOUGH SUM(D0)

/* Each property is checked unless another one is asked for alone. */
#if defined(ONLY_S1) || defined(ONLY_S2) || defined(ONLY_S5) || defined(REACH)
#define ONLY 1
#else
#define ONLY 0
#endif
#if !ONLY || defined(ONLY_S1)
#define S1(x) assert(x)
#else
#define S1(x) skip
#endif
#if !ONLY || defined(ONLY_S2)
#define S2(x) assert(x)
#else
#define S2(x) skip
#endif
#if !ONLY || defined(ONLY_S5)
#define S5(x) assert(x)
#else
#define S5(x) skip
#endif

/* ---- the store ---- */

byte leader = 1; /* 1 + controller; who held the key before is deposed, and may not know it */

bit revoked;     /* the permit */
byte epoch = 1;
byte holder;
bit boot_ok = 1; /* the boot that it names is the one that the holder runs */
bit cfg;         /* its configuration: D and the list of promisers */

#ifdef TIME_AS_RECORDED
byte r_wait; /* since the revocation, as the store has it */
#endif
bit r_any = 1;   /* the holder's heartbeat: it renewed under this epoch; what it said last */
bit r_armed = 1;
bit r_cfg;
bit r_stopped;   /* the guard's report: nothing runs, the revoked epoch is dropped */

/* ---- the data nodes: guard, watchdog and PostgreSQL ---- */

#define SENT 1
#define COMMITTED 2

bit primary[GUARDS];  /* a primary or on its way to be, from before the request */
byte g_ep[GUARDS];    /* the epoch that it holds; 0: none */
bit g_cur[GUARDS];    /* ghost: the revision that it knows is the permit's newest */
bit g_cfg[GUARDS];    /* the configuration that it knows, stored */
bit g_sent[GUARDS];   /* it has sent a renewal under g_cfg, stored before */
byte own[GUARDS];     /* renewal accepted in this life of the guard, newer than any promise: 1, armed: 2 */
byte age[GUARDS];     /* since the sending of what its window rests on */
byte dog[GUARDS];     /* 0: not armed; else 1 + the time since it was fed */
byte p_st[GUARDS];    /* a renewal under way */
byte p_age[GUARDS];
bit p_cur[GUARDS];    /* ghost: the revision that it compares still stands */
bit p_ord[GUARDS];    /* ghost: no other renewal was committed since it was sent */
bit p_armed[GUARDS];
bit p_cfg[GUARDS];
byte q_age[GUARDS];   /* a round of promises: since its sending */
byte q_mask[GUARDS];  /* who promised */
#ifdef TWO_STEP
bit may_feed[GUARDS]; /* it looked at the clock; it has not acted yet */
bit may_start[GUARDS];
#endif
#ifdef TIERS
byte z_st[GUARDS];    /* a renewal given up, which may still be committed: 1, said armed: 2 */
bit z_ord[GUARDS];
#endif

#if GUARDS == 2
#define primaries (primary[0] + primary[1])
#else
#define primaries (primary[0] + primary[1] + primary[2])
#endif

/* ---- the controllers ---- */

#define REVOKE 1
#define GRANT 2
#define CHANGE 3

byte krev[CONTROLLERS]; /* the highest epoch that it knows to be revoked */
byte conf[CONTROLLERS]; /* the epoch whose revocation it confirmed by a write, in this life */
byte wait[CONTROLLERS]; /* since that answer, or its own last promise */
byte off[CONTROLLERS];  /* the epoch whose holder it switched off, by its agent */
byte w_kind[CONTROLLERS];
byte w_st[CONTROLLERS];
bit w_ok[CONTROLLERS];  /* ghost: term and revision that it compares still stand */
bit w_orphan[CONTROLLERS];
byte w_holder[CONTROLLERS];
bit w_boot[CONTROLLERS];

#ifdef REACH
#define BY_GUARD 1
#define BY_AGENT 2
#define BY_TIME 3
byte w_how[CONTROLLERS];
byte w_by[CONTROLLERS];
byte how; /* the last grant's evidence, and who granted */
byte by;
byte since[GUARDS]; /* since the last accepted renewal, of a primary that never stopped */
#endif

byte ok;
byte i;

/* ---- the store's side ---- */

inline no_write(c)
{
    w_kind[c] = 0;
    w_st[c] = 0;
    w_ok[c] = 0;
    w_orphan[c] = 0;
    w_holder[c] = 0;
    w_boot[c] = 0
#ifdef REACH
    ;w_how[c] = 0
#endif
}

inline no_renewal(g)
{
    p_st[g] = 0;
    p_age[g] = 0;
    p_cur[g] = 0;
    p_ord[g] = 0;
    p_armed[g] = 0;
    p_cfg[g] = 0
}

inline no_round(g)
{
    q_age[g] = LAPSED;
    q_mask[g] = 0
}

/*
 * Whatever compares an older revision or term fails from now on; so it is forgotten, unless a broken
 * variant compares less.
 */
inline outdate_writes()
{
    i = 0;
    do
    :: i < CONTROLLERS ->
        w_ok[i] = 0;
#ifndef NO_COMPARE
        if
        :: w_st[i] == SENT -> no_write(i)
        :: else
        fi;
#endif
        i++
    :: else -> break
    od;
    i = 0
}

inline moved()
{
    i = 0;
    do
    :: i < GUARDS ->
        g_cur[i] = 0;
        p_cur[i] = 0;
#ifdef TIERS
        z_st[i] = 0;
        z_ord[i] = 0;
#endif
#ifndef RENEWAL_BY_READ
        if
        :: p_st[i] == SENT -> no_renewal(i)
        :: else
        fi;
#endif
        i++
    :: else -> break
    od;
    outdate_writes()
}

#ifdef NO_COMPARE
#define compared(c) true
#else
#define compared(c) w_ok[c]
#endif

/* The last epoch is not revoked here. */
inline forget_fences()
{
    i = 0;
    do
    :: i < CONTROLLERS -> conf[i] = 0; wait[i] = 0; off[i] = 0; i++
    :: else -> break
    od;
    i = 0
}

inline commit(c)
{
    if
    :: compared(c) ->
        S5(w_ok[c]);
        ok = w_kind[c];
        if
        :: ok == REVOKE -> revoked = 1
        :: ok == CHANGE -> cfg = 1
        :: ok == GRANT ->
            S2(!primary[holder]);
            epoch = (epoch < EPOCHS -> epoch + 1 : epoch);
            revoked = 0;
            holder = w_holder[c];
            boot_ok = w_boot[c];
            r_any = 0;
            r_armed = 0;
            r_cfg = cfg;
            r_stopped = 0;
#ifdef TIME_AS_RECORDED
            r_wait = 0;
#endif
            if
            :: epoch == EPOCHS -> forget_fences()
            :: else
            fi;
#ifdef REACH
            how = w_how[c];
            by = c
#endif
        fi;
        moved();
        if
        :: ok == REVOKE && !w_orphan[c] -> w_st[c] = COMMITTED
        :: else -> no_write(c)
        fi;
        ok = 0
    :: else -> no_write(c)
    fi
}

/* ---- evidence ---- */

#define in0(c) ((LIST0 >> (c)) & 1)
#define in1(c) ((LIST1 >> (c)) & 1)

#ifdef NEVER_ASKED
#define listed(c) true
#elif defined(LISTED_AT_ONCE)
#define listed(c) (cfg -> in1(c) : in0(c))
#elif defined(DROPPED_COUNTS)
#define listed(c) (in0(c) || (cfg && in1(c) && r_cfg))
#else
#define listed(c) (cfg -> (in1(c) && (in0(c) || r_cfg)) : in0(c))
#endif
#ifdef TIME_FROM_NEW_D
#define sum (cfg -> SUM(D1) : SUM(D0))
#else
#define sum (cfg && r_cfg -> SUM(D1) : SUM(D0))
#endif
#ifdef UNARMED_TIME
#define armed (r_any)
#else
#define armed (r_any && r_armed)
#endif

#define by_time(c) (conf[c] == epoch && wait[c] >= sum && armed && listed(c))
#ifdef NEVER_RENEWED
#define by_guard(c) (r_stopped || !r_any)
#else
#define by_guard(c) (r_stopped)
#endif
#define by_agent(c) (off[c] == epoch)
#ifdef TIME_AS_RECORDED
#define by_record (r_wait >= sum && armed)
#else
#define by_record false
#endif
#ifdef LEASE_AS_PROOF
#define by_lease true /* it may end early, and while its owner lives */
#else
#define by_lease false
#endif
#ifdef SECOND_WITHOUT_FENCE
#define may_grant(c) (epoch == 2 && !revoked || revoked && (by_time(c) || by_guard(c) || by_agent(c)))
#elif defined(EVIDENCE_WITHOUT_REVOCATION)
#define may_grant(c) (by_time(c) || by_guard(c) || by_agent(c))
#else
#define may_grant(c) (revoked && (by_time(c) || by_guard(c) || by_agent(c) || by_lease || by_record))
#endif

/* ---- the data node ---- */

/* Power off, a crash, a watchdog: nothing is left, and another boot follows some time. */
inline reset_node(g)
{
    primary[g] = 0;
#if !defined(STORED_PERMIT_STARTS) && !defined(PROMISE_STARTS)
    g_ep[g] = 0;
    g_cur[g] = 0;
    g_cfg[g] = 0;
    g_sent[g] = 0;
    dog[g] = 0;
#else
    dog[g] = (g_ep[g] != 0 -> 1 : 0);
#endif
    own[g] = 0;
    age[g] = LAPSED;
#ifdef TIERS
    give_up(g);
#endif
    no_renewal(g);
    no_round(g);
#ifdef TWO_STEP
    may_feed[g] = 0;
    may_start[g] = 0;
#endif
    boot_ok = (holder == g -> 0 : boot_ok);
    i = 0;
    do
    :: i < CONTROLLERS -> w_boot[i] = (w_holder[i] == g -> 0 : w_boot[i]); i++
    :: else -> break
    od;
    i = 0
#ifdef REACH
    ;since[g] = 0
#endif
}

#ifdef TIERS
inline give_up(g)
{
    if
    :: p_st[g] == SENT && p_cur[g] && z_st[g] == 0 -> z_st[g] = 1 + p_armed[g]; z_ord[g] = p_ord[g]
    :: else
    fi
}
#endif

#ifdef FED_UNTIL_D
#define limit(g) ((g_sent[g] && g_cfg[g] -> D1 : D0) + DRIFT)
#else
#define limit(g) ((g_sent[g] && g_cfg[g] -> D1 : D0) - W + DRIFT)
#endif
#define needed(g) (g_sent[g] && g_cfg[g] -> LIST1 : LIST0)
#ifdef FROM_RECEIPT
#define p_usable(g) true
#else
#define p_usable(g) (p_age[g] <= limit(g))
#endif
#if defined(ARMED_LAST) || defined(WATCHDOG_SPARES_GUARD)
#define may_start_now(g) true
#elif defined(TWO_STEP)
#define may_start_now(g) (dog_waits(g))
#endif
/* Does its time count: is there anything that the watchdog must end? */
#ifdef TWO_STEP
#define counts(g) (primary[g] || may_start[g])
#else
#define counts(g) (primary[g])
#endif
#ifdef PROMISE_STARTS
#define goes_on(g) true
#else
#define goes_on(g) within(g)
#endif
#ifdef BOOT_IGNORED
#define this_boot true
#else
#define this_boot boot_ok
#endif
#define within(g) (age[g] <= limit(g))
#ifdef STORED_PERMIT_STARTS
#define may_start_on(g) true
#elif defined(PROMISE_STARTS)
#define may_start_on(g) (within(g))
#elif defined(STORED_DEADLINE_STARTS)
#define may_start_on(g) (within(g))
#else
#define may_start_on(g) (own[g] != 0 && within(g))
#endif
#define dog_waits(g) (dog[g] > 0 && dog[g] - 1 <= FIRES)
#ifdef NO_WATCHDOG
#define may_run(g) true
#elif defined(TIERS)
#define may_run(g) (dog_waits(g) || (dog[g] == 0 && own[g] == 1))
#else
#define may_run(g) (dog_waits(g))
#endif

inline become_primary(g)
{
    primary[g] = 1;
    S1(primaries <= 1)
}

/*
 * Armed before the first renewal that says so, disarmed once nothing is left. While nothing runs it
 * can be disarmed and armed at will, so its time stands still.
 */
inline arm(g)
{
#if !defined(NO_WATCHDOG) && !defined(TIERS)
    dog[g] = (dog[g] == 0 -> 1 : dog[g])
#else
    skip
#endif
}

inline stop(g)
{
    primary[g] = 0;
#ifdef TWO_STEP
    may_feed[g] = 0;
#endif
    dog[g] = (dog[g] != 0 -> 1 : 0)
#ifdef REACH
    ;since[g] = 0
#endif
}

proctype guard(byte g)
{
end:
    do
    /* It reads the permit. Reads may be old; what it does with one is decided by the renewal. */
    :: d_step { !revoked && holder == g && this_boot && epoch < EPOCHS && !g_cur[g] ->
            if
            :: g_ep[g] != epoch -> age[g] = LAPSED; own[g] = 0; no_renewal(g); no_round(g); g_sent[g] = 0
            :: g_ep[g] == epoch && g_cfg[g] != cfg -> g_sent[g] = 0
            :: else
            fi;
            g_ep[g] = epoch;
            arm(g);
            g_cur[g] = 1;
            g_cfg[g] = cfg }

#ifdef LIST_FROM_LAGGARD
    :: d_step { g_ep[g] == 1 && g_cfg[g] -> g_cfg[g] = 0; g_cur[g] = 0 }
#endif

    /* Renewal: sent, committed or not, answered or not. */
    :: d_step { g_ep[g] != 0 && p_st[g] == 0 ->
            p_st[g] = SENT;
            p_age[g] = 0;
            p_cur[g] = g_cur[g];
            p_ord[g] = 1;
#ifdef NO_WATCHDOG
            p_armed[g] = 1;
#else
            p_armed[g] = (dog[g] > 0);
#endif
            p_cfg[g] = g_cfg[g];
            if
            :: !g_sent[g] -> no_round(g)
            :: else
            fi;
#ifndef APPLIED_ON_ANSWER
            g_sent[g] = 1
#endif
            }
    :: d_step { p_st[g] == SENT ->
            if
#ifdef RENEWAL_BY_READ
            :: p_ord[g] ->
#else
            :: p_cur[g] && p_ord[g] ->
#endif
                p_st[g] = COMMITTED;
                if
                :: p_cur[g] -> r_any = 1; r_armed = p_armed[g]; r_cfg = p_cfg[g]
                :: else
                fi;
#ifdef TIERS
                z_ord[g] = 0
#endif
            :: else -> no_renewal(g)
            fi }
    :: d_step { p_st[g] == COMMITTED && p_usable(g) ->
#ifdef FROM_RECEIPT
            age[g] = 0;
#else
            age[g] = (p_age[g] < age[g] -> p_age[g] : age[g]);
#endif
            own[g] = 1 + p_armed[g];
#ifdef APPLIED_ON_ANSWER
            g_sent[g] = 1;
#endif
            if
            :: q_age[g] >= age[g] -> no_round(g)
            :: else
            fi;
#ifdef REACH
#ifdef REACH_OUTAGE
            assert(!(primary[g] && since[g] >= SUM(D0)));
#endif
            since[g] = 0;
#endif
            no_renewal(g) }
#ifdef FED_ON_LATE_ANSWER
    :: d_step { p_st[g] == COMMITTED && dog_waits(g) && primary[g] -> dog[g] = 1; no_renewal(g) }
#endif
    :: d_step { p_st[g] != 0 ->
#ifdef TIERS
            give_up(g);
#endif
            no_renewal(g) }
#ifdef TIERS
    :: d_step { z_st[g] != 0 ->
            if
#ifdef RENEWALS_UNORDERED
            :: true -> r_any = 1; r_armed = z_st[g] - 1
#else
            :: z_ord[g] -> r_any = 1; r_armed = z_st[g] - 1; p_ord[g] = 0
#endif
            :: else
            fi;
            z_st[g] = 0;
            z_ord[g] = 0 }
#endif

    /* Promises. */
#ifdef PROMISE_STARTS
    :: d_step { g_ep[g] != 0 && age[g] > 0 && q_age[g] == LAPSED -> q_age[g] = 0 }
#else
    :: d_step { g_ep[g] != 0 && primary[g] && within(g) && age[g] > 0 && q_age[g] == LAPSED -> q_age[g] = 0 }
#endif
    :: d_step { q_age[g] <= limit(g) && goes_on(g) && q_age[g] < age[g] &&
#ifdef SILENT_DROPPED
                (q_mask[g] & needed(g)) != 0 ->
#else
                (q_mask[g] & needed(g)) == needed(g) ->
#endif
#ifdef PROMISE_FROM_ANSWER
            age[g] = 0;
#else
            age[g] = q_age[g];
#endif
            own[g] = 0;
            no_round(g) }
    :: d_step { q_age[g] != LAPSED -> no_round(g) }

    /* The watchdog. */
#ifdef TIERS
    :: d_step { dog[g] == 0 && g_ep[g] != 0 -> dog[g] = 1 }
    :: d_step { dog[g] != 0 && !primary[g] ->
            dog[g] = 0
#ifndef DISARMED_KEEPS_RENEWAL
            ;own[g] = 0
#endif
            }
#endif
#ifdef TWO_STEP
    :: d_step { dog_waits(g) && within(g) && !may_feed[g] -> may_feed[g] = 1 }
    :: d_step { dog_waits(g) && may_feed[g] -> may_feed[g] = 0; dog[g] = 1 }
#elif defined(FED_BY_TIMER)
    :: d_step { dog_waits(g) && dog[g] > 1 && p_st[g] != 0 -> dog[g] = 1 }
#else
    :: d_step { dog_waits(g) && dog[g] > 1 && within(g) -> dog[g] = 1 }
#endif
#ifdef WATCHDOG_SPARES_GUARD
    :: d_step { dog[g] - 1 >= W && dog[g] != 0 -> primary[g] = 0; dog[g] = 0; may_feed[g] = 0 }
#else
    :: d_step { dog[g] - 1 >= W && dog[g] != 0 -> reset_node(g) }
#endif

    /* Start or promote; stop, or an end of PostgreSQL by itself. */
#ifdef TWO_STEP
    :: d_step { !primary[g] && g_ep[g] != 0 && may_start_on(g) && may_run(g) -> may_start[g] = 1 }
    :: d_step { may_start[g] && may_start_now(g) -> may_start[g] = 0; become_primary(g)
#ifdef ARMED_LAST
            ;dog[g] = 1
#endif
            }
#else
    :: d_step { !primary[g] && g_ep[g] != 0 && may_start_on(g) && may_run(g) -> become_primary(g) }
#endif
    :: d_step { primary[g] -> stop(g) }
    /* The last epoch is never revoked here: how its holder's time passes has no effect. */
    :: d_step { !revoked && holder == g && this_boot && epoch == EPOCHS && !primary[g] -> become_primary(g) }

    /* The report: it has read the revocation, stopped everything, and dropped the epoch. */
#ifdef REPORT_BEFORE_REVOCATION
    :: d_step { holder == g && epoch < EPOCHS && !primary[g] && !r_stopped -> r_stopped = 1 }
#endif
#ifdef REPORT_BEFORE_PROOF
    :: d_step { revoked && holder == g && !r_stopped ->
#else
    :: d_step { revoked && holder == g && !primary[g] && !r_stopped ->
#endif
            g_ep[g] = 0;
            g_cur[g] = 0;
            g_cfg[g] = 0;
            g_sent[g] = 0;
            own[g] = 0;
#ifdef STORED_DEADLINE_STARTS
            g_ep[g] = epoch;
            dog[g] = 1;
#elif defined(ANSWER_AFTER_DROP)
            age[g] = LAPSED;
            g_ep[g] = epoch;
            dog[g] = 1;
#else
            age[g] = LAPSED;
            no_renewal(g);
            dog[g] = 0;
#endif
            no_round(g);
#ifdef TWO_STEP
            may_start[g] = 0;
#endif
            r_stopped = 1;
            i = 0;
            do
            :: i < CONTROLLERS -> wait[i] = (conf[i] != 0 -> ENOUGH : 0); i++
            :: else -> break
            od;
            i = 0 }

    /* The guard dies and returns: what it stored is its permit and, perhaps, its deadline. */
    :: d_step { g_ep[g] != 0 ->
#ifdef TIERS
            give_up(g);
#endif
            no_renewal(g); no_round(g); own[g] = 0
#ifdef SENT_BEFORE_STORED
            ;g_cur[g] = 0;
            g_cfg[g] = 0;
            g_sent[g] = 0
#endif
#ifdef TWO_STEP
            ;may_feed[g] = 0;
            may_start[g] = 0
#endif
            }
    :: d_step { age[g] != LAPSED -> age[g] = LAPSED; own[g] = 0; no_round(g) }

    /* The node dies. */
    :: d_step { g_ep[g] != 0 || primary[g] || (holder == g && boot_ok) -> reset_node(g) }
    od
}

#ifdef PROMISE_FORGOTTEN
#define PROMISE_THOUGH_REVOKED
#define WAIT_NOT_RESTARTED
#endif
#ifdef PROMISE_THOUGH_REVOKED
#define may_promise(c, g) true
#else
#define may_promise(c, g) (g_ep[g] > krev[c])
#endif

inline promise(c, g)
{
    q_mask[g] = q_mask[g] | (1 << c);
#ifndef WAIT_NOT_RESTARTED
    wait[c] = 0
#endif
}

proctype controller(byte c)
{
end:
    do
    /* A change of configuration. */
#ifdef CHANGES
    :: d_step { leader == c + 1 && w_st[c] == 0 && epoch < EPOCHS && !revoked && !cfg ->
            w_kind[c] = CHANGE; w_st[c] = SENT; w_ok[c] = 1 }
#endif

    /* What becomes of a write. */
    :: d_step { w_st[c] == SENT -> commit(c) }
    :: d_step { w_st[c] == SENT -> commit(c); no_write(c) } /* its answer is lost */
    :: d_step { w_st[c] != 0 -> no_write(c) }

    /* Leadership: the key ends, early or late, and another takes it. */
    :: d_step { leader != c + 1 && c < LEADERS ->
            leader = c + 1;
            outdate_writes() }

    /* It reads. */
    :: d_step { revoked && krev[c] != epoch -> krev[c] = epoch }
    :: d_step { !revoked && krev[c] != epoch - 1 -> krev[c] = epoch - 1 }

    /* A revocation, or its confirmation by a write of one's own. */
    :: d_step { leader == c + 1 && w_st[c] == 0 && epoch < EPOCHS && conf[c] != epoch ->
            w_kind[c] = REVOKE; w_st[c] = SENT; w_ok[c] = 1
#ifdef COUNT_FROM_SENDING
            ;wait[c] = 0
#endif
            }
    :: d_step { w_st[c] == COMMITTED ->
            if
            :: revoked ->
                conf[c] = epoch;
#ifndef COUNT_FROM_SENDING
                wait[c] = (r_stopped -> ENOUGH : 0);
#endif
                krev[c] = epoch
            :: else
            fi;
            no_write(c) }
#ifdef COUNT_FROM_READ
    :: d_step { revoked && conf[c] != epoch -> conf[c] = epoch; wait[c] = 0; krev[c] = epoch }
#endif
#if defined(OWN_SIGHTING) || defined(EVIDENCE_WITHOUT_REVOCATION)
    :: d_step { !revoked && epoch < EPOCHS && conf[c] != epoch -> conf[c] = epoch; wait[c] = 0 }
#endif

    /* Fencing by an agent: off, asked for after the revocation was confirmed, and its status. */
    :: d_step { revoked && conf[c] == epoch && off[c] != epoch -> reset_node(holder); off[c] = epoch; wait[c] = ENOUGH }

    /* A grant, to a running standby or to the request of a boot. */
    :: d_step { leader == c + 1 && w_st[c] == 0 && epoch < EPOCHS && may_grant(c) ->
#ifdef REACH
            w_how[c] = (by_guard(c) -> BY_GUARD : (by_agent(c) -> BY_AGENT : BY_TIME));
#endif
            w_kind[c] = GRANT; w_st[c] = SENT; w_ok[c] = 1; w_holder[c] = 0; w_boot[c] = 1 }
    :: d_step { leader == c + 1 && w_st[c] == 0 && epoch < EPOCHS && may_grant(c) ->
#ifdef REACH
            w_how[c] = (by_guard(c) -> BY_GUARD : (by_agent(c) -> BY_AGENT : BY_TIME));
#endif
            w_kind[c] = GRANT; w_st[c] = SENT; w_ok[c] = 1; w_holder[c] = 1; w_boot[c] = 1 }
#if GUARDS == 3
    :: d_step { leader == c + 1 && w_st[c] == 0 && epoch < EPOCHS && may_grant(c) ->
#ifdef REACH
            w_how[c] = (by_guard(c) -> BY_GUARD : (by_agent(c) -> BY_AGENT : BY_TIME));
#endif
            w_kind[c] = GRANT; w_st[c] = SENT; w_ok[c] = 1; w_holder[c] = 2; w_boot[c] = 1 }
#endif

    /* A promise. */
    :: d_step { q_age[0] < LAPSED && ((q_mask[0] >> c) & 1) == 0 && may_promise(c, 0) -> promise(c, 0) }
#if EPOCHS == 3
    :: d_step { q_age[1] < LAPSED && ((q_mask[1] >> c) & 1) == 0 && may_promise(c, 1) -> promise(c, 1) }
#endif

    /* It dies and returns, and has forgotten everything. */
    :: d_step { krev[c] != 0 || conf[c] != 0 || off[c] != 0 || (w_st[c] == SENT && !w_orphan[c]) ->
            krev[c] = 0;
            conf[c] = 0;
            wait[c] = 0;
            off[c] = 0;
            if
            :: w_st[c] == SENT -> w_orphan[c] = 1
            :: else -> no_write(c)
            fi }
    od
}

#define overdue(g) (dog[g] > FIRES + K && counts(g))
#if GUARDS == 2
#define may_pass (!overdue(0) && !overdue(1))
#else
#define may_pass (!overdue(0) && !overdue(1) && !overdue(2))
#endif

inline older(x, most) { x = (x < (most) -> x + 1 : x) }

proctype time()
{
end:
    do
    :: d_step { may_pass ->
            i = 0;
            do
            :: i < GUARDS ->
                older(age[i], LAPSED);
                if
                :: q_age[i] < LAPSED -> q_age[i]++; if :: q_age[i] == LAPSED -> q_mask[i] = 0 :: else fi
                :: else
                fi;
                if
                :: p_st[i] != 0 -> older(p_age[i], LAPSED)
                :: else
                fi;
#if !defined(FROM_RECEIPT) && !defined(FED_ON_LATE_ANSWER)
                if
                :: p_st[i] == COMMITTED && p_age[i] == LAPSED -> no_renewal(i)
                :: else
                fi;
#endif
                if
                :: dog[i] != 0 && counts(i) -> older(dog[i], FIRES + K + 1)
                :: else
                fi;
#ifdef REACH
                if
                :: primary[i] -> older(since[i], SUM(D0))
                :: else
                fi;
#endif
                i++
            :: else -> break
            od;
#ifdef TIME_AS_RECORDED
            if
            :: revoked -> older(r_wait, ENOUGH)
            :: else
            fi;
#endif
            i = 0;
            do
            :: i < CONTROLLERS ->
                if
                :: conf[i] != 0 -> wait[i] = (r_stopped || off[i] == epoch -> ENOUGH : (wait[i] < ENOUGH -> wait[i] + 1 : wait[i]))
#ifdef COUNT_FROM_SENDING
                :: conf[i] == 0 && w_kind[i] == REVOKE -> older(wait[i], ENOUGH)
#endif
                :: else
                fi;
                i++
            :: else -> break
            od;
            i = 0 }
    od
}

#ifdef REACH
proctype goals()
{
end:
#if defined(REACH_BY_GUARD)
    d_step { epoch == 2 && holder == 1 && primary[1] && how == BY_GUARD -> assert(false) }
#elif defined(REACH_BY_AGENT)
    d_step { epoch == 2 && holder == 1 && primary[1] && how == BY_AGENT -> assert(false) }
#elif defined(REACH_BY_TIME)
    d_step { epoch == 2 && holder == 1 && primary[1] && how == BY_TIME -> assert(false) }
#elif defined(REACH_CHANGE)
    d_step { epoch == 1 && cfg && r_cfg && primary[0] && g_sent[0] && g_cfg[0] -> assert(false) }
#elif defined(REACH_TIME_BY_ADDED)
    d_step { epoch == 2 && primary[1] && how == BY_TIME && !in0(by) -> assert(false) }
#elif defined(REACH_OLD_AGAIN)
    d_step { epoch == 2 && holder == 0 && primary[0] && how == BY_AGENT -> assert(false) }
#else
    d_step { false -> skip } /* REACH_OUTAGE is met at a renewal */
#endif
}
#endif

init
{
    d_step {
        i = 0;
        do
        :: i < GUARDS -> age[i] = LAPSED; q_age[i] = LAPSED; i++
        :: else -> break
        od;
        i = 0;
        primary[0] = 1;
        g_ep[0] = 1;
        g_cur[0] = 1;
        g_sent[0] = 1;
        own[0] = 2;
        age[0] = 0;
#ifdef NO_WATCHDOG
        dog[0] = 0
#else
        dog[0] = 1
#endif
    }
    atomic {
        run guard(0);
        run guard(1);
#if GUARDS == 3
        run guard(2);
#endif
        run controller(0);
        run controller(1);
#if CONTROLLERS == 3
        run controller(2);
#endif
        run time();
#ifdef REACH
        run goals()
#endif
    }
}
