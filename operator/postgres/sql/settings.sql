-- Every setting that the role may see, with the value that a new session of this kind begins with
-- (null is the empty text), and whether that is the server's own: not of this role, this database
-- or this session.
SELECT name, coalesce(reset_val, '') AS value,
       source NOT IN ('database', 'user', 'database user', 'client', 'override', 'interactive', 'test', 'session') AS of_server
  FROM pg_catalog.pg_settings
