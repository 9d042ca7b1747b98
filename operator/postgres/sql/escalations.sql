-- How a role could get more than the catalog shows it to have, one row for each path: role, why, what.
--
-- A path that is open to everybody is one row of the role `public`. Predefined roles are left out as roles, not as goals; of a superuser only that it is
-- one. Needs no privilege beyond CONNECT; search_path must be pg_catalog.
WITH role AS MATERIALIZED (
  SELECT oid, rolname::text AS name FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper
), reach AS MATERIALIZED (
  -- Roles that a role can take on by SET ROLE. From 16 on a membership may come without SET.
  SELECT r.oid AS role, r.name, g.oid AS goal, g.rolname::text AS goal_name
    FROM role r JOIN pg_roles g ON g.oid <> r.oid
     AND pg_has_role(r.oid, g.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
), attribute AS (
  SELECT r.oid, r.rolname::text AS name, a AS attribute
    FROM pg_roles r CROSS JOIN LATERAL unnest(ARRAY[
           CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole AND NOT rolsuper THEN 'CREATEROLE' END,
           CASE WHEN rolreplication AND NOT rolsuper THEN 'REPLICATION' END, CASE WHEN rolbypassrls AND NOT rolsuper THEN 'BYPASSRLS' END,
           CASE WHEN rolcreatedb AND NOT rolsuper THEN 'CREATEDB' END]) a
   WHERE a IS NOT NULL AND r.rolname !~ '^pg_'
), grantee(oid, name) AS (
  -- Everybody first: a privilege that PUBLIC has is none of the single roles.
  SELECT 0::oid, 'public' UNION ALL SELECT oid, name FROM role
)
SELECT name AS role, 'attribute' AS why, attribute AS what FROM attribute
UNION ALL
SELECT r.name, CASE a.attribute WHEN 'SUPERUSER' THEN 'reaches superuser' ELSE 'reaches ' || a.attribute END, a.name
  FROM reach r JOIN attribute a ON a.oid = r.goal
UNION ALL
SELECT r.name, 'predefined role', g.rolname
  FROM role r JOIN pg_roles g ON g.rolname ~ '^pg_' AND g.rolname <> 'pg_database_owner' AND pg_has_role(r.oid, g.oid, 'MEMBER')
UNION ALL
SELECT r.name, 'can re-grant (ADMIN)', g.rolname
  FROM pg_auth_members am JOIN role r ON pg_has_role(r.oid, am.member, 'MEMBER') JOIN pg_roles g ON g.oid = am.roleid
 WHERE am.admin_option
UNION ALL
-- Without INHERIT the privileges of a role are not shown as the member's, and are one SET ROLE away.
SELECT r.name, 'table privileges by SET ROLE', r.goal_name
  FROM reach r JOIN pg_roles g ON g.oid = r.goal AND NOT g.rolsuper AND g.rolname !~ '^pg_'
 WHERE NOT pg_has_role(r.role, r.goal, 'USAGE')
   AND EXISTS (
         SELECT FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
          WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid >= 16384 AND has_table_privilege(r.goal, c.oid, p) AND NOT has_table_privilege(r.role, c.oid, p))
UNION ALL
SELECT g.name,
       'SECURITY DEFINER ' || coalesce('of extension ' || e.extname, 'as ' || o.rolname)
         || CASE WHEN NOT EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%') THEN ', search_path unpinned' ELSE '' END,
       p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
  LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid
  CROSS JOIN grantee g
 WHERE p.prosecdef AND p.oid >= 16384 AND o.oid <> g.oid
   AND CASE WHEN has_function_privilege('public', p.oid, 'EXECUTE') AND has_schema_privilege('public', p.pronamespace, 'USAGE') THEN g.oid = 0
            WHEN g.oid = 0 THEN false
            ELSE has_function_privilege(g.oid, p.oid, 'EXECUTE') AND has_schema_privilege(g.oid, p.pronamespace, 'USAGE') END
UNION ALL
SELECT g.name, 'built-in outside initdb baseline', p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid CROSS JOIN grantee g
 WHERE p.oid < 16384
   AND NOT EXISTS (SELECT FROM aclexplode(i.initprivs) x WHERE x.grantee = 0 OR g.oid <> 0 AND pg_has_role(g.oid, x.grantee, 'USAGE'))
   AND CASE WHEN has_function_privilege('public', p.oid, 'EXECUTE') THEN g.oid = 0
            WHEN g.oid = 0 THEN false
            ELSE has_function_privilege(g.oid, p.oid, 'EXECUTE') END
UNION ALL
SELECT g.name, 'SET/ALTER SYSTEM on parameter', a.parname
  FROM pg_parameter_acl a CROSS JOIN grantee g
 WHERE CASE WHEN has_parameter_privilege('public', a.parname, 'SET, ALTER SYSTEM') THEN g.oid = 0
            WHEN g.oid = 0 THEN false
            ELSE has_parameter_privilege(g.oid, a.parname, 'SET, ALTER SYSTEM') END
UNION ALL
SELECT g.name, 'CREATE in schema', n.nspname
  FROM pg_namespace n CROSS JOIN grantee g
 WHERE n.nspname !~ '^pg_' AND n.nspowner <> g.oid
   AND CASE WHEN has_schema_privilege('public', n.oid, 'CREATE') THEN g.oid = 0
            WHEN g.oid = 0 THEN false
            ELSE has_schema_privilege(g.oid, n.oid, 'CREATE') END
UNION ALL
SELECT r.name, 'owner bypasses RLS (not FORCEd)', c.oid::regclass::text
  FROM pg_class c JOIN role r ON pg_has_role(r.oid, c.relowner, 'USAGE') WHERE c.relrowsecurity AND NOT c.relforcerowsecurity
UNION ALL
SELECT g.name, 'reads secrets in catalog', s.relation || '.' || s.attribute
  FROM (VALUES ('pg_authid', 'rolpassword'), ('pg_user_mapping', 'umoptions'), ('pg_subscription', 'subconninfo')) s(relation, attribute) CROSS JOIN grantee g
 WHERE CASE WHEN has_column_privilege('public', 'pg_catalog.' || s.relation, s.attribute, 'SELECT') THEN g.oid = 0
            WHEN g.oid = 0 THEN false
            ELSE has_column_privilege(g.oid, 'pg_catalog.' || s.relation, s.attribute, 'SELECT') END
UNION ALL
SELECT g.name, 'system catalog write', c.oid::regclass::text
  FROM pg_class c CROSS JOIN grantee g
 WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind = 'r'
   AND CASE WHEN has_table_privilege('public', c.oid, 'INSERT, UPDATE, DELETE') THEN g.oid = 0
            WHEN g.oid = 0 THEN false
            ELSE has_table_privilege(g.oid, c.oid, 'INSERT, UPDATE, DELETE') END
