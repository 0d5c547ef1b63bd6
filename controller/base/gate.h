/*
 * gate.h - who may still come in: connections to a port that anybody can reach, counted and paced.
 *
 * A handshake costs the loop that decides about a millisecond of arithmetic, so their rate is
 * bounded: over all, and for each address (an IPv6 one by its /64), so that one caller who floods
 * leaves places and time to the others (failures.md J1, J6). Pure: no descriptor and no clock here.
 *
 * Asking takes from the allowance at once; gate_enter() counts the connection that came of it, and
 * gate_leave() its end.
 */
#ifndef FAILOVER_BASE_GATE_H
#define FAILOVER_BASE_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define GATE_ADDRESSES_MAX 128 /* that are remembered; more than connections may be open */

struct gate_limits {
    unsigned open_max;    /* connections, fewer than GATE_ADDRESSES_MAX */
    unsigned address_max; /* of those, from one address */
    unsigned per_second;  /* new ones; so many may come at once after a quiet second */
    unsigned address_per_second;
};

struct gate_allowance { /* in thousandths of a connection */
    uint64_t left;
    uint64_t filled_ms;
};

struct gate_address {
    bool used;
    unsigned char key[16];
    unsigned open;
    struct gate_allowance allowance;
};

struct gate {
    struct gate_limits limits;
    unsigned open;
    struct gate_allowance allowance;
    struct gate_address addresses[GATE_ADDRESSES_MAX];
};

void gate_init(struct gate *gate, const struct gate_limits *limits, uint64_t now_ms);
/* For how long nobody may come in; 0: one may. */
uint64_t gate_wait_ms(struct gate *gate, uint64_t now_ms);
/* May this one come in? */
bool gate_ask(struct gate *gate, const struct sockaddr *from, uint64_t now_ms);
/* It is in. Returns its place, for gate_leave(). */
int gate_enter(struct gate *gate, const struct sockaddr *from, uint64_t now_ms);
void gate_leave(struct gate *gate, int place);

#endif
