-- What a login lacks on each object of a name: the privileges that exist on it, OWNER, and ROW
-- SECURITY where policies hide rows from it.
-- $1 is the login, $2 the schema or NULL (no schema, or pg_catalog), $3 the name, $4 the types of a
-- routine's arguments or NULL.
WITH login AS (
  SELECT oid, rolsuper, rolsuper OR rolbypassrls AS bypasses FROM pg_catalog.pg_roles WHERE rolname = $1
), named (kind, oid, schema, name, owner) AS (
  SELECT CASE relkind WHEN 'S' THEN 'sequence' WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' ELSE 'relation' END,
         oid, relnamespace, relname, relowner FROM pg_catalog.pg_class
  UNION ALL SELECT 'routine', oid, pronamespace, proname, proowner FROM pg_catalog.pg_proc
   WHERE $4::text IS NULL OR replace(oidvectortypes(proargtypes), ', ', ',') = $4
  UNION ALL SELECT 'type', oid, typnamespace, typname, typowner FROM pg_catalog.pg_type
  UNION ALL SELECT 'schema', oid, 0, nspname, nspowner FROM pg_catalog.pg_namespace
  UNION ALL SELECT 'database', oid, 0, datname, datdba FROM pg_catalog.pg_database
  UNION ALL SELECT 'language', oid, 0, lanname, lanowner FROM pg_catalog.pg_language
  UNION ALL SELECT 'large object', oid, 0, oid::text, lomowner FROM pg_catalog.pg_largeobject_metadata
  UNION ALL SELECT 'foreign-data wrapper', oid, 0, fdwname, fdwowner FROM pg_catalog.pg_foreign_data_wrapper
  UNION ALL SELECT 'foreign server', oid, 0, srvname, srvowner FROM pg_catalog.pg_foreign_server
  UNION ALL SELECT 'tablespace', oid, 0, spcname, spcowner FROM pg_catalog.pg_tablespace
  UNION ALL SELECT 'role', oid, 0, rolname, NULL FROM pg_catalog.pg_roles
  UNION ALL SELECT 'parameter', NULL, 0, name, NULL FROM pg_catalog.pg_settings
  -- Of these only their owner may do anything.
  UNION ALL SELECT 'collation', oid, collnamespace, collname, collowner FROM pg_catalog.pg_collation
  UNION ALL SELECT 'conversion', oid, connamespace, conname, conowner FROM pg_catalog.pg_conversion
  UNION ALL SELECT 'event trigger', oid, 0, evtname, evtowner FROM pg_catalog.pg_event_trigger
  UNION ALL SELECT 'extension', oid, 0, extname, extowner FROM pg_catalog.pg_extension
  UNION ALL SELECT 'operator', oid, oprnamespace, oprname, oprowner FROM pg_catalog.pg_operator
  UNION ALL SELECT 'operator class', oid, opcnamespace, opcname, opcowner FROM pg_catalog.pg_opclass
  UNION ALL SELECT 'operator family', oid, opfnamespace, opfname, opfowner FROM pg_catalog.pg_opfamily
  UNION ALL SELECT 'publication', oid, 0, pubname, pubowner FROM pg_catalog.pg_publication
  UNION ALL SELECT 'statistics object', oid, stxnamespace, stxname, stxowner FROM pg_catalog.pg_statistic_ext
  UNION ALL SELECT 'subscription', oid, 0, subname, subowner FROM pg_catalog.pg_subscription
  UNION ALL SELECT 'text search configuration', oid, cfgnamespace, cfgname, cfgowner FROM pg_catalog.pg_ts_config
  UNION ALL SELECT 'text search dictionary', oid, dictnamespace, dictname, dictowner FROM pg_catalog.pg_ts_dict
)
SELECT named.kind, ARRAY(
  SELECT privilege FROM unnest(CASE kind
           WHEN 'relation' THEN '{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]
             || CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] END
         END) AS privilege WHERE NOT has_table_privilege(login.oid, named.oid, privilege)
  UNION ALL SELECT privilege FROM unnest(CASE kind WHEN 'sequence' THEN '{USAGE,SELECT,UPDATE}'::text[] END) AS privilege
   WHERE NOT has_sequence_privilege(login.oid, named.oid, privilege)
  UNION ALL SELECT 'EXECUTE' WHERE kind = 'routine' AND NOT has_function_privilege(login.oid, named.oid, 'EXECUTE')
  UNION ALL SELECT 'USAGE' WHERE kind = 'type' AND NOT has_type_privilege(login.oid, named.oid, 'USAGE')
  UNION ALL SELECT privilege FROM unnest(CASE kind WHEN 'schema' THEN '{USAGE,CREATE}'::text[] END) AS privilege
   WHERE NOT has_schema_privilege(login.oid, named.oid, privilege)
  UNION ALL SELECT privilege FROM unnest(CASE kind WHEN 'database' THEN '{CONNECT,CREATE,TEMPORARY}'::text[] END) AS privilege
   WHERE NOT has_database_privilege(login.oid, named.oid, privilege)
  UNION ALL SELECT 'USAGE' WHERE kind = 'language' AND NOT has_language_privilege(login.oid, named.oid, 'USAGE')
  UNION ALL SELECT 'USAGE' WHERE kind = 'foreign-data wrapper' AND NOT has_foreign_data_wrapper_privilege(login.oid, named.oid, 'USAGE')
  UNION ALL SELECT 'USAGE' WHERE kind = 'foreign server' AND NOT has_server_privilege(login.oid, named.oid, 'USAGE')
  UNION ALL SELECT 'CREATE' WHERE kind = 'tablespace' AND NOT has_tablespace_privilege(login.oid, named.oid, 'CREATE')
  -- has_largeobject_privilege is new in 18.
  UNION ALL SELECT privilege FROM unnest(CASE kind WHEN 'large object' THEN '{SELECT,UPDATE}'::text[] END) AS privilege
   WHERE NOT login.rolsuper AND NOT EXISTS (
     SELECT FROM pg_catalog.pg_largeobject_metadata m, aclexplode(coalesce(m.lomacl, acldefault('L', m.lomowner))) acl
      WHERE m.oid = named.oid AND acl.privilege_type = privilege
        AND CASE acl.grantee WHEN 0 THEN true ELSE pg_has_role(login.oid, acl.grantee, 'USAGE') END)
  UNION ALL SELECT 'SET' WHERE kind = 'role'
    AND NOT pg_has_role(login.oid, named.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
  UNION ALL SELECT 'ADMIN' WHERE kind = 'role' AND NOT pg_has_role(login.oid, named.oid, 'MEMBER WITH ADMIN OPTION')
  UNION ALL SELECT privilege FROM unnest(CASE kind WHEN 'parameter' THEN '{SET,ALTER SYSTEM}'::text[] END) AS privilege
   WHERE NOT has_parameter_privilege(login.oid, named.name, privilege)
  UNION ALL SELECT 'OWNER' WHERE kind NOT IN ('role', 'parameter') AND NOT (login.rolsuper OR owner IS NOT NULL AND pg_has_role(login.oid, owner, 'USAGE'))
  UNION ALL SELECT 'ROW SECURITY' FROM pg_catalog.pg_class c
   WHERE kind = 'relation' AND c.oid = named.oid AND c.relrowsecurity AND NOT login.bypasses
     AND (c.relforcerowsecurity OR NOT pg_has_role(login.oid, c.relowner, 'USAGE'))
) AS missing
  FROM login, named
 WHERE named.name = $3
   AND named.schema IN (SELECT 0 WHERE $2::text IS NULL
                        UNION ALL SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = coalesce($2, 'pg_catalog'))
