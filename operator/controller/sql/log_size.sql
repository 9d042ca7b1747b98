-- Size of the server's log so far.
SELECT size FROM pg_stat_file($1)
