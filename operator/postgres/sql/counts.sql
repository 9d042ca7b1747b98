-- The statements that count every table and leaf partition exactly, as (statement, table). Without
-- a table each row of a statement is (table, rows, written); with one the statement copies a column
-- of it, a line a row. The parameter is a transaction ID, or null: rows that it or a later
-- transaction wrote are `written`.
--
-- A statement locks its tables and all of their indexes until its transaction ends: about a hundred
-- locks. ONLY, since the children of an inheritance parent are counted on their own. On a standby
-- unlogged tables cannot be read, and a dump has none of their rows.
--
-- count(*) evaluates no index expression, but the planner simplifies the expressions and predicates
-- of all indexes and statistics of a table, and runs immutable functions on constants for that:
-- with the rights of the session, not the owner's. So tables with such code of their owner's are
-- copied, which is not planned. Policies are not run in a session of session.sql: row_security is
-- off.
WITH code AS MATERIALIZED (
  SELECT 'pg_class'::regclass AS classid, indexrelid AS objid, indrelid AS of FROM pg_index WHERE indexprs IS NOT NULL OR indpred IS NOT NULL
  UNION ALL
  SELECT 'pg_statistic_ext'::regclass, oid, stxrelid FROM pg_statistic_ext WHERE stxexprs IS NOT NULL
), owners AS MATERIALIZED (
  -- What is built in is no dependency. A domain may have a CHECK.
  SELECT c.of
    FROM code c
    JOIN pg_depend d ON d.classid = c.classid AND d.objid = c.objid
    LEFT JOIN pg_type y ON d.refclassid = 'pg_type'::regclass AND y.oid = d.refobjid
   WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) OR y.typtype = 'd'
), indexes AS MATERIALIZED (
  SELECT indrelid, count(*) AS number FROM pg_index GROUP BY indrelid
), t AS (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name,
         c.relpersistence = 'u' AND pg_is_in_recovery() AS unreadable,
         c.oid IN (SELECT of FROM owners) AS copied,
         1 + coalesce(i.number, 0) AS locks
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN indexes i ON i.indrelid = c.oid
   WHERE c.relkind = 'r'
     AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_'
     AND n.nspname <> 'information_schema'
     AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
          OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
), numbered AS (
  SELECT name, unreadable, (sum(locks) OVER (ORDER BY name COLLATE "C") - locks)::int8 / 100 AS part FROM t WHERE NOT copied OR unreadable
)
SELECT string_agg(
         CASE
           WHEN unreadable THEN format('SELECT %L, 0::bigint, NULL::bigint', name)
           WHEN $1::text IS NULL THEN format('SELECT %L, count(*), NULL::bigint FROM ONLY %s', name, name)
           ELSE format('SELECT %L, count(*), count(*) FILTER (WHERE age(xmin) <= age(%L::xid)) FROM ONLY %s', name, $1, name)
         END,
         ' UNION ALL ' ORDER BY name COLLATE "C") AS statement,
       NULL AS table
  FROM numbered
 GROUP BY part
UNION ALL
-- The shortest column.
SELECT format('COPY %s %s TO STDOUT', name,
         (SELECT format('(%I)', a.attname)
            FROM pg_attribute a
           WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
           ORDER BY a.attlen < 0, a.attlen, a.attnum
           LIMIT 1)),
       name
  FROM t
 WHERE copied AND NOT unreadable
