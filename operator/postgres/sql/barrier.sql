-- The server at a barrier, as (slot's place, end of the log, next transaction ID, large objects,
-- prepared transactions). The parameter is the slot.
SELECT (SELECT confirmed_flush_lsn::text
          FROM pg_replication_slots
         WHERE slot_name = $1 AND database = current_database() AND plugin = 'test_decoding'),
       pg_current_wal_flush_lsn()::text,
       pg_snapshot_xmax(pg_current_snapshot())::xid::text,
       (SELECT count(*) FROM pg_largeobject_metadata),
       (SELECT count(*) FROM pg_prepared_xacts)
