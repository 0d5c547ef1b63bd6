/*
 * events: what the controllers noticed and did.
 *
 * Each controller keeps and counts its own, anew in each of its lives. The decisions are the
 * leader's, so the leader's are shown if it can be reached, else another one's, and then it is said
 * whose they are. While following, those that are not shown are passed over as they come. One that
 * was shown and leads no more is shown up to its next answer, so that its last decisions are not
 * missed.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controller/ctl/call.h"
#include "controller/ctl/command.h"
#include "controller/ctl/show.h"

#define ROUND_US  500000
#define ALL_EVERY 10 /* rounds: as long as the one that is shown leads, the others can wait */

enum { TELLERS_MAX = 2 * CTL_ADDRESSES_MAX };

/* One controller, and how far its events have been shown or passed over. */
struct teller {
    char id[NAME_SIZE];
    char started[40]; /* its life */
    long long since;
    bool owed; /* it was shown when it last answered */
};

struct following {
    struct page page;
    long long since; /* --since: of the first that is shown */
    struct teller tellers[TELLERS_MAX];
    int tellers_len;
    int at[CTL_ADDRESSES_MAX];                     /* by socket: who answered there last; -1 */
    struct call_answer answers[CTL_ADDRESSES_MAX]; /* of this round */
    int shown;                                     /* the socket of the latest; -1: none yet */
    char said[256];                                /* whose they are, as it was said last */
    bool unreachable;                              /* and said */
    unsigned round;
};

/* ---- printing ---- */

static enum tone level_tone(const char *level)
{
    return strcmp(level, "error") == 0  ? TONE_BAD
           : strcmp(level, "warn") == 0 ? TONE_WARN
                                        : TONE_PLAIN;
}

static void print_event(const struct page *page, const json_t *event)
{
    const char *level = member_text(event, "level", "?");
    const char *from = member_text(event, "from", "");
    const char *to = member_text(event, "to", "");
    const char *database = member_text(event, "database", "");
    page_print(page, level_tone(level), "%s %-5s %s%s%s%s%s%s%s%s%s\n",
               member_text(event, "at", "?"), level, member_text(event, "group", ""),
               database[0] != '\0' ? "/" : "", database,
               member_text(event, "rule", "")[0] != '\0' ? " " : "", member_text(event, "rule", ""),
               from[0] != '\0' || to[0] != '\0' ? " " : "", from, to[0] != '\0' ? " -> " : "", to);
    page_print(page, TONE_PLAIN, "    %s\n", member_text(event, "text", ""));
}

static void print_events(const struct ctl *ctl, const struct page *page,
                         const struct teller *teller, const json_t *body)
{
    size_t index;
    json_t *event;
    if (member_number(body, "missed", 0) > 0) {
        ctl_complain("%lld older ones are no longer kept here; the journal has them",
                     member_number(body, "missed", 0));
    }
    json_array_foreach(json_object_get(body, "events"), index, event)
    {
        /* Asked before it was known who answers at this socket: more may have come. */
        if (member_number(event, "seq", 0) <= teller->since) {
            continue;
        }
        if (ctl_given(ctl, OPT_JSON)) {
            json_object_set_new(event, "controller", json_string(teller->id));
            (void)json_dumpf(event, stdout, JSON_COMPACT);
            (void)fputc('\n', stdout);
        } else {
            print_event(page, event);
        }
    }
    (void)fflush(stdout);
}

/* Once for each change: nothing needs to be said of the leader's own, as long as there was no
 * other.
 */
static void say_whose(struct following *following, const struct teller *teller, const json_t *body)
{
    char text[sizeof following->said];
    const char *leader = member_text(json_object_get(body, "leader"), "id", "");
    bool leads = member_true(json_object_get(body, "controller"), "leading");
    if (leads) {
        (void)snprintf(text, sizeof text, "events of %s, which leads", teller->id);
    } else if (leader[0] == '\0' || strcmp(leader, teller->id) == 0) {
        (void)snprintf(text, sizeof text, "events of %s, which follows; no leader is known",
                       teller->id);
    } else {
        (void)snprintf(text, sizeof text, "events of %s, which follows; the leader is %s",
                       teller->id, leader);
    }
    if (strcmp(text, following->said) != 0 && (!leads || following->said[0] != '\0')) {
        ctl_complain("%s", text);
    }
    (void)snprintf(following->said, sizeof following->said, "%s", text);
}

/* ---- who tells what ---- */

static bool heard(const struct following *following, int socket)
{
    const struct call_answer *answer = &following->answers[socket];
    return answer->reached && answer->status == 200 && answer->body != NULL;
}

static const json_t *controller_of(const struct following *following, int socket)
{
    return json_object_get(following->answers[socket].body, "controller");
}

static bool leads(const struct following *following, int socket)
{
    return heard(following, socket) && member_true(controller_of(following, socket), "leading");
}

/* Each socket has had its own before there is no room: then a new one takes that one's place. */
static int find_teller(struct following *following, int socket, const char *id)
{
    for (int i = 0; i < following->tellers_len; i++) {
        if (strcmp(following->tellers[i].id, id) == 0) {
            return i;
        }
    }
    int at =
        following->tellers_len < TELLERS_MAX ? following->tellers_len++ : following->at[socket];
    following->tellers[at] = (struct teller){.since = following->since};
    (void)snprintf(following->tellers[at].id, NAME_SIZE, "%s", id);
    return at;
}

static void ask(struct ctl *ctl, struct following *following, int socket)
{
    char path[64];
    int at = following->at[socket];
    (void)snprintf(path, sizeof path, "/v1/events?since=%lld",
                   at >= 0 ? following->tellers[at].since : following->since);
    call_done(&following->answers[socket]);
    call_one(ctl, socket, "GET", path, NULL, &following->answers[socket]);
}

/* Who answered; in a new life of that controller the numbers begin anew, so it is asked again. */
static void hear(struct ctl *ctl, struct following *following, int socket)
{
    ask(ctl, following, socket);
    if (!heard(following, socket)) {
        return;
    }
    const json_t *controller = controller_of(following, socket);
    const char *started = member_text(controller, "started", "?");
    int at = find_teller(following, socket,
                         member_text(controller, "id", following->answers[socket].address));
    struct teller *teller = &following->tellers[at];
    following->at[socket] = at;
    bool reborn = teller->started[0] != '\0' && strcmp(teller->started, started) != 0;
    (void)snprintf(teller->started, sizeof teller->started, "%s", started);
    if (reborn) {
        teller->since = 0;
        ask(ctl, following, socket);
    }
}

static void hear_all(struct ctl *ctl, struct following *following)
{
    int shown = following->shown;
    bool all = following->round++ % ALL_EVERY == 0;
    if (shown >= 0) {
        hear(ctl, following, shown);
        all = all || !leads(following, shown);
    }
    for (int i = 0; i < ctl->addresses_len; i++) {
        if (i != shown && all) {
            hear(ctl, following, i);
        } else if (i != shown) {
            call_done(&following->answers[i]);
            following->answers[i] = (struct call_answer){0};
        }
    }
}

/* The leader's socket; else the one that was shown before; else the first that answered; else -1.
 */
static int choose(const struct ctl *ctl, const struct following *following)
{
    int chosen = -1;
    int shown = following->shown;
    if (shown >= 0 && heard(following, shown)) {
        chosen = shown;
    }
    for (int i = 0; i < ctl->addresses_len; i++) {
        bool better = chosen < 0 || (leads(following, i) && !leads(following, chosen));
        if (heard(following, i) && better) {
            chosen = i;
        }
    }
    return chosen;
}

static void show(const struct ctl *ctl, struct following *following, int socket, bool chosen)
{
    struct teller *teller = &following->tellers[following->at[socket]];
    const json_t *body = following->answers[socket].body;
    long long last = member_number(body, "last", 0);
    if (chosen || (teller->owed && last > teller->since)) {
        say_whose(following, teller, body);
        print_events(ctl, &following->page, teller, body);
    } else if (leads(following, socket)) {
        return; /* it leads already, the one that is shown still: soon this one is shown */
    }
    teller->owed = chosen;
    teller->since = last;
}

/* ---- the command ---- */

static void say_unreachable(const struct ctl *ctl, struct following *following,
                            enum ctl_exit *ret_exit)
{
    struct call_answer all = {0};
    for (int i = 0; i < ctl->addresses_len; i++) {
        if (following->answers[i].reached) {
            (void)call_good(&following->answers[i], ret_exit);
            return;
        }
        call_list(all.text, sizeof all.text, &following->answers[i]);
    }
    (void)call_good(&all, ret_exit);
}

static enum ctl_exit show_round(struct ctl *ctl, struct following *following)
{
    enum ctl_exit result = CTL_DONE;
    hear_all(ctl, following);
    int chosen = choose(ctl, following);
    if (chosen < 0) {
        if (!following->unreachable) {
            say_unreachable(ctl, following, &result);
        }
        following->unreachable = true;
        return result;
    }
    following->unreachable = false;
    /* What another one still owes comes before it. */
    for (int i = 0; i < ctl->addresses_len; i++) {
        if (i != chosen && heard(following, i) && following->at[i] != following->at[chosen]) {
            show(ctl, following, i, false);
        }
    }
    following->shown = chosen;
    show(ctl, following, chosen, true);
    return result;
}

static void say_none(const struct following *following, long long since)
{
    if (member_number(following->answers[following->shown].body, "last", 0) == 0) {
        ctl_complain("no events since this controller was started");
    } else if (json_array_size(
                   json_object_get(following->answers[following->shown].body, "events")) == 0) {
        ctl_complain("no events after %lld", since);
    }
}

static bool read_since(const struct ctl *ctl, long long *ret_since)
{
    const char *text = ctl->values[OPT_SINCE];
    *ret_since = 0;
    if (!ctl_given(ctl, OPT_SINCE)) {
        return true;
    }
    if (text[0] == '\0' || strlen(text) > 18 || strspn(text, "0123456789") != strlen(text)) {
        (void)ctl_usage(ctl, "--since: found \"%s\", must be an event's number", text);
        return false;
    }
    *ret_since = strtoll(text, NULL, 10);
    return true;
}

enum ctl_exit ctl_events(struct ctl *ctl)
{
    struct following following = {.page = page_stdout(), .shown = -1};
    memset(following.at, -1, sizeof following.at);
    if (!read_since(ctl, &following.since)) {
        return CTL_USAGE;
    }
    long long since = following.since;
    enum ctl_exit result = show_round(ctl, &following);
    if (!ctl_given(ctl, OPT_FOLLOW) && result == CTL_DONE) {
        say_none(&following, since);
    }
    while (ctl_given(ctl, OPT_FOLLOW) && ferror(stdout) == 0) { /* until the reader has gone */
        following.since = following.shown >= 0 ? 0 : since; /* it counts one controller's events */
        (void)usleep(ROUND_US);
        (void)show_round(ctl, &following);
    }
    for (int i = 0; i < ctl->addresses_len; i++) {
        call_done(&following.answers[i]);
    }
    return result;
}
