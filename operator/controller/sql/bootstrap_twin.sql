-- The source's bootstrap superuser owns objects that only a superuser may own. Its twin cannot log in.
ALTER ROLE {role} SUPERUSER NOLOGIN
