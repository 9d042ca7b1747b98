ALTER ROLE cutter_verify NOINHERIT;
GRANT MAINTAIN ON iu.unit TO cutter_exec;
GRANT pg_maintain TO cutter_exec;
GRANT cutter_ro TO cutter_verify WITH INHERIT FALSE;
GRANT cutter_ro TO cutter_verify WITH SET FALSE;
GRANT readers TO cutter_exec WITH INHERIT FALSE, SET FALSE;
