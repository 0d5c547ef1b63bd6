/*
 * check: a cluster definition, before anybody stores it.
 */
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

/* ---- reading ---- */

struct definition *ctl_read_definition(const char *name, const char *text, size_t len)
{
    struct definition *def = calloc(1, sizeof *def);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    if (def == NULL || complaints == NULL) {
        abort();
    }
    int read = definition_read(text, len, def, complaints);
    complaints_print(stderr, name, complaints);
    if (read < 0) {
        ctl_complain("%s: %d error%s", name, complaints->errors,
                     complaints->errors == 1 ? "" : "s");
        free(def);
        def = NULL;
    }
    free(complaints);
    return def;
}

static const char *plural(int count)
{
    return count == 1 ? "" : "s";
}

/* What follows from the profile (design §7), so that nobody has to add it up at night. */
static void print_times(const struct definition *def)
{
    const struct profile *p = definition_profile(def);
    uint32_t held = p->permit_d_ms + p->permit_w_ms + p->permit_k_ms;
    uint32_t sum = held + (held + 99) / 100 + 200;
    uint32_t stall = p->permit_d_ms - p->permit_w_ms - p->permit_k_ms - p->renewal_ms;
    uint32_t detect = (p->fall - 1) * p->probe_interval_ms + p->probe_deadline_ms;
    char a[SHOW_SIZE], b[SHOW_SIZE], c[SHOW_SIZE], d[SHOW_SIZE];
    (void)printf(
        "profile %s: a silent primary is seen to be down after %s at most, a refusing one after %s;\n"
        "  a lost leader is replaced after %s; a permit alone proves the end of writing after %s,\n"
        "  and its holder tolerates a stall of %s without harm\n",
        profile_names[def->profile], show_lap(detect + p->probe_interval_ms, a),
        show_lap(p->refused_for_ms + p->probe_interval_ms, b), show_lap(p->lease_ms, c),
        show_lap(sum, d), show_lap(stall, (char[SHOW_SIZE]){0}));
}

enum ctl_exit ctl_check(struct ctl *ctl)
{
    size_t len = 0;
    char *text = ctl_read_file(ctl->words[0], DEFINITION_TEXT_MAX, &len);
    if (text == NULL) {
        return CTL_USAGE;
    }
    struct definition *def = ctl_read_definition(ctl->words[0], text, len);
    free(text);
    if (def == NULL) {
        return CTL_USAGE;
    }
    (void)printf(
        "%s: good: cluster %s: %d site%s, %d node%s, %d database%s, %d service%s, %d route%s "
        "on %d prox%s, %d group%s\n",
        ctl->words[0], def->cluster, def->sites_len, plural(def->sites_len), def->nodes_len,
        plural(def->nodes_len), def->databases_len, plural(def->databases_len), def->services_len,
        plural(def->services_len), def->routes_len, plural(def->routes_len), def->proxies_len,
        def->proxies_len == 1 ? "y" : "ies", def->groups_len, plural(def->groups_len));
    print_times(def);
    free(def);
    return CTL_DONE;
}
