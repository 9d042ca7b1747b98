-- How many milliseconds this session waits for a table that somebody has locked exclusively.
SELECT set_config('lock_timeout', $1, false)
