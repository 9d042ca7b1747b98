-- A small production beside the demo's, so that runs are short; :password is that of a dump role that lacks a privilege.
CREATE ROLE dump_lacking LOGIN BYPASSRLS PASSWORD :'password' IN ROLE pg_read_all_data;

CREATE DATABASE stock OWNER workflow_admin TEMPLATE template0;
\connect stock
SET ROLE workflow_admin;
CREATE TABLE item (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    amount integer NOT NULL
);
INSERT INTO item (name, amount) SELECT 'item ' || n, n FROM generate_series(1, 500) n;
GRANT SELECT ON item, item_id_seq TO dump_ro;
-- pg_read_all_data does not reach large objects.
SELECT lo_from_bytea(737373, 'a picture') \g /dev/null
GRANT SELECT ON LARGE OBJECT 737373 TO dump_ro;
RESET ROLE;

\connect postgres
-- Its table is locked while it is dumped.
CREATE DATABASE held OWNER workflow_admin TEMPLATE stock;
-- Slow to restore: the copy has a cluster_name, production has none.
CREATE DATABASE napping OWNER workflow_admin TEMPLATE stock;
\connect napping
SET ROLE workflow_admin;
CREATE FUNCTION nap() RETURNS text STABLE LANGUAGE sql
    RETURN CASE WHEN pg_catalog.current_setting('cluster_name') <> '' THEN pg_catalog.pg_sleep(600)::text END;
CREATE MATERIALIZED VIEW dream AS SELECT nap();
GRANT SELECT ON dream TO dump_ro;
RESET ROLE;

REVOKE ALL ON DATABASE stock, held, napping FROM PUBLIC;
GRANT CONNECT ON DATABASE stock, held, napping TO dump_ro;
GRANT CONNECT ON DATABASE stock TO dump_lacking;
