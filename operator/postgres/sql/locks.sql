-- Room in the server's lock table, which all clients share: (needed, held, slots, per_slot).
-- pg_dump locks every table, sequence and view until it has ended, and the system catalogs that it
-- reads. A lock that is held several times takes one place. The size is that of the documentation:
-- the server allows itself a few more, and keeps weak locks of the first relations of each session
-- elsewhere (fastpath).
SELECT (SELECT count(*)
          FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relpersistence <> 't'
           AND (c.relkind IN ('r', 'p', 'S', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
                OR c.relkind IN ('r', 'i') AND n.nspname = 'pg_catalog')) AS needed,
       (SELECT count(*)
          FROM (SELECT DISTINCT locktype, database, relation, page, tuple, virtualxid, transactionid::text, classid, objid, objsubid
                  FROM pg_locks
                 WHERE NOT fastpath) l) AS held,
       current_setting('max_connections')::int8 + current_setting('max_prepared_transactions')::int8 AS slots,
       current_setting('max_locks_per_transaction')::int8 AS per_slot
