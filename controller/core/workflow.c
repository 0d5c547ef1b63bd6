/*
 * workflow.c - the move of a database inside its group's record, and small lookups around it.
 *
 * A workflow is data: what each move needs is in the group's record before its first step runs
 * (design §8).
 */
#include "controller/core/private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

int db_group(const struct core *core, int db)
{
    return core->def.databases[db].group;
}

static struct database_record *find_record(struct group_record *group, const char *name)
{
    for (int i = 0; i < group->databases_len; i++) {
        if (strcmp(group->databases[i].database, name) == 0) {
            return &group->databases[i];
        }
    }
    return NULL;
}

const struct database_record *db_record_of(const struct core *core, int db)
{
    /* The cast is undone at once: the caller gets a pointer to const. */
    return find_record((struct group_record *)&core->groups[db_group(core, db)].record,
                       core->def.databases[db].name);
}

/* Records of databases that the definition does not have in this group (any more), and second ones,
 * make room: the definition has at most as many as the record has places. */
static void forget_strangers(const struct core *core, int g, struct group_record *group)
{
    int len = group->databases_len;
    group->databases_len = 0;
    for (int i = 0; i < len; i++) {
        int db = definition_database(&core->def, group->databases[i].database);
        if (db >= 0 && db_group(core, db) == g &&
            find_record(group, group->databases[i].database) == NULL) {
            group->databases[group->databases_len++] = group->databases[i];
        }
    }
}

struct database_record *db_record(struct core *core, int db)
{
    struct group_record *group = &core->groups[db_group(core, db)].record;
    struct database_record *record = find_record(group, core->def.databases[db].name);
    if (record == NULL && group->databases_len == DATABASES_MAX) {
        forget_strangers(core, db_group(core, db), group);
    }
    if (record == NULL) {
        assert(group->databases_len < DATABASES_MAX);
        record = &group->databases[group->databases_len++];
        memset(record, 0, sizeof *record);
        text_copy(record->database, sizeof record->database, core->def.databases[db].name);
    }
    return record;
}

int node_instance(const struct core *core, int db, const char *node)
{
    const struct database_def *def = &core->def.databases[db];
    for (int i = 0; i < def->instances_len; i++) {
        if (strcmp(core->def.nodes[def->instances[i].node].name, node) == 0) {
            return i;
        }
    }
    return -1;
}

const char *instance_node(const struct core *core, int db, int instance)
{
    return core->def.nodes[core->def.databases[db].instances[instance].node].name;
}

int core_primary(const struct core *core, int db)
{
    const struct database_record *record = db_record_of(core, db);
    return record == NULL || record->primary[0] == '\0' ? -1
                                                        : node_instance(core, db, record->primary);
}

int core_recorded_primary(const struct core *core, int db)
{
    const char *node = core->databases[db].primary_says;
    return node[0] == '\0' ? -1 : node_instance(core, db, node);
}

static struct move_record *find_move(struct workflow_record *workflow, const char *name)
{
    for (int i = 0; i < workflow->moves_len; i++) {
        if (strcmp(workflow->moves[i].database, name) == 0) {
            return &workflow->moves[i];
        }
    }
    return NULL;
}

/* The running move; a finished one is history. */
struct move_record *core_move(struct core *core, int db)
{
    struct group_record *group = &core->groups[db_group(core, db)].record;
    if (!group->moving) {
        return NULL;
    }
    struct move_record *move = find_move(&group->workflow, core->def.databases[db].name);
    return move != NULL && move->phase != PHASE_DONE ? move : NULL;
}

const struct move_record *core_move_of(const struct core *core, int db)
{
    return core_move((struct core *)core, db);
}

bool is_moving(const struct core *core, int db)
{
    return core_move_of(core, db) != NULL;
}

const struct move_record *proven_move(const struct core *core, int db)
{
    const struct move_record *move = core_move_of(core, db);
    return move != NULL && move->evidence_len > 0 &&
                   (move->phase == PHASE_CHOOSE || move->phase == PHASE_PROMOTE)
               ? move
               : NULL;
}

/* Not the one that holds the permit again: its life is what is wanted. */
bool was_fenced(const struct move_record *move, const char *node)
{
    return strcmp(move->candidate, node) != 0 &&
           (strcmp(move->fence_node, node) == 0 || strcmp(move->from, node) == 0);
}

/* A promotion begins a timeline; the old primary that starts again goes on with its own. */
uint32_t move_timeline(const struct move_record *move)
{
    bool in_place = move->candidate[0] != '\0' && strcmp(move->candidate, move->from) == 0;
    return in_place ? move->from_timeline : move->from_timeline + 1;
}

/* Howard Hinnant's days-to-civil, for an id that a person can read. */
static void write_id(struct core *core, const char *group, char *to, size_t size)
{
    int64_t seconds = core->wall_ms / 1000;
    int64_t days = seconds / 86400 + 719468;
    int64_t era = days / 146097;
    int64_t of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t mp = (5 * of_year + 2) / 153;
    int day = (int)(of_year - (153 * mp + 2) / 5 + 1);
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int year = (int)(year_of_era + era * 400 + (month <= 2));
    int second = (int)(seconds % 86400);
    text_format(to, size, "%04d%02d%02d-%02d%02d%02d-%.20s", year, month, day, second / 3600,
                second / 60 % 60, second % 60, group);
}

/* Puts a move into the group's workflow, opening one with its incident if none runs. */
struct move_record *move_start(struct core *core, int db)
{
    int g = db_group(core, db);
    struct group_state *group = &core->groups[g];
    struct workflow_record *workflow = &group->record.workflow;
    bool fresh = !group->record.moving;
    if (fresh) {
        memset(workflow, 0, sizeof *workflow);
        write_id(core, group->record.name, workflow->id, sizeof workflow->id);
        workflow->started_wall_ms = core->wall_ms;
        group->record.moving = true;
    }
    struct move_record *move = find_move(workflow, core->def.databases[db].name);
    if (move == NULL) {
        assert(workflow->moves_len < DATABASES_MAX);
        move = &workflow->moves[workflow->moves_len++];
    }
    memset(move, 0, sizeof *move);
    text_copy(move->database, sizeof move->database, core->def.databases[db].name);
    if (fresh) {
        incident_open(core, g, db, workflow->id);
    } else {
        incident_join(core, g, db);
    }
    return move;
}

int core_redundancy(const struct core *core, int db)
{
    int primary = core_primary(core, db);
    if (primary < 0) {
        return 0;
    }
    const struct instance_fact *fact = &core->databases[db].instances[primary].fact;
    int streaming = 0;
    for (int i = 0; i < fact->standbys_len && fact->role == ROLE_PRIMARY; i++) {
        streaming += fact->standbys[i].streaming ? 1 : 0;
    }
    return streaming;
}
