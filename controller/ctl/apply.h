/*
 * apply.h - storing a definition: for `apply`, and for going back to an old one by the same path.
 */
#ifndef FAILOVER_CTL_APPLY_H
#define FAILOVER_CTL_APPLY_H

#include "controller/ctl/command.h"

/* --yes, or somebody at the terminal; false: said. */
bool apply_may_ask(const struct ctl *ctl);
/* Checks, shows the difference, asks and stores. name: for messages. Takes text (heap) over. */
enum ctl_exit apply_text(struct ctl *ctl, const char *name, char *text, const char *reason);

#endif
