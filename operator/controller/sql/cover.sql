-- A role that may read pg_stat_activity sees the last statement of the operator's session, and a marker is nobody's business.
SELECT
