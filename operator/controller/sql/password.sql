-- The password is a SCRAM verifier made by the client. Only in a transaction of unlogged.sql.
ALTER ROLE {role} PASSWORD {verifier}
