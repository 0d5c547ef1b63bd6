#include "fence/guard/files.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/json.h"
#include "controller/base/keep.h"
#include "controller/cluster/records_json.h"

#define STATE_SCHEMA 1

/* ---- plain files ---- */

static int sync_directory_of(const char *path)
{
    char directory[512];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL || slash == directory) {
        return 0;
    }
    *slash = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd);
    close(fd);
    return result;
}

int files_write(const char *path, const char *text, mode_t mode, bool sync, struct err *ret_err)
{
    char draft[600];
    snprintf(draft, sizeof draft, "%s.new", path);
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", draft, strerror(errno));
    }
    int result = keep_write(fd, text, strlen(text));
    if (result == 0 && sync) {
        result = fsync(fd);
    }
    int why = errno;
    close(fd);
    if (result == 0 && (rename(draft, path) < 0 || (sync && sync_directory_of(path) < 0))) {
        why = errno;
        result = -1;
    }
    return result == 0 ? 0 : err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(why));
}

ssize_t files_read(const char *path, char *ret_text, size_t size, bool *ret_missing,
                   struct err *ret_err)
{
    *ret_missing = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        *ret_missing = errno == ENOENT;
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    }
    size_t len = 0;
    ssize_t got = 1;
    while (got > 0 && len < size) {
        got = read(fd, ret_text + len, size - len);
        len += got > 0 ? (size_t)got : 0;
    }
    int why = errno;
    close(fd);
    if (got < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(why));
    }
    if (len == size) {
        return err_set(ret_err, ERR_LIMIT, "%s: longer than %zu bytes", path, size - 1);
    }
    ret_text[len] = '\0';
    return (ssize_t)len;
}

/* ---- permits ---- */

static void add_promisers(struct guard_permit *permit, const char (*names)[NAME_SIZE], int len)
{
    for (int i = 0; i < len; i++) {
        bool known = false;
        for (int j = 0; j < permit->promisers_len; j++) {
            known = known || strcmp(permit->promisers[j], names[i]) == 0;
        }
        if (!known && permit->promisers_len < GUARD_PROMISERS_MAX) {
            memcpy(permit->promisers[permit->promisers_len++], names[i], NAME_SIZE);
        }
    }
}

void files_permit_of_record(const struct permit_record *record, int64_t revision,
                            struct guard_permit *ret_permit)
{
    *ret_permit = (struct guard_permit){
        .known = true,
        .revision = revision,
        .granted = record->state == PERMIT_GRANTED,
        .epoch = record->epoch,
        .life = record->life,
        .system_id = record->system_id,
        .timeline = record->timeline,
        .d_ms = record->d_ms,
        .w_ms = record->w_ms,
        .k_ms = record->k_ms,
    };
    memcpy(ret_permit->node, record->node, sizeof ret_permit->node);
    memcpy(ret_permit->boot, record->boot, sizeof ret_permit->boot);
    ret_permit->sync.revision = revision;
    ret_permit->sync.len = record->sync_len;
    memcpy(ret_permit->sync.entries, record->sync, sizeof ret_permit->sync.entries);
    add_promisers(ret_permit, record->promisers, record->promisers_len);
    add_promisers(ret_permit, record->before, record->before_len);
}

void files_permit_to_record(const char *database, const struct guard_permit *permit,
                            struct permit_record *ret_record)
{
    *ret_record = (struct permit_record){
        .state = permit->granted ? PERMIT_GRANTED : PERMIT_REVOKED,
        .epoch = permit->epoch,
        .life = permit->life,
        .system_id = permit->system_id,
        .timeline = permit->timeline,
        .d_ms = permit->d_ms,
        .w_ms = permit->w_ms,
        .k_ms = permit->k_ms,
    };
    snprintf(ret_record->database, sizeof ret_record->database, "%s", database);
    memcpy(ret_record->node, permit->node, sizeof ret_record->node);
    memcpy(ret_record->boot, permit->boot, sizeof ret_record->boot);
    ret_record->sync_len = permit->sync.len;
    memcpy(ret_record->sync, permit->sync.entries, sizeof ret_record->sync);
    for (int i = 0; i < permit->promisers_len; i++) {
        if (ret_record->promisers_len < PROMISERS_MAX) {
            memcpy(ret_record->promisers[ret_record->promisers_len++], permit->promisers[i],
                   NAME_SIZE);
        } else {
            memcpy(ret_record->before[ret_record->before_len++], permit->promisers[i], NAME_SIZE);
        }
    }
}

/* ---- what is stored ---- */

static json_t *epoch_out(struct epoch epoch)
{
    return json_pack("{s:o, s:o}", "incarnation", json_count(epoch.incarnation), "counter",
                     json_count(epoch.counter));
}

static int dump(const char *path, json_t *object, bool sync, struct err *ret_err)
{
    char *text = object != NULL ? json_dumps(object, JSON_INDENT(1)) : NULL;
    json_decref(object);
    if (text == NULL) {
        return err_set(ret_err, ERR_SYSTEM, "%s: no memory is left", path);
    }
    int result = files_write(path, text, 0600, sync, ret_err);
    free(text);
    return result;
}

int files_write_durable(const char *path, const struct guard_durable *durable, struct err *ret_err)
{
    return dump(path,
                json_pack("{s:i, s:b, s:o, s:o, s:I, s:s, s:b, s:b, s:o, s:s, s:I}", "schema",
                          STATE_SCHEMA, "guarding", durable->guarding, "epoch",
                          epoch_out(durable->epoch), "spent", epoch_out(durable->spent),
                          "obeyed_revision", (json_int_t)durable->obeyed_revision, "declared",
                          role_names[durable->declared], "declared_down", durable->declared_down,
                          "burnt", durable->burnt, "begun", epoch_out(durable->begun), "upstream",
                          durable->upstream, "cut_for", (json_int_t)durable->cut_for),
                true, ret_err);
}

static struct epoch epoch_in(struct json_in *in, const json_t *object, const char *key)
{
    struct epoch epoch = {0, 0};
    const json_t *inner = json_object_at(in, object, key);
    json_enter(in, key);
    epoch.incarnation = json_u64(in, inner, "incarnation");
    epoch.counter = json_u64(in, inner, "counter");
    json_leave(in);
    return epoch;
}

static int decode_durable(const json_t *root, const char *path, struct guard_durable *durable,
                          struct err *ret_err)
{
    struct json_in in;
    json_in_init(&in, path);
    json_i64(&in, root, "schema", STATE_SCHEMA, STATE_SCHEMA);
    durable->guarding = json_bool(&in, root, "guarding");
    durable->epoch = epoch_in(&in, root, "epoch");
    durable->spent = epoch_in(&in, root, "spent");
    durable->obeyed_revision = json_i64(&in, root, "obeyed_revision", 0, INT64_MAX);
    int role = json_enum(&in, root, "declared", role_names);
    durable->declared = role >= 0 ? (enum role)role : ROLE_UNKNOWN;
    durable->declared_down = json_bool(&in, root, "declared_down");
    durable->burnt = json_bool(&in, root, "burnt");
    if (json_object_get(root, "begun") != NULL) { /* not stored by those before it */
        durable->begun = epoch_in(&in, root, "begun");
    }
    json_text(&in, root, "upstream", durable->upstream, sizeof durable->upstream);
    durable->cut_for = json_i64(&in, root, "cut_for", 0, INT64_MAX);
    return json_in_done(&in, ret_err);
}

int files_read_durable(const char *path, struct guard_durable *ret_durable, struct err *ret_err)
{
    char *text = malloc(FILES_TEXT_MAX);
    if (text == NULL) {
        return err_set(ret_err, ERR_SYSTEM, "%s: no memory is left", path);
    }
    bool missing;
    int result = -1;
    ssize_t len = files_read(path, text, FILES_TEXT_MAX, &missing, ret_err);
    if (missing) {
        memset(ret_durable, 0, sizeof *ret_durable);
        result = 0;
    } else if (len >= 0) {
        struct guard_durable durable = {.guarding = false};
        json_t *root = json_parse(text, (size_t)len, FILES_TEXT_MAX, ret_err);
        if (root == NULL) {
            err_prefix(ret_err, "%s", path);
        } else if ((result = decode_durable(root, path, &durable, ret_err)) == 0) {
            *ret_durable = durable;
        }
        json_decref(root);
    }
    free(text);
    return result;
}

/* ---- the boot state ---- */

static json_t *permit_out(const char *database, const struct guard_permit *permit)
{
    struct permit_record record;
    size_t len = 0;
    files_permit_to_record(database, permit, &record);
    char *text = permit_record_encode(&record, &len);
    json_t *object = text != NULL ? json_loadb(text, len, 0, NULL) : NULL;
    free(text);
    return object;
}

static int permit_in(const json_t *object, int64_t revision, struct guard_permit *permit)
{
    struct permit_record record;
    char *text = json_dumps(object, JSON_COMPACT);
    int result = text != NULL ? permit_record_decode(text, strlen(text), &record, NULL) : -1;
    free(text);
    if (result == 0) {
        files_permit_of_record(&record, revision, permit);
    }
    return result;
}

int files_write_kept(const char *path, const char *database, const char *boot,
                     const struct guard_boot_state *kept, struct err *ret_err)
{
    if (!kept->known) {
        return unlink(path) == 0 || errno == ENOENT
                   ? 0
                   : err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    }
    struct guard_permit accepted = kept->permit; /* for its sync entries alone */
    accepted.sync = kept->sync;
    json_t *permit = permit_out(database, &kept->permit);
    json_t *sync = permit_out(database, &accepted);
    if (permit == NULL || sync == NULL) {
        json_decref(permit);
        json_decref(sync);
        return err_set(ret_err, ERR_SYSTEM, "%s: no memory is left", path);
    }
    return dump(path,
                json_pack("{s:i, s:s, s:o, s:b, s:I, s:o, s:I, s:o, s:I}", "schema", STATE_SCHEMA,
                          "boot", boot, "valid_until_ms", json_count(kept->valid_until_ms), "armed",
                          kept->armed, "revision", (json_int_t)kept->permit.revision, "permit",
                          permit, "sync_revision", (json_int_t)kept->sync.revision, "sync_permit",
                          sync, "waiting_life", (json_int_t)kept->waiting_life),
                false, ret_err);
}

static int decode_kept(const json_t *root, const char *boot, struct guard_boot_state *kept)
{
    struct json_in in;
    char of_boot[BOOT_ID_SIZE];
    json_in_init(&in, "boot state");
    json_i64(&in, root, "schema", STATE_SCHEMA, STATE_SCHEMA);
    json_text(&in, root, "boot", of_boot, sizeof of_boot);
    kept->valid_until_ms = json_u64(&in, root, "valid_until_ms");
    kept->armed = json_bool(&in, root, "armed");
    int64_t revision = json_i64(&in, root, "revision", 1, INT64_MAX);
    const json_t *permit = json_object_at(&in, root, "permit");
    /* A guard before this one wrote none: then nothing is known to have been accepted. */
    const json_t *sync = json_object_get(root, "sync_permit");
    int64_t sync_revision = sync != NULL ? json_i64(&in, root, "sync_revision", 0, INT64_MAX) : 0;
    struct guard_permit accepted = {.known = false};
    if (json_in_done(&in, NULL) < 0 || strcmp(of_boot, boot) != 0 ||
        permit_in(permit, revision, &kept->permit) < 0 ||
        (sync != NULL && permit_in(sync, sync_revision, &accepted) < 0)) {
        return -1;
    }
    kept->sync = accepted.sync;
    kept->waiting_life = json_integer_value(json_object_get(root, "waiting_life"));
    kept->known = true;
    return 0;
}

void files_read_kept(const char *path, const char *boot, struct guard_boot_state *ret_kept)
{
    memset(ret_kept, 0, sizeof *ret_kept);
    char *text = malloc(FILES_TEXT_MAX);
    bool missing;
    ssize_t len = text != NULL ? files_read(path, text, FILES_TEXT_MAX, &missing, NULL) : -1;
    json_t *root = len > 0 ? json_parse(text, (size_t)len, FILES_TEXT_MAX, NULL) : NULL;
    struct guard_boot_state kept = {.known = false};
    if (root != NULL && decode_kept(root, boot, &kept) == 0) {
        *ret_kept = kept;
    }
    json_decref(root);
    free(text);
}

/* ---- standby.signal ---- */

int files_rest(const char *data_dir, uid_t uid, gid_t gid, struct err *ret_err)
{
    char path[512];
    snprintf(path, sizeof path, "%s/standby.signal", data_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    }
    int result = fchown(fd, uid, gid) < 0 || fsync(fd) < 0 ? -1 : 0;
    int why = errno;
    close(fd);
    if (result == 0 && sync_directory_of(path) < 0) {
        why = errno;
        result = -1;
    }
    return result == 0 ? 0 : err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(why));
}

int files_unrest(const char *data_dir)
{
    int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = unlinkat(fd, "standby.signal", 0) < 0 && errno != ENOENT ? -1 : 0;
    result = result == 0 ? fsync(fd) : result;
    close(fd);
    return result;
}
