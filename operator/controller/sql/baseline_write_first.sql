-- What was kept before stays.
INSERT INTO dryrun.baseline (kind, rows) VALUES ($1, $2) ON CONFLICT (kind) DO NOTHING
