-- The names in a list of changes.sql.
SELECT part[1] FROM regexp_matches($1, '((?:[a-z_0-9]+|"(?:[^"]|"")+")[.](?:[a-z_0-9]+|"(?:[^"]|"")+"))', 'g') AS part
