-- The statements that read every sequence, each row as (name, value, called, start, increment,
-- cache, tables and leaf partitions of its column).
WITH s AS (
  SELECT format('%I.%I', n.nspname, c.relname) AS name, q.seqstart, q.seqincrement, q.seqcache,
         ARRAY(SELECT format('%I.%I', tn.nspname, t.relname)
                 FROM pg_depend d
                 LEFT JOIN LATERAL pg_partition_tree(d.refobjid) p ON p.isleaf
                 JOIN pg_class t ON t.oid = coalesce(p.relid, d.refobjid)
                 JOIN pg_namespace tn ON tn.oid = t.relnamespace
                WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) AS tables,
         (row_number() OVER (ORDER BY c.oid) - 1) / 100 AS part
    FROM pg_sequence q
    JOIN pg_class c ON c.oid = q.seqrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relpersistence <> 't'
)
SELECT string_agg(
         format('SELECT %L::text, last_value, is_called, %L::int8, %L::int8, %L::int8, %L::text[] FROM %s', name, seqstart, seqincrement, seqcache, tables, name),
         ' UNION ALL ')
  FROM s
 GROUP BY part
