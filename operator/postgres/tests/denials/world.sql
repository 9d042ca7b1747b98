CREATE ROLE app LOGIN;
CREATE ROLE helped LOGIN;
CREATE ROLE other;
CREATE ROLE boss SUPERUSER;
GRANT other TO helped;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC;
GRANT TEMPORARY ON DATABASE postgres TO helped;

CREATE SCHEMA iu;
GRANT USAGE ON SCHEMA iu TO app, helped, other;
CREATE SCHEMA hidden;
CREATE TABLE hidden.t (i int);
CREATE TABLE iu.orders (id int, amount int);
GRANT SELECT, DELETE ON iu.orders TO helped;
CREATE INDEX orders_id ON iu.orders (id);
CREATE STATISTICS iu.st ON id, amount FROM iu.orders;
CREATE VIEW iu.v AS SELECT * FROM iu.orders;
CREATE MATERIALIZED VIEW iu.mv AS SELECT * FROM iu.orders;
CREATE SEQUENCE iu.s;
CREATE TABLE iu.columns (a int, b int);
GRANT SELECT (a), UPDATE (a) ON iu.columns TO app;
CREATE TABLE iu.hidden_rows (owner text, i int);
ALTER TABLE iu.hidden_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON iu.hidden_rows USING (owner = current_user);
GRANT ALL ON iu.hidden_rows TO app;
CREATE FUNCTION iu.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON FUNCTION iu.f(int) FROM PUBLIC;
CREATE PROCEDURE iu.p() LANGUAGE sql AS 'SELECT 1';
REVOKE EXECUTE ON PROCEDURE iu.p() FROM PUBLIC;
CREATE TYPE iu.state AS ENUM ('new');
REVOKE USAGE ON TYPE iu.state FROM PUBLIC;
CREATE SCHEMA own AUTHORIZATION app;
CREATE COLLATION iu.c (locale = 'C');
CREATE TEXT SEARCH CONFIGURATION iu.ts (COPY = simple);
CREATE PUBLICATION pub;
SELECT lo_create(4711);
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION dblink;
CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
SELECT pg_create_physical_replication_slot('slot');
-- A way to say anything by another server's mouth.
CREATE FUNCTION iu.relay(statement text) RETURNS text LANGUAGE sql SECURITY DEFINER
  AS $$ SELECT dblink_exec('host=' || current_setting('unix_socket_directories') || ' user=' || session_user || ' dbname=postgres', statement) $$;
CREATE FUNCTION iu.rethrow() RETURNS void LANGUAGE plpgsql
  AS $$ BEGIN DELETE FROM iu.orders; EXCEPTION WHEN insufficient_privilege THEN RAISE; END $$;
CREATE FUNCTION iu.inside() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM iu.orders; END $$;
