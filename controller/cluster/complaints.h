/*
 * complaints.h - collecting what is wrong with a text, for those who read one.
 */
#ifndef FAILOVER_CLUSTER_COMPLAINTS_H
#define FAILOVER_CLUSTER_COMPLAINTS_H

#include "controller/cluster/definition_read.h"

/* Adds one, fit to be shown (utf8.h); beyond COMPLAINTS_MAX an error is only counted, and a warning
 * is dropped. */
void complain(struct complaints *complaints, enum complaint_level level, int line, int column,
              const char *path, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* In the text's order: by line, then column; equals stay as they came. */
void complaints_sort(struct complaints *complaints);

#endif
