/*
 * The local file: read by the same machinery as the definition; secrets only from files that are
 * closed to others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/cluster/local.h"

#define EXAMPLE FAILOVER_SOURCE "/deploy/example/local.yaml"

static const char good[] = "id: ops1\n"                                          /* 1 */
                           "cluster: shop\n"                                     /* 2 */
                           "etcd:\n"                                             /* 3 */
                           "  endpoints: [\"https://e1:2379\"]\n"                /* 4 */
                           "  ca: /etc/ca.pem\n"                                 /* 5 */
                           "  cert: /etc/cert.pem\n"                             /* 6 */
                           "  key: /etc/key.pem\n"                               /* 7 */
                           "  user: failoverd\n"                                 /* 8 */
                           "  password: store\n"                                 /* 9 */
                           "secrets: { store: /etc/store }\n"                    /* 10 */
                           "commands:\n"                                         /* 11 */
                           "  oncall: [/bin/page, --severity, critical, \"\"]\n" /* 12 */
                           "listen: { group: failover }\n"                       /* 13 */
                           "api:\n"                                              /* 14 */
                           "  listen: \"[2001:db8::1]:8443\"\n"                  /* 15 */
                           "  cert: /etc/api.pem\n"                              /* 16 */
                           "  key: /etc/api.key\n"                               /* 17 */
                           "  client_ca: /etc/clients.pem\n"                     /* 18 */
                           "  allow: { ann: operate, pay-east: guard }\n";       /* 19 */

struct fixture {
    struct local_config config;
    struct complaints complaints;
    char directory[32];
    char path[64];
};

static int make_fixture(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    strcpy(f->directory, "/tmp/test-local-XXXXXX");
    if (mkdtemp(f->directory) == NULL) {
        return -1;
    }
    snprintf(f->path, sizeof f->path, "%s/file", f->directory);
    return 0;
}

static int drop_fixture(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    rmdir(f->directory);
    free(f);
    return 0;
}

static void write_file(const struct fixture *f, const char *text, size_t len, mode_t mode)
{
    unlink(f->path);
    int fd = open(f->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, mode), 0); /* whatever the umask says */
    close(fd);
}

static char *printed(const struct complaints *complaints)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);
    complaints_print(to, "f", complaints);
    fclose(to);
    return text;
}

static void the_example_is_read(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    if (local_read_file(EXAMPLE, &f->config, &f->complaints, &err) != 0) {
        complaints_print(stderr, EXAMPLE, &f->complaints);
        fail_msg("%s", err.text);
    }
    const struct local_config *c = &f->config;
    assert_string_equal(c->id, "ops1");
    assert_string_equal(c->cluster, "shop");
    assert_int_equal(c->endpoints_len, 3);
    assert_string_equal(c->endpoints[2], "http://192.0.2.33:2379");
    assert_int_equal(c->secrets_len, 2);
    assert_string_equal(c->secrets[1].path, "/run/credentials/failoverd.service/secret_ipmi");
    const struct local_command_def *command = local_command(c, "oncall");
    assert_non_null(command);
    assert_int_equal(command->args_len, 3);
    assert_string_equal(command->args[2], "critical");
    assert_null(local_command(c, "cut"));
    assert_string_equal(c->socket, "/run/failover/failoverd.sock");
    assert_string_equal(c->socket_group, "failover");
    assert_string_equal(c->etcd_password, "");
}

/* It stands there behind "# ": what a data node's file has, its first lines and that section. */
static void the_guards_section_of_the_example_is_read(void **state)
{
    struct fixture *f = *state;
    char line[300], text[4096] = "";
    bool of_guard = false;
    FILE *file = fopen(EXAMPLE, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        of_guard = of_guard || strcmp(line, "# guard:\n") == 0;
        const char *kept = of_guard ? line + 2 : line;
        if (of_guard || strncmp(line, "id:", 3) == 0 || strncmp(line, "cluster:", 8) == 0 ||
            strncmp(line, "etcd:", 5) == 0 || strncmp(line, "  endpoints:", 12) == 0) {
            assert_true(strlen(text) + strlen(kept) < sizeof text);
            strcat(text, kept);
        }
    }
    fclose(file);
    if (local_read(text, strlen(text), &f->config, &f->complaints) != 0) {
        complaints_print(stderr, EXAMPLE, &f->complaints);
        fail_msg("the section cannot be read");
    }
    assert_string_equal(f->config.guard.node, "pay-east");
    assert_string_equal(f->config.guard.watchdog, "/dev/watchdog");
    assert_int_equal(f->config.guard.instances_len, 1);
    assert_string_equal(f->config.guard.instances[0].include_file,
                        "/etc/postgresql/15/main/failover.conf");
}

static void everything_that_can_be_set_is_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(local_read(good, strlen(good), &f->config, &f->complaints), 0);
    assert_int_equal(f->complaints.len, 0);
    assert_string_equal(f->config.etcd_ca, "/etc/ca.pem");
    assert_string_equal(f->config.etcd_cert, "/etc/cert.pem");
    assert_string_equal(f->config.etcd_key, "/etc/key.pem");
    assert_string_equal(f->config.etcd_user, "failoverd");
    assert_true(f->config.etcd_quota == UINT64_C(2) << 30); /* etcd's own default */
    assert_string_equal(f->config.etcd_password, "store");
    assert_int_equal(f->config.commands[0].args_len, 4);
    assert_string_equal(f->config.commands[0].args[3], "");
    assert_string_equal(f->config.api_listen, "[2001:db8::1]:8443");
    assert_string_equal(f->config.api_key, "/etc/api.key");
    assert_int_equal(local_allowed(&f->config, "ann")->role, ROLE_OPERATE);
    assert_int_equal(local_allowed(&f->config, "pay-east")->role, ROLE_GUARD);
    assert_null(local_allowed(&f->config, "bob"));
}

static void a_private_key_is_closed_to_others_and_a_certificate_need_not_be(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    char *text = NULL;
    write_file(f, "PEM\n", 4, 0644);
    assert_int_equal(local_pem(f->path, true, &text, &err), -1);
    assert_int_equal(err.code, ERR_REFUSED);
    assert_int_equal(local_pem(f->path, false, &text, &err), 0);
    assert_string_equal(text, "PEM\n");
    free(text);
    write_file(f, "PEM\n", 4, 0640);
    assert_int_equal(local_pem(f->path, true, &text, &err), 0);
    free(text);
    write_file(f, "P\0M", 3, 0600);
    assert_int_equal(local_pem(f->path, true, &text, &err), -1);
    assert_int_equal(truncate(f->path, 1 << 20), 0);
    assert_int_equal(local_pem(f->path, true, &text, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
}

/* clang-format off */
static void mistakes_are_told_with_their_places(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *from, *to, *said;
    } mistakes[] = {
        {"id: ops1\n", "",
         "f:1:1: error: id: missing; needed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters. This controller's name; another one than the other's.\n"},
        {"cluster: shop", "clustre: shop",
         "f:1:1: error: cluster: missing; needed is a name: a-z, 0-9, '.', '_', '-' inside, at most 63 characters. The cluster's name, as in its definition.\n"
         "f:2:1: error: clustre: unknown key; is \"cluster\" meant? Allowed are id, cluster, etcd, secrets, commands, listen, api, copy, guard\n"},
        {"[\"https://e1:2379\"]", "[]",
         "f:4:14: error: etcd.endpoints: found 0 entries, allowed are 1 to 8\n"
         "f:5:7: error: etcd.ca: certificates need https:// endpoints, and etcd.endpoints has none\n"},
        {"https://e1:2379", "http://e1:2379",
         "f:5:7: error: etcd.ca: certificates need https:// endpoints, and etcd.endpoints has none\n"},
        {"[\"https://e1:2379\"]", "[\"https://e1:2379\", \"https://e1:2379\"]",
         "f:4:3: error: etcd.endpoints: one endpoint stands here twice\n"},
        {"[\"https://e1:2379\"]", "e1",
         "f:4:14: error: etcd.endpoints: found \"e1\", allowed is a list of 1 to 8, each http:// or https://, a host, a port, a path; no user or password; at most 255 bytes\n"
         "f:5:7: error: etcd.ca: certificates need https:// endpoints, and etcd.endpoints has none\n"},
        {"  key: /etc/key.pem\n", "",
         "f:6:9: error: etcd.cert: etcd.key is missing; the two belong together\n"},
        {"  user: failoverd\n", "",
         "f:8:13: error: etcd.password: etcd.user is missing; the two belong together\n"},
        {"password: store", "password: stor",
         "f:9:13: error: etcd.password: \"stor\" is not one of secrets; is \"store\" meant?\n"},
        {"/etc/store", "etc/store",
         "f:10:19: error: secrets.store: found \"etc/store\", allowed is a path from /, at most 255 bytes\n"},
        {"[/bin/page,", "[page,",
         "f:12:12: error: commands.oncall[0]: found \"page\", allowed is the program's whole path: no PATH is searched\n"},
        {"oncall: [/bin/page, --severity, critical, \"\"]", "oncall: /bin/page",
         "f:12:11: error: commands.oncall: found \"/bin/page\", allowed is a list of 1 to 12, each one line of 0 to 255 bytes\n"},
        {"group: failover", "socket: run/x",
         "f:13:19: error: listen.socket: found \"run/x\", allowed is a path from /, at most 107 bytes\n"},
        {"  key: /etc/api.key\n", "",
         "f:15:11: error: api.listen: api.key is missing; the five keys of api belong together\n"},
        {"  listen: \"[2001:db8::1]:8443\"\n", "",
         "f:15:9: error: api.cert: api.listen is missing; the five keys of api belong together\n"},
        {"  allow: { ann: operate, pay-east: guard }\n", "",
         "f:15:11: error: api.listen: api.allow is missing; the five keys of api belong together\n"},
        {"[2001:db8::1]:8443", "/run/api",
         "f:15:11: error: api.listen: must be an address:port: it is told to clients\n"},
        {"[2001:db8::1]:8443", "0.0.0.0:8443",
         "f:15:11: error: api.listen: found \"0.0.0.0:8443\", allowed is address:port, [v6 address]:port, or a socket's path of at most 107 bytes\n"},
        {"ann: operate", "ann: operat",
         "f:19:17: error: api.allow.ann: found \"operat\", allowed is one of read, operate, guard\n"},
        {"ann: operate", "a1234567890123456789012345678901234567890123456789012345678: read",
         "f:19:12: error: api.allow.a1234567890123456789012345678901234567890123456789012345678: a certificate's name has at most 58 bytes here, this one has 59\n"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const char *at = strstr(good, mistakes[i].from);
        assert_non_null(at);
        char *text = NULL;
        assert_true(asprintf(&text, "%.*s%s%s", (int)(at - good), good, mistakes[i].to,
                             at + strlen(mistakes[i].from)) > 0);
        memset(&f->config, 0x5a, sizeof f->config);
        assert_int_equal(local_read(text, strlen(text), &f->config, &f->complaints), -1);
        char *lines = printed(&f->complaints);
        assert_string_equal(lines, mistakes[i].said);
        free(lines);
        free(text);
        const unsigned char *bytes = (const unsigned char *)&f->config;
        assert_true(bytes[0] == 0x5a && memcmp(bytes, bytes + 1, sizeof f->config - 1) == 0);
    }
}
/* clang-format on */

static void a_file_that_cannot_be_read_says_why(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    assert_int_equal(local_read_file(f->path, &f->config, &f->complaints, &err), -1);
    assert_int_equal(err.code, ERR_SYSTEM);
    assert_non_null(strstr(err.text, "No such file"));
    assert_int_equal(local_read_file(f->directory, &f->config, &f->complaints, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
    assert_non_null(strstr(err.text, "is no regular file"));
    write_file(f, "id: [\n", 6, 0644);
    assert_int_equal(local_read_file(f->path, &f->config, &f->complaints, &err), -1);
    assert_non_null(strstr(err.text, "1 errors"));
    assert_int_equal(f->complaints.errors, 1);
    write_file(f, "", 0, 0644);
    assert_int_equal(truncate(f->path, DEFINITION_TEXT_MAX + 1), 0);
    assert_int_equal(local_read_file(f->path, &f->config, &f->complaints, &err), -1);
    assert_int_equal(err.code, ERR_LIMIT);
    /* A FIFO without a writer does not hang. */
    unlink(f->path);
    assert_int_equal(mkfifo(f->path, 0600), 0);
    assert_int_equal(local_read_file(f->path, &f->config, &f->complaints, &err), -1);
    assert_int_equal(err.code, ERR_INVALID);
}

static void name_secret(struct fixture *f)
{
    f->config.secrets_len = 1;
    strcpy(f->config.secrets[0].name, "pw");
    snprintf(f->config.secrets[0].path, LOCAL_PATH_SIZE, "%s", f->path);
}

static void a_secret_is_its_file_without_the_last_newline(void **state)
{
    struct fixture *f = *state;
    name_secret(f);
    static const struct {
        const char *text, *secret;
    } good_ones[] = {
        {"hunter2\n", "hunter2"}, {"hunter2", "hunter2"},   {"a b\n\n", "a b\n"},
        {" x ", " x "},           {"caf\xe9\n", "caf\xe9"},
    };
    for (size_t i = 0; i < sizeof good_ones / sizeof *good_ones; i++) {
        char secret[SECRET_SIZE];
        struct err err = {0};
        write_file(f, good_ones[i].text, strlen(good_ones[i].text), i % 2 == 0 ? 0600 : 0440);
        if (local_secret(&f->config, "pw", secret, &err) != 0) {
            fail_msg("%s", err.text);
        }
        assert_string_equal(secret, good_ones[i].secret);
    }
    /* The longest. */
    char text[SECRET_SIZE + 1];
    char secret[SECRET_SIZE];
    memset(text, 'x', sizeof text);
    text[SECRET_SIZE - 1] = '\n';
    write_file(f, text, SECRET_SIZE, 0600);
    assert_int_equal(local_secret(&f->config, "pw", secret, NULL), 0);
    assert_int_equal(strlen(secret), SECRET_SIZE - 1);
}

static void expect_no_secret(struct fixture *f, enum err_code code, const char *said)
{
    char secret[SECRET_SIZE];
    memset(secret, 0x5a, sizeof secret);
    struct err err = {0};
    assert_int_equal(local_secret(&f->config, "pw", secret, &err), -1);
    assert_int_equal(err.code, code);
    if (strstr(err.text, said) == NULL || strstr(err.text, "secret pw: ") != err.text) {
        fail_msg("expected \"%s\", found \"%s\"", said, err.text);
    }
    assert_null(strstr(err.text, "hunter2"));
    assert_true(secret[0] == 0x5a && memcmp(secret, secret + 1, sizeof secret - 1) == 0);
}

static void a_secret_that_others_may_read_is_refused_with_the_mending_command(void **state)
{
    struct fixture *f = *state;
    name_secret(f);
    static const mode_t open_modes[] = {0604, 0602, 0601, 0644, 0666, 0620, 0777};
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        write_file(f, "hunter2\n", 8, open_modes[i]);
        expect_no_secret(f, ERR_REFUSED, "chmod 0600 /tmp/test-local-");
    }
}

static void a_secret_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    char secret[SECRET_SIZE];
    assert_int_equal(local_secret(&f->config, "pw", secret, &err), -1);
    assert_string_equal(err.text, "the secret \"pw\" is not in local.yaml");
    name_secret(f);
    expect_no_secret(f, ERR_SYSTEM, "No such file");
    write_file(f, "", 0, 0600);
    expect_no_secret(f, ERR_INVALID, "is empty");
    write_file(f, "\n", 1, 0600);
    expect_no_secret(f, ERR_INVALID, "is empty");
    write_file(f, "hunter2\0x", 9, 0600);
    expect_no_secret(f, ERR_INVALID, "holds a NUL byte");
    char text[SECRET_SIZE + 2];
    memset(text, 'x', sizeof text);
    write_file(f, text, SECRET_SIZE, 0600);
    expect_no_secret(f, ERR_LIMIT, "longer than");
    write_file(f, text, sizeof text, 0600);
    expect_no_secret(f, ERR_LIMIT, "longer than");
}

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void a_wounded_file_is_refused_whole_or_read_whole(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 5;
    size_t len = strlen(good);
    int read = 0;
    enum { TRIES = 4000 };
    for (int i = 0; i < TRIES; i++) {
        char *text = malloc(len);
        memcpy(text, good, len);
        static const char bytes[] = "{}[]:,-&*!|>'\"%@#? \n\t\x7f\xff";
        for (int w = i % 3; w >= 0; w--) {
            text[next_random(&seed) % len] = bytes[next_random(&seed) % sizeof bytes];
        }
        size_t text_len = i % 5 == 0 ? next_random(&seed) % len : len;
        struct local_config *c = &f->config;
        if (local_read(text, text_len, c, &f->complaints) == 0) {
            read++;
            assert_true(c->id[0] != '\0' && c->cluster[0] != '\0' && c->socket[0] == '/');
            assert_true(c->endpoints_len >= 1 && c->endpoints_len <= LOCAL_ENDPOINTS_MAX);
            for (int k = 0; k < c->commands_len; k++) {
                assert_true(c->commands[k].args_len >= 1 && c->commands[k].args[0][0] == '/');
            }
            assert_true((c->api_listen[0] == '\0') == (c->api_key[0] == '\0'));
            assert_true((c->api_listen[0] == '\0') == (c->api_allowed_len == 0));
            for (int k = 0; k < c->secrets_len; k++) {
                assert_true(c->secrets[k].name[0] != '\0' && c->secrets[k].path[0] == '/');
            }
        } else {
            assert_true(f->complaints.errors > 0 && f->complaints.len > 0);
        }
        free(text);
    }
    assert_true(read > TRIES / 40 && read < TRIES);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, drop_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_example_is_read),
        TEST(the_guards_section_of_the_example_is_read),
        TEST(everything_that_can_be_set_is_read),
        TEST(a_private_key_is_closed_to_others_and_a_certificate_need_not_be),
        TEST(mistakes_are_told_with_their_places),
        TEST(a_file_that_cannot_be_read_says_why),
        TEST(a_secret_is_its_file_without_the_last_newline),
        TEST(a_secret_that_others_may_read_is_refused_with_the_mending_command),
        TEST(a_secret_that_is_none_is_refused),
        TEST(a_wounded_file_is_refused_whole_or_read_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
