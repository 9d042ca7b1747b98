-- Roles that own more than they are granted, and one that hands on.
CREATE ROLE boss SUPERUSER;
CREATE ROLE reporting BYPASSRLS NOINHERIT;
CREATE ROLE lender CREATEROLE;
GRANT readers TO reporting WITH ADMIN OPTION;
GRANT SET ON PARAMETER work_mem TO lender WITH GRANT OPTION;
GRANT SET ON PARAMETER "TimeZone" TO PUBLIC;
ALTER ROLE lender SET row_security TO off;

CREATE SCHEMA app AUTHORIZATION app_owner;
GRANT USAGE ON SCHEMA app TO reporting, cutter_verify, dump_ro;
-- So many grants that those on the tables begin before these have ended, when both are restored at
-- once. The lender's is the last.
DO $$ BEGIN FOR n IN 1..300 LOOP
  EXECUTE format('CREATE ROLE guest_%s', n);
  EXECUTE format('GRANT USAGE ON SCHEMA app TO guest_%s', n);
END LOOP; END $$;
GRANT USAGE ON SCHEMA app TO lender;
SET ROLE app_owner;
CREATE TABLE app.vault (secret text);
INSERT INTO app.vault VALUES ('x');
CREATE TABLE app.customer (id int);
INSERT INTO app.customer SELECT generate_series(1, 9);
ALTER TABLE app.customer ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON app.customer TO reporting;
DO $$ BEGIN FOR n IN 1..60 LOOP
  EXECUTE format('CREATE TABLE app.lent_%s (id int)', n);
  EXECUTE format('GRANT SELECT ON app.lent_%s TO lender WITH GRANT OPTION', n);
END LOOP; END $$;
SET ROLE lender;
DO $$ BEGIN FOR n IN 1..60 LOOP
  EXECUTE format('GRANT SELECT ON app.lent_%s TO readers', n);
END LOOP; END $$;
RESET ROLE;
CREATE VIEW app.all_customers AS SELECT id FROM app.customer;
ALTER VIEW app.all_customers OWNER TO reporting;
GRANT SELECT ON app.all_customers TO cutter_verify;
CREATE FUNCTION app.peek() RETURNS SETOF app.vault LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM app.vault';
ALTER FUNCTION app.peek() OWNER TO boss;
CREATE MATERIALIZED VIEW app.total AS SELECT count(*) AS secrets FROM app.vault;
ALTER MATERIALIZED VIEW app.total OWNER TO boss;
CREATE FUNCTION app.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION app.watch();
ALTER EVENT TRIGGER watch OWNER TO boss;
CREATE FOREIGN DATA WRAPPER far;
ALTER FOREIGN DATA WRAPPER far OWNER TO boss;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO dump_ro;
