/*
 * failover.pml - revocation, evidence, grant and takeover, before guards exist.
 *
 * One database, three instances, two controllers, one store. It answers one question: can the
 * protocol "revoke, fence, record the evidence, grant, promote" ever let two instances acknowledge
 * writes, whatever controllers, answers, power devices and machines do in between? ./run checks it
 * with spin, exhaustively within the bounds below, and demands that spin refutes each broken
 * variant (-D) and reaches each goal (-DREACH_*), so that neither "no errors" nor "error" is empty.
 *
 * What is modelled
 *   store        one line of compared writes. Permit and group record are one document here, since
 *                they move in one transaction: phase, epoch, its holder, the holder's life, evidence,
 *                burnt instances, recorded history. A write compares the leader key's create
 *                revision with the writer's term, and the document's revision with what was read.
 *                It is answered, or committed unanswered, or lost, or committed much later.
 *   controllers  campaign; lose the lease at any moment without noticing; stop for any time between
 *                any two steps; crash and forget; read back what they do not know; resume from the
 *                record. They suspect a primary or a candidate at will, rightly or wrongly.
 *   fencing      agent: `off` is accepted, takes effect and is read by `status` in three separate
 *                steps, each of which may hang or lose its answer. command: effect, then an exit
 *                status that may be lost. operator: a person cuts the power, and confirms. An `off`
 *                once sent may land at any later moment, also on the next primary.
 *   promotion    a conditional statement: only an instance in recovery, on the expected timeline
 *                number, in the life that the grant names. Once sent it may land at any later
 *                moment. A promotion takes time, and its instance may die in the middle of it, and
 *                come back as a standby or as a primary. From its first moment it counts as one.
 *   instances    die and come back by themselves, as what they were (without a guard the service
 *                manager starts a revoked primary too). After an accepted `off` only a person
 *                switches them on again.
 *
 * Bounds: TERMS leaderships, EPOCHS permits, RETURNS of instances, one write of each
 * controller under way in the network at a time. Crashes, stalls, lost answers, retries and
 * hanging devices are not bounded.
 *
 * Assumed, and not checked here
 *   A1 An accepted `off` lasts: mains that return do not undo it.
 *   A2 A person switches a fenced machine on only with standby.signal in its data directory; looking
 *      at the record and pressing the button are one act. -DFENCED_BOOTS_AS_PRIMARY shows what A2
 *      is worth. Guards remove it.
 *   A3 `status`, a command's exit status and a person tell the truth about the moment they speak of.
 * Not modelled: time (so neither the permit's clock nor the statement's deadline carries any weight
 * here: nothing below needs them), acknowledged loss and sync entries (S3, S4), routes (S10), more
 * than one database, a store restored from a backup.
 *
 * Properties, each an assertion that can be switched off so that a variant breaks a named one
 *   S1 never two instances up that are primaries or on their way to be;
 *   S2 a grant follows recorded evidence of its predecessor's end, asked for after the revocation,
 *      and true when recorded;
 *   S5 terms and epochs only grow; a deposed leader changes nothing;
 *   S6 an epoch promotes once, and only the instance that the record names;
 *   S7 what is promoted descends from the recorded history.
 *
 * What it taught, for whoever writes the core
 *   1. Permit and group record move in one transaction, comparing the term and both revisions.
 *   2. Evidence belongs to one revocation. A fence operation carries the revoked epoch, *and* starts
 *      only after the revocation is known to be committed: the epoch alone is not enough, it is the
 *      same before and after (-DEVIDENCE_BEFORE_REVOCATION). An operator's confirmation names the
 *      revocation that was open when it was asked for. A revoked epoch that is granted again makes
 *      old evidence look new (-DREVOKED_EPOCH_AGAIN breaks S1, not only S5).
 *   3. `status` = off alone proves nothing: a machine without power may return by itself. Only an
 *      `off` that was accepted, then a `status` asked after that acceptance (-DSTATUS_ALONE).
 *   4. In recovery, on the expected timeline, before a deadline: these do not save a candidate that
 *      was fenced and switched on again from a deposed leader's promote. It is in recovery, on that
 *      timeline, and a deadline read from its own clock in a new session is fresh. So the grant
 *      names the candidate's life (pg_postmaster_start_time()) and the statement compares it
 *      (-DPROMOTE_ANY_LIFE). A candidate that restarted before it was promoted is a failed one:
 *      revoke, fence, choose again.
 *   5. The revision compare does not repeat the term compare. Without it a leader's own write that
 *      timed out lands after its next one, and S1 falls (-DNO_REVISION_COMPARE). Without the term
 *      compare S1 still held within small bounds, and S5 fell at once (-DNO_TERM_COMPARE): so S1
 *      rests on "who writes has read the newest record", and both compares stay. After an unknown
 *      answer read the record, and decide anew from what it says.
 *   6. A candidate is marked burnt in the same write that revokes it, whether or not it was seen to
 *      begin. Two forks bear one timeline number: the mark is all that tells them apart
 *      (-DBURNT_FORGOTTEN).
 *   7. Nothing rests on a deposed leader stopping: it may go on asking for `off` and sending the
 *      promote that the record names. A late `off` on the new primary is an outage and no danger
 *      (-DREACH_LATE_OFF_ON_PRIMARY): the next failover meets it, no rule has to.
 */

#ifndef TERMS
#define TERMS 3
#endif
#ifndef EPOCHS
#define EPOCHS 3
#endif
#ifndef RETURNS
#define RETURNS 1
#endif
#define LIVES (RETURNS + 1)
#define REVISIONS 12 /* of the document; a whole run of EPOCHS permits needs fewer */

#ifndef UNREDUCED
#define REDUCED
#endif

/* Each property is checked unless another one is asked for alone. */
#if defined(ONLY_S1) || defined(ONLY_S2) || defined(ONLY_S5) || defined(ONLY_S6) ||                  \
    defined(ONLY_S7) || defined(REACH)
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
#if !ONLY || defined(ONLY_S6)
#define S6(x) assert(x)
#else
#define S6(x) skip
#endif
#if !ONLY || defined(ONLY_S7)
#define S7(x) assert(x)
#else
#define S7(x) skip
#endif

/* ---- the store ---- */

#define NORMAL 0    /* the permit is granted, its holder confirmed as primary */
#define FENCING 1   /* revoked, no evidence yet */
#define FENCED 2    /* revoked, evidence recorded */
#define PROMOTING 3 /* granted to a candidate, not confirmed yet */

byte leader = 0; /* 0: the key is absent; else 1 + controller */
byte term = 0;   /* the key's last create revision */

byte rev = 1;
byte phase = NORMAL;
byte epoch = 1;
byte holder = 0;   /* of the epoch: the primary, the fence's target or the candidate */
byte evidence = 0; /* the epoch whose end was proven last */
byte life_named = 0;
byte burnt = 0;   /* bit i: instance i may bear a line of its own */
byte history = 1; /* the line (the epoch that began it) of the last confirmed primary */

byte confirmed_by_person = 0; /* the epoch that a person confirmed as ended */

/* ---- the instances ---- */

#define STANDBY 0
#define PROMOTED 1 /* promotion began */
#define PRIMARY 2

bit up[3] = {1, 1, 1};
byte role[3] = {PRIMARY, STANDBY, STANDBY};
byte life[3];
bit off_accepted[3];
bit off_under_way[3];         /* an `off` was sent at some time: it may land at any later one */
byte line[3] = {1, 1, 1};     /* the epoch that began the line on which its WAL ends */
byte statement[3 * LIVES];    /* the epoch of a promote statement sent to this life, 0: none */
byte parent[EPOCHS + 2];      /* of an epoch: the history recorded at its grant */
byte number[EPOCHS + 2];      /* of a line: its timeline number, which forks can share */
bit began[EPOCHS + 2];        /* a promotion under this epoch began */

#define may_return (life[0] + life[1] + life[2] < RETURNS)
#define live(i) (up[i] && role[i] != STANDBY)
#define one_primary (live(0) + live(1) + live(2) <= 1)

/* ---- the controllers ---- */

#define IDLE 0
#define OFF_ASKED 1
#define OFF_KNOWN 2  /* its acceptance was answered */
#define SEEN_OFF 3   /* the device read "off"; the answer is under way */
#define CMD_ASKED 4
#define CMD_DONE 5   /* the command worked; its exit status is under way */

byte my_term[2]; /* 0: does not believe to lead */
bit known[2];    /* the copy below is what the store answered last */
byte k_rev[2];
byte k_phase[2];
byte k_epoch[2];
byte k_holder[2];
byte k_life[2];

byte fence[2]; /* one fence operation at a time */
byte f_epoch[2];
byte f_target[2];
bit f_after[2];  /* ghost: it was asked for while that revocation stood in the store */
byte proven[2];  /* in memory: the epoch whose end is proven */
bit p_after[2];

bit w_on[2]; /* a write under way that was given up: it may be committed at any later moment */
byte w_term[2];
byte w_rev[2];
byte w_phase[2];
byte w_epoch[2];
byte w_holder[2];
byte w_life[2];

#ifdef REACH
byte evidence_term = 0;
#endif

hidden byte ok;

#ifdef NO_TERM_COMPARE
#define term_holds(t) true
#else
#define term_holds(t) (leader != 0 && (t) == term)
#endif
#ifdef NO_REVISION_COMPARE
#define revision_holds(r) true
#else
#define revision_holds(r) ((r) == rev)
#endif

/* A deposed leader that notices, and one that has to read again, forget their copy. */
inline unknow(c)
{
    known[c] = 0;
    k_rev[c] = 0;
    k_phase[c] = 0;
    k_epoch[c] = 0;
    k_holder[c] = 0;
    k_life[c] = 0
}

inline land(c)
{
    w_on[c] = 0;
    w_term[c] = 0;
    w_rev[c] = 0;
    w_phase[c] = 0;
    w_epoch[c] = 0;
    w_holder[c] = 0;
    w_life[c] = 0
}

inline end_fence(c)
{
    fence[c] = IDLE;
    f_epoch[c] = 0;
    f_target[c] = 0;
    f_after[c] = 0
}

/*
 * Forget what can have no effect any more: this changes no behaviour and saves states. One run of
 * the driver goes without it (-DUNREDUCED), and so do the broken variants.
 */
inline forget(c)
{
#ifdef REDUCED
    if
    :: w_on[c] && (w_term[c] != term || leader == 0 || w_rev[c] != rev) -> land(c)
    :: else
    fi;
    if
    :: known[c] && k_rev[c] != rev && (k_phase[c] == NORMAL || k_phase[c] == FENCED) -> unknow(c)
    :: else
    fi;
    if
    :: proven[c] != 0 && (proven[c] != epoch || phase != FENCING) -> proven[c] = 0; p_after[c] = 0
    :: else
    fi;
    if
    :: fence[c] != IDLE && (f_epoch[c] != epoch || phase != FENCING) -> end_fence(c)
    :: else
    fi
#endif
    skip
}

inline forget_dead(i)
{
#ifdef REDUCED
    if
    :: !up[i] && !may_return ->
        off_accepted[i] = 1;
        off_under_way[i] = 1;
        role[i] = STANDBY;
        line[i] = 1;
        statement[i * LIVES + life[i]] = 0
    :: else
    fi;
    if
    :: confirmed_by_person != epoch || phase != FENCING -> confirmed_by_person = 0
    :: else
    fi
#endif
    skip
}

/* One transaction: compares, then puts the whole document. `ok` tells whether it was committed. */
inline commit(t, r, n_phase, n_epoch, n_holder, n_life)
{
    ok = 0;
    if
    :: term_holds(t) && revision_holds(r) && rev < REVISIONS ->
        S5((t) == term && leader != 0);
        S5((n_epoch) >= epoch);
        if
        :: (n_phase) == FENCING ->
            if
            :: phase == PROMOTING -> burnt = burnt | (1 << holder)
            :: else
            fi
        :: (n_phase) == FENCED ->
            S2(!live(n_holder));
            evidence = n_epoch
        :: (n_phase) == PROMOTING ->
            S5((n_epoch) > epoch);
            S2(phase == FENCED && evidence == epoch);
            parent[n_epoch] = history;
            life_named = n_life
        :: (n_phase) == NORMAL -> history = n_epoch
        fi;
#ifdef REACH
        if
        :: (n_phase) == FENCED -> evidence_term = t
        :: (n_phase) == NORMAL ->
#ifdef REACH_TAKEOVER
            assert((t) <= evidence_term);
#endif
            evidence_term = 0
        :: else
        fi;
#endif
        phase = n_phase;
        epoch = n_epoch;
        holder = n_holder;
        life_named = (phase == PROMOTING -> life_named : 0);
        rev++;
        ok = 1;
        forget(0);
        forget(1);
        forget_dead(0);
        forget_dead(1);
        forget_dead(2)
    :: else
    fi
}

inline read_back(c)
{
    known[c] = 1;
    k_rev[c] = rev;
    k_phase[c] = phase;
    k_epoch[c] = epoch;
    k_holder[c] = holder;
    k_life[c] = life_named
}

/* The leader's write: committed at once or later, answered or not. */
inline put(c, n_phase, n_epoch, n_holder, n_life)
{
    if
    :: commit(my_term[c], k_rev[c], n_phase, n_epoch, n_holder, n_life);
        if
        :: ok -> read_back(c)
        :: !ok && my_term[c] != term -> my_term[c] = 0; unknow(c)
        :: !ok && my_term[c] == term -> unknow(c)
        fi
    :: commit(my_term[c], k_rev[c], n_phase, n_epoch, n_holder, n_life);
        unknow(c) /* the answer was lost */
    :: !w_on[c] ->
        w_on[c] = 1;
        w_term[c] = my_term[c];
        w_rev[c] = k_rev[c];
        w_phase[c] = n_phase;
        w_epoch[c] = n_epoch;
        w_holder[c] = n_holder;
        w_life[c] = n_life;
        unknow(c)
    fi
}

#ifdef BURNT_FORGOTTEN
#define not_burnt(i) true
#else
#define not_burnt(i) ((burnt & (1 << (i))) == 0)
#endif
#define fit(i) (up[i] && role[i] == STANDBY && not_burnt(i) && number[line[i]] <= number[history])

/*
 * A standby follows the confirmed primary some time after it was confirmed. That it has done so
 * shows only when it is chosen, so it is done there; one that bears the expected number already is
 * believed to be there.
 */
inline follow(i)
{
    if
    :: number[line[i]] < number[history] -> line[i] = history
    :: else
    fi
}

#ifdef REVOKED_EPOCH_AGAIN
#define next_epoch(c) (k_epoch[c])
#else
#define next_epoch(c) (k_epoch[c] + 1)
#endif

#ifdef GRANT_WITHOUT_EVIDENCE
#define may_grant(c) (k_phase[c] == FENCING || k_phase[c] == FENCED)
#elif defined(SECOND_WITHOUT_FENCE)
#define may_grant(c) (k_phase[c] == FENCED || k_phase[c] == PROMOTING)
#else
#define may_grant(c) (k_phase[c] == FENCED)
#endif

#ifdef EVIDENCE_BEFORE_REVOCATION
#define may_fence(c) (k_phase[c] == FENCING || k_phase[c] == NORMAL)
#else
#define may_fence(c) (k_phase[c] == FENCING)
#endif

inline ask_off(c, how)
{
    f_epoch[c] = k_epoch[c];
    f_target[c] = k_holder[c];
    f_after[c] = (phase == FENCING && epoch == k_epoch[c]) || epoch > k_epoch[c] || phase == FENCED;
    off_under_way[k_holder[c]] = 1;
    fence[c] = how
}

inline send_promote(i, l, e) { statement[(i) * LIVES + (l)] = e }

proctype controller(byte c)
{
    byte i;
end:
    do
    /* Leadership. */
    :: d_step { my_term[c] == 0 && leader == 0 && term < TERMS ->
            term++; leader = c + 1; my_term[c] = term; unknow(c) }
    :: d_step { my_term[c] != 0 && (leader != c + 1 || term != my_term[c]) ->
            my_term[c] = 0; unknow(c) } /* noticed; what it proved stays in its memory */
    :: d_step { my_term[c] != 0 || proven[c] != 0 || fence[c] != IDLE ->
            my_term[c] = 0; unknow(c); end_fence(c); proven[c] = 0; p_after[c] = 0 } /* crash */
    :: d_step { my_term[c] != 0 && (!known[c] || k_rev[c] != rev) -> read_back(c) }

    /* Revoke, for a primary or a candidate that is believed dead. */
    :: atomic { known[c] && (k_phase[c] == NORMAL || k_phase[c] == PROMOTING) && k_epoch[c] < EPOCHS ->
            put(c, FENCING, k_epoch[c], k_holder[c], 0) }

    /* Fence. Each answer may be lost, and each operation given up. */
    :: d_step { known[c] && may_fence(c) && fence[c] == IDLE -> ask_off(c, OFF_ASKED) }
    :: d_step { known[c] && may_fence(c) && fence[c] == IDLE -> ask_off(c, CMD_ASKED) }
    :: d_step { fence[c] == OFF_ASKED -> off_accepted[f_target[c]] = 1; fence[c] = OFF_KNOWN }
    :: d_step { fence[c] == OFF_KNOWN && !up[f_target[c]] -> fence[c] = SEEN_OFF }
#ifdef STATUS_ALONE
    :: d_step { fence[c] == OFF_ASKED && !up[f_target[c]] -> fence[c] = SEEN_OFF }
#endif
    :: d_step { fence[c] == CMD_ASKED ->
            off_accepted[f_target[c]] = 1; up[f_target[c]] = 0; fence[c] = CMD_DONE }
    :: d_step { fence[c] == SEEN_OFF || fence[c] == CMD_DONE ->
            proven[c] = f_epoch[c]; p_after[c] = f_after[c]; end_fence(c) }
    :: d_step { fence[c] != IDLE -> end_fence(c) }
    :: d_step { known[c] && k_phase[c] == FENCING && proven[c] != k_epoch[c] &&
#ifdef EVIDENCE_BEFORE_REVOCATION
                confirmed_by_person != 0 ->
#else
                confirmed_by_person == k_epoch[c] ->
#endif
            proven[c] = k_epoch[c]; p_after[c] = 1 }
    :: atomic { known[c] && k_phase[c] == FENCING && proven[c] == k_epoch[c] ->
            S2(p_after[c]); put(c, FENCED, k_epoch[c], k_holder[c], 0) }

    /* Grant, then promote, then confirm. */
#ifdef PROMOTE_BEFORE_RECORD
    :: d_step { known[c] && k_phase[c] == FENCED && k_epoch[c] < EPOCHS ->
            if
            :: fit(0) -> i = 0
            :: fit(1) -> i = 1
            :: fit(2) -> i = 2
            :: else -> i = 3
            fi;
            if
            :: i < 3 ->
                follow(i);
                parent[k_epoch[c] + 1] = history;
                send_promote(i, life[i], k_epoch[c] + 1)
            :: else
            fi;
            i = 0 }
#endif
    :: atomic { known[c] && may_grant(c) && k_epoch[c] < EPOCHS && (fit(0) || fit(1) || fit(2)) ->
            if
            :: fit(0) -> i = 0
            :: fit(1) -> i = 1
            :: fit(2) -> i = 2
            fi;
            follow(i);
            put(c, PROMOTING, next_epoch(c), i, life[i]);
            i = 0 }
    :: d_step { known[c] && k_phase[c] == PROMOTING &&
#ifdef REDUCED
                k_life[c] == life[k_holder[c]] && (up[k_holder[c]] || may_return) &&
#endif
                statement[k_holder[c] * LIVES + k_life[c]] != k_epoch[c] ->
            send_promote(k_holder[c], k_life[c], k_epoch[c]) }
    :: atomic { known[c] && k_phase[c] == PROMOTING && up[k_holder[c]] &&
                role[k_holder[c]] == PRIMARY ->
            put(c, NORMAL, k_epoch[c], k_holder[c], 0) }
    od
}

/* Both leases and writes under way: what the network and the store do by themselves. */
proctype store()
{
    byte c;
end:
    do
    :: d_step { leader != 0 && term < TERMS -> leader = 0; forget(0); forget(1) } /* the lease ends, early or late */
    :: d_step { w_on[0] ->
            commit(w_term[0], w_rev[0], w_phase[0], w_epoch[0], w_holder[0], w_life[0]);
            land(0) }
    :: d_step { w_on[1] ->
            commit(w_term[1], w_rev[1], w_phase[1], w_epoch[1], w_holder[1], w_life[1]);
            land(1) }
    :: d_step { w_on[0] -> land(0) }
    :: d_step { w_on[1] -> land(1) }
    od
}

#ifdef PROMOTE_ANY_LIFE
#define statement_for(i) (statement[(i) * LIVES + life[i]] | (life[i] > 0 -> statement[(i) * LIVES] : 0))
#else
#define statement_for(i) (statement[(i) * LIVES + life[i]])
#endif
#define lands(i)                                                                                   \
    (up[i] && role[i] == STANDBY && statement_for(i) != 0 &&                                       \
     number[line[i]] == number[parent[statement_for(i)]])

inline forget_statement(i)
{
#ifdef REDUCED
    statement[i * LIVES + life[i] - 1] = 0;
#endif
    skip
}

proctype instance(byte i)
{
    byte e;
end:
    do
    /* The promote statement lands, and the promotion ends some time later. */
    :: d_step { lands(i) ->
            e = statement_for(i);
            role[i] = PROMOTED;
            S1(one_primary);
            S6(!began[e]);
            S6(epoch != e || holder == i);
            S6(epoch >= e);
            S7(line[i] == parent[e]);
            began[e] = 1;
            number[e] = number[line[i]] + 1;
            line[i] = e;
            e = 0 }
    :: d_step { up[i] && role[i] == PROMOTED -> role[i] = PRIMARY }

    /*
     * It dies; in the middle of a promotion it may wake as either. A standby that nobody has named
     * need not die here: leaders choose at will among those that are up.
     */
    :: atomic { up[i] && (role[i] != STANDBY || holder == i || statement_for(i) != 0) ->
            up[i] = 0;
            if
            :: role[i] == PROMOTED -> role[i] = STANDBY
            :: role[i] == PROMOTED -> role[i] = PRIMARY
            :: role[i] != PROMOTED
            fi }
    :: d_step { off_accepted[i] && up[i] -> up[i] = 0;
            if
            :: role[i] == PROMOTED -> role[i] = PRIMARY
            :: else
            fi }
    :: d_step { off_under_way[i] && !off_accepted[i] ->
            off_accepted[i] = 1 } /* a late one */

    /* It comes back: by itself as what it was, by a person after an `off`. */
    :: d_step { !up[i] && !off_accepted[i] && may_return ->
            life[i]++; up[i] = 1; forget_statement(i); S1(one_primary) }
    :: d_step { !up[i] && off_accepted[i] && may_return ->
            off_accepted[i] = 0;
            life[i]++;
            up[i] = 1;
            forget_statement(i);
#ifndef FENCED_BOOTS_AS_PRIMARY
            if
            :: holder == i && (phase == NORMAL || phase == PROMOTING)
            :: else -> role[i] = STANDBY
            fi;
#endif
            S1(one_primary) }
    od
}

/* Whoever is called cuts the power of the machine that the open revocation names, and says so. */
proctype person()
{
end:
    do
    :: d_step { phase == FENCING && confirmed_by_person != epoch ->
            off_accepted[holder] = 1;
            up[holder] = 0;
            if
            :: role[holder] == PROMOTED -> role[holder] = PRIMARY
            :: else
            fi;
            confirmed_by_person = epoch }
    od
}

#ifdef REACH
proctype goals()
{
end:
#if defined(REACH_FAILOVER)
    d_step { phase == NORMAL && epoch == 2 && live(holder) -> assert(false) }
#elif defined(REACH_TWO_FAILOVERS)
    d_step { phase == NORMAL && epoch == 3 && burnt == 0 && live(holder) -> assert(false) }
#elif defined(REACH_SECOND_CANDIDATE)
    d_step { phase == NORMAL && epoch == 3 && burnt != 0 && live(holder) -> assert(false) }
#elif defined(REACH_OLD_PRIMARY_AGAIN)
    d_step { phase == NORMAL && epoch > 1 && holder == 0 && live(0) -> assert(false) }
#elif defined(REACH_LATE_OFF_ON_PRIMARY)
    d_step { phase == NORMAL && epoch > 1 && live(holder) && off_accepted[holder] -> assert(false) }
#else
    d_step { false -> skip } /* REACH_TAKEOVER is met inside a write */
#endif
}
#endif

init
{
    atomic {
        number[1] = 1;
        run controller(0);
        run controller(1);
        run store();
        run instance(0);
        run instance(1);
        run instance(2);
        run person();
#ifdef REACH
        run goals()
#endif
    }
}
