/*
 * definition_keys.h - the table of the definition's keys (keys.h says how it is read).
 */
#ifndef FAILOVER_CLUSTER_DEFINITION_KEYS_H
#define FAILOVER_CLUSTER_DEFINITION_KEYS_H

#include "controller/cluster/definition.h"
#include "controller/cluster/keys.h"

extern const struct keys definition_keys;

/*
 * What the table cannot say: joins what stands in two places (sync members, groups' members,
 * servers' names, defaults that depend on others) into def (a struct definition), and checks the
 * relations. The tree gives the places. def may be half filled, when the table complained; then its
 * references may be -1.
 */
void definition_relate(void *def, const struct tree_node *tree, struct complaints *complaints);

#endif
