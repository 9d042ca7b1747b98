ALTER ROLE cutter_verify NOINHERIT;
