-- The restore is over: its role can neither log in nor act as a superuser.
ALTER ROLE {role} NOLOGIN NOSUPERUSER PASSWORD NULL
