/*
 * store_keys.h - the keys in etcd, below /failover/CLUSTER/: one list, from which the store's code
 * and the reference page come. A kind that ends in a slash has one key for each of what it names.
 */
#ifndef FAILOVER_CLUSTER_STORE_KEYS_H
#define FAILOVER_CLUSTER_STORE_KEYS_H

#include <stdio.h>

#define STORE_CONFIG       "config"
#define STORE_INSTALLATION "installation"
#define STORE_LEADER       "leader" /* controller/etcd/election.c */
#define STORE_CONTROLLERS  "controllers/"
#define STORE_PERMITS      "permits/"
#define STORE_RENEWALS     "renewals/"
#define STORE_GUARDS       "guards/"
#define STORE_GROUPS       "groups/"
#define STORE_REQUESTS     "requests/"
#define STORE_INCIDENTS    "incidents/"

/* Kind, what stands behind the slash, who writes it, what it holds. */
#define STORE_KEY_LIST(X)                                                                              \
    X(STORE_CONFIG, "", "a controller, for `failoverctl apply`",                                       \
      "The definition, its history, who stored it and why. Written if nobody else has changed it "     \
      "meanwhile.")                                                                                    \
    X(STORE_INSTALLATION, "", "a controller, with the first definition",                               \
      "The installation's id and the etcd cluster that it belongs to. In another etcd no "             \
      "controller leads.")                                                                             \
    X(STORE_LEADER, "", "a controller, on its lease",                                                  \
      "Who leads. Its create revision is the leader's term, which every write of a leader compares.")  \
    X(STORE_CONTROLLERS, "ID", "each controller, on its lease, once a second",                         \
      "Its version, and its view of every target with the age of each observation.")                   \
    X(STORE_PERMITS, "DATABASE", "the leader",                                                         \
      "Which instance may be the primary: granted or revoked, epoch, node, system id, timeline, "      \
      "synchronous standbys.")                                                                         \
    X(STORE_RENEWALS, "DATABASE", "the holder's guard, once in a renewal's interval",                  \
      "That the permit was renewed: its epoch and revision, and whether the watchdog is armed.")       \
    X(STORE_GUARDS, "NODE/DATABASE", "each guard, on change and every ten seconds",                    \
      "What PostgreSQL is and does there, what the guard obeys, and for which revocation it is gone.") \
    X(STORE_GROUPS, "GROUP", "the leader",                                                             \
      "The recorded primaries, the running workflow with its steps and their evidence, pause, "        \
      "budget, alarms.")                                                                               \
    X(STORE_REQUESTS, "ID", "a controller, for who asked; then the leader",                            \
      "What a person asked, who and why; then the outcome.")                                           \
    X(STORE_INCIDENTS, "ID", "the leader",                                                             \
      "A failure and its recovery: laps, evidence, losses, objectives, notes.")

/* The reference page's table, in Markdown. */
void store_reference_print(FILE *to);

#endif
