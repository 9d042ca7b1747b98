-- What the copy was before the scenarios, in the maintenance database, which no declared role may enter.
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS dryrun;
CREATE TABLE IF NOT EXISTS dryrun.baseline (kind text PRIMARY KEY, rows text NOT NULL);
