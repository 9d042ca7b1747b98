-- Every relation with a file of rows, as (name, file, version of its catalog entry, unlogged).
SELECT format('%I.%I', n.nspname, c.relname),
       concat(c.oid, '/', pg_relation_filenode(c.oid)),
       concat(c.xmin, '/', n.xmin),
       c.relpersistence = 'u'
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm')
   AND c.relpersistence <> 't'
   AND n.nspname !~ '^pg_'
   AND n.nspname <> 'information_schema'
