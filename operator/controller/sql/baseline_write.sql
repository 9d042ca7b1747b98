INSERT INTO dryrun.baseline (kind, rows) VALUES ($1, $2) ON CONFLICT (kind) DO UPDATE SET rows = excluded.rows
