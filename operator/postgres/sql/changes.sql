-- Committed changes of rows since the slot was advanced, as (tables, what, number): `tables` is a
-- list of quoted names for TRUNCATE, else one name.
-- Lines of no known form have no `what`. Parameters: the slot, and where to stop. Run it in a
-- session of session.sql: names are quoted where needed.
--
-- The rows stay in the server. A line begins with the table's name, quoted as quote_identifier
-- does, so no name and no value can look like the beginning of a line. Only TRUNCATE of many tables
-- needs more of it than the first 300 characters.
WITH form AS (
  SELECT format('^(?:table (%1$s(?:, %1$s)*): (INSERT|UPDATE|DELETE|TRUNCATE):|(?:BEGIN|COMMIT)$|message: )', '(?:[a-z_0-9]+|"(?:[^"]|"")+")[.](?:[a-z_0-9]+|"(?:[^"]|"")+")') AS line
), found AS (
  SELECT coalesce(regexp_match(left(data, 300), line), regexp_match(data, line)) AS parts
    FROM pg_logical_slot_peek_changes($1, $2::text::pg_lsn, NULL, 'include-xids', 'off', 'skip-empty-xacts', 'on'), form
)
SELECT parts[1], CASE WHEN parts IS NULL THEN NULL ELSE coalesce(parts[2], '') END, count(*)
  FROM found
 GROUP BY 1, 2
