#include "controller/ctl/setup_sql.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * %1$s: the role, %2$s: the database, both quoted as identifiers; %3$s: the role as a string; %4$s:
 * the database as the operator wrote it. CREATE ROLE has no IF NOT EXISTS, so it is selected and
 * executed only when absent.
 */
static const char text[] =
    "-- What failoverd needs in the database %4$s: a role, a schema, a table and grants. It can be run again.\n"
    "-- Run it once per database, on the primary, as a superuser; standbys receive it by replication:\n"
    "--     failoverctl setup-sql %4$s | psql -X -d %4$s\n"
    "-- Then give the role a password that only the controllers know:  \\password %3$s\n"
    "-- and let the controllers' addresses in by pg_hba.conf (scram-sha-256) on every node.\n"
    "\\set ON_ERROR_STOP on\n"
    "BEGIN;\n"
    "SELECT 'CREATE ROLE ' || quote_ident(%3$s) || ' LOGIN'\n"
    "  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %3$s) \\gexec\n"
    "-- Reads: replication state, WAL receivers, what a session waits for, settings, names of WAL files.\n"
    "GRANT pg_monitor TO %1$s;\n"
    "GRANT CONNECT ON DATABASE %2$s TO %1$s;\n"
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_promote(boolean, integer) TO %1$s;\n"
    "-- Free for everybody by default; said here for servers where that was revoked.\n"
    "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system(), pg_catalog.pg_control_checkpoint(),\n"
    "  pg_catalog.pg_control_recovery() TO %1$s;\n"
    "-- One row per controller, overwritten by every probe: a write proves more than a read.\n"
    "CREATE SCHEMA IF NOT EXISTS failover;\n"
    "CREATE TABLE IF NOT EXISTS failover.heartbeat (\n"
    "  controller text PRIMARY KEY,\n"
    "  counter bigint NOT NULL,\n"
    "  written_at timestamptz NOT NULL\n"
    ") WITH (fillfactor = 20, autovacuum_vacuum_threshold = 1000);\n"
    "GRANT USAGE ON SCHEMA failover TO %1$s;\n"
    "GRANT SELECT, INSERT, UPDATE ON failover.heartbeat TO %1$s;\n"
    "COMMIT;\n";

/* `text` between two `quote`s, those inside doubled; to be freed. */
static char *quoted(const char *from, char quote)
{
    size_t len = 0;
    for (const char *c = from; *c != '\0'; c++) {
        len += *c == quote ? 2 : 1;
    }
    char *to = malloc(len + 3);
    assert(to != NULL);
    char *end = to;
    *end++ = quote;
    for (const char *c = from; *c != '\0'; c++) {
        if (*c == quote) {
            *end++ = quote;
        }
        *end++ = *c;
    }
    *end++ = quote;
    *end = '\0';
    return to;
}

char *setup_sql_text(const char *role, const char *dbname)
{
    const char *name = role != NULL ? role : "failoverd";
    char *role_ident = quoted(name, '"');
    char *role_string = quoted(name, '\'');
    char *dbname_ident = quoted(dbname, '"');
    char *sql = NULL;
    int len = asprintf(&sql, text, role_ident, dbname_ident, role_string, dbname);
    assert(len > 0);
    (void)len;
    free(role_ident);
    free(role_string);
    free(dbname_ident);
    return sql;
}
