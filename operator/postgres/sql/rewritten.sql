-- Tables of this snapshot whose file is another one by now: emptied by TRUNCATE, or rewritten. An
-- older snapshot sees no rows in the new file.
SELECT format('%I.%I', n.nspname, c.relname)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm')
   AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
   AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
 ORDER BY 1
