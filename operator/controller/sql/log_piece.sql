-- A piece of the server's log.
SELECT pg_read_binary_file($1, $2, $3)
