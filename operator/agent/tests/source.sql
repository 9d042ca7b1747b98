-- A small production: something of everything that a dump, a restore or a comparison could trip
-- over.
CREATE EXTENSION pg_trgm;
CREATE EXTENSION postgres_fdw;

CREATE SCHEMA iu AUTHORIZATION app_owner;
SET ROLE app_owner;
CREATE TYPE iu.state AS ENUM ('new', 'cut', 'verified');
CREATE DOMAIN iu.slug AS text CHECK (VALUE ~ '^[a-z-]+$');
CREATE TABLE iu.unit (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  slug iu.slug NOT NULL UNIQUE,
  state iu.state NOT NULL DEFAULT 'new',
  kind varchar(10) CHECK (kind IN ('a', 'b', 'c')),
  note text
);
CREATE INDEX unit_note ON iu.unit USING gin (note public.gin_trgm_ops);
CREATE INDEX unit_open ON iu.unit (id) WHERE kind IN ('a', 'b');
COMMENT ON COLUMN iu.unit.note IS 'free text';
INSERT INTO iu.unit (slug, kind, note) SELECT 'unit-' || translate(n::text, '0123456789', 'abcdefghij'), 'a', md5(n::text) FROM generate_series(1, 1000) n;
CREATE TABLE iu.event (at timestamptz NOT NULL, unit_id bigint REFERENCES iu.unit) PARTITION BY RANGE (at);
CREATE TABLE iu.event_2026 PARTITION OF iu.event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO iu.event SELECT '2026-03-01', 1 FROM generate_series(1, 250);
CREATE TABLE iu.parent (id serial, x int);
CREATE TABLE iu.child () INHERITS (iu.parent);
INSERT INTO iu.parent (x) VALUES (1), (2);
INSERT INTO iu.child (x) VALUES (3);
CREATE TABLE iu."odd ""name""" (id int);
CREATE VIEW iu.open AS SELECT id, slug FROM iu.unit WHERE kind IN ('a', 'b');
CREATE MATERIALIZED VIEW iu.summary AS SELECT state, count(*) FROM iu.unit GROUP BY state;
CREATE FUNCTION iu.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, ''); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT ON iu.unit FOR EACH ROW EXECUTE FUNCTION iu.touch();
CREATE TABLE iu.private (owner name, secret text);
INSERT INTO iu.private VALUES ('alice', 'one'), ('bob', 'two');
ALTER TABLE iu.private ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON iu.private TO app_reader USING (owner = current_user);
GRANT USAGE ON SCHEMA iu TO app_reader, cutter_exec, cutter_verify;
GRANT SELECT ON iu.unit TO app_reader, cutter_exec, cutter_verify;
GRANT INSERT, UPDATE (state) ON iu.unit TO cutter_exec;
REVOKE EXECUTE ON FUNCTION iu.touch() FROM PUBLIC;
RESET ROLE;

SELECT lo_from_bytea(4242, 'large');
ALTER LARGE OBJECT 4242 OWNER TO app_owner;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1', dbname 'x');
CREATE USER MAPPING FOR app_reader SERVER elsewhere OPTIONS (user 'x', password 'mapping-secret');
CREATE PUBLICATION everything FOR ALL TABLES;
ALTER DATABASE directus SET default_transaction_read_only = off;
ALTER ROLE app_reader IN DATABASE directus SET work_mem = '8MB';
