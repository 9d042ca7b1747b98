-- The statements that count every table and leaf partition exactly: each row is one statement, each of its rows (table, rows).
-- A hundred tables a statement, so that ten thousand tables are a hundred round trips. ONLY, since the children of an inheritance parent
-- are counted on their own. On a standby unlogged tables cannot be read, and a dump has none of their rows.
WITH t AS (
  SELECT format('%I.%I', n.nspname, c.relname) AS name,
         c.relpersistence = 'u' AND pg_is_in_recovery() AS unreadable
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind = 'r'
     AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_'
     AND n.nspname <> 'information_schema'
     AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
          OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
), numbered AS (
  SELECT name, unreadable, row_number() OVER (ORDER BY name COLLATE "C") - 1 AS position FROM t
)
SELECT string_agg(
         CASE WHEN unreadable THEN format('SELECT %L, 0::bigint', name) ELSE format('SELECT %L, count(*) FROM ONLY %s', name, name) END,
         ' UNION ALL ' ORDER BY position)
  FROM numbered
 GROUP BY position / 100
 ORDER BY position / 100
