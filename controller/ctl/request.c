/*
 * plan, failover, pause, resume, confirm-fenced, and request: something is asked, its outcome
 * awaited.
 *
 * The request is written down under an id before anything happens. If the controller that took it
 * dies, the other one answers for the same id. An answer that does not come is unknown, never a
 * failure.
 */
#include "controller/ctl/request.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

#define FAILOVER_WITHIN_S 600
#define OTHERS_WITHIN_S   30
#define TIMEOUT_MAX_S     86400
#define POLL_US           200000
#define EVENTS_AT_ONCE    200
#define NEVER_STORED_MS   15000 /* etcd is asked; by then its own deadlines have passed */

void request_new_id(const char *prefix, char ret_id[ID_SIZE])
{
    unsigned char random[8];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        abort(); /* the kernel has no random source: far earlier than this program can run */
    }
    int len = snprintf(ret_id, ID_SIZE, "%s-", prefix);
    for (size_t i = 0; i < sizeof random; i++) {
        len += snprintf(ret_id + len, ID_SIZE - (size_t)len, "%02x", random[i]);
    }
}

/* ---- options ---- */

/* --timeout, in seconds; -1: said. */
static long timeout_s(const struct ctl *ctl, long absent)
{
    const char *text = ctl->values[OPT_TIMEOUT];
    char *end = NULL;
    if (!ctl_given(ctl, OPT_TIMEOUT)) {
        return absent;
    }
    errno = 0;
    long seconds = strtol(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || seconds < 1 ||
        seconds > TIMEOUT_MAX_S) {
        (void)ctl_usage(ctl, "--timeout: found \"%s\", must be from 1 to %d seconds", text,
                        TIMEOUT_MAX_S);
        return -1;
    }
    return seconds;
}

/* "32M", "1GiB", "4096". False: said. */
static bool loss_bytes(const struct ctl *ctl, uint64_t *ret_bytes)
{
    static const char *const units[] = {"", "K", "M", "G", "T"};
    const char *text = ctl->values[OPT_LOSS];
    char *end = NULL;
    *ret_bytes = 0;
    if (!ctl_given(ctl, OPT_LOSS)) {
        return true;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool good = text[0] >= '0' && text[0] <= '9' && errno == 0;
    for (size_t i = 0; good && i < sizeof units / sizeof *units; i++) {
        size_t len = strlen(units[i]);
        const char *rest = end + len;
        if (strncmp(end, units[i], len) == 0 &&
            (*rest == '\0' || strcmp(rest, "B") == 0 || (len > 0 && strcmp(rest, "iB") == 0)) &&
            number <= (uint64_t)INT64_MAX >> (10 * i)) {
            *ret_bytes = (uint64_t)number << (10 * i);
            return true;
        }
    }
    (void)ctl_usage(ctl, "--accept-loss: found \"%s\", must be bytes, with K, M, G or T after them",
                    text);
    return false;
}

/* ---- waiting ---- */

static enum ctl_exit print_outcome(const json_t *request)
{
    const char *state = member_text(request, "state", "");
    const char *outcome = member_text(request, "outcome", "");
    const char *id = member_text(request, "id", "");
    if (strcmp(state, "done") == 0) {
        (void)printf("done: %s\n", outcome[0] != '\0' ? outcome : id);
        return CTL_DONE;
    }
    if (strcmp(state, "refused") == 0) {
        ctl_complain("refused, nothing was changed: %s", outcome);
        return CTL_REFUSED;
    }
    ctl_complain("%s (%s); ask again: failoverctl request %s",
                 strcmp(state, "unknown-yet") == 0 ? "not known yet" : "still running", state, id);
    return CTL_RUNNING;
}

struct waiting {
    struct ctl *ctl;
    const char *id;
    uint64_t until_ms;
    uint64_t began_ms;
    char shown[256];     /* the latest line of progress */
    const char *address; /* whose events are followed */
    long long seq;
};

static void print_progress(const json_t *event)
{
    const char *database = member_text(event, "database", "");
    if (strcmp(member_text(event, "level", ""), "debug") != 0) {
        (void)fprintf(stderr, "  %s %s %s %s\n", member_text(event, "at", ""),
                      database[0] != '\0' ? database : member_text(event, "group", ""),
                      member_text(event, "rule", ""), member_text(event, "text", ""));
    }
}

/* What happens meanwhile, as the controller that answers notes it. */
static void print_events(struct waiting *waiting)
{
    struct call_answer answer;
    char path[64];
    bool follow = waiting->seq >= 0;
    (void)snprintf(path, sizeof path, "/v1/events?since=%lld&limit=%d",
                   follow ? waiting->seq : LLONG_MAX, EVENTS_AT_ONCE);
    call(waiting->ctl, "GET", path, NULL, &answer);
    if (answer.status == 200) {
        size_t index;
        json_t *event;
        /* Another controller counts its own: begin at its latest. */
        bool same = follow && waiting->address == answer.address;
        long long seq = member_number(answer.body, "last", 0);
        json_array_foreach(json_object_get(answer.body, "events"), index, event)
        {
            if (same) {
                seq = member_number(event, "seq", seq);
                print_progress(event);
            }
        }
        waiting->address = answer.address;
        waiting->seq = seq;
    }
    call_done(&answer);
}

static bool ended(const json_t *request)
{
    const char *state = member_text(request, "state", "");
    return strcmp(state, "done") == 0 || strcmp(state, "refused") == 0;
}

/* The store said no for certain (a conflict, or refused): then nothing was asked of the leader. */
static bool write_failed(const json_t *request)
{
    return strcmp(member_text(request, "write", ""), "failed") == 0;
}

static enum ctl_exit await(struct waiting *waiting)
{
    char path[sizeof "/v1/requests/" + ID_SIZE];
    (void)snprintf(path, sizeof path, "/v1/requests/%s", waiting->id);
    for (;;) {
        struct call_answer answer;
        enum ctl_exit result = CTL_RUNNING;
        print_events(waiting);
        call(waiting->ctl, "GET", path, NULL, &answer);
        bool known = answer.status == 200;
        bool over = clock_now_ms() >= waiting->until_ms;
        bool nobody_knows =
            answer.status == 404 && clock_now_ms() >= waiting->began_ms + NEVER_STORED_MS;
        if (known && write_failed(answer.body)) {
            ctl_complain("refused, nothing was changed: it was not stored: %s",
                         member_text(answer.body, "outcome", ""));
            result = CTL_REFUSED;
            over = true;
        } else if (known && (ended(answer.body) || over)) {
            result = print_outcome(answer.body);
            over = true;
        } else if (over || nobody_knows) {
            ctl_complain("unknown: %s; ask again: failoverctl request %s", answer.text,
                         waiting->id);
            over = true;
        }
        call_done(&answer);
        if (over) {
            return result;
        }
        (void)usleep(POLL_US);
    }
}

/* ---- asking ---- */

static enum ctl_exit send_within(struct ctl *ctl, json_t *body, long within_s)
{
    char id[ID_SIZE];
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    struct waiting waiting = {.ctl = ctl, .id = id, .seq = -1};
    if (within_s < 0) {
        json_decref(body);
        return CTL_USAGE;
    }
    request_new_id("req", id);
    print_events(&waiting); /* from here on: what comes after the request */
    json_object_set_new(body, "id", json_string(id));
    call(ctl, "POST", "/v1/requests", body, &answer);
    json_decref(body);
    if (!answer.reached && !answer.maybe_sent) {
        ctl_complain("no controller can be reached, nothing was changed: %s", answer.text);
        result = CTL_UNREACHABLE;
    } else if (!answer.reached) {
        ctl_complain("unknown whether it was taken: %s; ask again: failoverctl request %s",
                     answer.text, id);
        result = CTL_RUNNING;
    } else if (answer.status != 202) {
        ctl_complain("refused, nothing was changed: %s", answer.text);
        result = CTL_REFUSED;
    }
    call_done(&answer);
    if (result != CTL_DONE) {
        return result;
    }
    if (ctl_given(ctl, OPT_NO_WAIT)) {
        (void)printf("%s\n", id);
        ctl_complain("asked; for the outcome: failoverctl request %s", id);
        return CTL_RUNNING;
    }
    (void)fprintf(stderr, "asked as %s\n", id);
    waiting.began_ms = clock_now_ms();
    waiting.until_ms = waiting.began_ms + (uint64_t)within_s * 1000;
    return await(&waiting);
}

json_t *request_body(enum request_kind kind, const char *reason)
{
    json_t *body = json_object();
    json_object_set_new(body, "kind", json_string(request_kind_names[kind]));
    json_object_set_new(body, "reason", json_string(reason));
    return body;
}

enum ctl_exit request_send(struct ctl *ctl, json_t *body)
{
    return send_within(ctl, body, timeout_s(ctl, OTHERS_WITHIN_S));
}

static enum ctl_exit ask(struct ctl *ctl, enum request_kind kind, const char *key,
                         const char *reason)
{
    json_t *body = request_body(kind, reason);
    json_object_set_new(body, key, json_string(ctl->words[0]));
    return request_send(ctl, body);
}

enum ctl_exit ctl_pause(struct ctl *ctl)
{
    const char *reason = NULL;
    return ctl_reason(ctl, &reason) ? ask(ctl, REQUEST_PAUSE, "group", reason) : CTL_USAGE;
}

enum ctl_exit ctl_resume(struct ctl *ctl)
{
    const char *reason = "the pause is over";
    if (ctl_given(ctl, OPT_REASON) && !ctl_reason(ctl, &reason)) {
        return CTL_USAGE;
    }
    return ask(ctl, REQUEST_RESUME, "group", reason);
}

enum ctl_exit ctl_adopt(struct ctl *ctl)
{
    const char *reason = NULL;
    if (!ctl_reason(ctl, &reason)) {
        return CTL_USAGE;
    }
    if (!ctl_sure(ctl, "From then on an instance that holds no permit is stopped. Adopt?")) {
        ctl_complain("nothing was changed");
        return CTL_REFUSED;
    }
    json_t *body = request_body(REQUEST_ADOPT, reason);
    json_object_set_new(body, "group", json_string(ctl->words[0]));
    if (ctl_given(ctl, OPT_DATABASE)) {
        json_object_set_new(body, "database", json_string(ctl->values[OPT_DATABASE]));
    }
    return request_send(ctl, body);
}

enum ctl_exit ctl_confirm_fenced(struct ctl *ctl)
{
    const char *reason = NULL;
    char question[256];
    if (!ctl_reason(ctl, &reason)) {
        return CTL_USAGE;
    }
    (void)snprintf(question, sizeof question,
                   "Are you certain that %.63s can write no more, and will not by itself?",
                   ctl->words[0]);
    if (!ctl_sure(ctl, question)) {
        ctl_complain("nothing was changed");
        return CTL_REFUSED;
    }
    return ask(ctl, REQUEST_CONFIRM_FENCED, "node", reason);
}

/* "request ID" and "request wait ID" wait; "request show ID" tells how it stands. */
static bool request_words(const struct ctl *ctl, const char **ret_id, bool *ret_wait)
{
    const char *verb = ctl->words_len == 2 ? ctl->words[0] : "wait";
    const char *id = ctl->words[ctl->words_len - 1];
    *ret_id = id;
    *ret_wait = strcmp(verb, "wait") == 0;
    if (!*ret_wait && strcmp(verb, "show") != 0) {
        (void)ctl_usage(ctl, "request: found \"%s\", allowed are show and wait", verb);
        return false;
    }
    if (id[0] == '\0' || strlen(id) >= ID_SIZE ||
        strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(id)) {
        (void)ctl_usage(ctl, "\"%s\" is no id of a request", id);
        return false;
    }
    return true;
}

static void print_request(const json_t *request)
{
    static const char *const keys[] = {"kind",   "group", "database", "node", "who",
                                       "reason", "asked", "workflow", NULL};
    for (int i = 0; keys[i] != NULL; i++) {
        const char *text = member_text(request, keys[i], "");
        if (text[0] != '\0') {
            (void)printf("%-9s %s\n", keys[i], text);
        }
    }
    (void)fflush(stdout);
}

static enum ctl_exit show_request(struct ctl *ctl, const char *id)
{
    struct call_answer answer;
    enum ctl_exit result = CTL_RUNNING;
    char path[sizeof "/v1/requests/" + ID_SIZE];
    (void)snprintf(path, sizeof path, "/v1/requests/%s", id);
    call(ctl, "GET", path, NULL, &answer);
    if (!answer.reached) {
        ctl_complain("no controller can be reached: %s", answer.text);
        result = CTL_UNREACHABLE;
    } else if (answer.status != 200) {
        ctl_complain("unknown: %s", answer.text);
    } else if (ctl_given(ctl, OPT_JSON)) {
        const char *state = member_text(answer.body, "state", "");
        (void)printf("%s\n", answer.raw);
        result = strcmp(state, "done") == 0      ? CTL_DONE
                 : strcmp(state, "refused") == 0 ? CTL_REFUSED
                                                 : CTL_RUNNING;
    } else {
        print_request(answer.body);
        result = print_outcome(answer.body);
    }
    call_done(&answer);
    return result;
}

enum ctl_exit ctl_request(struct ctl *ctl)
{
    const char *id = NULL;
    bool wait = false;
    long within_s = timeout_s(ctl, FAILOVER_WITHIN_S);
    if (within_s < 0 || !request_words(ctl, &id, &wait)) {
        return CTL_USAGE;
    }
    if (!wait || ctl_given(ctl, OPT_NO_WAIT) || ctl_given(ctl, OPT_JSON)) {
        return show_request(ctl, id);
    }
    struct waiting waiting = {.ctl = ctl, .id = id, .seq = -1, .began_ms = 0};
    waiting.until_ms = clock_now_ms() + (uint64_t)within_s * 1000;
    return await(&waiting);
}

/* ---- failover ---- */

/* The path of the plan's question; false: said. */
static bool plan_path(const struct ctl *ctl, const char *group, const char *database,
                      const char *to, uint64_t accepted, char *ret_path, size_t size)
{
    if ((group != NULL && !call_name(ctl, "group", group)) ||
        (database != NULL && !call_name(ctl, "database", database)) ||
        (to != NULL && !call_name(ctl, "node", to))) {
        return false;
    }
    (void)snprintf(ret_path, size, "/v1/plan?accept_loss_bytes=%llu%s%s%s%s%s%s",
                   (unsigned long long)accepted, group != NULL ? "&group=" : "",
                   group != NULL ? group : "", database != NULL ? "&database=" : "",
                   database != NULL ? database : "", to != NULL ? "&to=" : "",
                   to != NULL ? to : "");
    return true;
}

static const char *time_text(const json_t *item, const char *key, char ret_text[SHOW_SIZE])
{
    return show_lap(member_number(item, key, -1), ret_text);
}

static void print_plan(const json_t *plan)
{
    static const char *const columns[] = {"DATABASE",     "STEP",     "+WHAT",
                                          "-TOOK BEFORE", "-AT MOST", NULL};
    struct page page = page_stdout();
    char a[SHOW_SIZE], b[SHOW_SIZE];
    size_t index;
    json_t *item;
    json_array_foreach(json_object_get(plan, "databases"), index, item)
    {
        const char *target = member_text(item, "target", NULL);
        (void)printf("%s: fence %s, then promote %s; lost at most: %s\n",
                     member_text(item, "name", "?"),
                     member_text(item, "primary", "(no primary is recorded)"),
                     target != NULL ? target : "nobody: no candidate passes now",
                     show_bytes(member_number(item, "loss_bytes", -1), a));
    }
    struct sheet *sheet = sheet_new(&page, columns);
    json_array_foreach(json_object_get(plan, "steps"), index, item)
    {
        sheet_line(sheet);
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(item, "database", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(item, "step", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", member_text(item, "text", "?"));
        sheet_cell(sheet, TONE_PLAIN, "%s", time_text(item, "expected_ms", a));
        sheet_cell(sheet, TONE_PLAIN, "%s", time_text(item, "bound_ms", a));
    }
    sheet_end(sheet);
    const json_t *total = json_object_get(plan, "total");
    (void)printf("plan %s, as %s sees it at %s%s; took %s before%s%s, at most %s%s\n",
                 member_text(plan, "hash", "?"), member_text(plan, "controller", "?"),
                 member_text(plan, "at", "?"),
                 member_true(plan, "leading") ? "" : " (it follows; the leader decides)",
                 time_text(total, "expected_ms", a),
                 member_null(plan, "measured") ? "" : " in incident ",
                 member_text(plan, "measured", ""), time_text(total, "bound_ms", b),
                 member_null(total, "bound_ms") ? " known: a person must confirm the fence" : "");
    const char *refused = member_text(plan, "refused", "");
    if (refused[0] != '\0') {
        (void)printf("as things stand it would be refused: %s\n", refused);
    }
    (void)fflush(stdout);
}

enum ctl_exit ctl_plan(struct ctl *ctl)
{
    const char *group = ctl->words_len > 1 ? ctl->words[1] : NULL;
    const char *database = ctl->values[OPT_DATABASE];
    uint64_t accepted = 0;
    char path[512];
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    if (strcmp(ctl->words[0], "failover") != 0) {
        return ctl_usage(ctl, "plan: found \"%s\", allowed is failover", ctl->words[0]);
    }
    if (group == NULL && database == NULL) {
        return ctl_usage(ctl, "plan failover needs a GROUP or --database NAME");
    }
    if (!loss_bytes(ctl, &accepted) ||
        !plan_path(ctl, group, database, ctl->values[OPT_TO], accepted, path, sizeof path)) {
        return CTL_USAGE;
    }
    if (call_leader(ctl, path, &answer, &result)) {
        if (ctl_given(ctl, OPT_JSON)) {
            (void)printf("%s\n", answer.raw);
        } else {
            print_plan(answer.body);
        }
        result = member_text(answer.body, "refused", "")[0] != '\0' ? CTL_REFUSED : CTL_DONE;
    }
    call_done(&answer);
    return result;
}

enum ctl_exit ctl_failover(struct ctl *ctl)
{
    const char *group = ctl->words_len > 0 ? ctl->words[0] : NULL;
    const char *database = ctl->values[OPT_DATABASE];
    const char *to = ctl->values[OPT_TO];
    const char *reason = NULL;
    uint64_t accepted = 0;
    char path[512];
    struct call_answer answer;
    enum ctl_exit result = CTL_DONE;
    if (group == NULL && database == NULL) {
        return ctl_usage(ctl, "failover needs a GROUP or --database NAME");
    }
    if (!ctl_reason(ctl, &reason) || !loss_bytes(ctl, &accepted) ||
        !plan_path(ctl, group, database, to, accepted, path, sizeof path)) {
        return CTL_USAGE;
    }
    bool shown = call_leader(ctl, path, &answer, &result);
    json_t *body = request_body(REQUEST_FAILOVER, reason);
    if (shown) {
        print_plan(answer.body);
        if (member_true(answer.body, "leading")) { /* what was shown is what runs */
            json_object_set_new(body, "plan", json_string(member_text(answer.body, "hash", "")));
        }
    }
    call_done(&answer);
    if (!shown || !ctl_sure(ctl, "Fail over?")) {
        json_decref(body);
        if (shown) {
            ctl_complain("nothing was changed");
        }
        return shown ? CTL_REFUSED : result;
    }
    json_object_set_new(body, "accept_loss_bytes", json_integer((json_int_t)accepted));
    if (group != NULL) {
        json_object_set_new(body, "group", json_string(group));
    }
    if (database != NULL) {
        json_object_set_new(body, "database", json_string(database));
    }
    if (to != NULL) {
        json_object_set_new(body, "node", json_string(to));
    }
    return send_within(ctl, body, timeout_s(ctl, FAILOVER_WITHIN_S));
}
