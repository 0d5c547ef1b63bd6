/* failoverctl as its users meet it: the built program, run against controllers' APIs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/api/api.h"
#include "controller/base/clock.h"
#include "controller/base/json.h"
#include "controller/core/core.h"
#include "controller/ctl/ctl.h"
#include "controller/ctl/verdict.h"
#include "tests/unit/shop_fixture.h"
#include "tests/unit/tls_fixture.h"

#define WITHIN_MS   60000
#define OUTPUT_MAX  200000
#define CONTROLLERS 2

static char dir[32];
static char sockets[CONTROLLERS][64];
static pid_t controllers[CONTROLLERS];
static int ports[CONTROLLERS]; /* not 0: it serves HTTPS there too */
static bool with_trouble;      /* what the next one shows: an alarm, and a step that is parked */

/* ---- a controller: the real API in a process of its own, over a core made by hand ---- */

struct controller {
    struct loop *loop;
    struct api *api;
    struct core *core;
    struct events *events;
    struct timer *timer;
    const char *id;
    int64_t started_wall_ms;
    int notes; /* told so far */
    uv_signal_t note_now, change_now;
    struct request_record request; /* whose write is under way; id "": none */
    char config_id[ID_SIZE];
    char *yaml;
    int64_t revision;
    struct config_record config;
};

static const struct core *give_core(void *arg)
{
    return ((struct controller *)arg)->core;
}

/* It leads or the other one does. */
static const char *leader_id(const struct controller *self)
{
    bool first = strcmp(self->id, "ops1") == 0;
    return first == self->core->leading ? "ops1" : "ops2";
}

static void give_extra(void *arg, struct status_extra *ret_extra)
{
    struct controller *self = arg;
    *ret_extra = (struct status_extra){.now_ms = SHOP_NOW_MS,
                                       .wall_ms = SHOP_WALL_MS,
                                       .id = self->id,
                                       .version = "1.2.3",
                                       .started_wall_ms = self->started_wall_ms,
                                       .leader = leader_id(self),
                                       .leader_term = 9,
                                       .etcd_reachable = true,
                                       .etcd_seen_ms = SHOP_NOW_MS - 20,
                                       .config_revision = 42,
                                       .events = self->events};
}

static const struct config_record *give_config(void *arg)
{
    return &((struct controller *)arg)->config;
}

static void put_request(void *arg, const struct request_record *request)
{
    struct controller *self = arg;
    self->request = *request;
    timer_start(self->timer, 1);
}

static void put_config(void *arg, const char *id, const struct api_config *config)
{
    struct controller *self = arg;
    snprintf(self->config_id, sizeof self->config_id, "%s", id);
    free(self->yaml);
    self->yaml = strndup(config->yaml, config->yaml_len);
    timer_start(self->timer, 1);
}

/* What etcd and the leader would do with it; the reason says which outcome the test wants. */
static void end_request(struct controller *self)
{
    struct request_record *request = &self->request;
    bool fails = strcmp(request->reason, "lose the write") == 0;
    api_write_done(self->api, request->id, fails ? API_WRITE_FAILED : API_WRITE_STORED, 77,
                   fails ? "etcd refused it" : "");
    if (fails || strcmp(request->reason, "say nothing") == 0) {
        return;
    }
    bool refuse = strcmp(request->reason, "be refused") == 0;
    request->state = refuse ? REQUEST_REFUSED : REQUEST_DONE;
    snprintf(request->outcome, sizeof request->outcome, "%s",
             refuse ? "pay-west lags by 99 MiB, at most 16 MiB are allowed" : "it is so now");
    api_take_request(self->api, request);
}

static void end_config(struct controller *self)
{
    struct api_config config = {.yaml = self->yaml,
                                .yaml_len = strlen(self->yaml),
                                .who = "root",
                                .reason = "as tested",
                                .wall_ms = SHOP_WALL_MS,
                                .revision = 42};
    config_record_apply(&self->config, self->yaml, "root", "as tested", SHOP_WALL_MS);
    api_take_config(self->api, &config);
    api_write_done(self->api, self->config_id, API_WRITE_STORED, 42, "");
}

static void on_timer(void *arg)
{
    struct controller *self = arg;
    if (self->request.id[0] != '\0') {
        end_request(self);
        self->request.id[0] = '\0';
    }
    if (self->config_id[0] != '\0') {
        end_config(self);
        self->config_id[0] = '\0';
    }
}

/* payments waits for a person: its fence was parked, and somebody is called. */
static void make_trouble(struct core *core)
{
    struct group_record *group = &core->groups[0].record;
    struct move_record *move = &group->workflow.moves[0];
    snprintf(group->alarms[0].key, sizeof group->alarms[0].key, "parked.payments");
    snprintf(group->alarms[0].text, sizeof group->alarms[0].text, "payments is parked");
    snprintf(group->alarms[0].acked_by, NAME_SIZE, "ann");
    snprintf(group->alarms[0].acked_reason, REASON_SIZE, "on my way");
    group->alarms_len = 1;
    group->moving = true;
    group->workflow.moves_len = 1;
    snprintf(group->workflow.id, ID_SIZE, "20260921-141220-shop");
    snprintf(move->database, NAME_SIZE, "payments");
    snprintf(move->from, NAME_SIZE, "pay-east");
    snprintf(move->fence_node, NAME_SIZE, "pay-east");
    snprintf(move->parked, REASON_SIZE, "step fence has ended 5 leaders");
    core->databases[0].state = DB_PARKED;
}

static void tell(struct controller *self)
{
    struct event_note note = {.level = 2, .rule = "R-A2"};
    self->notes++;
    snprintf(note.text, sizeof note.text, "%s tells %d%s", self->id, self->notes,
             self->notes == 1 ? ": the first permit is recorded" : "");
    events_add(self->events, &note);
}

/* SIGUSR1: it notes something. SIGUSR2: and leads no more, or leads now. */
static void on_note_now(uv_signal_t *handle, int signal)
{
    struct controller *self = handle->data;
    tell(self);
    if (signal == SIGUSR2) {
        self->core->leading = !self->core->leading;
    }
}

static void watch_signals(struct controller *self)
{
    uv_signal_init(loop_uv(self->loop), &self->note_now);
    uv_signal_init(loop_uv(self->loop), &self->change_now);
    self->note_now.data = self->change_now.data = self;
    uv_signal_start(&self->note_now, on_note_now, SIGUSR1);
    uv_signal_start(&self->change_now, on_note_now, SIGUSR2);
}

static bool allowed(void *arg, const char *name, enum api_role *ret_role)
{
    (void)arg;
    *ret_role = strcmp(name, "ann") == 0 ? ROLE_OPERATE : ROLE_READ;
    return strcmp(name, "ann") == 0 || strcmp(name, "grafana") == 0;
}

static void serve_https(struct controller *self, int port)
{
    char listen[32];
    struct err err = {0};
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    struct tls_keys *keys = tls_keys_of("server", "ca.pem");
    if (api_https(self->api, listen, keys, &err) < 0) {
        (void)fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    tls_keys_free(keys);
}

/* In the child: serves until it is killed. */
static void serve(int index, bool leading, int ready)
{
    struct controller self = {.id = index == 0 ? "ops1" : "ops2",
                              .started_wall_ms = clock_wall_ms()};
    struct err err = {0};
    struct incident_record incident = shop_incident();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    self.loop = loop_new();
    self.core = shop_core();
    self.core->leading = leading;
    if (with_trouble) {
        make_trouble(self.core);
    }
    self.events = events_new();
    self.timer = timer_new(self.loop, on_timer, &self);
    tell(&self);
    watch_signals(&self);
    struct api_options options = {.socket = sockets[index],
                                  .backend = {.arg = &self,
                                              .core = give_core,
                                              .extra = give_extra,
                                              .config = give_config,
                                              .put_request = put_request,
                                              .put_config = put_config,
                                              .allowed = allowed}};
    self.api = api_new(self.loop, &options, &err);
    if (self.api == NULL) {
        (void)fprintf(stderr, "%s\n", err.text);
        _exit(1);
    }
    api_take_incident(self.api, &incident);
    if (ports[index] != 0) {
        serve_https(&self, ports[index]);
    }
    if (write(ready, "r", 1) != 1) {
        _exit(1);
    }
    loop_run(self.loop);
    _exit(0);
}

static void start_controller(int index, bool leading)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    controllers[index] = fork();
    assert_true(controllers[index] >= 0);
    if (controllers[index] == 0) {
        serve(index, leading, ready[1]);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static void stop_controller(int index)
{
    if (controllers[index] > 0) {
        kill(controllers[index], SIGKILL);
        waitpid(controllers[index], NULL, 0);
        controllers[index] = 0;
    }
}

/* ---- running it ---- */

static char *out; /* of the latest run; standard output, then standard error */
static char *complaints;

static void be_failoverctl(char *const argv[], int to, int errors)
{
    char self[512];
    char program[600];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0) {
        _exit(126);
    }
    self[len] = '\0';
    snprintf(program, sizeof program, "%s/../failoverctl", dirname(self));
    dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    dup2(to, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    execv(program, argv);
    _exit(127);
}

static void read_both(int fds[2], pid_t pid)
{
    char *texts[2] = {out, complaints};
    size_t lens[2] = {0};
    struct pollfd polls[2] = {{.fd = fds[0], .events = POLLIN}, {.fd = fds[1], .events = POLLIN}};
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    while (polls[0].fd >= 0 || polls[1].fd >= 0) {
        int ready = poll(polls, 2, 1000);
        if (ready < 0 || clock_now_ms() >= until_ms) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            fail_msg("failoverctl did not end in %d ms", WITHIN_MS);
        }
        for (int i = 0; i < 2; i++) {
            if (polls[i].fd < 0 || polls[i].revents == 0) {
                continue;
            }
            ssize_t got = read(polls[i].fd, texts[i] + lens[i], OUTPUT_MAX - 1 - lens[i]);
            if (got <= 0) {
                polls[i].fd = -1;
            } else {
                lens[i] += (size_t)got;
            }
        }
    }
    out[lens[0]] = complaints[lens[1]] = '\0';
}

/* One command line, split at blanks ('...' keeps them). The exit code. */
static int run(const char *line)
{
    char words[1024];
    char name[] = "failoverctl";
    char *argv[32] = {name};
    int argc = 1;
    int to[2], errors[2], status = 0;
    snprintf(words, sizeof words, "%s", line);
    for (char *at = words; *at != '\0' && argc < 31;) {
        bool quoted = *at == '\'';
        at += quoted ? 1 : 0;
        argv[argc++] = at;
        at += strcspn(at, quoted ? "'" : " ");
        if (*at != '\0') {
            *at++ = '\0';
        }
        at += strspn(at, " ");
    }
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(errors, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        be_failoverctl(argv, to[1], errors[1]);
    }
    close(to[1]);
    close(errors[1]);
    read_both((int[2]){to[0], errors[0]}, pid);
    close(to[0]);
    close(errors[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_on(const char *which, const char *line)
{
    char whole[1024];
    size_t len = 0;
    for (; *which != '\0'; which++) {
        len += (size_t)snprintf(whole + len, sizeof whole - len, "--socket %s ",
                                sockets[*which - '1']);
    }
    snprintf(whole + len, sizeof whole - len, "%s", line);
    return run(whole);
}

/* One that goes on: what it prints is read as it comes. */
struct following {
    pid_t pid;
    int to, errors;
    size_t len;
    size_t seen; /* up to where it was waited for */
};

static struct following follow(void)
{
    int to[2], errors[2];
    char name[] = "failoverctl", socket[] = "--socket", events[] = "events", option[] = "--follow";
    char *argv[] = {name, socket, sockets[1], socket, sockets[0], events, option, NULL};
    assert_int_equal(pipe2(to, O_CLOEXEC), 0);
    assert_int_equal(pipe2(errors, O_CLOEXEC), 0);
    struct following following = {.pid = fork(), .to = to[0], .errors = errors[0]};
    assert_true(following.pid >= 0);
    if (following.pid == 0) {
        be_failoverctl(argv, to[1], errors[1]);
    }
    close(to[1]);
    close(errors[1]);
    out[0] = '\0';
    return following;
}

static void follow_until(struct following *following, const char *part)
{
    uint64_t until_ms = clock_now_ms() + WITHIN_MS;
    const char *found;
    while ((found = strstr(out + following->seen, part)) == NULL) {
        struct pollfd readable = {.fd = following->to, .events = POLLIN};
        if (poll(&readable, 1, 1000) > 0) {
            ssize_t got =
                read(following->to, out + following->len, OUTPUT_MAX - 1 - following->len);
            assert_true(got > 0);
            following->len += (size_t)got;
            out[following->len] = '\0';
        }
        if (clock_now_ms() >= until_ms) {
            kill(following->pid, SIGKILL);
            waitpid(following->pid, NULL, 0);
            fail_msg("\"%s\" does not come; what came: %s", part, out);
        }
    }
    following->seen = (size_t)(found - out) + strlen(part);
}

static void follow_no_more(struct following *following)
{
    kill(following->pid, SIGTERM);
    waitpid(following->pid, NULL, 0);
    ssize_t got = read(following->errors, complaints, OUTPUT_MAX - 1);
    complaints[got < 0 ? 0 : got] = '\0';
    close(following->to);
    close(following->errors);
}

/* In this order, each once, and nothing else of the controllers' own. */
static void tells_just(const char *text, const char *const parts[])
{
    int told = 0;
    const char *at = text;
    while ((at = strstr(at, " tells ")) != NULL) {
        const char *word = at - strlen("ops1");
        if (parts[told] == NULL || strncmp(word, parts[told], strlen(parts[told])) != 0) {
            fail_msg("\"%.14s\" where \"%s\" should stand: %s", word,
                     parts[told] == NULL ? "the end" : parts[told], text);
            return; /* so that the analyser sees the end of the list */
        }
        told++;
        at++;
    }
    if (parts[told] != NULL) {
        fail_msg("\"%s\" is not in: %s", parts[told], text);
    }
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in: %s", part, text);
    }
}

static void begins(const char *text, const char *part)
{
    if (strncmp(text, part, strlen(part)) != 0) {
        fail_msg("does not begin with \"%s\": %s", part, text);
    }
}

static void write_file(const char *name, const char *text, char ret_path[80])
{
    snprintf(ret_path, 80, "%s/%s", dir, name);
    FILE *file = fopen(ret_path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    (void)state;
    static const char *const variables[] = {"FAILOVER_SOCKET", "FAILOVER_URL", "FAILOVER_CA",
                                            "FAILOVER_CERT", "FAILOVER_KEY"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        unsetenv(variables[i]);
    }
    memset(ports, 0, sizeof ports);
    snprintf(dir, sizeof dir, "/tmp/test_ctl.XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < CONTROLLERS; i++) {
        snprintf(sockets[i], sizeof sockets[i], "%s/ops%d", dir, i + 1);
    }
    out = malloc(OUTPUT_MAX);
    complaints = malloc(OUTPUT_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    static const char *const names[] = {"ops1", "ops2", "cluster.yaml"};
    for (int i = 0; i < CONTROLLERS; i++) {
        stop_controller(i);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    free(out);
    free(complaints);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* ---- without a controller ---- */

static void the_version_and_the_help_need_no_controller(void **state)
{
    (void)state;
    assert_int_equal(run("--version"), CTL_DONE);
    assert_string_equal(out, "failoverctl " FAILOVER_VERSION "\n");
    assert_int_equal(run("help"), CTL_DONE);
    has(out, "Exit codes:");
    assert_int_equal(run("--help"), CTL_DONE);
    assert_int_equal(run(""), CTL_USAGE);
    assert_string_equal(out, "");
}

static void every_command_explains_itself_with_an_example(void **state)
{
    (void)state;
    static const char *const names[] = {
        "status",         "check",    "apply",  "config",   "pause",     "resume",
        "confirm-fenced", "failover", "events", "rules",    "setup-sql", "incident",
        "request",        "explain",  "plan",   "workflow", "alarms"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char line[64];
        char example[64];
        snprintf(line, sizeof line, "help %s", names[i]);
        assert_int_equal(run(line), CTL_DONE);
        snprintf(example, sizeof example, "\n  failoverctl %s", names[i]);
        has(out, example);
        char *first = strdup(out);
        snprintf(line, sizeof line, "%s --help", names[i]);
        assert_int_equal(run(line), CTL_DONE);
        assert_string_equal(out, first);
        free(first);
    }
}

static void what_is_not_understood_is_named_with_what_was_meant(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *says;
    } bad[] = {
        {"stauts", "did you mean \"status\"?"},
        {"status --jsn", "did you mean \"--json\"?"},
        {"status --reason x", "status takes no --reason"},
        {"status now", "unexpected argument \"now\""},
        {"--wath status", "unknown option \"--wath\""},
        {"check", "check needs an argument"},
        {"pause shop", "needs --reason"},
        {"pause shop --reason", "--reason needs a value"},
        {"pause shop --reason ' '", "blank"},
        {"pause shop --reason a --reason b", "given twice"},
        {"failover --reason x", "needs a GROUP or --database"},
        {"failover shop --reason x --accept-loss lots", "--accept-loss: found \"lots\""},
        {"failover shop --reason x --accept-loss 1Q", "--accept-loss: found \"1Q\""},
        {"request 'no id'", "is no id"},
        {"request tell req-0000000000000000", "allowed are show and wait"},
        {"explain", "needs a GROUP or --database"},
        {"explain 'a group'", "is no name of a group"},
        {"plan switchover shop", "allowed is failover"},
        {"plan failover", "needs a GROUP or --database"},
        {"workflow retry", "workflow needs an argument"},
        {"workflow retry shop", "needs --reason"},
        {"workflow undo shop --reason x", "allowed are show, retry, skip and abandon"},
        {"alarms ack", "alarms ack KEY"},
        {"alarms shop ask parked.payments", "alarms ack KEY"},
        {"alarms ack parked.payments", "needs --reason"},
        {"config rollback --reason x", "needs the number of a version"},
        {"config rollback 1", "needs --reason"},
        {"config diff last", "found version \"last\""},
        {"config histroy", "allowed are show, history, diff and rollback"},
        {"rules --format tabel", "allowed are table, dot and json"},
        {"incident shwo", "allowed are list and show"},
        {"events --since yesterday", "--since"},
        {"setup-sql", "needs the database's name"},
        {"help stauts", "did you mean \"status\"?"},
        {"apply /nonexistent", "--yes"},
        {"status --json=yes", "takes no value"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (run(bad[i].line) != CTL_USAGE) {
            fail_msg("\"%s\" is not refused as it must be: %s", bad[i].line, complaints);
        }
        has(complaints, bad[i].says);
        assert_string_equal(out, "");
    }
}

static void check_tells_a_good_definition_from_a_bad_one(void **state)
{
    (void)state;
    char path[80];
    char line[128];
    write_file("cluster.yaml", shop_yaml, path);
    snprintf(line, sizeof line, "check %s", path);
    assert_int_equal(run(line), CTL_DONE);
    has(out, "good: cluster shop");
    has(out, "profile default");
    has(out, "process dead, connections refused");
    has(out, "detect 1.500 s (refused for + interval)");
    has(out, "detect 2.500 s (fall x interval + deadline)");
    has(out, "payments, if its primary is there: A PERSON DECIDES: its node has no fencing level");
    has(out, "a majority of etcd's members at other sites");
    has(out, "warning: database payments: its sync entry waits for every one of its standbys");
    assert_int_equal(run("check /nonexistent --live"), CTL_USAGE);
    char local[80];
    char live[256];
    write_file("local.yaml", "id: ops1\n", local);
    snprintf(live, sizeof live, "check %s --live --local %s", path, local);
    assert_int_equal(run(live), CTL_USAGE); /* a local file with errors reaches nothing */
    has(complaints, "local.yaml");
    assert_int_equal(unlink(local), 0);
    write_file("cluster.yaml", "cluster: shop\nsits: {}\n", path);
    assert_int_equal(run(line), CTL_USAGE);
    has(complaints, ":2:1: error:");
    assert_int_equal(run("check /nonexistent"), CTL_USAGE);
    has(complaints, "/nonexistent");
}

static void rules_and_setup_sql_print_what_is_compiled_in(void **state)
{
    (void)state;
    assert_int_equal(run("rules --format json"), CTL_DONE);
    json_t *rules = json_loads(out, 0, NULL);
    assert_int_equal(json_array_size(rules), core_rules_len());
    json_decref(rules);
    assert_int_equal(run("rules"), CTL_DONE);
    has(out, core_rule(0).why);
    assert_int_equal(run("rules --format dot"), CTL_DONE);
    begins(out, "digraph");
    assert_int_equal(run("setup-sql payments --user watcher"), CTL_DONE);
    has(out, "watcher");
}

static void without_a_controller_the_exit_code_says_so(void **state)
{
    (void)state;
    assert_int_equal(run_on("12", "status"), CTL_UNREACHABLE);
    has(complaints, sockets[0]);
    has(complaints, sockets[1]);
    has(complaints, "is failoverd running here?");
    assert_int_equal(run_on("1", "pause shop --reason x"), CTL_UNREACHABLE);
    has(complaints, "nothing was changed");
}

/* ---- with controllers ---- */

static void status_begins_with_the_verdict(void **state)
{
    (void)state;
    start_controller(0, false);
    assert_int_equal(run_on("1", "status"), CTL_DONE);
    begins(out, "shop: all well: payments on pay-east (east)\n");
    has(out, "primary, writable");
    has(out, "0.3 s");
    assert_null(strchr(out, '\033')); /* no colours into a pipe */
    assert_int_equal(run_on("1", "status --json"), CTL_DONE);
    json_t *status = json_loads(out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(status, "schema")), 1);
    json_decref(status);
}

static void status_prefers_the_leader_and_passes_over_the_dead(void **state)
{
    (void)state;
    start_controller(0, false);
    start_controller(1, true);
    assert_int_equal(run_on("12", "status"), CTL_DONE);
    has(out, "as ops2 sees it");
    assert_int_equal(run_on("21", "status"), CTL_DONE);
    has(out, "as ops2 sees it");
    stop_controller(1); /* its socket stays behind */
    assert_int_equal(run_on("21", "status"), CTL_DONE);
    has(out, "as ops1 sees it");
    has(out, "it follows");
}

static void the_sockets_may_come_from_the_environment(void **state)
{
    (void)state;
    char list[160];
    start_controller(1, true);
    snprintf(list, sizeof list, "%s:%s", sockets[0], sockets[1]);
    setenv("FAILOVER_SOCKET", list, 1);
    assert_int_equal(run("status"), CTL_DONE);
    has(out, "as ops2 sees it");
}

static void a_request_ends_done_refused_or_unknown_and_the_exit_code_says_which(void **state)
{
    (void)state;
    start_controller(0, true);
    assert_int_equal(run_on("1", "failover shop --reason 'drill 12'"), CTL_DONE);
    has(out, "payments: fence pay-east, then promote");
    has(out, "done: it is so now");
    assert_int_equal(run_on("1", "failover shop --reason 'be refused'"), CTL_REFUSED);
    has(complaints, "refused, nothing was changed: pay-west lags by 99 MiB");
    assert_int_equal(run_on("1", "pause shop --reason 'say nothing' --timeout 1"), CTL_RUNNING);
    has(complaints, "ask again: failoverctl request req-");
    assert_int_equal(run_on("1", "pause shop --reason 'lose the write'"), CTL_REFUSED);
    has(complaints, "etcd refused it");
    assert_int_equal(run_on("1", "pause shp --reason works"), CTL_REFUSED);
    has(complaints, "no group is named \"shp\"");
    assert_int_equal(run_on("1", "failover --database orders --reason x"), CTL_USAGE);
    has(complaints, "no database is named \"orders\"");
    assert_int_equal(run_on("1", "confirm-fenced pay-east --reason 'power is off'"), CTL_DONE);
    assert_int_equal(run_on("1", "resume shop"), CTL_DONE);
}

static void an_id_can_be_asked_for_again(void **state)
{
    (void)state;
    char line[128];
    start_controller(0, true);
    assert_int_equal(run_on("1", "pause shop --reason works --no-wait"), CTL_RUNNING);
    begins(out, "req-");
    snprintf(line, sizeof line, "request %.*s", (int)strcspn(out, "\n"), out);
    assert_int_equal(run_on("1", line), CTL_DONE);
    has(out, "done: it is so now");
    assert_int_equal(run_on("1", "request req-0000000000000000"), CTL_RUNNING);
    has(complaints, "unknown");
}

static void an_outcome_can_be_shown_or_waited_for_and_the_exit_code_says_which(void **state)
{
    (void)state;
    char id[ID_SIZE];
    char line[128];
    start_controller(0, true);
    assert_int_equal(run_on("1", "pause shop --reason works --no-wait"), CTL_RUNNING);
    snprintf(id, sizeof id, "%.*s", (int)strcspn(out, "\n"), out);
    snprintf(line, sizeof line, "request wait %s", id);
    assert_int_equal(run_on("1", line), CTL_DONE);
    snprintf(line, sizeof line, "request show %s", id);
    assert_int_equal(run_on("1", line), CTL_DONE);
    has(out, "kind      pause");
    has(out, "done: it is so now");
    snprintf(line, sizeof line, "request show %s --json", id);
    assert_int_equal(run_on("1", line), CTL_DONE);
    assert_int_equal(run_on("1", "pause shop --reason 'be refused' --no-wait"), CTL_RUNNING);
    snprintf(id, sizeof id, "%.*s", (int)strcspn(out, "\n"), out);
    snprintf(line, sizeof line, "request wait %s", id);
    assert_int_equal(run_on("1", line), CTL_REFUSED);
    snprintf(line, sizeof line, "request show %s", id);
    assert_int_equal(run_on("1", line), CTL_REFUSED);
    assert_int_equal(run_on("1", "pause shop --reason 'say nothing' --no-wait"), CTL_RUNNING);
    snprintf(id, sizeof id, "%.*s", (int)strcspn(out, "\n"), out);
    snprintf(line, sizeof line, "request show %s", id);
    assert_int_equal(run_on("1", line), CTL_RUNNING);
    snprintf(line, sizeof line, "request wait %s --timeout 1", id);
    assert_int_equal(run_on("1", line), CTL_RUNNING);
    has(complaints, "ask again");
    stop_controller(0);
    assert_int_equal(run_on("1", line), CTL_RUNNING); /* unknown is not called failed */
    snprintf(line, sizeof line, "request show %s", id);
    assert_int_equal(run_on("1", line), CTL_UNREACHABLE);
}

static void explain_names_every_check_with_its_value_limit_and_age(void **state)
{
    (void)state;
    start_controller(0, false);
    start_controller(1, true);
    assert_int_equal(run_on("12", "explain shop"), CTL_DONE);
    has(out, "a person would be needed: ");
    has(out, "candidate pay-west");
    has(out, "witness ops2");
    has(out, "fewer than");
    has(out, "level person");
    has(out, "as ops2 sees it");
    assert_int_equal(run_on("1", "explain --database payments --json"), CTL_DONE);
    json_t *told = json_loads(out, 0, NULL);
    const json_t *db = json_array_get(json_object_get(told, "databases"), 0);
    assert_string_equal(json_string_value(json_object_get(db, "target")), "pay-west");
    assert_int_equal(json_array_size(json_object_get(db, "times")), LAPS);
    assert_true(json_array_size(json_object_get(db, "checks")) >= 12);
    json_decref(told);
    assert_int_equal(run_on("1", "explain shp"), CTL_USAGE);
    has(complaints, "no group is named \"shp\"");
}

static void a_plan_shows_steps_times_and_what_would_refuse_it(void **state)
{
    (void)state;
    start_controller(0, true);
    assert_int_equal(run_on("1", "plan failover shop --to pay-west"), CTL_REFUSED);
    has(out, "payments: fence pay-east, then promote pay-west");
    has(out, "person (operator)");
    has(out, "to timeline 2");
    has(out, "refused: payments: observing");
    assert_int_equal(run_on("1", "plan failover shop --to pay-north"), CTL_USAGE);
    has(complaints, "no node is named \"pay-north\"");
    assert_int_equal(run_on("1", "plan failover shop --json"), CTL_REFUSED);
    json_t *plan = json_loads(out, 0, NULL);
    assert_int_equal(strlen(json_string_value(json_object_get(plan, "hash"))), PLAN_HASH_SIZE - 1);
    assert_int_equal(json_array_size(json_object_get(plan, "steps")), 4);
    json_decref(plan);
}

static void a_waiting_step_and_an_alarm_are_shown_and_acted_upon(void **state)
{
    (void)state;
    with_trouble = true;
    start_controller(0, true);
    with_trouble = false;
    assert_int_equal(run_on("1", "workflow show shop"), CTL_DONE);
    has(out, "payments: parked");
    has(out, "[fence] > choose");
    has(out, "step fence has ended 5 leaders");
    assert_int_equal(run_on("1", "workflow retry shop --reason works"), CTL_DONE);
    assert_int_equal(run_on("1", "workflow skip shop --reason 'be refused'"), CTL_REFUSED);
    assert_int_equal(run_on("1", "workflow abandon shop --database payments --reason works"),
                     CTL_DONE);
    assert_int_equal(run_on("1", "workflow show shp"), CTL_USAGE);
    assert_int_equal(run_on("1", "alarms"), CTL_DONE);
    has(out, "parked.payments");
    has(out, "by ann: on my way");
    assert_int_equal(run_on("1", "alarms ack parked.payments --reason works"), CTL_DONE);
    assert_int_equal(run_on("1", "alarms ack fence.payments --reason works"), CTL_REFUSED);
    has(complaints, "there is no alarm \"fence.payments\"");
}

static void an_old_definition_is_listed_compared_and_stored_again(void **state)
{
    (void)state;
    char path[80];
    char line[128];
    char changed[sizeof shop_yaml + 32];
    start_controller(0, true);
    assert_int_equal(run_on("1", "config history"), CTL_REFUSED);
    write_file("cluster.yaml", shop_yaml, path);
    snprintf(line, sizeof line, "apply -y %s --reason 'the first'", path);
    assert_int_equal(run_on("1", line), CTL_DONE);
    snprintf(changed, sizeof changed, "%sprofile: fast\n", shop_yaml);
    write_file("cluster.yaml", changed, path);
    assert_int_equal(run_on("1", line), CTL_DONE);
    assert_int_equal(run_on("1", "config history"), CTL_DONE);
    has(out, "as tested");
    assert_int_equal(run_on("1", "config diff"), CTL_DONE);
    has(out, "profile");
    assert_int_equal(run_on("1", "config diff 2"), CTL_REFUSED);
    has(complaints, "kept are 0 (the stored one) to 1");
    assert_int_equal(run_on("1", "config rollback 1 --reason 'too fast'"), CTL_USAGE);
    has(complaints, "--yes");
    assert_int_equal(run_on("1", "config rollback 1 --reason 'too fast' --yes"), CTL_DONE);
    has(out, "stored as revision 42");
    assert_int_equal(run_on("1", "config show"), CTL_DONE);
    assert_string_equal(out, shop_yaml);
    assert_int_equal(run_on("1", "config diff 2"), CTL_DONE);
    has(out, "no difference");
}

static void a_request_goes_to_the_other_controller_when_one_is_dead(void **state)
{
    (void)state;
    start_controller(0, true);
    start_controller(1, true);
    stop_controller(0);
    assert_int_equal(run_on("12", "pause shop --reason works"), CTL_DONE);
    has(out, "done: it is so now");
}

static void apply_shows_the_difference_and_stores(void **state)
{
    (void)state;
    char path[80];
    char line[128];
    start_controller(0, true);
    write_file("cluster.yaml", shop_yaml, path);
    snprintf(line, sizeof line, "apply -y %s --reason 'the first'", path);
    assert_int_equal(run_on("1", line), CTL_DONE);
    has(out, "this is the first");
    has(out, "stored as revision 42");
    has(out, "ops1: runs it");
    assert_int_equal(run_on("1", line), CTL_DONE);
    has(out, "nothing to do");
    assert_int_equal(run_on("1", "config show"), CTL_DONE);
    assert_string_equal(out, shop_yaml);
    has(complaints, "revision 42");
    char changed[sizeof shop_yaml + 32];
    snprintf(changed, sizeof changed, "%sprofile: fast\n", shop_yaml);
    write_file("cluster.yaml", changed, path);
    assert_int_equal(run_on("1", line), CTL_DONE);
    has(out, "profile");
    has(out, "fast");
    write_file("cluster.yaml", "cluster: shop\n", path);
    assert_int_equal(run_on("1", line), CTL_USAGE);
    snprintf(line, sizeof line, "apply %s", path);
    assert_int_equal(run_on("1", line), CTL_USAGE);
    has(complaints, "--yes");
}

static void incidents_and_events_are_shown_for_people_and_programs(void **state)
{
    (void)state;
    start_controller(0, true);
    assert_int_equal(run_on("1", "incident list"), CTL_DONE);
    has(out, "20260921-141220-shop");
    assert_int_equal(run_on("1", "incident show"), CTL_DONE);
    has(out, "1.200 s");
    has(out, "not ended");
    has(out, "missed");
    has(out, "pay-east -> pay-west; evidence: agent power: off");
    assert_int_equal(run_on("1", "incident show latest --json"), CTL_DONE);
    json_t *incident = json_loads(out, 0, NULL);
    assert_true(json_is_object(json_object_get(incident, "laps_ms")));
    json_decref(incident);
    assert_int_equal(run_on("1", "incident show nothing-like-it"), CTL_REFUSED);
    assert_int_equal(run_on("1", "events"), CTL_DONE);
    has(out, "the first permit is recorded");
    assert_int_equal(run_on("1", "events --json"), CTL_DONE);
    has(out, "\"rule\":\"R-A2\"");
    assert_int_equal(run_on("1", "events --since 1"), CTL_DONE);
    has(complaints, "no events after 1");
}

static void events_come_from_the_leader_whichever_answers_first(void **state)
{
    (void)state;
    start_controller(0, false);
    start_controller(1, true);
    static const char *const orders[] = {"12", "21"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run_on(orders[i], "events"), CTL_DONE);
        tells_just(out, (const char *const[]){"ops2 tells 1", NULL});
        assert_string_equal(complaints, "");
    }
    assert_int_equal(run_on("1", "events"), CTL_DONE);
    tells_just(out, (const char *const[]){"ops1 tells 1", NULL});
    has(complaints, "events of ops1, which follows; the leader is ops2");
    assert_int_equal(run_on("12", "events --json"), CTL_DONE);
    has(out, "\"controller\":\"ops2\"");
    stop_controller(1);
    assert_int_equal(run_on("21", "events"), CTL_DONE);
    has(complaints, "events of ops1, which follows");
    stop_controller(0);
    assert_int_equal(run_on("21", "events"), CTL_UNREACHABLE);
    has(complaints, sockets[0]);
    has(complaints, sockets[1]);
}

static void following_events_goes_over_to_the_new_leader_and_loses_and_repeats_none(void **state)
{
    (void)state;
    start_controller(0, true);
    start_controller(1, false);
    struct following following = follow();
    follow_until(&following, "ops1 tells 1");
    kill(controllers[0], SIGUSR1);
    follow_until(&following, "ops1 tells 2");
    kill(controllers[0], SIGUSR2); /* the last that it tells as leader */
    kill(controllers[1], SIGUSR2);
    follow_until(&following, "ops2 tells 2");
    kill(controllers[1], SIGUSR1);
    follow_until(&following, "ops2 tells 3");
    stop_controller(1);
    start_controller(1, true); /* in its next life it counts from one again */
    follow_until(&following, "ops2 tells 1");
    kill(controllers[1], SIGUSR1);
    follow_until(&following, "ops2 tells 2");
    tells_just(out,
               (const char *const[]){"ops1 tells 1", "ops1 tells 2", "ops1 tells 3", "ops2 tells 2",
                                     "ops2 tells 3", "ops2 tells 1", "ops2 tells 2", NULL});
    follow_no_more(&following);
    has(complaints, "events of ops2, which leads");
}

/* ---- over HTTPS ---- */

static int make_certificates(void **state)
{
    (void)state;
    tls_begin();
    tls_make_ca("ca");
    tls_make_ca("other");
    tls_make("server", "ca", "/CN=ops", "serverAuth", 90);
    tls_make("ann", "ca", "/CN=ann", "clientAuth", 90);
    tls_make("grafana", "ca", "/CN=grafana", "clientAuth", 90);
    tls_make("bob", "other", "/CN=bob", "clientAuth", 90);
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    tls_end();
    return 0;
}

static void start_https(int index, bool leading)
{
    ports[index] = tls_free_port();
    start_controller(index, leading);
}

/* As somebody, at one controller or at both. */
static int run_as(const char *name, const char *which, const char *line)
{
    char whole[1024];
    int len = snprintf(whole, sizeof whole, "--ca %s/ca.pem --cert %s/%s.pem --key %s/%s.key ",
                       tls_dir, tls_dir, name, tls_dir, name);
    for (; *which != '\0'; which++) {
        len += snprintf(whole + len, sizeof whole - (size_t)len, "--url https://127.0.0.1:%d ",
                        ports[*which - '1']);
    }
    snprintf(whole + len, sizeof whole - (size_t)len, "%s", line);
    return run(whole);
}

static void over_https_an_operator_does_what_one_does_at_the_socket(void **state)
{
    (void)state;
    start_https(0, false);
    start_https(1, true);
    assert_int_equal(run_as("ann", "12", "status"), CTL_DONE);
    has(out, "as ops2 sees it");
    assert_int_equal(run_as("ann", "12", "events"), CTL_DONE);
    tells_just(out, (const char *const[]){"ops2 tells 1", NULL});
    assert_int_equal(run_as("ann", "1", "failover shop --reason 'drill 12'"), CTL_DONE);
    has(out, "done: it is so now");
    assert_int_equal(run_as("ann", "1", "failover shop --reason 'be refused'"), CTL_REFUSED);
    stop_controller(0);
    assert_int_equal(run_as("ann", "12", "pause shop --reason works"), CTL_DONE);
    assert_int_equal(run_as("grafana", "2", "status"), CTL_DONE);
    assert_int_equal(run_as("grafana", "2", "pause shop --reason works"), CTL_REFUSED);
    has(complaints, "is not for the role \"read\"");
    stop_controller(1);
    assert_int_equal(run_as("ann", "12", "status"), CTL_UNREACHABLE);
    has(complaints, "nobody listens there; is api.listen set");
}

static void a_certificate_that_is_not_taken_has_certainly_changed_nothing(void **state)
{
    (void)state;
    start_https(0, true);
    assert_int_equal(run_as("bob", "1", "pause shop --reason works"), CTL_UNREACHABLE);
    has(complaints, "nothing was changed");
    has(complaints, "not taken (its log says why): ");
    assert_int_equal(run_as("nobody", "1", "status"), CTL_USAGE);
    has(complaints, "nobody.pem: No such file");
    char line[256];
    snprintf(line, sizeof line, "--url https://127.0.0.1:%d status", ports[0]);
    assert_int_equal(run(line), CTL_USAGE);
    has(complaints, "a URL needs your certificate");
    static const char *const bad[] = {"http://127.0.0.1:1", "https://", "https://a:1/v1", "a:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "--url %s status", bad[i]);
        assert_int_equal(run(line), CTL_USAGE);
        has(complaints, "is no URL of a controller");
    }
    /* Another server's certificate is not taken for the controller's. */
    snprintf(line, sizeof line,
             "--url https://127.0.0.1:%d --ca %s/other.pem --cert %s/ann.pem --key %s/ann.key "
             "pause shop --reason works",
             ports[0], tls_dir, tls_dir, tls_dir);
    assert_int_equal(run(line), CTL_UNREACHABLE);
    has(complaints, "nothing was changed");
}

static void urls_and_certificates_may_come_from_the_environment(void **state)
{
    (void)state;
    char list[160];
    start_https(0, false);
    start_https(1, true);
    snprintf(list, sizeof list, "https://127.0.0.1:%d https://127.0.0.1:%d/", ports[0], ports[1]);
    setenv("FAILOVER_URL", list, 1);
    assert_int_equal(run("help"), CTL_DONE);
    assert_int_equal(run("status"), CTL_UNREACHABLE);
    has(complaints, "a URL needs your certificate");
    setenv("FAILOVER_CA", tls_path("ca.pem"), 1);
    setenv("FAILOVER_CERT", tls_path("ann.pem"), 1);
    setenv("FAILOVER_KEY", tls_path("ann.key"), 1);
    assert_int_equal(run("status"), CTL_DONE);
    has(out, "as ops2 sees it");
    setenv("FAILOVER_SOCKET", sockets[1], 1); /* both are tried */
    stop_controller(1);
    assert_int_equal(run("status"), CTL_DONE);
    has(out, "as ops1 sees it");
    assert_int_equal(run_on("1", "status"), CTL_DONE); /* what is given counts alone */
}

/* ---- the verdict, from any status ---- */

static const char *verdict(const char *json)
{
    static char text[VERDICT_SIZE];
    json_error_t error;
    json_t *group = json_loads(json, 0, &error);
    if (group == NULL) {
        fail_msg("%s: %s", error.text, json);
    }
    verdict_of_group(group, text);
    json_decref(group);
    return text;
}

#define DATABASE(writable, opinion, more)                                                              \
    "\"databases\":[{\"name\":\"payments\",\"primary\":\"pay-east\",\"site\":\"east\",\"words\":\"\"," \
    "\"durability\":\"sync\",\"writable\":" writable ",\"instances\":[{\"node\":\"pay-east\","         \
    "\"opinion\":\"" opinion "\",\"cause\":\"refused\",\"since_ms\":3000,\"age_ms\":100}]" more        \
    "}]"

static void the_verdict_puts_what_waits_for_a_person_first(void **state)
{
    (void)state;
    assert_string_equal(verdict("{" DATABASE("true", "up", "") "}"),
                        "all well: payments on pay-east (east)");
    assert_string_equal(verdict("{" DATABASE("false", "down", "") "}"),
                        "PRIMARY DOWN: payments on pay-east: refused, for 3.0 s");
    has(verdict("{" DATABASE("false", "up", "") "}"), "NOT VERIFIED: payments on pay-east");
    const char *waits = verdict("{" DATABASE(
        "false", "down",
        ",\"move\":{\"phase\":\"fence\",\"from\":\"pay-east\","
        "\"candidate\":null,\"planned\":\"pay-west\"}") ","
                                                        "\"alarms\":[{\"wakes\":false,\"text\":\"a\"},"
                                                        "{\"wakes\":true,\"text\":\"no proof that pay-east is off\","
                                                        "\"command\":\"failoverctl confirm-fenced pay-east --reason TEXT\"}]}");
    begins(waits, "WAITING FOR A PERSON: no proof that pay-east is off; run: failoverctl "
                  "confirm-fenced pay-east --reason TEXT");
    has(waits, "FAILING OVER: payments from pay-east to pay-west, in phase fence");
    begins(
        verdict("{" DATABASE("true", "up", "") ",\"paused\":{\"by\":\"ab\",\"reason\":\"works\"}}"),
        "PAUSED by ab: works");
    begins(verdict("{" DATABASE(
               "true", "up",
               "") ",\"routes\":[{\"name\":\"payments-db\","
                   "\"proxies\":[{\"name\":\"front1\",\"state\":\"differs\",\"error\":\"\"}]}]}"),
           "ROUTE: payments-db on front1: differs");
}

static void a_second_primary_is_never_well(void **state)
{
    (void)state;
    begins(
        verdict("{\"databases\":[{\"name\":\"payments\",\"primary\":\"pay-east\",\"writable\":true,"
                "\"instances\":[{\"node\":\"pay-east\",\"role\":\"primary\",\"opinion\":\"up\"},"
                "{\"node\":\"pay-west\",\"role\":\"primary\",\"opinion\":\"up\"}]}]}"),
        "A SECOND PRIMARY: payments on pay-west, while pay-east is the recorded one");
}

static void no_text_however_long_overfills_the_verdict(void **state)
{
    (void)state;
    char *json = malloc(20000);
    int len = snprintf(json, 20000, "{\"alarms\":[{\"wakes\":true,\"text\":\"");
    memset(json + len, 'x', 10000);
    snprintf(json + len + 10000, 64, "\",\"command\":\"run this\"}]}");
    assert_int_equal(strlen(verdict(json)), VERDICT_SIZE - 1);
    free(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_version_and_the_help_need_no_controller),
        TEST(every_command_explains_itself_with_an_example),
        TEST(what_is_not_understood_is_named_with_what_was_meant),
        TEST(check_tells_a_good_definition_from_a_bad_one),
        TEST(rules_and_setup_sql_print_what_is_compiled_in),
        TEST(without_a_controller_the_exit_code_says_so),
        TEST(status_begins_with_the_verdict),
        TEST(status_prefers_the_leader_and_passes_over_the_dead),
        TEST(the_sockets_may_come_from_the_environment),
        TEST(a_request_ends_done_refused_or_unknown_and_the_exit_code_says_which),
        TEST(an_id_can_be_asked_for_again),
        TEST(an_outcome_can_be_shown_or_waited_for_and_the_exit_code_says_which),
        TEST(explain_names_every_check_with_its_value_limit_and_age),
        TEST(a_plan_shows_steps_times_and_what_would_refuse_it),
        TEST(a_waiting_step_and_an_alarm_are_shown_and_acted_upon),
        TEST(an_old_definition_is_listed_compared_and_stored_again),
        TEST(a_request_goes_to_the_other_controller_when_one_is_dead),
        TEST(apply_shows_the_difference_and_stores),
        TEST(incidents_and_events_are_shown_for_people_and_programs),
        TEST(events_come_from_the_leader_whichever_answers_first),
        TEST(following_events_goes_over_to_the_new_leader_and_loses_and_repeats_none),
        TEST(over_https_an_operator_does_what_one_does_at_the_socket),
        TEST(a_certificate_that_is_not_taken_has_certainly_changed_nothing),
        TEST(urls_and_certificates_may_come_from_the_environment),
        TEST(the_verdict_puts_what_waits_for_a_person_first),
        TEST(a_second_primary_is_never_well),
        TEST(no_text_however_long_overfills_the_verdict),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
