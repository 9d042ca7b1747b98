-- Rights of roles that no dump of a database carries, in the first five columns of privileges.sql:
-- attributes that are not the default, memberships, settings that decide rights in every database,
-- privileges on parameters.
--
-- A membership that several roles granted is one row: what counts is what all of them give
-- together.
-- Needs no privilege beyond CONNECT.
SELECT 'role_attr' AS class, rolname::text AS object, rolname::text AS grantee, a.name || '=' || a.value AS privilege, false AS grantable
  FROM pg_catalog.pg_roles CROSS JOIN LATERAL (VALUES
         ('SUPERUSER', rolsuper, false), ('INHERIT', rolinherit, true), ('CREATEDB', rolcreatedb, false), ('CREATEROLE', rolcreaterole, false),
         ('REPLICATION', rolreplication, false), ('BYPASSRLS', rolbypassrls, false)) a(name, value, usual)
 WHERE a.value <> a.usual AND rolname !~ '^pg_'
UNION ALL
-- Options of a membership exist from 16 on; through jsonb one text serves every version.
SELECT 'membership', g.rolname::text, m.rolname::text,
       'MEMBER INHERIT=' || bool_or(coalesce((pg_catalog.to_jsonb(am) ->> 'inherit_option')::bool, m.rolinherit))
         || ' SET=' || bool_or(coalesce((pg_catalog.to_jsonb(am) ->> 'set_option')::bool, true)),
       bool_or(am.admin_option)
  FROM pg_catalog.pg_auth_members am JOIN pg_catalog.pg_roles g ON g.oid = am.roleid JOIN pg_catalog.pg_roles m ON m.oid = am.member
 WHERE m.rolname !~ '^pg_'
 GROUP BY g.rolname, m.rolname
UNION ALL
-- Only these: the values of others may be secrets, and roles that never log in have no use for
-- them.
SELECT 'setting', 'cluster', coalesce(r.rolname::text, 'public'), c, false
  FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole CROSS JOIN LATERAL unnest(s.setconfig) c
 WHERE s.setdatabase = 0 AND split_part(c, '=', 1) IN ('role', 'row_security', 'session_replication_role', 'lo_compat_privileges')
UNION ALL
SELECT 'parameter', a.parname, CASE e.grantee WHEN 0 THEN 'public' ELSE r.rolname::text END, e.privilege_type, bool_or(e.is_grantable)
  FROM pg_catalog.pg_parameter_acl a CROSS JOIN LATERAL aclexplode(a.paracl) e LEFT JOIN pg_catalog.pg_roles r ON r.oid = e.grantee
 WHERE e.grantee <> 10
 GROUP BY 1, 2, 3, 4
