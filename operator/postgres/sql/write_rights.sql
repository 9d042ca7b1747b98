-- What this role may change, one text a right or object. A superuser may change everything, which
-- is one line.
WITH me AS (
  SELECT * FROM pg_roles WHERE rolname = current_user
), ordinary AS (
  SELECT NOT rolsuper AS yes FROM me
), may AS (
  SELECT 1 AS step, attribute AS name
    FROM me
    CROSS JOIN LATERAL unnest(ARRAY[
      CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
      CASE WHEN rolcreatedb THEN 'CREATEDB' END, CASE WHEN rolreplication THEN 'REPLICATION' END]) attribute
   WHERE attribute IS NOT NULL
  UNION ALL
  SELECT 2, 'member of ' || rolname FROM pg_roles, ordinary
   WHERE yes AND rolname IN ('pg_write_server_files', 'pg_execute_server_program') AND pg_has_role(oid, 'MEMBER')
  UNION ALL
  SELECT 3, concat_ws(', ', CASE WHEN has_database_privilege(oid, 'CREATE') THEN 'CREATE' END, CASE WHEN has_database_privilege(oid, 'TEMPORARY') THEN 'TEMPORARY' END) || ' on the database'
    FROM pg_database, ordinary
   WHERE yes AND datname = current_database() AND has_database_privilege(oid, 'CREATE, TEMPORARY')
  UNION ALL
  SELECT 4, format('CREATE on schema %I', nspname) FROM pg_namespace, ordinary
   WHERE yes AND nspname !~ '^pg_' AND has_schema_privilege(oid, 'CREATE')
  UNION ALL
  SELECT 5, format('%s on %I.%I', rights, n.nspname, c.relname)
    FROM ordinary, pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
      SELECT nullif(concat_ws(', ',
        CASE WHEN has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
        CASE WHEN has_table_privilege(c.oid, 'UPDATE') OR has_any_column_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
        CASE WHEN has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END,
        CASE WHEN has_table_privilege(c.oid, 'TRUNCATE') THEN 'TRUNCATE' END), '') AS rights) r
   WHERE yes AND c.relkind IN ('r', 'p', 'v', 'f') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND rights IS NOT NULL
  UNION ALL
  SELECT 6, format('USAGE or UPDATE on sequence %I.%I', n.nspname, c.relname)
    FROM ordinary, pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE yes AND c.relpersistence <> 't' AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE, UPDATE') END
)
SELECT name FROM may ORDER BY step, name
