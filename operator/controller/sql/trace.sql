-- From now on every statement is logged: scenarios are judged from the log.
ALTER SYSTEM SET log_statement = 'all'
