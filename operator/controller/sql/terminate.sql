-- Ends every backend of the declared roles; returns how many there were.
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = ANY ($1)
