-- The superuser that restores over the network. Only in a transaction of unlogged.sql.
CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {verifier}
