-- Backends of the declared roles.
SELECT count(*) FROM pg_stat_activity WHERE usename = ANY ($1)
