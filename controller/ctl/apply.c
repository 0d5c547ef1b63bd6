/*
 * apply: a definition is checked, compared with the stored one, and stored if nobody else was
 * faster.
 */
#include "controller/ctl/apply.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/cluster/definition_read.h"
#include "controller/ctl/call.h"
#include "controller/ctl/request.h"

#define STORED_WITHIN_MS 20000 /* a write that etcd has not accepted by then is unknown */
#define TAKEN_WITHIN_MS  5000  /* for the controllers to take it up, before we only say so */

struct applying {
    struct ctl *ctl;
    const char *file;
    char *text;
    size_t len;
    struct definition *def;
    char id[ID_SIZE];
    char reason[REASON_SIZE];
    long long known; /* revision of the stored one */
    long long stored;
};

/* 0: the same. -1: cannot be compared, which is said. */
static int print_difference(const struct applying *applying, const json_t *config)
{
    const char *yaml = json_string_value(json_object_get(config, "yaml"));
    if (yaml == NULL) {
        (void)printf("no definition is stored yet: this is the first\n");
        return -1;
    }
    if (strcmp(yaml, applying->text) == 0) {
        return 0;
    }
    struct definition *old = calloc(1, sizeof *old);
    struct complaints *complaints = calloc(1, sizeof *complaints);
    int lines = -1;
    if (old == NULL || complaints == NULL) {
        abort();
    }
    if (definition_read(yaml, strlen(yaml), old, complaints) < 0) {
        (void)printf("the stored definition cannot be read by this version, so there is no "
                     "difference to show\n");
    } else {
        lines = definition_diff(stdout, old, applying->def);
        if (lines == 0) {
            (void)printf("only comments or layout differ\n");
            lines = -1;
        }
    }
    free(old);
    free(complaints);
    return lines;
}

static enum ctl_exit send_config(struct applying *applying)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    json_t *body = json_object();
    json_object_set_new(body, "yaml", json_stringn(applying->text, applying->len));
    json_object_set_new(body, "reason", json_string(applying->reason));
    json_object_set_new(body, "id", json_string(applying->id));
    json_object_set_new(body, "expected_revision", json_integer(applying->known));
    call(applying->ctl, "POST", "/v1/config", body, &answer);
    json_decref(body);
    if (!answer.reached && !answer.maybe_sent) {
        ctl_complain("no controller can be reached, nothing was changed: %s", answer.text);
        result = CTL_UNREACHABLE;
    } else if (answer.reached && answer.status != 202) {
        ctl_complain("refused: %s", answer.text);
        result = CTL_REFUSED;
    }
    call_done(&answer);
    return result;
}

/* The one that took the write may be gone: whether the text is stored, the other one knows. */
static bool is_stored(struct applying *applying)
{
    struct call_answer answer;
    call(applying->ctl, "GET", "/v1/config", NULL, &answer);
    bool stored = answer.status == 200 &&
                  member_number(answer.body, "revision", 0) > applying->known &&
                  strcmp(member_text(answer.body, "yaml", ""), applying->text) == 0;
    if (stored) {
        applying->stored = member_number(answer.body, "revision", 0);
    }
    call_done(&answer);
    return stored;
}

static enum ctl_exit await_stored(struct applying *applying)
{
    char path[sizeof "/v1/writes/" + ID_SIZE];
    uint64_t until_ms = clock_now_ms() + STORED_WITHIN_MS;
    (void)snprintf(path, sizeof path, "/v1/writes/%s", applying->id);
    do {
        struct call_answer answer;
        call(applying->ctl, "GET", path, NULL, &answer);
        const char *state = member_text(answer.body, "state", "");
        bool stored = strcmp(state, "stored") == 0;
        bool failed = strcmp(state, "failed") == 0;
        if (stored) {
            applying->stored = member_number(answer.body, "revision", 0);
        } else if (failed) {
            ctl_complain("refused, nothing was changed: %s", member_text(answer.body, "text", ""));
        }
        call_done(&answer);
        if (failed) {
            return CTL_REFUSED;
        }
        if (stored || is_stored(applying)) {
            return CTL_DONE;
        }
        (void)usleep(100000);
    } while (clock_now_ms() < until_ms);
    ctl_complain("unknown: etcd has not confirmed it; look again by: failoverctl config show");
    return CTL_RUNNING;
}

/* Counts the controllers that run at least this revision; says who does not. */
static bool all_run_it(struct ctl *ctl, long long revision, bool say)
{
    struct call_answer answer;
    bool all = false;
    call(ctl, "GET", "/v1/status", NULL, &answer);
    if (answer.status == 200) {
        size_t index;
        json_t *controller;
        all = true;
        json_array_foreach(json_object_get(answer.body, "controllers"), index, controller)
        {
            bool runs = member_number(controller, "config_revision", 0) >= revision;
            all = all && (runs || !member_true(controller, "present"));
            if (say) {
                (void)printf("  %s: %s\n", member_text(controller, "id", "?"),
                             runs                                 ? "runs it"
                             : member_true(controller, "present") ? "has not taken it up yet"
                                                                  : "is absent");
            }
        }
    }
    call_done(&answer);
    return all;
}

static enum ctl_exit apply(struct applying *applying)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    bool got = call_get(applying->ctl, "/v1/config", &answer, &result);
    int lines = got ? print_difference(applying, answer.body) : -1;
    applying->known = got ? member_number(answer.body, "revision", 0) : 0;
    call_done(&answer);
    if (!got) {
        return result;
    }
    if (lines == 0) {
        (void)printf("the stored definition (revision %lld) is the same: nothing to do\n",
                     applying->known);
        return CTL_DONE;
    }
    (void)fflush(stdout);
    if (!ctl_sure(applying->ctl, "Store it?")) {
        ctl_complain("nothing was changed");
        return CTL_REFUSED;
    }
    result = send_config(applying);
    result = result == CTL_DONE ? await_stored(applying) : result;
    if (result != CTL_DONE) {
        return result;
    }
    (void)printf("stored as revision %lld\n", applying->stored);
    uint64_t until_ms = clock_now_ms() + TAKEN_WITHIN_MS;
    while (!all_run_it(applying->ctl, applying->stored, false) && clock_now_ms() < until_ms) {
        (void)usleep(100000);
    }
    (void)all_run_it(applying->ctl, applying->stored, true);
    return CTL_DONE;
}

static bool apply_reason(struct ctl *ctl, const char *file, char ret_reason[REASON_SIZE])
{
    const char *given = NULL;
    if (!ctl_given(ctl, OPT_REASON)) {
        const char *slash = strrchr(file, '/');
        (void)snprintf(ret_reason, REASON_SIZE, "apply %.200s", slash != NULL ? slash + 1 : file);
        return true;
    }
    if (!ctl_reason(ctl, &given)) {
        return false;
    }
    (void)snprintf(ret_reason, REASON_SIZE, "%s", given);
    return true;
}

bool apply_may_ask(const struct ctl *ctl)
{
    if (!ctl_given(ctl, OPT_YES) && isatty(STDIN_FILENO) != 1) {
        (void)ctl_usage(ctl, "nobody can be asked here; --yes stores it without asking");
        return false;
    }
    return true;
}

/* What is there already, to be stored again: an old version, say. Takes text over. */
enum ctl_exit apply_text(struct ctl *ctl, const char *name, char *text, const char *reason)
{
    struct applying applying = {.ctl = ctl, .file = name, .text = text, .len = strlen(text)};
    enum ctl_exit result = CTL_USAGE;
    (void)snprintf(applying.reason, sizeof applying.reason, "%s", reason);
    applying.def = ctl_read_definition(name, text, applying.len);
    if (applying.def != NULL) {
        request_new_id("cfg", applying.id);
        result = apply(&applying);
    }
    free(applying.def);
    free(text);
    return result;
}

enum ctl_exit ctl_apply(struct ctl *ctl)
{
    size_t len = 0;
    char reason[REASON_SIZE];
    const char *file = ctl->words[0];
    if (!apply_reason(ctl, file, reason)) {
        return CTL_USAGE;
    }
    if (!apply_may_ask(ctl)) {
        return CTL_USAGE;
    }
    char *text = ctl_read_file(file, DEFINITION_TEXT_MAX, &len);
    if (text != NULL && strlen(text) != len) {
        ctl_complain("%s: has a NUL byte in it", file);
        free(text);
        text = NULL;
    }
    return text == NULL ? CTL_USAGE : apply_text(ctl, file, text, reason);
}
