-- A shop with everything that can change: tables with and without keys, partitions, an unlogged
-- table, views, sequences, large objects.
CREATE ROLE owner LOGIN;
CREATE ROLE tool LOGIN;
CREATE ROLE powerful LOGIN;
CREATE ROLE replicator LOGIN REPLICATION;
GRANT ALL ON SCHEMA public TO owner;
GRANT SET ON PARAMETER session_replication_role, track_counts TO powerful;
GRANT EXECUTE ON FUNCTION pg_stat_reset() TO powerful;

CREATE TABLE item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, amount int);
INSERT INTO item (name, amount) SELECT 'n' || g, g FROM generate_series(1, 500) g;
CREATE TABLE audit (at timestamptz);
CREATE FUNCTION audits() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS
  'BEGIN INSERT INTO audit VALUES (now()); RETURN NULL; END';
CREATE TRIGGER audits AFTER UPDATE ON item FOR EACH STATEMENT WHEN (current_user = 'powerful') EXECUTE FUNCTION audits();
CREATE TABLE note (a int, b text);
INSERT INTO note SELECT g, 'x' FROM generate_series(1, 100) g;
CREATE TABLE "odd: INSERT: ""x" (a text);
CREATE UNLOGGED TABLE cache (a int);
INSERT INTO cache SELECT generate_series(1, 50);

CREATE TABLE event (id int GENERATED ALWAYS AS IDENTITY, at int) PARTITION BY RANGE (at);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM (10) TO (20);
INSERT INTO event (at) SELECT g % 20 FROM generate_series(1, 40) g;

CREATE SEQUENCE invoice_no MINVALUE -10 START 1;
SELECT nextval('invoice_no');
CREATE SEQUENCE ticket_no START 10 INCREMENT 10;
SELECT lo_from_bytea(4711, 'hello'), lo_from_bytea(4712, 'bye'), lo_from_bytea(4714, 'stays');
GRANT ALL ON ALL TABLES IN SCHEMA public TO tool, powerful;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO tool;
GRANT ALL ON LARGE OBJECT 4711 TO tool;
ALTER LARGE OBJECT 4712 OWNER TO tool;

-- Tables that the owner may alter.
CREATE TABLE salary (id int PRIMARY KEY, amount int);
INSERT INTO salary SELECT g, g FROM generate_series(1, 50) g;
CREATE TRIGGER audits AFTER UPDATE ON salary FOR EACH STATEMENT EXECUTE FUNCTION audits();
CREATE TABLE price (id int PRIMARY KEY, amount int);
INSERT INTO price SELECT g, g FROM generate_series(1, 50) g;
CREATE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 / 2';
CREATE TABLE indexed (a int);
INSERT INTO indexed SELECT generate_series(1, 10);
CREATE INDEX ON indexed (half(a));
CREATE TABLE sold (id int PRIMARY KEY, amount int);
INSERT INTO sold SELECT g, g FROM generate_series(1, 50) g;
CREATE MATERIALIZED VIEW total AS SELECT 1 AS id, sum(amount) AS amount FROM sold;
CREATE UNIQUE INDEX ON total (id);
ALTER TABLE salary OWNER TO owner;
ALTER TABLE price OWNER TO owner;
ALTER TABLE indexed OWNER TO owner;
ALTER TABLE sold OWNER TO owner;
ALTER FUNCTION half(int) OWNER TO owner;
ALTER MATERIALIZED VIEW total OWNER TO owner;
