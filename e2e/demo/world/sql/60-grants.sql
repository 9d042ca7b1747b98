-- Production's grants, and revokes of default grants.
\set ON_ERROR_STOP on
SET ROLE workflow_admin;

-- Readers of context packs: published packs by row security, and only the names of users.
GRANT SELECT ON context_packs, context_pack_items TO context_pack_readonly;
GRANT SELECT (id, status, document_key, title) ON knowledge_documents TO context_pack_readonly;
GRANT SELECT (id, first_name, last_name) ON directus_users TO context_pack_readonly;

-- It runs with its owner's privileges, so PUBLIC may not call it.
REVOKE EXECUTE ON FUNCTION expire_sessions(timestamp with time zone) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The privileges of pg_dump, including those on future tables.
GRANT USAGE ON SCHEMA iu TO dump_ro;
GRANT SELECT ON ALL TABLES IN SCHEMA public, iu TO dump_ro;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA public, iu TO dump_ro;
GRANT SELECT ON LARGE OBJECT 424242 TO dump_ro;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, iu GRANT SELECT ON TABLES TO dump_ro;
ALTER DEFAULT PRIVILEGES IN SCHEMA public, iu GRANT SELECT ON SEQUENCES TO dump_ro;

RESET ROLE;
ANALYZE;
