-- What this transaction was, asked at its end.
SELECT current_setting('transaction_read_only')::bool AS read_only, pg_current_xact_id_if_assigned() IS NOT NULL AS xid_assigned
