-- What a superuser sees of the world of strong.sql.
SELECT (SELECT secrets FROM app.total),
       (SELECT count(*) FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) e
         WHERE c.relnamespace = 'app'::regnamespace AND e.grantor = 'lender'::regrole AND e.grantee = 'readers'::regrole)
