-- What follows in this transaction is never logged, also not when it fails. It must be sent by itself: a text with several statements is logged
-- before its first one is run.
BEGIN;
SET LOCAL log_statement = 'none';
SET LOCAL log_min_error_statement = 'panic';
SET LOCAL log_min_duration_statement = -1
