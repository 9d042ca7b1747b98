-- An event trigger of production on GRANT must not stop the matrix.
SET LOCAL session_replication_role = replica
