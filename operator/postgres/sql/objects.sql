-- Everything that a matrix may name: class, name as privileges.sql prints it, owner, and for
-- objects of initdb and of extensions what PUBLIC had initially (null elsewhere). $1: names of the
-- columns that are wanted.
-- search_path must be pg_catalog, so that names are qualified.
WITH object(class, classid, oid, name, owner, kind) AS (
  SELECT CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'matview' WHEN 'f' THEN 'foreign_table' WHEN 'S' THEN 'sequence' ELSE 'table' END,
         'pg_class'::regclass, c.oid, format('%I.%I', n.nspname, c.relname), c.relowner, CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'
  UNION ALL
  SELECT 'schema', 'pg_namespace'::regclass, oid, quote_ident(nspname), nspowner, 'n' FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp_|toast_temp_)'
  UNION ALL
  SELECT 'database', 'pg_database'::regclass, oid, quote_ident(datname), datdba, 'd' FROM pg_database WHERE datname = current_database()
  UNION ALL
  SELECT CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, 'pg_proc'::regclass, oid, oid::regprocedure::text, proowner, 'f' FROM pg_proc
  UNION ALL
  SELECT CASE t.typtype WHEN 'd' THEN 'domain' ELSE 'type' END, 'pg_type'::regclass, t.oid, format('%I.%I', n.nspname, t.typname), t.typowner, 'T'
    FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
   WHERE t.typtype <> 'm' AND (t.typtype <> 'c' OR c.relkind = 'c') AND NOT (t.typelem <> 0 AND t.typsubscript = 'array_subscript_handler'::regproc)
  UNION ALL
  SELECT 'language', 'pg_language'::regclass, oid, quote_ident(lanname), lanowner, 'l' FROM pg_language WHERE lanpltrusted
  UNION ALL
  SELECT 'tablespace', 'pg_tablespace'::regclass, oid, quote_ident(spcname), spcowner, 't' FROM pg_tablespace
  UNION ALL
  SELECT 'large_object', 'pg_largeobject'::regclass, oid, oid::text, lomowner, 'L' FROM pg_largeobject_metadata
  UNION ALL
  SELECT 'fdw', 'pg_foreign_data_wrapper'::regclass, oid, quote_ident(fdwname), fdwowner, 'F' FROM pg_foreign_data_wrapper
  UNION ALL
  SELECT 'foreign_server', 'pg_foreign_server'::regclass, oid, quote_ident(srvname), srvowner, 'S' FROM pg_foreign_server
)
SELECT o.class, o.name, r.rolname::text AS owner,
       CASE WHEN i.initprivs IS NOT NULL OR o.oid < 16384 OR d.objid IS NOT NULL
            THEN ARRAY(SELECT e.privilege_type FROM aclexplode(coalesce(i.initprivs, acldefault(o.kind::"char", o.owner))) e WHERE e.grantee = 0) END AS initial
  FROM object o JOIN pg_roles r ON r.oid = o.owner
  LEFT JOIN pg_init_privs i ON i.classoid = o.classid AND i.objoid = o.oid AND i.objsubid = 0
  LEFT JOIN pg_depend d ON d.classid = o.classid AND d.objid = o.oid AND d.objsubid = 0 AND d.deptype = 'e'
UNION ALL
SELECT 'column', format('%I.%I.%I', n.nspname, c.relname, a.attname), r.rolname::text, NULL
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles r ON r.oid = c.relowner
 WHERE a.attname = ANY ($1::text[]) AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast'
UNION ALL
SELECT 'parameter', name, '', NULL FROM pg_settings
UNION ALL
SELECT 'role', rolname::text, '', NULL FROM pg_roles
