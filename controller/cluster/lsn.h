/*
 * lsn.h - PostgreSQL's "16/B374D848" as a byte position. Pure.
 */
#ifndef FAILOVER_CLUSTER_LSN_H
#define FAILOVER_CLUSTER_LSN_H

#include <stdbool.h>
#include <stdint.h>

#define LSN_TEXT_SIZE 20

bool lsn_parse(const char *text, uint64_t *ret_lsn); /* false: not of that form */
void lsn_text(uint64_t lsn, char ret_text[LSN_TEXT_SIZE]);

#endif
