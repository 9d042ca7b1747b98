-- The settings in configuration files, whether they are in force or not; of several in one file the
-- last.
SELECT DISTINCT ON (sourcefile, name) regexp_replace(sourcefile, '^.*/', '') || ': ' || name AS name, coalesce(setting, '') AS setting
  FROM pg_catalog.pg_file_settings
 WHERE name IS NOT NULL
 ORDER BY sourcefile, name, seqno DESC
