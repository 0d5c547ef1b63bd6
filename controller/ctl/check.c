/*
 * check: a cluster definition, before anybody stores it.
 */
#include <stdlib.h>
#include <string.h>

#include "controller/cluster/definition_read.h"
#include "controller/cluster/local.h"
#include "controller/ctl/command.h"
#include "controller/ctl/live.h"
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

/* ---- how long a failover takes ---- */

#define VIEW_MS 1000 /* another controller's view is repeated each second, at the latest */

/* What follows from the profile (design §7), so that nobody has to add it up at night. */
static void print_times(const struct definition *def)
{
    const struct profile *p = definition_profile(def);
    uint32_t sum = permit_sum_ms(p->permit_d_ms, p->permit_w_ms, p->permit_k_ms);
    uint32_t stall = profile_stall_ms(p);
    char a[SHOW_SIZE], b[SHOW_SIZE], c[SHOW_SIZE];
    (void)printf("profile %s: a lost leader is replaced after %s; a permit alone proves the end of "
                 "writing after %s,\n  and its holder tolerates a stall of %s without harm\n",
                 profile_names[def->profile], show_lap(p->lease_ms, a), show_lap(sum, b),
                 show_lap(stall, c));
}

/* The kinds of failure, each with how long it takes to be believed by this controller. */
struct kind {
    const char *name;
    uint32_t detect_ms;
    const char *how;
};

static void print_bound(const struct definition *def, const struct kind *kind, uint32_t fence)
{
    const struct profile *p = definition_profile(def);
    uint32_t confirm = p->probe_interval_ms + p->probe_deadline_ms + VIEW_MS;
    uint32_t promote = p->probe_interval_ms + p->probe_deadline_ms;
    char a[SHOW_SIZE], b[SHOW_SIZE], c[SHOW_SIZE], d[SHOW_SIZE], e[SHOW_SIZE];
    uint32_t sum = kind->detect_ms + confirm + fence + promote;
    (void)printf("    %-34s %s: detect %s (%s) + confirm %s + fence %s + hear and promote %s\n",
                 kind->name, fence > 0 ? show_lap(sum, a) : "a person's time",
                 show_lap(kind->detect_ms, b), kind->how, show_lap(confirm, c),
                 fence > 0 ? show_lap(fence, d) : "until a person confirms", show_lap(promote, e));
}

static void print_bounds(const struct definition *def)
{
    const struct profile *p = definition_profile(def);
    const struct kind kinds[] = {
        {"process dead, connections refused", p->refused_for_ms + p->probe_interval_ms,
         "refused for + interval"},
        {"host silent, disk or process hung",
         (p->fall - 1) * p->probe_interval_ms + p->probe_deadline_ms + p->probe_interval_ms,
         "fall x interval + deadline"},
    };
    (void)printf("at most this long until it is promoted, when each step succeeds at first:\n");
    for (int db = 0; db < def->databases_len; db++) {
        for (int i = 0; i < def->databases[db].instances_len; i++) {
            const struct node_def *node = &def->nodes[def->databases[db].instances[i].node];
            (void)printf("  %s on %s\n", def->databases[db].name, node->name);
            for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
                print_bound(def, &kinds[k], node_fence_ms(node, p));
            }
        }
    }
    (void)printf(
        "  with the leader lost at the same moment %s more; a replay that has to be finished "
        "comes on top\n",
        show_lap(p->lease_ms, (char[SHOW_SIZE]){0}));
}

/* ---- who handles what ---- */

/* Is the place lost, a node or a whole site, one where this instance stands? */
static bool is_lost(const struct definition *def, int instance_node, int node, int site)
{
    return node >= 0 ? instance_node == node : def->nodes[instance_node].site == site;
}

/* The members that a primary on this node can wait for: it is no standby of itself. */
static int members_beside(const struct database_def *db, int primary)
{
    int beside = 0;
    for (int m = 0; db->sync_len > 0 && m < db->sync[0].members_len; m++) {
        beside += db->instances[db->sync[0].members[m]].node != primary ? 1 : 0;
    }
    return beside;
}

static bool waits_for_nobody(const struct database_def *db, int primary)
{
    return db->durability == DURABILITY_ASYNC || members_beside(db, primary) == 0;
}

/* Would its sync entry still be heard with the lost instances gone (n - k + 1)? */
static bool sync_heard(const struct definition *def, const struct database_def *db, int primary,
                       int node, int site)
{
    const struct sync_entry_def *entry = &db->sync[0];
    int members = members_beside(db, primary);
    int k = entry->k < members ? entry->k : members;
    int left = 0;
    for (int m = 0; m < entry->members_len; m++) {
        int at = db->instances[entry->members[m]].node;
        left += at != primary && !is_lost(def, at, node, site) ? 1 : 0;
    }
    return left >= members - k + 1;
}

static int survivors(const struct definition *def, const struct database_def *db, int node,
                     int site)
{
    int left = 0;
    for (int i = 0; i < db->instances_len; i++) {
        left += is_lost(def, db->instances[i].node, node, site) ? 0 : 1;
    }
    return left;
}

/* Why a person is needed when the primary of this database is lost there; NULL: nobody is. */
static const char *needs_person(const struct definition *def, const struct database_def *db,
                                int primary, int node, int site)
{
    if (!def->groups[db->group].automatic) {
        return "automatic failover is off for its group";
    } else if (survivors(def, db, node, site) == 0) {
        return "no instance is left elsewhere";
    } else if (node_fence_ms(&def->nodes[primary], definition_profile(def)) == 0) {
        return "its node has no fencing level but a person: confirm-fenced";
    } else if (!waits_for_nobody(db, primary) && !sync_heard(def, db, primary, node, site)) {
        return "too few standbys of its sync entry are left: a person accepts the loss";
    }
    return NULL;
}

/* One line a database that may be the primary there; false: none stands there. */
static bool print_losses(const struct definition *def, int node, int site)
{
    bool any = false;
    for (int d = 0; d < def->databases_len; d++) {
        const struct database_def *db = &def->databases[d];
        int primary = -1;
        for (int i = 0; i < db->instances_len && primary < 0; i++) {
            primary = is_lost(def, db->instances[i].node, node, site) ? db->instances[i].node : -1;
        }
        if (primary < 0) {
            continue;
        }
        const char *person = needs_person(def, db, primary, node, site);
        (void)printf("    %s, if its primary is there: %s%s%s\n", db->name,
                     person == NULL ? "handled without a person" : "A PERSON DECIDES: ",
                     person == NULL ? "" : person,
                     person == NULL && waits_for_nobody(db, primary)
                         ? ", if the estimated loss is within max_lag"
                         : "");
        any = true;
    }
    return any;
}

/* A site goes with its power devices: their silence is no proof (failures.md G5). */
static bool has_agents(const struct definition *def, int site)
{
    for (int n = 0; n < def->nodes_len; n++) {
        for (int i = 0; i < def->nodes[n].levels_len; i++) {
            if (def->nodes[n].site == site && def->nodes[n].levels[i].method == FENCE_AGENT) {
                return true;
            }
        }
    }
    return false;
}

static void print_who_decides(const struct definition *def)
{
    (void)printf("if it is lost:\n");
    for (int n = 0; n < def->nodes_len; n++) {
        (void)printf("  node %s\n", def->nodes[n].name);
        if (!print_losses(def, n, -1)) {
            (void)printf("    no database stands there\n");
        }
    }
    for (int s = 0; s < def->sites_len; s++) {
        (void)printf("  site %s\n", def->sites[s].name);
        if (print_losses(def, -1, s)) {
            (void)printf("    all of it needs a controller and a majority of etcd's members at "
                         "other sites: with half of them lost nothing moves\n");
            if (has_agents(def, s)) {
                (void)printf("    and fence devices that answer although the site is lost: else a "
                             "person confirms\n");
            }
        }
    }
}

/* ---- settings that are allowed, and risky ---- */

static int warn(const char *where, const char *name, const char *text)
{
    (void)printf("warning: %s %s: %s\n", where, name, text);
    return 1;
}

static int warn_of_database(const struct definition *def, const struct database_def *db)
{
    int warnings = 0;
    if (db->durability == DURABILITY_ASYNC) {
        warnings += warn("database", db->name,
                         "asynchronous: a failover may lose up to max_lag of what was "
                         "acknowledged");
    }
    if (db->durability != DURABILITY_ASYNC && db->sync_len > 0 &&
        db->sync[0].k == db->sync[0].members_len) {
        warnings +=
            warn("database", db->name,
                 db->durability == DURABILITY_STRICT
                     ? "its sync entry waits for every one of its standbys: the loss of one "
                       "stops all commits"
                     : "its sync entry waits for every one of its standbys: the loss of one "
                       "stops all commits, until its guard degrades it (degrade_after)");
    }
    if (strcmp(db->sslmode, "disable") == 0 || db->sslmode[0] == '\0') {
        warnings += warn("database", db->name,
                         "its sessions need no TLS: whoever listens between sees the heartbeat's "
                         "login");
    }
    int sites = 0;
    for (int s = 0; s < def->sites_len; s++) {
        sites += survivors(def, db, -1, s) < db->instances_len ? 1 : 0;
    }
    if (sites == 1 && def->sites_len > 1) {
        warnings += warn("database", db->name, "all its instances stand at one site");
    }
    return warnings;
}

static int warn_of_levels(const struct node_def *node)
{
    int warnings = 0;
    int machine = 0;
    for (int i = 0; i < node->levels_len; i++) {
        machine += node->levels[i].method != FENCE_OPERATOR ? 1 : 0;
        if (node->levels[i].deadline_ms > 60000) {
            warnings += warn("node", node->name,
                             "a fencing level may take longer than a minute before the next one "
                             "is tried");
        }
    }
    if (machine == 1) {
        warnings += warn("node", node->name,
                         "one fencing level only: when its device does not answer, a person must "
                         "confirm");
    }
    return warnings;
}

static void print_warnings(const struct definition *def)
{
    int warnings = 0;
    for (int d = 0; d < def->databases_len; d++) {
        warnings += warn_of_database(def, &def->databases[d]);
    }
    for (int n = 0; n < def->nodes_len; n++) {
        warnings += warn_of_levels(&def->nodes[n]);
    }
    for (int r = 0; r < def->routes_len; r++) {
        if (def->routes[r].proxies_len == 1) {
            warnings += warn("route", def->routes[r].name,
                             "one proxy only: nothing reaches its primary while that one is down");
        }
    }
    if (def->policy.budget_failovers == 0) {
        warnings += warn("policy", "budget", "no automatic failover is ever allowed");
    } else if (def->policy.budget_failovers > 5) {
        warnings +=
            warn("policy", "budget", "so many failovers in a row are flapping, not recovery");
    }
    if (warnings == 0) {
        (void)printf("no risky settings beside what was warned of above\n");
    }
}

static void print_all(const char *file, const struct definition *def)
{
    (void)printf(
        "%s: good: cluster %s: %d site%s, %d node%s, %d database%s, %d service%s, %d route%s "
        "on %d prox%s, %d group%s\n",
        file, def->cluster, def->sites_len, plural(def->sites_len), def->nodes_len,
        plural(def->nodes_len), def->databases_len, plural(def->databases_len), def->services_len,
        plural(def->services_len), def->routes_len, plural(def->routes_len), def->proxies_len,
        def->proxies_len == 1 ? "y" : "ies", def->groups_len, plural(def->groups_len));
    print_times(def);
    print_bounds(def);
    print_who_decides(def);
    print_warnings(def);
}

/* The secrets and commands stand in a controller's local file. */
static enum ctl_exit reach(const struct ctl *ctl, const struct definition *def)
{
    const char *path = ctl_given(ctl, OPT_LOCAL) ? ctl->values[OPT_LOCAL] : CTL_LOCAL_FILE;
    struct local_config *local = calloc(1, sizeof *local);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    struct err err = {0};
    enum ctl_exit result = CTL_USAGE;
    if (local == NULL || complaints == NULL) {
        abort();
    }
    if (local_read_file(path, local, complaints, &err) < 0) {
        complaints_print(stderr, path, complaints);
        ctl_complain("%s: %s; --local names another one", path,
                     err.code != ERR_NONE ? err.text : "it has errors");
    } else {
        (void)fflush(stdout);
        result = live_check(def, local);
    }
    free(local);
    free(complaints);
    return result;
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
    enum ctl_exit result = CTL_DONE;
    if (ctl_given(ctl, OPT_LIVE)) {
        result = reach(ctl, def);
    } else {
        print_all(ctl->words[0], def);
    }
    free(def);
    return result;
}
