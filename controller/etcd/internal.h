/*
 * internal.h - what watch.c and election.c need of the client and nobody else does.
 */
#ifndef FAILOVER_ETCD_INTERNAL_H
#define FAILOVER_ETCD_INTERNAL_H

#include "controller/etcd/client.h"

struct loop *etcd_loop(const struct etcd *etcd);

/* A stream from the endpoint in use, with the token in use; *ret_endpoint is its number, for the
 * next three. */
struct http_op *etcd_stream_start(struct etcd *etcd, const char *path, const char *body,
                                  uint64_t idle_ms, http_data_fn on_data, http_done_fn done,
                                  void *arg, int *ret_endpoint);
/* It does not work: use another one, if it is still the one in use. */
void etcd_endpoint_failed(struct etcd *etcd, int number, const char *text);
/* False: not the pinned cluster. */
bool etcd_cluster_known(struct etcd *etcd, int number, uint64_t cluster_id);
const char *etcd_endpoint_name(const struct etcd *etcd, int number);

/* An even pick from 0 to below `below_ms`, so that many do not do the same at once. */
uint64_t etcd_jitter_ms(struct etcd *etcd, uint64_t below_ms);

#endif
