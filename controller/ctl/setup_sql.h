/*
 * setup_sql.h - the SQL that a database needs before failoverd can watch and promote it.
 *
 * The text is a psql script: the role with pg_monitor and pg_promote(), the schema and heartbeat
 * table, and the grants on them. Idempotent: it can be run again after an upgrade. Run it once per
 * database, on the primary, as a superuser; the standbys receive it by replication.
 */
#ifndef FAILOVER_CTL_SETUP_SQL_H
#define FAILOVER_CTL_SETUP_SQL_H

/* The caller frees the text. Role NULL: failoverd. The database is named in the usage comment and
 * in GRANT CONNECT. */
char *setup_sql_text(const char *role, const char *dbname);

#endif
