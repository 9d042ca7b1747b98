-- Who this server is. Executable by every role; the identifier is an unsigned 64-bit number that SQL shows as signed.
SELECT s.system_identifier,
       current_setting('server_version_num')::int4 AS version_num,
       to_char(pg_postmaster_start_time() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS started_at,
       c.timeline_id,
       coalesce(host(inet_server_addr()), '') AS address,
       pg_is_in_recovery() AS in_recovery,
       current_setting('cluster_name') AS cluster_name
  FROM pg_control_system() s, pg_control_checkpoint() c
