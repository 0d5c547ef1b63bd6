#include "controller/base/gate.h"

#include <assert.h>
#include <netinet/in.h>
#include <string.h>

enum { ONE = 1000 };

void gate_init(struct gate *gate, const struct gate_limits *limits, uint64_t now_ms)
{
    assert(limits->open_max > 0 && limits->open_max < GATE_ADDRESSES_MAX);
    assert(limits->per_second > 0 && limits->address_per_second > 0);
    *gate = (struct gate){.limits = *limits};
    gate->allowance.left = (uint64_t)limits->per_second * ONE;
    gate->allowance.filled_ms = now_ms;
}

/* A thousandth of a connection for each millisecond and connection a second: no rounding. */
static void fill(struct gate_allowance *allowance, unsigned per_second, uint64_t now_ms)
{
    uint64_t most = (uint64_t)per_second * ONE;
    uint64_t passed_ms = now_ms > allowance->filled_ms ? now_ms - allowance->filled_ms : 0;
    uint64_t more = passed_ms > 1000 ? most : passed_ms * per_second;
    allowance->left = allowance->left + more > most ? most : allowance->left + more;
    allowance->filled_ms = now_ms;
}

uint64_t gate_wait_ms(struct gate *gate, uint64_t now_ms)
{
    fill(&gate->allowance, gate->limits.per_second, now_ms);
    if (gate->allowance.left >= ONE) {
        return 0;
    }
    return (ONE - gate->allowance.left) / gate->limits.per_second + 1;
}

/* An IPv4 address as IPv6 maps it; of an IPv6 one the part that a caller does not choose. */
static void key_of(const struct sockaddr *from, unsigned char ret_key[16])
{
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    memset(ret_key, 0, 16);
    if (from->sa_family == AF_INET) {
        memcpy(ret_key, mapped, sizeof mapped);
        memcpy(ret_key + 12, &((const struct sockaddr_in *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct in6_addr *address = &((const struct sockaddr_in6 *)from)->sin6_addr;
        memcpy(ret_key, address, IN6_IS_ADDR_V4MAPPED(address) ? 16 : 8);
    }
}

/* The address's place; a new address takes that of the one that has been quiet for longest. */
static int find(struct gate *gate, const struct sockaddr *from, uint64_t now_ms)
{
    unsigned char key[16];
    int quiet = -1;
    key_of(from, key);
    for (int i = 0; i < GATE_ADDRESSES_MAX; i++) {
        const struct gate_address *address = &gate->addresses[i];
        if (address->used && memcmp(address->key, key, sizeof key) == 0) {
            return i;
        }
        bool quieter = quiet < 0 || !address->used ||
                       (gate->addresses[quiet].used &&
                        address->allowance.filled_ms < gate->addresses[quiet].allowance.filled_ms);
        if (address->open == 0 && quieter) {
            quiet = i;
        }
    }
    assert(quiet >= 0); /* fewer are open than there are places */
    struct gate_address *address = &gate->addresses[quiet];
    *address = (struct gate_address){.used = true};
    memcpy(address->key, key, sizeof key);
    address->allowance.left = (uint64_t)gate->limits.address_per_second * ONE;
    address->allowance.filled_ms = now_ms;
    return quiet;
}

bool gate_ask(struct gate *gate, const struct sockaddr *from, uint64_t now_ms)
{
    struct gate_address *address = &gate->addresses[find(gate, from, now_ms)];
    fill(&gate->allowance, gate->limits.per_second, now_ms);
    fill(&address->allowance, gate->limits.address_per_second, now_ms);
    if (gate->open >= gate->limits.open_max || address->open >= gate->limits.address_max ||
        gate->allowance.left < ONE || address->allowance.left < ONE) {
        return false;
    }
    gate->allowance.left -= ONE;
    address->allowance.left -= ONE;
    return true;
}

int gate_enter(struct gate *gate, const struct sockaddr *from, uint64_t now_ms)
{
    int place = find(gate, from, now_ms);
    gate->addresses[place].open++;
    gate->open++;
    return place;
}

void gate_leave(struct gate *gate, int place)
{
    assert(gate->open > 0 && gate->addresses[place].open > 0);
    gate->addresses[place].open--;
    gate->open--;
}
