#include "fence/guard/slots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "probes/postgres_words.h"

#define OPEN_MS  1000
#define KEEP_MS  5000
#define LATER_MS 1000 /* in the middle of a failover others want the processor */
#define ASK_MS   2000

struct slots {
    struct loop *loop;
    struct slots_params params;
    char *options;
    struct pg_session *keeping, *asking;
    struct timer *later;
    char wanted[INSTANCES_MAX][GUARD_SLOT_SIZE];
    int wanted_len;
    char slot[GUARD_SLOT_SIZE];
};

/* ---- on an upstream ---- */

static void end_keeping(struct slots *slots, const char *text)
{
    char line[ERR_TEXT_MAX + 64];
    snprintf(line, sizeof line, "replication slots: %s", text);
    pg_close(slots->keeping);
    slots->keeping = NULL;
    if (text[0] != '\0') {
        slots->params.on_word(slots->params.arg, line);
    }
}

/* Each row is a slot that was dropped or made. */
static void on_kept(void *arg, const struct pg_reply *reply)
{
    struct slots *slots = arg;
    char text[ERR_TEXT_MAX] = "";
    size_t len = 0;
    for (int i = 0; i < reply->results_len; i++) {
        for (int row = 0; row < PQntuples(reply->results[i]) && len < sizeof text - 1; row++) {
            int put = snprintf(text + len, sizeof text - len, "%s%s %s", len > 0 ? ", " : "",
                               PQgetvalue(reply->results[i], row, 0),
                               PQgetvalue(reply->results[i], row, 1));
            len += put > 0 ? (size_t)put : 0;
        }
    }
    end_keeping(slots, reply->outcome == PG_DONE ? text : reply->text);
}

static void on_keeping_lost(void *arg, const char *text)
{
    end_keeping(arg, text);
}

/* A slot's name is of [a-z0-9_]: it needs no quoting. */
static void on_keeping_opened(void *arg, const struct pg_reply *reply)
{
    struct slots *slots = arg;
    char list[INSTANCES_MAX * (GUARD_SLOT_SIZE + 4) + 1] = "";
    char sql[sizeof list * 2 + 1024];
    size_t len = 0;
    if (reply->outcome != PG_DONE) {
        end_keeping(slots, reply->text);
        return;
    }
    for (int i = 0; i < slots->wanted_len; i++) {
        len += (size_t)snprintf(list + len, sizeof list - len, "%s'%s'", i > 0 ? "," : "",
                                slots->wanted[i]);
    }
    snprintf(sql, sizeof sql,
             "SELECT 'dropped', slot_name, pg_drop_replication_slot(slot_name)"
             " FROM pg_replication_slots WHERE slot_type = 'physical' AND NOT active"
             " AND slot_name ^@ '" GUARD_SLOT_PREFIX "'"
             " AND (slot_name <> ALL (ARRAY[%s]::text[]) OR wal_status = 'lost');"
             "SELECT 'made', name, pg_create_physical_replication_slot(name, true)"
             " FROM unnest(ARRAY[%s]::text[]) AS name"
             " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = name)",
             list, list);
    pg_query(slots->keeping, sql, KEEP_MS, on_kept, slots);
}

static void keep_now(void *arg)
{
    struct slots *slots = arg;
    if (slots->keeping != NULL) { /* it may have begun with an older list */
        timer_start(slots->later, LATER_MS);
        return;
    }
    struct pg_target target = slots->params.target;
    target.dbname = "postgres";
    target.options = slots->options;
    slots->keeping =
        pg_open(slots->loop, &target, OPEN_MS, on_keeping_opened, on_keeping_lost, slots);
}

void slots_keep(struct slots *slots, const char (*standbys)[NAME_SIZE], int len)
{
    slots->wanted_len = len < INSTANCES_MAX ? len : INSTANCES_MAX;
    for (int i = 0; i < slots->wanted_len; i++) {
        guard_slot_name(standbys[i], slots->wanted[i]);
    }
    timer_start(slots->later, LATER_MS);
}

void slots_stop(struct slots *slots)
{
    timer_stop(slots->later);
}

/* ---- on a standby ---- */

static void end_asking(struct slots *slots, enum slots_answer answer)
{
    pg_close(slots->asking);
    slots->asking = NULL;
    slots->params.answered(slots->params.arg, answer);
}

/* slot_type, restart_lsn, restart_tli: all NULL where there is none, the second where its WAL is
 * lost. */
static void on_answer(void *arg, const struct pg_reply *reply)
{
    bool good = reply->outcome == PG_DONE && reply->results_len == 1 &&
                PQntuples(reply->results[0]) == 1 && PQnfields(reply->results[0]) == 3;
    end_asking(arg, !good                                  ? SLOTS_UNKNOWN
                    : PQgetisnull(reply->results[0], 0, 1) ? SLOTS_MISSING
                                                           : SLOTS_THERE);
}

static void on_asking_lost(void *arg, const char *text)
{
    (void)text;
    end_asking(arg, SLOTS_UNKNOWN);
}

static void on_asking_opened(void *arg, const struct pg_reply *reply)
{
    struct slots *slots = arg;
    char command[GUARD_SLOT_SIZE + 32];
    if (reply->outcome != PG_DONE) {
        end_asking(slots, SLOTS_UNKNOWN);
        return;
    }
    snprintf(command, sizeof command, "READ_REPLICATION_SLOT %s", slots->slot);
    pg_query(slots->asking, command, ASK_MS, on_answer, slots);
}

void slots_ask(struct slots *slots, const char *hostaddr, uint16_t port, const char *conninfo,
               const char *slot)
{
    char whole[1024];
    pg_close(slots->asking);
    snprintf(slots->slot, sizeof slots->slot, "%s", slot);
    snprintf(whole, sizeof whole, "%s replication=true", conninfo);
    struct pg_target target = {.hostaddr = hostaddr,
                               .port = port,
                               .conninfo = whole,
                               .application_name = "failover-guard"};
    slots->asking = pg_open(slots->loop, &target, ASK_MS, on_asking_opened, on_asking_lost, slots);
}

struct slots *slots_new(struct loop *loop, const struct slots_params *params)
{
    struct slots *slots = calloc(1, sizeof *slots);
    if (slots == NULL) {
        abort(); /* a guard that is gone feeds no watchdog */
    }
    slots->loop = loop;
    slots->params = *params;
    slots->options = postgres_options(1000, NULL);
    slots->later = timer_new(loop, keep_now, slots);
    return slots;
}

void slots_free(struct slots *slots)
{
    if (slots == NULL) {
        return;
    }
    pg_close(slots->keeping);
    pg_close(slots->asking);
    timer_free(slots->later);
    free(slots->options);
    free(slots);
}
