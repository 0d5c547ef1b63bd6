#include <inttypes.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/ctl/rescue.h"
#include "controller/ctl/show.h"

static void show_sources(const struct page *page, const struct rescue_look *look)
{
    char age[SHOW_SIZE];
    if (look->installation.id[0] != '\0') {
        page_print(page, TONE_PLAIN,
                   "etcd  cluster %" PRIu64 " at revision %" PRId64
                   ": installation %s, incarnation %" PRIu64 ", of cluster %" PRIu64 "\n",
                   look->cluster_id, look->revision, look->installation.id,
                   look->installation.incarnation, look->installation.cluster_id);
    } else {
        page_print(page, TONE_PLAIN,
                   "etcd  cluster %" PRIu64 " at revision %" PRId64 ": no installation\n",
                   look->cluster_id, look->revision);
    }
    if (!look->has_copy) {
        page_print(page, TONE_WARN, "copy  there is none at %s\n", look->copy_path);
        return;
    }
    page_print(page, TONE_PLAIN,
               "copy  %s: revision %" PRId64 " of cluster %" PRIu64 ", incarnation %" PRIu64
               ", made by %s %s ago\n",
               look->copy_path, look->copy.revision, look->copy.installation.cluster_id,
               look->copy.installation.incarnation, look->copy.made_by,
               show_age(clock_wall_ms() - look->copy.made_wall_ms, age));
}

static void show_permit(struct sheet *sheet, const struct rescue_records *records)
{
    if (records->has_permit) {
        sheet_cell(sheet, TONE_PLAIN, "%s %s %" PRIu64 ".%" PRIu64,
                   permit_state_names[records->permit.state], records->permit.node,
                   records->permit.epoch.incarnation, records->permit.epoch.counter);
    } else {
        sheet_cell(sheet, TONE_PLAIN, "-");
    }
}

static void show_permits(const struct page *page, const struct rescue_look *look)
{
    static const char *const columns[] = {"DATABASE", "PERMIT IN ETCD", "PERMIT IN THE COPY", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    for (int db = 0; db < look->def->databases_len; db++) {
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", look->def->databases[db].name);
        show_permit(sheet, &look->databases[db].store);
        show_permit(sheet, &look->databases[db].copy);
    }
    sheet_end(sheet);
}

static void show_guard(struct sheet *sheet, const struct rescue_instance *instance)
{
    const struct guard_record *said = &instance->said;
    if (!instance->reported) {
        sheet_cell(sheet, instance->is_off ? TONE_PLAIN : TONE_WARN, "%s",
                   instance->is_off ? "not waited for" : "no report");
        sheet_cell(sheet, TONE_PLAIN, "-");
        return;
    }
    sheet_cell(sheet, TONE_PLAIN, "%s%s%s", guard_state_names[said->state],
               said->role != ROLE_UNKNOWN ? " " : "",
               said->role != ROLE_UNKNOWN ? role_names[said->role] : "");
    sheet_cell(sheet, TONE_PLAIN, "%" PRIu64 ".%" PRIu64, said->epoch.incarnation,
               said->epoch.counter);
}

static void show_world(const struct page *page, const struct rescue_look *look)
{
    static const char *const columns[] = {"DATABASE", "NODE",       "GUARD", "EPOCH SEEN",
                                          "TIMELINE", "POSTGRESQL", NULL};
    struct sheet *sheet = sheet_new(page, columns);
    for (int db = 0; db < look->def->databases_len; db++) {
        const struct database_def *def = &look->def->databases[db];
        for (int i = 0; i < def->instances_len; i++) {
            const struct rescue_instance *instance = &look->databases[db].instances[i];
            const struct instance_fact *fact = &instance->fact;
            uint32_t timeline = fact->answered       ? fact->timeline
                                : instance->reported ? instance->said.timeline
                                                     : 0;
            sheet_line(sheet);
            sheet_cell(sheet, TONE_PLAIN, "%s", def->name);
            sheet_cell(sheet, TONE_PLAIN, "%s", look->def->nodes[def->instances[i].node].name);
            show_guard(sheet, instance);
            sheet_cell(sheet, TONE_PLAIN, "%u", timeline);
            sheet_cell(sheet, TONE_PLAIN, "%s",
                       fact->answered ? role_names[fact->role] : cause_names[fact->cause]);
        }
    }
    sheet_end(sheet);
}

static void show_choice(const struct page *page, const struct rescue_look *look,
                        const struct rescue_plan *plan, int db)
{
    const struct rescue_choice *choice = &plan->choices[db];
    const struct database_def *def = &look->def->databases[db];
    if (!choice->adopted) {
        page_print(page, TONE_PLAIN, "  %s: never adopted; nothing to write\n", def->name);
    } else if (choice->holder < 0) {
        page_print(page, TONE_BAD, "  %s: nobody\n", def->name);
    } else {
        page_print(page, TONE_PLAIN,
                   "  %s: granted to %s, epoch %" PRIu64 ".%" PRIu64 ", timeline %u: %s\n",
                   def->name, choice->permit.node, choice->permit.epoch.incarnation,
                   choice->permit.epoch.counter, choice->permit.timeline, choice->text);
        for (int i = 0; i < choice->record.burnt_len; i++) {
            page_print(page, TONE_WARN, "  %s: %s is burnt, and must be rebuilt by copy\n",
                       def->name, choice->record.burnt[i]);
        }
    }
}

void rescue_show(const struct rescue_look *look, const struct rescue_plan *plan)
{
    struct page page = page_stdout();
    show_sources(&page, look);
    page_print(&page, TONE_PLAIN, "\n");
    show_permits(&page, look);
    page_print(&page, TONE_PLAIN, "\n");
    show_world(&page, look);
    page_print(&page, TONE_HEAD, "\nThe permits in incarnation %" PRIu64 ":\n", plan->incarnation);
    for (int db = 0; db < look->def->databases_len; db++) {
        show_choice(&page, look, plan, db);
    }
    page_print(&page, TONE_PLAIN,
               "The definition is %s. Running workflows and open requests are dropped.\n",
               look->config_source == RESCUE_COPY ? "the copy's" : "etcd's");
}
