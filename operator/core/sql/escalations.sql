-- How a role could get more than the catalog shows it to have, one row for each path: role, why, what.
--
-- Superusers and predefined roles are left out as roles, not as goals. Needs no privilege beyond CONNECT; search_path must be pg_catalog.
WITH role AS MATERIALIZED (
  SELECT * FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper
), reach AS (
  -- From 16 on a membership may come without SET.
  SELECT CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END AS mode
)
SELECT r.rolname::text AS role, 'attribute' AS why, a AS what
  FROM role r CROSS JOIN LATERAL unnest(ARRAY[
         CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
         CASE WHEN rolbypassrls THEN 'BYPASSRLS' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END]) a
 WHERE a IS NOT NULL
UNION ALL
SELECT r.rolname, 'reaches superuser', g.rolname
  FROM role r CROSS JOIN reach JOIN pg_roles g ON g.rolsuper AND pg_has_role(r.oid, g.oid, reach.mode)
UNION ALL
SELECT r.rolname, 'predefined role', g.rolname
  FROM role r JOIN pg_roles g ON g.rolname ~ '^pg_' AND g.rolname <> 'pg_database_owner' AND pg_has_role(r.oid, g.oid, 'MEMBER')
UNION ALL
SELECT m.rolname, 'can re-grant (ADMIN)', g.rolname
  FROM pg_auth_members am JOIN role m ON m.oid = am.member JOIN pg_roles g ON g.oid = am.roleid
 WHERE am.admin_option
UNION ALL
SELECT r.rolname, 'SECURITY DEFINER as ' || o.rolname || CASE WHEN NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%') THEN ', search_path unpinned' ELSE '' END,
       p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner CROSS JOIN role r
 WHERE p.prosecdef AND p.oid >= 16384 AND o.oid <> r.oid AND has_function_privilege(r.oid, p.oid, 'EXECUTE') AND has_schema_privilege(r.oid, p.pronamespace, 'USAGE')
UNION ALL
SELECT r.rolname, 'built-in outside initdb baseline', p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid CROSS JOIN role r
 WHERE p.oid < 16384 AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
   AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) e WHERE e.grantee = 0 OR pg_has_role(r.oid, e.grantee, 'USAGE'))
UNION ALL
SELECT r.rolname, 'SET/ALTER SYSTEM on parameter', parname
  FROM pg_parameter_acl CROSS JOIN role r WHERE has_parameter_privilege(r.oid, parname, 'SET, ALTER SYSTEM')
UNION ALL
SELECT r.rolname, 'CREATE in schema', n.nspname
  FROM pg_namespace n CROSS JOIN role r WHERE n.nspname !~ '^pg_' AND n.nspowner <> r.oid AND has_schema_privilege(r.oid, n.oid, 'CREATE')
UNION ALL
SELECT r.rolname, 'owner bypasses RLS (not FORCEd)', c.oid::regclass::text
  FROM pg_class c JOIN role r ON pg_has_role(r.oid, c.relowner, 'USAGE') WHERE c.relrowsecurity AND NOT c.relforcerowsecurity
UNION ALL
SELECT r.rolname, 'reads secrets in catalog', c
  FROM unnest(ARRAY['pg_authid.rolpassword', 'pg_user_mapping.umoptions', 'pg_subscription.subconninfo']) c CROSS JOIN role r
 WHERE has_column_privilege(r.oid, 'pg_catalog.' || split_part(c, '.', 1), split_part(c, '.', 2), 'SELECT')
UNION ALL
SELECT r.rolname, 'system catalog write', c.oid::regclass::text
  FROM pg_class c CROSS JOIN role r
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r' AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE')
