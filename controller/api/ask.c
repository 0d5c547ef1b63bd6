#include "controller/api/ask.h"

#include <stdio.h>
#include <string.h>

#include "controller/base/json.h"
#include "controller/base/utf8.h"

#define ID_LEN_MIN 8

bool ask_id_valid(const char *id)
{
    size_t len = strlen(id);
    return len >= ID_LEN_MIN && len < ID_SIZE &&
           strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

static void only_known(struct json_in *in, const json_t *body, const char *const known[])
{
    const char *key;
    json_t *value;
    if (!json_is_object(body)) {
        json_in_fail(in, NULL, "must be an object");
        return;
    }
    json_object_foreach((json_t *)body, key, value)
    {
        int i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0) {
            i++;
        }
        if (known[i] == NULL) {
            char allowed[256] = "";
            size_t len = 0;
            for (i = 0; known[i] != NULL && len < sizeof allowed; i++) {
                len += (size_t)snprintf(allowed + len, sizeof allowed - len, "%s%s",
                                        i > 0 ? ", " : "", known[i]);
            }
            json_in_fail(in, NULL, "unknown member \"%.40s\"; known are %s", key, allowed);
            return;
        }
    }
}

static void read_reason(struct json_in *in, const json_t *body, char ret_reason[REASON_SIZE])
{
    json_text(in, body, "reason", ret_reason, REASON_SIZE);
    if (!json_in_ok(in)) {
        return;
    }
    if (!utf8_is_line(ret_reason)) {
        json_in_fail(in, "reason", "must be one line without control characters");
    } else if (ret_reason[strspn(ret_reason, " ")] == '\0') {
        json_in_fail(in, "reason",
                     "is blank; say why, in words that help whoever reads the incident later");
    }
}

static void read_id(struct json_in *in, const json_t *body, char ret_id[ID_SIZE])
{
    json_text_or(in, body, "id", ret_id, ID_SIZE, "");
    if (json_in_ok(in) && ret_id[0] != '\0' && !ask_id_valid(ret_id)) {
        json_in_fail(in, "id", "must be %d to %d bytes of a-z, 0-9 and -", ID_LEN_MIN, ID_SIZE - 1);
    }
}

/* ---- requests ---- */

static void want(struct json_in *in, const char *key, const char *value, bool needed,
                 const char *kind)
{
    if (needed && value[0] == '\0') {
        json_in_fail(in, key, "is missing; %s needs it", kind);
    }
}

static void unwanted(struct json_in *in, const char *key, const char *value, const char *kind)
{
    if (value[0] != '\0') {
        json_in_fail(in, key, "%s takes none", kind);
    }
}

/* Which members each kind takes. */
static void check_members(struct json_in *in, const struct request_record *request)
{
    const char *kind = request_kind_names[request->kind];
    switch (request->kind) {
    case REQUEST_FAILOVER:
        if (request->group[0] == '\0' && request->database[0] == '\0') {
            json_in_fail(in, NULL, "failover needs \"group\" or \"database\"");
        }
        break;
    case REQUEST_PAUSE:
    case REQUEST_RESUME:
        want(in, "group", request->group, true, kind);
        unwanted(in, "database", request->database, kind);
        unwanted(in, "node", request->node, kind);
        break;
    case REQUEST_CONFIRM_FENCED:
        want(in, "node", request->node, true, kind);
        unwanted(in, "database", request->database, kind);
        unwanted(in, "group", request->group, kind);
        break;
    case REQUEST_WORKFLOW_RETRY:
    case REQUEST_WORKFLOW_SKIP:
    case REQUEST_WORKFLOW_ABANDON:
        if (request->group[0] == '\0' && request->database[0] == '\0') {
            json_in_fail(in, NULL, "%s needs \"group\" or \"database\"", kind);
        }
        unwanted(in, "node", request->node, kind);
        break;
    case REQUEST_ADOPT:
        want(in, "group", request->group, true, kind);
        unwanted(in, "node", request->node, kind);
        break;
    case REQUEST_ALARM_ACK:
        want(in, "group", request->group, true, kind);
        want(in, "alarm", request->alarm, true, kind);
        unwanted(in, "database", request->database, kind);
        unwanted(in, "node", request->node, kind);
        break;
    case REQUEST_KINDS: break;
    }
    if (request->kind != REQUEST_ALARM_ACK) {
        unwanted(in, "alarm", request->alarm, kind);
    }
    if (request->kind != REQUEST_FAILOVER) {
        unwanted(in, "plan", request->plan, kind);
        if (request->accept_loss_bytes != 0) {
            json_in_fail(in, "accept_loss_bytes", "%s takes none", kind);
        }
    } else if (request->plan[0] != '\0' &&
               (strlen(request->plan) != PLAN_HASH_SIZE - 1 ||
                strspn(request->plan, "0123456789abcdef") != PLAN_HASH_SIZE - 1)) {
        json_in_fail(in, "plan", "must be the %d digits that `failoverctl plan` shows",
                     PLAN_HASH_SIZE - 1);
    }
}

/* A database's group is filled in; the node of a failover must bear an instance. */
static void check_names(struct json_in *in, const struct definition *def,
                        struct request_record *request)
{
    int database = definition_database(def, request->database);
    int group = definition_group(def, request->group);
    int node = definition_node(def, request->node);
    if (request->group[0] != '\0' && group < 0) {
        json_in_fail(in, "group", "no group is named \"%s\"", request->group);
    } else if (request->database[0] != '\0' && database < 0) {
        json_in_fail(in, "database", "no database is named \"%s\"", request->database);
    } else if (request->node[0] != '\0' && node < 0) {
        json_in_fail(in, "node", "no node is named \"%s\"", request->node);
    } else if (group >= 0 && database >= 0 && def->databases[database].group != group) {
        json_in_fail(in, "database", "\"%s\" belongs to the group \"%s\", not to \"%s\"",
                     request->database, def->groups[def->databases[database].group].name,
                     request->group);
    } else if (request->kind == REQUEST_FAILOVER && node >= 0 && database >= 0 &&
               definition_instance(&def->databases[database], node) < 0) {
        json_in_fail(in, "node", "\"%s\" bears no instance of \"%s\"", request->node,
                     request->database);
    } else if (database >= 0 && group < 0) {
        memcpy(request->group, def->groups[def->databases[database].group].name,
               sizeof request->group);
    }
}

int ask_request(const json_t *body, const struct definition *def,
                struct request_record *ret_request, struct err *ret_err)
{
    static const char *const known[] = {"kind",  "id",     "group", "database",
                                        "node",  "reason", "plan",  "accept_loss_bytes",
                                        "alarm", NULL};
    struct request_record request = {.state = REQUEST_NEW};
    struct json_in in;
    json_in_init(&in, "request");
    only_known(&in, body, known);
    int kind = json_enum(&in, body, "kind", request_kind_names);
    read_id(&in, body, request.id);
    json_text_or(&in, body, "group", request.group, sizeof request.group, "");
    json_text_or(&in, body, "database", request.database, sizeof request.database, "");
    json_text_or(&in, body, "node", request.node, sizeof request.node, "");
    json_text_or(&in, body, "plan", request.plan, sizeof request.plan, "");
    json_text_or(&in, body, "alarm", request.alarm, sizeof request.alarm, "");
    read_reason(&in, body, request.reason);
    request.accept_loss_bytes = json_u64_or(&in, body, "accept_loss_bytes", 0);
    if (json_in_done(&in, ret_err) < 0) {
        return -1;
    }
    request.kind = (enum request_kind)kind;
    check_members(&in, &request);
    if (def == NULL) {
        json_in_fail(&in, NULL,
                     "no definition is stored yet; run: failoverctl apply FILE --reason TEXT");
    } else if (json_in_ok(&in)) {
        check_names(&in, def, &request);
    }
    if (json_in_done(&in, ret_err) < 0) {
        return -1;
    }
    *ret_request = request;
    return 0;
}

static bool take_name(struct json_in *in, const char *key, const char *value, char to[NAME_SIZE])
{
    if (value != NULL && strlen(value) >= NAME_SIZE) {
        json_in_fail(in, key, "has %zu bytes, at most %d are allowed", strlen(value),
                     NAME_SIZE - 1);
        return false;
    }
    (void)snprintf(to, NAME_SIZE, "%s", value == NULL ? "" : value);
    return true;
}

int ask_names(const struct definition *def, const char *group, const char *database,
              const char *node, struct request_record *ret_request, struct err *ret_err)
{
    struct request_record request = {.kind = REQUEST_FAILOVER};
    struct json_in in;
    json_in_init(&in, "query");
    if (def == NULL) {
        json_in_fail(&in, NULL,
                     "no definition is stored yet; run: failoverctl apply FILE --reason TEXT");
    } else if (take_name(&in, "group", group, request.group) &&
               take_name(&in, "database", database, request.database) &&
               take_name(&in, "to", node, request.node)) {
        check_members(&in, &request);
        if (json_in_ok(&in)) {
            check_names(&in, def, &request);
        }
    }
    if (json_in_done(&in, ret_err) < 0) {
        return -1;
    }
    *ret_request = request;
    return 0;
}

/* ---- the definition ---- */

int ask_config(const json_t *body, struct ask_config *ret_config, struct err *ret_err)
{
    static const char *const known[] = {"yaml", "reason", "id", "expected_revision", NULL};
    struct ask_config config = {0};
    struct json_in in;
    json_in_init(&in, "config");
    only_known(&in, body, known);
    read_id(&in, body, config.id);
    read_reason(&in, body, config.reason);
    config.expected_revision = json_i64_or(&in, body, "expected_revision", 0, INT64_MAX, -1);
    const json_t *yaml = json_object_get(body, "yaml");
    if (json_in_ok(&in) && !json_is_string(yaml)) {
        json_in_fail(&in, "yaml", "must be the definition's text");
    }
    if (json_in_done(&in, ret_err) < 0) {
        return -1;
    }
    config.yaml = json_string_value(yaml);
    config.yaml_len = json_string_length(yaml);
    *ret_config = config;
    return 0;
}

int ask_promise(const json_t *body, struct ask_promise *ret_ask, struct err *ret_err)
{
    static const char *const known[] = {"database", "node", "epoch", "boot", "nonce", NULL};
    struct ask_promise ask = {.nonce = ""};
    struct json_in in;
    json_in_init(&in, "promise");
    only_known(&in, body, known);
    json_text(&in, body, "database", ask.question.database, sizeof ask.question.database);
    json_text(&in, body, "node", ask.question.node, sizeof ask.question.node);
    json_text(&in, body, "boot", ask.question.boot, sizeof ask.question.boot);
    json_text(&in, body, "nonce", ask.nonce, sizeof ask.nonce);
    const json_t *epoch = json_object_at(&in, body, "epoch");
    json_enter(&in, "epoch");
    ask.question.epoch.incarnation = json_u64(&in, epoch, "incarnation");
    ask.question.epoch.counter = json_u64(&in, epoch, "counter");
    json_leave(&in);
    if (json_in_ok(&in) && (ask.question.boot[0] == '\0' || ask.nonce[0] == '\0')) {
        json_in_fail(&in, NULL, "names no boot, or no nonce: the answer would be worth nothing");
    }
    if (json_in_done(&in, ret_err) < 0) {
        return -1;
    }
    *ret_ask = ask;
    return 0;
}
