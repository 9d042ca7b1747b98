-- Large objects since a transaction ID, as (created or written, untouched). One whose privileges
-- change counts as written.
SELECT (SELECT count(*)
          FROM (SELECT loid FROM pg_largeobject WHERE age(xmin) <= age($1::text::xid)
                UNION
                SELECT oid FROM pg_largeobject_metadata WHERE age(xmin) <= age($1::text::xid)) w),
       (SELECT count(*) FROM pg_largeobject_metadata WHERE age(xmin) > age($1::text::xid))
