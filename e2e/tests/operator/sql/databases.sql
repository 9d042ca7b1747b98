-- Databases that fail a gate, each for a different reason.

-- Each grant causes another one: the event trigger fires even where triggers are disabled.
CREATE DATABASE meddling OWNER workflow_admin TEMPLATE stock;
\connect meddling
SET ROLE workflow_admin;
CREATE TABLE note (id bigint PRIMARY KEY);
GRANT SELECT ON note TO dump_ro;
RESET ROLE;
CREATE FUNCTION hand_on() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'keeper')
        AND NOT pg_catalog.has_table_privilege('keeper', 'public.note', 'SELECT')
    THEN
        GRANT SELECT ON public.note TO keeper;
    END IF;
END
$$;
CREATE EVENT TRIGGER hand_on ON ddl_command_end WHEN TAG IN ('GRANT') EXECUTE FUNCTION hand_on();
ALTER EVENT TRIGGER hand_on ENABLE ALWAYS;

-- A materialized view that needs a setting of the session that created it, which no dump contains.
\connect postgres
CREATE DATABASE regional OWNER workflow_admin TEMPLATE stock;
\connect regional
SET ROLE workflow_admin;
CREATE FUNCTION region() RETURNS text STABLE LANGUAGE plpgsql AS $$
DECLARE
    region text := pg_catalog.current_setting('app.region', true);
BEGIN
    IF region IS NULL THEN
        RAISE EXCEPTION 'no region is set';
    END IF;
    RETURN region;
END
$$;
SET app.region = 'north';
CREATE MATERIALIZED VIEW turnover AS SELECT public.region() AS region, sum(amount) AS amount FROM public.item;
GRANT SELECT ON turnover TO dump_ro;
RESET ROLE;

-- A check constraint that reads another table: in alphabetical order, its own table is restored first.
\connect postgres
CREATE DATABASE disordered OWNER workflow_admin TEMPLATE stock;
\connect disordered
SET ROLE workflow_admin;
CREATE TABLE currency (code text PRIMARY KEY);
CREATE FUNCTION known(code text) RETURNS boolean STABLE LANGUAGE plpgsql AS
    $$ BEGIN RETURN EXISTS (SELECT FROM public.currency c WHERE c.code = known.code); END $$;
CREATE TABLE bill (id bigint PRIMARY KEY, currency text NOT NULL CHECK (known(currency)));
INSERT INTO currency VALUES ('EUR'), ('VND');
INSERT INTO bill SELECT n, 'EUR' FROM generate_series(1, 100) n;
GRANT SELECT ON currency, bill TO dump_ro;
RESET ROLE;

-- A materialized view that is small in production and large in the copy, which has a cluster_name.
\connect postgres
CREATE DATABASE swelling OWNER workflow_admin TEMPLATE stock;
\connect swelling
SET ROLE workflow_admin;
CREATE MATERIALIZED VIEW flood AS
    SELECT n, repeat(md5(n::text), 30) AS filling
      FROM generate_series(1, CASE WHEN pg_catalog.current_setting('cluster_name') <> '' THEN 100000 ELSE 1 END) n;
GRANT SELECT ON flood TO dump_ro;
RESET ROLE;

-- A table that everybody may overwrite.
\connect postgres
CREATE DATABASE generous OWNER workflow_admin TEMPLATE stock;
\connect generous
SET ROLE workflow_admin;
CREATE TABLE salary (id bigint PRIMARY KEY, amount integer);
INSERT INTO salary SELECT n, 1000 FROM generate_series(1, 500) n;
GRANT SELECT, UPDATE ON salary TO PUBLIC;
RESET ROLE;

-- A second table that may be overwritten.
\connect postgres
CREATE DATABASE priced OWNER workflow_admin TEMPLATE stock;
\connect priced
SET ROLE workflow_admin;
CREATE TABLE price (id bigint PRIMARY KEY, amount integer);
INSERT INTO price SELECT n, n FROM generate_series(1, 3) n;
GRANT SELECT ON price TO dump_ro;
RESET ROLE;

REVOKE ALL ON DATABASE meddling, regional, disordered, swelling, generous, priced FROM PUBLIC;
GRANT CONNECT ON DATABASE meddling, regional, disordered, swelling, generous, priced TO dump_ro;
