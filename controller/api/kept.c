#include "controller/api/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kept_done(struct kept *kept)
{
    for (int i = 0; i < kept->requests_len; i++) {
        free(kept->requests[i]);
    }
    for (int i = 0; i < kept->incidents_len; i++) {
        free(kept->incidents[i]);
    }
    memset(kept, 0, sizeof *kept);
}

struct kept_write *kept_write(struct kept *kept, const char *id)
{
    for (int i = 0; i < API_WRITES_MAX; i++) {
        if (kept->writes[i].id[0] != '\0' && strcmp(kept->writes[i].id, id) == 0) {
            return &kept->writes[i];
        }
    }
    return NULL;
}

struct kept_write *kept_write_new(struct kept *kept, const char *id)
{
    struct kept_write *room = NULL;
    for (int i = 0; i < API_WRITES_MAX; i++) {
        struct kept_write *write = &kept->writes[i];
        bool ended = write->id[0] == '\0' || write->state != API_WRITE_PENDING;
        if (ended && (room == NULL || write->order < room->order)) {
            room = write;
        }
    }
    if (room != NULL) {
        *room = (struct kept_write){.state = API_WRITE_PENDING, .order = ++kept->order};
        (void)snprintf(room->id, sizeof room->id, "%s", id);
    }
    return room;
}

/* ---- requests ---- */

static bool ended(const struct request_record *request)
{
    return request->state == REQUEST_DONE || request->state == REQUEST_REFUSED;
}

/* The ended one that was asked first, else the first that came. */
static int least_wanted(const struct kept *kept)
{
    int at = -1;
    for (int i = 0; i < kept->requests_len; i++) {
        const struct request_record *request = kept->requests[i];
        if (ended(request) &&
            (at < 0 || request->asked_wall_ms < kept->requests[at]->asked_wall_ms)) {
            at = i;
        }
    }
    return at < 0 ? 0 : at;
}

static void drop_request(struct kept *kept, int at)
{
    free(kept->requests[at]);
    kept->requests_len--;
    for (int i = at; i < kept->requests_len; i++) {
        kept->requests[i] = kept->requests[i + 1];
    }
}

/* True: there is room. They come in no order when everything is read. */
static bool make_room(struct kept *kept, const struct request_record *request)
{
    if (kept->requests_len < API_REQUESTS_MAX) {
        return true;
    }
    int at = least_wanted(kept);
    if (ended(request) && ended(kept->requests[at]) &&
        request->asked_wall_ms < kept->requests[at]->asked_wall_ms) {
        return false; /* older than all that are kept */
    }
    drop_request(kept, at);
    return true;
}

void kept_take_request(struct kept *kept, const struct request_record *request)
{
    for (int i = 0; i < kept->requests_len; i++) {
        if (strcmp(kept->requests[i]->id, request->id) == 0) {
            *kept->requests[i] = *request;
            return;
        }
    }
    if (!make_room(kept, request)) {
        return;
    }
    struct request_record *copy = malloc(sizeof *copy);
    if (copy == NULL) {
        return; /* it is asked for by id again: "unknown yet" is then the honest answer */
    }
    *copy = *request;
    kept->requests[kept->requests_len++] = copy;
}

const struct request_record *kept_request(const struct kept *kept, const char *id)
{
    for (int i = 0; i < kept->requests_len; i++) {
        if (strcmp(kept->requests[i]->id, id) == 0) {
            return kept->requests[i];
        }
    }
    return NULL;
}

/* ---- incidents ---- */

/* Out of the list, to be put in again at its place; NULL: it was not there. */
static struct incident_record *take_out(struct kept *kept, const char *id)
{
    int at = 0;
    while (at < kept->incidents_len && strcmp(kept->incidents[at]->id, id) != 0) {
        at++;
    }
    if (at == kept->incidents_len) {
        return NULL;
    }
    struct incident_record *found = kept->incidents[at];
    kept->incidents_len--;
    for (int i = at; i < kept->incidents_len; i++) {
        kept->incidents[i] = kept->incidents[i + 1];
    }
    return found;
}

void kept_take_incident(struct kept *kept, const struct incident_record *incident)
{
    struct incident_record *copy = take_out(kept, incident->id);
    int at = 0;
    while (at < kept->incidents_len &&
           kept->incidents[at]->opened_wall_ms > incident->opened_wall_ms) {
        at++;
    }
    if (copy == NULL && kept->incidents_len == API_INCIDENTS_MAX) {
        if (at == API_INCIDENTS_MAX) {
            return; /* older than all that are kept */
        }
        copy = kept->incidents[--kept->incidents_len];
    }
    if (copy == NULL && (copy = malloc(sizeof *copy)) == NULL) {
        return;
    }
    *copy = *incident;
    for (int i = kept->incidents_len; i > at; i--) {
        kept->incidents[i] = kept->incidents[i - 1];
    }
    kept->incidents[at] = copy;
    kept->incidents_len++;
}

const struct incident_record *kept_incident(const struct kept *kept, const char *id)
{
    if (strcmp(id, "latest") == 0) {
        return kept->incidents_len > 0 ? kept->incidents[0] : NULL;
    }
    for (int i = 0; i < kept->incidents_len; i++) {
        if (strcmp(kept->incidents[i]->id, id) == 0) {
            return kept->incidents[i];
        }
    }
    return NULL;
}
