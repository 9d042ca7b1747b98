-- The server that answers. Executable by every role; the identifier is an unsigned 64-bit number
-- that SQL shows as signed. Every name is that of pg_catalog, for any search path of the session: a
-- function of the database's owner must not answer for the server.
SELECT s.system_identifier,
       pg_catalog.current_setting('server_version_num')::pg_catalog.int4 AS version_num,
       pg_catalog.to_char(pg_catalog.timezone('UTC'::pg_catalog.text, pg_catalog.pg_postmaster_start_time()), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS started_at,
       c.timeline_id,
       coalesce(pg_catalog.host(pg_catalog.inet_server_addr()), '') AS address,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       pg_catalog.current_setting('cluster_name') AS cluster_name
  FROM pg_catalog.pg_control_system() s, pg_catalog.pg_control_checkpoint() c
