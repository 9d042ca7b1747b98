-- Every granted privilege of this database and of the cluster's shared objects, one row each.
--
-- Columns: class, object, grantee (`public` for PUBLIC), privilege, grantable, sign, grantors.
-- A missing ACL stands for acldefault(): PUBLIC's defaults are rows like any other. The owner is no
-- grantee (see attributes.sql).
-- Objects of initdb and of extensions are compared with their initial privileges: `+` is granted
-- beyond them, `-` is taken away from them; `-` is also what an owner has taken away from himself.
-- grantors: the roles beside the owner that granted it, else null.
-- Needs no privilege beyond CONNECT. search_path must be pg_catalog, so that names are qualified.
WITH object(class, classid, oid, subid, name, namespace, owner, acl, kind) AS (
  SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'matview' WHEN 'f' THEN 'foreign_table' WHEN 'S' THEN 'sequence' ELSE 'table' END,
         'pg_class'::regclass, c.oid, 0, format('%I.%I', n.nspname, c.relname), c.relnamespace, c.relowner, c.relacl,
         CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
  UNION ALL
  SELECT 'column', 'pg_class'::regclass, c.oid, a.attnum, format('%I.%I.%I', n.nspname, c.relname, a.attname), c.relnamespace, c.relowner, a.attacl, 'c'
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE a.attacl IS NOT NULL AND NOT a.attisdropped AND c.relpersistence <> 't'
  UNION ALL
  SELECT 'schema', 'pg_namespace'::regclass, oid, 0, quote_ident(nspname), oid, nspowner, nspacl, 'n'
    FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp_|toast_temp_)'
  UNION ALL
  SELECT 'database', 'pg_database'::regclass, oid, 0, quote_ident(datname), 0, datdba, datacl, 'd'
    FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, 'pg_proc'::regclass, oid, 0, oid::regprocedure::text, pronamespace, proowner, proacl, 'f'
    FROM pg_proc WHERE oid >= 16384 OR proacl IS NOT NULL
  UNION ALL
  SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, 'pg_type'::regclass, t.oid, 0, format('%I.%I', n.nspname, t.typname), t.typnamespace, t.typowner, t.typacl, 'T'
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
   WHERE (t.oid >= 16384 OR t.typacl IS NOT NULL)
     AND (t.typtype <> 'm' OR t.typacl IS NOT NULL)
     AND (t.typtype <> 'c' OR c.relkind = 'c' OR t.typacl IS NOT NULL)
     AND NOT (t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc)
  UNION ALL
  SELECT 'language', 'pg_language'::regclass, oid, 0, quote_ident(lanname), 0, lanowner, lanacl, 'l' FROM pg_language WHERE lanpltrusted
  UNION ALL
  SELECT 'tablespace', 'pg_tablespace'::regclass, oid, 0, quote_ident(spcname), 0, spcowner, spcacl, 't' FROM pg_tablespace
  UNION ALL
  SELECT 'large_object', 'pg_largeobject'::regclass, oid, 0, oid::text, 0, lomowner, lomacl, 'L' FROM pg_largeobject_metadata
  UNION ALL
  SELECT 'fdw', 'pg_foreign_data_wrapper'::regclass, oid, 0, quote_ident(fdwname), 0, fdwowner, fdwacl, 'F' FROM pg_foreign_data_wrapper
  UNION ALL
  SELECT 'foreign_server', 'pg_foreign_server'::regclass, oid, 0, quote_ident(srvname), 0, srvowner, srvacl, 'S' FROM pg_foreign_server
  UNION ALL
  SELECT 'parameter', 'pg_parameter_acl'::regclass, oid, 0, parname, 0, 10, paracl, 'p' FROM pg_parameter_acl
), compared(class, name, owner, acl, owner_default, initial) AS (
  SELECT o.class, o.name, o.owner, coalesce(o.acl, acldefault(o.kind::"char", o.owner)),
         -- Only when the owner lacks a part of what is his by default.
         CASE WHEN o.class NOT IN ('column', 'parameter')
               AND NOT o.acl @> (acldefault(o.kind::"char", o.owner))[cardinality(acldefault(o.kind::"char", o.owner))]
              THEN acldefault(o.kind::"char", o.owner) END,
         CASE WHEN o.class = 'column' OR i.initprivs IS NOT NULL THEN i.initprivs
              -- information_schema has no initial privileges on record.
              WHEN o.namespace = 'information_schema'::regnamespace AND o.oid < 16384 AND o.acl IS NOT NULL
              THEN acldefault(o.kind::"char", o.owner) || makeaclitem(0, o.owner, CASE o.class WHEN 'schema' THEN 'USAGE' ELSE 'SELECT' END, false)
              WHEN o.oid < 16384 OR d.objid IS NOT NULL THEN acldefault(o.kind::"char", o.owner) END
    FROM object o
    LEFT JOIN pg_init_privs i ON i.classoid = o.classid AND i.objoid = o.oid AND i.objsubid = o.subid
    LEFT JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.oid AND d.objsubid = 0 AND d.deptype = 'e'
), entry(class, name, grantee, privilege, grantable, sign, grantors) AS (
  SELECT c.class, c.name, e.grantee, e.privilege_type, bool_or(e.is_grantable), '+', array_agg(e.grantor) FILTER (WHERE e.grantor <> c.owner)
    FROM compared c CROSS JOIN LATERAL aclexplode(c.acl) e
   WHERE e.grantee <> c.owner
     AND (c.initial IS NULL OR NOT EXISTS (
           SELECT FROM aclexplode(c.initial) i WHERE i.grantee = e.grantee AND i.privilege_type = e.privilege_type AND i.is_grantable = e.is_grantable))
   GROUP BY 1, 2, 3, 4
  UNION ALL
  SELECT c.class, c.name, i.grantee, i.privilege_type, i.is_grantable, '-', NULL
    FROM compared c CROSS JOIN LATERAL aclexplode(c.initial) i
   WHERE c.initial IS NOT NULL AND i.grantee <> c.owner
     AND NOT EXISTS (SELECT FROM aclexplode(c.acl) e WHERE e.grantee = i.grantee AND e.privilege_type = i.privilege_type AND e.is_grantable = i.is_grantable)
  UNION ALL
  SELECT c.class, c.name, i.grantee, i.privilege_type, false, '-', NULL
    FROM compared c CROSS JOIN LATERAL aclexplode(c.owner_default) i
   WHERE i.grantee = c.owner
     AND NOT EXISTS (SELECT FROM aclexplode(c.acl) e WHERE e.grantee = i.grantee AND e.privilege_type = i.privilege_type))
SELECT e.class, e.name AS object, CASE e.grantee WHEN 0 THEN 'public' ELSE coalesce(r.rolname::text, 'oid:' || e.grantee) END AS grantee,
       e.privilege, e.grantable, e.sign,
       CASE WHEN e.grantors IS NOT NULL THEN (SELECT array_agg(g.rolname::text) FROM pg_roles g WHERE g.oid = ANY (e.grantors)) END AS grantors
  FROM entry e LEFT JOIN pg_roles r ON r.oid = e.grantee
