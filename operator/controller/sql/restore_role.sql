-- The superuser that restores over the network; its statements are not logged, also not when they fail.
BEGIN;
SET LOCAL log_statement = 'none';
SET LOCAL log_min_error_statement = 'panic';
CREATE ROLE {role} SUPERUSER LOGIN PASSWORD {verifier};
COMMIT;
