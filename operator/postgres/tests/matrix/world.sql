-- A restored copy of production, with what production had granted to roles that the matrix
-- declares.
CREATE ROLE workflow_admin;
CREATE ROLE lender;
CREATE ROLE reader;
CREATE ROLE readers;
GRANT readers TO reader;
CREATE ROLE cutter_exec;
CREATE ROLE cutter_verify;
CREATE ROLE cutter_ro;

CREATE SCHEMA iu AUTHORIZATION workflow_admin;
CREATE SCHEMA directus AUTHORIZATION workflow_admin;
SET ROLE workflow_admin;

-- 12 tables and 13 views.
CREATE TABLE iu.source_document (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text);
CREATE TABLE iu.source_section (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, heading text);
CREATE TABLE iu.cut_profile (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE iu.cut_run (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text, finished_at timestamptz);
CREATE TABLE iu.unit (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state text, note text, tenant text DEFAULT CURRENT_USER);
CREATE TABLE iu.unit_provenance (id bigint, unit bigint);
CREATE TABLE iu.unit_relation (id bigint, kind text);
CREATE TABLE iu.unit_tag (id bigint, tag text);
CREATE TABLE iu.verify_run (id bigint, state text);
CREATE TABLE iu.verification (id bigint, state text);
CREATE TABLE iu.event (id bigint, kind text) PARTITION BY RANGE (id);
CREATE TABLE iu."Odd "". Table" (id bigint, "a.""b" text);
CREATE VIEW iu.v01 AS SELECT id FROM iu.source_document;
CREATE VIEW iu.v02 AS SELECT id FROM iu.source_section;
CREATE VIEW iu.v03 AS SELECT id FROM iu.cut_profile;
CREATE VIEW iu.v04 AS SELECT id FROM iu.cut_run;
CREATE VIEW iu.v05 WITH (security_barrier) AS SELECT id FROM iu.unit;
CREATE VIEW iu.v06 WITH (security_invoker) AS SELECT id FROM iu.unit_provenance;
CREATE VIEW iu.v07 AS SELECT id FROM iu.unit_relation;
CREATE VIEW iu.v08 AS SELECT id FROM iu.unit_tag;
CREATE VIEW iu.v09 AS SELECT id FROM iu.verify_run;
CREATE VIEW iu.v10 AS SELECT id FROM iu.verification;
CREATE VIEW iu.v11 AS SELECT id FROM iu.event;
CREATE VIEW iu.v12 AS SELECT state, count(*) FROM iu.unit GROUP BY state;
CREATE VIEW iu.v13 AS SELECT 1 AS one;

-- One of every other class.
CREATE TABLE directus.settings (id bigint, value text);
CREATE MATERIALIZED VIEW iu.summary AS SELECT 1 AS one;
CREATE SEQUENCE iu.counter;
CREATE TYPE iu.mood AS ENUM ('good', 'bad');
CREATE DOMAIN iu.short AS text CHECK (length(VALUE) < 10);
CREATE FUNCTION iu.cut(text, integer) RETURNS text LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION iu.close_day(date) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = iu AS 'SELECT';
REVOKE EXECUTE ON FUNCTION iu.close_day(date) FROM PUBLIC;
CREATE PROCEDURE iu.tidy() LANGUAGE sql AS 'SELECT';
CREATE AGGREGATE iu.joined(text) (SFUNC = textcat, STYPE = text);
ALTER TABLE iu.unit ENABLE ROW LEVEL SECURITY;
ALTER TABLE iu.unit FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON iu.unit USING (tenant = CURRENT_USER);
CREATE POLICY cutters ON iu.unit AS RESTRICTIVE FOR UPDATE TO cutter_exec USING (state <> 'final') WITH CHECK (state <> 'gone');
SELECT lo_create(16500);
RESET ROLE;
CREATE FOREIGN DATA WRAPPER "Far";
CREATE SERVER archive FOREIGN DATA WRAPPER "Far";
CREATE FOREIGN TABLE iu.far (id bigint) SERVER archive;
CREATE PUBLICATION news;
ALTER FOREIGN TABLE iu.far OWNER TO workflow_admin;

-- What production granted to roles that are not declared.
GRANT USAGE ON SCHEMA iu TO readers, lender;
GRANT SELECT ON ALL TABLES IN SCHEMA iu TO readers;
GRANT SELECT ON iu.cut_profile TO lender WITH GRANT OPTION;
REVOKE TEMPORARY ON DATABASE directus FROM PUBLIC;
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE workflow_admin REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DATABASE directus SET work_mem TO '5MB';

-- What it granted to those that the matrix declares: all of it goes.
GRANT ALL ON SCHEMA directus TO cutter_exec;
GRANT USAGE ON SCHEMA iu TO cutter_exec;
GRANT ALL ON directus.settings, iu.unit, iu.v01, iu.summary, iu.far TO cutter_exec WITH GRANT OPTION;
GRANT SELECT (id, "a.""b"), UPDATE ("a.""b") ON iu."Odd "". Table" TO cutter_verify;
GRANT ALL ON SEQUENCE iu.counter TO cutter_exec;
GRANT EXECUTE ON FUNCTION iu.cut(text, integer), iu.joined(text), pg_catalog.pg_read_file(text) TO cutter_verify;
GRANT EXECUTE ON PROCEDURE iu.tidy TO cutter_verify;
GRANT USAGE ON TYPE iu.mood TO cutter_ro;
GRANT USAGE ON DOMAIN iu.short TO cutter_ro;
GRANT ALL ON DATABASE directus TO cutter_ro;
GRANT USAGE ON LANGUAGE plpgsql TO cutter_ro;
GRANT SELECT ON LARGE OBJECT 16500 TO cutter_ro;
GRANT USAGE ON FOREIGN DATA WRAPPER "Far" TO cutter_ro;
GRANT USAGE ON FOREIGN SERVER archive TO cutter_ro;
GRANT CREATE ON TABLESPACE pg_default TO cutter_ro;
GRANT ALL ON PARAMETER "TimeZone" TO cutter_ro;
GRANT readers TO cutter_verify WITH ADMIN OPTION;
GRANT cutter_verify TO cutter_exec;
ALTER ROLE cutter_exec SET statement_timeout TO '7s';
ALTER ROLE cutter_exec IN DATABASE directus SET search_path TO iu, "$user";
ALTER DEFAULT PRIVILEGES FOR ROLE workflow_admin IN SCHEMA iu GRANT SELECT ON TABLES TO cutter_ro;
ALTER DEFAULT PRIVILEGES FOR ROLE workflow_admin GRANT USAGE ON SCHEMAS TO cutter_ro;
SET ROLE lender;
GRANT SELECT ON iu.cut_profile TO cutter_exec WITH GRANT OPTION;
SET ROLE cutter_exec;
GRANT SELECT ON iu.cut_profile TO cutter_ro;
GRANT SELECT ON iu.unit TO reader;
RESET ROLE;

-- Production watches over its grants.
CREATE FUNCTION public.no_grants() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no grants here'; END $$;
CREATE EVENT TRIGGER no_grants ON ddl_command_end WHEN TAG IN ('GRANT', 'REVOKE', 'ALTER DEFAULT PRIVILEGES') EXECUTE FUNCTION public.no_grants();
