#include "controller/cluster/store_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/base/keep.h"
#include "controller/cluster/records_json.h"
#include "controller/cluster/store_keys.h"

#define PATH_SIZE 512

static bool begins(const char *name, const char *kind)
{
    return strncmp(name, kind, strlen(kind)) == 0;
}

bool store_copy_wants(const char *name)
{
    return strcmp(name, STORE_CONFIG) == 0 || begins(name, STORE_PERMITS) ||
           begins(name, STORE_GROUPS) || begins(name, STORE_INCIDENTS);
}

void store_copy_add(struct store_copy *copy, const char *name, const char *value, size_t len)
{
    if (copy->keys_len == copy->keys_size) {
        copy->keys_size = copy->keys_size > 0 ? 2 * copy->keys_size : 32;
        copy->keys = realloc(copy->keys, (size_t)copy->keys_size * sizeof *copy->keys);
        if (copy->keys == NULL) {
            abort();
        }
    }
    copy->keys[copy->keys_len++] = (struct store_copy_key){.name = keep_text(name, strlen(name)),
                                                           .value = keep_text(value, len)};
}

const char *store_copy_find(const struct store_copy *copy, const char *name)
{
    for (int i = 0; i < copy->keys_len; i++) {
        if (strcmp(copy->keys[i].name, name) == 0) {
            return copy->keys[i].value;
        }
    }
    return NULL;
}

void store_copy_done(struct store_copy *copy)
{
    for (int i = 0; i < copy->keys_len; i++) {
        free(copy->keys[i].name);
        free(copy->keys[i].value);
    }
    free(copy->keys);
    memset(copy, 0, sizeof *copy);
}

/* ---- the text ---- */

static void drop(struct store_copy *copy, int i)
{
    free(copy->keys[i].name);
    free(copy->keys[i].value);
    copy->keys_len--;
    memmove(&copy->keys[i], &copy->keys[i + 1], (size_t)(copy->keys_len - i) * sizeof *copy->keys);
    copy->left_out++;
}

/* Ids of incidents begin with their time. */
static int oldest_incident(const struct store_copy *copy)
{
    int oldest = -1;
    for (int i = 0; i < copy->keys_len; i++) {
        if (begins(copy->keys[i].name, STORE_INCIDENTS) &&
            (oldest < 0 || strcmp(copy->keys[i].name, copy->keys[oldest].name) < 0)) {
            oldest = i;
        }
    }
    return oldest;
}

static char *encode_once(struct store_copy *copy)
{
    json_t *keys = json_object();
    for (int i = 0; i < copy->keys_len; i++) {
        json_t *value = json_string(copy->keys[i].value);
        if (value == NULL || json_object_set_new(keys, copy->keys[i].name, value) < 0) {
            drop(copy, i--); /* no UTF-8: nobody could have read it either */
        }
    }
    json_t *root =
        json_pack("{s:i, s:s, s:o, s:I, s:s, s:I, s:i, s:o}", "schema", RECORD_SCHEMA, "cluster",
                  copy->cluster, "installation", installation_json(&copy->installation), "revision",
                  (json_int_t)copy->revision, "made_by", copy->made_by, "made_wall_ms",
                  (json_int_t)copy->made_wall_ms, "left_out", copy->left_out, "keys", keys);
    char *text = root != NULL ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    return text;
}

char *store_copy_encode(struct store_copy *copy, size_t *ret_len)
{
    for (;;) {
        char *text = encode_once(copy);
        size_t len = text != NULL ? strlen(text) : 0;
        if (text == NULL || len <= STORE_COPY_MAX) {
            *ret_len = len;
            return text;
        }
        free(text);
        int gone = 0;
        for (int i = oldest_incident(copy); i >= 0 && gone < 64; i = oldest_incident(copy)) {
            drop(copy, i);
            gone++;
        }
        if (gone == 0) {
            return NULL;
        }
    }
}

static void read_keys(struct json_in *in, const json_t *root, struct store_copy *copy)
{
    const json_t *keys = json_object_at(in, root, "keys");
    const char *name;
    json_t *value;
    if (keys != NULL && json_object_size(keys) > STORE_COPY_KEYS_MAX) {
        json_in_fail(in, "keys", "there are more than %d of them", STORE_COPY_KEYS_MAX);
        return;
    }
    json_object_foreach((json_t *)keys, name, value)
    {
        if (!json_is_string(value) || strlen(name) >= STORE_COPY_KEY_SIZE ||
            !store_copy_wants(name)) {
            json_in_fail(in, "keys", "\"%.60s\" is none that a copy can have", name);
            return;
        }
        store_copy_add(copy, name, json_string_value(value), json_string_length(value));
    }
}

static int decode(const char *text, size_t len, struct store_copy *copy, struct err *ret_err)
{
    struct json_in in;
    json_t *root = json_parse(text, len, STORE_COPY_MAX, ret_err);
    if (root == NULL) {
        return -1;
    }
    json_in_init(&in, "copy");
    record_schema(&in, root);
    json_text(&in, root, "cluster", copy->cluster, sizeof copy->cluster);
    copy->revision = json_i64(&in, root, "revision", 1, INT64_MAX);
    json_text(&in, root, "made_by", copy->made_by, sizeof copy->made_by);
    copy->made_wall_ms = json_i64(&in, root, "made_wall_ms", 0, INT64_MAX);
    copy->left_out = (int)json_i64(&in, root, "left_out", 0, INT32_MAX);
    const json_t *installation = json_object_at(&in, root, "installation");
    if (json_in_ok(&in)) {
        json_enter(&in, "installation");
        installation_read(&in, installation, &copy->installation);
        json_leave(&in);
        read_keys(&in, root, copy);
    }
    json_decref(root);
    return json_in_done(&in, ret_err);
}

int store_copy_decode(const char *text, size_t len, struct store_copy *ret_copy,
                      struct err *ret_err)
{
    struct store_copy copy = {0};
    if (decode(text, len, &copy, ret_err) < 0) {
        store_copy_done(&copy);
        return -1;
    }
    *ret_copy = copy;
    return 0;
}

/* ---- the files ---- */

static int write_draft(const char *path, const char *text, size_t len, struct err *ret_err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    }
    int result = keep_write(fd, text, len);
    result = result == 0 ? fsync(fd) : result;
    int reason = errno;
    if (close(fd) < 0 && result == 0) {
        result = -1;
        reason = errno;
    }
    return result < 0 ? err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(reason)) : 0;
}

static void name_of(const char *dir, int number, char path[PATH_SIZE])
{
    if (number == 0) {
        snprintf(path, PATH_SIZE, "%s/" STORE_COPY_NAME, dir);
    } else {
        snprintf(path, PATH_SIZE, "%s/store.%d.json", dir, number);
    }
}

/* The latest becomes the first of the older ones, once an hour: the files are bounded in number. */
static void shift(const char *dir, int64_t now_wall_ms)
{
    char from[PATH_SIZE], to[PATH_SIZE];
    struct stat first;
    name_of(dir, 1, to);
    int64_t age_ms = INT64_MAX;
    if (stat(to, &first) == 0) {
        age_ms = now_wall_ms - (int64_t)first.st_mtim.tv_sec * 1000;
    }
    if (age_ms >= 0 && age_ms < STORE_COPY_APART_MS) {
        return; /* a clock that was put back does not stop it for long: the age is then negative */
    }
    for (int i = STORE_COPY_KEPT; i > 1; i--) {
        name_of(dir, i - 1, from);
        name_of(dir, i, to);
        (void)rename(from, to);
    }
    name_of(dir, 0, from);
    name_of(dir, 1, to);
    (void)link(from, to); /* there may be none yet */
}

int store_copy_write(const char *dir, const char *text, size_t len, int64_t now_wall_ms,
                     struct err *ret_err)
{
    char draft[PATH_SIZE], path[PATH_SIZE];
    snprintf(draft, sizeof draft, "%s/" STORE_COPY_NAME ".new", dir);
    name_of(dir, 0, path);
    if (write_draft(draft, text, len, ret_err) < 0) {
        return -1;
    }
    shift(dir, now_wall_ms);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || rename(draft, path) < 0 || fsync(fd) < 0) {
        err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    close(fd);
    return 0;
}

static char *read_text(int fd, size_t size)
{
    char *text = malloc(size + 1);
    size_t have = 0;
    while (text != NULL && have < size) {
        ssize_t got = read(fd, text + have, size - have);
        if (got == 0 || (got < 0 && errno != EINTR)) {
            free(text);
            return NULL;
        }
        have += got > 0 ? (size_t)got : 0;
    }
    if (text != NULL) {
        text[size] = '\0';
    }
    return text;
}

int store_copy_read(const char *path, struct store_copy *ret_copy, struct err *ret_err)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) < 0) {
        err_set(ret_err, ERR_SYSTEM, "%s: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    if (stat.st_size > (off_t)STORE_COPY_MAX) {
        close(fd);
        return err_set(ret_err, ERR_LIMIT, "%s: it has more than %u bytes", path, STORE_COPY_MAX);
    }
    char *text = read_text(fd, (size_t)stat.st_size);
    close(fd);
    if (text == NULL) {
        return err_set(ret_err, ERR_SYSTEM, "%s: it cannot be read", path);
    }
    int result = store_copy_decode(text, (size_t)stat.st_size, ret_copy, ret_err);
    free(text);
    return result < 0 ? err_prefix(ret_err, "%s", path) : 0;
}
