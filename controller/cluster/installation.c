#include "controller/cluster/installation.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/utf8.h"
#include "controller/cluster/records_json.h"

#define TEXT_MAX 4096

void installation_read(struct json_in *in, const json_t *object, struct installation *ret)
{
    memset(ret, 0, sizeof *ret);
    json_text(in, object, "id", ret->id, sizeof ret->id);
    ret->cluster_id = json_u64(in, object, "etcd_cluster_id");
    ret->incarnation = json_u64_or(in, object, "incarnation", 1);
    ret->rescued_wall_ms = json_i64_or(in, object, "rescued_wall_ms", 0, INT64_MAX, 0);
    json_text_or(in, object, "rescued_by", ret->rescued_by, sizeof ret->rescued_by, "");
    json_text_or(in, object, "reason", ret->reason, sizeof ret->reason, "");
    if (json_in_ok(in) && ret->id[0] == '\0') {
        json_in_fail(in, "id", "is empty");
    }
    if (json_in_ok(in) && (ret->incarnation == 0 || ret->incarnation > INT64_MAX)) {
        json_in_fail(in, "incarnation", "incarnations count from 1");
    }
}

int installation_decode(const char *text, size_t len, struct installation *ret, struct err *ret_err)
{
    struct json_in in;
    struct installation read;
    json_t *root = json_parse(text, len, TEXT_MAX, ret_err);
    if (root == NULL) {
        return err_prefix(ret_err, "installation");
    }
    json_in_init(&in, "installation");
    record_schema(&in, root);
    installation_read(&in, root, &read);
    json_decref(root);
    if (json_in_done(&in, ret_err) < 0) {
        return -1;
    }
    *ret = read;
    return 0;
}

/* The cluster's id as text: it uses all 64 bits, which most tools for JSON do not keep. */
json_t *installation_json(const struct installation *installation)
{
    char cluster[24];
    snprintf(cluster, sizeof cluster, "%" PRIu64, installation->cluster_id);
    json_t *object =
        json_pack("{s:i, s:s, s:s, s:I}", "schema", RECORD_SCHEMA, "id", installation->id,
                  "etcd_cluster_id", cluster, "incarnation", (json_int_t)installation->incarnation);
    if (object != NULL && installation->rescued_wall_ms != 0) {
        char by[NAME_SIZE], reason[REASON_SIZE];
        snprintf(by, sizeof by, "%s", installation->rescued_by);
        snprintf(reason, sizeof reason, "%s", installation->reason);
        utf8_mend(by);
        utf8_mend(reason);
        json_object_set_new(object, "rescued_wall_ms", json_integer(installation->rescued_wall_ms));
        json_object_set_new(object, "rescued_by", json_string(by));
        json_object_set_new(object, "reason", json_string(reason));
    }
    return object;
}

char *installation_encode(const struct installation *installation, size_t *ret_len)
{
    json_t *object = installation_json(installation);
    char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text != NULL) {
        *ret_len = strlen(text);
    }
    return text;
}

bool installation_is_rescued(const struct installation *known, const struct installation *seen,
                             uint64_t cluster_id)
{
    return (known->id[0] == '\0' || strcmp(known->id, seen->id) == 0) &&
           seen->cluster_id == cluster_id && cluster_id != 0 &&
           seen->incarnation > known->incarnation;
}
