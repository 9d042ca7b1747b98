SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'dump%'
