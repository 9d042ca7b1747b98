-- Production's roles. Passwords are read from the files of a Secret: none is in an argument list or in this file.
\set ON_ERROR_STOP on
\set workflow_admin_password `cat "$POSTGRES_PASSWORDS/workflow_admin"`
\set context_pack_readonly_password `cat "$POSTGRES_PASSWORDS/context_pack_readonly"`
\set dump_ro_password `cat "$POSTGRES_PASSWORDS/dump_ro"`

-- Owns the database and everything in it; the application's login.
CREATE ROLE workflow_admin LOGIN PASSWORD :'workflow_admin_password';

-- Reads published context packs, and nothing else.
CREATE ROLE context_pack_readonly LOGIN PASSWORD :'context_pack_readonly_password';

-- Takes dumps. Its grants are in 60-grants.sql; BYPASSRLS because a dump under row security would be a silent subset.
-- Read-only by default, so that not even a temporary object can be created by mistake.
CREATE ROLE dump_ro LOGIN BYPASSRLS NOINHERIT CONNECTION LIMIT 32 PASSWORD :'dump_ro_password';
ALTER ROLE dump_ro SET default_transaction_read_only = on;

CREATE DATABASE directus OWNER workflow_admin TEMPLATE template0;
REVOKE ALL ON DATABASE directus FROM PUBLIC;
GRANT CONNECT ON DATABASE directus TO context_pack_readonly, dump_ro;
ALTER DATABASE directus SET "TimeZone" TO 'UTC';
