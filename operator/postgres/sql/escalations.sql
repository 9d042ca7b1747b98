-- How a role could get more than the catalog shows it to have, one row for each path: role, why,
-- what.
--
-- A path that is open to PUBLIC is one row of the role `public`. Predefined roles are left out as
-- roles, not as goals; of a superuser only that it is one. Needs no privilege beyond CONNECT;
-- search_path must be pg_catalog.
WITH RECURSIVE role AS MATERIALIZED (
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
  -- PUBLIC first: a privilege that PUBLIC has is none of the single roles.
  SELECT 0::oid, 'public' UNION ALL SELECT oid, name FROM role
), powerful(oid, owner, name, how) AS MATERIALIZED (
  -- Routines that run with more than their caller's rights. A search_path that does not end in
  -- pg_temp lets the caller's temporary objects come first.
  SELECT p.oid, p.proowner, p.oid::regprocedure::text,
         'SECURITY DEFINER ' || coalesce('of extension ' || e.extname, 'as ' || o.rolname)
           || CASE WHEN EXISTS (SELECT FROM unnest(p.proconfig) c WHERE c ~ '^search_path=(.*[ ,])?"?pg_temp"?$') THEN '' ELSE ', search_path unpinned' END
    FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
    LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    LEFT JOIN pg_extension e ON e.oid = d.refobjid
   WHERE p.prosecdef AND p.oid >= 16384
  UNION ALL
  SELECT p.oid, p.proowner, p.oid::regprocedure::text, 'untrusted language ' || l.lanname
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND NOT l.lanpltrusted
   WHERE p.oid >= 16384 AND p.prokind <> 'a' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
), effect(relation, owner, events, clone, why, what) AS MATERIALIZED (
  -- What acts with other rights when a relation is written to. EXECUTE is not asked for when a
  -- trigger fires; a rule acts as the relation's owner.
  SELECT t.tgrelid, f.owner,
         array_remove(ARRAY[CASE WHEN t.tgtype & 4 <> 0 THEN 'INSERT' END, CASE WHEN t.tgtype & 8 <> 0 THEN 'DELETE' END,
                            CASE WHEN t.tgtype & 16 <> 0 THEN 'UPDATE' END, CASE WHEN t.tgtype & 32 <> 0 THEN 'TRUNCATE' END], NULL),
         t.tgparentid <> 0, 'trigger, ' || f.how, quote_ident(t.tgname) || ' on ' || t.tgrelid::regclass || ': ' || f.name
    FROM pg_trigger t JOIN powerful f ON f.oid = t.tgfoid WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
  UNION ALL
  SELECT w.ev_class, c.relowner, ARRAY[CASE w.ev_type WHEN '1' THEN 'SELECT' WHEN '2' THEN 'UPDATE' WHEN '3' THEN 'INSERT' ELSE 'DELETE' END],
         false, 'rule as ' || o.rolname, quote_ident(w.rulename) || ' on ' || w.ev_class::regclass
    FROM pg_rewrite w JOIN pg_class c ON c.oid = w.ev_class JOIN pg_roles o ON o.oid = c.relowner
   WHERE w.rulename <> '_RETURN' AND w.ev_enabled <> 'D' AND w.ev_action::text <> '<>' AND c.oid >= 16384
), leads(origin, target) AS MATERIALIZED (
  -- Writing to the one may write to the other: partitions and children, tables behind updatable
  -- views and behind rules, foreign keys with an action.
  SELECT inhparent, inhrelid FROM pg_inherits
  UNION ALL
  SELECT w.ev_class, d.refobjid
    FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> w.ev_class
   WHERE w.ev_class >= 16384 AND (w.rulename <> '_RETURN' OR pg_relation_is_updatable(w.ev_class, false) <> 0)
  UNION ALL
  SELECT confrelid, conrelid FROM pg_constraint WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
), reaching(origin, target) AS (
  SELECT l.origin, l.target FROM leads l WHERE l.target IN (SELECT relation FROM effect WHERE NOT clone)
  UNION
  SELECT l.origin, r.target FROM reaching r JOIN leads l ON l.target = r.origin
), started(owner, why, what, origin, events) AS (
  SELECT owner, why, what, relation, events FROM effect
  UNION ALL
  SELECT e.owner, e.why, e.what, r.origin, ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] FROM effect e JOIN reaching r ON r.target = e.relation AND NOT e.clone
), starter AS MATERIALIZED (
  SELECT DISTINCT s.why, s.what, s.owner, g.oid, g.name
    FROM started s CROSS JOIN grantee g CROSS JOIN unnest(s.events) event
   -- The role 0 is PUBLIC.
   WHERE g.oid <> s.owner
     AND CASE WHEN event IN ('DELETE', 'TRUNCATE') THEN has_table_privilege(g.oid, s.origin, event) ELSE has_any_column_privilege(g.oid, s.origin, event) END
)
SELECT name AS role, 'attribute' AS why, attribute AS what FROM attribute
UNION ALL
SELECT r.name, CASE a.attribute WHEN 'SUPERUSER' THEN 'reaches superuser' ELSE 'reaches ' || a.attribute END, a.name
  FROM reach r JOIN attribute a ON a.oid = r.goal
UNION ALL
SELECT r.name, 'predefined role', g.rolname
  FROM role r JOIN pg_roles g ON g.rolname ~ '^pg_' AND pg_has_role(r.oid, g.oid, 'MEMBER')
UNION ALL
SELECT r.name, 'can re-grant (ADMIN)', g.rolname
  FROM pg_auth_members am JOIN role r ON pg_has_role(r.oid, am.member, 'MEMBER') JOIN pg_roles g ON g.oid = am.roleid
 WHERE am.admin_option
UNION ALL
-- Without INHERIT the privileges of a role are not shown as the member's, and are one SET ROLE
-- away.
SELECT r.name, 'table privileges by SET ROLE', r.goal_name
  FROM reach r JOIN pg_roles g ON g.oid = r.goal AND NOT g.rolsuper AND g.rolname !~ '^pg_'
 WHERE NOT pg_has_role(r.role, r.goal, 'USAGE')
   AND EXISTS (
         SELECT FROM pg_class c CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
          WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.oid >= 16384 AND has_table_privilege(r.goal, c.oid, p) AND NOT has_table_privilege(r.role, c.oid, p))
UNION ALL
-- USAGE on the schema is not asked for: a view, a policy, a default or an operator may call it for
-- a role that could not name it.
SELECT g.name, f.how, f.name
  FROM powerful f CROSS JOIN grantee g
 WHERE f.owner <> g.oid AND has_function_privilege(g.oid, f.oid, 'EXECUTE') AND (g.oid = 0 OR NOT has_function_privilege(0, f.oid, 'EXECUTE'))
UNION ALL
-- An aggregate calls its functions in the name of its owner.
SELECT g.name, 'aggregate, ' || f.how, a.oid::regprocedure::text || ': ' || f.name
  FROM powerful f JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = f.oid AND d.classid = 'pg_proc'::regclass
  JOIN pg_proc a ON a.oid = d.objid AND a.prokind = 'a' CROSS JOIN grantee g
 WHERE f.owner <> g.oid AND has_function_privilege(g.oid, a.oid, 'EXECUTE') AND (g.oid = 0 OR NOT has_function_privilege(0, a.oid, 'EXECUTE'))
UNION ALL
SELECT s.name, s.why, s.what
  FROM starter s WHERE s.oid = 0 OR NOT EXISTS (SELECT FROM starter e WHERE e.oid = 0 AND e.why = s.why AND e.what = s.what)
UNION ALL
SELECT 'public', 'event trigger, ' || f.how, quote_ident(t.evtname) || ': ' || f.name
  FROM pg_event_trigger t JOIN powerful f ON f.oid = t.evtfoid WHERE t.evtenabled <> 'D'
UNION ALL
SELECT 'public', 'lo_compat_privileges is on', 'every large object' WHERE current_setting('lo_compat_privileges')::bool
UNION ALL
SELECT g.name, CASE WHEN p.oid < 16384 THEN 'built-in outside initdb baseline' ELSE 'extension function outside its initial privileges' END, p.oid::regprocedure::text
  FROM pg_proc p JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid CROSS JOIN grantee g
 WHERE NOT EXISTS (SELECT FROM aclexplode(i.initprivs) x WHERE x.grantee = 0 OR g.oid <> 0 AND pg_has_role(g.oid, x.grantee, 'USAGE'))
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
