/*
 * triples.c - which kind of fault has struck whom at which step of a workflow.
 *
 * A step is the phase that the group's record has in etcd, or "steady" while nothing moves. Whom:
 * a controller that leads or follows; a node, by what the record makes of it: the primary, a
 * standby, or while something moves the old primary, the candidate or a standby; etcd, a proxy, the
 * clients' side, the operator, or the network as a whole.
 *
 * Each fault is counted when it strikes, by the truth of that moment. The counts are of the process
 * and outlive worlds.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"

enum whom {
    WHOM_LEADER,
    WHOM_FOLLOWER,
    WHOM_PRIMARY,
    WHOM_OLD,
    WHOM_CANDIDATE,
    WHOM_STANDBY,
    WHOM_ETCD,
    WHOM_PROXY,
    WHOM_CLIENT,
    WHOM_OPERATOR,
    WHOM_NETWORK,
    WHOMS
};
static const char *const whom_names[] = {"leader",    "follower", "primary", "old",
                                         "candidate", "standby",  "etcd",    "proxy",
                                         "client",    "operator", "network"};

#define CONTROLLERS (1u << WHOM_LEADER | 1u << WHOM_FOLLOWER)
#define NODES_ALL   (1u << WHOM_PRIMARY | 1u << WHOM_OLD | 1u << WHOM_CANDIDATE | 1u << WHOM_STANDBY)
#define ENDS_ALL    (CONTROLLERS | NODES_ALL | 1u << WHOM_ETCD | 1u << WHOM_PROXY | 1u << WHOM_CLIENT)

static uint64_t counts[STEPS][FAULTS][WHOMS];

int triples_step(void)
{
    const struct move_record *move = store_move();
    return move == NULL ? 0 : 1 + (int)move->phase;
}

const char *triples_step_name(int step)
{
    return step == 0 ? "steady" : move_phase_names[step - 1];
}

/* Whom a kind can strike. */
static unsigned roles_of(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_CTL_CRASH:
    case FAULT_CTL_PAUSE: return CONTROLLERS;
    case FAULT_LEADER_CRASH:
    case FAULT_LEADER_PAUSE:
    case FAULT_LEASE_EARLY: return 1u << WHOM_LEADER;
    case FAULT_CUT:
    case FAULT_PART:
    case FAULT_SLOW: return ENDS_ALL;
    case FAULT_SPLIT: return 1u << WHOM_NETWORK;
    case FAULT_STORE_DOWN:
    case FAULT_STORE_RESTART: return 1u << WHOM_ETCD;
    case FAULT_STORE_LOSES:
    case FAULT_WALL:
    case FAULT_WATCH: return CONTROLLERS | NODES_ALL;
    case FAULT_PROXY_FORGETS:
    case FAULT_PROXY_SILENT: return 1u << WHOM_PROXY;
    case FAULT_REQUEST: return 1u << WHOM_OPERATOR;
    default: return NODES_ALL;
    }
}

/* How many things of the world a kind can be aimed at, by its first number. */
int triples_targets(enum fault_kind kind)
{
    unsigned roles = roles_of(kind);
    return roles == NODES_ALL                   ? NODES
           : roles == CONTROLLERS               ? CTLS
           : roles == ENDS_ALL                  ? ENDS
           : roles == (CONTROLLERS | NODES_ALL) ? PROCS
                                                : 1;
}

static enum whom whom_of_node(int n)
{
    const struct move_record *move = store_move();
    const char *name = node_name(n);
    if (move != NULL) {
        return strcmp(move->candidate, name) == 0 ? WHOM_CANDIDATE
               : strcmp(move->from, name) == 0    ? WHOM_OLD
                                                  : WHOM_STANDBY;
    }
    return st.permit_kv.create != 0 && strcmp(st.permit.node, name) == 0 ? WHOM_PRIMARY
                                                                         : WHOM_STANDBY;
}

static enum whom whom_of_end(int end)
{
    if (end < E_NODE) {
        return end == ctl_leading() ? WHOM_LEADER : WHOM_FOLLOWER;
    }
    return end < E_ETCD     ? whom_of_node(end - E_NODE)
           : end == E_ETCD  ? WHOM_ETCD
           : end < E_CLIENT ? WHOM_PROXY
                            : WHOM_CLIENT;
}

static void count(enum fault_kind kind, enum whom role)
{
    counts[triples_step()][kind][role]++;
}

void triples_count(enum fault_kind kind, int a, int b)
{
    unsigned roles = roles_of(kind);
    if (roles == NODES_ALL) {
        count(kind, whom_of_node(a));
    } else if (kind == FAULT_CUT) {
        count(kind, whom_of_end(a));
        count(kind, whom_of_end(b));
    } else if ((roles & CONTROLLERS) == CONTROLLERS) {
        count(kind, whom_of_end(a));
    } else if ((roles & CONTROLLERS) != 0 && ctl_leading() < 0) {
        return; /* nobody leads */
    } else {
        for (int role = 0; role < WHOMS; role++) {
            if (roles == 1u << role) {
                count(kind, (enum whom)role);
            }
        }
    }
}

void triples_print(void)
{
    for (int step = 0; step < STEPS; step++) {
        for (int kind = 0; kind < FAULTS_DRAWN; kind++) {
            for (int role = 0; role < WHOMS; role++) {
                if ((roles_of((enum fault_kind)kind) >> role & 1) != 0) {
                    printf("triple %s %s %s %llu\n", triples_step_name(step), fault_names[kind],
                           whom_names[role], (unsigned long long)counts[step][kind][role]);
                }
            }
        }
    }
}
