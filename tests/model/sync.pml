/*
 * sync.pml - sync entries, and standbys as evidence: no acknowledged commit is lost.
 *
 * One primary that may live on unseen after its permit is revoked, three standbys, and a change
 * from one sync entry (k of these members) to another that the failover may hit at any point. It
 * answers: which standbys must be heard, and what must be recorded when, so that the line promoted
 * holds every commit that was ever acknowledged (S3), and the old line acknowledges nothing beyond
 * the fork (S1)?
 *
 * What is modelled
 *   primary      commits; sends; acknowledges a commit when *some* entry that a backend or
 *                walsender may go by is satisfied by what standbys said, however old. While it
 *                changes, backends go by the old entry or the new one. It may end at any time;
 *                nothing here forces it to.
 *   its guard    takes the permit's entries over with an accepted renewal, changes PostgreSQL, and
 *                proves it.
 *   standbys     receive and flush, or not, in any order; told of the revocation they stop, store
 *                that, measure, and report. Those that are lost or cut off take no more steps.
 *   leader       records entries, revokes, chooses among those heard, promotes. Who leads is not
 *                modelled: all it goes by is in the store, and each of its writes is compared
 *                (failover.pml).
 * Time plays no part. Bounds: COMMITS commits, three standbys, one change, one failover.
 *
 * Not modelled: sessions below synchronous_commit = on, readers, cancelled waits (unknown, never an
 * acknowledgement), the new primary's own entries, entries with k = 0.
 *
 * What it taught, for whoever writes guards
 *   1. n - k + 1 of *each* entry recorded in the revoked permit, read after the revocation
 *      (ONE_ENTRY_ONLY, ONE_FEWER, ENTRIES_READ_BEFORE). As a fence it is for the replication
 *      evidence alone; as a condition of choosing it stands after every other evidence too: a
 *      primary that is proven gone says nothing of who has its commits (UNHEARD_MEMBERS breaks S3,
 *      not S1).
 *   2. A standby: stop receiving; store "I follow this epoch no more"; then measure; then report.
 *      Measured before the stop, commits that it confirmed afterwards are lost (LSN_BEFORE_STOP).
 *      Not stored, a restart follows again (STOP_NOT_STORED); a lower revision obeyed later does
 *      the same (LOWER_REVISION_OBEYED). A link that is down stopped nothing (BROKEN_LINK_COUNTS).
 *      What it said before it stopped may reach the primary long after: that is sound, since the
 *      measured end covers it.
 *   3. The order of a change: record {old, new}; accepted renewal under that revision; PostgreSQL;
 *      proof; record {new} (APPLIED_BEFORE_RECORDED, RECORDED_BEFORE_PROVEN).
 *   4. The proof has two halves. Every backend and walsender goes by the new entry: a setting that
 *      is shown is not that (PROVEN_BY_SETTING). And the members of the new entry have flushed all
 *      that the old one ever acknowledged: a commit made after the first half, acknowledged by the
 *      new entry (PROVEN_WITHOUT_COMMIT). The first half alone keeps S1 and loses commits.
 *   5. Taking a change back is a change: {old, new} may shrink to {old} only with a proof of its
 *      own, since the guard may act on the recorded pair later (WITHDRAWN_UNPROVEN).
 *   6. Of those heard the one with the most WAL (ANY_OF_THE_HEARD).
 */

#ifndef COMMITS
#define COMMITS 2
#endif

#define STANDBYS 3 /* bit s - 1 of a mask: standby s */

#define OLD 1 /* the entry in force at the beginning */
#define NEW 2
#ifndef OLD_MEMBERS
#define OLD_MEMBERS 3
#define OLD_K 1
#define NEW_MEMBERS 6
#define NEW_K 1
#endif

#if defined(ONLY_S1) || defined(ONLY_S3) || defined(REACH)
#define ONLY 1
#else
#define ONLY 0
#endif
#if !ONLY || defined(ONLY_S1)
#define S1(x) assert(x)
#else
#define S1(x) skip
#endif
#if !ONLY || defined(ONLY_S3)
#define S3(x) assert(x)
#else
#define S3(x) skip
#endif

/* The store. */
bit revoked;
byte rec = OLD;      /* the permit's entries: a set */
bit proven;          /* the guard's report: PostgreSQL enforces the new entry alone */
byte reported;       /* standbys that report: stopped receiving, under this revocation */
byte heard[4];       /* and where their WAL ends; [0] is not used */
byte chosen;         /* the candidate granted; 0: none */
byte known_rec = OLD; /* what some controller read before the revocation */

/* The old primary. */
bit runs = 1;
byte accepted = OLD; /* the entries in the permit of the last accepted renewal */
byte enforced = OLD; /* some backend or walsender goes by it: a set */
byte lsn;
byte acked;          /* the highest commit acknowledged to a client */
byte flushed[4];     /* what it was told that a standby flushed */

/* The standbys. */
bit stays_away[4];   /* stored: it follows this primary no more */
byte received[4];    /* flushed on its own disk */

bit forked;
byte fork_at;           /* where the new line begins */

#define members(e) ((e) == OLD -> OLD_MEMBERS : NEW_MEMBERS)
#define k_of(e) ((e) == OLD -> OLD_K : NEW_K)
#define ones(m) (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#define has(x) ((flushed[1] >= (x)) | (flushed[2] >= (x)) << 1 | (flushed[3] >= (x)) << 2)
#define satisfied(e, x) (ones(has(x) & members(e)) >= k_of(e))

/* n - k + 1 of the members: every set of k members shares one with them. */
#ifdef ONE_FEWER
#define enough(e) (ones(reported & members(e)) >= ones(members(e)) - k_of(e))
#else
#define enough(e) (ones(reported & members(e)) >= ones(members(e)) - k_of(e) + 1)
#endif
#ifdef ENTRIES_READ_BEFORE
#define entries known_rec
#else
#define entries rec
#endif
#ifdef ONE_ENTRY_ONLY
#define quorum ((entries & OLD) && enough(OLD) || (entries & NEW) && enough(NEW))
#else
#define quorum ((!(entries & OLD) || enough(OLD)) && (!(entries & NEW) || enough(NEW)))
#endif

#ifdef UNHEARD_MEMBERS
#define ready (!runs)
#else
#define ready (quorum) /* it fences by itself, and it is asked for after any other evidence too */
#endif

#define eligible(s) ((reported >> ((s) - 1)) & 1)
#ifdef ANY_OF_THE_HEARD
#define most(s) true
#else
#define most(s)                                                                                    \
    ((!eligible(1) || heard[1] <= heard[s]) && (!eligible(2) || heard[2] <= heard[s]) &&           \
     (!eligible(3) || heard[3] <= heard[s]))
#endif

proctype primary()
{
end:
    do
    :: d_step { runs && lsn < COMMITS -> lsn++ }
    :: d_step { runs && lsn > acked &&
                ((enforced & OLD) && satisfied(OLD, lsn) || (enforced & NEW) && satisfied(NEW, lsn)) ->
            acked = lsn;
            S1(!forked || acked <= fork_at) }
    /* A commit before the last is acknowledged while the last still waits. */
    :: d_step { runs && lsn > acked + 1 &&
                ((enforced & OLD) && satisfied(OLD, acked + 1) ||
                 (enforced & NEW) && satisfied(NEW, acked + 1)) ->
            acked++;
            S1(!forked || acked <= fork_at) }
    :: d_step { runs -> runs = 0 } /* it dies, or is fenced by other means */

    /* Its guard: an accepted renewal, then PostgreSQL, backend by backend, then the proof. */
    :: d_step { !revoked && runs && accepted != rec -> accepted = rec }
#ifdef APPLIED_BEFORE_RECORDED
    :: d_step { runs && enforced == OLD -> enforced = OLD | NEW }
#else
    :: d_step { runs && (accepted & NEW) && enforced == OLD -> enforced = OLD | NEW }
#endif
    :: d_step { runs && enforced == (OLD | NEW) -> enforced = NEW }
#ifdef PROVEN_BY_SETTING
    :: d_step { runs && !proven && (enforced & NEW) -> proven = 1 }
#elif defined(PROVEN_WITHOUT_COMMIT)
    :: d_step { runs && !proven && enforced == NEW -> proven = 1 }
#else
    :: d_step { runs && !proven && enforced == NEW && satisfied(NEW, acked) -> proven = 1 }
#endif
    od
}

proctype standby(byte s)
{
end:
    do
    /* It receives, and flushes; what it says of that may be in flight for long. */
    :: d_step { !stays_away[s] && runs && received[s] < lsn -> received[s]++ }
    :: d_step { flushed[s] < received[s] && runs -> flushed[s] = received[s] }

    /* Its guard reads the revocation: stop receiving, store that, then measure, then report. */
#ifdef LSN_BEFORE_STOP
    :: d_step { revoked && !stays_away[s] -> heard[s] = received[s] }
    :: d_step { revoked && !eligible(s) -> stays_away[s] = 1; reported = reported | 1 << (s - 1) }
#elif defined(STOP_NOT_STORED)
    :: d_step { revoked && !eligible(s) ->
            heard[s] = received[s]; reported = reported | 1 << (s - 1) }
#elif defined(BROKEN_LINK_COUNTS)
    :: d_step { !revoked && !eligible(s) ->
            heard[s] = received[s]; reported = reported | 1 << (s - 1) }
#else
    :: d_step { revoked && !stays_away[s] -> stays_away[s] = 1 }
    :: d_step { stays_away[s] && !eligible(s) ->
            heard[s] = received[s]; reported = reported | 1 << (s - 1) }
#endif
#ifdef LOWER_REVISION_OBEYED
    :: d_step { stays_away[s] -> stays_away[s] = 0 }
#endif
    od
}

proctype leader()
{
end:
    do
    :: d_step { !revoked && rec == OLD -> rec = OLD | NEW }
#ifdef RECORDED_BEFORE_PROVEN
    :: d_step { !revoked && rec == (OLD | NEW) -> rec = NEW }
#else
    :: d_step { !revoked && rec == (OLD | NEW) && proven -> rec = NEW }
#endif
#ifdef WITHDRAWN_UNPROVEN
    :: d_step { !revoked && rec == (OLD | NEW) && !proven -> rec = OLD }
#endif
#ifdef ENTRIES_READ_BEFORE
    :: d_step { !revoked && known_rec != rec -> known_rec = rec }
#endif
    :: d_step { !revoked -> revoked = 1 }
    :: d_step { revoked && chosen == 0 && eligible(1) && most(1) && ready -> chosen = 1 }
    :: d_step { revoked && chosen == 0 && eligible(2) && most(2) && ready -> chosen = 2 }
    :: d_step { revoked && chosen == 0 && eligible(3) && most(3) && ready -> chosen = 3 }
    :: d_step { chosen != 0 && !forked ->
            forked = 1;
            fork_at = received[chosen];
#if defined(REACH_BY_REPLICATION)
            assert(!(runs && acked > 0));
#elif defined(REACH_BETWEEN_TWO)
            assert(!(rec == (OLD | NEW) && runs && acked > 0));
#elif defined(REACH_CHANGED)
            assert(!(rec == NEW && acked == COMMITS));
#elif defined(REACH_UNACKNOWLEDGED)
            assert(!(runs && lsn > fork_at && acked == fork_at && acked > 0));
#endif
            S3(acked <= fork_at) }
    od
}

init
{
    atomic {
        run primary();
        run standby(1);
        run standby(2);
        run standby(3);
        run leader()
    }
}
