#include "fence/guard/guard_sync.h"

#include <stdio.h>
#include <string.h>

const struct sync_entry_record *guard_sync_target(const struct guard_sync *sync)
{
    return sync->len > 0 ? &sync->entries[sync->len - 1] : NULL;
}

static bool has_member(const struct sync_entry_record *entry, const char *name)
{
    for (int i = 0; i < entry->members_len; i++) {
        if (strcmp(entry->members[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static bool same_members(const struct sync_entry_record *a, const struct sync_entry_record *b)
{
    bool same = a->members_len == b->members_len;
    for (int i = 0; same && i < a->members_len; i++) {
        same = has_member(b, a->members[i]);
    }
    return same;
}

/* As it is written: FIRST has an order. */
static bool same_words(const struct sync_entry_record *a, const struct sync_entry_record *b)
{
    bool same = a->k == b->k && a->first == b->first && a->members_len == b->members_len;
    for (int i = 0; same && i < a->members_len; i++) {
        same = strcmp(a->members[i], b->members[i]) == 0;
    }
    return same;
}

bool guard_sync_same_target(const struct guard_sync *a, const struct guard_sync *b)
{
    const struct sync_entry_record *one = guard_sync_target(a), *other = guard_sync_target(b);
    return one == NULL || other == NULL ? one == other : same_words(one, other);
}

bool guard_sync_mixes(const struct guard_sync *sync)
{
    const struct sync_entry_record *target = guard_sync_target(sync);
    bool single = true, same = true;
    for (int i = 0; i < sync->len; i++) {
        const struct sync_entry_record *entry = &sync->entries[i];
        single = single && entry->k <= 1;
        same = same && (entry->k == 0 || target->k == 0 || same_members(entry, target));
    }
    return !single && !same;
}

/* Members' names are of [a-z0-9._-], and - and . need quotes. */
void guard_sync_names(const struct sync_entry_record *entry, char ret_names[SYNC_NAMES_SIZE])
{
    size_t len = 0;
    ret_names[0] = '\0';
    for (int i = 0; entry->k > 0 && i < entry->members_len; i++) {
        char start[24] = ", ";
        if (i == 0) {
            snprintf(start, sizeof start, "%s %d (", entry->first ? "FIRST" : "ANY", entry->k);
        }
        int put = snprintf(ret_names + len, SYNC_NAMES_SIZE - len, "%s\"%s\"%s", start,
                           entry->members[i], i == entry->members_len - 1 ? ")" : "");
        len += put > 0 && (size_t)put < SYNC_NAMES_SIZE - len ? (size_t)put : 0;
    }
}

int guard_sync_place(const struct sync_entry_record *entry, const char *name)
{
    for (int i = 0; entry->k > 0 && i < entry->members_len; i++) {
        if (strcmp(entry->members[i], name) == 0) {
            return entry->first ? i + 1 : 1;
        }
    }
    return 0;
}

bool guard_sync_is_closed(const struct guard_sync_row *rows, int len,
                          char ret_why[GUARD_SYNC_WHY_SIZE])
{
    for (int i = 0; i < len; i++) {
        if (rows[i].releases && rows[i].place != 0) {
            snprintf(ret_why, GUARD_SYNC_WHY_SIZE,
                     "the walsender of %s still goes by an earlier entry", rows[i].name);
            return false;
        }
    }
    return true;
}

/* Its place is the target's, and under no entry before it would it be the same. */
static bool place_tells(const struct guard_sync *sync, const struct guard_sync_row *row)
{
    for (int i = 0; i < sync->len - 1; i++) {
        if (guard_sync_place(&sync->entries[i], row->name) == row->place) {
            return false;
        }
    }
    return sync->len > 1;
}

static bool goes_by_target(const struct guard_sync *sync, const struct guard_sync_row *row,
                           uint64_t lsn)
{
    int place = guard_sync_place(guard_sync_target(sync), row->name);
    if (!row->releases) {
        return true;
    }
    return row->place == place && (place == 0 || row->flush_lsn >= lsn || place_tells(sync, row));
}

bool guard_sync_is_proven(const struct guard_sync *sync, const struct guard_sync_row *rows, int len,
                          uint64_t lsn, char ret_why[GUARD_SYNC_WHY_SIZE])
{
    const struct sync_entry_record *target = guard_sync_target(sync);
    int holding = 0;
    for (int i = 0; i < len; i++) {
        if (!goes_by_target(sync, &rows[i], lsn)) {
            snprintf(ret_why, GUARD_SYNC_WHY_SIZE,
                     "the walsender of %s is not known to go by the new entry", rows[i].name);
            return false;
        }
        bool counts = rows[i].releases && rows[i].flush_lsn >= lsn;
        holding += counts && has_member(target, rows[i].name) ? 1 : 0;
    }
    if (holding < target->k) {
        snprintf(ret_why, GUARD_SYNC_WHY_SIZE, "%d standbys of the entry hold the commit, %d must",
                 holding, target->k);
        return false;
    }
    return true;
}

/* ---- slots ---- */

static uint32_t hash_of(const char *text)
{
    uint32_t hash = 0x811c9dc5;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x01000193;
    }
    return hash;
}

#define SLOT_TEXT_MAX 45 /* of 63: with the prefix before it, and the hash behind */

/* A slot's name is of [a-z0-9_]. Where that loses something, the name's hash keeps two apart. */
void guard_slot_name(const char *name, char ret_slot[GUARD_SLOT_SIZE])
{
    bool legal = true;
    char text[SLOT_TEXT_MAX + 1];
    size_t len = 0;
    for (const char *at = name; *at != '\0' && len < SLOT_TEXT_MAX; at++, len++) {
        bool kept = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9') || *at == '_';
        legal = legal && kept;
        text[len] = '_';
        if (kept) {
            text[len] = *at;
        }
    }
    text[len] = '\0';
    if (legal && name[len] == '\0') {
        snprintf(ret_slot, GUARD_SLOT_SIZE, GUARD_SLOT_PREFIX "%s", text);
    } else {
        snprintf(ret_slot, GUARD_SLOT_SIZE, GUARD_SLOT_PREFIX "%s_%08x", text, hash_of(name));
    }
}
