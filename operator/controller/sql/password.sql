-- The statement itself is never logged, also not when it fails. The password is a SCRAM verifier made by the client.
BEGIN;
SET LOCAL log_statement = 'none';
SET LOCAL log_min_error_statement = 'panic';
SET LOCAL log_min_duration_statement = -1;
ALTER ROLE {role} PASSWORD {verifier};
COMMIT;
