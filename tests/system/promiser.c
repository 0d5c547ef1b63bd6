/*
 * promiser - a controller's /v1/promise for tests of failover-guard: HTTPS with client
 * certificates.
 *
 *   promiser PORT ADDRESS CERT KEY CA MODE-FILE
 *
 * The mode file says what it answers: `yes`, `no`, `silent` (no answer), `other` (a promise for
 * another question). Each question is a line of its standard output.
 */
#include <arpa/inet.h>
#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *mode_file;

struct call {
    char body[4096];
    size_t len;
};

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = calloc(1, 65536);
    if (file == NULL || text == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    size_t len = fread(text, 1, 65535, file);
    text[len] = '\0';
    (void)fclose(file);
    return text;
}

static enum MHD_Result reply(struct MHD_Connection *connection, int status, char *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result result = MHD_queue_response(connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer(struct MHD_Connection *connection, const char *body)
{
    char *mode = read_file(mode_file);
    mode[strcspn(mode, "\n")] = '\0';
    printf("%s %s\n", mode, body);
    (void)fflush(stdout);
    if (strcmp(mode, "silent") == 0) {
        free(mode);
        sleep(60); /* this connection's thread alone */
        return MHD_NO;
    }
    json_t *root = json_loads(body, 0, NULL);
    json_object_set_new(root, "promised", json_boolean(strcmp(mode, "no") != 0));
    json_object_set_new(root, "reason", json_string(strcmp(mode, "no") == 0 ? "revoked" : ""));
    if (strcmp(mode, "other") == 0) {
        json_object_set_new(root, "nonce", json_string("0123456789abcdef0123456789abcdef"));
    }
    free(mode);
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return reply(connection, 200, text != NULL ? text : strdup("{}"));
}

static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *data,
                              size_t *len, void **context)
{
    (void)arg;
    (void)version;
    struct call *call = *context;
    if (call == NULL) {
        *context = calloc(1, sizeof *call);
        return MHD_YES;
    }
    if (*len > 0) {
        size_t room = sizeof call->body - 1 - call->len;
        size_t take = *len < room ? *len : room;
        memcpy(call->body + call->len, data, take);
        call->len += take;
        *len = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/v1/promise") != 0 || strcmp(method, "POST") != 0) {
        return reply(connection, 405, strdup("{}"));
    }
    return answer(connection, call->body);
}

static void done(void *arg, struct MHD_Connection *connection, void **context,
                 enum MHD_RequestTerminationCode code)
{
    (void)arg;
    (void)connection;
    (void)code;
    free(*context);
    *context = NULL;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        (void)fprintf(stderr, "usage: promiser PORT ADDRESS CERT KEY CA MODE-FILE\n");
        return 2;
    }
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10))};
    inet_pton(AF_INET, argv[2], &address.sin_addr);
    mode_file = argv[6];
    char *cert = read_file(argv[3]), *key = read_file(argv[4]), *ca = read_file(argv[5]);
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            MHD_USE_TLS,
        0, NULL, NULL, handle, NULL, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
        MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_HTTPS_MEM_TRUST,
        ca, MHD_OPTION_NOTIFY_COMPLETED, done, NULL, MHD_OPTION_END);
    if (daemon == NULL) {
        (void)fprintf(stderr, "promiser: cannot serve\n");
        return EXIT_FAILURE;
    }
    for (;;) {
        pause();
    }
}
