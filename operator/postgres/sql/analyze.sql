-- The statement that collects statistics of the database's own rows. ANALYZE of a table with a
-- foreign partition or child would ask another server.
WITH RECURSIVE above(oid) AS (
  SELECT i.inhparent FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind = 'f'
  UNION
  SELECT i.inhparent FROM pg_inherits i JOIN above ON above.oid = i.inhrelid
)
SELECT 'ANALYZE' || CASE WHEN EXISTS (SELECT FROM above) THEN
         ' ' || (SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ')
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT oid FROM above)) ELSE '' END
