/*
 * files.h - what a guard keeps on disk, and the files it puts into a data directory.
 *
 * Writing is a new file, fsync, rename, fsync of the directory: what was there is whole before and
 * after. These functions wait for the disk: all but those of the boot state (on a file system in
 * memory) are called from a worker thread or a child, never from the loop.
 *
 * Reading refuses what it does not understand, and never takes it for an empty state: a damaged
 * state file stops the guard from starting, and a person must decide (failures.md D20). The boot
 * state is the exception: without it nothing starts and nothing goes on for longer than a moment,
 * so one that is damaged counts as one that is not there.
 */
#ifndef FAILOVER_GUARD_FILES_H
#define FAILOVER_GUARD_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "controller/base/err.h"
#include "fence/guard/guard_core.h"

#define FILES_TEXT_MAX 65536

int files_write(const char *path, const char *text, mode_t mode, bool sync, struct err *ret_err);
/* Its length, or -1. ret_text holds size bytes, the last a NUL. A missing file: ret_missing. */
ssize_t files_read(const char *path, char *ret_text, size_t size, bool *ret_missing,
                   struct err *ret_err);

/* STATE_DIR/DATABASE.json. A missing file is an empty state. */
int files_write_durable(const char *path, const struct guard_durable *durable, struct err *ret_err);
int files_read_durable(const char *path, struct guard_durable *ret_durable, struct err *ret_err);

/* RUN_DIR/DATABASE.json. Of another boot, or none, or damaged: known is false. */
int files_write_kept(const char *path, const char *database, const char *boot,
                     const struct guard_boot_state *kept, struct err *ret_err);
void files_read_kept(const char *path, const char *boot, struct guard_boot_state *ret_kept);

/* standby.signal in the data directory, with fsync of file and directory. */
int files_rest(const char *data_dir, uid_t uid, gid_t gid, struct err *ret_err);
/* Takes it away, with fsync of the directory; async-signal-safe: a child calls it. */
int files_unrest(const char *data_dir);

void files_permit_to_record(const char *database, const struct guard_permit *permit,
                            struct permit_record *ret_record);
void files_permit_of_record(const struct permit_record *record, int64_t revision,
                            struct guard_permit *ret_permit);

#endif
