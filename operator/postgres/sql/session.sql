-- A session that reads a whole catalog or counts whole tables: object names come out
-- schema-qualified and quoted, settings of the role or the database neither end it early nor change
-- the text of a definition, and row security is an error instead of a silent subset.
SET search_path = pg_catalog;
SET row_security = off;
SET jit = off;
SET quote_all_identifiers = off;
SET lc_monetary = 'C';
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, MDY';
SET IntervalStyle = 'postgres';
SET extra_float_digits = 1;
SET bytea_output = 'hex';
SELECT set_config(name, '0', false)
  FROM pg_settings
 WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout');
