-- What a dump of the whole database needs and this role lacks: (statement that would give it,
-- rights in the statement), at most ten objects a statement. In the order in which they are needed:
-- a table is of no use without its schema. CASE, since the server may evaluate the parts of an AND
-- in any order, and refuses to look for a sequence's privilege on a table.
WITH extension_data AS (
  SELECT unnest(extconfig) AS oid FROM pg_extension
), dumped AS (
  SELECT c.oid, c.relkind, c.relrowsecurity, n.oid AS schema, n.nspname, format('%I.%I', n.nspname, c.relname) AS name
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'S')
     AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_'
     AND n.nspname <> 'information_schema'
     AND (c.oid IN (SELECT oid FROM extension_data)
          OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
), missing(step, privilege, class, object) AS (
  SELECT DISTINCT 1, 'USAGE', 'SCHEMA', quote_ident(nspname) FROM dumped WHERE NOT has_schema_privilege(schema, 'USAGE')
  UNION ALL
  SELECT 2, 'SELECT', 'TABLE', name FROM dumped WHERE relkind <> 'S' AND NOT has_table_privilege(oid, 'SELECT')
  UNION ALL
  SELECT 3, 'SELECT', 'SEQUENCE', name FROM dumped WHERE CASE WHEN relkind = 'S' THEN NOT has_sequence_privilege(oid, 'SELECT') END
  UNION ALL
  SELECT 4, 'SELECT', 'LARGE OBJECT', l.oid::text
    FROM pg_largeobject_metadata l
   WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
     AND NOT current_setting('lo_compat_privileges')::bool
     AND NOT pg_has_role(l.lomowner, 'USAGE')
     AND NOT EXISTS (SELECT FROM aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_has_role(a.grantee, 'USAGE')))
), numbered AS (
  SELECT *, (row_number() OVER (PARTITION BY step ORDER BY object) - 1) / 10 AS part FROM missing
)
SELECT statement, rights
  FROM (SELECT step, part, format('GRANT %s ON %s %s TO %I', privilege, class, string_agg(object, ', ' ORDER BY object), current_user) AS statement, count(*) AS rights
          FROM numbered
         GROUP BY step, part, privilege, class
        UNION ALL
        SELECT 5, 0, format('ALTER ROLE %I BYPASSRLS', current_user), 1
         WHERE EXISTS (SELECT FROM dumped WHERE relrowsecurity AND row_security_active(oid))) s
 ORDER BY step, part
