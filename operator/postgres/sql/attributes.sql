-- Every privilege that is no ACL entry, in the columns of privileges.sql: role attributes,
-- memberships, settings, default privileges, ownership, row-level security and its policies,
-- SECURITY DEFINER routines, view options, user mappings.
--
-- Objects of initdb are left out while they are owned by the bootstrap superuser (10). Default
-- privileges that are built in are spelled out, so that the loss of a pg_default_acl row is a
-- visible change.
-- Needs no privilege beyond CONNECT. search_path must be pg_catalog, so that names are qualified.
WITH version AS (SELECT current_setting('server_version_num')::int AS number)
SELECT 'role_attr' AS class, rolname::text AS object, rolname::text AS grantee, a.name || '=' || a.value AS privilege, false AS grantable, '+' AS sign, NULL::text[] AS grantors
  FROM pg_roles CROSS JOIN LATERAL (VALUES
         ('LOGIN', rolcanlogin::text), ('SUPERUSER', rolsuper::text), ('INHERIT', rolinherit::text), ('CREATEDB', rolcreatedb::text),
         ('CREATEROLE', rolcreaterole::text), ('REPLICATION', rolreplication::text), ('BYPASSRLS', rolbypassrls::text), ('CONNECTION LIMIT', rolconnlimit::text),
         ('VALID UNTIL', coalesce(to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'never'))) a(name, value)
 WHERE rolname !~ '^pg_'
UNION ALL
-- Options of a membership exist from 16 on; through jsonb one text serves every version.
SELECT 'membership', g.rolname::text, m.rolname::text,
       'MEMBER INHERIT=' || CASE WHEN v.number >= 160000 THEN (to_jsonb(am) ->> 'inherit_option') || ' SET=' || (to_jsonb(am) ->> 'set_option') ELSE m.rolinherit || ' SET=true' END,
       am.admin_option, '+', CASE WHEN v.number >= 160000 AND am.grantor <> 10 THEN ARRAY[(SELECT rolname::text FROM pg_roles WHERE oid = am.grantor)] END
  FROM pg_auth_members am JOIN pg_roles g ON g.oid = am.roleid JOIN pg_roles m ON m.oid = am.member CROSS JOIN version v
 WHERE m.rolname !~ '^pg_'
UNION ALL
SELECT 'setting', coalesce('db:' || d.datname, 'cluster'), coalesce(r.rolname::text, 'public'), c, false, '+', NULL
  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole CROSS JOIN LATERAL unnest(s.setconfig) c
 WHERE s.setdatabase = 0 OR d.datname = current_database()
UNION ALL
SELECT 'default_acl',
       quote_ident(r.rolname) || '/' || coalesce(quote_ident(n.nspname), '*') || '/'
         || CASE k.kind WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END,
       CASE e.grantee WHEN 0 THEN 'public' ELSE coalesce((SELECT rolname::text FROM pg_roles WHERE oid = e.grantee), 'oid:' || e.grantee) END,
       e.privilege_type, bool_or(e.is_grantable), '+', NULL
  FROM pg_roles r CROSS JOIN version v
  CROSS JOIN LATERAL unnest(ARRAY['r', 'S', 'f', 'T', 'n'] || CASE WHEN v.number >= 180000 THEN ARRAY['L'] ELSE '{}' END) k(kind)
  JOIN LATERAL (
    SELECT 0::oid AS namespace,
           coalesce((SELECT defaclacl FROM pg_default_acl WHERE defaclrole = r.oid AND defaclnamespace = 0 AND defaclobjtype = k.kind::"char"),
                    acldefault(CASE k.kind WHEN 'S' THEN 's' ELSE k.kind END::"char", r.oid)) AS acl
    UNION ALL
    SELECT defaclnamespace, defaclacl FROM pg_default_acl WHERE defaclrole = r.oid AND defaclnamespace <> 0 AND defaclobjtype = k.kind::"char") d ON true
  LEFT JOIN pg_namespace n ON n.oid = d.namespace
  CROSS JOIN LATERAL aclexplode(d.acl) e
 WHERE r.rolname !~ '^pg_' AND e.grantee <> r.oid
 GROUP BY 1, 2, 3, 4
UNION ALL
SELECT 'owner_' || CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'matview' WHEN 'f' THEN 'foreign_table' WHEN 'S' THEN 'sequence' ELSE 'table' END,
       format('%I.%I', n.nspname, c.relname), o.rolname::text, 'OWNER', false, '+', NULL
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND (c.oid >= 16384 OR c.relowner <> 10) AND c.relpersistence <> 't'
UNION ALL
SELECT 'owner_' || x.class, x.name, o.rolname::text, 'OWNER', false, '+', NULL
  FROM (
    SELECT CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS class, oid::regprocedure::text AS name, proowner AS owner FROM pg_proc WHERE oid >= 16384 OR proowner <> 10
    UNION ALL SELECT 'schema', quote_ident(nspname), nspowner FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp_|toast_temp_)'
    UNION ALL SELECT 'database', quote_ident(datname), datdba FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, format('%I.%I', n.nspname, t.typname), t.typowner
                FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
               WHERE (t.oid >= 16384 OR t.typowner <> 10) AND t.typtype <> 'm' AND t.typelem = 0 AND (t.typtype <> 'c' OR c.relkind = 'c')
    UNION ALL SELECT 'fdw', quote_ident(fdwname), fdwowner FROM pg_foreign_data_wrapper
    UNION ALL SELECT 'foreign_server', quote_ident(srvname), srvowner FROM pg_foreign_server
    UNION ALL SELECT 'tablespace', quote_ident(spcname), spcowner FROM pg_tablespace
    UNION ALL SELECT 'language', quote_ident(lanname), lanowner FROM pg_language WHERE oid >= 16384 OR lanowner <> 10
    UNION ALL SELECT 'large_object', oid::text, lomowner FROM pg_largeobject_metadata
    UNION ALL SELECT 'publication', quote_ident(pubname), pubowner FROM pg_publication
    UNION ALL SELECT 'subscription', quote_ident(subname), subowner FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL SELECT 'event_trigger', quote_ident(evtname), evtowner FROM pg_event_trigger) x
  JOIN pg_roles o ON o.oid = x.owner
UNION ALL
SELECT 'rls', c.oid::regclass::text, 'public', 'ENABLE=' || c.relrowsecurity || ' FORCE=' || c.relforcerowsecurity, false, '+', NULL
  FROM pg_class c WHERE c.relrowsecurity OR c.relforcerowsecurity
UNION ALL
SELECT 'policy', p.polrelid::regclass::text || '.' || quote_ident(p.polname), CASE r WHEN 0 THEN 'public' ELSE (SELECT rolname::text FROM pg_roles WHERE oid = r) END,
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, p.polcmd::text,
                 'USING ' || pg_get_expr(p.polqual, p.polrelid), 'CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid)), false, '+', NULL
  FROM pg_policy p CROSS JOIN LATERAL unnest(p.polroles) r
UNION ALL
SELECT 'secdef', p.oid::regprocedure::text, o.rolname::text,
       'SECURITY DEFINER search_path=' || coalesce((SELECT split_part(c, '=', 2) FROM unnest(p.proconfig) c WHERE c LIKE 'search_path=%'), 'UNPINNED')
         || ' md5=' || md5(pg_get_functiondef(p.oid)), false, '+', NULL
  FROM pg_proc p JOIN pg_roles o ON o.oid = p.proowner
 WHERE p.prosecdef AND p.oid >= 16384
UNION ALL
-- A view runs with the rights of its owner unless it is a security_invoker.
SELECT 'view_option', c.oid::regclass::text, 'public', unnest(c.reloptions), false, '+', NULL
  FROM pg_class c WHERE c.relkind = 'v' AND c.oid >= 16384 AND c.reloptions IS NOT NULL
UNION ALL
SELECT 'user_mapping', quote_ident(srvname), CASE umuser WHEN 0 THEN 'public' ELSE (SELECT rolname::text FROM pg_roles WHERE oid = umuser) END, 'MAPPING', false, '+', NULL
  FROM pg_user_mappings
