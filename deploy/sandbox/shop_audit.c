/*
 * shop_audit.c - is every acknowledged transaction still there?
 *
 * Reads the load's record and the table of the database that serves now. What was acknowledged and
 * is not in the table is lost. What was of unknown outcome may be there or not; both are right.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shop.h"

#define AUDIT_US    30000000
#define SAMPLES_MAX 10

struct ids {
    char (*list)[SHOP_ID_SIZE];
    size_t len, room;
};

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_id(struct ids *ids, const char *id)
{
    if (ids->len == ids->room) {
        ids->room = ids->room ? ids->room * 2 : 1024;
        ids->list = realloc(ids->list, ids->room * sizeof *ids->list);
        if (!ids->list) {
            fprintf(stderr, "shop: no memory\n");
            exit(1);
        }
    }
    snprintf(ids->list[ids->len++], SHOP_ID_SIZE, "%s", id);
}

static bool read_record(const char *path, struct ids *ret_acked, struct ids *ret_unknown)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        fprintf(stderr, "shop: %s: %s\n", path, strerror(errno));
        return false;
    }
    char line[256], id[SHOP_ID_SIZE], outcome[16];
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%63s %*u %15s", id, outcome) != 2) {
            fprintf(stderr, "shop: %s: a line that is no attempt: %s", path, line);
            fclose(file);
            return false;
        }
        if (strcmp(outcome, shop_outcome_names[SHOP_ACKED]) == 0) {
            add_id(ret_acked, id);
        } else if (strcmp(outcome, shop_outcome_names[SHOP_UNKNOWN]) == 0) {
            add_id(ret_unknown, id);
        }
    }
    fclose(file);
    return true;
}

static bool read_table(const struct shop_options *options, struct ids *ret_there)
{
    char text[SHOP_TEXT_SIZE];
    uint64_t deadline_us = shop_now_us() + AUDIT_US;
    PGconn *conn = shop_db_connect(options, AUDIT_US, deadline_us, text);
    if (!conn) {
        fprintf(stderr, "shop: %s\n", text);
        return false;
    }
    PQsetnonblocking(conn,
                     0); /* a tool at the end of a run: it may wait, its caller has a deadline */
    PGresult *result = PQexec(conn, options->kind->select_ids);
    bool good = PQresultStatus(result) == PGRES_TUPLES_OK;
    for (int i = 0; good && i < PQntuples(result); i++) {
        add_id(ret_there, PQgetvalue(result, i, 0));
    }
    if (!good) {
        fprintf(stderr, "shop: %s", PQresultErrorMessage(result));
    }
    PQclear(result);
    PQfinish(conn);
    if (good && ret_there->len) {
        qsort(ret_there->list, ret_there->len, sizeof *ret_there->list, compare);
    }
    return good;
}

static bool is_there(const struct ids *there, const char *id)
{
    return there->len && bsearch(id, there->list, there->len, sizeof *there->list, compare);
}

static bool print_report(const struct ids *acked, const struct ids *unknown,
                         const struct ids *there, size_t *ret_lost)
{
    json_t *samples = json_array();
    size_t lost = 0, unknown_there = 0;
    for (size_t i = 0; i < acked->len; i++) {
        if (!is_there(there, acked->list[i])) {
            lost++;
            if (lost <= SAMPLES_MAX) {
                json_array_append_new(samples, json_string(acked->list[i]));
            }
        }
    }
    for (size_t i = 0; i < unknown->len; i++) {
        unknown_there += is_there(there, unknown->list[i]);
    }
    json_t *report =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "acked", (json_int_t)acked->len, "lost",
                  (json_int_t)lost, "unknown", (json_int_t)unknown->len, "unknown_there",
                  (json_int_t)unknown_there, "rows", (json_int_t)there->len, "lost_ids", samples);
    bool good = report && json_dumpf(report, stdout, JSON_INDENT(2)) == 0 && putchar('\n') != EOF;
    json_decref(report);
    *ret_lost = lost;
    return good;
}

int shop_audit(const struct shop_options *options)
{
    struct ids acked = {0}, unknown = {0}, there = {0};
    size_t lost = 0;
    int status = 2;
    if (read_record(options->record, &acked, &unknown) && read_table(options, &there) &&
        print_report(&acked, &unknown, &there, &lost)) {
        status = lost ? 1 : 0;
    }
    free(acked.list);
    free(unknown.list);
    free(there.list);
    return status;
}
